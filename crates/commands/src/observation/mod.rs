//! Watching the server at work: which commands were slow or large ([`command_log`]), what made clients wait ([`latency`]), which keys take the
//! most ([`hot_keys`]), and every command as it is executed ([`monitor`]).
//!
//! What it costs where nobody looks: a command compares its time, and the length of its reply, with the least that anybody wants to hear of
//! ([`Watching`]), numbers that it has at hand anyway. Everything else is behind that branch, and so is every lock.

pub mod command_log;
pub mod hot_keys;
pub mod latency;
pub mod monitor;

use std::sync::Arc;

use keyspace::Millis;

use crate::client::Client;
use crate::registry::Command;
use crate::settings::Settings;
use crate::spec::Flags;
use command_log::{CommandLogs, LogKind, LogLimit};
use latency::LatencyMonitor;

/// What is shown in place of a secret.
pub const REDACTED: &[u8] = b"(redacted)";

/// What a server remembers of what it has executed. Shared memory: any thread notes, any client asks.
#[derive(Default)]
pub struct Observation {
    pub logs: CommandLogs,
    pub latency: Arc<LatencyMonitor>,
}

/// From where on somebody wants to hear of a command. Follows the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watching {
    pub ns_min: u64,
    pub reply_bytes_min: usize,
    request_bytes_min: usize,
}

impl Watching {
    /// What the directives ask for: each log of `logs`, and the latency monitor from `latency_ms` on (0: never).
    pub fn of(logs: &[LogLimit; 3], latency_ms: u64) -> Watching {
        let bytes = |kind: LogKind| logs[kind as usize].from.map_or(usize::MAX, |bytes| bytes as usize);
        let slow_ns = logs[LogKind::Slow as usize].from.map_or(u64::MAX, |us| us.saturating_mul(1000));
        let latency_ns = if latency_ms == 0 { u64::MAX } else { latency_ms.saturating_mul(1_000_000) };
        Watching {
            ns_min: slow_ns.min(latency_ns),
            reply_bytes_min: bytes(LogKind::LargeReply),
            request_bytes_min: bytes(LogKind::LargeRequest),
        }
    }

    /// Nobody wants to hear of anything.
    pub const NOTHING: Watching =
        Watching { ns_min: u64::MAX, reply_bytes_min: usize::MAX, request_bytes_min: usize::MAX };

    /// Whether a request among so many bytes may be large enough.
    #[inline]
    pub fn may_hold_large(&self, bytes: usize) -> bool {
        bytes >= self.request_bytes_min
    }
}

/// A command that has run.
pub struct Executed<'a> {
    pub command: &'a Command,
    pub args: &'a [&'a [u8]],
    pub ns: u64,
    pub reply_bytes: usize,
    /// Who has sent it; `None` where a script has called it.
    pub client: Option<&'a Client>,
}

impl Observation {
    /// Notes a command that [`Watching`] has let through, wherever it belongs.
    #[cold]
    pub fn note(&self, executed: &Executed<'_>, settings: &Settings, now: Millis) {
        let flags = executed.command.spec.flags;
        let event = if flags.contains(Flags::FAST) { "fast-command" } else { "command" };
        self.latency.note(event, executed.ns / 1_000_000, now);
        if flags.contains(Flags::SKIP_SLOWLOG) {
            return;
        }
        let request_bytes = || executed.client.map(|_| request_bytes(executed.args));
        for (kind, value) in [
            (LogKind::Slow, Some(executed.ns / 1000)),
            (LogKind::LargeRequest, request_bytes()),
            (LogKind::LargeReply, Some(executed.reply_bytes as u64)),
        ] {
            let limit = settings.command_logs[kind as usize];
            if let (Some(value), Some(from)) = (value, limit.from)
                && value >= from
            {
                self.logs.of(kind).add(executed, value, limit.entries_max, now);
            }
        }
    }
}

/// The bytes of a request as clients send it: `*2\r\n$3\r\nGET\r\n$1\r\na\r\n`.
pub fn request_bytes(args: &[&[u8]]) -> u64 {
    let digits = |number: usize| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let header = |number: usize| 1 + digits(number) + 2;
    (header(args.len()) + args.iter().map(|arg| header(arg.len()) + arg.len() + 2).sum::<usize>()) as u64
}

/// Argument `index` as others may see it.
pub fn shown_arg<'a>(command: &Command, args: &[&'a [u8]], index: usize) -> &'a [u8] {
    match command.spec.is_secret {
        Some(is_secret) if index > 0 && is_secret(args, index) => REDACTED,
        _ => args[index],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rig;

    #[test]
    fn secrets_are_not_shown() {
        let registry = Rig::new().world.global.registry.clone();
        for (line, shown) in [
            ("GET a", "GET a"),
            ("AUTH pw", "AUTH (redacted)"),
            ("AUTH user pw", "AUTH (redacted) (redacted)"),
            ("HELLO 3 AUTH user pw SETNAME me", "HELLO 3 AUTH (redacted) (redacted) SETNAME me"),
            (
                "CONFIG SET masterauth x maxmemory 1 primaryauth y",
                "CONFIG SET masterauth (redacted) maxmemory 1 primaryauth (redacted)",
            ),
            ("ACL SETUSER me >pw", "ACL SETUSER (redacted) (redacted)"),
            ("ACL DELUSER me you", "ACL DELUSER (redacted) (redacted)"),
            ("ACL GETUSER me", "ACL GETUSER (redacted)"),
            ("ACL DRYRUN me GET a", "ACL DRYRUN me GET a"),
            ("MIGRATE h 1 k 0 9 COPY AUTH pw", "MIGRATE h 1 k 0 9 COPY AUTH (redacted)"),
            (
                "MIGRATE h 1 k 0 9 AUTH2 u pw KEYS auth a b",
                "MIGRATE h 1 k 0 9 AUTH2 (redacted) (redacted) KEYS auth a b",
            ),
        ] {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let command = registry.resolve(&args).unwrap_or_else(|_| panic!("{line}"));
            let words: Vec<&[u8]> = (0..args.len()).map(|index| shown_arg(command, &args, index)).collect();
            assert_eq!(String::from_utf8_lossy(&words.join(&b' ')), shown);
        }
    }

    #[test]
    fn requests_are_measured_as_they_are_sent() {
        assert_eq!(request_bytes(&[b"get", b"big"]), 22);
        assert_eq!(request_bytes(&[b"echo", b""]), b"*2\r\n$4\r\necho\r\n$0\r\n\r\n".len() as u64);
        assert_eq!(request_bytes(&[b"echo", &[b'x'; 100]]), b"*2\r\n$4\r\necho\r\n$100\r\n\r\n".len() as u64 + 100);
    }

    #[test]
    fn the_least_that_anybody_wants_to_hear_of() {
        let limit = |from| LogLimit { from, entries_max: 1 };
        let none = [limit(None); 3];
        assert_eq!(Watching::of(&none, 0), Watching::NOTHING);
        assert_eq!(Watching::of(&[limit(Some(10_000)), limit(None), limit(Some(5))], 3).ns_min, 3_000_000);
        let watching = Watching::of(&[limit(Some(7)), limit(Some(8)), limit(Some(9))], 3);
        assert_eq!((watching.ns_min, watching.reply_bytes_min), (7000, 9));
        assert!(watching.may_hold_large(8) && !watching.may_hold_large(7));
    }
}

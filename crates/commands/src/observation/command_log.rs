//! The logs behind SLOWLOG and COMMANDLOG: the last commands that took long, and, as Valkey has it, those whose request or reply was large.
//!
//! Entries show an argument's first bytes and the first arguments, as Redis does: what is logged must not be as large as what it is
//! logged for.

use std::collections::VecDeque;

use keyspace::Millis;
use parking_lot::Mutex;

use super::{Executed, shown_arg};

/// More arguments are counted, the last place says how many they were.
const ARGS_MAX: usize = 32;
/// Of a longer argument the beginning is kept, and how much it was.
const ARG_BYTES_MAX: usize = 128;

/// What a log is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// Time in microseconds.
    Slow,
    /// Bytes.
    LargeRequest,
    /// Bytes.
    LargeReply,
}

/// The directives of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimit {
    /// The least value that is logged; `None`: nothing is.
    pub from: Option<u64>,
    pub entries_max: usize,
}

impl LogLimit {
    /// `from` is -1 where nothing is to be logged. A log of no entries keeps those that it had, as in Redis.
    pub fn of(from: i64, entries_max: i64) -> LogLimit {
        let entries_max = usize::try_from(entries_max).unwrap_or(0);
        LogLimit { from: u64::try_from(from).ok().filter(|_| entries_max > 0), entries_max }
    }
}

/// All three, by [`LogKind`].
#[derive(Default)]
pub struct CommandLogs([CommandLog; 3]);

impl CommandLogs {
    pub fn of(&self, kind: LogKind) -> &CommandLog {
        &self.0[kind as usize]
    }
}

/// One log.
#[derive(Default)]
pub struct CommandLog(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// Goes on over SLOWLOG RESET.
    next_id: u64,
    newest_first: VecDeque<Entry>,
}

/// A command that was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: u64,
    /// When it ended, in seconds since 1970.
    pub at_seconds: i64,
    /// Microseconds, or bytes.
    pub value: u64,
    pub args: Vec<Box<[u8]>>,
    /// Empty where a script has called it, as is the name.
    pub address: String,
    pub name: Vec<u8>,
}

impl CommandLog {
    pub(super) fn add(&self, executed: &Executed<'_>, value: u64, entries_max: usize, now: Millis) {
        let args = kept_args(executed);
        let address = executed.client.map_or_else(String::new, |client| client.address.clone());
        let name = executed.client.map_or_else(Vec::new, |client| client.text.lock().name.clone());
        let mut entries = self.0.lock();
        let id = entries.next_id;
        entries.next_id += 1;
        entries.newest_first.push_front(Entry { id, at_seconds: now.0 / 1000, value, args, address, name });
        entries.newest_first.truncate(entries_max);
    }

    /// The newest entries, at most so many.
    pub fn newest(&self, count_max: usize) -> Vec<Entry> {
        self.0.lock().newest_first.iter().take(count_max).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.0.lock().newest_first.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn clear(&self) {
        self.0.lock().newest_first.clear();
    }
}

fn kept_args(executed: &Executed<'_>) -> Vec<Box<[u8]>> {
    let Executed { command, args, .. } = executed;
    let shown_count = if args.len() > ARGS_MAX { ARGS_MAX - 1 } else { args.len() };
    let mut kept: Vec<Box<[u8]>> = (0..shown_count)
        .map(|index| {
            let arg = shown_arg(command, args, index);
            match arg.get(..ARG_BYTES_MAX) {
                Some(beginning) if arg.len() > ARG_BYTES_MAX => {
                    [beginning, format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX).as_bytes()].concat().into()
                }
                _ => arg.into(),
            }
        })
        .collect();
    if shown_count < args.len() {
        kept.push(format!("... ({} more arguments)", args.len() - shown_count).into_bytes().into());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn add(log: &CommandLog, args: &[&[u8]], entries_max: usize) {
        let registry = Registry::default();
        let command = registry.resolve(args).expect("a command");
        let executed = Executed { command, args, ns: 0, reply_bytes: 0, client: None };
        log.add(&executed, 7, entries_max, Millis(5000));
    }

    #[test]
    fn the_oldest_go_first_and_numbers_go_on() {
        let log = CommandLog::default();
        for key in [b"a", b"b", b"c"] {
            add(&log, &[b"get", key], 2);
        }
        let ids = |log: &CommandLog| log.newest(9).iter().map(|entry| entry.id).collect::<Vec<_>>();
        assert_eq!(ids(&log), [2, 1]);
        assert_eq!(log.newest(1)[0].id, 2);
        log.clear();
        add(&log, &[b"get", b"d"], 2);
        assert_eq!(ids(&log), [3]);
    }

    #[test]
    fn long_commands_are_cut_as_in_redis() {
        let shown = |args: &[&[u8]]| {
            let log = CommandLog::default();
            add(&log, args, 1);
            let args = log.newest(1).remove(0).args;
            (args.len(), String::from_utf8_lossy(args.last().expect("the name at least")).into_owned())
        };
        let (at_most, more) = ([b'x'; 128], [b'x'; 200]);
        assert_eq!(shown(&[b"set", b"k", &at_most]), (3, "x".repeat(128)));
        assert_eq!(shown(&[b"set", b"k", &more]), (3, format!("{}... (72 more bytes)", "x".repeat(128))));
        let push = |items: usize| {
            let mut args: Vec<&[u8]> = vec![b"rpush", b"l"];
            args.extend(std::iter::repeat_n(&b"i"[..], items));
            shown(&args)
        };
        assert_eq!(push(30), (32, "i".into()));
        assert_eq!(push(31), (32, "... (2 more arguments)".into()));
        assert_eq!(push(40), (32, "... (11 more arguments)".into()));
    }

    #[test]
    fn a_log_of_no_entries_takes_none() {
        assert_eq!(LogLimit::of(10, 0).from, None);
        assert_eq!(LogLimit::of(-1, 5).from, None);
        assert_eq!(LogLimit::of(0, 5), LogLimit { from: Some(0), entries_max: 5 });
    }
}

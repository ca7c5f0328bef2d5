//! `SLOWLOG` and its subcommands: the commands that took long. [`commandlog`](super::commandlog) has the same, and more.

use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::help;
use crate::observation::command_log::{CommandLog, LogKind};
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub(super) const FLAGS: Flags = Flags::ADMIN.union(Flags::LOADING).union(Flags::STALE);
pub(super) const ACL: Acl = Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS);

pub const SPEC: Spec = Spec {
    name: "slowlog",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Server,
    since: "2.2.12",
    summary: "Groups the commands about slow commands.",
    complexity: "Depends on the subcommand.",
    subcommands: &[GET, HELP, LEN, RESET],
    ..Spec::NEW
};

pub const GET: Spec = Spec {
    name: "get",
    arity: -2,
    flags: FLAGS,
    acl: ACL,
    group: Group::Server,
    since: "2.2.12",
    summary: "Returns the last slow commands, the newest first.",
    complexity: "O(N), N being the number of entries returned",
    history: &[("4.0.0", "Address and name of the client.")],
    tips: &["request_policy:all_nodes", "nondeterministic_output"],
    args: &[Arg::integer("count").optional()],
    run: Some(get),
    ..Spec::NEW
};

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW,
    group: Group::Server,
    since: "6.2.0",
    summary: "Describes the subcommands of SLOWLOG.",
    run: Some(help::run),
    ..Spec::NEW
};

pub const LEN: Spec = Spec {
    name: "len",
    arity: 2,
    flags: FLAGS,
    acl: ACL,
    group: Group::Server,
    since: "2.2.12",
    summary: "Counts the slow commands that are logged.",
    tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
    run: Some(len),
    ..Spec::NEW
};

pub const RESET: Spec = Spec {
    name: "reset",
    arity: 2,
    flags: FLAGS,
    acl: ACL,
    group: Group::Server,
    since: "2.2.12",
    summary: "Empties the log of slow commands.",
    complexity: "O(N), N being the number of entries",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    run: Some(reset),
    ..Spec::NEW
};

/// Entries that GET returns if it is not told how many.
const COUNT: usize = 10;

fn get(cx: &mut Ctx<'_>) -> Outcome {
    let count = match *cx.args {
        [_, _] => COUNT,
        [_, _, count] => count_of(count)?,
        _ => {
            let text = "ERR unknown subcommand or wrong number of arguments for '";
            return Err(Error::quoting(text, cx.args[1], "'. Try SLOWLOG HELP.").into());
        }
    };
    reply_entries(cx, LogKind::Slow, count);
    Ok(())
}

fn len(cx: &mut Ctx<'_>) -> Outcome {
    cx.reply.count(log(cx, LogKind::Slow).len());
    Ok(())
}

fn reset(cx: &mut Ctx<'_>) -> Outcome {
    log(cx, LogKind::Slow).clear();
    cx.reply.ok();
    Ok(())
}

pub(super) fn log<'a>(cx: &Ctx<'a>, kind: LogKind) -> &'a CommandLog {
    cx.host.observation().logs.of(kind)
}

/// A number of entries; -1 means all.
pub(super) fn count_of(arg: &[u8]) -> Result<usize, Stop> {
    match resp::number::parse_i64(arg) {
        Some(-1) => Ok(usize::MAX),
        Some(count @ 0..) => Ok(count as usize),
        _ => Err(Error::text("ERR count should be greater than or equal to -1").into()),
    }
}

pub(super) fn reply_entries(cx: &mut Ctx<'_>, kind: LogKind, count: usize) {
    let entries = log(cx, kind).newest(count);
    let reply = &mut *cx.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.int(entry.id as i64);
        reply.int(entry.at_seconds);
        reply.int(entry.value as i64);
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk(entry.address);
        reply.bulk(entry.name);
    }
}

#[cfg(test)]
mod tests {
    use crate::observation::Executed;
    use crate::testing::{Rig, script};

    #[test]
    fn arguments() {
        script(&[
            ("SLOWLOG GET", "*0"),
            ("SLOWLOG GET -1", "*0"),
            ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"),
            ("SLOWLOG GET x", "-ERR count should be greater than or equal to -1"),
            ("SLOWLOG get 1 2", "-ERR unknown subcommand or wrong number of arguments for 'get'. Try SLOWLOG HELP."),
            ("SLOWLOG foo", "-ERR unknown subcommand 'foo'. Try SLOWLOG HELP."),
            ("SLOWLOG LEN", ":0"),
            ("SLOWLOG RESET", "+OK"),
            ("SLOWLOG RESET x", "-ERR wrong number of arguments for 'slowlog|reset' command"),
        ]);
    }

    /// Notes a command of client 1 (the rig notes nothing by itself), or of a script.
    pub fn note(rig: &Rig, line: &str, us: u64, reply_bytes: usize, by_script: bool) {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let global = &rig.world.global;
        let command = global.registry.resolve(&args).expect("a command");
        let client = (!by_script).then_some(&*rig.session.client);
        let executed = Executed { command, args: &args, ns: us * 1000, reply_bytes, client };
        rig.host.observation.note(&executed, &global.settings, rig.now);
    }

    #[test]
    fn what_was_slow() {
        let mut rig = Rig::new();
        rig.script(&[("CONFIG SET slowlog-log-slower-than 100", "+OK"), ("CLIENT SETNAME me", "+OK")]);
        note(&rig, "get a", 99, 0, false);
        note(&rig, "get b", 100, 0, false);
        note(&rig, "exec", 100, 0, false);
        note(&rig, "set c 1", 200, 0, true);
        rig.script(&[
            ("SLOWLOG LEN", ":2"),
            ("SLOWLOG GET 1", "*1 *6 :1 :1700000000 :200 *3 $3 set $1 c $1 1 $0  $0"),
            (
                "SLOWLOG GET",
                "*2 *6 :1 :1700000000 :200 *3 $3 set $1 c $1 1 $0  $0  \
                 *6 :0 :1700000000 :100 *2 $3 get $1 b $15 127.0.0.1:50000 $2 me",
            ),
            ("SLOWLOG RESET", "+OK"),
            ("SLOWLOG LEN", ":0"),
        ]);
    }

    #[test]
    fn the_three_logs_of_valkey() {
        let mut rig = Rig::new();
        rig.script(&[
            ("CONFIG SET commandlog-execution-slower-than 100 commandlog-request-larger-than 22", "+OK"),
            ("CONFIG SET commandlog-reply-larger-than 5 commandlog-large-reply-max-len 1", "+OK"),
        ]);
        note(&rig, "get big", 1, 4, false);
        note(&rig, "get k", 1, 5, false);
        note(&rig, "get script", 1, 6, true);
        rig.script(&[
            ("COMMANDLOG LEN SLOW", ":0"),
            ("COMMANDLOG LEN large-request", ":1"),
            ("COMMANDLOG GET 9 large-reply", "*1 *6 :1 :1700000000 :6 *2 $3 get $6 script $0  $0"),
            ("COMMANDLOG GET -1 LARGE-REQUEST", "*1 *6 :0 :1700000000 :22 *2 $3 get $3 big $15 127.0.0.1:50000 $0"),
            ("COMMANDLOG RESET large-request", "+OK"),
            ("COMMANDLOG GET 1 large-request", "*0"),
        ]);
    }
}

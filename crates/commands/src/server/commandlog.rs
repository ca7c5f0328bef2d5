//! `COMMANDLOG` and its subcommands (Valkey): what SLOWLOG has, and the commands whose request or reply was large.

use super::slowlog::{ACL, FLAGS, count_of, log, reply_entries};
use crate::context::{Ctx, Outcome};
use crate::error::Stop;
use crate::help;
use crate::observation::command_log::LogKind;
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "commandlog",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Server,
    since: "8.1.0",
    summary: "Groups the commands about slow and large commands.",
    complexity: "Depends on the subcommand.",
    subcommands: &[GET, HELP, LEN, RESET],
    ..Spec::NEW
};

const KIND: Arg = Arg::one_of(
    "type",
    &[Arg::word("slow", "SLOW"), Arg::word("large-request", "LARGE-REQUEST"), Arg::word("large-reply", "LARGE-REPLY")],
);

pub const GET: Spec = Spec {
    name: "get",
    arity: 4,
    flags: FLAGS,
    acl: ACL,
    group: Group::Server,
    since: "8.1.0",
    summary: "Returns the last entries of a log, the newest first.",
    complexity: "O(N), N being the number of entries returned",
    tips: &["request_policy:all_nodes", "nondeterministic_output"],
    args: &[Arg::integer("count"), KIND],
    run: Some(get),
    ..Spec::NEW
};

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW,
    group: Group::Server,
    since: "8.1.0",
    summary: "Describes the subcommands of COMMANDLOG.",
    run: Some(help::run),
    ..Spec::NEW
};

pub const LEN: Spec = Spec {
    name: "len",
    arity: 3,
    flags: FLAGS,
    acl: ACL,
    group: Group::Server,
    since: "8.1.0",
    summary: "Counts the entries of a log.",
    tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
    args: &[KIND],
    run: Some(len),
    ..Spec::NEW
};

pub const RESET: Spec = Spec {
    name: "reset",
    arity: 3,
    flags: FLAGS,
    acl: ACL,
    group: Group::Server,
    since: "8.1.0",
    summary: "Empties a log.",
    complexity: "O(N), N being the number of entries",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    args: &[KIND],
    run: Some(reset),
    ..Spec::NEW
};

fn get(cx: &mut Ctx<'_>) -> Outcome {
    let count = count_of(cx.args[2])?;
    let kind = kind(cx, 3)?;
    reply_entries(cx, kind, count);
    Ok(())
}

fn len(cx: &mut Ctx<'_>) -> Outcome {
    let count = log(cx, kind(cx, 2)?).len();
    cx.reply.count(count);
    Ok(())
}

fn reset(cx: &mut Ctx<'_>) -> Outcome {
    log(cx, kind(cx, 2)?).clear();
    cx.reply.ok();
    Ok(())
}

fn kind(cx: &Ctx<'_>, index: usize) -> Result<LogKind, Stop> {
    const KINDS: [(&str, LogKind); 3] =
        [("slow", LogKind::Slow), ("large-request", LogKind::LargeRequest), ("large-reply", LogKind::LargeReply)];
    match KINDS.iter().find(|(word, _)| cx.word(index, word)) {
        Some((_, kind)) => Ok(*kind),
        None => cx.fail("ERR type should be one of the following: slow, large-request, large-reply"),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn arguments() {
        script(&[
            ("COMMANDLOG GET 1", "-ERR wrong number of arguments for 'commandlog|get' command"),
            ("COMMANDLOG GET slow 1", "-ERR count should be greater than or equal to -1"),
            ("COMMANDLOG GET -2 slow", "-ERR count should be greater than or equal to -1"),
            ("COMMANDLOG GET 1 foo", "-ERR type should be one of the following: slow, large-request, large-reply"),
            ("COMMANDLOG LEN foo", "-ERR type should be one of the following: slow, large-request, large-reply"),
            ("COMMANDLOG RESET foo", "-ERR type should be one of the following: slow, large-request, large-reply"),
            ("COMMANDLOG GET 0 slow", "*0"),
            ("COMMANDLOG LEN LARGE-REPLY", ":0"),
            ("COMMANDLOG RESET large-request", "+OK"),
        ]);
    }
}

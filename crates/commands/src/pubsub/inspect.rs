//! `PUBSUB` and its subcommands.

use super::Topic;
use crate::context::{Ctx, Outcome};
use crate::error::{Error, shown};
use crate::help;
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "pubsub",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Pubsub,
    since: "2.8.0",
    summary: "Groups the commands that tell who listens to what.",
    complexity: "See each subcommand.",
    subcommands: &[CHANNELS, HELP, NUMPAT, NUMSUB, SHARDCHANNELS, SHARDNUMSUB],
    ..Spec::NEW
};

/// What the subcommands have in common.
const NEW: Spec = Spec {
    arity: -2,
    flags: Flags::PUBSUB.union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::PUBSUB.union(Acl::SLOW),
    group: Group::Pubsub,
    since: "2.8.0",
    ..Spec::NEW
};

const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW,
    group: Group::Pubsub,
    since: "6.2.0",
    summary: "Describes the subcommands.",
    run: Some(help::run),
    ..Spec::NEW
};

const CHANNELS: Spec = Spec {
    name: "channels",
    summary: "Lists the channels that somebody listens to.",
    complexity: "O(N), N being the channels that have subscribers",
    args: &[Arg::pattern("pattern").optional()],
    run: Some(|cx| channels(cx, Topic::Channel)),
    ..NEW
};

const SHARDCHANNELS: Spec = Spec {
    name: "shardchannels",
    since: "7.0.0",
    summary: "Lists the shard channels that somebody listens to.",
    complexity: "O(N), N being the shard channels that have subscribers",
    args: &[Arg::pattern("pattern").optional()],
    run: Some(|cx| channels(cx, Topic::Shard)),
    ..NEW
};

const NUMSUB: Spec = Spec {
    name: "numsub",
    summary: "Counts the subscribers of channels; those by pattern do not count.",
    complexity: "O(N), N being the number of channels asked for",
    args: &[Arg::string("channel").optional().multiple()],
    run: Some(|cx| counts(cx, Topic::Channel)),
    ..NEW
};

const SHARDNUMSUB: Spec = Spec {
    name: "shardnumsub",
    since: "7.0.0",
    summary: "Counts the subscribers of shard channels.",
    complexity: "O(N), N being the number of shard channels asked for",
    args: &[Arg::string("shardchannel").optional().multiple()],
    run: Some(|cx| counts(cx, Topic::Shard)),
    ..NEW
};

const NUMPAT: Spec = Spec {
    name: "numpat",
    arity: 2,
    summary: "Counts the patterns that somebody listens by.",
    run: Some(|cx| {
        cx.reply.count(cx.host.subscriptions().count(Topic::Pattern));
        Ok(())
    }),
    ..NEW
};

fn channels(cx: &mut Ctx<'_>, topic: Topic) -> Outcome {
    let pattern = match *cx.args {
        [_, _] => None,
        [_, _, pattern] => Some(pattern),
        // Redis's words where the arity does not say it.
        _ => {
            let text = "ERR unknown subcommand or wrong number of arguments for '";
            return Err(Error::quoting(text, shown(cx.args[1]), "'. Try PUBSUB HELP.").into());
        }
    };
    let found = cx.host.subscriptions().channels(topic, pattern);
    cx.reply.array(found.len());
    found.iter().for_each(|name| cx.reply.bulk(name));
    Ok(())
}

fn counts(cx: &mut Ctx<'_>, topic: Topic) -> Outcome {
    let names = &cx.args[2..];
    cx.reply.array(2 * names.len());
    for &name in names {
        cx.reply.bulk(name);
        cx.reply.count(cx.host.subscriptions().subscribers(topic, name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    #[test]
    fn who_listens_to_what() {
        let mut rig = Rig::new();
        rig.run("SUBSCRIBE a b");
        rig.run("PSUBSCRIBE a* b*");
        rig.run("SSUBSCRIBE s");
        rig.client(2).run("PSUBSCRIBE a*");
        rig.run("SUBSCRIBE a");
        rig.client(3).script(&[
            ("PUBSUB CHANNELS a*", "*1 $1 a"),
            ("PUBSUB CHANNELS z*", "*0"),
            ("PUBSUB NUMSUB", "*0"),
            ("PUBSUB NUMSUB a zz a b", "*8 $1 a :2 $2 zz :0 $1 a :2 $1 b :1"),
            ("PUBSUB NUMPAT", ":2"),
            ("PUBSUB NUMPAT x", "-ERR wrong number of arguments for 'pubsub|numpat' command"),
            ("PUBSUB SHARDCHANNELS", "*1 $1 s"),
            ("PUBSUB SHARDNUMSUB s t", "*4 $1 s :1 $1 t :0"),
            ("PUBSUB", "-ERR wrong number of arguments for 'pubsub' command"),
            (
                "PUBSUB CHANNELS a b",
                "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.",
            ),
            ("PUBSUB nosuch", "-ERR unknown subcommand 'nosuch'. Try PUBSUB HELP."),
        ]);
        let all = rig.run("PUBSUB CHANNELS");
        assert!(all == "*2 $1 a $1 b" || all == "*2 $1 b $1 a", "{all}");
    }
}

//! `UNSUBSCRIBE`, `PUNSUBSCRIBE`, `SUNSUBSCRIBE`.

use super::{Topic, confirm};
use crate::client::ClientFlags;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

/// What they have in common.
const NEW: Spec = Spec {
    arity: -1,
    flags: Flags::PUBSUB.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::PUBSUB.union(Acl::SLOW),
    group: Group::Pubsub,
    since: "2.0.0",
    ..Spec::NEW
};

pub const UNSUBSCRIBE: Spec = Spec {
    name: "unsubscribe",
    summary: "Stops listening to channels, or to all of them.",
    complexity: "O(N), N being the number of channels",
    args: &[Arg::string("channel").optional().multiple()],
    run: Some(|cx| run(cx, Topic::Channel, "unsubscribe")),
    ..NEW
};

pub const PUNSUBSCRIBE: Spec = Spec {
    name: "punsubscribe",
    summary: "Stops listening by patterns, or by all of them.",
    complexity: "O(N), N being the number of patterns",
    args: &[Arg::pattern("pattern").optional().multiple()],
    run: Some(|cx| run(cx, Topic::Pattern, "punsubscribe")),
    ..NEW
};

pub const SUNSUBSCRIBE: Spec = Spec {
    name: "sunsubscribe",
    keys: &[KeySpec::range(KeyFlags::NOT_KEY, 1, -1, 1)],
    since: "7.0.0",
    summary: "Stops listening to shard channels, or to all of them.",
    complexity: "O(N), N being the number of shard channels",
    args: &[Arg::string("shardchannel").optional().multiple()],
    run: Some(|cx| run(cx, Topic::Shard, "sunsubscribe")),
    ..NEW
};

fn run(cx: &mut Ctx<'_>, topic: Topic, what: &str) -> Outcome {
    let client = cx.session.client.clone();
    let all = match client.subscriber() {
        Some(subscriber) if cx.args.len() == 1 => subscriber.names(topic),
        _ => Vec::new(),
    };
    let names: Vec<&[u8]> =
        if cx.args.len() == 1 { all.iter().map(|name| &**name).collect() } else { cx.args[1..].to_vec() };
    let counts: Vec<usize> = names
        .iter()
        .map(|name| {
            cx.host.subscriptions().remove(topic, &client, name);
            topic.confirmed_count(&client)
        })
        .collect();
    take_last_pushes(cx);
    for (name, count) in names.iter().zip(counts) {
        confirm(cx.reply, what, Some(name), count);
    }
    if names.is_empty() {
        confirm(cx.reply, what, None, topic.confirmed_count(&client));
    }
    cx.session.is_subscriber = cx.session.has(ClientFlags::PUBSUB);
    Ok(())
}

/// Ends all subscriptions without a word: RESET.
pub(crate) fn unsubscribe_from_all(cx: &mut Ctx<'_>) {
    if cx.session.is_subscriber {
        cx.host.subscriptions().remove_client(&cx.session.client);
        cx.session.is_subscriber = false;
        take_last_pushes(cx);
    }
}

/// What others have published while this command ran comes before its reply: behind it nothing may come.
///
/// On the wide side there are no others, and what this access itself has published (a transaction does) comes behind its reply.
fn take_last_pushes(cx: &mut Ctx<'_>) {
    if !cx.is_wide() {
        cx.session.client.take_pushes(cx.reply);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn one_or_all_and_what_is_not_there_too() {
        script(&[
            ("UNSUBSCRIBE", "*3 $11 unsubscribe $-1 :0"),
            ("PUNSUBSCRIBE x", "*3 $12 punsubscribe $1 x :0"),
            ("SUBSCRIBE a b", "*3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2"),
            ("PSUBSCRIBE a* b*", "*3 $10 psubscribe $2 a* :3 *3 $10 psubscribe $2 b* :4"),
            ("SSUBSCRIBE s", "*3 $10 ssubscribe $1 s :1"),
            ("UNSUBSCRIBE a zz", "*3 $11 unsubscribe $1 a :3 *3 $11 unsubscribe $2 zz :3"),
            ("UNSUBSCRIBE", "*3 $11 unsubscribe $1 b :2"),
            ("UNSUBSCRIBE", "*3 $11 unsubscribe $-1 :2"),
            ("SUNSUBSCRIBE", "*3 $12 sunsubscribe $1 s :0"),
            ("SUNSUBSCRIBE", "*3 $12 sunsubscribe $-1 :0"),
            (
                "PUNSUBSCRIBE a* q a*",
                "*3 $12 punsubscribe $2 a* :1 *3 $12 punsubscribe $1 q :1 *3 $12 punsubscribe $2 a* :1",
            ),
            ("PUNSUBSCRIBE", "*3 $12 punsubscribe $2 b* :0"),
            ("PING", "+PONG"),
        ]);
    }

    #[test]
    fn reset_takes_everything() {
        let mut rig = Rig::new();
        rig.run("SUBSCRIBE a b");
        rig.run("PSUBSCRIBE a");
        rig.client(2).script(&[("PUBLISH a x", ":2")]);
        rig.client(1).script(&[("RESET", "*3 $7 message $1 a $1 x *4 $8 pmessage $1 a $1 a $1 x +RESET")]);
        rig.client(2).script(&[("PUBLISH a x", ":0"), ("PUBSUB NUMPAT", ":0")]);
        assert!(rig.client(1).run("CLIENT INFO").contains(" flags=N "));
    }
}

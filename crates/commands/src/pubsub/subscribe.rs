//! `SUBSCRIBE`, `PSUBSCRIBE`, `SSUBSCRIBE`.

use super::{Topic, confirm};
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

/// What they have in common.
const NEW: Spec = Spec {
    arity: -2,
    flags: Flags::PUBSUB.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::PUBSUB.union(Acl::SLOW),
    group: Group::Pubsub,
    since: "2.0.0",
    ..Spec::NEW
};

pub const SUBSCRIBE: Spec = Spec {
    name: "subscribe",
    summary: "Begins to listen to channels.",
    complexity: "O(N), N being the number of channels",
    args: &[Arg::string("channel").multiple()],
    run: Some(|cx| run(cx, Topic::Channel, "subscribe")),
    ..NEW
};

pub const PSUBSCRIBE: Spec = Spec {
    name: "psubscribe",
    summary: "Begins to listen to all channels whose names match patterns.",
    complexity: "O(N), N being the number of patterns",
    args: &[Arg::pattern("pattern").multiple()],
    run: Some(|cx| run(cx, Topic::Pattern, "psubscribe")),
    ..NEW
};

pub const SSUBSCRIBE: Spec = Spec {
    name: "ssubscribe",
    keys: &[KeySpec::range(KeyFlags::NOT_KEY, 1, -1, 1)],
    since: "7.0.0",
    summary: "Begins to listen to shard channels.",
    complexity: "O(N), N being the number of shard channels",
    args: &[Arg::string("shardchannel").multiple()],
    run: Some(|cx| run(cx, Topic::Shard, "ssubscribe")),
    ..NEW
};

fn run(cx: &mut Ctx<'_>, topic: Topic, what: &str) -> Outcome {
    let client = cx.session.client.clone();
    cx.session.is_subscriber = true;
    for &name in &cx.args[1..] {
        cx.host.subscriptions().add(topic, &client, name);
        confirm(cx.reply, what, Some(name), topic.confirmed_count(&client));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn twice_is_once_and_shard_channels_count_by_themselves() {
        script(&[
            ("SUBSCRIBE", "-ERR wrong number of arguments for 'subscribe' command"),
            ("SUBSCRIBE a b a", "*3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2 *3 $9 subscribe $1 a :2"),
            ("PSUBSCRIBE a* a* b*", "*3 $10 psubscribe $2 a* :3 *3 $10 psubscribe $2 a* :3 *3 $10 psubscribe $2 b* :4"),
            ("SSUBSCRIBE s s", "*3 $10 ssubscribe $1 s :1 *3 $10 ssubscribe $1 s :1"),
            ("PING", "*2 $4 pong $0"),
            ("PING x", "*2 $4 pong $1 x"),
            ("PING x y", "-ERR wrong number of arguments for 'ping' command"),
        ]);
    }

    #[test]
    fn a_subscriber_is_shown_as_one() {
        let mut rig = Rig::new();
        rig.run("SUBSCRIBE a b");
        rig.run("PSUBSCRIBE p");
        rig.run("SSUBSCRIBE s");
        let line = rig.client(2).run("CLIENT LIST TYPE pubsub");
        assert!(line.contains("id=1 ") && !line.contains("id=2 "), "{line}");
        assert!(line.contains(" flags=P ") && line.contains(" sub=2 psub=1 ssub=1 "), "{line}");
        assert!(!rig.run("CLIENT LIST TYPE normal").contains("id=1 "));
        rig.script(&[("CLIENT KILL TYPE pubsub", ":1"), ("PUBLISH a x", ":0"), ("PUBSUB CHANNELS", "*0")]);
        rig.script(&[("PUBSUB NUMPAT", ":0"), ("PUBSUB SHARDCHANNELS", "*0")]);
    }
}

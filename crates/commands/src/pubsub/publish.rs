//! `PUBLISH` and `SPUBLISH`.

use resp::SHARED_BYTES_MIN;

use super::{Delivery, Topic};
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

const FLAGS: Flags =
    Flags::PUBSUB.union(Flags::LOADING).union(Flags::STALE).union(Flags::FAST).union(Flags::MAY_REPLICATE);
const ACL: Acl = Acl::PUBSUB.union(Acl::FAST);

pub const PUBLISH: Spec = Spec {
    name: "publish",
    arity: 3,
    flags: FLAGS,
    acl: ACL,
    group: Group::Pubsub,
    since: "2.0.0",
    summary: "Sends a message to everybody who listens to a channel.",
    complexity: "O(N+M), N being the subscribers of the channel and M the patterns that anybody is subscribed to",
    args: &[Arg::string("channel"), Arg::string("message")],
    run: Some(|cx| run(cx, Topic::Channel)),
    ..Spec::NEW
};

pub const SPUBLISH: Spec = Spec {
    name: "spublish",
    arity: 3,
    flags: FLAGS,
    acl: ACL,
    keys: &[KeySpec::one(KeyFlags::NOT_KEY, 1)],
    group: Group::Pubsub,
    since: "7.0.0",
    summary: "Sends a message to everybody who listens to a shard channel.",
    complexity: "O(N), N being the subscribers of the shard channel",
    args: &[Arg::string("shardchannel"), Arg::string("message")],
    run: Some(|cx| run(cx, Topic::Shard)),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>, topic: Topic) -> Outcome {
    let mut receivers = 0;
    if cx.host.subscriptions().has_receivers(topic) {
        receivers = match may_gather(cx, topic) {
            true => gather(cx, topic),
            false => {
                deliver_messages(cx);
                let mut delivery = Delivery::of(cx.global(), cx.host, cx.db.stats, cx.session.client.place().thread);
                let receivers = delivery.publish_shared(topic, cx.args[1], cx.args[2], cx.large(2));
                delivery.finish();
                receivers
            }
        };
    }
    if cx.db.effects.wanted() {
        // Also where nobody listens: a replica has subscribers of its own.
        cx.db.effects.for_replicas(cx.args);
    }
    cx.reply.count(receivers);
    Ok(())
}

/// Whether the message can wait until this access ends, or another channel has one. Nobody can tell, but who gets its own messages.
fn may_gather(cx: &Ctx<'_>, topic: Topic) -> bool {
    !cx.is_wide()
        && !cx.session.is_subscriber
        && cx.args[2].len() < SHARED_BYTES_MIN
        && (topic == Topic::Shard || cx.host.subscriptions().count(Topic::Pattern) == 0)
}

fn gather(cx: &mut Ctx<'_>, topic: Topic) -> usize {
    let receivers = cx.host.subscriptions().subscribers(topic, cx.args[1]);
    if receivers > 0 {
        if !cx.db.effects.messages.is_of(topic, cx.args[1]) {
            deliver_messages(cx);
        }
        cx.db.effects.messages.add(topic, cx.args[1], cx.args[2]);
    }
    receivers
}

/// Delivers what was gathered: what comes now must come behind it.
fn deliver_messages(cx: &mut Ctx<'_>) {
    if !cx.db.effects.messages.is_empty() {
        let mut delivery = Delivery::of(cx.reach.global(), cx.host, cx.db.stats, cx.session.client.place().thread);
        delivery.deliver(&mut cx.db.effects.messages);
        delivery.finish();
    }
}

#[cfg(test)]
mod tests {
    use resp::SHARED_BYTES_MIN;

    use crate::testing::{Rig, effects};

    #[test]
    fn channels_then_patterns_and_each_counts() {
        let mut rig = Rig::new();
        rig.script(&[
            ("SUBSCRIBE a", "*3 $9 subscribe $1 a :1"),
            ("PSUBSCRIBE a* ? b*", "*3 $10 psubscribe $2 a* :2 *3 $10 psubscribe $1 ? :3 *3 $10 psubscribe $2 b* :4"),
        ]);
        rig.client(2).script(&[
            ("PUBLISH a hi", ":3"),
            ("PUBLISH bc x", ":1"),
            ("PUBLISH c x", ":1"),
            ("PUBLISH dd x", ":0"),
        ]);
        assert_eq!(
            rig.pushes(1),
            "*3 $7 message $1 a $2 hi *4 $8 pmessage $1 ? $1 a $2 hi *4 $8 pmessage $2 a* $1 a $2 hi \
             *4 $8 pmessage $2 b* $2 bc $1 x *4 $8 pmessage $1 ? $1 c $1 x"
        );
        assert_eq!(rig.pushes(1), "");
    }

    #[test]
    fn shard_channels_are_others_and_know_no_patterns() {
        let mut rig = Rig::new();
        rig.script(&[("SSUBSCRIBE a", "*3 $10 ssubscribe $1 a :1"), ("PSUBSCRIBE *", "*3 $10 psubscribe $1 * :1")]);
        rig.client(2).script(&[("SPUBLISH a 1", ":1"), ("PUBLISH b 2", ":1"), ("SPUBLISH b 3", ":0")]);
        assert_eq!(rig.pushes(1), "*3 $8 smessage $1 a $1 1 *4 $8 pmessage $1 * $1 b $1 2");
    }

    #[test]
    fn each_in_its_protocol_and_before_its_next_reply() {
        let mut rig = Rig::new();
        rig.run("SUBSCRIBE a");
        rig.client(2).run("HELLO 3");
        rig.script(&[
            ("SUBSCRIBE a", ">3 $9 subscribe $1 a :1"),
            ("PUBLISH a x", ":2"),
            ("PING", ">3 $7 message $1 a $1 x +PONG"),
            ("PUBLISH a y", ":2"),
        ]);
        let hello = rig.run("HELLO 2");
        assert!(hello.starts_with(">3 $7 message $1 a $1 y *14 "), "{hello}");
        rig.script(&[("PUBLISH a z", ":2"), ("PING", "*3 $7 message $1 a $1 z *2 $4 pong $0")]);
        assert_eq!(rig.pushes(1).matches("*3 $7 message $1 a").count(), 3);
    }

    #[test]
    fn large_messages_are_shared() {
        let mut rig = Rig::new();
        (1..=3).for_each(|client| drop(rig.client(client).run("SUBSCRIBE a")));
        let payload = "x".repeat(SHARED_BYTES_MIN);
        assert_eq!(rig.client(4).run(&format!("PUBLISH a {payload}")), ":3");
        for client in 1..=3 {
            assert_eq!(rig.pushes(client), format!("*3 $7 message $1 a ${} {payload}", payload.len()));
        }
    }

    #[test]
    fn who_does_not_take_them_is_cut_off() {
        let mut rig = Rig::new();
        rig.script(&[("CONFIG SET client-output-buffer-limit 'pubsub 120 0 0'", "+OK")]);
        rig.client(2).run("SUBSCRIBE a");
        let twenty = "x".repeat(20);
        rig.client(1).script(&[
            (&format!("PUBLISH a {twenty}"), ":1"),
            (&format!("PUBLISH a {twenty}"), ":1"),
            (&format!("PUBLISH a {twenty}"), ":1"),
            (&format!("PUBLISH a {twenty}"), ":0"),
            ("PUBSUB NUMSUB a", "*2 $1 a :0"),
        ]);
        assert!(rig.host.log.lock()[0].contains("id=2"));
        assert_eq!(rig.host.stats[0].output_limit_disconnections.get(), 1);
    }

    #[test]
    fn replicas_hear_of_it_and_nothing_is_changed() {
        effects(&[("publish a b", "publish a b"), ("SPUBLISH a b", "SPUBLISH a b"), ("SUBSCRIBE a", "")]);
        effects(&[
            ("EVAL \"return redis.call('PUBLISH', 'x', 'y')\" 0", "PUBLISH x y"),
            ("EVAL \"redis.call('SET', 'x', 'y') redis.call('PUBLISH', 'x', 'y')\" 0", "SET x y; PUBLISH x y"),
            ("MULTI", ""),
            ("PUBLISH a b", ""),
            ("GET x", ""),
            ("SET q 1", ""),
            ("PUBLISH a c", ""),
            ("EXEC", "PUBLISH a b; SET q 1; PUBLISH a c"),
            ("SCRIPT LOAD return", ""),
            ("SCRIPT FLUSH", ""),
        ]);
        let mut rig = Rig::recording();
        rig.run("PUBLISH a b");
        assert!(rig.effects.units().flat_map(|unit| unit.iter()).all(|effect| effect.replicas_only));
        assert_eq!(rig.host.stats[0].dirty.get(), 0);
    }
}

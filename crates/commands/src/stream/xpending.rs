//! `XPENDING`.

use keyspace::Stream;
use keyspace::collection::stream::{Pending, StreamId};

use super::ids;
use super::options::no_group;
use super::reply::put_id;
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xpending",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::STREAM).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Shows what was delivered to consumers of a group and not acknowledged: a summary, or entry by entry.",
    complexity: "O(N) for the N entries returned, or looked at with IDLE; a summary is O(N) for N consumers",
    history: &[("6.2.0", "`IDLE`, and intervals that exclude their ends.")],
    tips: &["nondeterministic_output"],
    args: &[
        Arg::key("key", 0),
        Arg::string("group"),
        Arg::block(
            "filters",
            &[
                Arg::integer("min-idle-time").token("IDLE").since("6.2.0").optional(),
                Arg::string("start"),
                Arg::string("end"),
                Arg::integer("count"),
                Arg::string("consumer").optional(),
            ],
        )
        .optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

/// Nothing in Redis says no to one or two arguments behind the consumer, as long as there are not more than so many.
const ARGUMENTS_MAX: usize = 9;

fn run(cx: &mut Ctx<'_>) -> Outcome {
    match cx.args.len() {
        3 => summary(cx),
        6..=ARGUMENTS_MAX => list(cx),
        _ => Err(Error::Syntax.into()),
    }
}

fn summary(cx: &mut Ctx<'_>) -> Outcome {
    let stream = cx.db.read_as::<Stream>(cx.keys[0])?;
    let Some(group) = stream.as_ref().and_then(|stream| stream.groups.get(cx.args[2])) else {
        return no_group(cx.args[1], cx.args[2]);
    };
    let reply = &mut *cx.reply;
    reply.array(4);
    reply.count(group.pending_count());
    let all = || group.pending_range(StreamId::MIN..=StreamId::MAX);
    let (Some((first, _)), Some((last, _))) = (all().next(), all().next_back()) else {
        reply.null();
        reply.null();
        reply.null_array();
        return Ok(());
    };
    put_id(reply, first);
    put_id(reply, last);
    let start = reply.start_deferred();
    let mut written = 0;
    for consumer in group.consumers().filter(|consumer| !consumer.pending().is_empty()) {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_int(consumer.pending().len() as i64);
        written += 1;
    }
    reply.finish_array(start, written);
    Ok(())
}

fn list(cx: &mut Ctx<'_>) -> Outcome {
    let mut at = 3;
    let mut idle_ms_min = 0;
    if cx.word(3, "IDLE") {
        idle_ms_min = cx.int(4)?;
        if cx.args.len() < 8 {
            return Err(Error::Syntax.into());
        }
        at = 5;
    }
    let count = usize::try_from(cx.int(at + 2)?).unwrap_or(0);
    let start = ids::parse_start(cx.args[at])?;
    let end = ids::parse_end(cx.args[at + 1])?;
    let consumer = cx.args.get(at + 3);
    let now_ms = cx.db.now.0;
    let stream = cx.db.read_as::<Stream>(cx.keys[0])?;
    let Some(group) = stream.as_ref().and_then(|stream| stream.groups.get(cx.args[2])) else {
        return no_group(cx.args[1], cx.args[2]);
    };

    let reply = &mut *cx.reply;
    let mut written = 0;
    let begin = reply.start_deferred();
    let idle_ms = |pending: &Pending| now_ms.saturating_sub(pending.delivered_at_ms).max(0);
    let mut put = |id: StreamId, pending: &Pending| {
        reply.array(4);
        put_id(reply, id);
        reply.bulk(group.consumer(pending.consumer).name());
        reply.int(idle_ms(pending));
        reply.int(pending.delivery_count as i64);
        written += 1;
    };
    let idle_enough = |pending: &Pending| idle_ms_min <= 0 || idle_ms(pending) >= idle_ms_min;
    match consumer {
        None => {
            let entries = group.pending_range(start..=end).filter(|(_, pending)| idle_enough(pending));
            entries.take(count).for_each(|(id, pending)| put(id, pending));
        }
        Some(name) => {
            let consumer = group.find_consumer(name).map(|id| group.consumer(id)).filter(|_| start <= end);
            let ids = consumer.into_iter().flat_map(|consumer| consumer.pending().range(start..=end));
            let entries = ids.map(|&id| (id, group.pending(id).expect("what is a consumer's is the group's")));
            entries.filter(|(_, pending)| idle_enough(pending)).take(count).for_each(|(id, pending)| put(id, pending));
        }
    }
    reply.finish_array(begin, written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    #[test]
    fn summary_and_list() {
        let mut rig = Rig::new();
        rig.script(&[
            ("XPENDING nos g", "-NOGROUP No such key 'nos' or consumer group 'g'"),
            ("XPENDING nos g - abc 1", "-ERR Invalid stream ID specified as stream command argument"),
            ("XPENDING s g - +", "-ERR syntax error"),
            ("XPENDING s g IDLE 0 - +", "-ERR syntax error"),
            ("XPENDING s g - + 10 c x y z", "-ERR syntax error"),
            ("XPENDING s g - + x", "-ERR value is not an integer or out of range"),
            ("XADD s 1-1 a 1", "$3 1-1"),
            ("XADD s 1-2 a 1", "$3 1-2"),
            ("XGROUP CREATE s g 0", "+OK"),
            ("XPENDING s g", "*4 :0 $-1 $-1 *-1"),
        ]);
        rig.run("XREADGROUP GROUP g c COUNT 1 STREAMS s >");
        rig.now.0 += 50;
        rig.run("XREADGROUP GROUP g d COUNT 1 STREAMS s >");
        rig.script(&[
            ("XPENDING s g", "*4 :2 $3 1-1 $3 1-2 *2 *2 $1 c $1 1 *2 $1 d $1 1"),
            ("XPENDING s g - + 10", "*2 *4 $3 1-1 $1 c :50 :1 *4 $3 1-2 $1 d :0 :1"),
            ("XPENDING s g IDLE 50 - + 10", "*1 *4 $3 1-1 $1 c :50 :1"),
            ("XPENDING s g (1-1 + 10", "*1 *4 $3 1-2 $1 d :0 :1"),
            ("XPENDING s g - + 10 d x y", "*1 *4 $3 1-2 $1 d :0 :1"),
            ("XPENDING s g + - 10 d", "*0"),
            ("XPENDING s g + - 10", "*0"),
            ("XPENDING s g - + -1", "*0"),
            ("XPENDING s g - + 10 nobody", "*0"),
        ]);
    }
}

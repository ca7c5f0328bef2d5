//! `XAUTOCLAIM`.

use keyspace::Stream;
use keyspace::collection::stream::{Pending, StreamId};
use resp::Reply;

use super::ids;
use super::options::no_group;
use super::reply::{put_entry, put_id};
use super::xclaim::{Propagation, parse_min_idle, seen_consumer};
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xautoclaim",
    arity: -6,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 1)],
    group: Group::Stream,
    since: "6.2.0",
    summary: "Claims pending entries for a consumer, going through all of a group step by step.",
    complexity: "O(COUNT): at most ten times as many entries are looked at",
    history: &[("7.0.0", "The reply's third part: ids of deleted entries that are pending no more.")],
    tips: &["nondeterministic_output"],
    args: &[
        Arg::key("key", 0),
        Arg::string("group"),
        Arg::string("consumer"),
        Arg::string("min-idle-time"),
        Arg::string("start"),
        Arg::integer("count").token("COUNT").optional(),
        Arg::word("justid", "JUSTID").optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

const COUNT_BY_DEFAULT: i64 = 100;
/// Redis reserves 16 bytes for each.
const COUNT_MAX: i64 = i64::MAX / 16;
/// From here on it would not get them.
const COUNT_RESERVED_MAX: i64 = 1 << 40;
/// For each entry that COUNT asks for, so many are looked at before the call ends.
const LOOKED_AT_PER_COUNT: i64 = 10;

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let (group_name, consumer_name) = (cx.args[2], cx.args[3]);
    let now_ms = cx.db.now.0;
    // Redis looks the key up before it reads the other arguments: a miss is an event even where one of them is wrong.
    cx.db.read(key);
    let idle_ms_min = parse_min_idle(cx.args[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let start = ids::parse_start(cx.args[5])?;
    let mut count = COUNT_BY_DEFAULT;
    let mut just_id = false;
    let mut index = 6;
    while index < cx.args.len() {
        if cx.word(index, "COUNT") && index + 1 < cx.args.len() {
            let number = resp::number::parse_i64(cx.args[index + 1]).filter(|number| (1..=COUNT_MAX).contains(number));
            count = number.ok_or(Error::text("ERR COUNT must be > 0"))?;
            index += 2;
        } else if cx.word(index, "JUSTID") {
            just_id = true;
            index += 1;
        } else {
            return Err(Error::Syntax.into());
        }
    }
    let found = cx.db.write_as::<Stream>(key)?.is_some_and(|stream| stream.groups.get(group_name).is_some());
    if !found {
        return no_group(cx.args[1], group_name);
    }
    if count > COUNT_RESERVED_MAX {
        return cx.fail("ERR Insufficient memory, failed allocating transient memory, COUNT too high.");
    }

    let mut propagation = Propagation::new(key.bytes(), group_name, cx.db.effects);
    let mut stream = cx.db.write_as::<Stream>(key)?.expect("it was read just now");
    let parts = &mut **stream;
    let group = parts.groups.get_mut(group_name).expect("it was found just now");
    let (consumer, created) = seen_consumer(group, consumer_name, now_ms);

    // The cursor stands before the entries, and is known after them.
    let mut entries = Reply::new();
    entries.set_proto(cx.reply.proto());
    entries.set_skip(cx.reply.skip());
    let mut written = 0;
    let mut lost: Vec<StreamId> = Vec::new();
    let mut looked_at = 0;
    let mut cursor = Some(start);
    let next = loop {
        let Some((id, pending)) = cursor.and_then(|from| group.pending_range(from..=StreamId::MAX).next()) else {
            break StreamId::MIN;
        };
        if looked_at == count.saturating_mul(LOOKED_AT_PER_COUNT) || written as i64 + lost.len() as i64 == count {
            break id;
        }
        looked_at += 1;
        cursor = id.next();
        let pending = *pending;
        let Some(entry) = parts.entries.get(id) else {
            propagation.claim(id, &pending, group);
            group.acknowledge(id);
            lost.push(id);
            continue;
        };
        if idle_ms_min > 0 && now_ms.saturating_sub(pending.delivered_at_ms) < idle_ms_min {
            continue;
        }
        let delivery_count = pending.delivery_count.wrapping_add(u64::from(!just_id));
        let claimed = Pending { consumer, delivered_at_ms: now_ms, delivery_count };
        group.assign(id, claimed);
        group.consumer_mut(consumer).active_at_ms = Some(now_ms);
        propagation.claim(id, &claimed, group);
        if just_id {
            put_id(&mut entries, id);
        } else {
            put_entry(&mut entries, &entry);
        }
        written += 1;
    };
    cx.reply.array(3);
    put_id(cx.reply, next);
    cx.reply.array(written);
    cx.reply.append(&mut entries);
    cx.reply.array(lost.len());
    lost.iter().for_each(|&id| put_id(cx.reply, id));
    drop(stream);
    if created {
        cx.db.notify(EventClass::STREAM, "xgroup-createconsumer", key.bytes());
    }
    cx.db.changed_unseen(propagation.changes);
    propagation.tell(cx.db.effects);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    #[test]
    fn step_by_step() {
        let mut rig = Rig::new();
        for number in 1..=5 {
            rig.run(&format!("XADD s 1-{number} a x"));
        }
        rig.script(&[
            ("XAUTOCLAIM s g c x 0", "-ERR Invalid min-idle-time argument for XAUTOCLAIM"),
            ("XAUTOCLAIM s g c 0 0 COUNT 0", "-ERR COUNT must be > 0"),
            ("XAUTOCLAIM s g c 0 0 COUNT 576460752303423488", "-ERR COUNT must be > 0"),
            ("XAUTOCLAIM s g c 0 0 FOO", "-ERR syntax error"),
            ("XAUTOCLAIM s g c 0 0", "-NOGROUP No such key 's' or consumer group 'g'"),
            ("XGROUP CREATE s g 0", "+OK"),
            ("XAUTOCLAIM s g c 0 0", "*3 $3 0-0 *0 *0"),
        ]);
        rig.run("XREADGROUP GROUP g alice STREAMS s >");
        rig.now.0 += 10;
        rig.script(&[
            ("XDEL s 1-2", ":1"),
            ("XAUTOCLAIM s g bob 11 - COUNT 1", "*3 $3 1-3 *0 *1 $3 1-2"),
            ("XAUTOCLAIM s g bob 10 - COUNT 1", "*3 $3 1-3 *1 *2 $3 1-1 *2 $1 a $1 x *0"),
            ("XAUTOCLAIM s g bob 10 1-3 COUNT 2 JUSTID", "*3 $3 1-5 *2 $3 1-3 $3 1-4 *0"),
            ("XAUTOCLAIM s g bob 0 (1-4", "*3 $3 0-0 *1 *2 $3 1-5 *2 $1 a $1 x *0"),
            ("XPENDING s g 1-3 + 9", "*3 *4 $3 1-3 $3 bob :0 :1 *4 $3 1-4 $3 bob :0 :1 *4 $3 1-5 $3 bob :0 :2"),
        ]);
    }

    #[test]
    fn no_more_than_ten_times_the_count_is_looked_at() {
        let mut rig = Rig::new();
        for number in 1..=15 {
            rig.run(&format!("XADD s 1-{number} a x"));
        }
        rig.run("XGROUP CREATE s g 0");
        rig.run("XREADGROUP GROUP g alice STREAMS s >");
        rig.script(&[("XAUTOCLAIM s g bob 1000 0 COUNT 1", "*3 $4 1-11 *0 *0")]);
    }
}

//! Commands on sorted sets. Geo commands (`crate::geo`) use them too.

mod range;
mod source;
#[cfg(test)]
pub mod testing;
pub mod zadd;
mod zcard;
mod zmpop;
mod zpop;
mod zrandmember;
mod zrange;
mod zrank;
mod zrem;
mod zscan;
mod zscore;
mod zunion;

use keyspace::collection::listpack::Item;
use keyspace::collection::sorted_set::SortedSetBuilder;
use keyspace::{Expiry, Key, NewValue};
use resp::{Proto, Reply};

use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::Spec;

/// All commands of the group.
pub const SPECS: &[&Spec] = &[
    &zmpop::BZMPOP,
    &zpop::BZPOPMAX,
    &zpop::BZPOPMIN,
    &zadd::ZADD,
    &zcard::ZCARD,
    &zcard::ZCOUNT,
    &zunion::ZDIFF,
    &zunion::ZDIFFSTORE,
    &zadd::ZINCRBY,
    &zunion::ZINTER,
    &zunion::ZINTERCARD,
    &zunion::ZINTERSTORE,
    &zcard::ZLEXCOUNT,
    &zmpop::ZMPOP,
    &zscore::ZMSCORE,
    &zpop::ZPOPMAX,
    &zpop::ZPOPMIN,
    &zrandmember::SPEC,
    &zrange::ZRANGE,
    &zrange::ZRANGEBYLEX,
    &zrange::ZRANGEBYSCORE,
    &zrange::ZRANGESTORE,
    &zrank::ZRANK,
    &zrem::ZREM,
    &zrem::BY_LEX,
    &zrem::BY_RANK,
    &zrem::BY_SCORE,
    &zrange::ZREVRANGE,
    &zrange::ZREVRANGEBYLEX,
    &zrange::ZREVRANGEBYSCORE,
    &zrank::ZREVRANK,
    &zscan::SPEC,
    &zscore::ZSCORE,
    &zunion::ZUNION,
    &zunion::ZUNIONSTORE,
];

#[inline]
pub fn put_member(reply: &mut Reply, member: &Item<'_>) {
    match member {
        Item::Int(number) => reply.bulk_int(*number),
        Item::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// The header of a list of members, with their scores or without.
#[inline]
fn put_header(reply: &mut Reply, count: usize, with_scores: bool) {
    reply.array(if with_scores && reply.proto() == Proto::Resp2 { 2 * count } else { count });
}

/// A member, and a pair with its score where that is shown: only RESP3 makes it one.
#[inline]
fn put_pair(reply: &mut Reply, member: &Item<'_>, score: Option<f64>) {
    let Some(score) = score else { return put_member(reply, member) };
    if reply.proto() == Proto::Resp3 {
        reply.array(2);
    }
    put_member(reply, member);
    reply.double(score);
}

/// Stores a result under a key, or deletes it where the result is empty, and replies with the number of its members.
pub fn store(cx: &mut Ctx<'_>, key: Key<'_>, event: &'static str, result: SortedSetBuilder) -> Outcome {
    let count = result.len();
    if count > 0 {
        let set = result.finish(&cx.global().settings.sorted_set);
        cx.db.set(key, NewValue::Object(set.into()), Expiry::Clear);
        cx.db.notify(EventClass::SORTED_SET, event, key.bytes());
        cx.db.changed(1);
    } else if cx.db.clear(key) {
        cx.db.changed(1);
    }
    cx.reply.count(count);
    Ok(())
}

#[cfg(test)]
mod tests {
    use config::KeyspaceEvents;

    use crate::effects::Readers;
    use crate::testing::{Rig, script};

    /// As Redis 8.2 was seen to choose.
    #[test]
    fn encodings() {
        let mut rig = Rig::new();
        rig.world.global.settings.sorted_set.listpack_entries_max = 2;
        rig.world.global.settings.sorted_set.listpack_value_bytes_max = 3;
        rig.script(&[
            ("ZADD a 1 abc 2 b", ":2"),
            ("OBJECT ENCODING a", "$8 listpack"),
            ("ZADD a 1 abc 1 abc", ":0"),
            ("OBJECT ENCODING a", "$8 listpack"),
            ("ZADD a XX 1 c 1 d 1 e", ":0"),
            ("OBJECT ENCODING a", "$8 skiplist"),
            ("ZADD b 1 abcd", ":1"),
            ("OBJECT ENCODING b", "$8 skiplist"),
            ("ZADD c 1 a 2 b", ":2"),
            ("ZADD c 3 c", ":1"),
            ("OBJECT ENCODING c", "$8 skiplist"),
            ("ZREM c c", ":1"),
            ("OBJECT ENCODING c", "$8 skiplist"),
            ("ZUNIONSTORE d 1 c", ":2"),
            ("OBJECT ENCODING d", "$8 listpack"),
            ("ZRANGESTORE e c 0 -1", ":2"),
            ("OBJECT ENCODING e", "$8 listpack"),
            ("ZUNIONSTORE f 2 b c", ":3"),
            ("OBJECT ENCODING f", "$8 skiplist"),
            ("ZADD g 1 a", ":1"),
            ("ZADD g XX 1 abcdef", ":0"),
            ("OBJECT ENCODING g", "$8 listpack"),
        ]);
    }

    /// Events and effects as Redis 8.2 was seen to have them.
    #[test]
    fn events_and_effects() {
        for (line, events, effect) in [
            ("ZADD new 1 a", "new zadd", "ZADD new 1 a"),
            ("ZADD z 1 a", "", ""),
            ("ZADD z 9 a", "zadd", "ZADD z 9 a"),
            ("ZINCRBY z 0 a", "", ""),
            ("ZINCRBY z 1 a", "zincr", "ZINCRBY z 1 a"),
            ("ZREM z a no", "zrem", "ZREM z a no"),
            ("ZREM z a b", "zrem del", "ZREM z a b"),
            ("ZREM no a", "", ""),
            ("ZPOPMIN z", "zpopmin", "ZPOPMIN z"),
            ("ZPOPMIN z 0", "", ""),
            ("ZMPOP 2 no z MAX COUNT 5", "zpopmax del", "ZPOPMAX z 2"),
            ("BZMPOP 0 1 z MIN", "zpopmin", "ZPOPMIN z 1"),
            ("BZPOPMAX no z 0", "zpopmax", "ZPOPMAX z"),
            ("ZREMRANGEBYRANK z 0 -1", "zremrangebyrank del", "ZREMRANGEBYRANK z 0 -1"),
            ("ZREMRANGEBYSCORE z 5 6", "", ""),
            ("ZUNIONSTORE s 1 z", "overwritten type_changed zunionstore", "ZUNIONSTORE s 1 z"),
            ("ZINTERSTORE new 2 z z", "new zinterstore", "ZINTERSTORE new 2 z z"),
            ("ZDIFFSTORE z 1 no", "keymiss del", "ZDIFFSTORE z 1 no"),
            ("ZDIFFSTORE no 1 no", "keymiss", ""),
            ("ZRANGESTORE z z 0 0", "overwritten zrangestore", "ZRANGESTORE z z 0 0"),
            ("ZRANK no a", "keymiss", ""),
            ("ZMPOP 1 no MIN", "", ""),
        ] {
            let mut rig = Rig { wide: true, ..Rig::default() };
            rig.script(&[("ZADD z 1 a 2 b", ":2"), ("SET s 1", "+OK")]);
            rig.readers = Readers { journal: true, events: KeyspaceEvents::all(), ..Readers::NONE };
            rig.run(line);
            let names: Vec<_> = rig.effects.events().iter().map(|event| event.name).collect();
            assert_eq!(names.join(" "), events, "{line}");
            let effects: Vec<_> =
                rig.effects.units().flat_map(|unit| unit.iter()).map(|effect| effect.to_string()).collect();
            assert_eq!(effects.join("; "), effect, "{line}");
        }
    }

    #[test]
    fn sets_count_as_scores_of_one() {
        script(&[
            ("ZADD z 1 a 2 b 3 c 4 d", ":4"),
            ("SADD set a b x", ":3"),
            ("ZUNION 2 z set WITHSCORES", "*10 $1 x $1 1 $1 a $1 2 $1 b $1 3 $1 c $1 3 $1 d $1 4"),
            ("ZUNIONSTORE d 2 z set WEIGHTS 2 10", ":5"),
            ("ZRANGE d 0 -1 WITHSCORES", "*10 $1 c $1 6 $1 d $1 8 $1 x $2 10 $1 a $2 12 $1 b $2 14"),
            ("ZINTER 2 set z WITHSCORES", "*4 $1 a $1 2 $1 b $1 3"),
            ("ZDIFF 2 set z WITHSCORES", "*2 $1 x $1 1"),
            ("ZINTERCARD 2 set z", ":2"),
        ]);
    }
}

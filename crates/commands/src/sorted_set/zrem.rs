//! `ZREM`, `ZREMRANGEBYRANK`, `ZREMRANGEBYSCORE` and `ZREMRANGEBYLEX`.

use std::ops::Range;

use keyspace::collection::sorted_set::Direction;
use keyspace::{Collection, SortedSet};

use super::range;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const ZREM: Spec = Spec {
    name: "zrem",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 1)],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Removes members, and the key with the last of them.",
    complexity: "O(M*log(N)), N being the size of the sorted set and M the number of members given",
    history: &[("2.4.0", "Several members at once.")],
    args: &[Arg::key("key", 0), Arg::string("member").multiple()],
    element_arg: 2,
    run: Some(zrem),
    ..Spec::NEW
};

pub const BY_RANK: Spec = Spec {
    name: "zremrangebyrank",
    arity: 4,
    flags: Flags::WRITE,
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 1)],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Removes the members in a range of places.",
    complexity: "O(log(N)+M), N being the size of the sorted set and M the number of members removed",
    args: &[Arg::key("key", 0), Arg::integer("start"), Arg::integer("stop")],
    run: Some(by_rank),
    ..Spec::NEW
};

pub const BY_SCORE: Spec = Spec {
    name: "zremrangebyscore",
    arity: 4,
    flags: Flags::WRITE,
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 1)],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Removes the members with a score in a range.",
    complexity: "O(log(N)+M), N being the size of the sorted set and M the number of members removed",
    args: &[Arg::key("key", 0), Arg::double("min"), Arg::double("max")],
    run: Some(by_score),
    ..Spec::NEW
};

pub const BY_LEX: Spec = Spec {
    name: "zremrangebylex",
    arity: 4,
    flags: Flags::WRITE,
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 1)],
    group: Group::SortedSet,
    since: "2.8.9",
    summary: "Removes the members in a range of names, all scores being equal.",
    complexity: "O(log(N)+M), N being the size of the sorted set and M the number of members removed",
    args: &[Arg::key("key", 0), Arg::string("min"), Arg::string("max")],
    run: Some(by_lex),
    ..Spec::NEW
};

fn zrem(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let mut removed = 0;
    if let Some(mut set) = cx.db.write_as::<SortedSet>(key)? {
        removed = cx.args[2..].iter().filter(|member| set.remove(member).is_some()).count();
    }
    conclude(cx, "zrem", removed);
    Ok(())
}

fn by_rank(cx: &mut Ctx<'_>) -> Outcome {
    let (start, end) = (cx.int(2)?, cx.int(3)?);
    remove_ranks(cx, "zremrangebyrank", |set| range::ranks(start, end, set.len()))
}

fn by_score(cx: &mut Ctx<'_>) -> Outcome {
    let range = range::scores(cx.args[2], cx.args[3])?;
    remove_ranks(cx, "zremrangebyscore", |set| set.ranks_by_score(&range))
}

fn by_lex(cx: &mut Ctx<'_>) -> Outcome {
    let range = range::members(cx.args[2], cx.args[3])?;
    remove_ranks(cx, "zremrangebylex", |set| set.ranks_by_lex(&range, Direction::Up))
}

fn remove_ranks(cx: &mut Ctx<'_>, event: &'static str, ranks: impl Fn(&SortedSet) -> Range<usize>) -> Outcome {
    let mut removed = 0;
    if let Some(mut set) = cx.db.write_as::<SortedSet>(cx.keys[0])? {
        let ranks = ranks(&set);
        removed = ranks.len();
        set.remove_ranks(ranks);
    }
    conclude(cx, event, removed);
    Ok(())
}

fn conclude(cx: &mut Ctx<'_>, event: &'static str, removed: usize) {
    let key = cx.keys[0];
    if removed > 0 {
        cx.db.notify(EventClass::SORTED_SET, event, key.bytes());
        cx.db.remove_if_empty(key);
        cx.db.changed(removed as u64);
    }
    cx.reply.count(removed);
}

#[cfg(test)]
mod tests {
    use super::super::testing::encodings;

    #[test]
    fn members_and_ranges() {
        encodings(&[
            ("ZADD z 1 a 2 b 3 c 4 d 5 e 6 f 7 g 8 h 9 i 10 j", ":10"),
            ("ZREM z a a no", ":1"),
            ("ZREM no a", ":0"),
            ("ZREMRANGEBYRANK z 0 1", ":2"),
            ("ZREMRANGEBYRANK z -1 -1", ":1"),
            ("ZREMRANGEBYRANK z 5 1", ":0"),
            ("ZREMRANGEBYRANK z 100 200", ":0"),
            ("ZREMRANGEBYSCORE z (4 5", ":1"),
            ("ZREMRANGEBYSCORE z 100 +inf", ":0"),
            ("ZREMRANGEBYLEX z [g [h", ":2"),
            ("ZRANGE z 0 -1 WITHSCORES", "*6 $1 d $1 4 $1 f $1 6 $1 i $1 9"),
            ("ZREMRANGEBYLEX z - +", ":3"),
            ("EXISTS z", ":0"),
            ("ZREMRANGEBYLEX z - +", ":0"),
        ]);
    }

    #[test]
    fn ranges_are_read_first() {
        encodings(&[
            ("SET s 1", "+OK"),
            ("ZREMRANGEBYRANK s x 1", "-ERR value is not an integer or out of range"),
            ("ZREMRANGEBYSCORE s x 1", "-ERR min or max is not a float"),
            ("ZREMRANGEBYLEX s x 1", "-ERR min or max not valid string range item"),
            ("ZREMRANGEBYLEX s - +", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("ZREM s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

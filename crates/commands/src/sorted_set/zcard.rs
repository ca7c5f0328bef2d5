//! `ZCARD`, `ZCOUNT` and `ZLEXCOUNT`.

use keyspace::collection::sorted_set::Direction;
use keyspace::{Collection, SortedSet};

use super::range;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const ZCARD: Spec = Spec {
    name: "zcard",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO, 1)],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Counts the members of a sorted set.",
    complexity: "O(1)",
    args: &[Arg::key("key", 0)],
    run: Some(zcard),
    ..Spec::NEW
};

pub const ZCOUNT: Spec = Spec {
    name: "zcount",
    arity: 4,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Counts the members with a score in a range.",
    complexity: "O(log(N)), N being the size of the sorted set",
    args: &[Arg::key("key", 0), Arg::double("min"), Arg::double("max")],
    run: Some(zcount),
    ..Spec::NEW
};

pub const ZLEXCOUNT: Spec = Spec {
    name: "zlexcount",
    arity: 4,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "2.8.9",
    summary: "Counts the members in a range of names, all scores being equal.",
    complexity: "O(log(N)), N being the size of the sorted set",
    args: &[Arg::key("key", 0), Arg::string("min"), Arg::string("max")],
    run: Some(zlexcount),
    ..Spec::NEW
};

fn zcard(cx: &mut Ctx<'_>) -> Outcome {
    count(cx, |set| set.len())
}

fn zcount(cx: &mut Ctx<'_>) -> Outcome {
    let range = range::scores(cx.args[2], cx.args[3])?;
    count(cx, |set| set.ranks_by_score(&range).len())
}

fn zlexcount(cx: &mut Ctx<'_>) -> Outcome {
    let range = range::members(cx.args[2], cx.args[3])?;
    count(cx, |set| set.ranks_by_lex(&range, Direction::Up).len())
}

fn count(cx: &mut Ctx<'_>, count: impl Fn(&SortedSet) -> usize) -> Outcome {
    let set = cx.db.read_as::<SortedSet>(cx.keys[0])?;
    let count = set.map_or(0, |set| count(&set));
    cx.reply.count(count);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::encodings;

    #[test]
    fn counts() {
        encodings(&[
            ("ZADD z 1 a 2 b 2 c 3 d", ":4"),
            ("ZCARD z", ":4"),
            ("ZCARD no", ":0"),
            ("ZCOUNT z 2 2", ":2"),
            ("ZCOUNT z (1 (3", ":2"),
            ("ZCOUNT z -inf +inf", ":4"),
            ("ZCOUNT z 3 1", ":0"),
            ("ZCOUNT no 1 2", ":0"),
            ("ZADD l 0 a 0 b 0 c", ":3"),
            ("ZLEXCOUNT l - +", ":3"),
            ("ZLEXCOUNT l [a (c", ":2"),
            ("ZLEXCOUNT l + -", ":0"),
            ("SET s 1", "+OK"),
            ("ZCOUNT s 1 x", "-ERR min or max is not a float"),
            ("ZLEXCOUNT s [a x", "-ERR min or max not valid string range item"),
            ("ZCARD s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

//! `ZRANK` and `ZREVRANK`.

use keyspace::collection::sorted_set::Direction;
use keyspace::{Collection, SortedSet};

use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const ZRANK: Spec = Spec {
    name: "zrank",
    arity: -3,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Returns the place of a member, counted from the lowest score.",
    complexity: "O(log(N)), N being the size of the sorted set",
    history: &[("7.2.0", "Option `WITHSCORE`.")],
    args: &[Arg::key("key", 0), Arg::string("member"), Arg::word("withscore", "WITHSCORE").optional()],
    element_arg: 2,
    run: Some(zrank),
    ..Spec::NEW
};

pub const ZREVRANK: Spec = Spec {
    name: "zrevrank",
    arity: -3,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Returns the place of a member, counted from the highest score.",
    complexity: "O(log(N)), N being the size of the sorted set",
    history: &[("7.2.0", "Option `WITHSCORE`.")],
    args: &[Arg::key("key", 0), Arg::string("member"), Arg::word("withscore", "WITHSCORE").optional()],
    element_arg: 2,
    run: Some(zrevrank),
    ..Spec::NEW
};

fn zrank(cx: &mut Ctx<'_>) -> Outcome {
    rank(cx, Direction::Up)
}

fn zrevrank(cx: &mut Ctx<'_>) -> Outcome {
    rank(cx, Direction::Down)
}

fn rank(cx: &mut Ctx<'_>, direction: Direction) -> Outcome {
    let with_score = cx.args.len() > 3;
    if cx.args.len() > 4 {
        return Err(Error::Arity(cx.command.spec.name.into()).into());
    }
    if with_score && !cx.word(3, "WITHSCORE") {
        return Err(Error::Syntax.into());
    }
    let set = cx.db.read_as::<SortedSet>(cx.keys[0])?;
    let found = set.and_then(|set| Some((set.rank(cx.args[2])?, set.len())));
    let Some(((rank, score), len)) = found else {
        if with_score {
            cx.reply.null_array()
        } else {
            cx.reply.null()
        };
        return Ok(());
    };
    let rank = if direction == Direction::Up { rank } else { len - 1 - rank };
    if with_score {
        cx.reply.array(2);
    }
    cx.reply.count(rank);
    if with_score {
        cx.reply.double(score);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::encodings;

    #[test]
    fn ranks() {
        encodings(&[
            ("ZADD z 1 a 2 b 2 c", ":3"),
            ("ZRANK z a", ":0"),
            ("ZRANK z c", ":2"),
            ("ZREVRANK z c", ":0"),
            ("ZREVRANK z a WITHSCORE", "*2 :2 $1 1"),
            ("ZRANK z b withscore", "*2 :1 $1 2"),
            ("ZRANK z no", "$-1"),
            ("ZRANK z no WITHSCORE", "*-1"),
            ("ZREVRANK no a WITHSCORE", "*-1"),
            ("SET s 1", "+OK"),
            ("ZRANK s a FOO", "-ERR syntax error"),
            ("ZRANK s a WITHSCORE x", "-ERR wrong number of arguments for 'zrank' command"),
            ("ZREVRANK s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

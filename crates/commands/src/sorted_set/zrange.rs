//! `ZRANGE` with all that it replaces, and `ZRANGESTORE`.

use std::ops::Range;

use keyspace::collection::sorted_set::{Direction, LexRange, ScoreRange, SortedSetBuilder};
use keyspace::{Collection, IntBuffer, SortedSet};

use super::{put_header, put_pair, range, store};
use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const ZRANGE: Spec = Spec {
    name: "zrange",
    arity: -4,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Returns the members in a range of places, scores or names.",
    complexity: "O(log(N)+M), N being the size of the sorted set and M the number of members returned",
    history: &[("6.2.0", "Options `REV`, `BYSCORE`, `BYLEX` and `LIMIT`.")],
    args: &[
        Arg::key("key", 0),
        Arg::string("start"),
        Arg::string("stop"),
        Arg::one_of("sortby", &[Arg::word("byscore", "BYSCORE"), Arg::word("bylex", "BYLEX")])
            .since("6.2.0")
            .optional(),
        Arg::word("rev", "REV").since("6.2.0").optional(),
        Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")]).token("LIMIT").since("6.2.0").optional(),
        Arg::word("withscores", "WITHSCORES").optional(),
    ],
    run: Some(zrange),
    ..Spec::NEW
};

pub const ZREVRANGE: Spec = Spec {
    name: "zrevrange",
    arity: -4,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Returns the members in a range of places, the highest score first.",
    complexity: "O(log(N)+M), N being the size of the sorted set and M the number of members returned",
    doc_flags: &["deprecated"],
    deprecated_since: Some("6.2.0"),
    replaced_by: Some("`ZRANGE` with the `REV` argument"),
    args: &[
        Arg::key("key", 0),
        Arg::integer("start"),
        Arg::integer("stop"),
        Arg::word("withscores", "WITHSCORES").optional(),
    ],
    run: Some(zrevrange),
    ..Spec::NEW
};

pub const ZRANGEBYSCORE: Spec = Spec {
    name: "zrangebyscore",
    arity: -4,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "1.0.5",
    summary: "Returns the members with a score in a range.",
    complexity: "O(log(N)+M), N being the size of the sorted set and M the number of members returned",
    doc_flags: &["deprecated"],
    deprecated_since: Some("6.2.0"),
    replaced_by: Some("`ZRANGE` with the `BYSCORE` argument"),
    history: &[("2.0.0", "Option `WITHSCORES`.")],
    args: &[
        Arg::key("key", 0),
        Arg::double("min"),
        Arg::double("max"),
        Arg::word("withscores", "WITHSCORES").since("2.0.0").optional(),
        Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")]).token("LIMIT").optional(),
    ],
    run: Some(zrangebyscore),
    ..Spec::NEW
};

pub const ZREVRANGEBYSCORE: Spec = Spec {
    name: "zrevrangebyscore",
    arity: -4,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "2.2.0",
    summary: "Returns the members with a score in a range, the highest first.",
    complexity: "O(log(N)+M), N being the size of the sorted set and M the number of members returned",
    doc_flags: &["deprecated"],
    deprecated_since: Some("6.2.0"),
    replaced_by: Some("`ZRANGE` with the `REV` and `BYSCORE` arguments"),
    history: &[("2.1.6", "Bounds that do not belong to the range.")],
    args: &[
        Arg::key("key", 0),
        Arg::double("max"),
        Arg::double("min"),
        Arg::word("withscores", "WITHSCORES").optional(),
        Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")]).token("LIMIT").optional(),
    ],
    run: Some(zrevrangebyscore),
    ..Spec::NEW
};

pub const ZRANGEBYLEX: Spec = Spec {
    name: "zrangebylex",
    arity: -4,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "2.8.9",
    summary: "Returns the members in a range of names, all scores being equal.",
    complexity: "O(log(N)+M), N being the size of the sorted set and M the number of members returned",
    doc_flags: &["deprecated"],
    deprecated_since: Some("6.2.0"),
    replaced_by: Some("`ZRANGE` with the `BYLEX` argument"),
    args: &[
        Arg::key("key", 0),
        Arg::string("min"),
        Arg::string("max"),
        Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")]).token("LIMIT").optional(),
    ],
    run: Some(zrangebylex),
    ..Spec::NEW
};

pub const ZREVRANGEBYLEX: Spec = Spec {
    name: "zrevrangebylex",
    arity: -4,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "2.8.9",
    summary: "Returns the members in a range of names backwards, all scores being equal.",
    complexity: "O(log(N)+M), N being the size of the sorted set and M the number of members returned",
    doc_flags: &["deprecated"],
    deprecated_since: Some("6.2.0"),
    replaced_by: Some("`ZRANGE` with the `REV` and `BYLEX` arguments"),
    args: &[
        Arg::key("key", 0),
        Arg::string("max"),
        Arg::string("min"),
        Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")]).token("LIMIT").optional(),
    ],
    run: Some(zrevrangebylex),
    ..Spec::NEW
};

pub const ZRANGESTORE: Spec = Spec {
    name: "zrangestore",
    arity: -5,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 1),
        KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 2),
    ],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Stores the members in a range under another key.",
    complexity: "O(log(N)+M), N being the size of the sorted set and M the number of members stored",
    args: &[
        Arg::key("dst", 0),
        Arg::key("src", 1),
        Arg::string("min"),
        Arg::string("max"),
        Arg::one_of("sortby", &[Arg::word("byscore", "BYSCORE"), Arg::word("bylex", "BYLEX")]).optional(),
        Arg::word("rev", "REV").optional(),
        Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")]).token("LIMIT").optional(),
    ],
    run: Some(zrangestore),
    ..Spec::NEW
};

fn zrange(cx: &mut Ctx<'_>) -> Outcome {
    reply(cx, None, None)
}

fn zrevrange(cx: &mut Ctx<'_>) -> Outcome {
    reply(cx, Some(By::Rank), Some(Direction::Down))
}

fn zrangebyscore(cx: &mut Ctx<'_>) -> Outcome {
    reply(cx, Some(By::Score), Some(Direction::Up))
}

fn zrevrangebyscore(cx: &mut Ctx<'_>) -> Outcome {
    reply(cx, Some(By::Score), Some(Direction::Down))
}

fn zrangebylex(cx: &mut Ctx<'_>) -> Outcome {
    reply(cx, Some(By::Lex), Some(Direction::Up))
}

fn zrevrangebylex(cx: &mut Ctx<'_>) -> Outcome {
    reply(cx, Some(By::Lex), Some(Direction::Down))
}

fn reply(cx: &mut Ctx<'_>, by: Option<By>, direction: Option<Direction>) -> Outcome {
    let request = Request::parse(cx, 2, by, direction, true)?;
    let Some(set) = cx.db.read_as::<SortedSet>(cx.keys[0])? else {
        cx.reply.array(0);
        return Ok(());
    };
    let ranks = request.ranks(&set);
    put_header(cx.reply, ranks.len(), request.with_scores);
    for (member, score) in set.iter(ranks, request.direction) {
        put_pair(cx.reply, &member, request.with_scores.then_some(score));
    }
    Ok(())
}

fn zrangestore(cx: &mut Ctx<'_>) -> Outcome {
    let request = Request::parse(cx, 3, None, None, false)?;
    let mut result = SortedSetBuilder::default();
    if let Some(set) = cx.db.read_as::<SortedSet>(cx.keys[1])? {
        let mut buffer = IntBuffer::new();
        for (member, score) in set.iter(request.ranks(&set), request.direction) {
            result.push(member.bytes(&mut buffer), score);
        }
    }
    store(cx, cx.keys[0], "zrangestore", result)
}

/// What a range is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

enum Bounds<'a> {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

struct Request<'a> {
    bounds: Bounds<'a>,
    direction: Direction,
    with_scores: bool,
    offset: i64,
    /// Negative: no limit.
    limit: i64,
}

impl<'a> Request<'a> {
    /// Reads bounds at argument `first`, and the options behind them. `by` and `direction` are given where the command's name says them: then
    /// the words for them are not known.
    fn parse(
        cx: &Ctx<'a>,
        first: usize,
        mut by: Option<By>,
        mut direction: Option<Direction>,
        may_score: bool,
    ) -> Result<Request<'a>, Stop> {
        let (mut with_scores, mut offset, mut limit) = (false, 0, -1);
        let mut at = first + 2;
        while at < cx.args.len() {
            if may_score && cx.word(at, "WITHSCORES") {
                with_scores = true;
            } else if cx.word(at, "LIMIT") && at + 2 < cx.args.len() {
                (offset, limit) = (cx.int(at + 1)?, cx.int(at + 2)?);
                at += 2;
            } else if direction.is_none() && cx.word(at, "REV") {
                direction = Some(Direction::Down);
            } else if by.is_none() && cx.word(at, "BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && cx.word(at, "BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(Error::Syntax.into());
            }
            at += 1;
        }
        let by = by.unwrap_or(By::Rank);
        let direction = direction.unwrap_or(Direction::Up);
        if limit != -1 && by == By::Rank {
            return cx.fail("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
        }
        if with_scores && by == By::Lex {
            return cx.fail("ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        }
        // Going down, the upper bound is written first.
        let (min, max) = match direction {
            Direction::Up => (cx.args[first], cx.args[first + 1]),
            Direction::Down => (cx.args[first + 1], cx.args[first]),
        };
        let bounds = match by {
            By::Rank => Bounds::Ranks(cx.int(first)?, cx.int(first + 1)?),
            By::Score => Bounds::Scores(range::scores(min, max)?),
            By::Lex => Bounds::Members(range::members(min, max)?),
        };
        Ok(Request { bounds, direction, with_scores, offset, limit })
    }

    /// The ranks, counted upwards, of what is asked for.
    fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let (found, len) = match &self.bounds {
            Bounds::Ranks(start, end) => {
                let ranks = range::ranks(*start, *end, set.len());
                return match self.direction {
                    Direction::Up => ranks,
                    Direction::Down => set.len() - ranks.end..set.len() - ranks.start,
                };
            }
            Bounds::Scores(range) => (set.ranks_by_score(range), set.len()),
            Bounds::Members(range) => (set.ranks_by_lex(range, self.direction), set.len()),
        };
        // A negative offset leaves nothing.
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX).min(found.len());
        let limit = usize::try_from(self.limit).unwrap_or(len).min(found.len() - offset);
        match self.direction {
            Direction::Up => found.start + offset..found.start + offset + limit,
            Direction::Down => found.end - offset - limit..found.end - offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::encodings;

    #[test]
    fn by_rank() {
        encodings(&[
            ("ZADD z 1 a 2 b 3 c 4 d", ":4"),
            ("ZRANGE z 0 -1", "*4 $1 a $1 b $1 c $1 d"),
            ("ZRANGE z 1 2 WITHSCORES", "*4 $1 b $1 2 $1 c $1 3"),
            ("ZRANGE z 0 1 REV", "*2 $1 d $1 c"),
            ("ZREVRANGE z -1 -1 withscores", "*2 $1 a $1 1"),
            ("ZRANGE z 2 1", "*0"),
            ("ZRANGE no 0 -1", "*0"),
            ("ZRANGE z 1 9 LIMIT 0 -1", "*3 $1 b $1 c $1 d"),
        ]);
    }

    #[test]
    fn by_score() {
        encodings(&[
            ("ZADD z 1 a 2 b 3 c 4 d", ":4"),
            ("ZRANGE z (1 3 BYSCORE", "*2 $1 b $1 c"),
            ("ZRANGE z 3 1 BYSCORE REV WITHSCORES", "*6 $1 c $1 3 $1 b $1 2 $1 a $1 1"),
            ("ZRANGE z 1 3 BYSCORE REV", "*0"),
            ("ZRANGEBYSCORE z -inf +inf LIMIT 1 2", "*2 $1 b $1 c"),
            ("ZREVRANGEBYSCORE z +inf -inf LIMIT 1 2", "*2 $1 c $1 b"),
            ("ZRANGEBYSCORE z 1 3 LIMIT -1 2", "*0"),
            ("ZRANGEBYSCORE z 1 3 LIMIT 1 -1", "*2 $1 b $1 c"),
            ("ZRANGEBYSCORE z 1 3 LIMIT 1 0", "*0"),
            ("ZRANGEBYSCORE z 1 3 LIMIT 1 1 LIMIT 0 2 WITHSCORES WITHSCORES", "*4 $1 a $1 1 $1 b $1 2"),
            ("ZRANGEBYSCORE z 1 9 LIMIT 9223372036854775807 1", "*0"),
            ("ZRANGEBYSCORE z 1 9 LIMIT 1 9223372036854775807", "*3 $1 b $1 c $1 d"),
        ]);
    }

    #[test]
    fn by_member() {
        encodings(&[
            ("ZADD z 0 a 0 b 0 c 0 d", ":4"),
            ("ZRANGE z - + BYLEX", "*4 $1 a $1 b $1 c $1 d"),
            ("ZRANGE z + - BYLEX REV LIMIT 1 2", "*2 $1 c $1 b"),
            ("ZRANGEBYLEX z [b (d", "*2 $1 b $1 c"),
            ("ZRANGEBYLEX z [b (b", "*0"),
            ("ZREVRANGEBYLEX z (d [b", "*2 $1 c $1 b"),
            ("ZRANGEBYLEX z - [aa LIMIT 0 -1", "*1 $1 a"),
            ("ZRANGEBYLEX z + -", "*0"),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        encodings(&[
            ("SET s 1", "+OK"),
            ("ZRANGE s 0 -1 FOO", "-ERR syntax error"),
            ("ZRANGE s x -1", "-ERR value is not an integer or out of range"),
            (
                "ZRANGE s x -1 LIMIT 0 1",
                "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ),
            ("ZRANGE s x y BYLEX WITHSCORES", "-ERR syntax error, WITHSCORES not supported in combination with BYLEX"),
            ("ZRANGE s x y BYSCORE", "-ERR min or max is not a float"),
            ("ZRANGE s x y BYLEX", "-ERR min or max not valid string range item"),
            ("ZRANGE s 1 3 BYSCORE BYLEX", "-ERR syntax error"),
            ("ZRANGE s 1 3 BYSCORE LIMIT 1", "-ERR syntax error"),
            ("ZRANGE s 1 3 BYSCORE LIMIT a 0 FOO", "-ERR value is not an integer or out of range"),
            ("ZRANGEBYSCORE s 1 2 BYSCORE", "-ERR syntax error"),
            ("ZREVRANGE s 0 1 REV", "-ERR syntax error"),
            ("ZRANGESTORE d s 0 1 WITHSCORES", "-ERR syntax error"),
            ("ZRANGE s 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("ZRANGESTORE d s 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }

    #[test]
    fn stored() {
        encodings(&[
            ("ZADD z 1 a 2 b 3 c 4 d", ":4"),
            ("SET d 1", "+OK"),
            ("ZRANGESTORE d z 2 3 BYSCORE", ":2"),
            ("ZRANGE d 0 -1 WITHSCORES", "*4 $1 b $1 2 $1 c $1 3"),
            ("ZRANGESTORE d z 10 20", ":0"),
            ("EXISTS d", ":0"),
            ("ZRANGESTORE z z 0 1 REV", ":2"),
            ("ZRANGE z 0 -1", "*2 $1 c $1 d"),
            ("ZRANGESTORE d no 0 1", ":0"),
        ]);
    }
}

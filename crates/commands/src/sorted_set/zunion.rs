//! `ZUNION`, `ZINTER`, `ZDIFF`, each with `STORE`, and `ZINTERCARD`.

use std::ops::ControlFlow;

use keyspace::collection::listpack::Item;
use keyspace::collection::sorted_set::SortedSetBuilder;
use smallvec::SmallVec;

use super::source::{self, Source, Sources};
use super::{put_header, put_pair, store};
use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Begin, Find, Flags, Group, KeyFlags, KeySpec, Spec};

pub const ZUNION: Spec = Spec {
    name: "zunion",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec {
        notes: None,
        flags: KeyFlags::RO.union(KeyFlags::ACCESS),
        begin: Begin::Index(1),
        find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 1 },
    }],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Unites sorted sets, and puts the scores of equal members together.",
    complexity: "O(N+M*log(M)), N being the members of all sorted sets together and M the size of the result",
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key", 0).multiple(),
        Arg::integer("weight").token("WEIGHTS").optional().multiple(),
        Arg::one_of("aggregate", &[Arg::word("sum", "SUM"), Arg::word("min", "MIN"), Arg::word("max", "MAX")])
            .token("AGGREGATE")
            .optional(),
        Arg::word("withscores", "WITHSCORES").optional(),
    ],
    run: Some(zunion),
    ..Spec::NEW
};

pub const ZINTER: Spec = Spec {
    name: "zinter",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec {
        notes: None,
        flags: KeyFlags::RO.union(KeyFlags::ACCESS),
        begin: Begin::Index(1),
        find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 1 },
    }],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Returns the members that all the sorted sets have, with their scores put together.",
    complexity: "O(N*K+M*log(M)), N being the size of the smallest sorted set, K their number and M the size of the result",
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key", 0).multiple(),
        Arg::integer("weight").token("WEIGHTS").optional().multiple(),
        Arg::one_of("aggregate", &[Arg::word("sum", "SUM"), Arg::word("min", "MIN"), Arg::word("max", "MAX")])
            .token("AGGREGATE")
            .optional(),
        Arg::word("withscores", "WITHSCORES").optional(),
    ],
    run: Some(zinter),
    ..Spec::NEW
};

pub const ZDIFF: Spec = Spec {
    name: "zdiff",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec {
        notes: None,
        flags: KeyFlags::RO.union(KeyFlags::ACCESS),
        begin: Begin::Index(1),
        find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 1 },
    }],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Returns the members of the first sorted set that no other has.",
    complexity: "O(L+(N-K)*log(N)) at worst, L being the members of all sorted sets together, N the size of the first and K the size of the result",
    args: &[Arg::integer("numkeys"), Arg::key("key", 0).multiple(), Arg::word("withscores", "WITHSCORES").optional()],
    run: Some(zdiff),
    ..Spec::NEW
};

pub const ZUNIONSTORE: Spec = Spec {
    name: "zunionstore",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 1),
        KeySpec {
            notes: None,
            flags: KeyFlags::RO.union(KeyFlags::ACCESS),
            begin: Begin::Index(2),
            find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 1 },
        },
    ],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Unites sorted sets, and stores the result.",
    complexity: "O(N+M*log(M)), N being the members of all sorted sets together and M the size of the result",
    args: &[
        Arg::key("destination", 0),
        Arg::integer("numkeys"),
        Arg::key("key", 1).multiple(),
        Arg::integer("weight").token("WEIGHTS").optional().multiple(),
        Arg::one_of("aggregate", &[Arg::word("sum", "SUM"), Arg::word("min", "MIN"), Arg::word("max", "MAX")])
            .token("AGGREGATE")
            .optional(),
    ],
    run: Some(zunionstore),
    ..Spec::NEW
};

pub const ZINTERSTORE: Spec = Spec {
    name: "zinterstore",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 1),
        KeySpec {
            notes: None,
            flags: KeyFlags::RO.union(KeyFlags::ACCESS),
            begin: Begin::Index(2),
            find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 1 },
        },
    ],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Stores the members that all the sorted sets have, with their scores put together.",
    complexity: "O(N*K+M*log(M)), N being the size of the smallest sorted set, K their number and M the size of the result",
    args: &[
        Arg::key("destination", 0),
        Arg::integer("numkeys"),
        Arg::key("key", 1).multiple(),
        Arg::integer("weight").token("WEIGHTS").optional().multiple(),
        Arg::one_of("aggregate", &[Arg::word("sum", "SUM"), Arg::word("min", "MIN"), Arg::word("max", "MAX")])
            .token("AGGREGATE")
            .optional(),
    ],
    run: Some(zinterstore),
    ..Spec::NEW
};

pub const ZDIFFSTORE: Spec = Spec {
    name: "zdiffstore",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 1),
        KeySpec {
            notes: None,
            flags: KeyFlags::RO.union(KeyFlags::ACCESS),
            begin: Begin::Index(2),
            find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 1 },
        },
    ],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Stores the members of the first sorted set that no other has.",
    complexity: "O(L+(N-K)*log(N)) at worst, L being the members of all sorted sets together, N the size of the first and K the size of the result",
    args: &[Arg::key("destination", 0), Arg::integer("numkeys"), Arg::key("key", 1).multiple()],
    run: Some(zdiffstore),
    ..Spec::NEW
};

pub const ZINTERCARD: Spec = Spec {
    name: "zintercard",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec {
        notes: None,
        flags: KeyFlags::RO.union(KeyFlags::ACCESS),
        begin: Begin::Index(1),
        find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 1 },
    }],
    group: Group::SortedSet,
    since: "7.0.0",
    summary: "Counts the members that all the sorted sets have.",
    complexity: "O(N*K), N being the size of the smallest sorted set and K their number",
    args: &[Arg::integer("numkeys"), Arg::key("key", 0).multiple(), Arg::integer("limit").token("LIMIT").optional()],
    run: Some(zintercard),
    ..Spec::NEW
};

fn zunion(cx: &mut Ctx<'_>) -> Outcome {
    reply(cx, Operation::Union)
}

fn zinter(cx: &mut Ctx<'_>) -> Outcome {
    reply(cx, Operation::Intersection)
}

fn zdiff(cx: &mut Ctx<'_>) -> Outcome {
    reply(cx, Operation::Difference)
}

fn zunionstore(cx: &mut Ctx<'_>) -> Outcome {
    store_result(cx, Operation::Union, "zunionstore")
}

fn zinterstore(cx: &mut Ctx<'_>) -> Outcome {
    store_result(cx, Operation::Intersection, "zinterstore")
}

fn zdiffstore(cx: &mut Ctx<'_>) -> Outcome {
    store_result(cx, Operation::Difference, "zdiffstore")
}

fn reply(cx: &mut Ctx<'_>, operation: Operation) -> Outcome {
    let count = source::count(cx, 1)?;
    let sources = source::read(&mut cx.db, cx.keys)?;
    let options = Options::parse(cx.args, 2 + count, count, operation, true)?;
    let result = combine(&sources, operation, &options);
    put_header(cx.reply, result.len(), options.with_scores);
    result.for_each(|member, score| put_pair(cx.reply, &Item::Bytes(member), options.with_scores.then_some(score)));
    Ok(())
}

fn store_result(cx: &mut Ctx<'_>, operation: Operation, event: &'static str) -> Outcome {
    let count = source::count(cx, 2)?;
    let sources = source::read(&mut cx.db, &cx.keys[1..])?;
    let options = Options::parse(cx.args, 3 + count, count, operation, false)?;
    let result = combine(&sources, operation, &options);
    drop(sources);
    store(cx, cx.keys[0], event, result)
}

fn zintercard(cx: &mut Ctx<'_>) -> Outcome {
    let count = source::count(cx, 1)?;
    let sources = source::read(&mut cx.db, cx.keys)?;
    let mut limit = 0;
    for pair in cx.args[2 + count..].chunks(2) {
        match pair {
            [word, number] if word.eq_ignore_ascii_case(b"LIMIT") => {
                match resp::number::parse_i64(number).and_then(|number| usize::try_from(number).ok()) {
                    Some(number) => limit = number,
                    None => return Err(Error::text("ERR LIMIT can't be negative").into()),
                }
            }
            _ => return Err(Error::Syntax.into()),
        }
    }
    let sources = by_len(&sources);
    let mut found = 0;
    each_common(&sources, |_, _| {
        found += 1;
        if found == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    cx.reply.count(found);
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of several scores of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    #[inline]
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum => number(one + other),
            Aggregate::Min => {
                if other < one {
                    other
                } else {
                    one
                }
            }
            Aggregate::Max => {
                if other > one {
                    other
                } else {
                    one
                }
            }
        }
    }
}

/// Infinities that cancel out, and infinity times nothing, count as 0.
#[inline]
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

struct Options {
    /// Empty: all are 1.
    weights: SmallVec<[f64; 4]>,
    aggregate: Aggregate,
    with_scores: bool,
}

impl Options {
    fn parse(
        args: &[&[u8]],
        first: usize,
        count: usize,
        operation: Operation,
        may_score: bool,
    ) -> Result<Options, Stop> {
        let mut options = Options { weights: SmallVec::new(), aggregate: Aggregate::Sum, with_scores: false };
        let combines = operation != Operation::Difference;
        let mut words = &args[first..];
        while let [word, rest @ ..] = words {
            let is = |text: &str| word.eq_ignore_ascii_case(text.as_bytes());
            words = match rest {
                _ if combines && rest.len() >= count && is("WEIGHTS") => {
                    let weight = |text: &&[u8]| resp::number::parse_f64(text);
                    options.weights = rest[..count]
                        .iter()
                        .map(weight)
                        .collect::<Option<_>>()
                        .ok_or(Error::text("ERR weight value is not a float"))?;
                    &rest[count..]
                }
                [name, rest @ ..] if combines && is("AGGREGATE") => {
                    options.aggregate = match name.to_ascii_uppercase().as_slice() {
                        b"SUM" => Aggregate::Sum,
                        b"MIN" => Aggregate::Min,
                        b"MAX" => Aggregate::Max,
                        _ => return Err(Error::Syntax.into()),
                    };
                    rest
                }
                _ if may_score && is("WITHSCORES") => {
                    options.with_scores = true;
                    rest
                }
                _ => return Err(Error::Syntax.into()),
            };
        }
        Ok(options)
    }

    fn weight(&self, index: usize) -> f64 {
        self.weights.get(index).copied().unwrap_or(1.0)
    }
}

/// The inputs with their places among the arguments, the smallest first: so Redis adds scores up, and in another order they might round
/// differently.
fn by_len<'s>(sources: &'s Sources<'_>) -> SmallVec<[(usize, &'s Source<'s>); 4]> {
    let mut sources: SmallVec<[(usize, &Source<'_>); 4]> = sources.iter().enumerate().collect();
    sources.sort_by_key(|(_, source)| source.len());
    sources
}

fn combine(sources: &Sources<'_>, operation: Operation, options: &Options) -> SortedSetBuilder {
    let mut result = SortedSetBuilder::default();
    match operation {
        Operation::Union => {
            for (index, source) in by_len(sources) {
                let weight = options.weight(index);
                source.for_each(|member, score| {
                    result.add(member, number(weight * score), |one, other| options.aggregate.of(one, other));
                    ControlFlow::Continue(())
                });
            }
        }
        Operation::Intersection => {
            let sources = by_len(sources);
            each_common(&sources, |member, scores| {
                // As in Redis, infinity times nothing is 0 in the first input only; in another it makes a sum 0, and is passed over
                // by MIN and MAX.
                let mut weighted =
                    scores.iter().zip(&sources).map(|(score, (index, _))| options.weight(*index) * score);
                let first = number(weighted.next().expect("there is at least one input"));
                result.push(member, weighted.fold(first, |one, other| options.aggregate.of(one, other)));
                ControlFlow::Continue(())
            });
        }
        Operation::Difference => subtract(sources, &mut result),
    }
    result
}

/// Every member that all inputs have, with its scores in their order.
fn each_common(sources: &[(usize, &Source<'_>)], mut visit: impl FnMut(&[u8], &[f64]) -> ControlFlow<()>) {
    let ((_, smallest), others) = sources.split_first().expect("there is at least one input");
    let mut scores: SmallVec<[f64; 4]> = SmallVec::new();
    smallest.for_each(|member, score| {
        scores.clear();
        scores.push(score);
        for (_, other) in others {
            match other.score(member) {
                Some(score) => scores.push(score),
                None => return ControlFlow::Continue(()),
            }
        }
        visit(member, &scores)
    });
}

fn subtract(sources: &Sources<'_>, result: &mut SortedSetBuilder) {
    let (first, others) = sources.split_first().expect("there is at least one input");
    // Either every member of the first is looked for in all others, or all of theirs are taken away from it: what is less work.
    let lookups = first.len().saturating_mul(others.len());
    let total = others.iter().map(Source::len).sum::<usize>() + first.len();
    if lookups <= total {
        first.for_each(|member, score| {
            if others.iter().all(|other| other.score(member).is_none()) {
                result.push(member, score);
            }
            ControlFlow::Continue(())
        });
        return;
    }
    first.for_each(|member, score| {
        result.push(member, score);
        ControlFlow::Continue(())
    });
    for other in others {
        other.for_each(|member, _| {
            result.remove(member);
            if result.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::encodings;

    const Z: (&str, &str) = ("ZADD z 1 a 2 b 3 c 4 d", ":4");
    const Y: (&str, &str) = ("ZADD y 10 a 20 c 5 e", ":3");

    #[test]
    fn unions() {
        encodings(&[
            Z,
            Y,
            ("ZUNION 2 z y", "*5 $1 b $1 d $1 e $1 a $1 c"),
            ("ZUNION 2 z y WITHSCORES", "*10 $1 b $1 2 $1 d $1 4 $1 e $1 5 $1 a $2 11 $1 c $2 23"),
            ("ZUNION 2 z y WEIGHTS 2 0.5 WITHSCORES", "*10 $1 e $3 2.5 $1 b $1 4 $1 a $1 7 $1 d $1 8 $1 c $2 16"),
            ("ZUNION 2 z y AGGREGATE MAX WITHSCORES", "*10 $1 b $1 2 $1 d $1 4 $1 e $1 5 $1 a $2 10 $1 c $2 20"),
            ("ZUNION 2 z no AGGREGATE min", "*4 $1 a $1 b $1 c $1 d"),
            ("ZUNION 2 z y WEIGHTS 1 2 AGGREGATE MIN WEIGHTS 1 1 AGGREGATE SUM", "*5 $1 b $1 d $1 e $1 a $1 c"),
            ("ZUNIONSTORE d 2 z y", ":5"),
            ("ZRANGE d 0 -1", "*5 $1 b $1 d $1 e $1 a $1 c"),
            ("ZUNIONSTORE z 1 z WEIGHTS 2", ":4"),
            ("ZSCORE z d", "$1 8"),
            ("ZUNIONSTORE d 1 no", ":0"),
            ("EXISTS d", ":0"),
            ("ZADD i inf a", ":1"),
            ("ZADD j -inf a", ":1"),
            ("ZUNION 2 i j WITHSCORES", "*2 $1 a $1 0"),
            ("ZUNION 2 i j WEIGHTS 0 0 WITHSCORES", "*2 $1 a $1 0"),
            ("ZUNION 1 y WEIGHTS -0 WITHSCORES", "*6 $1 a $2 -0 $1 c $2 -0 $1 e $2 -0"),
        ]);
    }

    #[test]
    fn intersections() {
        encodings(&[
            Z,
            Y,
            ("ZINTER 2 z y WITHSCORES", "*4 $1 a $2 11 $1 c $2 23"),
            ("ZINTER 2 z y WITHSCORES WEIGHTS 1 -1", "*4 $1 c $3 -17 $1 a $2 -9"),
            ("ZINTER 2 z no", "*0"),
            ("ZINTERSTORE d 2 y z AGGREGATE MIN", ":2"),
            ("ZRANGE d 0 -1 WITHSCORES", "*4 $1 a $1 1 $1 c $1 3"),
            ("ZINTERCARD 2 z y", ":2"),
            ("ZINTERCARD 2 z y LIMIT 1", ":1"),
            ("ZINTERCARD 2 z y LIMIT 0", ":2"),
            ("ZINTERCARD 2 z y LIMIT 1 limit 5", ":2"),
            ("ZINTERCARD 2 z no", ":0"),
        ]);
    }

    #[test]
    fn differences() {
        encodings(&[
            Z,
            Y,
            ("ZADD x 1 b 2 q", ":2"),
            ("ZDIFF 2 z y WITHSCORES", "*4 $1 b $1 2 $1 d $1 4"),
            ("ZDIFF 3 z y x", "*1 $1 d"),
            ("ZDIFF 4 z x x x WITHSCORES", "*6 $1 a $1 1 $1 c $1 3 $1 d $1 4"),
            ("ZDIFF 2 z z", "*0"),
            ("ZDIFF 2 no z", "*0"),
            ("ZDIFFSTORE d 2 z y", ":2"),
            ("ZRANGE d 0 -1", "*2 $1 b $1 d"),
            ("ZDIFFSTORE d 2 z z", ":0"),
            ("EXISTS d", ":0"),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        encodings(&[
            Z,
            ("SET s 1", "+OK"),
            ("ZUNION 0 z", "-ERR at least 1 input key is needed for 'zunion' command"),
            ("ZUNIONSTORE d -1 z", "-ERR at least 1 input key is needed for 'zunionstore' command"),
            ("ZINTERCARD 0 z", "-ERR at least 1 input key is needed for 'zintercard' command"),
            ("ZDIFF x z", "-ERR value is not an integer or out of range"),
            ("ZUNION 2 z", "-ERR syntax error"),
            ("ZUNION 9223372036854775807 z", "-ERR syntax error"),
            ("ZUNION 2 no s FOO", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("ZINTERCARD 2 no s FOO", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("ZINTERCARD 2 no s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("ZINTERCARD 1 z LIMIT x", "-ERR LIMIT can't be negative"),
            ("ZINTERCARD 1 z LIMIT -1", "-ERR LIMIT can't be negative"),
            ("ZINTERCARD 1 z LIMIT", "-ERR syntax error"),
            ("ZUNION 1 z WEIGHTS", "-ERR syntax error"),
            ("ZUNION 1 z WEIGHTS x", "-ERR weight value is not a float"),
            ("ZUNION 1 z WEIGHTS nan", "-ERR weight value is not a float"),
            ("ZUNION 1 z AGGREGATE", "-ERR syntax error"),
            ("ZUNION 1 z AGGREGATE FOO", "-ERR syntax error"),
            ("ZUNIONSTORE d 1 z WITHSCORES", "-ERR syntax error"),
            ("ZDIFF 1 z WEIGHTS 1", "-ERR syntax error"),
            ("ZDIFF 1 z AGGREGATE MIN", "-ERR syntax error"),
        ]);
    }
}

//! `ZADD` and `ZINCRBY`.

use keyspace::SortedSet;
use resp::number::parse_f64;
use smallvec::SmallVec;

use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const ZADD: Spec = Spec {
    name: "zadd",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Adds members with their scores, or gives members new scores.",
    complexity: "O(log(N)) a member, N being the size of the sorted set",
    history: &[
        ("2.4.0", "Several members at once."),
        ("3.0.2", "Options `XX`, `NX`, `CH` and `INCR`."),
        ("6.2.0", "Options `GT` and `LT`."),
    ],
    args: &[
        Arg::key("key", 0),
        Arg::one_of("condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")]).since("3.0.2").optional(),
        Arg::one_of("comparison", &[Arg::word("gt", "GT"), Arg::word("lt", "LT")]).since("6.2.0").optional(),
        Arg::word("change", "CH").since("3.0.2").optional(),
        Arg::word("increment", "INCR").since("3.0.2").optional(),
        Arg::block("data", &[Arg::double("score"), Arg::string("member")]).multiple(),
    ],
    element_arg: 3,
    run: Some(zadd),
    ..Spec::NEW
};

pub const ZINCRBY: Spec = Spec {
    name: "zincrby",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE), 1)],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Adds to the score of a member, which is created where it is missing.",
    complexity: "O(log(N)), N being the size of the sorted set",
    args: &[Arg::key("key", 0), Arg::integer("increment"), Arg::string("member")],
    element_arg: 3,
    run: Some(zincrby),
    ..Spec::NEW
};

/// What must be true for a member's score to change, and what is done with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// NX: only members that are not there.
    pub absent: bool,
    /// XX: only members that are there.
    pub present: bool,
    /// GT and LT: only if the score becomes larger or smaller.
    pub greater: bool,
    pub less: bool,
    /// CH: reply with the number of changed members too.
    pub changed: bool,
    /// INCR: add to the score.
    pub increment: bool,
}

impl Options {
    /// Reads the words from argument 2 on, and says where the pairs begin.
    fn parse(cx: &Ctx<'_>) -> Result<(Options, usize), Stop> {
        let mut options = Options::default();
        let mut at = 2;
        loop {
            let option = match () {
                () if cx.word(at, "NX") => &mut options.absent,
                () if cx.word(at, "XX") => &mut options.present,
                () if cx.word(at, "GT") => &mut options.greater,
                () if cx.word(at, "LT") => &mut options.less,
                () if cx.word(at, "CH") => &mut options.changed,
                () if cx.word(at, "INCR") => &mut options.increment,
                () => break,
            };
            *option = true;
            at += 1;
        }
        let words = cx.args.len() - at;
        if words == 0 || words % 2 == 1 {
            return Err(Error::Syntax.into());
        }
        if options.absent && options.present {
            return cx.fail("ERR XX and NX options at the same time are not compatible");
        }
        if options.greater && (options.less || options.absent) || options.less && options.absent {
            return cx.fail("ERR GT, LT, and/or NX options at the same time are not compatible");
        }
        if options.increment && words > 2 {
            return cx.fail("ERR INCR option supports a single increment-element pair");
        }
        Ok((options, at))
    }
}

fn zadd(cx: &mut Ctx<'_>) -> Outcome {
    let (options, first) = Options::parse(cx)?;
    let scores = cx.args[first..].chunks_exact(2).map(|pair| parse_f64(pair[0]).ok_or(Error::NotFloat));
    let scores: SmallVec<[f64; 16]> = scores.collect::<Result<_, _>>()?;
    let args = cx.args;
    add(cx, options, args[first + 1..].iter().step_by(2).copied(), &scores)
}

fn zincrby(cx: &mut Ctx<'_>) -> Outcome {
    // To Redis it is a ZADD with INCR, whose options end where the score begins: then there is no pair left.
    if ["NX", "XX", "GT", "LT", "CH", "INCR"].iter().any(|option| cx.word(2, option)) {
        return Err(Error::Syntax.into());
    }
    let score = parse_f64(cx.args[2]).ok_or(Error::NotFloat)?;
    let member = cx.args[3];
    add(cx, Options { increment: true, ..Options::default() }, std::iter::once(member), &[score])
}

/// Adds members with their scores to the first key, with the reply of ZADD.
pub fn add<'a>(cx: &mut Ctx<'a>, options: Options, members: impl Iterator<Item = &'a [u8]>, scores: &[f64]) -> Outcome {
    let key = cx.keys[0];
    let limits = cx.global().settings.sorted_set;
    let Some(mut set) = (match options.present {
        true => cx.db.write_as::<SortedSet>(key)?,
        false => Some(cx.db.write_or_create::<SortedSet>(key)?),
    }) else {
        if options.increment {
            cx.reply.null()
        } else {
            cx.reply.int(0)
        };
        return Ok(());
    };
    let mut members = members.peekable();
    set.expect(scores.len(), members.peek().map_or(0, |member| member.len()), &limits);
    let (mut added, mut updated) = (0, 0);
    let mut result = None;
    let mut not_a_number = false;
    for (member, &score) in members.zip(scores) {
        set.update(member, &limits, |old| {
            let Some(old) = old else {
                if options.present {
                    return None;
                }
                added += 1;
                result = Some(score);
                return Some(score);
            };
            if options.absent {
                return None;
            }
            let new = if options.increment { old + score } else { score };
            if new.is_nan() {
                not_a_number = true;
                return None;
            }
            if options.less && new >= old || options.greater && new <= old {
                return None;
            }
            if new != old {
                updated += 1;
            }
            result = Some(new);
            Some(new)
        });
    }
    drop(set);
    if not_a_number {
        // Only INCR can do this, and it has changed nothing: the member was there, and there is one.
        return cx.fail("ERR resulting score is not a number (NaN)");
    }
    if added + updated > 0 {
        let event = if options.increment { "zincr" } else { "zadd" };
        cx.db.notify(EventClass::SORTED_SET, event, key.bytes());
        cx.db.changed(added + updated);
    }
    match result {
        Some(score) if options.increment => cx.reply.double(score),
        None if options.increment => cx.reply.null(),
        _ => cx.reply.int((added + if options.changed { updated } else { 0 }) as i64),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::encodings;

    #[test]
    fn options_and_replies() {
        encodings(&[
            ("ZADD z 1 a", ":1"),
            ("ZADD z 1 a 2 b", ":1"),
            ("ZADD z CH 1 a 3 b", ":1"),
            ("ZADD z NX CH 9 a 4 c", ":1"),
            ("ZADD z XX CH 9 a 4 d", ":1"),
            ("ZADD z GT CH 5 a 6 a 1 a 10 a 4 e", ":2"),
            ("ZADD z LT CH 11 a 2 b", ":1"),
            ("ZADD z INCR 1.5 a", "$4 11.5"),
            ("ZADD z NX INCR 1 a", "$-1"),
            ("ZADD z XX INCR 1 no", "$-1"),
            ("ZADD z GT INCR -1 a", "$-1"),
            ("ZADD no XX 1 a", ":0"),
            ("ZADD no XX INCR 1 a", "$-1"),
            ("EXISTS no", ":0"),
            ("ZADD z 0 n 9 n", ":1"),
            ("ZINCRBY z 1 n", "$2 10"),
            ("ZINCRBY new -2 n", "$2 -2"),
            ("ZADD z inf i -inf j +infinity k 0x10 h 1e308 l", ":5"),
            ("ZINCRBY z 1e308 l", "$3 inf"),
            (
                "ZRANGE z 0 -1 WITHSCORES",
                "*20 $1 j $4 -inf $1 b $1 2 $1 c $1 4 $1 e $1 4 $1 n $2 10 $1 a $4 11.5 $1 h $2 16 $1 i $3 inf $1 k $3 inf $1 l $3 inf",
            ),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        encodings(&[
            ("SET s 1", "+OK"),
            ("ZADD z 1 a", ":1"),
            ("ZADD z INCR 1", "-ERR syntax error"),
            ("ZADD z 1 a 2", "-ERR syntax error"),
            ("ZADD z NX XX 1", "-ERR syntax error"),
            ("ZADD s NX XX x a", "-ERR XX and NX options at the same time are not compatible"),
            ("ZADD z NX GT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
            ("ZADD z GT LT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
            ("ZADD z INCR 1 a 2 b", "-ERR INCR option supports a single increment-element pair"),
            ("ZADD s x a", "-ERR value is not a valid float"),
            ("ZADD z nan a", "-ERR value is not a valid float"),
            ("ZADD z 1 b x c", "-ERR value is not a valid float"),
            ("ZADD s 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("ZINCRBY s x a", "-ERR value is not a valid float"),
            ("ZINCRBY s 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("ZADD z inf i", ":1"),
            ("ZINCRBY z GT m", "-ERR syntax error"),
            ("ZINCRBY z -inf i", "-ERR resulting score is not a number (NaN)"),
            ("ZADD z INCR -inf i", "-ERR resulting score is not a number (NaN)"),
            ("ZCARD z", ":2"),
        ]);
    }
}

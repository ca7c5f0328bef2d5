//! `ZMPOP` and `BZMPOP`.

use super::put_member;
use super::zpop::{End, pop};
use crate::blocking::{Block, BlockOn};
use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Begin, Find, Flags, Group, KeyFlags, KeySpec, Spec};

pub const ZMPOP: Spec = Spec {
    name: "zmpop",
    arity: -4,
    flags: Flags::WRITE,
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec {
        notes: None,
        flags: KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE),
        begin: Begin::Index(1),
        find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 1 },
    }],
    group: Group::SortedSet,
    since: "7.0.0",
    summary: "Takes members with the lowest or highest scores out of the first sorted set that has any.",
    complexity: "O(K+M*log(N)), K being the number of keys, N the size of the sorted set and M the number of members taken",
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key", 0).multiple(),
        Arg::one_of("where", &[Arg::word("min", "MIN"), Arg::word("max", "MAX")]),
        Arg::integer("count").token("COUNT").optional(),
    ],
    run: Some(zmpop),
    ..Spec::NEW
};

pub const BZMPOP: Spec = Spec {
    name: "bzmpop",
    arity: -5,
    flags: Flags::WRITE.union(Flags::BLOCKING),
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW).union(Acl::BLOCKING),
    keys: &[KeySpec {
        notes: None,
        flags: KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE),
        begin: Begin::Index(2),
        find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 1 },
    }],
    group: Group::SortedSet,
    since: "7.0.0",
    summary: "Takes members with the lowest or highest scores out of the first sorted set that has any, and waits for some.",
    complexity: "O(K+M*log(N)), K being the number of keys, N the size of the sorted set and M the number of members taken",
    args: &[
        Arg::double("timeout"),
        Arg::integer("numkeys"),
        Arg::key("key", 0).multiple(),
        Arg::one_of("where", &[Arg::word("min", "MIN"), Arg::word("max", "MAX")]),
        Arg::integer("count").token("COUNT").optional(),
    ],
    run: Some(bzmpop),
    ..Spec::NEW
};

fn zmpop(cx: &mut Ctx<'_>) -> Outcome {
    let request = Request::parse(cx, 1)?;
    if !try_pop(cx, &request)? {
        cx.reply.null_array();
    }
    Ok(())
}

fn bzmpop(cx: &mut Ctx<'_>) -> Outcome {
    let request = Request::parse(cx, 2)?;
    let timeout = cx.timeout_seconds(1)?;
    if try_pop(cx, &request)? {
        return Ok(());
    }
    let keys = 3..3 + cx.keys.len();
    cx.block(Block { on: BlockOn::SortedSet, keys, timeout, on_timeout: |reply| reply.null_array(), args: None })
}

struct Request {
    end: End,
    count: usize,
}

impl Request {
    /// Reads from the number of keys on.
    fn parse(cx: &Ctx<'_>, at: usize) -> Result<Request, Stop> {
        let positive = |index: usize, error| match resp::number::parse_i64(cx.args[index]) {
            Some(number @ 1..) => Ok(number as usize),
            _ => cx.fail(error),
        };
        let keys = positive(at, "ERR numkeys should be greater than 0")?;
        let end_at = keys.saturating_add(at + 1);
        let end = match () {
            () if end_at >= cx.args.len() => return Err(Error::Syntax.into()),
            () if cx.word(end_at, "MIN") => End::Lowest,
            () if cx.word(end_at, "MAX") => End::Highest,
            () => return Err(Error::Syntax.into()),
        };
        let count = match cx.args.len() - end_at - 1 {
            0 => 1,
            rest if rest >= 2 && cx.word(end_at + 1, "COUNT") => {
                let count = positive(end_at + 2, "ERR count should be greater than 0")?;
                if rest > 2 {
                    return Err(Error::Syntax.into());
                }
                count
            }
            _ => return Err(Error::Syntax.into()),
        };
        Ok(Request { end, count })
    }
}

/// Takes from the first key that is there, and says whether there was one.
fn try_pop(cx: &mut Ctx<'_>, request: &Request) -> Result<bool, Stop> {
    for &key in cx.keys {
        let name = key.bytes();
        let popped = pop(
            cx,
            key,
            request.end,
            request.count,
            |reply, count| {
                reply.array(2);
                reply.bulk(name);
                reply.array(count);
            },
            |reply, member, score| {
                reply.array(2);
                put_member(reply, member);
                reply.double(score);
            },
        )?;
        if let Some(count) = popped {
            if cx.db.effects.wanted() {
                cx.db.effects.instead(&[request.end.command(), name, count.to_string().as_bytes()]);
            }
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::super::testing::encodings;

    #[test]
    fn the_first_that_has_any() {
        encodings(&[
            ("ZADD z 1 a 2 b 3 c 4 d 5 e", ":5"),
            ("ZMPOP 2 no z MIN", "*2 $1 z *1 *2 $1 a $1 1"),
            ("ZMPOP 1 z MAX COUNT 2", "*2 $1 z *2 *2 $1 e $1 5 *2 $1 d $1 4"),
            ("BZMPOP 0 2 no z min count 1", "*2 $1 z *1 *2 $1 b $1 2"),
            ("BZMPOP 0 1 z MAX COUNT 100", "*2 $1 z *1 *2 $1 c $1 3"),
            ("ZMPOP 1 z MIN", "*-1"),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        encodings(&[
            ("SET s 1", "+OK"),
            ("ZMPOP 0 s MIN", "-ERR numkeys should be greater than 0"),
            ("ZMPOP x s MIN", "-ERR numkeys should be greater than 0"),
            ("ZMPOP 1 s FOO", "-ERR syntax error"),
            ("ZMPOP 2 s MIN", "-ERR syntax error"),
            ("ZMPOP 1 s MIN COUNT 0", "-ERR count should be greater than 0"),
            ("ZMPOP 1 s MIN COUNT x FOO", "-ERR count should be greater than 0"),
            ("ZMPOP 1 s MIN COUNT", "-ERR syntax error"),
            ("ZMPOP 1 s MIN COUNT 1 COUNT 2", "-ERR syntax error"),
            ("ZMPOP 2 no s MIN", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("BZMPOP -1 0 s MIN", "-ERR numkeys should be greater than 0"),
            ("BZMPOP x 1 s FOO", "-ERR syntax error"),
            ("BZMPOP -1 1 s MIN", "-ERR timeout is negative"),
            ("BZMPOP inf 1 s MIN", "-ERR timeout is out of range"),
        ]);
    }
}

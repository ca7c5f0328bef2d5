//! `XRANGE` and `XREVRANGE`.

use keyspace::Stream;

use super::ids;
use super::reply::put_entries;
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xrange",
    arity: -4,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::STREAM).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Returns the entries of a stream whose ids lie in an interval.",
    complexity: "O(N), N being the number of entries returned",
    history: &[("6.2.0", "Intervals that exclude their ends.")],
    args: &[
        Arg::key("key", 0),
        Arg::string("start"),
        Arg::string("end"),
        Arg::integer("count").token("COUNT").optional(),
    ],
    run: Some(forwards),
    ..Spec::NEW
};

pub const REVERSE_SPEC: Spec = Spec {
    name: "xrevrange",
    summary: "Returns the entries of a stream whose ids lie in an interval, the last one first.",
    args: &[
        Arg::key("key", 0),
        Arg::string("end"),
        Arg::string("start"),
        Arg::integer("count").token("COUNT").optional(),
    ],
    run: Some(backwards),
    ..SPEC
};

fn forwards(cx: &mut Ctx<'_>) -> Outcome {
    run(cx, false)
}

fn backwards(cx: &mut Ctx<'_>) -> Outcome {
    run(cx, true)
}

fn run(cx: &mut Ctx<'_>, back: bool) -> Outcome {
    let (start, end) = if back { (cx.args[3], cx.args[2]) } else { (cx.args[2], cx.args[3]) };
    let start = ids::parse_start(start)?;
    let end = ids::parse_end(end)?;
    let mut count = None;
    let mut index = 4;
    while index < cx.args.len() {
        if !cx.word(index, "COUNT") || index + 1 == cx.args.len() {
            return Err(Error::Syntax.into());
        }
        count = Some(cx.int(index + 1)?.max(0) as u64);
        index += 2;
    }
    let Some(stream) = cx.db.read_as::<Stream>(cx.keys[0])? else {
        cx.reply.array(0);
        return Ok(());
    };
    if count == Some(0) {
        // An odd one: null, but only where there is a stream.
        cx.reply.null_array();
    } else if back {
        put_entries(cx.reply, stream.entries.range_back(start, end), count);
    } else {
        put_entries(cx.reply, stream.entries.range(start, end), count);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn ranges_both_ways() {
        const INVALID: &str = "-ERR Invalid stream ID specified as stream command argument";
        script(&[
            ("XRANGE s - +", "*0"),
            ("XRANGE s - + COUNT 0", "*0"),
            ("XRANGE s abc +", INVALID),
            ("XADD s 1-1 a 1", "$3 1-1"),
            ("XADD s 1-2 b x c 3", "$3 1-2"),
            ("XADD s 2-0 a 1", "$3 2-0"),
            ("XRANGE s - + COUNT 2", "*2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 1-2 *4 $1 b $1 x $1 c $1 3"),
            ("XRANGE s 1 1 COUNT 5 COUNT 1", "*1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XRANGE s (1-2 +", "*1 *2 $3 2-0 *2 $1 a $1 1"),
            ("XRANGE s 1-2 (2-0", "*1 *2 $3 1-2 *4 $1 b $1 x $1 c $1 3"),
            ("XREVRANGE s + - COUNT 1", "*1 *2 $3 2-0 *2 $1 a $1 1"),
            ("XREVRANGE s (1-2 -", "*1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XREVRANGE s - +", "*0"),
            ("XRANGE s + -", "*0"),
            ("XRANGE s - + COUNT 0", "*-1"),
            ("XRANGE s - + COUNT -1", "*-1"),
            ("XRANGE s - + COUNT", "-ERR syntax error"),
            ("XRANGE s - + LIMIT 1", "-ERR syntax error"),
            ("XRANGE s - (0-0", "-ERR invalid end ID for the interval"),
            ("XRANGE s (18446744073709551615-18446744073709551615 +", "-ERR invalid start ID for the interval"),
            ("XRANGE s (- +", INVALID),
            ("SET str 1", "+OK"),
            ("XRANGE str abc +", INVALID),
            ("XRANGE str - +", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

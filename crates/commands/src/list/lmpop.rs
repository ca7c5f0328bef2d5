//! `LMPOP`: pops several elements from the first list that is there. `BLMPOP` waits for one.

use super::{LEFT_OR_RIGHT, end_of, pop, pop_command};
use crate::blocking::{Block, BlockOn};
use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Begin, Find, Flags, Group, KeyFlags, KeySpec, Spec};
use keyspace::End;

const fn keys_from(index: i32) -> KeySpec {
    KeySpec {
        notes: None,
        flags: KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE),
        begin: Begin::Index(index),
        find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 1 },
    }
}

pub const LMPOP: Spec = Spec {
    name: "lmpop",
    arity: -4,
    flags: Flags::WRITE,
    acl: Acl::WRITE.union(Acl::LIST).union(Acl::SLOW),
    keys: &[keys_from(1)],
    group: Group::List,
    since: "7.0.0",
    summary: "Takes elements from an end of the first list that is there, and returns its name and them.",
    complexity: "O(N+M) for N keys and M elements that are taken",
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key", 0).multiple(),
        Arg::one_of("where", LEFT_OR_RIGHT),
        Arg::integer("count").token("COUNT").optional(),
    ],
    run: Some(lmpop),
    ..Spec::NEW
};

pub const BLMPOP: Spec = Spec {
    name: "blmpop",
    arity: -5,
    flags: LMPOP.flags.union(Flags::BLOCKING),
    acl: LMPOP.acl.union(Acl::BLOCKING),
    keys: &[keys_from(2)],
    summary: "Takes elements from an end of the first list that is there, and returns its name and them. Waits for a list if there is none.",
    args: &[
        Arg::double("timeout"),
        Arg::integer("numkeys"),
        Arg::key("key", 0).multiple(),
        Arg::one_of("where", LEFT_OR_RIGHT),
        Arg::integer("count").token("COUNT").optional(),
    ],
    run: Some(blmpop),
    ..LMPOP
};

struct Options {
    end: End,
    count: usize,
}

impl Options {
    /// From the number of keys on.
    fn parse(cx: &Ctx<'_>, at: usize) -> Result<Options, Stop> {
        let positive = |index: usize| resp::number::parse_i64(cx.args[index]).filter(|&number| number > 0);
        let Some(key_count) = positive(at) else {
            return cx.fail("ERR numkeys should be greater than 0");
        };
        let end_at = usize::try_from(key_count).ok().and_then(|count| (at + 1).checked_add(count));
        let Some(end_at) = end_at.filter(|&end_at| end_at < cx.args.len()) else {
            return Err(Error::Syntax.into());
        };
        let end = end_of(cx, end_at)?;
        let mut count = None;
        let mut at = end_at + 1;
        while at < cx.args.len() {
            if count.is_some() || !cx.word(at, "COUNT") || at + 1 == cx.args.len() {
                return Err(Error::Syntax.into());
            }
            count = positive(at + 1);
            if count.is_none() {
                return cx.fail("ERR count should be greater than 0");
            }
            at += 2;
        }
        Ok(Options { end, count: count.unwrap_or(1) as usize })
    }
}

fn lmpop(cx: &mut Ctx<'_>) -> Outcome {
    let options = Options::parse(cx, 1)?;
    if !pop_first(cx, &options)? {
        cx.reply.null_array();
    }
    Ok(())
}

fn blmpop(cx: &mut Ctx<'_>) -> Outcome {
    let options = Options::parse(cx, 2)?;
    let timeout = cx.timeout_seconds(1)?;
    if pop_first(cx, &options)? {
        return Ok(());
    }
    let keys = 3..3 + cx.keys.len();
    cx.block(Block { on: BlockOn::List, keys, timeout, on_timeout: |reply| reply.null_array(), args: None })
}

fn pop_first(cx: &mut Ctx<'_>, options: &Options) -> Result<bool, Stop> {
    for &key in cx.keys {
        let count = pop(cx, key, options.end, options.count, |reply, count| {
            reply.array(2);
            reply.bulk(key.bytes());
            reply.array(count);
        })?;
        if let Some(count) = count {
            if cx.db.effects.wanted() {
                let count = count.to_string();
                cx.db.effects.instead(&[pop_command(options.end), key.bytes(), count.as_bytes()]);
            }
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn from_the_first_list() {
        script(&[
            ("RPUSH l a b c d e", ":5"),
            ("LMPOP 2 zz l LEFT", "*2 $1 l *1 $1 a"),
            ("LMPOP 2 zz l right COUNT 2", "*2 $1 l *2 $1 e $1 d"),
            ("BLMPOP 0 2 l zz LEFT", "*2 $1 l *1 $1 b"),
            ("BLMPOP 0.1 1 l LEFT COUNT 9223372036854775807", "*2 $1 l *1 $1 c"),
            ("EXISTS l", ":0"),
            ("LMPOP 1 l LEFT", "*-1"),
            ("SET s 1", "+OK"),
            ("LMPOP 2 zz s LEFT", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }

    #[test]
    fn options() {
        script(&[
            ("LMPOP 0 l LEFT", "-ERR numkeys should be greater than 0"),
            ("LMPOP x l LEFT", "-ERR numkeys should be greater than 0"),
            ("LMPOP 2 l LEFT", "-ERR syntax error"),
            ("LMPOP 9223372036854775807 l LEFT", "-ERR syntax error"),
            ("LMPOP 1 l FOO", "-ERR syntax error"),
            ("LMPOP 1 l LEFT FOO 1", "-ERR syntax error"),
            ("LMPOP 1 l LEFT COUNT", "-ERR syntax error"),
            ("LMPOP 1 l LEFT COUNT 0", "-ERR count should be greater than 0"),
            ("LMPOP 1 l LEFT COUNT x", "-ERR count should be greater than 0"),
            ("LMPOP 1 l LEFT COUNT 1 COUNT 1", "-ERR syntax error"),
            ("BLMPOP x 0 l LEFT", "-ERR numkeys should be greater than 0"),
            ("BLMPOP x 1 l FOO", "-ERR syntax error"),
            ("BLMPOP x 1 l LEFT COUNT 0", "-ERR count should be greater than 0"),
            ("BLMPOP x 1 l LEFT", "-ERR timeout is not a float or out of range"),
            ("BLMPOP -1 1 l LEFT", "-ERR timeout is negative"),
        ]);
    }
}

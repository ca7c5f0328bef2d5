//! `BLPOP` and `BRPOP`: `LPOP` and `RPOP` from the first of several lists, waiting for one.

use keyspace::End;

use super::{pop, pop_command};
use crate::blocking::{Block, BlockOn};
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const BLPOP: Spec = Spec {
    name: "blpop",
    arity: -3,
    flags: Flags::WRITE.union(Flags::BLOCKING),
    acl: Acl::WRITE.union(Acl::LIST).union(Acl::SLOW).union(Acl::BLOCKING),
    keys: &[KeySpec::range(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE), 1, -2, 1)],
    group: Group::List,
    since: "2.0.0",
    summary: "Takes the head of the first list that is there, and waits for one if there is none.",
    complexity: "O(N) for N keys",
    history: &[("6.0.0", "The timeout may have a fraction.")],
    args: &[Arg::key("key", 0).multiple(), Arg::double("timeout")],
    run: Some(|cx| run(cx, End::Front)),
    ..Spec::NEW
};

pub const BRPOP: Spec = Spec {
    name: "brpop",
    summary: "Takes the tail of the first list that is there, and waits for one if there is none.",
    run: Some(|cx| run(cx, End::Back)),
    ..BLPOP
};

fn run(cx: &mut Ctx<'_>, end: End) -> Outcome {
    let last = cx.args.len() - 1;
    let timeout = cx.timeout_seconds(last)?;
    let keys = cx.keys;
    for &key in keys {
        let popped = pop(cx, key, end, 1, |reply, _| {
            reply.array(2);
            reply.bulk(key.bytes());
        })?;
        if popped.is_some() {
            if cx.db.effects.wanted() {
                cx.db.effects.instead(&[pop_command(end), key.bytes()]);
            }
            return Ok(());
        }
    }
    cx.block(Block { on: BlockOn::List, keys: 1..last, timeout, on_timeout: |reply| reply.null_array(), args: None })
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn the_first_list_that_is_there() {
        script(&[
            ("RPUSH l a b c", ":3"),
            ("SET s 1", "+OK"),
            ("BLPOP zz l s 0", "*2 $1 l $1 a"),
            ("BRPOP l zz 0.5", "*2 $1 l $1 c"),
            ("BLPOP zz s l 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("BLPOP l 0", "*2 $1 l $1 b"),
            ("EXISTS l", ":0"),
        ]);
    }

    #[test]
    fn timeouts() {
        script(&[
            ("SET s 1", "+OK"),
            ("BLPOP s x", "-ERR timeout is not a float or out of range"),
            ("BLPOP s -1", "-ERR timeout is negative"),
            ("BRPOP s 9e99", "-ERR timeout is out of range"),
            ("BLPOP s inf", "-ERR timeout is out of range"),
            ("BLPOP s nan", "-ERR timeout is not a float or out of range"),
        ]);
    }
}

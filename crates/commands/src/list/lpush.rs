//! `LPUSH`, `RPUSH`, and `LPUSHX`, `RPUSHX`, which push to lists that exist only.

use keyspace::{Collection, End, List};

use super::{element, pushed};
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const LPUSH: Spec = Spec {
    name: "lpush",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::LIST).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::INSERT), 1)],
    group: Group::List,
    since: "1.0.0",
    summary: "Adds elements to the head of a list, one after the other; makes the list if there is none.",
    complexity: "O(N) for N elements",
    history: &[("2.4.0", "More than one element can be given.")],
    args: &[Arg::key("key", 0), Arg::string("element").multiple()],
    run: Some(|cx| push(cx, End::Front, true)),
    ..Spec::NEW
};

pub const RPUSH: Spec = Spec {
    name: "rpush",
    summary: "Adds elements to the tail of a list, one after the other; makes the list if there is none.",
    run: Some(|cx| push(cx, End::Back, true)),
    ..LPUSH
};

pub const LPUSHX: Spec = Spec {
    name: "lpushx",
    since: "2.2.0",
    summary: "Adds elements to the head of a list, one after the other, if there is such a list.",
    history: &[("4.0.0", "More than one element can be given.")],
    run: Some(|cx| push(cx, End::Front, false)),
    ..LPUSH
};

pub const RPUSHX: Spec = Spec {
    name: "rpushx",
    summary: "Adds elements to the tail of a list, one after the other, if there is such a list.",
    run: Some(|cx| push(cx, End::Back, false)),
    ..LPUSHX
};

fn push(cx: &mut Ctx<'_>, end: End, creates: bool) -> Outcome {
    let key = cx.keys[0];
    let limits = cx.global().settings.list;
    let (args, large) = (cx.args, cx.large);
    let mut list = if creates {
        cx.db.write_or_create::<List>(key)?
    } else {
        match cx.db.write_as::<List>(key)? {
            Some(list) => list,
            None => {
                cx.reply.int(0);
                return Ok(());
            }
        }
    };
    // All elements together decide whether a listpack is enough, before the first is added.
    let count = args.len() - 2;
    list.grow(args[2..].iter().map(|arg| arg.len()).sum(), count, limits);
    for index in 2..args.len() {
        list.push(end, element(args, large, index));
    }
    cx.reply.count(list.len());
    drop(list);
    cx.db.changed(count as u64);
    cx.db.notify(EventClass::LIST, pushed(end), key.bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn at_either_end() {
        script(&[
            ("LPUSH l a b", ":2"),
            ("RPUSH l c d", ":4"),
            ("LRANGE l 0 -1", "*4 $1 b $1 a $1 c $1 d"),
            ("SET s 1", "+OK"),
            ("LPUSH s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("RPUSHX s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("LPUSH l", "-ERR wrong number of arguments for 'lpush' command"),
            ("TYPE l", "+list"),
        ]);
    }

    #[test]
    fn only_to_what_exists() {
        script(&[
            ("LPUSHX l a", ":0"),
            ("EXISTS l", ":0"),
            ("RPUSH l 1", ":1"),
            ("LPUSHX l a b", ":3"),
            ("RPUSHX l 007 7", ":5"),
            ("LRANGE l 0 -1", "*5 $1 b $1 a $1 1 $3 007 $1 7"),
        ]);
    }
}

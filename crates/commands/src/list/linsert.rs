//! `LINSERT`.

use keyspace::{Collection, List};

use super::element;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "linsert",
    arity: 5,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::LIST).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::INSERT), 1)],
    group: Group::List,
    since: "2.2.0",
    summary: "Inserts an element before or after the first one that is equal to another.",
    complexity: "O(N), N being the elements up to the one that is looked for",
    args: &[
        Arg::key("key", 0),
        Arg::one_of("where", &[Arg::word("before", "BEFORE"), Arg::word("after", "AFTER")]),
        Arg::string("pivot"),
        Arg::string("element"),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let after = if cx.word(2, "AFTER") {
        true
    } else if cx.word(2, "BEFORE") {
        false
    } else {
        return Err(Error::Syntax.into());
    };
    let limits = cx.global().settings.list;
    let Some(mut list) = cx.db.write_as::<List>(key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    // Also where no place is found: OBJECT ENCODING tells.
    list.grow(cx.args[4].len(), 1, limits);
    let inserted = list.insert(cx.args[3], after, element(cx.args, cx.large, 4));
    let len = list.len();
    drop(list);
    if inserted {
        cx.reply.count(len);
        cx.db.changed(1);
        cx.db.notify(EventClass::LIST, "linsert", key.bytes());
    } else {
        cx.reply.int(-1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn beside_the_first_that_is_equal() {
        script(&[
            ("LINSERT l BEFORE a b", ":0"),
            ("RPUSH l a b a 5", ":4"),
            ("LINSERT l before a x", ":5"),
            ("LINSERT l AFTER a y", ":6"),
            ("LINSERT l AFTER 5 6", ":7"),
            ("LINSERT l BEFORE zz y", ":-1"),
            ("LRANGE l 0 -1", "*7 $1 x $1 a $1 y $1 b $1 a $1 5 $1 6"),
            ("SET s 1", "+OK"),
            ("LINSERT s FOO a b", "-ERR syntax error"),
            ("LINSERT s BEFORE a b", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

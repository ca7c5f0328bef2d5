//! `LSET`.

use keyspace::List;

use super::element;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "lset",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::LIST).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::List,
    since: "1.0.0",
    summary: "Replaces the element at an index.",
    complexity: "O(N), N being the way from the nearer end; O(1) for the first and the last element",
    args: &[Arg::key("key", 0), Arg::integer("index"), Arg::string("element")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let limits = cx.global().settings.list;
    let index = cx.int(2);
    let Some(mut list) = cx.db.write_as::<List>(key)? else {
        return Err(Error::NoSuchKey.into());
    };
    let index = index?;
    // As if the element were added, and also where the index turns out to be none: OBJECT ENCODING tells.
    list.grow(cx.args[3].len(), 1, limits);
    let Some(index) = list.index_of(index) else {
        return Err(Error::IndexOutOfRange.into());
    };
    list.set(index, element(cx.args, cx.large, 3));
    list.shrink(limits);
    drop(list);
    cx.reply.ok();
    cx.db.changed(1);
    cx.db.notify(EventClass::LIST, "lset", key.bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn replaces() {
        script(&[
            ("RPUSH l a b c", ":3"),
            ("LSET l 1 x", "+OK"),
            ("LSET l -1 77", "+OK"),
            ("LRANGE l 0 -1", "*3 $1 a $1 x $2 77"),
            ("LSET l 3 x", "-ERR index out of range"),
            ("LSET l -4 x", "-ERR index out of range"),
            ("LSET l x x", "-ERR value is not an integer or out of range"),
            ("LSET zz x x", "-ERR no such key"),
            ("SET s 1", "+OK"),
            ("LSET s x x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

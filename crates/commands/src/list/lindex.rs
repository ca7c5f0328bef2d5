//! `LINDEX`.

use keyspace::List;

use super::put_item;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "lindex",
    arity: 3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::LIST).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::List,
    since: "1.0.0",
    summary: "Returns the element at an index.",
    complexity: "O(N), N being the way from the nearer end; O(1) for the first and the last element",
    args: &[Arg::key("key", 0), Arg::integer("index")],
    run: Some(run),
    ..Spec::NEW
};

/// The index is looked at only where there is a list: a bad one in a missing key is no error.
fn run(cx: &mut Ctx<'_>) -> Outcome {
    let index = cx.int(2);
    let Some(list) = cx.db.read_as::<List>(cx.keys[0])? else {
        cx.reply.null();
        return Ok(());
    };
    match list.index_of(index?) {
        Some(index) => list.show(index, |item| put_item(cx.reply, item)).expect("an index below the length"),
        None => cx.reply.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn from_both_ends() {
        script(&[
            ("RPUSH l a 2 c", ":3"),
            ("LINDEX l 0", "$1 a"),
            ("LINDEX l 1", "$1 2"),
            ("LINDEX l -1", "$1 c"),
            ("LINDEX l 3", "$-1"),
            ("LINDEX l -4", "$-1"),
            ("LINDEX l -9223372036854775808", "$-1"),
        ]);
    }

    #[test]
    fn the_key_is_looked_at_first() {
        script(&[
            ("SET s 1", "+OK"),
            ("RPUSH l a", ":1"),
            ("LINDEX zz x", "$-1"),
            ("LINDEX s x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("LINDEX l x", "-ERR value is not an integer or out of range"),
        ]);
    }
}

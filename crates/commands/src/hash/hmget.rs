//! `HMGET`.

use super::{put_or_null, seen_from};
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hmget",
    arity: -3,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Returns several fields of a hash.",
    complexity: "O(N), N being the number of fields named",
    args: &[Arg::key("key", 0), Arg::string("field").multiple()],
    element_arg: 2,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (names, now) = (&cx.args[2..], seen_from(&cx.db));
    let hash = cx.db.read_hash(cx.keys[0], names.iter().copied())?;
    cx.reply.array(names.len());
    for name in names {
        put_or_null(cx.reply, hash.as_ref().and_then(|hash| hash.value(name, now)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn values_in_the_order_of_the_names() {
        script(&[
            ("HSET h a 1 b 2", ":2"),
            ("HMGET h b c a b", "*4 $1 2 $-1 $1 1 $1 2"),
            ("HMGET no a b", "*2 $-1 $-1"),
            ("SET s x", "+OK"),
            ("HMGET s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

//! `TYPE`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "type",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO, 1)],
    summary: "Returns the type of the value at a key.",
    args: &[Arg::key("key", 0)],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    match cx.db.peek(cx.keys[0]) {
        None => cx.reply.simple("none"),
        Some(entry) => cx.reply.simple(entry.value().type_name()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn types() {
        script(&[("SET a 1", "+OK"), ("TYPE a", "+string"), ("TYPE zz", "+none")]);
    }
}

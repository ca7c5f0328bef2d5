//! `DELIFEQ`.

use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "delifeq",
    arity: 3,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RM.union(KeyFlags::DELETE), 1)],
    group: Group::String,
    since: "9.0.0",
    summary: "Deletes a key if it holds the given string.",
    args: &[Arg::key("key", 0), Arg::string("value")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let equal = match cx.db.glance(cx.keys[0]) {
        None => false,
        Some(entry) => entry.string()?.with_bytes(|bytes| bytes == cx.args[2]),
    };
    if equal {
        cx.db.delete(cx.keys[0]);
        cx.db.changed(1);
        // What the key holds elsewhere is not asked again.
        cx.db.effects.instead(&[b"DEL", cx.keys[0].bytes()]);
    }
    cx.reply.int(i64::from(equal));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    // Valkey 9.1 decides.
    #[test]
    fn only_if_equal() {
        script(&[
            ("DELIFEQ a x", ":0"),
            ("SET a x", "+OK"),
            ("DELIFEQ a y", ":0"),
            ("DELIFEQ a x", ":1"),
            ("EXISTS a", ":0"),
            ("SET a 12", "+OK"),
            ("DELIFEQ a 012", ":0"),
            ("DELIFEQ a 12", ":1"),
            ("DELIFEQ a", "-ERR wrong number of arguments for 'delifeq' command"),
        ]);
    }
}

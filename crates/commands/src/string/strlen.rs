//! `STRLEN`.

use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "strlen",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO, 1)],
    group: Group::String,
    since: "2.2.0",
    summary: "Returns the length of a string.",
    args: &[Arg::key("key", 0)],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let len = match cx.db.read(cx.keys[0]) {
        None => 0,
        Some(entry) => entry.string()?.len(),
    };
    cx.reply.count(len);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn lengths() {
        script(&[
            ("STRLEN a", ":0"),
            ("SET a hello", "+OK"),
            ("STRLEN a", ":5"),
            ("SET a -12", "+OK"),
            ("STRLEN a", ":3"),
            ("SET a \"\"", "+OK"),
            ("STRLEN a", ":0"),
        ]);
    }
}

//! `GET`.

use super::put_bulk;
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "get",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::String,
    summary: "Returns the string at a key.",
    args: &[Arg::key("key", 0)],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    match cx.db.read(cx.keys[0]) {
        None => cx.reply.null(),
        Some(entry) => put_bulk(cx.reply, &entry.string()?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn strings_and_other_things() {
        script(&[
            ("GET a", "$-1"),
            ("SET a hello", "+OK"),
            ("GET a", "$5 hello"),
            ("SET a 12", "+OK"),
            ("GET a", "$2 12"),
            ("SET a \"\"", "+OK"),
            ("GET a", "$0"),
            ("GET", "-ERR wrong number of arguments for 'get' command"),
            ("GET a b", "-ERR wrong number of arguments for 'get' command"),
        ]);
    }
}

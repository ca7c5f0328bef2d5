//! `LLEN`.

use keyspace::{Collection, List};

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "llen",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::LIST).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO, 1)],
    group: Group::List,
    since: "1.0.0",
    summary: "Returns how many elements a list has.",
    args: &[Arg::key("key", 0)],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let len = cx.db.read_as::<List>(cx.keys[0])?.map_or(0, |list| list.len());
    cx.reply.count(len);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn length() {
        script(&[
            ("LLEN l", ":0"),
            ("RPUSH l a b", ":2"),
            ("LLEN l", ":2"),
            ("SET s 1", "+OK"),
            ("LLEN s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

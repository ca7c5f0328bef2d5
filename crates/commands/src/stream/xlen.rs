//! `XLEN`.

use keyspace::Stream;

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xlen",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::STREAM).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO, 1)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Counts the entries of a stream.",
    args: &[Arg::key("key", 0)],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let len = cx.db.read_as::<Stream>(cx.keys[0])?.map_or(0, |stream| stream.entries.len());
    cx.reply.int(len as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn lengths() {
        script(&[
            ("XLEN s", ":0"),
            ("XADD s 1-1 a 1", "$3 1-1"),
            ("XADD s 1-2 a 1", "$3 1-2"),
            ("XLEN s", ":2"),
            ("SET str 1", "+OK"),
            ("XLEN str", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

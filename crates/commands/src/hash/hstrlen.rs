//! `HSTRLEN`.

use super::seen_from;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hstrlen",
    arity: 3,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO, 1)],
    group: Group::Hash,
    since: "3.2.0",
    summary: "Returns the length of the value of one field of a hash.",
    args: &[Arg::key("key", 0), Arg::string("field")],
    element_arg: 2,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (name, now) = (cx.args[2], seen_from(&cx.db));
    let hash = cx.db.read_hash(cx.keys[0], [name])?;
    let value = hash.as_ref().and_then(|hash| hash.value(name, now));
    cx.reply.count(value.map_or(0, |value| value.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn lengths() {
        script(&[
            ("HSET h a text n -1234 e \"\"", ":3"),
            ("HSTRLEN h a", ":4"),
            ("HSTRLEN h n", ":5"),
            ("HSTRLEN h e", ":0"),
            ("HSTRLEN h x", ":0"),
            ("HSTRLEN no x", ":0"),
        ]);
    }
}

//! `HEXISTS`.

use super::seen_from;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hexists",
    arity: 3,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO, 1)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Says whether a hash has a field.",
    args: &[Arg::key("key", 0), Arg::string("field")],
    element_arg: 2,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (name, now) = (cx.args[2], seen_from(&cx.db));
    let hash = cx.db.read_hash(cx.keys[0], [name])?;
    cx.reply.int(i64::from(hash.is_some_and(|hash| hash.value(name, now).is_some())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn yes_and_no() {
        script(&[("HSET h a 1", ":1"), ("HEXISTS h a", ":1"), ("HEXISTS h b", ":0"), ("HEXISTS no a", ":0")]);
    }
}

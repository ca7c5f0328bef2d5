//! `TOUCH`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "touch",
    arity: -2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::FAST),
    keys: &[KeySpec::range(KeyFlags::RO, 1, -1, 1)],
    since: "3.2.1",
    summary: "Refreshes the access time of keys and counts those that exist.",
    complexity: "O(N), N being the number of keys",
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    args: &[Arg::key("key", 0).multiple()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    // To touch is all it is for: CLIENT NO-TOUCH does not hold for it.
    let no_touch = std::mem::replace(&mut cx.db.manners.no_touch, false);
    let existing = cx.keys.iter().filter(|&&key| cx.db.read(key).is_some()).count();
    cx.db.manners.no_touch = no_touch;
    cx.reply.count(existing);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn keys_that_exist_are_counted() {
        script(&[("MSET a 1 b 2", "+OK"), ("TOUCH a b zz a", ":3")]);
    }

    #[test]
    fn it_touches_for_a_client_that_does_not() {
        let mut rig = Rig::new();
        rig.script(&[("SET a 1", "+OK"), ("CLIENT NO-TOUCH ON", "+OK")]);
        rig.now.0 += 5_000;
        rig.script(&[("GET a", "$1 1"), ("OBJECT IDLETIME a", ":5"), ("TOUCH a", ":1"), ("OBJECT IDLETIME a", ":0")]);
    }
}

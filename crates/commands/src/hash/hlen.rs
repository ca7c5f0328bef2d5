//! `HLEN`.

use keyspace::{Collection, Hash};

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hlen",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO, 1)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Returns how many fields a hash has.",
    args: &[Arg::key("key", 0)],
    run: Some(run),
    ..Spec::NEW
};

/// Fields that expired a moment ago and were not taken out yet are counted, as Redis does: O(1).
fn run(cx: &mut Ctx<'_>) -> Outcome {
    let hash = cx.db.read_as::<Hash>(cx.keys[0])?;
    cx.reply.count(hash.map_or(0, |hash| hash.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn lengths() {
        script(&[
            ("HLEN h", ":0"),
            ("HSET h a 1 b 2", ":2"),
            ("HLEN h", ":2"),
            ("HPEXPIRE h 100 FIELDS 1 a", "*1 :1"),
            ("HLEN h", ":2"),
            ("SET s x", "+OK"),
            ("HLEN s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

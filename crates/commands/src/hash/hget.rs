//! `HGET`.

use super::{put_or_null, seen_from};
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hget",
    arity: 3,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Returns one field of a hash.",
    args: &[Arg::key("key", 0), Arg::string("field")],
    element_arg: 2,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (name, now) = (cx.args[2], seen_from(&cx.db));
    let hash = cx.db.read_hash(cx.keys[0], [name])?;
    put_or_null(cx.reply, hash.as_ref().and_then(|hash| hash.value(name, now)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn values() {
        script(&[
            ("HSET h a 1 b text n -5", ":3"),
            ("HGET h a", "$1 1"),
            ("HGET h b", "$4 text"),
            ("HGET h n", "$2 -5"),
            ("HGET h c", "$-1"),
            ("HGET no c", "$-1"),
        ]);
    }

    /// In every encoding; other fields of a table stay until somebody comes for them.
    #[test]
    fn a_field_that_expired_is_gone_at_once() {
        for entries_max in [512, 0] {
            let mut rig = Rig::new();
            rig.run(&format!("CONFIG SET hash-max-listpack-entries {entries_max}"));
            rig.script(&[("HSET h a 1 b 2", ":2"), ("HPEXPIRE h 5 FIELDS 1 a", "*1 :1")]);
            rig.now.0 += 5;
            rig.script(&[("HGET h a", "$1 1")]);
            rig.now.0 += 1;
            rig.script(&[
                ("HGETALL h", "*2 $1 b $1 2"),
                ("HGET h a", "$-1"),
                ("HLEN h", ":1"),
                ("HSET h a 3", ":1"),
                ("HTTL h FIELDS 1 a", "*1 :-1"),
                ("HPEXPIRE h 5 FIELDS 2 a b", "*2 :1 :1"),
            ]);
            rig.now.0 += 6;
            rig.script(&[("HMGET h a b", "*2 $-1 $-1"), ("EXISTS h", ":0")]);
        }
    }
}

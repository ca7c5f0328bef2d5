//! `HDEL`.

use keyspace::{Collection, Hash};

use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hdel",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 1)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Takes fields out of a hash, and the hash away with its last one.",
    complexity: "O(N), N being the number of fields named",
    history: &[("2.4.0", "More than one field.")],
    args: &[Arg::key("key", 0), Arg::string("field").multiple()],
    element_arg: 2,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (key, names) = (cx.keys[0], &cx.args[2..]);
    let mut removed = 0;
    if let Some(mut hash) = cx.db.write_as::<Hash>(key)? {
        for name in names {
            removed += u64::from(hash.remove(name));
            if hash.is_empty() {
                break;
            }
        }
    }
    if removed > 0 {
        cx.db.changed(removed);
        cx.db.notify(EventClass::HASH, "hdel", key.bytes());
        cx.db.remove_if_empty(key);
    }
    cx.reply.int(removed as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn with_its_last_field_goes_the_hash() {
        script(&[
            ("HSET h a 1 b 2 c 3", ":3"),
            ("HDEL h a x a", ":1"),
            ("HDEL h x", ":0"),
            ("HDEL no x", ":0"),
            ("HDEL h b c d", ":2"),
            ("EXISTS h", ":0"),
            ("SET s x", "+OK"),
            ("HDEL s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

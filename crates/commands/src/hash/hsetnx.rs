//! `HSETNX`.

use keyspace::Expiry;

use super::seen_from;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hsetnx",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::INSERT), 1)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Sets a field of a hash unless the hash has it already.",
    args: &[Arg::key("key", 0), Arg::string("field"), Arg::string("value")],
    element_arg: 2,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (key, name, limits, now) = (cx.keys[0], cx.args[2], cx.global().settings.hash, seen_from(&cx.db));
    let mut hash = cx.db.write_or_create_hash(key, [name])?;
    if hash.value(name, now).is_some() {
        cx.reply.int(0);
        return Ok(());
    }
    hash.set(name, cx.args[3], Expiry::Clear, &limits);
    drop(hash);
    cx.db.changed(1);
    cx.db.notify(EventClass::HASH, "hset", key.bytes());
    cx.reply.int(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn only_where_it_is_missing() {
        script(&[
            ("HSETNX h a 1", ":1"),
            ("HSETNX h a 2", ":0"),
            ("HSETNX h b 2", ":1"),
            ("HGETALL h", "*4 $1 a $1 1 $1 b $1 2"),
            ("SET s x", "+OK"),
            ("HSETNX s a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

//! `HINCRBY`.

use keyspace::{Expiry, IntBuffer};

use super::seen_from;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hincrby",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE), 1)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Adds an integer to the integer in a field of a hash, which counts as 0 where it is missing.",
    args: &[Arg::key("key", 0), Arg::string("field"), Arg::integer("increment")],
    element_arg: 2,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (key, name, limits, now) = (cx.keys[0], cx.args[2], cx.global().settings.hash, seen_from(&cx.db));
    let increment = cx.int(3)?;
    let mut hash = cx.db.write_or_create_hash(key, [name])?;
    // A hash that was created just now has no field that could be wrong: nothing empty is left behind.
    let old = match hash.value(name, now) {
        None => 0,
        Some(value) => value.as_int().ok_or(Stop::Error(Error::text("ERR hash value is not an integer")))?,
    };
    let sum = old.checked_add(increment).ok_or(Stop::Error(Error::Overflow))?;
    hash.set(name, IntBuffer::new().format(sum), Expiry::Keep, &limits);
    drop(hash);
    cx.db.changed(1);
    cx.db.notify(EventClass::HASH, "hincrby", key.bytes());
    cx.reply.int(sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn sums() {
        script(&[
            ("HINCRBY h n 5", ":5"),
            ("HINCRBY h n -7", ":-2"),
            ("HINCRBY h n 0", ":-2"),
            ("HSET h n 9223372036854775806", ":0"),
            ("HINCRBY h n 1", ":9223372036854775807"),
            ("HINCRBY h n 1", "-ERR increment or decrement would overflow"),
            ("HINCRBY h n -9223372036854775808", ":-1"),
            ("HEXPIRE h 100 FIELDS 1 n", "*1 :1"),
            ("HINCRBY h n 2", ":1"),
            ("HTTL h FIELDS 1 n", "*1 :100"),
        ]);
    }

    #[test]
    fn what_is_no_number() {
        script(&[
            ("HSET h a text b \" 1\" c 01 d -0 e 1.5", ":5"),
            ("HINCRBY h a 1", "-ERR hash value is not an integer"),
            ("HINCRBY h b 1", "-ERR hash value is not an integer"),
            ("HINCRBY h c 1", "-ERR hash value is not an integer"),
            ("HINCRBY h d 1", "-ERR hash value is not an integer"),
            ("HINCRBY h e 1", "-ERR hash value is not an integer"),
            ("HINCRBY h a x", "-ERR value is not an integer or out of range"),
            ("HINCRBY no a x", "-ERR value is not an integer or out of range"),
            ("EXISTS no", ":0"),
            ("SET s x", "+OK"),
            ("HINCRBY s a x", "-ERR value is not an integer or out of range"),
            ("HINCRBY s a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

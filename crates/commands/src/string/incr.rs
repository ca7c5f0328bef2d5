//! `INCR`, `DECR`, `INCRBY` and `DECRBY`.

use keyspace::{Expiry, NewValue};

use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::effects::EventClass;
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const INCR: Spec = Spec {
    name: "incr",
    arity: 2,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE), 1)],
    group: Group::String,
    summary: "Adds one to the integer at a key.",
    args: &[Arg::key("key", 0)],
    run: Some(incr),
    ..Spec::NEW
};

pub const DECR: Spec = Spec {
    name: "decr",
    arity: 2,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE), 1)],
    group: Group::String,
    summary: "Takes one from the integer at a key.",
    args: &[Arg::key("key", 0)],
    run: Some(decr),
    ..Spec::NEW
};

pub const INCRBY: Spec = Spec {
    name: "incrby",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE), 1)],
    group: Group::String,
    summary: "Adds a number to the integer at a key.",
    args: &[Arg::key("key", 0), Arg::integer("increment")],
    run: Some(incrby),
    ..Spec::NEW
};

pub const DECRBY: Spec = Spec {
    name: "decrby",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE), 1)],
    group: Group::String,
    summary: "Takes a number from the integer at a key.",
    args: &[Arg::key("key", 0), Arg::integer("decrement")],
    run: Some(decrby),
    ..Spec::NEW
};

fn incr(cx: &mut Ctx<'_>) -> Outcome {
    add(cx, 1)
}

fn decr(cx: &mut Ctx<'_>) -> Outcome {
    add(cx, -1)
}

fn incrby(cx: &mut Ctx<'_>) -> Outcome {
    let delta = cx.int(2)?;
    add(cx, delta)
}

fn decrby(cx: &mut Ctx<'_>) -> Outcome {
    match cx.int(2)?.checked_neg() {
        Some(delta) => add(cx, delta),
        None => cx.fail("ERR decrement would overflow"),
    }
}

fn add(cx: &mut Ctx<'_>, delta: i64) -> Outcome {
    let sum = match cx.db.write(cx.keys[0]) {
        None => {
            cx.db.set(cx.keys[0], NewValue::Int(delta), Expiry::Clear);
            delta
        }
        Some(mut entry) => {
            let number = entry.entry().string()?.as_int().ok_or(Error::NotInteger)?;
            let sum = number.checked_add(delta).ok_or(Error::Overflow)?;
            entry.set_int(sum);
            sum
        }
    };
    cx.db.notify(EventClass::STRING, "incrby", cx.keys[0].bytes());
    cx.db.changed(1);
    cx.reply.int(sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn sums() {
        script(&[
            ("INCR a", ":1"),
            ("INCRBY a 10", ":11"),
            ("DECR a", ":10"),
            ("DECRBY a 20", ":-10"),
            ("GET a", "$3 -10"),
            ("OBJECT ENCODING a", "$3 int"),
            ("DECRBY b 5", ":-5"),
            ("SET c 5 EX 100", "+OK"),
            ("INCR c", ":6"),
            ("TTL c", ":100"),
        ]);
    }

    #[test]
    fn limits() {
        script(&[
            ("SET a 9223372036854775807", "+OK"),
            ("INCR a", "-ERR increment or decrement would overflow"),
            ("DECRBY a 1", ":9223372036854775806"),
            ("SET a -9223372036854775808", "+OK"),
            ("DECR a", "-ERR increment or decrement would overflow"),
            ("INCRBY a -1", "-ERR increment or decrement would overflow"),
            ("DECRBY a -9223372036854775808", "-ERR decrement would overflow"),
            ("INCRBY a 9223372036854775807", ":-1"),
            ("INCRBY a x", "-ERR value is not an integer or out of range"),
            ("INCRBY no 1.5", "-ERR value is not an integer or out of range"),
            ("INCRBY no +1", "-ERR value is not an integer or out of range"),
            ("EXISTS no", ":0"),
            ("INCR a 1", "-ERR wrong number of arguments for 'incr' command"),
        ]);
    }

    #[test]
    fn what_is_no_integer() {
        script(&[
            ("SET a hello", "+OK"),
            ("INCR a", "-ERR value is not an integer or out of range"),
            ("SET a \" 1\"", "+OK"),
            ("INCR a", "-ERR value is not an integer or out of range"),
            ("SET a 01", "+OK"),
            ("INCR a", "-ERR value is not an integer or out of range"),
            ("SET a -0", "+OK"),
            ("INCR a", "-ERR value is not an integer or out of range"),
            ("SET a +1", "+OK"),
            ("INCR a", "-ERR value is not an integer or out of range"),
            ("SET a \"\"", "+OK"),
            ("INCR a", "-ERR value is not an integer or out of range"),
            ("SET a 9223372036854775808", "+OK"),
            ("INCR a", "-ERR value is not an integer or out of range"),
            ("SET a 1.0", "+OK"),
            ("INCR a", "-ERR value is not an integer or out of range"),
            ("GET a", "$3 1.0"),
        ]);
    }
}

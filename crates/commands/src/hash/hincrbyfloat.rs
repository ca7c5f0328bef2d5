//! `HINCRBYFLOAT`.

use keyspace::{Expiry, IntBuffer};
use resp::long_double::LongDouble;

use super::seen_from;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hincrbyfloat",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE), 1)],
    group: Group::Hash,
    since: "2.6.0",
    summary: "Adds a floating-point number to the number in a field of a hash, which counts as 0 where it is missing.",
    args: &[Arg::key("key", 0), Arg::string("field"), Arg::double("increment")],
    element_arg: 2,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (key, name, limits, now) = (cx.keys[0], cx.args[2], cx.global().settings.hash, seen_from(&cx.db));
    let increment = LongDouble::parse(cx.args[3]).ok_or(Stop::Error(Error::NotFloat))?;
    if !increment.is_finite() {
        return cx.fail("ERR value is NaN or Infinity");
    }
    let mut hash = cx.db.write_or_create_hash(key, [name])?;
    // As in HINCRBY: a hash that is new has no field that could be wrong.
    let expires = hash.field(name, now).is_some_and(|field| field.expire_at.is_some());
    let old = match hash.value(name, now) {
        None => LongDouble::from_i64(0),
        Some(value) => LongDouble::parse(value.bytes(&mut IntBuffer::new()))
            .ok_or(Stop::Error(Error::text("ERR hash value is not a float")))?,
    };
    let sum = old
        .checked_add(increment)
        .ok_or(Stop::Error(Error::text("ERR increment would produce NaN or Infinity")))?
        .to_text();
    hash.set(name, sum.as_bytes(), Expiry::Keep, &limits);
    drop(hash);
    cx.db.changed(1);
    cx.db.notify(EventClass::HASH, "hincrbyfloat", key.bytes());
    if cx.db.effects.wanted() {
        // Other servers may round otherwise, and older ones, where no field expires, do not know HSETEX.
        match expires {
            true => {
                cx.db.effects.instead(&[b"HSETEX", key.bytes(), b"KEEPTTL", b"FIELDS", b"1", name, sum.as_bytes()]);
            }
            false => cx.db.effects.instead(&[b"HSET", key.bytes(), name, sum.as_bytes()]),
        }
    }
    cx.reply.bulk(&sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn sums() {
        script(&[
            ("HINCRBYFLOAT h f 10.5", "$4 10.5"),
            ("HINCRBYFLOAT h f 0.1", "$4 10.6"),
            ("HINCRBYFLOAT h f -5", "$3 5.6"),
            ("HSET h f 5.0e3", ":0"),
            ("HINCRBYFLOAT h f 2.0e2", "$4 5200"),
            ("HINCRBYFLOAT h g 3.0e3", "$4 3000"),
            ("HSET h i 1503", ":1"),
            ("HINCRBYFLOAT h i 0.9", "$22 1503.90000000000000002"),
        ]);
    }

    #[test]
    fn what_is_no_number() {
        script(&[
            ("HSET h a text b \" 1\" i inf", ":3"),
            ("HINCRBYFLOAT h a 1", "-ERR hash value is not a float"),
            ("HINCRBYFLOAT h b 1", "-ERR hash value is not a float"),
            ("HINCRBYFLOAT h i 1", "-ERR increment would produce NaN or Infinity"),
            ("HINCRBYFLOAT h a x", "-ERR value is not a valid float"),
            ("HINCRBYFLOAT h a nan", "-ERR value is not a valid float"),
            ("HINCRBYFLOAT h a inf", "-ERR value is NaN or Infinity"),
            ("HINCRBYFLOAT no a -inf", "-ERR value is NaN or Infinity"),
            ("EXISTS no", ":0"),
            ("SET s x", "+OK"),
            ("HINCRBYFLOAT s a inf", "-ERR value is NaN or Infinity"),
            ("HINCRBYFLOAT s a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

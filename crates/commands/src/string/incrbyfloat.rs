//! `INCRBYFLOAT`.

use keyspace::{Expiry, IntBuffer, NewValue};
use resp::long_double::{self, IncrementError};

use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::effects::EventClass;
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "incrbyfloat",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE), 1)],
    group: Group::String,
    since: "2.6.0",
    summary: "Adds a floating-point number to the number at a key.",
    args: &[Arg::key("key", 0), Arg::double("increment")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let mut buffer = IntBuffer::new();
    let sum = match cx.db.write(key) {
        None => long_double::increment(b"0", cx.args[2]),
        Some(entry) => long_double::increment(entry.entry().string()?.bytes(&mut buffer), cx.args[2]),
    };
    let sum = sum.map_err(|error| match error {
        IncrementError::NotAFloat => Error::NotFloat,
        IncrementError::NotFinite => Error::text("ERR increment would produce NaN or Infinity"),
    })?;
    // Stays text, also where it looks like an integer.
    cx.db.update(key, NewValue::Text(sum.as_bytes()), Expiry::Keep);
    cx.db.notify(EventClass::STRING, "incrbyfloat", key.bytes());
    cx.db.changed(1);
    // The sum, not the summand: another machine might round it differently.
    cx.db.effects.instead(&[b"SET", key.bytes(), sum.as_bytes(), b"KEEPTTL"]);
    cx.reply.bulk(&sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn sums() {
        script(&[
            ("SET a 3.0", "+OK"),
            ("INCRBYFLOAT a 1", "$1 4"),
            ("OBJECT ENCODING a", "$6 embstr"),
            ("INCRBYFLOAT a 1.5e3", "$4 1504"),
            ("INCRBYFLOAT a -0.1", "$22 1503.90000000000000002"),
            ("INCRBYFLOAT b 3.0e3", "$4 3000"),
            ("INCRBYFLOAT b 1e-30", "$4 3000"),
            ("SET c 5 EX 100", "+OK"),
            ("INCRBYFLOAT c 5", "$2 10"),
            ("OBJECT ENCODING c", "$6 embstr"),
            ("TTL c", ":100"),
            ("SET d 1e17", "+OK"),
            ("INCRBYFLOAT d 1", "$18 100000000000000001"),
            ("SET d 0x10", "+OK"),
            ("INCRBYFLOAT d 1", "$2 17"),
            ("SET e 0.1", "+OK"),
            ("INCRBYFLOAT e 0.2", "$3 0.3"),
        ]);
    }

    #[test]
    fn what_is_no_number() {
        script(&[
            ("SET a hello", "+OK"),
            ("INCRBYFLOAT a 1", "-ERR value is not a valid float"),
            ("INCRBYFLOAT a x", "-ERR value is not a valid float"),
            ("SET a 1", "+OK"),
            ("INCRBYFLOAT a x", "-ERR value is not a valid float"),
            ("INCRBYFLOAT a \"\"", "-ERR value is not a valid float"),
            ("INCRBYFLOAT a nan", "-ERR value is not a valid float"),
            ("INCRBYFLOAT a inf", "-ERR increment would produce NaN or Infinity"),
            ("INCRBYFLOAT a -inf", "-ERR increment would produce NaN or Infinity"),
            ("SET a inf", "+OK"),
            ("INCRBYFLOAT a 1", "-ERR increment would produce NaN or Infinity"),
            ("SET a nan", "+OK"),
            ("INCRBYFLOAT a 1", "-ERR value is not a valid float"),
            ("SET a \" 1\"", "+OK"),
            ("INCRBYFLOAT a 1", "-ERR value is not a valid float"),
            ("SET a \"1 \"", "+OK"),
            ("INCRBYFLOAT a 1", "-ERR value is not a valid float"),
            ("SET a \"\"", "+OK"),
            ("INCRBYFLOAT a 1", "-ERR value is not a valid float"),
            ("SET a 1e5000", "+OK"),
            ("INCRBYFLOAT a 1", "-ERR value is not a valid float"),
            ("INCRBYFLOAT no x", "-ERR value is not a valid float"),
            ("EXISTS no", ":0"),
        ]);
    }
}

//! `SETBIT`.

use super::{bit_offset, grow};
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "setbit",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::BITMAP).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE), 1)],
    group: Group::Bitmap,
    since: "2.2.0",
    summary: "Sets or clears one bit of a string, which grows as needed, and returns what the bit was.",
    complexity: "O(1)",
    args: &[Arg::key("key", 0), Arg::integer("offset"), Arg::integer("value")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let offset = bit_offset(cx.args[2], cx.global().settings.bulk_bytes_max)?;
    let bit = match cx.args[3] {
        b"0" => false,
        b"1" => true,
        _ => return cx.fail("ERR bit is not an integer or out of range"),
    };
    let at = (offset / 8) as usize;
    let mask = 0x80 >> (offset % 8);
    let grown = grow(cx, key, at + 1)?;
    let mut entry = cx.db.write(key).expect("the key is there");
    let byte = &mut entry.bytes_mut(at + 1)[at];
    let before = *byte & mask != 0;
    *byte = if bit { *byte | mask } else { *byte & !mask };
    if grown || before != bit {
        cx.db.notify(EventClass::STRING, "setbit", key.bytes());
        cx.db.changed(1);
    }
    cx.reply.int(i64::from(before));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn pads_and_tells_what_was() {
        script(&[
            ("SETBIT k 7 1", ":0"),
            ("GET k", "$1 \u{1}"),
            ("SETBIT k 7 1", ":1"),
            ("SETBIT k 7 0", ":1"),
            ("SETBIT k 20 0", ":0"),
            ("STRLEN k", ":3"),
            ("OBJECT ENCODING k", "$3 raw"),
            ("SET i 12345", "+OK"),
            ("SETBIT i 3 1", ":1"),
            ("OBJECT ENCODING i", "$3 raw"),
            ("SETBIT i 6 1", ":0"),
            ("GET i", "$5 32345"),
            ("SETBIT far 400000 1", ":0"),
            ("STRLEN far", ":50001"),
            ("GETBIT far 400000", ":1"),
            ("BITCOUNT far", ":1"),
            ("SET t x EX 100", "+OK"),
            ("SETBIT t 0 1", ":0"),
            ("TTL t", ":100"),
        ]);
    }

    #[test]
    fn limits() {
        let mut rig = Rig::new();
        rig.world.global.settings.bulk_bytes_max = 4;
        let offset = "-ERR bit offset is not an integer or out of range";
        let bit = "-ERR bit is not an integer or out of range";
        rig.script(&[
            ("SETBIT k 31 1", ":0"),
            ("SETBIT k 32 1", offset),
            ("SETBIT k -1 1", offset),
            ("SETBIT k x x", offset),
            ("SETBIT k 0 2", bit),
            ("SETBIT k 0 01", bit),
            ("SETBIT k 0 x", bit),
            ("SETBIT no 0 x", bit),
            ("EXISTS no", ":0"),
        ]);
    }
}

//! `GETBIT`.

use super::bit_offset;
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "getbit",
    arity: 3,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::BITMAP).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Bitmap,
    since: "2.2.0",
    summary: "Returns one bit of a string; bits beyond its end are 0.",
    complexity: "O(1)",
    args: &[Arg::key("key", 0), Arg::integer("offset")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let offset = bit_offset(cx.args[2], cx.global().settings.bulk_bytes_max)?;
    let bit = match cx.db.read(cx.keys[0]) {
        None => 0,
        Some(entry) => entry.string()?.with_bytes(|bytes| match bytes.get((offset / 8) as usize) {
            None => 0,
            Some(byte) => byte >> (7 - offset % 8) & 1,
        }),
    };
    cx.reply.int(i64::from(bit));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn the_highest_bit_comes_first() {
        script(&[
            ("SET k \"\\x81\\x01\"", "+OK"),
            ("GETBIT k 0", ":1"),
            ("GETBIT k 1", ":0"),
            ("GETBIT k 7", ":1"),
            ("GETBIT k 15", ":1"),
            ("GETBIT k 16", ":0"),
            ("GETBIT k 4294967295", ":0"),
            ("GETBIT k 4294967296", "-ERR bit offset is not an integer or out of range"),
            ("GETBIT no -1", "-ERR bit offset is not an integer or out of range"),
            ("GETBIT no 5", ":0"),
            ("SET i 1", "+OK"),
            ("GETBIT i 2", ":1"),
            ("OBJECT ENCODING i", "$3 int"),
        ]);
    }
}

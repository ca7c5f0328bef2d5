//! `SETRANGE`.

use keyspace::{Expiry, NewValue};

use super::check_len;
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "setrange",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::String,
    since: "2.2.0",
    summary: "Overwrites a part of a string, which grows as needed.",
    complexity: "O(M), M being the length of the part; O(1) in practice when it is short",
    args: &[Arg::key("key", 0), Arg::integer("offset"), Arg::string("value")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let part = cx.args[3];
    let Ok(offset) = usize::try_from(cx.int(2)?) else {
        return cx.fail("ERR offset is out of range");
    };
    let len_max = cx.global().settings.bulk_bytes_max;
    let len_before = match cx.db.glance(key) {
        None => None,
        Some(entry) => Some(entry.string()?.len()),
    };
    if part.is_empty() {
        // Nothing to write: neither is a key made nor a string padded.
        cx.reply.count(len_before.unwrap_or(0));
        return Ok(());
    }
    check_len(offset, part.len(), len_max)?;
    if len_before.is_none() {
        cx.db.set(key, NewValue::Raw(b""), Expiry::Clear);
    }
    let len = cx.db.write(key).expect("the key is there").set_range(offset, part);
    cx.db.notify(EventClass::STRING, "setrange", key.bytes());
    cx.db.changed(1);
    cx.reply.count(len);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn pads_with_zeros() {
        script(&[
            ("SETRANGE a 0 \"\"", ":0"),
            ("SETRANGE a 5 \"\"", ":0"),
            ("EXISTS a", ":0"),
            ("SETRANGE a 2 ab", ":4"),
            ("STRLEN a", ":4"),
            ("GETRANGE a 2 -1", "$2 ab"),
            ("SETRANGE a 1 x", ":4"),
            ("SETRANGE a 0 \"\"", ":4"),
            ("OBJECT ENCODING a", "$3 raw"),
            ("SET b 12", "+OK"),
            ("SETRANGE b 9 \"\"", ":2"),
            ("OBJECT ENCODING b", "$3 int"),
            ("SETRANGE b 0 3", ":2"),
            ("GET b", "$2 32"),
            ("OBJECT ENCODING b", "$3 raw"),
            ("SET c abc EX 100", "+OK"),
            ("SETRANGE c 1 x", ":3"),
            ("TTL c", ":100"),
            ("GET c", "$3 axc"),
        ]);
    }

    #[test]
    fn limits() {
        script(&[
            ("SETRANGE a -1 x", "-ERR offset is out of range"),
            ("SETRANGE a -1 \"\"", "-ERR offset is out of range"),
            ("SETRANGE a x x", "-ERR value is not an integer or out of range"),
            ("SETRANGE a 536870912 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
            ("SETRANGE a 536870910 abc", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
            ("SETRANGE a 9223372036854775807 abc", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
            ("SETRANGE a 536870912 \"\"", ":0"),
            ("EXISTS a", ":0"),
        ]);
    }
}

//! `GETRANGE` and `SUBSTR`.

use std::ops::Range;

use super::put_bulk;
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const GETRANGE: Spec = Spec {
    name: "getrange",
    arity: 4,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::STRING).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::String,
    since: "2.4.0",
    summary: "Returns a part of a string.",
    complexity: "O(N), N being the length of the part",
    args: &[Arg::key("key", 0), Arg::integer("start"), Arg::integer("end")],
    run: Some(run),
    ..Spec::NEW
};

pub const SUBSTR: Spec = Spec {
    name: "substr",
    arity: 4,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::STRING).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::String,
    summary: "Returns a part of a string; the old name of GETRANGE.",
    complexity: "O(N), N being the length of the part",
    doc_flags: &["deprecated"],
    deprecated_since: Some("2.0.0"),
    replaced_by: Some("`GETRANGE`"),
    args: &[Arg::key("key", 0), Arg::integer("start"), Arg::integer("end")],
    run: Some(run),
    ..Spec::NEW
};

/// SUBSTR is the same under its old name.
fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (start, end) = (cx.int(2)?, cx.int(3)?);
    let Some(entry) = cx.db.read(cx.keys[0]) else {
        cx.reply.bulk(b"");
        return Ok(());
    };
    let string = entry.string()?;
    match range(start, end, string.len()) {
        Some(range) if range.len() == string.len() => put_bulk(cx.reply, &string),
        Some(range) => string.with_bytes(|bytes| cx.reply.bulk(&bytes[range])),
        None => cx.reply.bulk(b""),
    }
    Ok(())
}

/// The bytes from `start` to `end`, both included; negative ones count from the end of the string.
fn range(start: i64, end: i64, len: usize) -> Option<Range<usize>> {
    // Two negative ends in the wrong order are empty before they are clamped; afterwards both might be 0, which is not.
    if len == 0 || (start < 0 && end < 0 && start > end) {
        return None;
    }
    let len = len as i64;
    let from_end = |index: i64| if index < 0 { (len + index.max(-len)).max(0) } else { index };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    (start <= end).then(|| start as usize..end as usize + 1)
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn ends_are_included() {
        script(&[
            ("SET s hello", "+OK"),
            ("GETRANGE s 0 -1", "$5 hello"),
            ("GETRANGE s -3 -2", "$2 ll"),
            ("GETRANGE s -100 100", "$5 hello"),
            ("GETRANGE s 3 2", "$0"),
            ("GETRANGE s -1 -5", "$0"),
            ("GETRANGE s -100 -90", "$1 h"),
            ("GETRANGE s 10 20", "$0"),
            ("GETRANGE s 9223372036854775807 -1", "$0"),
            ("GETRANGE s -9223372036854775808 9223372036854775807", "$5 hello"),
            ("GETRANGE s -9223372036854775808 -9223372036854775808", "$1 h"),
            ("GETRANGE s x 1", "-ERR value is not an integer or out of range"),
            ("GETRANGE s 1 x", "-ERR value is not an integer or out of range"),
            ("GETRANGE no x 1", "-ERR value is not an integer or out of range"),
            ("GETRANGE no 0 -1", "$0"),
            ("SET s \"\"", "+OK"),
            ("GETRANGE s 0 -1", "$0"),
            ("SET s 12345", "+OK"),
            ("GETRANGE s 1 2", "$2 23"),
            ("SUBSTR s 1 2", "$2 23"),
            ("SUBSTR s", "-ERR wrong number of arguments for 'substr' command"),
        ]);
    }
}

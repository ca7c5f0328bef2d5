//! `PFADD`.

use keyspace::Key;

use super::dense;
use super::hash::place;
use super::sketch::{self, Encoding, Sketch, encoding};
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "pfadd",
    arity: -2,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HYPERLOGLOG).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::INSERT), 1)],
    group: Group::Hyperloglog,
    since: "2.8.9",
    summary: "Shows elements to a HyperLogLog, which is created if need be; says whether its estimate may have changed.",
    complexity: "O(1) an element",
    args: &[Arg::key("key", 0), Arg::string("element").optional().multiple()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let elements = &cx.args[2..];
    let sparse_bytes_max = cx.global().settings.hll_sparse_bytes_max;
    let existing = match cx.db.write(key) {
        None => None,
        Some(mut entry) => {
            let string = entry.entry().string()?;
            match string.with_bytes(encoding)? {
                Encoding::Sparse => Some(Sketch::of(string.to_vec())?),
                Encoding::Dense => {
                    let bytes = entry.bytes_mut(0);
                    let registers = sketch::registers_mut(bytes);
                    let raised = elements
                        .iter()
                        .map(|element| place(element))
                        .fold(0, |raised, (index, value)| raised + u64::from(dense::raise(registers, index, value)));
                    if raised > 0 {
                        sketch::mark_stale(bytes);
                    }
                    reply(cx, key, raised);
                    return Ok(());
                }
            }
        }
    };
    // To create it is a change too.
    let created = existing.is_none();
    let mut changes = u64::from(created);
    let mut sketch = existing.unwrap_or_else(Sketch::empty);
    for element in elements {
        let (index, value) = place(element);
        changes += u64::from(sketch.raise(index, value, sparse_bytes_max)?);
    }
    if changes > 0 {
        sketch.mark_stale();
        sketch.store(cx, key);
    } else {
        sketch::open_raw(cx, key);
    }
    reply(cx, key, changes);
    Ok(())
}

fn reply(cx: &mut Ctx<'_>, key: Key<'_>, changes: u64) {
    if changes > 0 {
        cx.db.notify(EventClass::STRING, "pfadd", key.bytes());
        cx.db.changed(changes);
    }
    cx.reply.int(i64::from(changes > 0));
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    const NOT_HYPERLOGLOG: &str = "-WRONGTYPE Key is not a valid HyperLogLog string value.";
    const CORRUPT: &str = "-INVALIDOBJ Corrupted HLL object detected";

    #[test]
    fn tells_whether_the_estimate_may_have_changed() {
        script(&[
            ("PFADD h", ":1"),
            ("PFADD h", ":0"),
            ("PFADD h a", ":1"),
            ("PFADD h a", ":0"),
            ("PFADD h a b c", ":1"),
            ("PFCOUNT h", ":3"),
            ("STRLEN h", ":27"),
            ("TYPE h", "+string"),
            ("OBJECT ENCODING h", "$3 raw"),
            ("EXPIRE h 100", ":1"),
            ("PFADD h d", ":1"),
            ("TTL h", ":100"),
        ]);
    }

    /// Seen in Redis 8.2: a sketch that was written as a string, or loaded, is `raw` once it was opened.
    #[test]
    fn an_opened_sketch_is_raw() {
        for open in ["PFADD h a", "PFADD h", "PFCOUNT h", "PFDEBUG ENCODING h", "PFMERGE h"] {
            let mut rig = Rig::new();
            rig.script(&[("PFADD h a", ":1"), ("PFCOUNT h", ":1")]);
            let reply = rig.run_args(&[b"GET", b"h"]);
            let sketch = &reply[b"$21\r\n".len()..reply.len() - 2];
            rig.run_args(&[b"SET", b"h", sketch]);
            rig.script(&[("OBJECT ENCODING h", "$6 embstr")]);
            rig.run(open);
            rig.script(&[("OBJECT ENCODING h", "$3 raw")]);
        }
    }

    /// The bytes that Redis 8.2 makes.
    #[test]
    fn bytes() {
        let mut rig = Rig::new();
        rig.script(&[("PFADD h a", ":1")]);
        let expected = b"$21\r\nHYLL\x01\0\0\0\0\0\0\0\0\0\0\x80q\xa6\x84NW\r\n";
        assert_eq!(rig.run_args(&[b"GET", b"h"]), expected);
        rig.script(&[("PFCOUNT h", ":1")]);
        let expected = b"$21\r\nHYLL\x01\0\0\0\x01\0\0\0\0\0\0\0q\xa6\x84NW\r\n";
        assert_eq!(rig.run_args(&[b"GET", b"h"]), expected);
    }

    #[test]
    fn becomes_dense() {
        let mut rig = Rig::new();
        rig.world.global.settings.hll_sparse_bytes_max = 100;
        let mut dense_from = None;
        for number in 0..200 {
            rig.run(&format!("PFADD h {number}"));
            let dense = rig.run("PFDEBUG ENCODING h") == "+dense";
            assert!(dense || dense_from.is_none());
            if dense && dense_from.is_none() {
                dense_from = Some(number);
                rig.script(&[("STRLEN h", ":12304")]);
            }
        }
        assert!(dense_from.is_some());
        rig.script(&[("PFCOUNT h", ":201"), ("PFADD h 5 7", ":0"), ("PFADD h new", ":1"), ("PFCOUNT h", ":202")]);
        rig.world.global.settings.hll_sparse_bytes_max = 0;
        rig.script(&[("PFADD i", ":1"), ("PFDEBUG ENCODING i", "+sparse")]);
        rig.script(&[("PFADD i a", ":1"), ("PFDEBUG ENCODING i", "+dense")]);
    }

    #[test]
    fn strings_that_are_none() {
        script(&[
            ("SET s x", "+OK"),
            ("PFADD s a", NOT_HYPERLOGLOG),
            ("SET s 123456789012345678", "+OK"),
            ("PFADD s", NOT_HYPERLOGLOG),
            ("SET s \"HYLL\\x02\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\x7f\\xff\"", "+OK"),
            ("PFADD s a", NOT_HYPERLOGLOG),
            ("SET s \"HYLL\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\"", "+OK"),
            ("PFADD s a", NOT_HYPERLOGLOG),
            ("APPEND s \"\\x00\"", ":16"),
            ("PFADD s", ":0"),
            ("PFADD s a", CORRUPT),
            ("PFCOUNT s", ":0"),
        ]);
    }
}

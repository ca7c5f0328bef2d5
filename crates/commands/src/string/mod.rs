//! Commands on strings. Counters are strings too.

mod append;
mod delifeq;
mod get;
mod getdel;
mod getex;
mod getrange;
mod getset;
mod incr;
mod incrbyfloat;
mod lcs;
mod mget;
mod mset;
mod msetex;
mod options;
mod set;
mod setex;
mod setnx;
mod setrange;
mod strlen;

use std::sync::Arc;

use keyspace::{NewValue, StrRef, StrRepr};
use resp::Reply;

use crate::context::Ctx;
use crate::error::Error;
use crate::spec::Spec;

/// All commands of the group.
pub const SPECS: &[&Spec] = &[
    &append::SPEC,
    &incr::DECR,
    &incr::DECRBY,
    &delifeq::SPEC,
    &get::SPEC,
    &getdel::SPEC,
    &getex::SPEC,
    &getrange::GETRANGE,
    &getset::SPEC,
    &incr::INCR,
    &incr::INCRBY,
    &incrbyfloat::SPEC,
    &lcs::SPEC,
    &mget::SPEC,
    &mset::MSET,
    &msetex::SPEC,
    &mset::MSETNX,
    &setex::PSETEX,
    &set::SPEC,
    &setex::SETEX,
    &setnx::SPEC,
    &setrange::SPEC,
    &strlen::SPEC,
    &getrange::SUBSTR,
];

/// Replies with a string as it is kept: out-of-line text is shared, not copied.
#[inline]
fn put_bulk(reply: &mut Reply, string: &StrRef<'_>) {
    match &string.repr {
        StrRepr::Inline(bytes) => reply.bulk(bytes),
        StrRepr::Int(number) => reply.bulk_int(*number),
        StrRepr::Large(text) => reply.shared(text),
    }
}

/// An argument as a value: one that arrived in a buffer of its own is taken over without a copy.
#[inline]
fn new_value<'a>(cx: &Ctx<'a>, index: usize) -> NewValue<'a> {
    match cx.large(index) {
        Some(text) => NewValue::Large(Arc::clone(text)),
        None => NewValue::Bytes(cx.args[index]),
    }
}

/// Whether a string of `len` bytes may grow by `more`: no value may be longer than what a client could send.
fn check_len(len: usize, more: usize, len_max: usize) -> Result<(), Error> {
    match len.checked_add(more) {
        Some(len) if len <= len_max => Ok(()),
        _ => Err(Error::text("ERR string exceeds maximum allowed size (proto-max-bulk-len)")),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    /// What a command counts as changes, hits and misses (as Redis 8.2 and Valkey 9.1 were seen to count).
    #[test]
    fn changes_hits_and_misses() {
        for (line, changes, hits, misses) in [
            ("SET s 1", 1, 0, 0),
            ("SET s 1 NX", 0, 0, 0),
            ("SET no 1 XX", 0, 0, 0),
            ("SET s 1 GET", 1, 1, 0),
            ("SET no 1 GET", 1, 0, 1),
            ("SET s 1 NX GET", 0, 1, 0),
            ("SET s 1 EXAT 1", 1, 0, 0),
            ("SET s 1 IFEQ x", 0, 0, 0),
            ("SETNX s 1", 0, 0, 0),
            ("GET s", 0, 1, 0),
            ("GET no", 0, 0, 1),
            ("GETSET no 1", 1, 0, 1),
            ("GETDEL s", 1, 1, 0),
            ("GETDEL no", 0, 0, 1),
            ("GETEX s", 0, 1, 0),
            ("GETEX s EX 10", 1, 1, 0),
            ("GETEX s EXAT 1", 1, 1, 0),
            ("GETEX s PERSIST", 0, 1, 0),
            ("GETEX t PERSIST", 1, 1, 0),
            ("GETRANGE no 0 1", 0, 0, 1),
            ("STRLEN s", 0, 1, 0),
            ("APPEND s \"\"", 1, 0, 0),
            ("APPEND no x", 1, 0, 0),
            ("SETRANGE s 0 x", 1, 0, 0),
            ("SETRANGE s 0 \"\"", 0, 0, 0),
            ("SETRANGE no 0 \"\"", 0, 0, 0),
            ("INCR s", 0, 0, 0),
            ("INCRBY i 0", 1, 0, 0),
            ("INCRBYFLOAT i 1", 1, 0, 0),
            ("MGET s no", 0, 1, 1),
            ("MSET s 1 no 2", 2, 0, 0),
            ("MSETNX s 1 no 2", 0, 0, 0),
            ("MSETEX 2 s 1 no 2", 2, 0, 0),
            ("MSETEX 2 s 1 no 2 NX", 0, 0, 0),
            ("LCS s no", 0, 1, 1),
            ("DELIFEQ s hello", 1, 0, 0),
            ("DELIFEQ s x", 0, 0, 0),
        ] {
            let mut rig = Rig::new();
            rig.script(&[("MSET s hello i 5", "+OK"), ("SET t v EX 1000", "+OK")]);
            let counted = |rig: &Rig| {
                let stats = &rig.host.stats[0];
                [&stats.dirty, &stats.keyspace_hits, &stats.keyspace_misses].map(|counter| counter.get())
            };
            let before = counted(&rig);
            rig.run(line);
            let after = counted(&rig);
            assert_eq!([0, 1, 2].map(|at| after[at] - before[at]), [changes, hits, misses], "{line}");
        }
    }

    /// Values that are kept out of line go through all commands like short ones.
    #[test]
    fn long_values() {
        let mut rig = Rig::new();
        let mut value = b"0123456789".repeat(4000);
        let bulk = |value: &[u8]| [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat();
        assert_eq!(rig.run_args(&[b"SET", b"k", &value]), b"+OK\r\n");
        assert_eq!(rig.run_args(&[b"GET", b"k"]), bulk(&value));
        rig.script(&[
            ("STRLEN k", ":40000"),
            ("GETRANGE k 39998 -1", "$2 89"),
            ("APPEND k xyz", ":40003"),
            ("SETRANGE k 1 ab", ":40003"),
            ("SETRANGE k 40004 c", ":40005"),
            ("INCR k", "-ERR value is not an integer or out of range"),
        ]);
        value.extend_from_slice(b"xyz\0c");
        value[1..3].copy_from_slice(b"ab");
        assert_eq!(rig.run_args(&[b"MGET", b"k"]), [b"*1\r\n", &*bulk(&value)].concat());
        assert_eq!(rig.run_args(&[b"GETRANGE", b"k", b"0", b"-1"]), bulk(&value));
        assert_eq!(rig.run_args(&[b"SET", b"k", b"1", b"GET"]), bulk(&value));
        rig.script(&[("GET k", "$1 1")]);
        // Grown piece by piece, through the length at which a value leaves its entry.
        let mut grown = Vec::new();
        while grown.len() < 5000 {
            let piece = &value[grown.len()..][..237];
            grown.extend_from_slice(piece);
            assert_eq!(rig.run_args(&[b"APPEND", b"g", piece]), format!(":{}\r\n", grown.len()).into_bytes());
            assert_eq!(rig.run_args(&[b"GET", b"g"]), bulk(&grown));
        }
        assert_eq!(rig.run_args(&[b"GETDEL", b"g"]), bulk(&grown));
    }
}

//! Commands on bits. A bitmap is a string; bit 0 is the highest bit of its first byte.

mod bitcount;
mod bitfield;
mod bitop;
mod bitpos;
mod combine;
mod count;
mod field;
mod getbit;
mod range;
mod setbit;

use keyspace::{Expiry, Key, LARGE_LEN_MIN, NewValue};
use std::sync::Arc;

use crate::context::Ctx;
use crate::db::ExpectString;
use crate::error::{Error, Stop};
use crate::spec::Spec;

/// All commands of the group.
pub const SPECS: &[&Spec] = &[
    &bitcount::SPEC,
    &bitfield::BITFIELD,
    &bitfield::BITFIELD_RO,
    &bitop::SPEC,
    &bitpos::SPEC,
    &getbit::SPEC,
    &setbit::SPEC,
];

const BAD_OFFSET: Error = Error::text("ERR bit offset is not an integer or out of range");

/// The offset of a bit. Its byte must lie within what a client could send as a whole.
fn bit_offset(text: &[u8], bytes_max: usize) -> Result<u64, Error> {
    let offset = resp::number::parse_i64(text).ok_or(BAD_OFFSET)?;
    in_reach(offset, bytes_max)
}

fn in_reach(offset: i64, bytes_max: usize) -> Result<u64, Error> {
    match u64::try_from(offset) {
        Ok(offset) if offset / 8 < bytes_max as u64 => Ok(offset),
        _ => Err(BAD_OFFSET),
    }
}

/// Makes the key a string of at least `len` bytes, padded with zeros. Says whether it was shorter, or was not there.
fn grow(cx: &mut Ctx<'_>, key: Key<'_>, len: usize) -> Result<bool, Stop> {
    match cx.db.write(key) {
        Some(entry) => Ok(entry.entry().string()?.len() < len),
        None => {
            if len < LARGE_LEN_MIN {
                cx.db.set(key, NewValue::Raw(b""), Expiry::Clear);
            } else {
                // A far bit of a new key costs no memory that is not written: zeroed pages come from the system as needed.
                cx.db.set(key, NewValue::Large(Arc::new(vec![0; len])), Expiry::Clear);
            }
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    /// What a command counts as changes, hits and misses (as Redis 8.2 was seen to count, but for the field that fails).
    #[test]
    fn changes_hits_and_misses() {
        for (line, changes, hits, misses) in [
            ("SETBIT b 0 1", 1, 0, 0),
            ("SETBIT b 1 1", 0, 0, 0),
            ("SETBIT b 3 0", 0, 0, 0),
            ("SETBIT b 100 0", 1, 0, 0),
            ("SETBIT no 0 0", 1, 0, 0),
            ("GETBIT b 0", 0, 1, 0),
            ("GETBIT no 0", 0, 0, 1),
            ("BITCOUNT b", 0, 1, 0),
            ("BITCOUNT no", 0, 0, 1),
            ("BITPOS b 1", 0, 1, 0),
            ("BITPOS no 1", 0, 0, 1),
            ("BITOP AND d b no", 1, 1, 1),
            ("BITOP AND d no", 0, 0, 1),
            ("BITOP AND b no", 1, 0, 1),
            ("BITFIELD b", 0, 1, 0),
            ("BITFIELD no GET u8 0", 0, 0, 1),
            ("BITFIELD_RO b GET u8 0", 0, 1, 0),
            ("BITFIELD b SET u8 0 97", 0, 0, 0),
            ("BITFIELD b SET u8 0 0 SET u8 0 1", 2, 0, 0),
            ("BITFIELD b INCRBY u8 0 0", 0, 0, 0),
            ("BITFIELD no SET u8 0 0 SET u8 8 0", 2, 0, 0),
            ("BITFIELD b OVERFLOW FAIL SET u8 0 256", 0, 0, 0),
            ("BITFIELD no OVERFLOW FAIL SET u8 0 256", 1, 0, 0),
        ] {
            let mut rig = Rig::new();
            rig.script(&[("SET b abc", "+OK")]);
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
}

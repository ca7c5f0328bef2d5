//! Hashes from and to the forms that files have.

use super::expiring::Expiring;
use super::packed::Packed;
use super::{ExpiringCode, Hash, HashLimits, PackedCode};
use crate::Millis;
use crate::collection::Listpack;

/// A small hash as it lies in memory, which is how files have it.
#[derive(Clone, Copy, Debug)]
pub enum PackedFields<'a> {
    /// Field and value by turns.
    Pairs(&'a Listpack),
    /// Field, value and expiry by turns, those that expire first, soonest first; 0: never.
    Triples(&'a Listpack),
}

impl Hash {
    /// Of a small hash.
    pub fn as_packed(&self) -> Option<PackedFields<'_>> {
        match &self.0 {
            PackedCode(packed) => Some(PackedFields::Pairs(&packed.0)),
            ExpiringCode(expiring) => Some(PackedFields::Triples(&expiring.0)),
            _ => None,
        }
    }

    /// A hash of field and value by turns. As in Redis 8.2 it is a table where there are more than the limit says; how long they are does not
    /// matter.
    ///
    /// # Panics
    /// If a field has no value. That all fields are different is the caller's business.
    pub fn from_pairs(listpack: Listpack, limits: &HashLimits) -> Hash {
        assert!(listpack.len().is_multiple_of(2), "a field has a value");
        Hash(PackedCode(Packed(listpack))).within(limits)
    }

    /// The same for field, value and expiry by turns.
    ///
    /// # Panics
    /// If they are no threes, expiries are no numbers or out of order.
    pub fn from_triples(listpack: Listpack, limits: &HashLimits) -> Hash {
        assert!(listpack.len().is_multiple_of(3), "a field has a value and an expiry");
        let mut last = Millis(i64::MIN);
        for expiry in listpack.iter().skip(2).step_by(3) {
            let expiry = match expiry.as_int().expect("an expiry is a number") {
                0 => Millis::NEVER,
                at => Millis(at),
            };
            assert!(last <= expiry, "the soonest expiry comes first");
            last = expiry;
        }
        Hash(ExpiringCode(Expiring(listpack))).within(limits)
    }

    fn within(mut self, limits: &HashLimits) -> Hash {
        self.prepare(super::Collection::len(&self), limits);
        self
    }
}

//! SortedSet.

use std::ops::RangeInclusive;
use std::ptr::NonNull;

use super::{Code, Collection, Listpack};

#[derive(Debug)]
pub enum SortedSet {
    Packed(Listpack),
}

impl Default for SortedSet {
    fn default() -> SortedSet {
        SortedSet::Packed(Listpack::new())
    }
}

// SAFETY: one code, one encoding.
unsafe impl Collection for SortedSet {
    const TYPE_NAME: &'static str = "zset";
    const CODES: RangeInclusive<Code> = 8..=9;

    fn into_parts(self) -> (Code, NonNull<u8>) {
        match self {
            SortedSet::Packed(listpack) => (8, listpack.into_raw()),
        }
    }

    unsafe fn from_parts(_code: Code, pointer: NonNull<u8>) -> SortedSet {
        // SAFETY: the caller's promise.
        SortedSet::Packed(unsafe { Listpack::from_raw(pointer) })
    }

    fn encoding_name(&self) -> &'static str {
        "listpack"
    }

    fn len(&self) -> usize {
        let SortedSet::Packed(listpack) = self;
        listpack.len()
    }

    fn memory_usage(&self, _samples: usize) -> usize {
        let SortedSet::Packed(listpack) = self;
        listpack.memory_usage()
    }

    fn duplicate(&self) -> SortedSet {
        let SortedSet::Packed(listpack) = self;
        SortedSet::Packed(listpack.clone())
    }

    fn free_cost(&self) -> usize {
        1
    }
}

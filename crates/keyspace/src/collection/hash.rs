//! Hash.

use std::ops::RangeInclusive;
use std::ptr::NonNull;

use super::{Code, Collection, Listpack};

#[derive(Debug)]
pub enum Hash {
    Packed(Listpack),
}

impl Default for Hash {
    fn default() -> Hash {
        Hash::Packed(Listpack::new())
    }
}

// SAFETY: one code, one encoding.
unsafe impl Collection for Hash {
    const TYPE_NAME: &'static str = "hash";
    const CODES: RangeInclusive<Code> = 5..=7;

    fn into_parts(self) -> (Code, NonNull<u8>) {
        match self {
            Hash::Packed(listpack) => (5, listpack.into_raw()),
        }
    }

    unsafe fn from_parts(_code: Code, pointer: NonNull<u8>) -> Hash {
        // SAFETY: the caller's promise.
        Hash::Packed(unsafe { Listpack::from_raw(pointer) })
    }

    fn encoding_name(&self) -> &'static str {
        "listpack"
    }

    fn len(&self) -> usize {
        let Hash::Packed(listpack) = self;
        listpack.len()
    }

    fn memory_usage(&self, _samples: usize) -> usize {
        let Hash::Packed(listpack) = self;
        listpack.memory_usage()
    }

    fn duplicate(&self) -> Hash {
        let Hash::Packed(listpack) = self;
        Hash::Packed(listpack.clone())
    }

    fn free_cost(&self) -> usize {
        1
    }
}

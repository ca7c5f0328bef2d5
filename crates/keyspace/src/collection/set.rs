//! Set.

use std::ops::RangeInclusive;
use std::ptr::NonNull;

use super::{Code, Collection, Listpack};

#[derive(Debug)]
pub enum Set {
    Packed(Listpack),
}

impl Default for Set {
    fn default() -> Set {
        Set::Packed(Listpack::new())
    }
}

// SAFETY: one code, one encoding.
unsafe impl Collection for Set {
    const TYPE_NAME: &'static str = "set";
    const CODES: RangeInclusive<Code> = 2..=4;

    fn into_parts(self) -> (Code, NonNull<u8>) {
        match self {
            Set::Packed(listpack) => (2, listpack.into_raw()),
        }
    }

    unsafe fn from_parts(_code: Code, pointer: NonNull<u8>) -> Set {
        // SAFETY: the caller's promise.
        Set::Packed(unsafe { Listpack::from_raw(pointer) })
    }

    fn encoding_name(&self) -> &'static str {
        "listpack"
    }

    fn len(&self) -> usize {
        let Set::Packed(listpack) = self;
        listpack.len()
    }

    fn memory_usage(&self, _samples: usize) -> usize {
        let Set::Packed(listpack) = self;
        listpack.memory_usage()
    }

    fn duplicate(&self) -> Set {
        let Set::Packed(listpack) = self;
        Set::Packed(listpack.clone())
    }

    fn free_cost(&self) -> usize {
        1
    }
}

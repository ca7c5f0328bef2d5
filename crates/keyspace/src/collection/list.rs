//! List.

use std::ops::RangeInclusive;
use std::ptr::NonNull;

use super::{Code, Collection, Listpack};

#[derive(Debug)]
pub enum List {
    Packed(Listpack),
}

impl Default for List {
    fn default() -> List {
        List::Packed(Listpack::new())
    }
}

// SAFETY: one code, one encoding.
unsafe impl Collection for List {
    const TYPE_NAME: &'static str = "list";
    const CODES: RangeInclusive<Code> = 0..=1;

    fn into_parts(self) -> (Code, NonNull<u8>) {
        match self {
            List::Packed(listpack) => (0, listpack.into_raw()),
        }
    }

    unsafe fn from_parts(_code: Code, pointer: NonNull<u8>) -> List {
        // SAFETY: the caller's promise.
        List::Packed(unsafe { Listpack::from_raw(pointer) })
    }

    fn encoding_name(&self) -> &'static str {
        "listpack"
    }

    fn len(&self) -> usize {
        let List::Packed(listpack) = self;
        listpack.len()
    }

    fn memory_usage(&self, _samples: usize) -> usize {
        let List::Packed(listpack) = self;
        listpack.memory_usage()
    }

    fn duplicate(&self) -> List {
        let List::Packed(listpack) = self;
        List::Packed(listpack.clone())
    }

    fn free_cost(&self) -> usize {
        1
    }
}

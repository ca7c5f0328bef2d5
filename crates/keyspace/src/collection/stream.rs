//! Stream.

use std::ops::RangeInclusive;
use std::ptr::NonNull;

use super::{Code, Collection, Listpack};

#[derive(Debug)]
pub enum Stream {
    Packed(Listpack),
}

impl Default for Stream {
    fn default() -> Stream {
        Stream::Packed(Listpack::new())
    }
}

// SAFETY: one code, one encoding.
unsafe impl Collection for Stream {
    const TYPE_NAME: &'static str = "stream";
    const CODES: RangeInclusive<Code> = 10..=10;

    fn into_parts(self) -> (Code, NonNull<u8>) {
        match self {
            Stream::Packed(listpack) => (10, listpack.into_raw()),
        }
    }

    unsafe fn from_parts(_code: Code, pointer: NonNull<u8>) -> Stream {
        // SAFETY: the caller's promise.
        Stream::Packed(unsafe { Listpack::from_raw(pointer) })
    }

    fn encoding_name(&self) -> &'static str {
        "listpack"
    }

    fn len(&self) -> usize {
        let Stream::Packed(listpack) = self;
        listpack.len()
    }

    fn memory_usage(&self, _samples: usize) -> usize {
        let Stream::Packed(listpack) = self;
        listpack.memory_usage()
    }

    fn duplicate(&self) -> Stream {
        let Stream::Packed(listpack) = self;
        Stream::Packed(listpack.clone())
    }

    fn free_cost(&self) -> usize {
        1
    }
}

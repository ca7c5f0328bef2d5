//! A piece of a stream: bytes are put behind those that are there, while readers hold what was there before.
//!
//! ```text
//! bytes  [ read by anybody who holds a Chunk | written by the one append under the journal's lock | free ]
//!                                            ▲ filled
//! ```
//!
//! Bytes below `filled` never change for as long as anybody holds the block, so that reading needs no lock.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// What a block holds unless one batch is longer.
pub(crate) const BLOCK_BYTES: usize = 64 << 10;

pub(crate) struct Block {
    bytes: Box<[UnsafeCell<MaybeUninit<u8>>]>,
}

// SAFETY: threads share a block as disjoint ranges: `fill` writes where no `Chunk` reads, because a chunk is only made of
// what was filled before (`Chunk::new`), and both happen in the order that the journal's lock gives them.
unsafe impl Sync for Block {}

impl Block {
    pub(crate) fn new(capacity: usize) -> Block {
        let mut bytes = Vec::with_capacity(capacity);
        // SAFETY: the capacity was just reserved, and uninitialized is a value of `MaybeUninit`, hence of a cell of it.
        unsafe { bytes.set_len(capacity) };
        Block { bytes: bytes.into_boxed_slice() }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Writes `data` at `at`.
    ///
    /// # Safety
    /// No other `fill` of the block runs, and no chunk reaches beyond `at`.
    ///
    /// # Panics
    /// When it does not fit.
    pub(crate) unsafe fn fill(&self, at: usize, data: &[u8]) {
        let target = &self.bytes[at..at + data.len()];
        // SAFETY: `target` has room for `data` (the slice above), its bytes are cells, and nobody reads or writes them now
        // (the caller's promise). They do not overlap: `data` cannot be part of a block that is written.
        unsafe {
            std::ptr::copy_nonoverlapping(data.as_ptr(), UnsafeCell::raw_get(target.as_ptr()).cast(), data.len())
        };
    }
}

/// Bytes of a stream, readable for as long as it is held.
#[derive(Clone)]
pub struct Chunk {
    block: Arc<Block>,
    range: Range<usize>,
}

impl Chunk {
    /// # Safety
    /// The whole range was filled, and what is filled from here on lies behind it.
    pub(crate) unsafe fn new(block: Arc<Block>, range: Range<usize>) -> Chunk {
        assert!(range.start <= range.end && range.end <= block.capacity());
        Chunk { block, range }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let cells = &self.block.bytes[self.range.clone()];
        // SAFETY: the range was filled before the chunk was made, and is not written again while the block is held
        // (`Chunk::new`).
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast(), cells.len()) }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

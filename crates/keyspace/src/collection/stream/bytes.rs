//! The bytes of a block: what a `Vec` would be, in memory of the slab.
//!
//! Blocks of a stream are all about as long: somewhere between two classes of a general allocator, which are 512 bytes apart at this
//! size. The slab's are 64 apart, which is worth three bytes in a hundred.
//!
//! A clone shares them, until one of the two is changed.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr;

use super::super::allocation::{self, Allocation};

#[derive(Clone, Debug)]
pub(super) struct Bytes(OwnBytes);

/// Bytes that nobody shares, as long as they are borrowed: see [`Bytes::own`].
pub(super) struct OwnBytes {
    memory: Allocation,
    len: u32,
    /// Also in the allocation; here it is nearer.
    capacity: u32,
}

impl Bytes {
    pub fn with_capacity(capacity: usize) -> Bytes {
        Bytes(OwnBytes::with_capacity(capacity))
    }

    /// Bytes allocated.
    pub fn memory_usage(&self) -> usize {
        self.0.memory.memory_usage()
    }

    /// To be changed. Copies them if they are shared.
    #[inline]
    pub fn own(&mut self) -> &mut OwnBytes {
        if self.0.memory.is_shared() {
            self.0.reallocate(self.0.capacity as usize);
        }
        &mut self.0
    }

    /// Gives the room for more back.
    pub fn shrink_to_fit(&mut self) {
        if Allocation::rounded(self.len()) < self.0.capacity as usize {
            self.0.reallocate(self.len());
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Only for [`Bytes`], which gives nobody an `OwnBytes` that is shared.
impl Clone for OwnBytes {
    fn clone(&self) -> OwnBytes {
        OwnBytes { memory: self.memory.clone(), ..*self }
    }
}

impl OwnBytes {
    fn with_capacity(capacity: usize) -> OwnBytes {
        let memory = Allocation::with_capacity(capacity);
        OwnBytes { len: 0, capacity: memory.capacity() as u32, memory }
    }

    /// Makes room for so many more bytes; as much again as there is, so that appending costs O(1) a byte.
    #[inline]
    pub fn reserve(&mut self, more: usize) {
        let needed = self.len as usize + more;
        if needed > self.capacity as usize {
            self.reallocate(needed.max(2 * self.capacity as usize));
        }
    }

    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    #[inline]
    pub fn extend_from_slice(&mut self, tail: &[u8]) {
        // SAFETY: as many bytes as there is room for are written.
        unsafe { self.extend_with(tail.len(), |at| ptr::copy_nonoverlapping(tail.as_ptr(), at, tail.len())) };
    }

    /// Adds what `write` writes.
    ///
    /// # Safety
    /// `write` initializes `len` bytes.
    #[inline]
    pub unsafe fn extend_with(&mut self, len: usize, write: impl FnOnce(*mut u8)) {
        self.reserve(len);
        // SAFETY: there is room for so many.
        write(unsafe { self.memory.as_ptr().add(self.len as usize) });
        self.len += len as u32;
    }

    pub fn pop(&mut self) -> Option<u8> {
        let last = *self.last()?;
        self.len -= 1;
        Some(last)
    }

    /// Puts `new` where `old` was.
    pub fn splice(&mut self, old: Range<usize>, new: &[u8]) {
        assert!(old.start <= old.end && old.end <= self.len(), "a range of the bytes");
        self.reserve(new.len());
        // SAFETY: all parts lie within the allocation, which has room for the new bytes beside all that there are.
        unsafe {
            let start = self.memory.as_ptr().add(old.start);
            ptr::copy(start.add(old.len()), start.add(new.len()), self.len() - old.end);
            ptr::copy_nonoverlapping(new.as_ptr(), start, new.len());
        }
        self.len = (self.len() - old.len() + new.len()) as u32;
    }

    #[cold]
    fn reallocate(&mut self, capacity: usize) {
        let memory = Allocation::with_capacity(capacity);
        // SAFETY: the new allocation has room for all bytes.
        unsafe { allocation::copy(self.as_ptr(), &memory, self.len()) };
        self.capacity = memory.capacity() as u32;
        self.memory = memory;
    }
}

impl Deref for OwnBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: so many are initialized.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.len as usize) }
    }
}

impl DerefMut for OwnBytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and they are nobody else's.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len as usize) }
    }
}

impl fmt::Debug for OwnBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_as_a_vec() {
        let (mut bytes, mut model) = (Bytes::with_capacity(0), Vec::new());
        let (mut share, mut shared) = (bytes.clone(), model.clone());
        for step in 0..6000u32 {
            let text = step.to_le_bytes();
            match step % 7 {
                0 => assert_eq!(bytes.own().pop(), model.pop()),
                1 => {
                    let at = step as usize % (model.len() + 1);
                    let end = (at + step as usize % 5).min(model.len());
                    bytes.own().splice(at..end, &text);
                    model.splice(at..end, text);
                }
                2 => bytes.shrink_to_fit(),
                3 => {
                    assert_eq!(*share, *shared);
                    (share, shared) = (bytes.clone(), model.clone());
                    if step % 2 == 0 {
                        std::mem::swap(&mut bytes, &mut share);
                    }
                    bytes.own().first_mut().into_iter().for_each(|byte| *byte ^= 1);
                    model.first_mut().into_iter().for_each(|byte| *byte ^= 1);
                }
                4 => {
                    bytes.own().push(step as u8);
                    model.push(step as u8);
                }
                _ => {
                    bytes.own().extend_from_slice(&text);
                    model.extend_from_slice(&text);
                }
            }
            assert_eq!(*bytes, *model);
            assert!(bytes.memory_usage() >= bytes.len());
        }
    }
}

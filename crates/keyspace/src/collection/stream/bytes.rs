//! The bytes of a block: what a `Vec` would be, in memory of the slab.
//!
//! Blocks of a stream are all about as long: somewhere between two classes of a general allocator, which are 512 bytes apart at this
//! size. The slab's are 64 apart, which is worth three bytes in a hundred.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::{self, NonNull};

use crate::slab;

pub(super) struct Bytes {
    pointer: NonNull<u8>,
    len: u32,
    /// What was allocated; 0: nothing.
    capacity: u32,
}

// SAFETY: it owns its bytes alone, and changes them through `&mut` only.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl Bytes {
    pub fn with_capacity(capacity: usize) -> Bytes {
        let mut bytes = Bytes { pointer: NonNull::dangling(), len: 0, capacity: 0 };
        bytes.reallocate(capacity);
        bytes
    }

    /// Bytes allocated.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
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
        write(unsafe { self.pointer.as_ptr().add(self.len as usize) });
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
            let start = self.pointer.as_ptr().add(old.start);
            ptr::copy(start.add(old.len()), start.add(new.len()), self.len() - old.end);
            ptr::copy_nonoverlapping(new.as_ptr(), start, new.len());
        }
        self.len = (self.len() - old.len() + new.len()) as u32;
    }

    /// Gives the room for more back.
    pub fn shrink_to_fit(&mut self) {
        if slab::rounded_run(self.len()) < self.capacity as usize {
            self.reallocate(self.len());
        }
    }

    #[cold]
    fn reallocate(&mut self, capacity: usize) {
        let capacity = slab::rounded_run(capacity.max(1));
        let new = Bytes {
            pointer: slab::allocate_run(capacity),
            len: self.len,
            capacity: u32::try_from(capacity).expect("a block is smaller than 4 GiB"),
        };
        // SAFETY: the new allocation has room for all bytes.
        unsafe { ptr::copy_nonoverlapping(self.pointer.as_ptr(), new.pointer.as_ptr(), self.len()) };
        *self = new;
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if self.capacity > 0 {
            // SAFETY: allocated with this size.
            unsafe { slab::free_run(self.pointer, self.capacity as usize) };
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: so many are initialized; the pointer is never null.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.len as usize) }
    }
}

impl DerefMut for Bytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.len as usize) }
    }
}

impl Clone for Bytes {
    fn clone(&self) -> Bytes {
        let mut copy = Bytes::with_capacity(self.len());
        copy.extend_from_slice(self);
        copy
    }
}

impl fmt::Debug for Bytes {
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
        for step in 0..6000u32 {
            let text = step.to_le_bytes();
            match step % 7 {
                0 => assert_eq!(bytes.pop(), model.pop()),
                1 => {
                    let at = step as usize % (model.len() + 1);
                    let end = (at + step as usize % 5).min(model.len());
                    bytes.splice(at..end, &text);
                    model.splice(at..end, text);
                }
                2 => bytes.shrink_to_fit(),
                3 => bytes = bytes.clone(),
                4 => {
                    bytes.push(step as u8);
                    model.push(step as u8);
                }
                _ => {
                    bytes.extend_from_slice(&text);
                    model.extend_from_slice(&text);
                }
            }
            assert_eq!(*bytes, *model);
            assert!(bytes.capacity() >= bytes.len());
        }
    }
}

//! Memory of the slab that several may own: the bytes of a list's node, or of a stream's block.
//!
//! ```text
//! owners  capacity  bytes ...
//!                   as_ptr()
//! ```
//!
//! A snapshot shares what is large instead of copying it. So one node has two owners for a while, of which neither may write: whoever wants
//! to makes a copy of its own first ([`Allocation::is_shared`]). The count stands before the bytes, so that an owner is one pointer wide and
//! nothing else has to be found in order to read.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering, fence};

use crate::slab;

#[repr(C, align(8))]
struct Header {
    owners: AtomicU32,
    /// Bytes behind the header.
    capacity: u32,
}

/// What an allocation takes beside its capacity.
pub(super) const HEADER_BYTES: usize = size_of::<Header>();

/// What owns nothing points here, so that no reader has to ask. Nobody counts its owners.
static NOTHING: Header = Header { owners: AtomicU32::new(1), capacity: 0 };

pub(super) struct Allocation(NonNull<Header>);

// SAFETY: the count is atomic; the bytes are changed through `&mut` of their only owner, which its users see to.
unsafe impl Send for Allocation {}
// SAFETY: as above.
unsafe impl Sync for Allocation {}

impl Allocation {
    pub fn empty() -> Allocation {
        Allocation(NonNull::from(&NOTHING))
    }

    /// Room for so many bytes, or a little more: the size that the slab makes of it.
    pub fn with_capacity(bytes: usize) -> Allocation {
        if bytes == 0 {
            return Allocation::empty();
        }
        let capacity = Allocation::rounded(bytes);
        let header = slab::allocate_run(HEADER_BYTES + capacity).cast::<Header>();
        let capacity = u32::try_from(capacity).expect("a piece of a collection is smaller than 4 GiB");
        // SAFETY: the slab gave so many bytes, aligned to 8.
        unsafe { header.write(Header { owners: AtomicU32::new(1), capacity }) };
        Allocation(header)
    }

    /// The capacity of an allocation that was asked for with so many bytes.
    pub fn rounded(bytes: usize) -> usize {
        if bytes == 0 { 0 } else { slab::rounded_run(HEADER_BYTES + bytes) - HEADER_BYTES }
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: it lives as long as it has an owner.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub fn capacity(&self) -> usize {
        self.header().capacity as usize
    }

    /// All that is allocated.
    pub fn memory_usage(&self) -> usize {
        if self.capacity() == 0 { 0 } else { HEADER_BYTES + self.capacity() }
    }

    /// Whether somebody else owns it too. If not, nobody will while `self` is borrowed to be changed: only an owner makes another one.
    #[inline]
    pub fn is_shared(&self) -> bool {
        // Acquire, with the release of who let go: what that one read is read before anything is written here.
        self.header().owners.load(Ordering::Acquire) != 1
    }

    /// Where the bytes begin.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        // SAFETY: behind the header, at most at the end of the allocation.
        unsafe { self.0.add(1).as_ptr().cast() }
    }
}

/// Another owner of the same bytes.
impl Clone for Allocation {
    fn clone(&self) -> Allocation {
        if self.capacity() > 0 {
            let owners = self.header().owners.fetch_add(1, Ordering::Relaxed);
            assert!(owners < u32::MAX / 2, "as many owners as there are snapshots at a time");
        }
        Allocation(self.0)
    }
}

impl Drop for Allocation {
    #[inline]
    fn drop(&mut self) {
        let capacity = self.capacity();
        if capacity == 0 || self.header().owners.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        // SAFETY: the last owner goes; allocated with this size.
        unsafe { slab::free_run(self.0.cast(), HEADER_BYTES + capacity) }
    }
}

/// Copies what begins at `from` to the beginning of `to`.
///
/// # Safety
/// Both have so many bytes there, and `to` has one owner.
pub(super) unsafe fn copy(from: *const u8, to: &Allocation, bytes: usize) {
    debug_assert!(bytes <= to.capacity() && (bytes == 0 || !to.is_shared()));
    // SAFETY: the caller's promise; what has one owner and what is read are not the same.
    unsafe { ptr::copy_nonoverlapping(from, to.as_ptr(), bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_counted() {
        for bytes in [1, 100, 5000, 8184, 100_000] {
            let first = Allocation::with_capacity(bytes);
            assert!(first.capacity() >= bytes && !first.is_shared());
            assert_eq!(first.capacity(), Allocation::rounded(bytes));
            let second = first.clone();
            assert!(first.is_shared() && second.is_shared());
            drop(first);
            assert!(!second.is_shared());
        }
        let nothing = Allocation::with_capacity(0);
        assert!(!nothing.clone().is_shared());
        assert_eq!((nothing.capacity(), nothing.memory_usage()), (0, 0));
    }

    #[test]
    fn a_full_node_is_a_class() {
        assert_eq!(Allocation::with_capacity((8 << 10) - HEADER_BYTES).memory_usage(), 8 << 10);
    }
}

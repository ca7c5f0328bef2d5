//! Intset: sorted integers of one width in one run of bytes, in the documented format of RDB files and DUMP payloads.
//!
//! ```text
//! bytes an integer  count  integers, ascending      all numbers little-endian
//! 4                 4      2, 4 or 8 each
//! ```
//!
//! The width is that of the widest integer ever added; it does not shrink. Like [`Listpack`](crate::Listpack) it is one
//! pointer wide, and its allocation follows from its length.

use std::fmt;
use std::ptr::{self, NonNull};

use crate::slab;

const HEADER_BYTES: usize = 8;

static EMPTY: [u8; HEADER_BYTES] = [2, 0, 0, 0, 0, 0, 0, 0];

/// A set of integers. Lookups cost O(log N), changes O(N).
pub struct Intset(NonNull<u8>);

// SAFETY: it owns its bytes alone, and changes them through `&mut` only.
unsafe impl Send for Intset {}
// SAFETY: as above.
unsafe impl Sync for Intset {}

/// These bytes are no intset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidIntset(pub &'static str);

fn width_of(number: i64) -> usize {
    if i16::try_from(number).is_ok() {
        2
    } else if i32::try_from(number).is_ok() {
        4
    } else {
        8
    }
}

/// Four sizes between powers of two: few enough that an intset that grows is seldom moved.
fn capacity_for(bytes: usize) -> usize {
    if bytes <= 128 { bytes.next_multiple_of(16) } else { bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2)) }
}

impl Default for Intset {
    fn default() -> Intset {
        // SAFETY: nothing writes to an intset without integers.
        Intset(unsafe { NonNull::new_unchecked(EMPTY.as_ptr().cast_mut()) })
    }
}

impl Drop for Intset {
    fn drop(&mut self) {
        if !self.is_empty() {
            // SAFETY: allocated with the capacity that follows from the length.
            unsafe { slab::free(self.0, capacity_for(self.byte_len())) };
        }
    }
}

impl Clone for Intset {
    fn clone(&self) -> Intset {
        let mut copy = Intset::default();
        if !self.is_empty() {
            copy.reallocate(self.width(), self.len());
            // SAFETY: the copy has the same size.
            unsafe { ptr::copy_nonoverlapping(self.0.as_ptr(), copy.0.as_ptr(), self.byte_len()) };
        }
        copy
    }
}

impl fmt::Debug for Intset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Intset {
    /// Takes over bytes from outside if they are an intset.
    ///
    /// # Errors
    /// Why they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Intset, InvalidIntset> {
        let Some((header, integers)) = bytes.split_at_checked(HEADER_BYTES) else {
            return Err(InvalidIntset("shorter than its header"));
        };
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
        let (width, len) = (number(0), number(4));
        if !matches!(width, 2 | 4 | 8) {
            return Err(InvalidIntset("integers of no known width"));
        }
        if len.checked_mul(width) != Some(integers.len()) {
            return Err(InvalidIntset("its header gives another length"));
        }
        let mut set = Intset::default();
        if len > 0 {
            set.reallocate(width, len);
            // SAFETY: allocated for so many.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), set.0.as_ptr(), bytes.len()) };
            if !set.iter().is_sorted_by(|a, b| a < b) {
                return Err(InvalidIntset("integers out of order"));
            }
        }
        Ok(set)
    }

    pub(crate) fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).0
    }

    /// # Safety
    /// The pointer came from `into_raw`, and this is its only owner.
    pub(crate) unsafe fn from_raw(pointer: NonNull<u8>) -> Intset {
        Intset(pointer)
    }

    fn header(&self, at: usize) -> usize {
        // SAFETY: every intset has a header.
        u32::from_le_bytes(unsafe { self.0.as_ptr().add(at).cast::<[u8; 4]>().read() }) as usize
    }

    fn width(&self) -> usize {
        self.header(0)
    }

    pub fn len(&self) -> usize {
        self.header(4)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn byte_len(&self) -> usize {
        HEADER_BYTES + self.len() * self.width()
    }

    /// All of it, as files and DUMP have it.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: so many bytes belong to this intset.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.byte_len()) }
    }

    pub fn memory_usage(&self) -> usize {
        if self.is_empty() { 0 } else { capacity_for(self.byte_len()) }
    }

    /// # Panics
    /// If there are not so many.
    #[inline]
    pub fn get(&self, index: usize) -> i64 {
        assert!(index < self.len());
        // SAFETY: the index was checked.
        unsafe { self.read(index, self.width()) }
    }

    /// # Safety
    /// There are more than `index` integers of this width.
    #[inline]
    unsafe fn read(&self, index: usize, width: usize) -> i64 {
        // SAFETY: the caller's promise.
        unsafe {
            let at = self.0.as_ptr().add(HEADER_BYTES + index * width);
            match width {
                2 => i64::from(i16::from_le_bytes(at.cast::<[u8; 2]>().read())),
                4 => i64::from(i32::from_le_bytes(at.cast::<[u8; 4]>().read())),
                _ => i64::from_le_bytes(at.cast::<[u8; 8]>().read()),
            }
        }
    }

    fn write(&mut self, index: usize, number: i64) {
        let width = self.width();
        let bytes = number.to_le_bytes();
        // SAFETY: callers have made room for this index.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_ptr().add(HEADER_BYTES + index * width), width);
        }
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + '_ {
        let width = self.width();
        // SAFETY: the indexes are those of its integers.
        (0..self.len()).map(move |index| unsafe { self.read(index, width) })
    }

    /// Where the number is, or where it belongs.
    fn search(&self, number: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        // Numbers often come in order.
        if high > 0 && number > self.get(high - 1) {
            return Err(high);
        }
        while low < high {
            let middle = (low + high) / 2;
            match self.get(middle).cmp(&number) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    pub fn contains(&self, number: i64) -> bool {
        self.search(number).is_ok()
    }

    /// Says whether it is new.
    pub fn insert(&mut self, number: i64) -> bool {
        let Err(index) = self.search(number) else { return false };
        let (width, len) = (self.width(), self.len());
        let new_width = width.max(width_of(number));
        if new_width > width {
            self.widen(new_width);
        }
        self.reallocate(new_width, len + 1);
        // SAFETY: there is room for one more.
        unsafe {
            let at = self.0.as_ptr().add(HEADER_BYTES + index * new_width);
            ptr::copy(at, at.add(new_width), (len - index) * new_width);
        }
        self.write(index, number);
        true
    }

    /// Says whether it was there.
    pub fn remove(&mut self, number: i64) -> bool {
        let Ok(index) = self.search(number) else { return false };
        let (width, len) = (self.width(), self.len());
        // SAFETY: the integers behind it move one place down.
        unsafe {
            let at = self.0.as_ptr().add(HEADER_BYTES + index * width);
            ptr::copy(at.add(width), at, (len - index - 1) * width);
        }
        self.reallocate(width, len - 1);
        true
    }

    /// The same integers with more bytes each.
    fn widen(&mut self, width: usize) {
        let numbers: Vec<i64> = self.iter().collect();
        if numbers.is_empty() {
            return;
        }
        self.reallocate(width, numbers.len());
        for (index, number) in numbers.into_iter().enumerate() {
            self.write(index, number);
        }
    }

    /// Moves to a denser page, if its own is sparse.
    pub(crate) fn compact(&mut self) {
        let capacity = capacity_for(self.byte_len());
        if !self.is_empty()
            // SAFETY: allocated with this capacity, and held alone.
            && let Some(copy) = unsafe { slab::copy_if_sparse(self.0, capacity) }
        {
            let old = std::mem::replace(&mut self.0, copy);
            // SAFETY: as above; nobody uses it any more.
            unsafe { slab::free(old, capacity) };
        }
    }

    /// Room for so many integers of this width; what is there stays as bytes.
    fn reallocate(&mut self, width: usize, len: usize) {
        let old = self.byte_len();
        let new = HEADER_BYTES + width * len;
        if len == 0 {
            *self = Intset::default();
            return;
        }
        // SAFETY: the old capacity follows from the old length; an empty intset is not allocated.
        unsafe {
            let (old_capacity, capacity) = (capacity_for(old), capacity_for(new));
            if self.is_empty() {
                self.0 = slab::allocate(capacity);
            } else if old_capacity != capacity {
                self.0 = slab::reallocate(self.0, old_capacity, capacity);
            }
            let pointer = self.0.as_ptr();
            pointer.cast::<[u8; 4]>().write((width as u32).to_le_bytes());
            let len = u32::try_from(len).expect("an intset is far smaller");
            pointer.add(4).cast::<[u8; 4]>().write(len.to_le_bytes());
        }
    }
}

//! A run: elements one behind the other as in a listpack, without its header and end, and with room at both sides.
//!
//! ```text
//! room  element  element  ...  element  room
//!       start                  + len          capacity
//! ```
//!
//! The room is why pushing to either end of a large list moves nothing: a listpack would move half a node for each LPUSH. Only the
//! nodes at the ends of a list have any; [`Run::fit`] takes it away.
//!
//! A clone shares the bytes. Each of the two goes its own way with what it sees of them, so that taking elements away from an end copies
//! nothing; any other change moves the elements to an allocation of their own first.

use std::fmt;
use std::ptr;

use super::super::allocation::{self, Allocation};
use super::super::listpack::{EMPTY_BYTES, Encoded, Iter, Listpack};
use super::End;

/// The most elements a run can hold.
pub(super) const COUNT_MAX: usize = u16::MAX as usize;

/// Below this much nothing is given back.
const SHRUNK_BYTES_MIN: usize = 64;

/// Leaves values that no run has, for the other kinds of nodes to be told from it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Tag {
    Run,
}

#[derive(Clone)]
pub(super) struct Run {
    memory: Allocation,
    start: u32,
    len: u32,
    count: u16,
    #[expect(dead_code, reason = "only its other values are used: they tell the other kinds of nodes")]
    tag: Tag,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Run {
    pub(super) fn new() -> Run {
        Run { memory: Allocation::empty(), start: 0, len: 0, count: 0, tag: Tag::Run }
    }

    /// A run of elements that are encoded already.
    pub(super) fn of_elements(bytes: &[u8], count: usize) -> Run {
        let mut run = Run::new();
        run.count = u16::try_from(count).expect("a run's elements are counted in 16 bits");
        if !bytes.is_empty() {
            let room = run.splice(0, 0, bytes.len());
            // SAFETY: `splice` made room for them.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), room, bytes.len()) };
        }
        run
    }

    pub(super) fn of_one(element: &Encoded<'_>) -> Run {
        let mut run = Run::new();
        run.insert(0, element);
        run
    }

    /// An empty run with room for so many bytes in all, to be pushed to from an end.
    pub(super) fn with_room(end: End, bytes_max: usize) -> Run {
        let memory = Allocation::with_capacity(bytes_max.saturating_sub(allocation::HEADER_BYTES));
        let start = if end == End::Front { memory.capacity() as u32 } else { 0 };
        Run { memory, start, ..Run::new() }
    }

    pub(super) fn to_listpack(&self) -> Listpack {
        let mut listpack = Listpack::new();
        if self.count > 0 {
            listpack.extend_raw(self.bytes(), self.count());
        }
        listpack
    }

    /// The elements, as between header and end of a listpack.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes there are elements of this run.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(self.start as usize), self.len as usize) }
    }

    #[inline]
    pub(super) fn iter(&self) -> Iter<'_> {
        Iter::over(self.bytes())
    }

    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count.into()
    }

    /// What a listpack of these elements takes.
    #[inline]
    pub(super) fn listpack_bytes(&self) -> usize {
        self.len as usize + EMPTY_BYTES
    }

    pub(super) fn memory_usage(&self) -> usize {
        self.memory.memory_usage()
    }

    #[inline]
    fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Adds an element at an end. When there is no room, as much is made as there are elements, but not beyond `bytes_max` in all.
    #[inline]
    pub(super) fn push(&mut self, end: End, element: &Encoded<'_>, bytes_max: usize) {
        let size = element.len();
        let room = match end {
            End::Front => self.start as usize,
            End::Back => self.capacity() - (self.start + self.len) as usize,
        };
        if room < size || self.memory.is_shared() {
            self.make_room(end, size, bytes_max);
        }
        if end == End::Front {
            self.start -= size as u32;
        }
        let at = if end == End::Front { 0 } else { self.len as usize };
        self.len += size as u32;
        self.count += 1;
        // SAFETY: there is room, made above if it was not there.
        unsafe { element.write(self.memory.as_ptr().add(self.start as usize + at)) };
    }

    /// Takes elements away from an end: `bytes` and `count` of them.
    #[inline]
    pub(super) fn drop_end(&mut self, end: End, bytes: usize, count: usize) {
        if end == End::Front {
            self.start += bytes as u32;
        }
        self.len -= bytes as u32;
        self.count -= count as u16;
        self.give_back();
    }

    pub(super) fn insert(&mut self, at: usize, element: &Encoded<'_>) {
        let room = self.splice(at, 0, element.len());
        // SAFETY: `splice` made room for it.
        unsafe { element.write(room) };
        self.count += 1;
    }

    /// Replaces the element of `old` bytes at `at`.
    pub(super) fn replace(&mut self, at: usize, old: usize, element: &Encoded<'_>) {
        let room = self.splice(at, old, element.len());
        // SAFETY: `splice` made room for it.
        unsafe { element.write(room) };
    }

    pub(super) fn remove(&mut self, at: usize, bytes: usize, count: usize) {
        self.splice(at, bytes, 0);
        self.count -= count as u16;
        self.give_back();
    }

    /// Removes elements that are scattered, in one pass: their places and lengths, in ascending order.
    pub(super) fn remove_scattered(&mut self, elements: &[(usize, usize)]) {
        let Some(&(first, _)) = elements.first() else {
            return;
        };
        if self.memory.is_shared() {
            self.reallocate(self.len as usize);
        }
        let mut to = first;
        for (index, &(at, len)) in elements.iter().enumerate() {
            let from = at + len;
            let until = elements.get(index + 1).map_or(self.len as usize, |&(next, _)| next);
            // SAFETY: all of this lies within the run, and `to` is never behind `from`.
            unsafe {
                let start = self.memory.as_ptr().add(self.start as usize);
                ptr::copy(start.add(from), start.add(to), until - from);
            }
            to += until - from;
        }
        self.len = to as u32;
        self.count -= elements.len() as u16;
        self.give_back();
    }

    /// Takes the elements from byte `at` on into a run of its own; `count` of them.
    pub(super) fn split_off(&mut self, at: usize, count: usize) -> Run {
        let tail = Run::of_elements(&self.bytes()[at..], count);
        self.len = at as u32;
        self.count -= count as u16;
        self.fit();
        tail
    }

    pub(super) fn append(&mut self, other: &Run) {
        let room = self.splice(self.len as usize, 0, other.len as usize);
        // SAFETY: `splice` made room for them.
        unsafe { ptr::copy_nonoverlapping(other.bytes().as_ptr(), room, other.len as usize) };
        self.count = u16::try_from(self.count() + other.count()).expect("the list's limits allow this");
    }

    /// Makes `new` bytes of what are `old` bytes at `at`; exactly so much is allocated if the room at the sides is too small.
    fn splice(&mut self, at: usize, old: usize, new: usize) -> *mut u8 {
        let (start, len) = (self.start as usize, self.len as usize);
        let new_len = len - old + new;
        let tail = len - at - old;
        let is_own = !self.memory.is_shared();
        // SAFETY: every part lies within its allocation: `at + old + tail` is the old length, `at + new + tail` the new one; and what is
        // written to has one owner.
        unsafe {
            let data = self.memory.as_ptr();
            if is_own && start + new_len <= self.capacity() && (tail <= at || start + old < new) {
                ptr::copy(data.add(start + at + old), data.add(start + at + new), tail);
            } else if is_own && start + old >= new {
                // The part before is the shorter one, or the only one that has room.
                let new_start = start + old - new;
                ptr::copy(data.add(start), data.add(new_start), at);
                self.start = new_start as u32;
            } else {
                let grown = Allocation::with_capacity(new_len);
                ptr::copy_nonoverlapping(data.add(start), grown.as_ptr(), at);
                ptr::copy_nonoverlapping(data.add(start + at + old), grown.as_ptr().add(at + new), tail);
                self.memory = grown;
                self.start = 0;
            }
            self.len = u32::try_from(new_len).expect("a run is smaller than 4 GiB");
            self.memory.as_ptr().add(self.start as usize + at)
        }
    }

    /// Makes room for `size` bytes and more at an end: within the allocation where a good part of it is free, else in a larger one.
    ///
    /// A quarter of what is free goes to the other end, so that a list that is pushed to on both ends in turn does not move its elements
    /// each time; but not of the last room there will be.
    #[cold]
    fn make_room(&mut self, end: End, size: usize, bytes_max: usize) {
        let len = self.len as usize;
        let needed = len + size;
        // With its header, a full node is just as long as the limit: sizes of allocations and of nodes are the same powers of two.
        let bytes_max = bytes_max.saturating_sub(allocation::HEADER_BYTES);
        let grown_capacity = Allocation::rounded(needed.max((2 * needed).min(bytes_max)));
        let free = self.capacity() - len;
        let slides = self.capacity() > 0
            && !self.memory.is_shared()
            && free >= size
            && (free >= size + len / 4 || grown_capacity <= self.capacity());
        let capacity = if slides { self.capacity() } else { grown_capacity };
        let other_room = if capacity >= bytes_max || len == 0 { 0 } else { (capacity - needed) / 4 };
        let start = match end {
            End::Front => capacity - len - other_room,
            End::Back => other_room,
        };
        let target = if slides { None } else { Some(Allocation::with_capacity(capacity)) };
        let to = target.as_ref().unwrap_or(&self.memory).as_ptr();
        // SAFETY: both places lie within their allocations, and what is written to has one owner.
        unsafe { ptr::copy(self.bytes().as_ptr(), to.add(start), len) };
        if let Some(grown) = target {
            self.memory = grown;
        }
        self.start = start as u32;
    }

    /// Gives room back that is more than half of the allocation.
    #[inline]
    fn give_back(&mut self) {
        if self.capacity() > SHRUNK_BYTES_MIN.max(2 * self.len as usize + SHRUNK_BYTES_MIN) {
            self.reallocate(self.len as usize + self.len as usize / 4);
        }
    }

    /// Gives all room back.
    pub(super) fn fit(&mut self) {
        if Allocation::rounded(self.len as usize) < self.capacity() {
            self.reallocate(self.len as usize);
        }
    }

    /// Moves the elements to an allocation of their own, with room for `bytes`.
    #[cold]
    fn reallocate(&mut self, bytes: usize) {
        let memory = Allocation::with_capacity(bytes);
        // SAFETY: `bytes` is at least the length.
        unsafe { allocation::copy(self.bytes().as_ptr(), &memory, self.len as usize) };
        self.memory = memory;
        self.start = 0;
    }
}

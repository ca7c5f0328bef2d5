//! A run: elements one behind the other as in a listpack, without its header and end, and with room at both sides.
//!
//! ```text
//! room  element  element  ...  element  room
//!       start                  + len          capacity
//! ```
//!
//! The room is why pushing to either end of a large list moves nothing: a listpack would move half a node for each LPUSH. Only the
//! nodes at the ends of a list have any; [`Run::fit`] takes it away.

use std::alloc::{self, Layout};
use std::fmt;
use std::ptr::{self, NonNull};

use super::super::listpack::{EMPTY_BYTES, Encoded, Iter, Listpack, capacity_for};
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

pub(super) struct Run {
    data: NonNull<u8>,
    capacity: u32,
    start: u32,
    len: u32,
    count: u16,
    #[expect(dead_code, reason = "only its other values are used: they tell the other kinds of nodes")]
    tag: Tag,
}

// SAFETY: it owns its bytes alone, and changes them through `&mut` only.
unsafe impl Send for Run {}
// SAFETY: as above.
unsafe impl Sync for Run {}

impl Drop for Run {
    fn drop(&mut self) {
        if self.capacity > 0 {
            // SAFETY: allocated with this layout.
            unsafe { alloc::dealloc(self.data.as_ptr(), layout(self.capacity as usize)) };
        }
    }
}

impl Clone for Run {
    fn clone(&self) -> Run {
        Run::of_elements(self.bytes(), self.count())
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn layout(capacity: usize) -> Layout {
    Layout::from_size_align(capacity, 1).expect("a run is smaller than memory")
}

fn allocate(capacity: usize) -> NonNull<u8> {
    let layout = layout(capacity);
    assert!(layout.size() > 0);
    // SAFETY: the layout is not empty.
    let pointer = unsafe { alloc::alloc(layout) };
    NonNull::new(pointer).unwrap_or_else(|| alloc::handle_alloc_error(layout))
}

impl Run {
    pub(super) fn new() -> Run {
        Run { data: NonNull::dangling(), capacity: 0, start: 0, len: 0, count: 0, tag: Tag::Run }
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
        // SAFETY: so many bytes there are elements of this run; an empty one's pointer dangles, but is not null.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr().add(self.start as usize), self.len as usize) }
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
        self.capacity as usize
    }

    /// Adds an element at an end. When there is no room, as much is made as there are elements, but not beyond `bytes_max` in all.
    #[inline]
    pub(super) fn push(&mut self, end: End, element: &Encoded<'_>, bytes_max: usize) {
        let size = element.len();
        let room = match end {
            End::Front => self.start as usize,
            End::Back => (self.capacity - self.start - self.len) as usize,
        };
        if room < size {
            self.make_room(end, size, bytes_max);
        }
        if end == End::Front {
            self.start -= size as u32;
        }
        let at = if end == End::Front { 0 } else { self.len as usize };
        self.len += size as u32;
        self.count += 1;
        // SAFETY: there is room, made above if it was not there.
        unsafe { element.write(self.data.as_ptr().add(self.start as usize + at)) };
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
        let mut to = first;
        for (index, &(at, len)) in elements.iter().enumerate() {
            let from = at + len;
            let until = elements.get(index + 1).map_or(self.len as usize, |&(next, _)| next);
            // SAFETY: all of this lies within the run, and `to` is never behind `from`.
            unsafe {
                let start = self.data.as_ptr().add(self.start as usize);
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
        // SAFETY: every part lies within its allocation: `at + old + tail` is the old length, `at + new + tail` the new one.
        unsafe {
            let data = self.data.as_ptr();
            if start + new_len <= self.capacity as usize && (tail <= at || start + old < new) {
                ptr::copy(data.add(start + at + old), data.add(start + at + new), tail);
            } else if start + old >= new {
                // The part before is the shorter one, or the only one that has room.
                let new_start = start + old - new;
                ptr::copy(data.add(start), data.add(new_start), at);
                self.start = new_start as u32;
            } else {
                let capacity = capacity_for(new_len);
                let grown = allocate(capacity).as_ptr();
                ptr::copy_nonoverlapping(data.add(start), grown, at);
                ptr::copy_nonoverlapping(data.add(start + at + old), grown.add(at + new), tail);
                self.install(grown, capacity, 0);
            }
            self.len = u32::try_from(new_len).expect("a run is smaller than 4 GiB");
            self.data.as_ptr().add(self.start as usize + at)
        }
    }

    /// The elements lie in a new allocation now.
    ///
    /// # Safety
    /// `data` was allocated with this capacity, and nothing else owns it.
    unsafe fn install(&mut self, data: *mut u8, capacity: usize, start: usize) {
        if self.capacity > 0 {
            // SAFETY: allocated with this layout.
            unsafe { alloc::dealloc(self.data.as_ptr(), layout(self.capacity as usize)) };
        }
        self.data = NonNull::new(data).expect("an allocation");
        self.capacity = u32::try_from(capacity).expect("a run is smaller than 4 GiB");
        self.start = start as u32;
    }

    /// Makes room for `size` bytes and more at an end: within the allocation where a good part of it is free, else in a larger one.
    ///
    /// A quarter of what is free goes to the other end, so that a list that is pushed to on both ends in turn does not move its elements
    /// each time; but not of the last room there will be.
    #[cold]
    fn make_room(&mut self, end: End, size: usize, bytes_max: usize) {
        let len = self.len as usize;
        let needed = len + size;
        let grown_capacity = capacity_for(needed.max((2 * needed).min(bytes_max)));
        let free = self.capacity as usize - len;
        let slides =
            self.capacity > 0 && free >= size && (free >= size + len / 4 || grown_capacity <= self.capacity as usize);
        let capacity = if slides { self.capacity as usize } else { grown_capacity };
        let other_room = if capacity >= bytes_max || len == 0 { 0 } else { (capacity - needed) / 4 };
        let start = match end {
            End::Front => capacity - len - other_room,
            End::Back => other_room,
        };
        if slides {
            // SAFETY: both places lie within the allocation.
            unsafe { ptr::copy(self.bytes().as_ptr(), self.data.as_ptr().add(start), len) };
            self.start = start as u32;
            return;
        }
        let data = allocate(capacity).as_ptr();
        // SAFETY: the new allocation is larger than what lies in the old one.
        unsafe {
            ptr::copy_nonoverlapping(self.bytes().as_ptr(), data.add(start), len);
            self.install(data, capacity, start);
        }
    }

    /// Gives room back that is more than half of the allocation.
    #[inline]
    fn give_back(&mut self) {
        if self.capacity as usize > SHRUNK_BYTES_MIN.max(2 * self.len as usize + SHRUNK_BYTES_MIN) {
            self.reallocate(self.len as usize + self.len as usize / 4);
        }
    }

    /// Gives all room back.
    pub(super) fn fit(&mut self) {
        if capacity_for(self.len as usize) < self.capacity as usize {
            self.reallocate(self.len as usize);
        }
    }

    #[cold]
    fn reallocate(&mut self, bytes: usize) {
        if self.len == 0 {
            *self = Run::new();
            return;
        }
        let capacity = capacity_for(bytes);
        let data = allocate(capacity).as_ptr();
        // SAFETY: `bytes` is at least the length.
        unsafe {
            ptr::copy_nonoverlapping(self.bytes().as_ptr(), data, self.len as usize);
            self.install(data, capacity, 0);
        }
    }
}

//! Listpack: a list of short texts and integers in one run of bytes, in the documented format of RDB files and DUMP payloads.
//!
//! ```text
//! total bytes  elements  element ...  0xFF      all numbers little-endian
//! 4            2         ...          1         65535 elements: not known, count them
//!
//! element:  encoding and data  length of these, to be read backwards from its last byte, 7 bits a byte
//!           0xxxxxxx                          integer 0 to 127
//!           10llllll text                     up to 63 bytes
//!           110xxxxx xxxxxxxx                 13-bit integer
//!           1110llll llllllll text            up to 4095 bytes
//!           11110000 llllllll*4 text          longer ones
//!           11110001 to 11110100              integers of 2, 3, 4 and 8 bytes
//! ```
//!
//! The format is described in "Listpack specification" by its author (github.com/antirez/listpack). What is an integer in canonical text is
//! kept as one. One thing was observed of Redis 8.2 that the specification leaves open: a length of 16,383 (2,097,151, …) already takes the next
//! number of backward bytes.
//!
//! A [`Listpack`] is one pointer wide. How much is allocated follows from the length alone, so
//! it need not be kept, and a change reallocates only when it leaves its class. An empty one allocates nothing.

use std::fmt;
use std::ops::ControlFlow;
use std::ptr::{self, NonNull};

use crate::slab;
use crate::value::{IntBuffer, canonical_int};

pub(super) const HEADER_BYTES: usize = 6;
pub(super) const END: u8 = 0xFF;
/// Header and end.
pub(super) const EMPTY_BYTES: usize = HEADER_BYTES + 1;
/// In the header: too many to be counted there.
const LEN_UNKNOWN: u16 = u16::MAX;
/// An element's encoding, length and backward length at most, without its text.
const ELEMENT_OVERHEAD_BYTES_MAX: usize = 10;

static EMPTY: [u8; EMPTY_BYTES] = [EMPTY_BYTES as u8, 0, 0, 0, 0, 0, END];

/// A list of texts and integers in one allocation. Changes cost O(bytes behind the place of the change).
pub struct Listpack(NonNull<u8>);

// SAFETY: it owns its bytes alone, and changes them through `&mut` only.
unsafe impl Send for Listpack {}
// SAFETY: as above.
unsafe impl Sync for Listpack {}

/// The place of an element. Any change of the listpack invalidates it: using one that is not valid panics or finds another element, no worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u32);

impl Position {
    /// Of the element at this byte of [`Listpack::elements`].
    pub(super) fn of_offset(at: usize) -> Position {
        Position((HEADER_BYTES + at) as u32)
    }
}

/// An element.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> Item<'a> {
    /// The text; an integer's is written to `buffer`.
    #[inline]
    pub fn bytes<'b>(&'b self, buffer: &'b mut IntBuffer) -> &'b [u8] {
        match self {
            Item::Int(number) => buffer.format(*number),
            Item::Bytes(bytes) => bytes,
        }
    }

    /// The number of bytes of its text.
    pub fn len(&self) -> usize {
        match self {
            Item::Int(number) => IntBuffer::new().format(*number).len(),
            Item::Bytes(bytes) => bytes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Item::Bytes([]))
    }

    /// Whether this is its text.
    pub fn is(&self, text: &[u8]) -> bool {
        match self {
            Item::Int(number) => canonical_int(text) == Some(*number),
            Item::Bytes(bytes) => *bytes == text,
        }
    }

    pub fn to_vec(&self) -> Vec<u8> {
        match self {
            Item::Int(number) => IntBuffer::new().format(*number).to_vec(),
            Item::Bytes(bytes) => bytes.to_vec(),
        }
    }

    /// The integer that it is or that its text says.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Item::Int(number) => Some(*number),
            Item::Bytes(bytes) => canonical_int(bytes),
        }
    }
}

/// These bytes are no listpack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidListpack {
    /// Where.
    pub offset: usize,
    /// Why.
    pub reason: &'static str,
}

impl fmt::Display for InvalidListpack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid listpack at byte {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for InvalidListpack {}

/// An element's bytes, ready to be put in its place.
pub(super) struct Encoded<'a> {
    head: [u8; 9],
    head_len: usize,
    text: &'a [u8],
    back: [u8; 5],
    back_len: usize,
}

impl<'a> Encoded<'a> {
    #[inline]
    pub(super) fn of(text: &'a [u8]) -> Encoded<'a> {
        match canonical_int(text) {
            Some(number) => Encoded::of_int(number),
            None => Encoded::of_text(text),
        }
    }

    fn of_text(text: &'a [u8]) -> Encoded<'a> {
        let mut head = [0; 9];
        let len = text.len();
        let head_len = if len < 1 << 6 {
            head[0] = 0x80 | len as u8;
            1
        } else if len < 1 << 12 {
            head[0] = 0xE0 | (len >> 8) as u8;
            head[1] = len as u8;
            2
        } else {
            head[0] = 0xF0;
            head[1..5].copy_from_slice(&u32::try_from(len).expect("a text fits a listpack").to_le_bytes());
            5
        };
        Encoded::finish(head, head_len, text)
    }

    pub(super) fn of_int(number: i64) -> Encoded<'a> {
        let mut head = [0; 9];
        let bytes = number.to_le_bytes();
        let mut put = |code: u8, count: usize| {
            head[0] = code;
            head[1..1 + count].copy_from_slice(&bytes[..count]);
            1 + count
        };
        let head_len = match number {
            0..=127 => {
                head[0] = number as u8;
                1
            }
            -4096..=4095 => {
                head[0] = 0xC0 | (number >> 8) as u8 & 0x1F;
                head[1] = number as u8;
                2
            }
            -0x8000..=0x7FFF => put(0xF1, 2),
            -0x80_0000..=0x7F_FFFF => put(0xF2, 3),
            -0x8000_0000..=0x7FFF_FFFF => put(0xF3, 4),
            _ => put(0xF4, 8),
        };
        Encoded::finish(head, head_len, &[])
    }

    #[inline]
    fn finish(head: [u8; 9], head_len: usize, text: &'a [u8]) -> Encoded<'a> {
        let len = head_len + text.len();
        let back_len = back_len_of(len);
        let mut back = [0; 5];
        for (index, byte) in back[..back_len].iter_mut().enumerate() {
            let shift = 7 * (back_len - 1 - index);
            *byte = (len >> shift) as u8 & 0x7F | if index == 0 { 0 } else { 0x80 };
        }
        Encoded { head, head_len, text, back, back_len }
    }

    pub(super) fn len(&self) -> usize {
        self.head_len + self.text.len() + self.back_len
    }

    /// # Safety
    /// There is room for `len()` bytes.
    #[inline]
    pub(super) unsafe fn write(&self, at: *mut u8) {
        // SAFETY: the caller's promise, part by part.
        unsafe {
            ptr::copy_nonoverlapping(self.head.as_ptr(), at, self.head_len);
            let at = at.add(self.head_len);
            ptr::copy_nonoverlapping(self.text.as_ptr(), at, self.text.len());
            ptr::copy_nonoverlapping(self.back.as_ptr(), at.add(self.text.len()), self.back_len);
        }
    }
}

/// How many backward bytes say that an element is `len` long.
#[inline]
pub(super) fn back_len_of(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// Four sizes between powers of two: few enough that a listpack that grows is seldom moved.
#[inline]
pub(super) fn capacity_for(len: usize) -> usize {
    if len <= 8 {
        8
    } else if len <= 128 {
        len.next_multiple_of(16)
    } else {
        len.next_multiple_of(1 << ((len - 1).ilog2() - 2))
    }
}

impl Default for Listpack {
    fn default() -> Listpack {
        Listpack::new()
    }
}

impl Drop for Listpack {
    fn drop(&mut self) {
        let len = self.byte_len();
        if len > EMPTY_BYTES {
            // SAFETY: allocated with the capacity that follows from the length.
            unsafe { slab::free(self.0, capacity_for(len)) };
        }
    }
}

impl Clone for Listpack {
    fn clone(&self) -> Listpack {
        Listpack::from_trusted(self.as_bytes())
    }
}

impl fmt::Debug for Listpack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Listpack {
    pub fn new() -> Listpack {
        // SAFETY: nothing writes to a listpack of this length.
        Listpack(unsafe { NonNull::new_unchecked(EMPTY.as_ptr().cast_mut()) })
    }

    /// Bytes that are a listpack already.
    fn from_trusted(bytes: &[u8]) -> Listpack {
        if bytes.len() <= EMPTY_BYTES {
            return Listpack::new();
        }
        let pointer = allocate(bytes.len());
        // SAFETY: allocated for so many.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), pointer.as_ptr(), bytes.len()) };
        Listpack(pointer)
    }

    /// Takes over bytes from outside (RESTORE, a file) if they are a listpack: every length is followed both ways.
    ///
    /// # Errors
    /// Where and why they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Listpack, InvalidListpack> {
        if Listpack::check(bytes)? {
            return Ok(Listpack::from_trusted(bytes));
        }
        // Whoever looks for an element looks for one form of it. No server writes another.
        let mut listpack = Listpack::new();
        let mut buffer = IntBuffer::new();
        for item in Iter::over(&bytes[HEADER_BYTES..bytes.len() - 1]) {
            listpack.push_back(item.bytes(&mut buffer));
        }
        Ok(listpack)
    }

    /// Looks at all bytes of what may be a listpack. Says whether every element has the shortest form, an integer that of an integer.
    ///
    /// # Errors
    /// Where and why they are none.
    pub(super) fn check(bytes: &[u8]) -> Result<bool, InvalidListpack> {
        let wrong = |offset, reason| Err(InvalidListpack { offset, reason });
        if bytes.len() < EMPTY_BYTES {
            return wrong(bytes.len(), "shorter than header and end");
        }
        let total = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if total as usize != bytes.len() {
            return wrong(0, "its header gives another length");
        }
        let noted = u16::from_le_bytes([bytes[4], bytes[5]]);
        let end = bytes.len() - 1;
        if bytes[end] != END {
            return wrong(end, "no end mark");
        }
        let (mut at, mut count) = (HEADER_BYTES, 0usize);
        let mut all_shortest = true;
        while at < end {
            let Some(len) = checked_element_len(&bytes[at..end]) else {
                return wrong(at, "an element that reaches behind the end");
            };
            let back_len = back_len_of(len);
            if at + len + back_len > end {
                return wrong(at, "an element that reaches behind the end");
            }
            // Of its own bytes alone: a length that goes on into the element would change with it.
            if decoded_back_len(&bytes[at + len..at + len + back_len]) != Some(len) {
                return wrong(at + len, "a backward length that does not fit its element");
            }
            all_shortest &= is_shortest(&bytes[at..at + len]);
            at += len + back_len;
            count += 1;
        }
        if noted != LEN_UNKNOWN && usize::from(noted) != count {
            return wrong(4, "its header gives another number of elements");
        }
        Ok(all_shortest)
    }

    /// One pointer, for an entry to keep.
    pub(crate) fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).0
    }

    /// # Safety
    /// The pointer came from `into_raw`, and this is its only owner.
    pub(crate) unsafe fn from_raw(pointer: NonNull<u8>) -> Listpack {
        Listpack(pointer)
    }

    /// All of it, header and end included, as files and DUMP have it.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: so many bytes belong to this listpack.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.byte_len()) }
    }

    /// Without header and end.
    #[inline]
    pub(super) fn elements(&self) -> &[u8] {
        let bytes = self.as_bytes();
        &bytes[HEADER_BYTES..bytes.len() - 1]
    }

    #[inline]
    pub fn byte_len(&self) -> usize {
        // SAFETY: every listpack has a header.
        u32::from_le_bytes(unsafe { self.0.as_ptr().cast::<[u8; 4]>().read() }) as usize
    }

    /// The number of elements. O(1) below 65,535 of them.
    #[inline]
    pub fn len(&self) -> usize {
        match self.noted_len() {
            LEN_UNKNOWN => self.iter().count(),
            len => usize::from(len),
        }
    }

    #[inline]
    fn noted_len(&self) -> u16 {
        // SAFETY: every listpack has a header.
        u16::from_le_bytes(unsafe { self.0.as_ptr().add(4).cast::<[u8; 2]>().read() })
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.byte_len() == EMPTY_BYTES
    }

    /// Moves to a denser page, if its own is sparse.
    pub(crate) fn compact(&mut self) {
        let capacity = self.memory_usage();
        if capacity > 0
            // SAFETY: allocated with this capacity, and held alone.
            && let Some(copy) = unsafe { slab::copy_if_sparse(self.0, capacity) }
        {
            let old = std::mem::replace(&mut self.0, copy);
            // SAFETY: as above; nobody uses it any more.
            unsafe { slab::free(old, capacity) };
        }
    }

    /// Bytes allocated.
    pub fn memory_usage(&self) -> usize {
        if self.is_empty() { 0 } else { capacity_for(self.byte_len()) }
    }

    /// Bytes that this text takes as an element.
    pub fn encoded_len(text: &[u8]) -> usize {
        Encoded::of(text).len()
    }

    /// Whether elements of together `bytes` bytes of text surely fit: a listpack ends at 4 GiB.
    pub fn fits(&self, bytes: usize, elements: usize) -> bool {
        self.byte_len() + bytes + elements * ELEMENT_OVERHEAD_BYTES_MAX <= u32::MAX as usize
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Finding and reading
    // -----------------------------------------------------------------------------------------------------------------

    #[inline]
    pub fn first(&self) -> Option<Position> {
        (!self.is_empty()).then_some(Position(HEADER_BYTES as u32))
    }

    #[inline]
    pub fn last(&self) -> Option<Position> {
        (!self.is_empty()).then(|| self.before(self.byte_len() - 1))
    }

    #[inline]
    pub fn next(&self, position: Position) -> Option<Position> {
        let bytes = self.as_bytes();
        let at = position.0 as usize + element_len_with_back(&bytes[position.0 as usize..]);
        (bytes[at] != END).then_some(Position(at as u32))
    }

    #[inline]
    pub fn prev(&self, position: Position) -> Option<Position> {
        (position.0 as usize > HEADER_BYTES).then(|| self.before(position.0 as usize))
    }

    /// The element that ends before byte `end`.
    #[inline]
    fn before(&self, end: usize) -> Position {
        let len = decoded_back_len(&self.as_bytes()[..end]).expect("a listpack's own backward length");
        Position((end - len - back_len_of(len)) as u32)
    }

    /// The element at `index`, which counts from the end where it is negative: -1 is the last. O(distance from the nearer end).
    pub fn seek(&self, index: i64) -> Option<Position> {
        let len = self.len() as i64;
        let index = if index < 0 { index + len } else { index };
        if !(0..len).contains(&index) {
            return None;
        }
        if index <= len / 2 {
            let mut at = self.first()?;
            for _ in 0..index {
                at = self.next(at)?;
            }
            Some(at)
        } else {
            let mut at = self.last()?;
            for _ in index + 1..len {
                at = self.prev(at)?;
            }
            Some(at)
        }
    }

    #[inline]
    pub fn get(&self, position: Position) -> Item<'_> {
        decode(&self.as_bytes()[position.0 as usize..]).0
    }

    /// The first element with this text from `from` on, where `skip` elements are passed over after each that is compared: 1 looks at every
    /// second one (the fields of a hash).
    pub fn find(&self, text: &[u8], from: Position, skip: usize) -> Option<Position> {
        let bytes = self.as_bytes();
        let mut at = from.0 as usize;
        let number = canonical_int(text);
        loop {
            if bytes[at] == END {
                return None;
            }
            let found = match number {
                // An integer is never kept as text, and no other text as an integer.
                None => is_text(&bytes[at..], text),
                Some(number) => matches!(decode(&bytes[at..]).0, Item::Int(found) if found == number),
            };
            if found {
                return Some(Position(at as u32));
            }
            for _ in 0..=skip {
                if bytes[at] == END {
                    return None;
                }
                at += element_len_with_back(&bytes[at..]);
            }
        }
    }

    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter { bytes: self.as_bytes(), from: HEADER_BYTES, to: self.byte_len() - 1 }
    }

    /// From this element on.
    pub fn iter_from(&self, position: Position) -> Iter<'_> {
        Iter { from: position.0 as usize, ..self.iter() }
    }

    /// All elements with their places.
    pub fn iter_at(&self) -> impl Iterator<Item = (Position, Item<'_>)> {
        let mut iter = self.iter();
        std::iter::from_fn(move || {
            let position = Position(iter.from as u32);
            iter.next().map(|item| (position, item))
        })
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Changing
    // -----------------------------------------------------------------------------------------------------------------

    #[inline]
    pub fn push_back(&mut self, text: &[u8]) {
        self.put(self.byte_len() - 1, 0, Encoded::of(text));
    }

    #[inline]
    pub fn push_front(&mut self, text: &[u8]) {
        self.put(HEADER_BYTES, 0, Encoded::of(text));
    }

    pub fn push_back_int(&mut self, number: i64) {
        self.put(self.byte_len() - 1, 0, Encoded::of_int(number));
    }

    pub fn push_front_int(&mut self, number: i64) {
        self.put(HEADER_BYTES, 0, Encoded::of_int(number));
    }

    /// Returns the place of the new element.
    pub fn insert_before(&mut self, position: Position, text: &[u8]) -> Position {
        self.put(position.0 as usize, 0, Encoded::of(text));
        position
    }

    /// Returns the place of the new element.
    pub fn insert_after(&mut self, position: Position, text: &[u8]) -> Position {
        let at = position.0 as usize;
        let at = at + element_len_with_back(&self.as_bytes()[at..]);
        self.put(at, 0, Encoded::of(text));
        Position(at as u32)
    }

    /// Returns the place of the element, which is the same.
    pub fn replace(&mut self, position: Position, text: &[u8]) -> Position {
        self.replace_with(position, Encoded::of(text))
    }

    pub fn replace_int(&mut self, position: Position, number: i64) -> Position {
        self.replace_with(position, Encoded::of_int(number))
    }

    fn replace_with(&mut self, position: Position, encoded: Encoded<'_>) -> Position {
        let at = position.0 as usize;
        let old_len = element_len_with_back(&self.as_bytes()[at..]);
        self.put(at, old_len, encoded);
        position
    }

    /// Returns the place of the element that followed.
    pub fn remove(&mut self, position: Position) -> Option<Position> {
        self.remove_many(position, 1)
    }

    /// Removes up to `count` elements from `position` on. Returns the place of the element that followed.
    pub fn remove_many(&mut self, position: Position, count: usize) -> Option<Position> {
        let at = position.0 as usize;
        let bytes = self.as_bytes();
        let (mut end, mut removed) = (at, 0);
        while removed < count && bytes[end] != END {
            end += element_len_with_back(&bytes[end..]);
            removed += 1;
        }
        self.cut(at, end - at, removed);
        (self.as_bytes()[at] != END).then_some(position)
    }

    /// Takes everything from `position` on into a listpack of its own.
    pub fn split_off(&mut self, position: Position) -> Listpack {
        let at = position.0 as usize;
        let end = self.byte_len() - 1;
        let count = self.iter_from(position).count();
        let mut tail = Listpack::new();
        tail.extend_raw(&self.as_bytes()[at..end], count);
        self.cut(at, end - at, count);
        tail
    }

    /// Adds all elements of another one behind its own.
    pub fn append(&mut self, other: &Listpack) {
        self.extend_raw(&other.as_bytes()[HEADER_BYTES..other.byte_len() - 1], other.len());
    }

    /// Adds elements that are encoded already.
    pub(super) fn extend_raw(&mut self, elements: &[u8], count: usize) {
        let len = self.len() + count;
        let at = self.byte_len() - 1;
        self.resize(at, 0, elements.len());
        // SAFETY: `resize` made room at `at`.
        unsafe { ptr::copy_nonoverlapping(elements.as_ptr(), self.0.as_ptr().add(at), elements.len()) };
        self.note_len(len);
    }

    /// Replaces `old_len` bytes, which are one element or none, by an element.
    #[inline]
    fn put(&mut self, at: usize, old_len: usize, encoded: Encoded<'_>) {
        let noted = self.noted_len();
        self.resize(at, old_len, encoded.len());
        // SAFETY: `resize` made room at `at`.
        unsafe { encoded.write(self.0.as_ptr().add(at)) };
        if old_len == 0 && noted != LEN_UNKNOWN {
            self.note_len(usize::from(noted) + 1);
        }
    }

    fn cut(&mut self, at: usize, bytes: usize, count: usize) {
        if count == 0 {
            return;
        }
        let len = self.len() - count;
        self.resize(at, bytes, 0);
        if !self.is_empty() {
            self.note_len(len);
        }
    }

    fn note_len(&mut self, len: usize) {
        let noted = u16::try_from(len).unwrap_or(LEN_UNKNOWN);
        // SAFETY: only listpacks that are not empty get here, and those are allocated.
        unsafe { self.0.as_ptr().add(4).cast::<[u8; 2]>().write(noted.to_le_bytes()) };
    }

    /// Makes `new` bytes of what are `old` bytes at `at`, moving what is behind, in another allocation where the class changes.
    fn resize(&mut self, at: usize, old: usize, new: usize) {
        let len = self.byte_len();
        let new_len = len - old + new;
        let total =
            u32::try_from(new_len).expect("a listpack is smaller than 4 GiB: the caller keeps within its limits");
        let tail = len - at - old;
        if new_len == EMPTY_BYTES {
            *self = Listpack::new();
            return;
        }
        // SAFETY: `at + old + tail` is the old length, `at + new + tail` the new one; both allocations are large enough.
        unsafe {
            if len == EMPTY_BYTES {
                let pointer = allocate(new_len).as_ptr();
                ptr::copy_nonoverlapping(EMPTY.as_ptr(), pointer, HEADER_BYTES);
                pointer.add(new_len - 1).write(END);
                self.0 = NonNull::new_unchecked(pointer);
            } else {
                if new < old {
                    let start = self.0.as_ptr().add(at);
                    ptr::copy(start.add(old), start.add(new), tail);
                }
                if capacity_for(new_len) != capacity_for(len) {
                    self.0 = slab::reallocate(self.0, capacity_for(len), capacity_for(new_len));
                }
                if new > old {
                    let start = self.0.as_ptr().add(at);
                    ptr::copy(start.add(old), start.add(new), tail);
                }
            }
            self.0.as_ptr().cast::<[u8; 4]>().write(total.to_le_bytes());
        }
    }
}

fn allocate(len: usize) -> NonNull<u8> {
    slab::allocate(capacity_for(len))
}

/// Bytes of the element at the beginning, without its backward length.
#[inline]
fn element_len(bytes: &[u8]) -> usize {
    let code = bytes[0];
    match code {
        0x00..0x80 => 1,
        0x80..0xC0 => 1 + (code & 0x3F) as usize,
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 2 + (usize::from(code & 0x0F) << 8 | usize::from(bytes[1])),
        0xF0 => 5 + u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize,
        0xF1 => 3,
        0xF2 => 4,
        0xF3 => 5,
        0xF4 => 9,
        _ => panic!("a listpack holds no such element: {code:#x}"),
    }
}

/// The same for bytes that may be anything.
fn checked_element_len(bytes: &[u8]) -> Option<usize> {
    let head_len = match bytes.first()? {
        0xE0..0xF0 => 2,
        0xF0 => 5,
        0xF5.. => return None,
        _ => 1,
    };
    if bytes.len() < head_len {
        return None;
    }
    let len = element_len(bytes);
    (len <= bytes.len()).then_some(len)
}

#[inline]
pub(super) fn element_len_with_back(bytes: &[u8]) -> usize {
    let len = element_len(bytes);
    len + back_len_of(len)
}

/// All bytes of an element that begins with this one, where it alone says so; else 0.
static STEP: [u8; 256] = {
    let mut steps = [0; 256];
    let mut code = 0;
    while code < 256 {
        steps[code] = match code {
            0x00..0x80 => 2,
            0x80..0xC0 => 2 + (code as u8 & 0x3F),
            0xC0..0xE0 => 3,
            0xF1 => 4,
            0xF2 => 5,
            0xF3 => 6,
            0xF4 => 10,
            _ => 0,
        };
        code += 1;
    }
    steps
};

/// Walks over elements from byte `at` on, until `visit` breaks or there are no more. It is given the place and length of each.
///
/// Elements of one length often follow each other. To guess that the next is as long as this one, and to look later, lets the processor run ahead
/// over many elements; following each length in turn would make it wait for memory at every one.
#[inline(always)]
pub(super) fn step_through(
    bytes: &[u8],
    mut at: usize,
    mut visit: impl FnMut(usize, usize) -> ControlFlow<()>,
) -> ControlFlow<()> {
    while at < bytes.len() {
        let len = element_len_with_back(&bytes[at..]);
        loop {
            visit(at, len)?;
            at += len;
            if at >= bytes.len() || usize::from(STEP[usize::from(bytes[at])]) != len {
                break;
            }
        }
    }
    ControlFlow::Continue(())
}

/// The same from byte `to` backwards.
#[inline(always)]
pub(super) fn step_back(
    bytes: &[u8],
    mut to: usize,
    mut visit: impl FnMut(usize, usize) -> ControlFlow<()>,
) -> ControlFlow<()> {
    while to > 0 {
        let len = decoded_back_len(&bytes[..to]).expect("a listpack's own backward length");
        let back_len = back_len_of(len);
        let back = bytes[to - 1];
        let len = len + back_len;
        loop {
            to -= len;
            visit(to, len)?;
            if to == 0 || back_len != 1 || bytes[to - 1] != back {
                break;
            }
        }
    }
    ControlFlow::Continue(())
}

/// An element that is looked for: tells nearly all others apart by eight of their bytes.
pub(super) struct Needle<'a> {
    encoded: Encoded<'a>,
    /// The last eight bytes of the text, and where they are from the element's beginning. Texts that begin alike are more common than such that
    /// end alike.
    tail: Option<(u64, usize)>,
}

impl<'a> Needle<'a> {
    pub(super) fn of(text: &'a [u8]) -> Needle<'a> {
        let encoded = Encoded::of(text);
        // Only where the first byte tells the length, and so that the tail is there.
        let tail = (encoded.head_len == 1)
            .then(|| encoded.text.last_chunk::<8>())
            .flatten()
            .map(|tail| (u64::from_le_bytes(*tail), 1 + encoded.text.len() - 8));
        Needle { encoded, tail }
    }

    /// Whether it is the element at this place.
    #[inline(always)]
    pub(super) fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        if bytes[at] != self.encoded.head[0] {
            return false;
        }
        if let Some((tail, tail_at)) = self.tail
            && bytes[at + tail_at..].first_chunk::<8>().is_some_and(|found| u64::from_le_bytes(*found) != tail)
        {
            return false;
        }
        self.is_surely_at(&bytes[at..])
    }

    #[inline]
    fn is_surely_at(&self, bytes: &[u8]) -> bool {
        let Encoded { head, head_len, text, .. } = &self.encoded;
        let same = |a: &[u8], b: &[u8]| match b.len() {
            // Not worth a call.
            0..16 => a.len() >= b.len() && a.iter().zip(b).all(|(a, b)| a == b),
            _ => a.starts_with(b),
        };
        same(bytes, &head[..*head_len]) && same(&bytes[*head_len..], text)
    }
}

/// The length that the backward bytes at the end say.
#[inline]
pub(super) fn decoded_back_len(bytes: &[u8]) -> Option<usize> {
    let mut len = 0;
    for (index, &byte) in bytes.iter().rev().take(5).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(len);
        }
    }
    None
}

/// Whether the element at the beginning is this text, which is no integer's.
#[inline]
pub(super) fn is_text(bytes: &[u8], text: &[u8]) -> bool {
    let code = bytes[0];
    let at = match code {
        0x80..0xC0 if usize::from(code & 0x3F) == text.len() => 1,
        0xE0..0xF0 if usize::from(code & 0x0F) << 8 | usize::from(bytes[1]) == text.len() => 2,
        0xF0 if u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize == text.len() => 5,
        _ => return false,
    };
    &bytes[at..at + text.len()] == text
}

/// The element at the beginning, and its bytes without the backward length.
#[inline]
pub(super) fn decode(bytes: &[u8]) -> (Item<'_>, usize) {
    let code = bytes[0];
    match code {
        0x00..0x80 => (Item::Int(i64::from(code)), 1),
        0x80..0xC0 => {
            let len = usize::from(code & 0x3F);
            (Item::Bytes(&bytes[1..1 + len]), 1 + len)
        }
        0xC0..0xE0 => {
            let number = u16::from(code & 0x1F) << 8 | u16::from(bytes[1]);
            // Thirteen bits with a sign.
            (Item::Int(i64::from((number << 3) as i16 >> 3)), 2)
        }
        0xE0..0xF0 => {
            let len = usize::from(code & 0x0F) << 8 | usize::from(bytes[1]);
            (Item::Bytes(&bytes[2..2 + len]), 2 + len)
        }
        0xF0 => {
            let len = u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
            (Item::Bytes(&bytes[5..5 + len]), 5 + len)
        }
        0xF1 => (Item::Int(i64::from(i16::from_le_bytes([bytes[1], bytes[2]]))), 3),
        0xF2 => (Item::Int(i64::from(i32::from_le_bytes([0, bytes[1], bytes[2], bytes[3]]) >> 8)), 4),
        0xF3 => (Item::Int(i64::from(i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]))), 5),
        0xF4 => {
            let number = bytes[1..9].try_into().expect("eight bytes");
            (Item::Int(i64::from_le_bytes(number)), 9)
        }
        _ => panic!("a listpack holds no such element: {code:#x}"),
    }
}

/// Whether this element is encoded as [`Encoded::of`] does it.
#[inline]
fn is_shortest(element: &[u8]) -> bool {
    let within = |bits: u32, number: i64| (-(1 << (bits - 1))..1 << (bits - 1)).contains(&number);
    match (element[0], decode(element).0) {
        (0x80..0xC0, Item::Bytes(text)) => !matches!(text, [b'0'..=b'9' | b'-', ..] if canonical_int(text).is_some()),
        (0xE0..=0xEF, Item::Bytes(text)) => text.len() >= 1 << 6,
        (_, Item::Bytes(text)) => text.len() >= 1 << 12,
        (0x00..=0x7F, Item::Int(_)) => true,
        (0xC0..=0xDF, Item::Int(number)) => !(0..0x80).contains(&number),
        (0xF1, Item::Int(number)) => !within(13, number),
        (0xF2, Item::Int(number)) => !within(16, number),
        (0xF3, Item::Int(number)) => !within(24, number),
        (_, Item::Int(number)) => !within(32, number),
    }
}

/// Elements from both ends.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    from: usize,
    to: usize,
}

impl<'a> Iter<'a> {
    /// Over elements without header and end.
    #[inline]
    pub(super) fn over(bytes: &'a [u8]) -> Iter<'a> {
        Iter { bytes, from: 0, to: bytes.len() }
    }

    /// Over elements up to byte `to`.
    #[inline]
    pub(super) fn until(bytes: &'a [u8], to: usize) -> Iter<'a> {
        Iter { bytes, from: 0, to }
    }

    /// Byte offset of what comes next from the front.
    #[inline]
    pub(super) fn from(&self) -> usize {
        self.from
    }

    /// Byte offset behind what comes next from the back; after `next_back` that of what it returned.
    #[inline]
    pub(super) fn to(&self) -> usize {
        self.to
    }

    /// Passes over one element from the front.
    #[inline]
    pub(super) fn skip_front(&mut self) {
        self.from += element_len_with_back(&self.bytes[self.from..]);
    }

    /// Passes over one element from the back.
    #[inline]
    pub(super) fn skip_back(&mut self) {
        let len = decoded_back_len(&self.bytes[..self.to]).expect("a listpack's own backward length");
        self.to -= len + back_len_of(len);
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        if self.from >= self.to {
            return None;
        }
        let (item, len) = decode(&self.bytes[self.from..]);
        self.from += len + back_len_of(len);
        Some(item)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.from >= self.to {
            return None;
        }
        let len = decoded_back_len(&self.bytes[..self.to]).expect("a listpack's own backward length");
        self.to -= len + back_len_of(len);
        Some(decode(&self.bytes[self.to..]).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(listpack: &Listpack) -> Vec<Vec<u8>> {
        listpack.iter().map(|item| item.to_vec()).collect()
    }

    /// What Redis 8.2 wrote for `RPUSH l a 1 -1 4095 32767 8388607 2147483647 9223372036854775807 0127` (DUMP).
    #[test]
    fn the_bytes_are_those_of_the_format() {
        let mut listpack = Listpack::new();
        for text in ["a", "1", "-1", "4095", "32767", "8388607", "2147483647", "9223372036854775807", "0127"] {
            listpack.push_back(text.as_bytes());
        }
        let hex: String = listpack.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "3100000009008161020101dfff02cfff02f1ff7f03f2ffff7f04f3ffffff7f05f4ffffffffffffff7f09843031323705ff"
        );
    }

    /// 0x81 goes on into the byte before it, a 0 that ends it there: the length is right as long as the element is 0.
    #[test]
    fn a_backward_length_that_goes_on_into_its_element_is_refused() {
        let mut listpack = Listpack::new();
        listpack.push_back(b"0");
        let mut bytes = listpack.as_bytes().to_vec();
        assert_eq!(bytes[HEADER_BYTES..], [0, 1, END]);
        bytes[HEADER_BYTES + 1] = 0x81;
        assert_eq!(Listpack::from_bytes(&bytes).map_err(|error| error.offset).err(), Some(HEADER_BYTES + 1));
    }

    #[test]
    fn lengths_at_which_the_encoding_changes() {
        for len in [0, 1, 63, 64, 125, 126, 4095, 4096, 16_377, 16_378, 16_379, 2_097_145, 2_097_146, 2_097_147] {
            let text = vec![b'x'; len];
            let mut listpack = Listpack::new();
            listpack.push_back(b"before");
            listpack.push_back(&text);
            listpack.push_back(b"after");
            assert_eq!(texts(&listpack), [b"before".to_vec(), text.clone(), b"after".to_vec()]);
            let backwards: Vec<Vec<u8>> = listpack.iter().rev().map(|item| item.to_vec()).collect();
            assert_eq!(backwards, [b"after".to_vec(), text, b"before".to_vec()]);
            assert_eq!(texts(&Listpack::from_bytes(listpack.as_bytes()).unwrap()), texts(&listpack));
        }
    }

    #[test]
    fn integers_of_all_sizes() {
        let mut numbers = vec![0, i64::MIN, i64::MAX];
        for bit in 0..63 {
            let power = 1i64 << bit;
            numbers.extend([power, power - 1, -power, -power - 1, -power + 1]);
        }
        let mut listpack = Listpack::new();
        numbers.iter().for_each(|&number| listpack.push_back_int(number));
        let read: Vec<i64> = listpack.iter().map(|item| item.as_int().unwrap()).collect();
        assert_eq!(read, numbers);
        let back: Vec<i64> = listpack.iter().rev().map(|item| item.as_int().unwrap()).collect();
        assert!(back.iter().rev().eq(&numbers));
    }

    #[test]
    fn longer_forms_become_the_shortest() {
        let texts = [
            "0",
            "127",
            "128",
            "-1",
            "-4096",
            "4095",
            "4096",
            "-32769",
            "32768",
            "8388608",
            "2147483648",
            "",
            "a",
            "012",
        ];
        let long = ["b".repeat(63), "b".repeat(64), "b".repeat(4095), "b".repeat(4096)];
        let mut listpack = Listpack::new();
        texts.into_iter().chain(long.iter().map(String::as_str)).for_each(|text| listpack.push_back(text.as_bytes()));
        assert_eq!(Listpack::check(listpack.as_bytes()), Ok(true));
        for text in ["5", "-5", "300", "40000", "9000000"] {
            // An integer as a text, and one of 64 bits.
            let number: i64 = text.parse().unwrap();
            let as_text = [&[0x80 | text.len() as u8][..], text.as_bytes(), &[1 + text.len() as u8]].concat();
            let as_long = [&[0xF4][..], &number.to_le_bytes(), &[9]].concat();
            for element in [as_text, as_long] {
                let mut bytes = (element.len() as u32 + EMPTY_BYTES as u32).to_le_bytes().to_vec();
                bytes.extend([1, 0]);
                bytes.extend(element);
                bytes.push(END);
                let listpack = Listpack::from_bytes(&bytes).unwrap();
                assert!(listpack.find(text.as_bytes(), listpack.first().unwrap(), 0).is_some());
            }
        }
    }

    #[test]
    fn what_is_no_listpack_is_refused() {
        let mut listpack = Listpack::new();
        ["abc", "5", "-300", "70000"].iter().for_each(|text| listpack.push_back(text.as_bytes()));
        let good = listpack.as_bytes().to_vec();
        for len in 0..good.len() {
            assert!(Listpack::from_bytes(&good[..len]).is_err());
        }
        for index in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[index] ^= 1 << bit;
                // It may be another listpack; if it is none, it must be found out without a panic.
                if let Ok(listpack) = Listpack::from_bytes(&bytes) {
                    assert_eq!(listpack.iter().count(), listpack.iter().rev().count());
                }
            }
        }
    }

    #[test]
    fn more_elements_than_the_header_counts() {
        let mut listpack = Listpack::new();
        for number in 0..70_000 {
            listpack.push_back_int(number);
        }
        assert_eq!(listpack.len(), 70_000);
        assert_eq!(listpack.get(listpack.seek(69_999).unwrap()).as_int(), Some(69_999));
        let first = listpack.first().unwrap();
        listpack.remove_many(first, 10_000);
        assert_eq!(listpack.len(), 60_000);
        assert_eq!(Listpack::from_bytes(listpack.as_bytes()).unwrap().len(), 60_000);
    }
}

//! A block: up to some hundred entries in one listpack, in the documented form of RDB files.
//!
//! ```text
//! master:  live  deleted  number of fields  field ...  0
//! entry:   flags  ms  seq  [number of fields  field value ...]  elements      when its fields are not the master's
//!          flags  ms  seq  value ...                            elements      when they are (flag SAME_FIELDS)
//! ```
//!
//! The master is not an entry: it holds the fields of the first entry, which most of the others share, and the block's id is that of
//! the first entry, from which `ms` and `seq` are counted. `elements` says how many elements the entry has before it, so that a
//! block can be read backwards; the master's 0 stands where the entry before the first would end. A deleted entry keeps its place
//! and is flagged.
//!
//! The bytes are no [`Listpack`](crate::Listpack): an entry is some ten elements, which are written in one go behind the
//! last one, with room for those to come.

mod check;

pub use self::check::InvalidBlock;

use super::bytes::{Bytes, OwnBytes};
use super::id::StreamId;
use crate::collection::listpack::{
    self, END, Encoded, HEADER_BYTES, Item, back_len_of, decode, decoded_back_len, element_len_with_back,
};

/// The entry is deleted.
const DELETED: u8 = 1;
/// The entry has the master's fields.
const SAME_FIELDS: u8 = 2;

/// An element's encoding and lengths at most, without its text.
const ELEMENT_OVERHEAD_BYTES_MAX: usize = 10;
/// Flags, both parts of the id, number of fields and elements, at most.
const ENTRY_OVERHEAD_BYTES_MAX: usize = 2 + 10 + 10 + 10 + 10;

/// A block never grows beyond this, whatever the limits say.
pub(super) const BLOCK_BYTES_MAX: usize = 1 << 30;

#[derive(Clone, Debug)]
pub(super) struct Block {
    /// The id of the first entry that was added to it.
    id: StreamId,
    /// Where the first entry that is not deleted begins (or would, behind the master): trimming leaves many deleted ones before it.
    front: u32,
    /// A whole listpack.
    bytes: Bytes,
}

/// An entry of a block, deleted or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw {
    pub id: StreamId,
    pub deleted: bool,
    /// Where the entry begins.
    pub at: usize,
    /// The fields with their values, or the values of the master's fields.
    fields_at: usize,
    field_count: usize,
    same_fields: bool,
}

impl Block {
    /// A block for an entry of these fields and values, without the entry.
    pub fn new(id: StreamId, pairs: &[&[u8]]) -> Block {
        let text_bytes: usize = pairs.iter().map(|text| text.len() + ELEMENT_OVERHEAD_BYTES_MAX).sum();
        let mut block_bytes = Bytes::with_capacity(HEADER_BYTES + 4 * 10 + ENTRY_OVERHEAD_BYTES_MAX + text_bytes);
        let bytes = block_bytes.own();
        bytes.extend_from_slice(&[0; HEADER_BYTES]);
        push_int(bytes, 0);
        push_int(bytes, 0);
        push_int(bytes, pairs.len() as i64 / 2);
        pairs.iter().step_by(2).for_each(|field| push_text(bytes, field));
        push_int(bytes, 0);
        let front = u32::try_from(bytes.len()).expect("a block is smaller than 4 GiB");
        bytes.push(END);
        let mut block = Block { id, front, bytes: block_bytes };
        block.note(0, 4 + pairs.len() / 2);
        block
    }

    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The listpack.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn memory_usage(&self) -> usize {
        self.bytes.memory_usage()
    }

    /// No entry will follow.
    pub fn seal(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Adds an entry behind the last one.
    pub fn append(&mut self, id: StreamId, pairs: &[&[u8]]) {
        let same_fields = self.has_fields(pairs);
        let bytes = self.bytes.own();
        assert_eq!(bytes.pop(), Some(END), "a block is a listpack");
        let text_bytes: usize = pairs.iter().map(|text| text.len() + ELEMENT_OVERHEAD_BYTES_MAX).sum();
        bytes.reserve(ENTRY_OVERHEAD_BYTES_MAX + text_bytes + 1);
        push_int(bytes, i64::from(if same_fields { SAME_FIELDS } else { 0 }));
        // The differences are unsigned; a listpack's integers have a sign.
        push_int(bytes, id.ms.wrapping_sub(self.id.ms) as i64);
        push_int(bytes, id.seq.wrapping_sub(self.id.seq) as i64);
        let elements = if same_fields {
            pairs.iter().skip(1).step_by(2).for_each(|value| push_text(bytes, value));
            3 + pairs.len() / 2
        } else {
            push_int(bytes, pairs.len() as i64 / 2);
            pairs.iter().for_each(|text| push_text(bytes, text));
            4 + pairs.len()
        };
        push_int(bytes, elements as i64);
        bytes.push(END);
        self.note(self.noted_elements(), elements + 1);
        let (live, deleted) = self.counts();
        self.set_counts(live + 1, deleted);
    }

    /// Writes the header: total length, and how many elements there are, as long as it can be said in two bytes.
    fn note(&mut self, before: usize, added: usize) {
        let total = u32::try_from(self.bytes.len()).expect("a block is smaller than 4 GiB");
        let elements = if before == usize::from(u16::MAX) { before } else { before + added };
        let bytes = self.bytes.own();
        bytes[..4].copy_from_slice(&total.to_le_bytes());
        bytes[4..HEADER_BYTES].copy_from_slice(&u16::try_from(elements).unwrap_or(u16::MAX).to_le_bytes());
    }

    fn noted_elements(&self) -> usize {
        usize::from(u16::from_le_bytes([self.bytes[4], self.bytes[5]]))
    }

    /// How many entries are there, and how many were.
    #[inline]
    pub fn counts(&self) -> (usize, usize) {
        // Both are below 128 in nearly every block: one byte, and one for its length.
        if let &[live @ 0..0x80, _, deleted @ 0..0x80, ..] = &self.bytes[HEADER_BYTES..] {
            return (usize::from(live), usize::from(deleted));
        }
        let (live, at) = int_at(&self.bytes, HEADER_BYTES);
        (live as usize, int_at(&self.bytes, at).0 as usize)
    }

    /// Whether all its entries are deleted.
    pub fn is_spent(&self) -> bool {
        self.counts().0 == 0
    }

    fn set_counts(&mut self, live: usize, deleted: usize) {
        if let [old_live @ 0..0x80, _, old_deleted @ 0..0x80, ..] = &mut self.bytes.own()[HEADER_BYTES..]
            && live < 0x80
            && deleted < 0x80
        {
            *old_live = live as u8;
            *old_deleted = deleted as u8;
            return;
        }
        // A number may take more bytes than before.
        let front_to_end = self.bytes.len() - self.front as usize;
        let end = int_at(&self.bytes, int_at(&self.bytes, HEADER_BYTES).1).1;
        let mut counts = Bytes::with_capacity(0);
        push_int(counts.own(), live as i64);
        push_int(counts.own(), deleted as i64);
        self.bytes.own().splice(HEADER_BYTES..end, &counts);
        self.front = (self.bytes.len() - front_to_end) as u32;
        self.note(self.noted_elements(), 0);
    }

    /// The number of the master's fields, and where the first of them is.
    #[inline]
    fn master(&self) -> (usize, usize) {
        let (_, at) = int_at(&self.bytes, HEADER_BYTES);
        let (_, at) = int_at(&self.bytes, at);
        let (count, at) = int_at(&self.bytes, at);
        (count as usize, at)
    }

    /// Whether these are the master's fields, in its order.
    fn has_fields(&self, pairs: &[&[u8]]) -> bool {
        let (count, mut at) = self.master();
        if count != pairs.len() / 2 {
            return false;
        }
        for field in pairs.iter().step_by(2) {
            let element = &self.bytes[at..];
            // Most names are texts; an integer is never kept as one.
            if !listpack::is_text(element, field)
                && !matches!(decode(element).0, number @ Item::Int(_) if number.is(field))
            {
                return false;
            }
            at += element_len_with_back(element);
        }
        true
    }

    /// Where the first entry begins that is not deleted.
    #[inline]
    pub fn front(&self) -> usize {
        self.front as usize
    }

    /// Where an entry that would be added begins.
    pub fn end(&self) -> usize {
        self.bytes.len() - 1
    }

    /// The entry that begins here.
    #[inline]
    pub fn entry(&self, at: usize) -> Option<Raw> {
        let flags = self.bytes[at];
        if flags == END {
            return None;
        }
        let (ms, next) = int_at(&self.bytes, at + 2);
        let (seq, next) = int_at(&self.bytes, next);
        let same_fields = flags & SAME_FIELDS != 0;
        let (field_count, fields_at) = if same_fields {
            (self.master().0, next)
        } else {
            let (count, next) = int_at(&self.bytes, next);
            (count as usize, next)
        };
        let id = StreamId::new(self.id.ms.wrapping_add(ms as u64), self.id.seq.wrapping_add(seq as u64));
        Some(Raw { id, deleted: flags & DELETED != 0, at, fields_at, field_count, same_fields })
    }

    /// Where the entry behind this one begins.
    #[inline]
    pub fn after(&self, entry: &Raw) -> usize {
        let elements = if entry.same_fields { entry.field_count } else { 2 * entry.field_count };
        let mut at = entry.fields_at;
        for _ in 0..=elements {
            at += element_len_with_back(&self.bytes[at..]);
        }
        at
    }

    /// Where the entry before this place begins.
    pub fn before(&self, at: usize) -> Option<usize> {
        let mut at = self.element_before(at);
        let (elements, _) = int_at(&self.bytes, at);
        for _ in 0..elements {
            at = self.element_before(at);
        }
        (elements > 0).then_some(at)
    }

    fn element_before(&self, at: usize) -> usize {
        let len = decoded_back_len(&self.bytes[..at]).expect("a listpack's own backward length");
        at - len - back_len_of(len)
    }

    /// The last entry, deleted or not.
    pub fn last(&self) -> Raw {
        let at = self.before(self.end()).expect("a block has an entry");
        self.entry(at).expect("an entry is there")
    }

    /// The first entry that is not deleted, unless all are.
    pub fn first(&self) -> Option<Raw> {
        self.entry(self.front())
    }

    /// The entry with this id, unless it is deleted.
    pub fn find(&self, id: StreamId) -> Option<Raw> {
        let mut at = self.front();
        while let Some(entry) = self.entry(at) {
            if entry.id >= id {
                return (entry.id == id && !entry.deleted).then_some(entry);
            }
            at = self.after(&entry);
        }
        None
    }

    /// Flags an entry as deleted. Returns where the one behind it begins.
    pub fn delete(&mut self, entry: &Raw) -> usize {
        assert!(!entry.deleted, "an entry is deleted once");
        let next_to_end = self.bytes.len() - self.after(entry);
        self.bytes.own()[entry.at] |= DELETED;
        let (live, deleted) = self.counts();
        self.set_counts(live - 1, deleted + 1);
        while let Some(first) = self.first().filter(|first| first.deleted) {
            self.front = self.after(&first) as u32;
        }
        self.bytes.len() - next_to_end
    }

    pub fn fields(&self, entry: &Raw) -> Fields<'_> {
        let names_at = if entry.same_fields { self.master().1 } else { 0 };
        Fields { bytes: &self.bytes, names_at, at: entry.fields_at, left: entry.field_count }
    }
}

/// The fields of an entry with their values.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    /// The next field in the master, or 0: it stands before its value.
    names_at: usize,
    at: usize,
    left: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Item<'a>, Item<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let field = take(self.bytes, if self.names_at == 0 { &mut self.at } else { &mut self.names_at });
        Some((field, take(self.bytes, &mut self.at)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Fields<'_> {}

/// The element at `at`, which moves behind it.
#[inline]
fn take<'a>(bytes: &'a [u8], at: &mut usize) -> Item<'a> {
    let (item, len) = decode(&bytes[*at..]);
    *at += len + back_len_of(len);
    item
}

/// The integer at `at`, and where the next element is.
#[inline]
fn int_at(bytes: &[u8], at: usize) -> (i64, usize) {
    // Short ones are nearly all there are.
    if let byte @ 0..0x80 = bytes[at] {
        return (i64::from(byte), at + 2);
    }
    let (item, len) = decode(&bytes[at..]);
    match item {
        Item::Int(number) => (number, at + len + back_len_of(len)),
        Item::Bytes(_) => panic!("a block has a text where an integer belongs"),
    }
}

fn push(bytes: &mut OwnBytes, element: &Encoded<'_>) {
    // SAFETY: the element writes as many bytes as it says.
    unsafe { bytes.extend_with(element.len(), |at| element.write(at)) };
}

#[inline]
fn push_int(bytes: &mut OwnBytes, number: i64) {
    match number {
        0..=0x7F => bytes.extend_from_slice(&[number as u8, 1]),
        _ => push(bytes, &Encoded::of_int(number)),
    }
}

#[inline]
fn push_text(bytes: &mut OwnBytes, text: &[u8]) {
    // What does not begin like a number is none, and short texts have one byte of length on either side.
    match text {
        [b'0'..=b'9' | b'-', ..] => push(bytes, &Encoded::of(text)),
        _ if text.len() < 64 => {
            bytes.push(0x80 | text.len() as u8);
            bytes.extend_from_slice(text);
            bytes.push(text.len() as u8 + 1);
        }
        _ => push(bytes, &Encoded::of(text)),
    }
}

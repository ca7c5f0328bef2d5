//! Blocks from outside. What is read of a block later relies on what is looked at here.

use std::fmt;

use super::{Block, Bytes, DELETED, SAME_FIELDS, StreamId, decode};
use crate::collection::listpack::{END, HEADER_BYTES, InvalidListpack, Item, Listpack, element_len_with_back};

/// These bytes are no block of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidBlock {
    /// Where.
    pub offset: usize,
    /// Why.
    pub reason: &'static str,
}

impl fmt::Display for InvalidBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid block at byte {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for InvalidBlock {}

impl From<InvalidListpack> for InvalidBlock {
    fn from(InvalidListpack { offset, reason }: InvalidListpack) -> InvalidBlock {
        InvalidBlock { offset, reason }
    }
}

impl Block {
    /// Takes over bytes from outside if they are a block.
    ///
    /// # Errors
    /// Why they are none.
    pub fn from_bytes(id: StreamId, bytes: &[u8]) -> Result<Block, InvalidBlock> {
        Listpack::check(bytes)?;
        let mut elements = Elements { bytes, at: HEADER_BYTES };
        let (live, deleted) = (elements.int()?, elements.int()?);
        let field_count = elements.number()?;
        elements.pass(field_count)?;
        if elements.int()? != 0 {
            return elements.wrong("the first entry has something before it");
        }
        let (mut live_seen, mut deleted_seen) = (0, 0);
        let (mut front, mut last) = (None, None);
        while bytes[elements.at] != END {
            let at = elements.at;
            // One byte, as they are written: deleting an entry sets a bit of it.
            let flags = bytes[at];
            if flags & !(DELETED | SAME_FIELDS) != 0 {
                return elements.wrong("an entry has flags that are not known");
            }
            elements.int()?;
            let (ms, seq) = (elements.int()?, elements.int()?);
            let entry_id = StreamId::new(id.ms.wrapping_add(ms as u64), id.seq.wrapping_add(seq as u64));
            if last.map_or(entry_id < id, |last| entry_id <= last) {
                return elements.wrong("the ids do not ascend");
            }
            last = Some(entry_id);
            let (fields, noted) = if flags & SAME_FIELDS != 0 {
                elements.pass(field_count)?;
                (field_count, field_count.checked_add(3))
            } else {
                let fields = elements.number()?;
                let texts = fields.checked_mul(2);
                elements.pass(texts.unwrap_or(usize::MAX))?;
                (fields, texts.and_then(|texts| texts.checked_add(4)))
            };
            if fields == 0 {
                return elements.wrong("an entry has no fields");
            }
            if Some(elements.number()?) != noted {
                return elements.wrong("an entry gives another number of elements");
            }
            if flags & DELETED != 0 {
                deleted_seen += 1;
            } else {
                live_seen += 1;
                front.get_or_insert(at);
            }
        }
        if last.is_none() {
            return elements.wrong("there is no entry");
        }
        if (live, deleted) != (live_seen, deleted_seen) {
            return Err(InvalidBlock { offset: HEADER_BYTES, reason: "other numbers of entries are noted" });
        }
        let front = u32::try_from(front.unwrap_or(elements.at)).expect("a listpack is smaller than 4 GiB");
        let mut own = Bytes::with_capacity(bytes.len());
        own.own().extend_from_slice(bytes);
        Ok(Block { id, front, bytes: own })
    }
}

/// The elements of a listpack that was checked.
struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Elements<'_> {
    fn wrong<T>(&self, reason: &'static str) -> Result<T, InvalidBlock> {
        Err(InvalidBlock { offset: self.at, reason })
    }

    fn int(&mut self) -> Result<i64, InvalidBlock> {
        if self.bytes[self.at] == END {
            return self.wrong("an entry is not complete");
        }
        let element = &self.bytes[self.at..];
        let (Item::Int(number), _) = decode(element) else {
            return self.wrong("a text stands where an integer belongs");
        };
        self.at += element_len_with_back(element);
        Ok(number)
    }

    /// How many there are of something.
    fn number(&mut self) -> Result<usize, InvalidBlock> {
        let number = self.int()?;
        usize::try_from(number).or_else(|_| self.wrong("a number is less than 0"))
    }

    fn pass(&mut self, count: usize) -> Result<(), InvalidBlock> {
        for _ in 0..count {
            if self.bytes[self.at] == END {
                return self.wrong("an entry is not complete");
            }
            self.at += element_len_with_back(&self.bytes[self.at..]);
        }
        Ok(())
    }
}

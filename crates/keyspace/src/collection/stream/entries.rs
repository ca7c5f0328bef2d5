//! The entries of a stream: the log without its readers.

mod build;

use std::cmp::Ordering;

use super::block::{BLOCK_BYTES_MAX, Block, Fields, Raw};
use super::id::StreamId;
use super::index::{Index, Place};
use crate::collection::limits::StreamLimits;

/// The entries in order, and what is remembered of those that are gone.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    blocks: Index,
    len: u64,
    last_id: StreamId,
    max_deleted_id: StreamId,
    added: u64,
}

/// An entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    block: &'a Block,
    raw: Raw,
}

impl<'a> Entry<'a> {
    pub fn id(&self) -> StreamId {
        self.raw.id
    }

    /// Fields and values, in the order they were added.
    pub fn fields(&self) -> Fields<'a> {
        self.block.fields(&self.raw)
    }
}

/// What trimming does to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delete,
    Keep,
    /// Keep it, and all that follow.
    Stop,
}

impl Entries {
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The id of the last entry that was added, or what XSETID made of it.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The greatest id of an entry that was deleted by name.
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// How many entries were ever added.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// The id of the first entry, 0-0 if there is none.
    pub fn first_id(&self) -> StreamId {
        self.blocks.iter().find_map(Block::first).map_or(StreamId::MIN, |raw| raw.id)
    }

    /// What XSETID sets.
    pub fn set_last_id(&mut self, last_id: StreamId, added: Option<u64>, max_deleted_id: Option<StreamId>) {
        self.last_id = last_id;
        self.added = added.unwrap_or(self.added);
        self.max_deleted_id = max_deleted_id.unwrap_or(self.max_deleted_id);
    }

    /// Whether an entry of this id or a greater one was deleted by name, where entries are.
    pub fn has_deleted_from(&self, id: StreamId) -> bool {
        self.len > 0
            && self.max_deleted_id != StreamId::MIN
            && self.first_id() <= self.max_deleted_id
            && id <= self.max_deleted_id
    }

    /// How many entries were ever added up to this id, if that is known without counting. There must be entries.
    pub fn distance(&self, id: StreamId) -> Option<u64> {
        if id >= self.last_id {
            return (id == self.last_id).then_some(self.added);
        }
        let first = self.first_id();
        // As long as nothing was deleted among the entries, those before the first are those that are not there any more.
        if self.max_deleted_id >= first && self.max_deleted_id != StreamId::MIN {
            return None;
        }
        match id.cmp(&first) {
            Ordering::Less => Some(self.added.wrapping_sub(self.len)),
            Ordering::Equal => Some(self.added.wrapping_sub(self.len).wrapping_add(1)),
            Ordering::Greater => None,
        }
    }

    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// The blocks' listpacks with their ids, as RDB files hold them.
    pub fn blocks(&self) -> impl Iterator<Item = (StreamId, &[u8])> {
        self.blocks.iter().map(|block| (block.id(), block.bytes()))
    }

    /// How many nodes a compressed radix tree with the blocks' ids for its keys has: XINFO tells it.
    pub fn radix_nodes(&self) -> usize {
        self.blocks.radix_nodes()
    }

    /// Bytes allocated.
    pub fn memory_usage(&self, samples: usize) -> usize {
        let blocks = self.blocks.len();
        let looked_at = if samples == 0 { blocks } else { samples.min(blocks) };
        let bytes: usize = self.blocks.iter().take(looked_at).map(Block::memory_usage).sum();
        self.blocks.memory_usage()
            + if looked_at == 0 { 0 } else { (bytes as f64 / looked_at as f64 * blocks as f64) as usize }
    }

    /// Adds an entry of these fields and values, which alternate. Its id must follow the last one.
    pub fn append(&mut self, id: StreamId, pairs: &[&[u8]], limits: StreamLimits) {
        assert!(id > self.last_id, "ids ascend");
        assert!(!pairs.is_empty() && pairs.len().is_multiple_of(2), "fields have values");
        let block = match self.blocks.last_mut() {
            Some(block) if has_room(block, pairs, limits) => block,
            last => {
                if let Some(full) = last {
                    full.seal();
                }
                self.blocks.push(Block::new(id, pairs));
                self.blocks.last_mut().expect("it was added just now")
            }
        };
        block.append(id, pairs);
        self.len += 1;
        // A payload can say that as many were added as can be counted.
        self.added = self.added.wrapping_add(1);
        self.last_id = id;
    }

    /// The entry of this id.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        let block = self.blocks.get(self.blocks.covering(id)?);
        block.find(id).map(|raw| Entry { block, raw })
    }

    pub fn contains(&self, id: StreamId) -> bool {
        self.get(id).is_some()
    }

    /// The entries from `start` to `end`, both included.
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let place = if start > end { None } else { self.blocks.covering(start).or(self.blocks.first()) };
        let current = place.map(|place| {
            let block = self.blocks.get(place);
            (place, block, block.front())
        });
        Range { blocks: &self.blocks, current, start, end }
    }

    /// The same, backwards.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> RangeBack<'_> {
        let place = if start > end { None } else { self.blocks.covering(end) };
        let current = place.map(|place| {
            let block = self.blocks.get(place);
            (place, block, block.end())
        });
        RangeBack { blocks: &self.blocks, current, start, end }
    }

    /// The id of the last entry that is there.
    pub fn last_live_id(&self) -> Option<StreamId> {
        self.range_back(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id())
    }

    /// Deletes an entry. Says whether it was there.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some(place) = self.blocks.covering(id) else {
            return false;
        };
        let Some(raw) = self.blocks.get(place).find(id) else {
            return false;
        };
        self.blocks.get_mut(place).delete(&raw);
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        if self.blocks.get(place).is_spent() {
            self.blocks.remove(place);
        }
        true
    }

    /// What trimming asks about the first block: how many entries it has, and the id of its last one, deleted or not.
    pub(super) fn first_block(&self) -> Option<(u64, StreamId)> {
        let block = self.blocks.get(self.blocks.first()?);
        Some((block.counts().0 as u64, block.last().id))
    }

    /// Takes away the first block with all its entries.
    pub(super) fn remove_first_block(&mut self) {
        if let Some(place) = self.blocks.first() {
            self.len -= self.blocks.get(place).counts().0 as u64;
            self.blocks.remove(place);
        }
    }

    /// Goes through all entries from the first on, also deleted ones, and does as `judge` says. It is told each one, and how many entries there
    /// are.
    ///
    /// The block in which it stops stays even if nothing is left in it: so does Redis 8.2's.
    pub(super) fn delete_from_front(&mut self, mut judge: impl FnMut(&Raw, u64) -> Verdict) {
        let mut place = self.blocks.first();
        while let Some(current) = place {
            let block = self.blocks.get(current);
            let mut next = if block.is_spent() { Some(block.last()) } else { block.first() };
            while let Some(raw) = next {
                let block = self.blocks.get(current);
                next = match judge(&raw, self.len) {
                    Verdict::Keep => block.entry(block.after(&raw)),
                    Verdict::Delete => {
                        self.len -= 1;
                        let block = self.blocks.get_mut(current);
                        let at = block.delete(&raw);
                        block.entry(at)
                    }
                    Verdict::Stop => return,
                };
            }
            place = if self.blocks.get(current).is_spent() {
                self.blocks.remove(current)
            } else {
                self.blocks.next(current)
            };
        }
    }
}

/// Whether an entry goes into this block, or into one behind it.
fn has_room(block: &Block, pairs: &[&[u8]], limits: StreamLimits) -> bool {
    let bytes: usize = pairs.iter().map(|text| text.len()).sum();
    let bytes_max =
        if limits.node_bytes_max == 0 { BLOCK_BYTES_MAX } else { limits.node_bytes_max.min(BLOCK_BYTES_MAX) };
    let (live, deleted) = block.counts();
    // As observed of Redis 8.2: the entry's texts count, what encodes them does not, and deleted entries do.
    block.bytes().len() + bytes < bytes_max
        && (limits.node_entries_max == 0 || live + deleted < limits.node_entries_max)
}

/// See [`Entries::range`].
#[derive(Clone, Debug)]
pub struct Range<'a> {
    blocks: &'a Index,
    /// The block, and where in it the next entry begins.
    current: Option<(Place, &'a Block, usize)>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let (place, block, at) = self.current?;
            let Some(raw) = block.entry(at) else {
                self.current = self.blocks.next(place).map(|place| {
                    let block = self.blocks.get(place);
                    (place, block, block.front())
                });
                continue;
            };
            if raw.id > self.end {
                self.current = None;
                return None;
            }
            self.current = Some((place, block, block.after(&raw)));
            if !raw.deleted && raw.id >= self.start {
                return Some(Entry { block, raw });
            }
        }
    }
}

/// See [`Entries::range_back`].
#[derive(Clone, Debug)]
pub struct RangeBack<'a> {
    blocks: &'a Index,
    /// The block, and where in it the latest entry began.
    current: Option<(Place, &'a Block, usize)>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for RangeBack<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let (place, block, at) = self.current?;
            let Some(at) = block.before(at).filter(|&at| at >= block.front()) else {
                self.current = self.blocks.previous(place).map(|place| {
                    let block = self.blocks.get(place);
                    (place, block, block.end())
                });
                continue;
            };
            let raw = block.entry(at).expect("an entry is before the end");
            if raw.id < self.start {
                self.current = None;
                return None;
            }
            self.current = Some((place, block, at));
            if !raw.deleted && raw.id <= self.end {
                return Some(Entry { block, raw });
            }
        }
    }
}

//! Stream: a log of entries, and groups of consumers that read it.
//!
//! ```text
//! Stream ── Entries ── Index: runs of ── Block: a listpack of up to 100 entries
//!        └─ Groups ─── Group ─┬─ pending entries by id
//!                             └─ Consumer ── its pending ids
//! ```
//!
//! A clone shares all of this but the topmost level; whoever changes a block, a group or some pending entries copies just these.
//!
//! Ids only ascend, so entries are added to the last [block](block) and found by the blocks' [index](index). What readers ask is counted where
//! it changes (how many entries were ever added, the greatest id deleted), so that a group's lag is known without counting.

mod block;
mod by_id;
mod bytes;
mod entries;
mod groups;
mod id;
mod index;
mod trim;

use std::ops::{Deref, DerefMut, RangeInclusive};
use std::ptr::NonNull;

pub use self::block::{Fields, InvalidBlock};
pub use self::by_id::PendingIds;
pub use self::entries::{Entries, Entry, Range, RangeBack};
pub use self::groups::{Consumer, ConsumerId, Group, Groups, Pending};
pub use self::id::StreamId;
pub use self::trim::{References, Trim, TrimTo};
use super::{Code, Collection, box_from_raw, box_into_raw};

/// A log with its readers. Empty ones are kept: they know their last id and their groups.
#[derive(Clone, Debug, Default)]
pub struct Stream(Box<Parts>);

#[derive(Clone, Debug, Default)]
pub struct Parts {
    pub entries: Entries,
    pub groups: Groups,
}

impl Deref for Stream {
    type Target = Parts;

    #[inline]
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Stream {
    #[inline]
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl Stream {
    /// The same stream again, at little cost: 24 bytes for each 128 blocks of entries, and a pointer and a name for each group. What is large
    /// is shared, and copied piece by piece where either of the two is changed: a block of entries and 40 bytes for each of its 127
    /// neighbours; a group without its pending entries, and 128 of these.
    ///
    /// It may be read on another thread while this one is changed.
    pub fn share(&self) -> Stream {
        self.clone()
    }
}

impl Parts {
    /// Deletes an entry as XDELEX does. Says whether it was there, or nothing if it must stay.
    pub fn delete(&mut self, id: StreamId, references: References) -> Option<bool> {
        match references {
            References::Keep => {}
            // Also of an entry that is long gone.
            References::Delete => {
                self.groups.forget(id);
            }
            References::AckedOnly if self.groups.refer_to(id) => return None,
            References::AckedOnly => {}
        }
        Some(self.entries.delete(id))
    }
}

const CODE: Code = 10;

// SAFETY: one code, one encoding.
unsafe impl Collection for Stream {
    const TYPE_NAME: &'static str = "stream";
    const CODES: RangeInclusive<Code> = CODE..=CODE;

    fn into_parts(self) -> (Code, NonNull<u8>) {
        (CODE, box_into_raw(self.0))
    }

    unsafe fn from_parts(_code: Code, pointer: NonNull<u8>) -> Stream {
        // SAFETY: the caller's promise.
        Stream(unsafe { box_from_raw(pointer) })
    }

    fn encoding_name(&self) -> &'static str {
        "stream"
    }

    fn len(&self) -> usize {
        self.entries.len() as usize
    }

    fn memory_usage(&self, samples: usize) -> usize {
        size_of::<Parts>() + self.entries.memory_usage(samples) + self.groups.memory_usage()
    }

    fn duplicate(&self) -> Stream {
        self.clone()
    }

    fn free_cost(&self) -> usize {
        1 + self.entries.block_count() + self.groups.free_cost()
    }
}

//! Trimming: taking entries away from the beginning of a stream.

use super::Parts;
use super::entries::Verdict;
use super::id::StreamId;

/// Which entries stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimTo {
    /// The last so many.
    MaxLen(u64),
    /// Those from this id on.
    MinId(StreamId),
}

/// What becomes of the groups' references to entries that are deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum References {
    /// They stay, and lead nowhere.
    #[default]
    Keep,
    /// They go too.
    Delete,
    /// Entries that a group has not read or not acknowledged stay.
    AckedOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    pub to: TrimTo,
    /// Whole blocks only.
    pub approximate: bool,
    /// No more entries than this; 0: any number. Only where whole blocks go.
    pub limit: u64,
    pub references: References,
}

impl Parts {
    /// Deletes entries from the beginning. Returns how many.
    pub fn trim(&mut self, trim: &Trim) -> u64 {
        let before = self.entries.len();
        if trim.references == References::Keep {
            self.trim_blocks(trim);
        }
        // With `~`, Redis 8.2 leaves everything where references must be looked at: no block can go unseen.
        if !trim.approximate {
            self.trim_entries(trim);
        }
        before - self.entries.len()
    }

    fn trim_blocks(&mut self, trim: &Trim) {
        let mut deleted = 0;
        while let Some((count, last_id)) = self.entries.first_block() {
            let goes = match trim.to {
                TrimTo::MaxLen(len) => self.entries.len() > len && self.entries.len() - count >= len,
                TrimTo::MinId(id) => last_id < id,
            };
            deleted += count;
            if !goes || trim.limit > 0 && deleted > trim.limit {
                return;
            }
            self.entries.remove_first_block();
        }
    }

    fn trim_entries(&mut self, trim: &Trim) {
        let Parts { entries, groups } = self;
        entries.delete_from_front(|entry, len| {
            let done = match trim.to {
                TrimTo::MaxLen(len_max) => !entry.deleted && len <= len_max,
                TrimTo::MinId(min_id) => entry.id >= min_id,
            };
            match trim.references {
                _ if done => Verdict::Stop,
                _ if entry.deleted => Verdict::Keep,
                References::Keep => Verdict::Delete,
                References::Delete => {
                    groups.forget(entry.id);
                    Verdict::Delete
                }
                References::AckedOnly if groups.refer_to(entry.id) => Verdict::Keep,
                References::AckedOnly => Verdict::Delete,
            }
        });
    }
}

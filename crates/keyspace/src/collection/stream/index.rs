//! The blocks of a stream in the order of their ids.
//!
//! A deque of runs of up to 128 blocks. Nearly everything happens at its ends: entries are added behind the last block, and trimming takes
//! away the first. A block in between goes when its last entry is deleted; that moves its run's rest, and never the whole stream.
//! (A B+tree of the standard library was the alternative: its leaves stay half full when keys come in order.)

use std::collections::VecDeque;

use super::block::Block;
use super::id::StreamId;

const RUN_BLOCKS_MAX: usize = 128;

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// None is empty.
    runs: VecDeque<Vec<Block>>,
    len: usize,
}

/// The place of a block. Adding one at the end leaves it valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    run: usize,
    slot: usize,
}

impl Index {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, place: Place) -> &Block {
        &self.runs[place.run][place.slot]
    }

    pub fn get_mut(&mut self, place: Place) -> &mut Block {
        &mut self.runs[place.run][place.slot]
    }

    pub fn first(&self) -> Option<Place> {
        (self.len > 0).then_some(Place { run: 0, slot: 0 })
    }

    #[inline]
    pub fn last_mut(&mut self) -> Option<&mut Block> {
        self.runs.back_mut()?.last_mut()
    }

    pub fn next(&self, place: Place) -> Option<Place> {
        let next = Place { slot: place.slot + 1, ..place };
        if next.slot < self.runs[place.run].len() {
            return Some(next);
        }
        (place.run + 1 < self.runs.len()).then_some(Place { run: place.run + 1, slot: 0 })
    }

    pub fn previous(&self, place: Place) -> Option<Place> {
        match place {
            Place { run: 0, slot: 0 } => None,
            Place { run, slot: 0 } => Some(Place { run: run - 1, slot: self.runs[run - 1].len() - 1 }),
            Place { run, slot } => Some(Place { run, slot: slot - 1 }),
        }
    }

    /// The block that an entry of this id is in if it is anywhere: the last one whose id is not greater.
    pub fn covering(&self, id: StreamId) -> Option<Place> {
        let run = self.runs.partition_point(|run| run[0].id() <= id).checked_sub(1)?;
        let slot = self.runs[run].partition_point(|block| block.id() <= id) - 1;
        Some(Place { run, slot })
    }

    /// Adds a block behind the last one.
    pub fn push(&mut self, block: Block) {
        match self.runs.back_mut() {
            Some(run) if run.len() < RUN_BLOCKS_MAX => run.push(block),
            _ => {
                // The first run of a stream grows as it needs; the others will be filled.
                let mut run = Vec::with_capacity(if self.len == 0 { 1 } else { RUN_BLOCKS_MAX });
                run.push(block);
                self.runs.push_back(run);
            }
        }
        self.len += 1;
    }

    /// Takes a block away. Returns the place of the one that followed it.
    pub fn remove(&mut self, place: Place) -> Option<Place> {
        let run = &mut self.runs[place.run];
        run.remove(place.slot);
        self.len -= 1;
        let left = run.len();
        if left == 0 {
            self.runs.remove(place.run);
            return (place.run < self.runs.len()).then_some(Place { slot: 0, ..place });
        }
        if left * 4 < run.capacity() {
            run.shrink_to(left * 2);
        }
        if place.slot < left {
            return Some(place);
        }
        (place.run + 1 < self.runs.len()).then_some(Place { run: place.run + 1, slot: 0 })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Block> {
        self.runs.iter().flatten()
    }

    /// Bytes allocated beside the blocks' own.
    pub fn memory_usage(&self) -> usize {
        self.runs.capacity() * size_of::<Vec<Block>>()
            + self.runs.iter().map(|run| run.capacity() * size_of::<Block>()).sum::<usize>()
    }
}

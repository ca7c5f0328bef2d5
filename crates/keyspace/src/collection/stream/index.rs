//! The blocks of a stream in the order of their ids.
//!
//! A deque of runs of up to 128 blocks. Nearly everything happens at its ends: entries are added behind the last block, and trimming takes
//! away the first. A block in between goes when its last entry is deleted; that moves its run's rest, and never the whole stream.
//! Runs are shared by the index's clones; whoever changes a block copies its run, whose blocks the two have in common from then on, and
//! that block's bytes.
//! (A B+tree of the standard library was the alternative: its leaves stay half full when keys come in order.)

use std::collections::VecDeque;

use triomphe::Arc;

use super::block::Block;
use super::id::StreamId;

const RUN_BLOCKS_MAX: usize = 128;

#[derive(Clone, Debug)]
struct Run {
    /// The id of its first block.
    id: StreamId,
    /// Not empty.
    blocks: Arc<Vec<Block>>,
}

impl Run {
    #[inline]
    fn blocks_mut(&mut self) -> &mut Vec<Block> {
        Arc::make_mut(&mut self.blocks)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    runs: VecDeque<Run>,
    len: usize,
    /// See [`Index::radix_nodes`]; without the root of an empty tree.
    radix_nodes: usize,
}

/// The place of a block. Adding one at the end leaves it valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    run: usize,
    slot: usize,
}

/// Ids are keys of a radix tree as so many bytes.
const KEY_BYTES: usize = 16;

/// The least and the greatest id whose key begins with these `len` bytes.
fn ends_of_prefix(key: [u8; KEY_BYTES], len: usize) -> (StreamId, StreamId) {
    let filled = |byte: u8| {
        let mut bytes = key;
        bytes[len..].fill(byte);
        let number = u128::from_be_bytes(bytes);
        StreamId::new((number >> 64) as u64, number as u64)
    };
    (filled(0), filled(0xFF))
}

impl Index {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, place: Place) -> &Block {
        &self.runs[place.run].blocks[place.slot]
    }

    pub fn get_mut(&mut self, place: Place) -> &mut Block {
        &mut self.runs[place.run].blocks_mut()[place.slot]
    }

    pub fn first(&self) -> Option<Place> {
        (self.len > 0).then_some(Place { run: 0, slot: 0 })
    }

    #[inline]
    pub fn last_mut(&mut self) -> Option<&mut Block> {
        self.runs.back_mut()?.blocks_mut().last_mut()
    }

    pub fn next(&self, place: Place) -> Option<Place> {
        let next = Place { slot: place.slot + 1, ..place };
        if next.slot < self.runs[place.run].blocks.len() {
            return Some(next);
        }
        (place.run + 1 < self.runs.len()).then_some(Place { run: place.run + 1, slot: 0 })
    }

    pub fn previous(&self, place: Place) -> Option<Place> {
        match place {
            Place { run: 0, slot: 0 } => None,
            Place { run, slot: 0 } => Some(Place { run: run - 1, slot: self.runs[run - 1].blocks.len() - 1 }),
            Place { run, slot } => Some(Place { run, slot: slot - 1 }),
        }
    }

    /// The block that an entry of this id is in if it is anywhere: the last one whose id is not greater.
    pub fn covering(&self, id: StreamId) -> Option<Place> {
        let run = self.runs.partition_point(|run| run.id <= id).checked_sub(1)?;
        let slot = self.runs[run].blocks.partition_point(|block| block.id() <= id) - 1;
        Some(Place { run, slot })
    }

    /// Adds a block behind the last one.
    pub fn push(&mut self, block: Block) {
        let id = block.id();
        let is_first_run = self.runs.len() == 1;
        match self.runs.back_mut() {
            Some(run) if run.blocks.len() < RUN_BLOCKS_MAX => {
                let blocks = run.blocks_mut();
                // What was copied to be changed has no room.
                if !is_first_run && blocks.len() == blocks.capacity() {
                    blocks.reserve_exact(RUN_BLOCKS_MAX - blocks.len());
                }
                blocks.push(block);
            }
            _ => {
                // The first run of a stream grows as it needs; the others will be filled.
                let mut blocks = Vec::with_capacity(if self.len == 0 { 1 } else { RUN_BLOCKS_MAX });
                blocks.push(block);
                if self.runs.is_empty() {
                    self.runs.reserve_exact(1);
                }
                self.runs.push_back(Run { id, blocks: Arc::new(blocks) });
            }
        }
        self.len += 1;
        self.radix_nodes += self.radix_nodes_of(id);
    }

    /// Takes a block away. Returns the place of the one that followed it.
    pub fn remove(&mut self, place: Place) -> Option<Place> {
        self.radix_nodes -= self.radix_nodes_of(self.get(place).id());
        let run = &mut self.runs[place.run];
        self.len -= 1;
        let left = run.blocks.len() - 1;
        if left == 0 {
            self.runs.remove(place.run);
            return (place.run < self.runs.len()).then_some(Place { slot: 0, ..place });
        }
        let blocks = run.blocks_mut();
        blocks.remove(place.slot);
        if left * 4 < blocks.capacity() {
            blocks.shrink_to(left * 2);
        }
        run.id = blocks[0].id();
        if place.slot < left {
            return Some(place);
        }
        (place.run + 1 < self.runs.len()).then_some(Place { run: place.run + 1, slot: 0 })
    }

    /// How many nodes a compressed radix tree with the blocks' ids for its keys has. Each key has a leaf, each place where keys part is a node,
    /// and what lies between two of them, if anything, is one more.
    pub fn radix_nodes(&self) -> usize {
        self.radix_nodes.max(1)
    }

    /// How many of them are there because of this block's id: what the tree gains by it. O(log blocks).
    fn radix_nodes_of(&self, id: StreamId) -> usize {
        let key = id.to_be_bytes();
        let shared = |other: StreamId| key.iter().zip(&other.to_be_bytes()).take_while(|(a, b)| a == b).count();
        let between = |upper: Option<usize>, lower: usize| usize::from(upper.map_or(0, |depth| depth + 1) < lower);
        // Where its path parts from that of its nearest neighbour.
        let Some(fork) = self.ids_beside(id, id).into_iter().flatten().map(shared).max() else {
            return 1 + between(None, KEY_BYTES);
        };
        let own = 1 + between(Some(fork), KEY_BYTES);
        // The ids that share the path down to there, but for this one: they part there themselves, or the fork is this id's.
        let (low, high) = ends_of_prefix(key, fork);
        let first =
            if shared(self.id_from(low)) == KEY_BYTES { self.ids_beside(id, id)[1] } else { Some(self.id_from(low)) };
        let last = if shared(self.id_up_to(high)) == KEY_BYTES {
            self.ids_beside(id, id)[0]
        } else {
            Some(self.id_up_to(high))
        };
        let (first, last) = (first.expect("a neighbour"), last.expect("a neighbour"));
        let parting = first.to_be_bytes().iter().zip(&last.to_be_bytes()).take_while(|(a, b)| a == b).count();
        if parting == fork {
            return own;
        }
        let above = self.ids_beside(low, high).into_iter().flatten().map(shared).max();
        own + 1 + between(above, fork) + between(Some(fork), parting) - between(above, parting)
    }

    /// The id before the first one and that behind the last one of an interval.
    fn ids_beside(&self, first: StreamId, last: StreamId) -> [Option<StreamId>; 2] {
        let before = first.previous().and_then(|id| self.covering(id));
        let behind = match self.covering(last) {
            Some(place) => self.next(place),
            None => self.first(),
        };
        [before, behind].map(|place| place.map(|place| self.get(place).id()))
    }

    /// The first id that is not less than this one, of which there is one.
    fn id_from(&self, id: StreamId) -> StreamId {
        let before = id.previous().and_then(|id| self.covering(id));
        let place = before.map_or(self.first(), |place| self.next(place));
        self.get(place.expect("there is one")).id()
    }

    /// The last id that is not greater than this one, of which there is one.
    fn id_up_to(&self, id: StreamId) -> StreamId {
        self.get(self.covering(id).expect("there is one")).id()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Block> {
        self.runs.iter().flat_map(|run| run.blocks.iter())
    }

    /// Bytes allocated beside the blocks' own.
    pub fn memory_usage(&self) -> usize {
        let run_bytes =
            |run: &Run| size_of::<usize>() + size_of::<Vec<Block>>() + run.blocks.capacity() * size_of::<Block>();
        self.runs.capacity() * size_of::<Run>() + self.runs.iter().map(run_bytes).sum::<usize>()
    }
}

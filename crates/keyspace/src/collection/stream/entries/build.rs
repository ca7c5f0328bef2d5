//! Entries from files: block by block.

use super::{Block, Entries, StreamId};
use crate::collection::stream::InvalidBlock;

impl Entries {
    /// Adds a block from a file behind the last one. What is remembered of entries that are gone is to be set at the end
    /// ([`set_last_id`](Self::set_last_id)).
    ///
    /// # Errors
    /// Why it is no block, or none that can follow.
    pub fn push_block(&mut self, id: StreamId, bytes: &[u8]) -> Result<(), InvalidBlock> {
        let block = Block::from_bytes(id, bytes)?;
        if self.blocks.first().is_some() && id <= self.last_id {
            return Err(InvalidBlock { offset: 0, reason: "its id does not follow the block's before it" });
        }
        let live = block.counts().0 as u64;
        self.last_id = block.last().id;
        self.len += live;
        self.added += live;
        self.blocks.push(block);
        Ok(())
    }
}

//! One stream of bytes with offsets: blocks, who still needs them, which database is selected at its end.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::batch::{Part, encode_select};
use crate::block::{BLOCK_BYTES, Block, Chunk};

/// Blocks kept for use again at least. Under a steady load the same few go round.
const SPARE_BLOCKS_MIN: usize = 4;

pub(crate) struct Stream {
    /// The offset of each block's first byte, ascending, without gaps. Nobody needs what lies before the first.
    blocks: VecDeque<(u64, Arc<Block>)>,
    /// Behind the last byte.
    end: u64,
    /// Units so far.
    units: u64,
    /// The database that is selected at the end; none where a reader begins, who cannot know.
    db: Option<u32>,
    /// The second that was last annotated.
    annotated_second: Option<u64>,
    /// The offset up to which each reader has let go.
    readers: Vec<Option<u64>>,
    spare: Vec<Arc<Block>>,
    spare_blocks_max: usize,
    /// So many of the spare ones nobody has needed since they were last [trimmed](Self::trim_spare).
    spare_needless: usize,
    /// SELECT and annotation of one append.
    head: Vec<u8>,
}

impl Stream {
    pub(crate) fn new() -> Stream {
        Stream {
            blocks: VecDeque::new(),
            end: 0,
            units: 0,
            db: None,
            annotated_second: None,
            readers: Vec::new(),
            spare: Vec::new(),
            spare_blocks_max: SPARE_BLOCKS_MIN,
            spare_needless: 0,
            head: Vec::new(),
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn units(&self) -> u64 {
        self.units
    }

    /// The first offset that can still be read.
    pub(crate) fn begin(&self) -> u64 {
        self.blocks.front().map_or(self.end, |(begin, _)| *begin)
    }

    /// Puts the part of a batch behind the end, and whatever has to stand before it.
    pub(crate) fn append(&mut self, part: &mut Part, annotate_second: Option<u64>) {
        self.head.clear();
        if let Some(second) = annotate_second.filter(|&second| self.annotated_second != Some(second)) {
            self.annotated_second = Some(second);
            self.head.extend_from_slice(b"#TS:");
            self.head.extend_from_slice(itoa::Buffer::new().format(second).as_bytes());
            self.head.extend_from_slice(b"\r\n");
        }
        if self.db != Some(part.first_db) {
            encode_select(&mut self.head, part.first_db);
        }
        self.db = Some(part.db);
        self.units += part.units;
        if !self.head.is_empty() {
            let head = std::mem::take(&mut self.head);
            self.extend(&head);
            self.head = head;
        }
        self.extend(&part.bytes);
        part.clear();
    }

    fn extend(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (at, room) = self.blocks.back().map_or((0, 0), |(begin, block)| {
                let at = (self.end - begin) as usize;
                (at, block.capacity() - at)
            });
            if room == 0 {
                let block = match self.spare.pop() {
                    Some(block) if bytes.len() <= BLOCK_BYTES => {
                        self.spare_needless = self.spare_needless.min(self.spare.len());
                        block
                    }
                    _ => Arc::new(Block::new(bytes.len().max(BLOCK_BYTES))),
                };
                self.blocks.push_back((self.end, block));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            let (_, block) = self.blocks.back().expect("there is room in it");
            // SAFETY: `&mut self` makes this the only fill, and chunks are made by `read` up to `end` only, which is `at` here.
            unsafe { block.fill(at, now) };
            self.end += now.len() as u64;
            bytes = later;
        }
    }

    /// Puts bytes behind the end that another server has made: whole units. Which database they leave selected is not known here.
    pub(crate) fn append_raw(&mut self, bytes: &[u8]) {
        self.extend(bytes);
        self.db = None;
    }

    /// Begins anew at this offset, with nothing before it.
    ///
    /// # Panics
    /// When there are readers, who would lose their place.
    pub(crate) fn begin_at(&mut self, offset: u64) {
        assert!(!self.has_readers(), "a stream with readers goes on");
        self.blocks.clear();
        self.end = offset;
        self.cut();
    }

    /// What comes next can be understood without what went before: it begins with a SELECT (and an annotation).
    pub(crate) fn cut(&mut self) -> u64 {
        self.db = None;
        self.annotated_second = None;
        self.end
    }

    /// A reader that begins at `offset`; its number.
    ///
    /// # Panics
    /// When the offset is not in memory.
    pub(crate) fn add_reader(&mut self, offset: u64) -> usize {
        assert!((self.begin()..=self.end).contains(&offset), "{offset} is not in the stream");
        match self.readers.iter().position(Option::is_none) {
            Some(number) => {
                self.readers[number] = Some(offset);
                number
            }
            None => {
                self.readers.push(Some(offset));
                self.readers.len() - 1
            }
        }
    }

    pub(crate) fn remove_reader(&mut self, number: usize) {
        assert!(self.readers[number].take().is_some(), "a reader leaves once");
        self.free();
    }

    pub(crate) fn has_readers(&self) -> bool {
        self.readers.iter().any(Option::is_some)
    }

    /// Where the reader has let go of everything before.
    pub(crate) fn released(&self, number: usize) -> u64 {
        self.readers[number].expect("a reader that is there")
    }

    /// The reader needs nothing before `offset` any more.
    pub(crate) fn release(&mut self, number: usize, offset: u64) {
        let released = self.readers[number].as_mut().expect("a reader that is there");
        assert!(*released <= offset && offset <= self.end, "a reader goes forward, and not past the end");
        *released = offset;
        self.free();
    }

    fn free(&mut self) {
        // A block whose last byte is needed by nobody goes; one with room left stays while there are readers.
        let needed = self.readers.iter().flatten().min().copied().unwrap_or(u64::MAX);
        while let Some((begin, block)) = self.blocks.front() {
            if begin + block.capacity() as u64 > needed {
                break;
            }
            let (_, block) = self.blocks.pop_front().expect("looked at above");
            self.keep_spare(block);
        }
    }

    /// So much is kept for use again from now on; what is not to be kept any more.
    #[must_use]
    pub(crate) fn keep_spare_bytes(&mut self, bytes: u64) -> Vec<Arc<Block>> {
        self.spare_blocks_max = SPARE_BLOCKS_MIN.max((bytes / BLOCK_BYTES as u64) as usize);
        self.spare.split_off(self.spare.len().min(self.spare_blocks_max))
    }

    /// Those that were not needed since this was last called, but for a few. They are at the bottom: what was given back last is used first.
    #[must_use]
    pub(crate) fn trim_spare(&mut self) -> Vec<Arc<Block>> {
        let needless = self.spare_needless.min(self.spare.len().saturating_sub(SPARE_BLOCKS_MIN));
        let needless = self.spare.drain(..needless).collect();
        self.spare_needless = self.spare.len();
        needless
    }

    /// Whether there are more spare ones than are always kept.
    pub(crate) fn has_spare_to_trim(&self) -> bool {
        self.spare.len() > SPARE_BLOCKS_MIN
    }

    #[cfg(test)]
    pub(crate) fn spare_blocks(&self) -> usize {
        self.spare.len()
    }

    fn keep_spare(&mut self, mut block: Arc<Block>) {
        // Only a block that nobody reads may be written from its beginning again.
        if self.spare.len() < self.spare_blocks_max
            && block.capacity() == BLOCK_BYTES
            && Arc::get_mut(&mut block).is_some()
        {
            self.spare.push(block);
        }
    }

    /// Adds what lies from `from` on, up to `to` and about `bytes_max`, to `chunks`; says where that ends.
    ///
    /// # Panics
    /// When `from` is not in memory.
    pub(crate) fn read(&self, from: u64, to: u64, bytes_max: usize, chunks: &mut Vec<Chunk>) -> u64 {
        assert!(self.begin() <= from && from <= self.end, "{from} is not in the stream");
        let to = to.min(self.end).min(from.saturating_add(bytes_max as u64));
        let mut at = from;
        let mut index = self.blocks.partition_point(|(begin, _)| *begin <= from).saturating_sub(1);
        while at < to {
            let (begin, block) = &self.blocks[index];
            let end = to.min(begin + block.capacity() as u64);
            // SAFETY: all bytes up to `end` of the stream were filled, and what is filled later lies behind that.
            chunks.push(unsafe { Chunk::new(block.clone(), (at - begin) as usize..(end - begin) as usize) });
            at = end;
            index += 1;
        }
        at
    }
}

//! The stream of replication, as far as it is kept.

use std::collections::VecDeque;

use replication::Log;

#[derive(Clone, Debug, Default)]
pub(crate) struct StreamLog {
    /// `None`: nothing is kept and nothing counted.
    first: Option<u64>,
    end: u64,
    bytes: VecDeque<u8>,
    /// Ends of units, with the data's sum there: the truth that a node's machine does not know.
    marks: VecDeque<(u64, u64)>,
}

impl StreamLog {
    pub(crate) fn view(&self) -> Log {
        Log { first: self.first, end: self.end }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.first
    }

    pub(crate) fn begin(&mut self, offset: u64, sum: u64) {
        *self = StreamLog {
            first: Some(offset),
            end: offset,
            bytes: VecDeque::new(),
            marks: VecDeque::from([(offset, sum)]),
        };
    }

    pub(crate) fn forget(&mut self) {
        self.first = None;
        self.bytes.clear();
        self.marks.clear();
    }

    pub(crate) fn append(&mut self, bytes: &[u8], sum: u64) {
        if self.first.is_none() {
            return;
        }
        self.bytes.extend(bytes);
        self.end += bytes.len() as u64;
        self.marks.push_back((self.end, sum));
    }

    /// At most `max` bytes from `from` on; none if that is not kept any more.
    pub(crate) fn read(&self, from: u64, max: usize) -> Option<Vec<u8>> {
        let skip = from.checked_sub(self.first?)?;
        Some(self.bytes.iter().skip(usize::try_from(skip).ok()?).take(max).copied().collect())
    }

    pub(crate) fn trim(&mut self, to: u64) {
        let Some(first) = &mut self.first else { return };
        if to > *first {
            self.bytes.drain(..usize::try_from(to - *first).unwrap_or(usize::MAX).min(self.bytes.len()));
            *first = to.min(self.end);
            let first = *first;
            while self.marks.front().is_some_and(|(offset, _)| *offset < first) {
                self.marks.pop_front();
            }
        }
    }

    /// The data's sum at this offset, if a unit ends there that is still kept.
    pub(crate) fn sum_at(&self, offset: u64) -> Option<u64> {
        let place = self.marks.binary_search_by_key(&offset, |(offset, _)| *offset).ok()?;
        Some(self.marks[place].1)
    }
}

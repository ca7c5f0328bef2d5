//! A few elements that lie near a random position: what eviction chooses among.

use super::directory::segment_end;
use super::segment::SegmentRef;
use super::{Element, Table};
use crate::prefetch::prefetch;

impl<E: Element> Table<E> {
    /// Asks for the elements that [`sample`](Self::sample) would visit first; the bucket's own line should have arrived.
    #[inline]
    pub(crate) fn prefetch_sample(&self, position: u64) {
        let segment = self.directory.segment(position);
        if !segment.is_none() {
            let home = segment.home(segment.tag_of(position));
            // SAFETY: segments in the directory are live, and the table is borrowed; likewise below.
            let words = unsafe { (*segment.bucket(home)).words };
            words.iter().filter(|word| !word.is_empty()).for_each(|word| prefetch(word.address()));
        }
    }

    /// Visits about `count` elements from a position on, by whole home buckets and from the end on to the beginning.
    pub(crate) fn sample(&self, position: u64, count: usize, mut visit: impl FnMut(E)) {
        let mut visited = 0;
        self.walk(position, count, |_, element| {
            visited += 1;
            visit(element);
        });
        // Less than wanted is all behind the position, so that no more than all the others are visited here, and none twice.
        let left = count.min(self.len).saturating_sub(visited);
        if left > 0 {
            self.walk(0, left, |_, element| visit(element));
        }
    }

    /// The same for elements with an expiry of their own. Segments without such are passed by their header, words by their bit.
    pub(crate) fn sample_volatile(&self, position: u64, count: usize, mut visit: impl FnMut(E)) {
        if self.volatile == 0 {
            return;
        }
        let (mut visited, mut position, mut wrapped) = (0, position, false);
        let first = self.directory.segment(position);
        loop {
            let segment = self.directory.segment(position);
            visited += Self::sample_volatile_segment(segment, position, count - visited, &mut visit);
            if visited >= count {
                return;
            }
            position = match segment_end(position, segment) {
                Some(next) => next,
                None if wrapped => return,
                None => {
                    wrapped = true;
                    0
                }
            };
            if wrapped && self.directory.segment(position) == first {
                return;
            }
        }
    }

    fn sample_volatile_segment(segment: SegmentRef, position: u64, count: usize, visit: &mut impl FnMut(E)) -> usize {
        // SAFETY: as above.
        if unsafe { (*segment.header()).volatile } == 0 {
            return 0;
        }
        let home = segment.home(segment.tag_of(position));
        let mut visited = 0;
        for step in 0..segment.buckets() {
            // SAFETY: as above.
            for (_, word, _) in unsafe { segment.words_in(segment.bucket_after(home, step)) } {
                if word.is_volatile() && Self::element(word).expire_at().is_some() {
                    visited += 1;
                    visit(Self::element(word));
                }
            }
            if visited >= count {
                break;
            }
        }
        visited
    }
}

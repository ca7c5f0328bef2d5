//! Pending entries by id: a map in runs of up to 128 entries, which a clone shares.
//!
//! ```text
//! runs     [ first id, entries | first id, entries | ... ]
//!                        │                    │
//! entries  [ (id, value) (id, value) ... ]  [ ... ]        in order
//! ```
//!
//! Ids mostly come behind the last one and are acknowledged from the first one on: both change the runs at the ends. (The standard library's
//! B-tree was the alternative. Its leaves stay half full when keys come in order, and its clone copies every entry.)

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use triomphe::Arc;

use super::id::StreamId;

const RUN_ENTRIES_MAX: usize = 128;

#[derive(Clone, Debug)]
struct Run<V> {
    first: StreamId,
    /// Not empty.
    entries: Arc<Vec<(StreamId, V)>>,
}

impl<V> Run<V> {
    fn find(&self, id: StreamId) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&id, |(id, _)| *id)
    }
}

#[derive(Clone, Debug)]
pub(super) struct ById<V> {
    runs: VecDeque<Run<V>>,
    len: usize,
}

impl<V> Default for ById<V> {
    fn default() -> ById<V> {
        ById { runs: VecDeque::new(), len: 0 }
    }
}

impl<V: Clone> ById<V> {
    pub fn len(&self) -> usize {
        self.len
    }

    /// The run that has this id if any has: the last one that does not begin behind it.
    fn covering(&self, id: StreamId) -> Option<usize> {
        self.runs.partition_point(|run| run.first <= id).checked_sub(1)
    }

    fn find(&self, id: StreamId) -> Option<(usize, usize)> {
        let run = self.covering(id)?;
        Some((run, self.runs[run].find(id).ok()?))
    }

    pub fn get(&self, id: StreamId) -> Option<&V> {
        let (run, nth) = self.find(id)?;
        Some(&self.runs[run].entries[nth].1)
    }

    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut V> {
        let (run, nth) = self.find(id)?;
        Some(&mut Arc::make_mut(&mut self.runs[run].entries)[nth].1)
    }

    /// Returns what was there.
    pub fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        let mut number = self.covering(id).unwrap_or(0);
        let is_last = number + 1 == self.runs.len();
        let Some(run) = self.runs.get_mut(number) else {
            self.push_run(0, vec![(id, value)]);
            return None;
        };
        let mut nth = match run.find(id) {
            Ok(nth) => return Some(std::mem::replace(&mut Arc::make_mut(&mut run.entries)[nth].1, value)),
            Err(nth) => nth,
        };
        if run.entries.len() == RUN_ENTRIES_MAX {
            if nth == RUN_ENTRIES_MAX && is_last {
                // Behind the last one: this run stays full.
                self.push_run(number + 1, vec![(id, value)]);
                return None;
            }
            let tail = Arc::make_mut(&mut run.entries).split_off(RUN_ENTRIES_MAX / 2);
            self.runs.insert(number + 1, Run { first: tail[0].0, entries: Arc::new(tail) });
            if nth > RUN_ENTRIES_MAX / 2 {
                (number, nth) = (number + 1, nth - RUN_ENTRIES_MAX / 2);
            }
        }
        let run = &mut self.runs[number];
        Arc::make_mut(&mut run.entries).insert(nth, (id, value));
        run.first = run.entries[0].0;
        self.len += 1;
        None
    }

    fn push_run(&mut self, number: usize, entries: Vec<(StreamId, V)>) {
        self.len += entries.len();
        self.runs.insert(number, Run { first: entries[0].0, entries: Arc::new(entries) });
    }

    pub fn remove(&mut self, id: StreamId) -> Option<V> {
        let (number, nth) = self.find(id)?;
        let run = &mut self.runs[number];
        let entries = Arc::make_mut(&mut run.entries);
        let (_, value) = entries.remove(nth);
        self.len -= 1;
        let left = entries.len();
        if left == 0 {
            self.runs.remove(number);
            if self.runs.capacity() / 4 > self.runs.len().max(4) {
                self.runs.shrink_to(2 * self.runs.len());
            }
            return Some(value);
        }
        if left * 4 < entries.capacity() {
            entries.shrink_to(left * 2);
        }
        run.first = run.entries[0].0;
        if left < RUN_ENTRIES_MAX / 4 {
            self.join(number);
            if let Some(before) = number.checked_sub(1) {
                self.join(before);
            }
        }
        Some(value)
    }

    /// Joins a run with the next one, if they are half a run at most.
    fn join(&mut self, number: usize) {
        if let Some(next) = self.runs.get(number + 1)
            && self.runs[number].entries.len() + next.entries.len() <= RUN_ENTRIES_MAX / 2
        {
            let next = self.runs.remove(number + 1).expect("it was looked at");
            Arc::make_mut(&mut self.runs[number].entries).extend_from_slice(&next.entries);
        }
    }

    pub fn range(&self, ids: impl RangeBounds<StreamId>) -> impl DoubleEndedIterator<Item = (&StreamId, &V)> {
        let start = ids.start_bound().cloned();
        let end = ids.end_bound().cloned();
        let is_before = move |id: StreamId| match start {
            Bound::Included(start) => id < start,
            Bound::Excluded(start) => id <= start,
            Bound::Unbounded => false,
        };
        let is_up_to = move |id: StreamId| match end {
            Bound::Included(end) => id <= end,
            Bound::Excluded(end) => id < end,
            Bound::Unbounded => true,
        };
        // The first run may begin before the range; a range that ends before it starts has no run, or one of which it takes nothing.
        let from = self.runs.partition_point(|run| is_before(run.first)).saturating_sub(1);
        let to = self.runs.partition_point(|run| is_up_to(run.first)).max(from);
        self.runs.range(from..to).flat_map(move |run| {
            let from = run.entries.partition_point(|(id, _)| is_before(*id));
            let to = run.entries.partition_point(|(id, _)| is_up_to(*id)).max(from);
            run.entries[from..to].iter().map(|(id, value)| (id, value))
        })
    }

    /// Bytes allocated.
    pub fn memory_usage(&self) -> usize {
        let run_bytes = |run: &Run<V>| {
            size_of::<usize>() + size_of::<Vec<(StreamId, V)>>() + run.entries.capacity() * size_of::<(StreamId, V)>()
        };
        self.runs.capacity() * size_of::<Run<V>>() + self.runs.iter().map(run_bytes).sum::<usize>()
    }

    /// Allocations that freeing it takes, roughly.
    pub fn free_cost(&self) -> usize {
        2 * self.runs.len()
    }
}

/// The ids of a consumer's pending entries, in order.
#[derive(Clone, Debug, Default)]
pub struct PendingIds(ById<()>);

impl PendingIds {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &StreamId> {
        self.range(..)
    }

    pub fn range(&self, ids: impl RangeBounds<StreamId>) -> impl DoubleEndedIterator<Item = &StreamId> {
        self.0.range(ids).map(|(id, ())| id)
    }

    pub(super) fn insert(&mut self, id: StreamId) {
        self.0.insert(id, ());
    }

    pub(super) fn remove(&mut self, id: StreamId) {
        self.0.remove(id);
    }

    pub(super) fn memory_usage(&self) -> usize {
        self.0.memory_usage()
    }

    pub(super) fn free_cost(&self) -> usize {
        self.0.free_cost()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::Rng;

    use super::*;

    /// Long phases of growing and of shrinking, in order and at random, so that there are many runs, and few; shares are taken meanwhile.
    #[test]
    fn a_map_that_shares_its_runs() {
        let seed = testkit::seed();
        println!("seed {seed}");
        let mut rng = testkit::random_from(seed);
        let (mut map, mut model) = (ById::default(), BTreeMap::new());
        let mut shares: Vec<(ById<u32>, BTreeMap<StreamId, u32>)> = Vec::new();
        let mut next = 0;
        for step in 0..40_000u32 {
            let grows = step / 4000 % 2 == 0;
            let any = StreamId::new(rng.random_range(0..=next / 10 + 1), rng.random_range(0..10));
            match rng.random_range(0..100) {
                0..50 if grows => {
                    next += rng.random_range(1..10);
                    let id = StreamId::new(next / 10, next % 10);
                    assert_eq!(map.insert(id, step), model.insert(id, step));
                }
                50..80 if grows => assert_eq!(map.insert(any, step), model.insert(any, step)),
                0..40 => {
                    let first = model.keys().next().copied().unwrap_or(any);
                    assert_eq!(map.remove(first), model.remove(&first));
                }
                40..80 => {
                    let id = model.range(any..).next().map_or(any, |(id, _)| *id);
                    assert_eq!(map.remove(id), model.remove(&id));
                }
                80..90 => {
                    assert_eq!(map.get(any), model.get(&any));
                    if let Some(value) = map.get_mut(any) {
                        *value = step;
                        model.insert(any, step);
                    }
                }
                _ => {
                    let end = StreamId::new(any.ms + rng.random_range(1..100), 0);
                    assert!(map.range(any..=end).eq(model.range(any..=end)));
                    assert!(map.range(..any).rev().eq(model.range(..any).rev()));
                    assert_eq!(map.range(end..any).count(), 0);
                }
            }
            assert_eq!(map.len(), model.len());
            if rng.random_range(0..2000) == 0 {
                shares.push((map.clone(), model.clone()));
                if rng.random_bool(0.5) {
                    // The share goes on, and the original is what must not change.
                    let last = shares.last_mut().expect("it was pushed just now");
                    std::mem::swap(&mut map, &mut last.0);
                }
            }
        }
        shares.push((map, model));
        for (map, model) in &shares {
            assert!(map.range(..).eq(model));
            let runs = map.runs.len();
            assert!(runs <= 2 + map.len() / (RUN_ENTRIES_MAX / 4), "{runs} runs for {}", map.len());
        }
    }
}

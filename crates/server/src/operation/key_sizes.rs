//! INFO's section `keysizes`: how many values of each type have 1, 2 to 3, 4 to 7 … elements (or bytes, for strings).
//!
//! Redis counts this with every change of every value. Here the values are counted when somebody asks, so that nobody pays who does not; and
//! since everybody waits meanwhile, only where they are few.

use std::fmt::Write;
use std::ops::ControlFlow;

use commands::Db;
use keyspace::{Collection, DbIndex, Entry, Hash, List, Set, SortedSet};

/// So many keys are counted in less than a millisecond or two.
pub const KEYS_MAX: usize = 10_000;

/// One bucket for nothing, and one for each power of two.
const BUCKETS: usize = 65;

/// In Redis's order. Streams are not counted there either.
const FIELDS: [&str; 5] = ["strings_sizes", "lists_items", "sets_items", "zsets_items", "hashes_items"];

/// The fields with their values, or `None` where there are too many keys.
pub fn fields(db: &Db<'_>) -> Option<Vec<(String, String)>> {
    let databases = || (0..db.space.db_count()).map(|index| DbIndex(index as u32));
    if databases().map(|index| db.space.len(index)).sum::<usize>() > KEYS_MAX {
        return None;
    }
    let mut fields = Vec::new();
    for index in databases().filter(|index| db.space.len(*index) > 0) {
        let mut counts = [[0u64; BUCKETS]; FIELDS.len()];
        db.space.for_each(index, |entry| {
            if let Some((kind, size)) = size_of(&entry) {
                counts[kind][bucket(size)] += 1;
            }
            ControlFlow::Continue(())
        });
        for (name, counts) in FIELDS.iter().zip(&counts).filter(|(_, counts)| counts.iter().any(|&count| count > 0)) {
            fields.push((format!("db{}_distrib_{name}", index.0), distribution(counts)));
        }
    }
    Some(fields)
}

/// Which field the value belongs to, and its size.
fn size_of(entry: &Entry<'_>) -> Option<(usize, usize)> {
    if let Some(text) = entry.value().as_str() {
        return Some((0, text.len()));
    }
    let list = entry.typed::<List>().map(|list| (1, list.len()));
    let set = || entry.typed::<Set>().map(|set| (2, set.len()));
    let sorted_set = || entry.typed::<SortedSet>().map(|set| (3, set.len()));
    let hash = || entry.typed::<Hash>().map(|hash| (4, hash.len()));
    list.or_else(set).or_else(sorted_set).or_else(hash)
}

fn bucket(size: usize) -> usize {
    (usize::BITS - size.leading_zeros()) as usize
}

/// `0=1,1=1,2=3,1K=2`: each bucket by its smallest size.
fn distribution(counts: &[u64; BUCKETS]) -> String {
    let mut text = String::new();
    for (bucket, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let comma = if text.is_empty() { "" } else { "," };
        const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
        let power = bucket.saturating_sub(1);
        let (number, unit) = (if bucket == 0 { 0 } else { 1u64 << (power % 10) }, UNITS[power / 10]);
        let _ = write!(text, "{comma}{number}{unit}={count}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_called_by_their_smallest() {
        let mut counts = [0; BUCKETS];
        for size in [0, 1, 2, 3, 4, 7, 8, 127, 128, 1023, 1024, 2047, 2048, 1 << 20, (1 << 20) + 5, 5 << 30] {
            counts[bucket(size)] += 1;
        }
        // Observed in Redis 8.2.
        assert_eq!(distribution(&counts), "0=1,1=1,2=2,4=2,8=1,64=1,128=1,512=1,1K=2,2K=1,1M=2,4G=1");
    }
}

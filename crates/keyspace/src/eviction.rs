//! Finding keys that may go when memory is full: samples from anywhere in the keyspace, and a pool of the best of them.
//!
//! ```text
//! draw() ─ a place, as likely near one key as near another ─> narrow(its shard) ─> sample() ─ a few keys there ─> Pool::offer
//!                                                             narrow(their shards) <─ who goes first ─ Pool::take ──┘
//! ```
//!
//! A sample is a home bucket or two: one cache line names half a dozen keys, and those are fetched side by side. So a sample of five
//! keys waits for memory about twice, where five keys drawn one by one would wait ten times or more.
//!
//! *Is that as random as single keys?* The hash is keyed, so which keys share a bucket says nothing about when they were used. A bucket is drawn in
//! proportion to its part of hash space, and so is each of its keys.
//!
//! *What if hardly any key may go?* Under the volatile policies shards, segments and words without an expiry are passed by without a look behind them.
//!
//! What ranks mean is the caller's business; the pool orders them. A key may have been used again since it was offered: whoever takes it out of the
//! pool looks whether its rank is still what it was.

use smallvec::SmallVec;

use crate::entry::RawEntry;
use crate::space::{Keyspace, Space};
use crate::table::Table;
use crate::{DbIndex, Entry, Key, Millis, SHARD_BITS, SHARD_COUNT, ShardIndex};

/// Which keys may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evictable {
    All,
    /// Those with an expiry of their own.
    Volatile,
}

impl Evictable {
    fn count(self, table: &Table<RawEntry>) -> usize {
        match self {
            Evictable::All => table.len(),
            Evictable::Volatile => table.volatile_len(),
        }
    }
}

/// A place to look for keys at.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    shard: ShardIndex,
    hash: u64,
}

impl Draw {
    /// The shard that has to be held.
    pub fn shard(self) -> ShardIndex {
        self.shard
    }

    fn position(self) -> u64 {
        self.hash << SHARD_BITS
    }
}

impl Keyspace {
    /// A random place with keys that may go near by; `None` if there are no such keys. Takes no lock: what is there may be gone when it is
    /// looked at.
    pub fn draw(&self, evictable: Evictable, random: u64) -> Option<Draw> {
        // The hash of something random: shards hold unequal parts of the keys, and this meets each in proportion.
        let Key { hash, .. } = self.key(&random.to_le_bytes());
        let next = |from: usize| self.occupied_from(from).or_else(|| self.occupied_from(0));
        let first = next((hash >> (64 - SHARD_BITS)) as usize)?;
        let mut shard = first;
        while evictable == Evictable::Volatile && self.earliest_expiry(ShardIndex::new(shard)) == Millis::NEVER {
            shard = next((shard + 1) % SHARD_COUNT)?;
            if shard == first {
                return None;
            }
        }
        Some(Draw { shard: ShardIndex::new(shard), hash })
    }
}

impl Space<'_> {
    /// First pass over a batch of draws: asks for the buckets' cache lines.
    pub fn prefetch_draw(&self, draw: Draw) {
        self.tables_of(draw.shard).for_each(|(_, table)| table.prefetch_bucket(draw.position()));
    }

    /// Second pass: asks for the entries that those lines name.
    pub fn prefetch_drawn(&self, draw: Draw) {
        self.tables_of(draw.shard).for_each(|(_, table)| table.prefetch_sample(draw.position()));
    }

    /// Visits about `count` keys that may go at the place that was drawn, whose shard is held: as many as its home bucket has, where all keys are in one
    /// database. None, if there are none left in the shard.
    pub fn sample(&self, draw: Draw, evictable: Evictable, count: usize, mut visit: impl FnMut(DbIndex, Entry<'_>)) {
        let tables = self.tables_of(draw.shard);
        let total: usize = tables.clone().map(|(_, table)| evictable.count(table)).sum();
        if total == 0 {
            // What the shard says of expiries is a lower bound, and may have outlived them.
            return self.refresh_earliest(draw.shard);
        }
        // Each table's share of the visits is that of its keys; what is left over by rounding falls to chance. The position is made of the
        // hash's upper bits, chance of the lower ones.
        let chance = (draw.hash & 0xFFFF) as f64 / 65536.0;
        let mut keys_before = 0;
        for (db, table) in tables {
            let keys = evictable.count(table);
            let visits_to = |keys: usize| (count as f64 * keys as f64 / total as f64 + chance) as usize;
            let share = visits_to(keys_before + keys) - visits_to(keys_before);
            keys_before += keys;
            if share == 0 {
                continue;
            }
            let mut found = SmallVec::<[RawEntry; 16]>::new();
            match evictable {
                // What a bucket holds comes with its line.
                Evictable::All if keys == total => table.sample(draw.position(), 1, |entry| found.push(entry)),
                Evictable::All => table.sample(draw.position(), share, |entry| found.push(entry)),
                Evictable::Volatile => table.sample_volatile(draw.position(), count, |entry| found.push(entry)),
            }
            // A whole bucket may be more than this table's share: which of them are left out falls to chance, too.
            let (len, first) = (found.len(), draw.hash as usize >> 16);
            let visits = if keys == total { len } else { share.min(len) };
            for index in 0..visits {
                // SAFETY: the entry is in the table, which is borrowed with `self`.
                visit(db, unsafe { Entry::new(found[(first + index) % len]) });
            }
        }
    }
}

/// A key that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The lowest goes first.
    pub rank: i64,
    pub db: DbIndex,
    pub key: Vec<u8>,
}

/// The best candidates of all samples so far, a few of them: what makes eviction by small samples as good as by large ones.
#[derive(Debug, Default)]
pub struct Pool {
    /// By rank, the highest first.
    candidates: Vec<Candidate>,
    /// Memory of candidates that have gone, to be used again.
    spare: Vec<Vec<u8>>,
}

/// So many candidates are kept.
const POOL_LEN_MAX: usize = 48;

/// Longer keys are not remembered by their memory.
const SPARE_BYTES_MAX: usize = 512;

impl Pool {
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Keeps the key if it is among the best.
    #[inline]
    pub fn offer(&mut self, rank: i64, db: DbIndex, key: &[u8]) {
        if self.candidates.len() == POOL_LEN_MAX && self.candidates[0].rank <= rank {
            return;
        }
        self.keep(rank, db, key);
    }

    fn keep(&mut self, rank: i64, db: DbIndex, key: &[u8]) {
        // Those of equal rank stay in front of it: whoever came first goes first.
        let at = self.candidates.partition_point(|candidate| candidate.rank > rank);
        let mut equal = self.candidates[at..].iter().take_while(|candidate| candidate.rank == rank);
        if equal.any(|candidate| candidate.db == db && candidate.key == key) {
            return;
        }
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.extend_from_slice(key);
        self.candidates.insert(at, Candidate { rank, db, key: kept });
        if self.candidates.len() > POOL_LEN_MAX {
            let worst = self.candidates.remove(0);
            self.give_back(worst);
        }
    }

    /// Takes out who goes first.
    pub fn take(&mut self) -> Option<Candidate> {
        self.candidates.pop()
    }

    /// A candidate that is not needed any more: its memory is used again.
    pub fn give_back(&mut self, candidate: Candidate) {
        let mut key = candidate.key;
        if key.capacity() <= SPARE_BYTES_MAX && self.spare.len() < POOL_LEN_MAX {
            key.clear();
            self.spare.push(key);
        }
    }

    /// Forgets all: ranks mean something else now.
    pub fn clear(&mut self) {
        self.candidates.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_keeps_the_best_and_each_once() {
        let mut pool = Pool::default();
        for number in (0..200i64).chain(0..200) {
            let rank = number * 7919 % 200;
            pool.offer(rank, DbIndex(0), rank.to_string().as_bytes());
        }
        assert_eq!(pool.len(), POOL_LEN_MAX);
        let ranks: Vec<i64> = std::iter::from_fn(|| pool.take()).map(|candidate| candidate.rank).collect();
        assert_eq!(ranks, (0..POOL_LEN_MAX as i64).collect::<Vec<_>>());
        assert!(pool.is_empty());
    }

    #[test]
    fn keys_of_two_databases_are_two() {
        let mut pool = Pool::default();
        pool.offer(1, DbIndex(0), b"a");
        pool.offer(1, DbIndex(1), b"a");
        pool.offer(1, DbIndex(0), b"a");
        assert_eq!(pool.len(), 2);
    }
}

//! What the tests share: a seed that is printed and can be given again, and keys that crowd into few shards.

#![allow(dead_code, reason = "each test uses its part")]

use keyspace::{DbIndex, Entry, Expired, Held, Keyspace, Limits, Millis, Options, ShardIndex, Space};
use rand::Rng;
use rand::rngs::StdRng;

/// A generator whose seed is printed; `SPINEL_SEED` repeats a run.
pub fn rng(test: &str) -> StdRng {
    println!("{test}:");
    testkit::random_from(testkit::seed())
}

pub fn keyspace(rng: &mut StdRng, limits: Limits) -> Keyspace {
    Keyspace::new(&Options { seed: rng.random(), limits })
}

/// Segments of seven keys and leaves of four slots: splits, merges and both levels of the directory at once.
pub const TINY: Limits = Limits { segment_lines_max: 2, leaf_bits_max: 2 };

/// Names of `count` keys that live in the first `shards` shards.
pub fn crowded_keys(keyspace: &Keyspace, shards: usize, count: usize) -> Vec<Vec<u8>> {
    (0u64..)
        .map(|number| format!("key:{number}").into_bytes())
        .filter(|name| keyspace.key(name).shard().get() < shards)
        .take(count)
        .collect()
}

/// Access to everything, for tests of one thread.
pub fn wide(keyspace: &Keyspace) -> Space<'_> {
    // SAFETY: tests that use this have one thread, and one space at a time.
    unsafe { keyspace.wide() }
}

pub fn hold(keyspace: &Keyspace, names: &[&[u8]]) -> Held {
    let mut held = Held::new();
    for name in names {
        held.insert(keyspace.key(name).shard());
    }
    held
}

pub fn text(entry: &Entry<'_>) -> Vec<u8> {
    entry.value().as_str().expect("a string").to_vec()
}

pub const DB: DbIndex = DbIndex(0);

/// Expires everything due in all shards, and says how many keys that were.
pub fn expire_all(space: &mut Space<'_>, now: Millis, budget: usize) -> Vec<(DbIndex, Vec<u8>)> {
    let mut gone = Vec::new();
    for shard in ShardIndex::all() {
        while space.expire_due(shard, now, budget, |db, expired| match expired {
            Expired::Key(removed) => gone.push((db, removed.key().to_vec())),
            _ => panic!("only keys expire here"),
        }) {}
    }
    gone
}

//! Compaction ends where it can do nothing. One test only: the slab belongs to the process.

mod common;

use common::{DB, keyspace, rng, wide};
use keyspace::{Compaction, Expiry, Keyspace, Limits, NewValue, slab};

const COUNT: u32 = 200_000;

fn name(number: u32) -> String {
    format!("key:{number:011}")
}

fn remove(keyspace: &Keyspace, which: impl Fn(u32) -> bool) {
    let mut space = wide(keyspace);
    for number in (0..COUNT).filter(|&number| which(number)) {
        space.remove(DB, space.key(name(number).as_bytes()));
    }
}

/// Walks as the server's tick does, and returns how often.
fn compact(keyspace: &Keyspace) -> usize {
    let mut walks = 0;
    while slab::wants_compaction() {
        let mut walk = Compaction::default();
        while keyspace.compact(&mut walk, 1000) {}
        walks += 1;
        assert!(walks < 10, "compaction does not come to an end: {:?}", slab::figures());
    }
    walks
}

#[test]
fn a_walk_that_gave_back_nothing_is_not_repeated() {
    let mut rng = rng("compaction");
    let keyspace = keyspace(&mut rng, Limits::default());
    let mut space = wide(&keyspace);
    for number in 0..COUNT {
        space.set(DB, space.key(name(number).as_bytes()), NewValue::Bytes(&[b'v'; 200]), Expiry::Clear);
    }
    drop(space);
    // Written one after the other, the keys lie so: three of thirteen are gone from every page, too few to empty any.
    remove(&keyspace, |number| number % 13 < 3);
    let before = slab::figures();
    assert_eq!(compact(&keyspace), 1, "{before:?}");
    let stuck = slab::figures();
    assert!(stuck.page_bytes > before.page_bytes * 9 / 10, "nothing was there to be moved: {before:?}, {stuck:?}");

    // A few more gone change nothing, many more do.
    remove(&keyspace, |number| number % 130 == 4);
    assert_eq!(compact(&keyspace), 0);
    remove(&keyspace, |number| number % 13 < 5);
    assert!((1..=2).contains(&compact(&keyspace)));
    let dense = slab::figures();
    let (free, used) =
        (dense.page_bytes - dense.entry_bytes - dense.table_bytes, dense.entry_bytes + dense.table_bytes);
    assert!(free < used / 20, "{dense:?}");

    // Room that was filled counts as new when others leave theirs.
    let mut space = wide(&keyspace);
    for number in (0..COUNT).filter(|number| number % 13 < 5) {
        space.set(DB, space.key(name(number).as_bytes()), NewValue::Bytes(&[b'v'; 200]), Expiry::Clear);
    }
    drop(space);
    assert_eq!(compact(&keyspace), 0);
    remove(&keyspace, |number| (5..10).contains(&(number % 13)));
    assert!((1..=2).contains(&compact(&keyspace)));
}

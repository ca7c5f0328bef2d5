//! What collections consist of leaves sparse pages too, and stays what it was. One test only: the slab belongs to the process.

mod common;

use std::collections::BTreeSet;

use common::{DB, keyspace, rng, wide};
use keyspace::collection::limits::{HashLimits, SetLimits, SortedSetLimits};
use keyspace::{Collection, Compaction, Expiry, Hash, Limits, Millis, NewValue, Set, SortedSet, slab};
use rand::Rng;
use rand::seq::SliceRandom;

const MEMBERS: u32 = 60_000;
const SMALL: u32 = 40_000;

#[test]
fn elements_and_small_collections_leave_sparse_pages() {
    let mut rng = rng("compaction of elements");
    let keyspace = keyspace(&mut rng, Limits::default());
    let (hash_limits, set_limits, sorted_limits) =
        (HashLimits::default(), SetLimits::default(), SortedSetLimits::default());
    let text = |number: u32| format!("member:{number:010}:{}", "x".repeat(number as usize % 40)).into_bytes();
    let mut left: BTreeSet<u32> = (0..MEMBERS).collect();
    {
        let mut space = wide(&keyspace);
        let (mut hash, mut set, mut sorted) = (Hash::default(), Set::default(), SortedSet::default());
        for number in 0..MEMBERS {
            let name = text(number);
            hash.set(&name, &name, Expiry::Clear, &hash_limits);
            set.insert(&name, &set_limits);
            sorted.update(&name, &sorted_limits, |_| Some(f64::from(number % 1000)));
        }
        let mut order: Vec<u32> = (0..MEMBERS).collect();
        order.shuffle(&mut rng);
        for number in order.drain(..MEMBERS as usize * 4 / 5) {
            let name = text(number);
            hash.remove(&name);
            set.remove(&name);
            sorted.remove(&name);
            left.remove(&number);
        }
        space.set(DB, space.key(b"hash"), NewValue::Object(hash.into()), Expiry::Clear);
        space.set(DB, space.key(b"set"), NewValue::Object(set.into()), Expiry::Clear);
        space.set(DB, space.key(b"sorted"), NewValue::Object(sorted.into()), Expiry::Clear);
        for number in 0..SMALL {
            let mut small = Hash::default();
            small.set(b"field", &text(number), Expiry::Clear, &hash_limits);
            let name = format!("small:{number}");
            space.set(DB, space.key(name.as_bytes()), NewValue::Object(small.into()), Expiry::Clear);
        }
        for number in (0..SMALL).filter(|_| rng.random_range(0..5) > 0).collect::<Vec<_>>() {
            let name = format!("small:{number}");
            space.remove(DB, space.key(name.as_bytes()));
        }
    }
    let sparse = slab::figures();
    assert!(slab::wants_compaction(), "{sparse:?}");
    let mut walks = 0;
    while slab::wants_compaction() {
        let mut walk = Compaction::default();
        while keyspace.compact(&mut walk, 64) {}
        walks += 1;
        assert!(walks < 10, "compaction does not come to an end: {:?}", slab::figures());
    }
    let dense = slab::figures();
    println!("{walks} walks: {sparse:?} to {dense:?}");
    assert_eq!(dense.entry_bytes, sparse.entry_bytes, "moving changes nothing");
    assert!(dense.page_bytes < sparse.page_bytes * 2 / 5, "{sparse:?} to {dense:?}");

    let space = wide(&keyspace);
    let hash = space.get(DB, space.key(b"hash")).unwrap().typed::<Hash>().unwrap();
    let set = space.get(DB, space.key(b"set")).unwrap().typed::<Set>().unwrap();
    let sorted = space.get(DB, space.key(b"sorted")).unwrap().typed::<SortedSet>().unwrap();
    assert_eq!([hash.len(), set.len(), sorted.len()], [left.len(); 3]);
    let mut by_score: Vec<(u32, Vec<u8>)> = Vec::new();
    for &number in &left {
        let name = text(number);
        assert!(hash.field(&name, Millis(0)).is_some() && set.contains(&name));
        assert_eq!(sorted.score(&name), Some(f64::from(number % 1000)));
        by_score.push((number % 1000, name));
    }
    by_score.sort();
    for (rank, (_, name)) in by_score.iter().enumerate() {
        assert_eq!(sorted.rank(name).map(|(rank, _)| rank), Some(rank));
    }
}

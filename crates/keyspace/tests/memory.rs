//! Memory is counted exactly, and given back. One test only: the slab belongs to the process.

mod common;

use common::{DB, keyspace, rng, wide};
use keyspace::{Compaction, Expiry, Limits, NewValue, slab};
use rand::Rng;

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn random_deletion_gives_memory_back() {
    let mut rng = rng("memory");
    let keyspace = keyspace(&mut rng, Limits::default());
    assert_eq!(slab::figures(), slab::SlabFigures::default());
    let count = 300_000u32;
    let name = |number: u32| format!("key:{number:011}");
    let mut space = wide(&keyspace);
    for number in 0..count {
        let value = vec![b'v'; rng.random_range(20..60)];
        space.set(DB, space.key(name(number).as_bytes()), NewValue::Bytes(&value), Expiry::Clear);
    }
    let full = slab::figures();
    let full_resident = resident_bytes();
    println!("full: {full:?}");
    assert!(!slab::wants_compaction());
    assert!(
        full.page_bytes < (full.entry_bytes + full.table_bytes) * 21 / 20,
        "growth alone leaves little free in pages"
    );

    let mut left = 0;
    for number in 0..count {
        if rng.random_bool(0.9) {
            assert!(space.remove(DB, space.key(name(number).as_bytes())).is_some());
        } else {
            left += 1;
        }
    }
    drop(space);
    let sparse = slab::figures();
    println!("sparse: {sparse:?}");
    assert!(slab::wants_compaction(), "nine of ten keys are gone from every page");

    let mut walks = 0;
    let mut walk = Compaction::default();
    while slab::wants_compaction() {
        if !keyspace.compact(&mut walk, 1000) {
            walk = Compaction::default();
            walks += 1;
        }
        assert!(walks <= 2, "compaction does not come to an end: {:?}", slab::figures());
    }
    let compact = slab::figures();
    println!("compact after {walks} whole walks: {compact:?}");
    assert_eq!(compact.entry_bytes, sparse.entry_bytes, "moving changes no entry");
    assert!(compact.page_bytes < full.page_bytes / 5);
    let resident = resident_bytes();
    assert!(full_resident - resident > full.page_bytes / 2, "resident: {full_resident} to {resident}");

    let mut space = wide(&keyspace);
    assert_eq!(space.len(DB), left);
    let mut seen = 0;
    for number in 0..count {
        let name = name(number);
        if let Some(entry) = space.get(DB, space.key(name.as_bytes())) {
            assert_eq!(entry.key(), name.as_bytes());
            assert!(common::text(&entry).iter().all(|&byte| byte == b'v'));
            seen += 1;
        }
    }
    assert_eq!(seen, left);
    drop(space.flush_all());
    let empty = slab::figures();
    assert_eq!((empty.entry_bytes, empty.table_bytes, empty.direct_bytes, empty.page_bytes), (0, 0, 0, 0));
}

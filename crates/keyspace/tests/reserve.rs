//! Tables that were told how many keys will come hold the same as those that have grown, move nothing meanwhile, and give everything back.

mod common;

use std::collections::BTreeSet;

use common::{DB, TINY, keyspace, rng, wide};
use keyspace::{DbIndex, Expiry, Keyspace, Limits, NewValue, SHARD_COUNT, ShardIndex};

const COUNT: usize = 300_000;

fn name(number: usize) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn reserve(keyspace: &Keyspace, db: DbIndex, len: usize) {
    ShardIndex::all().for_each(|shard| keyspace.lock_one(shard).reserve(db, shard, len));
}

fn fill(keyspace: &Keyspace, db: DbIndex, from: usize, to: usize) {
    let mut space = wide(keyspace);
    for number in from..to {
        let name = name(number);
        assert!(!space.set(db, space.key(&name), NewValue::Bytes(&name), Expiry::Clear));
    }
}

fn check(keyspace: &Keyspace, db: DbIndex, count: usize) {
    let space = wide(keyspace);
    assert_eq!(space.len(db), count);
    for number in 0..count {
        let name = name(number);
        assert_eq!(common::text(&space.get(db, space.key(&name)).expect("it was put in")), name);
    }
    let mut seen = BTreeSet::new();
    let mut cursor = keyspace::Cursor::START;
    loop {
        cursor = space.scan(db, cursor, 1000, |entry| assert!(seen.insert(entry.key().to_vec())));
        if cursor == keyspace::Cursor::START {
            break;
        }
    }
    assert_eq!(seen.len(), count);
}

#[test]
fn what_was_announced_is_not_moved() {
    let mut rng = rng("reserve");
    let (told, grown) = (keyspace(&mut rng, Limits::default()), keyspace(&mut rng, Limits::default()));
    // A little more than comes: no shard gets so many more than the others that its table has to grow.
    reserve(&told, DB, COUNT / SHARD_COUNT * 2);
    for keyspace in [&told, &grown] {
        fill(keyspace, DB, 0, COUNT);
        check(keyspace, DB, COUNT);
    }
    assert!(grown.figures().keys_moved_max > 0);
    assert_eq!(told.figures().keys_moved_max, 0);
    let (told_bytes, grown_bytes) = (told.figures().table_bytes, grown.figures().table_bytes);
    assert!(told_bytes < grown_bytes * 5 / 2, "{told_bytes} {grown_bytes}");
    for keyspace in [told, grown] {
        drop(wide(&keyspace).flush_all());
        assert_eq!(keyspace.figures().table_bytes, 0);
    }
}

/// The announced number is a hint: fewer may come, or none, or many more; and a table that has keys does not take it.
#[test]
fn what_was_announced_may_be_wrong() {
    let mut rng = rng("reserve wrongly");
    for limits in [Limits::default(), TINY] {
        for announced in [0, 1, 7, 100, 5000] {
            let keyspace = keyspace(&mut rng, limits);
            let other = DbIndex(3);
            reserve(&keyspace, DB, announced);
            reserve(&keyspace, other, announced);
            check(&keyspace, DB, 0);
            fill(&keyspace, DB, 0, COUNT / 10);
            reserve(&keyspace, DB, announced * 2);
            fill(&keyspace, DB, COUNT / 10, COUNT / 5);
            check(&keyspace, DB, COUNT / 5);
            let mut space = wide(&keyspace);
            for number in (0..COUNT / 5).rev() {
                let name = name(number);
                assert!(space.remove(DB, space.key(&name)).is_some());
            }
            assert_eq!(space.len(DB), 0);
            drop(space.flush_all());
            drop(space);
            assert_eq!(keyspace.figures().table_bytes, 0, "{announced} announced");
        }
    }
}

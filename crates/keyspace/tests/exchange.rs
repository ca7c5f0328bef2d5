//! Two keyspaces exchange what they hold: keys are found, counted, scanned and expire where they have come to.

mod common;

use common::{keyspace, rng, wide};
use keyspace::{Cursor, DbIndex, Expiry, Keyspace, Limits, Millis, NewValue, ShardIndex};

fn put(keyspace: &Keyspace, db: u32, names: std::ops::Range<u32>, expiry: Expiry) {
    let mut space = wide(keyspace);
    for name in names {
        let name = name.to_string();
        space.set(DbIndex(db), space.key(name.as_bytes()), NewValue::Bytes(name.as_bytes()), expiry);
    }
}

fn names(keyspace: &Keyspace, db: u32) -> Vec<u32> {
    let mut names = Vec::new();
    let mut cursor = Cursor::START;
    loop {
        cursor = keyspace.scan(DbIndex(db), cursor, 100, |entry| {
            names.push(std::str::from_utf8(entry.key()).unwrap().parse().unwrap());
        });
        if cursor == Cursor::START {
            names.sort_unstable();
            return names;
        }
    }
}

#[test]
fn what_they_hold_changes_places() {
    let mut one = keyspace(&mut rng("what_they_hold_changes_places"), Limits::default());
    let mut other = one.empty_like();
    put(&one, 0, 0..1000, Expiry::Clear);
    put(&one, 3, 0..10, Expiry::At(Millis(5)));
    put(&other, 0, 500..3000, Expiry::Clear);
    for turn in 0..3 {
        let (old, new) = if turn % 2 == 0 { (&one, &other) } else { (&other, &one) };
        assert_eq!((names(old, 0), names(old, 3).len()), ((0..1000).collect(), 10));
        assert_eq!((names(new, 0), names(new, 3).len()), ((500..3000).collect(), 0));
        let earliest = |keyspace: &Keyspace| ShardIndex::all().map(|shard| keyspace.earliest_expiry(shard)).min();
        assert_eq!((earliest(old), earliest(new)), (Some(Millis(5)), Some(Millis::NEVER)));
        assert_eq!((wide(old).len(DbIndex(0)), wide(new).len(DbIndex(0))), (1000, 2500));
        assert!(wide(old).contains(DbIndex(0), old.key(b"7")) && !wide(new).contains(DbIndex(0), new.key(b"7")));
        one.exchange(&mut other);
    }
    drop(wide(&other).flush_all());
    drop(other);
    put(&one, 0, 0..5000, Expiry::Clear);
    assert_eq!(names(&one, 0).len(), 5000);
}

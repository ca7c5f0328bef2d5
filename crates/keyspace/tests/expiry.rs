//! Expiry finds what is due, and touches little else.

mod common;

use common::{DB, expire_all, keyspace, rng, wide};
use keyspace::{DbIndex, Expiry, Limits, Millis, NewValue, ShardIndex};
use rand::Rng;

#[test]
fn volatile_keys_among_many_others_go_on_time() {
    let mut rng = rng("expiry");
    let keyspace = keyspace(&mut rng, Limits::default());
    let mut space = wide(&keyspace);
    let mut due: Vec<(Millis, Vec<u8>)> = Vec::new();
    for number in 0..200_000u32 {
        let name = number.to_string().into_bytes();
        let key = space.key(&name);
        if number % 200 == 0 {
            let at = Millis(rng.random_range(1000..2000));
            space.set(DB, key, NewValue::Bytes(b"v"), Expiry::At(at));
            due.push((at, name));
        } else {
            space.set(DB, key, NewValue::Bytes(b"v"), Expiry::Clear);
        }
    }
    due.sort();
    let earliest = ShardIndex::all().map(|shard| keyspace.earliest_expiry(shard)).min().unwrap();
    assert_eq!(earliest, due[0].0);
    assert_eq!(space.volatile_len(DB), due.len());
    for now in (990..2010).step_by(7) {
        let now = Millis(now);
        let mut gone: Vec<Vec<u8>> = expire_all(&mut space, now, 3).into_iter().map(|(_, name)| name).collect();
        // A key lives in the millisecond it expires at.
        let split = due.partition_point(|(at, _)| *at < now);
        let mut expected: Vec<Vec<u8>> = due.drain(..split).map(|(_, name)| name).collect();
        gone.sort();
        expected.sort();
        assert_eq!(gone, expected);
        for shard in ShardIndex::all() {
            assert!(keyspace.earliest_expiry(shard) >= now, "a shard without due keys would be visited again");
        }
    }
    assert!(due.is_empty());
    assert_eq!((space.len(DB), space.volatile_len(DB)), (199_000, 0));
}

#[test]
fn the_budget_holds_and_all_databases_are_served() {
    let mut rng = rng("budget");
    let keyspace = keyspace(&mut rng, Limits::default());
    let mut space = wide(&keyspace);
    let names = common::crowded_keys(&keyspace, 1, 2000);
    for db in [0, 3] {
        for name in &names {
            space.set(DbIndex(db), space.key(name), NewValue::Int(1), Expiry::At(Millis(5)));
        }
    }
    let shard = ShardIndex::new(0);
    let mut total = 0;
    loop {
        let mut now_gone = 0;
        let more = space.expire_due(shard, Millis(6), 64, |_, _| now_gone += 1);
        assert!(now_gone <= 64);
        total += now_gone;
        assert_eq!(more, total < 4000);
        if !more {
            break;
        }
    }
    assert_eq!(space.len(DbIndex(0)) + space.len(DbIndex(3)), 0);
    assert_eq!(keyspace.earliest_expiry(shard), Millis::NEVER);
    assert!(keyspace.figures().keys_moved_max <= 512);
}

#[test]
fn changing_and_clearing_an_expiry_is_noticed() {
    let mut rng = rng("persist");
    let keyspace = keyspace(&mut rng, Limits::default());
    let mut space = wide(&keyspace);
    let key = space.key(b"k");
    space.set(DB, key, NewValue::Bytes(b"text"), Expiry::At(Millis(100)));
    assert!(space.set_expiry(DB, key, Some(Millis(50))));
    assert_eq!(keyspace.earliest_expiry(key.shard()), Millis(50));
    assert_eq!(space.average_ttl_ms(DB, Millis(20)), 30);
    space.set(DB, key, NewValue::Int(1), Expiry::Keep);
    assert_eq!(space.get(DB, key).unwrap().expire_at(), Some(Millis(50)));
    assert!(!space.get(DB, key).unwrap().is_expired(Millis(50)) && space.get(DB, key).unwrap().is_expired(Millis(51)));
    space.set_expiry(DB, key, None);
    assert_eq!(space.volatile_len(DB), 0);
    assert!(expire_all(&mut space, Millis(1000), 10).is_empty());
    assert!(space.contains(DB, key));
}

//! SCAN's guarantee, and the other walks over the keyspace.

mod common;

use std::collections::{HashMap, HashSet};

use common::{DB, TINY, crowded_keys, keyspace, rng, wide};
use keyspace::{Compaction, Cursor, DbIndex, Expiry, Keyspace, Limits, Millis, NewValue, SHARD_COUNT, Space};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

fn set(space: &mut Space<'_>, name: &[u8]) {
    let key = space.key(name);
    space.set(DB, key, NewValue::Bytes(b"v"), Expiry::Clear);
}

/// Keys that are there throughout a walk are seen, while others come and go so that every segment splits, shrinks and merges under it.
fn scan_under_change(test: &str, limits: Limits, stable: usize, passing: usize) {
    let mut rng = rng(test);
    let keyspace = keyspace(&mut rng, limits);
    let mut names = crowded_keys(&keyspace, 2, stable + passing);
    names.shuffle(&mut rng);
    let (stable, passing) = names.split_at(stable);
    {
        let mut space = wide(&keyspace);
        stable.iter().for_each(|name| set(&mut space, name));
    }
    for walk in 0..6 {
        let mut missing: HashSet<&[u8]> = stable.iter().map(Vec::as_slice).collect();
        let mut cursor = Cursor::START;
        // Walks begin large and become small, or the other way round, or neither.
        let growth = [0.95, 0.05, 0.5][walk % 3];
        loop {
            let count = rng.random_range(1..10);
            let visit = |entry: keyspace::Entry<'_>| {
                missing.remove(entry.key());
            };
            cursor = if walk < 3 {
                wide(&keyspace).scan(DB, cursor, count, visit)
            } else {
                keyspace.scan(DB, cursor, count, visit)
            };
            if cursor == Cursor::START {
                break;
            }
            let mut space = wide(&keyspace);
            for _ in 0..rng.random_range(0..200) {
                let name = passing.choose(&mut rng).unwrap();
                if rng.random_bool(growth) {
                    set(&mut space, name);
                } else {
                    space.remove(DB, space.key(name));
                }
            }
        }
        assert!(missing.is_empty(), "walk {walk} missed {} keys", missing.len());
    }
    assert!(keyspace.figures().splits > 0 && keyspace.figures().merges > 0, "{:?}", keyspace.figures());
}

#[test]
fn scan_misses_nothing_in_tiny_segments() {
    scan_under_change("scan tiny", TINY, 300, 2000);
}

#[test]
fn scan_misses_nothing_in_real_segments() {
    scan_under_change("scan real", Limits::default(), 400, 6000);
}

#[test]
fn scan_sees_each_key_once_when_nothing_changes_and_keeps_to_its_count() {
    let mut rng = rng("scan quiet");
    let keyspace = keyspace(&mut rng, Limits::default());
    let mut space = wide(&keyspace);
    for number in 0..20_000u32 {
        set(&mut space, number.to_string().as_bytes());
    }
    for count in [1, 10, 1000] {
        let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut cursor = Cursor::START;
        loop {
            let mut visited = 0;
            cursor = space.scan(DB, cursor, count, |entry| {
                *seen.entry(entry.key().to_vec()).or_default() += 1;
                visited += 1;
            });
            // A home bucket is visited as a whole.
            assert!(visited < count + 64, "asked for {count}, visited {visited}");
            assert!(visited >= count || cursor == Cursor::START);
            if cursor == Cursor::START {
                break;
            }
            assert!(cursor.0 < 1 << 40, "cursors of small tables are small: {cursor:?}");
        }
        assert_eq!(seen.len(), 20_000);
        assert!(seen.values().all(|&times| times == 1));
    }
}

#[test]
fn any_number_is_a_cursor() {
    let mut rng = rng("cursors");
    let keyspace = keyspace(&mut rng, TINY);
    let mut space = wide(&keyspace);
    crowded_keys(&keyspace, SHARD_COUNT, 5000).iter().for_each(|name| set(&mut space, name));
    for _ in 0..1000 {
        let cursor = Cursor(rng.random());
        space.scan(DB, cursor, 10, |_| {});
        space.scan(DbIndex(7), cursor, 10, |_| panic!("this database is empty"));
    }
}

#[test]
fn random_keys_are_fair() {
    let mut rng = rng("random key");
    let keyspace = keyspace(&mut rng, TINY);
    let mut space = wide(&keyspace);
    assert!(space.random_key(DB, rng.random()).is_none());
    // Three keys in one shard and one in another: each is as likely.
    for number in 0..40u32 {
        set(&mut space, number.to_string().as_bytes());
    }
    let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
    for _ in 0..40_000 {
        let entry = space.random_key(DB, rng.random()).unwrap();
        *seen.entry(entry.key().to_vec()).or_default() += 1;
    }
    assert_eq!(seen.len(), 40);
    // 1000 expected each, deviation 31: seven deviations do not happen.
    assert!(seen.values().all(|times| (780..1220).contains(times)), "{seen:?}");
}

#[test]
fn databases_are_swapped_and_flushed_whole() {
    let mut rng = rng("databases");
    let keyspace: Keyspace = keyspace(&mut rng, TINY);
    let mut space = wide(&keyspace);
    for (db, count) in [(0, 3000u32), (5, 1000), (9, 10)] {
        for number in 0..count {
            let name = format!("{db}:{number}");
            space.set(DbIndex(db), space.key(name.as_bytes()), NewValue::Bytes(b"v"), Expiry::Clear);
        }
    }
    let lens = |space: &Space<'_>| [0, 1, 5, 9].map(|db| space.len(DbIndex(db)));
    assert_eq!(lens(&space), [3000, 0, 1000, 10]);
    space.swap_dbs(DbIndex(0), DbIndex(5));
    space.swap_dbs(DbIndex(9), DbIndex(1));
    space.swap_dbs(DbIndex(1), DbIndex(1));
    assert_eq!(lens(&space), [1000, 10, 3000, 0]);
    assert!(space.contains(DbIndex(0), space.key(b"5:7")) && !space.contains(DbIndex(5), space.key(b"5:7")));
    let dropped = space.flush_db(DbIndex(5));
    assert_eq!(dropped.len(), 3000);
    std::thread::spawn(move || drop(dropped)).join().unwrap();
    assert_eq!(lens(&space), [1000, 10, 0, 0]);
    assert_eq!(space.flush_all().len(), 1010);
    assert_eq!(space.db_count(), 1);
    assert_eq!(keyspace.figures().table_bytes, 0);
}

/// Keys that collide under one seed spread under another: what an attacker learns on his own server is worth nothing here.
#[test]
fn keys_chosen_to_collide_elsewhere_do_not_collide_here() {
    let mut rng = rng("flood");
    let theirs = keyspace(&mut rng, Limits::default());
    let ours = keyspace(&mut rng, Limits::default());
    // All in one shard there.
    let names = crowded_keys(&theirs, 1, 3000);
    let mut per_shard = vec![0usize; SHARD_COUNT];
    for name in &names {
        per_shard[ours.key(name).shard().get()] += 1;
    }
    let most = *per_shard.iter().max().unwrap();
    assert!(most < 30, "3000 keys over {SHARD_COUNT} shards, but {most} in one");
}

/// Empty shards are passed by, and a shard that was empty once is found again.
#[test]
fn walks_find_the_only_key_wherever_it_lies() {
    let mut rng = rng("scan");
    let keyspace = keyspace(&mut rng, Limits::default());
    let mut space = wide(&keyspace);
    for number in 0..500 {
        let name = format!("key:{number}");
        let db = DbIndex(number % 3);
        let key = space.key(name.as_bytes());
        let at = Millis(i64::from(number));
        space.set(db, key, NewValue::Bytes(b"value"), Expiry::At(at));
        let mut seen = 0;
        assert_eq!(
            space.scan(db, Cursor::START, 10, |entry| seen += usize::from(entry.key() == name.as_bytes())),
            Cursor::START
        );
        assert_eq!((seen, space.len(db), space.volatile_len(db)), (1, 1, 1));
        assert_eq!(space.random_key(db, rng.random()).unwrap().key(), name.as_bytes());
        match number % 4 {
            0 => assert!(space.remove(db, key).is_some()),
            1 => assert!(!space.expire_due(key.shard(), Millis(i64::from(number) + 1), 10, |_, _| ())),
            2 => drop(space.flush_db(db)),
            _ => drop(space.flush_all()),
        }
        assert_eq!(space.len(db), 0);
        assert!(space.random_key(db, rng.random()).is_none());
    }
}

#[test]
fn walks_come_to_an_end_behind_the_last_shard() {
    let mut rng = rng("scan");
    let keyspace = keyspace(&mut rng, Limits::default());
    let names = (0..).map(|number: u32| format!("key:{number}"));
    let name = names.into_iter().find(|name| keyspace.key(name.as_bytes()).shard().get() == SHARD_COUNT - 1).unwrap();
    let mut space = wide(&keyspace);
    set(&mut space, name.as_bytes());
    let mut seen = 0;
    assert_eq!(space.scan(DB, Cursor::START, 10, |_| seen += 1), Cursor::START);
    drop(space);
    assert_eq!(keyspace.scan(DB, Cursor::START, 10, |_| seen += 1), Cursor::START);
    assert!(!keyspace.compact(&mut Compaction::default(), 10));
    assert_eq!(seen, 2);
}

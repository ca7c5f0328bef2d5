//! The keyspace against a plain map, under generated operations, with segments so tiny that a few keys split, merge and shrink everything.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::{TINY, crowded_keys, expire_all, keyspace, rng, text, wide};
use keyspace::{
    Cursor, DbIndex, Expiry, GROWN_INLINE_LEN_MAX, Keyspace, LARGE_LEN_MIN, Limits, Millis, NewValue, Space,
    canonical_int,
};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

#[derive(Clone, Debug, PartialEq)]
struct Expected {
    text: Vec<u8>,
    encoding: &'static str,
    expire_at: Option<Millis>,
    access_bits: u32,
}

type Model = HashMap<(u32, Vec<u8>), Expected>;

fn encoding_of_text(text: &[u8]) -> &'static str {
    if canonical_int(text).is_some() { "int" } else { "embstr" }
}

impl Expected {
    /// What does not fit beside this key and the expiry becomes raw, and stays so.
    fn placed(mut self, key: &[u8]) -> Expected {
        let bytes_max = if self.expire_at.is_some() { 33 } else { 41 };
        if self.encoding == "embstr" && key.len() + self.text.len() > bytes_max {
            self.encoding = "raw";
        }
        self
    }
}

fn random_text(rng: &mut StdRng) -> Vec<u8> {
    match rng.random_range(0..20) {
        0..4 => rng.random::<i64>().to_string().into_bytes(),
        4..6 => rng.random_range(-5..5i64).to_string().into_bytes(),
        6 => vec![b'x'; rng.random_range(100..1500)],
        7 => vec![b'y'; LARGE_LEN_MIN + rng.random_range(0..3) - 1],
        _ => {
            let len = rng.random_range(0..70);
            (0..len).map(|_| rng.random()).collect()
        }
    }
}

struct Run<'a> {
    rng: StdRng,
    space: Space<'a>,
    model: Model,
    names: &'a [Vec<u8>],
    now: Millis,
}

impl Run<'_> {
    /// One operation on both; `growth` is the chance that a key is set rather than removed.
    fn step(&mut self, growth: f64) {
        let name = self.names.choose(&mut self.rng).unwrap().clone();
        let db = self.rng.random_range(0..10u32).saturating_sub(7);
        let id = (db, name.clone());
        let key = self.space.key(&name);
        let db = DbIndex(db);
        let existed = self.model.contains_key(&id);
        assert_eq!(self.space.contains(db, key), existed);
        if !self.rng.random_bool(growth) {
            let removed = self.space.remove(db, key);
            let expected = self.model.remove(&id);
            assert_eq!(removed.is_some(), expected.is_some(), "{id:?}");
            if let (Some(removed), Some(expected)) = (removed, expected) {
                assert_eq!(removed.key(), name);
                assert_eq!(removed.expire_at(), expected.expire_at);
                assert_eq!(removed.value().as_str().unwrap().to_vec(), expected.text);
            }
            return;
        }
        match self.rng.random_range(0..12) {
            0..6 => self.set(id.clone()),
            6 => {
                let at = self.rng.random_bool(0.8).then(|| Millis(self.now.0 + self.rng.random_range(0..1000)));
                assert_eq!(self.space.set_expiry(db, key, at), existed);
                if let Some(expected) = self.model.get_mut(&id) {
                    expected.expire_at = at;
                    *expected = expected.clone().placed(&id.1);
                }
            }
            7 => {
                let tail = random_text(&mut self.rng);
                let (Some(mut entry), Some(expected)) = (self.space.get_mut(db, key), self.model.get_mut(&id)) else {
                    return;
                };
                expected.text.extend_from_slice(&tail);
                expected.encoding = "raw";
                assert_eq!(entry.append(&tail), expected.text.len());
            }
            8 => {
                let part = random_text(&mut self.rng);
                let offset = self.rng.random_range(0..2 * GROWN_INLINE_LEN_MAX);
                let (Some(mut entry), Some(expected)) = (self.space.get_mut(db, key), self.model.get_mut(&id)) else {
                    return;
                };
                let end = offset + part.len();
                expected.text.resize(expected.text.len().max(end), 0);
                expected.text[offset..end].copy_from_slice(&part);
                expected.encoding = "raw";
                assert_eq!(entry.set_range(offset, &part), expected.text.len());
            }
            9 => {
                let number = self.rng.random();
                let (Some(mut entry), Some(expected)) = (self.space.get_mut(db, key), self.model.get_mut(&id)) else {
                    return;
                };
                entry.set_int(number);
                expected.text = number.to_string().into_bytes();
                expected.encoding = "int";
            }
            10 => {
                // RENAME, also to itself, and across databases.
                let target = self.names.choose(&mut self.rng).unwrap().clone();
                let target_db = self.rng.random_range(0..3);
                let Some(removed) = self.space.remove(db, key) else { return };
                let moved = self.model.remove(&id).unwrap();
                let moved = moved.placed(&target);
                let existed = self.space.put(DbIndex(target_db), self.space.key(&target), removed);
                assert_eq!(existed, self.model.insert((target_db, target), moved).is_some());
            }
            _ => {
                self.now.0 += self.rng.random_range(0..50);
                let budget = self.rng.random_range(1..100);
                let mut gone: Vec<_> =
                    expire_all(&mut self.space, self.now, budget).into_iter().map(|(db, key)| (db.0, key)).collect();
                let now = self.now;
                let mut due: Vec<_> = self
                    .model
                    .extract_if(|_, expected| expected.expire_at.is_some_and(|at| at < now))
                    .map(|(id, _)| id)
                    .collect();
                gone.sort();
                due.sort();
                assert_eq!(gone, due);
            }
        }
        self.check(&id);
    }

    fn set(&mut self, id: (u32, Vec<u8>)) {
        let text = random_text(&mut self.rng);
        let expiry = match self.rng.random_range(0..4) {
            0 => Expiry::Keep,
            1 => Expiry::At(Millis(self.now.0 + self.rng.random_range(0..1000))),
            _ => Expiry::Clear,
        };
        let access_bits = self.rng.random_range(0..1 << 24);
        let (value, encoding) = match self.rng.random_range(0..4) {
            0 => (NewValue::Raw(&text), "raw"),
            1 if text.len() >= LARGE_LEN_MIN => (NewValue::Large(Arc::new(text.clone())), "raw"),
            _ => (NewValue::Bytes(&text), encoding_of_text(&text)),
        };
        self.space.set_created_access_bits(access_bits);
        let existed = self.space.set(DbIndex(id.0), self.space.key(&id.1), value, expiry);
        let old = self.model.get(&id);
        assert_eq!(existed, old.is_some());
        let expected = Expected {
            expire_at: match expiry {
                Expiry::Keep => old.and_then(|old| old.expire_at),
                Expiry::At(at) => Some(at),
                Expiry::Clear => None,
            },
            access_bits: old.map_or(access_bits, |old| old.access_bits),
            text,
            encoding,
        };
        let expected = expected.placed(&id.1);
        self.model.insert(id, expected);
    }

    fn check(&self, id: &(u32, Vec<u8>)) {
        let entry = self.space.get(DbIndex(id.0), self.space.key(&id.1));
        let found = entry.map(|entry| Expected {
            text: text(&entry),
            encoding: entry.value().encoding_name(),
            expire_at: entry.expire_at(),
            access_bits: entry.access_bits(),
        });
        assert_eq!(found.as_ref(), self.model.get(id), "{id:?}");
    }

    fn check_all(&self) {
        for id in self.model.keys() {
            self.check(id);
        }
        for db in 0..3 {
            let ids: Vec<_> = self.model.iter().filter(|((of, _), _)| *of == db).collect();
            let volatile = ids.iter().filter(|(_, expected)| expected.expire_at.is_some()).count();
            assert_eq!(self.space.len(DbIndex(db)), ids.len());
            assert_eq!(self.space.volatile_len(DbIndex(db)), volatile);
            let sum: i64 = ids.iter().filter_map(|(_, expected)| expected.expire_at).map(|at| at.0).sum();
            if volatile > 0 {
                let average = (sum / volatile as i64 - self.now.0).max(0);
                assert_eq!(self.space.average_ttl_ms(DbIndex(db), self.now), average);
            }
            let mut seen = 0;
            let end = self.space.scan(DbIndex(db), Cursor::START, usize::MAX, |entry| {
                assert!(self.model.contains_key(&(db, entry.key().to_vec())));
                seen += 1;
            });
            assert_eq!((end, seen), (Cursor::START, ids.len()));
        }
    }
}

fn run_model(name: &str, limits: Limits, keys: usize, shards: usize, steps: usize) {
    let mut rng = rng(name);
    let keyspace = keyspace(&mut rng, limits);
    let names = crowded_keys(&keyspace, shards, keys);
    let mut run = Run { rng, space: wide(&keyspace), model: Model::new(), names: &names, now: Millis(1_000_000) };
    for growth in [0.95, 0.5, 0.1, 0.9, 0.03] {
        for _ in 0..steps {
            run.step(growth);
        }
        run.check_all();
    }
    let ids: Vec<_> = run.model.keys().cloned().collect();
    for (db, name) in ids {
        assert!(run.space.remove(DbIndex(db), run.space.key(&name)).is_some());
    }
    drop(run);
    let figures = keyspace.figures();
    println!("{figures:?}");
    assert!(figures.splits > 0 && figures.merges > 0, "nothing was split or merged: {figures:?}");
    assert_eq!(figures.table_bytes, 0, "an empty keyspace keeps no table");
    assert!(figures.keys_moved_max <= 512 && figures.bytes_copied_max <= 64 * 1024, "{figures:?}");
}

#[test]
fn equals_a_map_with_tiny_segments() {
    run_model("tiny", TINY, 2000, 2, 6_000);
}

#[test]
fn equals_a_map_with_the_tiniest_directory() {
    run_model("tiniest", Limits { segment_lines_max: 4, leaf_bits_max: 1 }, 2000, 1, 6_000);
}

#[test]
fn equals_a_map_with_real_segments() {
    run_model("real", Limits::default(), 4000, 3, 8_000);
}

/// Growth by one key at a time from nothing to many segments and back: every key is there at every stage, and no operation does too much.
///
/// Keys go in the order they came, or in SCAN's, which empties segments from one end.
fn grow_and_shrink(keyspace: &Keyspace, names: &[Vec<u8>], in_scan_order: bool) {
    let db = DbIndex(0);
    let mut space = wide(keyspace);
    for (index, name) in names.iter().enumerate() {
        assert!(!space.set(db, space.key(name), NewValue::Int(index as i64), Expiry::Clear));
        if index.is_power_of_two() {
            for (index, name) in names[..=index].iter().enumerate() {
                let entry = space.get(db, space.key(name)).unwrap_or_else(|| panic!("key {index} was lost"));
                assert_eq!(entry.value().as_str().unwrap().as_int(), Some(index as i64));
            }
        }
    }
    let mut scanned = Vec::new();
    if in_scan_order {
        space.scan(db, Cursor::START, usize::MAX, |entry| scanned.push(entry.key().to_vec()));
        assert_eq!(scanned.len(), names.len());
    }
    let names = if in_scan_order { &scanned } else { names };
    for (index, name) in names.iter().enumerate() {
        assert!(space.remove(db, space.key(name)).is_some(), "key {index} was lost");
        if let Some(name) = names.get(index + 1 + index % 300) {
            assert!(space.contains(db, space.key(name)), "a key was lost");
        }
        assert!(!space.contains(db, space.key(name)));
    }
    assert_eq!(space.len(db), 0);
}

#[test]
fn no_operation_moves_more_than_512_keys_or_copies_more_than_64_kib() {
    let mut rng = rng("bounds");
    // A leaf of 16 slots makes the root grow as it would with hundreds of millions of keys.
    for (leaf_bits_max, in_scan_order) in [(4, false), (11, false), (11, true)] {
        let keyspace = keyspace(&mut rng, Limits { leaf_bits_max, ..Limits::default() });
        grow_and_shrink(&keyspace, &crowded_keys(&keyspace, 1, 12_000), in_scan_order);
        let figures = keyspace.figures();
        println!("{figures:?}");
        assert!((200..=512).contains(&figures.keys_moved_max), "{figures:?}");
        assert!(figures.bytes_copied_max <= 64 * 1024, "{figures:?}");
        assert!(figures.splits > 30 && figures.merges > 30);
        assert_eq!(figures.table_bytes, 0);
    }
}

/// The harness above must see a key that a split loses.
#[cfg(feature = "planted")]
#[test]
fn a_key_lost_in_a_split_is_caught() {
    let status = |plant: &str| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "equals_a_map_with_tiny_segments", "--quiet"])
            .env("SPINEL_PLANT", plant)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
    };
    assert!(status("").success());
    assert!(!status("lost-key-in-split").success(), "the planted bug went unnoticed");
}

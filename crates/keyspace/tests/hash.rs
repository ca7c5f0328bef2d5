//! Hashes against maps: every encoding and the ways between them, and fields that expire wherever their hash has gone.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{TINY, keyspace, rng, wide};
use keyspace::collection::limits::HashLimits;
use keyspace::{Collection, DbIndex, Expired, Expiry, Hash, IntBuffer, Key, Millis, NewValue, ShardIndex, Space};
use rand::Rng;
use rand::rngs::StdRng;

type Fields = BTreeMap<Vec<u8>, (Vec<u8>, Option<Millis>)>;

/// Always to be seen, whatever has expired.
const ALL: Millis = Millis(i64::MIN);

fn contents(hash: &Hash, now: Millis) -> Fields {
    let mut all = Fields::new();
    hash.visit(now, |field| {
        let name = field.name.bytes(&mut IntBuffer::new()).to_vec();
        let value = field.value.bytes(&mut IntBuffer::new()).to_vec();
        assert!(all.insert(name, (value, field.expire_at)).is_none(), "a field was visited twice");
    });
    all
}

fn text(rng: &mut StdRng, variety: u32) -> Vec<u8> {
    let number = rng.random_range(0..variety);
    match number % 4 {
        0 => number.to_string().into_bytes(),
        1 => format!("-{number}").into_bytes(),
        2 => format!("text {number}").into_bytes(),
        _ => vec![b'a' + (number % 26) as u8; number as usize % 90],
    }
}

fn some_expiry(rng: &mut StdRng, now: Millis) -> Option<Millis> {
    rng.random_bool(0.6).then(|| Millis(now.0 + rng.random_range(1..50)))
}

#[test]
fn a_hash_is_a_map() {
    let mut rng = rng("hash");
    for round in 0..80 {
        let limits = HashLimits {
            listpack_entries_max: [0, 3, 20, 512][round % 4],
            listpack_value_bytes_max: [10, 64, 1000][round % 3],
        };
        let variety = [5, 40, 1500][rng.random_range(0..3)];
        let (mut hash, mut model, mut now) = (Hash::default(), Fields::new(), Millis(1000));
        for _ in 0..rng.random_range(1..600) {
            now.0 += i64::from(rng.random_range(0..10) == 0);
            let (name, value) = (text(&mut rng, variety), text(&mut rng, variety));
            match rng.random_range(0..12) {
                0..=4 => {
                    let expiry = match rng.random_range(0..4) {
                        0 => some_expiry(&mut rng, now).map_or(Expiry::Clear, Expiry::At),
                        1 => Expiry::Keep,
                        _ => Expiry::Clear,
                    };
                    let old = model.get(&name).and_then(|(_, expiry)| *expiry);
                    let kept = match expiry {
                        Expiry::Clear => None,
                        Expiry::Keep => old,
                        Expiry::At(at) => Some(at),
                    };
                    let new = hash.set(&name, &value, expiry, &limits);
                    assert_eq!(new, model.insert(name, (value, kept)).is_none());
                }
                5 | 6 => assert_eq!(hash.remove(&name), model.remove(&name).is_some()),
                7 | 8 => {
                    let expiry = some_expiry(&mut rng, now);
                    let known = model.get_mut(&name).map(|field| field.1 = expiry).is_some();
                    assert_eq!(hash.set_expiry(&name, expiry), known);
                }
                9 => {
                    let budget = rng.random_range(1..5);
                    let mut gone = BTreeSet::new();
                    let taken = hash.expire_due(now, budget, |name| assert!(gone.insert(name.to_vec())));
                    assert!(taken == gone.len() && taken <= budget);
                    for name in &gone {
                        assert!(model.remove(name).unwrap().1.unwrap() < now);
                    }
                    let due = model.values().filter(|(_, expiry)| expiry.is_some_and(|at| at < now)).count();
                    assert!(due == 0 || hash.is_due(now), "what is due was forgotten");
                }
                10 => {
                    let mut gone = Vec::new();
                    hash.expire_named(now, [&*name], |name| gone.push(name.to_vec()));
                    for name in gone {
                        assert!(model.remove(&name).unwrap().1.unwrap() < now);
                    }
                    assert!(model.get(&name).is_none_or(|(_, expiry)| expiry.is_none_or(|at| at >= now)));
                }
                _ => {
                    let copy = hash.duplicate();
                    assert_eq!(copy.encoding_name(), hash.encoding_name());
                    assert_eq!(contents(&copy, ALL), model);
                    hash = copy;
                }
            }
            let name = text(&mut rng, variety);
            let found = hash.field(&name, ALL).map(|field| (field.value.to_vec(), field.expire_at));
            assert_eq!(found, model.get(&name).cloned());
            assert_eq!(hash.len(), model.len());
            let earliest = model.values().filter_map(|(_, expiry)| *expiry).min();
            assert!(hash.earliest_expiry().unwrap_or(Millis::NEVER) <= earliest.unwrap_or(Millis::NEVER));
        }
        assert_eq!(contents(&hash, ALL), model);
        model.retain(|_, (_, expiry)| expiry.is_none_or(|at| at >= now));
        assert_eq!(contents(&hash, now), model);
        assert_eq!(hash.live_len(now), model.len());
        let random = hash.random(now, || rng.random());
        assert_eq!(random.is_some(), !model.is_empty());
        assert!(random.is_none_or(|field| model.contains_key(&field.name.to_vec())));
        // In the end all of it goes, in as many slices as it takes, and nothing is left to be looked for.
        while hash.is_due(Millis(now.0 + 100)) {
            hash.expire_due(Millis(now.0 + 100), 7, |_| ());
        }
        model.retain(|_, (_, expiry)| expiry.is_none());
        assert_eq!(contents(&hash, ALL), model);
        assert_eq!(hash.earliest_expiry(), None);
    }
}

/// A large hash in which little is due: each slice is bounded, and all slices together find it.
#[test]
fn a_few_due_fields_among_many() {
    let mut rng = rng("due fields");
    let limits = HashLimits::default();
    let mut hash = Hash::default();
    let mut due = BTreeSet::new();
    for number in 0..200_000u32 {
        let name = number.to_string().into_bytes();
        let expiry = if number % 1000 == 0 {
            due.insert(name.clone());
            Expiry::At(Millis(rng.random_range(10..20)))
        } else if number % 3 == 0 {
            Expiry::At(Millis(1000))
        } else {
            Expiry::Clear
        };
        hash.set(&name, b"value", expiry, &limits);
    }
    let mut slices = 0;
    while hash.is_due(Millis(20)) {
        let taken = hash.expire_due(Millis(20), 16, |name| assert!(due.remove(name)));
        assert!(taken <= 16);
        slices += 1;
        // Set behind the walk or before it: found by the next one.
        if slices % 3 == 0 && slices < 30 {
            let name = format!("late {slices}").into_bytes();
            hash.set(&name, b"value", Expiry::At(Millis(15)), &limits);
            due.insert(name);
        }
    }
    assert!(due.is_empty());
    assert!((3..60).contains(&slices), "{slices}");
}

/// What a walk of the keyspace finds due, from all databases, against a model that knows where each hash is.
#[test]
fn fields_expire_wherever_their_hash_is() {
    let mut rng = rng("hashes");
    for round in 0..12 {
        let keyspace = keyspace(&mut rng, if round % 2 == 0 { TINY } else { keyspace::Limits::default() });
        let mut space = wide(&keyspace);
        let limits = HashLimits { listpack_entries_max: [0, 4, 100][round % 3], listpack_value_bytes_max: 64 };
        let names: Vec<Vec<u8>> = common::crowded_keys(&keyspace, 2, 30);
        let mut model: BTreeMap<(u32, Vec<u8>), Fields> = BTreeMap::new();
        let mut key_expiries: BTreeMap<(u32, Vec<u8>), Millis> = BTreeMap::new();
        let mut now = Millis(1000);
        for _ in 0..600 {
            now.0 += rng.random_range(0..4);
            let (db, name) = (rng.random_range(0..3), names[rng.random_range(0..names.len())].clone());
            let (other_db, other) = (rng.random_range(0..3), names[rng.random_range(0..names.len())].clone());
            let (here, there) = ((db, name.clone()), (other_db, other.clone()));
            let (key, other_key) = (space.key(&name), space.key(&other));
            match rng.random_range(0..12) {
                0..=4 => {
                    let (field, expiry) = (text(&mut rng, 10), some_expiry(&mut rng, now));
                    if space.get(DbIndex(db), key).is_none() {
                        space.set(DbIndex(db), key, NewValue::Object(Hash::default().into()), Expiry::Clear);
                    }
                    let mut hash = hash_mut(&mut space, db, key);
                    hash.set(&field, b"v", expiry.map_or(Expiry::Clear, Expiry::At), &limits);
                    model.entry(here).or_default().insert(field, (b"v".to_vec(), expiry));
                }
                5 => {
                    if let Some(fields) = model.get_mut(&here) {
                        let field = text(&mut rng, 10);
                        let mut hash = hash_mut(&mut space, db, key);
                        assert_eq!(hash.remove(&field), fields.remove(&field).is_some());
                        let empty = hash.is_empty();
                        drop(hash);
                        if empty {
                            space.remove(DbIndex(db), key);
                            model.remove(&here);
                            key_expiries.remove(&here);
                        }
                    }
                }
                6 => {
                    let removed = space.remove(DbIndex(db), key);
                    assert_eq!(removed.is_some(), model.contains_key(&here));
                    if let Some(removed) = removed {
                        space.put(DbIndex(other_db), other_key, removed);
                        let fields = model.remove(&here).unwrap();
                        model.insert(there.clone(), fields);
                        match key_expiries.remove(&here) {
                            Some(at) => key_expiries.insert(there, at),
                            None => key_expiries.remove(&there),
                        };
                    }
                }
                7 => {
                    space.swap_dbs(DbIndex(db), DbIndex(other_db));
                    let swapped = |index: u32| match index {
                        _ if index == db => other_db,
                        _ if index == other_db => db,
                        _ => index,
                    };
                    model = model.into_iter().map(|((db, name), fields)| ((swapped(db), name), fields)).collect();
                    key_expiries = key_expiries.into_iter().map(|((db, name), at)| ((swapped(db), name), at)).collect();
                }
                8 => {
                    // The key's own expiry beside those of its fields.
                    let expiry = some_expiry(&mut rng, now);
                    if space.set_expiry(DbIndex(db), key, expiry) {
                        match expiry {
                            Some(at) => key_expiries.insert(here, at),
                            None => key_expiries.remove(&here),
                        };
                    }
                }
                9 => {
                    // Overwritten by a value that has no fields, and removed.
                    space.set(DbIndex(db), key, NewValue::Bytes(b"text"), Expiry::Clear);
                    space.remove(DbIndex(db), key);
                    model.remove(&here);
                    key_expiries.remove(&here);
                }
                10 if rng.random_range(0..10) == 0 => {
                    drop(space.flush_db(DbIndex(db)));
                    model.retain(|(index, _), _| *index != db);
                    key_expiries.retain(|(index, _), _| *index != db);
                }
                _ => {
                    let budget = rng.random_range(1..6);
                    expire(&mut space, now, budget, &mut model, &mut key_expiries);
                }
            }
            for db in 0..3 {
                let volatile = |fields: &Fields| fields.values().any(|(_, expiry)| expiry.is_some());
                let expected = model.iter().filter(|((index, _), fields)| *index == db && volatile(fields)).count();
                assert_eq!(space.volatile_in_fields_len(DbIndex(db)), expected);
                let expected = key_expiries.keys().filter(|(index, _)| *index == db).count();
                assert_eq!(space.volatile_len(DbIndex(db)), expected);
            }
        }
        for ((db, name), fields) in &model {
            let entry = space.get(DbIndex(*db), space.key(name)).unwrap();
            assert_eq!(&contents(&entry.typed::<Hash>().unwrap(), ALL), fields);
        }
    }
}

fn hash_mut<'s>(space: &'s mut Space<'_>, db: u32, key: Key<'_>) -> keyspace::TypedMut<'s, Hash> {
    space.get_mut(DbIndex(db), key).unwrap().into_typed().expect("only hashes are here")
}

/// Expires everything that is due, and compares.
fn expire(
    space: &mut Space<'_>,
    now: Millis,
    budget: usize,
    model: &mut BTreeMap<(u32, Vec<u8>), Fields>,
    key_expiries: &mut BTreeMap<(u32, Vec<u8>), Millis>,
) {
    for shard in ShardIndex::all() {
        let mut more = true;
        while more {
            let mut taken = 0;
            more = space.expire_due(shard, now, budget, |DbIndex(db), expired| match expired {
                Expired::Key(removed) => {
                    let key = (db, removed.key().to_vec());
                    assert!(key_expiries.remove(&key).unwrap() < now);
                    model.remove(&key);
                    taken += 1;
                }
                Expired::Field { key, field } => {
                    let (_, expiry) = model.get_mut(&(db, key.to_vec())).unwrap().remove(field).unwrap();
                    assert!(expiry.unwrap() < now);
                    taken += 1;
                }
                Expired::Fields { key, fields } => {
                    assert!(fields > 0 && !model[&(db, key.to_vec())].is_empty());
                }
                Expired::Hash { removed, fields } => {
                    let key = (db, removed.key().to_vec());
                    assert!(fields > 0 && model.remove(&key).unwrap().is_empty());
                    key_expiries.remove(&key);
                }
            });
            assert!(taken <= budget);
        }
        assert!(space.keyspace().earliest_expiry(shard) >= now);
    }
    assert!(key_expiries.values().all(|at| *at >= now));
    assert!(model.values().flat_map(BTreeMap::values).all(|(_, expiry)| expiry.is_none_or(|at| at >= now)));
}

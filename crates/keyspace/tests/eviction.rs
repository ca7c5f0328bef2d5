//! What may go is found: fairly among all, and quickly where it is rare.

mod common;

use std::collections::HashMap;

use common::{DB, TINY, keyspace, rng, wide};
use keyspace::eviction::Evictable;
use keyspace::{DbIndex, Expiry, Held, Keyspace, Limits, Millis, NewValue};
use rand::Rng;
use rand::rngs::StdRng;

/// Samples as eviction does, and says how often each key was seen. Where nothing is left to be drawn it stops.
fn seen(
    keyspace: &Keyspace,
    rng: &mut StdRng,
    evictable: Evictable,
    draws: usize,
) -> HashMap<(DbIndex, Vec<u8>), usize> {
    let mut seen = HashMap::new();
    let mut held = Held::new();
    for _ in 0..draws {
        let Some(draw) = keyspace.draw(evictable, rng.random()) else { break };
        held.clear();
        held.insert(draw.shard());
        let space = keyspace.narrow(&held);
        space.prefetch_draw(draw);
        space.prefetch_drawn(draw);
        space.sample(draw, evictable, 5, |db, entry| *seen.entry((db, entry.key().to_vec())).or_insert(0) += 1);
    }
    seen
}

#[test]
fn every_key_is_as_likely_as_another() {
    let mut rng = rng("fair");
    for limits in [Limits::default(), TINY] {
        let keyspace = keyspace(&mut rng, limits);
        {
            let mut space = wide(&keyspace);
            for number in 0..5_000u32 {
                let db = DbIndex(if number % 4 == 0 { 3 } else { 0 });
                let name = number.to_string();
                space.set(db, space.key(name.as_bytes()), NewValue::Int(1), Expiry::Clear);
            }
        }
        let seen = seen(&keyspace, &mut rng, Evictable::All, 50_000);
        let total: usize = seen.values().sum();
        let mean = total as f64 / 5_000.0;
        assert!(seen.len() > 4_995, "{} of 5000 keys were seen {mean} times on average", seen.len());
        let in_third: usize = seen.iter().filter(|((db, _), _)| *db == DbIndex(3)).map(|(_, count)| count).sum();
        let share = in_third as f64 / total as f64;
        assert!((0.23..0.27).contains(&share), "a quarter of the keys got {share}");
        // With segments of few buckets the parts of hash space are uneven; nobody is left out, and nobody is hunted.
        let often = seen.values().filter(|&&count| count as f64 > 4.0 * mean).count();
        assert!(often < 50, "{often} keys were seen more than four times as often as the mean of {mean}");
    }
}

#[test]
fn a_single_key_is_found_wherever_it_is() {
    let mut rng = rng("single");
    for _ in 0..200 {
        let keyspace = keyspace(&mut rng, Limits::default());
        assert!(keyspace.draw(Evictable::All, rng.random()).is_none());
        let name = rng.random::<u64>().to_be_bytes();
        let db = DbIndex(rng.random_range(0..16));
        wide(&keyspace).set(db, keyspace.key(&name), NewValue::Int(1), Expiry::Clear);
        assert_eq!(seen(&keyspace, &mut rng, Evictable::All, 1).into_keys().collect::<Vec<_>>(), [(db, name.to_vec())]);
        assert!(keyspace.draw(Evictable::Volatile, rng.random()).is_none());
    }
}

#[test]
fn few_volatile_keys_among_many_are_found_and_no_others() {
    let mut rng = rng("volatile");
    for limits in [Limits::default(), TINY] {
        let keyspace = keyspace(&mut rng, limits);
        let mut space = wide(&keyspace);
        for number in 0..50_000u32 {
            let name = number.to_string();
            let expiry = if number % 500 == 0 { Expiry::At(Millis(i64::from(number) + 1)) } else { Expiry::Clear };
            space.set(DB, space.key(name.as_bytes()), NewValue::Int(1), expiry);
        }
        drop(space);
        // A key in a shard right behind another with one is found seldom.
        let found = seen(&keyspace, &mut rng, Evictable::Volatile, 60_000);
        assert_eq!(found.len(), 100);
        let mut space = wide(&keyspace);
        for (db, name) in found.keys() {
            let key = space.key(name);
            assert!(space.remove(*db, key).expect("it was seen").expire_at().is_some());
        }
        drop(space);
        // Each shard is looked at in vain once at most: what it says of expiries is corrected then.
        assert!(seen(&keyspace, &mut rng, Evictable::Volatile, 101).is_empty());
        assert!(keyspace.draw(Evictable::Volatile, rng.random()).is_none());
    }
}

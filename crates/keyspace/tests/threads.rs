//! Several threads at once: narrow spaces exclude each other where they meet, and memory may be freed by another thread than took it.

mod common;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::{DB, hold, keyspace, rng, wide};
use keyspace::{Compaction, Cursor, Expiry, Keyspace, Limits, NewValue, slab};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const ACCOUNTS: usize = 64;
const TOTAL: i64 = 1000 * ACCOUNTS as i64;

fn account(number: usize) -> Vec<u8> {
    format!("account:{number}").into_bytes()
}

fn balance(space: &keyspace::Space<'_>, name: &[u8]) -> i64 {
    space.get(DB, space.key(name)).unwrap().value().as_str().unwrap().as_int().unwrap()
}

fn transfer(keyspace: &Keyspace, rng: &mut StdRng) {
    let (from, to) = (account(rng.random_range(0..ACCOUNTS)), account(rng.random_range(0..ACCOUNTS)));
    let mut space = keyspace.narrow(&hold(keyspace, &[&from, &to]));
    let amount = rng.random_range(0..100);
    for (name, change) in [(from, -amount), (to, amount)] {
        let new = balance(&space, &name) + change;
        let key = space.key(&name);
        // Sometimes in place, sometimes as text of varying size, so that slots change arenas.
        if rng.random_bool(0.5) {
            space.get_mut(DB, key).unwrap().set_int(new);
        } else {
            drop(space.remove(DB, key));
            let text = new.to_string();
            space.set(DB, key, NewValue::Raw(text.as_bytes()), Expiry::Clear);
        }
    }
}

#[test]
fn transfers_between_shards_keep_the_sum() {
    let mut rng = rng("transfers");
    let keyspace = keyspace(&mut rng, Limits::default());
    {
        let mut space = wide(&keyspace);
        for number in 0..ACCOUNTS {
            let name = account(number);
            space.set(DB, space.key(&name), NewValue::Int(1000), Expiry::Clear);
        }
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|arena| {
                let (keyspace, seed) = (&keyspace, rng.random());
                scope.spawn(move || {
                    slab::use_arena(arena);
                    let mut rng = StdRng::seed_from_u64(seed);
                    for _ in 0..20_000 {
                        transfer(keyspace, &mut rng);
                    }
                })
            })
            .collect();
        // Walkers pass through meanwhile.
        let walker = scope.spawn(|| {
            let mut walk = Compaction::default();
            while !done.load(Relaxed) {
                keyspace.scan(DB, Cursor::START, 1000, |entry| assert!(entry.key().starts_with(b"account:")));
                if !keyspace.compact(&mut walk, 100) {
                    walk = Compaction::default();
                }
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Relaxed);
        walker.join().unwrap();
    });
    let space = wide(&keyspace);
    let sum: i64 = (0..ACCOUNTS).map(|number| balance(&space, &account(number))).sum();
    assert_eq!(sum, TOTAL);
}

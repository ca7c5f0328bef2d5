//! What narrow execution costs, and how many bytes a key takes.
//!
//! ```text
//! cargo run --profile fast -p spinel-keyspace --example narrow -- speed 3000000
//! cargo run --profile fast -p spinel-keyspace --example narrow -- bytes
//! cargo run --profile fast -p spinel-keyspace --example narrow -- threads 3000000
//! ```
//!
//! With `HUGE_PAGES=1` in the environment the slab asks for huge pages. Times are for one machine at one moment: compare within a run.

use std::hint::black_box;
use std::time::Instant;

use keyspace::{DbIndex, Expiry, Held, Key, Keyspace, Millis, NewValue, Options, slab};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const DB: DbIndex = DbIndex(0);
const BATCH: usize = 64;

fn keyspace() -> Keyspace {
    Keyspace::new(&Options { seed: [11, 22, 33, 44], ..Options::default() })
}

/// A key of `len` bytes.
fn name(number: u64, len: usize) -> Vec<u8> {
    format!("key:{number:0width$}", width = len - 4).into_bytes()
}

/// One batch: its keys hashed, their shards locked, their lines asked for, then the work key by key.
fn batch(
    keyspace: &Keyspace,
    names: &[[u8; 16]],
    prefetch: bool,
    mut work: impl FnMut(&mut keyspace::Space<'_>, Key<'_>),
) {
    let mut keys: [Option<Key<'_>>; BATCH] = [None; BATCH];
    let mut held = Held::new();
    for (slot, name) in keys.iter_mut().zip(names) {
        let key = keyspace.key(name);
        held.insert(key.shard());
        *slot = Some(key);
    }
    let mut space = keyspace.narrow(&held);
    if prefetch {
        keys.iter().flatten().for_each(|&key| space.prefetch_bucket(DB, key));
        keys.iter().flatten().for_each(|&key| space.prefetch_entry(DB, key));
    }
    for key in keys.into_iter().flatten() {
        work(&mut space, key);
    }
}

/// Numbers that visit `0..count` in no order a prefetcher sees.
struct Random(u64);

impl Random {
    fn below(&mut self, count: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((u128::from(self.0) * u128::from(count)) >> 64) as u64
    }
}

fn name16(number: u64) -> [u8; 16] {
    name(number, 16).try_into().unwrap()
}

fn fill(keyspace: &Keyspace, count: u64) {
    let value = [b'v'; 32];
    for number in 0..count {
        let name = name16(number);
        batch(keyspace, &[name], false, |space, key| {
            space.set(DB, key, NewValue::Bytes(&value), Expiry::Clear);
        });
    }
}

/// Calls `work` over random batches, and returns nanoseconds per key, making the names excluded.
fn measure(count: u64, seed: u64, rounds: usize, mut work: impl FnMut(&[[u8; 16]])) -> f64 {
    let mut random = Random(seed);
    let mut spent = 0;
    for _ in 0..rounds {
        let names: Vec<[u8; 16]> = (0..BATCH * 200).map(|_| name16(random.below(count))).collect();
        let start = Instant::now();
        names.chunks(BATCH).for_each(&mut work);
        spent += start.elapsed().as_nanos();
    }
    spent as f64 / (rounds * BATCH * 200) as f64
}

fn get_all(keyspace: &Keyspace, names: &[[u8; 16]], prefetch: bool) {
    batch(keyspace, names, prefetch, |space, key| {
        let len = space.get(DB, key).map(|entry| entry.value().as_str().unwrap().with_bytes(|bytes| bytes[0]));
        black_box(len);
    });
}

fn speed(count: u64) {
    let keyspace = keyspace();
    let start = Instant::now();
    fill(&keyspace, count);
    println!("insert one by one: {:.0} ns a key", start.elapsed().as_nanos() as f64 / count as f64);
    let value = [b'w'; 32];
    for round in 1..=3 {
        let plain = measure(count, round, 100, |names| get_all(&keyspace, names, false));
        let fetched = measure(count, round, 100, |names| get_all(&keyspace, names, true));
        let set = measure(count, round, 100, |names| {
            batch(&keyspace, names, true, |space, key| {
                space.set(DB, key, NewValue::Bytes(&value), Expiry::Clear);
            });
        });
        let single = measure(count, round, 100, |names| {
            for name in names {
                get_all(&keyspace, std::slice::from_ref(name), false);
            }
        });
        println!(
            "batches of {BATCH}: GET {plain:.0} ns, prefetched {fetched:.0} ns; SET prefetched {set:.0} ns; GET in batches of 1: {single:.0} ns"
        );
    }
    println!("{:?}", keyspace.figures());
}

fn threads(count: u64) {
    let keyspace = keyspace();
    fill(&keyspace, count);
    for threads in [1u64, 2] {
        let start = Instant::now();
        let rounds = 150;
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let keyspace = &keyspace;
                scope.spawn(move || {
                    slab::use_arena(thread as usize);
                    measure(count, thread + 1, rounds, |names| get_all(keyspace, names, true));
                });
            }
        });
        let keys = threads as f64 * (rounds * BATCH * 200) as f64;
        println!(
            "{threads} threads: {:.2} million GETs a second, making the names included",
            keys / start.elapsed().as_secs_f64() / 1e6
        );
    }
}

/// Resident bytes of this process.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this needs Linux");
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Mean of the resident bytes per key over 1 to 2 million keys in steps of 100,000.
fn bytes(key_len: usize, value_len: usize, expiry: Expiry) {
    let before = resident_bytes();
    let keyspace = keyspace();
    let value = vec![b'v'; value_len];
    let mut figures = Vec::new();
    for number in 0..=2_000_000u64 {
        if number >= 1_000_000 && number.is_multiple_of(100_000) {
            figures.push((resident_bytes() - before) as f64 / number as f64);
        }
        let name = name(number, key_len);
        let key = keyspace.key(&name);
        keyspace.lock_one(key.shard()).set(DB, key, NewValue::Bytes(&value), expiry);
    }
    let mean = figures.iter().sum::<f64>() / figures.len() as f64;
    let table = keyspace.figures().table_bytes as f64 / 2e6;
    let slab = slab::figures();
    println!(
        "{key_len}/{value_len} {expiry:?}: {mean:.1} bytes a key ({:.1} to {:.1}); at 2 million: table {table:.1}, entries {:.1}, pages {:.1}",
        figures.iter().copied().fold(f64::MAX, f64::min),
        figures.iter().copied().fold(0.0, f64::max),
        slab.entry_bytes as f64 / 2e6,
        slab.page_bytes as f64 / 2e6,
    );
}

fn main() {
    slab::use_huge_pages(std::env::var_os("HUGE_PAGES").is_some());
    let args: Vec<String> = std::env::args().skip(1).collect();
    let count = || args.get(1).map_or(1_000_000, |count| count.parse().expect("a number of keys"));
    match args.first().map(String::as_str) {
        Some("speed") => speed(count()),
        Some("threads") => threads(count()),
        // One shape a process: what the last one gave back would hide in the next.
        Some("bytes") => match args.get(1).map(String::as_str) {
            Some("15/32") => bytes(15, 32, Expiry::Clear),
            Some("16/8") => bytes(16, 8, Expiry::Clear),
            Some("40/200") => bytes(40, 200, Expiry::Clear),
            Some("15/32+ttl") => bytes(15, 32, Expiry::At(Millis(1 << 41))),
            _ => {
                let program = std::env::current_exe().unwrap();
                for shape in ["15/32", "16/8", "40/200", "15/32+ttl"] {
                    std::process::Command::new(&program).args(["bytes", shape]).status().unwrap();
                }
            }
        },
        _ => eprintln!("narrow speed|threads [KEYS], or narrow bytes [SHAPE]"),
    }
}

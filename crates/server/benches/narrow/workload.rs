//! What the threads do. A new workload is a new row.

use std::ops::RangeInclusive;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use spinel_server::in_process::{Caller, Requests};

/// Requests in a batch: what the server runs under one access.
pub const BATCH: usize = 16;

pub struct Workload {
    pub name: &'static str,
    /// So many of a hundred narrow requests are GET, the others SET.
    reads_percent: u32,
    /// Bytes of the values that are set. All of the same size fit in place; others need a new entry most of the time.
    value_bytes: RangeInclusive<usize>,
    pub wide: Option<Wide>,
    /// A round's requests of each thread.
    requests: u64,
    /// The least throughput of two threads over that of one.
    pub scaling_min: Option<f64>,
}

/// A command that runs alone in the world, mixed into the others.
pub struct Wide {
    words: &'static [&'static [u8]],
    pub percent: u32,
}

/// GET and SET by halves are what the mixes are compared with.
pub const BASIS: &str = "GET+SET";

const NARROW: Workload =
    Workload { name: "", reads_percent: 50, value_bytes: 32..=32, wide: None, requests: 500_000, scaling_min: None };

const fn mixed(name: &'static str, words: &'static [&'static [u8]], percent: u32, requests: u64) -> Workload {
    Workload { name, wide: Some(Wide { words, percent }), requests, ..NARROW }
}

const SWAPDB: &[&[u8]] = &[b"SWAPDB", b"0", b"0"];
const DBSIZE: &[&[u8]] = &[b"DBSIZE"];
const RANDOMKEY: &[&[u8]] = &[b"RANDOMKEY"];

pub const WORKLOADS: &[Workload] = &[
    Workload { name: "GET", reads_percent: 100, scaling_min: Some(1.8), ..NARROW },
    Workload { name: "SET", reads_percent: 0, scaling_min: Some(1.8), ..NARROW },
    Workload { name: BASIS, scaling_min: Some(1.8), ..NARROW },
    Workload { name: "SET sizes", reads_percent: 0, value_bytes: 8..=120, ..NARROW },
    // The cheapest wide command: it changes nothing, and costs what being alone costs.
    mixed("1% SWAPDB", SWAPDB, 1, 200_000),
    mixed("10% SWAPDB", SWAPDB, 10, 100_000),
    // Visits all shards.
    mixed("1% DBSIZE", DBSIZE, 1, 200_000),
    mixed("10% DBSIZE", DBSIZE, 10, 50_000),
    mixed("1% RANDOMKEY", RANDOMKEY, 1, 200_000),
    mixed("10% RANDOMKEY", RANDOMKEY, 10, 50_000),
];

impl Workload {
    /// A round's requests of each thread, in whole batches.
    pub fn requests(&self, divisor: u64) -> u64 {
        (self.requests / divisor).next_multiple_of(BATCH as u64)
    }

    /// Executes `requests` random requests.
    pub fn run(&self, caller: &mut Caller<'_>, random: &mut SmallRng, keys: u64, requests: u64) {
        self.make(random, keys, requests, |batch| {
            std::hint::black_box(caller.execute(batch).len());
        });
    }

    /// Makes the same requests and executes none: what the benchmark itself costs.
    pub fn rehearse(&self, random: &mut SmallRng, keys: u64, requests: u64) {
        self.make(random, keys, requests, |batch| {
            std::hint::black_box(batch.len());
        });
    }

    #[inline]
    fn make(&self, random: &mut SmallRng, keys: u64, requests: u64, mut each: impl FnMut(&Requests<'_>)) {
        let mut names = [[0; NAME_BYTES]; BATCH];
        let mut memory = Requests::default();
        for _ in 0..requests / BATCH as u64 {
            for name in &mut names {
                *name = key_name(random.random_range(0..keys));
            }
            let mut batch = memory.recycle();
            for name in &names {
                self.push(random, name, &mut batch);
                batch.close(0);
            }
            each(&batch);
            memory = batch.recycle();
        }
    }

    #[inline]
    fn push<'a>(&self, random: &mut SmallRng, name: &'a [u8], batch: &mut Requests<'a>) {
        let die: u32 = random.random_range(0..10_000);
        let wide_below = self.wide.as_ref().map_or(0, |wide| wide.percent * 100);
        if die < wide_below {
            let words = self.wide.as_ref().map_or(&[][..], |wide| wide.words);
            return batch.args.extend_from_slice(words);
        }
        if (die - wide_below) % 100 < self.reads_percent {
            return batch.args.extend_from_slice(&[b"GET", name]);
        }
        let (least, most) = (*self.value_bytes.start(), *self.value_bytes.end());
        let len = if least == most { least } else { random.random_range(least..=most) };
        batch.args.extend_from_slice(&[b"SET", name, &VALUE[..len]]);
    }
}

static VALUE: [u8; 256] = [b'v'; 256];

const NAME_BYTES: usize = 16;

/// `key:` and twelve hexadecimal digits.
#[inline]
fn key_name(number: u64) -> [u8; NAME_BYTES] {
    let mut name = *b"key:000000000000";
    let mut left = number;
    for digit in name[4..].iter_mut().rev() {
        *digit = b"0123456789abcdef"[(left & 15) as usize];
        left >>= 4;
    }
    name
}

/// Sets the keys of one thread's part: every `threads`-th from `first` on.
pub fn fill(caller: &mut Caller<'_>, keys: u64, first: u64, threads: usize) {
    let mut numbers = (first..keys).step_by(threads);
    let mut memory = Requests::default();
    loop {
        let names: Vec<_> = numbers.by_ref().take(BATCH).map(key_name).collect();
        if names.is_empty() {
            return;
        }
        let mut batch = memory.recycle();
        for name in &names {
            batch.args.extend_from_slice(&[b"SET".as_slice(), name, &VALUE[..32]]);
            batch.close(0);
        }
        caller.execute(&batch);
        memory = batch.recycle();
    }
}

/// A generator of its own for every thread of every round.
pub fn random_of(seed: u64, round: usize, thread: usize) -> SmallRng {
    SmallRng::seed_from_u64(seed ^ ((round as u64) << 32 | thread as u64))
}

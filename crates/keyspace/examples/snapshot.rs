//! What a snapshot costs those who walk it and those who write meanwhile.
//!
//! ```text
//! cargo run --profile fast -p spinel-keyspace --example snapshot -- 3000000 5000000
//! ```
//!
//! So many string keys, and one hash of so many fields. The sink copies everything into buffers that it throws away. Times are for one machine at
//! one moment: compare within a run.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keyspace::collection::limits::HashLimits;
use keyspace::{
    DbIndex, ElementRef, Entry, Expiry, Hash, IntBuffer, Keyspace, NewValue, Opening, OpeningId, Options, Progress,
    ShardIndex, Sink, SnapshotLimits, Space, ValueRef, slab,
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const DB: DbIndex = DbIndex(0);

/// Writes records as a file would have them, and forgets them a chunk at a time.
struct Chunks(Vec<Mutex<Chunk>>);

/// Has its cache lines to itself.
#[derive(Default)]
#[repr(align(128))]
struct Chunk {
    bytes: Vec<u8>,
    records: u64,
}

impl Chunks {
    fn write(&self, number: usize, parts: [&[u8]; 2]) {
        let mut chunk = self.0[number % self.0.len()].lock().unwrap();
        parts.into_iter().for_each(|part| chunk.bytes.extend_from_slice(part));
        if chunk.bytes.len() > 256 * 1024 {
            chunk.bytes.clear();
        }
        chunk.records += 1;
    }

    fn records(&self) -> u64 {
        self.0.iter().map(|chunk| chunk.lock().unwrap().records).sum()
    }
}

impl Sink for Chunks {
    fn keys(&self, shard: ShardIndex, _db: DbIndex, entries: &[Entry<'_>]) {
        for entry in entries {
            let ValueRef::Str(text) = entry.value() else { panic!("small collections are not made here") };
            self.write(shard.get(), [entry.key(), text.bytes(&mut IntBuffer::new())]);
        }
    }

    fn open(&self, shard: ShardIndex, _db: DbIndex, entry: Entry<'_>, _opening: Opening) {
        self.write(shard.get(), [entry.key(), b""]);
    }

    fn elements(&self, _opening: OpeningId, elements: &[ElementRef<'_>]) {
        for element in elements {
            let ElementRef::Field(field) = element else { panic!("only a hash is made here") };
            self.write(0, [field.name.bytes(&mut IntBuffer::new()), field.value.bytes(&mut IntBuffer::new())]);
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, count: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((u128::from(self.0) * u128::from(count)) >> 64) as u64
    }
}

fn name(number: u64) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

const HASH: &[u8] = b"hash";

fn set(keyspace: &Keyspace, number: u64) {
    let name = name(number);
    let key = keyspace.key(&name);
    keyspace.lock_one(key.shard()).set(DB, key, NewValue::Bytes(&[b'v'; 32]), Expiry::Clear);
}

fn set_field(space: &mut Space<'_>, number: u64) {
    let mut hash = space.get_mut(DB, space.key(HASH)).unwrap().into_typed::<Hash>().unwrap();
    hash.set(&name(number), b"a value of some length", Expiry::Clear, &HashLimits::default());
}

/// Times in microseconds: mean, 99.9 percent, worst.
fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    let us = |time: Duration| time.as_nanos() as f64 / 1000.0;
    let sum: Duration = times.iter().sum();
    format!(
        "{} times, mean {:.2} us, p99.9 {:.1} us, worst {:.1} us",
        times.len(),
        us(sum) / times.len().max(1) as f64,
        us(times[times.len() * 999 / 1000]),
        us(*times.last().unwrap()),
    )
}

/// Writes to random keys and fields, each write by itself, until told to stop.
fn write(keyspace: &Keyspace, keys: u64, fields: u64, stop: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut random = Random(7);
    let mut times = Vec::new();
    while !stop(times.len()) {
        let number = random.below(keys + fields);
        let start = Instant::now();
        if number < keys {
            set(keyspace, number);
        } else {
            set_field(&mut keyspace.lock_one(keyspace.key(HASH).shard()), number - keys);
        }
        times.push(start.elapsed());
    }
    times
}

fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|count| count.parse().expect("a count")).collect();
    let &[keys, fields] = &args[..] else {
        eprintln!("snapshot KEYS FIELDS");
        return;
    };
    let keyspace = Keyspace::new(&Options { seed: [11, 22, 33, 44], ..Options::default() });
    (0..keys).for_each(|number| set(&keyspace, number));
    {
        let key = keyspace.key(HASH);
        let mut space = keyspace.lock_one(key.shard());
        space.set(DB, key, NewValue::Object(Hash::default().into()), Expiry::Clear);
        (0..fields).for_each(|number| set_field(&mut space, number));
    }
    println!("no snapshot: writes {}", summary(write(&keyspace, keys, fields, |count| count == 1_000_000)));
    for (walkers_count, writing) in [(1, false), (2, false), (1, true)] {
        let sink = Arc::new(Chunks((0..64).map(|_| Mutex::default()).collect()));
        // SAFETY: no other thread has access now; likewise below.
        let mut space = unsafe { keyspace.wide() };
        let start = Instant::now();
        let snapshot = space.cut(Arc::clone(&sink) as Arc<dyn Sink>, SnapshotLimits::default());
        let cut = start.elapsed();
        drop(space);
        let done = AtomicBool::new(false);
        let (slices, writes) = std::thread::scope(|scope| {
            let writer = writing.then(|| scope.spawn(|| write(&keyspace, keys, fields, |_| done.load(Relaxed))));
            let walkers: Vec<_> = (0..walkers_count)
                .map(|arena| {
                    let (snapshot, keyspace) = (snapshot.clone(), &keyspace);
                    scope.spawn(move || {
                        slab::use_arena(arena);
                        let mut times = Vec::new();
                        loop {
                            let start = Instant::now();
                            match snapshot.walk_slice(keyspace) {
                                Progress::Worked => times.push(start.elapsed()),
                                Progress::Waiting => std::thread::yield_now(),
                                Progress::Complete | Progress::Ended => return times,
                            }
                        }
                    })
                })
                .collect();
            let slices: Vec<Duration> = walkers.into_iter().flat_map(|walker| walker.join().unwrap()).collect();
            let elapsed = start.elapsed();
            done.store(true, Relaxed);
            println!(
                "{walkers_count} walkers{}: {:.2} s, {} records, cut in {:.1} us, {:?}",
                if writing { " beside a writer" } else { "" },
                elapsed.as_secs_f64(),
                sink.records(),
                cut.as_nanos() as f64 / 1000.0,
                snapshot.figures()
            );
            (slices, writer.map(|writer| writer.join().unwrap()))
        });
        println!("  slices: {}", summary(slices));
        if let Some(writes) = writes {
            println!("  writes: {}", summary(writes));
        }
        // SAFETY: as above.
        unsafe { keyspace.wide() }.end_cut();
    }
}

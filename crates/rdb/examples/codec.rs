//! How fast records are written, found and decoded, one thread: `cargo run --profile fast -p spinel-rdb --example codec`.
//!
//! CPU nanoseconds a key and bytes a second, the best of several runs. Keys of 15 bytes; values as named.

use std::hint::black_box;

use keyspace::collection::stream::StreamId;
use keyspace::{
    DbIndex, End, Expiry, Hash, Held, Keyspace, List, NewValue, Object, Options as KeyspaceOptions, Set, ShardIndex,
    SortedSet, Stream,
};
use rdb::encode::{self, Options};
use rdb::{Checksum, Item, Limits, Reader};

/// What a server runs with.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const RUNS: usize = 4;
const RUN_NS_MIN: f64 = 60e6;

struct Row {
    name: &'static str,
    keys: usize,
    value: fn(usize) -> NewValue<'static>,
}

fn text(seed: usize, len: usize) -> Vec<u8> {
    let mut state = seed as u64 * 0x9E37_79B9_7F4A_7C15 + 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            b'a' + (state >> 59) as u8 % 26
        })
        .collect()
}

fn object(object: impl Into<Object>) -> NewValue<'static> {
    NewValue::Object(object.into())
}

fn hash(fields: usize, number: usize) -> NewValue<'static> {
    let mut hash = Hash::default();
    hash.prepare(fields, &Limits::default().hash);
    for field in 0..fields {
        let (name, value) = (format!("field:{field}"), text(number + field, 12));
        hash.set(name.as_bytes(), &value, Expiry::Clear, &Limits::default().hash);
    }
    object(hash)
}

fn set(members: usize, number: usize) -> NewValue<'static> {
    let mut set = Set::default();
    for member in 0..members {
        set.insert(format!("member:{}", number * 7 + member).as_bytes(), &Limits::default().set);
    }
    object(set)
}

fn sorted_set(members: usize, number: usize) -> NewValue<'static> {
    let mut set = SortedSet::default();
    for member in 0..members {
        let score = ((member * 7919 + number) % 10_007) as f64 / 4.0;
        set.update(format!("member:{member}").as_bytes(), &Limits::default().sorted_set, |_| Some(score));
    }
    object(set)
}

fn list(items: usize, number: usize) -> NewValue<'static> {
    let mut list = List::default();
    let limits = Limits::default().list;
    for item in 0..items {
        let text = text(number + item, 16);
        list.grow(text.len(), 1, limits);
        list.push(End::Back, text[..].into());
    }
    object(list)
}

fn stream(entries: usize, number: usize) -> NewValue<'static> {
    let mut stream = Stream::default();
    for entry in 0..entries {
        let value = text(number + entry, 10);
        let id = StreamId::new(1_700_000_000_000 + entry as u64 * 3, 0);
        stream.entries.append(id, &[b"sensor", b"12", b"value", &value], Default::default());
    }
    object(stream)
}

const ROWS: &[Row] = &[
    Row { name: "string of 10 bytes", keys: 400_000, value: |number| leak(text(number, 10)) },
    Row { name: "string of 32 bytes", keys: 400_000, value: |number| leak(text(number, 32)) },
    Row { name: "integer", keys: 400_000, value: |number| NewValue::Int(number as i64 * 7919) },
    Row { name: "string of 1 KiB", keys: 50_000, value: |number| leak(text(number, 1024)) },
    Row { name: "hash of 8", keys: 50_000, value: |number| hash(8, number) },
    Row { name: "set of 8", keys: 50_000, value: |number| set(8, number) },
    Row { name: "sorted set of 8", keys: 50_000, value: |number| sorted_set(8, number) },
    Row { name: "list of 8", keys: 50_000, value: |number| list(8, number) },
    Row { name: "hash of 100,000", keys: 4, value: |number| hash(100_000, number) },
    Row { name: "set of 100,000", keys: 4, value: |number| set(100_000, number) },
    Row { name: "sorted set of 100,000", keys: 4, value: |number| sorted_set(100_000, number) },
    Row { name: "list of 100,000", keys: 4, value: |number| list(100_000, number) },
    Row { name: "stream of 100,000", keys: 4, value: |number| stream(100_000, number) },
];

fn leak(text: Vec<u8>) -> NewValue<'static> {
    NewValue::Bytes(text.leak())
}

/// What this thread has used: other work on the machine does not count.
fn cpu_ns() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("a number")
}

/// Nanoseconds of the quickest run, divided by `count`.
fn best<R>(count: usize, mut run: impl FnMut() -> R) -> f64 {
    // The kernel counts in steps of a few milliseconds.
    let times = (0..RUNS).map(|_| {
        let (start, mut repeats) = (cpu_ns(), 0);
        loop {
            black_box(run());
            repeats += 1;
            let used = cpu_ns() - start;
            if used > RUN_NS_MIN {
                return used / f64::from(repeats);
            }
        }
    });
    times.fold(f64::INFINITY, f64::min) / count as f64
}

fn main() {
    println!(
        "{:24} {:>9} {:>22} {:>22} {:>16} {:>16}",
        "value", "bytes", "write ns (GB/s)", "compressed ns (of)", "find ns", "decode ns"
    );
    for row in ROWS {
        let keyspace = Keyspace::new(&KeyspaceOptions { seed: [1, 2, 3, 4], ..KeyspaceOptions::default() });
        let mut held = Held::new();
        ShardIndex::all().for_each(|shard| {
            held.insert(shard);
        });
        let mut space = keyspace.narrow(&held);
        let names: Vec<String> = (0..row.keys).map(|number| format!("key:{number:011}")).collect();
        for (number, name) in names.iter().enumerate() {
            space.set(DbIndex(0), keyspace.key(name.as_bytes()), (row.value)(number), Expiry::Clear);
        }
        // As a walker does it: entry by entry, into chunks that are handed on.
        let entries: Vec<_> = names
            .iter()
            .map(|name| (name, space.get(DbIndex(0), keyspace.key(name.as_bytes())).expect("it was set")))
            .collect();
        let write = |out: &mut Vec<u8>, compress: bool| {
            let options = Options { compression: compress.into(), ..Options::default() };
            let mut bytes = 0;
            out.clear();
            for (name, entry) in &entries {
                encode::record(out, name.as_bytes(), None, None, &entry.value(), &options);
                if out.len() > 60 << 10 {
                    bytes += out.len();
                    out.clear();
                }
            }
            bytes + out.len()
        };
        let mut out = Vec::with_capacity(64 << 10);
        let bytes = write(&mut out, false);
        let plain_ns = best(row.keys, || write(&mut out, false));
        let compressed = write(&mut out, true);
        let compressed_ns = best(row.keys, || write(&mut out, true));

        let mut file = Vec::new();
        encode::header(&mut file, Options::default().version);
        for (name, entry) in &entries {
            let options = Options { compression: false.into(), ..Options::default() };
            encode::record(&mut file, name.as_bytes(), None, None, &entry.value(), &options);
        }
        encode::end(&mut file);
        let checksum = Checksum::of(&file);
        encode::footer(&mut file, checksum);
        let read = |decode: bool| {
            let mut reader = Reader::new(&file[..], Limits::default()).expect("a file");
            while let Some(item) = reader.next_item().expect("it was written just now") {
                if let (Item::Batch(batch), true) = (item, decode) {
                    for record in batch.records() {
                        black_box((record.key().expect("a key"), record.decode(&Limits::default()).expect("a value")));
                    }
                }
            }
        };
        let find_ns = best(row.keys, || read(false));
        let decode_ns = best(row.keys, || read(true))
            - if bytes / row.keys > rdb::decode::RECORD_BYTES_MAX { 0.0 } else { find_ns };
        println!(
            "{:24} {:>9} {plain_ns:>14.1} ({:>5.2}) {compressed_ns:>14.1} ({:>4.0}%) {find_ns:>16.1} {decode_ns:>16.1}",
            row.name,
            bytes / row.keys,
            bytes as f64 / row.keys as f64 / plain_ns,
            100.0 * compressed as f64 / bytes as f64,
        );
    }
}

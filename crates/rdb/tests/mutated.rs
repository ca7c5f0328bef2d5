//! Damaged payloads and files: an error or a value that can be used, never a panic, and memory that follows the bytes that are there.
//!
//! `SPINEL_RDB_MUTATIONS` says how many payloads of each form are damaged (2,000), `SPINEL_FUZZ_SECONDS` how long each test goes on
//! instead. `fuzz/` has the same checks for `cargo fuzz`; whole files and payloads for it to begin with are left in `SPINEL_FUZZ_SEEDS`.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use common::old::{OLD, old_value, payload};
use common::{content_of_decoded, random_limits, random_text, random_value, with_value};
use keyspace::Millis;
use rand::Rng;
use rdb::encode::{self, Options};
use rdb::{Checksum, Item, Limits, Reader, Value, Version, dump, fuzz};
use testkit::Random;

/// Counts what a thread has allocated.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most that was allocated at once, on top of what was before.
fn peak_of<R>(run: impl FnOnce() -> R) -> (R, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = run();
    (result, (PEAK.get() - before) as usize)
}

/// LZF makes 88 bytes of one, and what is decompressed is there twice for a while; an element's own overhead is some 30 of 2.
fn bound_bytes(input_len: usize) -> usize {
    200 * input_len + (64 << 10)
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..7) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes[at] = [0, 1, 0x7F, 0x80, 0x81, 0xC3, 0xF1, 0xF4, 0xFE, 0xFF][random.random_range(0..10)],
            3 => bytes.truncate(at),
            4 => bytes.insert(at, random.random()),
            5 => drop(bytes.remove(at)),
            _ => {
                // A part of it again, or in another place.
                let len = random.random_range(1..=(bytes.len() - at).min(20));
                let part = bytes[at..at + len].to_vec();
                let to = random.random_range(0..bytes.len());
                bytes.splice(to..to, part);
            }
        }
    }
}

/// So many damages of one payload before the next is made.
const DAMAGES: usize = 20;

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

/// How often a payload of a form is made, where there are so many forms.
fn rounds(forms: usize) -> impl Iterator<Item = ()> {
    let until = number("SPINEL_FUZZ_SECONDS")
        .map(|seconds| Instant::now() + Duration::from_secs_f64(seconds as f64 / forms as f64));
    let count = number("SPINEL_RDB_MUTATIONS").unwrap_or(2_000) / DAMAGES;
    let mut round = 0;
    std::iter::from_fn(move || {
        round += 1;
        until.map_or(round <= count, |until| Instant::now() < until).then_some(())
    })
}

/// Whole input for a target of `cargo fuzz`, which hardly finds the way into a file by itself. Long ones would only make it slow.
fn keep_seed(target: &str, input: &[u8]) {
    const BYTES_MAX: usize = 4096;
    if input.len() <= BYTES_MAX
        && let Some(folder) = std::env::var_os("SPINEL_FUZZ_SEEDS")
    {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let name = Checksum::of(input);
        std::fs::write(folder.join(format!("{name:016x}")), input).expect("a file can be written");
    }
}

/// Damages a payload many times. Its own footer is made anew.
fn damage(random: &mut Random, code: u8, body: &[u8], version: u16, rounds: usize) {
    keep_seed("restore_payload", &[&[code], body].concat());
    for _ in 0..rounds {
        let mut body = body.to_vec();
        mutate(random, &mut body);
        let payload = payload(code, &body, version);
        let limits = random_limits(random);
        let (restored, peak) = peak_of(|| dump::restore(&payload, &limits));
        assert!(peak <= bound_bytes(payload.len()), "{peak} bytes for a payload of {}", payload.len());
        match restored {
            Ok(value) => {
                content_of_decoded(&value);
                if let Value::Object(object) = value {
                    fuzz::exercise(object, &limits, &random_text(random));
                }
            }
            Err(error) => drop(error.to_string()),
        }
    }
}

#[test]
fn payloads_of_today() {
    let mut random = testkit::random_from(testkit::seed());
    for version in [Version::REDIS_7_0, Version::REDIS_7_4, Version::VALKEY_9] {
        for kind in 0..common::KINDS {
            for () in rounds(18) {
                let limits = random_limits(&mut random);
                let value = random_value(&mut random, &limits, kind);
                let compress = random.random_range(0..4) == 0;
                let whole =
                    with_value(value, |value| dump::dump_as(value, &Options { version, compression: compress.into() }));
                if whole.len() < 4000 {
                    damage(&mut random, whole[0], &whole[1..whole.len() - 10], version.number(), DAMAGES);
                }
            }
        }
    }
}

#[test]
fn payloads_of_old() {
    let mut random = testkit::random_from(testkit::seed());
    for value_type in OLD {
        for () in rounds(OLD.len()) {
            let old = old_value(&mut random, value_type);
            if old.body.len() < 4000 {
                damage(&mut random, value_type.code(), &old.body, 9, DAMAGES);
            }
        }
    }
}

#[test]
fn payloads_of_functions() {
    let mut random = testkit::random_from(testkit::seed());
    for () in rounds(1) {
        let codes: Vec<Vec<u8>> = (0..random.random_range(0..4)).map(|_| random_text(&mut random)).collect();
        let whole = dump::dump_functions(codes.iter().map(Vec::as_slice), random.random());
        for _ in 0..DAMAGES {
            let mut body = whole[..whole.len() - 10].to_vec();
            mutate(&mut random, &mut body);
            let ((), peak) = peak_of(|| fuzz::functions_payload(&body));
            assert!(peak <= 4 * bound_bytes(body.len()), "{peak} bytes for a payload of {}", body.len());
        }
    }
}

#[test]
fn files() {
    let mut random = testkit::random_from(testkit::seed());
    for () in rounds(1) {
        let mut file = Vec::new();
        let options = Options { version: Version::LATEST, compression: random.random::<bool>().into() };
        encode::header(&mut file, options.version);
        encode::aux(&mut file, b"redis-ver", b"8.2.0");
        encode::select_db(&mut file, 0);
        encode::resize_db(&mut file, 10, 5);
        for number in 0..random.random_range(1..10) {
            let limits = random_limits(&mut random);
            let value = random_value(&mut random, &limits, number % common::KINDS);
            with_value(value, |value| {
                let expire_at = random.random::<bool>().then_some(Millis(1_700_000_000_000));
                encode::record(&mut file, format!("key {number}").as_bytes(), expire_at, None, value, &options);
            });
        }
        encode::end(&mut file);
        // A checksum of zero is none: what is changed is not refused for that alone.
        keep_seed("rdb_file", &[file.as_slice(), &[0; 8]].concat());
        for _ in 0..DAMAGES {
            let mut damaged = file.clone();
            mutate(&mut random, &mut damaged);
            let checksum = Checksum::of(&damaged);
            encode::footer(&mut damaged, checksum);
            let limits = random_limits(&mut random);
            let ((), peak) = peak_of(|| read(&damaged, &limits));
            // A block of the reader, and the next one.
            assert!(peak <= bound_bytes(damaged.len()) + (1 << 20), "{peak} bytes for a file of {}", damaged.len());
            fuzz::rdb_file(&damaged);
        }
    }
}

fn read(file: &[u8], limits: &Limits) {
    let Ok(mut reader) = Reader::new(file, *limits) else { return };
    loop {
        match reader.next_item() {
            Ok(None) => return,
            Ok(Some(Item::Batch(batch))) => {
                for record in batch.records() {
                    if let Err(error) = record.decode(limits) {
                        drop(error.to_string());
                    }
                }
            }
            Ok(Some(_)) => {}
            Err(error) => {
                drop(error.to_string());
                return;
            }
        }
    }
}

//! Damaged payloads and files: an error or a value that can be used, never a panic, and memory that follows the bytes that are there.
//!
//! `SPINEL_RDB_MUTATIONS` says how many payloads of each form are damaged (2,000; 10,000 have been, now and then).

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::ControlFlow;

use common::old::{OLD, old_value, payload};
use common::{content_of_decoded, random_limits, random_text, random_value, with_value};
use keyspace::collection::limits::StreamLimits;
use keyspace::collection::sorted_set::{LexBound, LexRange};
use keyspace::collection::stream::{References, StreamId, Trim, TrimTo};
use keyspace::{Collection, End, Expiry, Millis, NewItem, Object};
use rand::Rng;
use rdb::encode::{self, Options};
use rdb::{Checksum, Item, Limits, Reader, Value, Version, dump};
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

/// Whatever was read must be good for commands.
fn use_value(random: &mut Random, value: Value<'_>, limits: &Limits) {
    content_of_decoded(&value);
    let Value::Object(mut object) = value else { return };
    assert!(!object.is_empty() || matches!(object, Object::Stream(_)), "an empty {}", object.type_name());
    let text = random_text(random);
    let payload_before = object_payload(&object);
    match &mut object {
        Object::List(list) => {
            list.grow(text.len(), 1, limits.list);
            list.push(End::Front, NewItem::from(&text[..]));
            list.remove_range(list.len() / 2, 2);
            list.walk(0, true, |_| ControlFlow::Continue(()));
            list.pop(End::Back, 3, |_| {});
            list.shrink(limits.list);
        }
        Object::Set(set) => {
            let members: Vec<Vec<u8>> = common::members_of(set);
            set.insert(&text, &limits.set);
            for member in &members {
                assert!(set.contains(member));
                assert!(set.remove(member));
            }
        }
        Object::Hash(hash) => {
            let now = Millis(4_500_000_000_000);
            hash.set(&text, &text, Expiry::Keep, &limits.hash);
            hash.set_expiry(&text, Some(now));
            while hash.is_due(now) && hash.expire_due(now, 100, |_| {}) > 0 {}
            for name in hash.due_names(Millis(i64::MAX)) {
                assert!(hash.remove(&name));
            }
            hash.random(now, || 1 << 40);
        }
        Object::SortedSet(set) => {
            let members: Vec<(Vec<u8>, f64)> = set.all().map(|(member, score)| (member.to_vec(), score)).collect();
            assert!(members.is_sorted_by(|one, other| one.1 <= other.1));
            set.ranks_by_lex(
                &LexRange { min: LexBound::Included(&text), max: LexBound::Highest },
                keyspace::collection::sorted_set::Direction::Up,
            );
            set.update(&text, &limits.sorted_set, |_| Some(1.5));
            for (rank, (member, score)) in members.iter().enumerate().take(20) {
                assert!(set.score(member).is_some(), "rank {rank}");
                assert!(*member == text || set.remove(member) == Some(*score));
            }
        }
        Object::Stream(stream) => {
            let ids: Vec<StreamId> =
                stream.entries.range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id()).collect();
            assert!(
                stream
                    .entries
                    .range_back(StreamId::MIN, StreamId::MAX)
                    .map(|entry| entry.id())
                    .eq(ids.iter().rev().copied())
            );
            if let Some(next) = stream.entries.last_id().next() {
                stream.entries.append(next, &[b"field", &text], StreamLimits::default());
            }
            for &id in ids.iter().step_by(2) {
                assert!(stream.entries.contains(id));
                stream.delete(id, References::Delete);
            }
            let trim = |to| Trim { to, approximate: false, limit: 0, references: References::Keep };
            stream.trim(&trim(TrimTo::MaxLen(2)));
            let last_id = stream.entries.last_id();
            stream.trim(&trim(TrimTo::MinId(last_id)));
        }
    }
    drop(payload_before);
}

fn object_payload(object: &Object) -> Vec<u8> {
    let mut out = Vec::new();
    encode::object(&mut out, object, &Options::default());
    out
}

fn mutations() -> usize {
    std::env::var("SPINEL_RDB_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

/// Damages a payload many times. Its own footer is made anew.
fn damage(random: &mut Random, code: u8, body: &[u8], version: u16, rounds: usize) {
    for _ in 0..rounds {
        let mut body = body.to_vec();
        mutate(random, &mut body);
        let payload = payload(code, &body, version);
        let limits = random_limits(random);
        let (restored, peak) = peak_of(|| dump::restore(&payload, &limits));
        assert!(peak <= bound_bytes(payload.len()), "{peak} bytes for a payload of {}", payload.len());
        match restored {
            Ok(value) => use_value(random, value, &limits),
            Err(error) => drop(error.to_string()),
        }
    }
}

/// So many damages of one payload before the next is made.
const DAMAGES: usize = 20;

#[test]
fn payloads_of_today() {
    let mut random = testkit::random_from(testkit::seed());
    for version in [Version::REDIS_7_0, Version::REDIS_7_4, Version::VALKEY_9] {
        for kind in 0..common::KINDS {
            for _ in 0..mutations() / DAMAGES {
                let limits = random_limits(&mut random);
                let value = random_value(&mut random, &limits, kind);
                let compress = random.random_range(0..4) == 0;
                let whole = with_value(value, |value| dump::dump_as(value, &Options { version, compress }));
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
        for _ in 0..mutations() / DAMAGES {
            let old = old_value(&mut random, value_type);
            if old.body.len() < 4000 {
                damage(&mut random, value_type.code(), &old.body, 9, DAMAGES);
            }
        }
    }
}

#[test]
fn files() {
    let mut random = testkit::random_from(testkit::seed());
    for _ in 0..mutations() / 100 {
        let mut file = Vec::new();
        let options = Options { version: Version::LATEST, compress: random.random() };
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
        for _ in 0..100 {
            let mut damaged = file.clone();
            mutate(&mut random, &mut damaged);
            let checksum = Checksum::of(&damaged);
            encode::footer(&mut damaged, checksum);
            let limits = random_limits(&mut random);
            let ((), peak) = peak_of(|| read(&damaged, &limits));
            // A block of the reader, and the next one.
            assert!(peak <= bound_bytes(damaged.len()) + (1 << 20), "{peak} bytes for a file of {}", damaged.len());
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

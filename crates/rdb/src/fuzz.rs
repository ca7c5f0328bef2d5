//! Bodies of the fuzz targets: functions that panic on a finding, so that `cargo fuzz` (`fuzz/`) and the bounded test on the stable toolchain
//! (`tests/mutated.rs`) drive the same checks.

use std::io::{self, Read};
use std::ops::ControlFlow;

use keyspace::collection::limits::StreamLimits;
use keyspace::collection::sorted_set::{Direction, LexBound, LexRange};
use keyspace::collection::stream::{References, StreamId, Trim, TrimTo};
use keyspace::{Collection, End, Expiry, Millis, NewItem, Object};

use crate::encode::Options;
use crate::{Checksum, Item, Limits, Reader, Result, Value, Version, dump};

/// Thresholds at which nearly every collection is large.
fn tiny_limits() -> Limits {
    let mut limits = Limits::default();
    limits.list.listpack_size_max = 2;
    limits.set.intset_entries_max = 2;
    (limits.set.listpack_entries_max, limits.set.listpack_value_bytes_max) = (2, 4);
    (limits.hash.listpack_entries_max, limits.hash.listpack_value_bytes_max) = (2, 4);
    (limits.sorted_set.listpack_entries_max, limits.sorted_set.listpack_value_bytes_max) = (2, 4);
    limits
}

/// Bytes that come a few at a time.
struct Dripping<'a>(&'a [u8]);

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.0.len().min(buffer.len()).min(97);
        buffer[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        Ok(len)
    }
}

/// Reads a file to its end or to what is wrong with it. The values are given as payloads, in order.
fn read(source: impl Read, limits: &Limits) -> (Vec<Vec<u8>>, Result<()>) {
    let mut values = Vec::new();
    let mut note = |value: Value<'_>| {
        if let Value::Object(object) = value {
            values.push(dump::dump_object(&object, &Options::default()));
        }
    };
    let read = || {
        let mut reader = Reader::new(source, *limits)?;
        while let Some(item) = reader.next_item()? {
            match item {
                Item::Batch(batch) => {
                    for record in batch.records() {
                        record.key()?;
                        note(record.decode(limits)?);
                    }
                }
                Item::Decoded(decoded) => note(decoded.value),
                _ => {}
            }
        }
        Ok(())
    };
    let result = read();
    (values, result)
}

/// A file, whole and in pieces: the same values and the same error.
pub fn rdb_file(data: &[u8]) {
    let limits = Limits::default();
    let (whole, result) = read(data, &limits);
    let (dripping, dripping_result) = read(Dripping(data), &limits);
    let said = |result: Result<()>| result.err().map(|error| error.to_string());
    assert_eq!(said(result), said(dripping_result));
    assert_eq!(whole, dripping);
    drop(read(data, &tiny_limits()).1.err().map(|error| error.to_string()));
}

/// A payload without version and checksum, in all versions that differ, under limits that differ.
pub fn restore_payload(data: &[u8]) {
    for version in [Version::REDIS_7_4, Version::VALKEY_9] {
        let mut payload = data.to_vec();
        payload.extend_from_slice(&version.number().to_le_bytes());
        let checksum = Checksum::of(&payload);
        payload.extend_from_slice(&checksum.to_le_bytes());
        for limits in [Limits::default(), tiny_limits()] {
            match dump::restore(&payload, &limits) {
                Ok(Value::Object(object)) => exercise(object, &limits, b"text"),
                Ok(_) => {}
                Err(error) => drop(error.to_string()),
            }
        }
    }
}

/// A payload of functions without version and checksum: what was read is written and read again.
///
/// # Panics
/// If it is not.
pub fn functions_payload(data: &[u8]) {
    let mut payload = data.to_vec();
    payload.extend_from_slice(&Version::REDIS_7_0.number().to_le_bytes());
    let checksum = Checksum::of(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    match dump::restore_functions(&payload) {
        Ok(codes) => {
            let again = dump::dump_functions(codes.iter().map(Vec::as_slice), true);
            assert_eq!(dump::restore_functions(&again), Ok(codes));
        }
        Err(error) => drop(error.to_string()),
    }
}

/// A value that was read must be good for commands of all kinds, and be written and read again.
///
/// # Panics
/// If it is not.
pub fn exercise(mut object: Object, limits: &Limits, text: &[u8]) {
    assert!(!object.is_empty() || matches!(object, Object::Stream(_)), "an empty {}", object.type_name());
    for version in [Version::REDIS_7_0, Version::REDIS_7_4, Version::VALKEY_9] {
        let payload = dump::dump_object(&object, &Options { version, compression: true.into() });
        let again = dump::restore(&payload, limits);
        assert!(matches!(again, Ok(Value::Object(again)) if again.len() == object.len()), "in version {version:?}");
    }
    match &mut object {
        Object::List(list) => {
            list.grow(text.len(), 1, limits.list);
            list.push(End::Front, NewItem::from(text));
            list.remove_range(list.len() / 2, 2);
            list.walk(0, true, |_| ControlFlow::Continue(()));
            list.pop(End::Back, 3, |_| {});
            list.shrink(limits.list);
        }
        Object::Set(set) => {
            let mut members = Vec::new();
            set.for_each(|member| members.push(member.to_vec()));
            set.insert(text, &limits.set);
            for member in &members {
                assert!(set.contains(member));
                assert!(set.remove(member));
            }
        }
        Object::Hash(hash) => {
            let now = Millis(4_500_000_000_000);
            hash.set(text, text, Expiry::Keep, &limits.hash);
            hash.set_expiry(text, Some(now));
            while hash.is_due(now) && hash.expire_due(now, 100, |_| {}) > 0 {}
            for name in hash.due_names(Millis::NEVER) {
                assert!(hash.remove(&name));
            }
            hash.random(now, || 1 << 40);
        }
        Object::SortedSet(set) => {
            let members: Vec<(Vec<u8>, f64)> = set.all().map(|(member, score)| (member.to_vec(), score)).collect();
            assert!(members.is_sorted_by(|one, other| one.1 <= other.1));
            let range = LexRange { min: LexBound::Included(text), max: LexBound::Highest };
            set.ranks_by_lex(&range, Direction::Up);
            set.update(text, &limits.sorted_set, |_| Some(1.5));
            for (member, score) in members.iter().take(20) {
                assert!(set.score(member).is_some());
                assert!(member == text || set.remove(member) == Some(*score));
            }
        }
        Object::Stream(stream) => {
            let all = || stream.entries.range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id());
            let ids: Vec<StreamId> = all().collect();
            let back = stream.entries.range_back(StreamId::MIN, StreamId::MAX).map(|entry| entry.id());
            assert!(back.eq(ids.iter().rev().copied()));
            if let Some(next) = stream.entries.last_id().next() {
                stream.entries.append(next, &[b"field", text], StreamLimits::default());
            }
            for &id in ids.iter().step_by(2) {
                assert!(stream.entries.contains(id));
                stream.delete(id, References::Delete);
            }
            let last_id = stream.entries.last_id();
            for to in [TrimTo::MaxLen(2), TrimTo::MinId(last_id)] {
                stream.trim(&Trim { to, approximate: false, limit: 0, references: References::Keep });
            }
        }
    }
}

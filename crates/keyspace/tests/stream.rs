//! A stream against a plain map: generated operations, blocks of a few entries, counts that cross the sizes of their encodings.

mod common;

use std::collections::BTreeMap;

use keyspace::collection::limits::StreamLimits;
use keyspace::collection::stream::{Entry, Pending, References, Stream, StreamId, Trim, TrimTo};
use keyspace::{Collection, Listpack};
use rand::Rng;
use rand::rngs::StdRng;

type Model = BTreeMap<StreamId, Vec<Vec<u8>>>;

fn pairs_of(entry: &Entry<'_>) -> Vec<Vec<u8>> {
    entry.fields().flat_map(|(field, value)| [field.to_vec(), value.to_vec()]).collect()
}

fn random_pairs(rng: &mut StdRng) -> Vec<Vec<u8>> {
    // Mostly the same fields, as real streams have them; integers of all sizes and texts beyond a byte's length.
    let fields = match rng.random_range(0..10) {
        0..6 => vec!["a".to_owned(), "b".to_owned()],
        6..8 => vec![rng.random_range(0..3).to_string()],
        _ => (0..rng.random_range(1..5)).map(|field| "f".repeat(field * 40)).collect(),
    };
    let value = |rng: &mut StdRng| match rng.random_range(0..4) {
        0 => (rng.random::<i64>() >> rng.random_range(0..64)).to_string(),
        1 => String::new(),
        _ => "v".repeat(rng.random_range(0..150)),
    };
    fields.into_iter().flat_map(|field| [field, value(rng)]).map(String::into_bytes).collect()
}

fn random_id(rng: &mut StdRng, model: &Model) -> StreamId {
    let (Some((first, _)), Some((last, _))) = (model.first_key_value(), model.last_key_value()) else {
        return StreamId::MIN;
    };
    let id = StreamId::new(rng.random_range(first.ms.saturating_sub(1)..=last.ms + 1), rng.random_range(0..4));
    // Mostly one that is there.
    match model.range(id..).next() {
        Some((next, _)) if rng.random_range(0..4) > 0 => *next,
        _ => id,
    }
}

fn check(stream: &Stream, model: &Model, rng: &mut StdRng) {
    assert_eq!(stream.len(), model.len());
    let first = model.first_key_value().map_or(StreamId::MIN, |(id, _)| *id);
    assert_eq!(stream.entries.first_id(), first);
    assert_eq!(stream.entries.last_live_id(), model.last_key_value().map(|(id, _)| *id));
    let (start, end) = match rng.random_range(0..3) {
        0 => (StreamId::MIN, StreamId::MAX),
        _ => (random_id(rng, model), random_id(rng, model)),
    };
    let expected: Vec<_> = if start > end {
        Vec::new()
    } else {
        model.range(start..=end).map(|(id, pairs)| (*id, pairs.clone())).collect()
    };
    let forwards: Vec<_> = stream.entries.range(start, end).map(|entry| (entry.id(), pairs_of(&entry))).collect();
    let mut backwards: Vec<_> =
        stream.entries.range_back(start, end).map(|entry| (entry.id(), pairs_of(&entry))).collect();
    backwards.reverse();
    assert_eq!(forwards, expected);
    assert_eq!(backwards, expected);
    let id = random_id(rng, model);
    assert_eq!(stream.entries.get(id).map(|entry| pairs_of(&entry)), model.get(&id).cloned());
}

/// The nodes of a compressed radix tree of these keys: a leaf each, a node where they part, and one for what lies between.
fn radix_nodes(keys: &[[u8; 16]], depth: usize) -> usize {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
        return 0;
    };
    let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    let between = usize::from(shared > depth);
    match keys.len() {
        1 => 1 + between,
        _ => {
            let branches = keys.chunk_by(|a, b| a[shared] == b[shared]);
            1 + between + branches.map(|keys| radix_nodes(keys, shared + 1)).sum::<usize>()
        }
    }
}

fn check_blocks(stream: &Stream, limits: StreamLimits) {
    let keys: Vec<_> = stream.entries.blocks().map(|(id, _)| id.to_be_bytes()).collect();
    assert_eq!(stream.entries.radix_nodes(), radix_nodes(&keys, 0).max(1));
    let mut before = None;
    for (id, bytes) in stream.entries.blocks() {
        assert!(before < Some(id), "blocks are in order");
        before = Some(id);
        let listpack = Listpack::from_bytes(bytes).expect("a block is a listpack");
        let mut counts = listpack.iter().map(|item| item.as_int());
        let (live, deleted) = (counts.next().flatten().unwrap(), counts.next().flatten().unwrap());
        assert!(limits.node_entries_max == 0 || (live + deleted) as usize <= limits.node_entries_max.max(1));
    }
}

#[test]
fn a_stream_is_a_map_of_its_entries() {
    let mut rng = common::rng("a_stream_is_a_map_of_its_entries");
    for round in 0..40 {
        let limits = match round % 4 {
            0 => StreamLimits { node_bytes_max: 4096, node_entries_max: 3 },
            1 => StreamLimits { node_bytes_max: 200, node_entries_max: 100 },
            // The counts grow beyond one byte, and entries move.
            2 => StreamLimits { node_bytes_max: 0, node_entries_max: 0 },
            _ => StreamLimits { node_bytes_max: 0, node_entries_max: 1 },
        };
        let (mut stream, mut model) = (Stream::default(), Model::new());
        let (mut last, mut added) = (StreamId::MIN, 0);
        // What was shared with the stream that goes on holds for ever what it held then.
        let mut shares: Vec<(Stream, Model)> = Vec::new();
        // Blocks crowd into runs, which are emptied from both sides.
        let steps = if round % 4 == 3 { 3000 } else { 1200 };
        for _ in 0..steps {
            match rng.random_range(0..100) {
                0..60 => {
                    let leap = if rng.random_range(0..20) == 0 { rng.random_range(0..1_000_000) } else { 0 };
                    let ms = last.ms + rng.random_range(0..3) * rng.random_range(0..2) + leap;
                    let id =
                        if ms == last.ms { last.next().unwrap() } else { StreamId::new(ms, rng.random_range(0..3)) };
                    let pairs = random_pairs(&mut rng);
                    let texts: Vec<&[u8]> = pairs.iter().map(Vec::as_slice).collect();
                    stream.entries.append(id, &texts, limits);
                    model.insert(id, pairs);
                    (last, added) = (id, added + 1);
                }
                60..85 => {
                    let id = random_id(&mut rng, &model);
                    assert_eq!(stream.entries.delete(id), model.remove(&id).is_some());
                }
                85..88 => {
                    let len = rng.random_range(0..=model.len() + 2);
                    let trim = Trim {
                        to: TrimTo::MaxLen(len as u64),
                        approximate: false,
                        limit: 0,
                        references: References::Keep,
                    };
                    let mut gone = 0;
                    while model.len() > len {
                        model.pop_first();
                        gone += 1;
                    }
                    assert_eq!(stream.trim(&trim), gone);
                }
                88..90 => {
                    let id = random_id(&mut rng, &model);
                    let trim =
                        Trim { to: TrimTo::MinId(id), approximate: true, limit: 0, references: References::Keep };
                    let gone = stream.trim(&trim);
                    for _ in 0..gone {
                        let (first, _) = model.pop_first().unwrap();
                        assert!(first < id, "only what is older goes");
                    }
                }
                90..92 => {
                    let mut share = stream.share();
                    if rng.random_bool(0.5) {
                        std::mem::swap(&mut stream, &mut share);
                    }
                    shares.push((share, model.clone()));
                    if shares.len() > 3 {
                        shares.swap_remove(rng.random_range(0..shares.len()));
                    }
                }
                _ => {
                    check(&stream, &model, &mut rng);
                    check_blocks(&stream, limits);
                    for (share, model) in &shares {
                        check(share, model, &mut rng);
                    }
                }
            }
        }
        for (share, model) in &shares {
            check(share, model, &mut rng);
            check_blocks(share, limits);
        }
        check(&stream, &model, &mut rng);
        check_blocks(&stream, limits);
        assert_eq!((stream.entries.last_id(), stream.entries.added()), (last, added));
        let copy = stream.duplicate();
        drop(stream);
        check(&copy, &model, &mut rng);
    }
}

#[test]
fn what_is_pending_belongs_to_one_consumer() {
    let mut rng = common::rng("what_is_pending_belongs_to_one_consumer");
    let mut stream = Stream::default();
    assert!(stream.groups.create(b"g", StreamId::MIN, None));
    assert!(!stream.groups.create(b"g", StreamId::MIN, None));
    let mut model: BTreeMap<StreamId, String> = BTreeMap::new();
    let check = |stream: &Stream, model: &BTreeMap<StreamId, String>| {
        let group = stream.groups.get(b"g").unwrap();
        let owners = group.pending_range(StreamId::MIN..=StreamId::MAX);
        let owners = owners.map(|(id, pending)| (id, group.consumer(pending.consumer).name().to_vec()));
        assert!(owners.eq(model.iter().map(|(id, owner)| (*id, owner.as_bytes().to_vec()))));
        let per_consumer: usize = group.consumers().map(|consumer| consumer.pending().len()).sum();
        assert_eq!(per_consumer, model.len());
        for consumer in group.consumers() {
            let ids = model.iter().filter(|(_, owner)| owner.as_bytes() == consumer.name()).map(|(id, _)| id);
            assert!(consumer.pending().iter().eq(ids));
        }
    };
    let mut shares: Vec<(Stream, BTreeMap<StreamId, String>)> = Vec::new();
    for step in 0..8000 {
        if rng.random_range(0..100) == 0 {
            shares.push((stream.share(), model.clone()));
            if shares.len() > 3 {
                shares.remove(0);
            }
        }
        let group = stream.groups.get_mut(b"g").unwrap();
        let id = StreamId::new(rng.random_range(0..600), 0);
        let name = format!("c{}", rng.random_range(0..4));
        match rng.random_range(0..10) {
            0..5 => {
                let consumer = group.find_consumer(name.as_bytes());
                let consumer = consumer.unwrap_or_else(|| group.create_consumer(name.as_bytes(), step));
                group.assign(id, Pending { consumer, delivered_at_ms: step, delivery_count: 1 });
                model.insert(id, name);
            }
            5..8 => assert_eq!(group.acknowledge(id), model.remove(&id).is_some()),
            8 => assert_eq!(stream.groups.forget(id), model.remove(&id).is_some()),
            _ if rng.random_range(0..40) > 0 => {}
            _ => {
                let count = model.values().filter(|owner| **owner == name).count();
                let known = group.find_consumer(name.as_bytes()).is_some();
                assert_eq!(group.remove_consumer(name.as_bytes()), known.then_some(count));
                model.retain(|_, owner| *owner != name);
            }
        }
        check(&stream, &model);
        if step % 50 == 0 {
            shares.iter().for_each(|(share, model)| check(share, model));
        }
    }
}

#[test]
fn a_share_is_read_while_the_stream_is_changed() {
    let mut stream = Stream::default();
    for ms in 1..=60_000 {
        stream.entries.append(StreamId::new(ms, 0), &[b"field", b"value"], StreamLimits::default());
    }
    stream.groups.create(b"g", StreamId::MIN, None);
    let group = stream.groups.get_mut(b"g").unwrap();
    let consumer = group.create_consumer(b"c", 0);
    let pending = Pending { consumer, delivered_at_ms: 1, delivery_count: 1 };
    (1..=30_000).for_each(|ms| group.assign(StreamId::new(ms, 0), pending));
    let share = stream.share();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let ids = share.entries.range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id().ms);
            assert!(ids.eq(1..=60_000));
            let group = share.groups.get(b"g").unwrap();
            let ids = group.pending_range(StreamId::MIN..=StreamId::MAX).map(|(id, _)| id.ms);
            assert!(ids.eq(1..=30_000));
        });
        for ms in 1..=20_000 {
            stream.entries.append(StreamId::new(60_000 + ms, 0), &[b"other", b"value"], StreamLimits::default());
            assert!(stream.entries.delete(StreamId::new(3 * ms, 0)));
            assert!(stream.groups.get_mut(b"g").unwrap().acknowledge(StreamId::new(ms, 0)));
        }
        stream.trim(&Trim { to: TrimTo::MaxLen(1000), approximate: false, limit: 0, references: References::Delete });
    });
    assert_eq!(stream.entries.range(StreamId::MIN, StreamId::MAX).count(), 1000);
}

/// What Redis 8.2 has in its RDB file for `XADD s 1-1 a 1 b x`, `XADD s 1-2 a 2 b y`, `XADD s 2-5 c -300` and `XDEL s 1-2`.
#[test]
fn blocks_have_the_documented_bytes() {
    let mut stream = Stream::default();
    let limits = StreamLimits::default();
    stream.entries.append(StreamId::new(1, 1), &[b"a", b"1", b"b", b"x"], limits);
    stream.entries.append(StreamId::new(1, 2), &[b"a", b"2", b"b", b"y"], limits);
    stream.entries.append(StreamId::new(2, 5), &[b"c", b"-300"], limits);
    assert!(stream.entries.delete(StreamId::new(1, 2)));
    let blocks: Vec<_> = stream.entries.blocks().collect();
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].0, StreamId::new(1, 1));
    let hex: String = blocks[0].1.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "3f0000001900020101010201816102816202000102010001000101018178020501030100010101020181790205010001010104010101816302ded4020601ff"
    );
}

#[test]
fn the_count_of_what_was_added_starts_again() {
    let mut stream = Stream::default();
    stream.entries.append(StreamId::new(1, 1), &[b"f", b"v"], StreamLimits::default());
    stream.entries.set_last_id(StreamId::new(1, 1), Some(u64::MAX), None);
    stream.groups.create(b"g", StreamId::new(1, 1), Some(u64::MAX));
    stream.entries.append(StreamId::new(2, 1), &[b"f", b"v"], StreamLimits::default());
    assert_eq!(stream.entries.added(), 0);
    let stream = &mut *stream;
    let entries = &stream.entries;
    let group = stream.groups.get_mut(b"g").expect("it was made");
    assert_eq!(group.lag(entries), Some(1));
    group.advance(StreamId::new(2, 1), entries);
    assert_eq!((group.entries_read, group.lag(entries)), (Some(0), Some(0)));
}

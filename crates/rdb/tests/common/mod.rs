//! What the tests share: values compared by content, values at random.
#![allow(dead_code, reason = "each test uses its part")]

pub mod old;
pub mod peer;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use keyspace::collection::limits::StreamLimits;
use keyspace::collection::stream::{Pending, StreamId};
use keyspace::{
    Collection, DbIndex, End, Expiry, Hash, Held, Keyspace, List, Millis, NewItem, NewValue, Object, Options, Set,
    SortedSet, Stream, ValueRef,
};
use rand::Rng;
use rdb::{Limits, Value};
use testkit::Random;

/// A value as clients see it.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    Hash(BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>),
    SortedSet(Vec<(Vec<u8>, f64)>),
    Stream(StreamContent),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamContent {
    pub entries: Vec<(StreamId, Vec<Vec<u8>>)>,
    pub last_id: StreamId,
    pub max_deleted_id: StreamId,
    pub added: u64,
    pub groups: BTreeMap<Vec<u8>, GroupContent>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupContent {
    pub last_id: StreamId,
    pub entries_read: Option<u64>,
    /// Consumer, time, deliveries.
    pub pending: BTreeMap<StreamId, (Vec<u8>, i64, u64)>,
    /// Seen and active.
    pub consumers: BTreeMap<Vec<u8>, (i64, Option<i64>)>,
}

pub fn content_of(value: &ValueRef<'_>) -> Content {
    match value {
        ValueRef::Str(text) => Content::String(text.to_vec()),
        ValueRef::Object(object) => content_of_object(object),
    }
}

pub fn content_of_decoded(value: &Value<'_>) -> Content {
    match value {
        Value::Int(number) => Content::String(number.to_string().into_bytes()),
        Value::Text(text) => Content::String(text.to_vec()),
        Value::Object(object) => content_of_object(object),
    }
}

pub fn content_of_object(object: &Object) -> Content {
    match object {
        Object::List(list) => {
            let mut items = Vec::new();
            list.walk(0, false, |item| {
                items.push(item.to_vec());
                ControlFlow::Continue(())
            });
            assert_eq!(items.len(), list.len());
            Content::List(items)
        }
        Object::Set(set) => {
            let mut members = BTreeSet::new();
            set.for_each(|member| assert!(members.insert(member.to_vec())));
            assert_eq!(members.len(), set.len());
            Content::Set(members)
        }
        Object::Hash(hash) => {
            let mut fields = BTreeMap::new();
            hash.visit(Millis(i64::MIN), |field| {
                let content = (field.value.to_vec(), field.expire_at.map(|Millis(at)| at));
                assert!(fields.insert(field.name.to_vec(), content).is_none());
            });
            assert_eq!(fields.len(), hash.len());
            Content::Hash(fields)
        }
        Object::SortedSet(set) => {
            Content::SortedSet(set.all().map(|(member, score)| (member.to_vec(), score)).collect())
        }
        Object::Stream(stream) => Content::Stream(content_of_stream(stream)),
    }
}

fn content_of_stream(stream: &Stream) -> StreamContent {
    let mut content = StreamContent {
        entries: stream
            .entries
            .range(StreamId::MIN, StreamId::MAX)
            .map(|entry| {
                (entry.id(), entry.fields().flat_map(|(name, value)| [name.to_vec(), value.to_vec()]).collect())
            })
            .collect(),
        last_id: stream.entries.last_id(),
        max_deleted_id: stream.entries.max_deleted_id(),
        added: stream.entries.added(),
        groups: BTreeMap::new(),
    };
    for (name, group) in stream.groups.iter() {
        let pending = group.pending_range(StreamId::MIN..=StreamId::MAX).map(|(id, pending)| {
            let consumer = group.consumer(pending.consumer).name().to_vec();
            (id, (consumer, pending.delivered_at_ms, pending.delivery_count))
        });
        let consumers =
            group.consumers().map(|consumer| (consumer.name().to_vec(), (consumer.seen_at_ms, consumer.active_at_ms)));
        let group = GroupContent {
            last_id: group.last_id,
            entries_read: group.entries_read,
            pending: pending.collect(),
            consumers: consumers.collect(),
        };
        content.groups.insert(name.to_vec(), group);
    }
    content
}

/// Puts a value into a keyspace and shows it.
pub fn with_value<R>(value: NewValue<'_>, show: impl FnOnce(&ValueRef<'_>) -> R) -> R {
    static KEYSPACE: OnceLock<Keyspace> = OnceLock::new();
    let keyspace = KEYSPACE.get_or_init(|| Keyspace::new(&Options { seed: [1, 2, 3, 4], ..Options::default() }));
    let key = keyspace.key(b"key");
    let mut held = Held::new();
    held.insert(key.shard());
    let mut space = keyspace.narrow(&held);
    space.set(DbIndex(0), key, value, Expiry::Clear);
    let entry = space.get(DbIndex(0), key).expect("it was set just now");
    show(&entry.value())
}

// ---------------------------------------------------------------------------------------------------------------------
// At random
// ---------------------------------------------------------------------------------------------------------------------

/// Texts of all kinds: numbers of every width, short ones, ones that compress, ones that do not, some beyond every threshold.
pub fn random_text(random: &mut Random) -> Vec<u8> {
    match random.random_range(0..12) {
        0..3 => (random.random::<i64>() >> random.random_range(0..64)).to_string().into_bytes(),
        3 => ["", "0", "-0", "007", "+1", "9223372036854775808", "-9223372036854775808", " 1", "1 "]
            [random.random_range(0..9)]
        .as_bytes()
        .to_vec(),
        4..9 => (0..random.random_range(0..20)).map(|_| random.random_range(b'a'..=b'z')).collect(),
        9 => vec![random.random_range(b'a'..=b'd'); random.random_range(0..300)],
        10 => (0..random.random_range(0..200)).map(|_| random.random()).collect(),
        _ => {
            let word: Vec<u8> = (0..random.random_range(1..12)).map(|_| random.random()).collect();
            word.repeat(random.random_range(1..40))
        }
    }
}

fn random_len(random: &mut Random) -> usize {
    match random.random_range(0..10) {
        0..5 => random.random_range(1..8),
        5..9 => random.random_range(1..200),
        _ => random.random_range(1..3000),
    }
}

pub fn random_score(random: &mut Random) -> f64 {
    match random.random_range(0..6) {
        0..2 => f64::from(random.random_range(-100..100)),
        2 => random.random::<f64>() * 1e6,
        3 => [f64::INFINITY, f64::NEG_INFINITY, 0.0, 1e300, -1e-300, 0.1][random.random_range(0..6)],
        4 => random.random::<i64>() as f64,
        _ => f64::from(random.random_range(0..3)),
    }
}

pub const KINDS: usize = 6;

/// A value of one of the types.
pub fn random_value(random: &mut Random, limits: &Limits, kind: usize) -> NewValue<'static> {
    NewValue::Object(match kind {
        0 => {
            let text = if random.random_range(0..20) == 0 { vec![b'x'; 40_000] } else { random_text(random) };
            return match keyspace::canonical_int(&text) {
                Some(number) => NewValue::Int(number),
                None => NewValue::Large(Arc::new(text)),
            };
        }
        1 => {
            let mut list = List::default();
            for _ in 0..random_len(random) {
                let text = if random.random_range(0..200) == 0 { vec![b'y'; 20_000] } else { random_text(random) };
                let end = if random.random() { End::Front } else { End::Back };
                list.grow(text.len(), 1, limits.list);
                list.push(end, NewItem::from(&text[..]));
            }
            list.into()
        }
        2 => {
            let mut set = Set::default();
            let ints = random.random::<bool>();
            for _ in 0..random_len(random) {
                let text = match ints {
                    true => (random.random::<i64>() >> random.random_range(0..64)).to_string().into_bytes(),
                    false => random_text(random),
                };
                set.insert(&text, &limits.set);
            }
            set.into()
        }
        3 => {
            let mut hash = Hash::default();
            let expiring = random.random::<bool>();
            for _ in 0..random_len(random) {
                let expiry = match expiring && random.random() {
                    true => Expiry::At(Millis(4_000_000_000_000 + random.random_range(0..1_000_000_000))),
                    false => Expiry::Clear,
                };
                hash.set(&random_text(random), &random_text(random), expiry, &limits.hash);
            }
            hash.into()
        }
        4 => {
            let mut set = SortedSet::default();
            for _ in 0..random_len(random) {
                let score = random_score(random);
                set.update(&random_text(random), &limits.sorted_set, |_| Some(score));
            }
            set.into()
        }
        _ => random_stream(random).into(),
    })
}

pub fn random_stream(random: &mut Random) -> Stream {
    let mut stream = Stream::default();
    let limits = StreamLimits { node_bytes_max: 4096, node_entries_max: random.random_range(1..20) };
    let mut id = StreamId::new(random.random_range(1..1 << 45), 0);
    let mut ids = Vec::new();
    for _ in 0..random.random_range(0..200) {
        id = match random.random_range(0..3) {
            0 => StreamId::new(id.ms, id.seq + random.random_range(1..3)),
            1 => StreamId::new(id.ms + random.random_range(1..100_000), 0),
            _ => StreamId::new(id.ms + random.random_range(1..100), random.random()),
        };
        let fields: Vec<Vec<u8>> = match random.random_range(0..3) {
            0 => vec![b"a".to_vec(), random_text(random), b"b".to_vec(), random_text(random)],
            1 => vec![b"1".to_vec(), random_text(random)],
            _ => (0..2 * random.random_range(1..5)).map(|_| random_text(random)).collect(),
        };
        let pairs: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        stream.entries.append(id, &pairs, limits);
        ids.push(id);
    }
    for _ in 0..random.random_range(0..3) {
        if !ids.is_empty() {
            stream.entries.delete(ids[random.random_range(0..ids.len())]);
        }
    }
    for number in 0..random.random_range(0..3) {
        let name = format!("group {number}");
        let last_id = ids.get(random.random_range(0..200)).copied().unwrap_or(StreamId::MIN);
        let entries_read = random.random::<bool>().then(|| random.random_range(0..100));
        stream.groups.create(name.as_bytes(), last_id, entries_read);
        let group = stream.groups.get_mut(name.as_bytes()).expect("it was created just now");
        for number in 0..random.random_range(0..3) {
            let now = 1_700_000_000_000 + random.random_range(0..1_000_000);
            let consumer = group.create_consumer(format!("consumer {number}").as_bytes(), now);
            group.consumer_mut(consumer).active_at_ms = random.random::<bool>().then_some(now - 5);
            for &id in &ids {
                if random.random_range(0..5) > 0 {
                    continue;
                }
                let delivery_count = random.random_range(0..5);
                group.assign(id, Pending { consumer, delivered_at_ms: now, delivery_count });
            }
        }
    }
    stream
}

/// Thresholds at which many values of some elements are large.
pub fn random_limits(random: &mut Random) -> Limits {
    let mut limits = Limits::default();
    if random.random() {
        limits.list.listpack_size_max = [-1, -5, 1, 8, 128][random.random_range(0..5)];
        limits.set.intset_entries_max = random.random_range(0..20);
        limits.set.listpack_entries_max = random.random_range(0..20);
        limits.hash.listpack_entries_max = random.random_range(0..20);
        limits.sorted_set.listpack_entries_max = random.random_range(0..20);
        let bytes = random.random_range(0..40);
        limits.set.listpack_value_bytes_max = bytes;
        limits.hash.listpack_value_bytes_max = bytes;
        limits.sorted_set.listpack_value_bytes_max = bytes;
    }
    limits
}

//! Streams. What they look like is drawn in `encode/stream.rs`; the listpack of a block in `keyspace`'s `stream/block.rs`.

use std::collections::BTreeMap;

use keyspace::Stream;
use keyspace::collection::stream::{Group, Pending, StreamId};

use super::input::Input;
use crate::code::ValueType;
use crate::error::{Error, Result};

pub(super) fn read<'a>(input: &mut impl Input<'a>, value_type: ValueType) -> Result<Stream> {
    let mut stream = Stream::default();
    for _ in 0..input.count()? {
        let start = input.offset();
        let mut scratch = Vec::new();
        let id: [u8; 16] = input
            .string(&mut scratch)?
            .try_into()
            .map_err(|_| Error::damaged(start, "the id of a stream's block is not of 16 bytes"))?;
        let start = input.offset();
        let block = input.string(&mut scratch)?;
        stream.entries.push_block(id_of(id), block).map_err(|invalid| {
            Error::damaged(start, format!("a stream's block of {} bytes that is none: {invalid}", block.len()))
        })?;
    }
    let start = input.offset();
    let len = input.length()?;
    if len != stream.entries.len() {
        let there = stream.entries.len();
        return Err(Error::damaged(start, format!("a stream that claims {len} entries has {there}")));
    }
    let last_id = stream_id(input)?;
    if last_id < stream.entries.last_id() {
        return Err(Error::damaged(start, format!("a stream whose last id is {last_id} has an entry behind that")));
    }
    let (mut max_deleted_id, mut added) = (StreamId::MIN, len);
    if value_type != ValueType::Stream1 {
        // The first entry's id follows from the entries.
        stream_id(input)?;
        max_deleted_id = stream_id(input)?;
        added = input.length()?;
    }
    stream.entries.set_last_id(last_id, Some(added), Some(max_deleted_id));
    for _ in 0..input.count()? {
        group(input, &mut stream, value_type)?;
    }
    Ok(stream)
}

fn id_of(bytes: [u8; 16]) -> StreamId {
    let number = u128::from_be_bytes(bytes);
    StreamId::new((number >> 64) as u64, number as u64)
}

fn stream_id<'a>(input: &mut impl Input<'a>) -> Result<StreamId> {
    Ok(StreamId::new(input.length()?, input.length()?))
}

// ---------------------------------------------------------------------------------------------------------------------
// Groups
// ---------------------------------------------------------------------------------------------------------------------

/// What a group knows of an entry that was delivered before it is known to whom.
struct Delivery {
    delivered_at_ms: i64,
    delivery_count: u64,
}

fn group<'a>(input: &mut impl Input<'a>, stream: &mut Stream, value_type: ValueType) -> Result<()> {
    let start = input.offset();
    let mut scratch = Vec::new();
    let name = input.string(&mut scratch)?.to_vec();
    let last_id = stream_id(input)?;
    let entries_read = match value_type {
        // It was not written yet. An empty stream's readers have read all there is (observed of Redis 8.2).
        ValueType::Stream1 if stream.entries.is_empty() => Some(0),
        ValueType::Stream1 => stream.entries.distance(last_id),
        // -1: not known.
        _ => Some(input.length()?).filter(|&read| read != u64::MAX),
    };
    if !stream.groups.create(&name, last_id, entries_read) {
        return Err(Error::damaged(start, format!("the consumer group \"{}\" appears twice", name.escape_ascii())));
    }
    let group = stream.groups.get_mut(&name).expect("it was created just now");
    let mut deliveries = BTreeMap::new();
    for _ in 0..input.count()? {
        let start = input.offset();
        let id = id_of(input.array()?);
        let delivery = Delivery { delivered_at_ms: input.i64_le()?, delivery_count: input.length()? };
        if deliveries.insert(id, delivery).is_some() {
            return Err(Error::damaged(start, format!("the pending entry {id} appears twice in its group")));
        }
    }
    for _ in 0..input.count()? {
        consumer(input, group, &mut deliveries, value_type)?;
    }
    match deliveries.first_key_value() {
        Some((id, _)) => Err(Error::damaged(start, format!("the pending entry {id} has no consumer"))),
        None => Ok(()),
    }
}

fn consumer<'a>(
    input: &mut impl Input<'a>,
    group: &mut Group,
    deliveries: &mut BTreeMap<StreamId, Delivery>,
    value_type: ValueType,
) -> Result<()> {
    let start = input.offset();
    let mut scratch = Vec::new();
    let name = input.string(&mut scratch)?;
    if group.find_consumer(name).is_some() {
        return Err(Error::damaged(start, format!("the consumer \"{}\" appears twice", name.escape_ascii())));
    }
    let seen_at_ms = input.i64_le()?;
    let consumer = group.create_consumer(name, seen_at_ms);
    // Older files do not tell, and Redis 8.2 takes this.
    let mut active_at_ms = seen_at_ms;
    if value_type == ValueType::Stream3 {
        active_at_ms = input.i64_le()?;
    }
    group.consumer_mut(consumer).active_at_ms = (active_at_ms != -1).then_some(active_at_ms);
    for _ in 0..input.count()? {
        let start = input.offset();
        let id = id_of(input.array()?);
        let Some(Delivery { delivered_at_ms, delivery_count }) = deliveries.remove(&id) else {
            return Err(Error::damaged(
                start,
                format!("a consumer's pending entry {id} is not among its group's, or another consumer has it too"),
            ));
        };
        group.assign(id, Pending { consumer, delivered_at_ms, delivery_count });
    }
    Ok(())
}

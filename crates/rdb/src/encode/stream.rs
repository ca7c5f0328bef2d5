//! Streams: blocks, what is remembered of the log, groups.
//!
//! ```text
//! number of blocks, each: id (16 bytes, big-endian), listpack
//! entries  last id  first id  greatest deleted id  entries ever added          ids as two lengths
//! number of groups, each:
//!     name  last id  entries read
//!     number of pending entries, each: id (16 bytes), delivered at (ms, 8 bytes), deliveries
//!     number of consumers, each:
//!         name  seen at (ms)  active at (ms; from version 11 on)
//!         number of its pending entries, each: id (16 bytes)
//! ```

use keyspace::Stream;
use keyspace::collection::stream::{Group, StreamId};

use super::{Options, length, string};

pub(super) fn stream(out: &mut Vec<u8>, stream: &Stream, options: &Options) {
    let entries = &stream.entries;
    length(out, entries.block_count() as u64);
    for (id, listpack) in entries.blocks() {
        // The id is a string of 16 bytes.
        length(out, 16);
        out.extend_from_slice(&id.to_be_bytes());
        string(out, listpack, options);
    }
    length(out, entries.len());
    stream_id(out, entries.last_id());
    stream_id(out, entries.first_id());
    stream_id(out, entries.max_deleted_id());
    length(out, entries.added());
    length(out, stream.groups.len() as u64);
    for (name, group) in stream.groups.iter() {
        string(out, name, options);
        write_group(out, group, options);
    }
}

fn stream_id(out: &mut Vec<u8>, id: StreamId) {
    length(out, id.ms);
    length(out, id.seq);
}

fn write_group(out: &mut Vec<u8>, group: &Group, options: &Options) {
    stream_id(out, group.last_id);
    // What is not known is -1, which in a length is the greatest number.
    length(out, group.entries_read.unwrap_or(u64::MAX));
    length(out, group.pending_count() as u64);
    for (id, pending) in group.pending_range(StreamId::MIN..=StreamId::MAX) {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&pending.delivered_at_ms.to_le_bytes());
        length(out, pending.delivery_count);
    }
    length(out, group.consumer_count() as u64);
    for consumer in group.consumers() {
        string(out, consumer.name(), options);
        out.extend_from_slice(&consumer.seen_at_ms.to_le_bytes());
        if options.version.has_consumer_activity() {
            out.extend_from_slice(&consumer.active_at_ms.unwrap_or(-1).to_le_bytes());
        }
        length(out, consumer.pending().len() as u64);
        for id in consumer.pending().iter() {
            out.extend_from_slice(&id.to_be_bytes());
        }
    }
}

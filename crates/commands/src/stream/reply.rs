//! How entries are written.

use keyspace::collection::listpack::Item;
use keyspace::collection::stream::{Entry, StreamId};
use resp::Reply;

/// The text of an id.
pub struct IdText {
    bytes: [u8; 41],
    len: usize,
}

impl IdText {
    #[inline]
    pub fn new(id: StreamId) -> IdText {
        let mut text = IdText { bytes: [0; 41], len: 0 };
        text.push(itoa::Buffer::new().format(id.ms).as_bytes());
        text.push(b"-");
        text.push(itoa::Buffer::new().format(id.seq).as_bytes());
        text
    }

    #[inline]
    fn push(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[inline]
pub fn put_id(reply: &mut Reply, id: StreamId) {
    reply.bulk(IdText::new(id).as_bytes());
}

/// The id, and an array of fields and values.
#[inline]
pub fn put_entry(reply: &mut Reply, entry: &Entry<'_>) {
    reply.array(2);
    put_id(reply, entry.id());
    let fields = entry.fields();
    reply.array(fields.len() * 2);
    for (field, value) in fields {
        put_item(reply, field);
        put_item(reply, value);
    }
}

/// An entry that was deleted after it was delivered.
pub fn put_lost_entry(reply: &mut Reply, id: StreamId) {
    reply.array(2);
    put_id(reply, id);
    reply.null_array();
}

/// Writes up to `count` entries as an array.
pub fn put_entries<'e>(reply: &mut Reply, entries: impl Iterator<Item = Entry<'e>>, count: Option<u64>) {
    let start = reply.start_deferred();
    let mut written = 0;
    for entry in entries.take(count.unwrap_or(u64::MAX).min(usize::MAX as u64) as usize) {
        put_entry(reply, &entry);
        written += 1;
    }
    reply.finish_array(start, written);
}

#[inline]
fn put_item(reply: &mut Reply, item: Item<'_>) {
    match item {
        Item::Bytes(bytes) => reply.bulk(bytes),
        Item::Int(number) => reply.bulk_int(number),
    }
}

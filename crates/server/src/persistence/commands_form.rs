//! A key as the commands that make it again: the base of an append-only file with `aof-use-rdb-preamble no`.
//!
//! | value | commands |
//! |---|---|
//! | string | `SET` |
//! | list, set | `RPUSH`, `SADD` |
//! | sorted set | `ZADD` |
//! | hash | `HMSET`; with fields that expire, field by field, and `HPEXPIREAT` behind each that does |
//! | stream | `XADD` each entry, or `XADD … MAXLEN 0` where none is left; `XSETID`; `XGROUP CREATE`, `XCLAIM`, `XGROUP CREATECONSUMER` |
//! | library of functions | `FUNCTION LOAD`, before all keys |
//! | any, with an expiry | `PEXPIREAT` behind all that |
//!
//! One command has at most 64 elements, as in Redis 8.2, which was observed; all of them execute these files
//! (`crates/robustness/tests/commands_form.rs`). What the form cannot say is when consumers were last seen, and who has yet to acknowledge an
//! entry that is deleted.

use std::ops::ControlFlow;

use keyspace::collection::ListItem;
use keyspace::collection::listpack::Item;
use keyspace::collection::stream::{Group, StreamId};
use keyspace::snapshot::ElementRef;
use keyspace::{Collection, DbIndex, Hash, IntBuffer, Millis, Object, StrRepr, Stream, ValueRef};
use resp::number::DoubleText;

/// So many elements go into one command.
const ELEMENTS_MAX: usize = 64;

/// Before no instant, so that no field has expired for who visits.
const NEVER_EXPIRED: Millis = Millis(i64::MIN);

/// A library of functions.
pub fn library(out: &mut Vec<u8>, code: &[u8]) {
    command(out, &[b"FUNCTION", b"LOAD", code]);
}

/// What follows is of this database.
pub fn select_db(out: &mut Vec<u8>, db: DbIndex) {
    command(out, &[b"SELECT", db.0.to_string().as_bytes()]);
}

/// A key that is there as a whole.
pub fn key(out: &mut Vec<u8>, name: &[u8], value: &ValueRef<'_>, expire_at: Option<Millis>) {
    match value {
        ValueRef::Str(text) => match &text.repr {
            StrRepr::Inline(bytes) => command(out, &[b"SET", name, bytes]),
            StrRepr::Int(number) => command(out, &[b"SET", name, itoa::Buffer::new().format(*number).as_bytes()]),
            StrRepr::Large(large) => command(out, &[b"SET", name, large]),
        },
        ValueRef::Object(object) => self::object(out, name, object),
    }
    expiry(out, name, expire_at);
}

/// The beginning of `SET` with a text of this length, which follows, and [`end_of_text`] behind it.
pub fn set_before_text(out: &mut Vec<u8>, name: &[u8], len: usize) {
    array(out, 3);
    bulk(out, b"SET");
    bulk(out, name);
    length(out, b'$', len);
}

pub fn end_of_text(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

pub fn expiry(out: &mut Vec<u8>, name: &[u8], expire_at: Option<Millis>) {
    if let Some(Millis(at)) = expire_at {
        command(out, &[b"PEXPIREAT", name, itoa::Buffer::new().format(at).as_bytes()]);
    }
}

/// A value that is no string.
pub fn object(out: &mut Vec<u8>, name: &[u8], object: &Object) {
    let mut elements = Elements::new(name, object, object.len());
    match object {
        Object::List(list) => {
            list.walk(0, false, |item| {
                elements.item(
                    out,
                    match item {
                        ListItem::Int(number) => Item::Int(number),
                        ListItem::Bytes(text) => Item::Bytes(text),
                        ListItem::Large(text) => Item::Bytes(text),
                    },
                );
                ControlFlow::Continue(())
            });
        }
        Object::Set(set) => set.for_each(|member| elements.item(out, member)),
        Object::SortedSet(set) => set.all().for_each(|(member, score)| {
            with_text(member, |member| elements.add(out, ElementRef::Scored(member, score)));
        }),
        Object::Hash(hash) => hash.visit(NEVER_EXPIRED, |field| elements.add(out, ElementRef::Field(field))),
        Object::Stream(stream) => self::stream(out, name, stream),
    }
}

fn with_text<R>(item: Item<'_>, then: impl FnOnce(&[u8]) -> R) -> R {
    let mut buffer = IntBuffer::default();
    then(item.bytes(&mut buffer))
}

/// The elements of one collection, as they come.
pub struct Elements {
    name: Vec<u8>,
    verb: &'static [u8],
    /// Arguments an element has.
    width: usize,
    /// Fields expire: each has commands of its own.
    one_by_one: bool,
    /// Elements that are still to come.
    left: usize,
    /// Of these, so many belong to the command that was begun.
    in_command: usize,
}

impl Elements {
    pub fn new(name: &[u8], object: &Object, len: usize) -> Elements {
        let (verb, width): (&[u8], usize) = match object {
            Object::List(_) => (b"RPUSH", 1),
            Object::Set(_) => (b"SADD", 1),
            Object::SortedSet(_) => (b"ZADD", 2),
            Object::Hash(_) => (b"HMSET", 2),
            Object::Stream(_) => (b"XADD", 0),
        };
        let one_by_one = matches!(object, Object::Hash(hash) if Hash::earliest_expiry(hash).is_some());
        Elements { name: name.to_vec(), verb, width, one_by_one, left: len, in_command: 0 }
    }

    pub fn name(&self) -> &[u8] {
        &self.name
    }

    fn begin_element(&mut self, out: &mut Vec<u8>) {
        if self.in_command == 0 {
            self.in_command = if self.one_by_one { 1 } else { self.left.min(ELEMENTS_MAX) };
            array(out, 2 + self.in_command * self.width);
            bulk(out, self.verb);
            bulk(out, &self.name);
        }
        self.in_command -= 1;
        self.left -= 1;
    }

    fn item(&mut self, out: &mut Vec<u8>, item: Item<'_>) {
        with_text(item, |text| self.add(out, ElementRef::Member(text)));
    }

    pub fn add(&mut self, out: &mut Vec<u8>, element: ElementRef<'_>) {
        self.begin_element(out);
        match element {
            ElementRef::Member(member) => bulk(out, member),
            ElementRef::Scored(member, score) => {
                bulk(out, DoubleText::new(score).as_bytes());
                bulk(out, member);
            }
            ElementRef::Field(field) => with_text(field.name, |field_name| {
                bulk(out, field_name);
                with_text(field.value, |value| bulk(out, value));
                if let Some(Millis(at)) = field.expire_at {
                    let at = at.to_string();
                    command(out, &[b"HPEXPIREAT", &self.name, at.as_bytes(), b"FIELDS", b"1", field_name]);
                }
            }),
        }
    }
}

fn stream(out: &mut Vec<u8>, name: &[u8], stream: &Stream) {
    let entries = &stream.entries;
    for entry in entries.range(StreamId::MIN, StreamId::MAX) {
        let fields: Vec<_> = entry.fields().collect();
        array(out, 3 + 2 * fields.len());
        bulk(out, b"XADD");
        bulk(out, name);
        bulk(out, entry.id().to_string().as_bytes());
        for (field, value) in fields {
            with_text(field, |text| bulk(out, text));
            with_text(value, |text| bulk(out, text));
        }
    }
    if entries.is_empty() {
        // Nothing else makes a stream without entries; which id it has been is told right behind it.
        command(out, &[b"XADD", name, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
    }
    let (last, added, deleted) =
        (entries.last_id().to_string(), entries.added().to_string(), entries.max_deleted_id().to_string());
    let [last, added, deleted] = [&last, &added, &deleted].map(|text| text.as_bytes());
    command(out, &[b"XSETID", name, last, b"ENTRIESADDED", added, b"MAXDELETEDID", deleted]);
    for (group_name, group) in stream.groups.iter() {
        self::group(out, name, group_name, group);
    }
}

fn group(out: &mut Vec<u8>, name: &[u8], group_name: &[u8], group: &Group) {
    let last = group.last_id.to_string();
    let read = group.entries_read.map_or_else(|| "-1".to_owned(), |read| read.to_string());
    command(out, &[b"XGROUP", b"CREATE", name, group_name, last.as_bytes(), b"ENTRIESREAD", read.as_bytes()]);
    for consumer in group.consumers() {
        if consumer.pending().is_empty() {
            // The others come into being with what they claim.
            command(out, &[b"XGROUP", b"CREATECONSUMER", name, group_name, consumer.name()]);
        }
    }
    for (id, pending) in group.pending_range(StreamId::MIN..=StreamId::MAX) {
        let consumer = group.consumer(pending.consumer).name();
        let [id, time, count] =
            [id.to_string(), pending.delivered_at_ms.to_string(), pending.delivery_count.to_string()];
        let [id, time, count] = [&id, &time, &count].map(|text| text.as_bytes());
        command(
            out,
            &[
                b"XCLAIM",
                name,
                group_name,
                consumer,
                b"0",
                id,
                b"TIME",
                time,
                b"RETRYCOUNT",
                count,
                b"JUSTID",
                b"FORCE",
            ],
        );
    }
}

fn command(out: &mut Vec<u8>, args: &[&[u8]]) {
    array(out, args.len());
    args.iter().for_each(|arg| bulk(out, arg));
}

fn array(out: &mut Vec<u8>, len: usize) {
    length(out, b'*', len);
}

fn bulk(out: &mut Vec<u8>, text: &[u8]) {
    length(out, b'$', text.len());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn length(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
    out.extend_from_slice(b"\r\n");
}

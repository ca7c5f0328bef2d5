//! Values read from a real server through its commands.

use keyspace::collection::stream::StreamId;
use testkit::{Client, Value};

use super::{Content, GroupContent, StreamContent};

fn bytes(value: &Value) -> Vec<u8> {
    value.bytes().unwrap_or_else(|| panic!("no text: {value}")).to_vec()
}

fn texts(value: &Value) -> Vec<Vec<u8>> {
    value.elements().unwrap_or_else(|| panic!("no array: {value}")).iter().map(bytes).collect()
}

fn id(value: &Value) -> StreamId {
    let text = String::from_utf8(bytes(value)).expect("an id is a text");
    let (ms, seq) = text.split_once('-').expect("an id has two parts");
    StreamId::new(ms.parse().expect("a number"), seq.parse().expect("a number"))
}

/// The parts of a reply that is names and values by turns.
fn part<'v>(value: &'v Value, name: &str) -> &'v Value {
    let parts = value.elements().unwrap_or_else(|| panic!("no parts: {value}"));
    let at = parts.chunks(2).find(|pair| pair[0].bytes() == Some(name.as_bytes()));
    &at.unwrap_or_else(|| panic!("no {name} in {value}"))[1]
}

fn has(value: &Value, name: &str) -> bool {
    value.elements().is_some_and(|parts| parts.iter().step_by(2).any(|part| part.bytes() == Some(name.as_bytes())))
}

/// What a key holds. `expiring_fields`: whether the server knows them.
pub fn read(client: &mut Client, key: &[u8], expiring_fields: bool) -> Content {
    let mut ask = |words: &[&[u8]]| {
        let reply = client.command(words).expect("the server answers");
        assert!(!reply.is_error(), "{}: {reply}", words[0].escape_ascii());
        reply
    };
    match ask(&[b"TYPE", key]).to_string().as_str() {
        "string" => Content::String(bytes(&ask(&[b"GET", key]))),
        "list" => Content::List(texts(&ask(&[b"LRANGE", key, b"0", b"-1"]))),
        "set" => Content::Set(texts(&ask(&[b"SMEMBERS", key])).into_iter().collect()),
        "hash" => {
            let pairs = texts(&ask(&[b"HGETALL", key]));
            let mut fields = std::collections::BTreeMap::new();
            for pair in pairs.chunks(2) {
                let mut expire_at = None;
                if expiring_fields {
                    let reply = ask(&[b"HPEXPIRETIME", key, b"FIELDS", b"1", &pair[0]]);
                    expire_at = reply.elements().and_then(|times| times[0].integer()).filter(|&at| at >= 0);
                }
                fields.insert(pair[0].clone(), (pair[1].clone(), expire_at));
            }
            Content::Hash(fields)
        }
        "zset" => {
            let members = texts(&ask(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]));
            let score = |text: &[u8]| resp::number::parse_f64(text).expect("a score is a number");
            Content::SortedSet(members.chunks(2).map(|pair| (pair[0].clone(), score(&pair[1]))).collect())
        }
        "stream" => Content::Stream(stream(&ask(&[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"]))),
        other => panic!("type {other}"),
    }
}

fn stream(info: &Value) -> StreamContent {
    let mut content = StreamContent {
        last_id: id(part(info, "last-generated-id")),
        max_deleted_id: id(part(info, "max-deleted-entry-id")),
        added: part(info, "entries-added").integer().expect("a number") as u64,
        ..StreamContent::default()
    };
    for entry in part(info, "entries").elements().expect("an array") {
        let entry = entry.elements().expect("an entry");
        content.entries.push((id(&entry[0]), texts(&entry[1])));
    }
    for group in part(info, "groups").elements().expect("an array") {
        let mut read = GroupContent {
            last_id: id(part(group, "last-delivered-id")),
            entries_read: part(group, "entries-read").integer().map(|read| read as u64),
            ..GroupContent::default()
        };
        for pending in part(group, "pending").elements().expect("an array") {
            let pending = pending.elements().expect("a pending entry");
            let (at, count) = (pending[2].integer().expect("a time"), pending[3].integer().expect("a count"));
            read.pending.insert(id(&pending[0]), (bytes(&pending[1]), at, count as u64));
        }
        for consumer in part(group, "consumers").elements().expect("an array") {
            let seen = part(consumer, "seen-time").integer().expect("a time");
            // Redis 7.0 does not know.
            let active = match has(consumer, "active-time") {
                true => part(consumer, "active-time").integer().filter(|&at| at >= 0),
                false => Some(seen),
            };
            read.consumers.insert(bytes(part(consumer, "name")), (seen, active));
        }
        content.groups.insert(bytes(part(group, "name")), read);
    }
    content
}

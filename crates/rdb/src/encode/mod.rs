//! Writing: everything appends to a `Vec<u8>`.
//!
//! A file is [`header`], any [`aux`] and [`function`], for each database [`select_db`], [`resize_db`] and its records, and [`end`]; behind
//! that the checksum ([`footer`]). A record is written at once by [`record`], or piece by piece where a collection is captured while others
//! change it: [`record_begin`], what the type wants first ([`length`], and [`expiry_base`] before it in a hash whose fields expire), and the
//! elements in any order.
//!
//! What is written is the oldest form that holds the value, within the version that was chosen ([`Options::version`]):
//!
//! | value | form |
//! |---|---|
//! | small list, hash, sorted set | its listpack |
//! | small set | its listpack from version 11 on, before that its members |
//! | set of integers | its intset |
//! | large list | its nodes |
//! | large set, hash, sorted set | its elements |
//! | hash whose fields expire | its listpack, or fields with their expiry; in Valkey's version the latter in any case |
//! | stream | its blocks and groups; from version 11 on with the consumers' activity |

mod list;
mod stream;
mod string;

use keyspace::collection::PackedFields;
use keyspace::collection::listpack::Item;
use keyspace::{Collection, Hash, IntBuffer, Millis, Object, Set, SortedSet, StrRepr, ValueRef};

pub use self::string::string;
use crate::code::{length as len_code, opcode};
use crate::{Access, ValueType, Version};

/// How to write.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What the header says. A value that no form of this version holds ([`Version::needed_by`]) is written in a later one's, so that nothing is
    /// lost but the consumers' activity in streams.
    pub version: Version,
    /// Which strings are compressed (`rdbcompression`).
    pub compression: Compression,
}

/// Which strings are compressed, where that makes them shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    /// Those that Redis would try.
    Strings,
    /// Those that take longer to send than to compress. Of one that is hardly longer than a few words, little is gained, and to find that out takes as long
    /// as 10 Gbit/s take for all of it.
    LongStrings,
}

impl Compression {
    /// Strings of fewer bytes are left as they are.
    fn bytes_min(self) -> usize {
        match self {
            Compression::None => usize::MAX,
            // Observed of Redis.
            Compression::Strings => 21,
            Compression::LongStrings => 64,
        }
    }
}

/// `rdbcompression`, where strings are stored.
impl From<bool> for Compression {
    fn from(compress: bool) -> Compression {
        if compress { Compression::Strings } else { Compression::None }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options { version: Version::LATEST, compression: Compression::Strings }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Around the records
// ---------------------------------------------------------------------------------------------------------------------

pub fn header(out: &mut Vec<u8>, version: Version) {
    let number = version.number();
    let text = if version.is_valkey() { format!("VALKEY{number:03}") } else { format!("REDIS{number:04}") };
    out.extend_from_slice(text.as_bytes());
}

/// A fact about the file: who wrote it, when.
pub fn aux(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(opcode::AUX);
    let options = Options { compression: Compression::None, ..Options::default() };
    string(out, name, &options);
    string(out, value, &options);
}

/// The records that follow are of this database.
pub fn select_db(out: &mut Vec<u8>, db: u32) {
    out.push(opcode::SELECT_DB);
    length(out, u64::from(db));
}

/// How many keys the database has, and how many of them expire: a hint.
pub fn resize_db(out: &mut Vec<u8>, keys: u64, volatile_keys: u64) {
    out.push(opcode::RESIZE_DB);
    length(out, keys);
    length(out, volatile_keys);
}

/// The code of a library of functions.
pub fn function(out: &mut Vec<u8>, code: &[u8], options: &Options) {
    out.push(opcode::FUNCTION);
    string(out, code, options);
}

/// The end of the records; [`footer`] follows.
pub fn end(out: &mut Vec<u8>) {
    out.push(opcode::END);
}

/// The checksum of all that is before it, or 0: nobody will check.
pub fn footer(out: &mut Vec<u8>, checksum: u64) {
    out.extend_from_slice(&checksum.to_le_bytes());
}

// ---------------------------------------------------------------------------------------------------------------------
// Records
// ---------------------------------------------------------------------------------------------------------------------

/// A key with all that belongs to it.
#[inline]
pub fn record(
    out: &mut Vec<u8>,
    key: &[u8],
    expire_at: Option<Millis>,
    access: Option<Access>,
    what: &ValueRef<'_>,
    options: &Options,
) {
    record_begin(out, key, expire_at, access, value_type(what, options.version), options);
    value(out, what, options);
}

/// A record up to its value, which the caller writes.
#[inline]
pub fn record_begin(
    out: &mut Vec<u8>,
    key: &[u8],
    expire_at: Option<Millis>,
    access: Option<Access>,
    value_type: ValueType,
    options: &Options,
) {
    if let Some(Millis(at_ms)) = expire_at {
        out.push(opcode::EXPIRE_MS);
        out.extend_from_slice(&at_ms.to_le_bytes());
    }
    match access {
        None => {}
        Some(Access::IdleSeconds(seconds)) => {
            out.push(opcode::IDLE);
            length(out, seconds);
        }
        Some(Access::Frequency(counter)) => out.extend_from_slice(&[opcode::FREQUENCY, counter]),
    }
    out.push(value_type.code());
    string(out, key, options);
}

/// The form in which [`value`] writes this.
#[inline]
pub fn value_type(value: &ValueRef<'_>, version: Version) -> ValueType {
    match value {
        ValueRef::Str(_) => ValueType::String,
        ValueRef::Object(object) => object_type(object, version),
    }
}

/// The same for a value that is no string.
pub fn object_type(object: &Object, version: Version) -> ValueType {
    match object {
        Object::List(_) => ValueType::ListListpacks,
        Object::Set(Set::Ints(_)) => ValueType::SetIntset,
        Object::Set(Set::Packed(_)) if version.has_set_listpacks() => ValueType::SetListpack,
        Object::Set(_) => ValueType::Set,
        Object::SortedSet(SortedSet::Packed(_)) => ValueType::SortedSetListpack,
        Object::SortedSet(SortedSet::Tree(_)) => ValueType::SortedSet,
        Object::Hash(hash) => hash_type(hash, version),
        Object::Stream(_) if version.has_consumer_activity() => ValueType::Stream3,
        Object::Stream(_) => ValueType::Stream2,
    }
}

fn hash_type(hash: &Hash, version: Version) -> ValueType {
    match hash.as_packed() {
        Some(PackedFields::Pairs(_)) => ValueType::HashListpack,
        Some(PackedFields::Triples(_)) if version == Version::REDIS_7_4 => ValueType::HashListpackExpiring,
        _ => match hash.earliest_expiry() {
            None => ValueType::Hash,
            Some(_) if version.is_valkey() => ValueType::HashExpiring22,
            // Fields in a listpack that expire, in a file of an older version: there is no older form.
            Some(_) if hash.as_packed().is_some() => ValueType::HashListpackExpiring,
            Some(_) => ValueType::HashExpiring,
        },
    }
}

/// A value, without type and key.
#[inline]
pub fn value(out: &mut Vec<u8>, value: &ValueRef<'_>, options: &Options) {
    match value {
        ValueRef::Str(text) => match &text.repr {
            StrRepr::Inline(bytes) => string(out, bytes, options),
            StrRepr::Int(number) => string::int(out, *number),
            StrRepr::Large(large) => string(out, large, options),
        },
        ValueRef::Object(value) => object(out, value, options),
    }
}

/// A value that is no string.
pub fn object(out: &mut Vec<u8>, object: &Object, options: &Options) {
    match object {
        Object::List(list) => list::list(out, list, options),
        Object::Set(Set::Ints(ints)) => string(out, ints.as_bytes(), options),
        Object::Set(Set::Packed(listpack)) if options.version.has_set_listpacks() => {
            string(out, listpack.as_bytes(), options);
        }
        Object::Set(set) => {
            length(out, set.len() as u64);
            set.for_each(|member| item(out, member, options));
        }
        Object::SortedSet(SortedSet::Packed(listpack)) => string(out, listpack.as_bytes(), options),
        Object::SortedSet(set) => {
            length(out, set.len() as u64);
            // Descending as Redis does it, whose skiplists like being filled from the front.
            for (member, score) in set.iter(0..set.len(), keyspace::collection::sorted_set::Direction::Down) {
                sorted_set_item(out, member, score, options);
            }
        }
        Object::Hash(hash) => write_hash(out, hash, options),
        Object::Stream(stream) => stream::stream(out, stream, options),
    }
}

/// Before no instant, so that no field has expired for who visits.
const NEVER_EXPIRED: Millis = Millis(i64::MIN);

fn write_hash(out: &mut Vec<u8>, hash: &Hash, options: &Options) {
    let value_type = hash_type(hash, options.version);
    match (value_type, hash.as_packed()) {
        (ValueType::HashListpack, Some(PackedFields::Pairs(listpack))) => string(out, listpack.as_bytes(), options),
        (ValueType::HashListpackExpiring, Some(PackedFields::Triples(listpack))) => {
            expiry_base(out, hash.earliest_expiry());
            string(out, listpack.as_bytes(), options);
        }
        (ValueType::HashExpiring, _) => {
            let base = hash.earliest_expiry();
            expiry_base(out, base);
            length(out, hash.len() as u64);
            hash.visit(NEVER_EXPIRED, |field| {
                let expiry = field.expire_at.map(|Millis(at)| at);
                with_texts(field.name, field.value, |name, value| {
                    hash_field_expiring(out, name, value, expiry.map(Millis), base, options);
                });
            });
        }
        (value_type, _) => {
            length(out, hash.len() as u64);
            hash.visit(NEVER_EXPIRED, |field| {
                item(out, field.name, options);
                item(out, field.value, options);
                if value_type == ValueType::HashExpiring22 {
                    valkey_expiry(out, field.expire_at);
                }
            });
        }
    }
}

fn with_texts(name: Item<'_>, value: Item<'_>, write: impl FnOnce(&[u8], &[u8])) {
    let (mut name_buffer, mut value_buffer) = <(IntBuffer, IntBuffer)>::default();
    write(name.bytes(&mut name_buffer), value.bytes(&mut value_buffer));
}

// ---------------------------------------------------------------------------------------------------------------------
// Pieces
// ---------------------------------------------------------------------------------------------------------------------

/// A length or another number that is mostly small, in 1, 2, 5 or 9 bytes.
#[inline]
pub fn length(out: &mut Vec<u8>, length: u64) {
    if length < 0x40 {
        out.push(length as u8);
        return;
    }
    out.extend_from_slice(encode_length(&mut [0; LENGTH_BYTES_MAX], length));
}

const LENGTH_BYTES_MAX: usize = 9;

fn encode_length(buffer: &mut [u8; LENGTH_BYTES_MAX], length: u64) -> &[u8] {
    let len = match length {
        0..0x40 => {
            buffer[0] = length as u8;
            1
        }
        0x40..0x4000 => {
            buffer[..2].copy_from_slice(&[len_code::BITS_14 | (length >> 8) as u8, length as u8]);
            2
        }
        0x4000..=0xFFFF_FFFF => {
            buffer[0] = len_code::BITS_32;
            buffer[1..5].copy_from_slice(&(length as u32).to_be_bytes());
            5
        }
        _ => {
            buffer[0] = len_code::BITS_64;
            buffer[1..].copy_from_slice(&length.to_be_bytes());
            9
        }
    };
    &buffer[..len]
}

/// An element of a list, set or hash.
#[inline]
fn item(out: &mut Vec<u8>, item: Item<'_>, options: &Options) {
    match item {
        Item::Int(number) => string::int(out, number),
        Item::Bytes(text) => string(out, text, options),
    }
}

/// Of a [`ValueType::Set`].
#[inline]
pub fn set_member(out: &mut Vec<u8>, member: &[u8], options: &Options) {
    string(out, member, options);
}

/// Of a [`ValueType::SortedSet`].
#[inline]
pub fn sorted_set_member(out: &mut Vec<u8>, member: &[u8], score: f64, options: &Options) {
    string(out, member, options);
    out.extend_from_slice(&score.to_le_bytes());
}

#[inline]
fn sorted_set_item(out: &mut Vec<u8>, member: Item<'_>, score: f64, options: &Options) {
    item(out, member, options);
    out.extend_from_slice(&score.to_le_bytes());
}

/// Of a [`ValueType::Hash`].
#[inline]
pub fn hash_field(out: &mut Vec<u8>, name: &[u8], value: &[u8], options: &Options) {
    string(out, name, options);
    string(out, value, options);
}

/// What a [`ValueType::HashExpiring`] or [`ValueType::HashListpackExpiring`] begins with: an instant that is not after any expiry in it.
pub fn expiry_base(out: &mut Vec<u8>, base: Option<Millis>) {
    out.extend_from_slice(&base_of(base).to_le_bytes());
}

/// Redis reads an unsigned number here, and counts from it.
fn base_of(base: Option<Millis>) -> i64 {
    base.map_or(0, |Millis(at)| at.max(0))
}

/// Of a [`ValueType::HashExpiring`] whose [`expiry_base`] was `base`.
#[inline]
pub fn hash_field_expiring(
    out: &mut Vec<u8>,
    name: &[u8],
    value: &[u8],
    expire_at: Option<Millis>,
    base: Option<Millis>,
    options: &Options,
) {
    // One more than the distance; 0: never.
    length(out, expire_at.map_or(0, |Millis(at)| (at.saturating_sub(base_of(base)).max(0) + 1) as u64));
    hash_field(out, name, value, options);
}

/// Of a [`ValueType::HashExpiring22`] in a file of Valkey's version.
pub fn hash_field_valkey(out: &mut Vec<u8>, name: &[u8], value: &[u8], expire_at: Option<Millis>, options: &Options) {
    hash_field(out, name, value, options);
    valkey_expiry(out, expire_at);
}

fn valkey_expiry(out: &mut Vec<u8>, expire_at: Option<Millis>) {
    out.extend_from_slice(&expire_at.map_or(-1, |Millis(at)| at).to_le_bytes());
}

//! Reading: a file as a row of [`Item`]s.
//!
//! ```text
//! bytes ──► Reader ──► Aux, Function, SelectDb, ResizeDb, SlotInfo      as they come
//!                 ├──► Batch of Records: bytes as they are, to be decoded by any thread
//!                 ├──► Decoded: a record too large for a batch
//!                 └──► End
//! ```
//!
//! A file is read in blocks. In each the records are found by reading their lengths only, and the block becomes a [`Batch`] that is handed over
//! as it is: whoever takes it ([`Batch::records`]) decodes keys and values ([`Record::decode`]), borrowing strings from it. A record longer
//! than [`RECORD_BYTES_MAX`] is decoded while it is read, so that a large value is never in memory twice.
//!
//! **Bytes from outside** never make it panic, and memory is never taken by what a length claims, only by what has arrived (LZF, at most 88
//! bytes for one). Every [`Error`] says where.

mod distinct;
mod input;
mod reader;
mod skip;
mod stream;
mod value;
mod ziplist;
mod zipmap;

use keyspace::Millis;

pub(crate) use self::input::{Cursor, Input};
pub use self::reader::{Batch, RECORD_BYTES_MAX, Reader, Record, Records};
pub use self::value::{Limits, Value};
use crate::{Access, Result, ValueType, Version};

/// A part of a file.
#[derive(Debug)]
pub enum Item {
    /// A fact about the file. Redis ignores what it does not know.
    Aux { name: Vec<u8>, value: Vec<u8> },
    /// The code of a library of functions.
    Function(Vec<u8>),
    /// The records that follow are of this database.
    SelectDb(u64),
    /// How many keys the database has, and how many of them expire: a hint.
    ResizeDb { keys: u64, volatile_keys: u64 },
    /// The same of a hash slot: a hint.
    SlotInfo { slot: u64, keys: u64, volatile_keys: u64 },
    /// Some records of the selected database.
    Batch(Batch),
    /// A large record.
    Decoded(Decoded),
    /// The checksum fits, where there is one. What follows is not part of the file.
    End,
}

/// A record that was decoded while it was read.
#[derive(Debug)]
pub struct Decoded {
    pub offset: u64,
    pub db: u64,
    pub key: Vec<u8>,
    pub expire_at: Option<Millis>,
    pub access: Option<Access>,
    pub value: Value<'static>,
}

/// A value of this type from memory, as a payload has it. What follows it is left over.
pub(crate) fn value_from<'a>(
    cursor: &mut Cursor<'a>,
    value_type: ValueType,
    version: Version,
    limits: &Limits,
) -> Result<Value<'a>> {
    value::decode_value(cursor, value_type, version.is_valkey(), limits)
}

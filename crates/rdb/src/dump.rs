//! DUMP and RESTORE: one value as a payload.
//!
//! ```text
//! type  value  version (little-endian)  checksum of all before it
//! 1            2                        8
//! ```

use std::fmt;

use keyspace::{Object, ValueRef};

use crate::checksum::Checksum;
use crate::decode::{Cursor, Input, Limits, Value, value_from};
use crate::encode::{self, Options};
use crate::error::{Error, ErrorKind};
use crate::{Family, ValueType, Version};

const FOOTER_BYTES: usize = 10;

/// Why a payload is refused: RESTORE replies differently.
#[derive(Debug)]
pub enum RestoreError {
    /// "DUMP payload version or checksum are wrong"
    Footer,
    /// "Bad data format"; the reason is for the log.
    Value(Error),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestoreError::Footer => f.write_str("DUMP payload version or checksum are wrong"),
            RestoreError::Value(error) => write!(f, "Bad data format: {error}"),
        }
    }
}

impl std::error::Error for RestoreError {}

/// The payload of a value for servers of this family, in the oldest version that holds it.
pub fn dump(value: &ValueRef<'_>, family: Family, compress: bool) -> Vec<u8> {
    dump_as(value, &Options { version: Version::needed_by(value, family), compress })
}

/// The payload for a server that reads this version.
pub fn dump_as(value: &ValueRef<'_>, options: &Options) -> Vec<u8> {
    let mut out = vec![encode::value_type(value, options.version).code()];
    encode::value(&mut out, value, options);
    finish(out, options)
}

/// The same of a value that is not in a keyspace.
pub fn dump_object(object: &Object, options: &Options) -> Vec<u8> {
    let mut out = vec![encode::object_type(object, options.version).code()];
    encode::object(&mut out, object, options);
    finish(out, options)
}

fn finish(mut out: Vec<u8>, options: &Options) -> Vec<u8> {
    out.extend_from_slice(&options.version.number().to_le_bytes());
    let checksum = Checksum::of(&out);
    encode::footer(&mut out, checksum);
    out
}

/// The value of a payload.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore<'a>(payload: &'a [u8], limits: &Limits) -> Result<Value<'a>, RestoreError> {
    let Some((body, footer)) = payload.split_last_chunk::<FOOTER_BYTES>() else { return Err(RestoreError::Footer) };
    let (number, stored) = footer.split_at(2);
    // Redis takes payloads of version 0 as well: the format has had none.
    let number = u64::from(u16::from_le_bytes([number[0], number[1]]));
    let version = Version::known(number.max(1)).ok_or(RestoreError::Footer)?;
    // Unlike in files, 0 is no checksum that was left out: no server takes such a payload.
    let computed = Checksum::of(&payload[..payload.len() - 8]);
    if stored != computed.to_le_bytes() {
        return Err(RestoreError::Footer);
    }
    let mut input = Cursor::new(body, 0);
    read(&mut input, version, limits).map_err(RestoreError::Value)
}

fn read<'a>(input: &mut Cursor<'a>, version: Version, limits: &Limits) -> crate::Result<Value<'a>> {
    let code = input.byte()?;
    let Some(value_type) = ValueType::from_code(code) else {
        return Err(Error::new(0, ErrorKind::UnknownType(code)));
    };
    // What is left over is passed over, as Redis 8.2 does.
    value_from(input, value_type, version, limits)
}

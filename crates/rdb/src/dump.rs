//! DUMP and RESTORE: one value as a payload; FUNCTION DUMP and FUNCTION RESTORE: libraries of functions.
//!
//! ```text
//! type  value  version (little-endian)  checksum of all before it
//! 1            2                        8
//!
//! (0xF5  text)*  version  checksum
//! 1 each         2        8
//! ```

use std::fmt;

use keyspace::{Object, ValueRef};

use crate::checksum::Checksum;
use crate::code::opcode;
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
    dump_as(value, &Options { version: Version::needed_by(value, family), compression: compress.into() })
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
    let (body, version) = checked(payload)?;
    let mut input = Cursor::new(body, 0);
    read(&mut input, version, limits).map_err(RestoreError::Value)
}

/// What stands before the footer, if that is right.
fn checked(payload: &[u8]) -> Result<(&[u8], Version), RestoreError> {
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
    Ok((body, version))
}

fn read<'a>(input: &mut Cursor<'a>, version: Version, limits: &Limits) -> crate::Result<Value<'a>> {
    let code = input.byte()?;
    let Some(value_type) = ValueType::from_code(code) else {
        return Err(Error::new(0, ErrorKind::UnknownType(code)));
    };
    // What is left over is passed over, as Redis 8.2 does.
    value_from(input, value_type, version, limits)
}

/// The payload of libraries of functions, in the oldest version that knows them.
pub fn dump_functions<'a>(codes: impl Iterator<Item = &'a [u8]>, compress: bool) -> Vec<u8> {
    let options = Options { version: Version::REDIS_7_0, compression: compress.into() };
    let mut out = Vec::new();
    codes.for_each(|code| encode::function(&mut out, code, &options));
    finish(out, &options)
}

/// Why FUNCTION RESTORE refuses a payload, in the words of its replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionsError {
    Footer,
    /// A record of another kind.
    OtherType,
    /// A record as release candidates of Redis 7.0 wrote it.
    OldFunction,
    Text,
}

impl fmt::Display for FunctionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FunctionsError::Footer => "DUMP payload version or checksum are wrong",
            FunctionsError::OtherType => "given type is not a function",
            FunctionsError::OldFunction => "Pre-GA function format not supported",
            FunctionsError::Text => "Failed loading library payload",
        })
    }
}

impl std::error::Error for FunctionsError {}

/// The texts of the libraries in a payload.
///
/// # Errors
/// See [`FunctionsError`].
pub fn restore_functions(payload: &[u8]) -> Result<Vec<Vec<u8>>, FunctionsError> {
    let (body, _) = checked(payload).map_err(|_| FunctionsError::Footer)?;
    let mut input = Cursor::new(body, 0);
    let mut codes = Vec::new();
    let mut scratch = Vec::new();
    while input.offset() < body.len() as u64 {
        match input.byte().map_err(|_| FunctionsError::Text)? {
            opcode::FUNCTION => {}
            opcode::FUNCTION_OLD => return Err(FunctionsError::OldFunction),
            _ => return Err(FunctionsError::OtherType),
        }
        codes.push(input.string(&mut scratch).map_err(|_| FunctionsError::Text)?.to_vec());
    }
    Ok(codes)
}

//! Zipmaps, the small hashes of Redis up to 2.4.
//!
//! ```text
//! count  field ...  FF
//! 1
//! field: length  name  length  unused  value  unused bytes
//!        1 or 5        1 or 5  1
//! ```
//!
//! A length of up to 253 is one byte; FE and four bytes, little-endian, say longer ones. The count is 254 where there are as many or more.

use keyspace::Hash;
use keyspace::collection::limits::HashLimits;

use super::input::Input;
use super::value::HashBuilder;
use crate::error::{Error, Result};

const END: u8 = 0xFF;
const LONG: u8 = 0xFE;
const COUNT_UNKNOWN: u8 = 0xFE;

pub(super) fn read<'a>(input: &mut impl Input<'a>, limits: &HashLimits) -> Result<Hash> {
    let start = input.offset();
    let mut scratch = Vec::new();
    let bytes = input.string(&mut scratch)?;
    let wrong = |rest: &[u8], why: &str| {
        let at = bytes.len() - rest.len();
        Error::damaged(start, format!("a zipmap of {} bytes that is none: {why}, at its byte {at}", bytes.len()))
    };
    let Some((&count_noted, mut rest)) = bytes.split_first() else {
        return Err(wrong(bytes, "shorter than its header"));
    };
    let mut builder = HashBuilder::new(0, limits);
    let mut count = 0;
    while rest.first() != Some(&END) {
        let field = rest;
        let beyond = || wrong(field, "a field that reaches behind the end");
        let name = length(&mut rest).and_then(|len| take(&mut rest, len)).ok_or_else(beyond)?;
        let value_len = length(&mut rest).ok_or_else(beyond)?;
        let unused = usize::from(*take(&mut rest, 1).and_then(<[u8]>::first).ok_or_else(beyond)?);
        let value = take(&mut rest, value_len).ok_or_else(beyond)?;
        take(&mut rest, unused).ok_or_else(beyond)?;
        if !builder.push(name, value) {
            return Err(wrong(field, "a field that was there before"));
        }
        count += 1;
    }
    if rest.len() != 1 {
        return Err(wrong(rest, "an end mark before its end"));
    }
    if count_noted < COUNT_UNKNOWN && usize::from(count_noted) != count {
        return Err(wrong(bytes, "its header gives another number of fields"));
    }
    builder.finish(start)
}

fn length(bytes: &mut &[u8]) -> Option<usize> {
    match *take(bytes, 1)?.first()? {
        END => None,
        LONG => {
            let length = take(bytes, 4)?;
            Some(u32::from_le_bytes(length.try_into().ok()?) as usize)
        }
        short => Some(usize::from(short)),
    }
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (first, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(first)
}

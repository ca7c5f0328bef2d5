//! Ziplists, the listpacks of Redis up to 6.2.
//!
//! ```text
//! bytes  last entry  count  entry ...  FF              numbers little-endian
//! 4      4           2                 1
//!
//! entry: length of the entry before it   encoding and length   text or number
//!        1, or FE and 4                  1, 2, 5               
//!
//! 00llllll                text of up to 63 bytes
//! 01llllll llllllll       text of up to 16383 bytes, high byte first
//! 10------ l l l l        text, high byte first
//! 11000000, 11010000, 11100000, 11110000, 11111110    a number of 2, 4, 8, 3, 1 bytes
//! 1111nnnn                the number n - 1, n from 1 to 13
//! ```

use keyspace::Listpack;

use super::input::Input;
use crate::error::{Error, Result};

const HEADER_BYTES: usize = 10;
const END: u8 = 0xFF;
/// The length of the entry before follows in four bytes.
const LONG_BEFORE: u8 = 0xFE;
/// A count that the two bytes cannot say.
const COUNT_UNKNOWN: usize = 0xFFFF;

/// No server makes larger ones; the listpack that it becomes needs room to grow.
const BYTES_MAX: usize = 1 << 30;

/// The elements of a ziplist, checked in full.
pub(super) fn read<'a>(input: &mut impl Input<'a>) -> Result<Listpack> {
    let start = input.offset();
    let mut scratch = Vec::new();
    let bytes = input.string(&mut scratch)?;
    parse(bytes).map_err(|(at, why)| {
        Error::damaged(start, format!("a ziplist of {} bytes that is none: {why}, at its byte {at}", bytes.len()))
    })
}

fn parse(bytes: &[u8]) -> std::result::Result<Listpack, (usize, &'static str)> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err((bytes.len(), "shorter than its header"));
    };
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
    if number(0) != bytes.len() {
        return Err((0, "its header gives another length"));
    }
    if bytes.len() > BYTES_MAX {
        return Err((0, "it is larger than 1 GiB"));
    }
    let count_noted = usize::from(u16::from_le_bytes([header[8], header[9]]));
    let mut listpack = Listpack::new();
    let (mut at, mut before, mut last_at, mut count) = (HEADER_BYTES, 0, HEADER_BYTES, 0);
    loop {
        let beyond = (at, "an entry that reaches behind the end");
        let first = *bytes.get(at).ok_or((at, "no end mark"))?;
        if first == END {
            break;
        }
        let mut entry = &bytes[at + 1..];
        let before_noted = if first == LONG_BEFORE {
            let length = take::<4>(&mut entry).ok_or(beyond)?;
            u32::from_le_bytes(length) as usize
        } else {
            usize::from(first)
        };
        if before_noted != before {
            return Err((at, "an entry that gives another length for the one before it"));
        }
        let [encoding] = take::<1>(&mut entry).ok_or(beyond)?;
        let text_len = match encoding {
            0x00..0x40 => Some(usize::from(encoding)),
            0x40..0x80 => {
                let [low] = take::<1>(&mut entry).ok_or(beyond)?;
                Some(usize::from(encoding & 0x3F) << 8 | usize::from(low))
            }
            0x80..0xC0 => Some(u32::from_be_bytes(take::<4>(&mut entry).ok_or(beyond)?) as usize),
            _ => None,
        };
        match text_len {
            Some(len) => {
                let (text, rest) = entry.split_at_checked(len).ok_or(beyond)?;
                listpack.push_back(text);
                entry = rest;
            }
            None => listpack.push_back_int(match encoding {
                0xC0 => i64::from(i16::from_le_bytes(take(&mut entry).ok_or(beyond)?)),
                0xD0 => i64::from(i32::from_le_bytes(take(&mut entry).ok_or(beyond)?)),
                0xE0 => i64::from_le_bytes(take(&mut entry).ok_or(beyond)?),
                0xF0 => {
                    let [low, middle, high] = take(&mut entry).ok_or(beyond)?;
                    i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8)
                }
                0xFE => i64::from(i8::from_le_bytes(take(&mut entry).ok_or(beyond)?)),
                0xF1..=0xFD => i64::from(encoding & 0xF) - 1,
                _ => return Err((at, "an entry of no known encoding")),
            }),
        }
        last_at = at;
        at = bytes.len() - entry.len();
        before = at - last_at;
        count += 1;
    }
    if at + 1 != bytes.len() {
        return Err((at, "an end mark before its end"));
    }
    if count_noted != COUNT_UNKNOWN && count_noted != count {
        return Err((8, "its header gives another number of entries"));
    }
    if number(4) != last_at {
        return Err((4, "its header gives another place for the last entry"));
    }
    Ok(listpack)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

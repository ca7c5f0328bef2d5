//! Strings: as they are, as an integer, or compressed.

use keyspace::{canonical_int, lzf};

use super::{LENGTH_BYTES_MAX, Options, encode_length, length};
use crate::code::length as code;

/// Nothing is gained by less (observed of Redis).
const GAIN_BYTES_MIN: usize = 4;

/// The longest text of an integer of 32 bits.
const INT_TEXT_BYTES_MAX: usize = 11;

#[inline]
pub fn string(out: &mut Vec<u8>, text: &[u8], options: &Options) {
    if text.len() <= INT_TEXT_BYTES_MAX {
        if let [b'0'..=b'9' | b'-', ..] = text
            && let Some(number) = canonical_int(text)
            && small_int(out, number)
        {
            return;
        }
    } else if text.len() >= options.compression.bytes_min() && compressed(out, text) {
        return;
    }
    plain(out, text);
}

#[inline]
fn plain(out: &mut Vec<u8>, text: &[u8]) {
    length(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// The string that is this number's text.
#[inline]
pub(super) fn int(out: &mut Vec<u8>, number: i64) {
    if !small_int(out, number) {
        plain(out, itoa::Buffer::new().format(number).as_bytes());
    }
}

/// Writes a number of up to 32 bits; says whether it is one.
#[inline]
fn small_int(out: &mut Vec<u8>, number: i64) -> bool {
    if let Ok(number) = i8::try_from(number) {
        out.extend_from_slice(&[code::INT_8, number as u8]);
    } else if let Ok(number) = i16::try_from(number) {
        let [low, high] = number.to_le_bytes();
        out.extend_from_slice(&[code::INT_16, low, high]);
    } else if let Ok(number) = i32::try_from(number) {
        out.push(code::INT_32);
        out.extend_from_slice(&number.to_le_bytes());
    } else {
        return false;
    }
    true
}

fn compressed(out: &mut Vec<u8>, text: &[u8]) -> bool {
    // The compressed length comes first and is known last: it gets the room that it takes if nearly nothing is gained.
    let start = out.len();
    out.push(code::LZF);
    length(out, text.len() as u64);
    let length_at = start + 1;
    let length_len = out.len() - length_at;
    length(out, text.len() as u64);
    let data_at = out.len();
    if !lzf::compress_to(text, text.len() - GAIN_BYTES_MIN, out) {
        out.truncate(start);
        return false;
    }
    let compressed_len = (out.len() - data_at) as u64;
    let mut encoded = [0; LENGTH_BYTES_MAX];
    let encoded = encode_length(&mut encoded, compressed_len);
    if encoded.len() == length_len {
        out[length_at..length_at + length_len].copy_from_slice(encoded);
    } else {
        out.splice(length_at..length_at + length_len, encoded.iter().copied());
    }
    true
}

//! Ids as clients write them.

use keyspace::collection::stream::StreamId;

use crate::error::{Error, Stop};

const INVALID: Error = Error::text("ERR Invalid stream ID specified as stream command argument");

/// Longer words are no ids.
const TEXT_BYTES_MAX: usize = 127;

/// The id of one entry: `ms-seq`, or `ms` for `ms-0`.
///
/// # Errors
/// The text for the client; likewise below.
pub fn parse(text: &[u8]) -> Result<StreamId, Stop> {
    parse_or_none(text).ok_or(Stop::Error(INVALID))
}

/// The same, without the error.
pub fn parse_or_none(text: &[u8]) -> Option<StreamId> {
    let (ms, seq) = split(text)?;
    Some(StreamId::new(number(ms)?, seq.map_or(Some(0), number)?))
}

/// An id for a new entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewId {
    /// `*`
    Auto,
    /// `ms-*`
    AutoSeq(u64),
    Given(StreamId),
}

impl NewId {
    pub fn parse(text: &[u8]) -> Result<NewId, Stop> {
        if text == b"*" {
            return Ok(NewId::Auto);
        }
        match split(text) {
            Some((ms, Some(b"*"))) => number(ms).map(NewId::AutoSeq).ok_or(Stop::Error(INVALID)),
            _ => parse(text).map(NewId::Given),
        }
    }
}

/// The id of an entry or an end of all: `-` and `+`.
pub fn parse_or_edge(text: &[u8]) -> Result<StreamId, Stop> {
    edge(text).map_or_else(|| parse(text), Ok)
}

fn edge(text: &[u8]) -> Option<StreamId> {
    match text {
        b"-" => Some(StreamId::MIN),
        b"+" => Some(StreamId::MAX),
        _ => None,
    }
}

/// The start of an interval; a `(` before it excludes it.
pub fn parse_start(text: &[u8]) -> Result<StreamId, Stop> {
    if let Some(edge) = edge(text) {
        return Ok(edge);
    }
    match text.strip_prefix(b"(") {
        None => parse(text),
        Some(text) => parse(text)?.next().ok_or(Stop::Error(Error::text("ERR invalid start ID for the interval"))),
    }
}

/// The end of an interval: without a sequence number, the last one of its millisecond.
pub fn parse_end(text: &[u8]) -> Result<StreamId, Stop> {
    let parse = |text: &[u8]| {
        let (ms, seq) = split(text)?;
        Some(StreamId::new(number(ms)?, seq.map_or(Some(u64::MAX), number)?))
    };
    if let Some(edge) = edge(text) {
        return Ok(edge);
    }
    match text.strip_prefix(b"(") {
        None => parse(text).ok_or(Stop::Error(INVALID)),
        Some(text) => {
            let id = parse(text).ok_or(Stop::Error(INVALID))?;
            id.previous().ok_or(Stop::Error(Error::text("ERR invalid end ID for the interval")))
        }
    }
}

/// Both parts of an id. In Redis it is a C string: it ends at a zero byte, if the number before it does.
#[inline]
fn split(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    match text.iter().position(|&byte| byte == b'-' || byte == 0) {
        Some(at) if text[at] == b'-' => Some((&text[..at], Some(&text[at + 1..]))),
        Some(at) => Some((&text[..at], None)),
        None => Some((text, None)),
    }
}

/// Digits; and what C's `strtoull` makes of blanks, signs and leading zeros, as Redis 8.2 takes them too.
#[inline]
fn number(text: &[u8]) -> Option<u64> {
    let mut value: u64 = 0;
    for &byte in text {
        match byte {
            b'0'..=b'9' => value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            _ => return odd_number(text),
        }
    }
    (!text.is_empty()).then_some(value)
}

#[cold]
fn odd_number(text: &[u8]) -> Option<u64> {
    // A minus sign that is the first byte never was a number.
    if text.first() == Some(&b'-') {
        return None;
    }
    let text = text.split(|&byte| byte == 0).next()?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let text = &text[text.iter().take_while(|byte| blank(byte)).count()..];
    let (negative, digits) = match text {
        [b'+', digits @ ..] => (false, digits),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = number(digits)?;
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_redis_reads_them() {
        let id = |text: &str| parse_or_none(text.as_bytes());
        assert_eq!(id("1-2"), Some(StreamId::new(1, 2)));
        assert_eq!(id("001"), Some(StreamId::new(1, 0)));
        assert_eq!(id(" +1- 2"), Some(StreamId::new(1, 2)));
        assert_eq!(id("1- -1"), Some(StreamId::new(1, u64::MAX)));
        assert_eq!(id("1\0-1"), Some(StreamId::new(1, 0)));
        assert_eq!(id("18446744073709551615"), Some(StreamId::new(u64::MAX, 0)));
        for text in
            ["", "-", "+", "1-", "-1", "1--1", "1-1-1", "1 ", "++1", "a", "18446744073709551616", "1-*", "1-\x001"]
        {
            assert_eq!(id(text), None, "{text:?}");
        }
        assert!(parse_or_none(&[b'0'; 127]).is_some());
        assert!(parse_or_none(&[b'0'; 128]).is_none());
    }

    #[test]
    fn ends_of_intervals() {
        assert_eq!(parse_start(b"(1-18446744073709551615").ok(), Some(StreamId::new(2, 0)));
        assert_eq!(parse_end(b"(1-0").ok(), Some(StreamId::new(0, u64::MAX)));
        assert_eq!(parse_end(b"1").ok(), Some(StreamId::new(1, u64::MAX)));
        assert_eq!(parse_start(b"+").ok(), Some(StreamId::MAX));
        assert!(parse_start(b"(+").is_err());
    }
}

//! How ranges are written.

use std::ops::Range;

use keyspace::collection::sorted_set::{LexBound, LexRange, ScoreRange};
use resp::number::parse_f64;

use crate::error::Error;

/// The ranks from `start` to `end`, where negative ones count from the end; empty where they do not meet.
pub fn ranks(start: i64, end: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let from_start = |rank: i64| if rank < 0 { rank + len } else { rank };
    let (start, end) = (from_start(start).max(0), from_start(end).min(len - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

/// The scores from `min` to `max`, each excluded if a `(` stands before it.
///
/// # Errors
/// Redis's, for what is no number.
pub fn scores(min: &[u8], max: &[u8]) -> Result<ScoreRange, Error> {
    let parse = |text: &[u8]| score_bound(text).ok_or(Error::text("ERR min or max is not a float"));
    let ((min, min_excluded), (max, max_excluded)) = (parse(min)?, parse(max)?);
    Ok(ScoreRange { min, min_excluded, max, max_excluded })
}

fn score_bound(text: &[u8]) -> Option<(f64, bool)> {
    let (text, excluded) = match text {
        [b'(', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    // Redis 8.2 reads a C string as decimal: it ends at a zero byte, nothing is 0, and what overflows is infinite.
    let text = text.split(|&byte| byte == 0).next()?;
    if text.is_empty() {
        return Some((0.0, excluded));
    }
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    if digits.starts_with(b"0x") || digits.starts_with(b"0X") {
        return None;
    }
    let score = parse_f64(text).or_else(|| out_of_range(text))?;
    Some((score, excluded))
}

/// A number too large or too small for [`parse_f64`].
#[cold]
fn out_of_range(text: &[u8]) -> Option<f64> {
    // What the standard library reads beyond Redis's numbers are words.
    if text.iter().any(|byte| byte.is_ascii_alphabetic() && !matches!(byte, b'e' | b'E')) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The members from `min` to `max`: `-`, `+`, or a text behind `[` (included) or `(` (excluded).
///
/// # Errors
/// Redis's, for anything else.
pub fn members<'a>(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, Error> {
    let parse = |text| lex_bound(text).ok_or(Error::text("ERR min or max not valid string range item"));
    Ok(LexRange { min: parse(min)?, max: parse(max)? })
}

fn lex_bound(text: &[u8]) -> Option<LexBound<'_>> {
    match text {
        [b'-'] | [b'-', 0, ..] => Some(LexBound::Lowest),
        [b'+'] | [b'+', 0, ..] => Some(LexBound::Highest),
        [b'[', member @ ..] => Some(LexBound::Included(member)),
        [b'(', member @ ..] => Some(LexBound::Excluded(member)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_from_both_ends() {
        assert_eq!(ranks(0, -1, 4), 0..4);
        assert_eq!(ranks(-2, -1, 4), 2..4);
        assert_eq!(ranks(i64::MIN, i64::MAX, 4), 0..4);
        assert_eq!(ranks(3, 1, 4), 0..0);
        assert_eq!(ranks(-9, -5, 4), 0..0);
        assert_eq!(ranks(4, 9, 4), 0..0);
        assert_eq!(ranks(0, -1, 0), 0..0);
    }

    /// As Redis 8.2 was seen to read them.
    #[test]
    fn bounds_of_scores() {
        let good: &[(&[u8], f64)] = &[
            (b"1", 1.0),
            (b"", 0.0),
            (b"+1", 1.0),
            (b"1.", 1.0),
            (b"-.5", -0.5),
            (b"20E-1", 2.0),
            (b"-INFINITY", f64::NEG_INFINITY),
            (b"+iNf", f64::INFINITY),
            (b"1\0x", 1.0),
            (b"\x001", 0.0),
            (b"1e400", f64::INFINITY),
            (b"-1e99999999999", f64::NEG_INFINITY),
            (b"1e-400", 0.0),
            (b"00001", 1.0),
        ];
        for (text, number) in good {
            assert_eq!(score_bound(text), Some((*number, false)), "{}", text.escape_ascii());
            assert_eq!(score_bound(&[b"(", *text].concat()), Some((*number, true)), "{}", text.escape_ascii());
        }
        let bad: &[&[u8]] = &[
            b"x", b"1x", b" 1", b"1 ", b"0x2", b"-0X2", b"nan", b"+nan", b"infinit", b".", b"-", b"+", b"1e", b"1e+",
            b"--1", b"((1", b"[1", b"1e400x",
        ];
        for text in bad {
            assert_eq!(score_bound(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn bounds_of_members() {
        assert_eq!(lex_bound(b"-"), Some(LexBound::Lowest));
        assert_eq!(lex_bound(b"+\0x"), Some(LexBound::Highest));
        assert_eq!(lex_bound(b"["), Some(LexBound::Included(b"")));
        assert_eq!(lex_bound(b"(a"), Some(LexBound::Excluded(b"a")));
        for text in [&b""[..], b"a", b"-a", b"+a"] {
            assert_eq!(lex_bound(text), None);
        }
    }
}

//! Numbers as the configuration writes them: strict integers, and bytes with units.

/// A decimal integer in its only spelling: no sign `+`, no leading zero, no space.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let value: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let mut buffer = itoa::Buffer::new();
    (buffer.format(value).as_bytes() == text).then_some(value)
}

/// An integer as C's `strtoll` reads it when nothing may follow: leading white space, a sign, leading zeros, and
/// nothing at all (zero) are fine; too large a number is the largest.
///
/// Redis 8.2 reads the numbers inside `save`, `replicaof` and the like this way, where `parse_integer` would refuse.
pub(crate) fn parse_lenient_integer(text: &[u8], radix: u32) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let start = text.iter().position(|byte| !matches!(byte, b' ' | 0x09..=0x0d))?;
    let (negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for digit in digits {
        let digit = i64::from(char::from(*digit).to_digit(radix)?);
        let digit = if negative { -digit } else { digit };
        value = value.saturating_mul(i64::from(radix)).saturating_add(digit);
    }
    Some(value)
}

/// A count of bytes that did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryError {
    /// Not a number with a known unit.
    Malformed,
    /// Well-formed, but above 2^63 - 1.
    TooLarge,
}

/// Bytes with an optional unit in any case: `b`, `k` `m` `g` (powers of 1000), `kb` `mb` `gb` (powers of 1024).
///
/// As in Redis, no digits at all read as zero (`CONFIG SET maxmemory ""` lifts the limit), and a zero byte ends the text.
pub fn parse_memory(text: &[u8]) -> Result<i64, MemoryError> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let factor: i64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1000 * 1000,
        b"mb" => 1 << 20,
        b"g" => 1000 * 1000 * 1000,
        b"gb" => 1 << 30,
        _ => return Err(MemoryError::Malformed),
    };
    let mut value: i64 = 0;
    for digit in number {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i64::from(digit - b'0')))
            .ok_or(MemoryError::TooLarge)?;
    }
    value.checked_mul(factor).ok_or(MemoryError::TooLarge)
}

/// Writes bytes with the largest power of 1024 that divides them, as CONFIG REWRITE does.
pub fn format_memory(bytes: i64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes != 0 && bytes & ((1 << shift) - 1) == 0 {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// A number as C's `strtod` would read a plain one, at most as precise as needed for percentiles.
pub(crate) fn parse_float(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

/// Eight significant digits without trailing zeros.
pub(crate) fn format_percentile(value: f64) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.into();
    }
    let digits_before_point = value.abs().log10().floor() as i32 + 1;
    let decimals = (8 - digits_before_point).clamp(0, 17) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_spelling() {
        assert_eq!(parse_integer(b"-5"), Some(-5));
        assert_eq!(parse_integer(b"9223372036854775807"), Some(i64::MAX));
        for wrong in [&b""[..], b"+1", b"01", b"-0", b" 1", b"1 ", b"1.0", b"0x1", b"9223372036854775808", b"\xff"] {
            assert_eq!(parse_integer(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn integers_inside_lists_have_many_spellings() {
        for (text, value) in [
            (&b""[..], Some(0)),
            (b" 1", Some(1)),
            (b"+07", Some(7)),
            (b"-0", Some(0)),
            (b"-99999999999999999999", Some(i64::MIN)),
            (b" ", None),
            (b"+", None),
            (b"1 ", None),
            (b"1k", None),
        ] {
            assert_eq!(parse_lenient_integer(text, 10), value, "{text:?}");
        }
        assert_eq!(parse_lenient_integer(b"0777", 8), Some(0o777));
        assert_eq!(parse_lenient_integer(b"8", 8), None);
    }

    #[test]
    fn memory_units() {
        assert_eq!(parse_memory(b"1k"), Ok(1000));
        assert_eq!(parse_memory(b"1Kb"), Ok(1024));
        assert_eq!(parse_memory(b"2gb"), Ok(2 << 30));
        assert_eq!(parse_memory(b"007"), Ok(7));
        assert_eq!(parse_memory(b""), Ok(0));
        assert_eq!(parse_memory(b"b"), Ok(0));
        for wrong in [&b"1t"[..], b"-1", b"1.5mb", b"100 ", b"0x10", b"1gbb"] {
            assert_eq!(parse_memory(wrong), Err(MemoryError::Malformed), "{wrong:?}");
        }
        assert_eq!(parse_memory(b"8589934592gb"), Err(MemoryError::TooLarge));
    }

    #[test]
    fn memory_is_written_with_the_largest_unit() {
        assert_eq!(format_memory(1 << 20), "1mb");
        assert_eq!(format_memory(3 << 29), "1536mb");
        assert_eq!(format_memory(1000), "1000");
        assert_eq!(format_memory(0), "0");
    }

    #[test]
    fn percentiles() {
        for (value, text) in [(99.9, "99.9"), (100.0, "100"), (50.123456789, "50.123457"), (99.99999, "99.99999")] {
            assert_eq!(format_percentile(value), text);
        }
    }
}

//! Redis's text of numbers: what it accepts as one, and how it writes one.
//!
//! Long doubles (INCRBYFLOAT) are in [`crate::long_double`].

/// An integer as Redis accepts it in commands and stored values: digits with at most a `-` before them. No `+`, no spaces, no
/// leading zeros, no `-0`, nothing beyond `i64`. So text and number stand for each other, one to one.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let magnitude = match digits {
        [digit @ b'0'..=b'9'] => (*digit - b'0') as u64,
        [b'1'..=b'9', ..] if digits.len() <= 19 => {
            // 19 digits always fit in a u64.
            let mut value = 0u64;
            for &byte in digits {
                let digit = byte.wrapping_sub(b'0');
                if digit > 9 {
                    return None;
                }
                value = value * 10 + digit as u64;
            }
            value
        }
        _ => return None,
    };
    match (negative, magnitude) {
        (false, 0..=0x7fff_ffff_ffff_ffff) => Some(magnitude as i64),
        (true, 1..=0x8000_0000_0000_0000) => Some((magnitude as i64).wrapping_neg()),
        _ => None,
    }
}

/// As [`parse_i64`], for values up to `u64::MAX` (SCAN's cursor has its own, laxer rules).
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [digit @ b'0'..=b'9'] => Some((*digit - b'0') as u64),
        [b'1'..=b'9', rest @ ..] if rest.len() <= 19 && rest.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(text).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// A double as Redis accepts it: what C's `strtod` reads, hexadecimal and `inf` included, with nothing before or behind it.
/// NaN is refused, and so is what overflows, or underflows to zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    match Real::scan(text)? {
        Real::Infinity { negative } => Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY }),
        Real::Hexadecimal(hexadecimal) => hexadecimal.to_f64(),
        Real::Decimal(decimal) => {
            // The standard library rounds correctly, and `scan` has left only what it can read.
            let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            let underflow = value == 0.0 && !decimal.is_zero();
            (value.is_finite() && !underflow).then_some(value)
        }
    }
}

/// The text of a real number, taken apart but not evaluated.
#[derive(Debug)]
pub(crate) enum Real<'a> {
    Infinity { negative: bool },
    Decimal(Decimal<'a>),
    Hexadecimal(Hexadecimal),
}

/// `±whole.fraction e exponent`
#[derive(Debug)]
pub(crate) struct Decimal<'a> {
    pub negative: bool,
    pub whole: &'a [u8],
    pub fraction: &'a [u8],
    /// Clamped to ±100,000, which is beyond every format.
    pub exponent: i32,
}

/// `±mantissa × 2^exponent`, plus something smaller than the mantissa's last bit if `sticky`.
#[derive(Debug)]
pub(crate) struct Hexadecimal {
    pub negative: bool,
    pub mantissa: u128,
    pub sticky: bool,
    pub exponent: i32,
}

const EXPONENT_CLAMP: i32 = 100_000;

impl<'a> Real<'a> {
    pub(crate) fn scan(text: &'a [u8]) -> Option<Real<'a>> {
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
            return Some(Real::Infinity { negative });
        }
        if let [b'0', b'x' | b'X', rest @ ..] = rest {
            return scan_hexadecimal(negative, rest).map(Real::Hexadecimal);
        }
        let (whole, rest) = take_while(rest, u8::is_ascii_digit);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => take_while(rest, u8::is_ascii_digit),
            rest => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => scan_exponent(rest)?,
            _ => return None,
        };
        Some(Real::Decimal(Decimal { negative, whole, fraction, exponent }))
    }
}

impl Decimal<'_> {
    pub(crate) fn is_zero(&self) -> bool {
        self.whole.iter().chain(self.fraction).all(|&digit| digit == b'0')
    }
}

fn take_while(text: &[u8], accept: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| accept(byte)).count())
}

fn scan_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude =
        digits.iter().fold(0, |value: i32, &digit| (value * 10 + (digit - b'0') as i32).min(EXPONENT_CLAMP));
    Some(if negative { -magnitude } else { magnitude })
}

fn scan_hexadecimal(negative: bool, rest: &[u8]) -> Option<Hexadecimal> {
    let (whole, rest) = take_while(rest, u8::is_ascii_hexdigit);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => take_while(rest, u8::is_ascii_hexdigit),
        rest => (&rest[..0], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent = match rest {
        [] => 0,
        [b'p' | b'P', rest @ ..] => scan_exponent(rest)?,
        _ => return None,
    };
    let mut number = Hexadecimal { negative, mantissa: 0, sticky: false, exponent };
    // In 64 bits: the text may be longer than an i32 counts.
    let mut scale = i64::from(exponent) - 4 * fraction.len() as i64;
    for &digit in whole.iter().chain(fraction) {
        let digit = (digit as char).to_digit(16).unwrap_or(0) as u128;
        if number.mantissa >> 120 == 0 {
            number.mantissa = number.mantissa << 4 | digit;
        } else {
            number.sticky |= digit != 0;
            scale += 4;
        }
    }
    number.exponent = scale.clamp(-i64::from(EXPONENT_CLAMP), i64::from(EXPONENT_CLAMP)) as i32;
    Some(number)
}

impl Hexadecimal {
    fn to_f64(&self) -> Option<f64> {
        let sign = if self.negative { -1.0 } else { 1.0 };
        if self.mantissa == 0 {
            return Some(sign * 0.0);
        }
        let bits = 128 - self.mantissa.leading_zeros() as i32;
        // The last bit that a double of this magnitude has, subnormal ones included.
        let last = (self.exponent + bits - 53).max(-1074);
        let dropped = last - self.exponent;
        let mantissa = if dropped <= 0 {
            self.mantissa << -dropped
        } else {
            round_shift(self.mantissa, dropped as u32, self.sticky)
        };
        // Both factors and the product are exact: at most 53 bits, and powers of two in range.
        let value = match last {
            ..=-1023 => mantissa as f64 * 2f64.powi(last + 200) * 2f64.powi(-200),
            1024.. => return None,
            _ => mantissa as f64 * 2f64.powi(last),
        };
        (value.is_finite() && value != 0.0).then_some(sign * value)
    }
}

/// `value / 2^shift` to the nearest, ties to even; `sticky` says that the true value is a little more than `value`.
pub(crate) fn round_shift(value: u128, shift: u32, sticky: bool) -> u128 {
    if shift == 0 {
        return value;
    }
    if shift > 128 {
        return 0;
    }
    let quotient = if shift == 128 { 0 } else { value >> shift };
    let half = 1u128 << (shift - 1);
    let rest = if shift == 128 { value } else { value & ((1 << shift) - 1) };
    let up = rest > half || rest == half && (sticky || quotient & 1 == 1);
    quotient + up as u128
}

/// The text of a double in replies: digits that read back as it ([`crate::grisu`]), laid out as Redis does.
///
/// | value | text |
/// |---|---|
/// | whole, up to 2^62 | `100000`, `-0` |
/// | few zeros to add | `123456789012345680`, `0.00001` |
/// | else | `1e+20`, `1.5e-10` |
/// | not finite | `inf`, `-inf`, `nan` |
#[derive(Clone, Copy, Debug)]
pub struct DoubleText {
    bytes: [u8; 32],
    length: u8,
}

impl DoubleText {
    pub fn new(value: f64) -> Self {
        let mut text = DoubleText { bytes: [0; 32], length: 0 };
        // Whole numbers have a road of their own in Redis, up to half of i64's range; there the digits are exact, not
        // shortest: 4611686018427387904.
        const WHOLE_MAX: f64 = (1u64 << 62) as f64;
        if value == 0.0 && value.is_sign_negative() {
            text.append(b"-0");
        } else if value.abs() <= WHOLE_MAX && value.trunc() == value {
            text.append(itoa::Buffer::new().format(value as i64).as_bytes());
        } else if value.is_nan() {
            text.append(b"nan");
        } else if value.is_infinite() {
            text.append(if value > 0.0 { b"inf" } else { b"-inf" });
        } else {
            text.lay_out(value);
        }
        text
    }

    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length as usize]
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("digits are ASCII")
    }

    fn append(&mut self, bytes: &[u8]) {
        let end = self.length as usize + bytes.len();
        self.bytes[self.length as usize..end].copy_from_slice(bytes);
        self.length = end as u8;
    }

    fn lay_out(&mut self, value: f64) {
        let (digits, count, scale) = crate::grisu::digits(value.abs());
        let digits = &digits[..count];
        // value = digits × 10^scale = d.ddd × 10^exponent
        let exponent = scale + count as i32 - 1;
        const ZEROS: &[u8] = b"0000000000000000000000";
        if value < 0.0 {
            self.append(b"-");
        }
        if scale >= 0 && exponent < count as i32 + 7 {
            self.append(digits);
            self.append(&ZEROS[..scale as usize]);
        } else if scale < 0 && (scale > -7 || exponent.abs() < 4) {
            if exponent < 0 {
                self.append(b"0.");
                self.append(&ZEROS[..(-exponent - 1) as usize]);
                self.append(digits);
            } else {
                let (whole, fraction) = digits.split_at(exponent as usize + 1);
                self.append(whole);
                self.append(b".");
                self.append(fraction);
            }
        } else {
            self.append(&digits[..1]);
            if count > 1 {
                self.append(b".");
                self.append(&digits[1..]);
            }
            self.append(if exponent < 0 { b"e-" } else { b"e+" });
            self.append(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_text_each() {
        for value in [0, 1, -1, 9, 10, -10, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1] {
            assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        }
        for text in [
            "",
            "-",
            "+1",
            "-0",
            "00",
            "01",
            " 1",
            "1 ",
            "1.0",
            "0x1",
            "1a",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_i64(b"99999999999999999999"), None);
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"-1"), None);
    }

    #[test]
    fn doubles_as_redis_reads_them() {
        for (text, value) in
            [("1.", 1.0), (".5", 0.5), ("+1", 1.0), ("00012", 12.0), ("1E5", 1e5), ("0x10", 16.0), ("0x.8", 0.5)]
        {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        assert_eq!(parse_f64(b"0x1.8p-2"), Some(0.375));
        assert_eq!(parse_f64(b"0x1p-1074"), Some(5e-324));
        assert_eq!(parse_f64(b"0x1.fffffffffffff7p1023"), Some(f64::MAX));
        assert_eq!(parse_f64(b"5e-324"), Some(5e-324));
        assert_eq!(parse_f64(b"-Infinity"), Some(f64::NEG_INFINITY));
        let refused = [
            "", ".", "-", "nan", "+nan", "1e", "1e+", "e5", "1_0", " 1", "1 ", "1d", "0x", "0xp1", "0x1p", "--1",
            "1e400", "1e-400",
        ];
        for text in
            refused.into_iter().chain(["0x1p1024", "0x1p-1076", "infinit", "1\0", "1e9999999999", "0x1p99999999999"])
        {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
    }

    /// Texts that Redis 8.2 gave; `tests/numbers.rs` asks it for many more.
    #[test]
    fn doubles_as_redis_writes_them() {
        for (value, text) in [
            (0.1, "0.1"),
            (3.0, "3"),
            (-0.0, "-0"),
            (1e-5, "0.00001"),
            (1e-7, "1e-7"),
            (1.2345e-4, "1.2345e-4"),
            (1e17, "100000000000000000"),
            (1e20, "1e+20"),
            (1234567890123456789012.0, "1234567890123456800000"),
            (4611686018427387904.0, "4611686018427387904"),
            (9223372036854775808.0, "9223372036854776000"),
            (f64::MAX, "1.7976931348623157e+308"),
            (-5e-324, "-5e-324"),
            (f64::from_bits(0x4310_e053_faee_a68f), "1187562731055523.7"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(DoubleText::new(value).as_str(), text);
        }
    }

    #[test]
    fn rounding_to_even() {
        for (value, shift, sticky, rounded) in [
            (5, 1, false, 2),
            (7, 1, false, 4),
            (5, 1, true, 3),
            (3, 2, false, 1),
            (1, 0, false, 1),
            (u128::MAX, 128, false, 1),
            (1 << 127, 128, false, 0),
        ] {
            assert_eq!(round_shift(value, shift, sticky), rounded, "{value} >> {shift}");
        }
        assert_eq!(round_shift(u128::MAX, 129, true), 0);
    }
}

//! Numbers as C writes them with `%.14g` and reads them with `strtod`.

use std::io::Write as _;

/// Writes so many significant digits, without zeros at the end.
pub(super) fn write_number(out: &mut Vec<u8>, number: f64, digits: usize) {
    if number.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if number.is_infinite() {
        return out.extend_from_slice(if number > 0.0 { b"inf" } else { b"-inf" });
    }
    // An integer that has no more digits is its own text; this is by far the most frequent case.
    if number.trunc() == number
        && number.abs() < 10_f64.powi(digits as i32)
        && !(number == 0.0 && number.is_sign_negative())
    {
        write_to(out, format_args!("{}", number as i64));
        return;
    }
    let mut room = [0; 32];
    let length = {
        let mut rest = &mut room[..];
        write!(rest, "{number:.*e}", digits - 1).expect("14 digits, a sign and an exponent fit");
        32 - rest.len()
    };
    let text = &room[..length];
    let (mantissa, exponent) = text.split_at(memchr::memchr(b'e', text).expect("it was asked for"));
    let exponent: i32 =
        std::str::from_utf8(&exponent[1..]).ok().and_then(|text| text.parse().ok()).expect("an integer");
    let (sign, mantissa) = mantissa.split_at(usize::from(number.is_sign_negative()));
    out.extend_from_slice(sign);
    let significant = |text: &mut Vec<u8>, from: usize| {
        // Only behind a point are zeros worth nothing.
        while text.last() == Some(&b'0') && text.len() > from {
            text.pop();
        }
        if text.last() == Some(&b'.') {
            text.pop();
        }
    };
    if exponent < -4 || exponent >= digits as i32 {
        let from = out.len() + 1;
        out.extend_from_slice(mantissa);
        significant(out, from);
        let sign = if exponent < 0 { '-' } else { '+' };
        write_to(out, format_args!("e{sign}{:02}", exponent.unsigned_abs()));
        return;
    }
    let figures = mantissa.iter().copied().filter(|&byte| byte != b'.');
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-1 - exponent) as usize));
        let from = out.len();
        out.extend(figures);
        significant(out, from);
    } else {
        let whole = exponent as usize + 1;
        out.extend(figures.clone().take(whole));
        let from = out.len();
        out.push(b'.');
        out.extend(figures.skip(whole));
        significant(out, from);
    }
}

fn write_to(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes everything");
}

/// The number at the beginning of a text, and its length; 0 if there is none.
pub(super) fn read_number(text: &[u8]) -> (f64, usize) {
    let sign = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let negative = text.first() == Some(&b'-');
    let signed = |number: f64| if negative { -number } else { number };
    let rest = &text[sign..];
    let begins = |word: &[u8]| rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word);
    if begins(b"infinity") {
        return (signed(f64::INFINITY), sign + 8);
    }
    if begins(b"inf") {
        return (signed(f64::INFINITY), sign + 3);
    }
    if begins(b"nan") {
        return (signed(f64::NAN), sign + 3 + payload_length(&rest[3..]));
    }
    let is_hex = begins(b"0x");
    let digits_from = if is_hex { 2 } else { 0 };
    let is_digit = |byte: &u8| if is_hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let count = |from: usize| rest[from.min(rest.len())..].iter().take_while(|byte| is_digit(byte)).count();
    let whole = count(digits_from);
    let mut end = digits_from + whole;
    let mut digits = whole;
    if rest.get(end) == Some(&b'.') {
        let fraction = count(end + 1);
        digits += fraction;
        if digits > 0 {
            end += 1 + fraction;
        }
    }
    if digits == 0 {
        // Of "0x" alone the zero is a number.
        return if is_hex { (signed(0.0), sign + 1) } else { (0.0, 0) };
    }
    let mark = if is_hex { b'p' } else { b'e' };
    if rest.get(end).is_some_and(|byte| byte.to_ascii_lowercase() == mark) {
        let exponent_from = end + 1 + usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
        let exponent = rest[exponent_from.min(rest.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if exponent > 0 {
            end = exponent_from + exponent;
        }
    }
    let length = sign + end;
    let number = if is_hex { hexadecimal(&rest[2..end]) } else { decimal(&rest[..end]) };
    (signed(number), length)
}

/// `(…)` behind `nan`, which says nothing here.
fn payload_length(rest: &[u8]) -> usize {
    if rest.first() != Some(&b'(') {
        return 0;
    }
    let inside = rest[1..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    if rest.get(1 + inside) == Some(&b')') { inside + 2 } else { 0 }
}

fn decimal(text: &[u8]) -> f64 {
    // What was cut out is what `parse` reads.
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

fn hexadecimal(text: &[u8]) -> f64 {
    let (mantissa, exponent) = match text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'p')) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b""[..]),
    };
    // Beyond 60 bits only whether there is anything more matters to the rounding.
    let (mut bits, mut shift, mut seen_point) = (0_u64, 0_i64, false);
    for &byte in mantissa {
        let Some(digit) = char::from(byte).to_digit(16) else {
            seen_point = true;
            continue;
        };
        if bits >> 60 == 0 {
            bits = bits << 4 | u64::from(digit);
            shift -= if seen_point { 4 } else { 0 };
        } else {
            bits |= u64::from(digit != 0);
            shift += if seen_point { 0 } else { 4 };
        }
    }
    let exponent = std::str::from_utf8(exponent).unwrap_or("");
    let negative = exponent.starts_with('-');
    let exponent = exponent.trim_start_matches(['+', '-']);
    let exponent = if exponent.is_empty() { 0 } else { exponent.parse::<i64>().unwrap_or(i64::MAX / 4) };
    let shift = shift.saturating_add(if negative { -exponent } else { exponent }).clamp(-5000, 5000) as i32;
    scaled(bits, shift)
}

/// `bits * 2^shift`, rounded once.
fn scaled(bits: u64, shift: i32) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    let top = 63 - bits.leading_zeros() as i32;
    // So many bits fit: 53, or less where the number is subnormal.
    let room = 53.min(top + shift + 1075);
    let excess = top + 1 - room;
    if room < 0 {
        return 0.0;
    }
    let (kept, shift) = if excess > 0 {
        let half = 1_u128 << (excess - 1);
        let bits = u128::from(bits);
        let (quotient, rest) = (bits >> excess, bits & ((1 << excess) - 1));
        let up = rest > half || (rest == half && quotient & 1 == 1);
        (quotient as u64 + u64::from(up), shift + excess)
    } else {
        (bits, shift)
    };
    // Exact: in two steps, as 2^1074 is no number.
    let half = shift / 2;
    kept as f64 * 2_f64.powi(half) * 2_f64.powi(shift - half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_c_writes_them() {
        let text = |number: f64, digits: usize| {
            let mut out = Vec::new();
            write_number(&mut out, number, digits);
            String::from_utf8(out).unwrap()
        };
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.33333333333333"),
            (1e14, "1e+14"),
            (99_999_999_999_999.0, "99999999999999"),
            (999_999_999_999_999.0, "1e+15"),
            (123_456_789.123_456_79, "123456789.12346"),
            (5e-324, "4.9406564584125e-324"),
            (f64::MAX, "1.7976931348623e+308"),
            (-1e-5, "-1e-05"),
            (0.0001, "0.0001"),
            (0.999_999_999_999_999_9, "1"),
            (99_999_999_999_999.96, "1e+14"),
            (100.5, "100.5"),
            (1e100, "1e+100"),
            (120.0, "120"),
        ] {
            assert_eq!(text(number, 14), expected);
        }
        assert_eq!(text(12345.0, 3), "1.23e+04");
        assert_eq!(text(1.0 / 3.0, 1), "0.3");
        assert_eq!(text(10.0, 1), "1e+01");
    }

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, number, length) in [
            ("1", 1.0, 1),
            ("-1.5e3x", -1500.0, 6),
            ("1e", 1.0, 1),
            ("1e+", 1.0, 1),
            (".5", 0.5, 2),
            ("1.", 1.0, 2),
            ("0x", 0.0, 1),
            ("0x1F", 31.0, 4),
            ("0x1.8p1", 3.0, 7),
            ("0x1p", 1.0, 3),
            ("-0x10", -16.0, 5),
            ("infinit", f64::INFINITY, 3),
            ("-Infinity", f64::NEG_INFINITY, 9),
            ("", 0.0, 0),
            ("-", 0.0, 0),
            (".", 0.0, 0),
            ("+1", 1.0, 2),
            ("1e400", f64::INFINITY, 5),
            ("0x1p-1074", 5e-324, 9),
            ("0x1p-1075", 0.0, 9),
            ("0x1.8p-1075", 5e-324, 11),
            ("0x1.fffffffffffff7p1023", f64::MAX, 23),
            ("0x.8", 0.5, 4),
            ("0x1p99999999999999999999", f64::INFINITY, 24),
        ] {
            assert_eq!(read_number(text.as_bytes()), (number, length), "{text}");
        }
        assert!(read_number(b"nan(12)").0.is_nan() && read_number(b"nan(12)").1 == 7 && read_number(b"nan(1").1 == 3);
    }
}

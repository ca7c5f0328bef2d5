//! INCRBYFLOAT's arithmetic: the x87 long double, with a mantissa of 64 bits, on any machine.
//!
//! Redis computes INCRBYFLOAT and HINCRBYFLOAT in C's `long double` and stores the sum as `%.17Lf` with the zeros at its end cut off. On
//! x86-64 that is the 80-bit extended format; a client sees its digits, so they must come out the same here. This module does
//! exactly what is needed of it: read a decimal, add, write.
//!
//! Numbers below 10^-17 never show up in the text, so the format's subnormals need no rounding of their own: they only
//! decide which texts Redis refuses as underflow.

use num_bigint::BigUint;

use crate::number::{Decimal, Hexadecimal, Real, round_shift};

/// Longest text that Redis reads as a long double.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Exponent of the last mantissa bit of the largest finite numbers, 2^16384 - 2^16320.
const EXPONENT_MAX: i32 = 16384 - 64;

/// Half of the smallest subnormal, 2^-16445: what is not above it becomes zero.
const UNDERFLOW_EXPONENT: i32 = -16446;

/// `±mantissa × 2^exponent`; the mantissa has its top bit set, or is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Finite {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Infinity { negative: bool },
    Finite(Finite),
}

/// A long double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble(Value);

impl LongDouble {
    /// What C's `strtold` reads, with nothing before or behind it. NaN, overflow and underflow to zero are refused, as in Redis:
    /// "value is not a valid float".
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let finite = match Real::scan(text)? {
            Real::Infinity { negative } => return Some(LongDouble(Value::Infinity { negative })),
            Real::Decimal(decimal) if decimal.is_zero() => {
                Finite { negative: decimal.negative, mantissa: 0, exponent: 0 }
            }
            Real::Decimal(decimal) => from_decimal(&decimal)?,
            Real::Hexadecimal(Hexadecimal { negative, mantissa: 0, .. }) => {
                Finite { negative, mantissa: 0, exponent: 0 }
            }
            Real::Hexadecimal(hexadecimal) => {
                round(hexadecimal.negative, hexadecimal.mantissa, hexadecimal.sticky, hexadecimal.exponent)?
            }
        };
        let underflow = finite.mantissa != 0
            && (finite.exponent + 63 < UNDERFLOW_EXPONENT
                || (finite.exponent + 63 == UNDERFLOW_EXPONENT && finite.mantissa == 1 << 63));
        (!underflow).then_some(LongDouble(Value::Finite(finite)))
    }

    pub fn from_i64(value: i64) -> LongDouble {
        match round(value < 0, value.unsigned_abs() as u128, false, 0) {
            Some(finite) => LongDouble(Value::Finite(finite)),
            None => unreachable!("an integer is no overflow"),
        }
    }

    pub fn is_finite(self) -> bool {
        matches!(self.0, Value::Finite(_))
    }

    /// The sum; `None` if it is not a finite number: "increment would produce NaN or Infinity".
    pub fn checked_add(self, other: LongDouble) -> Option<LongDouble> {
        match (self.0, other.0) {
            (Value::Finite(left), Value::Finite(right)) => add(left, right).map(|sum| LongDouble(Value::Finite(sum))),
            _ => None,
        }
    }

    /// The nearest double: what Redis makes of a timeout it has read as a long double.
    pub fn to_f64(self) -> f64 {
        match self.0 {
            Value::Infinity { negative: true } => f64::NEG_INFINITY,
            Value::Infinity { negative: false } => f64::INFINITY,
            Value::Finite(finite) => {
                // Rust rounds integers to nearest even; a double's own subnormals would be rounded twice, which nobody
                // can see in a timeout.
                let magnitude = match finite.exponent {
                    ..=-1000 => {
                        finite.mantissa as f64 * 2f64.powi(-1000) * 2f64.powi((finite.exponent + 1000).max(-1000))
                    }
                    exponent @ -999..=960 => finite.mantissa as f64 * 2f64.powi(exponent),
                    _ => f64::INFINITY,
                };
                if finite.negative { -magnitude } else { magnitude }
            }
        }
    }

    /// C's `%.17Lf` without the zeros at its end; `0` also for minus zero. Infinities as Redis writes them, `inf` and `-inf`.
    pub fn to_text(self) -> String {
        match self.0 {
            Value::Infinity { negative } => if negative { "-inf" } else { "inf" }.to_owned(),
            Value::Finite(finite) => finite.to_text(),
        }
    }
}

/// What INCRBYFLOAT stores: the sum of two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncrementError {
    /// "value is not a valid float"
    NotAFloat,
    /// "increment would produce NaN or Infinity"
    NotFinite,
}

/// `value + increment`, both as text, as INCRBYFLOAT stores and replies it.
pub fn increment(value: &[u8], increment: &[u8]) -> Result<String, IncrementError> {
    let value = LongDouble::parse(value).ok_or(IncrementError::NotAFloat)?;
    let increment = LongDouble::parse(increment).ok_or(IncrementError::NotAFloat)?;
    Ok(value.checked_add(increment).ok_or(IncrementError::NotFinite)?.to_text())
}

impl Finite {
    fn to_text(self) -> String {
        const DECIMALS: usize = 17;
        const SCALE: u128 = 10u128.pow(DECIMALS as u32);
        let mut digits = if self.exponent < 0 {
            // mantissa × 10^17 has at most 121 bits, so everything below 2^64 is exact in 128.
            round_shift(self.mantissa as u128 * SCALE, self.exponent.unsigned_abs(), false).to_string()
        } else if self.exponent <= 64 {
            let mut digits = ((self.mantissa as u128) << self.exponent).to_string();
            digits.push_str(&"0".repeat(DECIMALS));
            digits
        } else {
            let mut digits = (BigUint::from(self.mantissa) << self.exponent).to_string();
            digits.push_str(&"0".repeat(DECIMALS));
            digits
        };
        if digits.len() <= DECIMALS {
            digits.insert_str(0, &"0".repeat(DECIMALS + 1 - digits.len()));
        }
        digits.insert(digits.len() - DECIMALS, '.');
        digits.truncate(digits.trim_end_matches('0').trim_end_matches('.').len());
        if self.negative && digits != "0" {
            digits.insert(0, '-');
        }
        digits
    }
}

/// The nearest long double of `value × 2^exponent` (and a little more if `sticky`); `None` if it overflows.
fn round(negative: bool, value: u128, sticky: bool, exponent: i32) -> Option<Finite> {
    if value == 0 {
        return Some(Finite { negative, mantissa: 0, exponent: 0 });
    }
    let bits = 128 - value.leading_zeros() as i32;
    let shift = bits - 64;
    let (mut mantissa, mut exponent) = if shift <= 0 {
        // A sticky value comes with more than 64 bits, else it could not be rounded.
        assert!(!sticky);
        (value << -shift, exponent + shift)
    } else {
        (round_shift(value, shift as u32, sticky), exponent + shift)
    };
    if mantissa >> 64 != 0 {
        mantissa >>= 1;
        exponent += 1;
    }
    (exponent <= EXPONENT_MAX).then_some(Finite { negative, mantissa: mantissa as u64, exponent })
}

fn add(left: Finite, right: Finite) -> Option<Finite> {
    let (large, small) = if (right.mantissa == 0, left.exponent, left.mantissa)
        >= (left.mantissa == 0, right.exponent, right.mantissa)
    {
        (left, right)
    } else {
        (right, left)
    };
    if small.mantissa == 0 {
        return Some(large);
    }
    // 63 bits below the larger mantissa and one above it. What the smaller one loses below is kept as one sticky bit:
    // it loses only when it is at least 2^63 times smaller, and then the difference keeps its guard bits.
    const GUARD_BITS: u32 = 63;
    let distance = large.exponent.abs_diff(small.exponent);
    let large_bits = (large.mantissa as u128) << GUARD_BITS;
    let small_whole = (small.mantissa as u128) << GUARD_BITS;
    let small_bits = if distance >= 128 { 0 } else { small_whole >> distance };
    let lost = distance >= 128 || small_bits << distance != small_whole;
    let sum = if large.negative == small.negative {
        (large_bits + small_bits) | lost as u128
    } else {
        // Rounding the subtrahend up, by a bit far below what decides, keeps "a little less" visible.
        (large_bits - small_bits - lost as u128) | lost as u128
    };
    // Exact cancellation gives plus zero.
    let negative = large.negative && sum != 0;
    round(negative, sum, false, large.exponent - GUARD_BITS as i32)
}

fn from_decimal(decimal: &Decimal<'_>) -> Option<Finite> {
    let digits = || decimal.whole.iter().chain(decimal.fraction).skip_while(|&&digit| digit == b'0');
    let count = digits().count();
    let scale = decimal.exponent - decimal.fraction.len() as i32;
    // Far beyond the format on either side: the power need not be computed.
    if scale + count as i32 > 5000 {
        return None;
    }
    if scale + (count as i32) < -5000 {
        return Some(Finite { negative: decimal.negative, mantissa: 1 << 63, exponent: -100_000 });
    }
    if count <= 19 && (-19..=19).contains(&scale) {
        let value = digits().fold(0u64, |value, &digit| value * 10 + (digit - b'0') as u64);
        let power = 10u64.pow(scale.unsigned_abs());
        return if scale >= 0 {
            round(decimal.negative, value as u128 * power as u128, false, 0)
        } else {
            Some(divide(decimal.negative, value, power))
        };
    }
    let text: Vec<u8> = digits().copied().collect();
    let value = BigUint::parse_bytes(&text, 10)?;
    let power = BigUint::from(10u8).pow(scale.unsigned_abs());
    if scale >= 0 {
        return round_big(decimal.negative, &(value * power), false, 0);
    }
    // Enough bits that the quotient has more than 64, and the remainder only says whether there is more.
    let shift = (power.bits() as i64 - value.bits() as i64 + 66).max(0) as u64;
    let numerator = value << shift;
    let quotient = &numerator / &power;
    let sticky = &quotient * &power != numerator;
    round_big(decimal.negative, &quotient, sticky, -(shift as i32))
}

/// `value / divisor` for a value that is not zero.
fn divide(negative: bool, value: u64, divisor: u64) -> Finite {
    let zeros = value.leading_zeros();
    // At least 2^127 / 2^64: 64 bits or more, and one bit more decides together with the remainder.
    let numerator = (value as u128) << (64 + zeros);
    let quotient = numerator / divisor as u128;
    let rest = numerator % divisor as u128;
    let exponent = -64 - zeros as i32;
    if quotient >> 64 != 0 {
        return round(negative, quotient, rest != 0, exponent).expect("a quotient of small numbers does not overflow");
    }
    // Exactly 64 bits: one more by hand.
    let (quotient, rest) = (quotient << 1 | (rest * 2 >= divisor as u128) as u128, rest * 2 % divisor as u128);
    round(negative, quotient, rest != 0, exponent - 1).expect("a quotient of small numbers does not overflow")
}

fn round_big(negative: bool, value: &BigUint, sticky: bool, exponent: i32) -> Option<Finite> {
    let dropped = value.bits().saturating_sub(128);
    let top = value >> dropped;
    let sticky = sticky || value.trailing_zeros().is_some_and(|zeros| zeros < dropped);
    let top = u128::try_from(top).expect("128 bits are left");
    round(negative, top, sticky, exponent + dropped as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(left: &str, right: &str) -> String {
        increment(left.as_bytes(), right.as_bytes()).unwrap_or_else(|error| format!("{error:?}"))
    }

    /// Texts that Redis 8.2 gave; `tests/numbers.rs` asks it for many more.
    #[test]
    fn sums_as_redis_writes_them() {
        assert_eq!(sum("10.50", "0.1"), "10.6");
        assert_eq!(sum("3.0e3", "200"), "3200");
        assert_eq!(sum("-0", "-0"), "0");
        assert_eq!(sum("0x1p3", "0"), "8");
        assert_eq!(sum("1e-400", "0"), "0");
        assert_eq!(sum(&format!("0.{}", "1".repeat(254)), "0"), "0.11111111111111111");
        assert!(sum("1e400", "0").starts_with("100000000000000000002818806839475865145864"));
        assert_eq!(sum("1e400", "0").len(), 401);
        assert_eq!(sum("18446744073709551616", "1"), "18446744073709551616");
        assert_eq!(sum("18446744073709551616", "-0.5"), "18446744073709551616");
        assert_eq!(sum("18446744073709551616", "-0.6"), "18446744073709551615");
    }

    #[test]
    fn what_is_refused() {
        for text in ["", "nan", " 1", "1e4933", "1e-4951", "1e-5000", "1e9999999999", "1\0"] {
            assert_eq!(sum(text, "0"), "NotAFloat", "{text}");
        }
        assert_eq!(sum("inf", "0"), "NotFinite");
        assert_eq!(sum("inf", "-inf"), "NotFinite");
        assert_eq!(sum("1e4932", "1e4932"), "NotFinite");
        assert_eq!(sum(&"0".repeat(TEXT_BYTES_MAX), "1"), "1");
        assert_eq!(sum(&"0".repeat(TEXT_BYTES_MAX + 1), "1"), "NotAFloat");
    }

    #[test]
    fn the_nearest_double() {
        for value in [0.0, 1.5, -2.25, 1e300, 1e-300] {
            assert_eq!(LongDouble::parse(format!("{value:e}").as_bytes()).map(LongDouble::to_f64), Some(value));
        }
        assert_eq!(LongDouble::from_i64(i64::MIN).to_f64(), i64::MIN as f64);
        assert_eq!(LongDouble::from_i64(i64::MIN).to_text(), i64::MIN.to_string());
    }
}

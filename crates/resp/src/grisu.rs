//! Digits of a double by Grisu2 (Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers",
//! PLDI 2010).
//!
//! Not the best algorithm of today: in one or two of a thousand doubles its digits are one too many, or not the nearest of
//! the shortest. But Redis's replies show exactly these digits (8.2: the double nearest to 1187562731055523.75 is written
//! `…523.7` there, and as `…523.8` by zmij, ryu and the standard library), and to be equal byte for byte we must err with it.
//! `tests/numbers.rs` compares with a real Redis.

use std::sync::LazyLock;

use num_bigint::BigUint;

/// `fraction × 2^exponent`
#[derive(Clone, Copy)]
struct Scaled {
    fraction: u64,
    exponent: i32,
}

impl Scaled {
    fn normalized(self) -> Scaled {
        let shift = self.fraction.leading_zeros();
        Scaled { fraction: self.fraction << shift, exponent: self.exponent - shift as i32 }
    }

    /// The upper half of the product, rounded.
    fn times(self, other: Scaled) -> Scaled {
        let product = self.fraction as u128 * other.fraction as u128;
        Scaled { fraction: ((product + (1 << 63)) >> 64) as u64, exponent: self.exponent + other.exponent + 64 }
    }
}

/// Products with a power of ten end with an exponent in this range, so that their whole part fits in 32 bits.
const EXPONENT_MIN: i32 = -60;
const EXPONENT_MAX: i32 = -32;

const POWER_FIRST: i32 = -348;
const POWER_STEP: i32 = 8;
const POWER_COUNT: usize = 87;

/// 10^-348, 10^-340 … 10^340, each to the nearest 64 bits. Computed rather than written down: they cannot be mistyped.
static POWERS: LazyLock<[Scaled; POWER_COUNT]> = LazyLock::new(|| {
    std::array::from_fn(|index| {
        let decimal = POWER_FIRST + POWER_STEP * index as i32;
        let power = BigUint::from(10u8).pow(decimal.unsigned_abs());
        // 65 bits of 10^decimal, and from the last one the rounding.
        let (value, exponent) = if decimal >= 0 {
            let exponent = power.bits() as i32 - 65;
            (if exponent >= 0 { power >> exponent } else { power << -exponent }, exponent)
        } else {
            let shift = power.bits() + 64;
            let quotient = (BigUint::from(1u8) << shift) / power;
            (quotient, -(shift as i32))
        };
        let value = u128::try_from(value).expect("65 bits");
        let dropped = 128 - value.leading_zeros() - 64;
        let rounded = (value + (1 << (dropped - 1))) >> dropped;
        Scaled { fraction: rounded as u64, exponent: exponent + dropped as i32 }
    })
});

/// The cached power that brings `exponent` into the range: 10^(second).
fn power_for(exponent: i32) -> (Scaled, i32) {
    let powers = &*POWERS;
    // The smallest that suffices. Its index by logarithm, and then by looking: the estimate may be one off.
    let estimate = (EXPONENT_MIN - exponent - 1) as f64 * std::f64::consts::LOG10_2;
    let mut index = ((estimate as i32 - POWER_FIRST) / POWER_STEP - 1).clamp(0, POWER_COUNT as i32 - 1) as usize;
    while exponent + powers[index].exponent + 64 < EXPONENT_MIN {
        index += 1;
    }
    debug_assert!(exponent + powers[index].exponent + 64 <= EXPONENT_MAX);
    (powers[index], POWER_FIRST + POWER_STEP * index as i32)
}

/// The digits of a positive finite double: `digits[..count] × 10^scale`. The first is not zero.
pub(crate) fn digits(value: f64) -> ([u8; 18], usize, i32) {
    assert!(value > 0.0 && value.is_finite());
    let bits = value.to_bits();
    let biased = (bits >> 52) as i32;
    let hidden = 1u64 << 52;
    let fraction = bits & (hidden - 1);
    let double = if biased == 0 {
        Scaled { fraction, exponent: -1074 }
    } else {
        Scaled { fraction: fraction | hidden, exponent: biased - 1075 }
    };
    // Half way to the neighbours; the one below a power of two is nearer.
    let upper = Scaled { fraction: (double.fraction << 1) + 1, exponent: double.exponent - 1 }.normalized();
    let nearer = fraction == 0 && biased > 1;
    let lower = if nearer {
        Scaled { fraction: (double.fraction << 2) - 1, exponent: double.exponent - 2 }
    } else {
        Scaled { fraction: (double.fraction << 1) - 1, exponent: double.exponent - 1 }
    };
    let lower = Scaled { fraction: lower.fraction << (lower.exponent - upper.exponent), exponent: upper.exponent };
    let (power, decimal) = power_for(upper.exponent);
    let exact = double.normalized().times(power);
    // One unit inwards: the products may be wrong by that much.
    let upper = upper.times(power);
    let upper = Scaled { fraction: upper.fraction - 1, ..upper };
    let lower = lower.times(power).fraction + 1;
    generate(exact.fraction, upper, upper.fraction - lower, -decimal)
}

fn generate(exact: u64, upper: Scaled, mut delta: u64, scale: i32) -> ([u8; 18], usize, i32) {
    let mut digits = [0u8; 18];
    let mut count = 0;
    let shift = -upper.exponent as u32;
    let one = 1u64 << shift;
    let mut whole = upper.fraction >> shift;
    let mut rest = upper.fraction & (one - 1);
    let mut distance = upper.fraction - exact;
    // Digits before the point of the scaled number …
    let mut power = 1_000_000_000u64;
    for left in (0..10).rev() {
        let digit = whole / power;
        if digit > 0 || count > 0 {
            digits[count] = b'0' + digit as u8;
            count += 1;
        }
        whole %= power;
        let remaining = (whole << shift) + rest;
        if remaining <= delta {
            round(&mut digits[count - 1], delta, remaining, power << shift, distance);
            return (digits, count, scale + left);
        }
        power /= 10;
    }
    // … and behind it. No overflow: `rest` is below 2^60, and `distance <= delta <= rest` while this goes on.
    let mut left = 0;
    loop {
        rest *= 10;
        delta *= 10;
        distance *= 10;
        left -= 1;
        let digit = rest >> shift;
        if digit > 0 || count > 0 {
            digits[count] = b'0' + digit as u8;
            count += 1;
        }
        rest &= one - 1;
        if rest < delta {
            round(&mut digits[count - 1], delta, rest, one, distance);
            return (digits, count, scale + left);
        }
    }
}

/// Steps the last digit down while that brings the number nearer to the exact one, `distance` below the upper bound.
fn round(last: &mut u8, delta: u64, mut rest: u64, step: u64, distance: u64) {
    while rest < distance
        && delta - rest >= step
        && (rest + step < distance || distance - rest > rest + step - distance)
    {
        *last -= 1;
        rest += step;
    }
}

//! From registers to the number of different elements.

use super::{REGISTERS, Registers};

/// How many registers have each value. 51 is the largest that a hash proposes; 6 bits can hold more, in bytes from elsewhere.
pub struct Histogram([u32; 64]);

/// Zeros at the end of a hash, without the bits that choose the register.
const HASH_BITS: usize = 64 - REGISTERS.ilog2() as usize;

impl Histogram {
    pub fn of(registers: &Registers) -> Histogram {
        // Neighbours count in tables of their own: equal values in a row would wait for each other.
        let mut tables = [[0_u32; 64]; 4];
        for group in registers.as_chunks::<4>().0 {
            tables[0][usize::from(group[0] & 0x3F)] += 1;
            tables[1][usize::from(group[1] & 0x3F)] += 1;
            tables[2][usize::from(group[2] & 0x3F)] += 1;
            tables[3][usize::from(group[3] & 0x3F)] += 1;
        }
        let sum = std::array::from_fn(|value| tables.iter().map(|table| table[value]).sum());
        Histogram(sum)
    }

    /// Algorithm 6 of Ertl's paper. The order of the operations is the paper's: the same doubles as in Redis come out. What does
    /// not fit a signed integer becomes the smallest one, as there.
    pub fn cardinality(&self) -> u64 {
        let m = REGISTERS as f64;
        let counts = &self.0;
        let mut z = m * tau((m - f64::from(counts[HASH_BITS + 1])) / m);
        for count in counts[1..=HASH_BITS].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += m * sigma(f64::from(counts[0]) / m);
        let estimate = (ALPHA_INFINITY * m * m / z).round();
        if estimate < i64::MAX as f64 { estimate as u64 } else { 1 << 63 }
    }
}

/// 0.5 / ln 2.
const ALPHA_INFINITY: f64 = 0.721_347_520_444_481_7;

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Redis 8.2 replies.
    #[test]
    fn equal_registers() {
        for (value, expected) in [(0, 0), (1, 23_637), (50, 1 << 63), (51, 1 << 63), (63, 1 << 63)] {
            assert_eq!(Histogram::of(&[value; REGISTERS]).cardinality(), expected, "{value}");
        }
    }
}

//! Integers of any width at any bit: how BITFIELD reads and writes them.

use std::ops::RangeInclusive;

/// `i1` to `i64`, and `u1` to `u63`: an `i64` holds every value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldType {
    pub signed: bool,
    pub bits: u32,
}

/// What happens to a value that the field cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The lowest bits are kept.
    Wrap,
    /// The nearest value is kept.
    Saturate,
    /// Nothing is written.
    Fail,
}

impl FieldType {
    /// `i8`, `u63`.
    pub fn parse(text: &[u8]) -> Option<FieldType> {
        let (signed, bits_max) = match text.first()? {
            b'i' => (true, 64),
            b'u' => (false, 63),
            _ => return None,
        };
        let bits = resp::number::parse_i64(&text[1..])?;
        (1..=bits_max).contains(&bits).then_some(FieldType { signed, bits: bits as u32 })
    }

    fn values(self) -> RangeInclusive<i128> {
        match self.signed {
            true => -(1 << (self.bits - 1))..=(1 << (self.bits - 1)) - 1,
            false => 0..=(1 << self.bits) - 1,
        }
    }

    /// What the field will hold instead of this value; `None`: it keeps what it has.
    pub fn fit(self, exact: i128, overflow: Overflow) -> Option<i64> {
        let values = self.values();
        if values.contains(&exact) {
            return Some(exact as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.from_raw(exact as u64)),
            Overflow::Saturate => Some(exact.clamp(*values.start(), *values.end()) as i64),
            Overflow::Fail => None,
        }
    }

    /// The value of the lowest bits.
    fn from_raw(self, raw: u64) -> i64 {
        let unused = 64 - self.bits;
        if self.signed { (raw << unused) as i64 >> unused } else { (raw << unused >> unused) as i64 }
    }

    /// The field at this bit; bits beyond the end are 0.
    pub fn get(self, bytes: &[u8], offset: u64) -> i64 {
        let first = usize::try_from(offset / 8).unwrap_or(usize::MAX);
        let mut window = [0; 16];
        if let Some(bytes) = bytes.get(first..) {
            let len = bytes.len().min(WINDOW_BYTES);
            window[..len].copy_from_slice(&bytes[..len]);
        }
        let left_aligned = u128::from_be_bytes(window) << (offset % 8);
        self.from_raw((left_aligned >> (128 - self.bits)) as u64)
    }

    /// Writes the lowest bits of `value`.
    ///
    /// # Panics
    /// If the field does not lie within `bytes`.
    pub fn set(self, bytes: &mut [u8], offset: u64, value: i64) {
        let bytes = &mut bytes[(offset / 8) as usize..self.end(offset)];
        let mut window = [0; 16];
        window[..bytes.len()].copy_from_slice(bytes);
        let shift = 128 - self.bits - (offset % 8) as u32;
        let mask = ((1_u128 << self.bits) - 1) << shift;
        let field = (value as u128) << shift & mask;
        let written = (u128::from_be_bytes(window) & !mask | field).to_be_bytes();
        bytes.copy_from_slice(&written[..bytes.len()]);
    }

    /// The index of the byte behind a field at this bit.
    pub fn end(self, offset: u64) -> usize {
        (offset + u64::from(self.bits)).div_ceil(8) as usize
    }
}

/// 64 bits that do not begin with a byte touch nine.
const WINDOW_BYTES: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        let parse = |text: &str| FieldType::parse(text.as_bytes()).map(|field| (field.signed, field.bits));
        assert_eq!(parse("i1"), Some((true, 1)));
        assert_eq!(parse("i64"), Some((true, 64)));
        assert_eq!(parse("u63"), Some((false, 63)));
        for text in ["", "i", "u0", "i0", "u64", "i65", "U8", "u08", "u+8", "x8", "8", "u8 "] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    /// Every width at every bit, against bits read one by one.
    #[test]
    fn fields_go_where_their_bits_are() {
        let pattern: Vec<u8> = (0..20_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        let bit = |bytes: &[u8], at: u64| bytes[(at / 8) as usize] >> (7 - at % 8) & 1;
        for (signed, bits_max) in [(true, 64), (false, 63)] {
            for bits in 1..=bits_max {
                for offset in 0..80 {
                    let field = FieldType { signed, bits };
                    let read =
                        (0..u64::from(bits)).fold(0_u64, |raw, at| raw << 1 | u64::from(bit(&pattern, offset + at)));
                    let expected = if signed && read >> (bits - 1) == 1 {
                        (i128::from(read) - (1 << bits)) as i64
                    } else {
                        read as i64
                    };
                    assert_eq!(field.get(&pattern, offset), expected, "{bits} bits at {offset}");
                    let mut bytes = pattern.clone();
                    field.set(&mut bytes, offset, !expected);
                    for at in 0..pattern.len() as u64 * 8 {
                        let inside = (offset..offset + u64::from(bits)).contains(&at);
                        assert_eq!(bit(&bytes, at) != bit(&pattern, at), inside, "bit {at}, {bits} bits at {offset}");
                    }
                }
            }
        }
        assert_eq!(FieldType { signed: false, bits: 16 }.get(&[1, 2, 3], 16), 0x300);
        assert_eq!(FieldType { signed: false, bits: 16 }.get(&[1, 2, 3], u64::MAX), 0);
    }
}

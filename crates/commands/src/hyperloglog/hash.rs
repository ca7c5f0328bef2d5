//! What an element's hash says: which register, and which value it proposes.

use super::REGISTERS;

const SEED: u64 = 0xADC8_3B19;

/// The register's index, and a value of 1 to 51: one more than the zeros at the end of the hash's other 50 bits.
pub fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur_64a(element, SEED);
    let index = hash as usize % REGISTERS;
    let rest = hash >> REGISTERS.ilog2() | 1 << (64 - REGISTERS.ilog2());
    (index, rest.trailing_zeros() as u8 + 1)
}

/// Austin Appleby's MurmurHash64A (public domain), little-endian on every machine.
fn murmur_64a(text: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xC6A4_A793_5BD1_E995;
    const R: u32 = 47;
    let (words, tail) = text.as_chunks::<8>();
    let mut hash = seed ^ (text.len() as u64).wrapping_mul(M);
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(M);
        hash = (hash ^ (word ^ word >> R).wrapping_mul(M)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut word = [0; 8];
        word[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(M);
    }
    hash = (hash ^ hash >> R).wrapping_mul(M);
    hash ^ hash >> R
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PFDEBUG DECODE of Redis 8.2 shows for single elements.
    #[test]
    fn places_are_redis_s() {
        for (element, expected) in PLACES {
            assert_eq!(place(element.as_bytes()), *expected, "{element:?}");
        }
    }

    const PLACES: &[(&str, (usize, u8))] = &[
        ("", (5938, 2)),
        ("a", (12711, 2)),
        ("hello", (9216, 1)),
        ("12345678", (10579, 3)),
        ("hello world, this is longer", (9459, 1)),
        ("1234567", (10327, 3)),
        ("foo:1", (8096, 1)),
        ("0123456789abcdef", (5949, 1)),
    ];
}

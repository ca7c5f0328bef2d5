//! CRC-64 as Redis computes it: the Jones polynomial, reflected, beginning with 0.

use crc_fast::{CrcAlgorithm, Digest};

/// The checksum of bytes that come in pieces.
#[derive(Clone, Debug)]
pub struct Checksum(Digest);

impl Default for Checksum {
    fn default() -> Checksum {
        Checksum(Digest::new(CrcAlgorithm::Crc64Redis))
    }
}

impl Checksum {
    pub fn new() -> Checksum {
        Checksum::default()
    }

    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Goes on as if the bytes of `next` had followed: a header can be summed after what it heads. Takes a tenth of a millisecond.
    pub fn append(&mut self, next: &Checksum) {
        self.0.combine(&next.0);
    }

    pub fn finish(&self) -> u64 {
        self.0.finalize()
    }

    pub fn of(bytes: &[u8]) -> u64 {
        crc_fast::checksum(CrcAlgorithm::Crc64Redis, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_answer() {
        assert_eq!(Checksum::of(b"123456789"), 0xE9C6_D914_C4B8_D9CA);
    }

    #[test]
    fn pieces_make_the_whole() {
        let bytes: Vec<u8> = (0..5000u32).map(|number| ((number * 31) >> 3) as u8).collect();
        for cut in [0, 1, 9, 255, 256, 4097, 5000] {
            let (first, second) = bytes.split_at(cut);
            let mut one_by_one = Checksum::new();
            one_by_one.update(first);
            one_by_one.update(second);
            assert_eq!(one_by_one.finish(), Checksum::of(&bytes));
            let (mut appended, mut tail) = (Checksum::new(), Checksum::new());
            appended.update(first);
            tail.update(second);
            appended.append(&tail);
            assert_eq!(appended.finish(), Checksum::of(&bytes), "cut at {cut}");
        }
    }
}

//! The keyed hash of keys.

use std::hash::{BuildHasher, Hasher};

/// Hashes keys under 256 bits that clients cannot know, so that nobody can choose keys that collide.
///
/// The table uses the top bits (shard, segment, bucket) and the low byte (fingerprint): all must be well mixed.
#[derive(Clone)]
pub(crate) struct KeyHasher(ahash::RandomState);

impl KeyHasher {
    pub(crate) fn new(seed: [u64; 4]) -> KeyHasher {
        KeyHasher(ahash::RandomState::with_seeds(seed[0], seed[1], seed[2], seed[3]))
    }

    #[inline]
    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        spread(hasher.finish())
    }
}

/// Maps hash space to itself, monotonously, so that the last shard gets twice as many keys as the first, and the others lie between.
///
/// With equal shards all segments of all shards would be equally full at any time, and grow or split together: the table would swing
/// between roomy and crowded, classes of segments would empty all at once, and so would latencies bunch. Sizes spread over a factor of two mean
/// that at any number of keys every stage of growth is equally common. The idea is that of spiral hashing (Martin, 1979), between
/// shards rather than within one: inside a shard keys are as good as even.
#[inline]
fn spread(hash: u64) -> u64 {
    // x + x(1 - x)/3 in fixed point: its slope falls from 4/3 to 2/3.
    let product = (u128::from(hash) * u128::from(!hash)) >> 64;
    hash + product as u64 / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreading_is_monotone_and_doubles_the_density() {
        let samples: Vec<u64> = (0..=1000u64).map(|step| step * (u64::MAX / 1000)).collect();
        let spread: Vec<u64> = samples.iter().map(|&hash| spread(hash)).collect();
        assert!(spread.is_sorted());
        let (first, last) = (spread[1] - spread[0], spread[1000] - spread[999]);
        assert!((1.9..2.1).contains(&(first as f64 / last as f64)));
        assert_eq!((super::spread(0), super::spread(u64::MAX)), (0, u64::MAX));
    }
}

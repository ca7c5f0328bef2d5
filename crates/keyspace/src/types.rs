//! Small numbers that must not be confused with each other.

/// Milliseconds since the Unix epoch. Signed, because clients may name instants before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

impl Millis {
    /// Later than every instant: the earliest expiry of a set in which nothing expires.
    pub const NEVER: Millis = Millis(i64::MAX);
}

/// The number of a logical database (`SELECT`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DbIndex(pub u32);

/// The number of a shard, below [`SHARD_COUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardIndex(pub(crate) u16);

/// How many of a hash's top bits choose the shard.
pub const SHARD_BITS: u32 = 12;

/// The number of shards, the same at every thread count.
pub const SHARD_COUNT: usize = 1 << SHARD_BITS;

impl ShardIndex {
    /// Every shard, ascending: the order in which shard locks are taken.
    pub fn all() -> impl ExactSizeIterator<Item = ShardIndex> {
        (0..SHARD_COUNT as u16).map(ShardIndex)
    }

    /// # Panics
    /// If there is no such shard.
    pub fn new(index: usize) -> ShardIndex {
        assert!(index < SHARD_COUNT);
        ShardIndex(index as u16)
    }

    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// A key's bytes and its hash, computed once and carried along. Made by [`Keyspace::key`](crate::Keyspace::key).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) hash: u64,
}

impl<'a> Key<'a> {
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The shard this key lives in, whatever its database.
    #[inline]
    pub fn shard(&self) -> ShardIndex {
        ShardIndex((self.hash >> (64 - SHARD_BITS)) as u16)
    }
}

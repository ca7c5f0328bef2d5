//! When small encodings end: the thresholds of the configuration.

/// `list-max-listpack-size` and `list-compress-depth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// Positive: elements of a listpack; -1 to -5: 4, 8, 16, 32, 64 KiB.
    pub listpack_size_max: i64,
    /// So many listpacks at each end stay uncompressed; 0: none is compressed.
    pub compress_depth: usize,
}

impl Default for ListLimits {
    fn default() -> ListLimits {
        ListLimits { listpack_size_max: -2, compress_depth: 0 }
    }
}

impl ListLimits {
    /// Bytes of a listpack whose size is given in elements, and of the largest element that shares a node then.
    const SAFE_BYTES_MAX: usize = 8 << 10;

    /// More elements than this are not kept in one node, whatever was configured.
    const COUNT_MAX: i64 = i16::MAX as i64;

    /// The size as Redis 8.2 keeps it and `DEBUG OBJECT` shows it.
    pub fn size(self) -> i64 {
        self.listpack_size_max.clamp(-5, ListLimits::COUNT_MAX)
    }

    /// Bytes of one listpack.
    #[inline]
    pub fn bytes_max(self) -> usize {
        match self.size() {
            0.. => ListLimits::SAFE_BYTES_MAX,
            kind => 2048 << kind.unsigned_abs(),
        }
    }

    /// Elements of one listpack; none allows 0, which means 1.
    #[inline]
    fn count_max(self) -> usize {
        match self.size() {
            size @ 0.. => size.max(1) as usize,
            _ => usize::MAX,
        }
    }

    /// Whether one listpack may have so many bytes and elements.
    #[inline]
    pub fn allow(self, bytes: usize, count: usize) -> bool {
        bytes <= self.bytes_max() && count <= self.count_max()
    }

    /// Whether a large list that has shrunk to this becomes a listpack again: half of the limit, so that a list at the limit does not go
    /// back and forth. Where elements are limited, bytes do not count. (Observed.)
    pub fn allow_return(self, bytes: usize, count: usize) -> bool {
        match self.size() {
            0.. => count <= self.count_max() / 2,
            _ => bytes <= self.bytes_max() / 2,
        }
    }

    /// Whether a text of this length gets a node for itself.
    #[inline]
    pub fn is_large(self, text_len: usize) -> bool {
        text_len > self.bytes_max()
    }
}

/// `set-max-intset-entries`, `set-max-listpack-entries` and `set-max-listpack-value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetLimits {
    pub intset_entries_max: usize,
    pub listpack_entries_max: usize,
    pub listpack_value_bytes_max: usize,
}

impl Default for SetLimits {
    fn default() -> SetLimits {
        SetLimits { intset_entries_max: 512, listpack_entries_max: 128, listpack_value_bytes_max: 64 }
    }
}

/// `hash-max-listpack-entries` and `hash-max-listpack-value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashLimits {
    pub listpack_entries_max: usize,
    pub listpack_value_bytes_max: usize,
}

impl Default for HashLimits {
    fn default() -> HashLimits {
        HashLimits { listpack_entries_max: 512, listpack_value_bytes_max: 64 }
    }
}

/// `zset-max-listpack-entries` and `zset-max-listpack-value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortedSetLimits {
    pub listpack_entries_max: usize,
    pub listpack_value_bytes_max: usize,
}

impl Default for SortedSetLimits {
    fn default() -> SortedSetLimits {
        SortedSetLimits { listpack_entries_max: 128, listpack_value_bytes_max: 64 }
    }
}

/// `stream-node-max-bytes` and `stream-node-max-entries`; 0: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    pub node_bytes_max: usize,
    pub node_entries_max: usize,
}

impl Default for StreamLimits {
    fn default() -> StreamLimits {
        StreamLimits { node_bytes_max: 4096, node_entries_max: 100 }
    }
}

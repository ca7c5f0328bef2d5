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

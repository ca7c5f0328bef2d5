//! How values are held: when a compact form gives way to a large one.

#[allow(unused_imports)]
use super::bounds::*;
use crate::directive::{Directive, Key, Kind, row, rows};
use crate::value::Bytes;

rows! { super::tls::END;
    /// Fields up to which a hash is a listpack.
    HASH_MAX_LISTPACK_ENTRIES: i64 = row("hash-max-listpack-entries", UNSIGNED, "512").aliases(&["hash-max-ziplist-entries"]);
    /// Bytes of a field or value up to which a hash is a listpack.
    HASH_MAX_LISTPACK_VALUE: i64 = row("hash-max-listpack-value", Kind::UnsignedMemory { min: 0, max: i64::MAX }, "64").aliases(&["hash-max-ziplist-value"]);
    /// Size of a list's listpacks: elements, or with -1 to -5 bytes from 4 kb to 64 kb.
    LIST_MAX_LISTPACK_SIZE: i64 = row("list-max-listpack-size", Kind::Int { min: I32_MIN, max: I32_MAX }, "-2").aliases(&["list-max-ziplist-size"]);
    /// Listpacks at each end of a list that are not compressed; 0 means that none is.
    LIST_COMPRESS_DEPTH: i64 = row("list-compress-depth", COUNT_I32, "0");
    /// Members up to which a set of integers is an intset.
    SET_MAX_INTSET_ENTRIES: i64 = row("set-max-intset-entries", UNSIGNED, "512");
    /// Members up to which a set is a listpack.
    SET_MAX_LISTPACK_ENTRIES: i64 = row("set-max-listpack-entries", UNSIGNED, "128");
    /// Bytes of a member up to which a set is a listpack.
    SET_MAX_LISTPACK_VALUE: i64 = row("set-max-listpack-value", UNSIGNED, "64");
    /// Members up to which a sorted set is a listpack.
    ZSET_MAX_LISTPACK_ENTRIES: i64 = row("zset-max-listpack-entries", UNSIGNED, "128").aliases(&["zset-max-ziplist-entries"]);
    /// Bytes of a member up to which a sorted set is a listpack.
    ZSET_MAX_LISTPACK_VALUE: i64 = row("zset-max-listpack-value", Kind::UnsignedMemory { min: 0, max: i64::MAX }, "64").aliases(&["zset-max-ziplist-value"]);
    /// Bytes up to which a HyperLogLog is sparse.
    HLL_SPARSE_MAX_BYTES: i64 = row("hll-sparse-max-bytes", Kind::UnsignedMemory { min: 0, max: i64::MAX }, "3000");
    /// Bytes of one block of a stream; 0 means no limit.
    STREAM_NODE_MAX_BYTES: i64 = row("stream-node-max-bytes", Kind::UnsignedMemory { min: 0, max: i64::MAX }, "4096");
    /// Entries of one block of a stream; 0 means no limit.
    STREAM_NODE_MAX_ENTRIES: i64 = row("stream-node-max-entries", COUNT, "100");
    /// Whether vector sets work in one thread only.
    VSET_FORCE_SINGLE_THREADED_EXECUTION: bool = row("vset-force-single-threaded-execution", Kind::Bool, "no").no_effect("there are no vector sets");
    /// Seed of the hash function, for runs that can be repeated.
    HASH_SEED: [u8] = row("hash-seed", Kind::Text, "").fixed().valkey().later("seeds that can be given; each start draws its own");
    /// Elements of a list's ziplist, before Redis 3.2.
    LIST_MAX_ZIPLIST_ENTRIES: [Vec<Bytes>] = row("list-max-ziplist-entries", ANY_WORDS, "").fixed().no_effect("Redis ignores it as well since 3.2");
    /// Bytes of an element in a list's ziplist, before Redis 3.2.
    LIST_MAX_ZIPLIST_VALUE: [Vec<Bytes>] = row("list-max-ziplist-value", ANY_WORDS, "").fixed().no_effect("Redis ignores it as well since 3.2");
}

//! Memory: its limit, what goes when it is full, and what frees it.

#[allow(unused_imports)]
use super::bounds::*;
use crate::choices::{Choice, MaxmemoryPolicy};
use crate::directive::{Directive, Key, Kind, row, rows};

rows! { super::process::END;
    /// Bytes the data may take; 0 means no limit.
    MAXMEMORY: i64 = row("maxmemory", Kind::UnsignedMemory { min: 0, max: i64::MAX }, "0");
    /// Which keys go when memory is full.
    MAXMEMORY_POLICY: MaxmemoryPolicy = row("maxmemory-policy", Kind::Choice(MaxmemoryPolicy::NAMES), "noeviction");
    /// Keys compared to find one to evict, at least; those that share its cache line are compared too.
    MAXMEMORY_SAMPLES: i64 = row("maxmemory-samples", Kind::Int { min: 1, max: 64 }, "5");
    /// How many keys a batch of commands waits for to be evicted, before it goes on and the rest is evicted beside it: 640 at 10, without end at 100.
    MAXMEMORY_EVICTION_TENACITY: i64 = row("maxmemory-eviction-tenacity", Kind::Int { min: 0, max: 100 }, "10");
    /// How fast the access counter of a key saturates.
    LFU_LOG_FACTOR: i64 = row("lfu-log-factor", COUNT_I32, "10");
    /// Minutes after which an unused key's access counter falls by one.
    LFU_DECAY_TIME: i64 = row("lfu-decay-time", COUNT_I32, "1");
    /// How much of the processor expiry may take, from 1 to 10.
    ACTIVE_EXPIRE_EFFORT: i64 = row("active-expire-effort", Kind::Int { min: 1, max: 10 }, "1");
    /// Whether evicted keys leave with UNLINK, for the append-only file and replicas; large values are always freed in the background.
    LAZYFREE_LAZY_EVICTION: bool = row("lazyfree-lazy-eviction", Kind::Bool, "no");
    /// Whether files and replicas are told UNLINK instead of DEL when keys expire; large values are always freed on a thread of their own.
    LAZYFREE_LAZY_EXPIRE: bool = row("lazyfree-lazy-expire", Kind::Bool, "no");
    /// The same for keys that a command removes besides.
    LAZYFREE_LAZY_SERVER_DEL: bool = row("lazyfree-lazy-server-del", Kind::Bool, "no");
    /// Whether DEL frees in the background, as UNLINK does.
    LAZYFREE_LAZY_USER_DEL: bool = row("lazyfree-lazy-user-del", Kind::Bool, "no").no_effect("large values are always freed on a thread of their own");
    /// Whether FLUSHALL, FLUSHDB and SCRIPT FLUSH free in the background if they do not say.
    LAZYFREE_LAZY_USER_FLUSH: bool = row("lazyfree-lazy-user-flush", Kind::Bool, "no").no_effect("large values are always freed on a thread of their own");
    /// Whether tables that grow are moved in idle time too.
    ACTIVEREHASHING: bool = row("activerehashing", Kind::Bool, "yes").no_effect("a table grows by splitting small segments, one at a time");
    /// Whether memory is defragmented while the server runs.
    ACTIVEDEFRAG: bool = row("activedefrag", Kind::Bool, "no").no_effect("sparse pages are emptied as soon as that is worth it, always");
    /// Bytes of fragmentation below which nothing is done.
    ACTIVE_DEFRAG_IGNORE_BYTES: i64 = row("active-defrag-ignore-bytes", Kind::UnsignedMemory { min: 1, max: i64::MAX }, "100mb").no_effect("sparse pages are emptied in slices of a fixed number of keys, between requests");
    /// Percentage of fragmentation at which defragmentation begins.
    ACTIVE_DEFRAG_THRESHOLD_LOWER: i64 = row("active-defrag-threshold-lower", Kind::Int { min: 0, max: 1000 }, "10").no_effect("sparse pages are emptied in slices of a fixed number of keys, between requests");
    /// Percentage of fragmentation at which it works hardest.
    ACTIVE_DEFRAG_THRESHOLD_UPPER: i64 = row("active-defrag-threshold-upper", Kind::Int { min: 0, max: 1000 }, "100").no_effect("sparse pages are emptied in slices of a fixed number of keys, between requests");
    /// Least share of the processor it takes, in percent.
    ACTIVE_DEFRAG_CYCLE_MIN: i64 = row("active-defrag-cycle-min", Kind::Int { min: 1, max: 99 }, "1").no_effect("sparse pages are emptied in slices of a fixed number of keys, between requests");
    /// Greatest share of the processor it takes, in percent.
    ACTIVE_DEFRAG_CYCLE_MAX: i64 = row("active-defrag-cycle-max", Kind::Int { min: 1, max: 99 }, "25").no_effect("sparse pages are emptied in slices of a fixed number of keys, between requests");
    /// Length of one round in microseconds.
    ACTIVE_DEFRAG_CYCLE_US: i64 = row("active-defrag-cycle-us", Kind::Int { min: 0, max: 100_000 }, "500").valkey().no_effect("sparse pages are emptied in slices of a fixed number of keys, between requests");
    /// Elements of one collection moved at once.
    ACTIVE_DEFRAG_MAX_SCAN_FIELDS: i64 = row("active-defrag-max-scan-fields", Kind::Int { min: 1, max: i64::MAX }, "1000").no_effect("sparse pages are emptied in slices of a fixed number of keys, between requests");
    /// Whether the allocator returns memory from a thread of its own.
    JEMALLOC_BG_THREAD: bool = row("jemalloc-bg-thread", Kind::Bool, "yes").no_effect("the allocator returns memory in its own way");
}

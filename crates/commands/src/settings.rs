//! The directives that hot paths read, as plain fields.

use std::time::Duration;

use keyspace::collection::limits::{HashLimits, ListLimits, SetLimits, SortedSetLimits, StreamLimits};

use config::{Config, MaxmemoryPolicy, MemoryLimit, OutputLimits, Permitted, RdbExpiringFields, directives};

use crate::effects::EventClass;
use crate::observation::Watching;
use crate::observation::command_log::LogLimit;

/// Follows [`Config`]: made anew after each change of the configuration, on the wide side.
#[derive(Clone, Debug)]
pub struct Settings {
    pub databases: u32,
    pub protected_mode: bool,
    pub bulk_bytes_max: usize,
    pub query_buffer_bytes_max: usize,
    pub output_limits: OutputLimits,
    /// 0: no limit on the memory of all clients together.
    pub clients_memory_bytes_max: u64,
    /// Seconds after which an idle client is closed; 0: never.
    pub timeout_seconds: i64,
    pub tcp_keepalive_seconds: u64,
    pub clients_max: usize,
    pub latency_tracking: bool,
    /// By [`LogKind`](crate::observation::command_log::LogKind).
    pub command_logs: [LogLimit; 3],
    /// From where on anybody wants to hear of a command.
    pub watching: Watching,
    pub debug_command: Permitted,
    pub module_command: Permitted,
    /// Expired keys are left alone (`import-mode`).
    pub import_mode: bool,
    pub lfu: bool,
    pub lfu_log_factor: u32,
    pub lfu_decay_minutes: u32,
    pub replica_read_only: bool,
    /// A replica that has lost its primary answers from what it has.
    pub replica_serve_stale_data: bool,
    /// A replica leaves eviction to its primary.
    pub replica_ignore_maxmemory: bool,
    /// So many replicas must have a write before its reply leaves (`min-replicas-to-acknowledge`).
    pub acknowledging_replicas: usize,
    /// After so long it leaves as an error; `None`: never.
    pub acknowledging_timeout: Option<Duration>,
    pub ticks_per_second: u32,
    /// Connections are on all event loops, however little they have to do.
    pub loops_always_active: bool,
    pub active_expire_effort: u32,
    pub maxmemory_bytes: u64,
    pub maxmemory_policy: MaxmemoryPolicy,
    pub maxmemory_samples: usize,
    pub maxmemory_eviction_tenacity: u32,
    /// Evicted keys leave with UNLINK (`lazyfree-lazy-eviction`).
    pub unlink_evicted: bool,
    pub hide_user_data: bool,
    pub list: ListLimits,
    pub set: SetLimits,
    pub hash: HashLimits,
    pub sorted_set: SortedSetLimits,
    pub stream: StreamLimits,
    pub hll_sparse_bytes_max: usize,
    /// The classes of keyspace events that are sent; none where they have no channel to go to.
    pub events: EventClass,
    /// The channels that they are sent to: those of keys, of events, or both.
    pub event_channels: EventClass,
    /// Expired keys leave with UNLINK (`lazyfree-lazy-expire`).
    pub unlink_expired: bool,
    /// Keys that a command removes besides leave with UNLINK, not DEL (`lazyfree-lazy-server-del`).
    pub unlink_deleted: bool,
    /// Who is to read snapshots and payloads.
    pub rdb_family: rdb::Family,
    /// Keys whose readers are remembered (`tracking-table-max-keys`).
    pub tracked_keys_max: usize,
    /// After so long others hear BUSY while a script runs (`busy-reply-threshold`); `None`: never.
    pub script_slow_after: Option<Duration>,
}

impl Settings {
    pub fn of(config: &Config) -> Settings {
        let maxmemory_bytes = config.get(directives::MAXMEMORY).max(0) as u64;
        let command_logs = [
            (directives::SLOWLOG_LOG_SLOWER_THAN, directives::SLOWLOG_MAX_LEN),
            (directives::COMMANDLOG_REQUEST_LARGER_THAN, directives::COMMANDLOG_LARGE_REQUEST_MAX_LEN),
            (directives::COMMANDLOG_REPLY_LARGER_THAN, directives::COMMANDLOG_LARGE_REPLY_MAX_LEN),
        ]
        .map(|(from, entries_max)| LogLimit::of(config.get(from), config.get(entries_max)));
        let latency_ms = config.get(directives::LATENCY_MONITOR_THRESHOLD).max(0) as u64;
        let policy = config.get(directives::MAXMEMORY_POLICY);
        Settings {
            databases: config.get(directives::DATABASES) as u32,
            protected_mode: config.get(directives::PROTECTED_MODE),
            bulk_bytes_max: config.get(directives::PROTO_MAX_BULK_LEN) as usize,
            query_buffer_bytes_max: config.get(directives::CLIENT_QUERY_BUFFER_LIMIT) as usize,
            output_limits: config.get(directives::CLIENT_OUTPUT_BUFFER_LIMIT),
            clients_memory_bytes_max: match config.get(directives::MAXMEMORY_CLIENTS) {
                MemoryLimit::Bytes(bytes) => bytes.max(0) as u64,
                MemoryLimit::PercentOfMaxmemory(percent) => maxmemory_bytes / 100 * percent.max(0) as u64,
            },
            timeout_seconds: config.get(directives::TIMEOUT),
            tcp_keepalive_seconds: config.get(directives::TCP_KEEPALIVE).max(0) as u64,
            clients_max: config.get(directives::MAXCLIENTS).max(0) as usize,
            latency_tracking: config.get(directives::LATENCY_TRACKING),
            watching: Watching::of(&command_logs, latency_ms),
            command_logs,
            debug_command: config.get(directives::ENABLE_DEBUG_COMMAND),
            module_command: config.get(directives::ENABLE_MODULE_COMMAND),
            import_mode: config.get(directives::IMPORT_MODE),
            lfu: matches!(policy, MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu),
            lfu_log_factor: config.get(directives::LFU_LOG_FACTOR) as u32,
            lfu_decay_minutes: config.get(directives::LFU_DECAY_TIME) as u32,
            replica_read_only: config.get(directives::REPLICA_READ_ONLY),
            replica_serve_stale_data: config.get(directives::REPLICA_SERVE_STALE_DATA),
            replica_ignore_maxmemory: config.get(directives::REPLICA_IGNORE_MAXMEMORY),
            acknowledging_replicas: size(config.get(directives::MIN_REPLICAS_TO_ACKNOWLEDGE)),
            acknowledging_timeout: match config.get(directives::MIN_REPLICAS_TO_ACKNOWLEDGE_TIMEOUT) {
                ..=0 => None,
                ms => Some(Duration::from_millis(ms as u64)),
            },
            loops_always_active: config.get(directives::IO_THREADS_ALWAYS_ACTIVE),
            ticks_per_second: config.get(directives::HZ).clamp(1, 500) as u32,
            active_expire_effort: config.get(directives::ACTIVE_EXPIRE_EFFORT) as u32,
            maxmemory_bytes,
            maxmemory_policy: policy,
            maxmemory_samples: size(config.get(directives::MAXMEMORY_SAMPLES)),
            maxmemory_eviction_tenacity: config.get(directives::MAXMEMORY_EVICTION_TENACITY) as u32,
            unlink_evicted: config.get(directives::LAZYFREE_LAZY_EVICTION),
            hide_user_data: config.get(directives::HIDE_USER_DATA_FROM_LOG),
            list: ListLimits {
                listpack_size_max: config.get(directives::LIST_MAX_LISTPACK_SIZE),
                compress_depth: size(config.get(directives::LIST_COMPRESS_DEPTH)),
            },
            set: SetLimits {
                intset_entries_max: size(config.get(directives::SET_MAX_INTSET_ENTRIES)),
                listpack_entries_max: size(config.get(directives::SET_MAX_LISTPACK_ENTRIES)),
                listpack_value_bytes_max: size(config.get(directives::SET_MAX_LISTPACK_VALUE)),
            },
            hash: HashLimits {
                listpack_entries_max: size(config.get(directives::HASH_MAX_LISTPACK_ENTRIES)),
                listpack_value_bytes_max: size(config.get(directives::HASH_MAX_LISTPACK_VALUE)),
            },
            sorted_set: SortedSetLimits {
                listpack_entries_max: size(config.get(directives::ZSET_MAX_LISTPACK_ENTRIES)),
                listpack_value_bytes_max: size(config.get(directives::ZSET_MAX_LISTPACK_VALUE)),
            },
            stream: StreamLimits {
                node_bytes_max: size(config.get(directives::STREAM_NODE_MAX_BYTES)),
                node_entries_max: size(config.get(directives::STREAM_NODE_MAX_ENTRIES)),
            },
            hll_sparse_bytes_max: size(config.get(directives::HLL_SPARSE_MAX_BYTES)),
            events: events_sent(config.get(directives::NOTIFY_KEYSPACE_EVENTS)),
            event_channels: config.get(directives::NOTIFY_KEYSPACE_EVENTS) & EVENT_CHANNELS,
            unlink_expired: config.get(directives::LAZYFREE_LAZY_EXPIRE),
            tracked_keys_max: match config.get(directives::TRACKING_TABLE_MAX_KEYS) {
                0 => usize::MAX,
                keys => size(keys),
            },
            script_slow_after: match config.get(directives::BUSY_REPLY_THRESHOLD) {
                ..=0 => None,
                ms => Some(Duration::from_millis(ms as u64)),
            },
            rdb_family: match config.get(directives::RDB_EXPIRING_FIELDS) {
                RdbExpiringFields::Redis => rdb::Family::Redis,
                RdbExpiringFields::Valkey => rdb::Family::Valkey,
            },
            unlink_deleted: config.get(directives::LAZYFREE_LAZY_SERVER_DEL),
        }
    }

    /// When small encodings end, for values that are read from files and payloads.
    pub fn encodings(&self) -> rdb::Limits {
        rdb::Limits { list: self.list, set: self.set, hash: self.hash, sorted_set: self.sorted_set }
    }
}

/// The letters K and E.
const EVENT_CHANNELS: EventClass = EventClass::KEYSPACE.union(EventClass::KEYEVENT);

/// The letters K and E name the channels: without one of them nothing is sent.
fn events_sent(letters: EventClass) -> EventClass {
    if letters.intersects(EVENT_CHANNELS) { letters - EVENT_CHANNELS } else { EventClass::empty() }
}

/// A count or a number of bytes.
fn size(value: i64) -> usize {
    value.max(0) as usize
}

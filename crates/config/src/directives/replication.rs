//! Primaries and replicas.

#[allow(unused_imports)]
use super::bounds::*;
use crate::choices::{Choice, PropagationErrorBehavior, ReplDisklessLoad};
use crate::directive::{Directive, Key, Kind, row, rows};
use crate::value::PrimaryAddress;

rows! { super::persistence::END;
    /// The primary to copy; `no one` means to be one.
    REPLICAOF: PrimaryAddress = row("replicaof", Kind::ReplicaOf, "no one").aliases(&["slaveof"]).fixed();
    /// User to be at the primary.
    MASTERUSER: [u8] = row("masteruser", Kind::Text, "").aliases(&["primaryuser"]);
    /// Password at the primary.
    MASTERAUTH: [u8] = row("masterauth", Kind::Text, "").aliases(&["primaryauth"]).secret();
    /// Whether a replica without its primary answers from what it has.
    REPLICA_SERVE_STALE_DATA: bool = row("replica-serve-stale-data", Kind::Bool, "yes").aliases(&["slave-serve-stale-data"]);
    /// Whether a replica refuses writes.
    REPLICA_READ_ONLY: bool = row("replica-read-only", Kind::Bool, "yes").aliases(&["slave-read-only"]);
    /// Whether a replica leaves eviction to its primary.
    REPLICA_IGNORE_MAXMEMORY: bool = row("replica-ignore-maxmemory", Kind::Bool, "yes").aliases(&["slave-ignore-maxmemory"]);
    /// Whether a replica frees its old data in the background.
    REPLICA_LAZY_FLUSH: bool = row("replica-lazy-flush", Kind::Bool, "no").aliases(&["slave-lazy-flush"]).no_effect("old data is always freed in the background");
    /// Rank by which a replica is chosen to be promoted; 0 means never.
    REPLICA_PRIORITY: i64 = row("replica-priority", COUNT_I32, "100").aliases(&["slave-priority"]);
    /// Whether sentinels tell of this replica.
    REPLICA_ANNOUNCED: bool = row("replica-announced", Kind::Bool, "yes");
    /// Address a replica gives for itself.
    REPLICA_ANNOUNCE_IP: [u8] = row("replica-announce-ip", Kind::Text, "").aliases(&["slave-announce-ip"]);
    /// Port a replica gives for itself.
    REPLICA_ANNOUNCE_PORT: i64 = row("replica-announce-port", PORT_NUMBER, "0").aliases(&["slave-announce-port"]);
    /// Whether a replica goes on when it cannot write to its disk.
    REPLICA_IGNORE_DISK_WRITE_ERRORS: bool = row("replica-ignore-disk-write-errors", Kind::Bool, "no").no_effect("a replica goes on with the stream while its disk fails, and says so in INFO and the log");
    /// Bytes of the changes that arrive during a full synchronisation which a replica keeps in memory; what is beyond that it keeps on disk. 0 means 64 MB.
    REPLICA_FULL_SYNC_BUFFER_LIMIT: i64 = row("replica-full-sync-buffer-limit", Kind::Memory { min: 0, max: i64::MAX }, "0");
    /// Bytes of changes kept for replicas that come back.
    REPL_BACKLOG_SIZE: i64 = row("repl-backlog-size", Kind::MemoryAtLeast { min: 1, floor: 16 * KIB }, "1mb");
    /// Seconds without replicas after which these changes are let go; 0 means never.
    REPL_BACKLOG_TTL: i64 = row("repl-backlog-ttl", COUNT, "3600");
    /// Seconds of silence after which the other side is given up.
    REPL_TIMEOUT: i64 = row("repl-timeout", POSITIVE_I32, "60");
    /// Seconds between two pings to replicas.
    REPL_PING_REPLICA_PERIOD: i64 = row("repl-ping-replica-period", POSITIVE_I32, "10").aliases(&["repl-ping-slave-period"]);
    /// Whether small packets to replicas are gathered.
    REPL_DISABLE_TCP_NODELAY: bool = row("repl-disable-tcp-nodelay", Kind::Bool, "no").no_effect("what is written within a quarter of a millisecond is sent together anyway");
    /// Whether a full synchronisation goes over the socket without a file.
    REPL_DISKLESS_SYNC: bool = row("repl-diskless-sync", Kind::Bool, "yes");
    /// Seconds such a synchronisation waits for more replicas.
    REPL_DISKLESS_SYNC_DELAY: i64 = row("repl-diskless-sync-delay", COUNT_I32, "5");
    /// Number of replicas for which it does not wait longer; 0 means any.
    REPL_DISKLESS_SYNC_MAX_REPLICAS: i64 = row("repl-diskless-sync-max-replicas", COUNT_I32, "0");
    /// Whether a replica loads from the socket, and what becomes of its old data.
    REPL_DISKLESS_LOAD: ReplDisklessLoad = row("repl-diskless-load", Kind::Choice(ReplDisklessLoad::NAMES), "disabled");
    /// Whether snapshot and changes travel on two connections (Redis).
    REPL_RDB_CHANNEL: bool = row("repl-rdb-channel", Kind::Bool, "yes").hidden();
    /// Whether snapshot and changes travel on two connections (Valkey).
    DUAL_CHANNEL_REPLICATION_ENABLED: bool = row("dual-channel-replication-enabled", Kind::Bool, "no").valkey();
    /// Whether the connection to the primary speaks Multipath TCP.
    REPL_MPTCP: bool = row("repl-mptcp", Kind::Bool, "no").fixed().valkey().later("Multipath TCP");
    /// Replicas that must be in step for writes to be accepted; 0 means none.
    MIN_REPLICAS_TO_WRITE: i64 = row("min-replicas-to-write", COUNT_I32, "0").aliases(&["min-slaves-to-write"]);
    /// Seconds behind which a replica no longer counts as in step.
    MIN_REPLICAS_MAX_LAG: i64 = row("min-replicas-max-lag", COUNT_I32, "10").aliases(&["min-slaves-max-lag"]);
    /// Replicas that must have a write before its reply leaves; 0 means none.
    MIN_REPLICAS_TO_ACKNOWLEDGE: i64 = row("min-replicas-to-acknowledge", COUNT_I32, "0").own();
    /// Milliseconds after which such a reply leaves as an error; 0 means never.
    MIN_REPLICAS_TO_ACKNOWLEDGE_TIMEOUT: i64 = row("min-replicas-to-acknowledge-timeout", COUNT, "10000").own();
    /// What happens when a command from the primary or the append-only file fails.
    PROPAGATION_ERROR_BEHAVIOR: PropagationErrorBehavior = row("propagation-error-behavior", Kind::Choice(PropagationErrorBehavior::NAMES), "ignore").no_effect("errors of the stream are ignored");
    /// Whether expiry and eviction rest while data is brought in from elsewhere.
    IMPORT_MODE: bool = row("import-mode", Kind::Bool, "no").valkey();
}

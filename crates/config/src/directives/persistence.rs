//! Snapshots and the append-only file.

#[allow(unused_imports)]
use super::bounds::*;
use crate::choices::{Appendfsync, Choice, RdbExpiringFields, RdbVersionCheck, SanitizeDumpPayload};
use crate::directive::{Directive, Key, Kind, row, rows};
use crate::value::SavePoint;

rows! { super::memory::END;
    /// When a snapshot is saved: pairs of seconds and changes; empty means never.
    SAVE: [SavePoint] = row("save", Kind::Save, "3600 1 300 100 60 10000");
    /// File name of the snapshot.
    DBFILENAME: [u8] = row("dbfilename", Kind::Text, "dump.rdb").protected().check(super::checks::dbfilename);
    /// Whether strings in snapshots are compressed: from 21 bytes on, in those for replicas from 64.
    RDBCOMPRESSION: bool = row("rdbcompression", Kind::Bool, "yes");
    /// Whether snapshots end with a checksum.
    RDBCHECKSUM: bool = row("rdbchecksum", Kind::Bool, "yes").fixed();
    /// Whose servers read hashes with expiring fields in snapshots and payloads: neither Redis nor Valkey reads the other's form.
    RDB_EXPIRING_FIELDS: RdbExpiringFields = row("rdb-expiring-fields", Kind::Choice(RdbExpiringFields::NAMES), "redis").own();
    /// Whether snapshots of an unknown version are tried.
    RDB_VERSION_CHECK: RdbVersionCheck = row("rdb-version-check", Kind::Choice(RdbVersionCheck::NAMES), "strict").valkey().later("persistence");
    /// Whether a server without persistence removes the snapshots that replication left behind.
    RDB_DEL_SYNC_FILES: bool = row("rdb-del-sync-files", Kind::Bool, "no").later("replication");
    /// Whether a snapshot reaches the disk piece by piece.
    RDB_SAVE_INCREMENTAL_FSYNC: bool = row("rdb-save-incremental-fsync", Kind::Bool, "yes");
    /// Microseconds to wait after each saved key, for tests.
    RDB_KEY_SAVE_DELAY: i64 = row("rdb-key-save-delay", Kind::Int { min: I32_MIN, max: I32_MAX }, "0").hidden();
    /// Microseconds to wait after each loaded key, for tests.
    KEY_LOAD_DELAY: i64 = row("key-load-delay", Kind::Int { min: I32_MIN, max: I32_MAX }, "0").hidden();
    /// Bytes loaded between two looks at the clients.
    LOADING_PROCESS_EVENTS_INTERVAL_BYTES: i64 = row("loading-process-events-interval-bytes", Kind::Int { min: 1024, max: I32_MAX }, "524288").hidden().no_effect("clients are answered all the time while data is loaded");
    /// Whether writes are refused after a snapshot has failed.
    STOP_WRITES_ON_BGSAVE_ERROR: bool = row("stop-writes-on-bgsave-error", Kind::Bool, "yes");
    /// Whether serialized values are checked in depth before they are trusted.
    SANITIZE_DUMP_PAYLOAD: SanitizeDumpPayload = row("sanitize-dump-payload", Kind::Choice(SanitizeDumpPayload::NAMES), "no").no_effect("everything is checked in depth, always");
    /// Whether every change is written to the append-only file.
    APPENDONLY: bool = row("appendonly", Kind::Bool, "no");
    /// First part of the append-only file's names.
    APPENDFILENAME: [u8] = row("appendfilename", Kind::Text, "appendonly.aof").fixed().check(super::checks::appendfilename);
    /// Folder of the append-only file, inside `dir`.
    APPENDDIRNAME: [u8] = row("appenddirname", Kind::Text, "appendonlydir").fixed().check(super::checks::appenddirname);
    /// When changes reach the disk.
    APPENDFSYNC: Appendfsync = row("appendfsync", Kind::Choice(Appendfsync::NAMES), "everysec");
    /// Whether the append-only file is not synchronised while a snapshot is written.
    NO_APPENDFSYNC_ON_REWRITE: bool = row("no-appendfsync-on-rewrite", Kind::Bool, "no");
    /// Growth in percent after which the append-only file is rewritten; 0 means never.
    AUTO_AOF_REWRITE_PERCENTAGE: i64 = row("auto-aof-rewrite-percentage", COUNT_I32, "100");
    /// Size below which the append-only file is not rewritten by itself.
    AUTO_AOF_REWRITE_MIN_SIZE: i64 = row("auto-aof-rewrite-min-size", Kind::Memory { min: 0, max: i64::MAX }, "64mb");
    /// Whether a file whose last command is cut short is loaded.
    AOF_LOAD_TRUNCATED: bool = row("aof-load-truncated", Kind::Bool, "yes");
    /// Whether a rewritten append-only file begins with a snapshot.
    AOF_USE_RDB_PREAMBLE: bool = row("aof-use-rdb-preamble", Kind::Bool, "yes");
    /// Whether the append-only file notes the time of its commands.
    AOF_TIMESTAMP_ENABLED: bool = row("aof-timestamp-enabled", Kind::Bool, "no");
    /// Whether a rewrite reaches the disk piece by piece.
    AOF_REWRITE_INCREMENTAL_FSYNC: bool = row("aof-rewrite-incremental-fsync", Kind::Bool, "yes");
    /// Whether files that a rewrite replaced stay on disk.
    AOF_DISABLE_AUTO_GC: bool = row("aof-disable-auto-gc", Kind::Bool, "no").hidden();
}

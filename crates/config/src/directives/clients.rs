//! What one client, and all of them together, may take.

#[allow(unused_imports)]
use super::bounds::*;
use crate::directive::{Directive, Key, Kind, row, rows};
use crate::value::{MemoryLimit, OutputLimits};

rows! { super::network::END;
    /// Clients that may be connected at once.
    MAXCLIENTS: i64 = row("maxclients", Kind::Unsigned { min: 1, max: U32_MAX }, "10000");
    /// Bytes one argument of a command may have.
    PROTO_MAX_BULK_LEN: i64 = row("proto-max-bulk-len", Kind::Memory { min: MIB, max: i64::MAX }, "512mb");
    /// Bytes one client's unfinished command may occupy.
    CLIENT_QUERY_BUFFER_LIMIT: i64 = row("client-query-buffer-limit", Kind::UnsignedMemory { min: MIB, max: i64::MAX }, "1gb");
    /// Bytes that may wait to be sent to one client, by class: at once, and for a number of seconds.
    CLIENT_OUTPUT_BUFFER_LIMIT: OutputLimits = row("client-output-buffer-limit", Kind::OutputLimits, "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60");
    /// Bytes all clients may occupy together, also as a share of `maxmemory`; the largest go first. 0 means no limit.
    MAXMEMORY_CLIENTS: MemoryLimit = row("maxmemory-clients", Kind::MemoryOrPercent, "0");
    /// Keys whose readers are remembered for client-side caches; 0 means any number.
    TRACKING_TABLE_MAX_KEYS: i64 = row("tracking-table-max-keys", UNSIGNED, "1000000");
}

//! Watching the server: slow log, latency, notifications; and scripts.

#[allow(unused_imports)]
use super::bounds::*;
use crate::directive::{Directive, Key, Kind, row, rows};
use crate::value::{Bytes, KeyspaceEvents};

rows! { super::encodings::END;
    /// Microseconds from which a command is slow; -1 means that none is.
    SLOWLOG_LOG_SLOWER_THAN: i64 = row("slowlog-log-slower-than", Kind::Int { min: -1, max: i64::MAX }, "10000").aliases(&["commandlog-execution-slower-than"]);
    /// Entries the slow log keeps.
    SLOWLOG_MAX_LEN: i64 = row("slowlog-max-len", COUNT, "128").aliases(&["commandlog-slow-execution-max-len"]);
    /// Bytes from which a request is large; -1 means that none is.
    COMMANDLOG_REQUEST_LARGER_THAN: i64 = row("commandlog-request-larger-than", Kind::Int { min: -1, max: i64::MAX }, "1048576").valkey();
    /// Large requests that are kept.
    COMMANDLOG_LARGE_REQUEST_MAX_LEN: i64 = row("commandlog-large-request-max-len", COUNT, "128").valkey();
    /// Bytes from which a reply is large; -1 means that none is.
    COMMANDLOG_REPLY_LARGER_THAN: i64 = row("commandlog-reply-larger-than", Kind::Int { min: -1, max: i64::MAX }, "1048576").valkey();
    /// Large replies that are kept.
    COMMANDLOG_LARGE_REPLY_MAX_LEN: i64 = row("commandlog-large-reply-max-len", COUNT, "128").valkey();
    /// Milliseconds from which an event is noted by the latency monitor; 0 turns it off.
    LATENCY_MONITOR_THRESHOLD: i64 = row("latency-monitor-threshold", COUNT, "0");
    /// Whether the time of every command is counted for its percentiles.
    LATENCY_TRACKING: bool = row("latency-tracking", Kind::Bool, "yes");
    /// Percentiles of the time of commands that INFO shows.
    LATENCY_TRACKING_INFO_PERCENTILES: [f64] = row("latency-tracking-info-percentiles", Kind::Percentiles, "50 99 99.9");
    /// Classes of keyspace events that are published; empty means none.
    NOTIFY_KEYSPACE_EVENTS: KeyspaceEvents = row("notify-keyspace-events", Kind::KeyspaceEvents, "");
    /// Milliseconds after which other clients hear BUSY while a script runs, and can end it with SCRIPT KILL or FUNCTION KILL; 0: never.
    BUSY_REPLY_THRESHOLD: i64 = row("busy-reply-threshold", COUNT, "5000").aliases(&["lua-time-limit"]);
    /// Whether scripts may use functions of Lua that Redis has given up.
    LUA_ENABLE_DEPRECATED_API: bool = row("lua-enable-deprecated-api", Kind::Bool, "no").fixed().hidden().later("scripting");
    /// Whether scripts are replicated by their effects.
    LUA_REPLICATE_COMMANDS: [Vec<Bytes>] = row("lua-replicate-commands", ANY_WORDS, "").fixed().no_effect("scripts are always replicated by their effects");
}

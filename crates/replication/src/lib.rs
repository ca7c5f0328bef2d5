//! Replication as a machine: it knows no socket, no clock, no thread, no data. Whoever drives it tells it what has happened, and does what it
//! says ([`Machine::poll_action`]).
//!
//! ```text
//!                        ┌────────────────── Machine ──────────────────┐
//!  our primary  ◀──────▶ │ upstream: handshake, snapshot, stream, acks │
//!                        │ history: ids, up to where each is valid     │
//!                        │ downstream: who waits, who is fed, acks     │ ◀──────▶ our replicas
//!                        └─────────────────────────────────────────────┘
//!        log (kept by the driver): bytes with offsets, [first, end) in memory
//! ```
//!
//! The log is the stream of replication: on a primary it grows by what commands change, on a replica by what has come from above and was
//! applied, unchanged. Its offsets are those that the protocol speaks of: [`Log::end`] is Redis's `master_repl_offset`.
//!
//! Owns: replication ids, the decision between CONTINUE and FULLRESYNC, the texts of the handshake on both sides, when to ping, to
//! acknowledge, to give up, to connect again; which replica waits for which snapshot; who has acknowledged what; FAILOVER.
//!
//! Must not know: sockets, clocks, threads, commands, the keyspace, files. Time and random ids are passed in.
//!
//! Start at [`Machine`].

mod channel;
mod downstream;
mod failover;
mod history;
mod machine;
mod planted;
mod upstream;

pub use channel::Dialect;
pub use downstream::{Content, Replconf, ReplicaReport, ReplicaState, Sync, SyncRequest};
pub use failover::{FailoverRequest, FailoverState};
pub use history::{History, Log, ReplicationId};
pub use machine::{Action, Config, Level, Machine, Role};
pub use upstream::{Framing, LINE_BYTES_MAX, LinkState, UpstreamReport};

/// Milliseconds of a clock that never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ms(pub u64);

impl Ms {
    /// So much later.
    pub fn plus(self, ms: u64) -> Ms {
        Ms(self.0.saturating_add(ms))
    }

    /// Milliseconds from then till now; 0 if then is still to come.
    pub fn since(self, then: Ms) -> u64 {
        self.0.saturating_sub(then.0)
    }
}

/// A connection from a replica, by a number that the driver gives it and never uses again (the client's id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Where a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

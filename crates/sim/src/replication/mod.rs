//! Primaries and replicas: [`replication::Machine`] with a model of its driver, and what must hold whatever happens.
//!
//! The data set is a map that is changed by numbered units. The log is bounded, the disk holds one snapshot, or is lost. What holds:
//!
//! - Two servers that name the same stream and the same offset have the same data, at any moment ([`oracle`]).
//! - When all has healed, everybody has the primary's data, at its offset, under its id.
//! - A snapshot is sent only if the log did not reach back far enough, or the two had no id in common.

mod data;
mod log;
mod oracle;
mod scenario;
mod server;
mod wire;

pub use scenario::{Outcome, Stats, run, run_with};

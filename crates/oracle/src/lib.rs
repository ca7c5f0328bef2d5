//! The oracle: real servers say what Spinel must do.
//!
//! - [`run`]: the same generated commands to Spinel and to a real server; every reply and the data set must be equal.
//! - [`persistence`]: snapshots, reloads, restarts and crashes of both in between, also with each other's files.
//! - [`coverage`]: what Spinel says of its commands against what the real servers say of theirs.
//! - [`self_test`]: a planted bug must be found, or the tool is worth nothing.
//!
//! Must not know: anything of Spinel's inside. `docs/oracle.md` explains its use.
//!
//! A library too, so that tests elsewhere can draw commands from [`generate`].
//!
//! Start at [`generate`] for what is sent, [`pair`] for how two servers are driven in step, [`normalise`] for what may
//! differ and why.

mod chance;
pub mod coverage;
pub mod dataset;
pub mod generate;
pub mod listening;
mod minimise;
pub mod normalise;
pub mod pair;
pub mod persistence;
pub mod run;
pub mod self_test;
pub mod step;
mod waiting;

//! What Spinel promises to keep is kept, through any crash: proven with real processes.
//!
//! ```text
//! lanes (a connection each, with a plain model) ──> server ──> disk ──kill──> what is left ──> server ──> explained by which steps?
//! ```
//!
//! Owns: [`lane`]s that know what they have written and when it was answered, the [`model`] that this is compared with, a [`disk`] that
//! loses what is not synchronised and fails when told to, [`life`]s that end by SIGKILL, snapshots checked for their [`instant`], a [`chain`] of servers that loses its middle. Must not know:
//! anything of Spinel's inside; a server is a program and a socket.
//!
//! Start at [`life::play`]; `docs/persistence.md` says what is promised.

pub mod chain;
pub mod crash;
pub mod disk;
pub mod instant;
pub mod lane;
pub mod life;
pub mod model;
pub mod self_test;

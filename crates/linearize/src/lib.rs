//! Concurrent histories of a real server, and whether one thread could have made them.
//!
//! Several connections send commands at the same time; when each was sent and answered is recorded. The server is right
//! if there is an order of all the commands that respects "this was answered before that was sent" and in which a plain
//! sequential model gives every reply that was seen. Spinel promises that, at any number of threads.
//!
//! ```text
//! generate ──► Window (what each connection will send) ──► record ──► History ──► check ──► fine, or a Violation
//! ```
//!
//! Owns: the [`model`] (a few keys in two databases, their expiry, CLIENT PAUSE, who watches them; a few [`collection`]s, and who waits for them), the [`generate`]d mixes, the
//! [`check`]er. Must not know: anything of Spinel's inside; a server is a program and a socket.
//!
//! Start at [`check`], then [`model`]. `docs/linearizability.md` explains the use.

pub mod check;
pub mod collection;
pub mod generate;
pub mod history;
pub mod model;
pub mod operation;
pub mod record;
pub mod run;
pub mod self_test;

//! The server: the world and its gates, event loops, connections, dispatch, and what makes it a citizen of its machine.
//!
//! Owns sockets, threads, files and the clock. Must not know how a command works: it finds the command, gives it access,
//! and sends what it replied.
//!
//! Start reading at [`event_loop`] (the way of a request), then [`dispatch`] (which side of the gate it runs on), then
//! [`start`] (how a server comes up).

mod balance;
mod connection;
mod dispatch;
mod event_loop;
mod eviction;
mod host;
#[doc(hidden)]
pub mod in_process;
mod listener;
mod mailbox;
mod migration;
pub mod operation;
mod persistence;
mod replication;
mod shared;
mod socket;
mod start;
mod tls;

pub use start::run;

//! The commands: one file a command or tight family, each with its `SPEC` (name, arity, flags, keys, categories, docs),
//! its handler, and its tests.
//!
//! Owns what a command is and does. Knows no socket and no thread: a handler receives a [`Ctx`] with its arguments, the
//! keys it declared and a place to reply, and never locks. What concerns sockets, files or the process is asked of a
//! [`Host`].
//!
//! To find a command, open `<group>/<command>.rs`; the group's `mod.rs` lists its specs, and [`registry`] lists the groups.
//! Start reading at [`spec`] (what is known about a command) and [`context`] (what it gets).

pub mod access;
pub mod bitmap;
pub mod blocking;
pub mod client;
pub mod cluster;
pub mod connection;
pub mod context;
pub mod db;
pub mod effects;
pub mod error;
pub mod generic;
pub mod geo;
pub mod global;
pub mod hash;
pub mod help;
pub mod hyperloglog;
pub mod keys;
pub mod list;
pub mod observation;
pub mod persistence;
pub mod pubsub;
pub mod registry;
pub mod replication;
pub mod scripting;
pub mod server;
pub mod set;
pub mod settings;
pub mod sorted_set;
pub mod spec;
pub mod stats;
pub mod stream;
pub mod string;
pub mod telling;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tracking;
pub mod transaction;
pub mod transactions;

pub use access::AccessControl;
pub use client::{Client, ClientFlags, Clients, ReplyMode, Session};
pub use context::{Ctx, Host, Outcome, Reach, Room, Shutdown, ShutdownOptions};
pub use db::Db;
pub use effects::{Effects, EventClass};
pub use error::{Error, Stop};
pub use global::{Global, World};
pub use registry::{Command, LastCalled, Registry};
pub use settings::Settings;
pub use spec::Spec;
pub use stats::ThreadStats;

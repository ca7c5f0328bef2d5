//! The journal: one ordered log of what was changed, with many readers; and the append-only file, its first reader.
//!
//! ```text
//!  event loop ── Batch ──┐ append, under the access that made the change
//!  event loop ── Batch ──┤
//!                        ▼
//!        AOF stream      [block][block][blo…   ◀─ aof::Writer: files, fsync, durable()
//!        replica stream  [block][blo…          ◀─ backlog, each replica
//! ```
//!
//! Owns: how effects become bytes and units (MULTI, EXEC, SELECT, annotations of time), the order they have, the offsets they
//! end at, how long they stay in memory; and the files of the append-only file: manifest, rotation, what is written when and what
//! may be trusted after a crash, reading them back.
//!
//! Must not know: commands, the keyspace, sockets, RDB files. Files it knows through [`disk::Disk`] alone, so that a test can
//! make a disk fail.
//!
//! Start at [`Journal::append`], then [`aof::Writer`].

pub mod aof;
mod batch;
mod block;
pub mod disk;
pub mod fuzz;

mod journal;
mod planted;
mod stream;

pub use batch::{Batch, Destinations};
pub use block::Chunk;
pub use journal::{Destination, Journal, Reader, Tails};

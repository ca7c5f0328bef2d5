//! A world for machines without I/O: virtual time, a network that delays, holds back and cuts, nodes that pause and crash, all from one seed.
//! A run can be repeated to the bit: the same seed gives the same trace.
//!
//! ```text
//!  scenario (writes, faults, healing, checks) ──▶ World ◀──▶ Network: connections as two pipes of bytes
//!                                                   │
//!                                                   ▼ Event           ▲ Context: connect, send, close
//!                                                 Node: a machine and a model of its driver
//! ```
//!
//! Owns: time, the order of events, the network, the trace; the model drivers and scenarios of each machine.
//!
//! Must not know: real sockets, real clocks, threads.
//!
//! Start at [`World`] for what a node sees, at [`replication::run`] for a scenario. Another kind of machine is another [`Node`] with a folder
//! of its own beside `replication`.

mod network;
pub mod replication;
mod trace;
mod world;

pub use network::ConnectionId;
pub use trace::Trace;
pub use world::{Context, Event, Node, NodeId, World};

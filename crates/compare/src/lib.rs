//! `compare`: how Spinel's speed and memory are measured against real servers, as ratios that survive a noisy machine.
//!
//! **Owns** the method (docs/benchmarks.md): a load generator of its own, the CPU and system-call figures of another process, the
//! floor (an empty epoll server), the table of workloads with their bounds, and the results file.
//!
//! **Must not know** how any server works inside: it sees processes, sockets, replies and `INFO`. It links none of Spinel's server
//! crates, so that it can never measure something that a client would not get.
//!
//! **Start reading** at [`workload`]: a workload is one row of a table, and adding a row is all that a new command needs. [`rounds`]
//! runs the rows, [`load`] produces the requests, [`report`] judges and prints. [`memory`], [`persistence`], [`replication`],
//! [`growth`], [`expiry`], [`fragmentation`] and [`eviction`] are the measurements that are not a request loop.

pub mod arguments;
pub mod cpu;
pub mod eviction;
pub mod expiry;
pub mod floor;
pub mod fragmentation;
pub mod growth;
pub mod load;
pub mod memory;
pub mod persistence;
pub mod replication;
pub mod reply;
pub mod report;
pub mod request;
pub mod rounds;
pub mod target;
pub mod workload;

//! Commands about the server: configuration, statistics, introspection, and whole databases.

mod acl;
mod command;
mod commandlog;
mod config;
mod dbsize;
mod debug;
mod failover;
mod flush;
mod hotkeys;
mod info;
mod latency;
mod lolwut;
pub mod memory;
mod module;
pub mod monitor;
mod replicaof;
mod role;
mod save;
mod shutdown;
mod slowlog;
mod swapdb;
mod sync;
mod time;

use crate::spec::Spec;

/// All commands of the group.
pub const SPECS: &[&Spec] = &[
    &acl::SPEC,
    &save::BGREWRITEAOF,
    &save::BGSAVE,
    &command::SPEC,
    &commandlog::SPEC,
    &config::SPEC,
    &dbsize::SPEC,
    &debug::SPEC,
    &failover::SPEC,
    &flush::FLUSHALL,
    &flush::FLUSHDB,
    &hotkeys::SPEC,
    &info::SPEC,
    &save::LASTSAVE,
    &latency::SPEC,
    &lolwut::SPEC,
    &memory::SPEC,
    &module::SPEC,
    &monitor::SPEC,
    &sync::PSYNC,
    &sync::REPLCONF,
    &replicaof::REPLICAOF,
    &role::SPEC,
    &save::SAVE,
    &shutdown::SPEC,
    &replicaof::SLAVEOF,
    &slowlog::SPEC,
    &swapdb::SPEC,
    &sync::SYNC,
    &time::SPEC,
];

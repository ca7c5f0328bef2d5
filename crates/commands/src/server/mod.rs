//! Commands about the server: configuration, statistics, introspection, and whole databases.

mod acl;
mod command;
mod commandlog;
mod config;
mod dbsize;
mod debug;
mod flush;
mod hotkeys;
mod info;
mod latency;
mod lolwut;
pub mod memory;
mod module;
pub mod monitor;
mod save;
mod shutdown;
mod slowlog;
mod swapdb;
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
    &save::SAVE,
    &shutdown::SPEC,
    &slowlog::SPEC,
    &swapdb::SPEC,
    &time::SPEC,
];

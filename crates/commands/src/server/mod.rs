//! Commands about the server: configuration, statistics, introspection, and whole databases.

mod command;
mod config;
mod dbsize;
mod debug;
mod flush;
mod info;
mod lolwut;
mod memory;
mod save;
mod shutdown;
mod swapdb;
mod time;

use crate::spec::Spec;

/// All commands of the group.
pub const SPECS: &[&Spec] = &[
    &save::BGREWRITEAOF,
    &save::BGSAVE,
    &command::SPEC,
    &config::SPEC,
    &dbsize::SPEC,
    &debug::SPEC,
    &flush::FLUSHALL,
    &flush::FLUSHDB,
    &info::SPEC,
    &save::LASTSAVE,
    &lolwut::SPEC,
    &memory::SPEC,
    &save::SAVE,
    &shutdown::SPEC,
    &swapdb::SPEC,
    &time::SPEC,
];

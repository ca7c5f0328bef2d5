//! Commands on keys of any type: names, expiry, walks.

mod copy;
mod del;
mod dump;
mod exists;
mod expire;
mod keys;
pub mod migrate;
mod r#move;
mod object;
mod persist;
mod randomkey;
mod rename;
mod restore;
pub(crate) mod scan;
mod sort;
mod touch;
mod ttl;
mod r#type;
pub(crate) mod wait;

use crate::spec::Spec;

/// All commands of the group.
pub const SPECS: &[&Spec] = &[
    &copy::SPEC,
    &del::DEL,
    &dump::SPEC,
    &exists::SPEC,
    &expire::EXPIRE,
    &expire::EXPIREAT,
    &ttl::EXPIRETIME,
    &keys::SPEC,
    &migrate::SPEC,
    &r#move::SPEC,
    &object::SPEC,
    &persist::SPEC,
    &expire::PEXPIRE,
    &expire::PEXPIREAT,
    &ttl::PEXPIRETIME,
    &ttl::PTTL,
    &randomkey::SPEC,
    &rename::RENAME,
    &rename::RENAMENX,
    &restore::RESTORE,
    &restore::RESTORE_ASKING,
    &scan::SPEC,
    &sort::SORT,
    &sort::SORT_RO,
    &touch::SPEC,
    &ttl::TTL,
    &r#type::SPEC,
    &del::UNLINK,
    &wait::WAIT,
    &wait::WAITAOF,
];

/// MOVE and COPY refuse to put a key where it is.
const SAME_OBJECT: &str = "ERR source and destination objects are the same";

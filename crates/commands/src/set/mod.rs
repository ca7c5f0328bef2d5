//! Sets.

mod algebra;
mod members;
mod random;
mod sadd;
mod smove;
mod srem;
mod sscan;

use crate::spec::Spec;

pub const SPECS: &[&Spec] = &[
    &algebra::SDIFF,
    &algebra::SDIFFSTORE,
    &algebra::SINTER,
    &algebra::SINTERCARD,
    &algebra::SINTERSTORE,
    &algebra::SUNION,
    &algebra::SUNIONSTORE,
    &members::SCARD,
    &members::SISMEMBER,
    &members::SMEMBERS,
    &members::SMISMEMBER,
    &random::SPOP,
    &random::SRANDMEMBER,
    &sadd::SPEC,
    &smove::SPEC,
    &srem::SPEC,
    &sscan::SPEC,
];

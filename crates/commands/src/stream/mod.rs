//! Streams: one file a command. What they share: [`ids`] reads ids as clients write them, [`options`] the words that several commands
//! know, [`reply`] writes entries.

use crate::spec::Spec;

mod ids;
mod options;
mod reply;
mod xack;
mod xackdel;
mod xadd;
mod xautoclaim;
mod xclaim;
mod xdel;
mod xdelex;
mod xgroup;
mod xinfo;
mod xlen;
mod xpending;
mod xrange;
mod xread;
mod xreadgroup;
mod xsetid;
mod xtrim;

pub const SPECS: &[&Spec] = &[
    &xack::SPEC,
    &xackdel::SPEC,
    &xadd::SPEC,
    &xautoclaim::SPEC,
    &xclaim::SPEC,
    &xdel::SPEC,
    &xdelex::SPEC,
    &xgroup::SPEC,
    &xinfo::SPEC,
    &xlen::SPEC,
    &xpending::SPEC,
    &xrange::SPEC,
    &xrange::REVERSE_SPEC,
    &xread::SPEC,
    &xreadgroup::SPEC,
    &xsetid::SPEC,
    &xtrim::SPEC,
];

//! HyperLogLog: how many different elements were seen, within 0.81 %, in at most 12 KiB.
//!
//! An element's hash chooses one of 16,384 registers and a number, which is large with small probability; the register keeps its
//! largest number. The strings are Redis's, byte for byte:
//!
//! ```text
//! "HYLL"  encoding  0 0 0  cardinality                     registers
//! 4       1         3      8, little-endian, cached;       dense (0): 6 bits each, 12,288 bytes, lowest bits first
//!                          its top bit: out of date        sparse (1): runs (see sparse.rs)
//! ```
//!
//! Public sources: the format is described in antirez's and Redis's documentation; the estimator is the one of Otmar Ertl, "New
//! cardinality estimation algorithms for HyperLogLog sketches", 2017 (algorithm 6); the hash is Austin Appleby's MurmurHash64A.

mod dense;
mod estimate;
mod hash;
mod pfadd;
mod pfcount;
mod pfdebug;
mod pfmerge;
mod pfselftest;
mod sketch;
mod sparse;

use crate::spec::Spec;

/// All commands of the group.
pub const SPECS: &[&Spec] = &[&pfadd::SPEC, &pfcount::SPEC, &pfdebug::SPEC, &pfmerge::SPEC, &pfselftest::SPEC];

const REGISTERS: usize = 1 << 14;

/// The values of all registers, a byte each.
type Registers = [u8; REGISTERS];

//! Seeds: every generated test can be run again.

use proptest::test_runner::{Config, RngSeed};
use rand::{SeedableRng, rngs::StdRng};

/// The generator that tests draw from.
pub type Random = StdRng;

/// The seed of this run: `$SPINEL_SEED`, else a fresh one. Printed, so that a failure can be run again.
pub fn seed() -> u64 {
    let seed = match std::env::var("SPINEL_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("SPINEL_SEED is '{text}', not a number")),
        Err(_) => u64::from(rand::random::<u32>()),
    };
    println!("seed {seed} (run again with SPINEL_SEED={seed})");
    seed
}

/// The generator for a seed.
pub fn random_from(seed: u64) -> Random {
    StdRng::seed_from_u64(seed)
}

/// What `proptest!` is configured with, so that its cases, too, come from the seed of this run:
/// `#![proptest_config(testkit::proptest_config(300))]`.
///
/// Failures are not kept in files: the seed repeats them.
pub fn proptest_config(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(seed()), failure_persistence: None, ..Config::default() }
}

//! `durability crash`: many rounds, each from its own seed.

use anyhow::Result;

use crate::disk;
use crate::life::{Ground, Plan, Tally, play};

/// A run of rounds.
#[derive(Clone, Debug)]
pub struct Options {
    pub rounds: u64,
    pub seed: u64,
    pub grounds: Vec<Ground>,
}

/// True when all promises were kept.
pub fn run(options: &Options) -> Result<bool> {
    let mut tally = Tally::default();
    for round in 0..options.rounds {
        let seed = seed_of(options.seed, round);
        let mut random = testkit::random_from(seed);
        let plan = Plan::draw(&mut random, &options.grounds);
        if let Err(error) = play(seed, plan, &[], &mut tally) {
            println!("{plan:?}\n{error:#}");
            println!(
                "durability: FAILED in round {round}. The same again, though not the same timing: durability crash --seed {} --round {round}",
                options.seed
            );
            return Ok(false);
        }
    }
    println!("durability: {} rounds: {tally}", options.rounds);
    Ok(true)
}

/// The seed of a round, so that one can be played alone.
pub fn seed_of(seed: u64, round: u64) -> u64 {
    seed.wrapping_mul(1_000_003) ^ round
}

/// Where servers can be put here.
pub fn grounds() -> Vec<Ground> {
    if disk::is_available() {
        return vec![Ground::Plain, Ground::Lossy, Ground::Lossy, Ground::Failing, Ground::Failing];
    }
    testkit::skip_aloud("disks that lose and fail (build them: cargo build -p spinel-durability --examples)");
    vec![Ground::Plain]
}

//! `durability self-test`: a harness that finds nothing proves nothing, so planted bugs must be found.

use anyhow::Result;
use testkit::random_from;

use crate::crash::seed_of;
use crate::disk;
use crate::life::{Ground, Keeping, Plan, Tally, play};

/// Bugs of the feature `planted` that a power failure shows.
const CRASH: [&str; 2] = ["reply-before-durable", "half-multi"];

/// Whether a bug shows depends on the instant of the kill: it is given so many.
const ATTEMPTS_MAX: u64 = 30;

/// True when each planted bug is found.
pub fn self_test(seed: u64) -> Result<bool> {
    let mut all_found = true;
    for name in CRASH {
        if !disk::is_available() {
            testkit::skip_aloud(&format!("{name}: there is no disk that loses what is not synchronised"));
            continue;
        }
        let attempts = (0..ATTEMPTS_MAX).find_map(|attempt| {
            let seed = seed_of(seed, attempt);
            let mut plan = Plan::draw(&mut random_from(seed), &[Ground::Lossy]);
            plan.keeping = Keeping::Always;
            plan.switches = false;
            let error = play(seed, plan, &[("SPINEL_PLANT", name)], &mut Tally::default()).err()?;
            Some((attempt, error))
        });
        all_found &= report(name, attempts);
    }
    Ok(all_found)
}

fn report(name: &str, found: Option<(u64, anyhow::Error)>) -> bool {
    match found {
        Some((attempt, error)) => {
            let text = format!("{error:#}");
            let first: String = text.chars().take(300).collect();
            println!("{first}\ndurability self-test: the planted bug {name} is found in attempt {}", attempt + 1);
            true
        }
        None => {
            println!(
                "durability self-test: FAILED: {name} is not found in {ATTEMPTS_MAX} attempts \
                 (is spinel built with the feature `planted`?)"
            );
            false
        }
    }
}

//! `linearize self-test`: a harness that finds nothing proves nothing, so planted bugs must be found.

use anyhow::Result;

use crate::{
    generate::Mix,
    run::{Options, run},
};

/// The bugs that Spinel's feature `planted` has for this harness, and the mixes that are meant to show them.
const PLANTED: [(&str, &[Mix]); 2] = [
    // The pause is read before the gate, and acted on behind it.
    ("stale-pause", &[Mix::Pause]),
    // A wide command does not wait for one of the threads.
    ("missed-gate", &[Mix::Storm]),
];

/// True when each planted bug is found.
pub fn self_test(options: &Options) -> Result<bool> {
    let mut all_found = true;
    for (name, mixes) in PLANTED {
        let mut options = options.clone();
        options.mixes = mixes.to_vec();
        options.server = options.server.environment("SPINEL_PLANT", name);
        let outcome = run(&options)?;
        match &outcome.finding {
            Some(finding) => {
                println!("{finding}");
                println!(
                    "linearize self-test: the planted bug {name} is found after {} windows",
                    outcome.total().windows
                );
            }
            None => {
                let windows = outcome.total().windows;
                println!(
                    "linearize self-test: FAILED: {name} is not found in {windows} windows \
                     (is spinel built with the feature `planted`?)"
                );
                all_found = false;
            }
        }
    }
    Ok(all_found)
}

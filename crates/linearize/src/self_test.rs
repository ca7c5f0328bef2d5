//! `linearize self-test`: a harness that finds nothing proves nothing, so planted bugs must be found.

use anyhow::Result;

use crate::{
    generate::Mix,
    run::{Options, run},
};

/// The bugs that Spinel's feature `planted` has for this harness, and the mixes that are meant to show them.
const PLANTED: [(&str, &[Mix]); 4] = [
    // The pause is read before the gate, and acted on behind it.
    ("stale-pause", &[Mix::Pause]),
    // A wide command does not wait for one of the threads.
    ("missed-gate", &[Mix::Storm]),
    // A key that became ready is forgotten now and then, and with it who waits for it.
    ("skipped-waiter", &[Mix::Waiting]),
    // Now and then nobody tells who watches a key that it was changed.
    ("unseen-touch", &[Mix::Transactions]),
];

/// A race needs two threads that run at the same time, and a busy machine may not give them that for a while: the time is
/// given again, with other windows, so often before a bug counts as not found.
const ATTEMPTS_MAX: u64 = 5;

/// True when each planted bug is found.
pub fn self_test(options: &Options) -> Result<bool> {
    let mut all_found = true;
    for (name, mixes) in PLANTED {
        let mut options = options.clone();
        options.mixes = mixes.to_vec();
        options.server = options.server.environment("SPINEL_PLANT", name);
        let mut outcome = run(&options)?;
        if !outcome.left_out.is_empty() {
            testkit::skip_aloud(&format!(
                "{name}: the server has not all commands of the mixes {:?}",
                outcome.left_out
            ));
            continue;
        }
        for _ in 1..ATTEMPTS_MAX {
            if outcome.finding.is_none() {
                options.seed += 1;
                outcome = run(&options)?;
            }
        }
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

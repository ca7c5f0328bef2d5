//! `oracle self-test`: a harness that finds nothing proves nothing, so a planted bug must be found, and cut down to the
//! command that shows it.

use anyhow::Result;
use testkit::{Kind, ServerOptions};

use crate::{
    pair::PairOptions,
    run::{Failure, Options, Session},
};

/// The bug that Spinel's feature `planted` has for this harness.
const PLANTED: &str = "wrong-error-text";

/// More steps than this left over from thousands means that cutting down does not work.
const MINIMAL_STEPS_MAX: usize = 4;

/// True when the planted bug is found.
pub fn run(options: &Options) -> Result<bool> {
    let planted = ServerOptions::new(Kind::Spinel).environment("SPINEL_PLANT", PLANTED);
    match find(planted, options)? {
        Some(failure) if is_minimal(&failure) => {
            failure.print();
            println!("oracle self-test: the planted bug {PLANTED} is found");
            Ok(true)
        }
        Some(failure) => {
            failure.print();
            println!("oracle self-test: FAILED: a difference, but not cut down");
            Ok(false)
        }
        None => {
            println!("oracle self-test: FAILED: {PLANTED} is not found (is spinel built with the feature `planted`?)");
            Ok(false)
        }
    }
}

fn is_minimal(failure: &Failure) -> bool {
    failure.reproduced && failure.steps.len() <= MINIMAL_STEPS_MAX
}

fn find(subject: ServerOptions, options: &Options) -> Result<Option<Failure>> {
    let seed = options.seed.unwrap_or_else(testkit::seed);
    let options = Options { subject: subject.kind, ..options.clone() };
    let reference = ServerOptions::new(Kind::Redis82);
    let pair = PairOptions::new(subject, reference);
    Session { pair, options: &options, seed, reference: Kind::Redis82 }.play(options.commands.min(20_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The harness against itself: a Redis is equal to a Redis, and one with a database less is not.
    #[test]
    fn a_redis_that_differs_is_told_from_one_that_does_not() {
        for kind in [Kind::Redis82] {
            if testkit::program(kind).is_none() {
                testkit::skip_aloud(&format!("no {kind} here (run tools/peers.sh)"));
                return;
            }
        }
        let options = Options { commands: 5_000, ..Options::default() };
        let equal = find(ServerOptions::new(Kind::Redis82), &options).unwrap();
        if let Some(failure) = equal {
            failure.print();
            panic!("two equal servers differ");
        }
        let options = Options { commands: 20_000, ..Options::default() };
        let other = ServerOptions::new(Kind::Redis82).arguments(["--databases", "15"]);
        let failure = find(other, &options).unwrap().expect("the missing database is noticed");
        failure.print();
        assert!(is_minimal(&failure), "{} steps are left", failure.steps.len());
    }
}

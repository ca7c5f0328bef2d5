//! A short run against each server that is there. `make linearize` is the long one.

use std::time::Duration;

use linearize::run::{Options, run};
use testkit::Kind;

fn explain_for_a_while(kind: Kind, seconds: u64) {
    if testkit::program(kind).is_none() {
        testkit::skip_aloud(&format!("no {kind} here (run tools/peers.sh, or build spinel)"));
        return;
    }
    let mut options = Options::new(kind, testkit::seed());
    options.duration = Duration::from_secs(seconds);
    let outcome = run(&options).expect("a server that is there starts");
    if let Some(finding) = &outcome.finding {
        panic!("{finding}");
    }
    assert!(!outcome.is_undecided(), "{:?}", outcome.total());
}

/// The harness itself: one thread's histories are explained.
#[test]
fn redis() {
    explain_for_a_while(Kind::Redis82, 4);
}

#[test]
fn spinel() {
    explain_for_a_while(Kind::Spinel, 10);
}

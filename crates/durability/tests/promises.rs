//! A few rounds of each kind; `make crash` and `make instant` play many.

use durability::life::{Ground, Plan, Tally, play};
use durability::{crash, disk, instant};
use testkit::Kind;

fn rounds(ground: Ground, count: u64) {
    if testkit::program(Kind::Spinel).is_none() {
        return testkit::skip_aloud("no spinel here (build it)");
    }
    if ground != Ground::Plain && !disk::is_available() {
        return testkit::skip_aloud("no faulty disk here (cargo build -p spinel-durability --examples)");
    }
    let seed = testkit::seed();
    let mut tally = Tally::default();
    for round in 0..count {
        let seed = crash::seed_of(seed, round);
        let plan = Plan::draw(&mut testkit::random_from(seed), &[ground]);
        if let Err(error) = play(seed, plan, &[], &mut tally) {
            panic!("round {round}: {plan:?}\n{error:#}");
        }
    }
    println!("{tally}");
}

#[test]
fn a_killed_process_keeps_its_promises() {
    rounds(Ground::Plain, 2);
}

#[test]
fn a_power_failure_takes_only_what_was_not_promised() {
    rounds(Ground::Lossy, 2);
}

#[test]
fn a_failing_disk_is_told_of_and_survived() {
    rounds(Ground::Failing, 2);
}

#[test]
fn snapshots_are_of_one_instant() {
    if testkit::program(Kind::Spinel).is_none() {
        return testkit::skip_aloud("no spinel here (build it)");
    }
    let options = instant::Options {
        seed: testkit::seed(),
        threads: vec![1, 4],
        elements: vec![2000],
        snapshots: 2,
        environment: Vec::new(),
    };
    instant::try_run(&options).unwrap_or_else(|error| panic!("{error:#}"));
}

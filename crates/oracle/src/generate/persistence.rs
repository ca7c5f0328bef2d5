//! Snapshots, rewrites, reloads and restarts among the other steps.

use rand::{Rng, seq::IndexedRandom};
use testkit::Random;

use crate::{
    persistence::{Deed, Files},
    step::Step,
};

/// `(weight, deed)`; a restart is drawn apart.
const DEEDS: &[(u32, Deed)] = &[
    (2, Deed::Save),
    (5, Deed::SnapshotBegins),
    (4, Deed::RewriteBegins),
    (3, Deed::AppendOnly(true)),
    (1, Deed::AppendOnly(false)),
    (1, Deed::WaitUntilDurable("always")),
    (1, Deed::WaitUntilDurable("everysec")),
    (4, Deed::Reload(&[])),
    (1, Deed::Reload(&["MERGE"])),
    (1, Deed::Reload(&["MERGE", "NOFLUSH"])),
    (1, Deed::Reload(&["BOGUS"])),
    (2, Deed::LoadAof),
];

/// Puts so many of them at random places; and at the end of all steps what was written is read again in every way.
pub fn insert(random: &mut Random, steps: Vec<Step>, count: usize) -> Vec<Step> {
    if count == 0 {
        return steps;
    }
    let mut places: Vec<usize> = (0..count).map(|_| random.random_range(0..=steps.len())).collect();
    places.sort_unstable();
    let mut places = places.into_iter().peekable();
    let mut all = vec![Step::Persistence(Deed::AppendOnly(random.random()))];
    for (at, step) in steps.into_iter().enumerate() {
        while places.next_if_eq(&at).is_some() {
            all.push(Step::Persistence(deed(random)));
        }
        all.push(step);
    }
    let last = [
        Deed::LoadAof,
        Deed::Reload(&[]),
        Deed::Restart { kill: false, files: Files::Own },
        Deed::Restart { kill: true, files: Files::Exchanged },
        Deed::AppendOnly(true),
        Deed::Restart { kill: true, files: Files::Exchanged },
    ];
    all.extend(last.map(Step::Persistence));
    all
}

fn deed(random: &mut Random) -> Deed {
    if random.random_bool(0.25) {
        let files = if random.random_bool(0.3) { Files::Exchanged } else { Files::Own };
        return Deed::Restart { kill: random.random(), files };
    }
    DEEDS.choose_weighted(random, |(weight, _)| *weight).expect("weights").1
}

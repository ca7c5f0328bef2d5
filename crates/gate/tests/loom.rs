//! Every interleaving of two narrow threads and one or two wide ones, by loom: `make model`.
#![cfg(feature = "loom")]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use spinel_gate::Gates;

/// A world whose cell makes loom panic when a read meets a write.
#[derive(Default)]
struct World {
    cell: UnsafeCell<u32>,
}

// SAFETY: whether that is so is what loom checks: it panics on any overlap of `with` and `with_mut`.
unsafe impl Sync for World {}

fn explore(wides: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let gates = Arc::new(Gates::new(2, World::default()));
        let mut threads = Vec::new();
        {
            let gates = gates.clone();
            threads.push(thread::spawn(move || {
                let world = gates.narrow(1);
                // SAFETY: loom checks the overlap.
                world.cell.with(|value| unsafe { *value });
            }));
        }
        for _ in 0..wides {
            let gates = gates.clone();
            threads.push(thread::spawn(move || {
                let world = gates.wide();
                // SAFETY: loom checks the overlap.
                world.cell.with_mut(|value| unsafe { *value += 1 });
            }));
        }
        {
            let world = gates.narrow(0);
            // SAFETY: loom checks the overlap.
            world.cell.with(|value| unsafe { *value });
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let world = gates.wide();
        // SAFETY: loom checks the overlap.
        assert_eq!(world.cell.with(|value| unsafe { *value }), wides as u32);
    });
}

#[test]
fn one_wide_access_is_alone() {
    explore(1);
}

#[test]
fn two_wide_accesses_are_alone() {
    explore(2);
}

/// A wide access that lends its world: whoever borrows it is alone with it, and everybody gets through in the end.
fn explore_lending(times: u32, borrowers: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let gates = Arc::new(Gates::new(2, World::default()));
        let mut threads = Vec::new();
        for _ in 0..borrowers {
            let gates = gates.clone();
            threads.push(thread::spawn(move || {
                match gates.narrow_unless_lent(1) {
                    // SAFETY: loom checks the overlap.
                    Some(world) => world.cell.with(|value| unsafe { *value }),
                    None => 0,
                };
                let world = gates.alone();
                // SAFETY: loom checks the overlap.
                world.cell.with_mut(|value| unsafe { *value += 1 });
            }));
        }
        {
            let mut world = gates.wide();
            for _ in 0..times {
                // SAFETY: loom checks the overlap.
                world.cell.with_mut(|value| unsafe { *value += 1 });
                // Lenders may borrow like everybody else.
                world.lend(|| {
                    let world = gates.alone();
                    // SAFETY: loom checks the overlap.
                    world.cell.with_mut(|value| unsafe { *value += 1 });
                });
            }
            // SAFETY: loom checks the overlap.
            world.cell.with_mut(|value| unsafe { *value += 1 });
            world.stop_lending();
            // SAFETY: loom checks the overlap.
            world.cell.with_mut(|value| unsafe { *value += 1 });
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let world = gates.narrow(0);
        // SAFETY: loom checks the overlap.
        assert_eq!(world.cell.with(|value| unsafe { *value }), 2 * times + 2 + borrowers as u32);
    });
}

#[test]
fn a_lent_world_has_one_borrower() {
    explore_lending(1, 1);
    explore_lending(2, 1);
}

/// The planted bug: a wide access that misses the last gate. Loom must find the overlap.
#[cfg(feature = "planted")]
#[test]
fn a_missed_gate_is_found() {
    // Own process: the variable must not reach the other tests.
    let test = std::env::current_exe().unwrap();
    let output = std::process::Command::new(test)
        .args(["one_wide_access_is_alone", "--exact"])
        .env("SPINEL_PLANT", "missed-gate")
        .output()
        .unwrap();
    assert!(!output.status.success(), "loom did not find the planted bug");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("Causality violation") || text.contains("panicked"), "{text}");
}

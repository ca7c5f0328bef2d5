//! Real threads: a wide access is alone, and gets its turn.
#![cfg(not(feature = "loom"))]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use spinel_gate::Gates;

#[test]
fn narrow_accesses_never_see_half_of_a_wide_change() {
    let gates = Gates::new(4, (0u64, 0u64));
    let stop = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for index in 0..4 {
            let (gates, stop, reads) = (&gates, &stop, &reads);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let world = gates.narrow(index);
                    assert_eq!(world.0, world.1);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // The readers never pause, so this loop also shows that a wide access cannot starve. On a busy machine they may not have
        // begun yet: it goes on until they have.
        let mut changes = 0;
        while changes < 2_000 || reads.load(Ordering::Relaxed) < 1_000 {
            let mut world = gates.wide();
            world.0 += 1;
            world.1 += 1;
            changes += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    let world = gates.wide();
    assert!(world.0 >= 2_000 && world.0 == world.1);
}

#[test]
fn a_lent_world_is_seen_between_two_steps_of_the_lender() {
    let gates = Gates::new(4, (0u64, 0u64));
    let stop = AtomicBool::new(false);
    let borrowed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for index in 0..3 {
            let (gates, stop, borrowed) = (&gates, &stop, &borrowed);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match gates.narrow_unless_lent(index) {
                        Some(world) => assert_eq!(world.0, world.1),
                        None => {
                            let mut world = gates.alone();
                            assert_eq!(world.0, world.1);
                            world.0 += 1;
                            world.1 += 1;
                            borrowed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        // Every lender goes on until somebody has borrowed from it.
        for _ in 0..20 {
            let mut world = gates.wide();
            let before = borrowed.load(Ordering::Relaxed);
            while borrowed.load(Ordering::Relaxed) < before + 10 {
                world.0 += 1;
                std::hint::spin_loop();
                world.1 += 1;
                world.lend(std::thread::yield_now);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let world = gates.wide();
    assert!(world.0 >= 200 && world.0 == world.1 && !gates.is_lent());
}

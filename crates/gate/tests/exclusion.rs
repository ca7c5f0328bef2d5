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

//! The clock that commands are timed with: the processor's counter where it runs evenly, which takes a few ns to read, else the system's.

use std::sync::LazyLock;

use quanta::Clock;

static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::new);

/// A reading. What lies between two of them is turned into nanoseconds without floating point: a command pays for that each time.
#[derive(Clone, Copy, Debug)]
pub struct Tick(u64);

impl Tick {
    #[inline]
    pub fn now() -> Tick {
        Tick(CLOCK.raw())
    }

    /// 0 where `earlier` is later.
    #[inline]
    pub fn ns_since(self, earlier: Tick) -> u64 {
        CLOCK.delta_as_nanos(earlier.0, self.0)
    }

    #[inline]
    pub fn elapsed_ns(self) -> u64 {
        Tick::now().ns_since(self)
    }
}

/// What is read, as INFO names it.
pub fn source() -> &'static str {
    const MANY: u64 = 1 << 40;
    // The system's clock gives nanoseconds; the counter gives ticks of its own.
    let is_counter = CLOCK.delta_as_nanos(0, MANY) != MANY;
    match (is_counter, cfg!(target_arch = "x86_64")) {
        (true, true) => "X86 TSC",
        (true, false) => "ARM CNTVCT",
        (false, _) => "POSIX clock_gettime",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn ticks_are_as_long_as_the_systems() {
        // Made ready before anything is measured.
        Tick::now();
        let before = Instant::now();
        let began = Tick::now();
        let after = Instant::now();
        while after.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let at_least = after.elapsed();
        let ns = began.elapsed_ns();
        let at_most = before.elapsed();
        let ours = Duration::from_nanos(ns);
        assert!(at_least.mul_f64(0.99) <= ours && ours <= at_most.mul_f64(1.01), "{at_least:?}, {ours:?}, {at_most:?}");
    }

    #[test]
    fn what_is_later_is_not_long_ago() {
        let first = Tick::now();
        let second = Tick::now();
        assert_eq!(Tick(first.0).ns_since(Tick(second.0 + 1)), 0);
    }
}

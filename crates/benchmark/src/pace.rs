//! When requests may be sent, or are due.
//!
//! Closed loop without a limit has no pace: a connection sends as soon as its replies are there.

use crate::choose::Chooser;
use crate::settings::Rate;

/// A limit forgives a delay of this length: what was not sent by then is never made up for, or a server that comes back from a
/// pause would get everything at once.
const DEBT_NANOS_MAX: f64 = 100_000_000.0;

/// The pace of one worker, in nanoseconds of its clock.
pub struct Pace {
    next_due: f64,
    step: f64,
    pub open: bool,
    poisson: bool,
}

impl Pace {
    /// A worker's share of the rate, its steps between those of the other workers.
    pub fn new(rate: Rate, worker: usize, workers: usize, start: u64) -> Pace {
        let (per_second, open, poisson) = match rate {
            Rate::Limit(per_second) => (per_second, false, false),
            Rate::Open { per_second, poisson } => (per_second, true, poisson),
        };
        let step = 1e9 / per_second * workers as f64;
        Pace { next_due: start as f64 + step * worker as f64 / workers as f64, step, open, poisson }
    }

    /// When the next request is due.
    pub fn due(&self) -> u64 {
        self.next_due as u64
    }

    /// So many commands were sent for it.
    pub fn advance(&mut self, commands: u32, now: u64, chooser: &mut Chooser) {
        for _ in 0..commands {
            self.next_due += if self.poisson { self.step * chooser.gap() } else { self.step };
        }
        if !self.open {
            self.next_due = self.next_due.max(now as f64 - DEBT_NANOS_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choose::{Choices, KeyOrder, Sizes};
    use std::sync::Arc;

    fn chooser(seed: u64) -> Chooser {
        let choices = Choices {
            keyspace: None,
            order: KeyOrder::Uniform,
            sizes: Sizes::Fixed(1),
            records: 0,
            counters: Arc::default(),
            payload: Arc::default(),
        };
        Chooser::new(&choices, seed)
    }

    #[test]
    fn an_open_loop_forgets_nothing_and_a_limit_does() {
        let mut chooser = chooser(1);
        let second = 1_000_000_000;
        let mut open = Pace::new(Rate::Open { per_second: 1000.0, poisson: false }, 0, 1, 0);
        open.advance(1, 5 * second, &mut chooser);
        assert_eq!(open.due(), second / 1000);
        let mut limit = Pace::new(Rate::Limit(1000.0), 0, 1, 0);
        limit.advance(1, 5 * second, &mut chooser);
        assert_eq!(limit.due(), 5 * second - DEBT_NANOS_MAX as u64);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_on_average() {
        let seed = testkit::seed();
        let mut chooser = chooser(seed);
        let mut pace = Pace::new(Rate::Open { per_second: 1000.0, poisson: true }, 1, 2, 0);
        for _ in 0..50_000 {
            pace.advance(1, 0, &mut chooser);
        }
        // Half of the rate: there are two workers.
        let seconds = pace.due() as f64 / 1e9;
        assert!((95.0..105.0).contains(&seconds), "seed {seed}: {seconds}");
    }
}

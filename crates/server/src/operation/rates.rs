//! Rates of the last moments: INFO's `instantaneous_*`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use commands::ThreadStats;
use commands::replication::Figures;
use keyspace::Millis;
use parking_lot::Mutex;

/// Samples averaged; at ten a second they reach back 1.6 s, as in Redis.
const SAMPLES: usize = 16;

/// One counter's rate.
#[derive(Default)]
struct Rate {
    total: u64,
    at: Option<Millis>,
    per_second: [u64; SAMPLES],
    next: usize,
}

impl Rate {
    /// Notes the counter's total and returns the mean rate of the last samples.
    fn sample(&mut self, now: Millis, total: u64) -> u64 {
        if let Some(before) = self.at {
            // The system's clock may step back; a counter that was reset starts anew.
            let elapsed_ms = now.0.saturating_sub(before.0);
            let amount = total.saturating_sub(self.total);
            if elapsed_ms > 0 {
                let rate = u128::from(amount) * 1000 / elapsed_ms as u128;
                self.per_second[self.next] = rate.min(u128::from(u64::MAX)) as u64;
                self.next = (self.next + 1) % SAMPLES;
            }
        }
        self.total = total;
        self.at = Some(now);
        self.per_second.iter().sum::<u64>() / SAMPLES as u64
    }
}

/// How many counters are watched.
const RATES: usize = 7;

/// Rates of commands, of bytes from and to clients, of the event loops' turns and the time they take, and of bytes from our primary and to replicas. Loop 0 samples them, anybody reads.
#[derive(Default)]
pub struct Rates {
    sampled: Mutex<[Rate; RATES]>,
    means: [AtomicU64; RATES],
}

impl Rates {
    /// To be called about every 100 ms.
    pub fn sample(&self, now: Millis, stats: &[Arc<ThreadStats>], replication: &Figures) {
        let mut totals = [0, 0, 0, 0, 0, replication.input_bytes, replication.output_bytes];
        for thread in stats {
            let counters = [
                &thread.commands,
                &thread.net_input_bytes,
                &thread.net_output_bytes,
                &thread.loop_cycles,
                &thread.loop_ns,
            ];
            for (total, counter) in totals.iter_mut().zip(counters) {
                *total += counter.get();
            }
        }
        let mut sampled = self.sampled.lock();
        for ((rate, total), mean) in sampled.iter_mut().zip(totals).zip(&self.means) {
            mean.store(rate.sample(now, total), Relaxed);
        }
    }

    pub fn reset(&self) {
        *self.sampled.lock() = Default::default();
        self.means.iter().for_each(|mean| mean.store(0, Relaxed));
    }

    pub fn commands_per_second(&self) -> u64 {
        self.means[0].load(Relaxed)
    }

    pub fn input_bytes_per_second(&self) -> u64 {
        self.means[1].load(Relaxed)
    }

    pub fn output_bytes_per_second(&self) -> u64 {
        self.means[2].load(Relaxed)
    }

    pub fn loop_cycles_per_second(&self) -> u64 {
        self.means[3].load(Relaxed)
    }

    /// Microseconds that a turn of an event loop takes, without waiting.
    pub fn loop_cycle_us(&self) -> u64 {
        self.means[4].load(Relaxed) / self.loop_cycles_per_second().max(1) / 1000
    }

    pub fn replication_input_bytes_per_second(&self) -> u64 {
        self.means[5].load(Relaxed)
    }

    pub fn replication_output_bytes_per_second(&self) -> u64 {
        self.means[6].load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_found() {
        let mut rate = Rate::default();
        let mut mean = 0;
        for step in 0..=SAMPLES as i64 {
            mean = rate.sample(Millis(1_000_000 + step * 100), (step * 50) as u64);
        }
        assert_eq!(mean, 500);
    }

    #[test]
    fn steps_of_the_clock_and_resets_do_no_harm() {
        let mut rate = Rate::default();
        rate.sample(Millis(1000), 100);
        assert_eq!(rate.sample(Millis(900), 200), 0);
        assert_eq!(rate.sample(Millis(1000), 0), 0);
        assert_eq!(rate.sample(Millis(1100), 160), 100);
    }

    #[test]
    fn all_threads_count() {
        let (rates, stats) = (Rates::default(), [Arc::new(ThreadStats::new(0)), Arc::new(ThreadStats::new(0))]);
        let mut replication = Figures::default();
        rates.sample(Millis(0), &stats, &replication);
        stats[0].commands.add(1000);
        stats[1].commands.add(600);
        stats[1].net_output_bytes.add(16);
        replication.output_bytes = 32;
        rates.sample(Millis(1000), &stats, &replication);
        assert_eq!((rates.commands_per_second(), rates.output_bytes_per_second()), (100, 1));
        assert_eq!((rates.replication_input_bytes_per_second(), rates.replication_output_bytes_per_second()), (0, 2));
        rates.reset();
        assert_eq!(rates.commands_per_second(), 0);
    }
}

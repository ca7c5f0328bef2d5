//! The latency monitor: what has made clients wait for `latency-monitor-threshold` or longer, by kind of event.
//!
//! One sample a second and event is kept, the longest, and the last 160 of them. Whoever does something that may take long notes how long it took
//! ([`LatencyMonitor::note`]); below the threshold that is one load.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use keyspace::Millis;
use parking_lot::Mutex;

/// Samples that are kept of an event.
pub const SAMPLES_MAX: usize = 160;

/// What has taken long, by event.
#[derive(Default)]
pub struct LatencyMonitor {
    /// 0: nothing is noted.
    threshold_ms: AtomicU64,
    events: Mutex<BTreeMap<&'static str, Series>>,
}

/// One event's samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Of all time, or since LATENCY RESET.
    pub max_ms: u64,
    /// Never empty once there is one.
    pub samples: VecDeque<Sample>,
}

/// The longest time within one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Since 1970.
    pub at_seconds: i64,
    pub ms: u64,
}

impl LatencyMonitor {
    /// 0 turns it off.
    pub fn set_threshold(&self, ms: u64) {
        self.threshold_ms.store(ms, Relaxed);
    }

    /// Something took so long.
    #[inline]
    pub fn note(&self, event: &'static str, ms: u64, now: Millis) {
        let threshold = self.threshold_ms.load(Relaxed);
        if threshold > 0 && ms >= threshold {
            self.add(event, ms, now.0 / 1000);
        }
    }

    #[cold]
    fn add(&self, event: &'static str, ms: u64, at_seconds: i64) {
        let mut events = self.events.lock();
        let series = events.entry(event).or_default();
        series.max_ms = series.max_ms.max(ms);
        match series.samples.back_mut() {
            // The clock may have been set back: a sample is never before another.
            Some(last) if last.at_seconds >= at_seconds => last.ms = last.ms.max(ms),
            _ => {
                if series.samples.len() == SAMPLES_MAX {
                    series.samples.pop_front();
                }
                series.samples.push_back(Sample { at_seconds, ms });
            }
        }
    }

    /// The samples of one event.
    pub fn series(&self, event: &[u8]) -> Option<Series> {
        self.events.lock().get(std::str::from_utf8(event).ok()?).cloned()
    }

    /// All events that there were.
    pub fn all(&self) -> Vec<(&'static str, Series)> {
        self.events.lock().iter().map(|(name, series)| (*name, series.clone())).collect()
    }

    /// Forgets an event. False if there was none.
    pub fn forget(&self, event: &[u8]) -> bool {
        std::str::from_utf8(event).is_ok_and(|event| self.events.lock().remove(event).is_some())
    }

    /// Forgets all events, and says how many there were.
    pub fn forget_all(&self) -> usize {
        std::mem::take(&mut *self.events.lock()).len()
    }
}

impl Series {
    pub fn last(&self) -> Sample {
        *self.samples.back().expect("an event is known by its first sample")
    }

    /// The lowest and the highest sample that are kept.
    pub fn range_ms(&self) -> (u64, u64) {
        let ms = || self.samples.iter().map(|sample| sample.ms);
        (ms().min().unwrap_or(0), ms().max().unwrap_or(0))
    }

    /// The mean, and how far samples are from it on average.
    pub fn mean_and_deviation_ms(&self) -> (u64, u64) {
        let count = self.samples.len().max(1) as u64;
        let mean = self.samples.iter().map(|sample| sample.ms).sum::<u64>() / count;
        (mean, self.samples.iter().map(|sample| sample.ms.abs_diff(mean)).sum::<u64>() / count)
    }

    /// Seconds from one sample to the next, on average.
    pub fn period_seconds(&self, now: Millis) -> f64 {
        let first = self.samples.front().map_or(now.0 / 1000, |sample| sample.at_seconds);
        (now.0 / 1000 - first).max(1) as f64 / self.samples.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(samples: &[(i64, u64)]) -> Series {
        let monitor = LatencyMonitor::default();
        monitor.set_threshold(5);
        samples.iter().for_each(|(seconds, ms)| monitor.note("command", *ms, Millis(seconds * 1000)));
        monitor.series(b"command").unwrap_or_default()
    }

    #[test]
    fn one_sample_a_second_the_longest() {
        let series = noted(&[(1, 4), (1, 10), (1, 20), (1, 15), (3, 7), (2, 9)]);
        let samples: Vec<_> = series.samples.iter().map(|sample| (sample.at_seconds, sample.ms)).collect();
        assert_eq!(samples, [(1, 20), (3, 9)]);
        assert_eq!((series.max_ms, series.range_ms(), series.mean_and_deviation_ms()), (20, (9, 20), (14, 5)));
        assert_eq!(series.period_seconds(Millis(5000)), 2.0);
    }

    #[test]
    fn the_oldest_are_forgotten_the_worst_is_not() {
        let samples: Vec<_> = (0..200).map(|second| (second, 1000 - second as u64)).collect();
        let series = noted(&samples);
        assert_eq!((series.samples.len(), series.samples[0].at_seconds, series.max_ms), (SAMPLES_MAX, 40, 1000));
    }

    #[test]
    fn off_or_below_the_threshold_nothing_is_noted() {
        let monitor = LatencyMonitor::default();
        monitor.note("command", 1000, Millis(0));
        monitor.set_threshold(5);
        monitor.note("command", 4, Millis(0));
        assert!(monitor.all().is_empty());
        monitor.note("command", 5, Millis(0));
        assert!(monitor.forget(b"command") && !monitor.forget(b"command"));
        assert_eq!(monitor.forget_all(), 0);
    }
}

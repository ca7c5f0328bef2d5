//! Latencies: a histogram a worker and interval, merged into the whole and into a course over time.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// How long an interval of the course is, and how often the live line changes.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// Microseconds with three significant digits. It grows with what it sees.
pub fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// What one worker saw in one interval.
pub struct Sample {
    /// Intervals since the measurement began; the warm-up has negative numbers.
    pub index: i64,
    /// The run ended within it.
    pub cut_off: bool,
    pub latencies_us: Histogram<u64>,
    pub errors: u64,
}

/// One interval of the course, all workers together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub replies: u64,
    pub mean_us: f64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

/// Everything seen of a test.
pub struct Record {
    pub latencies_us: Histogram<u64>,
    pub errors: u64,
    pub course: Vec<Interval>,
    workers: usize,
    /// Intervals that not all workers have reported yet.
    open: BTreeMap<i64, (usize, Histogram<u64>)>,
}

impl Record {
    pub fn new(workers: usize) -> Record {
        Record { latencies_us: histogram(), errors: 0, course: Vec::new(), workers, open: BTreeMap::new() }
    }

    /// Adds a sample. Gives the interval when this was the last worker's; one of the warm-up counts for nothing else.
    pub fn add(&mut self, sample: Sample) -> Option<Interval> {
        let counts = sample.index >= 0;
        if counts {
            self.latencies_us.add(&sample.latencies_us).expect("the histogram grows");
            self.errors += sample.errors;
        }
        let (reported, merged) = self.open.entry(sample.index).or_insert_with(|| (0, histogram()));
        *reported += 1;
        merged.add(&sample.latencies_us).expect("the histogram grows");
        if *reported < self.workers {
            return None;
        }
        let (_, merged) = self.open.remove(&sample.index)?;
        let interval = Interval::of(&merged);
        if counts {
            self.put(sample.index, interval);
        }
        Some(interval)
    }

    /// The workers have ended, and not all in the same interval.
    pub fn finish(&mut self) {
        for (index, (_, merged)) in std::mem::take(&mut self.open) {
            if index >= 0 {
                self.put(index, Interval::of(&merged));
            }
        }
    }

    fn put(&mut self, index: i64, interval: Interval) {
        let index = usize::try_from(index).expect("not of the warm-up");
        if self.course.len() <= index {
            self.course.resize(index + 1, Interval::of(&histogram()));
        }
        self.course[index] = interval;
    }
}

impl Interval {
    fn of(latencies_us: &Histogram<u64>) -> Interval {
        Interval {
            replies: latencies_us.len(),
            mean_us: latencies_us.mean(),
            p50_us: latencies_us.value_at_quantile(0.5),
            p99_us: latencies_us.value_at_quantile(0.99),
            max_us: latencies_us.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_complete_when_all_workers_have_told() {
        let mut record = Record::new(2);
        let sample = |index, latency_us, count| {
            let mut latencies_us = histogram();
            latencies_us.record_n(latency_us, count).expect("in range");
            Sample { index, cut_off: false, latencies_us, errors: 0 }
        };
        assert_eq!(record.add(sample(-1, 7, 5)), None);
        assert!(record.add(sample(-1, 7, 5)).is_some(), "the warm-up is shown");
        assert_eq!(record.add(sample(1, 10, 3)), None);
        assert_eq!(record.add(sample(1, 30, 1)).map(|interval| interval.replies), Some(4));
        assert_eq!(record.add(sample(2, 10, 3)), None);
        record.finish();
        let replies: Vec<u64> = record.course.iter().map(|interval| interval.replies).collect();
        assert_eq!(replies, [0, 4, 3]);
        assert_eq!(record.latencies_us.len(), 7, "without the warm-up");
        assert_eq!(record.latencies_us.max(), 30);
    }
}

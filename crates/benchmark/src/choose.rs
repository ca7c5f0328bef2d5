//! What changes from request to request: keys, data, records.
//!
//! Each worker has a [`Chooser`] of its own; what several workers must share (the counters of `--sequential`, the place in the
//! data set) is behind an `Arc`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::distr::weighted::WeightedIndex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, LogNormal, Zipf};

/// Placeholders that are one number within a command: `__rand_1st__` to `__rand_9th__`.
pub const SAME_PLACEHOLDERS: usize = 9;

/// How the numbers below the size of the key space (`-r`) are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyOrder {
    Uniform,
    /// One after the other, over all workers together.
    Sequential,
    /// Number k comes with a probability proportional to 1 / (k + 1) ^ exponent.
    Zipf(f64),
}

/// Sizes of values in bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Sizes {
    Fixed(usize),
    /// Both ends included.
    Uniform(usize, usize),
    /// Size and weight.
    Weighted(Vec<(usize, f64)>),
    /// Median, and sigma of the logarithm; never more than [`Sizes::max`].
    LogNormal(usize, f64),
}

/// No value is larger: as Redis's `proto-max-bulk-len` has it, and halved.
pub const VALUE_BYTES_MAX: usize = 256 << 20;

impl Sizes {
    /// `3`, `10-1000`, `64:9,4096:1` or `lognormal:300:1.2`.
    pub fn parse(text: &str) -> Option<Sizes> {
        let size = |text: &str| text.parse::<usize>().ok().filter(|&bytes| bytes <= VALUE_BYTES_MAX);
        if let Some(rest) = text.strip_prefix("lognormal:") {
            let (median, sigma) = rest.split_once(':')?;
            let sigma = sigma.parse::<f64>().ok().filter(|sigma| (0.0..=10.0).contains(sigma))?;
            return Some(Sizes::LogNormal(size(median).filter(|&median| median > 0)?, sigma));
        }
        if text.contains(':') {
            let weighted = text
                .split(',')
                .map(|pair| {
                    let (bytes, weight) = pair.split_once(':')?;
                    let weight = weight.parse::<f64>().ok().filter(|weight| weight.is_finite() && *weight > 0.0)?;
                    Some((size(bytes)?, weight))
                })
                .collect::<Option<Vec<_>>>()?;
            return Some(Sizes::Weighted(weighted));
        }
        if let Some((low, high)) = text.split_once('-') {
            let (low, high) = (size(low)?, size(high)?);
            return (low <= high).then_some(Sizes::Uniform(low, high));
        }
        size(text).map(Sizes::Fixed)
    }

    /// No size drawn is larger.
    pub fn max(&self) -> usize {
        match self {
            Sizes::Fixed(bytes) | Sizes::Uniform(_, bytes) => *bytes,
            Sizes::Weighted(sizes) => sizes.iter().map(|&(bytes, _)| bytes).max().unwrap_or(0),
            // Beyond four sigma lies one value in thirty thousand.
            Sizes::LogNormal(median, sigma) => ((*median as f64 * (4.0 * sigma).exp()) as usize).min(VALUE_BYTES_MAX),
        }
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Sizes::Fixed(bytes) => write!(f, "{bytes}"),
            Sizes::Uniform(low, high) => write!(f, "{low}-{high}"),
            Sizes::LogNormal(median, sigma) => write!(f, "lognormal:{median}:{sigma}"),
            Sizes::Weighted(sizes) => {
                let pairs: Vec<String> = sizes.iter().map(|(bytes, weight)| format!("{bytes}:{weight}")).collect();
                f.write_str(&pairs.join(","))
            }
        }
    }
}

enum SizeDraw {
    Fixed(usize),
    Uniform(usize, usize),
    Weighted(WeightedIndex<f64>, Vec<usize>),
    LogNormal(LogNormal<f64>, usize),
}

/// Bytes that look like what redis-benchmark sends: the same 64 characters in the same order, so that they compress alike.
pub fn payload(bytes: usize) -> Vec<u8> {
    let mut state: u32 = 1234;
    (0..bytes)
        .map(|_| {
            // The sample generator of the C standard, whose upper bits are the useful ones.
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            b'0' + ((state >> 16) & 63) as u8
        })
        .collect()
}

/// Counters of a test that all its workers share.
#[derive(Debug, Default)]
pub struct Counters {
    /// For `--sequential`: `__rand_int__`, then `__rand_1st__` and so on.
    sequence: [AtomicU64; 1 + SAME_PLACEHOLDERS],
    record: AtomicU64,
}

/// What a chooser is made from.
#[derive(Clone)]
pub struct Choices {
    /// How many numbers there are; without it the placeholders stay as they are.
    pub keyspace: Option<u64>,
    pub order: KeyOrder,
    pub sizes: Sizes,
    pub records: usize,
    pub counters: Arc<Counters>,
    pub payload: Arc<Vec<u8>>,
}

/// Draws for one worker.
pub struct Chooser {
    random: SmallRng,
    keyspace: u64,
    order: KeyOrder,
    zipf: Option<Zipf<f64>>,
    sizes: SizeDraw,
    records: u64,
    counters: Arc<Counters>,
    payload: Arc<Vec<u8>>,
    same: [Option<u64>; SAME_PLACEHOLDERS],
}

impl Chooser {
    pub fn new(choices: &Choices, seed: u64) -> Chooser {
        let keyspace = choices.keyspace.unwrap_or(1).max(1);
        let zipf = match choices.order {
            KeyOrder::Zipf(exponent) => Some(Zipf::new(keyspace as f64, exponent).expect("checked with the options")),
            KeyOrder::Uniform | KeyOrder::Sequential => None,
        };
        let sizes = match &choices.sizes {
            Sizes::Fixed(bytes) => SizeDraw::Fixed(*bytes),
            Sizes::Uniform(low, high) => SizeDraw::Uniform(*low, *high),
            Sizes::Weighted(sizes) => SizeDraw::Weighted(
                WeightedIndex::new(sizes.iter().map(|&(_, weight)| weight)).expect("weights are positive"),
                sizes.iter().map(|&(bytes, _)| bytes).collect(),
            ),
            Sizes::LogNormal(median, sigma) => {
                let draw = LogNormal::new((*median as f64).ln(), *sigma).expect("sigma is finite and not negative");
                SizeDraw::LogNormal(draw, choices.sizes.max())
            }
        };
        Chooser {
            random: SmallRng::seed_from_u64(seed),
            keyspace,
            order: choices.order,
            zipf,
            sizes,
            records: choices.records.max(1) as u64,
            counters: choices.counters.clone(),
            payload: choices.payload.clone(),
            same: [None; SAME_PLACEHOLDERS],
        }
    }

    /// A new command begins: its `__rand_1st__` is another number.
    pub fn next_command(&mut self) {
        self.same = [None; SAME_PLACEHOLDERS];
    }

    pub fn number(&mut self) -> u64 {
        self.draw(0)
    }

    pub fn same_number(&mut self, placeholder: usize) -> u64 {
        if let Some(number) = self.same[placeholder] {
            return number;
        }
        let number = self.draw(1 + placeholder);
        self.same[placeholder] = Some(number);
        number
    }

    fn draw(&mut self, counter: usize) -> u64 {
        match (self.order, &self.zipf) {
            (KeyOrder::Sequential, _) => {
                self.counters.sequence[counter].fetch_add(1, Ordering::Relaxed) % self.keyspace
            }
            (_, Some(zipf)) => (zipf.sample(&mut self.random) as u64).clamp(1, self.keyspace) - 1,
            _ => self.random.random_range(0..self.keyspace),
        }
    }

    /// The number of the data set's next record.
    pub fn record(&mut self) -> usize {
        (self.counters.record.fetch_add(1, Ordering::Relaxed) % self.records) as usize
    }

    pub fn value_size(&mut self) -> usize {
        match &self.sizes {
            SizeDraw::Fixed(bytes) => *bytes,
            SizeDraw::Uniform(low, high) => self.random.random_range(*low..=*high),
            SizeDraw::Weighted(weights, sizes) => sizes[weights.sample(&mut self.random)],
            SizeDraw::LogNormal(draw, max) => (draw.sample(&mut self.random) as usize).min(*max),
        }
    }

    /// That many bytes of data.
    pub fn value(&self, bytes: usize) -> &[u8] {
        &self.payload[..bytes]
    }

    /// Index of one of several things, by cumulated weights.
    pub fn weighted(&mut self, cumulated: &[u64]) -> usize {
        let total = *cumulated.last().expect("at least one");
        let drawn = self.random.random_range(0..total);
        cumulated.partition_point(|&bound| bound <= drawn)
    }

    /// One of so many things, each as likely.
    pub fn index(&mut self, length: usize) -> usize {
        self.random.random_range(0..length)
    }

    /// Exponentially distributed with mean 1: gaps between arrivals that know nothing of each other.
    pub fn gap(&mut self) -> f64 {
        rand_distr::Exp1.sample(&mut self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(order: KeyOrder, sizes: Sizes) -> Choices {
        let payload = Arc::new(payload(sizes.max()));
        Choices { keyspace: Some(1000), order, sizes, records: 0, counters: Arc::default(), payload }
    }

    #[test]
    fn the_payload_is_the_one_that_redis_benchmark_sends() {
        // Read off a server that redis-benchmark 7.0 had written to.
        assert_eq!(payload(24), b"VXKeHogKgJ=[5V9_X^b?48OK");
    }

    #[test]
    fn zipf_prefers_low_numbers_by_its_exponent() {
        let seed = testkit::seed();
        let mut chooser = Chooser::new(&choices(KeyOrder::Zipf(1.0), Sizes::Fixed(3)), seed);
        let mut counts = [0u32; 1000];
        for _ in 0..200_000 {
            counts[chooser.number() as usize] += 1;
        }
        // The harmonic number of 1000 is 7.485: number 0 has one draw in that many, number 9 a tenth of it.
        let expected = 200_000.0 / 7.485;
        assert!((f64::from(counts[0]) / expected - 1.0).abs() < 0.1, "seed {seed}: {}", counts[0]);
        assert!((f64::from(counts[9]) / expected - 0.1).abs() < 0.02, "seed {seed}: {}", counts[9]);
    }

    #[test]
    fn sequences_are_shared_and_each_placeholder_has_its_own() {
        let choices = choices(KeyOrder::Sequential, Sizes::Fixed(3));
        let (mut one, mut two) = (Chooser::new(&choices, 1), Chooser::new(&choices, 2));
        assert_eq!((one.number(), two.number(), one.number()), (0, 1, 2));
        assert_eq!((one.same_number(0), one.same_number(0)), (0, 0));
        one.next_command();
        assert_eq!((one.same_number(0), two.same_number(1)), (1, 0));
    }

    #[test]
    fn sizes_stay_within_what_they_say() {
        let seed = testkit::seed();
        for text in ["3", "10-20", "64:9,4096:1", "lognormal:300:1.2"] {
            let sizes = Sizes::parse(text).expect("valid");
            assert_eq!(sizes.to_string(), text);
            let mut chooser = Chooser::new(&choices(KeyOrder::Uniform, sizes.clone()), seed);
            let drawn: Vec<usize> = (0..10_000).map(|_| chooser.value_size()).collect();
            assert!(drawn.iter().all(|&bytes| bytes <= sizes.max()), "seed {seed}: {text}");
            if let Sizes::Weighted(_) = sizes {
                let small = drawn.iter().filter(|&&bytes| bytes == 64).count();
                assert!((8_700..9_300).contains(&small), "seed {seed}: {small}");
            }
        }
        for text in ["", "x", "5-1", "64:0", "lognormal:0:1", "lognormal:9:-1", "99999999999"] {
            assert_eq!(Sizes::parse(text), None, "{text}");
        }
    }
}

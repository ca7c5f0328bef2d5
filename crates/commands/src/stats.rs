//! Counters. Each thread writes its own and anybody may read them: no locked instruction on the hot path, and INFO adds
//! them up without asking anyone.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicI64, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use keyspace::Expired;
use parking_lot::Mutex;

/// A counter with one writer and any number of readers.
///
/// It only ever grows. Its owner may count outside the gate, so that a zero written by another thread could be lost between the owner's load
/// and store; a reset therefore notes where the counter stood.
#[derive(Default)]
pub struct Counter {
    total: AtomicU64,
    /// What `total` was at the last reset.
    base: AtomicU64,
}

impl Counter {
    /// Only the owning thread may call this: it is a load and a store, not one atomic step.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.total.store(self.total.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// What was counted since the last reset.
    #[inline]
    pub fn get(&self) -> u64 {
        // In this order: a total read behind a base is no less than it.
        let base = self.base.load(Acquire);
        self.total.load(Relaxed).wrapping_sub(base)
    }

    /// What was ever counted.
    #[inline]
    pub fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// On any thread.
    pub fn reset(&self) {
        self.base.store(self.total.load(Relaxed), Release);
    }
}

/// What one thread has counted.
#[repr(align(128))]
pub struct ThreadStats {
    pub commands: Counter,
    pub keyspace_hits: Counter,
    pub keyspace_misses: Counter,
    pub expired_keys: Counter,
    /// Fields of hashes.
    pub expired_fields: Counter,
    pub reads: Counter,
    pub writes: Counter,
    pub net_input_bytes: Counter,
    pub net_output_bytes: Counter,
    pub connections: Counter,
    pub error_replies: Counter,
    pub unexpected_error_replies: Counter,
    pub evicted_keys: Counter,
    pub evicted_clients: Counter,
    pub output_limit_disconnections: Counter,
    pub query_limit_disconnections: Counter,
    pub acl_denied_auth: Counter,
    /// Certificates of TLS clients that name nobody.
    pub acl_denied_certificate: Counter,
    pub acl_denied_command: Counter,
    pub acl_denied_key: Counter,
    pub acl_denied_channel: Counter,
    pub acl_denied_database: Counter,
    pub expire_cycle_ns: Counter,
    /// Batches of commands whose keys were asked for ahead, and those keys.
    pub prefetch_batches: Counter,
    pub prefetch_keys: Counter,
    /// Turns of the event loop, and the time between waking and waiting again.
    pub loop_cycles: Counter,
    pub loop_ns: Counter,
    /// Changes since the last snapshot, as `rdb_changes_since_last_save` counts them.
    pub dirty: Counter,
    /// Connections that belong to this thread now; written by the accepting thread too.
    pub clients: AtomicI64,
    /// By command id.
    pub by_command: Box<[CommandStats]>,
    /// Error replies by code (`ERR`, `WRONGTYPE`, …).
    pub errors: Mutex<BTreeMap<String, u64>>,
}

impl ThreadStats {
    /// Counters for a registry of `commands` commands.
    pub fn new(commands: usize) -> ThreadStats {
        ThreadStats {
            commands: Counter::default(),
            keyspace_hits: Counter::default(),
            keyspace_misses: Counter::default(),
            expired_keys: Counter::default(),
            expired_fields: Counter::default(),
            reads: Counter::default(),
            writes: Counter::default(),
            net_input_bytes: Counter::default(),
            net_output_bytes: Counter::default(),
            connections: Counter::default(),
            error_replies: Counter::default(),
            unexpected_error_replies: Counter::default(),
            evicted_keys: Counter::default(),
            evicted_clients: Counter::default(),
            output_limit_disconnections: Counter::default(),
            query_limit_disconnections: Counter::default(),
            acl_denied_auth: Counter::default(),
            acl_denied_certificate: Counter::default(),
            acl_denied_command: Counter::default(),
            acl_denied_key: Counter::default(),
            acl_denied_channel: Counter::default(),
            acl_denied_database: Counter::default(),
            expire_cycle_ns: Counter::default(),
            prefetch_batches: Counter::default(),
            prefetch_keys: Counter::default(),
            loop_cycles: Counter::default(),
            loop_ns: Counter::default(),
            dirty: Counter::default(),
            clients: AtomicI64::new(0),
            by_command: (0..commands).map(|_| CommandStats::default()).collect(),
            errors: Mutex::default(),
        }
    }

    /// Counts what has gone because its time had come.
    pub fn expired(&self, expired: &Expired<'_>) {
        match expired {
            Expired::Key(_) => self.expired_keys.add(1),
            Expired::Field { .. } => self.expired_fields.add(1),
            Expired::Fields { .. } | Expired::Hash { .. } => {}
        }
    }

    /// Counts an error reply under its code.
    pub fn count_error(&self, text: &[u8]) {
        self.error_replies.add(1);
        let code = text.split(|&byte| byte == b' ').next().unwrap_or(b"ERR");
        let code = String::from_utf8_lossy(code);
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(code.as_ref()) {
            *count += 1;
        } else if errors.len() < 128 {
            // Redis bounds the number of distinct codes too, so that replies with made-up codes cannot grow memory.
            errors.insert(code.into_owned(), 1);
        }
    }

    /// CONFIG RESETSTAT. The caller is alone in the world: what commands count is counted behind the gate, the rest may go on meanwhile.
    pub fn reset(&self) {
        for counter in [
            &self.commands,
            &self.keyspace_hits,
            &self.keyspace_misses,
            &self.expired_keys,
            &self.expired_fields,
            &self.reads,
            &self.writes,
            &self.net_input_bytes,
            &self.net_output_bytes,
            &self.connections,
            &self.error_replies,
            &self.unexpected_error_replies,
            &self.evicted_keys,
            &self.evicted_clients,
            &self.output_limit_disconnections,
            &self.query_limit_disconnections,
            &self.acl_denied_auth,
            &self.acl_denied_certificate,
            &self.acl_denied_command,
            &self.acl_denied_key,
            &self.acl_denied_channel,
            &self.acl_denied_database,
            &self.expire_cycle_ns,
            &self.prefetch_batches,
            &self.prefetch_keys,
            &self.loop_cycles,
            &self.loop_ns,
        ] {
            counter.reset();
        }
        for command in &self.by_command {
            command.reset();
        }
        self.errors.lock().clear();
    }
}

/// What one thread has counted of one command.
#[derive(Default)]
pub struct CommandStats {
    pub calls: Counter,
    pub ns: Counter,
    /// Refused before they ran (arity, authentication, OOM …).
    pub rejected: Counter,
    /// Replied with an error from the handler.
    pub failed: Counter,
    latency: OnceLock<Box<LatencyBuckets>>,
}

impl CommandStats {
    /// Counts one execution. `latency` adds it to the distribution too.
    #[inline]
    pub fn record(&self, ns: u64, failed: bool, latency: bool) {
        self.calls.add(1);
        self.ns.add(ns);
        if failed {
            self.failed.add(1);
        }
        if latency {
            self.latency.get_or_init(Default::default).record(ns);
        }
    }

    /// The distribution, if anything was recorded.
    pub fn latency(&self) -> Option<&LatencyBuckets> {
        self.latency.get().map(|buckets| &**buckets)
    }

    fn reset(&self) {
        [&self.calls, &self.ns, &self.rejected, &self.failed].into_iter().for_each(Counter::reset);
        if let Some(latency) = self.latency.get() {
            latency.counts.iter().for_each(|count| count.store(0, Relaxed));
        }
    }
}

/// Eight steps an octave: a value is known to within 12.5 %.
const STEP_BITS: u32 = 3;
/// Up to 2^34 ns, 17 seconds; slower commands count into the last bucket.
const OCTAVES: u32 = 34;
const BUCKETS: usize = (OCTAVES << STEP_BITS) as usize;

/// A log-linear histogram of nanoseconds with one writer and any number of readers.
pub struct LatencyBuckets {
    /// Plain numbers, for there are many: they are written behind the gate only, where a reset is alone.
    counts: [AtomicU64; BUCKETS],
}

impl Default for LatencyBuckets {
    fn default() -> LatencyBuckets {
        LatencyBuckets { counts: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl LatencyBuckets {
    #[inline]
    fn index(ns: u64) -> usize {
        if ns < 1 << STEP_BITS {
            return ns as usize;
        }
        let octave = 63 - ns.leading_zeros();
        let step = (ns >> (octave - STEP_BITS)) & ((1 << STEP_BITS) - 1);
        ((((octave - STEP_BITS + 1) as usize) << STEP_BITS) + step as usize).min(BUCKETS - 1)
    }

    /// The largest nanoseconds that count into this bucket.
    fn upper_ns(index: usize) -> u64 {
        if index < 1 << STEP_BITS {
            return index as u64;
        }
        let octave = (index >> STEP_BITS) as u32 + STEP_BITS - 1;
        let step = (index & ((1 << STEP_BITS) - 1)) as u64;
        (1 << octave) + ((step + 1) << (octave - STEP_BITS)) - 1
    }

    #[inline]
    fn record(&self, ns: u64) {
        let count = &self.counts[Self::index(ns)];
        count.store(count.load(Relaxed) + 1, Relaxed);
    }

    /// Adds these counts to `sums`, which [`percentiles_ns`] reads. All threads' histograms add up that way.
    pub fn add_to(&self, sums: &mut Vec<u64>) {
        sums.resize(BUCKETS, 0);
        for (sum, count) in sums.iter_mut().zip(&self.counts) {
            *sum += count.load(Relaxed);
        }
    }
}

/// The nanoseconds below which each of these percentages of the counted values lie.
pub fn percentiles_ns(sums: &[u64], percentages: &[f64]) -> Vec<u64> {
    let total: u64 = sums.iter().sum();
    percentages
        .iter()
        .map(|percentage| {
            let wanted = ((percentage / 100.0 * total as f64).ceil() as u64).clamp(1, total.max(1));
            let mut seen = 0;
            for (index, count) in sums.iter().enumerate() {
                seen += count;
                if seen >= wanted {
                    return LatencyBuckets::upper_ns(index);
                }
            }
            0
        })
        .collect()
}

/// For 1, 2, 4 … microseconds how many of the counted values are no longer than that, where it is more than for half of it.
///
/// The numbers of microseconds are those of Redis, whose histogram knows a value to within 1/128: 1, 2, 4, 8, 16, 33, 66, 132 …
pub fn cumulative_us(sums: &[u64]) -> Vec<(u64, u64)> {
    const FIRST_OCTAVE: u32 = 10;
    let mut cumulative = Vec::new();
    let (mut seen, mut shown) = (0, 0);
    for octave in FIRST_OCTAVE..=OCTAVES {
        let end_ns = 1u64 << octave;
        let from = if octave == FIRST_OCTAVE { 0 } else { LatencyBuckets::index(end_ns / 2) };
        let to = if octave == OCTAVES { BUCKETS } else { LatencyBuckets::index(end_ns) };
        seen += sums.get(from..to).unwrap_or_default().iter().sum::<u64>();
        if seen > shown {
            cumulative.push(((end_ns + end_ns / 128 - 1) / 1000, seen));
            shown = seen;
        }
    }
    cumulative
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_forgets_and_loses_nothing_after() {
        let stats = ThreadStats::new(1);
        stats.reads.add(3);
        stats.by_command[0].record(5, true, true);
        stats.count_error(b"ERR no");
        stats.reset();
        let command = &stats.by_command[0];
        assert_eq!([&stats.reads, &stats.error_replies, &command.calls, &command.failed].map(Counter::get), [0; 4]);
        stats.reads.add(2);
        assert_eq!(stats.reads.get(), 2);
        let mut sums = Vec::new();
        command.latency().unwrap().add_to(&mut sums);
        assert_eq!(sums.iter().sum::<u64>(), 0);
    }

    #[test]
    fn a_bucket_holds_its_upper_bound_and_no_more() {
        for index in 0..BUCKETS - 1 {
            let upper = LatencyBuckets::upper_ns(index);
            assert_eq!(LatencyBuckets::index(upper), index);
            assert_eq!(LatencyBuckets::index(upper + 1), index + 1);
        }
        assert_eq!(LatencyBuckets::index(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_within_a_step() {
        let buckets = LatencyBuckets::default();
        (1..=1000u64).for_each(|ns| buckets.record(ns * 1000));
        let mut sums = Vec::new();
        buckets.add_to(&mut sums);
        for (percentage, ns) in [50.0, 99.0, 100.0].iter().zip(percentiles_ns(&sums, &[50.0, 99.0, 100.0])) {
            let exact = percentage * 10_000.0;
            assert!(ns as f64 >= exact && ns as f64 <= exact * 1.125, "p{percentage}: {ns}, exactly {exact}");
        }
    }
}

//! What is kept on disk: snapshots, the append-only file, and the jobs that write and read them.
//!
//! ```text
//! command, save point, growth ──> begin(): the cut, wide ──> job thread: walkers, file, rename ──> end, wide: figures, waiting clients, the next job
//! ```
//!
//! There is one job at a time, on a thread of its own ([`jobs`]); it is begun and ended by whoever is alone in the world. What it does meanwhile
//! is written in [`save`] (a snapshot becomes a file), [`load`] (files become data) and [`aof`] (the journal's writer and its files).

mod aof;
mod capture;
mod commands_form;
mod figures;
mod jobs;
mod load;
mod output;
mod replay;
mod save;
mod shutdown;
mod timed_disk;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use commands::persistence::{Alone, Cancelled, Started, Wish};
use commands::{Error, Global, ThreadStats, blocking};
use config::{Appendfsync, Config, directives};
use journal::aof::RewriteLimit;
use journal::{Destination, Journal};
use parking_lot::Mutex;

use self::aof::Status;
pub use self::figures::Figures;
pub use self::jobs::{BeginSync, start, stop};
use self::jobs::{Jobs, Kind};
pub use self::load::{Incoming, OldData, StreamPlace};
use crate::shared::Shared;

/// More threads than this write or read a file together only in turns.
const HELPERS_MAX: usize = 4;

/// How many threads walk over the keyspace, or fill it, beside the event loops. Each has a gate, so the number stays what it was at the start,
/// whatever cores the process may use later; and finding it out reads files, which nobody should do while others wait.
pub fn helper_count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| cores().clamp(1, HELPERS_MAX))
}

/// How many of them work in the background: event loops keep their cores. One that has to share its core replies milliseconds late, and waits for
/// helpers that hold a shard and have no core either.
pub fn background_helper_count(loops: usize) -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    CORES.get_or_init(cores).saturating_sub(loops).clamp(1, helper_count())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The journal's part that is not on disk yet may grow so far; beyond that, writes wait.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;

/// The state of all that is kept on disk. One per server.
pub struct Persistence {
    pub journal: Arc<Journal>,
    pub figures: Figures,
    /// What the writer of the append-only file says, for the event loops.
    pub status: Arc<Status>,
    jobs: Mutex<Jobs>,
    aof: Mutex<Option<aof::File>>,
    rewrite_limit: Mutex<RewriteLimit>,
    /// More has been captured for a snapshot than may wait in memory.
    holds_writes: Arc<AtomicBool>,
    began: Instant,
    /// A shutdown is under way.
    is_closing: AtomicBool,
    /// The last snapshot has failed, and `stop-writes-on-bgsave-error` says that this stops writes.
    snapshot_refuses: AtomicBool,
}

impl Default for Persistence {
    fn default() -> Persistence {
        Persistence {
            journal: Arc::new(Journal::new(JOURNAL_BYTES_MAX)),
            figures: Figures::default(),
            status: Arc::default(),
            jobs: Mutex::default(),
            aof: Mutex::default(),
            rewrite_limit: Mutex::default(),
            holds_writes: Arc::default(),
            began: Instant::now(),
            is_closing: AtomicBool::new(false),
            snapshot_refuses: AtomicBool::new(false),
        }
    }
}

/// What is under way, for INFO.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobFigures {
    pub saving_seconds: Option<i64>,
    pub rewriting_seconds: Option<i64>,
    pub rewrite_scheduled: bool,
    pub keys_done: u64,
    pub keys_total: u64,
    /// Waiting in memory to be written.
    pub captured_bytes: u64,
    pub captured_bytes_peak: u64,
    pub last_captured_bytes: u64,
}

impl JobFigures {
    pub fn percent_done(&self) -> f64 {
        if self.keys_total == 0 { 0.0 } else { self.keys_done as f64 * 100.0 / self.keys_total as f64 }
    }
}

impl Persistence {
    /// Whether replies are sent only when what they tell of is safe on disk.
    #[inline]
    pub fn holds_replies(&self) -> bool {
        self.status.holds_replies.load(Relaxed)
    }

    /// Whether commands that write should wait before they begin: a disk is behind with the journal, the log for a replica or a snapshot, by more than
    /// may wait in memory.
    #[inline]
    pub fn is_congested(&self) -> bool {
        self.journal.is_congested() || self.holds_writes.load(Relaxed)
    }

    /// Whether the append-only file cannot be written now.
    pub fn is_aof_failing(&self) -> bool {
        self.status.is_failing.load(Relaxed)
    }

    #[inline]
    pub fn journal_tail(&self) -> u64 {
        self.journal.tail(Destination::Aof)
    }

    #[inline]
    pub fn journal_durable(&self) -> u64 {
        // What is in files that nobody would load is not safe.
        if self.status.is_published.load(Relaxed) { self.journal.durable() } else { 0 }
    }

    /// Notes whether the last snapshot is a reason to refuse writes. The caller is alone, or changes what this depends on.
    fn note_failing(&self, config: &Config) {
        let refuses = self.figures.last_save_failed.load(Relaxed)
            && config.get(directives::STOP_WRITES_ON_BGSAVE_ERROR)
            && !config.get(directives::SAVE).is_empty();
        self.snapshot_refuses.store(refuses, Relaxed);
    }

    /// Why nothing may be changed now, if that is so.
    fn refusal(&self) -> Option<Error> {
        if self.is_aof_failing() {
            return Some(Error::string(self.status.failure()));
        }
        self.snapshot_refuses.load(Relaxed).then(|| Error::text(SNAPSHOT_REFUSES))
    }

    /// What is under way.
    pub fn progress(&self) -> JobFigures {
        let jobs = self.jobs.lock();
        let figures = &self.figures;
        let mut progress = JobFigures {
            rewrite_scheduled: jobs.rewrite_scheduled,
            last_captured_bytes: figures.last_captured_bytes.load(Relaxed),
            ..JobFigures::default()
        };
        if let Some(running) = &jobs.running {
            let seconds = running.began.elapsed().as_secs() as i64;
            match running.kind {
                Kind::Rewrite => progress.rewriting_seconds = Some(seconds),
                Kind::BackgroundSave => progress.saving_seconds = Some(seconds),
                _ => {}
            }
            if let Some(collector) = &running.collector {
                progress.keys_total = figures.keys_total.load(Relaxed);
                progress.keys_done = collector.keys();
                progress.captured_bytes = collector.waiting_bytes.load(Relaxed);
                progress.captured_bytes_peak = collector.waiting_bytes_peak.load(Relaxed);
            }
        }
        progress
    }

    /// The figures of the append-only file, if there is one.
    pub fn aof_figures(&self) -> Option<journal::aof::Figures> {
        self.aof.lock().as_ref().map(aof::File::figures)
    }
}

/// As Redis says it, since clients look for it.
const SNAPSHOT_REFUSES: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB \
snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";

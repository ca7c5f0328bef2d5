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
mod figures;
mod jobs;
mod load;
mod output;
mod replay;
mod save;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use commands::persistence::{Alone, Cancelled, Persistence as Commands, Reload, Started};
use commands::{Error, Global, ThreadStats, blocking};
use config::{Appendfsync, directives};
use journal::{Destination, Journal};
use parking_lot::Mutex;

pub use self::figures::Figures;
use self::jobs::{Job, Jobs, Kind};
use crate::shared::Shared;

/// More threads than this write or read a file together only in turns.
const HELPERS_MAX: usize = 4;

/// How many threads walk over the keyspace, or fill it, beside the event loops. Each has a gate.
pub fn helper_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).clamp(1, HELPERS_MAX)
}

/// The journal's part that is not on disk yet may grow so far; beyond that, writes wait.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;

/// The state of all that is kept on disk. One per server.
pub struct Persistence {
    pub journal: Arc<Journal>,
    pub figures: Figures,
    jobs: Mutex<Jobs>,
    aof: Mutex<Option<aof::File>>,
    /// Replies wait until the journal is durable (`appendfsync always`).
    holds_replies: AtomicBool,
    /// The last snapshot failed, or the append-only file cannot be written: see [`Commands::refusal`].
    snapshot_failed: AtomicBool,
    aof_failing: AtomicBool,
    is_failing: AtomicBool,
    /// The first offset that somebody waits for (WAITAOF) to be durable.
    wanted_durable: AtomicU64,
}

impl Default for Persistence {
    fn default() -> Persistence {
        Persistence {
            journal: Arc::new(Journal::new(JOURNAL_BYTES_MAX)),
            figures: Figures::default(),
            jobs: Mutex::default(),
            aof: Mutex::default(),
            holds_replies: AtomicBool::new(false),
            snapshot_failed: AtomicBool::new(false),
            aof_failing: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
            wanted_durable: AtomicU64::new(u64::MAX),
        }
    }
}

impl Persistence {
    /// Whether replies are sent only when what they tell of is safe on disk.
    #[inline]
    pub fn holds_replies(&self) -> bool {
        self.holds_replies.load(Relaxed)
    }

    #[inline]
    pub fn journal_tail(&self) -> u64 {
        self.journal.tail(Destination::Aof)
    }

    #[inline]
    pub fn journal_durable(&self) -> u64 {
        self.journal.durable()
    }

    fn note_failing(&self) {
        self.is_failing.store(self.snapshot_failed.load(Relaxed) || self.aof_failing.load(Relaxed), Relaxed);
    }
}

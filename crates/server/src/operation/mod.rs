//! Running as a good citizen of the system: log, process, signals, crash reports, checks of the machine, memory, INFO.
//!
//! Each module is a small library of its own; none knows an event loop, a socket or the gate. `server::run` calls them in
//! the order of a start:
//!
//! 1. [`process::ProcessTitle::claim`], first of all, while there is one thread and nobody holds the arguments;
//! 2. the configuration is read; [`log::LogSettings::check`], [`process::enter_directory`];
//! 3. [`process::Supervisor::detect`] and, unless supervised, [`process::daemonize`]: no thread lives before this point;
//! 4. [`log::Log::configure`], [`crash::install`], [`signals::listen`], [`memory::start_purging`];
//! 5. [`checks::at_start`], [`process::raise_open_files`], [`process::PidFile::create`], the listeners;
//! 6. [`process::Supervisor::ready`].

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use commands::ThreadStats;
use commands::replication::Figures;
use keyspace::Millis;

pub mod banner;
pub mod checks;
pub mod clock;
pub mod crash;
pub mod info;
mod key_sizes;
pub mod log;
pub mod memory;
pub mod priority;
pub mod process;
pub mod signals;

pub mod rates;
#[cfg(test)]
mod testing;

/// The log of this process.
pub static LOG: log::Log = log::Log::new();

/// What INFO tells and no thread counts for itself. One per server, shared by all threads.
#[derive(Default)]
pub struct OperationState {
    pub memory: memory::MemoryTracker,
    pub rates: rates::Rates,
    /// Set once at the start.
    pub supervisor: OnceLock<process::Supervisor>,
    /// Keys and values on their way to the thread that frees them, and those it has freed.
    lazyfree_pending: AtomicU64,
    lazyfreed: AtomicU64,
    /// Since when the compaction of memory walks, 0 while it does not, and for how long it has walked before.
    compacting_since: AtomicI64,
    compacted_ms: AtomicU64,
}

impl OperationState {
    /// For the cron, ten times a second.
    pub fn sample(&self, now: Millis, stats: &[Arc<ThreadStats>], replication: &Figures) {
        self.memory.sample(now);
        self.rates.sample(now, stats, replication);
    }

    /// CONFIG RESETSTAT: peaks start from what is, rates from nothing.
    pub fn reset(&self) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.memory.reset_peak(Millis(since.as_millis() as i64));
        self.rates.reset();
        self.lazyfreed.store(0, Relaxed);
        self.compacted_ms.store(0, Relaxed);
        keyspace::slab::reset_compaction_figures();
    }

    /// So many keys were handed to the thread that frees.
    pub fn note_free_later(&self, objects: u64) {
        self.lazyfree_pending.fetch_add(objects, Relaxed);
    }

    /// The compaction of memory begins or ends a walk. One event loop walks.
    pub fn note_compaction(&self, now: Millis, walks: bool) {
        let since = self.compacting_since.swap(if walks { now.0.max(1) } else { 0 }, Relaxed);
        if since != 0 {
            self.compacted_ms.fetch_add((now.0 - since).max(0) as u64, Relaxed);
        }
    }

    /// For how long it has walked, in this walk and all in all, in milliseconds. `None` in the place of the first: it does not walk.
    pub fn compacting_ms(&self, now: Millis) -> (Option<u64>, u64) {
        let since = self.compacting_since.load(Relaxed);
        let current = (since != 0).then(|| (now.0 - since).max(0) as u64);
        (current, self.compacted_ms.load(Relaxed) + current.unwrap_or(0))
    }

    /// It has freed them.
    pub fn note_freed(&self, objects: u64) {
        self.lazyfree_pending.fetch_sub(objects, Relaxed);
        self.lazyfreed.fetch_add(objects, Relaxed);
    }
}

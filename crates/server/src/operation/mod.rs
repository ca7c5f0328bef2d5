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

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use commands::ThreadStats;
use commands::replication::Figures;
use keyspace::Millis;

pub mod banner;
pub mod checks;
pub mod crash;
pub mod info;
mod key_sizes;
pub mod log;
pub mod memory;
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
    }

    /// So many keys were handed to the thread that frees.
    pub fn note_free_later(&self, objects: u64) {
        self.lazyfree_pending.fetch_add(objects, Relaxed);
    }

    /// It has freed them.
    pub fn note_freed(&self, objects: u64) {
        self.lazyfree_pending.fetch_sub(objects, Relaxed);
        self.lazyfreed.fetch_add(objects, Relaxed);
    }
}

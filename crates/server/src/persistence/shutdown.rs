//! The end: SHUTDOWN, SIGTERM and SIGINT.
//!
//! ```text
//!            a replica lags                      all have everything, or their time is over
//!   asked ───────────────────> waits, writes too ─────────────────────────────────┐
//!     │                          └── ABORT: the server goes on                    v
//!     └── none lags, or NOW ────────────────────────────────────────────────> last save ──> the end
//!                                                                                 └── it fails, and no FORCE: the server goes on
//! ```
//!
//! *What if it is asked for again meanwhile?* As in Redis, who asks waits with the first, whose options stay: NOW does not hurry a shutdown that
//! waits. ABORT and SHUTDOWN NOW do.
//!
//! *What of a slow script?* Replicas cannot have what it has not finished, so they are not waited for.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use commands::global::{Pause, PauseReason};
use commands::persistence::Alone;
use commands::replication::Replication;
use commands::{Error, Global, Shutdown, ShutdownOptions, World, blocking};
use config::directives;
use journal::Destination;
use replication::ReplicaReport;

use super::jobs::{Jobs, Kind};
use super::{Persistence, aof};
use crate::operation::{LOG, signals};
use crate::shared::Shared;

/// A shutdown that was asked for.
pub struct Closing {
    options: ShutdownOptions,
    /// Who has asked for it. They hear only of its failure.
    clients: Vec<u64>,
    /// Until when replicas are waited for; `None` when that is behind it.
    patience: Option<Instant>,
}

impl Persistence {
    /// How long a shutdown still waits for replicas, where it does.
    pub fn shutdown_patience(&self) -> Option<Duration> {
        let jobs = self.jobs.lock();
        let until = jobs.closing.as_ref()?.patience?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    fn is_closing(&self) -> bool {
        self.is_closing.load(Relaxed)
    }

    fn set_closing(&self, jobs: &mut Jobs, closing: Option<Closing>) -> Option<Closing> {
        self.is_closing.store(closing.is_some(), Relaxed);
        std::mem::replace(&mut jobs.closing, closing)
    }
}

fn failed() -> Error {
    Error::text("ERR Errors trying to SHUTDOWN. Check logs.")
}

impl Shared {
    /// SHUTDOWN, or a signal.
    pub fn begin_shutdown(
        &self,
        mut alone: Alone<'_, '_>,
        client_id: Option<u64>,
        options: ShutdownOptions,
    ) -> Result<Shutdown, Error> {
        if options.abort {
            return self.abort_shutdown(alone.global);
        }
        if self.is_ending() {
            return Ok(Shutdown::Now);
        }
        let mut jobs = self.persistence.jobs.lock();
        if let Some(closing) = &mut jobs.closing {
            closing.clients.extend(client_id);
            return Ok(Shutdown::AfterSaving);
        }
        LOG.warning("User requested shutdown...");
        let global = &mut *alone.global;
        let timeout = Duration::from_secs(global.config.get(directives::SHUTDOWN_TIMEOUT).unsigned_abs());
        let may_wait = !options.now && !timeout.is_zero() && !global.loading && global.scripts.running.is_none();
        let waits = may_wait && self.replicas_in_sync().lagging().next().is_some();
        let patience = waits.then(|| Instant::now() + timeout);
        self.persistence.set_closing(&mut jobs, Some(Closing { options, clients: Vec::new(), patience }));
        if waits {
            LOG.notice("Waiting for replicas before shutting down.");
            global.pauses.set(PauseReason::Shutdown, Some(Pause::endless(true)));
            self.want_acknowledged();
        } else {
            match self.end_by_saving(&mut alone, &mut jobs) {
                Ok(Shutdown::AfterSaving) => {}
                Ok(other) => return Ok(other),
                Err(error) => {
                    self.forget_shutdown(alone.global, &mut jobs);
                    return Err(error);
                }
            }
        }
        if let Some(closing) = &mut jobs.closing {
            closing.clients.extend(client_id);
        }
        Ok(Shutdown::AfterSaving)
    }

    /// Goes on with a shutdown that waits, when replicas have everything or have had their time. Ten times a second, and when one of them has
    /// acknowledged something.
    pub(crate) fn check_shutdown(&self) {
        if !self.persistence.is_closing() || self.is_ending() {
            return;
        }
        let Some(mut world) = self.gates.wide_unless_lent() else {
            return;
        };
        let World { global, keyspace } = &mut *world;
        let mut jobs = self.persistence.jobs.lock();
        let Some(until) = jobs.closing.as_ref().and_then(|closing| closing.patience) else {
            return;
        };
        if until > Instant::now() && self.replicas_in_sync().lagging().next().is_some() {
            return;
        }
        // SAFETY: all gates are closed, and no other Space exists.
        let mut space = unsafe { keyspace.wide() };
        if self.end_by_saving(&mut Alone { global, space: &mut space }, &mut jobs).is_err() {
            self.give_up_shutdown(global, &mut jobs);
        }
    }

    /// Nothing is waited for any more: the last save, where one is wanted, and then the end.
    fn end_by_saving(&self, alone: &mut Alone<'_, '_>, jobs: &mut Jobs) -> Result<Shutdown, Error> {
        let closing = jobs.closing.as_mut().expect("somebody has asked for it");
        closing.patience = None;
        let options = closing.options;
        self.replicas_in_sync().tell();
        if !options.force && self.persistence.aof.lock().as_ref().is_some_and(aof::File::is_without_base) {
            LOG.warning("The append-only file that was switched on is still without its base. Can't exit.");
            return Err(failed());
        }
        if let Some(running) = &jobs.running {
            // What it saves will not be needed, or is saved again.
            running.cancel();
        }
        let saves = options.save.unwrap_or(!alone.global.config.get(directives::SAVE).is_empty());
        // What has not been loaded must not take the place of what is on disk.
        if !saves || alone.global.loading {
            // What follows would be in no file, and must not be answered.
            alone.global.pauses.set(PauseReason::Job, Some(Pause::endless(false)));
            self.flush_journal_at_end();
            self.end();
            return Ok(Shutdown::Now);
        }
        jobs.save_scheduled = false;
        jobs.rewrite_scheduled = false;
        let kind = Kind::Shutdown { force: options.force };
        if jobs.running.is_some() {
            jobs.waiting.push_front(kind);
        } else {
            self.begin(alone, jobs, kind)?;
        }
        Ok(Shutdown::AfterSaving)
    }

    /// The last save is done.
    pub(super) fn end_after_saving(&self) {
        self.flush_journal_at_end();
        self.end();
    }

    fn abort_shutdown(&self, global: &mut Global) -> Result<Shutdown, Error> {
        let mut jobs = self.persistence.jobs.lock();
        if jobs.closing.as_ref().and_then(|closing| closing.patience).is_none() {
            return Err(Error::text("ERR No shutdown in progress."));
        }
        LOG.notice("Shutdown manually aborted.");
        self.tell_of_failure(global, &mut jobs);
        Ok(Shutdown::Aborted)
    }

    /// It cannot be: the server goes on.
    pub(super) fn give_up_shutdown(&self, global: &mut Global, jobs: &mut Jobs) {
        LOG.warning("Errors trying to shut down the server. Check the logs for more information.");
        self.tell_of_failure(global, jobs);
    }

    fn tell_of_failure(&self, global: &mut Global, jobs: &mut Jobs) {
        for client_id in self.forget_shutdown(global, jobs) {
            blocking::finish(global, self, &self.job_stats, client_id, Err(failed()), false);
        }
        self.wake_all();
    }

    /// The server becomes a replica: who has asked for a shutdown that waits hears no more of it, but for this. The shutdown goes on, as in Redis.
    pub(crate) fn part_from_shutdown(&self, global: &mut Global) {
        let clients = {
            let mut jobs = self.persistence.jobs.lock();
            let waiting = jobs.closing.as_mut().filter(|closing| closing.patience.is_some());
            waiting.map_or_else(Vec::new, |closing| std::mem::take(&mut closing.clients))
        };
        for client_id in clients {
            blocking::finish(global, self, &self.job_stats, client_id, Err(blocking::role_changed()), false);
        }
    }

    /// The clients that have asked for it.
    fn forget_shutdown(&self, global: &mut Global, jobs: &mut Jobs) -> Vec<u64> {
        global.pauses.set(PauseReason::Shutdown, None);
        signals::forget_request();
        self.persistence.set_closing(jobs, None).map_or_else(Vec::new, |closing| closing.clients)
    }

    fn replicas_in_sync(&self) -> InSync {
        let mut replicas = self.replicas();
        // A tool that wants a snapshot and no stream lacks nothing.
        replicas.retain(|replica| !replica.rdb_only);
        let end = self.replication.end_of_writes(self.persistence.journal.tail(Destination::Replicas));
        InSync { replicas, end }
    }
}

/// How far replicas are.
struct InSync {
    replicas: Vec<ReplicaReport>,
    /// Where the last write ends.
    end: u64,
}

impl InSync {
    fn lagging(&self) -> impl Iterator<Item = &ReplicaReport> {
        self.replicas.iter().filter(|replica| replica.offset < self.end)
    }

    /// In the log, in Redis's words.
    fn tell(&self) {
        if self.replicas.is_empty() {
            return;
        }
        for replica in self.lagging() {
            LOG.notice(&format!(
                "Lagging replica {}:{} reported offset {} behind master, lag={}, state={}.",
                replica.host,
                replica.port,
                self.end - replica.offset,
                replica.lag_ms / 1000,
                replica.state.word(),
            ));
        }
        let count = self.replicas.len();
        LOG.notice(&format!("{} of {count} replicas are in sync when shutting down.", count - self.lagging().count()));
    }
}

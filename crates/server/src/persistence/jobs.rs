//! Jobs: one at a time, begun and ended by whoever is alone in the world, done on a thread of their own.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use commands::World;
use commands::global::{Pause, PauseReason};
use commands::persistence::Reload;
use config::directives;

use super::capture::Collector;
use super::save::{self, Cut, Target};
use super::shutdown::Closing;
use super::*;
use crate::operation::{LOG, memory, priority};
use crate::replication::{Content, End, Form, LinkId};
use crate::shared::now;

/// What a job is for. The client, if there is one, waits for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Save(u64),
    /// The empty data set, of which the client with this id will know when it is on disk.
    Flushed(u64),
    BackgroundSave,
    Rewrite,
    Reload(u64, Reload),
    /// For replicas: they get it as it is made (`stream`), or the file when it is whole.
    Sync {
        stream: bool,
    },
    /// The last save before the end, which comes whatever becomes of it (`force`).
    Shutdown {
        force: bool,
    },
}

/// One job, on its way to the thread that does it.
pub struct Job {
    kind: Kind,
    cut: Option<Cut>,
    began: Instant,
    /// Everybody has to wait.
    pauses: bool,
}

/// Whether a snapshot for replicas has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginSync {
    Begun,
    /// Something else is under way; its end is told to the feeder.
    Later,
    Failed,
}

/// What is under way, and what is to come.
#[derive(Default)]
pub struct Jobs {
    pub running: Option<Running>,
    pub save_scheduled: bool,
    pub rewrite_scheduled: bool,
    /// Clients whose SAVE waits for another job's end.
    pub waiting: VecDeque<Kind>,
    /// After a failure the save points wait a little.
    pub last_try: Option<Instant>,
    /// The server is to end.
    pub closing: Option<Closing>,
    sender: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

pub struct Running {
    pub kind: Kind,
    pub began: Instant,
    pub collector: Option<Arc<Collector>>,
}

impl Running {
    /// Nobody wants it any more.
    pub fn cancel(&self) {
        if let Some(collector) = &self.collector {
            collector.cancel();
        }
    }
}

/// After a failed snapshot the save points wait so long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Starts the thread.
///
/// # Errors
/// The system has no thread for it.
pub fn start(shared: &Arc<Shared>) -> anyhow::Result<()> {
    let (sender, receiver) = mpsc::channel::<Job>();
    shared.persistence.jobs.lock().sender = Some(sender);
    let of_thread = shared.clone();
    let thread = std::thread::Builder::new()
        .name("jobs".to_owned())
        .spawn(move || {
            priority::give_way();
            for job in receiver {
                of_thread.run(job);
                memory::count_thread();
            }
        })
        .context("Cannot start a thread")?;
    shared.persistence.jobs.lock().thread = Some(thread);
    Ok(())
}

/// Waits for the end of a job that is under way when the server ends: it removes what it has not finished.
pub fn stop(shared: &Shared) {
    let thread = {
        let mut jobs = shared.persistence.jobs.lock();
        if let Some(running) = &jobs.running {
            running.cancel();
        }
        jobs.sender = None;
        jobs.thread.take()
    };
    if let Some(thread) = thread {
        thread.join().expect("a panic ends the process");
    }
}

impl Jobs {
    /// Whether a snapshot to `dbfilename` is being written.
    fn is_saving(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !matches!(running.kind, Kind::Rewrite))
    }
}

impl Shared {
    /// Begins a job. No other is under way, and the caller is alone.
    pub(super) fn begin(&self, alone: &mut Alone<'_, '_>, jobs: &mut Jobs, kind: Kind) -> Result<(), Error> {
        assert!(jobs.running.is_none(), "there is one job at a time");
        if kind == Kind::Rewrite {
            self.begin_aof_rewrite(alone.global)?;
        }
        let config = &alone.global.config;
        // Where somebody waits for the file, all cores write it.
        let walkers = match kind {
            Kind::BackgroundSave | Kind::Rewrite | Kind::Sync { .. } => background_helper_count(self.loops()),
            _ => helper_count(),
        };
        let target = match kind {
            Kind::Save(_)
            | Kind::Flushed(_)
            | Kind::BackgroundSave
            | Kind::Sync { .. }
            | Kind::Shutdown { .. }
            | Kind::Reload(_, Reload::Snapshot { save: true, .. }) => {
                Some(Target::of(config, save::snapshot_path(config), false, walkers))
            }
            Kind::Rewrite => Some(Target::of(config, self.aof_base_temporary(), true, walkers)),
            Kind::Reload(..) => None,
        };
        let target = target.map(|target| Target {
            replicas: self.transfer().filter(|_| kind == Kind::Sync { stream: true }),
            ..target
        });
        let cut = target.map(|target| save::cut(self, alone, target));
        let pauses = matches!(kind, Kind::Reload(..) | Kind::Shutdown { .. });
        if pauses {
            alone.global.pauses.set(PauseReason::Job, Some(Pause::endless(false)));
        }
        let began = Instant::now();
        self.persistence.status.has_job.store(true, Relaxed);
        jobs.running = Some(Running { kind, began, collector: cut.as_ref().map(|cut| cut.collector.clone()) });
        jobs.last_try = Some(began);
        let job = Job { kind, cut, began, pauses };
        let sender = jobs.sender.as_ref().expect("the thread was started with the server");
        assert!(sender.send(job).is_ok(), "the thread lives as long as the server");
        Ok(())
    }

    /// Does a job, on its thread.
    fn run(&self, mut job: Job) {
        let written = job.cut.as_ref().map(|cut| {
            LOG.notice(match job.kind {
                Kind::Rewrite => "Background append only file rewriting started",
                Kind::Save(_) | Kind::Flushed(_) | Kind::Reload(..) => "Saving started",
                Kind::Shutdown { .. } => "Saving the final RDB snapshot before exiting.",
                Kind::BackgroundSave => "Background saving started",
                Kind::Sync { stream: true } => "Background RDB transfer to replicas started",
                Kind::Sync { stream: false } => "Background saving for replicas started",
            });
            save::write(self, cut, &self.persistence.figures)
        });
        let seconds = job.began.elapsed().as_secs() as i64;
        let mut result = match &written {
            None => Ok(()),
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(Error::string(format!("ERR Cannot save the data: {error}"))),
        };
        if job.kind == Kind::Rewrite {
            // The cut has ended before the files change: nobody captures for longer than needed.
            self.end_cut(&mut job, false);
            let file = written.expect("a rewrite writes a file");
            let _told_in_log_and_figures = self.end_rewrite(file, seconds);
        } else if let Some(written) = &written {
            let cut = job.cut.as_ref().expect("it was written from a cut");
            if job.kind == (Kind::Sync { stream: true }) {
                self.note_transferred(written, cut);
                self.end_cut(&mut job, false);
            } else {
                self.note_saved(written, cut, seconds);
                let file = (job.kind == Kind::Sync { stream: false }).then(|| cut.target.name.clone());
                self.end_cut(&mut job, written.is_ok());
                if let Some(file) = file {
                    self.hand_over_file(&file, written.is_ok());
                }
            }
        }
        if let (Kind::Reload(_, reload), Ok(())) = (job.kind, &result) {
            result = self.load_again(reload);
        }
        self.conclude(job, result);
    }

    /// Nobody captures any more. `saved`: the snapshot has become the server's file.
    fn end_cut(&self, job: &mut Job, saved: bool) {
        let Some(cut) = job.cut.take() else { return };
        let mut world = self.gates.wide();
        // SAFETY: all gates are closed, and every Space is made and dropped behind a gate.
        unsafe { world.keyspace.wide() }.end_cut();
        // Who captured while the job failed may have held them after it had looked.
        self.let_writes_go();
        if saved {
            world.global.last_save = now();
        }
        drop(world);
        // It may hold what it was given.
        drop(cut);
    }

    /// Nothing is held any more because of what waits in memory.
    fn let_writes_go(&self) {
        if self.persistence.holds_writes.swap(false, Relaxed) {
            self.wake_all();
        }
    }

    /// What was made for replicas has all been put on its way, or will not be.
    fn note_transferred(&self, written: &io::Result<u64>, cut: &Cut) {
        let transfer = cut.target.replicas.as_ref().expect("it was for replicas");
        match written {
            Ok(bytes) => {
                LOG.notice(&format!(
                    "Background RDB transfer terminated with success: {} keys, {bytes} bytes; at most {} bytes waited in memory, {} were spilled",
                    cut.collector.keys(),
                    cut.collector.waiting_bytes_peak.load(Relaxed),
                    cut.collector.spilled_bytes.load(Relaxed),
                ));
                transfer.end(End::Whole(None));
            }
            Err(error) => {
                LOG.warning(&format!("Background transfer error: {error}"));
                transfer.end(End::Failed);
            }
        }
    }

    /// The file for replicas is there, or will not be.
    fn hand_over_file(&self, name: &Path, is_whole: bool) {
        let Some(transfer) = self.transfer() else { return };
        let opened = if is_whole { File::open(name) } else { Err(io::ErrorKind::NotFound.into()) };
        match opened {
            Ok(file) => transfer.end(End::Whole(Some(Arc::new(file)))),
            Err(_) => transfer.end(End::Failed),
        }
        let config = self.gates.narrow(self.loops()).global.config.clone();
        let is_kept = config.get(directives::APPENDONLY) || !config.get(directives::SAVE).is_empty();
        if config.get(directives::RDB_DEL_SYNC_FILES) && !is_kept {
            let _ = std::fs::remove_file(name);
        }
    }

    fn note_saved(&self, written: &io::Result<u64>, cut: &Cut, seconds: i64) {
        let figures = &self.persistence.figures;
        match written {
            Ok(bytes) => {
                figures.saves.fetch_add(1, Relaxed);
                figures.saved_changes.store(cut.changes, Relaxed);
                let captured = cut.snapshot.figures();
                LOG.notice(&format!(
                    "DB saved on disk: {} keys, {bytes} bytes; at most {} bytes waited in memory, {} were spilled, {} of {} units were captured by writers",
                    cut.collector.keys(),
                    cut.collector.waiting_bytes_peak.load(Relaxed),
                    cut.collector.spilled_bytes.load(Relaxed),
                    captured.units_forced,
                    captured.units_forced + captured.units_walked,
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => LOG.notice("Background saving cancelled"),
            Err(error) => {
                LOG.warning(&format!("Background saving error: cannot write {}: {error}", cut.target.name.display()))
            }
        }
        // Who has called it off knows; everybody else is told of a failure by the status.
        let cancelled = matches!(written, Err(error) if error.kind() == io::ErrorKind::Interrupted);
        if !cancelled {
            figures.last_save_failed.store(written.is_err(), Relaxed);
            self.persistence.note_failing(&self.gates.narrow(self.loops()).global.config);
        }
        figures.last_save_seconds.store(seconds, Relaxed);
        figures.last_captured_bytes.store(cut.collector.waiting_bytes_peak.load(Relaxed), Relaxed);
    }

    /// The job is done: tells who waits, and begins what is to come.
    fn conclude(&self, job: Job, result: Result<(), Error>) {
        let mut world = self.gates.wide();
        let World { global, keyspace } = &mut *world;
        let mut jobs = self.persistence.jobs.lock();
        self.persistence.status.has_job.store(false, Relaxed);
        jobs.running = None;
        let stats = &self.job_stats;
        let mut resumed = false;
        let ends = match job.kind {
            Kind::Shutdown { force } => result.is_ok() || force,
            _ => false,
        };
        if job.pauses && !ends {
            global.pauses.set(PauseReason::Job, None);
            resumed = true;
        }
        match job.kind {
            Kind::Save(client_id) | Kind::Reload(client_id, _) => {
                blocking::finish(global, self, stats, client_id, result, false);
            }
            // The data are gone, whatever became of the file: that is told by the log and the status.
            Kind::Flushed(client_id) => blocking::finish(global, self, stats, client_id, Ok(()), true),
            Kind::Shutdown { .. } => {
                if ends {
                    drop(jobs);
                    drop(world);
                    if result.is_err() {
                        LOG.warning("Error trying to save the DB. Exit anyway.");
                    }
                    return self.end_after_saving();
                }
                LOG.warning("Error trying to save the DB, can't exit.");
                self.give_up_shutdown(global, &mut jobs);
            }
            Kind::Rewrite => {
                drop(jobs);
                self.close_aof_of_one_rewrite(global);
                jobs = self.persistence.jobs.lock();
            }
            Kind::BackgroundSave | Kind::Sync { .. } => {}
        }
        // SAFETY: all gates are closed, and no other Space exists.
        let mut space = unsafe { keyspace.wide() };
        self.begin_next(&mut Alone { global, space: &mut space }, &mut jobs);
        drop(space);
        drop(jobs);
        drop(world);
        self.tell_feeder_of_end();
        if resumed {
            self.wake_all();
        }
    }

    /// Begins a snapshot for these replicas, with a cut of the log in the same access.
    pub(crate) fn begin_sync(&self, links: &[LinkId], form: Form, content: Content) -> BeginSync {
        let mut world = self.gates.wide();
        let World { global, keyspace } = &mut *world;
        let mut jobs = self.persistence.jobs.lock();
        if jobs.running.is_some() || global.loading {
            return BeginSync::Later;
        }
        self.cut_log(global, links, form);
        if content != Content::Everything {
            let libraries = global.scripts.functions.libraries().filter(|_| content == Content::Functions);
            let transfer = self.transfer().expect("it was begun just now");
            // Few bytes, for which there is room.
            transfer.end(match transfer.write(&self.without_keys(libraries.map(|library| &*library.code))) {
                Ok(()) => End::Whole(None),
                Err(_) => End::Failed,
            });
            return BeginSync::Begun;
        }
        // SAFETY: all gates are closed, and no other Space exists.
        let mut space = unsafe { keyspace.wide() };
        let kind = Kind::Sync { stream: matches!(form, Form::Stream(_)) };
        match self.begin(&mut Alone { global, space: &mut space }, &mut jobs, kind) {
            Ok(()) => BeginSync::Begun,
            Err(error) => {
                LOG.warning(&String::from_utf8_lossy(&error.render()));
                BeginSync::Failed
            }
        }
    }

    /// Begins what was scheduled, if nothing is under way.
    fn begin_next(&self, alone: &mut Alone<'_, '_>, jobs: &mut Jobs) {
        while jobs.running.is_none() && !self.is_ending() {
            let next = if let Some(kind) = jobs.waiting.pop_front() {
                kind
            } else if std::mem::take(&mut jobs.rewrite_scheduled) {
                Kind::Rewrite
            } else if std::mem::take(&mut jobs.save_scheduled) {
                Kind::BackgroundSave
            } else {
                return;
            };
            if let Err(error) = self.begin(alone, jobs, next) {
                LOG.warning(&String::from_utf8_lossy(&error.render()));
            }
        }
    }

    /// Whether a save point has been reached, or the append-only file has grown so that it is to be written anew. Ten times a second, on
    /// loop 0.
    pub fn check_jobs(&self) {
        let wanted = {
            let Some(world) = self.gates.narrow_unless_lent(0) else {
                return;
            };
            let jobs = self.persistence.jobs.lock();
            if jobs.running.is_some() || world.global.loading || world.global.async_loading {
                return;
            }
            let config = &world.global.config;
            let changes = self.changes().wrapping_sub(self.persistence.figures.saved_changes.load(Relaxed));
            let since_seconds = (now().0 - world.global.last_save.0) / 1000;
            let failed = self.persistence.figures.last_save_failed.load(Relaxed);
            let may_try = !failed || jobs.last_try.is_none_or(|tried| tried.elapsed() > RETRY_AFTER);
            let point = config
                .get(directives::SAVE)
                .iter()
                .find(|point| changes >= point.changes as u64 && since_seconds > point.seconds);
            match point {
                Some(point) if may_try && changes > 0 => {
                    LOG.notice(&format!("{} changes in {} seconds. Saving...", point.changes, point.seconds));
                    Some(Kind::BackgroundSave)
                }
                _ if jobs.save_scheduled => Some(Kind::BackgroundSave),
                _ if jobs.rewrite_scheduled => Some(Kind::Rewrite),
                _ => self.aof_wants_rewrite(config).then_some(Kind::Rewrite),
            }
        };
        let Some(kind) = wanted else { return };
        let Some(mut world) = self.gates.wide_unless_lent() else {
            return;
        };
        let World { global, keyspace } = &mut *world;
        let mut jobs = self.persistence.jobs.lock();
        if jobs.running.is_none() {
            jobs.rewrite_scheduled &= kind != Kind::Rewrite;
            jobs.save_scheduled &= kind != Kind::BackgroundSave;
            // SAFETY: all gates are closed, and no other Space exists.
            let mut space = unsafe { keyspace.wide() };
            if let Err(error) = self.begin(&mut Alone { global, space: &mut space }, &mut jobs, kind) {
                LOG.warning(&String::from_utf8_lossy(&error.render()));
            }
        }
    }
}

impl commands::persistence::Persistence for Shared {
    fn save(&self, mut alone: Alone<'_, '_>, client_id: u64) -> Result<(), Error> {
        let mut jobs = self.persistence.jobs.lock();
        if jobs.is_saving() {
            return Err(Error::text("ERR Background save already in progress"));
        }
        if jobs.running.is_some() {
            // There is one cut at a time.
            jobs.waiting.push_back(Kind::Save(client_id));
            return Ok(());
        }
        self.begin(&mut alone, &mut jobs, Kind::Save(client_id))
    }

    fn background_save(&self, mut alone: Alone<'_, '_>, wish: Wish) -> Result<Started, Error> {
        let mut jobs = self.persistence.jobs.lock();
        let schedule = wish != Wish::Now;
        if jobs.is_saving() {
            return Err(Error::text("ERR Background save already in progress"));
        }
        if jobs.running.is_some() || wish == Wish::AfterTransaction {
            if schedule {
                jobs.save_scheduled = true;
                return Ok(Started::Scheduled);
            }
            return Err(Error::text(
                "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.",
            ));
        }
        self.begin(&mut alone, &mut jobs, Kind::BackgroundSave)?;
        Ok(Started::Now)
    }

    fn cancel_background_save(&self) -> Result<Cancelled, Error> {
        let mut jobs = self.persistence.jobs.lock();
        if let Some(Running { kind: Kind::BackgroundSave, collector: Some(collector), .. }) = &jobs.running {
            collector.cancel();
            return Ok(Cancelled::Running);
        }
        if std::mem::take(&mut jobs.save_scheduled) {
            return Ok(Cancelled::Scheduled);
        }
        Err(Error::text("ERR Background saving is currently not in progress or scheduled"))
    }

    fn rewrite(&self, mut alone: Alone<'_, '_>, wish: Wish) -> Result<Started, Error> {
        let mut jobs = self.persistence.jobs.lock();
        match &jobs.running {
            Some(Running { kind: Kind::Rewrite, .. }) => {
                Err(Error::text("ERR Background append only file rewriting already in progress"))
            }
            Some(_) => {
                jobs.rewrite_scheduled = true;
                Ok(Started::Scheduled)
            }
            None if wish == Wish::AfterTransaction => {
                jobs.rewrite_scheduled = true;
                Ok(Started::Scheduled)
            }
            None => {
                self.begin(&mut alone, &mut jobs, Kind::Rewrite)?;
                Ok(Started::Now)
            }
        }
    }

    fn flushed_all(&self, mut alone: Alone<'_, '_>, wish: Wish, client_id: u64) -> bool {
        self.replication.forget_own_keys();
        let mut jobs = self.persistence.jobs.lock();
        if let Some(running) = jobs.running.as_ref().filter(|running| running.kind == Kind::BackgroundSave) {
            // What it saves is gone.
            running.cancel();
        }
        if alone.global.config.get(directives::SAVE).is_empty() {
            return false;
        }
        let is_called_off = |running: &Running| running.kind == Kind::BackgroundSave;
        if wish == Wish::AfterTransaction || !jobs.running.as_ref().is_none_or(is_called_off) {
            // Other jobs may take long.
            jobs.save_scheduled = true;
            return false;
        }
        if jobs.running.is_some() {
            jobs.waiting.push_front(Kind::Flushed(client_id));
            return true;
        }
        let begun = self.begin(&mut alone, &mut jobs, Kind::Flushed(client_id));
        if let Err(error) = &begun {
            LOG.warning(&String::from_utf8_lossy(&error.render()));
        }
        begun.is_ok()
    }

    fn reload(&self, mut alone: Alone<'_, '_>, client_id: u64, reload: Reload) -> Result<(), Error> {
        let mut jobs = self.persistence.jobs.lock();
        let kind = Kind::Reload(client_id, reload);
        if jobs.running.is_some() {
            jobs.waiting.push_back(kind);
            return Ok(());
        }
        self.begin(&mut alone, &mut jobs, kind)
    }

    fn is_failing(&self) -> bool {
        self.persistence.is_aof_failing() || self.persistence.snapshot_refuses.load(Relaxed)
    }

    fn refusal(&self, _global: &Global) -> Option<Error> {
        self.persistence.refusal()
    }

    fn is_journal_kept(&self) -> bool {
        self.persistence.aof.lock().is_some()
    }

    fn journal_tail(&self) -> u64 {
        self.persistence.journal_tail()
    }

    fn journal_durable(&self) -> u64 {
        self.persistence.journal_durable()
    }

    fn want_durable(&self, offset: u64) {
        self.persistence.status.wanted_durable.fetch_min(offset, Relaxed);
        // It may have become so just now.
        self.announce_durable();
    }
}

//! The append-only file of this server: when it begins and ends, what its writer tells, when it is written anew.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use config::{Changes, Config, SetError};
use journal::aof::{BaseForm, Commands, Event, Files, Fsync, LoadErrorKind, Part, Settings, Writer, is_rdb};

use super::jobs::Kind;
use super::load::{self, LoadError, Loading, Manner};
use super::replay::{Gathered, Replayer};
use super::timed_disk::TimedDisk;
use super::*;
use crate::mailbox::{Mail, Mailbox};
use crate::operation::{LOG, memory};

/// The append-only file while there is one.
pub struct File {
    writer: Writer,
    /// Where a new base is written.
    temporary: PathBuf,
    /// What the writer tells of rewrites.
    events: Arc<Mutex<mpsc::Receiver<Event>>>,
    /// The cut of the rewrite under way.
    cut: Option<u64>,
    /// It was made for one BGREWRITEAOF only (`appendonly` is `no`).
    is_for_one_rewrite: bool,
    /// It was begun while the server runs, and counts only when a rewrite has given it its base.
    is_without_base: bool,
    /// The rewrite under way closes a gap.
    is_rewrite_needed: bool,
}

impl File {
    pub fn figures(&self) -> journal::aof::Figures {
        self.writer.figures()
    }

    pub fn is_without_base(&self) -> bool {
        self.is_without_base && !self.is_for_one_rewrite
    }
}

/// What the writer's thread and the event loops share.
#[derive(Debug)]
pub struct Status {
    /// The file is there, and `appendfsync` is `always`.
    pub holds_replies: AtomicBool,
    pub is_failing: AtomicBool,
    /// There is a set of files that could be loaded: not before the first rewrite of one that was switched on at run time has ended.
    pub is_published: AtomicBool,
    /// Only a rewrite makes the set of files whole again.
    rewrite_needed: AtomicBool,
    /// The first offset that somebody waits for (WAITAOF) to be durable.
    pub wanted_durable: AtomicU64,
    /// A snapshot or a rewrite is being written beside.
    pub has_job: AtomicBool,
    failure: Mutex<String>,
}

impl Default for Status {
    fn default() -> Status {
        Status {
            holds_replies: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
            is_published: AtomicBool::new(false),
            rewrite_needed: AtomicBool::new(false),
            wanted_durable: AtomicU64::new(u64::MAX),
            has_job: AtomicBool::new(false),
            failure: Mutex::default(),
        }
    }
}

impl Status {
    /// The text of the error that refuses writes, and that takes the place of replies that cannot be vouched for.
    pub fn failure(&self) -> String {
        format!("MISCONF Errors writing to the AOF file: {}", self.failure.lock())
    }
}

/// Tells the event loops that the journal is durable further than it was, if somebody waits for that.
fn announce_durable(status: &Status, journal: &Journal, mailboxes: &[Arc<Mailbox>]) {
    if status.is_published.load(Relaxed)
        && status.wanted_durable.load(Relaxed) <= journal.durable()
        && let Some(first) = mailboxes.first()
    {
        first.send(Mail::Durable);
    }
    if status.holds_replies.load(Relaxed) {
        mailboxes.iter().filter(|mailbox| mailbox.wants_durable()).for_each(|mailbox| mailbox.send(Mail::Durable));
    }
}

fn fsync_of(config: &Config) -> Fsync {
    match config.get(directives::APPENDFSYNC) {
        Appendfsync::Always => Fsync::Always,
        Appendfsync::Everysec => Fsync::EverySecond,
        Appendfsync::No => Fsync::No,
    }
}

fn base_form(config: &Config) -> BaseForm {
    if config.get(directives::AOF_USE_RDB_PREAMBLE) { BaseForm::Rdb } else { BaseForm::Commands }
}

impl Shared {
    fn files_of(&self, config: &Config) -> Result<Files, LoadError> {
        let disk = TimedDisk::new(self.observation.latency.clone(), self.persistence.status.clone());
        Files::open(Arc::new(disk), config.get(directives::APPENDDIRNAME), config.get(directives::APPENDFILENAME))
            .map_err(|error| LoadError(error.to_string()))
    }

    /// Begins to write. The caller is alone, or nobody changes anything yet.
    fn start_aof(&self, config: &Config, files: Files, is_for_one_rewrite: bool) -> io::Result<File> {
        let journal = &self.persistence.journal;
        journal.annotate_time(config.get(directives::AOF_TIMESTAMP_ENABLED));
        let temporary = files.temporary_base_path();
        let is_without_base = !files.is_published();
        let settings = Settings { fsync: fsync_of(config), keep_history: config.get(directives::AOF_DISABLE_AUTO_GC) };
        let (sender, events) = mpsc::channel();
        let status = self.persistence.status.clone();
        let mailboxes = self.mailboxes.clone();
        let of_writer = journal.clone();
        let notify = move |event: Event| match &event {
            Event::Progress => {
                // This thread lets go of what it has written.
                memory::publish();
                announce_durable(&status, &of_writer, &mailboxes);
            }
            Event::Failing(failure) => {
                LOG.warning(&format!(
                    "The append-only file cannot be written ({}): writes are refused until it can.",
                    failure.error
                ));
                *status.failure.lock() = failure.error.clone();
                status.is_failing.store(true, Relaxed);
                let error: Arc<str> = status.failure().into();
                mailboxes.iter().for_each(|mailbox| mailbox.send(Mail::NotDurable(error.clone())));
            }
            Event::Recovered => {
                LOG.warning("The append-only file can be written again: writes are accepted.");
                status.is_failing.store(false, Relaxed);
                announce_durable(&status, &of_writer, &mailboxes);
            }
            Event::Removed(path) => LOG.notice(&format!("Removed the history file {}", path.display())),
            Event::RewriteNeeded => {
                LOG.warning("A part of the append-only file may be lost: it is written anew.");
                status.rewrite_needed.store(true, Relaxed);
            }
            Event::Rotated { .. }
            | Event::RotationFailed { .. }
            | Event::BaseInstalled { .. }
            | Event::BaseFailed { .. } => {
                // Nobody listens any more when the server ends.
                let _ = sender.send(event);
            }
        };
        let writer = Writer::start(journal.reader(Destination::Aof), files, settings, notify)?;
        let events = Arc::new(Mutex::new(events));
        Ok(File { writer, temporary, events, cut: None, is_for_one_rewrite, is_without_base, is_rewrite_needed: false })
    }

    /// Takes over what follows from there being a file, or none. The caller is alone.
    fn aof_changed(&self, global: &mut Global) {
        let aof = self.persistence.aof.lock();
        self.note_readers(global);
        let holds = aof.is_some() && fsync_of(&global.config) == Fsync::Always;
        self.persistence.status.holds_replies.store(holds, Relaxed);
        if aof.is_none() {
            self.persistence.status.is_failing.store(false, Relaxed);
        }
        drop(aof);
        // What was held is let out.
        self.mailboxes.iter().for_each(|mailbox| mailbox.send(Mail::Durable));
    }

    /// At the start: loads the files, and goes on with them.
    ///
    /// # Errors
    /// They cannot be loaded, or not be written.
    pub(super) fn open_aof(&self, config: &Config) -> Result<(), LoadError> {
        let mut files = self.files_of(config)?;
        if files.is_empty() {
            files
                .create_base(&self.empty_base(config), base_form(config))
                .map_err(|error| LoadError(format!("Cannot begin an append-only file: {error}")))?;
            LOG.notice("Began a new append-only file");
        } else {
            self.load_aof(config, &files)?;
        }
        let file = self
            .start_aof(config, files, false)
            .map_err(|error| LoadError(format!("Cannot write the append-only file: {error}")))?;
        *self.persistence.aof.lock() = Some(file);
        self.persistence.status.is_published.store(true, Relaxed);
        self.aof_changed(&mut self.gates.wide().global);
        Ok(())
    }

    /// DEBUG LOADAOF: what is in memory is forgotten already; all that was written comes back.
    pub(super) fn load_aof_again(&self, config: &Config) -> Result<(), LoadError> {
        // Nobody writes meanwhile: everybody waits. So what is in the journal now is all there is.
        let tail = self.persistence.journal_tail();
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.persistence.journal.written() < tail {
            if self.persistence.status.is_failing.load(Relaxed) || Instant::now() > deadline {
                return Err(LoadError("what is in memory cannot be written to the append-only file".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let files = self.files_of(config)?;
        if files.is_empty() {
            return Err(LoadError("there is no append-only file".to_owned()));
        }
        // What is executed again is not written again.
        let kept = std::mem::replace(&mut self.gates.wide().global.journal_kept, false);
        let loaded = self.load_aof(config, &files);
        self.gates.wide().global.journal_kept = kept;
        loaded
    }

    fn load_aof(&self, config: &Config, files: &Files) -> Result<(), LoadError> {
        let began = Instant::now();
        let parts = files.parts().map_err(|error| LoadError(error.to_string()))?;
        let figures = &self.persistence.figures;
        figures.load_total_bytes.store(parts.iter().map(|part| part.size_bytes).sum(), Relaxed);
        let mut replayer = Replayer::new(self, self.loops());
        let loading = Loading::default();
        let mut done = 0;
        for part in &parts {
            let name = String::from_utf8_lossy(&part.name).into_owned();
            let part_began = Instant::now();
            figures.load_done_bytes.store(done, Relaxed);
            let reader = files
                .disk()
                .reader(&part.path, 0)
                .map_err(|error| LoadError(format!("Cannot open the append-only file {name}: {error}")))?;
            let cut = replayer.load(reader, part, config, &loading)?;
            if let Some(length) = cut {
                files
                    .truncate(part, length)
                    .map_err(|error| LoadError(format!("Cannot truncate the append-only file {name}: {error}")))?;
                LOG.warning(&format!(
                    "{name} ended in the middle of a command: cut to its first {length} bytes, where the last whole one ends."
                ));
            }
            done += part.size_bytes;
            let kind = if part.is_base { "base" } else { "incr" };
            LOG.notice(&format!(
                "DB loaded from {kind} file {name}: {:.3} seconds",
                part_began.elapsed().as_secs_f64()
            ));
        }
        figures.load_done_bytes.store(done, Relaxed);
        figures.last_load_keys.store(loading.keys.load(Relaxed), Relaxed);
        figures.last_load_expired.store(loading.expired.load(Relaxed), Relaxed);
        LOG.notice(&format!("DB loaded from append only file: {:.3} seconds", began.elapsed().as_secs_f64()));
        Ok(())
    }

    /// A snapshot of libraries alone.
    pub(super) fn without_keys<'a>(&self, libraries: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        rdb::encode::header(&mut bytes, rdb::Version::REDIS_7_0);
        super::save::facts(&mut bytes, crate::shared::now(), false);
        let options = rdb::encode::Options { version: rdb::Version::REDIS_7_0, compression: true.into() };
        libraries.for_each(|code| rdb::encode::function(&mut bytes, code, &options));
        rdb::encode::end(&mut bytes);
        let checksum = rdb::Checksum::of(&bytes);
        rdb::encode::footer(&mut bytes, checksum);
        bytes
    }

    /// What the base of a new set holds: nothing.
    fn empty_base(&self, config: &Config) -> Vec<u8> {
        let mut bytes = Vec::new();
        if base_form(config) == BaseForm::Rdb {
            rdb::encode::header(&mut bytes, rdb::Version::REDIS_7_0);
            super::save::facts(&mut bytes, crate::shared::now(), true);
            rdb::encode::end(&mut bytes);
            let checksum = if config.get(directives::RDBCHECKSUM) { rdb::Checksum::of(&bytes) } else { 0 };
            rdb::encode::footer(&mut bytes, checksum);
        }
        bytes
    }

    /// Where a rewrite writes the new base.
    pub(super) fn aof_base_temporary(&self) -> PathBuf {
        self.persistence.aof.lock().as_ref().expect("a rewrite has a file").temporary.clone()
    }

    /// Begins a rewrite with the caller's access: what follows goes to a new file.
    pub(super) fn begin_aof_rewrite(&self, global: &mut Global) -> Result<(), Error> {
        let failed = |error: &dyn std::fmt::Display| {
            LOG.warning(&format!("Cannot rewrite the append-only file: {error}"));
            Error::text(
                "ERR Can't execute an AOF background rewriting. Please check the server logs for more information.",
            )
        };
        if self.persistence.aof.lock().is_none() {
            let mut files = self.files_of(&global.config).map_err(|error| failed(&error))?;
            files.begin_anew();
            let file = self.start_aof(&global.config, files, true).map_err(|error| failed(&error))?;
            *self.persistence.aof.lock() = Some(file);
            self.aof_changed(global);
        }
        let mut aof = self.persistence.aof.lock();
        let file = aof.as_mut().expect("it was begun just now");
        // What earlier rewrites were told.
        while file.events.lock().try_recv().is_ok() {}
        file.is_rewrite_needed = self.persistence.status.rewrite_needed.swap(false, Relaxed);
        file.cut = Some(file.writer.cut());
        file.writer.suspend_syncs(global.config.get(directives::NO_APPENDFSYNC_ON_REWRITE));
        Ok(())
    }

    /// The new base is written (or could not be): it takes its place.
    pub(super) fn end_rewrite(&self, written: io::Result<u64>, seconds: i64) -> Result<(), String> {
        let result = match written {
            Err(error) => Err(error.to_string()),
            Ok(_) => self.install_base(),
        };
        let figures = &self.persistence.figures;
        figures.last_rewrite_seconds.store(seconds, Relaxed);
        figures.last_rewrite_failed.store(result.is_err(), Relaxed);
        figures.rewrites.fetch_add(1, Relaxed);
        let mut limit = self.persistence.rewrite_limit.lock();
        match &result {
            Ok(()) => {
                limit.succeeded();
                self.persistence.status.is_published.store(true, Relaxed);
                LOG.notice("Background AOF rewrite finished successfully");
            }
            Err(reason) => {
                LOG.warning(&format!("Background AOF rewrite failed: {reason}"));
                if let Some(minutes) = limit.failed(self.persistence.began.elapsed()) {
                    LOG.warning(&format!(
                        "Rewrites have failed again and again: the next is tried in {minutes} minutes, or in a second while \
                         writes are refused until one succeeds."
                    ));
                }
            }
        }
        figures.rewrite_failures.store(limit.failures().into(), Relaxed);
        drop(limit);
        if let Some(file) = &mut *self.persistence.aof.lock() {
            file.writer.suspend_syncs(false);
            file.is_without_base &= result.is_err();
            // Without a base, or behind a gap, nothing that is written would be loaded: it is tried until it succeeds.
            let is_needed = file.is_without_base || file.is_rewrite_needed;
            self.persistence.status.rewrite_needed.fetch_or(is_needed && result.is_err(), Relaxed);
        }
        self.announce_durable();
        result
    }

    fn install_base(&self) -> Result<(), String> {
        const SWITCHED_OFF: &str = "the append-only file was switched off";
        let form = base_form(&self.gates.narrow(self.loops()).global.config);
        let (at, events) = {
            let mut aof = self.persistence.aof.lock();
            let file = aof.as_mut().ok_or(SWITCHED_OFF)?;
            let at = file.cut.take().expect("a rewrite has begun with a cut");
            file.writer.install_base(at, file.temporary.clone(), form);
            (at, file.events.clone())
        };
        loop {
            let event = events.lock().recv_timeout(Duration::from_millis(100));
            match event {
                Ok(Event::BaseInstalled { at: of, .. }) if of == at => return Ok(()),
                Ok(Event::BaseFailed { at: of, error } | Event::RotationFailed { at: of, error }) if of == at => {
                    return Err(error);
                }
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Timeout) if !self.is_ending() => {}
                Err(_) => return Err(SWITCHED_OFF.to_owned()),
            }
        }
    }

    /// CONFIG SET, with the new values in place. The caller is alone.
    ///
    /// # Errors
    /// The append-only file cannot be begun.
    pub fn apply_persistence(&self, global: &mut Global, changes: &Changes) -> Result<(), SetError> {
        // While files are loaded, what has been asked for is carried out afterwards.
        if changes.alters(directives::APPENDONLY) && !global.loading {
            self.switch(global)
                .map_err(|()| changes.failed(directives::APPENDONLY, "Unable to turn on AOF. Check server logs."))?;
        }
        if let Some(file) = &*self.persistence.aof.lock() {
            file.writer.set_fsync(fsync_of(&global.config));
            file.writer.set_keep_history(global.config.get(directives::AOF_DISABLE_AUTO_GC));
        }
        self.persistence.journal.annotate_time(global.config.get(directives::AOF_TIMESTAMP_ENABLED));
        if changes.alters(directives::APPENDFSYNC) || changes.alters(directives::APPENDONLY) {
            self.aof_changed(global);
        }
        self.persistence.note_failing(&global.config);
        Ok(())
    }

    /// CONFIG SET may have changed its mind while files were loaded. The caller is alone.
    pub(super) fn follow_config(&self, global: &mut Global) {
        if self.switch(global).is_err() {
            let config = &mut global.config;
            config.set(directives::APPENDONLY, &[b"no"]).expect("it is a value of this directive");
        }
        if let Some(file) = &*self.persistence.aof.lock() {
            file.writer.set_fsync(fsync_of(&global.config));
        }
        self.aof_changed(global);
    }

    /// Begins or ends the append-only file, if the configuration wants that. Why it cannot is in the log.
    fn switch(&self, global: &mut Global) -> Result<(), ()> {
        let wanted = global.config.get(directives::APPENDONLY);
        let is_there = self.persistence.aof.lock().as_ref().is_some_and(|file| !file.is_for_one_rewrite);
        if wanted && !is_there {
            self.switch_on(global)
                .map_err(|reason| LOG.warning(&format!("Cannot begin an append-only file: {reason}")))?;
        } else if is_there && !wanted {
            self.switch_off(global);
        }
        Ok(())
    }

    /// From now on everything goes to the file; it counts when its first base is there, which a rewrite writes.
    fn switch_on(&self, global: &mut Global) -> Result<(), String> {
        if let Some(file) = &mut *self.persistence.aof.lock() {
            file.is_for_one_rewrite = false;
            return Ok(());
        }
        let mut files = self.files_of(&global.config).map_err(|error| error.to_string())?;
        files.begin_anew();
        self.persistence.status.is_published.store(false, Relaxed);
        let file = self.start_aof(&global.config, files, false).map_err(|error| error.to_string())?;
        *self.persistence.aof.lock() = Some(file);
        self.persistence.jobs.lock().rewrite_scheduled = true;
        Ok(())
    }

    /// What is in the journal is written, and then nothing more.
    fn switch_off(&self, global: &mut Global) {
        let Some(file) = self.persistence.aof.lock().take() else { return };
        let (written, reader) = file.writer.stop();
        if let Err(error) = written {
            LOG.warning(&format!("The end of the append-only file was not written: {error}"));
        }
        drop(reader);
        self.note_readers(global);
        let mut jobs = self.persistence.jobs.lock();
        jobs.rewrite_scheduled = false;
        if let Some(running) = &jobs.running
            && running.kind == Kind::Rewrite
        {
            running.cancel();
        }
    }

    /// Effects are kept while somebody reads them. The caller is alone.
    pub(crate) fn note_readers(&self, global: &mut Global) {
        global.journal_kept = !self.persistence.journal.wanted().is_empty();
    }

    /// Other data comes in the place of what the file holds. When it is there, [`follow_config`](Self::follow_config) begins anew. The caller is alone.
    pub(super) fn close_aof_for_sync(&self, global: &mut Global) {
        self.switch_off(global);
        self.aof_changed(global);
    }

    /// After a rewrite that was asked for while `appendonly` is `no`. The caller is alone.
    pub(super) fn close_aof_of_one_rewrite(&self, global: &mut Global) {
        if self.persistence.aof.lock().as_ref().is_some_and(|file| file.is_for_one_rewrite) {
            self.switch_off(global);
            self.aof_changed(global);
        }
    }

    /// Everything is on disk when this returns, or the log says why not. Nobody writes any more.
    pub(super) fn flush_journal_at_end(&self) {
        let Some(file) = self.persistence.aof.lock().take() else { return };
        if let (Err(error), _) = file.writer.stop() {
            LOG.warning(&format!("The end of the append-only file was not written: {error}"));
        }
    }

    /// Whether the file has grown so that it is to be written anew.
    pub(super) fn aof_wants_rewrite(&self, config: &Config) -> bool {
        let aof = self.persistence.aof.lock();
        let Some(file) = &*aof else { return false };
        if self.persistence.status.rewrite_needed.load(Relaxed) {
            let (limit, now) = (self.persistence.rewrite_limit.lock(), self.persistence.began.elapsed());
            // Where writes are refused until it succeeds, they must not wait for longer than the disk does.
            let are_refused = self.persistence.status.is_failing.load(Relaxed);
            return if are_refused { limit.allows_needed(now) } else { limit.allows(now) };
        }
        let percentage = config.get(directives::AUTO_AOF_REWRITE_PERCENTAGE).max(0) as u64;
        let size_min = config.get(directives::AUTO_AOF_REWRITE_MIN_SIZE).max(0) as u64;
        let figures = file.writer.figures();
        let base = figures.base_size_bytes.max(1);
        let growth = figures.size_bytes.saturating_sub(base).saturating_mul(100) / base;
        percentage > 0
            && figures.size_bytes > size_min
            && growth >= percentage
            && self.persistence.rewrite_limit.lock().allows(self.persistence.began.elapsed())
    }

    /// Serves who waits in WAITAOF for what is durable now. On loop 0. False if a slow script is in the way.
    pub fn serve_durable(&self, stats: &ThreadStats) -> bool {
        let durable = self.persistence.journal_durable();
        if self.persistence.status.wanted_durable.load(Relaxed) > durable {
            return true;
        }
        let Some(mut world) = self.gates.wide_unless_lent() else {
            return false;
        };
        self.persistence.status.wanted_durable.store(u64::MAX, Relaxed);
        let global = &mut world.global;
        blocking::serve_safe(global, self, stats);
        if let Some(next) = global.waiters.next_durable(durable) {
            self.persistence.status.wanted_durable.store(next, SeqCst);
            // It may have become so while nobody seemed to wait.
            self.announce_durable();
        }
        true
    }

    pub(super) fn announce_durable(&self) {
        announce_durable(&self.persistence.status, &self.persistence.journal, &self.mailboxes);
    }
}

impl Replayer<'_> {
    /// Loads one file of the set. Returns where to cut it, if its last command is not whole and that is allowed.
    fn load(
        &mut self,
        mut reader: Box<dyn Read + Send>,
        part: &Part,
        config: &Config,
        loading: &Loading,
    ) -> Result<Option<u64>, LoadError> {
        let name = String::from_utf8_lossy(&part.name);
        let damaged = |reason: &dyn std::fmt::Display| {
            LoadError(format!(
                "The append-only file {name} cannot be loaded: {reason}. Look at it with `redis-check-aof`, which can cut it (--fix), or restore a backup."
            ))
        };
        let mut beginning = Vec::new();
        (&mut reader)
            .take(RDB_MAGIC_BYTES)
            .read_to_end(&mut beginning)
            .map_err(|error| LoadError(format!("Cannot read the append-only file {name}: {error}")))?;
        let is_rdb = is_rdb(&beginning);
        let mut source: Box<dyn Read + Send> = Box::new(io::Cursor::new(beginning).chain(reader));
        let mut offset = 0;
        if is_rdb {
            let counted = Counted { source, bytes: 0 };
            let (rest, counted) =
                load::load(self.shared(), counted, Manner { keep_expired: true, ..Manner::default() }, loading)
                    .map_err(|error| damaged(&error))?;
            offset = counted.bytes - rest.len() as u64;
            source = Box::new(io::Cursor::new(rest).chain(counted.source));
        }
        let mut progress = load::Progress::new(self.shared());
        // One thread reads and finds the commands, this one executes them.
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(GATHERED_WAITING_MAX);
            std::thread::Builder::new()
                .name("aof-read".to_owned())
                .spawn_scoped(scope, move || {
                    memory::count_thread();
                    gather(Commands::new(source, offset), &sender);
                })
                .map_err(|error| LoadError(format!("Cannot start a thread: {error}")))?;
            // It goes with the loop's end, and the reader with it.
            for gathered in receiver {
                let gathered = match gathered {
                    Ok(gathered) => gathered,
                    Err(error) => {
                        let may_be_cut = part.is_last && config.get(directives::AOF_LOAD_TRUNCATED);
                        return match error.kind {
                            LoadErrorKind::Truncated { .. } if may_be_cut => Ok(Some(error.valid_bytes)),
                            _ => Err(LoadError(error.refusal(&name))),
                        };
                    }
                };
                self.execute(&gathered).map_err(|reason| damaged(&reason))?;
                progress.at(gathered.valid_bytes);
                if self.shared().is_ending() {
                    return Err(LoadError("called off".to_owned()));
                }
            }
            Ok(None)
        })
    }
}

/// Commands that were read and wait to be executed.
const GATHERED_WAITING_MAX: usize = 8;

/// Reads commands until the file ends, or what is wrong with it, or nobody wants them.
fn gather<R: Read>(mut commands: Commands<R>, sender: &mpsc::SyncSender<Result<Gathered, journal::aof::LoadError>>) {
    loop {
        let mut gathered = Gathered::default();
        let end = loop {
            match commands.next_unit() {
                Ok(Some(unit)) => gathered.push(&unit),
                Ok(None) => break Some(None),
                Err(error) => break Some(Some(error)),
            }
            if gathered.is_enough() {
                break None;
            }
        };
        gathered.valid_bytes = commands.valid_bytes();
        if !gathered.is_empty() && sender.send(Ok(gathered)).is_err() {
            return;
        }
        if let Some(error) = end {
            if let Some(error) = error {
                // Nobody wants it if this fails.
                let _ = sender.send(Err(error));
            }
            return;
        }
    }
}

const RDB_MAGIC_BYTES: u64 = 9;

/// A source that counts what was read from it.
struct Counted<R> {
    source: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

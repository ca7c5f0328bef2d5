//! What is written when, and what may be trusted: the writer without its threads. Time comes in with each step, work that takes
//! long goes out as [`Job`]s, so that tests drive every interleaving.
//!
//! ```text
//! offsets of the AOF stream
//!      released        synced            whole     written          end
//! ─────────┼──────────────┼─────────────────┼─────────┼───────────────┼
//!   gone   │ safe         │ in the file     │ half a  │ in memory     │
//!          │              │ (page cache)    │ unit    │ only          │
//! ```
//!
//! - *A write fails, or the disk is full.* The file is cut back to the end of a whole unit, so that whoever copies or loads it finds no half
//!   command; if even that fails, writing goes on later exactly where it stopped. It is tried again and again, and until it succeeds
//!   the state is [`Failing`](Event::Failing), and nothing new is durable.
//! - *A sync fails.* Then nothing is known of what was written since the last good one: the kernel may have dropped it and will not say so twice.
//!   All of it is written again, which is why it stays in memory until then, at the same place of the same file, opened
//!   anew. A new file instead would need the old one cut first, durably, on the disk that is just failing, or its units would count twice; the
//!   same bytes at the same place are right whatever a crash leaves of them.
//! - *What if memory does not suffice for that?* Beyond `UNSYNCED_BYTES_MAX` what is written is let go of. If a sync fails then, the set ends at the last
//!   good one: the file is cut there, nothing is written behind the gap, and nothing is durable any more until a rewrite has made a
//!   new set ([`RewriteNeeded`](Event::RewriteNeeded)), which is listed when its base is there.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::files::{BaseForm, Files, Unpersisted};
use super::system_text;
use crate::block::Chunk;
use crate::disk::DiskFile;
use crate::journal::{Destination, Journal, Reader};
use crate::planted::planted;

/// What one write takes at most: long enough for the disk's full speed, short enough that a sync is not put off for long.
const WRITE_BYTES_MAX: usize = 4 << 20;
/// Slices of one write; the system's limit is 1024.
const SLICES_MAX: usize = 128;
/// What may stay in memory although it is written, for a sync that fails.
const UNSYNCED_BYTES_MAX: u64 = 64 << 20;
/// Blocks of the stream that were not needed for so long are given back to the allocator.
const SPARE_KEPT: Duration = Duration::from_secs(2);
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Redis's figure: a sync that takes longer means that more can be lost than was promised, and those who write have to wait.
const SYNC_SLOW: Duration = Duration::from_secs(2);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// When the file reaches the disk (`appendfsync`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    Always,
    EverySecond,
    No,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Write,
    Sync,
    /// Going over to a new file.
    Rotate,
}

/// A disk that does not take what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub stage: Stage,
    /// The system's text.
    pub error: String,
    /// The system's number, for `aof_last_write_errno`-like uses; none where the error is not the system's.
    pub code: Option<i32>,
    /// When it began, on the clock of the steps.
    pub since: Duration,
}

/// What the writer tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// [`Journal::durable`] or [`Journal::answerable`] has moved.
    Progress,
    /// Nothing becomes durable until `Recovered`.
    Failing(Failure),
    Recovered,
    /// What is behind this cut goes to a new file, of this name.
    Rotated {
        at: u64,
        name: String,
    },
    /// Everything goes to the same file as before; the rewrite that wanted the cut has failed.
    RotationFailed {
        at: u64,
        error: String,
    },
    /// The rewrite is complete: the base of this cut counts.
    BaseInstalled {
        at: u64,
        name: String,
    },
    BaseFailed {
        at: u64,
        error: String,
    },
    /// A part of the file may be lost, and is not in memory any more: only a rewrite makes the set whole.
    RewriteNeeded,
    /// A file that a rewrite has replaced is deleted.
    Removed(PathBuf),
}

/// Figures for INFO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// `aof_current_size`: base and incremental files.
    pub size_bytes: u64,
    /// `aof_base_size`: the same when it was rewritten last.
    pub base_size_bytes: u64,
    /// `aof_buffer_length`: not in a file yet.
    pub buffer_bytes: u64,
    /// `aof_pending_bio_fsync`.
    pub pending_syncs: u64,
    /// `aof_delayed_fsync`.
    pub delayed_syncs: u64,
    /// `aof_last_write_status` is `err` while there is one.
    pub failure: Option<Failure>,
}

/// What takes long and is done elsewhere; the result comes back by [`Appender::handle_synced`] and [`Appender::handle_removed`].
pub(crate) enum Job {
    Sync(Arc<dyn DiskFile>),
    Remove(Vec<PathBuf>),
}

/// What to do after a step.
pub(crate) struct Next {
    pub(crate) jobs: Vec<Job>,
    pub(crate) events: Vec<Event>,
    /// There is more to do already.
    pub(crate) is_busy: bool,
    /// The next step is due then, whatever is appended.
    pub(crate) due: Option<Duration>,
}

#[derive(Clone, Copy)]
struct Flight {
    /// What it makes safe.
    upto: u64,
    since: Duration,
    is_slow: bool,
}

/// Whether bytes are lost that are not in memory any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    None,
    /// They are, and what follows is written nowhere: the snapshot of the next cut will hold it.
    Open,
    /// A new set has begun at this cut, and waits for its base.
    Behind(u64),
}

struct Trouble {
    failure: Failure,
    retry_at: Duration,
    delay: Duration,
}

/// A base that waits for its cut.
struct Base {
    at: u64,
    temporary: PathBuf,
    form: BaseForm,
}

pub(crate) struct Appender {
    reader: Reader,
    files: Files,
    file: Arc<dyn DiskFile>,
    /// Offset `origin.0` of the stream is at position `origin.1` of the file.
    origin: (u64, u64),

    written: u64,
    written_units: u64,
    whole: u64,
    synced: u64,
    released: u64,
    gap: Gap,
    /// The file is opened anew before it is trusted again.
    is_reopen_due: bool,

    policy: Fsync,
    /// Syncs are suspended while a snapshot is written (`no-appendfsync-on-rewrite`).
    is_suspended: bool,
    keep_history: bool,
    flight: Option<Flight>,
    last_sync: Duration,

    /// What is written ends where a new file begins.
    is_at_rotation: bool,
    /// The new file is listed, but not safely.
    is_rotation_unsettled: bool,
    /// Cuts, and the file that begins there.
    cuts: Vec<(u64, u64)>,
    bases: VecDeque<Base>,
    /// This base is listed, but not safely.
    unsettled_base: Option<u64>,
    settle_at: Option<Duration>,
    trim_at: Option<Duration>,
    is_removing: bool,

    trouble: Option<Trouble>,
    now: Duration,
    jobs: Vec<Job>,
    events: Vec<Event>,
    chunks: Vec<Chunk>,
    figures: Figures,
    /// All files but the current one.
    earlier_bytes: u64,
    last_group_units: u64,
}

impl Appender {
    /// Goes on with the last file of the set, or begins one.
    pub(crate) fn new(reader: Reader, mut files: Files, policy: Fsync, keep_history: bool) -> io::Result<Appender> {
        let begin = reader.released();
        let (file, length) = match files.reopen()? {
            Some(found) => found,
            None => match files.add_incremental() {
                Ok(file) => (file, 0),
                Err(unpersisted) => return Err(unpersisted.into_error()),
            },
        };
        // What a server before this one has written may not be safe yet, and will count as this one's past.
        file.sync_data()?;
        let (_, size_bytes) = files.sizes();
        let mut appender = Appender {
            settle_at: (!files.is_settled()).then_some(Duration::ZERO),
            // A new set waits for the base of its beginning.
            cuts: if files.is_published() { Vec::new() } else { vec![(begin, files.last_sequence())] },
            reader,
            files,
            file,
            origin: (begin, length),
            written: begin,
            written_units: 0,
            whole: begin,
            synced: begin,
            released: begin,
            gap: Gap::None,
            is_reopen_due: false,
            policy,
            is_suspended: false,
            keep_history,
            flight: None,
            last_sync: Duration::ZERO,
            is_at_rotation: false,
            is_rotation_unsettled: false,
            bases: VecDeque::new(),
            unsettled_base: None,
            trim_at: None,
            is_removing: false,
            trouble: None,
            now: Duration::ZERO,
            jobs: Vec::new(),
            events: Vec::new(),
            chunks: Vec::new(),
            figures: Figures { size_bytes, base_size_bytes: size_bytes, ..Figures::default() },
            earlier_bytes: size_bytes - length,
            last_group_units: 1,
        };
        // What stays until it is synchronised comes back at once then, and is needed again.
        appender.journal().keep_spare(UNSYNCED_BYTES_MAX);
        appender.journal().publish_durable(begin);
        appender.refresh_figures();
        Ok(appender)
    }

    fn journal(&self) -> &Arc<Journal> {
        self.reader.journal()
    }

    pub(crate) fn set_policy(&mut self, policy: Fsync) {
        self.policy = policy;
    }

    pub(crate) fn policy(&self) -> Fsync {
        self.policy
    }

    pub(crate) fn suspend_syncs(&mut self, is_suspended: bool) {
        self.is_suspended = is_suspended;
    }

    pub(crate) fn set_keep_history(&mut self, keep_history: bool) {
        self.keep_history = keep_history;
        self.settle_at = (!self.files.is_settled()).then_some(self.now);
    }

    /// The base of this cut is written and safe.
    pub(crate) fn install_base(&mut self, at: u64, temporary: PathBuf, form: BaseForm) {
        self.bases.push_back(Base { at, temporary, form });
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The units and the offset that are in a file: whoever sleeps, sleeps until there are more.
    pub(crate) fn written(&self) -> (u64, u64) {
        (self.written_units, self.written)
    }

    /// How many units the last group had: in a closed loop, as many come again.
    pub(crate) fn last_group_units(&self) -> u64 {
        self.last_group_units
    }

    /// More units alone change nothing: it waits for the disk.
    pub(crate) fn is_stuck(&self) -> bool {
        self.trouble.is_some() || self.is_at_rotation
    }

    pub(crate) fn into_reader(self) -> Reader {
        self.reader
    }

    /// Does what can be done now.
    pub(crate) fn step(&mut self, now: Duration) -> Next {
        self.now = now;
        let before = (self.written, self.origin);
        let is_held_off = self.trouble.as_ref().is_some_and(|trouble| now < trouble.retry_at);
        let mut is_busy = false;
        if !is_held_off {
            match self.advance() {
                Ok(()) => {
                    is_busy = self.tail() > self.written && before != (self.written, self.origin);
                    self.recover();
                }
                Err((stage, error)) => self.fail(stage, &error),
            }
        }
        self.watch_flight();
        self.release();
        self.trim();
        self.refresh_figures();
        Next {
            jobs: std::mem::take(&mut self.jobs),
            events: std::mem::take(&mut self.events),
            is_busy,
            due: self.due(),
        }
    }

    fn tail(&self) -> u64 {
        self.journal().tail(Destination::Aof)
    }

    fn advance(&mut self) -> Result<(), (Stage, io::Error)> {
        if self.is_reopen_due {
            self.reopen().map_err(|error| (Stage::Sync, error))?;
        }
        if self.is_rotation_unsettled {
            self.settle_rotation().map_err(|error| (Stage::Rotate, error))?;
        }
        if self.gap == Gap::Open {
            self.discard();
            return Ok(());
        }
        self.write().map_err(|error| (Stage::Write, error))?;
        if self.policy == Fsync::Always && self.journal().durable() < self.written && planted("reply-before-durable") {
            // The replies go now, the sync comes with a later step.
            self.journal().publish_durable(self.written);
            self.events.push(Event::Progress);
        } else if self.policy == Fsync::Always && !self.is_suspended {
            self.sync().map_err(|error| (Stage::Sync, error))?;
        } else if self.policy == Fsync::Always && self.journal().publish_answerable(self.written) {
            self.events.push(Event::Progress);
        }
        if self.is_at_rotation {
            self.sync().map_err(|error| (Stage::Sync, error))?;
            if self.synced == self.written {
                self.go_over()?;
            }
        }
        self.install_bases();
        self.settle();
        if self.trouble.as_ref().is_some_and(|trouble| trouble.failure.stage == Stage::Sync) {
            // After a failed sync only a good one shows that the disk is back.
            self.sync().map_err(|error| (Stage::Sync, error))?;
        }
        self.start_sync();
        Ok(())
    }

    fn position(&self, offset: u64) -> u64 {
        self.origin.1 + (offset - self.origin.0)
    }

    /// Writes up to the next cut or the end.
    fn write(&mut self) -> io::Result<()> {
        let mut chunks = std::mem::take(&mut self.chunks);
        let read = self.reader.read(self.written, WRITE_BYTES_MAX, &mut chunks);
        let done = self.write_chunks(&chunks);
        chunks.clear();
        self.chunks = chunks;
        if done.is_ok() {
            if read.is_all {
                self.last_group_units = (read.units - self.written_units).max(1);
                self.written_units = read.units;
            }
            if read.is_all || read.is_rotation {
                self.whole = read.end;
            }
        } else {
            self.cut_back();
        }
        self.is_at_rotation = done.is_ok() && read.is_rotation;
        self.journal().publish_written(self.written);
        done
    }

    /// Passes over what the next snapshot will hold, and begins a new set at its cut.
    fn discard(&mut self) {
        let mut chunks = Vec::new();
        let read = self.reader.read(self.written, usize::MAX, &mut chunks);
        drop(chunks);
        (self.written, self.whole, self.synced) = (read.end, read.end, read.end);
        if read.is_all {
            self.written_units = read.units;
        }
        self.journal().publish_written(self.written);
        self.is_at_rotation = read.is_rotation;
        if read.is_rotation {
            // What cannot be made now is asked for again with the next cut.
            let begun = self.files.add_incremental();
            match begun {
                Ok(file) => {
                    self.gap = Gap::Behind(self.written);
                    self.have_gone_over(file);
                }
                Err(unpersisted) => self.refuse_rotation(&unpersisted.into_error()),
            }
        }
        self.install_bases();
    }

    fn refuse_rotation(&mut self, error: &io::Error) {
        let at = self.journal().end_rotation();
        self.is_at_rotation = false;
        self.events.push(Event::RotationFailed { at, error: system_text(error) });
        if self.gap != Gap::None {
            self.events.push(Event::RewriteNeeded);
        }
    }

    fn write_chunks(&mut self, chunks: &[Chunk]) -> io::Result<()> {
        for group in chunks.chunks(SLICES_MAX) {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            slices.iter_mut().zip(group).for_each(|(slice, chunk)| *slice = IoSlice::new(chunk));
            let mut rest = &mut slices[..group.len()];
            while !rest.is_empty() {
                match self.file.write_at(rest, self.position(self.written)) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        self.written += count as u64;
                        IoSlice::advance_slices(&mut rest, count);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Takes back half a unit, as far as nobody relies on it: what is safe, what a sync in flight will declare safe, and what is not in memory
    /// any more stays.
    fn cut_back(&mut self) {
        let in_flight = self.flight.map_or(0, |flight| flight.upto);
        let back = self.whole.max(self.synced).max(self.released).max(in_flight);
        if back < self.written && self.file.set_len(self.position(back)).is_ok() {
            self.written = back;
        }
    }

    /// Makes everything safe that is written. Not while another sync is in flight: the kernel reports a failure once, and it
    /// might report it there.
    fn sync(&mut self) -> io::Result<()> {
        if self.flight.is_some() || self.synced == self.written && !self.is_sync_in_doubt() {
            return Ok(());
        }
        match self.file.sync_data() {
            Ok(()) => {
                self.last_sync = self.now;
                self.synced = self.written;
                self.publish();
                Ok(())
            }
            Err(error) => {
                self.distrust();
                Err(error)
            }
        }
    }

    fn is_sync_in_doubt(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.failure.stage == Stage::Sync)
    }

    fn publish(&mut self) {
        if self.gap == Gap::None {
            self.journal().publish_durable(self.synced);
            self.events.push(Event::Progress);
        }
    }

    /// A sync has failed: what was written since the last good one has to be written again.
    fn distrust(&mut self) {
        self.is_reopen_due = true;
        if self.released <= self.synced {
            self.written = self.synced;
            self.whole = self.whole.min(self.synced);
            self.journal().publish_written(self.written);
        } else {
            self.gap = Gap::Open;
            // Bases of these cuts would need what is lost.
            self.cuts.clear();
            self.events.push(Event::RewriteNeeded);
        }
    }

    /// A file opened anew hears of errors from here on.
    fn reopen(&mut self) -> io::Result<()> {
        let (file, _) = self.files.reopen()?.expect("the file that is written is in the set");
        if self.gap == Gap::Open {
            file.set_len(self.position(self.synced))?;
            self.files.begin_anew();
        }
        self.file = file;
        self.is_reopen_due = false;
        Ok(())
    }

    /// Goes over to a new file. What was written is safe.
    fn go_over(&mut self) -> Result<(), (Stage, io::Error)> {
        match self.files.add_incremental() {
            Ok(file) => self.have_gone_over(file),
            Err(Unpersisted::Refused(error)) => self.refuse_rotation(&error),
            Err(Unpersisted::Unsettled(error)) => {
                self.is_rotation_unsettled = true;
                return Err((Stage::Rotate, error));
            }
        }
        Ok(())
    }

    fn settle_rotation(&mut self) -> io::Result<()> {
        self.files.settle()?;
        let (file, length) = self.files.reopen()?.expect("the new file is listed");
        assert_eq!(length, 0, "nobody has written to the new file");
        self.is_rotation_unsettled = false;
        self.have_gone_over(file);
        Ok(())
    }

    fn have_gone_over(&mut self, file: Arc<dyn DiskFile>) {
        let at = self.journal().end_rotation();
        self.is_at_rotation = false;
        self.file = file;
        self.origin = (self.written, 0);
        self.earlier_bytes = self.files.sizes().1;
        self.cuts.push((at, self.files.last_sequence()));
        self.events.push(Event::Rotated { at, name: self.files.last_name() });
    }

    fn install_bases(&mut self) {
        while let Some(base) = self.bases.front() {
            let at = base.at;
            if self.journal().is_rotation_ahead(at) || self.unsettled_base.is_some() || self.is_removing {
                // Its cut is still ahead, the old file cannot be left yet; or the base before it does not count yet; or history is about to be
                // forgotten as a whole.
                return;
            }
            let base = self.bases.pop_front().expect("looked at above");
            let Some(&(_, first)) = self.cuts.iter().find(|(cut, _)| *cut == at) else {
                let error = "the file of its cut could not be made".to_owned();
                self.events.push(Event::BaseFailed { at, error });
                continue;
            };
            match self.files.install_base(&base.temporary, base.form, first) {
                Err(Unpersisted::Refused(error)) => {
                    let _ = self.files.disk().remove(&base.temporary);
                    self.events.push(Event::BaseFailed { at, error: system_text(&error) });
                }
                Ok(()) => self.have_installed(at),
                Err(Unpersisted::Unsettled(_)) => {
                    // A crash could still bring the old set back: it does not count before the folder is safe.
                    self.unsettled_base = Some(at);
                    self.settle_at = Some(self.now + RETRY_FIRST);
                }
            }
        }
    }

    fn have_installed(&mut self, at: u64) {
        self.cuts.retain(|(cut, _)| *cut >= at);
        self.settle_at = Some(self.now);
        self.events.push(Event::BaseInstalled { at, name: self.files.base_name() });
        let (_, size_bytes) = self.files.sizes();
        self.earlier_bytes = size_bytes.saturating_sub(self.position(self.written));
        self.figures.base_size_bytes = size_bytes;
        if matches!(self.gap, Gap::Behind(begin) if begin <= at) {
            self.gap = Gap::None;
            self.publish();
        }
    }

    /// Makes the folder safe and has deleted what was replaced. Failing is no trouble: it costs disk space, and puts off the end of a rewrite.
    fn settle(&mut self) {
        if self.settle_at.is_none_or(|at| self.now < at) {
            return;
        }
        if self.is_removing || self.files.is_settled() {
            self.settle_at = None;
            return;
        }
        let settled = self.files.settle();
        if settled.is_ok()
            && let Some(at) = self.unsettled_base.take()
        {
            self.have_installed(at);
        }
        match settled {
            Ok(paths) if paths.is_empty() || self.keep_history => self.settle_at = None,
            Ok(paths) => {
                self.is_removing = true;
                self.settle_at = None;
                self.jobs.push(Job::Remove(paths));
            }
            Err(_) => self.settle_at = Some(self.now + RETRY_MAX),
        }
    }

    /// The files were deleted, or were not there.
    pub(crate) fn handle_removed(&mut self, removed: io::Result<Vec<PathBuf>>) {
        self.is_removing = false;
        if !self.files.is_published() {
            // The set that is listed is of before; it goes as a whole, once the new one is.
            return;
        }
        match removed.and_then(|paths| self.files.forget_history().map(|()| paths)) {
            Ok(paths) => self.events.extend(paths.into_iter().map(Event::Removed)),
            Err(_) => self.settle_at = Some(self.now + RETRY_MAX),
        }
    }

    /// Under `everysec`: begins a sync beside the writing.
    fn start_sync(&mut self) {
        let is_due = self.policy == Fsync::EverySecond
            && !self.is_suspended
            && self.flight.is_none()
            && self.written > self.synced
            && self.now >= self.last_sync + SYNC_EVERY;
        if is_due {
            self.last_sync = self.now;
            self.flight = Some(Flight { upto: self.written, since: self.now, is_slow: false });
            self.jobs.push(Job::Sync(self.file.clone()));
        }
    }

    /// The sync in flight has ended.
    pub(crate) fn handle_synced(&mut self, result: io::Result<()>, now: Duration) {
        self.now = now;
        let flight = self.flight.take().expect("one was in flight");
        if flight.is_slow {
            self.journal().publish_slow_sync(false);
        }
        match result {
            Ok(()) => {
                self.synced = self.synced.max(flight.upto);
                self.publish();
            }
            Err(error) => {
                self.distrust();
                self.fail(Stage::Sync, &error);
            }
        }
    }

    fn watch_flight(&mut self) {
        if let Some(flight) = &mut self.flight
            && !flight.is_slow
            && self.now >= flight.since + SYNC_SLOW
        {
            flight.is_slow = true;
            self.figures.delayed_syncs += 1;
            self.journal().publish_slow_sync(true);
        }
    }

    fn fail(&mut self, stage: Stage, error: &io::Error) {
        let (since, delay) = match &self.trouble {
            Some(trouble) => (trouble.failure.since, (trouble.delay * 2).min(RETRY_MAX)),
            None => (self.now, RETRY_FIRST),
        };
        let failure = Failure { stage, error: system_text(error), code: error.raw_os_error(), since };
        let is_news = self.trouble.as_ref().is_none_or(|trouble| trouble.failure != failure);
        if is_news {
            self.events.push(Event::Failing(failure.clone()));
        }
        self.trouble = Some(Trouble { failure, retry_at: self.now + delay, delay });
    }

    fn recover(&mut self) {
        let is_sound = self.gap == Gap::None && self.flight.is_none();
        match &mut self.trouble {
            None => {}
            Some(_) if is_sound => {
                self.trouble = None;
                self.events.push(Event::Recovered);
            }
            Some(trouble) => trouble.retry_at = self.now + RETRY_MAX,
        }
    }

    /// Lets go of what nobody will have to write again.
    fn release(&mut self) {
        let is_kept = self.policy != Fsync::No && self.written - self.synced <= UNSYNCED_BYTES_MAX;
        let to = if is_kept { self.synced } else { self.written };
        if to > self.released {
            self.released = to;
            self.reader.release(to);
            self.trim_at.get_or_insert(self.now + SPARE_KEPT);
        }
    }

    fn trim(&mut self) {
        if self.trim_at.is_some_and(|at| at <= self.now) {
            let is_more_to_come = self.journal().trim_spare();
            self.trim_at = is_more_to_come.then_some(self.now + SPARE_KEPT);
        }
    }

    fn due(&self) -> Option<Duration> {
        let slow = self.flight.filter(|flight| !flight.is_slow).map(|flight| flight.since + SYNC_SLOW);
        if let Some(trouble) = &self.trouble {
            return Some(slow.map_or(trouble.retry_at, |slow| slow.min(trouble.retry_at)));
        }
        let waits_for_sync = self.policy == Fsync::EverySecond && !self.is_suspended && self.written > self.synced;
        let sync = (waits_for_sync && self.flight.is_none()).then_some(self.last_sync + SYNC_EVERY);
        [slow, sync, self.settle_at, self.trim_at].into_iter().flatten().min()
    }

    /// The last steps: everything is written and safe, or it is not and that is said.
    pub(crate) fn finish(&mut self, now: Duration) -> io::Result<()> {
        self.now = now;
        assert!(self.flight.is_none(), "what is in flight is waited for");
        let advance = |appender: &mut Appender| -> Result<(), (Stage, io::Error)> {
            if appender.is_reopen_due {
                appender.reopen().map_err(|error| (Stage::Sync, error))?;
            }
            if appender.is_rotation_unsettled {
                appender.settle_rotation().map_err(|error| (Stage::Rotate, error))?;
            }
            while appender.gap != Gap::Open && appender.written < appender.tail() {
                appender.write().map_err(|error| (Stage::Write, error))?;
                if appender.is_at_rotation {
                    // Nobody will come with a base for it any more.
                    appender.journal().end_rotation();
                }
            }
            appender.sync().map_err(|error| (Stage::Sync, error))
        };
        let done = match advance(self) {
            Ok(()) if self.gap != Gap::None => Err(io::Error::other("what was lost has not been rewritten")),
            done => done.map_err(|(_, error)| error),
        };
        self.release();
        self.refresh_figures();
        done
    }

    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn refresh_figures(&mut self) {
        self.figures.size_bytes = self.earlier_bytes + self.position(self.written);
        self.figures.buffer_bytes = self.tail() - self.written;
        self.figures.pending_syncs = u64::from(self.flight.is_some());
        self.figures.failure = self.trouble.as_ref().map(|trouble| trouble.failure.clone());
    }
}

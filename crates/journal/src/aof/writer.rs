//! The threads of the append-only file: one writes, one does what takes long (syncs under `everysec`, deleting). Event loops
//! never wait for either.
//!
//! How long a group gathers:
//! - Under `always` everybody waits for the disk, so one sync for all of them is best. While one runs the next group gathers by itself; and clients that
//!   are answered together come back one after the other, so that the first of them alone would make a poor group. The writer
//!   therefore waits until as many units have come as the last group had, but no longer than half a sync takes.
//! - Otherwise nobody waits, and waking a thread for each command would cost more than the command: what comes within 10 ms is
//!   written at once. That much can be lost when the process is killed, beside what the policy allows to be lost with the machine.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::appender::{Appender, Event, Figures, Fsync, Job};
use super::files::{BaseForm, Files};
use crate::disk::Disk;
use crate::journal::{Destination, Journal, Reader};

/// How long what nobody waits for gathers, and how many bytes end it earlier.
const GATHER: Duration = Duration::from_millis(10);
const GATHER_BYTES: u64 = 256 << 10;
/// The longest that those who wait for the disk wait for each other.
const GATHER_ALWAYS_MAX: Duration = Duration::from_millis(1);

/// How to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub fsync: Fsync,
    /// Replaced files stay (`aof-disable-auto-gc`).
    pub keep_history: bool,
}

enum Order {
    Fsync(Fsync),
    KeepHistory(bool),
    SuspendSyncs(bool),
    InstallBase { at: u64, temporary: PathBuf, form: BaseForm },
    Synced(io::Result<()>),
    Removed(io::Result<Vec<PathBuf>>),
    Stop,
}

struct Shared {
    orders: Mutex<Vec<Order>>,
    figures: Mutex<Figures>,
    journal: Arc<Journal>,
    began: Instant,
}

impl Shared {
    fn order(&self, order: Order) {
        self.orders.lock().push(order);
        self.journal.rouse();
    }
}

/// The append-only file of a running server.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<(io::Result<()>, Reader)>>,
}

impl Writer {
    /// Writes what the reader reads to the files, from now on, and tells `notify` (on its own thread) what comes of it.
    ///
    /// The reader is made on the wide side ([`Journal::reader`]); this may be called later, outside.
    ///
    /// # Errors
    /// The file to go on with cannot be opened, made or synchronised.
    pub fn start(
        reader: Reader,
        files: Files,
        settings: Settings,
        notify: impl Fn(Event) + Send + 'static,
    ) -> io::Result<Writer> {
        let disk = files.disk().clone();
        let journal = reader.journal().clone();
        let appender = Appender::new(reader, files, settings.fsync, settings.keep_history)?;
        let shared = Arc::new(Shared {
            orders: Mutex::new(Vec::new()),
            figures: Mutex::new(appender.figures().clone()),
            journal,
            began: Instant::now(),
        });
        let (jobs, assigned) = mpsc::channel();
        let aide = {
            let shared = shared.clone();
            thread::Builder::new().name("aof-sync".to_owned()).spawn(move || aid(&shared, &*disk, &assigned))?
        };
        let thread = {
            let shared = shared.clone();
            thread::Builder::new().name("aof-write".to_owned()).spawn(move || {
                let mut run = Run { shared, appender, jobs, jobs_out: 0, sync_time: Duration::ZERO };
                let ended = run.until_stopped(&notify);
                let Run { appender, jobs, .. } = run;
                drop(jobs);
                aide.join().expect("a panic ends the process");
                (ended, appender.into_reader())
            })?
        };
        Ok(Writer { shared, thread: Some(thread) })
    }

    /// Cuts the stream: what follows goes to a new file, and [`install_base`](Self::install_base) with this offset will
    /// replace everything before. On the wide side, together with the cut of the snapshot.
    pub fn cut(&self) -> u64 {
        self.shared.journal.rotate()
    }

    /// The data set at a cut is written to `temporary` (relative to `dir`, see [`Files::temporary_base_path`]) and safe. What becomes of it
    /// is told by [`Event::BaseInstalled`] or [`Event::BaseFailed`].
    pub fn install_base(&self, at: u64, temporary: PathBuf, form: BaseForm) {
        self.shared.order(Order::InstallBase { at, temporary, form });
    }

    /// `appendfsync`.
    pub fn set_fsync(&self, fsync: Fsync) {
        self.shared.order(Order::Fsync(fsync));
    }

    /// `aof-disable-auto-gc`.
    pub fn set_keep_history(&self, keep_history: bool) {
        self.shared.order(Order::KeepHistory(keep_history));
    }

    /// Whether syncs wait: a snapshot is written and `no-appendfsync-on-rewrite` is set.
    pub fn suspend_syncs(&self, is_suspended: bool) {
        self.shared.order(Order::SuspendSyncs(is_suspended));
    }

    /// Figures for INFO.
    pub fn figures(&self) -> Figures {
        let mut figures = self.shared.figures.lock().clone();
        let (begun, journal) = (figures.buffer_bytes, &self.shared.journal);
        // What has come since the last step waits too.
        figures.buffer_bytes = begun.max(journal.tail(Destination::Aof) - journal.written());
        figures
    }

    /// How long a failure has lasted, for [`Failure::since`](super::Failure::since).
    pub fn clock(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// Writes what is there, makes it safe, and ends. The reader comes back, to be dropped on the wide side; while it is there the journal goes on
    /// growing.
    ///
    /// # Errors
    /// The disk does not take it, also when asked once more. Everything up to [`Journal::durable`] is safe.
    pub fn stop(mut self) -> (io::Result<()>, Reader) {
        self.shared.order(Order::Stop);
        self.thread.take().expect("it is stopped once").join().expect("a panic ends the process")
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.order(Order::Stop);
            let _ = thread.join();
        }
    }
}

/// What takes long, one after the other.
fn aid(shared: &Shared, disk: &dyn Disk, assigned: &mpsc::Receiver<Job>) {
    for job in assigned {
        shared.order(match job {
            Job::Sync(file) => Order::Synced(file.sync_data()),
            Job::Remove(paths) => Order::Removed(remove(disk, paths)),
        });
    }
}

/// Deletes files; those that are not there are deleted already.
pub(super) fn remove(disk: &dyn Disk, paths: Vec<PathBuf>) -> io::Result<Vec<PathBuf>> {
    for path in &paths {
        match disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(paths)
}

struct Run {
    shared: Arc<Shared>,
    appender: Appender,
    jobs: mpsc::Sender<Job>,
    jobs_out: usize,
    /// What a step with a sync takes, smoothed.
    sync_time: Duration,
}

impl Run {
    fn until_stopped(&mut self, notify: &dyn Fn(Event)) -> io::Result<()> {
        let mut is_stopping = false;
        loop {
            is_stopping |= self.take_orders();
            if is_stopping && self.jobs_out == 0 {
                let ended = self.appender.finish(self.shared.began.elapsed());
                self.appender.take_events().into_iter().for_each(notify);
                *self.shared.figures.lock() = self.appender.figures().clone();
                return ended;
            }
            let begun = self.shared.began.elapsed();
            let written = self.appender.written().1;
            let next = self.appender.step(begun);
            for job in next.jobs {
                self.jobs_out += 1;
                self.jobs.send(job).expect("the aide lives as long as its jobs come");
            }
            self.shared.figures.lock().clone_from(self.appender.figures());
            next.events.into_iter().for_each(notify);
            if self.appender.written().1 > written && self.appender.policy() == Fsync::Always {
                let took = self.shared.began.elapsed() - begun;
                self.sync_time = (self.sync_time * 7 + took) / 8;
            }
            if !next.is_busy {
                self.sleep(next.due);
            }
        }
    }

    fn take_orders(&mut self) -> bool {
        let orders = std::mem::take(&mut *self.shared.orders.lock());
        let mut is_stopping = false;
        for order in orders {
            match order {
                Order::Fsync(fsync) => self.appender.set_policy(fsync),
                Order::KeepHistory(keep) => self.appender.set_keep_history(keep),
                Order::SuspendSyncs(is_suspended) => self.appender.suspend_syncs(is_suspended),
                Order::InstallBase { at, temporary, form } => self.appender.install_base(at, temporary, form),
                Order::Synced(result) => {
                    self.jobs_out -= 1;
                    self.appender.handle_synced(result, self.shared.began.elapsed());
                }
                Order::Removed(result) => {
                    self.jobs_out -= 1;
                    self.appender.handle_removed(result);
                }
                Order::Stop => is_stopping = true,
            }
        }
        is_stopping
    }

    /// Until there is something to do, and then until it is worth doing.
    fn sleep(&self, due: Option<Duration>) {
        let journal = &self.shared.journal;
        let (units, bytes) = self.appender.written();
        let due = due.map(|due| self.shared.began + due);
        // What waits for a disk that fails, or for the end of a sync, gives no reason to look round earlier.
        let at = if self.appender.is_stuck() { u64::MAX } else { units + 1 };
        if journal.sleep(at, u64::MAX, due) {
            return;
        }
        let is_always = self.appender.policy() == Fsync::Always;
        let (units, bytes, gather) = match is_always {
            true => {
                let group = self.appender.last_group_units();
                (units + group, u64::MAX, (self.sync_time / 2).min(GATHER_ALWAYS_MAX))
            }
            false => (u64::MAX, bytes + GATHER_BYTES, GATHER),
        };
        let until = Instant::now() + gather;
        journal.sleep(units, bytes, Some(due.map_or(until, |due| due.min(until))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aof::simulated::{Faults, Simulated};
    use crate::aof::{Failure, Stage};
    use crate::{Batch, Destinations};

    struct Rig {
        disk: Arc<Simulated>,
        journal: Arc<Journal>,
        writer: Writer,
        events: mpsc::Receiver<Event>,
        batch: Batch,
    }

    impl Rig {
        fn new(fsync: Fsync) -> Rig {
            let disk = Arc::new(Simulated::new(testkit::seed()));
            let mut files = Files::open(disk.clone(), b"folder", b"aof").unwrap();
            files.create_base(b"", BaseForm::Commands).unwrap();
            let journal = Arc::new(Journal::new(1 << 20));
            let (told, events) = mpsc::channel();
            let settings = Settings { fsync, keep_history: false };
            let notify = move |event| drop(told.send(event));
            let writer = Writer::start(journal.reader(Destination::Aof), files, settings, notify).unwrap();
            Rig { disk, journal, writer, events, batch: Batch::new() }
        }

        fn append(&mut self, length: usize) -> u64 {
            self.batch.serve(self.journal.wanted());
            self.batch.unit_begin();
            self.batch.effect(0, [b"SET".as_slice(), b"k", &vec![b'x'; length]], Destinations::all());
            self.batch.unit_end();
            self.journal.append(&mut self.batch, 0).aof
        }

        fn wait_durable(&self, offset: u64) {
            let is_durable = testkit::wait_until(Duration::from_secs(20), || self.journal.durable() >= offset);
            assert!(is_durable, "{:?}", self.writer.figures());
        }

        fn wait_for(&self, wanted: impl Fn(&Event) -> bool) -> Event {
            loop {
                let event = self.events.recv_timeout(Duration::from_secs(20)).expect("it comes in time");
                if wanted(&event) {
                    return event;
                }
            }
        }
    }

    #[test]
    fn what_is_appended_becomes_durable_under_each_policy() {
        let mut rig = Rig::new(Fsync::Always);
        for round in 0..200 {
            let offset = rig.append(round * 10);
            rig.wait_durable(offset);
        }
        rig.writer.set_fsync(Fsync::EverySecond);
        let offset = rig.append(100);
        rig.wait_durable(offset);
        rig.writer.set_fsync(Fsync::No);
        let offset = rig.append(100);
        rig.writer.stop().0.unwrap();
        assert_eq!(rig.journal.durable(), offset);
    }

    #[test]
    fn a_full_disk_is_a_state_that_ends_by_itself() {
        let mut rig = Rig::new(Fsync::Always);
        let before = rig.append(10);
        rig.wait_durable(before);
        rig.disk.set_faults(Faults { is_full: true, ..Faults::default() });
        let mut last = rig.append(10);
        let failing = rig.wait_for(|event| matches!(event, Event::Failing(_)));
        assert!(
            matches!(&failing, Event::Failing(Failure { stage: Stage::Write, error, .. }) if error == "No space left on device"),
            "{failing:?}"
        );
        while !rig.journal.is_congested() {
            last = rig.append(100_000);
        }
        let figures = rig.writer.figures();
        assert!(figures.failure.is_some() && figures.buffer_bytes > 1 << 20);
        assert_eq!(rig.journal.durable(), before);
        rig.disk.set_faults(Faults::default());
        rig.wait_for(|event| *event == Event::Recovered);
        rig.wait_durable(last);
        assert!(!rig.journal.is_congested() && rig.writer.figures().failure.is_none());
        rig.writer.stop().0.unwrap();
    }

    /// With `no-appendfsync-on-rewrite` replies leave as under `appendfsync no`, and nothing is called durable that is not.
    #[test]
    fn suspended_syncs_hold_nobody_up() {
        let mut rig = Rig::new(Fsync::Always);
        rig.writer.suspend_syncs(true);
        let offset = rig.append(10);
        let is_answerable = testkit::wait_until(Duration::from_secs(20), || rig.journal.answerable() >= offset);
        assert!(is_answerable && rig.journal.durable() == 0);
        rig.writer.suspend_syncs(false);
        rig.wait_durable(offset);
    }

    #[test]
    fn a_rewrite_replaces_what_went_before() {
        let mut rig = Rig::new(Fsync::EverySecond);
        rig.append(5000);
        let at = rig.writer.cut();
        let end = rig.append(10);
        let path = std::path::Path::new("folder/temp");
        rig.disk.create(path).unwrap().sync_data().unwrap();
        rig.writer.install_base(at, path.to_owned(), BaseForm::Rdb);
        rig.wait_for(|event| *event == Event::BaseInstalled { at, name: "aof.2.base.rdb".to_owned() });
        rig.wait_for(|event| matches!(event, Event::Removed(path) if path.ends_with("aof.1.incr.aof")));
        let is_written = testkit::wait_until(Duration::from_secs(20), || rig.writer.figures().size_bytes == end - at);
        assert!(is_written, "{:?}", rig.writer.figures());
        rig.writer.stop().0.unwrap();
        let files = Files::open(rig.disk, b"folder", b"aof").unwrap();
        let names: Vec<_> =
            files.parts().unwrap().into_iter().map(|part| String::from_utf8(part.name).unwrap()).collect();
        assert_eq!(names, ["aof.2.base.rdb", "aof.2.incr.aof"]);
    }
}

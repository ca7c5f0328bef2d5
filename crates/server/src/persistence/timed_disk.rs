//! The disk of the append-only file, with an eye on the clock: what takes long there is noted by the latency monitor under Redis's names.
//!
//! No client waits for a write here, nor for a sync but under `appendfsync always`. The events say all the same what Redis's say: the disk
//! is slow, and how far it is behind is how much can be lost.

use std::io::{self, IoSlice, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use commands::observation::latency::LatencyMonitor;
use journal::disk::{Disk, DiskFile, FileSystem};

use super::aof::Status;
use crate::shared::now;

/// The disk of the operating system below `dir`.
pub struct TimedDisk {
    disk: FileSystem,
    watch: Arc<Watch>,
}

struct TimedFile {
    file: Arc<dyn DiskFile>,
    watch: Arc<Watch>,
}

struct Watch {
    latency: Arc<LatencyMonitor>,
    status: Arc<Status>,
    syncs_under_way: AtomicUsize,
}

impl Watch {
    fn note(&self, event: &'static str, began: Instant) {
        self.latency.note(event, began.elapsed().as_millis() as u64, now());
    }

    fn note_write(&self, began: Instant) {
        self.note("aof-write", began);
        // Redis has a second name for each write, which says what else kept the disk busy.
        let beside = match () {
            () if self.syncs_under_way.load(Relaxed) > 0 => "aof-write-pending-fsync",
            () if self.status.has_job.load(Relaxed) => "aof-write-active-child",
            () => "aof-write-alone",
        };
        self.note(beside, began);
    }
}

impl TimedDisk {
    pub fn new(latency: Arc<LatencyMonitor>, status: Arc<Status>) -> TimedDisk {
        let watch = Watch { latency, status, syncs_under_way: AtomicUsize::new(0) };
        TimedDisk { disk: FileSystem::new("."), watch: Arc::new(watch) }
    }

    fn timed(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(TimedFile { file, watch: self.watch.clone() })
    }
}

impl Disk for TimedDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(path).map(|file| self.timed(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path).map(|file| self.timed(file))
    }

    fn reader(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        self.disk.reader(path, offset)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.disk.size(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let began = Instant::now();
        let renamed = self.disk.rename(from, to);
        self.watch.note("aof-rename", began);
        renamed
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.disk.create_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_folder(path)
    }
}

impl DiskFile for TimedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let began = Instant::now();
        let written = self.file.write_at(slices, position);
        self.watch.note_write(began);
        written
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let began = Instant::now();
        self.watch.syncs_under_way.fetch_add(1, Relaxed);
        let synced = self.file.sync_data();
        self.watch.syncs_under_way.fetch_sub(1, Relaxed);
        if self.watch.status.holds_replies.load(Relaxed) {
            self.watch.note("aof-fsync-always", began);
        }
        synced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_write_has_two_names() {
        let latency = Arc::new(LatencyMonitor::default());
        latency.set_threshold(1);
        let status = Arc::new(Status::default());
        let watch = Watch { latency: latency.clone(), status: status.clone(), syncs_under_way: AtomicUsize::new(0) };
        let began = Instant::now() - Duration::from_millis(5);
        let names = || latency.all().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        watch.note_write(began);
        assert_eq!(names(), ["aof-write", "aof-write-alone"]);
        latency.forget_all();
        status.has_job.store(true, Relaxed);
        watch.note_write(began);
        assert_eq!(names(), ["aof-write", "aof-write-active-child"]);
        latency.forget_all();
        watch.syncs_under_way.store(1, Relaxed);
        watch.note_write(began);
        assert_eq!(names(), ["aof-write", "aof-write-pending-fsync"]);
        latency.forget_all();
        watch.note_write(Instant::now());
        assert!(names().is_empty());
    }
}

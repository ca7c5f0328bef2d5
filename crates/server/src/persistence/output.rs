//! The file that a snapshot becomes, or the stream to replicas: chunks from several walkers, one checksum.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rdb::{Checksum, Version};

use super::capture::Form;
use crate::operation::memory;
use crate::replication::Transfer;

/// So much is handed to the disk at a time (`rdb-save-incremental-fsync`): the last synchronisation has little left to do.
const SYNCED_BYTES: u64 = 4 << 20;

/// Who waits for room looks so often whether anybody still wants the snapshot.
const LOOK: Duration = Duration::from_millis(100);

/// Where the bytes go.
enum Sink {
    /// A file under a temporary name. Without [`Output::finish`] it is removed when this is dropped.
    File { file: File, temporary: PathBuf },
    /// Replicas that read it as it is made.
    Replicas(Arc<Transfer>),
}

/// What a snapshot is written to.
pub struct Output {
    sink: Sink,
    form: Form,
    is_finished: bool,
    /// Of everything behind the header, which is written last: it says which version the values needed.
    checksum: Checksum,
    with_checksum: bool,
    incremental: bool,
    written: u64,
    synced: u64,
    /// What is written waits for room: there is nothing else to do.
    waits: bool,
}

impl Output {
    /// # Errors
    /// The file cannot be created.
    pub fn create(temporary: PathBuf, form: Form, with_checksum: bool, incremental: bool) -> io::Result<Output> {
        let mut file = File::create(&temporary)?;
        let mut header = Vec::new();
        if form == Form::Records {
            rdb::encode::header(&mut header, Version::LATEST);
        }
        file.write_all(&header)?;
        Ok(Output {
            sink: Sink::File { file, temporary },
            form,
            is_finished: false,
            checksum: Checksum::new(),
            with_checksum: with_checksum && form == Form::Records,
            incremental,
            written: header.len() as u64,
            synced: header.len() as u64,
            waits: false,
        })
    }

    /// The stream to replicas. Its header leaves before anybody knows which version the values need, so it is the oldest: readers know
    /// each type of value by itself.
    ///
    /// # Errors
    /// Nobody wants it any more.
    pub fn to_replicas(transfer: Arc<Transfer>, with_checksum: bool) -> io::Result<Output> {
        let mut output = Output {
            sink: Sink::Replicas(transfer),
            form: Form::Records,
            is_finished: true,
            checksum: Checksum::new(),
            with_checksum,
            incremental: false,
            written: 0,
            synced: 0,
            waits: false,
        };
        let mut header = Vec::new();
        rdb::encode::header(&mut header, Version::REDIS_7_0);
        output.write(&header)?;
        Ok(output)
    }

    /// Whether it takes more, now or within this time. What is written all the same is kept in memory.
    ///
    /// # Errors
    /// Nobody wants it any more.
    pub fn wait_for_room(&self, at_most: Duration) -> io::Result<bool> {
        match &self.sink {
            Sink::File { .. } => Ok(true),
            Sink::Replicas(transfer) => transfer.wait_for_room(at_most),
        }
    }

    /// From now on, whoever writes waits until there is room.
    pub fn wait_from_now_on(&mut self) {
        self.waits = true;
    }

    /// # Errors
    /// The disk is full or broken; likewise below.
    pub fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        if self.with_checksum {
            // Some ten bytes a nanosecond: to sum chunks elsewhere and put the sums together would take longer.
            self.checksum.update(chunk);
        }
        self.write_unsummed(chunk)
    }

    fn write_unsummed(&mut self, chunk: &[u8]) -> io::Result<()> {
        match &mut self.sink {
            Sink::File { file, .. } => file.write_all(chunk)?,
            Sink::Replicas(transfer) => {
                while self.waits && !transfer.wait_for_room(LOOK)? {}
                transfer.write(chunk)?;
            }
        }
        self.written += chunk.len() as u64;
        // What others have captured is given back here, and what is made here for replicas elsewhere: in the end as much as there is data.
        memory::publish();
        if self.incremental
            && self.written - self.synced >= SYNCED_BYTES
            && let Sink::File { file, .. } = &self.sink
        {
            start_writeback(file, self.synced, self.written - self.synced);
            self.synced = self.written;
        }
        Ok(())
    }

    /// Ends the file, makes it safe on disk and gives it its name. Returns its length.
    pub fn finish(mut self, version: Version, name: &Path) -> io::Result<u64> {
        if self.form == Form::Records {
            self.end_records(version)?;
        }
        if let Sink::File { file, temporary } = &self.sink {
            file.sync_all()?;
            std::fs::rename(temporary, name)?;
            self.is_finished = true;
            sync_folder(name)?;
        }
        Ok(self.written)
    }

    fn end_records(&mut self, version: Version) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let mut end = Vec::new();
        rdb::encode::end(&mut end);
        self.write(&end)?;
        let mut whole = Checksum::new();
        if let Sink::File { file, .. } = &self.sink {
            let mut header = Vec::new();
            rdb::encode::header(&mut header, version);
            file.write_all_at(&header, 0)?;
            whole.update(&header);
        }
        whole.append(&self.checksum);
        let mut footer = Vec::new();
        rdb::encode::footer(&mut footer, if self.with_checksum { whole.finish() } else { 0 });
        self.write_unsummed(&footer)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Sink::File { temporary, .. } = &self.sink
            && !self.is_finished
        {
            let _ = std::fs::remove_file(temporary);
        }
    }
}

/// Makes the names in the folder of this file safe on disk.
///
/// # Errors
/// The folder cannot be opened or synchronised.
pub fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// Asks the kernel to begin writing this part. Only a hint: errors come with the synchronisation.
fn start_writeback(file: &File, from: u64, len: u64) {
    use std::os::fd::AsRawFd;
    // SAFETY: a plain system call on a descriptor that is open.
    unsafe { libc::sync_file_range(file.as_raw_fd(), from as i64, len as i64, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_settled_last_and_the_checksum_is_of_everything() {
        let folder = tempfile::tempdir().unwrap();
        let (temporary, name) = (folder.path().join("temporary"), folder.path().join("name"));
        let mut output = Output::create(temporary.clone(), Form::Records, true, true).unwrap();
        let mut record = Vec::new();
        rdb::encode::aux(&mut record, b"name", &[b'v'; 100_000]);
        for _ in 0..100 {
            output.write(&record).unwrap();
        }
        assert!(!name.exists() && temporary.exists());
        let bytes = output.finish(Version::REDIS_7_0, &name).unwrap();
        assert!(name.exists() && !temporary.exists());
        let file = std::fs::read(&name).unwrap();
        assert_eq!(file.len() as u64, bytes);
        let mut header = Vec::new();
        rdb::encode::header(&mut header, Version::REDIS_7_0);
        assert!(file.starts_with(&header));
        let (content, footer) = file.split_at(file.len() - 8);
        assert_eq!(Checksum::of(content).to_le_bytes(), footer);
    }

    #[test]
    fn what_is_not_finished_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let temporary = folder.path().join("temporary");
        drop(Output::create(temporary.clone(), Form::Records, true, true).unwrap());
        assert!(!temporary.exists());
        // A name that cannot be taken.
        std::fs::create_dir(folder.path().join("name")).unwrap();
        let output = Output::create(temporary.clone(), Form::Records, true, true).unwrap();
        assert!(output.finish(Version::REDIS_7_0, &folder.path().join("name")).is_err());
        assert!(!temporary.exists());
    }
}

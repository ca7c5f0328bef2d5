//! The file that a snapshot becomes: chunks from several walkers, one checksum.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rdb::{Checksum, Version};

use super::capture::Form;

/// So much is handed to the disk at a time (`rdb-save-incremental-fsync`): the last synchronisation has little left to do.
const SYNCED_BYTES: u64 = 4 << 20;

/// A file under a temporary name. Without [`Output::finish`] it is removed when this is dropped.
pub struct Output {
    file: File,
    temporary: PathBuf,
    form: Form,
    is_finished: bool,
    /// Of everything behind the header, which is written last: it says which version the values needed.
    checksum: Checksum,
    with_checksum: bool,
    incremental: bool,
    written: u64,
    synced: u64,
}

impl Output {
    /// # Errors
    /// The file cannot be created.
    pub fn create(temporary: PathBuf, form: Form, with_checksum: bool, incremental: bool) -> io::Result<Output> {
        let file = File::create(&temporary)?;
        let mut header = Vec::new();
        if form == Form::Records {
            rdb::encode::header(&mut header, Version::LATEST);
        }
        let mut output = Output {
            file,
            temporary,
            form,
            is_finished: false,
            checksum: Checksum::new(),
            with_checksum: with_checksum && form == Form::Records,
            incremental,
            written: header.len() as u64,
            synced: header.len() as u64,
        };
        output.file.write_all(&header)?;
        Ok(output)
    }

    /// # Errors
    /// The disk is full or broken; likewise below.
    pub fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        let checksum = self.with_checksum.then(|| {
            let mut checksum = Checksum::new();
            checksum.update(chunk);
            checksum
        });
        self.write_summed(chunk, checksum)
    }

    /// The same with the checksum of the chunk, which was computed outside of the output's lock.
    pub fn write_summed(&mut self, chunk: &[u8], checksum: Option<Checksum>) -> io::Result<()> {
        self.file.write_all(chunk)?;
        if let Some(checksum) = checksum {
            self.checksum.append(&checksum);
        }
        self.written += chunk.len() as u64;
        if self.incremental && self.written - self.synced >= SYNCED_BYTES {
            start_writeback(&self.file, self.synced, self.written - self.synced);
            self.synced = self.written;
        }
        Ok(())
    }

    /// Ends the file, makes it safe on disk and gives it its name. Returns its length.
    pub fn finish(mut self, version: Version, name: &Path) -> io::Result<u64> {
        if self.form == Form::Records {
            self.end_records(version)?;
        }
        self.file.sync_all()?;
        std::fs::rename(&self.temporary, name)?;
        self.is_finished = true;
        sync_folder(name)?;
        Ok(self.written)
    }

    fn end_records(&mut self, version: Version) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let mut end = Vec::new();
        rdb::encode::end(&mut end);
        self.write(&end)?;
        let mut header = Vec::new();
        rdb::encode::header(&mut header, version);
        self.file.write_all_at(&header, 0)?;
        let sum = if self.with_checksum {
            let mut whole = Checksum::new();
            whole.update(&header);
            whole.append(&self.checksum);
            whole.finish()
        } else {
            0
        };
        let mut footer = Vec::new();
        rdb::encode::footer(&mut footer, sum);
        self.file.write_all(&footer)?;
        self.written += footer.len() as u64;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = std::fs::remove_file(&self.temporary);
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

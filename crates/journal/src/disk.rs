//! What the append-only file needs of a disk, and nothing more, so that a test can be the disk.
//!
//! Paths are relative to the server's `dir`, and at most one folder deep. Nothing is safe before it is synchronised: the bytes of
//! a file by [`DiskFile::sync_data`], its name (new, renamed, removed) by [`Disk::sync_folder`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder tree.
pub trait Disk: Send + Sync {
    /// A file without content, in place of whatever had that name.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// A file that is there, to write on.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// A file's content, from an offset on.
    fn reader(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>>;

    /// A file's length in bytes; `NotFound` where there is none.
    fn size(&self, path: &Path) -> io::Result<u64>;

    /// Gives a file another name, in place of whatever had that name, at one instant.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder unless it is there.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder safe; the empty path is `dir` itself.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// A file that is written.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Writes at a position, and says how many bytes it has written: fewer than asked for when the disk fills up, for instance.
    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// Cuts it to a length.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Makes what was written safe, length included. After an error nothing is known of what was written since the last success.
    fn sync_data(&self) -> io::Result<()>;
}

/// The disk of the operating system.
pub struct FileSystem {
    directory: PathBuf,
}

impl FileSystem {
    /// Relative paths begin here.
    pub fn new(directory: impl Into<PathBuf>) -> FileSystem {
        FileSystem { directory: directory.into() }
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }
}

impl Disk for FileSystem {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(self.path(path))?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().write(true).open(self.path(path))?))
    }

    fn reader(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(self.path(path))?;
        file.seek(SeekFrom::Start(offset))?;
        // A hint that costs nothing: files are read once, up to the end.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        Ok(Box::new(file))
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(self.path(path)).map(|metadata| metadata.len())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(self.path(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            done => done,
        }
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(self.path(path))?.sync_all()
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        match slices {
            [one] => FileExt::write_at(self, one, position),
            _ => Ok(rustix::io::pwritev(self, slices, position)?),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}

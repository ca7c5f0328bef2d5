//! The files of the append-only file and the order in which they come and go.
//!
//! ```text
//! on disk             manifest lists          what happens
//! b1 i1               b1 i1
//! b1 i1 i2            b1 i1 i2                a rewrite begins: what follows its cut goes to i2       (add_incremental)
//! b1 i1 i2 b2         b1 i1 i2                the new base, safe, gets its name                       (install_base)
//! b1 i1 i2 b2         b2 i2   b1 i1 history   the manifest is replaced at one instant
//! i2 b2               b2 i2                   once that is safe, history is deleted                   (settle)
//! ```
//!
//! - *What if it crashes in between?* Whichever of the two manifests is found, the files it lists are there, and both lists load to the same
//!   data. A file that no manifest lists is overwritten by the next one of its name.
//! - *What if a rename fails?* It has not happened. What if the folder cannot be synchronised after it? Then either manifest may be found, so
//!   nothing that the old one lists is deleted until a later attempt succeeds.

use std::fmt;
use std::io::{self, IoSlice, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{Entry, Manifest, ManifestError};
use crate::disk::{Disk, DiskFile};

/// The form of a base file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseForm {
    Rdb,
    /// Commands, as in the incremental files (`aof-use-rdb-preamble no`).
    Commands,
}

impl BaseForm {
    fn suffix(self) -> &'static str {
        match self {
            BaseForm::Rdb => "rdb",
            BaseForm::Commands => "aof",
        }
    }
}

/// A file to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// As the manifest names it, for the log.
    pub name: Vec<u8>,
    /// Relative to `dir`.
    pub path: PathBuf,
    pub size_bytes: u64,
    pub is_base: bool,
    /// Only here a file may end in the middle of a command.
    pub is_last: bool,
}

/// Why there is no append-only file to go on with.
#[derive(Debug)]
pub enum OpenError {
    Manifest(ManifestError),
    /// A file that the manifest lists is not there, or cannot be looked at.
    Part {
        name: Vec<u8>,
        error: io::Error,
    },
    Io {
        what: &'static str,
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Manifest(error) => error.fmt(f),
            OpenError::Part { name, error } => {
                let name = String::from_utf8_lossy(name);
                write!(f, "Unable to obtain the AOF file {name} length. stat: {}", super::system_text(error))
            }
            OpenError::Io { what, error } => write!(f, "{what}: {}", super::system_text(error)),
        }
    }
}

impl std::error::Error for OpenError {}

/// How far a change of the manifest got before it failed.
#[derive(Debug)]
pub(crate) enum Unpersisted {
    /// The old manifest is there, and is all there is.
    Refused(io::Error),
    /// The new one is in its place, but that is not yet safe.
    Unsettled(io::Error),
}

/// The append-only file as a set of files.
pub struct Files {
    disk: Arc<dyn Disk>,
    /// `appenddirname`.
    folder: PathBuf,
    /// `appendfilename`.
    stem: Vec<u8>,
    manifest: Manifest,
    /// The numbers last given.
    base_sequence: u64,
    incremental_sequence: u64,
    /// The manifest lists a set that can be loaded: false while the append-only file was switched on and its base is not there yet.
    is_published: bool,
    /// The manifest in the folder may not be safe yet, or history waits to be deleted.
    is_settled: bool,
}

impl Files {
    /// Looks what is there. An old single file in `dir` becomes the base of a new set.
    ///
    /// # Errors
    /// A manifest that cannot be read, a listed file that is missing, a disk that fails: the server must not start with
    /// half of its data.
    pub fn open(disk: Arc<dyn Disk>, folder: &[u8], stem: &[u8]) -> Result<Files, OpenError> {
        let mut files = Files {
            disk,
            folder: path_of(folder),
            stem: stem.to_vec(),
            manifest: Manifest::default(),
            base_sequence: 0,
            incremental_sequence: 0,
            is_published: true,
            is_settled: true,
        };
        match read_all(&*files.disk, &files.manifest_path()) {
            Ok(text) => files.adopt(Manifest::parse(&text).map_err(OpenError::Manifest)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(OpenError::Io { what: "Fatal error: can't open the AOF manifest file for reading", error });
            }
        }
        files.upgrade().map_err(|error| OpenError::Io { what: "Can't move the old-style AOF file", error })?;
        Ok(files)
    }

    fn adopt(&mut self, manifest: Manifest) {
        self.base_sequence = manifest.base.as_ref().map_or(0, |base| base.sequence);
        self.incremental_sequence = manifest.incremental.last().map_or(0, |last| last.sequence);
        self.is_settled = manifest.history.is_empty();
        self.manifest = manifest;
    }

    /// Before there were manifests, `appendonly.aof` in `dir` was everything. The manifest comes first and the file moves then: the
    /// other way round, a crash in between would leave a folder that looks empty.
    fn upgrade(&mut self) -> io::Result<()> {
        let old = path_of(&self.stem);
        let is_begun = self.manifest.incremental.is_empty()
            && self.manifest.base.as_ref().is_some_and(|base| base.name == self.stem)
            && is_missing(self.disk.size(&self.path(&self.stem)))?;
        if !(self.manifest.is_empty() || is_begun) || is_missing(self.disk.size(&old))? {
            return Ok(());
        }
        self.create_folder()?;
        self.manifest.base = Some(Entry::new(self.stem.clone(), 1));
        self.base_sequence = 1;
        self.persist(self.manifest.clone()).map_err(Unpersisted::into_error)?;
        self.disk.rename(&old, &self.path(&self.stem))?;
        self.disk.sync_folder(&self.folder)?;
        self.disk.sync_folder(Path::new(""))
    }

    /// The files to load, in this order.
    ///
    /// # Errors
    /// One is missing.
    pub fn parts(&self) -> Result<Vec<Part>, OpenError> {
        let entries = self.manifest.base.iter().map(|entry| (entry, true));
        let entries = entries.chain(self.manifest.incremental.iter().map(|entry| (entry, false)));
        let mut parts = Vec::new();
        for (entry, is_base) in entries {
            let path = self.path(&entry.name);
            match self.disk.size(&path) {
                Ok(size_bytes) => {
                    parts.push(Part { name: entry.name.clone(), path, size_bytes, is_base, is_last: false })
                }
                Err(error) => return Err(OpenError::Part { name: entry.name.clone(), error }),
            }
        }
        if let Some(last) = parts.last_mut() {
            last.is_last = true;
        }
        Ok(parts)
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.manifest.is_empty()
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Whether a part begins with a snapshot: the caller loads that, and reads on with [`Commands`](super::Commands) where it ends.
    pub fn is_rdb(&self, part: &Part) -> io::Result<bool> {
        let mut beginning = Vec::new();
        self.disk.reader(&part.path, 0)?.take(8).read_to_end(&mut beginning)?;
        Ok(super::is_rdb(&beginning))
    }

    /// Cuts a file where its last whole unit ends, before anything is written behind.
    pub fn truncate(&self, part: &Part, length: u64) -> io::Result<()> {
        let file = self.disk.open(&part.path)?;
        file.set_len(length)?;
        file.sync_data()
    }

    /// The first base of a new set: `content` is the data set at the start, which is nearly always an empty one.
    pub fn create_base(&mut self, content: &[u8], form: BaseForm) -> io::Result<()> {
        assert!(self.manifest.is_empty(), "a set has one base");
        self.create_folder()?;
        let temporary = self.path(&self.temporary_base_name());
        write_all(&*self.disk, &temporary, content)?;
        let entry = self.name_base(&temporary, form)?;
        self.base_sequence = entry.sequence;
        let manifest = Manifest { base: Some(entry), ..self.manifest.clone() };
        self.persist(manifest).map_err(Unpersisted::into_error)
    }

    /// What follows belongs to a new set: whatever is in the folder is of another time (the append-only file was switched on while the server
    /// runs), or has a gap. It stays listed until the base of the new set is installed, which replaces it at one instant.
    pub fn begin_anew(&mut self) {
        self.is_published = false;
        self.manifest.history.extend(self.manifest.base.take());
        self.manifest.history.append(&mut self.manifest.incremental);
    }

    /// Where to write a base before it is installed, relative to `dir`. In the same folder, so that it only changes its name.
    pub fn temporary_base_path(&self) -> PathBuf {
        self.path(&self.temporary_base_name())
    }

    fn temporary_base_name(&self) -> Vec<u8> {
        [b"temp-rewriteaof-", self.stem.as_slice()].concat()
    }

    /// The last file, to be written on from its end; none if the set has no incremental file yet.
    pub(crate) fn reopen(&self) -> io::Result<Option<(Arc<dyn DiskFile>, u64)>> {
        match self.manifest.incremental.last() {
            None => Ok(None),
            Some(last) => {
                let file = self.disk.open(&self.path(&last.name))?;
                let length = file.size()?;
                Ok(Some((file, length)))
            }
        }
    }

    /// A new file at the end. Whatever went before must be safe by now, or a crash could leave a hole in the middle.
    ///
    /// After `Unsettled` the manifest lists the file already: call [`settle`](Self::settle) until it succeeds before writing to it.
    pub(crate) fn add_incremental(&mut self) -> Result<Arc<dyn DiskFile>, Unpersisted> {
        self.create_folder().map_err(Unpersisted::Refused)?;
        let sequence = self.incremental_sequence + 1;
        let name = self.numbered_name(sequence, "incr.aof");
        let file = self.disk.create(&self.path(&name)).map_err(Unpersisted::Refused)?;
        // What a manifest lists must be there, so the name comes first.
        self.disk.sync_folder(&self.folder).map_err(Unpersisted::Refused)?;
        let mut manifest = self.manifest.clone();
        manifest.incremental.push(Entry::new(name.clone(), sequence));
        let persisted = if self.is_published {
            self.persist(manifest)
        } else {
            self.manifest = manifest;
            Ok(())
        };
        match persisted {
            Err(refused @ Unpersisted::Refused(_)) => {
                // Nobody lists it. If it cannot be removed either, the next one takes its place.
                let _ = self.disk.remove(&self.path(&name));
                Err(refused)
            }
            Err(unsettled) => {
                self.incremental_sequence = sequence;
                Err(unsettled)
            }
            Ok(()) => {
                self.incremental_sequence = sequence;
                Ok(file)
            }
        }
    }

    /// The name of the base, for the log.
    pub(crate) fn base_name(&self) -> String {
        self.manifest.base.as_ref().map_or_else(String::new, Entry::display_name)
    }

    /// The name of the file that is written, for the log.
    pub(crate) fn last_name(&self) -> String {
        self.manifest.incremental.last().map_or_else(String::new, Entry::display_name)
    }

    /// The number of the file that is written.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.incremental_sequence
    }

    /// A new base takes the place of everything before the incremental file `first`. The temporary file must be safe.
    ///
    /// After `Unsettled` the new set counts, but the old files stay until [`settle`](Self::settle) succeeds.
    pub(crate) fn install_base(&mut self, temporary: &Path, form: BaseForm, first: u64) -> Result<(), Unpersisted> {
        let base = self.name_base(temporary, form).map_err(Unpersisted::Refused)?;
        let (base_name, sequence) = (base.name.clone(), base.sequence);
        let mut manifest = self.manifest.clone();
        manifest.history.extend(manifest.base.replace(base));
        let kept = manifest.incremental.partition_point(|entry| entry.sequence < first);
        manifest.history.extend(manifest.incremental.drain(..kept));
        let persisted = self.persist(manifest);
        match &persisted {
            Err(Unpersisted::Refused(_)) => {
                let _ = self.disk.remove(&self.path(&base_name));
            }
            Err(Unpersisted::Unsettled(_)) | Ok(()) => {
                self.base_sequence = sequence;
                self.is_published = true;
                self.is_settled = false;
            }
        }
        persisted
    }

    fn name_base(&self, temporary: &Path, form: BaseForm) -> io::Result<Entry> {
        let sequence = self.base_sequence + 1;
        let name = self.numbered_name(sequence, &format!("base.{}", form.suffix()));
        self.disk.rename(temporary, &self.path(&name))?;
        // What a manifest lists must be there, so the name comes first.
        self.disk.sync_folder(&self.folder)?;
        Ok(Entry::new(name, sequence))
    }

    pub fn is_published(&self) -> bool {
        self.is_published
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Makes the folder safe. What is left to do then: delete these files, then [forget](Self::forget_history) them.
    pub(crate) fn settle(&mut self) -> io::Result<Vec<PathBuf>> {
        self.disk.sync_folder(&self.folder)?;
        if !self.is_published {
            // What the manifest in the folder lists is needed.
            self.is_settled = true;
            return Ok(Vec::new());
        }
        self.is_settled = self.manifest.history.is_empty();
        Ok(self.manifest.history.iter().map(|entry| self.path(&entry.name)).collect())
    }

    /// The files of history are deleted.
    pub(crate) fn forget_history(&mut self) -> io::Result<()> {
        let manifest = Manifest { history: Vec::new(), ..self.manifest.clone() };
        self.persist(manifest).map_err(Unpersisted::into_error)?;
        self.is_settled = true;
        Ok(())
    }

    /// Puts a manifest in place of the one that is there.
    fn persist(&mut self, manifest: Manifest) -> Result<(), Unpersisted> {
        let temporary = self.path(&[b"temp-", self.manifest_name().as_slice()].concat());
        let text = manifest.encode();
        if !Manifest::is_readable(&text) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "appendfilename is too long for the manifest");
            return Err(Unpersisted::Refused(error));
        }
        write_all(&*self.disk, &temporary, &text)
            .and_then(|()| self.disk.rename(&temporary, &self.manifest_path()))
            .map_err(Unpersisted::Refused)?;
        self.manifest = manifest;
        self.disk.sync_folder(&self.folder).map_err(|error| {
            self.is_settled = false;
            Unpersisted::Unsettled(error)
        })
    }

    fn create_folder(&self) -> io::Result<()> {
        match self.disk.size(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.disk.create_folder(&self.folder)?;
                self.disk.sync_folder(Path::new(""))
            }
            found => found.map(|_| ()),
        }
    }

    fn manifest_name(&self) -> Vec<u8> {
        [self.stem.as_slice(), b".manifest"].concat()
    }

    fn manifest_path(&self) -> PathBuf {
        self.path(&self.manifest_name())
    }

    fn numbered_name(&self, sequence: u64, suffix: &str) -> Vec<u8> {
        [self.stem.as_slice(), format!(".{sequence}.{suffix}").as_bytes()].concat()
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        self.folder.join(path_of(name))
    }

    /// Bytes of the base, and of everything.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        let size = |entry: &Entry| self.disk.size(&self.path(&entry.name)).unwrap_or(0);
        let base = self.manifest.base.as_ref().map_or(0, size);
        (base, base + self.manifest.incremental.iter().map(size).sum::<u64>())
    }
}

impl Unpersisted {
    pub(crate) fn into_error(self) -> io::Error {
        match self {
            Unpersisted::Refused(error) | Unpersisted::Unsettled(error) => error,
        }
    }
}

fn path_of(name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(name))
}

fn is_missing(size: io::Result<u64>) -> io::Result<bool> {
    match size {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn read_all(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    disk.reader(path, 0)?.read_to_end(&mut content)?;
    Ok(content)
}

fn write_all(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let file = disk.create(path)?;
    let mut written = 0;
    while written < content.len() {
        match file.write_at(&[IoSlice::new(&content[written..])], written as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    file.sync_data()
}

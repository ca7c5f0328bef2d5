//! A disk under a real server: it fails when told to, and after a crash only what was synchronised is sure to be there.
//!
//! ```text
//! server ── open, write, fsync, rename … ──> faulty_disk (preloaded) ──> folder + log
//! kill ──> log ──> crash(): a folder as a machine without power could have left it ──> the next server
//! ```
//!
//! What a crash leaves is what `crates/journal` assumes, too: of each file what was safe, and of the changes since then a random first part,
//! the last of them perhaps half; of the names what was safe and a random first part of the changes since, as journaling file
//! systems have it. A sync that fails keeps some of the writes before it and drops the others for good, and the next one
//! succeeds all the same, as Linux does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rand::Rng;
use testkit::{Random, ServerOptions};

/// How often what fails, per million.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub write: u64,
    pub short_write: u64,
    /// Files and folders.
    pub sync: u64,
    /// Renames, removals, new folders.
    pub rename: u64,
    pub create: u64,
    pub is_full: bool,
    /// Each sync takes a random time up to this.
    pub sync_us_max: u64,
}

/// The preloaded library, if it was built.
fn library() -> Option<PathBuf> {
    // target/PROFILE/durability, or target/PROFILE/deps/a-test.
    let program = std::env::current_exe().ok()?;
    let candidates = program.ancestors().skip(1).take(2).map(|folder| folder.join("examples/libfaulty_disk.so"));
    candidates.into_iter().find(|path| path.exists())
}

/// Whether [`FaultyDisk`]s can be made here.
pub fn is_available() -> bool {
    library().is_some()
}

/// The disk of one life of a server. The server's folder is inside; a crash makes the next one.
pub struct FaultyDisk {
    directory: PathBuf,
    control: File,
    before: Image,
}

impl FaultyDisk {
    /// A disk in `directory`, whose folder `data` holds what is safe already.
    pub fn new(directory: &Path, seed: u64) -> Result<FaultyDisk> {
        fs::create_dir_all(directory.join("data"))?;
        let control =
            File::options().read(true).write(true).create(true).truncate(true).open(directory.join("control"))?;
        control.set_len(4096)?;
        control.write_all_at(&seed.to_le_bytes(), 7 * 8)?;
        File::create(directory.join("log"))?;
        let before = Image::of(&directory.join("data"))?;
        Ok(FaultyDisk { directory: directory.to_owned(), control, before })
    }

    /// Puts it under a server.
    pub fn under(&self, options: ServerOptions) -> Result<ServerOptions> {
        let library =
            library().context("libfaulty_disk.so is not there: cargo build -p spinel-durability --examples")?;
        let text = |path: PathBuf| path.into_os_string().into_string().expect("temporary folders have plain names");
        Ok(options
            .environment("LD_PRELOAD", &text(library))
            .environment("FAULTY_DISK_ROOT", &text(self.data().canonicalize()?))
            .environment("FAULTY_DISK_LOG", &text(self.directory.join("log")))
            .environment("FAULTY_DISK_CONTROL", &text(self.directory.join("control"))))
    }

    /// The server's folder.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// From now on this fails.
    pub fn set(&self, faults: Faults) -> io::Result<()> {
        let words = [
            faults.write,
            faults.short_write,
            faults.sync,
            faults.rename,
            faults.create,
            u64::from(faults.is_full),
            faults.sync_us_max,
        ];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.control.write_all_at(&bytes, 0)
    }

    /// How often something has failed, full disks aside.
    pub fn faults_so_far(&self) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, 8 * 8).expect("the control file is a page long");
        u64::from_le_bytes(bytes)
    }

    /// The machine has lost its power: puts what is left into `directory`, as the data of the next disk.
    pub fn crash(self, directory: &Path, random: &mut Random) -> Result<()> {
        let log = fs::read(self.directory.join("log"))?;
        let mut image = self.before;
        let mut rest = log.as_slice();
        while let Some((record, length)) = Record::decode(rest) {
            image.apply(&record, random)?;
            rest = &rest[length..];
        }
        image.leave(&directory.join("data"), random)
    }
}

/// What was asked of the disk, as `faulty_disk` notes it.
struct Record<'a> {
    kind: u8,
    inode: u64,
    number: u64,
    first: &'a [u8],
    second: &'a [u8],
}

impl<'a> Record<'a> {
    const HEADER_BYTES: usize = 25;

    /// None at the end, where a record may be cut by the kill: nobody was answered yet, who asked for it.
    fn decode(bytes: &'a [u8]) -> Option<(Record<'a>, usize)> {
        let header = bytes.get(..Self::HEADER_BYTES)?;
        let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let half = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes")) as usize;
        let (first, second) = (half(17), half(21));
        let length = Self::HEADER_BYTES + first + second;
        let payload = bytes.get(Self::HEADER_BYTES..length)?;
        let (first, second) = payload.split_at(first);
        Some((Record { kind: header[0], inode: word(1), number: word(9), first, second }, length))
    }
}

enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Default)]
struct Content {
    safe: Vec<u8>,
    /// Made since.
    dirty: Vec<Change>,
    /// How many changes went before those.
    first: usize,
    /// Syncs under way, and how many changes they cover.
    flights: BTreeMap<u64, usize>,
}

enum Naming {
    Link(Vec<u8>, usize),
    Rename(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    Folder(Vec<u8>),
}

impl Naming {
    fn concerns(&self, folder: &[u8]) -> bool {
        let is_in = |name: &[u8]| folder_of(name) == folder;
        match self {
            Naming::Link(name, _) | Naming::Remove(name) | Naming::Folder(name) => is_in(name),
            Naming::Rename(from, to) => is_in(from) || is_in(to),
        }
    }
}

fn folder_of(name: &[u8]) -> &[u8] {
    name.iter().rposition(|&byte| byte == b'/').map_or(&[], |slash| &name[..slash])
}

/// A folder's names; none is a folder.
type Names = BTreeMap<Vec<u8>, Option<usize>>;

/// What is on the disk, and what only seems to be.
struct Image {
    files: Vec<Content>,
    by_inode: BTreeMap<u64, usize>,
    safe: Names,
    dirty: Vec<Naming>,
}

impl Image {
    /// Everything that is there is safe.
    fn of(root: &Path) -> Result<Image> {
        let mut image = Image { files: Vec::new(), by_inode: BTreeMap::new(), safe: Names::new(), dirty: Vec::new() };
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let name = path.strip_prefix(root).expect("it is below").as_os_str().as_bytes().to_vec();
                if path.is_dir() {
                    image.safe.insert(name, None);
                    folders.push(path);
                } else {
                    image.by_inode.insert(path.metadata()?.ino(), image.files.len());
                    image.safe.insert(name, Some(image.files.len()));
                    image.files.push(Content { safe: fs::read(&path)?, ..Content::default() });
                }
            }
        }
        Ok(image)
    }

    fn apply(&mut self, record: &Record<'_>, random: &mut Random) -> Result<()> {
        let Record { kind, inode, number, first, second } = *record;
        match kind {
            1 => {
                // An inode's number is used again when nobody has the file any more.
                self.by_inode.insert(inode, self.files.len());
                self.dirty.push(Naming::Link(first.to_vec(), self.files.len()));
                self.files.push(Content::default());
            }
            2 => self.file(inode)?.dirty.push(Change::Write(number, first.to_vec())),
            3 => self.file(inode)?.dirty.push(Change::Length(number)),
            4 => {
                let file = self.file(inode)?;
                file.flights.insert(number, file.first + file.dirty.len());
            }
            5 => {
                let file = self.file(inode)?;
                let upto = file.flights.remove(&number).context("a sync ends that has not begun")?;
                let covered = upto.saturating_sub(file.first);
                for change in file.dirty.drain(..covered) {
                    change.apply(&mut file.safe);
                }
                file.first += covered;
            }
            6 => {
                let file = self.file(inode)?;
                let upto = file.flights.remove(&number).context("a sync fails that has not begun")?;
                let mut index = file.first;
                let before = file.dirty.len();
                file.dirty.retain(|_| {
                    index += 1;
                    index > upto || random.random_bool(0.5)
                });
                file.first += before - file.dirty.len();
            }
            7 => {
                let upto = self.dirty.iter().rposition(|naming| naming.concerns(first)).map_or(0, |last| last + 1);
                for naming in self.dirty.drain(..upto) {
                    apply_naming(&mut self.safe, naming);
                }
            }
            8 => self.dirty.push(Naming::Rename(first.to_vec(), second.to_vec())),
            9 => self.dirty.push(Naming::Remove(first.to_vec())),
            10 => self.dirty.push(Naming::Folder(first.to_vec())),
            _ => bail!("the log of the disk has a record of kind {kind}"),
        }
        Ok(())
    }

    fn file(&mut self, inode: u64) -> Result<&mut Content> {
        let index =
            self.by_inode.get(&inode).with_context(|| format!("the log of the disk has a strange inode {inode}"))?;
        Ok(&mut self.files[*index])
    }

    fn leave(mut self, root: &Path, random: &mut Random) -> Result<()> {
        let kept = random.random_range(0..=self.dirty.len());
        for naming in self.dirty.drain(..kept) {
            apply_naming(&mut self.safe, naming);
        }
        fs::create_dir_all(root)?;
        // Sorted: folders come before what is in them.
        for (name, file) in &self.safe {
            let path = root.join(std::ffi::OsStr::from_bytes(name));
            match file {
                None => fs::create_dir_all(path)?,
                Some(index) => {
                    let content = &mut self.files[*index];
                    let kept = random.random_range(0..=content.dirty.len());
                    let mut changes = content.dirty.drain(..);
                    for change in changes.by_ref().take(kept) {
                        change.apply(&mut content.safe);
                    }
                    if let Some(Change::Write(at, bytes)) = changes.next() {
                        let half = random.random_range(0..=bytes.len());
                        Change::Write(at, bytes[..half].to_vec()).apply(&mut content.safe);
                    }
                    drop(changes);
                    if let Some(folder) = path.parent() {
                        fs::create_dir_all(folder)?;
                    }
                    fs::write(path, &content.safe)?;
                }
            }
        }
        Ok(())
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write(at, bytes) => {
                let (at, end) = (*at as usize, *at as usize + bytes.len());
                if content.len() < end && !bytes.is_empty() {
                    content.resize(end, 0);
                }
                if !bytes.is_empty() {
                    content[at..end].copy_from_slice(bytes);
                }
            }
            Change::Length(length) => content.resize(*length as usize, 0),
        }
    }
}

fn apply_naming(names: &mut Names, naming: Naming) {
    match naming {
        Naming::Link(name, file) => {
            names.insert(name, Some(file));
        }
        Naming::Rename(from, to) => {
            if let Some(file) = names.remove(&from) {
                names.insert(to, file);
            }
        }
        Naming::Remove(name) => {
            names.remove(&name);
        }
        Naming::Folder(name) => {
            names.insert(name, None);
        }
    }
}

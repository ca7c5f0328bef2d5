//! A disk that forgets what was not synchronised, and that fails.
//!
//! What a crash leaves: of each file what was safe, and of the writes since then a random first part, the last of them perhaps half;
//! of the names what was safe and a random first part of the changes since, as journaling file systems have it. A sync that fails
//! keeps some of the writes before it and drops the others for good, and the next one succeeds all the same.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use testkit::{Random, random_from};

use crate::disk::{Disk, DiskFile};

/// EIO and ENOSPC.
const FAILED: i32 = 5;
const FULL: i32 = 28;

/// How often what fails.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) write: f64,
    pub(super) short_write: f64,
    pub(super) sync: f64,
    pub(super) rename: f64,
    pub(super) create: f64,
    pub(super) sync_folder: f64,
    pub(super) set_len: f64,
    pub(super) is_full: bool,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Default)]
struct Content {
    /// What readers see.
    seen: Vec<u8>,
    safe: Vec<u8>,
    /// On the way from one to the other.
    dirty: Vec<Change>,
}

#[derive(Clone)]
enum Naming {
    Link(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

type Names = BTreeMap<PathBuf, usize>;

struct State {
    files: Vec<Content>,
    names: Names,
    safe_names: Names,
    namings: Vec<Naming>,
    faults: Faults,
    random: Random,
    /// A sync has failed since the last crash.
    has_dropped: bool,
}

pub(super) struct Simulated(Arc<Mutex<State>>);

struct SimulatedFile(Arc<Mutex<State>>, usize);

fn fails(state: &mut State, probability: impl Fn(&Faults) -> f64, code: i32) -> io::Result<()> {
    let probability = probability(&state.faults);
    if probability > 0.0 && state.random.random_bool(probability) {
        return Err(io::Error::from_raw_os_error(code));
    }
    Ok(())
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(position, data) => {
            let end = *position as usize + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*position as usize..end].copy_from_slice(data);
        }
        Change::Length(length) => bytes.resize(*length as usize, 0),
    }
}

fn apply_naming(names: &mut Names, naming: &Naming) {
    match naming {
        Naming::Link(path, file) => {
            names.insert(path.clone(), *file);
        }
        Naming::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Naming::Remove(path) => {
            names.remove(path);
        }
    }
}

impl Simulated {
    pub(super) fn new(seed: u64) -> Simulated {
        Simulated(Arc::new(Mutex::new(State {
            files: Vec::new(),
            names: Names::new(),
            safe_names: Names::new(),
            namings: Vec::new(),
            faults: Faults::default(),
            random: random_from(seed),
            has_dropped: false,
        })))
    }

    /// The same disk.
    pub(super) fn again(&self) -> Simulated {
        Simulated(self.0.clone())
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    pub(super) fn has_dropped(&self) -> bool {
        self.0.lock().has_dropped
    }

    /// What is there after the power has failed.
    pub(super) fn crash(&self) -> Simulated {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        let mut names = state.safe_names.clone();
        let kept = state.random.random_range(0..=state.namings.len());
        state.namings[..kept].iter().for_each(|naming| apply_naming(&mut names, naming));
        let mut files = Vec::new();
        for file in &state.files {
            let mut safe = file.safe.clone();
            let kept = state.random.random_range(0..=file.dirty.len());
            file.dirty[..kept].iter().for_each(|change| apply(&mut safe, change));
            if let Some(Change::Write(position, data)) = file.dirty.get(kept) {
                let part = state.random.random_range(0..=data.len());
                apply(&mut safe, &Change::Write(*position, data[..part].to_vec()));
            }
            files.push(Content { seen: safe.clone(), safe, dirty: Vec::new() });
        }
        let random = random_from(state.random.random());
        Simulated(Arc::new(Mutex::new(State {
            files,
            safe_names: names.clone(),
            names,
            namings: Vec::new(),
            faults: Faults::default(),
            random,
            has_dropped: false,
        })))
    }

    fn find(state: &State, path: &Path) -> io::Result<usize> {
        state.names.get(path).copied().ok_or_else(|| io::Error::from_raw_os_error(2))
    }

    fn rename_now(state: &mut State, naming: Naming) {
        apply_naming(&mut state.names, &naming);
        state.namings.push(naming);
    }
}

impl Disk for Simulated {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        fails(&mut state, |faults| faults.create, FULL)?;
        state.files.push(Content::default());
        let file = state.files.len() - 1;
        Simulated::rename_now(&mut state, Naming::Link(path.to_owned(), file));
        Ok(Arc::new(SimulatedFile(self.0.clone(), file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.0.lock();
        Ok(Arc::new(SimulatedFile(self.0.clone(), Simulated::find(&state, path)?)))
    }

    fn reader(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let state = self.0.lock();
        let file = Simulated::find(&state, path)?;
        Ok(Box::new(io::Cursor::new(state.files[file].seen[offset as usize..].to_vec())))
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        let state = self.0.lock();
        Simulated::find(&state, path).map(|file| state.files[file].seen.len() as u64)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        fails(&mut state, |faults| faults.rename, FAILED)?;
        Simulated::find(&state, from)?;
        Simulated::rename_now(&mut state, Naming::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        fails(&mut state, |faults| faults.rename, FAILED)?;
        Simulated::find(&state, path)?;
        Simulated::rename_now(&mut state, Naming::Remove(path.to_owned()));
        Ok(())
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        fails(&mut state, |faults| faults.create, FULL)?;
        state.files.push(Content::default());
        let file = state.files.len() - 1;
        Simulated::rename_now(&mut state, Naming::Link(path.to_owned(), file));
        Ok(())
    }

    fn sync_folder(&self, _path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        fails(&mut state, |faults| faults.sync_folder, FAILED)?;
        let namings = std::mem::take(&mut state.namings);
        namings.iter().for_each(|naming| apply_naming(&mut state.safe_names, naming));
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().files[self.1].seen.len() as u64)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut state = self.0.lock();
        fails(&mut state, |faults| faults.write, FAILED)?;
        let mut data: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        if state.faults.is_full {
            return Err(io::Error::from_raw_os_error(FULL));
        }
        if fails(&mut state, |faults| faults.short_write, FAILED).is_err() {
            let kept = state.random.random_range(0..=data.len());
            data.truncate(kept);
        }
        let change = Change::Write(position, data.clone());
        let file = &mut state.files[self.1];
        apply(&mut file.seen, &change);
        file.dirty.push(change);
        Ok(data.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        fails(&mut state, |faults| faults.set_len, FAILED)?;
        let file = &mut state.files[self.1];
        apply(&mut file.seen, &Change::Length(length));
        file.dirty.push(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut guard = self.0.lock();
        let failed = fails(&mut guard, |faults| faults.sync, FAILED);
        let state = &mut *guard;
        let dirty = std::mem::take(&mut state.files[self.1].dirty);
        for change in &dirty {
            // What is dropped here is dropped for good: nobody will hear of it again.
            if failed.is_ok() || state.random.random_bool(0.5) {
                apply(&mut state.files[self.1].safe, change);
            }
        }
        state.has_dropped |= failed.is_err();
        failed
    }
}

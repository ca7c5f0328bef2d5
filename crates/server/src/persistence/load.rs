//! Files become data: one thread finds the records, several decode them and put them in.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use commands::db::access;
use commands::persistence::Reload;
use commands::scripting::{Functions, Policy, VERSION};
use commands::{World, tracking};
use config::directives;
use keyspace::{DbIndex, Entry, Expiry, Held, Key, Keyspace, Millis, SHARD_COUNT, ShardIndex};
use rdb::{Access, Batch, Decoded, Item, Limits, Reader, Value};
use replication::ReplicationId;
use smallvec::SmallVec;

use super::save::snapshot_path;
use super::*;
use crate::operation::{LOG, memory, priority};
use crate::shared::now;

/// So many keys go in under one access.
const KEYS_AT_ONCE: usize = 32;
/// Batches that wait for a helper, each of a quarter of a megabyte.
const BATCHES_WAITING_MAX: usize = 16;
/// Long work says every so often how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// What a file is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Keys that are there already are replaced; otherwise there must be none.
    pub merge: bool,
    /// Keys whose time has come are loaded too: what follows (an append-only file) says when they go.
    pub keep_expired: bool,
    /// Others go first: our primary may be on the same machine, and clients may be served from the old data. Otherwise nobody here has anything to do
    /// before it is loaded.
    pub steps_back: bool,
}

impl Manner {
    /// For threads that load, when they begin.
    fn begin(self) {
        if self.steps_back { priority::step_back() } else { priority::give_way() }
    }

    /// The same between two pieces of work.
    fn breathe(self) {
        if self.steps_back {
            priority::breathe();
        }
    }
}

/// Why a file was not loaded, for the log.
#[derive(Debug)]
pub struct LoadError(pub String);

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LoadError {}

/// What is loaded beside the data that we have, to take their place when it is whole.
struct Aside {
    keyspace: Keyspace,
    functions: Mutex<Functions>,
}

impl fmt::Debug for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aside").finish_non_exhaustive()
    }
}

/// What one loading has come to.
#[derive(Debug, Default)]
pub struct Loading {
    /// Where it goes, if not into the world.
    aside: Option<Aside>,
    pub keys: AtomicU64,
    pub expired: AtomicU64,
    failed: AtomicBool,
    failure: Mutex<Option<String>>,
    /// What the file says of the stream that it belongs to.
    pub stream: Mutex<Option<StreamPlace>>,
}

/// Which stream of replication a snapshot belongs to, up to where, and which database was selected there.
#[derive(Clone, Copy, Debug)]
pub struct StreamPlace {
    pub id: ReplicationId,
    pub offset: u64,
    pub db: u32,
}

/// What becomes of the data that we have while others are loaded. Clients get LOADING, unless the old data are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldData {
    /// They go first: there is nothing where the new ones cannot be loaded.
    Go,
    /// They go when the new ones are whole.
    Stay,
    /// They are served until the new ones are whole (`async_loading`).
    AreServed,
}

/// A snapshot that comes from our primary.
pub struct Incoming {
    pub old: OldData,
    /// Where it was cut.
    pub offset: u64,
    /// The number of the stream behind it.
    pub stream: u64,
}

impl Loading {
    /// Where keys go.
    fn keyspace<'a>(&'a self, world: &'a Keyspace) -> &'a Keyspace {
        self.aside.as_ref().map_or(world, |aside| &aside.keyspace)
    }

    fn fail(&self, reason: String) {
        self.failure.lock().get_or_insert(reason);
        self.failed.store(true, Relaxed);
    }
}

/// What of a [`StreamPlace`] was read so far.
#[derive(Default)]
struct PlaceRead {
    id: Option<ReplicationId>,
    offset: Option<u64>,
    db: Option<u32>,
}

impl PlaceRead {
    fn note(&mut self, name: &[u8], value: &[u8]) {
        let number = || resp::number::parse_i64(value);
        match name {
            b"repl-id" => self.id = ReplicationId::parse(value),
            b"repl-offset" => self.offset = number().and_then(|offset| u64::try_from(offset).ok()),
            b"repl-stream-db" => self.db = number().and_then(|db| u32::try_from(db).ok()),
            _ => {}
        }
    }

    fn take(&mut self) -> Option<StreamPlace> {
        Some(StreamPlace { id: self.id?, offset: self.offset?, db: self.db.unwrap_or(0) })
    }
}

/// What the helpers need to know.
#[derive(Clone, Copy)]
struct Terms {
    manner: Manner,
    limits: Limits,
    databases: u64,
    now: Millis,
    lfu: bool,
    /// After each key, for tests.
    delay: Duration,
}

/// Loads an RDB file from a source. Returns what the source has behind it.
///
/// # Errors
/// What is wrong with it, and where.
pub fn load<R: Read + Send>(
    shared: &Shared,
    source: R,
    manner: Manner,
    loading: &Loading,
) -> Result<(Vec<u8>, R), LoadError> {
    let (terms, checks) = {
        let world = shared.gates.narrow(shared.loops());
        let global = &world.global;
        let settings = &global.settings;
        let databases = u64::from(settings.databases);
        let delay = Duration::from_micros(global.config.get(directives::KEY_LOAD_DELAY).max(0) as u64);
        let terms = Terms { manner, limits: settings.encodings(), databases, now: now(), lfu: settings.lfu, delay };
        (terms, global.config.get(directives::RDBCHECKSUM))
    };
    let mut reader = Reader::new(source, terms.limits).map_err(said)?;
    reader.check_checksum(checks);
    let (sender, receiver) = mpsc::sync_channel(BATCHES_WAITING_MAX);
    let receiver = &Mutex::new(receiver);
    let read = std::thread::scope(|scope| {
        // It goes with this closure's end, and the helpers with it.
        let sender = sender;
        let cannot_start = |error| LoadError(format!("Cannot start a thread: {error}"));
        for index in 0..helper_count() {
            std::thread::Builder::new()
                .name(format!("loader-{index}"))
                .spawn_scoped(scope, move || insert(shared, index, receiver, terms, loading))
                .map_err(cannot_start)?;
        }
        let reader = &mut reader;
        let read = move || {
            memory::count_thread();
            terms.manner.begin();
            read_parts(shared, reader, &terms, loading, &sender)
        };
        let read = std::thread::Builder::new().name("rdb-read".to_owned()).spawn_scoped(scope, read);
        read.map_err(cannot_start)?.join().expect("a panic ends the process")
    });
    read?;
    match loading.failure.lock().take() {
        Some(reason) => Err(LoadError(reason)),
        None => Ok(reader.into_rest()),
    }
}

/// Finds the records, for helpers to put in.
fn read_parts<R: Read + Send>(
    shared: &Shared,
    reader: &mut Reader<R>,
    terms: &Terms,
    loading: &Loading,
    parts: &mpsc::SyncSender<Part>,
) -> Result<(), LoadError> {
    let mut progress = Progress::new(shared);
    let mut place = PlaceRead::default();
    let mut db = 0;
    let mut announced_left = keys_at_most(shared.persistence.figures.load_total_bytes.load(Relaxed));
    loop {
        if loading.failed.load(Relaxed) {
            return Ok(());
        }
        if shared.is_ending() {
            return Err(LoadError("called off".to_owned()));
        }
        let Some(item) = reader.next_item().map_err(said)? else { return Ok(()) };
        progress.at(reader.offset());
        if !matches!(item, Item::Aux { .. }) && loading.stream.lock().is_none() {
            *loading.stream.lock() = place.take();
        }
        let part = match item {
            Item::Batch(batch) => Part::Batch(batch),
            Item::Decoded(decoded) => Part::Decoded(decoded),
            Item::Function(code) => {
                load_library(shared, code, terms.manner, loading)?;
                continue;
            }
            Item::End => return Ok(()),
            Item::Aux { name, value } => {
                place.note(&name, &value);
                continue;
            }
            Item::ResizeDb { keys, .. } => {
                reserve(shared, terms, loading, db, keys, &mut announced_left);
                continue;
            }
            Item::SelectDb(selected) => {
                db = selected;
                continue;
            }
            Item::SlotInfo { .. } => continue,
        };
        if parts.send(part).is_err() {
            return Ok(());
        }
        terms.manner.breathe();
    }
}

fn said(error: rdb::Error) -> LoadError {
    LoadError(error.to_string())
}

/// How many keys of a file of this length can be in it, whatever it announces; 0 bytes: nobody has said how much will come.
fn keys_at_most(bytes: u64) -> u64 {
    /// A key takes as much in a file.
    const KEY_BYTES_MIN: u64 = 4;
    const UNSEEN_KEYS_MAX: u64 = 16 << 20;
    if bytes == 0 { UNSEEN_KEYS_MAX } else { bytes / KEY_BYTES_MIN }
}

/// Makes room for so many keys. The figure is a hint and may be damaged: few keys grow into their tables quickly anyway, and all databases together
/// get room for no more than `left`.
fn reserve(shared: &Shared, terms: &Terms, loading: &Loading, db: u64, keys: u64, left: &mut u64) {
    /// Below this many a shard it is not worth it.
    const SHARD_KEYS_MIN: u64 = 64;
    const SHARDS_AT_ONCE: usize = 64;
    let keys = keys.min(*left);
    let len = keys / SHARD_COUNT as u64;
    if len < SHARD_KEYS_MIN || db >= terms.databases {
        return;
    }
    *left -= keys;
    let shards: Vec<ShardIndex> = ShardIndex::all().collect();
    for shards in shards.chunks(SHARDS_AT_ONCE) {
        let world = shared.gates.narrow(shared.loops());
        let keyspace = loading.keyspace(&world.keyspace);
        for &shard in shards {
            keyspace.lock_one(shard).reserve(DbIndex(db as u32), shard, len as usize);
        }
    }
}

/// Libraries are few, and stand before all keys.
fn load_library(shared: &Shared, code: Vec<u8>, manner: Manner, loading: &Loading) -> Result<(), LoadError> {
    let policy = if manner.merge { Policy::Replace } else { Policy::Append };
    let mut log = |_, text: &str| LOG.notice(text);
    let restored = match &loading.aside {
        Some(aside) => aside.functions.lock().restore(&[code], policy, VERSION, &mut log),
        None => shared.gates.wide().global.scripts.functions.restore(&[code], policy, VERSION, &mut log),
    };
    restored.map_err(|text| {
        LoadError(format!("a library of functions cannot be loaded: {}", String::from_utf8_lossy(&text)))
    })
}

enum Part {
    Batch(Batch),
    Decoded(Decoded),
}

/// One helper: decodes and puts in, until nothing more comes.
fn insert(shared: &Shared, index: usize, parts: &Mutex<mpsc::Receiver<Part>>, terms: Terms, loading: &Loading) {
    keyspace::slab::use_arena(index);
    memory::count_thread();
    terms.manner.begin();
    let gate = shared.loops() + index;
    loop {
        let part = parts.lock().recv();
        let inserted = match part {
            Err(_) => return,
            // What was sent before the failure is taken, so that the reader is not stuck.
            Ok(_) if loading.failed.load(Relaxed) => continue,
            Ok(Part::Batch(batch)) => insert_batch(shared, gate, &batch, &terms, loading),
            Ok(Part::Decoded(decoded)) => {
                let Decoded { offset, db, key, expire_at, access, value } = decoded;
                insert_keys(
                    shared,
                    gate,
                    &terms,
                    loading,
                    db,
                    SmallVec::from_iter([Loaded { offset, key: key.into(), expire_at, access, value }]),
                )
            }
        };
        if let Err(reason) = inserted {
            loading.fail(reason);
        }
    }
}

/// A key on its way.
struct Loaded<'a> {
    offset: u64,
    key: std::borrow::Cow<'a, [u8]>,
    expire_at: Option<Millis>,
    access: Option<Access>,
    value: Value<'a>,
}

fn insert_batch(shared: &Shared, gate: usize, batch: &Batch, terms: &Terms, loading: &Loading) -> Result<(), String> {
    let mut records = batch.records();
    loop {
        let mut keys = SmallVec::<[Loaded<'_>; KEYS_AT_ONCE]>::new();
        for record in records.by_ref().take(KEYS_AT_ONCE) {
            let expire_at = record.expire_at();
            if !terms.manner.keep_expired && expire_at.is_some_and(|at| at < terms.now) {
                loading.expired.fetch_add(1, Relaxed);
                continue;
            }
            keys.push(Loaded {
                offset: record.offset(),
                key: record.key().map_err(|error| error.to_string())?,
                expire_at,
                access: record.access(),
                value: record.decode(&terms.limits).map_err(|error| error.to_string())?,
            });
        }
        if keys.is_empty() && records.len() == 0 {
            return Ok(());
        }
        let count = keys.len() as u32;
        insert_keys(shared, gate, terms, loading, batch.db(), keys)?;
        terms.manner.breathe();
        if !terms.delay.is_zero() {
            std::thread::sleep(terms.delay * count);
        }
    }
}

fn insert_keys(
    shared: &Shared,
    gate: usize,
    terms: &Terms,
    loading: &Loading,
    db: u64,
    loaded: SmallVec<[Loaded<'_>; KEYS_AT_ONCE]>,
) -> Result<(), String> {
    if db >= terms.databases {
        return Err(format!(
            "the file has keys in database {db}, and this server has {} databases: raise `databases`",
            terms.databases
        ));
    }
    let db = DbIndex(db as u32);
    let world = shared.gates.narrow(gate);
    let keyspace = loading.keyspace(&world.keyspace);
    let names: SmallVec<[_; KEYS_AT_ONCE]> = loaded.iter().map(|loaded| loaded.key.clone()).collect();
    let keys: SmallVec<[Key<'_>; KEYS_AT_ONCE]> = names.iter().map(|name| keyspace.key(name)).collect();
    let mut held = Held::new();
    keys.iter().for_each(|key| {
        held.insert(key.shard());
    });
    let mut space = keyspace.narrow(&held);
    keys.iter().for_each(|key| space.prefetch_directory(db, *key));
    keys.iter().for_each(|key| space.prefetch_for_insert(db, *key));
    loading.keys.fetch_add(loaded.len() as u64, Relaxed);
    for (loaded, key) in loaded.into_iter().zip(&keys) {
        space.set_created_access_bits(match loaded.access {
            Some(Access::IdleSeconds(seconds)) if !terms.lfu => {
                access::lru_clock(Millis(terms.now.0.saturating_sub(seconds.min(1 << 23) as i64 * 1000)))
            }
            Some(Access::Frequency(counter)) if terms.lfu => access::with_counter(counter, terms.now),
            _ => access::created_at(terms.lfu, terms.now),
        });
        let expiry = loaded.expire_at.map_or(Expiry::Clear, Expiry::At);
        let existed = loaded.value.with_new_value(|value| space.set(db, *key, value, expiry));
        if existed && !terms.manner.merge {
            return Err(format!(
                "offset {}: the key \"{}\" is there already",
                loaded.offset,
                key.bytes().escape_ascii()
            ));
        }
    }
    Ok(())
}

/// Says how far it is: to INFO always, to the log now and then.
pub struct Progress<'a> {
    shared: &'a Shared,
    said: Instant,
    /// Of the files before.
    base: u64,
}

impl<'a> Progress<'a> {
    pub fn new(shared: &'a Shared) -> Progress<'a> {
        let base = shared.persistence.figures.load_done_bytes.load(Relaxed);
        Progress { shared, said: Instant::now(), base }
    }

    pub fn at(&mut self, offset: u64) {
        let figures = &self.shared.persistence.figures;
        let done = self.base + offset;
        figures.load_done_bytes.store(done, Relaxed);
        if self.said.elapsed() >= PROGRESS_EVERY {
            self.said = Instant::now();
            let total = figures.load_total_bytes.load(Relaxed).max(1);
            LOG.notice(&format!("Loading: {:.1} % of {total} bytes", done as f64 * 100.0 / total as f64));
        }
    }
}

impl Shared {
    /// Loads what the configuration says is there, before the first command that needs it. The event loops run already, and reply
    /// LOADING.
    ///
    /// # Errors
    /// The files cannot be loaded: the server must not go on without its data.
    pub fn load_at_start(&self) -> Result<(), LoadError> {
        let began = Instant::now();
        let config = self.gates.narrow(self.loops()).global.config.clone();
        self.begin_loading();
        if config.get(directives::APPENDONLY) {
            self.open_aof(&config)?;
        } else {
            let path = snapshot_path(&config);
            match File::open(&path) {
                Ok(file) => {
                    let loading = Loading::default();
                    let total = file.metadata().map_or(0, |data| data.len());
                    self.persistence.figures.load_total_bytes.store(total, Relaxed);
                    load(self, file, Manner::default(), &loading).map_err(|error| {
                        LoadError(format!(
                            "The snapshot {} cannot be loaded: {error}. Nothing was changed. Check it with `redis-check-rdb`, restore a backup, or move it away to start empty.",
                            path.display()
                        ))
                    })?;
                    self.note_loaded(&loading, began);
                    self.replication.restore(*loading.stream.lock());
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(LoadError(format!("Cannot open the snapshot {}: {error}", path.display())));
                }
            }
        }
        self.end_loading();
        Ok(())
    }

    pub(super) fn note_loaded(&self, loading: &Loading, began: Instant) {
        let figures = &self.persistence.figures;
        let (keys, expired) = (loading.keys.load(Relaxed), loading.expired.load(Relaxed));
        figures.last_load_keys.store(keys, Relaxed);
        figures.last_load_expired.store(expired, Relaxed);
        LOG.notice(&format!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}."));
        LOG.notice(&format!("DB loaded from disk: {:.3} seconds", began.elapsed().as_secs_f64()));
    }

    pub(super) fn begin_loading(&self) {
        let figures = &self.persistence.figures;
        figures.load_done_bytes.store(0, Relaxed);
        figures.load_total_bytes.store(0, Relaxed);
        figures.load_began_seconds.store(now().0 / 1000, Relaxed);
        figures.loading.store(true, Relaxed);
    }

    pub(super) fn end_loading(&self) {
        let mut world = self.gates.wide();
        world.global.loading = false;
        world.global.async_loading = false;
        self.follow_config(&mut world.global);
        self.persistence.figures.loading.store(false, Relaxed);
        self.persistence.figures.async_loading.store(false, Relaxed);
        // What was loaded is what is saved.
        self.persistence.figures.saved_changes.store(self.changes(), Relaxed);
    }

    /// Everything goes, functions too. `also` is done under the same access.
    fn forget_data(&self, also: impl FnOnce(&mut Global)) {
        let mut world = self.gates.wide();
        world.global.scripts.functions.clear();
        // SAFETY: all gates are closed, and every Space is made and dropped behind a gate.
        let mut space = unsafe { world.keyspace.wide() };
        let now = now();
        let is_alive = |entry: Entry<'_>| !entry.is_expired(now);
        world.global.watches.touch_all(|db, key| space.get(db, space.key(key)).is_some_and(is_alive));
        let garbage = space.flush_all();
        drop(space);
        let tracked = tracking::invalidate_everything(&mut world.global, self, &self.job_stats, self.loops());
        also(&mut world.global);
        drop(world);
        if let Some(tracked) = tracked {
            self.free_elsewhere(1, 0, tracked);
        }
        let objects = garbage.len() as u64;
        self.free_elsewhere(objects, 0, Box::new(garbage));
    }

    /// Exchanges the data for what was loaded aside; `also` is done under the same access.
    fn exchange_data(&self, aside: &mut Aside, stream: u64, also: impl FnOnce(&mut Global)) -> Result<(), String> {
        let mut world = loop {
            let world = self.gates.wide();
            if !self.replication.is_stream(stream) || self.is_ending() {
                return Err("it is not wanted any more".to_owned());
            }
            let jobs = self.persistence.jobs.lock();
            let Some(running) = &jobs.running else { break world };
            if matches!(running.kind, Kind::BackgroundSave | Kind::Rewrite) {
                // What it writes is about to go.
                running.cancel();
            }
            drop(jobs);
            drop(world);
            std::thread::sleep(Duration::from_millis(1));
        };
        let World { global, keyspace } = &mut *world;
        {
            // SAFETY: all gates are closed, and every Space is made and dropped behind a gate; nobody else knows what lies aside.
            let (old, new) = unsafe { (keyspace.wide(), aside.keyspace.wide()) };
            global.watches.touch_all(|db, key| old.contains(db, old.key(key)) || new.contains(db, new.key(key)));
        }
        keyspace.exchange(&mut aside.keyspace);
        std::mem::swap(&mut global.scripts.functions, aside.functions.get_mut());
        let tracked = tracking::invalidate_everything(global, self, &self.job_stats, self.loops());
        also(global);
        drop(world);
        if let Some(tracked) = tracked {
            self.free_elsewhere(1, 0, tracked);
        }
        Ok(())
    }

    /// Makes the snapshot of a primary the data. Returns what the source has behind it.
    ///
    /// # Errors
    /// Why it failed.
    pub fn load_from_primary<R: Read + Send>(&self, source: R, incoming: &Incoming) -> Result<Vec<u8>, String> {
        let began = Instant::now();
        let mut loading = Loading::default();
        {
            // Nobody is promoted while data is loaded, but somebody may have been before that.
            let mut world = self.gates.wide();
            if !self.replication.is_stream(incoming.stream) {
                return Err("it is not wanted any more".to_owned());
            }
            world.global.loading = incoming.old != OldData::AreServed;
            world.global.async_loading = incoming.old == OldData::AreServed;
            if incoming.old != OldData::Go {
                let keyspace = world.keyspace.empty_like();
                loading.aside = Some(Aside { keyspace, functions: Mutex::default() });
            }
        }
        self.begin_loading();
        self.persistence.figures.async_loading.store(incoming.old == OldData::AreServed, Relaxed);
        let leave_old = |global: &mut Global| {
            // What was written so far is of other data: a new file begins with what is loaded.
            self.close_aof_for_sync(global);
            self.drop_log(global);
        };
        if incoming.old == OldData::Go {
            self.forget_data(leave_old);
        }
        // What a replica has, its primary says when it goes.
        let loaded = load(self, source, Manner { keep_expired: true, steps_back: true, ..Manner::default() }, &loading);
        let mut loaded = loaded.map(|(rest, _)| rest).map_err(|error| error.to_string());
        if let Some(mut aside) = loading.aside.take() {
            if let Ok(rest) = loaded {
                loaded = self.exchange_data(&mut aside, incoming.stream, leave_old).map(|()| rest);
            }
            // The old data, or what has come of the new ones.
            // SAFETY: nobody else knows it.
            let garbage = unsafe { aside.keyspace.wide() }.flush_all();
            self.free_elsewhere(garbage.len() as u64, 0, Box::new(garbage));
        }
        let result = match loaded {
            Ok(rest) => {
                self.note_loaded(&loading, began);
                let db = loading.stream.lock().take().map_or(0, |stream| stream.db);
                self.replication.note_stream_db(db);
                self.begin_log_of_primary(incoming.offset);
                Ok(rest)
            }
            Err(reason) => {
                if incoming.old == OldData::Go {
                    self.forget_data(|_| {});
                }
                Err(reason)
            }
        };
        self.end_loading();
        self.wake_all();
        result
    }

    /// DEBUG RELOAD and LOADAOF, when what is to be saved has been.
    pub(super) fn load_again(&self, reload: Reload) -> Result<(), Error> {
        let began = Instant::now();
        let (merge, flush) = match reload {
            Reload::Snapshot { flush, merge, .. } => (merge, flush),
            Reload::AppendOnlyFile => (false, true),
        };
        let config = self.gates.narrow(self.loops()).global.config.clone();
        let failed = |text: &'static str, error: &dyn fmt::Display| {
            LOG.warning(&format!("Loading failed: {error}"));
            Error::text(text)
        };
        let source = match reload {
            Reload::Snapshot { .. } => Some(
                File::open(snapshot_path(&config))
                    .map_err(|error| failed("ERR Error trying to load the RDB dump, check server logs.", &error))?,
            ),
            Reload::AppendOnlyFile => None,
        };
        if flush {
            self.forget_data(|_| {});
        }
        self.begin_loading();
        let result = match source {
            Some(file) => {
                let loading = Loading::default();
                let loaded = load(self, file, Manner { merge, ..Manner::default() }, &loading);
                loaded
                    .map(|_| self.note_loaded(&loading, began))
                    .map_err(|error| failed("ERR Error trying to load the RDB dump, check server logs.", &error))
            }
            None => self
                .load_aof_again(&config)
                .map_err(|error| failed("ERR Error trying to load the AOF files, check server logs.", &error)),
        };
        self.persistence.figures.loading.store(false, Relaxed);
        result
    }
}

//! A snapshot becomes a file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use commands::db::Lfu;
use commands::persistence::Alone;
use config::{Config, MaxmemoryPolicy, directives};
use keyspace::snapshot::{Progress, Snapshot, SnapshotLimits};
use keyspace::{DbIndex, Millis};
use parking_lot::Mutex;
use rdb::Version;
use rdb::encode::{self, Compression};

use super::Figures;
use super::capture::{Claimed, Collector, Form, Traces};
use super::commands_form;
use super::output::Output;
use crate::operation::{memory, priority};
use crate::replication::Transfer;
use crate::shared::{Shared, now};

/// Slices of the walk between two looks at what has gathered.
const SLICES_PER_FLUSH: usize = 16;

/// How a file is written.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: PathBuf,
    pub with_checksum: bool,
    pub incremental: bool,
    /// Microseconds to wait after each key, for tests.
    pub delay_us: i64,
    /// It is the base of an append-only file.
    pub is_aof_base: bool,
    pub form: Form,
    /// So many threads walk over the keyspace.
    pub walkers: usize,
    /// Replicas that read it as it is made; there is no file then.
    pub replicas: Option<Arc<Transfer>>,
}

impl Target {
    pub fn of(config: &Config, name: PathBuf, is_aof_base: bool, walkers: usize) -> Target {
        let incremental = if is_aof_base {
            directives::AOF_REWRITE_INCREMENTAL_FSYNC
        } else {
            directives::RDB_SAVE_INCREMENTAL_FSYNC
        };
        Target {
            name,
            with_checksum: config.get(directives::RDBCHECKSUM),
            incremental: config.get(incremental),
            delay_us: config.get(directives::RDB_KEY_SAVE_DELAY),
            is_aof_base,
            walkers,
            replicas: None,
            form: match is_aof_base && !config.get(directives::AOF_USE_RDB_PREAMBLE) {
                true => Form::Commands,
                false => Form::Records,
            },
        }
    }

    /// The name that the file has until it is whole.
    fn temporary(&self, what: &str) -> PathBuf {
        let name = format!("temp-{what}-{}.rdb", std::process::id());
        self.name.with_file_name(name)
    }
}

/// A cut that has been made, and what is known of it.
pub struct Cut {
    pub snapshot: Snapshot,
    pub collector: Arc<Collector>,
    /// What stands at the beginning of the file.
    preamble: Vec<u8>,
    pub target: Target,
    /// Changes that had been counted then.
    pub changes: u64,
}

/// Makes the cut.
pub fn cut(shared: &Shared, alone: &mut Alone<'_, '_>, target: Target) -> Cut {
    let now = now();
    let config = &alone.global.config;
    let policy = config.get(directives::MAXMEMORY_POLICY);
    let traces = match () {
        () if alone.global.settings.lfu => Traces::Frequency(Lfu::of(&alone.global.settings), now),
        () if matches!(policy, MaxmemoryPolicy::AllkeysLru | MaxmemoryPolicy::VolatileLru) => Traces::Idle(now),
        () => Traces::None,
    };
    let compression = match config.get(directives::RDBCOMPRESSION) {
        true if target.replicas.is_some() => Compression::LongStrings,
        compress => compress.into(),
    };
    let family = alone.global.settings.rdb_family;
    let mut collector = Collector::new(target.form, family, compression, traces, target.temporary("captured"));
    if target.replicas.is_some() {
        collector.hold_writes_by(shared.persistence.holds_writes.clone());
    }
    let collector = Arc::new(collector);
    let mut preamble = Vec::new();
    if target.form == Form::Records {
        facts(&mut preamble, now, target.is_aof_base);
        shared.tell_of_stream(&mut preamble);
    }
    for library in alone.global.scripts.functions.libraries() {
        match target.form {
            Form::Records => {
                let options = encode::Options { version: Version::REDIS_7_0, compression };
                encode::function(&mut preamble, &library.code, &options);
            }
            Form::Commands => commands_form::library(&mut preamble, &library.code),
        }
    }
    let mut keys_total = 0;
    for index in 0..alone.space.db_count() {
        let db = DbIndex(index as u32);
        let keys = alone.space.len(db) as u64;
        keys_total += keys;
        if keys > 0 && target.form == Form::Records {
            encode::select_db(&mut preamble, db.0);
            encode::resize_db(&mut preamble, keys, alone.space.volatile_len(db) as u64);
        }
    }
    let figures = &shared.persistence.figures;
    figures.keys_total.store(keys_total, Relaxed);
    figures.keys_done.store(0, Relaxed);
    let snapshot = alone.space.cut(collector.clone(), SnapshotLimits::default());
    Cut { snapshot, collector, preamble, target, changes: shared.changes() }
}

/// What the file says about itself.
pub fn facts(out: &mut Vec<u8>, Millis(now): Millis, is_aof_base: bool) {
    encode::aux(out, b"redis-ver", commands::connection::REDIS_VERSION.as_bytes());
    encode::aux(out, b"redis-bits", b"64");
    encode::aux(out, b"ctime", (now / 1000).to_string().as_bytes());
    encode::aux(out, b"used-mem", memory::used_bytes().to_string().as_bytes());
    encode::aux(out, b"aof-base", if is_aof_base { b"1" } else { b"0" });
}

/// Writes the file. Returns its length.
///
/// # Errors
/// The disk is full or broken; `Interrupted` if the snapshot was called off.
pub fn write(shared: &Shared, cut: &Cut, figures: &Figures) -> io::Result<u64> {
    let temporary = cut.target.temporary(if cut.target.is_aof_base { "rewrite" } else { "save" });
    let mut output = match &cut.target.replicas {
        Some(transfer) => Output::to_replicas(transfer.clone(), cut.target.with_checksum)?,
        None => Output::create(temporary, cut.target.form, cut.target.with_checksum, cut.target.incremental)?,
    };
    output.write(&cut.preamble)?;
    let output = Mutex::new(Claimed { output, by: None });
    let failure = Mutex::new(None);
    let fail = |error: io::Error| {
        cut.collector.cancel();
        failure.lock().get_or_insert(error);
    };
    let walking = AtomicUsize::new(0);
    let job = std::thread::current();
    std::thread::scope(|scope| {
        for index in 0..cut.target.walkers {
            let (output, fail, walking, job) = (&output, &fail, &walking, &job);
            let walk = move || {
                memory::count_thread();
                priority::step_back();
                walk(shared, cut, output, index, figures).unwrap_or_else(fail);
                walking.fetch_sub(1, Release);
                job.unpark();
            };
            walking.fetch_add(1, Relaxed);
            if let Err(error) = std::thread::Builder::new().name(format!("walker-{index}")).spawn_scoped(scope, walk) {
                walking.fetch_sub(1, Relaxed);
                fail(error);
            }
        }
        cut.collector.help(|| walking.load(Acquire) == 0, || shared.wake_all()).unwrap_or_else(fail);
    });
    if let Some(error) = failure.into_inner() {
        return Err(error);
    }
    if cut.collector.is_cancelled() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    cut.collector.finish(&output)?;
    output.into_inner().output.finish(cut.collector.version(), &cut.target.name)
}

/// One helper's part.
fn walk(shared: &Shared, cut: &Cut, output: &Mutex<Claimed>, index: usize, figures: &Figures) -> io::Result<()> {
    keyspace::slab::use_arena(index);
    let gate = shared.loops() + index;
    let collector = &*cut.collector;
    loop {
        for _ in 0..SLICES_PER_FLUSH {
            if collector.is_cancelled() {
                return Ok(());
            }
            let delay = Duration::from_micros(cut.target.delay_us.max(0) as u64);
            let keys_before = if delay.is_zero() { 0 } else { collector.keys() };
            let progress = {
                let world = shared.gates.narrow(gate);
                cut.snapshot.walk_slice(&world.keyspace)
            };
            match progress {
                Progress::Worked => priority::breathe(),
                Progress::Waiting => std::thread::sleep(Duration::from_micros(50)),
                Progress::Complete | Progress::Ended => {
                    figures.keys_done.store(collector.keys(), Relaxed);
                    return Ok(());
                }
            }
            if !delay.is_zero() {
                pause(delay * (collector.keys() - keys_before) as u32, collector);
            }
        }
        figures.keys_done.store(collector.keys(), Relaxed);
        collector.flush(output)?;
        // Somebody else may be at the output, which is slow: what has been captured must not pile up behind it.
        collector.relieve(output)?;
    }
}

/// Waits, but not longer than somebody wants the snapshot.
fn pause(total: Duration, collector: &Collector) {
    const STEP: Duration = Duration::from_millis(20);
    let mut left = total;
    while !left.is_zero() && !collector.is_cancelled() {
        let step = left.min(STEP);
        std::thread::sleep(step);
        left -= step;
    }
}

/// The file's name in the server's folder.
pub fn snapshot_path(config: &Config) -> PathBuf {
    Path::new(config.text(directives::DBFILENAME).as_ref()).to_owned()
}

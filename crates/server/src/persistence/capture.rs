//! The collector: takes captured keys and elements, and lets them out as the records of a file.
//!
//! ```text
//! walkers, writers ── keys() ─────> a stripe: whole records        ┐
//!                  ── elements() ─> an opening: its record so far  ├─ flush(), by helpers ─> Output
//!                                                                 └─ where the output is slow ─> spill file ─> Output
//! ```
//!
//! A writer that captures something serializes it into memory and goes on: files are the helpers' business. A record is in one piece in the
//! file, so an opened collection that has become large in memory *claims* the output until all its elements are there; what
//! else is captured meanwhile waits, and is spilled to a second file if that is too much. So memory stays within
//! [`SPILL_BYTES`], whatever the size of the data and the speed of the output, plus what is captured while some of it is being spilled, and
//! [`NOTED_BYTES`] in each stripe.
//!
//! *What if writers capture faster than walkers spill?* Walkers are nicer than everybody, and a write captures all that its bucket has. Where the output is slow,
//! which is where replicas are, the job's own thread [spills as well](Collector::help) beyond [`HELP_BYTES`], and beyond [`HOLD_BYTES`] writes wait until it has.
//! A snapshot for a file holds nobody. Neither does it hold a stream of our own primary, which goes on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use commands::db::{Lfu, access};
use keyspace::snapshot::{ElementRef, Opening, OpeningId, Sink};
use keyspace::{DbIndex, Entry, IntBuffer, Millis, Object, ShardIndex, StrRepr, ValueRef};
use parking_lot::Mutex;
use rdb::encode::{self, Compression, Options};
use rdb::{Access, Family, ValueType, Version};

use super::commands_form::{self, Elements};
use super::output::Output;
use crate::operation::memory;

/// Stripes with less than this stay in memory while there is more to come.
const FLUSH_BYTES: usize = 64 << 10;
/// Openings with less than this wait until they are complete.
const CLAIM_BYTES: usize = 1 << 20;
/// More than this is not kept in memory while the output is busy.
pub const SPILL_BYTES: u64 = 32 << 20;
/// With more whole records than this in memory for a slow output, walkers get help ...
const HELP_BYTES: u64 = SPILL_BYTES * 5 / 4;
/// ... and with more than this, writes wait.
const HOLD_BYTES: u64 = SPILL_BYTES * 3 / 2;
/// So much of an opened collection is let out at once.
const OPENED_BYTES_AT_ONCE: usize = 1 << 20;
/// Texts of at least this many bytes are not copied under the access that captures them.
const SHARED_TEXT_BYTES_MIN: usize = 64 << 10;

/// So long at most it is waited for room in the output before what has been captured meanwhile is looked at again.
const ROOM_PATIENCE: Duration = Duration::from_millis(10);

const STRIPES: usize = 64;
/// The last record of a piece of [`FLUSH_BYTES`] may go so far beyond that.
const PIECE_SLACK_BYTES: usize = 16 << 10;
/// So much may wait in one place uncounted.
const NOTED_BYTES: usize = 16 << 10;

/// Which trace of use is written beside each key.
#[derive(Clone, Debug, Default)]
pub enum Traces {
    #[default]
    None,
    Idle(Millis),
    Frequency(Lfu, Millis),
}

/// What the file consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Those of an RDB file.
    Records,
    /// Those of an append-only file: see [`commands_form`].
    Commands,
}

/// What was captured and is not in the file.
pub struct Collector {
    form: Form,
    family: Family,
    compression: Compression,
    traces: Traces,
    stripes: Box<[Apart<Stripe>]>,
    spare: Spare,
    openings: Mutex<BTreeMap<OpeningId, Arc<Mutex<Opened>>>>,
    /// The number of the latest version that a value has needed.
    version: AtomicU16,
    /// In stripes and openings.
    pub waiting_bytes: AtomicU64,
    pub waiting_bytes_peak: AtomicU64,
    /// In stripes alone: these can be spilled.
    whole_bytes: AtomicU64,
    pub spilled_bytes: AtomicU64,
    spill: Mutex<Spill>,
    is_cancelled: AtomicBool,
    /// What makes writes wait, if they may be made to.
    hold: Option<Arc<AtomicBool>>,
    /// Who spills beside the walkers.
    helper: OnceLock<Thread>,
}

/// A lock on cache lines of its own: walkers are in neighbouring shards at the same time.
#[derive(Default)]
#[repr(align(128))]
struct Apart<T>(Mutex<T>);

/// Whole records, each behind a SELECTDB where it is needed.
#[derive(Default)]
struct Stripe {
    pieces: Vec<Piece>,
    bytes: usize,
    /// So many of them are in the collector's figure.
    noted: Noted,
    db: Option<DbIndex>,
    /// All that ever came here.
    keys: u64,
}

/// How many of the bytes that wait in one place are counted for all places together: that figure is everybody's, and changing it for each key would
/// cost more than all else that is done for a key.
#[derive(Default)]
struct Noted(usize);

/// Pieces of one size that are empty and go round. Given back to the allocator, which keeps what was in use lately, those that another thread writes
/// would take three times the memory that waits.
#[derive(Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    const BYTES: usize = FLUSH_BYTES + PIECE_SLACK_BYTES;
    const COUNT_MAX: usize = HOLD_BYTES as usize / FLUSH_BYTES;

    /// Makes a piece that has become large one of them.
    #[inline]
    fn grow(&self, piece: &mut Vec<u8>) {
        if piece.capacity() < Spare::BYTES {
            let mut large = self.take();
            large.extend_from_slice(piece);
            *piece = large;
        }
    }

    fn take(&self) -> Vec<u8> {
        let spare = self.0.lock().pop();
        spare.unwrap_or_else(|| Vec::with_capacity(Spare::BYTES))
    }

    /// A piece that is not needed any more, whatever its size.
    fn give(&self, mut piece: Vec<u8>) {
        if piece.capacity() == Spare::BYTES {
            piece.clear();
            let mut spare = self.0.lock();
            if spare.len() < Spare::COUNT_MAX {
                spare.push(piece);
            }
        }
    }
}

enum Piece {
    Bytes(Vec<u8>),
    /// A string that goes to the file from where it lies.
    Text(Arc<Vec<u8>>),
    /// A collection that shares its parts with the one in the keyspace.
    Shared(Box<Object>, Version),
    /// The same as commands on the key of this name.
    SharedCommands(Box<Object>, Box<[u8]>),
}

/// The record of a collection whose elements come one by one.
struct Opened {
    parts: Parts,
    /// In pieces: one buffer that grows would be copied while whoever captures holds a shard, and when the output is slow it grows to hundreds of
    /// megabytes.
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
    /// In all of them.
    bytes: usize,
    noted: Noted,
    /// Elements that have not come yet.
    left: usize,
}

/// How its elements are written.
enum Parts {
    Record { value_type: ValueType, base: Option<Millis> },
    Commands { elements: Elements, expire_at: Option<Millis> },
}

/// Where records wait that the output cannot take now.
struct Spill {
    path: PathBuf,
    file: Option<File>,
}

impl Collector {
    pub fn new(form: Form, family: Family, compression: Compression, traces: Traces, spill: PathBuf) -> Collector {
        Collector {
            form,
            family,
            compression,
            traces,
            stripes: (0..STRIPES).map(|_| Apart::default()).collect(),
            spare: Spare::default(),
            openings: Mutex::default(),
            version: AtomicU16::new(Version::REDIS_7_0.number()),
            waiting_bytes: AtomicU64::new(0),
            waiting_bytes_peak: AtomicU64::new(0),
            whole_bytes: AtomicU64::new(0),
            spilled_bytes: AtomicU64::new(0),
            spill: Mutex::new(Spill { path: spill, file: None }),
            is_cancelled: AtomicBool::new(false),
            hold: None,
            helper: OnceLock::new(),
        }
    }

    /// While this is set, writes wait. It is set when too much waits in memory, and whoever [helps](Self::help) takes it back.
    pub fn hold_writes_by(&mut self, hold: Arc<AtomicBool>) {
        self.hold = Some(hold);
    }

    /// Nobody wants it any more: what still comes is let go.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Relaxed);
    }

    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Relaxed)
    }

    /// The oldest version that holds all that was captured.
    pub fn version(&self) -> Version {
        Version::known(self.version.load(Relaxed).into()).expect("it was some value's version")
    }

    /// How many keys have been captured.
    pub fn keys(&self) -> u64 {
        self.stripes.iter().map(|stripe| stripe.0.lock().keys).sum()
    }

    fn options(&self, version: Version) -> Options {
        if version.number() > self.version.load(Relaxed) {
            self.version.fetch_max(version.number(), Relaxed);
        }
        Options { version, compression: self.compression }
    }

    fn access(&self, entry: &Entry<'_>) -> Option<Access> {
        match &self.traces {
            Traces::None => None,
            Traces::Idle(now) => {
                let seconds = access::idle_ms(entry.access_bits(), *now) / 1000;
                Some(Access::IdleSeconds(seconds.max(0) as u64))
            }
            Traces::Frequency(lfu, now) => {
                Some(Access::Frequency(access::lfu_counter(entry.access_bits(), lfu, *now) as u8))
            }
        }
    }

    /// Counts what waits in one place, once it has grown enough, and while it is still locked: whoever takes it counts it off. Returns how much that is
    /// more.
    fn note_waiting(&self, bytes: usize, noted: &mut Noted) -> usize {
        let more = bytes - noted.0;
        if more < NOTED_BYTES {
            return 0;
        }
        noted.0 = bytes;
        let now = self.waiting_bytes.fetch_add(more as u64, Relaxed) + more as u64;
        self.waiting_bytes_peak.fetch_max(now, Relaxed);
        more
    }

    /// The same for a stripe.
    fn note_whole(&self, stripe: &mut Stripe) {
        let more = self.note_waiting(stripe.bytes, &mut stripe.noted) as u64;
        if more > 0 {
            let now = self.whole_bytes.fetch_add(more, Relaxed) + more;
            if now > HELP_BYTES {
                self.call_help(now, now - more);
            }
        }
    }

    /// So much waits in stripes now, and so much did before.
    #[cold]
    fn call_help(&self, now: u64, before: u64) {
        let (Some(hold), Some(helper)) = (&self.hold, self.helper.get()) else { return };
        if now > HOLD_BYTES {
            hold.store(true, Relaxed);
        } else if before > HELP_BYTES {
            return;
        }
        // Each time when writes are held: it may just have looked, and let them go.
        helper.unpark();
    }

    /// What waited there has been taken.
    fn note_taken(&self, noted: Noted) {
        self.waiting_bytes.fetch_sub(noted.0 as u64, Relaxed);
    }

    /// Appends a key's record to a stripe.
    #[inline]
    fn key(&self, stripe: &mut Stripe, db: DbIndex, entry: &Entry<'_>) {
        let value = entry.value();
        let options = self.options(Version::needed_by(&value, self.family));
        let out = stripe.select(self.form, db, &self.spare);
        let len = out.len();
        let mut text = None;
        match &value {
            ValueRef::Str(string)
                if let StrRepr::Large(large) = &string.repr
                    && large.len() >= SHARED_TEXT_BYTES_MIN =>
            {
                match self.form {
                    Form::Records => self.begin_record(out, entry, ValueType::String, &options),
                    Form::Commands => commands_form::set_before_text(out, entry.key(), large.len()),
                }
                text = Some(Arc::clone(large));
            }
            value if self.form == Form::Commands => commands_form::key(out, entry.key(), value, entry.expire_at()),
            value => {
                let value_type = encode::value_type(value, options.version);
                self.begin_record(out, entry, value_type, &options);
                encode::value(out, value, &options);
            }
        }
        let written = out.len() - len;
        stripe.bytes += written;
        if let Some(text) = text {
            stripe.bytes += text.len();
            stripe.pieces.push(Piece::Text(text));
            if self.form == Form::Commands {
                stripe.append(self.form, db, &self.spare, |out| {
                    commands_form::end_of_text(out);
                    commands_form::expiry(out, entry.key(), entry.expire_at());
                });
            }
        }
    }

    fn begin_record(&self, out: &mut Vec<u8>, entry: &Entry<'_>, value_type: ValueType, options: &Options) {
        encode::record_begin(out, entry.key(), entry.expire_at(), self.access(entry), value_type, options);
    }

    /// Lets out what there is to the output, as far as that is worth it. Returns at once if another thread is at the output, or that has no room.
    ///
    /// # Errors
    /// The output cannot be written; likewise below.
    pub fn flush(&self, output: &Mutex<Claimed>) -> io::Result<()> {
        match output.try_lock() {
            Some(mut claimed) if claimed.output.wait_for_room(Duration::ZERO)? => {
                self.flush_to(&mut claimed, false).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Keeps memory within its bound: spills what may be spilled, and waits for the output with the rest. Whoever captures more meanwhile waits here
    /// as well, so that what cannot be let out (elements of several collections at once) ends the waiting rather than the walk.
    pub fn relieve(&self, output: &Mutex<Claimed>) -> io::Result<()> {
        while self.waiting_bytes.load(Relaxed) > SPILL_BYTES && !self.is_cancelled() {
            let spilled = self.spill()?;
            let mut claimed = output.lock();
            if !claimed.output.wait_for_room(ROOM_PATIENCE)? {
                // Writers capture meanwhile.
                continue;
            }
            let flushed = self.flush_to(&mut claimed, false)?;
            if !spilled && !flushed {
                break;
            }
        }
        Ok(())
    }

    /// Spills beside the walkers, where they do not get on fast enough, until it `is_over`; whoever makes it so unparks this thread. `let_go`: what was held may
    /// go on.
    ///
    /// # Errors
    /// The second file cannot be written.
    pub fn help(&self, is_over: impl Fn() -> bool, let_go: impl Fn()) -> io::Result<()> {
        let Some(hold) = &self.hold else { return Ok(()) };
        self.helper.set(std::thread::current()).expect("there is one who helps");
        let too_much = |bytes_max| self.whole_bytes.load(Relaxed) > bytes_max && !self.is_cancelled();
        loop {
            let is_over = is_over();
            while too_much(SPILL_BYTES) && self.spill()? {}
            if hold.swap(false, Relaxed) {
                let_go();
            }
            if is_over {
                return Ok(());
            }
            if !too_much(HELP_BYTES) {
                std::thread::park();
            }
        }
    }

    /// Whether anything was let out, as far as there is room; `all`: everything.
    fn flush_to(&self, claimed: &mut Claimed, all: bool) -> io::Result<bool> {
        let Claimed { output, by } = claimed;
        let mut any = false;
        loop {
            if let Some(id) = *by {
                let opened = self.openings.lock().get(&id).cloned().expect("the one that claims is there");
                loop {
                    if !all && !output.wait_for_room(Duration::ZERO)? {
                        return Ok(any);
                    }
                    let (pieces, noted, is_empty, is_complete) = {
                        let mut opened = opened.lock();
                        let (pieces, noted) = opened.take();
                        (pieces, noted, opened.bytes == 0, opened.left == 0)
                    };
                    self.note_taken(noted);
                    for piece in pieces {
                        output.write(&piece)?;
                        any |= !piece.is_empty();
                        self.spare.give(piece);
                    }
                    if is_empty && !is_complete {
                        return Ok(any);
                    }
                    if is_empty {
                        break;
                    }
                }
                self.openings.lock().remove(&id);
                *by = None;
            }
            match self.next_claim(all) {
                Some(id) => *by = Some(id),
                None => break,
            }
        }
        let bytes_min = if all { 1 } else { FLUSH_BYTES };
        for stripe in &self.stripes {
            if !all && !output.wait_for_room(Duration::ZERO)? {
                break;
            }
            any |= self.take_stripe(stripe, bytes_min, |bytes| output.write(bytes))?;
        }
        Ok(any)
    }

    /// An opening that should go to the output now.
    fn next_claim(&self, all: bool) -> Option<OpeningId> {
        let openings = self.openings.lock();
        let is_ready = |opened: &Mutex<Opened>| {
            let opened = opened.lock();
            opened.left == 0 || all || opened.bytes >= CLAIM_BYTES
        };
        openings.iter().find(|(_, opened)| is_ready(opened)).map(|(id, _)| *id)
    }

    /// Gives a stripe's records to `write`, if there are so many bytes of them, and says whether there were.
    fn take_stripe(
        &self,
        stripe: &Apart<Stripe>,
        bytes_min: usize,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let (pieces, noted) = {
            let mut stripe = stripe.0.lock();
            if stripe.bytes < bytes_min {
                return Ok(false);
            }
            stripe.take()
        };
        self.whole_bytes.fetch_sub(noted.0 as u64, Relaxed);
        self.note_taken(noted);
        let mut encoded = Vec::new();
        for piece in pieces {
            encoded.clear();
            match piece {
                Piece::Bytes(bytes) => {
                    write(&bytes)?;
                    self.spare.give(bytes);
                    continue;
                }
                Piece::Text(text) if self.form == Form::Commands => {
                    write(&text)?;
                    continue;
                }
                Piece::SharedCommands(object, name) => commands_form::object(&mut encoded, &name, &object),
                Piece::Text(text) => encode::string(&mut encoded, &text, &self.options(Version::REDIS_7_0)),
                Piece::Shared(object, version) => encode::object(&mut encoded, &object, &self.options(version)),
            }
            write(&encoded)?;
        }
        Ok(true)
    }

    /// Puts whole records that wait into the second file. Whether there were any worth it.
    fn spill(&self) -> io::Result<bool> {
        let mut spill = self.spill.lock();
        let mut any = false;
        let Spill { path, file } = &mut *spill;
        let file = match file {
            Some(file) => file,
            None => {
                let opened = File::options().create_new(true).read(true).write(true).open(&*path)?;
                // It is this process's alone, and goes with it.
                std::fs::remove_file(path)?;
                file.insert(opened)
            }
        };
        for stripe in &self.stripes {
            any |= self.take_stripe(stripe, FLUSH_BYTES / 4, |bytes| {
                self.spilled_bytes.fetch_add(bytes.len() as u64, Relaxed);
                file.write_all(bytes)
            })?;
            memory::publish();
        }
        Ok(any)
    }

    /// The last of all: what is still in memory, and what was spilled.
    ///
    /// # Errors
    /// The output cannot be written, or the second file not be read.
    pub fn finish(&self, output: &Mutex<Claimed>) -> io::Result<()> {
        output.lock().output.wait_from_now_on();
        self.flush_to(&mut output.lock(), true)?;
        // Nothing more is captured, and sending what was spilled may take long.
        self.spare.0.lock().clear();
        let mut spill = self.spill.lock();
        if let Some(mut file) = spill.file.take() {
            let output = &mut output.lock().output;
            file.rewind()?;
            let mut chunk = vec![0; 1 << 20];
            loop {
                match file.read(&mut chunk)? {
                    0 => break,
                    count => output.write(&chunk[..count])?,
                }
            }
        }
        assert!(self.openings.lock().is_empty(), "a collection was opened and not walked to its end");
        Ok(())
    }
}

/// An output, and the opening whose record is being written to it.
pub struct Claimed {
    pub output: Output,
    pub by: Option<OpeningId>,
}

impl Sink for Collector {
    fn keys(&self, shard: ShardIndex, db: DbIndex, entries: &[Entry<'_>]) {
        if self.is_cancelled() {
            return;
        }
        let stripe = &mut *self.stripes[shard.get() % STRIPES].0.lock();
        stripe.keys += entries.len() as u64;
        for entry in entries {
            self.key(stripe, db, entry);
        }
        // Before anybody can take it.
        self.note_whole(stripe);
    }

    fn open(&self, shard: ShardIndex, db: DbIndex, entry: Entry<'_>, opening: Opening) {
        if self.is_cancelled() {
            return;
        }
        let value = entry.value();
        let ValueRef::Object(object) = &value else { unreachable!("strings are not opened") };
        match opening {
            Opening::Shared(shared) => {
                let version = Version::needed_by(&value, self.family);
                let options = self.options(version);
                let stripe = &mut *self.stripes[shard.get() % STRIPES].0.lock();
                stripe.keys += 1;
                match self.form {
                    Form::Records => {
                        stripe.append(self.form, db, &self.spare, |out| {
                            self.begin_record(out, &entry, encode::object_type(&shared, version), &options);
                        });
                        stripe.pieces.push(Piece::Shared(Box::new(shared), version));
                    }
                    Form::Commands => {
                        stripe.append(self.form, db, &self.spare, |_| {});
                        stripe.pieces.push(Piece::SharedCommands(Box::new(shared), entry.key().into()));
                        stripe.append(self.form, db, &self.spare, |out| {
                            commands_form::expiry(out, entry.key(), entry.expire_at())
                        });
                    }
                }
                // Only what it costs beyond what the keyspace has anyway.
                stripe.bytes += SHARED_COST_BYTES;
                self.note_whole(stripe);
            }
            Opening::Elements { id, len } => {
                self.stripes[shard.get() % STRIPES].0.lock().keys += 1;
                let options = self.options(Version::needed_by(&value, self.family));
                let mut bytes = Vec::new();
                select_db(&mut bytes, self.form, db);
                let parts = match self.form {
                    Form::Commands => Parts::Commands {
                        elements: Elements::new(entry.key(), object, len),
                        expire_at: entry.expire_at(),
                    },
                    Form::Records => {
                        let (value_type, base) =
                            (encode::object_type(object, options.version), object.earliest_expiry());
                        self.begin_record(&mut bytes, &entry, value_type, &options);
                        if value_type == ValueType::HashExpiring {
                            encode::expiry_base(&mut bytes, base);
                        }
                        encode::length(&mut bytes, len as u64);
                        Parts::Record { value_type, base }
                    }
                };
                let opened = Opened {
                    parts,
                    full: Vec::new(),
                    bytes: bytes.len(),
                    noted: Noted::default(),
                    last: bytes,
                    left: len,
                };
                self.openings.lock().insert(id, Arc::new(Mutex::new(opened)));
            }
        }
    }

    fn elements(&self, opening: OpeningId, elements: &[ElementRef<'_>]) {
        if self.is_cancelled() {
            return;
        }
        let options = Options { version: Version::LATEST, compression: self.compression };
        let Some(opened) = self.openings.lock().get(&opening).cloned() else { return };
        let mut opened = opened.lock();
        for element in elements {
            opened.add(*element, &options, &self.spare);
        }
        let Opened { bytes, noted, .. } = &mut *opened;
        self.note_waiting(*bytes, noted);
    }
}

/// One element of a collection's record.
fn record_element(
    out: &mut Vec<u8>,
    element: ElementRef<'_>,
    value_type: ValueType,
    base: Option<Millis>,
    options: &Options,
) {
    match element {
        ElementRef::Member(member) => encode::set_member(out, member, options),
        ElementRef::Scored(member, score) => encode::sorted_set_member(out, member, score, options),
        ElementRef::Field(field) => {
            let (mut name_buffer, mut value_buffer) = <(IntBuffer, IntBuffer)>::default();
            let (name, value) = (field.name.bytes(&mut name_buffer), field.value.bytes(&mut value_buffer));
            match value_type {
                ValueType::HashExpiring => {
                    encode::hash_field_expiring(out, name, value, field.expire_at, base, options);
                }
                ValueType::HashExpiring22 => encode::hash_field_valkey(out, name, value, field.expire_at, options),
                _ => encode::hash_field(out, name, value, options),
            }
        }
    }
}

fn select_db(out: &mut Vec<u8>, form: Form, db: DbIndex) {
    match form {
        Form::Records => encode::select_db(out, db.0),
        Form::Commands => commands_form::select_db(out, db),
    }
}

/// What a shared collection is taken to cost in memory.
const SHARED_COST_BYTES: usize = 16 << 10;

impl Opened {
    /// An element has come.
    fn add(&mut self, element: ElementRef<'_>, options: &Options, spare: &Spare) {
        if self.last.len() >= FLUSH_BYTES {
            self.full.push(std::mem::replace(&mut self.last, spare.take()));
        } else if self.last.len() >= NOTED_BYTES {
            spare.grow(&mut self.last);
        }
        let Opened { parts, last: bytes, left, .. } = self;
        let before = bytes.len();
        *left -= 1;
        match parts {
            Parts::Record { value_type, base } => record_element(bytes, element, *value_type, *base, options),
            Parts::Commands { elements, expire_at } => {
                elements.add(bytes, element);
                if *left == 0 {
                    commands_form::expiry(bytes, elements.name(), *expire_at);
                }
            }
        }
        let written = bytes.len() - before;
        self.bytes += written;
    }

    /// The first of what there is, in order, and how much of it was noted.
    fn take(&mut self) -> (Vec<Vec<u8>>, Noted) {
        const AT_ONCE: usize = OPENED_BYTES_AT_ONCE / FLUSH_BYTES;
        if self.full.len() > AT_ONCE {
            let pieces: Vec<Vec<u8>> = self.full.drain(..AT_ONCE).collect();
            let bytes = pieces.iter().map(Vec::len).sum::<usize>();
            self.bytes -= bytes;
            // What is not noted came last.
            let noted = Noted(bytes.min(self.noted.0));
            self.noted.0 -= noted.0;
            return (pieces, noted);
        }
        self.bytes = 0;
        let mut pieces = std::mem::take(&mut self.full);
        pieces.push(std::mem::take(&mut self.last));
        (pieces, std::mem::take(&mut self.noted))
    }
}

impl Stripe {
    /// What there is, and how much of it was noted. What comes then begins with its database.
    fn take(&mut self) -> (Vec<Piece>, Noted) {
        (self.bytes, self.db) = (0, None);
        (std::mem::take(&mut self.pieces), std::mem::take(&mut self.noted))
    }

    /// The bytes that the next record of this database is appended to.
    fn select(&mut self, form: Form, db: DbIndex, spare: &Spare) -> &mut Vec<u8> {
        match self.pieces.last_mut() {
            Some(Piece::Bytes(out)) if out.len() < NOTED_BYTES => {}
            Some(Piece::Bytes(out)) if out.len() < FLUSH_BYTES => spare.grow(out),
            Some(Piece::Bytes(_)) => self.pieces.push(Piece::Bytes(spare.take())),
            // It may stay small.
            _ => self.pieces.push(Piece::Bytes(Vec::new())),
        }
        let Some(Piece::Bytes(out)) = self.pieces.last_mut() else { unreachable!("pushed just now") };
        if self.db != Some(db) {
            let before = out.len();
            select_db(out, form, db);
            self.bytes += out.len() - before;
            self.db = Some(db);
        }
        out
    }

    /// Appends to these, and counts that.
    fn append(&mut self, form: Form, db: DbIndex, spare: &Spare, write: impl FnOnce(&mut Vec<u8>)) {
        let out = self.select(form, db, spare);
        let before = out.len();
        write(out);
        let written = out.len() - before;
        self.bytes += written;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use replication::LinkId;

    use super::*;
    use crate::replication::{Form as TransferForm, Next, Transfer};

    fn collector(folder: &Path) -> Collector {
        Collector::new(Form::Records, Family::Redis, Compression::None, Traces::None, folder.join("captured"))
    }

    fn opened(bytes: usize, left: usize) -> Arc<Mutex<Opened>> {
        let parts = Parts::Record { value_type: ValueType::Set, base: None };
        Arc::new(Mutex::new(Opened {
            parts,
            full: Vec::new(),
            last: vec![b'x'; bytes],
            bytes,
            noted: Noted::default(),
            left,
        }))
    }

    fn output(folder: &Path) -> Mutex<Claimed> {
        Mutex::new(Claimed {
            output: Output::create(folder.join("temporary"), Form::Records, true, false).unwrap(),
            by: None,
        })
    }

    /// Two collections whose elements come side by side: one is at the output, the other cannot be let out and must not stop the walk, which
    /// alone can complete the first.
    #[test]
    fn what_cannot_be_let_out_does_not_stop_the_walk() {
        let folder = tempfile::tempdir().unwrap();
        let output = output(folder.path());
        let collector = collector(folder.path());
        let large = SPILL_BYTES as usize + 1;
        for (id, bytes) in [(0, CLAIM_BYTES), (1, large)] {
            let opened = opened(bytes, 1);
            collector.note_waiting(bytes, &mut opened.lock().noted);
            collector.openings.lock().insert(OpeningId(id), opened);
        }
        collector.relieve(&output).unwrap();
        assert_eq!(output.lock().by, Some(OpeningId(0)));
        assert_eq!(collector.waiting_bytes.load(Relaxed), large as u64);
        // The walk completes both.
        collector.openings.lock().values().for_each(|opened| opened.lock().left = 0);
        collector.finish(&output).unwrap();
        assert_eq!(collector.waiting_bytes.load(Relaxed), 0);
    }

    /// However often stripes fill and are emptied, there are as many pieces as were in use at once.
    #[test]
    fn pieces_go_round() {
        let folder = tempfile::tempdir().unwrap();
        let collector = collector(folder.path());
        for _ in 0..50 {
            for stripe in &collector.stripes {
                // The first stays small, and becomes a large one with the second.
                for _ in 0..3 {
                    let write = |out: &mut Vec<u8>| out.extend_from_slice(&[b'r'; NOTED_BYTES]);
                    stripe.0.lock().append(Form::Records, DbIndex(0), &collector.spare, write);
                }
            }
            for stripe in &collector.stripes {
                assert!(collector.take_stripe(stripe, NOTED_BYTES, |_| Ok(())).unwrap());
            }
            assert_eq!(collector.spare.0.lock().len(), STRIPES);
        }
    }

    /// While the output belongs to one collection, whole records go to the second file, and come back from it.
    #[test]
    fn whole_records_are_spilled_behind_a_claim() {
        let folder = tempfile::tempdir().unwrap();
        let output = output(folder.path());
        let collector = collector(folder.path());
        let first = opened(CLAIM_BYTES, 1);
        collector.note_waiting(CLAIM_BYTES, &mut first.lock().noted);
        collector.openings.lock().insert(OpeningId(0), first);
        let record = vec![b'r'; SPILL_BYTES as usize / STRIPES + 1];
        for stripe in &collector.stripes {
            let pieces = vec![Piece::Bytes(record.clone())];
            let stripe = &mut *stripe.0.lock();
            *stripe = Stripe { pieces, bytes: record.len(), ..Stripe::default() };
            collector.note_whole(stripe);
        }
        collector.relieve(&output).unwrap();
        assert!(collector.waiting_bytes.load(Relaxed) <= SPILL_BYTES);
        assert_eq!(collector.spilled_bytes.load(Relaxed), (record.len() * STRIPES) as u64);
        assert!(!folder.path().join("captured").exists(), "the second file has no name");
        collector.openings.lock().values().for_each(|opened| opened.lock().left = 0);
        collector.finish(&output).unwrap();
        let name = folder.path().join("whole");
        let bytes = output.into_inner().output.finish(collector.version(), &name).unwrap();
        let file = std::fs::read(&name).unwrap();
        assert_eq!(file.len() as u64, bytes);
        assert_eq!(file.iter().filter(|&&byte| byte == b'r').count(), record.len() * STRIPES);
    }

    /// Walkers do not get on at all: another thread spills, and until it has, writes wait.
    #[test]
    fn too_much_holds_writes_until_it_is_spilled() {
        let folder = tempfile::tempdir().unwrap();
        let hold = Arc::<AtomicBool>::default();
        let mut collector = collector(folder.path());
        collector.hold_writes_by(hold.clone());
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let helper = scope.spawn(|| collector.help(|| is_over.load(Relaxed), || {}));
            while collector.helper.get().is_none() {
                std::thread::yield_now();
            }
            let record = vec![b'r'; HOLD_BYTES as usize / STRIPES + 1];
            for stripe in &collector.stripes {
                let stripe = &mut *stripe.0.lock();
                *stripe =
                    Stripe { pieces: vec![Piece::Bytes(record.clone())], bytes: record.len(), ..Stripe::default() };
                collector.note_whole(stripe);
            }
            while collector.whole_bytes.load(Relaxed) > SPILL_BYTES || hold.load(Relaxed) {
                std::thread::yield_now();
            }
            is_over.store(true, Relaxed);
            helper.thread().unpark();
            helper.join().unwrap().unwrap();
        });
        assert!(!hold.load(Relaxed));
        assert_eq!(collector.whole_bytes.load(Relaxed), collector.waiting_bytes.load(Relaxed));
        assert!(collector.spilled_bytes.load(Relaxed) > 0);
    }

    /// The replica takes nothing for now: whoever walks does not wait for it with what has been captured in memory.
    #[test]
    fn what_a_slow_replica_does_not_take_is_spilled() {
        let folder = tempfile::tempdir().unwrap();
        let link = LinkId(1);
        let transfer = Arc::new(Transfer::new(TransferForm::Stream([b'm'; 40]), 0, &[link], || {}));
        let full = Output::to_replicas(transfer.clone(), false).unwrap();
        while transfer.wait_for_room(Duration::ZERO).unwrap() {
            transfer.write(&[b'x'; 1 << 20]).unwrap();
        }
        let output = Mutex::new(Claimed { output: full, by: None });
        let collector = collector(folder.path());
        let record = vec![b'r'; SPILL_BYTES as usize / STRIPES + 1];
        for stripe in &collector.stripes {
            let stripe = &mut *stripe.0.lock();
            *stripe = Stripe { pieces: vec![Piece::Bytes(record.clone())], bytes: record.len(), ..Stripe::default() };
            collector.note_whole(stripe);
        }
        collector.flush(&output).unwrap();
        assert!(collector.waiting_bytes.load(Relaxed) > SPILL_BYTES);
        collector.relieve(&output).unwrap();
        assert_eq!(collector.waiting_bytes.load(Relaxed), 0);
        assert_eq!(collector.spilled_bytes.load(Relaxed), (record.len() * STRIPES) as u64);
        // At the end everything comes, as fast as it is taken.
        std::thread::scope(|scope| {
            let finished = scope.spawn(|| collector.finish(&output));
            let mut records = 0;
            while records < record.len() * STRIPES {
                match transfer.next(link) {
                    Next::Piece(piece) => records += piece.iter().filter(|&&byte| byte == b'r').count(),
                    Next::Later => std::thread::yield_now(),
                    Next::End(_) => panic!("it is not whole"),
                }
            }
            finished.join().unwrap().unwrap();
        });
    }
}

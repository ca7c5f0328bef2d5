//! The keyspace and access to it.
//!
//! [`Keyspace`] is shared; [`Space`] is exclusive access to some of its shards, and the only way to touch a key.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use smallvec::SmallVec;

use crate::collection;
use crate::collection::table::Opened;
use crate::entry::{Payload, RawEntry};
use crate::hash::KeyHasher;
use crate::planted::planted;
use crate::prefetch::prefetch_for_write;
use crate::shard_lock::{Holder, ShardLock};
use crate::snapshot::{Cut, KeyCapture, OpeningState, Sink, Snapshot, SnapshotLimits, Step};
use crate::table::{
    Ahead, Buckets, Capture, Captured, Due, Element, Expiries, Limits, Remains, Surroundings, Table, TableCounters,
};
use crate::{
    DbIndex, Entry, EntryMut, Expiry, Key, Millis, NewValue, Removed, SHARD_BITS, SHARD_COUNT, ShardIndex, slab,
};

/// How a keyspace is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keys the hash. Must be unpredictable in a server; tests pass a fixed one.
    pub seed: [u64; 4],
    pub limits: Limits,
}

/// What single operations cost at most, and what the tables take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableFigures {
    /// The most keys that one operation moved in its table.
    pub keys_moved_max: usize,
    /// The most bytes of segments and directory that one operation wrote anew.
    pub bytes_copied_max: usize,
    pub splits: u64,
    pub merges: u64,
    /// Segments and directories, without the entries.
    pub table_bytes: usize,
}

/// A place in hash space: what SCAN hands out. 0 is both start and end; every other number is a valid place too.
///
/// The bits of the place are reversed, so that cursors of small tables are small numbers, which some clients need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub u64);

impl Cursor {
    pub const START: Cursor = Cursor(0);

    fn shard(self) -> usize {
        (self.0.reverse_bits() >> (64 - SHARD_BITS)) as usize
    }

    /// The position within the shard's tables.
    fn position(self) -> u64 {
        self.0.reverse_bits() << SHARD_BITS
    }

    fn at(shard: usize, position: u64) -> Cursor {
        Cursor(((shard as u64) << (64 - SHARD_BITS) | position >> SHARD_BITS).reverse_bits())
    }

    /// The start of the shard after `shard`, or the end.
    fn after(shard: usize) -> Cursor {
        if shard + 1 == SHARD_COUNT { Cursor::START } else { Cursor::at(shard + 1, 0) }
    }
}

/// Which of a shard's tables a key lives in. Databases have a table each; when slots get tables of their own, this is where.
#[inline]
fn table_index(db: DbIndex, _hash: u64) -> usize {
    db.0 as usize
}

/// The tables of one shard.
#[derive(Default)]
#[repr(C)]
struct Tables {
    /// Database 0, which nearly all keys live in, without a further step.
    first: Table<RawEntry>,
    /// The others, from database 1 on, as far as they were used.
    others: Vec<Option<Box<Table<RawEntry>>>>,
}

impl Tables {
    #[inline]
    fn get(&self, index: usize) -> Option<&Table<RawEntry>> {
        if index == 0 { Some(&self.first) } else { self.others.get(index - 1)?.as_deref() }
    }

    #[inline]
    fn get_mut(&mut self, index: usize) -> Option<&mut Table<RawEntry>> {
        if index == 0 { Some(&mut self.first) } else { self.others.get_mut(index - 1)?.as_deref_mut() }
    }

    fn get_or_create(&mut self, index: usize) -> &mut Table<RawEntry> {
        if index == 0 {
            return &mut self.first;
        }
        if self.others.len() < index {
            self.others.resize_with(index, || None);
        }
        self.others[index - 1].get_or_insert_default()
    }

    fn count(&self) -> usize {
        1 + self.others.len()
    }

    fn iter(&self) -> impl Iterator<Item = &Table<RawEntry>> {
        std::iter::once(&self.first).chain(self.others.iter().flatten().map(|table| &**table))
    }

    fn earliest(&self) -> Millis {
        self.iter().map(Table::earliest).min().unwrap_or(Millis::NEVER)
    }
}

/// A shard has its cache lines to itself; the first of them holds the lock and all that a lookup in database 0 reads.
#[repr(C, align(128))]
struct Shard {
    lock: ShardLock,
    /// Lower bound of the earliest expiry of all tables, in milliseconds.
    earliest: AtomicI64,
    tables: UnsafeCell<Tables>,
}

// There are thousands of shards, in an empty server too.
const _: () = assert!(size_of::<Shard>() == 128);

impl Shard {
    fn new() -> Shard {
        Shard {
            lock: ShardLock::new(),
            earliest: AtomicI64::new(Millis::NEVER.0),
            tables: UnsafeCell::new(Tables::default()),
        }
    }

    fn refresh_earliest(&self, tables: &Tables) {
        self.earliest.store(tables.earliest().0, Relaxed);
    }
}

/// A bit for every shard.
const SHARD_WORDS: usize = SHARD_COUNT / 64;

/// Shards that have counters in common: so few that a table that grows seldom meets another at its counters.
const COUNTERS_COUNT: usize = 64;

/// How far a walk of [`Keyspace::compact`] has come. A new one is at the start.
#[derive(Debug)]
pub struct Compaction {
    cursor: Cursor,
    /// Large collections behind the cursor that have more to be looked at.
    inside: Vec<Inside>,
    /// The cursor has been everywhere.
    is_last: bool,
}

impl Default for Compaction {
    fn default() -> Compaction {
        Compaction { cursor: Cursor::START, inside: Vec::new(), is_last: false }
    }
}

/// A large collection, and where to go on in it.
#[derive(Debug)]
struct Inside {
    db: DbIndex,
    key: Box<[u8]>,
    position: u64,
}

/// So many elements of a collection are looked at when its key is met.
const COMPACT_AT_ONCE: usize = 16;

/// All keys of all databases, in [`SHARD_COUNT`] shards.
pub struct Keyspace {
    shards: Box<[Shard; SHARD_COUNT]>,
    counters: Box<[TableCounters]>,
    /// Which shards have keys, a bit each, written under their locks: walks over few keys pass the many empty shards by.
    occupied: [AtomicU64; SHARD_WORDS],
    hasher: KeyHasher,
    limits: Limits,
    /// The active cut. Changed wide only, so that whoever has a [`Space`] reads it without further ado.
    cut: UnsafeCell<Option<Cut>>,
}

// SAFETY: tables and the cut are reached through `Space` only, which holds their shard's lock, or, made by `wide`, is alone by its caller's promise.
unsafe impl Sync for Keyspace {}

impl Keyspace {
    /// # Panics
    /// If a limit is out of its range.
    pub fn new(options: &Options) -> Keyspace {
        options.limits.check();
        collection::table::set_up(options.seed, options.limits);
        Keyspace::empty(KeyHasher::new(options.seed), options.limits)
    }

    fn empty(hasher: KeyHasher, limits: Limits) -> Keyspace {
        let shards: Box<[Shard]> = (0..SHARD_COUNT).map(|_| Shard::new()).collect();
        let Ok(shards) = shards.try_into() else { unreachable!("collected that many") };
        let counters = (0..COUNTERS_COUNT).map(|_| TableCounters::default()).collect();
        let occupied = [const { AtomicU64::new(0) }; SHARD_WORDS];
        Keyspace { shards, counters, occupied, hasher, limits, cut: UnsafeCell::new(None) }
    }

    /// An empty keyspace, in which keys lie where they lie in this one: what is put in there can [take the place](Self::exchange) of what is here.
    pub fn empty_like(&self) -> Keyspace {
        Keyspace::empty(self.hasher.clone(), self.limits)
    }

    /// Exchanges what two keyspaces hold, of which one was made [like](Self::empty_like) the other. Takes no longer when they hold more.
    ///
    /// # Panics
    /// While a snapshot of either is taken: its walkers would go on in the other.
    pub fn exchange(&mut self, other: &mut Keyspace) {
        assert!(self.cut.get_mut().is_none() && other.cut.get_mut().is_none(), "a snapshot is of one keyspace");
        std::mem::swap(&mut self.shards, &mut other.shards);
        std::mem::swap(&mut self.counters, &mut other.counters);
        std::mem::swap(&mut self.occupied, &mut other.occupied);
    }

    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key { bytes, hash: self.hasher.hash(bytes) }
    }

    /// Locks the shards in `held`, ascending, and unlocks them when the `Space` is dropped.
    ///
    /// # Panics
    /// If this thread has a `Space` with locks already: two could lock in crossed orders.
    #[inline]
    pub fn narrow(&self, held: &Held) -> Space<'_> {
        if held.count() > 1 {
            // Half of them were locked last by another core: their lines come over side by side.
            held.iter().for_each(|shard| prefetch_for_write((&raw const self.shards[shard.get()]).cast()));
        }
        self.lock_all(held.iter())
    }

    #[inline]
    fn lock_all(&self, shards: impl Iterator<Item = ShardIndex>) -> Space<'_> {
        let holder = Holder::claim();
        let mut locked = SmallVec::new();
        for shard in shards {
            let place = &self.shards[shard.get()];
            place.lock.lock(&holder);
            // Is there when all of them are locked.
            // SAFETY: the lock is held, and the reference ends here.
            unsafe { &(*place.tables.get()).first }.prefetch_directory();
            locked.push(shard);
        }
        Space::new(self, Reach::Narrow { holder, locked })
    }

    /// Access to all shards, without any lock.
    ///
    /// # Safety
    /// No other `Space` of this keyspace exists while the returned one does, on any thread: the caller has shut every gate behind which
    /// `narrow`, `lock_one`, `scan` and `compact` are called.
    pub unsafe fn wide(&self) -> Space<'_> {
        Space::new(self, Reach::Wide)
    }

    /// Locks one shard: for walks that visit one after the other. As for [`narrow`](Self::narrow), the thread must hold nothing else.
    pub fn lock_one(&self, shard: ShardIndex) -> Space<'_> {
        self.lock_all(std::iter::once(shard))
    }

    /// Lower bound of the earliest expiry in the shard, [`Millis::NEVER`] if nothing there expires. Takes no lock.
    pub fn earliest_expiry(&self, shard: ShardIndex) -> Millis {
        Millis(self.shards[shard.get()].earliest.load(Relaxed))
    }

    /// [`Space::scan`] for a caller that holds no shard: locks them one after the other.
    pub fn scan(&self, db: DbIndex, cursor: Cursor, count: usize, mut visit: impl FnMut(Entry<'_>)) -> Cursor {
        let mut cursor = cursor;
        let mut left = count.max(1);
        loop {
            let space = self.lock_one(ShardIndex::new(cursor.shard()));
            cursor = self.skip_empty(space.scan_shard(db, cursor, &mut left, &mut visit));
            if left == 0 || cursor == Cursor::START {
                return cursor;
            }
        }
    }

    /// One slice of the walk that moves entries, and what collections consist of, out of sparse pages: visits about `budget` of them (and at most so
    /// many empty shards). Says whether there is more. Locks one shard at a time; worth it when
    /// [`slab::wants_compaction`](crate::slab::wants_compaction). Gets nowhere while a snapshot is taken: what lies where it lies need not be captured.
    pub fn compact(&self, walk: &mut Compaction, budget: usize) -> bool {
        let mut left = budget.max(1);
        while left > 0 {
            if walk.inside.is_empty() && walk.is_last {
                slab::compaction_done();
                return false;
            }
            if let Some(inside) = walk.inside.last_mut() {
                let mut space = self.lock_one(self.key(&inside.key).shard());
                if space.active_cut().is_some() {
                    return true;
                }
                match space.compact_inside(inside, left) {
                    Some(position) => inside.position = position,
                    None => drop(walk.inside.pop()),
                }
                return true;
            }
            let mut space = self.lock_one(ShardIndex::new(walk.cursor.shard()));
            if space.active_cut().is_some() {
                return true;
            }
            walk.cursor = self.skip_empty(space.compact_shard(walk, &mut left));
            left = left.saturating_sub(1);
            if walk.cursor == Cursor::START {
                if walk.inside.is_empty() {
                    slab::compaction_done();
                    return false;
                }
                walk.is_last = true;
            }
        }
        true
    }

    #[inline]
    fn around<'a>(&'a self, shard: usize, capture: &'a Option<KeyCapture<'a>>) -> Surroundings<'a, RawEntry> {
        Surroundings {
            hasher: &self.hasher,
            skipped_bits: SHARD_BITS,
            limits: &self.limits,
            counters: self.counters_of(shard),
            capture: dynamic(capture),
        }
    }

    /// For whoever has put in the first key of a table, or taken out the last one.
    #[cold]
    fn note_occupied(&self, shard: usize, tables: &Tables) {
        let (word, bit) = (&self.occupied[shard / 64], 1 << (shard % 64));
        if tables.iter().any(|table| table.len() > 0) {
            word.fetch_or(bit, Relaxed);
        } else {
            word.fetch_and(!bit, Relaxed);
        }
    }

    /// Ascending.
    fn occupied_shards(&self) -> impl Iterator<Item = usize> {
        self.occupied
            .iter()
            .enumerate()
            .flat_map(|(index, word)| ones(word.load(Relaxed)).map(move |bit| index * 64 + bit))
    }

    /// The first place from where a walk has got to on where keys may be, or the end.
    fn skip_empty(&self, cursor: Cursor) -> Cursor {
        if cursor == Cursor::START {
            return cursor;
        }
        match self.occupied_from(cursor.shard()) {
            None => Cursor::START,
            Some(found) if found == cursor.shard() => cursor,
            Some(found) => Cursor::at(found, 0),
        }
    }

    /// The first shard from this one on where keys may be.
    pub(crate) fn occupied_from(&self, shard: usize) -> Option<usize> {
        let mut word = self.occupied.get(shard / 64)?.load(Relaxed) & u64::MAX << (shard % 64);
        let mut index = shard / 64;
        while word == 0 {
            index += 1;
            word = self.occupied.get(index)?.load(Relaxed);
        }
        Some(index * 64 + word.trailing_zeros() as usize)
    }

    fn counters_of(&self, shard: usize) -> &TableCounters {
        &self.counters[shard % COUNTERS_COUNT]
    }

    /// Sums over the shards, without locks.
    pub fn figures(&self) -> TableFigures {
        let mut figures = TableFigures::default();
        for counters in &self.counters {
            figures.keys_moved_max = figures.keys_moved_max.max(counters.keys_moved_max.load(Relaxed));
            figures.bytes_copied_max = figures.bytes_copied_max.max(counters.bytes_copied_max.load(Relaxed));
            figures.splits += counters.splits.load(Relaxed);
            figures.merges += counters.merges.load(Relaxed);
            figures.table_bytes = figures.table_bytes.wrapping_add(counters.table_bytes.load(Relaxed));
        }
        figures
    }
}

/// The elements of a large collection, to be asked for ahead: lookups that follow do not wait for memory one after the other.
#[derive(Clone, Copy)]
pub struct Elements<'a>(Buckets<'a>);

impl<'a> Elements<'a> {
    /// First pass: asks for the bucket's cache line.
    #[inline]
    pub fn prefetch_bucket(self, element: &[u8]) -> ElementAhead<'a> {
        let hash = collection::table::member_hash(element);
        self.0.prefetch_bucket(hash);
        ElementAhead { buckets: self.0, hash }
    }
}

/// An element whose bucket was asked for.
pub struct ElementAhead<'a> {
    buckets: Buckets<'a>,
    hash: u64,
}

impl ElementAhead<'_> {
    /// Second pass: asks for the element that the bucket names.
    #[inline]
    pub fn prefetch(self) {
        self.buckets.prefetch_element(self.hash);
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        *self.cut.get_mut() = None;
        // SAFETY: `&mut self`: no Space borrows the keyspace.
        drop(unsafe { self.wide() }.flush_all());
    }
}

/// A set of shards: a bit for each, and a bit for each word of those, so that small sets are walked and emptied at once.
#[derive(Clone, Debug)]
pub struct Held {
    words: [u64; SHARD_WORDS],
    /// Which words are not zero.
    used_words: u64,
    count: u16,
}

const _: () = assert!(SHARD_WORDS <= 64);

impl Held {
    pub const fn new() -> Held {
        Held { words: [0; SHARD_WORDS], used_words: 0, count: 0 }
    }

    /// Adds a shard; returns whether it is new to the set.
    #[inline]
    pub fn insert(&mut self, shard: ShardIndex) -> bool {
        let index = shard.get() / 64;
        let bit = 1 << (shard.get() % 64);
        let new = self.words[index] & bit == 0;
        self.words[index] |= bit;
        self.used_words |= 1 << index;
        self.count += u16::from(new);
        new
    }

    #[inline]
    pub fn contains(&self, shard: ShardIndex) -> bool {
        self.words[shard.get() / 64] & 1 << (shard.get() % 64) != 0
    }

    /// The number of shards in the set.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    pub fn clear(&mut self) {
        ones(self.used_words).for_each(|index| self.words[index] = 0);
        (self.used_words, self.count) = (0, 0);
    }

    /// Ascending.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = ShardIndex> {
        ones(self.used_words)
            .flat_map(|index| ones(self.words[index]).map(move |bit| ShardIndex::new(index * 64 + bit)))
    }
}

/// The places of the bits that are set, ascending.
#[inline]
fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (bits != 0).then(|| {
            let place = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            place
        })
    })
}

impl Default for Held {
    fn default() -> Held {
        Held::new()
    }
}

/// What has gone because its time had passed.
pub enum Expired<'a> {
    /// A key with its value.
    Key(Removed),
    /// A field of the hash at this key.
    Field { key: &'a [u8], field: &'a [u8] },
    /// So many fields of this hash, which has others left: comes behind the last of them.
    Fields { key: &'a [u8], fields: usize },
    /// So many fields of a hash, and with the last of them the hash itself.
    Hash { removed: Removed, fields: usize },
}

/// Which shards a [`Space`] may touch.
enum Reach {
    /// Those that name `holder` in their lock, which are the locked ones.
    Narrow { holder: Holder, locked: SmallVec<[ShardIndex; 32]> },
    /// All of them.
    Wide,
}

/// Exclusive access to a set of shards. Touching a shard outside the set is a bug of ours, and panics.
pub struct Space<'a> {
    keyspace: &'a Keyspace,
    reach: Reach,
    created_access_bits: u32,
    /// Neither Send nor Sync: the locks are this thread's, and entries write their access bits through shared references.
    thread: PhantomData<*mut ()>,
}

impl<'a> Space<'a> {
    fn new(keyspace: &'a Keyspace, reach: Reach) -> Space<'a> {
        Space { keyspace, reach, created_access_bits: 0, thread: PhantomData }
    }

    pub fn keyspace(&self) -> &'a Keyspace {
        self.keyspace
    }

    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        self.keyspace.key(bytes)
    }

    /// Whether this is access to everything.
    pub fn is_wide(&self) -> bool {
        matches!(self.reach, Reach::Wide)
    }

    #[inline]
    pub fn holds(&self, shard: ShardIndex) -> bool {
        match &self.reach {
            Reach::Narrow { holder, .. } => self.keyspace.shards[shard.get()].lock.is_held_by(holder),
            Reach::Wide => true,
        }
    }

    /// The access bits of entries created from now on: the LRU clock, or the LFU's initial state.
    pub fn set_created_access_bits(&mut self, bits: u32) {
        self.created_access_bits = bits;
    }

    #[inline]
    fn shard(&self, shard: usize) -> &'a Shard {
        assert!(self.holds(ShardIndex::new(shard)), "shard {shard} is not held");
        &self.keyspace.shards[shard]
    }

    #[inline]
    fn tables(&self, shard: usize) -> &Tables {
        // SAFETY: the shard is held (checked), by this thread alone, and `self` is borrowed: nobody has a mutable reference.
        unsafe { &*self.shard(shard).tables.get() }
    }

    #[inline]
    fn tables_mut(&mut self, shard: usize) -> (&mut Tables, &'a Shard) {
        let shard = self.shard(shard);
        // SAFETY: the shard is held (checked), by this thread alone, and `self` is borrowed mutably.
        (unsafe { &mut *shard.tables.get() }, shard)
    }

    #[inline]
    fn active_cut(&self) -> Option<&'a Cut> {
        // SAFETY: it is changed through wide spaces only (`cut`, `end_cut`, `swap_dbs`), beside which there is no other space, and none of them
        // keeps this reference.
        unsafe { &*self.keyspace.cut.get() }.as_ref()
    }

    /// Captures what is about to change in a table, while a cut is active.
    #[inline]
    fn capture(&self, shard: usize, table: usize) -> Option<KeyCapture<'a>> {
        self.active_cut().map(|cut| cut.capture(ShardIndex::new(shard), table))
    }

    #[inline]
    fn table(&self, db: DbIndex, key: Key<'_>) -> Option<&Table<RawEntry>> {
        self.tables(key.shard().get()).get(table_index(db, key.hash))
    }

    /// The tables of a shard that is held, each with its database.
    pub(crate) fn tables_of(&self, shard: ShardIndex) -> impl Iterator<Item = (DbIndex, &Table<RawEntry>)> + Clone {
        let tables = self.tables(shard.get());
        (0..tables.count()).filter_map(|index| Some((DbIndex(index as u32), tables.get(index)?)))
    }

    /// Makes the lower bound of the shard's earliest expiry what its tables say.
    pub(crate) fn refresh_earliest(&self, shard: ShardIndex) {
        self.shard(shard.get()).refresh_earliest(self.tables(shard.get()));
    }

    /// Whether the time of anything near this key may have come. Cheaper than looking the key up, and mostly false.
    #[inline]
    pub fn may_have_expired(&self, key: Key<'_>, now: Millis) -> bool {
        self.keyspace.earliest_expiry(key.shard()) <= now
    }

    #[inline]
    pub fn get(&self, db: DbIndex, key: Key<'_>) -> Option<Entry<'_>> {
        let table = self.table(db, key)?;
        let place = table.find(position(key), key.bytes)?;
        // SAFETY: the entry is in the table, which is borrowed with `self`.
        Some(unsafe { Entry::new(table.at(place)) })
    }

    pub fn contains(&self, db: DbIndex, key: Key<'_>) -> bool {
        self.table(db, key).is_some_and(|table| table.find(position(key), key.bytes).is_some())
    }

    pub fn get_mut(&mut self, db: DbIndex, key: Key<'_>) -> Option<EntryMut<'_>> {
        let (home, index) = (key.shard().get(), table_index(db, key.hash));
        let capture = self.capture(home, index);
        let (tables, shard) = self.tables_mut(home);
        let table = tables.get_mut(index)?;
        let unlocked = table.find_unlocked(dynamic(&capture), position(key), key.bytes)?;
        Some(EntryMut::new(table, unlocked, &shard.earliest))
    }

    /// Inserts or replaces, with one lookup; in place where the new value fits. Returns whether the key existed.
    /// Access bits of an existing key stay.
    pub fn set(&mut self, db: DbIndex, key: Key<'_>, value: NewValue<'_>, expiry: Expiry) -> bool {
        let payload = Payload::from(value);
        if let Some(mut entry) = self.get_mut(db, key) {
            let expiry = match expiry {
                Expiry::Clear => None,
                Expiry::Keep => entry.entry().expire_at(),
                Expiry::At(at) => Some(at),
            };
            entry.overwrite(key.bytes, payload, expiry);
            return true;
        }
        let expiry = match expiry {
            Expiry::Clear | Expiry::Keep => None,
            Expiry::At(at) => Some(at),
        };
        self.insert_new(db, key, RawEntry::new(key.bytes, payload, expiry, self.created_access_bits));
        false
    }

    /// Adds an entry whose key is not there.
    fn insert_new(&mut self, db: DbIndex, key: Key<'_>, entry: RawEntry) {
        let (home, index) = (key.shard().get(), table_index(db, key.hash));
        let capture = self.capture(home, index);
        self.insert_with(&capture, home, index, key, entry);
    }

    #[inline]
    fn insert_with(
        &mut self,
        capture: &Option<KeyCapture<'_>>,
        home: usize,
        index: usize,
        key: Key<'_>,
        entry: RawEntry,
    ) {
        let keyspace = self.keyspace;
        let (tables, shard) = self.tables_mut(home);
        let table = tables.get_or_create(index);
        table.insert(&keyspace.around(home, capture), position(key), entry);
        if table.len() == 1 {
            keyspace.note_occupied(home, tables);
        }
        let Millis(at) = Expiries::of(entry).earliest();
        if at < shard.earliest.load(Relaxed) {
            shard.earliest.store(at, Relaxed);
        }
    }

    /// So many keys are about to come into this shard: where it has none in this database, it makes room for them at once.
    pub fn reserve(&mut self, db: DbIndex, shard: ShardIndex, len: usize) {
        let (keyspace, home, index) = (self.keyspace, shard.get(), table_index(db, 0));
        let capture = self.capture(home, index);
        let around = keyspace.around(home, &capture);
        self.tables_mut(home).0.get_or_create(index).reserve(&around, len);
    }

    pub fn remove(&mut self, db: DbIndex, key: Key<'_>) -> Option<Removed> {
        let (keyspace, home, index) = (self.keyspace, key.shard().get(), table_index(db, key.hash));
        let capture = self.capture(home, index);
        let around = keyspace.around(home, &capture);
        let (tables, _) = self.tables_mut(home);
        let table = tables.get_mut(index)?;
        let unlocked = table.find_unlocked(around.capture, position(key), key.bytes)?;
        let entry = table.remove(&around, position(key), unlocked);
        if table.len() == 0 {
            keyspace.note_occupied(home, tables);
        }
        // SAFETY: the entry was the table's alone, and is out of it.
        Some(unsafe { Removed::new(entry) })
    }

    /// Puts what was removed under `key`, which may be another than it had, with its expiry and access bits (RENAME, MOVE). Replaces what is
    /// there; returns whether there was something.
    pub fn put(&mut self, db: DbIndex, key: Key<'_>, removed: Removed) -> bool {
        let existed = self.remove(db, key).is_some();
        let entry = removed.into_raw_for(key.bytes);
        if let Some(cut) = self.active_cut() {
            let at_cut = cut.db_at_cut(table_index(db, key.hash));
            // SAFETY: the entry is this function's alone.
            unsafe { entry.with_object(|object| note_moved(object, at_cut, key)) };
        }
        if planted("uncaptured-move") {
            self.insert_with(&None, key.shard().get(), table_index(db, key.hash), key, entry);
            return existed;
        }
        self.insert_new(db, key, entry);
        existed
    }

    /// Sets or clears the expiry of a key; returns whether the key exists.
    pub fn set_expiry(&mut self, db: DbIndex, key: Key<'_>, expiry: Option<Millis>) -> bool {
        let Some(mut entry) = self.get_mut(db, key) else { return false };
        entry.set_expiry(expiry);
        true
    }

    /// Worth a pass of its own before the others where there are many keys: asks for what leads to the cache line that decides the lookup.
    #[inline]
    pub fn prefetch_directory(&self, db: DbIndex, key: Key<'_>) {
        if let Some(table) = self.table(db, key) {
            table.buckets().prefetch_directory(position(key));
        }
    }

    /// First pass over a batch of keys: asks for the cache line that decides the lookup.
    #[inline]
    pub fn prefetch_bucket(&self, db: DbIndex, key: Key<'_>) {
        if let Some(table) = self.table(db, key) {
            table.prefetch_bucket(position(key));
        }
    }

    /// Asks for all that the lookups of these keys will need, so that their cache misses overlap.
    pub fn prefetch(&self, db: DbIndex, keys: &[Key<'_>]) {
        /// More would drive each other out of the nearest cache.
        const KEYS_AT_ONCE: usize = 32;
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let mut batch = SmallVec::<[Ahead<'_>; KEYS_AT_ONCE]>::new();
            for key in keys {
                if let Some(ahead) = self.table(db, *key).and_then(|table| table.buckets().ahead(position(*key))) {
                    batch.push(ahead);
                }
            }
            batch.iter().for_each(Ahead::prefetch_bucket);
            batch.retain(|ahead| !ahead.prefetch_element());
            batch.iter().for_each(Ahead::prefetch_displaced);
        }
    }

    /// The same for a key that is most likely not there and will be.
    #[inline]
    pub fn prefetch_for_insert(&self, db: DbIndex, key: Key<'_>) {
        if let Some(table) = self.table(db, key) {
            table.buckets().prefetch_for_insert(position(key));
        }
    }

    /// Second pass: asks for the entry that line names.
    #[inline]
    pub fn prefetch_entry(&self, db: DbIndex, key: Key<'_>) {
        if let Some(table) = self.table(db, key) {
            table.prefetch_element(position(key));
        }
    }

    /// Where the elements of this key's collection are looked up, if they are in a table. Leaves no trace.
    #[inline]
    pub fn elements(&self, db: DbIndex, key: Key<'_>) -> Option<Elements<'_>> {
        self.get(db, key)?.element_buckets().map(Elements)
    }

    /// Removes keys and fields of hashes in this shard, of all databases, whose time has passed, at most `budget` of them. Returns whether more
    /// are due.
    pub fn expire_due(
        &mut self,
        shard: ShardIndex,
        now: Millis,
        budget: usize,
        mut gone: impl FnMut(DbIndex, Expired<'_>),
    ) -> bool {
        let (keyspace, home, cut) = (self.keyspace, shard.get(), self.active_cut());
        let (tables, shard) = self.tables_mut(home);
        let mut left = budget;
        for index in 0..tables.count() {
            let capture = cut.map(|cut| cut.capture(ShardIndex::new(home), index));
            let around = keyspace.around(home, &capture);
            let Some(table) = tables.get_mut(index) else { continue };
            let mut gone = |expired: Expired<'_>| gone(DbIndex(index as u32), expired);
            let mut emptied = None;
            left -= table.expire_due(&around, now, left, |due| match due {
                Due::Element(entry) => {
                    // SAFETY: the entry is out of the table, which was its only owner.
                    let removed = unsafe { Removed::new(entry) };
                    gone(match emptied.take() {
                        None => Expired::Key(removed),
                        Some(fields) => Expired::Hash { removed, fields },
                    });
                    Remains::Nothing { taken: 0 }
                }
                Due::Parts(entry, budget) => {
                    // SAFETY: the table is held mutably, and looks at the entry again only when this is done.
                    unsafe {
                        let key = entry.key();
                        let remains = entry.expire_parts(|hash| {
                            hash.expire_due(now, budget, |field| gone(Expired::Field { key, field }))
                        });
                        match remains {
                            Remains::Something { taken: 0 } => {}
                            Remains::Something { taken } => gone(Expired::Fields { key, fields: taken }),
                            Remains::Nothing { taken } => emptied = Some(taken),
                        }
                        remains
                    }
                }
            });
        }
        if left < budget {
            keyspace.note_occupied(home, tables);
        }
        shard.refresh_earliest(tables);
        tables.earliest() < now
    }

    /// Removes those of the named fields of the hash at this key whose time has passed.
    pub fn expire_fields<'n>(
        &mut self,
        db: DbIndex,
        key: Key<'_>,
        now: Millis,
        named: impl IntoIterator<Item = &'n [u8]>,
        mut gone: impl FnMut(Expired<'_>),
    ) {
        let Some(mut entry) = self.get_mut(db, key) else { return };
        if entry.entry().parts_expire_at().is_none_or(|at| at >= now) {
            return;
        }
        let key_bytes = key.bytes;
        let remains = entry
            .expire_parts(|hash| hash.expire_named(now, named, |field| gone(Expired::Field { key: key_bytes, field })));
        match remains {
            Remains::Something { taken: 0 } => {}
            Remains::Something { taken } => gone(Expired::Fields { key: key_bytes, fields: taken }),
            Remains::Nothing { taken } => {
                let removed = self.remove(db, key).expect("it was there just now");
                gone(Expired::Hash { removed, fields: taken });
            }
        }
    }

    /// The number of keys in a database, expired ones that nobody has removed yet included.
    ///
    /// # Panics
    /// If the space is not wide; likewise below where said so.
    pub fn len(&self, db: DbIndex) -> usize {
        self.all_tables(db).map(Table::len).sum()
    }

    /// The number of keys with an expiry. Wide only.
    pub fn volatile_len(&self, db: DbIndex) -> usize {
        self.all_tables(db).map(Table::volatile_len).sum()
    }

    /// The number of hashes with fields that expire. Wide only.
    pub fn volatile_in_fields_len(&self, db: DbIndex) -> usize {
        self.all_tables(db).map(Table::volatile_in_parts_len).sum()
    }

    /// The mean time to live of the keys with an expiry, exact; 0 without such keys or when it lies in the past. Wide only.
    pub fn average_ttl_ms(&self, db: DbIndex, now: Millis) -> i64 {
        let count = self.volatile_len(db) as i128;
        if count == 0 {
            return 0;
        }
        let sum: i128 = self.all_tables(db).map(Table::expiry_sum).sum();
        i64::try_from((sum / count - i128::from(now.0)).max(0)).unwrap_or(i64::MAX)
    }

    /// One more than the highest database that may hold keys. Wide only.
    pub fn db_count(&self) -> usize {
        (0..SHARD_COUNT).map(|shard| self.tables(shard).count()).max().unwrap_or(1)
    }

    fn all_tables(&self, db: DbIndex) -> impl Iterator<Item = &Table<RawEntry>> {
        assert!(self.is_wide());
        self.keyspace.occupied_shards().filter_map(move |shard| self.tables(shard).get(db.0 as usize))
    }

    /// A key chosen fairly among all by `random`, which is uniform over `u64`. Wide only.
    pub fn random_key(&self, db: DbIndex, random: u64) -> Option<Entry<'_>> {
        let len = self.len(db);
        let mut index = ((u128::from(random) * len as u128) >> 64) as usize;
        for table in self.all_tables(db) {
            if index < table.len() {
                // SAFETY: the entry is in the table, which is borrowed with `self`.
                return table.nth(index).map(|entry| unsafe { Entry::new(entry) });
            }
            index -= table.len();
        }
        None
    }

    /// Visits about `count` entries (whole buckets of them) from `cursor` on; returns where to go on, 0 at the end. An entry that is in the database
    /// throughout a whole walk is visited at least once, whatever else comes and goes between calls.
    ///
    /// Goes on over shards as long as they are held: a wide space visits `count` entries if there are so many; a narrow one
    /// stops at the first shard that is not held (use [`Keyspace::scan`] there). Eviction samples with this too, from a random cursor.
    pub fn scan(&self, db: DbIndex, cursor: Cursor, count: usize, mut visit: impl FnMut(Entry<'_>)) -> Cursor {
        let mut cursor = cursor;
        let mut left = count.max(1);
        loop {
            if !self.holds(ShardIndex::new(cursor.shard())) {
                return cursor;
            }
            cursor = self.keyspace.skip_empty(self.scan_shard(db, cursor, &mut left, &mut visit));
            if left == 0 || cursor == Cursor::START {
                return cursor;
            }
        }
    }

    /// The part of a scan within one shard.
    fn scan_shard(&self, db: DbIndex, cursor: Cursor, left: &mut usize, visit: &mut impl FnMut(Entry<'_>)) -> Cursor {
        let shard = cursor.shard();
        let Some(table) = self.tables(shard).get(db.0 as usize) else { return Cursor::after(shard) };
        let mut visited = 0;
        let next = table.walk(cursor.position(), *left, |_, entry| {
            visited += 1;
            // SAFETY: the entry is in the table, which is borrowed with `self`.
            visit(unsafe { Entry::new(entry) });
        });
        *left = left.saturating_sub(visited);
        next.map_or(Cursor::after(shard), |position| Cursor::at(shard, position))
    }

    /// Goes on within a large collection. Returns where to go on, or `None` if it is done or gone.
    fn compact_inside(&mut self, inside: &Inside, budget: usize) -> Option<u64> {
        let key = self.keyspace.key(&inside.key);
        let (tables, _) = self.tables_mut(key.shard().get());
        let table = tables.get_mut(table_index(inside.db, key.hash))?;
        let entry = table.at(table.find(position(key), key.bytes)?);
        // SAFETY: the table is held alone.
        unsafe { entry.compact_object(|object| object.compact(inside.position, budget)) }?
    }

    /// The part of a compaction within one shard, over all its tables.
    fn compact_shard(&mut self, walk: &mut Compaction, left: &mut usize) -> Cursor {
        let (cursor, shard) = (walk.cursor, walk.cursor.shard());
        let around = self.keyspace.around(shard, &None);
        let (tables, _) = self.tables_mut(shard);
        let mut next: Option<u64> = None;
        let (mut visited, mut moved_keys) = (0, 0);
        let mut sparse = Vec::new();
        for index in 0..tables.count() {
            let Some(table) = tables.get_mut(index) else { continue };
            let end = table.walk(cursor.position(), *left, |place, entry| {
                visited += 1;
                sparse.push((place, entry));
            });
            // Tables are walked side by side, from one cursor: go on where the slowest stopped.
            next = [next, end].into_iter().flatten().min();
            for (place, mut entry) in sparse.drain(..) {
                let moved_before = slab::moved();
                // SAFETY: the entry is in the table alone, which learns of the copy at once.
                unsafe {
                    if let Some(moved) = entry.moved_to_denser_page() {
                        table.moved(place, moved);
                        entry = moved;
                    }
                    // A large collection has slices of its own.
                    if let Some(Some(position)) = entry.compact_object(|object| object.compact(0, COMPACT_AT_ONCE)) {
                        let db = DbIndex(index as u32);
                        walk.inside.push(Inside { db, key: entry.key().into(), position });
                    }
                }
                moved_keys += u64::from(slab::moved() != moved_before);
            }
            table.compact_segments(&around, cursor.position(), end);
        }
        slab::note_compacted_keys(visited as u64, moved_keys);
        *left = left.saturating_sub(visited);
        next.map_or(Cursor::after(shard), |position| Cursor::at(shard, position))
    }

    /// Notes this instant: from now on the sink gets every key as it is now, by those who walk the snapshot or change what it holds, until
    /// [`end_cut`](Self::end_cut). Costs the same whatever is in the keyspace. Wide only.
    ///
    /// # Panics
    /// If there is a cut already.
    pub fn cut(&mut self, sink: Arc<dyn Sink>, limits: SnapshotLimits) -> Snapshot {
        assert!(self.is_wide());
        // SAFETY: this space is the only one, borrowed mutably; likewise below.
        let cut = unsafe { &mut *self.keyspace.cut.get() };
        assert!(cut.is_none(), "one snapshot at a time");
        cut.insert(Cut::new(sink, limits)).snapshot()
    }

    /// Ends the cut, if there is one: nothing is captured any more, complete or not. Wide only.
    pub fn end_cut(&mut self) {
        assert!(self.is_wide());
        // SAFETY: as above.
        drop(unsafe { &mut *self.keyspace.cut.get() }.take());
    }

    /// Ends the access, and hands its locks to those who wait for them: a walker that takes the same shard again at once would come before everybody who
    /// has to wake up first. (A writer to a large hash beside a walker waited up to 0.8 ms, 30 slices.)
    pub(crate) fn unlock_fairly(mut self) {
        if let Reach::Narrow { holder, locked } = &mut self.reach {
            for shard in locked.drain(..) {
                // SAFETY: as in `drop`, which finds nothing left to unlock.
                unsafe { self.keyspace.shards[shard.get()].lock.unlock_fair(holder) };
            }
        }
    }

    /// Captures what is left to be captured in a shard from `position` on, as much as the budget allows; at least a unit of each table.
    ///
    /// All tables are done up to `position`, so that it stays true when databases are swapped between two calls.
    pub(crate) fn capture_shard(&mut self, shard: ShardIndex, position: &mut u64, budget_bytes: usize) -> Step {
        let Some(cut) = self.active_cut() else { return Step::Done { cost_bytes: 0 } };
        let (tables, _) = self.tables_mut(shard.get());
        let mut sum = Captured::default();
        let mut next: Option<u64> = None;
        for index in 0..tables.count() {
            let Some(table) = tables.get_mut(index) else { continue };
            let left_bytes = budget_bytes.saturating_sub(sum.cost_bytes);
            let (captured, end) = table.capture_from(&cut.capture(shard, index), *position, left_bytes);
            sum += captured;
            next = [next, end].into_iter().flatten().min();
        }
        cut.walked(sum.units);
        Step::to(next, position, sum.cost_bytes)
    }

    /// Gives the walker of an opening the collection, if it is at this key now. The shard is held.
    pub(crate) fn with_opened<R>(
        &mut self,
        db_at_cut: DbIndex,
        key: Key<'_>,
        opening: &Arc<OpeningState>,
        walk: impl FnOnce(&mut dyn Opened) -> R,
    ) -> Option<R> {
        let index = self.active_cut()?.table_of(db_at_cut);
        let (tables, _) = self.tables_mut(key.shard().get());
        let table = tables.get_mut(index)?;
        let entry = table.at(table.find(position(key), key.bytes)?);
        // SAFETY: the table is held alone. To be captured does not change the collection.
        unsafe {
            entry.with_object(|object| {
                let opened = object.opened()?;
                // Another collection may have taken its place.
                opened.opening().as_ref().is_some_and(|at| Arc::ptr_eq(at, opening)).then(|| walk(opened))
            })
        }?
    }

    /// Visits all entries of a database until told to stop. Wide only.
    pub fn for_each(&self, db: DbIndex, mut visit: impl FnMut(Entry<'_>) -> ControlFlow<()>) {
        for table in self.all_tables(db) {
            // SAFETY: the entry is in the table, which is borrowed with `self`.
            if table.for_each(|entry| visit(unsafe { Entry::new(entry) })).is_break() {
                return;
            }
        }
    }

    /// Wide only.
    pub fn swap_dbs(&mut self, one: DbIndex, other: DbIndex) {
        assert!(self.is_wide());
        if one == other {
            return;
        }
        // SAFETY: this space is the only one, borrowed mutably.
        if let Some(cut) = unsafe { &mut *self.keyspace.cut.get() } {
            cut.swapped(one, other);
        }
        for shard in 0..SHARD_COUNT {
            let (tables, _) = self.tables_mut(shard);
            if tables.get(one.0 as usize).is_none() && tables.get(other.0 as usize).is_none() {
                continue;
            }
            let taken = std::mem::take(tables.get_or_create(one.0 as usize));
            let taken = std::mem::replace(tables.get_or_create(other.0 as usize), taken);
            *tables.get_or_create(one.0 as usize) = taken;
        }
    }

    /// The cut, if there is anything left to be captured.
    fn unfinished_cut(&self) -> Option<&'a Cut> {
        self.active_cut().filter(|cut| !cut.is_complete())
    }

    /// Unlinks all keys of a database; they are freed when the result is dropped. Wide only.
    pub fn flush_db(&mut self, db: DbIndex) -> Dropped {
        assert!(self.is_wide());
        let mut dropped = Dropped::default();
        let (keyspace, cut) = (self.keyspace, self.unfinished_cut());
        for index in keyspace.occupied_shards() {
            let (tables, shard) = self.tables_mut(index);
            if let Some(table) = tables.get_mut(db.0 as usize) {
                let capture = cut.map(|cut| cut.capture(ShardIndex::new(index), db.0 as usize));
                dropped.take(table, keyspace.counters_of(index), capture);
            }
            dropped.kept_len += tables.iter().map(Table::len).sum::<usize>();
            keyspace.note_occupied(index, tables);
            shard.refresh_earliest(tables);
        }
        dropped
    }

    /// Unlinks all keys; they are freed when the result is dropped. Wide only.
    pub fn flush_all(&mut self) -> Dropped {
        assert!(self.is_wide());
        let mut dropped = Dropped::default();
        let (keyspace, cut) = (self.keyspace, self.unfinished_cut());
        for home in 0..SHARD_COUNT {
            let (tables, shard) = self.tables_mut(home);
            for index in 0..tables.count() {
                if let Some(table) = tables.get_mut(index) {
                    let capture = cut.map(|cut| cut.capture(ShardIndex::new(home), index));
                    dropped.take(table, keyspace.counters_of(home), capture);
                }
            }
            tables.others = Vec::new();
            shard.refresh_earliest(tables);
        }
        keyspace.occupied.iter().for_each(|word| word.store(0, Relaxed));
        dropped
    }
}

impl Drop for Space<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Reach::Narrow { holder, locked } = &self.reach {
            for shard in locked {
                // SAFETY: locked by `lock_all` on this thread, and `Space` is not Send.
                unsafe { self.keyspace.shards[shard.get()].lock.unlock(holder) };
            }
        }
    }
}

#[inline]
fn dynamic<'a>(capture: &'a Option<KeyCapture<'_>>) -> Option<&'a dyn Capture<RawEntry>> {
    capture.as_ref().map(|capture| capture as &dyn Capture<RawEntry>)
}

/// A key's position in its shard's tables.
#[inline]
fn position(key: Key<'_>) -> u64 {
    key.hash << SHARD_BITS
}

/// A collection on its way to another key: if it is opened, the opening must know.
#[cold]
fn note_moved(object: &mut collection::Object, db_at_cut: DbIndex, key: Key<'_>) {
    if let Some(opening) = object.opened().and_then(|opened| opened.opening().as_ref()) {
        opening.moved(db_at_cut, key.bytes);
    }
}

/// What FLUSHDB or FLUSHALL unlinked: freed when dropped, on any thread. What a snapshot still needs of it is the snapshot's.
#[derive(Default)]
pub struct Dropped {
    tables: Vec<Table<RawEntry>>,
    /// Keys in tables that a snapshot has adopted.
    adopted_len: usize,
    /// Keys of other databases, which stay.
    kept_len: usize,
}

impl Dropped {
    fn take(&mut self, table: &mut Table<RawEntry>, counters: &TableCounters, capture: Option<KeyCapture<'_>>) {
        if !table.has_memory() {
            return;
        }
        table.disown(counters);
        let table = std::mem::take(table);
        match capture {
            Some(capture) if table.len() > 0 => {
                self.adopted_len += table.len();
                capture.adopt(table);
            }
            _ => self.tables.push(table),
        }
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.adopted_len + self.tables.iter().map(Table::len).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which part of all keys there were.
    pub fn share(&self) -> f64 {
        let len = self.len();
        if len == 0 { 0.0 } else { len as f64 / (len + self.kept_len) as f64 }
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        for table in &mut self.tables {
            table.clear();
        }
    }
}

//! Snapshots: all keys as they were at one instant, the *cut*, while everybody goes on writing. Nothing is forked or copied beforehand.
//!
//! ```text
//! Space::cut ──► walkers: Snapshot::walk_slice, again and again ──► complete ──► Space::end_cut
//!                writers: whatever they are about to change, first                (or earlier: cancelled)
//!                              │
//!                              ▼
//!                            Sink: each key once, as it was at the cut
//! ```
//!
//! How nobody changes anything uncaptured is told in `table/capture.rs`. What else is there to be walked:
//!
//! - **Openings.** A hash, set or sorted set of many elements in a table is not serialized at once. It is *opened*: its key is handed to the sink with the
//!   number of its elements, and its own table is captured unit by unit as the keyspace's is. The collection may move meanwhile: RENAME and MOVE tell
//!   the opening its new place, and whoever would free it gives it to the opening instead ([`OpeningState`]).
//! - **Shared collections.** Large lists and streams are captured by a copy that shares their pages.
//! - **Orphans.** Tables that FLUSHDB or FLUSHALL unlinked before they were done. They are walked without locks, then freed.
//!
//! What if databases are swapped meanwhile? The cut knows which database each table was at the cut. What if a key expires, or is evicted? It is taken
//! out of a unit, which is captured first.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::collection::table::{CollectionElement, Opened};
use crate::collection::{FieldRef, Object};
use crate::entry::RawEntry;
use crate::garbage::{release_object, release_orphan};
use crate::table::{Capture, Table};
use crate::{DbIndex, Entry, Keyspace, SHARD_COUNT, ShardIndex, Space, ValueRef};

/// Receives a snapshot. Calls come from walkers and writers on several threads at once, each under the access that holds what it is
/// about: they must be quick, and must not ask for access to the keyspace.
pub trait Sink: Send + Sync {
    /// Keys as they were at the cut, in the database that they were in then: each key once that is not opened, some of a shard at a time.
    fn keys(&self, shard: ShardIndex, db: DbIndex, entries: &[Entry<'_>]);

    /// A key whose collection is too large to be serialized here. Called once, instead of `keys`.
    fn open(&self, shard: ShardIndex, db: DbIndex, entry: Entry<'_>, opening: Opening);

    /// Elements, as they were at the cut, of a collection that was opened: each once, some at a time, after `open`, and never by two threads at once for
    /// one collection.
    fn elements(&self, opening: OpeningId, elements: &[ElementRef<'_>]);
}

/// How the value of a large collection will come.
#[derive(Debug)]
pub enum Opening {
    /// `len` elements by [`Sink::elements`], in any order.
    Elements { id: OpeningId, len: usize },
    /// Here it is: it shares its parts with the collection in the keyspace, until they change there.
    Shared(Object),
}

/// Names an opened collection within one snapshot: 0, 1, 2 and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpeningId(pub u64);

/// An element of a collection that was opened.
#[derive(Clone, Copy, Debug)]
pub enum ElementRef<'a> {
    Field(FieldRef<'a>),
    Member(&'a [u8]),
    Scored(&'a [u8], f64),
}

impl ElementRef<'_> {
    /// Of its texts.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            ElementRef::Field(field) => field.name.len() + field.value.len(),
            ElementRef::Member(member) | ElementRef::Scored(member, _) => member.len(),
        }
    }
}

/// How much is done at once.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotLimits {
    /// Collections with more elements than this are opened or shared ...
    pub elements_at_once_max: usize,
    /// ... and so are those with fewer elements that have more bytes.
    pub bytes_at_once_max: usize,
    /// A slice of the walk ends after about so much work: serialized bytes, where each key counts [`KEY_COST_BYTES`] more and each element
    /// [`ELEMENT_COST_BYTES`].
    pub slice_cost_bytes: usize,
}

/// Following a pointer costs about as much as writing this many bytes.
pub const KEY_COST_BYTES: usize = 1024;
pub const ELEMENT_COST_BYTES: usize = 256;

impl Default for SnapshotLimits {
    /// Slices of about 20 us.
    fn default() -> SnapshotLimits {
        SnapshotLimits {
            elements_at_once_max: 512,
            bytes_at_once_max: 64 * 1024,
            slice_cost_bytes: 64 * KEY_COST_BYTES,
        }
    }
}

/// What a slice of the walk has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There was something to do, and may be more.
    Worked,
    /// What is left is in the hands of other walkers or, for a moment, at no place: come back a little later.
    Waiting,
    /// Everything has been captured. It stays so.
    Complete,
    /// The cut was ended before that: nothing is captured any more.
    Ended,
}

/// How a snapshot was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFigures {
    /// Home buckets captured by walkers ...
    pub units_walked: u64,
    /// ... and by writers that were about to change them; both in the keyspace and in opened collections.
    pub units_forced: u64,
    pub openings: u64,
    pub orphans: u64,
}

/// A snapshot under way, see the [module's page](self). Shared by its walkers.
///
/// The last clone that is dropped frees what was given to the snapshot and not walked, which may take long.
#[derive(Clone)]
pub struct Snapshot(Arc<Shared>);

/// What cut, walkers and openings have in common.
pub(crate) struct Shared {
    number: u32,
    sink: Arc<dyn Sink>,
    limits: SnapshotLimits,
    /// The cut is no longer active: nothing is captured any more.
    ended: AtomicBool,
    work: Mutex<Queue>,
    openings: AtomicU64,
    orphans: AtomicU64,
    units_walked: AtomicU64,
    units_forced: AtomicU64,
}

/// What is left to be walked.
#[derive(Default)]
struct Queue {
    /// Shards from this one on have not been begun.
    next_shard: usize,
    begun: VecDeque<Work>,
    /// Pieces of work in walkers' hands.
    in_hand: usize,
}

enum Work {
    Shard {
        shard: ShardIndex,
        position: u64,
    },
    Orphan {
        orphan: Box<Orphan>,
        position: u64,
    },
    /// In one walker's hand at a time.
    Opening(Arc<OpeningState>),
}

/// A table that was unlinked before it was done. Freed when dropped.
pub(crate) struct Orphan {
    shard: ShardIndex,
    /// At the cut.
    db: DbIndex,
    table: Table<RawEntry>,
}

impl Orphan {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        self.table.clear();
    }
}

/// The active cut of a keyspace, which keeps it. Changed wide only.
pub(crate) struct Cut {
    shared: Arc<Shared>,
    /// Which database each table was at the cut, where SWAPDB has made a difference.
    db_at_cut: Vec<DbIndex>,
}

/// The number of the last cut of this process: collections do not know whose keyspace they are in.
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Cut {
    pub(crate) fn new(sink: Arc<dyn Sink>, limits: SnapshotLimits) -> Cut {
        let number = NUMBER.fetch_add(1, Relaxed) + 1;
        assert!(number != 0, "cuts have run out of numbers");
        let shared = Shared {
            number,
            sink,
            limits,
            ended: AtomicBool::new(false),
            work: Mutex::default(),
            openings: AtomicU64::new(0),
            orphans: AtomicU64::new(0),
            units_walked: AtomicU64::new(0),
            units_forced: AtomicU64::new(0),
        };
        Cut { shared: Arc::new(shared), db_at_cut: Vec::new() }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(Arc::clone(&self.shared))
    }

    /// Which database the table with this number was.
    pub(crate) fn db_at_cut(&self, table: usize) -> DbIndex {
        self.db_at_cut.get(table).copied().unwrap_or(DbIndex(table as u32))
    }

    /// The number now of the table that was this database.
    pub(crate) fn table_of(&self, db: DbIndex) -> usize {
        self.db_at_cut.iter().position(|&at_cut| at_cut == db).unwrap_or(db.0 as usize)
    }

    pub(crate) fn swapped(&mut self, one: DbIndex, other: DbIndex) {
        let known = one.0.max(other.0) as usize + 1;
        if self.db_at_cut.len() < known {
            self.db_at_cut.extend((self.db_at_cut.len()..known).map(|table| DbIndex(table as u32)));
        }
        self.db_at_cut.swap(one.0 as usize, other.0 as usize);
    }

    pub(crate) fn walked(&self, units: usize) {
        self.shared.walked(units);
    }

    #[cold]
    pub(crate) fn capture(&self, shard: ShardIndex, table: usize) -> KeyCapture<'_> {
        KeyCapture { shared: &self.shared, shard, db: self.db_at_cut(table) }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.shared.work.lock().is_complete()
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.shared.ended.store(true, Relaxed);
    }
}

impl Queue {
    fn is_complete(&self) -> bool {
        self.next_shard == SHARD_COUNT && self.begun.is_empty() && self.in_hand == 0
    }

    /// The next piece of work. What was begun comes first: to finish one collection before the next keeps the sink's buffers few. `passed` pieces
    /// were looked at in vain, and put back to the end.
    fn take(&mut self, passed: usize) -> Option<Work> {
        let begun = if passed < self.begun.len() { self.begun.pop_front() } else { None };
        let work = begun.or_else(|| {
            let shard = (self.next_shard < SHARD_COUNT).then(|| ShardIndex::new(self.next_shard))?;
            self.next_shard += 1;
            Some(Work::Shard { shard, position: 0 })
        })?;
        self.in_hand += 1;
        Some(work)
    }
}

impl Snapshot {
    /// One slice of the walk: for threads that hold no access, but may ask for narrow access (they are behind their gate).
    pub fn walk_slice(&self, keyspace: &Keyspace) -> Progress {
        self.slice(keyspace, &mut |shard, walk| {
            let mut space = keyspace.lock_one(shard);
            walk(&mut space);
            space.unlock_fairly();
        })
    }

    /// The same within a wide space.
    ///
    /// # Panics
    /// If the space is not wide.
    pub fn walk_slice_in(&self, space: &mut Space<'_>) -> Progress {
        assert!(space.is_wide());
        self.slice(space.keyspace(), &mut |_, walk| walk(space))
    }

    /// Does work until that has cost enough. `hold` calls its second argument with access to a shard.
    fn slice(&self, keyspace: &Keyspace, hold: &mut Hold<'_>) -> Progress {
        let shared = &self.0;
        let mut left_bytes = shared.limits.slice_cost_bytes.max(1);
        let mut progress = Progress::Waiting;
        let mut passed = 0;
        while left_bytes > 0 {
            let mut queue = shared.work.lock();
            if queue.is_complete() {
                return Progress::Complete;
            }
            if shared.ended.load(Relaxed) {
                return Progress::Ended;
            }
            let Some(mut work) = queue.take(passed) else { return progress };
            drop(queue);
            let step = match &mut work {
                Work::Shard { shard, position } => {
                    let mut step = Step::Nowhere;
                    hold(*shard, &mut |space| step = space.capture_shard(*shard, position, left_bytes));
                    step
                }
                Work::Orphan { orphan, position } => shared.walk_orphan(orphan, position, left_bytes),
                Work::Opening(opening) => shared.walk_opening(opening, left_bytes, keyspace, hold),
            };
            let mut unfinished = Some(work);
            if matches!(step, Step::Done { .. })
                && let Some(Work::Orphan { orphan, .. }) = unfinished.take()
            {
                release_orphan(orphan);
            }
            let mut queue = shared.work.lock();
            queue.in_hand -= 1;
            let cost_bytes = match step {
                Step::Done { cost_bytes } => cost_bytes,
                Step::More { cost_bytes } => {
                    unfinished.into_iter().for_each(|work| queue.begun.push_front(work));
                    cost_bytes
                }
                Step::Nowhere => {
                    queue.begun.extend(unfinished);
                    passed += 1;
                    continue;
                }
            };
            progress = Progress::Worked;
            left_bytes = left_bytes.saturating_sub(cost_bytes.max(PIECE_COST_BYTES));
        }
        progress
    }

    /// Whether everything has been captured.
    pub fn is_complete(&self) -> bool {
        self.0.work.lock().is_complete()
    }

    pub fn figures(&self) -> SnapshotFigures {
        SnapshotFigures {
            units_walked: self.0.units_walked.load(Relaxed),
            units_forced: self.0.units_forced.load(Relaxed),
            openings: self.0.openings.load(Relaxed),
            orphans: self.0.orphans.load(Relaxed),
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("number", &self.0.number).field("figures", &self.figures()).finish()
    }
}

/// Locking a shard and finding nothing there costs about this much.
const PIECE_COST_BYTES: usize = KEY_COST_BYTES / 8;

/// What became of a piece of work.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    More { cost_bytes: usize },
    Done { cost_bytes: usize },
    Nowhere,
}

impl Step {
    /// Notes how far it has come.
    pub(crate) fn to(next: Option<u64>, position: &mut u64, cost_bytes: usize) -> Step {
        match next {
            Some(next) => {
                *position = next;
                Step::More { cost_bytes }
            }
            None => Step::Done { cost_bytes },
        }
    }
}

impl Shared {
    fn walked(&self, units: usize) {
        self.units_walked.fetch_add(units as u64, Relaxed);
    }

    fn walk_orphan(self: &Arc<Self>, orphan: &mut Orphan, position: &mut u64, budget_bytes: usize) -> Step {
        let capture = KeyCapture { shared: self, shard: orphan.shard, db: orphan.db };
        let (captured, next) = orphan.table.capture_from(&capture, *position, budget_bytes);
        self.walked(captured.units);
        Step::to(next, position, captured.cost_bytes)
    }

    /// In the shard where the collection is now, or alone if it was given to the opening.
    fn walk_opening(
        self: &Arc<Self>,
        opening: &Arc<OpeningState>,
        budget_bytes: usize,
        keyspace: &Keyspace,
        hold: &mut Hold<'_>,
    ) -> Step {
        let capture = ElementCapture { shared: Arc::clone(self), opening: Arc::clone(opening) };
        let walk = |opened: &mut dyn Opened| {
            let mut walked_to = opening.walked_to.load(Relaxed);
            let (captured, next) = opened.capture_from(&capture, walked_to, budget_bytes);
            self.walked(captured.units);
            let step = Step::to(next, &mut walked_to, captured.cost_bytes);
            opening.walked_to.store(walked_to, Relaxed);
            if let Step::Done { .. } = step {
                *opened.opening() = None;
                opening.close();
            }
            step
        };
        // The place is not locked over the walk: who moves the collection holds its shard when he says so.
        let mut place = opening.place.lock();
        match &mut *place {
            Where::Closed => Step::Done { cost_bytes: 0 },
            Where::Key { db, key } => {
                let (db, name) = (*db, key.clone());
                drop(place);
                let key = keyspace.key(&name);
                let mut step = Step::Nowhere;
                hold(key.shard(), &mut |space| {
                    step = space.with_opened(db, key, opening, walk).unwrap_or(Step::Nowhere);
                });
                step
            }
            Where::Given(_) => {
                // Nobody else knows the collection any more.
                let Where::Given(mut object) = std::mem::replace(&mut *place, Where::Closed) else { unreachable!() };
                drop(place);
                let step = walk(object.opened().expect("it was opened"));
                match step {
                    Step::Done { .. } => release_object(object),
                    _ => *opening.place.lock() = Where::Given(object),
                }
                step
            }
        }
    }
}

/// Calls its argument with access to a shard.
type Hold<'h> = dyn FnMut(ShardIndex, &mut dyn FnMut(&mut Space<'_>)) + 'h;

/// Captures the keys of one table of a shard.
#[derive(Clone, Copy)]
pub(crate) struct KeyCapture<'a> {
    shared: &'a Arc<Shared>,
    shard: ShardIndex,
    /// At the cut.
    db: DbIndex,
}

impl KeyCapture<'_> {
    /// Takes the table over, which was unlinked.
    pub(crate) fn adopt(self, table: Table<RawEntry>) {
        let orphan = Box::new(Orphan { shard: self.shard, db: self.db, table });
        self.shared.orphans.fetch_add(1, Relaxed);
        self.shared.work.lock().begun.push_back(Work::Orphan { orphan, position: 0 });
    }

    /// Opens the collection if it is large.
    fn open(&self, entry: Entry<'_>, object: &mut Object) -> Option<Opening> {
        let limits = &self.shared.limits;
        let Some(opened) = object.opened() else {
            let is_large = object.is_larger(limits.elements_at_once_max, limits.bytes_at_once_max);
            return is_large.then(|| Opening::Shared(object.duplicate()));
        };
        if !opened.is_larger(limits.elements_at_once_max, limits.bytes_at_once_max) {
            return None;
        }
        let len = opened.len();
        let id = OpeningId(self.shared.openings.fetch_add(1, Relaxed));
        let opening = Arc::new(OpeningState {
            id,
            shared: Arc::downgrade(self.shared),
            place: Mutex::new(Where::Key { db: self.db, key: entry.key().into() }),
            walked_to: AtomicU64::new(0),
        });
        *opened.opening() = Some(Arc::clone(&opening));
        self.shared.work.lock().begun.push_back(Work::Opening(opening));
        Some(Opening::Elements { id, len })
    }
}

impl Capture<RawEntry> for KeyCapture<'_> {
    fn number(&self) -> u32 {
        self.shared.number
    }

    fn take(&self, elements: &[RawEntry]) -> usize {
        let mut cost_bytes = elements.len() * KEY_COST_BYTES;
        let mut entries = SmallVec::<[Entry<'_>; 16]>::new();
        for raw in elements {
            // SAFETY: the table is held alone, and does not change meanwhile.
            let entry = unsafe { Entry::new(*raw) };
            // SAFETY: as above; that a collection is opened changes nothing that the entry could see.
            let opening = unsafe { raw.with_object(|object| self.open(entry, object)) }.flatten();
            if let Some(opening) = opening {
                self.shared.sink.open(self.shard, self.db, entry, opening);
                continue;
            }
            cost_bytes += match entry.value() {
                ValueRef::Str(text) => text.len(),
                ValueRef::Object(object) => object.len() * ELEMENT_COST_BYTES / 4,
            };
            entries.push(entry);
        }
        if !entries.is_empty() {
            self.shared.sink.keys(self.shard, self.db, &entries);
        }
        cost_bytes
    }

    fn forced(&self, units: usize) {
        self.shared.units_forced.fetch_add(units as u64, Relaxed);
    }
}

/// A collection that was opened: known to its table, while it is not done, and to the snapshot.
///
/// Its table captures every element that is about to change. So that a walker comes to the others, the opening knows where the collection is.
pub(crate) struct OpeningState {
    id: OpeningId,
    /// Weak: the collection outlives the snapshot.
    shared: Weak<Shared>,
    place: Mutex<Where>,
    walked_to: AtomicU64,
}

/// Where an opened collection is.
enum Where {
    /// There, or under way from there to another place: `remove` and `put` come in one access.
    Key {
        /// What its table was at the cut.
        db: DbIndex,
        key: Box<[u8]>,
    },
    /// Here: it was to be freed.
    Given(Object),
    /// It is done.
    Closed,
}

impl OpeningState {
    /// Captures elements of this collection, unless the snapshot has ended.
    pub(crate) fn capture(self: &Arc<Self>) -> Option<ElementCapture> {
        let shared = self.shared.upgrade().filter(|shared| !shared.ended.load(Relaxed))?;
        Some(ElementCapture { shared, opening: Arc::clone(self) })
    }

    /// The collection was put somewhere else.
    pub(crate) fn moved(&self, db: DbIndex, key: &[u8]) {
        *self.place.lock() = Where::Key { db, key: key.into() };
    }

    /// The collection is not needed any more, by anybody else. It is freed when it is done.
    pub(crate) fn give(&self, object: Object) {
        *self.place.lock() = Where::Given(object);
    }

    /// All elements have been captured.
    pub(crate) fn close(&self) {
        *self.place.lock() = Where::Closed;
    }
}

/// Captures the elements of an opened collection.
pub(crate) struct ElementCapture {
    shared: Arc<Shared>,
    opening: Arc<OpeningState>,
}

impl<E: CollectionElement> Capture<E> for ElementCapture {
    fn number(&self) -> u32 {
        self.shared.number
    }

    fn take(&self, elements: &[E]) -> usize {
        // SAFETY: the elements are live: their table is held alone, and does not change meanwhile.
        let views: SmallVec<[ElementRef<'_>; 16]> = elements.iter().map(|element| unsafe { element.view() }).collect();
        self.shared.sink.elements(self.opening.id, &views);
        views.iter().map(|view| ELEMENT_COST_BYTES + view.bytes()).sum()
    }

    fn forced(&self, units: usize) {
        self.shared.units_forced.fetch_add(units as u64, Relaxed);
    }
}

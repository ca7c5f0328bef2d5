//! The hash table of large sets, hashes and sorted sets: the keyspace's own table, with members instead of keys.
//!
//! All of them share one keyed hasher, so that a member's hash, once computed, is good for every table (set operations).

use std::ops::ControlFlow;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use crate::hash::KeyHasher;
use crate::prefetch::prefetch;
use crate::snapshot::{ElementCapture, ElementRef, OpeningState};
use crate::table::{
    Buckets, Capture, Captured, Element, Expiries, Limits, Surroundings, Table, TableCounters, Unlocked,
};
use crate::{Millis, slab};

/// What all tables of collections have in common.
struct Common {
    hasher: KeyHasher,
    limits: Limits,
    counters: TableCounters,
}

static COMMON: OnceLock<Common> = OnceLock::new();

/// The first keyspace decides hash and limits of all collections; those that are used without any (in a test) have a fixed hash.
pub(crate) fn set_up(seed: [u64; 4], limits: Limits) {
    COMMON.get_or_init(|| Common { hasher: KeyHasher::new(seed), limits, counters: TableCounters::default() });
}

#[inline]
fn common() -> &'static Common {
    COMMON.get().unwrap_or_else(|| {
        set_up([1, 2, 3, 4], Limits::default());
        COMMON.get().expect("it was set just now")
    })
}

#[inline]
fn around<E>(capture: Option<&dyn Capture<E>>) -> Surroundings<'_, E> {
    let Common { hasher, limits, counters } = common();
    Surroundings { hasher, skipped_bits: 0, limits, counters, capture }
}

/// A member's hash, the same in all tables of this process.
#[inline]
pub(crate) fn member_hash(member: &[u8]) -> u64 {
    common().hasher.hash(member)
}

/// What a collection's table holds.
pub(crate) trait CollectionElement: Element {
    /// # Safety
    /// The element is live and unchanged for `'a`.
    unsafe fn view<'a>(self) -> ElementRef<'a>;
    /// Bytes of its allocation that it uses.
    fn used_bytes(self) -> usize;
}

/// A table of elements, each found by its key's bytes. It owns its elements.
pub(crate) struct ElementTable<E: CollectionElement> {
    table: Table<E>,
    /// What a snapshot that is not through with this collection knows it by, or knew it by before it ended.
    opening: Option<Arc<OpeningState>>,
}

impl<E: CollectionElement> Default for ElementTable<E> {
    fn default() -> ElementTable<E> {
        ElementTable { table: Table::new(), opening: None }
    }
}

impl<E: CollectionElement> Drop for ElementTable<E> {
    fn drop(&mut self) {
        if let Some(opening) = self.opening.take()
            && let Some(capture) = opening.capture()
        {
            // What leaves the keyspace with its entry is given to the opening; this was taken out of its entry.
            let (captured, _) = self.table.capture_from(&capture, 0, usize::MAX);
            Capture::<E>::forced(&capture, captured.units);
            opening.close();
        }
        self.table.disown(&common().counters);
        self.table.clear();
    }
}

impl<E: CollectionElement> ElementTable<E> {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// `hash` is [`member_hash`] of `key`; likewise below.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<E> {
        let place = self.table.find(hash, key)?;
        Some(self.table.at(place))
    }

    /// The first and second step of a batch of lookups: ask for the bucket's line, then for the element that it names.
    #[inline]
    pub(crate) fn prefetch_bucket(&self, hash: u64) {
        self.table.prefetch_bucket(hash);
    }

    #[inline]
    pub(crate) fn prefetch_element(&self, hash: u64) {
        self.table.prefetch_element(hash);
    }

    #[inline]
    pub(crate) fn buckets(&self) -> Buckets<'_> {
        self.table.buckets()
    }

    /// Everything that changes elements goes through here, so that a snapshot gets them first.
    #[inline]
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut Table<E>, &Surroundings<'_, E>) -> R) -> R {
        if self.opening.is_some() {
            return self.change_opened(change);
        }
        change(&mut self.table, &around(None))
    }

    #[cold]
    fn change_opened<R>(&mut self, change: impl FnOnce(&mut Table<E>, &Surroundings<'_, E>) -> R) -> R {
        let capture = self.opening.as_ref().and_then(OpeningState::capture);
        if capture.is_none() {
            self.opening = None;
        }
        change(&mut self.table, &around(capture.as_ref().map(|capture| capture as &dyn Capture<E>)))
    }

    /// The element of this key, to be changed or taken out.
    #[inline]
    pub(crate) fn find_unlocked(&mut self, hash: u64, key: &[u8]) -> Option<Unlocked<E>> {
        self.change(|table, around| table.find_unlocked(around.capture, hash, key))
    }

    /// Adds an element whose key is not in the table.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, element: E) {
        self.change(|table, around| table.insert(around, hash, element));
    }

    /// Puts another element with the same key in this place; the old one is the caller's.
    pub(crate) fn replace(&mut self, at: &mut Unlocked<E>, element: E) -> E {
        let old = Expiries::of(at.element());
        self.table.replace(at, element, old)
    }

    /// An element that was changed where it is has another expiry.
    pub(crate) fn expiry_changed(&mut self, at: &Unlocked<E>, old: Option<Millis>, new: Option<Millis>) {
        let expiries = |own| Expiries { own, parts: None };
        self.table.expiries_changed(at, expiries(old), expiries(new));
    }

    /// Takes the element out; it is the caller's.
    #[inline]
    pub(crate) fn remove(&mut self, hash: u64, at: Unlocked<E>) -> E {
        self.change(|table, around| table.remove(around, hash, at))
    }

    /// Moves about `count` elements from position `from` on out of sparse pages, as far as they lie in such. `moved` hears of each while the old
    /// place can still be read. Returns where to go on; `None` at the end.
    pub(crate) fn compact(&mut self, from: u64, count: usize, mut moved: impl FnMut(E, E)) -> Option<u64> {
        self.change(|table, around| {
            // It stays as it is until its snapshot has it.
            if around.capture.is_some() {
                return None;
            }
            let mut seen = SmallVec::<[_; 64]>::new();
            let next = table.walk(from, count, |place, element| seen.push((place, element)));
            for (place, old) in seen {
                let memory = NonNull::new(old.address()).expect("an element has an address");
                // SAFETY: the element is in the table alone, which is borrowed mutably and learns of the copy at once; elements hold no pointers into
                // themselves.
                unsafe {
                    let Some(copy) = slab::copy_if_sparse(memory, old.used_bytes()) else { continue };
                    let new = E::from_address(copy.as_ptr());
                    moved(old, new);
                    table.moved(place, new);
                    old.dispose();
                }
            }
            table.compact_segments(around, from, next);
            next
        })
    }

    /// The table itself, to be looked at.
    pub(crate) fn table(&self) -> &Table<E> {
        &self.table
    }

    /// Visits about `count` elements from a cursor on and returns the next cursor; 0 is start and end. What is in the table throughout
    /// a whole walk is visited at least once.
    pub(crate) fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(E)) -> u64 {
        // As in the keyspace's cursors, the bits are reversed so that those of small tables are small numbers.
        let next = self.table.walk(cursor.reverse_bits(), count, |_, element| visit(element));
        next.map_or(0, u64::reverse_bits)
    }

    /// Visits every element. Each is asked for a few steps ahead, because they lie anywhere.
    #[inline]
    pub(crate) fn visit_all(&self, mut visit: impl FnMut(E)) {
        const AHEAD: usize = 8;
        let mut ahead: [Option<E>; AHEAD] = [None; AHEAD];
        let mut next = 0;
        for element in self.table.iter() {
            let address = element.address().cast_const();
            prefetch(address);
            prefetch(address.wrapping_add(63));
            if let Some(arrived) = ahead[next].replace(element) {
                visit(arrived);
            }
            next = (next + 1) % AHEAD;
        }
        for step in 0..AHEAD {
            if let Some(arrived) = ahead[(next + step) % AHEAD] {
                visit(arrived);
            }
        }
    }

    pub(crate) fn for_each(&self, visit: impl FnMut(E) -> ControlFlow<()>) -> ControlFlow<()> {
        self.table.for_each(visit)
    }

    /// Every element, in the order of the segments.
    pub(crate) fn iter(&self) -> impl Iterator<Item = E> + '_ {
        self.table.iter()
    }

    /// An element chosen fairly; `random` gives uniform numbers. `None` if there is none. O(1) expected.
    pub(crate) fn random(&self, random: impl FnMut() -> u64) -> Option<E> {
        self.table.random(random)
    }

    /// Bytes of the table without the elements.
    pub(crate) fn table_bytes(&self) -> usize {
        self.table.table_bytes() + size_of::<Self>()
    }
}

/// A collection's table, whatever its elements are, as a snapshot sees it.
pub(crate) trait Opened {
    fn len(&self) -> usize;
    /// Whether it has more elements than this or, in few elements, more bytes: looks at all of them then.
    fn is_larger(&self, len: usize, bytes: usize) -> bool;
    fn opening(&mut self) -> &mut Option<Arc<OpeningState>>;
    /// See [`Table::capture_from`].
    fn capture_from(&mut self, capture: &ElementCapture, from: u64, budget_bytes: usize) -> (Captured, Option<u64>);
}

impl<E: CollectionElement> Opened for ElementTable<E> {
    fn len(&self) -> usize {
        self.table.len()
    }

    fn is_larger(&self, len: usize, bytes: usize) -> bool {
        let mut left = bytes;
        self.table.len() > len
            // SAFETY: the element is in the table, which is borrowed.
            || self.table.for_each(|element| match left.checked_sub(unsafe { element.view() }.bytes()) {
                Some(rest) => {
                    left = rest;
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Break(()),
            }).is_break()
    }

    fn opening(&mut self) -> &mut Option<Arc<OpeningState>> {
        &mut self.opening
    }

    fn capture_from(&mut self, capture: &ElementCapture, from: u64, budget_bytes: usize) -> (Captured, Option<u64>) {
        self.table.capture_from(capture, from, budget_bytes)
    }
}

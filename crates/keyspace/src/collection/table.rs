//! The hash table of large sets, hashes and sorted sets: the keyspace's own table, with members instead of keys.
//!
//! All of them share one keyed hasher, so that a member's hash, once computed, is good for every table (set operations).

use std::ops::ControlFlow;
use std::sync::OnceLock;

use crate::hash::KeyHasher;
use crate::prefetch::prefetch;
use crate::table::{Buckets, Element, Expiries, Limits, Place, Surroundings, Table, TableCounters};

/// What all tables of collections have in common.
struct Common {
    hasher: KeyHasher,
    limits: Limits,
    counters: TableCounters,
}

static COMMON: OnceLock<Common> = OnceLock::new();

/// The first keyspace decides the hash of all collections; one that is used without any (in a test) has a fixed one.
pub(crate) fn set_seed(seed: [u64; 4]) {
    COMMON.get_or_init(|| Common {
        hasher: KeyHasher::new(seed),
        limits: Limits::default(),
        counters: TableCounters::default(),
    });
}

#[inline]
fn common() -> &'static Common {
    COMMON.get().unwrap_or_else(|| {
        set_seed([1, 2, 3, 4]);
        COMMON.get().expect("it was set just now")
    })
}

#[inline]
fn around() -> Surroundings<'static> {
    let common = common();
    Surroundings { hasher: &common.hasher, skipped_bits: 0, limits: &common.limits, counters: &common.counters }
}

/// A member's hash, the same in all tables of this process.
#[inline]
pub(crate) fn member_hash(member: &[u8]) -> u64 {
    common().hasher.hash(member)
}

/// A table of elements, each found by its key's bytes. It owns its elements.
pub(crate) struct ElementTable<E: Element>(Table<E>);

impl<E: Element> Default for ElementTable<E> {
    fn default() -> ElementTable<E> {
        ElementTable(Table::new())
    }
}

impl<E: Element> Drop for ElementTable<E> {
    fn drop(&mut self) {
        self.0.disown(&common().counters);
        self.0.clear();
    }
}

impl<E: Element> ElementTable<E> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// `hash` is [`member_hash`] of `key`; likewise below.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<(Place, E)> {
        let place = self.0.find(hash, key)?;
        Some((place, self.0.at(place)))
    }

    /// The first and second step of a batch of lookups: ask for the bucket's line, then for the element that it names.
    #[inline]
    pub(crate) fn prefetch_bucket(&self, hash: u64) {
        self.0.prefetch_bucket(hash);
    }

    #[inline]
    pub(crate) fn prefetch_element(&self, hash: u64) {
        self.0.prefetch_element(hash);
    }

    #[inline]
    pub(crate) fn buckets(&self) -> Buckets<'_> {
        self.0.buckets()
    }

    /// Adds an element whose key is not in the table.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, element: E) {
        self.0.insert(&around(), hash, element);
    }

    /// Puts another element with the same key in this place; the old one is the caller's.
    pub(crate) fn replace(&mut self, place: Place, element: E) -> E {
        let old = Expiries::of(self.0.at(place));
        self.0.replace(place, element, old)
    }

    /// Takes the element out; it is the caller's.
    #[inline]
    pub(crate) fn remove(&mut self, hash: u64, place: Place) -> E {
        self.0.remove(&around(), hash, place)
    }

    /// The table itself, for what concerns expiry.
    pub(crate) fn table(&self) -> &Table<E> {
        &self.0
    }

    pub(crate) fn table_mut(&mut self) -> (&mut Table<E>, Surroundings<'static>) {
        (&mut self.0, around())
    }

    /// Visits about `count` elements from a cursor on and returns the next cursor; 0 is start and end. What is in the table throughout
    /// a whole walk is visited at least once.
    pub(crate) fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(E)) -> u64 {
        // As in the keyspace's cursors, the bits are reversed so that those of small tables are small numbers.
        let next = self.0.walk(cursor.reverse_bits(), count, |_, element| visit(element));
        next.map_or(0, u64::reverse_bits)
    }

    /// Visits every element. Each is asked for a few steps ahead, because they lie anywhere.
    #[inline]
    pub(crate) fn visit_all(&self, mut visit: impl FnMut(E)) {
        const AHEAD: usize = 8;
        let mut ahead: [Option<E>; AHEAD] = [None; AHEAD];
        let mut next = 0;
        for element in self.0.iter() {
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
        self.0.for_each(visit)
    }

    /// Every element, in the order of the segments.
    pub(crate) fn iter(&self) -> impl Iterator<Item = E> + '_ {
        self.0.iter()
    }

    /// An element chosen fairly; `random` gives uniform numbers. `None` if there is none. O(1) expected.
    pub(crate) fn random(&self, random: impl FnMut() -> u64) -> Option<E> {
        self.0.random(random)
    }

    /// Bytes of the table without the elements.
    pub(crate) fn table_bytes(&self) -> usize {
        self.0.table_bytes() + size_of::<Self>()
    }
}

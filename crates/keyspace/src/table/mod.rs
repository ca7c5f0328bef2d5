//! The table: extendible hashing in segments of a few hundred words.
//!
//! Read in this order: `word.rs` (one element in eight bytes), `segment.rs` (a header and buckets of one cache line),
//! `directory.rs` (from a position to its segment), then this file (lookup, growth, shrinking, walks), then `capture.rs` (how a walk sees the table
//! as it was at one instant).
//!
//! A *position* is 64 bits of hash. Its leading bits choose the segment (as many as the segment is deep), the next 12 the home
//! bucket within it, monotonously: so home buckets follow each other in hash order, through every growth, split and merge.
//! A walk that has been at all home buckets before position p, and goes on at p, misses nothing that was there all the time; that is all SCAN needs.
//!
//! What if the table grows while somebody walks? The walker remembers p, not a bucket. What if keys collide? The hash is keyed; equal
//! positions of more than a segment's keys are taken for a bug of ours.

mod capture;
mod directory;
mod sample;
mod segment;
mod word;

use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use smallvec::SmallVec;

pub(crate) use self::capture::{Capture, Captured, Unlocked};
pub(crate) use self::segment::Place;

use self::directory::{Directory, segment_end};
use self::segment::{Bucket, HOME_BITS, LINE_BYTES, SegmentRef, is_size, len_max, lines_after, lines_for};
use self::word::{TAG_BITS, Word};
use crate::Millis;
use crate::hash::KeyHasher;
use crate::planted::planted;
use crate::prefetch::{prefetch, prefetch_for_write};

/// Sizes of the table's pieces. Tests make them tiny to reach every case with few keys.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Cache lines of the largest segment: 2, 4, 8, 16 and so on in steps of 8 up to 64.
    pub segment_lines_max: usize,
    /// The largest leaf of the directory has `1 << leaf_bits_max` slots; at least 1.
    pub leaf_bits_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { segment_lines_max: 64, leaf_bits_max: 11 }
    }
}

impl Limits {
    /// # Panics
    /// If a limit is out of its range.
    pub(crate) fn check(&self) {
        assert!(is_size(self.segment_lines_max), "segments have no such size");
        assert!(self.leaf_bits_max >= 1, "a leaf that cannot hold two segments never grows");
    }
}

/// Segments deeper than this cannot come from a healthy hash.
const DEPTH_MAX: u32 = 44;

/// What a table holds: a pointer to a key with something beside it.
///
/// # Safety
/// `address` is not null, aligned to 8, below 2^48, and stays the element's until `dispose`; `from_address` gives the same element.
pub(crate) unsafe trait Element: Copy {
    fn address(self) -> *mut u8;
    /// # Safety
    /// The address came from `address` of a live element.
    unsafe fn from_address(address: *mut u8) -> Self;
    /// # Safety
    /// The element is live for `'a` and its key unchanged.
    unsafe fn key<'a>(self) -> &'a [u8];
    fn expire_at(self) -> Option<Millis>;
    /// When the first part of its value expires by itself, or earlier (a hash's fields).
    #[inline]
    fn parts_expire_at(self) -> Option<Millis> {
        None
    }
    /// # Safety
    /// Nobody uses the element any more.
    unsafe fn dispose(self);
}

/// When an element expires, and when the first part of its value does, or earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expiries {
    pub(crate) own: Option<Millis>,
    pub(crate) parts: Option<Millis>,
}

impl Expiries {
    #[inline]
    pub(crate) fn of<E: Element>(element: E) -> Expiries {
        Expiries { own: element.expire_at(), parts: element.parts_expire_at() }
    }

    #[inline]
    pub(crate) fn any(self) -> bool {
        self.own.is_some() || self.parts.is_some()
    }

    #[inline]
    pub(crate) fn earliest(self) -> Millis {
        self.own.unwrap_or(Millis::NEVER).min(self.parts.unwrap_or(Millis::NEVER))
    }
}

/// How far a walk over due elements has come.
pub(crate) struct Walked {
    pub(crate) taken: usize,
    /// The earliest expiry in the segments that were walked over.
    pub(crate) earliest: Millis,
    /// Where to go on; `None` at the end.
    pub(crate) next: Option<u64>,
}

/// What a walk over due elements meets.
pub(crate) enum Due<E> {
    /// Its own time has passed: it is out of the table, and the caller's.
    Element(E),
    /// The time of parts may have passed. The caller takes them out, as many as the budget that comes with it, and says how many; the
    /// element stays in the table unless [`Remains::Nothing`] is left of it.
    Parts(E, usize),
}

/// What is left of an element whose due parts were taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    Something {
        taken: usize,
    },
    /// It comes out of the table, and is given to the caller as [`Due::Element`] would be.
    Nothing {
        taken: usize,
    },
}

/// Counters of what single operations cost: the proof that growth never stops the world. Several shards write to the same, seldom.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct TableCounters {
    pub(crate) keys_moved_max: AtomicUsize,
    pub(crate) bytes_copied_max: AtomicUsize,
    pub(crate) splits: AtomicU64,
    pub(crate) merges: AtomicU64,
    pub(crate) table_bytes: AtomicUsize,
}

/// What one operation has done to the table so far.
#[derive(Default)]
struct Work {
    keys_moved: usize,
    bytes_copied: usize,
    splits: u64,
    merges: u64,
    bytes_gained: isize,
    /// The number of the active cut: segments made now are done.
    cut: Option<u32>,
}

impl Work {
    fn around<E: Element>(around: &Surroundings<'_, E>) -> Work {
        Work { cut: around.capture.map(Capture::number), ..Work::default() }
    }

    fn resized_directory(&mut self, old_bytes: usize, new_bytes: usize) {
        self.bytes_copied += new_bytes;
        self.bytes_gained += new_bytes as isize - old_bytes as isize;
    }

    fn new_segment(&mut self, lines: usize, depth: u32, tag_bits: u8) -> SegmentRef {
        let segment = SegmentRef::new(lines, depth, tag_bits, self.cut);
        self.bytes_copied += segment.bytes();
        self.bytes_gained += segment.bytes() as isize;
        segment
    }

    /// # Safety
    /// As for [`SegmentRef::free`].
    unsafe fn free_segment(&mut self, segment: SegmentRef) {
        self.bytes_gained -= segment.bytes() as isize;
        // SAFETY: the caller's promise.
        unsafe { segment.free() }
    }

    fn commit(self, counters: &TableCounters) {
        counters.keys_moved_max.fetch_max(self.keys_moved, Relaxed);
        counters.bytes_copied_max.fetch_max(self.bytes_copied, Relaxed);
        counters.splits.fetch_add(self.splits, Relaxed);
        counters.merges.fetch_add(self.merges, Relaxed);
        counters.table_bytes.fetch_add(self.bytes_gained as usize, Relaxed);
    }
}

/// What a table needs from outside; passed in, so that a small table stays small.
pub(crate) struct Surroundings<'a, E> {
    pub(crate) hasher: &'a KeyHasher,
    /// Leading hash bits that all keys here share: the shard's.
    pub(crate) skipped_bits: u32,
    pub(crate) limits: &'a Limits,
    pub(crate) counters: &'a TableCounters,
    /// Who captures what is about to change, while a cut is active.
    pub(crate) capture: Option<&'a dyn Capture<E>>,
}

impl<E> Surroundings<'_, E> {
    fn position(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key) << self.skipped_bits
    }
}

/// Low hash bits, clear of the shift by the shard's bits, and of the bits that place a key until a table is 2^30 segments large.
#[inline]
fn fingerprint_of(position: u64) -> u8 {
    (position >> 10) as u8
}

/// A sum that asks for no more alignment than its neighbours: a shard fits its cache lines.
#[derive(Clone, Copy)]
#[repr(C, packed(8))]
struct Sum(i128);

/// The layout is fixed so that the directory's first words come first.
#[repr(C)]
pub(crate) struct Table<E: Element> {
    directory: Directory,
    len: usize,
    volatile: usize,
    /// Elements with parts that expire.
    volatile_in_parts: usize,
    /// Lower bound of the earliest expiry, that of parts included.
    earliest: Millis,
    /// Sum of all expiries: makes the average time to live exact.
    expiry_sum: Sum,
    elements: PhantomData<E>,
}

// SAFETY: the table owns its segments and elements; elements are Send by requirement here.
unsafe impl<E: Element + Send> Send for Table<E> {}

impl<E: Element> Default for Table<E> {
    fn default() -> Table<E> {
        Table::new()
    }
}

impl<E: Element> Table<E> {
    pub(crate) fn new() -> Table<E> {
        Table {
            directory: Directory::new(),
            len: 0,
            volatile: 0,
            volatile_in_parts: 0,
            earliest: Millis::NEVER,
            expiry_sum: Sum(0),
            elements: PhantomData,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn volatile_len(&self) -> usize {
        self.volatile
    }

    pub(crate) fn volatile_in_parts_len(&self) -> usize {
        self.volatile_in_parts
    }

    pub(crate) fn earliest(&self) -> Millis {
        self.earliest
    }

    pub(crate) fn expiry_sum(&self) -> i128 {
        self.expiry_sum.0
    }

    #[inline]
    fn element(word: Word) -> E {
        // SAFETY: words of this table hold addresses of its live elements.
        unsafe { E::from_address(word.address()) }
    }

    /// The element at a place that is still valid.
    #[inline]
    pub(crate) fn at(&self, place: Place) -> E {
        // SAFETY: the place is valid, and the table is borrowed.
        Self::element(unsafe { *place.word() })
    }

    #[inline]
    pub(crate) fn find(&self, position: u64, key: &[u8]) -> Option<Place> {
        let segment = self.directory.segment(position);
        if segment.is_none() {
            return None;
        }
        let tag = segment.tag_of(position);
        let home = segment.home(tag);
        // SAFETY: segments in the directory are live, and the table is borrowed.
        let bucket = unsafe { &*segment.bucket(home) };
        if let Some(slot) = Self::find_in(bucket, tag, fingerprint_of(position), key) {
            return Some(Place { segment, bucket: home as u16, slot: slot as u16 });
        }
        if bucket.displaced() == 0 {
            return None;
        }
        self.find_displaced(segment, position, key)
    }

    #[inline]
    fn find_in(bucket: &Bucket, tag: u16, fingerprint: u8, key: &[u8]) -> Option<usize> {
        bucket.candidates(fingerprint).find(|&slot| {
            let word = bucket.words[slot];
            !word.is_empty()
                && (word.tag() ^ tag) >> (TAG_BITS - HOME_BITS) == 0
                // SAFETY: an element in the table is live.
                && unsafe { Self::element(word).key() } == key
        })
    }

    /// Looks in the buckets after home until all words that were displaced from there have been seen.
    #[inline(never)]
    fn find_displaced(&self, segment: SegmentRef, position: u64, key: &[u8]) -> Option<Place> {
        let tag = segment.tag_of(position);
        let home = segment.home(tag);
        // SAFETY: as in `find`; likewise below.
        let mut unseen = unsafe { &*segment.bucket(home) }.displaced();
        for step in 1..segment.buckets() {
            let index = segment.bucket_after(home, step);
            // SAFETY: as above.
            let bucket = unsafe { &*segment.bucket(index) };
            if let Some(slot) = Self::find_in(bucket, tag, fingerprint_of(position), key) {
                return Some(Place { segment, bucket: index as u16, slot: slot as u16 });
            }
            let seen = bucket.words.iter().filter(|word| !word.is_empty() && segment.home(word.tag()) == home).count();
            unseen -= seen;
            if unseen == 0 {
                return None;
            }
        }
        assert!(unseen > usize::MAX / 2, "a displaced word is in no bucket of its segment");
        None
    }

    /// Asks for the home bucket's cache line.
    #[inline]
    pub(crate) fn prefetch_bucket(&self, position: u64) {
        self.buckets().prefetch_bucket(position);
    }

    /// Asks for the element that the home bucket, which should have arrived by now, names for this position.
    #[inline]
    pub(crate) fn prefetch_element(&self, position: u64) {
        self.buckets().prefetch_element(position);
    }

    /// Asks for the directory of a small table, whatever will be looked up there.
    #[inline]
    pub(crate) fn prefetch_directory(&self) {
        self.directory.prefetch_first();
    }

    #[inline]
    pub(crate) fn buckets(&self) -> Buckets<'_> {
        Buckets(&self.directory)
    }

    /// Adds an element whose key is not in the table.
    pub(crate) fn insert(&mut self, around: &Surroundings<'_, E>, position: u64, element: E) -> Place {
        let expiries = Expiries::of(element);
        let mut work = None;
        let place = loop {
            let segment = self.directory.segment(position);
            // SAFETY: segments in the directory are live, and the table is borrowed mutably.
            let placed =
                if segment.is_none() || unsafe { (*segment.header()).len } as usize >= len_max(segment.buckets()) {
                    None
                } else {
                    let tag = segment.tag_of(position);
                    if let Some(capture) = around.capture {
                        self.unlock_units(capture, segment, 1 << segment.home(tag));
                    }
                    let word = Word::new(element.address(), expiries.any(), tag);
                    // SAFETY: as above.
                    unsafe { segment.place(word, fingerprint_of(position)) }
                };
            match placed {
                Some(place) => break place,
                None => self.make_room(around, position, segment, work.get_or_insert_with(|| Work::around(around))),
            }
        };
        if let Some(work) = work {
            work.commit(around.counters);
        }
        self.len += 1;
        if expiries.any() {
            self.count_expiry(place.segment, expiries);
        }
        place
    }

    /// The element of this key, to be changed or taken out.
    #[inline]
    pub(crate) fn find_unlocked(
        &mut self,
        capture: Option<&dyn Capture<E>>,
        position: u64,
        key: &[u8],
    ) -> Option<Unlocked<E>> {
        let place = self.find(position, key)?;
        Some(self.unlock(capture, place))
    }

    #[inline]
    fn unlock(&mut self, capture: Option<&dyn Capture<E>>, place: Place) -> Unlocked<E> {
        // SAFETY: the place is valid, and the table is borrowed mutably.
        let word = unsafe { *place.word() };
        if let Some(capture) = capture {
            self.unlock_units(capture, place.segment, 1 << place.segment.home(word.tag()));
        }
        Unlocked { place, element: Self::element(word) }
    }

    /// Before all of a segment is made anew.
    #[inline]
    fn unlock_segment(&mut self, around: &Surroundings<'_, E>, segment: SegmentRef) {
        if let Some(capture) = around.capture {
            self.unlock_units(capture, segment, u64::MAX);
        }
    }

    #[cold]
    fn unlock_units(&mut self, capture: &dyn Capture<E>, segment: SegmentRef, homes: u64) {
        let captured = self.capture_units(capture, segment, homes);
        if captured.units > 0 {
            capture.forced(captured.units);
        }
    }

    /// Captures those of the units (a bit for each home bucket) that are not done.
    fn capture_units(&mut self, capture: &dyn Capture<E>, segment: SegmentRef, homes: u64) -> Captured {
        let mut captured = Captured::default();
        // SAFETY: segments in the directory are live, and the table is borrowed mutably; likewise below.
        let mut left = unsafe { segment.undone(capture.number()) } & homes;
        while left != 0 {
            let home = left.trailing_zeros() as usize;
            left &= left - 1;
            captured += self.capture_unit(capture, segment, home);
        }
        captured
    }

    fn capture_unit(&mut self, capture: &dyn Capture<E>, segment: SegmentRef, home: usize) -> Captured {
        // Elements lie on two lines as often as on one.
        let prefetch_words = |bucket: &Bucket| {
            for address in bucket.words.iter().map(|word| word.address()) {
                prefetch(address);
                prefetch(address.wrapping_add(LINE_BYTES - 1));
            }
        };
        if home + 2 < segment.buckets() {
            prefetch(segment.bucket((home + 6).min(segment.buckets() - 1)).cast());
            // SAFETY: as above.
            prefetch_words(unsafe { &*segment.bucket(home + 2) });
        }
        let mut elements = SmallVec::<[E; 16]>::new();
        // SAFETY: as above.
        unsafe { segment.visit_home(home, |_, word| elements.push(Self::element(word))) };
        let cost_bytes = if elements.is_empty() { 0 } else { capture.take(&elements) };
        // SAFETY: as above.
        unsafe { segment.mark_done(home, capture.number()) };
        Captured { units: 1, cost_bytes }
    }

    /// Captures the units from position `from` on that are not done, until they have cost `budget_bytes`. Returns where to go on; `None` at the end.
    pub(crate) fn capture_from(
        &mut self,
        capture: &dyn Capture<E>,
        from: u64,
        budget_bytes: usize,
    ) -> (Captured, Option<u64>) {
        let mut captured = Captured::default();
        let mut position = from;
        loop {
            let segment = self.directory.segment(position);
            if segment.is_none() {
                return (captured, None);
            }
            let home = segment.home(segment.tag_of(position));
            // SAFETY: as above.
            let undone = unsafe { segment.undone(capture.number()) } >> home;
            let next = match undone {
                0 => segment_end(position, segment),
                undone => {
                    let home = home + undone.trailing_zeros() as usize;
                    captured += self.capture_unit(capture, segment, home);
                    Self::unit_end(position, segment, home)
                }
            };
            match next {
                None => return (captured, None),
                Some(next) if captured.cost_bytes >= budget_bytes => return (captured, Some(next)),
                Some(next) => position = next,
            }
        }
    }

    /// The first position after a home bucket of the segment that holds `position`.
    #[inline]
    fn unit_end(position: u64, segment: SegmentRef, home: usize) -> Option<u64> {
        let start = position & !(u64::MAX.checked_shr(segment.depth()).unwrap_or(0));
        match segment.home_end(home) {
            Some(offset) => Some(start + offset),
            None => segment_end(position, segment),
        }
    }

    /// Puts `element` where another with the same key was, and returns that.
    pub(crate) fn replace(&mut self, at: &mut Unlocked<E>, element: E, old: Expiries) -> E {
        let new = Expiries::of(element);
        // SAFETY: the place is valid, and the table is borrowed mutably.
        unsafe {
            let word = at.place.word();
            *word = Word::new(element.address(), new.any(), (*word).tag());
        }
        self.recount_expiry(at.place.segment, old, new);
        std::mem::replace(&mut at.element, element)
    }

    /// The element has other expiries now.
    pub(crate) fn expiries_changed(&mut self, at: &Unlocked<E>, old: Expiries, new: Expiries) {
        let place = at.place;
        if old.any() != new.any() {
            // SAFETY: as in `replace`.
            unsafe {
                let word = place.word();
                *word = Word::new((*word).address(), new.any(), (*word).tag());
            }
        }
        self.recount_expiry(place.segment, old, new);
    }

    #[inline]
    fn recount_expiry(&mut self, segment: SegmentRef, old: Expiries, new: Expiries) {
        if old == new {
            return;
        }
        if old.any() {
            self.discount_expiry(segment, old);
        }
        if new.any() {
            self.count_expiry(segment, new);
        }
    }

    fn count_expiry(&mut self, segment: SegmentRef, expiries: Expiries) {
        // SAFETY: the segment is live, and the table is borrowed mutably.
        let header = unsafe { &mut *segment.header() };
        header.volatile += 1;
        header.earliest = header.earliest.min(expiries.earliest());
        self.earliest = self.earliest.min(expiries.earliest());
        if let Some(at) = expiries.own {
            self.volatile += 1;
            self.expiry_sum.0 += i128::from(at.0);
        }
        self.volatile_in_parts += usize::from(expiries.parts.is_some());
    }

    fn discount_expiry(&mut self, segment: SegmentRef, expiries: Expiries) {
        // SAFETY: as in `count_expiry`.
        let header = unsafe { &mut *segment.header() };
        header.volatile -= 1;
        if header.volatile == 0 {
            header.earliest = Millis::NEVER;
        }
        if let Some(at) = expiries.own {
            self.volatile -= 1;
            self.expiry_sum.0 -= i128::from(at.0);
        }
        self.volatile_in_parts -= usize::from(expiries.parts.is_some());
        if self.volatile == 0 && self.volatile_in_parts == 0 {
            self.earliest = Millis::NEVER;
        }
    }

    /// Takes the element out; it is the caller's now.
    pub(crate) fn remove(&mut self, around: &Surroundings<'_, E>, position: u64, at: Unlocked<E>) -> E {
        let segment = at.place.segment;
        let element = self.unlink(at);
        // SAFETY: the segment is live.
        let len = unsafe { (*segment.header()).len };
        // Looking at the buddy costs a cache miss: now and then is enough.
        if len < 16 || len.is_multiple_of(8) {
            self.settle(around, position);
        }
        element
    }

    fn unlink(&mut self, at: Unlocked<E>) -> E {
        let Unlocked { place, element } = at;
        // SAFETY: the place is valid, and the table is borrowed mutably.
        unsafe { place.clear() };
        self.len -= 1;
        let expiries = Expiries::of(element);
        if expiries.any() {
            self.discount_expiry(place.segment, expiries);
        }
        element
    }

    /// False for a table that nothing has come into since it was made, or emptied.
    pub(crate) fn has_memory(&self) -> bool {
        !self.directory.segment(0).is_none()
    }

    /// Gives an empty table the shape that it would have with about `len` elements, which then come without being moved.
    #[cold]
    pub(crate) fn reserve(&mut self, around: &Surroundings<'_, E>, len: usize) {
        if self.has_memory() {
            return;
        }
        let lines_max = around.limits.segment_lines_max;
        let mut depth = 0;
        while len >> depth > len_max(lines_max - 1) {
            depth += 1;
        }
        let mut work = Work::around(around);
        for index in 0..1u64 << depth {
            let position = index.unbounded_shl(64 - depth);
            self.directory.deepen(position, depth, around.limits, &mut work);
            let segment = work.new_segment(lines_for((len >> depth) + 1, lines_max), depth, TAG_BITS as u8);
            self.directory.set(position, segment, depth);
        }
        // Nothing was moved, and no command has to wait for it.
        work.bytes_copied = 0;
        work.commit(around.counters);
    }

    #[cold]
    fn make_room(&mut self, around: &Surroundings<'_, E>, position: u64, segment: SegmentRef, work: &mut Work) {
        if segment.is_none() {
            let first = work.new_segment(lines_for(1, around.limits.segment_lines_max), 0, TAG_BITS as u8);
            self.directory.set(position, first, 0);
        } else if let Some(lines) = lines_after(segment.lines(), around.limits.segment_lines_max) {
            self.resize(around, position, segment, lines, work);
        } else {
            self.split(around, position, segment, work);
        }
    }

    /// Moves a segment into one of another size: tags keep their meaning, and no element is touched.
    fn resize(&mut self, around: &Surroundings<'_, E>, position: u64, old: SegmentRef, lines: usize, work: &mut Work) {
        self.unlock_segment(around, old);
        // SAFETY: `old` is live and replaced in the directory before it is freed.
        unsafe {
            let header = &*old.header();
            let new = work.new_segment(lines, old.depth(), header.tag_bits);
            for (_, word, fingerprint) in old.words() {
                new.place(word, fingerprint).expect("the new size has room");
            }
            (*new.header()).volatile = header.volatile;
            (*new.header()).earliest = header.earliest;
            work.keys_moved += header.len as usize;
            self.directory.set(position, new, new.depth());
            work.free_segment(old);
        }
    }

    fn split(&mut self, around: &Surroundings<'_, E>, position: u64, old: SegmentRef, work: &mut Work) {
        let depth = old.depth() + 1;
        assert!(depth <= DEPTH_MAX, "keys share too many hash bits");
        work.splits += 1;
        if !planted("lost-stamp-in-split") {
            self.unlock_segment(around, old);
        }
        // SAFETY: `old` is live and replaced in the directory before it is freed.
        unsafe {
            let header = &*old.header();
            let (old_tag_bits, earliest) = (u32::from(header.tag_bits), header.earliest);
            work.keys_moved += header.len as usize;
            // While spare tag bits last, a split reads no element.
            let rehash = old_tag_bits == HOME_BITS;
            let tag_bits = if rehash { TAG_BITS } else { old_tag_bits - 1 } as u8;
            let high = old.words().filter(|(_, word, _)| is_high(*word)).count();
            let low = header.len as usize - high;
            let lines_max = around.limits.segment_lines_max;
            let halves = [low, high].map(|len| work.new_segment(lines_for(len + 1, lines_max), depth, tag_bits));
            let mut to_lose = planted("lost-key-in-split");
            for index in 0..old.buckets() {
                if rehash && index + 2 < old.buckets() {
                    (*old.bucket(index + 2)).words.iter().for_each(|word| prefetch(word.address()));
                }
                for (_, word, fingerprint) in old.words_in(index) {
                    let tag = if rehash {
                        halves[0].tag_of(around.position(Self::element(word).key()))
                    } else {
                        word.tag() << 1
                    };
                    if to_lose {
                        to_lose = false;
                        continue;
                    }
                    let half = halves[usize::from(is_high(word))];
                    half.place(word.with_tag(tag), fingerprint).expect("the halves have room");
                    if word.is_volatile() {
                        let header = &mut *half.header();
                        header.volatile += 1;
                        header.earliest = earliest;
                    }
                }
            }
            self.directory.deepen(position, depth, around.limits, work);
            let half = 1u64 << (64 - depth);
            self.directory.set(position & !half, halves[0], depth);
            self.directory.set(position | half, halves[1], depth);
            work.free_segment(old);
        }
    }

    /// After a removal: shrinks the segment of this position, merges it with its buddy, or gives back the empty table.
    #[cold]
    fn settle(&mut self, around: &Surroundings<'_, E>, position: u64) {
        let mut work = Work::around(around);
        let lines_max = around.limits.segment_lines_max;
        loop {
            let segment = self.directory.segment(position);
            if segment.is_none() {
                break;
            }
            // SAFETY: segments in the directory are live.
            let len = unsafe { (*segment.header()).len } as usize;
            let depth = segment.depth();
            if self.len == 0 {
                self.give_back(&mut work);
                break;
            }
            let leaf_depth = self.directory.leaf_depth(position);
            if depth == leaf_depth && leaf_depth > 0 && self.directory.relax(position, around.limits, &mut work) {
                continue;
            }
            if depth > leaf_depth {
                let buddy = self.directory.segment(position ^ 1 << (64 - depth));
                // SAFETY: as above.
                let merged_len = len + unsafe { (*buddy.header()).len } as usize;
                // Half full, so that a merge is not undone by the next insertions.
                let merged_len_max = len_max(lines_max - 1) / 2;
                if buddy.depth() == depth && merged_len <= merged_len_max && work.keys_moved + merged_len <= len_max(63)
                {
                    self.unlock_segment(around, segment);
                    self.unlock_segment(around, buddy);
                    self.merge(position, segment, buddy, lines_max, &mut work);
                    self.directory.relax(position, around.limits, &mut work);
                    continue;
                }
            }
            let lines = lines_for(len + len / 4 + 2, lines_max);
            if lines < segment.lines() && work.keys_moved == 0 {
                self.resize(around, position, segment, lines, &mut work);
            }
            break;
        }
        work.commit(around.counters);
    }

    /// Both sides have been captured.
    fn merge(&mut self, position: u64, one: SegmentRef, other: SegmentRef, lines_max: usize, work: &mut Work) {
        let depth = one.depth();
        let position_bit = 1u64 << (64 - depth);
        let (low, high) = if position & position_bit == 0 { (one, other) } else { (other, one) };
        // SAFETY: both are live, and replaced in the directory before they are freed.
        unsafe {
            let (a, b) = (&*low.header(), &*high.header());
            let len = usize::from(a.len) + usize::from(b.len);
            // The bit that told the two apart is known: no element is touched.
            let tag_bits = (a.tag_bits.min(b.tag_bits) + 1).min(TAG_BITS as u8);
            let merged = work.new_segment(lines_for(len + len / 8 + 1, lines_max), depth - 1, tag_bits);
            for (side, top) in [(low, 0), (high, 1u16 << (TAG_BITS - 1))] {
                for (_, word, fingerprint) in side.words() {
                    merged
                        .place(word.with_tag(word.tag() >> 1 | top), fingerprint)
                        .expect("the merged segment has room");
                }
            }
            let header = &mut *merged.header();
            header.volatile = a.volatile + b.volatile;
            header.earliest = a.earliest.min(b.earliest);
            work.keys_moved += len;
            work.merges += 1;
            self.directory.set(position & !position_bit, merged, depth - 1);
            work.free_segment(low);
            work.free_segment(high);
        }
    }

    /// Frees all segments and the directory; elements are the caller's.
    fn give_back(&mut self, work: &mut Work) {
        let segments: Vec<SegmentRef> = self.directory.segments().collect();
        for segment in segments {
            // SAFETY: each is visited once, and the directory is cleared below.
            unsafe { work.free_segment(segment) };
        }
        self.directory.clear(work);
    }

    /// Visits the elements of whole home buckets from `position` on, until `count` elements have been visited. Returns where
    /// to go on, `None` at the end.
    pub(crate) fn walk(&self, position: u64, count: usize, mut visit: impl FnMut(Place, E)) -> Option<u64> {
        let mut position = position;
        let mut visited = 0;
        if self.len == 0 {
            return None;
        }
        loop {
            let segment = self.directory.segment(position);
            let home = segment.home(segment.tag_of(position));
            // SAFETY: segments in the directory are live, and the table is borrowed.
            unsafe {
                segment.visit_home(home, |place, word| {
                    visit(place, Self::element(word));
                    visited += 1;
                });
            }
            position = Self::unit_end(position, segment, home)?;
            if visited >= count {
                return Some(position);
            }
        }
    }

    /// Visits every element.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(E) -> ControlFlow<()>) -> ControlFlow<()> {
        for segment in self.directory.segments() {
            // SAFETY: as in `walk`.
            for (_, word, _) in unsafe { segment.words() } {
                visit(Self::element(word))?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Every element, in the order of the walk by segments.
    pub(crate) fn iter(&self) -> impl Iterator<Item = E> + '_ {
        // SAFETY: as in `walk`.
        self.directory.segments().flat_map(|segment| unsafe { segment.words() }).map(|(_, word, _)| Self::element(word))
    }

    /// An element chosen fairly by uniform random numbers; `None` from an empty table. A handful of tries on average, whatever the size.
    ///
    /// A random position falls into a segment in proportion to its part of hash space, not to its elements. A try is therefore accepted in
    /// proportion to how dense its segment is beside the table's average. Twice and a half the average is taken for the densest there is: the
    /// hash's spread makes up to 1.34, chance the rest; a segment beyond that would get a few too few, not too many.
    pub(crate) fn random(&self, mut random: impl FnMut() -> u64) -> Option<E> {
        if self.len == 0 {
            return None;
        }
        loop {
            let segment = self.directory.segment(random());
            // SAFETY: segments in the directory are live.
            let len = unsafe { (*segment.header()).len } as usize;
            let density = len as f64 * (1u64 << segment.depth()) as f64;
            let densest = if segment.depth() == 0 { density } else { self.len as f64 * 2.5 };
            let draw = random();
            if (draw >> 11) as f64 / (1u64 << 53) as f64 * densest < density {
                let index = ((u128::from(random()) * len as u128) >> 64) as usize;
                // SAFETY: as in `walk`.
                return unsafe { segment.words() }.nth(index).map(|(_, word, _)| Self::element(word));
            }
        }
    }

    /// Bytes of segments and directory.
    pub(crate) fn table_bytes(&self) -> usize {
        self.directory.segments().map(SegmentRef::bytes).sum::<usize>() + self.directory.bytes()
    }

    /// The element number `index` in the order of the walk by segments.
    pub(crate) fn nth(&self, index: usize) -> Option<E> {
        let mut left = index;
        for segment in self.directory.segments() {
            // SAFETY: as in `walk`.
            let len = unsafe { (*segment.header()).len } as usize;
            if left < len {
                // SAFETY: as above.
                return unsafe { segment.words() }.nth(left).map(|(_, word, _)| Self::element(word));
            }
            left -= len;
        }
        None
    }

    /// Moves the segments between two positions (`to` is exclusive, `None` the end) out of sparse pages.
    pub(crate) fn compact_segments(&mut self, around: &Surroundings<'_, E>, from: u64, to: Option<u64>) {
        let mut next = Some(from);
        while let Some(position) = next {
            let segment = self.directory.segment(position);
            if segment.is_none() || to.is_some_and(|to| position >= to) {
                return;
            }
            next = segment_end(position, segment);
            // SAFETY: segments in the directory are live.
            if unsafe { segment.should_move() } {
                let mut work = Work::around(around);
                self.resize(around, position, segment, segment.lines(), &mut work);
                work.commit(around.counters);
            }
        }
    }

    /// Writes the new address of an element that was moved: it is as it was.
    pub(crate) fn moved(&mut self, place: Place, element: E) {
        // SAFETY: the place is valid, and the table is borrowed mutably.
        unsafe {
            let word = place.word();
            *word = Word::new(element.address(), (*word).is_volatile(), (*word).tag());
        }
    }

    /// Takes out elements, and parts of elements, whose expiry lies before `now`, at most `budget` of them; returns how many. Segments in which
    /// nothing is due are passed by their header, elements without an expiry by their word.
    pub(crate) fn expire_due(
        &mut self,
        around: &Surroundings<'_, E>,
        now: Millis,
        budget: usize,
        due: impl FnMut(Due<E>) -> Remains,
    ) -> usize {
        if self.earliest >= now {
            return 0;
        }
        let walked = self.expire_from(around, now, 0, usize::MAX, budget, due);
        if walked.next.is_none() {
            self.earliest = walked.earliest;
        }
        walked.taken
    }

    /// The part of that from position `from` on, over at most `segments_max` segments. Who walks a table in such slices says in the end what the
    /// earliest expiry is ([`Self::set_earliest`]).
    pub(crate) fn expire_from(
        &mut self,
        around: &Surroundings<'_, E>,
        now: Millis,
        from: u64,
        segments_max: usize,
        budget: usize,
        mut due: impl FnMut(Due<E>) -> Remains,
    ) -> Walked {
        let mut walked = Walked { taken: 0, earliest: Millis::NEVER, next: Some(from) };
        let mut segments = 0;
        while let Some(position) = walked.next {
            if self.volatile + self.volatile_in_parts == 0 {
                return Walked { earliest: Millis::NEVER, next: None, ..walked };
            }
            if segments == segments_max {
                return walked;
            }
            segments += 1;
            let segment = self.directory.segment(position);
            let next = segment_end(position, segment);
            // SAFETY: segments in the directory are live, and the table is borrowed mutably.
            let header = segment.header();
            // SAFETY: as above; no reference is kept over the calls below.
            let mut earliest = Some(unsafe { (*header).earliest });
            if earliest.is_some_and(|earliest| earliest < now) {
                let len_before = self.len;
                earliest = self.expire_segment(around, segment, now, budget, &mut walked.taken, &mut due);
                if let Some(earliest) = earliest {
                    // SAFETY: as above.
                    unsafe { (*header).earliest = earliest };
                }
                if self.len < len_before {
                    self.settle(around, position);
                }
            }
            let Some(earliest) = earliest else {
                return walked;
            };
            walked.earliest = walked.earliest.min(earliest);
            walked.next = next;
        }
        walked
    }

    /// The lower bound of the earliest expiry that a walk has found.
    pub(crate) fn set_earliest(&mut self, earliest: Millis) {
        self.earliest = earliest;
    }

    /// Takes what is due in one segment. Returns its earliest expiry then, or `None` if the budget ended before.
    fn expire_segment(
        &mut self,
        around: &Surroundings<'_, E>,
        segment: SegmentRef,
        now: Millis,
        budget: usize,
        taken: &mut usize,
        due: &mut impl FnMut(Due<E>) -> Remains,
    ) -> Option<Millis> {
        let mut earliest = Millis::NEVER;
        for index in 0..segment.buckets() {
            // SAFETY: the segment is in the directory, and the table is borrowed mutably.
            for (place, word, _) in unsafe { segment.words_in(index) } {
                if !word.is_volatile() {
                    continue;
                }
                let element = Self::element(word);
                let before = Expiries::of(element);
                if before.earliest() >= now {
                    earliest = earliest.min(before.earliest());
                    continue;
                }
                if *taken == budget {
                    return None;
                }
                let at = self.unlock(around.capture, place);
                if before.own.is_some_and(|at| at < now) {
                    *taken += 1;
                    due(Due::Element(self.unlink(at)));
                    continue;
                }
                let remains = due(Due::Parts(element, budget - *taken));
                self.expiries_changed(&at, before, Expiries::of(element));
                match remains {
                    Remains::Something { taken: parts } => *taken += parts,
                    Remains::Nothing { taken: parts } => {
                        *taken += parts;
                        due(Due::Element(self.unlink(at)));
                        continue;
                    }
                }
                let left = Expiries::of(element).earliest();
                if left < now {
                    return None;
                }
                earliest = earliest.min(left);
            }
        }
        Some(earliest)
    }

    /// The table leaves the keyspace: its bytes no longer count there.
    pub(crate) fn disown(&self, counters: &TableCounters) {
        Work { bytes_gained: -(self.table_bytes() as isize), ..Work::default() }.commit(counters);
    }

    /// Frees everything.
    pub(crate) fn clear(&mut self) {
        for segment in self.directory.segments() {
            // SAFETY: as in `walk`; the segments are freed below, so that nobody sees the elements again.
            for (_, word, _) in unsafe { segment.words() } {
                // SAFETY: as above.
                unsafe { Self::element(word).dispose() };
            }
        }
        self.give_back(&mut Work::default());
        (self.len, self.volatile, self.volatile_in_parts) = (0, 0, 0);
        (self.earliest, self.expiry_sum) = (Millis::NEVER, Sum(0));
    }
}

/// A table, whatever its elements are: enough to ask for memory.
#[derive(Clone, Copy)]
pub(crate) struct Buckets<'a>(&'a Directory);

impl<'a> Buckets<'a> {
    /// Asks for what leads to the segment.
    #[inline]
    pub(crate) fn prefetch_directory(&self, position: u64) {
        self.0.prefetch(position);
    }

    /// Asks for the home bucket's cache line.
    #[inline]
    pub(crate) fn prefetch_bucket(&self, position: u64) {
        let segment = self.0.segment(position);
        if !segment.is_none() {
            prefetch(segment.bucket(segment.home(segment.tag_of(position))).cast());
        }
    }

    /// Asks for what is changed when an element is put in.
    #[inline]
    pub(crate) fn prefetch_for_insert(&self, position: u64) {
        let segment = self.0.segment(position);
        if !segment.is_none() {
            prefetch_for_write(segment.header().cast_const().cast());
            prefetch_for_write(segment.bucket(segment.home(segment.tag_of(position))).cast_const().cast());
        }
    }

    /// Asks for the element that the home bucket, which should have arrived by now, names for this position.
    #[inline]
    pub(crate) fn prefetch_element(&self, position: u64) {
        if let Some(ahead) = (*self).ahead(position)
            && !ahead.prefetch_element()
        {
            ahead.prefetch_displaced();
        }
    }

    /// For lookups of several keys, whose cache misses are to overlap; `None`: there is nothing to ask for.
    #[inline]
    pub(crate) fn ahead(self, position: u64) -> Option<Ahead<'a>> {
        let segment = self.0.segment(position);
        (!segment.is_none()).then_some(Ahead { segment, position, table: PhantomData })
    }
}

/// A lookup that begins before its turn: three passes, each over all keys of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Ahead<'a> {
    segment: SegmentRef,
    position: u64,
    table: PhantomData<Buckets<'a>>,
}

impl Ahead<'_> {
    /// So many buckets behind its home an element is looked for: few are farther away.
    const STEPS_MAX: usize = 4;

    #[inline]
    fn home(&self) -> usize {
        self.segment.home(self.segment.tag_of(self.position))
    }

    /// First pass: asks for the home bucket's cache line.
    #[inline]
    pub(crate) fn prefetch_bucket(&self) {
        prefetch(self.segment.bucket(self.home()).cast_const().cast());
    }

    /// Second pass: asks for the element that the home bucket names. False: it lives behind its home, if anywhere, and the lines there
    /// were asked for.
    #[inline]
    pub(crate) fn prefetch_element(&self) -> bool {
        let home = self.home();
        let bucket = self.bucket(home);
        if self.prefetch_candidate(bucket) || bucket.displaced() == 0 {
            return true;
        }
        for step in 1..=2.min(self.segment.buckets() - 1) {
            prefetch(self.segment.bucket(self.segment.bucket_after(home, step)).cast_const().cast());
        }
        false
    }

    /// Third pass, for those: asks for the element.
    #[inline]
    pub(crate) fn prefetch_displaced(&self) {
        let home = self.home();
        for step in 1..=Self::STEPS_MAX.min(self.segment.buckets() - 1) {
            if self.prefetch_candidate(self.bucket(self.segment.bucket_after(home, step))) {
                return;
            }
        }
    }

    #[inline]
    fn bucket(&self, index: usize) -> &Bucket {
        // SAFETY: segments in the directory are live, and the table is borrowed.
        unsafe { &*self.segment.bucket(index) }
    }

    /// Asks for the element in this bucket that can be the one, if there is any.
    #[inline]
    fn prefetch_candidate(&self, bucket: &Bucket) -> bool {
        let tag = self.segment.tag_of(self.position);
        let word = bucket.candidates(fingerprint_of(self.position)).map(|slot| bucket.words[slot]).find(|word| {
            // As in `find_in`.
            !word.is_empty() && (word.tag() ^ tag) >> (TAG_BITS - HOME_BITS) == 0
        });
        let Some(word) = word else { return false };
        let address = word.address().cast_const();
        prefetch(address);
        // Elements are not aligned to lines: most small ones reach into the next.
        prefetch(address.wrapping_add(63));
        true
    }
}

/// Whether a split sends this word to the upper half.
fn is_high(word: Word) -> bool {
    word.tag() >> (TAG_BITS - 1) == 1
}

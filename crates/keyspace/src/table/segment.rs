//! A segment: one allocation of a header and up to 63 buckets, which grows, splits and merges as a whole.
//!
//! Everything here works on words and never looks behind their pointers, so that a segment is resized without touching its elements.

use std::ptr::NonNull;

use super::word::{TAG_BITS, Word};
use crate::{Millis, slab};

pub(super) const LINE_BYTES: usize = 64;

/// Words in a bucket.
pub(super) const BUCKET_WORDS: usize = 7;

/// How many bits of the tag decide the home bucket. The others are spare bits for splits.
pub(super) const HOME_BITS: u32 = 12;

/// The sizes of segments in cache lines, header included. Small steps keep the room that waits for keys small.
const SIZES_LINES: [usize; 10] = [2, 4, 8, 16, 24, 32, 40, 48, 56, 64];

/// The six bits of the meta byte that count displaced words (two are not used) are all set when there were too many to count, until
/// the segment is made anew. A keyed hash never gets there by itself, but whoever deletes keys in SCAN's order leaves segments with all their keys at one end, and
/// when those shrink or merge, their keys crowd.
const DISPLACED_UNCOUNTED: u8 = 63;

/// How full a segment of so many buckets gets before it grows. Fuller saves half a byte a key, and displaces so many words that lookups take a tenth longer.
/// With few buckets probing to the last one is cheap.
pub(super) fn len_max(buckets: usize) -> usize {
    let words = buckets * BUCKET_WORDS;
    if buckets <= 3 { words } else { words * 7 / 8 }
}

/// The smallest size whose `len_max` reaches `len`, at most `lines_max`.
pub(super) fn lines_for(len: usize, lines_max: usize) -> usize {
    SIZES_LINES.into_iter().find(|&lines| len_max(lines - 1) >= len || lines >= lines_max).unwrap_or(lines_max)
}

/// The size after `lines`, if there is one.
pub(super) fn lines_after(lines: usize, lines_max: usize) -> Option<usize> {
    SIZES_LINES.into_iter().find(|&next| next > lines && next <= lines_max)
}

pub(super) fn is_size(lines: usize) -> bool {
    SIZES_LINES.contains(&lines)
}

#[repr(C, align(64))]
pub(super) struct Header {
    /// Lower bound of the earliest expiry in this segment.
    pub(super) earliest: Millis,
    pub(super) len: u16,
    /// Words with an expiry.
    pub(super) volatile: u16,
    /// How many leading bits of the tags are true hash bits: [`HOME_BITS`] to [`TAG_BITS`]. A split uses one up.
    pub(super) tag_bits: u8,
    /// The number of the last cut that captured anything here, or during which this was made; 0 before the first.
    stamp: u32,
    /// Which home buckets were captured for the cut `stamp`, a bit each.
    done: u64,
}

const _: () = assert!(size_of::<Header>() == LINE_BYTES);

/// One cache line: a lookup that finds no displaced words at home ends here.
#[repr(C, align(64))]
pub(super) struct Bucket {
    pub(super) words: [Word; BUCKET_WORDS],
    /// Bytes 0 to 6: fingerprints of the words. Byte 7: in its low six bits, how many words at home here live in later buckets.
    tail: u64,
}

impl Bucket {
    /// How many words at home here live in other buckets; `usize::MAX` if there are, or were, too many to count.
    #[inline]
    pub(super) fn displaced(&self) -> usize {
        match self.displaced_field() {
            DISPLACED_UNCOUNTED => usize::MAX,
            count => count as usize,
        }
    }

    #[inline]
    fn displaced_field(&self) -> u8 {
        (self.tail >> 56) as u8 & DISPLACED_UNCOUNTED
    }

    fn add_displaced(&mut self) {
        if self.displaced_field() != DISPLACED_UNCOUNTED {
            self.tail += 1 << 56;
        }
    }

    fn remove_displaced(&mut self) {
        assert!(self.displaced_field() > 0);
        if self.displaced_field() != DISPLACED_UNCOUNTED {
            self.tail -= 1 << 56;
        }
    }

    fn put(&mut self, slot: usize, word: Word, fingerprint: u8) {
        self.words[slot] = word;
        self.tail = self.tail & !(0xff << (slot * 8)) | u64::from(fingerprint) << (slot * 8);
    }

    /// Slots that may hold a word with this fingerprint. May name too many (empty ones, and the one after a match), never too few.
    #[inline]
    pub(super) fn candidates(&self, fingerprint: u8) -> Candidates {
        let difference = self.tail ^ (u64::from(fingerprint) * 0x0101_0101_0101_0101);
        Candidates(difference.wrapping_sub(0x0101_0101_0101_0101) & !difference & 0x0080_8080_8080_8080)
    }

    fn empty_slot(&self) -> Option<usize> {
        self.words.iter().position(|word| word.is_empty())
    }
}

/// The slots of a bucket that are worth a look.
pub(super) struct Candidates(u64);

impl Iterator for Candidates {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let slot = self.0.trailing_zeros() as usize / 8;
        self.0 &= self.0 - 1;
        Some(slot)
    }
}

/// A segment's address with its number of buckets and its depth, so that a lookup computes the bucket's address without touching
/// the header. Zero is no segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentRef(pub(super) u64);

const ADDRESS_MASK: u64 = (1 << 48) - 1;

impl SegmentRef {
    /// An empty segment. While a cut is active, `cut` is its number, and there is nothing to capture in here.
    pub(super) fn new(lines: usize, depth: u32, tag_bits: u8, cut: Option<u32>) -> SegmentRef {
        let memory = slab::allocate_block(lines * LINE_BYTES);
        let address = memory.as_ptr().expose_provenance() as u64;
        assert!(address & !ADDRESS_MASK == 0, "addresses have 48 bits");
        let segment = SegmentRef(address | ((lines - 1) as u64) << 48 | u64::from(depth) << 54);
        let (stamp, done) = cut.map_or((0, 0), |number| (number, u64::MAX));
        let header = Header { earliest: Millis::NEVER, len: 0, volatile: 0, tag_bits, stamp, done };
        // SAFETY: freshly allocated, with room for the header.
        unsafe { memory.cast::<Header>().write(header) };
        segment
    }

    /// Gives back the memory of the segment; what its words point to is the caller's.
    ///
    /// # Safety
    /// The segment is live and not used any more.
    pub(super) unsafe fn free(self) {
        // SAFETY: the caller's promise; allocated with this size.
        unsafe { slab::free_block(self.memory(), self.bytes()) }
    }

    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }

    fn memory(self) -> NonNull<u8> {
        NonNull::new(self.base()).expect("a segment has an address")
    }

    /// Whether compaction wants it elsewhere.
    ///
    /// # Safety
    /// The segment is live.
    pub(super) unsafe fn should_move(self) -> bool {
        // SAFETY: the caller's promise.
        unsafe { slab::should_move(self.memory(), self.bytes()) }
    }

    fn base(self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut((self.0 & ADDRESS_MASK) as usize)
    }

    #[inline]
    pub(super) fn buckets(self) -> usize {
        (self.0 >> 48) as usize & 63
    }

    pub(super) fn lines(self) -> usize {
        self.buckets() + 1
    }

    pub(super) fn bytes(self) -> usize {
        self.lines() * LINE_BYTES
    }

    /// How many leading bits of the position all words here share.
    #[inline]
    pub(super) fn depth(self) -> u32 {
        (self.0 >> 54) as u32
    }

    pub(super) fn header(self) -> *mut Header {
        self.base().cast()
    }

    #[inline]
    pub(super) fn bucket(self, index: usize) -> *mut Bucket {
        debug_assert!(index < self.buckets());
        // SAFETY: within the allocation: the header's line, then the buckets.
        unsafe { self.base().cast::<Bucket>().add(1 + index) }
    }

    /// The tag of a word at this position here: the hash bits below the depth.
    #[inline]
    pub(super) fn tag_of(self, position: u64) -> u16 {
        ((position << self.depth()) >> (64 - TAG_BITS)) as u16
    }

    /// The home bucket of a tag: monotone in the tag and so in the hash, which is what the order of SCAN stands on.
    #[inline]
    pub(super) fn home(self, tag: u16) -> usize {
        ((tag >> (TAG_BITS - HOME_BITS)) as usize * self.buckets()) >> HOME_BITS
    }

    /// The first position after bucket `home`, counted from the segment's start; `None` after the last bucket.
    pub(super) fn home_end(self, home: usize) -> Option<u64> {
        let next = ((home + 1) << HOME_BITS).div_ceil(self.buckets()) as u64;
        (next < 1 << HOME_BITS).then(|| (next << (64 - HOME_BITS)) >> self.depth())
    }

    /// Puts a word where its tag says; `None` if the segment is full.
    ///
    /// # Safety
    /// The segment is live, and nobody else refers to it; likewise below.
    pub(super) unsafe fn place(self, word: Word, fingerprint: u8) -> Option<Place> {
        let home = self.home(word.tag());
        for step in 0..self.buckets() {
            let index = self.bucket_after(home, step);
            // SAFETY: the caller's promise.
            let bucket = unsafe { &mut *self.bucket(index) };
            let Some(slot) = bucket.empty_slot() else { continue };
            bucket.put(slot, word, fingerprint);
            // SAFETY: the caller's promise; `bucket` is not used again.
            unsafe {
                if step > 0 {
                    (*self.bucket(home)).add_displaced();
                }
                (*self.header()).len += 1;
            }
            return Some(Place { segment: self, bucket: index as u16, slot: slot as u16 });
        }
        None
    }

    /// Visits the words at home in one bucket, wherever they live.
    ///
    /// # Safety
    /// As for `place`.
    #[inline]
    pub(super) unsafe fn visit_home(self, home: usize, mut visit: impl FnMut(Place, Word)) {
        // SAFETY: the caller's promise; likewise below.
        let mut displaced = unsafe { &*self.bucket(home) }.displaced();
        for step in 0..self.buckets() {
            let index = self.bucket_after(home, step);
            // SAFETY: as above.
            for (place, word, _) in unsafe { self.words_in(index) } {
                if self.home(word.tag()) == home {
                    visit(place, word);
                    displaced -= usize::from(step > 0);
                }
            }
            if displaced == 0 {
                break;
            }
        }
    }

    /// The bucket so many steps, fewer than there are buckets, behind another: behind the last comes the first. (A remainder takes longer than all else
    /// that finds a place.)
    #[inline]
    pub(super) fn bucket_after(self, index: usize, step: usize) -> usize {
        let after = index + step;
        if after < self.buckets() { after } else { after - self.buckets() }
    }

    /// A bit for every home bucket.
    fn all_homes(self) -> u64 {
        u64::MAX >> (64 - self.buckets())
    }

    /// Which home buckets are still to be captured for this cut, a bit each.
    ///
    /// # Safety
    /// As for `place`.
    #[inline]
    pub(super) unsafe fn undone(self, cut: u32) -> u64 {
        // SAFETY: the caller's promise.
        let header = unsafe { &*self.header() };
        if header.stamp == cut { !header.done & self.all_homes() } else { self.all_homes() }
    }

    /// # Safety
    /// As for `place`.
    pub(super) unsafe fn mark_done(self, home: usize, cut: u32) {
        // SAFETY: the caller's promise.
        let header = unsafe { &mut *self.header() };
        if header.stamp != cut {
            (header.stamp, header.done) = (cut, 0);
        }
        header.done |= 1 << home;
    }

    /// # Safety
    /// As for `place`.
    pub(super) unsafe fn words(self) -> impl Iterator<Item = (Place, Word, u8)> {
        // SAFETY: the caller's promise.
        (0..self.buckets()).flat_map(move |index| unsafe { self.words_in(index) })
    }

    /// The words of one bucket, with their fingerprints.
    ///
    /// # Safety
    /// As for `place`.
    pub(super) unsafe fn words_in(self, index: usize) -> impl Iterator<Item = (Place, Word, u8)> {
        // SAFETY: the caller's promise; a copy, so that the visitor may change the bucket.
        let (words, tail) = unsafe { ((*self.bucket(index)).words, (*self.bucket(index)).tail) };
        words.into_iter().enumerate().filter(|(_, word)| !word.is_empty()).map(move |(slot, word)| {
            (Place { segment: self, bucket: index as u16, slot: slot as u16 }, word, (tail >> (slot * 8)) as u8)
        })
    }
}

/// Where a word lives: valid until the table is changed.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(super) segment: SegmentRef,
    pub(super) bucket: u16,
    pub(super) slot: u16,
}

impl Place {
    /// # Safety
    /// The place is still valid, and the table is held; likewise below.
    #[inline]
    pub(super) unsafe fn word(self) -> *mut Word {
        // SAFETY: the caller's promise.
        unsafe { &raw mut (*self.segment.bucket(self.bucket as usize)).words[self.slot as usize] }
    }

    /// Empties the slot; header figures other than `len` are the caller's.
    pub(super) unsafe fn clear(self) -> Word {
        // SAFETY: the caller's promise; the references do not overlap in time.
        unsafe {
            let word = *self.word();
            (*self.segment.bucket(self.bucket as usize)).put(self.slot as usize, Word::EMPTY, 0);
            let home = self.segment.home(word.tag());
            if home != self.bucket as usize {
                (*self.segment.bucket(home)).remove_displaced();
            }
            (*self.segment.header()).len -= 1;
            word
        }
    }
}

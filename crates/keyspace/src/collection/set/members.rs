//! The encoding `hashtable`: a table of members.
//!
//! A member is one allocation, its length and its text, so that a 12-byte member takes 16 bytes and its share of the table.

use std::fmt;
use std::ptr::{self, NonNull};

use crate::collection::table::{CollectionElement, ElementTable, Opened, member_hash};
use crate::entry::{read_varint, varint_len, write_varint};
use crate::snapshot::ElementRef;
use crate::table::{Buckets, Element};
use crate::{Millis, slab};

/// The pointer to a member. Copies alias; the table owns it.
#[derive(Clone, Copy)]
struct Member(NonNull<u8>);

impl Member {
    fn new(text: &[u8]) -> Member {
        let pointer = slab::allocate(varint_len(text.len()) + text.len());
        // SAFETY: allocated for exactly this.
        unsafe {
            let at = write_varint(pointer.as_ptr(), text.len());
            ptr::copy_nonoverlapping(text.as_ptr(), at, text.len());
        }
        Member(pointer)
    }

    /// # Safety
    /// The member is live for `'a`.
    #[inline]
    unsafe fn text<'a>(self) -> &'a [u8] {
        // SAFETY: a live member is its length and so many bytes; the caller answers for the lifetime.
        unsafe {
            let (len, at) = read_varint(self.0.as_ptr());
            std::slice::from_raw_parts(at, len)
        }
    }

    fn bytes(self) -> usize {
        // SAFETY: a live member.
        let len = unsafe { self.text() }.len();
        varint_len(len) + len
    }
}

// SAFETY: the slab aligns to 8, and its addresses are below 2^48 (`Word::new` asserts it).
unsafe impl Element for Member {
    #[inline]
    fn address(self) -> *mut u8 {
        self.0.as_ptr()
    }

    #[inline]
    unsafe fn from_address(address: *mut u8) -> Member {
        // SAFETY: the caller's promise: it was a member's.
        Member(unsafe { NonNull::new_unchecked(address) })
    }

    #[inline]
    unsafe fn key<'a>(self) -> &'a [u8] {
        // SAFETY: the caller's promise.
        unsafe { self.text() }
    }

    #[inline]
    fn expire_at(self) -> Option<Millis> {
        None
    }

    unsafe fn dispose(self) {
        // SAFETY: the caller gives the member up; its length is what was allocated.
        unsafe { slab::free(self.0, self.bytes()) }
    }
}

impl CollectionElement for Member {
    fn used_bytes(self) -> usize {
        self.bytes()
    }

    unsafe fn view<'a>(self) -> ElementRef<'a> {
        // SAFETY: the caller's promise.
        ElementRef::Member(unsafe { self.text() })
    }
}

/// How many lookups of a batch wait for memory together.
const BATCH: usize = 16;

/// Members in a table.
#[derive(Default)]
pub struct Members {
    table: ElementTable<Member>,
    /// Bytes of the members.
    bytes: usize,
}

// SAFETY: the members are the table's alone.
unsafe impl Send for Members {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Members {}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn buckets(&self) -> Buckets<'_> {
        self.table.buckets()
    }

    pub(crate) fn compact(&mut self, from: u64, count: usize) -> Option<u64> {
        self.table.compact(from, count, |_, _| ())
    }

    pub(crate) fn opened(&mut self) -> &mut dyn Opened {
        &mut self.table
    }

    #[inline]
    pub(super) fn contains(&self, text: &[u8]) -> bool {
        self.contains_hashed(member_hash(text), text)
    }

    #[inline]
    fn contains_hashed(&self, hash: u64, text: &[u8]) -> bool {
        self.table.find(hash, text).is_some()
    }

    /// Says whether it is new.
    #[inline]
    pub(super) fn insert(&mut self, text: &[u8]) -> bool {
        self.insert_hashed(member_hash(text), text)
    }

    #[inline]
    fn insert_hashed(&mut self, hash: u64, text: &[u8]) -> bool {
        if self.table.find(hash, text).is_some() {
            return false;
        }
        let member = Member::new(text);
        self.bytes += slab::rounded(member.bytes());
        self.table.insert(hash, member);
        true
    }

    /// Says whether it was there.
    pub(super) fn remove(&mut self, text: &[u8]) -> bool {
        let hash = member_hash(text);
        let Some(found) = self.table.find_unlocked(hash, text) else { return false };
        let member = self.table.remove(hash, found);
        self.bytes -= slab::rounded(member.bytes());
        // SAFETY: out of the table, it is nobody's.
        unsafe { member.dispose() };
        true
    }

    /// Visits every member; memory is asked for some steps ahead.
    #[inline]
    pub(super) fn for_each<'a>(&'a self, mut visit: impl FnMut(&'a [u8])) {
        // SAFETY: members are live while the table is borrowed.
        self.table.visit_all(|member| visit(unsafe { member.text() }));
    }

    /// Visits every member until told to stop.
    pub(super) fn try_for_each<'a>(
        &'a self,
        mut visit: impl FnMut(&'a [u8]) -> std::ops::ControlFlow<()>,
    ) -> std::ops::ControlFlow<()> {
        // SAFETY: as above.
        self.table.for_each(|member| visit(unsafe { member.text() }))
    }

    /// Says of every text whether it is here. The lookups' cache misses overlap.
    pub(super) fn contains_each<'t>(&self, texts: &[&'t [u8]], mut visit: impl FnMut(&'t [u8], bool)) {
        for texts in texts.chunks(BATCH) {
            let mut hashes = [0; BATCH];
            for (hash, text) in hashes.iter_mut().zip(texts) {
                *hash = member_hash(text);
                self.table.prefetch_bucket(*hash);
            }
            hashes[..texts.len()].iter().for_each(|hash| self.table.prefetch_element(*hash));
            for (hash, text) in hashes.iter().zip(texts) {
                visit(text, self.contains_hashed(*hash, text));
            }
        }
    }

    /// See [`ElementTable::scan`].
    pub(super) fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(&'a [u8])) -> u64 {
        // SAFETY: as in `for_each`.
        self.table.scan(cursor, count, |member| visit(unsafe { member.text() }))
    }

    /// A member chosen fairly.
    pub(super) fn random(&self, random: impl FnMut() -> u64) -> Option<&[u8]> {
        // SAFETY: as in `for_each`.
        self.table.random(random).map(|member| unsafe { member.text() })
    }

    pub(super) fn memory_usage(&self) -> usize {
        size_of::<Members>() + self.table.table_bytes() + self.bytes
    }
}

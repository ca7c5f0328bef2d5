//! The encoding `hashtable`: a table of fields.
//!
//! A field is one allocation:
//!
//! ```text
//! flags  [expiry]  name length  value length  name  value
//! 1      8         varint       varint
//! ```
//!
//! A 16-byte name with a 16-byte value takes 35 bytes, in a slot of 40. A value that changes is written in place where its allocation
//! has the right size.

use std::fmt;
use std::ptr::{self, NonNull};

use super::FieldRef;
use crate::collection::listpack::Item;
use crate::collection::table::{CollectionElement, ElementTable, Opened, member_hash};
use crate::entry::{read_varint, varint_len, write_varint};
use crate::snapshot::ElementRef;
use crate::table::{Buckets, Due, Element, Remains, Unlocked};
use crate::{Expiry, Millis, slab};

const HAS_EXPIRY: u8 = 1;
const EXPIRY_AT: usize = 1;
const EXPIRY_BYTES: usize = 8;

/// How many segments one slice of the walk over due fields looks at: a large hash has thousands, and most slices find little.
const SLICE_SEGMENTS_MAX: usize = 256;

/// The pointer to a field. Copies alias; the table owns the field.
#[derive(Clone, Copy)]
struct Field(NonNull<u8>);

/// Where the parts of a field lie.
struct Parts {
    name: *const u8,
    name_len: usize,
    value_len: usize,
}

fn encoded_len(name: &[u8], value: &[u8], expiry: Option<Millis>) -> usize {
    EXPIRY_AT
        + usize::from(expiry.is_some()) * EXPIRY_BYTES
        + varint_len(name.len())
        + varint_len(value.len())
        + name.len()
        + value.len()
}

impl Field {
    fn new(name: &[u8], value: &[u8], expiry: Option<Millis>) -> Field {
        let field = Field(slab::allocate(encoded_len(name, value, expiry)));
        // SAFETY: allocated for exactly this.
        unsafe { field.write(name, value, expiry) };
        field
    }

    /// # Safety
    /// The allocation fits [`encoded_len`], and is this caller's alone; name and value lie elsewhere.
    unsafe fn write(self, name: &[u8], value: &[u8], expiry: Option<Millis>) {
        let start = self.0.as_ptr();
        // SAFETY: the caller's promise, part by part as `encoded_len` adds them up.
        unsafe {
            let mut at = start.add(EXPIRY_AT);
            start.write(0);
            if let Some(Millis(at_ms)) = expiry {
                start.write(HAS_EXPIRY);
                at.cast::<i64>().write_unaligned(at_ms);
                at = at.add(EXPIRY_BYTES);
            }
            at = write_varint(at, name.len());
            at = write_varint(at, value.len());
            ptr::copy_nonoverlapping(name.as_ptr(), at, name.len());
            ptr::copy_nonoverlapping(value.as_ptr(), at.add(name.len()), value.len());
        }
    }

    #[inline]
    fn flags(self) -> u8 {
        // SAFETY: a live field.
        unsafe { self.0.as_ptr().read() }
    }

    #[inline]
    fn parts(self) -> Parts {
        let expiry_len = if self.flags() & HAS_EXPIRY != 0 { EXPIRY_BYTES } else { 0 };
        // SAFETY: a live field has these parts in this order.
        unsafe {
            let (name_len, at) = read_varint(self.0.as_ptr().add(EXPIRY_AT + expiry_len).cast_const());
            let (value_len, name) = read_varint(at);
            Parts { name, name_len, value_len }
        }
    }

    /// Bytes the field uses of its allocation.
    fn len(self) -> usize {
        let parts = self.parts();
        parts.name.addr() + parts.name_len + parts.value_len - self.0.as_ptr().addr()
    }

    /// # Safety
    /// The field is live and unchanged for `'a`.
    #[inline]
    unsafe fn view<'a>(self) -> FieldRef<'a> {
        let parts = self.parts();
        // SAFETY: name and value lie there; the caller answers for the lifetime.
        unsafe {
            FieldRef {
                name: Item::Bytes(std::slice::from_raw_parts(parts.name, parts.name_len)),
                value: Item::Bytes(std::slice::from_raw_parts(parts.name.add(parts.name_len), parts.value_len)),
                expire_at: self.expire_at(),
            }
        }
    }
}

// SAFETY: the slab aligns to 8, and its addresses are below 2^48 (`Word::new` asserts it).
unsafe impl Element for Field {
    #[inline]
    fn address(self) -> *mut u8 {
        self.0.as_ptr()
    }

    #[inline]
    unsafe fn from_address(address: *mut u8) -> Field {
        // SAFETY: the caller's promise: it was a field's.
        Field(unsafe { NonNull::new_unchecked(address) })
    }

    #[inline]
    unsafe fn key<'a>(self) -> &'a [u8] {
        let parts = self.parts();
        // SAFETY: the name lies there; the caller answers for the lifetime.
        unsafe { std::slice::from_raw_parts(parts.name, parts.name_len) }
    }

    #[inline]
    fn expire_at(self) -> Option<Millis> {
        // SAFETY: a live field with the flag has the expiry.
        (self.flags() & HAS_EXPIRY != 0)
            .then(|| Millis(unsafe { self.0.as_ptr().add(EXPIRY_AT).cast::<i64>().read_unaligned() }))
    }

    unsafe fn dispose(self) {
        // SAFETY: the caller gives the field up; `len` rounds to what was allocated.
        unsafe { slab::free(self.0, self.len()) }
    }
}

impl CollectionElement for Field {
    fn used_bytes(self) -> usize {
        self.len()
    }

    unsafe fn view<'a>(self) -> ElementRef<'a> {
        // SAFETY: the caller's promise.
        ElementRef::Field(unsafe { Field::view(self) })
    }
}

impl Unlocked<Field> {
    /// Writes another value and expiry in place, if that is possible.
    ///
    /// # Safety
    /// The table is held alone; name and value lie elsewhere.
    unsafe fn try_write(&self, name: &[u8], value: &[u8], expiry: Option<Millis>) -> bool {
        let field = self.element();
        let fits = slab::rounded(encoded_len(name, value, expiry)) == slab::rounded(field.len());
        if fits {
            // SAFETY: the caller's promise; it fits.
            unsafe { field.write(name, value, expiry) };
        }
        fits
    }

    /// # Safety
    /// The table is held alone, and the field has an expiry.
    unsafe fn write_expiry(&self, Millis(at): Millis) {
        // SAFETY: the caller's promise.
        unsafe { self.element().0.as_ptr().add(EXPIRY_AT).cast::<i64>().write_unaligned(at) }
    }
}

/// A hash's fields.
pub(super) struct Fields {
    table: ElementTable<Field>,
    /// How far the walk over due fields has come ...
    walked_to: u64,
    /// ... and the earliest expiry behind it.
    walked_earliest: Millis,
}

// SAFETY: the table owns its fields, and changes them through `&mut` only.
unsafe impl Send for Fields {}
// SAFETY: as above.
unsafe impl Sync for Fields {}

impl Default for Fields {
    fn default() -> Fields {
        Fields { table: ElementTable::default(), walked_to: 0, walked_earliest: Millis::NEVER }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fields", self.len())
    }
}

impl Fields {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn buckets(&self) -> Buckets<'_> {
        self.table.buckets()
    }

    pub(super) fn compact(&mut self, from: u64, count: usize) -> Option<u64> {
        self.table.compact(from, count, |_, _| ())
    }

    pub(super) fn opened(&mut self) -> &mut dyn Opened {
        &mut self.table
    }

    #[inline]
    pub(super) fn earliest(&self) -> Option<Millis> {
        let table = self.table.table();
        (table.volatile_len() > 0).then(|| table.earliest())
    }

    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<FieldRef<'_>> {
        let field = self.table.find(member_hash(name), name)?;
        // SAFETY: the field is in the table, which is borrowed; likewise below.
        Some(unsafe { Field::view(field) })
    }

    #[inline]
    pub(super) fn visit<'a>(&'a self, mut visit: impl FnMut(FieldRef<'a>)) {
        // SAFETY: as above.
        self.table.visit_all(|field| visit(unsafe { Field::view(field) }));
    }

    pub(super) fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(FieldRef<'a>)) -> u64 {
        // SAFETY: as above.
        self.table.scan(cursor, count, |field| visit(unsafe { Field::view(field) }))
    }

    pub(super) fn random(&self, random: impl FnMut() -> u64) -> Option<FieldRef<'_>> {
        // SAFETY: as above.
        self.table.random(random).map(|field| unsafe { Field::view(field) })
    }

    #[inline]
    pub(super) fn set(&mut self, name: &[u8], value: &[u8], expiry: Expiry) -> bool {
        let hash = member_hash(name);
        let found = self.table.find_unlocked(hash, name);
        let old_expiry = found.as_ref().and_then(|found| found.element().expire_at());
        let expiry = match expiry {
            Expiry::Clear => None,
            Expiry::Keep => old_expiry,
            Expiry::At(at) => Some(at),
        };
        self.note(expiry);
        let Some(mut found) = found else {
            self.table.insert(hash, Field::new(name, value, expiry));
            return true;
        };
        // SAFETY: the table is borrowed mutably, so that the field is this caller's alone; what is replaced is not used again.
        unsafe {
            if found.try_write(name, value, expiry) {
                self.table.expiry_changed(&found, old_expiry, expiry);
            } else {
                self.table.replace(&mut found, Field::new(name, value, expiry)).dispose();
            }
        }
        false
    }

    pub(super) fn set_expiry(&mut self, name: &[u8], expiry: Option<Millis>) -> bool {
        let Some(mut found) = self.table.find_unlocked(member_hash(name), name) else { return false };
        let old_expiry = found.element().expire_at();
        self.note(expiry);
        // SAFETY: as in `set`.
        unsafe {
            match (old_expiry, expiry) {
                (None, None) => {}
                (Some(_), Some(at)) => {
                    found.write_expiry(at);
                    self.table.expiry_changed(&found, old_expiry, expiry);
                }
                _ => {
                    let FieldRef { value: Item::Bytes(value), .. } = Field::view(found.element()) else {
                        unreachable!("a table keeps texts")
                    };
                    let field = Field::new(name, value, expiry);
                    self.table.replace(&mut found, field).dispose();
                }
            }
        }
        true
    }

    /// An expiry that is set behind a walk must not be forgotten when it ends.
    #[inline]
    fn note(&mut self, expiry: Option<Millis>) {
        if let Some(at) = expiry {
            self.walked_earliest = self.walked_earliest.min(at);
        }
    }

    #[inline]
    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        let hash = member_hash(name);
        let Some(found) = self.table.find_unlocked(hash, name) else { return false };
        // SAFETY: it is out of the table, which was its only owner.
        unsafe { self.table.remove(hash, found).dispose() };
        true
    }

    pub(super) fn expire_due(&mut self, now: Millis, budget: usize, mut gone: impl FnMut(&[u8])) -> usize {
        if self.earliest().is_none_or(|at| at >= now) {
            return 0;
        }
        if self.walked_to == 0 {
            // What was noted before the walk is in the table.
            self.walked_earliest = Millis::NEVER;
        }
        let take = |due: Due<Field>| {
            let Due::Element(field) = due else { unreachable!("a field has no parts") };
            // SAFETY: the field is out of the table, which was its only owner.
            unsafe {
                gone(field.key());
                field.dispose();
            }
            Remains::Nothing { taken: 0 }
        };
        let Fields { table, walked_to, walked_earliest } = self;
        table.change(|table, around| {
            let walked = table.expire_from(around, now, *walked_to, SLICE_SEGMENTS_MAX, budget, take);
            *walked_earliest = walked.earliest.min(*walked_earliest);
            match walked.next {
                Some(position) => *walked_to = position,
                None => {
                    table.set_earliest(*walked_earliest);
                    (*walked_to, *walked_earliest) = (0, Millis::NEVER);
                }
            }
            walked.taken
        })
    }

    pub(super) fn duplicate(&self) -> Fields {
        let mut copy = Fields::default();
        self.visit(|field| {
            let (Item::Bytes(name), Item::Bytes(value)) = (field.name, field.value) else {
                unreachable!("a table keeps texts")
            };
            copy.note(field.expire_at);
            copy.table.insert(member_hash(name), Field::new(name, value, field.expire_at));
        });
        copy
    }

    pub(super) fn memory_usage(&self, samples: usize) -> usize {
        let bytes = |field: Field| slab::rounded(field.len());
        let fields = match samples {
            0 => self.table.iter().map(bytes).sum(),
            samples => {
                let sampled = samples.min(self.len());
                let sum: usize = self.table.iter().take(sampled).map(bytes).sum();
                (sum as f64 / sampled.max(1) as f64 * self.len() as f64) as usize
            }
        };
        self.table.table_bytes() + size_of::<Fields>() - size_of::<ElementTable<Field>>() + fields
    }
}

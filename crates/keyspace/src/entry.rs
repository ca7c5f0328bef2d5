//! An entry: a key and its value in one allocation.
//!
//! ```text
//! flags  access bits  [expiry]  key length  [value length]  key  value
//! 1      3            8         varint      varint
//! ```
//!
//! The expiry is there for volatile keys only, the value's length for inline text only. The value is the text itself, 8 bytes of an integer, or 8 bytes of
//! a pointer. Nothing after the flags is aligned: a byte saved in each of millions of entries is worth an unaligned load.
//! A 15-byte key with a 32-byte value takes 53 bytes, in a slot of 56.
//!
//! [`RawEntry`] is the unchecked pointer the table keeps; [`Entry`], [`EntryMut`] and [`Removed`] are what callers see.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::RangeInclusive;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use crate::collection::{CODE_SHIFT, Code, Collection, Hash, Object, ObjectRef, TypedMut, TypedRef};
use crate::garbage::{release_object, release_text};
use crate::table::{Buckets, Element, Expiries, Remains, Table, Unlocked};
use crate::value::{GROWN_INLINE_LEN_MAX, LARGE_LEN_MIN, LargeRef, StrRef, StrRepr, canonical_int};
use crate::{IntBuffer, Millis, NewValue, ValueRef, slab};

const KIND_MASK: u8 = 3;
const KIND_TEXT: u8 = 0;
const KIND_INT: u8 = 1;
const KIND_LARGE: u8 = 2;
/// The upper half of the flags says which collection in which encoding.
const KIND_OBJECT: u8 = 3;
const HAS_EXPIRY: u8 = 4;
const RAW: u8 = 8;

const ACCESS_AT: usize = 1;
const EXPIRY_AT: usize = 4;
const EXPIRY_BYTES: usize = 8;
const WORD_BYTES: usize = 8;

/// `OBJECT ENCODING` says `embstr` where Redis 8.2 would fit key, value and expiry into 64 bytes: up to so many bytes of key and
/// value together without an expiry, and so many with one. A value that once did not fit stays `raw`, also when it would again.
/// (Observed. With an expiry and a key of 32 bytes or more Redis's answer hangs on its allocator as well; that is not followed.)
const EMBSTR_BYTES_MAX: usize = 41;
const EMBSTR_BYTES_MAX_WITH_EXPIRY: usize = EMBSTR_BYTES_MAX - EXPIRY_BYTES;

/// Beside the entry itself: its word and its share of the table.
const TABLE_BYTES_PER_ENTRY: usize = 12;

/// The reference counts and the `Vec` of an out-of-line text.
const LARGE_HEADER_BYTES: usize = 40;

/// A value as an entry will hold it.
pub(crate) enum Payload<'a> {
    Text { bytes: &'a [u8], raw: bool },
    Int(i64),
    Large(Arc<Vec<u8>>),
    Object(Code, NonNull<u8>),
}

impl<'a> From<NewValue<'a>> for Payload<'a> {
    fn from(value: NewValue<'a>) -> Payload<'a> {
        match value {
            NewValue::Bytes(bytes) => match canonical_int(bytes) {
                Some(number) => Payload::Int(number),
                None => Payload::text(bytes, false),
            },
            NewValue::Text(bytes) => Payload::text(bytes, false),
            NewValue::Raw(bytes) => Payload::text(bytes, true),
            NewValue::Int(number) => Payload::Int(number),
            NewValue::Large(text) => Payload::Large(text),
            NewValue::Object(object) => {
                let (code, pointer) = object.into_parts();
                Payload::Object(code, pointer)
            }
        }
    }
}

impl<'a> Payload<'a> {
    fn text(bytes: &'a [u8], raw: bool) -> Payload<'a> {
        if bytes.len() >= LARGE_LEN_MIN {
            Payload::Large(Arc::new(bytes.to_vec()))
        } else {
            Payload::Text { bytes, raw }
        }
    }

    fn flags(&self) -> u8 {
        match self {
            Payload::Text { raw: false, .. } => KIND_TEXT,
            Payload::Text { raw: true, .. } => KIND_TEXT | RAW,
            Payload::Int(_) => KIND_INT,
            Payload::Large(_) => KIND_LARGE | RAW,
            Payload::Object(code, _) => KIND_OBJECT | code << CODE_SHIFT,
        }
    }

    /// Bytes of the value and of its length.
    fn encoded_len(&self) -> usize {
        match self {
            Payload::Text { bytes, .. } => varint_len(bytes.len()) + bytes.len(),
            _ => WORD_BYTES,
        }
    }
}

/// The flags that follow from where a payload comes to lie.
#[inline]
fn placed_flags(key: &[u8], payload: &Payload<'_>, has_expiry: bool) -> u8 {
    let (expiry, embstr_bytes_max) =
        if has_expiry { (HAS_EXPIRY, EMBSTR_BYTES_MAX_WITH_EXPIRY) } else { (0, EMBSTR_BYTES_MAX) };
    match payload {
        Payload::Text { bytes, .. } if key.len() + bytes.len() > embstr_bytes_max => expiry | RAW,
        _ => expiry,
    }
}

/// An entry's bytes for such a key and payload.
fn encoded_len(key: &[u8], payload: &Payload<'_>, has_expiry: bool) -> usize {
    EXPIRY_AT + usize::from(has_expiry) * EXPIRY_BYTES + varint_len(key.len()) + key.len() + payload.encoded_len()
}

pub(crate) fn varint_len(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// # Safety
/// There is room for `varint_len(value)` bytes.
pub(crate) unsafe fn write_varint(mut at: *mut u8, mut value: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe {
        while value >= 0x80 {
            at.write(value as u8 | 0x80);
            at = at.add(1);
            value >>= 7;
        }
        at.write(value as u8);
        at.add(1)
    }
}

/// # Safety
/// A varint lies here.
#[inline]
pub(crate) unsafe fn read_varint(mut at: *const u8) -> (usize, *const u8) {
    // SAFETY: the caller's promise.
    unsafe {
        let first = at.read();
        at = at.add(1);
        if first < 0x80 {
            return (first as usize, at);
        }
        let mut value = (first & 0x7f) as usize;
        let mut shift = 7;
        loop {
            let byte = at.read();
            at = at.add(1);
            value |= ((byte & 0x7f) as usize) << shift;
            if byte < 0x80 {
                return (value, at);
            }
            shift += 7;
        }
    }
}

/// The pointer to an entry, as the table keeps it. Copies alias: who may read, write or free is settled by the types around it.
#[derive(Clone, Copy)]
pub(crate) struct RawEntry(NonNull<u8>);

// SAFETY: an entry owns what it points to, and all of that may be sent to and freed on any thread.
unsafe impl Send for RawEntry {}

/// Where the parts of an entry lie.
struct Parts {
    key: *const u8,
    key_len: usize,
    value: *const u8,
    /// Of inline text; otherwise 8.
    value_len: usize,
}

// SAFETY: the slab aligns to 8, and its addresses are the kernel's user addresses, below 2^48 (`Word::new` asserts it).
unsafe impl Element for RawEntry {
    fn address(self) -> *mut u8 {
        self.0.as_ptr()
    }

    #[inline]
    unsafe fn from_address(address: *mut u8) -> RawEntry {
        // SAFETY: the caller's promise: it was an entry's.
        RawEntry(unsafe { NonNull::new_unchecked(address) })
    }

    #[inline]
    unsafe fn key<'a>(self) -> &'a [u8] {
        let parts = self.parts();
        // SAFETY: the key lies there; the caller answers for the lifetime.
        unsafe { std::slice::from_raw_parts(parts.key, parts.key_len) }
    }

    #[inline]
    fn expire_at(self) -> Option<Millis> {
        // SAFETY: a live entry with the flag has the field.
        (self.flags() & HAS_EXPIRY != 0)
            .then(|| Millis(unsafe { self.0.as_ptr().add(EXPIRY_AT).cast::<i64>().read_unaligned() }))
    }

    #[inline]
    fn parts_expire_at(self) -> Option<Millis> {
        if self.flags() & KIND_MASK != KIND_OBJECT || !Object::may_expire_in_parts(self.flags() >> CODE_SHIFT) {
            return None;
        }
        // SAFETY: the entry owns the object; it is only looked at here.
        unsafe { self.object() }.earliest_expiry()
    }

    unsafe fn dispose(self) {
        // SAFETY: the caller gives the entry up.
        unsafe {
            self.release_payload();
            self.free_slot();
        }
    }
}

impl RawEntry {
    pub(crate) fn new(key: &[u8], payload: Payload<'_>, expiry: Option<Millis>, access_bits: u32) -> RawEntry {
        let entry = RawEntry(slab::allocate(encoded_len(key, &payload, expiry.is_some())));
        // SAFETY: allocated for exactly this.
        unsafe { entry.write(key, payload, expiry, access_bits) };
        entry
    }

    /// # Safety
    /// The allocation fits [`encoded_len`]; whatever was there is gone; key and payload lie elsewhere.
    unsafe fn write(self, key: &[u8], payload: Payload<'_>, expiry: Option<Millis>, access_bits: u32) {
        let start = self.0.as_ptr();
        // SAFETY: the caller's promise, part by part as `encoded_len` adds them up.
        unsafe {
            start.write(payload.flags() | placed_flags(key, &payload, expiry.is_some()));
            self.set_access_bits(access_bits);
            let mut at = start.add(EXPIRY_AT);
            if let Some(Millis(at_ms)) = expiry {
                at.cast::<i64>().write_unaligned(at_ms);
                at = at.add(EXPIRY_BYTES);
            }
            at = write_varint(at, key.len());
            if let Payload::Text { bytes, .. } = &payload {
                at = write_varint(at, bytes.len());
            }
            ptr::copy_nonoverlapping(key.as_ptr(), at, key.len());
            at = at.add(key.len());
            match payload {
                Payload::Text { bytes, .. } => ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()),
                Payload::Int(number) => at.cast::<i64>().write_unaligned(number),
                Payload::Large(text) => at.cast::<*const Vec<u8>>().write_unaligned(Arc::into_raw(text)),
                Payload::Object(_, pointer) => at.cast::<NonNull<u8>>().write_unaligned(pointer),
            }
        }
    }

    /// Writes the entry anew in its own allocation if that has the right size, and says whether it did.
    ///
    /// # Safety
    /// The caller holds the entry alone; key and payload lie elsewhere.
    unsafe fn rewrite<'p>(
        self,
        key: &[u8],
        payload: Payload<'p>,
        expiry: Option<Millis>,
        access_bits: u32,
    ) -> Result<(), Payload<'p>> {
        if slab::rounded(encoded_len(key, &payload, expiry.is_some())) != slab::rounded(self.len()) {
            return Err(payload);
        }
        // SAFETY: the caller's promise; the old value is let go before its pointer is overwritten.
        unsafe {
            self.release_payload();
            self.write(key, payload, expiry, access_bits);
        }
        Ok(())
    }

    #[inline]
    fn flags(self) -> u8 {
        // SAFETY: a live entry.
        unsafe { self.0.as_ptr().read() }
    }

    #[inline]
    fn kind(self) -> u8 {
        self.flags() & KIND_MASK
    }

    #[inline]
    fn parts(self) -> Parts {
        let flags = self.flags();
        let expiry_len = if flags & HAS_EXPIRY != 0 { EXPIRY_BYTES } else { 0 };
        // SAFETY: a live entry has these parts in this order.
        unsafe {
            let at = self.0.as_ptr().add(EXPIRY_AT + expiry_len).cast_const();
            let (key_len, mut at) = read_varint(at);
            let mut value_len = WORD_BYTES;
            if flags & KIND_MASK == KIND_TEXT {
                (value_len, at) = read_varint(at);
            }
            Parts { key: at, key_len, value: at.add(key_len), value_len }
        }
    }

    /// Bytes the entry uses of its allocation.
    fn len(self) -> usize {
        let parts = self.parts();
        parts.value.addr() + parts.value_len - self.0.as_ptr().addr()
    }

    fn access_bits(self) -> u32 {
        // SAFETY: a live entry; flags and access bits make four bytes.
        unsafe { self.0.as_ptr().cast::<u32>().read_unaligned().to_le() >> 8 }
    }

    fn set_access_bits(self, bits: u32) {
        let bytes = bits.to_le_bytes();
        // SAFETY: a live entry, held by this thread alone; no reference covers these bytes.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_ptr().add(ACCESS_AT), 3) }
    }

    fn int(self) -> i64 {
        debug_assert_eq!(self.kind(), KIND_INT);
        // SAFETY: entries of this kind hold an i64 there.
        unsafe { self.parts().value.cast::<i64>().read_unaligned() }
    }

    fn large(self) -> *const Vec<u8> {
        debug_assert_eq!(self.kind(), KIND_LARGE);
        // SAFETY: entries of this kind hold a pointer from `Arc::into_raw` there.
        unsafe { self.parts().value.cast::<*const Vec<u8>>().read_unaligned() }
    }

    fn object_parts(self) -> (Code, NonNull<u8>) {
        debug_assert_eq!(self.kind(), KIND_OBJECT);
        // SAFETY: entries of this kind hold a collection's pointer there.
        (self.flags() >> CODE_SHIFT, unsafe { self.parts().value.cast::<NonNull<u8>>().read_unaligned() })
    }

    /// # Safety
    /// The entry is live and unchanged for `'a`, and holds an object.
    unsafe fn object<'a>(self) -> ObjectRef<'a> {
        let (code, pointer) = self.object_parts();
        // SAFETY: the entry owns the parts; the caller answers for the lifetime.
        unsafe { ObjectRef::new(Object::from_parts(code, pointer)) }
    }

    /// # Safety
    /// The entry is live and unchanged for `'a`; likewise below.
    #[inline]
    unsafe fn value<'a>(self) -> ValueRef<'a> {
        let flags = self.flags();
        let repr = match flags & KIND_MASK {
            KIND_TEXT => {
                let parts = self.parts();
                // SAFETY: the value lies there; the caller answers for the lifetime.
                StrRepr::Inline(unsafe { std::slice::from_raw_parts(parts.value, parts.value_len) })
            }
            KIND_INT => StrRepr::Int(self.int()),
            // SAFETY: the entry keeps the count; the caller answers for the lifetime.
            KIND_LARGE => StrRepr::Large(unsafe { LargeRef::new(self.large()) }),
            // SAFETY: the entry owns the object; the caller answers for the lifetime.
            _ => return ValueRef::Object(unsafe { self.object() }),
        };
        ValueRef::Str(StrRef { repr, raw: flags & RAW != 0 })
    }

    /// Takes the value out of an entry that will be freed or overwritten without being read again. Inline text is borrowed from it.
    unsafe fn take_payload<'a>(self) -> Payload<'a> {
        match self.kind() {
            KIND_TEXT => {
                let parts = self.parts();
                // SAFETY: as in `value`.
                let bytes = unsafe { std::slice::from_raw_parts(parts.value, parts.value_len) };
                Payload::Text { bytes, raw: self.flags() & RAW != 0 }
            }
            KIND_INT => Payload::Int(self.int()),
            // SAFETY: the entry's count passes to the caller.
            KIND_LARGE => Payload::Large(unsafe { Arc::from_raw(self.large()) }),
            _ => {
                let (code, pointer) = self.object_parts();
                Payload::Object(code, pointer)
            }
        }
    }

    /// # Safety
    /// The value is not used again.
    unsafe fn release_payload(self) {
        // SAFETY: the caller's promise.
        match unsafe { self.take_payload() } {
            Payload::Large(text) => release_text(text),
            // SAFETY: the entry's ownership passes on.
            Payload::Object(code, pointer) => release_object(unsafe { Object::from_parts(code, pointer) }),
            Payload::Text { .. } | Payload::Int(_) => {}
        }
    }

    /// # Safety
    /// The entry is not used again; its payload was taken or released.
    unsafe fn free_slot(self) {
        // SAFETY: the caller's promise; `len` rounds to what was allocated.
        unsafe { slab::free(self.0, self.len()) }
    }

    /// A copy with another expiry, key or value layout took over the payload: frees the shell.
    ///
    /// # Safety
    /// The caller holds the entry alone and uses only the returned one from now on.
    unsafe fn rebuilt(self, key: Option<&[u8]>, expiry: Option<Millis>) -> RawEntry {
        // SAFETY: the payload moves to the new entry; the old shell is freed after its bytes were copied.
        unsafe {
            let entry = RawEntry::new(key.unwrap_or(self.key()), self.take_payload(), expiry, self.access_bits());
            self.free_slot();
            entry
        }
    }

    /// If the entry lies in a sparse page: a copy elsewhere, the original freed.
    ///
    /// # Safety
    /// The caller holds the entry alone and uses only the returned one from now on.
    pub(crate) unsafe fn moved_to_denser_page(self) -> Option<RawEntry> {
        let len = self.len();
        // SAFETY: a live allocation of this size; entries hold no pointers into themselves, so that their bytes may move.
        unsafe {
            let copy = slab::copy_if_sparse(self.0, len)?;
            slab::free(self.0, len);
            Some(RawEntry(copy))
        }
    }

    /// Has parts of the value taken out whose time has passed; `take` says how many. The table has to learn of it.
    ///
    /// # Safety
    /// The caller holds the entry alone.
    pub(crate) unsafe fn expire_parts(self, take: impl FnOnce(&mut Hash) -> usize) -> Remains {
        assert!(self.parts_expire_at().is_some());
        let (code, pointer) = self.object_parts();
        // SAFETY: only hashes have parts that expire. The entry forgets its ownership until what has become of the hash is written back.
        unsafe {
            let mut hash = ManuallyDrop::new(Hash::from_parts(code, pointer));
            let taken = take(&mut hash);
            let remains = if hash.is_empty() { Remains::Nothing { taken } } else { Remains::Something { taken } };
            let (code, pointer) = ManuallyDrop::into_inner(hash).into_parts();
            self.0.as_ptr().write(self.flags() & ((1 << CODE_SHIFT) - 1) | code << CODE_SHIFT);
            self.parts().value.cast_mut().cast::<NonNull<u8>>().write_unaligned(pointer);
            remains
        }
    }

    /// The collection, if it is one. What is done to it must not change what the entry keeps: its encoding and its pointer.
    ///
    /// # Safety
    /// The caller holds the entry alone, or looks only.
    pub(crate) unsafe fn with_object<R>(self, look: impl FnOnce(&mut Object) -> R) -> Option<R> {
        if self.kind() != KIND_OBJECT {
            return None;
        }
        let (code, pointer) = self.object_parts();
        // SAFETY: the entry stays the owner; the caller's promise.
        let mut object = ManuallyDrop::new(unsafe { Object::from_parts(code, pointer) });
        Some(look(&mut object))
    }

    /// Lets what a collection consists of be moved, and notes where it lies then.
    ///
    /// # Safety
    /// The caller holds the entry alone.
    pub(crate) unsafe fn compact_object<R>(self, compact: impl FnOnce(&mut Object) -> R) -> Option<R> {
        if self.kind() != KIND_OBJECT {
            return None;
        }
        let (code, pointer) = self.object_parts();
        // SAFETY: the entry forgets its ownership until it is written back.
        unsafe {
            let mut object = ManuallyDrop::new(Object::from_parts(code, pointer));
            let result = compact(&mut object);
            let (code_now, pointer_now) = ManuallyDrop::into_inner(object).into_parts();
            assert_eq!(code_now, code, "to be moved does not change an encoding");
            if pointer_now != pointer {
                self.parts().value.cast_mut().cast::<NonNull<u8>>().write_unaligned(pointer_now);
            }
            Some(result)
        }
    }

    fn memory_usage(self, samples: usize) -> usize {
        let outside = match self.kind() {
            // SAFETY: the entry keeps the count.
            KIND_LARGE => LARGE_HEADER_BYTES + unsafe { &*self.large() }.capacity(),
            // SAFETY: the entry owns the object.
            KIND_OBJECT => unsafe { self.object() }.memory_usage(samples),
            _ => 0,
        };
        slab::rounded(self.len()) + TABLE_BYTES_PER_ENTRY + outside
    }
}

/// A key and its value, borrowed from the keyspace.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    raw: RawEntry,
    // Neither Send nor Sync: access bits are written through it.
    borrow: PhantomData<(&'a [u8], *mut u8)>,
}

impl<'a> Entry<'a> {
    /// # Safety
    /// The entry is live and unchanged, access bits excepted, for `'a`, and held by this thread alone.
    pub(crate) unsafe fn new(raw: RawEntry) -> Entry<'a> {
        Entry { raw, borrow: PhantomData }
    }

    #[inline]
    pub fn key(&self) -> &'a [u8] {
        // SAFETY: live for 'a.
        unsafe { self.raw.key() }
    }

    #[inline]
    pub fn value(&self) -> ValueRef<'a> {
        // SAFETY: live for 'a.
        unsafe { self.raw.value() }
    }

    #[inline]
    pub fn expire_at(&self) -> Option<Millis> {
        self.raw.expire_at()
    }

    /// When the first part of its value expires by itself, or earlier: the first field of a hash.
    #[inline]
    pub fn parts_expire_at(&self) -> Option<Millis> {
        self.raw.parts_expire_at()
    }

    /// Whether its time has passed. As in Redis, an entry still lives in the millisecond it expires at.
    #[inline]
    pub fn is_expired(&self, now: Millis) -> bool {
        self.expire_at().is_some_and(|at| at < now)
    }

    /// 24 bits that eviction keeps here: Redis's LRU clock, or the LFU minutes and counter.
    pub fn access_bits(&self) -> u32 {
        self.raw.access_bits()
    }

    /// Shared access is enough, because the shard is held by this thread alone. Only the low 24 bits are kept.
    pub fn set_access_bits(&self, bits: u32) {
        self.raw.set_access_bits(bits);
    }

    /// Bytes this key takes, with its share of the table and what lies out of line; a collection's are estimated from `samples` elements
    /// (0: from all of them).
    pub fn memory_usage(&self, samples: usize) -> usize {
        self.raw.memory_usage(samples)
    }

    /// The table of a large collection's elements.
    #[inline]
    pub(crate) fn element_buckets(&self) -> Option<Buckets<'a>> {
        if self.raw.kind() != KIND_OBJECT {
            return None;
        }
        // SAFETY: the entry owns the collection, live for 'a; the buckets stay where they are when this view of it is forgotten.
        let object = unsafe { self.raw.object() };
        let buckets = object.buckets()?;
        // SAFETY: as above.
        Some(unsafe { std::mem::transmute::<Buckets<'_>, Buckets<'a>>(buckets) })
    }

    /// The collection, if it is of this type.
    #[inline]
    pub fn typed<T: Collection>(&self) -> Option<TypedRef<'a, T>> {
        if self.raw.kind() != KIND_OBJECT {
            return None;
        }
        let (code, pointer) = self.raw.object_parts();
        // SAFETY: the code says that it is a `T`; the entry owns it, live for 'a.
        T::CODES.contains(&code).then(|| unsafe { TypedRef::new(T::from_parts(code, pointer)) })
    }
}

/// A key and its value, to be changed.
pub struct EntryMut<'a> {
    table: &'a mut Table<RawEntry>,
    unlocked: Unlocked<RawEntry>,
    /// The shard's lower bound.
    earliest: &'a AtomicI64,
}

impl<'a> EntryMut<'a> {
    pub(crate) fn new(
        table: &'a mut Table<RawEntry>,
        unlocked: Unlocked<RawEntry>,
        earliest: &'a AtomicI64,
    ) -> EntryMut<'a> {
        EntryMut { table, unlocked, earliest }
    }

    #[inline]
    fn raw(&self) -> RawEntry {
        self.unlocked.element()
    }

    pub fn entry(&self) -> Entry<'_> {
        // SAFETY: `self` is borrowed as long as the entry.
        unsafe { Entry::new(self.raw()) }
    }

    pub fn into_entry(self) -> Entry<'a> {
        // SAFETY: the table stays borrowed for 'a, and nothing changes the entry any more.
        unsafe { Entry::new(self.raw()) }
    }

    /// Has parts of the value taken out whose time has passed.
    pub(crate) fn expire_parts(&mut self, take: impl FnOnce(&mut Hash) -> usize) -> Remains {
        let old = self.raw().parts_expire_at();
        // SAFETY: this borrow holds the entry alone.
        let remains = unsafe { self.raw().expire_parts(take) };
        self.parts_expiry_changed(old, self.raw().parts_expire_at());
        remains
    }

    /// The collection, to be changed, if it is of this type.
    #[inline]
    pub fn into_typed<T: Collection>(self) -> Option<TypedMut<'a, T>> {
        if self.raw().kind() != KIND_OBJECT || !T::CODES.contains(&self.raw().object_parts().0) {
            return None;
        }
        // SAFETY: the code says that it is a `T`.
        Some(unsafe { TypedMut::new(self) })
    }

    /// Replaces the value, whatever its type; expiry and access bits stay.
    pub fn set_value(&mut self, value: NewValue<'_>) {
        let raw = self.raw();
        // SAFETY: `write` copies the key before the entry is freed; the key is passed as a borrow of this very entry only where it is
        // copied to a new allocation.
        self.replace_payload(unsafe { raw.key() }, value.into(), raw.expire_at());
    }

    /// Replaces value and expiry; `key` is this entry's key, from elsewhere.
    pub(crate) fn overwrite(&mut self, key: &[u8], payload: Payload<'_>, expiry: Option<Millis>) {
        let old = Expiries::of(self.raw());
        // SAFETY: this borrow holds the entry alone; key and payload come from outside the keyspace.
        match unsafe { self.raw().rewrite(key, payload, expiry, self.raw().access_bits()) } {
            Ok(()) => {
                let new = Expiries::of(self.raw());
                self.table.expiries_changed(&self.unlocked, old, new);
                self.announce_expiry(new.earliest());
            }
            Err(payload) => self.replace_payload(key, payload, expiry),
        }
    }

    fn replace_payload(&mut self, key: &[u8], payload: Payload<'_>, expiry: Option<Millis>) {
        let old = self.raw();
        let new = RawEntry::new(key, payload, expiry, old.access_bits());
        self.install(new, Expiries::of(old));
        // SAFETY: the table does not hold `old` any more, and this borrow was the only one.
        unsafe { old.dispose() };
    }

    /// Makes the table hold `new` in this place.
    fn install(&mut self, new: RawEntry, old: Expiries) {
        self.table.replace(&mut self.unlocked, new, old);
        self.announce_expiry(Expiries::of(new).earliest());
    }

    #[inline]
    fn announce_expiry(&self, at: Millis) {
        if at.0 < self.earliest.load(Relaxed) {
            self.earliest.store(at.0, Relaxed);
        }
    }

    /// Where the parts of a collection's code and pointer lie: flags and value.
    pub(crate) fn object_places(&self) -> (*mut u8, *mut u8) {
        debug_assert_eq!(self.raw().kind(), KIND_OBJECT);
        (self.raw().0.as_ptr(), self.raw().parts().value.cast_mut())
    }

    /// The value's parts expire at other times than before.
    pub(crate) fn parts_expiry_changed(&mut self, old: Option<Millis>, new: Option<Millis>) {
        if old != new {
            let own = self.raw().expire_at();
            self.table.expiries_changed(&self.unlocked, Expiries { own, parts: old }, Expiries { own, parts: new });
            self.announce_expiry(new.unwrap_or(Millis::NEVER));
        }
    }

    /// Makes the value an integer; in place if it is one.
    pub fn set_int(&mut self, number: i64) {
        if self.raw().kind() == KIND_INT {
            // SAFETY: entries of this kind hold an i64 there, and this borrow holds the entry alone.
            unsafe { self.raw().parts().value.cast_mut().cast::<i64>().write_unaligned(number) };
        } else {
            self.set_value(NewValue::Int(number));
        }
    }

    pub fn set_expiry(&mut self, expiry: Option<Millis>) {
        let old = Expiries::of(self.raw());
        match (old.own, expiry) {
            (None, None) => {}
            (Some(_), Some(Millis(at))) => {
                // SAFETY: the field is there, and this borrow holds the entry alone.
                unsafe { self.raw().0.as_ptr().add(EXPIRY_AT).cast::<i64>().write_unaligned(at) };
                self.table.expiries_changed(&self.unlocked, old, Expiries { own: expiry, ..old });
                self.announce_expiry(Millis(at));
            }
            _ => {
                // SAFETY: this borrow holds the entry alone, and the table learns of the new one at once.
                let new = unsafe { self.raw().rebuilt(None, expiry) };
                self.install(new, old);
            }
        }
    }

    /// Appends to a string, which becomes `raw`. Returns the new length.
    ///
    /// # Panics
    /// If the value is not a string.
    pub fn append(&mut self, tail: &[u8]) -> usize {
        let old_len = self.str_len();
        if self.raw().kind() == KIND_LARGE {
            return self.with_large(|text| {
                text.extend_from_slice(tail);
                text.len()
            });
        }
        self.bytes_mut(old_len + tail.len())[old_len..].copy_from_slice(tail);
        old_len + tail.len()
    }

    /// Overwrites a part of a string, padding it with zeros up to `offset`. Returns the new length.
    ///
    /// # Panics
    /// If the value is not a string.
    pub fn set_range(&mut self, offset: usize, part: &[u8]) -> usize {
        let bytes = self.bytes_mut(offset + part.len());
        bytes[offset..offset + part.len()].copy_from_slice(part);
        bytes.len()
    }

    fn str_len(&self) -> usize {
        self.entry().value().as_str().expect("the caller has checked the type").len()
    }

    /// The string as bytes to be changed, padded with zeros to at least `len_min`; it becomes `raw`. A text that is shared with a reply under
    /// way is copied first.
    ///
    /// # Panics
    /// If the value is not a string.
    pub fn bytes_mut(&mut self, len_min: usize) -> &mut [u8] {
        let old_len = self.str_len();
        let len = old_len.max(len_min);
        let fits = match self.raw().kind() {
            KIND_LARGE => true,
            KIND_TEXT => len == old_len || self.grow_in_place(len),
            _ => false,
        };
        if !fits {
            self.grow_text(len);
        }
        if self.raw().kind() == KIND_LARGE {
            let text = self.with_large(|text| {
                if text.len() < len {
                    text.resize(len, 0);
                }
                ptr::from_mut(text.as_mut_slice())
            });
            // SAFETY: the text is this entry's alone (`make_mut`), and stays while `self` is borrowed.
            return unsafe { &mut *text };
        }
        // SAFETY: this borrow holds the entry alone; an inline text lies in its parts.
        unsafe {
            self.raw().0.as_ptr().write(self.raw().flags() | RAW);
            let parts = self.raw().parts();
            std::slice::from_raw_parts_mut(parts.value.cast_mut(), parts.value_len)
        }
    }

    /// Lengthens an inline text within its allocation, padded with zeros, if there is room and its length takes no more bytes.
    fn grow_in_place(&mut self, len: usize) -> bool {
        if self.raw().kind() != KIND_TEXT || len > GROWN_INLINE_LEN_MAX {
            return false;
        }
        let parts = self.raw().parts();
        let grown = len - parts.value_len;
        if varint_len(len) != varint_len(parts.value_len)
            || slab::rounded(self.raw().len() + grown) != slab::rounded(self.raw().len())
        {
            return false;
        }
        // SAFETY: the length lies before the key in as many bytes as before; the allocation has room for what is added.
        unsafe {
            write_varint(parts.key.sub(varint_len(len)).cast_mut(), len);
            parts.value.add(parts.value_len).cast_mut().write_bytes(0, grown);
        }
        true
    }

    /// Makes an integer or inline text a text of `len` bytes, padded with zeros.
    fn grow_text(&mut self, len: usize) {
        let mut buffer = IntBuffer::new();
        let ValueRef::Str(old) = self.entry().value() else { unreachable!("checked by the caller") };
        let old = old.bytes(&mut buffer);
        let mut text = Vec::with_capacity(if len > GROWN_INLINE_LEN_MAX { len + len / 2 } else { len });
        text.extend_from_slice(old);
        text.resize(len, 0);
        let payload = if len > GROWN_INLINE_LEN_MAX {
            Payload::Large(Arc::new(text))
        } else {
            self.set_value(NewValue::Raw(&text));
            return;
        };
        let raw = self.raw();
        // SAFETY: as in `set_value`.
        self.replace_payload(unsafe { raw.key() }, payload, raw.expire_at());
    }

    /// Takes the bytes out of an out-of-line text that nobody else holds, if their capacity is in this range: memory for the value that
    /// is about to replace the text, which is empty from now on.
    pub fn take_large(&mut self, capacity: RangeInclusive<usize>) -> Option<Vec<u8>> {
        if self.raw().kind() != KIND_LARGE {
            return None;
        }
        // SAFETY: the entry owns a count of this Arc, and keeps it.
        let mut text = ManuallyDrop::new(unsafe { Arc::from_raw(self.raw().large()) });
        Arc::get_mut(&mut text).filter(|text| capacity.contains(&text.capacity())).map(std::mem::take)
    }

    fn with_large<R>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        // SAFETY: the entry owns a count of this Arc; it stays the entry's, because its pointer is written back.
        unsafe {
            let mut text = ManuallyDrop::new(Arc::from_raw(self.raw().large()));
            let result = change(Arc::make_mut(&mut text));
            self.raw().parts().value.cast_mut().cast::<*const Vec<u8>>().write_unaligned(Arc::as_ptr(&text));
            result
        }
    }
}

/// A key and its value, taken out of the keyspace. Freed when dropped; what is large goes to the reaper then
/// (see [`set_reaper`](crate::set_reaper)).
pub struct Removed {
    raw: RawEntry,
}

// SAFETY: it owns the entry alone, and changing it takes `&mut`.
unsafe impl Sync for Removed {}

impl Removed {
    /// # Safety
    /// The entry is live and nobody else's.
    pub(crate) unsafe fn new(raw: RawEntry) -> Removed {
        Removed { raw }
    }

    /// The key it was removed from.
    pub fn key(&self) -> &[u8] {
        // SAFETY: live while `self` is borrowed.
        unsafe { self.raw.key() }
    }

    pub fn value(&self) -> ValueRef<'_> {
        // SAFETY: live while `self` is borrowed.
        unsafe { self.raw.value() }
    }

    pub fn expire_at(&self) -> Option<Millis> {
        self.raw.expire_at()
    }

    pub fn set_expiry(&mut self, expiry: Option<Millis>) {
        if self.raw.expire_at() != expiry {
            // SAFETY: the entry is this value's alone.
            self.raw = unsafe { self.raw.rebuilt(None, expiry) };
        }
    }

    pub fn access_bits(&self) -> u32 {
        self.raw.access_bits()
    }

    /// Whether something lies out of line.
    pub fn is_large(&self) -> bool {
        matches!(self.raw.kind(), KIND_LARGE | KIND_OBJECT)
    }

    /// As [`Entry::memory_usage`].
    pub fn memory_usage(&self, samples: usize) -> usize {
        self.raw.memory_usage(samples)
    }

    /// The same value as an entry for `key`.
    pub(crate) fn into_raw_for(self, key: &[u8]) -> RawEntry {
        let raw = ManuallyDrop::new(self).raw;
        // SAFETY: the entry was this value's alone.
        unsafe { if raw.key::<'_>() == key { raw } else { raw.rebuilt(Some(key), raw.expire_at()) } }
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        // SAFETY: the entry is this value's alone.
        unsafe { self.raw.dispose() };
    }
}

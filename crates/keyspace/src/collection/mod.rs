//! Collections: the values that are not strings.
//!
//! | type | small | large |
//! |---|---|---|
//! | [`List`] | listpack | deque of listpacks |
//! | [`Set`] | intset, listpack | table |
//! | [`Hash`] | listpack | table |
//! | [`SortedSet`] | listpack | B+tree beside a table |
//! | [`Stream`] | | listpack blocks by id |
//!
//! Every type is an enum of its encodings, and every encoding is one pointer: an entry keeps the encoding's code in its flags and
//! the pointer in eight bytes ([`Collection::into_parts`]). That is why a small hash costs its listpack and nothing beside it.
//!
//! Collections know no commands and no clocks. Thresholds come with each call that may cross them ([`limits`]).

mod allocation;
mod hash;
pub mod limits;
mod list;
pub mod listpack;
pub mod set;
pub mod sorted_set;
pub mod stream;
pub(crate) mod table;

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut, RangeInclusive};
use std::ptr::NonNull;

use self::table::Opened;
use crate::table::Buckets;
use crate::{EntryMut, Millis};

pub use self::hash::{FieldRef, Hash, PackedFields};
pub use self::list::{End, List, ListBuilder, ListFigures, ListItem, ListNode, NewItem};
pub use self::listpack::Listpack;
pub use self::set::Set;
pub use self::sorted_set::SortedSet;
pub use self::stream::Stream;

/// Which encoding of which type an entry holds: four bits.
pub(crate) type Code = u8;

/// Collections with more elements than this are freed on the reaper's thread.
const FREED_AT_ONCE_ELEMENTS_MAX: usize = 64;

/// A type of value with elements.
///
/// # Safety
/// `from_parts` is the inverse of `into_parts`; codes lie in `CODES`, which no other type shares.
pub unsafe trait Collection: Sized + Default + Into<Object> + Send + Sync {
    /// The name `TYPE` replies.
    const TYPE_NAME: &'static str;
    #[doc(hidden)]
    const CODES: RangeInclusive<Code>;

    #[doc(hidden)]
    fn into_parts(self) -> (Code, NonNull<u8>);

    /// # Safety
    /// The parts came from `into_parts`, and the result is their only owner (or dropped by nobody).
    #[doc(hidden)]
    unsafe fn from_parts(code: Code, pointer: NonNull<u8>) -> Self;

    /// The name `OBJECT ENCODING` replies.
    fn encoding_name(&self) -> &'static str;

    /// The number of elements.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes allocated, estimated from `samples` elements where they are allocated one by one (0: from all of them).
    fn memory_usage(&self, samples: usize) -> usize;

    /// An equal value in the same encoding. What the two may share, neither sees the other change.
    fn duplicate(&self) -> Self;

    /// Allocations that freeing it takes, roughly.
    fn free_cost(&self) -> usize;

    /// When its first element expires, or earlier; `None` where none does.
    #[inline]
    fn earliest_expiry(&self) -> Option<Millis> {
        None
    }
}

/// Any collection.
#[derive(Debug)]
pub enum Object {
    List(List),
    Set(Set),
    Hash(Hash),
    SortedSet(SortedSet),
    Stream(Stream),
}

macro_rules! each {
    ($object:expr, $value:ident => $body:expr) => {
        match $object {
            Object::List($value) => $body,
            Object::Set($value) => $body,
            Object::Hash($value) => $body,
            Object::SortedSet($value) => $body,
            Object::Stream($value) => $body,
        }
    };
}

impl Object {
    /// The name `TYPE` replies.
    pub fn type_name(&self) -> &'static str {
        fn name<T: Collection>(_: &T) -> &'static str {
            T::TYPE_NAME
        }
        each!(self, value => name(value))
    }

    /// The name `OBJECT ENCODING` replies.
    pub fn encoding_name(&self) -> &'static str {
        each!(self, value => value.encoding_name())
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        each!(self, value => value.len())
    }

    pub fn is_empty(&self) -> bool {
        each!(self, value => value.is_empty())
    }

    /// Whether elements of such an encoding may have an expiry.
    #[inline]
    pub(crate) fn may_expire_in_parts(code: Code) -> bool {
        Hash::CODES_EXPIRING.contains(&code)
    }

    /// See [`Collection::earliest_expiry`].
    pub fn earliest_expiry(&self) -> Option<Millis> {
        each!(self, value => value.earliest_expiry())
    }

    /// See [`Collection::memory_usage`].
    pub fn memory_usage(&self, samples: usize) -> usize {
        each!(self, value => value.memory_usage(samples))
    }

    /// See [`Collection::duplicate`].
    pub fn duplicate(&self) -> Object {
        each!(self, value => value.duplicate().into())
    }

    /// Moves what it consists of out of sparse pages: all of a small one, of a large one about `count` elements from position `from` on. Returns where to
    /// go on; `None` at the end. The nodes of large lists and the blocks of streams stay where they are: each is half a page or more, and may have
    /// several owners.
    pub(crate) fn compact(&mut self, from: u64, count: usize) -> Option<u64> {
        match self {
            Object::List(List::Packed(packed))
            | Object::Set(Set::Packed(packed))
            | Object::SortedSet(SortedSet::Packed(packed)) => packed.compact(),
            Object::Set(Set::Ints(ints)) => ints.compact(),
            Object::Set(Set::Table(members)) => return members.compact(from, count),
            Object::Hash(hash) => return hash.compact(from, count),
            Object::SortedSet(SortedSet::Tree(tree)) => return tree.compact(from, count),
            Object::List(_) | Object::Stream(_) => {}
        }
        None
    }

    /// The table of its elements, if it is in one: what a snapshot may open.
    pub(crate) fn opened(&mut self) -> Option<&mut dyn Opened> {
        match self {
            Object::Set(Set::Table(members)) => Some(members.opened()),
            Object::Hash(hash) => hash.opened(),
            Object::SortedSet(SortedSet::Tree(tree)) => Some(tree.opened()),
            _ => None,
        }
    }

    /// Whether it has more elements than this, or about so many bytes: of those that can be shared, lists in nodes and streams. Looks at no element.
    pub(crate) fn is_larger(&self, len: usize, bytes: usize) -> bool {
        /// What a node of a list or a block of a stream holds, by their default limits.
        const CHUNK_BYTES: usize = 8 * 1024;
        let is_large = |object_len: usize, chunks: usize| object_len > len || chunks > bytes / CHUNK_BYTES;
        match self {
            Object::List(list @ List::Chunks(_)) => is_large(list.len(), list.free_cost()),
            Object::Stream(stream) => is_large(stream.len(), stream.free_cost()),
            _ => false,
        }
    }

    /// Whether freeing it takes longer than handing it to the reaper.
    pub(crate) fn is_slow_to_free(&self) -> bool {
        each!(self, value => value.free_cost()) > FREED_AT_ONCE_ELEMENTS_MAX
    }

    /// The table where its elements are looked up, if they are in one.
    pub(crate) fn buckets(&self) -> Option<Buckets<'_>> {
        match self {
            Object::Set(Set::Table(members)) => Some(members.buckets()),
            Object::Hash(hash) => hash.buckets(),
            Object::SortedSet(SortedSet::Tree(tree)) => Some(tree.buckets()),
            _ => None,
        }
    }

    pub(crate) fn into_parts(self) -> (Code, NonNull<u8>) {
        each!(self, value => value.into_parts())
    }

    /// # Safety
    /// As for [`Collection::from_parts`].
    pub(crate) unsafe fn from_parts(code: Code, pointer: NonNull<u8>) -> Object {
        unsafe fn of<T: Collection>(code: Code, pointer: NonNull<u8>) -> Option<Object> {
            // SAFETY: the code says whose parts these are; the rest is the caller's promise.
            T::CODES.contains(&code).then(|| unsafe { T::from_parts(code, pointer) }.into())
        }
        // SAFETY: the caller's promise.
        unsafe {
            of::<List>(code, pointer)
                .or_else(|| of::<Set>(code, pointer))
                .or_else(|| of::<Hash>(code, pointer))
                .or_else(|| of::<SortedSet>(code, pointer))
                .or_else(|| of::<Stream>(code, pointer))
                .expect("an entry's code is some type's")
        }
    }
}

macro_rules! into_object {
    ($($name:ident),*) => {$(
        impl From<$name> for Object {
            fn from(value: $name) -> Object {
                Object::$name(value)
            }
        }
    )*};
}

into_object!(List, Set, Hash, SortedSet, Stream);

/// A collection borrowed from the keyspace. The entry keeps it as two parts; here they are put together, to be looked at only.
#[derive(Debug)]
pub struct TypedRef<'a, T> {
    value: ManuallyDrop<T>,
    entry: PhantomData<&'a T>,
}

impl<T> TypedRef<'_, T> {
    /// # Safety
    /// `value` is a second owner of what lives unchanged for the lifetime.
    pub(crate) unsafe fn new(value: T) -> Self {
        TypedRef { value: ManuallyDrop::new(value), entry: PhantomData }
    }
}

impl<'a, T> TypedRef<'a, T> {
    /// The same with the entry's own lifetime.
    pub fn get<'s>(&'s self) -> &'s T
    where
        'a: 's,
    {
        &self.value
    }
}

impl<T> Deref for TypedRef<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A collection of any type, borrowed from the keyspace.
pub type ObjectRef<'a> = TypedRef<'a, Object>;

/// A collection borrowed from the keyspace to be changed; what it has become is noted in its entry when this is dropped.
pub struct TypedMut<'a, T: Collection> {
    value: ManuallyDrop<T>,
    entry: EntryMut<'a>,
    /// The earliest expiry of its elements as the table knows it.
    expiry_known: Option<Millis>,
}

/// The code lies in the upper half of an entry's flags.
pub(crate) const CODE_SHIFT: u32 = 4;

impl<'a, T: Collection> TypedMut<'a, T> {
    /// # Safety
    /// The entry holds a `T`.
    pub(crate) unsafe fn new(entry: EntryMut<'a>) -> Self {
        let (flags, pointer) = entry.object_places();
        // SAFETY: the caller's promise; the entry forgets its ownership until the value is written back.
        let value =
            unsafe { T::from_parts(flags.read() >> CODE_SHIFT, pointer.cast::<NonNull<u8>>().read_unaligned()) };
        let expiry_known = value.earliest_expiry();
        TypedMut { value: ManuallyDrop::new(value), entry, expiry_known }
    }
}

impl<T: Collection> Deref for TypedMut<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Collection> DerefMut for TypedMut<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Collection> Drop for TypedMut<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let expiry = self.value.earliest_expiry();
        let (flags, pointer) = self.entry.object_places();
        // SAFETY: taken once, here; the entry is borrowed by this value alone and becomes the owner again.
        unsafe {
            let (code, value) = ManuallyDrop::take(&mut self.value).into_parts();
            flags.write(flags.read() & ((1 << CODE_SHIFT) - 1) | code << CODE_SHIFT);
            pointer.cast::<NonNull<u8>>().write_unaligned(value);
        }
        self.entry.parts_expiry_changed(self.expiry_known, expiry);
    }
}

/// A boxed encoding's part of [`Collection::into_parts`].
pub(crate) fn box_into_raw<T>(value: Box<T>) -> NonNull<u8> {
    NonNull::from(Box::leak(value)).cast()
}

/// # Safety
/// The pointer came from [`box_into_raw`] of the same type, and the result is its only owner.
pub(crate) unsafe fn box_from_raw<T>(pointer: NonNull<u8>) -> Box<T> {
    // SAFETY: the caller's promise.
    unsafe { Box::from_raw(pointer.cast::<T>().as_ptr()) }
}

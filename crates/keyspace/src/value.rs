//! What a key holds, as callers give it and as they see it.
//!
//! How the bytes lie in memory is the business of `entry.rs`.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Arc;

use crate::Millis;
use crate::collection::{Object, ObjectRef};

/// Values given with at least this many bytes are kept out of line, shared and never copied to reply.
pub const LARGE_LEN_MIN: usize = 16 * 1024;

/// Values that grew (APPEND, SETRANGE) beyond this many bytes go out of line, so that growing them stays amortised.
pub const GROWN_INLINE_LEN_MAX: usize = 1024;

/// A value on its way into the keyspace.
#[derive(Debug)]
pub enum NewValue<'a> {
    /// Text as SET gives it: the canonical decimal text of an `i64` is kept as an integer.
    Bytes(&'a [u8]),
    Int(i64),
    /// Text that stays text, also where it looks like an integer (what INCRBYFLOAT stores).
    Text(&'a [u8]),
    /// Text that was put together by the server: stays text, and reports the encoding `raw`.
    Raw(&'a [u8]),
    /// A long text that is already owned: taken over without a copy, and kept out of line whatever its length. Give it from
    /// [`LARGE_LEN_MIN`] on.
    Large(Arc<Vec<u8>>),
    Object(Object),
}

/// What happens to the expiry of a key that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Clear,
    /// Leave what there is (KEEPTTL); a new key gets none.
    Keep,
    At(Millis),
}

/// A value, borrowed from the keyspace.
#[derive(Debug)]
pub enum ValueRef<'a> {
    Str(StrRef<'a>),
    Object(ObjectRef<'a>),
}

impl<'a> ValueRef<'a> {
    /// The name `TYPE` replies.
    pub fn type_name(&self) -> &'static str {
        match self {
            ValueRef::Str(_) => "string",
            ValueRef::Object(object) => object.type_name(),
        }
    }

    /// The name `OBJECT ENCODING` replies.
    pub fn encoding_name(&self) -> &'static str {
        match self {
            ValueRef::Str(text) => text.encoding_name(),
            ValueRef::Object(object) => object.encoding_name(),
        }
    }

    pub fn as_str(&self) -> Option<&StrRef<'a>> {
        match self {
            ValueRef::Str(text) => Some(text),
            ValueRef::Object(_) => None,
        }
    }
}

/// A string value, borrowed from the keyspace.
#[derive(Debug)]
pub struct StrRef<'a> {
    pub repr: StrRepr<'a>,
    /// Reported as `raw`: text that was modified in place, however short, or that was once too long for `embstr`.
    pub(crate) raw: bool,
}

/// How a string is kept.
#[derive(Debug)]
pub enum StrRepr<'a> {
    Inline(&'a [u8]),
    Int(i64),
    Large(LargeRef<'a>),
}

impl<'a> StrRef<'a> {
    /// Length of the text in bytes.
    pub fn len(&self) -> usize {
        match &self.repr {
            StrRepr::Inline(bytes) => bytes.len(),
            StrRepr::Int(number) => itoa::Buffer::new().format(*number).len(),
            StrRepr::Large(large) => large.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(&self.repr, StrRepr::Inline(bytes) if bytes.is_empty())
            || matches!(&self.repr, StrRepr::Large(large) if large.is_empty())
    }

    /// The text, without a copy but for integers, which are written to `buffer`.
    pub fn bytes<'b>(&'b self, buffer: &'b mut IntBuffer) -> &'b [u8] {
        match &self.repr {
            StrRepr::Inline(bytes) => bytes,
            StrRepr::Int(number) => buffer.0.format(*number).as_bytes(),
            StrRepr::Large(large) => large.as_slice(),
        }
    }

    pub fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(self.bytes(&mut IntBuffer::new()))
    }

    pub fn to_vec(&self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }

    /// The number, if the text is the canonical decimal text of an `i64`.
    pub fn as_int(&self) -> Option<i64> {
        match &self.repr {
            StrRepr::Int(number) => Some(*number),
            StrRepr::Inline(bytes) => canonical_int(bytes),
            StrRepr::Large(_) => None,
        }
    }

    pub fn encoding_name(&self) -> &'static str {
        match &self.repr {
            StrRepr::Int(_) => "int",
            StrRepr::Inline(_) if !self.raw => "embstr",
            StrRepr::Inline(_) | StrRepr::Large(_) => "raw",
        }
    }

    /// The same text as a new value: shares what is out of line, keeps the encoding.
    pub fn to_new_value(&self) -> NewValue<'a> {
        match &self.repr {
            StrRepr::Int(number) => NewValue::Int(*number),
            StrRepr::Inline(bytes) if self.raw => NewValue::Raw(bytes),
            StrRepr::Inline(bytes) => NewValue::Text(bytes),
            StrRepr::Large(large) => NewValue::Large(Arc::clone(large)),
        }
    }
}

/// Room on the stack for the text of an integer.
pub struct IntBuffer(itoa::Buffer);

impl IntBuffer {
    pub fn new() -> IntBuffer {
        IntBuffer(itoa::Buffer::new())
    }

    /// The number's text.
    #[inline]
    pub fn format(&mut self, number: i64) -> &[u8] {
        self.0.format(number).as_bytes()
    }
}

impl Default for IntBuffer {
    fn default() -> Self {
        IntBuffer::new()
    }
}

/// Borrows the `Arc` of an out-of-line text: clone it to reply without a copy and without the shard.
///
/// A `&Arc` cannot be had, because entries keep their pointers unaligned.
#[derive(Debug)]
pub struct LargeRef<'a> {
    arc: ManuallyDrop<Arc<Vec<u8>>>,
    entry: PhantomData<&'a [u8]>,
}

impl<'a> LargeRef<'a> {
    /// # Safety
    /// `pointer` came from `Arc::into_raw`, and its count stays held for `'a`.
    pub(crate) unsafe fn new(pointer: *const Vec<u8>) -> LargeRef<'a> {
        // SAFETY: the caller's promise; ManuallyDrop leaves the count alone.
        LargeRef { arc: ManuallyDrop::new(unsafe { Arc::from_raw(pointer) }), entry: PhantomData }
    }
}

impl Deref for LargeRef<'_> {
    type Target = Arc<Vec<u8>>;

    fn deref(&self) -> &Arc<Vec<u8>> {
        &self.arc
    }
}

/// The number whose canonical decimal text this is: no leading zeros, plus sign, spaces, or `-0`.
pub fn canonical_int(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let mut number: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    if negative { 0i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() }
}

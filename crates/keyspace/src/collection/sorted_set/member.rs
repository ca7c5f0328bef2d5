//! A member of a large sorted set, with its score, in one allocation.
//!
//! ```text
//! score  length      member
//! 8      1, or 0xFF  ...        0xFF: the length follows in 4 bytes
//!        and 4
//! ```

use std::cmp::Ordering;
use std::ptr::NonNull;

use crate::Millis;
use crate::collection::table::CollectionElement;
use crate::slab;
use crate::snapshot::ElementRef;
use crate::table::{Element, Unlocked};

const LEN_AT: usize = size_of::<f64>();
/// From here on the length takes four more bytes.
const LONG_LEN_MIN: usize = 0xFF;

/// A score as an integer of the same order. Both zeros are one: Redis orders them by member.
#[inline]
pub(super) fn order_key(score: f64) -> u64 {
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// A pointer to a member. It owns nothing: the table of the sorted set does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Member(NonNull<u8>);

impl Member {
    /// # Panics
    /// If the text is longer than 4 GiB.
    pub(super) fn new(text: &[u8], score: f64) -> Member {
        let head_bytes = head_bytes(text.len());
        let memory = slab::allocate(head_bytes + text.len());
        // SAFETY: so many bytes were allocated, aligned to 8.
        unsafe {
            memory.cast::<f64>().write(score);
            let len = memory.add(LEN_AT);
            if text.len() < LONG_LEN_MIN {
                len.write(text.len() as u8);
            } else {
                len.write(LONG_LEN_MIN as u8);
                let long = u32::try_from(text.len()).expect("no argument is longer than 4 GiB");
                len.add(1).cast::<u32>().write_unaligned(long);
            }
            memory.add(head_bytes).copy_from_nonoverlapping(NonNull::from(text).cast(), text.len());
        }
        Member(memory)
    }

    #[inline]
    pub(super) fn pointer(self) -> *const u8 {
        self.0.as_ptr()
    }

    #[inline]
    pub(super) fn score(self) -> f64 {
        // SAFETY: the member is live; likewise below.
        unsafe { self.0.cast::<f64>().read() }
    }

    #[inline]
    pub(super) fn text<'a>(self) -> &'a [u8] {
        // SAFETY: as above; callers bind the lifetime to the sorted set's.
        unsafe {
            let len = self.0.add(LEN_AT).read() as usize;
            let (len, at) = if len < LONG_LEN_MIN {
                (len, LEN_AT + 1)
            } else {
                (self.0.add(LEN_AT + 1).cast::<u32>().read_unaligned() as usize, LEN_AT + 5)
            };
            std::slice::from_raw_parts(self.0.add(at).as_ptr(), len)
        }
    }

    #[inline]
    pub(super) fn key(self) -> u64 {
        order_key(self.score())
    }

    /// How it stands to another place in the order.
    #[inline]
    pub(super) fn compare(self, key: u64, text: &[u8]) -> Ordering {
        self.key().cmp(&key).then_with(|| self.text().cmp(text))
    }

    pub(super) fn allocated_bytes(self) -> usize {
        let len = self.text().len();
        slab::rounded(head_bytes(len) + len)
    }
}

fn head_bytes(len: usize) -> usize {
    if len < LONG_LEN_MIN { LEN_AT + 1 } else { LEN_AT + 5 }
}

// SAFETY: slots of the slab are aligned to 8, below 2^48 and stay where they are.
unsafe impl Element for Member {
    fn address(self) -> *mut u8 {
        self.0.as_ptr()
    }

    unsafe fn from_address(address: *mut u8) -> Member {
        // SAFETY: the caller's promise.
        Member(unsafe { NonNull::new_unchecked(address) })
    }

    unsafe fn key<'a>(self) -> &'a [u8] {
        self.text()
    }

    fn expire_at(self) -> Option<Millis> {
        None
    }

    unsafe fn dispose(self) {
        let len = self.text().len();
        // SAFETY: allocated with this size, and by the caller's promise not used any more.
        unsafe { slab::free(self.0, head_bytes(len) + len) }
    }
}

impl CollectionElement for Member {
    fn used_bytes(self) -> usize {
        let len = self.text().len();
        head_bytes(len) + len
    }

    unsafe fn view<'a>(self) -> ElementRef<'a> {
        ElementRef::Scored(self.text(), self.score())
    }
}

impl Unlocked<Member> {
    /// Nobody reads it meanwhile: the sorted set is borrowed mutably.
    pub(super) fn set_score(&self, score: f64) {
        // SAFETY: the member is live.
        unsafe { self.element().0.cast::<f64>().write(score) }
    }
}

//! A table's word: an element's address, and what can be known of it without following that.

/// Hash bits a word carries beside the address.
pub(super) const TAG_BITS: u32 = 16;

const ADDRESS_BITS: u32 = 64 - TAG_BITS;
const ADDRESS_MASK: u64 = (1 << ADDRESS_BITS) - 1;

/// Elements are aligned to 8, so that the address has three bits to spare.
const VOLATILE: u64 = 1;
const SPARE_MASK: u64 = 7;

/// Top 16 bits: the tag, hash bits below the depth of the word's segment. Then 48 bits of address, of which the lowest says
/// whether the element has an expiry. Zero is no word.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Word(u64);

impl Word {
    pub(super) const EMPTY: Word = Word(0);

    #[inline]
    pub(super) fn new(address: *mut u8, volatile: bool, tag: u16) -> Word {
        let address = address.expose_provenance() as u64;
        assert!(
            address != 0 && address & (!ADDRESS_MASK | SPARE_MASK) == 0,
            "addresses have 48 bits and are aligned to 8"
        );
        Word(address | u64::from(volatile) | u64::from(tag) << ADDRESS_BITS)
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(super) fn tag(self) -> u16 {
        (self.0 >> ADDRESS_BITS) as u16
    }

    pub(super) fn with_tag(self, tag: u16) -> Word {
        Word(self.0 & ADDRESS_MASK | u64::from(tag) << ADDRESS_BITS)
    }

    #[inline]
    pub(super) fn is_volatile(self) -> bool {
        self.0 & VOLATILE != 0
    }

    #[inline]
    pub(super) fn address(self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut((self.0 & ADDRESS_MASK & !SPARE_MASK) as usize)
    }
}

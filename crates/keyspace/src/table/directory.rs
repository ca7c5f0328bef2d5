//! The directory: from a position in hash space to its segment.
//!
//! Two levels, so that it too grows in pieces: the root names leaves, a leaf names segments. Small directories have one leaf, kept inline, and a leaf
//! with a single segment *is* that segment's reference. A leaf that covers several root slots, or a segment that covers several leaf slots,
//! is simply repeated there.

use super::segment::SegmentRef;
use super::{Limits, Work};
use crate::prefetch::prefetch;

/// A leaf: `1 << bits` segment references for the positions that share `depth` leading bits.
#[derive(Clone, Copy)]
struct Leaf {
    /// With `bits == 0` the one reference, otherwise the address of a boxed slice of them.
    content: u64,
    depth: u8,
    bits: u8,
}

impl Leaf {
    const EMPTY: Leaf = Leaf { content: 0, depth: 0, bits: 0 };

    /// Takes ownership of `segments`.
    fn new(depth: u8, segments: Vec<SegmentRef>) -> Leaf {
        let bits = segments.len().trailing_zeros() as u8;
        assert!(segments.len().is_power_of_two());
        if let [segment] = segments[..] {
            return Leaf { content: segment.0, depth, bits };
        }
        let slots = Box::into_raw(segments.into_boxed_slice()).cast::<SegmentRef>();
        Leaf { content: slots.expose_provenance() as u64, depth, bits }
    }

    fn slots_bytes(self) -> usize {
        if self.bits == 0 { 0 } else { size_of::<SegmentRef>() << self.bits }
    }

    fn pointer(self) -> *mut SegmentRef {
        debug_assert!(self.bits > 0);
        std::ptr::with_exposed_provenance_mut(self.content as usize)
    }

    fn to_vec(self) -> Vec<SegmentRef> {
        if self.bits == 0 {
            return vec![SegmentRef(self.content)];
        }
        // SAFETY: a leaf with bits owns a slice of that length; the directory is borrowed by whoever calls.
        unsafe { std::slice::from_raw_parts(self.pointer(), 1 << self.bits) }.to_vec()
    }

    /// # Safety
    /// The leaf is not used any more.
    unsafe fn free(self) {
        if self.bits > 0 {
            // SAFETY: made by `new` from a boxed slice of this length.
            drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.pointer(), 1 << self.bits)) });
        }
    }

    #[inline]
    fn slot_of(self, position: u64) -> usize {
        ((position << self.depth) >> (64 - u32::from(self.bits))) as usize
    }
}

#[repr(C)]
pub(super) struct Directory {
    /// The only leaf while `root_bits` is 0.
    first: Leaf,
    root_bits: u8,
    root: Box<[Leaf]>,
}

impl Directory {
    pub(super) fn new() -> Directory {
        Directory { first: Leaf::EMPTY, root_bits: 0, root: Box::default() }
    }

    #[inline]
    fn leaf(&self, position: u64) -> Leaf {
        if self.root_bits == 0 {
            self.first
        } else {
            self.root[(position >> (64 - u32::from(self.root_bits))) as usize]
        }
    }

    /// Asks for what [`segment`](Self::segment) reads behind the directory's first words.
    #[inline]
    pub(super) fn prefetch(&self, position: u64) {
        let leaf = self.leaf(position);
        if leaf.bits != 0 {
            prefetch(leaf.pointer().wrapping_add(leaf.slot_of(position)).cast_const().cast());
        }
    }

    /// The same before any position is known, for a small directory.
    #[inline]
    pub(super) fn prefetch_first(&self) {
        if self.first.bits != 0 {
            prefetch(self.first.pointer().cast_const().cast());
        }
    }

    /// The segment of a position; none while the table is empty.
    #[inline]
    pub(super) fn segment(&self, position: u64) -> SegmentRef {
        let leaf = self.leaf(position);
        if leaf.bits == 0 {
            return SegmentRef(leaf.content);
        }
        // SAFETY: `slot_of` is below the number of slots, by its shift.
        unsafe { *leaf.pointer().add(leaf.slot_of(position)) }
    }

    /// How many bits the leaf of this position takes for granted: segments merge only within it.
    pub(super) fn leaf_depth(&self, position: u64) -> u32 {
        u32::from(self.leaf(position).depth)
    }

    fn set_leaf(&mut self, position: u64, leaf: Leaf) {
        if self.root_bits == 0 {
            self.first = leaf;
            return;
        }
        let count = 1usize << (self.root_bits - leaf.depth);
        let start = (position >> (64 - u32::from(self.root_bits))) as usize & !(count - 1);
        self.root[start..start + count].fill(leaf);
    }

    /// Writes `segment` wherever a position shares its depth's bits with `position`. The directory must be deep enough.
    pub(super) fn set(&mut self, position: u64, segment: SegmentRef, depth: u32) {
        let mut leaf = self.leaf(position);
        let (leaf_depth, bits) = (u32::from(leaf.depth), u32::from(leaf.bits));
        assert!(depth >= leaf_depth && depth <= leaf_depth + bits);
        if bits == 0 {
            leaf.content = segment.0;
            return self.set_leaf(position, leaf);
        }
        let count = 1usize << (leaf_depth + bits - depth);
        let start = leaf.slot_of(position) & !(count - 1);
        // SAFETY: the range lies within the leaf's slice, which this directory owns alone.
        unsafe { std::slice::from_raw_parts_mut(leaf.pointer().add(start), count) }.fill(segment);
    }

    /// Makes the directory tell apart positions that differ in bit `depth` only.
    pub(super) fn deepen(&mut self, position: u64, depth: u32, limits: &Limits, work: &mut Work) {
        loop {
            let leaf = self.leaf(position);
            if u32::from(leaf.depth) + u32::from(leaf.bits) >= depth {
                return;
            }
            let slots = leaf.to_vec();
            if u32::from(leaf.bits) < limits.leaf_bits_max {
                let doubled = Leaf::new(leaf.depth, slots.iter().flat_map(|&segment| [segment; 2]).collect());
                work.resized_directory(leaf.slots_bytes(), doubled.slots_bytes());
                self.set_leaf(position, doubled);
            } else {
                if leaf.depth == self.root_bits {
                    self.double_root(work);
                }
                let (low, high) = slots.split_at(slots.len() / 2);
                let half = 1u64 << (63 - leaf.depth);
                for (position, slots) in [(position & !half, low), (position | half, high)] {
                    let leaf = Leaf::new(leaf.depth + 1, slots.to_vec());
                    work.resized_directory(0, leaf.slots_bytes());
                    self.set_leaf(position, leaf);
                }
                work.resized_directory(leaf.slots_bytes(), 0);
            }
            // SAFETY: replaced by its copies above.
            unsafe { leaf.free() };
        }
    }

    fn double_root(&mut self, work: &mut Work) {
        let old = self.root_bytes();
        self.root = if self.root_bits == 0 {
            Box::new([self.first; 2])
        } else {
            self.root.iter().flat_map(|&leaf| [leaf; 2]).collect()
        };
        self.root_bits += 1;
        work.resized_directory(old, self.root_bytes());
    }

    fn root_bytes(&self) -> usize {
        self.root.len() * size_of::<Leaf>()
    }

    /// After a merge at `position`: gives back what the directory no longer needs there. Returns whether it changed.
    pub(super) fn relax(&mut self, position: u64, limits: &Limits, work: &mut Work) -> bool {
        self.halve_leaf(position, work) | self.merge_leaves(position, limits, work)
    }

    /// Halves the leaf if no segment there needs its last bit.
    fn halve_leaf(&mut self, position: u64, work: &mut Work) -> bool {
        let leaf = self.leaf(position);
        if leaf.bits == 0 {
            return false;
        }
        // SAFETY: the slice of a leaf with bits.
        let slots = unsafe { std::slice::from_raw_parts(leaf.pointer(), 1 << leaf.bits) };
        if slots.chunks_exact(2).any(|pair| pair[0] != pair[1]) {
            return false;
        }
        let halved = Leaf::new(leaf.depth, slots.chunks_exact(2).map(|pair| pair[0]).collect());
        work.resized_directory(leaf.slots_bytes(), halved.slots_bytes());
        self.set_leaf(position, halved);
        // SAFETY: replaced by its copy.
        unsafe { leaf.free() };
        true
    }

    /// Joins the leaf with its buddy when the result has room to grow again.
    fn merge_leaves(&mut self, position: u64, limits: &Limits, work: &mut Work) -> bool {
        let leaf = self.leaf(position);
        if leaf.depth == 0 {
            return false;
        }
        let half = 1u64 << (64 - leaf.depth);
        let (low, high) = (self.leaf(position & !half), self.leaf(position | half));
        let bits = low.bits.max(high.bits) + 1;
        if low.depth != high.depth || u32::from(bits) > limits.leaf_bits_max.saturating_sub(1).max(1) {
            return false;
        }
        let mut slots = Vec::with_capacity(1 << bits);
        for side in [low, high] {
            let repeat = 1usize << (bits - 1 - side.bits);
            slots.extend(side.to_vec().into_iter().flat_map(|segment| std::iter::repeat_n(segment, repeat)));
        }
        let merged = Leaf::new(leaf.depth - 1, slots);
        work.resized_directory(low.slots_bytes() + high.slots_bytes(), merged.slots_bytes());
        self.set_leaf(position, merged);
        // SAFETY: replaced by their copy.
        unsafe {
            low.free();
            high.free();
        }
        while self.root_bits > 0 && self.root.iter().all(|leaf| leaf.depth < self.root_bits) {
            self.halve_root(work);
        }
        true
    }

    fn halve_root(&mut self, work: &mut Work) {
        let old = self.root_bytes();
        self.root_bits -= 1;
        if self.root_bits == 0 {
            self.first = self.root[0];
            self.root = Box::default();
        } else {
            self.root = self.root.iter().step_by(2).copied().collect();
        }
        work.resized_directory(old, self.root_bytes());
    }

    /// Every segment once, in order of position.
    pub(super) fn segments(&self) -> impl Iterator<Item = SegmentRef> {
        let mut next = Some(0u64);
        std::iter::from_fn(move || {
            let position = next?;
            let segment = self.segment(position);
            if segment.is_none() {
                return None;
            }
            next = segment_end(position, segment);
            Some(segment)
        })
    }

    /// Bytes of leaves and root.
    pub(super) fn bytes(&self) -> usize {
        let mut bytes = self.root_bytes();
        let mut next = Some(0u64);
        while let Some(position) = next {
            let leaf = self.leaf(position);
            bytes += leaf.slots_bytes();
            next = next_prefix(position, u32::from(leaf.depth));
        }
        bytes
    }

    /// Gives back the directory itself; segments are the caller's.
    pub(super) fn clear(&mut self, work: &mut Work) {
        let mut position = Some(0u64);
        while let Some(at) = position {
            let leaf = self.leaf(at);
            position = next_prefix(at, u32::from(leaf.depth));
            work.resized_directory(leaf.slots_bytes(), 0);
            // SAFETY: each leaf is visited once, and the directory is emptied below.
            unsafe { leaf.free() };
        }
        work.resized_directory(self.root_bytes(), 0);
        *self = Directory::new();
    }
}

/// The first position that does not share `position`'s first `depth` bits; `None` at the end of hash space.
pub(super) fn next_prefix(position: u64, depth: u32) -> Option<u64> {
    if depth == 0 {
        return None;
    }
    let step = 1u64 << (64 - depth);
    (position & !(step - 1)).checked_add(step)
}

/// The first position after `segment`, which holds `position`.
pub(super) fn segment_end(position: u64, segment: SegmentRef) -> Option<u64> {
    next_prefix(position, segment.depth())
}

//! Captures: what makes a walk over a changing table see it as it was at one instant, the *cut*.
//!
//! The unit is a home bucket with its overflow. A unit is *done* when all its elements have been captured; a segment knows which of its units are, for the
//! cut whose number it carries as its stamp. Whoever is about to change anything in a unit captures it first. Segments made while a cut is active are
//! born done: whatever is made anew (a resize, a split, a merge) is captured as a whole before.
//!
//! It cannot be forgotten, because nothing in a table is changed except through an [`Unlocked`], and those come from the table alone.

use super::{Element, Place};

/// Receives the elements of a table as they were at the cut.
pub(crate) trait Capture<E> {
    /// The cut's number, which is not 0.
    fn number(&self) -> u32;

    /// Some elements of one unit, each of them once. Returns about how many bytes of work they were.
    fn take(&self, elements: &[E]) -> usize;

    /// So many units had to be captured because somebody was about to change them.
    fn forced(&self, units: usize);
}

/// An element that may be changed or taken out: its unit needs no capture any more. Valid as long as its table is held and keeps its segments.
pub(crate) struct Unlocked<E: Element> {
    pub(super) place: Place,
    pub(super) element: E,
}

impl<E: Element> Unlocked<E> {
    #[inline]
    pub(crate) fn element(&self) -> E {
        self.element
    }

    /// An element that is in no table which could have been cut, at a place that is never looked at.
    #[cfg(test)]
    pub(crate) fn alone(element: E) -> Unlocked<E> {
        Unlocked { place: Place { segment: super::SegmentRef(0), bucket: 0, slot: 0 }, element }
    }
}

/// What capturing some units came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Captured {
    pub(crate) units: usize,
    pub(crate) cost_bytes: usize,
}

impl std::ops::AddAssign for Captured {
    fn add_assign(&mut self, other: Captured) {
        self.units += other.units;
        self.cost_bytes += other.cost_bytes;
    }
}

//! Ranges of scores and of members.

/// Scores from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub min: f64,
    /// `min` itself is outside; likewise below.
    pub min_excluded: bool,
    pub max: f64,
    pub max_excluded: bool,
}

impl ScoreRange {
    pub const ALL: ScoreRange =
        ScoreRange { min: f64::NEG_INFINITY, min_excluded: false, max: f64::INFINITY, max_excluded: false };

    /// Scores from `min` to `max`, both included.
    pub fn closed(min: f64, max: f64) -> ScoreRange {
        ScoreRange { min, min_excluded: false, max, max_excluded: false }
    }

    #[inline]
    pub fn is_below(&self, score: f64) -> bool {
        score < self.min || self.min_excluded && score == self.min
    }

    #[inline]
    pub fn is_above(&self, score: f64) -> bool {
        score > self.max || self.max_excluded && score == self.max
    }
}

/// One end of a range of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// `-`: before everything.
    Lowest,
    /// `+`: behind everything.
    Highest,
    Included(&'a [u8]),
    Excluded(&'a [u8]),
}

/// Members from `min` to `max`, compared byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    pub min: LexBound<'a>,
    pub max: LexBound<'a>,
}

impl LexRange<'_> {
    #[inline]
    pub fn is_below(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Included(min) => member < min,
            LexBound::Excluded(min) => member <= min,
        }
    }

    #[inline]
    pub fn is_above(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::Lowest => true,
            LexBound::Highest => false,
            LexBound::Included(max) => member > max,
            LexBound::Excluded(max) => member >= max,
        }
    }

    /// Whether its ends leave nothing between them.
    pub fn is_void(&self) -> bool {
        use LexBound::{Excluded, Highest, Included, Lowest};
        match (self.min, self.max) {
            (Lowest, Lowest) | (Highest, _) | (_, Lowest) => true,
            (Lowest, _) | (_, Highest) => false,
            (Included(min), Included(max)) => min > max,
            (Included(min) | Excluded(min), Included(max) | Excluded(max)) => min >= max,
        }
    }
}

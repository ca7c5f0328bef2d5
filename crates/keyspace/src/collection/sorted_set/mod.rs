//! Sorted sets: members by score, and by their bytes where scores are equal.
//!
//! | encoding | kept as | file |
//! |---|---|---|
//! | `listpack` | members and scores by turns | `packed.rs` |
//! | `skiplist` (Redis's name) | a table by member (`member.rs`) beside a B+tree of them in order (`order.rs`) | `tree.rs` |
//!
//! Everything about ranges is a range of *ranks*, places counted from the lowest score: [`SortedSet::ranks_by_score`] and
//! [`SortedSet::ranks_by_lex`] find them in O(log n), [`SortedSet::iter`] walks them, [`SortedSet::remove_ranks`] removes them.
//!
//! A score is never NaN. A sorted set that has become large stays so.

mod builder;
mod member;
mod order;
mod packed;
mod range;
#[cfg(test)]
mod tests;
mod tree;

use std::ops::{Range, RangeInclusive};
use std::ptr::NonNull;

pub use self::builder::SortedSetBuilder;
pub use self::range::{LexBound, LexRange, ScoreRange};
pub use self::tree::Tree;

use super::limits::SortedSetLimits;
use super::listpack::Item;
use super::{Code, Collection, Listpack, box_from_raw, box_into_raw};

#[derive(Debug)]
pub enum SortedSet {
    Packed(Listpack),
    Tree(Box<Tree>),
}

impl Default for SortedSet {
    fn default() -> SortedSet {
        SortedSet::Packed(Listpack::new())
    }
}

/// Which way a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the lowest score on.
    Up,
    /// From the highest score down.
    Down,
}

impl SortedSet {
    /// A member's score. O(1), or O(n) in a small one.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            SortedSet::Packed(listpack) => packed::find(listpack, member).map(|found| found.score),
            SortedSet::Tree(tree) => tree.score(member),
        }
    }

    /// Gives a member the score that `decide` makes of the one it has, if it has one: the one way to add and to change. `None`
    /// leaves everything as it is, and so does an equal score (of both zeros the one that is there stays). O(log n).
    #[inline]
    pub fn update(&mut self, member: &[u8], limits: &SortedSetLimits, decide: impl FnOnce(Option<f64>) -> Option<f64>) {
        let listpack = match self {
            SortedSet::Tree(tree) => return tree.update(member, decide),
            SortedSet::Packed(listpack) => listpack,
        };
        match packed::find(listpack, member) {
            Some(found) => {
                if let Some(score) = decide(Some(found.score))
                    && score != found.score
                {
                    packed::update(listpack, found, member, score);
                }
            }
            None => {
                let Some(score) = decide(None) else { return };
                if listpack.len() / 2 < limits.listpack_entries_max
                    && member.len() <= limits.listpack_value_bytes_max
                    && listpack.fits(member.len() + SCORE_BYTES_MAX, 2)
                {
                    packed::insert(listpack, member, score);
                } else {
                    self.unpack().update(member, |_| Some(score));
                }
            }
        }
    }

    /// One command brings `count` members, the first of them `first_bytes` long: if that alone is too much for the small encoding, it is
    /// left at once. Redis 8.2 was seen to look at just these figures; what it overlooks, each member's coming decides.
    pub fn expect(&mut self, count: usize, first_bytes: usize, limits: &SortedSetLimits) {
        if let SortedSet::Packed(listpack) = self
            && (count > limits.listpack_entries_max
                || listpack.is_empty() && first_bytes > limits.listpack_value_bytes_max)
        {
            self.unpack();
        }
    }

    /// Leaves the small encoding.
    fn unpack(&mut self) -> &mut Tree {
        if let SortedSet::Packed(listpack) = self {
            let mut builder = SortedSetBuilder::default();
            let mut buffer = crate::value::IntBuffer::new();
            for (member, score) in packed::Walk::new(listpack, 0..listpack.len() / 2) {
                builder.push(member.bytes(&mut buffer), score);
            }
            *self = SortedSet::Tree(Box::new(builder.into_tree()));
        }
        match self {
            SortedSet::Tree(tree) => tree,
            SortedSet::Packed(_) => unreachable!("it was unpacked just now"),
        }
    }

    /// Removes a member; says what its score was. O(log n).
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self {
            SortedSet::Packed(listpack) => {
                let found = packed::find(listpack, member)?;
                packed::remove(listpack, found);
                Some(found.score)
            }
            SortedSet::Tree(tree) => tree.remove(member),
        }
    }

    /// Removes the members of these ranks. O(log n + m).
    ///
    /// # Panics
    /// If there are no such ranks.
    pub fn remove_ranks(&mut self, ranks: Range<usize>) {
        assert!(ranks.start <= ranks.end && ranks.end <= self.len(), "ranks beyond the end");
        if ranks.is_empty() {
            return;
        }
        match self {
            SortedSet::Packed(listpack) => packed::remove_ranks(listpack, ranks),
            SortedSet::Tree(tree) => tree.remove_ranks(ranks),
        }
    }

    /// A member's rank and score. O(log n).
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            SortedSet::Packed(listpack) => packed::rank(listpack, member),
            SortedSet::Tree(tree) => tree.rank(member),
        }
    }

    /// The ranks of the members with a score in this range. O(log n).
    pub fn ranks_by_score(&self, range: &ScoreRange) -> Range<usize> {
        match self {
            SortedSet::Packed(listpack) => packed::ranks_by_score(listpack, range),
            SortedSet::Tree(tree) => tree.ranks_by_score(range),
        }
    }

    /// The ranks of the members in this range, all scores being equal. Where they are not, the result is as arbitrary as Redis's, and may
    /// depend on the direction; it is still a range of ranks. O(log n).
    pub fn ranks_by_lex(&self, range: &LexRange<'_>, direction: Direction) -> Range<usize> {
        match self {
            SortedSet::Packed(listpack) => packed::ranks_by_lex(listpack, range, direction == Direction::Down),
            SortedSet::Tree(_) if range.is_void() => 0..0,
            SortedSet::Tree(tree) => tree.ranks_by_lex(range),
        }
    }

    /// The members of these ranks with their scores, in either direction. O(log n) to begin with.
    #[inline]
    pub fn iter(&self, ranks: Range<usize>, direction: Direction) -> Iter<'_> {
        Iter(match (self, direction) {
            (SortedSet::Packed(listpack), Direction::Up) => Walk::Packed(packed::Walk::new(listpack, ranks)),
            (SortedSet::Packed(listpack), Direction::Down) => Walk::PackedBack(packed::WalkBack::new(listpack, ranks)),
            (SortedSet::Tree(tree), Direction::Up) => Walk::Tree(tree.order().walk(ranks.start, ranks.end)),
            (SortedSet::Tree(tree), Direction::Down) => Walk::TreeBack(tree.order().walk_back(ranks.start, ranks.end)),
        })
    }

    /// All members with their scores, in ascending order.
    pub fn all(&self) -> Iter<'_> {
        self.iter(0..self.len(), Direction::Up)
    }

    /// The member of this rank with its score. O(log n).
    pub fn nth(&self, rank: usize) -> Option<(Item<'_>, f64)> {
        match self {
            SortedSet::Packed(listpack) => packed::Walk::new(listpack, rank..rank + 1).next(),
            SortedSet::Tree(tree) => tree.order().nth(rank).map(|member| (Item::Bytes(member.text()), member.score())),
        }
    }

    /// Visits about `count` members from a cursor on and returns the next cursor; 0 is start and end. A small one is visited as a whole.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Item<'_>, f64)) -> u64 {
        match self {
            SortedSet::Packed(_) => {
                self.all().for_each(|(member, score)| visit(member, score));
                0
            }
            SortedSet::Tree(tree) => {
                tree.table().scan(cursor, count, |member| visit(Item::Bytes(member.text()), member.score()))
            }
        }
    }
}

/// The longest text of a score.
const SCORE_BYTES_MAX: usize = 32;

/// A walk over members, see [`SortedSet::iter`].
pub struct Iter<'a>(Walk<'a>);

enum Walk<'a> {
    Packed(packed::Walk<'a>),
    PackedBack(packed::WalkBack<'a>),
    Tree(order::Walk<'a>),
    TreeBack(order::WalkBack<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Item<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Item<'a>, f64)> {
        let member = match &mut self.0 {
            Walk::Packed(walk) => return walk.next(),
            Walk::PackedBack(walk) => return walk.next(),
            Walk::Tree(walk) => walk.next()?,
            Walk::TreeBack(walk) => walk.next()?,
        };
        Some((Item::Bytes(member.text()), member.score()))
    }
}

const PACKED: Code = 8;
const TREE: Code = 9;

// SAFETY: each encoding has a code of its own.
unsafe impl Collection for SortedSet {
    const TYPE_NAME: &'static str = "zset";
    const CODES: RangeInclusive<Code> = PACKED..=TREE;

    fn into_parts(self) -> (Code, NonNull<u8>) {
        match self {
            SortedSet::Packed(listpack) => (PACKED, listpack.into_raw()),
            SortedSet::Tree(tree) => (TREE, box_into_raw(tree)),
        }
    }

    unsafe fn from_parts(code: Code, pointer: NonNull<u8>) -> SortedSet {
        // SAFETY: the caller's promise; the code says which it was.
        unsafe {
            match code {
                PACKED => SortedSet::Packed(Listpack::from_raw(pointer)),
                _ => SortedSet::Tree(box_from_raw(pointer)),
            }
        }
    }

    fn encoding_name(&self) -> &'static str {
        match self {
            SortedSet::Packed(_) => "listpack",
            SortedSet::Tree(_) => "skiplist",
        }
    }

    fn len(&self) -> usize {
        match self {
            SortedSet::Packed(listpack) => listpack.len() / 2,
            SortedSet::Tree(tree) => tree.len(),
        }
    }

    fn memory_usage(&self, samples: usize) -> usize {
        match self {
            SortedSet::Packed(listpack) => listpack.memory_usage(),
            SortedSet::Tree(tree) => tree.memory_usage(samples),
        }
    }

    fn duplicate(&self) -> SortedSet {
        match self {
            SortedSet::Packed(listpack) => SortedSet::Packed(listpack.clone()),
            SortedSet::Tree(tree) => SortedSet::Tree(Box::new(tree.duplicate())),
        }
    }

    fn free_cost(&self) -> usize {
        match self {
            SortedSet::Packed(_) => 1,
            SortedSet::Tree(tree) => tree.len(),
        }
    }
}

//! A sorted set in the making: members come in any order and their scores may change, and the order is made once, at the end.

use super::member::Member;
use super::tree::{Tree, sorted};
use super::{SCORE_BYTES_MAX, SortedSet, packed};
use crate::collection::Listpack;
use crate::collection::limits::SortedSetLimits;
use crate::collection::table::{ElementTable, member_hash};
use crate::table::Element;

#[derive(Default)]
pub struct SortedSetBuilder {
    table: ElementTable<Member>,
    text_bytes: usize,
    /// Of all that were ever put in.
    member_bytes_max: usize,
}

impl SortedSetBuilder {
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a member that is not there.
    pub fn push(&mut self, text: &[u8], score: f64) {
        self.table.insert(member_hash(text), Member::new(text, score));
        self.count(text);
    }

    /// Adds a member, or gives the one that is there the score that `combine` makes of both.
    pub fn add(&mut self, text: &[u8], score: f64, combine: impl FnOnce(f64, f64) -> f64) {
        let hash = member_hash(text);
        match self.table.find_unlocked(hash, text) {
            Some(member) => member.set_score(combine(member.element().score(), score)),
            None => {
                self.table.insert(hash, Member::new(text, score));
                self.count(text);
            }
        }
    }

    fn count(&mut self, text: &[u8]) {
        self.text_bytes += text.len();
        self.member_bytes_max = self.member_bytes_max.max(text.len());
    }

    /// Removes a member if it is there.
    pub fn remove(&mut self, text: &[u8]) {
        let hash = member_hash(text);
        if let Some(member) = self.table.find_unlocked(hash, text) {
            let removed = self.table.remove(hash, member);
            self.text_bytes -= text.len();
            // SAFETY: out of the table.
            unsafe { removed.dispose() };
        }
    }

    /// Every member and score in ascending order.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], f64)) {
        sorted(&self.table).into_iter().for_each(|member| visit(member.text(), member.score()));
    }

    pub(super) fn into_tree(self) -> Tree {
        Tree::from_table(self.table)
    }

    /// The sorted set, small if it may be.
    pub fn finish(self, limits: &SortedSetLimits) -> SortedSet {
        let small = self.len() <= limits.listpack_entries_max
            && self.member_bytes_max <= limits.listpack_value_bytes_max
            && Listpack::new().fits(self.text_bytes + self.len() * SCORE_BYTES_MAX, 2 * self.len());
        if !small {
            return SortedSet::Tree(Box::new(self.into_tree()));
        }
        let mut listpack = Listpack::new();
        self.for_each(|member, score| packed::push(&mut listpack, member, score));
        SortedSet::Packed(listpack)
    }
}

//! A large sorted set: a table by member, which owns the members, beside their order.

use std::ops::Range;

use super::member::{Member, order_key};
use super::order::Order;
use super::{LexRange, ScoreRange};
use crate::collection::table::{ElementTable, Opened, member_hash};
use crate::table::{Buckets, Element};

#[derive(Default)]
pub struct Tree {
    table: ElementTable<Member>,
    order: Order,
}

// SAFETY: it owns its members and nodes alone, and changes them through `&mut` only.
unsafe impl Send for Tree {}
// SAFETY: as above.
unsafe impl Sync for Tree {}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tree({} members)", self.len())
    }
}

impl Tree {
    /// Of members that all are different, in any order.
    pub(super) fn from_table(table: ElementTable<Member>) -> Tree {
        let members = sorted(&table);
        Tree { order: Order::from_sorted(&members), table }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn score(&self, text: &[u8]) -> Option<f64> {
        self.table.find(member_hash(text), text).map(Member::score)
    }

    #[inline]
    pub(super) fn update(&mut self, text: &[u8], decide: impl FnOnce(Option<f64>) -> Option<f64>) {
        let hash = member_hash(text);
        match self.table.find_unlocked(hash, text) {
            Some(member) => {
                let old = member.element().score();
                if let Some(score) = decide(Some(old))
                    && score != old
                {
                    self.order.update(&member, score);
                }
            }
            None => {
                if let Some(score) = decide(None) {
                    let member = Member::new(text, score);
                    self.table.insert(hash, member);
                    self.order.insert(member);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, text: &[u8]) -> Option<f64> {
        let hash = member_hash(text);
        let member = self.table.find_unlocked(hash, text)?;
        let score = member.element().score();
        self.order.remove(member.element());
        let removed = self.table.remove(hash, member);
        // SAFETY: out of the order and of the table.
        unsafe { removed.dispose() };
        Some(score)
    }

    pub(super) fn remove_ranks(&mut self, ranks: Range<usize>) {
        let table = &mut self.table;
        self.order.remove_range(ranks.start, ranks.end, |member| {
            let hash = member_hash(member.text());
            let member = table.find_unlocked(hash, member.text()).expect("the table knows every member");
            let removed = table.remove(hash, member);
            // SAFETY: out of the table, and the order does not look at it any more.
            unsafe { removed.dispose() };
        });
    }

    pub(super) fn rank(&self, text: &[u8]) -> Option<(usize, f64)> {
        let member = self.table.find(member_hash(text), text)?;
        Some((self.order.rank(member), member.score()))
    }

    pub(super) fn ranks_by_score(&self, range: &ScoreRange) -> Range<usize> {
        // Keys are integers: what is above one is what is not below the next.
        let start = self.order.rank_of_key(order_key(range.min) + u64::from(range.min_excluded));
        let end = self.order.rank_of_key(order_key(range.max) + u64::from(!range.max_excluded));
        start..end.max(start)
    }

    pub(super) fn ranks_by_lex(&self, range: &LexRange<'_>) -> Range<usize> {
        // Where scores differ this shows: Redis looks at both ends first.
        let (first, last) = (self.order.nth(0), self.order.nth(self.len().saturating_sub(1)));
        if first.is_none_or(|member| range.is_above(member.text()))
            || last.is_none_or(|member| range.is_below(member.text()))
        {
            return 0..0;
        }
        let start = self.order.rank_where(|member| range.is_below(member));
        let end = self.order.rank_where(|member| !range.is_above(member));
        start..end.max(start)
    }

    pub(super) fn order(&self) -> &Order {
        &self.order
    }

    pub(super) fn table(&self) -> &ElementTable<Member> {
        &self.table
    }

    pub(crate) fn compact(&mut self, from: u64, count: usize) -> Option<u64> {
        let Tree { table, order } = self;
        table.compact(from, count, |old, new| order.relocate(old, new))
    }

    pub(crate) fn opened(&mut self) -> &mut dyn Opened {
        &mut self.table
    }

    pub(crate) fn buckets(&self) -> Buckets<'_> {
        self.table.buckets()
    }

    pub(super) fn duplicate(&self) -> Tree {
        let mut copies = Vec::with_capacity(self.len());
        let mut table = ElementTable::default();
        for member in self.order.walk(0, self.len()) {
            let copy = Member::new(member.text(), member.score());
            table.insert(member_hash(copy.text()), copy);
            copies.push(copy);
        }
        Tree { table, order: Order::from_sorted(&copies) }
    }

    pub(super) fn memory_usage(&self, samples: usize) -> usize {
        let seen = if samples == 0 { self.len() } else { samples.min(self.len()) };
        let sampled: usize = self.table.iter().take(seen).map(Member::allocated_bytes).sum();
        let members = if seen == 0 { 0 } else { (sampled as f64 / seen as f64 * self.len() as f64) as usize };
        size_of::<Tree>() + self.table.table_bytes() + self.order.allocated_bytes(samples) + members
    }
}

/// The members of a table in ascending order.
pub(super) fn sorted(table: &ElementTable<Member>) -> Vec<Member> {
    // The key beside the pointer: most comparisons look no further.
    let mut members: Vec<(u64, Member)> = table.iter().map(|member| (member.key(), member)).collect();
    members.sort_unstable_by(|(key, member), (other_key, other)| {
        key.cmp(other_key).then_with(|| member.text().cmp(other.text()))
    });
    members.into_iter().map(|(_, member)| member).collect()
}

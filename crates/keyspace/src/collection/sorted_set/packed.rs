//! A small sorted set: members and scores by turns in a listpack, in ascending order.
//!
//! Scores are kept as Redis keeps them: a whole number as an integer, so that -0 becomes 0, any other as its text.

use std::cmp::Ordering;
use std::ops::Range;

use resp::number::{DoubleText, parse_f64};

use super::{LexRange, ScoreRange};
use crate::collection::listpack::{Item, Listpack, Position};
use crate::value::IntBuffer;

/// Where a member stands, and its score.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) position: Position,
    pub(super) score: f64,
}

/// A score as it is written in a listpack.
fn score_of(item: Item<'_>) -> f64 {
    match item {
        Item::Int(number) => number as f64,
        // Whoever takes a listpack from outside makes sure that every second item is a number.
        Item::Bytes(text) => parse_f64(text).unwrap_or_default(),
    }
}

fn next_of(listpack: &Listpack, position: Position) -> Position {
    listpack.next(position).expect("behind every member stands its score")
}

pub(super) fn compare(item: Item<'_>, text: &[u8]) -> Ordering {
    match item {
        Item::Bytes(bytes) => bytes.cmp(text),
        Item::Int(number) => IntBuffer::new().format(number).cmp(text),
    }
}

pub(super) fn find(listpack: &Listpack, member: &[u8]) -> Option<Found> {
    let position = listpack.find(member, listpack.first()?, 1)?;
    Some(Found { position, score: score_of(listpack.get(next_of(listpack, position))) })
}

/// Puts a member that is not there in its place.
pub(super) fn insert(listpack: &mut Listpack, member: &[u8], score: f64) {
    let mut at = listpack.first();
    while let Some(position) = at {
        let score_at = next_of(listpack, position);
        let other = score_of(listpack.get(score_at));
        if other > score || other == score && compare(listpack.get(position), member).is_gt() {
            let before = listpack.insert_before(position, member);
            insert_score(listpack, before, score);
            return;
        }
        at = listpack.next(score_at);
    }
    push(listpack, member, score);
}

fn insert_score(listpack: &mut Listpack, member: Position, score: f64) {
    // What looks like an integer becomes one: whole numbers need no road of their own.
    listpack.insert_after(member, ScoreText::new(score).as_bytes());
}

/// Appends a member that belongs behind all others.
pub(super) fn push(listpack: &mut Listpack, member: &[u8], score: f64) {
    listpack.push_back(member);
    listpack.push_back(ScoreText::new(score).as_bytes());
}

/// Without a sign before zero.
struct ScoreText(DoubleText);

impl ScoreText {
    fn new(score: f64) -> ScoreText {
        ScoreText(DoubleText::new(score + 0.0))
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

pub(super) fn remove(listpack: &mut Listpack, found: Found) {
    listpack.remove_many(found.position, 2);
}

pub(super) fn update(listpack: &mut Listpack, found: Found, member: &[u8], score: f64) {
    remove(listpack, found);
    insert(listpack, member, score);
}

pub(super) fn remove_ranks(listpack: &mut Listpack, ranks: Range<usize>) {
    if let Some(position) = listpack.seek(2 * ranks.start as i64) {
        listpack.remove_many(position, 2 * ranks.len());
    }
}

pub(super) fn rank(listpack: &Listpack, member: &[u8]) -> Option<(usize, f64)> {
    let (rank, (_, score)) = iter(listpack).enumerate().find(|(_, (item, _))| item.is(member))?;
    Some((rank, score))
}

/// All members and scores, in order.
fn iter(listpack: &Listpack) -> Walk<'_> {
    Walk::new(listpack, 0..listpack.len() / 2)
}

pub(super) fn ranks_by_score(listpack: &Listpack, range: &ScoreRange) -> Range<usize> {
    let mut ranks = 0..0;
    for (_, score) in iter(listpack) {
        if range.is_above(score) {
            break;
        }
        ranks.end += 1;
        if range.is_below(score) {
            ranks.start += 1;
        }
    }
    ranks
}

/// Where scores differ the members are in no order, and it shows in which direction Redis goes: from its end to the first member in the
/// range, and on to the first that is not.
pub(super) fn ranks_by_lex(listpack: &Listpack, range: &LexRange<'_>, backwards: bool) -> Range<usize> {
    let len = listpack.len() / 2;
    let mut buffer = IntBuffer::new();
    let mut below = |item: Item<'_>| range.is_below(item.bytes(&mut buffer));
    let mut other_buffer = IntBuffer::new();
    let mut above = |item: Item<'_>| range.is_above(item.bytes(&mut other_buffer));
    let first = iter(listpack).next().map(|(item, _)| item);
    let last = back(listpack, len).next().map(|(item, _)| item);
    // Redis looks at both ends first.
    let (Some(first), Some(last)) = (first, last) else { return 0..0 };
    if range.is_void() || above(first) || below(last) {
        return 0..0;
    }
    if backwards {
        let skipped = back(listpack, len).take_while(|(item, _)| above(*item)).count();
        let inside = back(listpack, len).skip(skipped).take_while(|(item, _)| !below(*item)).count();
        len - skipped - inside..len - skipped
    } else {
        let skipped = iter(listpack).take_while(|(item, _)| below(*item)).count();
        let inside = iter(listpack).skip(skipped).take_while(|(item, _)| !above(*item)).count();
        skipped..skipped + inside
    }
}

/// The members before rank `end`, the last of them first.
fn back(listpack: &Listpack, end: usize) -> WalkBack<'_> {
    WalkBack::new(listpack, 0..end)
}

/// A walk from some rank on.
pub(super) struct Walk<'a> {
    listpack: &'a Listpack,
    at: Option<Position>,
    left: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(listpack: &'a Listpack, ranks: Range<usize>) -> Walk<'a> {
        Walk { listpack, at: listpack.seek(2 * ranks.start as i64), left: ranks.len() }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (Item<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Item<'a>, f64)> {
        self.left = self.left.checked_sub(1)?;
        let member_at = self.at?;
        let score_at = next_of(self.listpack, member_at);
        self.at = self.listpack.next(score_at);
        Some((self.listpack.get(member_at), score_of(self.listpack.get(score_at))))
    }
}

/// A walk from before some rank down.
pub(super) struct WalkBack<'a> {
    listpack: &'a Listpack,
    at: Option<Position>,
    left: usize,
}

impl<'a> WalkBack<'a> {
    pub(super) fn new(listpack: &'a Listpack, ranks: Range<usize>) -> WalkBack<'a> {
        let last = ranks.end.checked_sub(1);
        WalkBack { listpack, at: last.and_then(|last| listpack.seek(2 * last as i64 + 1)), left: ranks.len() }
    }
}

impl<'a> Iterator for WalkBack<'a> {
    type Item = (Item<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Item<'a>, f64)> {
        self.left = self.left.checked_sub(1)?;
        let score_at = self.at?;
        let member_at = self.listpack.prev(score_at)?;
        self.at = self.listpack.prev(member_at);
        Some((self.listpack.get(member_at), score_of(self.listpack.get(score_at))))
    }
}

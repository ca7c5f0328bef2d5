//! A large list: a deque of nodes.
//!
//! ```text
//! node 0    node 1    node 2       node 3    node 4
//! [room a b c] [d e f g] [a large text] [h i j k] [l m room]
//! ```
//!
//! Where a node ends is seen from outside, by `DEBUG OBJECT` and because a list goes back to the encoding `listpack` only when it is
//! down to one node. So nodes are filled, split and joined as Redis 8.2 was observed to do it:
//!
//! - A push starts a node when the end's node is full ([`Node::accepts`]); a large element is a node for itself.
//! - Removing never joins nodes; empty ones go.
//! - A large element that takes a smaller one's place divides the node; both parts are joined with their neighbours, if they fit.
//! - An insertion into a full node goes to the neighbour if it is at that side and has room, or into a node of its own there; in the middle the
//!   node is split, and then neighbours that fit together are joined.
//!
//! Element `index` is found by adding up counts from the nearer end: first those of pages of nodes, then those of one page's nodes.

mod build;

use std::ops::ControlFlow;

use super::super::listpack::{Encoded, Iter, Listpack, Needle, element_len_with_back, step_back, step_through};
use super::node::{Contents, Node};
use super::nodes::Nodes;
use super::run::{COUNT_MAX, Run};
use super::{End, ListItem, NewItem};
use crate::collection::limits::ListLimits;

#[derive(Clone, Debug)]
pub struct Chunks {
    nodes: Nodes,
    len: usize,
    /// Those of the time when the list became large, as in Redis.
    limits: ListLimits,
}

/// A list of so many nodes is likely to fill one more, which gets all its room at once. In shorter lists it grows by doubling.
const NODES_AT_ONCE_MIN: usize = 32;

/// The place of an element: node, element of the node, and byte of the node (0 in plain ones).
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    node: usize,
    nth: usize,
    at: usize,
}

impl Chunks {
    pub(super) fn new(limits: ListLimits) -> Chunks {
        Chunks { nodes: Nodes::default(), len: 0, limits }
    }

    /// The listpack becomes the first node (and more, if it has more elements than a node can count).
    pub(super) fn of_listpack(listpack: &Listpack, limits: ListLimits) -> Chunks {
        let mut chunks = Chunks::new(limits);
        chunks.push_elements(listpack.elements());
        chunks
    }

    fn push_elements(&mut self, mut elements: &[u8]) {
        while !elements.is_empty() {
            let (mut at, mut count) = (0, 0);
            while at < elements.len() && count < COUNT_MAX {
                at += element_len_with_back(&elements[at..]);
                count += 1;
            }
            self.nodes.push(End::Back, Node::Packed(Run::of_elements(&elements[..at], count)));
            self.len += count;
            elements = &elements[at..];
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn limits(&self) -> ListLimits {
        self.limits
    }

    pub(super) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// All nodes' sizes, uncompressed.
    pub(super) fn bytes(&self) -> usize {
        self.nodes.iter().map(Node::bytes).sum()
    }

    pub(super) fn memory_usage(&self) -> usize {
        size_of::<Chunks>() + self.nodes.memory_usage() + self.nodes.iter().map(Node::memory_usage).sum::<usize>()
    }

    /// Its elements as a listpack, if they are in one node with not more than this allows.
    pub(super) fn as_listpack(&self, allowed: impl FnOnce(usize, usize) -> bool) -> Option<Listpack> {
        if self.nodes.len() != 1 || !allowed(self.nodes[0].bytes(), self.nodes[0].count()) {
            return None;
        }
        match &self.nodes[0] {
            Node::Packed(run) => Some(run.to_listpack()),
            // The only node is an end, and never compressed.
            Node::Compressed(_) | Node::Plain(_) => None,
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Ends
    // -----------------------------------------------------------------------------------------------------------------

    #[inline]
    pub(super) fn push(&mut self, end: End, item: NewItem<'_>) {
        let limits = self.limits;
        self.len += 1;
        if let Some(node) = self.nodes.end_mut(end)
            && node.accepts(item.text.len(), limits)
        {
            let run = node.run_mut().expect("a plain node accepts nothing");
            run.push(end, &Encoded::of(item.text), limits.bytes_max());
            return;
        }
        self.push_node(end, item);
    }

    #[cold]
    fn push_node(&mut self, end: End, item: NewItem<'_>) {
        if let Some(Node::Packed(run)) = self.nodes.end_mut(end) {
            run.fit();
        }
        let limits = self.limits;
        let node = if self.nodes.len() < NODES_AT_ONCE_MIN || limits.is_large(item.text.len()) {
            Node::of(item, limits)
        } else {
            let mut run = Run::with_room(end, limits.bytes_max());
            run.push(end, &Encoded::of(item.text), limits.bytes_max());
            Node::Packed(run)
        };
        self.nodes.push(end, node);
        self.settle();
    }

    /// Shows `count` elements from an end on, and takes them away; there are so many.
    pub(super) fn pop(&mut self, end: End, mut count: usize, mut visit: impl FnMut(ListItem<'_>)) {
        let mut scratch = Vec::new();
        while count > 0 {
            let node = self.nodes.end(end).expect("the list has so many elements");
            let here = node.count().min(count);
            match node.contents(&mut scratch) {
                Contents::Plain(text) => visit(ListItem::Large(text)),
                Contents::Elements(bytes) => {
                    let iter = Iter::over(bytes);
                    match end {
                        End::Front => iter.take(here).for_each(|item| visit(item.into())),
                        End::Back => iter.rev().take(here).for_each(|item| visit(item.into())),
                    }
                }
            }
            self.drop_end(end, here);
            count -= here;
        }
    }

    /// Takes `count` elements away from an end; there are so many.
    pub(super) fn drop_end(&mut self, end: End, mut count: usize) {
        self.len -= count;
        let mut nodes_gone = false;
        while count > 0 {
            let node_count = self.nodes.end(end).expect("the list has so many elements").count();
            if node_count <= count {
                count -= node_count;
                self.nodes.pop(end);
                nodes_gone = true;
                continue;
            }
            let node = self.nodes.end_mut(end).expect("it was looked at");
            let run = node.run_mut().expect("a plain node has one element");
            let mut iter = run.iter();
            let total = iter.to();
            let bytes = match end {
                End::Front => {
                    (0..count).for_each(|_| iter.skip_front());
                    iter.from()
                }
                End::Back => {
                    (0..count).for_each(|_| iter.skip_back());
                    total - iter.to()
                }
            };
            run.drop_end(end, bytes, count);
            count = 0;
        }
        if nodes_gone {
            self.settle();
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Reading
    // -----------------------------------------------------------------------------------------------------------------

    /// Elements from `index` on, forwards or backwards, until `visit` breaks or the list ends.
    pub(super) fn walk(&self, index: usize, backwards: bool, mut visit: impl FnMut(ListItem<'_>) -> ControlFlow<()>) {
        if index >= self.len {
            return;
        }
        let (number, nth) = self.nodes.find(index, self.len);
        let mut scratch = Vec::new();
        // How many of the first node's elements are passed over.
        let mut skipped = if backwards { self.nodes[number].count() - nth - 1 } else { nth };
        let walk = |node: &Node| {
            let flow = match node.contents(&mut scratch) {
                Contents::Plain(text) => visit(ListItem::Large(text)),
                Contents::Elements(bytes) => walk_elements(bytes, node.count(), skipped, backwards, &mut visit),
            };
            skipped = 0;
            flow
        };
        let _ = if backwards {
            self.nodes.back_from(number).try_for_each(walk)
        } else {
            self.nodes.from(number).try_for_each(walk)
        };
    }

    /// The indexes of elements with this text, from an end on, until `found` breaks or so many elements were compared.
    pub(super) fn find_each(
        &self,
        needle: &Needle<'_>,
        text: &[u8],
        from: End,
        compared_max: usize,
        mut found: impl FnMut(usize) -> ControlFlow<()>,
    ) {
        let mut scratch = Vec::new();
        let mut passed = 0;
        let compare = |node: &Node| {
            let count = node.count();
            let left = compared_max - passed;
            let mut matched = |nth: usize| {
                found(match from {
                    End::Front => passed + nth,
                    End::Back => self.len - 1 - passed - nth,
                })
            };
            let flow = match node.contents(&mut scratch) {
                Contents::Plain(large) if large.as_slice() == text => matched(0),
                Contents::Plain(_) => ControlFlow::Continue(()),
                Contents::Elements(bytes) => match_elements(bytes, from, left, needle, |nth, _, _| matched(nth)),
            };
            passed += count;
            if passed >= compared_max { ControlFlow::Break(()) } else { flow }
        };
        let _ = match from {
            End::Front => self.nodes.iter().try_for_each(compare),
            End::Back => self.nodes.iter().rev().try_for_each(compare),
        };
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Changing in the middle
    // -----------------------------------------------------------------------------------------------------------------

    fn place(&self, index: usize) -> Place {
        let (number, nth) = self.nodes.find(index, self.len);
        let mut scratch = Vec::new();
        let node = &self.nodes[number];
        let at = match node.contents(&mut scratch) {
            Contents::Plain(_) => 0,
            Contents::Elements(bytes) => offset_of(bytes, node.count(), nth),
        };
        Place { node: number, nth, at }
    }

    /// The first element with this text.
    pub(super) fn first_place(&self, needle: &Needle<'_>, text: &[u8]) -> Option<Place> {
        let mut scratch = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            match node.contents(&mut scratch) {
                Contents::Plain(large) if large.as_slice() == text => {
                    return Some(Place { node: number, nth: 0, at: 0 });
                }
                Contents::Plain(_) => {}
                Contents::Elements(bytes) => {
                    let mut place = None;
                    let _ = match_elements(bytes, End::Front, usize::MAX, needle, |nth, at, _| {
                        place = Some(Place { node: number, nth, at });
                        ControlFlow::Break(())
                    });
                    if place.is_some() {
                        return place;
                    }
                }
            }
        }
        None
    }

    pub(super) fn set(&mut self, index: usize, item: NewItem<'_>) {
        let place = self.place(index);
        let nodes_before = self.nodes.len();
        let is_large = self.limits.is_large(item.text.len());
        if self.nodes[place.node].is_plain() != is_large {
            self.swap(place, item);
        } else {
            let mut node = self.nodes.node_mut(place.node);
            match node.run_mut() {
                // Also where the node becomes larger than its limit.
                Some(run) => {
                    let old = element_len_with_back(&run.bytes()[place.at..]);
                    run.replace(place.at, old, &Encoded::of(item.text));
                }
                None => *node = Node::Plain(item.to_shared()),
            }
        }
        if self.nodes.len() != nodes_before {
            self.settle();
        }
        self.settle_around(place.node);
    }

    /// Replaces an element by one that cannot lie in the same node: the new one is inserted behind the old one, which then goes.
    fn swap(&mut self, place: Place, item: NewItem<'_>) {
        self.insert_at(place, true, item);
        self.len -= 1;
        if self.nodes[place.node].count() == 1 {
            self.nodes.remove(place.node);
            return;
        }
        // The node was split behind the old element, or ends with it.
        let mut node = self.nodes.node_mut(place.node);
        let run = node.run_mut().expect("a node of several elements");
        let mut iter = run.iter();
        let end = iter.to();
        iter.skip_back();
        let at = iter.to();
        run.remove(at, end - at, 1);
        drop(node);
        self.join_around(place.node + 1);
    }

    pub(super) fn insert(&mut self, place: Place, after: bool, item: NewItem<'_>) {
        let nodes_before = self.nodes.len();
        self.insert_at(place, after, item);
        if self.nodes.len() != nodes_before {
            self.settle();
        }
        self.settle_around(place.node);
    }

    fn insert_at(&mut self, place: Place, after: bool, item: NewItem<'_>) {
        let Place { node: number, nth, at } = place;
        let limits = self.limits;
        let len = item.text.len();
        let neighbour = if after { Some(number + 1) } else { number.checked_sub(1) };
        let at_side = if after { nth + 1 == self.nodes[number].count() } else { nth == 0 };
        self.len += 1;
        if self.nodes[number].accepts(len, limits) {
            let mut node = self.nodes.node_mut(number);
            let run = node.run_mut().expect("a plain node accepts nothing");
            let at = if after { at + element_len_with_back(&run.bytes()[at..]) } else { at };
            run.insert(at, &Encoded::of(item.text));
            return;
        }
        if at_side {
            if let Some(neighbour) = neighbour.filter(|&neighbour| neighbour < self.nodes.len())
                && self.nodes[neighbour].accepts(len, limits)
            {
                let mut node = self.nodes.node_mut(neighbour);
                let run = node.run_mut().expect("a plain node accepts nothing");
                run.push(if after { End::Front } else { End::Back }, &Encoded::of(item.text), 0);
            } else {
                self.nodes.insert(if after { number + 1 } else { number }, Node::of(item, limits));
            }
            return;
        }
        // In the middle: the new element ends the first part or begins the second, unless it is a node for itself.
        let mut node = self.nodes.node_mut(number);
        let run = node.run_mut().expect("a plain node has no middle");
        let split_nth = if after { nth + 1 } else { nth };
        let at = if after { at + element_len_with_back(&run.bytes()[at..]) } else { at };
        let tail = run.split_off(at, run.count() - split_nth);
        drop(node);
        self.nodes.insert(number + 1, Node::Packed(tail));
        if limits.is_large(len) {
            self.nodes.insert(number + 1, Node::Plain(item.to_shared()));
            return;
        }
        let (number, end) = if after { (number + 1, End::Front) } else { (number, End::Back) };
        let mut node = self.nodes.node_mut(number);
        node.run_mut().expect("it was split just now").push(end, &Encoded::of(item.text), 0);
        drop(node);
        // The part without the new element is the middle of what is joined.
        self.join_around(if after { number - 1 } else { number + 1 });
    }

    /// Joins nodes where the limits allow it: the two before this one, the two behind it, and then this one with both sides.
    fn join_around(&mut self, mut number: usize) {
        if number >= 2 && self.join(number - 2) {
            number -= 1;
        }
        if number + 2 < self.nodes.len() {
            self.join(number + 1);
        }
        if number >= 1 && self.join(number - 1) {
            number -= 1;
        }
        if number + 1 < self.nodes.len() {
            self.join(number);
        }
    }

    /// Joins a node with the next one.
    fn join(&mut self, number: usize) -> bool {
        if !self.nodes[number].may_join(&self.nodes[number + 1], self.limits) {
            return false;
        }
        let mut next = self.nodes.remove(number + 1);
        let next = next.run_mut().expect("plain nodes are not joined");
        self.nodes.node_mut(number).run_mut().expect("plain nodes are not joined").append(next);
        true
    }

    /// Removes `count` elements from `index` on; there are so many.
    pub(super) fn remove_range(&mut self, index: usize, count: usize) {
        if count == 0 {
            return;
        }
        if index == 0 {
            return self.drop_end(End::Front, count);
        }
        if index + count == self.len {
            return self.drop_end(End::Back, count);
        }
        let (mut number, mut nth) = self.nodes.find(index, self.len);
        let mut left = count;
        while left > 0 {
            let node_count = self.nodes[number].count();
            let here = left.min(node_count - nth);
            left -= here;
            if here == node_count {
                self.nodes.remove(number);
                continue;
            }
            let mut node = self.nodes.node_mut(number);
            let run = node.run_mut().expect("a plain node has one element");
            let at = offset_of(run.bytes(), node_count, nth);
            let bytes = bytes_of(&run.bytes()[at..], here);
            run.remove(at, bytes, here);
            number += 1;
            nth = 0;
        }
        self.len -= count;
        self.settle();
    }

    /// Removes up to `count_max` elements with this text, from an end on. Returns how many.
    pub(super) fn remove_matching(&mut self, needle: &Needle<'_>, text: &[u8], from: End, count_max: usize) -> usize {
        let mut scratch = Vec::new();
        let mut elements: Vec<(usize, usize)> = Vec::new();
        let (mut removed, mut passed, mut emptied) = (0, 0, false);
        while passed < self.nodes.len() && removed < count_max {
            let number = if from == End::Front { passed } else { self.nodes.len() - 1 - passed };
            elements.clear();
            let node = &self.nodes[number];
            match node.contents(&mut scratch) {
                Contents::Plain(large) if large.as_slice() == text => elements.push((0, 0)),
                Contents::Plain(_) => {}
                Contents::Elements(bytes) => {
                    let _ = match_elements(bytes, from, usize::MAX, needle, |_, at, len| {
                        elements.push((at, len));
                        if removed + elements.len() == count_max {
                            return ControlFlow::Break(());
                        }
                        ControlFlow::Continue(())
                    });
                }
            }
            removed += elements.len();
            passed += 1;
            if elements.len() == node.count() {
                // Taken out at the end, all at once: each by itself would move those behind it.
                *self.nodes.node_mut(number) = Node::Packed(Run::new());
                emptied = true;
            } else if !elements.is_empty() {
                if from == End::Back {
                    elements.reverse();
                }
                let mut node = self.nodes.node_mut(number);
                node.run_mut().expect("a plain node has one element").remove_scattered(&elements);
                drop(node);
                self.settle_around(number);
            }
        }
        self.len -= removed;
        if emptied {
            self.nodes.remove_empty();
        }
        if removed > 0 {
            self.settle();
        }
        removed
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Compression
    // -----------------------------------------------------------------------------------------------------------------

    /// Nodes have come or gone: those that are far enough from both ends now are compressed, and those near an end are not.
    fn settle(&mut self) {
        let depth = self.limits.compress_depth;
        if depth == 0 {
            return;
        }
        let count = self.nodes.len();
        for number in 0..depth.min(count) {
            self.change_if(number, Node::is_compressed, Node::decompress);
            self.change_if(count - 1 - number, Node::is_compressed, Node::decompress);
        }
        if count > 2 * depth {
            self.change_if(depth, Node::is_compressible, Node::compress);
            self.change_if(count - 1 - depth, Node::is_compressible, Node::compress);
        }
    }

    /// Compresses what was decompressed to be changed.
    fn settle_around(&mut self, number: usize) {
        let depth = self.limits.compress_depth;
        if depth == 0 {
            return;
        }
        let count = self.nodes.len();
        let from = number.saturating_sub(2).max(depth);
        for number in from..(number + 3).min(count.saturating_sub(depth)) {
            self.change_if(number, Node::is_compressible, Node::compress);
        }
    }

    /// What a node would not be changed by must not copy its page.
    fn change_if(&mut self, number: usize, wants: impl Fn(&Node) -> bool, change: impl FnOnce(&mut Node)) {
        if wants(&self.nodes[number]) {
            change(&mut self.nodes.node_mut(number));
        }
    }
}

/// Elements of one node, without the first `skipped` of them in this direction.
#[inline]
fn walk_elements(
    bytes: &[u8],
    count: usize,
    skipped: usize,
    backwards: bool,
    visit: &mut impl FnMut(ListItem<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if backwards {
        let mut iter = Iter::until(bytes, offset_of(bytes, count, count - skipped));
        while let Some(item) = iter.next_back() {
            visit(item.into())?;
        }
    } else {
        for item in Iter::over(&bytes[offset_of(bytes, count, skipped)..]) {
            visit(item.into())?;
        }
    }
    ControlFlow::Continue(())
}

/// The byte at which element `nth` of `count` begins, or where the last one ends.
pub(super) fn offset_of(bytes: &[u8], count: usize, nth: usize) -> usize {
    if nth <= count / 2 {
        return bytes_of(bytes, nth);
    }
    let mut left = count - nth;
    let mut offset = bytes.len();
    if left > 0 {
        let _ = step_back(bytes, bytes.len(), |at, _| {
            offset = at;
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
    offset
}

/// The bytes of the first `count` elements.
fn bytes_of(bytes: &[u8], mut count: usize) -> usize {
    let mut offset = 0;
    if count > 0 {
        let _ = step_through(bytes, 0, |at, len| {
            offset = at + len;
            count -= 1;
            if count == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
    offset
}

/// Compares up to `compared_max` elements from an end on; of those that match says which it is, counted from that end, and its place and length
/// in bytes.
#[inline]
pub(super) fn match_elements(
    bytes: &[u8],
    from: End,
    compared_max: usize,
    needle: &Needle<'_>,
    mut matched: impl FnMut(usize, usize, usize) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut nth = 0;
    let mut broke = ControlFlow::Continue(());
    let visit = |at: usize, len: usize| {
        if nth == compared_max {
            return ControlFlow::Break(());
        }
        if needle.is_at(bytes, at) {
            broke = matched(nth, at, len);
            broke?;
        }
        nth += 1;
        ControlFlow::Continue(())
    };
    let _ = match from {
        End::Front => step_through(bytes, 0, visit),
        End::Back => step_back(bytes, bytes.len(), visit),
    };
    broke
}

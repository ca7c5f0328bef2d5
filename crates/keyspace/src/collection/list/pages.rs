//! Nodes in their order: a deque of pages of up to 64 nodes.
//!
//! ```text
//! slots   [ page, nodes, items | page, nodes, items | ... ]     16 bytes a page
//!             │                    │
//! pages   [ node node ... ]    [ node node ... ]                24 bytes a node
//! ```
//!
//! - A clone shares the pages, and costs 16 bytes for each: 10 million small items are some 350 pages. Whoever then changes a node copies
//!   its page, whose nodes the two have in common from then on, and of the node what it changes ([`Run`](super::run::Run)).
//! - The counts in the slots lead to a node or an element by number without a look at other pages. [`NodeMut`] keeps them right.
//! - Pages grow at both ends like any deque, so that growth leaves no large allocation behind, and a node put in between moves the rest of
//!   one page. Neighbours that together are half a page at most are joined.

use std::collections::VecDeque;

use triomphe::Arc;

use super::End;
use super::node::Node;
use super::nodes::NodeMut;

const PAGE_NODES_MAX: usize = 64;

type Page = VecDeque<Node>;

#[derive(Clone, Debug)]
struct Slot {
    /// Not empty.
    page: Arc<Page>,
    node_count: u32,
    /// The elements of its nodes.
    item_count: u32,
}

impl Slot {
    fn new(page: Page) -> Slot {
        let item_count = page.iter().map(Node::count).sum::<usize>();
        Slot { node_count: page.len() as u32, item_count: item_count as u32, page: Arc::new(page) }
    }

    /// The page, to be changed. It copies a shared one.
    #[inline]
    fn page_mut(&mut self) -> &mut Page {
        Arc::make_mut(&mut self.page)
    }

    fn insert(&mut self, nth: usize, node: Node) {
        self.node_count += 1;
        self.item_count += node.count() as u32;
        let page = self.page_mut();
        // A half more, not twice as much: most lists have a page that is never filled.
        if page.len() == page.capacity() {
            page.reserve_exact((page.len() / 2).max(4).min(PAGE_NODES_MAX - page.len()));
        }
        page.insert(nth, node);
    }

    fn remove(&mut self, nth: usize) -> Node {
        let page = self.page_mut();
        let node = page.remove(nth).expect("a node of the page");
        if page.capacity() / 4 > page.len().max(4) {
            page.shrink_to(2 * page.len());
        }
        self.node_count -= 1;
        self.item_count -= node.count() as u32;
        node
    }
}

const _: () = assert!(size_of::<Slot>() == 16);

#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    slots: VecDeque<Slot>,
    len: usize,
}

impl Pages {
    pub fn len(&self) -> usize {
        self.len
    }

    /// The page of node `number`, and which of its nodes it is. O(pages to the nearer end).
    fn locate(&self, number: usize) -> (usize, usize) {
        assert!(number < self.len, "a node's number is below their count");
        locate(&self.slots, self.len, number, |slot| slot.node_count as usize)
    }

    pub fn get(&self, number: usize) -> &Node {
        let (slot, nth) = self.locate(number);
        &self.slots[slot].page[nth]
    }

    pub fn get_mut(&mut self, number: usize) -> NodeMut<'_> {
        let (slot, nth) = self.locate(number);
        let slot = &mut self.slots[slot];
        NodeMut::counted(&mut Arc::make_mut(&mut slot.page)[nth], &mut slot.item_count)
    }

    /// The node of element `index` of `len`, and which of its elements it is. O(pages to the nearer end).
    pub fn find(&self, index: usize, len: usize) -> (usize, usize) {
        let (slot, nth_of_page) = locate(&self.slots, len, index, |slot| slot.item_count as usize);
        let Slot { page, item_count, .. } = &self.slots[slot];
        let (node, nth) = locate(page, *item_count as usize, nth_of_page, Node::count);
        let before: usize = self.slots.range(..slot).map(|slot| slot.node_count as usize).sum();
        (before + node, nth)
    }

    /// Nodes from `number` on.
    pub fn from(&self, number: usize) -> impl Iterator<Item = &Node> {
        let (slot, nth) = if number < self.len { self.locate(number) } else { (self.slots.len(), 0) };
        self.slots.range(slot..).flat_map(|slot| slot.page.iter()).skip(nth)
    }

    /// Nodes before `number`, backwards.
    pub fn back_from(&self, number: usize) -> impl Iterator<Item = &Node> {
        let (slot, nth) = if number < self.len { self.locate(number) } else { (self.slots.len(), 0) };
        let before = self.slots.get(slot).into_iter().flat_map(move |slot| slot.page.range(..nth).rev());
        before.chain(self.slots.range(..slot).rev().flat_map(|slot| slot.page.iter().rev()))
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.slots.iter().flat_map(|slot| slot.page.iter())
    }

    pub fn push(&mut self, end: End, node: Node) {
        let slot = match end {
            End::Front => self.slots.front_mut(),
            End::Back => self.slots.back_mut(),
        };
        self.len += 1;
        match slot {
            Some(slot) if (slot.node_count as usize) < PAGE_NODES_MAX => {
                slot.insert(if end == End::Front { 0 } else { slot.node_count as usize }, node);
            }
            _ => {
                let mut page = Page::new();
                page.reserve_exact(if slot.is_some() { PAGE_NODES_MAX } else { 4 });
                page.push_back(node);
                match end {
                    End::Front => self.slots.push_front(Slot::new(page)),
                    End::Back => self.slots.push_back(Slot::new(page)),
                }
            }
        }
    }

    pub fn pop(&mut self, end: End) -> Option<Node> {
        let number = if end == End::Front { 0 } else { self.len.checked_sub(1)? };
        (self.len > 0).then(|| self.remove(number))
    }

    /// Puts a node where number `number` is now, before that one.
    pub fn insert(&mut self, number: usize, node: Node) {
        if number == self.len {
            return self.push(End::Back, node);
        }
        let (mut slot, mut nth) = self.locate(number);
        if self.slots[slot].page.len() == PAGE_NODES_MAX {
            let tail = self.slots[slot].page_mut().split_off(PAGE_NODES_MAX / 2);
            let head = std::mem::take(self.slots[slot].page_mut());
            self.slots[slot] = Slot::new(head);
            self.slots.insert(slot + 1, Slot::new(tail));
            if nth > PAGE_NODES_MAX / 2 {
                (slot, nth) = (slot + 1, nth - PAGE_NODES_MAX / 2);
            }
        }
        self.slots[slot].insert(nth, node);
        self.len += 1;
    }

    pub fn remove(&mut self, number: usize) -> Node {
        let (slot, nth) = self.locate(number);
        let node = self.slots[slot].remove(nth);
        self.len -= 1;
        if self.slots[slot].page.is_empty() {
            self.slots.remove(slot);
            if self.slots.capacity() / 4 > self.slots.len().max(4) {
                self.slots.shrink_to(2 * self.slots.len());
            }
        } else {
            self.join_slots(slot.saturating_sub(1));
            self.join_slots(slot);
        }
        node
    }

    /// Joins a page with the next one if they are few nodes. The deque's first and last pages are left alone: they come and go by themselves.
    fn join_slots(&mut self, slot: usize) {
        let is_between = |slot: usize| slot > 0 && slot + 1 < self.slots.len();
        if !is_between(slot) || !is_between(slot + 1) {
            return;
        }
        if self.slots[slot].page.len() + self.slots[slot + 1].page.len() > PAGE_NODES_MAX / 2 {
            return;
        }
        let mut next = self.slots.remove(slot + 1).expect("there is a next one");
        let into = &mut self.slots[slot];
        into.node_count += next.node_count;
        into.item_count += next.item_count;
        into.page_mut().append(next.page_mut());
    }

    /// Takes nodes away that have no elements.
    pub fn remove_empty(&mut self) {
        for slot in &mut self.slots {
            // Others are left shared, if they are.
            if slot.page.iter().any(|node| node.count() == 0) {
                let page = slot.page_mut();
                let before = page.len();
                page.retain(|node| node.count() > 0);
                page.shrink_to_fit();
                self.len -= before - page.len();
                slot.node_count = page.len() as u32;
            }
        }
        self.slots.retain(|slot| slot.node_count > 0);
        let mut slot = 1;
        while slot + 2 < self.slots.len() {
            let before = self.slots.len();
            self.join_slots(slot);
            slot += usize::from(self.slots.len() == before);
        }
        self.slots.shrink_to(2 * self.slots.len());
    }

    /// Bytes allocated beside the nodes' own.
    pub fn memory_usage(&self) -> usize {
        let page_bytes =
            |slot: &Slot| size_of::<usize>() + size_of::<Page>() + slot.page.capacity() * size_of::<Node>();
        self.slots.capacity() * size_of::<Slot>() + self.slots.iter().map(page_bytes).sum::<usize>()
    }
}

/// Which of these holds number `index` of all `len` that they count together, and which of its own that is; from the nearer end.
fn locate<T>(parts: &VecDeque<T>, len: usize, index: usize, count_of: impl Fn(&T) -> usize) -> (usize, usize) {
    if index < len / 2 {
        let mut first = 0;
        for (number, part) in parts.iter().enumerate() {
            let count = count_of(part);
            if index < first + count {
                return (number, index - first);
            }
            first += count;
        }
    } else {
        let mut first = len;
        for (number, part) in parts.iter().enumerate().rev() {
            first -= count_of(part);
            if index >= first {
                return (number, index - first);
            }
        }
    }
    unreachable!("the index is below the length")
}

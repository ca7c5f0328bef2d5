//! The nodes of a large list in their order.
//!
//! ```text
//! front  [ pages of nodes ]  back
//! ```
//!
//! The nodes at the ends, where nearly everything happens, are at hand: pushing and popping look at nothing else. A list of one node has a
//! back only, one of two nodes has no pages.

use std::ops::{Deref, DerefMut, Index};

use super::End;
use super::node::Node;
use super::pages::Pages;

/// A clone shares what the nodes hold, and the pages.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    front: Option<Node>,
    back: Option<Node>,
    /// What is between them.
    pages: Pages,
}

/// A node borrowed to be changed; how many elements it has then is noted when this is dropped.
pub(super) struct NodeMut<'a> {
    node: &'a mut Node,
    /// Of the page in which it lies, and how many of them the page's other nodes have.
    item_count: Option<(&'a mut u32, u32)>,
}

impl<'a> NodeMut<'a> {
    /// A node of a page, which has so many elements.
    pub fn counted(node: &'a mut Node, item_count: &'a mut u32) -> NodeMut<'a> {
        let others = *item_count - node.count() as u32;
        NodeMut { node, item_count: Some((item_count, others)) }
    }
}

impl Drop for NodeMut<'_> {
    fn drop(&mut self) {
        if let Some((item_count, others)) = &mut self.item_count {
            **item_count = *others + self.node.count() as u32;
        }
    }
}

impl Deref for NodeMut<'_> {
    type Target = Node;

    fn deref(&self) -> &Node {
        self.node
    }
}

impl DerefMut for NodeMut<'_> {
    fn deref_mut(&mut self) -> &mut Node {
        self.node
    }
}

impl Index<usize> for Nodes {
    type Output = Node;

    /// Node `number`. O(pages to the nearer end).
    fn index(&self, number: usize) -> &Node {
        match (&self.front, &self.back) {
            (Some(front), _) if number == 0 => front,
            (_, Some(back)) if number + 1 == self.len() => back,
            _ => self.pages.get(number - 1),
        }
    }
}

impl Nodes {
    pub fn len(&self) -> usize {
        usize::from(self.front.is_some()) + self.pages.len() + usize::from(self.back.is_some())
    }

    /// The node of element `index` of `len`, and which of its elements it is. O(pages to the nearer end).
    pub fn find(&self, index: usize, len: usize) -> (usize, usize) {
        let front_len = self.front.as_ref().map_or(0, Node::count);
        let back_first = len - self.back.as_ref().map_or(0, Node::count);
        if index < front_len {
            (0, index)
        } else if index >= back_first {
            (self.len() - 1, index - back_first)
        } else {
            let (number, nth) = self.pages.find(index - front_len, back_first - front_len);
            (number + 1, nth)
        }
    }

    /// Node `number` and those behind it.
    pub fn from(&self, number: usize) -> impl Iterator<Item = &Node> {
        let front = self.front.iter().skip(number);
        let pages = self.pages.from(number.saturating_sub(1));
        front.chain(pages).chain(self.back.iter())
    }

    /// Node `number` and those before it, backwards.
    pub fn back_from(&self, number: usize) -> impl Iterator<Item = &Node> {
        let back = self.back.iter().filter(move |_| number + 1 == self.len());
        back.chain(self.pages.back_from(number)).chain(self.front.iter())
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.front.iter().chain(self.pages.iter()).chain(self.back.iter())
    }

    #[inline]
    pub fn end(&self, end: End) -> Option<&Node> {
        match end {
            End::Front => self.front.as_ref().or(self.back.as_ref()),
            End::Back => self.back.as_ref(),
        }
    }

    #[inline]
    pub fn end_mut(&mut self, end: End) -> Option<&mut Node> {
        match end {
            End::Front => self.front.as_mut().or(self.back.as_mut()),
            End::Back => self.back.as_mut(),
        }
    }

    pub fn node_mut(&mut self, number: usize) -> NodeMut<'_> {
        let is_back = number + 1 == self.len();
        match (&mut self.front, &mut self.back) {
            (Some(node), _) if number == 0 => NodeMut { node, item_count: None },
            (_, Some(node)) if is_back => NodeMut { node, item_count: None },
            _ => self.pages.get_mut(number - 1),
        }
    }

    pub fn push(&mut self, end: End, node: Node) {
        match end {
            End::Front if self.back.is_some() => {
                if let Some(before) = self.front.replace(node) {
                    self.pages.push(end, before);
                }
            }
            End::Front => self.back = Some(node),
            End::Back => match self.back.replace(node) {
                Some(before) if self.front.is_some() => self.pages.push(end, before),
                before => self.front = before,
            },
        }
    }

    pub fn pop(&mut self, end: End) -> Option<Node> {
        match end {
            End::Front if self.front.is_some() => std::mem::replace(&mut self.front, self.pages.pop(end)),
            End::Front => self.back.take(),
            End::Back => {
                let next = self.pages.pop(end).or_else(|| self.front.take());
                std::mem::replace(&mut self.back, next)
            }
        }
    }

    /// Puts a node where number `number` is now, before that one.
    pub fn insert(&mut self, number: usize, node: Node) {
        if number == 0 {
            self.push(End::Front, node);
        } else if number == self.len() {
            self.push(End::Back, node);
        } else {
            self.pages.insert(number - 1, node);
        }
    }

    pub fn remove(&mut self, number: usize) -> Node {
        if number == 0 {
            self.pop(End::Front).expect("a node's number is below their count")
        } else if number + 1 == self.len() {
            self.pop(End::Back).expect("a node's number is below their count")
        } else {
            self.pages.remove(number - 1)
        }
    }

    /// Takes nodes away that have no elements.
    pub fn remove_empty(&mut self) {
        self.pages.remove_empty();
        for end in [End::Front, End::Back] {
            while self.end(end).is_some_and(|node| node.count() == 0) {
                self.pop(end);
            }
        }
    }

    /// Bytes allocated beside the nodes' own.
    pub fn memory_usage(&self) -> usize {
        self.pages.memory_usage()
    }
}

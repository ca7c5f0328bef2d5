//! Lists from and to the nodes that files have.

use std::sync::Arc;

use super::chunks::Chunks;
use super::{Collection, End, List, NewItem};
use crate::collection::limits::ListLimits;
use crate::collection::listpack::Listpack;

/// A node of a list, as it goes into a file.
#[derive(Clone, Copy, Debug)]
pub enum ListNode<'a> {
    /// Elements as between header and end of a listpack, and their number.
    Elements(&'a [u8], usize),
    /// One large element.
    Plain(&'a Arc<Vec<u8>>),
}

impl List {
    /// The number of nodes: 1 of a small list.
    pub fn node_count(&self) -> usize {
        match self {
            List::Packed(_) => 1,
            List::Chunks(chunks) => chunks.node_count(),
        }
    }

    /// Shows its nodes from the first to the last.
    pub fn for_each_node(&self, mut visit: impl FnMut(ListNode<'_>)) {
        match self {
            List::Packed(listpack) => visit(ListNode::Elements(listpack.elements(), listpack.len())),
            List::Chunks(chunks) => chunks.for_each_node(visit),
        }
    }
}

/// A list in the making, from the first element to the last. Nodes stay as they are given, whatever the limits say (as observed of Redis 8.2).
#[derive(Debug)]
pub struct ListBuilder {
    list: List,
    limits: ListLimits,
}

impl ListBuilder {
    pub fn new(limits: ListLimits) -> ListBuilder {
        ListBuilder { list: List::default(), limits }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn chunks(&mut self) -> &mut Chunks {
        if let List::Packed(listpack) = &self.list {
            self.list = List::Chunks(Box::new(Chunks::of_listpack(listpack, self.limits)));
        }
        match &mut self.list {
            List::Chunks(chunks) => chunks,
            List::Packed(_) => unreachable!("it became large just now"),
        }
    }

    /// Adds an element, to the last node if there is room.
    pub fn push(&mut self, text: &[u8]) {
        self.chunks().push(End::Back, NewItem::from(text));
    }

    /// Adds a node of these elements. None, no node.
    pub fn push_node(&mut self, listpack: Listpack) {
        if self.is_empty() {
            // Most lists are one node and remain small.
            self.list = List::Packed(listpack);
        } else {
            self.chunks().push_elements_node(&listpack);
        }
    }

    /// Adds a node of one element, however small.
    pub fn push_plain(&mut self, text: Vec<u8>) {
        self.chunks().push_plain_node(Arc::new(text));
    }

    /// The list: small if it is one node that may be (`packs`), else large.
    pub fn finish(mut self, packs: bool) -> List {
        let limits = self.limits;
        match &self.list {
            List::Packed(listpack) if packs && limits.allow(listpack.byte_len(), listpack.len()) => {}
            _ => {
                self.chunks();
            }
        }
        if packs {
            self.list.pack(limits);
        }
        self.list
    }
}

//! A large list node by node.

use std::sync::Arc;

use super::{Chunks, Contents, End, Listpack, Node};
use crate::collection::list::ListNode;

impl Chunks {
    pub(in super::super) fn for_each_node(&self, mut visit: impl FnMut(ListNode<'_>)) {
        let mut scratch = Vec::new();
        for node in self.nodes.iter() {
            visit(match node.contents(&mut scratch) {
                Contents::Elements(bytes) => ListNode::Elements(bytes, node.count()),
                Contents::Plain(text) => ListNode::Plain(text),
            });
        }
    }

    pub(in super::super) fn push_elements_node(&mut self, listpack: &Listpack) {
        self.push_elements(listpack.elements());
        self.settle();
    }

    pub(in super::super) fn push_plain_node(&mut self, text: Arc<Vec<u8>>) {
        self.nodes.push(End::Back, Node::Plain(text));
        self.len += 1;
        self.settle();
    }
}

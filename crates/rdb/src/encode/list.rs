//! Lists: a number of nodes, each a listpack or one large element.

use keyspace::List;
use keyspace::collection::ListNode;

use super::{Compression, Options, length, string};
use crate::code::node;

/// Bytes of a listpack's header, and of the whole with its end.
const HEADER_BYTES: usize = 6;
const EMPTY_BYTES: usize = 7;
const END: u8 = 0xFF;

pub(super) fn list(out: &mut Vec<u8>, list: &List, options: &Options) {
    length(out, list.node_count() as u64);
    if let List::Packed(listpack) = list {
        length(out, node::PACKED);
        string(out, listpack.as_bytes(), options);
        return;
    }
    let mut scratch = Vec::new();
    list.for_each_node(|part| match part {
        ListNode::Plain(text) => {
            length(out, node::PLAIN);
            string(out, text, options);
        }
        ListNode::Elements(elements, count) => {
            length(out, node::PACKED);
            if options.compression != Compression::None {
                scratch.clear();
                listpack(&mut scratch, elements, count);
                string(out, &scratch, options);
            } else {
                length(out, (elements.len() + EMPTY_BYTES) as u64);
                listpack(out, elements, count);
            }
        }
    });
}

/// Elements get the header and end of a listpack.
fn listpack(out: &mut Vec<u8>, elements: &[u8], count: usize) {
    out.reserve(elements.len() + EMPTY_BYTES);
    let len = u32::try_from(elements.len() + EMPTY_BYTES).expect("a node is smaller than 4 GiB");
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&len.to_le_bytes());
    header[4..].copy_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(elements);
    out.push(END);
}

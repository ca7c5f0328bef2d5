//! Lists: a number of nodes, each a listpack or one large element.

use std::ops::ControlFlow;

use keyspace::collection::ListItem;
use keyspace::{List, Listpack};

use super::{Options, length, string};
use crate::code::{length as code, node};

/// Elements are written in listpacks of so many bytes: what Redis makes of a list by default.
const NODE_BYTES_MAX: usize = 8 << 10;

pub(super) fn list(out: &mut Vec<u8>, list: &List, options: &Options) {
    if let List::Packed(listpack) = list {
        length(out, 1);
        packed(out, listpack, options);
        return;
    }
    // How many nodes there will be is not known before they are written: the number gets the room of the largest.
    let count_at = out.len();
    out.extend_from_slice(&[code::BITS_32, 0, 0, 0, 0]);
    let mut count = 0u32;
    let mut open = Listpack::new();
    let mut close = |out: &mut Vec<u8>, open: &mut Listpack| {
        if !open.is_empty() {
            packed(out, &std::mem::take(open), options);
            count += 1;
        }
    };
    let mut plains = 0;
    list.walk(0, false, |item| {
        match item {
            ListItem::Int(number) => open.push_back_int(number),
            ListItem::Bytes(text) => open.push_back(text),
            ListItem::Large(text) => {
                close(out, &mut open);
                length(out, node::PLAIN);
                string(out, text, options);
                plains += 1;
            }
        }
        if open.byte_len() >= NODE_BYTES_MAX {
            close(out, &mut open);
        }
        ControlFlow::Continue(())
    });
    close(out, &mut open);
    out[count_at + 1..count_at + 5].copy_from_slice(&(count + plains).to_be_bytes());
}

fn packed(out: &mut Vec<u8>, listpack: &Listpack, options: &Options) {
    length(out, node::PACKED);
    string(out, listpack.as_bytes(), options);
}

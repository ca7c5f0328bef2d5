//! A node of a large list: some elements. A clone shares them, until one of the two is changed.

use std::sync::Arc;

use super::super::listpack::{EMPTY_BYTES, Encoded, Item};
use super::run::Run;
use super::{ListItem, NewItem};
use crate::collection::limits::ListLimits;
use crate::lzf;

/// Shorter runs are not compressed, and what becomes shorter by less than [`COMPRESSION_GAIN_BYTES_MIN`] stays as it is.
const COMPRESSED_BYTES_MIN: usize = 48;
const COMPRESSION_GAIN_BYTES_MIN: usize = 8;

/// What an element takes beside its text, by the estimate that decides whether a node is full.
const ELEMENT_BYTES_ESTIMATE: usize = 8;

/// The counts and the `Vec` of a large element.
const LARGE_HEADER_BYTES: usize = 40;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Packed(Run),
    Compressed(triomphe::Arc<Compressed>),
    /// One element that is too large for its neighbours: kept, and replied, without a copy.
    Plain(Arc<Vec<u8>>),
}

const _: () = assert!(size_of::<Node>() == 24, "the tags of nodes fit beside a run");

/// LZF of a run's bytes.
#[derive(Debug)]
pub(super) struct Compressed {
    bytes: Box<[u8]>,
    run_bytes: u32,
    count: u16,
}

impl Compressed {
    fn decompressed(&self) -> Vec<u8> {
        lzf::decompress(&self.bytes, self.run_bytes as usize).expect("what was compressed here can be decompressed")
    }
}

/// What a node holds, to be read.
pub(super) enum Contents<'a> {
    Elements(&'a [u8]),
    Plain(&'a Arc<Vec<u8>>),
}

impl Node {
    /// A node of one element.
    pub(super) fn of(item: NewItem<'_>, limits: ListLimits) -> Node {
        if limits.is_large(item.text.len()) {
            Node::Plain(item.to_shared())
        } else {
            Node::Packed(Run::of_one(&Encoded::of(item.text)))
        }
    }

    #[inline]
    pub(super) fn count(&self) -> usize {
        match self {
            Node::Packed(run) => run.count(),
            Node::Compressed(compressed) => compressed.count.into(),
            Node::Plain(_) => 1,
        }
    }

    /// Its size as limits and figures know it: that of a listpack, or of the one text.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Node::Packed(run) => run.listpack_bytes(),
            Node::Compressed(compressed) => compressed.run_bytes as usize + EMPTY_BYTES,
            Node::Plain(text) => text.len(),
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Node::Plain(_))
    }

    /// Whether an element with a text of this length may join.
    #[inline]
    pub(super) fn accepts(&self, text_len: usize, limits: ListLimits) -> bool {
        !self.is_plain()
            && !limits.is_large(text_len)
            && limits.allow(self.bytes() + text_len + ELEMENT_BYTES_ESTIMATE, self.count() + 1)
    }

    /// Whether both may become one.
    pub(super) fn may_join(&self, other: &Node, limits: ListLimits) -> bool {
        !self.is_plain()
            && !other.is_plain()
            && limits.allow(self.bytes() + other.bytes() - EMPTY_BYTES, self.count() + other.count())
    }

    /// What it holds; `scratch` keeps what had to be decompressed.
    #[inline]
    pub(super) fn contents<'a>(&'a self, scratch: &'a mut Vec<u8>) -> Contents<'a> {
        match self {
            Node::Packed(run) => Contents::Elements(run.bytes()),
            Node::Compressed(compressed) => {
                *scratch = compressed.decompressed();
                Contents::Elements(scratch)
            }
            Node::Plain(text) => Contents::Plain(text),
        }
    }

    /// Its run, to be changed. None of a plain node.
    #[inline]
    pub(super) fn run_mut(&mut self) -> Option<&mut Run> {
        self.decompress();
        match self {
            Node::Packed(run) => Some(run),
            _ => None,
        }
    }

    pub(super) fn decompress(&mut self) {
        if let Node::Compressed(compressed) = self {
            *self = Node::Packed(Run::of_elements(&compressed.decompressed(), compressed.count.into()));
        }
    }

    pub(super) fn is_compressed(&self) -> bool {
        matches!(self, Node::Compressed(_))
    }

    /// Whether it is worth a try.
    pub(super) fn is_compressible(&self) -> bool {
        matches!(self, Node::Packed(run) if run.listpack_bytes() >= COMPRESSED_BYTES_MIN)
    }

    pub(super) fn compress(&mut self) {
        let Node::Packed(run) = self else {
            return;
        };
        match lzf::compress(run.bytes(), run.bytes().len() - COMPRESSION_GAIN_BYTES_MIN) {
            Some(bytes) => {
                let (run_bytes, count) = (run.bytes().len() as u32, run.count() as u16);
                *self = Node::Compressed(triomphe::Arc::new(Compressed {
                    bytes: bytes.into_boxed_slice(),
                    run_bytes,
                    count,
                }));
            }
            None => run.fit(),
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        match self {
            Node::Packed(run) => run.memory_usage(),
            Node::Compressed(compressed) => size_of::<Compressed>() + compressed.bytes.len(),
            Node::Plain(text) => LARGE_HEADER_BYTES + text.capacity(),
        }
    }
}

impl<'a> From<Item<'a>> for ListItem<'a> {
    #[inline]
    fn from(item: Item<'a>) -> ListItem<'a> {
        match item {
            Item::Int(number) => ListItem::Int(number),
            Item::Bytes(bytes) => ListItem::Bytes(bytes),
        }
    }
}

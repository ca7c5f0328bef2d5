//! Lists: a listpack while they are small, a deque of nodes when they are large.
//!
//! `chunks.rs` is the large list, `nodes.rs` its nodes in their order (in `pages.rs`), `node.rs` what a node can be, `run.rs` the elements of
//! one.
//!
//! A list grows and shrinks between its encodings only where a command says so ([`List::grow`], [`List::shrink`]): when and with what it
//! asks can be seen from outside.

mod build;
mod chunks;
mod node;
mod nodes;
mod pages;
mod run;

use std::ops::{ControlFlow, RangeInclusive};
use std::ptr::NonNull;
use std::sync::Arc;

pub use self::build::{ListBuilder, ListNode};
use self::chunks::{Chunks, match_elements, offset_of};
use super::limits::ListLimits;
use super::listpack::{Iter, Needle, Position};
use super::{Code, Collection, Listpack, box_from_raw, box_into_raw};

/// Elements in an order of their own, with two ends.
#[derive(Debug)]
pub enum List {
    Packed(Listpack),
    Chunks(Box<Chunks>),
}

/// One of a list's two ends: its head or its tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The left one.
    Front,
    /// The right one.
    Back,
}

/// An element of a list.
#[derive(Clone, Copy, Debug)]
pub enum ListItem<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    /// One that can be kept or sent without a copy.
    Large(&'a Arc<Vec<u8>>),
}

impl ListItem<'_> {
    pub fn to_vec(&self) -> Vec<u8> {
        match self {
            ListItem::Int(number) => number.to_string().into_bytes(),
            ListItem::Bytes(bytes) => bytes.to_vec(),
            ListItem::Large(text) => text.to_vec(),
        }
    }
}

/// An element on its way into a list.
#[derive(Clone, Copy, Debug)]
pub struct NewItem<'a> {
    pub text: &'a [u8],
    /// The same text in an allocation that can be taken over without a copy.
    pub shared: Option<&'a Arc<Vec<u8>>>,
}

impl<'a> NewItem<'a> {
    fn to_shared(self) -> Arc<Vec<u8>> {
        self.shared.map_or_else(|| Arc::new(self.text.to_vec()), Arc::clone)
    }
}

impl<'a> From<&'a [u8]> for NewItem<'a> {
    fn from(text: &'a [u8]) -> NewItem<'a> {
        NewItem { text, shared: None }
    }
}

/// What `DEBUG OBJECT` shows of a large list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListFigures {
    pub nodes: usize,
    pub listpack_size_max: i64,
    pub is_compressed: bool,
    /// Of all nodes as they are uncompressed.
    pub bytes: usize,
}

impl Default for List {
    fn default() -> List {
        List::Packed(Listpack::new())
    }
}

impl List {
    /// `texts_len` bytes of text in `count` elements are about to be added, one of them perhaps replacing another: a listpack that
    /// would become too large by this estimate becomes a large list.
    pub fn grow(&mut self, texts_len: usize, count: usize, limits: ListLimits) {
        if let List::Packed(listpack) = self
            && !limits.allow(listpack.byte_len().saturating_add(texts_len), listpack.len() + count)
        {
            *self = List::Chunks(Box::new(Chunks::of_listpack(listpack, limits)));
        }
    }

    /// Elements were taken away: a large list that has become small enough becomes a listpack.
    #[inline]
    pub fn shrink(&mut self, limits: ListLimits) {
        if let List::Chunks(chunks) = self
            && let Some(listpack) = chunks.as_listpack(|bytes, count| limits.allow_return(bytes, count))
        {
            *self = List::Packed(listpack);
        }
    }

    /// The list was made at once, from a file or by SORT: a large list that fits a listpack becomes one.
    pub fn pack(&mut self, limits: ListLimits) {
        if let List::Chunks(chunks) = self
            && let Some(listpack) = chunks.as_listpack(|bytes, count| limits.allow(bytes, count))
        {
            *self = List::Packed(listpack);
        }
    }

    /// The same list again, at little cost: what is large is shared, and copied piece by piece where either of the two is changed. Of a
    /// large list that is 16 bytes for each 64 nodes; a change then copies the node it changes, and 24 bytes for each of its 63 neighbours.
    ///
    /// It may be read on another thread while this one is changed.
    pub fn share(&self) -> List {
        match self {
            List::Packed(listpack) => List::Packed(listpack.clone()),
            List::Chunks(chunks) => List::Chunks(chunks.clone()),
        }
    }

    /// The index that a client means: negative ones count from the end, -1 is the last.
    pub fn index_of(&self, index: i64) -> Option<usize> {
        let len = self.len() as i64;
        let index = if index < 0 { index.saturating_add(len) } else { index };
        (0..len).contains(&index).then_some(index as usize)
    }

    #[inline]
    pub fn push(&mut self, end: End, item: NewItem<'_>) {
        match self {
            List::Packed(listpack) if end == End::Front => listpack.push_front(item.text),
            List::Packed(listpack) => listpack.push_back(item.text),
            List::Chunks(chunks) => chunks.push(end, item),
        }
    }

    /// Shows up to `count` elements from an end on, and takes them away.
    #[inline]
    pub fn pop(&mut self, end: End, count: usize, mut visit: impl FnMut(ListItem<'_>)) {
        let count = count.min(self.len());
        match self {
            List::Packed(listpack) => {
                let mut iter = Iter::over(listpack.elements());
                let mut at = 0;
                for _ in 0..count {
                    let item = match end {
                        End::Front => iter.next(),
                        End::Back => iter.next_back(),
                    };
                    visit(item.expect("the list has so many elements").into());
                }
                if end == End::Back {
                    at = iter.to();
                }
                if count > 0 {
                    listpack.remove_many(Position::of_offset(at), count);
                }
            }
            List::Chunks(chunks) => chunks.pop(end, count, visit),
        }
    }

    /// Takes `count` elements away from an end, or all there are.
    pub fn drop_end(&mut self, end: End, count: usize) {
        match end {
            End::Front => self.remove_range(0, count),
            End::Back => self.remove_range(self.len().saturating_sub(count), count),
        }
    }

    /// Removes up to `count` elements from `index` on. O(distance to the nearer end + count).
    pub fn remove_range(&mut self, index: usize, count: usize) {
        let len = self.len();
        let count = count.min(len.saturating_sub(index));
        if count == 0 {
            return;
        }
        match self {
            List::Packed(listpack) => {
                let at = offset_of(listpack.elements(), len, index);
                listpack.remove_many(Position::of_offset(at), count);
            }
            List::Chunks(chunks) => chunks.remove_range(index, count),
        }
    }

    /// Shows the element at `index`, if there is one. O(distance to the nearer end).
    pub fn show<R>(&self, index: usize, show: impl FnOnce(ListItem<'_>) -> R) -> Option<R> {
        let (mut show, mut shown) = (Some(show), None);
        self.walk(index, false, |item| {
            shown = show.take().map(|show| show(item));
            ControlFlow::Break(())
        });
        shown
    }

    /// Shows the elements from `index` on, forwards or backwards, until `visit` breaks or the list ends.
    pub fn walk(&self, index: usize, backwards: bool, mut visit: impl FnMut(ListItem<'_>) -> ControlFlow<()>) {
        match self {
            List::Packed(listpack) => {
                let (bytes, len) = (listpack.elements(), listpack.len());
                if index >= len {
                    return;
                }
                if backwards {
                    let mut iter = Iter::until(bytes, offset_of(bytes, len, index + 1));
                    while let Some(item) = iter.next_back() {
                        if visit(item.into()).is_break() {
                            return;
                        }
                    }
                } else {
                    for item in Iter::over(&bytes[offset_of(bytes, len, index)..]) {
                        if visit(item.into()).is_break() {
                            return;
                        }
                    }
                }
            }
            List::Chunks(chunks) => chunks.walk(index, backwards, visit),
        }
    }

    /// Replaces the element at `index`, which is there.
    pub fn set(&mut self, index: usize, item: NewItem<'_>) {
        match self {
            List::Packed(listpack) => {
                let at = offset_of(listpack.elements(), listpack.len(), index);
                listpack.replace(Position::of_offset(at), item.text);
            }
            List::Chunks(chunks) => chunks.set(index, item),
        }
    }

    /// Inserts an element before or after the first one with the text `pivot`. Says whether there is such a one.
    pub fn insert(&mut self, pivot: &[u8], after: bool, item: NewItem<'_>) -> bool {
        let needle = Needle::of(pivot);
        match self {
            List::Packed(listpack) => {
                let mut place = None;
                let _ = match_elements(listpack.elements(), End::Front, usize::MAX, &needle, |_, at, _| {
                    place = Some(Position::of_offset(at));
                    ControlFlow::Break(())
                });
                let Some(place) = place else {
                    return false;
                };
                if after {
                    listpack.insert_after(place, item.text);
                } else {
                    listpack.insert_before(place, item.text);
                }
            }
            List::Chunks(chunks) => {
                let Some(place) = chunks.first_place(&needle, pivot) else {
                    return false;
                };
                chunks.insert(place, after, item);
            }
        }
        true
    }

    /// Removes up to `count_max` elements with this text, from an end on. Returns how many.
    pub fn remove_matching(&mut self, text: &[u8], from: End, count_max: usize) -> usize {
        let needle = Needle::of(text);
        match self {
            List::Packed(listpack) => {
                let mut places = Vec::new();
                let _ = match_elements(listpack.elements(), from, usize::MAX, &needle, |_, at, _| {
                    places.push(Position::of_offset(at));
                    if places.len() == count_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                // From the back, so that the other places stay where they are.
                if from == End::Front {
                    places.reverse();
                }
                for &place in &places {
                    listpack.remove(place);
                }
                places.len()
            }
            List::Chunks(chunks) => chunks.remove_matching(&needle, text, from, count_max),
        }
    }

    /// The indexes of elements with this text, from an end on, until `found` breaks or so many elements were compared.
    pub fn find_each(
        &self,
        text: &[u8],
        from: End,
        compared_max: usize,
        mut found: impl FnMut(usize) -> ControlFlow<()>,
    ) {
        let needle = Needle::of(text);
        match self {
            List::Packed(listpack) => {
                let len = listpack.len();
                let _ = match_elements(listpack.elements(), from, compared_max, &needle, |nth, _, _| {
                    found(if from == End::Front { nth } else { len - 1 - nth })
                });
            }
            List::Chunks(chunks) => chunks.find_each(&needle, text, from, compared_max, found),
        }
    }

    /// Of a large list.
    pub fn figures(&self) -> Option<ListFigures> {
        match self {
            List::Packed(_) => None,
            List::Chunks(chunks) => Some(ListFigures {
                nodes: chunks.node_count(),
                listpack_size_max: chunks.limits().size(),
                is_compressed: chunks.limits().compress_depth > 0,
                bytes: chunks.bytes(),
            }),
        }
    }
}

const PACKED: Code = 0;
const CHUNKS: Code = 1;

// SAFETY: a code for each encoding, and each encoding's pointer is taken apart and put together by its own functions.
unsafe impl Collection for List {
    const TYPE_NAME: &'static str = "list";
    const CODES: RangeInclusive<Code> = PACKED..=CHUNKS;

    #[inline]
    fn into_parts(self) -> (Code, NonNull<u8>) {
        match self {
            List::Packed(listpack) => (PACKED, listpack.into_raw()),
            List::Chunks(chunks) => (CHUNKS, box_into_raw(chunks)),
        }
    }

    #[inline]
    unsafe fn from_parts(code: Code, pointer: NonNull<u8>) -> List {
        // SAFETY: the caller's promise.
        unsafe {
            match code {
                PACKED => List::Packed(Listpack::from_raw(pointer)),
                _ => List::Chunks(box_from_raw(pointer)),
            }
        }
    }

    fn encoding_name(&self) -> &'static str {
        match self {
            List::Packed(_) => "listpack",
            List::Chunks(_) => "quicklist",
        }
    }

    #[inline]
    fn len(&self) -> usize {
        match self {
            List::Packed(listpack) => listpack.len(),
            List::Chunks(chunks) => chunks.len(),
        }
    }

    fn memory_usage(&self, _samples: usize) -> usize {
        match self {
            List::Packed(listpack) => listpack.memory_usage(),
            List::Chunks(chunks) => chunks.memory_usage(),
        }
    }

    fn duplicate(&self) -> List {
        self.share()
    }

    fn free_cost(&self) -> usize {
        match self {
            List::Packed(_) => 1,
            List::Chunks(chunks) => chunks.node_count(),
        }
    }
}

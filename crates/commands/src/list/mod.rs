//! Lists.

mod blpop;
mod lindex;
mod linsert;
mod llen;
mod lmove;
mod lmpop;
mod lpop;
mod lpos;
mod lpush;
mod lrange;
mod lrem;
mod lset;
mod ltrim;

use std::sync::Arc;

use keyspace::{Collection, End, Key, List, ListItem, NewItem};
use resp::Reply;

use crate::context::Ctx;
use crate::effects::EventClass;
use crate::error::{Error, Stop};
use crate::spec::{Arg, Spec};

pub const SPECS: &[&Spec] = &[
    &blpop::BLPOP,
    &blpop::BRPOP,
    &lindex::SPEC,
    &linsert::SPEC,
    &llen::SPEC,
    &lmove::BLMOVE,
    &lmove::BRPOPLPUSH,
    &lmove::LMOVE,
    &lmove::RPOPLPUSH,
    &lmpop::BLMPOP,
    &lmpop::LMPOP,
    &lpop::LPOP,
    &lpop::RPOP,
    &lpos::SPEC,
    &lpush::LPUSH,
    &lpush::LPUSHX,
    &lpush::RPUSH,
    &lpush::RPUSHX,
    &lrange::SPEC,
    &lrem::SPEC,
    &lset::SPEC,
    &ltrim::SPEC,
];

/// `LEFT` and `RIGHT`, as an argument of COMMAND DOCS.
const LEFT_OR_RIGHT: &[Arg] = &[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")];

/// Argument `index` as `LEFT` or `RIGHT`.
fn end_of(cx: &Ctx<'_>, index: usize) -> Result<End, Stop> {
    if cx.word(index, "LEFT") {
        Ok(End::Front)
    } else if cx.word(index, "RIGHT") {
        Ok(End::Back)
    } else {
        Err(Error::Syntax.into())
    }
}

/// The event of a push to this end.
fn pushed(end: End) -> &'static str {
    match end {
        End::Front => "lpush",
        End::Back => "rpush",
    }
}

/// The event of a pop from this end.
fn popped(end: End) -> &'static str {
    match end {
        End::Front => "lpop",
        End::Back => "rpop",
    }
}

/// Argument `index` as an element, not copied if it is large and arrived in a buffer of its own.
#[inline]
fn element<'a>(args: &[&'a [u8]], large: &'a [(usize, Arc<Vec<u8>>)], index: usize) -> NewItem<'a> {
    let shared = large.iter().find(|(at, _)| *at == index).map(|(_, text)| text);
    NewItem { text: args[index], shared }
}

#[inline]
fn put_item(reply: &mut Reply, item: ListItem<'_>) {
    match item {
        ListItem::Int(number) => reply.bulk_int(number),
        ListItem::Bytes(bytes) => reply.bulk(bytes),
        ListItem::Large(text) => reply.shared(text),
    }
}

/// The command that pops from this end.
fn pop_command(end: End) -> &'static [u8] {
    match end {
        End::Front => b"LPOP",
        End::Back => b"RPOP",
    }
}

/// Elements have been taken from a list; it is not borrowed any more, and gone if it is empty.
fn taken(cx: &mut Ctx<'_>, key: Key<'_>, event: &'static str, count: usize, is_empty: bool) {
    cx.db.changed(count as u64);
    cx.db.notify(EventClass::LIST, event, key.bytes());
    if is_empty {
        cx.db.remove_if_empty(key);
    }
}

/// Pops up to `count` elements into the reply, one by one, behind what `before` writes when it is known how many they are. `None` if
/// there is no such list; else how many. What is propagated is the caller's to say.
fn pop(
    cx: &mut Ctx<'_>,
    key: Key<'_>,
    end: End,
    count: usize,
    before: impl FnOnce(&mut Reply, usize),
) -> Result<Option<usize>, Stop> {
    let limits = cx.global().settings.list;
    let Some(mut list) = cx.db.write_as::<List>(key)? else {
        return Ok(None);
    };
    let count = count.min(list.len());
    before(cx.reply, count);
    if count == 0 {
        return Ok(Some(0));
    }
    list.pop(end, count, |item| put_item(cx.reply, item));
    list.shrink(limits);
    let is_empty = list.is_empty();
    drop(list);
    taken(cx, key, popped(end), count, is_empty);
    Ok(Some(count))
}

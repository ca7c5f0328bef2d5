//! `LMOVE` and `RPOPLPUSH`: an element goes from an end of one list to an end of another, or of the same. `BLMOVE` and `BRPOPLPUSH` wait
//! for one.

use std::sync::Arc;

use keyspace::{Collection, End, Key, List, ListItem, NewItem};
use smallvec::SmallVec;

use super::{LEFT_OR_RIGHT, end_of, popped, pushed, taken};
use crate::blocking::{Block, BlockOn};
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::Stop;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const LMOVE: Spec = Spec {
    name: "lmove",
    arity: 5,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::LIST).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE), 1),
        KeySpec::one(KeyFlags::RW.union(KeyFlags::INSERT), 2),
    ],
    group: Group::List,
    since: "6.2.0",
    summary: "Takes an element from an end of a list, adds it to an end of another, and returns it.",
    args: &[
        Arg::key("source", 0),
        Arg::key("destination", 1),
        Arg::one_of("wherefrom", LEFT_OR_RIGHT),
        Arg::one_of("whereto", LEFT_OR_RIGHT),
    ],
    run: Some(lmove),
    ..Spec::NEW
};

pub const RPOPLPUSH: Spec = Spec {
    name: "rpoplpush",
    arity: 3,
    since: "1.2.0",
    summary: "Takes the tail of a list, adds it to the head of another, and returns it.",
    doc_flags: &["deprecated"],
    deprecated_since: Some("6.2.0"),
    replaced_by: Some("`LMOVE` with the `RIGHT` and `LEFT` arguments"),
    args: &[Arg::key("source", 0), Arg::key("destination", 1)],
    run: Some(rpoplpush),
    ..LMOVE
};

pub const BLMOVE: Spec = Spec {
    name: "blmove",
    arity: 6,
    flags: LMOVE.flags.union(Flags::BLOCKING),
    acl: LMOVE.acl.union(Acl::BLOCKING),
    summary: "Takes an element from an end of a list, adds it to an end of another, and returns it. Waits for one if there is none.",
    args: &[
        Arg::key("source", 0),
        Arg::key("destination", 1),
        Arg::one_of("wherefrom", LEFT_OR_RIGHT),
        Arg::one_of("whereto", LEFT_OR_RIGHT),
        Arg::double("timeout"),
    ],
    run: Some(blmove),
    ..LMOVE
};

pub const BRPOPLPUSH: Spec = Spec {
    name: "brpoplpush",
    arity: 4,
    since: "2.2.0",
    summary: "Takes the tail of a list, adds it to the head of another, and returns it. Waits for one if there is none.",
    doc_flags: &["deprecated"],
    deprecated_since: Some("6.2.0"),
    replaced_by: Some("`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
    history: &[("6.0.0", "The timeout may have a fraction.")],
    args: &[Arg::key("source", 0), Arg::key("destination", 1), Arg::double("timeout")],
    run: Some(brpoplpush),
    ..BLMOVE
};

fn lmove(cx: &mut Ctx<'_>) -> Outcome {
    let (from, to) = (end_of(cx, 3)?, end_of(cx, 4)?);
    if !move_one(cx, from, to)? {
        cx.reply.null();
    }
    Ok(())
}

fn rpoplpush(cx: &mut Ctx<'_>) -> Outcome {
    if !move_one(cx, End::Back, End::Front)? {
        cx.reply.null();
    }
    Ok(())
}

fn blmove(cx: &mut Ctx<'_>) -> Outcome {
    let (from, to) = (end_of(cx, 3)?, end_of(cx, 4)?);
    move_or_wait(cx, from, to, &[b"LMOVE", cx.args[1], cx.args[2], cx.args[3], cx.args[4]], 5)
}

fn brpoplpush(cx: &mut Ctx<'_>) -> Outcome {
    move_or_wait(cx, End::Back, End::Front, &[b"RPOPLPUSH", cx.args[1], cx.args[2]], 3)
}

fn move_or_wait(cx: &mut Ctx<'_>, from: End, to: End, effect: &[&[u8]], timeout: usize) -> Outcome {
    let timeout = cx.timeout_seconds(timeout)?;
    if move_one(cx, from, to)? {
        if cx.db.effects.wanted() {
            cx.db.effects.instead(effect);
        }
        return Ok(());
    }
    if !cx.may_block {
        // Not what it is when the time is over: then it is the null of an array.
        cx.reply.null();
        return Ok(());
    }
    cx.block(Block { on: BlockOn::List, keys: 1..2, timeout, on_timeout: |reply| reply.null_array(), args: None })
}

/// An element between two lists. Both cannot be borrowed at once: they may be the same.
enum Moved {
    Short(SmallVec<[u8; 64]>),
    Large(Arc<Vec<u8>>),
}

impl Moved {
    fn of(item: ListItem<'_>) -> Moved {
        match item {
            ListItem::Int(number) => Moved::Short(SmallVec::from_slice(number.to_string().as_bytes())),
            ListItem::Bytes(bytes) => Moved::Short(SmallVec::from_slice(bytes)),
            ListItem::Large(text) => Moved::Large(Arc::clone(text)),
        }
    }

    fn as_new_item(&self) -> NewItem<'_> {
        match self {
            Moved::Short(bytes) => NewItem { text: bytes, shared: None },
            Moved::Large(text) => NewItem { text, shared: Some(text) },
        }
    }
}

/// Moves an element into the reply as well, and says whether there is one. The destination's type is looked at only if there is.
fn move_one(cx: &mut Ctx<'_>, from: End, to: End) -> Result<bool, Stop> {
    let [source, destination]: [Key<'_>; 2] = [cx.keys[0], cx.keys[1]];
    let limits = cx.global().settings.list;
    if cx.db.write_as::<List>(source)?.is_none() {
        return Ok(false);
    }
    cx.db.write_as::<List>(destination)?;
    let mut list = cx.db.write_as::<List>(source)?.expect("it was there just now");
    let mut moved = None;
    list.pop(from, 1, |item| moved = Some(Moved::of(item)));
    drop(list);
    let moved = moved.expect("a list is not empty");
    let item = moved.as_new_item();

    let mut list = cx.db.write_or_create::<List>(destination)?;
    list.grow(item.text.len(), 1, limits);
    list.push(to, item);
    drop(list);
    cx.db.notify(EventClass::LIST, pushed(to), destination.bytes());
    match &moved {
        Moved::Short(bytes) => cx.reply.bulk(bytes),
        Moved::Large(text) => cx.reply.shared(text),
    }

    let mut list = cx.db.write_as::<List>(source)?.expect("it was there just now");
    list.shrink(limits);
    let is_empty = list.is_empty();
    drop(list);
    taken(cx, source, popped(from), 1, is_empty);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn between_two_lists() {
        script(&[
            ("RPUSH l a b c 4", ":4"),
            ("LMOVE l d left RIGHT", "$1 a"),
            ("LMOVE l d RIGHT LEFT", "$1 4"),
            ("RPOPLPUSH l d", "$1 c"),
            ("LMOVE l d LEFT LEFT", "$1 b"),
            ("EXISTS l", ":0"),
            ("LRANGE d 0 -1", "*4 $1 b $1 c $1 4 $1 a"),
            ("LMOVE l d LEFT LEFT", "$-1"),
            ("RPOPLPUSH l d", "$-1"),
            ("BLMOVE d l LEFT RIGHT 0", "$1 b"),
            ("BRPOPLPUSH d l 0", "$1 a"),
            ("LRANGE l 0 -1", "*2 $1 a $1 b"),
        ]);
    }

    #[test]
    fn within_one_list() {
        script(&[
            ("RPUSH l a b c", ":3"),
            ("LMOVE l l LEFT RIGHT", "$1 a"),
            ("RPOPLPUSH l l", "$1 a"),
            ("LMOVE l l LEFT LEFT", "$1 a"),
            ("LRANGE l 0 -1", "*3 $1 a $1 b $1 c"),
            ("RPUSH one x", ":1"),
            ("PEXPIRE one 100000", ":1"),
            ("RPOPLPUSH one one", "$1 x"),
            ("TTL one", ":100"),
            ("LRANGE one 0 -1", "*1 $1 x"),
        ]);
    }

    #[test]
    fn errors_change_nothing() {
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        script(&[
            ("RPUSH l a", ":1"),
            ("SET s 1", "+OK"),
            ("LMOVE s zz FOO LEFT", "-ERR syntax error"),
            ("LMOVE s zz LEFT FOO", "-ERR syntax error"),
            ("LMOVE s l LEFT LEFT", wrong),
            ("LMOVE zz s LEFT LEFT", "$-1"),
            ("LMOVE l s LEFT LEFT", wrong),
            ("RPOPLPUSH l s", wrong),
            ("BLMOVE l s LEFT LEFT 0", wrong),
            ("BRPOPLPUSH s l 0", wrong),
            ("LRANGE l 0 -1", "*1 $1 a"),
            ("BLMOVE s zz FOO LEFT x", "-ERR syntax error"),
            ("BLMOVE s zz LEFT LEFT x", "-ERR timeout is not a float or out of range"),
            ("BRPOPLPUSH s zz -1", "-ERR timeout is negative"),
        ]);
    }
}

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

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn encodings_change_where_redis_changes_them() {
        script(&[
            ("CONFIG SET list-max-listpack-size 4", "+OK"),
            ("RPUSH l a b c d", ":4"),
            ("OBJECT ENCODING l", "$8 listpack"),
            ("RPUSH l e", ":5"),
            ("OBJECT ENCODING l", "$9 quicklist"),
            // Back at half of the limit, if that is one node.
            ("RPOP l 2", "*2 $1 e $1 d"),
            ("OBJECT ENCODING l", "$9 quicklist"),
            ("RPOP l", "$1 c"),
            ("OBJECT ENCODING l", "$8 listpack"),
            ("RPUSH l c d e", ":5"),
            ("LPOP l 3", "*3 $1 a $1 b $1 c"),
            ("OBJECT ENCODING l", "$9 quicklist"),
            ("LRANGE l 0 -1", "*2 $1 d $1 e"),
            ("LTRIM l -1 -1", "+OK"),
            ("OBJECT ENCODING l", "$8 listpack"),
            // What might become too large is made ready for it, also where nothing comes of it.
            ("RPUSH m a b c d", ":4"),
            ("LINSERT m BEFORE zz x", ":-1"),
            ("OBJECT ENCODING m", "$9 quicklist"),
            ("RPUSH n a b c d", ":4"),
            ("LSET n 9 x", "-ERR index out of range"),
            ("OBJECT ENCODING n", "$9 quicklist"),
        ]);
    }

    #[test]
    fn bytes_count_too() {
        let mut rig = Rig::new();
        let long = "x".repeat(5000);
        rig.script(&[
            (&format!("RPUSH l a {long}"), ":2"),
            ("OBJECT ENCODING l", "$8 listpack"),
            (&format!("RPUSH l {long}"), ":3"),
            ("OBJECT ENCODING l", "$9 quicklist"),
            ("LSET l -1 b", "+OK"),
            ("LSET l 1 c", "+OK"),
            // Two nodes.
            ("OBJECT ENCODING l", "$9 quicklist"),
            ("RPOP l", "$1 b"),
            ("OBJECT ENCODING l", "$8 listpack"),
        ]);
        // One element alone can be too much for a listpack.
        let longer = "x".repeat(9000);
        rig.script(&[(&format!("LPUSH m {longer}"), ":1"), ("OBJECT ENCODING m", "$9 quicklist")]);
        assert_eq!(rig.run("LINDEX m 0"), format!("$9000 {longer}"));
        assert_eq!(rig.run("LMOVE m m LEFT RIGHT"), format!("$9000 {longer}"));
    }

    #[test]
    fn lists_move_and_are_copied() {
        for size in [2, 100] {
            script(&[
                (&format!("CONFIG SET list-max-listpack-size {size} list-compress-depth 1"), "+OK"),
                ("RPUSH l a b c d e f g h", ":8"),
                ("COPY l m", ":1"),
                ("LPOP l", "$1 a"),
                ("LRANGE m 0 -1", "*8 $1 a $1 b $1 c $1 d $1 e $1 f $1 g $1 h"),
                ("RENAME l n", "+OK"),
                ("MOVE n 1", ":1"),
                ("SELECT 1", "+OK"),
                ("LRANGE n 0 -1", "*7 $1 b $1 c $1 d $1 e $1 f $1 g $1 h"),
                ("LPUSH n x", ":8"),
                ("SET n string", "+OK"),
                ("SELECT 0", "+OK"),
                ("DEL m", ":1"),
            ]);
        }
    }

    #[test]
    fn what_is_told_about_a_list() {
        let mut rig = Rig::new();
        rig.script(&[("CONFIG SET list-max-listpack-size 2", "+OK"), ("RPUSH l a b c", ":3"), ("RPUSH s a", ":1")]);
        let told = rig.run("DEBUG OBJECT l");
        let figures = " ql_nodes:2 ql_avg_node:1.50 ql_listpack_max:2 ql_compressed:0 ql_uncompressed_size:23";
        assert!(told.contains(" encoding:quicklist ") && told.ends_with(figures), "{told}");
        let told = rig.run("DEBUG OBJECT s");
        assert!(told.contains(" encoding:listpack ") && !told.contains("ql_"), "{told}");
        let usage = |rig: &mut Rig, key: &str| -> usize {
            rig.run(&format!("MEMORY USAGE {key}")).strip_prefix(':').unwrap().parse().unwrap()
        };
        assert!(usage(&mut rig, "l") > usage(&mut rig, "s"));
        assert!((30..80).contains(&usage(&mut rig, "s")));
        let digest = |rig: &mut Rig| rig.run("DEBUG DIGEST-VALUE l");
        let before = digest(&mut rig);
        rig.script(&[("LMOVE l l LEFT RIGHT", "$1 a")]);
        assert_ne!(digest(&mut rig), before);
        rig.script(&[("LMOVE l l RIGHT LEFT", "$1 a")]);
        assert_eq!(digest(&mut rig), before);
    }
}

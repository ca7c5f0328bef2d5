//! `ZPOPMIN`, `ZPOPMAX`, `BZPOPMIN` and `BZPOPMAX`.

use keyspace::collection::listpack::Item;
use keyspace::collection::sorted_set::Direction;
use keyspace::{Collection, Key, SortedSet};
use resp::{Proto, Reply};

use super::{put_member, put_pair};
use crate::blocking::{Block, BlockOn};
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const ZPOPMIN: Spec = Spec {
    name: "zpopmin",
    arity: -2,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE), 1)],
    group: Group::SortedSet,
    since: "5.0.0",
    summary: "Takes out the members with the lowest scores.",
    complexity: "O(log(N)*M), N being the size of the sorted set and M the number of members taken",
    args: &[Arg::key("key", 0), Arg::integer("count").optional()],
    run: Some(zpopmin),
    ..Spec::NEW
};

pub const ZPOPMAX: Spec = Spec {
    name: "zpopmax",
    arity: -2,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE), 1)],
    group: Group::SortedSet,
    since: "5.0.0",
    summary: "Takes out the members with the highest scores.",
    complexity: "O(log(N)*M), N being the size of the sorted set and M the number of members taken",
    args: &[Arg::key("key", 0), Arg::integer("count").optional()],
    run: Some(zpopmax),
    ..Spec::NEW
};

pub const BZPOPMIN: Spec = Spec {
    name: "bzpopmin",
    arity: -3,
    flags: Flags::WRITE.union(Flags::BLOCKING).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::FAST).union(Acl::BLOCKING),
    keys: &[KeySpec::range(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE), 1, -2, 1)],
    group: Group::SortedSet,
    since: "5.0.0",
    summary: "Takes out the member with the lowest score of the first sorted set that has one, and waits for one.",
    complexity: "O(log(N)), N being the size of the sorted set",
    history: &[("6.0.0", "The timeout may have a fraction.")],
    args: &[Arg::key("key", 0).multiple(), Arg::double("timeout")],
    run: Some(bzpopmin),
    ..Spec::NEW
};

pub const BZPOPMAX: Spec = Spec {
    name: "bzpopmax",
    arity: -3,
    flags: Flags::WRITE.union(Flags::BLOCKING).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::SORTEDSET).union(Acl::FAST).union(Acl::BLOCKING),
    keys: &[KeySpec::range(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE), 1, -2, 1)],
    group: Group::SortedSet,
    since: "5.0.0",
    summary: "Takes out the member with the highest score of the first sorted set that has one, and waits for one.",
    complexity: "O(log(N)), N being the size of the sorted set",
    history: &[("6.0.0", "The timeout may have a fraction.")],
    args: &[Arg::key("key", 0).multiple(), Arg::double("timeout")],
    run: Some(bzpopmax),
    ..Spec::NEW
};

/// The end that members are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Lowest,
    Highest,
}

impl End {
    fn event(self) -> &'static str {
        match self {
            End::Lowest => "zpopmin",
            End::Highest => "zpopmax",
        }
    }

    /// The command that makes the same change elsewhere.
    pub fn command(self) -> &'static [u8] {
        match self {
            End::Lowest => b"ZPOPMIN",
            End::Highest => b"ZPOPMAX",
        }
    }
}

/// Takes up to `count` members from one end of the sorted set at `key`, shown to `begin` (how many) and `each` as they go. Says how many;
/// `None` if the key is not there.
///
/// # Errors
/// `WrongType`.
pub fn pop(
    cx: &mut Ctx<'_>,
    key: Key<'_>,
    end: End,
    count: usize,
    begin: impl FnOnce(&mut Reply, usize),
    each: impl Fn(&mut Reply, &Item<'_>, f64),
) -> Result<Option<usize>, Stop> {
    let Some(mut set) = cx.db.write_as::<SortedSet>(key)? else { return Ok(None) };
    let len = set.len();
    let count = count.min(len);
    let (ranks, direction) = match end {
        End::Lowest => (0..count, Direction::Up),
        End::Highest => (len - count..len, Direction::Down),
    };
    begin(cx.reply, count);
    set.iter(ranks.clone(), direction).for_each(|(member, score)| each(cx.reply, &member, score));
    set.remove_ranks(ranks);
    drop(set);
    if count > 0 {
        cx.db.notify(EventClass::SORTED_SET, end.event(), key.bytes());
        cx.db.remove_if_empty(key);
        cx.db.changed(count as u64);
    }
    Ok(Some(count))
}

fn zpopmin(cx: &mut Ctx<'_>) -> Outcome {
    zpop(cx, End::Lowest)
}

fn zpopmax(cx: &mut Ctx<'_>) -> Outcome {
    zpop(cx, End::Highest)
}

fn zpop(cx: &mut Ctx<'_>, end: End) -> Outcome {
    if cx.args.len() > 3 {
        return Err(Error::Syntax.into());
    }
    let count = match cx.args.get(2) {
        None => None,
        Some(text) => match resp::number::parse_i64(text).and_then(|count| usize::try_from(count).ok()) {
            Some(count) => Some(count),
            None => return cx.fail("ERR value is out of range, must be positive"),
        },
    };
    // Without a count one pair is expected, and RESP3 shows it without another array around it.
    let flat = count.is_none() || cx.reply.proto() == Proto::Resp2;
    let popped = pop(
        cx,
        cx.keys[0],
        end,
        count.unwrap_or(1),
        |reply, count| reply.array(if flat { 2 * count } else { count }),
        |reply, member, score| {
            if flat {
                put_member(reply, member);
                reply.double(score);
            } else {
                put_pair(reply, member, Some(score));
            }
        },
    )?;
    if popped.is_none() {
        cx.reply.array(0);
    }
    Ok(())
}

fn bzpopmin(cx: &mut Ctx<'_>) -> Outcome {
    bzpop(cx, End::Lowest)
}

fn bzpopmax(cx: &mut Ctx<'_>) -> Outcome {
    bzpop(cx, End::Highest)
}

fn bzpop(cx: &mut Ctx<'_>, end: End) -> Outcome {
    let last = cx.args.len() - 1;
    let timeout = cx.timeout_seconds(last)?;
    for &key in cx.keys {
        let name = key.bytes();
        let popped = pop(
            cx,
            key,
            end,
            1,
            |reply, _| {
                reply.array(3);
                reply.bulk(name);
            },
            |reply, member, score| {
                put_member(reply, member);
                reply.double(score);
            },
        )?;
        if popped.is_some() {
            if cx.db.effects.wanted() {
                cx.db.effects.instead(&[end.command(), name]);
            }
            return Ok(());
        }
    }
    cx.block(Block {
        on: BlockOn::SortedSet,
        keys: 1..last,
        timeout,
        on_timeout: |reply| reply.null_array(),
        args: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::encodings;

    #[test]
    fn from_either_end() {
        encodings(&[
            ("ZADD z 1 a 2 b 3 c 4 d 5 e 6 f", ":6"),
            ("ZPOPMIN z", "*2 $1 a $1 1"),
            ("ZPOPMAX z 2", "*4 $1 f $1 6 $1 e $1 5"),
            ("ZPOPMIN z 0", "*0"),
            ("BZPOPMIN no z 0", "*3 $1 z $1 b $1 2"),
            ("BZPOPMAX z 0", "*3 $1 z $1 d $1 4"),
            ("ZPOPMIN z 9", "*2 $1 c $1 3"),
            ("EXISTS z", ":0"),
            ("ZPOPMIN z", "*0"),
            ("ZPOPMAX z 3", "*0"),
            ("ZADD z 1 a 2 b 3 c 4 d", ":4"),
            (
                "HELLO 3 SETNAME x",
                "%7 $6 server $5 redis $7 version $5 8.2.3 $5 proto :3 $2 id :1 $4 mode $10 standalone $4 role $6 master $7 modules *0",
            ),
            ("ZPOPMIN z", "*2 $1 a ,1"),
            ("ZPOPMIN z 1", "*1 *2 $1 b ,2"),
            ("BZPOPMAX z 0", "*3 $1 z $1 d ,4"),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        encodings(&[
            ("SET s 1", "+OK"),
            ("ZPOPMIN s x", "-ERR value is out of range, must be positive"),
            ("ZPOPMIN s -1", "-ERR value is out of range, must be positive"),
            ("ZPOPMIN s x 2", "-ERR syntax error"),
            ("ZPOPMIN s 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("BZPOPMIN s x", "-ERR timeout is not a float or out of range"),
            ("BZPOPMIN s -1", "-ERR timeout is negative"),
            ("BZPOPMAX no s 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

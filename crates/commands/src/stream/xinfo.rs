//! `XINFO` and its subcommands.

use keyspace::Stream;
use keyspace::collection::stream::{Consumer, Entry, Group as ConsumerGroup, StreamId};
use resp::Reply;

use super::reply::{put_entries, put_entry, put_id};
use super::xgroup::no_such_group;
use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop, shown};
use crate::help;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xinfo",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Stream,
    since: "5.0.0",
    summary: "Groups the commands that describe streams, groups and consumers.",
    complexity: "Depends on the subcommand.",
    subcommands: &[CONSUMERS, GROUPS, HELP, STREAM],
    ..Spec::NEW
};

pub const CONSUMERS: Spec = Spec {
    name: "consumers",
    arity: 4,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::STREAM).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 2)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Describes the consumers of a group.",
    history: &[("7.2.0", "`inactive`; `idle` counts attempts that got nothing, too.")],
    tips: &["nondeterministic_output"],
    args: &[Arg::key("key", 0), Arg::string("group")],
    run: Some(consumers),
    ..Spec::NEW
};

pub const GROUPS: Spec = Spec {
    name: "groups",
    arity: 3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::STREAM).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 2)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Describes the consumer groups of a stream.",
    history: &[("7.0.0", "`entries-read` and `lag`.")],
    args: &[Arg::key("key", 0)],
    run: Some(groups),
    ..Spec::NEW
};

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::STREAM.union(Acl::SLOW),
    group: Group::Stream,
    since: "5.0.0",
    summary: "Describes the subcommands of XINFO.",
    run: Some(help::run),
    ..Spec::NEW
};

pub const STREAM: Spec = Spec {
    name: "stream",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::STREAM).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 2)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Describes a stream; with FULL, its entries, groups, consumers and what is pending, too.",
    complexity: "O(1); O(N) for all that FULL shows",
    history: &[
        ("6.0.0", "`FULL`."),
        ("7.0.0", "`max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag`."),
        ("7.2.0", "`active-time`; `seen-time` counts attempts that got nothing, too."),
    ],
    args: &[
        Arg::key("key", 0),
        Arg::block("full-block", &[Arg::word("full", "FULL"), Arg::integer("count").token("COUNT").optional()])
            .optional(),
    ],
    run: Some(stream),
    ..Spec::NEW
};

/// How many entries of each list FULL shows.
const FULL_COUNT: u64 = 10;

fn consumers(cx: &mut Ctx<'_>) -> Outcome {
    let now_ms = cx.db.now.0;
    let Some(stream) = cx.db.read_as::<Stream>(cx.keys[0])? else {
        return Err(Error::NoSuchKey.into());
    };
    let Some(group) = stream.groups.get(cx.args[3]) else {
        return no_such_group(cx.args[2], cx.args[3]);
    };
    cx.reply.array(group.consumer_count());
    for consumer in group.consumers() {
        cx.reply.map(4);
        cx.reply.bulk("name");
        cx.reply.bulk(consumer.name());
        cx.reply.bulk("pending");
        cx.reply.count(consumer.pending().len());
        cx.reply.bulk("idle");
        cx.reply.int((now_ms - consumer.seen_at_ms).max(0));
        cx.reply.bulk("inactive");
        cx.reply.int(consumer.active_at_ms.map_or(-1, |at_ms| (now_ms - at_ms).max(0)));
    }
    Ok(())
}

fn groups(cx: &mut Ctx<'_>) -> Outcome {
    let Some(stream) = cx.db.read_as::<Stream>(cx.keys[0])? else {
        return Err(Error::NoSuchKey.into());
    };
    cx.reply.array(stream.groups.len());
    for (name, group) in stream.groups.iter() {
        cx.reply.map(6);
        cx.reply.bulk("name");
        cx.reply.bulk(name);
        cx.reply.bulk("consumers");
        cx.reply.count(group.consumer_count());
        cx.reply.bulk("pending");
        cx.reply.count(group.pending_count());
        put_progress(cx.reply, &stream, group);
    }
    Ok(())
}

/// How far the group has read.
fn put_progress(reply: &mut Reply, stream: &Stream, group: &ConsumerGroup) {
    let put = |reply: &mut Reply, count: Option<u64>| match count {
        Some(count) => reply.int(count as i64),
        None => reply.null(),
    };
    reply.bulk("last-delivered-id");
    put_id(reply, group.last_id);
    reply.bulk("entries-read");
    put(reply, group.entries_read);
    reply.bulk("lag");
    put(reply, group.lag(&stream.entries));
}

fn stream(cx: &mut Ctx<'_>) -> Outcome {
    let Some(stream) = cx.db.read_as::<Stream>(cx.keys[0])? else {
        return Err(Error::NoSuchKey.into());
    };
    // The key first, then the options: `FULL`, and `COUNT` once.
    let count = match cx.args[3..] {
        [] => None,
        [full] if full.eq_ignore_ascii_case(b"FULL") => Some(FULL_COUNT),
        [full, count, number] if full.eq_ignore_ascii_case(b"FULL") && count.eq_ignore_ascii_case(b"COUNT") => {
            let number = resp::number::parse_i64(number).ok_or(Error::NotInteger)?;
            Some(u64::try_from(number).unwrap_or(FULL_COUNT))
        }
        _ => return syntax(cx.args[1]),
    };
    match count {
        None => put_stream(cx.reply, &stream),
        // 0 means all.
        Some(count) => put_full(cx.reply, &stream, if count == 0 { u64::MAX } else { count }),
    }
    Ok(())
}

fn syntax(subcommand: &[u8]) -> Outcome {
    let subcommand = shown(subcommand);
    let subcommand = &subcommand[..subcommand.len().min(128)];
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    Err(Stop::Error(Error::quoting(before, subcommand, "'. Try XINFO HELP.")))
}

/// Seven pairs.
fn put_counters(reply: &mut Reply, stream: &Stream) {
    let entries = &stream.entries;
    reply.bulk("length");
    reply.int(entries.len() as i64);
    reply.bulk("radix-tree-keys");
    reply.count(entries.block_count());
    reply.bulk("radix-tree-nodes");
    reply.count(entries.radix_nodes());
    reply.bulk("last-generated-id");
    put_id(reply, entries.last_id());
    reply.bulk("max-deleted-entry-id");
    put_id(reply, entries.max_deleted_id());
    reply.bulk("entries-added");
    reply.int(entries.added() as i64);
    reply.bulk("recorded-first-entry-id");
    put_id(reply, entries.first_id());
}

fn put_stream(reply: &mut Reply, stream: &Stream) {
    let put = |reply: &mut Reply, entry: Option<Entry<'_>>| match entry {
        Some(entry) => put_entry(reply, &entry),
        None => reply.null(),
    };
    reply.map(10);
    put_counters(reply, stream);
    reply.bulk("groups");
    reply.count(stream.groups.len());
    reply.bulk("first-entry");
    put(reply, stream.entries.range(StreamId::MIN, StreamId::MAX).next());
    reply.bulk("last-entry");
    put(reply, stream.entries.range_back(StreamId::MIN, StreamId::MAX).next());
}

fn put_full(reply: &mut Reply, stream: &Stream, count: u64) {
    reply.map(9);
    put_counters(reply, stream);
    reply.bulk("entries");
    put_entries(reply, stream.entries.range(StreamId::MIN, StreamId::MAX), Some(count));
    reply.bulk("groups");
    reply.array(stream.groups.len());
    for (name, group) in stream.groups.iter() {
        reply.map(7);
        reply.bulk("name");
        reply.bulk(name);
        put_progress(reply, stream, group);
        reply.bulk("pel-count");
        reply.count(group.pending_count());
        reply.bulk("pending");
        let start = reply.start_deferred();
        let mut written = 0;
        for (id, pending) in group.pending_range(StreamId::MIN..=StreamId::MAX).take(at_most(count)) {
            reply.array(4);
            put_id(reply, id);
            reply.bulk(group.consumer(pending.consumer).name());
            reply.int(pending.delivered_at_ms);
            reply.int(pending.delivery_count as i64);
            written += 1;
        }
        reply.finish_array(start, written);
        reply.bulk("consumers");
        reply.array(group.consumer_count());
        group.consumers().for_each(|consumer| put_consumer(reply, group, consumer, count));
    }
}

fn put_consumer(reply: &mut Reply, group: &ConsumerGroup, consumer: &Consumer, count: u64) {
    reply.map(5);
    reply.bulk("name");
    reply.bulk(consumer.name());
    reply.bulk("seen-time");
    reply.int(consumer.seen_at_ms);
    reply.bulk("active-time");
    reply.int(consumer.active_at_ms.unwrap_or(-1));
    reply.bulk("pel-count");
    reply.count(consumer.pending().len());
    reply.bulk("pending");
    reply.array(consumer.pending().len().min(at_most(count)));
    for &id in consumer.pending().iter().take(at_most(count)) {
        let pending = group.pending(id).expect("what is a consumer's is the group's");
        reply.array(3);
        put_id(reply, id);
        reply.int(pending.delivered_at_ms);
        reply.int(pending.delivery_count as i64);
    }
}

fn at_most(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    #[test]
    fn descriptions() {
        let mut rig = Rig::new();
        for line in ["XADD s 1-1 a 1", "XADD s 1-2 a 2", "XADD s 1-3 a 3", "XGROUP CREATE s g 0", "XDEL s 1-2"] {
            rig.run(line);
        }
        rig.run("XREADGROUP GROUP g c COUNT 1 STREAMS s >");
        rig.now.0 += 5;
        let counters = "$6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 1-3 \
                        $20 max-deleted-entry-id $3 1-2 $13 entries-added :3 $23 recorded-first-entry-id $3 1-1";
        let stream = format!(
            "*20 {counters} $6 groups :1 $11 first-entry *2 $3 1-1 *2 $1 a $1 1 $10 last-entry *2 $3 1-3 *2 $1 a $1 3"
        );
        let full = format!(
            "*18 {counters} $7 entries *1 *2 $3 1-1 *2 $1 a $1 1 $6 groups *1 *14 $4 name $1 g \
             $17 last-delivered-id $3 1-1 $12 entries-read $-1 $3 lag $-1 $9 pel-count :1 \
             $7 pending *1 *4 $3 1-1 $1 c :1700000000000 :1 $9 consumers *1 *10 $4 name $1 c \
             $9 seen-time :1700000000000 $11 active-time :1700000000000 $9 pel-count :1 \
             $7 pending *1 *3 $3 1-1 :1700000000000 :1"
        );
        rig.script(&[
            ("XINFO STREAM s", &stream),
            ("XINFO STREAM s FULL COUNT 1", &full),
            (
                "XINFO GROUPS s",
                "*1 *12 $4 name $1 g $9 consumers :1 $7 pending :1 $17 last-delivered-id $3 1-1 $12 entries-read $-1 $3 lag $-1",
            ),
            ("XINFO CONSUMERS s g", "*1 *8 $4 name $1 c $7 pending :1 $4 idle :5 $8 inactive :5"),
            ("XINFO CONSUMERS s nog", "-NOGROUP No such consumer group 'nog' for key name 's'"),
            ("XINFO STREAM nos FOO", "-ERR no such key"),
            ("XINFO STREAM s FOO", "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."),
            ("XINFO STREAM s FULL COUNT x", "-ERR value is not an integer or out of range"),
        ]);
    }

    #[test]
    fn nodes_of_the_radix_tree() {
        // As observed of Redis 8.2.
        let mut rig = Rig::new();
        rig.run("CONFIG SET stream-node-max-entries 1");
        let mut nodes = Vec::new();
        for id in ["1-1", "2-1", "2-2", "256-0", "256-1", "65536-1", "65536-256", "65536-257", "65537-1"] {
            rig.run(&format!("XADD s {id} a 1"));
            let reply = rig.run("XINFO STREAM s");
            let rest = reply.split("radix-tree-nodes :").nth(1).expect("the reply has it");
            nodes.push(rest.split(' ').next().unwrap().parse::<usize>().unwrap());
        }
        assert_eq!(nodes, [2, 6, 8, 11, 13, 16, 20, 21, 25]);
    }
}

//! `XREADGROUP`.

use keyspace::Stream;
use keyspace::collection::stream::{ConsumerId, Entries, Group as ConsumerGroup, Parts, Pending, StreamId};
use resp::Reply;

use super::ids;
use super::reply::{put_entry, put_lost_entry};
use super::xclaim::{Propagation, seen_consumer};
use super::xread::{Options, StreamsReply, no_group};
use crate::blocking::{Block, BlockOn};
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::Stop;
use crate::spec::{Acl, Arg, Begin, Find, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xreadgroup",
    arity: -7,
    flags: Flags::WRITE.union(Flags::BLOCKING),
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::SLOW).union(Acl::BLOCKING),
    keys: &[KeySpec {
        notes: None,
        flags: KeyFlags::RO.union(KeyFlags::ACCESS),
        begin: Begin::Keyword { keyword: "STREAMS", start_from: 4 },
        find: Find::Range { last: -1, step: 1, limit: 2 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Delivers entries that no consumer of a group has got yet, or shows again what this one has pending; may wait.",
    complexity: "O(N), N being the number of entries returned",
    args: &[
        Arg::block("group-block", &[Arg::string("group"), Arg::string("consumer")]).token("GROUP"),
        Arg::integer("count").token("COUNT").optional(),
        Arg::integer("milliseconds").token("BLOCK").optional(),
        Arg::word("noack", "NOACK").optional(),
        Arg::block("streams", &[Arg::key("key", 0).multiple(), Arg::string("id").multiple()]).token("STREAMS"),
    ],
    run: Some(run),
    ..Spec::NEW
};

/// What is asked of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// `>`: what no consumer has got.
    New,
    /// What this consumer has pending behind this id.
    History(StreamId),
}

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let options = Options::parse(cx, true)?;
    let (group_at, consumer_at) = options.group.expect("parsing has seen to it");
    let (group_name, consumer_name) = (cx.args[group_at], cx.args[consumer_at]);
    let keys = options.keys(cx)?;
    let now_ms = cx.db.now.0;

    // Everything is looked at before anything is changed.
    let mut wishes = Vec::with_capacity(keys.len());
    let mut anything = false;
    for (index, &key) in keys.iter().enumerate() {
        let id = options.id(cx, index);
        let stream = cx.db.read_as::<Stream>(key)?;
        let Some((stream, group)) = stream.as_ref().and_then(|stream| Some((stream, stream.groups.get(group_name)?)))
        else {
            return no_group(key.bytes(), group_name);
        };
        let wish = match id {
            b"$" => {
                return cx.fail(
                    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
                     consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just \
                     return an empty result set.",
                );
            }
            b"+" => {
                return cx.fail(
                    "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this \
                     consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just \
                     return an empty result set.",
                );
            }
            b">" => Wish::New,
            // In Redis the greatest id stands for `>`, whoever says it.
            id => match ids::parse(id)? {
                StreamId::MAX => Wish::New,
                id => Wish::History(id),
            },
        };
        anything |= wish != Wish::New || has_new(&stream.entries, group);
        wishes.push(wish);
    }
    if !anything && options.block.is_some() && cx.may_block && !cx.is_wide() {
        // Before the consumer is created.
        return Err(Stop::Wide);
    }

    let mut propagations = Vec::with_capacity(keys.len());
    let mut streams = StreamsReply::new(cx.reply);
    for (&key, &wish) in keys.iter().zip(&wishes) {
        let mut propagation = Propagation::new(key.bytes(), group_name, cx.db.effects);
        let mut stream = cx.db.write_as::<Stream>(key)?.expect("it was looked at");
        let Parts { entries, groups } = &mut **stream;
        let group = groups.get_mut(group_name).expect("it was looked at");
        let (consumer, created) = seen_consumer(group, consumer_name, now_ms);
        if created && options.no_ack {
            // Without it, what is delivered tells of the consumer; if nothing is, nobody needs to know.
            propagation.create_consumer(consumer_name);
        }
        match wish {
            Wish::New if !has_new(entries, group) => {}
            Wish::New => {
                streams.add(cx.reply, key.bytes());
                let reader = (!options.no_ack).then_some((consumer, now_ms));
                deliver(cx.reply, entries, group, reader, options.count, &mut propagation);
            }
            Wish::History(behind) => {
                streams.add(cx.reply, key.bytes());
                repeat(cx.reply, entries, group, consumer, behind, options.count, now_ms);
            }
        }
        drop(stream);
        if created {
            cx.db.notify(EventClass::STREAM, "xgroup-createconsumer", key.bytes());
        }
        cx.db.changed_unseen(propagation.changes);
        propagations.push(propagation);
    }
    propagations.iter().for_each(|propagation| propagation.tell(cx.db.effects));

    if !streams.is_empty() {
        streams.finish(cx.reply);
        return Ok(());
    }
    let Some(timeout) = options.block else {
        cx.reply.null_array();
        return Ok(());
    };
    let keys = options.keys_at..options.keys_at + options.key_count;
    cx.block(Block { on: BlockOn::StreamGroup, keys, timeout, on_timeout: |reply| reply.null_array(), args: None })
}

/// Whether there are entries that the group has not read.
fn has_new(entries: &Entries, group: &ConsumerGroup) -> bool {
    entries.last_live_id().is_some_and(|last| last > group.last_id)
}

/// Writes entries that the group has not read. They become pending for the `reader`, if there is one, with the time.
fn deliver(
    reply: &mut Reply,
    entries: &Entries,
    group: &mut ConsumerGroup,
    reader: Option<(ConsumerId, i64)>,
    count: Option<u64>,
    propagation: &mut Propagation<'_>,
) {
    let Some(first) = group.last_id.next() else { return };
    let start = reply.start_deferred();
    let mut written = 0;
    for entry in entries.range(first, StreamId::MAX) {
        group.advance(entry.id(), entries);
        put_entry(reply, &entry);
        if let Some((consumer, now_ms)) = reader {
            let pending = Pending { consumer, delivered_at_ms: now_ms, delivery_count: 1 };
            group.assign(entry.id(), pending);
            group.consumer_mut(consumer).active_at_ms = Some(now_ms);
            propagation.claim(entry.id(), &pending, group);
        }
        written += 1;
        if Some(written as u64) == count {
            break;
        }
    }
    propagation.set_id(group);
    reply.finish_array(start, written);
}

/// Writes what the consumer has pending. That counts as another delivery, which is not told to others.
fn repeat(
    reply: &mut Reply,
    entries: &Entries,
    group: &mut ConsumerGroup,
    consumer: ConsumerId,
    behind: StreamId,
    count: Option<u64>,
    now_ms: i64,
) {
    let mut next = behind.next();
    let start = reply.start_deferred();
    let mut written = 0;
    while let Some(id) = next.and_then(|next| group.consumer(consumer).pending().range(next..).next().copied())
        && count.is_none_or(|count| written < count)
    {
        match entries.get(id) {
            Some(entry) => {
                put_entry(reply, &entry);
                let pending = group.pending_mut(id).expect("what is a consumer's is the group's");
                pending.delivered_at_ms = now_ms;
                pending.delivery_count = pending.delivery_count.wrapping_add(1);
            }
            None => put_lost_entry(reply, id),
        }
        written += 1;
        next = id.next();
    }
    reply.finish_array(start, written as usize);
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, effects, script};

    #[test]
    fn delivery_and_history() {
        script(&[
            (
                "XREADGROUP GROUP g c STREAMS s >",
                "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
            ),
            ("XADD s 1-1 a 1", "$3 1-1"),
            ("XADD s 1-2 a 2", "$3 1-2"),
            ("XADD s 1-3 a 3", "$3 1-3"),
            ("XGROUP CREATE s g 0", "+OK"),
            ("XREADGROUP GROUP g c COUNT 2 STREAMS s >", "*1 *2 $1 s *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 1-2 *2 $1 a $1 2"),
            ("XREADGROUP GROUP g d NOACK STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-3 *2 $1 a $1 3"),
            ("XREADGROUP GROUP g d STREAMS s >", "*-1"),
            ("XDEL s 1-1", ":1"),
            ("XREADGROUP GROUP g c STREAMS s 0", "*1 *2 $1 s *2 *2 $3 1-1 *-1 *2 $3 1-2 *2 $1 a $1 2"),
            ("XREADGROUP GROUP g d STREAMS s 0", "*1 *2 $1 s *0"),
            ("XPENDING s g - + 9", "*2 *4 $3 1-1 $1 c :0 :1 *4 $3 1-2 $1 c :0 :2"),
            // The greatest id is `>`.
            ("XREADGROUP GROUP g c STREAMS s 18446744073709551615-18446744073709551615", "*-1"),
            ("XREADGROUP COUNT 1 STREAMS s > > >", "-ERR Missing GROUP option for XREADGROUP"),
            ("XREADGROUP GROUP g COUNT 1 STREAMS s >", "-ERR syntax error"),
            // A group whose name is a word of the command: the key is found all the same.
            (
                "XREADGROUP GROUP STREAMS c STREAMS s >",
                "-NOGROUP No such key 's' or consumer group 'STREAMS' in XREADGROUP with GROUP option",
            ),
        ]);
    }

    #[test]
    fn waiting_for_an_entry() {
        let mut rig = Rig::new();
        rig.run("XGROUP CREATE s g $ MKSTREAM");
        rig.script(&[("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "BLOCKED")]);
        rig.client(2).script(&[("XADD s 1-1 a 1", "$3 1-1")]);
        assert_eq!(rig.unblocked(), [(1, "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1".to_owned())]);
        rig.client(1).script(&[("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "BLOCKED")]);
        rig.client(2).script(&[("XGROUP DESTROY s g", ":1")]);
        let told = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
        assert_eq!(rig.unblocked(), [(1, told.to_owned())]);
    }

    #[test]
    fn what_others_are_told() {
        effects(&[
            ("XADD s 1-1 a 1", "XADD s 1-1 a 1"),
            ("XADD s 1-2 a 1", "XADD s 1-2 a 1"),
            ("XGROUP CREATE s g 0", "XGROUP CREATE s g 0"),
            (
                "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
                "XCLAIM s g c 0 1-1 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1; \
                 XGROUP SETID s g 1-1 ENTRIESREAD 1",
            ),
            ("XREADGROUP GROUP g c STREAMS s 0", ""),
            (
                "XREADGROUP GROUP g d NOACK STREAMS s >",
                "XGROUP CREATECONSUMER s g d; XGROUP SETID s g 1-2 ENTRIESREAD 2",
            ),
            ("XREADGROUP GROUP g e STREAMS s >", ""),
        ]);
    }
}

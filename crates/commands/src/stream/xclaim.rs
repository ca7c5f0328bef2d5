//! `XCLAIM`.

use keyspace::Stream;
use keyspace::collection::stream::{Consumer, ConsumerId, Group as ConsumerGroup, Pending, StreamId};

use super::ids;
use super::options::no_group;
use super::reply::{IdText, put_entry, put_id};
use crate::context::{Ctx, Outcome};
use crate::effects::{Effects, EventClass};
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xclaim",
    arity: -6,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Makes a consumer the owner of pending entries, as if they had been delivered to it.",
    complexity: "O(log N), N being the number of entries pending in the group",
    tips: &["nondeterministic_output"],
    args: &[
        Arg::key("key", 0),
        Arg::string("group"),
        Arg::string("consumer"),
        Arg::string("min-idle-time"),
        Arg::string("id").multiple(),
        Arg::integer("ms").token("IDLE").optional(),
        Arg::unix_time("unix-time-milliseconds").token("TIME").optional(),
        Arg::integer("count").token("RETRYCOUNT").optional(),
        Arg::word("force", "FORCE").optional(),
        Arg::word("justid", "JUSTID").optional(),
        Arg::string("lastid").token("LASTID").optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

#[derive(Default)]
struct Options {
    /// When the entries are said to have been delivered; never in the future.
    delivered_at_ms: Option<i64>,
    delivery_count: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

impl Options {
    fn parse(cx: &Ctx<'_>, mut index: usize) -> Result<Options, Stop> {
        let now_ms = cx.db.now.0;
        let number = |index: usize, text: &'static str| {
            resp::number::parse_i64(cx.args[index]).ok_or(Stop::Error(Error::text(text)))
        };
        let mut options = Options::default();
        while index < cx.args.len() {
            let more = index + 1 < cx.args.len();
            if cx.word(index, "FORCE") {
                options.force = true;
            } else if cx.word(index, "JUSTID") {
                options.just_id = true;
            } else if more && cx.word(index, "IDLE") {
                index += 1;
                let idle_ms = number(index, "ERR Invalid IDLE option argument for XCLAIM")?;
                options.delivered_at_ms = Some(now_ms.saturating_sub(idle_ms));
            } else if more && cx.word(index, "TIME") {
                index += 1;
                options.delivered_at_ms = Some(number(index, "ERR Invalid TIME option argument for XCLAIM")?);
            } else if more && cx.word(index, "RETRYCOUNT") {
                index += 1;
                let count = number(index, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                options.delivery_count = u64::try_from(count).ok();
            } else if more && cx.word(index, "LASTID") {
                index += 1;
                options.last_id = ids::parse(cx.args[index])?;
            } else {
                return Err(Error::quoting("ERR Unrecognized XCLAIM option '", cx.args[index], "'").into());
            }
            index += 1;
        }
        options.delivered_at_ms = options.delivered_at_ms.filter(|at_ms| (0..=now_ms).contains(at_ms));
        Ok(options)
    }
}

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let (group_name, consumer_name) = (cx.args[2], cx.args[3]);
    let now_ms = cx.db.now.0;
    let found = cx.db.read_as::<Stream>(key)?.is_some_and(|stream| stream.groups.get(group_name).is_some());
    if !found {
        return no_group(cx.args[1], group_name);
    }
    let idle_ms_min = parse_min_idle(cx.args[4], "ERR Invalid min-idle-time argument for XCLAIM")?;
    // The ids end where something else begins.
    let claimed: Vec<StreamId> = cx.args[5..].iter().map_while(|text| ids::parse_or_none(text)).collect();
    let options = Options::parse(cx, 5 + claimed.len())?;

    let mut propagation = Propagation::new(key.bytes(), group_name, cx.db.effects);
    let mut stream = cx.db.write_as::<Stream>(key)?.expect("it was read just now");
    let parts = &mut **stream;
    let group = parts.groups.get_mut(group_name).expect("it was found just now");
    let mut last_id_told = true;
    if options.last_id > group.last_id {
        group.last_id = options.last_id;
        last_id_told = false;
    }
    let (consumer, created) = seen_consumer(group, consumer_name, now_ms);

    let start = cx.reply.start_deferred();
    let mut written = 0;
    for id in claimed {
        let Some(entry) = parts.entries.get(id) else {
            // It was deleted: it cannot be worked on, so nobody shall find it pending.
            if let Some(pending) = group.pending(id).copied() {
                propagation.claim(id, &pending, group);
                group.acknowledge(id);
                last_id_told = true;
            }
            continue;
        };
        let delivery_count = match group.pending(id) {
            None if !options.force => continue,
            None => 1,
            Some(pending) if idle_ms_min > 0 && now_ms.saturating_sub(pending.delivered_at_ms) < idle_ms_min => {
                continue;
            }
            Some(pending) => pending.delivery_count,
        };
        let delivery_count = options.delivery_count.unwrap_or(delivery_count.wrapping_add(u64::from(!options.just_id)));
        let delivered_at_ms = options.delivered_at_ms.unwrap_or(now_ms);
        let pending = Pending { consumer, delivered_at_ms, delivery_count };
        group.assign(id, pending);
        group.consumer_mut(consumer).active_at_ms = Some(now_ms);
        propagation.claim(id, &pending, group);
        last_id_told = true;
        if options.just_id {
            put_id(cx.reply, id);
        } else {
            put_entry(cx.reply, &entry);
        }
        written += 1;
    }
    cx.reply.finish_array(start, written);
    if !last_id_told {
        propagation.set_id(group);
    }
    drop(stream);
    if created {
        cx.db.notify(EventClass::STREAM, "xgroup-createconsumer", key.bytes());
    }
    cx.db.changed_unseen(propagation.changes);
    propagation.tell(cx.db.effects);
    Ok(())
}

/// The argument of XCLAIM and XAUTOCLAIM; negative is none.
pub(super) fn parse_min_idle(word: &[u8], error: &'static str) -> Result<i64, Stop> {
    resp::number::parse_i64(word).map(|idle_ms| idle_ms.max(0)).ok_or(Stop::Error(Error::text(error)))
}

/// The consumer of this name, which is seen now; and whether it had to be created.
pub(super) fn seen_consumer(group: &mut ConsumerGroup, name: &[u8], now_ms: i64) -> (ConsumerId, bool) {
    match group.find_consumer(name) {
        Some(id) => {
            let consumer: &mut Consumer = group.consumer_mut(id);
            consumer.seen_at_ms = now_ms;
            (id, false)
        }
        None => (group.create_consumer(name, now_ms), true),
    }
}

/// How changes of a group are told to others: each entry's owner, time and count as they have become.
pub(super) struct Propagation<'a> {
    key: &'a [u8],
    group: &'a [u8],
    /// Collected while the stream is borrowed from what they go to. Nothing is, unless somebody wants them.
    effects: Option<Vec<Vec<Vec<u8>>>>,
    pub changes: u64,
}

impl<'a> Propagation<'a> {
    pub fn new(key: &'a [u8], group: &'a [u8], effects: &Effects) -> Propagation<'a> {
        Propagation { key, group, effects: effects.wanted().then(Vec::new), changes: 0 }
    }

    /// An entry belongs to a consumer.
    pub fn claim(&mut self, id: StreamId, pending: &Pending, group: &ConsumerGroup) {
        self.changes += 1;
        if self.effects.is_none() {
            return;
        }
        let id = IdText::new(id);
        let (time, count) = (pending.delivered_at_ms.to_string(), pending.delivery_count.to_string());
        let last_id = IdText::new(group.last_id);
        self.add(&[
            b"XCLAIM",
            self.key,
            self.group,
            group.consumer(pending.consumer).name(),
            b"0",
            id.as_bytes(),
            b"TIME",
            time.as_bytes(),
            b"RETRYCOUNT",
            count.as_bytes(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            last_id.as_bytes(),
        ]);
    }

    /// A group has read so far.
    pub fn set_id(&mut self, group: &ConsumerGroup) {
        self.changes += 1;
        if self.effects.is_none() {
            return;
        }
        let last_id = IdText::new(group.last_id);
        let read = group.entries_read.map_or("-1".to_owned(), |read| read.to_string());
        self.add(&[b"XGROUP", b"SETID", self.key, self.group, last_id.as_bytes(), b"ENTRIESREAD", read.as_bytes()]);
    }

    /// A consumer was created, where nothing else would tell.
    pub fn create_consumer(&mut self, name: &[u8]) {
        self.changes += 1;
        self.add(&[b"XGROUP", b"CREATECONSUMER", self.key, self.group, name]);
    }

    fn add(&mut self, args: &[&[u8]]) {
        if let Some(effects) = &mut self.effects {
            effects.push(args.iter().map(|arg| arg.to_vec()).collect());
        }
    }

    pub fn tell(&self, effects: &mut Effects) {
        effects.nothing();
        for args in self.effects.iter().flatten() {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            effects.instead(&args);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, effects};

    fn rig() -> Rig {
        let mut rig = Rig::new();
        for line in ["XADD s 1-1 a 1", "XADD s 1-2 a 2", "XADD s 1-3 a 3", "XGROUP CREATE s g 0"] {
            rig.run(line);
        }
        rig.run("XREADGROUP GROUP g alice COUNT 2 STREAMS s >");
        rig.now.0 += 100;
        rig
    }

    #[test]
    fn owners_change() {
        rig().script(&[
            ("XCLAIM s g bob 101 1-1", "*0"),
            ("XCLAIM s g bob 100 1-1 9-9", "*1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XPENDING s g - + 9", "*2 *4 $3 1-1 $3 bob :0 :2 *4 $3 1-2 $5 alice :100 :1"),
            ("XCLAIM s g bob 0 1-2 JUSTID IDLE 30", "*1 $3 1-2"),
            ("XPENDING s g 1-2 + 9", "*1 *4 $3 1-2 $3 bob :30 :1"),
            ("XCLAIM s g bob 0 1-2 JUSTID RETRYCOUNT 7 TIME 99999999999999", "*1 $3 1-2"),
            ("XPENDING s g 1-2 + 9", "*1 *4 $3 1-2 $3 bob :0 :7"),
            ("XCLAIM s g bob 0 1-3", "*0"),
            ("XCLAIM s g bob 0 1-3 FORCE", "*1 *2 $3 1-3 *2 $1 a $1 3"),
            ("XDEL s 1-2", ":1"),
            ("XCLAIM s g carol 0 1-2", "*0"),
            ("XPENDING s g", "*4 :2 $3 1-1 $3 1-3 *1 *2 $3 bob $1 2"),
        ]);
    }

    #[test]
    fn errors() {
        rig().script(&[
            ("XCLAIM nos g c x 1-1", "-NOGROUP No such key 'nos' or consumer group 'g'"),
            ("XCLAIM s g c x 1-1", "-ERR Invalid min-idle-time argument for XCLAIM"),
            ("XCLAIM s g c 0 abc", "-ERR Unrecognized XCLAIM option 'abc'"),
            ("XCLAIM s g c 0 1-1 IDLE", "-ERR Unrecognized XCLAIM option 'IDLE'"),
            ("XCLAIM s g c 0 1-1 IDLE x", "-ERR Invalid IDLE option argument for XCLAIM"),
            ("XCLAIM s g c 0 1-1 TIME x", "-ERR Invalid TIME option argument for XCLAIM"),
            ("XCLAIM s g c 0 1-1 RETRYCOUNT x", "-ERR Invalid RETRYCOUNT option argument for XCLAIM"),
            ("XCLAIM s g c 0 1-1 LASTID abc", "-ERR Invalid stream ID specified as stream command argument"),
            ("XCLAIM s g c 0 JUSTID", "*0"),
        ]);
    }

    #[test]
    fn what_others_are_told() {
        effects(&[
            ("XADD s 1-1 a 1", "XADD s 1-1 a 1"),
            ("XGROUP CREATE s g 0", "XGROUP CREATE s g 0"),
            (
                "XCLAIM s g c 0 1-1 FORCE LASTID 1-1",
                "XCLAIM s g c 0 1-1 TIME 1700000000000 RETRYCOUNT 2 FORCE JUSTID LASTID 1-1",
            ),
            ("XCLAIM s g c 5 1-1 LASTID 2-2", "XGROUP SETID s g 2-2 ENTRIESREAD -1"),
            ("XCLAIM s g c 5 1-1 LASTID 2-2", ""),
            ("XDEL s 1-1", "XDEL s 1-1"),
            // Gone for nobody to work on: the claim makes a replica drop it, too.
            ("XCLAIM s g d 0 1-1", "XCLAIM s g c 0 1-1 TIME 1700000000000 RETRYCOUNT 2 FORCE JUSTID LASTID 2-2"),
        ]);
    }
}

//! `XREAD`, and what it shares with [XREADGROUP](super::xreadgroup).

use std::time::Duration;

use keyspace::collection::stream::StreamId;
use keyspace::{Key, Stream};
use resp::{Proto, Reply};

use super::ids;
use super::reply::put_entries;
use crate::blocking::{Block, BlockOn};
use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop, shown};
use crate::spec::{Acl, Arg, Begin, Find, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xread",
    arity: -4,
    flags: Flags::READONLY.union(Flags::BLOCKING),
    acl: Acl::READ.union(Acl::STREAM).union(Acl::SLOW).union(Acl::BLOCKING),
    keys: &[KeySpec {
        notes: None,
        flags: KeyFlags::RO.union(KeyFlags::ACCESS),
        begin: Begin::Keyword { keyword: "STREAMS", start_from: 1 },
        find: Find::Range { last: -1, step: 1, limit: 2 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Returns the entries behind given ids of several streams, and may wait for some.",
    complexity: "O(N), N being the number of entries returned",
    args: &[
        Arg::integer("count").token("COUNT").optional(),
        Arg::integer("milliseconds").token("BLOCK").optional(),
        Arg::block("streams", &[Arg::key("key", 0).multiple(), Arg::string("id").multiple()]).token("STREAMS"),
    ],
    run: Some(run),
    ..Spec::NEW
};

/// The options of both commands.
pub(super) struct Options {
    /// `None`: all of them.
    pub count: Option<u64>,
    /// BLOCK with its timeout, where there is one.
    pub block: Option<Option<Duration>>,
    /// Group and consumer.
    pub group: Option<(usize, usize)>,
    pub no_ack: bool,
    /// The first key, and how many there are; as many ids follow.
    pub keys_at: usize,
    pub key_count: usize,
}

impl Options {
    /// # Errors
    /// For the client.
    pub fn parse(cx: &Ctx<'_>, grouped: bool) -> Result<Options, Stop> {
        let mut options = Options { count: None, block: None, group: None, no_ack: false, keys_at: 0, key_count: 0 };
        let mut index = 1;
        while index < cx.args.len() {
            let followers = cx.args.len() - 1 - index;
            if followers >= 1 && cx.word(index, "BLOCK") {
                options.block = Some(cx.timeout_ms(index + 1)?);
                index += 2;
            } else if followers >= 1 && cx.word(index, "COUNT") {
                options.count = u64::try_from(cx.int(index + 1)?).ok().filter(|&count| count > 0);
                index += 2;
            } else if followers >= 1 && cx.word(index, "STREAMS") {
                options.keys_at = index + 1;
                options.key_count = followers / 2;
                if !followers.is_multiple_of(2) {
                    return cx.fail(if grouped {
                        "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."
                    } else {
                        "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified."
                    });
                }
                break;
            } else if followers >= 2 && cx.word(index, "GROUP") {
                if !grouped {
                    return cx.fail("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.");
                }
                options.group = Some((index + 1, index + 2));
                index += 3;
            } else if cx.word(index, "NOACK") {
                if !grouped {
                    return cx.fail("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.");
                }
                options.no_ack = true;
                index += 1;
            } else {
                return Err(Error::Syntax.into());
            }
        }
        if options.keys_at == 0 {
            return Err(Error::Syntax.into());
        }
        if grouped && options.group.is_none() {
            return cx.fail("ERR Missing GROUP option for XREADGROUP");
        }
        Ok(options)
    }

    /// The keys. They are the declared ones, except where a group is called STREAMS: then the specification finds others.
    ///
    /// # Errors
    /// `Stop::Wide` where they are others.
    pub fn keys<'a>(&self, cx: &Ctx<'a>) -> Result<Vec<Key<'a>>, Stop> {
        let args = &cx.args[self.keys_at..self.keys_at + self.key_count];
        if cx.keys.len() == args.len() && cx.keys.iter().zip(args).all(|(key, arg)| key.bytes() == *arg) {
            return Ok(cx.keys.to_vec());
        }
        if !cx.is_wide() {
            return Err(Stop::Wide);
        }
        Ok(args.iter().map(|arg| cx.db.space.key(arg)).collect())
    }

    /// The argument that says where to start in this stream.
    pub fn id<'a>(&self, cx: &Ctx<'a>, index: usize) -> &'a [u8] {
        cx.args[self.keys_at + self.key_count + index]
    }
}

/// Writes one reply for all streams that have something: a map from their keys in RESP3, pairs in an array in RESP2.
pub(super) struct StreamsReply {
    start: resp::Mark,
    count: usize,
}

impl StreamsReply {
    pub fn new(reply: &mut Reply) -> StreamsReply {
        StreamsReply { start: reply.start_deferred(), count: 0 }
    }

    /// What follows is this stream's array.
    pub fn add(&mut self, reply: &mut Reply, key: &[u8]) {
        self.count += 1;
        if reply.proto() == Proto::Resp2 {
            reply.array(2);
        }
        reply.bulk(key);
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn finish(self, reply: &mut Reply) {
        match reply.proto() {
            Proto::Resp2 => reply.finish_array(self.start, self.count),
            Proto::Resp3 => reply.finish_map(self.start, self.count),
        }
    }
}

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let options = Options::parse(cx, false)?;
    let keys = options.keys(cx)?;
    // The last entries that the client has seen.
    let mut seen = Vec::with_capacity(keys.len());
    for (index, &key) in keys.iter().enumerate() {
        let id = options.id(cx, index);
        let stream = cx.db.read_as::<Stream>(key)?;
        let entries = stream.as_ref().map(|stream| &stream.entries);
        seen.push(match id {
            b"$" => entries.map_or(StreamId::MIN, |entries| entries.last_id()),
            // The last entry itself; where there is none, the next one.
            b"+" => entries.map_or(StreamId::MIN, |entries| match entries.last_live_id() {
                Some(last) => last.previous().unwrap_or(StreamId::MIN),
                None => entries.last_id(),
            }),
            b">" => {
                return cx.fail(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                );
            }
            id => ids::parse(id)?,
        });
    }

    let mut streams = StreamsReply::new(cx.reply);
    for (&key, &seen) in keys.iter().zip(&seen) {
        let Some(stream) = cx.db.read_as::<Stream>(key)? else { continue };
        let Some(start) = seen.next() else { continue };
        let mut entries = stream.entries.range(start, StreamId::MAX).peekable();
        if entries.peek().is_some() {
            streams.add(cx.reply, key.bytes());
            put_entries(cx.reply, entries, options.count);
        }
    }
    if !streams.is_empty() {
        streams.finish(cx.reply);
        return Ok(());
    }
    let Some(timeout) = options.block else {
        cx.reply.null_array();
        return Ok(());
    };
    // `$` means what it meant when the command came; `+` is the last entry when there is one.
    let mut args: Vec<Vec<u8>> = cx.args.iter().map(|arg| arg.to_vec()).collect();
    for (index, seen) in seen.iter().enumerate() {
        let id = &mut args[options.keys_at + options.key_count + index];
        if id != b"+" {
            *id = seen.to_string().into_bytes();
        }
    }
    let keys = options.keys_at..options.keys_at + options.key_count;
    cx.block(Block { on: BlockOn::Stream, keys, timeout, on_timeout: |reply| reply.null_array(), args: Some(args) })
}

/// The group that XREADGROUP names is not there.
#[cold]
pub(super) fn no_group<T>(key: &[u8], group: &[u8]) -> Result<T, Stop> {
    let mut error = Error::quoting("NOGROUP No such key '", key, "' or consumer group '").render().into_owned();
    error.extend_from_slice(shown(group));
    error.extend_from_slice(b"' in XREADGROUP with GROUP option");
    Err(Error::Bytes(error).into())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn reading_behind_ids() {
        script(&[
            ("XREAD STREAMS s 0", "*-1"),
            ("XADD s 1-1 a 1", "$3 1-1"),
            ("XADD s 1-2 a 2", "$3 1-2"),
            ("XADD t 1-1 b 1", "$3 1-1"),
            ("XREAD COUNT 1 STREAMS s t 0 0", "*2 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1 *2 $1 t *1 *2 $3 1-1 *2 $1 b $1 1"),
            ("XREAD STREAMS s t 1-1 1-1", "*1 *2 $1 s *1 *2 $3 1-2 *2 $1 a $1 2"),
            ("XREAD STREAMS s $", "*-1"),
            ("XREAD STREAMS s +", "*1 *2 $1 s *1 *2 $3 1-2 *2 $1 a $1 2"),
            ("XDEL s 1-2", ":1"),
            ("XREAD STREAMS s +", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XREAD COUNT 0 STREAMS s 0", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XREAD STREAMS s 18446744073709551615-18446744073709551615", "*-1"),
            (
                "XREAD STREAMS s t 0",
                "-ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.",
            ),
            (
                "XREAD STREAMS s >",
                "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
            ),
            ("XREAD STREAMS s -", "-ERR Invalid stream ID specified as stream command argument"),
            ("XREAD COUNT 1 BLOCK -1 STREAMS s 0", "-ERR timeout is negative"),
            ("XREAD FOO STREAMS s 0", "-ERR syntax error"),
            (
                "XREAD GROUP g c STREAMS s 0",
                "-ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
            ),
            ("HELLO 3", &*Rig::new().run("HELLO 3")),
            ("XREAD STREAMS s 0", "%1 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XREAD STREAMS s $", "_"),
        ]);
    }

    #[test]
    fn waiting_for_an_entry() {
        let mut rig = Rig::new();
        rig.run("XADD s 1-1 a 1");
        rig.script(&[("XREAD BLOCK 100 STREAMS s t $ 0", "BLOCKED")]);
        // What is no entry behind the one it has seen does not wake it.
        rig.client(2).script(&[("XDEL s 1-1", ":1"), ("XGROUP CREATE t g $ MKSTREAM", "+OK")]);
        assert!(rig.unblocked().is_empty());
        rig.script(&[("XADD s 1-2 a 2", "$3 1-2")]);
        assert_eq!(rig.unblocked(), [(1, "*1 *2 $1 s *1 *2 $3 1-2 *2 $1 a $1 2".to_owned())]);
        rig.client(1).script(&[("XREAD BLOCK 100 STREAMS s $", "BLOCKED")]);
        rig.time_out(1);
        assert_eq!(rig.unblocked(), [(1, "*-1".to_owned())]);
    }
}

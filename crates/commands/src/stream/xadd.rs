//! `XADD`.

use keyspace::Stream;
use keyspace::collection::stream::{Entries, StreamId};

use super::ids::NewId;
use super::options::{Left, TrimOptions};
use super::reply::put_id;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xadd",
    arity: -5,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)
        .notes("UPDATE instead of INSERT because of the optional trimming feature")],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Adds an entry to a stream, which is created if it does not exist, and may trim it.",
    complexity: "O(1), and O(N) for the N entries that trimming removes",
    history: &[
        ("6.2.0", "`NOMKSTREAM`, trimming by `MINID`, and `LIMIT`."),
        ("7.0.0", "Ids whose sequence number is chosen: `<ms>-*`."),
        ("8.2.0", "`KEEPREF`, `DELREF` and `ACKED`."),
    ],
    tips: &["nondeterministic_output"],
    args: &[
        Arg::key("key", 0),
        Arg::word("nomkstream", "NOMKSTREAM").since("6.2.0").optional(),
        Arg::one_of(
            "condition",
            &[Arg::word("keepref", "KEEPREF"), Arg::word("delref", "DELREF"), Arg::word("acked", "ACKED")],
        )
        .optional(),
        Arg::block(
            "trim",
            &[
                Arg::one_of("strategy", &[Arg::word("maxlen", "MAXLEN"), Arg::word("minid", "MINID").since("6.2.0")]),
                Arg::one_of("operator", &[Arg::word("equal", "="), Arg::word("approximately", "~")]).optional(),
                Arg::string("threshold"),
                Arg::integer("count").token("LIMIT").since("6.2.0").optional(),
            ],
        )
        .optional(),
        Arg::one_of("id-selector", &[Arg::word("auto-id", "*"), Arg::string("id")]),
        Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple(),
    ],
    run: Some(run),
    ..Spec::NEW
};

/// Fields and values of an entry together must stay below this.
const ENTRY_BYTES_MAX: usize = 1 << 30;

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let limits = cx.global().settings.stream;
    let mut options = TrimOptions::default();
    let mut create = true;
    let mut index = 2;
    let new_id = loop {
        let Some(&word) = cx.args.get(index) else {
            return Err(Error::Arity("xadd".into()).into());
        };
        // The usual case first.
        if word == b"*" {
            break NewId::Auto;
        }
        match options.take(cx.args, index)? {
            Some(next) => index = next,
            None if word.eq_ignore_ascii_case(b"NOMKSTREAM") => {
                create = false;
                index += 1;
            }
            None => break NewId::parse(word)?,
        }
    };
    let id_at = index;
    let trim = options.finish(limits)?;
    let pairs = &cx.args[id_at + 1..];
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(Error::Arity("xadd".into()).into());
    }
    if new_id == NewId::Given(StreamId::MIN) {
        return cx.fail("ERR The ID specified in XADD must be greater than 0-0");
    }
    if pairs.iter().map(|text| text.len()).sum::<usize>() >= ENTRY_BYTES_MAX {
        return cx.fail("ERR Elements are too large to be stored");
    }
    if !create && cx.db.write_as::<Stream>(key)?.is_none() {
        cx.reply.null();
        return Ok(());
    }

    let now_ms = cx.db.now.0 as u64;
    let mut stream = cx.db.write_or_create::<Stream>(key)?;
    let id = choose_id(new_id, &stream.entries, now_ms)?;
    stream.entries.append(id, pairs, limits);
    let trimmed = trim.map_or(0, |trim| stream.trim(&trim));
    let left = Left::of(&stream.entries);
    drop(stream);

    put_id(cx.reply, id);
    cx.db.signal(key);
    cx.db.notify(EventClass::STREAM, "xadd", key.bytes());
    if trimmed > 0 {
        cx.db.notify(EventClass::STREAM, "xtrim", key.bytes());
    }
    cx.db.changed(1);
    let written_out = matches!(new_id, NewId::Given(_));
    options.propagate(cx, left, (!written_out).then_some((id_at, id)));
    Ok(())
}

/// The id of the new entry. A stream that has just been created has last id 0-0, so that nothing fails on it.
fn choose_id(new_id: NewId, entries: &Entries, now_ms: u64) -> Result<StreamId, Stop> {
    let last = entries.last_id();
    let Some(following) = last.next() else {
        return Err(Error::text("ERR The stream has exhausted the last possible ID, unable to add more items").into());
    };
    let id = match new_id {
        NewId::Auto if now_ms > last.ms => StreamId::new(now_ms, 0),
        // The clock stands still or went back.
        NewId::Auto => following,
        NewId::AutoSeq(ms) if ms == last.ms && following.ms == ms => following,
        NewId::AutoSeq(ms) => StreamId::new(ms, 0),
        NewId::Given(id) => id,
    };
    if id <= last {
        let text = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
        return Err(Error::text(text).into());
    }
    Ok(id)
}

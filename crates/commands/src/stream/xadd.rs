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
            // What is wrong with the options comes first.
            options.finish(limits, cx.session.replays)?;
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
    let trim = options.finish(limits, cx.session.replays)?;
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

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, effects, events, script};

    const INVALID: &str = "-ERR Invalid stream ID specified as stream command argument";
    const TOO_SMALL: &str = "-ERR The ID specified in XADD is equal or smaller than the target stream top item";
    const ARITY: &str = "-ERR wrong number of arguments for 'xadd' command";

    #[test]
    fn ids() {
        script(&[
            ("XADD s 1-1 a 1", "$3 1-1"),
            ("XADD s 1-1 a 1", TOO_SMALL),
            ("XADD s 0 a 1", "-ERR The ID specified in XADD must be greater than 0-0"),
            ("XADD z 0-* a 1", "$3 0-1"),
            ("XADD s 1-* a 1", "$3 1-2"),
            ("XADD s 1-18446744073709551615 a 1", "$22 1-18446744073709551615"),
            ("XADD s 1-* a 1", TOO_SMALL),
            ("XADD s 2 a 1", "$3 2-0"),
            ("XADD s * a 1", "$15 1700000000000-0"),
            ("XADD s * a 1", "$15 1700000000000-1"),
            ("XADD s 1700000000001 a 1", "$15 1700000000001-0"),
            ("XADD s * a 1", "$15 1700000000001-1"),
            ("XADD s - a 1", INVALID),
            ("XADD s 1-*a a 1", INVALID),
            ("XADD s 18446744073709551615-18446744073709551615 a 1", "$41 18446744073709551615-18446744073709551615"),
            ("XADD s * a 1", "-ERR The stream has exhausted the last possible ID, unable to add more items"),
            ("XADD s *", ARITY),
            ("XADD s * a", ARITY),
            ("XADD s * a 1 b", ARITY),
            ("SET str 1", "+OK"),
            ("XADD str 0-0 a 1", "-ERR The ID specified in XADD must be greater than 0-0"),
            ("XADD str 1-1 a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }

    #[test]
    fn options() {
        script(&[
            ("XADD s NOMKSTREAM * a 1", "$-1"),
            ("EXISTS s", ":0"),
            ("XADD s NOMKSTREAM ACKED MAXLEN", INVALID),
            ("XADD s MAXLEN ~ x * a 1", "-ERR value is not an integer or out of range"),
            ("XADD s MAXLEN -1 * a 1", "-ERR The MAXLEN argument must be >= 0."),
            ("XADD s MAXLEN ~ 1 LIMIT -1 * a 1", "-ERR The LIMIT argument must be >= 0."),
            ("XADD s MINID - 1-1 a 1", INVALID),
            (
                "XADD s MAXLEN 5 MINID 3 1-1 a 1",
                "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ),
            (
                "XADD s LIMIT 1 1-1 a 1",
                "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ),
            ("XADD s MAXLEN = 1 LIMIT 1 * a 1", "-ERR syntax error, LIMIT cannot be used without the special ~ option"),
            ("XADD s KEEPREF DELREF 1-2 a 1", INVALID),
            ("XADD s ACKED MAXLEN 5", ARITY),
            ("XADD s MAXLEN 2 1-1 a 1", "$3 1-1"),
            ("XADD s MAXLEN 2 1-2 a 1", "$3 1-2"),
            ("XADD s DELREF MAXLEN = 2 1-3 a 1", "$3 1-3"),
            ("XRANGE s - +", "*2 *2 $3 1-2 *2 $1 a $1 1 *2 $3 1-3 *2 $1 a $1 1"),
            ("XADD s MINID 1-4 1-4 a 1", "$3 1-4"),
            ("XLEN s", ":1"),
            ("XADD s MAXLEN 0 1-5 a 1", "$3 1-5"),
            ("XLEN s", ":0"),
        ]);
    }

    /// A limit stays in the text behind an exact threshold; from a file it is no error, in Redis neither.
    #[test]
    fn what_others_are_told_is_read_again() {
        let mut rig = Rig::new();
        rig.session.replays = true;
        rig.script(&[
            ("XADD s MAXLEN = 0 LIMIT 0 1-1 a 1", "$3 1-1"),
            ("XLEN s", ":0"),
            ("XADD s MAXLEN = 1 LIMIT 1 1-2 a 1", "$3 1-2"),
            ("XADD s MINID = 1-3 LIMIT 10 1-3 a 1", "$3 1-3"),
            ("XLEN s", ":1"),
            ("XTRIM s MAXLEN = 0 LIMIT 1", ":1"),
        ]);
    }

    #[test]
    fn what_others_are_told() {
        effects(&[
            ("XADD s 1-* a 1", "XADD s 1-0 a 1"),
            ("XADD s 1-1 a 1", "XADD s 1-1 a 1"),
            ("XADD s MAXLEN 5 1-* a 1", "XADD s MAXLEN 5 1-2 a 1"),
            ("XADD s MAXLEN ~ 1 LIMIT 7 3-1 a 1", "XADD s MAXLEN = 4 LIMIT 7 3-1 a 1"),
            ("XADD s MINID ~ 1 4-* a 1", "XADD s MINID = 1-0 4-0 a 1"),
            ("XADD t NOMKSTREAM * a 1", ""),
            ("XTRIM s MAXLEN ~ 0", "XTRIM s MAXLEN = 0"),
            ("XADD s MINID ~ 9 5-1 a 1", "XADD s MINID = 18446744073709551615-18446744073709551615 5-1 a 1"),
        ]);
        events(&[
            ("XADD s 1-1 a 1", "new s, xadd s"),
            ("XADD s MAXLEN 1 1-2 a 1", "xadd s, xtrim s"),
            ("XDEL s 1-2", "xdel s"),
        ]);
    }

    #[test]
    fn a_clock_that_goes_back_leaves_ids_ascending() {
        let mut rig = Rig::new();
        rig.run("XADD s * a 1");
        rig.now.0 -= 5;
        rig.script(&[("XADD s * a 1", "$15 1700000000000-1")]);
    }
}

//! `XACKDEL`.

use keyspace::Stream;
use keyspace::collection::stream::References;

use super::{ids, options};
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xackdel",
    arity: -6,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE).union(KeyFlags::DELETE), 1)],
    group: Group::Stream,
    since: "8.2.0",
    summary: "Acknowledges entries for a group and deletes them.",
    complexity: "O(1) for each id",
    args: &[
        Arg::key("key", 0),
        Arg::string("group"),
        Arg::one_of(
            "condition",
            &[Arg::word("keepref", "KEEPREF"), Arg::word("delref", "DELREF"), Arg::word("acked", "ACKED")],
        )
        .optional(),
        Arg::block("ids", &[Arg::integer("numids"), Arg::string("id").multiple()]).token("IDS"),
    ],
    run: Some(run),
    ..Spec::NEW
};

/// What became of an entry. One that is acknowledged and gone already counts as deleted.
const DELETED: i64 = 1;
const NOT_PENDING: i64 = -1;
const STILL_REFERRED_TO: i64 = 2;

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let name = cx.args[2];
    // A miss counts as one of a reader.
    let found = cx.db.read_as::<Stream>(key)?.is_some_and(|stream| stream.groups.get(name).is_some());
    let (references, words) = options::references_and_ids(cx.args, 3)?;
    if !found {
        cx.reply.array(words.len());
        words.iter().for_each(|_| cx.reply.int(NOT_PENDING));
        return Ok(());
    }
    words.iter().try_for_each(|id| ids::parse(id).map(drop))?;
    let mut stream = cx.db.write_as::<Stream>(key)?.expect("it was read just now");
    let mut acknowledged = 0;
    let mut deleted = 0;
    cx.reply.array(words.len());
    for id in words.iter().filter_map(|id| ids::parse_or_none(id)) {
        let group = stream.groups.get_mut(name).expect("it was found just now");
        if !group.acknowledge(id) {
            cx.reply.int(NOT_PENDING);
            continue;
        }
        acknowledged += 1;
        let gone = stream.delete(id, references);
        assert!(gone.is_some() || references == References::AckedOnly, "only ACKED spares entries");
        deleted += u64::from(gone == Some(true));
        cx.reply.int(if gone.is_some() { DELETED } else { STILL_REFERRED_TO });
    }
    drop(stream);
    if deleted > 0 {
        cx.db.notify(EventClass::STREAM, "xdel", key.bytes());
    }
    cx.db.changed(acknowledged);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{effects, script};

    #[test]
    fn acknowledging_and_deleting() {
        script(&[
            ("XACKDEL s g IDS 2 1-1 abc", "*2 :-1 :-1"),
            ("XADD s 1-1 a 1", "$3 1-1"),
            ("XADD s 1-2 a 1", "$3 1-2"),
            ("XGROUP CREATE s g 0", "+OK"),
            ("XGROUP CREATE s h 0", "+OK"),
            ("XACKDEL s g IDS 1 1-1", "*1 :-1"),
            ("XREADGROUP GROUP g c COUNT 9 STREAMS s >", "*1 *2 $1 s *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 1-2 *2 $1 a $1 1"),
            ("XACKDEL s g ACKED IDS 1 1-1", "*1 :2"),
            ("XLEN s", ":2"),
            ("XREADGROUP GROUP h c COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XACKDEL s h ACKED IDS 1 1-1", "*1 :1"),
            ("XLEN s", ":1"),
            ("XACKDEL s g FOO 1 1-2", "-ERR syntax error"),
            ("XDEL s 1-2", ":1"),
            ("XACKDEL s g IDS 1 1-2", "*1 :1"),
        ]);
    }

    #[test]
    fn what_is_only_acknowledged_is_told() {
        effects(&[
            ("XADD s 1-1 a 1", "XADD s 1-1 a 1"),
            ("XGROUP CREATE s g 0", "XGROUP CREATE s g 0"),
            (
                "XCLAIM s g c 0 1-1 FORCE JUSTID",
                "XCLAIM s g c 0 1-1 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 0-0",
            ),
            ("XDELEX s IDS 1 1-1", "XDELEX s IDS 1 1-1"),
            ("XACKDEL s g IDS 1 1-1", "XACKDEL s g IDS 1 1-1"),
            ("XACKDEL s g IDS 1 1-1", ""),
        ]);
    }
}

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

//! `XDELEX`.

use keyspace::Stream;

use super::{ids, options};
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xdelex",
    arity: -5,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 1)],
    group: Group::Stream,
    since: "8.2.0",
    summary: "Deletes entries of a stream by their ids, and says what becomes of the groups' references to them.",
    complexity: "O(1) for each id",
    args: &[
        Arg::key("key", 0),
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

/// What became of an entry.
const DELETED: i64 = 1;
const NOT_FOUND: i64 = -1;
const STILL_REFERRED_TO: i64 = 2;

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let found = cx.db.write_as::<Stream>(key)?.is_some();
    let (references, words) = options::references_and_ids(cx.args, 2)?;
    if !found {
        cx.reply.array(words.len());
        words.iter().for_each(|_| cx.reply.int(NOT_FOUND));
        return Ok(());
    }
    words.iter().try_for_each(|id| ids::parse(id).map(drop))?;
    let mut stream = cx.db.write_as::<Stream>(key)?.expect("it was found just now");
    let mut deleted = 0;
    cx.reply.array(words.len());
    for id in words.iter().filter_map(|id| ids::parse_or_none(id)) {
        let outcome = match stream.delete(id, references) {
            Some(true) => DELETED,
            Some(false) => NOT_FOUND,
            None => STILL_REFERRED_TO,
        };
        deleted += u64::from(outcome == DELETED);
        cx.reply.int(outcome);
    }
    drop(stream);
    if deleted > 0 {
        cx.db.notify(EventClass::STREAM, "xdel", key.bytes());
        cx.db.changed(deleted);
    }
    Ok(())
}

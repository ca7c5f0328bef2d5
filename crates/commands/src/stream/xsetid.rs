//! `XSETID`.

use keyspace::Stream;
use keyspace::collection::stream::StreamId;

use super::ids;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xsetid",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Sets the last id of a stream and its counters: how replicas and files rebuild one.",
    history: &[("7.0.0", "`ENTRIESADDED` and `MAXDELETEDID`.")],
    args: &[
        Arg::key("key", 0),
        Arg::string("last-id"),
        Arg::integer("entries-added").token("ENTRIESADDED").since("7.0.0").optional(),
        Arg::string("max-deleted-id").token("MAXDELETEDID").since("7.0.0").optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let last_id = ids::parse(cx.args[2])?;
    let mut added = None;
    let mut max_deleted_id = None;
    let mut index = 3;
    while index < cx.args.len() {
        if index + 1 == cx.args.len() {
            return Err(Error::Syntax.into());
        }
        if cx.word(index, "ENTRIESADDED") {
            let Ok(count) = u64::try_from(cx.int(index + 1)?) else {
                return cx.fail("ERR entries_added must be positive");
            };
            added = Some(count);
        } else if cx.word(index, "MAXDELETEDID") {
            let id = ids::parse(cx.args[index + 1])?;
            if last_id < id {
                return cx.fail("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
            }
            // 0-0 is as good as none.
            max_deleted_id = (id != StreamId::MIN).then_some(id);
        } else {
            return Err(Error::Syntax.into());
        }
        index += 2;
    }
    let Some(mut stream) = cx.db.write_as::<Stream>(key)? else {
        return Err(Error::NoSuchKey.into());
    };
    let entries = &mut stream.entries;
    let refusal = if last_id < entries.max_deleted_id() {
        Some("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id")
    } else if entries.last_live_id().is_some_and(|top| last_id < top) {
        Some("ERR The ID specified in XSETID is smaller than the target stream top item")
    } else if !entries.is_empty() && added.is_some_and(|added| added < entries.len()) {
        Some("ERR The entries_added specified in XSETID is smaller than the target stream length")
    } else {
        None
    };
    if let Some(text) = refusal {
        return Err(Error::text(text).into());
    }
    entries.set_last_id(last_id, added, max_deleted_id);
    drop(stream);
    cx.reply.ok();
    cx.db.notify(EventClass::STREAM, "xsetid", key.bytes());
    cx.db.changed_unseen(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn what_is_refused() {
        script(&[
            ("XSETID s abc", "-ERR Invalid stream ID specified as stream command argument"),
            ("XSETID s 1-1", "-ERR no such key"),
            ("XADD s 5-1 a 1", "$3 5-1"),
            ("XADD s 5-2 a 1", "$3 5-2"),
            ("XSETID s 5-1", "-ERR The ID specified in XSETID is smaller than the target stream top item"),
            ("XSETID s 9-1", "+OK"),
            ("XSETID s 9-1 ENTRIESADDED -1", "-ERR entries_added must be positive"),
            (
                "XSETID s 9-1 ENTRIESADDED 1",
                "-ERR The entries_added specified in XSETID is smaller than the target stream length",
            ),
            (
                "XSETID s 9-1 MAXDELETEDID 9-2",
                "-ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
            ),
            ("XSETID s 9-1 ENTRIESADDED 7 MAXDELETEDID 8-0", "+OK"),
            ("XSETID s 7-1", "-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"),
            ("XSETID s 9-1 ENTRIESADDED", "-ERR syntax error"),
            ("XSETID s 9-1 FOO 1", "-ERR syntax error"),
            ("XADD s * a 1", "$15 1700000000000-0"),
        ]);
    }
}

//! `XDEL`.

use keyspace::Stream;

use super::ids;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xdel",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 1)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Deletes entries of a stream by their ids, and counts them.",
    complexity: "O(1) for each id",
    args: &[Arg::key("key", 0), Arg::string("id").multiple()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let Some(mut stream) = cx.db.write_as::<Stream>(key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    // All ids are read before the first is deleted.
    cx.args[2..].iter().try_for_each(|id| ids::parse(id).map(drop))?;
    let mut deleted = 0;
    for id in cx.args[2..].iter().filter_map(|id| ids::parse_or_none(id)) {
        deleted += u64::from(stream.entries.delete(id));
    }
    drop(stream);
    if deleted > 0 {
        cx.db.notify(EventClass::STREAM, "xdel", key.bytes());
        cx.db.changed(deleted);
    }
    cx.reply.int(deleted as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn deletions() {
        const INVALID: &str = "-ERR Invalid stream ID specified as stream command argument";
        script(&[
            ("XDEL s abc", ":0"),
            ("XADD s 1-1 a 1", "$3 1-1"),
            ("XADD s 1-2 a 1", "$3 1-2"),
            ("XDEL s 1-1 abc", INVALID),
            ("XDEL s 1-1 1-*", INVALID),
            ("XDEL s 1-2 1-2 9-9", ":1"),
            ("XLEN s", ":1"),
            ("XDEL s 1-1", ":1"),
            ("EXISTS s", ":1"),
            ("XADD s 1-2 a 1", "-ERR The ID specified in XADD is equal or smaller than the target stream top item"),
            ("SET str 1", "+OK"),
            ("XDEL str abc", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

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

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn references_decide() {
        script(&[
            ("XDELEX s IDS 2 abc 1-1", "*2 :-1 :-1"),
            ("XDELEX s IDS 0 1-1", "-ERR Number of IDs must be a positive integer"),
            ("XDELEX s IDS 2 1-1", "-ERR The `numids` parameter must match the number of arguments"),
            ("XDELEX s KEEPREF ACKED IDS 1 1-1", "-ERR syntax error"),
            ("XDELEX s IDS 1 1-1 1-2", "-ERR syntax error"),
            ("XADD s 1-1 a 1", "$3 1-1"),
            ("XADD s 1-2 a 1", "$3 1-2"),
            ("XADD s 1-3 a 1", "$3 1-3"),
            ("XGROUP CREATE s g 0", "+OK"),
            ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XDELEX s ACKED IDS 3 1-1 1-2 9-9", "*3 :2 :2 :2"),
            ("XDELEX s IDS 1 1-1 KEEPREF", "*1 :1"),
            ("XPENDING s g - + 9", "*1 *4 $3 1-1 $1 c :0 :1"),
            // What is long gone is forgotten all the same.
            ("XDELEX s DELREF IDS 1 1-1", "*1 :-1"),
            ("XPENDING s g - + 9", "*0"),
            ("XDELEX s ACKED IDS 1 1-1", "*1 :-1"),
            ("SET str 1", "+OK"),
            ("XDELEX str FOO 1 1-1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

//! `XACK`.

use keyspace::Stream;

use super::ids;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xack",
    arity: -4,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Acknowledges entries: a consumer of the group is done with them.",
    complexity: "O(1) for each id",
    args: &[Arg::key("key", 0), Arg::string("group"), Arg::string("id").multiple()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    // A miss counts as one of a reader.
    let found = cx.db.read_as::<Stream>(key)?.is_some_and(|stream| stream.groups.get(cx.args[2]).is_some());
    if !found {
        cx.reply.int(0);
        return Ok(());
    }
    cx.args[3..].iter().try_for_each(|id| ids::parse(id).map(drop))?;
    let mut stream = cx.db.write_as::<Stream>(key)?.expect("it was read just now");
    let group = stream.groups.get_mut(cx.args[2]).expect("it was found just now");
    let ids = cx.args[3..].iter().filter_map(|id| ids::parse_or_none(id));
    let acknowledged = ids.filter(|&id| group.acknowledge(id)).count();
    drop(stream);
    cx.db.changed_unseen(acknowledged as u64);
    cx.reply.count(acknowledged);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn acknowledging() {
        script(&[
            ("XACK s g abc", ":0"),
            ("XADD s 1-1 a 1", "$3 1-1"),
            ("XACK s g abc", ":0"),
            ("XGROUP CREATE s g 0", "+OK"),
            ("XREADGROUP GROUP g c STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XACK s g 1-1 abc", "-ERR Invalid stream ID specified as stream command argument"),
            ("XACK s g 1-1 1-1 7-7", ":1"),
            ("XACK s g 1-1", ":0"),
            ("SET str 1", "+OK"),
            ("XACK str g abc", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

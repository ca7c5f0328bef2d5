//! `LTRIM`.

use keyspace::{Collection, End, List};

use super::lrange::indexes;
use super::taken;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "ltrim",
    arity: 4,
    flags: Flags::WRITE,
    acl: Acl::WRITE.union(Acl::LIST).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 1)],
    group: Group::List,
    since: "1.0.0",
    summary: "Removes all elements but those between two indexes, both included.",
    complexity: "O(N) for N elements that are removed",
    args: &[Arg::key("key", 0), Arg::integer("start"), Arg::integer("stop")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let (start, stop) = (cx.int(2)?, cx.int(3)?);
    let limits = cx.global().settings.list;
    let Some(mut list) = cx.db.write_as::<List>(key)? else {
        cx.reply.ok();
        return Ok(());
    };
    let len = list.len();
    let kept = indexes(start, stop, len);
    list.drop_end(End::Front, kept.start);
    list.drop_end(End::Back, len - kept.start - kept.len());
    list.shrink(limits);
    let left = list.len();
    drop(list);
    cx.reply.ok();
    // The event, and a change for those who watch the key, also where nothing was removed.
    if left == len {
        let index = cx.db.index;
        cx.db.effects.touch_unchanged(index, key.bytes());
    }
    taken(cx, key, "ltrim", len - left, left == 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn keeps_a_range() {
        script(&[
            ("RPUSH l a b c d e", ":5"),
            ("LTRIM l 0 -1", "+OK"),
            ("LTRIM l 1 -2", "+OK"),
            ("LRANGE l 0 -1", "*3 $1 b $1 c $1 d"),
            ("LTRIM l -2 100", "+OK"),
            ("LRANGE l 0 -1", "*2 $1 c $1 d"),
            ("LTRIM l 5 6", "+OK"),
            ("EXISTS l", ":0"),
            ("LTRIM l 0 1", "+OK"),
        ]);
    }

    #[test]
    fn numbers_are_read_before_the_key() {
        script(&[
            ("SET s 1", "+OK"),
            ("LTRIM s x 1", "-ERR value is not an integer or out of range"),
            ("LTRIM zz 1 x", "-ERR value is not an integer or out of range"),
            ("LTRIM s 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

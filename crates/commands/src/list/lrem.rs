//! `LREM`.

use keyspace::{Collection, End, List};

use super::taken;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "lrem",
    arity: 4,
    flags: Flags::WRITE,
    acl: Acl::WRITE.union(Acl::LIST).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 1)],
    group: Group::List,
    since: "1.0.0",
    summary: "Removes elements that are equal to one: all of them, or so many from the head or (negative) from the tail.",
    complexity: "O(N+M) for a list of N elements of which M are removed",
    args: &[Arg::key("key", 0), Arg::integer("count"), Arg::string("element")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let count = cx.int(2)?;
    if count == i64::MIN {
        // It has no positive counterpart.
        return cx.fail("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
    }
    let (from, count_max) = match count {
        0 => (End::Front, usize::MAX),
        1.. => (End::Front, count as usize),
        _ => (End::Back, count.unsigned_abs() as usize),
    };
    let limits = cx.global().settings.list;
    let Some(mut list) = cx.db.write_as::<List>(key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let removed = list.remove_matching(cx.args[3], from, count_max);
    let is_empty = list.is_empty();
    if removed > 0 {
        list.shrink(limits);
    }
    drop(list);
    cx.reply.count(removed);
    if removed > 0 {
        taken(cx, key, "lrem", removed, is_empty);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn from_either_end() {
        script(&[
            ("RPUSH l a b a 1 a", ":5"),
            ("LREM l -1 a", ":1"),
            ("LRANGE l 0 -1", "*4 $1 a $1 b $1 a $1 1"),
            ("LREM l 1 a", ":1"),
            ("LRANGE l 0 -1", "*3 $1 b $1 a $1 1"),
            ("LREM l 0 x", ":0"),
            ("LREM l -5 1", ":1"),
            ("LREM l 0 b", ":1"),
            ("LREM l 7 a", ":1"),
            ("EXISTS l", ":0"),
            ("LREM l 0 a", ":0"),
        ]);
    }

    #[test]
    fn the_count_is_read_before_the_key() {
        script(&[
            ("SET s 1", "+OK"),
            ("LREM s x a", "-ERR value is not an integer or out of range"),
            (
                "LREM s -9223372036854775808 a",
                "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ),
            ("LREM s 0 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

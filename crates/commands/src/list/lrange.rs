//! `LRANGE`.

use std::ops::{ControlFlow, Range};

use keyspace::{Collection, List};

use super::put_item;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "lrange",
    arity: 4,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::LIST).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::List,
    since: "1.0.0",
    summary: "Returns the elements between two indexes, both included.",
    complexity: "O(S+N), S being the way from the nearer end to the first element, N the number of elements returned",
    args: &[Arg::key("key", 0), Arg::integer("start"), Arg::integer("stop")],
    run: Some(run),
    ..Spec::NEW
};

/// The indexes that two of a client mean: negative ones count from the end, what is outside of the list is left out. Empty where the
/// last comes before the first.
pub fn indexes(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let from_front = |index: i64| if index < 0 { index.saturating_add(len) } else { index };
    let start = from_front(start).max(0);
    let end = from_front(stop).min(len - 1) + 1;
    if start < end { start as usize..end as usize } else { 0..0 }
}

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (start, stop) = (cx.int(2)?, cx.int(3)?);
    let Some(list) = cx.db.read_as::<List>(cx.keys[0])? else {
        cx.reply.array(0);
        return Ok(());
    };
    let range = indexes(start, stop, list.len());
    let mut left = range.len();
    cx.reply.array(left);
    if left > 0 {
        list.walk(range.start, false, |item| {
            put_item(cx.reply, item);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn indexes_count_from_both_ends() {
        script(&[
            ("RPUSH l a b c", ":3"),
            ("LRANGE l 0 -1", "*3 $1 a $1 b $1 c"),
            ("LRANGE l -2 -2", "*1 $1 b"),
            ("LRANGE l -100 100", "*3 $1 a $1 b $1 c"),
            ("LRANGE l -9223372036854775808 9223372036854775807", "*3 $1 a $1 b $1 c"),
            ("LRANGE l 2 1", "*0"),
            ("LRANGE l 5 6", "*0"),
            ("LRANGE l 0 -4", "*0"),
            ("LRANGE zz 0 -1", "*0"),
        ]);
    }

    #[test]
    fn numbers_are_read_before_the_key() {
        script(&[
            ("SET s 1", "+OK"),
            ("LRANGE s x 1", "-ERR value is not an integer or out of range"),
            ("LRANGE zz 1 x", "-ERR value is not an integer or out of range"),
            ("LRANGE s 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

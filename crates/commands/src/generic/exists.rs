//! `EXISTS`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "exists",
    arity: -2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::FAST),
    keys: &[KeySpec::range(KeyFlags::RO, 1, -1, 1)],
    summary: "Counts how many of the keys exist.",
    complexity: "O(N), N being the number of keys",
    history: &[("3.0.3", "More than one `key`.")],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    args: &[Arg::key("key", 0).multiple()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let existing = cx.keys.iter().filter(|&&key| cx.db.peek(key).is_some()).count();
    cx.reply.count(existing);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn a_key_named_twice_counts_twice() {
        script(&[("SET a 1", "+OK"), ("EXISTS a zz a", ":2"), ("EXISTS zz", ":0")]);
    }
}

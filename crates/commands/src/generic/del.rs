//! `DEL` and `UNLINK`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, KeyFlags, KeySpec, Spec};

pub const DEL: Spec = Spec {
    name: "del",
    arity: -2,
    flags: Flags::WRITE,
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::SLOW),
    keys: &[KeySpec::range(KeyFlags::RM.union(KeyFlags::DELETE), 1, -1, 1)],
    summary: "Deletes keys.",
    complexity: "O(N), N being the number of keys; a collection of M elements costs O(M)",
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    args: &[Arg::key("key", 0).multiple()],
    run: Some(del),
    ..Spec::NEW
};

pub const UNLINK: Spec = Spec {
    name: "unlink",
    arity: -2,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::FAST),
    keys: &[KeySpec::range(KeyFlags::RM.union(KeyFlags::DELETE), 1, -1, 1)],
    since: "4.0.0",
    summary: "Deletes keys and frees their memory in the background.",
    complexity: "O(1) a key; what N allocations occupied is freed by another thread in O(N)",
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    args: &[Arg::key("key", 0).multiple()],
    run: Some(unlink),
    ..Spec::NEW
};

fn del(cx: &mut Ctx<'_>) -> Outcome {
    delete(cx);
    Ok(())
}

/// Both names do the same: what is large is freed on the reaper's thread whoever unlinked it, so DEL never stalls either.
fn unlink(cx: &mut Ctx<'_>) -> Outcome {
    delete(cx);
    Ok(())
}

fn delete(cx: &mut Ctx<'_>) {
    let mut deleted = 0;
    for &key in cx.keys {
        deleted += usize::from(cx.db.delete(key));
    }
    cx.db.changed(deleted as u64);
    cx.reply.count(deleted);
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn only_what_is_there_is_deleted_and_counted() {
        script(&[
            ("MSET a 1 b 2 c 3", "+OK"),
            ("DEL a a zz", ":1"),
            ("UNLINK b c zz", ":2"),
            ("DEL a", ":0"),
            ("DEL", "-ERR wrong number of arguments for 'del' command"),
        ]);
    }
}

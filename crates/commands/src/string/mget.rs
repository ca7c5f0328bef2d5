//! `MGET`.

use super::put_bulk;
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "mget",
    arity: -2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::range(KeyFlags::RO.union(KeyFlags::ACCESS), 1, -1, 1)],
    group: Group::String,
    summary: "Returns the strings at several keys.",
    complexity: "O(N), N being the number of keys",
    tips: &["request_policy:multi_shard"],
    args: &[Arg::key("key", 0).multiple()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    cx.reply.array(cx.keys.len());
    for &key in cx.keys {
        // Another type is as good as nothing here, so that one key does not spoil the reply for the others.
        match cx.db.read(key).map(ExpectString::string) {
            Some(Ok(string)) => put_bulk(cx.reply, &string),
            Some(Err(_)) | None => cx.reply.null(),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn some_of_them_missing() {
        script(&[
            ("SET a 1", "+OK"),
            ("SET b two", "+OK"),
            ("MGET a no b a", "*4 $1 1 $-1 $3 two $1 1"),
            ("MGET", "-ERR wrong number of arguments for 'mget' command"),
        ]);
    }
}

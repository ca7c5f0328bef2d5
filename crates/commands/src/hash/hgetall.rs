//! `HGETALL`, `HKEYS`, `HVALS`.

use keyspace::Hash;

use super::{put, seen_from};
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const HGETALL: Spec = Spec {
    name: "hgetall",
    arity: 2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::HASH).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Returns all fields of a hash with their values.",
    complexity: "O(N), N being the number of fields in the hash",
    tips: &["nondeterministic_output_order"],
    args: &[Arg::key("key", 0)],
    run: Some(hgetall),
    ..Spec::NEW
};

pub const HKEYS: Spec = Spec {
    name: "hkeys",
    arity: 2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::HASH).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Returns the names of all fields of a hash.",
    complexity: "O(N), N being the number of fields in the hash",
    tips: &["nondeterministic_output_order"],
    args: &[Arg::key("key", 0)],
    run: Some(hkeys),
    ..Spec::NEW
};

pub const HVALS: Spec = Spec {
    name: "hvals",
    arity: 2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::HASH).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Returns the values of all fields of a hash.",
    complexity: "O(N), N being the number of fields in the hash",
    tips: &["nondeterministic_output_order"],
    args: &[Arg::key("key", 0)],
    run: Some(hvals),
    ..Spec::NEW
};

fn hgetall(cx: &mut Ctx<'_>) -> Outcome {
    let now = seen_from(&cx.db);
    let Some(hash) = cx.db.read_as::<Hash>(cx.keys[0])? else {
        cx.reply.map(0);
        return Ok(());
    };
    cx.reply.map(hash.live_len(now));
    hash.visit(now, |field| {
        put(cx.reply, &field.name);
        put(cx.reply, &field.value);
    });
    Ok(())
}

fn hkeys(cx: &mut Ctx<'_>) -> Outcome {
    let now = seen_from(&cx.db);
    let Some(hash) = cx.db.read_as::<Hash>(cx.keys[0])? else {
        cx.reply.array(0);
        return Ok(());
    };
    cx.reply.array(hash.live_len(now));
    hash.visit(now, |field| put(cx.reply, &field.name));
    Ok(())
}

fn hvals(cx: &mut Ctx<'_>) -> Outcome {
    let now = seen_from(&cx.db);
    let Some(hash) = cx.db.read_as::<Hash>(cx.keys[0])? else {
        cx.reply.array(0);
        return Ok(());
    };
    cx.reply.array(hash.live_len(now));
    hash.visit(now, |field| put(cx.reply, &field.value));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn all_of_it() {
        script(&[
            ("HSET h a 1 b text", ":2"),
            ("HGETALL h", "*4 $1 a $1 1 $1 b $4 text"),
            ("HKEYS h", "*2 $1 a $1 b"),
            ("HVALS h", "*2 $1 1 $4 text"),
            ("HGETALL no", "*0"),
            ("HKEYS no", "*0"),
            ("HVALS no", "*0"),
            ("HELLO 3", Rig::new().run("HELLO 3").as_str()),
            ("HGETALL h", "%2 $1 a $1 1 $1 b $4 text"),
            ("HGETALL no", "%0"),
            ("HKEYS h", "*2 $1 a $1 b"),
        ]);
    }
}

//! `SISMEMBER`, `SMISMEMBER`, `SCARD` and `SMEMBERS`.

use keyspace::{Collection, IntBuffer, Set};

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SISMEMBER: Spec = Spec {
    name: "sismember",
    arity: 3,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::SET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO, 1)],
    group: Group::Set,
    since: "1.0.0",
    summary: "Says whether something is a member of a set.",
    complexity: "O(1)",
    args: &[Arg::key("key", 0), Arg::string("member")],
    element_arg: 2,
    run: Some(sismember),
    ..Spec::NEW
};

pub const SMISMEMBER: Spec = Spec {
    name: "smismember",
    arity: -3,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::SET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Set,
    since: "6.2.0",
    summary: "Says of several things whether each is a member of a set.",
    complexity: "O(N), N being the number of members asked for",
    args: &[Arg::key("key", 0), Arg::string("member").multiple()],
    element_arg: 2,
    run: Some(smismember),
    ..Spec::NEW
};

pub const SCARD: Spec = Spec {
    name: "scard",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::SET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO, 1)],
    group: Group::Set,
    since: "1.0.0",
    summary: "Counts the members of a set.",
    complexity: "O(1)",
    args: &[Arg::key("key", 0)],
    run: Some(scard),
    ..Spec::NEW
};

pub const SMEMBERS: Spec = Spec {
    name: "smembers",
    arity: 2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Set,
    since: "1.0.0",
    summary: "Returns the members of a set, in no order.",
    complexity: "O(N), N being the size of the set",
    tips: &["nondeterministic_output_order"],
    args: &[Arg::key("key", 0)],
    run: Some(smembers),
    ..Spec::NEW
};

fn sismember(cx: &mut Ctx<'_>) -> Outcome {
    let found = cx.db.read_as::<Set>(cx.keys[0])?.is_some_and(|set| set.contains(cx.args[2]));
    cx.reply.int(i64::from(found));
    Ok(())
}

fn smismember(cx: &mut Ctx<'_>) -> Outcome {
    let set = cx.db.read_as::<Set>(cx.keys[0])?;
    let members = &cx.args[2..];
    cx.reply.array(members.len());
    match set {
        Some(set) => set.contains_each(members, |_, found| cx.reply.int(i64::from(found))),
        None => members.iter().for_each(|_| cx.reply.int(0)),
    }
    Ok(())
}

fn scard(cx: &mut Ctx<'_>) -> Outcome {
    let len = cx.db.read_as::<Set>(cx.keys[0])?.map_or(0, |set| set.len());
    cx.reply.count(len);
    Ok(())
}

fn smembers(cx: &mut Ctx<'_>) -> Outcome {
    let Some(set) = cx.db.read_as::<Set>(cx.keys[0])? else {
        cx.reply.set(0);
        return Ok(());
    };
    cx.reply.set(set.len());
    let mut buffer = IntBuffer::new();
    set.for_each(|member| cx.reply.bulk(member.bytes(&mut buffer)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn questions_to_sets_of_all_encodings() {
        let long = "x".repeat(100);
        script(&[
            ("SADD ints 3 1 2", ":3"),
            ("SMEMBERS ints", "*3 $1 1 $1 2 $1 3"),
            ("SISMEMBER ints 2", ":1"),
            ("SISMEMBER ints 02", ":0"),
            ("SADD packed b 1", ":2"),
            ("SMEMBERS packed", "*2 $1 b $1 1"),
            ("SMISMEMBER packed 1 01 b B", "*4 :1 :0 :1 :0"),
            (&format!("SADD table {long}"), ":1"),
            ("OBJECT ENCODING table", "$9 hashtable"),
            (&format!("SMISMEMBER table x {long}"), "*2 :0 :1"),
            ("SCARD table", ":1"),
            ("SCARD none", ":0"),
            ("SMEMBERS none", "*0"),
            ("SMISMEMBER none a", "*1 :0"),
            (
                "HELLO 3",
                "%7 $6 server $5 redis $7 version $5 8.2.3 $5 proto :3 $2 id :1 $4 mode $10 standalone $4 role $6 master $7 modules *0",
            ),
            ("SMEMBERS ints", "~3 $1 1 $1 2 $1 3"),
            ("SMISMEMBER ints 1", "*1 :1"),
            ("SMEMBERS none", "~0"),
        ]);
    }
}

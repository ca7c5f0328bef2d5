//! `SADD`.

use keyspace::Set;

use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "sadd",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::SET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::INSERT), 1)],
    group: Group::Set,
    since: "1.0.0",
    summary: "Adds members to a set, which is created where it is missing.",
    complexity: "O(1) a member, O(N) for N of them",
    history: &[("2.4.0", "Several members at once.")],
    args: &[Arg::key("key", 0), Arg::string("member").multiple()],
    element_arg: 2,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let limits = cx.global().settings.set;
    let key = cx.keys[0];
    let members = &cx.args[2..];
    let mut set = cx.db.write_or_create_with(key, || Set::for_members(members[0], members.len(), &limits))?;
    set.expect_more(members.len(), &limits);
    let added = members.iter().filter(|member| set.insert(member, &limits)).count();
    drop(set);
    if added > 0 {
        cx.db.notify(EventClass::SET, "sadd", key.bytes());
        cx.db.changed(added as u64);
    }
    cx.reply.count(added);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn members_are_added_once() {
        script(&[
            ("SADD a x y x", ":2"),
            ("SADD a y z", ":1"),
            ("SCARD a", ":3"),
            ("SMISMEMBER a x y z w", "*4 :1 :1 :1 :0"),
            ("SET s 1", "+OK"),
            ("SADD s x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("SADD a", "-ERR wrong number of arguments for 'sadd' command"),
        ]);
    }

    #[test]
    fn encodings_as_they_grow() {
        script(&[
            ("CONFIG SET set-max-intset-entries 4 set-max-listpack-entries 4 set-max-listpack-value 8", "+OK"),
            ("SADD same a a a a a", ":1"),
            ("OBJECT ENCODING same", "$9 hashtable"),
            ("SADD ints 1 2 3 4", ":4"),
            ("OBJECT ENCODING ints", "$6 intset"),
            ("SADD ints 1 1 2 2", ":0"),
            ("OBJECT ENCODING ints", "$6 intset"),
            ("SADD ints 5", ":1"),
            ("OBJECT ENCODING ints", "$9 hashtable"),
            ("SADD mixed 1 2 3", ":3"),
            ("SADD mixed a", ":1"),
            ("OBJECT ENCODING mixed", "$8 listpack"),
            ("SADD mixed b", ":1"),
            ("OBJECT ENCODING mixed", "$9 hashtable"),
            ("SADD full 1 2 3 4", ":4"),
            ("SADD full a", ":1"),
            ("OBJECT ENCODING full", "$9 hashtable"),
            ("SADD long 1 2 abcdefghi", ":3"),
            ("OBJECT ENCODING long", "$9 hashtable"),
            ("CONFIG SET set-max-listpack-entries 100", "+OK"),
            ("SADD five 1 2 3 4 5", ":5"),
            ("OBJECT ENCODING five", "$8 listpack"),
            ("CONFIG SET set-max-listpack-value 3", "+OK"),
            ("SADD wide 1234", ":1"),
            ("SADD wide a", ":1"),
            ("OBJECT ENCODING wide", "$9 hashtable"),
        ]);
    }
}

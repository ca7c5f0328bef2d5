//! `SMOVE`.

use keyspace::{Expiry, NewValue, Set};

use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "smove",
    arity: 4,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::SET).union(Acl::FAST),
    keys: &[
        KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE), 1),
        KeySpec::one(KeyFlags::RW.union(KeyFlags::INSERT), 2),
    ],
    group: Group::Set,
    since: "1.0.0",
    summary: "Takes a member out of one set and adds it to another.",
    complexity: "O(1)",
    args: &[Arg::key("source", 0), Arg::key("destination", 1), Arg::string("member")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let limits = cx.global().settings.set;
    let [source, destination] = [cx.keys[0], cx.keys[1]];
    let member = cx.args[3];
    // Whatever becomes of it, a key whose time has come goes.
    cx.db.glance(source);
    cx.db.glance(destination);
    // A source that is not there comes before a destination of another type, and nothing is taken before both are known.
    let Some(there) = cx.db.write_as::<Set>(source)?.map(|set| set.contains(member)) else {
        cx.reply.int(0);
        return Ok(());
    };
    let destination_exists = cx.db.write_as::<Set>(destination)?.is_some();
    if !there || source.bytes() == destination.bytes() {
        cx.reply.int(i64::from(there));
        return Ok(());
    }
    cx.db.write_as::<Set>(source)?.expect("it was read just now").remove(member);
    cx.db.notify(EventClass::SET, "srem", source.bytes());
    cx.db.remove_if_empty(source);
    let added = if destination_exists {
        cx.db.write_as::<Set>(destination)?.expect("it was read just now").insert(member, &limits)
    } else {
        let mut set = Set::for_members(member, 1, &limits);
        set.insert(member, &limits);
        cx.db.set(destination, NewValue::Object(set.into()), Expiry::Clear);
        true
    };
    if added {
        cx.db.notify(EventClass::SET, "sadd", destination.bytes());
    }
    cx.db.changed(1 + u64::from(added));
    if !added {
        cx.db.effects.untouch_key(destination.bytes());
    }
    cx.reply.int(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn from_one_set_to_another() {
        script(&[
            ("SADD a 1 x", ":2"),
            ("SMOVE a b x", ":1"),
            ("SMEMBERS b", "*1 $1 x"),
            ("SMOVE a b x", ":0"),
            ("SMOVE a a 1", ":1"),
            ("SMOVE a a 2", ":0"),
            ("SADD b 1", ":1"),
            ("SMOVE a b 1", ":1"),
            ("EXISTS a", ":0"),
            ("SCARD b", ":2"),
        ]);
    }

    #[test]
    fn types_in_their_order() {
        script(&[
            ("SET s v", "+OK"),
            ("SADD a 1", ":1"),
            ("SMOVE none s 1", ":0"),
            ("SMOVE a s 2", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("SMOVE s a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("SMEMBERS a", "*1 $1 1"),
        ]);
    }
}

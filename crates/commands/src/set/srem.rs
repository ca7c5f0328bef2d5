//! `SREM`.

use keyspace::Set;

use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "srem",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::SET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 1)],
    group: Group::Set,
    since: "1.0.0",
    summary: "Takes members out of a set, and the key away with the last of them.",
    complexity: "O(N), N being the number of members given",
    history: &[("2.4.0", "Several members at once.")],
    args: &[Arg::key("key", 0), Arg::string("member").multiple()],
    element_arg: 2,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let removed = match cx.db.write_as::<Set>(key)? {
        Some(mut set) => cx.args[2..].iter().filter(|member| set.remove(member)).count(),
        None => 0,
    };
    if removed > 0 {
        cx.db.notify(EventClass::SET, "srem", key.bytes());
        cx.db.remove_if_empty(key);
        cx.db.changed(removed as u64);
    }
    cx.reply.count(removed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn of_all_encodings() {
        for members in ["1 2 3", "1 2 a", "1 2 123456789012345678901234567890123456789012345678901234567890123456789"] {
            script(&[
                (&format!("SADD a {members}"), ":3"),
                ("SREM a 1 1 x", ":1"),
                ("SREM a 1 2", ":1"),
                ("SCARD a", ":1"),
                (&format!("SREM a {members}"), ":1"),
                ("EXISTS a", ":0"),
                ("SREM a 1", ":0"),
            ]);
        }
    }
}

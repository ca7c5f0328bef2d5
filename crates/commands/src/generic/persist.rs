//! `PERSIST`.

use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "persist",
    arity: 2,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    since: "2.2.0",
    summary: "Takes the expiry from a key.",
    args: &[Arg::key("key", 0)],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let persisted = match cx.db.write(cx.keys[0]) {
        Some(mut entry) if entry.entry().expire_at().is_some() => {
            entry.set_expiry(None);
            true
        }
        _ => false,
    };
    if persisted {
        cx.db.notify(EventClass::GENERIC, "persist", cx.keys[0].bytes());
    }
    cx.db.changed(u64::from(persisted));
    cx.reply.int(i64::from(persisted));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn only_a_key_that_expires_is_persisted() {
        script(&[
            ("SET a 1 EX 100", "+OK"),
            ("PERSIST a", ":1"),
            ("PERSIST a", ":0"),
            ("TTL a", ":-1"),
            ("PERSIST zz", ":0"),
        ]);
    }
}

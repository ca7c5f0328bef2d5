//! `GETSET`.

use keyspace::Expiry;

use super::{new_value, put_bulk};
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "getset",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE), 1)],
    group: Group::String,
    summary: "Sets a string and returns what it was before.",
    doc_flags: &["deprecated"],
    deprecated_since: Some("6.2.0"),
    replaced_by: Some("`SET` with the `!GET` argument"),
    args: &[Arg::key("key", 0), Arg::string("value")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    match cx.db.read(cx.keys[0]) {
        None => cx.reply.null(),
        Some(entry) => put_bulk(cx.reply, &entry.string()?),
    }
    cx.db.set(cx.keys[0], new_value(cx, 2), Expiry::Clear);
    cx.db.notify(EventClass::STRING, "set", cx.keys[0].bytes());
    cx.db.changed(1);
    cx.db.effects.instead(&[b"SET", cx.keys[0].bytes(), cx.args[2]]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn old_for_new() {
        script(&[
            ("GETSET a 1", "$-1"),
            ("GETSET a 2", "$1 1"),
            ("SET a 3 EX 100", "+OK"),
            ("GETSET a 4", "$1 3"),
            ("TTL a", ":-1"),
            ("OBJECT ENCODING a", "$3 int"),
        ]);
    }
}

//! `SETNX`.

use keyspace::Expiry;

use super::new_value;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "setnx",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::OW.union(KeyFlags::INSERT), 1)],
    group: Group::String,
    summary: "Sets a string if the key does not exist.",
    doc_flags: &["deprecated"],
    deprecated_since: Some("2.6.12"),
    replaced_by: Some("`SET` with the `NX` argument"),
    args: &[Arg::key("key", 0), Arg::string("value")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let absent = cx.db.glance(cx.keys[0]).is_none();
    if absent {
        cx.db.set(cx.keys[0], new_value(cx, 2), Expiry::Clear);
        cx.db.notify(EventClass::STRING, "set", cx.keys[0].bytes());
        cx.db.changed(1);
    }
    cx.reply.int(i64::from(absent));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn only_once() {
        script(&[
            ("SETNX a 1", ":1"),
            ("SETNX a 2", ":0"),
            ("GET a", "$1 1"),
            ("SETNX a", "-ERR wrong number of arguments for 'setnx' command"),
        ]);
    }
}

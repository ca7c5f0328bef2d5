//! `APPEND`.

use keyspace::Expiry;

use super::{check_len, new_value};
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "append",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::INSERT), 1)],
    group: Group::String,
    since: "2.0.0",
    summary: "Appends to a string, or creates it.",
    complexity: "O(1), amortised, as long as what is appended is small",
    args: &[Arg::key("key", 0), Arg::string("value")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let tail = cx.args[2];
    let len_max = cx.global().settings.bulk_bytes_max;
    let len = match cx.db.write(cx.keys[0]) {
        None => {
            cx.db.set(cx.keys[0], new_value(cx, 2), Expiry::Clear);
            tail.len()
        }
        Some(mut entry) => {
            check_len(entry.entry().string()?.len(), tail.len(), len_max)?;
            entry.append(tail)
        }
    };
    cx.db.notify(EventClass::STRING, "append", cx.keys[0].bytes());
    cx.db.changed(1);
    cx.reply.count(len);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn grows() {
        script(&[
            ("APPEND a \"\"", ":0"),
            ("EXISTS a", ":1"),
            ("APPEND a x", ":1"),
            ("APPEND a yz", ":3"),
            ("GET a", "$3 xyz"),
            ("OBJECT ENCODING a", "$3 raw"),
            ("APPEND b 12", ":2"),
            ("OBJECT ENCODING b", "$3 int"),
            ("APPEND b 3", ":3"),
            ("OBJECT ENCODING b", "$3 raw"),
            ("INCR b", ":124"),
            ("OBJECT ENCODING b", "$3 int"),
            ("APPEND b \"\"", ":3"),
            ("OBJECT ENCODING b", "$3 raw"),
            ("APPEND c abc", ":3"),
            ("OBJECT ENCODING c", "$6 embstr"),
            ("SET d abc EX 100", "+OK"),
            ("APPEND d d", ":4"),
            ("TTL d", ":100"),
        ]);
    }

    #[test]
    fn no_longer_than_a_client_could_send() {
        let mut rig = Rig::new();
        rig.world.global.settings.bulk_bytes_max = 4;
        rig.script(&[
            ("APPEND a abcd", ":4"),
            ("APPEND a e", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
            ("APPEND a \"\"", ":4"),
            ("GET a", "$4 abcd"),
        ]);
    }
}

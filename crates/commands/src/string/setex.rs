//! `SETEX` and `PSETEX`.

use keyspace::Expiry;

use super::new_value;
use super::options::{Form, instant};
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SETEX: Spec = Spec {
    name: "setex",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 1)],
    group: Group::String,
    since: "2.0.0",
    summary: "Sets a string and its time to live in seconds.",
    doc_flags: &["deprecated"],
    deprecated_since: Some("2.6.12"),
    replaced_by: Some("`SET` with the `EX` argument"),
    args: &[Arg::key("key", 0), Arg::integer("seconds"), Arg::string("value")],
    run: Some(setex),
    ..Spec::NEW
};

pub const PSETEX: Spec = Spec {
    name: "psetex",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 1)],
    group: Group::String,
    since: "2.6.0",
    summary: "Sets a string and its time to live in milliseconds.",
    doc_flags: &["deprecated"],
    deprecated_since: Some("2.6.12"),
    replaced_by: Some("`SET` with the `PX` argument"),
    args: &[Arg::key("key", 0), Arg::integer("milliseconds"), Arg::string("value")],
    run: Some(psetex),
    ..Spec::NEW
};

fn setex(cx: &mut Ctx<'_>) -> Outcome {
    set(cx, Form::Seconds, "setex")
}

fn psetex(cx: &mut Ctx<'_>) -> Outcome {
    set(cx, Form::Milliseconds, "psetex")
}

fn set(cx: &mut Ctx<'_>, form: Form, command: &'static str) -> Outcome {
    let at = instant(form, cx.args[2], command, cx.db.now)?;
    cx.db.set(cx.keys[0], new_value(cx, 3), Expiry::At(at));
    cx.db.notify(EventClass::STRING, "set", cx.keys[0].bytes());
    cx.db.notify(EventClass::GENERIC, "expire", cx.keys[0].bytes());
    cx.db.changed(1);
    if cx.db.effects.wanted() {
        cx.db.effects.instead(&[b"SET", cx.args[1], cx.args[3], b"PXAT", at.0.to_string().as_bytes()]);
    }
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn seconds_and_milliseconds() {
        script(&[
            ("SETEX a 100 1", "+OK"),
            ("TTL a", ":100"),
            ("PSETEX a 100000 2", "+OK"),
            ("TTL a", ":100"),
            ("GET a", "$1 2"),
            ("SETEX a 0 1", "-ERR invalid expire time in 'setex' command"),
            ("SETEX a -5 1", "-ERR invalid expire time in 'setex' command"),
            ("SETEX a x 1", "-ERR value is not an integer or out of range"),
            ("SETEX a 9223372036854775807 1", "-ERR invalid expire time in 'setex' command"),
            ("SETEX a 9223372036854775 1", "-ERR invalid expire time in 'setex' command"),
            ("PSETEX a 0 1", "-ERR invalid expire time in 'psetex' command"),
            ("PSETEX a 9223372036854775807 1", "-ERR invalid expire time in 'psetex' command"),
            ("SETEX a 1", "-ERR wrong number of arguments for 'setex' command"),
            ("GET a", "$1 2"),
        ]);
    }
}

//! `SET`.

use keyspace::Expiry;

use super::options::{Condition, Form, Options, Wish, Words};
use super::{new_value, put_bulk};
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "set",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::SLOW),
    keys: &[KeySpec::one(
        KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE).union(KeyFlags::VARIABLE_FLAGS),
        1,
    )
    .notes("RW and ACCESS due to the optional `GET` argument")],
    key_flags: Some(key_flags),
    group: Group::String,
    summary: "Sets a string, whatever the key held before.",
    history: &[
        ("2.6.12", "Options `EX`, `PX`, `NX`, `XX`."),
        ("6.0.0", "Option `KEEPTTL`."),
        ("6.2.0", "Options `GET`, `EXAT`, `PXAT`."),
        ("7.0.0", "`NX` and `GET` may be combined."),
        ("8.1.0", "Option `IFEQ`."),
    ],
    args: &[
        Arg::key("key", 0),
        Arg::string("value"),
        Arg::one_of(
            "condition",
            &[
                Arg::word("nx", "NX"),
                Arg::word("xx", "XX"),
                Arg::string("comparison-value")
                    .token("IFEQ")
                    .since("8.1.0")
                    .summary("What the key must hold for it to be set."),
            ],
        )
        .since("2.6.12")
        .optional(),
        Arg::word("get", "GET").since("6.2.0").optional(),
        Arg::one_of(
            "expiration",
            &[
                Arg::integer("seconds").token("EX").since("2.6.12"),
                Arg::integer("milliseconds").token("PX").since("2.6.12"),
                Arg::unix_time("unix-time-seconds").token("EXAT").since("6.2.0"),
                Arg::unix_time("unix-time-milliseconds").token("PXAT").since("6.2.0"),
                Arg::word("keepttl", "KEEPTTL").since("6.0.0"),
            ],
        )
        .optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

/// Only GET hands the old value out; what IFEQ compares stays inside, and counts as written (so does Valkey).
fn key_flags(args: &[&[u8]]) -> KeyFlags {
    if args.iter().skip(3).any(|arg| arg.eq_ignore_ascii_case(b"GET")) {
        KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE)
    } else {
        KeyFlags::OW.union(KeyFlags::UPDATE)
    }
}

fn run(cx: &mut Ctx<'_>) -> Outcome {
    if cx.args.len() == 3 {
        // The common form needs none of what follows.
        cx.db.set(cx.keys[0], new_value(cx, 2), Expiry::Clear);
        cx.db.notify(EventClass::STRING, "set", cx.keys[0].bytes());
        cx.db.changed(1);
        cx.reply.ok();
        return Ok(());
    }
    with_options(cx)
}

fn with_options(cx: &mut Ctx<'_>) -> Outcome {
    const WORDS: Words = Words::NX_XX.union(Words::IFEQ).union(Words::GET).union(Words::KEEPTTL);
    let key = cx.keys[0];
    let options = Options::parse(&cx.args[3..], WORDS)?;
    let expiry = options.expiry("set", cx.db.now)?;
    if options.get {
        // The old value is the reply, whatever the condition says.
        match cx.db.read(key) {
            None => cx.reply.null(),
            Some(entry) => put_bulk(cx.reply, &entry.string()?),
        }
    }
    let holds = match options.condition {
        None => true,
        Some(Condition::Absent) => cx.db.glance(key).is_none(),
        Some(Condition::Present) => cx.db.glance(key).is_some(),
        Some(Condition::Equals(wanted)) => match cx.db.glance(key) {
            None => false,
            Some(entry) => entry.string()?.with_bytes(|bytes| bytes == wanted),
        },
    };
    if holds {
        cx.db.set(key, new_value(cx, 2), expiry);
        cx.db.notify(EventClass::STRING, "set", key.bytes());
        if matches!(expiry, Expiry::At(_)) {
            cx.db.notify(EventClass::GENERIC, "expire", key.bytes());
        }
        cx.db.changed(1);
        if cx.db.effects.wanted() {
            say_effect(cx, &options, expiry);
        }
    }
    match (options.get, holds) {
        (true, _) => {}
        (false, true) => cx.reply.ok(),
        (false, false) => cx.reply.null(),
    }
    Ok(())
}

/// Elsewhere the key expires at the same instant, and nobody waits for the old value. The conditions hold there too: they stay
/// where the command stays (so in Redis 8.2).
fn say_effect(cx: &mut Ctx<'_>, options: &Options<'_>, expiry: Expiry) {
    match (options.wish, expiry) {
        (Some(Wish::At(Form::UnixMilliseconds, _)), _) => {}
        (_, Expiry::At(at)) => {
            cx.db.effects.instead(&[b"SET", cx.args[1], cx.args[2], b"PXAT", at.0.to_string().as_bytes()]);
        }
        _ if options.get => {
            let is_compared = |index: usize| cx.args[index - 1].eq_ignore_ascii_case(b"IFEQ");
            let stays = |index: usize| index < 3 || is_compared(index) || !cx.word(index, "GET");
            let args: Vec<&[u8]> =
                (0..cx.args.len()).filter(|&index| stays(index)).map(|index| cx.args[index]).collect();
            cx.db.effects.instead(&args);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn conditions() {
        script(&[
            ("SET a 1 XX", "$-1"),
            ("SET a 1 NX", "+OK"),
            ("SET a 2 NX", "$-1"),
            ("SET a 2 nx nx", "$-1"),
            ("SET a 3 XX", "+OK"),
            ("GET a", "$1 3"),
            ("SET a 4 NX GET", "$1 3"),
            ("SET a 4 XX GET", "$1 3"),
            ("SET b 1 GET", "$-1"),
            ("SET a 4 NX XX", "-ERR syntax error"),
            ("SET a 4 NX FOO", "-ERR syntax error"),
            ("SET a", "-ERR wrong number of arguments for 'set' command"),
        ]);
    }

    #[test]
    fn expiries() {
        script(&[
            ("SET a 1 EX 100", "+OK"),
            ("TTL a", ":100"),
            ("SET a 1 KEEPTTL", "+OK"),
            ("TTL a", ":100"),
            ("SET a 1", "+OK"),
            ("TTL a", ":-1"),
            ("SET a 1 PXAT 99999999999999", "+OK"),
            ("PEXPIRETIME a", ":99999999999999"),
            ("SET a 1 EXAT 99999999999 GET", "$1 1"),
            ("EXPIRETIME a", ":99999999999"),
            ("SET a 1 EX 10 EX 20", "+OK"),
            ("TTL a", ":20"),
            ("SET a 1 EXAT 1", "+OK"),
            ("EXISTS a", ":0"),
            ("SET a 1 KEEPTTL", "+OK"),
            ("TTL a", ":-1"),
            ("SET a 1 EX 10 PX 10", "-ERR syntax error"),
            ("SET a 1 EX 10 KEEPTTL", "-ERR syntax error"),
            ("SET a 1 KEEPTTL EX 10", "-ERR syntax error"),
            ("SET a 1 PERSIST", "-ERR syntax error"),
            ("SET a 1 EX", "-ERR syntax error"),
            ("SET a 1 EX NX", "-ERR value is not an integer or out of range"),
            ("SET a 1 EX x FOO", "-ERR syntax error"),
            ("SET a 1 EX 0", "-ERR invalid expire time in 'set' command"),
            ("SET a 1 EX -1", "-ERR invalid expire time in 'set' command"),
            ("SET a 1 EX 1.5", "-ERR value is not an integer or out of range"),
            ("SET a 1 EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
            ("SET a 1 PX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
            ("SET a 1 EXAT 9223372036854775", "+OK"),
            ("SET a 1 EXAT 9223372036854776", "-ERR invalid expire time in 'set' command"),
        ]);
    }

    // Valkey 9.1 decides.
    #[test]
    fn if_equal() {
        script(&[
            ("SET a 1 IFEQ x", "$-1"),
            ("EXISTS a", ":0"),
            ("SET a 1", "+OK"),
            ("SET a 2 IFEQ x", "$-1"),
            ("GET a", "$1 1"),
            ("SET a 2 IFEQ 1", "+OK"),
            ("GET a", "$1 2"),
            ("SET a 3 IFEQ x GET", "$1 2"),
            ("SET a 3 IFEQ 2 GET EX 100", "$1 2"),
            ("TTL a", ":100"),
            ("SET a x GET IFEQ 3 KEEPTTL", "$1 3"),
            ("TTL a", ":100"),
            ("SET b 1 IFEQ x GET", "$-1"),
            ("SET a 4 IFEQ", "-ERR syntax error"),
            ("SET a 4 IFEQ 1 IFEQ 1", "-ERR syntax error"),
            ("SET a 4 IFEQ 1 NX", "-ERR syntax error"),
            ("SET a 4 XX IFEQ 1", "-ERR syntax error"),
            ("SET a 4 IFEQ x EX 0", "-ERR invalid expire time in 'set' command"),
        ]);
    }
}

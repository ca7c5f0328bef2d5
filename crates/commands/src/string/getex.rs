//! `GETEX`.

use keyspace::Expiry;

use super::options::{Options, Wish, Words};
use super::put_bulk;
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "getex",
    arity: -2,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE), 1)
        .notes("RW and UPDATE because it changes the TTL")],
    group: Group::String,
    since: "6.2.0",
    summary: "Returns the string at a key and sets or removes its expiry.",
    args: &[
        Arg::key("key", 0),
        Arg::one_of(
            "expiration",
            &[
                Arg::integer("seconds").token("EX"),
                Arg::integer("milliseconds").token("PX"),
                Arg::unix_time("unix-time-seconds").token("EXAT"),
                Arg::unix_time("unix-time-milliseconds").token("PXAT"),
                Arg::word("persist", "PERSIST"),
            ],
        )
        .optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let now = cx.db.now;
    let options = Options::parse(&cx.args[2..], Words::PERSIST)?;
    let Some(entry) = cx.db.read(key) else {
        cx.reply.null();
        return Ok(());
    };
    let string = entry.string()?;
    // Redis reads the number after the value: a missing key or a wrong type comes before a bad expiry. (Valkey: the other
    // way round.)
    let expiry = options.expiry("getex", now)?;
    put_bulk(cx.reply, &string);
    let at = match expiry {
        Expiry::At(at) => Some(at),
        Expiry::Clear if options.wish == Some(Wish::Persist) && entry.expire_at().is_some() => None,
        Expiry::Clear | Expiry::Keep => return Ok(()),
    };
    cx.db.changed(1);
    if at.is_some_and(|at| at <= now) {
        cx.db.delete(key);
        let verb = cx.db.effects.expiry_verb();
        cx.db.effects.instead(&[verb, key.bytes()]);
        return Ok(());
    }
    cx.db.write(key).expect("it was read just now").set_expiry(at);
    cx.db.notify(EventClass::GENERIC, if at.is_some() { "expire" } else { "persist" }, key.bytes());
    if cx.db.effects.wanted() {
        match at {
            Some(at) => cx.db.effects.instead(&[b"PEXPIREAT", key.bytes(), at.0.to_string().as_bytes()]),
            None => cx.db.effects.instead(&[b"PERSIST", key.bytes()]),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn expiries() {
        script(&[
            ("SET a v", "+OK"),
            ("GETEX a", "$1 v"),
            ("GETEX a EX 100", "$1 v"),
            ("TTL a", ":100"),
            ("GETEX a", "$1 v"),
            ("TTL a", ":100"),
            ("GETEX a PERSIST", "$1 v"),
            ("TTL a", ":-1"),
            ("GETEX a PXAT 99999999999999", "$1 v"),
            ("PEXPIRETIME a", ":99999999999999"),
            ("GETEX a PERSIST PERSIST", "$1 v"),
            ("GETEX a EX 10 EX 40", "$1 v"),
            ("TTL a", ":40"),
            ("GETEX a EXAT 1", "$1 v"),
            ("EXISTS a", ":0"),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        script(&[
            ("GETEX a EX x", "$-1"),
            ("GETEX a EX 0", "$-1"),
            ("GETEX a FOO", "-ERR syntax error"),
            ("SET a v", "+OK"),
            ("GETEX a EX 0", "-ERR invalid expire time in 'getex' command"),
            ("GETEX a EX x", "-ERR value is not an integer or out of range"),
            ("GETEX a EX -1", "-ERR invalid expire time in 'getex' command"),
            ("GETEX a PXAT 0", "-ERR invalid expire time in 'getex' command"),
            ("GETEX a EX 9223372036854775807", "-ERR invalid expire time in 'getex' command"),
            ("GETEX a EX", "-ERR syntax error"),
            ("GETEX a EX 10 EX", "-ERR syntax error"),
            ("GETEX a EX 10 PX 10", "-ERR syntax error"),
            ("GETEX a PERSIST EX 10", "-ERR syntax error"),
            ("GETEX a EX 10 PERSIST", "-ERR syntax error"),
            ("GETEX a KEEPTTL", "-ERR syntax error"),
            ("GETEX a NX", "-ERR syntax error"),
            ("GETEX a GET", "-ERR syntax error"),
            ("TTL a", ":-1"),
        ]);
    }
}

//! `TTL`, `PTTL`, `EXPIRETIME` and `PEXPIRETIME`.

use keyspace::Millis;

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, KeyFlags, KeySpec, Spec};

pub const TTL: Spec = Spec {
    name: "ttl",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    summary: "Returns the seconds a key has still to live.",
    history: &[("2.8.0", "Reply -2 for a key that does not exist.")],
    tips: &["nondeterministic_output"],
    args: &[Arg::key("key", 0)],
    run: Some(ttl),
    ..Spec::NEW
};

pub const PTTL: Spec = Spec {
    name: "pttl",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    since: "2.6.0",
    summary: "Returns the milliseconds a key has still to live.",
    history: &[("2.8.0", "Reply -2 for a key that does not exist.")],
    tips: &["nondeterministic_output"],
    args: &[Arg::key("key", 0)],
    run: Some(pttl),
    ..Spec::NEW
};

pub const EXPIRETIME: Spec = Spec {
    name: "expiretime",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    since: "7.0.0",
    summary: "Returns when a key expires, as a Unix time in seconds.",
    args: &[Arg::key("key", 0)],
    run: Some(expiretime),
    ..Spec::NEW
};

pub const PEXPIRETIME: Spec = Spec {
    name: "pexpiretime",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    since: "7.0.0",
    summary: "Returns when a key expires, as a Unix time in milliseconds.",
    args: &[Arg::key("key", 0)],
    run: Some(pexpiretime),
    ..Spec::NEW
};

/// What is replied for a key that never expires.
const NEVER: i64 = -1;
/// What is replied for a key that does not exist.
const MISSING: i64 = -2;

fn ttl(cx: &mut Ctx<'_>) -> Outcome {
    reply(cx, |at, now| rounded_seconds(remaining_ms(at, now)))
}

fn pttl(cx: &mut Ctx<'_>) -> Outcome {
    reply(cx, remaining_ms)
}

fn expiretime(cx: &mut Ctx<'_>) -> Outcome {
    reply(cx, |at, _| rounded_seconds(at.0))
}

fn pexpiretime(cx: &mut Ctx<'_>) -> Outcome {
    reply(cx, |at, _| at.0)
}

fn reply(cx: &mut Ctx<'_>, figure: fn(Millis, Millis) -> i64) -> Outcome {
    let now = cx.db.now;
    let figure = match cx.db.peek(cx.keys[0]) {
        None => MISSING,
        Some(entry) => entry.expire_at().map_or(NEVER, |at| figure(at, now)),
    };
    cx.reply.int(figure);
    Ok(())
}

/// Not below 0 in the millisecond in which a key is about to go.
fn remaining_ms(at: Millis, now: Millis) -> i64 {
    at.0.saturating_sub(now.0).max(0)
}

/// Rounded to the nearest second, halves up, as Redis does for both TTL and EXPIRETIME. Unsigned, because an expiry may lie
/// at the very end of the range (`PEXPIREAT key 9223372036854775807`).
fn rounded_seconds(ms: i64) -> i64 {
    ((ms as u64 + 500) / 1000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::script;

    #[test]
    fn seconds_are_rounded_up_to_the_end_of_time() {
        assert_eq!(rounded_seconds(1499), 1);
        assert_eq!(rounded_seconds(1500), 2);
        assert_eq!(rounded_seconds(i64::MAX), 9_223_372_036_854_776);
    }

    #[test]
    fn what_is_left_and_when_it_ends() {
        script(&[
            ("TTL zz", ":-2"),
            ("PTTL zz", ":-2"),
            ("EXPIRETIME zz", ":-2"),
            ("PEXPIRETIME zz", ":-2"),
            ("SET a 1", "+OK"),
            ("TTL a", ":-1"),
            ("PTTL a", ":-1"),
            ("EXPIRETIME a", ":-1"),
            ("PEXPIRETIME a", ":-1"),
            ("PEXPIRE a 1499", ":1"),
            ("TTL a", ":1"),
            ("PTTL a", ":1499"),
            ("PEXPIRE a 1500", ":1"),
            ("TTL a", ":2"),
            ("PEXPIREAT a 4000000000499", ":1"),
            ("EXPIRETIME a", ":4000000000"),
            ("PEXPIRETIME a", ":4000000000499"),
            ("PEXPIREAT a 9223372036854775807", ":1"),
            ("EXPIRETIME a", ":9223372036854776"),
        ]);
    }
}

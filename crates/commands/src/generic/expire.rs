//! `EXPIRE`, `EXPIREAT`, `PEXPIRE` and `PEXPIREAT`.

use bitflags::bitflags;
use keyspace::Millis;

use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, KeyFlags, KeySpec, Spec};

pub const EXPIRE: Spec = Spec {
    name: "expire",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    summary: "Lets a key expire after some seconds.",
    history: &[("7.0.0", "Options `NX`, `XX`, `GT`, `LT`.")],
    args: &[
        Arg::key("key", 0),
        Arg::integer("seconds"),
        Arg::one_of(
            "condition",
            &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
        )
        .since("7.0.0")
        .optional(),
    ],
    run: Some(expire),
    ..Spec::NEW
};

pub const EXPIREAT: Spec = Spec {
    name: "expireat",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    since: "1.2.0",
    summary: "Lets a key expire at a Unix time in seconds.",
    history: &[("7.0.0", "Options `NX`, `XX`, `GT`, `LT`.")],
    args: &[
        Arg::key("key", 0),
        Arg::unix_time("unix-time-seconds"),
        Arg::one_of(
            "condition",
            &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
        )
        .since("7.0.0")
        .optional(),
    ],
    run: Some(expireat),
    ..Spec::NEW
};

pub const PEXPIRE: Spec = Spec {
    name: "pexpire",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    since: "2.6.0",
    summary: "Lets a key expire after some milliseconds.",
    history: &[("7.0.0", "Options `NX`, `XX`, `GT`, `LT`.")],
    args: &[
        Arg::key("key", 0),
        Arg::integer("milliseconds"),
        Arg::one_of(
            "condition",
            &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
        )
        .since("7.0.0")
        .optional(),
    ],
    run: Some(pexpire),
    ..Spec::NEW
};

pub const PEXPIREAT: Spec = Spec {
    name: "pexpireat",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    since: "2.6.0",
    summary: "Lets a key expire at a Unix time in milliseconds.",
    history: &[("7.0.0", "Options `NX`, `XX`, `GT`, `LT`.")],
    args: &[
        Arg::key("key", 0),
        Arg::unix_time("unix-time-milliseconds"),
        Arg::one_of(
            "condition",
            &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
        )
        .since("7.0.0")
        .optional(),
    ],
    run: Some(pexpireat),
    ..Spec::NEW
};

/// What the number means.
#[derive(Clone, Copy)]
struct Form {
    /// Milliseconds in one of it.
    unit_ms: i64,
    /// Counts from now, not from the Unix epoch.
    from_now: bool,
    /// The command that error texts name.
    command: &'static str,
}

fn expire(cx: &mut Ctx<'_>) -> Outcome {
    set_expiry(cx, Form { unit_ms: 1000, from_now: true, command: "expire" })
}

fn expireat(cx: &mut Ctx<'_>) -> Outcome {
    set_expiry(cx, Form { unit_ms: 1000, from_now: false, command: "expireat" })
}

fn pexpire(cx: &mut Ctx<'_>) -> Outcome {
    set_expiry(cx, Form { unit_ms: 1, from_now: true, command: "pexpire" })
}

fn pexpireat(cx: &mut Ctx<'_>) -> Outcome {
    set_expiry(cx, Form { unit_ms: 1, from_now: false, command: "pexpireat" })
}

fn set_expiry(cx: &mut Ctx<'_>, form: Form) -> Outcome {
    // Redis looks at the options before the number, and at both before the key.
    let conditions = Conditions::parse(&cx.args[3..])?;
    let at = form.instant(cx.int(2)?, cx.db.now)?;
    let key = cx.keys[0];
    // A time that has come deletes the key at once, and counts as a deletion, not as an expiry. Where expired keys have to
    // stay (replicas, import mode) it only becomes invisible.
    let deletes = at <= cx.db.now && !cx.db.manners.keep_expired;
    let mut acts = false;
    if let Some(mut entry) = cx.db.write(key)
        && conditions.hold(entry.entry().expire_at(), at)
    {
        acts = true;
        if !deletes {
            entry.set_expiry(Some(at));
        }
    }
    if acts {
        if deletes {
            cx.db.delete(key);
        } else {
            cx.db.notify(EventClass::GENERIC, "expire", key.bytes());
        }
        if cx.db.effects.wanted() {
            form.say_effect(cx, at, deletes);
        }
    }
    cx.db.changed(u64::from(acts));
    cx.reply.int(i64::from(acts));
    Ok(())
}

impl Form {
    /// Elsewhere the key expires at the same instant, on the same conditions.
    fn say_effect(self, cx: &mut Ctx<'_>, at: Millis, deletes: bool) {
        if deletes {
            let verb = cx.db.effects.expiry_verb();
            cx.db.effects.instead(&[verb, cx.args[1]]);
        } else if self.from_now || self.unit_ms != 1 {
            let at = at.0.to_string();
            let mut args = cx.args.to_vec();
            (args[0], args[2]) = (b"PEXPIREAT", at.as_bytes());
            cx.db.effects.instead(&args);
        }
    }

    /// The instant that `number` names; negative ones are fine, they lie in the past.
    ///
    /// # Errors
    /// `InvalidExpire` for what does not fit into 64 bits of milliseconds.
    fn instant(self, number: i64, now: Millis) -> Result<Millis, Error> {
        let base = if self.from_now { now.0 } else { 0 };
        number
            .checked_mul(self.unit_ms)
            .and_then(|ms| ms.checked_add(base))
            .map(Millis)
            .ok_or(Error::InvalidExpire(self.command))
    }
}

bitflags! {
    /// When to act. A key that never expires counts as one that expires later than any other.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Conditions: u8 {
        /// It has no expiry.
        const NX = 1 << 0;
        /// It has one.
        const XX = 1 << 1;
        /// The new one is later.
        const GT = 1 << 2;
        /// The new one is earlier.
        const LT = 1 << 3;
    }
}

impl Conditions {
    fn parse(words: &[&[u8]]) -> Result<Conditions, Error> {
        let mut conditions = Conditions::empty();
        for word in words {
            conditions |= match word.to_ascii_uppercase().as_slice() {
                b"NX" => Conditions::NX,
                b"XX" => Conditions::XX,
                b"GT" => Conditions::GT,
                b"LT" => Conditions::LT,
                _ => return Err(Error::quoting("ERR Unsupported option ", word, "")),
            };
        }
        if conditions.contains(Conditions::NX) && conditions != Conditions::NX {
            return Err(Error::text("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if conditions.contains(Conditions::GT.union(Conditions::LT)) {
            return Err(Error::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    fn hold(self, before: Option<Millis>, at: Millis) -> bool {
        let fails = |condition, holds: bool| self.contains(condition) && !holds;
        !(fails(Conditions::NX, before.is_none())
            || fails(Conditions::XX, before.is_some())
            || fails(Conditions::GT, before.is_some_and(|before| at > before))
            || fails(Conditions::LT, before.is_none_or(|before| at < before)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rig, script};

    const NOW: Millis = Millis(1_700_000_000_000);

    #[test]
    fn the_range_of_times() {
        let seconds = Form { unit_ms: 1000, from_now: true, command: "expire" };
        let at_ms = Form { unit_ms: 1, from_now: false, command: "pexpireat" };
        assert_eq!(seconds.instant(5, NOW), Ok(Millis(NOW.0 + 5000)));
        assert_eq!(seconds.instant(-9_223_372_036_854_775, NOW), Ok(Millis(NOW.0 - 9_223_372_036_854_775_000)));
        for number in [9_223_372_036_854_775, 9_223_372_036_854_776, -9_223_372_036_854_776, i64::MIN, i64::MAX] {
            assert_eq!(seconds.instant(number, NOW), Err(Error::InvalidExpire("expire")), "{number}");
        }
        assert_eq!(at_ms.instant(i64::MAX, NOW), Ok(Millis(i64::MAX)));
        assert_eq!(at_ms.instant(i64::MIN, NOW), Ok(Millis(i64::MIN)));
    }

    #[test]
    fn conditions_and_what_they_compare() {
        let hold = |words: &[&[u8]], before: Option<i64>, at: i64| {
            Conditions::parse(words).unwrap().hold(before.map(Millis), Millis(at))
        };
        assert!(hold(&[b"nx", b"NX"], None, 5) && !hold(&[b"NX"], Some(9), 5));
        assert!(hold(&[b"XX"], Some(9), 5) && !hold(&[b"XX"], None, 5));
        assert!(hold(&[b"GT"], Some(4), 5) && !hold(&[b"GT"], Some(5), 5) && !hold(&[b"GT"], None, 5));
        assert!(hold(&[b"LT"], Some(6), 5) && !hold(&[b"LT"], Some(5), 5) && hold(&[b"LT"], None, 5));
        assert!(!hold(&[b"XX", b"LT"], None, 5));
        assert!(Conditions::parse(&[b"GT", b"LT"]).is_err() && Conditions::parse(&[b"NX", b"GT"]).is_err());
        assert_eq!(Conditions::parse(&[b"foo"]), Err(Error::Bytes(b"ERR Unsupported option foo".to_vec())));
    }

    #[test]
    fn options_then_number_then_key() {
        script(&[
            ("EXPIRE zz x foo", "-ERR Unsupported option foo"),
            ("EXPIRE zz x", "-ERR value is not an integer or out of range"),
            ("EXPIRE zz +1", "-ERR value is not an integer or out of range"),
            ("EXPIRE zz 10 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible"),
            ("EXPIRE zz 10 LT GT", "-ERR GT and LT options at the same time are not compatible"),
            ("EXPIRE zz 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
            ("EXPIREAT zz 9223372036854776", "-ERR invalid expire time in 'expireat' command"),
            ("PEXPIRE zz 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"),
            ("EXPIRE zz 10", ":0"),
        ]);
    }

    #[test]
    fn a_time_that_has_come_deletes() {
        script(&[
            ("SET a 1", "+OK"),
            ("EXPIRE a -1 GT", ":0"),
            ("EXPIRE a 0 XX", ":0"),
            ("EXPIRE a 0", ":1"),
            ("EXISTS a", ":0"),
            ("SET a 1", "+OK"),
            ("PEXPIREAT a -9223372036854775808", ":1"),
            ("EXISTS a", ":0"),
        ]);
    }

    #[test]
    fn conditions() {
        script(&[
            ("SET a 1", "+OK"),
            ("EXPIRE a 100 GT", ":0"),
            ("EXPIRE a 100 XX LT", ":0"),
            ("EXPIRE a 100 NX NX", ":1"),
            ("EXPIRE a 200 NX", ":0"),
            ("EXPIRE a 200 XX GT", ":1"),
            ("EXPIRE a 200 LT", ":0"),
            ("TTL a", ":200"),
        ]);
    }

    #[test]
    fn a_key_lives_to_the_end_of_its_last_millisecond() {
        let mut rig = Rig::new();
        rig.script(&[("SET a 1", "+OK"), ("PEXPIRE a 10", ":1")]);
        rig.now.0 += 10;
        rig.script(&[("GET a", "$1 1")]);
        rig.now.0 += 1;
        rig.script(&[("GET a", "$-1"), ("EXPIRE a 10", ":0")]);
    }

    #[test]
    fn in_import_mode_a_time_that_has_come_only_hides_the_key() {
        let mut rig = Rig::new();
        rig.world.global.settings.import_mode = true;
        rig.script(&[("SET a 1", "+OK"), ("EXPIRE a -1", ":1"), ("EXISTS a", ":0")]);
        rig.script(&[("CLIENT IMPORT-SOURCE ON", "+OK"), ("GET a", "$1 1")]);
    }
}

//! `HEXPIRE`, `HPEXPIRE`, `HEXPIREAT`, `HPEXPIREAT`.

use keyspace::{Hash, Key, Millis};

use super::options::{Form, fields};
use crate::context::{Ctx, Outcome};
use crate::db::Db;
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const HEXPIRE: Spec = Spec {
    name: "hexpire",
    arity: -6,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Lets fields of a hash expire after some seconds.",
    complexity: "O(N), N being the number of fields named",
    args: &[
        Arg::key("key", 0),
        Arg::integer("seconds"),
        Arg::one_of(
            "condition",
            &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
        )
        .optional(),
        Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).token("FIELDS"),
    ],
    run: Some(hexpire),
    ..Spec::NEW
};

pub const HPEXPIRE: Spec = Spec {
    name: "hpexpire",
    arity: -6,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Lets fields of a hash expire after some milliseconds.",
    complexity: "O(N), N being the number of fields named",
    args: &[
        Arg::key("key", 0),
        Arg::integer("milliseconds"),
        Arg::one_of(
            "condition",
            &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
        )
        .optional(),
        Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).token("FIELDS"),
    ],
    run: Some(hpexpire),
    ..Spec::NEW
};

pub const HEXPIREAT: Spec = Spec {
    name: "hexpireat",
    arity: -6,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Lets fields of a hash expire at a Unix time in seconds.",
    complexity: "O(N), N being the number of fields named",
    args: &[
        Arg::key("key", 0),
        Arg::unix_time("unix-time-seconds"),
        Arg::one_of(
            "condition",
            &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
        )
        .optional(),
        Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).token("FIELDS"),
    ],
    run: Some(hexpireat),
    ..Spec::NEW
};

pub const HPEXPIREAT: Spec = Spec {
    name: "hpexpireat",
    arity: -6,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Lets fields of a hash expire at a Unix time in milliseconds.",
    complexity: "O(N), N being the number of fields named",
    args: &[
        Arg::key("key", 0),
        Arg::unix_time("unix-time-milliseconds"),
        Arg::one_of(
            "condition",
            &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
        )
        .optional(),
        Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).token("FIELDS"),
    ],
    run: Some(hpexpireat),
    ..Spec::NEW
};

const NO_FIELD: i64 = -2;
const CONDITION_NOT_MET: i64 = 0;
const SET: i64 = 1;
/// Its time has passed already.
const DELETED: i64 = 2;

fn hexpire(cx: &mut Ctx<'_>) -> Outcome {
    expire(cx, Form::SECONDS, "hexpire")
}

fn hpexpire(cx: &mut Ctx<'_>) -> Outcome {
    expire(cx, Form::MILLISECONDS, "hpexpire")
}

fn hexpireat(cx: &mut Ctx<'_>) -> Outcome {
    expire(cx, Form::UNIX_SECONDS, "hexpireat")
}

fn hpexpireat(cx: &mut Ctx<'_>) -> Outcome {
    expire(cx, Form::UNIX_MILLISECONDS, "hpexpireat")
}

/// When a field gets the expiry.
#[derive(Clone, Copy)]
enum Condition {
    Always,
    /// It has none.
    Nx,
    /// It has one.
    Xx,
    /// It has one, and the new one is later.
    Gt,
    /// It has none, or the new one is sooner.
    Lt,
}

impl Condition {
    fn of(word: &[u8]) -> Option<Condition> {
        Some(match word.to_ascii_uppercase().as_slice() {
            b"NX" => Condition::Nx,
            b"XX" => Condition::Xx,
            b"GT" => Condition::Gt,
            b"LT" => Condition::Lt,
            _ => return None,
        })
    }

    fn is_met(self, old: Option<Millis>, new: Millis) -> bool {
        match self {
            Condition::Always => true,
            Condition::Nx => old.is_none(),
            Condition::Xx => old.is_some(),
            Condition::Gt => old.is_some_and(|old| new > old),
            Condition::Lt => old.is_none_or(|old| new < old),
        }
    }
}

fn expire(cx: &mut Ctx<'_>, form: Form, command: &'static str) -> Outcome {
    let (key, args, now) = (cx.keys[0], cx.args, cx.db.now);
    let mut hash = cx.db.write_as::<Hash>(key)?;
    let at = form.read(args[2], now, command)?;
    let condition = Condition::of(args[3]);
    let fields_at = if condition.is_some() { 4 } else { 3 };
    let names = fields(&args[fields_at..], "ERR Parameter `numFields` should be greater than 0")?;
    let condition = condition.unwrap_or(Condition::Always);
    cx.reply.array(names.len());
    if let Some(hash) = &mut hash {
        hash.prepare_expiry();
    }
    let past = at <= now;
    let mut hit = Vec::new();
    for &name in names {
        // A field whose time has passed, and that nobody has taken out yet, gets the new time like any other, as in Redis.
        let old = hash.as_ref().and_then(|hash| hash.field(name, Millis(i64::MIN))).map(|field| field.expire_at);
        cx.reply.int(match (old, &mut hash) {
            (Some(old), Some(hash)) if condition.is_met(old, at) => {
                hit.push(name);
                if past {
                    hash.remove(name);
                    DELETED
                } else {
                    hash.set_expiry(name, Some(at));
                    SET
                }
            }
            (Some(_), _) => CONDITION_NOT_MET,
            (None, _) => NO_FIELD,
        });
    }
    drop(hash);
    if hit.is_empty() {
        return Ok(());
    }
    cx.db.changed(hit.len() as u64);
    if past {
        deleted(&mut cx.db, key, &hit);
        return Ok(());
    }
    cx.db.notify(EventClass::HASH, "hexpire", key.bytes());
    if cx.db.effects.wanted() {
        // In milliseconds, and of those fields that took it only.
        let (at, count) = (at.0.to_string(), hit.len().to_string());
        let (name, at): (&[u8], &[u8]) =
            if form == Form::UNIX_MILLISECONDS { (args[0], args[2]) } else { (b"HPEXPIREAT", at.as_bytes()) };
        let mut effect = vec![name, key.bytes(), at];
        effect.extend_from_slice(&args[3..=fields_at]);
        effect.push(count.as_bytes());
        effect.extend_from_slice(&hit);
        cx.db.effects.instead(&effect);
    }
    Ok(())
}

/// Fields were given an expiry in the past, and are out of the hash: each is an HDEL to others.
pub fn deleted(db: &mut Db<'_>, key: Key<'_>, names: &[&[u8]]) {
    if db.effects.wanted() {
        names.iter().for_each(|name| db.effects.instead(&[b"HDEL", key.bytes(), name]));
    }
    db.notify(EventClass::HASH, "hdel", key.bytes());
    db.remove_if_empty(key);
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn conditions() {
        script(&[
            ("HSET h a 1 b 2", ":2"),
            ("HEXPIRE h 100 XX FIELDS 1 a", "*1 :0"),
            ("HEXPIRE h 100 GT FIELDS 1 a", "*1 :0"),
            ("HEXPIRE h 100 NX FIELDS 2 a c", "*2 :1 :-2"),
            ("HEXPIRE h 100 NX FIELDS 1 a", "*1 :0"),
            ("HEXPIRE h 200 gt FIELDS 1 a", "*1 :1"),
            ("HEXPIRE h 200 GT FIELDS 1 a", "*1 :0"),
            ("HEXPIRE h 200 LT FIELDS 1 a", "*1 :0"),
            ("HEXPIRE h 100 LT FIELDS 2 a b", "*2 :1 :1"),
            ("HEXPIRE h 300 XX FIELDS 2 a a", "*2 :1 :1"),
            ("HTTL h FIELDS 2 a b", "*2 :300 :100"),
            ("HEXPIRE no 100 FIELDS 2 a b", "*2 :-2 :-2"),
        ]);
    }

    #[test]
    fn a_time_that_has_passed_deletes() {
        script(&[
            ("HSET h a 1 b 2 c 3", ":3"),
            ("HEXPIRE h 0 GT FIELDS 1 a", "*1 :0"),
            ("HEXPIRE h 0 FIELDS 3 a x a", "*3 :2 :-2 :-2"),
            ("HPEXPIREAT h 1 FIELDS 2 b c", "*2 :2 :2"),
            ("EXISTS h", ":0"),
        ]);
    }

    /// In the order of Redis 8.2: soonest first, of two with one time the later set first, then those without.
    #[test]
    fn order_in_a_small_hash() {
        script(&[
            ("HSET h a 1 b 2 c 3 d 4 e 5", ":5"),
            ("HEXPIRE h 100 FIELDS 2 d b", "*2 :1 :1"),
            ("OBJECT ENCODING h", "$10 listpackex"),
            ("HKEYS h", "*5 $1 b $1 d $1 a $1 c $1 e"),
            ("HEXPIRE h 200 FIELDS 4 e d c b", "*4 :1 :1 :1 :1"),
            ("HKEYS h", "*5 $1 b $1 c $1 d $1 e $1 a"),
            ("HSET h d 9", ":0"),
            ("HKEYS h", "*5 $1 b $1 c $1 e $1 a $1 d"),
            ("HEXPIRE h 50 FIELDS 1 a", "*1 :1"),
            ("HSET h a 9", ":0"),
            ("HPERSIST h FIELDS 3 b c e", "*3 :1 :1 :1"),
            ("HKEYS h", "*5 $1 d $1 a $1 b $1 c $1 e"),
            ("OBJECT ENCODING h", "$10 listpackex"),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        let range = |command: &str| format!("-ERR invalid expire time in '{command}' command");
        let fields = "-ERR Mandatory argument FIELDS is missing or not at the right position";
        let count = "-ERR Parameter `numFields` should be greater than 0";
        let differs = "-ERR The `numfields` parameter must match the number of arguments";
        script(&[
            ("HEXPIRE h x FOO 1 a", "-ERR value is not an integer or out of range"),
            ("HEXPIRE h -1 FOO 1 a", "-ERR invalid expire time, must be >= 0"),
            ("HEXPIRE h 9223372036854775807 FOO 1 a", &range("hexpire")),
            ("HPEXPIREAT h 70368744177664 FIELDS 1 a", &range("hpexpireat")),
            ("HPEXPIREAT h 70368744177663 FIELDS 1 a", "*1 :-2"),
            ("HEXPIREAT h 70368744178 FIELDS 1 a", &range("hexpireat")),
            ("HPEXPIRE h 68668744177664 FIELDS 1 a", &range("hpexpire")),
            ("HPEXPIRE h 68668744177663 FIELDS 1 a", "*1 :-2"),
            ("HEXPIRE h 1 FOO 1 a", fields),
            ("HEXPIRE h 1 NX XX FIELDS 1 a", fields),
            ("HEXPIRE h 1 FIELDS 0 a", count),
            ("HEXPIRE h 1 FIELDS x a", count),
            ("HEXPIRE h 1 FIELDS 2 a", differs),
            ("HEXPIRE h 1 FIELDS 1 a NX", differs),
            ("SET s x", "+OK"),
            ("HEXPIRE s x FOO 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }

    #[test]
    fn the_expiry_goes_where_the_hash_goes() {
        for entries_max in [512, 0] {
            let mut rig = Rig::new();
            rig.run(&format!("CONFIG SET hash-max-listpack-entries {entries_max}"));
            rig.script(&[
                ("HSET h a 1 b 2", ":2"),
                ("HPEXPIRE h 100 FIELDS 1 a", "*1 :1"),
                ("COPY h copy", ":1"),
                ("RENAME h renamed", "+OK"),
                ("MOVE copy 3", ":1"),
                ("SWAPDB 3 4", "+OK"),
                ("PERSIST renamed", ":0"),
                ("EXPIRE renamed 1000", ":1"),
                ("PERSIST renamed", ":1"),
            ]);
            rig.now.0 += 101;
            rig.script(&[("HGETALL renamed", "*2 $1 b $1 2"), ("SELECT 4", "+OK"), ("HGETALL copy", "*2 $1 b $1 2")]);
        }
    }
}

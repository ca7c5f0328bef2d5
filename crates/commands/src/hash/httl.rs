//! `HTTL`, `HPTTL`, `HEXPIRETIME`, `HPEXPIRETIME`.

use keyspace::{Hash, Millis};

use super::options::{NOT_POSITIVE, fields};
use super::seen_from;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const HTTL: Spec = Spec {
    name: "httl",
    arity: -5,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Returns for how many seconds fields of a hash still live.",
    complexity: "O(N), N being the number of fields named",
    tips: &["nondeterministic_output"],
    args: &[
        Arg::key("key", 0),
        Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).token("FIELDS"),
    ],
    run: Some(httl),
    ..Spec::NEW
};

pub const HPTTL: Spec = Spec {
    name: "hpttl",
    arity: -5,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Returns for how many milliseconds fields of a hash still live.",
    complexity: "O(N), N being the number of fields named",
    tips: &["nondeterministic_output"],
    args: &[
        Arg::key("key", 0),
        Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).token("FIELDS"),
    ],
    run: Some(hpttl),
    ..Spec::NEW
};

pub const HEXPIRETIME: Spec = Spec {
    name: "hexpiretime",
    arity: -5,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Returns the Unix times in seconds at which fields of a hash expire.",
    complexity: "O(N), N being the number of fields named",
    args: &[
        Arg::key("key", 0),
        Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).token("FIELDS"),
    ],
    run: Some(hexpiretime),
    ..Spec::NEW
};

pub const HPEXPIRETIME: Spec = Spec {
    name: "hpexpiretime",
    arity: -5,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Returns the Unix times in milliseconds at which fields of a hash expire.",
    complexity: "O(N), N being the number of fields named",
    args: &[
        Arg::key("key", 0),
        Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).token("FIELDS"),
    ],
    run: Some(hpexpiretime),
    ..Spec::NEW
};

const NO_FIELD: i64 = -2;
const NO_EXPIRY: i64 = -1;

fn httl(cx: &mut Ctx<'_>) -> Outcome {
    times(cx, |at, now| (at.0 - now.0 + 999) / 1000)
}

fn hpttl(cx: &mut Ctx<'_>) -> Outcome {
    times(cx, |at, now| at.0 - now.0)
}

fn hexpiretime(cx: &mut Ctx<'_>) -> Outcome {
    times(cx, |at, _| (at.0 + 999) / 1000)
}

fn hpexpiretime(cx: &mut Ctx<'_>) -> Outcome {
    times(cx, |at, _| at.0)
}

fn times(cx: &mut Ctx<'_>, shown: fn(at: Millis, now: Millis) -> i64) -> Outcome {
    let (args, seen, now) = (cx.args, seen_from(&cx.db), cx.db.now);
    let hash = cx.db.read_as::<Hash>(cx.keys[0])?;
    let names = fields(&args[2..], NOT_POSITIVE)?;
    cx.reply.array(names.len());
    for name in names {
        let field = hash.as_ref().and_then(|hash| hash.field(name, seen));
        cx.reply.int(match field.map(|field| field.expire_at) {
            None => NO_FIELD,
            Some(None) => NO_EXPIRY,
            // It lives to the end of this millisecond, but Redis says that it is gone.
            Some(Some(at)) if at == now => NO_FIELD,
            Some(Some(at)) => shown(at, now),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn times() {
        script(&[
            ("HSET h a 1 b 2", ":2"),
            ("HPEXPIREAT h 1700000001500 FIELDS 1 a", "*1 :1"),
            ("HTTL h FIELDS 3 a b c", "*3 :2 :-1 :-2"),
            ("HPTTL h FIELDS 3 a b c", "*3 :1500 :-1 :-2"),
            ("HEXPIRETIME h FIELDS 2 a b", "*2 :1700000002 :-1"),
            ("HPEXPIRETIME h FIELDS 1 a", "*1 :1700000001500"),
            ("HTTL no FIELDS 2 a b", "*2 :-2 :-2"),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        script(&[
            ("HTTL h FIELDS 0", "-ERR wrong number of arguments for 'httl' command"),
            ("HTTL h FOO 1 a", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
            ("HTTL h FIELDS 0 a", "-ERR Number of fields must be a positive integer"),
            ("HTTL h FIELDS x a", "-ERR Number of fields must be a positive integer"),
            ("HTTL h FIELDS 2 a", "-ERR The `numfields` parameter must match the number of arguments"),
            ("HTTL h FIELDS 1 a b", "-ERR The `numfields` parameter must match the number of arguments"),
            ("SET s x", "+OK"),
            ("HTTL s FOO 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

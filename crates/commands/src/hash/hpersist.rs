//! `HPERSIST`.

use keyspace::Hash;

use super::options::{NOT_POSITIVE, fields};
use super::seen_from;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hpersist",
    arity: -5,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Takes the expiry away from fields of a hash.",
    complexity: "O(N), N being the number of fields named",
    args: &[
        Arg::key("key", 0),
        Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).token("FIELDS"),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (key, args, now) = (cx.keys[0], cx.args, seen_from(&cx.db));
    let mut persisted = 0;
    let mut hash = cx.db.write_as::<Hash>(key)?;
    let names = fields(&args[2..], NOT_POSITIVE)?;
    cx.reply.array(names.len());
    for name in names {
        let expiry = hash.as_ref().and_then(|hash| hash.field(name, now)).map(|field| field.expire_at);
        cx.reply.int(match (expiry, &mut hash) {
            (Some(Some(_)), Some(hash)) => {
                hash.set_expiry(name, None);
                persisted += 1;
                1
            }
            (Some(_), _) => -1,
            (None, _) => -2,
        });
    }
    drop(hash);
    if persisted > 0 {
        cx.db.changed(1);
        cx.db.notify(EventClass::HASH, "hpersist", key.bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn fields_with_and_without_an_expiry() {
        script(&[
            ("HSET h a 1 b 2", ":2"),
            ("HEXPIRE h 100 FIELDS 1 a", "*1 :1"),
            ("HPERSIST h FIELDS 3 a b c", "*3 :1 :-1 :-2"),
            ("HPERSIST h FIELDS 1 a", "*1 :-1"),
            ("HTTL h FIELDS 1 a", "*1 :-1"),
            ("HPERSIST no FIELDS 1 a", "*1 :-2"),
            ("HPERSIST h FIELDS x a", "-ERR Number of fields must be a positive integer"),
            ("HPERSIST no FIELDS 2 a", "-ERR The `numfields` parameter must match the number of arguments"),
            ("HPERSIST h FOO 1 a", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
            ("SET s x", "+OK"),
            ("HPERSIST s FOO 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

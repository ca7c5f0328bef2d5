//! `HGETEX`.

use keyspace::Millis;

use super::hexpire::deleted;
use super::options::{Form, NOT_POSITIVE, fields};
use super::{put_or_null, seen_from};
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hgetex",
    arity: -5,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE), 1)
        .notes("RW and UPDATE because it changes the TTL")],
    group: Group::Hash,
    since: "8.0.0",
    summary: "Returns fields of a hash and sets or removes their expiry.",
    complexity: "O(N), N being the number of fields named",
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
        Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).token("FIELDS"),
    ],
    run: Some(run),
    ..Spec::NEW
};

/// What happens to the expiry of the fields that are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Keep,
    Persist,
    At(Millis),
}

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (key, args, now, seen) = (cx.keys[0], cx.args, cx.db.now, seen_from(&cx.db));
    // One option at most, and before FIELDS.
    let (wish, fields_at) = match Form::of(args[2]) {
        Some(form) => (form.read(args[3], now, "hgetex").map(Wish::At), 4),
        None if args[2].eq_ignore_ascii_case(b"PERSIST") => (Ok(Wish::Persist), 3),
        None => (Ok(Wish::Keep), 2),
    };
    let names = fields(&args[fields_at..], NOT_POSITIVE);
    // The type of the key comes before mistakes in the arguments.
    let mut hash = cx.db.write_hash(key, names.iter().copied().flatten().copied())?;
    let (wish, names) = (wish?, names?);
    if let (true, Some(hash)) = (wish != Wish::Keep, &mut hash) {
        hash.prepare_expiry();
    }
    let mut changed: Vec<&[u8]> = Vec::new();
    cx.reply.array(names.len());
    for &name in names {
        let field = hash.as_ref().and_then(|hash| hash.field(name, seen));
        put_or_null(cx.reply, field.map(|field| field.value));
        let old = field.map(|field| field.expire_at);
        let (Some(old), Some(hash)) = (old, &mut hash) else { continue };
        match wish {
            Wish::At(at) if at <= now => hash.remove(name),
            Wish::At(at) => hash.set_expiry(name, Some(at)),
            Wish::Persist if old.is_some() => hash.set_expiry(name, None),
            Wish::Persist | Wish::Keep => continue,
        };
        changed.push(name);
    }
    drop(hash);
    if changed.is_empty() {
        return Ok(());
    }
    cx.db.changed(changed.len() as u64);
    match wish {
        Wish::At(at) if at <= now => deleted(&mut cx.db, key, &changed),
        Wish::At(at) => {
            cx.db.notify(EventClass::HASH, "hexpire", key.bytes());
            let at = at.0.to_string();
            instead(cx, &[b"HPEXPIREAT", key.bytes(), at.as_bytes()], fields_at);
        }
        Wish::Persist | Wish::Keep => {
            cx.db.notify(EventClass::HASH, "hpersist", key.bytes());
            instead(cx, &[b"HPERSIST", key.bytes()], fields_at);
        }
    }
    Ok(())
}

/// The effect is this command with the arguments from FIELDS on.
fn instead(cx: &mut Ctx<'_>, command: &[&[u8]], fields_at: usize) {
    if cx.db.effects.wanted() {
        cx.db.effects.instead(&[command, &cx.args[fields_at..]].concat());
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn expiries() {
        script(&[
            ("HSET h a 1 b 2", ":2"),
            ("HGETEX h FIELDS 2 a x", "*2 $1 1 $-1"),
            ("HTTL h FIELDS 1 a", "*1 :-1"),
            ("HGETEX h EX 100 FIELDS 2 a x", "*2 $1 1 $-1"),
            ("HTTL h FIELDS 1 a", "*1 :100"),
            ("HGETEX h px 5000 FIELDS 1 a", "*1 $1 1"),
            ("HPTTL h FIELDS 1 a", "*1 :5000"),
            ("HGETEX h EXAT 1800000000 FIELDS 1 a", "*1 $1 1"),
            ("HGETEX h FIELDS 1 a", "*1 $1 1"),
            ("HEXPIRETIME h FIELDS 1 a", "*1 :1800000000"),
            ("HGETEX h PERSIST FIELDS 2 a b", "*2 $1 1 $1 2"),
            ("HTTL h FIELDS 1 a", "*1 :-1"),
            ("HGETEX h PXAT 1 FIELDS 2 a a", "*2 $1 1 $-1"),
            ("HGETEX h EX 0 FIELDS 1 b", "*1 $1 2"),
            ("EXISTS h", ":0"),
            ("HGETEX h EX 10 FIELDS 2 a b", "*2 $-1 $-1"),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        let fields = "-ERR Mandatory argument FIELDS is missing or not at the right position";
        script(&[
            ("HGETEX h EX x FOO 1 a", "-ERR value is not an integer or out of range"),
            ("HGETEX h EX -1 FOO 1 a", "-ERR invalid expire time, must be >= 0"),
            ("HGETEX h PXAT 70368744177664 FOO 1 a", "-ERR invalid expire time in 'hgetex' command"),
            ("HGETEX h EX 10 FOO 1 a", fields),
            ("HGETEX h EX 10 PERSIST FIELDS 1 a", fields),
            ("HGETEX h EX 10 EX 10 FIELDS 1 a", fields),
            ("HGETEX h PERSIST PERSIST FIELDS 1 a", fields),
            ("HGETEX h KEEPTTL FIELDS 1 a", fields),
            ("HGETEX h EX 100 FIELDS", "-ERR wrong number of arguments for 'hgetex' command"),
            ("HGETEX h EX 100 FOO", "-ERR wrong number of arguments for 'hgetex' command"),
            ("HGETEX h FIELDS 0 a", "-ERR Number of fields must be a positive integer"),
            ("HGETEX h FIELDS 2 a", "-ERR The `numfields` parameter must match the number of arguments"),
            ("HGETEX h FIELDS 1 a EX 10", "-ERR The `numfields` parameter must match the number of arguments"),
            ("HGETEX h EX 10 FIELDS 1", "-ERR The `numfields` parameter must match the number of arguments"),
            ("SET s x", "+OK"),
            ("HGETEX s EX x FOO 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

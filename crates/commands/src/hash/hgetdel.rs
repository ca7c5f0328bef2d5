//! `HGETDEL`.

use super::options::{NOT_POSITIVE, fields};
use super::{put_or_null, seen_from};
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hgetdel",
    arity: -5,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE), 1)],
    group: Group::Hash,
    since: "8.0.0",
    summary: "Returns fields of a hash and takes them out of it.",
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
    // The type of the key comes before mistakes in the arguments.
    let names = fields(&args[2..], NOT_POSITIVE);
    let mut hash = cx.db.write_hash(key, names.iter().copied().flatten().copied())?;
    let names = names?;
    let mut removed = 0;
    cx.reply.array(names.len());
    for name in names {
        put_or_null(cx.reply, hash.as_ref().and_then(|hash| hash.value(name, now)));
        removed += u64::from(hash.as_mut().is_some_and(|hash| hash.remove(name)));
    }
    drop(hash);
    if removed > 0 {
        cx.db.changed(removed);
        if cx.db.effects.wanted() {
            let mut effect: Vec<&[u8]> = vec![b"HDEL", key.bytes()];
            effect.extend_from_slice(names);
            cx.db.effects.instead(&effect);
        }
        cx.db.notify(EventClass::HASH, "hdel", key.bytes());
        cx.db.remove_if_empty(key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn taken_out_and_shown() {
        script(&[
            ("HSET h a 1 b 2 c 3", ":3"),
            ("HGETDEL h FIELDS 3 a x a", "*3 $1 1 $-1 $-1"),
            ("HGETDEL no FIELDS 1 a", "*1 $-1"),
            ("HGETDEL h FIELDS 2 b c", "*2 $1 2 $1 3"),
            ("EXISTS h", ":0"),
            ("HGETDEL h FIELDS 0 a", "-ERR Number of fields must be a positive integer"),
            ("HGETDEL h FIELDS 2 a", "-ERR The `numfields` parameter must match the number of arguments"),
            ("HGETDEL h FOO 1 a", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
            ("SET s x", "+OK"),
            ("HGETDEL s FOO 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

//! `HSET`, and `HMSET`, which replies with OK instead of a number.

use keyspace::{Expiry, Hash};

use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const HSET: Spec = Spec {
    name: "hset",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Sets fields of a hash, which is created where it is missing.",
    complexity: "O(N), N being the number of fields given",
    history: &[("4.0.0", "More than one field with its value.")],
    args: &[Arg::key("key", 0), Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple()],
    element_arg: 2,
    run: Some(hset),
    ..Spec::NEW
};

pub const HMSET: Spec = Spec {
    name: "hmset",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Sets fields of a hash.",
    complexity: "O(N), N being the number of fields given",
    doc_flags: &["deprecated"],
    deprecated_since: Some("4.0.0"),
    replaced_by: Some("`HSET` with multiple field-value pairs"),
    args: &[Arg::key("key", 0), Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple()],
    element_arg: 2,
    run: Some(hmset),
    ..Spec::NEW
};

fn hset(cx: &mut Ctx<'_>) -> Outcome {
    let new = set_all(cx, "hset")?;
    cx.reply.count(new);
    Ok(())
}

fn hmset(cx: &mut Ctx<'_>) -> Outcome {
    set_all(cx, "hmset")?;
    cx.reply.ok();
    Ok(())
}

/// Returns how many fields are new.
fn set_all(cx: &mut Ctx<'_>, command: &'static str) -> Result<usize, Stop> {
    if !cx.args.len().is_multiple_of(2) {
        return Err(Stop::Error(Error::Arity(command.into())));
    }
    let (key, limits, pairs) = (cx.keys[0], cx.global().settings.hash, &cx.args[2..]);
    let mut hash = cx.db.write_or_create::<Hash>(key)?;
    hash.prepare(pairs.len() / 2, &limits);
    let mut new = 0;
    for pair in pairs.chunks_exact(2) {
        new += usize::from(hash.set(pair[0], pair[1], Expiry::Clear, &limits));
    }
    drop(hash);
    cx.db.changed(pairs.len() as u64 / 2);
    cx.db.notify(EventClass::HASH, "hset", key.bytes());
    Ok(new)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn new_and_known_fields() {
        script(&[
            ("HSET h a 1 b 2", ":2"),
            ("HSET h a 3 c 4 c 5", ":1"),
            ("HGETALL h", "*6 $1 a $1 3 $1 b $1 2 $1 c $1 5"),
            ("HMSET h a 6 d 7", "+OK"),
            ("HMGET h a d e", "*3 $1 6 $1 7 $-1"),
            ("HSET h \"\" \"\"", ":1"),
            ("HGET h \"\"", "$0"),
            ("HSET h a", "-ERR wrong number of arguments for 'hset' command"),
            ("HSET h a 1 b", "-ERR wrong number of arguments for 'hset' command"),
            ("HMSET h a 1 b", "-ERR wrong number of arguments for 'hmset' command"),
            ("SET s x", "+OK"),
            ("HSET s a", "-ERR wrong number of arguments for 'hset' command"),
            ("HSET s a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("HGET s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }

    /// As observed of Redis 8.2: the number of pairs counts, not of fields; and what has become a table stays one.
    #[test]
    fn encodings() {
        script(&[
            ("CONFIG SET hash-max-listpack-entries 2 hash-max-ziplist-value 5", "+OK"),
            ("HSET a x 1 y 2", ":2"),
            ("OBJECT ENCODING a", "$8 listpack"),
            ("HSET a x 12345", ":0"),
            ("OBJECT ENCODING a", "$8 listpack"),
            ("HSET a z 1", ":1"),
            ("OBJECT ENCODING a", "$9 hashtable"),
            ("HDEL a y z", ":2"),
            ("OBJECT ENCODING a", "$9 hashtable"),
            ("HSET b x 1 x 2 x 3", ":1"),
            ("OBJECT ENCODING b", "$9 hashtable"),
            ("HSET c x 123456", ":1"),
            ("OBJECT ENCODING c", "$9 hashtable"),
            ("HSET d longer 1", ":1"),
            ("OBJECT ENCODING d", "$9 hashtable"),
            ("HINCRBY e n 99999", ":99999"),
            ("OBJECT ENCODING e", "$8 listpack"),
            ("HINCRBY e n 1", ":100000"),
            ("OBJECT ENCODING e", "$9 hashtable"),
        ]);
    }

    #[test]
    fn a_table_holds_what_the_listpack_did() {
        let mut rig = Rig::new();
        for number in 0..2000 {
            assert_eq!(rig.run(&format!("HSET h field:{number} {number}")), ":1");
        }
        assert_eq!(rig.run("OBJECT ENCODING h"), "$9 hashtable");
        for number in 0..2000 {
            assert_eq!(rig.run(&format!("HGET h field:{number}")), format!("${} {number}", number.to_string().len()));
        }
        assert_eq!(rig.run("HLEN h"), ":2000");
    }
}

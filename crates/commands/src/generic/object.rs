//! `OBJECT` and its subcommands.

use crate::context::{Ctx, Outcome};
use crate::db::access;
use crate::error::Error;
use crate::help;
use crate::spec::{Acl, Arg, Flags, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "object",
    arity: -2,
    acl: Acl::SLOW,
    since: "2.2.3",
    summary: "Groups the commands that look at how a value is kept.",
    complexity: "Depends on the subcommand.",
    subcommands: &[ENCODING, FREQ, HELP, IDLETIME, REFCOUNT],
    ..Spec::NEW
};

pub const ENCODING: Spec = Spec {
    name: "encoding",
    arity: 3,
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO, 2)],
    since: "2.2.3",
    summary: "Returns the internal encoding of a value.",
    tips: &["nondeterministic_output"],
    args: &[Arg::key("key", 0)],
    run: Some(encoding),
    ..Spec::NEW
};

pub const FREQ: Spec = Spec {
    name: "freq",
    arity: 3,
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO, 2)],
    since: "4.0.0",
    summary: "Returns the logarithmic access counter of a key (LFU).",
    tips: &["nondeterministic_output"],
    args: &[Arg::key("key", 0)],
    run: Some(freq),
    ..Spec::NEW
};

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::KEYSPACE.union(Acl::SLOW),
    since: "6.2.0",
    summary: "Describes the subcommands of OBJECT.",
    run: Some(help::run),
    ..Spec::NEW
};

pub const IDLETIME: Spec = Spec {
    name: "idletime",
    arity: 3,
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO, 2)],
    since: "2.2.3",
    summary: "Returns the seconds since a key was last accessed (LRU).",
    tips: &["nondeterministic_output"],
    args: &[Arg::key("key", 0)],
    run: Some(idletime),
    ..Spec::NEW
};

pub const REFCOUNT: Spec = Spec {
    name: "refcount",
    arity: 3,
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO, 2)],
    since: "2.2.3",
    summary: "Returns how many references share a value.",
    tips: &["nondeterministic_output"],
    args: &[Arg::key("key", 0)],
    run: Some(refcount),
    ..Spec::NEW
};

fn encoding(cx: &mut Ctx<'_>) -> Outcome {
    match cx.db.inspect(cx.keys[0]) {
        None => cx.reply.null(),
        Some(entry) => cx.reply.bulk(entry.value().encoding_name()),
    }
    Ok(())
}

fn freq(cx: &mut Ctx<'_>) -> Outcome {
    let (now, lfu) = (cx.db.now, cx.db.manners.lfu);
    let Some(entry) = cx.db.inspect(cx.keys[0]) else {
        cx.reply.null();
        return Ok(());
    };
    let Some(lfu) = lfu else {
        return Err(Error::text(concat!(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between ",
            "policies at runtime LRU and LFU data will take some time to adjust."
        ))
        .into());
    };
    cx.reply.int(access::lfu_counter(entry.access_bits(), &lfu, now).into());
    Ok(())
}

fn idletime(cx: &mut Ctx<'_>) -> Outcome {
    let (now, lfu) = (cx.db.now, cx.db.manners.lfu);
    let Some(entry) = cx.db.inspect(cx.keys[0]) else {
        cx.reply.null();
        return Ok(());
    };
    if lfu.is_some() {
        return Err(Error::text(concat!(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at ",
            "runtime LRU and LFU data will take some time to adjust."
        ))
        .into());
    }
    cx.reply.int(access::idle_ms(entry.access_bits(), now) / 1000);
    Ok(())
}

/// Every key has its value for itself: there are no shared integers here, and Redis 8.2 does not show its own any more.
fn refcount(cx: &mut Ctx<'_>) -> Outcome {
    match cx.db.inspect(cx.keys[0]) {
        None => cx.reply.null(),
        Some(_) => cx.reply.int(1),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn encodings_and_references() {
        script(&[
            ("SET a 5", "+OK"),
            ("SET b hello", "+OK"),
            ("SET c 012345678901234567890123456789012345678901234", "+OK"),
            ("OBJECT ENCODING a", "$3 int"),
            ("OBJECT ENCODING b", "$6 embstr"),
            ("OBJECT ENCODING c", "$3 raw"),
            ("OBJECT ENCODING zz", "$-1"),
            ("OBJECT REFCOUNT a", ":1"),
            ("OBJECT REFCOUNT zz", "$-1"),
        ]);
    }

    #[test]
    fn idle_time_is_that_since_the_last_access() {
        let mut rig = Rig::new();
        rig.script(&[
            ("SET a 1", "+OK"),
            ("OBJECT IDLETIME a", ":0"),
            ("OBJECT IDLETIME zz", "$-1"),
            ("OBJECT FREQ zz", "$-1"),
        ]);
        rig.now.0 += 10_000;
        rig.script(&[
            ("TYPE a", "+string"),
            ("OBJECT IDLETIME a", ":10"),
            ("TOUCH a", ":1"),
            ("OBJECT IDLETIME a", ":0"),
        ]);
        assert!(rig.run("OBJECT FREQ a").starts_with("-ERR An LFU maxmemory policy is not selected, "));
    }
}

//! `MSET` and `MSETNX`.

use keyspace::Expiry;

use super::new_value;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const MSET: Spec = Spec {
    name: "mset",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::SLOW),
    keys: &[KeySpec::range(KeyFlags::OW.union(KeyFlags::UPDATE), 1, -1, 2)],
    group: Group::String,
    since: "1.0.1",
    summary: "Sets several keys.",
    complexity: "O(N), N being the number of keys",
    tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
    args: &[Arg::block("data", &[Arg::key("key", 0), Arg::string("value")]).multiple()],
    run: Some(mset),
    ..Spec::NEW
};

pub const MSETNX: Spec = Spec {
    name: "msetnx",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::SLOW),
    keys: &[KeySpec::range(KeyFlags::OW.union(KeyFlags::INSERT), 1, -1, 2)],
    group: Group::String,
    since: "1.0.1",
    summary: "Sets several keys if none of them exists.",
    complexity: "O(N), N being the number of keys",
    args: &[Arg::block("data", &[Arg::key("key", 0), Arg::string("value")]).multiple()],
    run: Some(msetnx),
    ..Spec::NEW
};

fn mset(cx: &mut Ctx<'_>) -> Outcome {
    check_pairs(cx)?;
    set_all(cx, Expiry::Clear, 2);
    cx.reply.ok();
    Ok(())
}

fn msetnx(cx: &mut Ctx<'_>) -> Outcome {
    check_pairs(cx)?;
    let absent = cx.keys.iter().all(|&key| cx.db.glance(key).is_none());
    if absent {
        set_all(cx, Expiry::Clear, 2);
    }
    cx.reply.int(i64::from(absent));
    Ok(())
}

fn check_pairs(cx: &Ctx<'_>) -> Result<(), Error> {
    if cx.args.len() % 2 == 1 { Ok(()) } else { Err(Error::Arity(cx.command.spec.name.into())) }
}

/// Sets all declared keys to the arguments behind them, of which the first stands at `first_value`.
pub(super) fn set_all(cx: &mut Ctx<'_>, expiry: Expiry, first_value: usize) {
    for (nth, &key) in cx.keys.iter().enumerate() {
        cx.db.set(key, new_value(cx, first_value + 2 * nth), expiry);
        cx.db.notify(EventClass::STRING, "set", key.bytes());
        if matches!(expiry, Expiry::At(_)) {
            cx.db.notify(EventClass::GENERIC, "expire", key.bytes());
        }
    }
    cx.db.changed(cx.keys.len() as u64);
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn the_last_of_equals_stays() {
        script(&[
            ("MSET a 1 b 2 a 3", "+OK"),
            ("MGET a b", "*2 $1 3 $1 2"),
            ("SET a 1 EX 100", "+OK"),
            ("MSET a 2", "+OK"),
            ("TTL a", ":-1"),
            ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
            ("MSET a", "-ERR wrong number of arguments for 'mset' command"),
        ]);
    }

    #[test]
    fn all_or_none() {
        script(&[
            ("MSETNX a 1 b 2", ":1"),
            ("MSETNX c 1 a 2", ":0"),
            ("EXISTS c", ":0"),
            ("MSETNX c 1 c 2", ":1"),
            ("GET c", "$1 2"),
            ("MSETNX d 1 e", "-ERR wrong number of arguments for 'msetnx' command"),
        ]);
    }
}

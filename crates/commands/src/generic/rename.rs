//! `RENAME` and `RENAMENX`.

use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, KeyFlags, KeySpec, Spec};

pub const RENAME: Spec = Spec {
    name: "rename",
    arity: 3,
    flags: Flags::WRITE,
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE), 1),
        KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 2),
    ],
    summary: "Gives a key another name, over a key that has it.",
    args: &[Arg::key("key", 0), Arg::key("newkey", 1)],
    run: Some(rename),
    ..Spec::NEW
};

pub const RENAMENX: Spec = Spec {
    name: "renamenx",
    arity: 3,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::FAST),
    keys: &[
        KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE), 1),
        KeySpec::one(KeyFlags::OW.union(KeyFlags::INSERT), 2),
    ],
    summary: "Gives a key another name, unless a key has it.",
    history: &[("3.2.0", "Equal names are no error any more.")],
    args: &[Arg::key("key", 0), Arg::key("newkey", 1)],
    run: Some(renamenx),
    ..Spec::NEW
};

fn rename(cx: &mut Ctx<'_>) -> Outcome {
    give_name(cx, true)?;
    cx.reply.ok();
    Ok(())
}

fn renamenx(cx: &mut Ctx<'_>) -> Outcome {
    let renamed = give_name(cx, false)?;
    cx.reply.int(i64::from(renamed));
    Ok(())
}

/// Says whether the key has moved. A key that already has the name stays as it is, whatever the command.
fn give_name(cx: &mut Ctx<'_>, replace: bool) -> Result<bool, Error> {
    let [key, name] = [cx.keys[0], cx.keys[1]];
    if cx.db.glance(key).is_none() {
        return Err(Error::NoSuchKey);
    }
    if key.bytes() == name.bytes() {
        return Ok(false);
    }
    let replaced = cx.db.glance(name).map(|entry| entry.value().type_name());
    if replaced.is_some() && !replace {
        return Ok(false);
    }
    let value = cx.db.take(key).expect("it was there, and this access is exclusive");
    let index = cx.db.index;
    cx.db.put(index, name, value);
    cx.db.notify(EventClass::GENERIC, "rename_from", key.bytes());
    cx.db.notify(EventClass::GENERIC, "rename_to", name.bytes());
    if let Some(type_before) = replaced {
        cx.db.notify_replaced(name, type_before);
    }
    cx.db.changed(1);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn a_name_is_taken_over_with_the_expiry() {
        script(&[
            ("RENAME zz zz", "-ERR no such key"),
            ("RENAMENX zz b", "-ERR no such key"),
            ("SET a 1 EX 100", "+OK"),
            ("SET b 2", "+OK"),
            ("RENAME a a", "+OK"),
            ("RENAMENX a a", ":0"),
            ("RENAMENX a b", ":0"),
            ("RENAME a b", "+OK"),
            ("TTL b", ":100"),
            ("GET b", "$1 1"),
            ("EXISTS a", ":0"),
            ("RENAMENX b c", ":1"),
            ("GET c", "$1 1"),
        ]);
    }
}

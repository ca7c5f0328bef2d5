//! `COPY`.

use std::sync::Arc;

use keyspace::{DbIndex, Expiry, Key, NewValue, Object, ValueRef};

use crate::connection::select::database;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::{Error, Stop};
use crate::generic::SAME_OBJECT;
use crate::spec::{Acl, Arg, Flags, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "copy",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1),
        KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 2),
    ],
    since: "6.2.0",
    summary: "Copies the value of a key to another key.",
    complexity: "O(N) for a collection of N elements, O(1) for a string",
    args: &[
        Arg::key("source", 0),
        Arg::key("destination", 1),
        Arg::integer("destination-db").token("DB").optional(),
        Arg::word("replace", "REPLACE").optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let Options { target, replace } = Options::parse(cx)?;
    let [source, destination] = [cx.keys[0], cx.keys[1]];
    if source.bytes() == destination.bytes() && target == cx.db.index {
        return cx.fail(SAME_OBJECT);
    }
    let copied = copy(cx, source, destination, target, replace)?;
    cx.db.changed(u64::from(copied));
    cx.reply.int(i64::from(copied));
    Ok(())
}

fn copy(cx: &mut Ctx<'_>, source: Key<'_>, destination: Key<'_>, target: DbIndex, replace: bool) -> Result<bool, Stop> {
    let Some(entry) = cx.db.read(source) else {
        return Ok(false);
    };
    let expiry = entry.expire_at().map_or(Expiry::Clear, Expiry::At);
    let value = match entry.value() {
        ValueRef::Str(text) => Owned::of(text.to_new_value()),
        ValueRef::Object(object) => Owned::Object(object.duplicate()),
    };
    // The shard of a key is the same in every database, so this access reaches the destination there too.
    let selected = cx.db.select(target);
    let replaced = cx.db.glance(destination).map(|entry| entry.value().type_name());
    let free = replace || replaced.is_none();
    if free {
        // What stood there goes first: the copy is new, and told so.
        cx.db.remove(destination);
        value.give(|value| {
            cx.db.set(destination, value, expiry);
        });
        cx.db.notify(EventClass::GENERIC, "copy_to", destination.bytes());
        if let Some(type_before) = replaced {
            cx.db.notify_replaced(destination, type_before);
        }
    }
    cx.db.select(selected);
    Ok(free)
}

/// A value on its way from one key to another: nothing of the table can stay borrowed while the table is changed.
enum Owned {
    Int(i64),
    Bytes(Vec<u8>),
    Text(Vec<u8>),
    Raw(Vec<u8>),
    /// Shared by both keys until one of them is changed.
    Large(Arc<Vec<u8>>),
    Object(Object),
}

impl Owned {
    fn of(value: NewValue<'_>) -> Owned {
        match value {
            NewValue::Int(number) => Owned::Int(number),
            NewValue::Bytes(bytes) => Owned::Bytes(bytes.to_vec()),
            NewValue::Text(bytes) => Owned::Text(bytes.to_vec()),
            NewValue::Raw(bytes) => Owned::Raw(bytes.to_vec()),
            NewValue::Large(text) => Owned::Large(text),
            NewValue::Object(object) => Owned::Object(object),
        }
    }

    fn give(self, take: impl FnOnce(NewValue<'_>)) {
        match self {
            Owned::Int(number) => take(NewValue::Int(number)),
            Owned::Bytes(bytes) => take(NewValue::Bytes(&bytes)),
            Owned::Text(bytes) => take(NewValue::Text(&bytes)),
            Owned::Raw(bytes) => take(NewValue::Raw(&bytes)),
            Owned::Large(text) => take(NewValue::Large(text)),
            Owned::Object(object) => take(NewValue::Object(object)),
        }
    }
}

struct Options {
    target: DbIndex,
    replace: bool,
}

impl Options {
    /// Word by word: a bad database number is reported before a bad word behind it.
    fn parse(cx: &Ctx<'_>) -> Result<Options, Stop> {
        let mut options = Options { target: cx.db.index, replace: false };
        let mut at = 3;
        while at < cx.args.len() {
            if cx.word(at, "REPLACE") {
                options.replace = true;
            } else if cx.word(at, "DB") && at + 1 < cx.args.len() {
                at += 1;
                options.target = database(cx, at)?;
            } else {
                return Err(Error::Syntax.into());
            }
            at += 1;
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn to_a_free_name_or_over_another() {
        script(&[
            ("SET a 1 EX 100", "+OK"),
            ("COPY a b", ":1"),
            ("TTL b", ":100"),
            ("OBJECT ENCODING b", "$3 int"),
            ("COPY a b", ":0"),
            ("SET a hello", "+OK"),
            ("COPY a b REPLACE", ":1"),
            ("GET b", "$5 hello"),
            ("TTL b", ":-1"),
            ("APPEND a !", ":6"),
            ("COPY a b replace", ":1"),
            ("OBJECT ENCODING b", "$3 raw"),
            ("GET a", "$6 hello!"),
            ("COPY zz y", ":0"),
            ("COPY a a", "-ERR source and destination objects are the same"),
            ("COPY zz zz REPLACE", "-ERR source and destination objects are the same"),
        ]);
    }

    #[test]
    fn into_another_database() {
        script(&[
            ("SET a 1", "+OK"),
            ("COPY a a DB 0", "-ERR source and destination objects are the same"),
            ("COPY a a DB 1", ":1"),
            ("COPY a a DB 1", ":0"),
            ("COPY a a REPLACE DB 1", ":1"),
            ("COPY a b DB 3 DB 1", ":1"),
            ("EXISTS b", ":0"),
            ("SELECT 1", "+OK"),
            ("MGET a b", "*2 $1 1 $1 1"),
        ]);
    }

    #[test]
    fn options_are_judged_as_they_come() {
        script(&[
            ("COPY a b DB", "-ERR syntax error"),
            ("COPY a b foo", "-ERR syntax error"),
            ("COPY a b DB x foo", "-ERR value is not an integer or out of range"),
            ("COPY a b DB 99 foo", "-ERR DB index is out of range"),
            ("COPY a b DB -1", "-ERR DB index is out of range"),
            ("COPY a b DB 2147483648", "-ERR value is out of range, value must between -2147483648 and 2147483647"),
        ]);
    }
}

//! `XGROUP` and its subcommands.

use keyspace::Stream;
use keyspace::collection::stream::{Entries, Group as ConsumerGroup, StreamId};

use super::ids;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::{Error, Stop, shown};
use crate::help;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xgroup",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Stream,
    since: "5.0.0",
    summary: "Groups the commands about consumer groups.",
    complexity: "Depends on the subcommand.",
    subcommands: &[CREATE, CREATECONSUMER, DELCONSUMER, DESTROY, HELP, SETID],
    ..Spec::NEW
};

pub const CREATE: Spec = Spec {
    name: "create",
    arity: -5,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::INSERT), 2)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Creates a consumer group that reads a stream from an id on.",
    history: &[("7.0.0", "`ENTRIESREAD`.")],
    args: &[
        Arg::key("key", 0),
        Arg::string("group"),
        Arg::one_of("id-selector", &[Arg::string("id"), Arg::word("new-id", "$")]),
        Arg::word("mkstream", "MKSTREAM").optional(),
        Arg::integer("entriesread").display("entries-read").token("ENTRIESREAD").optional(),
    ],
    run: Some(create),
    ..Spec::NEW
};

pub const CREATECONSUMER: Spec = Spec {
    name: "createconsumer",
    arity: 5,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::INSERT), 2)],
    group: Group::Stream,
    since: "6.2.0",
    summary: "Creates a consumer of a group.",
    args: &[Arg::key("key", 0), Arg::string("group"), Arg::string("consumer")],
    run: Some(create_consumer),
    ..Spec::NEW
};

pub const DELCONSUMER: Spec = Spec {
    name: "delconsumer",
    arity: 5,
    flags: Flags::WRITE,
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 2)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Deletes a consumer with its pending entries, and counts these.",
    args: &[Arg::key("key", 0), Arg::string("group"), Arg::string("consumer")],
    run: Some(delete_consumer),
    ..Spec::NEW
};

pub const DESTROY: Spec = Spec {
    name: "destroy",
    arity: 4,
    flags: Flags::WRITE,
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 2)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Deletes a consumer group with all that is pending in it.",
    complexity: "O(N), N being the number of pending entries",
    args: &[Arg::key("key", 0), Arg::string("group")],
    run: Some(destroy),
    ..Spec::NEW
};

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::STREAM.union(Acl::SLOW),
    group: Group::Stream,
    since: "5.0.0",
    summary: "Describes the subcommands of XGROUP.",
    run: Some(help::run),
    ..Spec::NEW
};

pub const SETID: Spec = Spec {
    name: "setid",
    arity: -5,
    flags: Flags::WRITE,
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 2)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Sets the id behind which a consumer group goes on to read.",
    history: &[("7.0.0", "`ENTRIESREAD`.")],
    args: &[
        Arg::key("key", 0),
        Arg::string("group"),
        Arg::one_of("id-selector", &[Arg::string("id"), Arg::word("new-id", "$")]),
        Arg::integer("entriesread").display("entries-read").token("ENTRIESREAD").optional(),
    ],
    run: Some(set_id),
    ..Spec::NEW
};

const NO_KEY: &str = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
                      MKSTREAM option to create an empty stream automatically.";

/// The options behind the id.
#[derive(Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<u64>,
}

impl Options {
    fn parse(cx: &Ctx<'_>, creates: bool) -> Result<Options, Stop> {
        let mut options = Options::default();
        let mut index = 5;
        while index < cx.args.len() {
            if creates && cx.word(index, "MKSTREAM") {
                options.make_stream = true;
                index += 1;
            } else if cx.word(index, "ENTRIESREAD") && index + 1 < cx.args.len() {
                options.entries_read = match cx.int(index + 1)? {
                    -1 => None,
                    count => match u64::try_from(count) {
                        Ok(count) => Some(count),
                        Err(_) => return cx.fail("ERR value for ENTRIESREAD must be positive or -1"),
                    },
                };
                index += 2;
            } else {
                return syntax(cx);
            }
        }
        Ok(options)
    }

    /// No more entries were read than there ever were.
    fn entries_read(&self, entries: &Entries) -> Option<u64> {
        self.entries_read.map(|read| read.min(entries.added()))
    }
}

fn syntax<T>(cx: &Ctx<'_>) -> Result<T, Stop> {
    let subcommand = shown(cx.args[1]);
    let subcommand = &subcommand[..subcommand.len().min(128)];
    Err(Error::quoting("ERR unknown subcommand or wrong number of arguments for '", subcommand, "'. Try XGROUP HELP.")
        .into())
}

fn create(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let options = Options::parse(cx, true)?;
    let last_id = cx.db.write_as::<Stream>(key)?.map(|stream| stream.entries.last_id());
    if last_id.is_none() && !options.make_stream {
        return cx.fail(NO_KEY);
    }
    // All options once: more are too many. (SETID takes the last.)
    if cx.args.len() > 8 {
        return syntax(cx);
    }
    let exists = last_id.is_some();
    let last_id = last_id.unwrap_or(StreamId::MIN);
    let id = if cx.args[4] == b"$" { last_id } else { ids::parse(cx.args[4])? };
    let mut stream = cx.db.write_or_create::<Stream>(key)?;
    let entries_read = options.entries_read(&stream.entries);
    if !stream.groups.create(cx.args[3], id, entries_read) {
        return Err(Error::text("BUSYGROUP Consumer Group name already exists").into());
    }
    drop(stream);
    cx.reply.ok();
    cx.db.notify(EventClass::STREAM, "xgroup-create", key.bytes());
    match exists {
        true => cx.db.changed_unseen(1),
        false => cx.db.changed(1),
    }
    Ok(())
}

/// Does something with a group that must be there.
fn with_group<T>(
    cx: &mut Ctx<'_>,
    change: impl FnOnce(&Entries, &mut ConsumerGroup) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let Some(mut stream) = cx.db.write_as::<Stream>(cx.keys[0])? else {
        return cx.fail(NO_KEY);
    };
    let parts = &mut **stream;
    match parts.groups.get_mut(cx.args[3]) {
        Some(group) => change(&parts.entries, group),
        None => no_such_group(cx.args[2], cx.args[3]),
    }
}

/// The words of XGROUP and XINFO.
#[cold]
pub(super) fn no_such_group<T>(key: &[u8], group: &[u8]) -> Result<T, Stop> {
    let mut error = Error::quoting("NOGROUP No such consumer group '", group, "' for key name '").render().into_owned();
    error.extend_from_slice(shown(key));
    error.push(b'\'');
    Err(Error::Bytes(error).into())
}

fn set_id(cx: &mut Ctx<'_>) -> Outcome {
    let options = Options::parse(cx, false)?;
    let word = cx.args[4];
    with_group(cx, |entries, group| {
        group.last_id = if word == b"$" { entries.last_id() } else { ids::parse_or_edge(word)? };
        group.entries_read = options.entries_read(entries);
        Ok(())
    })?;
    cx.reply.ok();
    cx.db.notify(EventClass::STREAM, "xgroup-setid", cx.keys[0].bytes());
    cx.db.changed_unseen(1);
    Ok(())
}

fn create_consumer(cx: &mut Ctx<'_>) -> Outcome {
    let (name, now_ms) = (cx.args[4], cx.db.now.0);
    let created = with_group(cx, |_, group| {
        let created = group.find_consumer(name).is_none();
        if created {
            group.create_consumer(name, now_ms);
        }
        Ok(created)
    })?;
    if created {
        cx.db.notify(EventClass::STREAM, "xgroup-createconsumer", cx.keys[0].bytes());
        cx.db.changed_unseen(1);
    }
    cx.reply.int(i64::from(created));
    Ok(())
}

fn delete_consumer(cx: &mut Ctx<'_>) -> Outcome {
    let name = cx.args[4];
    let pending = with_group(cx, |_, group| Ok(group.remove_consumer(name)))?;
    if pending.is_some() {
        cx.db.notify(EventClass::STREAM, "xgroup-delconsumer", cx.keys[0].bytes());
        cx.db.changed_unseen(1);
    }
    cx.reply.count(pending.unwrap_or(0));
    Ok(())
}

fn destroy(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let Some(mut stream) = cx.db.write_as::<Stream>(key)? else {
        return cx.fail(NO_KEY);
    };
    let removed = stream.groups.remove(cx.args[3]);
    drop(stream);
    if removed {
        cx.db.notify(EventClass::STREAM, "xgroup-destroy", key.bytes());
        cx.db.changed_unseen(1);
        // Who waits for entries as a consumer of this group has nothing to wait for.
        cx.db.signal(key);
    }
    cx.reply.int(i64::from(removed));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::NO_KEY;
    use crate::testing::{events, script};

    #[test]
    fn groups_and_consumers() {
        let no_key = format!("-{NO_KEY}");
        script(&[
            ("XGROUP CREATE s g abc", &no_key),
            (
                "XGROUP CREATE s g $ FOO",
                "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
            ),
            ("XGROUP CREATE s g $ ENTRIESREAD -2", "-ERR value for ENTRIESREAD must be positive or -1"),
            ("XGROUP CREATE s g abc MKSTREAM", "-ERR Invalid stream ID specified as stream command argument"),
            ("EXISTS s", ":0"),
            ("XGROUP CREATE s g $ MKSTREAM", "+OK"),
            ("XGROUP CREATE s g $", "-BUSYGROUP Consumer Group name already exists"),
            ("XGROUP CREATE s h + ENTRIESREAD 1", "-ERR Invalid stream ID specified as stream command argument"),
            ("XGROUP SETID s g -", "+OK"),
            (
                "XGROUP SETID s g 5 MKSTREAM",
                "-ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.",
            ),
            ("XGROUP SETID s nog abc", "-NOGROUP No such consumer group 'nog' for key name 's'"),
            ("XGROUP SETID nos nog 5", &no_key),
            ("XGROUP CREATECONSUMER s g c", ":1"),
            ("XGROUP CREATECONSUMER s g c", ":0"),
            ("XGROUP DELCONSUMER s g c", ":0"),
            ("XGROUP DELCONSUMER s nog c", "-NOGROUP No such consumer group 'nog' for key name 's'"),
            ("XGROUP DESTROY s nog", ":0"),
            ("XGROUP DESTROY s g", ":1"),
            ("XGROUP DESTROY nos g", &no_key),
            ("SET str 1", "+OK"),
            ("XGROUP CREATE str g abc", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
        events(&[
            ("XGROUP CREATE s g $ MKSTREAM", "new s, xgroup-create s"),
            ("XGROUP CREATECONSUMER s g c", "xgroup-createconsumer s"),
            ("XGROUP CREATECONSUMER s g c", ""),
            ("XGROUP SETID s g 0", "xgroup-setid s"),
            ("XGROUP DELCONSUMER s g c", "xgroup-delconsumer s"),
            ("XGROUP DESTROY s g", "xgroup-destroy s"),
        ]);
    }
}

//! `RESTORE` and `RESTORE-ASKING`.

use config::LogLevel;
use keyspace::{Expiry, Key, Millis};
use rdb::dump::RestoreError;

use crate::context::{Ctx, Outcome};
use crate::db::access;
use crate::effects::EventClass;
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const RESTORE: Spec = Spec {
    name: "restore",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::SLOW).union(Acl::DANGEROUS),
    keys: &[KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 1)],
    since: "2.6.0",
    summary: "Creates a key from what DUMP has returned.",
    complexity: "O(N) for a collection of N elements, O(N*log(N)) for a sorted set, O(1) for a short string",
    history: &[
        ("3.0.0", "Option `REPLACE`."),
        ("5.0.0", "Option `ABSTTL`."),
        ("5.0.0", "Options `IDLETIME` and `FREQ`."),
    ],
    args: &[
        Arg::key("key", 0),
        Arg::integer("ttl"),
        Arg::string("serialized-value"),
        Arg::word("replace", "REPLACE").since("3.0.0").optional(),
        Arg::word("absttl", "ABSTTL").since("5.0.0").optional(),
        Arg::integer("seconds").token("IDLETIME").since("5.0.0").optional(),
        Arg::integer("frequency").token("FREQ").since("5.0.0").optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

/// What MIGRATE sends in a cluster: the slot may still be on its way here.
pub const RESTORE_ASKING: Spec = Spec {
    name: "restore-asking",
    flags: RESTORE.flags.union(Flags::ASKING),
    group: Group::Server,
    since: "3.0.0",
    summary: "As RESTORE, while the key's slot is moving to this server.",
    doc_flags: &["syscmd"],
    ..RESTORE
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    // As in Redis: the options word by word, the key, the time, and only then the payload.
    let options = Options::parse(cx)?;
    let key = cx.keys[0];
    // What has expired goes, whatever becomes of the rest.
    if cx.db.glance(key).is_some() && !options.replace {
        return cx.fail("BUSYKEY Target key name already exists.");
    }
    let expire_at = match cx.int(2)? {
        ..0 => return cx.fail("ERR Invalid TTL value, must be >= 0"),
        0 => None,
        at if options.absolute => Some(Millis(at)),
        // As in Redis: what does not fit lies in the past.
        ttl => Some(Millis(cx.db.now.0.wrapping_add(ttl))),
    };
    let value = match rdb::dump::restore(cx.args[3], &cx.global().settings.encodings()) {
        Ok(value) => value,
        Err(error @ RestoreError::Footer) => return Err(Error::string(format!("ERR {error}")).into()),
        Err(RestoreError::Value(error)) => {
            // Who may send payloads must not fill the log with them.
            cx.host.log(LogLevel::Verbose, &format!("RESTORE: bad data format: {error}"));
            return cx.fail("ERR Bad data format");
        }
    };
    let replaced = cx.db.glance(key).map(|entry| entry.value().type_name());
    cx.reply.ok();
    // Where expired keys have to stay it is created, invisible.
    if expire_at.is_some_and(|at| at <= cx.db.now) && !cx.db.manners.keep_expired {
        remove_instead(cx, key);
        return Ok(());
    }
    cx.db.remove(key);
    value.with_new_value(|value| cx.db.set(key, value, expire_at.map_or(Expiry::Clear, Expiry::At)));
    options.set_access(cx, key);
    cx.db.notify(EventClass::GENERIC, "restore", key.bytes());
    if let Some(type_before) = replaced {
        cx.db.notify_replaced(key, type_before);
    }
    if let Some(Millis(at)) = expire_at
        && !options.absolute
        && cx.db.effects.wanted()
    {
        let at = at.to_string();
        let mut args = cx.args.to_vec();
        args[2] = at.as_bytes();
        args.push(b"ABSTTL");
        cx.db.effects.instead(&args);
    }
    cx.db.changed(1);
    Ok(())
}

/// Its time is past: what it was to replace goes, and nothing comes.
fn remove_instead(cx: &mut Ctx<'_>, key: Key<'_>) {
    if !cx.db.delete(key) {
        return;
    }
    let verb: &[u8] = if cx.global().settings.unlink_deleted { b"UNLINK" } else { b"DEL" };
    cx.db.effects.instead(&[verb, key.bytes()]);
    cx.db.changed(1);
}

#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<i64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(cx: &Ctx<'_>) -> Result<Options, Stop> {
        let mut options = Options::default();
        let mut at = 4;
        while at < cx.args.len() {
            let has_value = at + 1 < cx.args.len();
            if cx.word(at, "REPLACE") {
                options.replace = true;
            } else if cx.word(at, "ABSTTL") {
                options.absolute = true;
            } else if cx.word(at, "IDLETIME") && has_value && options.frequency.is_none() {
                at += 1;
                match cx.int(at)? {
                    ..0 => return cx.fail("ERR Invalid IDLETIME value, must be >= 0"),
                    seconds => options.idle_seconds = Some(seconds),
                }
            } else if cx.word(at, "FREQ") && has_value && options.idle_seconds.is_none() {
                at += 1;
                match u8::try_from(cx.int(at)?) {
                    Err(_) => return cx.fail("ERR Invalid FREQ value, must be >= 0 and <= 255"),
                    Ok(counter) => options.frequency = Some(counter),
                }
            } else {
                return Err(Error::Syntax.into());
            }
            at += 1;
        }
        Ok(options)
    }

    /// What is known of the key's use is kept if the eviction policy looks at it; else the key is as any new one.
    fn set_access(&self, cx: &Ctx<'_>, key: Key<'_>) {
        let (lfu, now) = (cx.db.manners.lfu.is_some(), cx.db.now);
        let bits = match (self.idle_seconds, self.frequency) {
            (Some(seconds), _) if !lfu => access::idle_for(seconds, now),
            (_, Some(counter)) if lfu => access::with_counter(counter, now),
            _ => return,
        };
        if let Some(entry) = cx.db.space.get(cx.db.index, key) {
            entry.set_access_bits(bits);
        }
    }
}

#[cfg(test)]
mod tests {
    use keyspace::{DbIndex, Millis};

    use crate::testing::{Rig, effects, events, script};

    /// `hello`, as Redis 7.0 dumps it, in a line of a script.
    const HELLO: &str = r#""\x00\x05hello\n\x00cr\xdfve4 \n""#;
    /// The list `a`, as Redis 8.2 dumps it.
    const LIST: &str = r#""\x12\x01\x02\n\n\x00\x00\x00\x01\x00\x81a\x02\xff\x0c\x00\xc2\xcf\xd95n\xf4G\xdc""#;

    fn steps(lines: &[(&str, &'static str)], run: impl FnOnce(&[(&str, &str)])) {
        let lines: Vec<(String, &str)> = lines
            .iter()
            .map(|(line, expected)| (line.replace("HELLO", HELLO).replace("LIST", LIST), *expected))
            .collect();
        let lines: Vec<(&str, &str)> = lines.iter().map(|(line, expected)| (line.as_str(), *expected)).collect();
        run(&lines);
    }

    #[test]
    fn what_has_expired_goes_even_if_nothing_comes() {
        let mut rig = Rig::new();
        rig.script(&[("SET a 1 PX 100", "+OK")]);
        rig.now = Millis(rig.now.0 + 1000);
        let wrong = "-ERR DUMP payload version or checksum are wrong";
        rig.script(&[("DBSIZE", ":1"), ("RESTORE a 0 nonsense REPLACE", wrong), ("DBSIZE", ":0")]);
    }

    #[test]
    fn creates_and_replaces() {
        let lines = [
            ("RESTORE a 0 HELLO", "+OK"),
            ("GET a", "$5 hello"),
            ("RESTORE a 0 HELLO", "-BUSYKEY Target key name already exists."),
            ("RESTORE a 0 LIST replace", "+OK"),
            ("LRANGE a 0 -1", "*1 $1 a"),
            ("TTL a", ":-1"),
            ("RESTORE a 5000 HELLO REPLACE REPLACE", "+OK"),
            ("PTTL a", ":5000"),
            ("RESTORE a 1700000009000 HELLO REPLACE ABSTTL", "+OK"),
            ("PTTL a", ":9000"),
            ("RESTORE-ASKING b 0 HELLO", "+OK"),
            ("GET b", "$5 hello"),
            ("RESTORE b 0 HELLO REPLACE absttl", "+OK"),
            ("TTL b", ":-1"),
        ];
        steps(&lines, script);
    }

    #[test]
    fn a_time_that_is_past() {
        let lines = [
            ("RESTORE a 1 HELLO ABSTTL", "+OK"),
            ("EXISTS a", ":0"),
            ("SET a 1", "+OK"),
            ("RESTORE a 1 HELLO ABSTTL REPLACE", "+OK"),
            ("EXISTS a", ":0"),
            ("RESTORE a 9223372036854775807 HELLO", "+OK"),
            ("EXISTS a", ":0"),
            ("RESTORE a 9223372036854775807 HELLO ABSTTL", "+OK"),
            ("PEXPIRETIME a", ":9223372036854775807"),
        ];
        steps(&lines, script);
    }

    #[test]
    fn judged_in_this_order() {
        let footer = "-ERR DUMP payload version or checksum are wrong";
        let lines = [
            ("SET s 1", "+OK"),
            ("RESTORE s x bad IDLETIME x FOO", "-ERR value is not an integer or out of range"),
            ("RESTORE s x bad IDLETIME -1", "-ERR Invalid IDLETIME value, must be >= 0"),
            ("RESTORE s x bad FREQ -1", "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
            ("RESTORE s x bad FREQ 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
            ("RESTORE s x bad FREQ", "-ERR syntax error"),
            ("RESTORE s x bad FOO", "-ERR syntax error"),
            ("RESTORE s x bad FREQ 5 IDLETIME 5", "-ERR syntax error"),
            ("RESTORE s x bad IDLETIME 5 FREQ 5", "-ERR syntax error"),
            ("RESTORE s x bad IDLETIME 5 IDLETIME 6", "-BUSYKEY Target key name already exists."),
            ("RESTORE n x bad", "-ERR value is not an integer or out of range"),
            ("RESTORE n -1 bad", "-ERR Invalid TTL value, must be >= 0"),
            ("RESTORE n 0 bad", footer),
            ("RESTORE s 0 bad REPLACE", footer),
            // A checksum of 0 is no pardon.
            (r#"RESTORE n 0 "\x00\x01a\n\x00\x00\x00\x00\x00\x00\x00\x00\x00""#, footer),
            // No such type; a set without members, even where its time is past; nothing at all.
            (r#"RESTORE n 0 "w\x05ab\t\x00\x0f\x92\x9fAJ\xa2\xf7\xb4""#, "-ERR Bad data format"),
            (r#"RESTORE n 1 "\x02\x00\t\x00\xea<h\xcc\xcf\x0fZY" ABSTTL"#, "-ERR Bad data format"),
            (r#"RESTORE n 0 "\t\x00\x8di\r\x8c[\xf9\xc1k""#, "-ERR Bad data format"),
            ("GET s", "$1 1"),
        ];
        steps(&lines, script);
    }

    #[test]
    fn traces_of_use() {
        let lines = [
            ("RESTORE a 0 HELLO IDLETIME 1000", "+OK"),
            ("OBJECT IDLETIME a", ":1000"),
            ("RESTORE b 0 HELLO IDLETIME 100000000", "+OK"),
            ("OBJECT IDLETIME b", ":16113920"),
            ("RESTORE c 0 HELLO FREQ 77", "+OK"),
            ("OBJECT IDLETIME c", ":0"),
            ("CONFIG SET maxmemory-policy allkeys-lfu", "+OK"),
            ("RESTORE d 0 HELLO FREQ 77", "+OK"),
            ("OBJECT FREQ d", ":77"),
            ("RESTORE e 0 HELLO IDLETIME 77", "+OK"),
            ("OBJECT FREQ e", ":5"),
        ];
        steps(&lines, script);
    }

    #[test]
    fn who_waits_for_the_key_is_served() {
        let mut rig = Rig::new();
        rig.client(2).script(&[("BLPOP l 0", "BLOCKED")]);
        rig.client(1);
        steps(&[("RESTORE l 0 LIST", "+OK"), ("EXISTS l", ":0")], |steps| rig.script(steps));
        assert_eq!(rig.unblocked(), [(2, "*2 $1 l $1 a".to_owned())]);
    }

    #[test]
    fn events_of_it() {
        let lines = [
            ("RESTORE a 0 HELLO", "new a, restore a"),
            ("RESTORE a 0 HELLO REPLACE", "new a, restore a, overwritten a"),
            ("RESTORE a 0 LIST REPLACE", "new a, restore a, overwritten a, type_changed a"),
            ("RESTORE b 1 HELLO ABSTTL", ""),
            ("RESTORE a 1 HELLO ABSTTL REPLACE", "del a"),
            ("RESTORE a 0 bad", ""),
        ];
        steps(&lines, events);
    }

    #[test]
    fn elsewhere_it_expires_at_the_same_instant() {
        let lines = [
            ("SET a 1", "SET a 1"),
            ("RESTORE a 1 HELLO ABSTTL REPLACE", "DEL a"),
            ("RESTORE a 1 HELLO ABSTTL REPLACE", ""),
            ("CONFIG SET lazyfree-lazy-server-del yes", ""),
            ("SET a 1", "SET a 1"),
            ("RESTORE a 1 HELLO ABSTTL REPLACE", "UNLINK a"),
        ];
        steps(&lines, effects);
        let mut rig = Rig::recording();
        for (command, expected) in [
            ("RESTORE a 0 HELLO", "RESTORE a 0 HELLO"),
            ("restore a 100 HELLO REPLACE", "restore a 1700000000100 HELLO REPLACE ABSTTL"),
            (
                "RESTORE-ASKING a 100 HELLO IDLETIME 5 REPLACE",
                "RESTORE-ASKING a 1700000000100 HELLO IDLETIME 5 REPLACE ABSTTL",
            ),
            ("RESTORE b 1700000000200 HELLO ABSTTL FREQ 5", "RESTORE b 1700000000200 HELLO ABSTTL FREQ 5"),
        ] {
            rig.run(&command.replace("HELLO", HELLO));
            let shown = String::from_utf8_lossy(b"\0\x05hello\n\0cr\xdfve4 \n").into_owned();
            assert_eq!(rig.take_effects(), expected.replace("HELLO", &shown));
        }
    }

    #[test]
    fn what_has_expired_leaves_first() {
        let mut rig = Rig::recording();
        rig.script(&[("SET a 1 PX 1", "+OK")]);
        rig.now.0 += 2;
        rig.effects.clear();
        steps(&[("RESTORE a 0 HELLO", "+OK")], |steps| rig.script(steps));
        let names: Vec<&str> = rig.effects.events().iter().map(|event| event.name).collect();
        assert_eq!(names, ["expired", "new", "restore"]);
        assert!(rig.take_effects().starts_with("DEL a; RESTORE a 0 "));
        assert!(rig.effects.events().iter().all(|event| event.db == DbIndex(0)));
    }
}

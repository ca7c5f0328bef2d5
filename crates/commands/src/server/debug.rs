//! `DEBUG`: what test suites and developers use. The subcommands are not in COMMAND DOCS, as in Redis; those that concern a
//! part of the server which Spinel does not have (dictionaries that resize, query buffers that shrink) do not exist.

use std::ops::ControlFlow;
use std::time::Duration;

use config::LogLevel;
use keyspace::collection::stream::StreamId;
use keyspace::{Collection, DbIndex, Entry, Expiry, Hash, List, Millis, NewValue, Set, SortedSet, Stream};
use resp::{Proto, Reply};
use sha1::{Digest, Sha1};

use crate::blocking::Block;
use crate::context::{Ctx, Outcome};
use crate::db::access;
use crate::error::{Error, Stop};
use crate::persistence::Reload;
use crate::spec::{Acl, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "debug",
    arity: -2,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE).union(Flags::PROTECTED),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    summary: "Groups the commands that tests and developers use.",
    complexity: "Depends on the subcommand.",
    doc_flags: &["syscmd"],
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

/// Name, least and most arguments behind it, handler, and help.
struct Subcommand(&'static str, usize, usize, fn(&mut Ctx<'_>) -> Outcome, &'static [&'static str]);

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand("ASSERT", 0, 0, crash, &["ASSERT", "    Ends the server as a failed assertion does."]),
    Subcommand(
        "CHANGE-REPL-ID",
        0,
        0,
        change_replication_id,
        &[
            "CHANGE-REPL-ID",
            "    Gives the stream of replication another id, so that no replica can go on where it was.",
        ],
    ),
    Subcommand(
        "CRASH-AND-RECOVER",
        0,
        1,
        restart,
        &[
            "CRASH-AND-RECOVER [<milliseconds>]",
            "    Ends the server without any care, and starts it anew after this time.",
        ],
    ),
    Subcommand(
        "DIGEST",
        0,
        0,
        digest,
        &["DIGEST", "    Returns 40 hexadecimal digits that equal data sets have in common."],
    ),
    Subcommand(
        "DIGEST-VALUE",
        0,
        usize::MAX,
        digest_value,
        &["DIGEST-VALUE <key> [<key> ...]", "    The same for the value and expiry of each key."],
    ),
    Subcommand(
        "DICT-RESIZING",
        1,
        1,
        accepted,
        &["DICT-RESIZING <0|1>", "    Changes nothing: tables grow and shrink a segment at a time."],
    ),
    Subcommand("ERROR", 1, 1, error, &["ERROR <text>", "    Returns this text as an error."]),
    Subcommand(
        "EVENT-LOOPS",
        1,
        1,
        event_loops,
        &[
            "EVENT-LOOPS <count>",
            "    Moves connections to so many event loops, whatever they have to do; with 0 to as many as their load needs.",
        ],
    ),
    Subcommand("HELP", 0, 0, help, &["HELP", "    Prints these lines."]),
    Subcommand(
        "HTSTATS",
        1,
        1,
        table_figures,
        &["HTSTATS <db>", "    Returns figures of the tables that hold this database."],
    ),
    Subcommand(
        "HTSTATS-KEY",
        1,
        2,
        table_figures_of_key,
        &["HTSTATS-KEY <key> [full]", "    The same for the table of a large set, hash or sorted set."],
    ),
    Subcommand(
        "KEYSIZES-HIST-ASSERT",
        1,
        1,
        accepted,
        &["KEYSIZES-HIST-ASSERT <0|1>", "    Changes nothing: INFO keysizes counts when it is asked."],
    ),
    Subcommand("LISTPACK", 1, 1, listpack, &["LISTPACK <key>", "    Writes into the log what a listpack holds."]),
    Subcommand(
        "LOADAOF",
        0,
        0,
        load_aof,
        &["LOADAOF", "    Forgets all data, and loads what the append-only file holds."],
    ),
    Subcommand("LOG", 1, 1, log, &["LOG <message>", "    Writes a line into the log."]),
    Subcommand(
        "OBJECT",
        1,
        2,
        object,
        &["OBJECT <key> [fast]", "    Shows what is known about the key and how its value is kept."],
    ),
    Subcommand("OOM", 0, 0, crash, &["OOM", "    Ends the server as an allocation that fails does."]),
    Subcommand("PANIC", 0, 0, crash, &["PANIC", "    Ends the server as a bug of ours does."]),
    Subcommand(
        "PAUSE-CRON",
        1,
        1,
        accepted,
        &["PAUSE-CRON <0|1>", "    Changes nothing: there is no one job that does all from time to time."],
    ),
    Subcommand(
        "POPULATE",
        1,
        3,
        populate,
        &[
            "POPULATE <count> [<prefix> [<size>]]",
            "    Creates the strings prefix:0 to prefix:(count - 1) that do not exist yet.",
        ],
    ),
    Subcommand(
        "PROTOCOL",
        1,
        1,
        protocol,
        &["PROTOCOL <type>", "    Returns a reply of this type: string, integer, double, null, array and so on."],
    ),
    Subcommand(
        "QUICKLIST",
        1,
        2,
        quicklist,
        &["QUICKLIST <key> [<0|1>]", "    Writes into the log what the nodes of a large list hold."],
    ),
    Subcommand(
        "QUICKLIST-PACKED-THRESHOLD",
        1,
        1,
        packed_threshold,
        &[
            "QUICKLIST-PACKED-THRESHOLD <size>",
            "    Changes nothing: a large item of a list has a node of its own by the list's limits.",
        ],
    ),
    Subcommand(
        "RELOAD",
        0,
        3,
        reload,
        &[
            "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
            "    Saves a snapshot, forgets all data, and loads the snapshot. NOSAVE takes the file that is there, NOFLUSH",
            "    keeps what is there, and MERGE lets keys of the file take the place of those.",
        ],
    ),
    Subcommand(
        "REPLYBUFFER",
        2,
        2,
        reply_buffer,
        &[
            "REPLYBUFFER (PEAK-RESET-TIME|RESIZING) <value>",
            "    Changes nothing: connections have no reply buffer of their own.",
        ],
    ),
    Subcommand(
        "RESTART",
        0,
        1,
        restart,
        &["RESTART [<milliseconds>]", "    Shuts down, and starts the server anew after this time."],
    ),
    Subcommand("SEGFAULT", 0, 0, crash, &["SEGFAULT", "    Ends the server as an invalid access to memory does."]),
    Subcommand(
        "SET-ACTIVE-EXPIRE",
        1,
        1,
        set_active_expire,
        &["SET-ACTIVE-EXPIRE <0|1>", "    Whether keys are removed at their time without anybody asking for them."],
    ),
    Subcommand(
        "SLEEP",
        1,
        1,
        sleep,
        &["SLEEP <seconds>", "    Stops everything for this time; fractions are understood."],
    ),
    Subcommand(
        "STRINGMATCH-TEST",
        0,
        0,
        string_match,
        &["STRINGMATCH-TEST", "    Tries random patterns on random texts, and replies if that ends well."],
    ),
];

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let count = cx.args.len() - 2;
    let found = SUBCOMMANDS.iter().find(|sub| cx.word(1, sub.0) && (sub.1..=sub.2).contains(&count));
    match found {
        Some(Subcommand(_, _, _, handler, _)) => handler(cx),
        None => Err(unknown(cx)),
    }
}

fn help(cx: &mut Ctx<'_>) -> Outcome {
    let lines = SUBCOMMANDS.iter().flat_map(|sub| sub.4);
    cx.reply.array(1 + lines.clone().count());
    cx.reply.simple("DEBUG <subcommand> [<argument> ...], with these subcommands:");
    lines.for_each(|line| cx.reply.simple(line));
    Ok(())
}

fn crash(cx: &mut Ctx<'_>) -> Outcome {
    let kind = String::from_utf8_lossy(cx.args[1]).to_ascii_lowercase();
    cx.host.crash(&kind)
}

fn restart(cx: &mut Ctx<'_>) -> Outcome {
    let delay_ms = if cx.args.len() > 2 { cx.int(2)?.max(0) as u64 } else { 0 };
    let graceful = cx.word(1, "RESTART");
    match cx.host.restart(delay_ms, graceful) {
        Ok(()) => {
            cx.session.close_after_reply = true;
            Ok(())
        }
        Err(reason) => Err(Stop::Error(Error::string(format!("ERR failed to restart the server: {reason}")))),
    }
}

fn sleep(cx: &mut Ctx<'_>) -> Outcome {
    let text = String::from_utf8_lossy(cx.args[2]);
    // Like strtod in Redis: what is no number sleeps for no time.
    let seconds: f64 = text.parse().unwrap_or(0.0);
    // Nor does a time below 0 or beyond what can be counted.
    if let Ok(time) = Duration::try_from_secs_f64(seconds) {
        // Everybody waits at the gate: that is what it is for.
        std::thread::sleep(time);
    }
    cx.reply.ok();
    Ok(())
}

fn set_active_expire(cx: &mut Ctx<'_>) -> Outcome {
    let on = resp::number::parse_i64(cx.args[2]).unwrap_or(0) != 0;
    cx.global_mut()?.debug.active_expire = on;
    cx.reply.ok();
    Ok(())
}

fn reload(cx: &mut Ctx<'_>) -> Outcome {
    let (mut save, mut flush, mut merge) = (true, true, false);
    for arg in &cx.args[2..] {
        match arg.to_ascii_uppercase().as_slice() {
            b"MERGE" => merge = true,
            b"NOFLUSH" => flush = false,
            b"NOSAVE" => save = false,
            _ => return cx.fail("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."),
        }
    }
    let client_id = cx.session.client.id;
    cx.host.persistence().reload(cx.alone()?, client_id, Reload::Snapshot { save, flush, merge })?;
    cx.block(Block::on_job())
}

fn load_aof(cx: &mut Ctx<'_>) -> Outcome {
    let client_id = cx.session.client.id;
    cx.host.persistence().reload(cx.alone()?, client_id, Reload::AppendOnlyFile)?;
    cx.block(Block::on_job())
}

/// For test suites, which say this before a test: what it is about does not exist here, and so cannot be in the test's way.
fn accepted(cx: &mut Ctx<'_>) -> Outcome {
    cx.reply.ok();
    Ok(())
}

fn event_loops(cx: &mut Ctx<'_>) -> Outcome {
    let count = usize::try_from(cx.int(2)?).unwrap_or(0);
    cx.host.use_event_loops(count);
    accepted(cx)
}

fn packed_threshold(cx: &mut Ctx<'_>) -> Outcome {
    match config::units::parse_memory(cx.args[2]) {
        Ok(0..=0x1_0000_0000) => accepted(cx),
        _ => cx.fail("ERR argument must be a memory value bigger than 1 and smaller than 4gb"),
    }
}

fn reply_buffer(cx: &mut Ctx<'_>) -> Outcome {
    match () {
        () if cx.word(2, "RESIZING") => accepted(cx),
        () if !cx.word(2, "PEAK-RESET-TIME") => Err(unknown(cx)),
        () if cx.word(3, "NEVER") || cx.word(3, "RESET") => accepted(cx),
        () => {
            cx.int(3)?;
            accepted(cx)
        }
    }
}

fn listpack(cx: &mut Ctx<'_>) -> Outcome {
    structure(cx, "listpack", "ERR Not a listpack encoded object.", "Listpack structure printed on stdout")
}

fn quicklist(cx: &mut Ctx<'_>) -> Outcome {
    structure(cx, "quicklist", "ERR Not a quicklist encoded object.", "Quicklist structure printed on stdout")
}

/// Logs how a value of this encoding is kept. What it holds may be secret, and is not shown.
fn structure(cx: &mut Ctx<'_>, encoding: &str, other: &'static str, reply: &'static str) -> Outcome {
    let key = cx.db.space.key(cx.args[2]);
    let Some(entry) = cx.db.glance(key) else {
        return Err(Error::NoSuchKey.into());
    };
    if entry.value().encoding_name() != encoding {
        return cx.fail(other);
    }
    let line = format!("DEBUG: {encoding} of {} bytes{}", entry.memory_usage(0), node_figures(&entry));
    cx.host.log(LogLevel::Notice, &line);
    cx.reply.simple(reply);
    Ok(())
}

fn table_figures_of_key(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.db.space.key(cx.args[2]);
    let Some(entry) = cx.db.glance(key) else {
        return Err(Error::NoSuchKey.into());
    };
    let len = match entry.value().encoding_name() {
        "hashtable" => {
            entry.typed::<Set>().map(|set| set.len()).or_else(|| entry.typed::<Hash>().map(|hash| hash.len()))
        }
        "skiplist" => entry.typed::<SortedSet>().map(|set| set.len()),
        _ => None,
    };
    match len {
        Some(len) => cx.reply.verbatim("txt", format!("[Table of the value]\n number of elements: {len}\n").as_bytes()),
        None => return cx.fail("ERR The value stored at the specified key is not represented using an hash table"),
    }
    Ok(())
}

fn change_replication_id(cx: &mut Ctx<'_>) -> Outcome {
    cx.host.replication().change_id(cx.alone()?);
    cx.reply.ok();
    Ok(())
}

fn log(cx: &mut Ctx<'_>) -> Outcome {
    cx.host.log(LogLevel::Warning, &format!("DEBUG LOG: {}", String::from_utf8_lossy(cx.args[2])));
    cx.reply.ok();
    Ok(())
}

fn error(cx: &mut Ctx<'_>) -> Outcome {
    Err(Stop::Error(Error::Bytes(cx.args[2].to_vec())))
}

fn object(cx: &mut Ctx<'_>) -> Outcome {
    if cx.args.len() > 3 && !cx.word(3, "FAST") {
        return Err(unknown(cx));
    }
    let key = cx.db.space.key(cx.args[2]);
    let (now, family) = (cx.db.now, cx.global().settings.rdb_family);
    let Some(entry) = cx.db.glance(key) else {
        return Err(Error::NoSuchKey.into());
    };
    let bits = entry.access_bits();
    // A payload ends with its version and checksum, and begins with its type.
    const AROUND_BYTES: usize = 11;
    let is_fast = cx.args.len() > 3;
    let serialized = match is_fast {
        true => String::new(),
        false => format!(" serializedlength:{}", rdb::dump::dump(&entry.value(), family, true).len() - AROUND_BYTES),
    };
    let line = format!(
        "Value at:{:p} refcount:1 encoding:{}{serialized} lru:{} lru_seconds_idle:{}{}",
        entry.key().as_ptr(),
        entry.value().encoding_name(),
        bits,
        access::idle_ms(bits, now) / 1000,
        node_figures(&entry)
    );
    cx.reply.simple(&line);
    Ok(())
}

/// What is known about the nodes of a large list; nothing about other values.
fn node_figures(entry: &Entry<'_>) -> String {
    let Some((list, figures)) = entry.typed::<List>().and_then(|list| list.figures().map(|figures| (list, figures)))
    else {
        return String::new();
    };
    format!(
        " ql_nodes:{} ql_avg_node:{:.2} ql_listpack_max:{} ql_compressed:{} ql_uncompressed_size:{}",
        figures.nodes,
        list.len() as f64 / figures.nodes as f64,
        figures.listpack_size_max,
        i32::from(figures.is_compressed),
        figures.bytes
    )
}

fn populate(cx: &mut Ctx<'_>) -> Outcome {
    let positive = |index: usize| match resp::number::parse_i64(cx.args[index]) {
        Some(number) if number >= 0 => Ok(number as usize),
        _ => Err(Error::text("ERR value is out of range, must be positive")),
    };
    let count = positive(2)?;
    let prefix = cx.args.get(3).copied().unwrap_or(b"key");
    let size = if cx.args.len() > 4 { positive(4)? } else { 0 };
    if size > cx.global().settings.bulk_bytes_max {
        return cx.fail("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    }
    for number in 0..count {
        let mut name = prefix.to_vec();
        name.extend_from_slice(format!(":{number}").as_bytes());
        let key = cx.db.space.key(&name);
        if cx.db.glance(key).is_some() {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if size > 0 {
            value.resize(size, 0);
        }
        cx.db.set(key, NewValue::Bytes(&value), Expiry::Clear);
    }
    cx.db.changed(count as u64);
    // Each server is filled by itself (so in Redis 8.2).
    cx.db.effects.nothing();
    cx.reply.ok();
    Ok(())
}

fn unknown(cx: &Ctx<'_>) -> Stop {
    let name = &cx.args[1][..cx.args[1].len().min(128)];
    Error::quoting("ERR unknown subcommand or wrong number of arguments for '", name, "'. Try DEBUG HELP.").into()
}

fn string_match(cx: &mut Ctx<'_>) -> Outcome {
    /// Short, so that the worst pattern is done at once: the world waits meanwhile.
    const ROUNDS: usize = 10_000;
    for _ in 0..ROUNDS {
        let (pattern, text): ([u8; 12], [u8; 12]) = (rand::random(), rand::random());
        let pattern = pattern.map(|byte| b"*?[]^-\\aab"[byte as usize % 10]);
        std::hint::black_box(config::glob_match(&pattern, &text.map(|byte| b"ab"[byte as usize % 2]), false));
    }
    cx.reply.simple("Apparently Redis did not crash: test passed");
    Ok(())
}

fn table_figures(cx: &mut Ctx<'_>) -> Outcome {
    let databases = i64::from(cx.global().settings.databases);
    let db = match cx.int(2)? {
        db if (0..databases).contains(&db) => DbIndex(db as u32),
        _ => return cx.fail("ERR Out of range database"),
    };
    let text = format!(
        "[Tables of database {}]\n number of elements: {}\n[Expires]\n number of elements: {}\n",
        db.0,
        cx.db.space.len(db),
        cx.db.space.volatile_len(db)
    );
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// The digest of one entry: everything that makes two entries equal.
fn entry_digest(hasher: &mut Sha1, entry: &Entry<'_>) {
    let value = entry.value();
    hasher.update(value.type_name());
    if let Some(text) = value.as_str() {
        text.with_bytes(|bytes| hasher.update(bytes));
    }
    if let Some(list) = entry.typed::<List>() {
        list.walk(0, false, |item| {
            let item = item.to_vec();
            hasher.update((item.len() as u64).to_le_bytes());
            hasher.update(item);
            ControlFlow::Continue(())
        });
    }
    if let Some(stream) = entry.typed::<Stream>() {
        // As in Redis, its groups do not count.
        for entry in stream.entries.range(StreamId::MIN, StreamId::MAX) {
            hasher.update(entry.id().to_be_bytes());
            hasher.update((entry.fields().len() as u64).to_le_bytes());
            for text in entry.fields().flat_map(|(field, value)| [field.to_vec(), value.to_vec()]) {
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            }
        }
    }
    // The order of these means nothing, and differs from encoding to encoding.
    let mut unordered = Unordered::default();
    if let Some(set) = entry.typed::<Set>() {
        set.for_each(|member| unordered.add(&[&member.to_vec()]));
    }
    if let Some(set) = entry.typed::<SortedSet>() {
        set.all().for_each(|(member, score)| unordered.add(&[&member.to_vec(), &score.to_le_bytes()]));
    }
    if let Some(hash) = entry.typed::<Hash>() {
        hash.visit(Millis(i64::MIN), |field| {
            let at = field.expire_at.map_or([0; 8], |at| at.0.to_le_bytes());
            unordered.add(&[&field.name.to_vec(), &field.value.to_vec(), &at]);
        });
    }
    hasher.update(unordered.0);
    if let Some(at) = entry.expire_at() {
        hasher.update(at.0.to_le_bytes());
    }
}

/// Digests of elements in any order: combined by exclusive or.
#[derive(Default)]
struct Unordered([u8; 20]);

impl Unordered {
    fn add(&mut self, parts: &[&[u8]]) {
        let mut hasher = Sha1::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let digest: [u8; 20] = hasher.finalize().into();
        self.0.iter_mut().zip(digest).for_each(|(sum, byte)| *sum ^= byte);
    }
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest_value(cx: &mut Ctx<'_>) -> Outcome {
    cx.reply.array(cx.args.len() - 2);
    for name in &cx.args[2..] {
        let key = cx.db.space.key(name);
        let digest = match cx.db.glance(key) {
            None => [0; 20],
            Some(entry) => {
                let mut hasher = Sha1::new();
                entry_digest(&mut hasher, &entry);
                hasher.finalize().into()
            }
        };
        cx.reply.simple(&hexadecimal(&digest));
    }
    Ok(())
}

/// Entries in any order: their digests are combined by exclusive or.
fn digest(cx: &mut Ctx<'_>) -> Outcome {
    let mut all = [0u8; 20];
    for db in 0..cx.global().settings.databases {
        cx.db.space.for_each(DbIndex(db), |entry| {
            let mut hasher = Sha1::new();
            hasher.update(db.to_le_bytes());
            hasher.update((entry.key().len() as u64).to_le_bytes());
            hasher.update(entry.key());
            entry_digest(&mut hasher, &entry);
            let digest: [u8; 20] = hasher.finalize().into();
            all.iter_mut().zip(digest).for_each(|(sum, byte)| *sum ^= byte);
            ControlFlow::Continue(())
        });
    }
    cx.reply.simple(&hexadecimal(&all));
    Ok(())
}

#[expect(clippy::approx_constant, reason = "the number that Redis replies")]
fn protocol(cx: &mut Ctx<'_>) -> Outcome {
    let numbers = |reply: &mut Reply| (0..3).for_each(|number| reply.int(number));
    let is_resp3 = cx.reply.proto() == Proto::Resp3;
    let name = cx.args[2].to_ascii_lowercase();
    let reply = &mut *cx.reply;
    match name.as_slice() {
        b"string" => reply.bulk("Hello World"),
        b"integer" => reply.int(12345),
        b"double" => reply.double(3.141),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            numbers(reply);
        }
        b"set" => {
            reply.set(3);
            numbers(reply);
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.int(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if is_resp3 {
                reply.attribute(1);
                reply.bulk("key-popularity");
                reply.array(2);
                reply.bulk("key:123");
                reply.int(90);
            }
            reply.bulk("Some real reply following the attribute");
        }
        b"push" => {
            if !is_resp3 {
                return cx.fail("ERR RESP2 is not supported by this command");
            }
            reply.bulk("Some real reply following the push reply");
            reply.push(2);
            reply.bulk("server-cpu-usage");
            reply.int(42);
        }
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        _ => {
            return cx.fail(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn subcommands_and_their_arguments() {
        script(&[
            ("DEBUG foo", "-ERR unknown subcommand or wrong number of arguments for 'foo'. Try DEBUG HELP."),
            ("DEBUG SLEEP", "-ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP."),
            ("DEBUG SLEEP 0", "+OK"),
            ("DEBUG SLEEP -1", "+OK"),
            ("DEBUG SLEEP 1e30", "+OK"),
            ("DEBUG SLEEP nan", "+OK"),
            ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"),
            ("DEBUG ERROR 'ERR as wished'", "-ERR as wished"),
            ("DEBUG OBJECT nosuch", "-ERR no such key"),
            ("DEBUG POPULATE 3 k 5", "+OK"),
            ("DBSIZE", ":3"),
            ("GET k:1", "$5 value"),
            ("DEBUG POPULATE 1 k 9000000000000000000", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
            ("DEBUG POPULATE x", "-ERR value is out of range, must be positive"),
            ("DEBUG HTSTATS 100", "-ERR Out of range database"),
            ("RPUSH l 1 2", ":2"),
            ("DEBUG LISTPACK l", "+Listpack structure printed on stdout"),
            ("DEBUG LISTPACK k:1", "-ERR Not a listpack encoded object."),
            ("DEBUG QUICKLIST l", "-ERR Not a quicklist encoded object."),
            ("DEBUG LISTPACK nosuch", "-ERR no such key"),
            (
                "DEBUG HTSTATS-KEY l",
                "-ERR The value stored at the specified key is not represented using an hash table",
            ),
            ("DEBUG QUICKLIST-PACKED-THRESHOLD 200b", "+OK"),
            (
                "DEBUG QUICKLIST-PACKED-THRESHOLD 5gb",
                "-ERR argument must be a memory value bigger than 1 and smaller than 4gb",
            ),
            ("DEBUG REPLYBUFFER RESIZING 0", "+OK"),
            ("DEBUG REPLYBUFFER PEAK-RESET-TIME never", "+OK"),
            ("DEBUG REPLYBUFFER PEAK-RESET-TIME x", "-ERR value is not an integer or out of range"),
            (
                "DEBUG REPLYBUFFER foo 1",
                "-ERR unknown subcommand or wrong number of arguments for 'REPLYBUFFER'. Try DEBUG HELP.",
            ),
            ("DEBUG DICT-RESIZING 0", "+OK"),
            ("DEBUG PROTOCOL map", "*6 :0 :0 :1 :1 :2 :0"),
            ("DEBUG PROTOCOL push", "-ERR RESP2 is not supported by this command"),
            ("DEBUG STRINGMATCH-TEST", "+Apparently Redis did not crash: test passed"),
        ]);
    }

    #[test]
    fn digests_tell_data_sets_apart() {
        let digest = |steps: &[&str]| {
            let mut rig = Rig::new();
            steps.iter().for_each(|step| drop(rig.run(step)));
            (rig.run("DEBUG DIGEST"), rig.run("DEBUG DIGEST-VALUE a nosuch"))
        };
        let empty = digest(&[]);
        let one = digest(&["SET a 1", "SET b 2"]);
        assert_eq!(one, digest(&["SET b 2", "SET a 0", "INCR a"]));
        assert_ne!(one.0, empty.0);
        assert_ne!(one.0, digest(&["SET a 1", "SELECT 1", "SET b 2"]).0);
        assert_ne!(one.1, digest(&["SET a 1 PXAT 1900000000000"]).1);
        let stream = digest(&["XADD a 1-1 f 1"]);
        assert_eq!(stream, digest(&["XADD a 1-0 f 0", "XADD a 1-1 f 1", "XDEL a 1-0", "XGROUP CREATE a g 0"]));
        let set = digest(&["SADD a x 1", "CONFIG SET set-max-listpack-entries 0"]);
        assert_eq!(set, digest(&["CONFIG SET set-max-listpack-entries 0", "SADD a 1 x"]));
        assert_ne!(set.1, digest(&["SADD a x 2"]).1);
        let hash = digest(&["HSET a f 1 g 2"]);
        assert_eq!(hash, digest(&["HSET a g 2 f 0", "HSET a f 1"]));
        assert_ne!(hash.1, digest(&["HSET a f 2 g 1"]).1);
        assert_ne!(hash.1, digest(&["HSET a f 1 g 2", "HPEXPIREAT a 1900000000000 FIELDS 1 f"]).1);
        let sorted = digest(&["ZADD a 1 x 2 y"]);
        assert_eq!(sorted, digest(&["ZADD a 2 y 1 x"]));
        assert_ne!(sorted.1, digest(&["ZADD a 2 x 1 y"]).1);
        assert_ne!(stream.1, digest(&["XADD a 1-2 f 1"]).1);
        assert_ne!(stream.1, digest(&["XADD a 1-1 f 2"]).1);
    }
}

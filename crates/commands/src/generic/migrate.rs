//! `MIGRATE`: keys leave for another server.
//!
//! ```text
//!  MIGRATE, wide: payloads made, keys held ──> Host::migrate: a thread of its own talks to the other server
//!                                                            │
//!  client waits, writers of these keys wait                  ▼
//!  conclude(), wide: what has arrived is deleted, keys let go, the client replied to, writers go on
//! ```
//!
//! *May a key be changed while it is on its way?* No: who would change it waits ([`Departing`]), and so does what may change any key (FLUSHALL, scripts,
//! transactions that write). Reads go on and see it here until it is deleted, all keys of the call in one access. Redis stops everybody for as
//! long; to a client it looks the same.
//!
//! *What if the connection breaks when the other server has the key and we do not know it?* Then it is on both, as in Redis, and the error
//! says so: never on none.
//!
//! Inside of MULTI and scripts nobody can wait, and MIGRATE is refused there, unlike in Redis, which stops the world for it.

use std::collections::HashMap;
use std::time::Duration;

use config::directives;
use keyspace::{DbIndex, Key};

use crate::blocking::{self, Block};
use crate::context::{Ctx, Host, Outcome};
use crate::db::Db;
use crate::error::{Error, Stop};
use crate::global::Global;
use crate::keys::KeyAt;
use crate::registry::Command;
use crate::spec::{Acl, Arg, ArgType, Begin, Find, Flags, KeyFlags, KeySpec, Side, Spec};

const MOVED: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);

pub const SPEC: Spec = Spec {
    name: "migrate",
    arity: -6,
    flags: Flags::WRITE,
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::SLOW).union(Acl::DANGEROUS),
    keys: &[
        KeySpec::one(MOVED, 3),
        KeySpec {
            notes: None,
            flags: MOVED.union(KeyFlags::INCOMPLETE),
            begin: Begin::Keyword { keyword: "KEYS", start_from: -2 },
            find: Find::Range { last: -1, step: 1, limit: 0 },
        },
    ],
    keys_of_call: Some(keys_of_call),
    is_secret: Some(is_secret),
    since: "2.6.0",
    summary: "Moves keys to another server, each with its time to live: it is never on neither.",
    complexity: "as DUMP and DEL here and RESTORE there, and O(N) for N bytes on their way",
    history: &[
        ("3.0.0", "Options `COPY` and `REPLACE`."),
        ("3.0.6", "Option `KEYS`."),
        ("4.0.7", "Option `AUTH`."),
        ("6.0.0", "Option `AUTH2`."),
    ],
    tips: &["nondeterministic_output"],
    args: &[
        Arg::string("host"),
        Arg::integer("port"),
        Arg::one_of("key-selector", &[Arg::key("key", 0), Arg::new("empty-string", ArgType::PureToken).token("")]),
        Arg::integer("destination-db"),
        Arg::integer("timeout"),
        Arg::word("copy", "COPY").since("3.0.0").optional(),
        Arg::word("replace", "REPLACE").since("3.0.0").optional(),
        Arg::one_of(
            "authentication",
            &[
                Arg::string("auth").token("AUTH").display("password").since("4.0.7"),
                Arg::block("auth2", &[Arg::string("username"), Arg::string("password")]).token("AUTH2").since("6.0.0"),
            ],
        )
        .optional(),
        Arg::key("keys", 1).token("KEYS").display("key").since("3.0.6").optional().multiple(),
    ],
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

/// Keys on their way, and what the other server needs to take them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Who waits for the end.
    pub client_id: u64,
    pub db: DbIndex,
    pub host: Vec<u8>,
    /// As it was sent: what is no port cannot be connected to.
    pub port: Vec<u8>,
    pub target_db: i64,
    /// For each step: connecting, writing, reading.
    pub timeout: Duration,
    pub login: Option<Login>,
    pub keeps_source: bool,
    pub replaces: bool,
    pub parcels: Vec<Parcel>,
}

/// AUTH and AUTH2.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Login {
    pub user: Option<Vec<u8>>,
    pub password: Vec<u8>,
}

/// A key as RESTORE takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    pub key: Vec<u8>,
    /// 0: it does not expire.
    pub ttl_ms: i64,
    pub payload: Vec<u8>,
}

/// What has become of a migration.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub migration: Migration,
    /// Which parcels the other server has taken.
    pub arrived: Vec<bool>,
    pub result: Result<(), Error>,
}

/// The names of keys that are on their way: who would change one waits until it is known what has become of it. In whatever database: who
/// changes a key of the same name in another waits without need, and not for long.
#[derive(Debug, Default)]
pub struct Departing {
    /// How many migrations hold it.
    names: HashMap<Box<[u8]>, usize>,
}

impl Departing {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn hold(&mut self, migration: &Migration) {
        for parcel in &migration.parcels {
            *self.names.entry(parcel.key.as_slice().into()).or_default() += 1;
        }
    }

    fn let_go(&mut self, migration: &Migration) {
        for parcel in &migration.parcels {
            let count = self.names.get_mut(parcel.key.as_slice()).expect("it is held until the migration's end");
            *count -= 1;
            if *count == 0 {
                self.names.remove(parcel.key.as_slice());
            }
        }
    }

    /// Whether a command may change such a key.
    #[cold]
    pub fn concern(&self, command: &Command, keys: &[Key<'_>]) -> bool {
        if self.is_empty() {
            return false;
        }
        match (command.spec.name, keys) {
            // What it runs is not known yet; a script may change what it has not declared.
            ("exec" | "eval" | "evalsha", _) => true,
            _ if !command.spec.flags.contains(Flags::WRITE) => false,
            // FLUSHALL, SWAPDB.
            (_, []) => true,
            _ => keys.iter().any(|key| self.names.contains_key(key.bytes())),
        }
    }
}

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let options = Options::parse(cx)?;
    let timeout_ms = cx.int(5)?;
    let target_db = cx.int(4)?;
    if !cx.is_wide() {
        return Err(Stop::Wide);
    }
    let compress = cx.global().config.get(directives::RDBCOMPRESSION);
    let family = cx.global().settings.rdb_family;
    let now = cx.db.now;
    let mut parcels = Vec::new();
    for &key in cx.keys {
        if let Some(entry) = cx.db.read(key) {
            parcels.push(Parcel {
                key: key.bytes().to_vec(),
                ttl_ms: entry.expire_at().map_or(0, |at| at.0.saturating_sub(now.0).max(1)),
                payload: rdb::dump::dump(&entry.value(), family, compress),
            });
        }
    }
    if parcels.is_empty() {
        cx.reply.simple("NOKEY");
        return Ok(());
    }
    if !cx.may_block {
        return cx.fail("ERR MIGRATE waits for another server, and nobody can wait in a transaction or script");
    }
    let migration = Migration {
        client_id: cx.session.client.id,
        db: cx.db.index,
        host: cx.args[1].to_vec(),
        port: cx.args[2].to_vec(),
        target_db,
        timeout: if timeout_ms > 0 { Duration::from_millis(timeout_ms as u64) } else { TIMEOUT_DEFAULT },
        login: options.login,
        keeps_source: options.keeps_source,
        replaces: options.replaces,
        parcels,
    };
    if !migration.keeps_source {
        cx.global_mut()?.departing.hold(&migration);
    }
    cx.host.migrate(migration);
    cx.block(Block::on_job())
}

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);

/// What has arrived elsewhere is deleted here, and who waits is replied to. The caller is alone, and serves afterwards who waits for the
/// keys, and lets the paused go on.
pub fn conclude(global: &mut Global, db: &mut Db<'_>, host: &dyn Host, arrival: Arrival) {
    let Arrival { migration, arrived, result } = arrival;
    if !migration.keeps_source {
        global.departing.let_go(&migration);
        db.index = migration.db;
        db.effects.begin(migration.db);
        let mut effect: Vec<&[u8]> = vec![b"DEL"];
        for (parcel, _) in migration.parcels.iter().zip(&arrived).filter(|(_, arrived)| **arrived) {
            if db.delete(db.space.key(&parcel.key)) {
                effect.push(&parcel.key);
            }
        }
        let deleted = effect.len() - 1;
        if deleted > 0 {
            db.effects.instead(&effect);
            db.changed(deleted as u64);
        }
        db.effects.end(&[], deleted > 0);
        db.effects.close_unit();
    }
    let stats = db.stats;
    let has_moved = result.is_ok();
    blocking::finish(global, host, stats, migration.client_id, result, has_moved);
}

/// The keys behind KEYS if that is given; else the one in its place, whatever stands there.
fn keys_of_call(args: &[&[u8]]) -> Option<Vec<KeyAt>> {
    args.get(5)?;
    let at = |index| KeyAt { index, flags: MOVED };
    match keys_from(args) {
        Some(first) if args[3].is_empty() => Some((first..args.len()).map(at).collect()),
        _ => Some(vec![at(3)]),
    }
}

/// The argument behind KEYS. It ends the options: the words behind it are names.
fn keys_from(args: &[&[u8]]) -> Option<usize> {
    let mut at = 6;
    while at < args.len() {
        at += match args[at].to_ascii_uppercase().as_slice() {
            b"KEYS" => return Some(at + 1),
            b"AUTH" => 2,
            b"AUTH2" => 3,
            _ => 1,
        };
    }
    None
}

/// What AUTH and AUTH2 say, but not the names behind KEYS.
fn is_secret(args: &[&[u8]], index: usize) -> bool {
    if keys_from(args).is_some_and(|first| index >= first) {
        return false;
    }
    let said = |back: usize, word: &[u8]| index >= 6 + back && args[index - back].eq_ignore_ascii_case(word);
    said(1, b"AUTH") || said(1, b"AUTH2") || said(2, b"AUTH2")
}

#[derive(Default)]
struct Options {
    keeps_source: bool,
    replaces: bool,
    login: Option<Login>,
}

impl Options {
    fn parse(cx: &Ctx<'_>) -> Result<Options, Stop> {
        let mut options = Options::default();
        let mut at = 6;
        while at < cx.args.len() {
            let arg = |behind: usize| cx.args.get(at + behind).map(|arg| arg.to_vec()).ok_or(Error::Syntax);
            if cx.word(at, "COPY") {
                options.keeps_source = true;
            } else if cx.word(at, "REPLACE") {
                options.replaces = true;
            } else if cx.word(at, "AUTH") {
                options.login = Some(Login { user: None, password: arg(1)? });
                at += 1;
            } else if cx.word(at, "AUTH2") {
                options.login = Some(Login { user: Some(arg(1)?), password: arg(2)? });
                at += 2;
            } else if cx.word(at, "KEYS") {
                if !cx.args[3].is_empty() {
                    return cx
                        .fail("ERR When using MIGRATE KEYS option, the key argument must be set to the empty string");
                }
                break;
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
    use super::*;
    use crate::testing::{Rig, script};

    #[test]
    fn nothing_to_move_and_mistakes() {
        script(&[
            ("SET a 1", "+OK"),
            ("MIGRATE h 1 none 0 100", "+NOKEY"),
            (r#"MIGRATE h 1 "" 0 100"#, "+NOKEY"),
            (r#"MIGRATE h 1 "" 0 100 KEYS"#, "+NOKEY"),
            (r#"MIGRATE h 1 "" 0 100 COPY KEYS COPY KEYS"#, "+NOKEY"),
            ("MIGRATE h 1 a x y FOO", "-ERR syntax error"),
            ("MIGRATE h 1 a x y", "-ERR value is not an integer or out of range"),
            ("MIGRATE h 1 a 0 y", "-ERR value is not an integer or out of range"),
            ("MIGRATE h 1 a 0 9 AUTH", "-ERR syntax error"),
            ("MIGRATE h 1 a 0 9 AUTH2 x", "-ERR syntax error"),
            (
                "MIGRATE h 1 a 0 9 KEYS b",
                "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
            ),
            ("MULTI", "+OK"),
            ("MIGRATE h 1 none 0 100", "+QUEUED"),
            ("MIGRATE h 1 a 0 100", "+QUEUED"),
            ("EXEC", "*2 +NOKEY -ERR MIGRATE waits for another server, and nobody can wait in a transaction or script"),
        ]);
    }

    #[test]
    fn its_keys() {
        script(&[
            ("COMMAND GETKEYS MIGRATE h 1 a 0 100", "*1 $1 a"),
            (r#"COMMAND GETKEYS MIGRATE h 1 "" 0 100 KEYS a b"#, "*2 $1 a $1 b"),
            (r#"COMMAND GETKEYS MIGRATE h 1 "" 0 100 COPY"#, "*1 $0"),
            (r#"COMMAND GETKEYS MIGRATE h 1 "" 0 100 COPY KEYS a keys b"#, "*3 $1 a $4 keys $1 b"),
            ("COMMAND GETKEYS MIGRATE h 1 k 0 100 COPY AUTH KEYS", "*1 $1 k"),
            (r#"COMMAND GETKEYS MIGRATE h 1 "" 0 100 AUTH KEYS KEYS b"#, "*1 $1 b"),
        ]);
    }

    #[test]
    fn what_is_asked_of_the_host() {
        let mut rig = Rig::new();
        rig.script(&[
            ("SET a 1", "+OK"),
            ("SET b 2 PX 500", "+OK"),
            (r#"MIGRATE h 1 "" 3 0 REPLACE AUTH2 me pw KEYS a none b"#, "BLOCKED"),
        ]);
        let migration = rig.host.migrations.lock().pop().expect("it was asked");
        assert_eq!((migration.target_db, migration.timeout), (3, TIMEOUT_DEFAULT));
        assert!(migration.replaces && !migration.keeps_source);
        assert_eq!(migration.login, Some(Login { user: Some(b"me".to_vec()), password: b"pw".to_vec() }));
        let parcels: Vec<_> = migration.parcels.iter().map(|parcel| (parcel.key.as_slice(), parcel.ttl_ms)).collect();
        assert_eq!(parcels, [(&b"a"[..], 0), (b"b", 500)]);
    }

    #[test]
    fn what_has_arrived_is_deleted_and_the_rest_stays() {
        let mut rig = Rig::recording();
        rig.script(&[("MSET a 1 b 2 c 3", "+OK"), (r#"MIGRATE h 1 "" 0 100 KEYS a b c"#, "BLOCKED")]);
        rig.client(2).script(&[("GET a", "$1 1")]);
        rig.effects.clear();
        let refused = Error::text("ERR Target instance replied with error: BUSYKEY");
        rig.conclude_migration(&[true, false, true], Err(refused));
        assert_eq!(rig.unblocked(), [(1, "-ERR Target instance replied with error: BUSYKEY".to_owned())]);
        let names: Vec<&str> = rig.effects.events().iter().map(|event| event.name).collect();
        assert_eq!(names, ["del", "del"]);
        assert_eq!(rig.take_effects(), "DEL a c");
        rig.script(&[("EXISTS a b c", ":1"), ("GET b", "$1 2")]);
        assert!(rig.world.global.departing.is_empty());
    }

    #[test]
    fn a_copy_leaves_everything_as_it_is() {
        let mut rig = Rig::recording();
        rig.script(&[("SET a 1", "+OK"), ("MIGRATE h 1 a 0 100 COPY", "BLOCKED")]);
        assert!(rig.world.global.departing.is_empty());
        rig.effects.clear();
        rig.conclude_migration(&[true], Ok(()));
        assert_eq!((rig.unblocked(), rig.take_effects()), (vec![(1, "+OK".to_owned())], String::new()));
    }

    #[test]
    fn who_waits_while_keys_are_on_their_way() {
        let mut rig = Rig::new();
        rig.script(&[("MSET a 1 b 2", "+OK"), ("MIGRATE h 1 a 0 100", "BLOCKED")]);
        let global = &rig.world.global;
        let waits = |line: &str| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let command = global.registry.resolve(&args).expect("a command");
            let found = crate::keys::find(command.spec, &args).unwrap_or_default();
            let keys: Vec<Key<'_>> = found.iter().map(|key| rig.world.keyspace.key(args[key.index])).collect();
            global.departing.concern(command, &keys)
        };
        for line in [
            "SET a 1",
            "MSET b 1 a 1",
            "RENAME b a",
            "SORT b STORE a",
            "FLUSHALL",
            "EVAL x 0",
            "MIGRATE h 1 a 0 1",
            "EXEC",
        ] {
            assert!(waits(line), "{line}");
        }
        for line in ["GET a", "SET b 1", "PUBLISH a b", "EVAL_RO x 0", "TTL a", "SCRIPT FLUSH", "WATCH a"] {
            assert!(!waits(line), "{line}");
        }
    }
}

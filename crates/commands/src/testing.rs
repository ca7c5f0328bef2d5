//! The rig of the tests beside each command: a world without a server, and scripts of commands with their replies.
//!
//! ```ignore
//! script(&[("SET a 1", "+OK"), ("GET a", "$1 1"), ("MGET a b", "*2 $1 1 $-1")]);
//! ```
//!
//! Every script runs twice, on the narrow side (wide where the command asks for it) and completely on the wide one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use config::{Changes, Config, LogLevel, SetError, directives};
use keyspace::{DbIndex, Dropped, Held, Keyspace, Millis, Options};
use parking_lot::Mutex;
use replication::{
    Address, FailoverRequest, FailoverState, History, LinkId, LinkState, Log, Replconf, ReplicaReport, ReplicaState,
    ReplicationId, Sync, SyncRequest, UpstreamReport,
};
use resp::{Proto, Reply};

use crate::access::{self, AccessControl, Where};
use crate::blocking::{self, Release, Serving};
use crate::client::{Client, ClientFlags, Clients, Place, Session};
use crate::context::{Ctx, Host, Reach, Room, Shutdown, ShutdownOptions};
use crate::db::{Db, Manners};
use crate::effects::{Effect, Effects, Event, EventClass, Readers, Unit};
use crate::error::{Error, Stop};
use crate::generic::migrate::{self, Arrival, Migration};
use crate::global::{DebugSettings, Global, Pauses, Role, World};
use crate::keys;
use crate::observation::Observation;
use crate::persistence::{Alone, Cancelled, Persistence, Reload, Started, Wish};
use crate::pubsub::{Pending, Subscriptions};
use crate::registry::Registry;
use crate::replication::{Figures, Replication};
use crate::scripting::{self, Executor, Running, ScriptCall};
use crate::server::memory::MemoryReport;
use crate::settings::Settings;
use crate::spec::{Flags, Side};
use crate::stats::ThreadStats;
use crate::telling::Telling;
use crate::tracking;
use crate::transaction::{self, Transaction, is_immediate};

/// Runs the script on both sides of the gate and compares every reply.
///
/// A command is split like an inline command (`"\x00 quoted"`). In expected replies a space stands for each line end.
#[track_caller]
pub fn script(steps: &[(&str, &str)]) {
    for wide in [false, true] {
        let mut rig = Rig { wide, ..Rig::default() };
        rig.script(steps);
    }
}

/// Runs the script on both sides of the gate and compares every command's effects: what the journal gets.
///
/// ```ignore
/// effects(&[("SET a 1", "SET a 1"), ("GETEX a PERSIST", ""), ("RPUSH l x y", "RPUSH l x y"), ("LMPOP 1 l LEFT", "LPOP l 1")]);
/// ```
///
/// Several effects of a unit are separated by `; `, units by ` | `; before one of another database than 0 stands its number, `[1] `.
#[track_caller]
pub fn effects(steps: &[(&str, &str)]) {
    recorded("the effects", steps, Rig::take_effects);
}

/// The same for events: `new a, set a`.
#[track_caller]
pub fn events(steps: &[(&str, &str)]) {
    recorded("the events", steps, Rig::take_events);
}

#[track_caller]
fn recorded(what: &str, steps: &[(&str, &str)], take: fn(&mut Rig) -> String) {
    for wide in [false, true] {
        let mut rig = Rig { wide, ..Rig::recording() };
        for (command, expected) in steps {
            rig.run(command);
            assert_eq!(&take(&mut rig), expected, "{what} of {command} (wide: {wide})");
            rig.effects.clear();
        }
    }
}

/// A world, one client (or several, in turns), and a clock that stands still unless a test moves it.
pub struct Rig {
    pub world: World,
    /// Of the client whose turn it is.
    pub session: Session,
    /// The other clients, with their protocols.
    pub others: BTreeMap<u64, (Session, Proto)>,
    pub host: TestHost,
    pub now: Millis,
    pub reply: Reply,
    /// Who reads what the commands change.
    pub readers: Readers,
    /// What they changed.
    pub effects: Effects,
    /// Commands may wait, as they may outside of transactions and scripts.
    pub may_block: bool,
    /// Everything runs on the wide side.
    pub wide: bool,
    /// What others ask for while a script is slow, and what they hear.
    pub meanwhile: Vec<&'static str>,
    pub heard: Vec<String>,
}

impl Default for Rig {
    fn default() -> Rig {
        let config = Config::default();
        let registry = Arc::new(Registry::default());
        let now = Millis(1_700_000_000_000);
        let host = TestHost::new(registry.all().len());
        let client = host.connect(now);
        Rig {
            world: World {
                global: Global {
                    settings: Settings::of(&config),
                    config,
                    access: AccessControl::new(registry.clone()),
                    registry,
                    role: Role::Primary,
                    pauses: Pauses::default(),
                    waiters: Default::default(),
                    departing: Default::default(),
                    watches: Default::default(),
                    tracking: Default::default(),
                    monitors: Default::default(),
                    hot_keys: None,
                    scripts: Default::default(),
                    debug: DebugSettings::default(),
                    run_id: "0123456789abcdef0123456789abcdef01234567".into(),
                    started: now,
                    executable: "/usr/bin/spinel".into(),
                    arguments: Vec::new(),
                    last_save: now,
                    loading: false,
                    async_loading: false,
                    journal_kept: false,
                },
                keyspace: Keyspace::new(&Options { seed: [1, 2, 3, 4], ..Options::default() }),
            },
            session: Session::new(client, true, true),
            others: BTreeMap::new(),
            host,
            now,
            reply: Reply::default(),
            readers: Readers::NONE,
            effects: Effects::default(),
            may_block: true,
            wide: false,
            meanwhile: Vec::new(),
            heard: Vec::new(),
        }
    }
}

impl Rig {
    pub fn new() -> Rig {
        Rig::default()
    }

    /// A rig that records everything.
    pub fn recording() -> Rig {
        let readers =
            Readers { journal: true, events: EventClass::all(), unlink_expired: false, waiters: false, touches: false };
        Rig { readers, ..Rig::default() }
    }

    /// The effects that were recorded, in the form of [`effects`].
    pub fn take_effects(&mut self) -> String {
        let show = |effect: Effect<'_>| in_database(effect.db, &effect.to_string());
        let unit = |unit: Unit<'_>| unit.iter().map(show).collect::<Vec<_>>().join("; ");
        let text = self.effects.units().map(unit).collect::<Vec<_>>().join(" | ");
        self.effects.clear();
        text
    }

    /// The events that were recorded, in the form of [`events`].
    pub fn take_events(&mut self) -> String {
        let show =
            |event: &Event| in_database(event.db, &format!("{} {}", event.name, String::from_utf8_lossy(&event.key)));
        let text = self.effects.events().iter().map(show).collect::<Vec<_>>().join(", ");
        self.effects.clear();
        text
    }

    /// Gives the turn to another client. The first one has the number 1, and each new one the next.
    pub fn client(&mut self, number: u64) -> &mut Rig {
        if number == self.session.client.id {
            return self;
        }
        let (session, proto) = self.others.remove(&number).unwrap_or_else(|| {
            let client = self.host.connect(self.now);
            assert_eq!(client.id, number, "clients are numbered in order");
            (Session::new(client, true, true), Proto::Resp2)
        });
        let before = std::mem::replace(&mut self.session, session);
        self.others.insert(before.client.id, (before, self.reply.proto()));
        self.reply.set_proto(proto);
        self
    }

    /// The replies that blocked clients have got since the last call, in order, each with the client's number. A space stands for each
    /// line end.
    pub fn unblocked(&mut self) -> Vec<(u64, String)> {
        let replies = std::mem::take(&mut *self.host.unblocked.lock());
        replies.into_iter().map(|(id, reply)| (id, shown(&bytes(&reply)))).collect()
    }

    /// The pushes that a client has got since its last command, or the last call.
    pub fn pushes(&mut self, number: u64) -> String {
        let mut pushes = Reply::default();
        self.host.clients.get(number).expect("a client").take_pushes(&mut pushes);
        shown(&bytes(&pushes))
    }

    /// The time of a blocked client is over.
    pub fn time_out(&mut self, number: u64) {
        let stats = self.host.stats[0].clone();
        let released = blocking::release(&mut self.world.global, &self.host, &stats, number, Release::Timeout);
        assert!(released, "client {number} is not blocked");
    }

    /// The last migration has come to its end.
    pub fn conclude_migration(&mut self, arrived: &[bool], result: Result<(), Error>) {
        let migration = self.host.migrations.lock().pop().expect("MIGRATE has asked for it");
        let arrival = Arrival { migration, arrived: arrived.to_vec(), result };
        let World { global, keyspace } = &mut self.world;
        self.effects.serve(Readers { waiters: !global.waiters.is_empty(), ..self.readers });
        let stats = self.host.stats[0].clone();
        // SAFETY: the rig has one thread, and the space before this one was dropped.
        let space = unsafe { keyspace.wide() };
        let (effects, now) = (&mut self.effects, self.now);
        let mut db = Db { space, index: DbIndex(0), now, stats: &stats, manners: Manners::default(), effects };
        migrate::conclude(global, &mut db, &self.host, arrival);
        drop(db);
        self.serve();
    }

    #[track_caller]
    pub fn script(&mut self, steps: &[(&str, &str)]) {
        for (command, expected) in steps {
            let reply = self.run(command);
            assert_eq!(&reply, expected, "the reply to {command} (wide: {})", self.wide);
        }
    }

    /// Runs one command, given as a line, and returns its reply with a space for each line end.
    pub fn run(&mut self, line: &str) -> String {
        let args = config::words::split_words(line.as_bytes()).expect("a test's command line has balanced quotes");
        let args: Vec<&[u8]> = args.iter().map(|arg| &**arg).collect();
        shown(&self.run_args(&args))
    }

    /// Runs one command and returns its reply's bytes, or `BLOCKED`. Then the clients are served that it has made something ready for:
    /// see [`Rig::unblocked`].
    pub fn run_args(&mut self, args: &[&[u8]]) -> Vec<u8> {
        assert!(!self.session.has(ClientFlags::BLOCKED), "a blocked client runs nothing");
        self.session.client.take_pushes(&mut self.reply);
        let registry = self.world.global.registry.clone();
        let mut resolved = registry.resolve(args);
        let place = if self.session.transaction.is_some() { Where::Queued } else { Where::TopLevel };
        if let Ok(command) = resolved
            && let Some(error) = self.refusal(command, args, place)
        {
            resolved = Err(match transaction::is_exec(command) && self.session.end_transaction().is_some() {
                true => Error::Bytes(transaction::discarded_because_of(&error.render())),
                false => error,
            });
        }
        if let Some(transaction) = &mut self.session.transaction {
            match &resolved {
                Ok(command) if !is_immediate(command) => {
                    let flags = scripting::flags_of_call(&self.world.global, command, args);
                    self.session.queue(command, flags, args);
                    self.reply.queued();
                    return self.take_reply();
                }
                Ok(_) => {}
                Err(_) => transaction.spoil(),
            }
        }
        let result = resolved.map_err(Stop::Error).and_then(|command| {
            let wide = self.wide || command.spec.side == Side::Wide;
            match self.attempt(command, args, wide) {
                Err(Stop::Wide) if !wide => self.attempt(command, args, true),
                other => other,
            }
        });
        match result {
            Ok(()) => {}
            Err(Stop::Error(error)) => {
                tracking::end_caching(&mut self.session, registry.called(args), false);
                self.reply.error(error.render());
            }
            Err(Stop::Wide) => panic!("a command asked for the wide side on the wide side"),
            Err(Stop::Execute(transaction)) => self.execute(*transaction),
            Err(Stop::Script(call)) => {
                self.effects.begin_transaction();
                self.run_script(&call, args);
                self.effects.end_transaction();
                self.end_together();
            }
            Err(Stop::Block(block)) => {
                let command = registry.resolve(args).expect("it has run");
                self.world.global.waiters.add(&self.session, self.reply.proto(), command, args, *block, 0);
                self.serve();
                return b"BLOCKED".to_vec();
            }
        }
        self.serve();
        self.take_reply()
    }

    fn take_reply(&mut self) -> Vec<u8> {
        let bytes = bytes(&self.reply);
        let proto = self.reply.proto();
        self.reply = Reply::default();
        self.reply.set_proto(proto);
        bytes
    }

    /// Runs what EXEC has found.
    fn execute(&mut self, transaction: Transaction) {
        let registry = self.world.global.registry.clone();
        let may_block = std::mem::replace(&mut self.may_block, false);
        self.effects.begin_transaction();
        self.reply.array(transaction.len());
        for (id, words) in transaction.commands() {
            let args: Vec<&[u8]> = words.collect();
            let command = registry.by_id(id);
            if let Some(error) = self.refusal(command, &args, Where::Executed) {
                self.reply.error(error.render());
                continue;
            }
            match self.attempt(command, &args, true) {
                Ok(()) => {}
                Err(Stop::Error(error)) => self.reply.error(error.render()),
                Err(Stop::Script(call)) => self.run_script(&call, &args),
                Err(stop) => panic!("in a transaction a command stopped: {stop:?}"),
            }
        }
        self.effects.end_transaction();
        self.may_block = may_block;
        self.end_together();
    }

    /// A transaction or script is over.
    fn end_together(&mut self) {
        let stats = self.host.stats[0].clone();
        Telling::of(&self.world.global, &self.host, &stats, 0).tell_own(&mut self.effects, &self.session.client);
        tracking::end_caching(&mut self.session, None, false);
    }

    /// Runs what EVAL has found.
    fn run_script(&mut self, call: &ScriptCall, args: &[&[u8]]) {
        let engine = self.world.global.scripts.engine_for(call);
        let slow_after = self.world.global.settings.script_slow_after;
        let registry = self.world.global.registry.clone();
        let stats = self.host.stats[0].clone();
        let may_block = std::mem::replace(&mut self.may_block, false);
        let selected = self.session.db;
        let mut reply = std::mem::take(&mut self.reply);
        // Where `redis.log` goes: the rig itself is busy with the script's commands.
        let host = TestHost::new(registry.all().len());
        let permits = access::permissions(&mut self.session, &self.world.global);
        self.effects.in_script = true;
        let mut execution = Execution { rig: self, call };
        scripting::run(call, args, &engine, slow_after, &registry, &host, &stats, &mut reply, &permits, &mut execution);
        self.effects.in_script = false;
        self.world.global.scripts.running = None;
        self.host.log.lock().append(&mut host.log.lock());
        self.reply = reply;
        self.session.select(selected);
        self.may_block = may_block;
    }

    /// Why the client's user may not run this.
    fn refusal(&mut self, command: &crate::Command, args: &[&[u8]], place: Where) -> Option<Error> {
        let World { global, keyspace } = &mut self.world;
        let stats = self.host.stats[0].clone();
        let mut cx = Ctx {
            args,
            keys: &[],
            large: &[],
            reply: &mut self.reply,
            db: Db {
                space: keyspace.narrow(&Held::new()),
                index: self.session.db,
                now: self.now,
                stats: &stats,
                manners: Manners::default(),
                effects: &mut self.effects,
            },
            session: &mut self.session,
            command,
            reach: Reach::Narrow(global),
            may_block: self.may_block,
            host: &self.host,
        };
        if !cx.session.is_cleared(&cx.global().access)
            && let Some(error) = access::refusal(&mut cx, command, args, place)
        {
            return Some(error);
        }
        crate::replication::refusal(&cx, command, args, place == Where::Script, false)
    }

    /// Serves the clients that wait for what was made ready.
    fn serve(&mut self) {
        let World { global, keyspace } = &mut self.world;
        let stats = self.host.stats[0].clone();
        let mut serving = Serving {
            global,
            keyspace,
            host: &self.host,
            stats: &stats,
            effects: &mut self.effects,
            now: self.now,
            thread: 0,
        };
        let mut run = |cx: &mut Ctx<'_>| (cx.command.spec.run.expect("it has run")(cx), 0);
        // SAFETY: the rig has one thread, and the command's space was dropped.
        unsafe { serving.serve(&mut run) };
        let telling = Telling::of(&self.world.global, &self.host, &stats, 0);
        if self.readers.events.is_empty() {
            telling.tell(&mut self.effects, None);
        } else {
            self.effects.mark_watchers(&telling.global.watches);
        }
        telling.end(&mut self.effects);
    }

    fn attempt(&mut self, command: &crate::Command, args: &[&[u8]], wide: bool) -> Result<(), Stop> {
        let World { global, keyspace } = &mut self.world;
        let keys: Vec<_> = keys::find(command.spec, args)
            .unwrap_or_default()
            .iter()
            .map(|key| keyspace.key(args[key.index]))
            .collect();
        let mut held = Held::new();
        for key in &keys {
            held.insert(key.shard());
        }
        if !wide && global.waiters.concern(&keys, command.spec.flags.contains(Flags::WRITE)) {
            return Err(Stop::Wide);
        }
        let space = if wide {
            // SAFETY: the rig has one thread, and the space before this one was dropped.
            unsafe { keyspace.wide() }
        } else {
            keyspace.narrow(&held)
        };
        let manners = Manners::of(global, &self.session, self.now);
        let stats = self.host.stats[0].clone();
        let index: DbIndex = self.session.db;
        let mark = self.reply.len();
        let mut cx = Ctx {
            args,
            keys: &keys,
            large: &[],
            reply: &mut self.reply,
            db: Db { space, index, now: self.now, stats: &stats, manners, effects: &mut self.effects },
            session: &mut self.session,
            command,
            reach: if wide { Reach::Wide(global) } else { Reach::Narrow(global) },
            may_block: self.may_block,
            host: &self.host,
        };
        let handler = command.spec.run.expect("the registry only finds commands that run");
        let dirty_before = stats.dirty.get();
        let waiters = wide && !cx.global().waiters.is_empty();
        let touches = !cx.global().watches.is_empty() || cx.global().tracking.is_active();
        cx.db.effects.serve(Readers { waiters, touches, ..self.readers });
        cx.db.effects.begin(index);
        let result = handler(&mut cx);
        cx.session.note_changed(stats.dirty.get() != dirty_before);
        match result {
            Err(Stop::Wide) => cx.db.effects.end_for_wide(),
            _ => cx.db.effects.end(args, stats.dirty.get() != dirty_before),
        }
        cx.db.effects.close_unit();
        let telling = Telling::of(cx.reach.global(), cx.host, cx.db.stats, 0);
        let is_over = cx.may_block;
        if self.readers.events.is_empty() {
            telling.tell(cx.db.effects, Some(&cx.session.client));
        } else {
            // The test reads the events.
            cx.db.effects.mark_watchers(&telling.global.watches);
        }
        if is_over {
            telling.tell_own(cx.db.effects, &cx.session.client);
        }
        if cx.session.tracking.is_some() && !matches!(result, Err(Stop::Wide | Stop::Execute(_) | Stop::Script(_))) {
            tracking::note_command(&mut cx, 0, !is_over);
        }
        if result.is_err() {
            assert_eq!(cx.reply.len(), mark, "{} replied before it failed", command.full_name);
        }
        result
    }
}

/// A script in execution.
struct Execution<'a> {
    rig: &'a mut Rig,
    call: &'a ScriptCall,
}

impl Executor for Execution<'_> {
    fn execute(&mut self, command: &crate::Command, args: &[&[u8]], reply: &mut Reply) {
        if let Some(error) = self.rig.refusal(command, args, Where::Script) {
            return reply.error(error.render());
        }
        std::mem::swap(&mut self.rig.reply, reply);
        let outcome = self.rig.attempt(command, args, true);
        std::mem::swap(&mut self.rig.reply, reply);
        match outcome {
            Ok(()) => {}
            Err(Stop::Error(error)) => reply.error(error.render()),
            Err(stop) => panic!("in a script a command stopped: {stop:?}"),
        }
    }

    fn meanwhile(&mut self, has_written: bool) -> bool {
        let rig = &mut *self.rig;
        let running = &mut rig.world.global.scripts.running;
        let running = running.get_or_insert_with(|| Running::new(self.call, &[], Instant::now()));
        running.has_written = has_written;
        for line in std::mem::take(&mut rig.meanwhile) {
            let reply = rig.run(line);
            rig.heard.push(reply);
        }
        rig.world.global.scripts.running.as_ref().is_some_and(|running| !running.is_killed)
    }
}

fn in_database(db: DbIndex, text: &str) -> String {
    if db == DbIndex(0) { text.to_owned() } else { format!("[{}] {text}", db.0) }
}

fn bytes(reply: &Reply) -> Vec<u8> {
    reply.segments().flatten().copied().collect()
}

/// A reply with a space for each line end.
fn shown(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).replace("\r\n", " ").trim_end().to_owned()
}

/// A server of nothing but registries.
pub struct TestHost {
    pub clients: Clients,
    pub subscriptions: Subscriptions,
    pub observation: Observation,
    pub stats: Vec<Arc<ThreadStats>>,
    pub log: Mutex<Vec<String>>,
    pub shutdowns: Mutex<Vec<ShutdownOptions>>,
    pub reloads: Mutex<Vec<Reload>>,
    pub migrations: Mutex<Vec<Migration>>,
    /// Replies of clients that were blocked, by id.
    pub unblocked: Mutex<Vec<(u64, Reply)>>,
    pub replication: Mutex<TestReplication>,
    /// Whether FLUSHALL waits until a snapshot is on disk.
    pub saves_flushes: Mutex<bool>,
    /// Of the append-only file, if there is one.
    pub journal: Mutex<Option<TestJournal>>,
}

#[derive(Clone, Copy)]
pub struct TestJournal {
    pub tail: u64,
    pub durable: u64,
}

/// What a test says of replication, and what it was asked for.
pub struct TestReplication {
    pub upstream: Option<UpstreamReport>,
    pub replicas: Vec<ReplicaReport>,
    /// The end of the stream.
    pub offset: u64,
    pub failover_state: FailoverState,
    pub lacks_replicas: bool,
    pub is_stale: bool,
    /// The next answers.
    pub sync: Sync,
    pub replconf: Replconf,
    /// By SYNC, PSYNC and REPLCONF.
    pub asked: Vec<String>,
    pub failovers: Vec<FailoverRequest>,
}

impl Default for TestReplication {
    fn default() -> TestReplication {
        TestReplication {
            upstream: None,
            replicas: Vec::new(),
            offset: 0,
            failover_state: FailoverState::None,
            lacks_replicas: false,
            is_stale: false,
            sync: Sync::Wait,
            replconf: Replconf::Ok,
            asked: Vec::new(),
            failovers: Vec::new(),
        }
    }
}

/// A replica at 10.0.0.`number` that has so much.
pub fn replica(number: u64, offset: u64) -> ReplicaReport {
    ReplicaReport {
        link: LinkId(number),
        host: format!("10.0.0.{number}"),
        port: 6379,
        state: ReplicaState::Online,
        offset,
        disk_offset: 0,
        lag_ms: 0,
        rdb_only: false,
    }
}

/// A primary at 10.0.0.1.
pub fn upstream(state: LinkState) -> UpstreamReport {
    UpstreamReport {
        address: Address { host: "10.0.0.1".into(), port: 6379 },
        state,
        last_io_ms_ago: None,
        sync_in_progress: state == LinkState::Sync,
        sync_total_bytes: None,
        sync_read_bytes: 0,
        down_since_ms: None,
        up_since_ms: None,
        down_total_ms: 0,
        attempts: 1,
        attempts_total: 1,
        read_offset: 60,
        offset: 60,
        sync_last_io_ms_ago: 0,
    }
}

impl TestHost {
    fn new(command_count: usize) -> TestHost {
        TestHost {
            clients: Clients::default(),
            subscriptions: Subscriptions::default(),
            observation: Observation::default(),
            stats: vec![Arc::new(ThreadStats::new(command_count))],
            log: Mutex::default(),
            shutdowns: Mutex::default(),
            reloads: Mutex::default(),
            journal: Mutex::default(),
            saves_flushes: Mutex::default(),
            migrations: Mutex::default(),
            unblocked: Mutex::default(),
            replication: Mutex::default(),
        }
    }

    fn connect(&self, now: Millis) -> Arc<Client> {
        let id = self.clients.next_id();
        let place = Place { thread: 0, token: id as usize - 1 };
        let (address, local_address) = (format!("127.0.0.1:{}", 49_999 + id), "127.0.0.1:6379".into());
        let client = Arc::new(Client::new(id, place, address, local_address, 7 + id as i32, now));
        self.clients.insert(client.clone());
        client
    }
}

impl Host for TestHost {
    fn clients(&self) -> &Clients {
        &self.clients
    }
    fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }
    fn drop_later(&self, _garbage: Box<dyn Send>) {}
    fn observation(&self) -> &Observation {
        &self.observation
    }
    fn announce(&self, _thread: usize, _pending: &[Pending]) {}
    fn kill(&self, client: &Arc<Client>) {
        client.killed.store(true, std::sync::atomic::Ordering::Relaxed);
        self.subscriptions.remove_client(client);
        self.clients.remove(client.id);
    }
    fn unblock(&self, client: &Client, reply: Reply, _changed: bool, close: bool) {
        assert!(!close, "no test of a command makes this server a replica");
        self.unblocked.lock().push((client.id, reply));
    }
    fn wake_all(&self) {}
    fn stats(&self) -> &[Arc<ThreadStats>] {
        &self.stats
    }
    fn info(&self, _global: &Global, _db: &Db<'_>, sections: &[&[u8]]) -> String {
        format!("# {} sections\r\n", sections.len())
    }
    fn persistence(&self) -> &dyn Persistence {
        self
    }
    fn replication(&self) -> &dyn Replication {
        self
    }
    fn shutdown(
        &self,
        _alone: Alone<'_, '_>,
        _client_id: Option<u64>,
        options: ShutdownOptions,
    ) -> Result<Shutdown, Error> {
        self.shutdowns.lock().push(options);
        Ok(Shutdown::Now)
    }
    fn apply_config(&self, global: &mut Global, _changes: &Changes) -> Result<(), SetError> {
        global.settings = Settings::of(&global.config);
        self.observation.latency.set_threshold(global.config.get(directives::LATENCY_MONITOR_THRESHOLD).max(0) as u64);
        Ok(())
    }
    fn migrate(&self, migration: Migration) {
        self.migrations.lock().push(migration);
    }
    fn free_later(&self, garbage: Dropped) {
        drop(garbage);
    }
    fn log(&self, _level: LogLevel, text: &str) {
        self.log.lock().push(text.to_owned());
    }
    /// One byte is less than anything uses.
    fn room(&self, global: &Global) -> Room {
        if global.settings.maxmemory_bytes == 1 { Room::Out } else { Room::Enough }
    }
    fn cpu_ms(&self) -> (u64, u64) {
        (0, 0)
    }
    fn used_memory_bytes(&self) -> u64 {
        0
    }
    fn memory_report(&self, _global: &Global, _db: &Db<'_>) -> MemoryReport {
        MemoryReport::default()
    }
    fn allocator_stats(&self) -> String {
        String::new()
    }
    fn purge_memory(&self) {}
    fn reset_stats(&self) {
        self.stats.iter().for_each(|stats| stats.reset());
    }
    fn crash(&self, kind: &str) -> ! {
        panic!("asked to crash: {kind}")
    }
    fn restart(&self, _delay_ms: u64, _graceful: bool) -> Result<(), String> {
        Ok(())
    }
}

/// Nothing is kept, and whatever is asked begins at once.
impl Persistence for TestHost {
    fn save(&self, _alone: Alone<'_, '_>, _client_id: u64) -> Result<(), Error> {
        Ok(())
    }
    fn background_save(&self, _alone: Alone<'_, '_>, wish: Wish) -> Result<Started, Error> {
        Ok(if wish == Wish::Now { Started::Now } else { Started::Scheduled })
    }
    fn cancel_background_save(&self) -> Result<Cancelled, Error> {
        Ok(Cancelled::Running)
    }
    fn flushed_all(&self, _alone: Alone<'_, '_>, wish: Wish, _client_id: u64) -> bool {
        wish == Wish::Now && *self.saves_flushes.lock()
    }
    fn rewrite(&self, _alone: Alone<'_, '_>, wish: Wish) -> Result<Started, Error> {
        Ok(if wish == Wish::Now { Started::Now } else { Started::Scheduled })
    }
    fn reload(&self, _alone: Alone<'_, '_>, _client_id: u64, reload: Reload) -> Result<(), Error> {
        self.reloads.lock().push(reload);
        Ok(())
    }
    fn is_failing(&self) -> bool {
        false
    }
    fn refusal(&self, _global: &Global) -> Option<Error> {
        None
    }
    fn is_journal_kept(&self) -> bool {
        self.journal.lock().is_some()
    }
    fn journal_tail(&self) -> u64 {
        self.journal.lock().map_or(0, |journal| journal.tail)
    }
    fn journal_durable(&self) -> u64 {
        self.journal.lock().map_or(0, |journal| journal.durable)
    }
    fn want_durable(&self, _offset: u64) {}
}

/// Whatever is asked is done at once, and nobody is connected.
impl Replication for TestHost {
    fn follow(&self, alone: Alone<'_, '_>, primary: Option<Address>) -> Result<bool, Error> {
        let before = &mut self.replication.lock().upstream;
        if before.as_ref().map(|upstream| &upstream.address) == primary.as_ref() {
            return Ok(false);
        }
        alone.global.role = if primary.is_some() { Role::Replica } else { Role::Primary };
        *before = primary.map(|address| UpstreamReport { address, ..upstream(LinkState::Connect) });
        Ok(true)
    }
    fn replconf(&self, _alone: Alone<'_, '_>, _client: &Arc<Client>, words: &[&[u8]]) -> Replconf {
        let mut state = self.replication.lock();
        let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        state.asked.push(["replconf", &words.join(" ")].join(" ").trim_end().to_owned());
        state.replconf.clone()
    }
    fn sync(&self, _alone: Alone<'_, '_>, _client: &Arc<Client>, request: SyncRequest<'_>) -> Sync {
        let mut state = self.replication.lock();
        let request = match request {
            SyncRequest::Sync => "sync".to_owned(),
            SyncRequest::Psync { id, offset, failover } => {
                let failover = if failover { " failover" } else { "" };
                format!("psync {} {offset}{failover}", String::from_utf8_lossy(id))
            }
        };
        state.asked.push(request);
        state.sync.clone()
    }
    fn replicas(&self) -> Vec<ReplicaReport> {
        self.replication.lock().replicas.clone()
    }
    fn good_replicas(&self) -> usize {
        self.replication.lock().replicas.len()
    }
    fn upstream(&self) -> Option<UpstreamReport> {
        self.replication.lock().upstream.clone()
    }
    fn history(&self) -> History {
        History::new(ReplicationId::from_random([0; 20]))
    }
    fn log(&self) -> Log {
        Log { first: None, end: self.replication.lock().offset }
    }
    fn offset(&self) -> u64 {
        self.replication.lock().offset
    }
    fn figures(&self) -> Figures {
        Figures::default()
    }
    fn acknowledged(&self, offset: u64) -> usize {
        self.replication.lock().replicas.iter().filter(|replica| replica.offset >= offset).count()
    }
    fn acknowledged_on_disk(&self, offset: u64) -> usize {
        self.replication.lock().replicas.iter().filter(|replica| replica.disk_offset >= offset).count()
    }
    fn want_acknowledged(&self) {}
    fn failover(&self, _alone: Alone<'_, '_>, request: FailoverRequest) -> Result<(), Error> {
        let mut state = self.replication.lock();
        state.failover_state = FailoverState::WaitsForSync;
        state.failovers.push(request);
        Ok(())
    }
    fn abort_failover(&self, _alone: Alone<'_, '_>) -> Result<(), Error> {
        self.replication.lock().failover_state = FailoverState::None;
        Ok(())
    }
    fn failover_state(&self) -> FailoverState {
        self.replication.lock().failover_state
    }
    fn change_id(&self, _alone: Alone<'_, '_>) {}
    fn lacks_replicas(&self) -> bool {
        self.replication.lock().lacks_replicas
    }
    fn note_own_expiry(&self, _db: DbIndex, _key: &[u8], _at: Millis) {}
    fn is_stale(&self) -> bool {
        self.replication.lock().is_stale
    }
}

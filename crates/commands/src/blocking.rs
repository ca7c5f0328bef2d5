//! Commands that wait for a key: BLPOP, BZMPOP, XREAD and their kin.
//!
//! ```text
//!   handler finds nothing ── cx.block() ──> Stop::Wide (narrow side)  ──> runs again wide
//!                                      ──> timeout reply (MULTI, scripts: nobody may wait there)
//!                                      ──> Stop::Block ──> Waiters::add                    ┐ one wide access: nothing can be
//!                                                                                          ┘ pushed in between
//!   a wide command signals a key ──> serve(): the handlers of its waiters run again, in order of arrival
//!        handler replies or fails ──> the waiter is taken out, Host::unblock delivers
//!        handler blocks again     ──> it waits on, behind all others (as in Redis 8.2)
//!   timeout, CLIENT UNBLOCK, CLIENT KILL, end of the connection ──> Waiters::take (wide)
//! ```
//!
//! Everything that concerns waiters happens on the wide side, so that a waiter is claimed by exactly one of those. What a narrow
//! command does, when there is anybody waiting at all, is to look whether its keys are waited for ([`Waiters::concern`]), and to
//! run wide if so.
//!
//! *Why does the handler run again, rather than being handed the element?* It is the one place that knows what the command does:
//! which end of which list, into which destination, what is propagated. Redis 8.2 does so too, and it shows: a client that waits for
//! two keys gets WRONGTYPE when the second wakes it and the first has become something else meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyspace::{DbIndex, Key, Keyspace, Millis, Object, ValueRef};
use resp::long_double::LongDouble;
use resp::{Proto, Reply};

use crate::client::{Client, ClientFlags, Session};
use crate::context::{Ctx, Host, Outcome, Reach};
use crate::db::{Db, Manners};
use crate::effects::Effects;
use crate::error::{Error, Stop};
use crate::generic::wait::{is_hopeless, is_safe, reply_safety};
use crate::global::Global;
use crate::keys;
use crate::observation::Executed;
use crate::registry::Command;
use crate::stats::ThreadStats;
use crate::telling::Telling;
use crate::tracking;

/// What a blocked command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOn {
    List,
    SortedSet,
    Stream,
    /// A stream with a consumer group: the client is also woken when the key goes or becomes something else.
    StreamGroup,
    /// No key, but something that the server does for it (SAVE): [`finish`] ends it, and nobody else.
    Job,
    /// No key, but that what the client has written is safe (WAIT, WAITAOF): [`serve_safe`] ends it.
    Safe(Safety),
}

/// Where something has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safety {
    /// WAITAOF: up to where the journal holds it, and whether it has to be on the disk here.
    pub journal: Option<(u64, bool)>,
    /// Up to where the stream of replication holds it, how many replicas have to have it, and whether on their disks.
    pub offset: u64,
    pub replicas: usize,
    pub on_disk: bool,
}

/// A command that cannot go on yet.
#[derive(Clone, Debug)]
pub struct Block {
    pub on: BlockOn,
    /// Which arguments are the keys it waits for.
    pub keys: Range<usize>,
    /// `None`: for ever.
    pub timeout: Option<Duration>,
    /// What the client gets when the time is over, or where nobody may wait.
    pub on_timeout: fn(&mut Reply),
    /// The arguments for when it runs again, if they differ (XREAD's `$` means "from now", not "from then").
    pub args: Option<Vec<Vec<u8>>>,
}

impl Ctx<'_> {
    /// Makes the client wait, when its command has found nothing and has changed nothing: `return cx.block(…)`.
    ///
    /// # Errors
    /// `Stop::Wide` on the narrow side, `Stop::Block` on the wide one. `Ok` where nobody may wait: the timeout reply is written.
    #[cold]
    pub fn block(&mut self, block: Block) -> Outcome {
        if !self.may_block {
            (block.on_timeout)(self.reply);
            return Ok(());
        }
        match self.reach {
            Reach::Narrow(_) => Err(Stop::Wide),
            Reach::Wide(_) => Err(Stop::Block(Box::new(block))),
        }
    }

    /// Argument `index` as a timeout in seconds, with fractions; 0 is for ever.
    ///
    /// # Errors
    /// As Redis: no number, negative, or beyond what a clock in milliseconds can show.
    pub fn timeout_seconds(&self, index: usize) -> Result<Option<Duration>, Stop> {
        let seconds = LongDouble::parse(self.args[index]).map(LongDouble::to_f64);
        let Some(seconds) = seconds else {
            return self.fail("ERR timeout is not a float or out of range");
        };
        // Rounded up: a tenth of a millisecond is no eternity.
        let ms = (seconds * 1000.0).ceil();
        if ms > i64::MAX as f64 {
            return self.fail("ERR timeout is out of range");
        }
        self.timeout_of(ms as i64)
    }

    /// Argument `index` as a timeout in milliseconds; 0 is for ever.
    ///
    /// # Errors
    /// As Redis: no integer, negative, or beyond what a clock in milliseconds can show.
    pub fn timeout_ms(&self, index: usize) -> Result<Option<Duration>, Stop> {
        match resp::number::parse_i64(self.args[index]) {
            Some(ms) => self.timeout_of(ms),
            None => self.fail("ERR timeout is not an integer or out of range"),
        }
    }

    fn timeout_of(&self, ms: i64) -> Result<Option<Duration>, Stop> {
        match ms {
            ..0 => self.fail("ERR timeout is negative"),
            0 => Ok(None),
            _ if self.db.now.0.checked_add(ms).is_none() => self.fail("ERR timeout is out of range"),
            _ => Ok(Some(Duration::from_millis(ms as u64))),
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Who waits
// ---------------------------------------------------------------------------------------------------------------------

/// A place in the order of arrival.
type Arrival = u64;

/// A client that waits, with all that its command needs to run again.
struct Waiter {
    /// As it was when the command ran: nothing of the connection runs before this has its reply.
    session: Session,
    proto: Proto,
    command: u16,
    args: Vec<Vec<u8>>,
    on: BlockOn,
    on_timeout: fn(&mut Reply),
    /// In this database, each once.
    keys: Vec<Box<[u8]>>,
    has_timeout: bool,
    /// What the command has cost so far. It counts as one call when it has its reply, as in Redis.
    spent_ns: u64,
}

/// Who waits for one key.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeSet<Arrival>,
    /// How many of them are to be woken when the key goes.
    for_its_end: usize,
}

/// All clients that wait for keys. Part of [`Global`]: read on the narrow side, changed on the wide one.
#[derive(Default)]
pub struct Waiters {
    by_arrival: BTreeMap<Arrival, Waiter>,
    by_client: HashMap<u64, Arrival>,
    /// No queue is empty, and no map of queues. While anybody waits, every narrow command looks here: the hash is a fast one, keyed.
    queues: BTreeMap<DbIndex, HashMap<Box<[u8]>, Queue, foldhash::quality::RandomState>>,
    arrivals: Arrival,
}

/// For INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitersCount {
    pub clients: usize,
    /// Those whose time ends.
    pub clients_with_timeout: usize,
    pub keys: usize,
    /// Keys of which somebody wants to know when they go.
    pub keys_on_nokey: usize,
}

impl Waiters {
    pub fn is_empty(&self) -> bool {
        self.by_arrival.is_empty()
    }

    pub fn count(&self) -> WaitersCount {
        let queues = || self.queues.values().flat_map(HashMap::values);
        WaitersCount {
            clients: self.by_arrival.len(),
            clients_with_timeout: self.by_arrival.values().filter(|waiter| waiter.has_timeout).count(),
            keys: queues().count(),
            keys_on_nokey: queues().filter(|queue| queue.for_its_end > 0).count(),
        }
    }

    /// Whether a command with these keys may make somebody's key ready. A read can only do that by finding that the key's time has come.
    ///
    /// In any database: MOVE and COPY write to another than the selected one.
    #[cold]
    pub fn concern(&self, keys: &[Key<'_>], writes: bool) -> bool {
        let concerns = |queue: &Queue| writes || queue.for_its_end > 0;
        self.queues.values().any(|queues| keys.iter().any(|key| queues.get(key.bytes()).is_some_and(concerns)))
    }

    /// Whether somebody wants to know when this key goes.
    pub fn concern_end_of(&self, db: DbIndex, key: &[u8]) -> bool {
        self.queue(db, key).is_some_and(|queue| queue.for_its_end > 0)
    }

    fn queue(&self, db: DbIndex, key: &[u8]) -> Option<&Queue> {
        self.queues.get(&db)?.get(key)
    }

    /// Makes a client wait behind all others. `args` are what its command was called with.
    ///
    /// # Panics
    /// If it waits already: nothing of a connection runs while it does.
    pub fn add(
        &mut self,
        session: &Session,
        proto: Proto,
        command: &Command,
        args: &[&[u8]],
        block: Block,
        spent_ns: u64,
    ) {
        let args = block.args.unwrap_or_else(|| args.iter().map(|arg| arg.to_vec()).collect());
        let mut keys: Vec<Box<[u8]>> = args[block.keys].iter().map(|key| key.clone().into_boxed_slice()).collect();
        keys.sort_unstable();
        keys.dedup();
        self.enqueue(Waiter {
            session: session.clone(),
            proto,
            command: command.id,
            args,
            on: block.on,
            on_timeout: block.on_timeout,
            keys,
            has_timeout: block.timeout.is_some(),
            spent_ns,
        });
    }

    fn enqueue(&mut self, waiter: Waiter) {
        let arrival = self.arrivals;
        self.arrivals += 1;
        for key in &waiter.keys {
            let queue = self.queues.entry(waiter.session.db).or_default().entry(key.clone()).or_default();
            queue.waiting.insert(arrival);
            queue.for_its_end += usize::from(waiter.on == BlockOn::StreamGroup);
        }
        let client = &waiter.session.client;
        let before = self.by_client.insert(client.id, arrival);
        assert!(before.is_none(), "client {} waits twice", client.id);
        client.set_flag(ClientFlags::BLOCKED, true);
        client.argument_bytes.store(waiter.args.iter().map(Vec::len).sum(), Relaxed);
        self.by_arrival.insert(arrival, waiter);
    }

    /// The clients that wait in WAIT and WAITAOF, with what for.
    fn for_safety(&self) -> impl Iterator<Item = (u64, &Safety)> {
        self.by_arrival.values().filter_map(|waiter| match &waiter.on {
            BlockOn::Safe(safety) => Some((waiter.session.client.id, safety)),
            _ => None,
        })
    }

    /// The first offset of the journal that somebody needs on disk and that is beyond this one.
    pub fn next_durable(&self, durable: u64) -> Option<u64> {
        let needed = self.for_safety().filter_map(|(_, safety)| safety.journal).filter(|(_, is_needed)| *is_needed);
        needed.map(|(offset, _)| offset).filter(|&offset| offset > durable).min()
    }

    /// Whether somebody waits for replicas.
    pub fn want_replicas(&self) -> bool {
        self.for_safety().any(|(_, safety)| safety.replicas > 0)
    }

    /// Who cannot go on when this server becomes a replica.
    pub fn for_role_change(&self) -> Vec<u64> {
        let waits_on = |waiter: &&Waiter| waiter.on == BlockOn::Job;
        self.by_arrival.values().filter(|waiter| !waits_on(waiter)).map(|waiter| waiter.session.client.id).collect()
    }

    /// Ends a client's waiting without a word: its connection is gone.
    pub fn remove(&mut self, client_id: u64) {
        self.take(client_id);
    }

    fn take(&mut self, client_id: u64) -> Option<Waiter> {
        let arrival = *self.by_client.get(&client_id)?;
        let waiter = self.by_arrival.remove(&arrival).expect("every client in the index waits");
        self.forget(arrival, &waiter);
        Some(waiter)
    }

    /// Takes a waiter that was taken out of `by_arrival` out of everything else.
    fn forget(&mut self, arrival: Arrival, waiter: &Waiter) {
        let db = waiter.session.db;
        for key in &waiter.keys {
            let queues = self.queues.get_mut(&db).expect("every waiter is in its queues");
            let queue = queues.get_mut(key).expect("every waiter is in its queues");
            assert!(queue.waiting.remove(&arrival), "every waiter is in its queues");
            queue.for_its_end -= usize::from(waiter.on == BlockOn::StreamGroup);
            if queue.waiting.is_empty() {
                queues.remove(key);
            }
            if queues.is_empty() {
                self.queues.remove(&db);
            }
        }
        let client = &waiter.session.client;
        self.by_client.remove(&client.id);
        client.set_flag(ClientFlags::BLOCKED, false);
        client.argument_bytes.store(0, Relaxed);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// What ends the waiting but a key
// ---------------------------------------------------------------------------------------------------------------------

/// Why a client goes on without what it has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Its time is over, or CLIENT UNBLOCK says so.
    Timeout,
    /// CLIENT UNBLOCK … ERROR.
    Error,
    /// This server has become a replica, where the client's write could not be done any more. The connection ends.
    RoleChanged,
}

/// What a client hears that has waited when the server became a replica.
pub fn role_changed() -> Error {
    Error::text("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)")
}

/// Ends the waiting of one client. False if it does not wait (any more).
pub fn release(global: &mut Global, host: &dyn Host, stats: &ThreadStats, client_id: u64, why: Release) -> bool {
    let waits_for_job = |waiters: &Waiters| {
        let waiter = waiters.by_client.get(&client_id).map(|arrival| &waiters.by_arrival[arrival]);
        waiter.is_some_and(|waiter| waiter.on == BlockOn::Job)
    };
    if waits_for_job(&global.waiters) {
        return false;
    }
    let Some(waiter) = global.waiters.take(client_id) else {
        return false;
    };
    let mut reply = Reply::new();
    reply.set_proto(waiter.proto);
    let error = match why {
        Release::Timeout => None,
        Release::Error => Some(Error::text("UNBLOCKED client unblocked via CLIENT UNBLOCK")),
        Release::RoleChanged => Some(role_changed()),
    };
    match (&error, waiter.on) {
        (None, BlockOn::Safe(safety)) => reply_safety(&safety, host, &mut reply),
        (None, _) => (waiter.on_timeout)(&mut reply),
        (Some(error), _) => {
            let text = error.render();
            stats.count_error(&text);
            reply.error(&text);
        }
    }
    count_call(&waiter, error.is_some(), reply.len(), global, host, stats);
    host.unblock(&waiter.session.client, reply, false, why == Release::RoleChanged);
    true
}

/// What a client has waited for is done, or has failed. Without effect if it is gone. `changed`: its command has changed something.
pub fn finish(
    global: &mut Global,
    host: &dyn Host,
    stats: &ThreadStats,
    client_id: u64,
    result: Result<(), Error>,
    changed: bool,
) {
    let Some(waiter) = global.waiters.take(client_id) else {
        return;
    };
    let mut reply = Reply::new();
    reply.set_proto(waiter.proto);
    match &result {
        Ok(()) => (waiter.on_timeout)(&mut reply),
        Err(error) => {
            let text = error.render();
            stats.count_error(&text);
            reply.error(&text);
        }
    }
    count_call(&waiter, result.is_err(), reply.len(), global, host, stats);
    host.unblock(&waiter.session.client, reply, changed, false);
}

/// Serves who waits in WAIT and WAITAOF, when more is on disk, replicas have acknowledged more, or the append-only file is there no more.
pub fn serve_safe(global: &mut Global, host: &dyn Host, stats: &ThreadStats) {
    let ended = |(client_id, safety): (u64, &Safety)| match is_hopeless(safety, host) {
        Some(error) => Some((client_id, Err(error))),
        None => is_safe(safety, host).then_some((client_id, Ok(()))),
    };
    let ended: Vec<_> = global.waiters.for_safety().filter_map(ended).collect();
    for (client_id, result) in ended {
        match result {
            // The reply is how far it has come, as when the time is over.
            Ok(()) => assert!(release(global, host, stats, client_id, Release::Timeout), "it waits"),
            Err(error) => finish(global, host, stats, client_id, Err(error), false),
        }
    }
}

/// Ends the waiting of all clients.
pub fn release_all(global: &mut Global, host: &dyn Host, stats: &ThreadStats, why: Release) {
    let clients: Vec<u64> = global.waiters.by_arrival.values().map(|waiter| waiter.session.client.id).collect();
    for client_id in clients {
        release(global, host, stats, client_id, why);
    }
}

/// Its command has ended: what it has taken is the time in which it ran, not that in which it waited.
fn count_call(
    waiter: &Waiter,
    failed: bool,
    reply_bytes: usize,
    global: &Global,
    host: &dyn Host,
    stats: &ThreadStats,
) {
    let settings = &global.settings;
    stats.commands.add(1);
    stats.by_command[waiter.command as usize].record(waiter.spent_ns, failed, settings.latency_tracking);
    let args: Vec<&[u8]> = waiter.args.iter().map(Vec::as_slice).collect();
    let executed = Executed {
        command: global.registry.by_id(waiter.command),
        args: &args,
        ns: waiter.spent_ns,
        reply_bytes,
        client: Some(&waiter.session.client),
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    host.observation().note(&executed, settings, Millis(since.as_millis() as i64));
}

// ---------------------------------------------------------------------------------------------------------------------
// Serving
// ---------------------------------------------------------------------------------------------------------------------

/// What serving needs: a wide access, whose own command has ended.
pub struct Serving<'w> {
    pub global: &'w mut Global,
    pub keyspace: &'w Keyspace,
    pub host: &'w dyn Host,
    pub stats: &'w ThreadStats,
    /// Where the access has signalled keys, and where what serving changes is recorded, each command a unit of its own.
    pub effects: &'w mut Effects,
    pub now: Millis,
    /// The thread that serves.
    pub thread: usize,
}

/// Runs a command's handler, and says how many nanoseconds it took.
pub type Run<'r> = dyn FnMut(&mut Ctx<'_>) -> (Outcome, u64) + 'r;

impl Serving<'_> {
    /// Tells what a client's command has recorded.
    fn tell(&mut self, own: &Client) {
        Telling::of(self.global, self.host, self.stats, self.thread).tell(self.effects, Some(own));
    }

    fn tell_own(&mut self, client: &Client) {
        Telling::of(self.global, self.host, self.stats, self.thread).tell_own(self.effects, client);
    }

    /// Serves who waits for the keys that were signalled, and for those that this makes ready in turn, until all is quiet. What was found
    /// expired by a look at a key is still to be told.
    ///
    /// # Safety
    /// The caller is alone in the world, and no `Space` of the keyspace exists: see [`Keyspace::wide`].
    pub unsafe fn serve(&mut self, run: &mut Run<'_>) {
        loop {
            let mut ready = self.effects.take_ready();
            if ready.is_empty() {
                return;
            }
            for db in ready.databases.drain(..) {
                let waited_for = self.global.waiters.queues.get(&db).into_iter().flat_map(HashMap::keys);
                ready.keys.extend(waited_for.map(|key| (db, key.clone())));
            }
            for (db, key) in ready.keys {
                // SAFETY: as the caller promises.
                unsafe { self.serve_key(db, &key, run) };
            }
        }
    }

    /// # Safety
    /// As for [`serve`](Self::serve).
    unsafe fn serve_key(&mut self, db: DbIndex, key: &[u8], run: &mut Run<'_>) {
        // Who begins to wait now, because somebody else was served, is not woken by what was before.
        let Some(&last) = self.global.waiters.queue(db, key).and_then(|queue| queue.waiting.last()) else {
            return;
        };
        let mut from = 0;
        loop {
            let Some(queue) = self.global.waiters.queue(db, key) else {
                return;
            };
            let Some(&arrival) = queue.waiting.range(from..).next().filter(|&&arrival| arrival <= last) else {
                return;
            };
            from = arrival + 1;
            let asked_for_its_end = queue.for_its_end > 0;
            let waiter = &self.global.waiters.by_arrival[&arrival];
            let on = waiter.on;
            let manners = Manners::of(self.global, &waiter.session, self.now);
            // SAFETY: as the caller promises.
            let found = unsafe { self.what_is_at(db, key, manners) };
            if found.is_none() && !asked_for_its_end {
                // Taken by those before: a thousand others need not be asked.
                return;
            }
            let wakes = match on {
                BlockOn::StreamGroup => true,
                BlockOn::Job | BlockOn::Safe(_) => unreachable!("they wait for no key"),
                on => found == Some(on),
            };
            if wakes {
                // SAFETY: as the caller promises.
                unsafe { self.run_again(arrival, run) };
            }
        }
    }

    /// What a waiter could find at the key.
    ///
    /// # Safety
    /// As for [`serve`](Self::serve).
    unsafe fn what_is_at(&mut self, db: DbIndex, key: &[u8], manners: Manners) -> Option<BlockOn> {
        // SAFETY: as the caller promises.
        let space = unsafe { self.keyspace.wide() };
        let mut db = Db { space, index: db, now: self.now, stats: self.stats, manners, effects: self.effects };
        let entry = db.glance(self.keyspace.key(key))?;
        match entry.value() {
            ValueRef::Object(object) => match &*object {
                Object::List(_) => Some(BlockOn::List),
                Object::SortedSet(_) => Some(BlockOn::SortedSet),
                Object::Stream(_) => Some(BlockOn::Stream),
                Object::Set(_) | Object::Hash(_) => None,
            },
            ValueRef::Str(_) => None,
        }
    }

    /// Runs a waiter's command again. It has its reply then, or waits on, behind all others.
    ///
    /// # Safety
    /// As for [`serve`](Self::serve).
    unsafe fn run_again(&mut self, arrival: Arrival, run: &mut Run<'_>) {
        let Some(mut waiter) = self.global.waiters.by_arrival.remove(&arrival) else {
            return;
        };
        // Its event loop has not come to it yet: what it would get, nobody would.
        if waiter.session.client.killed.load(Relaxed) {
            self.global.waiters.forget(arrival, &waiter);
            return;
        }
        let registry = self.global.registry.clone();
        let command = registry.by_id(waiter.command);
        let args: Vec<&[u8]> = waiter.args.iter().map(Vec::as_slice).collect();
        let keys: Vec<Key<'_>> = keys::find(command.spec, &args)
            .unwrap_or_default()
            .iter()
            .map(|key| self.keyspace.key(args[key.index]))
            .collect();
        let mut reply = Reply::new();
        reply.set_proto(waiter.proto);
        let manners = Manners::of(self.global, &waiter.session, self.now);
        let index = waiter.session.db;
        let dirty_before = self.stats.dirty.get();
        self.effects.begin(index);
        // SAFETY: as the caller promises.
        let space = unsafe { self.keyspace.wide() };
        let mut cx = Ctx {
            args: &args,
            keys: &keys,
            large: &[],
            reply: &mut reply,
            db: Db { space, index, now: self.now, stats: self.stats, manners, effects: self.effects },
            session: &mut waiter.session,
            command,
            reach: Reach::Wide(self.global),
            may_block: true,
            host: self.host,
        };
        let (outcome, ns) = run(&mut cx);
        let changed = self.stats.dirty.get() != dirty_before;
        cx.db.effects.end(&args, changed);
        cx.db.effects.close_unit();
        tracking::note_command(&mut cx, self.thread, false);
        drop(cx);
        self.tell(&waiter.session.client);
        waiter.spent_ns += ns;
        let failed = match outcome {
            Ok(()) => false,
            Err(Stop::Block(block)) => {
                self.global.waiters.forget(arrival, &waiter);
                if let Some(args) = block.args {
                    waiter.args = args;
                }
                self.tell_own(&waiter.session.client);
                self.global.waiters.enqueue(waiter);
                return;
            }
            Err(Stop::Error(error)) => {
                assert!(reply.is_empty(), "{} replied before it failed", command.full_name);
                let text = error.render();
                self.stats.count_error(&text);
                reply.error(&text);
                true
            }
            Err(stop) => unreachable!("a command that waits stopped with {stop:?}"),
        };
        self.global.waiters.forget(arrival, &waiter);
        count_call(&waiter, failed, reply.len(), self.global, self.host, self.stats);
        self.host.unblock(&waiter.session.client, reply, changed, false);
        self.tell_own(&waiter.session.client);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// What is ready
// ---------------------------------------------------------------------------------------------------------------------

/// The keys that one access has made ready, in order.
#[derive(Debug, Default)]
pub struct Ready {
    keys: Vec<(DbIndex, Box<[u8]>)>,
    /// Databases of which anything may have changed.
    databases: Vec<DbIndex>,
}

impl Ready {
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.databases.is_empty()
    }

    #[cold]
    pub(crate) fn add(&mut self, db: DbIndex, key: &[u8]) {
        if planted_skipped_waiter() {
            return;
        }
        // A script may write one key a thousand times.
        if self.keys.last().is_none_or(|(last_db, last)| (*last_db, &**last) != (db, key)) {
            self.keys.push((db, key.into()));
        }
    }

    #[cold]
    pub(crate) fn add_database(&mut self, db: DbIndex) {
        self.databases.push(db);
    }
}

/// The planted bug `skipped-waiter`: one key in eight that became ready is forgotten, as by a command that signals on one of its
/// paths only. The linearizability check must find it.
#[cfg(feature = "planted")]
fn planted_skipped_waiter() -> bool {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    static IS_PLANTED: LazyLock<bool> =
        LazyLock::new(|| std::env::var("SPINEL_PLANT").is_ok_and(|name| name == "skipped-waiter"));
    static COUNT: AtomicU32 = AtomicU32::new(0);
    *IS_PLANTED && COUNT.fetch_add(1, Ordering::Relaxed).is_multiple_of(8)
}

#[cfg(not(feature = "planted"))]
#[inline(always)]
fn planted_skipped_waiter() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rig;

    /// Runs on both sides of the gate.
    fn rigs(test: impl Fn(&mut Rig)) {
        for wide in [false, true] {
            test(&mut Rig { wide, ..Rig::new() });
        }
    }

    fn served(rig: &mut Rig, expected: &[(u64, &str)]) {
        let replies = rig.unblocked();
        let replies: Vec<(u64, &str)> = replies.iter().map(|(client, reply)| (*client, &**reply)).collect();
        assert_eq!(replies, expected, "(wide: {})", rig.wide);
    }

    #[test]
    fn timeouts_that_redis_refuses_and_accepts() {
        rigs(|rig| {
            let reply = |timeout: &str, expected: &str| {
                let mut rig = Rig { wide: rig.wide, ..Rig::new() };
                assert_eq!(rig.run(&format!("BLPOP k '{timeout}'")), expected, "BLPOP k '{timeout}'");
            };
            for timeout in ["x", "nan", "", " 1", "1 ", "1.5abc"] {
                reply(timeout, "-ERR timeout is not a float or out of range");
            }
            for timeout in ["-1", "-inf", "-1e400", "-1e20"] {
                reply(timeout, "-ERR timeout is negative");
            }
            for timeout in ["inf", "1e400", "1e18", "9223372036854775", "9223372036854775807", "18446744073709551616"] {
                reply(timeout, "-ERR timeout is out of range");
            }
            for timeout in ["0", "-0", "-0.0001", "1e3", "0x10", "0x1p-1", "+1", "0.0001", "9e15", "9223370000000000"] {
                reply(timeout, "BLOCKED");
            }
        });
    }

    #[test]
    fn a_value_that_takes_the_place_of_another_is_not_for_those_who_wait() {
        rigs(|rig| {
            assert_eq!(rig.client(2).run("BLPOP l 0"), "BLOCKED");
            let steps = [("RPUSH n 1 2", ":2"), ("SET l text", "+OK"), ("SORT n STORE l", ":2"), ("RPUSH l 3", ":3")];
            rig.client(1).script(&steps);
            served(rig, &[]);
            // A key that is new is.
            rig.client(1).script(&[("DEL l", ":1"), ("SORT n STORE l", ":2"), ("LRANGE l 0 -1", "*1 $1 2")]);
            served(rig, &[(2, "*2 $1 l $1 1")]);
        });
    }

    #[test]
    fn in_order_of_arrival_one_element_each() {
        rigs(|rig| {
            for client in 2..=4 {
                assert_eq!(rig.client(client).run("BLPOP l 0"), "BLOCKED");
            }
            rig.client(1).script(&[("RPUSH l a b", ":2"), ("LLEN l", ":0")]);
            served(rig, &[(2, "*2 $1 l $1 a"), (3, "*2 $1 l $1 b")]);
            // Who was served waits behind the others the next time.
            assert_eq!(rig.client(2).run("BLPOP l 0"), "BLOCKED");
            rig.client(1).script(&[("RPUSH l c d e", ":3"), ("LRANGE l 0 -1", "*1 $1 e")]);
            served(rig, &[(4, "*2 $1 l $1 c"), (2, "*2 $1 l $1 d")]);
            assert!(rig.world.global.waiters.is_empty());
        });
    }

    #[test]
    fn the_first_key_of_several_counts_and_is_waited_for_once() {
        rigs(|rig| {
            assert_eq!(rig.client(2).run("BLPOP l a l b 0"), "BLOCKED");
            let count = rig.world.global.waiters.count();
            assert_eq!(count, WaitersCount { clients: 1, keys: 3, ..WaitersCount::default() });
            rig.client(1).script(&[("LPUSH b x", ":1")]);
            served(rig, &[(2, "*2 $1 b $1 x")]);
            assert_eq!(rig.client(2).run("BRPOP l a 7.5"), "BLOCKED");
            let count = rig.world.global.waiters.count();
            assert_eq!(count, WaitersCount { clients: 1, clients_with_timeout: 1, keys: 2, keys_on_nokey: 0 });
            // Another type does not wake, and is an error where it stands before the key that does.
            rig.client(1).script(&[("SET l x", "+OK"), ("RPUSH a x", ":1"), ("LLEN a", ":1")]);
            served(rig, &[(2, "-WRONGTYPE Operation against a key holding the wrong kind of value")]);
        });
    }

    #[test]
    fn whatever_makes_a_list() {
        for command in ["RENAME x l", "COPY x l", "SWAPDB 0 1", "SELECT 1;MOVE l 0", "SELECT 1;COPY l l DB 0"] {
            rigs(|rig| {
                rig.script(&[("RPUSH x 1", ":1"), ("SELECT 1", "+OK"), ("RPUSH l 1", ":1"), ("SELECT 0", "+OK")]);
                assert_eq!(rig.client(2).run("BLPOP l 0"), "BLOCKED");
                rig.client(1);
                command.split(';').for_each(|command| drop(rig.run(command)));
                served(rig, &[(2, "*2 $1 l $1 1")]);
            });
        }
    }

    #[test]
    fn a_wait_ends_once() {
        rigs(|rig| {
            for client in 2..=5 {
                assert_eq!(rig.client(client).run("BLPOP l 1"), "BLOCKED");
            }
            rig.time_out(2);
            served(rig, &[(2, "*-1")]);
            rig.client(1).script(&[
                ("CLIENT UNBLOCK 2", ":0"),
                ("CLIENT UNBLOCK 3", ":1"),
                ("CLIENT UNBLOCK 3", ":0"),
                ("CLIENT UNBLOCK 4 ERROR", ":1"),
            ]);
            served(rig, &[(3, "*-1"), (4, "-UNBLOCKED client unblocked via CLIENT UNBLOCK")]);
            // Nothing is lost to a client that was killed.
            rig.script(&[("CLIENT KILL ID 5", ":1"), ("RPUSH l a", ":1"), ("LLEN l", ":1")]);
            served(rig, &[]);
        });
    }

    #[test]
    fn the_reply_is_in_the_protocol_of_the_client() {
        rigs(|rig| {
            rig.client(2).run("HELLO 3");
            assert_eq!(rig.run("BLPOP l 1"), "BLOCKED");
            assert_eq!(rig.client(3).run("BLPOP l 1"), "BLOCKED");
            rig.time_out(2);
            rig.time_out(3);
            served(rig, &[(2, "_"), (3, "*-1")]);
            assert_eq!(rig.client(2).run("GET zz"), "_");
        });
    }

    #[test]
    fn who_is_served_may_serve_others() {
        rigs(|rig| {
            rig.readers.journal = true;
            assert_eq!(rig.client(2).run("BLMOVE a b LEFT RIGHT 0"), "BLOCKED");
            assert_eq!(rig.client(3).run("BLMOVE b a LEFT RIGHT 0"), "BLOCKED");
            assert_eq!(rig.client(4).run("BLPOP a 0"), "BLOCKED");
            rig.effects.clear();
            rig.client(1).script(&[("RPUSH a 1", ":1"), ("EXISTS a b", ":0")]);
            served(rig, &[(2, "$1 1"), (3, "$1 1"), (4, "*2 $1 a $1 1")]);
            // Each command is a unit of its own.
            let units: Vec<Vec<String>> =
                rig.effects.units().map(|unit| unit.iter().map(|effect| effect.to_string()).collect()).collect();
            assert_eq!(units, [["RPUSH a 1"], ["LMOVE a b LEFT RIGHT"], ["LMOVE b a LEFT RIGHT"], ["LPOP a"]]);
        });
    }

    #[test]
    fn the_same_key_at_both_ends() {
        rigs(|rig| {
            assert_eq!(rig.client(2).run("BLMOVE a a LEFT RIGHT 0"), "BLOCKED");
            assert_eq!(rig.client(3).run("BLMOVE a a LEFT RIGHT 0"), "BLOCKED");
            rig.client(1).script(&[("RPUSH a 1 2", ":2"), ("LRANGE a 0 -1", "*2 $1 1 $1 2")]);
            served(rig, &[(2, "$1 1"), (3, "$1 2")]);
        });
    }

    #[test]
    fn what_a_consumer_group_waits_on_may_go() {
        rigs(|rig| {
            // BLPOP in the place of a command that wants to know.
            let registry = rig.world.global.registry.clone();
            let command = registry.find(b"blpop").expect("it is there");
            let on_timeout: fn(&mut Reply) = |reply| reply.null_array();
            let block = Block { on: BlockOn::StreamGroup, keys: 1..2, timeout: None, on_timeout, args: None };
            rig.run("SET g x PX 10");
            let session = rig.client(2).session.clone();
            rig.world.global.waiters.add(&session, Proto::Resp2, command, &[b"BLPOP", b"g", b"0"], block, 0);
            rig.now.0 += 11;
            assert_eq!(rig.client(3).run("BLPOP g 0"), "BLOCKED");
            // That has found the key gone, so the first one has looked, found nothing, and waits behind the second.
            rig.client(1).script(&[("RPUSH g 1", ":1")]);
            served(rig, &[(3, "*2 $1 g $1 1")]);
            rig.script(&[("SET g x", "+OK")]);
            served(rig, &[(2, "-WRONGTYPE Operation against a key holding the wrong kind of value")]);
        });
    }

    #[test]
    fn statistics_count_a_call_when_it_has_its_reply() {
        rigs(|rig| {
            let id = rig.world.global.registry.find(b"blpop").expect("it is there").id as usize;
            let counts = |rig: &Rig| {
                let command = &rig.host.stats[0].by_command[id];
                (command.calls.get(), command.failed.get())
            };
            for client in 2..=4 {
                assert_eq!(rig.client(client).run("BLPOP l 1"), "BLOCKED");
            }
            assert_eq!(counts(rig), (0, 0));
            rig.client(1).run("RPUSH l a");
            rig.run("CLIENT UNBLOCK 3 ERROR");
            assert_eq!(counts(rig), (2, 1));
            rig.time_out(4);
            assert_eq!(counts(rig), (3, 1));
        });
    }

    #[test]
    fn a_waiter_costs_others_nothing_but_a_look() {
        let mut waiters = Waiters::default();
        let keyspace = Keyspace::new(&keyspace::Options::default());
        let mut rig = Rig::new();
        let registry = rig.world.global.registry.clone();
        let command = registry.find(b"blpop").expect("it is there");
        let block = |on| Block { on, keys: 1..2, timeout: None, on_timeout: |reply| reply.null_array(), args: None };
        waiters.add(&rig.client(1).session, Proto::Resp2, command, &[b"BLPOP", b"l", b"0"], block(BlockOn::List), 0);
        waiters.add(&rig.client(2).session, Proto::Resp2, command, &[b"x", b"g", b"0"], block(BlockOn::StreamGroup), 0);
        let concern = |key: &[u8], writes| waiters.concern(&[keyspace.key(b"zz"), keyspace.key(key)], writes);
        assert!(concern(b"l", true) && concern(b"g", true) && !concern(b"other", true));
        // A read finds at most that a key's time has come.
        assert!(!concern(b"l", false) && concern(b"g", false) && !concern(b"other", false));
        waiters.remove(1);
        waiters.remove(1);
        assert_eq!(waiters.count(), WaitersCount { clients: 1, keys: 1, keys_on_nokey: 1, ..WaitersCount::default() });
        waiters.remove(2);
        assert!(waiters.is_empty() && waiters.queues.is_empty());
    }
}

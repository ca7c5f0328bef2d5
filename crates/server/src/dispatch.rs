//! From decoded requests to executed commands: which side of the gate, which shards, what is refused.
//!
//! ```text
//! requests -> plan (command, keys, side) -> narrow: own gate, locks of the batch's shards, prefetch, run in order
//!                                        -> wide:   all gates, run
//! ```
//!
//! A batch is bounded, so that a wide access waits for little. A command that finds on the narrow side that it must be
//! alone has changed nothing yet; it ends the batch and runs wide.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use commands::access::{self, Where};
use commands::blocking::{Block, Serving};
use commands::client::Written;
use commands::db::{Db, Manners};
use commands::effects::Readers;
use commands::generic::migrate::{self, Arrival};
use commands::global::{Global, Pause, Role, World};
use commands::keys::{self, KeyPlan};
use commands::observation::monitor::Line;
use commands::observation::{Executed, Watching, request_bytes};
use commands::pubsub::{self, Delivery};
use commands::replication::{self, Replication};
use commands::scripting::{self, Ended, Executor, Running, ScriptCall};
use commands::server::monitor;
use commands::spec::{Flags, Side};
use commands::telling::Telling;
use commands::tracking;
use commands::transaction::{self, Transaction};
use commands::{
    ClientFlags, Command, Ctx, Effects, Error, LastCalled, Reach, Registry, Room, Session, Stop, ThreadStats,
};
use gate::{Alone, Narrow, Wide};
use journal::{Batch, Destinations};
use keyspace::{DbIndex, ElementAhead, Elements, Held, Key, Keyspace, Millis, Space};
use resp::{Mark, Reply};
use smallvec::SmallVec;

use crate::eviction::Evictor;
use crate::operation::clock::Tick;
use crate::operation::{crash, memory};
use crate::replication::Relay;
use crate::shared::{Shared, now};

/// When a batch has replied so much, the replies are sent before it goes on.
pub const REPLY_BYTES_MAX: usize = 256 * 1024;
/// So many commands run under one access, where several threads could want the same shards.
const BATCH_COMMANDS_MAX: usize = 16;
/// The same where there is one thread: nobody waits, and more cache misses overlap.
const BATCH_COMMANDS_ALONE_MAX: usize = 32;
/// So many requests of one name run under one wide access, where there is one thread.
const BATCH_WIDE_ALONE_MAX: usize = 16;
/// So many keys of a wide command are prefetched.
const PREFETCHED_MAX: usize = 16;
/// A batch that has added so much to full memory ends, so that keys are evicted before the next.
const OVERDRAFT_BYTES_MAX: u64 = 64 * 1024;
/// A command with more keys than this is not "few shards": it runs wide.
const NARROW_KEYS_MAX: usize = 64;

/// Vectors with room for more elements than this are not kept for the next batch.
const KEPT_CAPACITY_MAX: usize = 16 * 1024;

/// Decoded requests of one connection: all arguments in a row, and where each request lies among them.
#[derive(Default)]
pub struct Requests<'a> {
    pub args: Vec<&'a [u8]>,
    /// For each request: behind its last argument, and behind its last byte in the buffer.
    ends: Vec<(u32, u32)>,
    /// Where the first request begins.
    byte_base: usize,
}

impl<'a> Requests<'a> {
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Requests from here on begin at this byte of the buffer.
    pub fn begin(&mut self, byte_start: usize) {
        self.byte_base = byte_start;
    }

    /// The arguments of request `index`.
    #[inline]
    fn get(&self, index: usize) -> &[&'a [u8]] {
        let first = if index == 0 { 0 } else { self.ends[index - 1].0 };
        &self.args[first as usize..self.ends[index].0 as usize]
    }

    /// Where in the buffer request `index` begins.
    pub fn byte_start(&self, index: usize) -> usize {
        if index == 0 { self.byte_base } else { self.ends[index - 1].1 as usize }
    }

    /// Ends a request: its arguments were appended, its last byte lies before `byte_end`.
    #[inline]
    pub fn close(&mut self, byte_end: usize) {
        self.ends.push((self.args.len() as u32, byte_end as u32));
    }

    /// Bytes of all requests together. `close` says where each ends, of one that lies in no buffer its length.
    #[inline]
    fn bytes(&self) -> usize {
        self.ends.last().map_or(0, |(_, byte_end)| *byte_end as usize - self.byte_base)
    }

    /// The same memory for requests in another buffer.
    #[inline]
    pub fn recycle<'b>(mut self) -> Requests<'b> {
        // One enormous command must not be remembered by its memory.
        if self.args.capacity() > KEPT_CAPACITY_MAX {
            return Requests::default();
        }
        self.ends.clear();
        Requests { args: resp::recycle(self.args), ends: self.ends, byte_base: 0 }
    }
}

/// What a thread keeps between batches, so that none allocates.
pub struct Scratch {
    keys: Vec<Key<'static>>,
    /// Of a transaction, and of a script's commands.
    unit_keys: Vec<Key<'static>>,
    script_keys: Vec<Key<'static>>,
    plans: Vec<Plan<'static>>,
    held: Held,
    effects: Effects,
    /// The effects of one access, as the journal takes them.
    batch: Batch,
    /// What the thread knows of keys that could go, if it has ever had to evict any.
    pub evictor: Option<Box<Evictor>>,
    /// Memory is above its limit, and there is more to evict.
    pub must_evict: bool,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch {
            keys: Vec::new(),
            unit_keys: Vec::new(),
            script_keys: Vec::new(),
            plans: Vec::new(),
            held: Held::new(),
            effects: Effects::default(),
            batch: Batch::default(),
            evictor: None,
            must_evict: false,
        }
    }
}

impl Scratch {
    /// Where the thread records what it changes without having been asked by a client.
    pub fn effects(&mut self) -> &mut Effects {
        &mut self.effects
    }

    /// Hands what was recorded to the journal, before the access ends that has made the changes.
    pub fn record(&mut self, shared: &Shared, now: Millis) {
        record(shared, &mut self.effects, &mut self.batch, now);
    }
}

/// Hands effects to the journal. The caller still holds what they are about, so that the journal's order is the data's.
#[inline]
fn record(shared: &Shared, effects: &mut Effects, batch: &mut Batch, now: Millis) {
    if effects.has_units() {
        batch.serve(shared.persistence.journal.wanted());
        let mut args = SmallVec::<[&[u8]; 16]>::new();
        for unit in effects.units() {
            batch.unit_begin();
            for effect in unit.iter() {
                let to = if effect.replicas_only { Destinations::REPLICAS } else { Destinations::all() };
                args.clear();
                args.extend(effect.args());
                batch.effect(effect.db.0, &args, to);
            }
            batch.unit_end();
        }
        shared.persistence.journal.append(batch, (now.0 / 1000) as u64);
    }
    effects.clear();
}

/// How one request will run.
struct Plan<'a> {
    /// Boxed, so that plans are small: there is one for every request of a pipeline.
    command: Result<&'a Command, Box<Error>>,
    first_key: u32,
    key_count: u32,
    side: Side,
    /// It is expected to be queued for EXEC: nobody has looked at its keys.
    is_queued: bool,
}

/// Where the execution of a connection's requests stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// All were executed.
    Done,
    /// This one has to wait behind CLIENT PAUSE or MIGRATE; it and what follows were not executed.
    Paused { at: usize },
    /// The one before this waits for a key. What follows was not executed.
    Blocked { at: usize, timeout: Option<Duration> },
    /// This one runs a script, which may take so long that others have to be heard meanwhile: it has to wait until all others of
    /// this turn have left their seats.
    Script { at: usize },
    /// So much was replied that it has to be sent before this one is executed.
    Full { at: usize },
    /// The connection is to be closed after its replies; the requests behind this were not executed.
    Closed,
    /// The connection was closed while its requests were executed.
    Gone,
}

/// The requests of one connection, to be executed in order.
pub struct Job<'a> {
    requests: &'a Requests<'a>,
    /// Arguments of the only request that lie in buffers of their own.
    large: &'a [(usize, Arc<Vec<u8>>)],
    session: &'a mut Session,
    reply: &'a mut Reply,
    /// The length of the reply before this job.
    replied_before: usize,
    /// Where it began.
    first: usize,
    /// The first request that was not executed yet.
    next: usize,
    /// So many are in the batch.
    planned: usize,
    /// The next one must be alone in the world.
    wide_next: bool,
    has_run_scripts: bool,
    progress: Option<Progress>,
}

impl<'a> Job<'a> {
    /// The requests from `first` on.
    pub fn new(
        requests: &'a Requests<'a>,
        first: usize,
        large: &'a [(usize, Arc<Vec<u8>>)],
        session: &'a mut Session,
        reply: &'a mut Reply,
    ) -> Job<'a> {
        let replied_before = reply.len();
        Job {
            requests,
            large,
            session,
            reply,
            replied_before,
            first,
            next: first,
            planned: 0,
            wide_next: false,
            has_run_scripts: false,
            progress: None,
        }
    }

    /// How many of its requests have run to their end.
    pub fn executed(&self) -> u64 {
        let blocked = matches!(self.progress, Some(Progress::Blocked { .. }));
        (self.next - self.first) as u64 - u64::from(blocked)
    }

    pub fn has_run_scripts(&self) -> bool {
        self.has_run_scripts
    }

    /// Where it stopped, once [`Dispatcher::run`] is through.
    pub fn progress(self) -> Progress {
        self.progress.expect("the dispatcher runs every job to its end")
    }
}

/// What an event loop does while a script of its own runs.
pub trait Attend {
    /// Sends what others have been replied already. Touches nothing of the world, which is not lent.
    fn hand_out(&mut self);
    /// While it is slow: turns to whoever has something to say, without waiting for anybody. The world is lent meanwhile.
    fn attend(&mut self);
}

/// Runs requests on behalf of connections.
pub struct Dispatcher<'a> {
    pub shared: &'a Shared,
    pub thread: usize,
    pub stats: &'a ThreadStats,
    pub scratch: &'a mut Scratch,
    /// Who serves this thread's clients while a script is slow. `None`: it has none, so it waits for others' slow scripts, and
    /// nobody is heard during its own.
    pub front: Option<&'a mut dyn Attend>,
    /// Scripts run; otherwise a job ends before one ([`Progress::Script`]).
    pub runs_scripts: bool,
    /// What is executed has come from our primary, and goes on to our replicas as it came.
    pub relay: Option<&'a Relay<'a>>,
}

/// For each key of a command: when it expires.
type Expiries = SmallVec<[Option<Millis>; 2]>;

/// When the keys of a command expire that a client may write with although this is a replica; `None` for all others.
#[inline]
fn own_expiries(cx: &Ctx<'_>) -> Option<Expiries> {
    let is_own =
        cx.global().role == Role::Replica && !cx.session.replays && cx.command.spec.flags.contains(Flags::WRITE);
    is_own.then(|| expiries(cx))
}

#[cold]
fn expiries(cx: &Ctx<'_>) -> Expiries {
    cx.keys.iter().map(|&key| cx.db.space.get(cx.session.db, key).and_then(|entry| entry.expire_at())).collect()
}

/// Keys that have got an expiry here: nobody else will remove them.
#[cold]
fn note_own_expiries(cx: &Ctx<'_>, before: &Expiries) {
    for ((key, before), after) in cx.keys.iter().zip(before).zip(expiries(cx)) {
        if let Some(at) = after
            && after != *before
        {
            cx.host.replication().note_own_expiry(cx.session.db, key.bytes(), at);
        }
    }
}

/// The planted bug `stale-pause`: the pause is read once a second, outside the gate, as code might do that wants to save the
/// look behind it. The linearizability check finds writes that take effect during CLIENT PAUSE.
#[cfg(feature = "planted")]
fn planted_stale_pause(global: &Global, now: Millis) -> Option<Option<Pause>> {
    use std::cell::Cell;
    thread_local! {
        static STALE: Cell<(i64, Option<Pause>)> = const { Cell::new((0, None)) };
    }
    static IS_PLANTED: std::sync::LazyLock<bool> =
        std::sync::LazyLock::new(|| std::env::var_os("SPINEL_PLANT").is_some_and(|name| name == "stale-pause"));
    if !*IS_PLANTED {
        return None;
    }
    let (read_at, pause) = STALE.get();
    if now.0 - read_at < 1000 {
        return Some(pause.filter(|pause| pause.until > now));
    }
    let pause = global.pause_at(now);
    STALE.set((now.0, pause));
    Some(pause)
}

#[cfg(not(feature = "planted"))]
#[inline(always)]
fn planted_stale_pause(_global: &Global, _now: Millis) -> Option<Option<Pause>> {
    None
}

impl<'a> Dispatcher<'a> {
    /// Executes the jobs' requests: each job's in order, those of different jobs side by side, so that the cache misses of one
    /// connection's keys overlap with those of another's.
    pub fn run(&mut self, jobs: &mut [Job<'_>]) {
        while jobs.iter().any(|job| job.progress.is_none()) {
            if self.shared.limit.is_set() {
                self.make_room();
            }
            self.narrow(jobs);
            for job in jobs.iter_mut() {
                if job.wide_next {
                    self.wide(job);
                }
                if job.progress.is_none() && job.next == job.requests.len() {
                    job.progress = Some(Progress::Done);
                }
                if job.session.has_written() {
                    // What others write from here on is nothing that its WAIT waits for.
                    job.session.written_until(Written {
                        stream: Replication::offset(self.shared),
                        journal: self.shared.persistence.journal_tail(),
                    });
                }
            }
        }
    }

    /// Whether what is executed here is a stream that is not ours any more.
    #[inline]
    fn is_over(&self) -> bool {
        self.relay.is_some_and(|relay| !relay.is_current(self.shared))
    }

    /// Passes this thread's gate; `None` while a script is slow.
    #[inline]
    fn enter(&self) -> Option<Narrow<'a, World>> {
        match self.front {
            Some(_) => self.shared.gates.narrow_unless_lent(self.thread),
            None => Some(self.shared.gates.narrow(self.thread)),
        }
    }

    /// Runs a batch of the jobs' next requests under this thread's gate.
    fn narrow(&mut self, jobs: &mut [Job<'_>]) {
        let Some(world) = self.enter() else {
            // A script is slow. What may be done meanwhile is done alone with the world, and seldom.
            for job in jobs.iter_mut().filter(|job| job.progress.is_none()) {
                job.wide_next = job.next < job.requests.len();
            }
            return;
        };
        let is_over = self.is_over();
        let mut plans: Vec<Plan<'_>> = recycle(std::mem::take(&mut self.scratch.plans));
        let mut keys: Vec<Key<'_>> = recycle(std::mem::take(&mut self.scratch.keys));
        let mut effects = std::mem::take(&mut self.scratch.effects);
        let mut batch = std::mem::take(&mut self.scratch.batch);
        let held = &mut self.scratch.held;
        held.clear();
        let registry = &*self.shared.registry;
        let mut last = LastCalled::default();
        let batch_max = if self.shared.loops() == 1 { BATCH_COMMANDS_ALONE_MAX } else { BATCH_COMMANDS_MAX };
        // Inside the gate: who waited for it comes after whoever held it.
        let now = now();
        for job in jobs.iter_mut() {
            job.planned = 0;
            if job.progress.is_some() {
                continue;
            }
            if job.session.client.killed.load(Relaxed) || is_over {
                job.progress = Some(Progress::Closed);
                continue;
            }
            let mut queues = job.session.transaction.is_some();
            while job.next + job.planned < job.requests.len() && plans.len() < batch_max && keys.len() < NARROW_KEYS_MAX
            {
                let first_key = keys.len();
                let args = job.requests.get(job.next + job.planned);
                let plan = plan(registry, &world.keyspace, args, &mut last, queues, &mut keys);
                if let Ok(command) = plan.command {
                    queues = transaction::queues_after(command, queues);
                }
                if plan.side == Side::Wide {
                    if job.planned == 0 {
                        let is_script = |command| scripting::may_take_long(command, job.session);
                        match plan.command {
                            Ok(command) if !self.runs_scripts && is_script(command) => {
                                job.progress = Some(Progress::Script { at: job.next });
                            }
                            _ => job.wide_next = true,
                        }
                    }
                    keys.truncate(first_key);
                    break;
                }
                plans.push(plan);
                job.planned += 1;
            }
        }
        if !plans.is_empty() {
            for key in &keys {
                held.insert(key.shard());
            }
            let space = world.keyspace.narrow(held);
            if keys.len() > 1 {
                self.stats.prefetch_batches.add(1);
                self.stats.prefetch_keys.add(keys.len() as u64);
                let db = jobs[0].session.db;
                space.prefetch(db, &keys);
                prefetch_elements(&space, db, jobs, &plans, &keys);
            }
            self.run_plans(&world.global, space, jobs, &plans, &keys, now, &mut effects, &mut batch);
        }
        effects.clear();
        drop(world);
        memory::publish();
        self.scratch.batch = batch;
        self.scratch.effects = effects;
        self.scratch.plans = recycle(plans);
        self.scratch.keys = recycle(keys);
    }

    /// Runs what was planned, job by job.
    #[expect(clippy::too_many_arguments, reason = "borrows of the batch that have nothing else in common")]
    fn run_plans<'b>(
        &self,
        global: &'b Global,
        space: Space<'b>,
        jobs: &'b mut [Job<'_>],
        plans: &'b [Plan<'b>],
        keys: &'b [Key<'b>],
        now: Millis,
        effects: &'b mut Effects,
        batch: &mut Batch,
    ) where
        Self: 'b,
    {
        effects.serve(readers(global));
        let mut access = Access::new(self.shared, self.thread, global, now);
        let mut plans = plans.iter();
        let mut jobs = jobs.iter_mut().filter(|job| job.planned > 0);
        let Some(first) = jobs.next() else { return };
        let Job { requests, large, session, reply, replied_before, next, planned, progress, wide_next, .. } = first;
        let mut cx = Ctx {
            args: &[],
            keys: &[],
            large,
            db: Db {
                space,
                index: session.db,
                now,
                stats: self.stats,
                manners: Manners::of(global, session, now),
                effects,
            },
            session,
            reply,
            command: self.shared.registry.by_id(0),
            reach: Reach::Narrow(global),
            may_block: true,
            host: self.shared,
        };
        access.is_guarded &= !cx.session.replays;
        cx.may_block = !cx.session.replays;
        access.look_at(cx.session, requests.bytes());
        let mut job = (&*requests, *replied_before, next, planned, progress, wide_next);
        loop {
            let (requests, replied_before, next, planned, progress, wide_next) = job;
            let mut mine = plans.by_ref().take(*planned);
            for plan in mine.by_ref() {
                match access.run(&mut cx, requests.get(*next), plan, keys) {
                    Ok(()) => {
                        *next += 1;
                        if cx.reply.len() - replied_before > REPLY_BYTES_MAX && *next < requests.len() {
                            *progress = Some(Progress::Full { at: *next });
                            break;
                        }
                    }
                    Err(BatchEnd::Wide) => {
                        *wide_next = true;
                        break;
                    }
                    Err(BatchEnd::Paused) => {
                        *progress = Some(Progress::Paused { at: *next });
                        break;
                    }
                    Err(BatchEnd::Closed) => {
                        *progress = Some(Progress::Closed);
                        break;
                    }
                    Err(BatchEnd::NoRoom) => break,
                    Err(
                        end @ (BatchEnd::OutOfMemory
                        | BatchEnd::Blocked(_)
                        | BatchEnd::Execute(..)
                        | BatchEnd::Script(..)),
                    ) => {
                        unreachable!("on the narrow side a command ended with {end:?}")
                    }
                }
            }
            mine.for_each(drop);
            let Some(following) = jobs.next() else {
                // While the shards are held.
                let telling = Telling::of(global, self.shared, self.stats, self.thread);
                telling.end(cx.db.effects);
                record(self.shared, cx.db.effects, batch, now);
                if let Some(relay) = self.relay {
                    relay.executed(self.shared, *next);
                }
                return;
            };
            let Job { requests, large, session, reply, replied_before, next, planned, progress, wide_next, .. } =
                following;
            cx.db.manners = Manners::of(global, session, now);
            access.look_at(session, requests.bytes());
            cx.large = large;
            cx.session = session;
            cx.reply = reply;
            job = (&*requests, *replied_before, next, planned, progress, wide_next);
        }
    }

    /// Runs a job's next request alone in the world. While a script is slow, it is one of the few that may run then, or hears
    /// BUSY.
    fn wide(&mut self, job: &mut Job<'_>) {
        let mut keys = recycle(std::mem::take(&mut self.scratch.keys));
        let gates = &self.shared.gates;
        let mut alone = if self.front.is_some() { gates.alone() } else { Alone::Wide(gates.wide()) };
        job.wide_next = false;
        // More of the same, as it comes in pipelines of scripts, goes through the gates together, where nobody waits for them.
        let batch_max = if self.shared.loops() == 1 { BATCH_WIDE_ALONE_MAX } else { 1 };
        prefetch_scripts(job, &alone.keyspace, batch_max);
        for _ in 0..batch_max {
            let name = job.requests.get(job.next)[0];
            self.wide_one(job, &mut alone, &mut keys);
            if let Some(relay) = self.relay {
                relay.executed(self.shared, job.next);
            }
            let is_next = job.progress.is_none() && job.next < job.requests.len();
            if !is_next || job.requests.get(job.next)[0] != name {
                break;
            }
        }
        self.scratch.keys = recycle(keys);
    }

    fn wide_one<'r>(&mut self, job: &mut Job<'r>, alone: &mut Alone<'_, World>, keys: &mut Vec<Key<'r>>) {
        let args = job.requests.get(job.next);
        let now = now();
        keys.clear();
        if job.session.client.killed.load(Relaxed) || self.is_over() {
            job.progress = Some(Progress::Closed);
            return;
        }
        let World { global, keyspace } = &mut **alone;
        let plan = plan(&self.shared.registry, keyspace, args, &mut LastCalled::default(), false, keys);
        let manners = Manners::of(global, job.session, now);
        let mut access = Access::new(self.shared, self.thread, global, now);
        let effects = &mut self.scratch.effects;
        effects.serve(wide_readers(global));
        // SAFETY: all gates are closed, and every Space is made and dropped behind a gate.
        let space = unsafe { keyspace.wide() };
        // There is something to do until they are needed: a script that is to be found and begun, above all.
        keys.iter().take(PREFETCHED_MAX).for_each(|key| space.prefetch_bucket(job.session.db, *key));
        let mut cx = Ctx {
            args: &[],
            keys: &[],
            large: job.large,
            db: Db { space, index: job.session.db, now, stats: self.stats, manners, effects },
            session: job.session,
            reply: job.reply,
            command: self.shared.registry.by_id(0),
            reach: Reach::Wide(global),
            may_block: true,
            host: self.shared,
        };
        access.is_guarded &= !cx.session.replays;
        cx.may_block = !cx.session.replays;
        access.look_at(cx.session, job.requests.bytes());
        let mark = cx.reply.mark();
        match access.run(&mut cx, args, &plan, keys) {
            Ok(()) => {
                job.next += 1;
                if job.next < job.requests.len() && cx.reply.len() - job.replied_before > REPLY_BYTES_MAX {
                    job.progress = Some(Progress::Full { at: job.next });
                }
            }
            Err(end @ (BatchEnd::Wide | BatchEnd::NoRoom | BatchEnd::OutOfMemory)) => {
                unreachable!("on the wide side a command ended with {end:?}")
            }
            Err(BatchEnd::Closed) => job.progress = Some(Progress::Closed),
            Err(BatchEnd::Paused) => job.progress = Some(Progress::Paused { at: job.next }),
            Err(BatchEnd::Blocked(timeout)) => {
                job.next += 1;
                job.progress = Some(Progress::Blocked { at: job.next, timeout });
            }
            Err(BatchEnd::Execute(transaction, began)) => {
                drop(cx);
                let world = unlent(alone);
                self.execute(job, world, transaction, &mut access, began, now);
                self.end_in_the_middle(job, mark);
                self.serve(world, now);
                return;
            }
            Err(BatchEnd::Script(call, began)) => {
                drop(cx);
                let keeps_reply = job.session.keeps_reply();
                let world = unlent(alone);
                self.script(job, world, &call, command_of(&plan), args, &mut access, began, now);
                if !keeps_reply {
                    job.reply.truncate(mark);
                }
                job.next += 1;
                self.end_in_the_middle(job, mark);
                self.serve(world, now);
                if job.next < job.requests.len() && job.reply.len() - job.replied_before > REPLY_BYTES_MAX {
                    job.progress = Some(Progress::Full { at: job.next });
                }
                return;
            }
        }
        drop(cx);
        self.serve(alone, now);
    }

    /// If SHUTDOWN NOSAVE has ended the server beside a slow script, half of what it was about to do must be in no file, and nobody is
    /// told of it. `mark` is where its reply began.
    fn end_in_the_middle(&mut self, job: &mut Job<'_>, mark: Mark) {
        if self.shared.is_ending() {
            self.scratch.effects.clear();
            job.reply.truncate(mark);
            job.progress = Some(Progress::Closed);
        }
    }

    /// Runs what a transaction has queued, in the access of its EXEC.
    fn execute(
        &mut self,
        job: &mut Job<'_>,
        world: &mut Wide<'_, World>,
        transaction: Box<Transaction>,
        access: &mut Access,
        began: Tick,
        now: Millis,
    ) {
        let registry = &*self.shared.registry;
        let args = job.requests.get(job.next);
        let exec = registry.resolve(args).expect("EXEC was found once");
        // What a user is refused meanwhile is logged as tried by EXEC; likewise by a script.
        job.session.client.last_command.store(exec.id, Relaxed);
        // Whether EXEC's own reply is kept is settled here: a command of the transaction may change it for what follows.
        let mark = job.reply.mark();
        let keeps_reply = job.session.keeps_reply();
        job.reply.array(transaction.len());
        self.scratch.effects.begin_transaction();
        // The pause, if there is one, has let EXEC through.
        access.is_guarded = false;
        access.in_transaction = true;
        access.look_at(job.session, transaction.bytes());
        let mut plans: Vec<Plan<'_>> = recycle(std::mem::take(&mut self.scratch.plans));
        let mut keys: Vec<Key<'_>> = recycle(std::mem::take(&mut self.scratch.unit_keys));
        let mut words: Vec<&[u8]> = Vec::with_capacity(transaction.word_count());
        let mut ends = SmallVec::<[usize; 32]>::new();
        for (command, own) in transaction.commands() {
            let first = words.len();
            words.extend(own);
            ends.push(words.len());
            plans.push(plan_command(registry.by_id(command), &world.keyspace, &words[first..], &mut keys));
        }
        let request = |index: usize| &words[if index == 0 { 0 } else { ends[index - 1] }..ends[index]];
        let mut next = 0;
        while next < plans.len() {
            let World { global, keyspace } = &mut **world;
            let effects = &mut self.scratch.effects;
            let manners = Manners::of(global, job.session, now);
            // SAFETY: all gates are closed, and the Space before this one was dropped.
            let space = unsafe { keyspace.wide() };
            if next == 0 {
                space.prefetch(job.session.db, &keys[..keys.len().min(NARROW_KEYS_MAX)]);
            }
            let mut cx = Ctx {
                args: &[],
                keys: &[],
                large: &[],
                db: Db { space, index: job.session.db, now, stats: self.stats, manners, effects },
                session: job.session,
                reply: job.reply,
                command: registry.by_id(0),
                reach: Reach::Wide(global),
                may_block: false,
                host: self.shared,
            };
            let mut script = None;
            while script.is_none()
                && let Some(plan) = plans.get(next)
            {
                // The command before may have changed either.
                cx.db.manners = Manners::of(cx.global(), cx.session, now);
                let readers = wide_readers(cx.global());
                cx.db.effects.serve(readers);
                match access.run(&mut cx, request(next), plan, &keys) {
                    Ok(()) | Err(BatchEnd::Closed) => next += 1,
                    Err(BatchEnd::Script(call, began)) => script = Some((call, began)),
                    Err(end) => unreachable!("a command in a transaction ended with {end:?}"),
                }
            }
            drop(cx);
            if let Some((call, began)) = script {
                self.script(job, world, &call, command_of(&plans[next]), request(next), access, began, now);
                next += 1;
            }
        }
        self.scratch.plans = recycle(plans);
        self.scratch.unit_keys = recycle(keys);
        transaction.end();
        self.scratch.effects.end_transaction();
        access.in_transaction = false;
        let telling = Telling::of(&world.global, self.shared, self.stats, self.thread);
        telling.tell_own(&mut self.scratch.effects, &job.session.client);
        tracking::end_caching(job.session, None, false);
        let ns = began.elapsed_ns();
        self.stats.commands.add(1);
        self.stats.by_command[exec.id as usize].record(ns, false, access.latency_tracking);
        job.session.last_command = exec.id;
        if ns >= access.ns_min {
            // What it has executed is known by itself, and so are the replies.
            let reply_bytes = 0;
            let executed = Executed { command: exec, args, ns, reply_bytes, client: Some(&job.session.client) };
            self.shared.observation.note(&executed, &world.global.settings, now);
            self.tell_monitors(&world.global, exec, args, job.session);
        }
        if !keeps_reply {
            job.reply.truncate(mark);
        }
        job.next += 1;
        if job.session.close_after_reply {
            job.progress = Some(Progress::Closed);
        } else if job.next < job.requests.len() && job.reply.len() - job.replied_before > REPLY_BYTES_MAX {
            job.progress = Some(Progress::Full { at: job.next });
        }
    }

    /// Runs the script that EVAL (`command`, called with `args`) has found, in its access. Its effects are one unit, or part of the
    /// transaction's.
    #[expect(clippy::too_many_arguments, reason = "borrows of one access that have nothing else in common")]
    fn script(
        &mut self,
        job: &mut Job<'_>,
        world: &mut Wide<'_, World>,
        call: &ScriptCall,
        command: &Command,
        args: &[&[u8]],
        access: &mut Access,
        began: Tick,
        now: Millis,
    ) {
        if access.ns_min == 0 {
            self.tell_monitors(&world.global, command, args, job.session);
        }
        job.has_run_scripts = true;
        let replied = job.reply.len();
        let (shared, thread, stats) = (self.shared, self.thread, self.stats);
        // A script may select another database for itself.
        let selected = job.session.db;
        let (was_guarded, was_in_transaction) = (access.is_guarded, access.in_transaction);
        if !was_in_transaction {
            job.session.client.last_command.store(command.id, Relaxed);
        }
        access.is_guarded = false;
        access.in_transaction = true;
        access.in_script = true;
        let permits = access::permissions(job.session, &world.global);
        let Scratch { effects, script_keys: keys, .. } = &mut *self.scratch;
        if !was_in_transaction {
            effects.begin_transaction();
        }
        access.script_began_at = Some(stats.dirty.get());
        effects.in_script = true;
        let engine = world.global.scripts.engine_for(call);
        {
            // SAFETY: all gates are closed, and the command's Space was dropped.
            let space = unsafe { world.keyspace.wide() };
            let keys = args[scripting::FIRST_KEY..].iter().take(call.key_count.min(PREFETCHED_MAX));
            keys.for_each(|key| space.prefetch_entry(selected, space.key(key)));
        }
        // Without anybody in front no other client is heard: it goes on to its end.
        let slow_after = world.global.settings.script_slow_after.filter(|_| self.front.is_some());
        let front = self.front.as_deref_mut();
        let Job { session, reply, .. } = job;
        let mut script =
            ScriptAccess { shared, stats, world, session, effects, keys, access, now, call, args, slow_after, front };
        let ended = scripting::run(
            call,
            args,
            &engine,
            slow_after,
            &shared.registry,
            shared,
            stats,
            reply,
            &permits,
            &mut script,
        );
        if world.global.scripts.running.take().is_some() {
            world.stop_lending();
        }
        session.select(selected);
        let global = &world.global;
        let effects = &mut self.scratch.effects;
        effects.in_script = false;
        if !was_in_transaction {
            effects.end_transaction();
            Telling::of(global, shared, stats, thread).tell_own(effects, &session.client);
            tracking::end_caching(session, None, false);
        }
        access.is_guarded = was_guarded;
        access.in_transaction = was_in_transaction;
        access.in_script = false;
        access.script_began_at = None;
        let finished = Tick::now();
        let ns = finished.ns_since(began);
        access.began = finished;
        stats.commands.add(1);
        let failed = ended != Ended::Returned { with_error: false };
        stats.by_command[command.id as usize].record(ns, failed, access.latency_tracking);
        session.last_command = command.id;
        let reply_bytes = reply.len() - replied;
        if ns >= access.ns_min || reply_bytes >= access.reply_bytes_min {
            let executed = Executed { command, args, ns, reply_bytes, client: Some(&session.client) };
            shared.observation.note(&executed, &global.settings, now);
        }
    }

    /// Shows a client's command to the monitors.
    #[cold]
    fn tell_monitors(&self, global: &Global, command: &Command, args: &[&[u8]], session: &Session) {
        if !global.monitors.is_empty() {
            let line = Line { command, args, db: session.db, client: Some(&session.client) };
            global.monitors.tell(&line, Delivery::of(global, self.shared, self.stats, self.thread));
        }
    }

    /// Serves the clients that wait for what this access has changed, and hands all of it to the journal.
    fn serve(&mut self, world: &mut World, now: Millis) {
        let World { global, keyspace } = world;
        let effects = &mut self.scratch.effects;
        let (host, stats, thread) = (self.shared, self.stats, self.thread);
        let mut serving = Serving { global, keyspace, host, stats, effects, now, thread };
        // SAFETY: all gates are closed, and the command's Space was dropped.
        unsafe {
            serving.serve(&mut |cx| {
                // What its user may do can have changed while it waited.
                if !cx.session.is_cleared(&cx.global().access) {
                    let (command, args) = (cx.command, cx.args);
                    if let Some(error) = access::refusal(cx, command, args, Where::TopLevel) {
                        return (Err(Stop::Error(error)), 0);
                    }
                }
                let handler = cx.command.spec.run.expect("a command that waits has run");
                // SAFETY: the waiter holds the client and the arguments for longer than the handler runs.
                let executing = crash::executing(&cx.session.client, cx.args);
                let began = Tick::now();
                let outcome = handler(cx);
                drop(executing);
                (outcome, began.elapsed_ns())
            });
        }
        let telling = Telling::of(global, host, stats, thread);
        telling.tell(effects, None);
        telling.end(effects);
        self.scratch.record(self.shared, now);
    }

    /// A migration has come to its end.
    #[cold]
    pub fn conclude(&mut self, arrival: Arrival) {
        let mut world = self.shared.gates.wide();
        let now = now();
        let World { global, keyspace } = &mut *world;
        let effects = &mut self.scratch.effects;
        effects.serve(wide_readers(global));
        // SAFETY: all gates are closed, and every Space is made and dropped behind a gate.
        let space = unsafe { keyspace.wide() };
        let (index, manners) = (arrival.migration.db, Manners::default());
        let mut db = Db { space, index, now, stats: self.stats, manners, effects };
        migrate::conclude(global, &mut db, self.shared, arrival);
        drop(db);
        self.serve(&mut world, now);
    }

    /// Keys that others may wait for have gone without a command: serves those clients.
    #[cold]
    pub fn serve_gone(&mut self, gone: &[(DbIndex, Box<[u8]>)]) {
        let mut world = self.shared.gates.wide();
        let now = now();
        let effects = &mut self.scratch.effects;
        effects.serve(Readers { waiters: true, ..readers(&world.global) });
        gone.iter().for_each(|(db, key)| effects.signal(*db, key));
        self.serve(&mut world, now);
    }
}

/// The world of a command that does not run while a script is slow.
fn unlent<'a, 'b>(alone: &'a mut Alone<'b, World>) -> &'a mut Wide<'b, World> {
    match alone {
        Alone::Wide(world) => world,
        Alone::Lent(_) => unreachable!("the command has heard BUSY"),
    }
}

/// The access that a script runs in.
struct ScriptAccess<'a, 'w, 'f> {
    shared: &'a Shared,
    stats: &'a ThreadStats,
    /// Not the world itself: between the script's commands it can be lent.
    world: &'a mut Wide<'w, World>,
    session: &'a mut Session,
    effects: &'a mut Effects,
    /// Of the command in execution.
    keys: &'a mut Vec<Key<'static>>,
    access: &'a mut Access,
    now: Millis,
    call: &'a ScriptCall,
    args: &'a [&'a [u8]],
    slow_after: Option<Duration>,
    front: Option<&'a mut (dyn Attend + 'f)>,
}

impl Executor for ScriptAccess<'_, '_, '_> {
    fn execute(&mut self, command: &Command, args: &[&[u8]], reply: &mut Reply) {
        let World { global, keyspace } = &mut **self.world;
        let mut keys = recycle(std::mem::take(self.keys));
        let plan = plan_command(command, keyspace, args, &mut keys);
        let manners = Manners::of(global, self.session, self.now);
        self.effects.serve(wide_readers(global));
        // SAFETY: all gates are closed, and the Space before this one was dropped.
        let space = unsafe { keyspace.wide() };
        let mut cx = Ctx {
            args: &[],
            keys: &[],
            large: &[],
            db: Db { space, index: self.session.db, now: self.now, stats: self.stats, manners, effects: self.effects },
            session: self.session,
            reply,
            command,
            reach: Reach::Wide(global),
            may_block: false,
            host: self.shared,
        };
        match self.access.run(&mut cx, args, &plan, &keys) {
            Ok(()) | Err(BatchEnd::Closed) => {}
            Err(end) => unreachable!("a command of a script ended with {end:?}"),
        }
        drop(cx);
        *self.keys = recycle(keys);
    }

    #[cold]
    fn lasts(&mut self) {
        if let Some(front) = &mut self.front {
            front.hand_out();
        }
    }

    #[cold]
    fn meanwhile(&mut self, has_written: bool) -> bool {
        let Some(front) = &mut self.front else {
            return true;
        };
        let scripts = &mut self.world.global.scripts;
        let running = scripts.running.get_or_insert_with(|| {
            // It is slow from now on.
            let now = std::time::Instant::now();
            let began = self.slow_after.and_then(|after| now.checked_sub(after)).unwrap_or(now);
            let running = Running::new(self.call, self.args, began);
            let name = String::from_utf8_lossy(&running.name);
            let text = format!("Slow script: {name} still runs after {} ms", running.began.elapsed().as_millis());
            self.shared.log(config::LogLevel::Warning, &text);
            running
        });
        running.has_written = has_written;
        self.world.lend(|| front.attend());
        let is_killed = self.world.global.scripts.running.as_ref().is_some_and(|running| running.is_killed);
        if is_killed {
            self.shared.log(config::LogLevel::Notice, "The script was killed with SCRIPT KILL or FUNCTION KILL");
        }
        !is_killed && !self.shared.is_ending()
    }
}

/// Why a batch ended before its last request.
#[derive(Debug)]
enum BatchEnd {
    /// The next request must be alone in the world.
    Wide,
    /// The next request waits behind CLIENT PAUSE or MIGRATE.
    Paused,
    /// Keys have to be evicted before the next request.
    NoRoom,
    /// The next request needs memory, and there is none.
    OutOfMemory,
    /// The connection is to be closed.
    Closed,
    /// The client waits for a key, at most so long.
    Blocked(Option<Duration>),
    /// EXEC, which began at this time, runs its transaction.
    Execute(Box<Transaction>, Tick),
    /// EVAL, which began at this time, runs its script.
    Script(Box<ScriptCall>, Tick),
}

/// The command of a request that has run.
fn command_of<'a>(plan: &Plan<'a>) -> &'a Command {
    plan.command.as_ref().expect("it has run")
}

/// The same memory for elements of another lifetime.
fn recycle<T, U>(mut used: Vec<T>) -> Vec<U> {
    if used.capacity() > KEPT_CAPACITY_MAX {
        return Vec::new();
    }
    const { assert!(size_of::<T>() == size_of::<U>() && align_of::<T>() == align_of::<U>()) };
    used.clear();
    used.into_iter().map(|_| unreachable!("the vector is empty")).collect()
}

/// Finds command and keys of a request on the narrow side. `queues`: unless something unforeseen happens, the client is in a transaction
/// by then, and what is queued needs no keys.
///
/// Inlined always, so that a plan is written where it stays: a copy of what was just written in parts waits for all of them.
#[inline(always)]
fn plan<'a, 'k>(
    registry: &'a Registry,
    keyspace: &Keyspace,
    args: &[&'k [u8]],
    last: &mut LastCalled<'a, 'k>,
    queues: bool,
    found: &mut Vec<Key<'k>>,
) -> Plan<'a> {
    let first_key = found.len() as u32;
    match registry.resolve_next(args, last) {
        Ok(command) if queues && command.spec.side == Side::Narrow && !transaction::is_immediate(command) => {
            Plan { command: Ok(command), first_key, key_count: 0, side: Side::Narrow, is_queued: true }
        }
        Ok(command) => plan_command(command, keyspace, args, found),
        Err(error) => {
            // EXEC gives up its transaction and what it watches even where it has too many arguments.
            let is_exec = registry.called(args).is_some_and(transaction::is_exec);
            let side = if is_exec { Side::Wide } else { Side::Narrow };
            Plan { command: Err(Box::new(error)), first_key, key_count: 0, side, is_queued: false }
        }
    }
}

/// The same for a command that is known, and called as it may be.
#[inline(always)]
fn plan_command<'a, 'k>(
    command: &'a Command,
    keyspace: &Keyspace,
    args: &[&'k [u8]],
    found: &mut Vec<Key<'k>>,
) -> Plan<'a> {
    let first_key = found.len() as u32;
    let mut side = command.spec.side;
    match command.plan {
        KeyPlan::None => {}
        KeyPlan::One(index) => found.push(keyspace.key(args[index as usize])),
        KeyPlan::Range { first, last, step } => {
            let last = if last >= 0 { last as usize } else { (args.len() as i64 + i64::from(last)) as usize };
            let mut index = first as usize;
            while index <= last && index < args.len() {
                found.push(keyspace.key(args[index]));
                index += step as usize;
            }
        }
        KeyPlan::Search => {
            if let Some(keys) = keys::find(command.spec, args) {
                found.extend(keys.iter().map(|key| keyspace.key(args[key.index])));
            }
        }
    }
    let key_count = found.len() as u32 - first_key;
    if key_count as usize > NARROW_KEYS_MAX {
        side = Side::Wide;
    }
    Plan { command: Ok(command), first_key, key_count, side, is_queued: false }
}

/// Asks for the elements of large collections that the batch's commands name: their cache misses overlap, also where all of them are in one
/// collection.
#[inline]
fn prefetch_elements(space: &Space<'_>, db: DbIndex, jobs: &[Job<'_>], plans: &[Plan<'_>], keys: &[Key<'_>]) {
    let element_arg = |plan: &Plan<'_>| plan.command.as_ref().map_or(0, |command| command.spec.element_arg);
    if !plans.iter().any(|plan| element_arg(plan) > 0) {
        return;
    }
    let requests = jobs.iter().flat_map(|job| (job.next..job.next + job.planned).map(|index| job.requests.get(index)));
    let mut ahead = SmallVec::<[ElementAhead<'_>; BATCH_COMMANDS_ALONE_MAX]>::new();
    let mut last: Option<(Key<'_>, Option<Elements<'_>>)> = None;
    for (plan, args) in plans.iter().zip(requests) {
        let at = element_arg(plan);
        if at == 0 || plan.key_count == 0 {
            continue;
        }
        let key = keys[plan.first_key as usize];
        let elements = match last {
            Some((last_key, elements)) if last_key == key => elements,
            _ => space.elements(db, key),
        };
        last = Some((key, elements));
        if let (Some(elements), Some(element)) = (elements, args.get(at)) {
            ahead.push(elements.prefetch_bucket(element));
        }
    }
    ahead.into_iter().for_each(ElementAhead::prefetch);
}

/// Asks for what the first keys of the next scripts of a pipeline name: their cache misses overlap, before the first script runs.
fn prefetch_scripts(job: &Job<'_>, keyspace: &Keyspace, count_max: usize) {
    let count = count_max.min(job.requests.len() - job.next);
    let name = job.requests.get(job.next)[0];
    let is_like_it = |args: &&[&[u8]]| args[0] == name && args.len() > scripting::FIRST_KEY;
    if count < 2 || !is_like_it(&job.requests.get(job.next)) || !scripting::may_be_call(name) {
        return;
    }
    // SAFETY: all gates are closed, and every Space is made and dropped behind a gate.
    let space = unsafe { keyspace.wide() };
    let requests = || (job.next..job.next + count).map(|index| job.requests.get(index)).take_while(is_like_it);
    let keys: SmallVec<[Key<'_>; BATCH_WIDE_ALONE_MAX]> =
        requests().map(|args| space.key(args[scripting::FIRST_KEY])).collect();
    space.prefetch(job.session.db, &keys);
}

/// What the commands of one access have in common.
struct Access {
    thread: usize,
    /// When the command in execution began.
    began: Tick,
    latency_tracking: bool,
    /// Something may stop a command from being executed here and now: one branch for all of it.
    is_guarded: bool,
    pause: Option<Pause>,
    /// More waits for a disk than is kept in memory: writes wait.
    is_congested: bool,
    /// A script is slow, and only what may run meanwhile is not refused.
    is_busy: bool,
    /// There is a limit on memory.
    is_limited: bool,
    /// Too few replicas follow for writes to be taken.
    lacks_replicas: bool,
    /// A command has run since there was room.
    has_run: bool,
    /// EXEC runs what was queued: CLIENT REPLY decides on the whole.
    in_transaction: bool,
    /// A script calls its commands.
    in_script: bool,
    /// The changes that had been counted when the script began.
    script_began_at: Option<u64>,
    /// What somebody wants to hear of, and whether that is everything that clients send.
    watching: Watching,
    looks_at_all: bool,
    /// From this time on somebody wants to hear of a command: 0 where all have to be looked at.
    ns_min: u64,
    /// The same for the length of its reply.
    reply_bytes_min: usize,
}

impl Access {
    /// Everything a command relies on is read here, inside the gate.
    fn new(shared: &Shared, thread: usize, global: &Global, now: Millis) -> Access {
        let is_congested = shared.persistence.is_congested();
        let is_limited = global.settings.maxmemory_bytes > 0;
        let pause = planted_stale_pause(global, now).unwrap_or_else(|| global.pause_at(now));
        // On the narrow side nobody meets a script that runs; one who is alone in the world does, if it is lent.
        let is_busy = global.scripts.running.is_some();
        Access {
            thread,
            began: Tick::now(),
            latency_tracking: global.settings.latency_tracking,
            is_guarded: pause.is_some()
                || is_congested
                || is_busy
                || is_limited
                || !global.waiters.is_empty()
                || !global.departing.is_empty(),
            pause,
            is_congested,
            is_busy,
            is_limited,
            lacks_replicas: shared.lacks_replicas(),
            has_run: false,
            in_transaction: false,
            in_script: false,
            script_began_at: None,
            watching: global.settings.watching,
            looks_at_all: !global.monitors.is_empty() || global.hot_keys.is_some(),
            ns_min: u64::MAX,
            reply_bytes_min: usize::MAX,
        }
    }

    /// What is to be looked at among the commands of a session's requests, which have so many bytes together.
    #[inline]
    fn look_at(&mut self, session: &Session, request_bytes: usize) {
        // What our primary does is shown as what clients do, but what a file says was shown when it happened.
        let is_history = session.replays && !session.has(ClientFlags::PRIMARY);
        let watching = if is_history { Watching::NOTHING } else { self.watching };
        let looks_at_all = watching.may_hold_large(request_bytes) || self.looks_at_all && !is_history;
        self.ns_min = if looks_at_all { 0 } else { watching.ns_min };
        self.reply_bytes_min = watching.reply_bytes_min;
    }

    /// A command that somebody wants to hear of: those who read the logs, or monitors.
    #[cold]
    fn observed(&self, cx: &Ctx<'_>, args: &[&[u8]], ns: u64, reply_bytes: usize) {
        let client = (!self.in_script).then_some(&*cx.session.client);
        let executed = Executed { command: cx.command, args, ns, reply_bytes, client };
        cx.host.observation().note(&executed, &cx.global().settings, cx.db.now);
        if let Some(hot_keys) = cx.global().hot_keys.as_ref().filter(|hot_keys| hot_keys.is_active()) {
            hot_keys.add(self.thread, cx.keys, ns, request_bytes(args) + reply_bytes as u64);
        }
        self.tell_monitors(cx, args);
    }

    #[cold]
    fn tell_monitors(&self, cx: &Ctx<'_>, args: &[&[u8]]) {
        let global = cx.global();
        if !global.monitors.is_empty() {
            let client = (!self.in_script).then_some(&*cx.session.client);
            let line = Line { command: cx.command, args, db: cx.session.db, client };
            global.monitors.tell(&line, Delivery::of(global, cx.host, cx.db.stats, self.thread));
        }
    }

    /// Whether the command has to wait behind CLIENT PAUSE or MIGRATE, or may make something ready that a client waits for, who is served
    /// before anybody else sees it. An error where it may not run beside a slow script.
    #[cold]
    fn guard(
        &mut self,
        cx: &Ctx<'_>,
        command: &Command,
        args: &[&[u8]],
        keys: &[Key<'_>],
    ) -> Result<Option<Error>, BatchEnd> {
        let mut flags = scripting::flags_of_call(cx.global(), command, args);
        if self.is_busy && !flags.contains(Flags::ALLOW_BUSY) {
            return Ok(cx.global().scripts.running.as_ref().map(Running::busy));
        }
        if self.is_limited {
            self.guard_memory(cx, command, args)?;
        }
        if let Some(transaction) = &cx.session.transaction
            && transaction::is_exec(command)
        {
            flags |= transaction.flags();
        }
        if let Some(pause) = self.pause
            && (!pause.writes_only || flags.intersects(Flags::WRITE.union(Flags::MAY_REPLICATE)))
        {
            return Err(BatchEnd::Paused);
        }
        if cx.session.transaction.is_some() && !transaction::is_immediate(command) {
            return Ok(None);
        }
        if self.is_congested && flags.contains(Flags::WRITE) {
            return Err(BatchEnd::Paused);
        }
        let global = cx.global();
        // Who is served next to this command could change what is departing, too.
        let is_waited_for = || flags.contains(Flags::WRITE) && global.waiters.concern(keys, true);
        if !global.departing.is_empty() && (global.departing.concern(command, keys) || is_waited_for()) {
            return Err(BatchEnd::Paused);
        }
        match cx.reach {
            Reach::Narrow(global) if global.waiters.concern(keys, flags.contains(Flags::WRITE)) => Err(BatchEnd::Wide),
            _ => Ok(None),
        }
    }

    /// Whether there is memory for a command that may need some. What is queued for EXEC needs some, too.
    fn guard_memory(&mut self, cx: &Ctx<'_>, command: &Command, args: &[&[u8]]) -> Result<(), BatchEnd> {
        let had_run = std::mem::replace(&mut self.has_run, true);
        if !command.spec.flags.contains(Flags::DENYOOM) && !scripting::denies_oom(cx.global(), command, args) {
            return Ok(());
        }
        match cx.host.room(cx.global()) {
            Room::Out => Err(BatchEnd::OutOfMemory),
            // The first one runs in any case, or nobody might get anywhere.
            Room::Overdrawn { bytes } if bytes > OVERDRAFT_BYTES_MAX && had_run && !cx.is_wide() => {
                Err(BatchEnd::NoRoom)
            }
            _ => Ok(()),
        }
    }

    /// Runs one request: refuses it, or lets its handler reply.
    #[inline]
    fn run<'a>(
        &mut self,
        cx: &mut Ctx<'a>,
        args: &'a [&'a [u8]],
        plan: &'a Plan<'a>,
        keys: &'a [Key<'a>],
    ) -> Result<(), BatchEnd> {
        let stats = cx.db.stats;
        if cx.session.client.has_pushes() | cx.db.effects.has_messages() {
            self.hear(cx, plan);
        }
        let mark = cx.reply.mark();
        let replied = cx.reply.len();
        let command = match &plan.command {
            Ok(command) => *command,
            Err(_) if is_http(args[0]) => {
                drop_browser(cx);
                return Err(BatchEnd::Closed);
            }
            Err(error) => {
                self.refuse(cx, args, error);
                return self.after_reply(cx, mark, None);
            }
        };
        // A disk begins to fail at any instant, and half of a transaction or script must not be refused: once it has begun to change something, it
        // goes on to its end. As in Redis, a script in a transaction is judged by itself.
        let is_begun = self.in_transaction && self.script_began_at != Some(stats.dirty.get());
        let mut refusal = self.refusal(cx, command, args, is_begun);
        if cx.session.is_subscriber && !self.in_transaction {
            refusal = refusal.or_else(|| pubsub::refusal(cx.session, cx.reply.proto(), command));
        }
        if cx.session.is_monitor {
            refusal = refusal.or_else(|| monitor::refusal(command));
        }
        if let Some(error) = refusal {
            self.refuse(cx, args, &error);
            return self.after_reply(cx, mark, None);
        }
        if plan.is_queued && cx.session.transaction.is_none() {
            // MULTI was refused, after all.
            return Err(BatchEnd::Wide);
        }
        let keys = &keys[plan.first_key as usize..][..plan.key_count as usize];
        if self.is_guarded {
            let refused = match self.guard(cx, command, args, keys) {
                Err(BatchEnd::OutOfMemory) => Some(Error::OutOfMemory),
                guarded => guarded?,
            };
            if let Some(error) = refused {
                self.refuse(cx, args, &error);
                return self.after_reply(cx, mark, None);
            }
        }
        if cx.session.transaction.is_some() && !transaction::is_immediate(command) {
            self.queue(cx, args, command);
            return self.after_reply(cx, mark, None);
        }
        cx.args = args;
        cx.keys = keys;
        cx.command = command;
        cx.db.index = cx.session.db;
        let handler = command.spec.run.expect("resolve() only finds commands that run");
        // SAFETY: the session holds the client, and the requests their arguments, for longer than the handler runs.
        let executing = unsafe { crash::executing(&cx.session.client, args) };
        let dirty_before = stats.dirty.get();
        let expiries = own_expiries(cx);
        cx.db.effects.begin(cx.db.index);
        let outcome = handler(cx);
        drop(executing);
        let failed = match outcome {
            Ok(()) => false,
            Err(Stop::Wide) => {
                assert!(cx.reply.mark() == mark, "{} replied before it asked for the wide side", command.full_name);
                cx.db.effects.end_for_wide();
                cx.db.effects.close_unit();
                self.tell(cx);
                return Err(BatchEnd::Wide);
            }
            Err(Stop::Block(block)) => {
                assert!(cx.reply.mark() == mark, "{} replied before it blocked", command.full_name);
                return Err(self.block(cx, *block));
            }
            Err(Stop::Execute(transaction)) => {
                assert!(cx.reply.mark() == mark, "{} replied before it ran", command.full_name);
                cx.db.effects.end(args, false);
                cx.db.effects.close_unit();
                self.tell(cx);
                return Err(BatchEnd::Execute(transaction, self.began));
            }
            Err(Stop::Script(call)) => {
                assert!(cx.reply.mark() == mark, "{} replied before it ran", command.full_name);
                cx.db.effects.end(args, false);
                cx.db.effects.close_unit();
                self.tell(cx);
                return Err(BatchEnd::Script(call, self.began));
            }
            Err(Stop::Error(error)) => {
                assert!(cx.reply.mark() == mark, "{} replied before it failed", command.full_name);
                let text = error.render();
                stats.count_error(&text);
                cx.reply.error(&text);
                true
            }
        };
        let changed = stats.dirty.get() != dirty_before;
        cx.session.note_changed(changed);
        if changed && let Some(before) = expiries {
            note_own_expiries(cx, &before);
        }
        cx.session.has_seen |= command.spec.flags.intersects(Flags::READONLY | Flags::WRITE);
        cx.db.effects.end(args, changed);
        cx.db.effects.close_unit();
        self.tell(cx);
        if cx.session.tracking.is_some() {
            // Behind what it has changed itself (PFCOUNT): that is told to those who had read it before.
            tracking::note_command(cx, self.thread, self.in_transaction);
        }
        // One reading of the clock a command: its end is the next one's beginning.
        let ended = Tick::now();
        let ns = ended.ns_since(self.began);
        self.began = ended;
        stats.commands.add(1);
        stats.by_command[command.id as usize].record(ns, failed, self.latency_tracking);
        cx.session.last_command = command.id;
        let reply_bytes = cx.reply.len() - replied;
        if ns >= self.ns_min || reply_bytes >= self.reply_bytes_min {
            self.observed(cx, args, ns, reply_bytes);
        }
        self.after_reply(cx, mark, Some(command).filter(|_| !failed))
    }

    /// Why this client may not run this command now.
    #[inline]
    fn refusal(&self, cx: &mut Ctx<'_>, command: &Command, args: &[&[u8]], is_begun: bool) -> Option<Error> {
        let flags = command.spec.flags;
        if cx.session.replays {
            return None;
        }
        if flags.contains(Flags::PROTECTED)
            && let Some(error) = protected(cx, command)
        {
            return Some(error);
        }
        if !cx.session.is_cleared(&cx.global().access)
            && let Some(error) = access::refusal(cx, command, args, self.place(cx))
        {
            return Some(error);
        }
        let is_replica = cx.global().role == Role::Replica;
        if (is_replica | self.lacks_replicas | cx.host.persistence().is_failing())
            && let Some(error) = self.refusal_by_state(cx, command, args, is_begun)
        {
            return Some(error);
        }
        if cx.global().loading {
            // EXEC may as far as all that is queued may.
            let queued = cx.session.transaction.as_ref().filter(|_| transaction::is_exec(command));
            let flags = queued.map_or(flags, |queued| flags & queued.common_flags());
            if !flags.contains(Flags::LOADING) {
                return Some(Error::text("LOADING Redis is loading the dataset in memory"));
            }
        }
        None
    }

    /// The same where the disk fails, or where replication has something to say.
    #[cold]
    fn refusal_by_state(&self, cx: &Ctx<'_>, command: &Command, args: &[&[u8]], is_begun: bool) -> Option<Error> {
        if !is_begun && cx.global().role == Role::Primary && cx.host.persistence().is_failing() {
            let (flags, _) = replication::flags(cx, command, args);
            if flags.contains(Flags::WRITE) || command.spec.name == "ping" {
                let failing = cx.host.persistence().refusal(cx.global());
                if failing.is_some() {
                    return failing;
                }
            }
        }
        let refused = replication::refusal(cx, command, args, self.in_script, is_begun);
        if refused.is_none() && cx.global().async_loading && command.spec.flags.contains(Flags::NO_ASYNC_LOADING) {
            return Some(Error::text("LOADING Redis is loading the dataset in memory"));
        }
        refused
    }

    /// Where a command is tried.
    fn place(&self, cx: &Ctx<'_>) -> Where {
        match (self.in_script, self.in_transaction) {
            (true, _) => Where::Script,
            (_, true) => Where::Executed,
            _ if cx.session.transaction.is_some() => Where::Queued,
            _ => Where::TopLevel,
        }
    }

    /// What was told before a command runs comes before its reply.
    #[cold]
    fn hear(&self, cx: &mut Ctx<'_>, plan: &Plan<'_>) {
        if !plan.command.as_ref().is_ok_and(|command| pubsub::publishes(command)) {
            let telling = Telling::of(cx.reach.global(), cx.host, cx.db.stats, self.thread);
            telling.deliver_messages(cx.db.effects);
        }
        if !self.in_transaction {
            cx.session.client.take_pushes(cx.reply);
        }
    }

    /// Keeps a command for EXEC.
    #[cold]
    fn queue(&mut self, cx: &mut Ctx<'_>, args: &[&[u8]], command: &Command) {
        if command.spec.flags.contains(Flags::NO_MULTI) {
            return self.refuse(cx, args, &Error::text("ERR Command not allowed inside a transaction"));
        }
        let flags = scripting::flags_of_call(cx.global(), command, args);
        cx.session.queue(command, flags, args);
        cx.session.last_command = command.id;
        cx.reply.queued();
        self.began = Tick::now();
    }

    /// What CLIENT REPLY has asked for happens to the reply behind `mark`. `succeeded` is the command, if it has run without an error.
    #[inline]
    fn after_reply(&self, cx: &mut Ctx<'_>, mark: Mark, succeeded: Option<&Command>) -> Result<(), BatchEnd> {
        if !self.in_transaction && !cx.session.keeps_reply() && !succeeded.is_some_and(pubsub::replies_by_push) {
            cx.reply.truncate(mark);
        }
        let ends = cx.session.close_after_reply || cx.session.becomes_replica.is_some();
        if ends { Err(BatchEnd::Closed) } else { Ok(()) }
    }

    /// Tells others what a command has changed, before the next one runs and before whoever waits for the same keys sees them.
    #[inline]
    fn tell(&self, cx: &mut Ctx<'_>) {
        if cx.db.effects.has_news() {
            self.tell_news(cx);
        }
    }

    #[cold]
    fn tell_news(&self, cx: &mut Ctx<'_>) {
        let telling = Telling::of(cx.reach.global(), cx.host, cx.db.stats, self.thread);
        telling.tell(cx.db.effects, Some(&cx.session.client));
        if !self.in_transaction {
            telling.tell_own(cx.db.effects, &cx.session.client);
        }
    }

    /// Makes the client wait. Its command is counted when it has its reply.
    #[cold]
    fn block(&mut self, cx: &mut Ctx<'_>, block: Block) -> BatchEnd {
        // It may have found keys whose time had come.
        cx.db.effects.end(cx.args, false);
        cx.db.effects.close_unit();
        self.tell(cx);
        let ended = Tick::now();
        let ns = ended.ns_since(self.began);
        self.began = ended;
        cx.session.last_command = cx.command.id;
        // The logs have it when it has its reply.
        if self.ns_min == 0 {
            self.tell_monitors(cx, cx.args);
        }
        let timeout = block.timeout;
        let Reach::Wide(global) = &mut cx.reach else {
            unreachable!("nobody begins to wait on the narrow side");
        };
        global.waiters.add(cx.session, cx.reply.proto(), cx.command, cx.args, block, ns);
        if cx.session.tracking.is_some() {
            tracking::note_command(cx, self.thread, false);
        }
        BatchEnd::Blocked(timeout)
    }

    #[cold]
    fn refuse(&mut self, cx: &mut Ctx<'_>, args: &[&[u8]], error: &Error) {
        if let Some(transaction) = &mut cx.session.transaction {
            transaction.spoil();
        }
        let mut text = error.render();
        // A refused command is the client's last one all the same, and an unknown one leaves none.
        let registry = cx.global().registry.clone();
        let called = registry.called(args);
        if called.is_some_and(transaction::is_exec) {
            // There is no second try: what was queued goes.
            cx.session.end_transaction();
            cx.unwatch().expect("EXEC is alone in the world");
            text = transaction::discarded_because_of(&text).into();
        }
        cx.db.stats.count_error(&text);
        if let Some(command) = called {
            cx.db.stats.by_command[command.id as usize].rejected.add(1);
        }
        cx.session.last_command = called.map_or(u16::MAX, |command| command.id);
        tracking::end_caching(cx.session, called, self.in_transaction);
        cx.reply.error(&text);
        self.began = Tick::now();
    }
}

/// Whether this is the first word of a request or header line that a web page can make a browser send here. Its body could
/// hold commands: nothing behind it may be executed.
#[cold]
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:")
}

/// Ends such a connection without a word, with a line in the log, at most one a minute.
#[cold]
fn drop_browser(cx: &mut Ctx<'_>) {
    static LOGGED_AT: AtomicI64 = AtomicI64::new(0);
    const INTERVAL_MS: i64 = 60_000;
    cx.session.close_after_reply = true;
    let (now, last) = (cx.db.now.0, LOGGED_AT.load(Relaxed));
    if now - last > INTERVAL_MS && LOGGED_AT.compare_exchange(last, now, Relaxed, Relaxed).is_ok() {
        cx.host.log(
            config::LogLevel::Warning,
            &format!(
                "Possible SECURITY ATTACK detected. {} sent POST or Host: as a command, which is what a browser does that a web \
                 page has turned against this server. The connection is closed.",
                cx.session.client.address
            ),
        );
    }
}

#[cold]
fn protected(cx: &Ctx<'_>, command: &Command) -> Option<Error> {
    use config::Permitted;
    let name = command.parent.map_or(command.spec.name, |container| cx.global().registry.by_id(container).spec.name);
    let (permitted, directive) = match name {
        "module" => (cx.global().settings.module_command, "enable-module-command"),
        _ => (cx.global().settings.debug_command, "enable-debug-command"),
    };
    let allowed = match permitted {
        Permitted::Yes => true,
        Permitted::Local => cx.session.is_local,
        Permitted::No => false,
    };
    if allowed {
        return None;
    }
    Some(Error::string(format!(
        "ERR {} command not allowed. If the {directive} option is set to \"local\", you can run it from a local connection, \
         otherwise you need to set this option in the configuration file, and then restart the server.",
        name.to_uppercase()
    )))
}

/// Who reads what commands change.
#[inline]
pub fn readers(global: &Global) -> Readers {
    Readers {
        journal: global.journal_kept,
        events: global.settings.events,
        unlink_expired: global.settings.unlink_expired,
        // On the narrow side nobody can be served: a command that somebody's key depends on is not executed there.
        waiters: false,
        touches: !global.watches.is_empty() || global.tracking.is_active(),
    }
}

/// The same for an access that is alone in the world.
fn wide_readers(global: &Global) -> Readers {
    Readers { waiters: !global.waiters.is_empty(), ..readers(global) }
}

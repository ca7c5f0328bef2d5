//! Replication over real sockets: the driver of [`replication::Machine`].
//!
//! ```text
//!  event loop ── PSYNC ──> Machine ── actions ──┬──> feeder thread:   replicas' sockets, snapshot and log to them, their acknowledgements
//!  (gives the connection away)                  └──> upstream thread: our primary's socket, handshake, loading, applying what comes
//!
//!  whoever writes ── effects ──> journal, replicas' stream ──> feeder      (on a replica the stream is what our primary sends, unchanged)
//! ```
//!
//! The machine decides, under one lock; what it says is put into the threads' queues under the same lock, so that its order holds. What changes the
//! world (role, paused writes) is done by whoever is alone in it, or by the feeder, which then asks to be.
//!
//! Locks are taken in this order: gates, jobs, machine, log, queues, journal.

mod feeder;
mod frames;
mod kept;
mod own_keys;
mod transfer;
mod upstream;

use std::collections::VecDeque;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use commands::blocking::{self, Release as Released};
use commands::global::{Pause, PauseReason, Role as PartPlayed};
use commands::persistence::Alone;
use commands::replication::Figures;
use commands::{Client, ClientFlags, Error, Global};
use config::{Config as Directives, OutputLimit, PrimaryAddress, directives};
use journal::{Destination, Reader};
use keyspace::{DbIndex, Millis};
use mio::{Poll, Token, Waker};
use parking_lot::{Mutex, MutexGuard};
use replication::{
    Action, Address, Config, FailoverRequest, FailoverState, Framing, History, Level, LinkState, Log, Machine, Ms,
    Replconf, ReplicaReport, ReplicationId, Role, Sync, SyncRequest, UpstreamReport,
};

use self::feeder::Order;
use self::own_keys::OwnKeys;
pub use self::transfer::{End, Form, Next, Transfer};
pub(crate) use self::upstream::Relay;
use crate::listener::Stream;
use crate::mailbox::Mail;
use crate::operation::LOG;
use crate::operation::log::LogRole;
use crate::persistence::StreamPlace;
use crate::shared::Shared;
pub use replication::{Content, LinkId};

/// The token of a thread's wake-up.
const WAKER: Token = Token(0);

/// All of it. One per server.
pub struct Replication {
    machine: Mutex<Machine>,
    began: Instant,
    /// Keeps the log in memory for whoever comes back: a backlog. While there is none, nothing is counted.
    backlog: Mutex<Option<Reader>>,
    feeder: Arc<Post<Order>>,
    /// Its thread.
    feeding: Mutex<Option<JoinHandle<()>>>,
    upstream: Post<upstream::Order>,
    /// The snapshot on its way to replicas.
    transfer: Mutex<Option<Arc<Transfer>>>,
    /// Replicas there are, for those who must not take the machine's lock.
    links: AtomicUsize,
    lacks_replicas: AtomicBool,
    is_stale: AtomicBool,
    /// Somebody waits for acknowledgements.
    wanted_acknowledged: AtomicBool,
    /// Our primary has asked how far we are, in the stream.
    is_asked: AtomicBool,
    /// The database that its stream has selected.
    stream_db: AtomicU32,
    /// Numbers the streams that we apply: another one with each promotion, under whose access it changes.
    stream: AtomicU64,
    /// What the loaded snapshot said of itself.
    restored: Mutex<Option<StreamPlace>>,
    /// Until when the feeder sleeps, as far as the machine is concerned.
    deadline: AtomicU64,
    limits: Mutex<Limits>,
    /// Replies wait for replicas.
    holds_replies: AtomicBool,
    /// Up to where as many replicas as must have it have acknowledged the stream.
    acknowledged: AtomicU64,
    /// Where what was last put into the log for its replicas alone (a PING, a question how far they are) begins and ends.
    asked_from: AtomicU64,
    asked_to: AtomicU64,
    /// Where the journal of our own file ended when the stream had been applied so far: (file, stream), for acknowledgements.
    applied_to_file: Mutex<VecDeque<(u64, u64)>>,
    /// What has come of the stream and waits in memory until its snapshot is loaded; and at most so far.
    arrears_bytes: AtomicUsize,
    arrears_bytes_peak: AtomicUsize,
    counters: Counters,
    own_keys: Mutex<OwnKeys>,
}

/// Since the start, or CONFIG RESETSTAT.
#[derive(Default)]
struct Counters {
    full_syncs: AtomicU64,
    partial_syncs: AtomicU64,
    partial_syncs_refused: AtomicU64,
    input_bytes: AtomicU64,
    output_bytes: AtomicU64,
}

impl Counters {
    /// CONFIG RESETSTAT.
    fn reset(&self) {
        let Counters { full_syncs, partial_syncs, partial_syncs_refused, input_bytes, output_bytes } = self;
        for counter in [full_syncs, partial_syncs, partial_syncs_refused, input_bytes, output_bytes] {
            counter.store(0, Relaxed);
        }
    }
}

/// What the feeder keeps to.
#[derive(Clone, Copy, Default)]
struct Limits {
    backlog_bytes: u64,
    output: OutputLimit,
    /// So many replicas must have a write before its reply leaves; 0: none.
    to_acknowledge: usize,
    /// Within this time, or any.
    patience: Option<Duration>,
    /// So much of the stream is kept in memory while its snapshot is on its way.
    arrears_bytes: usize,
}

/// The same, where `replica-full-sync-buffer-limit` is 0.
const ARREARS_BYTES_MAX: usize = 64 << 20;

/// Applied parts of the stream whose way to disk is followed.
const FOLLOWED_MAX: usize = 4096;

/// The queue of a thread that also watches sockets.
pub(crate) struct Post<T> {
    queue: Mutex<VecDeque<T>>,
    waker: OnceLock<Waker>,
}

impl<T> Post<T> {
    fn new() -> Post<T> {
        Post { queue: Mutex::default(), waker: OnceLock::new() }
    }

    /// Enqueues, and wakes the thread.
    pub(crate) fn send(&self, order: T) {
        self.queue.lock().push_back(order);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            // It fails only when the thread's poll is gone, that is while the server ends.
            let _ = waker.wake();
        }
    }

    fn take(&self) -> VecDeque<T> {
        std::mem::take(&mut *self.queue.lock())
    }

    fn is_empty(&self) -> bool {
        self.queue.lock().is_empty()
    }

    /// The thread is there.
    fn attend(&self, poll: &Poll) -> anyhow::Result<()> {
        let waker = Waker::new(poll.registry(), WAKER).context("Cannot watch a queue")?;
        let is_first = self.waker.set(waker).is_ok();
        assert!(is_first, "a queue has one thread");
        Ok(())
    }
}

/// What the machine is to know of the configuration.
fn config_of(directives: &Directives) -> Config {
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    let ports = [directives.get(directives::PORT), directives.get(directives::TLS_PORT)];
    let own_port = if directives.get(directives::TLS_REPLICATION) { ports[1] } else { ports[0] };
    let announced_port = match directives.get(directives::REPLICA_ANNOUNCE_PORT) {
        0 => own_port,
        port => port,
    };
    Config {
        timeout_ms: number(directives.get(directives::REPL_TIMEOUT)) * 1000,
        ping_period_ms: number(directives.get(directives::REPL_PING_REPLICA_PERIOD)) * 1000,
        backlog_bytes: number(directives.get(directives::REPL_BACKLOG_SIZE)),
        backlog_ttl_ms: number(directives.get(directives::REPL_BACKLOG_TTL)) * 1000,
        diskless: directives.get(directives::REPL_DISKLESS_SYNC),
        diskless_delay_ms: number(directives.get(directives::REPL_DISKLESS_SYNC_DELAY)) * 1000,
        diskless_replicas_max: number(directives.get(directives::REPL_DISKLESS_SYNC_MAX_REPLICAS)) as usize,
        // What could not be acknowledged anyway is not begun.
        min_replicas: number(
            directives
                .get(directives::MIN_REPLICAS_TO_WRITE)
                .max(directives.get(directives::MIN_REPLICAS_TO_ACKNOWLEDGE)),
        ) as usize,
        min_replicas_lag_ms: number(directives.get(directives::MIN_REPLICAS_MAX_LAG)) * 1000,
        user: directives.get(directives::MASTERUSER).to_vec(),
        password: directives.get(directives::MASTERAUTH).to_vec(),
        announce_host: directives.text(directives::REPLICA_ANNOUNCE_IP).into_owned(),
        announce_port: u16::try_from(announced_port).unwrap_or(0),
        priority: directives.get(directives::REPLICA_PRIORITY),
        announced: directives.get(directives::REPLICA_ANNOUNCED),
        read_only: directives.get(directives::REPLICA_READ_ONLY),
        accepts_eof: true,
        rdb_channel: directives.get(directives::REPL_RDB_CHANNEL),
        dual_channel: directives.get(directives::DUAL_CHANNEL_REPLICATION_ENABLED),
    }
}

fn random_id() -> ReplicationId {
    ReplicationId::from_random(rand::random())
}

impl Replication {
    pub fn new(directives: &Directives) -> Replication {
        let machine = Machine::new(Ms(0), config_of(directives), History::new(random_id()));
        Replication {
            machine: Mutex::new(machine),
            began: Instant::now(),
            backlog: Mutex::default(),
            feeder: Arc::new(Post::new()),
            feeding: Mutex::default(),
            upstream: Post::new(),
            transfer: Mutex::default(),
            links: AtomicUsize::new(0),
            lacks_replicas: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
            wanted_acknowledged: AtomicBool::new(false),
            is_asked: AtomicBool::new(false),
            stream_db: AtomicU32::new(0),
            stream: AtomicU64::new(0),
            restored: Mutex::default(),
            deadline: AtomicU64::new(0),
            limits: Mutex::new(limits_of(directives)),
            holds_replies: AtomicBool::new(directives.get(directives::MIN_REPLICAS_TO_ACKNOWLEDGE) > 0),
            acknowledged: AtomicU64::new(0),
            asked_from: AtomicU64::new(0),
            asked_to: AtomicU64::new(0),
            applied_to_file: Mutex::default(),
            arrears_bytes: AtomicUsize::new(0),
            arrears_bytes_peak: AtomicUsize::new(0),
            counters: Counters::default(),
            own_keys: Mutex::default(),
        }
    }

    /// Whether a key is due that clients have written here, although this is a replica.
    pub fn has_own_due(&self, now: Millis) -> bool {
        self.own_keys.lock().first().is_some_and(|at| at <= now)
    }

    /// Takes one that is due. It may have another expiry by now, or none.
    pub fn take_own_due(&self, now: Millis) -> Option<(DbIndex, Arc<[u8]>)> {
        self.own_keys.lock().take_due(now)
    }

    /// There are no keys any more, or we are a primary.
    pub fn forget_own_keys(&self) {
        self.own_keys.lock().clear();
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        self.counters.reset();
    }

    fn now(&self) -> Ms {
        Ms(self.began.elapsed().as_millis() as u64)
    }

    /// Bytes have come from our primary.
    fn note_input(&self, bytes: usize) {
        self.counters.input_bytes.fetch_add(bytes as u64, Relaxed);
        self.machine.lock().heard(self.now());
    }

    /// So much of the stream waits in memory for its snapshot.
    fn note_arrears(&self, bytes: usize) {
        self.arrears_bytes.store(bytes, Relaxed);
        self.arrears_bytes_peak.fetch_max(bytes, Relaxed);
    }

    fn arrears_bytes_max(&self) -> usize {
        self.limits.lock().arrears_bytes
    }

    /// Whether replies wait until replicas have what they tell of.
    #[inline]
    pub fn holds_replies(&self) -> bool {
        self.holds_replies.load(Relaxed)
    }

    /// Where the last write ends, if the stream ends here.
    pub fn end_of_writes(&self, end: u64) -> u64 {
        if end == self.asked_to.load(Acquire) { self.asked_from.load(Relaxed) } else { end }
    }

    /// Up to where in the stream replies may leave.
    pub fn answerable(&self) -> u64 {
        if self.holds_replies() { self.acknowledged.load(Relaxed) } else { u64::MAX }
    }

    /// How long a reply waits for replicas, if not for ever, and the error that takes its place then.
    pub fn patience(&self) -> Option<(Duration, String)> {
        let limits = *self.limits.lock();
        let timeout = limits.patience?;
        let error = format!(
            "NOREPLICAS The write was done here, and {} did not acknowledge it within {} ms: a failover may lose it. \
             See min-replicas-to-acknowledge.",
            match limits.to_acknowledge {
                1 => "1 replica".to_owned(),
                count => format!("{count} replicas"),
            },
            timeout.as_millis()
        );
        Some((timeout, error))
    }

    /// What a file that was loaded at the start said of itself.
    pub fn restore(&self, place: Option<StreamPlace>) {
        *self.restored.lock() = place;
    }

    /// The database in which the stream goes on.
    pub fn note_stream_db(&self, db: u32) {
        self.stream_db.store(db, Relaxed);
    }

    /// Whether it is the stream of this number that we apply. Under an access.
    pub fn is_stream(&self, number: u64) -> bool {
        self.stream.load(Relaxed) == number
    }

    fn stream_db(&self) -> u32 {
        self.stream_db.load(Relaxed)
    }

    /// An event loop gives a replica's connection away.
    pub fn adopt(&self, client: Arc<Client>, stream: Stream, output: Option<Box<resp::Reply>>) {
        self.feeder.send(Order::Adopt { client, stream, output });
    }

    /// The connection has ended before that.
    pub fn lose(&self, client: &Client) {
        self.feeder.send(Order::Gone(link_of(client)));
    }

    /// CLIENT KILL of a replica's connection, or of that to our primary.
    pub fn kill(&self, client: &Client) {
        if client.flags().contains(ClientFlags::PRIMARY) {
            self.upstream.send(upstream::Order::Kill(client.id));
        } else {
            self.feeder.send(Order::Kill(link_of(client)));
        }
    }
}

fn limits_of(directives: &Directives) -> Limits {
    Limits {
        backlog_bytes: u64::try_from(directives.get(directives::REPL_BACKLOG_SIZE)).unwrap_or(0),
        output: directives.get(directives::CLIENT_OUTPUT_BUFFER_LIMIT).replica,
        to_acknowledge: usize::try_from(directives.get(directives::MIN_REPLICAS_TO_ACKNOWLEDGE)).unwrap_or(0),
        patience: u64::try_from(directives.get(directives::MIN_REPLICAS_TO_ACKNOWLEDGE_TIMEOUT))
            .ok()
            .filter(|&ms| ms > 0)
            .map(Duration::from_millis),
        arrears_bytes: match usize::try_from(directives.get(directives::REPLICA_FULL_SYNC_BUFFER_LIMIT)) {
            Ok(0) | Err(_) => ARREARS_BYTES_MAX,
            Ok(bytes) => bytes,
        },
    }
}

/// Starts the threads.
///
/// # Errors
/// The system has no thread for them.
pub fn start(shared: &Arc<Shared>) -> anyhow::Result<()> {
    feeder::start(shared)?;
    upstream::start(shared)
}

/// Waits until replicas have been sent what was written before the end, as far as their sockets take it at once.
pub fn stop(shared: &Shared) {
    let feeding = shared.replication.feeding.lock().take();
    shared.replication.feeder.wake();
    if let Some(thread) = feeding {
        thread.join().expect("a panic ends the process");
    }
}

impl Shared {
    /// What there is of the log.
    pub(crate) fn replication_log(&self) -> Log {
        let journal = &self.persistence.journal;
        let backlog = self.replication.backlog.lock();
        let first = backlog.as_ref().map(|_| journal.first(Destination::Replicas));
        Log { first, end: journal.tail(Destination::Replicas) }
    }

    /// From here on the stream is kept and counted. On the wide side.
    fn begin_log(&self, global: &mut Global) {
        let mut backlog = self.replication.backlog.lock();
        if backlog.is_none() {
            *backlog = Some(self.persistence.journal.reader(Destination::Replicas));
            drop(backlog);
            self.note_readers(global);
        }
    }

    /// The log begins anew at this offset, empty. On the wide side, when no replica is fed from it.
    fn begin_log_at(&self, global: &mut Global, offset: u64) {
        let journal = &self.persistence.journal;
        let mut backlog = self.replication.backlog.lock();
        *backlog = None;
        journal.begin_replicas_at(offset);
        *backlog = Some(journal.reader(Destination::Replicas));
        drop(backlog);
        self.note_readers(global);
    }

    /// The data are those of our primary at this offset of its stream: so the log begins there.
    pub(crate) fn begin_log_of_primary(&self, offset: u64) {
        // Replicas of ours were sent away before the snapshot came; the feeder may still be about to do it.
        while self.persistence.journal.has_readers(Destination::Replicas) && !self.is_ending() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut world = self.gates.wide();
        self.replication.forget_own_keys();
        self.begin_log_at(&mut world.global, offset);
    }

    /// Nobody needs the log any more. On the wide side.
    pub(crate) fn drop_log(&self, global: &mut Global) {
        *self.replication.backlog.lock() = None;
        self.note_readers(global);
    }

    /// The backlog lets go of what is beyond its size.
    fn trim_backlog(&self, size_bytes: u64) {
        let backlog = self.replication.backlog.lock();
        if let Some(reader) = &*backlog {
            let keep_from = self.persistence.journal.tail(Destination::Replicas).saturating_sub(size_bytes);
            if keep_from > reader.released() {
                reader.release(keep_from);
            }
        }
    }

    /// Does something with the machine, and what it says.
    fn with_machine<T>(&self, global: Option<&mut Global>, run: impl FnOnce(&mut Machine, Ms, Log) -> T) -> T {
        let mut machine = self.replication.machine.lock();
        let result = run(&mut machine, self.replication.now(), self.replication_log());
        self.route(machine, global);
        result
    }

    /// Hands on what the machine says, in its order.
    fn route(&self, mut machine: MutexGuard<'_, Machine>, mut global: Option<&mut Global>) {
        let replication = &self.replication;
        while let Some(action) = machine.poll_action() {
            match action {
                Action::Connect(address) => replication.upstream.send(upstream::Order::Connect(address)),
                Action::Close => replication.upstream.send(upstream::Order::Close),
                Action::Send(bytes) => replication.upstream.send(upstream::Order::Send(bytes)),
                Action::ConnectChannel(address) => replication.upstream.send(upstream::Order::ConnectChannel(address)),
                Action::SendOnChannel(bytes) => replication.upstream.send(upstream::Order::SendOnChannel(bytes)),
                Action::Keep => replication.upstream.send(upstream::Order::Keep),
                Action::ReceiveSnapshot(framing) => {
                    self.order_snapshot(&machine, framing, None);
                }
                Action::ReceiveOnChannel { framing, stream_db } => {
                    self.order_snapshot(&machine, framing, Some(stream_db));
                }
                Action::Stream => {
                    let stream = replication.stream.load(Relaxed);
                    replication.upstream.send(upstream::Order::Stream(stream));
                }
                Action::Reply(link, bytes) => replication.feeder.send(Order::Reply { link, bytes }),
                Action::Patience(link) => replication.feeder.send(Order::Patience(link)),
                Action::Feed { link, from } => replication.feeder.send(Order::Feed { link, from }),
                Action::FeedBeside { link, from } => {
                    replication.feeder.send(match self.persistence.journal.reader_at(Destination::Replicas, from) {
                        Some(reader) => Order::FeedBeside { link, reader, from },
                        None => {
                            Order::Disconnect { link, why: "what follows its snapshot is not kept any more".to_owned() }
                        }
                    });
                }
                Action::Release(link) => replication.feeder.send(Order::Release(link)),
                Action::Snapshot { links, framing, content } => {
                    replication.feeder.send(Order::Snapshot { links, framing, content });
                }
                Action::Disconnect { link, why } => replication.feeder.send(Order::Disconnect { link, why }),
                Action::Append(bytes) => {
                    let end = self.persistence.journal.append_to_replicas(&bytes);
                    // Some replicas do not count the question in their answer.
                    replication.asked_from.store(end - bytes.len() as u64, Relaxed);
                    replication.asked_to.store(end, Release);
                }
                Action::Note(level, text) => note(level, &text),
                action @ (Action::DropLog
                | Action::BecomeReplica
                | Action::BecomePrimary
                | Action::PauseWrites
                | Action::ResumeWrites) => match &mut global {
                    Some(global) => self.change_world(global, &action),
                    None => replication.feeder.send(Order::Alone(action)),
                },
            }
        }
        let now = replication.now();
        replication.lacks_replicas.store(machine.lacks_replicas(now), Relaxed);
        let to_acknowledge = replication.limits.lock().to_acknowledge;
        let is_primary = *machine.role() == Role::Primary;
        if to_acknowledge > 0 {
            replication.acknowledged.fetch_max(machine.acknowledged_by(to_acknowledge), Relaxed);
        }
        replication.holds_replies.store(to_acknowledge > 0 && is_primary, Release);
        let is_down = machine.upstream(now).is_some_and(|upstream| upstream.state != LinkState::Connected);
        replication.is_stale.store(is_down, Relaxed);
        let deadline = machine.next_deadline().map_or(u64::MAX, |at| at.0);
        // It looks again when it wakes by itself.
        if deadline < replication.deadline.load(Relaxed) {
            replication.deadline.store(deadline, Relaxed);
            replication.feeder.wake();
        }
    }

    fn order_snapshot(&self, machine: &Machine, framing: Framing, channel: Option<Option<u32>>) {
        let offset = machine.upstream_offset();
        let stream = self.replication.stream.load(Relaxed);
        self.replication.upstream.send(upstream::Order::Receive { framing, offset, stream, channel });
    }

    /// What concerns everybody. On the wide side.
    fn change_world(&self, global: &mut Global, action: &Action) {
        match action {
            Action::BecomeReplica => {
                global.role = PartPlayed::Replica;
                if self.replication.holds_replies() {
                    // Nobody will acknowledge it any more.
                    let error = "NOREPLICAS The write was done here, and this server has become a replica before others had it: \
                                 it may be lost.";
                    self.mailboxes.iter().for_each(|mailbox| mailbox.send(Mail::NotDurable(error.into())));
                }
                self.persistence.journal.set_relaying(true);
                LOG.set_role(LogRole::Replica);
                for client_id in global.waiters.for_role_change() {
                    blocking::release(global, self, &self.job_stats, client_id, Released::RoleChanged);
                }
                self.part_from_shutdown(global);
            }
            Action::BecomePrimary => {
                global.role = PartPlayed::Primary;
                // All keys go by themselves.
                self.replication.forget_own_keys();
                // What has come of the old stream is applied no more, whatever the thread is about to do with it.
                self.replication.stream.fetch_add(1, Relaxed);
                self.persistence.journal.set_relaying(false);
                // Nobody knows which database the stream has selected.
                let end = self.persistence.journal.cut(Destination::Replicas);
                // What was there before is nobody's to acknowledge.
                self.replication.acknowledged.fetch_max(end, Relaxed);
                LOG.set_role(LogRole::Primary);
            }
            Action::PauseWrites => global.pauses.set(PauseReason::Failover, Some(Pause::endless(true))),
            Action::ResumeWrites => global.pauses.set(PauseReason::Failover, None),
            Action::DropLog => self.drop_log(global),
            _ => unreachable!("what concerns a thread goes to it"),
        }
        self.note_readers(global);
        self.wake_all();
    }

    /// The configuration has changed.
    pub(crate) fn apply_replication(&self, global: &mut Global) {
        let config = config_of(&global.config);
        let before = std::mem::replace(&mut *self.replication.limits.lock(), limits_of(&global.config));
        if before.to_acknowledge == 0 {
            let end = self.persistence.journal.tail(Destination::Replicas);
            self.replication.acknowledged.fetch_max(end, Relaxed);
        }
        self.with_machine(Some(global), |machine, now, _| machine.configure(now, config));
    }

    /// When the data has been loaded: goes on with the stream that it belongs to, and follows whom the configuration names.
    pub(crate) fn begin_replication(&self) {
        let mut world = self.gates.wide();
        let global = &mut world.global;
        if let Some(StreamPlace { id, offset, db }) = self.replication.restored.lock().take() {
            self.begin_log_at(global, offset);
            self.replication.note_stream_db(db);
            self.with_machine(Some(global), |machine, _, _| machine.restored(id, offset, random_id()));
        }
        if let Some(PrimaryAddress { host, port }) = global.config.get(directives::REPLICAOF) {
            let address = Address { host: String::from_utf8_lossy(host).into_owned(), port: *port };
            self.with_machine(Some(global), |machine, now, log| machine.follow(now, address, log));
        }
    }

    /// The stream has been applied up to the end of our log.
    fn applied(&self) {
        let (replication, journal) = (&self.replication, &self.persistence.journal);
        let offset = journal.tail(Destination::Replicas);
        let is_asked = replication.is_asked.swap(false, Relaxed);
        let durable = self.persistence.status.is_published.load(Relaxed).then(|| {
            let durable = self.persistence.journal_durable();
            let mut followed = replication.applied_to_file.lock();
            if followed.len() < FOLLOWED_MAX {
                followed.push_back((journal.tail(Destination::Aof), offset));
            }
            let done = followed.partition_point(|(file, _)| *file <= durable);
            // The last of them stays: nothing newer may come for long.
            let at = done.checked_sub(1).map_or(0, |last| followed[last].1);
            followed.drain(..done.saturating_sub(1));
            at
        });
        let mut machine = replication.machine.lock();
        let now = replication.now();
        machine.applied(now, offset, durable);
        if is_asked {
            machine.wants_ack(now);
        }
        self.route(machine, None);
    }

    /// What a snapshot says of the stream that it belongs to. The caller is alone.
    pub(crate) fn tell_of_stream(&self, out: &mut Vec<u8>) {
        let log = self.replication_log();
        if log.first.is_none() {
            return;
        }
        let (db, id) = (self.replication.stream_db(), self.replication.machine.lock().history().id);
        rdb::encode::aux(out, b"repl-stream-db", db.to_string().as_bytes());
        rdb::encode::aux(out, b"repl-id", id.as_str().as_bytes());
        rdb::encode::aux(out, b"repl-offset", log.end.to_string().as_bytes());
    }

    /// A client that has told something of itself with REPLCONF, and has become no replica, has gone.
    pub(crate) fn forget_replconf(&self, client: &Client) {
        self.with_machine(None, |machine, now, _| machine.gone(now, link_of(client)));
    }

    /// The snapshot that is on its way to replicas.
    pub(crate) fn transfer(&self) -> Option<Arc<Transfer>> {
        self.replication.transfer.lock().clone()
    }

    /// The cut of the log that belongs to a snapshot's: these links get what follows it. The caller is alone.
    pub(crate) fn cut_log(&self, global: &mut Global, links: &[LinkId], form: Form) {
        self.begin_log(global);
        let journal = &self.persistence.journal;
        let is_replica = global.role == PartPlayed::Replica;
        // What our primary sends is not ours to begin with a SELECT: the snapshot says which database is selected.
        let offset = if is_replica { journal.tail(Destination::Replicas) } else { journal.cut(Destination::Replicas) };
        if !is_replica {
            self.replication.note_stream_db(0);
        }
        let mailbox = Arc::downgrade(&self.replication.feeder);
        let wake = move || {
            if let Some(feeder) = mailbox.upgrade() {
                feeder.wake();
            }
        };
        let transfer = Arc::new(Transfer::new(form, offset, links, wake));
        *self.replication.transfer.lock() = Some(transfer.clone());
        let stream_db = is_replica.then(|| self.replication.stream_db());
        // In this order: the reply, and then the snapshot.
        self.with_machine(Some(global), |machine, now, _| machine.cut(now, links, offset, stream_db));
        let machine = self.replication.machine.lock();
        let readers = links.iter().map(|link| {
            let reader = machine.keeps_log_for(*link).then(|| journal.reader_at(Destination::Replicas, offset));
            (*link, reader.map(|reader| reader.expect("the end of a stream is there")))
        });
        let readers: Vec<_> = readers.collect();
        drop(machine);
        self.replication.feeder.send(Order::Cut { transfer, readers });
    }

    /// A job has ended: another may begin, for replicas.
    pub(crate) fn tell_feeder_of_end(&self) {
        self.replication.feeder.send(Order::JobEnded);
    }

    /// Replicas have acknowledged more: tells the event loops whose replies wait for that.
    fn announce_acknowledged(&self) {
        self.mailboxes.iter().filter(|mailbox| mailbox.wants_durable()).for_each(|mailbox| mailbox.send(Mail::Durable));
    }

    /// Serves who waits in WAIT.
    fn serve_acknowledged(&self) {
        let Some(mut world) = self.gates.wide_unless_lent() else {
            return;
        };
        let global = &mut world.global;
        blocking::serve_safe(global, self, &self.job_stats);
        self.replication.wanted_acknowledged.store(global.waiters.want_replicas(), Relaxed);
    }
}

fn note(level: Level, text: &str) {
    use config::LogLevel;
    let level = match level {
        Level::Debug => LogLevel::Debug,
        Level::Verbose => LogLevel::Verbose,
        Level::Notice => LogLevel::Notice,
        Level::Warning => LogLevel::Warning,
    };
    LOG.write(level, text);
}

fn link_of(client: &Client) -> LinkId {
    LinkId(client.id)
}

/// Where a client connects from, without the port.
fn host_of(client: &Client) -> &str {
    let host = client.address.rsplit_once(':').map_or(&*client.address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

impl commands::replication::Replication for Shared {
    fn follow(&self, alone: Alone<'_, '_>, primary: Option<Address>) -> Result<bool, Error> {
        Ok(self.with_machine(Some(alone.global), |machine, now, log| match primary {
            Some(address) => machine.follow(now, address, log),
            None if *machine.role() == Role::Primary => false,
            None => {
                machine.promote(now, random_id(), log);
                true
            }
        }))
    }

    fn replconf(&self, alone: Alone<'_, '_>, client: &Arc<Client>, words: &[&[u8]]) -> Replconf {
        if client.id == upstream::STREAM_CLIENT {
            // In our primary's stream. It is answered when everything before it has been applied.
            self.replication.is_asked.store(true, Relaxed);
            return Replconf::Silent;
        }
        client.has_replconf.store(true, Relaxed);
        self.with_machine(Some(alone.global), |machine, now, log| {
            machine.replconf(now, link_of(client), host_of(client), words, log)
        })
    }

    fn sync(&self, alone: Alone<'_, '_>, client: &Arc<Client>, request: SyncRequest<'_>) -> Sync {
        let mut machine = self.replication.machine.lock();
        let (now, log) = (self.replication.now(), self.replication_log());
        let link = link_of(client);
        let sync = machine.sync(now, link, host_of(client), request, log, random_id());
        let counters = &self.replication.counters;
        match &sync {
            Sync::Refuse(_) | Sync::Offer(_) => {}
            Sync::Second => self.begin_log(alone.global),
            Sync::Wait => {
                counters.full_syncs.fetch_add(1, Relaxed);
                let asked = matches!(request, SyncRequest::Psync { id, .. } if id != b"?");
                counters.partial_syncs_refused.fetch_add(asked.into(), Relaxed);
                self.begin_log(alone.global);
            }
            Sync::Continue { reply, from } => {
                let reader = self.persistence.journal.reader_at(Destination::Replicas, *from);
                let reader = reader.expect("the machine was told what is in the log");
                counters.partial_syncs.fetch_add(1, Relaxed);
                self.replication.feeder.send(Order::Continue { link, reply: reply.clone(), reader, from: *from });
            }
        }
        if !matches!(sync, Sync::Refuse(_) | Sync::Offer(_)) {
            client.set_flag(ClientFlags::REPLICA, true);
            self.replication.links.fetch_add(1, Relaxed);
        }
        self.route(machine, Some(alone.global));
        sync
    }

    fn replicas(&self) -> Vec<ReplicaReport> {
        self.replication.machine.lock().replicas(self.replication.now(), self.replication_log())
    }

    fn good_replicas(&self) -> usize {
        self.replication.machine.lock().good_replicas(self.replication.now())
    }

    fn history(&self) -> History {
        *self.replication.machine.lock().history()
    }

    fn log(&self) -> Log {
        self.replication_log()
    }

    fn figures(&self) -> Figures {
        let counters = &self.replication.counters;
        let log = self.replication_log();
        let kept = self.replication.backlog.lock().as_ref().map_or(0, |reader| log.end - reader.released());
        Figures {
            full_syncs: counters.full_syncs.load(Relaxed),
            partial_syncs: counters.partial_syncs.load(Relaxed),
            partial_syncs_refused: counters.partial_syncs_refused.load(Relaxed),
            input_bytes: counters.input_bytes.load(Relaxed),
            output_bytes: counters.output_bytes.load(Relaxed),
            waiting_for_first: self.replication.machine.lock().waiting_for_first(),
            arrears_bytes: self.replication.arrears_bytes.load(Relaxed) as u64,
            arrears_bytes_max: self.replication.arrears_bytes_peak.load(Relaxed) as u64,
            own_keys: self.replication.own_keys.lock().len() as u64,
            log_bytes: kept,
            buffer_bytes: self.persistence.journal.memory_bytes(Destination::Replicas),
            ..Figures::default()
        }
    }

    fn upstream(&self) -> Option<UpstreamReport> {
        self.replication.machine.lock().upstream(self.replication.now())
    }

    fn offset(&self) -> u64 {
        self.persistence.journal.tail(Destination::Replicas)
    }

    fn acknowledged(&self, offset: u64) -> usize {
        self.replication.machine.lock().acknowledged(offset)
    }

    fn acknowledged_on_disk(&self, offset: u64) -> usize {
        self.replication.machine.lock().acknowledged_on_disk(offset)
    }

    fn want_acknowledged(&self) {
        self.replication.wanted_acknowledged.store(true, Relaxed);
        self.with_machine(None, |machine, _, _| machine.ask_for_acks());
    }

    fn failover(&self, alone: Alone<'_, '_>, request: FailoverRequest) -> Result<(), Error> {
        self.with_machine(Some(alone.global), |machine, now, log| machine.failover(now, request, log))
            .map_err(Error::string)
    }

    fn abort_failover(&self, alone: Alone<'_, '_>) -> Result<(), Error> {
        self.with_machine(Some(alone.global), |machine, now, _| machine.abort_failover(now)).map_err(Error::string)
    }

    fn failover_state(&self) -> FailoverState {
        self.replication.machine.lock().failover_state()
    }

    fn change_id(&self, alone: Alone<'_, '_>) {
        self.with_machine(Some(alone.global), |machine, _, _| machine.change_id(random_id()));
    }

    fn lacks_replicas(&self) -> bool {
        self.replication.lacks_replicas.load(Relaxed)
    }

    fn note_own_expiry(&self, db: DbIndex, key: &[u8], at: Millis) {
        self.replication.own_keys.lock().note(db, key, at);
    }

    fn is_stale(&self) -> bool {
        self.replication.is_stale.load(Relaxed)
    }
}

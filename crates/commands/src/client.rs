//! Clients, as everybody sees them and as their own event loop does.
//!
//! [`Client`] is the record in shared memory: its event loop writes, CLIENT LIST and KILL read and mark it without asking
//! anyone. [`Session`] is the state that only the connection's own commands touch.

use std::collections::BTreeMap;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, OnceLock};

use acl::DEFAULT_USER;
use bitflags::bitflags;
use keyspace::{DbIndex, Millis};
use parking_lot::Mutex;

use crate::access::Identity;
use crate::pubsub::Subscriber;
use crate::registry::Command;
use crate::spec::Flags;
use crate::stats::Counter;
use crate::tracking::Track;
use crate::transaction::Transaction;

bitflags! {
    /// What CLIENT LIST shows as letters, and what changes how a client is treated.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ClientFlags: u32 {
        const UNIX_SOCKET = 1 << 0;
        const NO_EVICT = 1 << 1;
        const NO_TOUCH = 1 << 2;
        const CLOSE_AFTER_REPLY = 1 << 3;
        const READONLY = 1 << 4;
        const IMPORT_SOURCE = 1 << 5;
        /// Waits behind CLIENT PAUSE.
        const PAUSED = 1 << 6;
        /// Waits in a blocking command. Changes on the wide side only.
        const BLOCKED = 1 << 7;
        /// Queues commands for EXEC.
        const MULTI = 1 << 8;
        /// A key that it watches was touched: EXEC will do nothing. Set by whoever touches, under its access.
        const DIRTY_WATCH = 1 << 9;
        /// Has subscriptions.
        const PUBSUB = 1 << 10;
        /// CLIENT TRACKING is on.
        const TRACKING = 1 << 11;
        /// The client that was to receive its invalidations has gone. Set by whoever meant to send one.
        const TRACKING_BROKEN = 1 << 12;
        const TRACKING_BCAST = 1 << 13;
        /// CLIENT TRACKING was on at some time: what it has read may be remembered.
        const HAS_TRACKED = 1 << 14;
        /// Listens to all commands. Changes on the wide side only.
        const MONITOR = 1 << 15;
        /// A replica's link: it is no client any more. Changes on the wide side only.
        const REPLICA = 1 << 16;
        /// The link to our primary.
        const PRIMARY = 1 << 17;
    }
}

/// The record of a connection that everybody may read.
pub struct Client {
    pub id: u64,
    /// `ip:port`, `[ip]:port`, or `path:0` of a unix socket.
    pub address: String,
    pub local_address: String,
    pub fd: i32,
    /// Where it lives now: see [`Client::place`].
    place: AtomicU64,
    pub created: Millis,
    pub flags: AtomicU32,
    pub db: AtomicU32,
    pub protocol: AtomicU8,
    pub last_interaction: AtomicI64,
    /// Id of the last command.
    pub last_command: AtomicU16,
    pub commands: Counter,
    pub net_input_bytes: Counter,
    pub net_output_bytes: Counter,
    pub query_buffer_bytes: AtomicUsize,
    pub query_buffer_free_bytes: AtomicUsize,
    pub argument_bytes: AtomicUsize,
    pub output_bytes: AtomicUsize,
    pub output_segments: AtomicUsize,
    pub memory_bytes: AtomicUsize,
    pub capabilities: AtomicU32,
    /// Commands that a transaction has queued, and their memory.
    pub queued_commands: AtomicUsize,
    pub queued_bytes: AtomicUsize,
    pub watched_keys: AtomicUsize,
    /// Set by CLIENT KILL and its like, upon which the client's event loop closes it, and when the connection ends for any other reason:
    /// who still holds the record then knows that nobody is there.
    pub killed: AtomicBool,
    /// It has told something of itself with REPLCONF, which is to be forgotten when it goes.
    pub has_replconf: AtomicBool,
    /// Something lies in its inbox: looked at before each of its commands, so it stands beside what is read then anyway.
    pub(crate) has_pushes: AtomicBool,
    /// Who receives its invalidations, as CLIENT LIST shows it: -1 where it does not track, 0 where it receives them itself.
    pub redirect: AtomicI64,
    pub text: Mutex<ClientText>,
    /// There once the client subscribes to something, or is to get invalidations, for life: see [`Client::subscriber`].
    pub(crate) subscriber: OnceLock<Box<Subscriber>>,
}

/// Where a client lives: its event loop, and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub thread: usize,
    pub token: usize,
}

impl Place {
    /// No connection has it: that of one on its way to another event loop, whose mail waits behind it.
    pub const ON_THE_WAY: usize = u32::MAX as usize;

    fn encode(self) -> u64 {
        debug_assert!(self.token <= Place::ON_THE_WAY);
        (self.thread as u64) << 32 | self.token as u64
    }

    fn decode(code: u64) -> Place {
        Place { thread: (code >> 32) as usize, token: (code & u64::from(u32::MAX)) as usize }
    }
}

/// The parts of a record that are words.
#[derive(Clone, Debug, Default)]
pub struct ClientText {
    pub name: Vec<u8>,
    pub user: Vec<u8>,
    pub library_name: Vec<u8>,
    pub library_version: Vec<u8>,
}

impl Client {
    pub fn new(id: u64, place: Place, address: String, local_address: String, fd: i32, now: Millis) -> Client {
        Client {
            id,
            address,
            local_address,
            fd,
            place: AtomicU64::new(place.encode()),
            created: now,
            flags: AtomicU32::new(0),
            db: AtomicU32::new(0),
            protocol: AtomicU8::new(2),
            last_interaction: AtomicI64::new(now.0),
            last_command: AtomicU16::new(u16::MAX),
            commands: Counter::default(),
            net_input_bytes: Counter::default(),
            net_output_bytes: Counter::default(),
            query_buffer_bytes: AtomicUsize::new(0),
            query_buffer_free_bytes: AtomicUsize::new(0),
            argument_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            output_segments: AtomicUsize::new(0),
            memory_bytes: AtomicUsize::new(0),
            capabilities: AtomicU32::new(0),
            queued_commands: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            watched_keys: AtomicUsize::new(0),
            killed: AtomicBool::new(false),
            has_replconf: AtomicBool::new(false),
            has_pushes: AtomicBool::new(false),
            redirect: AtomicI64::new(-1),
            text: Mutex::new(ClientText { user: DEFAULT_USER.to_vec(), ..ClientText::default() }),
            subscriber: OnceLock::new(),
        }
    }

    /// Its event loop, and its place there. Where a connection moves meanwhile, whoever finds it gone asks again.
    pub fn place(&self) -> Place {
        Place::decode(self.place.load(Acquire))
    }

    /// Called by the event loop that has it, or gives it to another.
    pub fn set_place(&self, place: Place) {
        self.place.store(place.encode(), Release);
    }

    pub fn flags(&self) -> ClientFlags {
        ClientFlags::from_bits_truncate(self.flags.load(Relaxed))
    }

    /// Whether it has ever switched CLIENT TRACKING on.
    pub fn has_tracked(&self) -> bool {
        self.flags().contains(ClientFlags::HAS_TRACKED)
    }

    /// Called by the client's own event loop, or under its access.
    pub fn set_flag(&self, flag: ClientFlags, on: bool) {
        if on {
            self.flags.fetch_or(flag.bits(), Relaxed);
        } else {
            self.flags.fetch_and(!flag.bits(), Relaxed);
        }
    }
}

/// All clients by id. The lock is held for a lookup or a walk, never while anything waits.
#[derive(Default)]
pub struct Clients {
    next_id: AtomicU64,
    by_id: Mutex<BTreeMap<u64, Arc<Client>>>,
}

impl Clients {
    /// A number never given before, from 1.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Relaxed) + 1
    }

    pub fn insert(&self, client: Arc<Client>) {
        self.by_id.lock().insert(client.id, client);
    }

    pub fn remove(&self, id: u64) {
        self.by_id.lock().remove(&id);
    }

    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.lock().get(&id).cloned()
    }

    /// All clients, by ascending id.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.by_id.lock().values().cloned().collect()
    }

    /// Those that are not told to close. Who is has gone for everybody who looks, even if its event loop has not come to it yet.
    pub fn open(&self) -> Vec<Arc<Client>> {
        self.by_id.lock().values().filter(|client| !client.killed.load(Relaxed)).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.by_id.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What CLIENT REPLY has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    On,
    Off,
    /// The next command's reply is skipped.
    SkipNext,
    /// This command's reply is skipped.
    Skip,
}

/// Where something that was written ends: 0 if nothing was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// In the stream of replication.
    pub stream: u64,
    /// In the journal of the append-only file.
    pub journal: u64,
}

/// The state of a connection that only its own commands touch.
#[derive(Clone)]
pub struct Session {
    pub client: Arc<Client>,
    pub db: DbIndex,
    /// It has said who it is, or nobody has asked.
    pub authenticated: bool,
    /// Its user, and whether there is anything to ask about him.
    pub identity: Identity,
    /// From this machine, which `enable-debug-command local` and its like ask.
    pub is_local: bool,
    /// Id of the last command, shown once the batch is done.
    pub last_command: u16,
    pub reply_mode: ReplyMode,
    /// Commands whose reply was skipped, as CLIENT REPLY has asked.
    pub commands_skipped: u64,
    /// A command has changed something since this was last taken back: its reply must not leave while nobody can vouch for that.
    pub has_changed: bool,
    /// A command has looked at data, or changed some, since this was last taken back: its reply may tell of what others have written.
    pub has_seen: bool,
    /// A command has changed something since [`written_until`](Self::written_until) was last asked, and what that said then.
    has_written: bool,
    written_until: Written,
    /// SYNC or PSYNC was accepted: the event loop gives the connection away behind the replies so far, and executes nothing of what follows.
    pub becomes_replica: Option<Box<replication::Sync>>,
    /// Has subscriptions.
    pub is_subscriber: bool,
    /// CLIENT TRACKING is on: what it reads is remembered for it.
    pub tracking: Option<Track>,
    /// Listens to all commands (MONITOR).
    pub is_monitor: bool,
    /// Close once everything so far is written (QUIT, protocol errors).
    pub close_after_reply: bool,
    /// Not a client, but a file or another server that tells what has happened: it is not refused, not made to wait, and finds keys whose time
    /// has come, since it says itself when they go.
    pub replays: bool,
    /// What was queued since MULTI.
    pub transaction: Option<Box<Transaction>>,
}

impl Session {
    pub fn new(client: Arc<Client>, authenticated: bool, is_local: bool) -> Session {
        Session {
            client,
            db: DbIndex(0),
            authenticated,
            identity: Identity::default(),
            is_local,
            last_command: u16::MAX,
            reply_mode: ReplyMode::On,
            commands_skipped: 0,
            has_changed: false,
            has_seen: false,
            has_written: false,
            written_until: Written::default(),
            becomes_replica: None,
            is_subscriber: false,
            tracking: None,
            is_monitor: false,
            close_after_reply: false,
            replays: false,
            transaction: None,
        }
    }

    pub fn select(&mut self, db: DbIndex) {
        self.db = db;
        self.client.db.store(db.0, Relaxed);
    }

    /// A command has ended, and has changed something or not.
    #[inline]
    pub fn note_changed(&mut self, changed: bool) {
        self.has_changed |= changed;
        self.has_seen |= changed;
        self.has_written |= changed;
    }

    /// Whether [`written_until`](Self::written_until) is still to be asked since its last write.
    #[inline]
    pub fn has_written(&self) -> bool {
        self.has_written
    }

    /// Where its last write ends, at the latest. `ends` is where all ends now; the sooner this is asked after a write, the less of what others have
    /// written lies between.
    pub fn written_until(&mut self, ends: Written) -> Written {
        if std::mem::take(&mut self.has_written) {
            self.written_until = ends;
        }
        self.written_until
    }

    /// Whether the reply of the command that has just ended is sent; CLIENT REPLY SKIP moves on.
    #[inline]
    pub fn keeps_reply(&mut self) -> bool {
        match self.reply_mode {
            ReplyMode::On => return true,
            ReplyMode::Off => {}
            ReplyMode::SkipNext => self.reply_mode = ReplyMode::Skip,
            ReplyMode::Skip => self.reply_mode = ReplyMode::On,
        }
        self.commands_skipped += 1;
        false
    }

    pub fn has(&self, flag: ClientFlags) -> bool {
        self.client.flags().contains(flag)
    }

    /// MULTI.
    pub fn begin_transaction(&mut self) {
        self.transaction = Some(Transaction::begin());
        self.client.set_flag(ClientFlags::MULTI, true);
        self.client.queued_commands.store(0, Relaxed);
    }

    /// Keeps a command for EXEC.
    pub fn queue(&mut self, command: &Command, flags: Flags, args: &[&[u8]]) {
        let transaction = self.transaction.as_mut().expect("only a transaction queues");
        // What EXEC will not run need not be kept.
        if transaction.is_broken() || self.client.flags().contains(ClientFlags::DIRTY_WATCH) {
            return;
        }
        transaction.push(command, flags, args);
        self.client.queued_commands.store(transaction.len(), Relaxed);
        self.client.queued_bytes.store(transaction.bytes(), Relaxed);
    }

    /// EXEC, DISCARD, RESET: takes out what was queued.
    pub fn end_transaction(&mut self) -> Option<Box<Transaction>> {
        let transaction = self.transaction.take()?;
        self.client.set_flag(ClientFlags::MULTI, false);
        self.client.queued_commands.store(0, Relaxed);
        self.client.queued_bytes.store(0, Relaxed);
        Some(transaction)
    }
}

//! Transactions: what MULTI has queued, and what WATCH watches.
//!
//! ```text
//!  MULTI ──> queueing: every command is checked and kept ── DISCARD, RESET ──> dropped
//!                │ a command that is refused breaks the transaction
//!                └─ EXEC (wide) ──> broken: EXECABORT
//!                               ──> a watched key was touched: null
//!                               ──> Stop::Execute: the queue runs in the same access, as one unit of effects
//! ```
//!
//! A watched key is touched when a command changes it, or when its time comes. Which keys a command may have changed is recorded
//! by [`Effects`](crate::Effects) while anybody watches; that it has changed something it says by [`Db::changed`](crate::Db::changed). The
//! client's record is marked before the access ends, so that no EXEC can miss it: EXEC is alone in the world.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use keyspace::{DbIndex, Key};

use crate::client::{Client, ClientFlags};
use crate::registry::Command;
use crate::spec::{Flags, Group};

/// What a client has queued since MULTI: the words of all commands in a row, so that a command queued allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    queue: Vec<Queued>,
    bytes: Vec<u8>,
    /// Where in `bytes` each word ends.
    ends: Vec<usize>,
    /// What any of them may do, and what all of them may do.
    flags: Option<Flags>,
    common_flags: Option<Flags>,
    has_scripts: bool,
    /// A command was refused: EXEC will be too.
    broken: bool,
}

/// One command that waits for EXEC.
#[derive(Clone, Copy, Debug)]
struct Queued {
    command: u16,
    /// Behind its last word.
    end: usize,
}

/// Memory beyond this is not kept for the next transaction.
const KEPT_BYTES_MAX: usize = 16 * 1024;
/// So many transactions that have ended are kept for a thread's next ones.
const KEPT_MAX: usize = 16;

thread_local! {
    #[expect(clippy::vec_box, reason = "sessions hold boxes: what is kept are these")]
    static KEPT: RefCell<Vec<Box<Transaction>>> = const { RefCell::new(Vec::new()) };
}

impl Transaction {
    /// An empty one, with the memory of one that has ended, if there is any.
    pub fn begin() -> Box<Transaction> {
        KEPT.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// It has ended.
    pub fn end(mut self: Box<Transaction>) {
        if self.bytes.capacity() > KEPT_BYTES_MAX || self.ends.capacity() > KEPT_BYTES_MAX / size_of::<usize>() {
            return;
        }
        let Transaction { queue, bytes, ends, flags, common_flags, has_scripts, broken } = &mut *self;
        queue.clear();
        bytes.clear();
        ends.clear();
        (*flags, *common_flags, *has_scripts, *broken) = (None, None, false, false);
        KEPT.with_borrow_mut(|kept| {
            if kept.len() < KEPT_MAX {
                kept.push(self);
            }
        });
    }

    /// `flags`: what this call of the command may do.
    pub fn push(&mut self, command: &Command, flags: Flags, args: &[&[u8]]) {
        self.flags = Some(self.flags() | flags);
        self.common_flags = Some(self.common_flags() & flags);
        self.has_scripts |= command.spec.group == Group::Scripting;
        for arg in args {
            self.bytes.extend_from_slice(arg);
            self.ends.push(self.bytes.len());
        }
        self.queue.push(Queued { command: command.id, end: self.ends.len() });
    }

    /// The words of all commands together.
    pub fn word_count(&self) -> usize {
        self.ends.len()
    }

    /// The commands in order: their ids and their words.
    pub fn commands(&self) -> impl Iterator<Item = (u16, impl Iterator<Item = &[u8]>)> {
        let mut first = 0;
        self.queue.iter().map(move |queued| {
            let words = std::mem::replace(&mut first, queued.end)..queued.end;
            let word = |index: usize| &self.bytes[if index == 0 { 0 } else { self.ends[index - 1] }..self.ends[index]];
            (queued.command, words.map(word))
        })
    }

    /// EXEC will not run what is queued.
    pub fn spoil(&mut self) {
        self.broken = true;
    }

    pub fn has_scripts(&self) -> bool {
        self.has_scripts
    }

    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The flags of all queued commands together.
    pub fn flags(&self) -> Flags {
        self.flags.unwrap_or(Flags::empty())
    }

    /// The flags that all queued commands have.
    pub fn common_flags(&self) -> Flags {
        self.common_flags.unwrap_or(Flags::all())
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Memory of what is queued, roughly, as Redis counts it.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.ends.len() * WORD_BYTES
    }
}

/// What a word costs beside its bytes.
const WORD_BYTES: usize = 24;

/// Commands that act at once although a transaction is queueing.
pub fn is_immediate(command: &Command) -> bool {
    matches!(command.spec.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset") && command.parent.is_none()
}

/// Whether the client will be in a transaction after this command, unless it is refused. `queues`: it is in one before.
pub fn queues_after(command: &Command, queues: bool) -> bool {
    match command.spec.name {
        "multi" if command.parent.is_none() => true,
        "exec" | "discard" | "reset" | "quit" if command.parent.is_none() => false,
        _ => queues,
    }
}

/// Whether a transaction ends with this command, also where it is refused.
pub fn is_exec(command: &Command) -> bool {
    command.spec.name == "exec" && command.parent.is_none()
}

/// The error of an EXEC that was refused with this one.
pub fn discarded_because_of(reason: &[u8]) -> Vec<u8> {
    [b"EXECABORT Transaction discarded because of: ", reason.strip_prefix(b"ERR ").unwrap_or(reason)].concat()
}

/// A key in its database.
pub type WatchedKey = (DbIndex, Box<[u8]>);

/// Who watches which keys. Part of [`Global`](crate::Global): read on the narrow side, changed on the wide one.
#[derive(Default)]
pub struct Watches {
    /// No list is empty. While anybody watches, every change looks here: the hash is a fast one, keyed.
    by_key: HashMap<WatchedKey, Vec<Watcher>, foldhash::quality::RandomState>,
    by_client: BTreeMap<u64, Vec<WatchedKey>>,
}

/// Who watches a key.
struct Watcher {
    client: Arc<Client>,
    /// The key's time had come before, and nobody had removed it yet: to this client it was missing, and stays so when it is removed.
    had_expired: bool,
}

impl Watches {
    pub fn is_empty(&self) -> bool {
        self.by_client.is_empty()
    }

    /// Clients that watch, and the keys they do, for INFO.
    pub fn count(&self) -> (usize, usize) {
        (self.by_client.len(), self.by_key.len())
    }

    /// `had_expired`: the key is there, and its time has come.
    pub fn add(&mut self, client: &Arc<Client>, db: DbIndex, key: Key<'_>, had_expired: bool) {
        let name: Box<[u8]> = key.bytes().into();
        // A client may watch very many keys, and all wait for it: whether it watches this one is asked of the key.
        let watching = self.by_key.entry((db, name.clone())).or_default();
        if watching.iter().any(|other| other.client.id == client.id) {
            return;
        }
        watching.push(Watcher { client: client.clone(), had_expired });
        let keys = self.by_client.entry(client.id).or_default();
        keys.push((db, name));
        client.watched_keys.store(keys.len(), Relaxed);
    }

    /// The keys that a client watches.
    pub fn of_client(&self, client_id: u64) -> &[WatchedKey] {
        self.by_client.get(&client_id).map_or(&[], Vec::as_slice)
    }

    /// The keys of this database that anybody watches.
    pub fn in_database(&self, db: DbIndex) -> impl Iterator<Item = &[u8]> {
        self.by_key.keys().filter(move |(watched_db, _)| *watched_db == db).map(|(_, key)| &**key)
    }

    /// The client watches nothing any more, and what it has missed is forgotten.
    pub fn remove(&mut self, client: &Client) {
        for watched in self.by_client.remove(&client.id).unwrap_or_default() {
            let watching = self.by_key.get_mut(&watched).expect("what a client watches is watched");
            watching.retain(|other| other.client.id != client.id);
            if watching.is_empty() {
                self.by_key.remove(&watched);
            }
        }
        client.watched_keys.store(0, Relaxed);
        client.set_flag(ClientFlags::DIRTY_WATCH, false);
    }

    /// Marks whoever watches this key.
    pub fn touch(&self, db: DbIndex, key: &[u8]) {
        if self.by_key.is_empty() || planted_unseen_touch() {
            return;
        }
        for watcher in self.by_key.get(&(db, key.into())).into_iter().flatten() {
            watcher.client.set_flag(ClientFlags::DIRTY_WATCH, true);
        }
    }

    /// A key was removed whose time had come: marks whoever has seen it before that.
    pub fn touch_expired(&self, db: DbIndex, key: &[u8]) {
        for watcher in self.by_key.get(&(db, key.into())).into_iter().flatten() {
            if !watcher.had_expired {
                watcher.client.set_flag(ClientFlags::DIRTY_WATCH, true);
            }
        }
    }

    /// A key was missing, and now one is in its place whose time has come: still missing to whoever watches it.
    pub fn expired_comes(&mut self, db: DbIndex, key: &[u8]) {
        for watcher in self.by_key.get_mut(&(db, key.into())).into_iter().flatten() {
            watcher.had_expired = true;
        }
    }

    /// Whether one of the keys that this client watches has expired meanwhile. `has_expired` says it of a key that is there.
    pub fn has_expired_meanwhile(&self, client: &Client, has_expired: impl Fn(DbIndex, &[u8]) -> bool) -> bool {
        let had_expired = |watched: &WatchedKey| {
            let mut watching = self.by_key.get(watched).into_iter().flatten();
            watching.any(|watcher| watcher.client.id == client.id && watcher.had_expired)
        };
        self.of_client(client.id).iter().any(|watched| has_expired(watched.0, &watched.1) && !had_expired(watched))
    }

    /// All data is about to go: marks whoever watches a key that is alive.
    pub fn touch_all(&self, is_alive: impl Fn(DbIndex, &[u8]) -> bool) {
        for (db, key) in self.by_key.keys().filter(|(db, key)| is_alive(*db, key)) {
            self.touch(*db, key);
        }
    }
}

/// The planted bug `unseen-touch`: one change in eight of a watched key is told to nobody. The linearizability check must find it.
#[cfg(feature = "planted")]
fn planted_unseen_touch() -> bool {
    use std::sync::LazyLock;
    use std::sync::atomic::AtomicU32;
    static IS_PLANTED: LazyLock<bool> =
        LazyLock::new(|| std::env::var("SPINEL_PLANT").is_ok_and(|name| name == "unseen-touch"));
    static COUNT: AtomicU32 = AtomicU32::new(0);
    *IS_PLANTED && COUNT.fetch_add(1, Relaxed).is_multiple_of(8)
}

#[cfg(not(feature = "planted"))]
#[inline(always)]
fn planted_unseen_touch() -> bool {
    false
}

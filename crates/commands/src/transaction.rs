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

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use keyspace::{DbIndex, Key};

use crate::client::{Client, ClientFlags};
use crate::registry::Command;
use crate::spec::Flags;

/// What a client has queued since MULTI.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    queue: Vec<Queued>,
    /// What any of them may do.
    flags: Option<Flags>,
    /// A command was refused: EXEC will be too.
    broken: bool,
    bytes: usize,
}

/// One command that waits for EXEC.
#[derive(Clone, Debug)]
pub struct Queued {
    pub command: u16,
    pub args: Vec<Vec<u8>>,
}

impl Transaction {
    pub fn push(&mut self, command: &Command, args: &[&[u8]]) {
        self.flags = Some(self.flags() | command.spec.flags);
        self.bytes += args.iter().map(|arg| arg.len() + size_of::<Vec<u8>>()).sum::<usize>();
        let args = args.iter().map(|arg| arg.to_vec()).collect();
        self.queue.push(Queued { command: command.id, args });
    }

    /// EXEC will not run what is queued.
    pub fn spoil(&mut self) {
        self.broken = true;
    }

    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The flags of all queued commands together.
    pub fn flags(&self) -> Flags {
        self.flags.unwrap_or(Flags::empty())
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Memory of what is queued, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn into_queue(self) -> Vec<Queued> {
        self.queue
    }
}

/// Commands that act at once although a transaction is queueing.
pub fn is_immediate(command: &Command) -> bool {
    matches!(command.spec.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset") && command.parent.is_none()
}

/// Whether this is EXEC.
pub fn is_exec(command: &Command) -> bool {
    command.spec.name == "exec" && command.parent.is_none()
}

/// A key in its database.
pub type WatchedKey = (DbIndex, Box<[u8]>);

/// Who watches which keys. Part of [`Global`](crate::Global): read on the narrow side, changed on the wide one.
#[derive(Default)]
pub struct Watches {
    /// No list is empty. While anybody watches, every change looks here: the hash is a fast one, keyed.
    by_key: HashMap<WatchedKey, Vec<Arc<Client>>, foldhash::quality::RandomState>,
    by_client: BTreeMap<u64, Vec<WatchedKey>>,
}

impl Watches {
    pub fn is_empty(&self) -> bool {
        self.by_client.is_empty()
    }

    /// Clients that watch, and the keys they do, for INFO.
    pub fn count(&self) -> (usize, usize) {
        (self.by_client.len(), self.by_key.len())
    }

    pub fn add(&mut self, client: &Arc<Client>, db: DbIndex, key: Key<'_>) {
        let name: Box<[u8]> = key.bytes().into();
        // A client may watch very many keys, and all wait for it: whether it watches this one is asked of the key.
        let watching = self.by_key.entry((db, name.clone())).or_default();
        if watching.iter().any(|other| other.id == client.id) {
            return;
        }
        watching.push(client.clone());
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
            let clients = self.by_key.get_mut(&watched).expect("what a client watches is watched");
            clients.retain(|other| other.id != client.id);
            if clients.is_empty() {
                self.by_key.remove(&watched);
            }
        }
        client.watched_keys.store(0, Relaxed);
        client.set_flag(ClientFlags::DIRTY_WATCH, false);
    }

    /// Marks whoever watches this key.
    pub fn touch(&self, db: DbIndex, key: &[u8]) {
        if self.by_key.is_empty() {
            return;
        }
        for client in self.by_key.get(&(db, key.into())).into_iter().flatten() {
            client.set_flag(ClientFlags::DIRTY_WATCH, true);
        }
    }
}

//! What all threads share: the world behind its gates, the clients, the counters, and how to reach the event loops.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed};

use commands::client::Place;
use commands::observation::Observation;
use commands::pubsub::Subscriptions;
use commands::{Client, ClientFlags, Clients, Registry, ThreadStats, World};
use gate::Gates;
use keyspace::Millis;
use parking_lot::Mutex;

use crate::balance::Balance;
use crate::connection::Extent;
use crate::eviction::Limit;
use crate::listener::Listener;
use crate::mailbox::{Mail, Mailbox};
use crate::migration::Migrations;
use crate::operation::OperationState;
use crate::persistence::{self, Persistence};
use crate::replication::Replication;
use crate::tls::handshakes::Handshakes;

/// One per process.
pub struct Shared {
    pub gates: Gates<World>,
    /// The commands by name: fixed after the start, so it needs no gate.
    pub registry: Arc<Registry>,
    pub clients: Clients,
    pub subscriptions: Subscriptions,
    pub observation: Observation,
    /// By thread.
    pub mailboxes: Vec<Arc<Mailbox>>,
    pub stats: Vec<Arc<ThreadStats>>,
    /// The sockets the server listens on now. Loop 0 watches them, and looks here after a change of `port` or `bind`.
    pub listeners: Mutex<Vec<Arc<Listener>>>,
    /// Held while clients are chosen to go, so that two loops do not do it for the same excess.
    pub evicting: Mutex<()>,
    /// Connections there are, those included that are on their way to their loop.
    pub connected: AtomicUsize,
    pub rejected_connections: AtomicUsize,
    /// Memory of all clients together, for `maxmemory-clients`.
    pub clients_memory_bytes: AtomicI64,
    /// The server ends: loops return.
    pub ending: AtomicBool,
    pub operation: OperationState,
    /// `maxmemory`, as event loops follow it.
    pub limit: Limit,
    pub persistence: Persistence,
    pub replication: Replication,
    pub migrations: Migrations,
    /// On how many event loops the connections are.
    pub balance: Balance,
    /// What new connections to `tls-port` go through.
    pub handshakes: Handshakes,
    /// Counters of what jobs do; beside the threads', since each has one writer.
    pub job_stats: ThreadStats,
}

impl Shared {
    /// The number of event loops. Behind their gates come those of the helpers.
    pub fn loops(&self) -> usize {
        self.stats.len()
    }

    /// The gate of the thread that applies what our primary sends.
    pub fn upstream_gate(&self) -> usize {
        self.loops() + persistence::helper_count()
    }

    /// Whether replies wait until what they tell of is safe: on disk, or on replicas.
    #[inline]
    pub fn holds_replies(&self) -> bool {
        self.persistence.holds_replies() | self.replication.holds_replies()
    }

    /// Where the streams end: as far as any reply of this moment can have seen.
    pub fn extent(&self) -> Extent {
        let tails = self.persistence.journal.tails();
        // Where there is no log for replicas, its end is a number that nobody acknowledges.
        let is_kept = self.persistence.journal.is_wanted(journal::Destination::Replicas);
        let replicas = if is_kept { self.replication.end_of_writes(tails.replicas) } else { 0 };
        Extent { file: tails.aof, replicas }
    }

    /// Up to where replies may leave.
    pub fn safe_extent(&self) -> Extent {
        Extent {
            file: if self.persistence.holds_replies() { self.persistence.journal.answerable() } else { u64::MAX },
            replicas: self.replication.answerable(),
        }
    }

    /// Changes to the data since the start.
    pub fn changes(&self) -> u64 {
        self.stats.iter().map(|stats| stats.dirty.get()).sum()
    }

    /// The event loop that gets the next connection: one of those that are in use.
    pub fn least_busy_thread(&self) -> usize {
        self.least_busy_among(0..self.balance.in_use())
    }

    pub fn least_busy_among(&self, threads: Range<usize>) -> usize {
        self.balance.assign(threads, |thread| self.stats[thread].clients.load(Relaxed))
    }

    /// Asks the client's event loop to close it. From now on it gets no messages, and counts as no subscriber.
    pub fn kill(&self, client: &Client) {
        client.killed.store(true, Relaxed);
        if client.flags().intersects(ClientFlags::REPLICA | ClientFlags::PRIMARY) {
            return self.replication.kill(client);
        }
        self.subscriptions.remove_client(client);
        let Place { thread, token } = client.place();
        self.mailboxes[thread].send(Mail::Kill { token, id: client.id });
    }

    /// Has all event loops look at what may have changed.
    pub fn wake_all(&self) {
        for mailbox in &self.mailboxes {
            mailbox.send(Mail::Look);
        }
    }

    /// Ends the event loops. The data goes with the process.
    pub fn end(&self) {
        self.ending.store(true, Relaxed);
        self.wake_all();
    }

    pub fn is_ending(&self) -> bool {
        self.ending.load(Relaxed)
    }
}

/// The time, in milliseconds since 1970.
#[inline]
pub fn now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Millis(since.map_or(0, |since| since.as_millis() as i64))
}

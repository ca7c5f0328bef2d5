//! The server without its sockets: what happens between a read and a write, for benchmarks of just that.
//!
//! [`InProcess`] is the world behind its gates with the real registry; a [`Caller`] is one thread's connection to it. What they
//! leave out of a request's way is the event loop: readiness, reading, decoding, writing.
//!
//! Not part of the crate's interface: it follows the server's inside, for those who measure it.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize};

use commands::client::Place;
use commands::global::{DebugSettings, Pauses, Role};
use commands::{AccessControl, Client, Clients, Global, Registry, Session, Settings, ThreadStats, World};
use config::Config;
use gate::Gates;
use keyspace::{Keyspace, Options};
use parking_lot::Mutex;
use resp::Reply;

use crate::balance::Balance;
pub use crate::dispatch::Requests;
use crate::dispatch::{Dispatcher, Job, Progress, Scratch};
use crate::operation::OperationState;
use crate::persistence::Persistence;
use crate::replication::Replication;
use crate::shared::{Shared, now};

/// A server that only its own process can ask.
pub struct InProcess {
    shared: Shared,
}

impl InProcess {
    /// An empty server with the default configuration and a gate for each of `threads` threads.
    pub fn new(threads: usize, seed: [u64; 4]) -> InProcess {
        let config = Config::default();
        let registry = Arc::new(Registry::default());
        let command_count = registry.all().len();
        let now = now();
        let global = Global {
            settings: Settings::of(&config),
            config,
            access: AccessControl::new(registry.clone()),
            registry: registry.clone(),
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
            run_id: "0".repeat(40),
            started: now,
            executable: Default::default(),
            arguments: Vec::new(),
            last_save: now,
            loading: false,
            async_loading: false,
            journal_kept: false,
        };
        let keyspace = Keyspace::new(&Options { seed, ..Options::default() });
        InProcess {
            shared: Shared {
                gates: Gates::new(threads, World { global, keyspace }),
                stats: (0..threads).map(|_| Arc::new(ThreadStats::new(registry.all().len()))).collect(),
                registry,
                clients: Clients::default(),
                subscriptions: Default::default(),
                observation: Default::default(),
                // Nobody sleeps who would have to be woken.
                mailboxes: Vec::new(),
                listeners: Mutex::default(),
                evicting: Mutex::default(),
                connected: AtomicUsize::new(0),
                rejected_connections: AtomicUsize::new(0),
                clients_memory_bytes: AtomicI64::new(0),
                ending: AtomicBool::new(false),
                operation: OperationState::default(),
                limit: Default::default(),
                persistence: Persistence::default(),
                replication: Replication::new(&Config::default()),
                migrations: Default::default(),
                balance: Balance::new(threads, true),
                handshakes: Default::default(),
                job_stats: ThreadStats::new(command_count),
            },
        }
    }

    /// Makes the calling thread the server's thread `index`. There must be one caller of an index at a time: its counters
    /// have one writer.
    pub fn caller(&self, index: usize) -> Caller<'_> {
        keyspace::slab::use_arena(index);
        let place = Place { thread: index, token: 0 };
        let client = Client::new(self.shared.clients.next_id(), place, String::new(), String::new(), -1, now());
        Caller {
            shared: &self.shared,
            index,
            scratch: Scratch::default(),
            session: Session::new(Arc::new(client), true, true),
            reply: Reply::default(),
            thread: PhantomData,
        }
    }
}

/// A thread of the server with its one connection.
pub struct Caller<'a> {
    shared: &'a Shared,
    index: usize,
    scratch: Scratch,
    session: Session,
    reply: Reply,
    /// Stays on the thread that made it, whose arena was chosen then.
    thread: PhantomData<*mut ()>,
}

impl Caller<'_> {
    /// Executes the requests in order, as the event loop does with what one read brought, and returns their replies.
    ///
    /// # Panics
    /// If the connection would have been closed, or had to wait.
    #[inline]
    pub fn execute(&mut self, requests: &Requests<'_>) -> &Reply {
        self.reply.clear();
        let mut dispatcher = Dispatcher {
            shared: self.shared,
            thread: self.index,
            stats: &self.shared.stats[self.index],
            scratch: &mut self.scratch,
            front: None,
            runs_scripts: true,
            relay: None,
        };
        let mut jobs = [Job::new(requests, 0, &[], &mut self.session, &mut self.reply)];
        dispatcher.run(&mut jobs);
        let [job] = jobs;
        let progress = job.progress();
        assert_eq!(progress, Progress::Done, "the requests of a benchmark all run");
        &self.reply
    }

    /// What this thread has counted.
    pub fn stats(&self) -> &ThreadStats {
        &self.shared.stats[self.index]
    }
}

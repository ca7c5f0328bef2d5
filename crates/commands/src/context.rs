//! What a handler receives: its arguments, access to what it declared, and where to reply.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use config::{Changes, LogLevel, SetError};
use keyspace::{DbIndex, Dropped, Key};
use resp::Reply;

use crate::client::{Client, ClientFlags, Clients, ReplyMode, Session};
use crate::db::Db;
use crate::error::{Error, Stop};
use crate::generic::migrate::Migration;
use crate::global::Global;
use crate::observation::Observation;
use crate::persistence::{Alone, Persistence};
use crate::pubsub::{Delivery, Pending, Subscriptions};
use crate::registry::Command;
use crate::replication::Replication;
use crate::server::memory::MemoryReport;
use crate::stats::ThreadStats;
use crate::telling::Telling;

/// `Ok` when the handler has replied.
pub type Outcome = Result<(), Stop>;

/// The server-wide state, shared or exclusive by the side of the gate.
pub enum Reach<'a> {
    Narrow(&'a Global),
    Wide(&'a mut Global),
}

impl Reach<'_> {
    /// The server-wide state.
    #[inline]
    pub fn global(&self) -> &Global {
        match self {
            Reach::Narrow(global) => global,
            Reach::Wide(global) => global,
        }
    }
}

/// One command in execution. The fields are apart so that an entry of `db` can be borrowed while `reply` is written.
pub struct Ctx<'a> {
    /// The arguments; `args[0]` is the command's name as it was sent.
    pub args: &'a [&'a [u8]],
    /// The declared keys, in order, with their hashes.
    pub keys: &'a [Key<'a>],
    /// Arguments that arrived in a buffer of their own, with their index: they can be kept without a copy.
    pub large: &'a [(usize, Arc<Vec<u8>>)],
    pub reply: &'a mut Reply,
    /// The selected database, as far as the declared keys (or all of it, wide).
    pub db: Db<'a>,
    pub session: &'a mut Session,
    pub command: &'a Command,
    pub reach: Reach<'a>,
    /// Whether the client can be made to wait; not in MULTI and scripts.
    pub may_block: bool,
    pub host: &'a dyn Host,
}

impl<'a> Ctx<'a> {
    /// The server-wide state.
    #[inline]
    pub fn global(&self) -> &Global {
        self.reach.global()
    }

    /// The server-wide state, to change it.
    ///
    /// # Errors
    /// `Stop::Wide` on the narrow side: return it before anything was changed, and the command runs again alone.
    #[inline]
    pub fn global_mut(&mut self) -> Result<&mut Global, Stop> {
        match &mut self.reach {
            Reach::Narrow(_) => Err(Stop::Wide),
            Reach::Wide(global) => Ok(global),
        }
    }

    /// Everything, for what happens alone in the world.
    ///
    /// # Errors
    /// `Stop::Wide` on the narrow side.
    pub fn alone(&mut self) -> Result<Alone<'_, 'a>, Stop> {
        match &mut self.reach {
            Reach::Narrow(_) => Err(Stop::Wide),
            Reach::Wide(global) => Ok(Alone { global, space: &mut self.db.space }),
        }
    }

    /// Whether the command is alone in the world.
    pub fn is_wide(&self) -> bool {
        matches!(self.reach, Reach::Wide(_))
    }

    /// The client watches nothing any more.
    ///
    /// # Errors
    /// `Stop::Wide` on the narrow side, if it watches anything.
    pub fn unwatch(&mut self) -> Outcome {
        if self.session.client.watched_keys.load(Relaxed) > 0 {
            let client = self.session.client.clone();
            self.global_mut()?.watches.remove(&client);
        }
        Ok(())
    }

    /// The client tracks nothing any more.
    ///
    /// # Errors
    /// `Stop::Wide` on the narrow side, if it tracks anything.
    pub fn switch_tracking_off(&mut self) -> Outcome {
        if self.session.tracking.is_some() {
            let client = self.session.client.clone();
            self.global_mut()?.tracking.switch_off(&client);
            self.session.tracking = None;
        }
        Ok(())
    }

    /// All keys, of a database or of all, are about to go: whoever tracks keys hears of it. `at_once`: the client itself hears of it before
    /// its reply, and not behind it.
    pub fn invalidate_everything(&mut self, at_once: bool) {
        let Reach::Wide(global) = &mut self.reach else {
            unreachable!("what empties a database is alone in the world");
        };
        if !global.tracking.is_active() {
            return;
        }
        let client = &*self.session.client;
        let own = &mut self.db.effects.own_invalidations;
        let mut delivery = Delivery::of(global, self.host, self.db.stats, client.place().thread);
        let garbage = global.tracking.invalidate_everything(Some(client), own, &mut delivery);
        if at_once {
            global.tracking.send_own(client, own.drain(..), &mut delivery);
        }
        delivery.finish();
        if at_once && self.session.reply_mode == ReplyMode::On {
            client.take_pushes(self.reply);
        }
        if let Some(garbage) = garbage {
            self.host.drop_later(garbage);
        }
    }

    /// Whether a key that the client watches was changed, or its time has come.
    pub fn a_watched_key_was_touched(&mut self) -> bool {
        let client = self.session.client.clone();
        if client.watched_keys.load(Relaxed) == 0 {
            return false;
        }
        let watches = &self.global().watches;
        self.db.effects.mark_watchers(watches);
        client.flags().contains(ClientFlags::DIRTY_WATCH)
            || watches.has_expired_meanwhile(&client, |db, key| self.db.has_expired_in(db, self.db.space.key(key)))
    }

    /// What it takes to tell others what was changed. `thread` is the one that runs.
    pub fn telling(&self, thread: usize) -> Telling<'_> {
        Telling::of(self.global(), self.host, self.db.stats, thread)
    }

    /// All watched keys of these databases are about to go, or those of the other come in their place.
    pub fn touch_databases(&mut self, databases: &[DbIndex]) -> Outcome {
        for &db in databases {
            let watched: Vec<Box<[u8]>> = self.global().watches.in_database(db).map(Into::into).collect();
            for name in watched {
                let key = self.db.space.key(&name);
                if databases.iter().any(|&db| self.db.is_alive_in(db, key)) {
                    self.db.effects.touch_watched(db, &name);
                } else if databases.iter().any(|&other| other != db && self.db.space.contains(other, key)) {
                    self.global_mut()?.watches.expired_comes(db, &name);
                }
            }
        }
        Ok(())
    }

    /// The hard limit of what may wait for this client. A reply whose length is the client's to choose ends when it is beyond that.
    pub fn reply_bytes_max(&self) -> usize {
        match self.global().settings.output_limits.normal.hard_bytes {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }

    /// Closes the connection if the reply is beyond that: it is not whole.
    pub fn close_if_beyond(&mut self, bytes_max: usize) {
        if self.reply.len() > bytes_max {
            self.session.close_after_reply = true;
            self.db.stats.output_limit_disconnections.add(1);
        }
    }

    /// A complete error text with its code.
    pub fn fail<T>(&self, text: &'static str) -> Result<T, Stop> {
        Err(Stop::Error(Error::text(text)))
    }

    /// Whether argument `index` is this word, in any case.
    #[inline]
    pub fn word(&self, index: usize, word: &str) -> bool {
        self.args.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Argument `index` as a 64-bit integer.
    ///
    /// # Errors
    /// `NotInteger`.
    #[inline]
    pub fn int(&self, index: usize) -> Result<i64, Stop> {
        resp::number::parse_i64(self.args[index]).ok_or(Stop::Error(Error::NotInteger))
    }

    /// Argument `index` if it lies in a buffer of its own.
    pub fn large(&self, index: usize) -> Option<&Arc<Vec<u8>>> {
        self.large.iter().find(|(at, _)| *at == index).map(|(_, value)| value)
    }
}

/// How memory stands to `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Below the limit, or there is none, or it does not count now.
    Enough,
    /// So many bytes above it, and keys are evicted: commands go on.
    Overdrawn { bytes: u64 },
    /// Above it, and nothing may be evicted: commands that may need memory are refused.
    Out,
}

/// What the server does for the commands that concern it: everything that needs sockets, files or threads.
pub trait Host: Send + Sync {
    fn clients(&self) -> &Clients;
    fn subscriptions(&self) -> &Subscriptions;
    /// What the server remembers of what it has executed.
    fn observation(&self) -> &Observation;
    /// Tells the event loops of these clients that pushes wait for them, each loop once. `thread` is the caller's: it looks by itself
    /// before it sleeps.
    fn announce(&self, thread: usize, pending: &[Pending]);
    /// Ends the client's subscriptions, and asks its event loop to close it. A client that kills itself is closed after its reply.
    fn kill(&self, client: &Arc<Client>);
    /// Delivers the reply that a blocked client has waited for, before the access that caused it ends. `close` ends the connection
    /// behind it. `changed`: what it was served with has changed something.
    fn unblock(&self, client: &Client, reply: Reply, changed: bool, close: bool);
    /// Wakes all event loops: a pause has ended, or a setting has changed that they look at.
    fn wake_all(&self);
    /// Has connections on so many event loops, whatever they have to do; with 0 on as many as their load needs.
    fn use_event_loops(&self, _count: usize) {}
    /// All threads' counters.
    fn stats(&self) -> &[Arc<ThreadStats>];
    /// The sections of INFO asked for (as the client named them), in Redis's format.
    fn info(&self, global: &Global, db: &Db<'_>, sections: &[&[u8]]) -> String;
    /// Snapshots and the journal.
    fn persistence(&self) -> &dyn Persistence;
    /// Replicas, and our primary.
    fn replication(&self) -> &dyn Replication;
    /// Ends the server, after it has saved what is to be saved. `client_id` is told if that fails.
    ///
    /// # Errors
    /// The text for the client.
    fn shutdown(
        &self,
        alone: Alone<'_, '_>,
        client_id: Option<u64>,
        options: ShutdownOptions,
    ) -> Result<Shutdown, Error>;
    /// Makes changed directives act (listeners, log, limits); `global.config` holds the new values already.
    ///
    /// # Errors
    /// The directive that cannot act and why. The caller reverts the configuration and calls again to undo what acted.
    fn apply_config(&self, global: &mut Global, changes: &Changes) -> Result<(), SetError>;
    /// Sends keys to another server. Whoever is told the outcome calls [`migrate::conclude`], once for every call.
    ///
    /// [`migrate::conclude`]: crate::generic::migrate::conclude
    fn migrate(&self, migration: Migration);
    /// Frees what a flush has unlinked, elsewhere.
    fn free_later(&self, garbage: Dropped);
    /// Drops something large, elsewhere.
    fn drop_later(&self, garbage: Box<dyn Send>);
    fn log(&self, level: LogLevel, text: &str);
    /// How memory stands to `maxmemory` now. Costs a look at each thread's counters.
    fn room(&self, global: &Global) -> Room;
    /// Processor time that the process has used, for itself and in the system, in milliseconds.
    fn cpu_ms(&self) -> (u64, u64);
    /// Used memory in bytes, as INFO's `used_memory` says.
    fn used_memory_bytes(&self) -> u64;
    /// What memory is used for. The caller is alone in the world.
    fn memory_report(&self, global: &Global, db: &Db<'_>) -> MemoryReport;
    /// What the allocators say of themselves, for people.
    fn allocator_stats(&self) -> String;
    /// Gives back to the system what memory is unused.
    fn purge_memory(&self);
    /// Starts all counters from 0, peaks from their present values. The caller is alone in the world.
    fn reset_stats(&self);
    /// Ends the process as a crash would (DEBUG SEGFAULT, PANIC, ASSERT, OOM).
    fn crash(&self, kind: &str) -> !;
    /// Starts the program anew (DEBUG RESTART, CRASH-AND-RECOVER) with the same arguments.
    ///
    /// # Errors
    /// Why it cannot.
    fn restart(&self, delay_ms: u64, graceful: bool) -> Result<(), String>;
}

/// What follows from SHUTDOWN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// The end.
    Now,
    /// The end, once replicas have everything and all is on disk.
    AfterSaving,
    /// ABORT: it goes on.
    Aborted,
}

/// Options of SHUTDOWN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOptions {
    /// SAVE (`Some(true)`), NOSAVE (`Some(false)`), or by the configured save points.
    pub save: Option<bool>,
    pub now: bool,
    pub force: bool,
    pub abort: bool,
    /// SAFE (Valkey): refuse where it would lose something.
    pub safe: bool,
    /// FAILOVER (Valkey).
    pub failover: bool,
}

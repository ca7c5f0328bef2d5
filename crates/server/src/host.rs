//! What the server does for the commands that concern it: the other side of [`commands::Host`].

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use commands::blocking;
use commands::client::Place;
use commands::generic::migrate::Migration;
use commands::observation::Observation;
use commands::observation::hot_keys::Usage;
use commands::persistence::{Alone, Persistence};
use commands::pubsub::{Pending, Subscriptions};
use commands::replication::Replication;
use commands::server::memory::MemoryReport;
use commands::{
    Client, ClientFlags, Clients, Db, Error, Global, Host, Room, Settings, Shutdown, ShutdownOptions, ThreadStats,
    World,
};
use config::{Changes, LogLevel, SetError, directives};
use gate::Narrow;
use journal::Destination;
use keyspace::{Dropped, Millis};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use resp::Reply;

use crate::listener::{self, Accepted, Listener};
use crate::mailbox::Mail;
use crate::operation::signals::{self, Termination};
use crate::operation::{LOG, crash, info, log::LogSettings, memory, process};
use crate::shared::{Shared, now};
use crate::tls::{self, Terms, TlsDirectives};

impl Host for Shared {
    fn clients(&self) -> &Clients {
        &self.clients
    }

    fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    fn observation(&self) -> &Observation {
        &self.observation
    }

    fn announce(&self, thread: usize, pending: &[Pending]) {
        for (index, mailbox) in self.mailboxes.iter().enumerate() {
            let mail = pending
                .iter()
                .filter(|pending| pending.thread == index)
                .map(|pending| Mail::Pushes { token: pending.token, id: pending.client_id });
            if index == thread {
                mailbox.leave_all(mail);
            } else {
                mailbox.send_all(mail);
            }
        }
    }

    fn kill(&self, client: &Arc<Client>) {
        Shared::kill(self, client);
    }

    fn unblock(&self, client: &Client, reply: Reply, changed: bool, close: bool) {
        let Place { thread, token } = client.place();
        let mail = Mail::Unblocked { token, id: client.id, reply: Box::new(reply), changed, close };
        self.mailboxes[thread].send(mail);
    }

    fn wake_all(&self) {
        Shared::wake_all(self);
    }

    fn use_event_loops(&self, count: usize) {
        self.balance.fix((count > 0).then_some(count));
    }

    fn stats(&self) -> &[Arc<ThreadStats>] {
        &self.stats
    }

    fn info(&self, global: &Global, db: &Db<'_>, sections: &[&[u8]]) -> String {
        info::render(&self.info_sources(Some(global), Some(db)), sections)
    }

    fn persistence(&self) -> &dyn Persistence {
        self
    }

    fn replication(&self) -> &dyn Replication {
        self
    }

    fn shutdown(
        &self,
        alone: Alone<'_, '_>,
        client_id: Option<u64>,
        options: ShutdownOptions,
    ) -> Result<Shutdown, Error> {
        self.begin_shutdown(alone, client_id, options)
    }

    fn apply_config(&self, global: &mut Global, changes: &Changes) -> Result<(), SetError> {
        if changes.alters(directives::MAXCLIENTS) {
            let wanted = global.config.get(directives::MAXCLIENTS).max(0) as u64;
            if process::raise_open_files(&LOG, wanted) < wanted {
                return Err(changes.failed(
                    directives::MAXCLIENTS,
                    "The operating system is not able to handle the specified number of clients",
                ));
            }
        }
        let log = LogSettings::from_config(&global.config);
        for directive in [directives::LOGFILE.id(), directives::SYSLOG_ENABLED.id()] {
            if changes.alters(directive)
                && let Err(reason) = log.check()
            {
                return Err(changes.failed(directive, reason));
            }
        }
        let terms = self.terms_after(global, changes)?;
        if [directives::PORT.id(), directives::TLS_PORT.id(), directives::BIND.id()]
            .into_iter()
            .any(|id| changes.alters(id))
        {
            // Last of what can fail: until here the old sockets are still the ones that are listened on.
            let listeners = self.listen(&global.config).map_err(|error| {
                LOG.warning(&format!("{error:#}"));
                if changes.alters(directives::PORT) {
                    changes.failed(directives::PORT, "Unable to listen on this port. Check server logs.")
                } else if changes.alters(directives::TLS_PORT) {
                    changes.failed(directives::TLS_PORT, "Unable to listen on this port. Check server logs.")
                } else {
                    changes.failed(directives::BIND, "Failed to bind to specified addresses.")
                }
            })?;
            let before = std::mem::replace(&mut *self.listeners.lock(), listeners.clone());
            // Now, and not when loop 0 gets around to it: behind the reply nobody is let in there any more.
            let is_gone = |old: &&Arc<Listener>| !listeners.iter().any(|listener| Arc::ptr_eq(listener, old));
            before.iter().filter(is_gone).for_each(|old| old.stop());
        }
        self.apply_persistence(global, changes)?;
        self.apply_replication(global);
        if let Some(terms) = terms {
            self.handshakes.set_terms(terms);
        }
        LOG.configure(log);
        crash::set_enabled(global.config.get(directives::CRASH_LOG_ENABLED));
        crash::set_hide_user_data(global.config.get(directives::HIDE_USER_DATA_FROM_LOG));
        self.observation.latency.set_threshold(global.config.get(directives::LATENCY_MONITOR_THRESHOLD).max(0) as u64);
        global.settings = Settings::of(&global.config);
        // Who waits for the append-only file waits for nothing if there is none any more.
        blocking::serve_safe(global, self, &self.job_stats);
        self.limit.follow(&global.settings);
        if changes.alters(directives::MAXMEMORY) {
            self.warn_of_small_limit(&global.settings);
        }
        // The loops work with a copy.
        self.wake_all();
        Ok(())
    }

    fn migrate(&self, migration: Migration) {
        self.migrations.send(migration);
    }

    fn free_later(&self, garbage: Dropped) {
        let objects = garbage.len() as u64;
        // To add up what each key takes would be a walk over all of them.
        let data_bytes = memory::used_bytes().saturating_sub(self.operation.memory.startup());
        let bytes = (data_bytes as f64 * garbage.share()) as u64;
        self.free_elsewhere(objects, bytes, Box::new(garbage));
    }

    fn drop_later(&self, garbage: Box<dyn Send>) {
        self.free_elsewhere(1, 0, garbage);
    }

    fn log(&self, level: LogLevel, text: &str) {
        LOG.write(level, text);
    }

    fn room(&self, global: &Global) -> Room {
        Shared::room(self, global)
    }

    fn cpu_ms(&self) -> (u64, u64) {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return (0, 0) };
        (usage.user_time().num_milliseconds() as u64, usage.system_time().num_milliseconds() as u64)
    }

    fn used_memory_bytes(&self) -> u64 {
        memory::used_bytes()
    }

    fn memory_report(&self, global: &Global, db: &Db<'_>) -> MemoryReport {
        let figures = self.operation.memory.figures(now());
        let mut clients = self.clients.all();
        let links = ClientFlags::REPLICA.union(ClientFlags::PRIMARY);
        clients.retain(|client| !client.flags().intersects(links));
        let replication = Replication::figures(self);
        let client_bytes = || clients.iter().map(|client| client.memory_bytes.load(Relaxed) as u64);
        MemoryReport {
            used: figures.used,
            peak: figures.peak,
            startup: figures.startup,
            resident_set: figures.resident_set,
            allocated: figures.allocator.allocated,
            active: figures.allocator.active,
            resident: figures.allocator.resident,
            muzzy: figures.allocator.muzzy,
            clients: client_bytes().sum(),
            largest_client: client_bytes().max().unwrap_or(0),
            client_count: clients.len() as u64,
            journal: self.persistence.journal.memory_bytes(Destination::Aof),
            replication_log: replication.log_bytes,
            replica_links: replication.links_bytes,
            replication_arrears: replication.arrears_bytes,
            tables: db.space.keyspace().figures().table_bytes as u64,
            cached_scripts: global.scripts.cache.len() as u64,
        }
    }

    fn allocator_stats(&self) -> String {
        memory::allocator_stats()
    }

    fn purge_memory(&self) {
        memory::purge();
    }

    fn reset_stats(&self) {
        for stats in &self.stats {
            stats.reset();
        }
        self.rejected_connections.store(0, Relaxed);
        self.replication.reset_stats();
        self.operation.reset();
        self.limit.reset();
    }

    fn crash(&self, kind: &str) -> ! {
        crash::provoke(kind)
    }

    fn restart(&self, delay_ms: u64, _graceful: bool) -> Result<(), String> {
        process::restart(delay_ms)
    }
}

impl Shared {
    /// Carries out what a signal has asked for.
    pub fn terminate(&self, termination: Termination) {
        let mut world = self.gates.wide();
        let World { global, keyspace } = &mut *world;
        let options = termination.options(&global.config);
        // SAFETY: all gates are closed, and every Space is made and dropped behind a gate.
        let mut space = unsafe { keyspace.wide() };
        if let Err(error) = self.begin_shutdown(Alone { global, space: &mut space }, None, options) {
            LOG.warning(&String::from_utf8_lossy(&error.render()));
            signals::forget_request();
        }
    }

    pub fn is_full(&self, settings: &Settings) -> bool {
        self.connected.load(Relaxed) >= settings.clients_max
    }

    /// Why a new connection is turned away, as the complete reply.
    pub fn refusal_at_the_door(&self, accepted: &Accepted, global: &Global) -> Option<&'static str> {
        if self.is_full(&global.settings) {
            return Some("-ERR max number of clients reached\r\n");
        }
        let needs_no_password = global.access.users().default_user().needs_no_password();
        if global.settings.protected_mode && needs_no_password && !accepted.is_local {
            return Some(PROTECTED_MODE);
        }
        None
    }

    /// What TLS handshakes go by after these changes; `None` where they change nothing about them.
    fn terms_after(&self, global: &Global, changes: &Changes) -> Result<Option<Option<Terms>>, SetError> {
        let named = tls::DIRECTIVES.into_iter().find(|&id| changes.names(id));
        let port = changes.alters(directives::TLS_PORT).then(|| directives::TLS_PORT.id());
        let Some(named) = named.or(port) else {
            return Ok(None);
        };
        // As in Redis, files may be named that are not there yet while nothing listens.
        if global.config.get(directives::TLS_PORT) == 0 {
            return Ok(Some(None));
        }
        match TlsDirectives::of(&global.config).load() {
            Ok(terms) => Ok(Some(Some(terms))),
            Err(reason) => {
                LOG.warning(&format!("TLS stays as it was: {reason}"));
                Err(changes.failed(named, format!("Unable to update TLS configuration: {reason}")))
            }
        }
    }

    /// Opens what the configuration says the server listens on.
    ///
    /// # Errors
    /// What cannot be listened on, and why.
    pub fn listen(&self, config: &config::Config) -> anyhow::Result<Vec<Arc<Listener>>> {
        let known = self.listeners.lock().clone();
        let first = self.listen_beside(config, &known);
        if first.is_ok() || known.is_empty() {
            return first;
        }
        // The old sockets may be in the way: one on all addresses excludes those on single ones. They make room, and take
        // up their place again where they are still wanted or where it was of no use.
        let backlog = config.get(directives::TCP_BACKLOG) as i32;
        known.iter().for_each(|listener| listener.stop());
        let second = self.listen_beside(config, &known);
        for listener in &known {
            let is_wanted = |listeners: &Vec<Arc<Listener>>| listeners.iter().any(|other| Arc::ptr_eq(listener, other));
            if second.as_ref().map_or(true, is_wanted) {
                listener.go_on(backlog);
            }
        }
        second
    }

    fn listen_beside(&self, config: &config::Config, known: &[Arc<Listener>]) -> anyhow::Result<Vec<Arc<Listener>>> {
        let backlog = config.get(directives::TCP_BACKLOG) as i32;
        let mut listeners = Vec::new();
        for (directive, tls) in [(directives::PORT, false), (directives::TLS_PORT, true)] {
            let port = config.get(directive) as u16;
            if port == 0 {
                continue;
            }
            if tls {
                self.handshakes.start()?;
            }
            let addresses = config.get(directives::BIND);
            listeners.extend(listener::listen_tcp(addresses, port, tls, backlog, known, |text| LOG.verbose(&text))?);
        }
        if let Some(path) = config.path(directives::UNIXSOCKET) {
            let mode = config.get(directives::UNIXSOCKETPERM) as u32;
            listeners.push(listener::listen_unix(path, mode, backlog, known)?);
        }
        Ok(listeners)
    }

    /// Closes the clients that use the most memory until all together are below the limit.
    pub fn evict_clients(&self, limit_bytes: i64, stats: &ThreadStats) {
        let _alone = self.evicting.lock();
        let spared = ClientFlags::NO_EVICT.union(ClientFlags::REPLICA).union(ClientFlags::PRIMARY);
        let mut excess_bytes = self.clients_memory_bytes.load(Relaxed) - limit_bytes;
        let mut candidates = Vec::new();
        for client in self.clients.all() {
            let bytes = client.memory_bytes.load(Relaxed);
            if client.killed.load(Relaxed) {
                // Its loop has not closed it yet, so its memory is still counted; nobody else has to go for it.
                excess_bytes -= bytes as i64;
            } else if !client.flags().intersects(spared) {
                candidates.push((bytes, client));
            }
        }
        candidates.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (bytes, client) in candidates {
            if excess_bytes <= 0 {
                break;
            }
            excess_bytes -= bytes as i64;
            stats.evicted_clients.add(1);
            LOG.notice(&format!(
                "Evicting client id={} addr={}: all clients together use more than maxmemory-clients, and this one {bytes} bytes.",
                client.id, client.address
            ));
            Shared::kill(self, &client);
        }
    }

    fn info_sources<'a>(&'a self, global: Option<&'a Global>, db: Option<&'a Db<'a>>) -> info::InfoSources<'a> {
        info::InfoSources {
            now: now(),
            registry: &self.registry,
            stats: &self.stats,
            loops_in_use: self.balance.in_use(),
            clients: &self.clients,
            subscriptions: &self.subscriptions,
            rejected_connections: self.rejected_connections.load(Relaxed) as u64,
            operation: &self.operation,
            limit: &self.limit,
            persistence: &self.persistence,
            replication: global.map(|_| self as &dyn Replication),
            migrate_cached_sockets: self.migrations.cached_sockets.load(Relaxed),
            // Not asked of a thread that has crashed, perhaps with the lock in its hands.
            tls: global.and_then(|_| self.handshakes.terms()),
            global,
            db,
        }
    }

    /// INFO as far as it can be had on a thread that has crashed.
    pub fn crash_info(&self) -> String {
        info::render(&self.info_sources(None, None), &[])
    }

    /// A session of HOTKEYS that has a duration ends by itself. Called by loop 0.
    fn end_hot_keys(&self, now: Millis) {
        let is_due =
            |world: Narrow<'_, World>| world.global.hot_keys.as_ref().is_some_and(|hot_keys| hot_keys.is_due(now));
        // During a slow script it has to wait, as all does that nobody asks for.
        if self.gates.narrow_unless_lent(0).is_some_and(is_due)
            && let Some(mut world) = self.gates.wide_unless_lent()
        {
            let (user_ms, system_ms) = self.cpu_ms();
            let net_bytes =
                self.stats.iter().map(|stats| stats.net_input_bytes.get() + stats.net_output_bytes.get()).sum();
            if let Some(hot_keys) = &mut world.global.hot_keys {
                hot_keys.stop(now, Usage { user_ms, system_ms, net_bytes });
            }
        }
    }

    /// What is due ten times a second, on loop 0.
    pub fn tick(&self, now: Millis) {
        self.operation.sample(now, &self.stats, &Replication::figures(self));
        self.check_jobs();
        self.check_shutdown();
        self.look_at_not_counted_bytes();
        self.end_hot_keys(now);
    }
}

/// What a client from elsewhere reads while nothing but this text protects the server.
const PROTECTED_MODE: &str = "-DENIED Spinel runs in protected mode: it listens on all interfaces, no password is set, and so \
only connections from this machine are accepted. To let others in, choose one of these: 1) From this machine, send \
'CONFIG SET protected-mode no', and 'CONFIG REWRITE' to keep it; do so only where no untrusted host can reach the server. \
2) Write 'protected-mode no' into the configuration file and restart. 3) Start the server with '--protected-mode no'. \
4) Set a password with 'requirepass', which is what we recommend.\r\n";

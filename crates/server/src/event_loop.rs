//! One thread's loop: readiness, reading, executing, writing, and what is due from time to time.
//!
//! A request's way: [`EventLoop::turn`] reads from a few connections that are ready, [`gather`] decodes what came,
//! [`Dispatcher`] executes it in place, all connections' side by side, and [`EventLoop::write`] sends the replies; all on this
//! thread and with nothing handed over. At pipeline depth 1 that is one read and one write a request; a read that did not
//! fill the buffer has emptied the socket, and the next arrival is a new edge.
//!
//! *Why several connections a turn?* At depth 1 a request has one key, and what it costs is three cache misses in a row.
//! Taken together, the misses of sixteen connections overlap.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use commands::blocking::{self, Release};
use commands::client::Place;
use commands::generic::migrate::Arrival;
use commands::replication::Replication;
use commands::telling::Telling;
use commands::{Client, ClientFlags, Global, Session, Settings, ThreadStats};
use config::LogLevel;
use keyspace::{Compaction, Expired, Millis, ShardIndex};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use resp::{Decoder, Limits, Owned, ProtocolError, Reply, Step};
use slab::Slab;
use smallvec::SmallVec;

use crate::balance::{Meter, Order};
use crate::connection::{Answered, Blocked, Connection, Held, Written, write_reply};
use crate::dispatch::{Attend, Dispatcher, Job, Progress, REPLY_BYTES_MAX, Requests, Scratch, readers};
use crate::listener::{Accepted, Listener, Stream};
use crate::mailbox::{Mail, Mailbox};
use crate::operation::memory;
use crate::shared::{Shared, now};

/// The token of the wake-up.
pub const WAKER: Token = Token(0);
/// Listeners have the tokens from here, connections those from `FIRST_CONNECTION`.
const FIRST_LISTENER: usize = 1;
const FIRST_CONNECTION: usize = 64;

/// So many connections take a turn together.
const SEATS_MAX: usize = 16;
/// What one read takes at most.
const READ_BUFFER_BYTES: usize = 16 * 1024;
/// So many reads of a large argument before others get their turn.
const READS_MAX: usize = 4;
/// For so many turns pushes wait for others to join them.
const TURNS_PUT_OFF_MAX: u32 = 4;
/// So many requests are decoded before they are executed.
const GATHER_MAX: usize = 64;
/// So many connections are accepted before others get their turn.
const ACCEPTS_MAX: usize = 128;
/// How soon a loop notices that a script is not slow any more.
const LENT_LOOK: Duration = Duration::from_millis(5);
/// A slice of active expiry removes at most so many keys, about 20 us of work.
const EXPIRE_SLICE_KEYS: usize = 64;
/// So many keys that clients have written to a replica are removed in one tick.
const OWN_KEYS_A_TICK: usize = 1024;
/// A tick forgets at most so many tracked keys.
const TRIMMED_KEYS_MAX: usize = 1000;
/// A slice of compaction looks at so many entries.
const COMPACT_SLICE_ENTRIES: usize = 64;

/// One of the N threads that serve connections.
pub struct EventLoop {
    index: usize,
    shared: Arc<Shared>,
    poll: Poll,
    mailbox: Arc<Mailbox>,
    stats: Arc<ThreadStats>,
    /// `None` while a connection takes its turn.
    connections: Slab<Option<Box<Connection>>>,
    listeners: Vec<Arc<Listener>>,
    /// Taken over from the configuration when it changes.
    limits: Limits,
    settings: Settings,
    password_needed: bool,
    /// The reply of a connection alone. This and what follows is shared among all connections, so that an idle one costs little. Replies
    /// change places here all the time: boxes are two words to move, they themselves a dozen.
    reply: Box<Reply>,
    /// The requests of a connection alone.
    spare: Requests<'static>,
    /// For turns. One is taken while commands are executed, so that during a slow script there can be turns beside it.
    #[expect(clippy::vec_box, reason = "a desk is large, and is taken and put back for each turn")]
    desks: Vec<Box<Desk>>,
    /// For what is due without a request.
    scratch: Scratch,
    /// Connections with something to read.
    ready: Vec<usize>,
    /// Connections that may have more to read.
    unfinished: Vec<usize>,
    /// Connections with something to read that have called scripts the last time: they take their turns one by one, behind all others.
    scripted: VecDeque<usize>,
    /// Their replies, until all of them have had their turns: the first one that is sent wakes a client up, who then takes the next one's time.
    owed: Vec<(usize, Box<Reply>)>,
    /// Empty ones, for those.
    #[expect(clippy::vec_box, reason = "what is kept are the boxes")]
    spare_replies: Vec<Box<Reply>>,
    /// Something was read in this turn.
    has_read: bool,
    /// For so many turns nobody has been sent what waits in its inbox.
    turns_put_off: u32,
    /// Connections that have more to send to a socket that would take it.
    writing: Vec<usize>,
    /// What happened to connections with a seat during a slow script of theirs: true if the peer has closed its side.
    missed: Vec<(usize, bool)>,
    /// Mail that was taken and is to be read.
    mail: VecDeque<Mail>,
    /// Mail that has to wait until no script is slow, or until its connection has left its seat.
    postponed: Vec<Mail>,
    /// Listeners that have failed: the next tick tries again.
    accept_again: Vec<usize>,
    /// Connections that wait behind CLIENT PAUSE.
    paused: Vec<usize>,
    /// Connections whose held input is to be executed, one after the other: the pause is over, what they waited for has come, or a
    /// script is next.
    resumed: VecDeque<usize>,
    /// Connections with replies that wait for the journal.
    undurable: Vec<usize>,
    /// When the time of connections ends that are blocked in a command.
    deadlines: BTreeSet<(Instant, usize)>,
    next_tick: Instant,
    /// The connection that the next tick's checks begin with.
    next_checked: usize,
    /// Where active expiry goes on, if it has work.
    expiring: Option<usize>,
    compacting: Option<Compaction>,
    meter: Meter,
    /// What to do with connections when they have had their turns, and how many thousandths of one are to go.
    order: Order,
    owing_per_mille: u32,
    /// Those that go at the end of this turn of the loop.
    leaving: Vec<usize>,
}

impl EventLoop {
    /// A loop for thread `index`, with the poll that its mailbox's waker belongs to.
    pub fn new(index: usize, shared: Arc<Shared>, poll: Poll) -> EventLoop {
        let world = shared.gates.narrow(index);
        let (settings, password_needed) = (world.global.settings.clone(), world.global.access.password_needed());
        drop(world);
        EventLoop {
            index,
            poll,
            mailbox: shared.mailboxes[index].clone(),
            stats: shared.stats[index].clone(),
            connections: Slab::new(),
            listeners: Vec::new(),
            limits: limits(&settings),
            settings,
            password_needed,
            reply: Box::default(),
            spare: Requests::default(),
            desks: Vec::new(),
            scratch: Scratch::default(),
            ready: Vec::new(),
            unfinished: Vec::new(),
            scripted: VecDeque::new(),
            owed: Vec::new(),
            spare_replies: Vec::new(),
            has_read: false,
            turns_put_off: 0,
            writing: Vec::new(),
            missed: Vec::new(),
            mail: VecDeque::new(),
            postponed: Vec::new(),
            accept_again: Vec::new(),
            paused: Vec::new(),
            resumed: VecDeque::new(),
            undurable: Vec::new(),
            deadlines: BTreeSet::new(),
            next_tick: Instant::now(),
            next_checked: 0,
            expiring: None,
            compacting: None,
            meter: Meter::new(),
            order: Order::default(),
            owing_per_mille: 0,
            leaving: Vec::new(),
            shared,
        }
    }

    /// Serves until the server ends.
    ///
    /// # Errors
    /// The system's poll failed.
    pub fn run(mut self) -> io::Result<()> {
        keyspace::slab::use_arena(self.index);
        memory::count_thread();
        // Of this thread, and not of the one that has made the loop.
        self.meter = Meter::new();
        let mut events = Events::with_capacity(1024);
        self.look();
        while !self.shared.is_ending() {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            let woke = Instant::now();
            let commands = self.stats.commands.total();
            self.order = self.shared.balance.order(self.index);
            self.handle_events(&events);
            self.read_ready();
            self.run_resumed();
            self.write_more();
            if !self.missed.is_empty() || !self.postponed.is_empty() {
                self.catch_up();
            }
            self.time_out_blocked();
            // What is read anyway ends the turn: what a tick does is not counted.
            let now = Instant::now();
            self.stats.loop_cycles.add(1);
            self.stats.loop_ns.add((now - woke).as_nanos() as u64);
            self.meter.note_turn(now - woke, self.stats.commands.total() - commands);
            if now >= self.next_tick {
                self.tick();
            }
            self.expire_slice();
            self.evict_slice();
            self.compact_slice();
            if !self.mailbox.is_empty() && !self.puts_off_mail() {
                // What this thread has left for itself, above all.
                self.read_mail();
            }
            self.run_resumed();
            if !self.leaving.is_empty() {
                self.give_leaving();
            }
        }
        Ok(())
    }

    fn handle_events(&mut self, events: &Events) {
        let mut has_mail = false;
        for event in events {
            match event.token() {
                // Later: it may execute something, and what has happened to whom is known only here.
                WAKER => has_mail = true,
                Token(token) if token < FIRST_CONNECTION => self.accept(token - FIRST_LISTENER),
                Token(token) => {
                    let token = token - FIRST_CONNECTION;
                    let has_ended = event.is_read_closed() || event.is_error();
                    if self.is_seated(token) {
                        self.missed.push((token, has_ended));
                        continue;
                    }
                    if event.is_writable() {
                        self.writable(token);
                    }
                    if has_ended {
                        self.peer_ended(token);
                    }
                    if event.is_readable() || has_ended {
                        self.ready.push(token);
                    }
                }
            }
        }
        if has_mail {
            self.read_mail();
        }
    }

    /// While there are requests to be read, their messages join those that wait: each receiver costs a system call, however much it gets.
    /// Only pushes are put off, for a few turns; who sends a command meanwhile gets its own before the reply.
    fn puts_off_mail(&mut self) -> bool {
        let puts_off = self.has_read && self.turns_put_off < TURNS_PUT_OFF_MAX && !self.mailbox.is_urgent();
        self.turns_put_off = if puts_off { self.turns_put_off + 1 } else { 0 };
        puts_off
    }

    fn timeout(&self) -> Duration {
        if !self.unfinished.is_empty()
            || !self.resumed.is_empty()
            || !self.writing.is_empty()
            || !self.mailbox.is_empty()
        {
            return Duration::ZERO;
        }
        if self.shared.gates.is_lent() {
            // What is due needs the world, and waits for the end of a slow script. Of that there is no word.
            return LENT_LOOK;
        }
        if self.expiring.is_some() || self.scratch.must_evict || self.compacting.is_some() {
            return Duration::ZERO;
        }
        let next = self.deadlines.first().map_or(self.next_tick, |(deadline, _)| self.next_tick.min(*deadline));
        next.saturating_duration_since(Instant::now())
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Mail and new connections
    // -----------------------------------------------------------------------------------------------------------------

    fn read_mail(&mut self) {
        self.mail.extend(self.mailbox.take());
        // Of one batch of mail: a message to a thousand subscribers does not ask a thousand times.
        let now = now();
        while let Some(mail) = self.mail.pop_front() {
            self.handle_mail(mail, now);
        }
    }

    fn handle_mail(&mut self, mail: Mail, now: Millis) {
        if let Some((token, id)) = mail.addressee() {
            if self.is_seated(token) {
                // By a slow script of its own.
                return self.postponed.push(mail);
            }
            if self.connection(token).is_none_or(|connection| connection.session.client.id != id) {
                return self.forward(mail, id);
            }
        }
        match mail {
            Mail::Connection(accepted) => self.adopt(accepted),
            Mail::Moved(connection) => self.take_over(connection),
            Mail::Kill { token, .. } => self.close(token),
            Mail::Unblocked { token, reply, changed, close, .. } => self.unblocked(token, *reply, changed, close),
            Mail::Pushes { token, .. } => self.deliver(token, now),
            Mail::Durable => self.release_durable(),
            Mail::NotDurable(error) => self.fail_undurable(&error),
            Mail::Look => self.look(),
            // It changes the data.
            Mail::Migrated(_) if self.shared.gates.is_lent() => self.postponed.push(mail),
            Mail::Migrated(arrival) => self.conclude(*arrival),
            Mail::Accept => self.accept_more(),
        }
    }

    /// The connection has gone, or moved.
    #[cold]
    fn forward(&self, mut mail: Mail, id: u64) {
        let Some(client) = self.shared.clients.get(id) else {
            return;
        };
        let Place { thread, token } = client.place();
        if mail.addressee() != Some((token, id)) || thread != self.index {
            mail.readdress(token);
            self.shared.mailboxes[thread].send(mail);
        }
    }

    /// Whether the connection takes its turn.
    fn is_seated(&self, token: usize) -> bool {
        matches!(self.connections.get(token), Some(None))
    }

    /// Goes back to what had to wait for the end of a slow script.
    #[cold]
    fn catch_up(&mut self) {
        for (token, has_ended) in std::mem::take(&mut self.missed) {
            if self.is_seated(token) {
                self.missed.push((token, has_ended));
                continue;
            }
            if has_ended {
                self.peer_ended(token);
            }
            self.unfinished.push(token);
        }
        let now = now();
        for mail in std::mem::take(&mut self.postponed) {
            self.handle_mail(mail, now);
        }
    }

    /// A migration has come to its end: what waited behind its keys goes on.
    fn conclude(&mut self, arrival: Arrival) {
        self.housekeeper().conclude(arrival);
        self.shared.wake_all();
    }

    /// Executes what is due without a request.
    fn housekeeper(&mut self) -> Dispatcher<'_> {
        let EventLoop { shared, index, stats, scratch, .. } = self;
        Dispatcher { shared, thread: *index, stats, scratch, front: None, runs_scripts: true, relay: None }
    }

    /// Reads what stands behind the gate, whether or not a script is slow.
    fn read_global<T>(&self, read: impl FnOnce(&Global) -> T) -> T {
        match self.shared.gates.narrow_unless_lent(self.index) {
            Some(world) => read(&world.global),
            None => read(&self.shared.gates.alone().global),
        }
    }

    /// Takes over what may have changed: settings, listeners, the end of a pause.
    fn look(&mut self) {
        (self.settings, self.password_needed) =
            self.read_global(|global| (global.settings.clone(), global.access.password_needed()));
        self.limits = limits(&self.settings);
        if self.index == 0 {
            self.shared.balance.set_always_active(self.settings.loops_always_active);
            self.adopt_listeners();
            self.scratch.must_evict = self.shared.limit.is_set();
        }
        self.resume_paused();
    }

    /// Watches the sockets that the server listens on now.
    fn adopt_listeners(&mut self) {
        let wanted = self.shared.listeners.lock().clone();
        let same = |a: &[Arc<Listener>], b: &[Arc<Listener>]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        if same(&wanted, &self.listeners) {
            return;
        }
        let registry = self.poll.registry();
        for listener in &self.listeners {
            let _ = registry.deregister(&mut SourceFd(&listener.fd()));
        }
        self.listeners = wanted;
        for (index, listener) in self.listeners.iter().enumerate() {
            let token = Token(FIRST_LISTENER + index);
            if let Err(error) = registry.register(&mut SourceFd(&listener.fd()), token, Interest::READABLE) {
                self.shared.log(LogLevel::Warning, &format!("Cannot watch a listening socket: {error}"));
            }
        }
    }

    fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS_MAX {
            let Some(listener) = self.listeners.get(index) else {
                return;
            };
            match listener.accept(|| self.shared.clients.next_id()) {
                Ok(accepted) => {
                    let is_tls = listener.is_tls();
                    self.welcome(accepted, is_tls);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_one_connection(&error) => {}
                // It has made room for another, which is on its way here.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return,
                Err(error) => {
                    // No descriptors are left, for example. The connections that wait have had their edge.
                    self.shared.log(LogLevel::Warning, &format!("Accepting client connection: {error}"));
                    self.accept_again.push(index);
                    return;
                }
            }
        }
        // More may wait: others have their turn first.
        self.accept_again.push(index);
        self.mailbox.send(Mail::Accept);
    }

    fn accept_more(&mut self) {
        for index in std::mem::take(&mut self.accept_again) {
            self.accept(index);
        }
    }

    /// Admits a new connection, or tells it why not, and gives it to an event loop.
    fn welcome(&mut self, mut accepted: Accepted, is_tls: bool) {
        let shared = self.shared.clone();
        // Inside the gate: a password that has been set protects from the next connection on.
        let refusal = self.read_global(|global| shared.refusal_at_the_door(&accepted, global));
        if let Some(text) = refusal {
            shared.rejected_connections.fetch_add(1, Relaxed);
            if !is_tls {
                // One attempt: the socket is new and empty, and nobody waits for a client that is turned away.
                let mut reply = Reply::default();
                reply.raw(text.as_bytes());
                let _ = write_reply(&mut accepted.stream, &mut reply);
                return;
            }
            // Nobody shakes hands with a crowd only to send it away.
            if shared.is_full(&self.settings) {
                return;
            }
        }
        shared.connected.fetch_add(1, Relaxed);
        self.stats.connections.add(1);
        if is_tls {
            return shared.handshakes.begin(accepted, refusal);
        }
        let thread = shared.least_busy_thread();
        shared.stats[thread].clients.fetch_add(1, Relaxed);
        if thread == self.index {
            self.adopt(accepted);
        } else {
            shared.mailboxes[thread].send(Mail::Connection(accepted));
        }
    }

    /// Makes a connection this loop's own.
    fn adopt(&mut self, accepted: Accepted) {
        let Accepted { id, mut stream, address, local_address, is_local, users: named } = accepted;
        stream.set_keepalive(self.settings.tcp_keepalive_seconds);
        let (password_needed, user) = self.read_global(|global| {
            let access = &global.access;
            let mut users = named.iter().filter_map(|name| access.users().get(name.as_bytes()));
            (access.password_needed(), users.find(|user| user.is_enabled()).cloned())
        });
        let asked_in = self.newcomers_are_asked_in();
        let entry = self.connections.vacant_entry();
        let token = entry.key();
        let place = Place { thread: self.index, token };
        let client = Client::new(id, place, address, local_address, stream.fd(), now());
        client.set_flag(ClientFlags::UNIX_SOCKET, matches!(stream, Stream::Unix(_)));
        let client = Arc::new(client);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = stream.register(self.poll.registry(), Token(FIRST_CONNECTION + token), interest);
        let mut session = Session::new(client.clone(), !password_needed, is_local);
        if let Some(user) = user {
            session.become_user(&user);
        } else if !named.is_empty() {
            // As who he would be without the certificate.
            self.stats.acl_denied_certificate.add(1);
            let line = format!(
                "The certificate of client addr={} names no enabled user: {}",
                client.address,
                named.join(", ")
            );
            self.shared.log(LogLevel::Verbose, &line);
        }
        let mut connection = Box::new(Connection::new(stream, session));
        connection.asked_in = asked_in;
        entry.insert(Some(connection));
        self.shared.clients.insert(client);
        if let Err(error) = registered {
            self.shared.log(LogLevel::Warning, &format!("Cannot watch a new connection: {error}"));
            self.close(token);
            return;
        }
        if self.connection(token).is_some_and(|connection| connection.stream.has_more()) {
            // It came with the last of the handshake, and there is no event for it.
            self.unfinished.push(token);
        }
        self.account(token);
    }

    fn close(&mut self, token: usize) {
        let Some(mut connection) = self.connections.try_remove(token).flatten() else {
            return;
        };
        if connection.session.becomes_replica.is_some() {
            self.shared.replication.lose(&connection.session.client);
        } else if connection.session.client.has_replconf.load(Relaxed) {
            self.shared.forget_replconf(&connection.session.client);
        }
        if let Some(Blocked { deadline }) = connection.blocked {
            // At once: what comes now is for others.
            self.shared.gates.alone().global.waiters.remove(connection.session.client.id);
            deadline.map(|deadline| self.deadlines.remove(&(deadline, token)));
        }
        self.forget(&connection.session);
        // Who would redirect invalidations to it still knows it.
        connection.session.client.killed.store(true, Relaxed);
        // What was said before the end is still delivered, as far as the socket takes it at once.
        let _ = connection.flush_output();
        if connection.output.is_none() {
            // Amid a reply it is a cut, and looks like one.
            connection.stream.say_goodbye();
        }
        self.shared.clients.remove(connection.session.client.id);
        self.count_off(token, connection.counted_bytes);
    }

    /// Nothing that others do is for this client any more.
    fn forget(&self, session: &Session) {
        let client = &session.client;
        if client.watched_keys.load(Relaxed) > 0 {
            self.shared.gates.alone().global.watches.remove(client);
        }
        if client.has_tracked() {
            let garbage = self.shared.gates.alone().global.tracking.remove(client);
            if let Some(garbage) = garbage {
                self.shared.free_elsewhere(1, 0, garbage);
            }
        }
        if session.is_subscriber {
            self.shared.subscriptions.remove_client(client);
        }
        if session.is_monitor {
            self.shared.gates.alone().global.monitors.remove(client);
        }
    }

    /// The connection that had this token is none of this loop's any more.
    fn count_off(&mut self, token: usize, counted_bytes: i64) {
        self.shared.clients_memory_bytes.fetch_sub(counted_bytes, Relaxed);
        self.shared.connected.fetch_sub(1, Relaxed);
        self.strike_off(token);
    }

    /// Nothing of this loop is for this token any more.
    fn strike_off(&mut self, token: usize) {
        self.stats.clients.fetch_sub(1, Relaxed);
        self.paused.retain(|&paused| paused != token);
        self.resumed.retain(|&resumed| resumed != token);
        self.unfinished.retain(|&unfinished| unfinished != token);
        self.writing.retain(|&writing| writing != token);
        self.undurable.retain(|&undurable| undurable != token);
        self.missed.retain(|&(missed, _)| missed != token);
    }

    /// The connection is a replica's from now on: whoever feeds replicas has it.
    fn give_away(&mut self, token: usize) {
        let Some(mut connection) = self.connections.try_remove(token).flatten() else {
            return;
        };
        let _ = self.poll.registry().deregister(&mut SourceFd(&connection.stream.fd()));
        let client = connection.session.client.clone();
        self.forget(&connection.session);
        self.count_off(token, connection.counted_bytes);
        let output = connection.output.take();
        let Connection { stream, .. } = *connection;
        self.shared.replication.adopt(client, stream, output);
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Connections that move to another event loop
    // -----------------------------------------------------------------------------------------------------------------

    /// A connection has had a turn: it counts as active, and is asked once an order whether it goes.
    #[inline]
    fn note_turn(&mut self, token: usize) {
        let Some(Some(connection)) = self.connections.get_mut(token) else {
            return;
        };
        if connection.active_in != self.meter.period {
            connection.active_in = self.meter.period;
            self.meter.note_active();
        }
        if connection.asked_in != self.order.epoch {
            connection.asked_in = self.order.epoch;
            self.owing_per_mille += self.order.per_mille;
            connection.is_leaving = self.owing_per_mille >= 1000;
            if connection.is_leaving {
                self.owing_per_mille -= 1000;
            }
        }
        if connection.is_leaving {
            self.leaving.push(token);
        }
    }

    /// A connection that has come by the present order is not asked by it, unless this loop has none to keep.
    fn newcomers_are_asked_in(&self) -> u32 {
        let order = self.shared.balance.order(self.index);
        if order.per_mille < 1000 { order.epoch } else { order.epoch.wrapping_sub(1) }
    }

    /// Gives connections to the loops that the order names. Who cannot go tries again after its next turn, or when its output has left.
    #[cold]
    fn give_leaving(&mut self) {
        for token in std::mem::take(&mut self.leaving) {
            let is_resumed = self.resumed.contains(&token);
            let Some(Some(connection)) = self.connections.get_mut(token) else {
                continue;
            };
            if is_resumed || !connection.is_leaving || !connection.can_move() {
                continue;
            }
            if connection.stream.deregister(self.poll.registry()).is_err() {
                self.close(token);
                continue;
            }
            let Some(connection) = self.connections.remove(token) else {
                continue;
            };
            self.strike_off(token);
            if connection.active_in == self.meter.period {
                self.meter.note_gone();
            }
            self.shared.balance.note_given(self.index);
            let thread = self.shared.least_busy_among(self.order.to.clone());
            self.shared.stats[thread].clients.fetch_add(1, Relaxed);
            self.shared.mailboxes[thread].send_connection(connection, thread);
        }
    }

    /// Takes over a connection of another loop. What has come for it meanwhile is an event of its registration, as is room in its socket.
    fn take_over(&mut self, mut connection: Box<Connection>) {
        connection.asked_in = self.newcomers_are_asked_in();
        connection.active_in = 0;
        connection.is_leaving = false;
        let entry = self.connections.vacant_entry();
        let token = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = connection.stream.register(self.poll.registry(), Token(FIRST_CONNECTION + token), interest);
        connection.session.client.set_place(Place { thread: self.index, token });
        let is_killed = connection.session.client.killed.load(Relaxed);
        entry.insert(Some(connection));
        if let Err(error) = registered {
            self.shared.log(LogLevel::Warning, &format!("Cannot watch a connection: {error}"));
            return self.close(token);
        }
        if is_killed {
            // Its mail is behind this one, or on its way here.
            return;
        }
        // Decrypted bytes are no event.
        self.unfinished.push(token);
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Reading and executing
    // -----------------------------------------------------------------------------------------------------------------

    /// The peer has closed its side. There is no further edge: the connection is read from until the end is met.
    fn peer_ended(&mut self, token: usize) {
        let Some(connection) = self.connection(token) else {
            return;
        };
        connection.peer_ended = true;
        // As in Redis, a blocked client that hangs up is gone, and so is one whose requests wait behind CLIENT PAUSE.
        if connection.waits() {
            self.close(token);
        }
    }

    /// Nothing more comes. Replies that wait for the disk are still owed: the peer may have closed only its own side.
    fn input_ended(&mut self, token: usize) {
        match self.connection(token) {
            Some(connection) if !connection.undurable.is_empty() => connection.session.close_after_reply = true,
            _ => self.close(token),
        }
    }

    /// Reads from all connections that are ready, a few at a time.
    fn read_ready(&mut self) {
        self.has_read = false;
        let mut ready = std::mem::take(&mut self.ready);
        for token in self.unfinished.drain(..) {
            // A connection has one seat.
            if !ready.contains(&token) {
                ready.push(token);
            }
        }
        ready.retain(|&token| {
            let calls_scripts =
                matches!(self.connections.get(token), Some(Some(connection)) if connection.calls_scripts);
            if calls_scripts {
                self.scripted.push_back(token);
            }
            !calls_scripts
        });
        let mut chunks = ready.chunks(SEATS_MAX).peekable();
        while let Some(tokens) = chunks.next() {
            self.turn(tokens, if chunks.peek().is_none() { Turn::Last } else { Turn::Early });
        }
        ready.clear();
        self.ready = ready;
        self.run_scripted();
    }

    /// Gives those their turns who call scripts, one after the other. During a slow script of one, this goes on with the others.
    fn run_scripted(&mut self) {
        while let Some(token) = self.scripted.pop_front() {
            if self.owed.len() == SEATS_MAX || self.owed.iter().any(|(other, _)| *other == token) {
                self.send_owed();
            }
            self.turn(&[token], Turn::Scripted);
        }
        self.send_owed();
    }

    /// Keeps the reply of a connection until others have had their turns. False where it cannot wait, or has to wait elsewhere.
    fn owe(&mut self, token: usize) -> bool {
        let holds_replies = self.shared.holds_replies();
        let can_wait = self.connection(token).is_some_and(|connection| {
            connection.output.is_none()
                && !holds_replies
                && connection.undurable.is_empty()
                && !connection.session.close_after_reply
        });
        if can_wait {
            let empty = self.spare_replies.pop().unwrap_or_default();
            self.owed.push((token, std::mem::replace(&mut self.reply, empty)));
        }
        can_wait
    }

    /// Sends what is owed. Connections whose replies are owed have had nothing else to do since.
    fn send_owed(&mut self) {
        if self.owed.is_empty() {
            return;
        }
        let now = now();
        let mut owed = std::mem::take(&mut self.owed);
        for (token, mut reply) in owed.drain(..) {
            if self.connection(token).is_some() {
                std::mem::swap(&mut self.reply, &mut reply);
                self.finish(token, now);
                std::mem::swap(&mut self.reply, &mut reply);
            }
            reply.clear();
            self.spare_replies.push(reply);
        }
        self.owed = owed;
    }

    /// Reads from these connections, executes what came side by side, and replies.
    fn turn(&mut self, tokens: &[usize], turn: Turn) {
        let mut desk = self.take_desk();
        let Desk { shared, stats, buffers, requests, scratch, seats, replies } = &mut *desk;
        for &token in tokens {
            if let Some(seat) = self.take_seat(token, &mut buffers[seats.len()]) {
                seats.push(seat);
            }
        }
        let now = now();
        // Collected in place: no allocation.
        let mut decoded: Vec<Requests<'_>> = std::mem::take(requests).into_iter().map(Requests::recycle).collect();
        for (seat, (requests, buffer)) in seats.iter_mut().zip(decoded.iter_mut().zip(&*buffers)) {
            requests.begin(0);
            self.limits.authenticated = is_known(&seat.connection, self.password_needed);
            seat.end = gather(&mut seat.connection, &self.limits, &buffer[..seat.count], &mut seat.at, requests);
        }
        while replies.len() < seats.len() {
            replies.push(Box::default());
        }
        let holds_replies = shared.holds_replies();
        let mut jobs: SmallVec<[Job<'_>; SEATS_MAX]> = SmallVec::new();
        for ((seat, requests), reply) in seats.iter_mut().zip(&decoded).zip(replies.iter_mut()) {
            let appends = seat.connection.appends_to_output(holds_replies);
            let Connection { session, output, proto, .. } = &mut *seat.connection;
            let reply = match output {
                Some(output) if appends => &mut **output,
                _ => {
                    reply.set_proto(*proto);
                    reply
                }
            };
            jobs.push(Job::new(requests, 0, &[], session, reply));
        }
        // Nobody waits for a script who could be served first.
        let runs_scripts = turn != Turn::Early && jobs.len() == 1;
        Dispatcher { shared, thread: self.index, stats, scratch, front: Some(self), runs_scripts, relay: None }
            .run(&mut jobs);
        let progress: SmallVec<[(u64, bool, Progress); SEATS_MAX]> =
            jobs.into_iter().map(|job| (job.executed(), job.has_run_scripts(), job.progress())).collect();

        for (index, (mut seat, (executed, has_run_scripts, progress))) in seats.drain(..).zip(progress).enumerate() {
            let requests = &decoded[index];
            if !requests.is_empty() {
                seat.connection.calls_scripts = has_run_scripts || matches!(progress, Progress::Script { .. });
            }
            let bytes = &buffers[index][..seat.count];
            let appends = seat.connection.appends_to_output(holds_replies);
            let output = match &seat.connection.output {
                Some(output) if appends => &**output,
                _ => &replies[index],
            };
            seat.connection.proto = output.proto();
            seat.connection.session.client.commands.add(executed);
            let token = seat.token;
            let peer_ended = seat.connection.peer_ended;
            let has_more = seat.connection.stream.has_more();
            self.connections[token] = Some(seat.connection);
            if seat.count == READ_BUFFER_BYTES || peer_ended || has_more {
                self.unfinished.push(token);
            }
            std::mem::swap(&mut self.reply, &mut replies[index]);
            let progress = self.go_on(token, requests, progress, now);
            let held_from = match progress {
                Progress::Paused { at } | Progress::Script { at } | Progress::Blocked { at, .. } => {
                    requests.byte_start(at)
                }
                _ => 0,
            };
            let is_over = matches!((&progress, &seat.end), (Progress::Done, GatherEnd::Incomplete));
            let is_owed = turn == Turn::Scripted && is_over && self.owe(token);
            if !is_owed && self.settle(token, bytes, &mut seat.at, seat.end, progress, held_from, now) {
                self.consume(token, bytes, seat.at);
            }
            std::mem::swap(&mut self.reply, &mut replies[index]);
            self.note_turn(token);
        }
        *requests = decoded.into_iter().map(Requests::recycle).collect();
        self.desks.push(desk);
    }

    fn take_desk(&mut self) -> Box<Desk> {
        self.desks.pop().unwrap_or_else(|| Box::new(Desk::new(&self.shared, &self.stats)))
    }

    /// Reads once from a connection, and takes it out of its place for this turn. `None` when there is nothing for it to do
    /// together with others.
    fn take_seat(&mut self, token: usize, buffer: &mut [u8]) -> Option<Seat> {
        let place = self.connections.get_mut(token)?;
        let connection = place.as_mut()?;
        if connection.waits() || connection.session.close_after_reply {
            return None;
        }
        if connection.decoder.large_spare().is_some() {
            self.read_large(token);
            return None;
        }
        let count = loop {
            match connection.stream.read(buffer) {
                Ok(0) => break 0,
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break 0,
            }
        };
        if count == 0 {
            self.input_ended(token);
            return None;
        }
        self.has_read = true;
        self.stats.reads.add(1);
        self.stats.net_input_bytes.add(count as u64);
        connection.session.client.net_input_bytes.add(count as u64);
        let connection = place.take()?;
        Some(Seat { token, connection, count, at: 0, end: GatherEnd::Incomplete })
    }

    /// Reads a large argument into the buffer of its own.
    fn read_large(&mut self, token: usize) {
        for _ in 0..READS_MAX {
            let Some(connection) = self.connection(token) else {
                return;
            };
            let Some(spare) = connection.decoder.large_spare() else {
                break;
            };
            let room = spare.len();
            let count = match connection.stream.read(spare) {
                Ok(0) => return self.input_ended(token),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return self.close(token),
            };
            connection.decoder.large_filled(count);
            connection.session.client.net_input_bytes.add(count as u64);
            self.stats.reads.add(1);
            self.stats.net_input_bytes.add(count as u64);
            self.consume(token, &[], 0);
            let is_empty = |connection: &mut Connection| !connection.peer_ended && !connection.stream.has_more();
            if count < room && self.connection(token).is_none_or(is_empty) {
                return;
            }
        }
        self.unfinished.push(token);
    }

    /// Decodes and executes what is left of `bytes` from `at` for this connection alone, and writes the replies.
    fn consume(&mut self, token: usize, bytes: &[u8], mut at: usize) {
        let now = now();
        loop {
            let mut requests = std::mem::take(&mut self.spare).recycle();
            requests.begin(at);
            let (connections, limits) = (&mut self.connections, &mut self.limits);
            let connection = connections[token].as_mut().expect("the connection has no seat");
            limits.authenticated = is_known(connection, self.password_needed);
            let end = gather(connection, limits, bytes, &mut at, &mut requests);
            let progress = self.execute(token, &requests, 0, &[]);
            let progress = self.go_on(token, &requests, progress, now);
            let held_from = match progress {
                Progress::Paused { at } | Progress::Script { at } | Progress::Blocked { at, .. } => {
                    requests.byte_start(at)
                }
                _ => 0,
            };
            self.spare = requests.recycle();
            if !self.settle(token, bytes, &mut at, end, progress, held_from, now) {
                return;
            }
        }
    }

    /// After a gathered batch: what its end and its progress ask for. True when there is more to decode in `bytes`; otherwise
    /// the replies are on their way.
    #[expect(clippy::too_many_arguments, reason = "the state of one read, in two callers")]
    fn settle(
        &mut self,
        token: usize,
        bytes: &[u8],
        at: &mut usize,
        end: GatherEnd,
        progress: Progress,
        held_from: usize,
        now: Millis,
    ) -> bool {
        match progress {
            Progress::Done => {}
            Progress::Paused { .. } | Progress::Script { .. } | Progress::Blocked { .. } => {
                // Everything gathered began in this buffer, so the decoder can begin there again.
                let rest = &bytes[held_from..];
                if let Some(connection) = self.connection(token) {
                    connection.decoder = Decoder::new();
                }
                self.keep(token, (!rest.is_empty()).then(|| Held::Bytes(rest.to_vec())));
                match progress {
                    Progress::Blocked { timeout, .. } => self.block(token, timeout),
                    Progress::Script { .. } => self.resumed.push_back(token),
                    _ => self.pause(token),
                }
                self.finish(token, now);
                return false;
            }
            Progress::Closed => {
                self.finish(token, now);
                return false;
            }
            Progress::Gone => return false,
            Progress::Full { .. } => unreachable!("a batch goes on until it is done"),
        }
        match end {
            GatherEnd::Full => {}
            GatherEnd::Incomplete => {
                self.finish(token, now);
                return false;
            }
            GatherEnd::Owned => {
                let connection = self.connections[token].as_mut().expect("the connection has no seat");
                let request = connection.decoder.take_owned();
                if !self.execute_owned(token, request, &bytes[*at..]) {
                    self.finish(token, now);
                    return false;
                }
            }
            GatherEnd::Broken(error) => {
                let text = error.message();
                self.stats.count_error(&text);
                let connection = self.connections[token].as_mut().expect("the connection has no seat");
                let client = &connection.session.client;
                let line = format!("{error} from client id={} addr={}", client.id, client.address);
                self.shared.log(LogLevel::Verbose, &line);
                output(connection, &mut self.reply, self.shared.holds_replies()).error(&text);
                connection.session.close_after_reply = true;
                self.finish(token, now);
                return false;
            }
        }
        // Replies are not gathered without bound, nor is a client served for ever that does not read them.
        let waiting = match self.connection(token) {
            Some(connection) => connection.output_bytes().max(self.reply.len()),
            None => return false,
        };
        waiting <= REPLY_BYTES_MAX || self.write(token, now)
    }

    /// Executes a request whose arguments do not lie in the buffer. False when the connection is paused or ends; then
    /// `rest` is kept, if it is needed.
    fn execute_owned(&mut self, token: usize, request: Owned, rest: &[u8]) -> bool {
        let large: Vec<_> = request.large_args().map(|(index, data)| (index, data.clone())).collect();
        let mut requests = std::mem::take(&mut self.spare).recycle();
        request.args(&mut requests.args);
        requests.begin(0);
        // About as many bytes as were sent, not fewer: no argument has more around it than this.
        const AROUND_BYTES: usize = 32;
        let bytes: usize = requests.args.iter().map(|arg| arg.len() + AROUND_BYTES).sum();
        requests.close(bytes.min(u32::MAX as usize));
        let progress = self.execute(token, &requests, 0, &large);
        self.spare = requests.recycle();
        match progress {
            Progress::Done | Progress::Full { .. } => true,
            Progress::Closed | Progress::Gone => false,
            Progress::Script { .. } => unreachable!("alone, a connection's scripts run"),
            Progress::Paused { .. } | Progress::Blocked { .. } => {
                self.keep(token, (!rest.is_empty()).then(|| Held::Bytes(rest.to_vec())));
                if let Progress::Blocked { timeout, .. } = progress {
                    self.block(token, timeout);
                } else {
                    self.keep(token, Some(Held::Request(request)));
                    self.pause(token);
                }
                false
            }
        }
    }

    /// Executes what is left of a batch that has replied so much that it had to stop: sends before it goes on, so that neither
    /// the replies nor a client that does not read them can grow without bound.
    fn go_on(&mut self, token: usize, requests: &Requests<'_>, mut progress: Progress, now: Millis) -> Progress {
        while let Progress::Full { at } = progress {
            if !self.write(token, now) {
                return Progress::Gone;
            }
            progress = self.execute(token, requests, at, &[]);
        }
        progress
    }

    #[inline]
    fn execute(
        &mut self,
        token: usize,
        requests: &Requests<'_>,
        first: usize,
        large: &[(usize, Arc<Vec<u8>>)],
    ) -> Progress {
        let mut desk = self.take_desk();
        let Desk { shared, stats, scratch, .. } = &mut *desk;
        let mut connection = self.connections[token].take().expect("the connection has no seat");
        let appends = connection.appends_to_output(shared.holds_replies());
        let empty = self.spare_replies.pop().unwrap_or_default();
        let mut own = std::mem::replace(&mut self.reply, empty);
        let Connection { session, output, proto, .. } = &mut *connection;
        let reply = match output {
            Some(output) if appends => &mut **output,
            _ => {
                own.set_proto(*proto);
                &mut own
            }
        };
        let mut jobs = [Job::new(requests, first, large, session, reply)];
        Dispatcher { shared, thread: self.index, stats, scratch, front: Some(self), runs_scripts: true, relay: None }
            .run(&mut jobs);
        let [job] = jobs;
        let executed = job.executed();
        let progress = job.progress();
        *proto = match output {
            Some(output) if appends => output.proto(),
            _ => own.proto(),
        };
        session.client.commands.add(executed);
        self.spare_replies.push(std::mem::replace(&mut self.reply, own));
        self.connections[token] = Some(connection);
        self.desks.push(desk);
        progress
    }

    fn connection(&mut self, token: usize) -> Option<&mut Connection> {
        self.connections.get_mut(token)?.as_deref_mut()
    }

    /// After the last request of a read: sends the replies, and shows what has become of the connection.
    #[inline]
    fn finish(&mut self, token: usize, now: Millis) {
        if self.write(token, now)
            && let Some(connection) = self.connection(token)
            && (connection.output_bytes() > 0
                || !connection.decoder.is_idle()
                || connection.counted_bytes != connection.idle_bytes())
        {
            self.account(token);
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Writing
    // -----------------------------------------------------------------------------------------------------------------

    /// Sends what was replied. False when the connection is gone.
    #[inline]
    fn write(&mut self, token: usize, now: Millis) -> bool {
        let connection = self.connections[token].as_mut().expect("the connection has no seat");
        // Before the reply leaves: who has read it finds in CLIENT LIST what it did, from whichever thread it looks.
        connection.publish(now);
        if self.shared.holds_replies() || !connection.undurable.is_empty() {
            self.stow(token);
        } else {
            connection.take_answered();
        }
        let connection = self.connections[token].as_mut().expect("the connection has no seat");
        if let Some(output) = &mut connection.output
            && !self.reply.is_empty()
        {
            // It was to be held when its commands began, and is not any more.
            output.append(&mut self.reply);
        }
        let result = match &mut connection.output {
            Some(_) => connection.flush_output(),
            None if self.reply.is_empty() => Ok(Written::default()),
            None => {
                let result = write_reply(&mut connection.stream, &mut self.reply);
                if !self.reply.is_empty() {
                    if result.is_ok() {
                        connection.output = Some(std::mem::take(&mut self.reply));
                    } else {
                        *self.reply = Reply::default();
                    }
                }
                result
            }
        };
        match result {
            Ok(Written { bytes, wants_more }) => {
                if bytes > 0 {
                    self.stats.writes.add(1);
                    self.stats.net_output_bytes.add(bytes as u64);
                    connection.session.client.net_output_bytes.add(bytes as u64);
                }
                if wants_more {
                    self.writing.push(token);
                }
            }
            Err(_) => {
                self.close(token);
                return false;
            }
        }
        if connection.output.is_none() && connection.undurable.is_empty() {
            connection.soft_limit_since = None;
            if connection.session.becomes_replica.is_some() {
                self.give_away(token);
                return false;
            }
            if connection.session.close_after_reply {
                self.close(token);
                return false;
            }
            return true;
        }
        self.within_output_limits(token, now)
    }

    /// Puts the reply where it waits until the journal is durable as far as it reaches now: no command of this connection has seen
    /// more than that.
    #[cold]
    fn stow(&mut self, token: usize) {
        let connection = self.connections[token].as_mut().expect("the connection has no seat");
        let Answered { count: commands, has_changed, has_seen } = connection.take_answered();
        if self.reply.is_empty() {
            return;
        }
        let mut until = self.shared.extent();
        if !has_seen {
            // It tells of no data. What replicas have to do may take longer than a disk, and whoever looks why must not wait for it.
            until.replicas = 0;
        }
        let reply = std::mem::take(&mut *self.reply);
        let persistence = &self.shared.persistence;
        let is_durable = self.shared.safe_extent().covers(until);
        let is_failing = persistence.is_aof_failing();
        if is_failing && !is_durable && has_changed {
            // It was executed before the failure was known, and nobody can vouch for it.
            connection.stow(reply, commands, has_changed, until);
            connection.fail_undurable(&persistence.status.failure());
            return;
        }
        // While the disk fails, reads tell what is in memory.
        if (is_durable || is_failing) && connection.undurable.is_empty() {
            *self.reply = reply;
            return;
        }
        connection.stow(reply, commands, has_changed, until);
        if !self.undurable.contains(&token) {
            self.undurable.push(token);
        }
        self.mailbox.wait_for_durable();
        // It may have become so before anybody knew that this loop waits for it.
        if self.shared.safe_extent().covers(until) {
            self.mailbox.send(Mail::Durable);
        }
    }

    /// Sends what has waited for the journal.
    fn release_durable(&mut self) {
        let safe = self.shared.safe_extent();
        let now = now();
        for token in std::mem::take(&mut self.undurable) {
            let Some(connection) = self.connection(token) else { continue };
            connection.release(safe);
            if !connection.undurable.is_empty() {
                self.undurable.push(token);
            }
            if self.write(token, now) {
                self.account(token);
                self.note_turn(token);
            }
        }
        if !self.undurable.is_empty() {
            self.mailbox.wait_for_durable();
            if self.shared.safe_extent() != safe {
                self.mailbox.send(Mail::Durable);
            }
        }
        if self.index == 0 && !self.shared.serve_durable(&self.stats) {
            self.postponed.push(Mail::Durable);
        }
    }

    /// Replicas have had their time (`min-replicas-to-acknowledge-timeout`).
    fn give_up_unacknowledged(&mut self) {
        let Some((timeout, error)) = self.shared.replication.patience() else { return };
        let Some(since) = Instant::now().checked_sub(timeout) else { return };
        let (safe, now) = (self.shared.safe_extent(), now());
        for token in std::mem::take(&mut self.undurable) {
            let Some(connection) = self.connection(token) else { continue };
            let any = connection.give_up(since, safe, &error);
            if !connection.undurable.is_empty() {
                self.undurable.push(token);
            }
            if any && self.write(token, now) {
                self.account(token);
            }
        }
    }

    fn fail_undurable(&mut self, error: &str) {
        let now = now();
        for token in std::mem::take(&mut self.undurable) {
            let Some(connection) = self.connection(token) else { continue };
            connection.fail_undurable(error);
            if self.write(token, now) {
                self.account(token);
            }
        }
    }

    /// Closes a connection whose output has outgrown its limits. True while it may go on.
    fn within_output_limits(&mut self, token: usize, now: Millis) -> bool {
        let limits = self.settings.output_limits;
        let Some(connection) = self.connection(token) else {
            return false;
        };
        let limit = if connection.session.is_subscriber { limits.pubsub } else { limits.normal };
        let bytes = connection.output_bytes() as u64;
        let hard = limit.hard_bytes > 0 && bytes > limit.hard_bytes;
        let soft = if limit.soft_bytes > 0 && bytes > limit.soft_bytes {
            let since = *connection.soft_limit_since.get_or_insert(now);
            (now.0 - since.0) as u64 > limit.soft_seconds.saturating_mul(1000)
        } else {
            connection.soft_limit_since = None;
            false
        };
        if !hard && !soft {
            return true;
        }
        let client = connection.session.client.clone();
        self.stats.output_limit_disconnections.add(1);
        self.shared.log(
            LogLevel::Warning,
            &format!(
                "Client id={} addr={} closed: {bytes} bytes of replies wait for it, more than client-output-buffer-limit allows.",
                client.id, client.address
            ),
        );
        self.close(token);
        false
    }

    /// Sends the messages that wait for a subscriber.
    fn deliver(&mut self, token: usize, now: Millis) {
        let connection = self.connections[token].as_mut().expect("the connection has no seat");
        let client = connection.session.client.clone();
        // One that is to be closed gets nothing behind its last reply.
        if !client.killed.load(Relaxed)
            && !connection.session.close_after_reply
            && client.take_pushes(output(connection, &mut self.reply, self.shared.holds_replies()))
        {
            self.finish(token, now);
            self.note_turn(token);
        }
    }

    /// Goes on sending where the last turn's share was not all.
    fn write_more(&mut self) {
        for token in std::mem::take(&mut self.writing) {
            self.writable(token);
        }
    }

    fn writable(&mut self, token: usize) {
        let Some(connection) = self.connection(token) else {
            return;
        };
        // What an encrypted connection has to send besides replies.
        if connection.stream.flush().is_err() {
            self.close(token);
        } else if connection.output.is_some() && self.write(token, now()) {
            self.account(token);
            self.note_turn(token);
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // CLIENT PAUSE
    // -----------------------------------------------------------------------------------------------------------------

    /// Keeps a piece of a connection's input, in front of what is held already.
    fn keep(&mut self, token: usize, held: Option<Held>) {
        if let (Some(connection), Some(held)) = (self.connection(token), held) {
            connection.held.push_front(held);
        }
    }

    /// The connection goes on with what is held of it when the pause ends.
    fn pause(&mut self, token: usize) {
        let Some(connection) = self.connection(token) else {
            return;
        };
        connection.session.client.set_flag(ClientFlags::PAUSED, true);
        if !self.paused.contains(&token) {
            self.paused.push(token);
        }
    }

    /// Tries again what waits behind a pause. What still has to wait is held again.
    fn resume_paused(&mut self) {
        self.resumed.extend(self.paused.drain(..));
    }

    /// Executes what is held of connections, one after the other. During a slow script of one, this goes on with the others.
    fn run_resumed(&mut self) {
        while let Some(token) = self.resumed.pop_front() {
            self.resume(token);
        }
    }

    /// Executes what is held of a connection.
    fn resume(&mut self, token: usize) {
        let now = now();
        if let Some(connection) = self.connection(token) {
            connection.session.client.set_flag(ClientFlags::PAUSED, false);
        }
        loop {
            let Some(connection) = self.connection(token) else {
                return;
            };
            let Some(held) = connection.held.pop_front() else {
                // What arrived meanwhile has had its edge.
                self.unfinished.push(token);
                // At the end of its own turn it could not go.
                self.note_turn(token);
                return;
            };
            let pieces = connection.held.len();
            match held {
                Held::Bytes(bytes) => self.consume(token, &bytes, 0),
                Held::Request(request) => {
                    self.execute_owned(token, request, &[]);
                    self.finish(token, now);
                }
            }
            match self.connection(token) {
                Some(connection)
                    if connection.held.len() <= pieces
                        && connection.blocked.is_none()
                        && !connection.session.close_after_reply => {}
                // Held again, blocked, or gone.
                _ => return,
            }
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Blocking commands
    // -----------------------------------------------------------------------------------------------------------------

    /// The connection's client has begun to wait for a key.
    fn block(&mut self, token: usize, timeout: Option<Duration>) {
        // A time beyond what the clock can show is no end.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let Some(connection) = self.connection(token) else {
            return;
        };
        assert!(connection.blocked.is_none(), "a blocked connection has executed a command");
        connection.blocked = Some(Blocked { deadline });
        let hung_up = connection.peer_ended.then_some(connection.session.client.id);
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, token));
        }
        if let Some(id) = hung_up {
            // Before it began to wait, so there is no further edge. It still gets what was replied so far.
            self.mailbox.send(Mail::Kill { token, id });
        }
    }

    /// Ends the waiting of those whose time is over. Who was served meanwhile is not a waiter any more, and has mail.
    fn time_out_blocked(&mut self) {
        let now = Instant::now();
        if self.deadlines.first().is_none_or(|(deadline, _)| *deadline > now) {
            return;
        }
        let shared = self.shared.clone();
        let Some(mut world) = shared.gates.wide_unless_lent() else {
            return;
        };
        while let Some(&(deadline, token)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            let client = &self.connections[token].as_ref().expect("the connection has no seat").session.client;
            blocking::release(&mut world.global, &*shared, &self.stats, client.id, Release::Timeout);
        }
        drop(world);
        self.read_mail();
    }

    /// A blocked client has its reply, and goes on with what it has sent meanwhile.
    fn unblocked(&mut self, token: usize, mut reply: Reply, changed: bool, close: bool) {
        let holds_replies = self.shared.holds_replies();
        let Some(connection) = self.connection(token) else {
            return;
        };
        let blocked = connection.blocked.take().expect("a waiter is claimed once");
        connection.session.client.commands.add(1);
        connection.session.note_changed(changed);
        connection.session.close_after_reply |= close;
        if connection.session.keeps_reply() {
            let connection = self.connections[token].as_mut().expect("the connection has no seat");
            output(connection, &mut self.reply, holds_replies).append(&mut reply);
        }
        blocked.deadline.map(|deadline| self.deadlines.remove(&(deadline, token)));
        self.finish(token, now());
        if !close {
            self.resumed.push_back(token);
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // From time to time
    // -----------------------------------------------------------------------------------------------------------------

    fn tick(&mut self) {
        let hz = self.settings.ticks_per_second;
        self.next_tick = Instant::now() + Duration::from_millis(u64::from(1000 / hz));
        let now = now();
        self.check_connections(now);
        self.accept_more();
        self.expire_own();
        if !self.paused.is_empty() {
            let is_paused = self.read_global(|global| global.pause_at(now).is_some());
            if !is_paused && !self.shared.persistence.is_congested() {
                self.resume_paused();
            }
        }
        if self.expiring.is_none() {
            self.expiring = Some(self.index);
        }
        if !self.undurable.is_empty() {
            self.give_up_unacknowledged();
        }
        memory::publish();
        let (commands, loop_ns) = (self.stats.commands.total(), self.stats.loop_ns.total());
        if let Some(report) = self.meter.report(Instant::now(), commands, loop_ns) {
            self.shared.balance.report(self.index, report);
        }
        if self.index == 0 {
            self.trim_tracked();
            self.shared.tick(now);
            self.scratch.must_evict = self.shared.limit.is_set();
            if self.compacting.is_none() && keyspace::slab::wants_compaction() {
                self.compacting = Some(Compaction::default());
                self.shared.operation.note_compaction(now, true);
            }
        }
    }

    /// After CONFIG SET, the table of tracked keys may be far over its limit.
    fn trim_tracked(&self) {
        let Some(world) = self.shared.gates.narrow_unless_lent(self.index) else {
            return;
        };
        Telling::of(&world.global, &*self.shared, &self.stats, self.index).trim(TRIMMED_KEYS_MAX);
    }

    /// Looks at a part of the connections: all of them about once a second, and at least a few.
    fn check_connections(&mut self, now: Millis) {
        let slots = self.connections.capacity().min(self.next_free_slot());
        if slots == 0 {
            return;
        }
        let part = (slots / self.settings.ticks_per_second as usize).max(5).min(slots);
        for _ in 0..part {
            self.next_checked = (self.next_checked + 1) % slots;
            let token = self.next_checked;
            let Some(Some(connection)) = self.connections.get(token) else {
                continue;
            };
            let client = &connection.session.client;
            let idle_seconds = (now.0 - client.last_interaction.load(Relaxed)) / 1000;
            // A subscriber has nothing to say.
            let may_be_silent = connection.waits() || connection.session.is_subscriber || connection.session.is_monitor;
            if self.settings.timeout_seconds > 0 && !may_be_silent && idle_seconds > self.settings.timeout_seconds {
                self.shared.log(LogLevel::Verbose, &format!("Closing idle client id={}", client.id));
                self.close(token);
                continue;
            }
            if connection.output_bytes() > 0 && !self.within_output_limits(token, now) {
                continue;
            }
            self.account(token);
        }
    }

    /// Beyond the last slot that was ever used.
    fn next_free_slot(&self) -> usize {
        self.connections.iter().next_back().map_or(0, |(token, _)| token + 1)
    }

    /// Shows the memory of a connection, and closes who has more than is allowed.
    fn account(&mut self, token: usize) {
        let Some(Some(connection)) = self.connections.get_mut(token) else {
            return;
        };
        connection.publish_memory();
        let bytes = connection.memory_bytes() as i64;
        let total = self.shared.clients_memory_bytes.fetch_add(bytes - connection.counted_bytes, Relaxed)
            + (bytes - connection.counted_bytes);
        connection.counted_bytes = bytes;
        if connection.decoder.memory_bytes() > self.settings.query_buffer_bytes_max {
            let client = connection.session.client.clone();
            self.stats.query_limit_disconnections.add(1);
            self.shared.log(
                LogLevel::Warning,
                &format!(
                    "Client id={} addr={} closed: its unfinished request is larger than client-query-buffer-limit.",
                    client.id, client.address
                ),
            );
            return self.close(token);
        }
        let limit = self.settings.clients_memory_bytes_max;
        if limit > 0 && total > limit as i64 {
            self.shared.evict_clients(limit as i64, &self.stats);
        }
    }

    /// Removes keys, and fields of hashes, whose time has come from the shards that are this thread's to look after, a slice at a time.
    fn expire_slice(&mut self) {
        let Some(mut shard) = self.expiring else {
            return;
        };
        let threads = self.shared.stats.len();
        let now = now();
        let began = Instant::now();
        let Some(world) = self.shared.gates.narrow_unless_lent(self.index) else {
            return;
        };
        let may_expire = world.global.may_expire_actively(now);
        while may_expire && shard < keyspace::SHARD_COUNT {
            let index = ShardIndex::new(shard);
            if world.keyspace.earliest_expiry(index) <= now {
                let mut space = world.keyspace.lock_one(index);
                let effects = self.scratch.effects();
                effects.serve(readers(&world.global));
                let waiters = &world.global.waiters;
                let mut waited_for = Vec::new();
                let more = space.expire_due(index, now, EXPIRE_SLICE_KEYS, |db, gone| {
                    self.stats.expired(&gone);
                    effects.gone(db, &gone);
                    // Each key by itself: nothing ties them together but the time.
                    if !matches!(gone, Expired::Field { .. }) {
                        effects.close_unit();
                    }
                    let (Expired::Key(removed) | Expired::Hash { removed, .. }) = &gone else { return };
                    if !waiters.is_empty() && waiters.concern_end_of(db, removed.key()) {
                        waited_for.push((db, removed.key().into()));
                    }
                });
                let telling = Telling::of(&world.global, &*self.shared, &self.stats, self.index);
                telling.tell(effects, None);
                telling.end(effects);
                self.scratch.record(&self.shared, now);
                if !more {
                    shard += threads;
                }
                let took = began.elapsed();
                self.stats.expire_cycle_ns.add(took.as_nanos() as u64);
                self.shared.observation.latency.note("expire-cycle", took.as_millis() as u64, now);
                self.expiring = (shard < keyspace::SHARD_COUNT).then_some(shard);
                drop(space);
                drop(world);
                if !waited_for.is_empty() {
                    self.housekeeper().serve_gone(&waited_for);
                }
                return;
            }
            shard += threads;
        }
        self.expiring = None;
    }

    /// Removes keys whose time has come and that clients have written here, although this is a replica.
    fn expire_own(&mut self) {
        let replication = &self.shared.replication;
        let now = now();
        if self.index != 0 || !replication.has_own_due(now) {
            return;
        }
        let Some(world) = self.shared.gates.narrow_unless_lent(self.index) else {
            return;
        };
        if !world.global.may_expire_own(now) {
            return;
        }
        let effects = self.scratch.effects();
        effects.serve(readers(&world.global));
        let mut waited_for = Vec::new();
        for _ in 0..OWN_KEYS_A_TICK {
            let Some((db, name)) = replication.take_own_due(now) else { break };
            let key = world.keyspace.key(&name);
            let mut space = world.keyspace.lock_one(key.shard());
            match space.get(db, key).and_then(|entry| entry.expire_at()) {
                Some(at) if at <= now => {
                    space.remove(db, key);
                    self.stats.expired_keys.add(1);
                    effects.expired(db, &name);
                    effects.close_unit();
                    if world.global.waiters.concern_end_of(db, &name) {
                        waited_for.push((db, (*name).into()));
                    }
                }
                Some(at) => Replication::note_own_expiry(&*self.shared, db, &name, at),
                None => {}
            }
        }
        let telling = Telling::of(&world.global, &*self.shared, &self.stats, self.index);
        telling.tell(effects, None);
        telling.end(effects);
        self.scratch.record(&self.shared, now);
        drop(world);
        if !waited_for.is_empty() {
            self.housekeeper().serve_gone(&waited_for);
        }
    }

    /// Evicts keys where memory is above its limit although nobody asks for any.
    fn evict_slice(&mut self) {
        if self.scratch.must_evict {
            self.housekeeper().make_room();
        }
    }

    /// Moves a few entries out of sparse pages.
    fn compact_slice(&mut self) {
        let Some(walk) = &mut self.compacting else {
            return;
        };
        let Some(world) = self.shared.gates.narrow_unless_lent(self.index) else {
            return;
        };
        if !world.keyspace.compact(walk, COMPACT_SLICE_ENTRIES) {
            self.compacting = None;
            self.shared.operation.note_compaction(now(), false);
        }
    }
}

impl Attend for EventLoop {
    fn hand_out(&mut self) {
        let now = now();
        for (token, reply) in &mut self.owed {
            let Some(Some(connection)) = self.connections.get_mut(*token) else { continue };
            connection.publish(now);
            // What the socket does not take, and what ends a connection, is for `send_owed`.
            if let Ok(Written { bytes, .. }) = write_reply(&mut connection.stream, reply) {
                self.stats.net_output_bytes.add(bytes as u64);
                connection.session.client.net_output_bytes.add(bytes as u64);
            }
        }
    }

    fn attend(&mut self) {
        self.send_owed();
        let mut events = Events::with_capacity(64);
        // What fails here fails again where it is reported.
        if self.poll.poll(&mut events, Some(Duration::ZERO)).is_ok() {
            self.handle_events(&events);
        }
        self.read_ready();
        self.run_resumed();
        self.write_more();
    }
}

/// What the connections that take a turn together need: what was read, decoded, and replied.
///
/// With its own ways to the server, since while it is in use the event loop may be asked to attend to others.
struct Desk {
    shared: Arc<Shared>,
    stats: Arc<ThreadStats>,
    buffers: Vec<Box<[u8]>>,
    requests: Vec<Requests<'static>>,
    scratch: Scratch,
    seats: Vec<Seat>,
    #[expect(clippy::vec_box, reason = "as those of the event loop, with which they change places")]
    replies: Vec<Box<Reply>>,
}

impl Desk {
    fn new(shared: &Arc<Shared>, stats: &Arc<ThreadStats>) -> Desk {
        Desk {
            shared: shared.clone(),
            stats: stats.clone(),
            buffers: (0..SEATS_MAX).map(|_| vec![0; READ_BUFFER_BYTES].into_boxed_slice()).collect(),
            requests: (0..SEATS_MAX).map(|_| Requests::default()).collect(),
            scratch: Scratch::default(),
            seats: Vec::with_capacity(SEATS_MAX),
            replies: Vec::with_capacity(SEATS_MAX),
        }
    }
}

/// Who takes a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Others are ready, and come next.
    Early,
    /// The last of those that were ready.
    Last,
    /// One that calls scripts: what it is replied may wait for others of its kind.
    Scripted,
}

/// A connection that takes its turn.
struct Seat {
    token: usize,
    connection: Box<Connection>,
    /// So many bytes were read.
    count: usize,
    /// So many of them are decoded.
    at: usize,
    end: GatherEnd,
}

/// Why no more requests were decoded.
enum GatherEnd {
    /// There are enough for one batch.
    Full,
    /// The buffer is used up.
    Incomplete,
    /// The next request has to be fetched from the decoder.
    Owned,
    /// The client broke the protocol.
    Broken(ProtocolError),
}

/// Decodes requests from `bytes[at..]`.
#[inline]
fn gather<'a>(
    connection: &mut Connection,
    limits: &Limits,
    bytes: &'a [u8],
    at: &mut usize,
    requests: &mut Requests<'a>,
) -> GatherEnd {
    // Who still has to say a password is decoded one request at a time: AUTH changes the limits of what follows.
    let gather_max = if limits.authenticated { GATHER_MAX } else { 1 };
    while requests.len() < gather_max {
        match connection.decoder.next(&bytes[*at..], limits, &mut requests.args) {
            Ok(Step::Command { consumed }) => {
                *at += consumed;
                requests.close(*at);
            }
            Ok(Step::Incomplete) => return GatherEnd::Incomplete,
            Ok(Step::Owned { consumed }) => {
                *at += consumed;
                return GatherEnd::Owned;
            }
            Err(error) => return GatherEnd::Broken(error),
        }
    }
    GatherEnd::Full
}

/// Whether accepting has failed for a connection that went away, so that the next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// Whether the client need not say a password (any more).
fn is_known(connection: &Connection, password_needed: bool) -> bool {
    connection.session.authenticated || !password_needed
}

/// Where the connection's next reply goes.
fn output<'a>(connection: &'a mut Connection, reply: &'a mut Reply, holds_replies: bool) -> &'a mut Reply {
    let appends = connection.appends_to_output(holds_replies);
    match &mut connection.output {
        Some(output) if appends => output,
        _ => {
            reply.set_proto(connection.proto);
            reply
        }
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits { bulk_bytes_max: settings.bulk_bytes_max as u64, ..Limits::default() }
}

//! One thread's loop: readiness, reading, executing, writing, and what is due from time to time.
//!
//! A request's way: [`EventLoop::readable`] reads, [`EventLoop::consume`] decodes, [`Dispatcher`] executes in place, and
//! [`EventLoop::write`] sends the replies, all on this thread and with nothing handed over. At pipeline depth 1 that is one read
//! and one write a request; a read that did not fill the buffer has emptied the socket, and the next arrival is a new edge.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use commands::client::Place;
use commands::{Client, ClientFlags, Session, Settings, ThreadStats};
use config::LogLevel;
use keyspace::{Cursor, Millis, ShardIndex};
use mio::{Events, Interest, Poll, Token};
use resp::{Decoder, Limits, Owned, Reply, Step};
use slab::Slab;

use crate::connection::{Connection, Held, write_reply};
use crate::dispatch::{Dispatcher, Progress, Requests, Scratch};
use crate::listener::{Accepted, Listener, Stream};
use crate::mailbox::{Mail, Mailbox};
use crate::shared::{Shared, now};

/// The token of the wake-up.
pub const WAKER: Token = Token(0);
/// Listeners have the tokens from here, connections those from `FIRST_CONNECTION`.
const FIRST_LISTENER: usize = 1;
const FIRST_CONNECTION: usize = 64;

/// What one read takes at most.
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// So many full reads of one connection before others get their turn.
const READS_MAX: usize = 4;
/// So many requests are decoded before they are executed.
const GATHER_MAX: usize = 64;
/// Replies are written at the latest when so much has gathered.
const REPLY_BYTES_MAX: usize = 256 * 1024;
/// So many connections are accepted before others get their turn.
const ACCEPTS_MAX: usize = 128;
/// A slice of active expiry removes at most so many keys, about 20 us of work.
const EXPIRE_SLICE_KEYS: usize = 64;
/// A slice of compaction looks at so many entries.
const COMPACT_SLICE_ENTRIES: usize = 64;

/// One of the N threads that serve connections.
pub struct EventLoop {
    index: usize,
    shared: Arc<Shared>,
    poll: Poll,
    mailbox: Arc<Mailbox>,
    stats: Arc<ThreadStats>,
    connections: Slab<Connection>,
    listeners: Vec<Listener>,
    /// Taken over from the configuration when it changes.
    limits: Limits,
    settings: Settings,
    /// Reading, replying and executing share these among all connections, so that an idle one costs little.
    buffer: Box<[u8]>,
    reply: Reply,
    requests: Requests<'static>,
    scratch: Scratch,
    /// Connections that may have more to read.
    unfinished: Vec<usize>,
    /// Connections that wait behind CLIENT PAUSE.
    paused: Vec<usize>,
    next_tick: Instant,
    /// The connection that the next tick's checks begin with.
    next_checked: usize,
    /// Where active expiry goes on, if it has work.
    expiring: Option<usize>,
    compacting: Option<Cursor>,
}

impl EventLoop {
    /// A loop for thread `index`, with the poll that its mailbox's waker belongs to.
    pub fn new(index: usize, shared: Arc<Shared>, poll: Poll) -> EventLoop {
        let settings = shared.gates.narrow(index).global.settings.clone();
        EventLoop {
            index,
            poll,
            mailbox: shared.mailboxes[index].clone(),
            stats: shared.stats[index].clone(),
            connections: Slab::new(),
            listeners: Vec::new(),
            limits: limits(&settings),
            settings,
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            reply: Reply::default(),
            requests: Requests::default(),
            scratch: Scratch::default(),
            unfinished: Vec::new(),
            paused: Vec::new(),
            next_tick: Instant::now(),
            next_checked: 0,
            expiring: None,
            compacting: None,
            shared,
        }
    }

    /// Serves until the server ends.
    ///
    /// # Errors
    /// The system's poll failed.
    pub fn run(mut self) -> io::Result<()> {
        keyspace::slab::use_arena(self.index);
        let mut events = Events::with_capacity(1024);
        self.look();
        while !self.shared.is_ending() {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    WAKER => self.read_mail(),
                    Token(token) if token < FIRST_CONNECTION => self.accept(token - FIRST_LISTENER),
                    Token(token) => {
                        let token = token - FIRST_CONNECTION;
                        if event.is_writable() {
                            self.writable(token);
                        }
                        if event.is_readable() || event.is_read_closed() || event.is_error() {
                            self.readable(token);
                        }
                    }
                }
            }
            for token in std::mem::take(&mut self.unfinished) {
                self.readable(token);
            }
            if Instant::now() >= self.next_tick {
                self.tick();
            }
            self.expire_slice();
            self.compact_slice();
        }
        Ok(())
    }

    fn timeout(&self) -> Duration {
        if !self.unfinished.is_empty() || self.expiring.is_some() || self.compacting.is_some() {
            return Duration::ZERO;
        }
        self.next_tick.saturating_duration_since(Instant::now())
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Mail and new connections
    // -----------------------------------------------------------------------------------------------------------------

    fn read_mail(&mut self) {
        for mail in self.mailbox.take() {
            match mail {
                Mail::Connection(accepted) => self.adopt(accepted),
                Mail::Kill { token, id } => {
                    if self.connections.get(token).is_some_and(|connection| connection.session.client.id == id) {
                        self.close(token);
                    }
                }
                Mail::Look => self.look(),
            }
        }
    }

    /// Takes over what may have changed: settings, listeners, the end of a pause.
    fn look(&mut self) {
        self.settings = self.shared.gates.narrow(self.index).global.settings.clone();
        self.limits = limits(&self.settings);
        if self.index == 0
            && let Some(listeners) = self.shared.new_listeners.lock().take()
        {
            self.listeners = listeners;
            for (index, listener) in self.listeners.iter_mut().enumerate() {
                let token = Token(FIRST_LISTENER + index);
                if let Err(error) = self.poll.registry().register(listener.source(), token, Interest::READABLE) {
                    self.shared.log(LogLevel::Warning, &format!("Cannot watch a listening socket: {error}"));
                }
            }
        }
        self.resume_paused();
    }

    fn accept(&mut self, listener: usize) {
        for _ in 0..ACCEPTS_MAX {
            let Some(listener) = self.listeners.get(listener) else {
                return;
            };
            match listener.accept() {
                Ok(accepted) => self.welcome(accepted),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.shared.log(LogLevel::Warning, &format!("Accepting client connection: {error}"));
                    return;
                }
            }
        }
        // More may wait, and their edge has passed.
        self.mailbox.send(Mail::Look);
        self.reaccept(listener);
    }

    /// Makes the poll report a listener again that was not drained.
    fn reaccept(&mut self, index: usize) {
        let token = Token(FIRST_LISTENER + index);
        if let Some(listener) = self.listeners.get_mut(index) {
            let _ = self.poll.registry().reregister(listener.source(), token, Interest::READABLE);
        }
    }

    /// Admits a new connection, or tells it why not, and gives it to an event loop.
    fn welcome(&mut self, mut accepted: Accepted) {
        let shared = self.shared.clone();
        if let Some(text) = shared.refusal_at_the_door(&accepted, &self.settings) {
            // One attempt: the socket is new and empty, and nobody waits for a client that is turned away.
            let _ = io::Write::write(&mut accepted.stream, text.as_bytes());
            shared.rejected_connections.fetch_add(1, Relaxed);
            return;
        }
        shared.connected.fetch_add(1, Relaxed);
        self.stats.connections.add(1);
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
        let Accepted { mut stream, address, local_address, is_local } = accepted;
        stream.set_keepalive(self.settings.tcp_keepalive_seconds);
        let entry = self.connections.vacant_entry();
        let token = entry.key();
        let place = Place { thread: self.index, token };
        let client = Client::new(self.shared.clients.next_id(), place, address, local_address, stream.fd(), now());
        client.set_flag(ClientFlags::UNIX_SOCKET, matches!(stream, Stream::Unix(_)));
        let client = Arc::new(client);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = stream.register(self.poll.registry(), Token(FIRST_CONNECTION + token), interest);
        let session = Session::new(client.clone(), !self.settings.password_needed, is_local);
        entry.insert(Connection::new(stream, session));
        self.shared.clients.insert(client);
        if let Err(error) = registered {
            self.shared.log(LogLevel::Warning, &format!("Cannot watch a new connection: {error}"));
            self.close(token);
            return;
        }
        self.account(token);
    }

    fn close(&mut self, token: usize) {
        let Some(mut connection) = self.connections.try_remove(token) else {
            return;
        };
        // What was said before the end is still delivered, as far as the socket takes it at once.
        let _ = connection.flush_output();
        self.shared.clients.remove(connection.session.client.id);
        self.shared.clients_memory_bytes.fetch_sub(connection.counted_bytes, Relaxed);
        self.shared.connected.fetch_sub(1, Relaxed);
        self.stats.clients.fetch_sub(1, Relaxed);
        self.paused.retain(|&paused| paused != token);
        self.unfinished.retain(|&unfinished| unfinished != token);
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Reading and executing
    // -----------------------------------------------------------------------------------------------------------------

    fn readable(&mut self, token: usize) {
        // The buffer is borrowed by the requests while the loop executes them.
        let mut buffer = std::mem::take(&mut self.buffer);
        self.read(token, &mut buffer);
        self.buffer = buffer;
    }

    fn read(&mut self, token: usize, buffer: &mut [u8]) {
        for _ in 0..READS_MAX {
            let Some(connection) = self.connections.get_mut(token) else {
                return;
            };
            if connection.is_paused() || connection.session.close_after_reply {
                return;
            }
            let (result, room, large) = match connection.decoder.large_spare() {
                Some(spare) => {
                    let room = spare.len();
                    (connection.stream.read(spare), room, true)
                }
                None => (connection.stream.read(buffer), buffer.len(), false),
            };
            let count = match result {
                Ok(0) => return self.close(token),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return self.close(token),
            };
            self.stats.reads.add(1);
            self.stats.net_input_bytes.add(count as u64);
            connection.session.client.net_input_bytes.add(count as u64);
            if large {
                connection.decoder.large_filled(count);
                self.consume(token, &[]);
            } else {
                self.consume(token, &buffer[..count]);
            }
            if count < room {
                return;
            }
        }
        self.unfinished.push(token);
    }

    /// Decodes and executes everything in `bytes`, and writes the replies.
    fn consume(&mut self, token: usize, bytes: &[u8]) {
        let now = now();
        let mut at = 0;
        loop {
            let connection = &mut self.connections[token];
            // Who still has to say a password is decoded one request at a time: AUTH changes the limits of what follows.
            let is_known = connection.session.authenticated || !self.settings.password_needed;
            let gather_max = if is_known { GATHER_MAX } else { 1 };
            self.limits.authenticated = is_known;

            let mut requests = std::mem::take(&mut self.requests).recycle();
            requests.begin(at);
            let mut end = None;
            while requests.len() < gather_max {
                match connection.decoder.next(&bytes[at..], &self.limits, &mut requests.args) {
                    Ok(Step::Command { consumed }) => {
                        at += consumed;
                        requests.close(at);
                    }
                    step => {
                        end = Some(step);
                        break;
                    }
                }
            }
            let progress = self.execute(token, &requests, &[], now);
            match progress {
                Progress::Done => {}
                Progress::Paused { at: request } => {
                    // Everything gathered here began in this buffer, so the decoder can begin there again.
                    let rest = bytes[requests.byte_start(request)..].to_vec();
                    self.requests = requests.recycle();
                    self.connections[token].decoder = Decoder::new();
                    self.hold(token, [Held::Bytes(rest)]);
                    return self.finish(token, now);
                }
                Progress::Closed => {
                    self.requests = requests.recycle();
                    return self.finish(token, now);
                }
            }
            self.requests = requests.recycle();
            match end {
                None => {}
                Some(Ok(Step::Incomplete)) => return self.finish(token, now),
                Some(Ok(Step::Command { .. })) => unreachable!("commands are gathered above"),
                Some(Ok(Step::Owned { consumed })) => {
                    at += consumed;
                    let request = self.connections[token].decoder.take_owned();
                    if !self.execute_owned(token, request, &bytes[at..], now) {
                        return self.finish(token, now);
                    }
                }
                Some(Err(error)) => {
                    let connection = &mut self.connections[token];
                    let text = error.message();
                    self.stats.count_error(&text);
                    self.shared.log(
                        LogLevel::Verbose,
                        &format!("{} from client id={} addr={}", error, connection.session.client.id, connection.session.client.address),
                    );
                    let reply = output(connection, &mut self.reply);
                    reply.error(&text);
                    connection.session.close_after_reply = true;
                    return self.finish(token, now);
                }
            }
            if self.reply.len() > REPLY_BYTES_MAX && !self.write(token, now) {
                return;
            }
        }
    }

    /// Executes a request whose arguments do not lie in the buffer. False when the connection is paused or ends; then
    /// `rest` is kept, if it is needed.
    fn execute_owned(&mut self, token: usize, request: Owned, rest: &[u8], now: Millis) -> bool {
        let large: Vec<_> = request.large_args().map(|(index, data)| (index, data.clone())).collect();
        let mut requests = std::mem::take(&mut self.requests).recycle();
        request.args(&mut requests.args);
        requests.close(0);
        let progress = self.execute(token, &requests, &large, now);
        self.requests = requests.recycle();
        match progress {
            Progress::Done => true,
            Progress::Closed => false,
            Progress::Paused { .. } => {
                let mut held = vec![Held::Request(request)];
                if !rest.is_empty() {
                    held.push(Held::Bytes(rest.to_vec()));
                }
                self.hold(token, held);
                false
            }
        }
    }

    #[inline]
    fn execute(
        &mut self,
        token: usize,
        requests: &Requests<'_>,
        large: &[(usize, Arc<Vec<u8>>)],
        now: Millis,
    ) -> Progress {
        if requests.is_empty() {
            return Progress::Done;
        }
        let EventLoop { connections, shared, stats, scratch, reply, index, .. } = self;
        let connection = &mut connections[token];
        let reply = match &mut connection.output {
            Some(output) => &mut **output,
            None => {
                reply.set_proto(connection.proto);
                reply
            }
        };
        let mut dispatcher = Dispatcher { shared, thread: *index, stats, scratch };
        let progress = dispatcher.run(requests, large, &mut connection.session, reply, now);
        connection.proto = reply.proto();
        connection.session.client.commands.add(requests.len() as u64);
        progress
    }

    /// After the last request of a read: sends the replies, and shows what has become of the connection.
    #[inline]
    fn finish(&mut self, token: usize, now: Millis) {
        if self.write(token, now) {
            let connection = &self.connections[token];
            connection.publish(now);
            if connection.output.is_some() || !connection.decoder.is_idle() || connection.counted_bytes != IDLE_BYTES {
                self.account(token);
            }
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Writing
    // -----------------------------------------------------------------------------------------------------------------

    /// Sends what was replied. False when the connection is gone.
    #[inline]
    fn write(&mut self, token: usize, now: Millis) -> bool {
        let connection = &mut self.connections[token];
        let result = match &mut connection.output {
            Some(_) => connection.flush_output().map(|(_, written)| written),
            None if self.reply.is_empty() => Ok(0),
            None => {
                let result = write_reply(&mut connection.stream, &mut self.reply);
                if !self.reply.is_empty() {
                    if result.is_ok() {
                        let mut rest = Box::new(Reply::default());
                        std::mem::swap(&mut *rest, &mut self.reply);
                        connection.output = Some(rest);
                    } else {
                        self.reply = Reply::default();
                    }
                }
                result
            }
        };
        match result {
            Ok(0) => {}
            Ok(written) => {
                self.stats.writes.add(1);
                self.stats.net_output_bytes.add(written as u64);
                connection.session.client.net_output_bytes.add(written as u64);
            }
            Err(_) => {
                self.close(token);
                return false;
            }
        }
        if connection.output.is_none() {
            connection.soft_limit_since = None;
            if connection.session.close_after_reply {
                self.close(token);
                return false;
            }
            return true;
        }
        self.within_output_limits(token, now)
    }

    /// Closes a connection whose output has outgrown its limits. True while it may go on.
    fn within_output_limits(&mut self, token: usize, now: Millis) -> bool {
        let limit = self.settings.output_limits.normal;
        let connection = &mut self.connections[token];
        let bytes = connection.output_bytes() as u64;
        let hard = limit.hard_bytes > 0 && bytes > limit.hard_bytes;
        let soft = if limit.soft_bytes > 0 && bytes > limit.soft_bytes {
            let since = *connection.soft_limit_since.get_or_insert(now);
            now.0 - since.0 > limit.soft_seconds as i64 * 1000
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

    fn writable(&mut self, token: usize) {
        if self.connections.get(token).is_some_and(|connection| connection.output.is_some()) && self.write(token, now()) {
            self.account(token);
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // CLIENT PAUSE
    // -----------------------------------------------------------------------------------------------------------------

    /// Keeps the rest of a connection's input until the pause ends, in front of what is held already.
    fn hold(&mut self, token: usize, held: impl IntoIterator<Item = Held, IntoIter: DoubleEndedIterator>) {
        let connection = &mut self.connections[token];
        for piece in held.into_iter().rev() {
            connection.held.push_front(piece);
        }
        connection.session.client.set_flag(ClientFlags::PAUSED, true);
        if !self.paused.contains(&token) {
            self.paused.push(token);
        }
    }

    /// Tries again what waits behind a pause. What still has to wait is held again.
    fn resume_paused(&mut self) {
        for token in std::mem::take(&mut self.paused) {
            self.resume(token);
        }
    }

    fn resume(&mut self, token: usize) {
        let now = now();
        loop {
            let Some(connection) = self.connections.get_mut(token) else {
                return;
            };
            let Some(held) = connection.held.pop_front() else {
                connection.session.client.set_flag(ClientFlags::PAUSED, false);
                // What arrived meanwhile has had its edge.
                self.unfinished.push(token);
                return;
            };
            let pieces = connection.held.len();
            match held {
                Held::Bytes(bytes) => self.consume(token, &bytes),
                Held::Request(request) => {
                    if self.execute_owned(token, request, &[], now) || self.connections.contains(token) {
                        self.finish(token, now);
                    }
                }
            }
            match self.connections.get(token) {
                Some(connection) if connection.held.len() <= pieces && !connection.session.close_after_reply => {}
                // Held again, or gone.
                _ => return,
            }
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
        if !self.paused.is_empty() {
            let world = self.shared.gates.narrow(self.index);
            let is_over = world.global.pause_at(now).is_none();
            drop(world);
            if is_over {
                self.resume_paused();
            }
        }
        if self.expiring.is_none() {
            self.expiring = Some(self.index);
        }
        if self.index == 0 {
            self.shared.tick(now);
            if self.compacting.is_none() && keyspace::slab::wants_compaction() {
                self.compacting = Some(Cursor(0));
            }
        }
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
            let Some(connection) = self.connections.get(token) else {
                continue;
            };
            let client = &connection.session.client;
            let idle_seconds = (now.0 - client.last_interaction.load(Relaxed)) / 1000;
            if self.settings.timeout_seconds > 0 && !connection.is_paused() && idle_seconds > self.settings.timeout_seconds {
                self.shared.log(LogLevel::Verbose, &format!("Closing idle client id={}", client.id));
                self.close(token);
                continue;
            }
            if connection.output.is_some() && !self.within_output_limits(token, now) {
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
        let Some(connection) = self.connections.get_mut(token) else {
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
            self.shared.evict_clients(total, limit as i64, &self.stats);
        }
    }

    /// Removes keys whose time has come from the shards that are this thread's to look after, a slice at a time.
    fn expire_slice(&mut self) {
        let Some(mut shard) = self.expiring else {
            return;
        };
        let threads = self.shared.stats.len();
        let now = now();
        let began = Instant::now();
        let world = self.shared.gates.narrow(self.index);
        let may_expire = world.global.may_expire_actively(now);
        while may_expire && shard < keyspace::SHARD_COUNT {
            let index = ShardIndex::new(shard);
            if world.keyspace.earliest_expiry(index) <= now {
                let mut space = world.keyspace.lock_one(index);
                let mut expired = 0;
                let more = space.expire_due(index, now, EXPIRE_SLICE_KEYS, |_, _| expired += 1);
                self.stats.expired_keys.add(expired);
                if !more {
                    shard += threads;
                }
                self.stats.expire_cycle_ns.add(began.elapsed().as_nanos() as u64);
                self.expiring = (shard < keyspace::SHARD_COUNT).then_some(shard);
                return;
            }
            shard += threads;
        }
        self.expiring = None;
    }

    /// Moves a few entries out of sparse pages.
    fn compact_slice(&mut self) {
        let Some(cursor) = self.compacting else {
            return;
        };
        let world = self.shared.gates.narrow(self.index);
        let next = world.keyspace.compact(cursor, COMPACT_SLICE_ENTRIES);
        self.compacting = (next.0 != 0).then_some(next);
    }
}

/// What a connection without anything waiting is counted as.
const IDLE_BYTES: i64 = (size_of::<Connection>() + size_of::<Client>()) as i64;

/// Where the connection's next reply goes.
fn output<'a>(connection: &'a mut Connection, reply: &'a mut Reply) -> &'a mut Reply {
    match &mut connection.output {
        Some(output) => output,
        None => reply,
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits { bulk_bytes_max: settings.bulk_bytes_max as u64, ..Limits::default() }
}

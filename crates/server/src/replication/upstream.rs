//! Our primary: one thread that has the connection to it, speaks as the machine says, loads its snapshot, and applies its stream.
//!
//! The stream is executed as its primary has executed it: in order, by a session that is refused nothing, on one thread beside the event loops,
//! through the same dispatcher. What has been applied goes into our own log in the same access, as it came: whole units only, so that whoever reads our
//! log (a replica of ours, or the next primary's backlog) never sees half a transaction.
//!
//! Where the snapshot comes on a second connection, the stream comes at once, on the first, and is [kept](super::kept) until the snapshot is loaded: in
//! memory up to `replica-full-sync-buffer-limit`, and beyond that in a file. So our primary never has to wait for us, or to send us away.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Context;
use commands::client::Place;
use commands::{Client, ClientFlags, Session, ThreadStats, World};
use config::{ReplDisklessLoad, directives};
use keyspace::DbIndex;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use resp::Reply;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Socket as Socket2, Type};

use super::frames::{Found, Frames};
use super::kept::Spilled;
use super::*;
use crate::dispatch::{Dispatcher, Job, Progress, Requests, Scratch};
use crate::operation::{memory, priority};
use crate::persistence::{Incoming, OldData};
use crate::shared::now;
use crate::tls::TlsDirectives;

const SOCKET: Token = Token(1);
const CHANNEL: Token = Token(2);
/// So much is read at a time.
const READ_BYTES: usize = 256 << 10;
/// So many commands are executed before what they were is forgotten.
const BATCH_MAX: usize = 64;
/// A line of a handshake is not longer.
const LINE_BYTES_MAX: usize = 4096;

/// What the thread is told.
pub(crate) enum Order {
    Connect(Address),
    Close,
    Send(Vec<u8>),
    /// With the number of the stream, see [`Replication`].
    Receive {
        framing: Framing,
        offset: u64,
        stream: u64,
        /// Where it comes on the second connection, which database the stream goes on with, if that was said.
        channel: Option<Option<u32>>,
    },
    Stream(u64),
    ConnectChannel(Address),
    SendOnChannel(Vec<u8>),
    Keep,
    /// CLIENT KILL.
    Kill(u64),
}

/// The id of the client that the stream is executed as: no connection has it.
pub(crate) const STREAM_CLIENT: u64 = 0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Connecting,
    Lines,
    /// A snapshot was announced, and will be asked for.
    Snapshot,
    /// The stream comes, and cannot be applied yet.
    Keep,
    Stream,
}

/// The connection to our primary.
enum Socket {
    Plain(TcpStream),
    /// `tls-replication`.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Socket {
    fn tcp(&self) -> &TcpStream {
        match self {
            Socket::Plain(stream) => stream,
            Socket::Tls(stream) => &stream.sock,
        }
    }

    fn tcp_mut(&mut self) -> &mut TcpStream {
        match self {
            Socket::Plain(stream) => stream,
            Socket::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Socket {
    /// Reads once, into the room that there is behind what has been read.
    fn read_behind(&mut self, input: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            // A buffer that is cleared first would cost a third of what reading it does.
            Socket::Plain(stream) => Ok(rustix::io::read(stream, rustix::buffer::spare_capacity(input))?),
            Socket::Tls(stream) => {
                let filled = input.len();
                input.resize(input.capacity(), 0);
                let result = stream.read(&mut input[filled..]);
                input.truncate(filled + *result.as_ref().unwrap_or(&0));
                result
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => stream.write(bytes),
            Socket::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Socket::Plain(_) => Ok(()),
            Socket::Tls(stream) => stream.flush(),
        }
    }
}

/// The second connection, for the snapshot.
struct Channel {
    socket: Socket,
    is_connecting: bool,
    input: Vec<u8>,
    at: usize,
    output: Vec<u8>,
}

struct Upstream {
    shared: Arc<Shared>,
    poll: Poll,
    events: Events,
    socket: Option<Socket>,
    /// As CLIENT LIST shows it.
    record: Option<Arc<Client>>,
    mode: Mode,
    /// What has come, and up to where it was looked at, and put into the log.
    input: Vec<u8>,
    at: usize,
    relayed: usize,
    /// What the socket did not take.
    output: Vec<u8>,
    channel: Option<Channel>,
    /// Which connection it is, so that a snapshot notices when its own has ended, also where there is another by then.
    era: u64,
    /// What has come of the stream behind what is in `input`.
    spilled: Spilled,
    frames: Frames,
    applier: Applier,
    /// Which stream it is that is applied.
    stream: u64,
}

/// Starts the thread.
///
/// # Errors
/// The system has no thread for it.
pub(super) fn start(shared: &Arc<Shared>) -> anyhow::Result<()> {
    let poll = Poll::new().context("Cannot watch sockets")?;
    shared.replication.upstream.attend(&poll)?;
    let mut upstream = Upstream {
        shared: shared.clone(),
        poll,
        events: Events::with_capacity(16),
        socket: None,
        record: None,
        mode: Mode::Lines,
        input: Vec::new(),
        at: 0,
        relayed: 0,
        output: Vec::new(),
        channel: None,
        era: 0,
        spilled: Spilled::default(),
        frames: Frames::default(),
        applier: Applier::new(shared),
        stream: 0,
    };
    std::thread::Builder::new()
        .name("primary".to_owned())
        .spawn(move || {
            priority::give_way();
            memory::count_thread();
            upstream.run();
        })
        .context("Cannot start a thread")?;
    Ok(())
}

impl Upstream {
    fn run(&mut self) {
        keyspace::slab::use_arena(self.shared.upstream_gate());
        while !self.shared.is_ending() {
            self.wait(None);
            self.carry_out_all();
            self.go_on_on_channel();
            self.go_on();
            memory::publish();
        }
    }

    /// Sleeps until something has come, at most so long.
    fn wait(&mut self, timeout: Option<Duration>) {
        let timeout = if self.shared.replication.upstream.is_empty() { timeout } else { Some(Duration::ZERO) };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => other.expect("the poll of a thread works"),
        }
    }

    fn carry_out_all(&mut self) {
        for order in self.shared.replication.upstream.take() {
            self.carry_out(order);
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Connect(address) => {
                self.close();
                match self.connect(&address) {
                    Ok(mut socket) => {
                        let interest = Interest::READABLE | Interest::WRITABLE;
                        match self.poll.registry().register(socket.tcp_mut(), SOCKET, interest) {
                            Ok(()) => {
                                self.socket = Some(socket);
                                self.mode = Mode::Connecting;
                            }
                            Err(error) => self.lost(&error.to_string()),
                        }
                    }
                    Err(error) => self.lost(&error.to_string()),
                }
            }
            Order::Close => self.close(),
            Order::Send(bytes) => {
                if self.socket.is_some() {
                    self.output.extend_from_slice(&bytes);
                    self.flush();
                }
            }
            Order::Receive { framing, offset, stream, channel } => {
                self.receive(framing, offset, stream, channel);
            }
            Order::ConnectChannel(address) => self.connect_channel(&address),
            Order::SendOnChannel(bytes) => {
                if let Some(channel) = &mut self.channel {
                    channel.output.extend_from_slice(&bytes);
                    self.flush_channel();
                }
            }
            Order::Keep => self.mode = Mode::Keep,
            Order::Stream(stream) => {
                self.stream = stream;
                self.shared.replication.note_arrears(0);
                self.mode = Mode::Stream;
                self.relayed = self.at;
            }
            Order::Kill(id) => {
                if self.record.as_ref().is_some_and(|record| record.id == id) {
                    self.lost("the connection was killed");
                }
            }
        }
    }

    /// Ends the connection, without a word to the machine.
    fn close(&mut self) {
        self.era += 1;
        if let Some(mut socket) = self.socket.take() {
            let _ = self.poll.registry().deregister(socket.tcp_mut());
        }
        if let Some(record) = self.record.take() {
            record.killed.store(true, Relaxed);
            self.shared.clients.remove(record.id);
        }
        self.input.clear();
        (self.at, self.relayed) = (0, 0);
        self.output.clear();
        self.close_channel();
        self.spilled = Spilled::default();
        self.shared.replication.note_arrears(0);
        self.frames = Frames::default();
        self.applier.forget_unit();
        self.mode = Mode::Lines;
    }

    fn close_channel(&mut self) {
        if let Some(mut channel) = self.channel.take() {
            let _ = self.poll.registry().deregister(channel.socket.tcp_mut());
        }
    }

    /// The second connection has ended by itself.
    fn lost_channel(&mut self, why: &str) {
        self.close_channel();
        self.shared.with_machine(None, |machine, now, _| machine.channel_disconnected(now, why));
    }

    fn connect_channel(&mut self, address: &Address) {
        self.close_channel();
        let connected = self.connect(address).and_then(|mut socket| {
            self.poll.registry().register(socket.tcp_mut(), CHANNEL, Interest::READABLE | Interest::WRITABLE)?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => {
                self.channel =
                    Some(Channel { socket, is_connecting: true, input: Vec::new(), at: 0, output: Vec::new() });
            }
            Err(error) => self.lost_channel(&error.to_string()),
        }
    }

    fn flush_channel(&mut self) {
        let Some(channel) = self.channel.as_mut().filter(|channel| !channel.is_connecting) else { return };
        if let Err(error) = write_out(&mut channel.socket, &mut channel.output) {
            self.lost_channel(&error.to_string());
        }
    }

    /// Goes on with the second connection up to its snapshot, which is received when the machine says so.
    fn go_on_on_channel(&mut self) {
        if let Some(channel) = &mut self.channel
            && channel.is_connecting
        {
            match is_connected(&channel.socket) {
                Ok(false) => return,
                Ok(true) => channel.is_connecting = false,
                Err(error) => return self.lost_channel(&error.to_string()),
            }
            self.shared.with_machine(None, |machine, now, _| machine.channel_connected(now));
            self.carry_out_all();
        }
        self.flush_channel();
        loop {
            let has_lines = self.shared.with_machine(None, |machine, _, _| machine.channel_has_lines());
            let Some(channel) = self.channel.as_mut().filter(|_| has_lines) else { return };
            let rest = &channel.input[channel.at..];
            if let Some(len) = rest.iter().position(|&byte| byte == b'\n') {
                let line = rest[..len].strip_suffix(b"\r").unwrap_or(&rest[..len]).to_vec();
                channel.at += len + 1;
                self.shared.with_machine(None, |machine, now, _| machine.channel_line(now, &line));
                self.carry_out_all();
                continue;
            }
            if rest.len() > LINE_BYTES_MAX {
                return self.lost_channel("what should be a line has no end");
            }
            match self.read_channel() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.lost_channel(&error.to_string()),
            }
        }
    }

    /// Reads once from the second connection. False if there is nothing.
    fn read_channel(&mut self) -> io::Result<bool> {
        let Some(channel) = &mut self.channel else { return Ok(false) };
        channel.input.drain(..channel.at);
        channel.at = 0;
        match read_some(&mut channel.socket, &mut channel.input)? {
            Some(count) => {
                self.shared.replication.note_input(count);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Reads what the stream brings while the snapshot comes, or is loaded.
    fn keep(&mut self) -> io::Result<()> {
        if self.mode == Mode::Keep {
            while self.read()? {}
        }
        Ok(())
    }

    /// The connection has ended by itself.
    fn lost(&mut self, why: &str) {
        self.close();
        self.shared.with_machine(None, |machine, now, _| machine.disconnected(now, why));
    }

    fn flush(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        if self.mode == Mode::Connecting {
            return;
        }
        if let Err(error) = write_out(socket, &mut self.output) {
            self.lost(&error.to_string());
        }
    }

    /// Reads and executes until nothing more has come.
    fn go_on(&mut self) {
        if self.mode == Mode::Connecting && !self.finish_connecting() {
            return;
        }
        self.flush();
        loop {
            if !self.digest() {
                return;
            }
            match self.read() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.lost(&error.to_string()),
            }
            if !self.shared.replication.upstream.is_empty() {
                self.carry_out_all();
            }
        }
    }

    /// Begins to connect. With TLS the handshake follows by itself, when the first bytes are sent.
    fn connect(&self, address: &Address) -> io::Result<Socket> {
        let config = self.shared.gates.narrow(self.shared.upstream_gate()).global.config.clone();
        let stream = connect(address, &config.text(directives::BIND_SOURCE_ADDR))?;
        if !config.get(directives::TLS_REPLICATION) {
            return Ok(Socket::Plain(stream));
        }
        let terms = TlsDirectives::of(&config).load_outgoing().map_err(io::Error::other)?;
        let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(terms, name).map_err(io::Error::other)?;
        Ok(Socket::Tls(Box::new(StreamOwned::new(connection, stream))))
    }

    fn finish_connecting(&mut self) -> bool {
        let Some(socket) = &self.socket else { return false };
        match is_connected(socket) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                self.lost(&error.to_string());
                return false;
            }
        }
        self.mode = Mode::Lines;
        self.show();
        self.shared.with_machine(None, |machine, now, _| machine.connected(now));
        self.carry_out_all();
        true
    }

    /// Makes the connection one that CLIENT LIST shows and CLIENT KILL finds.
    fn show(&mut self) {
        let Some(socket) = &self.socket else { return };
        let text =
            |address: io::Result<std::net::SocketAddr>| address.map_or_else(|_| String::new(), |it| it.to_string());
        let (address, local_address) = (text(socket.tcp().peer_addr()), text(socket.tcp().local_addr()));
        let place = Place { thread: 0, token: usize::MAX };
        let id = self.shared.clients.next_id();
        let client = Arc::new(Client::new(id, place, address, local_address, socket.tcp().as_raw_fd(), now()));
        client.set_flag(ClientFlags::PRIMARY, true);
        // As Redis shows who is refused nothing.
        client.text.lock().user = b"(superuser)".to_vec();
        self.shared.clients.insert(client.clone());
        self.record = Some(client);
    }

    /// Reads once. False if there is nothing.
    fn read(&mut self) -> io::Result<bool> {
        let Some(socket) = &mut self.socket else { return Ok(false) };
        if self.mode == Mode::Keep && self.spilled.is_stuck() {
            return Ok(false);
        }
        // What was put into the log is not needed any more.
        let done = if self.mode == Mode::Stream { self.relayed } else { self.at };
        if done > 0 && (done == self.input.len() || done >= READ_BYTES) {
            self.input.drain(..done);
            self.at -= done;
            self.relayed = self.relayed.saturating_sub(done);
            if self.input.len() < READ_BYTES && self.input.capacity() > 8 * READ_BYTES {
                self.input.shrink_to(READ_BYTES);
            }
        }
        // First what came first.
        if self.mode == Mode::Stream && self.spilled.take(READ_BYTES, &mut self.input)? {
            return Ok(true);
        }
        let filled = self.input.len();
        let Some(count) = read_some(socket, &mut self.input)? else { return Ok(false) };
        self.shared.replication.note_input(count);
        if let Some(record) = &self.record {
            record.net_input_bytes.add(count as u64);
            record.last_interaction.store(now().0, Relaxed);
        }
        if self.mode == Mode::Keep {
            let kept = filled - self.at;
            if !self.spilled.is_empty() || kept + count > self.shared.replication.arrears_bytes_max() {
                self.spilled.put(&self.input[filled..]);
                self.input.truncate(filled);
            }
            self.shared.replication.note_arrears(self.input.len() - self.at);
        }
        Ok(true)
    }

    /// Does what can be done with what has come. False when the connection has gone, or waits for an order.
    fn digest(&mut self) -> bool {
        loop {
            if self.socket.is_none() {
                return false;
            }
            match self.mode {
                Mode::Connecting | Mode::Snapshot => return false,
                Mode::Keep => return true,
                Mode::Lines => {
                    let rest = &self.input[self.at..];
                    let Some(len) = rest.iter().position(|&byte| byte == b'\n') else {
                        if rest.len() > LINE_BYTES_MAX {
                            self.lost("what should be a line has no end");
                            return false;
                        }
                        return true;
                    };
                    let line = rest[..len].strip_suffix(b"\r").unwrap_or(&rest[..len]).to_vec();
                    self.at += len + 1;
                    self.shared.with_machine(None, |machine, now, log| machine.line(now, &line, log));
                    // What follows may be something else than a line.
                    self.carry_out_all();
                }
                Mode::Stream => {
                    match self.apply() {
                        Ok(true) => {}
                        Ok(false) => return true,
                        Err(reason) => {
                            self.lost(&format!("its stream cannot be applied: {reason}"));
                            return false;
                        }
                    }
                    if !self.shared.replication.upstream.is_empty() {
                        self.carry_out_all();
                    }
                }
            }
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // The stream
    // -----------------------------------------------------------------------------------------------------------------

    /// Executes some of the commands that have come. False if there is no whole one.
    fn apply(&mut self) -> Result<bool, String> {
        let Upstream { shared, input, at, relayed, frames, applier, stream, .. } = self;
        let mut requests = std::mem::take(&mut applier.requests).recycle();
        let ends = &mut applier.ends;
        ends.clear();
        let mut any = false;
        while requests.len() < BATCH_MAX {
            let bytes = &input[*at..];
            match frames.next(bytes)? {
                Found::Incomplete => break,
                Found::Nothing(len) => *at += len,
                Found::Command(len) => {
                    let first = requests.args.len();
                    requests.args.extend(frames.args(bytes));
                    *at += len;
                    let name = requests.args[first];
                    if name.eq_ignore_ascii_case(b"MULTI") {
                        applier.in_unit = true;
                    } else if name.eq_ignore_ascii_case(b"EXEC") {
                        applier.in_unit = false;
                    }
                    requests.close(0);
                    // Up to where units are whole behind it: in a transaction, where that begins.
                    let end = if applier.in_unit { applier.whole } else { *at - *relayed };
                    applier.whole = end;
                    ends.push(end);
                }
            }
            any = true;
        }
        if requests.is_empty() {
            applier.requests = requests.recycle();
            return Ok(any);
        }
        let relay = Relay { bytes: &input[*relayed..], ends, done: Cell::new(0), stream: *stream };
        let executed = applier.executor.execute(shared, &requests, &relay);
        let done = relay.done.get();
        *relayed += done;
        applier.whole -= done;
        applier.requests = requests.recycle();
        if !executed? {
            return Ok(false);
        }
        shared.applied();
        Ok(true)
    }

    // -----------------------------------------------------------------------------------------------------------------
    // The snapshot
    // -----------------------------------------------------------------------------------------------------------------

    /// Receives a snapshot and makes it the data. Whatever comes behind it stays in `input`, as does what comes beside it.
    fn receive(&mut self, framing: Framing, offset: u64, stream: u64, channel: Option<Option<u32>>) {
        if channel.is_none() {
            self.mode = Mode::Snapshot;
        }
        let shared = self.shared.clone();
        let (began, era) = (Instant::now(), self.era);
        let (config, is_empty) = {
            let mut world = shared.gates.wide();
            let World { global, keyspace } = &mut *world;
            // SAFETY: all gates are closed, and no other Space exists.
            let space = unsafe { keyspace.wide() };
            let keys: usize = (0..space.db_count()).map(|db| space.len(DbIndex(db as u32))).sum();
            (global.config.clone(), keys == 0)
        };
        // What we have is an earlier state of the same, or of something else that nobody wants to read meanwhile.
        let is_earlier = shared
            .with_machine(None, |machine, _, log| log.first.is_some() && machine.history().id == machine.upstream_id());
        let (from_socket, old) = match config.get(directives::REPL_DISKLESS_LOAD) {
            ReplDisklessLoad::Disabled => (false, OldData::Go),
            ReplDisklessLoad::OnEmptyDb => (is_empty, OldData::Go),
            ReplDisklessLoad::Swapdb if is_earlier => (true, OldData::AreServed),
            ReplDisklessLoad::Swapdb => (true, OldData::Stay),
            ReplDisklessLoad::FlushBeforeLoad => (true, OldData::Go),
        };
        let incoming = Incoming { old, offset, stream };
        LOG.notice(&format!(
            "PRIMARY <-> REPLICA sync: receiving {} from primary {}",
            match framing {
                Framing::Length(bytes) => format!("{bytes} bytes"),
                _ => "streamed RDB".to_owned(),
            },
            if from_socket { "to parser" } else { "to disk" }
        ));
        let loaded = if from_socket {
            let mut source = Source::new(self, framing);
            shared.load_from_primary(&mut source, &incoming).and_then(|rest| source.finish(rest))
        } else {
            self.receive_file(framing).and_then(|file| {
                let bytes = file.metadata().map_or(0, |metadata| metadata.len());
                let file = Attended { upstream: self, era, inner: file, bytes, looked: Instant::now() };
                shared.load_from_primary(file, &incoming)?;
                Ok(())
            })
        };
        self.close_channel();
        // Orders that came meanwhile and end the connection.
        match loaded {
            Ok(()) => {
                LOG.notice(&format!(
                    "PRIMARY <-> REPLICA sync: finished with success in {:.3} seconds",
                    began.elapsed().as_secs_f64()
                ));
                if let Some(db) = channel.flatten() {
                    shared.replication.note_stream_db(db);
                }
                self.applier.begin_at(shared.replication.stream_db());
                shared.with_machine(None, |machine, now, _| machine.snapshot_loaded(now));
            }
            Err(reason) => {
                if self.era == era {
                    self.close();
                    shared.with_machine(None, |machine, now, _| machine.snapshot_failed(now, &reason));
                } else {
                    LOG.warning(&format!("PRIMARY <-> REPLICA sync: failed: {reason}"));
                }
            }
        }
    }

    /// Carries out what was ordered while a snapshot comes, or is loaded.
    fn attend(&mut self) {
        if !self.shared.replication.upstream.is_empty() {
            self.carry_out_all();
        }
        self.flush();
    }

    /// Receives a snapshot into a file of its own, which goes with its handle.
    fn receive_file(&mut self, framing: Framing) -> Result<File, String> {
        let path = PathBuf::from(format!("temp-{}.{}.rdb", now().0 / 1000, std::process::id()));
        let text = |error: io::Error| format!("the snapshot cannot be kept on disk: {error}");
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&path).map_err(text)?;
        std::fs::remove_file(&path).map_err(text)?;
        let mut source = Source::new(self, framing);
        let mut buffer = vec![0; READ_BYTES];
        match framing {
            Framing::Mark(mark) => {
                // The last bytes so far, which may be the beginning of the mark: nothing follows it before we say that we are ready.
                let mut tail: Vec<u8> = Vec::new();
                loop {
                    let count = source.read(&mut buffer).map_err(|error| error.to_string())?;
                    tail.extend_from_slice(&buffer[..count]);
                    if tail.ends_with(&mark) {
                        tail.truncate(tail.len() - mark.len());
                        file.write_all(&tail).map_err(text)?;
                        break;
                    }
                    let sure = tail.len().saturating_sub(mark.len());
                    file.write_all(&tail[..sure]).map_err(text)?;
                    tail.drain(..sure);
                    if count == 0 {
                        return Err("the primary has closed the connection in the middle of the snapshot".to_owned());
                    }
                }
            }
            _ => {
                while source.left != Some(0) {
                    match source.read(&mut buffer).map_err(|error| error.to_string())? {
                        0 => {
                            return Err(
                                "the primary has closed the connection in the middle of the snapshot".to_owned()
                            );
                        }
                        count => file.write_all(&buffer[..count]).map_err(text)?,
                    }
                }
            }
        }
        io::Seek::rewind(&mut file).map_err(text)?;
        Ok(file)
    }
}

/// The connection as the source of a snapshot. While it waits it carries out what the machine says, which also gives it up.
struct Source<'a> {
    upstream: &'a mut Upstream,
    era: u64,
    framing: Framing,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
    read: u64,
}

impl<'a> Source<'a> {
    fn new(upstream: &'a mut Upstream, framing: Framing) -> Source<'a> {
        let left = match framing {
            Framing::Length(bytes) => Some(bytes),
            _ => None,
        };
        Source { era: upstream.era, upstream, framing, left, read: 0 }
    }

    /// The snapshot was loaded, and the reader had these bytes more: behind them must come the mark.
    fn finish(mut self, rest: Vec<u8>) -> Result<(), String> {
        match self.framing {
            Framing::Mark(mark) => {
                let mut end = rest;
                let mut buffer = [0; 4096];
                while end.len() < mark.len() {
                    let count = self.read(&mut buffer).map_err(|error| error.to_string())?;
                    end.extend_from_slice(&buffer[..count]);
                }
                if !end.starts_with(&mark) {
                    return Err("the snapshot does not end with its mark".to_owned());
                }
                // What was read beyond it belongs to the stream.
                let behind = end.split_off(mark.len());
                if self.upstream.mode != Mode::Keep {
                    let at = self.upstream.at;
                    self.upstream.input.splice(at..at, behind);
                }
                Ok(())
            }
            _ => match (self.left, rest.is_empty()) {
                (Some(0), true) => Ok(()),
                _ => Err("the snapshot is longer than what was read of it".to_owned()),
            },
        }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let max = self.left.map_or(buffer.len(), |left| buffer.len().min(left as usize));
        if max == 0 {
            return Ok(0);
        }
        priority::breathe();
        loop {
            let upstream = &mut *self.upstream;
            let is_beside = upstream.mode == Mode::Keep;
            if upstream.era != self.era || (is_beside && upstream.channel.is_none()) || upstream.shared.is_ending() {
                return Err(io::Error::other("called off"));
            }
            let (input, at) = match &mut upstream.channel {
                Some(channel) if is_beside => (&channel.input, &mut channel.at),
                _ => (&upstream.input, &mut upstream.at),
            };
            let rest = &input[*at..];
            if !rest.is_empty() {
                let count = rest.len().min(max);
                buffer[..count].copy_from_slice(&rest[..count]);
                *at += count;
                self.read += count as u64;
                self.left = self.left.map(|left| left - count as u64);
                return Ok(count);
            }
            upstream.keep()?;
            if if is_beside { upstream.read_channel()? } else { upstream.read()? } {
                let read = self.read;
                upstream.shared.with_machine(None, |machine, now, _| machine.snapshot_progress(now, read));
            } else {
                upstream.wait(None);
            }
            upstream.attend();
        }
    }
}

/// A file that is loaded, while the connections it has come on are attended to.
struct Attended<'a> {
    upstream: &'a mut Upstream,
    era: u64,
    inner: File,
    bytes: u64,
    looked: Instant,
}

/// How often.
const LOOK: Duration = Duration::from_millis(10);

impl Read for Attended<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            let upstream = &mut *self.upstream;
            let bytes = self.bytes;
            upstream.shared.with_machine(None, |machine, now, _| machine.snapshot_progress(now, bytes));
            upstream.keep()?;
            upstream.attend();
            if upstream.era != self.era || upstream.shared.is_ending() {
                return Err(io::Error::other("called off"));
            }
        }
        self.inner.read(buffer)
    }
}

/// Reads once, behind what there is. None if there is nothing.
fn read_some(socket: &mut Socket, input: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let filled = input.len();
    // Where much is kept, twice as much is more than was promised.
    input.reserve_exact(if input.capacity() - filled < READ_BYTES { READ_BYTES.max(filled / 8) } else { 0 });
    let result = loop {
        match socket.read_behind(input) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other,
        }
    };
    match result {
        Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the primary has closed the connection")),
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes what the socket takes.
fn write_out(socket: &mut Socket, output: &mut Vec<u8>) -> io::Result<()> {
    while !output.is_empty() {
        match socket.write(output) {
            Ok(written) => drop(output.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    match socket.flush() {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

/// Whether a connection that was begun stands by now.
fn is_connected(socket: &Socket) -> io::Result<bool> {
    if let Ok(Some(error)) | Err(error) = socket.tcp().take_error() {
        return Err(error);
    }
    match socket.tcp().peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

fn connect(address: &Address, source: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", address.host));
    for address in (address.host.as_str(), address.port).to_socket_addrs()? {
        match connect_from(source, address) {
            Ok(socket) => {
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Begins to connect, from `bind-source-addr` where that is possible. As in Redis, an address that is not ours is no reason to stay alone.
fn connect_from(source: &str, address: SocketAddr) -> io::Result<TcpStream> {
    if source.is_empty() {
        return TcpStream::connect(address);
    }
    let from = |source: SocketAddr| -> io::Result<Socket2> {
        let socket = Socket2::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
        socket.bind(&source.into())?;
        Ok(socket)
    };
    let bound = (source, 0).to_socket_addrs().and_then(|sources| {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it is no address of the primary's kind");
        for source in sources.filter(|source| source.is_ipv4() == address.is_ipv4()) {
            match from(source) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    });
    let socket = match bound {
        Ok(socket) => socket,
        Err(error) => {
            LOG.warning(&format!(
                "Cannot connect from bind-source-addr '{source}': {error}. Connecting from any address."
            ));
            return TcpStream::connect(address);
        }
    };
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// What has come of a stream, and up to where it may go into our own log.
pub(crate) struct Relay<'a> {
    bytes: &'a [u8],
    /// For each request: up to where units are whole when it has been executed.
    ends: &'a [usize],
    done: Cell<usize>,
    stream: u64,
}

impl Relay<'_> {
    /// Whether this stream is still ours to apply, which can change between two accesses: a promoted replica has a stream of its own, and what has
    /// come of the old one and was not applied is nobody's any more. To be asked under the access that is to execute.
    pub(crate) fn is_current(&self, shared: &Shared) -> bool {
        shared.replication.is_stream(self.stream)
    }

    /// The requests before this one have been executed. Under the access that did it.
    pub(crate) fn executed(&self, shared: &Shared, next: usize) {
        let Some(end) = next.checked_sub(1).map(|last| self.ends[last]) else { return };
        let done = self.done.get();
        if end > done {
            shared.persistence.journal.append_to_replicas(&self.bytes[done..end]);
            self.done.set(end);
        }
    }
}

struct Applier {
    executor: Executor,
    requests: Requests<'static>,
    ends: Vec<usize>,
    /// Between MULTI and EXEC.
    in_unit: bool,
    /// Up to where units are whole, from what was relayed.
    whole: usize,
}

/// Whoever executes the stream: not a client, but with a session of its own.
struct Executor {
    /// The gate.
    thread: usize,
    stats: ThreadStats,
    scratch: Scratch,
    session: Session,
    reply: Reply,
}

impl Applier {
    fn new(shared: &Arc<Shared>) -> Applier {
        let thread = shared.upstream_gate();
        let place = Place { thread: 0, token: usize::MAX };
        let client = Client::new(STREAM_CLIENT, place, String::new(), String::new(), -1, now());
        let mut session = Session::new(Arc::new(client), true, true);
        session.replays = true;
        let executor = Executor {
            thread,
            stats: ThreadStats::new(shared.registry.all().len()),
            scratch: Scratch::default(),
            session,
            reply: Reply::default(),
        };
        Applier { executor, requests: Requests::default(), ends: Vec::new(), in_unit: false, whole: 0 }
    }

    /// The stream goes on in this database.
    fn begin_at(&mut self, db: u32) {
        self.forget_unit();
        self.executor.session.select(DbIndex(db));
    }

    /// The rest of a transaction will not come.
    fn forget_unit(&mut self) {
        self.executor.session.transaction = None;
        self.in_unit = false;
        self.whole = 0;
    }
}

impl Executor {
    /// False if the stream has ended meanwhile.
    fn execute(&mut self, shared: &Shared, requests: &Requests<'_>, relay: &Relay<'_>) -> Result<bool, String> {
        let mut next = 0;
        while next < requests.len() {
            self.reply.clear();
            let mut jobs = [Job::new(requests, next, &[], &mut self.session, &mut self.reply)];
            Dispatcher {
                shared,
                thread: self.thread,
                stats: &self.stats,
                scratch: &mut self.scratch,
                front: None,
                runs_scripts: true,
                relay: Some(relay),
            }
            .run(&mut jobs);
            let [job] = jobs;
            match job.progress() {
                Progress::Done => break,
                Progress::Full { at } => next = at,
                Progress::Script { .. } => unreachable!("the stream is alone on its thread"),
                Progress::Closed if !relay.is_current(shared) => return Ok(false),
                Progress::Closed | Progress::Gone | Progress::Paused { .. } | Progress::Blocked { .. } => {
                    return Err("it has a command that ends a connection".to_owned());
                }
            }
        }
        shared.replication.note_stream_db(self.session.db.0);
        Ok(true)
    }
}

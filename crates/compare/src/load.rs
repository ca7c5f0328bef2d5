//! The load generator: one thread, C connections, and on each of them a batch of D requests in flight.
//!
//! A connection gets its next batch when every reply of the last one is there, which is what `redis-benchmark` does too. Requests are
//! counted exactly: a run ends with no request unanswered, so that the CPU time of the server at its end belongs to them and to
//! nothing else.

use crate::reply::{Tally, scan};
use crate::request::{Batch, Template};
use crate::target::Door;
use crate::workload::Listeners;
use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// No server here may stay silent for so long.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// When a run is over.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// Exactly so many requests.
    Requests(u64),
    /// No new request after this time.
    Elapsed(Duration),
}

/// Connections to one server, ready to send one template.
pub struct Load {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    /// Their tokens come behind those of the connections.
    listeners: Vec<Listener>,
    /// What each of them gets for each request.
    message_bytes: u64,
    depth: usize,
    read_buffer: Vec<u8>,
}

/// A connection that listens to a channel.
struct Listener {
    stream: TcpStream,
    /// Bytes of messages so far.
    received: u64,
}

struct Connection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    batch: Batch,
    /// Requests of the batch in flight, and the part of their bytes that the socket has taken.
    requests: usize,
    written: usize,
    /// Replies that are missing.
    unanswered: u64,
    /// The beginning of a reply whose end has not come.
    partial: Vec<u8>,
}

impl Load {
    pub fn connect(door: impl Into<Door>, template: &Template, connections: usize, depth: usize) -> Result<Load> {
        let Door { address, tls: config } = door.into();
        let poll = Poll::new()?;
        let connections = (0..connections)
            .map(|index| {
                // Connecting in blocking mode: a refused connection shows here and not in the middle of a run.
                let mut stream =
                    std::net::TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
                stream.set_nodelay(true)?;
                let mut tls = None;
                if let Some(config) = &config {
                    let name = ServerName::try_from("localhost")?;
                    let connection = tls.insert(Box::new(ClientConnection::new(config.clone(), name)?));
                    while connection.is_handshaking() {
                        connection.complete_io(&mut stream).context("shaking hands")?;
                    }
                }
                stream.set_nonblocking(true)?;
                let mut stream = TcpStream::from_std(stream);
                poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
                Ok(Connection {
                    stream,
                    tls,
                    batch: template.batch(depth),
                    requests: 0,
                    written: 0,
                    unanswered: 0,
                    partial: Vec::new(),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Load {
            poll,
            events: Events::with_capacity(1024),
            connections,
            listeners: Vec::new(),
            message_bytes: 0,
            depth,
            read_buffer: vec![0; READ_BUFFER_BYTES],
        })
    }

    /// From now on others listen: every request is a message to all of them.
    pub fn listen(&mut self, address: SocketAddr, listeners: &Listeners) -> Result<()> {
        let Listeners { count, channel, payload_bytes } = *listeners;
        let bulk = |length: usize| format!("${length}\r\n").len() + length + 2;
        self.message_bytes =
            ("*3\r\n".len() + bulk("message".len()) + bulk(channel.len()) + bulk(payload_bytes)) as u64;
        for index in 0..count {
            let mut stream =
                std::net::TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
            stream.write_all(format!("SUBSCRIBE {channel}\r\n").as_bytes())?;
            let mut confirmation = vec![0; "*3\r\n:1\r\n".len() + bulk("subscribe".len()) + bulk(channel.len())];
            stream.read_exact(&mut confirmation).context("waiting for SUBSCRIBE to be confirmed")?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            self.poll.registry().register(&mut stream, Token(self.connections.len() + index), Interest::READABLE)?;
            self.listeners.push(Listener { stream, received: 0 });
        }
        Ok(())
    }

    /// Sends requests until `until`, waits for all replies, and until all who listen have heard them, and returns the tally of the replies.
    ///
    /// # Errors
    /// An error reply, a closed connection, or silence.
    pub fn run(&mut self, until: Until, number: &mut dyn FnMut() -> u64) -> Result<Tally> {
        let started = Instant::now();
        let mut budget = Budget { until, deadline: started, unsent: 0 };
        match until {
            Until::Requests(count) => budget.unsent = count,
            Until::Elapsed(time) => budget.deadline += time,
        }
        let mut tally = Tally::default();
        let mut busy = 0usize;
        self.listeners.iter_mut().for_each(|listener| listener.received = 0);
        for connection in &mut self.connections {
            busy += usize::from(connection.send(budget.take(self.depth), number)?);
        }
        while busy > 0 || self.is_any_waiting(tally.replies) {
            match self.poll.poll(&mut self.events, Some(SILENCE_MAX)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            if self.events.is_empty() {
                bail!("no reply for {} s", SILENCE_MAX.as_secs());
            }
            for event in &self.events {
                let token = event.token().0;
                if token >= self.connections.len() {
                    self.listeners[token - self.connections.len()].receive(&mut self.read_buffer)?;
                    continue;
                }
                let connection = &mut self.connections[token];
                if event.is_writable() {
                    connection.write_rest()?;
                }
                if event.is_readable() && connection.unanswered > 0 {
                    connection.receive(&mut self.read_buffer, &mut tally)?;
                    if connection.unanswered == 0 && !connection.send(budget.take(self.depth), number)? {
                        busy -= 1;
                    }
                }
            }
        }
        if self.listeners.iter().any(|listener| listener.received != tally.replies * self.message_bytes) {
            bail!("somebody who listens has heard something else than the messages");
        }
        // Per request, not per command.
        tally.replies /= self.connections.first().map_or(1, |connection| connection.batch.replies());
        Ok(tally)
    }

    /// Whether anybody has not heard all messages yet.
    fn is_any_waiting(&self, messages: u64) -> bool {
        self.listeners.iter().any(|listener| listener.received < messages * self.message_bytes)
    }
}

impl Listener {
    /// Readiness is edge-triggered, as in [`Connection::receive`].
    fn receive(&mut self, buffer: &mut [u8]) -> Result<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed a connection that listens"),
                Ok(count) => {
                    self.received += count as u64;
                    if count < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("listening"),
            }
        }
    }
}

/// What is left to send.
struct Budget {
    until: Until,
    deadline: Instant,
    unsent: u64,
}

impl Budget {
    /// The size of the next batch; 0 when the run is over.
    fn take(&mut self, depth: usize) -> usize {
        match self.until {
            Until::Requests(_) => {
                let count = self.unsent.min(depth as u64);
                self.unsent -= count;
                count as usize
            }
            Until::Elapsed(_) if Instant::now() < self.deadline => depth,
            Until::Elapsed(_) => 0,
        }
    }
}

impl Connection {
    /// Starts a batch of `count` requests; false if there was none to start.
    fn send(&mut self, count: usize, number: &mut dyn FnMut() -> u64) -> Result<bool> {
        if count == 0 {
            return Ok(false);
        }
        self.batch.fill(count, number);
        self.requests = count;
        self.unanswered = count as u64 * self.batch.replies();
        self.written = 0;
        self.write_rest()?;
        Ok(true)
    }

    fn write_rest(&mut self) -> Result<()> {
        let bytes = self.batch.filled(self.requests);
        if let Some(tls) = &mut self.tls {
            while self.written < bytes.len() {
                self.written += tls.writer().write(&bytes[self.written..])?;
                if !flush(tls, &mut self.stream)? {
                    break;
                }
            }
            flush(tls, &mut self.stream)?;
            return Ok(());
        }
        while self.written < bytes.len() {
            match self.stream.write(&bytes[self.written..]) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("writing"),
            }
        }
        Ok(())
    }

    /// Readiness is edge-triggered, so this reads until the socket is empty; a short read says so without another call.
    fn receive(&mut self, buffer: &mut [u8], tally: &mut Tally) -> Result<()> {
        let before = tally.replies;
        loop {
            let read = match &mut self.tls {
                None => self.stream.read(buffer),
                Some(tls) => read_encrypted(tls, &mut self.stream, buffer),
            };
            let count = match read {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("reading"),
            };
            if self.partial.is_empty() {
                let consumed = scan(&buffer[..count], tally)?;
                self.partial.extend_from_slice(&buffer[consumed..count]);
            } else {
                self.partial.extend_from_slice(&buffer[..count]);
                let consumed = scan(&self.partial, tally)?;
                self.partial.drain(..consumed);
            }
            if count < buffer.len() && self.tls.is_none() {
                break;
            }
        }
        let answered = tally.replies - before;
        if answered > self.unanswered {
            bail!("{} replies too many", answered - self.unanswered);
        }
        self.unanswered -= answered;
        Ok(())
    }
}

/// Sends what TLS holds; false when the socket is full.
fn flush(tls: &mut ClientConnection, stream: &mut TcpStream) -> std::io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn read_encrypted(tls: &mut ClientConnection, stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match tls.reader().read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => return other,
        }
        if tls.read_tls(stream)? == 0 {
            return Ok(0);
        }
        tls.process_new_packets().map_err(std::io::Error::other)?;
    }
}

/// A few connections with deep pipelines: for set-up, where only the result counts.
pub fn fill(address: SocketAddr, template: &Template, count: u64, number: &mut dyn FnMut() -> u64) -> Result<Tally> {
    Load::connect(address, template, 8, 64)?.run(Until::Requests(count), number)
}

/// Numbers from `first` upwards.
pub fn sequence(first: u64) -> impl FnMut() -> u64 {
    let mut next = first;
    move || {
        next += 1;
        next - 1
    }
}

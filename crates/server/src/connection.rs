//! One client's connection, as its event loop keeps it.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use commands::Session;
use keyspace::Millis;
use resp::{Decoder, Owned, Proto, Reply};

use crate::listener::Stream;
use crate::socket;

/// A client that reads as fast as it is sent to gets so much before others have their turn.
pub const WRITE_BYTES_MAX: usize = 1024 * 1024;
/// So many pieces go into one system call.
const SLICES_MAX: usize = 64;

pub struct Connection {
    pub stream: Stream,
    pub session: Session,
    pub decoder: Decoder,
    pub proto: Proto,
    /// What the socket did not take. Replies are appended here as long as it exists.
    pub output: Option<Box<Reply>>,
    /// Replies that wait until what they tell of is safe, in order: they come behind the output.
    pub undurable: VecDeque<Undurable>,
    /// So many commands had been answered when a reply last left, or began to wait there.
    commands_answered: u64,
    /// Input that waits behind CLIENT PAUSE or a blocking command, in order. While there is any nothing more is read.
    pub held: VecDeque<Held>,
    /// Waits for a key. Nothing is executed or read before the reply comes, by mail.
    pub blocked: Option<Blocked>,
    /// Since when the output is above the soft limit.
    pub soft_limit_since: Option<Millis>,
    /// The peer has closed its side; what it sent before may still wait to be read.
    pub peer_ended: bool,
    /// What this connection adds to the memory of all clients.
    pub counted_bytes: i64,
    /// The last that it has sent was or held a script.
    pub calls_scripts: bool,
    /// The loop's period in which it had its last turn.
    pub active_in: u32,
    /// The last of the loop's orders that was asked whether to give it away: see [`Order`](crate::balance::Order).
    pub asked_in: u32,
    /// It goes as soon as it can.
    pub is_leaving: bool,
}

/// A reply that must not be sent yet.
pub struct Undurable {
    /// What it tells of is safe when the streams are so up to here.
    pub until: Extent,
    pub reply: Reply,
    /// So many commands were answered.
    pub commands: u64,
    /// One of them has changed something.
    pub has_changed: bool,
    pub since: Instant,
}

/// What the replies that leave now are for.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// So many commands.
    pub count: u64,
    pub has_changed: bool,
    pub has_seen: bool,
}

/// How far something reaches in the journal's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// In that of our own append-only file: on its disk.
    pub file: u64,
    /// In that of replicas: acknowledged by as many as must have it.
    pub replicas: u64,
}

impl Extent {
    pub fn covers(self, other: Extent) -> bool {
        self.file >= other.file && self.replicas >= other.replicas
    }
}

/// The state of a connection whose client is blocked in a command. That it waits, and for what, stands in the world's
/// [`Waiters`](commands::blocking::Waiters).
#[derive(Clone, Copy, Debug)]
pub struct Blocked {
    /// `None`: it waits for ever.
    pub deadline: Option<Instant>,
}

/// A piece of the input of a connection that waits.
pub enum Held {
    /// Undecoded bytes, beginning with a whole request.
    Bytes(Vec<u8>),
    /// A decoded request.
    Request(Owned),
}

impl Connection {
    pub fn new(stream: Stream, session: Session) -> Connection {
        Connection {
            stream,
            session,
            decoder: Decoder::new(),
            proto: Proto::Resp2,
            output: None,
            undurable: VecDeque::new(),
            commands_answered: 0,
            held: VecDeque::new(),
            blocked: None,
            soft_limit_since: None,
            peer_ended: false,
            counted_bytes: 0,
            calls_scripts: false,
            active_in: 0,
            asked_in: 0,
            is_leaving: false,
        }
    }

    /// Nothing more may be read or executed now.
    pub fn waits(&self) -> bool {
        self.blocked.is_some() || !self.held.is_empty()
    }

    /// Nothing of it lies elsewhere than here: another event loop may have it.
    pub fn can_move(&self) -> bool {
        !self.waits()
            && self.output.is_none()
            && self.undurable.is_empty()
            && !self.session.close_after_reply
            && self.session.becomes_replica.is_none()
            && !self.session.client.killed.load(Relaxed)
    }

    /// Bytes that wait to be sent.
    pub fn output_bytes(&self) -> usize {
        let undurable: usize = self.undurable.iter().map(|undurable| undurable.reply.len()).sum();
        self.output.as_ref().map_or(0, |output| output.len()) + undurable
    }

    /// The replies so far leave, or wait: says how many commands they are for, and whether these have changed or looked at anything.
    #[inline]
    pub fn take_answered(&mut self) -> Answered {
        let answered = self.session.client.commands.get() - self.session.commands_skipped;
        // A command whose reply is skipped may not be counted yet.
        let count = answered.saturating_sub(self.commands_answered);
        self.commands_answered = self.commands_answered.max(answered);
        let session = &mut self.session;
        Answered {
            count,
            has_changed: std::mem::take(&mut session.has_changed),
            has_seen: std::mem::take(&mut session.has_seen),
        }
    }

    /// Keeps the reply to so many commands until the streams are safe up to `until`.
    pub fn stow(&mut self, reply: Reply, commands: u64, has_changed: bool, until: Extent) {
        self.undurable.push_back(Undurable { until, reply, commands, has_changed, since: Instant::now() });
    }

    /// Where the next reply goes: `reply`, or directly behind what the socket has not taken yet, where nothing can come between.
    #[inline]
    pub fn appends_to_output(&self, holds_replies: bool) -> bool {
        self.output.is_some() && !holds_replies && self.undurable.is_empty()
    }

    /// Lets out what is safe now.
    pub fn release(&mut self, safe: Extent) {
        while self.undurable.front().is_some_and(|undurable| safe.covers(undurable.until))
            && let Some(undurable) = self.undurable.pop_front()
        {
            self.let_out(undurable);
        }
    }

    fn let_out(&mut self, mut undurable: Undurable) {
        match &mut self.output {
            Some(output) => output.append(&mut undurable.reply),
            None => self.output = Some(Box::new(undurable.reply)),
        }
    }

    /// Gives up on what waits for replicas since before `since`: commands that have changed something get this error instead of their reply.
    /// Whether there was any.
    pub fn give_up(&mut self, since: Instant, safe: Extent, error: &str) -> bool {
        let mut any = false;
        while self.undurable.front().is_some_and(|it| it.since <= since && safe.replicas < it.until.replicas)
            && let Some(undurable) = self.undurable.pop_front()
        {
            any = true;
            if undurable.has_changed {
                self.fail(&undurable, error);
            } else {
                self.let_out(undurable);
            }
        }
        any
    }

    /// Nobody knows whether what was done will be safe: every command that is not answered yet gets this error instead.
    pub fn fail_undurable(&mut self, error: &str) {
        for undurable in std::mem::take(&mut self.undurable) {
            self.fail(&undurable, error);
        }
    }

    fn fail(&mut self, undurable: &Undurable, error: &str) {
        let proto = undurable.reply.proto();
        let output = self.output.get_or_insert_with(|| {
            let mut output = Box::new(Reply::default());
            output.set_proto(proto);
            output
        });
        (0..undurable.commands).for_each(|_| output.error(error));
    }

    /// Bytes of memory this connection uses: for `maxmemory-clients` and CLIENT LIST.
    pub fn memory_bytes(&self) -> usize {
        let held: usize = self
            .held
            .iter()
            .map(|held| match held {
                Held::Bytes(bytes) => bytes.capacity(),
                Held::Request(request) => request.memory_bytes(),
            })
            .sum();
        size_of::<Connection>()
            + size_of::<commands::Client>()
            + self.decoder.memory_bytes()
            + held
            // Of a blocking command, while it waits.
            + self.session.client.argument_bytes.load(Relaxed)
            + self.output_bytes()
            + self.stream.memory_bytes()
    }

    /// What it is counted as while nothing waits in it.
    #[inline]
    pub fn idle_bytes(&self) -> i64 {
        (size_of::<Connection>() + size_of::<commands::Client>() + self.stream.idle_bytes()) as i64
    }

    /// Writes what waits, up to one turn's share.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush_output(&mut self) -> io::Result<Written> {
        let Some(output) = &mut self.output else {
            return Ok(Written::default());
        };
        let written = write_reply(&mut self.stream, output)?;
        if output.is_empty() {
            self.output = None;
        }
        Ok(written)
    }

    /// Shows the state of this connection to whoever reads the client's record.
    #[inline]
    pub fn publish(&self, now: Millis) {
        let client = &*self.session.client;
        client.last_interaction.store(now.0, Relaxed);
        client.last_command.store(self.session.last_command, Relaxed);
    }

    /// The same for the figures that matter only where something waits.
    pub fn publish_memory(&self) {
        let client = &*self.session.client;
        client.query_buffer_bytes.store(self.decoder.memory_bytes(), Relaxed);
        client.output_bytes.store(self.output_bytes(), Relaxed);
        client.output_segments.store(self.output.as_ref().map_or(0, |output| output.segments().count()), Relaxed);
        client.memory_bytes.store(self.memory_bytes(), Relaxed);
    }
}

/// What a write has achieved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    pub bytes: usize,
    /// The share of this turn is used up, and the socket would have taken more: there will be no event.
    pub wants_more: bool,
}

/// Writes as much of the reply as the socket takes, up to one turn's share, and removes it.
///
/// # Errors
/// The connection is broken.
#[inline]
pub fn write_reply(stream: &mut Stream, reply: &mut Reply) -> io::Result<Written> {
    match stream {
        Stream::Tcp(stream) => write_to_socket(stream, reply),
        Stream::Unix(stream) => write_to_socket(stream, reply),
        Stream::Tls(stream) => stream.write_reply(reply),
    }
}

fn write_to_socket(stream: &mut (impl Write + AsFd), reply: &mut Reply) -> io::Result<Written> {
    let mut bytes = 0;
    while !reply.is_empty() {
        if bytes >= WRITE_BYTES_MAX {
            return Ok(Written { bytes, wants_more: true });
        }
        let wanted;
        let result = match reply.as_slice() {
            Some(slice) => {
                wanted = slice.len();
                socket::send(stream.as_fd(), slice)
            }
            None => {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let slices = reply.io_slices(&mut slices);
                wanted = slices.iter().map(|slice| slice.len()).sum();
                stream.write_vectored(slices)
            }
        };
        match result {
            Ok(written) => {
                reply.advance(written);
                bytes += written;
                // A short write means that the socket is full; asking again would only be told so.
                if written < wanted {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Written { bytes, wants_more: false })
}

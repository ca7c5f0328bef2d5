//! Our replicas: one thread that has their sockets, sends them snapshot and log, and hears what they acknowledge.
//!
//! ```text
//!  Waiting ── cut ──> Snapshot ── all sent ──> Ready ── first ACK ──> Online
//!     └────────────── CONTINUE ─────────────────────────────────────────┘
//! ```
//!
//! Where the snapshot takes a second connection, the first is online from the cut on. What its replica does not read meanwhile is spilled like that of
//! any who synchronizes.
//!
//! *Why a thread of its own, and not the event loops?* A system call for each replica and turn of an event loop costs more than all else that a
//! write costs. Here what has come within [`TOGETHER`] leaves with one. Who asks for acknowledgements does not wait for others.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Context;
use commands::Client;
use journal::{Chunk, Destination, Reader};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use replication::{Action, LinkId};
use resp::{Decoder, Limits as InputLimits, Reply, Step};
use slab::Slab;

use super::*;
use crate::connection::write_reply;
use crate::listener::Stream;
use crate::operation::{memory, priority};
use crate::persistence::BeginSync;

/// What has been written within this time leaves together, unless somebody waits for it.
const TOGETHER: Duration = Duration::from_micros(250);
/// That much does not wait for more.
const ENOUGH_BYTES: u64 = 64 << 10;
/// So much a link gets before others have their turn.
const TURN_BYTES_MAX: usize = 1 << 20;
/// So many pieces go into one system call.
const SLICES_MAX: usize = 32;
/// Beyond so much of the log, what is in memory for a replica that synchronizes goes to disk.
const SPILL_BYTES: u64 = 32 << 20;
/// The same once it has a file.
const SPILL_MORE_BYTES: u64 = 8 << 20;
/// With so much of the log in memory for a replica that synchronizes, writes wait: the disk takes less than they bring, or hangs.
const HOLD_BYTES: u64 = 48 << 20;
/// A replica has nothing to say that is longer.
const INPUT_BYTES: usize = 16 << 10;
/// How often output limits and the backlog are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What the feeder is told.
pub(crate) enum Order {
    /// A connection that an event loop gives away, with what has not left yet.
    Adopt {
        client: Arc<Client>,
        stream: Stream,
        output: Option<Box<Reply>>,
    },
    /// The connection has ended before its event loop could give it away.
    Gone(LinkId),
    /// These bytes, and then the log from here on.
    Continue {
        link: LinkId,
        reply: Vec<u8>,
        reader: Reader,
        from: u64,
    },
    Reply {
        link: LinkId,
        bytes: Vec<u8>,
    },
    /// An empty line, as long as it has nothing else.
    Patience(LinkId),
    /// It has its snapshot, and is ready for the log.
    Feed {
        link: LinkId,
        from: u64,
    },
    /// It is fed while its snapshot takes another connection.
    FeedBeside {
        link: LinkId,
        reader: Reader,
        from: u64,
    },
    /// It gets its snapshot and nothing of the log behind it.
    Release(LinkId),
    Snapshot {
        links: Vec<LinkId>,
        framing: Framing,
        content: Content,
    },
    /// The cut was made: these links get the snapshot, and then, if they have a reader, the log from the cut on.
    Cut {
        transfer: Arc<Transfer>,
        readers: Vec<(LinkId, Option<Reader>)>,
    },
    Disconnect {
        link: LinkId,
        why: String,
    },
    /// CLIENT KILL.
    Kill(LinkId),
    /// What has to be done alone in the world.
    Alone(Action),
    /// The job that was under way has ended: another can begin.
    JobEnded,
}

/// A replica's connection.
struct Link {
    id: LinkId,
    client: Arc<Client>,
    stream: Stream,
    decoder: Decoder,
    /// What comes before everything else.
    pending: Reply,
    phase: Phase,
    spill: Option<Spill>,
    /// What it was sent of the log was in a file, and it has not had all of the rest yet: what waits in memory behind a file may be more than output limits
    /// allow.
    catches_up: bool,
    /// It is fed while it receives its snapshot elsewhere, or loads it.
    is_beside: bool,
    /// The socket takes nothing more: there will be an event.
    is_full: bool,
    /// Since when it is behind by more than the soft limit.
    soft_limit_since: Option<Instant>,
}

enum Phase {
    Waiting,
    Snapshot {
        transfer: Arc<Transfer>,
        reader: Option<Reader>,
    },
    File {
        file: Arc<File>,
        at: u64,
        len: u64,
        reader: Option<Reader>,
        offset: u64,
    },
    /// It has the snapshot, and says when it has loaded it.
    Ready {
        reader: Option<Reader>,
        offset: u64,
    },
    Online {
        reader: Reader,
        at: u64,
    },
}

impl Phase {
    /// What keeps the log in memory for it.
    fn reader(&self) -> Option<&Reader> {
        match self {
            Phase::Waiting => None,
            Phase::Snapshot { reader, .. } | Phase::File { reader, .. } | Phase::Ready { reader, .. } => {
                reader.as_ref()
            }
            Phase::Online { reader, .. } => Some(reader),
        }
    }

    /// It gets nothing of the log.
    fn release(&mut self) {
        if let Phase::Snapshot { reader, .. } | Phase::File { reader, .. } | Phase::Ready { reader, .. } = self {
            *reader = None;
        }
    }
}

/// What has been written while a replica synchronizes, beyond what is kept in memory: a file that goes with its handle.
struct Spill {
    file: File,
    /// The place in the log where the file begins, and where it ends.
    begin: u64,
    end: u64,
}

impl Spill {
    fn new(id: LinkId, begin: u64) -> io::Result<Spill> {
        let path = format!("temp-repl-{}-{}.log", std::process::id(), id.0);
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Spill { file, begin, end: begin })
    }
}

struct Feeder {
    shared: Arc<Shared>,
    poll: Poll,
    links: Slab<Link>,
    by_id: HashMap<LinkId, usize>,
    /// For links whose connection has not been given away yet.
    early: HashMap<LinkId, Vec<Order>>,
    /// Snapshots that wait for another job's end.
    wanted: VecDeque<(Vec<LinkId>, Framing, Content)>,
    /// Links that would take more.
    more: Vec<usize>,
    /// When replicas were last sent what is in the log.
    fed: Instant,
    /// When they were last asked how far they are, whether nobody has answered yet, and where the log ended then.
    asked: Instant,
    is_asked: bool,
    asked_end: u64,
    looked: Instant,
    /// What waits in the log is bounded: somebody synchronizes.
    is_bounded: bool,
    chunks: Vec<Chunk>,
}

/// Starts the thread.
///
/// # Errors
/// The system has no thread for it.
pub(super) fn start(shared: &Arc<Shared>) -> anyhow::Result<()> {
    let poll = Poll::new().context("Cannot watch sockets")?;
    shared.replication.feeder.attend(&poll)?;
    let of_journal = Arc::downgrade(shared);
    shared.persistence.journal.set_feeder(move || {
        if let Some(shared) = of_journal.upgrade() {
            shared.replication.feeder.wake();
        }
    });
    let now = Instant::now();
    let mut feeder = Feeder {
        shared: shared.clone(),
        poll,
        links: Slab::new(),
        by_id: HashMap::new(),
        early: HashMap::new(),
        wanted: VecDeque::new(),
        more: Vec::new(),
        fed: now,
        asked: now,
        is_asked: false,
        asked_end: 0,
        looked: now,
        is_bounded: false,
        chunks: Vec::new(),
    };
    let thread = std::thread::Builder::new()
        .name("replicas".to_owned())
        .spawn(move || {
            priority::give_way();
            memory::count_thread();
            feeder.run();
        })
        .context("Cannot start a thread")?;
    *shared.replication.feeding.lock() = Some(thread);
    Ok(())
}

impl Feeder {
    fn run(&mut self) {
        let mut events = Events::with_capacity(64);
        while !self.shared.is_ending() {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.expect("the poll of a thread works"),
            }
            for order in self.shared.replication.feeder.take() {
                self.carry_out(order);
            }
            for event in &events {
                if let Some(token) = event.token().0.checked_sub(1) {
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        self.read(token);
                    }
                    if event.is_writable()
                        && let Some(link) = self.links.get_mut(token)
                    {
                        link.is_full = false;
                        self.pump(token);
                    }
                }
            }
            let with_snapshot = |(token, link): (usize, &Link)| {
                let waits = matches!(link.phase, Phase::Snapshot { .. }) && link.pending.is_empty();
                (waits && !self.more.contains(&token)).then_some(token)
            };
            let mut tokens: Vec<usize> = self.links.iter().filter_map(with_snapshot).collect();
            tokens.append(&mut self.more);
            tokens.into_iter().for_each(|token| self.pump(token));
            self.spill();
            self.feed();
            self.look();
            self.keep_time();
            memory::publish();
        }
        // What was written before the end.
        let tokens: Vec<usize> = self.links.iter().map(|(token, _)| token).collect();
        tokens.into_iter().for_each(|token| self.pump(token));
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.more.is_empty() || !self.shared.replication.feeder.is_empty() {
            return Some(Duration::ZERO);
        }
        let replication = &self.shared.replication;
        let deadline = replication.machine.lock().next_deadline();
        replication.deadline.store(deadline.map_or(u64::MAX, |at| at.0), Relaxed);
        let mut timeout = deadline.map(|at| Duration::from_millis(at.0.saturating_sub(replication.now().0)));
        let mut at_most = |most: Duration| timeout = Some(timeout.map_or(most, |timeout| timeout.min(most)));
        if replication.backlog.lock().is_some() {
            at_most(LOOK);
        }
        if self.has_food() {
            at_most(Duration::ZERO);
        }
        timeout
    }

    /// Whether replicas that are online lack something of the log.
    fn has_food(&self) -> bool {
        let end = self.shared.persistence.journal.tail(Destination::Replicas);
        let lacks = |link: &Link| matches!(link.phase, Phase::Online { at, .. } if at < end && !link.is_full);
        self.links.iter().any(|(_, link)| lacks(link))
    }

    /// Sends what is in the log to those who are online, once there is something and it has waited for company.
    fn feed(&mut self) {
        let journal = self.shared.persistence.journal.clone();
        let end = journal.tail(Destination::Replicas);
        let behind = |link: &Link| match link.phase {
            Phase::Online { at, .. } if !link.is_full => end - at,
            _ => 0,
        };
        let most = self.links.iter().map(|(_, link)| behind(link)).max().unwrap_or(0);
        let is_urgent = self.is_urgent();
        if most > 0 && most < ENOUGH_BYTES && !is_urgent {
            // Shorter than a poll can wait.
            std::thread::sleep(TOGETHER.saturating_sub(self.fed.elapsed()));
        }
        if is_urgent && end > self.asked_end && (!self.is_asked || self.asked.elapsed() >= TOGETHER) {
            self.shared.with_machine(None, |machine, _, _| machine.ask_for_acks());
            (self.asked, self.is_asked) = (Instant::now(), true);
            self.asked_end = journal.tail(Destination::Replicas);
        }
        if most > 0 {
            self.fed = Instant::now();
            let tokens: Vec<usize> = self.links.iter().map(|(token, _)| token).collect();
            tokens.into_iter().for_each(|token| self.pump(token));
        }
        // From here on the next byte wakes, or for those who take none, the one that makes it too much for memory.
        let fed_to = |link: &Link| match link.phase {
            Phase::Online { at, .. } if !link.is_full => Some(at),
            _ => None,
        };
        let wake_at = |link: &Link| {
            let next = fed_to(link).map_or(u64::MAX, |at| at + 1);
            next.min(link.spills_at().unwrap_or(u64::MAX))
        };
        let wake_at = self.links.iter().map(|(_, link)| wake_at(link)).min().unwrap_or(u64::MAX);
        if !journal.wake_feeder_at(wake_at) {
            self.shared.replication.feeder.wake();
        }
    }

    /// Whether somebody waits for what is in the log to be acknowledged.
    fn is_urgent(&self) -> bool {
        let replication = &self.shared.replication;
        replication.holds_replies() || replication.wanted_acknowledged.load(Relaxed)
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Adopt { client, stream, output } => self.adopt(client, stream, output),
            Order::Gone(link) => {
                self.early.remove(&link);
                self.forget(link);
            }
            Order::Continue { link, .. }
            | Order::Reply { link, .. }
            | Order::Patience(link)
            | Order::Feed { link, .. }
            | Order::FeedBeside { link, .. }
            | Order::Release(link)
            | Order::Disconnect { link, .. }
            | Order::Kill(link)
                if !self.by_id.contains_key(&link) =>
            {
                self.early.entry(link).or_default().push(order);
            }
            Order::Continue { link, reply, reader, from } => {
                let token = self.by_id[&link];
                let link = &mut self.links[token];
                link.pending.raw(&reply);
                link.phase = Phase::Online { reader, at: from };
                self.pump(token);
            }
            Order::Reply { link, bytes } => {
                let token = self.by_id[&link];
                self.links[token].pending.raw(&bytes);
                self.pump(token);
            }
            Order::Patience(link) => {
                let token = self.by_id[&link];
                let link = &mut self.links[token];
                if let Phase::Waiting = link.phase {
                    link.pending.raw(b"\n");
                    self.pump(token);
                }
            }
            Order::Feed { link, from } => {
                let token = self.by_id[&link];
                let link = &mut self.links[token];
                match std::mem::replace(&mut link.phase, Phase::Waiting) {
                    Phase::Ready { reader: Some(reader), offset } => {
                        assert_eq!(offset, from, "the log goes on where the snapshot was cut");
                        link.phase = Phase::Online { reader, at: from };
                        self.pump(token);
                    }
                    other => link.phase = other,
                }
            }
            Order::FeedBeside { link, reader, from } => {
                let token = self.by_id[&link];
                let link = &mut self.links[token];
                link.phase = Phase::Online { reader, at: from };
                link.is_beside = true;
                self.pump(token);
            }
            Order::Release(link) => {
                let link = &mut self.links[self.by_id[&link]];
                link.phase.release();
                (link.spill, link.catches_up) = (None, false);
            }
            Order::Snapshot { links, framing, content } => {
                self.wanted.push_back((links, framing, content));
                self.begin_snapshots();
            }
            Order::Cut { transfer, readers } => {
                for (id, reader) in readers {
                    match self.by_id.get(&id) {
                        Some(&token) => {
                            let link = &mut self.links[token];
                            if let Form::Stream(mark) = transfer.form {
                                link.pending.raw(b"$EOF:");
                                link.pending.raw(&mark);
                                link.pending.raw(b"\r\n");
                            }
                            link.phase = Phase::Snapshot { transfer: transfer.clone(), reader };
                            self.pump(token);
                        }
                        // Gone meanwhile.
                        None => transfer.leave(id),
                    }
                }
            }
            Order::Disconnect { link, why } => {
                let token = self.by_id[&link];
                LOG.warning(&format!("Closing the connection of replica {}: {why}", self.links[token].client.address));
                self.close(token);
            }
            Order::Kill(link) => self.close(self.by_id[&link]),
            Order::Alone(action) => {
                let shared = self.shared.clone();
                let mut world = shared.gates.wide();
                shared.change_world(&mut world.global, &action);
            }
            Order::JobEnded => self.begin_snapshots(),
        }
    }

    fn adopt(&mut self, client: Arc<Client>, mut stream: Stream, output: Option<Box<Reply>>) {
        let id = link_of(&client);
        let entry = self.links.vacant_entry();
        let token = entry.key();
        let registered =
            stream.register(self.poll.registry(), Token(token + 1), Interest::READABLE | Interest::WRITABLE);
        let pending = output.map_or_else(Reply::default, |output| *output);
        entry.insert(Link {
            id,
            client,
            stream,
            decoder: Decoder::new(),
            pending,
            phase: Phase::Waiting,
            spill: None,
            catches_up: false,
            is_beside: false,
            is_full: false,
            soft_limit_since: None,
        });
        self.by_id.insert(id, token);
        let early = self.early.remove(&id);
        if let Err(error) = registered {
            LOG.warning(&format!("Cannot watch a replica's connection: {error}"));
            return self.close(token);
        }
        for order in early.into_iter().flatten() {
            if self.by_id.contains_key(&id) {
                self.carry_out(order);
            }
        }
        self.begin_snapshots();
        if self.by_id.contains_key(&id) {
            // It may have said something already, and there is no event for it.
            self.read(token);
        }
    }

    /// Closes a link, and tells the machine.
    fn close(&mut self, token: usize) {
        let Some(mut link) = self.links.try_remove(token) else {
            return;
        };
        let _ = self.poll.registry().deregister(&mut SourceFd(&link.stream.fd()));
        self.by_id.remove(&link.id);
        if let Phase::Snapshot { transfer, .. } = &link.phase {
            transfer.leave(link.id);
        }
        // What was said before the end is still delivered, as far as the socket takes it at once.
        let _ = write_reply(&mut link.stream, &mut link.pending);
        link.client.killed.store(true, Relaxed);
        self.shared.clients.remove(link.client.id);
        let id = link.id;
        drop(link);
        self.forget(id);
    }

    fn forget(&mut self, link: LinkId) {
        for (links, ..) in &mut self.wanted {
            links.retain(|other| *other != link);
        }
        self.wanted.retain(|(links, ..)| !links.is_empty());
        self.shared.replication.links.fetch_sub(1, Relaxed);
        self.shared.with_machine(None, |machine, now, _| machine.gone(now, link));
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Reading
    // -----------------------------------------------------------------------------------------------------------------

    fn read(&mut self, token: usize) {
        let mut buffer = [0; INPUT_BYTES];
        loop {
            let Some(link) = self.links.get_mut(token) else { return };
            let count = match link.stream.read(&mut buffer) {
                Ok(0) => {
                    LOG.notice(&format!("Connection with replica {} lost.", link.client.address));
                    return self.close(token);
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    LOG.notice(&format!("Connection with replica {} lost: {error}.", link.client.address));
                    return self.close(token);
                }
            };
            link.client.net_input_bytes.add(count as u64);
            link.client.last_interaction.store(crate::shared::now().0, Relaxed);
            if !self.hear(token, &buffer[..count]) {
                return;
            }
        }
    }

    /// What a replica says: acknowledgements. False when it is closed.
    fn hear(&mut self, token: usize, mut bytes: &[u8]) -> bool {
        loop {
            let link = &mut self.links[token];
            let mut words: Vec<&[u8]> = Vec::new();
            match link.decoder.next(bytes, &InputLimits::default(), &mut words) {
                Ok(Step::Command { consumed }) => bytes = &bytes[consumed..],
                Ok(Step::Incomplete) => return true,
                Ok(Step::Owned { .. }) | Err(_) => {
                    LOG.warning(&format!(
                        "Replica {} breaks the protocol: its connection is closed.",
                        link.client.address
                    ));
                    self.close(token);
                    return false;
                }
            }
            let id = link.id;
            let Some((name, words)) = words.split_first() else {
                self.shared.with_machine(None, |machine, now, _| machine.sign_of_life(now, id));
                continue;
            };
            if name.eq_ignore_ascii_case(b"REPLCONF") {
                let client = link.client.clone();
                let is_ack = words.first().is_some_and(|word| word.eq_ignore_ascii_case(b"ACK"));
                // It has loaded its snapshot.
                link.is_beside &= !is_ack;
                let reply = self
                    .shared
                    .with_machine(None, |machine, now, log| machine.replconf(now, id, host_of(&client), words, log));
                match reply {
                    Replconf::Silent if is_ack => self.acknowledged(),
                    Replconf::Silent => {}
                    Replconf::Ok => self.links[token].pending.ok(),
                    Replconf::Error(text) => self.links[token].pending.error(&text),
                }
            } else if !name.eq_ignore_ascii_case(b"PING") && !name.eq_ignore_ascii_case(b"SYNC") {
                // A reply would stand in the middle of the stream.
                LOG.warning(&format!(
                    "Replica {} sends '{}' where only acknowledgements belong: its connection is closed.",
                    link.client.address,
                    name.escape_ascii()
                ));
                self.close(token);
                return false;
            }
        }
    }

    /// A replica has acknowledged something.
    fn acknowledged(&mut self) {
        self.is_asked = false;
        if self.shared.replication.holds_replies() {
            self.shared.announce_acknowledged();
        }
        if self.shared.replication.wanted_acknowledged.load(Relaxed) {
            self.shared.serve_acknowledged();
        }
        self.shared.check_shutdown();
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Writing
    // -----------------------------------------------------------------------------------------------------------------

    /// Sends what there is for a link, up to its share of a turn.
    fn pump(&mut self, token: usize) {
        let Some(link) = self.links.get_mut(token) else { return };
        let outcome = link.pump(&mut self.chunks);
        match outcome {
            Ok(Pumped { bytes, wants_more, is_sent }) => {
                if matches!(link.phase, Phase::Snapshot { .. } | Phase::File { .. }) && (bytes > 0 || !link.is_full) {
                    let (id, has_room) = (link.id, !link.is_full);
                    self.shared.with_machine(None, |machine, now, _| machine.snapshot_room(now, id, has_room));
                }
                link.client.net_output_bytes.add(bytes as u64);
                self.shared.replication.counters.output_bytes.fetch_add(bytes as u64, Relaxed);
                if wants_more && !self.more.contains(&token) {
                    self.more.push(token);
                }
                if is_sent {
                    let id = link.id;
                    self.shared.with_machine(None, |machine, now, _| machine.snapshot_sent(now, id));
                }
            }
            Err(error) => {
                LOG.notice(&format!("Connection with replica {} lost: {error}.", link.client.address));
                self.close(token);
            }
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Snapshots
    // -----------------------------------------------------------------------------------------------------------------

    /// Begins the snapshot that is wanted, unless another job is under way: then at its end.
    fn begin_snapshots(&mut self) {
        while let Some((links, framing, content)) = self.wanted.front() {
            // All of them are here: what they are sent comes in its order.
            if !links.iter().all(|link| self.by_id.contains_key(link)) {
                return;
            }
            let form = match framing {
                Framing::Stream | Framing::Mark(_) => Form::Stream(mark()),
                Framing::File | Framing::Length(_) => Form::File,
            };
            match self.shared.begin_sync(links, form, *content) {
                BeginSync::Begun => {}
                BeginSync::Later => return,
                BeginSync::Failed => {
                    let links = links.clone();
                    self.shared.with_machine(None, |machine, now, _| machine.snapshot_failed_for(now, &links));
                }
            }
            self.wanted.pop_front();
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // From time to time
    // -----------------------------------------------------------------------------------------------------------------

    fn keep_time(&mut self) {
        let replication = &self.shared.replication;
        let now = replication.now();
        let is_due = replication.machine.lock().next_deadline().is_some_and(|at| at <= now);
        if is_due {
            self.shared.with_machine(None, |machine, now, log| machine.handle_timeout(now, log));
        }
    }

    /// Writes what synchronizing replicas do not take for now to their files, a turn's worth each.
    fn spill(&mut self) {
        let journal = self.shared.persistence.journal.clone();
        let end = journal.tail(Destination::Replicas);
        let mut lost = Vec::new();
        for (token, link) in &mut self.links {
            if link.spills_at().is_some_and(|at| at <= end)
                && let Err(error) = link.spill(&mut self.chunks)
            {
                LOG.warning(&format!("The log for replica {} cannot be kept on disk: {error}", link.client.address));
                lost.push(token);
            }
        }
        lost.into_iter().for_each(|token| self.close(token));
        let from = self.links.iter().filter_map(|(_, link)| link.spilled()).min();
        if (from.is_some() || self.is_bounded) && journal.bound_replicas(from, HOLD_BYTES) {
            self.shared.wake_all();
        }
        self.is_bounded = from.is_some();
    }

    /// The backlog, and replicas that are too far behind.
    fn look(&mut self) {
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        let Limits { backlog_bytes: size, output: limit, .. } = *self.shared.replication.limits.lock();
        self.shared.trim_backlog(size);
        let end = self.shared.persistence.journal.tail(Destination::Replicas);
        let mut too_slow = Vec::new();
        for (token, link) in &mut self.links {
            let behind = link.phase.reader().map_or(0, |reader| end - reader.released());
            link.client.output_bytes.store(behind as usize + link.pending.len(), Relaxed);
            if link.is_synchronizing() {
                continue;
            }
            // As in Redis, what the backlog holds anyway costs nothing.
            let is_hard = limit.hard_bytes > 0 && behind > limit.hard_bytes.max(size);
            let is_soft = limit.soft_bytes > 0 && behind > limit.soft_bytes.max(size);
            let since = is_soft.then(|| link.soft_limit_since.unwrap_or_else(Instant::now));
            link.soft_limit_since = since;
            let is_long = since.is_some_and(|since| since.elapsed() > Duration::from_secs(limit.soft_seconds));
            if is_hard || is_long {
                too_slow.push((token, behind));
            }
        }
        for (token, behind) in too_slow {
            let link = &self.links[token];
            LOG.warning(&format!(
                "Replica {} is {behind} bytes behind, more than 'client-output-buffer-limit replica' allows: its connection is closed. \
                 Raise that limit, or repl-backlog-size, if it should be waited for.",
                link.client.address
            ));
            self.close(token);
        }
    }
}

/// 40 bytes that no snapshot contains by chance.
fn mark() -> [u8; 40] {
    let mut mark = [0; 40];
    mark.copy_from_slice(random_id().as_str().as_bytes());
    mark
}

/// What one turn has achieved.
#[derive(Default)]
struct Pumped {
    bytes: usize,
    /// The socket would take more, and there is more.
    wants_more: bool,
    /// The last byte of the snapshot has left.
    is_sent: bool,
}

impl Link {
    /// Whether it is on its way to be like us: then it is waited for, however long it takes.
    fn is_synchronizing(&self) -> bool {
        self.is_beside || self.catches_up || !matches!(self.phase, Phase::Waiting | Phase::Online { .. })
    }

    /// What lies behind is in memory for it as long as it synchronizes.
    fn spilled(&self) -> Option<u64> {
        let reader = self.phase.reader().filter(|_| self.is_synchronizing())?;
        Some(reader.released())
    }

    /// Where the log has to have come for that to be written to its file.
    fn spills_at(&self) -> Option<u64> {
        Some(self.spilled()? + if self.spill.is_some() { SPILL_MORE_BYTES } else { SPILL_BYTES })
    }

    /// Writes the first of what is in memory for it to its file.
    fn spill(&mut self, chunks: &mut Vec<Chunk>) -> io::Result<()> {
        let Some(reader) = self.phase.reader() else { return Ok(()) };
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => {
                LOG.notice(&format!(
                    "Replica {} synchronizes more slowly than is written here: the log for it goes to disk beyond {} MB.",
                    self.client.address,
                    SPILL_BYTES >> 20
                ));
                self.catches_up = true;
                self.spill.insert(Spill::new(self.id, reader.released())?)
            }
        };
        chunks.clear();
        reader.read(spill.end, TURN_BYTES_MAX, chunks);
        for chunk in chunks.drain(..) {
            spill.file.write_all_at(&chunk, spill.end - spill.begin)?;
            spill.end += chunk.len() as u64;
        }
        reader.release(spill.end);
        Ok(())
    }

    /// Reads on in what was spilled. True if the log goes on in memory.
    fn next_spilled(&mut self) -> io::Result<bool> {
        let (Some(spill), Phase::Online { at, .. }) = (&self.spill, &mut self.phase) else { return Ok(true) };
        if *at == spill.end {
            self.spill = None;
            return Ok(true);
        }
        let mut piece = vec![0; (spill.end - *at).min(256 << 10) as usize];
        spill.file.read_exact_at(&mut piece, *at - spill.begin)?;
        *at += piece.len() as u64;
        self.pending.raw_shared(&Arc::new(piece));
        Ok(false)
    }

    fn pump(&mut self, chunks: &mut Vec<Chunk>) -> io::Result<Pumped> {
        let mut pumped = Pumped::default();
        loop {
            priority::breathe();
            if pumped.bytes >= TURN_BYTES_MAX {
                pumped.wants_more = true;
                return Ok(pumped);
            }
            if !self.pending.is_empty() {
                let written = write_reply(&mut self.stream, &mut self.pending)?;
                pumped.bytes += written.bytes;
                if !self.pending.is_empty() {
                    pumped.wants_more |= written.wants_more;
                    self.is_full = !written.wants_more;
                    return Ok(pumped);
                }
                continue;
            }
            let is_empty = match &mut self.phase {
                Phase::Waiting | Phase::Ready { .. } => true,
                Phase::Snapshot { .. } => self.next_piece(&mut pumped)?,
                Phase::File { .. } => self.next_of_file(&mut pumped)?,
                Phase::Online { .. } if self.spill.is_some() => {
                    self.next_spilled()?;
                    false
                }
                Phase::Online { reader, at } => {
                    chunks.clear();
                    let read = reader.read(*at, TURN_BYTES_MAX, chunks);
                    let (end, is_all) = (read.end, read.is_all);
                    if end == *at {
                        self.catches_up = false;
                        true
                    } else if let Stream::Tls(_) = self.stream {
                        chunks.iter().for_each(|chunk| self.pending.raw(chunk));
                        chunks.clear();
                        *at = end;
                        reader.release(end);
                        self.catches_up &= !is_all;
                        false
                    } else {
                        let wanted: usize = chunks.iter().map(|chunk| chunk.len()).sum();
                        let written = write_chunks(&mut self.stream, chunks)?;
                        chunks.clear();
                        pumped.bytes += written;
                        *at += written as u64;
                        reader.release(*at);
                        self.is_full = written < wanted;
                        self.catches_up &= self.is_full || !is_all;
                        self.is_full
                    }
                }
            };
            if is_empty {
                return Ok(pumped);
            }
        }
    }

    /// Fetches the next piece of the snapshot. True if there is none now.
    fn next_piece(&mut self, pumped: &mut Pumped) -> io::Result<bool> {
        let Phase::Snapshot { transfer, .. } = &self.phase else { return Ok(true) };
        match transfer.next(self.id) {
            Next::Piece(piece) => {
                self.pending.raw_shared(&piece);
                return Ok(false);
            }
            Next::Later => return Ok(true),
            Next::End(End::Failed) => return Err(io::Error::other("the snapshot for it has failed")),
            Next::End(End::Whole(file)) => {
                let phase = std::mem::replace(&mut self.phase, Phase::Waiting);
                let Phase::Snapshot { transfer, reader } = phase else { return Ok(true) };
                transfer.leave(self.id);
                let offset = transfer.offset;
                match (transfer.form, file) {
                    (Form::Stream(mark), _) => {
                        self.pending.raw(&mark);
                        self.phase = Phase::Ready { reader, offset };
                        pumped.is_sent = true;
                    }
                    (Form::File, Some(file)) => {
                        let len = file.metadata()?.len();
                        self.pending.raw(format!("${len}\r\n").as_bytes());
                        self.phase = Phase::File { file, at: 0, len, reader, offset };
                    }
                    (Form::File, None) => return Err(io::Error::other("the snapshot for it is in no file")),
                }
            }
        }
        Ok(false)
    }

    /// Reads on in the file. True when that was all.
    fn next_of_file(&mut self, pumped: &mut Pumped) -> io::Result<bool> {
        let Phase::File { file, at, len, .. } = &mut self.phase else { return Ok(true) };
        if at < len {
            let mut piece = vec![0; (*len - *at).min(256 << 10) as usize];
            file.read_exact_at(&mut piece, *at)?;
            *at += piece.len() as u64;
            self.pending.raw_shared(&Arc::new(piece));
            return Ok(false);
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Waiting);
        let Phase::File { reader, offset, .. } = phase else { return Ok(true) };
        self.phase = Phase::Ready { reader, offset };
        pumped.is_sent = true;
        Ok(false)
    }
}

/// Writes pieces of the log; how many bytes the socket took.
fn write_chunks(stream: &mut Stream, chunks: &[Chunk]) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let count = chunks.len().min(SLICES_MAX);
    for (slice, chunk) in slices.iter_mut().zip(chunks) {
        *slice = IoSlice::new(chunk);
    }
    let slices = &slices[..count];
    loop {
        let written = match stream {
            Stream::Tcp(stream) => stream.write_vectored(slices),
            Stream::Unix(stream) => stream.write_vectored(slices),
            Stream::Tls(_) => unreachable!("what is encrypted is written as replies are"),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            other => return other,
        }
    }
}

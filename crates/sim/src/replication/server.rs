//! A model of the driver: what the real one does with sockets, threads and files, in as few lines as possible.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use rand::Rng;
use replication::{
    Action, Address, Config, FailoverRequest, FailoverState, Framing, History, LinkId, Log, Machine, Ms, Replconf,
    ReplicationId, Role, Sync, SyncRequest,
};

use super::data::Data;
use super::log::StreamLog;
use super::oracle::{Asked, Oracle};
use super::wire;
use crate::{ConnectionId, Context, Event, Node, NodeId};

/// What a server's disk holds.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    data: Data,
    /// `repl-id` and `repl-offset`.
    stream: Option<(ReplicationId, u64)>,
}

/// How this server works.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    /// It gives its old data up before it loads others.
    pub(crate) empties_first: bool,
    pub(crate) has_file: bool,
    /// How long making a snapshot takes.
    pub(crate) snapshot_ms: u64,
}

impl Settings {
    /// How long a third of loading one takes: short of the time without progress after which it would be given up.
    fn load_ms(&self, random: &mut impl Rng) -> u64 {
        random.random_range(0..=self.snapshot_ms.min(self.config.timeout_ms - 1))
    }
}

#[derive(Debug)]
struct Link {
    connection: ConnectionId,
    from: NodeId,
    is_known: bool,
    input: Vec<u8>,
    /// What goes out before anything of the log.
    out: VecDeque<u8>,
    /// Its snapshot is in `out`, and so much of it is left, with all that stands before it.
    snapshot_left: Option<usize>,
    has_begun: bool,
    /// The log is kept for it from here on.
    keeps: Option<u64>,
    /// It is fed from here on.
    feed: Option<u64>,
}

#[derive(Debug)]
enum Mode {
    Lines,
    /// The stream comes, and waits for the snapshot.
    Keep,
    Snapshot(Framing),
    Loading {
        data: Option<Data>,
        steps: u32,
    },
    Stream {
        /// Of the unit that is not complete yet.
        unit: Vec<u8>,
        sets: Vec<(u64, u64)>,
        is_multi: bool,
    },
}

#[derive(Debug)]
struct Upstream {
    connection: ConnectionId,
    input: Vec<u8>,
    mode: Mode,
    /// Commands to the primary are few, but the window is narrow.
    out: VecDeque<u8>,
}

/// The second connection to the primary.
#[derive(Debug)]
struct Channel {
    connection: ConnectionId,
    input: Vec<u8>,
    out: VecDeque<u8>,
    snapshot: Option<Framing>,
}

#[derive(Clone, Debug)]
enum Job {
    /// The snapshot for these links is complete, or has failed.
    Snapshot {
        links: Vec<(LinkId, u64)>,
        framing: Framing,
        data: Data,
    },
    Load(ConnectionId),
}

#[derive(Debug)]
pub(crate) struct Server {
    me: NodeId,
    settings: Settings,
    machine: Machine,
    data: Data,
    log: StreamLog,
    disk: Option<Saved>,
    upstream: Option<Upstream>,
    channel: Option<Channel>,
    links: BTreeMap<LinkId, Link>,
    by_connection: BTreeMap<ConnectionId, LinkId>,
    next_link: u64,
    is_paused: bool,
    /// The last FAILOVER was to take place in any case.
    is_forced: bool,
    jobs: BTreeMap<u64, Job>,
    next_job: u64,
    oracle: Rc<RefCell<Oracle>>,
}

pub(crate) fn address(node: NodeId) -> Address {
    Address { host: format!("node-{}", node.0), port: 6379 }
}

fn node_at(address: &Address) -> NodeId {
    NodeId(wire::number(address.host.trim_start_matches("node-").as_bytes()))
}

fn new_id(random: &mut impl Rng) -> ReplicationId {
    ReplicationId::from_random(random.random())
}

impl Server {
    /// Starts with what its disk holds, and follows whom it is told to follow.
    pub(crate) fn start(
        me: NodeId,
        settings: Settings,
        disk: Option<Saved>,
        follow: Option<NodeId>,
        oracle: Rc<RefCell<Oracle>>,
        now: Ms,
        random: &mut impl Rng,
    ) -> Server {
        let mut config = settings.config.clone();
        let Address { host, port } = address(me);
        (config.announce_host, config.announce_port) = (host, port);
        let mut machine = Machine::new(now, config, History::new(new_id(random)));
        let mut log = StreamLog::default();
        let data = disk.as_ref().map(|saved| saved.data.clone()).unwrap_or_default();
        if let Some((id, offset)) = disk.as_ref().and_then(|saved| saved.stream) {
            machine.restored(id, offset, new_id(random));
            log.begin(offset, data.sum);
        }
        if let Some(primary) = follow {
            machine.follow(now, address(primary), log.view());
        }
        let server = Server {
            me,
            settings,
            machine,
            data,
            log,
            disk,
            upstream: None,
            channel: None,
            links: BTreeMap::new(),
            by_connection: BTreeMap::new(),
            next_link: 0,
            is_paused: false,
            is_forced: false,
            jobs: BTreeMap::new(),
            next_job: 0,
            oracle,
        };
        if let Some((id, offset)) = server.disk.as_ref().and_then(|saved| saved.stream) {
            server.oracle.borrow_mut().claim(me, id, offset, server.data.sum);
        }
        server
    }

    pub(crate) fn disk(&self) -> Option<Saved> {
        self.disk.clone()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn data(&self) -> &Data {
        &self.data
    }

    pub(crate) fn log(&self) -> Log {
        self.log.view()
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(crate) fn follows(&self) -> Option<NodeId> {
        match self.machine.role() {
            Role::Primary => None,
            Role::Replica(address) => Some(node_at(address)),
        }
    }

    fn is_primary(&self) -> bool {
        *self.machine.role() == Role::Primary
    }

    fn claim(&self) {
        if self.log.first().is_some() {
            let id = self.machine.history().id;
            self.oracle.borrow_mut().claim(self.me, id, self.log.end(), self.data.sum);
        }
    }
}

/// What comes from clients and operators.
impl Server {
    /// One unit of effects, if this is a primary that takes writes.
    pub(crate) fn write(&mut self, sets: &[(u64, u64)], context: &mut Context<'_>) -> bool {
        if !self.is_primary() || self.is_paused {
            return false;
        }
        let mut bytes = Vec::new();
        if sets.len() > 1 {
            bytes.extend(wire::encode(&["MULTI"]));
        }
        for (key, value) in sets {
            self.data.set(*key, *value);
            bytes.extend(wire::encode(&["SET", &key.to_string(), &value.to_string()]));
        }
        if sets.len() > 1 {
            bytes.extend(wire::encode(&["EXEC"]));
        }
        self.append(&bytes);
        self.settle(context);
        true
    }

    pub(crate) fn follow(&mut self, primary: NodeId, context: &mut Context<'_>) {
        if self.machine.failover_state() == FailoverState::None && primary != self.me {
            self.machine.follow(context.now(), address(primary), self.log.view());
            self.settle(context);
        }
    }

    pub(crate) fn promote(&mut self, context: &mut Context<'_>) {
        if self.machine.failover_state() == FailoverState::None {
            let id = new_id(context.random());
            self.machine.promote(context.now(), id, self.log.view());
            self.claim();
            self.settle(context);
        }
    }

    pub(crate) fn failover(&mut self, request: FailoverRequest, context: &mut Context<'_>) {
        let is_forced = request.force;
        if self.machine.failover(context.now(), request, self.log.view()).is_ok() {
            self.is_forced = is_forced;
        }
        self.settle(context);
    }

    pub(crate) fn abort_failover(&mut self, context: &mut Context<'_>) {
        let _ = self.machine.abort_failover(context.now());
        self.claim();
        self.settle(context);
    }

    /// DEBUG CHANGE-REPL-ID at a primary. Replicas do not hear of it while they are linked.
    pub(crate) fn change_id(&mut self, context: &mut Context<'_>) {
        if !self.is_primary() {
            return;
        }
        let id = new_id(context.random());
        self.machine.change_id(id);
        for link in self.links.keys().copied().collect::<Vec<LinkId>>() {
            self.drop_link(link, context);
        }
        self.settle(context);
    }

    pub(crate) fn ask_for_acks(&mut self, context: &mut Context<'_>) {
        self.machine.ask_for_acks();
        self.settle(context);
    }

    /// BGSAVE.
    pub(crate) fn save(&mut self) {
        let stream = self.log.first().map(|_| (self.machine.history().id, self.log.end()));
        self.disk = Some(Saved { data: self.data.clone(), stream });
    }
}

/// What the machine says.
impl Server {
    fn settle(&mut self, context: &mut Context<'_>) {
        while let Some(action) = self.machine.poll_action() {
            if context.trace().is_shown() {
                let (now, me) = (context.now().0, self.me.0);
                context.trace().say(|| match &action {
                    Action::Send(bytes) | Action::Reply(_, bytes) | Action::Append(bytes) => {
                        let kind = if matches!(action, Action::Send(_)) { "Send" } else { "Reply/Append" };
                        format!("{now:>8} node {me}:     {kind} {}", bytes.escape_ascii())
                    }
                    action => format!("{now:>8} node {me}:     {action:?}"),
                });
            }
            self.perform(action, context);
        }
        self.trim();
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.flush(link, context);
        }
        self.flush_upstream(context);
        // Sending may have completed something.
        if let Some(action) = self.machine.poll_action() {
            self.perform(action, context);
            self.settle(context);
        }
    }

    fn perform(&mut self, action: Action, context: &mut Context<'_>) {
        match action {
            Action::Connect(address) => {
                let connection = context.connect(node_at(&address));
                self.upstream =
                    Some(Upstream { connection, input: Vec::new(), mode: Mode::Lines, out: VecDeque::new() });
            }
            Action::Close => {
                if let Some(upstream) = self.upstream.take() {
                    context.close(upstream.connection);
                }
                self.close_channel(context);
            }
            Action::ConnectChannel(address) => {
                let connection = context.connect(node_at(&address));
                self.channel = Some(Channel { connection, input: Vec::new(), out: VecDeque::new(), snapshot: None });
            }
            Action::SendOnChannel(bytes) => {
                if let Some(channel) = &mut self.channel {
                    channel.out.extend(bytes);
                }
            }
            Action::Keep => {
                if let Some(upstream) = &mut self.upstream {
                    upstream.mode = Mode::Keep;
                }
            }
            Action::ReceiveOnChannel { framing, .. } => {
                if let Some(channel) = &mut self.channel {
                    channel.snapshot = Some(framing);
                }
                self.digest_channel(context);
            }
            Action::Send(bytes) => {
                if bytes.windows(5).any(|word| word == b"PSYNC") {
                    let history = *self.machine.history();
                    let (log, sum, is_forced) = (self.log.view(), self.data.sum, self.is_forced);
                    self.oracle.borrow_mut().asks(self.me, Asked { history, log, sum, is_forced });
                }
                if let Some(upstream) = &mut self.upstream {
                    upstream.out.extend(bytes);
                }
            }
            Action::ReceiveSnapshot(framing) => {
                if let Some(upstream) = &mut self.upstream {
                    upstream.mode = Mode::Snapshot(framing);
                }
            }
            Action::Stream => {
                if let Some(upstream) = &mut self.upstream {
                    upstream.mode = Mode::Stream { unit: Vec::new(), sets: Vec::new(), is_multi: false };
                }
                self.claim();
            }
            Action::Reply(link, bytes) => {
                if let Some(link) = self.links.get_mut(&link) {
                    assert!(!link.has_begun, "a reply within a snapshot");
                    link.out.extend(bytes);
                }
            }
            Action::Patience(link) => {
                if let Some(link) = self.links.get_mut(&link)
                    && !link.has_begun
                {
                    link.out.push_back(b'\n');
                }
            }
            Action::Feed { link, from } => {
                if let Some(link) = self.links.get_mut(&link) {
                    link.feed = Some(from);
                    link.keeps = None;
                }
            }
            Action::Snapshot { links, framing, .. } => self.begin_snapshot(links, framing, context),
            Action::Disconnect { link, .. } => self.drop_link(link, context),
            Action::Append(bytes) => {
                assert!(self.is_primary(), "only a primary adds to the stream");
                self.append(&bytes);
            }
            Action::DropLog => {
                assert!(self.is_primary() && self.links.values().all(|link| link.feed.is_none()));
                self.log.forget();
            }
            Action::BecomeReplica | Action::BecomePrimary | Action::Note(..) => {}
            Action::FeedBeside { link, from } => {
                if let Some(link) = self.links.get_mut(&link) {
                    link.feed = Some(from);
                }
            }
            Action::Release(link) => {
                if let Some(link) = self.links.get_mut(&link) {
                    link.keeps = None;
                }
            }
            Action::PauseWrites => self.is_paused = true,
            Action::ResumeWrites => self.is_paused = false,
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.log.append(bytes, self.data.sum);
        self.claim();
    }

    fn begin_snapshot(&mut self, links: Vec<LinkId>, framing: Framing, context: &mut Context<'_>) {
        let cut = self.log.end();
        self.machine.cut(context.now(), &links, cut, None);
        for link in &links {
            let keeps = self.machine.keeps_log_for(*link).then_some(cut);
            if let Some(link) = self.links.get_mut(link) {
                link.keeps = keeps;
            }
        }
        self.oracle.borrow_mut().stats.snapshots += 1;
        let links = links.into_iter().map(|link| (link, cut)).collect();
        let job = Job::Snapshot { links, framing, data: self.data.clone() };
        self.begin_job(job, self.settings.snapshot_ms, context);
    }

    fn begin_job(&mut self, job: Job, ms: u64, context: &mut Context<'_>) {
        self.next_job += 1;
        self.jobs.insert(self.next_job, job);
        context.later(ms, self.next_job);
    }

    fn finish_job(&mut self, token: u64, context: &mut Context<'_>) {
        match self.jobs.remove(&token) {
            Some(Job::Snapshot { links, framing, data }) => self.snapshot_is_made(&links, framing, &data, context),
            Some(Job::Load(connection)) => self.load_on(connection, context),
            None => {}
        }
    }

    fn snapshot_is_made(&mut self, links: &[(LinkId, u64)], framing: Framing, data: &Data, context: &mut Context<'_>) {
        let now = context.now();
        if context.random().random_bool(0.03) {
            let links: Vec<LinkId> = links.iter().map(|(link, _)| *link).collect();
            self.machine.snapshot_failed_for(now, &links);
            return;
        }
        let bytes = data.encode();
        for (link, _) in links {
            let Some(link) = self.links.get_mut(link) else { continue };
            match framing {
                Framing::Stream => {
                    let mark: [u8; 40] =
                        *new_id(context.random()).as_str().as_bytes().first_chunk().expect("40 digits");
                    link.out.extend(b"$EOF:");
                    link.out.extend(mark);
                    link.out.extend(b"\r\n");
                    link.out.extend(&bytes);
                    link.out.extend(mark);
                }
                _ => {
                    link.out.extend(format!("${}\r\n", bytes.len()).into_bytes());
                    link.out.extend(&bytes);
                }
            }
            link.has_begun = true;
            link.snapshot_left = Some(link.out.len());
        }
        self.machine.snapshot_made(now);
    }

    fn trim(&mut self) {
        let backlog = self.settings.config.backlog_bytes;
        let needed = self.links.values().filter_map(|link| link.feed.or(link.keeps)).min();
        let end = self.log.end();
        let at_most = end.saturating_sub(4 * backlog);
        let to = needed.map_or(u64::MAX, |needed| needed.max(at_most)).min(end.saturating_sub(backlog));
        self.log.trim(to);
    }
}

/// Links to replicas.
impl Server {
    fn drop_link(&mut self, id: LinkId, context: &mut Context<'_>) {
        if let Some(link) = self.links.remove(&id) {
            self.by_connection.remove(&link.connection);
            context.close(link.connection);
            self.machine.gone(context.now(), id);
        }
    }

    fn flush(&mut self, id: LinkId, context: &mut Context<'_>) {
        loop {
            let Some(link) = self.links.get_mut(&id) else { return };
            if link.out.is_empty() {
                break;
            }
            let bytes: Vec<u8> = link.out.iter().take(4096).copied().collect();
            let sent = context.send(link.connection, &bytes);
            link.out.drain(..sent);
            if let Some(left) = &mut link.snapshot_left {
                *left -= sent.min(*left);
                if *left == 0 {
                    link.snapshot_left = None;
                    self.machine.snapshot_sent(context.now(), id);
                }
            }
            if sent < bytes.len() {
                return;
            }
        }
        loop {
            let Some(link) = self.links.get_mut(&id) else { return };
            let Some(from) = link.feed else { return };
            let Some(bytes) = self.log.read(from, 4096) else {
                // Too slow.
                self.oracle.borrow_mut().stats.too_slow += 1;
                return self.drop_link(id, context);
            };
            if bytes.is_empty() {
                return;
            }
            let sent = context.send(link.connection, &bytes);
            link.feed = Some(from + sent as u64);
            if sent < bytes.len() {
                return;
            }
        }
    }

    fn client_sends(&mut self, id: LinkId, bytes: &[u8], context: &mut Context<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.input.extend(bytes);
        while let Some(link) = self.links.get_mut(&id)
            && let Some((words, length)) = wire::decode(&link.input)
        {
            link.input.drain(..length);
            self.client_command(id, &words, context);
            self.settle(context);
        }
    }

    fn client_command(&mut self, id: LinkId, words: &[Vec<u8>], context: &mut Context<'_>) {
        let now = context.now();
        let Some(link) = self.links.get_mut(&id) else { return };
        let from = link.from;
        let host = address(from).host;
        let Some((name, rest)) = words.split_first() else {
            self.machine.sign_of_life(now, id);
            return;
        };
        let rest: Vec<&[u8]> = rest.iter().map(Vec::as_slice).collect();
        let password = &self.settings.config.password;
        if !link.is_known && !password.is_empty() && name != b"AUTH" {
            link.out.extend(b"-NOAUTH Authentication required.\r\n");
            return;
        }
        match &name[..] {
            b"PING" => link.out.extend(b"+PONG\r\n"),
            b"AUTH" if rest.last() == Some(&&password[..]) => {
                link.is_known = true;
                link.out.extend(b"+OK\r\n");
            }
            b"AUTH" => link.out.extend(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
            b"REPLCONF" => match self.machine.replconf(now, id, &host, &rest, self.log.view()) {
                Replconf::Ok => link.out.extend(b"+OK\r\n"),
                Replconf::Silent => {}
                Replconf::Error(text) => link.out.extend(format!("-{text}\r\n").into_bytes()),
            },
            b"PSYNC" => {
                let offset: i64 = String::from_utf8_lossy(rest[1]).parse().expect("an offset");
                let request = SyncRequest::Psync { id: rest[0], offset, failover: rest.len() > 2 };
                self.sync(id, from, request, context);
            }
            b"SYNC" => self.sync(id, from, SyncRequest::Sync, context),
            name => panic!("no command: {}", name.escape_ascii()),
        }
    }

    fn sync(&mut self, id: LinkId, from: NodeId, request: SyncRequest<'_>, context: &mut Context<'_>) {
        let stream = new_id(context.random());
        let was_primary = self.is_primary();
        let log = self.log.view();
        let answer = self.machine.sync(context.now(), id, &address(from).host, request, log, stream);
        if !was_primary && self.is_primary() {
            self.oracle.borrow_mut().hands_over(from, self.log.end());
            self.claim();
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        match answer {
            Sync::Continue { reply, from } => {
                link.out.extend(reply);
                link.feed = Some(from);
                self.oracle.borrow_mut().stats.partial += 1;
            }
            Sync::Wait => {
                // Who says SYNC, on a second connection, has asked on the first.
                if request != SyncRequest::Sync {
                    self.oracle.borrow_mut().refuses_part(from, self.machine.history(), &self.log);
                }
                self.oracle.borrow_mut().stats.full += 1;
                if self.log.first().is_none() {
                    self.log.begin(self.log.end(), self.data.sum);
                    self.claim();
                }
            }
            Sync::Second => {}
            Sync::Offer(text) => {
                link.out.extend(format!("+{text}\r\n").into_bytes());
                self.oracle.borrow_mut().refuses_part(from, self.machine.history(), &self.log);
            }
            Sync::Refuse(text) => link.out.extend(format!("-{text}\r\n").into_bytes()),
        }
    }
}

/// The link to the primary.
impl Server {
    fn flush_upstream(&mut self, context: &mut Context<'_>) {
        if let Some(upstream) = &mut self.upstream {
            let bytes: Vec<u8> = upstream.out.iter().copied().collect();
            let sent = context.send(upstream.connection, &bytes);
            upstream.out.drain(..sent);
        }
        if let Some(channel) = &mut self.channel {
            let bytes: Vec<u8> = channel.out.iter().copied().collect();
            let sent = context.send(channel.connection, &bytes);
            channel.out.drain(..sent);
        }
    }

    fn close_channel(&mut self, context: &mut Context<'_>) {
        if let Some(channel) = self.channel.take() {
            context.close(channel.connection);
        }
    }

    /// The second connection, as far as what has come can be understood.
    fn digest_channel(&mut self, context: &mut Context<'_>) {
        let now = context.now();
        while self.machine.channel_has_lines()
            && let Some(channel) = &mut self.channel
            && let Some((line, next)) = wire::line(&channel.input, 0)
        {
            let line = line.to_vec();
            channel.input.drain(..next);
            self.machine.channel_line(now, &line);
            self.settle(context);
        }
        let Some(channel) = &self.channel else { return };
        let (Some(framing), Some(upstream)) = (channel.snapshot, &mut self.upstream) else { return };
        self.machine.snapshot_progress(now, channel.input.len() as u64);
        let Some((length, _)) = snapshot_in(&channel.input, framing) else { return };
        let data = Data::decode(&channel.input[..length]);
        assert!(data.is_some(), "node {} got a broken snapshot", self.me.0);
        upstream.mode = Mode::Loading { data, steps: 3 };
        let connection = upstream.connection;
        self.close_channel(context);
        self.oracle.borrow_mut().stats.beside += 1;
        self.begin_to_load(connection, context);
    }

    fn begin_to_load(&mut self, connection: ConnectionId, context: &mut Context<'_>) {
        if self.settings.empties_first {
            self.data = Data::default();
            self.log.forget();
        }
        let ms = self.settings.load_ms(context.random());
        self.begin_job(Job::Load(connection), ms, context);
    }

    fn primary_sends(&mut self, bytes: &[u8], context: &mut Context<'_>) {
        self.machine.heard(context.now());
        if let Some(upstream) = &mut self.upstream {
            upstream.input.extend(bytes);
        }
        self.digest(context);
    }

    /// As far as what has come can be understood.
    fn digest(&mut self, context: &mut Context<'_>) {
        let now = context.now();
        loop {
            let Some(upstream) = &mut self.upstream else { return };
            match &mut upstream.mode {
                Mode::Lines => {
                    let Some((line, next)) = wire::line(&upstream.input, 0) else { return };
                    let line = line.to_vec();
                    upstream.input.drain(..next);
                    self.machine.line(now, &line, self.log.view());
                    self.settle(context);
                }
                Mode::Snapshot(framing) => {
                    let framing = *framing;
                    self.machine.snapshot_progress(now, upstream.input.len() as u64);
                    let Some((length, mark)) = snapshot_in(&upstream.input, framing) else { return };
                    let data = Data::decode(&upstream.input[..length]);
                    assert!(data.is_some(), "node {} got a broken snapshot", self.me.0);
                    upstream.input.drain(..length + mark);
                    upstream.mode = Mode::Loading { data, steps: 3 };
                    let connection = upstream.connection;
                    return self.begin_to_load(connection, context);
                }
                Mode::Keep => return,
                Mode::Loading { .. } => return,
                Mode::Stream { .. } => {
                    let Some((words, length)) = wire::decode(&upstream.input) else { return };
                    let raw: Vec<u8> = upstream.input.drain(..length).collect();
                    self.stream_command(&words, &raw, context);
                }
            }
        }
    }

    fn load_on(&mut self, connection: ConnectionId, context: &mut Context<'_>) {
        let now = context.now();
        let Some(upstream) = self.upstream.as_mut().filter(|upstream| upstream.connection == connection) else {
            return;
        };
        let Mode::Loading { data, steps } = &mut upstream.mode else { return };
        self.machine.snapshot_progress(now, 0);
        *steps -= 1;
        if *steps > 0 {
            let ms = self.settings.load_ms(context.random());
            return self.begin_job(Job::Load(connection), ms, context);
        }
        if context.random().random_bool(0.03) {
            self.machine.snapshot_failed(now, "it does not please us");
            return;
        }
        self.data = data.take().expect("it was decoded");
        self.log.begin(self.machine.upstream_offset(), self.data.sum);
        self.machine.snapshot_loaded(now);
        self.settle(context);
        self.digest(context);
    }

    fn stream_command(&mut self, words: &[Vec<u8>], raw: &[u8], context: &mut Context<'_>) {
        let now = context.now();
        let Some(Upstream { mode: Mode::Stream { unit, sets, is_multi }, .. }) = &mut self.upstream else { return };
        unit.extend(raw);
        match words.first().map(Vec::as_slice) {
            Some(b"MULTI") => {
                *is_multi = true;
                return;
            }
            Some(b"SET") => {
                sets.push((wire::number(&words[1]) as u64, wire::number(&words[2]) as u64));
                if *is_multi {
                    return;
                }
            }
            Some(b"EXEC") => *is_multi = false,
            Some(b"REPLCONF") => self.machine.wants_ack(now),
            Some(b"PING") => {}
            other => panic!("not in a stream: {other:?}"),
        }
        let unit = std::mem::take(unit);
        for (key, value) in std::mem::take(sets) {
            self.data.set(key, value);
        }
        self.append(&unit);
        let end = self.log.end();
        self.machine.applied(now, end, self.settings.has_file.then_some(end));
        self.settle(context);
    }
}

/// How long the snapshot is that these bytes begin with, and the mark behind it, if it is whole.
fn snapshot_in(bytes: &[u8], framing: Framing) -> Option<(usize, usize)> {
    match framing {
        Framing::Length(length) => {
            let length = usize::try_from(length).expect("small");
            (bytes.len() >= length).then_some((length, 0))
        }
        // As real servers do: the mark is looked for at the end of what was read.
        Framing::Mark(mark) => bytes.ends_with(&mark).then(|| (bytes.len() - mark.len(), mark.len())),
        Framing::File | Framing::Stream => None,
    }
}

impl Node for Server {
    fn handle(&mut self, event: Event, context: &mut Context<'_>) {
        let now = context.now();
        let is_primary = |connection: ConnectionId, server: &Server| {
            server.upstream.as_ref().is_some_and(|upstream| upstream.connection == connection)
        };
        let is_channel = |connection: ConnectionId, server: &Server| {
            server.channel.as_ref().is_some_and(|channel| channel.connection == connection)
        };
        match event {
            Event::Timer => self.machine.handle_timeout(now, self.log.view()),
            Event::Accepted { connection, from } => {
                self.next_link += 1;
                let id = LinkId(self.next_link);
                self.by_connection.insert(connection, id);
                self.links.insert(
                    id,
                    Link {
                        connection,
                        from,
                        is_known: false,
                        input: Vec::new(),
                        out: VecDeque::new(),
                        snapshot_left: None,
                        has_begun: false,
                        keeps: None,
                        feed: None,
                    },
                );
            }
            Event::Connected { connection } => {
                if is_primary(connection, self) {
                    self.machine.connected(now);
                } else if is_channel(connection, self) {
                    self.machine.channel_connected(now);
                }
            }
            Event::Received { connection, bytes } => {
                if is_primary(connection, self) {
                    self.primary_sends(&bytes, context);
                } else if let Some(channel) = self.channel.as_mut().filter(|channel| channel.connection == connection) {
                    channel.input.extend(bytes);
                    self.digest_channel(context);
                } else if let Some(link) = self.by_connection.get(&connection).copied() {
                    self.client_sends(link, &bytes, context);
                }
            }
            Event::Writable { .. } => {}
            Event::Closed { connection } => {
                if is_primary(connection, self) {
                    self.upstream = None;
                    self.machine.disconnected(now, "closed");
                } else if is_channel(connection, self) {
                    self.channel = None;
                    self.machine.channel_disconnected(now, "closed");
                } else if let Some(link) = self.by_connection.remove(&connection) {
                    self.links.remove(&link);
                    self.machine.gone(now, link);
                }
            }
            Event::Later { token } => self.finish_job(token, context),
        }
        self.claim_if_primary();
        self.settle(context);
    }

    fn next_deadline(&self) -> Option<Ms> {
        self.machine.next_deadline()
    }
}

impl Server {
    /// A failover that was given up makes a primary, and a stream, out of turn.
    fn claim_if_primary(&self) {
        if self.is_primary() {
            self.claim();
        }
    }
}

//! Our side of the links to our replicas.
//!
//! ```text
//!          sync()                              Snapshot        cut(), snapshot_sent()
//!  Client ─────────▶ Waiting ────────────────▶ Receiving ───────────────────┬────────────▶ Online ──▶ too long without REPLCONF ACK:
//!     │               ▲ with others, for the   │                            │ with a mark    ▲        Disconnect
//!     │               │ delay of diskless      │ snapshot_failed_for():     └▶ Loading ──────┘
//!     │               │                        ▼ Disconnect                    first REPLCONF ACK
//!     └──── +CONTINUE: Online at once
//! ```
//!
//! A replica that reads a snapshot up to its mark cannot have the stream right behind it: it looks for the mark at the end of what it has read.
//! So the stream begins with its first acknowledgement.
//!
//! A replica that takes its snapshot on a [second connection](crate::channel) has two links, each of which knows the other:
//!
//! ```text
//!  first    Client ── +RDBCHANNELSYNC ──▶ Expecting ── cut of the second ──▶ Beside ── REPLCONF ACK ──▶ Online
//!             └────── +DUALCHANNELSYNC, stays a client, PSYNC of the cut ───────┘
//!  second   Client ── PSYNC, SYNC ──▶ Waiting ──▶ Receiving ── snapshot_sent() ──▶ Delivered ──▶ gone()
//! ```

use std::collections::BTreeMap;

use crate::channel::Dialect;
use crate::machine::{SECOND_MS, encode};
use crate::planted::planted;
use crate::upstream::number;
use crate::{Action, Config, Framing, History, Level, LinkId, Log, Machine, Ms, ReplicationId};

/// What REPLCONF is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replconf {
    Ok,
    /// No reply.
    Silent,
    /// The error's text, with its code.
    Error(String),
}

/// SYNC or PSYNC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncRequest<'a> {
    Sync,
    Psync { id: &'a [u8], offset: i64, failover: bool },
}

/// What SYNC and PSYNC come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sync {
    /// This reply, then the log from here on.
    Continue { reply: Vec<u8>, from: u64 },
    /// The link waits for a snapshot; what it gets comes by actions. So it is, too, if the link is a replica's already.
    Wait,
    /// As [`Sync::Wait`], for the second to ask of the two connections of a replica: the first counts for both.
    Second,
    /// This simple string; the link stays a plain client, and will ask again when its other connection has.
    Offer(&'static str),
    /// The error's text, with its code; the link stays a plain client.
    Refuse(String),
}

/// What of the data a link wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    #[default]
    Everything,
    /// `REPLCONF rdb-filter-only functions`: of a tool that wants these alone.
    Functions,
    /// `REPLCONF rdb-filter-only ""`.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    /// `wait_bgsave`.
    WaitsForSnapshot,
    /// `send_bulk`.
    ReceivesSnapshot,
    /// `send_bulk_and_stream`, `bg_transfer`: on two connections.
    ReceivesBoth(Dialect),
    /// `online`.
    Online,
}

impl ReplicaState {
    /// As INFO says it.
    pub fn word(self) -> &'static str {
        match self {
            ReplicaState::WaitsForSnapshot => "wait_bgsave",
            ReplicaState::ReceivesSnapshot => "send_bulk",
            ReplicaState::ReceivesBoth(Dialect::Redis) => "send_bulk_and_stream",
            ReplicaState::ReceivesBoth(Dialect::Valkey) => "bg_transfer",
            ReplicaState::Online => "online",
        }
    }
}

/// What INFO, ROLE and CLIENT LIST tell of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaReport {
    pub link: LinkId,
    /// As it announced itself, else where it connects from.
    pub host: String,
    /// As it announced itself, else 0.
    pub port: u16,
    pub state: ReplicaState,
    /// What it has acknowledged.
    pub offset: u64,
    /// What it has acknowledged as being in its append-only file.
    pub disk_offset: u64,
    /// Since anything was heard of it; 0 unless it is online.
    pub lag_ms: u64,
    /// It wants a snapshot and no stream.
    pub rdb_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A client that has told something of itself.
    Client,
    Waiting {
        since: Ms,
    },
    Receiving {
        framing: Framing,
        cut: Option<u64>,
    },
    /// Its snapshot was sent with a mark; the stream goes on from the cut, once it has been loaded.
    Loading {
        cut: u64,
    },
    Online,
    /// It brings another connection for its snapshot, and gets nothing before that is cut.
    Expecting,
    /// It gets the stream while its snapshot goes over its other connection, and until it has loaded that.
    Beside {
        dialect: Dialect,
    },
    /// A second connection, over which the snapshot has gone.
    Delivered,
}

#[derive(Debug)]
struct Link {
    /// Where it comes from.
    peer: String,
    host: Option<String>,
    port: u16,
    accepts_eof: bool,
    accepts_new_id: bool,
    rdb_only: bool,
    content: Content,
    /// What else the stream is called that it has up to before this offset: for PSYNC, of that offset.
    other_id: Option<(ReplicationId, i64)>,
    /// What it offers of a second connection.
    offers: Vec<Dialect>,
    /// It is a second connection.
    is_channel: bool,
    /// The other connection of the same replica, if that is still there.
    other: Option<LinkId>,
    state: State,
    /// It sent SYNC: it gets no word but the snapshot, and need not acknowledge.
    is_old: bool,
    acknowledged: u64,
    acknowledged_on_disk: u64,
    heard_at: Ms,
    /// Since when it has taken nothing of its snapshot, though there is some for it.
    stalled_since: Option<Ms>,
}

impl Link {
    fn new(host: &str, now: Ms) -> Link {
        Link {
            peer: host.to_owned(),
            host: None,
            port: 0,
            accepts_eof: false,
            accepts_new_id: false,
            rdb_only: false,
            content: Content::Everything,
            other_id: None,
            offers: Vec::new(),
            is_channel: false,
            other: None,
            state: State::Client,
            is_old: false,
            acknowledged: 0,
            acknowledged_on_disk: 0,
            heard_at: now,
            stalled_since: None,
        }
    }

    fn is_replica(&self) -> bool {
        self.state != State::Client
    }

    fn is_online(&self) -> bool {
        matches!(self.state, State::Online | State::Loading { .. })
    }

    /// Whether it gets the stream.
    fn is_fed(&self) -> bool {
        self.is_online() || matches!(self.state, State::Beside { .. })
    }

    fn shown_host(&self) -> &str {
        self.host.as_deref().unwrap_or(&self.peer)
    }
}

/// Who hangs on us.
#[derive(Debug)]
pub(crate) struct Downstream {
    links: BTreeMap<LinkId, Link>,
    /// Those of the snapshot that is being made; nobody else's may begin meanwhile.
    making: Vec<LinkId>,
    ping_at: Ms,
    empty_line_at: Ms,
    /// Since when a primary has had no replicas; `None` also once the log was dropped.
    pub(crate) lonely_since: Option<Ms>,
}

/// A host's name is at most so long, as in real servers.
const HOST_BYTES_MAX: usize = 255;
/// More clients than this do not become replicas.
const LINKS_MAX: usize = 10_000;

impl Downstream {
    pub(crate) fn new(now: Ms) -> Downstream {
        Downstream {
            links: BTreeMap::new(),
            making: Vec::new(),
            ping_at: now,
            empty_line_at: now,
            lonely_since: Some(now),
        }
    }

    pub(crate) fn become_primary(&mut self, now: Ms) {
        self.lonely_since = Some(now);
        self.ping_at = now;
    }

    fn online(&self) -> impl Iterator<Item = &Link> {
        self.links.values().filter(|link| link.is_online() && !link.rdb_only)
    }

    fn fed(&self) -> impl Iterator<Item = &Link> {
        self.links.values().filter(|link| link.is_fed() && !link.rdb_only)
    }

    /// The other connection of the same replica.
    fn other(&self, link: &Link) -> Option<&Link> {
        self.links.get(&link.other?)
    }

    /// Whether the snapshot for this second connection was cut, and its first has not come to know of it.
    fn lacks_first(&self, link: &Link) -> bool {
        let is_cut = matches!(link.state, State::Receiving { cut: Some(_), .. } | State::Delivered);
        link.is_channel && is_cut && self.other(link).is_none()
    }

    /// Since when something has to be heard of a link, or taken by it, if anything has to.
    fn silent_since(&self, link: &Link) -> Option<Ms> {
        let speaks = match link.state {
            State::Online | State::Loading { .. } => !link.is_old,
            State::Expecting => self.other(link).is_none(),
            // It has nothing to say before it has its snapshot.
            State::Beside { .. } => self.other(link).is_none_or(|other| other.state == State::Delivered),
            State::Delivered => !self.other(link).is_some_and(|first| matches!(first.state, State::Beside { .. })),
            State::Receiving { .. } if self.lacks_first(link) => true,
            // Others may wait for the slowest.
            State::Receiving { .. } => return link.stalled_since,
            State::Client | State::Waiting { .. } => false,
        };
        speaks.then_some(link.heard_at)
    }

    fn has_replicas(&self) -> bool {
        self.links.values().any(Link::is_replica)
    }
}

/// What a replica says.
impl Machine {
    /// REPLCONF from a client, or from a replica that was one. The words behind the command's name; `host` is where it connects from.
    ///
    /// Whoever passes a link in must say [`Machine::gone`] when it is.
    pub fn replconf(&mut self, now: Ms, link: LinkId, host: &str, words: &[&[u8]], log: Log) -> Replconf {
        if !words.len().is_multiple_of(2) {
            return error("ERR syntax error");
        }
        for pair in words.chunks_exact(2) {
            let (option, value) = (pair[0].to_ascii_lowercase(), pair[1]);
            match &option[..] {
                b"ack" => {
                    let disk = words.get(2).is_some_and(|word| word.eq_ignore_ascii_case(b"fack"));
                    let durable = if disk { words.get(3).and_then(|word| number(word)) } else { None };
                    self.acknowledge_from(now, link, number(value), durable, log);
                    return Replconf::Silent;
                }
                // Only a primary's stream may ask for it.
                b"getack" => return Replconf::Silent,
                _ => {}
            }
            let links = &mut self.downstream.links;
            if !links.contains_key(&link) && links.len() >= LINKS_MAX {
                return error("ERR too many replicas");
            }
            let known = links.entry(link).or_insert_with(|| Link::new(host, now));
            match &option[..] {
                b"listening-port" => match integer(value) {
                    Some(port) => known.port = u16::try_from(port).unwrap_or_default(),
                    None => return error("ERR value is not an integer or out of range"),
                },
                b"ip-address" => {
                    if value.len() > HOST_BYTES_MAX {
                        return error(format!(
                            "ERR REPLCONF ip-address provided by replica instance is too long: {} bytes",
                            value.len()
                        ));
                    }
                    known.host = Some(String::from_utf8_lossy(value).into_owned()).filter(|host| !host.is_empty());
                }
                // What is not known is nothing that we could use.
                b"capa" => match &value.to_ascii_lowercase()[..] {
                    b"eof" => known.accepts_eof = true,
                    b"psync2" => known.accepts_new_id = true,
                    b"rdb-channel-repl" => known.offers.push(Dialect::Redis),
                    b"dual-channel" => known.offers.push(Dialect::Valkey),
                    _ => {}
                },
                b"other-replid" => match other_id(value) {
                    Some(other) => known.other_id = Some(other),
                    None => return error("ERR other-replid takes a replication id, a colon and an offset"),
                },
                b"rdb-only" => match integer(value) {
                    Some(wanted) => known.rdb_only = wanted == 1,
                    None => return error("ERR value is not an integer or out of range"),
                },
                b"rdb-filter-only" => {
                    let mut content = Content::Nothing;
                    for filter in value.split(|byte| *byte == b' ').filter(|filter| !filter.is_empty()) {
                        if !filter.eq_ignore_ascii_case(b"functions") {
                            return error(format!(
                                "ERR Unsupported rdb-filter-only option: {}",
                                String::from_utf8_lossy(filter)
                            ));
                        }
                        content = Content::Functions;
                    }
                    known.content = content;
                }
                b"rdb-channel" => match integer(value) {
                    Some(wanted) => known.is_channel = wanted == 1,
                    None => return error("ERR value is not an integer or out of range"),
                },
                b"main-ch-client-id" => match integer(value) {
                    Some(first) if self.pair(first, link, |first, _| first.state == State::Expecting) => {}
                    Some(first) => return error(format!("ERR Unrecognized RDB client id: {first}")),
                    None => return error("ERR value is not an integer or out of range"),
                },
                b"set-rdb-client-id" => match integer(value) {
                    Some(second) if self.pair_with_second(link, second) => {}
                    Some(second) => return error(format!("ERR Unrecognized RDB client id {second}")),
                    None => return error("ERR value is not an integer or out of range"),
                },
                // Valkey's replicas say which they are.
                b"version" => {
                    let mut parts = value.split(|byte| *byte == b'.');
                    if !(0..3).all(|_| parts.next().is_some_and(|part| number(part).is_some()))
                        || parts.next().is_some()
                    {
                        return error(format!("ERR Unrecognized version format: {}", String::from_utf8_lossy(value)));
                    }
                }
                _ => {
                    return error(format!("ERR Unrecognized REPLCONF option: {}", String::from_utf8_lossy(pair[0])));
                }
            }
        }
        Replconf::Ok
    }

    /// Makes these two the connections of one replica, if this holds for the first.
    fn pair(&mut self, first: i64, second: LinkId, may: impl Fn(&Link, &Downstream) -> bool) -> bool {
        let Some(first) = u64::try_from(first).ok().map(LinkId).filter(|first| *first != second) else { return false };
        let downstream = &mut self.downstream;
        let Some(link) = downstream.links.get(&first) else { return false };
        if downstream.other(link).is_some() || !may(link, downstream) {
            return false;
        }
        for (link, other) in [(first, second), (second, first)] {
            if let Some(known) = downstream.links.get_mut(&link) {
                known.other = Some(other);
            }
        }
        true
    }

    /// The same, from the other side: the second was named in its snapshot's first line.
    fn pair_with_second(&mut self, first: LinkId, second: i64) -> bool {
        self.pair(second, first, |second, downstream| downstream.lacks_first(second))
    }

    /// Whether the log has to be kept for a link from the cut of its snapshot on. That of two connections is kept for the first, once it is known.
    pub fn keeps_log_for(&self, link: LinkId) -> bool {
        self.downstream.links.get(&link).is_some_and(|link| self.downstream.other(link).is_none())
    }

    fn acknowledge_from(&mut self, now: Ms, id: LinkId, offset: Option<u64>, durable: Option<u64>, log: Log) {
        let Some(link) = self.downstream.links.get_mut(&id).filter(|link| link.is_replica()) else { return };
        link.heard_at = now;
        // Nobody has what was never sent, and nobody forgets.
        if let Some(offset) = offset {
            link.acknowledged = link.acknowledged.max(offset.min(log.end));
        }
        if let Some(durable) = durable {
            link.acknowledged_on_disk = link.acknowledged_on_disk.max(durable.min(log.end));
        }
        match link.state {
            State::Loading { cut } => {
                link.state = State::Online;
                self.act(Action::Feed { link: id, from: cut });
            }
            State::Beside { .. } => {
                let other = link.other;
                let is_under_way = |other| {
                    matches!(self.downstream.links.get(&other), Some(Link { state: State::Receiving { .. }, .. }))
                };
                if !other.is_some_and(is_under_way)
                    && let Some(link) = self.downstream.links.get_mut(&id)
                {
                    link.state = State::Online;
                    let name = format!("{}:{}", link.shown_host(), link.port);
                    self.note(Level::Notice, format!("Synchronization with replica {name} succeeded"));
                }
            }
            _ => {}
        }
        self.failover_acknowledged(now, log);
    }

    /// Something that is no command has come from this link: empty lines, while it loads.
    pub fn sign_of_life(&mut self, now: Ms, link: LinkId) {
        if let Some(link) = self.downstream.links.get_mut(&link) {
            link.heard_at = now;
        }
    }

    /// SYNC and PSYNC. `new_id` in case a stream begins, or that we become its primary. If the log counts nothing yet, it has to begin
    /// unless the request is refused.
    pub fn sync(
        &mut self,
        now: Ms,
        link: LinkId,
        host: &str,
        request: SyncRequest<'_>,
        log: Log,
        new_id: ReplicationId,
    ) -> Sync {
        if self.downstream.links.get(&link).is_some_and(Link::is_replica) {
            return Sync::Wait;
        }
        if let SyncRequest::Psync { id, failover: true, .. } = request {
            self.note(Level::Notice, format!("Failover request received for replid {}.", crate::upstream::shown(id)));
            if self.is_primary() {
                return Sync::Refuse("ERR PSYNC FAILOVER can't be sent to a master.".to_owned());
            }
            if ReplicationId::parse(id) != Some(self.history.id) {
                return Sync::Refuse("ERR PSYNC FAILOVER replid must match my replid.".to_owned());
            }
            self.note(Level::Notice, "MASTER MODE enabled (failover request)");
            self.promote(now, new_id, log);
        }
        if !self.is_primary() && !self.is_streaming() {
            return Sync::Refuse("NOMASTERLINK Can't SYNC while not connected with my master".to_owned());
        }
        if self.downstream.links.len() >= LINKS_MAX && !self.downstream.links.contains_key(&link) {
            return Sync::Refuse("ERR too many replicas".to_owned());
        }

        let first_of_all = log.first.is_none() && !self.downstream.has_replicas();
        let known = self.downstream.links.entry(link).or_insert_with(|| Link::new(host, now));
        let name = format!("{}:{}", known.shown_host(), known.port);
        known.heard_at = now;
        known.is_old = request == SyncRequest::Sync;
        self.downstream.lonely_since = None;
        self.note(Level::Notice, format!("Replica {name} asks for synchronization"));

        if let SyncRequest::Psync { id, offset, .. } = request
            && let Some(from) = self.shared(link, id, offset, log)
            && let Some(known) = self.downstream.links.get_mut(&link)
        {
            let is_second = known.other.filter(|_| !known.is_channel);
            known.state = State::Online;
            known.acknowledged = from;
            let reply = if known.accepts_new_id {
                self.is_untold = false;
                format!("+CONTINUE {}\r\n", self.history.id)
            } else {
                "+CONTINUE\r\n".to_owned()
            };
            self.note(
                Level::Notice,
                format!(
                    "Partial resynchronization request from {name} accepted. Sending {} bytes of backlog starting from offset {}.",
                    log.end - from,
                    from + 1
                ),
            );
            if let Some(second) = is_second {
                let from = if planted("beside-skips") { log.end } else { from };
                return self.feed_beside(link, second, from, reply);
            }
            return Sync::Continue { reply: reply.into_bytes(), from };
        }

        let offer = self.downstream.links.get(&link).and_then(|known| self.offer(known));
        if offer == Some(Dialect::Valkey) {
            self.note(
                Level::Notice,
                format!("Dual channel replication: replica {name} is to take its snapshot on a connection of its own"),
            );
            return Sync::Offer("DUALCHANNELSYNC");
        }

        if first_of_all {
            // What was changed while nobody counted belongs to no stream.
            self.history = History::new(new_id);
            self.is_untold = true;
            self.note(
                Level::Notice,
                format!("Replication backlog created, my new replication IDs are '{new_id}' and '{}'", "0".repeat(40)),
            );
        }
        if offer == Some(Dialect::Redis) {
            if let Some(known) = self.downstream.links.get_mut(&link) {
                known.state = State::Expecting;
            }
            self.note(Level::Notice, format!("Replica {name} is to take its snapshot on a connection of its own"));
            self.act(Action::Reply(link, format!("+RDBCHANNELSYNC {}\r\n", link.0).into_bytes()));
            return Sync::Wait;
        }
        let mut answer = Sync::Wait;
        if let Some(known) = self.downstream.links.get_mut(&link) {
            known.state = State::Waiting { since: now };
            if known.is_channel && known.other.is_some() {
                answer = Sync::Second;
            }
        }
        self.begin_snapshot_if_due(now);
        answer
    }

    /// How a link that needs a snapshot is to get it on a second connection, if it is. That is a thing for snapshots that are sent as they are made.
    fn offer(&self, link: &Link) -> Option<Dialect> {
        let suits = self.config.diskless && link.accepts_eof && !link.is_old && !link.is_channel && !link.rdb_only;
        let speaks = |dialect: &Dialect| match dialect {
            Dialect::Redis => self.config.rdb_channel,
            Dialect::Valkey => self.config.dual_channel,
        };
        link.offers.iter().copied().filter(|dialect| suits && speaks(dialect)).min()
    }

    /// The first connection of a replica asks for what follows the cut of the second.
    fn feed_beside(&mut self, link: LinkId, second: LinkId, from: u64, reply: String) -> Sync {
        if let Some(known) = self.downstream.links.get_mut(&link) {
            known.state = State::Beside { dialect: Dialect::Valkey };
            known.acknowledged = 0;
        }
        self.act(Action::Reply(link, reply.into_bytes()));
        self.act(Action::FeedBeside { link, from });
        self.act(Action::Release(second));
        Sync::Second
    }

    /// From where the log can be sent to this link, which has `id` up to before `offset`.
    fn shared(&mut self, link: LinkId, id: &[u8], offset: i64, log: Log) -> Option<u64> {
        if id == b"?" {
            self.note(Level::Notice, "Full resync requested by replica");
            return None;
        }
        let from = u64::try_from(offset).ok()?.checked_sub(1)?;
        let asked = ReplicationId::parse(id)?;
        // Who names two must learn by the reply which is ours.
        let known = self.downstream.links.get(&link).filter(|known| known.accepts_new_id);
        let other = known.and_then(|known| known.other_id).filter(|(_, at)| *at == offset).map(|(id, _)| id);
        let is_known = |id| {
            if planted("continue-after-fork") { self.knows(id) } else { self.history.shares(id, from) }
        };
        if ![Some(asked), other].into_iter().flatten().any(is_known) {
            let why = match self.history.second {
                Some((second, until)) if second == asked => {
                    format!("Requested offset for second ID was {offset}, but I can reply up to {}", until + 1)
                }
                _ => format!("Replication ID mismatch (Replica asked for '{asked}', my id is '{}')", self.history.id),
            };
            self.note(Level::Notice, format!("Partial resynchronization not accepted: {why}"));
            return None;
        }
        let first = log.first?;
        if !(first..=log.end).contains(&from) {
            let why = if from < first {
                "what it misses is not in the backlog any more: a larger repl-backlog-size keeps more"
            } else {
                "it has more than we have"
            };
            self.note(
                Level::Notice,
                format!(
                    "Unable to partial resync with replica for lack of backlog (Replica request was: {offset}): {why}"
                ),
            );
            return None;
        }
        Some(from)
    }

    fn knows(&self, id: ReplicationId) -> bool {
        id == self.history.id || self.history.second.is_some_and(|(second, _)| id == second)
    }

    /// The link has ended, whatever it was.
    pub fn gone(&mut self, now: Ms, link: LinkId) {
        let Some(known) = self.downstream.links.remove(&link) else { return };
        if known.is_replica() && known.state != State::Delivered {
            self.note(Level::Notice, format!("Connection with replica {}:{} lost.", known.shown_host(), known.port));
        }
        self.left(now, link);
        self.part(now, &known);
    }

    /// One of two connections has ended: the other is worth nothing without it, unless the snapshot has gone over it.
    fn part(&mut self, now: Ms, gone: &Link) {
        let Some((id, other)) = gone.other.and_then(|id| Some((id, self.downstream.links.get(&id)?))) else { return };
        if other.is_replica() && gone.state != State::Delivered && (gone.is_channel || other.state != State::Delivered)
        {
            self.disconnect(now, id, "the other one of its two connections has ended");
        }
    }

    /// A link is not among the links any more.
    fn left(&mut self, now: Ms, link: LinkId) {
        self.downstream.making.retain(|other| *other != link);
        if self.is_primary() && !self.downstream.has_replicas() && self.downstream.lonely_since.is_none() {
            self.downstream.lonely_since = Some(now);
        }
        self.begin_snapshot_if_due(now);
    }

    fn disconnect(&mut self, now: Ms, link: LinkId, why: impl Into<String>) {
        if let Some(known) = self.downstream.links.remove(&link) {
            self.act(Action::Disconnect { link, why: why.into() });
            self.left(now, link);
            self.part(now, &known);
        }
    }

    /// All replicas have to come anew.
    pub(crate) fn disconnect_replicas(&mut self, why: &str) {
        let links = std::mem::take(&mut self.downstream.links);
        for (link, known) in links {
            if known.is_replica() {
                self.act(Action::Disconnect { link, why: why.to_owned() });
            } else {
                self.downstream.links.insert(link, known);
            }
        }
        self.downstream.making.clear();
    }
}

/// Snapshots for those who wait.
impl Machine {
    /// Begins one for whoever waits longest, and all that want the same. Several that come within the delay cost one.
    pub(crate) fn begin_snapshot_if_due(&mut self, now: Ms) {
        if !self.downstream.making.is_empty() {
            return;
        }
        let Some(due) = self.snapshot_due() else { return };
        if now < due {
            return;
        }
        let Some((content, framing)) = self.next_snapshot() else { return };
        let mut links = Vec::new();
        for (link, known) in &mut self.downstream.links {
            if matches!(known.state, State::Waiting { .. }) && known.content == content {
                known.state = State::Receiving { framing, cut: None };
                links.push(*link);
            }
        }
        let target = if framing == Framing::Stream { "replicas sockets" } else { "disk" };
        self.note(Level::Notice, format!("Starting a snapshot for SYNC with target: {target}"));
        self.downstream.making.clone_from(&links);
        self.act(Action::Snapshot { links, framing, content });
    }

    /// What those want who have waited longest, and how they all can read it.
    fn next_snapshot(&self) -> Option<(Content, Framing)> {
        let content = self.waiting().min_by_key(|(since, _)| *since)?.1.content;
        let all_accept_eof =
            self.waiting().filter(|(_, link)| link.content == content).all(|(_, link)| link.accepts_eof);
        let framing = if self.config.diskless && all_accept_eof { Framing::Stream } else { Framing::File };
        Some((content, framing))
    }

    fn waiting(&self) -> impl Iterator<Item = (Ms, &Link)> {
        self.downstream.links.values().filter_map(|link| match link.state {
            State::Waiting { since } => Some((since, link)),
            _ => None,
        })
    }

    /// When the next snapshot is to begin, if nobody else comes.
    fn snapshot_due(&self) -> Option<Ms> {
        let (content, framing) = self.next_snapshot()?;
        let since = self.waiting().filter(|(_, link)| link.content == content).map(|(since, _)| since).min()?;
        let max = self.config.diskless_replicas_max;
        let is_full = max > 0 && self.waiting().filter(|(_, link)| link.content == content).count() >= max;
        Some(if framing == Framing::Stream && !is_full { since.plus(self.config.diskless_delay_ms) } else { since })
    }

    /// The cut for these links is made, at the log's end `offset`, where the stream has selected `stream_db`; none: it goes on with a SELECT.
    pub fn cut(&mut self, now: Ms, links: &[LinkId], offset: u64, stream_db: Option<u32>) {
        let id = self.history.id;
        let line = format!("+FULLRESYNC {id} {offset}\r\n");
        for link in links {
            let Some(known) = self.downstream.links.get_mut(link) else { continue };
            let State::Receiving { cut: cut @ None, .. } = &mut known.state else { continue };
            *cut = Some(offset);
            known.heard_at = now;
            self.is_untold = false;
            let (is_channel, is_old, other) = (known.is_channel, known.is_old, known.other);
            if is_channel && is_old {
                let db = stream_db.map_or(-1, i64::from);
                let line = format!("$ENDOFF:{offset} {id} {db} {}\r\n", link.0);
                self.act(Action::Reply(*link, line.into_bytes()));
            } else if !is_old {
                self.act(Action::Reply(*link, line.clone().into_bytes()));
            }
            if is_channel
                && let Some(first) = other
                && let Some(known) = self.downstream.links.get_mut(&first)
                && known.state == State::Expecting
            {
                known.state = State::Beside { dialect: Dialect::Redis };
                self.act(Action::FeedBeside { link: first, from: offset });
            }
        }
    }

    /// Nothing is missing of the snapshot that was last asked for, though it may have to be sent yet: another may begin.
    pub fn snapshot_made(&mut self, now: Ms) {
        self.downstream.making.clear();
        self.begin_snapshot_if_due(now);
    }

    /// Whether this link's socket has room for more of the snapshot. To be said whenever some was sent, also where there is still none.
    pub fn snapshot_room(&mut self, now: Ms, link: LinkId, has_room: bool) {
        if let Some(known) = self.downstream.links.get_mut(&link) {
            known.stalled_since = (!has_room).then_some(now);
        }
    }

    /// This link has got all of its snapshot.
    pub fn snapshot_sent(&mut self, now: Ms, link: LinkId) {
        let Some(known) = self.downstream.links.get_mut(&link) else { return };
        let State::Receiving { framing, cut: Some(cut) } = known.state else { return };
        let name = format!("{}:{}", known.shown_host(), known.port);
        if known.is_channel {
            known.state = State::Delivered;
            known.heard_at = now;
            // From here on it has to say that it is loading.
            if let Some(first) = known.other.and_then(|first| self.downstream.links.get_mut(&first)) {
                first.heard_at = now;
            }
            self.downstream.making.retain(|other| *other != link);
            return self.begin_snapshot_if_due(now);
        }
        if known.rdb_only {
            return self.disconnect(now, link, format!("replica {name} wanted a snapshot only, and has got it"));
        }
        known.heard_at = now;
        known.acknowledged = 0;
        if framing == Framing::Stream {
            known.state = State::Loading { cut };
        } else {
            known.state = State::Online;
            self.act(Action::Feed { link, from: cut });
        }
        self.note(Level::Notice, format!("Synchronization with replica {name} succeeded"));
        self.downstream.making.retain(|other| *other != link);
        self.begin_snapshot_if_due(now);
    }

    /// The snapshot for these links could not be made, or not be sent.
    pub fn snapshot_failed_for(&mut self, now: Ms, links: &[LinkId]) {
        for link in links {
            let is_receiving = |known: &Link| matches!(known.state, State::Receiving { .. });
            if self.downstream.links.get(link).is_some_and(is_receiving) {
                self.disconnect(now, *link, "SYNC failed: there is no snapshot to be had");
            }
        }
    }
}

/// Time goes by.
impl Machine {
    pub(crate) fn downstream_deadline(&self) -> Option<Ms> {
        let downstream = &self.downstream;
        let silent = downstream
            .links
            .values()
            .filter_map(|link| downstream.silent_since(link))
            .map(|since| since.plus(self.config.timeout_ms.saturating_add(1)))
            .min();
        let waits =
            downstream.links.values().any(|link| matches!(link.state, State::Waiting { .. } | State::Receiving { .. }));
        let snapshot = if downstream.making.is_empty() { self.snapshot_due() } else { None };
        let pings = self.may_append().then_some(downstream.ping_at);
        [silent, waits.then_some(downstream.empty_line_at), snapshot, pings, self.drop_at()].into_iter().flatten().min()
    }

    fn may_append(&self) -> bool {
        self.is_primary() && !self.is_failing_over() && self.downstream.fed().next().is_some()
    }

    fn drop_at(&self) -> Option<Ms> {
        let since = self.downstream.lonely_since.filter(|_| self.is_primary() && self.config.backlog_ttl_ms > 0)?;
        Some(since.plus(self.config.backlog_ttl_ms))
    }

    pub(crate) fn downstream_timeout(&mut self, now: Ms, log: Log) {
        let timeout_ms = self.config.timeout_ms;
        let silent: Vec<(LinkId, String)> = self
            .downstream
            .links
            .iter()
            .filter(|(_, link)| self.downstream.silent_since(link).is_some_and(|since| now > since.plus(timeout_ms)))
            .map(|(id, link)| {
                let what = if link.stalled_since.is_some() && matches!(link.state, State::Receiving { .. }) {
                    "it has taken nothing of its snapshot"
                } else {
                    "nothing was heard of it"
                };
                let name = format!("{}:{}", link.shown_host(), link.port);
                let seconds = timeout_ms / 1000;
                (*id, format!("timed-out replica {name}: {what} for more than repl-timeout ({seconds} s)"))
            })
            .collect();
        for (link, why) in silent {
            self.disconnect(now, link, why);
        }

        if now >= self.downstream.empty_line_at {
            self.downstream.empty_line_at = now.plus(SECOND_MS);
            let waits = |link: &Link| matches!(link.state, State::Waiting { .. } | State::Receiving { .. });
            let patient: Vec<LinkId> =
                self.downstream.links.iter().filter(|(_, link)| waits(link)).map(|(id, _)| *id).collect();
            for link in patient {
                self.act(Action::Patience(link));
            }
        }

        self.begin_snapshot_if_due(now);

        if self.may_append() && now >= self.downstream.ping_at {
            self.downstream.ping_at = now.plus(self.config.ping_period_ms.max(1));
            self.act(Action::Append(encode(&[b"PING"])));
        }

        if self.drop_at().is_some_and(|at| now >= at) {
            self.downstream.lonely_since = None;
            if log.first.is_some() {
                let id = self.invent_id();
                self.change_id(id);
                self.note(
                    Level::Notice,
                    format!(
                        "Replication backlog freed after {} seconds without connected replicas.",
                        self.config.backlog_ttl_ms / 1000
                    ),
                );
                self.act(Action::DropLog);
            }
        }
    }
}

/// What others want to know of our replicas.
impl Machine {
    /// For INFO, ROLE, CLIENT LIST: in the order in which they have connected.
    pub fn replicas(&self, now: Ms, _log: Log) -> Vec<ReplicaReport> {
        let downstream = &self.downstream;
        // Of two connections the first stands for both.
        let is_shown = |link: &Link| link.is_replica() && !(link.is_channel && downstream.other(link).is_some());
        let replicas = downstream.links.iter().filter(|(_, link)| is_shown(link));
        replicas
            .map(|(id, link)| ReplicaReport {
                link: *id,
                host: link.shown_host().to_owned(),
                port: link.port,
                state: match link.state {
                    State::Client | State::Waiting { .. } | State::Expecting => ReplicaState::WaitsForSnapshot,
                    State::Receiving { cut: None, .. } => ReplicaState::WaitsForSnapshot,
                    State::Receiving { .. } | State::Delivered => ReplicaState::ReceivesSnapshot,
                    State::Beside { dialect } => {
                        let is_sent = downstream.other(link).is_none_or(|other| other.state == State::Delivered);
                        if dialect == Dialect::Redis && is_sent {
                            ReplicaState::Online
                        } else {
                            ReplicaState::ReceivesBoth(dialect)
                        }
                    }
                    State::Loading { .. } | State::Online => ReplicaState::Online,
                },
                offset: link.acknowledged,
                disk_offset: link.acknowledged_on_disk,
                lag_ms: if link.is_online() { now.since(link.heard_at) } else { 0 },
                rdb_only: link.rdb_only,
            })
            .collect()
    }

    /// How many snapshots are on their way, or were, on connections whose replicas have not asked for the stream behind them
    /// (`replicas_waiting_psync`).
    pub fn waiting_for_first(&self) -> usize {
        self.downstream.links.values().filter(|link| self.downstream.lacks_first(link)).count()
    }

    /// How many replicas have acknowledged the stream up to here.
    pub fn acknowledged(&self, offset: u64) -> usize {
        self.downstream.online().filter(|link| link.acknowledged >= offset).count()
    }

    /// How many have it in their append-only files.
    pub fn acknowledged_on_disk(&self, offset: u64) -> usize {
        self.downstream.online().filter(|link| link.acknowledged_on_disk >= offset).count()
    }

    /// The offset that at least `count` replicas have acknowledged (0 if there are fewer).
    pub fn acknowledged_by(&self, count: usize) -> u64 {
        let mut offsets: Vec<u64> = self.downstream.online().map(|link| link.acknowledged).collect();
        offsets.sort_unstable_by(|a, b| b.cmp(a));
        match count {
            0 => u64::MAX,
            count => offsets.get(count - 1).copied().unwrap_or(0),
        }
    }

    /// How many replicas were heard of within `min-replicas-max-lag`, in whole seconds as Redis counts.
    pub fn good_replicas(&self, now: Ms) -> usize {
        let lag_s_max = self.config.min_replicas_lag_ms / 1000;
        self.downstream.online().filter(|link| now.since(link.heard_at) / 1000 <= lag_s_max).count()
    }

    /// Whether a primary has so few of them that it is to refuse writes (`min-replicas-to-write`).
    pub fn lacks_replicas(&self, now: Ms) -> bool {
        let Config { min_replicas, min_replicas_lag_ms, .. } = self.config;
        self.is_primary() && min_replicas > 0 && min_replicas_lag_ms > 0 && self.good_replicas(now) < min_replicas
    }

    /// Somebody waits for acknowledgements: replicas are asked for them.
    pub fn ask_for_acks(&mut self) {
        if self.may_append() {
            self.act(Action::Append(encode(&[b"REPLCONF", b"GETACK", b"*"])));
        }
    }

    /// The online replicas as (host, port, acknowledged).
    pub(crate) fn online_replicas(&self) -> impl Iterator<Item = (&str, u16, u64)> {
        self.downstream.online().map(|link| (link.shown_host(), link.port, link.acknowledged))
    }

    /// Whether a replica of that address is there, online or not.
    pub(crate) fn has_replica_at(&self, host: &str, port: u16) -> bool {
        let mut replicas = self.downstream.links.values().filter(|link| link.is_replica());
        replicas.any(|link| link.port == port && link.shown_host().eq_ignore_ascii_case(host))
    }
}

/// `<replication id>:<offset>`.
fn other_id(value: &[u8]) -> Option<(ReplicationId, i64)> {
    let (id, offset) = value.split_at_checked(40)?;
    Some((ReplicationId::parse(id)?, integer(offset.strip_prefix(b":")?)?))
}

fn error(text: impl Into<String>) -> Replconf {
    Replconf::Error(text.into())
}

fn integer(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => number(digits).and_then(|number| i64::try_from(number).ok()).map(|number| -number),
        None => number(text).and_then(|number| i64::try_from(number).ok()),
    }
}

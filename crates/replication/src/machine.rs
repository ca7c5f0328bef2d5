//! The machine itself: what it is told from outside, what it says is to be done, and when it wants to be woken.

use std::collections::VecDeque;

use crate::downstream::{Content, Downstream};
use crate::failover::Failover;
use crate::upstream::{Framing, Upstream};
use crate::{Address, History, LinkId, Log, Ms, ReplicationId};

/// How often things are looked at that Redis looks at once a second: connecting again, acknowledging, asking those who wait for patience.
pub(crate) const SECOND_MS: u64 = 1000;

/// What the machine needs to know of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `repl-timeout`.
    pub timeout_ms: u64,
    /// `repl-ping-replica-period`.
    pub ping_period_ms: u64,
    /// `repl-backlog-size`. The driver keeps to it.
    pub backlog_bytes: u64,
    /// `repl-backlog-ttl`; 0: for ever.
    pub backlog_ttl_ms: u64,
    /// `repl-diskless-sync`.
    pub diskless: bool,
    /// `repl-diskless-sync-delay`.
    pub diskless_delay_ms: u64,
    /// `repl-diskless-sync-max-replicas`; 0: no limit.
    pub diskless_replicas_max: usize,
    /// `min-replicas-to-write`.
    pub min_replicas: usize,
    /// `min-replicas-max-lag`.
    pub min_replicas_lag_ms: u64,
    /// `masteruser`, empty if there is none.
    pub user: Vec<u8>,
    /// `masterauth`, empty if there is none.
    pub password: Vec<u8>,
    /// `replica-announce-ip`, empty if there is none.
    pub announce_host: String,
    /// `replica-announce-port`, else the port that clients connect to.
    pub announce_port: u16,
    /// `replica-priority`.
    pub priority: i64,
    /// `replica-announced`.
    pub announced: bool,
    /// `replica-read-only`.
    pub read_only: bool,
    /// Whether the driver can read a snapshot that ends with a mark.
    pub accepts_eof: bool,
    /// Whether full synchronisations go over two connections where the other side offers it too: as Redis does it (`repl-rdb-channel`), and as
    /// Valkey does (`dual-channel-replication-enabled`). For drivers that can have two.
    pub rdb_channel: bool,
    pub dual_channel: bool,
}

impl Default for Config {
    /// As real servers have it without a file, on one connection.
    fn default() -> Config {
        Config {
            timeout_ms: 60_000,
            ping_period_ms: 10_000,
            backlog_bytes: 1 << 20,
            backlog_ttl_ms: 3_600_000,
            diskless: true,
            diskless_delay_ms: 5000,
            diskless_replicas_max: 0,
            min_replicas: 0,
            min_replicas_lag_ms: 10_000,
            user: Vec::new(),
            password: Vec::new(),
            announce_host: String::new(),
            announce_port: 6379,
            priority: 100,
            announced: true,
            read_only: true,
            accepts_eof: true,
            rdb_channel: false,
            dual_channel: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Primary,
    Replica(Address),
}

/// How loud a note is: the levels of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// What the driver is to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a connection to our primary; then [`Machine::connected`] or [`Machine::disconnected`].
    Connect(Address),
    /// Close the connections to our primary, or stop opening them, and forget what they had begun; no `disconnected` for them.
    Close,
    /// Open a second connection to our primary; then [`Machine::channel_connected`], and [`Machine::channel_line`] as long as
    /// [`Machine::channel_has_lines`], or [`Machine::channel_disconnected`].
    ConnectChannel(Address),
    /// On the second connection.
    SendOnChannel(Vec<u8>),
    /// What comes from now on on the first connection is the stream, to be kept until [`Action::Stream`].
    Keep,
    /// To our primary.
    Send(Vec<u8>),
    /// What comes from now on, from the first byte behind the line last passed in, is a snapshot in this framing ([`Framing::Length`] or
    /// [`Framing::Mark`]). [`Machine::snapshot_progress`] as it comes and is loaded, then [`Machine::snapshot_loaded`] or
    /// [`Machine::snapshot_failed`].
    ///
    /// With the new data the log begins anew, empty, at [`Machine::upstream_offset`], all under one access and before `snapshot_loaded`.
    /// Whoever gives the old data up before the new are whole passes a [`Log`] that counts nothing from then on.
    ReceiveSnapshot(Framing),
    /// The same of the second connection, which is of no use when its snapshot is loaded. If `stream_db` is known, that database is the one that the
    /// stream goes on with, whatever the snapshot says.
    ReceiveOnChannel {
        framing: Framing,
        stream_db: Option<u32>,
    },
    /// What comes from now on is the stream, to be applied and put into the log. [`Machine::applied`] as it goes on.
    Stream,
    /// These bytes to this link, before everything else.
    Reply(LinkId, Vec<u8>),
    /// An empty line to this link, which keeps it patient; not if its snapshot has begun to be sent.
    Patience(LinkId),
    /// The link is fed from the log from here on.
    Feed {
        link: LinkId,
        from: u64,
    },
    /// The link is fed from the log from here on, at once: its snapshot takes another connection.
    FeedBeside {
        link: LinkId,
        from: u64,
    },
    /// The log need not be kept for this link any more, which gets its snapshot all the same.
    Release(LinkId),
    /// Take a snapshot for these links: make the cut, call [`Machine::cut`] under the same access, send the snapshot in this framing
    /// ([`Framing::File`] or [`Framing::Stream`]), then [`Machine::snapshot_sent`] for each link: [`Action::Feed`] follows when the link is
    /// ready for it, and the log has to be kept from the cut on till then (for those of whom [`Machine::keeps_log_for`] says so after the cut). Or [`Machine::snapshot_failed_for`].
    Snapshot {
        links: Vec<LinkId>,
        framing: Framing,
        content: Content,
    },
    /// Close this link, and say why in the log. The machine has forgotten it; [`Machine::gone`] may come all the same.
    Disconnect {
        link: LinkId,
        why: String,
    },
    /// Put these bytes into the log: they go to all replicas.
    Append(Vec<u8>),
    /// Nobody needs the log any more.
    DropLog,
    /// From now on writes, expiry and eviction are our primary's business.
    BecomeReplica,
    /// From now on they are ours. The next effect in the log begins with SELECT.
    BecomePrimary,
    /// Writes wait (FAILOVER), or do not any more.
    PauseWrites,
    ResumeWrites,
    Note(Level, String),
}

/// Replication of one server. Everything that happens is told by a method, whereupon [`Machine::poll_action`] is to be asked until there is
/// nothing left; nothing is done in between but what the actions say.
///
/// A method that takes a [`Log`] takes what the driver's log is at that moment. A replication id counts only while something is counted
/// ([`Log::first`]): without it no file may name it.
#[derive(Debug)]
pub struct Machine {
    pub(crate) config: Config,
    pub(crate) history: History,
    /// Nobody has been told `history.id`, so that nobody but us can have anything of it.
    pub(crate) is_untold: bool,
    pub(crate) role: Role,
    pub(crate) upstream: Option<Upstream>,
    pub(crate) downstream: Downstream,
    pub(crate) failover: Failover,
    /// How often we have tried to connect to a primary.
    pub(crate) sync_attempts: u64,
    actions: VecDeque<Action>,
    /// Where ids come from that the machine needs at moments when nobody passes one in.
    ids: u64,
}

impl Machine {
    /// A primary without replicas. The id in `history` has to be random.
    pub fn new(now: Ms, config: Config, history: History) -> Machine {
        let ids = history.id.fold();
        Machine {
            config,
            history,
            is_untold: true,
            role: Role::Primary,
            upstream: None,
            downstream: Downstream::new(now),
            failover: Failover::None,
            sync_attempts: 0,
            actions: VecDeque::new(),
            ids,
        }
    }

    /// What is configured has changed. What it decides at a later moment is decided by the new values.
    pub fn configure(&mut self, now: Ms, config: Config) {
        self.config = config;
        self.begin_snapshot_if_due(now);
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Machine::handle_timeout`] is to be called, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Ms> {
        [self.upstream_deadline(), self.downstream_deadline(), self.failover_deadline()].into_iter().flatten().min()
    }

    /// It is `now`: whatever is due is done. May be called at any time.
    pub fn handle_timeout(&mut self, now: Ms, log: Log) {
        self.upstream_timeout(now);
        self.downstream_timeout(now, log);
        self.failover_timeout(now, log);
    }

    pub fn role(&self) -> &Role {
        &self.role
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    /// DEBUG CHANGE-REPL-ID: another stream, as far as anybody can tell; replicas that come back need a snapshot.
    pub fn change_id(&mut self, id: ReplicationId) {
        self.history = History::new(id);
        self.is_untold = true;
    }

    /// At the start: what the loaded snapshot said of itself (`repl-id`, `repl-offset`). The driver's log begins at that offset, empty.
    ///
    /// A primary goes on under `new_id`, and replicas that were behind it come back with a part; a server that goes on as a replica asks for
    /// the rest of `id`.
    pub fn restored(&mut self, id: ReplicationId, offset: u64, new_id: ReplicationId) {
        self.history = History { id: new_id, second: Some((id, offset)) };
        self.is_untold = true;
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn note(&mut self, level: Level, text: impl Into<String>) {
        self.act(Action::Note(level, text.into()));
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.role == Role::Primary
    }

    /// From the seed of the first id: as unlike others as that was.
    pub(crate) fn invent_id(&mut self) -> ReplicationId {
        let mut bytes = [0; 20];
        for part in bytes.chunks_mut(8) {
            // SplitMix64.
            self.ids = self.ids.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.ids;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^= word >> 31;
            part.copy_from_slice(&word.to_le_bytes()[..part.len()]);
        }
        ReplicationId::from_random(bytes)
    }
}

/// A command as it goes over the wire.
pub(crate) fn encode(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

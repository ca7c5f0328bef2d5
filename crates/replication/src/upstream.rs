//! Our side of a link to our primary.
//!
//! ```text
//!            Connect            connected()                    +CONTINUE
//!  Waiting ─────────▶ Connecting ─────────▶ Handshake ─────────────────────────────▶ Streaming
//!     ▲                                     │  PING, AUTH, REPLCONF …, PSYNC            ▲
//!     │                                     │ +FULLRESYNC           $n, $EOF:mark       │ snapshot_loaded()
//!     │                                     └───────────▶ Promised ──────────────▶ Receiving
//!     └──────────── a second after anything has gone wrong; at once after a stream that has lasted
//! ```
//!
//! Where our primary takes up our offer of a [second connection](crate::channel) for the snapshot, `Paired` stands between `Handshake` and `Receiving`:
//! until the second connection is at the snapshot's first byte, and the first at the stream's. What the stream brings is kept by the driver
//! ([`Action::Keep`]).

use crate::channel::Dialect;
use crate::machine::{SECOND_MS, encode};
use crate::{Action, Address, Config, History, Level, Log, Machine, Ms, ReplicationId, Role};

/// How a snapshot's end is known. The first two are what comes from a primary, the others what the driver is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `$<bytes>`, and then so many.
    Length(u64),
    /// `$EOF:<40 bytes>`, and then whatever comes until these 40 bytes come again.
    Mark([u8; 40]),
    /// Written to a file first, so that its length is known: sent as [`Framing::Length`].
    File,
    /// Sent as it is made, with a mark that the driver invents.
    Stream,
}

/// INFO's and ROLE's words for how far the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// `connect`: nothing is under way, it will be tried again.
    Connect,
    /// `connecting`.
    Connecting,
    /// `handshake`.
    Handshake,
    /// `sync`.
    Sync,
    /// `connected`.
    Connected,
}

impl LinkState {
    /// As ROLE says it.
    pub fn word(self) -> &'static str {
        match self {
            LinkState::Connect => "connect",
            LinkState::Connecting => "connecting",
            LinkState::Handshake => "handshake",
            LinkState::Sync => "sync",
            LinkState::Connected => "connected",
        }
    }
}

/// What INFO and ROLE tell of the link to our primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamReport {
    pub address: Address,
    pub state: LinkState,
    /// None if it is not connected.
    pub last_io_ms_ago: Option<u64>,
    pub sync_in_progress: bool,
    /// None if the primary did not say how long its snapshot is.
    pub sync_total_bytes: Option<u64>,
    pub sync_read_bytes: u64,
    pub sync_last_io_ms_ago: u64,
    /// None while the link is up, and if it never was.
    pub down_since_ms: Option<u64>,
    /// Since when it is up.
    pub up_since_ms: Option<u64>,
    /// For how long it was down, all times together, since it was up for the first time.
    pub down_total_ms: u64,
    /// How often it was tried to connect since it was up, or since we follow this primary, and in all.
    pub attempts: u64,
    pub attempts_total: u64,
    /// Up to where the stream has come.
    pub read_offset: u64,
    /// Up to where the stream was applied.
    pub offset: u64,
}

/// Which reply is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ping,
    Auth,
    Port,
    Host,
    Capabilities,
    OtherId,
    Psync,
}

/// What the second connection is about to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChannelStep {
    Connecting,
    Auth,
    Options,
    /// Where the snapshot was cut.
    Cut,
    /// How its end is known.
    Framing,
    /// The snapshot itself.
    Snapshot(Framing),
}

/// What the first connection is about to say while there is a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstStep {
    /// Nothing: it waits until the second is at its cut.
    Idle,
    /// `REPLCONF set-rdb-client-id` is answered.
    Pairing,
    Psync,
    /// The stream.
    Stream,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Waiting {
        until: Ms,
    },
    Connecting,
    Handshake {
        step: Step,
        /// What we asked to go on with, in PSYNC.
        asked: Option<ReplicationId>,
    },
    /// A snapshot was promised; its length or mark is next.
    Promised {
        /// None: by an old primary that knows SYNC only.
        id: Option<ReplicationId>,
    },
    /// There are two connections, or will be.
    Paired {
        dialect: Dialect,
        /// What our primary calls our first connection.
        first_id: u64,
        first: FirstStep,
        second: ChannelStep,
        /// Which database the stream has selected at the cut, if that was said.
        stream_db: Option<u32>,
    },
    Receiving {
        total_bytes: Option<u64>,
        read_bytes: u64,
        empty_line_at: Ms,
        /// On two connections.
        is_paired: bool,
    },
    Streaming {
        since: Ms,
        ack_at: Ms,
    },
}

/// The link to our primary.
#[derive(Debug)]
pub(crate) struct Upstream {
    state: State,
    /// When anything was last heard, or began.
    last_io: Ms,
    down_since: Option<Ms>,
    down_total_ms: u64,
    attempts: u64,
    /// Where the stream goes on: behind the snapshot on its way, or what was applied.
    offset: u64,
    id: ReplicationId,
    /// Up to where our own append-only file has the stream.
    durable: Option<u64>,
    /// It does not know PSYNC, and no REPLCONF ACK either.
    is_old: bool,
}

/// No line of a handshake is longer.
pub const LINE_BYTES_MAX: usize = 1024;

/// The longest line of a primary that goes into our log.
const LINE_SHOWN_MAX: usize = 200;

/// REPLICAOF, NO ONE.
impl Machine {
    /// Replicates from there from now on; false if that is so already. What is there already, and the log, stay until a snapshot takes
    /// their place: with luck a part of the stream is enough.
    pub fn follow(&mut self, now: Ms, address: Address, log: Log) -> bool {
        if let Role::Replica(old) = &self.role
            && old.port == address.port
            && old.host.eq_ignore_ascii_case(&address.host)
        {
            return false;
        }
        let was_primary = self.is_primary();
        if self.may_have_snapshot(log) {
            self.history = History::new(self.invent_id());
            self.is_untold = true;
        }
        if self.upstream.as_ref().is_some_and(|upstream| !matches!(upstream.state, State::Waiting { .. })) {
            self.act(Action::Close);
        }
        self.role = Role::Replica(address);
        if was_primary {
            self.downstream.lonely_since = None;
            self.act(Action::BecomeReplica);
            if log.first.is_some() {
                self.note(
                    Level::Notice,
                    "Before turning into a replica, using my own master parameters to synthesize a cached master: I may be able to \
                     synchronize with the new master with just a partial transfer.",
                );
            }
        }
        self.upstream = Some(Upstream {
            state: State::Waiting { until: now },
            last_io: now,
            down_since: None,
            down_total_ms: 0,
            attempts: 0,
            offset: log.end,
            id: self.history.id,
            durable: None,
            is_old: false,
        });
        self.connect(now);
        true
    }

    /// NO ONE: a primary from now on, whose stream has another name. Its replicas have to ask again, and go on with what they have.
    pub fn promote(&mut self, now: Ms, new_id: ReplicationId, log: Log) {
        let has_snapshot = self.may_have_snapshot(log);
        let Some(upstream) = self.upstream.take() else { return };
        if !matches!(upstream.state, State::Waiting { .. }) {
            self.act(Action::Close);
        }
        self.role = Role::Primary;
        if log.first.is_some() && !has_snapshot {
            let old = self.history.id;
            self.history.shift(new_id, log.end);
            self.note(
                Level::Notice,
                format!(
                    "Setting secondary replication ID to {old}, valid up to offset: {}. New replication ID is {new_id}",
                    log.end + 1
                ),
            );
        } else {
            self.history = History::new(new_id);
        }
        self.is_untold = true;
        self.disconnect_replicas("the stream has another replication id from now on");
        self.downstream.become_primary(now);
        self.act(Action::BecomePrimary);
    }

    /// Whether the data may be a snapshot's already, of which we have not heard that it was loaded: as far as can be told, the log has begun anew for
    /// it. Then our ids may be others' than the data's, and count for nothing.
    fn may_have_snapshot(&self, log: Log) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| {
            matches!(upstream.state, State::Receiving { .. })
                && log.first == Some(upstream.offset)
                && log.end == upstream.offset
        })
    }

    fn connect(&mut self, now: Ms) {
        let Role::Replica(address) = &self.role else { return };
        let address = address.clone();
        let Some(upstream) = &mut self.upstream else { return };
        upstream.state = State::Connecting;
        upstream.last_io = now;
        upstream.attempts += 1;
        self.sync_attempts += 1;
        self.note(Level::Notice, format!("Connecting to MASTER {}:{}", address.host, address.port));
        self.act(Action::Connect(address));
    }

    /// The link is given up, and tried again in a while.
    fn give_up(&mut self, now: Ms, level: Level, why: impl Into<String>) {
        self.note(level, why);
        self.act(Action::Close);
        self.lost(now);
    }

    /// The link is no more.
    fn lost(&mut self, now: Ms) {
        let Some(upstream) = &mut self.upstream else { return };
        let was_asked = matches!(upstream.state, State::Handshake { step: Step::Psync, .. });
        let until = match upstream.state {
            State::Streaming { since, .. } => {
                upstream.down_since = Some(now);
                upstream.attempts = 0;
                // A link that has lasted is mended at once. One that breaks as soon as it stands would otherwise keep both sides busy.
                if now >= since.plus(SECOND_MS) { now } else { now.plus(SECOND_MS) }
            }
            _ => now.plus(SECOND_MS),
        };
        upstream.state = State::Waiting { until };
        self.failover_link_lost(now, was_asked);
    }
}

/// What happens on the link.
impl Machine {
    pub fn connected(&mut self, now: Ms) {
        let Some(upstream) = &mut self.upstream else { return };
        if upstream.state != State::Connecting {
            return;
        }
        upstream.is_old = false;
        upstream.last_io = now;
        upstream.state = State::Handshake { step: Step::Ping, asked: None };
        self.act(Action::Send(encode(&[b"PING"])));
    }

    /// The connection has ended, or could not be made.
    pub fn disconnected(&mut self, now: Ms, why: &str) {
        let Some(upstream) = &self.upstream else { return };
        match upstream.state {
            State::Waiting { .. } => return,
            State::Connecting => self.note(Level::Warning, format!("Error condition on socket for SYNC: {why}")),
            State::Streaming { .. } => self.note(Level::Notice, format!("Connection with master lost: {why}")),
            State::Paired { .. } | State::Receiving { is_paired: true, .. } => {
                // Of two connections none is left.
                return self.give_up(
                    now,
                    Level::Warning,
                    format!("Main channel error while reading from master: {why}"),
                );
            }
            State::Handshake { .. } | State::Promised { .. } | State::Receiving { .. } => {
                self.note(Level::Warning, format!("I/O error while synchronizing with MASTER: {why}"));
            }
        }
        self.lost(now);
    }

    /// The second connection stands.
    pub fn channel_connected(&mut self, now: Ms) {
        let Some(Upstream { state: State::Paired { second, .. }, last_io, .. }) = &mut self.upstream else { return };
        if *second != ChannelStep::Connecting {
            return;
        }
        *last_io = now;
        if self.config.password.is_empty() {
            return self.send_channel_options();
        }
        *second = ChannelStep::Auth;
        let bytes = self.auth();
        self.act(Action::SendOnChannel(bytes));
    }

    /// The second connection has ended, or could not be made.
    pub fn channel_disconnected(&mut self, now: Ms, why: &str) {
        if let Some(Upstream { state: State::Paired { .. } | State::Receiving { is_paired: true, .. }, .. }) =
            &self.upstream
        {
            self.give_up(
                now,
                Level::Warning,
                format!("I/O error trying to sync with MASTER on the snapshot's connection: {why}"),
            );
        }
    }

    /// Whether what comes next on the second connection is a line, for [`Machine::channel_line`].
    pub fn channel_has_lines(&self) -> bool {
        let state = self.upstream.as_ref().map(|upstream| &upstream.state);
        matches!(state, Some(State::Paired { second, .. }) if !matches!(second, ChannelStep::Connecting | ChannelStep::Snapshot(_)))
    }

    /// A line of the second connection, as [`Machine::line`] is of the first.
    pub fn channel_line(&mut self, now: Ms, line: &[u8]) {
        let Some(Upstream { state: State::Paired { dialect, second, .. }, last_io, .. }) = &mut self.upstream else {
            return;
        };
        *last_io = now;
        if line.is_empty() {
            return;
        }
        let (dialect, step) = (*dialect, *second);
        match step {
            ChannelStep::Connecting | ChannelStep::Snapshot(_) => {}
            _ if line[0] == b'-' => {
                self.give_up(
                    now,
                    Level::Warning,
                    format!("MASTER refuses a connection for the snapshot: {}", shown(line)),
                );
            }
            ChannelStep::Auth => self.send_channel_options(),
            ChannelStep::Options => {
                self.channel_step(ChannelStep::Cut);
                let question = match dialect {
                    Dialect::Redis => encode(&[b"PSYNC", b"?", b"-1"]),
                    Dialect::Valkey => b"SYNC\r\n".to_vec(),
                };
                self.act(Action::SendOnChannel(question));
            }
            ChannelStep::Cut => self.channel_cut(now, dialect, line),
            ChannelStep::Framing => match framing(line) {
                Some(framing) => {
                    self.channel_step(ChannelStep::Snapshot(framing));
                    self.receive_if_ready(now);
                }
                None => self.bad_channel(now, line),
            },
        }
    }

    fn bad_channel(&mut self, now: Ms, line: &[u8]) {
        self.give_up(
            now,
            Level::Warning,
            format!("Bad protocol from MASTER on the snapshot's connection: we received '{}'", shown(line)),
        );
    }

    fn channel_step(&mut self, step: ChannelStep) {
        if let Some(Upstream { state: State::Paired { second, .. }, .. }) = &mut self.upstream {
            *second = step;
        }
    }

    fn first_step(&mut self, step: FirstStep) {
        if let Some(Upstream { state: State::Paired { first, .. }, .. }) = &mut self.upstream {
            *first = step;
        }
    }

    fn send_channel_options(&mut self) {
        let Some(Upstream { state: State::Paired { dialect, first_id, second, .. }, .. }) = &mut self.upstream else {
            return;
        };
        *second = ChannelStep::Options;
        let (id, port) = (first_id.to_string(), self.config.announce_port.to_string());
        let mut words: Vec<&[u8]> = vec![b"REPLCONF", b"capa", b"eof", b"rdb-only", b"1", b"rdb-channel", b"1"];
        if *dialect == Dialect::Redis {
            words.extend([&b"main-ch-client-id"[..], id.as_bytes()]);
        }
        words.extend([&b"listening-port"[..], port.as_bytes()]);
        let bytes = encode(&words);
        self.act(Action::SendOnChannel(bytes));
    }

    /// The line that says where the snapshot is cut.
    fn channel_cut(&mut self, now: Ms, dialect: Dialect, line: &[u8]) {
        let start = match dialect {
            Dialect::Redis => &b"+FULLRESYNC "[..],
            Dialect::Valkey => b"$ENDOFF:",
        };
        let Some(rest) = line.strip_prefix(start) else { return self.bad_channel(now, line) };
        let words: Vec<&[u8]> = rest.split(|byte| *byte == b' ').collect();
        let (told, db, second_id) = match (dialect, &words[..]) {
            (Dialect::Redis, [id, offset]) => ((ReplicationId::parse(id), number(offset)), None, None),
            (Dialect::Valkey, [offset, id, db, second_id]) => {
                let db = number(db).and_then(|db| u32::try_from(db).ok());
                ((ReplicationId::parse(id), number(offset)), db, number(second_id))
            }
            _ => ((None, None), None, None),
        };
        let (Some(id), Some(offset)) = told else { return self.bad_channel(now, line) };
        let Some(upstream) = &mut self.upstream else { return };
        (upstream.id, upstream.offset) = (id, offset);
        if let State::Paired { stream_db, .. } = &mut upstream.state {
            *stream_db = db;
        }
        self.note(Level::Notice, format!("Full resync from master: {id}:{offset}"));
        self.channel_step(ChannelStep::Framing);
        if dialect == Dialect::Valkey {
            let Some(second_id) = second_id else { return self.bad_channel(now, line) };
            self.first_step(FirstStep::Pairing);
            self.act(Action::Send(encode(&[b"REPLCONF", b"set-rdb-client-id", second_id.to_string().as_bytes()])));
        }
    }

    /// A line of the first connection, while there is a second.
    fn first_line(&mut self, now: Ms, first: FirstStep, line: &[u8]) {
        let Some(upstream) = &self.upstream else { return };
        let (id, offset) = (upstream.id, upstream.offset);
        match first {
            FirstStep::Pairing if line[0] == b'+' => {
                self.first_step(FirstStep::Psync);
                let next = (offset + 1).to_string();
                self.act(Action::Send(encode(&[b"PSYNC", id.to_string().as_bytes(), next.as_bytes()])));
            }
            FirstStep::Psync if line.starts_with(b"+CONTINUE") => {
                self.first_step(FirstStep::Stream);
                self.act(Action::Keep);
                self.receive_if_ready(now);
            }
            _ => self.give_up(
                now,
                Level::Warning,
                format!("MASTER does not go on behind the snapshot on another connection: {}", shown(line)),
            ),
        }
    }

    /// Both connections are where they should be.
    fn receive_if_ready(&mut self, now: Ms) {
        let Some(upstream) = &mut self.upstream else { return };
        let State::Paired { first: FirstStep::Stream, second: ChannelStep::Snapshot(framing), stream_db, .. } =
            upstream.state
        else {
            return;
        };
        let total_bytes = if let Framing::Length(bytes) = framing { Some(bytes) } else { None };
        upstream.state =
            State::Receiving { total_bytes, read_bytes: 0, empty_line_at: now.plus(SECOND_MS), is_paired: true };
        self.act(Action::ReceiveOnChannel { framing, stream_db });
    }

    /// Our primary takes up our offer.
    fn pair_with_primary(&mut self, dialect: Dialect, first_id: u64) {
        self.note(Level::Notice, "PSYNC is not possible, the snapshot is to come on a connection of its own");
        self.failover_accepted();
        self.disconnect_replicas("a full synchronization with our master replaces all data");
        let first = if dialect == Dialect::Redis { FirstStep::Stream } else { FirstStep::Idle };
        let (Some(upstream), Role::Replica(address)) = (&mut self.upstream, &self.role) else { return };
        let address = address.clone();
        upstream.state = State::Paired { dialect, first_id, first, second: ChannelStep::Connecting, stream_db: None };
        if first == FirstStep::Stream {
            self.act(Action::Keep);
        }
        self.act(Action::ConnectChannel(address));
    }

    fn auth(&self) -> Vec<u8> {
        let Config { user, password, .. } = &self.config;
        if user.is_empty() { encode(&[b"AUTH", password]) } else { encode(&[b"AUTH", user, password]) }
    }

    /// Bytes have come from our primary. Where there are two connections, the lines of both count, and the progress of the snapshot: a stream that goes
    /// on says nothing of the connection beside it.
    pub fn heard(&mut self, now: Ms) {
        if let Some(upstream) = &mut self.upstream
            && !matches!(upstream.state, State::Paired { .. } | State::Receiving { is_paired: true, .. })
        {
            upstream.last_io = now;
        }
    }

    /// A line of the handshake, without its end. One that is longer than [`LINE_BYTES_MAX`] is nonsense, and may be cut there.
    pub fn line(&mut self, now: Ms, line: &[u8], log: Log) {
        let Some(upstream) = &mut self.upstream else { return };
        upstream.last_io = now;
        // Empty lines only say that somebody is still there.
        if line.is_empty() {
            return;
        }
        match upstream.state {
            State::Handshake { step, asked } => self.handshake(now, step, asked, line, log),
            State::Promised { id } => self.snapshot_line(now, id, line),
            State::Paired { first, .. } => self.first_line(now, first, line),
            State::Waiting { .. } | State::Connecting | State::Receiving { .. } | State::Streaming { .. } => {}
        }
    }

    fn handshake(&mut self, now: Ms, step: Step, asked: Option<ReplicationId>, line: &[u8], log: Log) {
        let is_error = line[0] == b'-';
        match step {
            Step::Ping => {
                let may_go_on = [&b"-NOAUTH"[..], b"-NOPERM", b"-ERR operation not permitted"];
                if is_error && !may_go_on.iter().any(|start| line.starts_with(start)) {
                    let hint = if line.starts_with(b"-DENIED") {
                        ": it is in protected mode; give it a password (requirepass there, masterauth here), or let it \
                         bind to an address of a network that is trusted"
                    } else {
                        ""
                    };
                    return self.give_up(
                        now,
                        Level::Warning,
                        format!("Error reply to PING from master: '{}'{hint}", shown(line)),
                    );
                }
                self.note(Level::Notice, "Master replied to PING, replication can continue...");
                if self.config.password.is_empty() {
                    return self.send_port();
                }
                let bytes = self.auth();
                self.ask_with(Step::Auth, bytes);
            }
            Step::Auth => {
                if is_error {
                    return self.give_up(
                        now,
                        Level::Warning,
                        format!(
                            "Unable to AUTH to MASTER: {}: masteruser and masterauth have to name a user there, and its password",
                            shown(line)
                        ),
                    );
                }
                self.send_port();
            }
            Step::Port => {
                self.note_if_unknown(is_error, "listening-port", line);
                if self.config.announce_host.is_empty() {
                    return self.send_capabilities();
                }
                let host = self.config.announce_host.clone();
                self.ask(Step::Host, &[b"REPLCONF", b"ip-address", host.as_bytes()]);
            }
            Step::Host => {
                self.note_if_unknown(is_error, "ip-address", line);
                self.send_capabilities();
            }
            Step::Capabilities => {
                self.note_if_unknown(is_error, "capa", line);
                match self.other_id(log) {
                    Some(id) => {
                        let what = format!("{id}:{}", log.end + 1);
                        self.ask(Step::OtherId, &[b"REPLCONF", b"other-replid", what.as_bytes()]);
                    }
                    None => self.send_psync(log),
                }
            }
            Step::OtherId => {
                self.note_if_unknown(is_error, "other-replid", line);
                self.send_psync(log);
            }
            Step::Psync => self.psync_reply(now, asked, line, log),
        }
    }

    fn ask(&mut self, step: Step, words: &[&[u8]]) {
        self.ask_with(step, encode(words));
    }

    fn ask_with(&mut self, step: Step, bytes: Vec<u8>) {
        let Some(upstream) = &mut self.upstream else { return };
        upstream.state = State::Handshake { step, asked: None };
        self.act(Action::Send(bytes));
    }

    fn send_port(&mut self) {
        let port = self.config.announce_port.to_string();
        self.ask(Step::Port, &[b"REPLCONF", b"listening-port", port.as_bytes()]);
    }

    fn send_capabilities(&mut self) {
        let Config { accepts_eof, rdb_channel, dual_channel, .. } = self.config;
        let offers = [
            (accepts_eof, &b"eof"[..]),
            (true, b"psync2"),
            (accepts_eof && rdb_channel, b"rdb-channel-repl"),
            (accepts_eof && dual_channel, b"dual-channel"),
        ];
        let mut words = vec![&b"REPLCONF"[..]];
        offers.iter().filter(|(does, _)| *does).for_each(|(_, name)| words.extend([b"capa", *name]));
        self.ask(Step::Capabilities, &words);
    }

    /// An old primary does without.
    fn note_if_unknown(&mut self, is_error: bool, option: &str, line: &[u8]) {
        if is_error {
            let reply = shown(line);
            self.note(Level::Notice, format!("(Non critical) Master does not understand REPLCONF {option}: {reply}"));
        }
    }

    fn send_psync(&mut self, log: Log) {
        let asked = log.first.is_some().then(|| self.id_to_ask_for(log));
        let failing_over = self.is_failing_over();
        match asked {
            Some(id) => {
                self.note(Level::Notice, format!("Trying a partial resynchronization (request {id}:{}).", log.end + 1))
            }
            None => self.note(Level::Notice, "Partial resynchronization not possible (no cached master)"),
        }
        let id = asked.map_or_else(|| "?".to_owned(), |id| id.to_string());
        let offset = asked.map_or_else(|| "-1".to_owned(), |_| (log.end + 1).to_string());
        let mut words = vec![&b"PSYNC"[..], id.as_bytes(), offset.as_bytes()];
        if failing_over {
            words.push(b"FAILOVER");
        }
        self.act(Action::Send(encode(&words)));
        if let Some(upstream) = &mut self.upstream {
            upstream.state = State::Handshake { step: Step::Psync, asked };
        }
    }

    /// The name under which others may know what we have. One that we alone know, and that stands for nothing which the name before does not
    /// stand for too, is not it: after a restart, or when somebody was promoted and demoted again before anything has happened.
    fn id_to_ask_for(&self, log: Log) -> ReplicationId {
        match self.history.second {
            Some((second, until)) if self.is_untold && until == log.end => second,
            _ => self.history.id,
        }
    }

    /// The other name of what we have, where either may be the one that our primary knows: we have told ours to somebody, but cannot know whether it
    /// was heard. (A failover that was given up may still reach its target, and then both go on as primaries from the same offset.)
    fn other_id(&self, log: Log) -> Option<ReplicationId> {
        let (second, until) = self.history.second?;
        (log.first.is_some() && !self.is_untold && until == log.end).then_some(second)
    }

    fn psync_reply(&mut self, now: Ms, asked: Option<ReplicationId>, line: &[u8], log: Log) {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let first = words.next().unwrap_or_default();
        match first {
            b"+FULLRESYNC" => {
                let id = words.next().and_then(ReplicationId::parse);
                let offset = words.next().and_then(number);
                let (Some(id), Some(offset)) = (id, offset) else {
                    return self.give_up(
                        now,
                        Level::Warning,
                        format!("Master replied with wrong +FULLRESYNC syntax: {}", shown(line)),
                    );
                };
                self.note(Level::Notice, format!("Full resync from master: {id}:{offset}"));
                self.failover_accepted();
                // Whoever hangs on us has what we are about to give up.
                self.disconnect_replicas("a full synchronization with our master replaces all data");
                self.promise(Some(id), offset);
            }
            b"+RDBCHANNELSYNC" if self.config.rdb_channel => match words.next().and_then(number) {
                Some(first_id) => self.pair_with_primary(Dialect::Redis, first_id),
                None => self.give_up(
                    now,
                    Level::Warning,
                    format!("Master replied with wrong +RDBCHANNELSYNC syntax: {}", shown(line)),
                ),
            },
            b"+DUALCHANNELSYNC" if self.config.dual_channel => self.pair_with_primary(Dialect::Valkey, 0),
            b"+CONTINUE" => {
                let told = words.next();
                let id = told.and_then(ReplicationId::parse);
                let Some(asked) = asked.filter(|_| told.is_none() || id.is_some()) else {
                    return self.give_up(
                        now,
                        Level::Warning,
                        format!("Master replied with a +CONTINUE that makes no sense here: {}", shown(line)),
                    );
                };
                self.note(Level::Notice, "Successful partial resynchronization with master.");
                self.failover_accepted();
                self.go_on_as(asked, id.unwrap_or(asked), log);
                self.stream(now, log.end);
            }
            _ if is_transient(line) => {
                self.failover_rejected(now);
                if self.upstream.is_some() {
                    let reply = shown(line);
                    self.give_up(
                        now,
                        Level::Notice,
                        format!("Master is currently unable to PSYNC but should be in the future: {reply}"),
                    );
                }
            }
            _ if line.starts_with(b"-ERR unknown command") && !self.is_failing_over() => {
                self.note(
                    Level::Notice,
                    format!("Master does not support PSYNC (reply: {}). Retrying with SYNC...", shown(line)),
                );
                self.disconnect_replicas("a full synchronization with our master replaces all data");
                self.promise(None, 0);
                if let Some(upstream) = &mut self.upstream {
                    upstream.is_old = true;
                }
                self.act(Action::Send(b"SYNC\r\n".to_vec()));
            }
            _ => {
                self.failover_rejected(now);
                if self.upstream.is_some() {
                    let hint = if line.starts_with(b"-NOAUTH") {
                        ": it wants a password (masterauth, and masteruser if it is not the default user's)"
                    } else if line.starts_with(b"-NOPERM") {
                        ": our user there (masteruser) may not PSYNC and REPLCONF"
                    } else {
                        ""
                    };
                    self.give_up(
                        now,
                        Level::Warning,
                        format!("Unexpected reply to PSYNC from master: {}{hint}", shown(line)),
                    );
                }
            }
        }
    }

    fn promise(&mut self, id: Option<ReplicationId>, offset: u64) {
        let invented = self.invent_id();
        if let Some(upstream) = &mut self.upstream {
            upstream.id = id.unwrap_or(invented);
            upstream.offset = offset;
            upstream.state = State::Promised { id };
        }
    }

    /// Our primary goes on with `id` where we have `asked` for more.
    fn go_on_as(&mut self, asked: ReplicationId, id: ReplicationId, log: Log) {
        if asked != self.history.id {
            // What it was called in between nobody knows, and it stood for nothing.
            self.history = History::new(asked);
        }
        if id != asked {
            self.note(Level::Notice, format!("Master replication ID changed to {id}"));
            self.history.shift(id, log.end);
            self.disconnect_replicas("the stream has another replication id from now on");
        }
        self.is_untold = false;
    }

    fn stream(&mut self, now: Ms, offset: u64) {
        let id = self.history.id;
        let Some(upstream) = &mut self.upstream else { return };
        upstream.state = State::Streaming { since: now, ack_at: now };
        upstream.offset = offset;
        upstream.id = id;
        upstream.down_total_ms += upstream.down_since.map_or(0, |since| now.since(since));
        upstream.down_since = None;
        upstream.last_io = now;
        self.act(Action::Stream);
        // At once: a primary that has sent its snapshot with a mark waits for it.
        self.acknowledge(now);
    }

    /// The line between the promise of a snapshot and its first byte.
    fn snapshot_line(&mut self, now: Ms, id: Option<ReplicationId>, line: &[u8]) {
        match framing(line) {
            Some(framing) => {
                let total_bytes = if let Framing::Length(bytes) = framing { Some(bytes) } else { None };
                if let Some(upstream) = &mut self.upstream {
                    upstream.state = State::Receiving {
                        total_bytes,
                        read_bytes: 0,
                        empty_line_at: now.plus(SECOND_MS),
                        is_paired: false,
                    };
                }
                self.act(Action::ReceiveSnapshot(framing));
            }
            None if line[0] == b'-' => {
                self.give_up(
                    now,
                    Level::Warning,
                    format!("MASTER aborted replication with an error: {}", shown(&line[1..])),
                );
            }
            None => {
                let how = if id.is_some() { "PSYNC" } else { "SYNC" };
                self.give_up(
                    now,
                    Level::Warning,
                    format!(
                        "Bad protocol from MASTER behind {how}, a snapshot's length was due (we received '{}'): \
                         are host and port those of a server?",
                        shown(line)
                    ),
                );
            }
        }
    }

    /// So many bytes of the snapshot have come, in all. To be called, too, while it is loaded: a link without any progress is given up.
    pub fn snapshot_progress(&mut self, now: Ms, bytes: u64) {
        if let Some(upstream) = &mut self.upstream
            && let State::Receiving { read_bytes, .. } = &mut upstream.state
        {
            *read_bytes = bytes;
            upstream.last_io = now;
        }
    }

    /// Where the snapshot on its way was cut, and from where on the stream behind it counts.
    pub fn upstream_offset(&self) -> u64 {
        self.upstream.as_ref().map_or(0, |upstream| upstream.offset)
    }

    /// Of which stream it is. Invented if an old primary did not tell.
    pub fn upstream_id(&self) -> ReplicationId {
        self.upstream.as_ref().map_or(self.history.id, |upstream| upstream.id)
    }

    /// The snapshot's data have taken the place of ours, and the log begins at [`Machine::upstream_offset`].
    pub fn snapshot_loaded(&mut self, now: Ms) {
        let Some(upstream) = &self.upstream else { return };
        if !matches!(upstream.state, State::Receiving { .. }) {
            return;
        }
        let offset = upstream.offset;
        self.history = History::new(upstream.id);
        // An id that we have invented for an old primary is nobody's but ours.
        self.is_untold = upstream.is_old;
        self.note(Level::Notice, "MASTER <-> REPLICA sync: Finished with success");
        self.stream(now, offset);
    }

    /// It was broken, or could not be kept. If our data are gone too, the log counts nothing from now on.
    pub fn snapshot_failed(&mut self, now: Ms, why: &str) {
        if self.upstream.as_ref().is_some_and(|upstream| matches!(upstream.state, State::Receiving { .. })) {
            self.give_up(now, Level::Warning, format!("Failed trying to load the MASTER synchronization DB: {why}"));
        }
    }

    /// The stream was applied up to here, and our own append-only file has it up to there.
    pub fn applied(&mut self, now: Ms, offset: u64, durable: Option<u64>) {
        if let Some(upstream) = &mut self.upstream
            && let State::Streaming { .. } = upstream.state
        {
            upstream.offset = offset;
            upstream.durable = durable;
            upstream.last_io = now;
        }
    }

    /// REPLCONF GETACK was in the stream, and what came before it was [applied](Machine::applied).
    pub fn wants_ack(&mut self, now: Ms) {
        self.acknowledge(now);
    }

    fn acknowledge(&mut self, now: Ms) {
        let Some(upstream) = &mut self.upstream else { return };
        let State::Streaming { ack_at, .. } = &mut upstream.state else { return };
        *ack_at = now.plus(SECOND_MS);
        if upstream.is_old {
            return;
        }
        let offset = upstream.offset.to_string();
        let durable = upstream.durable.map(|durable| durable.min(upstream.offset).to_string());
        let mut words = vec![&b"REPLCONF"[..], b"ACK", offset.as_bytes()];
        if let Some(durable) = &durable {
            words.extend([&b"FACK"[..], durable.as_bytes()]);
        }
        let bytes = encode(&words);
        self.act(Action::Send(bytes));
    }

    pub(crate) fn upstream_deadline(&self) -> Option<Ms> {
        let upstream = self.upstream.as_ref()?;
        let timeout = upstream.last_io.plus(self.config.timeout_ms.saturating_add(1));
        Some(match upstream.state {
            State::Waiting { until } => until,
            State::Connecting | State::Handshake { .. } | State::Promised { .. } | State::Paired { .. } => timeout,
            State::Receiving { empty_line_at, .. } => timeout.min(empty_line_at),
            State::Streaming { ack_at, .. } => timeout.min(ack_at),
        })
    }

    pub(crate) fn upstream_timeout(&mut self, now: Ms) {
        let timeout_ms = self.config.timeout_ms;
        let Some(upstream) = &mut self.upstream else { return };
        let is_silent = now > upstream.last_io.plus(timeout_ms);
        match &mut upstream.state {
            State::Waiting { until } => {
                if now >= *until {
                    self.connect(now);
                }
            }
            State::Connecting => {
                if is_silent {
                    self.give_up(now, Level::Warning, "Timeout connecting to the MASTER...");
                }
            }
            State::Handshake { .. } | State::Promised { .. } | State::Paired { .. } => {
                if is_silent {
                    self.give_up(
                        now,
                        Level::Warning,
                        "Timeout waiting for an answer of the MASTER during the handshake...",
                    );
                }
            }
            State::Receiving { empty_line_at, .. } => {
                if is_silent {
                    self.give_up(
                        now,
                        Level::Warning,
                        "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout' \
                         parameter to a larger value.",
                    );
                } else if now >= *empty_line_at {
                    *empty_line_at = now.plus(SECOND_MS);
                    self.act(Action::Send(b"\n".to_vec()));
                }
            }
            State::Streaming { ack_at, .. } => {
                if is_silent {
                    self.give_up(now, Level::Warning, "MASTER timeout: no data nor PING received...");
                } else if now >= *ack_at {
                    self.acknowledge(now);
                }
            }
        }
    }

    /// The link to our primary, if we have one.
    pub fn upstream(&self, now: Ms) -> Option<UpstreamReport> {
        let (upstream, Role::Replica(address)) = (self.upstream.as_ref()?, &self.role) else { return None };
        let state = match upstream.state {
            State::Waiting { .. } => LinkState::Connect,
            State::Connecting => LinkState::Connecting,
            State::Handshake { .. } => LinkState::Handshake,
            State::Promised { .. } | State::Paired { .. } | State::Receiving { .. } => LinkState::Sync,
            State::Streaming { .. } => LinkState::Connected,
        };
        let (sync_total_bytes, sync_read_bytes) = match upstream.state {
            State::Receiving { total_bytes, read_bytes, .. } => (total_bytes, read_bytes),
            _ => (None, 0),
        };
        let idle_ms = now.since(upstream.last_io);
        Some(UpstreamReport {
            address: address.clone(),
            state,
            last_io_ms_ago: (state == LinkState::Connected).then_some(idle_ms),
            sync_in_progress: state == LinkState::Sync,
            sync_total_bytes,
            sync_read_bytes,
            sync_last_io_ms_ago: idle_ms,
            down_since_ms: upstream.down_since.map(|since| now.since(since)),
            up_since_ms: match upstream.state {
                State::Streaming { since, .. } => Some(now.since(since)),
                _ => None,
            },
            down_total_ms: upstream.down_total_ms + upstream.down_since.map_or(0, |since| now.since(since)),
            attempts: upstream.attempts,
            attempts_total: self.sync_attempts,
            read_offset: upstream.offset,
            offset: upstream.offset,
        })
    }

    /// Whether our own replicas may have the stream from us.
    pub(crate) fn is_streaming(&self) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| matches!(upstream.state, State::Streaming { .. }))
    }
}

/// How the end of the snapshot that follows this line is known.
fn framing(line: &[u8]) -> Option<Framing> {
    match line.strip_prefix(b"$EOF:") {
        Some(mark) => mark.try_into().ok().map(Framing::Mark),
        None => line.strip_prefix(b"$").and_then(number).map(Framing::Length),
    }
}

/// Whether the same question will be answered otherwise before long.
fn is_transient(line: &[u8]) -> bool {
    [&b"-NOMASTERLINK"[..], b"-LOADING", b"-MASTERDOWN", b"-TRYAGAIN", b"-BUSY"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// A number of the protocol: digits alone, so that nothing is taken for one that another server would refuse.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok().filter(|number: &u64| i64::try_from(*number).is_ok())
}

/// What a peer says, as it may stand in a log.
pub(crate) fn shown(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = &line[..line.len().min(LINE_SHOWN_MAX)];
    line.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

//! A small driver: the machine over real sockets, with a stream of bytes that it does not understand for data.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use replication::{
    Action, Config, Framing, History, LinkId, Log, Machine, Ms, Replconf, ReplicationId, Role, Sync, SyncRequest,
};
use testkit::{Value, encode_command, wait_until};

/// A file without keys, that every server reads: version 9, and no checksum.
const EMPTY_SNAPSHOT: &[u8] = b"REDIS0009\xff\0\0\0\0\0\0\0\0";
const MARK: [u8; 40] = *b"0123456789abcdef0123456789abcdef01234567";

struct Link {
    stream: TcpStream,
    input: Vec<u8>,
    feed: Option<u64>,
}

enum Mode {
    Lines,
    Snapshot(Framing),
    Stream,
}

pub struct Driver {
    pub machine: Machine,
    /// All that was ever in the stream since `first`.
    pub bytes: Vec<u8>,
    first: Option<u64>,
    pub notes: Vec<String>,
    pub snapshots: usize,
    pub is_paused: bool,
    began: Instant,
    listener: TcpListener,
    upstream: Option<(TcpStream, Vec<u8>, Mode)>,
    links: BTreeMap<LinkId, Link>,
    next_link: u64,
    next_id: u8,
}

impl Driver {
    pub fn new(config: Config) -> Driver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let announce_port = listener.local_addr().unwrap().port();
        Driver {
            machine: Machine::new(Ms(0), Config { announce_port, ..config }, History::new(id(1))),
            bytes: Vec::new(),
            first: None,
            notes: Vec::new(),
            snapshots: 0,
            is_paused: false,
            began: Instant::now(),
            listener,
            upstream: None,
            links: BTreeMap::new(),
            next_link: 0,
            next_id: 1,
        }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub fn now(&self) -> Ms {
        Ms(u64::try_from(self.began.elapsed().as_millis()).unwrap())
    }

    pub fn log(&self) -> Log {
        Log { first: self.first, end: self.first.unwrap_or(0) + self.bytes.len() as u64 }
    }

    pub fn new_id(&mut self) -> ReplicationId {
        self.next_id += 1;
        id(self.next_id)
    }

    pub fn is_primary(&self) -> bool {
        *self.machine.role() == Role::Primary
    }

    /// Turns until this holds.
    pub fn until(&mut self, what: &str, condition: impl Fn(&mut Driver) -> bool) {
        let holds = wait_until(Duration::from_secs(30), || {
            self.turn();
            condition(self)
        });
        assert!(holds, "{what}: {:#?}", self.notes);
    }

    pub fn write(&mut self, words: &[&str]) {
        assert!(!self.is_paused && self.is_primary());
        encode_command(words, &mut self.bytes);
    }

    /// All connections break.
    pub fn cut(&mut self) {
        let now = self.now();
        if self.upstream.take().is_some() {
            self.machine.disconnected(now, "cut");
        }
        for link in std::mem::take(&mut self.links).into_keys() {
            self.machine.gone(now, link);
        }
    }

    pub fn turn(&mut self) {
        let now = self.now();
        self.machine.handle_timeout(now, self.log());
        self.settle();
        if let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).unwrap();
            self.next_link += 1;
            self.links.insert(LinkId(self.next_link), Link { stream, input: Vec::new(), feed: None });
        }
        self.hear_primary();
        for link in self.links.keys().copied().collect::<Vec<LinkId>>() {
            self.hear_link(link);
        }
        self.settle();
        for link in self.links.values_mut() {
            if let (Some(from), Some(first)) = (link.feed, self.first) {
                let rest = &self.bytes[usize::try_from(from - first).unwrap()..];
                link.stream.write_all(rest).unwrap_or_default();
                link.feed = Some(from + rest.len() as u64);
            }
        }
    }

    fn settle(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        let now = self.now();
        match action {
            Action::Connect(address) => match TcpStream::connect((address.host.as_str(), address.port)) {
                Ok(stream) => {
                    stream.set_nonblocking(true).unwrap();
                    self.upstream = Some((stream, Vec::new(), Mode::Lines));
                    self.machine.connected(now);
                }
                Err(error) => self.machine.disconnected(now, &error.to_string()),
            },
            Action::Close => self.upstream = None,
            Action::Send(bytes) => {
                if let Some((stream, ..)) = &mut self.upstream {
                    stream.write_all(&bytes).unwrap_or_default();
                }
            }
            Action::ReceiveSnapshot(framing) => self.upstream.as_mut().unwrap().2 = Mode::Snapshot(framing),
            Action::Stream => self.upstream.as_mut().unwrap().2 = Mode::Stream,
            Action::Reply(link, bytes) => self.send(link, &bytes),
            // Snapshots are there at once here.
            Action::Patience(link) => self.send(link, b"\n"),
            Action::Feed { link, from } => self.links.get_mut(&link).unwrap().feed = Some(from),
            Action::Snapshot { links, framing, .. } => self.send_snapshot(&links, framing),
            Action::Disconnect { link, why } => {
                self.notes.push(why);
                self.links.remove(&link);
                self.machine.gone(now, link);
            }
            Action::Append(bytes) => self.bytes.extend(bytes),
            Action::DropLog => self.first = None,
            Action::BecomeReplica | Action::BecomePrimary => {}
            Action::PauseWrites => self.is_paused = true,
            Action::ResumeWrites => self.is_paused = false,
            Action::Note(_, text) => self.notes.push(text),
            Action::ConnectChannel(_)
            | Action::SendOnChannel(_)
            | Action::Keep
            | Action::ReceiveOnChannel { .. }
            | Action::FeedBeside { .. }
            | Action::Release(_) => unreachable!("the configuration is for one connection"),
        }
    }

    fn send(&mut self, link: LinkId, bytes: &[u8]) {
        if let Some(link) = self.links.get_mut(&link) {
            link.stream.write_all(bytes).unwrap_or_default();
        }
    }

    /// A snapshot without keys: what was written before is known to have been none.
    fn send_snapshot(&mut self, links: &[LinkId], framing: Framing) {
        let now = self.now();
        self.snapshots += 1;
        self.machine.cut(now, links, self.log().end, None);
        self.settle();
        for link in links {
            if framing == Framing::Stream {
                self.send(*link, &[b"$EOF:", &MARK[..], b"\r\n", EMPTY_SNAPSHOT, &MARK[..]].concat());
            } else {
                self.send(*link, &[format!("${}\r\n", EMPTY_SNAPSHOT.len()).as_bytes(), EMPTY_SNAPSHOT].concat());
            }
            self.machine.snapshot_sent(now, *link);
        }
    }

    fn hear_primary(&mut self) {
        let now = self.now();
        let Some((stream, input, _)) = &mut self.upstream else { return };
        let before = input.len();
        if !read(stream, input) {
            self.upstream = None;
            self.machine.disconnected(now, "closed");
            return;
        }
        if input.len() > before {
            self.machine.heard(now);
        }
        loop {
            let Some((_, input, mode)) = &mut self.upstream else { return };
            match mode {
                Mode::Lines => {
                    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
                    let line: Vec<u8> = input.drain(..=end).collect();
                    let line = line.strip_suffix(b"\r\n").unwrap_or(&line[..end]);
                    self.machine.line(now, line, self.log());
                    self.settle();
                }
                Mode::Snapshot(framing) => {
                    let length = match framing {
                        Framing::Length(length) => usize::try_from(*length).unwrap(),
                        Framing::Mark(mark) if input.ends_with(mark) => input.len(),
                        _ => return,
                    };
                    if input.len() < length {
                        return;
                    }
                    input.drain(..length);
                    self.first = Some(self.machine.upstream_offset());
                    self.bytes.clear();
                    self.machine.snapshot_loaded(now);
                    self.settle();
                }
                Mode::Stream => {
                    let Ok(Some((command, length))) = Value::decode(input) else { return };
                    let raw: Vec<u8> = input.drain(..length).collect();
                    if command.elements().unwrap().get(1).and_then(Value::text) == Some("GETACK") {
                        self.machine.wants_ack(now);
                    }
                    self.bytes.extend(raw);
                    self.machine.applied(now, self.log().end, None);
                    self.settle();
                }
            }
        }
    }

    fn hear_link(&mut self, id: LinkId) {
        let now = self.now();
        let Some(link) = self.links.get_mut(&id) else { return };
        if !read(&mut link.stream, &mut link.input) {
            self.links.remove(&id);
            self.machine.gone(now, id);
            return;
        }
        while let Some(link) = self.links.get_mut(&id) {
            if link.input.first() == Some(&b'\n') {
                link.input.drain(..1);
                self.machine.sign_of_life(now, id);
                continue;
            }
            if link.input.starts_with(b"SYNC\r\n") {
                link.input.drain(..6);
                self.sync(id, SyncRequest::Sync);
                continue;
            }
            let Ok(Some((command, length))) = Value::decode(&link.input) else { return };
            link.input.drain(..length);
            let words: Vec<Vec<u8>> =
                command.elements().unwrap().iter().map(|word| word.bytes().unwrap().to_vec()).collect();
            let rest: Vec<&[u8]> = words[1..].iter().map(Vec::as_slice).collect();
            match &words[0].to_ascii_uppercase()[..] {
                b"PING" => self.send(id, b"+PONG\r\n"),
                b"REPLCONF" => match self.machine.replconf(now, id, "127.0.0.1", &rest, self.log()) {
                    Replconf::Ok => self.send(id, b"+OK\r\n"),
                    Replconf::Silent => {}
                    Replconf::Error(text) => self.send(id, format!("-{text}\r\n").as_bytes()),
                },
                b"PSYNC" => {
                    let offset = std::str::from_utf8(rest[1]).unwrap().parse().unwrap();
                    self.sync(id, SyncRequest::Psync { id: rest[0], offset, failover: rest.len() > 2 });
                }
                name => self.send(id, format!("-ERR unknown command '{}'\r\n", name.escape_ascii()).as_bytes()),
            }
            self.settle();
        }
    }

    fn sync(&mut self, link: LinkId, request: SyncRequest<'_>) {
        let new_id = self.new_id();
        match self.machine.sync(self.now(), link, "127.0.0.1", request, self.log(), new_id) {
            Sync::Continue { reply, from } => {
                self.send(link, &reply);
                self.links.get_mut(&link).unwrap().feed = Some(from);
            }
            Sync::Second | Sync::Offer(_) => unreachable!("the configuration is for one connection"),
            Sync::Wait => self.first = self.first.or(Some(0)),
            Sync::Refuse(text) => self.send(link, format!("-{text}\r\n").as_bytes()),
        }
    }
}

/// What is there; false if it has ended.
fn read(stream: &mut TcpStream, input: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(length) => input.extend(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

fn id(number: u8) -> ReplicationId {
    ReplicationId::from_random([number; 20])
}

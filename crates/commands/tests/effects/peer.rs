//! A real server with a replica's link and a subscriber beside it: what it propagates and what it notifies of, command by command.
//!
//! Behind each command stands `PUBLISH barrier`, which arrives on the link and at the subscriber: what came before it is that
//! command's. So a whole batch is sent at once, and nothing waits for a clock.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testkit::{Client, Kind, Server, ServerOptions, Value, encode_command};

use crate::observed::{Effect, Event, Observed};

const BARRIER: &str = "barrier";

pub struct Peer {
    client: Client,
    link: Link,
    subscriber: Client,
    /// Killed when dropped.
    _server: Server,
}

impl Peer {
    pub fn start(kind: Kind) -> Peer {
        // Nobody acknowledges on the link, and pings would only have to be skipped.
        let options = ["--repl-diskless-sync", "no", "--repl-timeout", "3600", "--repl-ping-replica-period", "3600"];
        let server = ServerOptions::new(kind).arguments(options).arguments(["--enable-debug-command", "yes"]);
        let server = server.start().expect("a server that is there starts");
        let link = Link::open(&server);
        let mut subscriber = server.client();
        for command in [["SUBSCRIBE", BARRIER], ["PSUBSCRIBE", "__keyevent@*__:*"]] {
            subscriber.command(&command).expect("subscribed");
        }
        Peer { client: server.client(), link, subscriber, _server: server }
    }

    /// Asks something before the play.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Plays the commands in order, and says what each has brought about.
    pub fn play(&mut self, commands: &[Vec<Vec<u8>>], may_block: impl Fn(&[Vec<u8>]) -> bool) -> Vec<Observed> {
        for command in commands {
            if may_block(command) {
                // In a transaction nothing blocks, and a single command is propagated like one outside.
                self.client.queue(&["MULTI"]);
                self.client.queue(command);
                self.client.queue(&["EXEC"]);
            } else {
                self.client.queue(command);
            }
            self.client.queue(&["PUBLISH", BARRIER, ""]);
        }
        self.client.flush().expect("sent");
        let client = &mut self.client;
        let mut receive = || client.receive().expect("every command is replied to");
        let mut replies = Vec::new();
        for command in commands {
            let mut reply = receive();
            if may_block(command) {
                let queued = receive();
                reply = match receive() {
                    Value::Array(replies) if replies.len() == 1 => replies[0].clone(),
                    // Refused before it was queued.
                    _ => queued,
                };
            }
            let barrier = receive();
            assert_eq!(barrier, Value::Integer(1), "the subscriber hears the barrier");
            replies.push(reply);
        }
        replies
            .into_iter()
            .map(|reply| Observed { reply: reply.to_string(), units: self.link.units(), events: self.events() })
            .collect()
    }

    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let message = self.subscriber.receive().expect("the subscriber hears the barrier");
            let parts: Vec<&[u8]> = message.elements().unwrap_or_default().iter().filter_map(Value::bytes).collect();
            match parts[..] {
                [b"message", _, _] => return events,
                [b"pmessage", _, channel, key] => {
                    let channel = std::str::from_utf8(channel).expect("a channel of events");
                    let (db, name) = channel
                        .strip_prefix("__keyevent@")
                        .and_then(|rest| rest.split_once("__:"))
                        .expect("a channel of events");
                    let db = db.parse().expect("a database");
                    events.push(Event { db, name: name.to_owned(), key: key.to_vec() });
                }
                _ => {}
            }
        }
    }
}

/// What a replica is sent.
struct Link {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of it was read.
    at: usize,
    db: u32,
}

impl Link {
    /// Behind the full synchronisation.
    fn open(server: &Server) -> Link {
        let stream = TcpStream::connect(server.address()).expect("the server accepts");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        let mut link = Link { stream, buffer: Vec::new(), at: 0, db: 0 };
        let mut request = Vec::new();
        encode_command(&["PSYNC", "?", "-1"], &mut request);
        link.stream.write_all(&request).expect("sent");
        let answer = link.line();
        assert!(answer.starts_with("+FULLRESYNC"), "{answer}");
        // Blank lines keep the link alive while the snapshot is made.
        let header = loop {
            let line = link.line();
            if !line.trim().is_empty() {
                break line;
            }
        };
        let len: usize = header.trim().strip_prefix('$').and_then(|len| len.parse().ok()).expect("a snapshot's length");
        while link.buffer.len() - link.at < len {
            link.fill();
        }
        link.at += len;
        link
    }

    fn fill(&mut self) {
        self.buffer.drain(..self.at);
        self.at = 0;
        let mut chunk = [0; 64 * 1024];
        let len = self.stream.read(&mut chunk).expect("the link says something in time");
        assert!(len > 0, "the server has closed the link");
        self.buffer.extend_from_slice(&chunk[..len]);
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(len) = self.buffer[self.at..].iter().position(|&byte| byte == b'\n') {
                let line = self.buffer[self.at..][..len].to_vec();
                self.at += len + 1;
                return String::from_utf8(line).expect("a line of text");
            }
            self.fill();
        }
    }

    fn command(&mut self) -> Vec<Vec<u8>> {
        loop {
            if let Some((value, len)) = Value::decode(&self.buffer[self.at..]).expect("the link speaks the protocol") {
                self.at += len;
                let words = value.elements().unwrap_or_default().iter();
                return words.map(|word| word.bytes().expect("a word").to_vec()).collect();
            }
            self.fill();
        }
    }

    /// What came before the barrier.
    fn units(&mut self) -> Vec<Vec<Effect>> {
        let mut units = Vec::new();
        let mut transaction: Option<Vec<Effect>> = None;
        loop {
            let args = self.command();
            match (&args[0].to_ascii_uppercase()[..], &mut transaction) {
                (b"SELECT", _) => {
                    self.db = String::from_utf8_lossy(&args[1]).parse().expect("a database");
                }
                (b"MULTI", None) => transaction = Some(Vec::new()),
                (b"EXEC", Some(effects)) => {
                    units.push(std::mem::take(effects));
                    transaction = None;
                }
                (b"PUBLISH", None) if args[1] == BARRIER.as_bytes() => return units,
                (b"PING" | b"REPLCONF", None) => {}
                (_, Some(effects)) => effects.push(Effect::new(self.db, args)),
                (_, None) => units.push(vec![Effect::new(self.db, args)]),
            }
        }
    }
}

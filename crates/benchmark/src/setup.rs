//! What is asked of the server before the load: its configuration, and what each connection has to say first.

use std::io::{self, Read, Write};

use resp::{ReplyParser, Value, encode_request};

use crate::settings::Settings;
use crate::transport::{Endpoint, ReadWrite};

/// A connection that waits for each reply.
pub struct Setup {
    stream: Box<dyn ReadWrite>,
    parser: ReplyParser,
}

/// What was seen of a server's configuration; None where it would not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerConfig {
    pub save: Option<String>,
    pub appendonly: Option<String>,
}

impl Setup {
    /// Connects and authenticates. The error is what to tell the user.
    pub fn connect(endpoint: &Endpoint, settings: &Settings) -> Result<Setup, String> {
        let stream = endpoint
            .connect_blocking()
            .map_err(|error| format!("Could not connect to Redis at {endpoint}: {}", describe(&error)))?;
        let mut setup = Setup { stream, parser: ReplyParser::new() };
        if let Some(arguments) = authentication(settings) {
            let reply = setup.command(&arguments).map_err(|error| format!("{endpoint}: {}", describe(&error)))?;
            if reply.is_error() {
                let text = String::from_utf8_lossy(reply.as_bytes().unwrap_or_default()).into_owned();
                return Err(format!("Node {endpoint} replied with error:\n{text}"));
            }
        }
        Ok(setup)
    }

    pub fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Value> {
        let mut request = Vec::new();
        encode_request(&mut request, arguments);
        self.stream.write_all(&request)?;
        self.stream.flush()?;
        let mut bytes = [0; 16 * 1024];
        loop {
            let reply = self.parser.next_reply().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some(reply) = reply {
                return Ok(reply);
            }
            match self.stream.read(&mut bytes)? {
                0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "Server closed the connection")),
                read => self.parser.feed(&bytes[..read]),
            }
        }
    }

    pub fn config(&mut self) -> io::Result<ServerConfig> {
        let mut get = |name: &str| -> io::Result<Option<String>> {
            let reply = self.command(&["CONFIG", "GET", name])?;
            let value = reply.elements().and_then(|elements| elements.get(1)?.as_str());
            Ok(value.map(str::to_owned))
        };
        Ok(ServerConfig { save: get("save")?, appendonly: get("appendonly")? })
    }
}

/// What each connection of the load sends first, and how many replies that gets.
pub fn prefix(settings: &Settings, read_only: bool) -> (Vec<u8>, u32) {
    let mut bytes = Vec::new();
    let mut replies = 0;
    let mut add = |arguments: &[Vec<u8>]| {
        encode_request(&mut bytes, arguments);
        replies += 1;
    };
    let words = |line: &str| -> Vec<Vec<u8>> { line.split(' ').map(|word| word.as_bytes().to_vec()).collect() };
    if let Some(arguments) = authentication(settings) {
        add(&arguments);
    }
    // In Redis's order.
    if settings.tracking {
        add(&words("CLIENT TRACKING on"));
    }
    if settings.database != 0 && !settings.cluster {
        add(&words(&format!("SELECT {}", settings.database)));
    }
    if settings.resp3 {
        add(&words("HELLO 3"));
    }
    if read_only {
        add(&words("READONLY"));
    }
    (bytes, replies)
}

fn authentication(settings: &Settings) -> Option<Vec<Vec<u8>>> {
    let password = settings.password.clone()?;
    let user = settings.user.as_ref().map(|user| user.clone().into_bytes());
    Some([b"AUTH".to_vec()].into_iter().chain(user).chain([password]).collect())
}

/// An error as Redis's tools word it: without the number that Rust adds.
pub fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

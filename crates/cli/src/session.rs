//! One user's dealings with a server: greeting it, running commands, what state they leave, and showing the replies.
//!
//! ```text
//!            SUBSCRIBE                      MONITOR, SYNC
//! commands ─────────────▶ subscribed ──┐  commands ─────▶ following
//!     ▲                        │       │                     │
//!     └── last UNSUBSCRIBE ◀───┘       └──── Ctrl-C ─────────┴──▶ a new connection
//! ```

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use resp::client::Value;

use crate::connection::{Connection, LinkError, reason, wait_readable};
use crate::format::{self, Delimiters, Output};
use crate::interrupt;
use crate::options::Options;
use crate::prompt::docs::Docs;
use crate::prompt::help;

pub struct Session {
    pub options: Options,
    pub output: Output,
    /// Commands come from a prompt or a pipe, one after the other, rather than from the command line.
    pub interactive: bool,
    /// Both ends are a terminal: there is somebody who can press a key.
    pub at_terminal: bool,
    pub database: i64,
    pub in_transaction: bool,
    /// Channels and patterns, as the server counts them.
    pub subscriptions: i64,
    /// What AUTH has been given last, for the next connection.
    credentials: Option<Credentials>,
    protocol: Option<u8>,
    connection: Option<Connection>,
    /// What has been shown since the last line was typed, and what had been before it: the pager's.
    pub last_shown: Vec<u8>,
    pub paged: Vec<u8>,
    /// What the server tells of its commands, once it was asked.
    pub docs: Option<Rc<Docs>>,
    /// What is shown is also kept for the pager.
    pub keep_shown: bool,
    /// It is only kept, not printed: the pager will show it.
    pub hold_back: bool,
}

#[derive(Clone)]
struct Credentials {
    user: Option<Vec<u8>>,
    password: Vec<u8>,
}

/// Why a command has not been run to its end. What there was to say has been said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// There is no connection.
    NotConnected,
    /// It broke.
    Broken,
    /// The server answered with an error, and that is to end everything (`-e`).
    Error,
    /// By Ctrl-C.
    Interrupted,
}

/// What a command's replies are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ordinary,
    Subscribe,
    Unsubscribe,
    /// Lines without end.
    Monitor,
    Replica,
    /// The server goes away, if all is well.
    Shutdown,
    /// CLIENT REPLY OFF and SKIP.
    Silent,
}

impl Session {
    pub fn new(options: Options) -> Session {
        let terminal = io::stdout().is_terminal();
        let output = options.output.unwrap_or(if terminal { Output::Pretty } else { Output::Raw });
        let credentials = given_credentials(&options);
        Session {
            output,
            interactive: false,
            at_terminal: terminal && io::stdin().is_terminal(),
            database: options.database,
            in_transaction: false,
            subscriptions: 0,
            credentials,
            protocol: options.greeting(),
            connection: None,
            last_shown: Vec::new(),
            paged: Vec::new(),
            docs: None,
            keep_shown: false,
            hold_back: false,
            options,
        }
    }

    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// `host:port`, or the socket's path.
    pub fn address(&self) -> String {
        let target = &self.options.target;
        match &target.socket {
            Some(path) => path.display().to_string(),
            None if target.host.contains(':') => format!("[{}]:{}", target.host, target.port),
            None => format!("{}:{}", target.host, target.port),
        }
    }

    /// Another server is meant from now on. Who we are there is what the command line says: what was typed since was for the old one.
    pub fn retarget(&mut self, host: String, port: u16) {
        let target = &mut self.options.target;
        target.host = host;
        target.port = port;
        target.socket = None;
        self.credentials = given_credentials(&self.options);
        self.docs = None;
    }

    /// Opens a connection and greets the server. What fails is told. Says whether all went well; without a connection it is an error.
    pub fn connect(&mut self) -> Result<bool, Stopped> {
        self.connection = None;
        self.in_transaction = false;
        self.subscriptions = 0;
        match Connection::open(&self.options.target) {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => {
                eprintln!("Could not connect to Redis at {}: {}", self.plain_address(), reason(&error));
                return Err(Stopped::NotConnected);
            }
        }
        self.greet()
    }

    /// As error messages have it: without brackets.
    fn plain_address(&self) -> String {
        let target = &self.options.target;
        match &target.socket {
            Some(path) => path.display().to_string(),
            None => format!("{}:{}", target.host, target.port),
        }
    }

    fn greet(&mut self) -> Result<bool, Stopped> {
        let mut well = true;
        if let Some(Credentials { user, password }) = self.credentials.clone() {
            let mut arguments = vec![b"AUTH".to_vec()];
            arguments.extend(user);
            arguments.push(password);
            well &= self.greeting("AUTH", &arguments)?;
        }
        if self.database != 0 {
            let number = self.database.to_string();
            let selected = self.greeting(&format!("SELECT {number}"), &[b"SELECT".to_vec(), number.into_bytes()])?;
            if !selected {
                self.database = 0;
            }
            well &= selected;
        }
        if let Some(protocol) = self.protocol {
            let number = protocol.to_string();
            well &= self.greeting(&format!("HELLO {number}"), &[b"HELLO".to_vec(), number.into_bytes()])?;
        }
        Ok(well)
    }

    fn greeting(&mut self, name: &str, arguments: &[Vec<u8>]) -> Result<bool, Stopped> {
        match self.link().command(arguments) {
            Ok(Value::Error(text) | Value::BulkError(text)) => {
                eprintln!("{name} failed: {}", String::from_utf8_lossy(&text));
                Ok(false)
            }
            Ok(_) => Ok(true),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// For what works on the connection itself. Panics without one.
    pub fn link(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("connected")
    }

    /// Tells of a broken connection and gives it up.
    pub fn broken(&mut self, error: &LinkError) -> Stopped {
        self.connection = None;
        self.in_transaction = false;
        self.subscriptions = 0;
        if let LinkError::Interrupted = error {
            return Stopped::Interrupted;
        }
        eprintln!("Error: {error}");
        Stopped::Broken
    }

    /// Runs a command `repeat` times (negative: for ever), with the pause of `-i` between, and shows the replies.
    pub fn run(&mut self, arguments: &[Vec<u8>], repeat: i64) -> Result<(), Stopped> {
        let Some(name) = arguments.first() else { return Ok(()) };
        if name.eq_ignore_ascii_case(b"help") || name == b"?" {
            let text = help::answer(self, &arguments[1..]);
            self.show(text.as_bytes());
            return Ok(());
        }
        let mut done = 0;
        while repeat < 0 || done < repeat {
            self.run_once(arguments)?;
            done += 1;
            let again = repeat < 0 || done < repeat;
            if again && !interrupt::pause(self.options.interval) {
                return Err(Stopped::Interrupted);
            }
        }
        Ok(())
    }

    fn run_once(&mut self, arguments: &[Vec<u8>]) -> Result<(), Stopped> {
        if self.connection.is_none() {
            self.connect()?;
        } else if self.interactive {
            self.notice_what_came()?;
        }
        let kind = kind_of(arguments);
        if matches!(kind, Kind::Subscribe | Kind::Monitor | Kind::Replica) {
            // There is no last line that a pager could wait for, nor an end to what would be kept for it.
            self.hold_back = false;
            self.keep_shown = false;
        }
        let started = Instant::now();
        if let Err(error) = self.send(arguments) {
            return Err(self.broken(&error));
        }
        match kind {
            Kind::Silent => return Ok(()),
            Kind::Replica => return crate::modes::replica::follow_from_command(self),
            Kind::Ordinary | Kind::Subscribe | Kind::Unsubscribe | Kind::Monitor | Kind::Shutdown => {}
        }
        if kind == Kind::Subscribe && self.output != Output::Raw && !self.at_prompt() {
            self.show(b"Reading messages... (press Ctrl-C to quit)\n");
        }
        let replies = if kind == Kind::Unsubscribe { arguments.len().saturating_sub(1).max(1) } else { 1 };
        for _ in 0..replies {
            let reply = match self.receive_following(arguments) {
                Ok(reply) => reply,
                Err(LinkError::Closed) if kind == Kind::Shutdown => {
                    self.connection = None;
                    return Ok(());
                }
                Err(error) => return Err(self.broken(&error)),
            };
            self.show_reply(&reply, arguments)?;
            if reply.is_error() {
                return Ok(());
            }
            self.follow_state(arguments, kind, &reply);
        }
        if self.interactive && self.output == Output::Pretty {
            let elapsed = started.elapsed();
            if elapsed >= Duration::from_millis(500) {
                self.show(format!("({:.2}s)\n", elapsed.as_secs_f64()).as_bytes());
            }
        }
        match kind {
            Kind::Monitor => self.follow(),
            // At the prompt they are followed once the command is done, whichever it was.
            Kind::Subscribe if !self.at_prompt() => self.follow_messages(),
            _ => Ok(()),
        }
    }

    /// Somebody sits at a prompt, so that what has no end must have a way out.
    fn at_prompt(&self) -> bool {
        self.interactive && self.at_terminal
    }

    /// Before a command is sent: shows pushes that have come meanwhile, and notices when the server has hung up, so that the
    /// command goes to a new connection instead of being lost. It is not sent twice: it has not been sent yet.
    fn notice_what_came(&mut self) -> Result<(), Stopped> {
        loop {
            match self.link().receive_ready() {
                Ok(Some(Value::Push(values))) => {
                    self.show_push(&Value::Push(values));
                    continue;
                }
                // A stray reply: shown rather than taken for the next command's.
                Ok(Some(stray)) => {
                    self.show_formatted(&stray);
                    continue;
                }
                Ok(None) => {}
                Err(error) => return Err(self.broken(&error)),
            }
            let fd = self.link().as_raw_fd();
            match wait_readable(fd, Some(Duration::ZERO)) {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(error) => return Err(self.broken(&error)),
            }
            match self.link().fill() {
                Ok(0) | Err(LinkError::Closed | LinkError::Io(_)) => {
                    if self.in_transaction {
                        eprintln!("The server has closed the connection; the transaction is gone.");
                        self.in_transaction = false;
                        self.connection = None;
                        return Err(Stopped::Broken);
                    }
                    if self.options.verbose {
                        eprintln!("The server has closed the connection; connecting again.");
                    }
                    self.connect()?;
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    pub fn send(&mut self, arguments: &[Vec<u8>]) -> Result<(), LinkError> {
        let link = self.link();
        link.queue(arguments);
        link.flush()
    }

    /// A reply to the command just sent, from whichever node of a cluster has it. Pushes on the way are shown.
    fn receive_following(&mut self, arguments: &[Vec<u8>]) -> Result<Value, LinkError> {
        // A cluster that sends us in circles is broken; redirections of a healthy one are few.
        for _ in 0..16 {
            let reply = self.receive()?;
            if !self.options.follow_redirections || !self.redirect(&reply)? {
                return Ok(reply);
            }
            self.send(arguments)?;
        }
        Err(LinkError::Protocol("too many redirections".to_string()))
    }

    fn receive(&mut self) -> Result<Value, LinkError> {
        loop {
            match self.link().receive()? {
                push @ Value::Push(_) if !is_subscription(&push) => self.show_push(&push),
                reply => return Ok(reply),
            }
        }
    }

    /// Goes where MOVED or ASK point. Says whether the reply was one of them.
    fn redirect(&mut self, reply: &Value) -> Result<bool, LinkError> {
        let Value::Error(text) = reply else { return Ok(false) };
        let text = String::from_utf8_lossy(text).into_owned();
        let mut words = text.split(' ');
        let ask = match words.next() {
            Some("MOVED") => false,
            Some("ASK") => true,
            _ => return Ok(false),
        };
        let (Some(slot), Some(address)) = (words.next(), words.next()) else { return Ok(false) };
        let Some((host, port)) = address.rsplit_once(':') else { return Ok(false) };
        let Ok(port) = port.parse() else { return Ok(false) };
        // Without a host it is the node that answered, at another port.
        if !host.is_empty() {
            self.options.target.host = host.to_string();
        }
        self.options.target.port = port;
        self.options.target.socket = None;
        if self.interactive || self.options.verbose {
            let line = format!("-> Redirected to slot [{slot}] located at {}\n", self.address());
            self.show(line.as_bytes());
        }
        let failed = |_| LinkError::Io(io::Error::other("the node it pointed to cannot be reached"));
        self.connect().map_err(failed)?;
        if ask && !self.greeting("ASKING", &[b"ASKING".to_vec()]).map_err(failed)? {
            return Err(LinkError::Io(io::Error::other("")));
        }
        Ok(true)
    }

    /// What a command that went well means for the next ones.
    fn follow_state(&mut self, arguments: &[Vec<u8>], kind: Kind, reply: &Value) {
        let is = |name: &str| arguments[0].eq_ignore_ascii_case(name.as_bytes());
        if matches!(kind, Kind::Subscribe | Kind::Unsubscribe) {
            self.count_subscriptions(reply);
        } else if is("select") && arguments.len() == 2 && !self.in_transaction {
            if let Some(number) = resp::number::parse_i64(&arguments[1]) {
                self.database = number;
            }
        } else if is("auth") && arguments.len() >= 2 {
            let user = (arguments.len() == 3).then(|| arguments[1].clone());
            self.credentials = Some(Credentials { user, password: arguments[arguments.len() - 1].clone() });
        } else if is("hello") && arguments.len() >= 2 {
            self.protocol = resp::number::parse_i64(&arguments[1]).map(|number| number as u8);
        } else if is("multi") {
            self.in_transaction = true;
        } else if is("exec") || is("discard") {
            self.in_transaction = false;
        } else if is("reset") {
            self.in_transaction = false;
            self.database = 0;
            self.credentials = None;
            self.protocol = None;
        }
    }

    fn count_subscriptions(&mut self, message: &Value) {
        if let Some([kind, _, Value::Int(count)]) = message.elements()
            && kind.as_str().is_some_and(|kind| kind.ends_with("subscribe"))
        {
            self.subscriptions = *count;
        }
    }

    /// Shows whatever comes, until the connection ends, or Ctrl-C at a prompt.
    fn follow(&mut self) -> Result<(), Stopped> {
        loop {
            match self.link().receive() {
                Ok(reply) => self.show_formatted(&reply),
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    /// Shows messages. At a prompt any key lets a command be typed; Ctrl-C ends all subscriptions. Elsewhere there is no end.
    pub fn follow_messages(&mut self) -> Result<(), Stopped> {
        if !self.at_prompt() {
            loop {
                match self.link().receive() {
                    Ok(message) => self.show_formatted(&message),
                    Err(error) => return Err(self.broken(&error)),
                }
            }
        }
        self.show(b"Reading messages... (press Ctrl-C to quit or any key to type command)\n");
        let keys = crate::terminal::KeyByKey::start();
        loop {
            loop {
                match self.link().receive_ready() {
                    Ok(Some(message)) => {
                        self.count_subscriptions(&message);
                        self.show_formatted(&message);
                    }
                    Ok(None) => break,
                    Err(error) => return Err(self.broken(&error)),
                }
            }
            if self.subscriptions == 0 {
                return Ok(());
            }
            let fd = self.link().as_raw_fd();
            match crate::terminal::key_or_bytes(&keys, fd) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => return Err(self.broken(&error)),
            }
            match self.link().fill() {
                Ok(0) => return Err(self.broken(&LinkError::Closed)),
                Ok(_) => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    fn show_reply(&mut self, reply: &Value, arguments: &[Vec<u8>]) -> Result<(), Stopped> {
        if let Value::Error(text) | Value::BulkError(text) = reply
            && self.options.fail_on_error
            && !self.interactive
        {
            let mut line = text.clone();
            line.push(b'\n');
            let _ = io::stderr().write_all(&line);
            return Err(Stopped::Error);
        }
        if is_report(arguments) {
            // Text for people, whatever the output's form; it brings its own line ends.
            let mut out = Vec::new();
            format::raw(&mut out, reply, b"\n");
            self.show(&out);
        } else {
            self.show_formatted(reply);
        }
        Ok(())
    }

    fn show_formatted(&mut self, reply: &Value) {
        let mut out = Vec::new();
        let delimiters =
            Delimiters { element: self.options.element_delimiter.clone(), reply: self.options.reply_delimiter.clone() };
        format::reply(&mut out, reply, self.output, &delimiters);
        if self.at_prompt() && reply.is_error() && crate::terminal::colours() {
            out.splice(..0, *b"\x1b[31m");
            let end = out.len() - usize::from(out.ends_with(b"\n"));
            out.splice(end..end, *b"\x1b[0m");
        }
        self.show(&out);
    }

    fn show_push(&mut self, push: &Value) {
        if !self.options.show_pushes.unwrap_or(io::stdout().is_terminal()) {
            return;
        }
        match push.elements() {
            Some([kind, Value::Array(keys)])
                if self.output == Output::Pretty && kind.as_str() == Some("invalidate") =>
            {
                let keys: Vec<String> = keys
                    .iter()
                    .map(|key| format!("'{}'", String::from_utf8_lossy(key.as_bytes().unwrap_or_default())))
                    .collect();
                self.show(format!("-> invalidate: {}\n", keys.join(", ")).as_bytes());
            }
            _ => self.show_formatted(push),
        }
    }

    /// Prints, at once.
    pub fn show(&mut self, text: &[u8]) {
        if self.keep_shown {
            self.last_shown.extend_from_slice(text);
        }
        if self.hold_back {
            return;
        }
        print_bytes(text);
    }
}

fn given_credentials(options: &Options) -> Option<Credentials> {
    options.password.clone().map(|password| Credentials { user: options.user.clone(), password })
}

/// Bytes to the standard output, at once. A reader that has gone ends the program.
pub fn print_bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => interrupt::die_of_closed_pipe(),
        Err(error) => {
            eprintln!("Cannot write the output: {}", reason(&error));
            std::process::exit(1);
        }
    }
}

fn is_subscription(push: &Value) -> bool {
    let kind = push.elements().and_then(|elements| elements.first()).and_then(Value::as_str);
    kind.is_some_and(|kind| kind.ends_with("subscribe"))
}

fn kind_of(arguments: &[Vec<u8>]) -> Kind {
    let is = |at: usize, word: &str| {
        arguments.get(at).is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
    };
    if is(0, "subscribe") || is(0, "psubscribe") || is(0, "ssubscribe") {
        Kind::Subscribe
    } else if is(0, "unsubscribe") || is(0, "punsubscribe") || is(0, "sunsubscribe") {
        Kind::Unsubscribe
    } else if is(0, "monitor") && arguments.len() == 1 {
        Kind::Monitor
    } else if is(0, "sync") || is(0, "psync") {
        Kind::Replica
    } else if is(0, "shutdown") {
        Kind::Shutdown
    } else if is(0, "client") && is(1, "reply") && (is(2, "off") || is(2, "skip")) {
        Kind::Silent
    } else {
        Kind::Ordinary
    }
}

/// Replies that are a text for people.
fn is_report(arguments: &[Vec<u8>]) -> bool {
    let is = |at: usize, word: &str| {
        arguments.get(at).is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
    };
    let second = |first: &str, words: &[&str]| is(0, first) && words.iter().any(|word| is(1, word));
    is(0, "info")
        || is(0, "lolwut")
        || second("debug", &["htstats", "htstats-key", "stringmatch-len"])
        || second("memory", &["malloc-stats", "doctor"])
        || second("cluster", &["nodes", "info"])
        || second("client", &["list", "info"])
        || second("latency", &["graph", "doctor"])
        || second("proxy", &["info"])
}

//! One connection to a server: opening it, and requests and replies one at a time.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use resp::client::{ReplyParser, Value, encode_request};

use crate::interrupt;
use crate::options::{Family, Target};
use crate::tls;

/// What carries the bytes.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

/// Why there is no reply.
#[derive(Debug)]
pub enum LinkError {
    /// The server has hung up.
    Closed,
    /// What came is no reply: perhaps it is no server of this kind at all.
    Protocol(String),
    Io(io::Error),
    /// Ctrl-C, where that is caught.
    Interrupted,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Closed => f.write_str("Server closed the connection"),
            LinkError::Protocol(what) => write!(f, "Protocol error, {what}"),
            LinkError::Io(error) => f.write_str(&reason(error)),
            LinkError::Interrupted => f.write_str("Interrupted"),
        }
    }
}

impl std::error::Error for LinkError {}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => LinkError::Closed,
            io::ErrorKind::Interrupted => LinkError::Interrupted,
            _ => LinkError::Io(error),
        }
    }
}

/// The system's words for an error, without Rust's "(os error 111)" behind them.
pub fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => {
            let text = error.to_string();
            text.rfind(" (os error").map_or(text.clone(), |end| text[..end].to_string())
        }
        None => error.to_string(),
    }
}

/// An open connection. Whoever was greeted how (AUTH, SELECT, HELLO) is the [session](crate::session)'s affair.
pub struct Connection {
    stream: Stream,
    parser: ReplyParser,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl Connection {
    /// Opens it, within the target's timeout if it has one.
    pub fn open(target: &Target) -> io::Result<Connection> {
        let stream = match &target.socket {
            Some(path) => Stream::Unix(UnixStream::connect(path)?),
            None => {
                let tcp = open_tcp(target)?;
                tcp.set_nodelay(true)?;
                keep_alive(&tcp);
                match &target.tls {
                    Some(options) => Stream::Tls(Box::new(tls::start(tcp, options, &target.host, target.timeout)?)),
                    None => Stream::Tcp(tcp),
                }
            }
        };
        let incoming = vec![0; 64 * 1024];
        Ok(Connection { stream, parser: ReplyParser::new(), outgoing: Vec::new(), incoming })
    }

    /// Puts a request into the buffer of what [`Self::flush`] sends.
    pub fn queue<A: AsRef<[u8]>>(&mut self, arguments: &[A]) {
        encode_request(&mut self.outgoing, arguments);
    }

    /// Puts bytes as they are into that buffer.
    pub fn queue_bytes(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    pub fn flush(&mut self) -> Result<(), LinkError> {
        let outgoing = std::mem::take(&mut self.outgoing);
        self.writer().write_all(&outgoing)?;
        self.writer().flush()?;
        Ok(())
    }

    /// The next reply or push.
    pub fn receive(&mut self) -> Result<Value, LinkError> {
        loop {
            if let Some(value) = self.parse()? {
                return Ok(value);
            }
            if self.fill()? == 0 {
                return Err(LinkError::Closed);
            }
        }
    }

    /// A reply that is there already, without waiting for more bytes.
    pub fn receive_ready(&mut self) -> Result<Option<Value>, LinkError> {
        self.parse()
    }

    /// Waits for bytes and feeds them to the parser; 0 when the server has hung up.
    pub fn fill(&mut self) -> Result<usize, LinkError> {
        let mut incoming = std::mem::take(&mut self.incoming);
        let read = self.read_raw(&mut incoming);
        self.incoming = incoming;
        let read = read?;
        self.parser.feed(&self.incoming[..read]);
        Ok(read)
    }

    /// Sends one command and waits for its reply; pushes on the way are dropped.
    pub fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Result<Value, LinkError> {
        self.queue(arguments);
        self.flush()?;
        self.receive_reply()
    }

    /// The next reply that is none of RESP3's pushes.
    pub fn receive_reply(&mut self) -> Result<Value, LinkError> {
        loop {
            match self.receive()? {
                Value::Push(_) => {}
                reply => return Ok(reply),
            }
        }
    }

    /// Sends all commands, then waits for all replies.
    pub fn pipeline(&mut self, commands: &[Vec<Vec<u8>>]) -> Result<Vec<Value>, LinkError> {
        for command in commands {
            self.queue(command);
        }
        self.flush()?;
        commands.iter().map(|_| self.receive_reply()).collect()
    }

    /// Bytes as they come, past the parser: for what follows SYNC. Call it only when all replies before have been received.
    pub fn read_raw(&mut self, into: &mut [u8]) -> Result<usize, LinkError> {
        // A read that has begun is begun again by the library when a signal comes; only the wait before it can be ended by Ctrl-C.
        if !self.holds_decrypted() {
            wait_readable(self.as_raw_fd(), None)?;
        }
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
            Stream::Tls(stream) => stream.read(into),
        };
        match read {
            // A server that dies with our request unread resets the connection; to the user that is the same.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
            other => Ok(other?),
        }
    }

    /// Whether bytes are there that `poll` does not know of.
    fn holds_decrypted(&mut self) -> bool {
        match &mut self.stream {
            Stream::Tls(stream) => {
                stream.conn.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
            }
            _ => false,
        }
    }

    /// From now on [`Self::try_read`] and [`Self::try_write`] do what can be done at once.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_nonblocking(true),
            Stream::Unix(stream) => stream.set_nonblocking(true),
            Stream::Tls(stream) => stream.sock.set_nonblocking(true),
        }
    }

    /// What has come; `None` if that is nothing.
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
            Stream::Tls(stream) => stream.read(into),
        };
        at_once(read)
    }

    /// How much was taken; `None` if that is nothing.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        at_once(self.writer().write(bytes))
    }

    fn writer(&mut self) -> &mut dyn Write {
        match &mut self.stream {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
            Stream::Tls(stream) => stream,
        }
    }

    fn parse(&mut self) -> Result<Option<Value>, LinkError> {
        self.parser.next_reply().map_err(|error| match (error.reason, self.parser.unparsed().first()) {
            ("an unknown type", Some(byte)) => {
                LinkError::Protocol(format!("got \"{}\" as reply type byte", byte.escape_ascii()))
            }
            _ => LinkError::Protocol(error.to_string()),
        })
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
            Stream::Tls(stream) => stream.sock.as_raw_fd(),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            let _ = stream.flush();
            let _ = stream.sock.shutdown(Shutdown::Both);
        }
    }
}

fn at_once(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until there is something to read, at most `timeout`. Says whether there is. Ctrl-C, where it is caught, ends it.
pub fn wait_readable(fd: RawFd, timeout: Option<Duration>) -> Result<bool, LinkError> {
    let mut wanted = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let milliseconds = timeout.map_or(-1, |timeout| timeout.as_millis().min(i32::MAX as u128) as i32);
    loop {
        if interrupt::happened() {
            return Err(LinkError::Interrupted);
        }
        // SAFETY: one pollfd that outlives the call.
        match unsafe { libc::poll(&mut wanted, 1, milliseconds) } {
            -1 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error.into());
                }
            }
            ready => return Ok(ready > 0),
        }
    }
}

fn open_tcp(target: &Target) -> io::Result<TcpStream> {
    let addresses = resolve(&target.host, target.port)?;
    let preferred = |address: &std::net::SocketAddr| match target.family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    };
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(preferred);
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in first.into_iter().chain(second) {
        let opened = match target.timeout {
            Some(timeout) => TcpStream::connect_timeout(&address, timeout),
            None => TcpStream::connect(address),
        };
        match opened {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The addresses of a name; the error says what the system's resolver says, without the library's words around it.
fn resolve(host: &str, port: u16) -> io::Result<Vec<std::net::SocketAddr>> {
    if host.is_empty() {
        return Err(io::Error::other("Name or service not known"));
    }
    match (host, port).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => {
            let text = reason(&error);
            Err(io::Error::other(text.rsplit(": ").next().unwrap_or(&text).to_string()))
        }
    }
}

/// A client stays connected all day: the system shall notice when the other side is gone, and NAT shall not forget us.
fn keep_alive(stream: &TcpStream) {
    let set = |level: libc::c_int, option: libc::c_int, value: libc::c_int| {
        // SAFETY: the value is an int that outlives the call, and its size is passed with it. A refusal costs nothing but the keep-alive.
        unsafe {
            libc::setsockopt(
                stream.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            );
        }
    };
    set(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
    set(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 15);
    set(libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 5);
    set(libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3);
}

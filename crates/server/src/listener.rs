//! Listening sockets, and the connections that come out of them.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::socket;
use crate::tls::{TlsStream, stream::IDLE_BYTES as TLS_IDLE_BYTES};

/// A client's byte stream.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream>),
}

impl Stream {
    pub fn fd(&self) -> RawFd {
        match self {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
            Stream::Tls(stream) => stream.socket().as_raw_fd(),
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Stream::Tcp(stream) => Some(stream),
            Stream::Tls(stream) => Some(stream.socket()),
            Stream::Unix(_) => None,
        }
    }

    /// Whether there may be more to read without an event for it: below TLS, bytes of the socket are not those of requests.
    #[inline]
    pub fn has_more(&self) -> bool {
        matches!(self, Stream::Tls(stream) if stream.has_more())
    }

    /// Sends what it has to send besides replies.
    ///
    /// # Errors
    /// The connection is broken.
    #[inline]
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tls(stream) => stream.flush().map(drop),
            Stream::Tcp(_) | Stream::Unix(_) => Ok(()),
        }
    }

    /// Where the protocol has a word for the end, it is said.
    pub fn say_goodbye(&mut self) {
        if let Stream::Tls(stream) = self {
            stream.say_goodbye();
        }
    }

    /// What it costs beyond the connection that it is part of, while nothing waits in it.
    #[inline]
    pub fn idle_bytes(&self) -> usize {
        if matches!(self, Stream::Tls(_)) { TLS_IDLE_BYTES } else { 0 }
    }

    /// The same now.
    pub fn memory_bytes(&self) -> usize {
        if let Stream::Tls(stream) = self { stream.memory_bytes() } else { 0 }
    }

    /// Keepalive probes after this many idle seconds; 0 turns them off.
    pub fn set_keepalive(&self, seconds: u64) {
        if let Some(stream) = self.tcp()
            && seconds > 0
        {
            // Three probes within the next interval, as Redis does: the peer is given up after about twice the time.
            let keepalive = TcpKeepalive::new()
                .with_time(Duration::from_secs(seconds))
                .with_interval(Duration::from_secs((seconds / 3).max(1)))
                .with_retries(3);
            let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive);
        }
    }

    pub fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.register(registry, token, interest),
            Stream::Unix(stream) => stream.register(registry, token, interest),
            Stream::Tls(stream) => stream.socket_mut().register(registry, token, interest),
        }
    }

    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.deregister(registry),
            Stream::Unix(stream) => stream.deregister(registry),
            Stream::Tls(stream) => stream.socket_mut().deregister(registry),
        }
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => socket::receive(stream.as_fd(), buffer),
            Stream::Unix(stream) => socket::receive(stream.as_fd(), buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

/// A connection that was accepted and belongs to no event loop yet.
pub struct Accepted {
    pub id: u64,
    pub stream: Stream,
    /// As CLIENT LIST shows it: `ip:port`, `[ip]:port`, `path:0`.
    pub address: String,
    pub local_address: String,
    /// From this machine: protected mode lets it in.
    pub is_local: bool,
    /// The users that its certificate names, best first.
    pub users: Vec<String>,
}

/// A socket that listens.
pub enum Listener {
    Tcp {
        listener: TcpListener,
        /// As `bind` says it, without the `-`.
        address: String,
        port: u16,
        /// Those who come have to shake hands first.
        tls: bool,
    },
    Unix {
        listener: UnixListener,
        path: PathBuf,
    },
}

impl Listener {
    /// Listens on one `bind` address. `*` means all IPv4 addresses and `::*` all IPv6 ones.
    ///
    /// # Errors
    /// As the system says.
    pub fn tcp(address: &str, port: u16, tls: bool, backlog: i32) -> io::Result<Listener> {
        let ip: IpAddr = match address {
            "*" => Ipv4Addr::UNSPECIFIED.into(),
            "::*" => Ipv6Addr::UNSPECIFIED.into(),
            _ => resolve(address)?,
        };
        let socket = Socket::new(
            if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 },
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        if ip.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(SocketAddr::new(ip, port)))?;
        socket.listen(backlog)?;
        let listener = TcpListener::from_std(socket.into());
        Ok(Listener::Tcp { listener, address: address.to_owned(), port, tls })
    }

    /// Listens on a unix socket. One that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// As the system says.
    pub fn unix(path: &Path, mode: u32, backlog: i32) -> io::Result<Listener> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(backlog)?;
        if mode != 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        let listener = UnixListener::from_std(socket.into());
        Ok(Listener::Unix { listener, path: path.to_owned() })
    }

    pub fn fd(&self) -> RawFd {
        match self {
            Listener::Tcp { listener, .. } => listener.as_raw_fd(),
            Listener::Unix { listener, .. } => listener.as_raw_fd(),
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Listener::Tcp { tls: true, .. })
    }

    /// Stops listening but keeps the address, so that others may listen on parts of it (`SO_REUSEADDR` is set on all).
    pub fn stop(&self) {
        if let Listener::Tcp { listener, .. } = self {
            let _ = socket2::SockRef::from(listener).shutdown(std::net::Shutdown::Both);
        }
    }

    /// Listens again after [`Listener::stop`].
    pub fn go_on(&self, backlog: i32) {
        if let Listener::Tcp { listener, .. } = self {
            let _ = socket2::SockRef::from(listener).listen(backlog);
        }
    }

    /// The next connection, if one waits.
    ///
    /// # Errors
    /// `WouldBlock`, or what the system says (too many open files …).
    /// `id` says the new connection's: they are in the order in which connections came, whichever event loop begins first.
    pub fn accept(&self, id: impl FnOnce() -> u64) -> io::Result<Accepted> {
        match self {
            Listener::Tcp { listener, .. } => {
                let (stream, address) = listener.accept()?;
                // Replies are whole when they are written; there is nothing to wait for.
                stream.set_nodelay(true)?;
                let is_local = is_loopback(address.ip());
                if is_local {
                    stay_simple(&stream);
                }
                let local_address = stream.local_addr().map(|local| local.to_string()).unwrap_or_default();
                Ok(Accepted {
                    id: id(),
                    address: address.to_string(),
                    local_address,
                    is_local,
                    stream: Stream::Tcp(stream),
                    users: Vec::new(),
                })
            }
            Listener::Unix { listener, path } => {
                let (stream, _) = listener.accept()?;
                let address = format!("{}:0", path.display());
                Ok(Accepted {
                    id: id(),
                    address: address.clone(),
                    local_address: address,
                    is_local: true,
                    stream: Stream::Unix(stream),
                    users: Vec::new(),
                })
            }
        }
    }
}

/// Within a machine nothing is lost or queued on the way: there is no congestion to control. What the system has chosen for other ways may have its
/// price here (BBR and its pacing: 0.1 us a reply), so the simplest is taken where it may be; every kernel has it.
fn stay_simple(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_congestion(b"reno");
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    }
}

fn resolve(address: &str) -> io::Result<IpAddr> {
    if let Ok(ip) = address.parse() {
        return Ok(ip);
    }
    let mut found = std::net::ToSocketAddrs::to_socket_addrs(&(address, 0))?;
    found.next().map(|address| address.ip()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Listens on every `bind` address; sockets among `known` that do so already are kept. An address with a `-` in front may be missing on this machine.
///
/// # Errors
/// When an address without `-` cannot be bound, or none could.
pub fn listen_tcp(
    addresses: &[Vec<u8>],
    port: u16,
    tls: bool,
    backlog: i32,
    known: &[Arc<Listener>],
    mut warn: impl FnMut(String),
) -> anyhow::Result<Vec<Arc<Listener>>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let address = String::from_utf8_lossy(address);
        let (optional, address) = match address.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, &*address),
        };
        let is_known = |listener: &&Arc<Listener>| matches!(&***listener, Listener::Tcp { address: its, port: its_port, tls: its_tls, .. } if its == address && *its_port == port && *its_tls == tls);
        if let Some(listener) = known.iter().find(is_known) {
            listeners.push(listener.clone());
            continue;
        }
        match Listener::tcp(address, port, tls, backlog) {
            Ok(listener) => listeners.push(Arc::new(listener)),
            Err(error) => {
                let text = format!("Could not listen on {address}:{port}: {error}");
                let missing = matches!(
                    error.raw_os_error(),
                    Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::ENOPROTOOPT)
                );
                if optional && missing {
                    warn(text);
                } else {
                    bail!(text);
                }
            }
        }
    }
    if listeners.is_empty() && !addresses.is_empty() {
        bail!("None of the `bind` addresses exists on this machine; nothing would listen on port {port}");
    }
    Ok(listeners)
}

/// Listens on the unix socket at `path`, unless one among `known` does.
///
/// # Errors
/// As the system says.
pub fn listen_unix(path: &Path, mode: u32, backlog: i32, known: &[Arc<Listener>]) -> anyhow::Result<Arc<Listener>> {
    let is_known = |listener: &&Arc<Listener>| matches!(&***listener, Listener::Unix { path: its, .. } if its == path);
    if let Some(listener) = known.iter().find(is_known) {
        return Ok(listener.clone());
    }
    let listener = Listener::unix(path, mode, backlog);
    Ok(Arc::new(listener.with_context(|| format!("Could not listen on the unix socket {}", path.display()))?))
}

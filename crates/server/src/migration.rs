//! MIGRATE's way to the other server: a thread that does one migration after the other, with the connections it keeps.
//!
//! ```text
//! Host::migrate ──channel──> this thread: connect, AUTH, SELECT, RESTORE ... ──Mail::Migrated──> loop 0: Dispatcher::conclude
//! ```
//!
//! AUTH and SELECT are answered before the first RESTORE leaves: a server that refuses the database must not get the keys into another one.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context;
use commands::Error;
use commands::generic::migrate::{Arrival, Login, Migration};
use parking_lot::Mutex;
use resp::encode_request;

use crate::mailbox::Mail;
use crate::operation::memory;
use crate::shared::Shared;

/// Connections without work are kept so long, and so many.
const IDLE_MAX: Duration = Duration::from_secs(10);
const CONNECTIONS_MAX: usize = 64;
/// An answer of more bytes is none.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// The part that all threads see.
#[derive(Default)]
pub struct Migrations {
    sender: Mutex<Option<mpsc::Sender<Migration>>>,
    /// Connections that are kept.
    pub cached_sockets: AtomicUsize,
}

impl Migrations {
    pub fn send(&self, migration: Migration) {
        let sender = self.sender.lock();
        let sent = sender.as_ref().expect("the thread was started with the server").send(migration);
        assert!(sent.is_ok(), "the thread lives as long as the server");
    }
}

/// Starts the thread.
///
/// # Errors
/// The system has no thread for it.
pub fn start(shared: &Arc<Shared>) -> anyhow::Result<()> {
    let (sender, receiver) = mpsc::channel::<Migration>();
    *shared.migrations.sender.lock() = Some(sender);
    let shared = shared.clone();
    std::thread::Builder::new()
        .name("migrations".to_owned())
        .spawn(move || {
            let mut connections = Connections::default();
            loop {
                memory::count_thread();
                // Without connections there is nothing to close in time.
                let next = match connections.kept.is_empty() {
                    true => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                    false => receiver.recv_timeout(IDLE_MAX),
                };
                match next {
                    Ok(migration) => {
                        let arrival = connections.carry_out(migration);
                        shared.mailboxes[0].send(Mail::Migrated(Box::new(arrival)));
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                connections.close_idle();
                shared.migrations.cached_sockets.store(connections.kept.len(), Relaxed);
            }
        })
        .context("Cannot start a thread")?;
    Ok(())
}

/// Where a connection leads, and as whom: nobody uses another's login.
type Address = (Vec<u8>, Vec<u8>, Option<Login>);

#[derive(Default)]
struct Connections {
    kept: HashMap<Address, Connection>,
}

struct Connection {
    stream: BufReader<TcpStream>,
    selected: Option<i64>,
    used_at: Instant,
}

/// Why a migration ended early.
#[derive(Debug)]
enum Failure {
    /// No such host, or nobody answers.
    Connecting,
    Writing,
    Reading {
        /// The other side has closed the connection, which may have been so for long.
        is_closed: bool,
    },
    /// The other server has said no.
    Refused(Vec<u8>),
}

impl Failure {
    fn error(&self) -> Error {
        match self {
            Failure::Connecting => Error::text("IOERR error or timeout connecting to the client"),
            Failure::Writing => Error::text("IOERR error or timeout writing to target instance"),
            Failure::Reading { .. } => Error::text("IOERR error or timeout reading to target instance"),
            Failure::Refused(text) => Error::quoting("ERR Target instance replied with error: ", text, ""),
        }
    }
}

impl Connections {
    fn close_idle(&mut self) {
        self.kept.retain(|_, connection| connection.used_at.elapsed() < IDLE_MAX);
        while self.kept.len() > CONNECTIONS_MAX {
            let oldest = self.kept.iter().min_by_key(|(_, connection)| connection.used_at);
            let address = oldest.map(|(address, _)| address.clone()).expect("there are too many");
            self.kept.remove(&address);
        }
    }

    fn carry_out(&mut self, migration: Migration) -> Arrival {
        let mut arrived = vec![false; migration.parcels.len()];
        let address = (migration.host.clone(), migration.port.clone(), migration.login.clone());
        let kept = self.kept.remove(&address).filter(|connection| connection.used_at.elapsed() < IDLE_MAX);
        let was_kept = kept.is_some();
        let mut result = self.try_with(kept, &address, &migration, &mut arrived);
        let is_stale = matches!(result, Err(Failure::Writing | Failure::Reading { is_closed: true }));
        if was_kept && is_stale && !arrived.contains(&true) {
            // The other side had closed it meanwhile.
            result = self.try_with(None, &address, &migration, &mut arrived);
        }
        Arrival { migration, arrived, result: result.map_err(|failure| failure.error()) }
    }

    /// A connection whose last answer was no good is not used again.
    fn try_with(
        &mut self,
        kept: Option<Connection>,
        address: &Address,
        migration: &Migration,
        arrived: &mut [bool],
    ) -> Result<(), Failure> {
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(migration)?,
        };
        connection.send(migration, arrived)?;
        connection.used_at = Instant::now();
        self.kept.insert(address.clone(), connection);
        Ok(())
    }
}

impl Connection {
    fn open(migration: &Migration) -> Result<Connection, Failure> {
        let host = std::str::from_utf8(&migration.host).map_err(|_| Failure::Connecting)?;
        let addresses = (host, 0).to_socket_addrs().map_err(|_| Failure::Connecting)?;
        let port = std::str::from_utf8(&migration.port).ok().and_then(|port| port.parse().ok());
        // In Redis a connection that is refused is noticed when it is written to, and told so.
        let port: u16 = port.ok_or(Failure::Writing)?;
        let mut failure = Failure::Connecting;
        for mut address in addresses {
            address.set_port(port);
            match TcpStream::connect_timeout(&address, migration.timeout) {
                Ok(stream) => {
                    // Without it the last of several small writes waits for an acknowledgement.
                    stream.set_nodelay(true).map_err(|_| Failure::Connecting)?;
                    return Ok(Connection { stream: BufReader::new(stream), selected: None, used_at: Instant::now() });
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => failure = Failure::Writing,
                Err(_) => {}
            }
        }
        Err(failure)
    }

    fn send(&mut self, migration: &Migration, arrived: &mut [bool]) -> Result<(), Failure> {
        let timeout = Some(migration.timeout);
        let stream = self.stream.get_ref();
        stream.set_write_timeout(timeout).and(stream.set_read_timeout(timeout)).map_err(|_| Failure::Writing)?;
        self.prepare(migration)?;
        let mut requests = Vec::new();
        for parcel in &migration.parcels {
            let ttl = parcel.ttl_ms.to_string();
            let args: [&[u8]; 5] = [b"RESTORE", &parcel.key, ttl.as_bytes(), &parcel.payload, b"REPLACE"];
            encode_request(&mut requests, &args[..if migration.replaces { 5 } else { 4 }]);
        }
        self.write(&requests)?;
        let mut first_refusal = None;
        for arrived in arrived {
            match self.answer() {
                Ok(()) => *arrived = true,
                Err(refusal @ Failure::Refused(_)) => first_refusal = first_refusal.or(Some(refusal)),
                Err(failure) => return Err(first_refusal.unwrap_or(failure)),
            }
        }
        first_refusal.map_or(Ok(()), Err)
    }

    /// The other server knows us, and its database is the one that is meant.
    fn prepare(&mut self, migration: &Migration) -> Result<(), Failure> {
        let mut requests = Vec::new();
        let mut answers = 0;
        if let Some(Login { user, password }) = &migration.login {
            let mut args: Vec<&[u8]> = vec![b"AUTH"];
            args.extend(user.as_deref());
            args.push(password);
            encode_request(&mut requests, &args);
            answers += 1;
        }
        if self.selected != Some(migration.target_db) {
            encode_request(&mut requests, &[&b"SELECT"[..], migration.target_db.to_string().as_bytes()]);
            answers += 1;
        }
        self.write(&requests)?;
        for _ in 0..answers {
            self.answer()?;
        }
        self.selected = Some(migration.target_db);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.get_mut().write_all(bytes).map_err(|_| Failure::Writing)
    }

    /// A line that says yes or no. Anything else comes from no server of this kind, and must not cost a key.
    fn answer(&mut self) -> Result<(), Failure> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let is_closed = |error: io::Error| Failure::Reading {
            is_closed: !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        read.map_err(is_closed)?;
        match line.strip_suffix(b"\r\n") {
            Some([b'+', ..]) => Ok(()),
            Some([b'-', text @ ..]) => Err(Failure::Refused(text.to_vec())),
            _ => Err(Failure::Reading { is_closed: line.is_empty() }),
        }
    }
}

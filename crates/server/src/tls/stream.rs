//! An encrypted connection: bytes of the socket on one side, of requests and replies on the other.
//!
//! ```text
//!             socket                                  event loop
//!   records ----------> workspace.incoming --open--> the loop's buffer, or a large argument's own
//!              (rest of a record: incoming)  (no room: surplus)
//!
//!   records <---------- workspace.sealed <--seal---- the reply, up to 64 KiB at a time
//!              (what the socket does not take: outgoing)
//! ```
//!
//! The workspace belongs to the thread, so what a connection owns of it while it is idle is nothing: a connection keeps bytes
//! only where a record is not whole, or where the socket is full.
//!
//! *Why is a reply not advanced when it is encrypted, but when the socket has taken all of it?* So that what waits for a client
//! is counted in one place, as for other connections: the reply stays the connection's output, with its limits and figures, until
//! its last record has left.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use mio::net::TcpStream;
use resp::Reply;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};

use crate::connection::{WRITE_BYTES_MAX, Written};

/// What a record holds at most.
const RECORD_BYTES: usize = 16 * 1024;
/// What it has around that, at most: header, nonce, padding's mark and authentication, with room for more.
const RECORD_OVERHEAD_BYTES: usize = 256;
/// So many bytes are encrypted for one system call.
const SEAL_BYTES_MAX: usize = 4 * RECORD_BYTES;
/// Records as they come: so many are opened at a time. A message of the handshake, of 64 KiB at most, must fit in too.
const INCOMING_BYTES: usize = 5 * RECORD_BYTES;
/// What an established connection costs that is idle, in memory: the machine's state, its two ciphers, and this.
/// Measured with 10,000 of them; `crates/robustness/tests/tls.rs` holds it against the process.
pub const IDLE_BYTES: usize = 4 * 1024;

/// What a thread needs while one of its connections reads or writes.
struct Workspace {
    incoming: Box<[u8]>,
    /// Pieces of a reply, put together so that records are full.
    gathered: Vec<u8>,
    sealed: Box<[u8]>,
}

thread_local! {
    /// Made when the thread first serves an encrypted connection.
    static WORKSPACE: RefCell<Workspace> = RefCell::new(Workspace {
        incoming: vec![0; INCOMING_BYTES].into(),
        gathered: Vec::with_capacity(SEAL_BYTES_MAX),
        // Behind a change of keys, which goes in front.
        sealed: vec![0; SEAL_BYTES_MAX + 8 * RECORD_OVERHEAD_BYTES].into(),
    });
}

pub struct TlsStream {
    socket: TcpStream,
    machine: UnbufferedServerConnection,
    /// The beginning of a record.
    incoming: Vec<u8>,
    /// Decrypted, and there was no room for it.
    surplus: Vec<u8>,
    /// Encrypted, and the socket did not take it: from `outgoing_at`.
    outgoing: Vec<u8>,
    outgoing_at: usize,
    /// So many bytes of the reply are in there.
    outgoing_reply_bytes: usize,
    /// The peer has said that nothing more comes.
    peer_closed: bool,
    /// The last read has not emptied the socket.
    may_hold_more: bool,
}

impl TlsStream {
    /// A connection whose handshake has not begun.
    ///
    /// # Errors
    /// The terms are not fit for a server, which their making has checked.
    pub fn new(socket: TcpStream, config: std::sync::Arc<rustls::ServerConfig>) -> Result<TlsStream, rustls::Error> {
        Ok(TlsStream {
            socket,
            machine: UnbufferedServerConnection::new(config)?,
            incoming: Vec::new(),
            surplus: Vec::new(),
            outgoing: Vec::new(),
            outgoing_at: 0,
            outgoing_reply_bytes: 0,
            peer_closed: false,
            may_hold_more: false,
        })
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// There may be more to read, though there will be no event for it.
    pub fn has_more(&self) -> bool {
        self.may_hold_more || !self.surplus.is_empty() || self.peer_closed
    }

    /// The certificate that the client has shown, which the handshake has checked.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.machine.peer_certificates()?.first()
    }

    /// What it costs beyond the connection that it is part of.
    pub fn memory_bytes(&self) -> usize {
        IDLE_BYTES + self.incoming.capacity() + self.surplus.capacity() + self.outgoing.capacity()
    }

    /// Goes on with the handshake as far as what has come allows. True when it is done.
    ///
    /// # Errors
    /// It has failed, and the peer has been told as far as the socket takes it at once.
    pub fn shake_hands(&mut self) -> io::Result<bool> {
        while self.machine.is_handshaking() {
            // No request can come before the handshake is done; behind its last message it can.
            match self.take_in(&mut []) {
                Ok(Taken { ended: true, .. }) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.flush()?;
        Ok(!self.machine.is_handshaking())
    }

    /// Reads from the socket once, and opens what has come whole, into `room` and, where that is full, into the surplus.
    fn take_in(&mut self, room: &mut [u8]) -> io::Result<Taken> {
        WORKSPACE.with_borrow_mut(|workspace| {
            let kept = self.incoming.len();
            workspace.incoming[..kept].copy_from_slice(&self.incoming);
            // Not far beyond the room: what is decrypted without any has to be copied once more.
            let wanted = room.len().max(RECORD_BYTES) + 2 * RECORD_OVERHEAD_BYTES;
            let end = (kept + wanted).min(INCOMING_BYTES);
            let count = loop {
                match self.socket.read(&mut workspace.incoming[kept..end]) {
                    Ok(count) => break count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        self.may_hold_more = false;
                        return Err(error);
                    }
                }
            };
            if count == 0 {
                return Ok(Taken { bytes: 0, ended: true });
            }
            self.may_hold_more = kept + count == end;
            let mut output = Output { room, filled: 0, surplus: &mut self.surplus };
            let bytes = &mut workspace.incoming[..kept + count];
            let opened = open(&mut self.machine, bytes, &mut output, &mut self.outgoing, &mut self.peer_closed);
            let filled = output.filled;
            let used = match opened {
                Ok(used) => used,
                Err(error) => {
                    // The alert that says why.
                    let _ = self.flush();
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            };
            if used == 0 && kept + count == INCOMING_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of the handshake that is too large"));
            }
            self.incoming.clear();
            self.incoming.extend_from_slice(&workspace.incoming[used..kept + count]);
            if self.incoming.is_empty() {
                self.incoming = Vec::new();
            }
            // Answers of the protocol itself: the handshake's, tickets, changes of keys.
            if !self.outgoing.is_empty() {
                self.flush()?;
            }
            Ok(Taken { bytes: filled, ended: self.peer_closed && filled == 0 && self.surplus.is_empty() })
        })
    }

    /// Sends what the socket did not take before. True when nothing is left.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.outgoing_at < self.outgoing.len() {
            match self.socket.write(&self.outgoing[self.outgoing_at..]) {
                Ok(count) => self.outgoing_at += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if !self.outgoing.is_empty() {
            self.outgoing = Vec::new();
            self.outgoing_at = 0;
        }
        Ok(true)
    }

    /// As [`write_reply`](crate::connection::write_reply).
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write_reply(&mut self, reply: &mut Reply) -> io::Result<Written> {
        let mut written = Written::default();
        if !self.flush()? {
            return Ok(written);
        }
        let sent = std::mem::take(&mut self.outgoing_reply_bytes);
        reply.advance(sent);
        written.bytes += sent;
        WORKSPACE.with_borrow_mut(|Workspace { gathered, sealed, .. }| {
            while !reply.is_empty() {
                if written.bytes >= WRITE_BYTES_MAX {
                    written.wants_more = true;
                    break;
                }
                let plain = match reply.segments().next().expect("it is not empty") {
                    first if first.len() == reply.len() || first.len() >= SEAL_BYTES_MAX => first,
                    _ => {
                        gathered.clear();
                        for segment in reply.segments() {
                            let room = SEAL_BYTES_MAX - gathered.len();
                            gathered.extend_from_slice(&segment[..segment.len().min(room)]);
                            if gathered.len() == SEAL_BYTES_MAX {
                                break;
                            }
                        }
                        &gathered[..]
                    }
                };
                let plain = &plain[..plain.len().min(SEAL_BYTES_MAX)];
                let plain_bytes = plain.len();
                let count = self.with_writer(|writer| writer.encrypt(plain, sealed))?;
                if !self.send(&sealed[..count])? {
                    self.outgoing_reply_bytes = plain_bytes;
                    break;
                }
                reply.advance(plain_bytes);
                written.bytes += plain_bytes;
            }
            Ok(written)
        })
    }

    /// Has the machine encrypt something, and says how many bytes that has made.
    fn with_writer(
        &mut self,
        use_writer: impl FnOnce(&mut WriteTraffic<'_, rustls::server::ServerConnectionData>) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        let status = self.machine.process_tls_records(&mut self.incoming);
        // Whatever has come is processed when it comes, down to an incomplete record, so that nothing else can be due.
        match status.state {
            Ok(ConnectionState::WriteTraffic(mut writer)) => use_writer(&mut writer).map_err(io::Error::other),
            Ok(state) => Err(io::Error::other(format!("an encrypted connection that cannot be written to: {state:?}"))),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    /// Sends bytes behind which nothing waits. False when some are left, which are kept.
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        debug_assert!(self.outgoing.is_empty());
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.outgoing.extend_from_slice(bytes);
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Says that nothing more will come, so that the peer can tell an end from a cut; once, to a socket that has room for it.
    pub fn say_goodbye(&mut self) {
        if self.machine.is_handshaking() || !self.outgoing.is_empty() {
            return;
        }
        let mut sealed = [0; RECORD_OVERHEAD_BYTES];
        if let Ok(count) = self.with_writer(|writer| writer.queue_close_notify(&mut sealed)) {
            let _ = self.socket.write(&sealed[..count]);
        }
    }
}

/// What reading once has come to.
struct Taken {
    /// So many bytes are in the room.
    bytes: usize,
    /// There is nothing, and nothing will come.
    ended: bool,
}

/// Where decrypted bytes go.
struct Output<'a> {
    room: &'a mut [u8],
    filled: usize,
    surplus: &'a mut Vec<u8>,
}

impl Output<'_> {
    fn push(&mut self, bytes: &[u8]) {
        let (fits, rest) = bytes.split_at(bytes.len().min(self.room.len() - self.filled));
        self.room[self.filled..self.filled + fits.len()].copy_from_slice(fits);
        self.filled += fits.len();
        self.surplus.extend_from_slice(rest);
    }
}

/// Opens every whole record of `bytes`, and says how many bytes that were. What has to be answered is put into `outgoing`; after an error
/// too, which the peer is to know of.
fn open(
    machine: &mut UnbufferedServerConnection,
    bytes: &mut [u8],
    output: &mut Output<'_>,
    outgoing: &mut Vec<u8>,
    peer_closed: &mut bool,
) -> Result<usize, rustls::Error> {
    let mut used = 0;
    let mut failure = None;
    loop {
        let UnbufferedStatus { mut discard, state } = machine.process_tls_records(&mut bytes[used..]);
        let mut is_done = false;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    output.push(record.payload);
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                let at = outgoing.len();
                if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
                    outgoing.resize(at + size.required_size, 0);
                    data.encode(&mut outgoing[at..]).expect("there is as much room as was asked for");
                }
            }
            // It is sent from `outgoing`, in order.
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => *peer_closed = true,
            // Requests before the handshake is done are not offered: whoever recorded them could send them again.
            Ok(ConnectionState::ReadEarlyData(_)) => unreachable!("early data is not offered"),
            Ok(_) => is_done = true,
            Err(error) => {
                // Once more, for the alert, behind which it says the same again or has nothing to say.
                is_done = failure.replace(error).is_some();
            }
        }
        used += discard;
        if is_done {
            return failure.map_or(Ok(used), Err);
        }
    }
}

impl Read for TlsStream {
    /// Decrypted bytes; 0 at the end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.surplus.is_empty() {
            let count = self.surplus.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.surplus[..count]);
            self.surplus.drain(..count);
            if self.surplus.is_empty() {
                self.surplus = Vec::new();
            }
            return Ok(count);
        }
        if self.peer_closed {
            return Ok(0);
        }
        loop {
            match self.take_in(buffer)? {
                Taken { ended: true, .. } => return Ok(0),
                // A part of a record, or one that holds no request.
                Taken { bytes: 0, .. } => {}
                Taken { bytes, .. } => return Ok(bytes),
            }
        }
    }
}

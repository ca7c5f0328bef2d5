//! A connection of any kind, as bytes.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use testkit::Server;

/// Where a server listens.
#[derive(Clone, Debug)]
pub enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Place {
    /// Both places of a server that was started with `--unixsocket s`.
    pub fn of(server: &Server) -> [Place; 2] {
        [Place::Tcp(server.address()), Place::Unix(server.directory().join("s"))]
    }
}

/// A connection.
#[derive(Debug)]
pub enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    /// Connects. No call waits longer than ten seconds.
    pub fn connect(place: &Place) -> io::Result<Wire> {
        let wire = match place {
            Place::Tcp(address) => Wire::Tcp(TcpStream::connect(address)?),
            Place::Unix(path) => Wire::Unix(UnixStream::connect(path)?),
        };
        wire.set_timeout(Duration::from_secs(10))?;
        Ok(wire)
    }

    /// No call waits longer than this.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
            Wire::Unix(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
        }
    }

    /// Reads until the server closes, and returns all of it. An error when it does not close in time.
    pub fn read_to_close(&mut self) -> io::Result<Vec<u8>> {
        let mut received = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match self.read(&mut chunk) {
                Ok(0) => return Ok(received),
                Ok(length) => received.extend_from_slice(&chunk[..length]),
                // A server that closes with unread input resets the connection.
                Err(error) if is_closed(&error) => return Ok(received),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads exactly this.
    pub fn expect(&mut self, expected: &[u8]) {
        let mut received = vec![0; expected.len()];
        let result = self.read_exact(&mut received);
        assert!(
            result.is_ok() && received == expected,
            "expected {}, got {} ({result:?})",
            expected.escape_ascii(),
            received.escape_ascii()
        );
    }
}

/// Whether the error says that the other side has closed.
pub fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionAborted
    )
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.read(buffer),
            Wire::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.write(bytes),
            Wire::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

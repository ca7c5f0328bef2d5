//! A small blocking client, for tests: commands one at a time or pipelined, raw bytes, both protocols.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use crate::Value;

/// One connection. RESP2 until `hello(3)`.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// How much of `incoming` has been handed out.
    consumed: usize,
}

impl Client {
    /// Connects, and from then on waits at most 30 seconds for any reply: a server that hangs fails its test.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        Ok(Client { stream, outgoing: Vec::new(), incoming: Vec::new(), consumed: 0 })
    }

    pub fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(timeout))
    }

    /// Switches the protocol; panics when the server refuses.
    pub fn hello(mut self, protocol: u8) -> Client {
        let reply = self.command(&["HELLO", &protocol.to_string()]).expect("HELLO");
        assert!(!reply.is_error(), "HELLO {protocol}: {reply}");
        self
    }

    /// Sends one command and waits for its reply.
    pub fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Value> {
        self.queue(arguments);
        self.flush()?;
        self.receive()
    }

    /// The same from one line, split at blanks: for tests that want to be read.
    pub fn line(&mut self, line: &str) -> Value {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        self.command(&words).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Sends all commands, then waits for all replies.
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> io::Result<Vec<Value>> {
        for command in commands {
            self.queue(command);
        }
        self.flush()?;
        commands.iter().map(|_| self.receive()).collect()
    }

    /// Puts a command into the buffer of what [`Self::flush`] sends.
    pub fn queue<A: AsRef<[u8]>>(&mut self, arguments: &[A]) {
        encode_command(arguments, &mut self.outgoing);
    }

    /// Puts bytes as they are into that buffer.
    pub fn queue_raw(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.outgoing)?;
        self.outgoing.clear();
        Ok(())
    }

    /// The next reply (or push). `UnexpectedEof` when the server has closed the connection.
    pub fn receive(&mut self) -> io::Result<Value> {
        loop {
            match Value::decode(&self.incoming[self.consumed..]) {
                Ok(Some((value, length))) => {
                    self.consumed += length;
                    return Ok(value);
                }
                Ok(None) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            if self.read_some()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Says that nothing more will be sent, and returns every byte until the server closes.
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        self.flush()?;
        let _ = self.stream.shutdown(Shutdown::Write);
        loop {
            match self.read_some() {
                Ok(0) => break,
                Ok(_) => {}
                // A server that closes with unread input resets the connection; what it had said before stands.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error),
            }
        }
        Ok(self.incoming.split_off(self.consumed))
    }

    fn read_some(&mut self) -> io::Result<usize> {
        self.incoming.drain(..self.consumed);
        self.consumed = 0;
        let filled = self.incoming.len();
        // Grows with what is outstanding, so that one huge reply is not decoded again for each 64 KiB of it.
        self.incoming.resize(filled + filled.max(64 * 1024), 0);
        let result = loop {
            match self.stream.read(&mut self.incoming[filled..]) {
                // A read with a timeout ends when the machine is paused and goes on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.incoming.truncate(filled + *result.as_ref().unwrap_or(&0));
        result
    }
}

/// A command as a client sends it.
pub fn encode_command<A: AsRef<[u8]>>(arguments: &[A], out: &mut Vec<u8>) {
    let _ = write!(out, "*{}\r\n", arguments.len());
    for argument in arguments {
        let argument = argument.as_ref();
        let _ = write!(out, "${}\r\n", argument.len());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

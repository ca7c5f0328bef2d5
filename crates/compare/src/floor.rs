//! The floor: a server that reads, answers `+OK` once a request and looks at nothing.
//!
//! It costs what the kernel costs for the same packets; no server of this shape can go below it, so it tells how much of a figure
//! is a server's own doing. Requests are counted by their length, which is the same for all of a workload.

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

const LISTENER: Token = Token(usize::MAX);
const OK: &[u8] = b"+OK\r\n";

/// A server with its port, not yet serving.
pub struct Floor {
    listener: TcpListener,
    request_bytes: usize,
}

struct Client {
    stream: TcpStream,
    /// Bytes of a request that has not come in full.
    surplus: usize,
}

impl Floor {
    pub fn bind(address: SocketAddr, request_bytes: usize) -> Result<Floor> {
        assert!(request_bytes > 0);
        Ok(Floor { listener: TcpListener::bind(address)?, request_bytes })
    }

    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until the process is killed.
    pub fn serve(mut self) -> Result<()> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(1024);
        poll.registry().register(&mut self.listener, LISTENER, Interest::READABLE)?;
        let mut clients: HashMap<Token, Client> = HashMap::new();
        let mut next_token = 0;
        let mut buffer = vec![0; 64 * 1024];
        let replies = OK.repeat(buffer.len() / self.request_bytes + 1);
        loop {
            match poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    while let Ok((mut stream, _)) = self.listener.accept() {
                        stream.set_nodelay(true)?;
                        poll.registry().register(&mut stream, Token(next_token), Interest::READABLE)?;
                        clients.insert(Token(next_token), Client { stream, surplus: 0 });
                        next_token += 1;
                    }
                } else if let Some(client) = clients.get_mut(&event.token())
                    && !client.answer(&mut buffer, &replies, self.request_bytes)
                {
                    clients.remove(&event.token());
                }
            }
        }
    }
}

impl Client {
    /// False when the connection is to be dropped. A reply that does not fit the socket drops it too: the generator never has so much
    /// in flight, and then the run fails instead of measuring a smaller load.
    fn answer(&mut self, buffer: &mut [u8], replies: &[u8], request_bytes: usize) -> bool {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    let available = self.surplus + count;
                    let requests = available / request_bytes;
                    self.surplus = available % request_bytes;
                    if requests > 0
                        && !matches!(self.stream.write(&replies[..requests * OK.len()]), Ok(n) if n == requests * OK.len())
                    {
                        return false;
                    }
                    if count < buffer.len() {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Load, Until, sequence};
    use crate::request::Template;

    /// The generator and the floor prove each other: exact counts at every depth, also when the last batch is a short one.
    #[test]
    fn every_request_is_answered_once() {
        let template = Template::parse("SET key:{n:12} {v:32}").unwrap();
        let floor = Floor::bind("127.0.0.1:0".parse().unwrap(), template.request_bytes()).unwrap();
        let address = floor.address().unwrap();
        std::thread::spawn(move || floor.serve());
        for depth in [1, 16, 64] {
            let mut load = Load::connect(address, &template, 5, depth).unwrap();
            for requests in [1, 7, 1_003] {
                let tally = load.run(Until::Requests(requests), &mut sequence(0)).unwrap();
                assert_eq!((tally.replies, tally.nulls), (requests, 0));
            }
        }
    }
}

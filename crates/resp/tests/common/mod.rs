//! A real Redis beside the tests, where one is installed (`tools/peers.sh`), read by this crate's own parser.

#![allow(dead_code, reason = "every test program uses a part of it")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use spinel_resp::{ReplyParser, Value, encode_request};
use testkit::{Kind, Server};

/// A Redis 8.2 that ends with the test.
pub struct Redis {
    stream: TcpStream,
    parser: ReplyParser,
    pub port: u16,
    _server: Server,
}

impl Redis {
    /// Starts one, or says loudly that it cannot.
    pub fn start(test: &str) -> Option<Redis> {
        if testkit::program(Kind::Redis82).is_none() {
            testkit::skip_aloud(&format!("{test}: no Redis 8.2 here (tools/peers.sh installs it)"));
            return None;
        }
        let server = Server::start(Kind::Redis82, &[]).expect("redis-server starts");
        let stream = TcpStream::connect(server.address()).expect("it accepts");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        Some(Redis { stream, parser: ReplyParser::new(), port: server.port(), _server: server })
    }

    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        let mut request = Vec::new();
        encode_request(&mut request, args);
        self.stream.write_all(&request).expect("Redis reads");
    }

    pub fn receive(&mut self) -> Value {
        loop {
            if let Some(value) = self.parser.next_reply().expect("Redis's replies are well-formed") {
                return value;
            }
            let mut buffer = [0; 16384];
            let count = self.stream.read(&mut buffer).expect("Redis answers");
            assert!(count > 0, "Redis closed the connection");
            self.parser.feed(&buffer[..count]);
        }
    }
}

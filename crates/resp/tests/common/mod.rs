//! A real Redis beside the tests, where one is installed (`tools/peers.sh`).

#![allow(dead_code, reason = "every test program uses a part of it")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use spinel_resp::{ReplyParser, Value, encode_request};

/// A Redis 8.2 that ends with the test.
pub struct Redis {
    process: Child,
    stream: TcpStream,
    parser: ReplyParser,
    pub port: u16,
}

impl Redis {
    /// Starts one, or says loudly that it cannot.
    pub fn start(test: &str) -> Option<Redis> {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.peers/redis-8.2/redis-server");
        if !program.exists() {
            eprintln!("SKIPPED {test}: no .peers/redis-8.2/redis-server (tools/peers.sh installs it)");
            return None;
        }
        // Somebody else may take the port between the two binds: then this server ends at once, and we try another.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port();
            let mut process = Command::new(&program)
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                .args(["--dir", std::env::temp_dir().to_str().expect("a plain path")])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("redis-server starts");
            let deadline = Instant::now() + Duration::from_secs(20);
            while Instant::now() < deadline && matches!(process.try_wait(), Ok(None)) {
                if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
                    let mut redis = Redis { process, stream, parser: ReplyParser::new(), port };
                    let version = redis.ask(&["INFO", "server"]);
                    let pid = format!("process_id:{}\r", redis.process.id());
                    assert!(version.as_str().is_some_and(|info| info.contains(&pid)), "another server has port {port}");
                    return Some(redis);
                }
                std::thread::yield_now();
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("redis-server does not come up");
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

    pub fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        self.send(args);
        self.receive()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

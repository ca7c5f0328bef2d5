//! What harnesses and tests share: finding and starting servers, talking to them, seeds, deadlines, skipping aloud.
//!
//! Owns: where the real servers lie (`.peers/`, see `tools/peers.sh`), the life of a server process under test, a small
//! blocking RESP client, reading a process's CPU time and memory from `/proc`.
//!
//! Must not know: any other crate of the server. It sees every server, Spinel too, from outside: a program and a socket.
//!
//! Start at [`Server`]:
//!
//! ```no_run
//! use testkit::{Kind, Server};
//! let server = Server::start(Kind::Redis82, &["--save", ""]).unwrap();
//! let mut client = server.client();
//! assert_eq!(client.command(&["SET", "k", "v"]).unwrap().to_string(), "OK");
//! ```
//!
//! A test that needs a real server asks for it with [`server_or_skip!`], and says so when there is none.

mod client;
mod peers;
mod process;
mod seed;
mod server;
pub mod tls;
mod value;
mod wait;

pub use client::{Client, encode_command};
pub use peers::{Kind, peers_directory, program, workspace_directory};
pub use process::{CpuTime, Process};
pub use seed::{Random, proptest_config, random_from, seed};
pub use server::{Server, ServerOptions, free_port};
pub use value::{DecodeError, Value};
pub use wait::{wait_for, wait_until};

/// Starts a server of a [`Kind`], or says aloud that the test is skipped and returns from it.
///
/// `server_or_skip!(Kind::Redis82)`, `server_or_skip!(Kind::Spinel, "--io-threads", "4")`
#[macro_export]
macro_rules! server_or_skip {
    ($kind:expr $(, $argument:expr)* $(,)?) => {{
        let kind = $kind;
        if $crate::program(kind).is_none() {
            $crate::skip_aloud(&format!("no {kind} here (run tools/peers.sh, or build spinel)"));
            return;
        }
        $crate::Server::start(kind, &[$($argument),*]).expect("a server that is there starts")
    }};
}

/// A skipped test must not look like a passed one. Written past the test harness, which captures `eprintln!`.
pub fn skip_aloud(why: &str) {
    use std::io::Write;
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED {}: {why}", thread.name().unwrap_or("test"));
}

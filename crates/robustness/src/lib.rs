//! Clients that behave badly, and very many that behave well: nobody else may notice, and limits act as configured.
//!
//! Owns: connections as raw bytes ([`Wire`]), crowds of idle and busy clients ([`crowd`]), clients that never read,
//! send a byte a second or send garbage ([`nuisance`]), and the measurement of what a well-behaved client sees
//! meanwhile ([`meter`]); pairs of primary and replica ([`replicas`]), a bad network between them ([`network`], and between two namespaces
//! [`namespaces`]), and one whose connections are cut one by one ([`wires`]). Must not know: anything of Spinel's inside. The tests of limits also run against Redis 8.2, which proves the tests.
//!
//! Start at `tests/crowd.rs`; `tests/limits.rs` has a test for each limit.

pub mod crowd;
pub mod meter;
pub mod namespaces;
pub mod network;
pub mod nuisance;
pub mod replicas;
pub mod values;
mod wire;
pub mod wires;

pub use wire::{Place, Wire};

use testkit::{Kind, Server, ServerOptions};

/// Lets this process have as many open files as it may. Returns how many that are.
pub fn raise_open_files_max() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(_) => current.unwrap_or(u64::MAX),
    }
}

/// Runs a test against Redis 8.2, which proves the test, and against Spinel. What is missing is skipped aloud.
pub fn against_both(arguments: &[&str], test: impl Fn(&Server)) {
    for kind in [Kind::Redis82, Kind::Spinel] {
        if testkit::program(kind).is_none() {
            testkit::skip_aloud(&format!("no {kind} here (run tools/peers.sh, or build spinel)"));
            continue;
        }
        println!("against {kind}:");
        let options = ServerOptions::new(kind).arguments(["--unixsocket", "s"]).arguments(arguments.iter().copied());
        let mut server = options.start().expect("a server that is there starts");
        test(&server);
        assert!(server.exit_status().is_none(), "{kind} has ended:\n{}", server.log());
    }
}

/// A field of INFO, as a number.
pub fn info(server: &Server, field: &str) -> u64 {
    let reply = server.client().line("INFO everything");
    let text = reply.text().expect("INFO is text");
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {field} in\n{text}"))
}

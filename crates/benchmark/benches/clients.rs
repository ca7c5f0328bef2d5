//! What a request costs the client: redis-benchmark 7.0 and ours against the same server in turns, user and kernel time of each process.
//!
//! `make clients-cpu`

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use testkit::{Kind, Server, peers_directory, program};

const ROUNDS: usize = 5;

/// CPU time of all children so far.
fn children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("always known");
    let part = |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    part(usage.user_time()) + part(usage.system_time())
}

fn main() {
    let theirs = peers_directory().join("redis-7.0/redis-benchmark");
    if !theirs.exists() || program(Kind::Redis82).is_none() {
        println!("No redis-benchmark or no Redis 8.2 here: run tools/peers.sh.");
        return;
    }
    let ours = env!("CARGO_BIN_EXE_spinel-benchmark").into();
    let server = Server::start(Kind::Redis82, &[]).expect("a server that is there starts");
    let port = server.port().to_string();
    println!(
        "| test | redis-benchmark 7.0, requests per CPU second | spinel benchmark | ratio |\n|---|---:|---:|---:|"
    );
    for (requests, line) in [
        (200_000_u64, "-t set"),
        (200_000, "-t set -r 100000"),
        (200_000, "-t get"),
        (2_000_000, "-t set -P 16"),
        (2_000_000, "-t set -r 100000 -P 16"),
        (2_000_000, "-t get -P 16"),
    ] {
        let mut seconds = [0.0; 2];
        for _ in 0..ROUNDS {
            for (tool, seconds) in [&theirs, &ours].into_iter().zip(&mut seconds) {
                let before = children();
                let status = Command::new(tool)
                    .args(["-p", &port, "-q", "-n", &requests.to_string()])
                    .args(line.split(' '))
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
                assert!(status.is_ok_and(|status| status.success()), "{tool:?} {line}");
                *seconds += (children() - before).as_secs_f64();
            }
        }
        let [theirs, ours] = seconds.map(|seconds| requests as f64 * ROUNDS as f64 / seconds);
        println!("| `{line}` | {theirs:.0} | {ours:.0} | {:.2} |", ours / theirs);
    }
}

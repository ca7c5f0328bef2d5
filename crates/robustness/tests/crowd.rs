//! Ten thousand idle and two hundred busy connections, and all sorts of nuisance: a well-behaved client does not
//! notice.

use std::time::Duration;

use robustness::{
    Place,
    crowd::{Busy, Idle},
    info,
    meter::measure,
    nuisance::Nuisance,
    raise_open_files_max,
};
use testkit::{Kind, ServerOptions, wait_until};

const IDLE: usize = 10_000;
const BUSY: usize = 200;
/// A connection, its other end, and what else a process has open.
const OPEN_FILES_NEEDED: u64 = 10_500;
/// How much slower one request in a thousand may become. Without a nuisance the same figure swings by 3 on a shared
/// machine.
const FACTOR_MAX: f64 = 5.0;
/// A request that meets a busy core waits for the scheduler, whoever serves it. Less than this is not told apart.
const NOISE: Duration = Duration::from_millis(2);
const REQUESTS: usize = 20_000;
/// The machine is shared: a bad moment may spoil a round, not all of them.
const ROUNDS_MAX: usize = 5;

#[test]
fn nobody_else_notices() {
    let open_files = raise_open_files_max();
    if open_files < OPEN_FILES_NEEDED {
        testkit::skip_aloud(&format!("only {open_files} files may be open, and {OPEN_FILES_NEEDED} are needed"));
        return;
    }
    if testkit::program(Kind::Spinel).is_none() {
        testkit::skip_aloud("no spinel is built");
        return;
    }
    let seed = testkit::seed();
    let server = ServerOptions::new(Kind::Spinel)
        .arguments(["--unixsocket", "s", "--maxclients", "10400", "--io-threads", "2"])
        .arguments(["--io-threads-always-active", "no"])
        // Whoever never reads is thrown out at some point, or has all the memory.
        .arguments(["--client-output-buffer-limit", "normal", "8mb", "2mb", "5"])
        .start()
        .expect("a server that is there starts");
    server.client().command(&["SET", "large", &"x".repeat(50_000)]).expect("SET");

    let busy = Busy::start(server.address(), BUSY, 20, seed);
    measure(server.address(), REQUESTS / 10);
    let mut idle = None;
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS_MAX {
        let quiet = measure(server.address(), REQUESTS);
        let idle = idle.get_or_insert_with(|| Idle::connect(server.address(), IDLE));
        let nuisances = nuisances(&server, seed);
        assert!(wait_until(Duration::from_secs(30), || nuisances.iter().all(|nuisance| nuisance.count() > 0)));
        let loud = measure(server.address(), REQUESTS);
        let [before, after] = [quiet, loud].map(|latencies| latencies.quantile(0.999));
        let ratio = after.as_secs_f64() / before.max(NOISE).as_secs_f64();
        println!("round {round}: 99.9 % of the requests within {before:?} in peace, {after:?} in a crowd: {ratio:.2}");
        idle.assert_alive();
        assert!(info(&server, "connected_clients") >= (IDLE + BUSY) as u64);
        assert!(info(&server, "client_output_buffer_limit_disconnections") > 0, "who never reads is thrown out");
        let counts: Vec<u64> = nuisances.iter().map(Nuisance::count).collect();
        println!("  nuisances did their thing {counts:?} times");
        ratios.push(ratio);
        if ratio <= FACTOR_MAX {
            break;
        }
    }
    println!("the busy clients got {} replies", busy.stop());
    let best = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(best <= FACTOR_MAX, "in every round, a well-behaved client was slowed down: {ratios:?}");

    // When all have gone, nothing is left of them.
    drop(idle);
    let gone = wait_until(Duration::from_secs(30), || info(&server, "connected_clients") <= 3);
    assert!(gone, "clients are left:\n{}", server.client().line("CLIENT LIST").text().expect("text"));
}

fn nuisances(server: &testkit::Server, seed: u64) -> Vec<Nuisance> {
    let mut nuisances = vec![Nuisance::one_byte_a_second(&Place::Tcp(server.address()))];
    for (number, place) in (0..).zip(Place::of(server)) {
        nuisances.push(Nuisance::never_reads(place.clone(), "large"));
        nuisances.push(Nuisance::garbage(place, seed + number));
    }
    nuisances
}

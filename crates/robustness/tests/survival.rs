//! Acknowledged writes survive the primary: it is killed at a random instant, the most advanced replica is promoted, and has them.
//!
//! `SPINEL_ROUNDS` says how often for each number of replicas that must acknowledge (`make survival`: 200). With `min-replicas-to-acknowledge 0`, and for
//! real servers, what is lost is counted and printed (docs/replication.md has the figures).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rand::Rng;
use testkit::{Client, Kind, Server, ServerOptions, random_from, wait_for};

const PATIENCE: Duration = Duration::from_secs(30);
const WRITERS: usize = 4;

fn start(kind: Kind, acknowledging: usize) -> Server {
    let number = acknowledging.to_string();
    let mut arguments = vec!["--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb"];
    if kind == Kind::Spinel {
        arguments.extend(["--min-replicas-to-acknowledge", &number, "--min-replicas-to-acknowledge-timeout", "0"]);
    }
    ServerOptions::new(kind).arguments(arguments).start().expect("a server that is there starts")
}

fn field(client: &mut Client, name: &str) -> Option<String> {
    let text = client.command(&["INFO", "replication"]).ok()?;
    text.text()?.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.to_owned()))
}

fn follow(replica: &Server, primary: &Server) {
    let reply = replica.client().line(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    assert!(reply.to_string().starts_with("OK"), "{reply}");
}

#[track_caller]
fn wait_online(primary: &Server, replicas: usize) {
    let mut client = primary.client();
    let is_online = |text: &str| text.lines().filter(|line| line.contains("state=online")).count() == replicas;
    let online =
        wait_for(PATIENCE, || is_online(client.line("INFO replication").text().expect("a text")).then_some(()));
    assert!(online.is_some(), "{}", primary.log());
}

/// Plays so many rounds; says in how many of them acknowledged writes were lost, and how many at most.
fn play(kind: Kind, acknowledging: usize, rounds: u64, seed: u64) -> (u64, u64) {
    let mut random = random_from(seed);
    let mut servers: Vec<Server> = (0..3).map(|_| start(kind, acknowledging)).collect();
    let (mut bad, mut most) = (0, 0);
    for round in 0..rounds {
        let (primary, replicas) = servers.split_first_mut().expect("three servers");
        for replica in &*replicas {
            follow(replica, primary);
        }
        wait_online(primary, 2);
        let acknowledged: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
        let ends = AtomicBool::new(false);
        let address = primary.address();
        std::thread::scope(|scope| {
            for (number, acknowledged) in acknowledged.iter().enumerate() {
                let ends = &ends;
                scope.spawn(move || {
                    let Ok(mut client) = Client::connect(address) else { return };
                    for next in 1.. {
                        let value = format!("{round}:{next}");
                        match client.command(&["SET", &format!("w{number}"), &value]) {
                            Ok(reply) if reply.to_string() == "OK" => acknowledged.store(next, Relaxed),
                            // NOREPLICAS: it does not count.
                            Ok(_) => {}
                            Err(_) => return,
                        }
                        if ends.load(Relaxed) {
                            return;
                        }
                    }
                });
            }
            let until = Instant::now() + Duration::from_micros(random.random_range(5_000..150_000));
            while Instant::now() < until {
                std::thread::yield_now();
            }
            primary.kill();
            ends.store(true, Relaxed);
        });
        // Each has applied what has reached it when it knows that the link is down.
        let offsets: Vec<u64> = replicas
            .iter()
            .map(|replica| {
                let mut client = replica.client();
                let down = wait_for(PATIENCE, || (field(&mut client, "master_link_status")? == "down").then_some(()));
                assert!(down.is_some(), "{}", replica.log());
                field(&mut client, "slave_repl_offset").expect("a replica has it").parse().expect("a number")
            })
            .collect();
        let best = if offsets[0] >= offsets[1] { 0 } else { 1 };
        let mut client = replicas[best].client();
        client.line("REPLICAOF NO ONE");
        let mut lost = 0;
        for (number, acknowledged) in acknowledged.iter().enumerate() {
            let value = client.line(&format!("GET w{number}"));
            let has: u64 = value
                .text()
                .and_then(|text| text.strip_prefix(&format!("{round}:")))
                .map_or(0, |has| has.parse().expect("a number"));
            lost += acknowledged.load(Relaxed).saturating_sub(has);
        }
        bad += u64::from(lost > 0);
        most = most.max(lost);
        // The next round: the promoted one is first, who was killed comes back behind it.
        servers[0].restart(&[]).expect("it starts again");
        servers.swap(0, best + 1);
    }
    (bad, most)
}

fn rounds() -> u64 {
    std::env::var("SPINEL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4)
}

#[test]
fn what_was_acknowledged_is_there() {
    if testkit::program(Kind::Spinel).is_none() {
        return testkit::skip_aloud("no spinel is built");
    }
    let seed = testkit::seed();
    for acknowledging in [1, 2] {
        let (bad, most) = play(Kind::Spinel, acknowledging, rounds(), seed);
        assert_eq!((bad, most), (0, 0), "with {acknowledging} replicas that must acknowledge, seed {seed}");
    }
}

/// No promise, so nothing to fail but the promotion itself: the figures are for the documentation.
#[test]
fn what_is_lost_without_it() {
    for kind in [Kind::Spinel, Kind::Redis82] {
        if testkit::program(kind).is_none() {
            testkit::skip_aloud(&format!("no {kind} here"));
            continue;
        }
        let rounds = rounds();
        let (bad, most) = play(kind, 0, rounds, testkit::seed());
        println!("{kind}: acknowledged writes lost in {bad} of {rounds} rounds, at most {most} at once");
    }
}

//! A replica behind a bad network: whatever happens to the link, it goes on with a part of the stream while the backlog suffices, and holds
//! what its primary holds.
//!
//! `SPINEL_FLAPS` says how often the link fails, instead of 6 times.

use std::time::Duration;

use rand::Rng;
use robustness::network::{Network, Weather};
use robustness::replicas::{
    HEALED_WITHIN, assert_equal, fill, flaps, keep_close, offset, start, stat, under_load, wait_healed, wait_linked,
};
use testkit::{Kind, random_from, wait_for};

const WEATHER: Weather = Weather { delay_max: Duration::from_millis(4), piece_bytes_max: 64 << 10, lost_one_in: 200 };

/// So many bytes after a link is made it fails: in the first line of the handshake, in the midst of it, and in the stream.
const FAILS_AFTER_BYTES: [u64; 6] = [1, 1, 20, 200, 20_000, 200_000];

fn goes_through(primary_kind: Kind, replica_kind: Kind, threads: &str) {
    let seed = testkit::seed();
    eprintln!("{replica_kind} follows {primary_kind}, {threads} threads, seed {seed}");
    let threads = |kind| if kind == Kind::Spinel { vec!["--io-threads", threads] } else { Vec::new() };
    let Some(primary) = start(primary_kind, &threads(primary_kind)) else { return };
    let Some(replica) = start(replica_kind, &threads(replica_kind)) else { return };
    let mut random = random_from(seed);
    fill(&mut random, &mut primary.client());
    let network = Network::new(primary.address(), WEATHER, seed);
    let port = network.address().port();
    assert_eq!(replica.client().line(&format!("REPLICAOF 127.0.0.1 {port}")).to_string(), "OK");
    wait_linked(&replica);
    assert_equal(&primary, &replica);
    let full = stat(&mut primary.client(), "sync_full");

    under_load(&primary, seed, || {
        let mut up = primary.client();
        for flap in 0..flaps() {
            let after = FAILS_AFTER_BYTES[random.random_range(0..FAILS_AFTER_BYTES.len())];
            let connected = wait_for(HEALED_WITHIN, || (network.forwarded_bytes() >= after).then_some(()));
            assert!(
                connected.is_some(),
                "flap {flap}: {} bytes on {} connections\n{}\n{}",
                network.forwarded_bytes(),
                network.connections(),
                primary.log(),
                replica.log()
            );
            keep_close(&primary, &replica);
            if random.random_bool(0.3) {
                // What is sent now is lost, and nobody is told: bytes that the primary has written are not at the replica.
                network.fall_silent();
                let written = offset(&mut up, "master_repl_offset");
                let more = wait_for(HEALED_WITHIN, || {
                    (offset(&mut up, "master_repl_offset") > written + 10_000).then_some(())
                });
                assert!(more.is_some(), "the load has ended");
            }
            network.break_off();
        }
        wait_healed(&replica);
    });
    assert_equal(&primary, &replica);
    let (now, partial) = (stat(&mut primary.client(), "sync_full"), stat(&mut primary.client(), "sync_partial_ok"));
    eprintln!("  {} connections, {partial} partial resynchronisations", network.connections());
    assert_eq!(now, full, "{}\n{}", primary.log(), replica.log());
    assert!(partial > 0);
}

#[test]
fn spinel_behind_spinel() {
    goes_through(Kind::Spinel, Kind::Spinel, "1");
    goes_through(Kind::Spinel, Kind::Spinel, "4");
}

#[test]
fn spinel_behind_redis() {
    goes_through(Kind::Redis82, Kind::Spinel, "2");
}

#[test]
fn redis_behind_spinel() {
    goes_through(Kind::Spinel, Kind::Redis82, "2");
}

//! A replica in another network namespace, behind a cable that delays, loses packets and fails: TCP as it is. It goes on with a part of the stream while
//! the backlog suffices, and holds what its primary holds.
//!
//! `SPINEL_FLAPS` says how often the cable fails, instead of 6 times.

use std::time::Duration;

use rand::Rng;
use robustness::namespaces::{Elsewhere, HERE, PREPARE_CABLE, Quality, run_inside};
use robustness::replicas::{
    HEALED_WITHIN, assert_equal, fill, flaps, keep_close, start, stat, under_load, wait_healed, wait_linked,
};
use testkit::{Kind, random_from, wait_for};

const QUALITY: Quality = Quality { delay_max: Duration::from_millis(2), lost_one_in: 100 };
/// Both sides give a silent link up after 2 seconds, and TCP tries again at growing intervals.
const SILENCE: &[&str] = &["--repl-timeout", "2", "--repl-ping-replica-period", "1"];

/// How long the cable fails: for less than anybody notices, until TCP has sent again, until one side or both have given up.
const FAILS_FOR_MS: [u64; 6] = [3500, 5, 100, 500, 2200, 1500];
/// So many bytes after it works again it fails again.
const FAILS_AFTER_BYTES: [u64; 5] = [1, 200, 2000, 20_000, 500_000];

fn goes_through(primary_kind: Kind, replica_kind: Kind) {
    let seed = testkit::seed();
    eprintln!("{replica_kind} follows {primary_kind} in another namespace, seed {seed}");
    let elsewhere = Elsewhere::new(QUALITY, seed);
    let own = |kind| if kind == Kind::Spinel { ["--io-threads", "2"].as_slice() } else { &[] };
    let at_home = ["--bind", "127.0.0.1", HERE, "--protected-mode", "no"];
    let Some(primary) = start(primary_kind, &[&at_home, SILENCE, own(primary_kind)].concat()) else { return };
    let away = || start(replica_kind, &[SILENCE, own(replica_kind)].concat());
    let Some(replica) = elsewhere.within(away) else { return };
    elsewhere.open_door(replica.port());
    let mut random = random_from(seed);
    fill(&mut random, &mut primary.client());
    assert_eq!(replica.client().line(&format!("REPLICAOF {HERE} {}", primary.port())).to_string(), "OK");
    wait_linked(&replica);
    assert_equal(&primary, &replica);
    let full = stat(&mut primary.client(), "sync_full");

    under_load(&primary, seed, || {
        let logs = || format!("{}\n{}", primary.log(), replica.log());
        for flap in 0..flaps() {
            let after = FAILS_AFTER_BYTES[random.random_range(0..FAILS_AFTER_BYTES.len())];
            let arrived = wait_for(HEALED_WITHIN, || (elsewhere.delivered_bytes() >= after).then_some(()));
            assert!(arrived.is_some(), "flap {flap}: {} bytes\n{}", elsewhere.delivered_bytes(), logs());
            keep_close(&primary, &replica);
            elsewhere.fail_for(Duration::from_millis(FAILS_FOR_MS[flap % FAILS_FOR_MS.len()]));
        }
        wait_healed(&replica);
    });
    assert_equal(&primary, &replica);
    let (now, partial) = (stat(&mut primary.client(), "sync_full"), stat(&mut primary.client(), "sync_partial_ok"));
    eprintln!("  {partial} partial resynchronisations, {} packets lost", elsewhere.lost_packets());
    assert_eq!(now, full, "{}\n{}", primary.log(), replica.log());
    assert!(partial > 0);
    assert!(elsewhere.lost_packets() > 0);
}

#[test]
fn spinel_behind_spinel() {
    if !run_inside("spinel_behind_spinel", PREPARE_CABLE) {
        goes_through(Kind::Spinel, Kind::Spinel);
    }
}

#[test]
fn spinel_behind_redis() {
    if !run_inside("spinel_behind_redis", PREPARE_CABLE) {
        goes_through(Kind::Redis82, Kind::Spinel);
    }
}

#[test]
fn redis_behind_spinel() {
    if !run_inside("redis_behind_spinel", PREPARE_CABLE) {
        goes_through(Kind::Spinel, Kind::Redis82);
    }
}

//! Replicas that join a primary under load: several at once cost one snapshot, and one behind a line that is slower than what is written gets there
//! with its first snapshot, while its primary's memory stays bounded. One that reads nothing is not waited for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rand::{Rng, RngCore};
use robustness::network::{Network, Weather};
use robustness::replicas::{
    assert_equal, follow, is_linked, memory, replication, start, stat, under_load, wait_equal_offsets,
    wait_for_replicas, wait_linked,
};
use robustness::wires::Wires;
use testkit::{Kind, Random, Server, random_from, wait_for};

/// How much there is, comes more meanwhile, and gets through in a second, in MB. `make slow-replica` has more of the first two and less of the last.
const DATA_MB: u64 = 32;
const LOG_MB: u64 = 192;
const LINE_MB: u64 = 25;

const VALUE_BYTES: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// What is kept in memory for a replica that synchronizes, of its snapshot and of the log (docs/replication.md), and as much for what everything else
/// takes that a server under load did not take before: buffers of connections, the allocator's.
const MEMORY_MB_MAX: u64 = 2 * (64 + 32 + 16);

fn megabytes(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number of MB"))
}

/// Nothing that could be compressed.
fn value(random: &mut Random) -> Vec<u8> {
    let mut value = vec![0; VALUE_BYTES];
    random.fill_bytes(&mut value);
    value
}

/// Sets some of the keys again, as fast as it goes.
fn write(random: &mut Random, server: &Server, keys: u64, count: u64) {
    const DEPTH: u64 = 10;
    let mut client = server.client();
    for _ in 0..count.div_ceil(DEPTH) {
        for _ in 0..DEPTH {
            let key = format!("key:{}", random.random_range(0..keys));
            client.queue(&[b"SET", key.as_bytes(), &value(random)]);
        }
        client.flush().expect("it is sent");
        (0..DEPTH).for_each(|_| drop(client.receive().expect("an answer")));
    }
}

#[test]
fn a_slow_line_needs_one_snapshot_and_bounded_memory() {
    let (data, log) = (megabytes("SPINEL_SLOW_DATA_MB", DATA_MB), megabytes("SPINEL_SLOW_LOG_MB", LOG_MB));
    let line = megabytes("SPINEL_SLOW_LINE_MB", LINE_MB);
    let unlimited = ["--client-output-buffer-limit", "replica 0 0 0", "--repl-backlog-size", "1mb"];
    let (Some(primary), Some(replica)) = (start(Kind::Spinel, &unlimited), start(Kind::Spinel, &[])) else { return };
    let seed = testkit::seed();
    let mut random = random_from(seed);
    let keys = data * 1_000_000 / VALUE_BYTES as u64;
    let mut client = primary.client();
    for key in 0..keys {
        client.queue(&[b"SET", format!("key:{key}").as_bytes(), &value(&mut random)]);
        if key % 1000 == 999 || key + 1 == keys {
            client.flush().expect("it is sent");
            (0..=key % 1000).for_each(|_| drop(client.receive().expect("an answer")));
        }
    }
    // Under load, as it will be.
    write(&mut random, &primary, keys, 20_000);
    let before = primary.process().resident_bytes().expect("it runs");
    // A piece takes half of the most on the average.
    let delay_max = Duration::from_millis(10);
    let weather = Weather { delay_max, piece_bytes_max: line as usize * 5_000, lost_one_in: u32::MAX };
    let network = Network::new(primary.address(), weather, seed);
    let used_before = memory(&mut client, "used_memory");
    let began = Instant::now();
    let reply = replica.client().line(&format!("REPLICAOF 127.0.0.1 {}", network.address().port()));
    assert_eq!(reply.to_string(), "OK");
    let begun = wait_for(PATIENCE, || (stat(&mut primary.client(), "sync_full") == 1).then_some(()));
    assert!(begun.is_some(), "{}", primary.log());

    let (ends, peak) = (AtomicBool::new(false), AtomicU64::new(before));
    let used_peak = AtomicU64::new(used_before);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = primary.client();
            while !ends.load(Relaxed) {
                used_peak.fetch_max(memory(&mut client, "used_memory"), Relaxed);
                peak.fetch_max(primary.process().resident_bytes().unwrap_or(0), Relaxed);
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        // As fast as it goes, and faster than the line; then a little all the time, so that there is never an end to wait for.
        write(&mut random, &primary, keys, log * 1_000_000 / VALUE_BYTES as u64);
        let there = wait_for(PATIENCE, || {
            write(&mut random, &primary, keys, 10);
            is_linked(&replica).then_some(())
        });
        assert!(there.is_some(), "{}\n{}", primary.log(), replica.log());
        wait_for(PATIENCE, || {
            let at = |server: &Server, name: &str| {
                replication(&mut server.client())[name].parse::<u64>().expect("an offset")
            };
            (at(&primary, "master_repl_offset") - at(&replica, "slave_repl_offset") < 1_000_000).then_some(())
        });
        wait_equal_offsets(&primary, &replica);
        ends.store(true, Relaxed);
    });
    let peak = peak.into_inner();
    let grown = (peak - before) / 1_000_000;
    let used_grown = (used_peak.into_inner() - used_before) / 1_000_000;
    eprintln!(
        "{data} MB, and {log} MB while they went through a line of {line} MB/s: {:.0} s, resident {} MB before, {} MB at most, {used_grown} MB more in use; {} connections",
        began.elapsed().as_secs_f64(),
        before / 1_000_000,
        peak / 1_000_000,
        network.connections()
    );
    assert!(grown <= MEMORY_MB_MAX, "{grown} MB more than before, with {log} MB of log");
    // Keys are evicted by this figure: what one thread takes and another gives back must not add up in it.
    assert!(used_grown <= MEMORY_MB_MAX, "used_memory is {used_grown} MB more than before");
    let mut client = primary.client();
    assert_eq!((stat(&mut client, "sync_full"), stat(&mut client, "sync_partial_ok")), (1, 0), "{}", primary.log());
    let (mut up, mut down) = (primary.client(), replica.client());
    assert_eq!(up.line("DBSIZE"), down.line("DBSIZE"));
    for _ in 0..1000 {
        let key = format!("key:{}", random.random_range(0..keys));
        assert!(up.command(&["GET", &key]).unwrap() == down.command(&["GET", &key]).unwrap(), "{key}");
    }
}

#[test]
fn who_joins_within_the_delay_shares_a_snapshot() {
    let Some(primary) = start(Kind::Spinel, &["--repl-diskless-sync-delay", "2"]) else { return };
    let kinds = [Kind::Spinel, Kind::Redis82, Kind::Valkey91];
    let replicas: Vec<Server> = kinds.into_iter().filter_map(|kind| start(kind, &[])).collect();
    let seed = testkit::seed();
    robustness::replicas::fill(&mut random_from(seed), &mut primary.client());
    under_load(&primary, seed, || {
        replicas.iter().for_each(|replica| follow(replica, &primary));
        replicas.iter().for_each(wait_linked);
    });
    for replica in &replicas {
        assert_equal(&primary, replica);
    }
    assert_eq!(stat(&mut primary.client(), "sync_full"), replicas.len() as u64);
    let snapshots = primary.log().matches("Starting a snapshot for SYNC").count();
    assert_eq!(snapshots, 1, "{}", primary.log());
}

/// Real servers prove it where the snapshot is sent as it is made, on one connection; by a file they wait for ever, but nobody waits with them. (On two
/// connections they give up all replicas of a snapshot together.)
#[test]
fn who_stops_reading_in_the_middle_of_a_snapshot_is_given_up() {
    let one = ["--repl-rdb-channel", "no"];
    let by_file = ["--repl-diskless-sync", "no"];
    let table = [
        (Kind::Redis82, &one[..]),
        (Kind::Valkey91, &[]),
        (Kind::Spinel, &one),
        (Kind::Spinel, &[]),
        (Kind::Spinel, &by_file),
    ];
    let impatient = ["--repl-timeout", "2", "--repl-ping-replica-period", "1", "--repl-diskless-sync-delay", "1"];
    let mut random = random_from(testkit::seed());
    for (kind, words) in table {
        let Some(primary) = start(kind, &[&impatient, words].concat()) else { continue };
        let replicas = [start(Kind::Spinel, &[]), start(Kind::Spinel, &[])];
        let [Some(stopped), Some(other)] = replicas else { return };
        println!("{kind} with {words:?}:");
        let mut client = primary.client();
        // More than lies between a snapshot and its slowest reader.
        for number in 0..400 {
            let value: Vec<u8> = std::iter::repeat_with(|| value(&mut random)).take(100).flatten().collect();
            client.command(&[b"SET", format!("key:{number}").as_bytes(), &value]).expect("an answer");
        }
        let wires = Wires::new(primary.address(), 1 << 20);
        let reply = stopped.client().line(&format!("REPLICAOF 127.0.0.1 {}", wires.port()));
        assert!(reply.to_string().starts_with("OK"), "{reply}");
        follow(&other, &primary);
        wait_linked(&other);
        wait_for_replicas(&primary, 1);
        wires.release();
        wait_linked(&stopped);
        assert_equal(&primary, &stopped);
        assert_equal(&primary, &other);
    }
}

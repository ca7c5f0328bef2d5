//! Primaries and replicas: Spinel with itself and with the real servers, on either side.
//!
//! What every pair is put through: data of all types that both know, writes from several connections while the replica joins, links that are
//! cut, either side restarted, promoted and demoted. At the end both have the same data at the same offset, and where real servers manage with a
//! part of the stream, so do we.

use robustness::replicas::{
    PATIENCE, assert_equal, end_in_order, fill, follow, replication, start, stat, under_load, wait_equal_offsets,
    wait_for_replicas, wait_linked,
};
use testkit::tls::TlsServer;
use testkit::{Kind, random_from, wait_for};

/// The whole life of a pair.
fn live(primary_kind: Kind, replica_kind: Kind, threads: &str) {
    let seed = testkit::seed();
    eprintln!("{replica_kind} follows {primary_kind}, {threads} threads, seed {seed}");
    let threads = |kind| if kind == Kind::Spinel { vec!["--io-threads", threads] } else { Vec::new() };
    let Some(mut primary) = start(primary_kind, &threads(primary_kind)) else { return };
    let Some(mut replica) = start(replica_kind, &threads(replica_kind)) else { return };
    let mut random = random_from(seed);
    fill(&mut random, &mut primary.client());
    // Something that has to go.
    replica.client().line("SET old 1");

    under_load(&primary, seed, || {
        follow(&replica, &primary);
        wait_linked(&replica);
    });
    assert_equal(&primary, &replica);
    let refused = replica.client().line("SET a 1");
    assert_eq!(refused.bytes(), Some(&b"READONLY You can't write against a read only replica."[..]));

    // A link that is cut heals with a part of the stream, whoever cuts it.
    let full = stat(&mut primary.client(), "sync_full");
    let partial = stat(&mut primary.client(), "sync_partial_ok");
    under_load(&primary, seed + 10, || {
        for round in 0..3 {
            let at = if round == 1 { &replica } else { &primary };
            let kind = if round == 1 { "master" } else { "replica" };
            // The link before may be cut at the replica and not yet at the primary, which then has two.
            wait_for_replicas(&primary, 1);
            let killed = at.client().line(&format!("CLIENT KILL TYPE {kind}")).to_string();
            assert!(killed.ends_with('1'), "{killed}\n{}", at.log());
            let mut up = primary.client();
            let healed = wait_for(PATIENCE, || (stat(&mut up, "sync_partial_ok") > partial + round).then_some(()));
            assert!(healed.is_some(), "not healed\n{}\n{}", primary.log(), replica.log());
            wait_linked(&replica);
        }
    });
    assert_eq!(stat(&mut primary.client(), "sync_full"), full, "{}\n{}", primary.log(), replica.log());
    assert_equal(&primary, &replica);

    // The replica becomes the primary, and the other way round: again a part is enough.
    replica.client().line("REPLICAOF NO ONE");
    replica.client().line("SET new-primary 1");
    let full = stat(&mut replica.client(), "sync_full");
    follow(&primary, &replica);
    wait_linked(&primary);
    assert_equal(&replica, &primary);
    assert_eq!(stat(&mut replica.client(), "sync_full"), full, "{}\n{}", primary.log(), replica.log());

    // Who ends in order goes on where it was. First the one that follows now, under load; then the other.
    under_load(&replica, seed + 20, || {
        end_in_order(&mut primary);
        primary.restart(&["--replicaof", "127.0.0.1", &replica.port().to_string()]).expect("it starts again");
        wait_linked(&primary);
    });
    assert_equal(&replica, &primary);
    assert_eq!(stat(&mut replica.client(), "sync_full"), full, "{}\n{}", primary.log(), replica.log());
    end_in_order(&mut replica);
    replica.restart(&[]).expect("it starts again");
    follow(&primary, &replica);
    wait_linked(&primary);
    under_load(&replica, seed + 30, || wait_equal_offsets(&replica, &primary));
    assert_equal(&replica, &primary);
    assert_eq!(stat(&mut replica.client(), "sync_full"), 0, "{}\n{}", primary.log(), replica.log());
}

#[test]
fn spinel_follows_spinel() {
    live(Kind::Spinel, Kind::Spinel, "1");
    live(Kind::Spinel, Kind::Spinel, "4");
}

#[test]
fn spinel_follows_redis() {
    live(Kind::Redis82, Kind::Spinel, "1");
    live(Kind::Redis70, Kind::Spinel, "2");
}

#[test]
fn spinel_follows_valkey() {
    live(Kind::Valkey91, Kind::Spinel, "2");
}

#[test]
fn redis_follows_spinel() {
    live(Kind::Spinel, Kind::Redis82, "1");
    live(Kind::Spinel, Kind::Redis70, "2");
}

#[test]
fn valkey_follows_spinel() {
    live(Kind::Spinel, Kind::Valkey91, "2");
}

/// In a chain, with a restart at each place.
#[test]
fn a_chain() {
    let Some(mut first) = start(Kind::Spinel, &["--io-threads", "2"]) else { return };
    let Some(mut second) = start(Kind::Spinel, &[]) else { return };
    let Some(third) = start(Kind::Spinel, &[]) else { return };
    let seed = testkit::seed();
    fill(&mut random_from(seed), &mut first.client());
    follow(&second, &first);
    wait_linked(&second);
    follow(&third, &second);
    wait_linked(&third);
    under_load(&first, seed, || {
        std::hint::black_box(replication(&mut third.client()));
        second.client().line("CLIENT KILL TYPE master");
        wait_linked(&second);
        second.client().line("CLIENT KILL TYPE replica");
        wait_linked(&third);
    });
    assert_equal(&first, &second);
    assert_equal(&second, &third);

    // Who ends in order goes on where it was, and so do those behind it.
    let full = stat(&mut first.client(), "sync_full");
    end_in_order(&mut second);
    let port = first.port().to_string();
    second.restart(&["--replicaof", "127.0.0.1", &port]).expect("it starts again");
    wait_linked(&second);
    assert_equal(&first, &second);
    assert_eq!(stat(&mut first.client(), "sync_full"), full, "{}\n{}", first.log(), second.log());
    follow(&third, &second);
    wait_linked(&third);
    assert_equal(&second, &third);

    // The primary too.
    end_in_order(&mut first);
    first.restart(&[]).expect("it starts again");
    follow(&second, &first);
    wait_linked(&second);
    first.client().line("SET after 1");
    assert_equal(&first, &second);
    assert_eq!(stat(&mut first.client(), "sync_full"), 0, "{}\n{}", first.log(), second.log());
}

/// With `min-replicas-to-acknowledge` a reply leaves when so many replicas have the write, and says so when they do not.
#[test]
fn a_write_is_answered_when_replicas_have_it() {
    for replica_kind in [Kind::Spinel, Kind::Redis82] {
        let Some(primary) = start(Kind::Spinel, &["--io-threads", "2"]) else { return };
        let Some(mut replica) = start(replica_kind, &[]) else { return };
        follow(&replica, &primary);
        wait_for_replicas(&primary, 1);
        let mut client = primary.client();
        client.line("CONFIG SET min-replicas-to-acknowledge 1 min-replicas-to-acknowledge-timeout 1500");
        // Until it has said how far it is, it does not count, whatever INFO calls its state.
        let first = wait_for(PATIENCE, || (client.line("SET k first").to_string() == "OK").then_some(()));
        assert!(first.is_some(), "{}", primary.log());
        let (mut reader, began) = (replica.client(), std::time::Instant::now());
        for number in 0..300 {
            assert_eq!(client.line(&format!("SET k {number}")).to_string(), "OK");
            // It is there already: nobody has to wait for it.
            assert_eq!(reader.line("GET k").to_string(), format!("\"{number}\""));
        }
        assert!(began.elapsed() < PATIENCE, "each acknowledgement is asked for");
        // Reads are held as well where they could tell of what nobody has, and pipelines come whole.
        for number in 0..100 {
            client.queue(&["INCR", "n"]);
            client.queue(&["GET", "n"]);
            client.queue(&["SET", "k", &number.to_string()]);
        }
        client.flush().expect("it is sent");
        for number in 1..=100 {
            assert_eq!(client.receive().expect("a reply").integer(), Some(number));
            assert_eq!(client.receive().expect("a reply").to_string(), format!("\"{number}\""));
            assert_eq!(client.receive().expect("a reply").to_string(), "OK");
        }
        // A replica that hangs.
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(replica.process().0 as i32).expect("a process"),
            rustix::process::Signal::STOP,
        )
        .expect("it is stopped");
        let tasks = format!("/proc/{}/task", replica.process().0);
        let has_stopped = || {
            std::fs::read_dir(&tasks).expect("its threads").all(|task| {
                let stat = std::fs::read_to_string(task.expect("a thread").path().join("stat")).unwrap_or_default();
                stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
            })
        };
        assert!(wait_for(PATIENCE, || has_stopped().then_some(())).is_some(), "it does not stop");
        let reply = client.line("SET k late");
        assert!(
            reply.is_error_of("NOREPLICAS") && reply.to_string().contains("min-replicas-to-acknowledge"),
            "{reply}"
        );
        assert_eq!(primary.client().line("PING").to_string(), "PONG");
        // One that is gone: then the write is not begun.
        replica.kill();
        let mut other = primary.client();
        let refused = wait_for(PATIENCE, || {
            let reply = other.line("SET k never");
            (reply.bytes() == Some(b"NOREPLICAS Not enough good replicas to write.")).then_some(())
        });
        assert!(refused.is_some(), "{}", primary.log());
        assert!(other.line("SET refused 1").is_error_of("NOREPLICAS"));
        assert_eq!(other.line("EXISTS refused").integer(), Some(0));
    }
}

/// `tls-replication`, on both sides of the real Redis that speaks TLS here, and with certificates that are asked for.
#[test]
fn over_tls() {
    let authority = testkit::tls::Authority::new("replication");
    for (primary_kind, replica_kind) in
        [(Kind::Spinel, Kind::Spinel), (Kind::Redis70, Kind::Spinel), (Kind::Spinel, Kind::Redis70)]
    {
        let start =
            |kind| TlsServer::start(kind, &authority, &["--tls-replication", "yes", "--repl-diskless-sync-delay", "0"]);
        let (Some(primary), Some(replica)) = (start(primary_kind), start(replica_kind)) else {
            testkit::skip_aloud("no such servers here");
            continue;
        };
        let seed = testkit::seed();
        fill(&mut random_from(seed), &mut primary.server.client());
        let reply = replica.server.client().line(&format!("REPLICAOF 127.0.0.1 {}", primary.address.port()));
        assert_eq!(reply.to_string(), "OK");
        wait_linked(&replica.server);
        under_load(&primary.server, seed, || {
            primary.server.client().line("CLIENT KILL TYPE replica");
            wait_linked(&replica.server);
        });
        assert_equal(&primary.server, &replica.server);
    }
}

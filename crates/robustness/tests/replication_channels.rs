//! Full synchronisations over two connections, between Spinel and the real servers that know them, on either side.
//!
//! The snapshot's connection is made to stand still in the middle, so that what is looked at and cut is in the middle of a snapshot however fast the machine is.

use robustness::replicas::{
    PATIENCE, assert_equal, fill, is_linked, replication, start, stat, under_load, wait_for_replicas, wait_linked,
};
use robustness::wires::Wires;
use testkit::{Kind, Server, random_from, wait_for};

use rand::Rng;

const HOLDS_AFTER: u64 = 1 << 20;

/// Switches both kinds of second connections on.
fn options(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Spinel => &["--dual-channel-replication-enabled", "yes"],
        Kind::Valkey91 => &["--dual-channel-replication-enabled", "yes"],
        _ => &["--repl-rdb-channel", "yes"],
    }
}

fn pair(kinds: [Kind; 2], more: [&[&str]; 2]) -> Option<[Server; 2]> {
    let primary = start(kinds[0], &[options(kinds[0]), more[0]].concat())?;
    let replica = start(kinds[1], &[options(kinds[1]), more[1]].concat())?;
    Some([primary, replica])
}

/// Several times what a connection carries before it stands still, in a form that does not get smaller.
fn fill_much(server: &Server, seed: u64) {
    let mut random = random_from(seed);
    let mut client = server.client();
    fill(&mut random, &mut client);
    for number in 0..80 {
        let mut bytes = vec![0; 100_000];
        random.fill(&mut bytes[..]);
        client.command(&[b"SET", format!("noise:{number}").as_bytes(), &bytes]).expect("an answer");
    }
}

fn follow_over(replica: &Server, wires: &Wires) {
    let reply = replica.client().line(&format!("REPLICAOF 127.0.0.1 {}", wires.port()));
    assert!(reply.to_string().starts_with("OK"), "{reply}");
}

/// Waits until the connection of a snapshot stands still, which is one from `number` on.
#[track_caller]
fn wait_held(wires: &Wires, number: usize, servers: &[Server; 2]) -> usize {
    let held = wait_for(PATIENCE, || wires.held_from(number));
    held.unwrap_or_else(|| panic!("no snapshot comes\n{}\n{}", servers[0].log(), servers[1].log()))
}

/// What INFO says of the first replica's state.
fn state_of_replica(primary: &Server) -> Vec<String> {
    let info = replication(&mut primary.client());
    let states = info.iter().filter(|(name, _)| name.starts_with("slave") && name.len() == 6);
    states
        .map(|(_, line)| line.split("state=").nth(1).expect("a state").split(',').next().unwrap_or("").into())
        .collect()
}

fn buffer(replica: &Server, what: &str) -> u64 {
    let info = replication(&mut replica.client());
    let name = if replica.kind() == Kind::Valkey91 { "replicas_repl_buffer" } else { "replica_full_sync_buffer" };
    info.get(&format!("{name}_{what}")).map_or(0, |text| text.parse().expect("a number"))
}

/// The first connection and the second, and what each of them being cut in the middle of a snapshot comes to.
fn live(kinds: [Kind; 2], words: &str) {
    let seed = testkit::seed();
    eprintln!("{} follows {}, seed {seed}", kinds[1], kinds[0]);
    let Some(servers) = pair(kinds, [&[], &[]]) else { return };
    let [primary, replica] = &servers;
    fill_much(primary, seed);
    replica.client().line("SET old 1");
    let wires = Wires::new(primary.address(), HOLDS_AFTER);
    let full = stat(&mut primary.client(), "sync_full");
    under_load(primary, seed, || {
        follow_over(replica, &wires);
        assert_eq!(wait_held(&wires, 0, &servers), 1, "the snapshot comes on the second connection");
        let beside = wait_for(PATIENCE, || state_of_replica(primary).iter().any(|state| state == words).then_some(()));
        assert!(beside.is_some(), "{:?}", replication(&mut primary.client()));
        let kept = wait_for(PATIENCE, || (buffer(replica, "size") > 10_000).then_some(()));
        assert!(kept.is_some(), "{:?}\n{}", replication(&mut replica.client()), replica.log());
        assert!(!is_linked(replica));

        // Either is cut: both come anew.
        for (cut, next) in [(1, 2), (2, 4)] {
            wires.cut(cut);
            assert_eq!(wait_held(&wires, next, &servers), next + 1);
        }
        wires.release();
        wait_linked(replica);
    });
    assert_equal(primary, replica);
    wait_for_replicas(primary, 1);
    assert_eq!(wires.connections(), 6, "{}\n{}", primary.log(), replica.log());
    assert_eq!(stat(&mut primary.client(), "sync_full"), full + 3);
    assert_eq!(buffer(replica, "size"), 0);
    assert!(buffer(replica, "peak") > 10_000);

    // And then a part is enough, without a second connection.
    wires.cut(4);
    under_load(primary, seed + 1, || {
        wait_for(PATIENCE, || (wires.connections() == 7).then_some(())).expect("it comes back")
    });
    wait_linked(replica);
    assert_equal(primary, replica);
    assert_eq!((wires.connections(), stat(&mut primary.client(), "sync_full")), (7, full + 3));
}

#[test]
fn spinel_follows_spinel() {
    live([Kind::Spinel, Kind::Spinel], "send_bulk_and_stream");
}

#[test]
fn spinel_follows_redis() {
    live([Kind::Redis82, Kind::Spinel], "send_bulk_and_stream");
}

#[test]
fn redis_follows_spinel() {
    live([Kind::Spinel, Kind::Redis82], "send_bulk_and_stream");
}

#[test]
fn spinel_follows_valkey() {
    live([Kind::Valkey91, Kind::Spinel], "bg_transfer");
}

#[test]
fn valkey_follows_spinel() {
    live([Kind::Spinel, Kind::Valkey91], "bg_transfer");
}

/// Between two Spinels in Valkey's words, and with a replica that loads from the socket.
#[test]
fn spinel_follows_spinel_as_valkey_does() {
    let options = ["--repl-rdb-channel", "no", "--repl-diskless-load", "swapdb"];
    let Some(servers) = pair([Kind::Spinel, Kind::Spinel], [&options, &options]) else { return };
    let [primary, replica] = &servers;
    let seed = testkit::seed();
    fill_much(primary, seed);
    // Another database is selected at the cut.
    let mut client = primary.client();
    client.line("SELECT 3");
    client.line("SET in three");
    let wires = Wires::new(primary.address(), HOLDS_AFTER);
    under_load(primary, seed, || {
        follow_over(replica, &wires);
        wait_held(&wires, 0, &servers);
        assert_eq!(state_of_replica(primary), ["bg_transfer"]);
        wires.release();
        wait_linked(replica);
    });
    assert_equal(primary, replica);
    assert_eq!(wires.connections(), 2);
}

/// A replica in the middle of a chain hands on both, and says which database its primary has selected.
#[test]
fn in_the_middle_of_a_chain() {
    let seed = testkit::seed();
    for last in [Kind::Spinel, Kind::Redis82, Kind::Valkey91] {
        let Some([first, second]) = pair([Kind::Spinel, Kind::Spinel], [&[], &[]]) else { return };
        let Some(third) = start(last, options(last)) else { return };
        fill_much(&first, seed);
        robustness::replicas::follow(&second, &first);
        wait_linked(&second);
        let mut client = first.client();
        client.line("SELECT 2");
        client.line("SET in two");
        let wires = Wires::new(second.address(), HOLDS_AFTER);
        follow_over(&third, &wires);
        assert!(wait_for(PATIENCE, || wires.held_from(0)).is_some());
        // No SELECT comes before it.
        client.line("SET behind cut");
        wires.release();
        wait_linked(&third);
        assert_equal(&first, &third);
        assert_eq!(wires.connections(), 2, "{}", third.log());
    }
}

/// What comes meanwhile is kept in memory up to a bound, and then on disk: so no primary has a reason to send us away.
#[test]
fn what_comes_meanwhile_is_bounded_in_memory() {
    for kind in [Kind::Spinel, Kind::Redis82, Kind::Valkey91] {
        let at_primary = ["--client-output-buffer-limit", "replica 6mb 0 0", "--repl-backlog-size", "1mb"];
        let at_replica = ["--replica-full-sync-buffer-limit", "1mb"];
        let Some(servers) = pair([kind, Kind::Spinel], [&at_primary, &at_replica]) else { return };
        let [primary, replica] = &servers;
        fill_much(primary, testkit::seed());
        let wires = Wires::new(primary.address(), HOLDS_AFTER);
        follow_over(replica, &wires);
        assert_eq!(wait_held(&wires, 0, &servers), 1);
        write_much(primary, &wires, 20 << 20);
        assert_eq!(wires.connections(), 2, "{}\n{}", primary.log(), replica.log());
        wires.release();
        wait_linked(replica);
        assert_equal(primary, replica);
        assert_eq!(stat(&mut primary.client(), "sync_full"), 1, "{}\n{}", primary.log(), replica.log());
        let peak = buffer(replica, "peak");
        assert!((500 << 10..=1 << 20).contains(&peak), "{peak} bytes were in memory");
    }
}

/// Writes so much while the snapshot stands still, each piece when the stream has carried the one before.
fn write_much(primary: &Server, wires: &Wires, bytes: u64) {
    let mut client = primary.client();
    let piece = "x".repeat(100_000);
    let mut written = 0;
    while written < bytes {
        client.command(&["SET", &format!("piece:{}", written % 37), &piece]).expect("an answer");
        written += piece.len() as u64;
        let carried = wait_for(PATIENCE, || (wires.forwarded_bytes(0) >= written).then_some(()));
        assert!(carried.is_some(), "the stream stands still: {} of {written} bytes", wires.forwarded_bytes(0));
    }
}

/// A replica that stops reading when its own memory for it is full is waited for: what it does not read is kept on our disk.
#[test]
fn a_replica_that_reads_no_more_is_waited_for() {
    for (kind, limit) in [
        (Kind::Redis82, ["--replica-full-sync-buffer-limit", "1mb"]),
        (Kind::Valkey91, ["--client-output-buffer-limit", "replica 1mb 0 0"]),
    ] {
        let at_primary = ["--client-output-buffer-limit", "replica 4mb 0 0", "--repl-backlog-size", "1mb"];
        let Some(servers) = pair([Kind::Spinel, kind], [&at_primary, &limit]) else { return };
        let [primary, replica] = &servers;
        fill_much(primary, testkit::seed());
        let wires = Wires::new(primary.address(), HOLDS_AFTER);
        follow_over(replica, &wires);
        assert_eq!(wait_held(&wires, 0, &servers), 1);
        let (mut client, piece) = (primary.client(), "x".repeat(500_000));
        // More than is kept in memory for one that synchronizes.
        for number in 0..180 {
            client.command(&["SET", &format!("piece:{}", number % 7), &piece]).expect("an answer");
        }
        let spilled = wait_for(PATIENCE, || primary.log().contains("goes to disk").then_some(()));
        assert!(spilled.is_some(), "{}", primary.log());
        wires.release();
        wait_linked(replica);
        assert_equal(primary, replica);
        assert_eq!(wires.connections(), 2, "{}\n{}", primary.log(), replica.log());
        assert_eq!(stat(&mut primary.client(), "sync_full"), 1);
    }
}

/// Who offers it to whom without a word in the configuration.
#[test]
fn as_it_is_out_of_the_box() {
    let table = [
        (Kind::Spinel, Kind::Spinel, 2),
        (Kind::Redis82, Kind::Redis82, 2),
        (Kind::Spinel, Kind::Redis82, 2),
        (Kind::Redis82, Kind::Spinel, 2),
        (Kind::Valkey91, Kind::Valkey91, 1),
        (Kind::Spinel, Kind::Valkey91, 1),
        (Kind::Valkey91, Kind::Spinel, 1),
        (Kind::Redis70, Kind::Spinel, 1),
        (Kind::Spinel, Kind::Redis70, 1),
    ];
    for (above, below, connections) in table {
        let (Some(primary), Some(replica)) = (start(above, &[]), start(below, &[])) else { continue };
        let wires = Wires::new(primary.address(), u64::MAX);
        follow_over(&replica, &wires);
        wait_linked(&replica);
        assert_eq!(wires.connections(), connections, "{below} follows {above}");
        // And without it in the file of either, there is one.
        primary.client().line("CONFIG SET repl-diskless-sync no");
        primary.client().line("DEBUG CHANGE-REPL-ID");
        wires.cut(0);
        let back = wait_for(PATIENCE, || (wires.connections() > connections).then_some(()));
        assert!(back.is_some(), "{}", replica.log());
        wait_linked(&replica);
        assert_eq!(wires.connections(), connections + 1, "{below} follows {above}, by a file");
    }
}

/// Ends and beginnings in the midst: the replica is sent elsewhere, promoted, and either server ends.
#[test]
fn a_snapshot_on_its_way_is_called_off() {
    let Some(servers) = pair([Kind::Spinel, Kind::Spinel], [&[], &[]]) else { return };
    let [primary, replica] = &servers;
    let Some(other) = start(Kind::Spinel, &[]) else { return };
    fill_much(primary, testkit::seed());
    other.client().line("SET other 1");
    let wires = Wires::new(primary.address(), HOLDS_AFTER);
    follow_over(replica, &wires);
    wait_held(&wires, 0, &servers);
    robustness::replicas::follow(replica, &other);
    wait_linked(replica);
    assert_equal(&other, replica);
    wait_for_replicas(primary, 0);

    let known = wires.connections();
    follow_over(replica, &wires);
    wait_held(&wires, known, &servers);
    assert_eq!(replica.client().line("REPLICAOF NO ONE").to_string(), "OK");
    assert_eq!(replica.client().line("SET mine 1").to_string(), "OK");
    wait_for_replicas(primary, 0);
    assert_eq!(replica.client().line("GET other").to_string(), "\"1\"", "the old data stay until the new are whole");

    // CLIENT KILL of the first connection, which stands for both.
    let known = wires.connections();
    follow_over(replica, &wires);
    wait_held(&wires, known, &servers);
    assert!(primary.client().line("CLIENT KILL TYPE replica").to_string().ends_with(char::is_numeric));
    wait_held(&wires, known + 2, &servers);
    wires.release();
    wait_linked(replica);
    assert_equal(primary, replica);
}

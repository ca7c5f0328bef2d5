//! The machine with real servers on the other side.

mod driver;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use driver::Driver;
use replication::{Address, Config, FailoverRequest, FailoverState, LinkState};
use testkit::{Client, Kind, Server, encode_command, server_or_skip, wait_until};

const REAL: [Kind; 3] = [Kind::Redis70, Kind::Redis82, Kind::Valkey91];

fn address(server: &Server) -> Address {
    Address { host: "127.0.0.1".to_owned(), port: server.port() }
}

/// The value of a line of INFO.
fn info(client: &mut Client, section: &str, name: &str) -> String {
    let reply = client.line(&format!("INFO {section}"));
    let text = reply.text().unwrap().to_owned();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).split_once(':').unwrap().1.to_owned()
}

fn is_connected(driver: &Driver) -> bool {
    driver.machine.upstream(driver.now()).is_some_and(|upstream| upstream.state == LinkState::Connected)
}

fn contains(driver: &Driver, text: &str) -> bool {
    driver.bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn we_follow_real_primaries() {
    for kind in REAL {
        for diskless in ["yes", "no"] {
            let server = server_or_skip!(
                kind,
                "--repl-diskless-sync",
                diskless,
                "--repl-diskless-sync-delay",
                "0",
                "--requirepass",
                "sesame"
            );
            let mut client = server.client();
            client.line("AUTH sesame");
            client.line("SET before snapshot");

            let mut driver = Driver::new(Config { password: b"sesame".to_vec(), ..Config::default() });
            let (now, log) = (driver.now(), driver.log());
            driver.machine.follow(now, address(&server), log);
            driver.until("a snapshot comes", |driver| is_connected(driver));

            client.line("SET after snapshot");
            driver.until("the stream comes", |driver| contains(driver, "after"));
            // It hears of what we have, and asks for that too.
            client.queue(&["WAIT", "1", "20000"]);
            client.flush().unwrap();
            driver.until("GETACK comes", |driver| contains(driver, "GETACK"));
            driver.turn();
            assert_eq!(client.receive().unwrap().integer(), Some(1), "{kind}");
            let us = info(&mut client, "replication", "slave0");
            assert!(us.contains(&format!("port={},state=online", driver.port())), "{us}");

            driver.cut();
            client.line("SET meanwhile cut");
            driver.until("it goes on", |driver| is_connected(driver) && contains(driver, "meanwhile"));
            assert_eq!(info(&mut client, "stats", "sync_partial_ok"), "1", "{kind}");
            assert_eq!(info(&mut client, "stats", "sync_full"), "1", "{kind}");

            // Another id is heard of by another CONTINUE, and the rest of the old stream is ours still.
            let before = *driver.machine.history();
            client.line("REPLICAOF 127.0.0.1 1");
            client.line("REPLICAOF NO ONE");
            client.line("SET promoted again");
            driver.until("it goes on", |driver| is_connected(driver) && contains(driver, "promoted"));
            let after = driver.machine.history();
            assert_ne!(after.id, before.id, "{kind}");
            assert_eq!(after.second.map(|(second, _)| second), Some(before.id));
            assert_eq!(info(&mut client, "stats", "sync_full"), "1", "{kind}");
        }
    }
}

#[test]
fn what_goes_wrong_is_told_with_a_remedy() {
    let server = server_or_skip!(Kind::Redis82, "--requirepass", "sesame");
    for (password, hint) in [("", "masterauth"), ("wrong", "masterauth")] {
        let mut driver = Driver::new(Config { password: password.as_bytes().to_vec(), ..Config::default() });
        let (now, log) = (driver.now(), driver.log());
        driver.machine.follow(now, address(&server), log);
        driver.until("it is refused", |driver| driver.notes.iter().any(|note| note.contains(hint)));
    }
    // And it is tried again.
    let mut client = server.client();
    client.line("AUTH sesame");
    let mut driver = Driver::new(Config::default());
    let (now, log) = (driver.now(), driver.log());
    driver.machine.follow(now, address(&server), log);
    driver.until("it is refused", |driver| driver.notes.iter().any(|note| note.contains("masterauth")));
    client.line("CONFIG SET requirepass ");
    client.command(&["CONFIG", "SET", "requirepass", "", "repl-diskless-sync-delay", "0"]).unwrap();
    driver.until("it is accepted", |driver| is_connected(driver));
}

#[test]
fn real_replicas_follow_us() {
    for kind in REAL {
        for diskless in [true, false] {
            let mut driver = Driver::new(Config { diskless, diskless_delay_ms: 0, ..Config::default() });
            let port = driver.port().to_string();
            let server = server_or_skip!(kind);
            let mut client = server.client();
            client.line(&format!("REPLICAOF 127.0.0.1 {port}"));
            driver.until("it is online", |driver| driver.machine.acknowledged(0) == 1);
            driver.write(&["SELECT", "0"]);
            driver.write(&["SET", "key", "first"]);
            let end = driver.log().end;
            driver.until("it acknowledges", |driver| driver.machine.acknowledged(end) == 1);
            assert_eq!(client.line("GET key").text(), Some("first"), "{kind}");

            driver.cut();
            driver.write(&["SET", "key", "second"]);
            let end = driver.log().end;
            driver.until("it comes back", |driver| driver.machine.acknowledged(end) == 1);
            assert_eq!(client.line("GET key").text(), Some("second"), "{kind}");
            assert_eq!(driver.snapshots, 1, "{kind}: the rest was enough");
            let report = &driver.machine.replicas(driver.now(), driver.log())[0];
            assert_eq!((report.host.as_str(), report.port), ("127.0.0.1", server.port()));

            // GETACK is answered at once, not within a second.
            driver.machine.ask_for_acks();
            driver.turn();
            let end = driver.log().end;
            driver.until("it acknowledges", |driver| driver.machine.acknowledged(end) == 1);
        }
    }
}

#[test]
fn replicas_that_come_together_share_a_snapshot() {
    let mut driver = Driver::new(Config { diskless_delay_ms: 60_000, diskless_replicas_max: 3, ..Config::default() });
    let port = driver.port().to_string();
    let replicaof = format!("127.0.0.1 {port}");
    let servers: Vec<Server> =
        REAL.into_iter().filter_map(|kind| Server::start(kind, &["--replicaof", &replicaof]).ok()).collect();
    if servers.len() < 3 {
        return testkit::skip_aloud("fewer than three real servers here");
    }
    driver.until("all are online", |driver| driver.machine.acknowledged(0) == 3);
    assert_eq!(driver.snapshots, 1);
}

#[test]
fn replicas_that_offer_a_second_channel_do_without() {
    let table = [(Kind::Redis82, "--repl-rdb-channel"), (Kind::Valkey91, "--dual-channel-replication-enabled")];
    for (kind, option) in table {
        let mut driver = Driver::new(Config { diskless_delay_ms: 0, ..Config::default() });
        let replicaof = format!("127.0.0.1 {}", driver.port());
        let server = server_or_skip!(kind, option, "yes", "--replicaof", &replicaof);
        driver.until("it is online", |driver| driver.machine.acknowledged(0) == 1);
        driver.write(&["SELECT", "0"]);
        driver.write(&["SET", "key", "value"]);
        let end = driver.log().end;
        driver.until("it acknowledges", |driver| driver.machine.acknowledged(end) == 1);
        assert_eq!(server.client().line("GET key").text(), Some("value"), "{kind}");
    }
}

#[test]
fn in_the_middle_of_a_chain_that_loses_its_head() {
    let pairs = [(Kind::Redis70, Kind::Redis82), (Kind::Redis82, Kind::Valkey91), (Kind::Valkey91, Kind::Redis70)];
    for (above, below) in pairs {
        let mut primary = server_or_skip!(above, "--repl-diskless-sync-delay", "0");
        let mut driver = Driver::new(Config { diskless_delay_ms: 0, ..Config::default() });
        let (now, log) = (driver.now(), driver.log());
        driver.machine.follow(now, address(&primary), log);
        driver.until("we follow", |driver| is_connected(driver));
        let replicaof = format!("127.0.0.1 {}", driver.port());
        let replica = server_or_skip!(below, "--replicaof", &replicaof);
        driver.until("it follows us", |driver| driver.machine.acknowledged(0) == 1);

        let mut client = primary.client();
        client.line("SET key value");
        driver.until("the stream goes through", |driver| {
            contains(driver, "value") && driver.machine.acknowledged(driver.log().end) == 1
        });
        let mut below = replica.client();
        assert_eq!(below.line("GET key").text(), Some("value"));
        let ids = [info(&mut below, "replication", "master_replid"), info(&mut client, "replication", "master_replid")];
        assert_eq!(ids[0], ids[1], "it is one stream");

        primary.kill();
        driver.until("we notice", |driver| !is_connected(driver));
        let new_id = driver.new_id();
        let (now, log) = (driver.now(), driver.log());
        driver.machine.promote(now, new_id, log);
        driver.write(&["SET", "key", "other"]);
        let end = driver.log().end;
        driver.until("it goes on with us", |driver| driver.machine.acknowledged(end) == 1);
        assert_eq!(below.line("GET key").text(), Some("other"));
        assert_eq!(info(&mut below, "replication", "master_replid"), new_id.to_string());
        assert_eq!(info(&mut below, "replication", "master_replid2"), ids[0]);
        assert_eq!(driver.snapshots, 1, "the rest was enough");
    }
}

#[test]
fn both_names_of_a_stream_are_said_to_real_primaries_too() {
    for kind in REAL {
        let server = server_or_skip!(kind, "--repl-diskless-sync-delay", "0");
        let mut driver = Driver::new(Config::default());
        let (now, log) = (driver.now(), driver.log());
        driver.machine.follow(now, address(&server), log);
        driver.until("we follow", |driver| is_connected(driver));
        let mut client = server.client();
        client.line("SET key value");
        driver.until("the stream comes", |driver| contains(driver, "value"));

        // A failover that reaches us, but whose answer nobody reads.
        let mut link = TcpStream::connect(("127.0.0.1", driver.port())).unwrap();
        let mut request = Vec::new();
        encode_command(&["REPLCONF", "capa", "psync2"], &mut request);
        let id = driver.machine.history().id.to_string();
        encode_command(&["PSYNC", &id, &(driver.log().end + 1).to_string(), "FAILOVER"], &mut request);
        link.write_all(&request).unwrap();
        driver.until("it makes us a primary", |driver| driver.is_primary());
        let (now, log) = (driver.now(), driver.log());
        driver.machine.follow(now, address(&server), log);
        driver.until("we follow again", |driver| is_connected(driver));
        let passed_over = "(Non critical) Master does not understand REPLCONF other-replid";
        assert!(driver.notes.iter().any(|note| note.contains(passed_over)), "{kind}: {:#?}", driver.notes);
        client.line("SET key other");
        driver.until("the stream goes on", |driver| contains(driver, "other"));
    }
}

#[test]
fn failover_hands_over_both_ways() {
    for kind in [Kind::Redis70, Kind::Redis82, Kind::Valkey91] {
        let server = server_or_skip!(kind, "--repl-diskless-sync-delay", "0");
        let mut client = server.client();
        client.line("SET key value");
        let mut driver = Driver::new(Config::default());
        let (now, log) = (driver.now(), driver.log());
        driver.machine.follow(now, address(&server), log);
        driver.until("we follow", |driver| is_connected(driver));
        client.line("SET other value");
        driver.until("the stream comes", |driver| contains(driver, "other"));

        assert_eq!(client.line(&format!("FAILOVER TO 127.0.0.1 {}", driver.port())).text(), Some("OK"));
        driver.until("we are the primary, and it our replica", |driver| {
            driver.is_primary() && driver.machine.acknowledged(driver.log().end) == 1
        });
        assert_eq!(info(&mut client, "replication", "role"), "slave");
        assert_eq!(driver.snapshots, 0, "{kind}");

        // And back.
        driver.write(&["SET", "third", "value"]);
        driver.turn();
        let (now, log) = (driver.now(), driver.log());
        driver.machine.failover(now, FailoverRequest::default(), log).unwrap();
        assert_eq!(driver.machine.failover_state(), FailoverState::WaitsForSync);
        driver.until("it is the primary again", |driver| {
            driver.machine.failover_state() == FailoverState::None && is_connected(driver)
        });
        assert!(!driver.is_paused && !driver.is_primary());
        assert!(wait_until(Duration::from_secs(10), || info(&mut client, "replication", "role") == "master"));
        assert_eq!(client.line("GET third").text(), Some("value"), "{kind}");
        assert_eq!(info(&mut client, "stats", "sync_full"), "1", "{kind}");
    }
}

//! Our side of the link to our primary.

mod common;

use common::{NOTHING, OURS, THEIRS, actions, id, log, machine, notes, psync, sent, there};
use replication::{Action, Config, Framing, History, LinkId, LinkState, Log, Machine, Ms, Role, Sync};

/// Up to the question, which is returned.
fn ask(machine: &mut Machine, now: u64, log: Log) -> String {
    say(machine, now, log, "PSYNC")
}

/// Up to the first command that begins so.
fn say(machine: &mut Machine, now: u64, log: Log, start: &str) -> String {
    machine.connected(Ms(now));
    for _ in 0..10 {
        let commands = sent(machine);
        match commands.last() {
            Some(last) if last.starts_with(start) => return last.clone(),
            Some(_) => machine.line(Ms(now), b"+OK", log),
            None => break,
        }
    }
    panic!("no {start}")
}

fn following(config: Config, log: Log) -> Machine {
    let mut machine = machine(config);
    assert!(machine.follow(Ms(0), there(), log));
    machine
}

/// A replica that has the stream up to 100, of which the log holds the last 50 bytes.
fn connected() -> Machine {
    let mut machine = following(Config::default(), NOTHING);
    ask(&mut machine, 0, NOTHING);
    machine.line(Ms(0), format!("+FULLRESYNC {} 100", id(THEIRS)).as_bytes(), NOTHING);
    machine.line(Ms(0), b"$10", NOTHING);
    machine.snapshot_loaded(Ms(0));
    actions(&mut machine);
    machine
}

#[test]
fn the_handshake_says_one_thing_at_a_time() {
    let config = Config {
        user: b"bob".to_vec(),
        password: b"sesame".to_vec(),
        announce_host: "here".to_owned(),
        announce_port: 7001,
        ..Config::default()
    };
    let mut machine = following(config, NOTHING);
    assert_eq!(actions(&mut machine), [Action::BecomeReplica, Action::Connect(there())]);
    machine.connected(Ms(1));
    let dialogue = [
        ("PING", "+PONG"),
        ("AUTH bob sesame", "+OK"),
        ("REPLCONF listening-port 7001", "+OK"),
        ("REPLCONF ip-address here", "-ERR Unrecognized REPLCONF option: ip-address"),
        ("REPLCONF capa eof capa psync2", "+OK"),
    ];
    for (ours, theirs) in dialogue {
        assert_eq!(sent(&mut machine), [ours]);
        machine.line(Ms(2), b"", NOTHING);
        assert!(actions(&mut machine).is_empty(), "an empty line is no answer");
        machine.line(Ms(2), theirs.as_bytes(), NOTHING);
    }
    assert_eq!(sent(&mut machine), ["PSYNC ? -1"]);
    assert_eq!(machine.upstream(Ms(2)).unwrap().state, LinkState::Handshake);

    machine.line(Ms(3), format!("+FULLRESYNC {} 1234", id(THEIRS)).as_bytes(), NOTHING);
    machine.line(Ms(3), b"", NOTHING);
    let mark = [b'm'; 40];
    machine.line(Ms(3), &[b"$EOF:", &mark[..]].concat(), NOTHING);
    assert_eq!(actions(&mut machine), [Action::ReceiveSnapshot(Framing::Mark(mark))]);
    assert_eq!(machine.upstream(Ms(3)).unwrap().state, LinkState::Sync);
    assert_eq!((machine.upstream_id(), machine.upstream_offset()), (id(THEIRS), 1234));
    assert_eq!(machine.history().id, id(OURS), "until the data are there");

    machine.snapshot_loaded(Ms(4));
    assert_eq!(*machine.history(), History::new(id(THEIRS)));
    let done = actions(&mut machine);
    assert_eq!(done[0], Action::Stream);
    assert_eq!(done.len(), 2, "and an acknowledgement at once, which a primary that has sent a mark waits for");
    assert_eq!(machine.upstream(Ms(4)).unwrap().state, LinkState::Connected);
}

#[test]
fn a_password_that_is_wanted_is_no_reason_to_go_before_auth() {
    for reply in
        ["-NOAUTH Authentication required.", "-NOPERM this user has no permissions", "-ERR operation not permitted"]
    {
        let mut machine = following(Config::default(), NOTHING);
        machine.connected(Ms(1));
        machine.line(Ms(1), reply.as_bytes(), NOTHING);
        assert_eq!(sent(&mut machine), ["PING", "REPLCONF listening-port 6379"]);
    }
}

#[test]
fn whatever_is_refused_is_tried_again_after_a_second() {
    let replies: [(&str, &str); 8] = [
        ("-DENIED Redis is running in protected mode", "protected mode"),
        ("-LOADING Redis is loading the dataset in memory", "Error reply to PING"),
        ("PSYNC -NOMASTERLINK Can't SYNC while not connected with my master", "should be in the future"),
        ("PSYNC -NOAUTH Authentication required.", "masterauth"),
        ("PSYNC -NOPERM no", "may not PSYNC"),
        ("PSYNC +FULLRESYNC short 1", "wrong +FULLRESYNC syntax"),
        ("PSYNC +FULLRESYNC 0123456789012345678901234567890123456789 -1", "wrong +FULLRESYNC syntax"),
        ("PSYNC +CONTINUE", "makes no sense"),
    ];
    for (reply, note) in replies {
        let mut machine = following(Config::default(), NOTHING);
        let reply = match reply.strip_prefix("PSYNC ") {
            Some(reply) => {
                ask(&mut machine, 5, NOTHING);
                reply
            }
            None => {
                machine.connected(Ms(5));
                reply
            }
        };
        notes(&mut machine);
        machine.line(Ms(5), reply.as_bytes(), NOTHING);
        let done = common::all(&mut machine);
        assert!(done.contains(&Action::Close), "{reply}");
        let told = done.iter().any(|action| matches!(action, Action::Note(_, text) if text.contains(note)));
        assert!(told, "{reply}: {done:?}");
        assert_eq!(machine.next_deadline(), Some(Ms(1005)), "{reply}");
        machine.handle_timeout(Ms(1004), NOTHING);
        assert!(actions(&mut machine).is_empty());
        machine.handle_timeout(Ms(1005), NOTHING);
        assert_eq!(actions(&mut machine), [Action::Connect(there())], "{reply}");
    }
}

#[test]
fn a_wrong_password_is_told_with_what_to_do() {
    let mut machine = following(Config { password: b"wrong".to_vec(), ..Config::default() }, NOTHING);
    machine.connected(Ms(0));
    machine.line(Ms(0), b"+PONG", NOTHING);
    assert_eq!(sent(&mut machine), ["PING", "AUTH wrong"]);
    machine.line(Ms(0), b"-WRONGPASS invalid username-password pair or user is disabled.", NOTHING);
    assert!(notes(&mut machine).contains("WRONGPASS") && machine.next_deadline() == Some(Ms(1000)));
}

#[test]
fn an_old_primary_gets_sync() {
    let mut machine = following(Config::default(), NOTHING);
    ask(&mut machine, 0, NOTHING);
    machine.line(Ms(0), b"-ERR unknown command 'PSYNC'", NOTHING);
    assert_eq!(actions(&mut machine), [Action::Send(b"SYNC\r\n".to_vec())]);
    machine.line(Ms(0), b"$18", NOTHING);
    machine.snapshot_loaded(Ms(0));
    assert_eq!(
        actions(&mut machine),
        [Action::ReceiveSnapshot(Framing::Length(18)), Action::Stream],
        "it knows no acknowledgements either"
    );
    assert_ne!(machine.history().id, id(OURS));
    machine.handle_timeout(Ms(1000), log(0, 0));
    assert!(actions(&mut machine).is_empty());
}

#[test]
fn nonsense_instead_of_a_snapshot_ends_the_link() {
    for line in ["$", "$x", "$-1", "$99999999999999999999999", "$EOF:short", "hello", "+OK", "-ERR no", "*1"] {
        let mut machine = following(Config::default(), NOTHING);
        ask(&mut machine, 0, NOTHING);
        machine.line(Ms(0), format!("+FULLRESYNC {} 0", id(THEIRS)).as_bytes(), NOTHING);
        machine.line(Ms(0), line.as_bytes(), NOTHING);
        assert_eq!(actions(&mut machine), [Action::Close], "{line}");
    }
}

#[test]
fn what_we_have_is_asked_to_go_on() {
    // A replica whose link has gone.
    let mut machine = connected();
    machine.applied(Ms(2000), 150, None);
    machine.disconnected(Ms(2000), "reset");
    machine.handle_timeout(Ms(2000), log(100, 150));
    assert_eq!(actions(&mut machine), [Action::Connect(there())], "at once, as it has lasted");
    assert_eq!(ask(&mut machine, 2000, log(100, 150)), format!("PSYNC {} 151", id(THEIRS)));
    machine.line(Ms(2000), b"+CONTINUE", log(100, 150));
    assert_eq!(*machine.history(), History::new(id(THEIRS)));
    assert_eq!(sent(&mut machine), ["REPLCONF ACK 150"]);

    // A primary that becomes a replica asks for the rest of its own stream.
    let mut machine = following(Config::default(), log(0, 70));
    assert_eq!(ask(&mut machine, 0, log(0, 70)), format!("PSYNC {} 71", id(OURS)));
    machine.line(Ms(0), format!("+CONTINUE {}", id(THEIRS)).as_bytes(), log(0, 70));
    assert_eq!(*machine.history(), History { id: id(THEIRS), second: Some((id(OURS), 70)) });
}

#[test]
fn a_server_that_was_restarted_asks_for_the_stream_that_others_know() {
    let mut machine = machine(Config::default());
    machine.restored(id(THEIRS), 500, id(3));
    assert_eq!(*machine.history(), History { id: id(3), second: Some((id(THEIRS), 500)) });
    machine.follow(Ms(0), there(), log(500, 500));
    assert_eq!(ask(&mut machine, 0, log(500, 500)), format!("PSYNC {} 501", id(THEIRS)));
    machine.line(Ms(0), b"+CONTINUE", log(500, 500));
    assert_eq!(*machine.history(), History::new(id(THEIRS)));

    // One that has gone on by itself since then does not.
    let mut machine = common::machine(Config::default());
    machine.restored(id(THEIRS), 500, id(3));
    machine.follow(Ms(0), there(), log(500, 530));
    assert_eq!(ask(&mut machine, 0, log(500, 530)), format!("PSYNC {} 531", id(3)));
}

#[test]
fn who_cannot_know_which_of_its_names_is_known_says_both() {
    // A primary since the offset 180, which has told its new name to a replica and has had no write.
    let promoted = || {
        let mut machine = connected();
        machine.promote(Ms(5), id(4), log(100, 180));
        machine.replconf(Ms(5), LinkId(1), "host", &[b"capa", b"psync2"], log(100, 180));
        let answer = psync(&mut machine, 5, 1, &id(THEIRS).to_string(), 181, log(100, 180));
        assert!(matches!(answer, Sync::Continue { .. }), "{answer:?}");
        actions(&mut machine);
        machine
    };
    let both = format!("REPLCONF other-replid {}:181", id(THEIRS));

    for reply in [&b"+OK"[..], b"-ERR Unrecognized REPLCONF option: other-replid"] {
        let mut machine = promoted();
        machine.follow(Ms(6), there(), log(100, 180));
        assert_eq!(say(&mut machine, 6, log(100, 180), "REPLCONF other"), both);
        machine.line(Ms(6), reply, log(100, 180));
        assert_eq!(sent(&mut machine), [format!("PSYNC {} 181", id(4))]);
        machine.line(Ms(6), format!("+CONTINUE {}", id(9)).as_bytes(), log(100, 180));
        assert_eq!(*machine.history(), History { id: id(9), second: Some((id(4), 180)) });
        assert_eq!(sent(&mut machine), ["REPLCONF ACK 180"]);
    }

    // What was written under the new name alone has no other.
    let mut machine = promoted();
    machine.follow(Ms(6), there(), log(100, 190));
    assert_eq!(say(&mut machine, 6, log(100, 190), "REPLCONF capa"), "REPLCONF capa eof capa psync2");
    machine.line(Ms(6), b"+OK", log(100, 190));
    assert_eq!(sent(&mut machine), [format!("PSYNC {} 191", id(4))]);
}

#[test]
fn a_promoted_replica_keeps_the_old_name_for_what_it_had() {
    let mut machine = connected();
    machine.promote(Ms(5), id(4), log(100, 180));
    assert_eq!(*machine.role(), Role::Primary);
    assert_eq!(*machine.history(), History { id: id(4), second: Some((id(THEIRS), 180)) });
    assert_eq!(actions(&mut machine), [Action::Close, Action::BecomePrimary]);
    assert!(machine.upstream(Ms(5)).is_none());
    // What was given up before the new was whole belongs to no stream.
    let mut machine = connected();
    machine.promote(Ms(5), id(4), NOTHING);
    assert_eq!(*machine.history(), History::new(id(4)));
}

#[test]
fn data_that_may_be_a_snapshots_already_have_no_name() {
    for promotes in [true, false] {
        let mut machine = following(Config::default(), log(0, 50));
        ask(&mut machine, 0, log(0, 50));
        machine.line(Ms(0), format!("+FULLRESYNC {} 100", id(THEIRS)).as_bytes(), log(0, 50));
        machine.line(Ms(0), b"$10", log(0, 50));
        // They are in place, and somebody is quicker than snapshot_loaded().
        if promotes {
            machine.promote(Ms(1), id(4), log(100, 100));
            assert_eq!(*machine.history(), History::new(id(4)));
        } else {
            machine.follow(Ms(1), replication::Address { host: "other".to_owned(), port: 1 }, log(100, 100));
            assert!(machine.history().id != id(OURS) && machine.history().second.is_none());
        }
    }
    // The old data are still there.
    let mut machine = following(Config::default(), log(0, 50));
    ask(&mut machine, 0, log(0, 50));
    machine.line(Ms(0), format!("+FULLRESYNC {} 100", id(THEIRS)).as_bytes(), log(0, 50));
    machine.line(Ms(0), b"$10", log(0, 50));
    machine.promote(Ms(1), id(4), log(0, 50));
    assert_eq!(machine.history().second, Some((id(OURS), 50)));
}

#[test]
fn acknowledgements_come_each_second_and_when_asked_for() {
    let mut machine = connected();
    assert_eq!(machine.next_deadline(), Some(Ms(1000)));
    machine.applied(Ms(900), 140, Some(150));
    machine.handle_timeout(Ms(1000), log(100, 140));
    assert_eq!(sent(&mut machine), ["REPLCONF ACK 140 FACK 140"], "nothing is on disk that was not applied");
    machine.applied(Ms(1100), 180, Some(170));
    machine.wants_ack(Ms(1100));
    assert_eq!(sent(&mut machine), ["REPLCONF ACK 180 FACK 170"]);
    assert_eq!(machine.next_deadline(), Some(Ms(2100)));
}

#[test]
fn silence_is_not_waited_out_for_ever() {
    let timeout_ms = Config::default().timeout_ms;
    // While connecting, in the handshake, before and in the snapshot.
    for stage in 0..4 {
        let mut machine = following(Config::default(), NOTHING);
        if stage >= 1 {
            ask(&mut machine, 0, NOTHING);
        }
        if stage >= 2 {
            machine.line(Ms(0), format!("+FULLRESYNC {} 0", id(THEIRS)).as_bytes(), NOTHING);
        }
        if stage >= 3 {
            machine.line(Ms(0), b"$10", NOTHING);
            machine.snapshot_progress(Ms(0), 5);
        }
        actions(&mut machine);
        machine.handle_timeout(Ms(timeout_ms), NOTHING);
        assert!(!actions(&mut machine).contains(&Action::Close), "{stage}");
        machine.handle_timeout(Ms(timeout_ms + 1), NOTHING);
        assert_eq!(actions(&mut machine), [Action::Close], "{stage}");
    }
    let mut machine = connected();
    machine.heard(Ms(500));
    machine.handle_timeout(Ms(timeout_ms + 501), log(100, 100));
    assert_eq!(actions(&mut machine), [Action::Close]);
    let report = machine.upstream(Ms(timeout_ms + 601)).unwrap();
    assert_eq!((report.down_since_ms, report.up_since_ms, report.down_total_ms), (Some(100), None, 100));
    // Tries are counted since the link was up, and in all.
    assert_eq!((report.attempts, report.attempts_total), (0, 1));
    machine.handle_timeout(Ms(timeout_ms + 601), log(100, 100));
    let report = machine.upstream(Ms(timeout_ms + 601)).unwrap();
    assert_eq!((report.attempts, report.attempts_total), (1, 2));
}

#[test]
fn a_primary_is_kept_patient_while_we_load() {
    let mut machine = following(Config::default(), NOTHING);
    ask(&mut machine, 0, NOTHING);
    machine.line(Ms(0), format!("+FULLRESYNC {} 0", id(THEIRS)).as_bytes(), NOTHING);
    machine.line(Ms(0), b"$10", NOTHING);
    actions(&mut machine);
    for second in 1..=3 {
        machine.snapshot_progress(Ms(second * 1000), 10);
        machine.handle_timeout(Ms(second * 1000), NOTHING);
        assert_eq!(actions(&mut machine), [Action::Send(b"\n".to_vec())]);
    }
    let report = machine.upstream(Ms(3000)).unwrap();
    assert_eq!((report.sync_total_bytes, report.sync_read_bytes), (Some(10), 10));
    machine.snapshot_failed(Ms(3000), "bad checksum");
    assert!(notes(&mut machine).contains("bad checksum"));
    assert_eq!(machine.next_deadline(), Some(Ms(4000)));
}

#[test]
fn to_follow_the_same_again_changes_nothing() {
    let mut machine = following(Config::default(), NOTHING);
    actions(&mut machine);
    let same = replication::Address { host: "THERE".to_owned(), port: 7000 };
    assert!(!machine.follow(Ms(1), same, NOTHING));
    assert!(actions(&mut machine).is_empty());
    let other = replication::Address { host: "there".to_owned(), port: 7001 };
    assert!(machine.follow(Ms(1), other.clone(), NOTHING));
    assert_eq!(actions(&mut machine), [Action::Close, Action::Connect(other)]);
}

#[test]
fn no_bytes_of_a_peer_are_a_panic() {
    use rand::Rng;
    let mut random = testkit::random_from(testkit::seed());
    let starts: [&[u8]; 8] = [b"+", b"-", b"$", b"$EOF:", b"+FULLRESYNC ", b"+CONTINUE ", b"-ERR ", b""];
    for _ in 0..20_000 {
        let mut machine = following(Config::default(), log(0, 10));
        machine.connected(Ms(0));
        for _ in 0..random.random_range(1..12) {
            let mut line = starts[random.random_range(0..starts.len())].to_vec();
            match random.random_range(0..3) {
                0 => line.extend((0..random.random_range(0..60)).map(|_| random.random::<u8>())),
                1 => line.extend(format!("{} {}", id(THEIRS), random.random_range(-5..500i64)).bytes()),
                _ => {}
            }
            machine.line(Ms(0), &line, log(0, 10));
            actions(&mut machine);
        }
    }
}

//! A full synchronisation over two connections, on both sides and in both dialects.

mod common;

use common::{NOTHING, OURS, THEIRS, acknowledge, actions, id, log, machine, notes, psync, there, words};
use replication::{
    Action, Config, Content, Dialect, Framing, LinkId, LinkState, Log, Machine, Ms, Replconf, ReplicaState, Sync,
    SyncRequest,
};

const MARK: [u8; 40] = [b'm'; 40];

fn config() -> Config {
    Config { rdb_channel: true, dual_channel: true, diskless_delay_ms: 0, ..Config::default() }
}

// ---------------------------------------------------------------------------------------------------------------------
// Replica
// ---------------------------------------------------------------------------------------------------------------------

/// What was sent, on which connection, in words; other actions by their names.
fn said(machine: &mut Machine) -> Vec<String> {
    let text = |action| match action {
        Action::Send(bytes) if bytes == b"\n" => "1: patience".to_owned(),
        Action::Send(bytes) => format!("1: {}", words(&bytes)),
        Action::SendOnChannel(bytes) if bytes == b"SYNC\r\n" => "2: SYNC".to_owned(),
        Action::SendOnChannel(bytes) => format!("2: {}", words(&bytes)),
        other => format!("{other:?}"),
    };
    actions(machine).into_iter().map(text).collect()
}

/// A replica that has asked, and was told to open a second connection.
fn offered(config: Config, answer: &str) -> Machine {
    let mut machine = machine(config);
    assert!(machine.follow(Ms(0), there(), NOTHING));
    machine.connected(Ms(0));
    for _ in 0..10 {
        if said(&mut machine).last().is_some_and(|last| last.starts_with("1: PSYNC")) {
            machine.line(Ms(1), answer.as_bytes(), NOTHING);
            return machine;
        }
        machine.line(Ms(0), b"+OK", NOTHING);
    }
    panic!("no PSYNC")
}

fn receive(framing: Framing, stream_db: Option<u32>) -> String {
    format!("{:?}", Action::ReceiveOnChannel { framing, stream_db })
}

#[test]
fn what_is_offered_is_what_is_configured() {
    for (rdb_channel, dual_channel, expected) in [
        (false, false, "REPLCONF capa eof capa psync2"),
        (true, false, "REPLCONF capa eof capa psync2 capa rdb-channel-repl"),
        (false, true, "REPLCONF capa eof capa psync2 capa dual-channel"),
        (true, true, "REPLCONF capa eof capa psync2 capa rdb-channel-repl capa dual-channel"),
    ] {
        let mut machine = machine(Config { rdb_channel, dual_channel, ..Config::default() });
        machine.follow(Ms(0), there(), NOTHING);
        machine.connected(Ms(0));
        said(&mut machine);
        machine.line(Ms(0), b"+PONG", NOTHING);
        machine.line(Ms(0), b"+OK", NOTHING);
        assert_eq!(said(&mut machine)[1], format!("1: {expected}"));
    }
}

#[test]
fn as_redis_says_it() {
    let config = Config { user: b"bob".to_vec(), password: b"sesame".to_vec(), announce_port: 7001, ..config() };
    let mut machine = offered(config, "+RDBCHANNELSYNC 42");
    assert_eq!(said(&mut machine), ["Keep", &format!("{:?}", Action::ConnectChannel(there()))]);
    assert!(!machine.channel_has_lines());
    machine.channel_connected(Ms(2));
    let dialogue = [
        ("AUTH bob sesame", "+OK"),
        ("REPLCONF capa eof rdb-only 1 rdb-channel 1 main-ch-client-id 42 listening-port 7001", "+OK"),
        ("PSYNC ? -1", ""),
    ];
    for (ours, theirs) in dialogue {
        assert_eq!(said(&mut machine), [format!("2: {ours}")]);
        assert!(machine.channel_has_lines());
        machine.channel_line(Ms(2), theirs.as_bytes());
    }
    assert_eq!(machine.upstream(Ms(2)).unwrap().state, LinkState::Sync);
    machine.channel_line(Ms(3), format!("+FULLRESYNC {} 1234", id(THEIRS)).as_bytes());
    machine.channel_line(Ms(3), b"");
    machine.channel_line(Ms(3), &[b"$EOF:", &MARK[..]].concat());
    assert!(!machine.channel_has_lines());
    assert_eq!(said(&mut machine), [receive(Framing::Mark(MARK), None)]);
    assert_eq!((machine.upstream_id(), machine.upstream_offset()), (id(THEIRS), 1234));
    machine.handle_timeout(Ms(1500), NOTHING);
    assert_eq!(said(&mut machine), ["1: patience"]);
    machine.snapshot_loaded(Ms(1600));
    assert_eq!(said(&mut machine), ["Stream", "1: REPLCONF ACK 1234"]);
    assert_eq!(machine.history().id, id(THEIRS));
}

#[test]
fn as_valkey_says_it() {
    // The snapshot may be announced before the first connection is where it should be, or behind that.
    for is_early in [true, false] {
        let mut machine = offered(Config { announce_port: 7001, ..config() }, "+DUALCHANNELSYNC");
        assert_eq!(said(&mut machine), [format!("{:?}", Action::ConnectChannel(there()))]);
        machine.channel_connected(Ms(2));
        assert_eq!(said(&mut machine), ["2: REPLCONF capa eof rdb-only 1 rdb-channel 1 listening-port 7001"]);
        machine.channel_line(Ms(2), b"+OK");
        assert_eq!(said(&mut machine), ["2: SYNC"]);
        machine.channel_line(Ms(2), format!("$ENDOFF:1234 {} 3 77", id(THEIRS)).as_bytes());
        assert_eq!(said(&mut machine), ["1: REPLCONF set-rdb-client-id 77"]);
        let announce = |machine: &mut Machine| machine.channel_line(Ms(3), b"$100");
        if is_early {
            announce(&mut machine);
            assert!(!machine.channel_has_lines());
        }
        machine.line(Ms(3), b"+OK", NOTHING);
        assert_eq!(said(&mut machine), [format!("1: PSYNC {} 1235", id(THEIRS))]);
        machine.line(Ms(3), format!("+CONTINUE {}", id(THEIRS)).as_bytes(), NOTHING);
        let received = receive(Framing::Length(100), Some(3));
        if is_early {
            assert_eq!(said(&mut machine), ["Keep", &received]);
        } else {
            assert_eq!(said(&mut machine), ["Keep"]);
            announce(&mut machine);
            assert_eq!(said(&mut machine), [received]);
        }
        machine.snapshot_loaded(Ms(9));
        assert_eq!(said(&mut machine), ["Stream", "1: REPLCONF ACK 1234"]);
    }
}

#[test]
fn when_either_connection_ends_both_do_and_it_is_tried_again() {
    for answer in ["+RDBCHANNELSYNC 1", "+DUALCHANNELSYNC"] {
        for lines in 0..4 {
            for is_first in [true, false] {
                let mut machine = offered(config(), answer);
                let cut = match answer {
                    "+DUALCHANNELSYNC" => format!("$ENDOFF:5 {} -1 7", id(THEIRS)),
                    _ => format!("+FULLRESYNC {} 5", id(THEIRS)),
                };
                machine.channel_connected(Ms(2));
                [b"+OK", cut.as_bytes(), b"$10"].iter().take(lines).for_each(|line| machine.channel_line(Ms(2), line));
                actions(&mut machine);
                if is_first {
                    machine.disconnected(Ms(3), "gone");
                } else {
                    machine.channel_disconnected(Ms(3), "gone");
                }
                assert_eq!(said(&mut machine), ["Close"], "{answer} {lines} {is_first}");
                assert_eq!(machine.history().id, id(OURS));
                machine.handle_timeout(Ms(1003), NOTHING);
                assert_eq!(actions(&mut machine), [Action::Connect(there())]);
            }
        }
    }
}

#[test]
fn nonsense_on_the_second_connection_ends_both() {
    for (answer, lines) in [
        ("+RDBCHANNELSYNC x", &[][..]),
        ("+RDBCHANNELSYNC 1", &["-ERR Unrecognized RDB client id: 1"][..]),
        ("+RDBCHANNELSYNC 1", &["+OK", "-NOMASTERLINK no"]),
        ("+RDBCHANNELSYNC 1", &["+OK", "+FULLRESYNC x 1"]),
        ("+RDBCHANNELSYNC 1", &["+OK", "+FULLRESYNC 0123456789012345678901234567890123456789 1", "+OK"]),
        ("+DUALCHANNELSYNC", &["+OK", "$ENDOFF:1"]),
        ("+DUALCHANNELSYNC", &["+OK", "$ENDOFF:1 0123456789012345678901234567890123456789 -1 x"]),
        ("+DUALCHANNELSYNC", &["+OK", "$EOF:0123456789012345678901234567890123456789"]),
    ] {
        let mut machine = offered(config(), answer);
        machine.channel_connected(Ms(2));
        lines.iter().for_each(|line| machine.channel_line(Ms(2), line.as_bytes()));
        assert!(actions(&mut machine).contains(&Action::Close), "{answer} {lines:?}");
        assert_eq!(machine.upstream(Ms(2)).unwrap().state, LinkState::Connect);
    }
    // And on the first.
    let mut machine = offered(config(), "+DUALCHANNELSYNC");
    machine.line(Ms(2), b"+FULLRESYNC", NOTHING);
    assert!(notes(&mut machine).contains("does not go on"));
}

#[test]
fn silence_of_both_is_not_waited_out_for_ever() {
    let mut machine = offered(config(), "+RDBCHANNELSYNC 1");
    actions(&mut machine);
    assert_eq!(machine.next_deadline(), Some(Ms(60_002)));
    machine.handle_timeout(Ms(60_002), NOTHING);
    assert_eq!(said(&mut machine), ["Close"]);
}

// ---------------------------------------------------------------------------------------------------------------------
// Primary
// ---------------------------------------------------------------------------------------------------------------------

const AT: Log = Log { first: Some(0), end: 100 };
const FIRST: LinkId = LinkId(1);
const SECOND: LinkId = LinkId(2);

fn tells(machine: &mut Machine, link: LinkId, line: &str) -> Replconf {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    machine.replconf(Ms(0), link, "host", &words, AT)
}

fn shown(machine: &Machine) -> Vec<(u64, &'static str)> {
    machine.replicas(Ms(0), AT).iter().map(|replica| (replica.link.0, replica.state.word())).collect()
}

/// Both connections of a replica, up to the snapshot that is asked for.
fn joined(dialect: Dialect) -> Machine {
    let mut machine = machine(config());
    match dialect {
        Dialect::Redis => {
            tells(&mut machine, FIRST, "capa eof capa psync2 capa rdb-channel-repl");
            assert_eq!(psync(&mut machine, 0, 1, "?", -1, AT), Sync::Wait);
            assert_eq!(actions(&mut machine), [Action::Reply(FIRST, b"+RDBCHANNELSYNC 1\r\n".to_vec())]);
            assert_eq!(shown(&machine), [(1, "wait_bgsave")]);
            let options = "capa eof rdb-only 1 rdb-channel 1 main-ch-client-id 1 listening-port 7000";
            assert_eq!(tells(&mut machine, SECOND, options), Replconf::Ok);
            assert_eq!(psync(&mut machine, 0, 2, "?", -1, AT), Sync::Second);
        }
        Dialect::Valkey => {
            tells(&mut machine, FIRST, "capa eof capa psync2 capa dual-channel");
            assert_eq!(psync(&mut machine, 0, 1, "?", -1, AT), Sync::Offer("DUALCHANNELSYNC"));
            assert_eq!((actions(&mut machine), shown(&machine)), (vec![], vec![]));
            assert_eq!(tells(&mut machine, SECOND, "capa eof rdb-only 1 rdb-channel 1"), Replconf::Ok);
            assert_eq!(machine.sync(Ms(0), SECOND, "host", SyncRequest::Sync, AT, id(9)), Sync::Wait);
        }
    }
    let links = vec![SECOND];
    let snapshot = Action::Snapshot { links, framing: Framing::Stream, content: Content::Everything };
    assert_eq!(actions(&mut machine), [snapshot]);
    machine
}

/// The first is fed, the snapshot is on its way.
fn beside(dialect: Dialect) -> Machine {
    let mut machine = joined(dialect);
    let name = machine.history().id;
    machine.cut(Ms(1), &[SECOND], 100, None);
    match dialect {
        Dialect::Redis => {
            let reply = format!("+FULLRESYNC {name} 100\r\n").into_bytes();
            assert_eq!(
                actions(&mut machine),
                [Action::Reply(SECOND, reply), Action::FeedBeside { link: FIRST, from: 100 }]
            );
        }
        Dialect::Valkey => {
            let reply = format!("$ENDOFF:100 {name} -1 2\r\n").into_bytes();
            assert_eq!(actions(&mut machine), [Action::Reply(SECOND, reply)]);
            assert!(machine.keeps_log_for(SECOND));
            assert_eq!(machine.waiting_for_first(), 1);
            assert_eq!(tells(&mut machine, FIRST, "set-rdb-client-id 2"), Replconf::Ok);
            assert_eq!(psync(&mut machine, 1, 1, &name.to_string(), 101, log(0, 150)), Sync::Second);
            let reply = format!("+CONTINUE {name}\r\n").into_bytes();
            assert_eq!(
                actions(&mut machine),
                [Action::Reply(FIRST, reply), Action::FeedBeside { link: FIRST, from: 100 }, Action::Release(SECOND)]
            );
        }
    }
    assert!(!machine.keeps_log_for(SECOND));
    assert_eq!(machine.waiting_for_first(), 0);
    assert_eq!(shown(&machine), [(1, ReplicaState::ReceivesBoth(dialect).word())], "the first stands for both");
    machine
}

#[test]
fn the_stream_goes_beside_the_snapshot() {
    for dialect in [Dialect::Redis, Dialect::Valkey] {
        let mut machine = beside(dialect);
        machine.ask_for_acks();
        assert!(matches!(actions(&mut machine)[..], [Action::Append(_)]), "it is fed");
        assert_eq!((machine.acknowledged(0), machine.good_replicas(Ms(1))), (0, 0), "and has nothing yet");
        // Nobody can have loaded what is still on its way.
        acknowledge(&mut machine, 2, 1, 100, log(0, 150));
        assert_eq!(machine.acknowledged(0), 0);
        machine.snapshot_sent(Ms(3), SECOND);
        let word = if dialect == Dialect::Redis { "online" } else { "bg_transfer" };
        assert_eq!(shown(&machine), [(1, word)]);
        assert_eq!(machine.acknowledged(0), 0);
        // Which of its two connections it ends first, and when it says that it has loaded, is all the same.
        machine.gone(Ms(4), SECOND);
        assert_eq!(actions(&mut machine), []);
        acknowledge(&mut machine, 5, 1, 120, log(0, 150));
        assert_eq!((machine.acknowledged(120), machine.acknowledged(121)), (1, 0));
        assert_eq!(shown(&machine), [(1, "online")]);
        machine.gone(Ms(6), FIRST);
        assert_eq!((actions(&mut machine), shown(&machine)), (vec![], vec![]));
    }
}

#[test]
fn half_a_pair_is_sent_away() {
    for dialect in [Dialect::Redis, Dialect::Valkey] {
        for (gone, other) in [(FIRST, SECOND), (SECOND, FIRST)] {
            let mut machine = beside(dialect);
            machine.gone(Ms(2), gone);
            let done = actions(&mut machine);
            assert!(matches!(&done[..], [Action::Disconnect { link, .. }] if *link == other), "{done:?}");
            assert!(shown(&machine).is_empty());
        }
        let mut machine = beside(dialect);
        machine.snapshot_failed_for(Ms(2), &[SECOND]);
        assert_eq!(actions(&mut machine).len(), 2);
    }
    // Before the cut.
    for (gone, other) in [(FIRST, SECOND), (SECOND, FIRST)] {
        let mut machine = joined(Dialect::Redis);
        machine.gone(Ms(2), gone);
        assert!(matches!(&actions(&mut machine)[..], [Action::Disconnect { link, .. }] if *link == other));
    }
}

#[test]
fn who_does_not_bring_the_other_connection_is_given_up() {
    let mut machine = machine(config());
    tells(&mut machine, FIRST, "capa eof capa rdb-channel-repl");
    psync(&mut machine, 0, 1, "?", -1, AT);
    actions(&mut machine);
    machine.handle_timeout(Ms(60_000), AT);
    assert_eq!(actions(&mut machine), []);
    machine.handle_timeout(Ms(60_001), AT);
    assert!(matches!(&actions(&mut machine)[..], [Action::Disconnect { link: FIRST, .. }]));

    let mut machine = joined(Dialect::Valkey);
    machine.cut(Ms(1), &[SECOND], 100, Some(3));
    machine.snapshot_sent(Ms(2), SECOND);
    actions(&mut machine);
    machine.handle_timeout(Ms(60_003), AT);
    assert!(matches!(&actions(&mut machine)[..], [Action::Disconnect { link: SECOND, .. }]));
    assert_eq!(
        tells(&mut machine, FIRST, "set-rdb-client-id 2"),
        Replconf::Error("ERR Unrecognized RDB client id 2".into())
    );
}

#[test]
fn who_loads_has_to_say_so() {
    for dialect in [Dialect::Redis, Dialect::Valkey] {
        let mut machine = beside(dialect);
        machine.handle_timeout(Ms(100_000), AT);
        machine.snapshot_sent(Ms(100_000), SECOND);
        actions(&mut machine);
        machine.gone(Ms(100_001), SECOND);
        machine.handle_timeout(Ms(159_000), AT);
        machine.sign_of_life(Ms(159_000), FIRST);
        machine.handle_timeout(Ms(161_000), AT);
        assert!(!actions(&mut machine).iter().any(|action| matches!(action, Action::Disconnect { .. })));
        machine.handle_timeout(Ms(219_001), AT);
        assert!(actions(&mut machine).iter().any(|action| matches!(action, Action::Disconnect { .. })));
    }
}

#[test]
fn one_connection_is_enough_where_there_is_no_snapshot_to_be_streamed() {
    for config in [
        Config { diskless: false, ..config() },
        Config { rdb_channel: false, dual_channel: false, ..config() },
        Config { rdb_channel: false, ..config() },
    ] {
        let mut machine = machine(config);
        tells(&mut machine, FIRST, "capa eof capa psync2 capa rdb-channel-repl");
        assert_eq!(psync(&mut machine, 0, 1, "?", -1, AT), Sync::Wait);
        assert!(matches!(actions(&mut machine)[..], [Action::Snapshot { .. }]));
    }
    // And where a part is enough.
    let mut machine = machine(config());
    tells(&mut machine, FIRST, "capa eof capa psync2 capa rdb-channel-repl capa dual-channel");
    assert!(matches!(psync(&mut machine, 0, 1, &id(OURS).to_string(), 101, AT), Sync::Continue { .. }));
}

#[test]
fn others_connections_cannot_be_taken() {
    let mut machine = beside(Dialect::Redis);
    for line in ["main-ch-client-id 1", "main-ch-client-id 2", "main-ch-client-id 3", "main-ch-client-id -1"] {
        assert!(matches!(tells(&mut machine, LinkId(3), line), Replconf::Error(_)), "{line}");
    }
    for line in ["set-rdb-client-id 1", "set-rdb-client-id 2", "set-rdb-client-id 3"] {
        assert!(matches!(tells(&mut machine, LinkId(3), line), Replconf::Error(_)), "{line}");
    }
}

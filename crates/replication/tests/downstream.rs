//! Our side of the links to our replicas, and FAILOVER.

mod common;

use common::{NOTHING, OURS, THEIRS, acknowledge, actions, id, join, log, machine, notes, psync, there, words};
use replication::{
    Action, Address, Config, Content, FailoverRequest, FailoverState, Framing, LinkId, Log, Machine, Ms, Replconf,
    ReplicaState, Sync, SyncRequest,
};

fn config() -> Config {
    Config { diskless_delay_ms: 0, ..Config::default() }
}

/// A primary with these replicas online, which have the stream up to 100.
fn with_replicas(config: Config, links: &[u64]) -> Machine {
    let mut machine = machine(config);
    for link in links {
        let from = psync_known(&mut machine, *link, 100);
        assert_eq!(from, 100);
    }
    actions(&mut machine);
    machine
}

fn psync_known(machine: &mut Machine, link: u64, offset: u64) -> u64 {
    let port = (7000 + link).to_string();
    machine.replconf(Ms(0), LinkId(link), "host", &[b"listening-port", port.as_bytes()], log(0, 100));
    let id = machine.history().id.to_string();
    match psync(machine, 0, link, &id, i64::try_from(offset).unwrap() + 1, log(0, 100)) {
        Sync::Continue { from, .. } => from,
        other => panic!("{other:?}"),
    }
}

fn refused(answer: Sync) -> String {
    match answer {
        Sync::Refuse(text) => text,
        other => panic!("{other:?}"),
    }
}

/// Replies as Redis 8.2 gives them (`version` and `set-rdb-client-id`: Valkey 9.1).
#[test]
fn replconf_replies_as_real_servers_do() {
    let long = "x".repeat(300);
    let too_long = format!("ip-address {long}");
    let silent = "";
    let other = format!("other-replid {}:12", id(THEIRS));
    let table: [(&str, &str); 36] = [
        ("listening-port 7777", "OK"),
        ("listening-port abc", "ERR value is not an integer or out of range"),
        ("listening-port", "ERR syntax error"),
        ("ip-address 1.2.3.4", "OK"),
        (&too_long, "ERR REPLCONF ip-address provided by replica instance is too long: 300 bytes"),
        ("capa eof", "OK"),
        ("CAPA psync2", "OK"),
        ("capa nonsense", "OK"),
        ("version 9.0.0", "OK"),
        ("version", "ERR syntax error"),
        ("version x", "ERR Unrecognized version format: x"),
        ("ack 12", silent),
        ("ack x", silent),
        ("ack 12 fack 10", silent),
        ("getack *", silent),
        ("getack", "ERR syntax error"),
        ("rdb-only 1", "OK"),
        ("rdb-only x", "ERR value is not an integer or out of range"),
        ("rdb-only 0", "OK"),
        ("rdb-filter-only functions", "OK"),
        ("rdb-filter-only nonsense", "ERR Unsupported rdb-filter-only option: nonsense"),
        ("rdb-filter-only", "ERR syntax error"),
        ("rdb-channel 0", "OK"),
        ("main-ch-client-id 7", "ERR Unrecognized RDB client id: 7"),
        ("set-rdb-client-id 7", "ERR Unrecognized RDB client id 7"),
        // Spinel's own.
        (&other, "OK"),
        ("other-replid", "ERR syntax error"),
        ("other-replid x:1", "ERR other-replid takes a replication id, a colon and an offset"),
        (&other[..54], "ERR other-replid takes a replication id, a colon and an offset"),
        (&other[..53], "ERR other-replid takes a replication id, a colon and an offset"),
        ("nonsense 1", "ERR Unrecognized REPLCONF option: nonsense"),
        ("NonSense 1", "ERR Unrecognized REPLCONF option: NonSense"),
        ("nonsense", "ERR syntax error"),
        ("", "OK"),
        ("listening-port 7777 capa eof capa psync2 rdb-only 0", "OK"),
        ("listening-port 7777 slot-info x", "ERR Unrecognized REPLCONF option: slot-info"),
    ];
    let mut machine = machine(config());
    for (line, expected) in table {
        let words: Vec<&[u8]> = line.split_ascii_whitespace().map(str::as_bytes).collect();
        let reply = match machine.replconf(Ms(0), LinkId(1), "host", &words, NOTHING) {
            Replconf::Ok => "OK".to_owned(),
            Replconf::Silent => String::new(),
            Replconf::Error(text) => text,
        };
        assert_eq!(reply, expected, "REPLCONF {line}");
    }
    assert!(machine.replicas(Ms(0), NOTHING).is_empty(), "who has not asked for data is no replica");
    assert_eq!(machine.acknowledged(0), 0);
}

#[test]
fn a_part_is_sent_if_it_is_of_the_same_stream_and_there() {
    let at = log(50, 100);
    let ours = id(OURS).to_string();
    let before = id(THEIRS).to_string();
    let unknown = id(7).to_string();
    let table = [
        (&ours, 101, Some(100)),
        (&ours, 51, Some(50)),
        (&ours, 50, None),
        (&ours, 102, None),
        (&ours, 0, None),
        (&ours, -1, None),
        (&ours, i64::MIN, None),
        (&ours, i64::MAX, None),
        // The stream before had this name up to 80, so that the byte 81 may be asked for.
        (&before, 81, Some(80)),
        (&before, 82, None),
        (&unknown, 100, None),
    ];
    for (name, offset, expected) in table {
        for understands in [false, true] {
            let mut machine = machine(config());
            machine.restored(id(THEIRS), 80, id(OURS));
            if understands {
                machine.replconf(Ms(0), LinkId(1), "host", &[b"capa", b"psync2"], at);
            }
            let reply = if understands { format!("+CONTINUE {ours}\r\n") } else { "+CONTINUE\r\n".to_owned() };
            let expected = expected.map_or(Sync::Wait, |from| Sync::Continue { reply: reply.into_bytes(), from });
            assert_eq!(psync(&mut machine, 0, 1, name, offset, at), expected, "{name} {offset}");
        }
    }
}

#[test]
fn either_of_two_names_is_enough_for_a_part() {
    let at = log(50, 100);
    let before = id(THEIRS).to_string();
    // What else it is called, at which offset, and where it wants to go on.
    let table = [
        (&before, 81, 81, Some(80)),
        (&before, 70, 70, Some(69)),
        (&before, 82, 82, None),
        // The other name counts for one offset only.
        (&before, 80, 81, None),
        (&before, 81, 80, None),
        (&id(OURS).to_string(), 101, 101, Some(100)),
        (&id(8).to_string(), 81, 81, None),
    ];
    for (other, other_offset, offset, expected) in table {
        for understands in [false, true] {
            let mut machine = machine(config());
            machine.restored(id(THEIRS), 80, id(OURS));
            let named = format!("{other}:{other_offset}");
            machine.replconf(Ms(0), LinkId(1), "host", &[b"other-replid", named.as_bytes()], at);
            if understands {
                machine.replconf(Ms(0), LinkId(1), "host", &[b"capa", b"psync2"], at);
            }
            let reply = format!("+CONTINUE {}\r\n", id(OURS)).into_bytes();
            let expected = match expected {
                Some(from) if understands => Sync::Continue { reply, from },
                _ => Sync::Wait,
            };
            assert_eq!(psync(&mut machine, 0, 1, &id(7).to_string(), offset, at), expected, "{named} {offset}");
        }
    }
}

#[test]
fn a_stream_begins_with_the_first_replica_and_has_a_name_of_its_own() {
    let mut machine = machine(config());
    // Nothing was counted: whoever knows our id from before cannot go on with it.
    assert_eq!(psync(&mut machine, 0, 1, &id(OURS).to_string(), 1, NOTHING), Sync::Wait);
    assert_eq!(machine.history().id, id(9));
    assert_eq!(
        actions(&mut machine),
        [Action::Snapshot { links: vec![LinkId(1)], framing: Framing::File, content: Content::Everything }]
    );
    machine.cut(Ms(1), &[LinkId(1)], 0, None);
    let line = format!("+FULLRESYNC {} 0\r\n", id(9));
    assert_eq!(actions(&mut machine), [Action::Reply(LinkId(1), line.into_bytes())]);
}

#[test]
fn those_who_come_within_the_delay_share_a_snapshot() {
    let mut machine = machine(Config { diskless_delay_ms: 5000, ..Config::default() });
    for link in 1..=3 {
        join(&mut machine, link * 1000, link, log(0, 0));
    }
    machine.handle_timeout(Ms(5999), log(0, 0));
    assert!(actions(&mut machine).iter().all(|action| matches!(action, Action::Patience(_))));
    machine.handle_timeout(Ms(6000), log(0, 0));
    let links = vec![LinkId(1), LinkId(2), LinkId(3)];
    let snapshot = Action::Snapshot { links: links.clone(), framing: Framing::Stream, content: Content::Everything };
    assert!(actions(&mut machine).contains(&snapshot));

    // Who comes now waits for the next, which begins when nothing is missing of this one.
    machine.cut(Ms(6000), &links, 10, None);
    join(&mut machine, 7000, 4, log(0, 0));
    machine.handle_timeout(Ms(20_000), log(0, 0));
    assert!(!actions(&mut machine).iter().any(|action| matches!(action, Action::Snapshot { .. })));
    machine.snapshot_made(Ms(20_000));
    let next = Action::Snapshot { links: vec![LinkId(4)], framing: Framing::Stream, content: Content::Everything };
    assert_eq!(actions(&mut machine), [next]);
}

#[test]
fn a_snapshot_need_not_wait_for_more_than_there_can_be() {
    let mut machine = machine(Config { diskless_delay_ms: 5000, diskless_replicas_max: 2, ..Config::default() });
    join(&mut machine, 0, 1, log(0, 0));
    assert!(actions(&mut machine).is_empty());
    join(&mut machine, 1, 2, log(0, 0));
    assert!(matches!(&actions(&mut machine)[..], [Action::Snapshot { links, .. }] if links.len() == 2));
}

#[test]
fn one_that_cannot_read_a_mark_makes_it_a_file_at_once() {
    let mut machine = machine(Config { diskless_delay_ms: 5000, ..Config::default() });
    join(&mut machine, 0, 1, log(0, 0));
    assert_eq!(machine.sync(Ms(10), LinkId(2), "host", SyncRequest::Sync, log(0, 0), id(9)), Sync::Wait);
    let links = vec![LinkId(1), LinkId(2)];
    assert_eq!(
        actions(&mut machine),
        [Action::Snapshot { links: links.clone(), framing: Framing::File, content: Content::Everything }]
    );
    machine.cut(Ms(10), &links, 0, None);
    assert_eq!(actions(&mut machine).len(), 1, "who says SYNC gets no line before it");
}

#[test]
fn tools_get_what_they_want_and_nothing_behind_it() {
    let mut machine = machine(config());
    let words: [&[u8]; 4] = [b"rdb-only", b"1", b"rdb-filter-only", b"functions"];
    machine.replconf(Ms(0), LinkId(1), "host", &words, log(0, 0));
    machine.sync(Ms(0), LinkId(1), "host", SyncRequest::Sync, log(0, 0), id(9));
    assert_eq!(
        actions(&mut machine),
        [Action::Snapshot { links: vec![LinkId(1)], framing: Framing::File, content: Content::Functions }]
    );
    machine.cut(Ms(0), &[LinkId(1)], 0, None);
    machine.snapshot_sent(Ms(0), LinkId(1));
    assert!(matches!(&actions(&mut machine)[..], [Action::Disconnect { link: LinkId(1), .. }]));
}

#[test]
fn behind_a_mark_the_stream_waits_for_the_first_acknowledgement() {
    for (framing, diskless) in [(Framing::Stream, true), (Framing::File, false)] {
        let mut machine = machine(Config { diskless, ..config() });
        join(&mut machine, 0, 1, log(0, 40));
        machine.cut(Ms(0), &[LinkId(1)], 40, None);
        assert_eq!(machine.replicas(Ms(0), log(0, 40))[0].state, ReplicaState::ReceivesSnapshot);
        actions(&mut machine);
        machine.snapshot_sent(Ms(0), LinkId(1));
        let feed = Action::Feed { link: LinkId(1), from: 40 };
        if framing == Framing::Stream {
            assert!(actions(&mut machine).is_empty());
            acknowledge(&mut machine, 1, 1, 40, log(0, 90));
        }
        assert_eq!(actions(&mut machine), [feed]);
        assert_eq!(machine.replicas(Ms(1), log(0, 90))[0].state, ReplicaState::Online);
    }
}

#[test]
fn a_snapshot_that_fails_sends_them_away() {
    let mut machine = machine(config());
    join(&mut machine, 0, 1, log(0, 0));
    actions(&mut machine);
    machine.snapshot_failed_for(Ms(0), &[LinkId(1), LinkId(2)]);
    assert!(matches!(&actions(&mut machine)[..], [Action::Disconnect { link: LinkId(1), .. }]));
    machine.gone(Ms(0), LinkId(1));
    join(&mut machine, 1, 2, log(0, 0));
    assert!(matches!(&actions(&mut machine)[..], [Action::Snapshot { .. }]), "and the next can come");
}

#[test]
fn those_who_wait_are_kept_patient_and_those_who_load_are_not_given_up() {
    let mut machine = machine(Config { diskless: false, ..config() });
    join(&mut machine, 0, 1, log(0, 0));
    machine.cut(Ms(0), &[LinkId(1)], 0, None);
    actions(&mut machine);
    for second in 1..=3 {
        machine.handle_timeout(Ms(second * 1000), log(0, 0));
        assert_eq!(actions(&mut machine), [Action::Patience(LinkId(1))]);
    }
    machine.snapshot_sent(Ms(4000), LinkId(1));
    actions(&mut machine);
    machine.sign_of_life(Ms(50_000), LinkId(1));
    machine.handle_timeout(Ms(110_000), log(0, 0));
    assert!(!actions(&mut machine).iter().any(|action| matches!(action, Action::Disconnect { .. })));
    machine.handle_timeout(Ms(110_001), log(0, 0));
    assert!(actions(&mut machine).iter().any(|action| matches!(action, Action::Disconnect { .. })));
}

/// As real servers do with a snapshot that is sent as it is made (Redis 8.2, Valkey 9.1): others wait for the slowest.
#[test]
fn who_takes_nothing_of_its_snapshot_is_given_up_and_who_is_sent_nothing_is_not() {
    for diskless in [true, false] {
        let mut machine = machine(Config { diskless, ..config() });
        (1..=2).for_each(|link| join(&mut machine, 0, link, log(0, 0)));
        let links = [LinkId(1), LinkId(2)];
        machine.cut(Ms(0), &links, 0, None);
        links.iter().for_each(|link| machine.snapshot_room(Ms(10), *link, false));
        machine.snapshot_room(Ms(20_000), LinkId(1), false);
        machine.snapshot_room(Ms(20_000), LinkId(2), true);
        let mut now = Ms(20_000);
        let gone = loop {
            now = machine.next_deadline().expect("there is something to wait for").max(now);
            machine.handle_timeout(now, log(0, 0));
            let gone = actions(&mut machine).into_iter().find_map(|action| match action {
                Action::Disconnect { link, why } => Some((link, why)),
                _ => None,
            });
            if let Some((link, why)) = gone {
                assert!(
                    why.contains("it has taken nothing of its snapshot for more than repl-timeout (60 s)"),
                    "{why}"
                );
                break link;
            }
        };
        assert_eq!((gone, now), (LinkId(1), Ms(80_001)));
        machine.handle_timeout(Ms(1_000_000), log(0, 0));
        assert_eq!(actions(&mut machine), [Action::Patience(LinkId(2))]);
    }
}

#[test]
fn telnet_need_not_acknowledge() {
    let mut machine = machine(config());
    machine.sync(Ms(0), LinkId(1), "host", SyncRequest::Sync, log(0, 0), id(9));
    machine.cut(Ms(0), &[LinkId(1)], 0, None);
    machine.snapshot_sent(Ms(0), LinkId(1));
    actions(&mut machine);
    machine.handle_timeout(Ms(1_000_000), log(0, 0));
    let done = actions(&mut machine);
    assert!(matches!(&done[..], [Action::Append(bytes)] if words(bytes) == "PING"), "{done:?}");
}

#[test]
fn acknowledgements_count() {
    let at = log(0, 200);
    let mut machine = with_replicas(config(), &[1, 2, 3]);
    assert_eq!(machine.acknowledged(100), 3, "they say that they have what they go on from");
    acknowledge(&mut machine, 10, 1, 150, at);
    acknowledge(&mut machine, 10, 2, 180, at);
    acknowledge(&mut machine, 10, 3, u64::MAX >> 1, at);
    assert_eq!((machine.acknowledged(150), machine.acknowledged(180), machine.acknowledged(200)), (3, 2, 1));
    assert_eq!(machine.acknowledged(201), 0, "nobody has what there is not");
    acknowledge(&mut machine, 11, 1, 120, at);
    assert_eq!(machine.acknowledged(150), 3, "nobody forgets");
    let by: Vec<u64> = (1..=4).map(|count| machine.acknowledged_by(count)).collect();
    assert_eq!(by, [200, 180, 150, 0]);

    assert_eq!(machine.acknowledged_on_disk(1), 0);
    machine.replconf(Ms(12), LinkId(1), "host", &[b"ack", b"160", b"fack", b"140"], at);
    assert_eq!((machine.acknowledged_on_disk(140), machine.acknowledged_on_disk(141)), (1, 0));
    machine.gone(Ms(13), LinkId(1));
    assert_eq!(machine.acknowledged_on_disk(1), 0);

    machine.ask_for_acks();
    let [Action::Append(bytes)] = &actions(&mut machine)[..] else { panic!("GETACK goes to all") };
    assert_eq!(words(bytes), "REPLCONF GETACK *");
}

#[test]
fn good_replicas_were_heard_of_lately() {
    let mut machine = with_replicas(Config { min_replicas_lag_ms: 10_000, ..config() }, &[1, 2]);
    acknowledge(&mut machine, 5000, 2, 100, log(0, 100));
    assert_eq!(machine.good_replicas(Ms(10_999)), 2);
    assert_eq!(machine.good_replicas(Ms(11_000)), 1);
    assert_eq!(machine.good_replicas(Ms(16_000)), 0);

    for (min_replicas, lacks) in [(0, false), (1, false), (2, true)] {
        machine.configure(Ms(11_000), Config { min_replicas, min_replicas_lag_ms: 10_000, ..config() });
        assert_eq!(machine.lacks_replicas(Ms(11_000)), lacks);
    }
}

#[test]
fn replicas_are_pinged_and_given_up_when_they_are_silent() {
    let at = log(0, 100);
    let mut machine = with_replicas(config(), &[1, 2]);
    let mut pings = Vec::new();
    let mut gone = Vec::new();
    while gone.len() < 2 {
        let now = machine.next_deadline().expect("there is something to wait for");
        assert!(now.0 < 200_000);
        acknowledge(&mut machine, now.0.min(30_000), 2, 100, at);
        machine.handle_timeout(now, at);
        for action in actions(&mut machine) {
            match action {
                Action::Append(bytes) if words(&bytes) == "PING" => pings.push(now.0),
                Action::Disconnect { link, .. } => gone.push((link.0, now.0)),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(gone, [(1, 60_001), (2, 90_001)]);
    assert_eq!(pings[..3], [0, 10_000, 20_000]);
}

#[test]
fn a_log_that_nobody_needs_is_dropped_and_its_name_forgotten() {
    let mut machine = with_replicas(Config { backlog_ttl_ms: 60_000, ..config() }, &[1]);
    machine.gone(Ms(10_000), LinkId(1));
    assert_eq!(machine.next_deadline(), Some(Ms(70_000)));
    machine.handle_timeout(Ms(70_000), log(0, 100));
    assert_eq!(actions(&mut machine), [Action::DropLog]);
    assert!(machine.history().id != id(OURS) && machine.history().second.is_none());
    assert_eq!(machine.next_deadline(), None);

    // Not a replica's, and not if it is to be kept for ever.
    for (ttl_ms, follows) in [(60_000, true), (0, false)] {
        let mut machine = with_replicas(Config { backlog_ttl_ms: ttl_ms, ..config() }, &[1]);
        if follows {
            machine.follow(Ms(0), there(), log(0, 100));
        }
        machine.gone(Ms(1), LinkId(1));
        machine.handle_timeout(Ms(70_000), log(0, 100));
        assert!(!actions(&mut machine).contains(&Action::DropLog));
    }
}

#[test]
fn a_replica_without_its_primary_takes_no_replicas() {
    let mut machine = machine(config());
    machine.follow(Ms(0), there(), log(0, 100));
    let ours = id(OURS).to_string();
    for request in [SyncRequest::Sync, SyncRequest::Psync { id: ours.as_bytes(), offset: 101, failover: false }] {
        assert_eq!(
            refused(machine.sync(Ms(0), LinkId(1), "host", request, log(0, 100), id(9))),
            "NOMASTERLINK Can't SYNC while not connected with my master"
        );
    }
}

#[test]
fn psync_with_failover_promotes_a_replica_of_the_same_stream() {
    let ask = |machine: &mut Machine, id: &str| {
        let request = SyncRequest::Psync { id: id.as_bytes(), offset: 101, failover: true };
        machine.sync(Ms(0), LinkId(1), "host", request, log(0, 100), common::id(9))
    };
    let ours = id(OURS).to_string();
    let mut machine = machine(config());
    assert_eq!(refused(ask(&mut machine, &ours)), "ERR PSYNC FAILOVER can't be sent to a master.");
    machine.follow(Ms(0), there(), log(0, 100));
    let other = id(THEIRS).to_string();
    assert_eq!(refused(ask(&mut machine, &other)), "ERR PSYNC FAILOVER replid must match my replid.");
    machine.replconf(Ms(0), LinkId(1), "host", &[b"capa", b"psync2"], log(0, 100));
    let reply = format!("+CONTINUE {}\r\n", id(9)).into_bytes();
    assert_eq!(ask(&mut machine, &ours), Sync::Continue { reply, from: 100 });
    assert!(actions(&mut machine).contains(&Action::BecomePrimary));
}

/// FAILOVER's errors, as Redis 8.2 and Valkey 9.1 give them.
#[test]
fn failover_is_refused_where_it_makes_no_sense() {
    let to = |port: u16| Some(Address { host: "host".to_owned(), port });
    let nobody = "ERR FAILOVER requires connected replicas.";
    let force = "ERR FAILOVER with force option requires both a timeout and target HOST and IP.";
    let stranger = "ERR FAILOVER target HOST and PORT is not a replica.";
    let offline = "ERR FAILOVER target replica is not online.";
    let at = log(0, 200);

    let mut machine = machine(config());
    assert_eq!(machine.failover(Ms(0), FailoverRequest::default(), at).unwrap_err(), nobody);
    let mut machine = with_replicas(config(), &[1]);
    machine.replconf(Ms(0), LinkId(2), "host", &[b"listening-port", b"7002"], at);
    psync(&mut machine, 0, 2, "?", -1, at);
    let table = [
        (FailoverRequest { force: true, ..Default::default() }, force),
        (FailoverRequest { force: true, to: to(7001), timeout_ms: None }, force),
        (FailoverRequest { force: true, to: None, timeout_ms: Some(5) }, force),
        (FailoverRequest { to: to(1), ..Default::default() }, stranger),
        (FailoverRequest { to: to(7002), ..Default::default() }, offline),
    ];
    for (request, expected) in table {
        assert_eq!(machine.failover(Ms(0), request, at).unwrap_err(), expected);
    }
    assert_eq!(machine.abort_failover(Ms(0)).unwrap_err(), "ERR No failover in progress.");
    machine.failover(Ms(0), FailoverRequest::default(), at).unwrap();
    let again = machine.failover(Ms(0), FailoverRequest::default(), at);
    assert_eq!(again.unwrap_err(), "ERR FAILOVER already in progress.");
    machine.abort_failover(Ms(0)).unwrap();
    machine.follow(Ms(0), there(), at);
    let replica = machine.failover(Ms(0), FailoverRequest::default(), at);
    assert_eq!(replica.unwrap_err(), "ERR FAILOVER is not valid when server is a replica.");
}

fn replica_asks(machine: &mut Machine, now: u64, at: Log) -> String {
    machine.connected(Ms(now));
    loop {
        match common::sent(machine).last() {
            Some(last) if last.starts_with("PSYNC") => return last.clone(),
            Some(_) => machine.line(Ms(now), b"+OK", at),
            None => panic!("no PSYNC"),
        }
    }
}

#[test]
fn failover_waits_for_the_target_and_hands_over() {
    let at = log(0, 200);
    let mut machine = with_replicas(config(), &[1, 2]);
    machine.failover(Ms(0), FailoverRequest::default(), at).unwrap();
    assert_eq!(actions(&mut machine), [Action::PauseWrites]);
    assert_eq!(machine.failover_state().word(), "waiting-for-sync");
    machine.ask_for_acks();
    machine.handle_timeout(Ms(10_000), at);
    assert!(actions(&mut machine).is_empty(), "the stream stands still");
    acknowledge(&mut machine, 10_001, 1, 199, at);
    assert!(actions(&mut machine).is_empty());
    acknowledge(&mut machine, 10_002, 2, 200, at);
    let target = Address { host: "host".to_owned(), port: 7002 };
    assert_eq!(actions(&mut machine), [Action::BecomeReplica, Action::Connect(target)]);
    assert_eq!(machine.failover_state().word(), "failover-in-progress");
    assert_eq!(replica_asks(&mut machine, 10_003, at), format!("PSYNC {} 201 FAILOVER", id(OURS)));
    machine.line(Ms(10_003), format!("+CONTINUE {}", id(THEIRS)).as_bytes(), at);
    assert_eq!(machine.failover_state(), FailoverState::None);
    assert!(actions(&mut machine).contains(&Action::ResumeWrites));
    assert_eq!(machine.history().second, Some((id(OURS), 200)));
}

#[test]
fn a_failover_that_is_refused_leaves_a_primary() {
    let at = log(0, 200);
    for how in 0..4 {
        let mut machine = with_replicas(config(), &[1]);
        machine.failover(Ms(0), FailoverRequest { timeout_ms: Some(5000), ..Default::default() }, at).unwrap();
        if how == 0 {
            machine.handle_timeout(Ms(5000), at);
            assert!(notes(&mut machine).contains("Replica never caught up before timeout"));
            assert_eq!(machine.history().id, id(OURS), "nothing has happened");
        } else {
            acknowledge(&mut machine, 1, 1, 200, at);
            if how > 1 {
                replica_asks(&mut machine, 2, at);
            }
            match how {
                1 => machine.abort_failover(Ms(3)).unwrap(),
                2 => machine.line(Ms(3), b"-ERR PSYNC FAILOVER replid must match my replid.", at),
                _ => machine.disconnected(Ms(3), "closed"),
            }
            assert_eq!(machine.history().second, Some((id(OURS), 200)), "{how}");
            assert_ne!(machine.history().id, id(OURS), "what comes now is another stream");
        }
        assert_eq!(machine.failover_state(), FailoverState::None);
        assert_eq!(*machine.role(), replication::Role::Primary, "{how}");
    }
}

#[test]
fn a_failover_by_force_does_not_wait_for_ever() {
    let at = log(0, 200);
    let mut machine = with_replicas(config(), &[1]);
    let target = Address { host: "HOST".to_owned(), port: 7001 };
    let request = FailoverRequest { to: Some(target.clone()), force: true, timeout_ms: Some(100) };
    machine.failover(Ms(0), request, at).unwrap();
    actions(&mut machine);
    assert_eq!(machine.next_deadline(), Some(Ms(100)));
    machine.handle_timeout(Ms(100), at);
    assert!(actions(&mut machine).contains(&Action::Connect(target)));
    replica_asks(&mut machine, 101, at);
    // It has promoted itself, but had less than we have.
    machine.line(Ms(101), format!("+FULLRESYNC {} 150", id(THEIRS)).as_bytes(), at);
    assert_eq!(machine.failover_state(), FailoverState::None);
}

#[test]
fn no_replconf_of_a_peer_is_a_panic_and_links_are_bounded() {
    use rand::Rng;
    let mut random = testkit::random_from(testkit::seed());
    let mut machine = machine(config());
    let names: [&[u8]; 9] =
        [b"ack", b"fack", b"capa", b"version", b"listening-port", b"ip-address", b"rdb-only", b"rdb-filter-only", b"x"];
    for number in 0..22_000 {
        let link = LinkId(number % 50);
        let mut words: Vec<Vec<u8>> = Vec::new();
        for _ in 0..random.random_range(0..3) {
            words.push(names[random.random_range(0..names.len())].to_vec());
            words.push((0..random.random_range(0..12)).map(|_| random.random_range(b'-'..b':')).collect());
        }
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        machine.replconf(Ms(number), link, "host", &words, log(0, 100));
        if random.random_bool(0.1) {
            psync(&mut machine, number, link.0, "?", random.random(), log(0, 100));
            machine.snapshot_made(Ms(number));
        }
        actions(&mut machine);
    }
    for link in 0..10_000 {
        machine.replconf(Ms(0), LinkId(link), "host", &[b"capa", b"eof"], log(0, 100));
    }
    let full = psync(&mut machine, 0, 1 << 40, "?", -1, log(0, 100));
    assert_eq!(refused(full), "ERR too many replicas");
}

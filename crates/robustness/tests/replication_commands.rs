//! What the commands of replication reply, and what others reply because of it. Redis 8.2 proves the tests.
//!
//! The primary that is named here is never reached: nobody listens at port 1.

use std::io::{Read, Write};
use std::time::Duration;

use robustness::{Place, Wire, against_both, replicas};
use testkit::{Client, Kind, Server, ServerOptions, Value, wait_until};

const DEADLINE: Duration = Duration::from_secs(30);

const READONLY: &str = "(error) READONLY You can't write against a read only replica.";
const STALE: &str = "(error) MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";

/// A reply as people read it, with quotes as they are.
fn shown(reply: &Value) -> String {
    reply.to_string().replace("\\'", "'")
}

/// Each reply begins so.
#[track_caller]
fn check(client: &mut Client, steps: &[(&str, &str)]) {
    for (line, expected) in steps {
        let reply = shown(&client.line(line));
        assert!(reply.starts_with(expected), "{line}: {reply}");
    }
}

fn eval(client: &mut Client, script: &str) -> String {
    shown(&client.command(&["EVAL", script, "0"]).expect("a reply"))
}

fn text(value: &Value) -> String {
    value.text().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn what_is_asked_wrongly() {
    against_both(&[], |server| {
        check(
            &mut server.client(),
            &[
                ("REPLICAOF localhost", "(error) ERR wrong number of arguments for 'replicaof' command"),
                ("REPLICAOF localhost abc", "(error) ERR Invalid master port"),
                ("REPLICAOF localhost 65536", "(error) ERR Invalid master port"),
                ("SLAVEOF localhost -1", "(error) ERR Invalid master port"),
                ("REPLICAOF no two", "(error) ERR Invalid master port"),
                ("SLAVEOF NO oNe", "OK"),
                ("ROLE x", "(error) ERR wrong number of arguments for 'role' command"),
                ("WAIT x 0", "(error) ERR value is not an integer or out of range"),
                ("WAIT 0 -1", "(error) ERR timeout is negative"),
                ("WAIT 1 1.5", "(error) ERR timeout is not an integer or out of range"),
                ("WAITAOF 2 0 0", "(error) ERR value is out of range, value must between 0 and 1"),
                ("FAILOVER", "(error) ERR FAILOVER requires connected replicas."),
                ("FAILOVER ABORT", "(error) ERR No failover in progress."),
                ("FAILOVER TO a b", "(error) ERR value is not an integer or out of range"),
                ("FAILOVER TO a 1 TO b 2", "(error) ERR syntax error"),
                ("FAILOVER TIMEOUT 0", "(error) ERR FAILOVER timeout must be greater than 0"),
                ("FAILOVER TO a 1 FORCE", "(error) ERR FAILOVER requires connected replicas."),
                ("PSYNC ?", "(error) ERR wrong number of arguments for 'psync' command"),
                ("PSYNC ? x", "(error) ERR value is not an integer or out of range"),
                ("SYNC x", "(error) ERR wrong number of arguments for 'sync' command"),
                ("DEBUG CHANGE-REPL-ID x", "(error) ERR "),
                (
                    "CONFIG SET slaveof x",
                    "(error) ERR CONFIG SET failed (possibly related to argument 'slaveof') - can't set immutable config",
                ),
                ("MULTI", "OK"),
                ("PSYNC ? -1", "(error) ERR Command not allowed inside a transaction"),
                ("SYNC", "(error) ERR Command not allowed inside a transaction"),
                ("DISCARD", "OK"),
            ],
        );
        let mut wire = Wire::connect(&Place::Tcp(server.address())).expect("the server accepts");
        for name in ["PSYNC ? -1", "SYNC"] {
            wire.write_all(format!("PING\r\n{name}\r\n").as_bytes()).expect("sent");
            wire.expect(b"+PONG\r\n-ERR SYNC and PSYNC are invalid with pending output\r\n");
        }
    });
}

#[test]
fn a_replica_says_whose_it_is_and_takes_no_writes() {
    against_both(&[], |server| {
        let mut client = server.client();
        check(
            &mut client,
            &[
                ("SET a 1", "OK"),
                ("REPLICAOF 127.0.0.1 1", "OK"),
                ("REPLICAOF 127.0.0.1 1", "OK Already connected to specified master"),
                ("SET a 2", READONLY),
                ("GETEX a", READONLY),
                ("BITFIELD a GET u8 0", READONLY),
                ("SORT a", READONLY),
                ("FLUSHALL", READONLY),
                ("SWAPDB 0 1", READONLY),
                ("FUNCTION FLUSH", READONLY),
                ("RESTORE b 0 x", READONLY),
                ("GET a", "\"1\""),
                ("PFCOUNT b", "(integer) 0"),
                ("PUBLISH a b", "(integer) 0"),
                ("SCRIPT FLUSH", "OK"),
                (
                    "WAIT 0 0",
                    "(error) ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 ",
                ),
                (
                    "WAITAOF 0 0 0",
                    "(error) ERR WAITAOF cannot be used with replica instances. Please also note that writes ",
                ),
                ("FAILOVER", "(error) ERR FAILOVER is not valid when server is a replica."),
                ("MULTI", "OK"),
                ("SET a 3", READONLY),
                ("EXEC", "(error) EXECABORT Transaction discarded because of previous errors."),
            ],
        );
        let role = client.line("ROLE");
        let role: Vec<String> = role.elements().expect("an array").iter().map(text).collect();
        assert_eq!(role[..3], ["slave", "127.0.0.1", "(integer) 1"]);
        assert_eq!((role[3].starts_with("connect"), &*role[4]), (true, "(integer) -1"));
        assert!(client.line("CONFIG GET replicaof").to_string().contains("127.0.0.1 1"));
        assert!(client.line("HELLO").to_string().contains("\"replica\""));
        assert_eq!(eval(&mut client, "return redis.pcall('SET', 'a', 1)"), READONLY);
        assert_eq!(eval(&mut client, "#!lua\nreturn 1"), READONLY);
        assert_eq!(eval(&mut client, "#!lua flags=no-writes\nreturn 1"), "(integer) 1");
        check(&mut client, &[("CONFIG SET replica-read-only no", "OK"), ("MULTI", "OK"), ("SET a 3", "QUEUED")]);
        check(&mut server.client(), &[("CONFIG SET replica-read-only yes", "OK")]);
        let discarded = READONLY.replace("(error) ", "(error) EXECABORT Transaction discarded because of: ");
        check(&mut client, &[("EXEC", &discarded), ("REPLICAOF NO ONE", "OK"), ("SET a 4", "OK")]);
    });
}

#[test]
fn a_replica_without_its_primary_keeps_silent_where_it_is_told_to() {
    against_both(&["--replica-serve-stale-data", "no"], |server| {
        let mut client = server.client();
        check(
            &mut client,
            &[
                ("SET a 1", "OK"),
                ("REPLICAOF 127.0.0.1 1", "OK"),
                ("GET a", STALE),
                ("SET a 1", READONLY),
                ("PING", STALE),
                ("DBSIZE", STALE),
                ("WAIT 0 0", STALE),
                ("PSYNC ? -1", STALE),
                ("BGSAVE", STALE),
                ("FUNCTION LIST", STALE),
                ("XREAD STREAMS a 0", STALE),
                ("ECHO x", "\"x\""),
                ("PUBLISH a b", "(integer) 0"),
                ("SELECT 1", "OK"),
                ("WATCH a", "OK"),
                ("FCALL f 0", "(error) ERR Function not found"),
                ("FAILOVER", "(error) ERR FAILOVER is not valid when server is a replica."),
                ("MULTI", "OK"),
            ],
        );
        assert_eq!(eval(&mut client, "return 1"), "QUEUED");
        assert_eq!(client.line("EXEC").elements().expect("an array").first().map(shown).as_deref(), Some(STALE));
        assert_eq!(eval(&mut client, "return 1"), STALE);
        assert_eq!(eval(&mut client, "#!lua\nreturn 1"), READONLY);
        assert_eq!(eval(&mut client, "#!lua flags=no-writes\nreturn 1"), STALE);
        assert_eq!(eval(&mut client, "#!lua flags=allow-stale,no-writes\nreturn 1"), "(integer) 1");
        let reply = eval(&mut client, "#!lua flags=allow-stale,no-writes\nreturn redis.call('GET', 'a')");
        assert!(reply.starts_with("(error) ERR Can not execute the command on a stale replica script: "), "{reply}");
        check(&mut client, &[("REPLICAOF NO ONE", "OK"), ("SELECT 0", "OK"), ("GET a", "\"1\"")]);
    });
}

#[test]
fn who_waits_is_sent_away_when_the_server_becomes_a_replica() {
    against_both(&[], |server| {
        let mut waiting = [server.client(), server.client(), server.client()];
        for (client, line) in waiting.iter_mut().zip(["WAIT 1 0", "BLPOP nothing 0", "WAITAOF 0 1 0"]) {
            client.line("SET a 1");
            client.queue(&line.split(' ').collect::<Vec<_>>());
            client.flush().expect("sent");
        }
        assert!(wait_until(DEADLINE, || robustness::info(server, "blocked_clients") == 3));
        check(&mut server.client(), &[("REPLICAOF 127.0.0.1 1", "OK")]);
        for client in &mut waiting {
            assert_eq!(
                client.receive().expect("a reply").to_string(),
                "(error) UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
            );
            assert!(client.receive().is_err(), "the connection ends");
        }
    });
}

#[test]
fn who_waits_for_a_disk_is_told_that_there_is_none_any_more() {
    against_both(&["--appendonly", "yes"], |server| {
        let mut client = server.client();
        client.line("SET a 1");
        client.queue(&["WAITAOF", "1", "1", "0"]);
        client.flush().expect("sent");
        assert!(wait_until(DEADLINE, || robustness::info(server, "blocked_clients") == 1));
        check(&mut server.client(), &[("CONFIG SET appendonly no", "OK")]);
        assert_eq!(
            client.receive().expect("a reply").to_string(),
            "(error) ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
        );
    });
}

/// What REPLICAOF has said outlives a rewrite of the file.
#[test]
fn the_file_follows_the_command() {
    for kind in [Kind::Redis82, Kind::Spinel] {
        if testkit::program(kind).is_none() {
            testkit::skip_aloud(&format!("no {kind} here (run tools/peers.sh, or build spinel)"));
            continue;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("server.conf");
        std::fs::write(&file, "replicaof 127.0.0.1 2\n").expect("written");
        // The file comes before all options.
        let start = format!("exec \"$0\" {} \"$@\"", file.display());
        let server = ServerOptions::new(kind).wrapper(&["sh", "-c", &start]).start();
        let server = server.expect("a server that is there starts");
        let has_line = |line: &str| std::fs::read_to_string(&file).expect("a file").lines().any(|own| own == line);
        let mut client = server.client();
        check(&mut client, &[("REPLICAOF 127.0.0.1 1", "OK"), ("CONFIG REWRITE", "OK")]);
        assert!(has_line("replicaof 127.0.0.1 1"));
        check(&mut client, &[("REPLICAOF NO ONE", "OK"), ("CONFIG REWRITE", "OK")]);
        assert!(!std::fs::read_to_string(&file).expect("a file").contains("replicaof 127"));
    }
}

/// A replica that loads a snapshot replies as little as one that starts, and a transaction that was queued before is one error.
#[test]
fn what_was_queued_before_a_snapshot_comes_is_discarded_as_a_whole() {
    const LOADING: &str = "(error) LOADING Redis is loading the dataset in memory";
    for kind in [Kind::Redis82, Kind::Spinel] {
        let slow = ["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"];
        let (Some(primary), Some(replica)) = (replicas::start(kind, &[]), replicas::start(kind, &slow)) else {
            continue;
        };
        println!("with two of {kind}:");
        check(&mut primary.client(), &[("DEBUG POPULATE 1000000", "OK")]);
        let mut clients: Vec<Client> = ["GET a", "INFO", "SET a 1"]
            .iter()
            .map(|line| {
                let mut client = replica.client();
                check(&mut client, &[("MULTI", "OK"), (line, "QUEUED")]);
                client
            })
            .collect();
        replicas::follow(&replica, &primary);
        assert!(wait_until(DEADLINE, || shown(&replica.client().line("GET a")) == LOADING), "{}", replica.log());
        let discarded =
            |reason: &str| reason.replace("(error) ", "(error) EXECABORT Transaction discarded because of: ");
        check(&mut clients[0], &[("EXEC", &discarded(LOADING)), ("GET a", LOADING), ("SET a 1", READONLY)]);
        assert!(clients[1].line("EXEC").elements().is_some_and(|replies| replies.len() == 1));
        check(&mut clients[2], &[("EXEC", &discarded(READONLY))]);
        check(
            &mut clients[0],
            &[
                ("MULTI", "OK"),
                ("GET a", LOADING),
                ("EXEC", "(error) EXECABORT Transaction discarded because of previous"),
            ],
        );
    }
}

/// A primary, and a replica that connects to it from another address, of either kind.
fn pairs(test: impl Fn(&Server, &Server)) {
    for kind in [Kind::Redis82, Kind::Spinel] {
        let (Some(primary), Some(replica)) =
            (replicas::start(kind, &[]), replicas::start(kind, &["--bind-source-addr", "127.0.0.3"]))
        else {
            continue;
        };
        println!("with two of {kind}:");
        replicas::follow(&replica, &primary);
        replicas::wait_linked(&replica);
        replicas::wait_for_replicas(&primary, 1);
        test(&primary, &replica);
    }
}

#[test]
fn a_replica_comes_from_where_it_is_told_to_as_far_as_it_can() {
    pairs(|primary, replica| {
        let slave = replicas::replication(&mut primary.client())["slave0"].clone();
        assert!(slave.starts_with("ip=127.0.0.3,"), "{slave}");
        // Nobody has this address: it is said, and any other will do.
        check(&mut replica.client(), &[("CONFIG SET bind-source-addr 192.0.2.1", "OK"), ("REPLICAOF NO ONE", "OK")]);
        replicas::follow(replica, primary);
        replicas::wait_linked(replica);
        let is_plain =
            || replicas::replication(&mut primary.client()).values().any(|text| text.starts_with("ip=127.0.0.1,"));
        assert!(wait_until(DEADLINE, is_plain));
    });
}

#[test]
fn counters_begin_anew() {
    pairs(|primary, replica| {
        let counters = ["sync_full", "sync_partial_ok", "sync_partial_err", "total_net_repl_output_bytes"];
        let count = |server: &Server| counters.map(|name| robustness::info(server, name));
        assert!(count(primary)[0] > 0);
        check(&mut primary.client(), &[("CONFIG RESETSTAT", "OK")]);
        assert_eq!(count(primary)[..3], [0, 0, 0]);
        // What comes without being asked for may come at once.
        let is_small = || {
            check(&mut replica.client(), &[("CONFIG RESETSTAT", "OK")]);
            robustness::info(replica, "total_net_repl_input_bytes") == 0
        };
        assert!(wait_until(DEADLINE, is_small));
    });
}

/// What clients write to a replica with an expiry goes when its time comes: the primary will not say so.
#[test]
fn keys_of_a_writable_replica_expire() {
    pairs(|primary, replica| {
        let mut client = replica.client();
        check(
            &mut client,
            &[("CONFIG SET replica-read-only no", "OK"), ("SET own 1 EX 1000", "OK"), ("INCR own", "(integer) 2")],
        );
        let tracked = || robustness::info(replica, "slave_expires_tracked_keys");
        assert_eq!(tracked(), 1);
        check(
            &mut client,
            &[
                ("SET soon 1 PX 1", "OK"),
                ("SELECT 3", "OK"),
                ("RPUSH soon 1", "(integer) 1"),
                ("PEXPIRE soon 1", "(integer) 1"),
                ("SELECT 0", "OK"),
            ],
        );
        assert_eq!(eval(&mut client, "return redis.call('SET', 'script', 1, 'PX', 1)"), "OK");
        let keys = |client: &mut Client| text(&client.line("INFO keyspace")).matches("keys=").count();
        assert!(wait_until(DEADLINE, || client.line("DBSIZE").integer() == Some(1) && keys(&mut client) == 1));
        assert_eq!((tracked(), robustness::info(replica, "expired_keys")), (1, 3));
        // What the primary says of such a key holds.
        check(&mut primary.client(), &[("SET own 3", "OK")]);
        replicas::wait_equal_offsets(primary, replica);
        check(&mut client, &[("PTTL own", "(integer) -1"), ("SET own 1 EX 1000", "OK"), ("FLUSHALL", "OK")]);
        assert_eq!(tracked(), 0);
    });
}

#[test]
fn the_link_to_the_primary_is_refused_nothing() {
    pairs(|_, replica| {
        let list = text(&replica.client().line("CLIENT LIST TYPE master"));
        assert!(list.contains(" user=(superuser) "), "{list}");
    });
}

/// The names of fields of a section of INFO.
fn names(server: &Server, section: &str) -> Vec<String> {
    let reply = server.client().command(&["INFO", section]).expect("a reply");
    let text = reply.text().expect("INFO is text");
    text.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
}

#[test]
fn info_has_the_fields_of_redis_in_their_order() {
    let start = |kind: Kind| testkit::program(kind).map(|_| Server::start(kind, &[]).expect("it starts"));
    let (Some(redis), Some(spinel)) = (start(Kind::Redis82), start(Kind::Spinel)) else {
        return testkit::skip_aloud("not both servers are here (run tools/peers.sh, or build spinel)");
    };
    for primary in ["REPLICAOF NO ONE", "REPLICAOF 127.0.0.1 1"] {
        for server in [&redis, &spinel] {
            check(&mut server.client(), &[(primary, "OK")]);
        }
        let ours = names(&spinel, "replication");
        let mut rest = ours.iter();
        for name in names(&redis, "replication") {
            assert!(rest.any(|own| *own == name), "no {name} in its place, after {primary}: {ours:?}");
        }
    }
}

/// What a client tells of itself before it asks for data is forgotten when it goes: so many at once would be refused.
#[test]
fn clients_that_have_told_something_and_gone_do_not_add_up() {
    against_both(&[], |server| {
        let [_, place] = Place::of(server);
        let mut reply = [0; 5];
        for _ in 0..10_500 {
            let mut wire = Wire::connect(&place).expect("it accepts");
            wire.write_all(b"REPLCONF listening-port 7000\r\n").expect("it is sent");
            wire.read_exact(&mut reply).expect("an answer");
            assert_eq!(&reply, b"+OK\r\n");
        }
    });
}

/// With an append-only file and without replicas the offset counts commands, MULTI and EXEC among them; a stream begins where it has come to.
/// After a restart Redis goes on from there, and Valkey and Spinel begin at 0.
#[test]
fn a_file_alone_counts_commands() {
    for kind in [Kind::Redis82, Kind::Valkey91, Kind::Spinel] {
        let (Some(mut primary), Some(replica)) =
            (replicas::start(kind, &["--save", ""]), replicas::start(Kind::Spinel, &[]))
        else {
            continue;
        };
        println!("{kind}:");
        let mut client = primary.client();
        let mut offset = || {
            let told = replicas::replication(&mut client)["master_repl_offset"].parse::<i64>().expect("a number");
            let role = client.line("ROLE");
            assert_eq!(role.elements().and_then(|role| role[1].integer()), Some(told));
            told
        };
        let mut writing = primary.client();
        let mut write = |lines: &[&str]| lines.iter().for_each(|line| drop(writing.line(line)));
        write(&["SET a 1"]);
        assert_eq!(offset(), 0, "there is no file");
        write(&["CONFIG SET appendonly yes"]);
        assert!(wait_until(DEADLINE, || robustness::info(&primary, "aof_rewrite_in_progress") == 0
            && robustness::info(&primary, "aof_rewrite_scheduled") == 0));
        write(&["SET a 1", "SELECT 3", "INCR n", "GET n", "DEL nothing"]);
        assert_eq!(offset(), 2);
        write(&["MULTI", "SET b 1", "INCR n", "EXEC"]);
        assert_eq!(offset(), 6);
        replicas::follow(&replica, &primary);
        replicas::wait_linked(&replica);
        assert!(offset() >= 6);
        write(&["SET a 2"]);
        replicas::assert_equal(&primary, &replica);
        if kind != Kind::Redis82 {
            drop(replica);
            primary.terminate(DEADLINE).expect("it ends");
            primary.restart(&["--appendonly", "yes"]).expect("it starts again");
            let told = replicas::replication(&mut primary.client());
            assert_eq!(told["master_repl_offset"], "0");
            primary.client().line("SET a 3");
            assert_eq!(replicas::replication(&mut primary.client())["master_repl_offset"], "1");
        }
    }
}

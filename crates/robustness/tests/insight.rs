//! What a server tells of its work: MONITOR, SLOWLOG, COMMANDLOG, LATENCY, HOTKEYS, and the fields of INFO.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use robustness::{against_both, info};
use testkit::{Client, Kind, Server, ServerOptions, Value, program, skip_aloud, wait_until};

const DEADLINE: Duration = Duration::from_secs(30);

/// With one event loop, and with several.
fn at_threads(arguments: &[&str], test: impl Fn(&Server)) {
    for threads in ["1", "4"] {
        println!("io-threads {threads}:");
        against_both(&[&["--io-threads", threads, "--enable-debug-command", "yes"], arguments].concat(), &test);
    }
}

/// Spinel, if it is there.
fn spinel(arguments: &[&str]) -> Option<Server> {
    if program(Kind::Spinel).is_none() {
        skip_aloud("no spinel here (build it)");
        return None;
    }
    Some(ServerOptions::new(Kind::Spinel).arguments(arguments.iter().copied()).start().expect("it starts"))
}

fn monitor(server: &Server) -> Client {
    let mut client = server.client();
    assert_eq!(client.line("MONITOR").text(), Some("OK"));
    client
}

/// The next line of a monitor, without the time and the client's port.
fn shown(monitor: &mut Client) -> String {
    let line = monitor.receive().unwrap_or_else(|error| panic!("no line: {error}"));
    let (time, rest) = line.text().expect("a line is text").split_once(' ').expect("the time, and more");
    let (seconds, micros) = time.split_once('.').expect("seconds and microseconds");
    assert!(seconds.parse::<u64>().is_ok() && micros.len() == 6, "{time}");
    let (source, command) = rest.split_once("] ").expect("who, and what");
    let source = source.replace("127.0.0.1:", "");
    let source = if source.ends_with(|last: char| last.is_ascii_digit()) {
        source.split(' ').next().expect("a database").to_owned() + " client"
    } else {
        source
    };
    format!("{source}] {command}")
}

fn send(client: &mut Client, line: &str) {
    client.queue(&line.split_ascii_whitespace().collect::<Vec<_>>());
    client.flush().expect("the server reads");
}

#[test]
fn monitors_see_what_is_executed() {
    at_threads(&[], |server| {
        let mut monitor = monitor(server);
        let mut client = server.client();
        for line in [
            "SET a 1",
            "nosuch a",
            "GET",
            "LPUSH a 1",
            "CONFIG GET port",
            "MULTI",
            "get a",
            "nosuch",
            "EXEC",
            "MULTI",
            "INCR a",
            "LPUSH a 1",
            "EXEC",
            "MULTI",
            "INCR a",
            "DISCARD",
            "AUTH secret",
            "HELLO 2 AUTH default secret SETNAME me",
            "SELECT 3",
        ] {
            client.line(line);
        }
        client
            .command(&["EVAL", "redis.call('set', KEYS[1], 1) return redis.pcall('lpush', KEYS[1], 1)", "1", "k"])
            .unwrap();
        client.line("EVALSHA ffffffffffffffffffffffffffffffffffffffff 0");
        client.command(&[&b"SET"[..], b"k", b"\x00\xff\"\\\n\r\t\x07\x08 '"]).unwrap();
        for expected in [
            r#"[0 client] "SET" "a" "1""#,
            r#"[0 client] "LPUSH" "a" "1""#,
            r#"[0 client] "MULTI""#,
            r#"[0 client] "EXEC""#,
            r#"[0 client] "MULTI""#,
            r#"[0 client] "INCR" "a""#,
            r#"[0 client] "LPUSH" "a" "1""#,
            r#"[0 client] "EXEC""#,
            r#"[0 client] "MULTI""#,
            r#"[0 client] "DISCARD""#,
            r#"[0 client] "AUTH" "(redacted)""#,
            r#"[0 client] "HELLO" "2" "AUTH" "(redacted)" "(redacted)" "SETNAME" "me""#,
            r#"[3 client] "SELECT" "3""#,
            r#"[3 client] "EVAL" "redis.call('set', KEYS[1], 1) return redis.pcall('lpush', KEYS[1], 1)" "1" "k""#,
            r#"[3 lua] "set" "k" "1""#,
            r#"[3 lua] "lpush" "k" "1""#,
            r#"[3 client] "EVALSHA" "ffffffffffffffffffffffffffffffffffffffff" "0""#,
            r#"[3 client] "SET" "k" "\x00\xff\"\\\n\r\t\a\b '""#,
        ] {
            assert_eq!(shown(&mut monitor), expected);
        }
        // Who blocks is shown once, when it begins to wait.
        let mut waiting = server.client();
        send(&mut waiting, "BLPOP queue 0");
        assert!(wait_until(DEADLINE, || info(server, "blocked_clients") == 1));
        let mut line = shown(&mut monitor);
        while line.contains("INFO") {
            line = shown(&mut monitor);
        }
        assert_eq!(line, r#"[0 client] "BLPOP" "queue" "0""#);
        client.line("SELECT 0");
        client.line("RPUSH queue x");
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.contains("RPUSH")) {
            lines.extend(Some(shown(&mut monitor)).filter(|line| !line.contains("INFO")));
        }
        assert_eq!(lines, [r#"[0 client] "SELECT" "0""#, r#"[0 client] "RPUSH" "queue" "x""#]);
        assert!(waiting.receive().is_ok());
        client.line("ECHO end");
        assert_eq!(shown(&mut monitor), r#"[0 client] "ECHO" "end""#);
    });
}

#[test]
fn a_monitors_own_commands() {
    at_threads(&[], |server| {
        let mut monitor = monitor(server);
        assert_eq!(monitor.line("PING").text(), Some("PONG"));
        assert_eq!(shown(&mut monitor), r#"[0 client] "PING""#);
        for line in ["GET a", "SET a 1", "DBSIZE", "PUBLISH a b"] {
            let reply = monitor.line(line);
            assert!(
                reply.is_error_of("ERR") && reply.to_string().contains("interact with the keyspace"),
                "{line}: {reply}"
            );
        }
        assert_eq!(monitor.line("RESET").text(), Some("RESET"));
        assert!(monitor.line("GET a").is_null());
        assert!(monitor.line("CLIENT INFO").text().is_some_and(|line| line.contains(" flags=N ")));
    });
}

/// The order that monitors see must be one in which the commands were executed: the n-th INCR of a key is that of the client that was told n.
#[test]
fn the_order_of_lines_is_that_of_execution() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 2000;
    const KEYS: usize = 5;
    at_threads(&[], |server| {
        let mut monitors = [monitor(server), monitor(server)];
        let told: Vec<(String, Vec<(usize, i64)>)> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    scope.spawn(move || {
                        let mut client = server.client();
                        let id = client.line("CLIENT INFO");
                        let address = id.text().expect("text").split(' ').find_map(|word| word.strip_prefix("addr="));
                        let address = address.expect("an address").to_owned();
                        let mut told = Vec::new();
                        for round in (0..ROUNDS).step_by(10) {
                            let keys: Vec<usize> =
                                (round..round + 10).map(|step| (step * (number + 1)) % KEYS).collect();
                            let commands: Vec<Vec<String>> =
                                keys.iter().map(|key| vec!["INCR".to_owned(), format!("key:{key}")]).collect();
                            let replies = client.pipeline(&commands).expect("replies");
                            told.extend(
                                keys.into_iter().zip(replies.iter().map(|reply| reply.integer().expect("a number"))),
                            );
                        }
                        (address, told)
                    })
                })
                .collect();
            clients.into_iter().map(|client| client.join().expect("a client")).collect()
        });
        let mut by_key: BTreeMap<usize, BTreeMap<i64, &str>> = BTreeMap::new();
        for (address, told) in &told {
            for (key, value) in told {
                by_key.entry(*key).or_default().insert(*value, address);
            }
        }
        let orders = monitors.each_mut().map(|monitor| {
            let mut lines = Vec::new();
            while lines.len() < CLIENTS * ROUNDS {
                let line = monitor.receive().expect("a line");
                let line = line.text().expect("text").split_once(' ').expect("a time").1.to_owned();
                lines.extend(Some(line).filter(|line| line.contains("INCR")));
            }
            lines
        });
        assert_eq!(orders[0], orders[1], "all monitors see one order");
        let mut counts = [0i64; KEYS];
        for line in &orders[0] {
            let (address, key) =
                line.strip_prefix("[0 ").and_then(|line| line.split_once("] \"INCR\" \"key:")).expect(line);
            let key: usize = key.trim_end_matches('"').parse().expect("a number");
            counts[key] += 1;
            assert_eq!(by_key[&key][&counts[key]], address, "{line}");
        }
    });
}

#[test]
fn a_monitor_that_does_not_read_is_closed() {
    at_threads(&["--client-output-buffer-limit", "normal 4mb 0 0"], |server| {
        let monitor = monitor(server);
        let mut client = server.client();
        let value = "x".repeat(64 * 1024);
        let is_closed = wait_until(DEADLINE, || {
            client.command(&["ECHO", &value]).expect("a reply");
            info(server, "connected_clients") == 2
        });
        assert!(is_closed, "it is still there");
        drop(monitor);
    });
}

/// The entries of a log, oldest first: what was called, and with how many arguments.
fn logged(client: &mut Client, command: &str) -> Vec<(String, usize)> {
    let entries = client.line(command);
    let entry = |entry: &Value| {
        let args = entry.elements()?[3].elements()?;
        Some((args.iter().map(|arg| arg.text().unwrap_or("?")).collect::<Vec<_>>().join(" "), args.len()))
    };
    entries.elements().expect("entries").iter().rev().map(|one| entry(one).expect("an entry")).collect()
}

#[test]
fn the_slow_log() {
    at_threads(&["--slowlog-log-slower-than", "0"], |server| {
        let mut client = server.client();
        client.line("SLOWLOG RESET");
        let long = "y".repeat(200);
        client.command(&["SET", "k", &long]).unwrap();
        client.line(&format!("RPUSH l {}", "i ".repeat(40)));
        for line in
            ["nosuch", "GET", "INCR k", "MULTI", "GET a", "EXEC", "AUTH pw", "CONFIG SET masterauth pw maxmemory 0"]
        {
            client.line(line);
        }
        client.command(&["EVAL", "return redis.call('get', 'a')", "0"]).unwrap();
        let names = |client: &mut Client| {
            let entries = client.line("SLOWLOG GET -1");
            let name = |entry: &Value| entry.elements().expect("an entry")[5].text().unwrap_or("?").to_owned();
            entries.elements().expect("entries").iter().map(name).collect::<BTreeSet<String>>()
        };
        client.line("CLIENT SETNAME me");
        let entries = logged(&mut client, "SLOWLOG GET -1");
        let expected = [
            ("SLOWLOG RESET".to_owned(), 2),
            (format!("SET k {}... (72 more bytes)", "y".repeat(128)), 3),
            (format!("RPUSH l {}... (11 more arguments)", "i ".repeat(29)), 32),
            ("INCR k".to_owned(), 2),
            ("MULTI".to_owned(), 1),
            ("GET a".to_owned(), 2),
            ("AUTH (redacted)".to_owned(), 2),
            ("CONFIG SET masterauth (redacted) maxmemory 0".to_owned(), 6),
            ("get a".to_owned(), 2),
            ("EVAL return redis.call('get', 'a') 0".to_owned(), 3),
            ("CLIENT SETNAME me".to_owned(), 3),
        ];
        assert_eq!(entries, expected);
        assert_eq!(names(&mut client), BTreeSet::from([String::new(), "me".to_owned()]));
        // A command that has waited is logged when it has its reply.
        client.line("SLOWLOG RESET");
        let mut waiting = server.client();
        send(&mut waiting, "BLPOP queue 0");
        assert!(wait_until(DEADLINE, || info(server, "blocked_clients") == 1));
        client.line("RPUSH queue x");
        assert!(waiting.receive().is_ok());
        let entries = logged(&mut client, "SLOWLOG GET -1");
        let calls: Vec<&str> =
            entries.iter().map(|(call, _)| call.as_str()).filter(|call| call.contains("queue")).collect();
        assert_eq!(calls, ["RPUSH queue x", "BLPOP queue 0"]);
        client.line("CONFIG SET slowlog-log-slower-than -1");
        client.line("SLOWLOG RESET");
        client.line("GET a");
        assert_eq!(client.line("SLOWLOG LEN").integer(), Some(0));
        assert!(client.line("DEBUG SLEEP 0.02").text().is_some());
        assert_eq!(client.line("SLOWLOG LEN").integer(), Some(0));
        client.line("CONFIG SET slowlog-log-slower-than 10000");
        client.line("DEBUG SLEEP 0.02");
        client.line("GET a");
        assert_eq!(logged(&mut client, "SLOWLOG GET"), [("DEBUG SLEEP 0.02".to_owned(), 3)]);
    });
}

/// Valkey's, whose sizes are those of the whole message.
#[test]
fn large_requests_and_replies() {
    for kind in [Kind::Valkey91, Kind::Spinel] {
        if program(kind).is_none() {
            skip_aloud(&format!("no {kind} here (run tools/peers.sh, or build spinel)"));
            continue;
        }
        println!("against {kind}:");
        let server = ServerOptions::new(kind).start().expect("it starts");
        let mut client = server.client();
        let large = "x".repeat(2 << 20);
        client.command(&["SET", "k", &large]).unwrap();
        client.command(&["SET", "small", "1"]).unwrap();
        client.line("GET k");
        client.line("GET small");
        let many: Vec<String> =
            ["MSET".to_owned()].into_iter().chain((0..80_000).map(|number| format!("key:{number:06}"))).collect();
        client.command(&many).unwrap();
        let sizes = |client: &mut Client, log: &str| {
            let entries = client.line(&format!("COMMANDLOG GET -1 {log}"));
            let size = |entry: &Value| entry.elements().expect("an entry")[2].integer().expect("a size");
            entries.elements().expect("entries").iter().rev().map(size).collect::<Vec<i64>>()
        };
        let set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2097152\r\n".len() as i64 + (2 << 20) + 2;
        let mset = "*80001\r\n$4\r\nMSET\r\n".len() as i64 + 80_000 * "$10\r\nkey:000000\r\n".len() as i64;
        assert_eq!(sizes(&mut client, "large-request"), [set, mset]);
        assert_eq!(sizes(&mut client, "large-reply"), ["$2097152\r\n".len() as i64 + (2 << 20) + 2]);
        client.line("CONFIG SET commandlog-request-larger-than 40 commandlog-reply-larger-than 10");
        for log in ["large-request", "large-reply"] {
            client.line(&format!("COMMANDLOG RESET {log}"));
        }
        client.line("ECHO 12345678901234567890");
        client.line("PING");
        assert_eq!(logged(&mut client, "COMMANDLOG GET 2 large-request").len(), 2, "{kind}");
        assert_eq!(logged(&mut client, "COMMANDLOG GET 1 large-reply")[0].0, "COMMANDLOG GET 2 large-request");
        assert_eq!(logged(&mut client, "COMMANDLOG GET -1 large-reply")[0].0, "ECHO 12345678901234567890");
    }
}

#[test]
fn what_takes_long_is_noted() {
    at_threads(&["--latency-monitor-threshold", "20"], |server| {
        let mut client = server.client();
        client.line("GET a");
        assert_eq!(client.line("LATENCY LATEST").elements().map(<[Value]>::len), Some(0));
        client.line("DEBUG SLEEP 0.05");
        let latest = client.line("LATENCY LATEST");
        let event = latest.elements().and_then(|events| events.first()?.elements()).expect("an event");
        assert_eq!(event[0].text(), Some("command"));
        assert!(event[2].integer().is_some_and(|ms| ms >= 50) && event[2].integer() == event[3].integer());
        let history = client.line("LATENCY HISTORY command");
        assert_eq!(history.elements().map(<[Value]>::len), Some(1));
        let graph = client.line("LATENCY GRAPH command");
        assert!(graph.text().is_some_and(|text| text.starts_with("command - high ")), "{graph}");
        assert!(client.line("LATENCY DOCTOR").text().is_some_and(|text| text.contains("1. command: 1 latency spikes")));
        let histogram = client.line("LATENCY HISTOGRAM debug");
        assert_eq!(histogram.elements().and_then(|pair| pair[1].elements()?[1].integer()), Some(1), "{histogram}");
        assert_eq!(client.line("LATENCY RESET").integer(), Some(1));
        assert_eq!(client.line("LATENCY LATEST").elements().map(<[Value]>::len), Some(0));
    });
}

#[test]
fn hot_keys() {
    let Some(server) = spinel(&["--io-threads", "4"]) else { return };
    let mut client = server.client();
    assert_eq!(client.line("HOTKEYS START METRICS 2 CPU NET COUNT 3 DURATION 1").text(), Some("OK"));
    for round in 0..3000 {
        client.line("INCR hot");
        if round % 3 == 0 {
            client.line("INCR warm");
        }
        client.line(&format!("SET cold:{round} 1"));
    }
    let active = |client: &mut Client| {
        let reply = client.line("HOTKEYS GET");
        reply.elements().and_then(|nodes| nodes[0].elements()?[1].integer())
    };
    assert!(wait_until(DEADLINE, || active(&mut client) == Some(0)), "its time is over");
    let mut client = client.hello(3);
    let reply = client.line("HOTKEYS GET");
    let session = &reply.elements().expect("an array")[0];
    let keys = session.field("by-net-bytes").and_then(Value::elements).expect("keys");
    assert_eq!((keys[0].text(), keys[2].text(), keys.len()), (Some("hot"), Some("warm"), 6), "{reply}");
    assert_eq!(client.line("HOTKEYS RESET").text(), Some("OK"));
    assert!(client.line("HOTKEYS GET").is_null());
}

/// Fields of Redis 8.2 that Spinel does not show, and why.
const LACKS: &[(&str, &str)] = &[
    ("redis_build_id", "the build is told by spinel_version"),
    ("atomicvar_api", "about C"),
    ("gcc_version", "about C"),
    ("module", "there are no modules"),
];

#[test]
fn info_has_the_fields_of_redis() {
    if program(Kind::Redis82).is_none() || program(Kind::Spinel).is_none() {
        skip_aloud("no Redis 8.2 or no spinel here (run tools/peers.sh, or build spinel)");
        return;
    }
    let fields = |kind: Kind| {
        let server = ServerOptions::new(kind)
            .arguments(["--io-threads", "1", "--appendonly", "yes"])
            .start()
            .expect("a server that is there starts");
        let mut client = server.client();
        for line in [
            "SET a 1",
            "RPUSH l 1 2",
            "SADD s a",
            "ZADD z 1 a",
            "HSET h f 1",
            "XADD x * f 1",
            "GET nosuch x",
            "SET e 1 EX 1000",
        ] {
            client.line(line);
        }
        let text = client.line("INFO everything").text().expect("text").to_owned();
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut section = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match (line.strip_prefix("# "), line.split_once(':')) {
                (Some(title), _) => section = title.to_owned(),
                (None, Some((name, _))) => fields.entry(section.clone()).or_default().push(name.to_owned()),
                (None, None) => panic!("{kind}: {line:?} is no field"),
            }
        }
        fields
    };
    let (expected, found) = (fields(Kind::Redis82), fields(Kind::Spinel));
    let mut missing = Vec::new();
    for (section, names) in &expected {
        let of_spinel = found.get(section).map(Vec::as_slice).unwrap_or_default();
        let lacks = |name: &&String| !of_spinel.contains(name) && !LACKS.iter().any(|(lack, _)| lack == name);
        missing.extend(names.iter().filter(lacks).map(|name| format!("{section}: {name}")));
        let in_order = |names: &[String], others: &[String]| {
            names.iter().filter(|name| others.contains(name)).cloned().collect::<Vec<_>>()
        };
        if !["Commandstats", "Latencystats"].contains(&section.as_str()) {
            assert_eq!(in_order(of_spinel, names), in_order(names, of_spinel), "the order in {section}");
        }
    }
    assert!(missing.is_empty(), "INFO lacks {missing:#?}");
    let known: Vec<&String> = expected.values().flatten().collect();
    for (name, why) in LACKS.iter().filter(|(name, _)| *name != "module") {
        assert!(known.iter().any(|known| known == name), "Redis 8.2 has no {name} ({why})");
        assert!(!found.values().flatten().any(|field| field == name), "{name} is there: strike it off the list");
    }
}

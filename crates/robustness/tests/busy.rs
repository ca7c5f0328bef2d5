//! A slow script: everybody else hears BUSY, can end it, and goes on behind it. Beside a real server, word for word.

use std::time::Duration;

use robustness::info;
use testkit::{Client, Kind, Server, ServerOptions, wait_until};

const DEADLINE: Duration = Duration::from_secs(30);
const ENDLESS: &str = "while true do end";

/// What Redis 8.2 shows, and what Spinel does with one event loop and with several.
fn side_by_side(what: impl Fn(&mut Server) -> Vec<String>) {
    let start = |kind, arguments: &[&str]| {
        let arguments = [&["--busy-reply-threshold", "50"], arguments].concat();
        what(&mut Server::start(kind, &arguments).expect("a server that is there starts"))
    };
    if testkit::program(Kind::Spinel).is_none() {
        return testkit::skip_aloud("no Spinel here (build spinel)");
    }
    let real = testkit::program(Kind::Redis82).is_some().then(|| start(Kind::Redis82, &[]));
    if real.is_none() {
        testkit::skip_aloud("no Redis 8.2 here to compare with (run tools/peers.sh)");
    }
    for threads in ["1", "4"] {
        let own = start(Kind::Spinel, &["--io-threads", threads]);
        let real = real.as_ref().unwrap_or(&own);
        for (own, real) in own.iter().zip(real) {
            assert_eq!(own, real, "io-threads {threads}");
        }
        assert_eq!(own.len(), real.len());
    }
}

fn send(client: &mut Client, arguments: &[&str]) {
    client.queue(arguments);
    client.flush().expect("the server reads");
}

fn received(client: &mut Client) -> String {
    client.receive().map_or_else(|error| format!("{:?}", error.kind()), |reply| reply.to_string())
}

/// Asks, and notes the question and the reply.
fn ask(transcript: &mut Vec<String>, client: &mut Client, arguments: &[&str]) {
    send(client, arguments);
    transcript.push(format!("{} -> {}", arguments.join(" "), received(client)));
}

fn await_busy(server: &Server) {
    let mut client = server.client();
    assert!(wait_until(DEADLINE, || client.line("PING").to_string().contains("BUSY")), "no script is slow");
}

fn kill(server: &Server) {
    let mut client = server.client();
    assert_eq!(client.line("SCRIPT KILL").to_string(), "OK");
    assert!(wait_until(DEADLINE, || client.line("PING").to_string() == "PONG"), "the script was not killed");
}

/// Who has been served does not wait for another's script, even one that nobody may interrupt.
#[test]
fn a_reply_does_not_wait_for_the_next_script() {
    const SPIN: &str = "local t = redis.call('TIME') while redis.call('TIME')[1] - t[1] < 2 do end";
    if testkit::program(Kind::Spinel).is_none() {
        return testkit::skip_aloud("no Spinel here (build spinel)");
    }
    let server = Server::start(Kind::Spinel, &["--busy-reply-threshold", "3600000", "--io-threads", "1"]);
    let server = server.expect("a server that is there starts");
    let (mut first, mut short, mut endless) = (server.client(), server.client(), server.client());
    for client in [&mut first, &mut short, &mut endless] {
        // The event loop knows them as clients that call scripts.
        for _ in 0..2 {
            send(client, &["EVAL", "return 1", "0"]);
            assert_eq!(received(client), "(integer) 1");
        }
    }
    // While this one runs the other two arrive, and then have their turns together.
    send(&mut first, &["EVAL", SPIN, "0"]);
    send(&mut short, &["EVAL", "return 2", "0"]);
    send(&mut endless, &["EVAL", ENDLESS, "0"]);
    assert_eq!(received(&mut short), "(integer) 2");
    assert_eq!(received(&mut first), "(nil $-1)");
}

#[test]
fn what_is_answered_meanwhile() {
    const LINES: &[&str] = &[
        "PING",
        "GET a",
        "GET",
        "NOSUCH a",
        "SCRIPT FOO",
        "SCRIPT KILL x",
        "AUTH x",
        "AUTH default x",
        "CLIENT ID",
        "CLIENT LIST",
        "CLIENT KILL ID 99",
        "CLIENT REPLY OFF",
        "INFO",
        "CONFIG GET maxmemory",
        "SELECT 1",
        "SUBSCRIBE a",
        "PUBLISH a b",
        "EVAL 1 0",
        "SCRIPT EXISTS a",
        "SCRIPT LOAD x",
        "SHUTDOWN x",
        "SHUTDOWN",
        "SHUTDOWN SAVE",
        "SHUTDOWN ABORT",
        "EXEC",
        "DISCARD",
        "WATCH a",
        "UNWATCH",
        "MULTI",
        "GET a",
        "UNWATCH",
        "EXEC",
        "EXEC",
        "MULTI",
        "SCRIPT KILL",
        "EXEC",
        "MULTI",
        "DISCARD",
        "RESET",
        "PING",
    ];
    side_by_side(|server| {
        let mut transcript = Vec::new();
        let (mut queueing, mut watching, mut subscriber) = (server.client(), server.client(), server.client());
        queueing.line("MULTI");
        queueing.line("SET a 1");
        watching.line("WATCH a");
        subscriber.line("SUBSCRIBE channel");
        let mut caller = server.client();
        for request in [&["EVAL", ENDLESS, "0"][..], &["PING"], &["GET", "a"], &["SCRIPT", "KILL"]] {
            caller.queue(request);
        }
        caller.flush().unwrap();
        await_busy(server);
        let mut client = server.client();
        for line in LINES {
            ask(&mut transcript, &mut client, &line.split(' ').collect::<Vec<_>>());
        }
        for line in ["GET a", "EXEC", "EXEC"] {
            ask(&mut transcript, &mut queueing, &line.split(' ').collect::<Vec<_>>());
        }
        for line in ["MULTI", "DISCARD", "UNWATCH", "QUIT"] {
            ask(&mut transcript, &mut watching, &[line]);
        }
        for line in ["GET a", "PING", "QUIT"] {
            ask(&mut transcript, &mut subscriber, &line.split(' ').collect::<Vec<_>>());
        }
        // Several at once, an inline one, and one that breaks the protocol.
        client.queue_raw(b"PING\r\n*1\r\n$4\r\nPING\r\n*1\r\nbad\r\n");
        client.flush().unwrap();
        (0..4).for_each(|_| transcript.push(received(&mut client)));
        kill(server);
        (0..4).for_each(|_| transcript.push(received(&mut caller)));
        transcript
    });
}

#[test]
fn what_ends_it() {
    side_by_side(|server| {
        let mut transcript = Vec::new();
        let mut client = server.client();
        ask(&mut transcript, &mut client, &["SCRIPT", "KILL"]);
        for script in [
            ENDLESS,
            "redis.call('publish','a','b') while true do end",
            "#!lua flags=no-writes\nwhile true do end",
            "while true do\npcall(function() while true do end end)\nend",
        ] {
            let mut caller = server.client();
            send(&mut caller, &["EVAL", script, "0"]);
            await_busy(server);
            kill(server);
            transcript.push(received(&mut caller));
        }
        // Of a client that has gone.
        let mut caller = server.client();
        send(&mut caller, &["EVAL", ENDLESS, "0"]);
        await_busy(server);
        drop(caller);
        kill(server);
        // Part of a transaction, the rest of which is done.
        let mut caller = server.client();
        for request in [&["MULTI"][..], &["SET", "a", "1"], &["EVAL", ENDLESS, "0"], &["SET", "b", "1"], &["EXEC"]] {
            caller.queue(request);
        }
        caller.flush().unwrap();
        await_busy(server);
        kill(server);
        (0..5).for_each(|_| transcript.push(received(&mut caller)));
        ask(&mut transcript, &mut caller, &["MGET", "a", "b"]);
        // By itself.
        send(&mut caller, &["EVAL", "for i=1,1e8 do end return redis.call('mget','a','b')", "0"]);
        transcript.push(received(&mut caller));
        // One that has written ends with the server, whatever it has written ends with it.
        send(&mut caller, &["EVAL", "redis.call('set','a',2) while true do end", "0"]);
        await_busy(server);
        let mut client = server.client();
        for line in ["SCRIPT KILL", "PING", "SHUTDOWN SAVE"] {
            ask(&mut transcript, &mut client, &line.split(' ').collect::<Vec<_>>());
        }
        ask(&mut transcript, &mut client, &["SHUTDOWN", "NOSAVE"]);
        transcript.push(received(&mut caller));
        assert!(wait_until(DEADLINE, || server.exit_status().is_some()), "the server does not end");
        transcript.push(format!("{:?}", server.exit_status().and_then(|status| status.code())));
        transcript
    });
}

#[test]
fn half_a_script_is_in_no_file() {
    for kind in [Kind::Redis82, Kind::Spinel] {
        if testkit::program(kind).is_none() {
            testkit::skip_aloud(&format!("no {kind} here"));
            continue;
        }
        let arguments = ["--busy-reply-threshold", "50", "--appendonly", "yes", "--appendfsync", "always"];
        let mut server = ServerOptions::new(kind).arguments(arguments).start().unwrap();
        let mut client = server.client();
        client.line("SET a 1");
        let mut caller = server.client();
        for request in [
            &["MULTI"][..],
            &["SET", "a", "2"],
            &["EVAL", "redis.call('set','b',2) while true do end", "0"],
            &["SET", "c", "2"],
            &["EXEC"],
        ] {
            caller.queue(request);
        }
        caller.flush().unwrap();
        await_busy(&server);
        send(&mut client, &["SHUTDOWN", "NOSAVE"]);
        assert!(wait_until(DEADLINE, || server.exit_status().is_some()), "{kind} does not end");
        server.restart(&[]).unwrap();
        let values = server.client().line("MGET a b c").to_string();
        println!("{kind}: {values}");
        assert!(values.contains('1') && !values.contains('2'), "{kind}: {values}");
    }
}

/// Many connections, on every event loop, whose commands the script's own loop has to read too.
#[test]
fn everybody_is_heard_and_nobody_is_forgotten() {
    if testkit::program(Kind::Spinel).is_none() {
        return testkit::skip_aloud("no Spinel here (build spinel)");
    }
    for threads in ["1", "4"] {
        let server =
            Server::start(Kind::Spinel, &["--io-threads", threads, "--busy-reply-threshold", "50"]).expect("it starts");
        let mut early: Vec<Client> = (0..32).map(|_| server.client()).collect();
        let mut waiting = server.client();
        send(&mut waiting, &["BLPOP", "list", "0"]);
        assert!(wait_until(DEADLINE, || info(&server, "blocked_clients") == 1), "nobody waits");
        let mut caller = server.client();
        send(&mut caller, &["EVAL", ENDLESS, "0"]);
        await_busy(&server);
        let mut late: Vec<Client> = (0..32).map(|_| server.client()).collect();
        for round in 0..3 {
            for client in early.iter_mut().chain(&mut late) {
                for _ in 0..10 {
                    client.queue(&["INCR", "counter"]);
                }
                client.flush().unwrap();
            }
            for (index, client) in early.iter_mut().chain(&mut late).enumerate() {
                for _ in 0..10 {
                    let reply = received(client);
                    assert!(reply.contains("BUSY"), "client {index} in round {round}: {reply}");
                }
            }
        }
        // Half of them hang up while it runs.
        early.truncate(16);
        late.truncate(16);
        kill(&server);
        assert!(received(&mut caller).contains("Script killed by user"));
        for client in early.iter_mut().chain(&mut late) {
            send(client, &["INCR", "counter"]);
        }
        let mut counted: Vec<i64> = early
            .iter_mut()
            .chain(&mut late)
            .map(|client| client.receive().unwrap().integer().expect("a number"))
            .collect();
        counted.sort_unstable();
        assert_eq!(counted, (1..=32).collect::<Vec<i64>>());
        caller.line("RPUSH list element");
        assert!(received(&mut waiting).contains("element"));
        // With the one that asks.
        let reached = wait_until(DEADLINE, || info(&server, "connected_clients") == 35);
        assert!(reached, "{} clients are connected, not 35", info(&server, "connected_clients"));
    }
}

/// Only scripts make others hear BUSY.
#[test]
fn a_slow_command_is_waited_for() {
    if testkit::program(Kind::Spinel).is_none() {
        return testkit::skip_aloud("no Spinel here (build spinel)");
    }
    for threads in ["1", "4"] {
        let arguments = ["--io-threads", threads, "--busy-reply-threshold", "1", "--enable-debug-command", "yes"];
        let server = Server::start(Kind::Spinel, &arguments).expect("it starts");
        let mut slow = server.client();
        let mut others: Vec<Client> = (0..8).map(|_| server.client()).collect();
        send(&mut slow, &["DEBUG", "SLEEP", "0.3"]);
        for client in &mut others {
            assert_eq!(client.line("PING").to_string(), "PONG");
        }
        assert_eq!(received(&mut slow), "OK");
        // Nor does a script whose commands are slow, where it has no threshold to cross.
        slow.line("CONFIG SET busy-reply-threshold 0");
        send(&mut slow, &["EVAL", "for i=1,3e7 do end return 1", "0"]);
        for client in &mut others {
            assert_eq!(client.line("PING").to_string(), "PONG");
        }
        assert_eq!(slow.receive().unwrap().integer(), Some(1));
    }
}

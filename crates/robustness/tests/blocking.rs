//! Clients that wait for a key: in order of arrival, served once, and nothing is lost with one that goes.

use std::{collections::BTreeSet, io, time::Duration};

use robustness::{against_both, info, raise_open_files_max};
use testkit::{Client, Kind, Server, wait_until};

const DEADLINE: Duration = Duration::from_secs(30);

/// With one event loop, and with several.
fn at_threads(test: impl Fn(&Server)) {
    for threads in ["1", "4"] {
        println!("io-threads {threads}:");
        against_both(&["--io-threads", threads], &test);
    }
}

/// Sends a command that will wait, and returns once the server says that so many clients do.
fn block(server: &Server, client: &mut Client, line: &str, blocked: u64) {
    send(client, line);
    wait_for_blocked(server, blocked);
}

fn send(client: &mut Client, line: &str) {
    client.queue(&line.split_ascii_whitespace().collect::<Vec<_>>());
    client.flush().expect("the server reads");
}

fn wait_for_blocked(server: &Server, blocked: u64) {
    let reached = wait_until(DEADLINE, || info(server, "blocked_clients") == blocked);
    assert!(reached, "{} clients are blocked, not {blocked}", info(server, "blocked_clients"));
}

/// The next reply, as text.
fn received(client: &mut Client) -> String {
    let reply = client.receive().unwrap_or_else(|error| panic!("no reply: {error}"));
    reply.text().map_or_else(|| reply.to_string(), str::to_owned)
}

fn is_closed(client: &mut Client) -> bool {
    matches!(
        client.receive().map_err(|error| error.kind()),
        Err(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
    )
}

fn id(client: &mut Client) -> i64 {
    client.line("CLIENT ID").integer().expect("an id")
}

#[test]
fn in_order_of_arrival() {
    at_threads(|server| {
        let mut clients: Vec<Client> = (0..24).map(|_| server.client()).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            let line = if index % 2 == 0 { "BLPOP other queue 0" } else { "BLPOP queue 0" };
            block(server, client, line, index as u64 + 1);
        }
        let mut pusher = server.client();
        pusher.line("RPUSH queue 0");
        pusher.line("RPUSH queue 1 2 3");
        (4..24).for_each(|element| drop(pusher.line(&format!("RPUSH queue {element}"))));
        for (index, client) in clients.iter_mut().enumerate() {
            let expected = received(client);
            assert!(expected.contains("queue") && expected.contains(&index.to_string()), "client {index}: {expected}");
        }
        assert_eq!(pusher.line("EXISTS queue").integer(), Some(0));
        wait_for_blocked(server, 0);
    });
}

#[test]
fn timeouts_and_what_else_ends_a_wait() {
    at_threads(|server| {
        let mut client = server.client();
        for timeout in ["0.001", "0.0001", "0.02", "0.1"] {
            let nothing = client.line(&format!("BLPOP queue {timeout}"));
            assert!(nothing.is_null(), "{nothing}");
        }
        let waiting = id(&mut client);
        let mut other = server.client();
        block(server, &mut client, "BLPOP queue 0", 1);
        assert_eq!(other.line(&format!("CLIENT UNBLOCK {waiting}")).integer(), Some(1));
        assert!(client.receive().expect("a reply").is_null());
        block(server, &mut client, "BLPOP queue 0", 1);
        assert_eq!(other.line(&format!("CLIENT UNBLOCK {waiting} ERROR")).integer(), Some(1));
        assert!(client.receive().expect("a reply").is_error_of("UNBLOCKED"));
        assert_eq!(other.line(&format!("CLIENT UNBLOCK {waiting}")).integer(), Some(0));
        // The time goes on while commands are paused.
        block(server, &mut client, "BLPOP queue 0.1", 1);
        other.line("CLIENT PAUSE 60000 WRITE");
        assert!(client.receive().expect("a reply").is_null());
        other.line("CLIENT UNPAUSE");
        // Nothing is given to somebody who waits no more.
        other.line("RPUSH queue left");
        assert_eq!(other.line("LLEN queue").integer(), Some(1));
    });
}

#[test]
fn what_was_sent_behind_it_waits_and_comes_in_order() {
    at_threads(|server| {
        let mut client = server.client();
        let mut other = server.client();
        client.queue(&["SET", "before", "1"]);
        client.queue(&["BLPOP", "queue", "0"]);
        client.queue(&["SET", "behind", "1"]);
        client.queue(&["BLPOP", "queue", "0"]);
        client.queue(&["ECHO", &"x".repeat(100_000)]);
        client.queue(&["ECHO", "last"]);
        client.flush().expect("the server reads");
        assert_eq!(received(&mut client), "OK");
        wait_for_blocked(server, 1);
        assert_eq!(other.line("EXISTS before behind").integer(), Some(1));
        // More than a buffer's worth, and in pieces: a part of a request arrives while the client waits.
        for _ in 0..300 {
            client.queue(&["ECHO", &"y".repeat(700)]);
        }
        client.flush().expect("the server reads, or the system keeps it");
        other.line("RPUSH queue 1");
        assert!(received(&mut client).contains('1'));
        assert_eq!(received(&mut client), "OK");
        wait_for_blocked(server, 1);
        other.line("RPUSH queue 2");
        assert!(received(&mut client).contains('2'));
        assert_eq!(received(&mut client).len(), 100_000);
        assert_eq!(received(&mut client), "last");
        (0..300).for_each(|_| assert_eq!(received(&mut client).len(), 700));
        assert_eq!(client.line("PING").to_string(), "PONG");
    });
}

#[test]
fn replies_that_nobody_wants() {
    at_threads(|server| {
        let mut client = server.client();
        let mut other = server.client();
        send(&mut client, "CLIENT REPLY SKIP");
        block(server, &mut client, "BLPOP queue 0", 1);
        other.line("RPUSH queue 1");
        wait_for_blocked(server, 0);
        assert_eq!(client.line("ECHO behind").text(), Some("behind"));
        send(&mut client, "CLIENT REPLY OFF");
        block(server, &mut client, "BLPOP queue 0", 1);
        other.line("RPUSH queue 1");
        wait_for_blocked(server, 0);
        assert_eq!(client.line("CLIENT REPLY ON").to_string(), "OK");
    });
}

#[test]
fn who_goes_takes_nothing_with_him() {
    at_threads(|server| {
        let mut other = server.client();
        // Killed.
        let mut client = server.client();
        let waiting = id(&mut client);
        block(server, &mut client, "BLPOP queue 0", 1);
        assert_eq!(other.line(&format!("CLIENT KILL ID {waiting}")).integer(), Some(1));
        other.line("RPUSH queue kept");
        assert_eq!(other.line("LLEN queue").integer(), Some(1));
        assert!(is_closed(&mut client));
        other.line("DEL queue");
        // Hung up.
        let mut client = server.client();
        block(server, &mut client, "BLPOP queue 0", 1);
        drop(client);
        wait_for_blocked(server, 0);
        other.line("RPUSH queue kept");
        assert_eq!(other.line("LPOP queue").text(), Some("kept"));
        // Hung up in the same breath.
        let mut client = server.client();
        client.queue(&["ECHO", "first"]);
        client.queue(&["BLPOP", "queue", "0"]);
        let said = client.finish().expect("the server closes");
        assert_eq!(String::from_utf8_lossy(&said), "$5\r\nfirst\r\n");
        wait_for_blocked(server, 0);
        other.line("RPUSH queue kept");
        assert_eq!(other.line("LPOP queue").text(), Some("kept"));
    });
}

#[test]
fn in_its_own_database_and_protocol() {
    at_threads(|server| {
        let mut first = server.client().hello(3);
        let mut second = server.client();
        second.line("SELECT 7");
        block(server, &mut first, "BLPOP queue 0", 1);
        block(server, &mut second, "BLPOP queue 0", 2);
        let mut other = server.client();
        other.line("SELECT 7");
        other.line("RPUSH queue seven");
        assert!(received(&mut second).contains("seven"));
        wait_for_blocked(server, 1);
        other.line("SWAPDB 0 7");
        other.line("RPUSH queue nobody");
        other.line("SWAPDB 0 7");
        assert!(received(&mut first).contains("nobody"));
        let nothing = first.line("BLPOP queue 0.01");
        assert!(nothing.is_null(), "{nothing}");
    });
}

#[test]
fn a_consumer_group_hears_of_the_end_of_its_stream() {
    at_threads(|server| {
        let (mut client, mut other) = (server.client(), server.client());
        let endings = [
            "DEL stream",
            "FLUSHALL",
            "SWAPDB 0 1",
            "RENAME stream elsewhere",
            "MOVE stream 3",
            "XGROUP DESTROY stream g",
        ];
        // By a command, by active expiry, and by a look at what has expired.
        for ending in endings.into_iter().chain(["PEXPIRE stream -1", "PEXPIRE stream 1"]) {
            other.line("FLUSHALL");
            other.line("XGROUP CREATE stream g $ MKSTREAM");
            block(server, &mut client, "XREADGROUP GROUP g c BLOCK 0 STREAMS stream >", 1);
            assert_eq!(info(server, "total_blocking_keys_on_nokey"), 1);
            let reply = other.line(ending);
            assert!(!reply.is_error(), "{ending}: {reply}");
            let told = client.receive().expect("a reply");
            assert!(told.is_error_of("NOGROUP"), "after {ending}: {told}");
        }
        other.line("XGROUP CREATE stream g $ MKSTREAM");
        block(server, &mut client, "XREADGROUP GROUP g c BLOCK 0 STREAMS stream >", 1);
        other.line("SET stream x");
        assert!(client.receive().expect("a reply").is_error_of("WRONGTYPE"));
    });
}

#[test]
fn who_blocks_again_waits_behind_the_others() {
    at_threads(|server| {
        let (mut first, mut second, mut other) = (server.client(), server.client(), server.client());
        for line in ["XGROUP CREATE a g $ MKSTREAM", "XGROUP CREATE b g $ MKSTREAM", "XGROUP CREATE b other $"] {
            other.line(line);
        }
        block(server, &mut first, "XREADGROUP GROUP g c BLOCK 0 STREAMS a b > >", 1);
        block(server, &mut second, "XREADGROUP GROUP g d BLOCK 0 STREAMS a >", 2);
        // The first one looks, and finds nothing.
        other.line("XGROUP DESTROY b other");
        other.line("XADD a 1-1 f second");
        assert!(received(&mut second).contains("second"));
        other.line("XADD a 2-1 f first");
        assert!(received(&mut first).contains("first"));
    });
}

#[test]
fn who_waits_is_not_idle() {
    against_both(&["--timeout", "2", "--io-threads", "4"], |server| {
        let mut client = server.client();
        let mut idle = server.client();
        block(server, &mut client, "BLPOP queue 0", 1);
        assert!(is_closed(&mut idle));
        assert_eq!(info(server, "blocked_clients"), 1);
        // Redis counts a client as idle that it has just served, until it hears from it: now and then that one is closed before it has its reply.
        if server.kind() == Kind::Spinel {
            server.client().line("RPUSH queue 1");
            assert!(received(&mut client).contains('1'));
        }
    });
}

#[test]
fn a_thousand_waiting_and_pushes_from_everywhere() {
    const CLIENTS: usize = 1000;
    const PUSHERS: usize = 4;
    raise_open_files_max();
    at_threads(|server| {
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
        clients.iter_mut().for_each(|client| send(client, "BLPOP queue 0"));
        wait_for_blocked(server, CLIENTS as u64);
        std::thread::scope(|scope| {
            for pusher in 0..PUSHERS {
                scope.spawn(move || {
                    let mut client = server.client();
                    for element in (pusher..CLIENTS).step_by(PUSHERS) {
                        client.line(&format!("RPUSH queue {element:04}"));
                    }
                });
            }
        });
        let mut seen = BTreeSet::new();
        for client in &mut clients {
            let reply = received(client);
            let element = (0..CLIENTS).find(|element| reply.contains(&format!("{element:04}")));
            assert!(seen.insert(element.expect("an element")), "twice: {reply}");
        }
        assert_eq!(server.client().line("EXISTS queue").integer(), Some(0));
        wait_for_blocked(server, 0);
    });
}

#[test]
fn workers_and_producers_lose_and_repeat_nothing() {
    const WORKERS: usize = 6;
    const PRODUCERS: usize = 3;
    const TASKS: usize = 2000;
    at_threads(|server| {
        let done: Vec<String> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS)
                .map(|_| {
                    scope.spawn(move || {
                        let (mut client, mut done) = (server.client(), Vec::new());
                        loop {
                            // Short timeouts, so that many end just when something comes.
                            let reply = client.line("BRPOP high low 0.003");
                            match reply.to_string() {
                                task if task.contains("stop") => return done,
                                task if task.contains("task") => done.push(task),
                                _ => assert!(reply.is_null(), "{reply}"),
                            }
                        }
                    })
                })
                .collect();
            let producers: Vec<_> = (0..PRODUCERS)
                .map(|producer| {
                    scope.spawn(move || {
                        let mut client = server.client();
                        for task in (producer..TASKS).step_by(PRODUCERS) {
                            let key = if task % 3 == 0 { "high" } else { "low" };
                            client.line(&format!("LPUSH {key} task{task:05}"));
                        }
                    })
                })
                .collect();
            producers.into_iter().for_each(|producer| producer.join().expect("it has pushed"));
            let mut client = server.client();
            (0..WORKERS).for_each(|_| drop(client.line("LPUSH low stop")));
            workers.into_iter().flat_map(|worker| worker.join().expect("it has worked")).collect()
        });
        assert_eq!(done.len(), TASKS);
        for task in 0..TASKS {
            let name = format!("task{task:05}");
            assert_eq!(done.iter().filter(|done| done.contains(&name)).count(), 1, "{name}");
        }
    });
}

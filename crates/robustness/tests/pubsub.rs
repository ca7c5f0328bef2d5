//! Messages between clients on all threads: in order, to everybody who listens, and to nobody else.

use std::time::Duration;

use robustness::{against_both, info};
use testkit::{Client, Server, Value, wait_until};

const DEADLINE: Duration = Duration::from_secs(30);

/// With one event loop, and with several.
fn at_threads(arguments: &[&str], test: impl Fn(&Server)) {
    for threads in ["1", "4"] {
        println!("io-threads {threads}:");
        against_both(&[&["--io-threads", threads], arguments].concat(), &test);
    }
}

/// The next reply or push, its elements separated by blanks.
fn received(client: &mut Client) -> String {
    let value = client.receive().unwrap_or_else(|error| panic!("nothing came: {error}"));
    match value.elements() {
        None => shown(&value),
        Some(elements) => elements.iter().map(shown).collect::<Vec<_>>().join(" "),
    }
}

fn shown(value: &Value) -> String {
    let number = value.integer().map(|number| number.to_string());
    number.or_else(|| value.text().map(str::to_owned)).unwrap_or_else(|| value.to_string())
}

/// A client that has sent these commands and read this many replies.
fn subscriber(server: &Server, line: &str, replies: usize) -> Client {
    let mut client = server.client();
    send(&mut client, line);
    (0..replies).for_each(|_| drop(received(&mut client)));
    client
}

fn send(client: &mut Client, line: &str) {
    client.queue(&line.split_ascii_whitespace().collect::<Vec<_>>());
    client.flush().expect("the server reads");
}

#[test]
fn all_get_all_of_each_publisher_in_order() {
    const PUBLISHERS: usize = 4;
    const MESSAGES: usize = 500;
    at_threads(&[], |server| {
        let mut subscribers: Vec<Client> = (0..8).map(|_| subscriber(server, "SUBSCRIBE news", 1)).collect();
        subscribers.extend((0..4).map(|_| subscriber(server, "PSUBSCRIBE n?ws", 1)));
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let mut client = server.client();
                std::thread::spawn(move || {
                    for batch in 0..MESSAGES / 10 {
                        let commands: Vec<Vec<String>> = (0..10)
                            .map(|message| {
                                let text = format!("{publisher}:{}", batch * 10 + message);
                                vec!["PUBLISH".into(), "news".into(), text]
                            })
                            .collect();
                        let replies = client.pipeline(&commands).expect("replies");
                        assert!(replies.iter().all(|reply| reply.integer() == Some(12)), "{replies:?}");
                    }
                })
            })
            .collect();
        let mut all: Vec<Vec<String>> = Vec::new();
        for client in &mut subscribers {
            let mut next = [0; PUBLISHERS];
            let mut texts = Vec::new();
            for _ in 0..PUBLISHERS * MESSAGES {
                let text = received(client);
                let (publisher, message) =
                    text.rsplit_once(' ').expect("words").1.split_once(':').expect("two numbers");
                let next = &mut next[publisher.parse::<usize>().expect("a number")];
                assert_eq!(message, next.to_string(), "publisher {publisher}");
                *next += 1;
                texts.push(format!("{publisher}:{message}"));
            }
            all.push(texts);
        }
        publishers.into_iter().for_each(|publisher| publisher.join().expect("it has published"));
        // One channel has one order, whoever looks.
        assert!(all.iter().all(|texts| *texts == all[0]));
    });
}

#[test]
fn messages_and_replies_are_in_one_order() {
    at_threads(&[], |server| {
        let mut publisher = server.client();
        let mut client = server.client().hello(3);
        assert_eq!(received_of(&mut client, "SUBSCRIBE ch"), "subscribe ch 1");
        for number in 0..300 {
            publisher.queue(&["PUBLISH", "ch", &number.to_string()]);
            publisher.queue(&["SET", "k", &number.to_string()]);
            publisher.flush().expect("the server reads");
            // Who sees the new value has the message that was sent before it.
            let mut seen = None;
            let value = loop {
                send(&mut client, "GET k");
                let value = loop {
                    let text = received(&mut client);
                    match text.strip_prefix("message ch ") {
                        Some(message) => seen = Some(message.to_owned()),
                        None => break text,
                    }
                };
                if value == number.to_string() {
                    break value;
                }
            };
            assert_eq!(seen, Some(value));
            assert_eq!(received(&mut publisher), "1");
            assert_eq!(received(&mut publisher), "OK");
        }
    });
}

fn received_of(client: &mut Client, line: &str) -> String {
    send(client, line);
    received(client)
}

#[test]
fn nothing_comes_behind_the_reply_to_unsubscribe() {
    at_threads(&[], |server| {
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mut publisher = server.client();
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    publisher.line("PUBLISH ch x");
                }
            });
            let mut client = server.client();
            for _ in 0..300 {
                assert_eq!(received_of(&mut client, "SUBSCRIBE ch"), "subscribe ch 1");
                send(&mut client, "UNSUBSCRIBE");
                while received(&mut client) != "unsubscribe ch 0" {}
                assert_eq!(received_of(&mut client, "ECHO between"), "between");
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}

#[test]
fn a_subscriber_of_resp2_may_send_little() {
    at_threads(&[], |server| {
        let mut client = subscriber(server, "SSUBSCRIBE s", 1);
        for (line, name) in [("GET a", "get"), ("CLIENT LIST", "client|list"), ("HELLO 3", "hello"), ("MULTI", "multi")]
        {
            let expected = format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                 this context"
            );
            assert!(received_of(&mut client, line).contains(&expected), "{line}");
        }
        assert!(received_of(&mut client, "NOSUCH").contains("unknown command"));
        assert!(received_of(&mut client, "GET").contains("wrong number of arguments"));
        assert_eq!(received_of(&mut client, "PING"), "pong ");
        assert_eq!(received_of(&mut client, "PING x"), "pong x");
        assert_eq!(received_of(&mut client, "RESET"), "RESET");
        assert_eq!(received_of(&mut client, "ECHO again"), "again");
        // Over RESP3 it may send everything, and listen while it waits.
        let mut client = client.hello(3);
        let mut other = server.client();
        assert_eq!(received_of(&mut client, "SUBSCRIBE ch"), "subscribe ch 1");
        send(&mut client, "BLPOP queue 0");
        assert!(wait_until(DEADLINE, || info(server, "blocked_clients") == 1));
        assert_eq!(received_of(&mut other, "PUBLISH ch x"), "1");
        assert_eq!(received(&mut client), "message ch x");
        other.line("RPUSH queue e");
        assert_eq!(received(&mut client), "queue e");
    });
}

#[test]
fn confirmations_are_not_silenced() {
    at_threads(&[], |server| {
        let mut client = server.client().hello(3);
        client.line("SUBSCRIBE a");
        for line in ["CLIENT REPLY OFF", "PUBLISH a x", "SUBSCRIBE b", "UNSUBSCRIBE b", "SUBSCRIBE", "GET x"] {
            client.queue(&line.split(' ').collect::<Vec<_>>());
        }
        for line in ["CLIENT REPLY ON", "CLIENT REPLY SKIP", "SUBSCRIBE k", "ECHO end"] {
            client.queue(&line.split(' ').collect::<Vec<_>>());
        }
        client.flush().expect("the server reads");
        for expected in ["message a x", "subscribe b 2", "unsubscribe b 1", "OK", "subscribe k 2", "end"] {
            assert_eq!(received(&mut client), expected);
        }
    });
}

#[test]
fn a_slow_subscriber_is_cut_off_and_others_are_not() {
    at_threads(&["--client-output-buffer-limit", "pubsub 1mb 0 0"], |server| {
        let mut slow = subscriber(server, "SUBSCRIBE ch", 1);
        let mut quick = subscriber(server, "SUBSCRIBE ch", 1);
        let mut publisher = server.client();
        let text = "x".repeat(100_000);
        let mut sent = 0;
        let cut_off = wait_until(DEADLINE, || {
            sent += 1;
            let receivers = publisher.command(&["PUBLISH", "ch", &text]).expect("a reply").integer();
            assert!(received(&mut quick).len() > 100_000);
            receivers == Some(1)
        });
        assert!(cut_off, "after {sent} messages it is still there");
        assert_eq!(info(server, "client_output_buffer_limit_disconnections"), 1);
        assert_eq!(publisher.line("PUBSUB NUMSUB ch").elements().expect("two")[1].integer(), Some(1));
        // It still gets what was on its way, and then the end.
        while slow.receive().is_ok() {}
    });
}

#[test]
fn subscriptions_end_with_the_connection() {
    at_threads(&[], |server| {
        let mut other = server.client();
        let gone = subscriber(server, "SUBSCRIBE a b c", 3);
        let killed = subscriber(server, "PSUBSCRIBE a*", 1);
        let _stays = subscriber(server, "SSUBSCRIBE a", 1);
        assert_eq!(info(server, "pubsub_clients"), 3);
        let figures = ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"].map(|field| info(server, field));
        assert_eq!(figures, [3, 1, 1]);
        drop(gone);
        assert!(wait_until(DEADLINE, || info(server, "pubsub_channels") == 0));
        assert_eq!(other.line("CLIENT KILL TYPE pubsub").integer(), Some(2));
        assert_eq!(other.line("PUBLISH a x").integer(), Some(0));
        assert_eq!(other.line("SPUBLISH a x").integer(), Some(0));
        assert_eq!(info(server, "pubsub_patterns"), 0);
        drop(killed);
    });
}

#[test]
fn keyspace_notifications() {
    at_threads(&["--notify-keyspace-events", "KEA"], |server| {
        let mut keys = subscriber(server, "PSUBSCRIBE __keyspace@*", 1);
        let mut events = subscriber(server, "SUBSCRIBE __keyevent@0__:expired __keyevent@0__:lpop", 2);
        let mut client = server.client();
        client.line("MSET a 1 b 2");
        client.line("SELECT 3");
        client.line("SET a 1");
        client.line("SELECT 0");
        for expected in ["@0__:a set", "@0__:b set", "@3__:a set"] {
            assert_eq!(received(&mut keys), format!("pmessage __keyspace@* __keyspace{expected}"));
        }
        // Without being asked for, by looking, in a transaction, and by serving who waits.
        client.line("SET v 1 PX 1");
        assert_eq!(received(&mut events), "message __keyevent@0__:expired v");
        let mut waiting = server.client();
        send(&mut waiting, "BLPOP queue 0");
        assert!(wait_until(DEADLINE, || info(server, "blocked_clients") == 1));
        for line in ["MULTI", "RPUSH queue e", "DEL a", "EXEC"] {
            client.line(line);
        }
        assert_eq!(received(&mut events), "message __keyevent@0__:lpop queue");
        let expected = ["v set", "v expire", "v expired", "queue rpush", "a del", "queue lpop", "queue del"];
        for expected in expected {
            assert_eq!(received(&mut keys), format!("pmessage __keyspace@* __keyspace@0__:{expected}"));
        }
        client.line("CONFIG SET notify-keyspace-events Em");
        client.line("GET none");
        client.line("CONFIG SET notify-keyspace-events Km");
        client.line("GET none");
        assert_eq!(received(&mut keys), "pmessage __keyspace@* __keyspace@0__:none keymiss");
    });
}

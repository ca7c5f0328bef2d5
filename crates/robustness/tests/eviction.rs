//! Full memory: what goes, who hears of it, and what is refused. Each test also runs against Redis 8.2.

use std::time::Duration;

use robustness::{against_both, info};
use testkit::{Client, Server, wait_until};

const DEADLINE: Duration = Duration::from_secs(20);

/// Lets the data take so many bytes more than now.
fn limit_to_used_and(server: &Server, bytes: u64) {
    let limit = info(server, "used_memory") + bytes;
    let reply = server.client().line(&format!("CONFIG SET maxmemory {limit}"));
    assert_eq!(reply.to_string(), "OK");
}

fn no_limit(server: &Server) {
    assert_eq!(server.client().line("CONFIG SET maxmemory 0").to_string(), "OK");
}

/// Sets so many keys with values of a kilobyte, and says how many of them were refused.
fn fill(client: &mut Client, prefix: &str, count: usize, options: &str) -> usize {
    let value = "x".repeat(1000);
    let commands: Vec<Vec<String>> = (0..count)
        .map(|number| {
            let words = ["SET", &format!("{prefix}{number}"), &value].map(String::from);
            words.into_iter().chain(options.split_whitespace().map(String::from)).collect()
        })
        .collect();
    let replies = client.pipeline(&commands).expect("replies");
    let refused = replies.iter().filter(|reply| reply.is_error()).inspect(|reply| {
        assert_eq!(reply.to_string(), "(error) OOM command not allowed when used memory > \\'maxmemory\\'.");
    });
    refused.count()
}

/// How many of these keys are there.
fn count(client: &mut Client, prefix: &str, names: usize) -> usize {
    let commands: Vec<Vec<String>> =
        (0..names).map(|number| vec!["EXISTS".into(), format!("{prefix}{number}")]).collect();
    let replies = client.pipeline(&commands).expect("replies");
    replies.iter().filter(|reply| reply.integer() == Some(1)).count()
}

fn say(client: &mut Client, steps: &[(&str, &str)]) {
    for (command, reply) in steps {
        assert_eq!(client.line(command).to_string(), *reply, "{command}");
    }
}

#[test]
fn used_memory_stays_at_the_limit_under_every_policy() {
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        against_both(&["--maxmemory-policy", policy], |server| {
            let mut client = server.client();
            limit_to_used_and(server, 2_000_000);
            assert_eq!(fill(&mut client, "key:", 6_000, "EX 10000"), 0, "{policy}");
            let limit: u64 = client.line("CONFIG GET maxmemory").elements().expect("two")[1]
                .text()
                .and_then(|text| text.parse().ok())
                .expect("a number");
            let used = info(server, "used_memory");
            assert!(used < limit + 64 * 1024, "{policy}: {used} bytes used, {limit} allowed");
            assert!(used > limit - limit / 4, "{policy}: {used} bytes used, {limit} allowed: too much was evicted");
            no_limit(server);
            let left = client.line("DBSIZE").integer().expect("a number") as u64;
            assert_eq!(info(server, "evicted_keys"), 6_000 - left, "{policy}");
        });
    }
}

#[test]
fn volatile_policies_leave_others_alone() {
    for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
        against_both(&["--maxmemory-policy", policy], |server| {
            let mut client = server.client();
            assert_eq!(fill(&mut client, "kept:", 500, ""), 0);
            assert_eq!(fill(&mut client, "gone:", 100, "EX 10000"), 0);
            limit_to_used_and(server, 0);
            let refused = fill(&mut client, "new:", 500, "");
            // There is no more room than the volatile keys have left.
            assert!((300..500).contains(&refused), "{policy}: {refused} refused");
            assert_eq!(count(&mut client, "kept:", 500), 500, "{policy}");
            assert_eq!(count(&mut client, "gone:", 100), 0, "{policy}");
            assert_eq!(info(server, "evicted_keys"), 100, "{policy}");
            // What is given a time may go at once.
            (0..100).for_each(|number| drop(client.line(&format!("EXPIRE kept:{number} 1000"))));
            say(&mut client, &[("SET one 1", "OK")]);
        });
    }
}

#[test]
fn who_was_used_lately_stays() {
    for (policy, uses) in [("allkeys-lru", 1), ("allkeys-lfu", 40)] {
        against_both(&["--maxmemory-policy", policy, "--maxmemory-samples", "10"], |server| {
            let mut client = server.client();
            assert_eq!(fill(&mut client, "old:", 500, ""), 0);
            assert_eq!(fill(&mut client, "hot:", 500, ""), 0);
            // The clock of LRU counts seconds.
            assert!(wait_until(DEADLINE, || {
                policy != "allkeys-lru" || client.line("OBJECT IDLETIME old:0").integer() >= Some(2)
            }));
            for _ in 0..uses {
                (0..500).for_each(|number| client.queue(&["GET", &format!("hot:{number}")]));
                client.flush().expect("sent");
                (0..500).for_each(|_| drop(client.receive().expect("a reply")));
            }
            limit_to_used_and(server, 0);
            fill(&mut client, "new:", 300, "");
            let (old, hot) = (count(&mut client, "old:", 500), count(&mut client, "hot:", 500));
            assert!(hot > 480 && hot - old > 40, "{policy}: {old} old and {hot} hot keys are left of 500 each");
        });
    }
}

#[test]
fn the_shortest_time_goes_first() {
    against_both(&["--maxmemory-policy", "volatile-ttl"], |server| {
        let mut client = server.client();
        assert_eq!(fill(&mut client, "long:", 500, "EX 100000"), 0);
        assert_eq!(fill(&mut client, "short:", 500, "EX 1000"), 0);
        limit_to_used_and(server, 0);
        fill(&mut client, "new:", 300, "");
        let (long, short) = (count(&mut client, "long:", 500), count(&mut client, "short:", 500));
        // Both servers draw samples, so a few with a long time go as well: when the others become few, no sample may have one.
        let (long_gone, short_gone) = (500 - long, 500 - short);
        assert!(
            short_gone > 200 && long_gone * 5 < short_gone,
            "{long} of 500 with a long time are left, {short} of 500 with a short one"
        );
    });
}

#[test]
fn a_lower_limit_acts_by_itself() {
    against_both(&["--maxmemory-policy", "allkeys-random"], |server| {
        let mut client = server.client();
        assert_eq!(fill(&mut client, "key:", 20_000, ""), 0);
        let limit = info(server, "used_memory") / 2;
        client.line(&format!("CONFIG SET maxmemory {limit}"));
        assert!(wait_until(DEADLINE, || info(server, "used_memory") <= limit + 64 * 1024));
        let left = client.line("DBSIZE").integer().expect("a number");
        assert!((2_000..12_000).contains(&left), "{left} of 20000 keys are left");
        assert_eq!(info(server, "current_eviction_exceeded_time"), 0);
    });
}

#[test]
fn all_databases_are_chosen_from() {
    against_both(&["--maxmemory-policy", "allkeys-random"], |server| {
        let mut client = server.client();
        for db in [0, 1, 9] {
            client.line(&format!("SELECT {db}"));
            assert_eq!(fill(&mut client, "key:", 500, ""), 0);
        }
        limit_to_used_and(server, 0);
        fill(&mut client, "new:", 600, "");
        for db in [0, 1, 9] {
            client.line(&format!("SELECT {db}"));
            let left = count(&mut client, "key:", 500);
            assert!((100..490).contains(&left), "{left} of 500 keys are left in database {db}");
        }
    });
}

#[test]
fn watchers_and_subscribers_hear_of_it() {
    against_both(&["--maxmemory-policy", "volatile-lru", "--notify-keyspace-events", "Ee"], |server| {
        let (mut client, mut watcher, mut listener) = (server.client(), server.client(), server.client());
        say(&mut watcher, &[("SET it 1 EX 1000", "OK"), ("WATCH it", "OK"), ("MULTI", "OK"), ("GET it", "QUEUED")]);
        listener.line("SUBSCRIBE __keyevent@0__:evicted");
        limit_to_used_and(server, 0);
        assert!(wait_until(DEADLINE, || fill(&mut client, "more", 10, "") > 0));
        assert!(watcher.line("EXEC").is_null());
        let said = listener.receive().expect("a message");
        assert_eq!(said.elements().expect("three")[2].text(), Some("it"));
    });
}

#[test]
fn the_append_only_file_hears_of_it() {
    for (lazy, verb) in [("no", "DEL"), ("yes", "UNLINK")] {
        let arguments = ["--maxmemory-policy", "volatile-lru", "--appendonly", "yes", "--lazyfree-lazy-eviction", lazy];
        against_both(&arguments, |server| {
            let mut client = server.client();
            assert!(wait_until(DEADLINE, || client.line("SET it 1 EX 1000").text() == Some("OK")));
            limit_to_used_and(server, 0);
            assert!(wait_until(DEADLINE, || fill(&mut client, "more", 10, "") > 0));
            let wanted = format!("*2\r\n${}\r\n{verb}\r\n$2\r\nit\r\n", verb.len());
            let folder = server.directory().join("appendonlydir");
            assert!(wait_until(DEADLINE, || {
                let files = std::fs::read_dir(&folder).expect("a folder");
                files
                    .filter_map(|file| std::fs::read(file.ok()?.path()).ok())
                    .any(|bytes| bytes.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted.as_bytes())))
            }));
        });
    }
}

#[test]
fn who_waits_for_a_stream_that_is_evicted_is_told() {
    against_both(&["--maxmemory-policy", "volatile-lru"], |server| {
        let (mut client, mut waiter) = (server.client(), server.client());
        let steps = [("XGROUP CREATE s g $ MKSTREAM", "OK"), ("EXPIRE s 1000", "(integer) 1")];
        say(&mut client, &steps);
        waiter.queue(&["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"]);
        waiter.flush().expect("sent");
        assert!(wait_until(DEADLINE, || info(server, "blocked_clients") == 1));
        limit_to_used_and(server, 0);
        assert!(wait_until(DEADLINE, || fill(&mut client, "more", 10, "") > 0));
        let said = waiter.receive().expect("a reply").to_string();
        assert!(said.starts_with("(error) "), "{said}");
    });
}

#[test]
fn what_is_refused_where_nothing_may_go() {
    against_both(&[], |server| {
        let (mut client, mut other) = (server.client(), server.client());
        const FULL: &str = "(error) OOM command not allowed when used memory > \\'maxmemory\\'.";
        say(&mut client, &[("SET a 1", "OK"), ("RPUSH l 1 2", "(integer) 2"), ("CONFIG SET maxmemory 1", "OK")]);
        say(
            &mut client,
            &[
                ("SET b 1", FULL),
                ("GET a", "\"1\""),
                ("LPOP l", "\"1\""),
                ("DEL none", "(integer) 0"),
                ("APPEND a x", FULL),
            ],
        );
        // What is queued needs memory too.
        say(&mut client, &[("MULTI", "OK"), ("GET a", "QUEUED"), ("SET b 1", FULL)]);
        say(&mut client, &[("EXEC", "(error) EXECABORT Transaction discarded because of previous errors.")]);
        no_limit(server);
        say(&mut client, &[("MULTI", "OK"), ("SET b 1", "QUEUED")]);
        say(&mut other, &[("CONFIG SET maxmemory 1", "OK")]);
        let text = "(error) EXECABORT Transaction discarded because of: OOM command not allowed when used memory > \\'maxmemory\\'.";
        say(&mut client, &[("EXEC", text), ("GET b", "(nil $-1)")]);
        // A transaction that has begun goes on to its end.
        no_limit(server);
        say(&mut client, &[("MULTI", "OK"), ("CONFIG SET maxmemory 1", "QUEUED")]);
        no_limit(server);
        say(&mut client, &[("EXEC", "[OK]")]);
        // By their first line scripts are refused as a whole.
        for script in ["#!lua\nreturn 1", "#!lua flags=no-cluster\nreturn 1"] {
            assert_eq!(client.command(&["EVAL", script, "0"]).expect("a reply").to_string(), FULL);
            let sha = client.command(&["SCRIPT", "LOAD", script]).expect("a reply");
            let sha = sha.text().expect("a name").to_owned();
            assert_eq!(client.command(&["EVALSHA", &sha, "0"]).expect("a reply").to_string(), FULL);
            say(&mut client, &[("MULTI", "OK")]);
            assert_eq!(client.command(&["EVALSHA", &sha, "0"]).expect("a reply").to_string(), FULL);
            say(&mut client, &[("EXEC", "(error) EXECABORT Transaction discarded because of previous errors.")]);
        }
        for script in ["#!lua flags=allow-oom\nreturn 1", "#!lua flags=no-writes\nreturn 1", "return 1"] {
            assert_eq!(client.command(&["EVAL", script, "0"]).expect("a reply").integer(), Some(1));
        }
        assert_eq!(info(server, "evicted_keys"), 0);
        no_limit(server);
        say(&mut client, &[("SET b 1", "OK")]);
    });
}

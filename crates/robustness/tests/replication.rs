//! Primaries and replicas: Spinel with itself and with the real servers, on either side.
//!
//! What every pair is put through: data of all types that both know, writes from several connections while the replica joins, links that are
//! cut, either side restarted, promoted and demoted. At the end both have the same data at the same offset, and where real servers manage with a
//! part of the stream, so do we.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rand::Rng;
use testkit::{Client, Kind, Random, Server, ServerOptions, Value, random_from, wait_for};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that can be a primary or a replica, and is not slow to begin.
fn start(kind: Kind, arguments: &[&str]) -> Option<Server> {
    if testkit::program(kind).is_none() {
        testkit::skip_aloud(&format!("no {kind} here (run tools/peers.sh, or build spinel)"));
        return None;
    }
    let common = ["--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes", "--repl-backlog-size", "64mb"];
    let server = ServerOptions::new(kind).arguments(common.iter().chain(arguments).copied()).start();
    Some(server.expect("a server that is there starts"))
}

fn info(client: &mut Client) -> BTreeMap<String, String> {
    let text = client.line("INFO replication");
    let text = text.text().expect("INFO is a text").to_owned();
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name.into(), value.into())).collect()
}

fn stat(client: &mut Client, name: &str) -> u64 {
    let text = client.line("INFO stats").text().expect("INFO is a text").to_owned();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    value.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

fn follow(replica: &Server, primary: &Server) {
    let reply = replica.client().line(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    assert!(reply.to_string().starts_with("OK"), "{reply}");
}

fn is_linked(replica: &Server) -> bool {
    let Ok(mut client) = Client::connect(replica.address()) else { return false };
    info(&mut client).get("master_link_status").is_some_and(|status| status == "up")
}

#[track_caller]
fn wait_linked(replica: &Server) {
    let linked = wait_for(PATIENCE, || is_linked(replica).then_some(()));
    assert!(linked.is_some(), "{} does not come to follow:\n{}", replica.kind(), replica.log());
}

/// Waits until the replica has everything.
#[track_caller]
fn wait_equal_offsets(primary: &Server, replica: &Server) {
    let (mut up, mut down) = (primary.client(), replica.client());
    let same = wait_for(PATIENCE, || {
        let (up, down) = (info(&mut up), info(&mut down));
        let is_up = down.get("master_link_status").is_none_or(|status| status == "up");
        (is_up && up["master_repl_offset"] == *down.get("slave_repl_offset").unwrap_or(&down["master_repl_offset"]))
            .then_some(())
    });
    assert!(
        same.is_some(),
        "{} is at {:?}, its replica {} at {:?}\n{}\n{}",
        primary.kind(),
        info(&mut up),
        replica.kind(),
        info(&mut down),
        primary.log(),
        replica.log()
    );
}

/// All that a server holds, as text.
fn content(server: &Server) -> BTreeMap<(u32, Vec<u8>), String> {
    let mut client = server.client();
    let mut content = BTreeMap::new();
    for db in 0..16 {
        client.line(&format!("SELECT {db}"));
        let keys = client.line("KEYS *");
        for key in keys.elements().expect("KEYS replies with an array") {
            let key = key.bytes().expect("a key").to_vec();
            let mut ask = |words: &[&[u8]]| client.command(words).expect("an answer");
            let of_type = ask(&[b"TYPE", &key]).to_string();
            let value = match of_type.as_str() {
                "string" => ask(&[b"GET", &key]).to_string(),
                "list" => ask(&[b"LRANGE", &key, b"0", b"-1"]).to_string(),
                "set" => sorted(&ask(&[b"SMEMBERS", &key]), 1),
                "hash" => sorted(&ask(&[b"HGETALL", &key]), 2),
                "zset" => ask(&[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"]).to_string(),
                "stream" => format!(
                    "{} {}",
                    ask(&[b"XRANGE", &key, b"-", b"+"]),
                    ask(&[b"XPENDING", &key, b"g"]).to_string().replace("NOGROUP", "")
                ),
                other => panic!("a key of type {other}"),
            };
            let expires = ask(&[b"PEXPIRETIME", &key]);
            content.insert((db, key), format!("{of_type} {expires} {value}"));
        }
    }
    content
}

fn sorted(reply: &Value, group: usize) -> String {
    let items: Vec<String> = reply.elements().expect("an array").iter().map(ToString::to_string).collect();
    let mut groups: Vec<String> = items.chunks(group).map(|items| items.join(" ")).collect();
    groups.sort();
    groups.join(" ")
}

#[track_caller]
fn assert_equal(primary: &Server, replica: &Server) {
    wait_equal_offsets(primary, replica);
    let (ours, theirs) = (content(primary), content(replica));
    for (key, value) in &ours {
        let name = key.1.escape_ascii();
        assert_eq!(theirs.get(key), Some(value), "key {name} of database {} at the replica", key.0);
    }
    let more: Vec<_> = theirs.keys().filter(|key| !ours.contains_key(*key)).collect();
    assert!(more.is_empty(), "the replica has {} keys too many, such as {:?}", more.len(), more[0]);
}

/// One command of a write load on all types.
fn write(random: &mut Random, client: &mut Client) {
    let key = random.random_range(0..200);
    let value = random.random_range(0..1000);
    let line = match random.random_range(0..18) {
        0 => format!("SET s{key} {value}"),
        1 => format!("SET s{key} {value} PX {}", random.random_range(10_000_000..20_000_000)),
        2 => format!("INCRBY n{key} {value}"),
        3 => format!("APPEND s{key} {value}"),
        4 => format!("RPUSH l{key} {value} a b"),
        5 => format!("LPOP l{key} 2"),
        6 => format!("SADD set{key} {value} {key}"),
        7 => format!("SPOP set{key}"),
        8 => format!("HSET h{key} f{value} {value} g {key}"),
        9 => format!("HINCRBYFLOAT h{key} x 0.5"),
        10 => format!("ZADD z{key} {value} m{value} {key} m{key}"),
        11 => format!("ZPOPMIN z{key}"),
        12 => format!("XADD x{key} MAXLEN 50 * f {value}"),
        13 => format!("DEL s{key} l{key}"),
        14 => format!("SELECT {}", random.random_range(0..3)),
        15 => format!("EXPIRE set{key} 100000"),
        16 => format!("SETRANGE s{key} {value} abc"),
        _ => format!("PFADD p{key} {value}"),
    };
    // WRONGTYPE does not come up: each type has its keys. A server that is a replica by now says so.
    let words: Vec<&str> = line.split(' ').collect();
    let _ = client.command(&words);
    if random.random_bool(0.05) {
        for line in ["MULTI", &format!("SET s{key} m"), &format!("INCR n{key}"), "EXEC"] {
            let _ = client.command(&line.split(' ').collect::<Vec<_>>());
        }
    }
}

/// What each type looks like small and large.
fn fill(random: &mut Random, client: &mut Client) {
    for _ in 0..3000 {
        write(random, client);
    }
    client.line("SELECT 0");
    let many: Vec<String> = (0..2000).map(|number| format!("{number}")).collect();
    for (command, key) in [("RPUSH", "big-list"), ("SADD", "big-set")] {
        let words: Vec<&str> = [command, key].into_iter().chain(many.iter().map(String::as_str)).collect();
        client.command(&words).expect("an answer");
    }
    for number in &many {
        client.queue(&["HSET", "big-hash", number, number]);
        client.queue(&["ZADD", "big-zset", number, number]);
        client.queue(&["SET", &format!("text:{number}"), &"x".repeat(number.parse::<usize>().expect("a number") * 7)]);
    }
    client.flush().expect("it is sent");
    (0..3 * many.len()).for_each(|_| drop(client.receive().expect("an answer")));
    client.line("XADD big-stream 1-1 a b");
    client.line("XGROUP CREATE big-stream g 0");
    client.line("XREADGROUP GROUP g c STREAMS big-stream >");
    client.line("SETBIT bits 100000 1");
}

/// Runs while others write from several connections.
fn under_load<R>(primary: &Server, seed: u64, run: impl FnOnce() -> R) -> R {
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (ends, address) = (&ends, primary.address());
            scope.spawn(move || {
                let mut random = random_from(seed + number);
                let Ok(mut client) = Client::connect(address) else { return };
                while !ends.load(Relaxed) {
                    write(&mut random, &mut client);
                }
            });
        }
        // Also where it fails.
        let _ends = Ends(&ends);
        run()
    })
}

/// Ends the load when it goes.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// The whole life of a pair.
fn live(primary_kind: Kind, replica_kind: Kind, threads: &str) {
    let seed = testkit::seed();
    eprintln!("{replica_kind} follows {primary_kind}, {threads} threads, seed {seed}");
    let threads = |kind| if kind == Kind::Spinel { vec!["--io-threads", threads] } else { Vec::new() };
    let Some(primary) = start(primary_kind, &threads(primary_kind)) else { return };
    let Some(replica) = start(replica_kind, &threads(replica_kind)) else { return };
    let mut random = random_from(seed);
    fill(&mut random, &mut primary.client());
    // Something that has to go.
    replica.client().line("SET old 1");

    under_load(&primary, seed, || {
        follow(&replica, &primary);
        wait_linked(&replica);
    });
    assert_equal(&primary, &replica);
    let refused = replica.client().line("SET a 1");
    assert_eq!(refused.bytes(), Some(&b"READONLY You can't write against a read only replica."[..]));

    // A link that is cut heals with a part of the stream, whoever cuts it.
    let full = stat(&mut primary.client(), "sync_full");
    let partial = stat(&mut primary.client(), "sync_partial_ok");
    under_load(&primary, seed + 10, || {
        for round in 0..3 {
            let at = if round == 1 { &replica } else { &primary };
            let kind = if round == 1 { "master" } else { "replica" };
            let killed = at.client().line(&format!("CLIENT KILL TYPE {kind}")).to_string();
            assert!(killed.ends_with('1'), "{killed}\n{}", at.log());
            let mut up = primary.client();
            let healed = wait_for(PATIENCE, || (stat(&mut up, "sync_partial_ok") > partial + round).then_some(()));
            assert!(healed.is_some(), "not healed\n{}\n{}", primary.log(), replica.log());
            wait_linked(&replica);
        }
    });
    assert_eq!(stat(&mut primary.client(), "sync_full"), full, "{}\n{}", primary.log(), replica.log());
    assert_equal(&primary, &replica);

    // The replica becomes the primary, and the other way round: again a part is enough.
    replica.client().line("REPLICAOF NO ONE");
    replica.client().line("SET new-primary 1");
    let full = stat(&mut replica.client(), "sync_full");
    follow(&primary, &replica);
    wait_linked(&primary);
    assert_equal(&replica, &primary);
    assert_eq!(stat(&mut replica.client(), "sync_full"), full, "{}\n{}", primary.log(), replica.log());
}

#[test]
fn spinel_follows_spinel() {
    live(Kind::Spinel, Kind::Spinel, "1");
    live(Kind::Spinel, Kind::Spinel, "4");
}

#[test]
fn spinel_follows_redis() {
    live(Kind::Redis82, Kind::Spinel, "1");
    live(Kind::Redis70, Kind::Spinel, "2");
}

#[test]
fn spinel_follows_valkey() {
    live(Kind::Valkey91, Kind::Spinel, "2");
}

#[test]
fn redis_follows_spinel() {
    live(Kind::Spinel, Kind::Redis82, "1");
    live(Kind::Spinel, Kind::Redis70, "2");
}

#[test]
fn valkey_follows_spinel() {
    live(Kind::Spinel, Kind::Valkey91, "2");
}

/// In a chain, with a restart at each place.
#[test]
fn a_chain() {
    let Some(mut first) = start(Kind::Spinel, &["--io-threads", "2"]) else { return };
    let Some(mut second) = start(Kind::Spinel, &[]) else { return };
    let Some(third) = start(Kind::Spinel, &[]) else { return };
    let seed = testkit::seed();
    fill(&mut random_from(seed), &mut first.client());
    follow(&second, &first);
    wait_linked(&second);
    follow(&third, &second);
    wait_linked(&third);
    under_load(&first, seed, || {
        std::hint::black_box(info(&mut third.client()));
        second.client().line("CLIENT KILL TYPE master");
        wait_linked(&second);
        second.client().line("CLIENT KILL TYPE replica");
        wait_linked(&third);
    });
    assert_equal(&first, &second);
    assert_equal(&second, &third);

    // Who ends in order goes on where it was, and so do those behind it.
    let full = stat(&mut first.client(), "sync_full");
    let mut client = second.client();
    client.queue(&["SHUTDOWN", "SAVE"]);
    client.flush().expect("it is sent");
    assert!(wait_for(PATIENCE, || second.exit_status()).is_some());
    let port = first.port().to_string();
    second.restart(&["--replicaof", "127.0.0.1", &port]).expect("it starts again");
    wait_linked(&second);
    assert_equal(&first, &second);
    assert_eq!(stat(&mut first.client(), "sync_full"), full, "{}\n{}", first.log(), second.log());
    follow(&third, &second);
    wait_linked(&third);
    assert_equal(&second, &third);

    // The primary too.
    let mut client = first.client();
    client.queue(&["SHUTDOWN", "SAVE"]);
    client.flush().expect("it is sent");
    assert!(wait_for(PATIENCE, || first.exit_status()).is_some());
    first.restart(&[]).expect("it starts again");
    follow(&second, &first);
    wait_linked(&second);
    first.client().line("SET after 1");
    assert_equal(&first, &second);
    assert_eq!(stat(&mut first.client(), "sync_full"), 0, "{}\n{}", first.log(), second.log());
}

/// With `min-replicas-to-acknowledge` a reply leaves when so many replicas have the write, and says so when they do not.
#[test]
fn a_write_is_answered_when_replicas_have_it() {
    for replica_kind in [Kind::Spinel, Kind::Redis82] {
        let Some(primary) = start(Kind::Spinel, &["--io-threads", "2"]) else { return };
        let Some(mut replica) = start(replica_kind, &[]) else { return };
        follow(&replica, &primary);
        wait_linked(&replica);
        let mut client = primary.client();
        client.line("CONFIG SET min-replicas-to-acknowledge 1 min-replicas-to-acknowledge-timeout 1500");
        let (mut reader, began) = (replica.client(), std::time::Instant::now());
        for number in 0..300 {
            assert_eq!(client.line(&format!("SET k {number}")).to_string(), "OK");
            // It is there already: nobody has to wait for it.
            assert_eq!(reader.line("GET k").to_string(), format!("\"{number}\""));
        }
        assert!(began.elapsed() < PATIENCE, "each acknowledgement is asked for");
        // Reads are held as well where they could tell of what nobody has, and pipelines come whole.
        for number in 0..100 {
            client.queue(&["INCR", "n"]);
            client.queue(&["GET", "n"]);
            client.queue(&["SET", "k", &number.to_string()]);
        }
        client.flush().expect("it is sent");
        for number in 1..=100 {
            assert_eq!(client.receive().expect("a reply").integer(), Some(number));
            assert_eq!(client.receive().expect("a reply").to_string(), format!("\"{number}\""));
            assert_eq!(client.receive().expect("a reply").to_string(), "OK");
        }
        // A replica that hangs.
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(replica.process().0 as i32).expect("a process"),
            rustix::process::Signal::STOP,
        )
        .expect("it is stopped");
        let tasks = format!("/proc/{}/task", replica.process().0);
        let has_stopped = || {
            std::fs::read_dir(&tasks).expect("its threads").all(|task| {
                let stat = std::fs::read_to_string(task.expect("a thread").path().join("stat")).unwrap_or_default();
                stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
            })
        };
        assert!(wait_for(PATIENCE, || has_stopped().then_some(())).is_some(), "it does not stop");
        let reply = client.line("SET k late");
        assert!(
            reply.is_error_of("NOREPLICAS") && reply.to_string().contains("min-replicas-to-acknowledge"),
            "{reply}"
        );
        assert_eq!(primary.client().line("PING").to_string(), "PONG");
        // One that is gone: then the write is not begun.
        replica.kill();
        let mut other = primary.client();
        let refused = wait_for(PATIENCE, || {
            let reply = other.line("SET k never");
            (reply.bytes() == Some(b"NOREPLICAS Not enough good replicas to write.")).then_some(())
        });
        assert!(refused.is_some(), "{}", primary.log());
        assert!(other.line("SET refused 1").is_error_of("NOREPLICAS"));
        assert_eq!(other.line("EXISTS refused").integer(), Some(0));
    }
}

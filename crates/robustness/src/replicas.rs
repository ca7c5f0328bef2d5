//! What tests of replication have in common: servers that follow each other, a load on all types, and whether two have the same.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rand::Rng;
use testkit::{Client, Kind, Random, Server, ServerOptions, Value, random_from, wait_for};

/// How long a test waits for what has to come.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// A link that has failed is noticed, tried again at intervals, and may fail again while hands are shaken.
pub const HEALED_WITHIN: Duration = Duration::from_secs(60);

/// How often a link fails in a test: `SPINEL_FLAPS`, or 6 times.
pub fn flaps() -> usize {
    std::env::var("SPINEL_FLAPS").ok().map_or(6, |text| text.parse().expect("a number"))
}

/// A server that can be a primary or a replica, and is not slow to begin.
pub fn start(kind: Kind, arguments: &[&str]) -> Option<Server> {
    if testkit::program(kind).is_none() {
        testkit::skip_aloud(&format!("no {kind} here (run tools/peers.sh, or build spinel)"));
        return None;
    }
    let common = ["--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes", "--repl-backlog-size", "64mb"];
    let server = ServerOptions::new(kind).arguments(common.iter().chain(arguments).copied()).start();
    Some(server.expect("a server that is there starts"))
}

/// `INFO replication`.
pub fn replication(client: &mut Client) -> BTreeMap<String, String> {
    let text = client.line("INFO replication");
    let text = text.text().expect("INFO is a text").to_owned();
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name.into(), value.into())).collect()
}

/// A number of `INFO stats`.
pub fn stat(client: &mut Client, name: &str) -> u64 {
    number(client, "stats", name)
}

/// A number of `INFO memory`.
pub fn memory(client: &mut Client, name: &str) -> u64 {
    number(client, "memory", name)
}

fn number(client: &mut Client, section: &str, name: &str) -> u64 {
    let text = client.line(&format!("INFO {section}")).text().expect("INFO is a text").to_owned();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    value.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

/// Makes one follow the other.
pub fn follow(replica: &Server, primary: &Server) {
    let reply = replica.client().line(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    assert!(reply.to_string().starts_with("OK"), "{reply}");
}

/// Ends the server with a snapshot.
#[track_caller]
pub fn end_in_order(server: &mut Server) {
    let mut client = server.client();
    client.queue(&["SHUTDOWN", "SAVE"]);
    client.flush().expect("it is sent");
    assert!(wait_for(PATIENCE, || server.exit_status()).is_some(), "it goes on:\n{}", server.log());
}

/// Whether the replica has its link.
pub fn is_linked(replica: &Server) -> bool {
    let Ok(mut client) = Client::connect(replica.address()) else { return false };
    replication(&mut client).get("master_link_status").is_some_and(|status| status == "up")
}

/// Waits until it has.
#[track_caller]
pub fn wait_linked(replica: &Server) {
    wait_linked_within(replica, PATIENCE);
}

/// The same for one whose link has failed.
#[track_caller]
pub fn wait_healed(replica: &Server) {
    wait_linked_within(replica, HEALED_WITHIN);
}

#[track_caller]
fn wait_linked_within(replica: &Server, time: Duration) {
    let linked = wait_for(time, || is_linked(replica).then_some(()));
    assert!(linked.is_some(), "{} does not come to follow:\n{}", replica.kind(), replica.log());
}

/// Waits until the primary has so many replicas, all of which it counts as up to date, and no others. A replica knows of its link a little
/// earlier than its primary.
#[track_caller]
pub fn wait_for_replicas(primary: &Server, count: usize) {
    let mut client = primary.client();
    let there = wait_for(PATIENCE, || {
        let info = replication(&mut client);
        let online = info.values().filter(|text| text.contains("state=online")).count();
        (info["connected_slaves"] == count.to_string() && online == count).then_some(())
    });
    assert!(there.is_some(), "{} has not {count} replicas:\n{}", primary.kind(), primary.log());
}

/// Waits until the replica has everything.
#[track_caller]
pub fn wait_equal_offsets(primary: &Server, replica: &Server) {
    let (mut up, mut down) = (primary.client(), replica.client());
    let same = wait_for(PATIENCE, || {
        let (up, down) = (replication(&mut up), replication(&mut down));
        let is_up = down.get("master_link_status").is_none_or(|status| status == "up");
        (is_up && up["master_repl_offset"] == *down.get("slave_repl_offset").unwrap_or(&down["master_repl_offset"]))
            .then_some(())
    });
    assert!(
        same.is_some(),
        "{} is at {:?}, its replica {} at {:?}\n{}\n{}",
        primary.kind(),
        replication(&mut up),
        replica.kind(),
        replication(&mut down),
        primary.log(),
        replica.log()
    );
}

/// Where a server is in the stream, by a field of `INFO replication`; 0 where there is none.
pub fn offset(client: &mut Client, field: &str) -> u64 {
    let state = replication(client);
    state.get(field).map_or(0, |text| text.parse().expect("a number"))
}

/// A replica that is far behind gets to catch up, so that the backlog suffices for what comes next. It is never ahead.
#[track_caller]
pub fn keep_close(primary: &Server, replica: &Server) {
    const BEHIND_BYTES_MAX: u64 = 16 << 20;
    const CAUGHT_UP_BYTES: u64 = 1 << 20;
    let (mut up, mut down) = (primary.client(), replica.client());
    // Asked first, it is behind what its primary says later.
    let (behind, ahead) = (offset(&mut down, "slave_repl_offset"), offset(&mut up, "master_repl_offset"));
    assert!(behind <= ahead, "the replica is at {behind}, its primary at {ahead}");
    if ahead - behind > BEHIND_BYTES_MAX {
        let caught_up = wait_for(HEALED_WITHIN, || {
            let behind = offset(&mut down, "slave_repl_offset");
            (offset(&mut up, "master_repl_offset") - behind < CAUGHT_UP_BYTES).then_some(())
        });
        assert!(caught_up.is_some(), "not caught up\n{}\n{}", primary.log(), replica.log());
    }
}

/// All that a server holds, as text.
pub fn content(server: &Server) -> BTreeMap<(u32, Vec<u8>), String> {
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

/// Both hold the same, at the same offset.
#[track_caller]
pub fn assert_equal(primary: &Server, replica: &Server) {
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
pub fn write(random: &mut Random, client: &mut Client) {
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
pub fn fill(random: &mut Random, client: &mut Client) {
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
pub fn under_load<R>(primary: &Server, seed: u64, run: impl FnOnce() -> R) -> R {
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

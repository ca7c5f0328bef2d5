//! Values on their way between servers: DUMP and RESTORE, MIGRATE, and payloads that are damaged.
//!
//! `SPINEL_PAYLOADS` says how many damaged payloads of each value are tried (200; `make payloads` tries 10,000).

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use rand::Rng;
use robustness::values::{EXPIRING_KEYS, KEYS, checksum, content, fill, fill_expiring};
use testkit::{Client, Kind, Random, Server, Value, program, random_from, skip_aloud};

fn peers() -> impl Iterator<Item = (Kind, Server)> {
    Kind::PEERS.into_iter().filter_map(|kind| {
        if program(kind).is_none() {
            skip_aloud(&format!("no {kind} here (run tools/peers.sh)"));
            return None;
        }
        Some((kind, Server::start(kind, &[]).expect("a server that is there starts")))
    })
}

fn spinel() -> Server {
    Server::start(Kind::Spinel, &[]).expect("Spinel starts")
}

fn carry(from: &mut Client, to: &mut Client, key: &str) {
    let expiry = from.line(&format!("PEXPIRETIME {key}")).integer().expect("a time").max(0).to_string();
    let dumped = from.command(&["DUMP", key]).expect("dumped");
    let payload = dumped.bytes().unwrap_or_else(|| panic!("{key}: {dumped}"));
    let restored = to.command(&[&b"RESTORE"[..], key.as_bytes(), expiry.as_bytes(), payload, b"ABSTTL", b"REPLACE"]);
    assert_eq!(restored.expect("a reply").to_string(), "OK", "{key}");
}

/// What this server's payloads can carry to a peer or, without `to_peer`, what the peer has for us. Redis 7.0 knows neither fields that expire
/// nor when a consumer last got something; Valkey's own form of the former is for itself and for Spinel.
fn carried(kind: Kind, to_peer: bool) -> Vec<&'static str> {
    let with_expiring = match kind {
        Kind::Redis82 => true,
        Kind::Valkey91 => !to_peer,
        _ => false,
    };
    let knows_activity = kind != Kind::Redis70 || !to_peer;
    let expiring = EXPIRING_KEYS.iter().filter(|_| with_expiring);
    KEYS.iter().filter(|key| knows_activity || **key != "stream-read").chain(expiring).copied().collect()
}

#[test]
fn payloads_travel_both_ways() {
    for (kind, peer) in peers() {
        let ours = spinel();
        let (mut ours, mut theirs) = (ours.client(), peer.client());
        for to_peer in [true, false] {
            let (from, to) = if to_peer { (&mut ours, &mut theirs) } else { (&mut theirs, &mut ours) };
            from.line("FLUSHALL");
            to.line("FLUSHALL");
            fill(from);
            if kind != Kind::Redis70 {
                fill_expiring(from);
            }
            for key in carried(kind, to_peer) {
                carry(from, to, key);
                assert_eq!(content(from, key), content(to, key), "{key}, {kind}, to it: {to_peer}");
            }
        }
    }
}

#[test]
fn keys_migrate_both_ways() {
    for (kind, peer) in peers() {
        let ours = spinel();
        let (our_port, their_port) = (ours.port().to_string(), peer.port().to_string());
        let (mut ours, mut theirs) = (ours.client(), peer.client());
        fill(&mut ours);
        let keys: Vec<&str> = carried(kind, true).into_iter().filter(|key| KEYS.contains(key)).collect();
        for key in KEYS.iter().filter(|key| !keys.contains(key)) {
            ours.line(&format!("DEL {key}"));
        }
        let contents = |client: &mut Client| keys.iter().map(|key| content(client, key)).collect::<Vec<_>>();
        let migrate = |client: &mut Client, port: &str, options: &[&str], keys: &[&str]| {
            let fixed = ["MIGRATE", "127.0.0.1", port, "", "0", "10000"];
            client.command(&[&fixed, options, &["KEYS"], keys].concat()).expect("a reply").to_string()
        };
        let before = contents(&mut ours);
        assert_eq!(migrate(&mut ours, &their_port, &[], &[&keys[..], &["none"]].concat()), "OK", "{kind}");
        assert_eq!(ours.line("DBSIZE").integer(), Some(0));
        assert_same_but_for_times(&before, &contents(&mut theirs), kind);

        assert_eq!(migrate(&mut theirs, &our_port, &["COPY"], &keys), "OK", "{kind}");
        assert_same_but_for_times(&before, &contents(&mut ours), kind);
        assert_eq!(theirs.line("DBSIZE").integer(), Some(keys.len() as i64));
        // The keys are on both: nothing is replaced, and nothing is lost.
        let busy = "(error) ERR Target instance replied with error: BUSYKEY Target key name already exists.";
        assert_eq!(migrate(&mut ours, &their_port, &[], &["short"]), busy);
        assert_eq!(migrate(&mut ours, &their_port, &["REPLACE"], &["short"]), "OK");
        assert_eq!(ours.line("EXISTS short").integer(), Some(0));
    }
}

/// A time to live is sent as what is left of it, so that the instant differs by what the way has taken.
fn assert_same_but_for_times(before: &[String], after: &[String], kind: Kind) {
    let without_time = |text: &String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[1].truncate(7);
        lines.join("\n")
    };
    for (before, after) in before.iter().zip(after) {
        assert_eq!(without_time(before), without_time(after), "{kind}");
    }
}

/// A server that takes everything and answers when it is told to.
fn take_request(listener: &TcpListener, selects: bool) -> std::net::TcpStream {
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut buffer = [0; 4096];
    let mut taken = Vec::new();
    if selects {
        while !taken.ends_with(b"0\r\n") {
            let count = stream.read(&mut buffer).expect("a request");
            taken.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"+OK\r\n").expect("sent");
    }
    assert!(stream.read(&mut buffer).expect("the keys") > 0);
    stream
}

#[test]
fn who_would_change_a_departing_key_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = Server::start(Kind::Spinel, &["--io-threads", "1"]).expect("Spinel starts");
    let (mut mover, mut writer, mut flusher, mut witness) =
        (server.client(), server.client(), server.client(), server.client());
    for answer in [&b"+OK\r\n"[..], b"-ERR no\r\n", b"HTTP/1.1 200 OK\r\n"] {
        witness.line("MSET a 1 b 2");
        mover.queue(&["MIGRATE", "127.0.0.1", &port.to_string(), "a", "0", "60000"]);
        mover.flush().expect("sent");
        let mut target = take_request(&listener, true);
        writer.queue(&["APPEND", "a", "5"]);
        writer.flush().expect("sent");
        flusher.queue(&["SWAPDB", "0", "1"]);
        flusher.flush().expect("sent");
        // There is one loop: by now it has read both.
        for _ in 0..3 {
            assert_eq!(witness.line("GET a").to_string(), "\"1\"");
            assert_eq!(witness.line("SET b 3").to_string(), "OK");
        }
        target.write_all(answer).expect("sent");
        drop(target);
        let (moved, appended) = (mover.receive().expect("a reply"), writer.receive().expect("a reply"));
        assert_eq!(flusher.receive().expect("a reply").to_string(), "OK");
        // Where it has gone, it begins anew; where it has stayed, nothing was lost.
        let expected = match answer[0] {
            b'+' => ("OK", 1),
            b'-' => ("(error) ERR Target instance replied with error: ERR no", 2),
            _ => ("(error) IOERR error or timeout reading to target instance", 2),
        };
        // SWAPDB may come before APPEND or behind it.
        assert_eq!(moved.to_string(), expected.0);
        assert!([Some(expected.1), Some(1)].contains(&appended.integer()), "{appended}");
        witness.line("FLUSHALL");
    }
}

#[test]
fn a_target_that_is_silent_costs_the_time_and_no_key() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = spinel();
    let mut client = server.client();
    client.line("SET a 1");
    let reply = client.line(&format!("MIGRATE 127.0.0.1 {port} a 0 50"));
    assert_eq!(reply.to_string(), "(error) IOERR error or timeout reading to target instance");
    let reply = client.line("MIGRATE no.such.host.invalid 1 a 0 1000");
    assert_eq!(reply.to_string(), "(error) IOERR error or timeout connecting to the client");
    let reply = client.line("MIGRATE 127.0.0.1 nowhere a 0 1000");
    assert_eq!(reply.to_string(), "(error) IOERR error or timeout writing to target instance");
    // Who has gone away while the key is on its way does not hold it for ever.
    let mut gone = server.client();
    gone.queue(&["MIGRATE", "127.0.0.1", &port.to_string(), "a", "0", "50"]);
    gone.flush().expect("sent");
    drop(gone);
    assert_eq!(client.line("APPEND a 2").integer(), Some(2));
}

// ---------------------------------------------------------------------------------------------------------------------
// Damaged payloads
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn damaged_payloads_are_refused_or_harmless() {
    let rounds = std::env::var("SPINEL_PAYLOADS").map_or(200, |text| text.parse().expect("a number"));
    let mut random = random_from(testkit::seed());
    let server = spinel();
    let mut client = server.client();
    client.set_timeout(Duration::from_secs(60)).expect("a socket");
    fill(&mut client);
    fill_expiring(&mut client);
    let keys = KEYS.iter().chain(EXPIRING_KEYS);
    let payloads: Vec<(&str, Vec<u8>)> = keys
        .map(|key| (*key, client.command(&["DUMP", key]).expect("dumped").bytes().expect("a payload").to_vec()))
        .collect();
    let mut accepted = 0;
    for (key, payload) in &payloads {
        for _ in 0..rounds {
            let other = &payloads[random.random_range(0..payloads.len())].1;
            let damaged = damaged(&mut random, payload, other);
            let reply = client.command(&[&b"RESTORE"[..], b"damaged", b"0", &damaged, b"REPLACE"]);
            let reply = reply.unwrap_or_else(|error| panic!("{key}: {error}, with {damaged:?}\n{}", server.log()));
            if reply.is_error() {
                assert_eq!(reply.to_string(), "(error) ERR Bad data format");
                continue;
            }
            accepted += 1;
            use_it(&mut client, &mut random).unwrap_or_else(|error| {
                panic!("{key}: {error}, with {}\n{}", damaged.escape_ascii(), server.log());
            });
        }
    }
    println!("{accepted} of {} damaged payloads were taken", rounds * payloads.len());
    assert!(accepted > 0);
}

/// The payload with some damage, and a checksum that is right.
fn damaged(random: &mut Random, payload: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = payload[..payload.len() - 10].to_vec();
    let version = &payload[payload.len() - 10..payload.len() - 8];
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..bytes.len());
        // Lengths and headers are at the beginning.
        let at = if random.random() { at.min(random.random_range(0..40)) } else { at };
        match random.random_range(0..9) {
            0..3 => bytes[at] ^= 1 << random.random_range(0..8),
            3 => bytes[at] = random.random(),
            4 => bytes[at] = [0, 0x7F, 0x80, 0xFE, 0xFF, 0x40, 0xC0][random.random_range(0..7)],
            5 => bytes.truncate(at.max(1)),
            6 => bytes.insert(at, random.random()),
            7 => {
                bytes.remove(at);
            }
            _ => {
                let from = random.random_range(0..other.len());
                let count = random.random_range(0..(other.len() - from).clamp(1, 40));
                bytes.splice(at..at, other[from..from + count].iter().copied());
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes.extend_from_slice(version);
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// Reads and changes the key in every way that its type has.
fn use_it(client: &mut Client, random: &mut Random) -> std::io::Result<()> {
    const ANY: &[&str] = &[
        "OBJECT ENCODING damaged",
        "MEMORY USAGE damaged SAMPLES 0",
        "DUMP damaged",
        "COPY damaged copied REPLACE",
        "DEBUG OBJECT damaged",
        "SORT damaged ALPHA LIMIT 0 5",
        "PERSIST damaged",
        "DEL copied",
    ];
    const STRING: &[&str] = &[
        "GET damaged",
        "STRLEN damaged",
        "APPEND damaged x",
        "SETRANGE damaged 3 y",
        "BITCOUNT damaged",
        "PFCOUNT damaged",
        "PFADD damaged a b c",
        "PFMERGE damaged damaged",
        "GETRANGE damaged 0 -1",
        "INCR damaged",
    ];
    const LIST: &[&str] = &[
        "LRANGE damaged 0 -1",
        "LLEN damaged",
        "LINSERT damaged BEFORE hello x",
        "LSET damaged 0 y",
        "LREM damaged 0 12",
        "LPOS damaged hello",
        "RPUSH damaged 1 2",
        "LPOP damaged",
        "RPOP damaged 3",
        "LINDEX damaged -1",
        "LTRIM damaged 1 -2",
    ];
    const SET: &[&str] = &[
        "SMEMBERS damaged",
        "SCARD damaged",
        "SISMEMBER damaged a",
        "SADD damaged new 77",
        "SREM damaged a 1 2",
        "SRANDMEMBER damaged 5",
        "SSCAN damaged 0",
        "SUNION damaged damaged",
        "SPOP damaged 2",
    ];
    const HASH: &[&str] = &[
        "HGETALL damaged",
        "HLEN damaged",
        "HGET damaged f",
        "HSET damaged f x new y",
        "HDEL damaged 7 field1",
        "HSCAN damaged 0",
        "HRANDFIELD damaged 5",
        "HPEXPIRETIME damaged FIELDS 2 f g",
        "HPEXPIRE damaged 100000 FIELDS 1 f",
        "HINCRBY damaged 7 1",
        "HPERSIST damaged FIELDS 1 g",
    ];
    const SORTED_SET: &[&str] = &[
        "ZRANGE damaged 0 -1 WITHSCORES",
        "ZCARD damaged",
        "ZSCORE damaged a",
        "ZRANK damaged a",
        "ZADD damaged 5 new 6 a",
        "ZINCRBY damaged 1 b",
        "ZRANGEBYSCORE damaged -inf +inf LIMIT 0 5",
        "ZRANGEBYLEX damaged - + LIMIT 0 5",
        "ZCOUNT damaged 0 10",
        "ZREM damaged b c",
        "ZPOPMIN damaged",
        "ZPOPMAX damaged 2",
        "ZREMRANGEBYRANK damaged 0 0",
        "GEODIST damaged Palermo Catania",
    ];
    const STREAM: &[&str] = &[
        "XRANGE damaged - +",
        "XREVRANGE damaged + - COUNT 5",
        "XLEN damaged",
        "XINFO STREAM damaged FULL",
        "XINFO GROUPS damaged",
        "XADD damaged * f v",
        "XPENDING damaged readers",
        "XPENDING damaged readers - + 10",
        "XINFO CONSUMERS damaged readers",
        "XREADGROUP GROUP readers alice COUNT 2 STREAMS damaged >",
        "XREADGROUP GROUP readers alice STREAMS damaged 0",
        "XAUTOCLAIM damaged readers bob 0 0",
        "XACK damaged readers 1-1",
        "XDEL damaged 5-1",
        "XTRIM damaged MAXLEN 2",
        "XGROUP DELCONSUMER damaged readers alice",
        "XGROUP DESTROY damaged others",
        "XSETID damaged 99999999-0",
    ];
    let kind = client.line("TYPE damaged").to_string();
    let specific = match kind.trim_matches('"') {
        "string" => STRING,
        "list" => LIST,
        "set" => SET,
        "hash" => HASH,
        "zset" => SORTED_SET,
        "stream" => STREAM,
        _ => return Err(std::io::Error::other(format!("it is a {kind}"))),
    };
    let mut lines: Vec<&str> = ANY.iter().chain(specific).copied().collect();
    // In any order: some of them leave nothing to others.
    for index in (1..lines.len()).rev() {
        lines.swap(index, random.random_range(0..=index));
    }
    for line in &lines {
        client.queue(&line.split(' ').collect::<Vec<_>>());
    }
    client.flush()?;
    for _ in &lines {
        let _: Value = client.receive()?;
    }
    Ok(())
}

//! Real servers: what they write is read here, and what is written here they read, with equal content.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use common::{Content, content_of, content_of_decoded, peer, random_score, random_text, with_value};
use keyspace::Millis;
use rand::Rng;
use rdb::encode::{self, Options};
use rdb::{Checksum, Family, Item, Limits, Reader, Version, dump};
use testkit::{Client, Kind, Random, Server};

/// What a server reads.
fn version_of(kind: Kind) -> Version {
    match kind {
        Kind::Redis70 => Version::REDIS_7_0,
        Kind::Valkey91 => Version::VALKEY_9,
        _ => Version::REDIS_7_4,
    }
}

fn knows_expiring_fields(kind: Kind) -> bool {
    kind != Kind::Redis70
}

const KEYS_PER_TYPE: usize = 40;

/// A time far enough from now.
fn random_expiry(random: &mut Random) -> String {
    (4_000_000_000_000u64 + random.random_range(0..1_000_000_000)).to_string()
}

fn ask(client: &mut Client, words: &[Vec<u8>]) -> testkit::Value {
    let reply = client.command(words).expect("the server answers");
    assert!(!reply.is_error(), "{}: {reply}", words[0].escape_ascii());
    reply
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

/// Fills a server with keys of all types and encodings. Returns their names.
fn fill(client: &mut Client, kind: Kind, random: &mut Random) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    // Every other key is made under small thresholds.
    let families = [("hash", 512), ("zset", 128), ("set", 128)];
    for round in 0..KEYS_PER_TYPE {
        let small = round % 2 == 0;
        for (family, entries_max) in families {
            let (entries, bytes) = if small { (4, 8) } else { (entries_max, 64) };
            // Redis 7.0 has none for sets.
            client.line(&format!("CONFIG SET {family}-max-listpack-entries {entries}"));
            client.line(&format!("CONFIG SET {family}-max-listpack-value {bytes}"));
        }
        ask(client, &words(&format!("CONFIG SET list-max-listpack-size {}", if small { 3 } else { -2 })));
        ask(client, &words(&format!("CONFIG SET list-compress-depth {}", random.random_range(0..2))));
        ask(client, &words(&format!("CONFIG SET stream-node-max-entries {}", if small { 3 } else { 100 })));
        let len = if random.random_range(0..8) == 0 { 700 } else { random.random_range(1..30) };
        for name in ["SET", "RPUSH", "SADD", "ints", "HSET", "HSETX", "ZADD", "XADD"] {
            let key = format!("{name}:{round}").into_bytes();
            let mut command = vec![name.as_bytes().to_vec(), key.clone()];
            match name {
                "SET" => command.push(if round == 0 { vec![b'q'; 100_000] } else { random_text(random) }),
                "RPUSH" => {
                    command.extend((0..len).map(|_| random_text(random)));
                    if round % 10 == 0 {
                        command.push(vec![b'l'; 20_000]);
                    }
                }
                "SADD" => command.extend((0..len).map(|_| random_text(random))),
                "ints" => {
                    command[0] = b"SADD".to_vec();
                    let shift = random.random_range(0..64);
                    command.extend((0..len).map(|_| (random.random::<i64>() >> shift).to_string().into_bytes()));
                }
                "HSET" | "HSETX" => {
                    command[0] = b"HSET".to_vec();
                    command.extend((0..2 * len).map(|_| random_text(random)));
                }
                "ZADD" => command.extend((0..len).flat_map(|_| {
                    let score = resp::number::DoubleText::new(random_score(random));
                    [score.as_bytes().to_vec(), random_text(random)]
                })),
                _ => {}
            }
            match name {
                "XADD" => fill_stream(client, &key, len, random),
                _ => drop(ask(client, &command)),
            }
            if name == "HSETX" && knows_expiring_fields(kind) {
                for field in command[2..].chunks(2).take(3) {
                    let mut command = vec![b"HPEXPIREAT".to_vec(), key.clone(), random_expiry(random).into_bytes()];
                    command.extend([b"FIELDS".to_vec(), b"1".to_vec(), field[0].clone()]);
                    ask(client, &command);
                }
            }
            if random.random() {
                ask(client, &[b"PEXPIREAT".to_vec(), key.clone(), random_expiry(random).into_bytes()]);
            }
            keys.push(key);
        }
    }
    keys
}

fn fill_stream(client: &mut Client, key: &[u8], len: usize, random: &mut Random) {
    let name = String::from_utf8(key.to_vec()).expect("a name");
    let mut ids = Vec::new();
    let mut ms = random.random_range(1..1u64 << 40);
    for number in 0..len {
        ms += random.random_range(0..1000);
        let mut command = words(&format!("XADD {name} {ms}-{number}"));
        match random.random_range(0..3) {
            0 => command.extend([b"f".to_vec(), random_text(random), b"g".to_vec(), random_text(random)]),
            _ => command.extend((0..2 * random.random_range(1..4)).map(|_| random_text(random))),
        }
        ask(client, &command);
        ids.push(format!("{ms}-{number}"));
    }
    for _ in 0..random.random_range(0..3) {
        ask(client, &words(&format!("XDEL {name} {}", ids[random.random_range(0..len)])));
    }
    for group in 0..random.random_range(0..3) {
        let from = if random.random() { "0" } else { &ids[random.random_range(0..len)] };
        ask(client, &words(&format!("XGROUP CREATE {name} group{group} {from}")));
        ask(client, &words(&format!("XGROUP CREATECONSUMER {name} group{group} idle")));
        for consumer in 0..random.random_range(0..3) {
            let count = random.random_range(1..20);
            ask(
                client,
                &words(&format!("XREADGROUP GROUP group{group} consumer{consumer} COUNT {count} STREAMS {name} >")),
            );
        }
    }
    if random.random() {
        ask(client, &words(&format!("XTRIM {name} MAXLEN 2")));
    }
}

type Keys = BTreeMap<Vec<u8>, (Content, Option<i64>)>;

/// What the server says that these keys hold, and when they expire.
fn read_peer(client: &mut Client, kind: Kind, keys: &[Vec<u8>]) -> Keys {
    let mut all = Keys::new();
    for key in keys {
        let expiry = ask(client, &[b"PEXPIRETIME".to_vec(), key.clone()]).integer().filter(|&at| at >= 0);
        all.insert(key.clone(), (peer::read(client, key, knows_expiring_fields(kind)), expiry));
    }
    all
}

fn assert_equal(expected: &Keys, found: &Keys) {
    for (key, content) in expected {
        assert_eq!(Some(content), found.get(key), "key {}", key.escape_ascii());
    }
    assert_eq!(expected.len(), found.len());
}

fn load(file: &[u8], limits: &Limits) -> Keys {
    let mut keys = Keys::new();
    let mut reader = Reader::new(file, *limits).unwrap();
    let ms = |Millis(at): Millis| at;
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Batch(batch) => {
                for record in batch.records() {
                    let content = content_of_decoded(&record.decode(limits).unwrap());
                    keys.insert(record.key().unwrap().into_owned(), (content, record.expire_at().map(ms)));
                }
            }
            Item::Decoded(decoded) => {
                let content = content_of_decoded(&decoded.value);
                keys.insert(decoded.key, (content, decoded.expire_at.map(ms)));
            }
            _ => {}
        }
    }
    keys
}

/// The same keys, written here. Read under other limits, so that values are in encodings of all kinds.
fn write(file: &[u8], limits: &Limits, options: &Options) -> Vec<u8> {
    let mut out = Vec::new();
    encode::header(&mut out, options.version);
    encode::aux(&mut out, b"redis-bits", b"64");
    encode::select_db(&mut out, 0);
    let mut reader = Reader::new(file, *limits).unwrap();
    while let Some(item) = reader.next_item().unwrap() {
        if let Item::Batch(batch) = item {
            for record in batch.records() {
                let key = record.key().unwrap();
                record.decode(limits).unwrap().with_new_value(|value| {
                    with_value(value, |value| {
                        encode::record(&mut out, &key, record.expire_at(), None, value, options);
                    });
                });
            }
        }
    }
    encode::end(&mut out);
    let checksum = Checksum::of(&out);
    encode::footer(&mut out, checksum);
    out
}

fn start_with(kind: Kind, file: &[u8], directory: &Path) -> Server {
    std::fs::write(directory.join("dump.rdb"), file).expect("a file in the test's directory");
    let server =
        Server::start(kind, &["--dir", directory.to_str().expect("a path")]).expect("the server loads the file");
    let mut client = server.client();
    assert!(testkit::wait_until(Duration::from_secs(20), || !client.line("EXISTS key").is_error()), "it is loaded");
    server
}

fn exchange(kind: Kind) {
    let server = testkit::server_or_skip!(kind);
    let mut random = testkit::random_from(testkit::seed());
    let mut client = server.client();
    let keys = fill(&mut client, kind, &mut random);
    let expected = read_peer(&mut client, kind, &keys);

    // A file, in its direction and back.
    ask(&mut client, &words("SAVE"));
    let file = std::fs::read(server.directory().join("dump.rdb")).expect("it was saved");
    let small = common::random_limits(&mut random);
    for limits in [Limits::default(), small] {
        assert_equal(&expected, &load(&file, &limits));
        for compress in [true, false] {
            let written = write(&file, &limits, &Options { version: version_of(kind), compression: compress.into() });
            let directory = server.directory().join(format!("written-{compress}"));
            std::fs::create_dir_all(&directory).expect("a directory");
            let other = start_with(kind, &written, &directory);
            assert_equal(&expected, &read_peer(&mut other.client(), kind, &keys));
        }
    }

    // Payloads.
    for key in &keys {
        let payload = ask(&mut client, &[b"DUMP".to_vec(), key.clone()]).bytes().expect("a payload").to_vec();
        let (content, _) = &expected[key];
        let value = dump::restore(&payload, &small).unwrap_or_else(|error| panic!("{}: {error}", key.escape_ascii()));
        assert_eq!(&content_of_decoded(&value), content, "key {}", key.escape_ascii());
        let payload = value.with_new_value(|value| {
            with_value(value, |value| {
                let family = if kind == Kind::Valkey91 { Family::Valkey } else { Family::Redis };
                let own = dump::dump(value, family, true);
                let number = u16::from_le_bytes([own[own.len() - 10], own[own.len() - 9]]);
                let expires = matches!(content_of(value), Content::Hash(fields) if fields.values().any(|field| field.1.is_some()));
                // Only what no older version holds is written in a version that not all know.
                assert!(number <= 11 || expires, "version {number} of {}", key.escape_ascii());
                match number > version_of(kind).number() {
                    true => dump::dump_as(value, &Options { version: version_of(kind), compression: true.into() }),
                    false => own,
                }
            })
        });
        let restored = [b"RESTORE".to_vec(), b"restored".to_vec(), b"0".to_vec(), payload, b"REPLACE".to_vec()];
        ask(&mut client, &restored);
        assert_eq!(
            &peer::read(&mut client, b"restored", knows_expiring_fields(kind)),
            content,
            "{}",
            key.escape_ascii()
        );
    }
}

#[test]
fn redis_7_0() {
    exchange(Kind::Redis70);
}

#[test]
fn redis_8_2() {
    exchange(Kind::Redis82);
}

#[test]
fn valkey_9_1() {
    exchange(Kind::Valkey91);
}

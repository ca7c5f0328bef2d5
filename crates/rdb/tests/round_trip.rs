//! What was written comes back: payloads and whole files of values at random.

mod common;

use std::collections::BTreeMap;
use std::io::Read;

use common::{Content, content_of, content_of_decoded, random_limits, random_text, random_value, with_value};
use keyspace::Millis;
use rand::Rng;
use rdb::encode::{self, Options};
use rdb::{Access, Checksum, Family, Item, Limits, Reader, Version, dump};
use testkit::Random;

const VERSIONS: [Version; 4] = [Version::REDIS_7_0, Version::REDIS_7_2, Version::REDIS_7_4, Version::VALKEY_9];

/// What a version cannot say.
fn known_to(mut content: Content, version: Version) -> Content {
    if let Content::Stream(stream) = &mut content
        && !version.has_consumer_activity()
    {
        let consumers = stream.groups.values_mut().flat_map(|group| group.consumers.values_mut());
        consumers.for_each(|(seen, active)| *active = Some(*seen));
    }
    content
}

#[test]
fn payloads() {
    let seed = testkit::seed();
    let mut random = testkit::random_from(seed);
    for round in 0..3000 {
        let (limits, read_limits) = (random_limits(&mut random), random_limits(&mut random));
        let value = random_value(&mut random, &limits, round % common::KINDS);
        with_value(value, |value| {
            let content = content_of(value);
            let payload = dump::dump(value, Family::Redis, random.random());
            let read = dump::restore(&payload, &read_limits).unwrap_or_else(|error| panic!("{error}: {content:?}"));
            assert_eq!(content_of_decoded(&read), content);
            let version = VERSIONS[random.random_range(0..4)];
            if version != Version::REDIS_7_0 || Version::needed_by(value, Family::Redis) == version {
                let payload = dump::dump_as(value, &Options { version, compression: random.random::<bool>().into() });
                let read = dump::restore(&payload, &read_limits).unwrap_or_else(|error| panic!("{error}: {content:?}"));
                assert_eq!(content_of_decoded(&read), known_to(content, version));
            }
        });
    }
}

type Keys = BTreeMap<(u64, Vec<u8>), (Option<Millis>, Option<Access>, Content)>;

fn random_file(random: &mut Random, options: &Options) -> (Vec<u8>, Keys) {
    let (mut out, mut keys) = (Vec::new(), Keys::new());
    encode::header(&mut out, options.version);
    encode::aux(&mut out, b"redis-ver", b"8.2.0");
    encode::function(&mut out, b"#!lua name=lib", options);
    for db in [0, 1, 300] {
        encode::select_db(&mut out, db);
        encode::resize_db(&mut out, 40, 20);
        for _ in 0..random.random_range(0..60) {
            let key = random_text(random);
            let kind = random.random_range(0..common::KINDS);
            let limits = random_limits(random);
            let value = match random.random_range(0..100) {
                // Longer than what goes into a batch.
                0 => keyspace::NewValue::Large(vec![b'z'; 3 << 20].into()),
                1 => {
                    let mut list = keyspace::List::default();
                    for number in 0..200_000 {
                        list.grow(20, 1, limits.list);
                        list.push(keyspace::End::Back, format!("number {number}").as_bytes().into());
                    }
                    keyspace::NewValue::Object(list.into())
                }
                _ => random_value(random, &limits, kind),
            };
            let expire_at = random.random::<bool>().then(|| Millis(random.random_range(1..1 << 45)));
            let access = match random.random_range(0..3) {
                0 => Some(Access::IdleSeconds(random.random_range(0..1_000_000))),
                1 => Some(Access::Frequency(random.random())),
                _ => None,
            };
            with_value(value, |value| {
                let slot = keys.entry((u64::from(db), key.clone()));
                let std::collections::btree_map::Entry::Vacant(slot) = slot else { return };
                encode::record(&mut out, &key, expire_at, access, value, options);
                slot.insert((expire_at, access, known_to(content_of(value), options.version)));
            });
        }
    }
    encode::end(&mut out);
    let checksum = Checksum::of(&out);
    encode::footer(&mut out, checksum);
    (out, keys)
}

/// Gives its bytes in pieces of all sizes.
struct Dripping<'a>(&'a [u8], Random);

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = [1, 10, 1000, 100_000, 10_000_000][self.1.random_range(0..5)];
        let len = self.0.len().min(buffer.len()).min(self.1.random_range(1..=most));
        buffer[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        Ok(len)
    }
}

fn read_keys(mut reader: Reader<impl Read>, limits: &Limits) -> Keys {
    let mut keys = Keys::new();
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Batch(batch) => {
                for record in batch.records() {
                    let value = record.decode(limits).unwrap();
                    let fact = (record.expire_at(), record.access(), content_of_decoded(&value));
                    assert!(keys.insert((record.db(), record.key().unwrap().into_owned()), fact).is_none());
                }
            }
            Item::Decoded(decoded) => {
                let fact = (decoded.expire_at, decoded.access, content_of_decoded(&decoded.value));
                assert!(keys.insert((decoded.db, decoded.key), fact).is_none());
            }
            Item::Function(code) => assert_eq!(code, b"#!lua name=lib"),
            Item::Aux { name, value } => assert_eq!((&name[..], &value[..]), (&b"redis-ver"[..], &b"8.2.0"[..])),
            Item::ResizeDb { keys, volatile_keys } => assert_eq!((keys, volatile_keys), (40, 20)),
            Item::SelectDb(_) | Item::End => {}
            Item::SlotInfo { .. } => panic!("none was written"),
        }
    }
    keys
}

#[test]
fn files() {
    let seed = testkit::seed();
    let mut random = testkit::random_from(seed);
    for round in 0..12 {
        let options =
            Options { version: VERSIONS[random.random_range(0..4)], compression: random.random::<bool>().into() };
        let (file, keys) = random_file(&mut random, &options);
        let limits = random_limits(&mut random);
        let at_once = read_keys(Reader::new(&file[..], limits).unwrap(), &limits);
        assert!(at_once == keys, "round {round}");
        let dripping = read_keys(Reader::new(Dripping(&file, testkit::random_from(seed)), limits).unwrap(), &limits);
        assert!(dripping == keys, "round {round}, dripping");
    }
}

#[test]
fn what_follows_the_end_is_left() {
    let (mut file, _) = random_file(&mut testkit::random_from(testkit::seed()), &Options::default());
    file.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
    let mut reader = Reader::new(&file[..], Limits::default()).unwrap();
    while reader.next_item().unwrap().is_some() {}
    let (mut rest, mut source) = reader.into_rest();
    source.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"*1\r\n$4\r\nPING\r\n");
}

#[test]
fn damage_is_noticed() {
    let (file, _) = random_file(&mut testkit::random_from(testkit::seed()), &Options::default());
    let read = |file: &[u8]| {
        let mut reader = Reader::new(file, Limits::default())?;
        while reader.next_item()?.is_some() {}
        Ok::<_, rdb::Error>(())
    };
    assert!(read(&file).is_ok());
    let mut random = testkit::random_from(testkit::seed());
    for _ in 0..200 {
        let cut = random.random_range(0..file.len());
        assert!(read(&file[..cut]).is_err(), "cut at {cut}");
        let mut changed = file.clone();
        changed[cut] ^= 1 << random.random_range(0..8);
        assert!(read(&changed).is_err() || cut >= file.len() - 8, "changed at {cut}");
    }
}

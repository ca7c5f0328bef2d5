//! Values in the forms of versions 1 to 9, and of servers between releases: with the content they were made of, and as Redis 8.2 reads them.

mod common;

use common::old::{OLD, old_value, payload};
use common::{Content, content_of_decoded};
use rdb::{Item, Limits, Reader, Value, dump};
use testkit::Kind;

/// Of both zeros a small sorted set keeps one, and which one cannot be seen.
fn comparable(mut content: Content) -> Content {
    if let Content::SortedSet(members) = &mut content {
        members.iter_mut().for_each(|(_, score)| *score += 0.0);
    }
    content
}

#[test]
fn hold_what_they_were_made_of() {
    let mut random = testkit::random_from(testkit::seed());
    for round in 0..600 {
        let old = old_value(&mut random, OLD[round % OLD.len()]);
        let limits = common::random_limits(&mut random);
        let payload = payload(old.value_type.code(), &old.body, 9);
        let value = dump::restore(&payload, &limits).unwrap_or_else(|error| panic!("{:?}: {error}", old.value_type));
        assert_eq!(comparable(content_of_decoded(&value)), comparable(old.content), "{:?}", old.value_type);
    }
}

#[test]
fn redis_8_2_reads_the_same() {
    let server = testkit::server_or_skip!(Kind::Redis82);
    let mut random = testkit::random_from(testkit::seed());
    let mut client = server.client();
    for round in 0..240 {
        let old = old_value(&mut random, OLD[round % OLD.len()]);
        let payload = payload(old.value_type.code(), &old.body, 9);
        let reply = client.command(&[b"RESTORE", &b"key"[..], b"0", &payload, b"REPLACE"]).unwrap();
        assert_eq!(reply.to_string(), "OK", "{:?}", old.value_type);
        let content = common::peer::read(&mut client, b"key", true);
        assert_eq!(comparable(content), comparable(old.content), "{:?}", old.value_type);
        // In the same encoding, which tells how it is kept from then on.
        let Value::Object(object) = dump::restore(&payload, &Limits::default()).unwrap() else { unreachable!() };
        let encoding = client.command(&["OBJECT", "ENCODING", "key"]).unwrap();
        assert_eq!(encoding.to_string(), format!("\"{}\"", object.encoding_name()), "{:?}", old.value_type);
    }
}

/// A file as Redis 2.0 could have written it: no checksum, seconds, nothing around the records.
#[test]
fn a_file_of_version_1() {
    let file = [
        &b"REDIS0001\xFE\x00"[..],
        &[0xFD],
        &2_000_000_000i32.to_le_bytes(),
        b"\x00\x03key\x05value\x01\x04list\x02\xC0\x05\xC2\x00\x00\x01\x00\xFF",
    ]
    .concat();
    let mut reader = Reader::new(&file[..], Limits::default()).unwrap();
    assert_eq!(reader.version().number(), 1);
    let mut found = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        if let Item::Batch(batch) = item {
            for record in batch.records() {
                let content = content_of_decoded(&record.decode(&Limits::default()).unwrap());
                found.push((record.key().unwrap().into_owned(), record.expire_at(), content));
            }
        }
    }
    let expected = [
        (b"key".to_vec(), Some(keyspace::Millis(2_000_000_000_000)), Content::String(b"value".to_vec())),
        (b"list".to_vec(), None, Content::List(vec![b"5".to_vec(), b"65536".to_vec()])),
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_refused_says_why() {
    let read = |bytes: &[u8]| -> String {
        let mut reader = match Reader::new(bytes, Limits::default()) {
            Ok(reader) => reader,
            Err(error) => return error.to_string(),
        };
        loop {
            match reader.next_item() {
                Ok(Some(Item::Batch(batch))) => {
                    for record in batch.records() {
                        if let Err(error) = record.decode(&Limits::default()) {
                            return error.to_string();
                        }
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return "read".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    };
    let json = b"ReJSON-RL".iter().fold(0u64, |id, letter| {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        id << 6 | letters.iter().position(|other| other == letter).unwrap() as u64
    });
    let id = [&[0x81][..], &(json << 10 | 3).to_be_bytes()].concat();
    for (bytes, expected) in [
        (b"RUBIS0011".to_vec(), "offset 0: this is no RDB file"),
        (b"REDIS0013".to_vec(), "offset 0: version 13 of the format is not known"),
        (b"VALKEY081".to_vec(), "offset 0: version VALKEY 81 of the format is not known"),
        (b"REDIS0011\xFE\x00\x00\x01k\x03va".to_vec(), "offset 17, key \"k\": the data ends here"),
        (b"REDIS0011\xFE\x00\x1B\x01k".to_vec(), "offset 11: expected the type of a value or an opcode, found 27"),
        (
            [b"REDIS0011\xFE\x00\x07\x01k", &id[..], b"\x00"].concat(),
            "offset 14, key \"k\": data of the module \"ReJSON-RL\", version 3 of its format",
        ),
        ([b"REDIS0011\xF7", &id[..], b"\x00"].concat(), "offset 10: data of the module \"ReJSON-RL\""),
        (b"REDIS0011\xF6\x00".to_vec(), "offset 9: functions as release candidates of Redis 7.0"),
        (
            b"REDIS0011\xFE\x00\x02\x01k\x00\xFF\0\0\0\0\0\0\0\0".to_vec(),
            "offset 14, key \"k\": a collection without elements",
        ),
        (
            b"REDIS0011\xFE\x00\x02\x01k\x02\x01a\x01a\xFF\0\0\0\0\0\0\0\0".to_vec(),
            "offset 14, key \"k\": the member \"a\" appears twice",
        ),
        (
            b"REDIS0011\xFE\x00\xFF\x01\x02\x03\x04\x05\x06\x07\x08".to_vec(),
            "offset 12: the checksum is 0x0807060504030201, that of the data",
        ),
        (
            b"REDIS0011\xFE\x00\x10\x01k\x0C\x0C\x00\x00\x00\x03\x00\x81a\x02\x05\x01\xFF\xFF\0\0\0\0\0\0\0\0".to_vec(),
            "offset 14, key \"k\": a listpack of 12 bytes that is none: invalid listpack at byte 4",
        ),
    ] {
        let said = read(&bytes);
        assert!(said.starts_with(expected), "{said}\nand not\n{expected}");
    }
}

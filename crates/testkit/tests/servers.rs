//! The real servers start, answer and end. (Skips aloud without them.)

use std::time::Duration;

use spinel_testkit::{Kind, server_or_skip};

fn starts_answers_and_ends(kind: Kind) {
    let mut server = server_or_skip!(kind);
    let mut client = server.client().hello(3);
    assert_eq!(client.line("SET k v").to_string(), "OK");
    let commands: Vec<Vec<&str>> = vec![vec!["GET", "k"], vec!["INCR", "k"], vec!["GET", "nothing"]];
    let replies: Vec<String> = client.pipeline(&commands).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(replies, ["\"v\"", "(error) ERR value is not an integer or out of range", "(nil _)"]);
    assert!(server.process().resident_bytes().unwrap() > 1_000_000);
    let mut raw = server.client();
    raw.queue_raw(b"PING\r\n");
    assert_eq!(raw.finish().unwrap(), b"+PONG\r\n");
    assert!(server.terminate(Duration::from_secs(20)).expect("ends").success());
}

#[test]
fn redis_8_2() {
    starts_answers_and_ends(Kind::Redis82);
}

#[test]
fn valkey_9_1() {
    starts_answers_and_ends(Kind::Valkey91);
}

#[test]
fn redis_7_0() {
    starts_answers_and_ends(Kind::Redis70);
}

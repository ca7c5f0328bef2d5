//! The reply encoder, read back by the client's parser, and checked byte for byte where Redis's bytes are known.

use std::io::IoSlice;
use std::sync::Arc;

use proptest::prelude::*;
use spinel_resp::encode::SHARED_BYTES_MIN;
use spinel_resp::{Proto, Reply, ReplyParser, Value, fuzz};

fn text_of(reply: &Reply) -> String {
    reply.segments().flatten().copied().collect::<Vec<u8>>().escape_ascii().to_string().replace(r"\r\n", "|")
}

fn in_both(write: impl Fn(&mut Reply)) -> (String, String) {
    let [two, three] = [Proto::Resp2, Proto::Resp3].map(|proto| {
        let mut reply = Reply::new();
        reply.set_proto(proto);
        write(&mut reply);
        text_of(&reply)
    });
    (two, three)
}

#[test]
fn every_type_in_both_protocols() {
    let check = |write: &dyn Fn(&mut Reply), two: &str, three: &str| {
        assert_eq!(in_both(write), (two.to_owned(), three.to_owned()))
    };
    check(&|r| r.ok(), "+OK|", "+OK|");
    check(&|r| r.simple("Background saving started"), "+Background saving started|", "+Background saving started|");
    check(&|r| r.error("ERR it\r\nbroke"), "-ERR it  broke|", "-ERR it  broke|");
    check(&|r| r.error_fmt(format_args!("ERR {}", 1)), "-ERR 1|", "-ERR 1|");
    for value in [0, 1, -1, 10, 1000, i64::MIN, i64::MAX] {
        check(&|r| r.int(value), &format!(":{value}|"), &format!(":{value}|"));
        check(
            &|r| r.bulk_int(value),
            &format!("${}|{value}|", value.to_string().len()),
            &format!("${}|{value}|", value.to_string().len()),
        );
    }
    check(&|r| r.null(), "$-1|", "_|");
    check(&|r| r.null_array(), "*-1|", "_|");
    check(&|r| r.boolean(true), ":1|", "#t|");
    check(&|r| r.boolean(false), ":0|", "#f|");
    // The forms are those of DEBUG PROTOCOL of Redis 8.2.
    check(&|r| r.double(0.25), "$4|0.25|", ",0.25|");
    check(
        &|r| r.big_number("1234567999999999999999999999999999999"),
        "$37|1234567999999999999999999999999999999|",
        "(1234567999999999999999999999999999999|",
    );
    check(&|r| r.verbatim("txt", b"This is a verbatim"), "$18|This is a verbatim|", "=22|txt:This is a verbatim|");
    for length in [0, 9, 10, 99, 100, 1000, 12345] {
        let body = "x".repeat(length);
        check(&|r| r.bulk(&body), &format!("${length}|{body}|"), &format!("${length}|{body}|"));
        check(&|r| r.bulk_fmt(format_args!("{body}")), &format!("${length}|{body}|"), &format!("${length}|{body}|"));
    }
    check(&|r| r.array(3), "*3|", "*3|");
    check(&|r| r.map(3), "*6|", "%3|");
    check(&|r| r.set(12), "*12|", "~12|");
    check(&|r| r.push(123), "*123|", ">123|");
    check(&|r| r.bulk_or_null(None::<&str>), "$-1|", "_|");
}

#[test]
fn deferred_aggregates_nest_and_may_hold_shared_values() {
    let value = Arc::new(vec![b'v'; SHARED_BYTES_MIN]);
    // A small body is moved, a large one gets its header inserted.
    for filler in [3, 3000] {
        let mut reply = Reply::new();
        reply.set_proto(Proto::Resp3);
        let outer = reply.start_deferred();
        for round in 0..3 {
            let inner = reply.start_deferred();
            reply.shared(&value);
            reply.bulk("x".repeat(filler));
            reply.finish_array(inner, 2);
            let map = reply.start_deferred();
            reply.int(round);
            reply.shared(&value);
            reply.finish_map(map, 1);
        }
        reply.finish_set(outer, 6);
        let mut parser = ReplyParser::new();
        reply.segments().for_each(|segment| parser.feed(segment));
        let bytes = reply.segments().map(<[u8]>::len).sum::<usize>();
        assert_eq!(reply.len(), bytes);
        let inner = Value::Array(vec![Value::Bulk(value.to_vec()), Value::Bulk(vec![b'x'; filler])]);
        let expected = (0..3)
            .flat_map(|round| [inner.clone(), Value::Map(vec![(Value::Int(round), Value::Bulk(value.to_vec()))])]);
        assert_eq!(parser.next_reply(), Ok(Some(Value::Set(expected.collect()))));
        assert!(!parser.is_midway());
    }
}

#[test]
fn large_values_are_not_copied() {
    let value = Arc::new(vec![b'v'; 1 << 20]);
    let mut reply = Reply::new();
    reply.ok();
    reply.shared(&value);
    reply.ok();
    assert!(reply.segments().any(|segment| std::ptr::eq(segment, value.as_slice())));
    assert!(reply.memory_bytes() < 1024);
    assert!(reply.as_slice().is_none());
    let mut slices = [IoSlice::new(&[]); 8];
    assert_eq!(reply.io_slices(&mut slices).len(), 3);
    reply.advance(reply.len());
    assert!(reply.is_empty() && reply.as_slice() == Some(b""));
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn marks_errors_and_skipping() {
    let mut reply = Reply::new();
    reply.ok();
    let mark = reply.mark();
    reply.error("WRONGTYPE no");
    assert!(reply.is_error_at(mark));
    assert_eq!(reply.error_code_at(mark), Some(b"WRONGTYPE".as_slice()));
    reply.truncate(mark);
    reply.set_skip(true);
    let deferred = reply.start_deferred();
    reply.bulk("x");
    reply.error("ERR x");
    reply.shared(&Arc::new(vec![0; 1 << 20]));
    reply.verbatim("txt", b"x");
    reply.finish_map(deferred, 1);
    reply.set_skip(false);
    assert_eq!(text_of(&reply), "+OK|");
}

#[derive(Clone, Debug)]
enum Action {
    Bulk(usize),
    Shared(usize),
    Advance(usize),
    Truncate(usize),
    Append(usize),
}

proptest! {
    #![proptest_config(testkit::proptest_config(300))]

    /// The output against a plain vector of bytes.
    #[test]
    fn behaves_as_one_vector(actions in prop::collection::vec(
        prop_oneof![
            (0usize..40_000).prop_map(Action::Bulk),
            (SHARED_BYTES_MIN..SHARED_BYTES_MIN + 100).prop_map(Action::Shared),
            (0usize..100_000).prop_map(Action::Advance),
            (0usize..3).prop_map(Action::Truncate),
            (0usize..2).prop_map(Action::Append),
        ], 0..60)) {
        let mut reply = Reply::new();
        let mut model: Vec<u8> = Vec::new();
        for (round, action) in actions.into_iter().enumerate() {
            let byte = b'a' + (round % 26) as u8;
            let bulk = |length: usize| [format!("${length}\r\n").as_bytes(), &vec![byte; length], b"\r\n"].concat();
            match action {
                Action::Bulk(length) => {
                    reply.bulk(vec![byte; length]);
                    model.extend(bulk(length));
                }
                Action::Shared(length) => {
                    reply.shared(&Arc::new(vec![byte; length]));
                    model.extend(bulk(length));
                }
                Action::Advance(count) => {
                    let count = count.min(model.len());
                    reply.advance(count);
                    model.drain(..count);
                }
                Action::Truncate(extra) => {
                    let mark = reply.mark();
                    for _ in 0..extra {
                        reply.shared(&Arc::new(vec![byte; SHARED_BYTES_MIN]));
                    }
                    reply.truncate(mark);
                }
                Action::Append(advance) => {
                    let mut other = Reply::new();
                    other.ok();
                    other.shared(&Arc::new(vec![byte; SHARED_BYTES_MIN]));
                    other.int(7);
                    let mut bytes = [b"+OK\r\n".as_slice(), &bulk(SHARED_BYTES_MIN), b":7\r\n"].concat();
                    let advance = advance * 100;
                    other.advance(advance);
                    bytes.drain(..advance);
                    reply.append(&mut other);
                    prop_assert!(other.is_empty());
                    model.extend(bytes);
                }
            }
            prop_assert_eq!(reply.len(), model.len());
            prop_assert_eq!(reply.is_empty(), model.is_empty());
        }
        prop_assert!(reply.segments().flatten().eq(model.iter()));
    }

    /// The parser reads what the encoder writes, however it is cut.
    #[test]
    fn replies_parse_in_pieces(items in prop::collection::vec(0usize..14, 1..30)) {
        let mut reply = Reply::new();
        reply.set_proto(Proto::Resp3);
        for item in &items {
            match item {
                0 => reply.ok(),
                1 => reply.error("ERR x"),
                2 => reply.int(-5),
                3 => reply.bulk("a\r\nb"),
                4 => reply.null(),
                5 => reply.boolean(true),
                6 => reply.double(1.5),
                7 => reply.big_number("123"),
                8 => reply.verbatim("txt", b"text"),
                9 => { reply.array(2); reply.int(1); reply.array(0); }
                10 => { reply.map(1); reply.bulk("k"); reply.set(1); reply.null(); }
                11 => { reply.push(1); reply.bulk("message"); }
                12 => { reply.attribute(1); reply.bulk("ttl"); reply.int(3); reply.bulk("value"); }
                _ => reply.raw(b"$-1\r\n*-1\r\n!5\r\nERR x\r\n"),
            }
        }
        let bytes = reply.as_slice().expect("nothing is shared");
        fuzz::replies(bytes);
        let mut parser = ReplyParser::new();
        parser.feed(bytes);
        let count = std::iter::from_fn(|| parser.next_reply().expect("well-formed")).count();
        prop_assert_eq!(count, items.iter().map(|item| if *item >= 13 { 3 } else { 1 }).sum::<usize>());
        prop_assert!(!parser.is_midway());
    }
}

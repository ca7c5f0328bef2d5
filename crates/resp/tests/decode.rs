//! The request decoder. What is accepted and refused, and with which words, was asked of Redis 8.2.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use proptest::prelude::*;
use spinel_resp::decode::{LARGE_BYTES_MIN, split_quoted};
use spinel_resp::{Decoder, Limits, Owned, ProtocolError, Reply, Step, encode_request, fuzz, recycle};

type Command = Vec<Vec<u8>>;

/// Everything in `data`, given at once.
fn decode(data: &[u8], limits: &Limits) -> (Vec<Command>, Option<ProtocolError>) {
    let mut decoder = Decoder::new();
    let (mut commands, mut at) = (Vec::new(), 0);
    loop {
        let mut args = Vec::new();
        match decoder.next(&data[at..], limits, &mut args) {
            Ok(Step::Command { consumed }) => {
                at += consumed;
                commands.push(args.iter().map(|arg| arg.to_vec()).collect());
            }
            Ok(Step::Owned { consumed }) => {
                at += consumed;
                let owned = decoder.take_owned();
                owned.args(&mut args);
                commands.push(args.iter().map(|arg| arg.to_vec()).collect());
            }
            Ok(Step::Incomplete) => return (commands, None),
            Err(error) => return (commands, Some(error)),
        }
    }
}

/// What a server says that knows only ECHO and PING.
fn serve(data: &[u8], limits: &Limits) -> Vec<u8> {
    let (commands, error) = decode(data, limits);
    let mut reply = Reply::new();
    for command in commands {
        match &command[..] {
            [name, text] if name == b"ECHO" => reply.bulk(text),
            [name] if name == b"PING" => reply.pong(),
            [name, ..] if name == b"ECHO" => reply.error("ERR wrong number of arguments for 'echo' command"),
            [name, args @ ..] => {
                let mut text = b"ERR unknown command '".to_vec();
                text.extend_from_slice(name);
                text.extend_from_slice(b"', with args beginning with: ");
                for arg in args {
                    text.extend([b"'".as_slice(), arg, b"' "].concat());
                }
                reply.error(text);
            }
            [] => unreachable!("a command is never empty"),
        }
    }
    if let Some(error) = error {
        reply.error(error.message());
    }
    reply.segments().flatten().copied().collect()
}

/// Requests, ordinary and odd, that are small enough to be one packet.
fn odd_requests() -> Vec<Vec<u8>> {
    let plain = [
        // multibulk headers
        "*1\n$4\r\nPING\r\n",
        "*1\rX$4\r\nPING\r\n",
        "*+1\r\n",
        "* 1\r\n",
        "*01\r\n",
        "*1 \r\n",
        "*-5\r\n",
        "*-0\r\n",
        "*\r\n",
        "*-\r\n",
        "*0\r\n",
        "*-1\r\n",
        "*00\r\n",
        "*abc\r\n",
        "*0x1\r\n",
        "*2147483647\r\n",
        "*2147483648\r\n",
        "*-99999999999\r\n",
        "*-9223372036854775808\r\n",
        "*-9223372036854775809\r\n",
        "*9223372036854775808\r\n",
        "*1\0\r\n",
        "*1\r\0\n",
        "*1\r",
        "*1\rX",
        "*11111111111111111111111111111111111\r\n",
        // bulk headers
        "*1\r\nPING\r\n",
        "*1\r\n\0PING\r\n",
        "*1\r\n\r\n",
        "*1\r\n\n\r\n",
        "*1\r\nX",
        "*1\r\n$4\nPING\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$+4\r\nPING\r\n",
        "*1\r\n$04\r\nPING\r\n",
        "*1\r\n$\r\nPING\r\n",
        "*1\r\n$-0\r\n",
        "*1\r\n$1.0\r\n",
        "*1\r\n$abc\r\n",
        "*1\r\n$X",
        "*1\r\n$4\rX",
        "*1\r\n$4\0\r\n",
        "*1\r\n$536870912\r\n",
        "*1\r\n$536870913\r\n",
        "*1\r\n$0\r\n\r\n",
        "*1\r\n$00000000000000000000000000\r\n",
        "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
        // bodies: nobody looks at the two bytes behind them
        "*1\r\n$4\r\nPINGxx",
        "*1\r\n$4\r\nPING\rx",
        "*1\r\n$4\r\nPINGx\n",
        "*1\r\n$4\r\nPINGx",
        "*2\r\n$4\r\nPINGX",
        // inline
        "\r\n",
        "\n\n",
        "   \r\n",
        "\t\r\n",
        "PING\r\n",
        "PING\n",
        " PING \r\n",
        "PING\r\r\n",
        "+PING\r\n",
        "ECHO a\\x41\r\n",
        "ECHO a\x0bb\r\n",
        "ECHO a\x0cb\r\n",
        "ECHO \x0b\r\n",
        "ECHO \x0ba\r\n",
        "\x0bPING\r\n",
        "ECHO a\x01b\r\n",
        "ECHO ab\r c\r\n",
        "ECHO ab\rc\r\n",
        "ECHO a\0b\r\n",
        "\0PING\r\n",
        "ECHO \"a\0b\"\r\n",
    ];
    let quoted = [
        r#"ECHO "a\x41\n\q""#,
        r"ECHO 'a\'b\n'",
        r#"ECHO "a"b"#,
        "ECHO 'a'b",
        r#"ECHO "abc"#,
        r#"ECHO a"b c""#,
        r#"ECHO a"b"c"#,
        r#"ECHO """#,
        r#"ECHO "\xzz""#,
        r#"ECHO "\x4""#,
        r#"ECHO "\"#,
        r#"ECHO "a\""#,
        r#"ECHO "a\"b""#,
        r#"ECHO "\a\b\t\r\n\\\"""#,
        "ECHO a'b'",
        "ECHO a'b'c",
        r#""PING""#,
        r#""" x"#,
        "ECHO 'a\\nb'",
        "ECHO '",
        "ECHO a'",
        "ECHO a\"",
        r#"ECHO "a" b"#,
        "ECHO \"a\"\tb",
        "ECHO \"a\"\x0b",
        "ECHO 'a\\",
        "ECHO 'a\\'",
        "ECHO \"\\x4",
        r#"ECHO "\x41b\x4g""#,
        "ECHO ''",
        "ECHO '\"'",
        "ECHO \"'\"",
    ];
    let mut requests: Vec<Vec<u8>> = plain.iter().map(|text| text.as_bytes().to_vec()).collect();
    requests.extend(quoted.iter().map(|text| format!("{text}\r\n").into_bytes()));
    requests.extend([
        b"*1\r\n\xff\r\n".to_vec(),
        b"ECHO \xa0\xff\r\n".to_vec(),
        b"ECHO a \x85 b\r\n".to_vec(),
        b"ECHO \"\xff\"\r\n".to_vec(),
    ]);
    requests
}

#[test]
fn odd_requests_equal_redis() {
    let Some(redis) = common::Redis::start("odd_requests_equal_redis") else {
        return;
    };
    for request in odd_requests() {
        // Behind each a PING, which shows how much was eaten.
        for data in [request.clone(), [&request[..], b"*1\r\n$4\r\nPING\r\n"].concat()] {
            let mut stream = TcpStream::connect(("127.0.0.1", redis.port)).expect("Redis accepts");
            stream.write_all(&data).expect("Redis reads");
            // Redis answers what is complete and then sees the end of what we say: no need to wait for silence.
            stream.shutdown(Shutdown::Write).expect("half a connection");
            let mut expected = Vec::new();
            stream.read_to_end(&mut expected).expect("Redis answers");
            let ours = serve(&data, &Limits::default());
            assert_eq!(ours.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{}", data.escape_ascii());
        }
    }
}

#[test]
fn odd_requests_mean_the_same_in_pieces() {
    for request in odd_requests() {
        for choice in 0..4 {
            fuzz::decoder(&[&[choice, 3], &request[..], b"*1\r\n$4\r\nPING\r\n"].concat());
        }
    }
}

fn error_of(data: &[u8], limits: &Limits) -> String {
    decode(data, limits).1.map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn limits_have_redis_words() {
    let limits = Limits::default();
    let long = |start: &str, length: usize| [start.as_bytes(), &vec![b'1'; length - 1]].concat();
    assert_eq!(error_of(&long("*", 65536), &limits), "");
    assert_eq!(error_of(&long("*", 65537), &limits), "ERR Protocol error: too big mbulk count string");
    assert_eq!(error_of(&long("*1\r\n$", 65536), &limits), "");
    assert_eq!(error_of(&long("*1\r\n$", 65537), &limits), "ERR Protocol error: too big bulk count string");
    assert_eq!(error_of(&long("a", 65536), &limits), "");
    assert_eq!(error_of(&long("a", 65537), &limits), "ERR Protocol error: too big inline request");
    // However it was cut, and whether or not it ends.
    assert_eq!(error_of(&[long("a", 65536), b"\n".to_vec()].concat(), &limits), "");
    assert_eq!(
        error_of(&[long("a", 65537), b"\n".to_vec()].concat(), &limits),
        "ERR Protocol error: too big inline request"
    );

    let limits = limits.unauthenticated();
    assert_eq!(error_of(b"*10\r\n", &limits), "");
    assert_eq!(error_of(b"*11\r\n", &limits), "ERR Protocol error: unauthenticated multibulk length");
    assert_eq!(error_of(b"*2147483648\r\n", &limits), "ERR Protocol error: invalid multibulk length");
    assert_eq!(error_of(b"*1\r\n$16384\r\n", &limits), "");
    assert_eq!(error_of(b"*1\r\n$16385\r\n", &limits), "ERR Protocol error: unauthenticated bulk length");
    assert_eq!(error_of(b"*1\r\n$999999999999\r\n", &limits), "ERR Protocol error: invalid bulk length");
    // Inline commands have no limit of their own before authentication.
    let (commands, error) = decode(&[b"ECHO ".as_slice(), &vec![b'a'; 30_000], b"\r\n"].concat(), &limits);
    assert_eq!((commands[0][1].len(), error), (30_000, None));
}

#[test]
fn announcing_costs_nothing() {
    let mut decoder = Decoder::new();
    let step = decoder.next(b"*2147483647\r\n$536870912\r\n", &Limits::default(), &mut Vec::new());
    assert_eq!(step, Ok(Step::Incomplete));
    assert!(decoder.memory_bytes() < 1024, "{}", decoder.memory_bytes());
    assert!(decoder.large_spare().expect("a large argument has begun").len() <= LARGE_BYTES_MIN);
    assert!(decoder.memory_bytes() < 2 * LARGE_BYTES_MIN);
    assert!(size_of::<Decoder>() <= 64);
}

fn finish(decoder: &mut Decoder, data: &[u8]) -> Owned {
    let step = decoder.next(data, &Limits::default(), &mut Vec::new());
    assert_eq!(step, Ok(Step::Owned { consumed: data.len() }));
    decoder.take_owned()
}

#[test]
fn a_large_argument_is_never_copied_and_leaves_no_slack() {
    let value: Vec<u8> = (0..3_000_000).map(|index| index as u8).collect();
    let mut decoder = Decoder::new();
    let start = [b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n".as_slice(), &value[..1000]].concat();
    assert_eq!(decoder.next(&start, &Limits::default(), &mut Vec::new()), Ok(Step::Incomplete));
    let mut rest = &[&value[1000..], b"\r\n"].concat()[..];
    while let Some(spare) = decoder.large_spare() {
        let count = spare.len().min(rest.len());
        spare[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        decoder.large_filled(count);
        assert_eq!(decoder.next(b"", &Limits::default(), &mut Vec::new()), Ok(Step::Incomplete));
    }
    assert!(rest.is_empty(), "the line end was part of the last read");
    let owned = finish(&mut decoder, b"$2\r\nNX\r\n");
    assert!(decoder.is_idle() && decoder.memory_bytes() == 0);
    let mut args = Vec::new();
    owned.args(&mut args);
    assert_eq!(args, [b"SET".as_slice(), b"k", &value, b"NX"]);
    let large = Arc::clone(owned.large(2).expect("the third argument is large"));
    assert!(std::ptr::eq(args[2], large.as_slice()));
    assert!(large.capacity() <= value.len() + 2);
    assert!(owned.large(1).is_none());
}

#[test]
fn commands_of_one_buffer_gather_in_one_vector() {
    let data = b"*1\r\n$4\r\nPING\r\nGET a\r\n\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n*2\r\n$3\r\nGE";
    let (mut decoder, limits) = (Decoder::new(), Limits::default());
    let kept: Vec<&'static [u8]> = Vec::with_capacity(64);
    let mut args = recycle(kept);
    let (mut at, mut ends) = (0, Vec::new());
    while let Ok(Step::Command { consumed }) = decoder.next(&data[at..], &limits, &mut args) {
        at += consumed;
        ends.push(args.len());
    }
    assert_eq!(ends, [1, 3, 5]);
    assert_eq!(args, [b"PING".as_slice(), b"GET", b"a", b"GET", b"b"]);
    assert!(!decoder.is_idle(), "the half command was taken");
    let kept: Vec<&'static [u8]> = recycle(args);
    assert!(kept.is_empty() && kept.capacity() == 64, "the allocation comes back");
}

#[test]
fn a_million_arguments_trickle_in_linear_time() {
    // Counted, not timed: if a byte were looked at again with each piece, this would be 10^12 steps.
    let args: Vec<Vec<u8>> = (0..500_001).map(|index| format!("arg:{index}").into_bytes()).collect();
    let mut request = Vec::new();
    encode_request(&mut request, &args);
    let mut decoder = Decoder::new();
    let limits = Limits::default();
    let (last, first) = request.split_last().expect("not empty");
    for piece in first.chunks(7) {
        assert_eq!(decoder.next(piece, &limits, &mut Vec::new()), Ok(Step::Incomplete));
    }
    let owned = finish(&mut decoder, &[*last]);
    let mut seen = Vec::new();
    owned.args(&mut seen);
    assert!(seen.iter().zip(&args).all(|(seen, arg)| seen == arg) && seen.len() == args.len());
}

#[test]
fn quoting_for_others() {
    assert_eq!(split_quoted(br#"save "" a'b c'"#), Some(vec![b"save".to_vec(), b"".to_vec(), b"ab c".to_vec()]));
    assert_eq!(split_quoted(b"  "), Some(vec![]));
    assert_eq!(split_quoted(b"\"a"), None);
}

fn argument() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..20),
        2 => prop::collection::vec(prop::sample::select(b"\r\n*$0 \"'\0".as_slice()), 0..9),
        1 => (LARGE_BYTES_MIN - 2..LARGE_BYTES_MIN + 3).prop_map(|length| vec![b'x'; length]),
    ]
}

proptest! {
    #![proptest_config(testkit::proptest_config(200))]

    /// What a client encodes is what the server decodes, in whatever pieces it comes.
    #[test]
    fn requests_come_back(
        commands in prop::collection::vec(prop::collection::vec(argument(), 1..6), 0..8),
        pieces in prop::collection::vec(1usize..3000, 1..20),
    ) {
        let mut data = Vec::new();
        for command in &commands {
            encode_request(&mut data, command);
        }
        let (whole, error) = decode(&data, &Limits::default());
        prop_assert_eq!((&whole, error), (&commands, None));
        let mut decoder = Decoder::new();
        let (mut from, mut decoded) = (0, Vec::new());
        for bytes in pieces.iter().cycle() {
            if from == data.len() {
                break;
            }
            let piece = &data[from..data.len().min(from + bytes)];
            from += piece.len();
            let mut at = 0;
            loop {
                let mut args = Vec::new();
                match decoder.next(&piece[at..], &Limits::default(), &mut args).expect("a good request") {
                    Step::Incomplete => break,
                    Step::Command { consumed } => {
                        at += consumed;
                        decoded.push(args.iter().map(|arg| arg.to_vec()).collect::<Vec<_>>());
                    }
                    Step::Owned { consumed } => {
                        at += consumed;
                        let owned = decoder.take_owned();
                        owned.args(&mut args);
                        decoded.push(args.iter().map(|arg| arg.to_vec()).collect());
                    }
                }
            }
        }
        prop_assert_eq!(&decoded, &commands);
    }

    /// Cut in two at every byte.
    #[test]
    fn cut_anywhere(commands in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 1..4), 1..3)) {
        let mut data = Vec::new();
        for command in &commands {
            encode_request(&mut data, command);
        }
        fuzz::decoder(&[&[3, 0], &data[..]].concat());
        for cut in 0..data.len() {
            fuzz::decoder(&[&[3, cut as u8], &data[..]].concat());
        }
    }
}

//! What the codec costs, in nanoseconds: `cargo run --profile fast -p spinel-resp --example codec`.
//!
//! The best of several rounds, since other work on the machine only ever adds.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use spinel_resp::{Decoder, Limits, Reply, Step, encode_request, long_double, number};

const ROUNDS: usize = 15;

fn measure(name: &str, operations: usize, mut run: impl FnMut()) {
    let best = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_nanos() as f64 / operations as f64
        })
        .fold(f64::INFINITY, f64::min);
    println!("{name:<48} {best:>9.2} ns");
}

fn decode(name: &str, args: &[&[u8]], depth: usize) {
    let mut buf = Vec::new();
    for _ in 0..depth {
        encode_request(&mut buf, args);
    }
    decode_bytes(name, &buf, depth);
}

fn decode_bytes(name: &str, buf: &[u8], depth: usize) {
    let limits = Limits::default();
    let repeat = 200_000 / depth;
    let mut args = Vec::with_capacity(1024);
    let mut decoder = Decoder::new();
    measure(name, depth * repeat, || {
        for _ in 0..repeat {
            let buf = black_box(buf);
            let mut at = 0;
            args.clear();
            while let Ok(Step::Command { consumed }) = decoder.next(&buf[at..], &limits, &mut args) {
                at += consumed;
            }
            assert_eq!(at, buf.len());
            black_box(&args);
        }
    });
}

fn encode(name: &str, write: impl Fn(&mut Reply)) {
    const DEPTH: usize = 16;
    const REPEAT: usize = 20_000;
    let mut reply = Reply::new();
    measure(name, DEPTH * REPEAT, || {
        for _ in 0..REPEAT {
            for _ in 0..DEPTH {
                write(black_box(&mut reply));
            }
            let length = reply.len();
            reply.advance(length);
        }
    });
}

fn main() {
    let value32 = [b'v'; 32];
    decode("decode PING", &[b"PING"], 16);
    decode("decode GET key:000000001", &[b"GET", b"key:000000001"], 16);
    decode("decode SET key:000000001 (32 bytes)", &[b"SET", b"key:000000001", &value32], 16);
    decode("decode SET, one at a time", &[b"SET", b"key:000000001", &value32], 1);
    let mset: Vec<&[u8]> =
        std::iter::once(b"MSET".as_slice()).chain(std::iter::repeat_n(b"key:000000001".as_slice(), 20)).collect();
    decode("decode MSET of 10 pairs", &mset, 16);
    decode_bytes("decode inline PING", &b"PING\r\n".repeat(16), 16);

    let mut request = Vec::new();
    encode_request(&mut request, &[b"SET".as_slice(), b"key:000000001", &value32]);
    measure("decode SET in two pieces", 100_000, || {
        let (mut decoder, limits, mut args) = (Decoder::new(), Limits::default(), Vec::new());
        for _ in 0..100_000 {
            assert_eq!(decoder.next(&request[..20], &limits, &mut args), Ok(Step::Incomplete));
            assert!(matches!(decoder.next(&request[20..], &limits, &mut args), Ok(Step::Owned { .. })));
            black_box(decoder.take_owned());
        }
    });
    let million: Vec<String> = (0..1_000_001).map(|index| format!("arg:{index}")).collect();
    let mut request = Vec::new();
    encode_request(&mut request, &million);
    measure("decode MSET of 1000001 args, 16 KiB pieces, per arg", million.len(), || {
        let (mut decoder, limits) = (Decoder::new(), Limits::default());
        for piece in request.chunks(16 * 1024) {
            let _ = black_box(decoder.next(piece, &limits, &mut Vec::new()));
        }
        assert_eq!(decoder.take_owned().len(), million.len());
    });

    encode("encode +OK", |reply| reply.ok());
    encode("encode bulk of 8 bytes", |reply| reply.bulk(black_box(&value32[..8])));
    encode("encode bulk of 32 bytes", |reply| reply.bulk(black_box(&value32[..])));
    encode("encode bulk of 200 bytes", |reply| reply.bulk(black_box([b'x'; 200].as_slice())));
    encode("encode :1", |reply| reply.int(black_box(1)));
    encode("encode :123456789", |reply| reply.int(black_box(123456789)));
    encode("encode bulk of an integer", |reply| reply.bulk_int(black_box(123456789)));
    encode("encode null", |reply| reply.null());
    encode("encode double 0.1", |reply| reply.double(black_box(0.1)));
    encode("encode double 100", |reply| reply.double(black_box(100.0)));
    let large = Arc::new(vec![0; 1 << 20]);
    encode("encode a shared megabyte", |reply| reply.shared(black_box(&large)));

    measure("parse_i64 of 9 digits", 1_000_000, || {
        for _ in 0..1_000_000 {
            black_box(number::parse_i64(black_box(b"123456789")));
        }
    });
    measure("INCRBYFLOAT 10.5 + 0.1", 100_000, || {
        for _ in 0..100_000 {
            black_box(long_double::increment(black_box(b"10.5"), black_box(b"0.1"))).expect("a sum");
        }
    });
    measure("INCRBYFLOAT 1234567.12345678901234567 + 0.1", 100_000, || {
        for _ in 0..100_000 {
            black_box(long_double::increment(black_box(b"1234567.12345678901234567"), black_box(b"0.1")))
                .expect("a sum");
        }
    });
    let text = vec![b'7'; 5000];
    measure("INCRBYFLOAT of 5000 digits e-9000", 20, || {
        let text = [&text[..], b"e-9000"].concat();
        for _ in 0..20 {
            black_box(long_double::LongDouble::parse(black_box(&text)));
        }
    });
}

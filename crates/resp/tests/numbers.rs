//! Number text against a real Redis 8.2.

mod common;

use common::Redis;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use spinel_resp::long_double::{IncrementError, increment};
use spinel_resp::number::{DoubleText, parse_f64};

/// Where a format begins or ends: the largest and smallest long doubles and doubles, and what is just beyond.
const EDGES: &[&str] = &[
    "1.82e-4951",
    "1.83e-4951",
    "0x1p-16446",
    "0x1.00001p-16446",
    "0x1p-16445",
    "3.3621031431120935063e-4932",
    "1.18973149535723176502e+4932",
    "0x1.fffffffffffffffep16383",
    "0x1.ffffffffffffffffp16383",
    "1e4933",
    "1e-5000",
    "-1e-4951",
    "0x1p-1074",
    "0x1p-1075",
    "0x1.0000000001p-1075",
    "2.4703282292062327e-324",
    "2.4703282292062328e-324",
    "5e-324",
    "1.7976931348623157e308",
    "1.7976931348623159e308",
    "0x1.fffffffffffff7p1023",
    "0x1.fffffffffffff8p1023",
    "1e400",
    "-1e-400",
    "1e9999999999",
    "1e-9999999999",
    "0x1p9999999999",
    "0e9999999999",
    "-0",
    "-0.0",
    "0x0p99999",
    "4611686018427387904",
    "4611686018427388928",
    "-4611686018427387904",
    "9223372036854775807",
    "1e17",
    "123456789012345678",
    "1e19",
    "1e21",
    "1e22",
    "1e23",
    "9007199254740993",
    "4503599627370496.5",
    "2251799813685248.25",
    "1e-5",
    "1e-6",
    "1e-7",
    "1.5e-7",
    "123456e-9",
    "12345.6789012345",
];

/// A number as somebody may write it, from plain to perverse.
fn number(random: &mut StdRng) -> String {
    let digits = |random: &mut StdRng, max: usize| -> String {
        (0..random.random_range(1..=max)).map(|_| char::from(b'0' + random.random_range(0..10u8))).collect()
    };
    let sign = ["", "", "", "-", "+"][random.random_range(0..5)];
    match random.random_range(0..14) {
        0 => format!("{sign}{}", digits(random, 5)),
        1..=3 => format!("{sign}{}.{}", digits(random, 4), digits(random, 3)),
        4 => format!("{sign}{}.{}", digits(random, 20), digits(random, 20)),
        5 => format!("{sign}0.{}", digits(random, 25)),
        6 => format!("{sign}{}e{}", digits(random, 3), random.random_range(-30..30)),
        7 => format!("{sign}{}.{}e{}", digits(random, 3), digits(random, 20), random.random_range(-5000..5000)),
        8 => format!("{sign}{}", digits(random, 40)),
        9 => format!(
            "{sign}0x{:x}.{:x}p{}",
            random.random::<u64>(),
            random.random::<u32>(),
            random.random_range(-200..200)
        ),
        10 => format!("{:?}", f64::from_bits(random.random())),
        11 => format!("{}", i64::from_ne_bytes(random.random::<[u8; 8]>()) >> random.random_range(0..63)),
        12 => format!(
            "{sign}{}",
            ["inf", "Infinity", "nan", "0", "0.0", "1e", ".", "1e+", "0x", " 1", "1 ", ".5", "1.", "e5"]
                [random.random_range(0..14)]
        ),
        // Halfway between two long doubles, or nearly.
        _ => format!("{sign}{}.5", (1u128 << random.random_range(60..68)) + random.random_range(0..8)),
    }
}

#[test]
fn incrbyfloat_equals_redis() {
    let Some(mut redis) = Redis::start("incrbyfloat_equals_redis") else {
        return;
    };
    let mut random = StdRng::seed_from_u64(testkit::seed());
    for _ in 0..100 {
        let mut batch: Vec<_> = (0..100).map(|_| (number(&mut random), number(&mut random))).collect();
        batch.extend(EDGES.iter().map(|edge| (edge.to_string(), number(&mut random))));
        for (value, by) in &batch {
            redis.send(&["SET", "k", value]);
            redis.send(&["INCRBYFLOAT", "k", by]);
        }
        for (value, by) in &batch {
            redis.receive();
            let expected = redis.receive();
            let ours = match increment(value.as_bytes(), by.as_bytes()) {
                Ok(text) => text,
                Err(IncrementError::NotAFloat) => "ERR value is not a valid float".to_owned(),
                Err(IncrementError::NotFinite) => "ERR increment would produce NaN or Infinity".to_owned(),
            };
            assert_eq!(ours.as_bytes(), expected.as_bytes().expect("text"), "{value} + {by}, Redis says {expected}");
        }
    }
}

#[test]
fn scores_equal_redis() {
    let Some(mut redis) = Redis::start("scores_equal_redis") else {
        return;
    };
    // In a listpack -0 would become the integer 0.
    redis.send(&["CONFIG", "SET", "zset-max-listpack-entries", "0"]);
    redis.receive();
    let mut random = StdRng::seed_from_u64(testkit::seed());
    let (mut compared, mut refused) = (0, 0);
    for _ in 0..100 {
        let batch: Vec<_> = EDGES
            .iter()
            .map(|edge| edge.to_string())
            .chain((0..100).map(|_| match random.random_range(0..4) {
                0 => number(&mut random),
                1 => format!("{:?}", random.random_range(-1000..1000) as f64 / 10f64.powi(random.random_range(0..12))),
                2 => format!("{:?}", random.random::<f64>() * 10f64.powi(random.random_range(-20..25))),
                _ => format!("{:?}", f64::from_bits(random.random())),
            }))
            .collect();
        for text in &batch {
            redis.send(&["DEL", "z"]);
            redis.send(&["ZADD", "z", text, "m"]);
            redis.send(&["ZSCORE", "z", "m"]);
        }
        for text in &batch {
            redis.receive();
            let added = redis.receive();
            let score = redis.receive();
            match parse_f64(text.as_bytes()) {
                None => {
                    assert!(added.is_error(), "Redis accepts {text}: {score}");
                    refused += 1;
                }
                Some(value) => {
                    let ours = DoubleText::new(value);
                    assert_eq!(Some(ours.as_str()), score.as_str(), "{text}, Redis says {added}, {score}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1000 && refused > 10);
}

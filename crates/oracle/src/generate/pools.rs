//! The values that arguments are drawn from: few keys, so that they collide; values at the edges of every encoding and
//! limit; numbers that are valid, at the limit, beyond it, and no numbers at all.

use rand::{Rng, seq::IndexedRandom};
use testkit::Random;

/// Keys. One binary, one empty, one long, some with hash tags.
const KEYS: &[&[u8]] =
    &[b"a", b"b", b"c", b"key:1", b"key:2", b"key:{tag}:3", b"{tag}", b"", b"\x00\xff\r\n \"bin", b"counter", b"float"];

const VALUES: &[&[u8]] = &[
    b"",
    b"v",
    b"0",
    b"1",
    b"-1",
    b"10",
    b"9999",
    b"10000",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"12345678901234567890",
    b"3.14",
    b"5.0e3",
    b"-0",
    b"+5",
    b" 7",
    b"7 ",
    b"007",
    b"0x1f",
    b"nan",
    b"inf",
    b"-inf",
    b"1e400",
    b"0.1",
    b"hello world",
    b"\x00\x01\xfe\xff",
    b"line\r\nbreak",
    b"ohmytext",
    b"mynewtext",
    // Beside a key of 5 bytes the last that are embstr, and the first that are raw: with an expiry, and without.
    b"1000000000000000000000000000",
    b"10000000000000000000000000000",
    b"100000000000000000000000000000000000",
    b"1000000000000000000000000000000000000",
    b"100000000000000000000000000000000000000000000",
];

const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "5",
    "-2",
    "-5",
    "10",
    "100",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "4294967296",
    "2147483647",
    "2147483648",
    "18446744073709551615",
    "-0",
    "+1",
    "01",
    " 1",
    "1 ",
    "1.5",
    "abc",
    "",
];

const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.1",
    "0.2",
    "-0.3",
    "3.14159",
    "1e10",
    "1.5e-5",
    "123456789.123456789",
    "1e17",
    "1e-17",
    "5e300",
    "-5e300",
    "1e400",
    "1e4932",
    "1e5000",
    "inf",
    "-inf",
    "nan",
    "0x1p3",
    "1.7976931348623157e308",
    ".5",
    "5.",
    " 1",
    "1 ",
    "1,5",
    "abc",
    "",
    "99999999999999999999",
    "0.000000000000000000000000000000000001",
];

const PATTERNS: &[&str] = &[
    "*", "?", "key:*", "k[ae]y*", "[^a]", "*[12]", "\\*", "a", "", "**", "*{tag}*", "[a-c]", "[c-a]", "key:?",
    "nomatch*", "[", "key\\:1",
];

/// Words for names of clients and libraries.
const NAMES: &[&str] = &["alice", "bob", "lib-1.0", "with space", "line\nbreak", "", "~tilde~", "x\x7f"];

/// Instants in seconds: long past and far off, never near now, because the two servers do not share a millisecond.
const INSTANTS: &[&str] = &[
    "1",
    "0",
    "-1",
    "1000000000",
    "4102444800",
    "4102444801",
    "5000000000",
    "9223372036854775807",
    "9223372036854776",
    "9223372036854775",
    "-9223372036854775808",
    "9223372036854775808",
    "abc",
    "",
    "4102444800.5",
];

/// Never zero-near or equal: see `mutate::far_expiry`.
const DURATIONS: &[&str] = &[
    "0",
    "-1",
    "-100",
    "9223372036854775807",
    "9223372036854775",
    "9223372036854776",
    "-9223372036854775808",
    "9223372036854775808",
    "abc",
    "",
    "1.5",
];

pub fn pick<'a, T: ?Sized>(random: &mut Random, from: &[&'a T]) -> &'a T {
    from.choose(random).expect("pools are not empty")
}

/// One of anything.
pub fn choose<'a, T>(random: &mut Random, from: &'a [T]) -> &'a T {
    from.choose(random).expect("pools are not empty")
}

pub fn key(random: &mut Random) -> Vec<u8> {
    // Low ones more often, so that most commands meet something.
    let bound = random.random_range(1..=KEYS.len());
    KEYS[random.random_range(0..bound)].to_vec()
}

pub fn value(random: &mut Random) -> Vec<u8> {
    match random.random_range(0..20) {
        0 => vec![b'x'; random.random_range(1..300)],
        1 => {
            let alphabet = b"abcd";
            (0..random.random_range(1..60)).map(|_| alphabet[random.random_range(0..4)]).collect()
        }
        2 => random.random::<i64>().to_string().into_bytes(),
        3 => random.random_range(-1000..10_000).to_string().into_bytes(),
        4 => format!("{}", random.random_range(-1e6..1e6)).into_bytes(),
        _ => pick(random, VALUES).to_vec(),
    }
}

pub fn integer(random: &mut Random) -> String {
    match random.random_range(0..4) {
        0 => random.random_range(-20..50).to_string(),
        1 => random.random_range(0..4).to_string(),
        _ => pick(random, INTEGERS).to_owned(),
    }
}

pub fn float(random: &mut Random) -> String {
    match random.random_range(0..3) {
        0 => format!("{}", random.random_range(-1000.0..1000.0)),
        1 => format!("{:.3}", random.random_range(-10.0..10.0)),
        _ => pick(random, FLOATS).to_owned(),
    }
}

pub fn pattern(random: &mut Random) -> String {
    pick(random, PATTERNS).to_owned()
}

pub fn name(random: &mut Random) -> String {
    pick(random, NAMES).to_owned()
}

pub fn database(random: &mut Random) -> String {
    match random.random_range(0..12) {
        0 => pick(random, &["-1", "16", "15", "abc", "99999999999999999999", "", "1.0", "01"]).to_owned(),
        1..=6 => "0".to_owned(),
        _ => random.random_range(0..4).to_string(),
    }
}

/// A far-off moment, unlike any other: comparing two expiries must not hang on the millisecond.
pub fn far(random: &mut Random, unit_ms: u64) -> String {
    (random.random_range(10_000_000_000..1_000_000_000_000u64) / unit_ms).to_string()
}

/// Time to live, in seconds or milliseconds.
pub fn duration(random: &mut Random, unit_ms: u64) -> String {
    if random.random_bool(0.8) { far(random, unit_ms) } else { pick(random, DURATIONS).to_owned() }
}

/// Point in time, in seconds or milliseconds since 1970.
pub fn instant(random: &mut Random, unit_ms: u64) -> String {
    let text = pick(random, INSTANTS);
    match (unit_ms, text.parse::<i64>()) {
        (1, Ok(seconds @ 1_000_000_000..=5_000_000_000)) => (seconds * 1000).to_string(),
        _ => text.to_owned(),
    }
}

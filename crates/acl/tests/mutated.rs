//! Damaged ACL files: users or an error, never a panic, and what was understood survives being written and read.
//!
//! `SPINEL_FUZZ_SECONDS` says how long the test goes on, instead of 20,000 files. `fuzz/` has the same check for `cargo fuzz`.

use std::time::{Duration, Instant};

use acl::fuzz;
use rand::Rng;
use testkit::Random;

const FILES: usize = 20_000;

const WORDS: &[&str] = &[
    "user",
    "default",
    "a",
    "b",
    "on",
    "off",
    "nopass",
    "resetpass",
    ">p",
    "<p",
    "+@all",
    "-@all",
    "+get",
    "-get",
    "+client|list",
    "-client|list",
    "-client",
    "+select|1",
    "+@string",
    "-@connection",
    "~*",
    "~a*",
    "%R~b",
    "%W~b",
    "%RW~*",
    "%R",
    "allkeys",
    "resetkeys",
    "&*",
    "&c?",
    "allchannels",
    "resetchannels",
    "alldbs",
    "resetdbs",
    "db=1,3",
    "(+get",
    "~c)",
    "(+@all)",
    "()",
    "(",
    ")",
    "clearselectors",
    "reset",
    "sanitize-payload",
    "skip-sanitize-payload",
    "#2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    "",
];

fn random_file(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..random.random_range(1..4) {
        text.extend_from_slice(b"user ");
        for _ in 0..random.random_range(1..12) {
            text.extend_from_slice(WORDS[random.random_range(0..WORDS.len())].as_bytes());
            text.push(b' ');
        }
        text.push(b'\n');
    }
    text
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(0..3) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..4) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => drop(bytes.remove(at)),
            _ => bytes.insert(at, b" \n()|~&%+-@#\t\0"[random.random_range(0..14)]),
        }
        if bytes.is_empty() {
            return;
        }
    }
}

#[test]
fn damaged_files() {
    let seconds = std::env::var("SPINEL_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut random = testkit::random_from(testkit::seed());
    let mut count = 0;
    while deadline.map_or(count < FILES, |deadline| Instant::now() < deadline) {
        let mut text = random_file(&mut random);
        mutate(&mut random, &mut text);
        fuzz::acl_file(&text);
        count += 1;
    }
}

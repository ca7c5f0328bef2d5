//! The fuzz targets on the stable toolchain: mutated files and manifests for `SPINEL_FUZZ_SECONDS` (default 5). `fuzz/` has the same
//! bodies for `cargo fuzz`, which is guided by coverage.

use std::time::{Duration, Instant};

use journal::fuzz;
use rand::Rng;
use rand::seq::IndexedRandom;
use testkit::Random;

const COMMANDS: &[&[u8]] = &[
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n9\r\n",
    b"*1\r\n$5\r\nMULTI\r\n",
    b"*1\r\n$4\r\nEXEC\r\n",
    b"*2\r\n$3\r\nDEL\r\n$0\r\n\r\n",
    b"#TS:1700000000\r\n",
    b"#\n",
    b"*1\n$4\nPING\r\n",
    b"*2000000000\r\n",
    b"*1\r\n$99999999999\r\n",
    b"REDIS0011",
];

const MANIFESTS: &[&[u8]] = &[
    b"file appendonly.aof.1.base.rdb seq 1 type b\n",
    b"file appendonly.aof.2.incr.aof seq 2 type i startoffset 7\n",
    b"file \"a b\\x20\\\"\" seq 3 type i\n",
    b"file 'it\\'s' seq 4 type i\r\n",
    b"file old seq 1 type h\n",
    b"# comment\n",
    b"seq 9 type i file x wonder 1\n",
];

const TOKENS: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"*",
    b"$",
    b"#",
    b"\0",
    b"\"",
    b"'",
    b"\\x",
    b" ",
    b"-",
    b"0",
    b"9",
    b"18446744073709551616",
    b"/",
    b"\xff",
];

/// A few seeds in a row, then a few bytes changed.
fn input(random: &mut Random, seeds: &[&[u8]]) -> Vec<u8> {
    let mut data = Vec::new();
    for _ in 0..random.random_range(1..10) {
        data.extend_from_slice(seeds.choose(random).expect("seeds"));
    }
    for _ in 0..random.random_range(0..6) {
        if data.is_empty() {
            break;
        }
        let at = random.random_range(0..data.len());
        match random.random_range(0..4) {
            0 => data[at] = random.random(),
            1 => drop(data.remove(at)),
            2 => data.truncate(at),
            _ => drop(data.splice(at..at, TOKENS.choose(random).expect("tokens").iter().copied())),
        }
    }
    data
}

#[test]
fn bounded_fuzzing() {
    let seconds = std::env::var("SPINEL_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let mut random = testkit::random_from(testkit::seed());
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut runs = 0u64;
    while Instant::now() < deadline {
        for (target, seeds) in [(fuzz::commands as fn(&[u8]), COMMANDS), (fuzz::manifest, MANIFESTS)] {
            let data = input(&mut random, seeds);
            if std::panic::catch_unwind(|| target(&data)).is_err() {
                panic!("run {runs}: {:?}", String::from_utf8_lossy(&data));
            }
            runs += 1;
        }
    }
    println!("{runs} runs");
}

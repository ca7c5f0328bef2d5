//! The fuzz targets on the stable toolchain: mutated requests and replies for `SPINEL_FUZZ_SECONDS` (default 5). `fuzz/` has the
//! same bodies for `cargo fuzz`, which is guided by coverage.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use spinel_resp::fuzz;

const REQUESTS: &[&[u8]] = &[
    b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"\r\n",
    b"PING\r\n",
    b"SET key \"a \\x41 value\"\r\n",
    b"SET key 'it\\'s'\n",
    b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
    b"*1\r\n$90\r\n",
    b"*2\r\n$40000\r\n",
    b"*12\r\n$16385\r\n",
    b"*2147483648\r\n",
    b"*1\r\n$536870913\r\n",
];

const REPLIES: &[&[u8]] = &[
    b"+OK\r\n",
    b"-ERR x\r\n",
    b":1\r\n",
    b"$5\r\nhello\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*2\r\n:1\r\n*1\r\n$0\r\n\r\n",
    b"%1\r\n+k\r\n~1\r\n_\r\n",
    b">2\r\n+a\r\n#t\r\n",
    b"|1\r\n+a\r\n:1\r\n,1.5\r\n",
    b"(123\r\n",
    b"=7\r\ntxt:abc\r\n",
    b"!5\r\nERR x\r\n",
];

const TOKENS: &[&[u8]] =
    &[b"\r", b"\n", b"\r\n", b"*", b"$", b"\0", b"\"", b"'", b"\\", b"\\x4", b" ", b"-", b"0", b"9", b"99999", b"\xff"];

/// A few seeds in a row, then a few bytes changed.
fn input(random: &mut StdRng, seeds: &[&[u8]]) -> Vec<u8> {
    let mut data: Vec<u8> = vec![random.random(), random.random()];
    for _ in 0..random.random_range(1..8) {
        data.extend_from_slice(seeds.choose(random).expect("seeds"));
        if random.random_ratio(1, 20) {
            // Enough to feed a large argument or a line that is too long.
            data.resize(data.len() + random.random_range(0..90_000), b'a');
        }
    }
    for _ in 0..random.random_range(0..6) {
        let at = random.random_range(0..data.len());
        match random.random_range(0..4) {
            0 => data[at] = random.random(),
            1 => drop(data.remove(at)),
            2 => data.truncate(at.max(2)),
            _ => drop(data.splice(at..at, TOKENS.choose(random).expect("tokens").iter().copied())),
        }
        if data.len() < 3 {
            break;
        }
    }
    data
}

#[test]
fn bounded_fuzzing() {
    let seconds = std::env::var("SPINEL_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let mut random = StdRng::seed_from_u64(testkit::seed());
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut runs = 0u64;
    while Instant::now() < deadline {
        for (target, seeds) in [(fuzz::decoder as fn(&[u8]), REQUESTS), (fuzz::replies, REPLIES)] {
            let data = input(&mut random, seeds);
            if let Err(panic) = std::panic::catch_unwind(|| target(&data)) {
                eprintln!("a finding, of {} bytes: b\"{}\"", data.len(), data.escape_ascii());
                std::panic::resume_unwind(panic);
            }
            runs += 1;
        }
    }
    eprintln!("{runs} runs");
}

//! Texts of libraries, and what scripts decode, damaged: an error or a value, never anything else.
//!
//! `SPINEL_FUZZ_SECONDS` says how long each goes on, instead of 2,000 times. `fuzz/` has the same for `cargo fuzz`.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::seq::IndexedRandom;
use scripting::fuzz::Target;
use testkit::{Random, random_from, seed};

const PIECES: &[&str] = &[
    "#!lua name=a\n",
    "#!",
    "lua",
    " name=",
    "redis.register_function",
    "('f', function(keys, args) return keys end)",
    "{function_name='g', callback=function() return 1 end, flags={'no-writes'}}",
    "redis.log(1, 'x')",
    "return ",
    "local x = ",
    "while true do end",
    "redis",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "\"a\"",
    ":",
    ",",
    "1",
    "-1.5e3",
    "true",
    "null",
    "\\u00e9",
    "\n",
    " ",
    "'",
    "\"",
    "--[[",
    "]]",
    "end ",
    "bBhHiIlLTfdsxc0<>!4",
    "\u{80}",
    "nil",
    "function() ",
    "if x then ",
    "for i=1,3 do ",
];

fn text(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..random.random_range(0..12) {
        if random.random_bool(0.8) {
            text.extend_from_slice(PIECES.choose(random).expect("there are some").as_bytes());
        } else {
            text.extend((0..random.random_range(1..8)).map(|_| random.random::<u8>()));
        }
    }
    text
}

fn again_and_again(mut run: impl FnMut(&mut Target, &[u8])) {
    let seed = seed();
    println!("seed {seed}");
    let mut random = random_from(seed);
    let mut target = Target::default();
    let seconds = std::env::var("SPINEL_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut count = 0;
    while until.map_or(count < 2_000, |until| Instant::now() < until) {
        run(&mut target, &text(&mut random));
        count += 1;
    }
}

#[test]
fn libraries() {
    again_and_again(Target::library);
}

#[test]
fn what_is_decoded() {
    again_and_again(Target::decode);
}

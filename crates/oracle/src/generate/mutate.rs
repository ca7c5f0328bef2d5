//! What careless callers do to good commands, and the guards that keep a run repeatable.

use rand::Rng;
use testkit::Random;

use super::pools;
use crate::step::upper;

/// Changes of letter case and of the number of arguments: harmless for any command.
pub fn lightly(random: &mut Random, words: &mut Vec<Vec<u8>>) {
    match random.random_range(0..40) {
        0 => drop(words.pop()),
        1 => words.push(pools::value(random)),
        2 => words.truncate(1),
        3..=8 => words.iter_mut().take(2).for_each(|word| word.make_ascii_lowercase()),
        9..=11 => {
            for byte in words.iter_mut().take(1).flatten() {
                if random.random_bool(0.5) {
                    *byte ^= if byte.is_ascii_alphabetic() { 0x20 } else { 0 };
                }
            }
        }
        _ => {}
    }
    if words.is_empty() {
        words.push(b"PING".to_vec());
    }
}

/// Changes of the arguments themselves: for commands that act on keys only.
pub fn heavily(random: &mut Random, words: &mut Vec<Vec<u8>>) {
    lightly(random, words);
    if words.len() < 2 || random.random_bool(0.8) {
        return;
    }
    let at = random.random_range(1..words.len());
    match random.random_range(0..6) {
        0 => {
            let last = words.len() - 1;
            words.swap(at, last);
        }
        1 => {
            let again = words[at].clone();
            words.push(again);
        }
        2 => words[at] = pools::integer(random).into_bytes(),
        3 => words[at] = pools::value(random),
        4 => {
            words[at] = pools::pick(
                random,
                &["NX", "XX", "GT", "LT", "GET", "EX", "PX", "KEEPTTL", "PERSIST", "REPLACE", "DB", "COUNT"],
            )
            .into()
        }
        _ => drop(words.remove(at)),
    }
}

/// Keeps a command from what would make two honest servers differ, or eat the machine.
pub fn guard(random: &mut Random, words: &mut Vec<Vec<u8>>) {
    let name = upper(&words[0]);
    far_expiry(random, &name, words);
    match name.as_str() {
        // Up to 512 MB would be allocated on either side.
        "SETRANGE" => bound(words, 2, 300, (1 << 29) - 300),
        "SETBIT" | "GETBIT" => bound(words, 2, 4096, 1 << 32),
        // Shortened by a mutation it would be right, and end the run.
        "SHUTDOWN" if !words.iter().any(|word| word.eq_ignore_ascii_case(b"ABORT")) => words.push(b"BOGUS".to_vec()),
        // A second id behind the first is an error in Redis and fine in Valkey, and so in Spinel.
        "CLIENT" if is_kill_of_two_ids(words) => drop(words.pop()),
        "CONFIG" => enough(words),
        // Part of a scan is each server's own; `Step::ScanToEnd` has the whole ones. With a word too many it is an error.
        "SCAN" if words.len().is_multiple_of(2) => words.push(b"BOGUS".to_vec()),
        _ => {}
    }
}

fn is_kill_of_two_ids(words: &[Vec<u8>]) -> bool {
    words.len() >= 5
        && words.len() % 2 == 1
        && words[1].eq_ignore_ascii_case(b"KILL")
        && words[words.len() - 3].eq_ignore_ascii_case(b"ID")
}

/// No `maxmemory` that this run could meet, and no `timeout` in which a connection could be idle.
fn enough(words: &mut [Vec<u8>]) {
    for at in 1..words.len() {
        let (least, enough): (u64, &[u8]) = match upper(&words[at - 1]).as_str() {
            "MAXMEMORY" => (1 << 30, b"1gb"),
            "TIMEOUT" => (300, b"300"),
            _ => continue,
        };
        let number = std::str::from_utf8(&words[at]).ok().and_then(|text| text.parse::<u64>().ok());
        if number.is_some_and(|number| number > 0 && number < least) {
            words[at] = enough.to_vec();
        }
    }
}

/// A time to live must be over or far: the two servers do not execute at the same millisecond. And no two may be so near
/// each other that GT and LT hang on it.
fn far_expiry(random: &mut Random, name: &str, words: &mut [Vec<u8>]) {
    let places: Vec<(usize, u64)> = match name {
        "EXPIRE" | "SETEX" | "HEXPIRE" => vec![(2, 1000)],
        "PEXPIRE" | "PSETEX" | "RESTORE" | "HPEXPIRE" => vec![(2, 1)],
        "SET" | "GETEX" | "MSETEX" | "HGETEX" | "HSETEX" => words
            .iter()
            .enumerate()
            .filter_map(|(at, word)| match upper(word).as_str() {
                "EX" => Some((at + 1, 1000)),
                "PX" => Some((at + 1, 1)),
                _ => None,
            })
            .collect(),
        _ => return,
    };
    for (at, unit_ms) in places {
        let Some(word) = words.get_mut(at) else { continue };
        let number = std::str::from_utf8(word).ok().and_then(|text| text.trim().parse::<i64>().ok());
        if number.is_some_and(|number| number > 0 && (number as u64).saturating_mul(unit_ms) < 10_000_000_000) {
            *word = pools::far(random, unit_ms).into_bytes();
        }
    }
}

/// A number between the bounds becomes the lower one.
fn bound(words: &mut [Vec<u8>], at: usize, low: u64, high: u64) {
    let Some(word) = words.get_mut(at) else { return };
    let number = std::str::from_utf8(word).ok().and_then(|text| text.parse::<u64>().ok());
    if number.is_some_and(|number| number > low && number < high) {
        *word = low.to_string().into_bytes();
    }
}

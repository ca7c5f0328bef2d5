//! What careless callers do to good commands, and the guards that keep a run repeatable.

use rand::Rng;
use testkit::Random;

use super::{
    collections::{self, LEX_KEYS, LEX_OTHERS},
    grammar, pools,
};
use crate::{chance, step::upper};

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

/// Makes arguments fit each other that the documentation describes one by one: the bounds of ZRANGE mean what its options say.
pub fn refine(random: &mut Random, words: &mut [Vec<u8>]) {
    let first = match upper(&words[0]).as_str() {
        "ZRANGE" => 2,
        "ZRANGESTORE" => 3,
        _ => return,
    };
    if random.random_bool(0.1) {
        return;
    }
    let has = |option: &str| words.iter().any(|word| word == option.as_bytes());
    let bound: fn(&mut Random) -> String = match () {
        () if has("BYLEX") => collections::lex_bound,
        () if has("BYSCORE") => collections::score_bound,
        () => collections::rank,
    };
    for word in words.iter_mut().skip(first).take(2) {
        *word = bound(random).into_bytes();
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
                &[
                    "NX",
                    "XX",
                    "GT",
                    "LT",
                    "GET",
                    "EX",
                    "PX",
                    "KEEPTTL",
                    "PERSIST",
                    "REPLACE",
                    "DB",
                    "COUNT",
                    "LIMIT",
                    "WITHSCORES",
                    "FIELDS",
                ],
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
    equal_scores(&name, words);
    match name.as_str() {
        // Up to 512 MB would be allocated on either side.
        "SETRANGE" => bound(words, 2, 300, (1 << 29) - 300),
        "SETBIT" | "GETBIT" => bound(words, 2, 4096, 1 << 32),
        // Redis takes an index by the lower 32 bits where a list is small; nobody wants that equalled.
        "LSET" => bound_index(words, 2),
        "BITFIELD" | "BITFIELD_RO" => near_offsets(words),
        "BLPOP" | "BRPOP" | "BLMOVE" | "BRPOPLPUSH" | "BZPOPMIN" | "BZPOPMAX" => {
            let last = words.len() - 1;
            never_wait(random, words, last);
        }
        "BLMPOP" | "BZMPOP" => never_wait(random, words, 1),
        "XREAD" | "XREADGROUP" => {
            for at in 1..words.len() {
                if words[at - 1].eq_ignore_ascii_case(b"BLOCK") {
                    never_wait(random, words, at);
                }
            }
        }
        "XAUTOCLAIM" | "XCLAIM" | "XPENDING" => far_idle_times(words),
        // What a search finds first is its own; it must not become a key's value.
        "GEORADIUS" | "GEORADIUSBYMEMBER" | "GEOSEARCHSTORE" => words.retain(|word| !word.eq_ignore_ascii_case(b"ANY")),
        "SORT" | "SORT_RO" => {
            // Redis gives a sorted set that it sorts the large encoding, which nobody wants equalled: only keys that nobody else looks at.
            let own = collections::SORT_KEYS;
            if words.len() > 1 && !own.iter().any(|key| key.as_bytes() == words[1]) {
                words[1] = pools::pick(random, &own).into();
            }
            // Nor must an order that nobody has asked for become a value.
            if has(words, "BY") && has(words, "ALPHA") {
                words.retain(|word| !word.eq_ignore_ascii_case(b"STORE"));
            }
        }
        "HSCAN" | "SSCAN" | "ZSCAN" if words.len() % 2 == 1 => words.push(b"BOGUS".to_vec()),
        name if chance::COMMANDS.contains(&name) => bound_negative(words, 2),
        // Shortened by a mutation it would be right, and end the run.
        "SHUTDOWN" if !words.iter().any(|word| word.eq_ignore_ascii_case(b"ABORT")) => words.push(b"BOGUS".to_vec()),
        // A second id behind the first is an error in Redis and fine in Valkey, and so in Spinel.
        "CLIENT" => {
            foreign_ids(words);
            if is_kill_of_two_ids(words) {
                words.pop();
            }
        }
        "CONFIG" => enough(words),
        // Part of a scan is each server's own; `Step::ScanToEnd` has the whole ones. With a word too many it is an error.
        "SCAN" if words.len().is_multiple_of(2) => words.push(b"BOGUS".to_vec()),
        _ => {}
    }
}

fn has(words: &[Vec<u8>], option: &str) -> bool {
    words.iter().skip(1).any(|word| word.eq_ignore_ascii_case(option.as_bytes()))
}

/// A timeout that is none: whether something waits is for `Step::Move`.
fn never_wait(random: &mut Random, words: &mut [Vec<u8>], at: usize) {
    if let Some(word) = words.get_mut(at) {
        *word =
            pools::pick(random, &["-1", "abc", "nan", "", "1e400", "-0.5", "99999999999999999999", "0x", "1 "]).into();
    }
}

/// Idle times are compared with what has passed: that must not decide.
fn far_idle_times(words: &mut [Vec<u8>]) {
    const FAR_MS: u64 = 3_600_000;
    let name = upper(&words[0]);
    for at in 1..words.len() {
        let is_time = at == 4 && name != "XPENDING" || words[at - 1].eq_ignore_ascii_case(b"IDLE");
        let number = std::str::from_utf8(&words[at]).ok().and_then(|text| text.parse::<u64>().ok());
        if is_time && number.is_some_and(|number| (1..FAR_MS).contains(&number)) {
            words[at] = FAR_MS.to_string().into_bytes();
        }
    }
}

/// An offset behind an encoding stays small: up to 512 MB would be allocated on either side.
fn near_offsets(words: &mut [Vec<u8>]) {
    for at in 1..words.len() {
        let is_encoding = matches!(words[at - 1].first(), Some(b'u' | b'i' | b'U' | b'I')) && words[at - 1].len() <= 3;
        let text = std::str::from_utf8(&words[at]).unwrap_or_default();
        let number = text.strip_prefix('#').unwrap_or(text).parse::<u64>().ok();
        if is_encoding && number.is_some_and(|number| number > 4096 && number < 1 << 33) {
            words[at] = b"4096".to_vec();
        }
    }
}

/// An index beyond 32 bits becomes one that is beyond the list.
fn bound_index(words: &mut [Vec<u8>], at: usize) {
    let Some(word) = words.get_mut(at) else { return };
    let number = std::str::from_utf8(word).ok().and_then(|text| text.parse::<i64>().ok());
    if number.is_some_and(|number| i32::try_from(number).is_err()) {
        *word = b"100000".to_vec();
    }
}

/// A negative count asks for so many elements, repeated.
fn bound_negative(words: &mut [Vec<u8>], at: usize) {
    let Some(word) = words.get_mut(at) else { return };
    let number = std::str::from_utf8(word).ok().and_then(|text| text.parse::<i64>().ok());
    if number.is_some_and(|number| number < -1000 && number > i64::MIN) {
        *word = b"-100".to_vec();
    }
}

/// Ranges by lex only where all scores are equal, and equal scores only in keys for that: see [`LEX_KEYS`].
fn equal_scores(name: &str, words: &mut Vec<Vec<u8>>) {
    let is_lex_key = |word: &[u8]| LEX_KEYS.iter().any(|key| key.as_bytes() == word);
    let by_lex = grammar::is_lex(&name.to_lowercase()) || name.starts_with("ZRANGE") && has(words, "BYLEX");
    let source = if name == "ZRANGESTORE" { 2 } else { 1 };
    if by_lex
        && let Some(word) = words.get_mut(source)
        && !is_lex_key(word)
        && !LEX_OTHERS.iter().any(|key| key.as_bytes() == *word)
    {
        *word = LEX_KEYS[0].into();
    }
    if name == "ZRANGESTORE" && words.get(1).is_some_and(|word| is_lex_key(word)) {
        words[1] = b"zset1".to_vec();
    }
    if name == "ZADD" && words.get(1).is_some_and(|word| is_lex_key(word)) {
        words.retain(|word| !word.eq_ignore_ascii_case(b"INCR"));
        let options = ["NX", "XX", "GT", "LT", "CH"];
        let is_option = |word: &Vec<u8>| options.iter().any(|option| word.eq_ignore_ascii_case(option.as_bytes()));
        let first = 2 + words[2..].iter().take_while(|word| is_option(word)).count();
        for word in words.iter_mut().skip(first).step_by(2) {
            *word = b"0".to_vec();
        }
    }
}

/// No id that a connection of the run could have, wherever ids are said: it is another one on each server.
fn foreign_ids(words: &mut [Vec<u8>]) {
    const ID_MIN: u64 = 99_999_990;
    let precedes_ids = |word: &Vec<u8>| matches!(upper(word).as_str(), "ID" | "NOT-ID" | "UNBLOCK" | "REDIRECT");
    let Some(first) = words.iter().position(precedes_ids) else { return };
    for word in &mut words[first + 1..] {
        let number = std::str::from_utf8(word).ok().and_then(|text| text.parse::<u64>().ok());
        if number.is_some_and(|number| (1..ID_MIN).contains(&number)) {
            *word = ID_MIN.to_string().into_bytes();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_nobodys_id() {
        for (line, guarded) in [
            ("CLIENT KILL ID 10", "CLIENT KILL ID 99999990"),
            ("CLIENT LIST ID 0 3 abc", "CLIENT LIST ID 0 99999990 abc"),
            ("CLIENT LIST NOT-ID 10", "CLIENT LIST NOT-ID 99999990"),
            ("CLIENT UNBLOCK 7 ERROR", "CLIENT UNBLOCK 99999990 ERROR"),
            ("CLIENT TRACKING ON REDIRECT 2", "CLIENT TRACKING ON REDIRECT 99999990"),
            ("CLIENT LIST ID 99999999", "CLIENT LIST ID 99999999"),
            ("CLIENT NO-EVICT 1", "CLIENT NO-EVICT 1"),
        ] {
            let mut words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            foreign_ids(&mut words);
            assert_eq!(String::from_utf8(words.join(&b' ')).unwrap(), guarded);
        }
    }
}

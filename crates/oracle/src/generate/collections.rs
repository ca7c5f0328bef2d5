//! What makes commands on collections meet: keys by type, few members, scores and stream ids that collide, places on earth.
//!
//! A key's name says what is mostly kept there, so that commands of a family find their own type nearly always, and another
//! one now and then.

use rand::{Rng, seq::IndexedRandom};
use testkit::Random;

use super::pools;

/// Keys by the group of the commands that write them.
const KEYS: &[(&str, &[&str])] = &[
    ("list", &["list1", "list2", "list3"]),
    ("set", &["set1", "set2", "set3"]),
    ("sorted-set", &["zset1", "zset2", "zset3"]),
    ("hash", &["hash1", "hash2", "hash_a", "hash_1"]),
    ("stream", &["stream1", "stream2"]),
    ("hyperloglog", &["hll1", "hll2", "hll3"]),
    ("geo", &["geo1", "geo2"]),
    ("bitmap", &["bits1", "bits2", "bits3"]),
];

/// Sorted sets whose members all have the score 0. What a range by lex says of another one hangs on the shape of a skip list,
/// which is drawn by lot.
pub const LEX_KEYS: [&str; 2] = ["lex1", "lex2"];

/// What SORT sorts, and what forms fill for it: a list, a set, a sorted set, nothing, and a string.
pub const SORT_KEYS: [&str; 5] = ["sort_list", "sort_set", SORTED_BY_SORT, "nosuchkey", "plain"];

/// The encoding of this one is each server's own.
pub const SORTED_BY_SORT: &str = "sort_zset";

/// What commands by lex may meet besides: nothing, and a string.
pub const LEX_OTHERS: [&str; 2] = ["nosuchkey", "plain"];

const MEMBERS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "1",
    "2",
    "3",
    "4",
    "-5",
    "100",
    "32768",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "01",
    "1.5",
    "",
    "\u{0}\u{ff}bin",
    "abcdefgh",
    "abcdefghi",
    // At and beyond the longest value of the compact encodings.
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxy",
];

const SCORES: &[&str] = &[
    "0",
    "-0",
    "1",
    "1",
    "2",
    "2",
    "3",
    "-1",
    "1.5",
    "0.1",
    "-2.5",
    "inf",
    "-inf",
    "+inf",
    "Infinity",
    "1e308",
    "-1e308",
    "5e-324",
    "1e17",
    "123456789012345678",
    "3.0000000000000004",
];

const WRONG_SCORES: &[&str] = &["nan", "-nan", "abc", "", "1e400", " 1", "1 ", "0x10", "1,5", "(1", "+-1"];

const SCORE_BOUNDS: &[&str] =
    &["-inf", "+inf", "inf", "(inf", "(-inf", "(1", "(2", "(1.5", "(-1", "0", "-0", "(0", "(", "(abc", "[1"];

const LEX_BOUNDS: &[&str] =
    &["-", "+", "[a", "(a", "[c", "(c", "[1", "(", "[", "[zz", "(aa", "[abcdefgh", "a", "", "[-", "(+", "++"];

const GROUPS: &[&str] = &["group1", "group1", "group1", "group1", "group2", "group2", "group2", "nogroup", ""];
const CONSUMERS: &[&str] = &["alice", "alice", "alice", "bob", "bob", "carol", ""];

const WRONG_IDS: &[&str] = &[
    "abc",
    "1-abc",
    "1-1-1",
    "-1",
    "",
    "18446744073709551615-18446744073709551616",
    "18446744073709551616",
    "1-",
    "-",
    "+",
    "$",
    "(",
    ">",
];

const EDGE_IDS: &[&str] = &["0", "0-0", "0-1", "-", "+", "18446744073709551615", "(0", "9999999999999-0"];

/// Idle times: never near what can pass within a run.
const IDLE_TIMES_MS: &[&str] = &["0", "0", "0", "-1", "3600000", "1000000000", "abc", "", "9223372036854775808"];

/// Counters and instants of a generator, beside its random numbers.
#[derive(Clone, Debug, Default)]
pub struct Ticks {
    /// The time of the newest stream entry.
    entry: u64,
}

/// A key for a command of this group; `None` where any key is as good as another.
pub fn key(random: &mut Random, group: &str) -> Option<Vec<u8>> {
    let (_, own) = KEYS.iter().find(|(of, _)| *of == group)?;
    // Geo commands work on sorted sets, and sorted set commands on places.
    if random.random_bool(0.9) {
        return Some(own.choose(random)?.as_bytes().to_vec());
    }
    Some(any_key(random))
}

/// A key of any type; not those of lex ranges.
pub fn any_key(random: &mut Random) -> Vec<u8> {
    if random.random_bool(0.3) {
        return pools::key(random);
    }
    let (_, keys) = KEYS.choose(random).expect("some");
    keys.choose(random).expect("some").as_bytes().to_vec()
}

/// What SORT's patterns and weights name: `weight_a`, `hash_1`.
pub fn sort_pattern(random: &mut Random) -> String {
    let some = [
        "weight_*",
        "weight_*",
        "hash_*->a",
        "hash_*->1",
        "nosort",
        "#",
        "*",
        "weight_*->",
        "hash1->*",
        "nosuch_*",
        "",
    ];
    pools::pick(random, &some).to_owned()
}

pub fn member(random: &mut Random) -> Vec<u8> {
    match random.random_range(0..20) {
        0 => pools::value(random),
        1..=3 => random.random_range(0..300).to_string().into_bytes(),
        // Low ones more often, so that most commands meet something.
        _ => {
            let bound = random.random_range(1..=MEMBERS.len());
            MEMBERS[random.random_range(0..bound)].as_bytes().to_vec()
        }
    }
}

pub fn score(random: &mut Random) -> String {
    match random.random_range(0..20) {
        0 => pools::pick(random, WRONG_SCORES).to_owned(),
        1..=4 => random.random_range(-20..20).to_string(),
        5 => format!("{}", random.random_range(-1000.0..1000.0)),
        6 => format!("{:.2}", random.random_range(-10.0..10.0)),
        _ => pools::pick(random, SCORES).to_owned(),
    }
}

pub fn score_bound(random: &mut Random) -> String {
    if random.random_bool(0.5) { pools::pick(random, SCORE_BOUNDS).to_owned() } else { score(random) }
}

pub fn lex_bound(random: &mut Random) -> String {
    match random.random_range(0..3) {
        0 => {
            let sign = pools::pick(random, &["[", "("]);
            format!("{sign}{}", String::from_utf8_lossy(&member(random)))
        }
        _ => pools::pick(random, LEX_BOUNDS).to_owned(),
    }
}

pub fn rank(random: &mut Random) -> String {
    if random.random_bool(0.1) { pools::integer(random) } else { random.random_range(-8..8).to_string() }
}

pub fn consumer_group(random: &mut Random) -> Vec<u8> {
    pools::pick(random, GROUPS).into()
}

pub fn consumer(random: &mut Random) -> Vec<u8> {
    pools::pick(random, CONSUMERS).into()
}

pub fn idle_time_ms(random: &mut Random) -> String {
    pools::pick(random, IDLE_TIMES_MS).to_owned()
}

/// Longitude and latitude, mostly on earth; hardly ever the same place twice, so that no order hangs on equal distances.
pub fn longitude(random: &mut Random) -> String {
    match random.random_range(0..30) {
        0 => pools::pick(random, &["180", "-180", "180.1", "-181", "nan", "inf", "abc", ""]).to_owned(),
        1..=8 => format!("{:.6}", random.random_range(-180.0..180.0)),
        _ => format!("{:.9}", random.random_range(12.0..16.0)),
    }
}

pub fn latitude(random: &mut Random) -> String {
    match random.random_range(0..30) {
        0 => pools::pick(random, &["85.05112878", "-85.05112878", "85.06", "90", "nan", "abc", ""]).to_owned(),
        1..=8 => format!("{:.6}", random.random_range(-85.0..85.0)),
        _ => format!("{:.9}", random.random_range(36.0..39.0)),
    }
}

/// A radius, a width or a height.
pub fn distance(random: &mut Random) -> String {
    match random.random_range(0..20) {
        0 => pools::pick(random, &["-1", "abc", "nan", "inf", "", "1e300"]).to_owned(),
        1..=3 => random.random_range(0..20_000).to_string(),
        _ => format!("{:.1}", random.random_range(0.0..400.0)),
    }
}

pub fn bit_encoding(random: &mut Random) -> String {
    match random.random_range(0..12) {
        0 => pools::pick(random, &["u64", "i65", "u0", "i0", "x8", "u", "", "8", "u-1", "u08"]).to_owned(),
        1 => pools::pick(random, &["u63", "i64", "u1", "i1"]).to_owned(),
        _ => format!("{}{}", pools::pick(random, &["u", "i"]), random.random_range(1..=20)),
    }
}

pub fn bit_offset(random: &mut Random) -> String {
    match random.random_range(0..12) {
        0 => pools::integer(random),
        1..=4 => format!("#{}", random.random_range(0..12)),
        _ => random.random_range(0..100).to_string(),
    }
}

impl Ticks {
    /// An id for a new entry: mostly greater than all before, or XADD would soon only fail.
    pub fn new_id(&mut self, random: &mut Random) -> String {
        match random.random_range(0..20) {
            0 => pools::pick(random, WRONG_IDS).to_owned(),
            1 => self.old_id(random),
            2..=3 => format!("{}-*", self.entry),
            4 => format!("{}-{}", self.entry, random.random_range(0..5)),
            5 => {
                self.entry += 1;
                self.entry.to_string()
            }
            _ => {
                self.entry += random.random_range(1..3);
                format!("{}-{}", self.entry, random.random_range(0..3))
            }
        }
    }

    /// An id that an entry may have, or a bound between some.
    pub fn old_id(&self, random: &mut Random) -> String {
        match random.random_range(0..20) {
            0 => pools::pick(random, WRONG_IDS).to_owned(),
            1..=4 => pools::pick(random, EDGE_IDS).to_owned(),
            dice => {
                let back = if dice < 12 { 12 } else { 200 };
                let time = self.entry.saturating_sub(random.random_range(0..back));
                match random.random_range(0..8) {
                    0 => format!("({time}-{}", random.random_range(0..3)),
                    1..=2 => time.to_string(),
                    _ => format!("{time}-{}", random.random_range(0..3)),
                }
            }
        }
    }
}

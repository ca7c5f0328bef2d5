//! Large collections: enough at once to leave every compact encoding.

use rand::{Rng, seq::IndexedRandom};
use testkit::Random;

use super::collections::{self, Ticks};

type Elements = fn(&mut Random, usize) -> Vec<String>;

/// `(group, command, elements per item)`: the words behind the key, for the item of this number.
const KINDS: &[(&str, &str, Elements)] = &[
    ("list", "RPUSH", |random, number| vec![text(random, number)]),
    ("list", "LPUSH", |_, number| vec![number.to_string()]),
    ("set", "SADD", |_, number| vec![(number * 3).to_string()]),
    ("set", "SADD", |random, number| vec![text(random, number)]),
    ("hash", "HSET", |random, number| vec![format!("field:{number}"), text(random, number)]),
    ("hash", "HSET", |_, number| vec![number.to_string(), number.to_string()]),
    ("sorted-set", "ZADD", |random, number| vec![random.random_range(0..200).to_string(), format!("m{number}")]),
    ("sorted-set", "ZADD", |random, number| vec![format!("{:.3}", random.random_range(-9.0..9.0)), number.to_string()]),
    ("hyperloglog", "PFADD", |random, _| vec![random.random::<u32>().to_string()]),
    ("geo", "GEOADD", |random, number| {
        vec![collections::longitude(random), collections::latitude(random), format!("place{number}")]
    }),
];

fn text(random: &mut Random, number: usize) -> String {
    format!("{number}:{}", "x".repeat(random.random_range(0..70)))
}

/// One command with many elements; `None` when the drawn kind is not among the generated commands.
pub fn fill(random: &mut Random, ticks: &mut Ticks, exists: impl Fn(&str) -> bool) -> Option<Vec<Vec<u8>>> {
    if random.random_bool(0.1) && exists("xadd") {
        // A stream grows entry by entry; one with many fields fills its blocks sooner.
        let fields = random.random_range(10..200);
        let key = collections::key(random, "stream").expect("a group of collections");
        let mut words = vec![b"XADD".to_vec(), key, ticks.new_id(random).into_bytes()];
        words.extend((0..fields * 2).map(|number| text(random, number).into_bytes()));
        return Some(words);
    }
    let (group, command, elements) = KINDS.choose(random).expect("some");
    if !exists(&command.to_lowercase()) {
        return None;
    }
    let count = *[5, 20, 127, 130, 200, 513, 600].choose(random).expect("some");
    let first = random.random_range(0..100);
    let mut words = vec![command.as_bytes().to_vec(), collections::key(random, group).expect("a group of collections")];
    words.extend((first..first + count).flat_map(|number| elements(random, number)).map(String::into_bytes));
    Some(words)
}

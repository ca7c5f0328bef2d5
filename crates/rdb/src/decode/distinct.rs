//! Whether the elements of a listpack are all different.

use std::collections::HashSet;

use keyspace::canonical_int;
use keyspace::collection::listpack::{Item, Listpack};

/// Up to so many elements a table on the stack is enough.
const SMALL_MAX: usize = 512;
const SLOTS: usize = 2 * SMALL_MAX;

/// Every `stride`th element from the first on is looked at; one of them that is there twice.
pub(super) fn find_repeated(listpack: &Listpack, stride: usize) -> Option<Item<'_>> {
    let count = listpack.len() / stride;
    if count <= SMALL_MAX { find_in_few(listpack, stride, count) } else { find_in_many(listpack, stride) }
}

fn find_in_few(listpack: &Listpack, stride: usize, count: usize) -> Option<Item<'_>> {
    // Open addressing: the number of the element plus one, and some bits of its hash, so that hardly any is compared in vain.
    let slots_used = (2 * count).next_power_of_two();
    let mut slots = [(0u16, 0u16); SLOTS];
    let slots = &mut slots[..slots_used];
    for (number, item) in listpack.iter().step_by(stride).enumerate() {
        let hash = hash_of(&item);
        let mut at = hash as usize & (slots_used - 1);
        while slots[at].0 != 0 {
            if slots[at].1 == (hash >> 48) as u16 {
                let other = listpack.iter().step_by(stride).nth(usize::from(slots[at].0) - 1);
                if other.is_some_and(|other| is_same(&item, &other)) {
                    return Some(item);
                }
            }
            at = (at + 1) & (slots_used - 1);
        }
        slots[at] = (number as u16 + 1, (hash >> 48) as u16);
    }
    None
}

/// Not keyed: who sends a payload made to collide makes at most 512 elements slow.
fn hash_of(item: &Item<'_>) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(FACTOR);
        (product >> 64) as u64 ^ product as u64
    };
    // A text that says a number is the same element as the number.
    if let Some(number) = item.as_int() {
        return mix(mix(FACTOR, number as u64), 1);
    }
    let Item::Bytes(text) = item else { unreachable!("the others are numbers") };
    let mut hash = mix(FACTOR, text.len() as u64);
    for chunk in text.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash, u64::from_le_bytes(word));
    }
    mix(hash, 2)
}

fn is_same(one: &Item<'_>, other: &Item<'_>) -> bool {
    match (one, other) {
        (Item::Bytes(one), Item::Bytes(other)) => one == other,
        _ => one.as_int().is_some() && one.as_int() == other.as_int(),
    }
}

fn find_in_many(listpack: &Listpack, stride: usize) -> Option<Item<'_>> {
    let mut numbers = HashSet::new();
    let mut texts = HashSet::new();
    listpack.iter().step_by(stride).find(|item| match item {
        Item::Int(number) => !numbers.insert(*number),
        Item::Bytes(text) => match canonical_int(text) {
            Some(number) => !numbers.insert(number),
            None => !texts.insert(*text),
        },
    })
}

#[cfg(test)]
mod tests {
    use keyspace::IntBuffer;

    use super::*;

    fn repeated(count: usize, stride: usize, twice: Option<usize>) -> Option<Vec<u8>> {
        let mut listpack = Listpack::new();
        for number in 0..count {
            let number = twice.filter(|_| number + 1 == count).unwrap_or(number);
            match number % 3 {
                0 => listpack.push_back_int(number as i64 * 7919),
                _ => listpack.push_back(format!("element {number}").as_bytes()),
            }
            (1..stride).for_each(|_| listpack.push_back(b"same"));
        }
        find_repeated(&listpack, stride).map(|item| item.to_vec())
    }

    #[test]
    fn finds_what_is_there_twice() {
        for count in [0, 1, 2, 3, 100, 511, 512, 513, 2000] {
            for stride in 1..4 {
                assert_eq!(repeated(count, stride, None), None, "{count} by {stride}");
                for twice in [0, 1, count / 2].into_iter().filter(|&twice| twice + 1 < count) {
                    assert!(repeated(count, stride, Some(twice)).is_some(), "{twice} again in {count} by {stride}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_their_texts() {
        let mut buffer = IntBuffer::new();
        let (text, number) = (Item::Bytes(buffer.format(-12)), Item::Int(-12));
        assert_eq!(hash_of(&text), hash_of(&number));
        assert!(is_same(&text, &number));
        assert!(!is_same(&Item::Bytes(b"012"), &Item::Int(12)));
    }
}

//! Whether the elements of a listpack are all different.

use std::collections::HashSet;

use keyspace::collection::listpack::{Item, Listpack};

/// Up to so many elements a table on the stack is enough.
const SMALL_MAX: usize = 512;

/// Every `stride`th element from the first on is looked at; one of them that is there twice.
///
/// The listpack is one of the keyspace's own ([`Listpack::from_bytes`]): an integer is never there as a text.
pub(super) fn find_repeated(listpack: &Listpack, stride: usize) -> Option<Item<'_>> {
    match listpack.len() / stride {
        // A table that is larger than needed would cost more than what is done with it.
        0..=16 => find_in_few::<32>(listpack, stride),
        17..=128 => find_in_few::<256>(listpack, stride),
        129..=SMALL_MAX => find_in_few::<{ 2 * SMALL_MAX }>(listpack, stride),
        _ => find_in_many(listpack, stride),
    }
}

fn find_in_few<const SLOTS: usize>(listpack: &Listpack, stride: usize) -> Option<Item<'_>> {
    // Open addressing: the number of the element plus one, and some bits of its hash, so that hardly any is compared in vain.
    let mut slots = [(0u16, 0u16); SLOTS];
    for (number, item) in listpack.iter().step_by(stride).enumerate() {
        let hash = hash_of(&item);
        let mut at = hash as usize % SLOTS;
        while slots[at].0 != 0 {
            if slots[at].1 == (hash >> 48) as u16 {
                let other = listpack.iter().step_by(stride).nth(usize::from(slots[at].0) - 1);
                if other.is_some_and(|other| is_same(&item, &other)) {
                    return Some(item);
                }
            }
            at = (at + 1) % SLOTS;
        }
        slots[at] = (number as u16 + 1, (hash >> 48) as u16);
    }
    None
}

/// Not keyed: who sends a payload made to collide makes at most 512 elements slow.
#[inline]
fn hash_of(item: &Item<'_>) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(FACTOR);
        (product >> 64) as u64 ^ product as u64
    };
    let text = match item {
        Item::Int(number) => return mix(FACTOR.rotate_left(7), *number as u64),
        Item::Bytes(text) => *text,
    };
    let mut hash = FACTOR ^ text.len() as u64;
    let mut rest = text;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        hash = mix(hash, u64::from_le_bytes(*word));
        rest = behind;
    }
    let word = match (text.last_chunk::<8>(), rest) {
        (_, []) => 0,
        // Some of it again.
        (Some(word), _) => u64::from_le_bytes(*word),
        (None, _) => rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    mix(hash, word)
}

fn is_same(one: &Item<'_>, other: &Item<'_>) -> bool {
    match (one, other) {
        (Item::Bytes(one), Item::Bytes(other)) => one == other,
        (Item::Int(one), Item::Int(other)) => one == other,
        _ => false,
    }
}

fn find_in_many(listpack: &Listpack, stride: usize) -> Option<Item<'_>> {
    let mut numbers = HashSet::new();
    let mut texts = HashSet::new();
    listpack.iter().step_by(stride).find(|item| match item {
        Item::Int(number) => !numbers.insert(*number),
        Item::Bytes(text) => !texts.insert(*text),
    })
}

#[cfg(test)]
mod tests {
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
}

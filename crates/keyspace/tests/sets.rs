//! Sets of every encoding against a plain one, under generated operations and tiny thresholds.

mod common;

use std::collections::BTreeSet;

use keyspace::collection::limits::SetLimits;
use keyspace::collection::set::Intset;
use keyspace::{Collection, Expiry, Limits, NewValue, Set};
use rand::Rng;

fn text(random: &mut impl rand::RngCore) -> Vec<u8> {
    match random.random_range(0..4) {
        0 => random.random_range(-30..30i64).to_string().into_bytes(),
        1 => (random.random::<u64>() as i64 >> random.random_range(0..64)).to_string().into_bytes(),
        2 => vec![b'x'; random.random_range(0..12)],
        _ => (0..random.random_range(0..3)).map(|_| random.random_range(b'a'..b'e')).collect(),
    }
}

fn members(set: &Set) -> BTreeSet<Vec<u8>> {
    let mut members = BTreeSet::new();
    set.for_each(|item| assert!(members.insert(item.to_vec()), "a member twice"));
    members
}

#[test]
fn behaves_as_a_set() {
    let mut random = common::rng("sets");
    for _ in 0..400 {
        let limits = SetLimits {
            intset_entries_max: random.random_range(0..20),
            listpack_entries_max: random.random_range(0..20),
            listpack_value_bytes_max: random.random_range(0..12),
        };
        let (mut set, mut model) = (Set::default(), BTreeSet::new());
        let only_numbers = random.random();
        for _ in 0..random.random_range(1..300) {
            let text = if only_numbers {
                random.random_range(-9000..9000i64).to_string().into_bytes()
            } else {
                text(&mut random)
            };
            assert_eq!(set.contains(&text), model.contains(&text));
            if random.random_range(0..3) == 0 {
                assert_eq!(set.remove(&text), model.remove(&text));
            } else {
                assert_eq!(set.insert(&text, &limits), model.insert(text));
            }
            assert_eq!(set.len(), model.len());
        }
        assert_eq!(members(&set), model);
        assert_eq!(members(&set.duplicate()), model);
        let mut walked = BTreeSet::new();
        let mut cursor = 0;
        loop {
            cursor = set.scan(cursor, 3, |item| {
                walked.insert(item.to_vec());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(walked, model);
        let drawn = set.random(|| random.random()).map(|item| item.to_vec());
        assert_eq!(drawn.is_none(), model.is_empty());
        assert!(drawn.is_none_or(|text| model.contains(&text)));
        if let Set::Ints(ints) = &set {
            let again = Intset::from_bytes(ints.as_bytes()).expect("what it wrote is an intset");
            assert!(again.iter().eq(ints.iter()));
        }
    }
}

#[test]
fn what_is_no_intset_is_refused() {
    let mut ints = Intset::default();
    [3, -70_000, 12].into_iter().for_each(|number| assert!(ints.insert(number)));
    let good = ints.as_bytes().to_vec();
    assert_eq!(good[..8], [4, 0, 0, 0, 3, 0, 0, 0]);
    for len in 0..good.len() {
        assert!(Intset::from_bytes(&good[..len]).is_err());
    }
    let mut swapped = good.clone();
    swapped.swap(8, 12);
    swapped[0] = 3;
    assert!(Intset::from_bytes(&swapped).is_err());
    let mut unsorted = good;
    unsorted.copy_within(16..20, 8);
    assert!(Intset::from_bytes(&unsorted).is_err());
}

#[test]
fn elements_of_tables_are_looked_up_ahead_and_others_are_not() {
    let keyspace = common::keyspace(&mut common::rng("ahead"), Limits::default());
    let mut space = common::wide(&keyspace);
    let limits = SetLimits { intset_entries_max: 0, listpack_entries_max: 2, listpack_value_bytes_max: 8 };
    for (name, members, in_table) in [(b"small", 2, false), (b"large", 500, true)] {
        let mut set = Set::default();
        (0..members).for_each(|member| assert!(set.insert(format!("m{member}").as_bytes(), &limits)));
        let key = keyspace.key(name);
        space.set(common::DB, key, NewValue::Object(set.into()), Expiry::Clear);
        let elements = space.elements(common::DB, key);
        assert_eq!(elements.is_some(), in_table);
        for text in ["m1", "m499", "", "another"] {
            elements.into_iter().for_each(|elements| elements.prefetch_bucket(text.as_bytes()).prefetch());
        }
    }
    let string = keyspace.key(b"string");
    space.set(common::DB, string, NewValue::Bytes(b"text"), Expiry::Clear);
    assert!(space.elements(common::DB, string).is_none());
    assert!(space.elements(common::DB, keyspace.key(b"none")).is_none());
}

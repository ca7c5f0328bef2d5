//! The listpack against a plain vector, under generated operations.

mod common;

use keyspace::Listpack;
use rand::Rng;

fn text(random: &mut impl rand::Rng) -> Vec<u8> {
    match random.random_range(0..8) {
        0..3 => random.random_range(-200..200i64).to_string().into_bytes(),
        3 => (random.random::<u64>() as i64 >> random.random_range(0..64)).to_string().into_bytes(),
        4 => vec![b'x'; [0, 1, 63, 64, 4095, 4096, 16_378][random.random_range(0..7)]],
        _ => (0..random.random_range(0..20)).map(|_| random.random_range(b'a'..b'e')).collect(),
    }
}

#[test]
fn behaves_as_a_vector() {
    let mut random = common::rng("listpack");
    for _ in 0..300 {
        let (mut listpack, mut model) = (Listpack::new(), Vec::<Vec<u8>>::new());
        for _ in 0..random.random_range(1..120) {
            let text = text(&mut random);
            let index = if model.is_empty() { 0 } else { random.random_range(0..model.len()) };
            let at = listpack.seek(index as i64);
            assert_eq!(at.is_none(), model.is_empty());
            match (random.random_range(0..10), at) {
                (0, _) => {
                    listpack.push_front(&text);
                    model.insert(0, text);
                }
                (1, Some(at)) => {
                    let at = listpack.insert_before(at, &text);
                    assert!(listpack.get(at).is(&text));
                    model.insert(index, text);
                }
                (2, Some(at)) => {
                    let at = listpack.insert_after(at, &text);
                    assert!(listpack.get(at).is(&text));
                    model.insert(index + 1, text);
                }
                (3, Some(at)) => {
                    listpack.replace(at, &text);
                    model[index] = text;
                }
                (4, Some(at)) => {
                    let following = listpack.remove(at);
                    model.remove(index);
                    assert_eq!(following.map(|at| listpack.get(at).to_vec()), model.get(index).cloned());
                }
                (5, Some(at)) => {
                    let count = random.random_range(0..4);
                    listpack.remove_many(at, count);
                    model.drain(index..(index + count).min(model.len()));
                }
                (6, Some(at)) => {
                    let tail = listpack.split_off(at);
                    assert_eq!(tail.len(), model.len() - index);
                    let mut joined = Listpack::new();
                    joined.append(&tail);
                    joined.append(&listpack);
                    listpack = joined;
                    model.rotate_left(index);
                }
                _ => {
                    listpack.push_back(&text);
                    model.push(text);
                }
            }
            let wanted = self::text(&mut random);
            let found = listpack.first().and_then(|first| listpack.find(&wanted, first, 0));
            let expected = model.iter().position(|text| *text == wanted);
            assert_eq!(found, expected.and_then(|index| listpack.seek(index as i64)));
        }
        assert_eq!(listpack.len(), model.len());
        assert!(listpack.iter().map(|item| item.to_vec()).eq(model.iter().cloned()));
        assert!(listpack.iter().rev().map(|item| item.to_vec()).eq(model.iter().rev().cloned()));
        let again = Listpack::from_bytes(listpack.as_bytes()).expect("what it wrote is a listpack");
        assert!(again.iter().map(|item| item.to_vec()).eq(model));
    }
}

//! Lists against a plain vector, under generated operations, tiny thresholds, and changes between the encodings.

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use common::rng;
use keyspace::collection::limits::ListLimits;
use keyspace::{Collection, End, List, NewItem};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

fn contents(list: &List, backwards: bool) -> Vec<Vec<u8>> {
    let mut items = Vec::new();
    let from = if backwards { list.len().saturating_sub(1) } else { 0 };
    list.walk(from, backwards, |item| {
        items.push(item.to_vec());
        ControlFlow::Continue(())
    });
    items
}

/// Few different ones, so that they are found again; now and then one that is too large to share a node.
fn text(rng: &mut StdRng) -> Vec<u8> {
    let number = rng.random_range(0..12);
    match rng.random_range(0..100) {
        0..40 => format!("item:{number}").into_bytes(),
        40..70 => (number * 1000 - 3000).to_string().into_bytes(),
        70..80 => vec![b'a'; number as usize * 100],
        80..85 => format!("0{number}").into_bytes(),
        85..98 => b"x".to_vec(),
        _ => vec![b'L'; 4000 + number as usize * 600],
    }
}

/// Lists that were shared with the one that goes on, and what they held then: they hold it for ever.
#[derive(Default)]
struct Shares(Vec<(List, Vec<Vec<u8>>)>);

impl Shares {
    fn take(&mut self, rng: &mut StdRng, list: &mut List, model: &[Vec<u8>]) {
        let mut share = list.share();
        assert_eq!(share.encoding_name(), list.encoding_name());
        if rng.random_bool(0.5) {
            // It makes no difference which of the two goes on.
            std::mem::swap(list, &mut share);
        }
        self.0.push((share, model.to_vec()));
    }

    fn check(&self) {
        for (share, model) in &self.0 {
            assert_eq!(contents(share, false), *model);
        }
    }

    fn forget_one(&mut self, rng: &mut StdRng) {
        if !self.0.is_empty() {
            self.0.swap_remove(rng.random_range(0..self.0.len()));
        }
    }
}

/// Returns how often the encoding has changed.
fn run(rng: &mut StdRng, limits: ListLimits, steps: usize, len: usize) -> usize {
    let mut list = List::default();
    let mut model: Vec<Vec<u8>> = Vec::new();
    let mut shares = Shares::default();
    let mut encodings_changed = 0;
    for _ in 0..len {
        let item = text(rng);
        list.grow(item.len(), 1, limits);
        list.push(End::Back, item.as_slice().into());
        model.push(item);
        encodings_changed = 1;
    }
    // Long phases of growing and of shrinking, so that lists have one node and many.
    let mut grows = true;
    for step in 0..steps {
        if step % 150 == 0 {
            grows = step == 0 || rng.random_bool(0.5);
        }
        let encoding = list.encoding_name();
        let end = if rng.random_bool(0.5) { End::Front } else { End::Back };
        let item = text(rng);
        let shared = Arc::new(item.clone());
        let new_item = NewItem { text: &item, shared: rng.random_bool(0.5).then_some(&shared) };
        match rng.random_range(0..22) {
            0..8 if grows => {
                list.grow(item.len(), 1, limits);
                list.push(end, new_item);
                match end {
                    End::Front => model.insert(0, item),
                    End::Back => model.push(item),
                }
            }
            0..5 => {
                let count = rng.random_range(1..4).min(model.len());
                let mut popped = Vec::new();
                list.pop(end, count, |item| popped.push(item.to_vec()));
                let expected: Vec<_> = match end {
                    End::Front => model.drain(..count).collect(),
                    End::Back => (0..count).map(|_| model.pop().unwrap()).collect(),
                };
                assert_eq!(popped, expected);
                list.shrink(limits);
            }
            8..11 => {
                let pivot = text(rng);
                let after = rng.random_bool(0.5);
                list.grow(item.len(), 1, limits);
                let found = model.iter().position(|item| *item == pivot);
                assert_eq!(list.insert(&pivot, after, new_item), found.is_some());
                if let Some(index) = found {
                    model.insert(index + usize::from(after), item);
                }
            }
            11..14 if !model.is_empty() => {
                let index = rng.random_range(0..model.len());
                list.grow(item.len(), 1, limits);
                list.set(index, new_item);
                model[index] = item;
                list.shrink(limits);
            }
            14 => {
                let count_max = rng.random_range(1..5);
                let removed = list.remove_matching(&item, end, count_max);
                let mut indexes: Vec<_> = (0..model.len()).filter(|&index| model[index] == item).collect();
                if end == End::Back {
                    indexes.reverse();
                }
                indexes.truncate(count_max);
                indexes.sort_unstable();
                indexes.iter().rev().for_each(|&index| drop(model.remove(index)));
                assert_eq!(removed, indexes.len());
                list.shrink(limits);
            }
            15 if !model.is_empty() && !grows => {
                let index = rng.random_range(0..model.len());
                let count = rng.random_range(0..8).min(model.len() - index);
                list.remove_range(index, count);
                model.drain(index..index + count);
                list.shrink(limits);
            }
            16 => {
                let mut found = Vec::new();
                let compared_max = rng.random_range(1..=model.len() + 1);
                list.find_each(&item, end, compared_max, |index| {
                    found.push(index);
                    ControlFlow::Continue(())
                });
                let mut indexes: Vec<_> = (0..model.len()).collect();
                if end == End::Back {
                    indexes.reverse();
                }
                indexes.truncate(compared_max);
                indexes.retain(|&index| model[index] == item);
                assert_eq!(found, indexes);
            }
            17 => list = list.duplicate(),
            19 => shares.take(rng, &mut list, &model),
            20 => shares.forget_one(rng),
            18 => {
                let index = rng.random_range(0..model.len() + 1);
                assert_eq!(list.show(index, |item| item.to_vec()).as_ref(), model.get(index));
            }
            _ => {}
        }
        if list.is_empty() {
            // As its key would go.
            list = List::default();
        }
        encodings_changed += usize::from(list.encoding_name() != encoding);
        assert_eq!(list.len(), model.len());
        assert_eq!(contents(&list, false), model, "step {step}");
        assert!(contents(&list, true).iter().eq(model.iter().rev()), "step {step}");
        assert!(list.memory_usage(0) >= model.iter().map(Vec::len).sum::<usize>() / 50);
        if step % 16 == 0 {
            shares.check();
        }
    }
    shares.check();
    encodings_changed
}

#[test]
fn lists_are_as_a_vector_would_be() {
    let mut rng = rng("lists_are_as_a_vector_would_be");
    for listpack_size_max in [-2, -1, 0, 1, 2, 3, 4, 7, 40] {
        let limits = |compress_depth| ListLimits { listpack_size_max, compress_depth };
        let changed: usize = [0, 1, 2].map(|depth| run(&mut rng, limits(depth), 600, 0)).iter().sum();
        assert!(changed > 0, "both encodings are tried: {listpack_size_max}");
    }
}

/// Long enough that nodes lie in several pages, of which each change copies some.
#[test]
fn a_share_is_never_changed() {
    let mut rng = rng("a_share_is_never_changed");
    for (listpack_size_max, compress_depth) in [(1, 0), (2, 0), (2, 2), (3, 0), (4, 1), (-1, 0), (-1, 1)] {
        let len = rng.random_range(200..700);
        run(&mut rng, ListLimits { listpack_size_max, compress_depth }, 700, len);
    }
}

#[test]
fn a_share_is_read_while_the_list_is_changed() {
    let mut list = List::default();
    let text = |number: usize| format!("item:{number:011}").into_bytes();
    for number in 0..100_000 {
        list.grow(16, 1, ListLimits::default());
        list.push(End::Back, text(number).as_slice().into());
    }
    let share = list.share();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut number = 0;
            share.walk(0, false, |item| {
                assert_eq!(item.to_vec(), text(number));
                number += 1;
                ControlFlow::Continue(())
            });
            assert_eq!(number, 100_000);
        });
        for number in 0..40_000 {
            list.set(number * 2, b"changed".as_slice().into());
            list.pop(if number % 3 == 0 { End::Front } else { End::Back }, 1, |_| {});
            list.push(End::Back, b"pushed".as_slice().into());
        }
        list.remove_matching(b"changed", End::Front, usize::MAX);
    });
    assert_eq!(list.len(), contents(&list, true).len());
}

/// Compression is not seen in what a list holds, only in what it takes.
#[test]
fn nodes_in_the_middle_are_compressed() {
    let items: Vec<String> = (0..20_000).map(|number| format!("item number {number:08}")).collect();
    let memory = |compress_depth: usize| {
        let limits = ListLimits { compress_depth, ..ListLimits::default() };
        let mut list = List::default();
        for item in &items {
            list.grow(item.len(), 1, limits);
            list.push(End::Back, item.as_bytes().into());
        }
        assert!(contents(&list, false).iter().map(Vec::as_slice).eq(items.iter().map(String::as_bytes)));
        assert_eq!(list.figures().unwrap().is_compressed, compress_depth > 0);
        let bytes = list.memory_usage(0);
        list.drop_end(End::Front, items.len() - 10);
        assert_eq!(list.show(0, |item| item.to_vec()).unwrap(), items[items.len() - 10].as_bytes());
        bytes
    };
    let plain = memory(0);
    assert!(memory(1) * 2 < plain);
    assert!(memory(1) < memory(5));
}

/// Nodes that are not at an end have no room, and those at an end not much more than a node's size: whatever was done before.
#[test]
fn what_a_large_list_takes() {
    let mut rng = StdRng::seed_from_u64(7);
    let limits = ListLimits::default();
    let mut list = List::default();
    let mut bytes = 0;
    for number in 0..100_000 {
        let item = format!("item:{number:010}");
        bytes += item.len() + 2;
        list.grow(item.len(), 1, limits);
        list.push(*[End::Front, End::Back].choose(&mut rng).unwrap(), item.as_bytes().into());
    }
    let taken = list.memory_usage(0);
    assert!(taken < bytes + bytes / 50 + 20_000, "{taken} for {bytes}");
    // Draining it gives everything back.
    while list.len() > 3 {
        let end = *[End::Front, End::Back].choose(&mut rng).unwrap();
        list.pop(end, 1, |_| {});
        list.shrink(limits);
    }
    assert!(list.memory_usage(0) < 200);
}

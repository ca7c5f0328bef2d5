use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::member::{Member, order_key};
use super::order::Order;
use super::*;
use crate::table::{Element, Unlocked};

fn rng() -> StdRng {
    StdRng::seed_from_u64(testkit::seed())
}

/// Scores from few values, so that members decide, with the special ones among them.
fn score(rng: &mut StdRng) -> f64 {
    match rng.random_range(0..10) {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => rng.random_range(0..3) as f64 * 0.5,
        3 => -rng.random::<f64>(),
        4 => f64::from_bits(rng.random::<u64>() >> 12 | 0x3FF0 << 48),
        _ => rng.random_range(-20..20) as f64,
    }
}

fn member(rng: &mut StdRng, range: u32) -> Vec<u8> {
    match rng.random_range(0..4) {
        0 => rng.random_range(0..range).to_string().into_bytes(),
        1 => vec![b'x'; rng.random_range(0..9)],
        _ => format!("member:{}", rng.random_range(0..range)).into_bytes(),
    }
}

/// The sorted set as plain maps: by member, and in order.
#[derive(Default, Clone)]
struct Model {
    scores: BTreeMap<Vec<u8>, f64>,
    order: BTreeSet<(u64, Vec<u8>)>,
}

impl Model {
    fn set(&mut self, member: &[u8], score: f64) {
        self.remove(member);
        self.scores.insert(member.to_vec(), score);
        self.order.insert((order_key(score), member.to_vec()));
    }

    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.scores.remove(member)?;
        assert!(self.order.remove(&(order_key(score), member.to_vec())));
        Some(score)
    }

    fn list(&self) -> Vec<(Vec<u8>, f64)> {
        self.order.iter().map(|(_, member)| (member.clone(), self.scores[member])).collect()
    }
}

fn list(iter: Iter<'_>) -> Vec<(Vec<u8>, f64)> {
    iter.map(|(member, score)| (member.to_vec(), score)).collect()
}

#[test]
fn keys_keep_the_order_of_scores() {
    let scores =
        [f64::NEG_INFINITY, f64::MIN, -1.5, -5e-324, 0.0, 5e-324, 1.0, 1.0 + f64::EPSILON, f64::MAX, f64::INFINITY];
    assert!(scores.windows(2).all(|pair| order_key(pair[0]) < order_key(pair[1])));
    assert_eq!(order_key(-0.0), order_key(0.0));
}

/// Generated operations on both encodings, with thresholds that are crossed.
#[test]
fn like_the_model() {
    let mut rng = rng();
    for round in 0..60 {
        let limits = SortedSetLimits {
            listpack_entries_max: [0, 4, 40, 1000][round % 4],
            listpack_value_bytes_max: [64, 6][round / 4 % 2],
        };
        let range = [5, 60, 2000][round % 3];
        let mut set = SortedSet::default();
        let mut model = Model::default();
        for _ in 0..800 {
            step(&mut rng, &limits, range, &mut set, &mut model);
        }
        assert_eq!(list(set.all()), model.list());
        let copy = set.duplicate();
        assert_eq!(copy.encoding_name(), set.encoding_name());
        assert_eq!(list(copy.all()), model.list());
        let mut scanned = Vec::new();
        let mut cursor = 0;
        loop {
            cursor = copy.scan(cursor, 3, |member, score| scanned.push((member.to_vec(), score)));
            if cursor == 0 {
                break;
            }
        }
        scanned.sort_by(|one, other| one.0.cmp(&other.0));
        scanned.dedup();
        assert_eq!(scanned.len(), model.scores.len());
        if model.scores.len() > limits.listpack_entries_max {
            assert_eq!(set.encoding_name(), "skiplist");
        }
    }
}

fn step(rng: &mut StdRng, limits: &SortedSetLimits, range: u32, set: &mut SortedSet, model: &mut Model) {
    let text = member(rng, range);
    match rng.random_range(0..12) {
        0..5 => {
            let score = score(rng);
            let old = model.scores.get(&text).copied();
            set.update(&text, limits, |found| {
                assert_eq!(found, old);
                Some(score)
            });
            model.set(&text, score);
        }
        5 => set.update(&text, limits, |_| None),
        6 => assert_eq!(set.remove(&text), model.remove(&text)),
        7 => {
            let expected = model
                .scores
                .get(&text)
                .map(|&score| (model.order.range(..(order_key(score), text.clone())).count(), score));
            assert_eq!(set.rank(&text), expected);
            assert_eq!(set.score(&text), expected.map(|(_, score)| score));
        }
        8 => {
            let bounds =
                ScoreRange { min: score(rng), min_excluded: rng.random(), max: score(rng), max_excluded: rng.random() };
            let ranks = set.ranks_by_score(&bounds);
            let inside = |score: f64| !bounds.is_below(score) && !bounds.is_above(score);
            let expected: Vec<_> = model.list().into_iter().filter(|(_, score)| inside(*score)).collect();
            assert_eq!(list(set.iter(ranks, Direction::Up)), expected);
        }
        9 | 10 => {
            let len = model.scores.len();
            let start = rng.random_range(0..=len);
            let end = rng.random_range(start..=len);
            let mut expected = model.list()[start..end].to_vec();
            assert_eq!(list(set.iter(start..end, Direction::Up)), expected);
            expected.reverse();
            assert_eq!(list(set.iter(start..end, Direction::Down)), expected);
            assert_eq!(
                set.nth(start).map(|(member, _)| member.to_vec()),
                model.list().get(start).map(|pair| pair.0.clone())
            );
        }
        _ => {
            let len = model.scores.len();
            let start = rng.random_range(0..=len);
            let end = rng.random_range(start..=len.min(start + 7));
            for (member, _) in &model.list()[start..end] {
                model.remove(member);
            }
            set.remove_ranks(start..end);
        }
    }
    assert_eq!(set.len(), model.scores.len());
}

/// Ranges of members where all scores are equal, the same for both encodings.
#[test]
fn ranges_of_members() {
    let mut rng = rng();
    for entries_max in [0, 1000] {
        let limits = SortedSetLimits { listpack_entries_max: entries_max, listpack_value_bytes_max: 64 };
        let mut set = SortedSet::default();
        let mut model = BTreeSet::new();
        for _ in 0..300 {
            let text = member(&mut rng, 200);
            set.update(&text, &limits, |_| Some(1.0));
            model.insert(text);
        }
        for _ in 0..500 {
            let ends: Vec<Vec<u8>> = (0..2).map(|_| member(&mut rng, 200)).collect();
            let mut bound = |text| match rng.random_range(0..6) {
                0 => LexBound::Lowest,
                1 => LexBound::Highest,
                2 | 3 => LexBound::Included(text),
                _ => LexBound::Excluded(text),
            };
            let range = LexRange { min: bound(&ends[0]), max: bound(&ends[1]) };
            let expected: Vec<_> =
                model.iter().filter(|text| !range.is_below(text) && !range.is_above(text)).cloned().collect();
            for direction in [Direction::Up, Direction::Down] {
                let ranks = set.ranks_by_lex(&range, direction);
                let found: Vec<_> = list(set.iter(ranks, Direction::Up)).into_iter().map(|pair| pair.0).collect();
                assert_eq!(found, expected, "{range:?}");
            }
        }
    }
}

/// The tree with tiny nodes, so that all of splitting and merging happens on many levels.
#[test]
fn tiny_nodes() {
    fn run<const LEAF: usize, const FAN: usize>(rng: &mut StdRng) {
        for order in 0..3 {
            let mut tree = Order::<LEAF, FAN>::new();
            let mut model: BTreeMap<(u64, Vec<u8>), Member> = BTreeMap::new();
            for number in 0..3000u32 {
                let (text, score) = match order {
                    0 => (member(rng, 5000), score(rng)),
                    1 => (number.to_be_bytes().to_vec(), f64::from(number / 3)),
                    _ => ((!number).to_be_bytes().to_vec(), -f64::from(number / 3)),
                };
                if !model.contains_key(&(order_key(score), text.clone())) {
                    let member = Member::new(&text, score);
                    tree.insert(member);
                    model.insert((order_key(score), text), member);
                }
            }
            let sorted: Vec<Member> = model.values().copied().collect();
            assert!(tree.walk(0, tree.len()).eq(sorted.iter().copied()));
            assert!(Order::<LEAF, FAN>::from_sorted(&sorted).walk(0, sorted.len()).eq(sorted.iter().copied()));
            while !model.is_empty() {
                let at = rng.random_range(0..model.len());
                let (key, member) =
                    model.iter().nth(at).map(|(key, &member)| (key.clone(), member)).expect("not empty");
                assert_eq!(tree.rank(member), at);
                assert_eq!(tree.nth(at), Some(member));
                if rng.random_range(0..20) == 0 {
                    let end = (at + 30).min(model.len());
                    let gone: Vec<_> = model.keys().skip(at).take(end - at).cloned().collect();
                    let mut visited = Vec::new();
                    tree.remove_range(at, end, |member| visited.push(member));
                    for (key, visited) in gone.into_iter().zip(visited) {
                        assert_eq!(model.remove(&key), Some(visited));
                        // SAFETY: in no tree any more.
                        unsafe { visited.dispose() };
                    }
                } else if rng.random_range(0..4) == 0 {
                    let score = score(rng);
                    let new_key = (order_key(score), key.1.clone());
                    if !model.contains_key(&new_key) {
                        tree.update(&Unlocked::alone(member), score);
                        model.remove(&key);
                        model.insert(new_key, member);
                    }
                } else {
                    tree.remove(member);
                    model.remove(&key);
                    // SAFETY: as above.
                    unsafe { member.dispose() };
                }
                assert_eq!(tree.len(), model.len());
                if model.len().is_multiple_of(50) {
                    assert!(tree.walk(0, tree.len()).eq(model.values().copied()));
                    assert!(tree.walk_back(0, tree.len()).eq(model.values().rev().copied()));
                }
            }
        }
    }
    let mut rng = rng();
    run::<4, 4>(&mut rng);
    run::<5, 7>(&mut rng);
    run::<12, 5>(&mut rng);
}

#[test]
fn built_at_once() {
    let mut rng = rng();
    for len in [0, 1, 20, 200, 5000] {
        let mut builder = SortedSetBuilder::default();
        let mut model = Model::default();
        for _ in 0..len {
            let (text, score) = (member(&mut rng, 2000), rng.random_range(0..50) as f64);
            builder.add(&text, score, |old, new| old + new);
            let old = model.scores.get(&text).copied().unwrap_or(0.0);
            model.set(&text, old + score);
        }
        for _ in 0..len / 5 {
            let text = member(&mut rng, 2000);
            builder.remove(&text);
            model.remove(&text);
        }
        let mut seen = Vec::new();
        builder.for_each(|member, score| seen.push((member.to_vec(), score)));
        assert_eq!(seen, model.list());
        let set = builder.finish(&SortedSetLimits::default());
        assert_eq!(set.encoding_name(), if model.scores.len() > 128 { "skiplist" } else { "listpack" });
        assert_eq!(list(set.all()), model.list());
    }
}

/// What a million members cost beside their texts and scores, whatever order they come in.
#[test]
fn nodes_are_full() {
    let mut rng = rng();
    for ascending in [true, false] {
        let mut set = SortedSet::default();
        let limits = SortedSetLimits::default();
        for number in 0..100_000 {
            let score = if ascending { number } else { rng.random_range(0..100_000) };
            set.update(format!("member:{number:08}").as_bytes(), &limits, |_| Some(f64::from(score)));
        }
        let SortedSet::Tree(tree) = &set else { panic!("it is large") };
        let exact = tree.order().allocated_bytes(0);
        assert!(exact < 1_500_000, "{exact} bytes of nodes for 100,000 members, ascending: {ascending}");
        let estimated = tree.order().allocated_bytes(20);
        assert!(estimated.abs_diff(exact) < exact / 5, "{estimated} is estimated, {exact} it is");
    }
}

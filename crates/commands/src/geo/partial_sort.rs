//! The first few of many in order, and among equal ones those that Redis gives: they depend on how it sorts.
//!
//! That is the quicksort of J. L. Bentley and M. D. McIlroy, "Engineering a Sort Function", Software: Practice and Experience 23 (1993), which
//! goes on only with the parts that reach into what is wanted.

use std::cmp::Ordering;

/// Shorter ones are sorted by insertion.
const INSERTION_MAX: usize = 6;
/// Of longer ones the pivot is the median of nine.
const MEDIAN_OF_THREE_MAX: usize = 40;

/// Brings the first `count` into order. O(n) and O(count log count) on average.
pub fn sort_first<T>(mut items: &mut [T], mut count: usize, compare: &impl Fn(&T, &T) -> Ordering) {
    while count > 0 {
        if items.len() <= INSERTION_MAX {
            for end in 1..items.len() {
                let mut at = end;
                while at > 0 && compare(&items[at - 1], &items[at]).is_gt() {
                    items.swap(at - 1, at);
                    at -= 1;
                }
            }
            return;
        }
        let (smaller, larger) = partition(items, compare);
        let larger_from = items.len() - larger;
        if smaller > 1 {
            sort_first(&mut items[..smaller], count, compare);
        }
        if larger <= 1 || count <= larger_from {
            return;
        }
        items = &mut items[larger_from..];
        count -= larger_from;
    }
}

/// Puts those equal to a pivot between the smaller and the larger ones, and returns how many these are.
fn partition<T>(items: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) -> (usize, usize) {
    let count = items.len();
    let pivot = pivot(items, compare);
    items.swap(0, pivot);
    // Equal ones gather at both ends: [equal | smaller | unknown | larger | equal].
    let (mut equal_end, mut low) = (1, 1);
    let (mut high, mut equal_start) = (count, count);
    loop {
        while low < high {
            match compare(&items[low], &items[0]) {
                Ordering::Greater => break,
                Ordering::Equal => {
                    items.swap(equal_end, low);
                    equal_end += 1;
                }
                Ordering::Less => {}
            }
            low += 1;
        }
        while low < high {
            match compare(&items[high - 1], &items[0]) {
                Ordering::Less => break,
                Ordering::Equal => {
                    equal_start -= 1;
                    items.swap(high - 1, equal_start);
                }
                Ordering::Greater => {}
            }
            high -= 1;
        }
        if low >= high {
            break;
        }
        items.swap(low, high - 1);
        low += 1;
        high -= 1;
    }
    let (smaller, larger) = (low - equal_end, equal_start - high);
    let moved = equal_end.min(smaller);
    (0..moved).for_each(|index| items.swap(index, low - moved + index));
    let moved = larger.min(count - equal_start);
    (0..moved).for_each(|index| items.swap(low + index, count - moved + index));
    (smaller, larger)
}

fn pivot<T>(items: &[T], compare: &impl Fn(&T, &T) -> Ordering) -> usize {
    let median = |one: usize, two: usize, three: usize| {
        let is_less = |a: usize, b: usize| compare(&items[a], &items[b]).is_lt();
        if is_less(one, two) {
            match (is_less(two, three), is_less(one, three)) {
                (true, _) => two,
                (false, true) => three,
                (false, false) => one,
            }
        } else {
            match (compare(&items[two], &items[three]).is_gt(), is_less(one, three)) {
                (true, _) => two,
                (false, true) => one,
                (false, false) => three,
            }
        }
    };
    let (middle, last) = (items.len() / 2, items.len() - 1);
    if items.len() == INSERTION_MAX + 1 {
        return middle;
    }
    if items.len() <= MEDIAN_OF_THREE_MAX {
        return median(0, middle, last);
    }
    let step = items.len() / 8;
    let low = median(0, step, 2 * step);
    let middle = median(middle - step, middle, middle + step);
    let high = median(last - 2 * step, last - step, last);
    median(low, middle, high)
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;

    use super::*;

    #[test]
    fn the_first_are_those_that_a_whole_sort_gives() {
        let mut random = testkit::random_from(testkit::seed());
        for _ in 0..2000 {
            let length = random.random_range(0..200);
            let distinct = random.random_range(1..200);
            let items: Vec<(u32, usize)> = (0..length).map(|index| (random.random_range(0..distinct), index)).collect();
            let count = random.random_range(0..=length);
            let mut sorted = items.clone();
            sort_first(&mut sorted, count, &|one, other| one.0.cmp(&other.0));
            let mut whole = items.clone();
            whole.sort_by_key(|item| item.0);
            let values = |items: &[(u32, usize)]| items.iter().map(|item| item.0).collect::<Vec<_>>();
            assert_eq!(values(&sorted[..count]), values(&whole[..count]));
            // Nothing is lost.
            sorted.sort_by_key(|item| item.1);
            assert_eq!(sorted, items);
        }
    }
}

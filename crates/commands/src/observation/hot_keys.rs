//! HOTKEYS: which keys take the most time and the most bytes, while a session of it goes on.
//!
//! Each thread has a table of the keys that weigh most, by the algorithm *Space-Saving* (Metwally, Agrawal, El Abbadi, 2005): a key that is
//! not in a full table takes the place of the lightest, and its weight with it. So no heavy key is missed, and the error is at most the weight of
//! the lightest. The tables are put together when somebody asks.
//!
//! *What does it cost?* While no session goes on, nothing; while one does, each command takes the lock of its own thread's table, which nobody else
//! wants but HOTKEYS GET.

use std::collections::HashMap;

use keyspace::{Key, Millis};
use parking_lot::Mutex;

/// A table has room for so many times the keys that are asked for: the lightest of them are not true.
const SPARE: usize = 10;
/// A longer name is not remembered: the tables must not grow with what clients send.
const NAME_BYTES_MAX: usize = 4096;

/// What HOTKEYS START asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    pub cpu: bool,
    pub net: bool,
    /// Keys that GET returns.
    pub count: usize,
    /// 0: until HOTKEYS STOP.
    pub duration_ms: i64,
    /// One of so many commands is looked at.
    pub sample_ratio: u64,
}

/// What the process has used so far, to take the difference of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub user_ms: u64,
    pub system_ms: u64,
    pub net_bytes: u64,
}

/// A session of HOTKEYS. Part of [`Global`](crate::Global): begun and ended on the wide side.
pub struct HotKeys {
    pub wish: Wish,
    pub began: Millis,
    /// When it ended, if it has.
    pub ended: Option<Millis>,
    usage_before: Usage,
    usage_after: Option<Usage>,
    /// By thread.
    tables: Vec<Mutex<Tables>>,
}

/// The tables of one thread, and its share of the totals.
#[derive(Default)]
struct Tables {
    by_ns: Heaviest,
    by_bytes: Heaviest,
    ns: u64,
    bytes: u64,
    commands: u64,
}

/// The keys that weigh most.
#[derive(Default)]
struct Heaviest {
    places: HashMap<Box<[u8]>, usize, foldhash::quality::RandomState>,
    keys: Vec<(Box<[u8]>, u64)>,
}

/// What was found so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Heaviest first; microseconds, and bytes.
    pub by_us: Vec<(Box<[u8]>, u64)>,
    pub by_bytes: Vec<(Box<[u8]>, u64)>,
    /// Of all commands, looked at or not.
    pub all_us: u64,
    pub all_bytes: u64,
}

impl HotKeys {
    pub fn new(wish: Wish, threads: usize, began: Millis, usage: Usage) -> HotKeys {
        let tables = (0..threads).map(|_| Mutex::default()).collect();
        HotKeys { wish, began, ended: None, usage_before: usage, usage_after: None, tables }
    }

    #[inline]
    pub fn is_active(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether its time is over.
    pub fn is_due(&self, now: Millis) -> bool {
        self.is_active() && self.wish.duration_ms > 0 && now.0 - self.began.0 >= self.wish.duration_ms
    }

    pub fn stop(&mut self, now: Millis, usage: Usage) {
        self.ended = Some(now);
        self.usage_after = Some(usage);
    }

    /// What the process has used since it began, or while it went on. `now` is what it has used until now.
    pub fn usage(&self, now: Usage) -> Usage {
        let (before, after) = (self.usage_before, self.usage_after.unwrap_or(now));
        Usage {
            user_ms: after.user_ms.saturating_sub(before.user_ms),
            system_ms: after.system_ms.saturating_sub(before.system_ms),
            net_bytes: after.net_bytes.saturating_sub(before.net_bytes),
        }
    }

    /// A command has run on a thread, and its keys share what it took.
    pub fn add(&self, thread: usize, keys: &[Key<'_>], ns: u64, bytes: u64) {
        let mut tables = self.tables[thread % self.tables.len()].lock();
        let tables = &mut *tables;
        tables.ns += ns;
        tables.bytes += bytes;
        tables.commands += 1;
        // One of so many in turn would fall in with a client's own rhythm.
        let ratio = self.wish.sample_ratio;
        if keys.is_empty() || ratio > 1 && !mixed(tables.commands).is_multiple_of(ratio) {
            return;
        }
        let places_max = self.wish.count * SPARE;
        let share = |total: u64| total / keys.len() as u64 * ratio;
        for key in keys.iter().filter(|key| key.bytes().len() <= NAME_BYTES_MAX) {
            if self.wish.cpu {
                tables.by_ns.add(key.bytes(), share(ns), places_max);
            }
            if self.wish.net {
                tables.by_bytes.add(key.bytes(), share(bytes), places_max);
            }
        }
    }

    /// All threads' tables together.
    pub fn found(&self) -> Found {
        let (mut by_ns, mut by_bytes) = (HashMap::new(), HashMap::new());
        let mut found = Found::default();
        let mut all_ns = 0;
        for tables in &self.tables {
            let tables = tables.lock();
            all_ns += tables.ns;
            found.all_bytes += tables.bytes;
            for (sums, heaviest) in [(&mut by_ns, &tables.by_ns), (&mut by_bytes, &tables.by_bytes)] {
                for (key, weight) in &heaviest.keys {
                    *sums.entry(key.clone()).or_insert(0) += weight;
                }
            }
        }
        found.all_us = all_ns / 1000;
        found.by_us = first(by_ns, self.wish.count, 1000);
        found.by_bytes = first(by_bytes, self.wish.count, 1);
        found
    }
}

/// The heaviest so many, in units of so much.
fn first(sums: HashMap<Box<[u8]>, u64>, count: usize, unit: u64) -> Vec<(Box<[u8]>, u64)> {
    let mut keys: Vec<_> = sums.into_iter().collect();
    keys.sort_by(|(key, weight), (other, other_weight)| other_weight.cmp(weight).then_with(|| key.cmp(other)));
    keys.truncate(count);
    keys.iter_mut().for_each(|(_, weight)| *weight /= unit);
    keys
}

impl Heaviest {
    fn add(&mut self, key: &[u8], weight: u64, places_max: usize) {
        if let Some(&place) = self.places.get(key) {
            self.keys[place].1 += weight;
        } else if self.keys.len() < places_max {
            self.places.insert(key.into(), self.keys.len());
            self.keys.push((key.into(), weight));
        } else {
            let lightest = self.keys.iter().enumerate().min_by_key(|(_, (_, weight))| *weight);
            let place = lightest.expect("a session has room for one key at least").0;
            let (old, old_weight) = &mut self.keys[place];
            self.places.remove(old);
            *old = key.into();
            *old_weight += weight;
            self.places.insert(key.into(), place);
        }
    }
}

/// The finalizer of SplitMix64: numbers in a row become numbers without order.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rig;

    const WISH: Wish = Wish { cpu: true, net: true, count: 2, duration_ms: 0, sample_ratio: 1 };

    fn session(wish: Wish) -> HotKeys {
        HotKeys::new(wish, 2, Millis(1000), Usage::default())
    }

    fn names(found: &[(Box<[u8]>, u64)]) -> Vec<(String, u64)> {
        found.iter().map(|(key, weight)| (String::from_utf8_lossy(key).into_owned(), *weight)).collect()
    }

    #[test]
    fn the_heaviest_of_all_threads() {
        let rig = Rig::new();
        let key = |name: &'static [u8]| rig.world.keyspace.key(name);
        let keys = session(WISH);
        keys.add(0, &[key(b"a")], 3000, 10);
        keys.add(1, &[key(b"a"), key(b"b")], 4000, 100);
        keys.add(1, &[key(b"c")], 1500, 1);
        keys.add(1, &[], 500, 7);
        let found = keys.found();
        assert_eq!(names(&found.by_us), [("a".to_owned(), 5), ("b".to_owned(), 2)]);
        assert_eq!(names(&found.by_bytes), [("a".to_owned(), 60), ("b".to_owned(), 50)]);
        assert_eq!((found.all_us, found.all_bytes), (9, 118));
    }

    #[test]
    fn a_heavy_key_is_found_among_very_many() {
        let rig = Rig::new();
        let keys = session(WISH);
        for number in 0..10_000u64 {
            let name = format!("light:{number}");
            keys.add(0, &[rig.world.keyspace.key(name.as_bytes())], 1000, 1);
            keys.add(0, &[rig.world.keyspace.key(b"heavy")], 1000, 1);
        }
        let found = keys.found();
        assert_eq!(names(&found.by_us)[0], ("heavy".to_owned(), 10_000));
        assert!(keys.tables[0].lock().by_ns.keys.len() <= WISH.count * SPARE);
    }

    #[test]
    fn a_sample_is_taken_for_all() {
        let rig = Rig::new();
        let keys = session(Wish { sample_ratio: 10, ..WISH });
        (0..10_000).for_each(|_| keys.add(0, &[rig.world.keyspace.key(b"a")], 1000, 1));
        let found = keys.found();
        assert!((9_000..11_000).contains(&found.by_us[0].1), "{found:?}");
        assert_eq!(found.all_us, 10_000);
    }

    #[test]
    fn a_session_ends() {
        let mut keys = session(Wish { duration_ms: 500, ..WISH });
        assert!(!keys.is_due(Millis(1499)) && keys.is_due(Millis(1500)));
        keys.stop(Millis(1500), Usage { user_ms: 5, system_ms: 6, net_bytes: 7 });
        assert!(!keys.is_active() && !keys.is_due(Millis(9000)));
        assert_eq!(keys.usage(Usage { user_ms: 50, ..Usage::default() }).user_ms, 5);
    }
}

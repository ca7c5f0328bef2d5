//! Which clients have read which keys.
//!
//! A key stands here by its name alone, whatever database it was read in, and a client by its number alone: who has gone is found
//! out when the key changes, so that an ended connection costs nothing.
//!
//! The table is in parts by the hash of the key, each behind a lock of its own. Whoever reads or changes a key holds the key's shard
//! meanwhile, so that for one key reading, remembering, changing and taking out have the order of the data. Nothing waits while it
//! holds a part, and nobody holds two.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

const PARTS: usize = 64;

type Hasher = foldhash::quality::RandomState;

/// Who has read a key, in ascending order: invalidations leave in the same order in every run.
pub type Readers = SmallVec<[u64; 2]>;

pub struct Table {
    parts: Box<[Mutex<Part>]>,
    hasher: Hasher,
    keys: AtomicUsize,
    /// Clients over all keys.
    items: AtomicUsize,
}

/// The rows in no order, so that a random one can be taken, and where each key's row is.
#[derive(Default)]
struct Part {
    places: HashMap<Arc<[u8]>, u32, Hasher>,
    rows: Vec<Row>,
}

struct Row {
    key: Arc<[u8]>,
    readers: Readers,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            hasher: Hasher::default(),
            keys: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
        }
    }
}

impl Table {
    fn part(&self, key: &[u8]) -> MutexGuard<'_, Part> {
        self.parts[self.hasher.hash_one(key) as usize % PARTS].lock()
    }

    /// How many keys.
    pub fn keys(&self) -> usize {
        self.keys.load(Relaxed)
    }

    /// How many clients, counted once for each key.
    pub fn items(&self) -> usize {
        self.items.load(Relaxed)
    }

    /// The client has read the key.
    pub fn insert(&self, key: &[u8], client_id: u64) {
        let mut part = self.part(key);
        let Part { places, rows } = &mut *part;
        if let Some(&place) = places.get(key) {
            let readers = &mut rows[place as usize].readers;
            if let Err(at) = readers.binary_search(&client_id) {
                readers.insert(at, client_id);
                self.items.fetch_add(1, Relaxed);
            }
            return;
        }
        let key: Arc<[u8]> = key.into();
        places.insert(key.clone(), rows.len() as u32);
        rows.push(Row { key, readers: SmallVec::from_slice(&[client_id]) });
        self.keys.fetch_add(1, Relaxed);
        self.items.fetch_add(1, Relaxed);
    }

    /// Takes a key out, with all who have read it.
    pub fn take(&self, key: &[u8]) -> Option<Readers> {
        if self.keys() == 0 {
            // Whoever inserts this key holds its shard, and so does who asks: it has been counted.
            return None;
        }
        let mut part = self.part(key);
        let place = part.places.remove(key)?;
        Some(self.remove_row(&mut part, place as usize).readers)
    }

    /// Takes any key out; `random` chooses which.
    pub fn take_any(&self, random: u64) -> Option<(Arc<[u8]>, Readers)> {
        let first = random as usize % PARTS;
        for index in (first..PARTS).chain(0..first) {
            let mut part = self.parts[index].lock();
            if !part.rows.is_empty() {
                let place = (random >> 32) as usize % part.rows.len();
                let key = part.rows[place].key.clone();
                part.places.remove(&key);
                let row = self.remove_row(&mut part, place);
                return Some((row.key, row.readers));
            }
        }
        None
    }

    /// Its key has no place any more.
    fn remove_row(&self, part: &mut Part, place: usize) -> Row {
        let row = part.rows.swap_remove(place);
        if let Some(moved) = part.rows.get(place) {
            *part.places.get_mut(&moved.key).expect("every row has a place") = place as u32;
        }
        self.keys.fetch_sub(1, Relaxed);
        self.items.fetch_sub(row.readers.len(), Relaxed);
        row
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn it_is_a_map_of_sets() {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut state = seed | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let table = Table::default();
        let mut model: BTreeMap<Vec<u8>, BTreeSet<u64>> = BTreeMap::new();
        for _ in 0..20_000 {
            let key = format!("key{}", random() % 300).into_bytes();
            match random() % 10 {
                0..7 => {
                    let client = random() % 5;
                    table.insert(&key, client);
                    model.entry(key).or_default().insert(client);
                }
                7..9 => {
                    let expected = model.remove(&key).map(|clients| clients.into_iter().collect::<Vec<_>>());
                    assert_eq!(table.take(&key).map(|readers| readers.to_vec()), expected);
                }
                _ => match table.take_any(random()) {
                    Some((key, readers)) => {
                        let expected = model.remove(&*key).expect("it took what was there");
                        assert_eq!(readers.to_vec(), expected.into_iter().collect::<Vec<_>>());
                    }
                    None => assert!(model.is_empty()),
                },
            }
            assert_eq!(table.keys(), model.len());
            assert_eq!(table.items(), model.values().map(BTreeSet::len).sum::<usize>());
        }
    }
}

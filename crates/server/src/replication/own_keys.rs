//! Keys with an expiry that clients have given them on a replica that they may write to (`replica-read-only no`).
//!
//! What our primary has sent goes when it says so. Of these keys it knows nothing, so nobody would remove them: they are remembered here, by key
//! and by time. Whoever takes one that is due looks whether it still is: our primary may have written to the key meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use keyspace::{DbIndex, Millis};

type Name = (DbIndex, Arc<[u8]>);

#[derive(Default)]
pub struct OwnKeys {
    times: HashMap<Name, Millis>,
    by_time: BTreeSet<(Millis, DbIndex, Arc<[u8]>)>,
}

impl OwnKeys {
    /// A client has given the key this expiry, in the place of any before.
    pub fn note(&mut self, db: DbIndex, key: &[u8], at: Millis) {
        let key: Arc<[u8]> = key.into();
        if let Some(before) = self.times.insert((db, key.clone()), at) {
            self.by_time.remove(&(before, db, key.clone()));
        }
        self.by_time.insert((at, db, key));
    }

    /// When the first of them is due.
    pub fn first(&self) -> Option<Millis> {
        self.by_time.first().map(|(at, ..)| *at)
    }

    /// Forgets a key that is due, and tells which it was.
    pub fn take_due(&mut self, now: Millis) -> Option<Name> {
        self.first().filter(|at| *at <= now)?;
        let (_, db, key) = self.by_time.pop_first()?;
        let name = (db, key);
        self.times.remove(&name);
        Some(name)
    }

    pub fn len(&self) -> usize {
        self.times.len()
    }

    pub fn clear(&mut self) {
        *self = OwnKeys::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_due_once_at_its_last_time() {
        let mut keys = OwnKeys::default();
        keys.note(DbIndex(0), b"a", Millis(10));
        keys.note(DbIndex(1), b"a", Millis(20));
        keys.note(DbIndex(0), b"a", Millis(30));
        assert_eq!((keys.len(), keys.first(), keys.take_due(Millis(19))), (2, Some(Millis(20)), None));
        assert_eq!(keys.take_due(Millis(30)), Some((DbIndex(1), b"a"[..].into())));
        assert_eq!(keys.take_due(Millis(30)), Some((DbIndex(0), b"a"[..].into())));
        assert_eq!((keys.len(), keys.first(), keys.take_due(Millis::NEVER)), (0, None, None));
    }
}

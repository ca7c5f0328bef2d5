//! Consumer groups: how far a group has read, and what was delivered to its consumers and not acknowledged.
//!
//! A clone shares the groups. The first change of a shared one copies its consumers, and of pending entries a pointer for every 128
//! ([`ById`]): 10 us for 100,000 of them, 0.1 ms for a million.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::by_id::{ById, PendingIds};
use super::entries::Entries;
use super::id::StreamId;

/// The groups of a stream in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct Groups(BTreeMap<Box<[u8]>, triomphe::Arc<Group>>);

/// A consumer of a group. Its number is another's once it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerId(u32);

/// Times are milliseconds since 1970.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Arc<[u8]>,
    /// When it last tried to read, or to claim.
    pub seen_at_ms: i64,
    /// When it last got something.
    pub active_at_ms: Option<i64>,
    pending: PendingIds,
}

impl Consumer {
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// What it has not acknowledged, by id.
    pub fn pending(&self) -> &PendingIds {
        &self.pending
    }
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub consumer: ConsumerId,
    pub delivered_at_ms: i64,
    pub delivery_count: u64,
}

#[derive(Clone, Debug)]
pub struct Group {
    /// The id of the last entry delivered.
    pub last_id: StreamId,
    /// How many entries were before that one and itself, as far as it is known.
    pub entries_read: Option<u64>,
    pending: ById<Pending>,
    names: BTreeMap<Arc<[u8]>, ConsumerId>,
    /// By number. `None`: deleted, to be used again.
    consumers: Vec<Option<Consumer>>,
}

impl Groups {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, name: &[u8]) -> Option<&Group> {
        self.0.get(name).map(|group| &**group)
    }

    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.0.get_mut(name).map(triomphe::Arc::make_mut)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Group)> {
        self.0.iter().map(|(name, group)| (&**name, &**group))
    }

    /// Says whether there was none of this name.
    pub fn create(&mut self, name: &[u8], last_id: StreamId, entries_read: Option<u64>) -> bool {
        if self.0.contains_key(name) {
            return false;
        }
        self.0.insert(name.into(), triomphe::Arc::new(Group::new(last_id, entries_read)));
        true
    }

    /// Says whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        self.0.remove(name).is_some()
    }

    /// Whether a group has still to read this entry, or has not acknowledged it.
    pub fn refer_to(&self, id: StreamId) -> bool {
        self.0.values().any(|group| id > group.last_id || group.pending(id).is_some())
    }

    /// Makes all groups forget that this entry was delivered. Says whether one knew of it.
    pub fn forget(&mut self, id: StreamId) -> bool {
        let mut known = false;
        for group in self.0.values_mut().filter(|group| group.pending(id).is_some()) {
            known |= triomphe::Arc::make_mut(group).acknowledge(id);
        }
        known
    }

    pub(super) fn memory_usage(&self) -> usize {
        let own_bytes = size_of::<(Box<[u8]>, triomphe::Arc<Group>, usize, Group)>();
        self.0.iter().map(|(name, group)| own_bytes + name.len() + group.memory_usage()).sum()
    }

    pub(super) fn free_cost(&self) -> usize {
        self.0.values().map(|group| 1 + group.free_cost()).sum()
    }
}

impl Group {
    fn new(last_id: StreamId, entries_read: Option<u64>) -> Group {
        Group { last_id, entries_read, pending: ById::default(), names: BTreeMap::new(), consumers: Vec::new() }
    }

    /// How many entries are still to be read, if that is known.
    pub fn lag(&self, entries: &Entries) -> Option<u64> {
        if entries.is_empty() {
            return Some(0);
        }
        let read = match self.entries_read {
            Some(read) if self.keeps_count(entries) => Some(read),
            _ => entries.distance(self.last_id),
        }?;
        Some(entries.added().wrapping_sub(read))
    }

    /// Notes that the entry behind the last one was delivered.
    pub fn advance(&mut self, id: StreamId, entries: &Entries) {
        self.entries_read = match self.entries_read {
            Some(read) if self.keeps_count(entries) => Some(read.wrapping_add(1)),
            _ => entries.distance(id),
        };
        self.last_id = id;
    }

    /// Whether `entries_read` says where the group is: it has not fallen behind entries that are gone, and none was deleted from where it
    /// is on.
    fn keeps_count(&self, entries: &Entries) -> bool {
        self.last_id >= entries.first_id() && !entries.has_deleted_from(self.last_id)
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Consumers
    // -----------------------------------------------------------------------------------------------------------------

    pub fn consumer_count(&self) -> usize {
        self.names.len()
    }

    /// By name.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.names.values().map(|&id| self.consumer(id))
    }

    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied()
    }

    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers[id.0 as usize].as_ref().expect("the consumer of a pending entry")
    }

    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers[id.0 as usize].as_mut().expect("the consumer of a pending entry")
    }

    /// The consumer of this name must not be there yet.
    pub fn create_consumer(&mut self, name: &[u8], now_ms: i64) -> ConsumerId {
        let name: Arc<[u8]> = name.into();
        let consumer =
            Consumer { name: name.clone(), seen_at_ms: now_ms, active_at_ms: None, pending: PendingIds::default() };
        let index = match self.consumers.iter().position(Option::is_none) {
            Some(index) if self.names.len() < self.consumers.len() => index,
            _ => {
                self.consumers.push(None);
                self.consumers.len() - 1
            }
        };
        self.consumers[index] = Some(consumer);
        let id = ConsumerId(index as u32);
        let known = self.names.insert(name, id);
        assert!(known.is_none(), "a consumer is created once");
        id
    }

    /// Removes a consumer and what it had pending. Returns how much that was.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let id = self.names.remove(name)?;
        let consumer = self.consumers[id.0 as usize].take().expect("a consumer that has a name");
        for id in consumer.pending.iter() {
            self.pending.remove(*id);
        }
        Some(consumer.pending.len())
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Pending entries
    // -----------------------------------------------------------------------------------------------------------------

    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    pub fn pending(&self, id: StreamId) -> Option<&Pending> {
        self.pending.get(id)
    }

    pub fn pending_mut(&mut self, id: StreamId) -> Option<&mut Pending> {
        self.pending.get_mut(id)
    }

    pub fn pending_range(
        &self,
        ids: RangeInclusive<StreamId>,
    ) -> impl DoubleEndedIterator<Item = (StreamId, &Pending)> {
        self.pending.range(ids).map(|(&id, pending)| (id, pending))
    }

    /// Makes an entry pending, with this consumer whoever had it.
    pub fn assign(&mut self, id: StreamId, pending: Pending) {
        if let Some(before) = self.pending.insert(id, pending) {
            if before.consumer == pending.consumer {
                return;
            }
            self.consumer_mut(before.consumer).pending.remove(id);
        }
        self.consumer_mut(pending.consumer).pending.insert(id);
    }

    /// An entry is not pending any more. Says whether it was.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(id) else {
            return false;
        };
        self.consumer_mut(pending.consumer).pending.remove(id);
        true
    }

    fn memory_usage(&self) -> usize {
        let consumers = self.consumers.capacity() * size_of::<Option<Consumer>>()
            + self.names.keys().map(|name| name.len() + 16 + size_of::<(Arc<[u8]>, ConsumerId)>()).sum::<usize>();
        let pending_ids = self.consumers.iter().flatten().map(|consumer| consumer.pending.memory_usage());
        consumers + self.pending.memory_usage() + pending_ids.sum::<usize>()
    }

    fn free_cost(&self) -> usize {
        let pending_ids = self.consumers.iter().flatten().map(|consumer| consumer.pending.free_cost());
        self.names.len() + self.pending.free_cost() + pending_ids.sum::<usize>()
    }
}

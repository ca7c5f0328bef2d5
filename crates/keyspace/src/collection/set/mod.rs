//! Sets.
//!
//! | encoding | while |
//! |---|---|
//! | `intset` | all members are integers, at most `set-max-intset-entries` of them |
//! | `listpack` | at most `set-max-listpack-entries` members, none longer than `set-max-listpack-value` |
//! | `hashtable` | else |
//!
//! A set never goes back to a smaller encoding. The conversions are those observed of Redis 8.2: an intset that has too many
//! integers becomes a hash table even where a listpack would do, and a command with more arguments than an encoding may have members leaves it, however
//! many of them are equal (`SADD key a a a`).

mod intset;
mod members;

use std::ops::{ControlFlow, RangeInclusive};
use std::ptr::NonNull;

pub use self::intset::{Intset, InvalidIntset};
pub use self::members::Members;

use super::limits::SetLimits;
use super::listpack::{Item, Listpack};
use super::{Code, Collection, box_from_raw, box_into_raw};
use crate::value::{IntBuffer, canonical_int};

/// Distinct texts.
#[derive(Debug)]
pub enum Set {
    Ints(Intset),
    Packed(Listpack),
    Table(Box<Members>),
}

impl Default for Set {
    fn default() -> Set {
        Set::Ints(Intset::default())
    }
}

const INTS: Code = 2;
const PACKED: Code = 3;
const TABLE: Code = 4;

// SAFETY: each code is one encoding's, and its pointer comes back to the same.
unsafe impl Collection for Set {
    const TYPE_NAME: &'static str = "set";
    const CODES: RangeInclusive<Code> = INTS..=TABLE;

    fn into_parts(self) -> (Code, NonNull<u8>) {
        match self {
            Set::Ints(ints) => (INTS, ints.into_raw()),
            Set::Packed(listpack) => (PACKED, listpack.into_raw()),
            Set::Table(members) => (TABLE, box_into_raw(members)),
        }
    }

    unsafe fn from_parts(code: Code, pointer: NonNull<u8>) -> Set {
        // SAFETY: the caller's promise, by code.
        unsafe {
            match code {
                INTS => Set::Ints(Intset::from_raw(pointer)),
                PACKED => Set::Packed(Listpack::from_raw(pointer)),
                _ => Set::Table(box_from_raw(pointer)),
            }
        }
    }

    fn encoding_name(&self) -> &'static str {
        match self {
            Set::Ints(_) => "intset",
            Set::Packed(_) => "listpack",
            Set::Table(_) => "hashtable",
        }
    }

    fn len(&self) -> usize {
        match self {
            Set::Ints(ints) => ints.len(),
            Set::Packed(listpack) => listpack.len(),
            Set::Table(members) => members.len(),
        }
    }

    /// Exact, without looking at any member.
    fn memory_usage(&self, _samples: usize) -> usize {
        match self {
            Set::Ints(ints) => ints.memory_usage(),
            Set::Packed(listpack) => listpack.memory_usage(),
            Set::Table(members) => members.memory_usage(),
        }
    }

    fn duplicate(&self) -> Set {
        match self {
            Set::Ints(ints) => Set::Ints(ints.clone()),
            Set::Packed(listpack) => Set::Packed(listpack.clone()),
            Set::Table(members) => {
                let mut copy = Box::<Members>::default();
                members.for_each(|text| {
                    copy.insert(text);
                });
                Set::Table(copy)
            }
        }
    }

    fn free_cost(&self) -> usize {
        match self {
            Set::Table(members) => members.len(),
            _ => 1,
        }
    }
}

impl Set {
    /// An empty set for what will be up to `len` members, the first of them `first`: in the encoding that SADD begins with.
    pub fn for_members(first: &[u8], len: usize, limits: &SetLimits) -> Set {
        if len <= limits.intset_entries_max && canonical_int(first).is_some() {
            Set::default()
        } else if len <= limits.listpack_entries_max {
            Set::Packed(Listpack::new())
        } else {
            Set::Table(Box::default())
        }
    }

    /// Prepares for `count` arguments of one command: more than the encoding may have members end it.
    pub fn expect_more(&mut self, count: usize, limits: &SetLimits) {
        let count_max = match self {
            Set::Ints(_) => limits.intset_entries_max,
            Set::Packed(_) => limits.listpack_entries_max,
            Set::Table(_) => return,
        };
        if count > count_max {
            self.become_table();
        }
    }

    #[inline]
    pub fn contains(&self, text: &[u8]) -> bool {
        match self {
            Set::Ints(ints) => canonical_int(text).is_some_and(|number| ints.contains(number)),
            Set::Packed(listpack) => find(listpack, text).is_some(),
            Set::Table(members) => members.contains(text),
        }
    }

    /// Says of each text whether it is a member, in order. Faster than asking one by one: cache misses overlap.
    pub fn contains_each<'t>(&self, texts: &[&'t [u8]], mut visit: impl FnMut(&'t [u8], bool)) {
        match self {
            Set::Table(members) => members.contains_each(texts, visit),
            _ => texts.iter().for_each(|text| visit(text, self.contains(text))),
        }
    }

    /// Adds a member. Says whether it is new.
    pub fn insert(&mut self, text: &[u8], limits: &SetLimits) -> bool {
        match self {
            Set::Ints(ints) => match canonical_int(text) {
                Some(number) => {
                    let is_new = ints.insert(number);
                    if is_new && ints.len() > limits.intset_entries_max {
                        self.become_table();
                    }
                    is_new
                }
                None => {
                    let fits = |ints: &Intset| {
                        ints.len() < limits.listpack_entries_max
                            && text.len() <= limits.listpack_value_bytes_max
                            // The longest text is that of one of the ends.
                            && [ints.iter().next(), ints.iter().next_back()].into_iter().flatten().all(|number| {
                                IntBuffer::new().format(number).len() <= limits.listpack_value_bytes_max
                            })
                    };
                    if fits(ints) {
                        let mut listpack = Listpack::new();
                        ints.iter().for_each(|number| listpack.push_back_int(number));
                        listpack.push_back(text);
                        *self = Set::Packed(listpack);
                        return true;
                    }
                    self.become_table().insert(text)
                }
            },
            Set::Packed(listpack) => {
                if find(listpack, text).is_some() {
                    return false;
                }
                if listpack.len() < limits.listpack_entries_max
                    && text.len() <= limits.listpack_value_bytes_max
                    && listpack.fits(text.len(), 1)
                {
                    listpack.push_back(text);
                    return true;
                }
                self.become_table().insert(text)
            }
            Set::Table(members) => members.insert(text),
        }
    }

    /// Takes a member out. Says whether it was there.
    pub fn remove(&mut self, text: &[u8]) -> bool {
        match self {
            Set::Ints(ints) => canonical_int(text).is_some_and(|number| ints.remove(number)),
            Set::Packed(listpack) => match find(listpack, text) {
                Some(position) => {
                    listpack.remove(position);
                    true
                }
                None => false,
            },
            Set::Table(members) => members.remove(text),
        }
    }

    fn become_table(&mut self) -> &mut Members {
        if !matches!(self, Set::Table(_)) {
            let mut members = Box::<Members>::default();
            let mut buffer = IntBuffer::new();
            self.for_each(|item| {
                members.insert(item.bytes(&mut buffer));
            });
            *self = Set::Table(members);
        }
        match self {
            Set::Table(members) => members,
            _ => unreachable!("it became one just now"),
        }
    }

    /// What SINTERSTORE does at the end: a listpack of nothing but integers becomes an intset.
    pub fn settle_on_ints(&mut self, limits: &SetLimits) {
        if let Set::Packed(listpack) = self
            && listpack.len() <= limits.intset_entries_max
            && listpack.iter().all(|item| matches!(item, Item::Int(_)))
        {
            let mut ints = Intset::default();
            listpack.iter().filter_map(|item| item.as_int()).for_each(|number| {
                ints.insert(number);
            });
            *self = Set::Ints(ints);
        }
    }

    /// Visits every member.
    #[inline]
    pub fn for_each<'a>(&'a self, mut visit: impl FnMut(Item<'a>)) {
        match self {
            Set::Ints(ints) => ints.iter().for_each(|number| visit(Item::Int(number))),
            Set::Packed(listpack) => listpack.iter().for_each(visit),
            Set::Table(members) => members.for_each(|text| visit(Item::Bytes(text))),
        }
    }

    /// Visits every member until told to stop.
    pub fn try_for_each<'a>(&'a self, mut visit: impl FnMut(Item<'a>) -> ControlFlow<()>) -> ControlFlow<()> {
        match self {
            Set::Ints(ints) => ints.iter().try_for_each(|number| visit(Item::Int(number))),
            Set::Packed(listpack) => listpack.iter().try_for_each(visit),
            Set::Table(members) => members.try_for_each(|text| visit(Item::Bytes(text))),
        }
    }

    /// A walk in pieces, as SSCAN does it: about `count` members from `cursor` on, and the next cursor (0: the end). Small encodings are walked
    /// at once.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(Item<'a>)) -> u64 {
        match self {
            Set::Table(members) => members.scan(cursor, count, |text| visit(Item::Bytes(text))),
            _ => {
                self.for_each(visit);
                0
            }
        }
    }

    /// A member chosen fairly by uniform random numbers; `None` from an empty set.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<Item<'_>> {
        let mut below = |len: usize| ((u128::from(random()) * len as u128) >> 64) as usize;
        match self {
            Set::Ints(ints) if ints.is_empty() => None,
            Set::Ints(ints) => Some(Item::Int(ints.get(below(ints.len())))),
            Set::Packed(listpack) => {
                let position = listpack.seek(below(listpack.len()) as i64)?;
                Some(listpack.get(position))
            }
            Set::Table(members) => members.random(random).map(Item::Bytes),
        }
    }
}

fn find(listpack: &Listpack, text: &[u8]) -> Option<super::listpack::Position> {
    listpack.find(text, listpack.first()?, 0)
}

//! Hash: fields with values, each of which may have an expiry of its own.
//!
//! | encoding | when | how |
//! |---|---|---|
//! | `listpack` | small, no field ever had an expiry | field, value, field, value ... ([`packed`]) |
//! | `listpackex` | small | field, value, expiry ..., those that expire first, soonest first ([`expiring`]) |
//! | `hashtable` | more or longer fields than [`HashLimits`] say | a table of fields, each one allocation ([`fields`]) |
//!
//! A hash grows from one encoding into the next and never back. As in Redis 8.2, only what is set decides: giving a field an expiry never makes
//! a table, and neither do thresholds that are lowered later.
//!
//! **Expiry.** A field whose time has passed is still there until somebody takes it out: the walk over what is due
//! ([`Hash::expire_due`]), or who wants to change it ([`Hash::expire_named`]). What reads is told the time and passes such fields over. Like
//! a key, a field lives in the millisecond it expires at. How the walk finds the hashes is told in `table/mod.rs`: the word of a
//! hash with such fields is marked as that of a key with an expiry is, and the bound of its segment covers them.

mod build;
mod expiring;
mod fields;
mod packed;

use std::ops::RangeInclusive;
use std::ptr::NonNull;

pub use self::build::PackedFields;
pub use super::limits::HashLimits;
use super::listpack::Item;
use super::table::Opened;
use super::{Code, Collection, Listpack, box_from_raw, box_into_raw};
use crate::table::Buckets;
use crate::{Expiry, Millis};

use self::expiring::Expiring;
use self::fields::Fields;
use self::packed::Packed;

/// See the [module's page](self).
#[derive(Debug)]
pub struct Hash(Encoding);

#[derive(Debug)]
enum Encoding {
    Packed(Packed),
    Expiring(Expiring),
    Table(Box<Fields>),
}

use Encoding::{Expiring as ExpiringCode, Packed as PackedCode, Table as TableCode};

/// A field with all that is known of it.
#[derive(Clone, Copy, Debug)]
pub struct FieldRef<'a> {
    pub name: Item<'a>,
    pub value: Item<'a>,
    pub expire_at: Option<Millis>,
}

impl FieldRef<'_> {
    /// Whether its time has passed.
    #[inline]
    pub fn is_expired(&self, now: Millis) -> bool {
        self.expire_at.is_some_and(|at| at < now)
    }
}

const CODE_PACKED: Code = 5;
const CODE_EXPIRING: Code = 6;
const CODE_TABLE: Code = 7;

impl Default for Hash {
    fn default() -> Hash {
        Hash(PackedCode(Packed::default()))
    }
}

// SAFETY: each encoding has its code, and is made again from what it was taken apart into.
unsafe impl Collection for Hash {
    const TYPE_NAME: &'static str = "hash";
    const CODES: RangeInclusive<Code> = CODE_PACKED..=CODE_TABLE;

    #[inline]
    fn into_parts(self) -> (Code, NonNull<u8>) {
        match self.0 {
            PackedCode(packed) => (CODE_PACKED, packed.0.into_raw()),
            ExpiringCode(expiring) => (CODE_EXPIRING, expiring.0.into_raw()),
            TableCode(fields) => (CODE_TABLE, box_into_raw(fields)),
        }
    }

    #[inline]
    unsafe fn from_parts(code: Code, pointer: NonNull<u8>) -> Hash {
        // SAFETY: the caller's promise; the code says what the pointer is.
        unsafe {
            Hash(match code {
                CODE_PACKED => PackedCode(Packed(Listpack::from_raw(pointer))),
                CODE_EXPIRING => ExpiringCode(Expiring(Listpack::from_raw(pointer))),
                _ => TableCode(box_from_raw(pointer)),
            })
        }
    }

    fn encoding_name(&self) -> &'static str {
        match &self.0 {
            PackedCode(_) => "listpack",
            ExpiringCode(_) => "listpackex",
            TableCode(_) => "hashtable",
        }
    }

    /// Fields whose time has passed, and that nobody has taken out yet, included.
    #[inline]
    fn len(&self) -> usize {
        match &self.0 {
            PackedCode(packed) => packed.len(),
            ExpiringCode(expiring) => expiring.len(),
            TableCode(fields) => fields.len(),
        }
    }

    fn memory_usage(&self, samples: usize) -> usize {
        match &self.0 {
            PackedCode(packed) => packed.0.memory_usage(),
            ExpiringCode(expiring) => expiring.0.memory_usage(),
            TableCode(fields) => fields.memory_usage(samples),
        }
    }

    fn duplicate(&self) -> Hash {
        Hash(match &self.0 {
            PackedCode(packed) => PackedCode(Packed(packed.0.clone())),
            ExpiringCode(expiring) => ExpiringCode(Expiring(expiring.0.clone())),
            TableCode(fields) => TableCode(Box::new(fields.duplicate())),
        })
    }

    fn free_cost(&self) -> usize {
        match &self.0 {
            PackedCode(_) | ExpiringCode(_) => 1,
            TableCode(fields) => fields.len(),
        }
    }

    #[inline]
    fn earliest_expiry(&self) -> Option<Millis> {
        match &self.0 {
            PackedCode(_) => None,
            ExpiringCode(expiring) => expiring.earliest(),
            TableCode(fields) => fields.earliest(),
        }
    }
}

impl Hash {
    pub(crate) fn buckets(&self) -> Option<Buckets<'_>> {
        match &self.0 {
            TableCode(fields) => Some(fields.buckets()),
            _ => None,
        }
    }

    pub(crate) fn compact(&mut self, from: u64, count: usize) -> Option<u64> {
        match &mut self.0 {
            PackedCode(packed) => packed.0.compact(),
            ExpiringCode(expiring) => expiring.0.compact(),
            TableCode(fields) => return fields.compact(from, count),
        }
        None
    }

    pub(crate) fn opened(&mut self) -> Option<&mut dyn Opened> {
        match &mut self.0 {
            TableCode(fields) => Some(fields.opened()),
            _ => None,
        }
    }

    /// The encodings in which fields may have an expiry.
    pub(crate) const CODES_EXPIRING: RangeInclusive<Code> = CODE_EXPIRING..=CODE_TABLE;

    /// The field as it is kept, whether its time has passed or not.
    #[inline]
    fn find(&self, name: &[u8]) -> Option<FieldRef<'_>> {
        match &self.0 {
            PackedCode(packed) => packed.find(name),
            ExpiringCode(expiring) => expiring.find(name),
            TableCode(fields) => fields.find(name),
        }
    }

    /// The field, unless its time has passed at `now`; likewise below.
    #[inline]
    pub fn field(&self, name: &[u8], now: Millis) -> Option<FieldRef<'_>> {
        self.find(name).filter(|field| !field.is_expired(now))
    }

    #[inline]
    pub fn value(&self, name: &[u8], now: Millis) -> Option<Item<'_>> {
        self.field(name, now).map(|field| field.value)
    }

    /// Whether fields may be there whose time has passed.
    #[inline]
    pub fn is_due(&self, now: Millis) -> bool {
        self.earliest_expiry().is_some_and(|at| at < now)
    }

    /// The number of fields that [`visit`](Self::visit) visits. O(N) if some may have expired, else O(1).
    #[inline]
    pub fn live_len(&self, now: Millis) -> usize {
        if !self.is_due(now) {
            return self.len();
        }
        let mut len = 0;
        self.visit(now, |_| len += 1);
        len
    }

    /// Every field, in the order of the encoding.
    #[inline]
    pub fn visit<'a>(&'a self, now: Millis, mut visit: impl FnMut(FieldRef<'a>)) {
        self.visit_kept(|field| {
            if !field.is_expired(now) {
                visit(field);
            }
        });
    }

    #[inline]
    fn visit_kept<'a>(&'a self, visit: impl FnMut(FieldRef<'a>)) {
        match &self.0 {
            PackedCode(packed) => packed.iter().for_each(visit),
            ExpiringCode(expiring) => expiring.iter().for_each(visit),
            TableCode(fields) => fields.visit(visit),
        }
    }

    /// All fields, to be chosen from.
    pub fn collect(&self, now: Millis) -> Vec<FieldRef<'_>> {
        let mut all = Vec::with_capacity(self.len());
        self.visit_kept(|field| {
            if !field.is_expired(now) {
                all.push(field);
            }
        });
        all
    }

    /// The names of the fields whose time has passed, in the order of the encoding. O(N).
    pub fn due_names(&self, now: Millis) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        self.visit_kept(|field| {
            if field.is_expired(now) {
                names.push(field.name.to_vec());
            }
        });
        names
    }

    /// A field chosen fairly; `random` gives uniform numbers. O(1) expected in a table, O(N) in the small encodings and where most fields of a
    /// table have expired. `None` if there is none.
    pub fn random(&self, now: Millis, mut random: impl FnMut() -> u64) -> Option<FieldRef<'_>> {
        const TRIES: usize = 32;
        if let TableCode(fields) = &self.0 {
            for _ in 0..TRIES {
                let field = fields.random(&mut random)?;
                if !field.is_expired(now) {
                    return Some(field);
                }
            }
        } else if !self.is_due(now) {
            let index = scaled(random(), self.len());
            return match &self.0 {
                PackedCode(packed) => packed.nth(index),
                ExpiringCode(expiring) => expiring.nth(index),
                TableCode(_) => unreachable!("asked above"),
            };
        }
        let all = self.collect(now);
        (!all.is_empty()).then(|| all[scaled(random(), all.len())])
    }

    /// Whether it is a table: what was said to be O(1) above.
    pub fn is_table(&self) -> bool {
        matches!(self.0, TableCode(_))
    }

    /// Visits about `count` fields from a cursor on and returns the next cursor; 0 is start and end. The small encodings are visited as a whole.
    /// What is in the hash throughout a whole walk is visited at least once.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, now: Millis, mut visit: impl FnMut(FieldRef<'a>)) -> u64 {
        match &self.0 {
            TableCode(fields) => fields.scan(cursor, count, |field| {
                if !field.is_expired(now) {
                    visit(field);
                }
            }),
            _ => {
                self.visit(now, visit);
                0
            }
        }
    }

    /// Says that one command is about to set so many fields. As in Redis, they count before it is known which of them are new.
    #[inline]
    pub fn prepare(&mut self, fields: usize, limits: &HashLimits) {
        if fields > limits.listpack_entries_max {
            self.make_table();
        }
    }

    /// Sets a field. Says whether it is new.
    pub fn set(&mut self, name: &[u8], value: &[u8], expiry: Expiry, limits: &HashLimits) -> bool {
        if !self.is_table() {
            let long = |text: &[u8]| text.len() > limits.listpack_value_bytes_max;
            if long(name) || long(value) || !self.fits(name, value) {
                self.make_table();
            } else if matches!(expiry, Expiry::At(_)) {
                self.make_expiring();
            }
        }
        let new = match &mut self.0 {
            PackedCode(packed) => packed.set(name, value),
            ExpiringCode(expiring) => expiring.set(name, value, expiry),
            TableCode(fields) => return fields.set(name, value, expiry),
        };
        if new && self.len() > limits.listpack_entries_max {
            self.make_table();
        }
        new
    }

    fn fits(&self, name: &[u8], value: &[u8]) -> bool {
        match &self.0 {
            PackedCode(Packed(listpack)) | ExpiringCode(Expiring(listpack)) => {
                listpack.fits(name.len() + value.len(), 3)
            }
            TableCode(_) => true,
        }
    }

    /// Gives a field another expiry, or none. Says whether the field is there.
    pub fn set_expiry(&mut self, name: &[u8], expiry: Option<Millis>) -> bool {
        if expiry.is_some() {
            self.make_expiring();
        }
        match &mut self.0 {
            PackedCode(packed) => packed.find(name).is_some(),
            ExpiringCode(expiring) => expiring.set_expiry(name, expiry),
            TableCode(fields) => fields.set_expiry(name, expiry),
        }
    }

    /// Says whether the field was there.
    #[inline]
    pub fn remove(&mut self, name: &[u8]) -> bool {
        match &mut self.0 {
            PackedCode(packed) => packed.remove(name),
            ExpiringCode(expiring) => expiring.remove(name),
            TableCode(fields) => fields.remove(name),
        }
    }

    /// Takes out fields whose time has passed, at most `budget`, in a bounded piece of work. Returns how many; as long as [`is_due`](Self::is_due)
    /// says so, there is more to do.
    pub fn expire_due(&mut self, now: Millis, budget: usize, gone: impl FnMut(&[u8])) -> usize {
        match &mut self.0 {
            PackedCode(_) => 0,
            ExpiringCode(expiring) => expiring.expire_due(now, budget, gone),
            TableCode(fields) => fields.expire_due(now, budget, gone),
        }
    }

    /// Takes out those of the named fields whose time has passed. Returns how many.
    pub fn expire_named<'n>(
        &mut self,
        now: Millis,
        names: impl IntoIterator<Item = &'n [u8]>,
        mut gone: impl FnMut(&[u8]),
    ) -> usize {
        let mut taken = 0;
        for name in names {
            if self.find(name).is_some_and(|field| field.is_expired(now)) {
                self.remove(name);
                gone(name);
                taken += 1;
            }
        }
        taken
    }

    /// Says that a command is about fields' expiries. As in Redis 8.2, a small hash becomes a `listpackex` by that alone.
    pub fn prepare_expiry(&mut self) {
        self.make_expiring();
    }

    fn make_expiring(&mut self) {
        if let PackedCode(packed) = &self.0 {
            self.0 = ExpiringCode(Expiring::of(packed));
        }
    }

    fn make_table(&mut self) {
        if self.is_table() {
            return;
        }
        let mut fields = Box::<Fields>::default();
        let (mut name_buffer, mut value_buffer) = Default::default();
        self.visit_kept(|field| {
            let expiry = field.expire_at.map_or(Expiry::Clear, Expiry::At);
            fields.set(field.name.bytes(&mut name_buffer), field.value.bytes(&mut value_buffer), expiry);
        });
        self.0 = TableCode(fields);
    }
}

/// A uniform number below `len`.
#[inline]
fn scaled(random: u64, len: usize) -> usize {
    ((u128::from(random) * len as u128) >> 64) as usize
}

//! The encoding `listpackex`: field, value, expiry in milliseconds or 0, for each field.
//!
//! Fields that expire come first, soonest first, so that what is due is a prefix. Of two with one expiry the later comes before the earlier, and
//! a field that loses its expiry goes to the end: the order in which Redis 8.2 was seen to reply.

use super::FieldRef;
use super::packed::Packed;
use crate::collection::Listpack;
use crate::collection::listpack::{Item, Position};
use crate::{Expiry, IntBuffer, Millis};

/// Elements of a field.
const STRIDE: usize = 3;

#[derive(Debug)]
pub(super) struct Expiring(pub(super) Listpack);

/// Where the parts of a field lie.
#[derive(Clone, Copy)]
struct Places {
    name: Position,
    value: Position,
    expiry: Position,
}

impl Expiring {
    pub(super) fn of(packed: &Packed) -> Expiring {
        let mut listpack = Listpack::new();
        let (mut name_buffer, mut value_buffer) = <(IntBuffer, IntBuffer)>::default();
        for field in packed.iter() {
            listpack.push_back(field.name.bytes(&mut name_buffer));
            listpack.push_back(field.value.bytes(&mut value_buffer));
            listpack.push_back_int(0);
        }
        Expiring(listpack)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.0.len() / STRIDE
    }

    fn places_at(&self, name: Position) -> Places {
        let value = self.0.next(name).expect("a field has a value");
        Places { name, value, expiry: self.0.next(value).expect("a field has an expiry, if only 0") }
    }

    fn places(&self, name: &[u8]) -> Option<Places> {
        Some(self.places_at(self.0.find(name, self.0.first()?, STRIDE - 1)?))
    }

    fn expiry_at(&self, places: Places) -> Option<Millis> {
        expiry_of(self.0.get(places.expiry))
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<FieldRef<'_>> {
        let places = self.places(name)?;
        let expire_at = self.expiry_at(places);
        Some(FieldRef { name: self.0.get(places.name), value: self.0.get(places.value), expire_at })
    }

    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = FieldRef<'_>> {
        triples(self.0.iter())
    }

    pub(super) fn nth(&self, index: usize) -> Option<FieldRef<'_>> {
        let at = self.0.seek((STRIDE * index) as i64)?;
        triples(self.0.iter_from(at)).next()
    }

    #[inline]
    pub(super) fn earliest(&self) -> Option<Millis> {
        self.iter().next()?.expire_at
    }

    pub(super) fn set(&mut self, name: &[u8], value: &[u8], expiry: Expiry) -> bool {
        let places = self.places(name);
        if let Some(places) = places {
            let same_place = match expiry {
                Expiry::Keep => true,
                Expiry::Clear => self.expiry_at(places).is_none(),
                Expiry::At(_) => false,
            };
            if same_place {
                self.0.replace(places.value, value);
                return false;
            }
            self.0.remove_many(places.name, STRIDE);
        }
        self.insert(name, value, if let Expiry::At(at) = expiry { Some(at) } else { None });
        places.is_none()
    }

    pub(super) fn set_expiry(&mut self, name: &[u8], expiry: Option<Millis>) -> bool {
        let Some(places) = self.places(name) else { return false };
        if expiry.is_none() && self.expiry_at(places).is_none() {
            return true;
        }
        let value = self.0.get(places.value).to_vec();
        self.0.remove_many(places.name, STRIDE);
        self.insert(name, &value, expiry);
        true
    }

    fn insert(&mut self, name: &[u8], value: &[u8], expiry: Option<Millis>) {
        let before = expiry.and_then(|expiry| {
            let mut at = self.0.first();
            while let Some(name) = at {
                let places = self.places_at(name);
                if self.expiry_at(places).is_none_or(|at| at >= expiry) {
                    break;
                }
                at = self.0.next(places.expiry);
            }
            at
        });
        let Millis(stored) = expiry.unwrap_or(Millis(0));
        match before {
            None => {
                self.0.push_back(name);
                self.0.push_back(value);
                self.0.push_back_int(stored);
            }
            Some(before) => {
                let name = self.0.insert_before(before, name);
                let value = self.0.insert_after(name, value);
                self.0.insert_after(value, IntBuffer::new().format(stored));
            }
        }
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        let Some(places) = self.places(name) else { return false };
        self.0.remove_many(places.name, STRIDE);
        true
    }

    pub(super) fn expire_due(&mut self, now: Millis, budget: usize, mut gone: impl FnMut(&[u8])) -> usize {
        let mut buffer = IntBuffer::new();
        let mut due = 0;
        for field in self.iter().take(budget).take_while(|field| field.is_expired(now)) {
            gone(field.name.bytes(&mut buffer));
            due += 1;
        }
        if let Some(first) = self.0.first() {
            self.0.remove_many(first, due * STRIDE);
        }
        due
    }
}

fn expiry_of(item: Item<'_>) -> Option<Millis> {
    item.as_int().filter(|&at| at != 0).map(Millis)
}

#[inline]
fn triples<'a>(mut items: impl Iterator<Item = Item<'a>>) -> impl Iterator<Item = FieldRef<'a>> {
    std::iter::from_fn(move || {
        let name = items.next()?;
        let value = items.next().expect("a field has a value");
        let expire_at = expiry_of(items.next().expect("a field has an expiry, if only 0"));
        Some(FieldRef { name, value, expire_at })
    })
}

//! The encoding `listpack`: field, value, field, value, in the order in which they came.

use super::FieldRef;
use crate::collection::Listpack;
use crate::collection::listpack::{Item, Position};

#[derive(Debug, Default)]
pub(super) struct Packed(pub(super) Listpack);

impl Packed {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.0.len() / 2
    }

    /// Where the field's name and value lie.
    #[inline]
    fn places(&self, name: &[u8]) -> Option<(Position, Position)> {
        let at = self.0.find(name, self.0.first()?, 1)?;
        Some((at, self.0.next(at).expect("a field has a value")))
    }

    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<FieldRef<'_>> {
        let (at, value) = self.places(name)?;
        Some(FieldRef { name: self.0.get(at), value: self.0.get(value), expire_at: None })
    }

    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = FieldRef<'_>> {
        pairs(self.0.iter())
    }

    pub(super) fn nth(&self, index: usize) -> Option<FieldRef<'_>> {
        let at = self.0.seek(2 * index as i64)?;
        pairs(self.0.iter_from(at)).next()
    }

    #[inline]
    pub(super) fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        if let Some((_, at)) = self.places(name) {
            self.0.replace(at, value);
            return false;
        }
        self.0.push_back(name);
        self.0.push_back(value);
        true
    }

    #[inline]
    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        let Some((at, _)) = self.places(name) else { return false };
        self.0.remove_many(at, 2);
        true
    }
}

#[inline]
fn pairs<'a>(mut items: impl Iterator<Item = Item<'a>>) -> impl Iterator<Item = FieldRef<'a>> {
    std::iter::from_fn(move || {
        let name = items.next()?;
        Some(FieldRef { name, value: items.next().expect("a field has a value"), expire_at: None })
    })
}

//! What unions, intersections and differences are made of: sorted sets and sets side by side.

use std::ops::ControlFlow;

use keyspace::{Collection, IntBuffer, Key, Set, SortedSet, TypedRef, ValueRef};
use smallvec::SmallVec;

use crate::context::Ctx;
use crate::db::{Db, ExpectCollection};
use crate::error::{Error, Stop};

/// One input. A member of a set counts as having the score 1.
pub enum Source<'a> {
    Missing,
    Set(TypedRef<'a, Set>),
    SortedSet(TypedRef<'a, SortedSet>),
}

pub type Sources<'a> = SmallVec<[Source<'a>; 4]>;

impl Source<'_> {
    pub fn len(&self) -> usize {
        match self {
            Source::Missing => 0,
            Source::Set(set) => set.len(),
            Source::SortedSet(set) => set.len(),
        }
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Missing => None,
            Source::Set(set) => set.contains(member).then_some(1.0),
            Source::SortedSet(set) => set.score(member),
        }
    }

    /// Every member, until `visit` breaks.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], f64) -> ControlFlow<()>) {
        let mut buffer = IntBuffer::new();
        // That the walk was cut short is no news to who cut it.
        let _ = match self {
            Source::Missing => ControlFlow::Continue(()),
            Source::Set(set) => set.try_for_each(|member| visit(member.bytes(&mut buffer), 1.0)),
            Source::SortedSet(set) => set.all().try_for_each(|(member, score)| visit(member.bytes(&mut buffer), score)),
        };
    }
}

/// Looks the keys up, each as a read. The first that holds something else decides the error.
pub fn read<'d>(db: &'d mut Db<'_>, keys: &[Key<'_>]) -> Result<Sources<'d>, Stop> {
    for &key in keys {
        if let Some(entry) = db.read(key) {
            match entry.value() {
                ValueRef::Object(object) if matches!(object.type_name(), "set" | "zset") => {}
                _ => return Err(Error::WrongType.into()),
            }
        }
    }
    // Nothing is removed any more: all of them can be borrowed at once.
    let db = &*db;
    keys.iter()
        .map(|&key| {
            let entry = db.space.get(db.index, key).filter(|entry| !entry.is_expired(db.now) || db.manners.see_expired);
            Ok(match entry {
                None => Source::Missing,
                Some(entry) if entry.value().type_name() == "set" => Source::Set(entry.collection()?),
                Some(entry) => Source::SortedSet(entry.collection()?),
            })
        })
        .collect()
}

/// The number of keys at argument `at`, which must fit into the arguments.
///
/// # Errors
/// Redis's, in its order.
pub fn count(cx: &Ctx<'_>, at: usize) -> Result<usize, Stop> {
    let count = cx.int(at)?;
    if count < 1 {
        let text = format!("ERR at least 1 input key is needed for '{}' command", cx.command.spec.name);
        return Err(Error::string(text).into());
    }
    match usize::try_from(count) {
        Ok(count) if count < cx.args.len() - at => Ok(count),
        _ => Err(Error::Syntax.into()),
    }
}

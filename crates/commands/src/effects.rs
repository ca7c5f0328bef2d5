//! What commands changed: *effects* for the journal (the append-only file and replicas), *events* for keyspace notifications.
//!
//! An effect is a command that makes the same change on another server, whatever the time and the dice there. Most commands are
//! their own effect, so a handler says nothing but [`Db::changed`](crate::Db::changed): the dispatcher adds the command as
//! it was sent. A handler whose command would do something else elsewhere says what to do [instead](Effects::instead).
//!
//! ```text
//! begin(db) ─ handler: expired keys, instead(), nothing(), notify() ─ end(args, changed) ─┐
//!     ▲                                                                                   │ more of one transaction
//!     └───────────────────────────────────────────────────────────────────────────────────┤
//!                                                                   close_unit() ◀────────┘
//! ```
//!
//! What lies between two `close_unit` is one unit: the journal wraps it in MULTI and EXEC if it holds more than one
//! effect. Without a reader nothing is recorded, and asking costs a branch.
//!
//! `docs/effects.md` lists the commands whose effect is not themselves; `tests/effects.rs` compares all of them with real servers.

pub use config::KeyspaceEvents as EventClass;
use keyspace::{DbIndex, Expired};

/// A command that makes the same change elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    pub db: DbIndex,
    pub args: Vec<Vec<u8>>,
}

/// Something happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub class: EventClass,
    pub name: &'static str,
    pub db: DbIndex,
    pub key: Vec<u8>,
}

/// Who reads what is recorded. Changes on the wide side only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readers {
    /// The journal has readers.
    pub journal: bool,
    /// The classes of events that are sent to somebody.
    pub events: EventClass,
    /// Expired keys leave with UNLINK, not DEL (`lazyfree-lazy-expire`).
    pub unlink_expired: bool,
}

impl Readers {
    pub const NONE: Readers = Readers { journal: false, events: EventClass::empty(), unlink_expired: false };
}

/// What becomes of the command in execution itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Itself {
    /// It is its own effect if it changed anything.
    Verbatim,
    /// Its handler has spoken.
    Replaced,
}

/// What was changed and not yet read.
#[derive(Debug)]
pub struct Effects {
    readers: Readers,
    /// The selected database of the command in execution.
    db: DbIndex,
    itself: Itself,
    list: Vec<Effect>,
    /// Behind the last effect of each unit.
    unit_ends: Vec<usize>,
    events: Vec<Event>,
    /// How many events there were when the command in execution began.
    events_before: usize,
}

impl Default for Effects {
    fn default() -> Effects {
        Effects {
            readers: Readers::NONE,
            db: DbIndex(0),
            itself: Itself::Verbatim,
            list: Vec::new(),
            unit_ends: Vec::new(),
            events: Vec::new(),
            events_before: 0,
        }
    }
}

/// For handlers.
impl Effects {
    /// Whether anybody reads effects. Ask before you build one.
    #[inline]
    pub fn wanted(&self) -> bool {
        self.readers.journal
    }

    /// The effect of this command in its database is this one. Several calls add up, in order.
    pub fn instead(&mut self, args: &[&[u8]]) {
        self.itself = Itself::Replaced;
        self.push(self.db, args);
    }

    /// What this command changed (or counted as a change) concerns nobody else.
    #[inline]
    pub fn nothing(&mut self) {
        self.itself = Itself::Replaced;
    }
}

/// For [`Db`](crate::Db), which knows the database.
impl Effects {
    /// Notes an event if somebody wants its class.
    #[inline]
    pub(crate) fn notify(&mut self, class: EventClass, name: &'static str, db: DbIndex, key: &[u8]) {
        if self.readers.events.intersects(class) {
            self.note(class, name, db, key);
        }
    }

    #[cold]
    fn note(&mut self, class: EventClass, name: &'static str, db: DbIndex, key: &[u8]) {
        self.events.push(Event { class, name, db, key: key.to_vec() });
    }

    /// How keys leave whose time has come: DEL, or UNLINK where they are to be freed in the background.
    pub fn expiry_verb(&self) -> &'static [u8] {
        if self.readers.unlink_expired { b"UNLINK" } else { b"DEL" }
    }

    /// A key's time had come, and it was removed.
    pub fn expired(&mut self, db: DbIndex, key: &[u8]) {
        if self.wanted() {
            self.push(db, &[self.expiry_verb(), key]);
        }
        self.notify(EventClass::EXPIRED, "expired", db, key);
    }

    /// Something went because its time had come, and this server removed it.
    pub fn gone(&mut self, db: DbIndex, expired: &Expired<'_>) {
        match expired {
            Expired::Key(removed) => self.expired(db, removed.key()),
            Expired::Field { key, field } => self.push(db, &[b"HDEL", key, field]),
            Expired::Fields { key, .. } => self.notify(EventClass::HASH, "hexpired", db, key),
            Expired::Hash { removed, .. } => {
                self.notify(EventClass::HASH, "hexpired", db, removed.key());
                self.notify(EventClass::GENERIC, "del", db, removed.key());
            }
        }
    }

    fn push(&mut self, db: DbIndex, args: &[&[u8]]) {
        if self.wanted() {
            self.list.push(Effect { db, args: args.iter().map(|arg| arg.to_vec()).collect() });
        }
    }
}

/// For whoever runs commands.
impl Effects {
    /// Says who will read what is recorded from here on.
    #[inline]
    pub fn serve(&mut self, readers: Readers) {
        self.readers = readers;
    }

    /// Whether anything is recorded at all.
    #[inline]
    pub(crate) fn records(&self) -> bool {
        self.readers.journal || !self.readers.events.is_empty()
    }

    /// A handler is about to run.
    #[inline]
    pub fn begin(&mut self, db: DbIndex) {
        if self.records() {
            self.db = db;
            self.itself = Itself::Verbatim;
            self.events_before = self.events.len();
        }
    }

    /// The handler has run, and said how much it changed.
    #[inline]
    pub fn end(&mut self, args: &[&[u8]], changed: bool) {
        if changed && self.wanted() && self.itself == Itself::Verbatim {
            self.push(self.db, args);
        }
    }

    /// The handler will run again, on the wide side. The keys that it found expired are gone all the same; what it missed, it will
    /// miss again.
    pub fn end_for_wide(&mut self) {
        let mut index = 0;
        self.events.retain(|event| {
            index += 1;
            index <= self.events_before || event.class != EventClass::KEY_MISS
        });
    }

    /// What was recorded since the last call belongs together.
    #[inline]
    pub fn close_unit(&mut self) {
        if self.list.len() > self.unit_ends.last().copied().unwrap_or(0) {
            self.unit_ends.push(self.list.len());
        }
    }

    /// The effects that were recorded, unit by unit.
    pub fn units(&self) -> impl Iterator<Item = &[Effect]> {
        let starts = std::iter::once(0).chain(self.unit_ends.iter().copied());
        starts.zip(&self.unit_ends).map(|(start, &end)| &self.list[start..end])
    }

    /// The events that were recorded.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// All was read.
    #[inline]
    pub fn clear(&mut self) {
        if !self.list.is_empty() || !self.events.is_empty() {
            self.list.clear();
            self.unit_ends.clear();
            self.events.clear();
            self.events_before = 0;
        }
    }
}

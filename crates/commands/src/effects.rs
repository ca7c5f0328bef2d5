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
//! `docs/effects.md` lists the commands whose effect is not themselves; `tests/effects` compares all of them with real servers.

use std::fmt;

pub use config::KeyspaceEvents as EventClass;
use keyspace::{DbIndex, Expired};

use crate::blocking::Ready;
use crate::pubsub::Run;
use crate::tracking::Change;
use crate::transaction::Watches;

/// A command that makes the same change elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Effect<'a> {
    pub db: DbIndex,
    /// It is kept out of the append-only file: PUBLISH.
    pub replicas_only: bool,
    bytes: &'a [u8],
    /// Where each argument ends, counted from the start of all bytes, and where the first begins.
    ends: &'a [usize],
    start: usize,
}

impl<'a> Effect<'a> {
    pub fn args(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let (bytes, ends, start) = (self.bytes, self.ends, self.start);
        (0..ends.len()).map(move |index| &bytes[if index == 0 { start } else { ends[index - 1] }..ends[index]])
    }
}

/// Its words, for people.
impl fmt::Display for Effect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arg) in self.args().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{}", String::from_utf8_lossy(arg))?;
        }
        Ok(())
    }
}

/// Effects that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    list: &'a List,
    first: usize,
    end: usize,
}

impl<'a> Unit<'a> {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Effect<'a>> + Clone + use<'a> {
        let list = self.list;
        (self.first..self.end).map(move |index| list.get(index))
    }
}

/// Effects one behind the other in memory that is used again: recording one allocates nothing.
#[derive(Debug, Default)]
struct List {
    bytes: Vec<u8>,
    /// Of all arguments.
    ends: Vec<usize>,
    effects: Vec<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    db: DbIndex,
    replicas_only: bool,
    /// Behind its last argument.
    args_end: usize,
}

/// More memory than this is not kept for the next access.
const KEPT_BYTES_MAX: usize = 256 * 1024;

impl List {
    fn len(&self) -> usize {
        self.effects.len()
    }

    fn push(&mut self, db: DbIndex, args: &[&[u8]]) {
        for arg in args {
            self.bytes.extend_from_slice(arg);
            self.ends.push(self.bytes.len());
        }
        self.effects.push(Recorded { db, replicas_only: false, args_end: self.ends.len() });
    }

    fn get(&self, index: usize) -> Effect<'_> {
        let Recorded { db, replicas_only, args_end } = self.effects[index];
        let first = if index == 0 { 0 } else { self.effects[index - 1].args_end };
        let start = if first == 0 { 0 } else { self.ends[first - 1] };
        Effect { db, replicas_only, bytes: &self.bytes, ends: &self.ends[first..args_end], start }
    }

    fn clear(&mut self) {
        if self.bytes.capacity() + self.ends.capacity() * size_of::<usize>() > KEPT_BYTES_MAX {
            *self = List::default();
        }
        self.bytes.clear();
        self.ends.clear();
        self.effects.clear();
    }
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
    /// Clients wait for keys, and this access serves them.
    pub waiters: bool,
    /// Clients watch keys, or track what they have read: they want to know which keys are changed.
    pub touches: bool,
}

impl Readers {
    pub const NONE: Readers =
        Readers { journal: false, events: EventClass::empty(), unlink_expired: false, waiters: false, touches: false };
}

/// A key that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    pub db: DbIndex,
    pub key: Box<[u8]>,
    /// So many events had been recorded: what is told of a key is told in the order in which it has happened.
    pub events_before: usize,
    pub cause: Cause,
    /// Its time had come, and now it was removed: whoever has watched it since it expired has missed nothing.
    pub had_expired: bool,
}

impl Touched {
    /// Marks who watches the key.
    pub fn tell(&self, watches: &Watches) {
        if self.had_expired {
            watches.touch_expired(self.db, &self.key);
        } else {
            watches.touch(self.db, &self.key);
        }
    }
}

/// Why a key was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The client in execution wanted it so.
    Command,
    /// Its time had come, or there was no room for it: it is nobody's own change, whoever has met it.
    Itself,
    /// Its database was emptied, or changed its place: whoever tracks keys hears of that as a whole, or not at all.
    Database,
}

/// What is to be told before the next command runs.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub touched: Vec<Touched>,
    pub events: Vec<Event>,
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
    list: List,
    /// Behind the last effect of each unit.
    unit_ends: Vec<usize>,
    events: Vec<Event>,
    /// How many events there were when the command in execution began.
    events_before: usize,
    /// The keys that blocked clients may find something at now.
    ready: Ready,
    /// Keys that the command in execution may have changed, and behind `touched_surely` keys that were changed whatever it says.
    touched: Vec<Touched>,
    touched_surely: Vec<Touched>,
    /// Invalidations for the client whose command is in execution, which gets them behind its reply. `None` stands for all keys.
    pub(crate) own_invalidations: Vec<Option<Box<[u8]>>>,
    /// A script is in execution: to Redis, what it changes is not its client's own change where that tracks by prefix.
    pub in_script: bool,
    /// Messages that this access has published, and that are still to be delivered.
    pub(crate) messages: Run,
    /// What this access has changed, for those who track by prefix.
    pub(crate) broadcast: Vec<Change>,
    /// The commands of a transaction are in execution: they are one unit.
    in_transaction: bool,
}

impl Default for Effects {
    fn default() -> Effects {
        Effects {
            readers: Readers::NONE,
            db: DbIndex(0),
            itself: Itself::Verbatim,
            list: List::default(),
            unit_ends: Vec::new(),
            events: Vec::new(),
            events_before: 0,
            ready: Ready::default(),
            touched: Vec::new(),
            touched_surely: Vec::new(),
            own_invalidations: Vec::new(),
            in_script: false,
            messages: Run::default(),
            broadcast: Vec::new(),
            in_transaction: false,
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

    /// The same, for replicas only.
    pub fn for_replicas(&mut self, args: &[&[u8]]) {
        self.instead(args);
        if let Some(effect) = self.list.effects.last_mut().filter(|_| self.readers.journal) {
            effect.replicas_only = true;
        }
    }

    /// What this command changed (or counted as a change) concerns nobody else.
    #[inline]
    pub fn nothing(&mut self) {
        self.itself = Itself::Replaced;
    }
}

/// For [`Db`](crate::Db), which knows the database.
impl Effects {
    /// Whether somebody wants events of one of these classes.
    #[inline]
    pub(crate) fn notifies(&self, classes: EventClass) -> bool {
        self.readers.events.intersects(classes)
    }

    /// Notes an event if somebody wants its class.
    #[inline]
    pub(crate) fn notify(&mut self, class: EventClass, name: &'static str, db: DbIndex, key: &[u8]) {
        if self.notifies(class) {
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
        if self.readers.touches {
            self.touched_surely.push(self.touched_now(db, key, Cause::Itself, true));
        }
    }

    /// A key had to make room for others. A unit by itself.
    pub fn evicted(&mut self, db: DbIndex, key: &[u8], unlink: bool) {
        if self.wanted() {
            self.push(db, &[if unlink { b"UNLINK" } else { b"DEL" }, key]);
        }
        self.notify(EventClass::EVICTED, "evicted", db, key);
        self.touch_surely(db, key);
        self.close_unit();
    }

    /// The command in execution holds this key to change it: who watches it hears of that if the command says that it changed something.
    #[inline]
    pub(crate) fn touch(&mut self, db: DbIndex, key: &[u8]) {
        self.touch_removed(db, key, false);
    }

    /// The same where it removes the key, which may have expired before.
    #[inline]
    pub(crate) fn touch_removed(&mut self, db: DbIndex, key: &[u8], had_expired: bool) {
        if self.readers.touches {
            self.touched.push(self.touched_now(db, key, Cause::Command, had_expired));
        }
    }

    #[cold]
    fn touched_now(&self, db: DbIndex, key: &[u8], cause: Cause, had_expired: bool) -> Touched {
        Touched { db, key: key.into(), events_before: self.events.len(), cause, had_expired }
    }

    /// What the command in execution holds to change is, to those who watch or track it, as it was.
    pub(crate) fn untouch(&mut self) {
        self.touched.clear();
    }

    /// The same of one key.
    pub(crate) fn untouch_key(&mut self, key: &[u8]) {
        self.touched.retain(|touched| *touched.key != *key);
    }

    /// The command in execution has changed nothing, and who watches or tracks this key is told otherwise.
    pub(crate) fn touch_unchanged(&mut self, db: DbIndex, key: &[u8]) {
        if self.readers.touches {
            self.touched_surely.push(self.touched_now(db, key, Cause::Command, false));
        }
    }

    /// This key was changed, by no command.
    #[cold]
    pub fn touch_surely(&mut self, db: DbIndex, key: &[u8]) {
        if self.readers.touches {
            self.touched_surely.push(self.touched_now(db, key, Cause::Itself, false));
        }
    }

    /// Its whole database was emptied, or changed its place: who watches this key has to know.
    pub(crate) fn touch_watched(&mut self, db: DbIndex, key: &[u8]) {
        self.touched_surely.push(self.touched_now(db, key, Cause::Database, false));
    }

    /// Something went because its time had come, and this server removed it.
    pub fn gone(&mut self, db: DbIndex, expired: &Expired<'_>) {
        match expired {
            Expired::Key(removed) => self.expired(db, removed.key()),
            Expired::Field { key, field } => self.push(db, &[b"HDEL", key, field]),
            Expired::Fields { key, .. } => {
                self.notify(EventClass::HASH, "hexpired", db, key);
                self.touch_surely(db, key);
            }
            Expired::Hash { removed, .. } => {
                // Without an effect of its own: the last HDEL has removed it elsewhere too.
                self.notify(EventClass::HASH, "hexpired", db, removed.key());
                self.notify(EventClass::GENERIC, "del", db, removed.key());
                self.touch_surely(db, removed.key());
            }
        }
    }

    /// Whether clients are blocked on any key.
    #[inline]
    pub fn has_waiters(&self) -> bool {
        self.readers.waiters
    }

    /// Clients that are blocked on this key may find something now.
    #[inline]
    pub fn signal(&mut self, db: DbIndex, key: &[u8]) {
        if self.readers.waiters {
            self.ready.add(db, key);
        }
    }

    /// The same for every key of a database.
    pub(crate) fn signal_database(&mut self, db: DbIndex) {
        if self.readers.waiters {
            self.ready.add_database(db);
        }
    }

    fn push(&mut self, db: DbIndex, args: &[&[u8]]) {
        if self.wanted() {
            self.list.push(db, args);
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
        if !self.touched.is_empty() {
            if changed {
                self.touched_surely.append(&mut self.touched);
            }
            self.touched.clear();
        }
    }

    /// Whether messages were published that are still to be delivered.
    #[inline]
    pub fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Whether there is anything to [tell](crate::telling::Telling).
    #[inline]
    pub fn has_news(&self) -> bool {
        !self.touched_surely.is_empty() || !self.events.is_empty() || !self.own_invalidations.is_empty()
    }

    /// Takes out what is to be told. Give the memory [back](Self::recycle).
    pub(crate) fn take_news(&mut self) -> News {
        self.events_before = 0;
        News { touched: std::mem::take(&mut self.touched_surely), events: std::mem::take(&mut self.events) }
    }

    pub(crate) fn recycle(&mut self, mut news: News) {
        news.touched.clear();
        news.events.clear();
        self.touched_surely = news.touched;
        self.events = news.events;
    }

    /// Marks the clients that watch what was changed, of which the others are told later.
    pub(crate) fn mark_watchers(&self, watches: &Watches) {
        self.touched_surely.iter().for_each(|touched| touched.tell(watches));
    }

    /// What follows, up to [`end_transaction`](Self::end_transaction), is one unit.
    pub fn begin_transaction(&mut self) {
        self.in_transaction = true;
    }

    pub fn end_transaction(&mut self) {
        self.in_transaction = false;
        self.close_unit();
    }

    /// The handler will run again, on the wide side. The keys that it found expired are gone all the same; what it missed, it will
    /// miss again.
    pub fn end_for_wide(&mut self) {
        self.touched.clear();
        let mut index = 0;
        self.events.retain(|event| {
            index += 1;
            index <= self.events_before || event.class != EventClass::KEY_MISS
        });
    }

    /// What was recorded since the last call belongs together.
    #[inline]
    pub fn close_unit(&mut self) {
        if !self.in_transaction && self.list.len() > self.unit_ends.last().copied().unwrap_or(0) {
            self.unit_ends.push(self.list.len());
        }
    }

    /// The effects that were recorded, unit by unit.
    pub fn units(&self) -> impl Iterator<Item = Unit<'_>> {
        let firsts = std::iter::once(0).chain(self.unit_ends.iter().copied());
        firsts.zip(&self.unit_ends).map(|(first, &end)| Unit { list: &self.list, first, end })
    }

    /// Whether there are any.
    #[inline]
    pub fn has_units(&self) -> bool {
        !self.unit_ends.is_empty()
    }

    /// The events that were recorded, and not read yet.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The keys that were signalled since the last call.
    #[inline]
    pub fn take_ready(&mut self) -> Ready {
        std::mem::take(&mut self.ready)
    }

    /// All was read.
    #[inline]
    pub fn clear(&mut self) {
        if self.list.len() > 0 || !self.events.is_empty() {
            self.list.clear();
            self.unit_ends.clear();
            self.events.clear();
            self.events_before = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rig, effects, events};

    #[test]
    fn a_command_that_changes_nothing_has_no_effect() {
        effects(&[
            ("SET a 1 XX", ""),
            ("GET a", ""),
            ("sEt a 1", "sEt a 1"),
            ("SET a 2 NX", ""),
            ("INCR", ""),
            ("GETSET a 2", "SET a 2"),
            ("GETDEL a", "DEL a"),
            ("GETDEL a", ""),
            ("MSET a 1 b 2", "MSET a 1 b 2"),
            ("DEBUG POPULATE 3", ""),
            ("SELECT 1", ""),
            ("FLUSHDB", "[1] FLUSHDB"),
            ("SWAPDB 0 1", "[1] SWAPDB 0 1"),
        ]);
    }

    #[test]
    fn what_expires_does_so_everywhere_at_the_same_instant() {
        effects(&[
            ("SET a 1 EX 100", "SET a 1 PXAT 1700000100000"),
            ("SET a 1 PX 5 GET NX", ""),
            ("SET a 2 KEEPTTL GET", "SET a 2 KEEPTTL"),
            ("set a 2 pxat 1700000100000 get", "set a 2 pxat 1700000100000 get"),
            ("SETEX a 100 get", "SET a get PXAT 1700000100000"),
            ("PSETEX a 100 get", "SET a get PXAT 1700000000100"),
            ("expire a 10 gt", "PEXPIREAT a 1700000010000 gt"),
            ("EXPIRE a 10 NX", ""),
            ("EXPIREAT a 1700000010", "PEXPIREAT a 1700000010000"),
            ("pexpireat a 1700000010001", "pexpireat a 1700000010001"),
            ("GETEX a", ""),
            ("GETEX a EX 1", "PEXPIREAT a 1700000001000"),
            ("GETEX a PERSIST", "PERSIST a"),
            ("GETEX a EXAT 1", "DEL a"),
            ("SET a 1", "SET a 1"),
            ("EXPIRE a -1", "DEL a"),
            ("MSETEX 2 a EX b EX NX EX 1", "MSETEX 2 a EX b EX NX PXAT 1700000001000"),
            ("MSETEX 1 a 1 EX 1 EX 2 XX", "MSETEX 1 a 1 PXAT 1700000002000 XX"),
            ("MSETEX 1 a 1 KEEPTTL", "MSETEX 1 a 1 KEEPTTL"),
            ("INCRBYFLOAT a 0.1", "SET a 1.1 KEEPTTL"),
        ]);
    }

    #[test]
    fn conditions_on_the_value_hold_here_and_are_not_asked_elsewhere() {
        effects(&[
            ("SET a get", "SET a get"),
            ("SET a get IFEQ get GET", "SET a get IFEQ get"),
            ("SET a 1 IFEQ get EX 1", "SET a 1 PXAT 1700000001000"),
            ("DELIFEQ a 2", ""),
            ("DELIFEQ a 1", "DEL a"),
        ]);
    }

    #[test]
    fn events_in_redis_order() {
        events(&[
            ("GET a", "keymiss a"),
            ("OBJECT ENCODING a", ""),
            ("SET a 1 EX 100", "new a, set a, expire a"),
            ("MSETNX b 1 b 2", "new b, set b, overwritten b, set b"),
            ("INCRBYFLOAT a 1", "incrbyfloat a"),
            ("GETSET c 1", "keymiss c, new c, set c"),
            ("RENAME a b", "new b, rename_from a, rename_to b, overwritten b"),
            ("COPY b c REPLACE", "new c, copy_to c, overwritten c"),
            ("COPY b c DB 1", "[1] new c, [1] copy_to c"),
            ("MOVE b 1", "[1] new b, move_from b, [1] move_to b"),
            ("DEL c c b", "del c"),
            ("APPEND a 1", "new a, append a"),
            ("EXPIRE a 100", "expire a"),
            ("PERSIST a", "persist a"),
            ("PERSIST a", ""),
            ("EXPIRE a 0", "del a"),
        ]);
    }

    #[test]
    fn expired_keys_leave_first() {
        let mut rig = Rig::recording();
        for (verb, unlink_expired) in [("DEL", false), ("UNLINK", true)] {
            rig.readers.unlink_expired = unlink_expired;
            rig.script(&[("MSET a 1 b 1 c 1", "+OK"), ("PEXPIRE a 1", ":1"), ("PEXPIRE b 1", ":1")]);
            rig.now.0 += 2;
            rig.effects.clear();
            rig.script(&[("SET a 2", "+OK"), ("GET b", "$-1"), ("GET c", "$1 1")]);
            let recorded: Vec<&'static str> = rig.effects.events().iter().map(|event| event.name).collect();
            assert_eq!(recorded, ["expired", "new", "set", "expired", "keymiss"]);
            assert_eq!(rig.take_effects(), format!("{verb} a; SET a 2 | {verb} b"));
        }
    }

    #[test]
    fn the_wide_side_does_not_tell_again_what_the_narrow_side_missed() {
        let mut effects = Effects::default();
        effects.serve(Readers {
            journal: true,
            events: EventClass::all(),
            unlink_expired: false,
            waiters: false,
            touches: false,
        });
        effects.begin(DbIndex(0));
        effects.expired(DbIndex(0), b"gone");
        effects.notify(EventClass::KEY_MISS, "keymiss", DbIndex(0), b"gone");
        effects.end_for_wide();
        effects.close_unit();
        effects.begin(DbIndex(0));
        effects.notify(EventClass::KEY_MISS, "keymiss", DbIndex(0), b"gone");
        effects.end(&[b"SET", b"gone", b"1"], true);
        effects.close_unit();
        assert_eq!(effects.units().map(|unit| unit.iter().len()).collect::<Vec<_>>(), [1, 1]);
        let names: Vec<&str> = effects.events().iter().map(|event| event.name).collect();
        assert_eq!(names, ["expired", "keymiss"]);
    }

    #[test]
    fn nothing_is_recorded_for_nobody() {
        let mut rig = Rig::new();
        rig.script(&[("SET a 1", "+OK"), ("GET b", "$-1"), ("DEL a", ":1")]);
        assert_eq!((rig.take_effects(), rig.take_events()), (String::new(), String::new()));
    }
}

//! What one thread would do: the sequential specification.
//!
//! Two things are not a function of the order alone:
//! - *A key near its time.* It may go at any moment from then on, and then it is gone for everybody: an operation on
//!   it branches into "still there" and "gone", as far as the time between its sending and its answer allows.
//! - *The end of a pause by time.* A write under CLIENT PAUSE is impossible in the model unless its answer came late
//!   enough.

use crate::{
    collection::Collections,
    history::Event,
    operation::{Condition, DATABASES, Datum, Deadline, KEYS, Key, Operation, Reply},
};

/// Clocks are read in whole milliseconds, on both sides.
const CLOCK_SLACK_MS: u64 = 1;

/// When a key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expiry {
    Never,
    /// Not within this run.
    Far,
    /// Milliseconds of Unix time.
    At(u64),
}

/// A key that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub datum: Datum,
    pub expiry: Expiry,
}

impl Entry {
    fn lasting(datum: Datum) -> Entry {
        Entry { datum, expiry: Expiry::Never }
    }
}

/// A key that a connection watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Watched {
    pub connection: u8,
    pub key: Key,
    /// It was changed: the connection's next EXEC does nothing.
    pub touched: bool,
}

/// The whole state. Operations on several keys make it impossible to check key by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub databases: [[Option<Entry>; KEYS]; DATABASES],
    /// The earliest moment at which a pause can be over by itself, in milliseconds of Unix time; 0 without a pause.
    pub paused_until: u64,
    /// Who watches what. In database 0.
    pub watches: Vec<Watched>,
    /// In database 0; `None` in the mixes without.
    pub collections: Option<Box<Collections>>,
}

impl State {
    /// The states that can follow when this event's operation takes effect now and gives the reply that it got.
    pub fn successors(&self, event: &Event, out: &mut Vec<State>) {
        if event.operation.is_write() && self.paused_until > event.completed_ms() + CLOCK_SLACK_MS {
            return;
        }
        self.expire(event, 0, out);
    }

    /// Branches on the keys from `first` on whose time may have come, then applies the operation.
    fn expire(&self, event: &Event, first: usize, out: &mut Vec<State>) {
        for index in first..KEYS * DATABASES {
            let (database, key) = (index / KEYS, index % KEYS);
            let Some(Entry { expiry: Expiry::At(at), .. }) = self.databases[database][key] else { continue };
            if !event.concerns(database, Key(key as u8)) {
                continue;
            }
            if event.completed_ms() + CLOCK_SLACK_MS >= at {
                let mut gone = self.clone();
                gone.databases[database][key] = None;
                gone.expire(event, index + 1, out);
            }
            if event.invoked_ms() > at + CLOCK_SLACK_MS {
                // It cannot have been there any more.
                return;
            }
        }
        let mut next = self.clone();
        if next.apply(event) == event.reply {
            out.push(next);
        }
    }

    /// Does it, and says what the reply is.
    pub fn apply(&mut self, event: &Event) -> Reply {
        self.do_one(event, &event.operation)
    }

    /// The same for an operation of this event, and marks who watches what it has changed.
    fn do_one(&mut self, event: &Event, operation: &Operation) -> Reply {
        if self.watches.is_empty() {
            return self.change(event, operation);
        }
        let before = self.databases[0];
        let reply = self.change(event, operation);
        for watched in &mut self.watches {
            let index = watched.key.index();
            // A script may write what is there already.
            let written = matches!(operation, Operation::Hand { to, .. } if *to == watched.key);
            watched.touched |= written || before[index] != self.databases[0][index];
        }
        reply
    }

    fn change(&mut self, event: &Event, operation: &Operation) -> Reply {
        let database = event.database;
        let other = 1 - database;
        let own = &mut self.databases[database];
        match operation {
            Operation::Get(key) => reply(own[key.index()]),
            Operation::Set { key, datum, condition, keep_ttl, get } => {
                let slot = &mut own[key.index()];
                let old = *slot;
                let takes_effect = match condition {
                    Condition::Always => true,
                    Condition::IfAbsent => old.is_none(),
                    Condition::IfPresent => old.is_some(),
                };
                if takes_effect {
                    let expiry = old.filter(|_| *keep_ttl).map_or(Expiry::Never, |old| old.expiry);
                    *slot = Some(Entry { datum: *datum, expiry });
                }
                match (get, takes_effect) {
                    (true, _) => reply(old),
                    (false, true) => Reply::Ok,
                    (false, false) => Reply::Nil,
                }
            }
            Operation::GetDel(key) => reply(own[key.index()].take()),
            Operation::IncrBy(key, by) => {
                let entry = own[key.index()].get_or_insert(Entry::lasting(Datum::Number(0)));
                match &mut entry.datum {
                    Datum::Token(_) => Reply::NotAnInteger,
                    Datum::Number(number) => {
                        *number += by;
                        Reply::Integer(*number)
                    }
                }
            }
            Operation::Delete { keys, .. } => count(keys.iter().filter(|key| own[key.index()].take().is_some())),
            Operation::Exists(keys) => count(keys.iter().filter(|key| own[key.index()].is_some())),
            Operation::MGet { keys, .. } => {
                Reply::Many(keys.iter().map(|key| own[key.index()].map(|entry| entry.datum)).collect())
            }
            Operation::MSet { pairs, .. } => {
                for (key, datum) in pairs {
                    own[key.index()] = Some(Entry::lasting(*datum));
                }
                Reply::Ok
            }
            Operation::MSetNx(pairs) => {
                if pairs.iter().any(|(key, _)| own[key.index()].is_some()) {
                    return Reply::Integer(0);
                }
                for (key, datum) in pairs {
                    own[key.index()] = Some(Entry::lasting(*datum));
                }
                Reply::Integer(1)
            }
            Operation::Rename { from, to, only_if_absent } => {
                if own[from.index()].is_none() {
                    return Reply::NoSuchKey;
                }
                if *only_if_absent && own[to.index()].is_some() {
                    return Reply::Integer(0);
                }
                own[to.index()] = own[from.index()].take();
                if *only_if_absent { Reply::Integer(1) } else { Reply::Ok }
            }
            Operation::Copy { from, to, replace } => {
                let may = own[from.index()].is_some() && (*replace || own[to.index()].is_none());
                if may {
                    own[to.index()] = own[from.index()];
                }
                Reply::Integer(may.into())
            }
            Operation::Move(key) => {
                let index = key.index();
                let may = own[index].is_some() && self.databases[other][index].is_none();
                if may {
                    self.databases[other][index] = self.databases[database][index].take();
                }
                Reply::Integer(may.into())
            }
            Operation::Expire { key, deadline, .. } => {
                let slot = &mut own[key.index()];
                let Some(entry) = slot else { return Reply::Integer(0) };
                match deadline {
                    Deadline::Past => *slot = None,
                    Deadline::Far => entry.expiry = Expiry::Far,
                    Deadline::At(at) => entry.expiry = Expiry::At(*at),
                    Deadline::Soon(_) => unreachable!("the recorder has put a time in its place"),
                }
                Reply::Integer(1)
            }
            Operation::Persist(key) => match &mut own[key.index()] {
                Some(entry) if entry.expiry != Expiry::Never => {
                    entry.expiry = Expiry::Never;
                    Reply::Integer(1)
                }
                _ => Reply::Integer(0),
            },
            Operation::Ttl(key) => match own[key.index()] {
                None => Reply::Integer(-2),
                Some(Entry { expiry: Expiry::Never, .. }) => Reply::Integer(-1),
                Some(_) => Reply::TimeToLive,
            },
            Operation::SwapDb => {
                self.databases.swap(0, 1);
                Reply::Ok
            }
            Operation::FlushAll => {
                self.databases = Default::default();
                Reply::Ok
            }
            Operation::FlushDb => {
                *own = Default::default();
                Reply::Ok
            }
            Operation::DbSize => count(own.iter().flatten()),
            Operation::Keys => {
                Reply::KeySet(Key::all().filter(|key| own[key.index()].is_some()).map(|key| 1 << key.0).sum())
            }
            Operation::Pause(milliseconds) => {
                // The server counts from when it did it, which was not before it was sent.
                self.paused_until = self.paused_until.max(event.invoked_ms() + u64::from(*milliseconds));
                Reply::Ok
            }
            Operation::Unpause => {
                self.paused_until = 0;
                Reply::Ok
            }
            Operation::Watch { connection, key } => {
                self.watches.push(Watched { connection: *connection, key: *key, touched: false });
                // In one order, whoever came first: what is the same is found to be so.
                self.watches.sort_unstable_by_key(|watched| (watched.connection, watched.key.0));
                Reply::Ok
            }
            Operation::Transaction { connection, operations } => {
                let is_own = |watched: &Watched| watched.connection == *connection;
                let touched = self.watches.iter().any(|watched| is_own(watched) && watched.touched);
                self.watches.retain(|watched| !is_own(watched));
                if touched {
                    return Reply::Nil;
                }
                Reply::Each(operations.iter().map(|operation| self.do_one(event, operation)).collect())
            }
            Operation::Hand { from, to, fresh: [first, second] } => {
                let held = [own[from.index()], own[to.index()]].map(|entry| entry.map(|entry| entry.datum));
                own[to.index()] = Some(Entry::lasting(held[0].unwrap_or(*second)));
                own[from.index()] = Some(Entry::lasting(*first));
                Reply::Many(held.to_vec())
            }
            Operation::Collection(act) => Reply::Said(self.collections.get_or_insert_default().apply(act)),
        }
    }
}

impl Key {
    fn index(self) -> usize {
        usize::from(self.0)
    }
}

fn reply(entry: Option<Entry>) -> Reply {
    entry.map_or(Reply::Nil, |entry| Reply::Datum(entry.datum))
}

fn count<T>(items: impl Iterator<Item = T>) -> Reply {
    Reply::Integer(items.count() as i64)
}

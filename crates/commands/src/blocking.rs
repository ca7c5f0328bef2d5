//! Commands that wait for a key: BLPOP, BZMPOP, XREAD and their kin.
//!
//! ```text
//!   handler finds nothing ── cx.block() ──> Stop::Wide (narrow side)  ──> runs again wide
//!                                      ──> timeout reply (MULTI, scripts: nobody may wait there)
//!                                      ──> Stop::Block ──> Waiters::add                    ┐ one wide access: nothing can be
//!                                                                                          ┘ pushed in between
//!   a wide command signals a key ──> serve(): the handlers of its waiters run again, in order of arrival
//!        handler replies or fails ──> the waiter is taken out, Host::unblock delivers
//!        handler blocks again     ──> it keeps its place
//!   timeout, CLIENT UNBLOCK, CLIENT KILL, end of the connection ──> Waiters::take (wide)
//! ```
//!
//! Everything that concerns waiters happens on the wide side, so that a waiter is claimed by exactly one of those. What a narrow
//! command does, when there is anybody waiting at all, is to look whether its keys are waited for ([`Waiters::concern`]), and to
//! run wide if so.
//!
//! *Why does the handler run again, rather than being handed the element?* It is the one place that knows what the command does:
//! which end of which list, into which destination, what is propagated. Redis 8.2 does so too, and it shows: a client that waits for
//! two keys gets WRONGTYPE when the second wakes it and the first has become something else meanwhile.

use std::ops::Range;
use std::time::Duration;

use keyspace::{DbIndex, Key};
use resp::Reply;
use resp::long_double::LongDouble;

use crate::context::{Ctx, Outcome, Reach};
use crate::error::Stop;

/// What a blocked command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOn {
    List,
    SortedSet,
    Stream,
    /// A stream with a consumer group: the client is also woken when the key goes or becomes something else.
    StreamGroup,
}

/// A command that cannot go on yet.
#[derive(Clone, Debug)]
pub struct Block {
    pub on: BlockOn,
    /// Which arguments are the keys it waits for.
    pub keys: Range<usize>,
    /// `None`: for ever.
    pub timeout: Option<Duration>,
    /// What the client gets when the time is over, or where nobody may wait.
    pub on_timeout: fn(&mut Reply),
    /// The arguments for when it runs again, if they differ (XREAD's `$` means "from now", not "from then").
    pub args: Option<Vec<Vec<u8>>>,
}

impl Ctx<'_> {
    /// Makes the client wait, when its command has found nothing and has changed nothing: `return cx.block(…)`.
    ///
    /// # Errors
    /// `Stop::Wide` on the narrow side, `Stop::Block` on the wide one. `Ok` where nobody may wait: the timeout reply is written.
    #[cold]
    pub fn block(&mut self, block: Block) -> Outcome {
        if !self.may_block {
            (block.on_timeout)(self.reply);
            return Ok(());
        }
        match self.reach {
            Reach::Narrow(_) => Err(Stop::Wide),
            Reach::Wide(_) => Err(Stop::Block(Box::new(block))),
        }
    }

    /// Argument `index` as a timeout in seconds, with fractions; 0 is for ever.
    ///
    /// # Errors
    /// As Redis: no number, negative, or beyond what a clock in milliseconds can show.
    pub fn timeout_seconds(&self, index: usize) -> Result<Option<Duration>, Stop> {
        let seconds = LongDouble::parse(self.args[index]).map(LongDouble::to_f64);
        let Some(seconds) = seconds else {
            return self.fail("ERR timeout is not a float or out of range");
        };
        // Rounded up: a tenth of a millisecond is no eternity.
        let ms = (seconds * 1000.0).ceil();
        if ms > i64::MAX as f64 {
            return self.fail("ERR timeout is out of range");
        }
        self.timeout_of(ms as i64)
    }

    /// Argument `index` as a timeout in milliseconds; 0 is for ever.
    ///
    /// # Errors
    /// As Redis: no integer, negative, or beyond what a clock in milliseconds can show.
    pub fn timeout_ms(&self, index: usize) -> Result<Option<Duration>, Stop> {
        match resp::number::parse_i64(self.args[index]) {
            Some(ms) => self.timeout_of(ms),
            None => self.fail("ERR timeout is not an integer or out of range"),
        }
    }

    fn timeout_of(&self, ms: i64) -> Result<Option<Duration>, Stop> {
        match ms {
            ..0 => self.fail("ERR timeout is negative"),
            0 => Ok(None),
            _ if self.db.now.0.checked_add(ms).is_none() => self.fail("ERR timeout is out of range"),
            _ => Ok(Some(Duration::from_millis(ms as u64))),
        }
    }
}

/// The keys that one access has made ready, in order. Empty and free of cost while nobody waits.
#[derive(Debug, Default)]
pub struct Ready {
    /// Somebody waits for something.
    watching: bool,
    keys: Vec<(DbIndex, Box<[u8]>)>,
    /// Databases of which anything may have changed.
    databases: Vec<DbIndex>,
}

impl Ready {
    /// Collects only if `watching`.
    pub fn new(watching: bool) -> Ready {
        Ready { watching, ..Ready::default() }
    }

    #[inline]
    pub fn signal(&mut self, db: DbIndex, key: Key<'_>) {
        if self.watching {
            self.add(db, key.bytes());
        }
    }

    #[cold]
    fn add(&mut self, db: DbIndex, key: &[u8]) {
        // A script may write one key a thousand times.
        if self.keys.last().is_none_or(|(last_db, last)| (*last_db, &**last) != (db, key)) {
            self.keys.push((db, key.into()));
        }
    }

    /// All keys of a database: SWAPDB and FLUSHDB.
    pub fn signal_database(&mut self, db: DbIndex) {
        if self.watching {
            self.databases.push(db);
        }
    }
}

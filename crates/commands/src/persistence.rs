//! What commands ask of the part of the server that keeps the data on disk.

use keyspace::Space;

use crate::error::Error;
use crate::global::Global;

/// The world, to whoever is alone in it.
pub struct Alone<'a, 's> {
    pub global: &'a mut Global,
    pub space: &'a mut Space<'s>,
}

/// What has become of a wish for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    Now,
    /// It begins when what is under way has ended.
    Scheduled,
}

/// How soon a snapshot is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Now,
    /// When nothing else is under way.
    Scheduled,
    /// Not in the middle of the transaction in execution, half of which would be in the snapshot.
    AfterTransaction,
}

/// What BGSAVE CANCEL has called off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    Running,
    Scheduled,
}

/// What DEBUG loads anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The file of a snapshot, which is saved before (`save`); what is there goes first (`flush`), or is kept beside, and
    /// replaced (`merge`) or not.
    Snapshot {
        save: bool,
        flush: bool,
        merge: bool,
    },
    AppendOnlyFile,
}

/// Snapshots and the journal. Errors are texts for the client.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait Persistence: Send + Sync {
    /// SAVE. The client, who waits ([`BlockOn::Job`](crate::blocking::BlockOn)), has its reply when the file is on disk.
    fn save(&self, alone: Alone<'_, '_>, client_id: u64) -> Result<(), Error>;
    /// BGSAVE.
    fn background_save(&self, alone: Alone<'_, '_>, wish: Wish) -> Result<Started, Error>;
    /// BGSAVE CANCEL.
    fn cancel_background_save(&self) -> Result<Cancelled, Error>;
    /// BGREWRITEAOF.
    fn rewrite(&self, alone: Alone<'_, '_>, wish: Wish) -> Result<Started, Error>;
    /// FLUSHALL was executed: as in Redis, a background save ends, and where there are save points the empty data set is saved. Whether the client
    /// waits for that, as for SAVE: else a crash could bring back what it was told is gone.
    fn flushed_all(&self, alone: Alone<'_, '_>, wish: Wish, client_id: u64) -> bool;
    /// DEBUG RELOAD and LOADAOF. The client waits, and everybody else with it.
    fn reload(&self, alone: Alone<'_, '_>, client_id: u64, reload: Reload) -> Result<(), Error>;
    /// Whether something cannot be written to disk: one load, for every command.
    fn is_failing(&self) -> bool;
    /// Why nothing may be changed now, if that is so.
    fn refusal(&self, global: &Global) -> Option<Error>;
    /// Whether there is an append-only file.
    fn is_journal_kept(&self) -> bool;
    /// How far the journal reaches, in bytes, and how far of that is safe on disk.
    fn journal_tail(&self) -> u64;
    fn journal_durable(&self) -> u64;
    /// Somebody waits until the journal is durable up to here.
    fn want_durable(&self, offset: u64);
}

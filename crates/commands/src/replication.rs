//! What commands ask of the part of the server that copies the data to other servers, and from one, and what is refused because of it.

use std::sync::Arc;

use keyspace::{DbIndex, Millis};
use replication::{
    Address, FailoverRequest, FailoverState, History, Log, Replconf, ReplicaReport, Sync, SyncRequest, UpstreamReport,
};

use crate::client::Client;
use crate::context::Ctx;
use crate::error::Error;
use crate::global::Role;
use crate::persistence::Alone;
use crate::registry::Command;
use crate::scripting;
use crate::spec::Flags;
use crate::transaction;

/// Replicas, and our primary. Errors are texts for the client.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait Replication: Send + std::marker::Sync {
    /// REPLICAOF: copies from there from now on, or (`None`) is a primary. False if that was so already.
    fn follow(&self, alone: Alone<'_, '_>, primary: Option<Address>) -> Result<bool, Error>;
    /// REPLCONF from a client; the words behind the name.
    fn replconf(&self, alone: Alone<'_, '_>, client: &Arc<Client>, words: &[&[u8]]) -> Replconf;
    /// SYNC, PSYNC. Unless it is refused the client's connection is a replica's from now on: its event loop gives it away behind the reply.
    fn sync(&self, alone: Alone<'_, '_>, client: &Arc<Client>, request: SyncRequest<'_>) -> Sync;
    /// The replicas, in the order in which they have come.
    fn replicas(&self) -> Vec<ReplicaReport>;
    /// How many of them follow closely enough for `min-replicas-to-write`.
    fn good_replicas(&self) -> usize;
    /// Our primary, if we have one.
    fn upstream(&self) -> Option<UpstreamReport>;
    /// Which stream the data belongs to.
    fn history(&self) -> History;
    /// What of the stream is kept for replicas that come back.
    fn log(&self) -> Log;
    /// The end of the stream of replication: Redis's `master_repl_offset`.
    fn offset(&self) -> u64;
    fn figures(&self) -> Figures;
    /// How many replicas have the stream up to this offset; and how many have it on disk.
    fn acknowledged(&self, offset: u64) -> usize;
    fn acknowledged_on_disk(&self, offset: u64) -> usize;
    /// Somebody waits for acknowledgements: replicas are asked for them, and whoever hears of one calls
    /// [`serve_safe`](crate::blocking::serve_safe).
    fn want_acknowledged(&self);
    /// FAILOVER, FAILOVER ABORT.
    fn failover(&self, alone: Alone<'_, '_>, request: FailoverRequest) -> Result<(), Error>;
    fn abort_failover(&self, alone: Alone<'_, '_>) -> Result<(), Error>;
    fn failover_state(&self) -> FailoverState;
    /// DEBUG CHANGE-REPL-ID.
    fn change_id(&self, alone: Alone<'_, '_>);
    /// Whether so few replicas follow closely that writes are refused (`min-replicas-to-write`): one load. Never so on a replica.
    fn lacks_replicas(&self) -> bool;
    /// Whether the link to our primary is down, so that the data is stale: one load. Never so on a primary.
    fn is_stale(&self) -> bool;
    /// A client has given a key this expiry on a replica, whose primary will not remove it.
    fn note_own_expiry(&self, db: DbIndex, key: &[u8], at: Millis);
}

/// Counters since the start, and sizes, for INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// What replicas have got who asked for the stream: a snapshot, or its continuation, or a snapshot where they had asked for that.
    pub full_syncs: u64,
    pub partial_syncs: u64,
    pub partial_syncs_refused: u64,
    /// Snapshots on second connections whose replicas have not asked for the stream yet.
    pub waiting_for_first: usize,
    /// From our primary, and to replicas.
    pub input_bytes: u64,
    pub output_bytes: u64,
    /// Keys with an expiry that clients have written here, on a replica.
    pub own_keys: u64,
    /// Memory of the log that is kept for those who come back; of that and of what replicas are still to be sent, together.
    pub log_bytes: u64,
    pub buffer_bytes: u64,
    /// Memory of the replicas' links.
    pub links_bytes: u64,
    /// What has come from our primary during a full synchronisation and is still to be applied; and at most so far.
    pub arrears_bytes: u64,
    pub arrears_bytes_max: u64,
}

/// Why a command may not run on this primary, which lacks replicas, or on this replica. `is_begun`: half of a script is done already that must not be
/// refused the rest.
#[cold]
pub fn refusal(cx: &Ctx<'_>, command: &Command, args: &[&[u8]], in_script: bool, is_begun: bool) -> Option<Error> {
    let (may, all_may) = flags(cx, command, args);
    let is_replica = cx.global().role == Role::Replica;
    let host = cx.host.replication();
    if may.contains(Flags::WRITE) && !is_replica && !is_begun && host.lacks_replicas() {
        return Some(Error::text("NOREPLICAS Not enough good replicas to write."));
    }
    if !is_replica {
        return None;
    }
    let is_stale_to_it = !all_may.contains(Flags::STALE) && is_stale(cx);
    if in_script && is_stale_to_it {
        return Some(Error::text("ERR Can not execute the command on a stale replica"));
    }
    if may.contains(Flags::WRITE) && cx.global().settings.replica_read_only {
        return Some(Error::text("READONLY You can't write against a read only replica."));
    }
    is_stale_to_it.then(stale)
}

/// What this call may do; of EXEC, what any of the queued commands may do, and what all of them may do.
pub fn flags(cx: &Ctx<'_>, command: &Command, args: &[&[u8]]) -> (Flags, Flags) {
    let flags = scripting::flags_of_call(cx.global(), command, args);
    match &cx.session.transaction {
        Some(queued) if transaction::is_exec(command) => (flags | queued.flags(), flags & queued.common_flags()),
        _ => (flags, flags),
    }
}

/// Whether this is a replica that has lost its primary, and does not answer from what it has.
pub fn is_stale(cx: &Ctx<'_>) -> bool {
    let global = cx.global();
    global.role == Role::Replica && !global.settings.replica_serve_stale_data && cx.host.replication().is_stale()
}

pub fn stale() -> Error {
    Error::text("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    const READONLY: &str = "-READONLY You can't write against a read only replica.";
    const STALE: &str = "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    const NOREPLICAS: &str = "-NOREPLICAS Not enough good replicas to write.";

    /// Whether something is refused before its handler sees it shows in what the handler would say.
    fn check(rig: &mut Rig, steps: &[(&str, &str)]) {
        for (line, expected) in steps {
            let reply = rig.run(line);
            assert!(reply.starts_with(expected), "{line}: {reply}");
        }
    }

    #[test]
    fn a_replica_takes_no_writes() {
        let mut rig = Rig::new();
        check(&mut rig, &[("SET a 1", "+OK"), ("REPLICAOF 10.0.0.1 6379", "+OK")]);
        check(
            &mut rig,
            &[
                ("GET a", "$1 1"),
                ("SET a 2", READONLY),
                ("DEL b", READONLY),
                ("GETEX a", READONLY),
                ("BITFIELD a GET u8 0", READONLY),
                ("BITFIELD_RO a GET u8 0", "*1"),
                ("SORT a", READONLY),
                ("FLUSHALL", READONLY),
                ("SWAPDB 0 1", READONLY),
                ("PUBLISH a b", ":0"),
                ("FUNCTION FLUSH", READONLY),
                ("SCRIPT FLUSH", "+OK"),
                ("EVAL \"return redis.call('SET', 'a', 1)\" 0", READONLY),
                ("EVAL \"return redis.call('GET', 'a')\" 0", "$1 1"),
                ("EVAL \"#!lua\\nreturn 1\" 0", READONLY),
                ("EVAL \"#!lua flags=no-writes\\nreturn 1\" 0", ":1"),
                ("CONFIG SET replica-read-only no", "+OK"),
                ("SET a 3", "+OK"),
                ("MULTI", "+OK"),
                ("SET a 4", "+QUEUED"),
            ],
        );
        rig.client(2).script(&[("CONFIG SET replica-read-only yes", "+OK")]);
        let abort = format!("-EXECABORT Transaction discarded because of: {}", &READONLY[1..]);
        check(rig.client(1), &[("EXEC", &abort), ("GET a", "$1 3")]);
        check(&mut rig, &[("MULTI", "+OK"), ("SET a 1", READONLY), ("GET a", "+QUEUED"), ("EXEC", "-EXECABORT ")]);
    }

    #[test]
    fn a_replica_without_its_primary_may_keep_silent() {
        let mut rig = Rig::new();
        rig.script(&[("SET a 1", "+OK"), ("REPLICAOF 10.0.0.1 6379", "+OK")]);
        rig.host.replication.lock().is_stale = true;
        check(
            &mut rig,
            &[
                ("GET a", "$1 1"),
                ("CONFIG SET replica-serve-stale-data no", "+OK"),
                ("GET a", STALE),
                ("SET a 1", READONLY),
                ("PING", STALE),
                ("WAIT 0 0", STALE),
                ("PSYNC ? -1", STALE),
                ("DBSIZE", STALE),
                ("FUNCTION LIST", STALE),
                ("ROLE", "*5"),
                ("REPLCONF", "+OK"),
                ("PUBLISH a b", ":0"),
                ("ECHO x", "$1 x"),
                ("WATCH a", "+OK"),
                ("FAILOVER", "-ERR FAILOVER is not valid"),
                ("FCALL f 0", "-ERR Function not found"),
                ("EVAL \"return 1\" 0", STALE),
                ("EVAL_RO \"return 1\" 0", STALE),
                ("EVAL \"#!lua\\nreturn 1\" 0", READONLY),
                ("EVAL \"#!lua flags=allow-stale\\nreturn 1\" 0", READONLY),
                ("EVAL \"#!lua flags=no-writes\\nreturn 1\" 0", STALE),
                ("EVAL \"#!lua flags=allow-stale,no-writes\\nreturn 1\" 0", ":1"),
                (
                    "EVAL \"#!lua flags=allow-stale,no-writes\\nreturn redis.call('GET', 'a')\" 0",
                    "-ERR Can not execute the command on a stale replica script: ",
                ),
                ("EVAL \"#!lua flags=allow-stale,no-writes\\nreturn redis.call('ECHO', 'a')\" 0", "$1 a"),
                ("MULTI", "+OK"),
                ("EVAL \"return 1\" 0", "+QUEUED"),
                ("ECHO 1", "+QUEUED"),
                ("EXEC", "*2 -MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'. $1 1"),
                ("CONFIG SET replica-serve-stale-data yes", "+OK"),
                ("MULTI", "+OK"),
                ("GET a", "+QUEUED"),
            ],
        );
        rig.client(2).script(&[("CONFIG SET replica-serve-stale-data no", "+OK")]);
        let abort = format!("-EXECABORT Transaction discarded because of: {}", &STALE[1..]);
        check(rig.client(1), &[("EXEC", &abort)]);
    }

    #[test]
    fn a_primary_without_replicas_may_refuse_writes() {
        let mut rig = Rig::new();
        rig.host.replication.lock().lacks_replicas = true;
        check(
            &mut rig,
            &[
                ("SET a 1", NOREPLICAS),
                ("GET a", "$-1"),
                ("FLUSHALL", NOREPLICAS),
                ("SORT a", NOREPLICAS),
                ("PUBLISH a b", ":0"),
                ("FUNCTION FLUSH", NOREPLICAS),
                ("SCRIPT FLUSH", "+OK"),
                ("EVAL \"return redis.call('SET', 'a', 1)\" 0", NOREPLICAS),
                ("EVAL \"#!lua\\nreturn 1\" 0", NOREPLICAS),
                ("EVAL \"#!lua flags=no-writes\\nreturn 1\" 0", ":1"),
                ("EVAL_RO \"return redis.call('GET', 'a')\" 0", "$-1"),
                ("MULTI", "+OK"),
                ("SET a 1", NOREPLICAS),
                ("EXEC", "-EXECABORT "),
                ("REPLICAOF 10.0.0.1 6379", "+OK"),
                ("SET a 1", READONLY),
            ],
        );
    }
}

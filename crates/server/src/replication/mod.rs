//! Replication: this server copies nobody, and nobody copies it.

use std::sync::Arc;

use commands::persistence::Alone;
use commands::replication::{Figures, Replication};
use commands::{Client, Error};
use replication::{
    Address, FailoverRequest, FailoverState, History, Log, Replconf, ReplicaReport, ReplicationId, Sync, SyncRequest,
    UpstreamReport,
};

use crate::shared::Shared;

const NOT_YET: &str = "ERR Replication is not there yet";

impl Replication for Shared {
    fn follow(&self, _alone: Alone<'_, '_>, primary: Option<Address>) -> Result<bool, Error> {
        if primary.is_some() { Err(Error::text(NOT_YET)) } else { Ok(false) }
    }

    fn replconf(&self, _alone: Alone<'_, '_>, _client: &Arc<Client>, _words: &[&[u8]]) -> Replconf {
        Replconf::Error(NOT_YET.to_owned())
    }

    fn sync(&self, _alone: Alone<'_, '_>, _client: &Arc<Client>, _request: SyncRequest<'_>) -> Sync {
        Sync::Refuse(NOT_YET.to_owned())
    }

    fn replicas(&self) -> Vec<ReplicaReport> {
        Vec::new()
    }

    fn good_replicas(&self) -> usize {
        0
    }

    fn upstream(&self) -> Option<UpstreamReport> {
        None
    }

    fn history(&self) -> History {
        History::new(ReplicationId::from_random([0; 20]))
    }

    fn log(&self) -> Log {
        Log { first: None, end: 0 }
    }

    fn offset(&self) -> u64 {
        0
    }

    fn figures(&self) -> Figures {
        Figures::default()
    }

    fn acknowledged(&self, _offset: u64) -> usize {
        0
    }

    fn acknowledged_on_disk(&self, _offset: u64) -> usize {
        0
    }

    fn want_acknowledged(&self) {}

    fn failover(&self, _alone: Alone<'_, '_>, _request: FailoverRequest) -> Result<(), Error> {
        Err(Error::text(NOT_YET))
    }

    fn abort_failover(&self, _alone: Alone<'_, '_>) -> Result<(), Error> {
        Err(Error::text(NOT_YET))
    }

    fn failover_state(&self) -> FailoverState {
        FailoverState::None
    }

    fn change_id(&self, _alone: Alone<'_, '_>) {}

    fn lacks_replicas(&self) -> bool {
        false
    }

    fn is_stale(&self) -> bool {
        false
    }
}

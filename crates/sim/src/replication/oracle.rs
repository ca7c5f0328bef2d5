//! What the world knows and no server does: which data every offset of every stream stands for.

use std::collections::HashMap;

use replication::{History, Log, ReplicationId};

use super::log::StreamLog;
use super::scenario::Stats;
use crate::NodeId;

/// What a server had when it asked to go on.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) history: History,
    pub(crate) log: Log,
    pub(crate) sum: u64,
    /// It hands its place over to whom it asks, ready or not.
    pub(crate) is_forced: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// The data's sum at an offset of a stream, and who said so first.
    claims: HashMap<(ReplicationId, u64), (u64, NodeId)>,
    /// What each server had when it last asked to go on.
    asked: HashMap<NodeId, Asked>,
    pub(crate) stats: Stats,
}

impl Oracle {
    /// `node` says that its data are those of this stream at this offset.
    ///
    /// # Panics
    ///
    /// If somebody else has said otherwise.
    pub(crate) fn claim(&mut self, node: NodeId, id: ReplicationId, offset: u64, sum: u64) {
        let (known, whose) = *self.claims.entry((id, offset)).or_insert((sum, node));
        assert_eq!(
            known, sum,
            "node {} and node {} both have stream {id} up to {offset}, and different data",
            whose.0, node.0
        );
    }

    pub(crate) fn asks(&mut self, node: NodeId, asked: Asked) {
        self.asked.insert(node, asked);
    }

    /// `node` has handed its place over to a server that has the stream up to `end`.
    ///
    /// # Panics
    ///
    /// If anything is lost by that, and nobody has said that it may.
    pub(crate) fn hands_over(&mut self, node: NodeId, end: u64) {
        self.stats.failovers += 1;
        let asked = &self.asked[&node];
        assert!(asked.is_forced || asked.log.end == end, "node {} fails over to one that has less", node.0);
    }

    /// A primary with this history and log has a snapshot for `node` instead of the rest.
    ///
    /// # Panics
    ///
    /// If they had an id in common, and the log reaches back far enough.
    pub(crate) fn refuses_part(&mut self, node: NodeId, history: &History, log: &StreamLog) {
        let Some(Asked { history: asked, log: has, sum, .. }) = self.asked.get(&node) else { return };
        let Some(first) = log.first() else { return };
        if has.first.is_none() || !(first..=log.end()).contains(&has.end) {
            return;
        }
        let second = asked.second.filter(|(_, until)| *until == has.end).map(|(id, _)| id);
        for id in [Some(asked.id), second].into_iter().flatten() {
            assert!(
                !history.shares(id, has.end),
                "node {} gets a snapshot although it has {asked:?} up to {}, of {history:?} in {log:?}",
                node.0,
                has.end
            );
        }
        self.stats.full_for_lack_of_ids += u64::from(log.sum_at(has.end) == Some(*sum));
    }
}

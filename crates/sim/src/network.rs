//! Connections: two pipes of bytes each, which keep the order, take time, and hold only so much on the way.

use std::collections::{BTreeMap, VecDeque};

use replication::Ms;

use crate::NodeId;

/// A connection, by a number that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One direction. What is in it arrives no earlier than the time beside it.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    pub(crate) on_the_way: VecDeque<(Ms, Vec<u8>)>,
    pub(crate) bytes: usize,
    /// The last arrival that was promised: nothing overtakes.
    pub(crate) last: Ms,
    /// The other end is closed from then on.
    pub(crate) ends_at: Option<Ms>,
    /// The sender was told that there is no room.
    pub(crate) is_full: bool,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) node: NodeId,
    /// Which of its lives: a node that was started anew knows nothing of its old connections.
    pub(crate) life: u64,
}

#[derive(Debug)]
pub(crate) struct Connection {
    /// Who opened it, and who accepted it.
    pub(crate) ends: [End; 2],
    /// From each end.
    pub(crate) pipes: [Pipe; 2],
    /// Whether the end still wants to hear of it.
    pub(crate) is_open: [bool; 2],
    pub(crate) is_established: bool,
}

impl Connection {
    /// Which end a node is.
    pub(crate) fn side(&self, node: NodeId) -> usize {
        usize::from(self.ends[0].node != node)
    }
}

/// Which nodes hear each other, and how fast.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) next: u64,
    /// Nothing passes between these two before then.
    held: BTreeMap<(NodeId, NodeId), Ms>,
    /// How long a byte is on its way.
    delays: BTreeMap<(NodeId, NodeId), (u64, u64)>,
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    if a < b { (a, b) } else { (b, a) }
}

impl Network {
    pub(crate) fn held_until(&self, a: NodeId, b: NodeId) -> Ms {
        self.held.get(&pair(a, b)).copied().unwrap_or_default()
    }

    pub(crate) fn hold(&mut self, a: NodeId, b: NodeId, until: Ms) {
        self.held.insert(pair(a, b), until);
    }

    /// Least and greatest delay between these two, in milliseconds.
    pub(crate) fn delay(&self, a: NodeId, b: NodeId) -> (u64, u64) {
        self.delays.get(&pair(a, b)).copied().unwrap_or((1, 3))
    }

    pub(crate) fn set_delay(&mut self, a: NodeId, b: NodeId, least: u64, greatest: u64) {
        self.delays.insert(pair(a, b), (least, greatest));
    }
}

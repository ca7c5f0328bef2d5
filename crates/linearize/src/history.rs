//! What was sent and answered, and when.

use std::fmt;

use crate::{
    collection::Act,
    operation::{Key, Operation, Reply},
};

/// One operation of one connection.
#[derive(Clone, Debug)]
pub struct Event {
    /// The database that the connection has selected.
    pub database: usize,
    pub operation: Operation,
    pub reply: Reply,
    /// Just before it was sent, and just after its reply was read, in nanoseconds of Unix time. It took effect in
    /// between.
    pub invoked_ns: u64,
    pub completed_ns: u64,
}

impl Event {
    pub fn invoked_ms(&self) -> u64 {
        self.invoked_ns / 1_000_000
    }

    pub fn completed_ms(&self) -> u64 {
        self.completed_ns / 1_000_000
    }

    /// Whether its outcome depends on this key of this database.
    pub fn concerns(&self, database: usize, key: Key) -> bool {
        let sees_both = matches!(self.operation, Operation::Move(_));
        (database == self.database || sees_both) && self.operation.touches(key)
    }

    /// Whether it certainly changed nothing. Leaving such an event out of a history never makes a right one wrong, so a
    /// wrong one that stays wrong without it is the better proof.
    pub fn changed_nothing(&self) -> bool {
        let refused = matches!(self.reply, Reply::NoSuchKey | Reply::NotAnInteger);
        // One half of a wait says nothing.
        if let Operation::Collection(Act::WaitBegins { .. } | Act::WaitEnds { .. }) = self.operation {
            return false;
        }
        let matters = matches!(self.operation, Operation::Pause(_) | Operation::Unpause | Operation::Watch { .. });
        let is_read = !self.operation.is_write() && !matters;
        is_read || refused
    }
}

/// A window: it begins and ends with nothing under way.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// For each connection its events, in the order in which it sent them, which is also the order of the replies.
    pub lanes: Vec<Vec<Event>>,
}

impl History {
    pub fn len(&self) -> usize {
        self.lanes.iter().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// All events in the order in which they were sent; times in microseconds from the first.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut events: Vec<(usize, &Event)> = self
            .lanes
            .iter()
            .enumerate()
            .flat_map(|(lane, events)| events.iter().map(move |event| (lane, event)))
            .collect();
        events.sort_by_key(|(_, event)| (event.invoked_ns, event.completed_ns));
        let start = events.first().map_or(0, |(_, event)| event.invoked_ns);
        writeln!(f, "  {:>9} {:>9}  connection", "sent", "answered")?;
        for (lane, event) in events {
            let micros = |ns: u64| (ns - start) as f64 / 1000.0;
            writeln!(
                f,
                "  {:>9.1} {:>9.1}  [{lane} db{}] {}  ->  {}",
                micros(event.invoked_ns),
                micros(event.completed_ns),
                event.database,
                event.operation,
                event.reply
            )?;
        }
        Ok(())
    }
}

//! What was refused: ACL LOG.

use std::collections::VecDeque;

/// Incidents of the same kind are counted together if they come within so much.
const GROUPING_MS: i64 = 60_000;
/// So many of the last entries are looked at for one of the same kind.
const GROUPING_ENTRIES: usize = 10;

/// What was not permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Auth,
    Command,
    Key,
    Channel,
    Database,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Auth => "auth",
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Database => "database",
        }
    }
}

/// Where it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    TopLevel,
    /// Queued in a transaction, or executed by it.
    Multi,
    Lua,
}

impl Context {
    pub fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
            Context::Lua => "lua",
        }
    }
}

/// Something that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    pub reason: Reason,
    pub context: Context,
    /// The command, key or channel.
    pub object: Vec<u8>,
    pub username: Vec<u8>,
    /// The client, as CLIENT INFO describes it.
    pub client_info: String,
}

/// One or several incidents of the same kind; of the client, the last one's.
#[derive(Clone, Debug)]
pub struct Entry {
    pub incident: Incident,
    pub count: u64,
    pub id: u64,
    /// Times in milliseconds since 1970.
    pub created_ms: i64,
    pub updated_ms: i64,
}

/// The last incidents, the latest first.
#[derive(Debug, Default)]
pub struct Log {
    entries: VecDeque<Entry>,
    next_id: u64,
}

impl Log {
    /// Notes an incident. A new entry makes the oldest beyond `entries_max` go; one that has an entry already leaves all there, as in Redis.
    pub fn add(&mut self, incident: Incident, now_ms: i64, entries_max: usize) {
        if entries_max == 0 {
            return self.clear();
        }
        let is_same = |entry: &Entry| {
            let other = &entry.incident;
            (other.reason, other.context) == (incident.reason, incident.context)
                && other.object == incident.object
                && other.username == incident.username
                && now_ms - entry.updated_ms <= GROUPING_MS
        };
        let entry = match self.entries.iter().take(GROUPING_ENTRIES).position(is_same) {
            Some(position) => {
                let mut entry = self.entries.remove(position).expect("it was found there");
                entry.incident.client_info = incident.client_info;
                entry.count += 1;
                entry.updated_ms = now_ms;
                entry
            }
            None => {
                let id = self.next_id;
                self.next_id += 1;
                self.entries.truncate(entries_max - 1);
                Entry { incident, count: 1, id, created_ms: now_ms, updated_ms: now_ms }
            }
        };
        self.entries.push_front(entry);
    }

    /// The latest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Forgets all; ids go on.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(object: &str) -> Incident {
        Incident {
            reason: Reason::Key,
            context: Context::TopLevel,
            object: object.into(),
            username: b"u".to_vec(),
            client_info: String::new(),
        }
    }

    fn shown(log: &Log) -> Vec<(u64, u64, String)> {
        log.iter()
            .map(|entry| (entry.id, entry.count, String::from_utf8_lossy(&entry.incident.object).into_owned()))
            .collect()
    }

    #[test]
    fn the_same_is_counted_for_a_minute() {
        let mut log = Log::default();
        log.add(incident("a"), 0, 128);
        log.add(incident("b"), 1, 128);
        log.add(incident("a"), 60_000, 128);
        assert_eq!(shown(&log), [(0, 2, "a".into()), (1, 1, "b".into())]);
        log.add(incident("b"), 60_002, 128);
        assert_eq!(shown(&log), [(2, 1, "b".into()), (0, 2, "a".into()), (1, 1, "b".into())]);
        log.clear();
        log.add(incident("a"), 60_003, 128);
        assert_eq!(shown(&log), [(3, 1, "a".into())]);
    }

    #[test]
    fn only_the_last_entries_are_compared_and_kept() {
        let mut log = Log::default();
        for object in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"] {
            log.add(incident(object), 0, 128);
        }
        log.add(incident("b"), 0, 128);
        log.add(incident("a"), 0, 128);
        assert_eq!(log.iter().len(), 12);
        assert_eq!(shown(&log)[..2], [(11, 1, "a".into()), (1, 2, "b".into())]);
        log.add(incident("a"), 0, 2);
        assert_eq!(log.iter().len(), 12, "what is counted makes nothing go");
        log.add(incident("z"), 0, 2);
        assert_eq!(shown(&log), [(12, 1, "z".into()), (11, 2, "a".into())]);
        log.add(incident("z"), 0, 0);
        assert_eq!(shown(&log), []);
    }
}

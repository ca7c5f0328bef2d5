//! The table of directives, one file for each idea. A row's comment is its documentation.
//!
//! To add a directive, add a row; `docs/configuration.md` is generated from here.

mod bounds;
mod checks;
mod clients;
mod cluster;
mod encodings;
mod memory;
mod network;
mod observation;
mod persistence;
mod process;
mod replication;
mod security;
mod tls;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::directive::{Directive, DirectiveId};

pub use checks::PROC_TITLE_VARIABLES;
pub use clients::*;
pub use cluster::*;
pub use encodings::*;
pub use memory::*;
pub use network::*;
pub use observation::*;
pub use persistence::*;
pub use process::*;
pub use replication::*;
pub use security::*;
pub use tls::*;

/// Directives that belong to one idea.
pub struct Group {
    pub title: &'static str,
    pub rows: &'static [Directive],
}

/// All groups, in the order of their positions.
pub static GROUPS: &[Group] = &[
    Group { title: "Network", rows: network::ROWS },
    Group { title: "Clients", rows: clients::ROWS },
    Group { title: "Security", rows: security::ROWS },
    Group { title: "Process, log and files", rows: process::ROWS },
    Group { title: "Memory and expiry", rows: memory::ROWS },
    Group { title: "Persistence", rows: persistence::ROWS },
    Group { title: "Replication", rows: replication::ROWS },
    Group { title: "Cluster", rows: cluster::ROWS },
    Group { title: "TLS", rows: tls::ROWS },
    Group { title: "Encodings of values", rows: encodings::ROWS },
    Group { title: "Observation and scripts", rows: observation::ROWS },
];

static TABLE: LazyLock<Vec<&'static Directive>> = LazyLock::new(|| {
    let table: Vec<&Directive> = GROUPS.iter().flat_map(|group| group.rows).collect();
    assert_eq!(table.len(), usize::from(observation::END), "GROUPS and the chain of positions disagree");
    table
});

/// Every name and alias, in lower case.
static BY_NAME: LazyLock<HashMap<&'static str, DirectiveId>> = LazyLock::new(|| {
    let mut by_name = HashMap::new();
    for (id, directive) in all() {
        for name in directive.names() {
            assert!(by_name.insert(name, id).is_none(), "two directives answer to '{name}'");
        }
    }
    by_name
});

/// Every directive with its id, in the order of the table.
pub fn all() -> impl Iterator<Item = (DirectiveId, &'static Directive)> {
    TABLE.iter().enumerate().map(|(position, directive)| (DirectiveId(position as u16), *directive))
}

/// The directive of that name or alias, in any case.
pub fn find(name: &[u8]) -> Option<DirectiveId> {
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    BY_NAME.get(name.as_str()).copied()
}

pub(crate) fn by_id(id: DirectiveId) -> &'static Directive {
    TABLE[id.index()]
}

#[cfg(test)]
pub(crate) fn check_every_key(values: &[crate::value::Value]) {
    network::check_every_key(values);
    clients::check_every_key(values);
    security::check_every_key(values);
    process::check_every_key(values);
    memory::check_every_key(values);
    persistence::check_every_key(values);
    replication::check_every_key(values);
    cluster::check_every_key(values);
    tls::check_every_key(values);
    encodings::check_every_key(values);
    observation::check_every_key(values);
}

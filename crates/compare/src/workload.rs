//! The workloads: a table has a depth and a question, a row of it is one command.
//!
//! To measure a new command, add a row. `fill` is a template that runs once for every key number below `keys` before the first
//! round; `request` is the template that is measured, with key numbers drawn at random below `keys` (templates: [`crate::request`]).
//! A reply that is an error or null ends the comparison, so a row must be right for every server; give a later row a `fill` that makes it so.

/// What is compared within a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contest {
    /// Spinel against the best real server, each on one core with one event loop.
    Peers,
    /// Spinel with two event loops against Spinel with one, both free to use two cores.
    EventLoops,
}

/// The part of the CPU time that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// For depth 1, where the kernel's share is the same for everybody and drowns the rest.
    User,
    Total,
}

pub struct Table {
    pub name: &'static str,
    pub title: &'static str,
    pub contest: Contest,
    /// Requests in flight on each connection.
    pub depth: usize,
    pub part: Part,
    /// Bound for the system calls a request; they are counted where there is one.
    pub syscalls_max: Option<f64>,
    pub rows: &'static [Row],
}

pub struct Row {
    pub name: &'static str,
    pub fill: Option<&'static str>,
    pub request: &'static str,
    pub keys: u64,
    /// Bound for the ratio to the best rival; `None` for rows that are only to be seen.
    pub ratio_max: Option<f64>,
}

/// The number in the key is what varies; keys of 16 bytes and values of 32 are common sizes that fit every peer's small allocations.
const FILL: &str = "SET key:{n:12} {v:32}";
const SET: &str = "SET key:{n:12} {v:32}";
const GET: &str = "GET key:{n:12}";
/// Its own keys: INCR wants integers, and starts from nothing.
const INCR: &str = "INCR counter:{n:12}";
const MSET_10: &str = "MSET key:{n:12} {v:32} key:{n:12} {v:32} key:{n:12} {v:32} key:{n:12} {v:32} key:{n:12} {v:32} \
                       key:{n:12} {v:32} key:{n:12} {v:32} key:{n:12} {v:32} key:{n:12} {v:32} key:{n:12} {v:32}";
/// Few enough to stay in the caches: these tables are about the path of a command, the one of depth 64 is about memory.
const CACHED_KEYS: u64 = 100_000;

const fn row(name: &'static str, request: &'static str, ratio_max: f64) -> Row {
    Row { name, fill: Some(FILL), request, keys: CACHED_KEYS, ratio_max: Some(ratio_max) }
}

pub static TABLES: &[Table] = &[
    Table {
        name: "depth1",
        title: "one request in flight a connection",
        contest: Contest::Peers,
        depth: 1,
        part: Part::User,
        syscalls_max: Some(2.1),
        rows: &[row("SET", SET, 0.60), row("GET", GET, 0.60)],
    },
    Table {
        name: "depth16",
        title: "pipelines of 16",
        contest: Contest::Peers,
        depth: 16,
        part: Part::Total,
        syscalls_max: None,
        rows: &[
            row("SET", SET, 0.75),
            row("GET", GET, 0.75),
            Row { fill: None, ..row("INCR", INCR, 0.75) },
            row("MSET of 10", MSET_10, 0.75),
        ],
    },
    Table {
        name: "depth64",
        title: "pipelines of 64 over 3 million keys",
        contest: Contest::Peers,
        depth: 64,
        part: Part::Total,
        syscalls_max: None,
        rows: &[Row { keys: 3_000_000, ..row("GET", GET, 0.60) }],
    },
    Table {
        name: "loops1",
        title: "event loops, one request in flight a connection",
        contest: Contest::EventLoops,
        depth: 1,
        part: Part::Total,
        syscalls_max: None,
        rows: &[row("SET", SET, 1.2), row("GET", GET, 1.2)],
    },
    Table {
        name: "loops16",
        title: "event loops, pipelines of 16",
        contest: Contest::EventLoops,
        depth: 16,
        part: Part::Total,
        syscalls_max: None,
        rows: &[row("SET", SET, 1.2), row("GET", GET, 1.2)],
    },
];

/// A key and value size whose resident bytes are compared.
pub struct Shape {
    pub name: &'static str,
    pub request: &'static str,
    pub ratio_max: f64,
}

pub static SHAPES: &[Shape] = &[
    Shape { name: "key 15, value 32", request: "SET {n:15} {v:32}", ratio_max: 0.86 },
    Shape { name: "key 16, value 8", request: "SET {n:16} {v:8}", ratio_max: 0.88 },
    Shape { name: "key 40, value 200", request: "SET {n:40} {v:200}", ratio_max: 0.90 },
    // A day: far enough that nothing expires under the measurement.
    Shape { name: "key 15, value 32, TTL", request: "SET {n:15} {v:32} EX 86400", ratio_max: 0.72 },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Template;
    use std::collections::HashSet;

    #[test]
    fn every_row_parses_and_table_names_are_unique() {
        let mut names = HashSet::new();
        for table in TABLES {
            assert!(names.insert(table.name));
            for row in table.rows {
                Template::parse(row.request).unwrap();
                row.fill.map(|fill| Template::parse(fill).unwrap());
                assert!(row.keys > 0);
            }
        }
        for shape in SHAPES {
            Template::parse(shape.request).unwrap();
        }
    }
}

//! The workloads: a table has a depth and a question, a row of it is one command.
//!
//! To measure a new command, add a row. `fill` is a template that runs once for every key number below `keys` before the first
//! round; `request` is the template that is measured, with key numbers drawn at random below `keys` (templates: [`crate::request`]).
//! A reply that is an error or null ends the comparison, so a row must be right for every server; give a later row a `fill` that makes it so.

/// What is compared within a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contest {
    /// Spinel against the best real server, each on one core with one event loop; the floor beside them.
    Peers,
    /// The same without the floor: for requests of which the way through the server is the smaller part.
    PeersAlone,
    /// Spinel against the real servers that speak TLS, each on one core with one event loop, over encrypted connections.
    Encrypted,
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
    /// Connections of the load generator, where they are not those of the command line.
    pub connections: Option<usize>,
    /// Arguments of the servers beside those that all get, where these make the question.
    pub arguments: &'static [&'static str],
    /// The part of the usual time that one measurement takes: many rows want a short one each.
    pub time_share: f64,
    /// Bound for the median of the rows' ratios.
    pub median_ratio_max: Option<f64>,
    pub rows: &'static [Row],
}

#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub fill: Option<&'static str>,
    /// What else must be there, once before all rounds.
    pub setup: &'static [Setup],
    /// What happens before each measurement.
    pub before: &'static [Setup],
    pub request: &'static str,
    pub keys: u64,
    /// So many requests instead of a time, where each leaves less or more for the next.
    pub requests: Option<u64>,
    /// Requests in flight on each connection, where they are not the table's.
    pub depth: Option<usize>,
    /// Who hears of every request, where it is a message.
    pub listeners: Option<Listeners>,
    /// Bound for the ratio to the best rival; `None` for rows that are only to be seen.
    pub ratio_max: Option<f64>,
}

/// Connections that are subscribed to a channel. CPU time is measured until all of them have heard everything.
#[derive(Debug, Clone, Copy)]
pub struct Listeners {
    pub count: usize,
    pub channel: &'static str,
    pub payload_bytes: usize,
}

/// A template that runs so many times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Setup {
    pub request: &'static str,
    pub count: u64,
    pub numbers: Numbers,
}

/// Which numbers go into a [`Setup`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Numbers {
    /// One after the other.
    Sequence,
    /// The same, from half of the count on: what half overlaps with another sequence.
    SecondHalf,
    /// At random below this, always the same ones.
    RandomBelow(u64),
}

/// The number in the key is what varies; keys of 16 bytes and values of 32 are common sizes that fit every peer's small allocations.
const FILL: &str = "SET key:{n:12} {v:32}";
const SET: &str = "SET key:{n:12} {v:32}";
const GET: &str = "GET key:{n:12}";
/// Its own keys: INCR wants integers, and starts from nothing.
const INCR: &str = "INCR counter:{n:12}";
const MSET_10: &str = "MSET key:{n:12} {v:32} key:{n:12} {v:32} key:{n:12} {v:32} key:{n:12} {v:32} key:{n:12} {v:32} \
                       key:{n:12} {v:32} key:{n:12} {v:32} key:{n:12} {v:32} key:{n:12} {v:32} key:{n:12} {v:32}";
const EVAL_SET: &str = "EVAL return(redis.call('SET',KEYS[1],ARGV[1])) 1 key:{n:12} {v:32}";
const LOAD_SET: &str = "SCRIPT LOAD return(redis.call('SET',KEYS[1],ARGV[1]))";
const EVALSHA_SET: &str = "EVALSHA 35155eb5f7653c2c49d3770cc58ae533f868174e 1 key:{n:12} {v:32}";
const MULTI_10_INCR: &str = "MULTI ; INCR counter:{n:12} ; INCR counter:{n:12} ; INCR counter:{n:12} ; INCR counter:{n:12} ; \
                             INCR counter:{n:12} ; INCR counter:{n:12} ; INCR counter:{n:12} ; INCR counter:{n:12} ; \
                             INCR counter:{n:12} ; INCR counter:{n:12} ; EXEC";
/// Few enough to stay in the caches: these tables are about the path of a command, the one of depth 64 is about memory.
const CACHED_KEYS: u64 = 100_000;

const fn row(name: &'static str, request: &'static str, ratio_max: f64) -> Row {
    Row {
        name,
        fill: Some(FILL),
        setup: &[],
        before: &[],
        request,
        keys: CACHED_KEYS,
        requests: None,
        depth: None,
        listeners: None,
        ratio_max: Some(ratio_max),
    }
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
        ..TABLE
    },
    Table {
        name: "depth16",
        title: "pipelines of 16",
        contest: Contest::Peers,
        depth: 16,
        part: Part::Total,
        rows: &[
            row("SET", SET, 0.75),
            row("GET", GET, 0.75),
            Row { fill: None, ..row("INCR", INCR, 0.75) },
            row("MSET of 10", MSET_10, 0.75),
        ],
        ..TABLE
    },
    Table {
        name: "depth64",
        title: "pipelines of 64 over 3 million keys",
        contest: Contest::Peers,
        depth: 64,
        part: Part::Total,
        rows: &[Row { keys: 3_000_000, ..row("GET", GET, 0.60) }],
        ..TABLE
    },
    Table {
        name: "tls1",
        title: "TLS 1.3, one request in flight a connection",
        contest: Contest::Encrypted,
        depth: 1,
        rows: &[row("GET", GET, 0.90), Row { ratio_max: None, ..row("SET", SET, 0.90) }],
        ..TABLE
    },
    Table {
        name: "tls16",
        title: "TLS 1.3, pipelines of 16",
        contest: Contest::Encrypted,
        depth: 16,
        rows: &[row("GET", GET, 0.90), Row { ratio_max: None, ..row("SET", SET, 0.90) }],
        ..TABLE
    },
    Table {
        name: "loops1",
        title: "event loops, one request in flight a connection",
        contest: Contest::EventLoops,
        depth: 1,
        part: Part::Total,
        rows: &[row("SET", SET, 1.2), row("GET", GET, 1.2)],
        ..TABLE
    },
    Table {
        name: "loops16",
        title: "event loops, pipelines of 16",
        contest: Contest::EventLoops,
        depth: 16,
        part: Part::Total,
        rows: &[row("SET", SET, 1.2), row("GET", GET, 1.2)],
        ..TABLE
    },
    Table {
        name: "collections",
        title: "collections, pipelines of 16",
        contest: Contest::PeersAlone,
        depth: 16,
        part: Part::Total,
        time_share: 0.4,
        rows: &[
            Row { before: &[once("DEL lpush:list")], requests: Some(1_000_000), ..collection("LPUSH", LPUSH, 0.75) },
            Row {
                before: &[
                    once("DEL rpop:list"),
                    Setup { request: RPUSH_10, count: 110_000, numbers: Numbers::Sequence },
                ],
                requests: Some(1_000_000),
                ..collection("RPOP", "RPOP rpop:list", 0.75)
            },
            Row { setup: &[each(SADD, CACHED_KEYS)], ..collection("SADD", SADD, 0.75) },
            Row { setup: &[each(HSET, CACHED_KEYS)], ..collection("HSET", HSET, 0.75) },
            Row { before: &[once("DEL xadd:stream")], requests: Some(500_000), ..collection("XADD", XADD, 0.75) },
            Row {
                setup: &[each(HSET_10, CACHED_KEYS)],
                ..collection("HGETALL of 10 fields", "HGETALL hash:{n:11}", 0.75)
            },
            Row { setup: &[each(ZADD, CACHED_KEYS)], ..collection("ZADD into 100,000", ZADD, 0.60) },
            Row {
                setup: &[once("DEL lrange:list"), each("RPUSH lrange:list item:{n:11}", 100)],
                ..collection("LRANGE of 100", "LRANGE lrange:list 0 99", 0.70)
            },
            Row {
                setup: &[each(ZADD, CACHED_KEYS)],
                ..collection("ZRANGEBYSCORE LIMIT 10", "ZRANGEBYSCORE zadd:zset {n:6} +inf LIMIT 0 10", 0.60)
            },
        ],
        ..TABLE
    },
    Table {
        name: "wide",
        title: "scripts and transactions",
        contest: Contest::PeersAlone,
        depth: 16,
        part: Part::Total,
        rows: &[
            Row { fill: None, ..row("EVAL of one SET", EVAL_SET, 0.80) },
            Row { setup: &[once(LOAD_SET)], fill: None, ..row("EVALSHA of one SET", EVALSHA_SET, 0.80) },
            // As many commands in flight as in the other rows, nearly.
            Row { fill: None, depth: Some(2), ..row("MULTI of 10 INCR", MULTI_10_INCR, 0.75) },
        ],
        ..TABLE
    },
    Table {
        name: "heavy",
        title: "heavy commands, one in flight",
        contest: Contest::PeersAlone,
        depth: 1,
        part: Part::Total,
        connections: Some(2),
        time_share: 0.15,
        median_ratio_max: Some(0.60),
        rows: &[
            heavy("SINTER of 2 of 100,000", "SINTER heavy:set1 heavy:set2", SETS),
            heavy("SUNION of 2 of 100,000", "SUNION heavy:set1 heavy:set2", SETS),
            heavy("SDIFF of 2 of 100,000", "SDIFF heavy:set1 heavy:set2", SETS),
            heavy("SMEMBERS of 100,000", "SMEMBERS heavy:set1", SETS),
            heavy("ZUNIONSTORE of 2 of 100,000", "ZUNIONSTORE heavy:zset3 2 heavy:zset1 heavy:zset2", SORTED_SETS),
            heavy("ZRANGE of 10,000", "ZRANGE heavy:zset1 0 9999", SORTED_SETS),
            // Short, so that it is compared where the way through the server is short too.
            Row { depth: Some(16), ..heavy("ZRANK in 100,000", "ZRANK heavy:zset1 member:{n:11}", SORTED_SETS) },
            heavy("SORT of 100,000", "SORT heavy:numbers", &[SORT_NUMBERS]),
            heavy("HGETALL of 10,000", "HGETALL heavy:hash", &[each("HSET heavy:hash field:{n:10} {v:16}", 10_000)]),
            Row {
                before: &[once("LREM heavy:list 0 x")],
                ..heavy("LINSERT in 100,000", "LINSERT heavy:list BEFORE item:00000000050 x", &[LONG_LIST])
            },
            heavy("LPOS in 100,000", "LPOS heavy:list item:00000000050", &[LONG_LIST]),
            heavy("BITCOUNT over 64 MB", "BITCOUNT heavy:bits1", BITS),
            heavy("BITOP over 64 MB", "BITOP AND heavy:bits3 heavy:bits1 heavy:bits2", BITS),
            // As with ZRANK: one in flight, two thirds of the time were the waking of the server.
            Row {
                depth: Some(16),
                ..heavy(
                    "PFMERGE of 10",
                    "PFMERGE heavy:hll heavy:hll0 heavy:hll1 heavy:hll2 heavy:hll3 heavy:hll4 heavy:hll5 heavy:hll6 \
                     heavy:hll7 heavy:hll8 heavy:hll9",
                    LOGS,
                )
            },
            heavy("GEOSEARCH over 100,000", "GEOSEARCH heavy:geo FROMLONLAT 13.5 37.5 BYRADIUS 20 km", &[PLACES]),
            heavy("XRANGE of 10,000", "XRANGE heavy:stream - +", &[each("XADD heavy:stream * field {v:16}", 10_000)]),
        ],
        ..TABLE
    },
    Table {
        name: "messages",
        title: "publish and subscribe, 10 publishers with pipelines of 16",
        contest: Contest::PeersAlone,
        depth: 16,
        connections: Some(10),
        time_share: 0.4,
        rows: &[messages("PUBLISH to 100 subscribers", 0.75)],
        ..TABLE
    },
    Table {
        name: "messages1",
        title: "publish and subscribe, 10 publishers with one request in flight",
        contest: Contest::PeersAlone,
        connections: Some(10),
        part: Part::User,
        time_share: 0.4,
        rows: &[messages("PUBLISH to 100 subscribers", 0.75)],
        ..TABLE
    },
    Table {
        name: "persistence-everysec",
        title: "append-only file, synchronised every second",
        arguments: &["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"],
        rows: &[row("SET, 1 in flight", SET, 0.75), Row { depth: Some(16), ..row("SET, 16 in flight", SET, 0.75) }],
        ..TABLE
    },
];

/// What most tables have.
const TABLE: Table = Table {
    name: "",
    title: "",
    contest: Contest::Peers,
    depth: 1,
    part: Part::Total,
    syscalls_max: None,
    connections: None,
    arguments: &[],
    time_share: 1.0,
    median_ratio_max: None,
    rows: &[],
};

const LPUSH: &str = "LPUSH lpush:list {v:32}";
const RPUSH_10: &str = "RPUSH rpop:list {v:32} {v:32} {v:32} {v:32} {v:32} {v:32} {v:32} {v:32} {v:32} {v:32}";
const SADD: &str = "SADD sadd:set member:{n:12}";
const HSET: &str = "HSET hset:hash field:{n:12} {v:32}";
const XADD: &str = "XADD xadd:stream * field {v:32}";
const HSET_10: &str = "HSET hash:{n:11} field0 {v:8} field1 {v:8} field2 {v:8} field3 {v:8} field4 {v:8} \
                       field5 {v:8} field6 {v:8} field7 {v:8} field8 {v:8} field9 {v:8}";
/// A score and a member, drawn each for itself.
const ZADD: &str = "ZADD zadd:zset {n:6} member:{n:12}";

const SETS: &[Setup] = &[
    each("SADD heavy:set1 member:{n:11}", 100_000),
    Setup { request: "SADD heavy:set2 member:{n:11}", count: 100_000, numbers: Numbers::SecondHalf },
];
/// Scores that are equal and scores that are not would be two measurements; these are sorted by member.
const SORTED_SETS: &[Setup] = &[
    each("ZADD heavy:zset1 1.5 member:{n:11}", 100_000),
    Setup { request: "ZADD heavy:zset2 2.5 member:{n:11}", count: 100_000, numbers: Numbers::SecondHalf },
];
const SORT_NUMBERS: Setup =
    Setup { request: "RPUSH heavy:numbers {n:7}", count: 100_000, numbers: Numbers::RandomBelow(10_000_000) };
/// From the left, so that the items with low numbers lie at the end.
const LONG_LIST: Setup = each("LPUSH heavy:list item:{n:11}", 100_000);
const BITS: &[Setup] = &[once("SETBIT heavy:bits1 536870911 1"), once("SETBIT heavy:bits2 536870911 1")];
const LOGS: &[Setup] = &[
    log("PFADD heavy:hll0 {n:9}"),
    log("PFADD heavy:hll1 {n:9} a"),
    log("PFADD heavy:hll2 {n:9} b"),
    log("PFADD heavy:hll3 {n:9} c"),
    log("PFADD heavy:hll4 {n:9} d"),
    log("PFADD heavy:hll5 {n:9} e"),
    log("PFADD heavy:hll6 {n:9} f"),
    log("PFADD heavy:hll7 {n:9} g"),
    log("PFADD heavy:hll8 {n:9} h"),
    log("PFADD heavy:hll9 {n:9} i"),
];
/// Over a degree in each direction, about 88 by 111 km.
const PLACES: Setup = Setup {
    request: "GEOADD heavy:geo 13.{n:6} 37.{n:6} place:{n:6}",
    count: 105_000,
    numbers: Numbers::RandomBelow(1_000_000),
};

const fn once(request: &'static str) -> Setup {
    each(request, 1)
}

const fn each(request: &'static str, count: u64) -> Setup {
    Setup { request, count, numbers: Numbers::Sequence }
}

/// Enough different elements for the dense form.
const fn log(request: &'static str) -> Setup {
    Setup { request, count: 20_000, numbers: Numbers::RandomBelow(1_000_000_000) }
}

const fn collection(name: &'static str, request: &'static str, ratio_max: f64) -> Row {
    Row { fill: None, ..row(name, request, ratio_max) }
}

const fn messages(name: &'static str, ratio_max: f64) -> Row {
    let listeners = Listeners { count: 100, channel: "messages", payload_bytes: 64 };
    Row { listeners: Some(listeners), ..collection(name, "PUBLISH messages {v:64}", ratio_max) }
}

const fn heavy(name: &'static str, request: &'static str, setup: &'static [Setup]) -> Row {
    Row { setup, ..collection(name, request, 0.80) }
}

/// Something whose resident bytes are compared.
pub struct Shape {
    /// [`KEYS`] or [`ELEMENTS`].
    pub table: &'static str,
    pub name: &'static str,
    /// Makes one.
    pub request: &'static str,
    pub ratio_max: f64,
    /// The bytes are the mean over these numbers, in ten steps from half of it.
    pub last: u64,
}

/// The table of string keys.
pub const KEYS: &str = "memory";
/// The table of collections.
pub const ELEMENTS: &str = "elements";

const fn shape(table: &'static str, name: &'static str, request: &'static str, ratio_max: f64) -> Shape {
    Shape { table, name, request, ratio_max, last: 2_000_000 }
}

pub static SHAPES: &[Shape] = &[
    shape(KEYS, "key 15, value 32", "SET {n:15} {v:32}", 0.86),
    shape(KEYS, "key 16, value 8", "SET {n:16} {v:8}", 0.88),
    shape(KEYS, "key 40, value 200", "SET {n:40} {v:200}", 0.90),
    // A day: far enough that nothing expires under the measurement.
    shape(KEYS, "key 15, value 32, TTL", "SET {n:15} {v:32} EX 86400", 0.72),
    shape(ELEMENTS, "member of a big set", "SADD big:set member:{n:9}", 0.90),
    shape(ELEMENTS, "member of a big sorted set", "ZADD big:zset {n:7} member:{n:9}", 0.76),
    shape(ELEMENTS, "field of a big hash", "HSET big:hash field:{n:10} {v:16}", 0.82),
    Shape { last: 400_000, ..shape(ELEMENTS, "small hash of 10 fields", HSET_10, 0.97) },
    shape(ELEMENTS, "item of a big list", "RPUSH big:list item:{n:11}", 1.0),
    shape(ELEMENTS, "stream entry of two fields", "XADD big:stream * user {n:8} item {n:8}", 1.0),
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
                for setup in row.setup.iter().chain(row.before) {
                    Template::parse(setup.request).unwrap();
                }
                assert!(row.keys > 0);
            }
        }
        for shape in SHAPES {
            Template::parse(shape.request).unwrap();
        }
    }
}

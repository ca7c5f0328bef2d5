//! Commands of which the documentation does not say enough: what acts on connections and on the server. One line is one
//! form; `{key}`, `{value}`, `{int}`, `{float}`, `{db}`, `{pattern}`, `{name}` draw from the pools, `{a|b}` chooses.

use rand::Rng;
use testkit::Random;

use super::pools;

/// `(group, weight, line)`. Client ids are far beyond any that exist, so that nobody kills a connection of the run.
pub const FORMS: &[(&str, u32, &str)] = &[
    ("connection", 20, "SELECT {db}"),
    ("connection", 6, "PING"),
    ("connection", 3, "PING {value}"),
    ("connection", 3, "ECHO {value}"),
    ("connection", 4, "HELLO {2|3}"),
    ("connection", 1, "HELLO"),
    ("connection", 1, "HELLO {4|1|0|-1|abc|2.0|99999999999999999999}"),
    ("connection", 1, "HELLO {2|3} SETNAME {name}"),
    ("connection", 1, "HELLO 3 AUTH default {value}"),
    ("connection", 1, "HELLO 3 AUTH nobody x"),
    ("connection", 1, "HELLO {2|3} AUTH default x SETNAME {name}"),
    ("connection", 1, "HELLO 3 {BOGUS|AUTH|SETNAME|AUTH default}"),
    ("connection", 1, "AUTH {value}"),
    ("connection", 1, "AUTH default {value}"),
    ("connection", 1, "AUTH nobody {value}"),
    ("connection", 1, "AUTH a b c"),
    ("connection", 2, "RESET"),
    ("connection", 1, "CLIENT"),
    ("connection", 1, "CLIENT {BOGUS|HELP}"),
    ("connection", 1, "CLIENT ID"),
    ("connection", 3, "CLIENT GETNAME"),
    ("connection", 3, "CLIENT SETNAME {name}"),
    ("connection", 2, "CLIENT SETINFO {LIB-NAME|lib-name|LIB-VER|BOGUS} {name}"),
    ("connection", 3, "CLIENT INFO"),
    ("connection", 2, "CLIENT LIST"),
    ("connection", 2, "CLIENT LIST TYPE {normal|master|replica|slave|pubsub|bogus|NORMAL}"),
    ("connection", 1, "CLIENT LIST ID {99999999|0|-1|abc} 99999998"),
    ("connection", 1, "CLIENT LIST {ID|TYPE|BOGUS|BOGUS x}"),
    ("connection", 1, "CLIENT KILL {1.2.3.4:5|bogus}"),
    ("connection", 1, "CLIENT KILL ID {99999999|abc|-1|0}"),
    ("connection", 1, "CLIENT KILL {ADDR|LADDR} 1.2.3.4:5 SKIPME {yes|no|maybe}"),
    ("connection", 1, "CLIENT KILL TYPE {pubsub|master|bogus}"),
    ("connection", 1, "CLIENT KILL MAXAGE {99999999|abc|-1|0} ID 99999999"),
    ("connection", 1, "CLIENT KILL USER nobody"),
    ("connection", 1, "CLIENT KILL {BOGUS x|ID|ID 99999999 TYPE}"),
    ("connection", 1, "CLIENT {NO-EVICT|NO-TOUCH} {ON|OFF|on|off|maybe}"),
    ("connection", 1, "CLIENT REPLY {ON|BOGUS}"),
    ("connection", 1, "CLIENT UNBLOCK {99999999|abc|-1}"),
    ("connection", 1, "CLIENT UNBLOCK 99999999 {TIMEOUT|ERROR|BOGUS}"),
    ("connection", 1, "CLIENT PAUSE {abc|-1|99999999999999999999}"),
    ("connection", 1, "CLIENT PAUSE 0 {WRITE|ALL|BOGUS}"),
    ("connection", 1, "CLIENT UNPAUSE"),
    ("connection", 1, "CLIENT {GETREDIR|TRACKINGINFO}"),
    ("connection", 1, "CLIENT TRACKING {OFF|BOGUS}"),
    ("connection", 1, "CLIENT CACHING {YES|NO|BOGUS}"),
    ("generic", 6, "KEYS {pattern}"),
    ("generic", 6, "RANDOMKEY"),
    ("generic", 2, "SCAN {0|1|-1|abc|99999999999999999999||0x1} {COUNT|MATCH|TYPE|BOGUS} "),
    ("generic", 2, "SCAN 0 COUNT {0|-1|abc|99999999999999999999}"),
    ("generic", 1, "SCAN {-1|abc|99999999999999999999||0x1}"),
    ("generic", 1, "OBJECT {HELP|BOGUS}"),
    ("generic", 2, "OBJECT ENCODING {key}"),
    ("generic", 2, "WAIT {0|-1|abc} 0"),
    ("generic", 1, "WAIT 0 {-1|abc|0|10}"),
    // Not for the own file: whether 10 ms suffice is for the disk to say. `persistence` waits for it.
    ("generic", 1, "WAITAOF {0|2|-1} {0|-1|abc} {10|-1|abc}"),
    ("generic", 1, "MIGRATE 127.0.0.1 1 {nosuchkey|} {0|abc} {100|abc|-5}"),
    ("generic", 1, "MIGRATE 127.0.0.1 1 {nosuchkey|} 0 100 {COPY|REPLACE|KEYS|KEYS nosuchkey|AUTH|AUTH2 x|BOGUS}"),
    ("generic", 3, "MOVE {key} {db}"),
    ("generic", 2, "TYPE {key}"),
    (
        "generic",
        1,
        "RESTORE {key} {0|-1|abc|1000000000} {value} {REPLACE|ABSTTL|BOGUS|FREQ 300|IDLETIME -1|FREQ 1 IDLETIME 1}",
    ),
    // Values of other types, for WRONGTYPE, COPY, SORT, encodings: from when the subject has them.
    ("generic", 3, "RPUSH {key} {value} {value}"),
    ("generic", 3, "SADD {key} {int} {int}"),
    ("generic", 2, "SADD {key} {value}"),
    ("generic", 3, "HSET {key} {value} {value}"),
    ("generic", 3, "ZADD {key} {float} {value}"),
    ("generic", 2, "XADD {key} {1-1|2-1|5-5|9999999999999-1} {value} {value}"),
    // Weights for SORT.
    ("generic", 4, "SET {weight_a|weight_b|weight_c|weight_1|weight_2|weight_3} {int}"),
    ("generic", 6, "RPUSH sort_list {1|2|3|10|-5|1.5|9999} {1|2|3|1e3|007}"),
    ("generic", 1, "RPUSH sort_list {a|b||-}"),
    ("generic", 6, "SADD sort_set {1|2|3|10|-5|100000} {1|2|3|10}"),
    ("generic", 2, "SADD sort_set {a|b|1.5|hello}"),
    ("generic", 4, "ZADD sort_zset {float} {1|2|3|a|b} {float} {1|2|3|10}"),
    ("generic", 3, "DEL {sort_list|sort_set|sort_zset}"),
    ("sorted-set", 1, "SET plain text"),
    ("stream", 15, "XGROUP CREATE {stream1|stream2} {group1|group2} {0|$|0} MKSTREAM"),
    ("list", 2, "LPOS list1 {value} {RANK 0|RANK -1 COUNT 0|COUNT -1|MAXLEN -1|RANK -9223372036854775808|RANK}"),
    ("set", 1, "SSCAN set1 {abc|-1|99999999999999999999|} {COUNT|MATCH|BOGUS}"),
    ("hash", 1, "HSCAN hash1 {abc|-1|99999999999999999999|} {COUNT|MATCH|NOVALUES 1|BOGUS}"),
    ("sorted-set", 1, "ZSCAN zset1 {abc|-1|99999999999999999999|} {COUNT|MATCH|BOGUS}"),
    (
        "hash",
        2,
        "HEXPIRE hash1 {0|-1|1000000000|abc} {NX|XX|GT|LT|BOGUS} {FIELDS 1 a|FIELDS 2 a b|FIELDS 0|FIELDS 2 a|FIELDS abc a|a}",
    ),
    (
        "stream",
        3,
        "XADD {stream1|stream2} {MAXLEN|MINID} {=|~|} {2|100|0|-1|abc} {LIMIT 1|LIMIT 0|LIMIT -1|} {*|1-*|9999-1} {value} {value}",
    ),
    (
        "stream",
        3,
        "XGROUP CREATE {stream1|stream2} {group1|group2} {0|$|5-0|abc} {MKSTREAM|MKSTREAM ENTRIESREAD 2|ENTRIESREAD -2|}",
    ),
    ("stream", 1, "XINFO {STREAM|GROUPS} {stream1|stream2}"),
    ("stream", 2, "XINFO STREAM {stream1|stream2} FULL {COUNT 2|COUNT 0|COUNT -1|COUNT abc|}"),
    (
        "stream",
        3,
        "XREADGROUP GROUP {group1|group2} {alice|bob} {COUNT 2|} {NOACK|} STREAMS {stream1|stream2} {>|>|0|5-0|$}",
    ),
    (
        "stream",
        2,
        "XPENDING {stream1|stream2} {group1|group2} {|- + 10|IDLE 0 - + 10 alice|- + 10 bob|(5 + 3|- + -1|- +}",
    ),
    (
        "bitmap",
        2,
        "BITCOUNT {bits1|bits2} {0 -1|0 -1 BYTE|0 -1 BIT|5 30 BIT|-3 -1|0|0 -1 BOGUS|9223372036854775807 -1}",
    ),
    ("bitmap", 2, "BITPOS {bits1|bits2} {0|1|2} {0|2|-1|} {-1|10|} {BYTE|BIT|BOGUS|}"),
    ("hyperloglog", 1, "PFDEBUG {ENCODING|TODENSE|DECODE|BOGUS} {hll1|hll2|nosuchkey}"),
    (
        "geo",
        2,
        "GEORADIUS geo1 14 38 {200|1000} km {WITHCOORD|WITHDIST|WITHHASH|} {WITHDIST WITHCOORD|COUNT 3|COUNT 3 ANY|COUNT 0|} {ASC|DESC|}",
    ),
    ("string", 6, "APPEND counter {value}"),
    ("string", 6, "INCRBYFLOAT float {float}"),
    ("string", 4, "SET counter {int}"),
    ("string", 4, "SET float {float}"),
    (
        "string",
        3,
        "LCS {key} {key} {LEN|IDX|IDX WITHMATCHLEN|IDX MINMATCHLEN 2|LEN IDX|MINMATCHLEN|MINMATCHLEN abc|BOGUS}",
    ),
    ("server", 8, "DBSIZE"),
    ("server", 3, "FLUSHDB {SYNC|ASYNC|BOGUS|}"),
    ("server", 1, "FLUSHALL {SYNC|ASYNC|BOGUS}"),
    ("server", 1, "FLUSHALL"),
    ("server", 6, "SWAPDB {db} {db}"),
    ("server", 2, "TIME"),
    ("server", 1, "LASTSAVE"),
    ("server", 1, "LOLWUT"),
    ("server", 1, "LOLWUT VERSION {5|6|abc|-1}"),
    ("server", 1, "ROLE"),
    ("server", 1, "REPLICAOF {NO ONE|no one|127.0.0.1 abc|127.0.0.1 99999999|127.0.0.1 -1}"),
    ("server", 1, "FAILOVER {|ABORT|BOGUS|TO 127.0.0.1 1|TIMEOUT abc|TIMEOUT 0}"),
    ("server", 1, "SHUTDOWN {BOGUS|ABORT|SAVE NOSAVE|NOW ABORT}"),
    ("server", 2, "INFO"),
    (
        "server",
        2,
        "INFO {server|clients|memory|persistence|stats|replication|cpu|commandstats|latencystats|errorstats|cluster|keyspace|everything|all|default|nosuch}",
    ),
    ("server", 2, "INFO {server|CLIENTS|keyspace} {memory|nosuch|server}"),
    ("server", 3, "MEMORY USAGE {key}"),
    ("server", 1, "MEMORY USAGE {key} SAMPLES {0|5|-1|abc}"),
    ("server", 1, "MEMORY {DOCTOR|STATS|MALLOC-STATS|PURGE|HELP|BOGUS}"),
    ("server", 1, "MEMORY USAGE {key} {BOGUS|SAMPLES}"),
    ("server", 1, "SLOWLOG {GET|LEN|RESET|HELP|BOGUS|GET 5|GET -1|GET abc|GET -2}"),
    (
        "server",
        1,
        "LATENCY {LATEST|RESET|RESET nosuch|HISTORY|HISTORY nosuch|GRAPH nosuch|HELP|BOGUS|HISTOGRAM nosuch}",
    ),
    ("server", 1, "COMMAND {COUNT|HELP|BOGUS}"),
    ("server", 1, "COMMAND INFO {nosuch|get|config|config\\|get|get nosuch}"),
    (
        "server",
        1,
        "COMMAND LIST FILTERBY {MODULE nosuch|ACLCAT nosuch|PATTERN nosuch*|PATTERN xadd|PATTERN set*x|BOGUS x|ACLCAT}",
    ),
    ("server", 1, "COMMAND DOCS nosuch"),
    (
        "server",
        3,
        "COMMAND {GETKEYS|GETKEYSANDFLAGS} {GET|SET|MSET|MGET|DEL|COPY|RENAME|SORT|LCS|OBJECT|PING|NOSUCH|EVAL|XREAD|MIGRATE}",
    ),
    (
        "server",
        3,
        "COMMAND {GETKEYS|GETKEYSANDFLAGS} {GET|SET|MSET|MGET|DEL|COPY|RENAME|LCS|SORT|EXPIRE|SETEX|SETRANGE|OBJECT} {key} {value}",
    ),
    (
        "server",
        2,
        "COMMAND {GETKEYS|GETKEYSANDFLAGS} {SET|MSET|DEL|MGET|COPY|SORT|GETRANGE|OBJECT ENCODING|MEMORY USAGE} {key} {value} {key} {value}",
    ),
    ("server", 1, "CONFIG {HELP|BOGUS|RESETSTAT|REWRITE}"),
    (
        "server",
        5,
        "CONFIG GET {maxmemory|maxmemory-policy|timeout|tcp-keepalive|hz|maxclients|save|appendonly|appendfsync|loglevel|databases|proto-max-bulk-len|lazyfree-lazy-expire|notify-keyspace-events|client-output-buffer-limit|slowlog-max-len|hash-max-listpack-entries|hash-max-ziplist-entries|list-max-listpack-size|set-max-intset-entries|zset-max-listpack-value|busy-reply-threshold|lua-time-limit|active-expire-effort|nosuch}",
    ),
    ("server", 2, "CONFIG GET {maxmemory|timeout|nosuch} {hz|timeout|loglevel}"),
    ("server", 3, "CONFIG SET maxmemory {0|1gb|2GB|1073741824|3000mb|-1|abc|99999999999999999999|1tb|5000000k||1.5gb}"),
    ("server", 2, "CONFIG SET {timeout|tcp-keepalive} {0|300|-1|abc|99999999999|0x10|}"),
    (
        "server",
        2,
        "CONFIG SET {slowlog-max-len|hash-max-listpack-entries|zset-max-listpack-entries|list-max-listpack-size} {0|128|-1|-2|-6|abc|99999999999999999999}",
    ),
    (
        "server",
        2,
        "CONFIG SET {loglevel|appendfsync} {debug|verbose|notice|warning|nothing|always|everysec|no|NOTICE|abc}",
    ),
    (
        "server",
        2,
        "CONFIG SET {lazyfree-lazy-expire|lazyfree-lazy-user-del|lazyfree-lazy-user-flush|dynamic-hz} {yes|no|YES|maybe|1}",
    ),
    ("server", 2, "CONFIG SET notify-keyspace-events {KEA|Kx|AKE|abc!|}"),
    ("server", 2, "CONFIG SET {hz|active-expire-effort|busy-reply-threshold} {1|10|500|501|0|-1|abc}"),
    (
        "server",
        2,
        "CONFIG SET client-output-buffer-limit {normal|replica|slave|pubsub|bogus} {0|256mb|-1|abc} {0|128mb} {0|60|-1}",
    ),
    ("server", 2, "CONFIG SET {databases|unixsocket|daemonize|nosuch|logfile} {1|x}"),
    (
        "server",
        2,
        "CONFIG SET {timeout|tcp-keepalive|nosuch|databases} {0|500|abc} {timeout|hz|nosuch|loglevel} {400|abc|0}",
    ),
    // Never less memory than the run needs: who is refused first depends on what each server counts.
    ("server", 1, "CONFIG SET maxmemory {0|1gb|abc} {timeout|hz|nosuch|loglevel} {400|abc|0}"),
    (
        "server",
        3,
        "DEBUG PROTOCOL {string|integer|double|null|array|set|map|attrib|push|verbatim|true|false|bignum|nosuch|STRING}",
    ),
    ("server", 1, "DEBUG {SLEEP 0|SLEEP abc|NOSUCH|HELP|OBJECT nosuchkey|JMAP x}"),
    ("server", 1, "DEBUG {ERROR|LOG} {name}"),
    ("server", 1, "DEBUG SET-ACTIVE-EXPIRE 0"),
    ("server", 1, "NOSUCHCOMMAND {key} {value}"),
    // No `object|encoding`: Redis 8.2.3 knows it right after OBJECT ENCODING, because it looks at the last command's full name first.
    ("server", 1, "{NOSUCH|GET\\|SET|config\\|nosuch| |} {value} {value} {value}"),
];

/// What only Valkey 9.1 has, and what meets it: a run against Valkey draws from these (and from its documentation of the
/// commands in `super::VALKEY_COMMANDS`).
pub const VALKEY_FORMS: &[(&str, u32, &str)] = &[
    ("string", 20, "SET {key} {value} IFEQ {value}"),
    ("string", 10, "SET {key} {value} {GET IFEQ|IFEQ} {value} {GET|KEEPTTL|NX|XX|EX 1000000|}"),
    ("string", 10, "SET {key} {value}"),
    ("string", 10, "SET {key} {v|0|1|-1|10}"),
    ("geo", 10, "GEOADD {geo1|geo2} {13.361389|15.087269|14.2} {38.115556|37.502669|37.9} {a|b|c|d}"),
    (
        "geo",
        10,
        "GEOSEARCH {geo1|geo2} BYPOLYGON {3 13 36 16 38 13 39|4 12 36 16 36 16 39 12 39|3 13 36 13 36 13 36|2 1 1 2 2|3 200 1 2 2 3 3|0|abc} {ASC|DESC} {WITHDIST|WITHHASH|COUNT 1|}",
    ),
    // Redis decides how coordinates are written, and the last digits of a distance.
    (
        "geo",
        4,
        "GEOSEARCHSTORE geo2 geo1 BYPOLYGON {3 13 36 16 38 13 39|4 12 36 16 36 16 39 12 39|3 13 36 13 36 13 36|1 1 1} {ASC|DESC} {COUNT 2|}",
    ),
    ("hash", 5, "HSETEX {hash1|hash2} {NX|XX|} {FNX|FXX|} {EX 1000000|PX 10|EXAT 1|KEEPTTL|} FIELDS {1 a 1|2 a 1 b 2}"),
    ("string", 10, "DELIFEQ {key} {v|0|1|-1|10}"),
    ("string", 10, "SET {key} {v|0|1|-1|10} IFEQ {v|0|1|-1|10}"),
    ("connection", 3, "SELECT {0|1|2}"),
    ("connection", 3, "CLIENT CAPA {redirect|nosuch|}"),
    ("connection", 2, "CLIENT LIST {DB|NOT-DB} {0|1|abc|-1}"),
    ("connection", 2, "CLIENT LIST {NAME|NOT-NAME|LIB-NAME|NOT-LIB-NAME|LIB-VER|NOT-LIB-VER} {alice|nobody}"),
    ("connection", 2, "CLIENT LIST {FLAGS|NOT-FLAGS} {N|P|x|!|NP}"),
    ("connection", 2, "CLIENT LIST {CAPA|NOT-CAPA} {r|x}"),
    ("connection", 2, "CLIENT LIST {USER|NOT-USER} {default|nobody}"),
    ("connection", 2, "CLIENT LIST {IDLE|MAXAGE} {0|99999|abc|-1}"),
    ("connection", 2, "CLIENT LIST {IP|NOT-IP} {127.0.0.1|1.2.3.4}"),
    (
        "connection",
        2,
        "CLIENT LIST {NOT-ID 99999999|NOT-TYPE pubsub|NOT-TYPE bogus|NOT-ADDR 1.2.3.4:5|NOT-LADDR 1.2.3.4:5|SKIPME no|SKIPME maybe}",
    ),
    ("connection", 1, "CLIENT KILL {NAME|LIB-NAME|LIB-VER|IP} nobody"),
    ("connection", 1, "CLIENT KILL {DB|FLAGS|IDLE|CAPA} {99|abc}"),
    ("connection", 2, "CLIENT SETNAME {alice|bob}"),
    ("connection", 1, "CLIENT IMPORT-SOURCE {ON|OFF|BOGUS}"),
    ("server", 1, "COMMANDLOG {HELP|BOGUS}"),
    ("server", 2, "COMMANDLOG {LEN|RESET} {slow|large-request|large-reply|bogus}"),
    ("server", 2, "COMMANDLOG GET {10|-1|abc|-2} {slow|large-request|large-reply|bogus}"),
];

/// Bytes as a careless or hostile client sends them.
pub const RAW: &[&str] = &[
    "PING\r\n",
    "PING\n",
    "\r\n\r\nPING\r\n",
    "  PING   \r\n",
    "ECHO \"a b\\x41\\n\" \r\n",
    "ECHO 'it\\'s'\r\n",
    "ECHO \"unbalanced\r\n",
    "ECHO \"a\"b\r\n",
    "SET raw 1\r\nGET raw\r\nDEL raw\r\n",
    "*1\r\n$4\r\nPING\r\n*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n",
    "*1\r\nPING\r\n",
    "*1\r\n+PING\r\n",
    "*1\r\n$-1\r\n",
    "*1\r\n$abc\r\n",
    "*abc\r\n",
    "*99999999999\r\n",
    "*2147483648\r\n",
    "*1\r\n$99999999999\r\n",
    "*1\r\n$536870913\r\n",
    "*3\r\n$3\r\nSET\r\n$1\r\na\r\n",
    "QUIT\r\nPING\r\n",
    "*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n",
    "GET\r\n",
    "NOSUCH 'x'\r\n",
    // The introduction itself is each server's own.
    "CLIENT REPLY SKIP\r\nHELLO 3\r\nGET nosuchkey\r\n",
    "CLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY ON\r\nPING\r\n",
    "CLIENT REPLY SKIP\r\nPING\r\nECHO seen\r\n",
    "CLIENT REPLY OFF\r\nPING\r\n",
    "CLIENT REPLY SKIP\r\nHELLO 3\r\nDEBUG PROTOCOL attrib\r\n",
];

/// One form with its places filled in.
pub fn fill(random: &mut Random, line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    for word in split(line) {
        let filled = match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
            None => vec![word.as_bytes().to_vec()],
            Some("key") => vec![pools::key(random)],
            Some("value") => vec![pools::value(random)],
            Some("int") => vec![pools::integer(random).into_bytes()],
            Some("float") => vec![pools::float(random).into_bytes()],
            Some("db") => vec![pools::database(random).into_bytes()],
            Some("pattern") => vec![pools::pattern(random).into_bytes()],
            Some("name") => vec![pools::name(random).into_bytes()],
            Some(choices) => {
                // `\|` is a bar in a name; a choice may be several words, or none.
                let choices = choices.replace("\\|", "\u{0}");
                let choices: Vec<&str> = choices.split('|').collect();
                let choice = choices[random.random_range(0..choices.len())].replace('\u{0}', "|");
                choice.split_ascii_whitespace().map(|word| word.as_bytes().to_vec()).collect()
            }
        };
        words.extend(filled);
    }
    if words.is_empty() {
        words.push(Vec::new());
    }
    words
}

/// Words at blanks, braces kept together.
fn split(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut depth) = (0, 0);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b' ' if depth == 0 => {
                words.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    words.push(&line[start..]);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_fill() {
        let mut random = testkit::random_from(1);
        assert_eq!(split("A {b c|d} {key}"), ["A", "{b c|d}", "{key}"]);
        for (_, _, line) in FORMS.iter().chain(VALKEY_FORMS) {
            for _ in 0..20 {
                let words = fill(&mut random, line);
                assert!(!words.is_empty(), "{line}");
            }
        }
        assert_eq!(fill(&mut random, "X {a\\|b}"), [b"X".to_vec(), b"a|b".to_vec()]);
    }
}

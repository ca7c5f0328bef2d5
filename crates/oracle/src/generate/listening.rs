//! Clients that listen and clients that give them something to hear: scripts of [talks](crate::step::Talk).

use rand::{Rng, seq::IndexedRandom};
use testkit::Random;

use crate::{
    listening::{SHORT_LIFE_MS, TALKERS, USERS},
    step::{Step, Talk, client_id_of},
};

/// What one talker sends at once: commands with `;` between them. Who changes something in a transaction does so with the last word: what is
/// told at the end of a turn, each server tells when it likes.
pub(super) type Line = &'static str;

const TRACKING: &[Line] = &[
    "CLIENT TRACKING ON",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING ON NOLOOP",
    "CLIENT TRACKING ON OPTIN",
    "CLIENT TRACKING ON OPTOUT",
    "CLIENT TRACKING ON OPTIN NOLOOP",
    "CLIENT TRACKING ON OPTIN OPTOUT",
    "CLIENT TRACKING ON BCAST",
    "CLIENT TRACKING ON BCAST NOLOOP",
    "CLIENT TRACKING ON BCAST OPTIN",
    "CLIENT TRACKING ON BCAST PREFIX {prefix}",
    "CLIENT TRACKING ON PREFIX {prefix} NOLOOP",
    "CLIENT TRACKING ON BCAST PREFIX {prefix} PREFIX {prefix} NOLOOP",
    // Redis 8.2.3 replies twice where the first prefix is fine and others overlap.
    "CLIENT TRACKING ON BCAST PREFIX {prefix} PREFIX y PREFIX z",
    "CLIENT TRACKING ON REDIRECT {client}",
    "CLIENT TRACKING ON REDIRECT {client}",
    "CLIENT TRACKING ON NOLOOP REDIRECT {client}",
    "CLIENT TRACKING ON BCAST REDIRECT {client}",
    "CLIENT TRACKING ON REDIRECT 0",
    "CLIENT TRACKING OFF",
    "CLIENT TRACKING OFF",
    "CLIENT CACHING YES;GET {key}",
    "CLIENT CACHING YES;MGET {key} {key}",
    "CLIENT CACHING YES;CLIENT TRACKINGINFO;EXISTS {key}",
    "CLIENT CACHING YES;NOSUCH;GET {key}",
    "CLIENT CACHING YES;GET;GET {key}",
    "CLIENT CACHING YES;MULTI;GET {key};MGET {key} {key};EXEC;GET {key}",
    "MULTI;CLIENT CACHING YES;GET {key};EXEC;GET {key}",
    "CLIENT CACHING YES;MULTI;GET {key};DISCARD;GET {key}",
    "CLIENT CACHING YES;EVAL return(redis.call('get',KEYS[1])) 1 {key};GET {key}",
    "CLIENT CACHING NO;GET {key}",
    "CLIENT CACHING NO;MGET {key} {key};GET {key}",
    "CLIENT CACHING NO;MULTI;GET {key};EXEC;GET {key}",
    "CLIENT TRACKINGINFO",
    "CLIENT TRACKINGINFO",
    "CLIENT GETREDIR",
];

pub(super) const READS: &[Line] = &[
    "GET {key}",
    "GET {key}",
    "GET {key}",
    "MGET {key} {key} {key}",
    "MGET {key} {key} {key} {key} {key} {key}",
    "EXISTS {key} {key}",
    "TYPE {key}",
    "TTL {key}",
    "STRLEN {key}",
    "GETRANGE {key} 0 1",
    "GETBIT {key} 3",
    "LRANGE {key} 0 -1",
    "LLEN {key}",
    "SCARD {key}",
    "HGET {key} f",
    "ZRANGE {key} 0 -1",
    "XLEN {key}",
    "SORT_RO {sorted} BY nosuch",
    "PFCOUNT {key} {key}",
    "BITCOUNT {key}",
    "DUMP {key}",
    "OBJECT ENCODING {key}",
    "TOUCH {key} {key}",
    "SINTER {key} {key}",
    "LCS {key} {key}",
    "XREAD COUNT 1 STREAMS {key} 0",
    "EVAL return(redis.call('get',KEYS[1])) 2 {key} {key}",
    "EVAL_RO return(redis.call('exists',KEYS[1])) 2 {key} {key}",
    "MULTI;GET {key};GET {key};EXEC",
];

pub(super) const WRITES: &[Line] = &[
    "SET {key} {value}",
    "SET {key} {value}",
    "SET {key} {value} NX",
    "SET {key} {value} XX GET",
    "SET {key} {value} EX 1000",
    "MSET {key} {value} {key} {value} {key} {value}",
    "MSETNX {key} {value} {key} {value}",
    "GETSET {key} {value}",
    "GETDEL {key}",
    "GETEX {key} PERSIST",
    "INCR {key}",
    "INCRBYFLOAT {key} 1.5",
    "APPEND {key} x",
    "SETRANGE {key} 1 x",
    "SETBIT {key} 3 1",
    "DEL {key} {key}",
    "UNLINK {key} {key} {key}",
    "EXPIRE {key} 1000",
    "EXPIRE {key} -1",
    "PERSIST {key}",
    "RENAME {key} {key}",
    "RENAMENX {key} {key}",
    "COPY {key} {key} REPLACE",
    "COPY {key} {key} DB 1",
    "MOVE {key} 1",
    "LPUSH {key} {value} {value}",
    "RPUSHX {key} {value}",
    "RPUSH {sorted} {value}",
    "LPOP {key}",
    "LMOVE {key} {key} LEFT RIGHT",
    "LREM {key} 0 {value}",
    "LTRIM {key} 1 0",
    "LSET {key} 0 {value}",
    "SADD {key} {value}",
    "SREM {key} {value}",
    "SMOVE {key} {key} {value}",
    "SINTERSTORE {key} {key} {key}",
    "SUNIONSTORE {key} {key} {key}",
    "HSET {key} f {value}",
    "HSETNX {key} f {value}",
    "HDEL {key} f",
    "HEXPIRE {key} 1000 FIELDS 1 f",
    "ZADD {key} 1 {value}",
    "ZADD {key} 1 {value}",
    "ZREM {key} {value}",
    "ZPOPMIN {key}",
    "ZRANGESTORE {key} {key} 0 -1",
    "XADD {key} 1-* f v",
    "XDEL {key} 1-1",
    "XTRIM {key} MAXLEN 0",
    "PFADD {key} {value}",
    "PFMERGE {key} {key}",
    "SORT {sorted} ALPHA STORE {key}",
    "BITOP AND {key} {key} {key}",
    "BITFIELD {key} INCRBY u8 0 1",
    "FLUSHALL",
    "FLUSHALL ASYNC",
    "FLUSHDB",
    "SWAPDB 0 1",
    "EVAL redis.call('set',KEYS[1],'x')return(redis.call('get',KEYS[2])) 2 {key} {key}",
    "EVAL redis.call('get',KEYS[1])redis.call('del',KEYS[1])redis.call('incr',KEYS[2]) 2 {key} {key}",
    "MULTI;SET {key} {value};GET {key};EXEC",
    "MULTI;GET {key};SET {key} {value};GET {key};DEL {key};EXEC",
    "MULTI;INCR {key};PUBLISH {channel} {value};EXEC",
    "MULTI;SET {key} {value};FLUSHDB;EXEC",
    "MULTI;SET {key} {value};DISCARD",
];

/// What has a short life is looked at when it is over, and not before.
const SHORT_LIVES: &[Line] = &[
    "SET {key} {value} PX {short}",
    "SET {key} {value} PX {short}",
    "GETEX {key} PX {short}",
    "PEXPIRE {key} {short}",
    "MULTI;GET {key};PEXPIRE {key} {short};EXEC",
];

pub(super) const MESSAGES: &[Line] = &[
    "SUBSCRIBE {channel}",
    "SUBSCRIBE {channel} {channel}",
    "PSUBSCRIBE {pattern}",
    "PSUBSCRIBE {pattern} {pattern}",
    "SSUBSCRIBE {channel}",
    "UNSUBSCRIBE {channel}",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE {pattern}",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "SUNSUBSCRIBE {channel}",
    "PUBLISH {channel} {value}",
    "PUBLISH {channel} {value}",
    "PUBLISH {channel} {value}",
    "SPUBLISH {channel} {value}",
    "SPUBLISH {channel} {value}",
    "PUBSUB CHANNELS",
    "PUBSUB CHANNELS {pattern}",
    "PUBSUB NUMSUB {channel} {channel}",
    "PUBSUB NUMPAT",
    "PUBSUB SHARDCHANNELS",
    "PUBSUB SHARDNUMSUB {channel}",
    "MULTI;PUBLISH {channel} {value};SPUBLISH {channel} {value};EXEC",
    "EVAL return(redis.call('publish',KEYS[1],'x')) 1 {channel}",
    "MULTI;SUBSCRIBE {channel};EXEC",
    "CONFIG SET notify-keyspace-events KEA",
    "CONFIG SET notify-keyspace-events Kgx$",
    "CONFIG SET notify-keyspace-events Emn",
    "CONFIG SET notify-keyspace-events ''",
];

const KEYS: [&str; 6] = ["a", "ab", "abc", "b", "ba", "c"];

pub(super) const CONNECTION: &[Line] = &["HELLO 3", "HELLO 2", "RESET", "SELECT 0", "SELECT 1", "PING"];

/// A script.
pub fn script(random: &mut Random) -> Vec<Step> {
    let mut steps = Vec::new();
    // A run of steps is about one thing more than about others.
    let listens = random.random_bool(0.4);
    for _ in 0..random.random_range(20..60) {
        let talker = random.random_range(0..TALKERS);
        let lines = match random.random_range(0..100) {
            0..20 => TRACKING,
            20..42 => READS,
            42..76 => WRITES,
            76..80 => CONNECTION,
            80..82 => {
                steps.push(Step::Talk(Talk::Leaves { talker }));
                continue;
            }
            82..86 => SHORT_LIVES,
            _ if listens => MESSAGES,
            _ => READS,
        };
        let line = lines.choose(random).expect("some");
        let commands = line.split(';').map(|command| fill(random, command)).collect();
        steps.push(Step::Talk(Talk::Commands { talker, commands }));
        if line.contains("{short}") {
            steps.push(Step::Talk(Talk::TimePasses));
        }
    }
    // What is past its time and was not looked at would be met by RANDOMKEY later on, on one server and not on the other.
    let commands = BURIAL.split(';').map(|command| fill(random, command)).collect();
    steps.push(Step::Talk(Talk::Commands { talker: 0, commands }));
    steps
}

/// Looks at every [`KEYS`] of the databases that scripts use.
const BURIAL: &str = "RESET;EXISTS {keys};SELECT 1;EXISTS {keys};SELECT 0";

pub(super) fn fill(random: &mut Random, command: &str) -> Vec<Vec<u8>> {
    let pick = |random: &mut Random, from: &[&str]| from.choose(random).expect("some").as_bytes().to_vec();
    command
        .replace("{keys}", &KEYS.join(" "))
        .split(' ')
        .map(|word| match word {
            "{key}" => pick(random, &KEYS),
            // Never a sorted set: Redis gives one that it sorts the large encoding for good.
            "{sorted}" => pick(random, &["as", "bs"]),
            "{prefix}" => pick(random, &["a", "ab", "b", "ba", "c", "x", ""]),
            "{value}" => pick(random, &["1", "2", "x"]),
            "{channel}" => pick(random, &["one", "two", "three", "__redis__:invalidate", "__keyspace@0__:a"]),
            "{pattern}" => pick(random, &["t*", "*", "one", "__key*__:*", "nosuch"]),
            "{client}" => client_id_of(random.random_range(0..TALKERS)),
            "{known}" => pick(random, &USERS),
            "{user}" => pick(random, &["u", "u", "v", "w", "nosuch"]),
            "{password}" => pick(random, &["p1", "p1", "p2", "x"]),
            "{short}" => SHORT_LIFE_MS.to_string().into_bytes(),
            "''" => Vec::new(),
            word => word.as_bytes().to_vec(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filled_whole() {
        let mut random = testkit::random_from(1);
        for line in [TRACKING, READS, WRITES, SHORT_LIVES, MESSAGES, CONNECTION].into_iter().flatten() {
            for word in line.split(';').flat_map(|command| fill(&mut random, command)) {
                assert!(!word.starts_with(b"{") || word.starts_with(b"{client:"), "{line}");
            }
        }
    }
}

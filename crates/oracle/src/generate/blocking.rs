//! Clients that wait and clients that give: scripts of moves on several connections, one after the other.

use rand::{Rng, seq::IndexedRandom};
use testkit::Random;

use super::collections::{self, Ticks};
use crate::{
    pair::{CONNECTIONS, CONTROL},
    step::{Step, client_id_of},
};

/// A line of a move. `{…}` draws; `{list}`, `{zset}` and `{stream}` are keys of that type, `{any}` one of any of them, `{forever}` a
/// timeout that is never reached, `{entry}` an id for a new entry.
type Line = &'static str;

/// Commands that wait, each for what it waits for.
const WAITS: &[Line] = &[
    "BLPOP {list} {forever}",
    "BLPOP {list} {list} {any} {forever}",
    "BRPOP {list} {list} {forever}",
    "BLMOVE {list} {list} {side} {side} {forever}",
    "BLMOVE {list} {any} {side} {side} {forever}",
    "BRPOPLPUSH {list} {list} {forever}",
    "BLMPOP {forever} 1 {list} {side}",
    "BLMPOP {forever} 2 {list} {any} {side} COUNT {count}",
    "BZPOPMIN {zset} {forever}",
    "BZPOPMAX {zset} {zset} {any} {forever}",
    "BZMPOP {forever} 1 {zset} {extreme}",
    "BZMPOP {forever} 2 {zset} {any} {extreme} COUNT {count}",
    "XREAD BLOCK {forever_ms} STREAMS {stream} $",
    "XREAD COUNT {count} BLOCK {forever_ms} STREAMS {stream} {stream} $ {old}",
    "XREAD BLOCK {forever_ms} STREAMS {stream} +",
    "XREADGROUP GROUP group1 {consumer} BLOCK {forever_ms} STREAMS {stream} >",
    "XREADGROUP GROUP group1 {consumer} COUNT {count} BLOCK {forever_ms} NOACK STREAMS {stream} >",
    "XREADGROUP GROUP group2 {consumer} BLOCK {forever_ms} STREAMS {stream} {stream} > >",
];

/// Commands that wait a moment, in which nobody gives.
const SHORT_WAITS: &[Line] = &[
    "BLPOP {list} 0.02",
    "BLMOVE {list} {list} LEFT RIGHT 0.01",
    "BLMPOP 0.02 1 {list} LEFT",
    "BZPOPMIN {zset} 0.03",
    "BZMPOP 0.001 1 {zset} MAX",
    "XREAD BLOCK 20 STREAMS {stream} $",
    "XREADGROUP GROUP group1 {consumer} BLOCK 20 STREAMS {stream} >",
];

/// Commands that give, or take away what is waited for, or what it is waited in. No SWAPDB: in which order Redis serves several keys
/// that come at once is drawn by lot.
const GIFTS: &[Line] = &[
    "RPUSH {list} {member}",
    "RPUSH {list} {member}",
    "LPUSH {list} {member} {member}",
    "RPUSH {list} {member} {member} {member} {member}",
    "ZADD {zset} {score} {member}",
    "ZADD {zset} {score} {member} {score} {member} {score} {member}",
    "ZINCRBY {zset} {score} {member}",
    "XADD {stream} {entry} {member} {member}",
    "XADD {stream} {entry} {member} {member}",
    "XADD {stream} MAXLEN 2 {entry} {member} {member}",
    "LMOVE {list} {list} {side} {side}",
    "RPOPLPUSH {list} {list}",
    "LINSERT {list} BEFORE {member} {member}",
    "SORT set1 ALPHA STORE {list}",
    "LPOP {list}",
    "LTRIM {list} 1 0",
    "RENAME {any} {any}",
    "RENAMENX {any} {any}",
    "COPY {any} {any} REPLACE",
    "COPY {any} {any} DB 1",
    "MOVE {any} 0",
    "MOVE {any} 1",
    "DEL {any} {any}",
    "UNLINK {stream}",
    "SET {any} text",
    "SADD {any} {member}",
    "HSET {any} {member} {member}",
    "GEOADD {zset} 13.5 38.1 {member}",
    "ZUNIONSTORE {zset} 2 {zset} {any}",
    "ZRANGESTORE {zset} {zset} 0 -1",
    "ZPOPMIN {zset}",
    "ZREMRANGEBYRANK {zset} 0 -1",
    "XGROUP CREATE {stream} group1 0 MKSTREAM",
    "XGROUP CREATE {stream} group2 $ MKSTREAM",
    "XGROUP DESTROY {stream} group1",
    "XGROUP SETID {stream} group1 0",
    "XTRIM {stream} MAXLEN 0",
    "XDEL {stream} {old}",
    "XSETID {stream} {entry}",
    "EXPIRE {any} -1",
    "FLUSHDB",
    "FLUSHALL",
    "SELECT {db}",
    "CLIENT UNBLOCK {client}",
    "CLIENT UNBLOCK {client} TIMEOUT",
    "CLIENT UNBLOCK {client} ERROR",
];

/// A script. `is_known` says which commands there are; nothing comes of it where none of those that wait are.
pub fn script(random: &mut Random, ticks: &mut Ticks, is_known: impl Fn(&str) -> bool) -> Vec<Step> {
    let known = |lines: &[Line]| -> Vec<Line> {
        lines.iter().copied().filter(|line| is_known(&line.split(' ').next().expect("a word").to_lowercase())).collect()
    };
    let (waits, short_waits, gifts) = (known(WAITS), known(SHORT_WAITS), known(GIFTS));
    if waits.is_empty() || gifts.is_empty() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    // All in one database most of the time, and with little there.
    for connection in 0..=CONTROL {
        let database = if random.random_bool(0.9) { "0" } else { "1" };
        steps.push(say(connection, vec![vec![b"SELECT".to_vec(), database.into()]]));
    }
    let clear = ["DEL", "list1", "list2", "list3", "zset1", "zset2", "stream1"].map(|word| word.as_bytes().to_vec());
    if random.random_bool(0.8) {
        steps.push(say(CONTROL, vec![clear.to_vec()]));
    }
    if is_known("xgroup") {
        steps.push(say(CONTROL, vec![fill(random, ticks, "XGROUP CREATE stream1 group1 0 MKSTREAM")]));
    }
    for _ in 0..random.random_range(6..24) {
        let anybody = random.random_range(0..CONNECTIONS);
        let giver = if random.random_bool(0.7) { CONTROL } else { anybody };
        match random.random_range(0..20) {
            0..9 => {
                let line = waits.choose(random).expect("some");
                steps.push(say(anybody, vec![fill(random, ticks, line)]));
            }
            9 if !short_waits.is_empty() => {
                let line = short_waits.choose(random).expect("some");
                let commands = vec![fill(random, ticks, line)];
                steps.push(Step::Move { connection: anybody, commands, is_brief: true });
            }
            // In one packet: whoever waits is served between the two.
            10..12 => {
                let commands = (0..random.random_range(2..4))
                    .map(|_| {
                        let line = gifts.choose(random).expect("some");
                        fill(random, ticks, line)
                    })
                    .collect();
                steps.push(say(giver, commands));
            }
            _ => {
                let line = gifts.choose(random).expect("some");
                steps.push(say(giver, vec![fill(random, ticks, line)]));
            }
        }
    }
    steps
}

fn say(connection: usize, commands: Vec<Vec<Vec<u8>>>) -> Step {
    Step::Move { connection, commands, is_brief: false }
}

fn fill(random: &mut Random, ticks: &mut Ticks, line: &str) -> Vec<Vec<u8>> {
    let pick = |random: &mut Random, from: &[&str]| from.choose(random).expect("some").as_bytes().to_vec();
    line.split(' ')
        .map(|word| match word {
            "{list}" => pick(random, &["list1", "list1", "list2", "list3"]),
            "{zset}" => pick(random, &["zset1", "zset1", "zset2"]),
            "{stream}" => pick(random, &["stream1", "stream1", "stream2"]),
            "{any}" => pick(random, &["list1", "list2", "zset1", "zset2", "stream1", "set1"]),
            "{side}" => pick(random, &["LEFT", "RIGHT"]),
            "{extreme}" => pick(random, &["MIN", "MAX"]),
            "{count}" => pick(random, &["1", "2", "10"]),
            "{forever}" => pick(random, &["0", "0", "1000", "900.5", "0.0"]),
            "{forever_ms}" => pick(random, &["0", "0", "900000"]),
            "{db}" => pick(random, &["0", "1"]),
            "{member}" => collections::member(random),
            "{score}" => pick(random, &["1", "2", "-1", "1.5", "inf"]),
            "{consumer}" => pick(random, &["alice", "bob"]),
            "{entry}" => ticks.new_id(random).into_bytes(),
            "{old}" => ticks.old_id(random).into_bytes(),
            "{client}" => client_id_of(random.random_range(0..CONNECTIONS)),
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
        for line in [WAITS, SHORT_WAITS, GIFTS].into_iter().flatten() {
            for word in fill(&mut random, &mut Ticks::default(), line) {
                assert!(!word.starts_with(b"{") || word.starts_with(b"{client:"), "{line}");
            }
        }
    }

    #[test]
    fn nothing_without_commands_that_wait() {
        let mut random = testkit::random_from(1);
        assert!(script(&mut random, &mut Ticks::default(), |name| name == "set").is_empty());
        assert!(!script(&mut random, &mut Ticks::default(), |_| true).is_empty());
    }
}

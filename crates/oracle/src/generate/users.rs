//! Scripts of users: connections act under rules that change while they do. Talker 0 rules and may do everything; the others log in and out,
//! are refused, lose their user, and are told in the log what was refused to whom.

use rand::{Rng, seq::IndexedRandom};
use testkit::{Kind, Random};

use super::listening::{self, CONNECTION, Line, MESSAGES, READS, WRITES, fill};
use crate::{
    listening::TALKERS,
    step::{Step, Talk},
};

/// Rules that are one.
const RULES: &[&str] = &[
    "on",
    "on",
    "on",
    "off",
    "nopass",
    "nopass",
    "resetpass",
    ">p1",
    ">p1",
    ">p2",
    "<p1",
    "<p2",
    // The SHA-256 of p1.
    "#f64551fcd6f07823cb87971cfb91446425da18286b3ab1ef935e0cbd7a69f68a",
    "!f64551fcd6f07823cb87971cfb91446425da18286b3ab1ef935e0cbd7a69f68a",
    "allkeys",
    "~*",
    "~*",
    "~a*",
    "~b",
    "~ab",
    "~[bc]*",
    "%R~a*",
    "%R~*",
    "%W~b*",
    "%W~*",
    "%RW~c",
    "%r~b",
    "%wR~a",
    "resetkeys",
    "allchannels",
    "&*",
    "&one",
    "&t*",
    "resetchannels",
    "allcommands",
    "nocommands",
    "+@all",
    "+@all",
    "+@all",
    "-@all",
    "+@read",
    "+@write",
    "-@write",
    "+@string",
    "-@string",
    "+@list",
    "+@hash",
    "+@set",
    "+@sortedset",
    "+@stream",
    "+@pubsub",
    "-@pubsub",
    "+@dangerous",
    "-@dangerous",
    "+@admin",
    "+@scripting",
    "-@scripting",
    "+@transaction",
    "-@transaction",
    "+@connection",
    "+@fast",
    "-@slow",
    "+@keyspace",
    "+@blocking",
    "+get",
    "-get",
    "+set",
    "-set",
    "+GET",
    "+mget",
    "-del",
    "+acl",
    "-acl",
    "+acl|whoami",
    "-acl|whoami",
    "+acl|log",
    "+client",
    "-client|info",
    "+config|get",
    "-config|set",
    "+eval",
    "-eval",
    "+multi",
    "+exec",
    "-exec",
    "+publish",
    "+subscribe",
    "+psubscribe",
    "+select|0",
    "-select",
    "+sort",
    "+object|encoding",
    "-object",
    "(+get ~b*)",
    "(+@write ~c %R~a*)",
    "(+@all %W~b*)",
    "(~a +set +get &one)",
    "(+@read -get allkeys)",
    "(+publish &t*)",
    "clearselectors",
    "sanitize-payload",
    "skip-sanitize-payload",
    "reset",
];

/// What is none, or comes at a wrong time.
const MISTAKES: &[&str] = &[
    "foo",
    "",
    "+",
    "-",
    "+@",
    "+@nosuch",
    "-@nosuch",
    "+nosuch",
    "-nosuch",
    "+get|foo",
    "+client|nosuch",
    "-acl|nosuch",
    "+acl|log|x",
    "-get|foo",
    "%~a",
    "%X~a",
    "%R",
    "%R~",
    "~",
    "&",
    ">",
    "<nosuch",
    "#abc",
    "!abc",
    "!0000000000000000000000000000000000000000000000000000000000000000",
    "(",
    ")",
    "()",
    "(+get",
    "(on)",
    "(+get (+set))",
    "~a b",
    "& x",
    "(+nosuch)",
    "+@read|get",
];

/// Only Valkey has these.
const DATABASES: &[&str] =
    &["alldbs", "alldbs", "resetdbs", "db=0", "db=0,1", "db=1", "(+@all ~* db=1)", "db=", "db=x", "db=-1", "db=0,"];

const RULING: &[Line] = &[
    "ACL DELUSER {user}",
    "ACL DELUSER {user} {user}",
    "ACL GETUSER {user}",
    "ACL GETUSER {user}",
    "ACL GETUSER {user}",
    "ACL LIST",
    "ACL LIST",
    "ACL USERS",
    "ACL WHOAMI",
    "ACL LOG",
    "ACL LOG",
    "ACL LOG 2",
    "ACL LOG RESET",
    "ACL SAVE",
    "ACL LOAD",
    "ACL SETUSER {known} reset on nopass +@all ~* &*",
    "ACL SETUSER {known} reset on >p1 +@all -@dangerous ~a* &one",
    "CONFIG SET acl-pubsub-default allchannels",
    "CONFIG SET acl-pubsub-default resetchannels",
    "CONFIG SET acllog-max-len 3",
    "CONFIG SET acllog-max-len 128",
];

const LOGGING_IN: &[Line] = &[
    "AUTH {user} {password}",
    "AUTH {user} {password}",
    "AUTH {user} {password}",
    "AUTH {user} {password}",
    "AUTH default x",
    "AUTH {password}",
    "HELLO 2 AUTH {user} {password}",
    "HELLO 3 AUTH {user} {password} SETNAME {user}",
    "RESET",
];

/// What rules judge in a way of its own.
const JUDGED: &[Line] = &[
    "ACL WHOAMI",
    "ACL WHOAMI",
    "ACL GETUSER {user}",
    "ACL DRYRUN {user} GET {key}",
    "ACL LOG",
    "CLIENT INFO",
    "CLIENT GETNAME",
    "CLIENT SETNAME {user}",
    "CONFIG GET maxmemory",
    "CONFIG SET maxmemory-samples 5",
    "SELECT 0",
    "SELECT 1",
    "NOSUCH",
    "GET",
    "OBJECT NOSUCH",
    "KEYS *",
    "RANDOMKEY",
    "DBSIZE",
    "RPUSH {sorted} b a",
    "SORT {sorted} ALPHA",
    "SORT {sorted} BY a* GET b* ALPHA",
    "SORT {sorted} GET # ALPHA",
    "SORT_RO {sorted} GET a* ALPHA",
    "SORT {sorted} BY a* STORE {key}",
    "SET {key} {value} GET",
    "BITFIELD {key} GET u8 0",
    "BITFIELD_RO {key} GET u8 0",
    "BITFIELD {key} GET u8 0 SET u8 0 1",
    "XGROUP CREATE {key} g 0 MKSTREAM",
    "XREADGROUP GROUP g c COUNT 1 STREAMS {key} {key} > >",
    "XREAD COUNT 1 STREAMS {key} {key} 0 0",
    "LMPOP 2 {key} {key} LEFT",
    "ZUNION 2 {key} {key}",
    "ZDIFFSTORE {key} 2 {key} {key}",
    "GEORADIUS {key} 0 0 1 m STORE {key}",
    "GEOSEARCHSTORE {key} {key} FROMLONLAT 0 0 BYRADIUS 1 m",
    "MEMORY USAGE {key}",
    "DEBUG OBJECT {key}",
    "MULTI;GET {key};SET {key} {value};EXEC",
    "MULTI;SET {key} {value};DEL {key};EXEC",
    "MULTI;ACL WHOAMI;GET {key};DISCARD",
    "WATCH {key};MULTI;INCR {key};EXEC",
    "WATCH {key} {key}",
    "UNWATCH",
];

const SCRIPTED: &[Line] = &[
    "EVAL return(redis.call('get',KEYS[1])) 1 {key}",
    "EVAL return(redis.call('get','a')) 0",
    "EVAL return(redis.pcall('set',KEYS[1],'x')) 1 {key}",
    "EVAL_RO return(redis.call('get',KEYS[1])) 1 {key}",
    "EVAL return(redis.call('publish','one','x')) 0",
    "EVAL return(tostring(redis.acl_check_cmd('set','a','x'))) 0",
    "EVAL return(tostring(redis.acl_check_cmd('get',KEYS[1]))) 1 {key}",
    "EVAL return(tostring(redis.acl_check_cmd('publish','one','x'))) 0",
    "EVAL return(redis.call('acl','whoami')) 0",
    "MULTI;EVAL return(redis.call('get',KEYS[1])) 1 {key};EXEC",
];

/// A script.
pub fn script(random: &mut Random, reference: Kind) -> Vec<Step> {
    let is_valkey = reference == Kind::Valkey91;
    let mut steps = Vec::new();
    let say = |talker: usize, commands: Vec<Vec<Vec<u8>>>| Step::Talk(Talk::Commands { talker, commands });
    for _ in 0..random.random_range(1..4) {
        steps.push(say(0, vec![set_user(random, is_valkey)]));
    }
    for _ in 0..random.random_range(30..90) {
        let talker = random.random_range(1..TALKERS);
        let lines = match random.random_range(0..100) {
            0..12 => {
                steps.push(say(0, vec![set_user(random, is_valkey)]));
                continue;
            }
            12..22 => {
                if let Some(line) = line(random, RULING, is_valkey) {
                    steps.push(say(0, vec![fill(random, line)]));
                }
                continue;
            }
            22..28 => {
                steps.push(say(0, vec![dry_run(random, is_valkey)]));
                continue;
            }
            28 => {
                steps.push(Step::Talk(Talk::Leaves { talker }));
                continue;
            }
            29..41 => LOGGING_IN,
            41..58 => JUDGED,
            58..68 => READS,
            68..82 => WRITES,
            82..92 => MESSAGES,
            92..98 => SCRIPTED,
            _ => CONNECTION,
        };
        if let Some(line) = line(random, lines, is_valkey) {
            let commands = line.split(';').map(|command| fill(random, command)).collect();
            steps.push(say(talker, commands));
        }
    }
    steps.push(say(0, vec![fill(random, "ACL LOG 100")]));
    steps.push(say(0, vec![fill(random, if is_valkey { "ACL USERS" } else { "ACL LIST" })]));
    steps
}

/// Valkey has words of its own for what goes wrong in a script or without a file, shows databases of all users, takes who watches, or was in a
/// transaction, for somebody in one (CLIENT LIST), names itself in HELLO, calls a deletion by a time that is past another event, sorts by fewer
/// texts as numbers (by no empty one, and none with a NUL), and calls longer strings `embstr`.
const NOT_ALIKE_IN_VALKEY: [&str; 11] = [
    "EVAL",
    "ACL GETUSER",
    "ACL LIST",
    "ACL SAVE",
    "ACL LOAD",
    "WATCH",
    "MULTI",
    "HELLO",
    "notify-keyspace-events",
    "BY a*",
    "OBJECT ENCODING",
];

/// One of the lines, if the reference says the same to it.
fn line(random: &mut Random, lines: &[Line], is_valkey: bool) -> Option<Line> {
    let line = lines.choose(random).expect("some");
    let is_alike = !is_valkey || !NOT_ALIKE_IN_VALKEY.iter().any(|word| line.contains(word));
    is_alike.then_some(line)
}

fn set_user(random: &mut Random, is_valkey: bool) -> Vec<Vec<u8>> {
    let mut command = fill(random, "ACL SETUSER {known}");
    for _ in 0..random.random_range(0..7) {
        let rules = match random.random_range(0..40) {
            0 => MISTAKES,
            1..8 if is_valkey => DATABASES,
            _ => RULES,
        };
        command.push(rules.choose(random).expect("some").as_bytes().to_vec());
    }
    command
}

fn dry_run(random: &mut Random, is_valkey: bool) -> Vec<Vec<u8>> {
    let lines = [READS, WRITES, MESSAGES, JUDGED, SCRIPTED].choose(random).expect("some");
    let line = line(random, lines, is_valkey).unwrap_or("GET {key}");
    let command = line.split(';').next_back().expect("one");
    let mut whole = fill(random, "ACL DRYRUN {user}");
    whole.extend(listening::fill(random, command));
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filled_whole() {
        let mut random = testkit::random_from(1);
        for line in [RULING, LOGGING_IN, JUDGED, SCRIPTED].into_iter().flatten() {
            for word in line.split(';').flat_map(|command| fill(&mut random, command)) {
                assert!(!word.starts_with(b"{"), "{line}");
            }
        }
    }
}

//! Effects and events of generated commands, in the rig and in a real server with a replica's link and a subscriber.
//!
//! The commands come from the oracle's generator, which reads the real server's documentation: a group that joins the registry
//! is drawn from the next run on. Each batch has its own mask of events, its own `lazyfree-*` and its own thresholds of
//! encodings, and starts from nothing. `SPINEL_EFFECTS_COMMANDS` says how many commands are played (40,000), and
//! `SPINEL_SEED` which.

mod observed;
mod peer;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use commands::effects::Readers;
use commands::spec::Flags;
use commands::testing::Rig;
use keyspace::Millis;
use observed::{Effect, Event, Observed, words};
use peer::Peer;
use rand::Rng;
use rand::seq::IndexedRandom;
use spinel_commands as commands;
use spinel_oracle::coverage::facts;
use spinel_oracle::generate::Generator;
use spinel_oracle::step::Step;
use testkit::{Kind, Random, program, random_from, seed, skip_aloud};

/// Groups whose commands act on keys.
const GROUPS: [&str; 10] =
    ["string", "generic", "list", "set", "sorted-set", "hash", "stream", "bitmap", "hyperloglog", "geo"];

const BATCH_COMMANDS: usize = 400;

/// Until what was given a millisecond has expired. In the rig the clock is moved.
const SLEEP: &str = "DEBUG SLEEP 0.003";

/// Commands that draw members: which ones, and so what is in the key from then on, is free.
const DRAWN: &[&str] = &["spop"];

/// What the generator does not make, because the oracle's connections would wait, and what needs several commands. The keys are theirs
/// alone.
const SCENES: &[&str] = &[
    "RPUSH li a b c d",
    "BLPOP li2 li 1",
    "BRPOP li li2 0.5",
    "BLMOVE li li2 LEFT RIGHT 1",
    "BLMPOP 1 2 li li2 LEFT COUNT 2",
    "BLMPOP 1 1 li2 RIGHT",
    "BRPOPLPUSH li li2 1",
    "ZADD zs 1 a 2 b 3 c 4 d",
    "BZPOPMIN zs 1",
    "BZPOPMAX no zs 1",
    "BZMPOP 1 2 no zs MIN COUNT 2",
    "SADD se a b c d e f g; SPOP se 3; DEL se",
    "SADD se a b c d e f g; SPOP se; DEL se",
    "SADD se 1 2 3; SPOP se 9",
    "HSET ha f v g w h x",
    "HSET ha f v g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HGET ha f",
    "HSET ha f v g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HMGET ha f g",
    "HSET ha f 1 g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HINCRBY ha f 1",
    "HSET ha f 1 g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HINCRBYFLOAT ha f 1.5",
    "HSET ha f v g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HSET ha f 3",
    "HSET ha f v g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HDEL ha f g",
    "HSET ha f v g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HEXISTS ha f",
    "HSET ha f v g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HSTRLEN ha f; HGETALL ha; HLEN ha",
    "HSET ha f v g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HSETNX ha f 3",
    "HSET ha f v g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HEXPIRE ha 100 FIELDS 2 f g",
    "HSET ha f v g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HPERSIST ha FIELDS 1 f",
    "HSET ha f v g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HGETDEL ha FIELDS 2 f g",
    "HSET ha f v g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HGETEX ha EX 100 FIELDS 2 f g",
    "HSET ha f v g w; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HSETEX ha FNX EX 100 FIELDS 1 f 5",
    "DEL ha; HSET ha f v; HPEXPIRE ha 1 FIELDS 1 f; DEBUG SLEEP 0.003; HGET ha f; EXISTS ha; HSET ha g 1",
    "XADD st 5-* f v",
    "XADD st 5-* f v g w",
    "XADD st MAXLEN ~ 3 6-* f v",
    "XADD st MAXLEN 3 6-* f v",
    "XADD st MINID ~ 5-2 6-* f v",
    "XADD st2 * f v; DEL st2",
    "XADD st2 NOMKSTREAM * f v",
    "XTRIM st MAXLEN ~ 1",
    "XTRIM st MINID 5-2",
    "XGROUP CREATE st g 0 MKSTREAM",
    "XGROUP CREATE st h $ MKSTREAM",
    "XGROUP CREATECONSUMER st h dave",
    "XREADGROUP GROUP g alice COUNT 2 STREAMS st >",
    "XREADGROUP GROUP g bob COUNT 1 NOACK STREAMS st >",
    "XREADGROUP GROUP h bob STREAMS st >",
    "XREADGROUP GROUP g alice STREAMS st 0",
    "XREADGROUP GROUP g carol BLOCK 5 STREAMS st >",
    "XREAD COUNT 1 STREAMS st 0",
    "XREAD BLOCK 5 STREAMS st2 0",
    "XCLAIM st g bob 0 5-0 5-1 6-0",
    "XCLAIM st g bob 0 5-1 IDLE 100 RETRYCOUNT 3",
    "XCLAIM st g dave 0 5-2 9-9 FORCE JUSTID",
    "XAUTOCLAIM st g alice 0 0 COUNT 2",
    "XACK st g 5-0 5-1",
    "XACKDEL st g DELREF IDS 1 5-1",
    "XDEL st 5-0 6-1",
    "XDELEX st ACKED IDS 2 5-0 6-0",
    "XSETID st 99999-0",
    "XGROUP SETID st g 0",
    "XGROUP DELCONSUMER st g bob",
    "XGROUP DESTROY st h",
    "DEL st",
];

/// A difference that is right: the command's name, when, and why.
struct Known(Kind, &'static str, fn(&[Vec<u8>]) -> bool, &'static str);

const KNOWN: &[Known] = &[
    Known(
        Kind::Valkey91,
        "set",
        |args| {
            args.windows(2).any(|pair| pair[0].eq_ignore_ascii_case(b"IFEQ") && pair[1].eq_ignore_ascii_case(b"GET"))
        },
        "Valkey drops a comparison value that reads GET, and propagates what no server understands",
    ),
    Known(
        Kind::Valkey91,
        "msetex",
        |args| {
            let is_expiry = |arg: &&Vec<u8>| {
                ["EX", "PX", "EXAT", "PXAT"].iter().any(|word| arg.eq_ignore_ascii_case(word.as_bytes()))
            };
            args.iter().filter(is_expiry).count() > 1
        },
        "Valkey makes an instant of the last of several expiries only, and propagates what contradicts itself",
    ),
    Known(
        Kind::Redis82,
        "bitfield",
        |args| args.iter().any(|arg| arg.eq_ignore_ascii_case(b"FAIL")),
        "Redis does not propagate a BITFIELD whose writes all fail, although it may have lengthened the string",
    ),
    Known(
        Kind::Redis82,
        "xadd",
        |args| args.windows(2).any(|pair| pair[0].eq_ignore_ascii_case(b"MINID") && pair[1] == b"~"),
        "what an approximate MINID has left begins, for Redis, with an entry that may be deleted; the same entries are left",
    ),
];

/// Against Valkey, only what Redis does not have is judged: elsewhere Redis decides.
fn is_judged(kind: Kind, name: &str, args: &[Vec<u8>]) -> bool {
    kind == Kind::Redis82
        || ["delifeq", "msetex"].contains(&name)
        || name == "set" && args.iter().any(|arg| arg.eq_ignore_ascii_case(b"IFEQ"))
}

type Command = Vec<Vec<u8>>;

#[test]
fn as_in_redis() {
    must_equal(Kind::Redis82, commands_max());
}

#[test]
fn as_in_valkey_where_only_valkey_has_it() {
    must_equal(Kind::Valkey91, commands_max() / 10);
}

/// A planted bug must be found, or the comparison is worth nothing.
#[test]
fn it_bites() {
    type Spoil = fn(&mut Observed);
    let spoils: [(&str, Spoil); 3] = [
        ("an expiry that is not an instant", |ours| {
            for effect in ours.units.iter_mut().flatten().filter(|effect| effect.args[0] == b"PEXPIREAT") {
                effect.args[0] = b"PEXPIRE".to_vec();
            }
        }),
        ("an event that is missing", |ours| ours.events.retain(|event| event.name != "rename_to")),
        ("effects that do not hold together", |ours| {
            ours.units = ours.units.iter().flatten().map(|effect| vec![effect.clone()]).collect();
        }),
    ];
    for (what, spoil) in spoils {
        if let Some(differences) = compare(Kind::Redis82, 20_000, spoil) {
            assert!(!differences.is_empty(), "nobody has noticed {what}");
        }
    }
}

fn commands_max() -> usize {
    std::env::var("SPINEL_EFFECTS_COMMANDS").map_or(40_000, |text| text.parse().expect("a number"))
}

fn must_equal(kind: Kind, commands_max: usize) {
    let Some(differences) = compare(kind, commands_max, |_| {}) else { return };
    for text in differences.values() {
        println!("{text}\n");
    }
    assert!(differences.is_empty(), "{} commands differ: {:?}", differences.len(), differences.keys());
}

/// The first difference of each command; none where the real server is not there. `spoil` changes what the rig has done.
fn compare(kind: Kind, commands_max: usize, spoil: fn(&mut Observed)) -> Option<BTreeMap<String, String>> {
    if program(kind).is_none() {
        skip_aloud(&format!("no {kind} here (run tools/peers.sh)"));
        return None;
    }
    let mut random = random_from(seed());
    let mut peer = Peer::start(kind);
    let mut rig = Rig::new();
    // The real server plays what may block in a transaction.
    rig.may_block = false;
    let mut generator = generator(kind, &mut peer, &rig);
    let mut differences: BTreeMap<String, String> = BTreeMap::new();
    let mut explained = BTreeMap::<&str, usize>::new();
    let mut played = BTreeMap::<String, usize>::new();
    let mut done = 0;
    while done < commands_max {
        let setup = setup(&mut random, kind);
        let batch: Vec<Command> = setup.into_iter().chain(batch(&mut generator, &mut random, &rig)).collect();
        let observed = peer.play(&batch, |command| may_block(&rig, command));
        done += batch.len();
        for (at, (command, theirs)) in batch.iter().zip(&observed).enumerate() {
            let mut ours = play(&mut rig, command);
            spoil(&mut ours);
            let name = String::from_utf8_lossy(&command[0]).to_lowercase();
            *played.entry(name.clone()).or_default() += 1;
            if !is_judged(kind, &name, command) {
                continue;
            }
            let drawn = DRAWN.contains(&name.as_str());
            let walks_a_set = name.starts_with("sort");
            if ours.same_effects(theirs, drawn) && ours.same_events(theirs, walks_a_set) {
                continue;
            }
            if let Some(Known(.., reason)) =
                KNOWN.iter().find(|known| known.0 == kind && known.1 == name && known.2(command))
            {
                *explained.entry(reason).or_default() += 1;
                break;
            }
            let before = batch[..at]
                .iter()
                .filter(|before| before[1..].iter().any(|word| word.len() < 40 && command[1..].contains(word)));
            let before: Vec<String> = before.map(|command| format!("      {}", words(command))).collect();
            let text = format!(
                "{}\n    ours   {ours}\n    theirs {theirs}\n    with {}, and before it:\n{}",
                words(command),
                words(&batch[0]),
                before[before.len().saturating_sub(25)..].join("\n")
            );
            differences.entry(name).or_insert(text);
            // From here on the data may differ.
            break;
        }
    }
    println!("{done} commands of {} names against {kind}", played.len());
    for (reason, times) in &explained {
        println!("  explained, {times} times: {reason}");
    }
    Some(differences)
}

fn generator(kind: Kind, peer: &mut Peer, rig: &Rig) -> Generator {
    let catalogue = facts::load(peer.client()).expect("a real server tells its commands");
    let known: BTreeSet<String> =
        rig.world.global.registry.all().iter().map(|command| command.full_name.to_string()).collect();
    let groups = GROUPS.map(str::to_owned);
    let generator = Generator::new(kind, &catalogue, &groups, &[], &known);
    if !generator.not_sent.is_empty() {
        println!("not in the registry: {}", generator.not_sent.join(", "));
    }
    generator
}

/// Everything anew, with other settings.
fn setup(random: &mut Random, kind: Kind) -> Vec<Command> {
    let line = |text: &str| text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Command>();
    // Valkey knows no `o` and no `c`.
    let letters = if kind == Kind::Redis82 { "g$lshzxetmdnoc" } else { "g$lshzxetmdn" };
    let everything = random.random_bool(0.6);
    let letters: String = letters.chars().filter(|_| everything || random.random_bool(0.5)).collect();
    let mut lines =
        vec![line(&format!("CONFIG SET notify-keyspace-events E{letters}")), line("DEBUG SET-ACTIVE-EXPIRE 0")];
    for name in ["expire", "user-del", "server-del", "user-flush"] {
        let value = ["yes", "no"].choose(random).expect("not empty");
        lines.push(line(&format!("CONFIG SET lazyfree-lazy-{name} {value}")));
    }
    let entries = ["2", "128"].choose(random).expect("not empty");
    for name in
        ["hash-max-listpack-entries", "zset-max-listpack-entries", "set-max-listpack-entries", "set-max-intset-entries"]
    {
        lines.push(line(&format!("CONFIG SET {name} {entries}")));
    }
    lines.extend(["SELECT 0", "FLUSHALL"].map(line));
    lines
}

fn batch(generator: &mut Generator, random: &mut Random, rig: &Rig) -> Vec<Command> {
    let line = |text: &str| text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Command>();
    let mut commands = Vec::new();
    while commands.len() < BATCH_COMMANDS {
        for step in generator.steps(random, 20) {
            match step {
                // It draws the key whose expiry it finds out.
                Step::Command { arguments, .. } if arguments[0].eq_ignore_ascii_case(b"RANDOMKEY") => {}
                Step::Command { arguments, .. } | Step::Chance { arguments, .. } => {
                    let name = String::from_utf8_lossy(&arguments[0]).to_lowercase();
                    let key = arguments.get(1).cloned().unwrap_or_default();
                    let is_free =
                        DRAWN.contains(&name.as_str()) || name == "xadd" && arguments.contains(&b"*".to_vec());
                    commands.push(arguments);
                    if is_free {
                        // The two keys are not the same from here on.
                        commands.push(vec![b"DEL".to_vec(), key]);
                    }
                }
                Step::ExpireSoon { key, .. } => {
                    commands.push(vec![b"PEXPIRE".to_vec(), key, b"1".to_vec()]);
                    commands.push(line(SLEEP));
                }
                Step::ExpireFieldSoon { key, field, .. } => {
                    let one = [b"1".to_vec(), b"FIELDS".to_vec(), b"1".to_vec()];
                    commands.push([vec![b"HPEXPIRE".to_vec(), key], one.to_vec(), vec![field]].concat());
                    commands.push(line(SLEEP));
                }
                Step::Together { commands: several, .. } => commands.extend(several),
                // Not about single commands.
                Step::ScanToEnd { .. }
                | Step::Talk(_)
                | Step::Exchange { .. }
                | Step::Raw(_)
                | Step::Move { .. }
                | Step::Persistence(_) => {}
            }
        }
        for _ in 0..3 {
            let scene = SCENES.choose(random).expect("not empty");
            let lines: Vec<Command> = scene.split("; ").map(line).collect();
            if lines.iter().all(|line| is_known(rig, line)) {
                commands.extend(lines);
            }
        }
        match random.random_range(0..8) {
            0 => commands.push(line(["SELECT 0", "SELECT 1"].choose(random).expect("not empty"))),
            1 => commands.push(line(
                ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC", "SWAPDB 0 1", "SWAPDB 1 1"]
                    .choose(random)
                    .expect("not empty"),
            )),
            _ => {}
        }
    }
    commands
}

fn is_known(rig: &Rig, command: &[Vec<u8>]) -> bool {
    let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    rig.world.global.registry.resolve(&args).is_ok()
}

fn may_block(rig: &Rig, command: &[Vec<u8>]) -> bool {
    let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    let found = rig.world.global.registry.resolve(&args);
    found.is_ok_and(|command| command.spec.flags.contains(Flags::BLOCKING))
}

/// Plays one command in the rig, at the real time.
fn play(rig: &mut Rig, command: &[Vec<u8>]) -> Observed {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    rig.now = Millis((elapsed.as_millis() as i64).max(rig.now.0));
    let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    let is_sleep = words(command) == SLEEP;
    let reply = if is_sleep { "slept".to_owned() } else { String::from_utf8_lossy(&rig.run_args(&args)).into_owned() };
    // The real server's client waits until its time is over; nobody else is there to wake it.
    if reply == "BLOCKED" {
        let client = rig.session.client.id;
        rig.time_out(client);
    }
    if is_sleep {
        rig.now.0 += 3;
    }
    let settings = &rig.world.global.settings;
    rig.readers =
        Readers { journal: true, events: settings.events, unlink_expired: settings.unlink_expired, ..Readers::NONE };
    let effect =
        |effect: commands::effects::Effect<'_>| Effect::new(effect.db.0, effect.args().map(<[u8]>::to_vec).collect());
    let units = rig.effects.units().map(|unit| unit.iter().map(effect).collect()).collect();
    let event = |event: &commands::effects::Event| Event {
        db: event.db.0,
        name: event.name.to_owned(),
        key: event.key.clone(),
    };
    let events = rig.effects.events().iter().map(event).collect();
    rig.effects.clear();
    Observed { reply, units, events }
}

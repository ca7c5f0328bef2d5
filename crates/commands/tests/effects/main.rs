//! Effects and events of generated commands, in the rig and in a real server with a replica's link and a subscriber.
//!
//! The commands come from the oracle's generator, which reads the real server's documentation: a group that joins the registry
//! is drawn from the next run on. Each batch has its own mask of events, its own `lazyfree-*` and its own thresholds of
//! encodings, and starts from nothing. `SPINEL_EFFECTS_COMMANDS` says how many commands are played (10,000), and
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

/// Commands that draw members: which ones, and so what is in the key from then on, is free.
const DRAWN: &[&str] = &["spop"];

/// What differs, and why that is right.
const KNOWN: &[(&str, &str)] = &[];

type Command = Vec<Vec<u8>>;

#[test]
fn as_in_redis() {
    compare(Kind::Redis82, 1);
}

#[test]
fn as_in_valkey_where_only_valkey_has_it() {
    compare(Kind::Valkey91, 10);
}

fn compare(kind: Kind, part: usize) {
    if program(kind).is_none() {
        return skip_aloud(&format!("no {kind} here (run tools/peers.sh)"));
    }
    let commands_max =
        std::env::var("SPINEL_EFFECTS_COMMANDS").map_or(10_000, |text| text.parse().expect("a number")) / part;
    let mut random = random_from(seed());
    let mut peer = Peer::start(kind);
    let mut rig = Rig::new();
    let mut generator = generator(kind, &mut peer, &rig);
    // The first difference of each command.
    let mut differences: BTreeMap<String, String> = BTreeMap::new();
    let mut played = BTreeMap::<String, usize>::new();
    let mut done = 0;
    while done < commands_max {
        let setup = setup(&mut random, kind);
        let batch: Vec<Command> = setup.into_iter().chain(batch(&mut generator, &mut random)).collect();
        let observed = peer.play(&batch, |command| may_block(&rig, command));
        done += batch.len();
        for (at, (command, theirs)) in batch.iter().zip(&observed).enumerate() {
            let ours = play(&mut rig, command);
            let name = String::from_utf8_lossy(&command[0]).to_lowercase();
            *played.entry(name.clone()).or_default() += 1;
            let drawn = DRAWN.contains(&name.as_str());
            if ours.same_effects(theirs, drawn) && ours.events == theirs.events {
                continue;
            }
            if KNOWN.iter().any(|(known, _)| *known == name) {
                break;
            }
            let before = batch[..at].iter().filter(|before| {
                is_setting(before) || before[1..].iter().any(|word| word.len() < 40 && command[1..].contains(word))
            });
            let before: Vec<String> = before.map(|command| format!("      {}", words(command))).collect();
            let text = format!(
                "{}\n    ours   {ours}\n    theirs {theirs}\n    before it:\n{}",
                words(command),
                before[before.len().saturating_sub(25)..].join("\n")
            );
            differences.entry(name).or_insert(text);
            // From here on the data may differ.
            break;
        }
    }
    println!("{done} commands of {} names against {kind}", played.len());
    for (_, text) in &differences {
        println!("{text}\n");
    }
    assert!(differences.is_empty(), "{} commands differ: {:?}", differences.len(), differences.keys());
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

fn is_setting(command: &Command) -> bool {
    command[0] == b"CONFIG"
}

fn batch(generator: &mut Generator, random: &mut Random) -> Vec<Command> {
    let line = |text: &str| text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Command>();
    let mut commands = Vec::new();
    while commands.len() < BATCH_COMMANDS {
        for step in generator.steps(random, 20) {
            match step {
                Step::Command { arguments, .. } => {
                    let name = String::from_utf8_lossy(&arguments[0]).to_lowercase();
                    let key = arguments.get(1).cloned();
                    commands.push(arguments);
                    if DRAWN.contains(&name.as_str())
                        && let Some(key) = key
                    {
                        commands.push(vec![b"DEL".to_vec(), key]);
                    }
                }
                Step::ExpireSoon { key, .. } => {
                    commands.push(vec![b"PEXPIRE".to_vec(), key, b"1".to_vec()]);
                    commands.push(line("DEBUG SLEEP 0.003"));
                }
                // Not about single commands.
                Step::ScanToEnd { .. } | Step::Exchange { .. } | Step::Raw(_) => {}
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
    let is_sleep = words(command) == "DEBUG SLEEP 0.003";
    let reply = if is_sleep { "slept".to_owned() } else { String::from_utf8_lossy(&rig.run_args(&args)).into_owned() };
    if is_sleep {
        rig.now.0 += 3;
    }
    let settings = &rig.world.global.settings;
    rig.readers =
        Readers { journal: true, events: settings.events, unlink_expired: settings.unlink_expired, ..Readers::NONE };
    let effect = |effect: &commands::effects::Effect| Effect { db: effect.db.0, args: effect.args.clone() };
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

//! Generated runs: from a seed, a list of [`Step`]s.
//!
//! Three sources: the reference's own documentation as a grammar ([`grammar`]) for commands that act on keys, hand-written
//! lines ([`forms`]) for those that act on connections and the server, and a few steps of several commands (scans to
//! the end, expiry, exchanged dumps, raw bytes). [`mutate`] then makes mistakes.

mod forms;
mod grammar;
mod mutate;
mod pools;

use std::collections::BTreeSet;

use rand::Rng;
use testkit::{Kind, Random};

use crate::{
    coverage::facts::{Catalogue, Command},
    pair::CONNECTIONS,
    step::Step,
};

/// Groups that hold commands on connections and the server: these come from forms alone, because what their arguments
/// do is not harmless (SHUTDOWN, CLIENT KILL, CONFIG SET dir …).
const FORM_GROUPS: [&str; 7] = ["connection", "server", "pubsub", "transactions", "scripting", "cluster", "sentinel"];

/// Commands of the other groups that the grammar must not make, and why.
const NOT_FROM_GRAMMAR: &[(&str, &str)] = &[
    ("keys", "a form has it, with patterns"),
    ("randomkey", "a form has it, less often"),
    ("scan", "scanned to the end: cursors are each server's own"),
    ("sscan", "scanned to the end"),
    ("hscan", "scanned to the end"),
    ("zscan", "scanned to the end"),
    ("migrate", "would connect somewhere"),
    ("wait", "waits; forms have it with what does not"),
    ("waitaof", "waits; forms have it with what does not"),
    ("object|freq", "an error without LFU, the same each time"),
    ("blpop", "blocks"),
    ("brpop", "blocks"),
    ("blmove", "blocks"),
    ("blmpop", "blocks"),
    ("brpoplpush", "blocks"),
    ("bzpopmin", "blocks"),
    ("bzpopmax", "blocks"),
    ("bzmpop", "blocks"),
    ("xread", "may block"),
    ("xreadgroup", "may block"),
    ("pfdebug", "internal"),
    ("pfselftest", "slow"),
    ("restore-asking", "internal"),
];

/// What a run against Valkey draws from its documentation: what only it has, and enough beside it that the two servers
/// do alike.
const VALKEY_COMMANDS: [&str; 16] = [
    "delifeq",
    "msetex",
    "get",
    "del",
    "persist",
    "append",
    "incr",
    "mget",
    "type",
    "rename",
    "copy",
    "exists",
    "pexpireat",
    "ttl",
    "strlen",
    "getdel",
];

/// A key that is set with a time that is past stays in memory until somebody looks at it. RANDOMKEY looks at any, and DBSIZE
/// counts the others: so that the two servers agree, each such key is looked at at once.
fn access_after_death(step: &Step) -> Option<Step> {
    /// Milliseconds; as seconds far off.
    const PAST: i64 = 1_700_000_000_000;
    let Step::Command { connection, arguments } = step else { return None };
    let is_past = |pair: &[Vec<u8>]| {
        let number = std::str::from_utf8(&pair[1]).ok().and_then(|text| text.parse::<i64>().ok());
        number.is_some_and(|number| match pair[0].to_ascii_uppercase().as_slice() {
            b"PXAT" => number < PAST,
            b"EXAT" => number < PAST / 1000,
            _ => false,
        })
    };
    let is_set = arguments[0].eq_ignore_ascii_case(b"SET") && arguments.windows(2).any(is_past);
    let get = || Step::Command { connection: *connection, arguments: vec![b"GET".to_vec(), arguments[1].clone()] };
    is_set.then(get)
}

/// Makes steps.
pub struct Generator {
    commands: Vec<Command>,
    forms: Vec<(u32, &'static str)>,
    groups: Vec<String>,
    reference: Kind,
    connection: usize,
    /// What must come next.
    next: Option<Step>,
    /// Commands and subcommands of the reference that the subject does not have.
    missing: BTreeSet<String>,
    /// Those of them that the groups would give.
    pub not_sent: Vec<String>,
}

impl Generator {
    /// From the reference's documentation; `only` narrows what the groups give, `known` is what the subject has (what it
    /// will have later would only drown the rest).
    pub fn new(
        reference: Kind,
        catalogue: &Catalogue,
        groups: &[String],
        only: &[String],
        known: &BTreeSet<String>,
    ) -> Generator {
        let in_groups = |group: &str| groups.iter().any(|wanted| wanted == group);
        let chosen = |name: &str| {
            let container = name.split('|').next().unwrap_or(name);
            only.is_empty() || only.iter().any(|only| only.eq_ignore_ascii_case(container))
        };
        let is_known = |name: &str| known.is_empty() || known.contains(name);
        let all = catalogue.values().flat_map(|command| command.subcommands.keys().chain([&command.name]));
        let missing: BTreeSet<String> = all.filter(|name| !is_known(name)).cloned().collect();
        let (mut commands, mut not_sent) = (Vec::new(), Vec::new());
        for command in catalogue.values() {
            let group = command.text("group").unwrap_or_default();
            if in_groups(group) && chosen(&command.name) {
                let all = command.subcommands.keys().chain([&command.name]);
                not_sent.extend(all.filter(|name| missing.contains(*name)).cloned());
            }
            if !in_groups(group) || FORM_GROUPS.contains(&group) || !chosen(&command.name) {
                continue;
            }
            if reference == Kind::Valkey91 && !VALKEY_COMMANDS.contains(&command.name.as_str()) {
                continue;
            }
            let all = command.subcommands.values().chain(command.subcommands.is_empty().then_some(command));
            commands.extend(
                all.filter(|command| is_known(&command.name))
                    .filter(|command| !NOT_FROM_GRAMMAR.iter().any(|(name, _)| *name == command.name))
                    .cloned(),
            );
        }
        let forms = if reference == Kind::Valkey91 { forms::VALKEY_FORMS } else { forms::FORMS };
        let forms = forms
            .iter()
            .filter(|(group, _, line)| {
                // A form whose command the subject will only have later would be drawn for nothing.
                let name = line.split(' ').next().unwrap_or_default().to_lowercase();
                in_groups(group) && chosen(&name) && !missing.contains(&name)
            })
            .map(|(_, weight, line)| (*weight, *line))
            .collect();
        Generator { commands, forms, groups: groups.to_vec(), reference, connection: 0, next: None, missing, not_sent }
    }

    /// Whether there is anything to generate.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.forms.is_empty()
    }

    /// The steps of one episode.
    pub fn steps(&mut self, random: &mut Random, count: usize) -> Vec<Step> {
        (0..count).map(|_| self.step(random)).collect()
    }

    fn step(&mut self, random: &mut Random) -> Step {
        if let Some(step) = self.next.take() {
            return step;
        }
        // Runs of one connection, so that there is something to pipeline.
        if random.random_bool(0.02) {
            self.connection = random.random_range(0..CONNECTIONS);
        }
        loop {
            let step = self.draw(random, self.connection);
            if !self.is_for_later(&step) {
                self.next = access_after_death(&step);
                return step;
            }
        }
    }

    /// Whether a command is, or asks about, one that the subject will only have later.
    fn is_for_later(&self, step: &Step) -> bool {
        let Step::Command { arguments, .. } = step else { return false };
        let word =
            |index: usize| String::from_utf8_lossy(arguments.get(index).map_or(b"", Vec::as_slice)).to_lowercase();
        let is_missing = |index: usize| {
            self.missing.contains(&word(index))
                || self.missing.contains(&format!("{}|{}", word(index), word(index + 1)))
        };
        is_missing(0) || word(0) == "command" && (2..arguments.len()).any(is_missing)
    }

    fn draw(&self, random: &mut Random, connection: usize) -> Step {
        if random.random_range(0..250) == 0
            && let Some(step) = self.special(random, connection)
        {
            return step;
        }
        // The weights of forms are in parts of what one grammar command has (10).
        let grammar_weight = self.commands.len() as u32 * 10;
        let forms_weight: u32 = self.forms.iter().map(|(weight, _)| weight).sum();
        let mut at = random.random_range(0..grammar_weight + forms_weight);
        let mut arguments = if at < grammar_weight {
            let command = &self.commands[(at / 10) as usize];
            let mut arguments = grammar::command(random, command);
            mutate::heavily(random, &mut arguments);
            arguments
        } else {
            at -= grammar_weight;
            let (_, line) = self
                .forms
                .iter()
                .find(|(weight, _)| {
                    let found = at < *weight;
                    at = at.saturating_sub(*weight);
                    found
                })
                .expect("the weights add up");
            let mut arguments = forms::fill(random, line);
            mutate::lightly(random, &mut arguments);
            arguments
        };
        mutate::guard(random, &mut arguments);
        Step::Command { connection, arguments }
    }

    fn special(&self, random: &mut Random, connection: usize) -> Option<Step> {
        let has = |group: &str| self.groups.iter().any(|wanted| wanted == group);
        let exists = |name: &str| self.commands.iter().any(|command| command.name == name);
        match random.random_range(0..10) {
            0..=2 if has("generic") && exists("expire") => {
                let mut after = Vec::new();
                for (option, value) in
                    [("MATCH", pools::pattern(random)), ("COUNT", random.random_range(1..100).to_string())]
                {
                    if random.random_bool(0.5) {
                        after.extend([option.as_bytes().to_vec(), value.into_bytes()]);
                    }
                }
                if random.random_bool(0.3) {
                    after.extend([
                        b"TYPE".to_vec(),
                        pools::pick(random, &["string", "list", "STRING", "nosuch"]).into(),
                    ]);
                }
                Some(Step::ScanToEnd { connection, before_cursor: vec![b"SCAN".to_vec()], after_cursor: after })
            }
            3 if exists("pexpire") => Some(Step::ExpireSoon { connection, key: pools::key(random) }),
            4..=5 if exists("dump") && exists("restore") => {
                Some(Step::Exchange { connection, key: pools::key(random), copy: pools::key(random) })
            }
            // The protocol is Redis's; Valkey reads some broken lines differently.
            6..=8 if has("connection") && self.reference != Kind::Valkey91 => {
                Some(Step::Raw(pools::pick(random, forms::RAW).as_bytes().to_vec()))
            }
            _ => None,
        }
    }
}

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

/// Makes steps.
pub struct Generator {
    commands: Vec<Command>,
    forms: Vec<(u32, &'static str)>,
    groups: Vec<String>,
    connection: usize,
    /// Commands of the groups that the subject does not have, and so does not get.
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
        let (mut commands, mut not_sent) = (Vec::new(), Vec::new());
        for command in catalogue.values() {
            let group = command.text("group").unwrap_or_default();
            if in_groups(group) && chosen(&command.name) {
                let all = command.subcommands.keys().chain([&command.name]);
                not_sent.extend(all.filter(|name| !is_known(name)).cloned());
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
                // A form whose command the subject will only have later.
                let name = line.split(' ').next().unwrap_or_default().to_lowercase();
                let exists = catalogue.contains_key(&name);
                in_groups(group) && chosen(&name) && (!exists || is_known(&name))
            })
            .map(|(_, weight, line)| (*weight, *line))
            .collect();
        Generator { commands, forms, groups: groups.to_vec(), connection: 0, not_sent }
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
        // Runs of one connection, so that there is something to pipeline.
        if random.random_bool(0.02) {
            self.connection = random.random_range(0..CONNECTIONS);
        }
        let connection = self.connection;
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
            6..=8 if has("connection") => Some(Step::Raw(pools::pick(random, forms::RAW).as_bytes().to_vec())),
            _ => None,
        }
    }
}

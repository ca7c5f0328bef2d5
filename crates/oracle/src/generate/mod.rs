//! Generated runs: from a seed, a list of [`Step`]s.
//!
//! Three sources: the reference's own documentation as a grammar ([`grammar`]) for commands that act on keys, hand-written
//! lines ([`forms`]) for those that act on connections and the server, and steps of several commands (scans to
//! the end, expiry, exchanged dumps, raw bytes, scripts of clients that wait). [`mutate`] then makes mistakes.
//!
//! [`pools`] and [`collections`] hold the values, [`bulk`] makes collections large.

mod blocking;
mod bulk;
pub mod collections;
mod forms;
mod grammar;
mod listening;
mod mutate;
pub mod persistence;
mod pools;
mod scripts;
mod transactions;
mod users;

use std::collections::BTreeSet;

use rand::Rng;
use testkit::{Kind, Random};

use crate::{
    chance,
    coverage::facts::{Catalogue, Command},
    pair::CONNECTIONS,
    step::{Step, upper},
};
use collections::Ticks;

/// Groups that hold commands on connections and the server: these come from forms alone, because what their arguments
/// do is not harmless (SHUTDOWN, CLIENT KILL, CONFIG SET dir …).
const FORM_GROUPS: [&str; 7] = ["connection", "server", "pubsub", "transactions", "scripting", "cluster", "sentinel"];

/// Scripts of users, which are about commands of all groups: `--groups` takes it beside the groups of commands.
pub const USERS: &str = "users";

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
    ("pfdebug", "internal"),
    ("pfselftest", "slow"),
    ("restore-asking", "internal"),
];

/// Commands that make something for all the others to find, and how much oftener than those they come: without them most
/// reads would find nothing.
const FERTILE: &[(&str, usize)] = &[
    ("rpush", 4),
    ("lpush", 3),
    ("sadd", 5),
    ("hset", 6),
    ("zadd", 8),
    ("xadd", 10),
    ("xgroup|create", 8),
    ("xreadgroup", 5),
    ("geoadd", 6),
    ("pfadd", 4),
    ("setbit", 3),
    ("bitfield", 2),
];

/// What a run against Valkey draws from its documentation: what only it has, and enough beside it that the two servers
/// do alike. (HSETEX is drawn from its form alone: Valkey has other words for what is wrong with fields' expiries.)
const VALKEY_COMMANDS: [&str; 19] = [
    "geoadd",
    "hset",
    "zadd",
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

/// Redis does not write a BITFIELD whose writes all fail to its append-only file, although it may have made or lengthened the string: the length
/// is compared, and the string goes. In reverse order, as what comes next is kept.
fn removal_of_untold(step: &Step) -> Vec<Step> {
    let Step::Command { connection, arguments } = step else { return Vec::new() };
    let has = |word: &str| arguments.iter().skip(2).any(|argument| argument.eq_ignore_ascii_case(word.as_bytes()));
    if !arguments[0].eq_ignore_ascii_case(b"BITFIELD") || !has("FAIL") {
        return Vec::new();
    }
    let command = |name: &str| Step::Command {
        connection: *connection,
        arguments: vec![name.as_bytes().to_vec(), arguments[1].clone()],
    };
    vec![command("DEL"), command("STRLEN")]
}

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

/// Some commands say the same on both servers only behind another one. An id that the server makes is later than now, and later than
/// the newest entry: after an entry of the far future it is the same on both.
fn with_what_it_needs(step: Step) -> Step {
    match step {
        Step::Command { connection, arguments }
            if arguments[0].eq_ignore_ascii_case(b"XADD")
                && arguments.len() > 1
                && arguments.contains(&b"*".to_vec()) =>
        {
            let future = [b"XADD".as_slice(), &arguments[1], b"90000000000000-1", b"f", b"v"].map(<[u8]>::to_vec);
            Step::Together { connection, commands: vec![future.to_vec(), arguments] }
        }
        // SORT in Redis 8.2.3 takes an overflow that any command before it has met for its own; this one clears it.
        Step::Command { connection, arguments }
            if arguments[0].eq_ignore_ascii_case(b"SORT") || arguments[0].eq_ignore_ascii_case(b"SORT_RO") =>
        {
            let clear = [b"INCRBYFLOAT".as_slice(), b"nosuchkey", b"abc"].map(<[u8]>::to_vec);
            Step::Together { connection, commands: vec![clear.to_vec(), arguments] }
        }
        other => other,
    }
}

/// What draws by lot is judged apart.
fn by_chance(step: Step) -> Step {
    match step {
        Step::Command { connection, arguments } if chance::COMMANDS.contains(&upper(&arguments[0]).as_str()) => {
            Step::Chance { connection, arguments }
        }
        other => other,
    }
}

/// Makes steps.
pub struct Generator {
    commands: Vec<Command>,
    forms: Vec<(u32, &'static str)>,
    groups: Vec<String>,
    reference: Kind,
    connection: usize,
    ticks: Ticks,
    /// What must come next, in reverse.
    next: Vec<Step>,
    /// All commands and subcommands of the reference.
    reference_has: BTreeSet<String>,
    keeps_groups: bool,
    /// What steps must not be about.
    left_out: BTreeSet<String>,
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
        let reference_has: BTreeSet<String> = all.cloned().collect();
        let missing: BTreeSet<String> = reference_has.iter().filter(|name| !is_known(name)).cloned().collect();
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
                    .flat_map(|command| {
                        let often = FERTILE.iter().find(|(name, _)| *name == command.name);
                        std::iter::repeat_n(command.clone(), often.map_or(1, |(_, times)| *times))
                    }),
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
        Generator {
            commands,
            forms,
            groups: groups.to_vec(),
            reference,
            connection: 0,
            ticks: Ticks::default(),
            next: Vec::new(),
            reference_has,
            keeps_groups: false,
            left_out: BTreeSet::new(),
            missing,
            not_sent,
        }
    }

    /// No step about this any more (see [`Step::about`]).
    pub fn leave_out(&mut self, about: String) {
        self.left_out.insert(about);
    }

    /// Whether there is anything to generate.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.forms.is_empty() && !self.only_talks()
    }

    /// Where nothing but messages is asked for, or nothing but users, everything is scripts of those who talk.
    fn only_talks(&self) -> bool {
        self.groups == ["pubsub"] && self.reference == Kind::Redis82 || self.groups == [USERS]
    }

    /// The steps of one episode.
    pub fn steps(&mut self, random: &mut Random, count: usize) -> Vec<Step> {
        // Redis 8.2.3 goes on to remember the last id of a group that is gone, and takes entries behind it for not acknowledged by all:
        // groups are destroyed in one episode, and ACKED is asked for in another.
        self.keeps_groups = random.random();
        (0..count)
            .map(|_| {
                let mut step = self.step(random);
                while !self.suits_groups(&step) {
                    step = self.step(random);
                }
                step
            })
            .collect()
    }

    fn suits_groups(&self, step: &Step) -> bool {
        let wrong: &[u8] = if self.keeps_groups { b"DESTROY" } else { b"ACKED" };
        match step {
            Step::Command { arguments, .. } => !arguments.iter().any(|word| word.eq_ignore_ascii_case(wrong)),
            Step::Together { commands, .. } | Step::Move { commands, .. } => {
                !commands.iter().flatten().any(|word| word.eq_ignore_ascii_case(wrong))
            }
            _ => true,
        }
    }

    fn step(&mut self, random: &mut Random) -> Step {
        while let Some(step) = self.next.pop() {
            if !self.left_out.contains(&step.about()) {
                return step;
            }
        }
        // Runs of one connection, so that there is something to pipeline.
        if random.random_bool(0.02) {
            self.connection = random.random_range(0..CONNECTIONS);
        }
        loop {
            let step = self.draw(random, self.connection);
            if !self.is_for_later(&step) && !self.left_out.contains(&step.about()) {
                self.next.extend(access_after_death(&step));
                self.next.extend(removal_of_untold(&step));
                return by_chance(with_what_it_needs(step));
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

    fn draw(&mut self, random: &mut Random, connection: usize) -> Step {
        if (self.only_talks() || random.random_range(0..100) == 0)
            && let Some(step) = self.special(random, connection)
        {
            return step;
        }
        // Valkey has words of its own for what goes wrong in a script, and forgets in CLIENT LIST that a transaction has ended.
        let is_redis = self.reference != Kind::Valkey91;
        let with_scripts = self.has_group("scripting") && is_redis;
        match random.random_range(0..60) {
            0 if self.has_group("transactions") && is_redis && !self.commands.is_empty() => {
                let mut script = transactions::script(random, connection, |random| match random.random_range(0..8) {
                    0 if with_scripts => scripts::eval(random),
                    _ => self.of_grammar(random),
                });
                let first = script.remove(0);
                self.next.extend(script.into_iter().rev());
                return first;
            }
            1..=2 if with_scripts => return Step::Command { connection, arguments: scripts::eval(random) },
            _ => {}
        }
        // The weights of forms are in parts of what one grammar command has (10).
        let grammar_weight = self.commands.len() as u32 * 10;
        let forms_weight: u32 = self.forms.iter().map(|(weight, _)| weight).sum();
        let mut at = random.random_range(0..grammar_weight + forms_weight);
        if at < grammar_weight {
            return Step::Command { connection, arguments: self.of_grammar(random) };
        }
        let mut arguments = {
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
            if self.reference != Kind::Valkey91 || !arguments[0].eq_ignore_ascii_case(b"HSETEX") {
                mutate::lightly(random, &mut arguments);
            }
            arguments
        };
        self.guard(random, &mut arguments);
        Step::Command { connection, arguments }
    }

    /// A command that acts on keys.
    fn of_grammar(&mut self, random: &mut Random) -> Vec<Vec<u8>> {
        let command = &self.commands[random.random_range(0..self.commands.len())];
        let mut arguments = grammar::command(random, command, &mut self.ticks);
        mutate::refine(random, &mut arguments);
        mutate::heavily(random, &mut arguments);
        self.guard(random, &mut arguments);
        arguments
    }

    fn guard(&self, random: &mut Random, arguments: &mut Vec<Vec<u8>>) {
        mutate::guard(random, arguments);
        if self.reference == Kind::Valkey91 {
            // Valkey knows no hexadecimal floats.
            for word in arguments.iter_mut().filter(|word| word.to_ascii_lowercase().starts_with(b"0x")) {
                *word = b"abc".to_vec();
            }
        }
        if self.reference != Kind::Valkey91 && arguments[0].eq_ignore_ascii_case(b"HSETEX") {
            // Valkey's words, which Spinel takes and Redis does not.
            arguments.retain(|word| !word.eq_ignore_ascii_case(b"NX") && !word.eq_ignore_ascii_case(b"XX"));
        }
    }

    fn has_group(&self, group: &str) -> bool {
        self.groups.iter().any(|wanted| wanted == group)
    }

    /// Whether a command of the generated groups is there on both servers.
    fn exists(&self, name: &str) -> bool {
        self.commands.iter().any(|command| command.name == name)
    }

    fn special(&mut self, random: &mut Random, connection: usize) -> Option<Step> {
        let has = |group: &str| self.has_group(group);
        let exists = |name: &str| self.exists(name);
        let kind = match () {
            () if has(USERS) && self.only_talks() => 24,
            () if self.only_talks() => 23,
            () => random.random_range(0..25),
        };
        match kind {
            10..=11 => {
                let is_known = |name: &str| self.reference_has.contains(name) && !self.missing.contains(name);
                // Only where nothing was narrowed down: a script touches all types.
                if !["blpop", "bzpopmin", "xread"].iter().any(|name| exists(name)) {
                    return None;
                }
                let mut script = blocking::script(random, &mut self.ticks, is_known);
                script.reverse();
                self.next = script;
                self.next.pop()
            }
            // The order in which pushes of several kinds come is Redis's.
            9 | 23 if has("pubsub") && self.reference == Kind::Redis82 => {
                let mut script = listening::script(random);
                script.reverse();
                self.next = script;
                self.next.pop()
            }
            24 if has(USERS) => {
                let mut script = users::script(random, self.reference);
                script.reverse();
                self.next = script;
                self.next.pop()
            }
            12..=17 => bulk::fill(random, &mut self.ticks, |name| self.commands.iter().any(|it| it.name == name))
                .map(|arguments| Step::Command { connection, arguments }),
            18..=21 => {
                let (name, group) =
                    *pools::choose(random, &[("sscan", "set"), ("hscan", "hash"), ("zscan", "sorted-set")]);
                // How ZSCAN writes scores is Redis's.
                if name == "zscan" && self.reference == Kind::Valkey91 {
                    return None;
                }
                if !has(group) || self.missing.contains(name) || !self.reference_has.contains(name) {
                    return None;
                }
                let key = collections::key(random, group).expect("a group of collections");
                let mut after = Vec::new();
                if random.random_bool(0.5) {
                    after.extend([b"COUNT".to_vec(), random.random_range(1..100).to_string().into_bytes()]);
                }
                if random.random_bool(0.4) {
                    after.extend([b"MATCH".to_vec(), pools::pattern(random).into_bytes()]);
                }
                if name == "hscan" && random.random_bool(0.3) {
                    after.push(b"NOVALUES".to_vec());
                }
                let before_cursor = vec![name.to_uppercase().into_bytes(), key];
                Some(Step::ScanToEnd { connection, before_cursor, after_cursor: after })
            }
            22 if exists("hpexpire") => Some(Step::ExpireFieldSoon {
                connection,
                key: collections::key(random, "hash").expect("a group of collections"),
                field: collections::member(random),
            }),
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
                        pools::pick(random, &["string", "list", "zset", "hash", "STRING", "nosuch"]).into(),
                    ]);
                }
                Some(Step::ScanToEnd { connection, before_cursor: vec![b"SCAN".to_vec()], after_cursor: after })
            }
            3 if exists("pexpire") => Some(Step::ExpireSoon { connection, key: collections::any_key(random) }),
            4..=5 if exists("dump") && exists("restore") => Some(Step::Exchange {
                connection,
                key: collections::any_key(random),
                copy: collections::any_key(random),
            }),
            // The protocol is Redis's; Valkey reads some broken lines differently.
            6..=8 if has("connection") && self.reference != Kind::Valkey91 => {
                Some(Step::Raw(pools::pick(random, forms::RAW).as_bytes().to_vec()))
            }
            _ => None,
        }
    }
}

//! `oracle coverage`: every command and subcommand of Redis 8.2 and Valkey 9.1, compared with what Spinel says of its own.
//!
//! Compared: name, arity, flags, keys, ACL categories, tips, key specifications, since, group, deprecation, versions of
//! the history, and the argument tree (structure, order, names, tokens, types, flags). Prose is Spinel's own: summary and
//! complexity must be there, and the summary must not be a copy.

pub mod facts;
mod later;
mod unite;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use testkit::{Kind, Server};

use facts::{Argument, Catalogue, Command};
pub use later::{NEWER, later_work};
pub use unite::unite;

/// The groups of the server core.
pub const CORE_GROUPS: [&str; 15] = [
    "connection",
    "generic",
    "string",
    "server",
    "list",
    "set",
    "sorted-set",
    "hash",
    "stream",
    "bitmap",
    "hyperloglog",
    "geo",
    "transactions",
    "pubsub",
    "cluster",
];

/// What must be there: the union of the real servers' catalogues, and both for reference.
pub struct Specification {
    pub union: Catalogue,
    pub redis: Catalogue,
    pub valkey: Catalogue,
    /// Arguments that only Valkey has.
    pub extras: Vec<String>,
}

impl Specification {
    pub fn load() -> Result<Specification> {
        let ask = |kind| -> Result<Catalogue> {
            let server =
                Server::start(kind, &[]).with_context(|| format!("starting {kind} (tools/peers.sh installs it)"))?;
            facts::load(&mut server.client())
        };
        let (redis, valkey) = (ask(Kind::Redis82)?, ask(Kind::Valkey91)?);
        let mut extras = Vec::new();
        let union = unite(&redis, &valkey, &mut extras);
        Ok(Specification { union, redis, valkey, extras })
    }
}

/// Compares the server of a kind (Spinel; another one to try the tool) with the specification, prints, and returns
/// whether all is as it must be.
pub fn run(subject: Kind, groups: &[String]) -> Result<bool> {
    let specification = Specification::load()?;
    let server = Server::start(subject, &[])?;
    let mut client = server.client();
    let actual = facts::load(&mut client)?;
    // A real server as the subject is how the tool itself is tried: there, copies would only be noise.
    let mut report = Report { own_words: subject == Kind::Spinel, ..Report::default() };
    for command in specification.union.values().filter(|command| wanted(command, groups)) {
        report.compare(&specification, command, actual.get(&command.name));
    }
    let is_known = |name: &String| specification.union.contains_key(name) || NEWER.contains(&name.as_str());
    for name in actual.keys().filter(|name| !is_known(name)) {
        report.differ("none", name, "in neither Redis 8.2 nor Valkey 9.1");
    }
    check_list(&mut client, &actual, &mut report)?;
    report.print(subject, &specification, groups);
    Ok(report.differences.is_empty())
}

/// Whether a command, or any of its subcommands, belongs to the groups that were asked for.
pub fn wanted(command: &Command, groups: &[String]) -> bool {
    groups.iter().any(|group| group == "all" || Some(group.as_str()) == command.text("group"))
}

/// COMMAND LIST and COMMAND COUNT must agree with COMMAND.
fn check_list(client: &mut testkit::Client, actual: &Catalogue, report: &mut Report) -> Result<()> {
    let listed = client.command(&["COMMAND", "LIST"])?;
    let listed: BTreeSet<&str> = listed.elements().unwrap_or_default().iter().filter_map(|name| name.text()).collect();
    for (name, command) in actual {
        for name in command.subcommands.keys().chain([name]) {
            if !listed.contains(name.as_str()) {
                report.differ("server", name, "is not in COMMAND LIST");
            }
        }
    }
    let count = client.command(&["COMMAND", "COUNT"])?.integer();
    let commands = client.command(&["COMMAND"])?.elements().map(|rows| rows.len() as i64);
    if count != commands {
        report.differ("server", "command|count", &format!("replies {count:?} for {commands:?} commands"));
    }
    Ok(())
}

#[derive(Default)]
struct Report {
    /// Whether summaries must differ from the originals.
    own_words: bool,
    /// Per group: how many are compared and equal.
    equal: BTreeMap<String, usize>,
    compared: BTreeMap<String, usize>,
    /// `(group, command, what)`
    differences: Vec<(String, String, String)>,
    /// Work → commands that it will bring.
    later: BTreeMap<&'static str, Vec<String>>,
}

impl Report {
    fn differ(&mut self, group: &str, name: &str, what: &str) {
        self.differences.push((group.to_owned(), name.to_owned(), what.to_owned()));
    }

    fn compare(&mut self, specification: &Specification, expected: &Command, actual: Option<&Command>) {
        let group = expected.text("group").unwrap_or("none").to_owned();
        let Some(actual) = actual else {
            match later_work(&expected.name, &group) {
                Some(work) => self.later.entry(work).or_default().push(expected.name.clone()),
                None => {
                    *self.compared.entry(group.clone()).or_default() += 1;
                    self.differ(&group, &expected.name, "is missing");
                }
            }
            return;
        };
        *self.compared.entry(group.clone()).or_default() += 1;
        let before = self.differences.len();
        for what in differences(specification, expected, actual, self.own_words) {
            self.differ(&group, &expected.name, &what);
        }
        if before == self.differences.len() {
            *self.equal.entry(group.clone()).or_default() += 1;
        }
        for subcommand in expected.subcommands.values() {
            self.compare(specification, subcommand, actual.subcommands.get(&subcommand.name));
        }
        for name in actual.subcommands.keys().filter(|name| !expected.subcommands.contains_key(*name)) {
            self.differ(&group, name, "in neither Redis 8.2 nor Valkey 9.1");
        }
    }

    fn print(&self, subject: Kind, specification: &Specification, groups: &[String]) {
        for (group, compared) in &self.compared {
            let equal = self.equal.get(group).copied().unwrap_or_default();
            println!("{group}: {compared} commands and subcommands compared, {equal} equal");
            for (_, name, what) in self.differences.iter().filter(|(of, _, _)| of == group) {
                println!("  {name}: {what}");
            }
        }
        for (_, name, what) in self.differences.iter().filter(|(of, _, _)| !self.compared.contains_key(of)) {
            println!("{name}: {what}");
        }
        for (work, names) in &self.later {
            println!("later work, {work}: {}", names.join(" "));
        }
        let extras: Vec<&str> = specification
            .extras
            .iter()
            .filter(|extra| {
                let name = extra.split([' ', ':', '|']).next().unwrap_or_default();
                specification.union.get(name).is_some_and(|command| wanted(command, groups))
            })
            .map(String::as_str)
            .collect();
        println!("expected on top of Redis because Valkey has them: {}", extras.join(", "));
        println!(
            "{subject}: {} difference{} in {}",
            self.differences.len(),
            if self.differences.len() == 1 { "" } else { "s" },
            groups.join(", ")
        );
    }
}

/// How one command differs from the specification.
fn differences(specification: &Specification, expected: &Command, actual: &Command, own_words: bool) -> Vec<String> {
    let mut out = Vec::new();
    for name in
        ["arity", "flags", "keys", "acl", "tips", "key_specs", "since", "group", "deprecated_since", "doc_flags"]
    {
        let (wanted, found) = (expected.fields.get(name), actual.fields.get(name));
        if wanted != found {
            let show = |value: Option<&serde_json::Value>| value.map_or("nothing".to_owned(), ToString::to_string);
            out.push(format!("{name} is {}, must be {}", show(found), show(wanted)));
        }
    }
    for name in ["summary", "complexity", "replaced_by"] {
        let present = |command: &Command| command.text(name).is_some_and(|text| !text.is_empty());
        if present(expected) && !present(actual) {
            out.push(format!("has no {name}"));
        }
    }
    let summary = actual.text("summary");
    let copied = |catalogue: &Catalogue| {
        let container = actual.name.split('|').next().unwrap_or_default();
        let original = catalogue.get(container).and_then(|command| {
            if actual.name == container { Some(command) } else { command.subcommands.get(&actual.name) }
        });
        original.is_some_and(|original| summary.is_some() && original.text("summary") == summary)
    };
    if own_words && (copied(&specification.redis) || copied(&specification.valkey)) {
        out.push("its summary is a copy of the original's: say it in own words".to_owned());
    }
    let versions =
        |command: &Command| command.history.iter().map(|(version, _)| version.clone()).collect::<BTreeSet<_>>();
    let (wanted, found) = (versions(expected), versions(actual));
    if wanted != found {
        out.push(format!("history has the versions {found:?}, must be {wanted:?}"));
    }
    compare_arguments("arguments", &expected.arguments, &actual.arguments, &mut out);
    out
}

fn compare_arguments(path: &str, expected: &[Argument], actual: &[Argument], out: &mut Vec<String>) {
    let names = |arguments: &[Argument]| {
        let names: Vec<&str> =
            arguments.iter().map(|argument| argument.token.as_deref().unwrap_or(&argument.name)).collect();
        names.join(" ")
    };
    let identities = |arguments: &[Argument]| -> Vec<(String, Option<String>)> {
        arguments.iter().map(|argument| (argument.name.clone(), argument.token.clone())).collect()
    };
    if identities(expected) != identities(actual) {
        out.push(format!("{path} are [{}], must be [{}]", names(actual), names(expected)));
        return;
    }
    for (expected, actual) in expected.iter().zip(actual) {
        let path = format!("{path}.{}", expected.name);
        if expected.fields != actual.fields {
            let fields = |argument: &Argument| serde_json::to_string(&argument.fields).unwrap_or_default();
            out.push(format!("{path} is {}, must be {}", fields(actual), fields(expected)));
        }
        compare_arguments(&path, &expected.arguments, &actual.arguments, out);
    }
}

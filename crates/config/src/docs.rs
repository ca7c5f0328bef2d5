//! The documentation of all directives, made from their table.

use std::fmt::Write;

use crate::directive::{Change, DefaultValue, Directive, Effect, Kind, Origin};
use crate::directives::{self, GROUPS};

/// The text of `docs/configuration.md`.
pub fn configuration_page() -> String {
    let mut page = String::from(INTRODUCTION);
    let count = directives::all().count();
    let acting = directives::all().filter(|(_, directive)| directive.effect == Effect::Acts).count();
    let later = directives::all().filter(|(_, d)| matches!(d.effect, Effect::LaterWork(_))).count();
    let without = count - acting - later;
    write_line(
        &mut page,
        format_args!(
            "Of {count} directives {acting} act, {later} wait for a part of the server that is not written yet,\n\
             and {without} have no meaning here."
        ),
    );
    for group in GROUPS {
        write_line(&mut page, format_args!("\n## {}\n", group.title));
        write_line(&mut page, format_args!("| directive | values | default | change | effect | what it is |"));
        write_line(&mut page, format_args!("|---|---|---|---|---|---|"));
        for directive in group.rows {
            write_line(&mut page, format_args!("{}", table_row(directive)));
        }
    }
    page
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from the table in crates/config/src/directives. Write it anew with: UPDATE_DOCS=1 cargo test -p spinel-config -->

Spinel reads the format of `redis.conf`. Every directive of Redis 7.0, Redis 8.2 and Valkey 9.1 is known, under its old
names too; an unknown one stops the start and is shown with its line. `spinel.conf` at the root of the repository is an example
with explanations.

    spinel server /etc/spinel.conf          # a file
    spinel server --port 6380 --save \"\"     # options, which win over the file
    echo 'maxmemory 1gb' | spinel server -  # standard input

One line sets one directive: its name, then its value. Words with spaces stand in double quotes (`\\n`, `\\xHH` and the like
are understood) or single quotes. A line that begins with `#` is a comment. `include FILE` reads another file at
this place; the name may hold wildcards, and then no file need match. A later line wins; several `save`,
`client-output-buffer-limit`, `rename-command`, `user` and `loadmodule` lines add up.
Memory takes units: `1k` is 1000 bytes, `1kb` is 1024, and so on with `m`, `mb`, `g`, `gb`.

`CONFIG GET pattern ...` shows values, `CONFIG SET name value ...` changes several at once or none, `CONFIG REWRITE` brings the file
up to date: comments and order stay, and the file is replaced in one step.

How to read the tables:

- *change*: `any time` by CONFIG SET; `at start` only by file or option; `protected` by CONFIG SET where
  `enable-protected-configs` allows it.
- *effect*: `acts`; `later` with the part of the server it waits for (the value is kept and shown); `none` with the reason.
- Defaults are those of Redis 8.2, or of Valkey 9.1 for what only Valkey has (marked with V); S marks what only Spinel has. A default of Spinel's own says so.
- Names marked with H do not answer to patterns in CONFIG GET, only to their full name.

";

fn write_line(page: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(page, "{line}").expect("writing to a string");
}

fn table_row(directive: &Directive) -> String {
    let mut name = format!("`{}`", directive.name);
    for alias in directive.aliases {
        write!(name, ", `{alias}`").expect("writing to a string");
    }
    match directive.origin {
        Origin::Redis => {}
        Origin::Valkey => name.push_str(" V"),
        Origin::Spinel => name.push_str(" S"),
    }
    if directive.hidden {
        name.push_str(" H");
    }
    let default = match directive.default {
        DefaultValue::Text("") => "empty".to_string(),
        DefaultValue::Text(text) => format!("`{text}`"),
        DefaultValue::OfMachine(_, described) => described.to_string(),
    };
    let default = if matches!(directive.kind, Kind::Statement { .. }) { "none".into() } else { default };
    let change = match directive.change {
        Change::Mutable => "any time",
        Change::FixedAtStart => "at start",
        Change::Protected => "protected",
    };
    let effect = match directive.effect {
        Effect::Acts => "acts".to_string(),
        Effect::LaterWork(part) => format!("later: {part}"),
        Effect::NoEffect(reason) => format!("none: {reason}"),
    };
    format!("| {name} | {} | {default} | {change} | {effect} | {} |", values(directive.kind), directive.about.trim())
}

/// What values a kind takes, in a few words.
fn values(kind: Kind) -> String {
    let bound = |value: i64| match value {
        i64::MAX => "2^63-1".to_string(),
        value if value == i64::from(i32::MAX) => "2^31-1".to_string(),
        value if value == i64::from(u32::MAX) => "2^32-1".to_string(),
        value if value == i64::from(i32::MIN) => "-2^31".to_string(),
        i64::MIN => "-2^63".to_string(),
        value => value.to_string(),
    };
    match kind {
        Kind::Bool => "yes, no".into(),
        Kind::Int { min, max } | Kind::Unsigned { min, max } | Kind::ClampedInt { min, max } => {
            format!("{} to {}", bound(min), bound(max))
        }
        Kind::MemoryAtLeast { floor, .. } => format!("memory, at least {}", crate::units::format_memory(floor)),
        Kind::Memory { min, .. } | Kind::UnsignedMemory { min, .. } | Kind::SignedMemory { min, .. } if min <= 1 => {
            "memory".into()
        }
        Kind::Memory { min, .. } | Kind::UnsignedMemory { min, .. } | Kind::SignedMemory { min, .. } => {
            format!("memory from {}", crate::units::format_memory(min))
        }
        Kind::MemoryOrPercent => "memory or percentage".into(),
        Kind::Octal => "octal".into(),
        Kind::Choice(names) => names.join(", "),
        Kind::Flags(names) => format!("any of {}", names.join(", ")),
        Kind::Text => "text".into(),
        Kind::Folder => "folder".into(),
        Kind::Words { .. } => "words".into(),
        Kind::Save => "pairs of seconds and changes".into(),
        Kind::OutputLimits => "class, hard limit, soft limit, seconds".into(),
        Kind::KeyspaceEvents => "letters of `KEg$lshzxetdmnocA`".into(),
        Kind::OomScores => "three numbers".into(),
        Kind::Percentiles => "numbers from 0 to 100".into(),
        Kind::ReplicaOf => "host and port, or `no one`".into(),
        Kind::Statement { .. } => "statement".into(),
    }
}

//! The help text, the manual page and the shell completions, all from the table of options.

use std::fmt::Write;

use crate::options::{EXAMPLES, Group, OPTIONS, Opt, REFUSED};

const COLUMNS: usize = 100;
const INDENT: usize = 24;

pub fn version(program: &str) -> String {
    format!("{program} {}\n", env!("CARGO_PKG_VERSION"))
}

/// The text of `--help`.
pub fn usage(program: &str) -> String {
    let mut text = format!("Usage: {program} [OPTIONS] [--] [COMMAND ARGS... [';' [NUMBER] COMMAND ARGS...]...]\n");
    for group in Group::ALL {
        writeln!(text, "\n{}:", group.title()).expect("writing to a string");
        for option in options_of(group) {
            let mut line = format!(" {}", heading(option));
            for chunk in wrap(option.help, COLUMNS - INDENT) {
                if line.len() + 1 > INDENT {
                    writeln!(text, "{line}").expect("writing to a string");
                    line.clear();
                }
                writeln!(text, "{line:<INDENT$}{chunk}").expect("writing to a string");
                line.clear();
            }
        }
    }
    text.push_str(
        "\nPlaceholders in arguments: __rand_int__, __rand_1st__ … __rand_9th__, __data__, __field:name__, {tag}.\n",
    );
    text.push_str("\nExamples:\n");
    for (what, arguments) in EXAMPLES {
        write!(text, "\n {what}:\n   $ {}\n", format!("{program} {arguments}").trim_end())
            .expect("writing to a string");
    }
    text
}

/// The manual page, in the language of man(7).
pub fn manual() -> String {
    let mut text = String::from(".\\\" Made from crates/benchmark/src/options.rs.\n");
    text.push_str(".TH SPINEL-BENCHMARK 1 \"\" \"Spinel\" \"Spinel Manual\"\n.SH NAME\n");
    text.push_str("spinel-benchmark \\- load generator for servers that speak the Redis protocol\n.SH SYNOPSIS\n");
    text.push_str(".B spinel-benchmark\n[\\fIOPTIONS\\fR] [\\fB\\-\\-\\fR] [\\fICOMMAND ARGS\\fR... [\\fB;\\fR [\\fINUMBER\\fR] \\fICOMMAND ARGS\\fR...]...]\n");
    text.push_str(".SH DESCRIPTION\nSends the usual tests, or commands of one's own, over many connections and reports throughput and latency. ");
    text.push_str("Options and output are those of redis\\-benchmark and valkey\\-benchmark; open loop, mixes, JSON and reports are beyond them.\n");
    for group in Group::ALL {
        writeln!(text, ".SH {}", group.title().to_uppercase()).expect("writing to a string");
        for option in options_of(group) {
            let name = roff(option.name);
            match option.value {
                Some(value) => writeln!(text, ".TP\n\\fB{name}\\fR \\fI{}\\fR", roff(value)),
                None => writeln!(text, ".TP\n\\fB{name}\\fR"),
            }
            .expect("writing to a string");
            writeln!(text, "{}.", roff(option.help)).expect("writing to a string");
            if !option.choices.is_empty() {
                writeln!(text, "One of: {}.", roff(&option.choices.join(", "))).expect("writing to a string");
            }
        }
    }
    text.push_str(".SH EXAMPLES\n");
    for (what, arguments) in EXAMPLES {
        let command = format!("spinel-benchmark {arguments}");
        write!(text, "{}:\n.PP\n.nf\n    $ {}\n.fi\n.PP\n", roff(what), roff(command.trim_end()))
            .expect("writing to a string");
    }
    text.push_str(".SH SEE ALSO\ndocs/benchmark\\-tool.md in Spinel's sources\n");
    text
}

/// Completion for bash, for all names of the program.
pub fn bash_completion() -> String {
    let mut text = String::from("# Made from crates/benchmark/src/options.rs.\n_spinel_benchmark() {\n");
    text.push_str(
        "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n    case $previous in\n",
    );
    for option in OPTIONS.iter().filter(|option| !option.choices.is_empty()) {
        writeln!(
            text,
            "    {}) COMPREPLY=($(compgen -W '{}' -- \"$current\")); return ;;",
            option.name,
            option.choices.join(" ")
        )
        .expect("writing to a string");
    }
    let named = |wanted: fn(&str) -> bool| -> String {
        let names = OPTIONS.iter().filter(|option| option.value.is_some_and(wanted)).map(|option| option.name);
        names.collect::<Vec<_>>().join("|")
    };
    let is_path = |value: &str| matches!(value, "file" | "path" | "directory");
    writeln!(text, "    {}) COMPREPLY=($(compgen -f -- \"$current\")); return ;;", named(is_path))
        .expect("writing to a string");
    let rest: Vec<&str> = OPTIONS
        .iter()
        .filter(|option| option.choices.is_empty() && option.value.is_some_and(|value| !is_path(value)))
        .map(|option| option.name)
        .collect();
    writeln!(text, "    {}) return ;;\n    esac", rest.join("|")).expect("writing to a string");
    let names: Vec<&str> = OPTIONS.iter().map(|option| option.name).collect();
    writeln!(text, "    COMPREPLY=($(compgen -W '{}' -- \"$current\"))\n}}", names.join(" "))
        .expect("writing to a string");
    text.push_str("complete -F _spinel_benchmark spinel-benchmark redis-benchmark\n");
    text
}

/// Completion for zsh.
pub fn zsh_completion() -> String {
    let mut text = String::from(
        "#compdef spinel-benchmark redis-benchmark\n# Made from crates/benchmark/src/options.rs.\n_arguments \\\n",
    );
    for option in OPTIONS {
        // Brackets and colons end the parts of a specification.
        let help = option.help.replace('\'', "’").replace('[', "(").replace(']', ")").replace(':', "\\:");
        let value = match (option.value, option.choices) {
            (None, _) => String::new(),
            (Some("file" | "path"), _) => ":file:_files".to_owned(),
            (Some("directory"), _) => ":directory:_directories".to_owned(),
            (Some(value), []) => format!(":{}: ", value.replace(':', " ")),
            (Some(value), choices) => format!(":{value}:({})", choices.join(" ")),
        };
        writeln!(text, "  '{}[{help}]{value}' \\", option.name).expect("writing to a string");
    }
    text.push_str("  '*::command:_default'\n");
    text
}

/// Completion for fish.
pub fn fish_completion() -> String {
    let mut text = String::from("# Made from crates/benchmark/src/options.rs.\n");
    for program in ["spinel-benchmark", "redis-benchmark"] {
        for option in OPTIONS {
            let name = match option.name.strip_prefix("--") {
                Some(long) => format!("-l {long}"),
                None => format!("-s {}", &option.name[1..]),
            };
            let help = option.help.replace('\\', "\\\\").replace('\'', "\\'");
            let value = match (option.value, option.choices) {
                (None, _) => String::new(),
                (Some("file" | "path" | "directory"), _) => " -r -F".to_owned(),
                (Some(_), []) => " -x".to_owned(),
                (Some(_), choices) => format!(" -x -a '{}'", choices.join(" ")),
            };
            writeln!(text, "complete -c {program} {name}{value} -d '{help}'").expect("writing to a string");
        }
    }
    text
}

/// Why an option of another tool is not there.
pub fn refusal(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, why)| *why)
}

fn options_of(group: Group) -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().filter(move |option| option.group == group)
}

fn heading(option: &Opt) -> String {
    match option.value {
        Some(value) => format!("{} <{value}>", option.name),
        None => option.name.to_owned(),
    }
}

fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("never empty");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Escapes what man(7) would take for its own.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

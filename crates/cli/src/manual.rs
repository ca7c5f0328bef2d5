//! `--help`, the manual page and the shell completions, all from the [table of options](crate::table::TABLE).

use crate::table::{Entry, Section, TABLE};

const NAME: &str = "redis-cli";

/// The version of Redis whose client this stands in for, and ours. Scripts look for the first number.
pub fn version() -> String {
    format!("{NAME} 8.2.0 (spinel {})\n", env!("CARGO_PKG_VERSION"))
}

const EXAMPLES: &[(&str, &str)] = &[
    ("redis-cli get greeting", "one command"),
    ("redis-cli -r 10 -i 0.5 incr counter", "ten times, with half a second between"),
    ("redis-cli -x set picture < photo.png", "the value from a file"),
    ("redis-cli --json hgetall user:1 | jq .name", "for programs"),
    ("redis-cli --eval move.lua from to , 3", "a script with two keys and an argument"),
    ("redis-cli --scan --pattern 'session:*' | wc -l", "counting without stopping the server"),
    ("redis-cli --pipe < commands.txt", "mass insertion"),
    ("redis-cli --rdb backup.rdb", "a backup over the network"),
    ("redis-cli --live", "what the server is doing"),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("REDISCLI_AUTH", "The password, where neither -a nor --askpass gives one."),
    ("REDISCLI_HISTFILE", "Where the prompt keeps its history (~/.rediscli_history); /dev/null keeps none."),
    ("REDISCLI_RCFILE", "The prompt's settings (~/.redisclirc): lines such as :set nohints."),
    ("NO_COLOR", "Set to anything: no colours."),
    ("PAGER", "What the prompt's :page and :set pager show long replies with (less -R)."),
];

fn synopsis() -> String {
    format!("{NAME} [options] [command [argument ...]]")
}

fn headline(entry: &Entry) -> String {
    let names = entry.names.join(", ");
    if entry.value.is_empty() { names } else { format!("{names} <{}>", entry.value) }
}

/// The text of `--help`.
pub fn usage() -> String {
    let mut out = format!("{}\nUsage: {}\n", version(), synopsis());
    for section in Section::ALL {
        out += &format!("\n{}:\n", section.title());
        for entry in TABLE.iter().filter(|entry| entry.section == section) {
            let headline = headline(entry);
            let mut lines = wrap(entry.about, 80 - 27).into_iter();
            let first = lines.next().unwrap_or_default();
            if headline.len() <= 23 {
                out += &format!("  {headline:<24} {first}\n");
            } else {
                out += &format!("  {headline}\n{:27}{first}\n", "");
            }
            for line in lines {
                out += &format!("{:27}{line}\n", "");
            }
        }
    }
    out += "\nExamples:\n";
    for (line, about) in EXAMPLES {
        out += &format!("  {line}\n      {about}\n");
    }
    out += "\nWithout a command there is a prompt, where 'help' tells more.\n";
    out
}

fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// The manual page, for `man`.
pub fn man_page() -> String {
    let escape = |text: &str| text.replace('\\', "\\e").replace('-', "\\-").replace("\n.", "\n\\&.");
    let mut out = format!(
        ".\\\" Made from the table of options by `UPDATE_DOCS=1 cargo test -p spinel-cli`; see crates/cli/tests/generated.rs.\n\
         .TH REDIS\\-CLI 1 \"\" \"Spinel {}\" \"Spinel\"\n\
         .SH NAME\nredis\\-cli, spinel\\-cli \\- client of Redis, Valkey and Spinel servers\n\
         .SH SYNOPSIS\n.B redis\\-cli\n[\\fIoptions\\fR] [\\fIcommand\\fR [\\fIargument\\fR ...]]\n\
         .SH DESCRIPTION\n\
         Sends a command to a server and shows its reply. Without a command, and with a terminal, it is a prompt with completion, \
         hints and history; with something else as standard input it runs a command for each line.\n\
         .PP\nOptions stand before the command: the first word that is none begins it.\n.SH OPTIONS\n",
        env!("CARGO_PKG_VERSION")
    );
    for section in Section::ALL {
        out += &format!(".SS {}\n", section.title());
        for entry in TABLE.iter().filter(|entry| entry.section == section) {
            let names: Vec<String> = entry.names.iter().map(|name| format!("\\fB{}\\fR", escape(name))).collect();
            let value =
                if entry.value.is_empty() { String::new() } else { format!(" \\fI{}\\fR", escape(entry.value)) };
            out += &format!(".TP\n{}{value}\n{}\n", names.join(", "), escape(entry.about));
        }
    }
    out += ".SH AT THE PROMPT\n";
    for (word, about) in crate::prompt::help::WORDS {
        out += &format!(".TP\n\\fB{}\\fR\n{}\n", escape(word), escape(about));
    }
    out += ".SH ENVIRONMENT\n";
    for (name, about) in ENVIRONMENT {
        out += &format!(".TP\n\\fB{name}\\fR\n{}\n", escape(about));
    }
    out += ".SH EXIT STATUS\n\
            0 when the server has answered, also with an error; 1 when it could not be reached or understood, and with \\fB\\-e\\fR when \
            it has answered with an error.\n.SH EXAMPLES\n";
    for (line, about) in EXAMPLES {
        out += &format!(".TP\n{}\n{}\n", escape(about), escape(line));
    }
    out
}

const PROGRAMS: [&str; 2] = ["redis-cli", "spinel-cli"];

/// Values that are files, for shells to complete.
fn is_file(entry: &Entry) -> bool {
    matches!(entry.value, "file" | "folder" | "socket")
}

pub fn bash_completion() -> String {
    let all: Vec<&str> = TABLE.iter().flat_map(|entry| entry.names).copied().collect();
    let files: Vec<&str> = TABLE.iter().filter(|entry| is_file(entry)).flat_map(|entry| entry.names).copied().collect();
    let other = TABLE.iter().filter(|entry| !entry.value.is_empty() && !is_file(entry));
    let values: Vec<&str> = other.flat_map(|entry| entry.names).copied().collect();
    format!(
        "# bash completion of redis-cli. Made from the table of options; see crates/cli/tests/generated.rs.\n\
         _redis_cli() {{\n    \
             local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}\n    \
             COMPREPLY=()\n    \
             case $before in\n        \
                 {}) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;\n        \
                 {}) return ;;\n    \
             esac\n    \
             if [[ $word == -* ]]; then\n        \
                 mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$word\")\n    \
             fi\n\
         }}\n\
         complete -F _redis_cli {}\n",
        files.join("|"),
        values.join("|"),
        all.join(" "),
        PROGRAMS.join(" ")
    )
}

pub fn zsh_completion() -> String {
    let mut out = format!(
        "#compdef {}\n# zsh completion of redis-cli. Made from the table of options; see crates/cli/tests/generated.rs.\n\n_arguments \\\n",
        PROGRAMS.join(" ")
    );
    for entry in TABLE {
        for name in entry.names {
            let about = entry.about.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:");
            let value = match entry.value {
                "" => String::new(),
                value if is_file(entry) => format!(":{value}:_files"),
                value => format!(":{}: ", value.replace('|', " or ")),
            };
            out += &format!("  '{name}[{about}]{value}' \\\n");
        }
    }
    out + "  '*::command: '\n"
}

pub fn fish_completion() -> String {
    let mut out = String::from(
        "# fish completion of redis-cli. Made from the table of options; see crates/cli/tests/generated.rs.\n",
    );
    for program in PROGRAMS {
        for entry in TABLE {
            let mut line = format!("complete -c {program}");
            for name in entry.names {
                match name.strip_prefix("--") {
                    Some(long) => line += &format!(" -l {long}"),
                    None => line += &format!(" -s {}", &name[1..]),
                }
            }
            if !entry.value.is_empty() {
                line += if is_file(entry) { " -r -F" } else { " -x" };
            }
            out += &format!("{line} -d '{}'\n", entry.about.replace('\\', "\\\\").replace('\'', "\\'"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_into_80_columns_and_names_every_option() {
        let usage = usage();
        for line in usage.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for name in TABLE.iter().flat_map(|entry| entry.names) {
            assert!(usage.contains(name), "{name}");
        }
    }
}

//! The word `help` and what it knows.

use std::rc::Rc;

use super::docs::{Docs, syntax};
use crate::session::Session;

/// The prompt's own words.
pub const WORDS: &[(&str, &str)] = &[
    ("help command", "What a command does and takes, told by the server. ? is short for it."),
    ("help @group", "The commands of a group, such as @string."),
    ("connect host port", "Goes to another server."),
    ("number command", "Runs a command so many times."),
    ("clear", "Empties the screen."),
    ("quit, exit", "Ends the prompt, as Ctrl-D does."),
    (":set hints, :set nohints", "Whether arguments are shown in grey while a command is typed."),
    (":set pager, :set nopager", "Whether replies that are longer than the screen go to a pager."),
    (":page", "Shows the last reply in a pager."),
    ("Tab", "Completes commands, subcommands and the words among their arguments."),
    ("Ctrl-R", "Searches the history."),
    ("Ctrl-C", "Gives up the line, or the command that is waited for; on an empty line ends the prompt."),
    ("an open quote", "Lets the line go on behind Enter. Alt-Enter begins a new line anywhere."),
];

/// The answer to `help ...`.
pub fn answer(session: &mut Session, topic: &[Vec<u8>]) -> String {
    let topic: Vec<String> = topic.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    if topic.is_empty() {
        return overview();
    }
    let docs = session.docs();
    let mut out = String::new();
    for (name, doc) in matching(&docs, &topic) {
        let syntax = syntax(&doc.arguments);
        out += &format!("\r\n  {} {}\r\n", paint("1", name), paint("90", &syntax));
        out += &format!("  {} {}\r\n", paint("33", "summary:"), doc.summary);
        out += &format!("  {} {}\r\n", paint("33", "since:"), doc.since);
        if !topic[0].starts_with('@') {
            out += &format!("  {} {}\r\n", paint("33", "group:"), doc.group);
        }
    }
    out + "\r\n"
}

fn matching<'a>(docs: &'a Rc<Docs>, topic: &[String]) -> Vec<(&'a String, &'a super::docs::CommandDoc)> {
    if let Some(group) = topic[0].strip_prefix('@') {
        return docs.commands.iter().filter(|(_, doc)| doc.group.eq_ignore_ascii_case(group)).collect();
    }
    // A command, and its subcommands where only its first word is given.
    let wanted = topic.join(" ").to_ascii_uppercase();
    let is_wanted = |name: &str| name == wanted || name.strip_prefix(&wanted).is_some_and(|rest| rest.starts_with(' '));
    docs.commands.iter().filter(|(name, _)| is_wanted(name)).collect()
}

fn overview() -> String {
    let mut out = format!("{}\n", crate::manual::version());
    for (word, about) in WORDS {
        out += &format!("  {word:<26} {about}\n");
    }
    out + "\nSettings that shall hold for every session go to ~/.redisclirc.\n"
}

/// Colours also in a pipe, as redis-cli has them here, unless NO_COLOR says otherwise.
fn paint(colour: &str, text: &str) -> String {
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return text.to_string();
    }
    format!("\x1b[{colour}m{text}\x1b[0m")
}

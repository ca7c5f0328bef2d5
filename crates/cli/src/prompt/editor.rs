//! The line editor's helper: completion, hints, colours, and lines that go on.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use rustyline::completion::Completer;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use super::docs::Docs;

pub struct Assistant {
    pub docs: Rc<Docs>,
    pub hints: bool,
    pub colours: bool,
    pub prompt_columns: usize,
    /// Whether anything was in the line when it was last drawn: the editor does not say when Ctrl-C ends it.
    pub line_is_begun: Cell<bool>,
}

impl Helper for Assistant {}

/// Words the prompt knows itself.
const OWN_WORDS: [&str; 7] = ["help", "connect", "clear", "quit", "exit", ":set", ":page"];
const SETTINGS: [&str; 4] = ["hints", "nohints", "pager", "nopager"];

impl Assistant {
    pub fn new(docs: Rc<Docs>, hints: bool, prompt_columns: usize) -> Assistant {
        Assistant { docs, hints, colours: crate::terminal::colours(), prompt_columns, line_is_begun: Cell::new(false) }
    }

    /// What can stand in place of `begun`, behind these words.
    fn candidates(&self, words: &[String], begun: &str) -> Vec<String> {
        let upper = begun.to_ascii_uppercase();
        let fitting = |name: &String| name.to_ascii_uppercase().starts_with(&upper);
        // As one types: small letters stay small.
        let lower = begun.chars().any(|character| character.is_ascii_lowercase());
        let as_typed = |name: String| if lower { name.to_ascii_lowercase() } else { name };
        let Some(first) = words.first() else {
            let commands = self.docs.commands.keys().filter(|name| !name.contains(' ')).cloned();
            let own = OWN_WORDS.iter().map(|word| word.to_string()).filter(|_| lower || begun.starts_with(':'));
            return commands.chain(own).filter(fitting).map(as_typed).collect();
        };
        match first.to_ascii_lowercase().as_str() {
            "help" | "?" => {
                let prefix =
                    words[1..].iter().map(|word| format!("{} ", word.to_ascii_uppercase())).collect::<String>();
                let names = self.docs.commands.keys().filter_map(|name| name.strip_prefix(&prefix)).map(str::to_string);
                let groups = self.docs.groups().into_iter().filter(|_| words.len() == 1);
                groups.chain(names).filter(fitting).map(as_typed).collect()
            }
            ":set" if words.len() == 1 => SETTINGS.iter().map(|word| word.to_string()).filter(fitting).collect(),
            _ => {
                let tokens = self.docs.expected(words).map(|expected| expected.tokens).unwrap_or_default();
                tokens.into_iter().filter(fitting).map(as_typed).collect()
            }
        }
    }
}

/// The words of a line up to the last blank, and where the word that is being typed begins.
fn split(line: &str) -> (Vec<String>, usize) {
    let start = line.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
    let words = config::words::split_words(&line.as_bytes()[..start]).unwrap_or_default();
    (words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect(), start)
}

/// Whether a quote is open at the end of the line.
pub fn has_open_quote(line: &str) -> bool {
    let mut quote = None;
    let mut escaped = false;
    for character in line.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            None if character == '"' || character == '\'' => quote = Some(character),
            _ => {}
        }
    }
    quote.is_some()
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let (words, start) = split(&line[..position]);
        let mut candidates = self.candidates(&words, &line[start..position]);
        candidates.sort_unstable();
        candidates.dedup();
        if let [only] = &mut candidates[..] {
            only.push(' ');
        }
        Ok((start, candidates))
    }
}

impl Hinter for Assistant {
    type Hint = String;

    fn hint(&self, line: &str, position: usize, _: &Context<'_>) -> Option<String> {
        self.line_is_begun.set(!line.is_empty());
        if !self.hints || position < line.len() || line.trim().is_empty() || has_open_quote(line) {
            return None;
        }
        let (mut words, start) = split(line);
        if start < line.len() {
            words.push(line[start..].to_string());
        }
        let hint = match own_hint(&words) {
            Some(hint) => hint.to_string(),
            None => self.docs.expected(&words)?.hint,
        };
        // On one line, so that nothing below jumps while one types.
        let taken = self.prompt_columns + line.rsplit('\n').next().unwrap_or(line).chars().count();
        let room = crate::terminal::size().0.saturating_sub(taken + 1);
        let hint = spaced(line, &hint);
        let shown: String = if hint.chars().count() <= room {
            hint
        } else {
            hint.chars().take(room.saturating_sub(1)).chain(['…']).collect()
        };
        Some(shown).filter(|shown| room > 8 && !shown.trim().is_empty())
    }
}

fn own_hint(words: &[String]) -> Option<&'static str> {
    let first = words[0].to_ascii_lowercase();
    match (first.as_str(), words.len()) {
        ("help", 1) => Some("[@group|command]"),
        ("connect", 1) => Some("host port"),
        ("connect", 2) => Some("port"),
        (":set", 1) => Some("hints|nohints|pager|nopager"),
        _ => None,
    }
}

fn spaced(line: &str, hint: &str) -> String {
    if line.ends_with(char::is_whitespace) { hint.to_string() } else { format!(" {hint}") }
}

impl Highlighter for Assistant {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.colours { Cow::Owned(format!("\x1b[90m{hint}\x1b[0m")) } else { Cow::Borrowed(hint) }
    }

    /// The command in bold once it is one.
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        let end = line.find(char::is_whitespace).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        if self.colours && self.docs.commands.contains_key(&name.to_ascii_uppercase()) {
            return Cow::Owned(format!("\x1b[1m{name}\x1b[0m{rest}"));
        }
        Cow::Borrowed(line)
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.colours
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if has_open_quote(context.input()) { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_on_while_a_quote_is_open() {
        for (line, open) in
            [("set a b", false), ("set a \"b", true), ("set a \"b\\\"", true), ("set 'a\"b' c", false), ("'", true)]
        {
            assert_eq!(has_open_quote(line), open, "{line}");
        }
    }
}

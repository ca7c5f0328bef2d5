//! What the server tells of its commands (COMMAND DOCS), and what it means for a line that is being typed.

use std::collections::BTreeMap;

use resp::client::Value;

use crate::session::Session;

/// All commands by their names in capitals; a subcommand's name has two words.
#[derive(Debug, Default)]
pub struct Docs {
    pub commands: BTreeMap<String, CommandDoc>,
}

#[derive(Debug, Default)]
pub struct CommandDoc {
    pub summary: String,
    pub since: String,
    pub group: String,
    pub arguments: Vec<Argument>,
    pub has_subcommands: bool,
}

#[derive(Debug, Default)]
pub struct Argument {
    /// What stands for its value.
    name: String,
    token: Option<String>,
    kind: Kind,
    optional: bool,
    multiple: bool,
    /// The token is repeated with each value.
    multiple_token: bool,
    inner: Vec<Argument>,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum Kind {
    #[default]
    Value,
    /// The token alone.
    Token,
    OneOf,
    /// All of them, one after the other.
    Block,
}

impl Docs {
    /// Asks the server. One that does not know the command, or does not let us use it, leaves the prompt without help.
    pub fn ask(session: &mut Session) -> Docs {
        match session.link().command(&["COMMAND", "DOCS"]) {
            Ok(reply) => Docs::read(&reply),
            Err(_) => Docs::default(),
        }
    }

    pub fn read(reply: &Value) -> Docs {
        let mut docs = Docs::default();
        for (name, doc) in pairs(reply) {
            docs.add(&name.to_ascii_uppercase(), doc);
        }
        docs
    }

    fn add(&mut self, name: &str, value: &Value) {
        let mut doc = CommandDoc::default();
        for (field, value) in pairs(value) {
            let text = || value.as_str().unwrap_or_default().to_string();
            match field.as_str() {
                "summary" => doc.summary = text(),
                "since" => doc.since = text(),
                "group" => doc.group = text(),
                "arguments" => doc.arguments = arguments(value),
                "subcommands" => {
                    doc.has_subcommands = true;
                    for (name, subcommand) in pairs(value) {
                        self.add(&name.replace('|', " ").to_ascii_uppercase(), subcommand);
                    }
                }
                _ => {}
            }
        }
        self.commands.insert(name.to_string(), doc);
    }

    pub fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> = self.commands.values().map(|doc| format!("@{}", doc.group)).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// The command that a line's words begin with, and how many of them are its name.
    pub fn find(&self, words: &[String]) -> Option<(&CommandDoc, usize)> {
        let first = words.first()?.to_ascii_uppercase();
        if let Some(second) = words.get(1)
            && let Some(doc) = self.commands.get(&format!("{first} {}", second.to_ascii_uppercase()))
        {
            return Some((doc, 2));
        }
        self.commands.get(&first).map(|doc| (doc, 1))
    }

    /// What may still come behind these words: the arguments as a hint, and the words among them that can be completed.
    pub fn expected(&self, words: &[String]) -> Option<Expected> {
        let (doc, named) = self.find(words)?;
        if doc.has_subcommands {
            let prefix = format!("{} ", words[0].to_ascii_uppercase());
            let names = self.commands.keys().filter_map(|name| name.strip_prefix(&prefix));
            let tokens: Vec<String> = names.map(str::to_string).collect();
            let hint = if words.len() == 1 { "subcommand".to_string() } else { String::new() };
            let tokens = if words.len() == 1 { tokens } else { Vec::new() };
            return Some(Expected { hint, tokens });
        }
        let mut matching = Matching { words: &words[named..], at: 0, hints: Vec::new(), tokens: Vec::new() };
        matching.list(&doc.arguments, &[]);
        Some(Expected { hint: matching.hints.join(" "), tokens: matching.tokens })
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Expected {
    pub hint: String,
    pub tokens: Vec<String>,
}

/// Map or flat list: RESP2 knows no maps.
fn pairs(value: &Value) -> Vec<(String, &Value)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    match value {
        Value::Map(pairs) => pairs.iter().map(|(name, value)| (text(name), value)).collect(),
        other => {
            let elements = other.elements().unwrap_or_default();
            elements.chunks_exact(2).map(|pair| (text(&pair[0]), &pair[1])).collect()
        }
    }
}

fn arguments(value: &Value) -> Vec<Argument> {
    value.elements().unwrap_or_default().iter().map(argument).collect()
}

fn argument(value: &Value) -> Argument {
    let mut argument = Argument::default();
    for (field, value) in pairs(value) {
        let text = || value.as_str().unwrap_or_default().to_string();
        match field.as_str() {
            "name" if argument.name.is_empty() => argument.name = text(),
            "display_text" => argument.name = text(),
            "token" => argument.token = Some(text()),
            "type" => {
                argument.kind = match value.as_str() {
                    Some("pure-token") => Kind::Token,
                    Some("oneof") => Kind::OneOf,
                    Some("block") => Kind::Block,
                    _ => Kind::Value,
                }
            }
            "flags" => {
                for flag in value.elements().unwrap_or_default().iter().filter_map(Value::as_str) {
                    match flag {
                        "optional" => argument.optional = true,
                        "multiple" => argument.multiple = true,
                        "multiple_token" => argument.multiple_token = true,
                        _ => {}
                    }
                }
            }
            "arguments" => argument.inner = arguments(value),
            _ => {}
        }
    }
    argument
}

/// How a list of arguments is written: `key [NX|XX] [EX seconds]`.
pub fn syntax(arguments: &[Argument]) -> String {
    arguments.iter().map(Argument::syntax).collect::<Vec<_>>().join(" ")
}

impl Argument {
    fn syntax(&self) -> String {
        let text = self.syntax_without_brackets();
        if self.optional { format!("[{text}]") } else { text }
    }

    fn syntax_without_brackets(&self) -> String {
        let token = self.token.as_deref().map(|token| if token.is_empty() { "\"\"" } else { token });
        if self.kind == Kind::Token {
            return token.unwrap_or_default().to_string();
        }
        let value = self.value_syntax();
        let one = match token {
            Some(token) => format!("{token} {value}"),
            None => value.clone(),
        };
        match (self.multiple, self.multiple_token) {
            (true, true) => format!("{one} [{one} ...]"),
            (true, false) => format!("{one} [{value} ...]"),
            _ => one,
        }
    }

    fn value_syntax(&self) -> String {
        let join = |separator| self.inner.iter().map(Argument::syntax).collect::<Vec<_>>().join(separator);
        match self.kind {
            Kind::OneOf => join("|"),
            Kind::Block => join(" "),
            Kind::Value | Kind::Token => self.name.clone(),
        }
    }

    /// The words that can begin it; none if any word can.
    fn first_tokens(&self) -> Vec<&str> {
        match (&self.token, self.kind) {
            (Some(token), _) => vec![token],
            (None, Kind::OneOf) => self.inner.iter().flat_map(Argument::first_tokens).collect(),
            (None, Kind::Block) => self.inner.first().map(Argument::first_tokens).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    fn takes_any_word(&self) -> bool {
        match (&self.token, self.kind) {
            (Some(_), _) => false,
            (None, Kind::OneOf) => self.inner.iter().any(Argument::takes_any_word),
            (None, Kind::Block) => self.inner.first().is_some_and(Argument::takes_any_word),
            (None, Kind::Value) => true,
            (None, Kind::Token) => false,
        }
    }

    /// Whether this word can begin it.
    fn begins_with(&self, word: &str) -> bool {
        self.takes_any_word() || self.first_tokens().iter().any(|token| token.eq_ignore_ascii_case(word))
    }
}

/// Lays the words of a line along the arguments.
struct Matching<'a> {
    words: &'a [String],
    at: usize,
    /// What is missing. From the first missing argument on everything is.
    hints: Vec<String>,
    tokens: Vec<String>,
}

impl Matching<'_> {
    fn word(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    /// `after`: what comes behind the list, so that an argument of many words knows where to end.
    fn list(&mut self, list: &[Argument], after: &[&Argument]) {
        let mut index = 0;
        while index < list.len() {
            let run = list[index..].iter().take_while(|argument| argument.optional).count();
            let rest: Vec<&Argument> = list[index + run.max(1)..].iter().chain(after.iter().copied()).collect();
            if run > 0 {
                self.options(&list[index..index + run], &rest);
                index += run;
            } else {
                self.one(&list[index], &rest);
                index += 1;
            }
        }
    }

    /// Optional arguments in a row may come in any order, those with tokens before those without.
    fn options(&mut self, run: &[Argument], after: &[&Argument]) {
        let mut unused: Vec<&Argument> = run.iter().collect();
        while self.hints.is_empty()
            && let Some(word) = self.word()
        {
            let with_token =
                unused.iter().position(|argument| !argument.takes_any_word() && argument.begins_with(word));
            // A word that a later argument begins with is not for an optional value.
            let taken = after.iter().any(|argument| !argument.takes_any_word() && argument.begins_with(word));
            let found = with_token.or_else(|| unused.iter().position(|argument| !taken && argument.takes_any_word()));
            let Some(found) = found else { break };
            let argument = unused.remove(found);
            let behind: Vec<&Argument> = unused.iter().copied().chain(after.iter().copied()).collect();
            self.one(argument, &behind);
        }
        if self.word().is_some() {
            // What has been passed over cannot come any more.
            return;
        }
        for argument in unused {
            if self.hints.is_empty() || self.tokens_are_wanted() {
                self.tokens.extend(argument.first_tokens().into_iter().map(str::to_string));
            }
            self.hints.push(argument.syntax());
        }
    }

    /// Tokens complete the next word only, so those behind a required argument that is missing do not count; those of optional
    /// arguments beside each other do.
    fn tokens_are_wanted(&self) -> bool {
        self.hints.iter().all(|hint| hint.starts_with('['))
    }

    fn one(&mut self, argument: &Argument, after: &[&Argument]) {
        let Some(word) = self.word().filter(|_| self.hints.is_empty()) else {
            if self.tokens_are_wanted() {
                self.tokens.extend(argument.first_tokens().into_iter().map(str::to_string));
            }
            self.hints.push(argument.syntax());
            return;
        };
        if let Some(token) = &argument.token {
            if !token.eq_ignore_ascii_case(word) {
                // Not what is expected here: nothing sensible can be said any more, but what was typed counts.
                self.at += 1;
                return;
            }
            self.at += 1;
        }
        self.value(argument, after);
        while argument.multiple && self.hints.is_empty() {
            let again = self.word().is_some_and(|word| {
                let ends = after.iter().any(|next| !next.takes_any_word() && next.begins_with(word));
                !ends
                    && (argument.multiple_token
                        == argument.token.as_deref().is_some_and(|token| token.eq_ignore_ascii_case(word)))
            });
            if !again {
                break;
            }
            self.at += usize::from(argument.multiple_token);
            self.value(argument, after);
        }
        if argument.multiple && self.word().is_none() {
            let value = argument.value_syntax();
            let more = match &argument.token {
                Some(token) if argument.multiple_token => format!("[{token} {value} ...]"),
                _ => format!("[{value} ...]"),
            };
            self.hints.push(more);
        }
    }

    fn value(&mut self, argument: &Argument, after: &[&Argument]) {
        match argument.kind {
            Kind::Token => {}
            Kind::Value => match self.word() {
                Some(_) => self.at += 1,
                None => self.hints.push(argument.name.clone()),
            },
            Kind::Block => self.list(&argument.inner, after),
            Kind::OneOf => match self.word() {
                None => {
                    self.tokens.extend(argument.inner.iter().flat_map(Argument::first_tokens).map(str::to_string));
                    self.hints.push(argument.value_syntax());
                }
                Some(word) => {
                    let exact = argument.inner.iter().find(|inner| !inner.takes_any_word() && inner.begins_with(word));
                    match exact.or_else(|| argument.inner.iter().find(|inner| inner.takes_any_word())) {
                        Some(inner) => self.one(inner, after),
                        None => self.at += 1,
                    }
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Argument {
        Argument { name: name.to_string(), ..Argument::default() }
    }

    fn token(token: &str) -> Argument {
        Argument { token: Some(token.to_string()), kind: Kind::Token, ..Argument::default() }
    }

    fn optional(argument: Argument) -> Argument {
        Argument { optional: true, ..argument }
    }

    fn one_of(inner: Vec<Argument>) -> Argument {
        Argument { kind: Kind::OneOf, inner, ..Argument::default() }
    }

    fn with_token(name: &str, argument: Argument) -> Argument {
        Argument { token: Some(name.to_string()), ..argument }
    }

    fn docs() -> Docs {
        let mut docs = Docs::default();
        let mut add = |name: &str, arguments| {
            docs.commands.insert(name.to_string(), CommandDoc { arguments, ..CommandDoc::default() });
        };
        add(
            "SET",
            vec![
                value("key"),
                value("value"),
                optional(one_of(vec![token("NX"), token("XX")])),
                optional(token("GET")),
                optional(one_of(vec![with_token("EX", value("seconds")), token("KEEPTTL")])),
            ],
        );
        add("DEL", vec![Argument { multiple: true, ..value("key") }]);
        let pair = Argument {
            kind: Kind::Block,
            multiple: true,
            inner: vec![value("score"), value("member")],
            ..Argument::default()
        };
        add("ZADD", vec![value("key"), optional(one_of(vec![token("NX"), token("XX")])), pair]);
        docs
    }

    #[test]
    fn syntax_is_written_as_manuals_do() {
        let docs = docs();
        let syntax_of = |name: &str| syntax(&docs.commands[name].arguments);
        assert_eq!(syntax_of("SET"), "key value [NX|XX] [GET] [EX seconds|KEEPTTL]");
        assert_eq!(syntax_of("DEL"), "key [key ...]");
        assert_eq!(syntax_of("ZADD"), "key [NX|XX] score member [score member ...]");
    }

    #[test]
    fn hints_are_what_is_missing() {
        let docs = docs();
        for (line, hint, tokens) in [
            ("set", "key value [NX|XX] [GET] [EX seconds|KEEPTTL]", ""),
            ("set k", "value [NX|XX] [GET] [EX seconds|KEEPTTL]", ""),
            ("set k v", "[NX|XX] [GET] [EX seconds|KEEPTTL]", "NX XX GET EX KEEPTTL"),
            ("set k v get", "[NX|XX] [EX seconds|KEEPTTL]", "NX XX EX KEEPTTL"),
            ("set k v ex", "seconds [NX|XX] [GET]", ""),
            ("set k v ex 5 nx", "[GET]", "GET"),
            ("del a b", "[key ...]", ""),
            ("zadd z", "[NX|XX] score member [score member ...]", "NX XX"),
            ("zadd z nx 1", "member [score member ...]", ""),
            ("zadd z 1 a", "[score member ...]", ""),
            ("zadd z 1 a 2", "member [score member ...]", ""),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_string).collect();
            let expected = docs.expected(&words).unwrap();
            assert_eq!(expected.hint, hint, "{line}");
            assert_eq!(expected.tokens.join(" "), tokens, "{line}");
        }
    }
}

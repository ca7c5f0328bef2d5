//! What a server says about its commands (COMMAND and COMMAND DOCS), in a form that can be compared and united.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value as Json, json};
use testkit::{Client, Value};

/// All commands of one server, by name.
pub type Catalogue = BTreeMap<String, Command>;

/// One command or subcommand (`config|get`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Command {
    pub name: String,
    /// Everything that has one value: arity, flags, acl, key_specs, since, group … Unordered lists are sorted.
    pub fields: BTreeMap<&'static str, Json>,
    /// `(version, text)` of each change.
    pub history: Vec<(String, String)>,
    pub arguments: Vec<Argument>,
    pub subcommands: Catalogue,
}

/// A node of the documented argument tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Argument {
    pub name: String,
    pub token: Option<String>,
    /// type, display_text, since, deprecated_since, flags, key_spec_index: what is not structure.
    pub fields: BTreeMap<String, Json>,
    pub arguments: Vec<Argument>,
}

/// Fields of COMMAND DOCS that have one value.
const DOC_FIELDS: [&str; 7] =
    ["summary", "since", "group", "complexity", "deprecated_since", "replaced_by", "doc_flags"];

/// Asks a server. Module commands and vector sets are left out: they are no part of the core that is to be equalled.
pub fn load(client: &mut Client) -> Result<Catalogue> {
    let hello = client.command(&["HELLO", "3"])?;
    if hello.is_error() {
        bail!("HELLO 3: {hello}");
    }
    let rows = client.command(&["COMMAND"])?;
    let docs = client.command(&["COMMAND", "DOCS"])?;
    let mut catalogue = Catalogue::new();
    for row in rows.elements().with_context(|| format!("COMMAND replies {rows}"))? {
        let mut command = info(row).with_context(|| format!("COMMAND replies with the entry {row}"))?;
        if let Some(entry) = docs.field(&command.name) {
            add_docs(&mut command, entry);
        }
        if !is_module(&command) {
            catalogue.insert(command.name.clone(), command);
        }
    }
    Ok(catalogue)
}

fn is_module(command: &Command) -> bool {
    let flag = |field: &str, flag: &str| {
        command.fields.get(field).and_then(Json::as_array).is_some_and(|flags| flags.iter().any(|it| it == flag))
    };
    flag("flags", "module")
        || command.fields.get("group").is_some_and(|group| group == "module" || group == "vector_set")
}

fn info(row: &Value) -> Option<Command> {
    let row = row.elements()?;
    let [name, arity, flags, first, last, step, acl, tips, key_specs, subcommands] = row else { return None };
    let mut command = Command { name: name.text()?.to_owned(), ..Command::default() };
    command.fields.insert("arity", json(arity));
    command.fields.insert("flags", sorted(json(flags)));
    command.fields.insert("keys", Json::Array([first, last, step].map(json).to_vec()));
    command.fields.insert("acl", sorted(json(acl)));
    command.fields.insert("tips", sorted(json(tips)));
    command.fields.insert("key_specs", key_specs_json(key_specs));
    for row in subcommands.elements()? {
        let subcommand = info(row)?;
        command.subcommands.insert(subcommand.name.clone(), subcommand);
    }
    Some(command)
}

/// Key specifications as a client acts on them: without the notes, which are prose.
fn key_specs_json(specs: &Value) -> Json {
    let mut specs = json(specs);
    for spec in specs.as_array_mut().into_iter().flatten().filter_map(Json::as_object_mut) {
        spec.remove("notes");
        if let Some(flags) = spec.get_mut("flags") {
            *flags = sorted(flags.take());
        }
    }
    specs
}

fn add_docs(command: &mut Command, entry: &Value) {
    for name in DOC_FIELDS {
        if let Some(value) = entry.field(name) {
            let value = json(value);
            command.fields.insert(name, if name == "doc_flags" { sorted(value) } else { value });
        }
    }
    for change in entry.field("history").and_then(Value::elements).into_iter().flatten() {
        if let Some([version, text]) = change.elements() {
            let owned = |value: &Value| value.text().unwrap_or_default().to_owned();
            command.history.push((owned(version), owned(text)));
        }
    }
    command.arguments = arguments(entry.field("arguments"));
    for subcommand in command.subcommands.values_mut() {
        if let Some(entry) = entry.field("subcommands").and_then(|docs| docs.field(&subcommand.name)) {
            add_docs(subcommand, entry);
        }
    }
}

fn arguments(list: Option<&Value>) -> Vec<Argument> {
    let mut out = Vec::new();
    for entry in list.and_then(Value::elements).into_iter().flatten() {
        let mut argument = Argument::default();
        for (key, value) in entry.pairs().unwrap_or_default() {
            match key.text().unwrap_or_default() {
                "name" => argument.name = value.text().unwrap_or_default().to_owned(),
                "token" => argument.token = value.text().map(str::to_owned),
                "arguments" => argument.arguments = arguments(Some(value)),
                "flags" => drop(argument.fields.insert("flags".into(), sorted(json(value)))),
                // Prose for people who read a generated page.
                "summary" => {}
                name => drop(argument.fields.insert(name.to_owned(), json(value))),
            }
        }
        out.push(argument);
    }
    out
}

impl Command {
    /// As JSON, for whoever writes the command tables.
    pub fn json(&self) -> Json {
        let mut object: Map<String, Json> = self
            .fields
            .iter()
            .filter(|(name, _)| **name != "summary")
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect();
        object.insert("name".into(), json!(self.name));
        object.insert("history".into(), json!(self.history));
        object.insert("arguments".into(), self.arguments.iter().map(Argument::json).collect());
        object.insert("subcommands".into(), catalogue_json(&self.subcommands));
        Json::Object(object)
    }

    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }
}

pub fn catalogue_json(catalogue: &Catalogue) -> Json {
    Json::Object(catalogue.iter().map(|(name, command)| (name.clone(), command.json())).collect())
}

impl Argument {
    pub fn json(&self) -> Json {
        let mut object: Map<String, Json> = self.fields.clone().into_iter().collect();
        object.insert("name".into(), json!(self.name));
        if let Some(token) = &self.token {
            object.insert("token".into(), json!(token));
        }
        if !self.arguments.is_empty() {
            object.insert("arguments".into(), self.arguments.iter().map(Argument::json).collect());
        }
        Json::Object(object)
    }

    /// What identifies it among its siblings.
    pub fn identity(&self) -> (&str, Option<&str>) {
        (&self.name, self.token.as_deref())
    }

    pub fn kind(&self) -> &str {
        self.fields.get("type").and_then(Json::as_str).unwrap_or_default()
    }

    pub fn is(&self, flag: &str) -> bool {
        self.fields.get("flags").and_then(Json::as_array).is_some_and(|flags| flags.iter().any(|it| it == flag))
    }

    /// All tokens in it and below.
    pub fn tokens(&self) -> BTreeSet<String> {
        let mut tokens: BTreeSet<String> = self.arguments.iter().flat_map(Argument::tokens).collect();
        tokens.extend(self.token.clone());
        tokens
    }

    /// Whether a node of this identity is in it or below.
    pub fn contains(&self, identity: (&str, Option<&str>)) -> bool {
        self.identity() == identity || self.arguments.iter().any(|argument| argument.contains(identity))
    }
}

fn json(value: &Value) -> Json {
    match value {
        Value::Integer(number) => json!(number),
        Value::Boolean(value) => json!(value),
        Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => elements.iter().map(json).collect(),
        Value::Map(pairs) => Json::Object(
            pairs.iter().map(|(key, value)| (key.text().unwrap_or_default().to_owned(), json(value))).collect(),
        ),
        _ => value.bytes().map_or(Json::Null, |bytes| json!(String::from_utf8_lossy(bytes))),
    }
}

fn sorted(mut list: Json) -> Json {
    if let Some(list) = list.as_array_mut() {
        list.sort_by_key(Json::to_string);
    }
    list
}

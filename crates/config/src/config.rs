//! The values of all directives, and the changes that CONFIG SET makes to them.

use std::fmt;
use std::sync::LazyLock;

use crate::choices::Permitted;
use crate::directive::{self, DefaultValue, Directive, DirectiveId, Key, Kind};
use crate::directives;
use crate::glob::glob_match;
use crate::value::{self, Bytes, SavePoint, Setting, Value};

/// The values of all directives.
///
/// Reading one is an index into a vector; what the hot path needs the server mirrors where it needs it.
#[derive(Clone, Debug)]
pub struct Config {
    values: Vec<Value>,
    /// The file the server was started with, for REWRITE and INFO.
    pub(crate) file: Option<std::path::PathBuf>,
}

static DEFAULTS: LazyLock<Vec<Value>> =
    LazyLock::new(|| directives::all().map(|(_, directive)| default_value(directive)).collect());

fn default_value(directive: &Directive) -> Value {
    let computed;
    let text = match directive.default {
        DefaultValue::Text(text) => text,
        DefaultValue::OfMachine(compute, _) => {
            computed = compute();
            &computed
        }
    };
    let words: Vec<Bytes> = match directive.kind {
        Kind::Statement { .. } => return Value::Statements(Vec::new()),
        _ if directive.takes_words() => text.split(' ').map(Into::into).collect(),
        _ => vec![text.into()],
    };
    // The parts of a default that are not named are zero: nothing stands before it.
    let nothing = Value::Statements(Vec::new());
    match value::parse(directive, &words, &nothing) {
        Ok(value) => value,
        Err(reason) => panic!("the default of '{}': {reason}", directive.name),
    }
}

impl Default for Config {
    fn default() -> Self {
        Config { values: DEFAULTS.clone(), file: None }
    }
}

impl Config {
    /// The value behind a key, in the key's own type: `config.get(directives::PORT)`.
    pub fn get<T: ?Sized + Setting>(&self, key: Key<T>) -> T::Read<'_> {
        key.read(&self.values)
    }

    /// A text value for people and paths; bytes that are not UTF-8 are replaced.
    pub fn text(&self, key: Key<[u8]>) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.get(key))
    }

    /// A text value as the path it names, or `None` when it is empty.
    pub fn path(&self, key: Key<[u8]>) -> Option<&std::path::Path> {
        use std::os::unix::ffi::OsStrExt;
        let text = self.get(key);
        (!text.is_empty()).then(|| std::path::Path::new(std::ffi::OsStr::from_bytes(text)))
    }

    /// The file the server was started with, if any.
    pub fn file(&self) -> Option<&std::path::Path> {
        self.file.as_deref()
    }

    /// Any value, without its type.
    pub fn value(&self, id: impl Into<DirectiveId>) -> &Value {
        &self.values[id.into().index()]
    }

    /// Whether the value is the one that stands when nobody sets it.
    pub fn is_default(&self, id: impl Into<DirectiveId>) -> bool {
        let id = id.into();
        self.values[id.index()] == DEFAULTS[id.index()]
    }

    /// The value as CONFIG GET shows it.
    pub fn formatted(&self, id: impl Into<DirectiveId>) -> Bytes {
        let id = id.into();
        value::format(id.directive().kind, &self.values[id.index()])
    }

    /// Sets a value from the words a file would give. For what the server decides or finds out by itself
    /// (the working directory, the limit on open files, the side effects of REPLICAOF), and for tests.
    pub fn set(&mut self, id: impl Into<DirectiveId>, words: &[&[u8]]) -> Result<(), String> {
        let words: Vec<Bytes> = words.iter().map(|word| word.to_vec()).collect();
        self.set_words(id.into(), &words)
    }

    /// Puts other users in the place of the `user` statements: they are not changed by CONFIG SET, but rewritten.
    pub fn set_users(&mut self, statements: Vec<Vec<Bytes>>) {
        self.values[directives::USER.id().index()] = Value::Statements(statements);
    }

    pub(crate) fn set_words(&mut self, id: DirectiveId, words: &[Bytes]) -> Result<(), String> {
        let words = words_of_value(id.directive(), words);
        self.values[id.index()] = value::parse(id.directive(), &words, &self.values[id.index()])?;
        Ok(())
    }

    /// Puts the snapshot times of earlier lines before those of the last one.
    pub(crate) fn prepend_save(&mut self, mut before: Vec<SavePoint>) {
        if let Value::Save(points) = &mut self.values[directives::SAVE.id().index()] {
            before.append(points);
            *points = before;
        }
    }

    /// CONFIG GET: names and values of all directives that any of `patterns` matches, each name once, in the order
    /// of the table. An alias answers under its own name. A name asked for without wildcards comes back as the
    /// client wrote it (observed in Redis 8.2: `CONFIG GET PORT` answers `PORT`).
    pub fn matching<Pattern: AsRef<[u8]>>(&self, patterns: &[Pattern]) -> Vec<(Bytes, Bytes)> {
        let mut matches = Vec::new();
        for (id, directive) in directives::all() {
            if matches!(directive.kind, Kind::Statement { .. }) {
                continue;
            }
            for name in directive.names() {
                let shown = patterns.iter().find_map(|pattern| {
                    let pattern = pattern.as_ref();
                    let has_wildcards = memchr::memchr3(b'*', b'?', b'[', pattern).is_some();
                    if has_wildcards {
                        (!directive.hidden && glob_match(pattern, name.as_bytes(), true)).then_some(name.as_bytes())
                    } else {
                        name.as_bytes().eq_ignore_ascii_case(pattern).then_some(pattern)
                    }
                });
                if let Some(shown) = shown {
                    matches.push((shown.to_vec(), self.formatted(id)));
                }
            }
        }
        matches
    }

    /// The first half of CONFIG SET: checks every pair and changes nothing.
    pub fn prepare_set<Text: AsRef<[u8]>>(&self, pairs: &[(Text, Text)], client: Client) -> Result<Changes, SetError> {
        let failed = |name: &[u8], reason: String| SetError::Failed { name: name.to_vec(), reason };
        // As in Redis, all names are looked at before the first value: their errors come first.
        let mut ids = Vec::with_capacity(pairs.len());
        for (position, (name, _)) in pairs.iter().enumerate() {
            let name = name.as_ref();
            let id = directives::find(name)
                .filter(|id| !matches!(id.directive().kind, Kind::Statement { .. }))
                .ok_or_else(|| SetError::Unknown(name.to_vec()))?;
            if let Some(reason) = self.refusal(id.directive(), client) {
                return Err(failed(name, reason.into()));
            }
            // The same directive under two of its names is allowed; the later one wins.
            if pairs[..position].iter().any(|(earlier, _)| earlier.as_ref().eq_ignore_ascii_case(name)) {
                return Err(failed(name, "duplicate parameter".into()));
            }
            ids.push(id);
        }
        let mut changes = Vec::with_capacity(pairs.len());
        for (id, (name, text)) in ids.into_iter().zip(pairs) {
            let (name, old) = (name.as_ref(), self.values[id.index()].clone());
            let words = set_words_of(id.directive(), text.as_ref());
            let new = value::parse(id.directive(), &words, &old).map_err(|reason| failed(name, reason))?;
            changes.push(Change { id, name: name.to_vec(), old, new });
        }
        Ok(Changes { changes })
    }

    /// Why `client` may not change `directive` now, if so.
    fn refusal(&self, directive: &Directive, client: Client) -> Option<&'static str> {
        match directive.change {
            directive::Change::Mutable => None,
            directive::Change::FixedAtStart => Some("can't set immutable config"),
            directive::Change::Protected => match self.get(directives::ENABLE_PROTECTED_CONFIGS) {
                Permitted::Yes => None,
                Permitted::Local if client == Client::Local => None,
                Permitted::Local | Permitted::No => Some("can't set protected config"),
            },
        }
    }

    /// The second half of CONFIG SET: puts the new values in place. The server then makes them felt, and
    /// calls [`Config::revert`] if it cannot.
    pub fn apply(&mut self, changes: &Changes) {
        for change in &changes.changes {
            self.values[change.id.index()] = change.new.clone();
        }
    }

    /// Puts the old values back.
    pub fn revert(&mut self, changes: &Changes) {
        for change in changes.changes.iter().rev() {
            self.values[change.id.index()] = change.old.clone();
        }
    }
}

/// The words of a line, where a list may also be one quoted word: `bind "127.0.0.1 ::1"`.
pub(crate) fn words_of_value(directive: &Directive, words: &[Bytes]) -> Vec<Bytes> {
    match words {
        [one] if directive.takes_words() && !matches!(directive.kind, Kind::Statement { .. }) => {
            one.trim_ascii().split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect()
        }
        _ => words.to_vec(),
    }
}

/// The words that CONFIG SET's one argument gives. Observed in Redis 8.2: it is split at every single space, without
/// quoting and trimming, so two spaces make an empty word; but an empty argument is no word at all.
fn set_words_of(directive: &Directive, text: &[u8]) -> Vec<Bytes> {
    if !directive.takes_words() {
        vec![text.to_vec()]
    } else if text.is_empty() {
        Vec::new()
    } else {
        text.split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect()
    }
}

/// Where the client of CONFIG SET connects from, for `enable-protected-configs local`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The loopback interface or the Unix socket.
    Local,
    Remote,
}

/// Checked values of one CONFIG SET, to be applied together.
#[derive(Clone, Debug)]
pub struct Changes {
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
struct Change {
    id: DirectiveId,
    /// As the client wrote it.
    name: Bytes,
    old: Value,
    new: Value,
}

impl Changes {
    /// The directives that were named, in the client's order; those whose value stays the same too.
    pub fn directives(&self) -> impl Iterator<Item = DirectiveId> + '_ {
        self.changes.iter().map(|change| change.id)
    }

    /// Whether the directive was named.
    pub fn touches(&self, id: impl Into<DirectiveId>) -> bool {
        let id = id.into();
        self.changes.iter().any(|change| change.id == id)
    }

    /// Whether the directive was named and gets another value than it has.
    pub fn alters(&self, id: impl Into<DirectiveId>) -> bool {
        let id = id.into();
        self.changes.iter().any(|change| change.id == id && change.old != change.new)
    }

    /// Whether the directive was named, perhaps with the value that it had: where files are read, that asks for them again.
    pub fn names(&self, id: impl Into<DirectiveId>) -> bool {
        let id = id.into();
        self.changes.iter().any(|change| change.id == id)
    }

    /// The error of a CONFIG SET whose effect on the server failed, for example a port that is taken.
    ///
    /// # Panics
    /// If the directive was not named.
    pub fn failed(&self, id: impl Into<DirectiveId>, reason: impl Into<String>) -> SetError {
        let id = id.into();
        let change = self.changes.iter().find(|change| change.id == id);
        let name = change.expect("only a directive that was set can fail").name.clone();
        SetError::Failed { name, reason: reason.into() }
    }
}

/// Why CONFIG SET refuses. [`SetError::message`] is the reply behind the `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    Unknown(Bytes),
    Failed { name: Bytes, reason: String },
}

impl SetError {
    /// The error reply, `ERR` included. The client's bytes stand in it as they came, but for line breaks.
    pub fn message(&self) -> Bytes {
        let mut message = Vec::new();
        match self {
            SetError::Unknown(name) => {
                message.extend(b"ERR Unknown option or number of arguments for CONFIG SET - '");
                // As in Redis's texts, which are C strings, it ends at a zero byte.
                message.extend(name.iter().take_while(|&&byte| byte != 0));
                message.push(b'\'');
            }
            SetError::Failed { name, reason } => {
                message.extend(b"ERR CONFIG SET failed (possibly related to argument '");
                message.extend(name);
                message.extend(b"') - ");
                message.extend(reason.as_bytes());
            }
        }
        for byte in &mut message {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        message
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.message()))
    }
}

impl std::error::Error for SetError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_error(name: &str, text: &str) -> String {
        Config::default().prepare_set(&[(name, text)], Client::Local).unwrap_err().to_string()
    }

    fn shown_after(name: &str, text: &str) -> String {
        let mut config = Config::default();
        let changes = config.prepare_set(&[(name, text)], Client::Local).unwrap();
        config.apply(&changes);
        let id = directives::find(name.as_bytes()).unwrap();
        String::from_utf8(config.formatted(id)).unwrap()
    }

    #[test]
    fn every_key_reads_its_row() {
        directives::check_every_key(&Config::default().values);
    }

    #[test]
    fn every_row_is_documented_and_its_default_survives_its_own_text() {
        for (id, directive) in directives::all() {
            assert!(!directive.about.is_empty(), "{}", directive.name);
            let config = Config::default();
            let words = set_words_of(directive, &config.formatted(id));
            if !matches!(directive.kind, Kind::Statement { .. } | Kind::ReplicaOf) {
                let again = value::parse(directive, &words, config.value(id)).unwrap();
                assert_eq!(&again, config.value(id), "{}", directive.name);
            }
        }
    }

    /// Texts observed in Redis 8.2 (Valkey 9.1 for its own directives).
    #[test]
    fn what_config_set_refuses() {
        for (name, text, reason) in [
            ("maxmemory", "x", "argument must be a memory value"),
            ("maxmemory", "9223372036854775808", "argument must be greater or equal to 0"),
            ("proto-max-bulk-len", "1", "argument must be between 1048576 and 9223372036854775807 inclusive"),
            ("timeout", "01", "argument couldn't be parsed into an integer"),
            ("timeout", "-1", "argument must be between 0 and 2147483647 inclusive"),
            ("maxclients", "-1", "argument must be greater or equal to 0"),
            ("appendonly", "maybe", "argument must be 'yes' or 'no'"),
            ("loglevel", "", "argument(s) must be one of the following: debug, verbose, notice, warning, nothing"),
            ("maxmemory-clients", "101%", "percentage argument must be less or equal to 100"),
            ("maxmemory-clients", "-1%", "argument must be a memory or percent value"),
            ("port", "65536", "argument must be between 0 and 65535 inclusive"),
            ("daemonize", "yes", "can't set immutable config"),
            ("dbfilename", "a", "can't set protected config"),
            ("save", "100", "Invalid save parameters"),
            ("save", "100 1  200 2", "Invalid save parameters"),
            ("oom-score-adj-values", "1 2", "wrong number of arguments"),
            ("oom-score-adj-values", "0  1 2", "wrong number of arguments"),
            (
                "oom-score-adj-values",
                "-2001 0 1",
                "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
            ),
            ("client-output-buffer-limit", "x", "Wrong number of arguments in buffer limit configuration."),
            (
                "client-output-buffer-limit",
                "foo 1 1 1",
                "Invalid client class specified in buffer limit configuration.",
            ),
            (
                "client-output-buffer-limit",
                "normal 1 1 -1",
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            ),
            ("notify-keyspace-events", "Q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
            ("latency-tracking-info-percentiles", "a", "Invalid latency-tracking-info-percentiles parameters"),
            (
                "latency-tracking-info-percentiles",
                "101",
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
            ),
            ("shutdown-on-sigterm", "save nosave", "shutdown options SAVE and NOSAVE can't be used simultaneously"),
            ("shutdown-on-sigterm", "x", "argument(s) must be one of the following: default, save, nosave, now, force"),
            ("proc-title-template", "{x}", "template format is invalid or contains unknown variables"),
            ("cluster-announce-hostname", "a_b", "Hostnames may only contain alphanumeric characters, hyphens or dots"),
            ("cluster-announce-client-ipv4", "a", "Invalid IPv4 address"),
        ] {
            let expected = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}");
            assert_eq!(set_error(name, text), expected, "{text:?}");
        }
        for name in ["foo", "", "include", "rename-command"] {
            let expected = format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
            assert_eq!(set_error(name, "1"), expected);
        }
        assert!(!set_error("a\r\nb", "1").contains(['\r', '\n']), "the reply stays one line");
    }

    #[test]
    fn how_values_are_shown() {
        for (name, text, shown) in [
            ("maxmemory", "1gb", "1073741824"),
            ("maxmemory", "", "0"),
            ("maxmemory-clients", "5%", "5%"),
            ("maxmemory-clients", "0%", "0"),
            ("loglevel", "DEBUG", "debug"),
            ("oom-score-adj", "relative", "yes"),
            ("oom-score-adj", "absolute", "absolute"),
            ("hz", "0", "1"),
            ("hz", "1000", "500"),
            ("save", "100 1 200 2", "100 1 200 2"),
            ("save", "", ""),
            ("bind", "", ""),
            ("bind", "127.0.0.1 -::1", "127.0.0.1 -::1"),
            ("notify-keyspace-events", "KEA", "AKE"),
            ("notify-keyspace-events", "Kg$lshzxetdmn", "AKm"),
            ("notify-keyspace-events", "Kn", "nK"),
            ("notify-keyspace-events", "cKomn", "nocKm"),
            ("notify-keyspace-events", "KEAnoc", "AKE"),
            ("repl-backlog-size", "7", "16384"),
            ("notify-keyspace-events", "gxE", "gxE"),
            ("shutdown-on-sigterm", "default now", "now"),
            ("shutdown-on-sigterm", "now save", "save now"),
            ("latency-tracking-info-percentiles", "100.0 0.0 1e1", "100 0 10"),
            ("latency-tracking-info-percentiles", "", ""),
            ("slave-read-only", "no", "no"),
            (
                "client-output-buffer-limit",
                "REPLICA 2 2mb 2 normal 1 1 1",
                "normal 1 1 1 slave 2 2097152 2 pubsub 33554432 8388608 60",
            ),
        ] {
            assert_eq!(shown_after(name, text), shown, "{name} {text:?}");
        }
    }

    #[test]
    fn several_are_set_together_or_not_at_all() {
        let mut config = Config::default();
        let wrong = config.prepare_set(&[("timeout", "5"), ("hz", "x")], Client::Local).unwrap_err();
        assert!(wrong.to_string().contains("'hz'"));
        let refused = |pairs: &[(&str, &str)]| {
            let text = config.prepare_set(pairs, Client::Local).unwrap_err().to_string();
            text.strip_prefix("ERR CONFIG SET failed (possibly related to argument '")
                .map(str::to_string)
                .unwrap_or(text)
        };
        let unknown = "ERR Unknown option or number of arguments for CONFIG SET - 'foo'";
        assert_eq!(refused(&[("timeout", "1"), ("TIMEOUT", "2")]), "TIMEOUT') - duplicate parameter");
        assert_eq!(refused(&[("timeout", "x"), ("foo", "1")]), unknown);
        assert_eq!(refused(&[("daemonize", "1"), ("foo", "1")]), "daemonize') - can't set immutable config");
        assert_eq!(refused(&[("timeout", "x"), ("timeout", "1")]), "timeout') - duplicate parameter");
        assert!(config.prepare_set(&[("slave-read-only", "no"), ("replica-read-only", "no")], Client::Local).is_ok());

        let changes = config.prepare_set(&[("TIMEOUT", "5"), ("hz", "10")], Client::Local).unwrap();
        assert_eq!(config.get(directives::TIMEOUT), 0, "nothing has changed yet");
        config.apply(&changes);
        assert_eq!(config.get(directives::TIMEOUT), 5);
        assert!(changes.touches(directives::HZ) && !changes.alters(directives::HZ));
        assert!(changes.alters(directives::TIMEOUT));
        assert_eq!(
            changes.failed(directives::TIMEOUT, "no").to_string(),
            "ERR CONFIG SET failed (possibly related to argument 'TIMEOUT') - no"
        );
        config.revert(&changes);
        assert_eq!(config.get(directives::TIMEOUT), 0);
    }

    #[test]
    fn protected_directives() {
        let with = |text: &[u8], client| {
            let mut config = Config::default();
            config.set(directives::ENABLE_PROTECTED_CONFIGS, &[text]).unwrap();
            config.prepare_set(&[("dbfilename", "a")], client).is_ok()
        };
        assert!(with(b"yes", Client::Remote));
        assert!(with(b"local", Client::Local));
        assert!(!with(b"local", Client::Remote));
        assert!(!with(b"no", Client::Local));
    }

    #[test]
    fn patterns_of_config_get() {
        let config = Config::default();
        let names = |patterns: &[&str]| {
            let names = config.matching(patterns).into_iter().map(|(name, _)| String::from_utf8(name).unwrap());
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(&["MAXmemory"]), ["MAXmemory"]);
        assert_eq!(names(&["MAXmemor?"]), ["maxmemory"]);
        assert_eq!(names(&["*slave-read*", "replica-read-only"]), ["replica-read-only", "slave-read-only"]);
        assert_eq!(names(&["port", "p?rt", "port"]), ["port"]);
        assert_eq!(names(&["key-load-delay"]), ["key-load-delay"], "hidden, but asked for by name");
        assert!(names(&["key-load-dela?"]).is_empty());
        assert!(names(&["include", "user", "nothing"]).is_empty());
        assert_eq!(config.matching(&["save"]), [(b"save".to_vec(), b"3600 1 300 100 60 10000".to_vec())]);
    }
}

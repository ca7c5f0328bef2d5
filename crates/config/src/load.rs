//! Reading a configuration: the file, its includes, standard input, and the options of the command line.
//!
//! A file is lines of words (see [`crate::words`]); a line that begins with `#` is a comment. The first word is the
//! name of a directive, the others its value. What stands later wins; `save`, `client-output-buffer-limit` and the
//! statements add up instead.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::command_line::Invocation;
use crate::config::Config;
use crate::directive::DirectiveId;
use crate::directives;
use crate::value::{Bytes, os_error_text};
use crate::words::split_words;

/// Includes inside includes: beyond this a file includes itself.
const INCLUDE_DEPTH_MAX: usize = 16;

/// Where a line comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    /// A file that another one includes.
    Included(PathBuf),
    StandardInput,
    CommandLine,
}

/// A line with its origin, for error messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub source: Source,
    /// From 1; on the command line, the number of the option.
    pub line: usize,
    /// The line without the white space around it.
    pub text: Bytes,
}

/// A configuration that was read completely.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// The lines that set each directive.
    places: HashMap<DirectiveId, Vec<Place>>,
}

impl Loaded {
    /// An error at the line that set a directive last, for what only the server can find wrong with a value.
    pub fn error(&self, id: impl Into<DirectiveId>, reason: impl Into<String>) -> LoadError {
        self.error_at(id, usize::MAX, reason)
    }

    /// The same for the statement at `position`, say the second `rename-command`.
    pub fn error_at(&self, id: impl Into<DirectiveId>, position: usize, reason: impl Into<String>) -> LoadError {
        let id = id.into();
        let places = self.places.get(&id).map(Vec::as_slice).unwrap_or_default();
        let place = places.get(position).or(places.last()).cloned().unwrap_or_else(|| Place {
            source: Source::CommandLine,
            line: 0,
            text: id.name().into(),
        });
        LoadError::Line { place: Box::new(place), reason: reason.into() }
    }
}

/// Why a configuration cannot be used. Displayed as the server prints it before it exits.
#[derive(Debug)]
pub enum LoadError {
    Unreadable { source: Source, error: io::Error },
    Line { place: Box<Place>, reason: String },
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Unreadable { source: Source::File(path) | Source::Included(path), error } => {
                let reason = os_error_text(error);
                write!(formatter, "Fatal error, can't open config file '{}': {reason}", path.display())
            }
            LoadError::Unreadable { error, .. } => {
                write!(formatter, "Fatal error, can't read the configuration from standard input: {error}")
            }
            LoadError::Line { place, reason } => {
                writeln!(formatter, "\n*** FATAL CONFIG FILE ERROR (Spinel {}) ***", env!("CARGO_PKG_VERSION"))?;
                let line = place.line;
                match &place.source {
                    Source::File(_) => writeln!(formatter, "Reading the configuration file, at line {line}")?,
                    Source::Included(path) => writeln!(
                        formatter,
                        "Reading the configuration file, at line {line} of the included '{}'",
                        path.display()
                    )?,
                    Source::StandardInput => writeln!(formatter, "Reading standard input, at line {line}")?,
                    Source::CommandLine => writeln!(formatter, "Reading the command line, at option {line}")?,
                }
                write!(formatter, ">>> '{}'\n{reason}", String::from_utf8_lossy(&place.text))
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads what an invocation of the server names: its file, then standard input, then its options.
pub fn load(invocation: &Invocation, standard_input: &mut dyn Read) -> Result<Loaded, LoadError> {
    let mut loader = Loader::default();
    if let Some(path) = &invocation.file {
        // The server changes its working directory later, but REWRITE must find the file again.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        loader.file(&path, Source::File(path.clone()), 0)?;
        loader.config.file = Some(path);
    }
    if invocation.standard_input {
        let mut text = Vec::new();
        standard_input
            .read_to_end(&mut text)
            .map_err(|error| LoadError::Unreadable { source: Source::StandardInput, error })?;
        loader.text(&text, &Source::StandardInput, 0)?;
    }
    // Options do not add to the snapshot times of the file, they replace them.
    loader.snapshot_times_given = false;
    loader.text(&invocation.options, &Source::CommandLine, 0)?;
    Ok(Loaded { config: loader.config, places: loader.places })
}

/// Reads a configuration from memory, as if it stood in a file.
pub fn load_text(text: &[u8]) -> Result<Loaded, LoadError> {
    let mut loader = Loader::default();
    loader.text(text, &Source::File(PathBuf::new()), 0)?;
    Ok(Loaded { config: loader.config, places: loader.places })
}

#[derive(Default)]
struct Loader {
    config: Config,
    places: HashMap<DirectiveId, Vec<Place>>,
    /// The first `save` of a file replaces the default, the next ones add to it.
    snapshot_times_given: bool,
    /// What `dir` has named so far: as in Redis, later relative paths start there.
    folder: PathBuf,
}

impl Loader {
    fn file(&mut self, path: &Path, source: Source, depth: usize) -> Result<(), LoadError> {
        let text = std::fs::read(path).map_err(|error| LoadError::Unreadable { source: source.clone(), error })?;
        self.text(&text, &source, depth)
    }

    fn text(&mut self, text: &[u8], source: &Source, depth: usize) -> Result<(), LoadError> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let place = || Place { source: source.clone(), line: index + 1, text: line.to_vec() };
            let wrong = |reason: String| LoadError::Line { place: Box::new(place()), reason };
            let words = split_words(line).map_err(|_| wrong("Unbalanced quotes in configuration line".into()))?;
            let Some((name, words)) = words.split_first() else {
                continue;
            };
            let id = match directives::find(name) {
                Some(id) => id,
                None if name.eq_ignore_ascii_case(b"sentinel") => {
                    return Err(wrong("sentinel directive while not in sentinel mode".into()));
                }
                None => return Err(wrong("Bad directive or wrong number of arguments".into())),
            };
            self.directive(id, words).map_err(wrong)?;
            self.places.entry(id).or_default().push(place());
            if id == directives::INCLUDE.id() {
                self.include(&words[0], depth).map_err(|error| match error {
                    IncludeError::Here(reason) => wrong(reason),
                    IncludeError::There(error) => error,
                })?;
            }
        }
        Ok(())
    }

    fn directive(&mut self, id: DirectiveId, words: &[Bytes]) -> Result<(), String> {
        if id == directives::DIR.id() && words.len() == 1 {
            let folder = self.folder.join(std::ffi::OsStr::from_bytes(&words[0]));
            self.config.set_words(id, &[folder.clone().into_os_string().into_vec()])?;
            self.folder = folder;
            return Ok(());
        }
        if id == directives::SAVE.id() {
            return self.snapshot_times(words);
        }
        self.config.set_words(id, words)
    }

    fn snapshot_times(&mut self, words: &[Bytes]) -> Result<(), String> {
        let id = directives::SAVE.id();
        if words.is_empty() {
            return Ok(());
        }
        let before = if self.snapshot_times_given { self.config.get(directives::SAVE).to_vec() } else { Vec::new() };
        self.config.set_words(id, words)?;
        self.snapshot_times_given = true;
        if !self.config.get(directives::SAVE).is_empty() {
            self.config.prepend_save(before);
        }
        Ok(())
    }

    fn include(&mut self, pattern: &[u8], depth: usize) -> Result<(), IncludeError> {
        if depth == INCLUDE_DEPTH_MAX {
            let reason = format!("more than {INCLUDE_DEPTH_MAX} files include each other");
            return Err(IncludeError::Here(reason));
        }
        let path = self.folder.join(std::ffi::OsStr::from_bytes(pattern));
        let has_wildcards = pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
        let paths = match path.to_str() {
            // No file may match a pattern, but a plain name must exist.
            Some(text) if has_wildcards => match glob::glob(text) {
                Ok(paths) => paths.filter_map(Result::ok).collect(),
                Err(error) => return Err(IncludeError::Here(format!("not a pattern of files: {error}"))),
            },
            _ => vec![path],
        };
        for path in paths {
            self.file(&path, Source::Included(path.clone()), depth + 1).map_err(IncludeError::There)?;
        }
        Ok(())
    }
}

enum IncludeError {
    Here(String),
    There(LoadError),
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::command_line;
    use crate::value::SavePoint;
    use proptest::prelude::*;

    fn save(text: &str) -> Vec<(i64, i64)> {
        let loaded = load_text(text.as_bytes()).unwrap();
        loaded.config.get(directives::SAVE).iter().map(|SavePoint { seconds, changes }| (*seconds, *changes)).collect()
    }

    fn error(text: &str) -> String {
        load_text(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn snapshot_times_add_up() {
        assert_eq!(save(""), [(3600, 1), (300, 100), (60, 10000)]);
        assert_eq!(save("save 60 1\nsave 70 2"), [(60, 1), (70, 2)]);
        assert_eq!(save("save 60 1 70 2"), [(60, 1), (70, 2)]);
        assert_eq!(save("save \"60 1 70 2\""), [(60, 1), (70, 2)]);
        assert_eq!(save("save 60 1\nsave \"\""), []);
        assert_eq!(save("save \"\"\nsave 60 1"), [(60, 1)]);
        assert_eq!(save("save 60 1\nsave\nsave 5 5"), [(60, 1), (5, 5)]);
    }

    #[test]
    fn errors_name_line_and_reason() {
        assert_eq!(
            error("# c\n\n port  abc "),
            format!(
                "\n*** FATAL CONFIG FILE ERROR (Spinel {}) ***\nReading the configuration file, at line 3\n\
                 >>> 'port  abc'\nargument couldn't be parsed into an integer",
                env!("CARGO_PKG_VERSION")
            )
        );
        for (text, reason) in [
            ("foo bar", "Bad directive or wrong number of arguments"),
            ("foo", "Bad directive or wrong number of arguments"),
            ("port", "wrong number of arguments"),
            ("port 1 2", "wrong number of arguments"),
            ("port \"1", "Unbalanced quotes in configuration line"),
            ("save 1", "Invalid save parameters"),
            ("user", "Bad directive or wrong number of arguments"),
            ("dir /nonexistent", "No such file or directory"),
            ("slaveof a", "wrong number of arguments"),
            ("replicaof \"\"", "wrong number of arguments"),
            ("replicaof a b", "Invalid master port"),
            ("dbfilename a/b", "dbfilename can't be a path, just a filename"),
            ("maxclients 0", "argument must be between 1 and 4294967295 inclusive"),
            ("maxclients -1", "argument must be greater or equal to 0"),
            ("unixsocketperm 888", "argument couldn't be parsed as an octal number"),
            ("client-output-buffer-limit normal 0 0", "Wrong number of arguments in buffer limit configuration."),
            ("oom-score-adj-values 1", "wrong number of arguments"),
            ("notify-keyspace-events KQ", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
            ("bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "Too many bind addresses specified."),
            ("port 0 # x", "wrong number of arguments"),
            ("sentinel monitor a b", "sentinel directive while not in sentinel mode"),
        ] {
            assert_eq!(error(text).lines().last(), Some(reason), "{text}");
        }
    }

    #[test]
    fn old_names_and_ignored_directives() {
        let text = b"slave-read-only no\nhash-max-ziplist-entries 7\nlua-time-limit 9\nlist-max-ziplist-entries 5\n\
            lua-replicate-commands yes\nio-threads-do-reads yes\nprimaryauth x\nSLAVEOF no one\nslaveof 127.0.0.1 6380\n";
        let config = load_text(text).unwrap().config;
        assert!(!config.get(directives::REPLICA_READ_ONLY));
        assert_eq!(config.get(directives::HASH_MAX_LISTPACK_ENTRIES), 7);
        assert_eq!(config.get(directives::BUSY_REPLY_THRESHOLD), 9);
        assert_eq!(config.get(directives::MASTERAUTH), b"x");
        let primary = config.get(directives::REPLICAOF).unwrap();
        assert_eq!((primary.host.as_slice(), primary.port), (&b"127.0.0.1"[..], 6380));
    }

    #[test]
    fn statements_add_up_and_know_their_lines() {
        let loaded = load_text(b"rename-command FLUSHALL \"\"\n\nrename-command GET get2\n").unwrap();
        let renamed = loaded.config.get(directives::RENAME_COMMAND);
        assert_eq!(renamed, [vec![b"FLUSHALL".to_vec(), vec![]], vec![b"GET".to_vec(), b"get2".to_vec()]]);
        let error = loaded.error_at(directives::RENAME_COMMAND, 1, "No such command in rename-command").to_string();
        assert!(error.contains("at line 3\n>>> 'rename-command GET get2'\nNo such command"), "{error}");
    }

    #[test]
    fn includes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("a1.conf"), "port 1\nsave 1 1").unwrap();
        std::fs::write(path("a2.conf"), "port 2\ntimeout x").unwrap();
        std::fs::write(path("self.conf"), format!("include {}", path("self.conf"))).unwrap();
        let text = format!("save 9 9\ndir {}\ninclude a1.conf\ninclude nothing*.conf\n", folder.path().display());
        let config = load_text(text.as_bytes()).unwrap().config;
        assert_eq!(config.get(directives::PORT), 1);
        assert_eq!(config.get(directives::SAVE).len(), 2);
        let message = error(&format!("include {}", path("a*.conf")));
        assert!(message.contains("at line 2 of the included '") && message.contains(">>> 'timeout x'"), "{message}");
        assert!(error(&format!("include {}", path("self.conf"))).contains("include each other"));
        assert_eq!(
            error("include /nonexistent"),
            "Fatal error, can't open config file '/nonexistent': No such file or directory"
        );
    }

    #[test]
    fn standard_input_comes_between_file_and_options() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.conf");
        std::fs::write(&path, "port 1\ntimeout 1\nhz 1\nsave 60 1").unwrap();
        let args = [path.to_str().unwrap(), "--hz", "30", "--save", "9", "9", "--save", "8", "8", "-"];
        let invocation = match command_line::parse(args) {
            command_line::Request::Serve(invocation) => invocation,
            other => panic!("{other:?}"),
        };
        let config = load(&invocation, &mut &b"timeout 20\nhz 20"[..]).unwrap().config;
        let read = (config.get(directives::PORT), config.get(directives::TIMEOUT), config.get(directives::HZ));
        assert_eq!(read, (1, 20, 30));
        assert_eq!(config.formatted(directives::SAVE), b"9 9 8 8");
        assert_eq!(config.file(), Some(path.as_path()));
    }

    /// Any name of any directive.
    pub(crate) fn name() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(directives::all().flat_map(|(_, directive)| directive.names()).collect::<Vec<_>>())
    }

    /// A word that is valid for some directive often enough.
    pub(crate) fn word() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            name().prop_map(|name| name.as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..12),
            "[-0-9a-z\"'\\\\ %*]{0,10}".prop_map(String::into_bytes),
            "(-?[0-9]{1,20}|yes|no|[0-9]{1,3}%|[0-9]{1,18}[kmg]b?)".prop_map(String::into_bytes),
            "(KEA|normal|replica|no one|1 2 3|local|always|/tmp|60 1|127.0.0.1)".prop_map(String::into_bytes),
        ]
    }

    /// Bytes that look like a configuration often enough to get past the names.
    pub(crate) fn garbage() -> impl Strategy<Value = Vec<u8>> {
        let words = proptest::collection::vec(word(), 0..5).prop_map(|words| words.join(&b' '));
        let line = (name(), words).prop_map(|(name, words)| [name.as_bytes(), b" ", &words].concat());
        let any_line = prop_oneof![4 => line, 1 => proptest::collection::vec(any::<u8>(), 0..30)];
        proptest::collection::vec(any_line, 0..4).prop_map(|lines| lines.join(&b'\n'))
    }

    proptest! {
        #![proptest_config(testkit::proptest_config(2000))]

        #[test]
        fn no_file_makes_the_parser_panic(text in garbage()) {
            // An include could read anything on the machine; it has its own test.
            prop_assume!(!text.to_ascii_lowercase().windows(7).any(|window| window == b"include"));
            match load_text(&text) {
                Ok(loaded) => {
                    loaded.config.matching(&["*"]);
                    let rewritten = crate::rewrite::rewrite(&text, &loaded.config);
                    let again = load_text(&rewritten).expect("what REWRITE wrote can be read");
                    for (id, directive) in directives::all() {
                        prop_assert_eq!(loaded.config.value(id), again.config.value(id), "{}", directive.name);
                    }
                }
                Err(error) => { let _ = error.to_string(); }
            }
        }
    }
}

//! The command line: what can be asked for, and reading it.
//!
//! The syntax is redis-cli's own: an option is one word, its value the next; the first word that is no option begins the command,
//! and everything from there on belongs to it. Numbers are read as C reads them: as far as they go, and what does not begin like
//! one is 0.
//!
//! [`TABLE`] is the one source: parsing, `--help`, the manual page and the completions all read it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use config::words;

use crate::format::Output;
use crate::table::{Effect, TABLE};
use crate::uri;

/// Everything that was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    pub target: Target,
    pub user: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
    /// It was on the command line, where every `ps` sees it.
    pub password_is_visible: bool,
    pub ask_password: bool,
    pub auth_warning: bool,
    pub database: i64,
    /// Whether RESP2 was asked for, and RESP3; not both.
    pub protocols: (bool, bool),
    /// JSON was asked for, perhaps with another form behind it.
    pub wants_json: bool,
    /// How often a command is run; negative: for ever.
    pub repeat: i64,
    pub interval: Duration,
    pub has_interval: bool,
    pub last_argument_from_input: bool,
    pub tag_from_input: Option<Vec<u8>>,
    /// As asked for; without it the terminal decides.
    pub output: Option<Output>,
    pub element_delimiter: Vec<u8>,
    pub reply_delimiter: Vec<u8>,
    pub follow_redirections: bool,
    pub fail_on_error: bool,
    pub quoted_input: bool,
    pub show_pushes: Option<bool>,
    pub verbose: bool,
    pub mode: Option<Mode>,
    pub pattern: Option<Vec<u8>>,
    pub scan_count: u64,
    pub scan_cursor: u64,
    /// How many entries the lists of the greatest show; each has its own default.
    pub top: Option<usize>,
    pub progress: bool,
    pub memory_samples: Option<i64>,
    pub pipe_timeout: Duration,
    pub eval: Option<PathBuf>,
    pub debug_script: bool,
    pub debug_script_synchronously: bool,
    pub command: Vec<Vec<u8>>,
}

/// Where the server is and how it is reached.
#[derive(Clone, Debug)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub socket: Option<PathBuf>,
    pub family: Family,
    pub timeout: Option<Duration>,
    pub tls: Option<Tls>,
}

/// Which addresses of a name are tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Any,
    V4,
    V6,
}

#[derive(Clone, Debug, Default)]
pub struct Tls {
    pub sni: Option<String>,
    pub authority_file: Option<PathBuf>,
    pub authority_folder: Option<PathBuf>,
    pub insecure: bool,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub ciphers: Option<String>,
    pub cipher_suites: Option<String>,
}

/// What is done instead of running commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Latency,
    LatencyHistory,
    LatencyDistribution,
    IntrinsicLatency { seconds: u64 },
    Stat,
    Live,
    Replica,
    Rdb { file: PathBuf, functions_only: bool },
    Pipe,
    BigKeys,
    MemoryKeys,
    KeyStats,
    HotKeys,
    Scan,
    LruTest { keys: u64 },
}

impl Default for Options {
    fn default() -> Self {
        Options {
            target: Target {
                host: "127.0.0.1".to_string(),
                port: 6379,
                socket: None,
                family: Family::Any,
                timeout: None,
                tls: None,
            },
            user: None,
            password: None,
            password_is_visible: false,
            ask_password: false,
            auth_warning: true,
            database: 0,
            protocols: (false, false),
            wants_json: false,
            repeat: 1,
            interval: Duration::ZERO,
            has_interval: false,
            last_argument_from_input: false,
            tag_from_input: None,
            output: None,
            element_delimiter: b"\n".to_vec(),
            reply_delimiter: b"\n".to_vec(),
            follow_redirections: false,
            fail_on_error: false,
            quoted_input: false,
            show_pushes: None,
            verbose: false,
            mode: None,
            pattern: None,
            scan_count: 10,
            scan_cursor: 0,
            top: None,
            progress: true,
            memory_samples: None,
            pipe_timeout: Duration::from_secs(30),
            eval: None,
            debug_script: false,
            debug_script_synchronously: false,
            command: Vec::new(),
        }
    }
}

impl Options {
    /// The TLS options, which also turn TLS on when it is `--tls` that asks.
    pub fn tls(&mut self) -> &mut Tls {
        self.target.tls.get_or_insert_with(Tls::default)
    }

    /// The protocol to greet the server with: JSON wants the types that only RESP3 has.
    pub fn greeting(&self) -> Option<u8> {
        match self.protocols {
            (true, _) => None,
            (_, true) => Some(3),
            _ => self.wants_json.then_some(3),
        }
    }
}

/// Why nothing is run. The text goes to the error output, unless it is what was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `--help`, `--version`: to the standard output, and all is well.
    Answer(String),
    Usage(String),
}

/// Reads the words behind the program's name.
pub fn parse(words: &[OsString], warn: &mut dyn FnMut(String)) -> Result<Options, Refusal> {
    let mut options = Options::default();
    // TLS options count only where TLS is on, in whichever order they come.
    let mut tls = Tls::default();
    let mut wants_tls = false;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let word = word.as_bytes();
        if word.first() != Some(&b'-') {
            break;
        }
        let unknown = || {
            let word = String::from_utf8_lossy(word);
            Refusal::Usage(format!("Unrecognized option or bad number of args for: '{word}'"))
        };
        let found = TABLE.iter().find(|entry| entry.names.iter().any(|name| name.as_bytes() == word));
        let entry = found.ok_or_else(unknown)?;
        at += 1;
        match entry.effect {
            Effect::Flag(apply) => apply(&mut options),
            Effect::TlsFlag(apply) => {
                wants_tls |= entry.names[0] == "--tls";
                apply(&mut tls);
            }
            Effect::Value(apply) | Effect::ValueOrHelp(apply) => match words.get(at) {
                Some(value) => {
                    at += 1;
                    if let Some(warning) = apply(&mut options, value)? {
                        warn(warning);
                    }
                }
                None if matches!(entry.effect, Effect::ValueOrHelp(_)) => {
                    return Err(Refusal::Answer(crate::manual::usage()));
                }
                None => return Err(unknown()),
            },
            Effect::TlsValue(apply) => {
                apply(&mut tls, words.get(at).ok_or_else(unknown)?);
                at += 1;
            }
            Effect::Answer(answer) => return Err(Refusal::Answer(answer())),
            Effect::Refuse(why) => return Err(Refusal::Usage(why.to_string())),
        }
    }
    if wants_tls || options.target.tls.is_some() {
        options.target.tls = Some(tls);
    }
    options.command = words[at..].iter().map(|word| word.clone().into_vec()).collect();
    check(&options)?;
    Ok(options)
}

fn check(options: &Options) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::Usage(why.to_string()));
    if options.debug_script && options.eval.is_none() {
        return refuse("Options --ldb and --ldb-sync-mode require --eval.\nTry redis-cli --help for more information.");
    }
    if options.protocols == (true, true) {
        return refuse("Options -2 and -3 are mutually exclusive.");
    }
    if options.last_argument_from_input && options.tag_from_input.is_some() {
        return refuse("Options -x and -X are mutually exclusive.");
    }
    Ok(())
}

/// A whole number as C's `strtoll` reads it.
pub fn leading_integer(text: &OsStr) -> i64 {
    let text = text.as_bytes().trim_ascii_start();
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0i64, |value, digit| value.saturating_mul(10).saturating_add(i64::from(digit - b'0'))) * sign
}

/// A number as C's `atof` reads it, the longest beginning that is one.
pub fn leading_number(text: &OsStr) -> f64 {
    let text = String::from_utf8_lossy(text.as_bytes().trim_ascii_start()).into_owned();
    let ends = (0..=text.len()).rev().filter(|end| text.is_char_boundary(*end));
    ends.filter_map(|end| text[..end].parse::<f64>().ok()).find(|value| value.is_finite()).unwrap_or(0.0)
}

/// A time in seconds; what is none, or below nothing, is nothing.
pub fn seconds(text: &OsStr) -> Duration {
    Duration::try_from_secs_f64(leading_number(text).max(0.0)).unwrap_or(Duration::MAX)
}

/// The one word within quotes.
pub fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    match words::split_words(text) {
        Ok(words) if words.len() == 1 => words.into_iter().next(),
        _ => None,
    }
}

/// `-u`: takes host, port, database and who we are from a URI.
pub fn apply_uri(options: &mut Options, text: &OsStr) -> Result<Option<String>, Refusal> {
    let uri = uri::parse(text.as_bytes()).map_err(|why| Refusal::Usage(why.to_string()))?;
    if uri.tls {
        options.tls();
    }
    if let Some(host) = uri.host {
        options.target.host = host;
    }
    if let Some(port) = uri.port {
        options.target.port = port;
    }
    if let Some(database) = uri.database {
        options.database = database;
    }
    if uri.user.is_some() {
        options.user = uri.user;
    }
    if uri.password.is_some() {
        options.password = uri.password;
        options.password_is_visible = true;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, Refusal> {
        let words: Vec<OsString> = line.split_ascii_whitespace().map(OsString::from).collect();
        parse(&words, &mut |_| {})
    }

    #[test]
    fn the_command_begins_at_the_first_word_that_is_no_option() {
        let options = parsed("-p 7000 -r 3 set -p --raw").unwrap();
        assert_eq!(options.target.port, 7000);
        assert_eq!(options.repeat, 3);
        assert_eq!(options.command, [&b"set"[..], b"-p", b"--raw"]);
    }

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        for (text, expected) in [("12", 12), ("12x", 12), ("x", 0), ("-3", -3), (" +7", 7), ("", 0)] {
            assert_eq!(leading_integer(OsStr::new(text)), expected, "{text}");
        }
        for (text, expected) in [("0.5", 0.5), ("1e1x", 10.0), (".25s", 0.25), ("x", 0.0), ("-1", -1.0), ("nan", 0.0)] {
            assert_eq!(leading_number(OsStr::new(text)), expected, "{text}");
        }
        assert_eq!(seconds(OsStr::new("-1")), Duration::ZERO);
    }

    #[test]
    fn tls_options_alone_do_not_turn_tls_on() {
        assert!(parsed("--cacert x ping").unwrap().target.tls.is_none());
        let options = parsed("--cacert x --tls ping").unwrap();
        assert_eq!(options.target.tls.unwrap().authority_file, Some(PathBuf::from("x")));
        let options = parsed("--insecure -u rediss://somewhere ping").unwrap();
        assert!(options.target.tls.unwrap().insecure);
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        for line in ["-r", "--nosuch", "-", "--"] {
            let expected = format!("Unrecognized option or bad number of args for: '{line}'");
            assert_eq!(parsed(line).unwrap_err(), Refusal::Usage(expected));
        }
        assert!(matches!(parsed("-h"), Err(Refusal::Answer(_))), "a lone -h asks for help");
        assert!(matches!(parsed("-x -X tag set tag"), Err(Refusal::Usage(_))));
        assert!(matches!(parsed("--ldb"), Err(Refusal::Usage(_))));
    }
}

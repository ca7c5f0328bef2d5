//! All options in one table. The parser, `--help`, the manual page and the shell completions read it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::format::Output;
use crate::manual;
use crate::options::{Family, Mode, Options, Refusal, Tls, apply_uri, leading_integer, seconds, unquote};

/// One option.
pub struct Entry {
    pub names: &'static [&'static str],
    /// What its value is called; empty if it takes none.
    pub value: &'static str,
    pub section: Section,
    pub about: &'static str,
    pub effect: Effect,
}

/// A heading in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Connection,
    Tls,
    Running,
    Output,
    Keys,
    Watching,
    Transfer,
    Scripts,
    Other,
}

impl Section {
    pub const ALL: [Section; 9] = [
        Section::Connection,
        Section::Tls,
        Section::Running,
        Section::Output,
        Section::Keys,
        Section::Watching,
        Section::Transfer,
        Section::Scripts,
        Section::Other,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Section::Connection => "Connection",
            Section::Tls => "TLS",
            Section::Running => "Running commands",
            Section::Output => "Output",
            Section::Keys => "Looking at the keys",
            Section::Watching => "Watching the server",
            Section::Transfer => "Transfer",
            Section::Scripts => "Scripts",
            Section::Other => "Other",
        }
    }
}

type Applied = Result<Option<String>, Refusal>;

/// What an option does. An `Applied` may carry a warning.
#[derive(Clone, Copy)]
pub enum Effect {
    Flag(fn(&mut Options)),
    Value(fn(&mut Options, &OsStr) -> Applied),
    /// `-h`: with a value the host, alone a call for help.
    ValueOrHelp(fn(&mut Options, &OsStr) -> Applied),
    TlsFlag(fn(&mut Tls)),
    TlsValue(fn(&mut Tls, &OsStr)),
    Answer(fn() -> String),
    Refuse(&'static str),
}

const fn entry(
    names: &'static [&'static str],
    value: &'static str,
    section: Section,
    effect: Effect,
    about: &'static str,
) -> Entry {
    Entry { names, value, section, about, effect }
}

fn text(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

/// Sets the mode, whichever was asked for before.
macro_rules! mode {
    ($mode:expr) => {
        Effect::Flag(|options| options.mode = Some($mode))
    };
}

/// Sets something from the value, which is never refused.
macro_rules! value {
    (|$options:ident, $value:ident| $body:expr) => {
        Effect::Value(|$options, $value| {
            $body;
            Ok(None)
        })
    };
}

use Effect::{Answer, Flag, Refuse, TlsFlag, TlsValue, Value, ValueOrHelp};
use Section as S;

pub static TABLE: &[Entry] = &[
    entry(
        &["-h"],
        "host",
        S::Connection,
        ValueOrHelp(|options, value| {
            options.target.host = text(value);
            Ok(None)
        }),
        "The server's name or address (127.0.0.1).",
    ),
    entry(
        &["-p"],
        "port",
        S::Connection,
        value!(|options, value| options.target.port = leading_integer(value) as u16),
        "The server's port (6379).",
    ),
    entry(
        &["-t"],
        "seconds",
        S::Connection,
        value!(|options, value| options.target.timeout = Some(seconds(value)).filter(|time| !time.is_zero())),
        "Gives up connecting after this long; decimals count. Without it, or with 0, the system decides.",
    ),
    entry(
        &["-s"],
        "socket",
        S::Connection,
        value!(|options, value| options.target.socket = Some(PathBuf::from(value))),
        "The path of the server's unix socket, instead of host and port.",
    ),
    entry(
        &["-a", "--pass"],
        "password",
        S::Connection,
        value!(|options, value| {
            options.password = Some(value.as_bytes().to_vec());
            options.password_is_visible = true;
        }),
        "The password. Other users of this machine can see it in the list of processes: prefer the variable REDISCLI_AUTH, or --askpass.",
    ),
    entry(
        &["--user"],
        "name",
        S::Connection,
        value!(|options, value| options.user = Some(value.as_bytes().to_vec())),
        "The user the password belongs to, where it is not the default user.",
    ),
    entry(
        &["--askpass"],
        "",
        S::Connection,
        Flag(|options| options.ask_password = true),
        "Asks for the password on the terminal and shows stars for it. Other ways of giving one are passed over.",
    ),
    entry(
        &["--no-auth-warning"],
        "",
        S::Connection,
        Flag(|options| options.auth_warning = false),
        "Says nothing about passwords on the command line.",
    ),
    entry(
        &["-u"],
        "uri",
        S::Connection,
        Value(apply_uri),
        "All of it at once: redis://user:password@host:port/database; rediss:// means TLS.",
    ),
    entry(
        &["-n"],
        "database",
        S::Connection,
        value!(|options, value| options.database = leading_integer(value)),
        "The number of the database.",
    ),
    entry(
        &["-2"],
        "",
        S::Connection,
        Flag(|options| options.protocols.0 = true),
        "Stays with RESP2, the server's protocol for all who do not ask for another.",
    ),
    entry(
        &["-3"],
        "",
        S::Connection,
        Flag(|options| options.protocols.1 = true),
        "Asks the server for RESP3, the protocol with more types.",
    ),
    entry(
        &["-4"],
        "",
        S::Connection,
        Flag(|options| options.target.family = Family::V4),
        "Tries a name's IPv4 addresses first.",
    ),
    entry(
        &["-6"],
        "",
        S::Connection,
        Flag(|options| options.target.family = Family::V6),
        "Tries a name's IPv6 addresses first.",
    ),
    entry(
        &["-c"],
        "",
        S::Connection,
        Flag(|options| options.follow_redirections = true),
        "Follows a cluster's redirections (MOVED and ASK) to the node that has the key.",
    ),
    entry(&["--tls"], "", S::Tls, TlsFlag(|_| {}), "Speaks TLS."),
    entry(
        &["--sni"],
        "name",
        S::Tls,
        TlsValue(|tls, value| tls.sni = Some(text(value))),
        "The name to ask for and to check, instead of the host's.",
    ),
    entry(
        &["--cacert"],
        "file",
        S::Tls,
        TlsValue(|tls, value| tls.authority_file = Some(PathBuf::from(value))),
        "Trusts the authorities in this file (PEM). Without it and --cacertdir, the system's.",
    ),
    entry(
        &["--cacertdir"],
        "folder",
        S::Tls,
        TlsValue(|tls, value| tls.authority_folder = Some(PathBuf::from(value))),
        "Trusts the authorities in the files of this folder.",
    ),
    entry(
        &["--insecure"],
        "",
        S::Tls,
        TlsFlag(|tls| tls.insecure = true),
        "Believes whoever answers. Good for trying things, and for nothing else.",
    ),
    entry(
        &["--cert"],
        "file",
        S::Tls,
        TlsValue(|tls, value| tls.certificate = Some(PathBuf::from(value))),
        "Our own certificate (PEM), where the server wants one.",
    ),
    entry(
        &["--key"],
        "file",
        S::Tls,
        TlsValue(|tls, value| tls.key = Some(PathBuf::from(value))),
        "The key that belongs to --cert.",
    ),
    entry(
        &["--tls-ciphers"],
        "list",
        S::Tls,
        TlsValue(|tls, value| tls.ciphers = Some(text(value))),
        "Ciphers for TLS 1.2, best first, with colons between them.",
    ),
    entry(
        &["--tls-ciphersuites"],
        "list",
        S::Tls,
        TlsValue(|tls, value| tls.cipher_suites = Some(text(value))),
        "Cipher suites for TLS 1.3, best first, with colons between them.",
    ),
    entry(
        &["-r"],
        "times",
        S::Running,
        value!(|options, value| options.repeat = leading_integer(value)),
        "Runs the command this often; -1 means for ever.",
    ),
    entry(
        &["-i"],
        "seconds",
        S::Running,
        value!(|options, value| {
            options.interval = seconds(value);
            options.has_interval = true;
        }),
        "The pause between two runs with -r, between two lines of --stat, and for each step of --scan; for each hundred steps of --bigkeys, --memkeys, --keystats and --hotkeys. Decimals count.",
    ),
    entry(
        &["-x"],
        "",
        S::Running,
        Flag(|options| options.last_argument_from_input = true),
        "Takes the last argument from the standard input.",
    ),
    entry(
        &["-X"],
        "tag",
        S::Running,
        value!(|options, value| options.tag_from_input = Some(value.as_bytes().to_vec())),
        "Puts what comes from the standard input in place of the argument that is this tag.",
    ),
    entry(
        &["-e"],
        "",
        S::Running,
        Flag(|options| options.fail_on_error = true),
        "Ends with status 1 when the server answers with an error, which then goes to the error output.",
    ),
    entry(
        &["--quoted-input"],
        "",
        S::Running,
        Flag(|options| options.quoted_input = true),
        "Reads each argument as the prompt would, so that \"\\x00\" in quotes is one byte.",
    ),
    entry(
        &["-d"],
        "text",
        S::Output,
        value!(|options, value| options.element_delimiter = value.as_bytes().to_vec()),
        "What stands between the elements of a reply in raw output (a line end).",
    ),
    entry(
        &["-D"],
        "text",
        S::Output,
        value!(|options, value| options.reply_delimiter = value.as_bytes().to_vec()),
        "What stands behind a reply in raw output (a line end).",
    ),
    entry(
        &["--raw"],
        "",
        S::Output,
        Flag(|options| options.output = Some(Output::Raw)),
        "Replies as they are: so it is when the output is no terminal.",
    ),
    entry(
        &["--no-raw"],
        "",
        S::Output,
        Flag(|options| options.output = Some(Output::Pretty)),
        "Replies with types and numbers, even when the output is no terminal.",
    ),
    entry(&["--csv"], "", S::Output, Flag(|options| options.output = Some(Output::Csv)), "Replies as CSV."),
    entry(
        &["--json"],
        "",
        S::Output,
        Flag(|options| {
            options.output = Some(Output::Json);
            options.wants_json = true;
        }),
        "Replies as JSON. Asks for RESP3, which tells objects from lists; -2 keeps to RESP2.",
    ),
    entry(
        &["--quoted-json"],
        "",
        S::Output,
        Flag(|options| {
            options.output = Some(Output::QuotedJson);
            options.wants_json = true;
        }),
        "The same in plain ASCII: strings are quoted as the prompt quotes them, so any bytes survive.",
    ),
    entry(
        &["--show-pushes"],
        "yes|no",
        S::Output,
        Value(|options, value| {
            match value.as_bytes().first().map(u8::to_ascii_lowercase) {
                Some(b'y') => options.show_pushes = Some(true),
                Some(b'n') => options.show_pushes = Some(false),
                _ => {
                    let value = value.to_string_lossy();
                    return Ok(Some(format!("Unknown --show-pushes value '{value}' (valid: '[y]es', '[n]o')")));
                }
            }
            Ok(None)
        }),
        "Whether RESP3's pushes are shown: yes on a terminal, else no.",
    ),
    entry(&["--scan"], "", S::Keys, mode!(Mode::Scan), "Lists all keys, or those of --pattern, with SCAN."),
    entry(
        &["--pattern"],
        "pattern",
        S::Keys,
        value!(|options, value| options.pattern = Some(value.as_bytes().to_vec())),
        "Which keys --scan, --bigkeys, --memkeys, --keystats and --hotkeys look at (*).",
    ),
    entry(
        &["--quoted-pattern"],
        "pattern",
        S::Keys,
        Value(|options, value| match unquote(value.as_bytes()) {
            Some(pattern) => {
                options.pattern = Some(pattern);
                Ok(None)
            }
            None => Err(Refusal::Usage("Invalid quoted string specified for --quoted-pattern.".to_string())),
        }),
        "The same, read as the prompt would, so that it can hold any bytes.",
    ),
    entry(
        &["--count"],
        "keys",
        S::Keys,
        value!(|options, value| options.scan_count = leading_integer(value).max(1) as u64),
        "How many keys one step of SCAN may look at (10).",
    ),
    entry(
        &["--cursor"],
        "cursor",
        S::Keys,
        value!(|options, value| options.scan_cursor = text(value).trim().parse().unwrap_or(0)),
        "Where --scan and --keystats begin: the cursor that was told when they were stopped.",
    ),
    entry(
        &["--bigkeys"],
        "",
        S::Keys,
        mode!(Mode::BigKeys),
        "Looks for the keys with the most elements, and tells sizes by type.",
    ),
    entry(&["--memkeys"], "", S::Keys, mode!(Mode::MemoryKeys), "Looks for the keys that take the most memory."),
    entry(
        &["--memkeys-samples"],
        "elements",
        S::Keys,
        value!(|options, value| {
            options.mode = Some(Mode::MemoryKeys);
            options.memory_samples = Some(leading_integer(value));
        }),
        "The same, looking at this many elements of each key; 0 means all.",
    ),
    entry(
        &["--keystats"],
        "",
        S::Keys,
        mode!(Mode::KeyStats),
        "Both, with the distributions of sizes and of the lengths of names.",
    ),
    entry(
        &["--keystats-samples"],
        "elements",
        S::Keys,
        value!(|options, value| {
            options.mode = Some(Mode::KeyStats);
            options.memory_samples = Some(leading_integer(value));
        }),
        "The same, looking at this many elements of each key; 0 means all.",
    ),
    entry(
        &["--hotkeys"],
        "",
        S::Keys,
        mode!(Mode::HotKeys),
        "Looks for the keys that are used most. The server must count uses: maxmemory-policy allkeys-lfu or volatile-lfu.",
    ),
    entry(
        &["--top"],
        "entries",
        S::Keys,
        value!(|options, value| options.top = Some(leading_integer(value).max(0) as usize)),
        "How many entries the lists of --keystats (10), --hotkeys (16) and --live show.",
    ),
    entry(
        &["--no-progress"],
        "",
        S::Keys,
        Flag(|options| options.progress = false),
        "No progress bar on the terminal while keys are looked at.",
    ),
    entry(
        &["--live"],
        "",
        S::Watching,
        mode!(Mode::Live),
        "A screen of throughput, latency, memory, clients, keys, slow commands and hot keys, drawn anew each second (-i).",
    ),
    entry(&["--stat"], "", S::Watching, mode!(Mode::Stat), "A line of figures each second (-i)."),
    entry(
        &["--latency"],
        "",
        S::Watching,
        mode!(Mode::Latency),
        "Measures how long PING takes. On a terminal for ever; else, and with --raw or --csv, for a second (-i) and in one line: least, most, mean (milliseconds), samples.",
    ),
    entry(
        &["--latency-history"],
        "",
        S::Watching,
        mode!(Mode::LatencyHistory),
        "The same, begun anew on a new line every 15 seconds (-i).",
    ),
    entry(
        &["--latency-dist"],
        "",
        S::Watching,
        mode!(Mode::LatencyDistribution),
        "Latencies as a line of colours each second (-i), on a terminal of 256 colours.",
    ),
    entry(
        &["--intrinsic-latency"],
        "seconds",
        S::Watching,
        value!(|options, value| {
            options.mode = Some(Mode::IntrinsicLatency { seconds: leading_integer(value).max(0) as u64 });
        }),
        "Measures how long this machine itself keeps a busy program waiting. No server is needed; run it where the server runs.",
    ),
    entry(
        &["--lru-test"],
        "keys",
        S::Watching,
        value!(|options, value| options.mode = Some(Mode::LruTest { keys: leading_integer(value).max(0) as u64 })),
        "Plays a cache of this many keys, a fifth of which get four fifths of the requests, and tells hits and misses. Writes keys named lru:...",
    ),
    entry(
        &["--pipe"],
        "",
        S::Transfer,
        mode!(Mode::Pipe),
        "Sends the requests that come from the standard input, and counts the replies.",
    ),
    entry(
        &["--pipe-timeout"],
        "seconds",
        S::Transfer,
        value!(|options, value| {
            options.pipe_timeout = Duration::from_secs(leading_integer(value).max(0) as u64);
        }),
        "When all is sent, --pipe waits this long for a reply (30); 0 means for ever.",
    ),
    entry(
        &["--rdb"],
        "file",
        S::Transfer,
        value!(|options, value| {
            options.mode = Some(Mode::Rdb { file: PathBuf::from(value), functions_only: false });
        }),
        "Fetches all data as an RDB file; - means the standard output.",
    ),
    entry(
        &["--functions-rdb"],
        "file",
        S::Transfer,
        value!(|options, value| {
            options.mode = Some(Mode::Rdb { file: PathBuf::from(value), functions_only: true });
        }),
        "The same of the functions alone.",
    ),
    entry(
        &["--replica", "--slave"],
        "",
        S::Transfer,
        mode!(Mode::Replica),
        "Plays a replica, and shows the commands that replicas get.",
    ),
    entry(
        &["--eval"],
        "file",
        S::Scripts,
        value!(|options, value| options.eval = Some(PathBuf::from(value))),
        "Runs the Lua script in this file. Words before a comma that stands alone are its keys, those behind it its arguments.",
    ),
    entry(
        &["--ldb"],
        "",
        S::Scripts,
        Flag(|options| options.debug_script = true),
        "With --eval: runs it in the server's debugger, and forgets what it changed.",
    ),
    entry(
        &["--ldb-sync-mode"],
        "",
        S::Scripts,
        Flag(|options| {
            options.debug_script = true;
            options.debug_script_synchronously = true;
        }),
        "The same, but the server waits meanwhile, and changes stay.",
    ),
    entry(
        &["--cluster"],
        "command",
        S::Other,
        Refuse(
            "--cluster is not part of this version: the cluster's commands come with the cluster. -c follows redirections.",
        ),
        "Manages clusters: not part of this version.",
    ),
    entry(
        &["--verbose"],
        "",
        S::Other,
        Flag(|options| options.verbose = true),
        "Tells more: each redirection that is followed, each reconnection.",
    ),
    entry(&["--help"], "", S::Other, Answer(manual::usage), "This list."),
    entry(&["--version", "-v"], "", S::Other, Answer(manual::version), "Which version this is."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_twice_and_each_told_in_a_sentence() {
        let mut names: Vec<&str> = TABLE.iter().flat_map(|entry| entry.names).copied().collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "a name stands twice");
        for entry in TABLE {
            assert!(entry.about.ends_with(['.', '…']), "{:?}: {}", entry.names, entry.about);
            let takes = matches!(entry.effect, Value(_) | ValueOrHelp(_) | TlsValue(_) | Refuse(_));
            assert_eq!(takes, !entry.value.is_empty(), "{:?}", entry.names);
        }
    }
}

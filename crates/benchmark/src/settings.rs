//! What the options mean: from words to [`Settings`].

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::choose::{KeyOrder, Sizes};
use crate::options::{OPTIONS, TESTS};
use crate::template::NUMBERS_MAX;
use crate::{help, uri};

/// More threads than this help nobody.
const THREADS_MAX: usize = 500;
/// Commands of a sequence, repetitions counted.
const SEQUENCE_MAX: u64 = 100_000;
/// A million bytes in flight on each connection is more than any socket's buffer.
const PIPELINE_MAX: u32 = 1_000_000;

/// A command's words.
pub type Command = Vec<Vec<u8>>;

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub socket: Option<PathBuf>,
    pub user: Option<String>,
    pub password: Option<Vec<u8>>,
    pub database: u32,
    pub resp3: bool,
    pub tracking: bool,
    pub multipath: bool,
    pub tls: Option<TlsSettings>,
    pub connections: usize,
    pub requests: u64,
    pub duration: Option<Duration>,
    pub warmup: Duration,
    pub pipeline: u32,
    /// None: one, and the output says `multi-thread: no`.
    pub threads: Option<usize>,
    pub keep_alive: bool,
    pub rate: Option<Rate>,
    pub repeat: bool,
    pub idle: bool,
    pub tests: Option<Vec<String>>,
    pub sizes: Sizes,
    pub keyspace: Option<u64>,
    pub order: KeyOrder,
    pub ratio: Option<(u64, u64)>,
    pub mix: bool,
    pub seed: u64,
    pub functions: u32,
    pub fcall_keys: u32,
    pub dataset: Option<PathBuf>,
    pub records_max: Option<usize>,
    pub ignore_errors: bool,
    pub format: Format,
    pub report: Option<PathBuf>,
    pub cluster: bool,
    pub read_from: ReadFrom,
    /// Commands of one's own and how often each, or its weight.
    pub commands: Vec<(u64, Command)>,
    /// `-x`: the last word of the last command came from standard input.
    pub last_is_input: bool,
    /// Said before anything else.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsSettings {
    pub server_name: Option<String>,
    pub authorities_file: Option<PathBuf>,
    pub authorities_directory: Option<PathBuf>,
    pub insecure: bool,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub ciphers: Option<String>,
    pub cipher_suites: Option<String>,
}

/// Requests a second, all threads together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Not more; latency from when a request was sent.
    Limit(f64),
    /// So many fall due; latency from when a request was due.
    Open { per_second: f64, poisson: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Quiet,
    Csv,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    Primaries,
    Replicas,
    All,
}

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Request {
    Run(Box<Settings>),
    Help,
    Version,
}

/// A command line that cannot be meant.
#[derive(Debug, PartialEq)]
pub enum Mistake {
    /// No such option, or its argument is missing: Redis's tool shows its whole help then.
    Unknown(String),
    /// One sentence says it.
    Wrong(String),
}

fn wrong<T>(text: impl Into<String>) -> Result<T, Mistake> {
    Err(Mistake::Wrong(text.into()))
}

/// Reads the command line, without the program's name. `input` is what `-x` reads.
pub fn parse(words: Vec<OsString>, input: impl FnOnce() -> std::io::Result<Vec<u8>>) -> Result<Request, Mistake> {
    let mut settings = Settings::default();
    let mut tls = TlsSettings::default();
    let mut with_tls = false;
    let mut requests_given = false;
    let mut sequential = false;
    let mut last_from_input = false;
    let mut poisson = None;
    let mut words = words.into_iter();
    let mut command: Vec<Vec<u8>> = Vec::new();

    while let Some(word) = words.next() {
        if !word.as_bytes().starts_with(b"-") {
            command.push(word.into_vec());
            break;
        }
        if word == "--" {
            break;
        }
        let name = word.to_string_lossy().into_owned();
        let Some(option) = OPTIONS.iter().find(|option| option.name == name) else {
            return match help::refusal(&name) {
                Some(why) => wrong(format!("{name} is not supported: {why}.")),
                None => Err(Mistake::Unknown(name)),
            };
        };
        let value = match option.value {
            Some(_) => words.next().ok_or_else(|| Mistake::Unknown(name.clone()))?,
            None => OsString::new(),
        };
        let text = || -> Result<String, Mistake> {
            value.clone().into_string().or_else(|_| wrong(format!("{name}: its argument is not UTF-8.")))
        };
        // Redis's tools take what is too small for the smallest and what is no number for 0; here the latter is a mistake.
        let integer = |low: i64, high: i64| -> Result<i64, Mistake> {
            let text = text()?;
            match text.trim().parse::<i64>() {
                Ok(number) => Ok(number.clamp(low, high)),
                Err(_) => wrong(format!("{name}: '{text}' is not a whole number.")),
            }
        };
        let real = || -> Result<f64, Mistake> {
            let text = text()?;
            match text.parse::<f64>() {
                Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
                _ => wrong(format!("{name}: '{text}' is not a number of 0 or more.")),
            }
        };
        let seconds = || real().map(|seconds| Duration::from_secs_f64(seconds.min(1e9)));
        match option.name {
            "-h" => settings.host = text()?,
            "-p" => match integer(-1, 65_536)? {
                port @ 0..=65_535 => settings.port = port as u16,
                _ => return wrong("Invalid server port."),
            },
            "-s" => settings.socket = Some(value.into()),
            "-u" => {
                let uri = uri::parse(&text()?).map_err(Mistake::Wrong)?;
                settings.host = uri.host.unwrap_or(settings.host);
                settings.port = uri.port.unwrap_or(settings.port);
                settings.user = uri.user.or(settings.user);
                settings.password = uri.password.or(settings.password);
                settings.database = uri.database.unwrap_or(settings.database);
                with_tls |= uri.tls;
            }
            "-a" => settings.password = Some(value.into_vec()),
            "--user" => settings.user = Some(text()?),
            "--dbnum" => settings.database = integer(0, i64::from(u32::MAX))? as u32,
            "-3" => settings.resp3 = true,
            "--enable-tracking" => settings.tracking = true,
            "--mptcp" => settings.multipath = true,
            "-c" => settings.connections = integer(1, 1_000_000)? as usize,
            "-n" => {
                settings.requests = integer(0, i64::MAX)? as u64;
                requests_given = true;
                if settings.requests == 0 {
                    return wrong("-n: at least one request.");
                }
            }
            "--duration" => settings.duration = Some(seconds()?),
            "--warmup" => settings.warmup = seconds()?,
            "-P" => settings.pipeline = integer(1, i64::from(PIPELINE_MAX))? as u32,
            "--threads" => {
                let threads = integer(0, i64::MAX)? as usize;
                if threads > THREADS_MAX {
                    settings.warnings.push(format!("WARNING: Too many threads, limiting threads to {THREADS_MAX}."));
                }
                settings.threads = (threads > 0).then_some(threads.min(THREADS_MAX));
            }
            "-k" => settings.keep_alive = integer(0, 1)? == 1,
            "--rps" => {
                let rate = real()?;
                settings.rate = (rate > 0.0).then_some(Rate::Limit(rate));
            }
            "--rate" => match real()? {
                rate if rate > 0.0 => settings.rate = Some(Rate::Open { per_second: rate, poisson: false }),
                _ => return wrong("--rate: more than 0 requests a second."),
            },
            "--arrivals" => match text()?.as_str() {
                "even" => poisson = Some(false),
                "poisson" => poisson = Some(true),
                other => return wrong(format!("--arrivals: '{other}' is neither even nor poisson.")),
            },
            "-l" => settings.repeat = true,
            "-I" => settings.idle = true,
            "-t" => {
                let names: Vec<String> = text()?.to_lowercase().split(',').map(str::to_owned).collect();
                if let Some(name) = names.iter().find(|name| !name.is_empty() && !TESTS.contains(&name.as_str())) {
                    settings.warnings.push(format!("WARNING: There is no test '{name}'."));
                }
                settings.tests = Some(names);
            }
            "-d" => settings.sizes = Sizes::Fixed(integer(1, crate::choose::VALUE_BYTES_MAX as i64)? as usize),
            "--data-sizes" => match Sizes::parse(&text()?) {
                Some(sizes) => settings.sizes = sizes,
                None => return wrong(format!("--data-sizes: '{}' is no distribution of sizes.", text()?)),
            },
            "-r" => settings.keyspace = Some(integer(1, NUMBERS_MAX as i64)? as u64),
            "--sequential" => sequential = true,
            "--zipf" => match real()? {
                exponent if exponent <= 100.0 => settings.order = KeyOrder::Zipf(exponent),
                _ => return wrong("--zipf: at most 100."),
            },
            "--ratio" => {
                let text = text()?;
                let ratio = text.split_once(':').and_then(|(reads, writes)| {
                    let (reads, writes) = (reads.parse::<u32>().ok()?, writes.parse::<u32>().ok()?);
                    (reads + writes > 0).then_some((u64::from(reads), u64::from(writes)))
                });
                match ratio {
                    Some(ratio) => settings.ratio = Some(ratio),
                    None => return wrong(format!("--ratio: '{text}' is not reads:writes, as in 9:1.")),
                }
            }
            "--mix" => settings.mix = true,
            "-x" => last_from_input = true,
            "--seed" => settings.seed = integer(i64::MIN, i64::MAX)? as u64,
            "--num-functions" => settings.functions = integer(1, 100_000)? as u32,
            "--num-keys-in-fcall" => settings.fcall_keys = integer(1, 100_000)? as u32,
            "--dataset" => settings.dataset = Some(value.into()),
            "--maxdocs" => settings.records_max = Some(integer(1, i64::MAX)? as usize),
            "--ignore-errors" => settings.ignore_errors = true,
            // As in Redis's tool the comma-separated form wins over the quiet one, wherever it stands.
            "-q" if settings.format == Format::Text => settings.format = Format::Quiet,
            "-q" => {}
            "--csv" => settings.format = Format::Csv,
            "--json" => settings.format = Format::Json,
            "--report" => settings.report = Some(value.into()),
            "--precision" => _ = integer(0, 4)?,
            "--cluster" => settings.cluster = true,
            "--rfr" => match text()?.as_str() {
                "no" => settings.read_from = ReadFrom::Primaries,
                "yes" => settings.read_from = ReadFrom::Replicas,
                "all" => settings.read_from = ReadFrom::All,
                other => return wrong(format!("--rfr: '{other}' is none of no, yes and all.")),
            },
            "--tls" => with_tls = true,
            "--sni" => tls.server_name = Some(text()?),
            "--cacert" => tls.authorities_file = Some(value.into()),
            "--cacertdir" => tls.authorities_directory = Some(value.into()),
            "--insecure" => tls.insecure = true,
            "--cert" => tls.certificate = Some(value.into()),
            "--key" => tls.key = Some(value.into()),
            "--tls-ciphers" => tls.ciphers = Some(text()?),
            "--tls-ciphersuites" => tls.cipher_suites = Some(text()?),
            "--help" => return Ok(Request::Help),
            "--version" => return Ok(Request::Version),
            other => unreachable!("{other} is in the table and not here"),
        }
    }

    command.extend(words.map(OsString::into_vec));
    settings.commands = sequence(command, settings.mix)?;
    if let Some((_, last)) = settings.commands.last_mut().filter(|_| last_from_input) {
        last.push(input().or_else(|error| wrong(format!("-x: standard input: {error}")))?);
        settings.last_is_input = true;
    }
    settings.tls = with_tls.then_some(tls);
    if sequential {
        settings.order = KeyOrder::Sequential;
    }
    match (&mut settings.rate, poisson) {
        (Some(Rate::Open { poisson: slot, .. }), Some(poisson)) => *slot = poisson,
        (_, Some(_)) => return wrong("--arrivals needs --rate."),
        _ => {}
    }
    settings.check(requests_given)?;
    Ok(Request::Run(Box::new(settings)))
}

/// Cuts `set a b ; 4 get a` into commands and their numbers.
fn sequence(words: Vec<Vec<u8>>, weights: bool) -> Result<Vec<(u64, Command)>, Mistake> {
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let mut commands = Vec::new();
    for command in words.split(|word| word == b";") {
        let number = command.first().and_then(|word| std::str::from_utf8(word).ok()?.parse::<u64>().ok());
        let arguments = &command[usize::from(number.is_some())..];
        if arguments.is_empty() {
            return wrong("Between two ';' there is no command.");
        }
        if number == Some(0) {
            return wrong("A command cannot be repeated 0 times.");
        }
        commands.push((number.unwrap_or(1), arguments.to_vec()));
    }
    if !weights && commands.iter().try_fold(0_u64, |sum, (times, _)| sum.checked_add(*times)) > Some(SEQUENCE_MAX) {
        return wrong(format!("A sequence has at most {SEQUENCE_MAX} commands."));
    }
    if commands.iter().any(|(number, _)| *number > u64::from(u32::MAX)) {
        return wrong(format!("A command's number is at most {}.", u32::MAX));
    }
    Ok(commands)
}

impl Default for Settings {
    fn default() -> Settings {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Settings {
            host: "127.0.0.1".to_owned(),
            port: 6379,
            socket: None,
            user: None,
            password: None,
            database: 0,
            resp3: false,
            tracking: false,
            multipath: false,
            tls: None,
            connections: 50,
            requests: 100_000,
            duration: None,
            warmup: Duration::ZERO,
            pipeline: 1,
            threads: None,
            keep_alive: true,
            rate: None,
            repeat: false,
            idle: false,
            tests: None,
            sizes: Sizes::Fixed(3),
            keyspace: None,
            order: KeyOrder::Uniform,
            ratio: None,
            mix: false,
            seed: now.as_nanos() as u64,
            functions: 10,
            fcall_keys: 1,
            dataset: None,
            records_max: None,
            ignore_errors: false,
            format: Format::Text,
            report: None,
            cluster: false,
            read_from: ReadFrom::Primaries,
            commands: Vec::new(),
            last_is_input: false,
            warnings: Vec::new(),
        }
    }
}

impl Settings {
    /// What fits together.
    fn check(&mut self, requests_given: bool) -> Result<(), Mistake> {
        if requests_given && self.duration.is_some() {
            return wrong("Either -n or --duration.");
        }
        if self.duration == Some(Duration::ZERO) {
            return wrong("--duration: more than 0 seconds.");
        }
        if self.read_from != ReadFrom::Primaries && !self.cluster {
            return wrong("--rfr needs --cluster.");
        }
        if matches!(self.order, KeyOrder::Zipf(_) | KeyOrder::Sequential) && self.keyspace.is_none() {
            return wrong("--zipf and --sequential need the size of the key space, -r.");
        }
        if self.ratio.is_some() && self.keyspace.is_none() {
            return wrong("--ratio needs the number of keys, -r.");
        }
        if self.mix && self.commands.is_empty() {
            return wrong("--mix needs commands, separated by ';'.");
        }
        if self.ratio.is_some() && !self.commands.is_empty() {
            return wrong("Either --ratio or a command.");
        }
        if matches!(self.rate, Some(Rate::Open { .. })) && !self.keep_alive {
            return wrong("--rate needs connections that stay (-k 1).");
        }
        if self.cluster && self.socket.is_some() {
            return wrong("--cluster needs host and port, not a unix socket.");
        }
        if let Some(tls) = &self.tls
            && tls.certificate.is_some() != tls.key.is_some()
        {
            return wrong("--cert and --key belong together.");
        }
        if !self.keep_alive {
            self.warnings.push(
                "WARNING: -k 0: each batch opens a connection, and closed ones keep their ports for a minute; a long run may need \
                 net.ipv4.tcp_tw_reuse=1."
                    .to_owned(),
            );
        }
        self.threads = self.threads.map(|threads| threads.min(self.connections));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn settings(line: &str) -> Settings {
        match parse(words(line), || Ok(b"input".to_vec())) {
            Ok(Request::Run(settings)) => *settings,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn mistake(line: &str) -> Mistake {
        parse(words(line), || Ok(Vec::new())).expect_err(line)
    }

    #[test]
    fn every_option_of_the_table_is_read() {
        for option in OPTIONS {
            let argument = match option.value {
                None => String::new(),
                Some("uri") => "redis://h:1/2".to_owned(),
                Some("reads:writes") => "9:1".to_owned(),
                Some("sizes") => "1-9".to_owned(),
                Some(_) if !option.choices.is_empty() => option.choices[0].to_owned(),
                Some(_) => "1".to_owned(),
            };
            // With what it needs beside it; that it was understood shows in that it is not refused as unknown.
            let line = format!("-r 5 {} {argument} get k", option.name);
            if let Err(Mistake::Unknown(name)) = parse(words(&line), || Ok(Vec::new())) {
                panic!("{name} is in the table and not understood");
            }
        }
    }

    #[test]
    fn sequences_are_cut_at_semicolons_and_numbers_repeat() {
        let settings = settings("-n 5 -- set a b ; 4 get a");
        let text: Vec<(u64, String)> = settings
            .commands
            .iter()
            .map(|(times, words)| (*times, String::from_utf8_lossy(&words.join(&b' ')).into_owned()))
            .collect();
        assert_eq!(text, [(1, "set a b".to_owned()), (4, "get a".to_owned())]);
        assert!(matches!(mistake("set a b ; ; get a"), Mistake::Wrong(_)));
        assert!(matches!(mistake("0 get a"), Mistake::Wrong(_)));
        assert!(matches!(mistake("99999999 get a"), Mistake::Wrong(_)));
    }

    #[test]
    fn what_is_too_small_becomes_the_smallest() {
        let settings = settings("-c 0 -P -3 -d 0 --threads -1");
        assert_eq!((settings.connections, settings.pipeline, settings.threads), (1, 1, None));
        assert_eq!(settings.sizes, Sizes::Fixed(1));
    }

    #[test]
    fn input_becomes_the_last_argument_and_options_after_the_command_belong_to_it() {
        let settings = settings("-x set k -n");
        assert_eq!(settings.commands[0].1, [&b"set"[..], b"k", b"-n", b"input"]);
    }

    #[test]
    fn mistakes_are_told() {
        for line in ["--bogus", "-n", "-D"] {
            assert!(matches!(mistake(line), Mistake::Unknown(_)), "{line}");
        }
        for line in [
            "-c abc",
            "-n 0",
            "--ratio 9:1",
            "-n 5 --duration 3",
            "--rfr yes",
            "--zipf 1",
            "--mix",
            "--arrivals poisson",
            "--rdma",
            "-p 70000",
            "-u foo://x",
            "--ratio 9",
            "--cert a --tls",
            "--rate 5 -k 0",
            "--data-sizes x",
        ] {
            assert!(matches!(mistake(line), Mistake::Wrong(_)), "{line}");
        }
    }
}

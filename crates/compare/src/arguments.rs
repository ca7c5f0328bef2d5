//! The command line.

use crate::workload::{ELEMENTS, KEYS, TABLES};
use crate::{persistence, replication};
use anyhow::{Result, bail};
use lexopt::prelude::*;
use std::path::PathBuf;
use std::time::Duration;
use testkit::Kind;

pub const USAGE: &str = "\
Compares Spinel with real servers (docs/benchmarks.md).

Usage: compare [run] [OPTIONS]    CPU per request and resident bytes per key, all tables
       compare growth [OPTIONS]   grow to 50 million keys and back: counted work, memory given back
       compare expiry [OPTIONS]   a million keys at once, a thousand among 20 million: on time, unnoticed
       compare eviction [OPTIONS] new keys in full memory: CPU per SET, hit rates under a Zipf load
       compare fragmentation [OPTIONS] 2 million keys of all kinds, four fifths deleted at random: memory given back
       compare floor              the empty server, for `run`

Options:
  --only NAME[,NAME...]     some tables: depth1, depth16, depth64 (or depth for all three), loops1, loops16 (loops), tls1, tls16 (tls),
                            collections, wide, heavy, messages, messages1, memory, elements;
                            persistence-everysec, persistence-files, persistence-always, persistence-sink,
                            persistence-stall (persistence); replication
  --rows TEXT[,TEXT...]     of each table only the rows whose name holds one of these
  --servers NAME[,NAME...]  spinel, redis82, valkey91, redis70
  --rounds N                rounds, of which the median counts (5)
  --seconds S               length of one measurement (2)
  --connections N           connections of the load generator (50)
  --keys N                  keys of growth, of the few of expiry, of persistence-stall and of replication, instead of their own number
  --results FILE            where raw results are appended (results/compare.jsonl)
  --seed N                  of the random keys
  --quick                   everything once and tiny, judging nothing: to see that it works
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Run,
    Growth,
    Expiry,
    Eviction,
    Fragmentation,
    /// With the length of a request.
    Floor(usize),
    Help,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub only: Vec<String>,
    pub rows: Vec<String>,
    pub servers: Vec<Kind>,
    pub rounds: usize,
    pub measure_for: Duration,
    pub connections: usize,
    pub keys: Option<u64>,
    pub results: PathBuf,
    pub seed: u64,
    pub quick: bool,
}

impl Options {
    /// A number of keys, as this run wants it.
    pub fn scaled(&self, keys: u64) -> u64 {
        if self.quick { (keys / 1_000).max(1) } else { keys }
    }

    pub fn shortened(&self, time: Duration) -> Duration {
        if self.quick { time / 8 } else { time }
    }

    pub fn warm_up(&self) -> Duration {
        self.measure_for / 10
    }

    /// Whether a row of a selected table is wanted.
    pub fn selects_row(&self, name: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|text| name.to_lowercase().contains(&text.to_lowercase()))
    }

    pub fn selects(&self, table: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| names(name, table))
    }
}

/// A table by its name, or all tables of a family by the name without its number or what is behind its hyphen: `depth` is not `depth1` alone, nor
/// `depth1` `depth16`; `persistence` is `persistence-files` and the others.
fn names(name: &str, table: &str) -> bool {
    let family = table.split('-').next().expect("split yields at least one part");
    table == name || family.trim_end_matches(|c: char| c.is_ascii_digit()) == name
}

/// # Errors
/// An unknown option, table or server.
pub fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<(Mode, Options)> {
    let mut mode = None;
    let mut servers = None;
    let mut request_bytes = None;
    let mut options = Options {
        only: Vec::new(),
        rows: Vec::new(),
        servers: Vec::new(),
        rounds: 5,
        measure_for: Duration::from_secs(2),
        connections: 50,
        keys: None,
        results: "results/compare.jsonl".into(),
        seed: rand::random(),
        quick: false,
    };
    let mut parser = lexopt::Parser::from_iter(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("only") => options.only = list(parser.value()?)?,
            Long("rows") => options.rows = list(parser.value()?)?,
            Long("servers") => {
                let kinds: Result<Vec<Kind>, String> = list(parser.value()?)?.iter().map(|name| name.parse()).collect();
                servers = Some(kinds.map_err(anyhow::Error::msg)?);
            }
            Long("rounds") => options.rounds = parser.value()?.parse()?,
            Long("seconds") => options.measure_for = Duration::try_from_secs_f64(parser.value()?.parse()?)?,
            Long("connections") => options.connections = parser.value()?.parse()?,
            Long("keys") => options.keys = Some(parser.value()?.parse()?),
            Long("results") => options.results = parser.value()?.into(),
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("request-bytes") => request_bytes = Some(parser.value()?.parse()?),
            Long("quick") => {
                options.quick = true;
                options.rounds = 1;
                options.measure_for = Duration::from_millis(50);
            }
            Short('h') | Long("help") => return Ok((Mode::Help, options)),
            Value(word) if mode.is_none() => {
                mode = Some(match word.string()?.as_str() {
                    "run" => Mode::Run,
                    "growth" => Mode::Growth,
                    "expiry" => Mode::Expiry,
                    "eviction" => Mode::Eviction,
                    "fragmentation" => Mode::Fragmentation,
                    "floor" => Mode::Floor(0),
                    other => bail!("unknown command '{other}'"),
                });
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let mode = match (mode.unwrap_or(Mode::Run), request_bytes) {
        (Mode::Floor(_), Some(bytes)) if bytes > 0 => Mode::Floor(bytes),
        (Mode::Floor(_), _) => bail!("floor needs --request-bytes"),
        (_, Some(_)) => bail!("--request-bytes is for floor"),
        (mode, None) => mode,
    };
    options.servers = servers.unwrap_or_else(|| match mode {
        Mode::Run => vec![Kind::Spinel, Kind::Redis82, Kind::Valkey91],
        // Bounds on Spinel's own counters and times: rivals are measured only when asked for.
        _ => vec![Kind::Spinel],
    });
    for name in &options.only {
        let tables = TABLES
            .iter()
            .map(|table| table.name)
            .chain([KEYS, ELEMENTS])
            .chain(persistence::TABLES)
            .chain([replication::TABLE]);
        if !tables.into_iter().any(|table| names(name, table)) {
            bail!("there is no table '{name}'");
        }
    }
    if options.rounds == 0 || options.connections == 0 || options.keys == Some(0) {
        bail!("--rounds, --connections and --keys must be at least 1");
    }
    Ok((mode, options))
}

fn list(value: std::ffi::OsString) -> Result<Vec<String>> {
    Ok(value.string()?.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(Mode, Options)> {
        parse(std::iter::once("compare").chain(line.split_whitespace()).map(Into::into))
    }

    #[test]
    fn commands_and_options() {
        let (mode, options) = parsed("").unwrap();
        assert_eq!((mode, options.servers.len(), options.rounds), (Mode::Run, 3, 5));
        let (mode, options) = parsed("growth --keys 1000000").unwrap();
        assert_eq!((mode, options.servers, options.keys), (Mode::Growth, vec![Kind::Spinel], Some(1_000_000)));
        let (_, options) = parsed("run --only depth,memory --servers spinel,redis82 --seconds 0.5").unwrap();
        assert!(options.selects("depth16") && options.selects("memory") && !options.selects("loops1"));
        assert!(!parsed("--only depth1").unwrap().1.selects("depth16"));
        assert_eq!(options.measure_for, Duration::from_millis(500));
        let (_, options) = parsed("--only persistence").unwrap();
        assert!(options.selects("persistence-files") && !options.selects("depth1"));
        assert_eq!(parsed("floor --request-bytes 40").unwrap().0, Mode::Floor(40));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in
            ["--only nothing", "--servers redis99", "walk", "floor", "--rounds 0", "run run", "--request-bytes 3"]
        {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}

//! How narrow execution scales over threads, and what wide commands among it cost.
//!
//! Threads execute batches of GET and SET on random keys of one shared world, through the server's own dispatch, gates and shard
//! locks, without sockets. Every round measures each arrangement once, so that ratios are formed within seconds; the
//! result is the median of the rounds. `docs/benchmarks.md` explains the figures.
//!
//! Owns the load and the clocks. Start reading at [`workload`] (what runs), then [`round`] (how it is measured), then [`report`].
//!
//! ```text
//! make narrow
//! cargo bench -p spinel-server --bench narrow -- --only GET,SET --rounds 9
//! ```

mod report;
mod round;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use report::Report;
use round::{Arena, Arrangement};
use workload::{WORKLOADS, Workload};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is measured, and how long.
pub struct Options {
    pub keys: u64,
    pub threads: usize,
    pub rounds: usize,
    /// Divides the requests of every workload.
    pub divisor: u64,
    pub seed: u64,
    /// Proves that everything works; the figures mean nothing.
    pub quick: bool,
    only: Vec<String>,
    /// Where results are kept; nowhere on a quick run that was not told.
    results: Option<PathBuf>,
}

const USAGE: &str = "\
usage: narrow [--only NAME,NAME] [--rounds N] [--keys N] [--threads N] [--seed N] [--results FILE] [--quick]
  --only      workloads whose name begins so
  --threads   the number that is compared with one thread (2)
  --results   JSON lines are appended here (results/narrow.jsonl)
  --quick     a smoke run that judges nothing";

/// `cargo bench` says `--bench`; without it this is a test, which is quick and takes no arguments of ours.
fn parse() -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    let mut options = Options {
        keys: 1_000_000,
        threads: 2,
        rounds: 7,
        divisor: 1,
        seed: rand::random(),
        quick: !is_bench,
        only: Vec::new(),
        results: None,
    };
    if !is_bench {
        // The test harness's own questions (`--list`, filters) have no answer here.
        return Ok((!arguments.iter().any(|argument| argument == "--list")).then(|| options.quicker()));
    }
    let mut parser = lexopt::Parser::from_args(arguments);
    options.results = Some(workspace().join("results/narrow.jsonl"));
    while let Some(argument) = parser.next()? {
        match argument {
            Long("bench") => {}
            Long("only") => options.only = parser.value()?.string()?.split(',').map(str::to_owned).collect(),
            Long("rounds") => options.rounds = parser.value()?.parse::<usize>()?.max(1),
            Long("keys") => options.keys = parser.value()?.parse::<u64>()?.max(1),
            Long("threads") => {
                options.threads = parser.value()?.parse::<usize>()?.clamp(1, keyspace::slab::ARENA_COUNT)
            }
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("results") => options.results = Some(parser.value()?.into()),
            Long("quick") => options = options.quicker(),
            Long("help") => {
                println!("{USAGE}");
                return Ok(None);
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

impl Options {
    fn quicker(self) -> Options {
        Options { keys: 2_000, rounds: 1, divisor: 500, quick: true, results: None, ..self }
    }

    fn wants(&self, workload: &Workload) -> bool {
        self.only.is_empty() || self.only.iter().any(|prefix| workload.name.starts_with(prefix.as_str()))
    }
}

/// Cargo starts benchmarks in the folder of their crate.
fn workspace() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| ".".into(), |folder| PathBuf::from(folder).join("../.."))
}

fn main() -> ExitCode {
    let options = match parse() {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("narrow: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match measure(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("narrow: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether every bound was held.
fn measure(options: &Options) -> std::io::Result<bool> {
    println!(
        "narrow: {} keys, {} threads, {} rounds, --seed {}",
        options.keys, options.threads, options.rounds, options.seed
    );
    let mut report = Report::create(options)?;
    let arena = Arena::new(options);
    let workloads: Vec<&Workload> = WORKLOADS.iter().filter(|workload| options.wants(workload)).collect();
    for round in 0..options.rounds {
        for step in 0..workloads.len() {
            // Another one begins each time: what follows a workload is not always the same.
            let workload = workloads[(step + round) % workloads.len()];
            for &arrangement in Arrangement::of(workload) {
                let samples = arena.run(arrangement, workload, round);
                report.keep(workload, arrangement, round, &samples)?;
            }
        }
    }
    report.finish(&workloads)
}

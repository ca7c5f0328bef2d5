//! The command line of the linearizability check. Everything else is in the library.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use lexopt::{Arg, ValueExt as _};
use linearize::{
    run::{Options, run},
    self_test::self_test,
};
use testkit::Kind;

const HELP: &str = "\
linearize run        concurrent histories must be explained by one thread
  --threads LIST       io-threads of the server, a share of the time each (2,4)
  --seconds N          how long in all (60)
  --seed S             (SPINEL_SEED, else random)
  --mixes LIST         narrow,wide,walk,storm,pause,clock,collections,waiting,transactions (all)
  --subject KIND       who is examined (spinel; a real server to try the tool itself)
linearize self-test  planted bugs must be found; SPINEL_BIN names a spinel built with its feature `planted`
  --threads, --seconds (for each bug), --seed
";

fn main() -> ExitCode {
    match start() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("linearize: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True when everything is as it must be.
fn start() -> Result<bool> {
    let mut parser = lexopt::Parser::from_env();
    let mut command = None;
    let mut seed = None;
    let mut options = Options::new(Kind::Spinel, 0);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Value(word) if command.is_none() => command = Some(word.string()?),
            Arg::Long("threads") => options.threads = list(&mut parser)?,
            Arg::Long("seconds") => options.duration = Duration::from_secs(parser.value()?.parse()?),
            Arg::Long("seed") => seed = Some(parser.value()?.parse()?),
            Arg::Long("mixes") => options.mixes = list(&mut parser)?,
            Arg::Long("subject") => options.server.kind = parser.value()?.parse()?,
            Arg::Long("help") | Arg::Short('h') => {
                print!("{HELP}");
                return Ok(true);
            }
            other => bail!("{}\n{HELP}", other.unexpected()),
        }
    }
    options.seed = seed.unwrap_or_else(testkit::seed);
    if options.threads.is_empty() || options.mixes.is_empty() {
        bail!("nothing to do: no threads or no mixes");
    }
    let kind = options.server.kind;
    testkit::program(kind).with_context(|| format!("no {kind} here (run tools/peers.sh, or build spinel)"))?;
    match command.as_deref() {
        Some("run") => run_and_report(&options),
        Some("self-test") => self_test(&options),
        _ => {
            eprint!("{HELP}");
            Ok(false)
        }
    }
}

fn list<T: std::str::FromStr<Err: Into<Box<dyn std::error::Error + Send + Sync>>>>(
    parser: &mut lexopt::Parser,
) -> Result<Vec<T>> {
    let words = parser.value()?.string()?;
    words.split(',').map(|word| word.parse().map_err(|error: T::Err| anyhow::Error::from_boxed(error.into()))).collect()
}

fn run_and_report(options: &Options) -> Result<bool> {
    let outcome = run(options)?;
    println!("{:>8} {:>12} {:>9} {:>11} {:>10}", "threads", "mix", "windows", "operations", "undecided");
    for ((threads, mix), tally) in &outcome.tallies {
        println!("{threads:>8} {mix:>12} {:>9} {:>11} {:>10}", tally.windows, tally.operations, tally.undecided);
    }
    for mix in &outcome.left_out {
        println!("linearize: mix {mix} is left out: the server has not all of {}", mix.commands().join(", "));
    }
    let Some(finding) = &outcome.finding else {
        let total = outcome.total();
        let explained = total.windows - total.undecided;
        println!(
            "linearize: {} operations in {} windows, {explained} windows explained",
            total.operations, total.windows
        );
        if outcome.is_undecided() {
            println!("linearize: FAILED: {} of {} windows are undecided", total.undecided, total.windows);
        }
        return Ok(!outcome.is_undecided());
    };
    println!("{finding}");
    println!(
        "linearize: FAILED. The same commands again, though not the same timing: linearize run --seed {} --threads {} --mixes {}",
        options.seed, finding.threads, finding.mix
    );
    Ok(false)
}

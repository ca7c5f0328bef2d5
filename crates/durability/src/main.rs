//! The command line of the durability harness. Everything else is in the library.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use durability::life::{Ground, Plan, Tally, play};
use durability::{chain, crash, instant, self_test};
use lexopt::{Arg, ValueExt as _};
use testkit::Kind;

const HELP: &str = "\
durability crash      servers are killed at random instants and must keep what they promised
  --rounds N            rounds of three kills each (20)
  --round N             only this one
  --ground LIST         plain,lossy,failing: what lies under the server (all)
durability instant    each snapshot is the state at one instant
  --threads LIST        io-threads of the server (1,4)
  --elements LIST       elements of the large collections (0,1000,1000000)
  --snapshots N         (6)
durability chain      three servers in a chain: the middle is killed, the end promoted, the old primary and the killed return
  --rounds N, --round N (20)
durability self-test  planted bugs must be found; SPINEL_BIN names a spinel built with its feature `planted`
all: --seed S           (SPINEL_SEED, else random)
";

fn main() -> ExitCode {
    match start() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("durability: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True when everything is as it must be.
fn start() -> Result<bool> {
    let mut parser = lexopt::Parser::from_env();
    let (mut command, mut seed, mut round, mut grounds) = (None, None, None, None);
    let (mut rounds, mut threads, mut elements, mut snapshots) = (20, vec![1, 4], vec![0, 1000, 1_000_000], 6);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Value(word) if command.is_none() => command = Some(word.string()?),
            Arg::Long("rounds") => rounds = parser.value()?.parse()?,
            Arg::Long("round") => round = Some(parser.value()?.parse()?),
            Arg::Long("ground") => grounds = Some(parser.value()?.string()?),
            Arg::Long("threads") => threads = list(&mut parser)?,
            Arg::Long("elements") => elements = list(&mut parser)?,
            Arg::Long("snapshots") => snapshots = parser.value()?.parse()?,
            Arg::Long("seed") => seed = Some(parser.value()?.parse()?),
            Arg::Long("help") | Arg::Short('h') => {
                print!("{HELP}");
                return Ok(true);
            }
            other => bail!("{}\n{HELP}", other.unexpected()),
        }
    }
    let seed = seed.unwrap_or_else(testkit::seed);
    testkit::program(Kind::Spinel).context("no spinel here (build it)")?;
    let grounds = match grounds {
        None => crash::grounds(),
        Some(words) => words.split(',').map(ground).collect::<Result<Vec<_>>>()?,
    };
    match (command.as_deref(), round) {
        (Some("crash"), None) => crash::run(&crash::Options { rounds, seed, grounds }),
        (Some("crash"), Some(round)) => {
            let seed = crash::seed_of(seed, round);
            let plan = Plan::draw(&mut testkit::random_from(seed), &grounds);
            println!("{plan:?}");
            let mut tally = Tally::default();
            play(seed, plan, &[], &mut tally)?;
            println!("durability: {tally}");
            Ok(true)
        }
        (Some("instant"), _) => {
            instant::run(&instant::Options { seed, threads, elements, snapshots, environment: Vec::new() })
        }
        (Some("chain"), None) => chain::run(&chain::Options { rounds, seed, environment: Vec::new() }),
        (Some("chain"), Some(round)) => chain::run_round(seed, round).map(|()| true),
        (Some("self-test"), _) => self_test::self_test(seed),
        _ => {
            eprint!("{HELP}");
            Ok(false)
        }
    }
}

fn ground(word: &str) -> Result<Ground> {
    Ok(match word {
        "plain" => Ground::Plain,
        "lossy" => Ground::Lossy,
        "failing" => Ground::Failing,
        _ => bail!("'{word}' is none of plain, lossy, failing"),
    })
}

fn list<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    parser: &mut lexopt::Parser,
) -> Result<Vec<T>> {
    let words = parser.value()?.string()?;
    words.split(',').map(|word| Ok(word.parse()?)).collect()
}

//! The program: its command line. What it does is in the library.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lexopt::{Arg, ValueExt};
use spinel_oracle::{coverage, run, self_test};
use testkit::Kind;

const HELP: &str = "\
oracle run        compare replies and data sets on generated commands
  --commands N      how many (250000) at each number of threads, with each encodings; Valkey gets a tenth of them
  --threads LIST    Spinel's io-threads, one run each (1,4)
  --seed S          (SPINEL_SEED, else random)
  --groups LIST     command groups (all that are implemented)
  --encodings LIST  thresholds of the compact encodings, one run each (default,tiny)
  --against LIST    references (redis82,valkey91)
  --only LIST       only these commands, of those that the groups give
  --subject KIND    who is examined (spinel; a real server to try the tool itself)
  --differences N   go on after a difference, without the commands it is about, until there are so many (1)
  --persistence N   snapshots, reloads, restarts … among each 20000 commands; 0: none (12)
  --trace           print every command and the reference's reply
oracle coverage   compare names, flags, keys, documented arguments of all commands
  --groups LIST     (connection,generic,string,server), or all
  --subject KIND
oracle facts      the united facts of the real servers, as JSON
  --groups LIST     (all)
oracle self-test  a Spinel with a planted bug must be caught
  Spinel must be built with its feature `planted` (SPINEL_BIN says where it is)
";

fn main() -> ExitCode {
    match start() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("oracle: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True when everything is as it must be.
fn start() -> Result<bool> {
    let mut parser = lexopt::Parser::from_env();
    let mut command = None;
    let mut options = run::Options::default();
    let mut groups: Option<Vec<String>> = None;
    while let Some(argument) = parser.next()? {
        let list = |parser: &mut lexopt::Parser| -> Result<Vec<String>> {
            Ok(parser.value()?.string()?.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect())
        };
        match argument {
            Arg::Value(word) if command.is_none() => command = Some(word.string()?),
            Arg::Long("commands") => options.commands = parser.value()?.parse()?,
            Arg::Long("threads") => {
                options.threads = list(&mut parser)?.iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
            }
            Arg::Long("seed") => options.seed = Some(parser.value()?.parse()?),
            Arg::Long("groups") => groups = Some(list(&mut parser)?),
            Arg::Long("only") => options.only = list(&mut parser)?,
            Arg::Long("against") => {
                options.against = list(&mut parser)?
                    .iter()
                    .map(|word| word.parse::<Kind>().map_err(anyhow::Error::msg))
                    .collect::<Result<_>>()?;
            }
            Arg::Long("subject") => {
                options.subject = parser.value()?.string()?.parse().map_err(anyhow::Error::msg)?;
            }
            Arg::Long("encodings") => {
                options.encodings = list(&mut parser)?
                    .iter()
                    .map(|word| word.parse::<run::Encodings>().map_err(anyhow::Error::msg))
                    .collect::<Result<_>>()?;
            }
            Arg::Long("differences") => options.differences = parser.value()?.parse()?,
            Arg::Long("persistence") => options.persistence = parser.value()?.parse()?,
            Arg::Long("trace") => options.trace = true,
            Arg::Long("help") | Arg::Short('h') => {
                print!("{HELP}");
                return Ok(true);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let core = || coverage::CORE_GROUPS.map(str::to_owned).to_vec();
    match command.as_deref() {
        Some("run") => {
            if let Some(groups) = groups {
                options.groups = groups;
            }
            run::run(&options)
        }
        Some("coverage") => coverage::run(options.subject, &groups.unwrap_or_else(core)),
        Some("facts") => {
            let groups = groups.unwrap_or_else(|| vec!["all".to_owned()]);
            let mut union = coverage::Specification::load()?.union;
            union.retain(|_, command| coverage::wanted(command, &groups));
            println!("{:#}", coverage::facts::catalogue_json(&union));
            Ok(true)
        }
        Some("self-test") => self_test::run(&options),
        Some(other) => bail!("unknown command '{other}'; --help lists them"),
        None => None.context("no command; --help lists them"),
    }
}

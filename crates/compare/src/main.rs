//! The program behind `make compare`; see the library for everything.

use anyhow::{Context, Result};
use spinel_compare::arguments::{self, Mode, Options, USAGE};
use spinel_compare::cpu::{self, Cores};
use spinel_compare::floor::Floor;
use spinel_compare::report::Report;
use spinel_compare::workload::{ELEMENTS, KEYS, TABLES};
use spinel_compare::{eviction, expiry, fragmentation, growth, memory, persistence, replication, rounds};
use std::process::ExitCode;
use testkit::{Kind, program};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every bound was held.
fn run() -> Result<bool> {
    let (mode, mut options) = arguments::parse(std::env::args_os())?;
    match mode {
        Mode::Help => {
            print!("{USAGE}");
            return Ok(true);
        }
        Mode::Floor(request_bytes) => {
            let floor = Floor::bind("127.0.0.1:0".parse()?, request_bytes)?;
            println!("{}", floor.address()?);
            floor.serve()?;
            return Ok(true);
        }
        Mode::Run | Mode::Growth | Mode::Expiry | Mode::Eviction | Mode::Fragmentation => {}
    }
    keep_those_that_are_here(&mut options);
    let cores = Cores::allowed()?;
    eprintln!("seed {} (run again with --seed {})", options.seed, options.seed);
    let mut report = Report::create(&options.results, &cores, options.quick)?;
    cpu::pin_self(cores.load())?;
    let measured = match mode {
        Mode::Growth => growth::run(&options, &cores, &mut report),
        Mode::Expiry => expiry::run(&options, &cores, &mut report),
        Mode::Eviction => eviction::run(&options, &cores, &mut report),
        Mode::Fragmentation => fragmentation::run(&options, &cores, &mut report),
        _ => run_tables(&options, &cores, &mut report),
    };
    // What was measured before something went wrong is worth seeing.
    println!("{}", report.render());
    measured.with_context(|| format!("measuring; raw results are in {}", options.results.display()))?;
    Ok(report.all_held())
}

fn run_tables(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    for table in TABLES.iter().filter(|table| options.selects(table.name)) {
        rounds::run(table, options, cores, report)?;
    }
    for table in [KEYS, ELEMENTS] {
        if options.selects(table) {
            memory::run(table, options, cores, report)?;
        }
    }
    persistence::run(options, cores, report)?;
    replication::run(options, cores, report)
}

/// A missing server is said aloud and left out: its absence shows in the table too, as bounds that are not judged.
fn keep_those_that_are_here(options: &mut Options) {
    options.servers.retain(|&kind| {
        let here = program(kind).is_some();
        if !here {
            let how = if kind == Kind::Spinel { "build it: cargo build --release" } else { "run tools/peers.sh" };
            eprintln!("SKIPPED {kind}: its program is not here ({how})");
        }
        here
    });
}

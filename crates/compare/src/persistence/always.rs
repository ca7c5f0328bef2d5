//! Replies that wait for the disk: how many there are in a second, with `appendfsync always`.
//!
//! The figure is wall time, and so the disk's as much as the server's: what is compared is how many replies share one synchronisation, and what is
//! done while it lasts.

use super::*;
use serde_json::json;

const ARGUMENTS: &[&str] = &["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];
const LIVELY_KEYS: u64 = 100_000;
/// A third of the time is three times the throughput.
const RATIO_MAX: f64 = 1.0 / 3.0;

pub(super) fn run(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    let template = Template::parse(SET)?;
    let mut random = SmallRng::seed_from_u64(options.seed);
    let mut number = || random.random_range(0..LIVELY_KEYS);
    let targets = options.servers.iter().map(|&kind| start(kind, cores, ARGUMENTS)).collect::<Result<Vec<Target>>>()?;
    let mut figures = vec![Vec::new(); targets.len()];
    for round in 0..options.rounds {
        for turn in 0..targets.len() {
            let index = (turn + round) % targets.len();
            let target = &targets[index];
            let mut load = Load::connect(target.address(), &template, options.connections, 1)?;
            load.run(Until::Elapsed(options.warm_up()), &mut number)?;
            let began = Instant::now();
            let tally = load.run(Until::Elapsed(options.measure_for), &mut number)?;
            let us = began.elapsed().as_secs_f64() * 1e6 / tally.replies as f64;
            report.keep(json!({
                "kind": "persistence",
                "workload": "SET always",
                "server": target.kind().name(),
                "version": target.version,
                "round": round,
                "connections": options.connections,
                "requests": tally.replies,
                "wall_us": us,
            }))?;
            figures[index].push(us);
        }
        let all: Vec<String> = figures.iter().map(|rounds| format!("{:.2}", rounds[round])).collect();
        eprintln!("  round {} of {}: {} us", round + 1, options.rounds, all.join(", "));
    }
    Line {
        table: "persistence-always: append-only file, synchronised before each reply",
        name: &format!("SET, {} connections", options.connections),
        unit: "wall us",
        bound: Bound::RatioMax(RATIO_MAX),
    }
    .report(&options.servers, &figures, report)
}

//! Memory while a snapshot is written slowly and everything is overwritten meanwhile: what was captured and is not in the file must be bounded.
//!
//! For servers that fork it is what parent and child do not share at the end. That is only to be seen: it is as much as was overwritten.

use super::*;
use serde_json::json;

/// docs/persistence.md: 32 MiB that wait, and what is captured while some of it is being put away.
const GROWTH_MIB_MAX: f64 = 64.0;
const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn run(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    let keys = options.scaled(KEYS);
    let mut figures = Vec::new();
    for &kind in &options.servers {
        let target = start(kind, cores, &["--rdb-key-save-delay", delay(kind)])?;
        fill(&target, SET, keys)?;
        let mut client = target.client()?;
        client.set_timeout(PATIENCE)?;
        let mut rounds = Vec::new();
        for round in 0..options.rounds {
            let pressure = Pressure::start(&target, &[SET], keys, options.seed)?;
            let began = Instant::now();
            let ((), grown) = growth_while(&target, || {
                told(&mut client, &["BGSAVE"])?;
                wait_for_job(&mut client, "rdb_bgsave_in_progress", "rdb_last_bgsave_status")
            })?;
            let seconds = began.elapsed().as_secs_f64();
            let written = pressure.end()?;
            let grown_mib = (grown + copied_for_child(&target, &mut client, "rdb_last_cow_size")?) as f64 / MIB;
            eprintln!("  {kind}: {grown_mib:.1} MiB in {seconds:.1} s, {written} writes meanwhile");
            report.keep(json!({
                "kind": "persistence",
                "workload": "slow sink",
                "server": kind.name(),
                "version": target.version,
                "round": round,
                "keys": keys,
                "seconds": seconds,
                "writes": written,
                "grown_mib": grown_mib,
            }))?;
            rounds.push(grown_mib);
        }
        figures.push(rounds);
    }
    Line {
        table: "persistence-sink: memory beside the data, 3 million keys saved slowly and overwritten meanwhile",
        name: "growth",
        unit: "MiB",
        bound: Bound::ValueMax(GROWTH_MIB_MAX),
    }
    .report(&options.servers, &figures, report)
}

/// About 10 s for the file. A real server sleeps after a key, at least for as long as the kernel's timers take; a negative number says
/// after how many keys, at random.
fn delay(kind: Kind) -> &'static str {
    if kind == Kind::Spinel { "7" } else { "-20" }
}

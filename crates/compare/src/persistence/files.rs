//! Wall time of SAVE, and from the start of a process to its first PONG with the data loaded, of a snapshot and of an append-only file.

use super::*;
use serde_json::json;

const SAVE: usize = 0;
const LOAD_SNAPSHOT: usize = 1;
const LOAD_LOG: usize = 2;
const ROWS: [(&str, f64); 3] = [("SAVE", 0.5), ("start with a snapshot", 0.5), ("start with an append-only file", 0.6)];

/// The append-only file is written while it is filled: nothing but SETs, never rewritten.
const HOME: &[&str] = &["--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"];

pub(super) fn run(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    let keys = options.scaled(KEYS);
    let rows: Vec<usize> = (0..ROWS.len()).filter(|&row| options.selects_row(ROWS[row].0)).collect();
    let mut homes = Vec::new();
    for &kind in &options.servers {
        let home = start(kind, cores, HOME)?;
        fill(&home, SET, keys)?;
        let mut client = home.client()?;
        // What is in the file stays, and from now on nothing but the measured is written.
        told(&mut client, &["CONFIG", "SET", "appendonly", "no"])?;
        client.set_timeout(PATIENCE)?;
        told(&mut client, &["SAVE"])?;
        homes.push(home);
    }
    // figures[row][server][round]
    let mut figures = vec![vec![Vec::new(); homes.len()]; ROWS.len()];
    for round in 0..options.rounds {
        for &row in &rows {
            for turn in 0..homes.len() {
                let index = (turn + round) % homes.len();
                let home = &homes[index];
                let (name, _) = ROWS[row];
                let seconds = match row {
                    SAVE => save(home)?,
                    LOAD_SNAPSHOT => load(home, cores, "no", keys)?,
                    LOAD_LOG => load(home, cores, "yes", keys)?,
                    _ => unreachable!("rows are these"),
                };
                eprintln!("  {name} on {}: {seconds:.3} s", home.kind());
                report.keep(json!({
                    "kind": "persistence",
                    "workload": name,
                    "server": home.kind().name(),
                    "version": home.version,
                    "round": round,
                    "keys": keys,
                    "seconds": seconds,
                }))?;
                figures[row][index].push(seconds);
            }
        }
    }
    for &row in &rows {
        let (name, ratio_max) = ROWS[row];
        Line {
            table: "persistence-files: 3 million keys of 15 bytes with values of 32, two cores to use",
            name,
            unit: "s",
            bound: Bound::RatioMax(ratio_max),
        }
        .report(&options.servers, &figures[row], report)?;
    }
    Ok(())
}

fn save(home: &Target) -> Result<f64> {
    let mut client = home.client()?;
    client.set_timeout(PATIENCE)?;
    let began = Instant::now();
    told(&mut client, &["SAVE"])?;
    Ok(began.elapsed().as_secs_f64())
}

/// Another server on the same files. The one that made them does nothing meanwhile.
fn load(home: &Target, cores: &Cores, appendonly: &str, keys: u64) -> Result<f64> {
    let folder = home.directory().to_str().context("a folder's name is UTF-8")?;
    let arguments = ["--dir", folder, "--appendonly", appendonly, "--auto-aof-rewrite-percentage", "0"];
    let began = Instant::now();
    let server = start(home.kind(), cores, &arguments)?;
    let seconds = began.elapsed().as_secs_f64();
    let loaded = server.client()?.command(&["DBSIZE"])?;
    ensure!(loaded.integer() == Some(keys as i64), "{loaded} keys were loaded, not {keys}");
    Ok(seconds)
}

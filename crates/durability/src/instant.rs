//! `durability instant`: each snapshot is the state at one instant, that of the command which asked for it.
//!
//! Lanes write; a BGSAVE or BGREWRITEAOF cuts; the file is loaded by a second server, whose state must be explained by steps
//! that end between the command's sending and its reply, in all lanes at once.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::Rng;
use testkit::{Client, Kind, Server, ServerOptions, random_from, wait_for};

use crate::lane::{Clock, Lane, Watch, Work};
use crate::life::{check_instant, copy_folder, is_within, wait_until_loaded};
use crate::model::{Dump, Model};

/// A run of snapshots.
#[derive(Clone, Debug)]
pub struct Options {
    pub seed: u64,
    /// io-threads of the server, one run each.
    pub threads: Vec<usize>,
    /// Elements of the large collections, one run each.
    pub elements: Vec<u64>,
    pub snapshots: u64,
    /// What the server gets besides.
    pub environment: Vec<(String, String)>,
}

const LANES: usize = 4;
const DATABASES: [&str; 2] = ["--databases", "16"];
/// Loading and reading millions of elements takes a while.
const DEADLINE: Duration = Duration::from_secs(300);

/// True when each snapshot is of one instant.
pub fn run(options: &Options) -> Result<bool> {
    let failed = try_run(options).err();
    if let Some(error) = &failed {
        println!("{error:#}");
        println!(
            "durability instant: FAILED. The same again, though not the same timing: durability instant --seed {}",
            options.seed
        );
    }
    Ok(failed.is_none())
}

/// The same, with what went wrong as an error.
pub fn try_run(options: &Options) -> Result<()> {
    for &threads in &options.threads {
        for &elements in &options.elements {
            let steps = run_one(options, threads, elements)
                .with_context(|| format!("{threads} threads, {elements} elements"))?;
            println!(
                "durability instant: {threads} threads, {elements} elements: {} snapshots and rewrites, {steps} steps",
                options.snapshots
            );
        }
    }
    Ok(())
}

fn run_one(options: &Options, threads: usize, elements: u64) -> Result<u64> {
    let mut random = random_from(options.seed ^ (threads as u64) << 32 ^ elements);
    let mut server = ServerOptions::new(Kind::Spinel)
        .arguments(DATABASES)
        .arguments(["--io-threads", &threads.to_string()])
        .arguments(["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"]);
    for (name, value) in &options.environment {
        server = server.environment(name, value);
    }
    let server = server.start()?;
    wait_until_loaded(&server)?;
    let clock = Clock::start();
    let mut lanes: Vec<Lane> = (0..LANES)
        .map(|index| {
            // One lane is rich; its neighbours are quick.
            let work = Work { depth_max: 8, elements: if index == 0 { elements } else { 0 } };
            Lane::new(index, work, clock, random_from(random.random()))
        })
        .collect();
    lanes[0].fill(&mut patient(&server), &Watch::default())?;
    lanes[0].settle();
    let mut steps = 0;
    for number in 0..options.snapshots {
        let rewrites = number % 2 == 1;
        let watch = Watch::default();
        let (from_us, to_us) = std::thread::scope(|scope| -> Result<(u64, u64)> {
            let running: Vec<_> = lanes
                .iter_mut()
                .map(|lane| {
                    let (watch, mut client) = (&watch, patient(&server));
                    scope.spawn(move || lane.run(&mut client, watch))
                })
                .collect();
            let before = random.random_range(1..300);
            let enough = || (watch.acked.load(Relaxed) > before || watch.stop.load(Relaxed)).then_some(());
            let snapped = wait_for(DEADLINE, enough)
                .context("nothing is answered")
                .and_then(|()| snapshot(&server, clock, rewrites));
            watch.stop.store(true, Relaxed);
            for lane in running {
                lane.join().expect("lanes do not panic")?;
            }
            snapped
        })?;
        let what = if rewrites { "BGREWRITEAOF" } else { "BGSAVE" };
        check_snapshot(&server, &lanes, rewrites, (from_us, to_us))
            .with_context(|| format!("{what} number {number}"))?;
        if rewrites {
            check_whole(&server, &lanes).context("base and incremental file")?;
        }
        for lane in &mut lanes {
            steps += lane.steps.len() as u64;
            lane.settle();
        }
    }
    Ok(steps)
}

fn patient(server: &Server) -> Client {
    let mut client = server.client();
    client.set_timeout(DEADLINE).expect("a timeout can be set");
    client
}

/// Takes one, waits for its end, and says when the command was sent and answered.
fn snapshot(server: &Server, clock: Clock, rewrites: bool) -> Result<(u64, u64)> {
    let mut client = patient(server);
    let sent_us = clock.now_us();
    let reply = client.line(if rewrites { "BGREWRITEAOF" } else { "BGSAVE" });
    let replied_us = clock.now_us();
    ensure!(!reply.is_error(), "{reply}");
    let field = if rewrites { "aof_rewrite_in_progress:0" } else { "rdb_bgsave_in_progress:0" };
    wait_for(DEADLINE, || client.line("INFO persistence").text().filter(|text| text.contains(field)).map(|_| ()))
        .context("the snapshot does not end")?;
    let info = client.line("INFO persistence");
    let status = if rewrites { "aof_last_bgrewrite_status:ok" } else { "rdb_last_bgsave_status:ok" };
    ensure!(info.text().is_some_and(|text| text.contains(status)), "the snapshot has failed:\n{}", server.log());
    Ok((sent_us, replied_us))
}

/// What the snapshot's file holds.
fn check_snapshot(server: &Server, lanes: &[Lane], rewrites: bool, window: (u64, u64)) -> Result<()> {
    let home = tempfile::tempdir()?;
    let file = if rewrites { base_of(server.directory())? } else { server.directory().join("dump.rdb") };
    std::fs::copy(file, home.path().join("dump.rdb"))?;
    let dumps = load(home.path(), "no", lanes)?;
    let explained =
        lanes.iter().zip(&dumps).map(|(lane, dump)| lane.explain(dump, window.0)).collect::<Result<Vec<_>>>()?;
    check_instant(&explained)?;
    ensure!(
        is_within(&explained, window.0, window.1),
        "the state is not of an instant between {window:?}, when the command was sent and answered: {explained:?}"
    );
    Ok(())
}

/// Base and incremental file together are everything.
fn check_whole(server: &Server, lanes: &[Lane]) -> Result<()> {
    let durable = server.client().line("WAITAOF 1 0 10000");
    ensure!(durable.elements().is_some_and(|counts| counts[0].integer() == Some(1)), "WAITAOF replies {durable}");
    let home = tempfile::tempdir()?;
    copy_folder(&server.directory().join("appendonlydir"), &home.path().join("appendonlydir"))?;
    for (lane, dump) in lanes.iter().zip(load(home.path(), "yes", lanes)?) {
        lane.explain(&dump, u64::MAX)?;
    }
    Ok(())
}

fn load(directory: &Path, appendonly: &str, lanes: &[Lane]) -> Result<Vec<Dump>> {
    let directory = directory.to_str().context("a plain name")?;
    let server = ServerOptions::new(Kind::Spinel)
        .arguments(DATABASES)
        .arguments(["--dir", directory, "--appendonly", appendonly])
        .start()
        .context("the file is not loaded")?;
    wait_until_loaded(&server)?;
    let mut client = patient(&server);
    lanes.iter().map(|lane| Model::read(&mut client, lane.databases())).collect()
}

fn base_of(directory: &Path) -> Result<PathBuf> {
    let folder = directory.join("appendonlydir");
    let manifest = std::fs::read_to_string(folder.join("appendonly.aof.manifest"))?;
    let base = manifest.lines().find(|line| line.ends_with("type b")).context("the manifest lists no base")?;
    Ok(folder.join(base.split(' ').nth(1).context("a manifest's second word is a name")?))
}

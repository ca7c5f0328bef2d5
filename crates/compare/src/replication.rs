//! What replicas cost: a full synchronisation, in time and to others; a primary that feeds two replicas; a replica that applies what it is
//! fed. Each server with replicas of its own kind.
//!
//! Synchronisation goes from memory to memory wherever a server can do that, and begins at once. Servers may use two cores for it.

use crate::arguments::Options;
use crate::cpu::{self, Cores, CpuMeter};
use crate::load::{Load, Until};
use crate::persistence::stall::watched;
use crate::persistence::{self, Line, PATIENCE, SET, fill, told};
use crate::report::{Bound, Report};
use crate::request::Template;
use crate::target::{Info, Target};
use anyhow::{Context, Result, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::Kind;

pub const TABLE: &str = "replication";

const ARGUMENTS: &[&str] = &[
    "--repl-diskless-sync",
    "yes",
    "--repl-diskless-sync-delay",
    "0",
    "--repl-diskless-load",
    "on-empty-db",
    // Nobody is cut off for being slow, or stopped.
    "--client-output-buffer-limit",
    "replica 0 0 0",
    "--repl-timeout",
    "3600",
    "--repl-backlog-size",
    "1gb",
];

const SYNCHRONISATION_RATIO_MAX: f64 = 0.6;
const FEEDING_RATIO_MAX: f64 = 0.75;
/// 1.3 times as fast.
const APPLYING_RATIO_MAX: f64 = 1.0 / 1.3;
/// The worst reply may be so much worse.
const WORSE_MS_MAX: f64 = 2.0;

const QUIET_TIME: Duration = Duration::from_secs(4);
/// The keys that are written to while replicas follow: the question is the path of a command.
const LIVELY_KEYS: u64 = 100_000;
const REPLICAS: usize = 2;
const DEPTH: usize = 16;
/// What a replica finds when it goes on: a good 200 MB.
const APPLIED_SETS: u64 = 3_000_000;

pub fn run(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    if !options.selects(TABLE) {
        return Ok(());
    }
    eprintln!("{TABLE}");
    if options.selects_row(SYNCHRONISATION) {
        synchronisations(options, cores, report).context(SYNCHRONISATION)?;
    }
    if options.selects_row(FEEDING) || options.selects_row(APPLYING) {
        followers(options, cores, report).context("replicas that follow")?;
    }
    Ok(())
}

const SYNCHRONISATION: &str = "full synchronisation";
const FEEDING: &str = "SET on a primary of two replicas";
const APPLYING: &str = "SET on a replica that catches up";

/// Figures of one server, by rounds.
#[derive(Default)]
struct Synchronised {
    seconds: Vec<f64>,
    quiet_worst_ms: Vec<f64>,
    worst_ms: Vec<f64>,
    worse_ms: Vec<f64>,
}

/// How long an empty replica takes to have everything, and what another client of the primary sees meanwhile.
fn synchronisations(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    const ASKED: &[&[&str]] = &[&["GET", "key:00000000000"]];
    let keys = options.keys.unwrap_or(options.scaled(persistence::KEYS));
    let mut primaries = Vec::new();
    for &kind in &options.servers {
        let primary = persistence::start(kind, cores, ARGUMENTS)?;
        fill(&primary, SET, keys)?;
        primaries.push(primary);
    }
    let mut seen: Vec<Synchronised> = primaries.iter().map(|_| Synchronised::default()).collect();
    for round in 0..options.rounds {
        for turn in 0..primaries.len() {
            let index = (turn + round) % primaries.len();
            let primary = &primaries[index];
            let replica = persistence::start(primary.kind(), cores, ARGUMENTS)?;
            let quiet = watched(primary, ASKED, || {
                std::thread::sleep(options.shortened(QUIET_TIME));
                Ok(())
            })?;
            let mut seconds = 0.0;
            let during = watched(primary, ASKED, || {
                seconds = synchronise(primary, &replica, keys)?;
                Ok(())
            })?;
            let (quiet, during) = (quiet.max() as f64 / 1e6, during.max() as f64 / 1e6);
            eprintln!(
                "  {}: {seconds:.2} s, another client's worst reply {quiet:.2} ms without, {during:.2} ms with",
                primary.kind()
            );
            report.keep(json!({
                "kind": "replication",
                "workload": SYNCHRONISATION,
                "server": primary.kind().name(),
                "version": primary.version,
                "round": round,
                "keys": keys,
                "seconds": seconds,
                "quiet_worst_ms": quiet,
                "worst_ms": during,
            }))?;
            let seen = &mut seen[index];
            seen.seconds.push(seconds);
            seen.quiet_worst_ms.push(quiet);
            seen.worst_ms.push(during);
            seen.worse_ms.push(during - quiet);
        }
    }
    let mut line = |name: &str, unit: &'static str, bound: Bound, of: fn(&Synchronised) -> &Vec<f64>| {
        let figures: Vec<Vec<f64>> = seen.iter().map(|seen| of(seen).clone()).collect();
        let table = "replication: an empty replica synchronises with 3 million keys, two cores to use";
        Line { table, name, unit, bound }.report(&options.servers, &figures, report)
    };
    line(SYNCHRONISATION, "s", Bound::RatioMax(SYNCHRONISATION_RATIO_MAX), |seen| &seen.seconds)?;
    line("worst reply without", "ms", Bound::None, |seen| &seen.quiet_worst_ms)?;
    line("worst reply meanwhile", "ms", Bound::None, |seen| &seen.worst_ms)?;
    line("worst reply, how much worse", "ms", Bound::ValueMax(WORSE_MS_MAX), |seen| &seen.worse_ms)
}

/// Has the replica follow the primary. Returns the seconds until it has all keys.
fn synchronise(primary: &Target, replica: &Target, keys: u64) -> Result<f64> {
    let mut client = replica.client()?;
    client.set_timeout(PATIENCE)?;
    let began = Instant::now();
    told(&mut client, &["REPLICAOF", "127.0.0.1", &primary.address().port().to_string()])?;
    while Info::read(&mut client, "replication")?.text("master_link_status") != Some("up") {
        ensure!(began.elapsed() < PATIENCE, "the link is not up after {} s", PATIENCE.as_secs());
        // Seldom enough to be no load.
        std::thread::sleep(Duration::from_millis(5));
    }
    let seconds = began.elapsed().as_secs_f64();
    let size = client.command(&["DBSIZE"])?;
    ensure!(size.integer() == Some(keys as i64), "the replica has {size} keys, not {keys}");
    Ok(seconds)
}

/// A primary with its replicas.
struct Family {
    primary: Target,
    replicas: Vec<Target>,
}

impl Family {
    fn start(kind: Kind, keys: u64, cores: &Cores) -> Result<Family> {
        let primary = persistence::start(kind, cores, ARGUMENTS)?;
        fill(&primary, SET, keys)?;
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            let replica = persistence::start(kind, cores, ARGUMENTS)?;
            synchronise(&primary, &replica, keys)?;
            cpu::pin_process(replica.pid(), cores.load())?;
            replicas.push(replica);
        }
        cpu::pin_process(primary.pid(), cores.server())?;
        Ok(Family { primary, replicas })
    }

    /// Waits until this replica has what the primary has now.
    fn wait_for(&self, replica: &Target) -> Result<()> {
        let goal = Info::read(&mut self.primary.client()?, "replication")?.number("master_repl_offset")?;
        let mut client = replica.client()?;
        client.set_timeout(PATIENCE)?;
        let began = Instant::now();
        while Info::read(&mut client, "replication")?.number("slave_repl_offset")? < goal {
            ensure!(began.elapsed() < PATIENCE, "the replica is behind after {} s", PATIENCE.as_secs());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// CPU time of the primary per SET, until both replicas have all of them.
    fn feed(&self, options: &Options, number: &mut dyn FnMut() -> u64) -> Result<f64> {
        let mut load = Load::connect(self.primary.address(), &Template::parse(SET)?, options.connections, DEPTH)?;
        load.run(Until::Elapsed(options.warm_up()), number)?;
        let meter = CpuMeter::start(self.primary.pid())?;
        let tally = load.run(Until::Elapsed(options.measure_for), number)?;
        self.replicas.iter().try_for_each(|replica| self.wait_for(replica))?;
        Ok(meter.stop()?.total.as_secs_f64() * 1e6 / tally.replies as f64)
    }

    /// CPU time of a replica per SET that it finds when it goes on after a stop.
    fn catch_up(&self, sets: u64, options: &Options, number: &mut dyn FnMut() -> u64) -> Result<f64> {
        let replica = &self.replicas[0];
        let pid = Pid::from_raw(replica.pid() as i32).context("a process has a number")?;
        kill_process(pid, Signal::STOP)?;
        let mut load = Load::connect(self.primary.address(), &Template::parse(SET)?, options.connections, DEPTH)?;
        let written = load.run(Until::Requests(sets), number);
        let meter = CpuMeter::start(replica.pid())?;
        kill_process(pid, Signal::CONT)?;
        written?;
        self.wait_for(replica)?;
        Ok(meter.stop()?.total.as_secs_f64() * 1e6 / sets as f64)
    }
}

fn followers(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    let keys = options.scaled(LIVELY_KEYS);
    let sets = options.scaled(APPLIED_SETS);
    let mut random = SmallRng::seed_from_u64(options.seed);
    let mut number = || random.random_range(0..keys);
    let kinds = options.servers.iter();
    let families = kinds.map(|&kind| Family::start(kind, keys, cores)).collect::<Result<Vec<Family>>>()?;
    let (mut feeding, mut applying) = (vec![Vec::new(); families.len()], vec![Vec::new(); families.len()]);
    for round in 0..options.rounds {
        for turn in 0..families.len() {
            let index = (turn + round) % families.len();
            let family = &families[index];
            let mut keep = |name: &str, us: f64, figures: &mut Vec<f64>| {
                eprintln!("  {name}, {}: {us:.3} us", family.primary.kind());
                figures.push(us);
                report.keep(json!({
                    "kind": "replication",
                    "workload": name,
                    "server": family.primary.kind().name(),
                    "version": family.primary.version,
                    "round": round,
                    "keys": keys,
                    "connections": options.connections,
                    "depth": DEPTH,
                    "cpu_us": us,
                }))
            };
            if options.selects_row(FEEDING) {
                keep(FEEDING, family.feed(options, &mut number)?, &mut feeding[index])?;
            }
            if options.selects_row(APPLYING) {
                keep(APPLYING, family.catch_up(sets, options, &mut number)?, &mut applying[index])?;
            }
        }
    }
    for (name, ratio_max, figures) in
        [(FEEDING, FEEDING_RATIO_MAX, &feeding), (APPLYING, APPLYING_RATIO_MAX, &applying)]
    {
        if options.selects_row(name) {
            let table = "replication: 100,000 keys, two replicas, pipelines of 16";
            let bound = Bound::RatioMax(ratio_max);
            Line { table, name, unit: "CPU us", bound }.report(&options.servers, figures, report)?;
        }
    }
    Ok(())
}

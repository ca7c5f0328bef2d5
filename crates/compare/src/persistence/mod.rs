//! What keeping data costs: files written and read ([`files`]), replies that wait for the disk ([`always`]), memory while the disk is slow
//! ([`sink`]), and others' latency while a snapshot is taken ([`stall`]). (CPU with `everysec` is a request loop like others: a table of
//! [`workload`](crate::workload).)
//!
//! Here servers may use two cores, as they would: a fork and a walker thread are both there to use another core. The load is on the second one.

mod always;
mod files;
mod sink;
pub(crate) mod stall;

use crate::arguments::Options;
use crate::cpu::{self, Cores};
use crate::load::{self, Load, Until};
use crate::report::{Bound, Figure, Report, median};
use crate::request::Template;
use crate::rounds::ratio;
use crate::target::{Info, Target};
use anyhow::{Context, Result, bail, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use testkit::{Client, Kind, wait_for};

pub const TABLES: [&str; 4] = [FILES, ALWAYS, SINK, STALL];
const FILES: &str = "persistence-files";
const ALWAYS: &str = "persistence-always";
const SINK: &str = "persistence-sink";
const STALL: &str = "persistence-stall";

/// A key of 15 bytes and a value of 32 in which nothing repeats: compressing is tried and does not help, as with most real values so short.
pub(crate) const SET: &str = "SET key:{n:11} aQ3zX9mK7cT1vB5nR8wL2yF6hJ4gD0sE";
pub(crate) const KEYS: u64 = 3_000_000;

/// Nothing here takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub fn run(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    for name in TABLES.into_iter().filter(|name| options.selects(name)) {
        eprintln!("{name}");
        let measured = match name {
            FILES => files::run(options, cores, report),
            ALWAYS => always::run(options, cores, report),
            SINK => sink::run(options, cores, report),
            STALL => stall::run(options, cores, report),
            _ => unreachable!("tables are these"),
        };
        measured.context(name)?;
    }
    Ok(())
}

/// Starts a server that may use two cores from its first instruction on, and waits until it has loaded its data: what it does at its start is
/// measured, too.
pub(crate) fn start(kind: Kind, cores: &Cores, arguments: &[&str]) -> Result<Target> {
    // Children inherit it.
    cpu::pin_self(cores.pair())?;
    let target = Target::start_with(kind, 1, arguments);
    cpu::pin_self(cores.load())?;
    let target = target?;
    let mut client = target.client()?;
    client.set_timeout(PATIENCE)?;
    let began = Instant::now();
    loop {
        let reply = client.command(&["PING"])?;
        if !reply.is_error() {
            return Ok(target);
        }
        ensure!(reply.is_error_of("LOADING") && began.elapsed() < PATIENCE, "PING: {reply}");
        // Seldom enough to be no load: the times are hundreds of it.
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn fill(target: &Target, request: &str, count: u64) -> Result<()> {
    load::fill(target.address(), &Template::parse(request)?, count, &mut load::sequence(0)).context("filling")?;
    Ok(())
}

pub(crate) fn told(client: &mut Client, command: &[&str]) -> Result<()> {
    let reply = client.command(command)?;
    ensure!(!reply.is_error(), "{}: {reply}", command.join(" "));
    Ok(())
}

/// Waits until a job in the background has ended well.
fn wait_for_job(client: &mut Client, under_way: &str, status: &str) -> Result<()> {
    let ended = wait_for(PATIENCE, || {
        let info = Info::read(client, "persistence");
        match &info {
            // A rewrite that waits for its turn is under way, too.
            Ok(read) if read.text(under_way) == Some("0") && read.text("aof_rewrite_scheduled") == Some("0") => {
                Some(info)
            }
            Ok(_) => None,
            Err(_) => Some(info),
        }
    });
    let Some(info) = ended else { bail!("{under_way} after {} s", PATIENCE.as_secs()) };
    let info = info?;
    ensure!(info.text(status) == Some("ok"), "{status}: {:?}", info.text(status));
    Ok(())
}

/// One line of a table: figures of servers by rounds, of which the medians and the ratio are shown.
pub(crate) struct Line<'a> {
    pub(crate) table: &'a str,
    pub(crate) name: &'a str,
    pub(crate) unit: &'static str,
    pub(crate) bound: Bound,
}

impl Line<'_> {
    pub(crate) fn report(self, servers: &[Kind], figures: &[Vec<f64>], report: &mut Report) -> Result<()> {
        let labels: Vec<&str> = servers.iter().map(|kind| kind.name()).collect();
        report.figure(Figure {
            table: self.table.into(),
            name: self.name.into(),
            unit: self.unit,
            values: labels.iter().zip(figures).map(|(label, rounds)| ((*label).to_owned(), median(rounds))).collect(),
            subject: Kind::Spinel.name().into(),
            ratio: ratio(Kind::Spinel.name(), &labels, figures),
            bound: self.bound,
        })
    }
}

/// Writes without a pause, on a thread of its own, until it is ended.
struct Pressure {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Pressure {
    /// The requests take turns, all at keys (or fields) that are there.
    fn start(target: &Target, requests: &[&str], keys: u64, seed: u64) -> Result<Pressure> {
        let mut loads = requests
            .iter()
            .map(|request| Load::connect(target.address(), &Template::parse(request)?, 8, 16))
            .collect::<Result<Vec<Load>>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut written = 0;
            while !stopped.load(Relaxed) {
                for load in &mut loads {
                    written +=
                        load.run(Until::Requests(REQUESTS_A_TURN), &mut || random.random_range(0..keys))?.replies;
                }
            }
            Ok(written)
        });
        Ok(Pressure { stop, thread })
    }

    /// How many requests were answered.
    fn end(self) -> Result<u64> {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("it returns its errors")
    }
}

/// Short beside a measurement, long beside the pause at its end.
const REQUESTS_A_TURN: u64 = 4_096;

/// The most that is resident while `work` lasts, beyond what was before.
fn growth_while<T>(target: &Target, work: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
    let before = target.resident_bytes()?;
    let is_over = AtomicBool::new(false);
    let (result, most) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = before;
            while !is_over.load(Relaxed) {
                // One that is gone is found by the work.
                most = most.max(target.resident_bytes().unwrap_or(0));
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        let result = work();
        is_over.store(true, Relaxed);
        (result, watch.join().expect("it only reads"))
    });
    Ok((result?, most - before))
}

/// What a server that forks has copied for its child; of one that does not, this is in its own resident memory already.
fn copied_for_child(target: &Target, client: &mut Client, field: &str) -> Result<u64> {
    if target.kind() == Kind::Spinel { Ok(0) } else { Info::read(client, "persistence")?.number(field) }
}

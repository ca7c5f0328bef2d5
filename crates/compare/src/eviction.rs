//! Eviction: what it costs, and how well it chooses.
//!
//! - **cost**: memory is full of small keys, and each SET brings a new one, so that another has to go. CPU per SET under `allkeys-lru`.
//! - **hits**: a cache in front of a Zipf load: a key that is not there is set. Each server may keep as many keys as the others, so that the hit rate says
//!   how well the policy chooses, and not how small its keys are: its limit begins at what so many keys use there, and is set anew every second, by what
//!   it has too few or too many. The load is paced: policies count in seconds, and a faster server must not see fewer of them.
//! - **bytes**: the same with as many bytes for everybody, which is what users give it.

use crate::arguments::Options;
use crate::cpu::{self, Cores, CpuMeter};
use crate::load::{self, Load, Until, sequence};
use crate::report::{Bound, Figure, Report, median};
use crate::request::Template;
use crate::target::{Info, Target};
use anyhow::{Context, Result, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::{Client, Kind};

/// Keys that fill the memory whose overflow is measured.
const FULL_KEYS: u64 = 1_000_000;
const SET: &str = "SET key:{n:11} {v:32}";
const DEPTH: usize = 16;
const COST_RATIO_MAX: f64 = 0.80;

/// Keys that a cache may keep, and keys that are asked for.
const CACHED_KEYS: u64 = 100_000;
const ASKED_KEYS: u64 = 1_000_000;
/// As in YCSB.
const ZIPF_EXPONENT: f64 = 0.99;
const REQUESTS_PER_SECOND: u64 = 50_000;
const PACED_BATCH: u64 = 100;
const BUFFERS_BYTES: u64 = 256 << 10;
/// The first part fills the cache, the second is counted.
const WARMING_TIME: Duration = Duration::from_secs(10);
const COUNTED_TIME: Duration = Duration::from_secs(20);
/// How often the limit is set anew where it goes by keys, and how far from what they should be they may be on average.
const STEP_TIME: Duration = Duration::from_secs(1);
const KEYS_OFF_MAX: f64 = 0.005;
/// The rate of the best peer divided by ours. Two runs of one server differ by less than a hundredth.
const HITS_RATIO_MAX: f64 = 1.005;

pub fn run(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    if options.selects_row("cost") {
        cost(options, cores, report)?;
    }
    let zipf = Zipf::new(options.scaled(ASKED_KEYS), ZIPF_EXPONENT);
    for policy in ["allkeys-lru", "allkeys-lfu"] {
        for limit in [Limit::Keys, Limit::Bytes] {
            let name = format!("{policy} by {}", limit.name());
            if options.selects_row(&name) {
                hits(&name, policy, limit, &zipf, options, cores, report)?;
            }
        }
    }
    Ok(())
}

fn cost(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    let template = Template::parse(SET)?;
    let keys = options.scaled(FULL_KEYS);
    let mut full = Vec::new();
    for &kind in &options.servers {
        let target = Target::start_with(kind, 1, &["--maxmemory-policy", "allkeys-lru"])?;
        cpu::pin_process(target.pid(), cores.server())?;
        load::fill(target.address(), &template, keys, &mut sequence(0)).context("filling")?;
        limit_to_used(&mut target.client()?)?;
        full.push((kind, target, keys));
    }
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); full.len()];
    for round in 0..options.rounds {
        for turn in 0..full.len() {
            let index = (turn + round) % full.len();
            let (kind, target, next) = &mut full[index];
            let evicted_before = evicted(&mut target.client()?)?;
            let mut load = Load::connect(target.address(), &template, options.connections, DEPTH)?;
            let mut number = || {
                *next += 1;
                *next
            };
            let warming = load.run(Until::Elapsed(options.warm_up()), &mut number)?;
            let meter = CpuMeter::start(target.pid())?;
            let tally = load.run(Until::Elapsed(options.measure_for), &mut number)?;
            let time = meter.stop()?;
            let cpu_us = time.total.as_secs_f64() * 1e6 / tally.replies as f64;
            let evicted = evicted(&mut target.client()?)? - evicted_before;
            let sent = warming.replies + tally.replies;
            ensure!(options.quick || evicted * 10 > sent * 9, "{kind} evicted {evicted} keys for {sent} new ones");
            report.keep(json!({
                "kind": "eviction",
                "workload": "cost",
                "server": kind.name(),
                "version": target.version,
                "round": round,
                "requests": tally.replies,
                "evicted": evicted,
                "cpu_us": cpu_us,
            }))?;
            samples[index].push(cpu_us);
        }
        eprintln!("  cost: round {} of {}", round + 1, options.rounds);
    }
    let values: Vec<(Kind, Vec<f64>)> = full.iter().map(|(kind, ..)| *kind).zip(samples).collect();
    report.figure(figure(
        "SET to full memory, allkeys-lru",
        "CPU us",
        &values,
        |ours, best| ours / best,
        COST_RATIO_MAX,
    ))
}

/// What each cache is given the same of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limit {
    Keys,
    Bytes,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Limit::Keys => "keys",
            Limit::Bytes => "bytes",
        }
    }
}

fn hits(
    name: &str,
    policy: &str,
    limit: Limit,
    zipf: &Zipf,
    options: &Options,
    cores: &Cores,
    report: &mut Report,
) -> Result<()> {
    let mut values = Vec::new();
    for &kind in &options.servers {
        let target = Target::start_with(kind, 1, &["--maxmemory-policy", policy])?;
        cpu::pin_process(target.pid(), cores.server())?;
        let mut client = target.client()?;
        let cached = options.scaled(CACHED_KEYS);
        let mut held = match limit {
            Limit::Keys => {
                let empty_bytes = used_bytes(&mut client)?;
                let template = Template::parse("SET zipf:{n:10} {v:32}")?;
                load::fill(target.address(), &template, cached, &mut sequence(0))?;
                let key_bytes = (used_bytes(&mut client)? - empty_bytes) / cached;
                Some(Held { keys: cached, key_bytes, limit_bytes: limit_to_used(&mut client)? })
            }
            Limit::Bytes => {
                // About what so many keys use in the larger of the peers, beside what an empty server does.
                // On a small scale the buffers of clients are most of it.
                let bytes = used_bytes(&mut client)? + (cached * 100).max(4 << 20);
                set_limit(&mut client, bytes)?;
                None
            }
        };
        let mut random = SmallRng::seed_from_u64(options.seed);
        stepwise(&mut client, zipf, options.shortened(WARMING_TIME), &mut held, &mut random)?;
        let Outcome { asked, hits: hit, keys } =
            stepwise(&mut client, zipf, options.shortened(COUNTED_TIME), &mut held, &mut random)?;
        let rate = hit as f64 / asked as f64;
        eprintln!("  {name} on {kind}: {:.2} % hits, {keys:.0} keys", rate * 100.0);
        let off = (keys / cached as f64 - 1.0).abs();
        ensure!(
            options.quick || limit == Limit::Bytes || off <= KEYS_OFF_MAX,
            "{kind} held {keys:.0} keys on average, and was to hold {cached}"
        );
        report.keep(json!({
            "kind": "eviction",
            "workload": name,
            "server": kind.name(),
            "version": target.version,
            "asked": asked,
            "hits": hit,
            "keys": keys,
        }))?;
        values.push((kind, vec![rate * 100.0]));
    }
    report.figure(figure(&format!("hits, {name}"), "%", &values, |ours, best| best / ours, HITS_RATIO_MAX))
}

/// `better` divides so that less is better for us.
fn figure(
    name: &str,
    unit: &'static str,
    values: &[(Kind, Vec<f64>)],
    better: fn(f64, f64) -> f64,
    ratio_max: f64,
) -> Figure {
    let ours = values.iter().find(|(kind, _)| *kind == Kind::Spinel);
    let rounds = values.iter().map(|(_, rounds)| rounds.len()).min().unwrap_or(0);
    let ratios: Vec<f64> = (0..rounds)
        .filter_map(|round| {
            let rivals = values.iter().filter(|(kind, _)| *kind != Kind::Spinel);
            rivals.map(|(_, rounds)| Some(better(ours?.1[round], rounds[round]))).collect::<Option<Vec<f64>>>()
        })
        .filter_map(|ratios| ratios.into_iter().max_by(f64::total_cmp))
        .collect();
    Figure {
        table: "eviction: new keys in full memory".into(),
        name: name.into(),
        unit,
        values: values.iter().map(|(kind, rounds)| (kind.name().into(), median(rounds))).collect(),
        subject: Kind::Spinel.name().into(),
        ratio: (!ratios.is_empty()).then(|| median(&ratios)),
        bound: Bound::RatioMax(ratio_max),
    }
}

/// A cache that is to hold so many keys, each of which uses about so much.
struct Held {
    keys: u64,
    key_bytes: u64,
    limit_bytes: u64,
}

impl Held {
    /// Sets the limit so that the server comes to hold what it should, which has so many keys now.
    fn adjust(&mut self, client: &mut Client, keys: u64) -> Result<()> {
        let missing = i64::try_from(self.keys)? - i64::try_from(keys)?;
        self.limit_bytes = self.limit_bytes.saturating_add_signed(missing * i64::try_from(self.key_bytes)?);
        set_limit(client, self.limit_bytes)
    }
}

/// What has come of asking.
#[derive(Default)]
struct Outcome {
    asked: u64,
    hits: u64,
    /// On average.
    keys: f64,
}

/// [`paced`] in steps, behind each of which the limit is set anew.
fn stepwise(
    client: &mut Client,
    zipf: &Zipf,
    time: Duration,
    held: &mut Option<Held>,
    random: &mut SmallRng,
) -> Result<Outcome> {
    let steps = time.div_duration_f64(STEP_TIME).ceil() as u32;
    let mut outcome = Outcome::default();
    for _ in 0..steps {
        let (asked, hits) = paced(client, zipf, time / steps, random)?;
        let keys = client.command(&["DBSIZE"])?.integer().and_then(|keys| u64::try_from(keys).ok());
        let keys = keys.context("DBSIZE is a number")?;
        outcome.asked += asked;
        outcome.hits += hits;
        outcome.keys += keys as f64 / f64::from(steps);
        if let Some(held) = held {
            held.adjust(client, keys)?;
        }
    }
    Ok(outcome)
}

/// From now on the server may use what it uses, and a little for the buffers of clients. Says what that is.
fn limit_to_used(client: &mut Client) -> Result<u64> {
    let bytes = used_bytes(client)? + BUFFERS_BYTES;
    set_limit(client, bytes)?;
    Ok(bytes)
}

fn set_limit(client: &mut Client, bytes: u64) -> Result<()> {
    let reply = client.command(&["CONFIG", "SET", "maxmemory", &bytes.to_string()])?;
    ensure!(!reply.is_error(), "setting maxmemory: {reply}");
    Ok(())
}

fn used_bytes(client: &mut Client) -> Result<u64> {
    Info::read(client, "memory")?.number("used_memory")
}

fn evicted(client: &mut Client) -> Result<u64> {
    Info::read(client, "stats")?.number("evicted_keys")
}

/// Asks at a steady rate, and sets what is not there. Says how often it has asked, and how often it was there.
fn paced(client: &mut Client, zipf: &Zipf, time: Duration, random: &mut SmallRng) -> Result<(u64, u64)> {
    let batches = REQUESTS_PER_SECOND * time.as_millis() as u64 / 1000 / PACED_BATCH;
    let period = Duration::from_secs(1).mul_f64(PACED_BATCH as f64 / REQUESTS_PER_SECOND as f64);
    let value = "v".repeat(32);
    let started = Instant::now();
    let mut hits = 0;
    for batch in 0..batches.max(1) {
        let names: Vec<String> = (0..PACED_BATCH).map(|_| format!("zipf:{:010}", zipf.draw(random))).collect();
        let gets: Vec<Vec<&str>> = names.iter().map(|name| vec!["GET", name]).collect();
        let replies = client.pipeline(&gets)?;
        let missed = names.iter().zip(&replies).filter(|(_, reply)| reply.is_null());
        let sets: Vec<Vec<&str>> = missed.map(|(name, _)| vec!["SET", name, &value]).collect();
        hits += PACED_BATCH - sets.len() as u64;
        for reply in client.pipeline(&sets)? {
            ensure!(!reply.is_error(), "SET: {reply}");
        }
        let due = started + period.mul_f64(batch as f64 + 1.0);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok((batches.max(1) * PACED_BATCH, hits))
}

/// Numbers below a bound, of which number k comes with a probability like 1 / (k + 1)^exponent. Neighbours in popularity are no neighbours by name.
struct Zipf {
    /// The chance that a number is at most this.
    sums: Vec<f64>,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Zipf {
        let mut sum = 0.0;
        let mut sums: Vec<f64> = (1..=count)
            .map(|rank| {
                sum += 1.0 / (rank as f64).powf(exponent);
                sum
            })
            .collect();
        sums.iter_mut().for_each(|part| *part /= sum);
        Zipf { sums }
    }

    fn draw(&self, random: &mut SmallRng) -> u64 {
        let chance: f64 = random.random();
        self.sums.partition_point(|&sum| sum < chance).min(self.sums.len() - 1) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_come_as_often_as_they_should() {
        let zipf = Zipf::new(1000, 1.0);
        let mut random = SmallRng::seed_from_u64(7);
        let mut counts = vec![0u32; 1000];
        (0..200_000).for_each(|_| counts[zipf.draw(&mut random) as usize] += 1);
        // The sum of 1/k up to 1000 is 7.485.
        for (rank, expected) in [(0, 26_719.0), (1, 13_360.0), (9, 2_672.0)] {
            let ratio = f64::from(counts[rank]) / expected;
            assert!((0.9..1.1).contains(&ratio), "number {rank}: {} times", counts[rank]);
        }
    }
}

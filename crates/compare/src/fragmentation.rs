//! What deletions leave behind: millions of keys of mixed types and sizes, of which four fifths go, at random.
//!
//! What then stays resident is compared with what as many keys of the same kinds took on the way up. Redis is measured twice, as it starts
//! and with `activedefrag yes`, which is what Spinel's compaction stands in for.

use crate::arguments::Options;
use crate::cpu::{self, Cores};
use crate::load;
use crate::report::{Bound, Figure, Report};
use crate::request::Template;
use crate::target::{Info, Target};
use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::{Kind, wait_until};

const KEYS: u64 = 2_000_000;
/// One in so many stays.
const REMAINING_DIVISOR: u64 = 5;
/// What a key is called, and what makes it. The kinds come in turns, so that they lie beside each other.
const KINDS: [(&str, &str); 8] = [
    ("a:{n:10}", "SET a:{n:10} {v:16}"),
    ("b:{n:10}", "SET b:{n:10} {v:100}"),
    ("c:{n:10}", "SET c:{n:10} {v:400}"),
    ("d:{n:10}", "SET d:{n:10} {v:1500}"),
    ("e:{n:10}", "HSET e:{n:10} name {v:20} mail {v:30} city {v:12}"),
    ("f:{n:10}", "RPUSH f:{n:10} {v:10} {v:20} {v:30} {v:40}"),
    ("g:{n:10}", "ZADD g:{n:10} 1 {v:8}a 2 {v:8}b 3 {v:8}c 4 {v:8}d 5 {v:8}e"),
    ("h:{n:10}", "HSET h:{n:10} text {v:600} state {v:6}"),
];
/// So many of a kind in a row.
const TURN: usize = 500;
/// Resident bytes after the deletions, against those that as many keys took on the way up.
const RATIO_MAX: f64 = 1.25;
/// Memory is given back in the background: it counts once it has not become less for so long.
const AT_REST: Duration = Duration::from_secs(10);
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(120);

pub fn run(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    let mut ratios = Vec::new();
    for &kind in &options.servers {
        ratios.push((kind.name().to_owned(), measure(kind, kind.name(), &[], options, cores, report)?));
        if kind == Kind::Redis82 {
            let label = format!("{} defragmenting", kind.name());
            let arguments = ["--activedefrag", "yes"];
            ratios.push((label.clone(), measure(kind, &label, &arguments, options, cores, report)?));
        }
    }
    report.figure(Figure {
        table: "fragmentation: resident memory after deletions at random, against the same keys on the way up".into(),
        name: format!("{} M keys, one in {REMAINING_DIVISOR} stays", options.scaled(KEYS) as f64 / 1e6),
        unit: "memory ratio",
        values: ratios,
        subject: Kind::Spinel.name().into(),
        ratio: None,
        bound: Bound::ValueMax(RATIO_MAX),
    })
}

fn measure(
    kind: Kind,
    label: &str,
    arguments: &[&str],
    options: &Options,
    cores: &Cores,
    report: &mut Report,
) -> Result<f64> {
    eprintln!("fragmentation of {label}");
    let target = Target::start_with(kind, 1, arguments)?;
    cpu::pin_process(target.pid(), cores.server())?;
    let mut client = target.client()?;
    let empty = target.resident_bytes()?;
    let of_each = u32::try_from(options.keys.unwrap_or(options.scaled(KEYS)) / KINDS.len() as u64)?.max(10);
    let remaining = of_each / REMAINING_DIVISOR as u32;
    let makers = KINDS.map(|(_, make)| Template::parse(make));
    let removers = KINDS.map(|(name, _)| Template::parse(&format!("DEL {name}")));

    let numbers: Vec<u32> = (0..of_each).collect();
    let (first, others) = numbers.split_at(remaining as usize);
    in_turns(&target, &makers, &KINDS.map(|_| first))?;
    let on_the_way_up = target.resident_bytes()?;
    in_turns(&target, &makers, &KINDS.map(|_| others))?;
    let at_peak = target.resident_bytes()?;

    let mut random = SmallRng::seed_from_u64(options.seed);
    let shuffled = KINDS.map(|_| {
        let mut numbers = numbers.clone();
        numbers.shuffle(&mut random);
        numbers
    });
    let deleted: [&[u32]; KINDS.len()] = std::array::from_fn(|at| &shuffled[at][remaining as usize..]);
    in_turns(&target, &removers, &deleted)?;
    let left = client.command(&["DBSIZE"])?.integer().context("DBSIZE is no integer")?;
    let expected = i64::from(remaining) * KINDS.len() as i64;
    ensure!(left == expected, "{left} keys are left, not {expected}");

    let at_once = target.resident_bytes()?;
    let (mut least, mut since) = (at_once, Instant::now());
    wait_until(if options.quick { Duration::ZERO } else { GIVE_BACK_WITHIN }, || {
        // A server that is gone fails below.
        let now = target.resident_bytes().unwrap_or(0);
        // A MiB less in the whole time is rest.
        if now + (1 << 20) < least {
            (least, since) = (now, Instant::now());
        }
        since.elapsed() >= AT_REST
    });
    let after = target.resident_bytes()?;
    let info = Info::read(&mut client, "all")?;
    let used = info.number("used_memory")?;
    let counters: Vec<(&str, u64)> = ["active_defrag_hits", "active_defrag_misses", "total_active_defrag_time"]
        .into_iter()
        .filter_map(|name| Some((name, info.number(name).ok()?)))
        .collect();
    let mib = |bytes: u64| bytes >> 20;
    eprintln!(
        "  {} MiB resident for the first {expected} keys, {} for all; after the deletions {}, at rest {}, of which {} are used; {counters:?}",
        mib(on_the_way_up),
        mib(at_peak),
        mib(at_once),
        mib(after),
        mib(used),
    );
    let ratio = after.saturating_sub(empty) as f64 / on_the_way_up.saturating_sub(empty).max(1) as f64;
    report.keep(json!({
        "kind": "fragmentation",
        "server": label,
        "version": target.version,
        "empty_bytes": empty,
        "up_bytes": on_the_way_up,
        "peak_bytes": at_peak,
        "at_once_bytes": at_once,
        "after_bytes": after,
        "used_bytes": used,
        "ratio": ratio,
    }))?;
    Ok(ratio)
}

/// Requests for these numbers of each kind, a few of one and then a few of the next.
fn in_turns(
    target: &Target,
    templates: &[Result<Template>; KINDS.len()],
    numbers: &[&[u32]; KINDS.len()],
) -> Result<()> {
    let mut turns = numbers.map(|numbers| numbers.chunks(TURN));
    let mut is_done = false;
    while !is_done {
        is_done = true;
        for (template, turns) in templates.iter().zip(&mut turns) {
            let template = template.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            if let Some(turn) = turns.next() {
                let mut next = turn.iter().map(|&number| u64::from(number));
                load::fill(target.address(), template, turn.len() as u64, &mut || {
                    next.next().expect("one for each key")
                })?;
                is_done = false;
            }
        }
    }
    Ok(())
}

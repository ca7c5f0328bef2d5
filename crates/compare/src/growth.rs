//! Growing to tens of millions of keys and back: the table must never move much at once, and the memory must come back.
//!
//! Pauses are bounded by counted work and not by a clock: the server keeps the most keys that one command moved and the most bytes
//! of table it copied (`INFO memory`). The keys are deleted in the two orders that matter to an allocator: in the order they came, which
//! empties its pages one after the other, and at random, which leaves a few survivors on every page.

use crate::arguments::Options;
use crate::cpu::{self, Cores};
use crate::load::{self, sequence};
use crate::report::{Bound, Figure, Report};
use crate::request::Template;
use crate::target::{Info, Target};
use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::json;
use std::time::Duration;
use testkit::{Kind, wait_until};

/// The field of `INFO memory` with the most keys that one command moved within the tables, and its bound.
pub const MOVED_KEYS: (&str, u64) = ("table_moved_keys_max", 512);
/// The same for bytes of table and directory copied.
pub const COPIED_BYTES: (&str, u64) = ("table_copied_bytes_max", 64 * 1024);
/// Resident bytes after the deletions, against those that the same number of keys took on the way up.
const GIVEN_BACK_RATIO_MAX: f64 = 1.5;
/// Memory may be given back by work in the background, which needs the time to do it.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(60);

const PEAK_KEYS: u64 = 50_000_000;
const REMAINING_KEYS: u64 = 5_000_000;
const SET: &str = "SET {n:16} {v:8}";
const DELETE: &str = "DEL {n:16}";
const GET: &str = "GET {n:16}";
const SURVIVORS_CHECKED: u64 = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Random,
    Insertion,
}

pub fn run(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    for &kind in &options.servers {
        for order in [Order::Random, Order::Insertion] {
            grow_and_shrink(kind, order, options, cores, report)?;
        }
    }
    Ok(())
}

fn grow_and_shrink(kind: Kind, order: Order, options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    let peak = options.keys.unwrap_or(options.scaled(PEAK_KEYS));
    let remaining = (peak as u128 * REMAINING_KEYS as u128 / PEAK_KEYS as u128) as u64;
    let name = format!(
        "{} keys, back to {}, {}",
        millions(peak),
        millions(remaining),
        match order {
            Order::Random => "at random",
            Order::Insertion => "oldest first",
        }
    );
    eprintln!("growth of {kind}: {name}");

    let target = Target::start(kind, 1)?;
    cpu::pin_process(target.pid(), cores.server())?;
    let mut client = target.client()?;
    let empty = target.resident_bytes()?;
    let set = Template::parse(SET)?;
    let mut number = sequence(0);
    load::fill(target.address(), &set, remaining, &mut number)?;
    let on_the_way_up = target.resident_bytes()?;
    load::fill(target.address(), &set, peak - remaining, &mut number)?;
    let at_peak = target.resident_bytes()?;
    eprintln!("  grown: {} MiB resident", at_peak >> 20);

    let mut random = SmallRng::seed_from_u64(options.seed);
    let mut numbers: Vec<u32> = (0..u32::try_from(peak).context("too many keys")?).collect();
    if order == Order::Random {
        numbers.shuffle(&mut random);
    }
    let (deleted, survivors) = numbers.split_at((peak - remaining) as usize);
    let mut next = deleted.iter().map(|&number| u64::from(number));
    load::fill(target.address(), &Template::parse(DELETE)?, deleted.len() as u64, &mut || {
        next.next().expect("one for each key")
    })?;
    let left = client.command(&["DBSIZE"])?.integer().context("DBSIZE is no integer")?;
    ensure!(left as u64 == remaining, "{left} keys are left, not {remaining}");

    let ratio = |now: u64| now.saturating_sub(empty) as f64 / on_the_way_up.saturating_sub(empty).max(1) as f64;
    let mut after = target.resident_bytes()?;
    // A quick run has too few keys for a ratio, and nothing to wait for.
    wait_until(if options.quick { Duration::ZERO } else { GIVE_BACK_WITHIN }, || {
        // A server that is gone fails below.
        after = target.resident_bytes().unwrap_or(0);
        ratio(after) <= GIVEN_BACK_RATIO_MAX
    });
    // A table that loses keys is fast and small: some of those that must be there are asked for.
    let mut survivor = || u64::from(*survivors.choose(&mut random).expect("some are left"));
    let tally = load::fill(target.address(), &Template::parse(GET)?, remaining.min(SURVIVORS_CHECKED), &mut survivor)?;
    ensure!(tally.nulls == 0, "{} of {} keys that were not deleted are gone", tally.nulls, tally.replies);
    eprintln!("  shrunk: {} MiB resident", after >> 20);

    let info = Info::read(&mut client, "memory")?;
    let counter = |name: &str| match kind {
        Kind::Spinel => info.number(name).map(Some),
        _ => Ok(None),
    };
    let (moved, copied) = (counter(MOVED_KEYS.0)?, counter(COPIED_BYTES.0)?);
    report.keep(json!({
        "kind": "growth",
        "workload": name,
        "server": kind.name(),
        "version": target.version,
        "empty_bytes": empty,
        "up_bytes": on_the_way_up,
        "peak_bytes": at_peak,
        "after_bytes": after,
        "moved_keys_max": moved,
        "copied_bytes_max": copied,
    }))?;
    let mut figure = |unit: &'static str, value: f64, bound: Bound| {
        report.figure(Figure {
            table: "growth: most work of one command, and resident memory after, against the same keys on the way up"
                .into(),
            name: name.clone(),
            unit,
            values: vec![(kind.name().into(), value)],
            subject: Kind::Spinel.name().into(),
            ratio: None,
            bound,
        })
    };
    if let (Some(moved), Some(copied)) = (moved, copied) {
        figure("keys moved", moved as f64, Bound::ValueMax(MOVED_KEYS.1 as f64))?;
        figure("bytes copied", copied as f64, Bound::ValueMax(COPIED_BYTES.1 as f64))?;
    }
    figure("memory ratio", ratio(after), Bound::ValueMax(GIVEN_BACK_RATIO_MAX))
}

fn millions(keys: u64) -> String {
    format!("{} M", keys as f64 / 1e6)
}

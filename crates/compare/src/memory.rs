//! Resident bytes per key.
//!
//! Hash tables grow in leaps, so that one number of keys flatters whoever has just not leapt. The figure is the mean over 1 to 2
//! million keys in steps of 100,000, which goes once through the whole swing.

use crate::arguments::Options;
use crate::cpu::{self, Cores};
use crate::load::{self, sequence};
use crate::report::{Bound, Figure, Report};
use crate::request::Template;
use crate::rounds::ratio;
use crate::target::Target;
use crate::workload::{SHAPES, Shape};
use anyhow::{Context, Result};
use serde_json::json;
use testkit::Kind;

const FIRST_KEYS: u64 = 1_000_000;
const STEP_KEYS: u64 = 100_000;
const LAST_KEYS: u64 = 2_000_000;

pub const TABLE: &str = "memory";

/// Memory is not noisy: one pass, whatever the number of rounds.
pub fn run(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    eprintln!("{TABLE}: resident bytes a key");
    for shape in SHAPES {
        let mut values = Vec::new();
        for &kind in &options.servers {
            let bytes = bytes_per_key(kind, shape, options, cores, report)
                .with_context(|| format!("{} on {kind}", shape.name))?;
            values.push((kind.name().to_owned(), bytes));
        }
        eprintln!("  {}", shape.name);
        let labels: Vec<&str> = values.iter().map(|(label, _)| label.as_str()).collect();
        let figures: Vec<Vec<f64>> = values.iter().map(|&(_, value)| vec![value]).collect();
        let ratio = ratio(Kind::Spinel.name(), &labels, &figures);
        report.figure(Figure {
            table: format!("{TABLE}: resident bytes a key, mean over 1 to 2 million keys"),
            name: shape.name.into(),
            unit: "bytes",
            values,
            subject: Kind::Spinel.name().into(),
            ratio,
            bound: Bound::RatioMax(shape.ratio_max),
        })?;
    }
    Ok(())
}

fn bytes_per_key(kind: Kind, shape: &Shape, options: &Options, cores: &Cores, report: &mut Report) -> Result<f64> {
    let target = Target::start(kind, 1)?;
    cpu::pin_process(target.pid(), cores.server())?;
    let template = Template::parse(shape.request)?;
    let mut number = sequence(0);
    // The buffers of connections are not the keys': some have been there before the empty server is weighed.
    load::fill(target.address(), &template, 1, &mut || 0)?;
    let empty = target.resident_bytes()?;

    let mut steps = Vec::new();
    let (mut keys, mut goal) = (0, options.scaled(FIRST_KEYS));
    while goal <= options.scaled(LAST_KEYS) {
        load::fill(target.address(), &template, goal - keys, &mut number)?;
        keys = goal;
        steps.push(target.resident_bytes()?.saturating_sub(empty) as f64 / keys as f64);
        goal += options.scaled(STEP_KEYS);
    }
    report.keep(json!({
        "kind": "memory",
        "workload": shape.name,
        "server": kind.name(),
        "version": target.version,
        "empty_bytes": empty,
        "bytes_per_key": steps,
    }))?;
    Ok(steps.iter().sum::<f64>() / steps.len() as f64)
}

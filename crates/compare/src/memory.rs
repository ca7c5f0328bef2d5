//! Resident bytes per key, and per element of collections.
//!
//! Hash tables grow in leaps, so that one number of keys flatters whoever has just not leapt. The figure is the mean over 1 to 2
//! million keys in steps of 100,000, which goes once through the whole swing.
//! (Of what is large itself, from half of a smaller number to that number.)

use crate::arguments::Options;
use crate::cpu::{self, Cores};
use crate::load::{self, sequence};
use crate::report::{Bound, Figure, Report};
use crate::request::Template;
use crate::rounds::ratio;
use crate::target::Target;
use crate::workload::{KEYS, SHAPES, Shape};
use anyhow::{Context, Result};
use serde_json::json;
use testkit::Kind;

/// So many steps from half of a shape's number to all of it.
const STEPS: u64 = 10;

/// About as long as the requests that fill.
const WARM_UP: &str = "PING {v:64}";
const WARM_UP_COUNT: u64 = 20_000;

/// Memory is not noisy: one pass, whatever the number of rounds.
pub fn run(table: &str, options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    let of_what = if table == KEYS { "a key" } else { "an element" };
    eprintln!("{table}: resident bytes {of_what}");
    for shape in SHAPES.iter().filter(|shape| shape.table == table && options.selects_row(shape.name)) {
        let mut values = Vec::new();
        for &kind in &options.servers {
            let bytes = bytes_per_key(kind, shape, options, cores, report)
                .with_context(|| format!("{} on {kind}", shape.name))?;
            values.extend(bytes.map(|bytes| (kind.name().to_owned(), bytes)));
        }
        if values.is_empty() {
            continue;
        }
        eprintln!("  {}", shape.name);
        let labels: Vec<&str> = values.iter().map(|(label, _)| label.as_str()).collect();
        let figures: Vec<Vec<f64>> = values.iter().map(|&(_, value)| vec![value]).collect();
        let ratio = ratio(Kind::Spinel.name(), &labels, &figures);
        report.figure(Figure {
            table: format!(
                "{table}: resident bytes {of_what}, mean over 1 to 2 million (small hashes: 200,000 to 400,000)"
            ),
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

fn bytes_per_key(
    kind: Kind,
    shape: &Shape,
    options: &Options,
    cores: &Cores,
    report: &mut Report,
) -> Result<Option<f64>> {
    let target = Target::start(kind, 1)?;
    if !target.knows(shape.request) {
        return Ok(None);
    }
    cpu::pin_process(target.pid(), cores.server())?;
    let template = Template::parse(shape.request)?;
    let mut number = sequence(0);
    // The buffers of connections are not the keys': as many have been there, and were filled, before the empty server is weighed.
    load::fill(target.address(), &Template::parse(WARM_UP)?, WARM_UP_COUNT, &mut || 0)?;
    load::fill(target.address(), &template, 1, &mut || 0)?;
    let empty = target.resident_bytes()?;

    let mut steps = Vec::new();
    let mut keys = 0;
    for step in STEPS..=2 * STEPS {
        let goal = options.scaled(shape.last) * step / (2 * STEPS);
        load::fill(target.address(), &template, goal - keys, &mut number)?;
        keys = goal;
        steps.push(target.resident_bytes()?.saturating_sub(empty) as f64 / keys as f64);
    }
    report.keep(json!({
        "kind": "memory",
        "workload": shape.name,
        "server": kind.name(),
        "version": target.version,
        "empty_bytes": empty,
        "bytes_per_key": steps,
    }))?;
    Ok(Some(steps.iter().sum::<f64>() / steps.len() as f64))
}

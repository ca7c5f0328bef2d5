//! Running the tables: all servers of a table are up, and take turns at each workload, round after round.
//!
//! A round's ratio compares figures taken within seconds of each other, so that what the machine does meanwhile hits both sides;
//! the median of the rounds throws out the round in which it did not.

use crate::arguments::Options;
use crate::cpu::{self, Cores, CpuMeter, SyscallCounter};
use crate::load::{self, Load, Until, sequence};
use crate::report::{Bound, Figure, Report, median};
use crate::request::Template;
use crate::target::{Door, FloorProcess, Target};
use crate::workload::{Contest, Numbers, Part, Row, Setup, Table};
use anyhow::{Context, Result, bail};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use std::collections::HashSet;
use std::net::SocketAddr;
use testkit::Kind;

/// The label of the floor's column.
pub const FLOOR: &str = "floor";

/// Who takes part in a table.
struct Contender {
    label: String,
    /// `None` is the floor, which is started anew for each row, since it counts requests by their length.
    target: Option<Target>,
    cores: Vec<usize>,
}

impl Contender {
    /// Where it is set up: the door, but not encrypted.
    fn address(&self, door: &Door) -> SocketAddr {
        self.target.as_ref().map_or(door.address, Target::address)
    }
}

/// CPU time of one measurement, per request.
#[derive(Clone, Copy)]
struct Sample {
    user_us: f64,
    total_us: f64,
}

impl Sample {
    fn part(self, part: Part) -> f64 {
        match part {
            Part::User => self.user_us,
            Part::Total => self.total_us,
        }
    }
}

/// Measures one table and adds its figures.
pub fn run(table: &Table, options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    if !table.rows.iter().any(|row| options.selects_row(row.name)) {
        return Ok(());
    }
    let contenders = contenders(table, options, cores)?;
    if contenders.is_empty() {
        return Ok(());
    }
    eprintln!("{}: {}", table.name, table.title);
    let rows: Vec<&Row> = table.rows.iter().filter(|row| options.selects_row(row.name)).collect();
    let rows: Vec<&Row> = rows
        .into_iter()
        .filter(|row| {
            let requests = row.setup.iter().chain(row.before).map(|setup| setup.request).chain([row.request]);
            let targets = contenders.iter().filter_map(|contender| contender.target.as_ref());
            requests.clone().all(|request| targets.clone().all(|target| target.knows(request)))
        })
        .collect();
    let mut random = SmallRng::seed_from_u64(options.seed);
    fill(&rows, &contenders, options)?;
    let mut ratios = Vec::new();

    // samples[row][contender][round]
    let mut samples = vec![vec![Vec::new(); contenders.len()]; rows.len()];
    for round in 0..options.rounds {
        for (row_index, row) in rows.iter().copied().enumerate() {
            for turn in 0..contenders.len() {
                // Another one begins each round: the first after a pause meets colder caches and a lower clock.
                let index = (turn + round) % contenders.len();
                let contender = &contenders[index];
                let sample = measure(table, row, contender, options, &mut random, round, report)
                    .with_context(|| format!("{} {} on {}", table.name, row.name, contender.label))?;
                samples[row_index][index].push(sample);
            }
        }
        eprintln!("  round {} of {}", round + 1, options.rounds);
    }
    for (row, samples) in rows.iter().copied().zip(&samples) {
        for figure in cpu_figures(table, row, &contenders, samples) {
            ratios.extend(figure.ratio);
            report.figure(figure)?;
        }
        if let Some(max) = table.syscalls_max {
            report.figure(syscall_figure(table, row, max, &contenders, options, &mut random)?)?;
        }
    }
    if let Some(max) = table.median_ratio_max {
        report.figure(Figure {
            table: title(table),
            name: "median of the ratios".into(),
            unit: "ratio",
            values: contenders.iter().map(|contender| (contender.label.clone(), f64::NAN)).collect(),
            subject: subject(table.contest).into(),
            ratio: (!ratios.is_empty()).then(|| median(&ratios)),
            bound: Bound::RatioMax(max),
        })?;
    }
    Ok(())
}

fn title(table: &Table) -> String {
    format!("{}: {}", table.name, table.title)
}

fn contenders(table: &Table, options: &Options, cores: &Cores) -> Result<Vec<Contender>> {
    let contender = |label: &str, kind: Kind, event_loops: usize, cores: &[usize]| -> Result<Contender> {
        let target = Target::start_with(kind, event_loops, table.arguments)?;
        cpu::pin_process(target.pid(), cores)?;
        Ok(Contender { label: label.into(), target: Some(target), cores: cores.to_vec() })
    };
    match table.contest {
        Contest::Peers | Contest::PeersAlone => {
            let mut all = Vec::new();
            for &kind in &options.servers {
                all.push(contender(kind.name(), kind, 1, cores.server())?);
            }
            if table.contest == Contest::PeersAlone {
                return Ok(all);
            }
            all.push(Contender { label: FLOOR.into(), target: None, cores: cores.server().to_vec() });
            Ok(all)
        }
        Contest::Encrypted => {
            // Of the real servers here, only Debian's is built with TLS.
            let kinds = [Kind::Spinel, Kind::Redis70].into_iter();
            let takes_part = |kind: &Kind| match testkit::program(*kind) {
                Some(_) => options.servers.contains(&Kind::Spinel),
                None => {
                    eprintln!("SKIPPED {kind}: its program is not here");
                    false
                }
            };
            let encrypted = |kind: Kind| -> Result<Contender> {
                let target = Target::start_encrypted(kind, 1)?;
                cpu::pin_process(target.pid(), cores.server())?;
                Ok(Contender { label: kind.name().into(), target: Some(target), cores: cores.server().to_vec() })
            };
            kinds.filter(takes_part).map(encrypted).collect()
        }
        Contest::EventLoops if options.servers.contains(&Kind::Spinel) => Ok(vec![
            contender(TWO_LOOPS, Kind::Spinel, 2, cores.pair())?,
            contender(ONE_LOOP, Kind::Spinel, 1, cores.pair())?,
        ]),
        Contest::EventLoops => Ok(Vec::new()),
    }
}

const ONE_LOOP: &str = "1 loop";
const TWO_LOOPS: &str = "2 loops";

fn subject(contest: Contest) -> &'static str {
    match contest {
        Contest::Peers | Contest::PeersAlone | Contest::Encrypted => "spinel",
        Contest::EventLoops => TWO_LOOPS,
    }
}

fn fill(rows: &[&Row], contenders: &[Contender], options: &Options) -> Result<()> {
    let (mut done, mut set_up) = (HashSet::new(), HashSet::new());
    for row in rows {
        for setup in row.setup {
            if set_up.insert(setup) {
                for target in contenders.iter().filter_map(|contender| contender.target.as_ref()) {
                    prepare(target.address(), setup, options).with_context(|| format!("for {}", row.name))?;
                }
            }
        }
        let Some(fill) = row.fill else { continue };
        let keys = options.scaled(row.keys);
        if done.insert((fill, keys)) {
            for target in contenders.iter().filter_map(|contender| contender.target.as_ref()) {
                load::fill(target.address(), &Template::parse(fill)?, keys, &mut sequence(0)).context("filling")?;
            }
        }
    }
    Ok(())
}

fn prepare(address: SocketAddr, setup: &Setup, options: &Options) -> Result<()> {
    let count = options.scaled(setup.count);
    let template = Template::parse(setup.request)?;
    let mut random = SmallRng::seed_from_u64(1);
    let mut next = match setup.numbers {
        Numbers::SecondHalf => sequence(count / 2),
        _ => sequence(0),
    };
    let mut number = || match setup.numbers {
        Numbers::RandomBelow(bound) => random.random_range(0..bound),
        _ => next(),
    };
    load::fill(address, &template, count, &mut number).with_context(|| setup.request.to_owned())?;
    Ok(())
}

fn measure(
    table: &Table,
    row: &Row,
    contender: &Contender,
    options: &Options,
    random: &mut SmallRng,
    round: usize,
    report: &mut Report,
) -> Result<Sample> {
    let template = Template::parse(row.request)?;
    let connections = table.connections.unwrap_or(options.connections);
    let depth = row.depth.unwrap_or(table.depth);
    with_server(contender, &template, |door, pid| {
        for setup in row.before {
            prepare(contender.address(&door), setup, options)?;
        }
        let address = contender.address(&door);
        let mut load = Load::connect(door, &template, connections, depth)?;
        if let Some(listeners) = &row.listeners {
            load.listen(address, listeners)?;
        }
        let keys = options.scaled(row.keys);
        let mut number = || random.random_range(0..keys);
        let (warm_up, measured) = match row.requests.map(|requests| options.scaled(requests)) {
            Some(requests) => (Until::Requests(requests / 10), Until::Requests(requests)),
            None => {
                let shortened = |time: std::time::Duration| Until::Elapsed(time.mul_f64(table.time_share));
                (shortened(options.warm_up()), shortened(options.measure_for))
            }
        };
        load.run(warm_up, &mut number)?;
        let meter = CpuMeter::start(pid)?;
        let tally = load.run(measured, &mut number)?;
        let time = meter.stop()?;
        if tally.nulls > 0 {
            bail!("{} of {} replies were null: this measured keys that are not there", tally.nulls, tally.replies);
        }
        let per_request = |time: std::time::Duration| time.as_secs_f64() * 1e6 / tally.replies as f64;
        let sample = Sample { user_us: per_request(time.user), total_us: per_request(time.total) };
        report.keep(json!({
            "kind": "sample",
            "table": table.name,
            "workload": row.name,
            "server": contender.label,
            "version": contender.target.as_ref().map(|target| &target.version),
            "round": round,
            "connections": connections,
            "depth": depth,
            "keys": keys,
            "requests": tally.replies,
            "cpu_us": sample.total_us,
            "user_us": sample.user_us,
        }))?;
        Ok(sample)
    })
}

/// The contender's server, or a floor for requests of this length.
fn with_server<T>(contender: &Contender, template: &Template, work: impl FnOnce(Door, u32) -> Result<T>) -> Result<T> {
    match &contender.target {
        Some(target) => work(target.door(), target.pid()),
        None => {
            let floor = FloorProcess::start(template.request_bytes())?;
            cpu::pin_process(floor.pid(), &contender.cores)?;
            work(floor.address.into(), floor.pid())
        }
    }
}

/// The part that is compared, and beside a user time the whole, which is only to be seen.
fn cpu_figures(table: &Table, row: &Row, contenders: &[Contender], samples: &[Vec<Sample>]) -> Vec<Figure> {
    let figure = |part: Part, bound: Bound| Figure {
        table: title(table),
        name: row.name.into(),
        unit: match part {
            Part::User => "user CPU us",
            Part::Total => "CPU us",
        },
        values: contenders
            .iter()
            .zip(samples)
            .map(|(contender, rounds)| {
                (contender.label.clone(), median(&rounds.iter().map(|sample| sample.part(part)).collect::<Vec<_>>()))
            })
            .collect(),
        subject: subject(table.contest).into(),
        ratio: {
            let labels: Vec<&str> = contenders.iter().map(|contender| contender.label.as_str()).collect();
            let figures: Vec<Vec<f64>> =
                samples.iter().map(|rounds| rounds.iter().map(|sample| sample.part(part)).collect()).collect();
            ratio(subject(table.contest), &labels, &figures)
        },
        bound,
    };
    let bound = row.ratio_max.map_or(Bound::None, Bound::RatioMax);
    match table.part {
        Part::User => vec![figure(Part::User, bound), figure(Part::Total, Bound::None)],
        Part::Total => vec![figure(Part::Total, bound)],
    }
}

/// The subject against the best rival of each round (the floor is none), median of the rounds. `None` without subject or rivals.
pub fn ratio(subject: &str, labels: &[&str], figures: &[Vec<f64>]) -> Option<f64> {
    let own = &figures[labels.iter().position(|label| *label == subject)?];
    let rivals: Vec<&Vec<f64>> = labels
        .iter()
        .zip(figures)
        .filter(|(label, _)| **label != subject && **label != FLOOR)
        .map(|(_, figures)| figures)
        .collect();
    if rivals.is_empty() {
        return None;
    }
    let rounds: Vec<f64> = own
        .iter()
        .enumerate()
        .map(|(round, own)| own / rivals.iter().map(|rival| rival[round]).fold(f64::INFINITY, f64::min))
        .collect();
    Some(median(&rounds))
}

/// Counted apart from the CPU time: the tracepoint costs every system call a little.
fn syscall_figure(
    table: &Table,
    row: &Row,
    max: f64,
    contenders: &[Contender],
    options: &Options,
    random: &mut SmallRng,
) -> Result<Figure> {
    let template = Template::parse(row.request)?;
    let keys = options.scaled(row.keys);
    let mut values = Vec::new();
    for contender in contenders {
        let per_request = with_server(contender, &template, |door, pid| {
            let mut load = Load::connect(door, &template, options.connections, table.depth)?;
            let mut number = || random.random_range(0..keys);
            load.run(Until::Elapsed(options.warm_up()), &mut number)?;
            let mut counter = SyscallCounter::start(pid)?;
            let before = counter.count()?;
            let tally = load.run(Until::Elapsed(options.measure_for), &mut number)?;
            Ok((counter.count()? - before) as f64 / tally.replies as f64)
        });
        match per_request {
            Ok(count) => values.push((contender.label.clone(), count)),
            Err(error) => eprintln!("  system calls of {} not counted: {error:#}", contender.label),
        }
    }
    Ok(Figure {
        table: title(table),
        name: row.name.into(),
        unit: "system calls",
        values,
        subject: subject(table.contest).into(),
        ratio: None,
        bound: Bound::ValueMax(max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_to_the_best_rival_of_each_round_and_never_to_the_floor() {
        let labels = ["spinel", "redis82", "valkey91", FLOOR];
        let figures = [vec![1.0, 1.0, 3.0], vec![2.0, 4.0, 4.0], vec![3.0, 2.0, 4.0], vec![0.1, 0.1, 0.1]];
        assert_eq!(ratio("spinel", &labels, &figures.map(|figures| figures.to_vec())), Some(0.5));
        assert_eq!(ratio("spinel", &["redis82"], &[vec![1.0]]), None);
        assert_eq!(ratio("spinel", &["spinel", FLOOR], &[vec![1.0], vec![1.0]]), None);
    }
}

//! Keeping and printing: raw samples as JSON lines, medians as tables.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::process::Command;

use serde_json::{Value, json};

use crate::Options;
use crate::round::{Arrangement, Sample};
use crate::workload::{BASIS, Workload};

/// What a round of one arrangement comes to.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    /// Time per request of all threads together, the inverse of throughput.
    wall_ns: f64,
    /// The same without the time in which neighbours had the core.
    free_ns: f64,
    /// CPU time per request.
    cpu_ns: f64,
    sleeps_per_thousand: f64,
    /// The part of the wall time in which neighbours had a core that a thread wanted.
    delayed: f64,
}

/// Above this a round says more about the neighbours than about us: who holds a lock while its core is taken makes the other
/// threads wait, and no clock can tell that from waiting of our own making.
const QUIET_DELAYED_MAX: f64 = 0.02;

impl Outcome {
    fn of(samples: &[Sample]) -> Outcome {
        let requests: u64 = samples.iter().map(|sample| sample.requests).sum();
        let per_request = |total: u64| total as f64 / requests as f64;
        // Throughputs add up.
        let per_second = |ns: fn(&Sample) -> u64| -> f64 {
            samples.iter().map(|sample| sample.requests as f64 / ns(sample).max(1) as f64).sum()
        };
        Outcome {
            wall_ns: 1.0 / per_second(|sample| sample.wall_ns),
            free_ns: 1.0 / per_second(Sample::free_ns),
            cpu_ns: per_request(samples.iter().map(|sample| sample.cpu_ns).sum()),
            sleeps_per_thousand: 1000.0 * per_request(samples.iter().map(|sample| sample.sleeps).sum()),
            delayed: samples
                .iter()
                .map(|sample| sample.delayed_ns as f64 / sample.wall_ns.max(1) as f64)
                .fold(0.0, f64::max),
        }
    }

    fn is_quiet(&self) -> bool {
        self.delayed <= QUIET_DELAYED_MAX
    }
}

pub struct Report<'a> {
    options: &'a Options,
    file: Option<File>,
    run: Value,
    /// By workload and arrangement, one a round.
    outcomes: HashMap<(&'static str, Arrangement), Vec<Outcome>>,
}

impl<'a> Report<'a> {
    pub fn create(options: &'a Options) -> io::Result<Report<'a>> {
        let file = match &options.results {
            None => None,
            Some(path) => {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)?;
                }
                Some(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        let run = json!({
            "commit": commit(),
            "date": chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "machine": machine(),
            "seed": options.seed,
            "keys": options.keys,
            "quick": options.quick,
        });
        Ok(Report { options, file, run, outcomes: HashMap::new() })
    }

    pub fn keep(
        &mut self,
        workload: &Workload,
        arrangement: Arrangement,
        round: usize,
        samples: &[Sample],
    ) -> io::Result<()> {
        self.outcomes.entry((workload.name, arrangement)).or_default().push(Outcome::of(samples));
        for (thread, sample) in samples.iter().enumerate() {
            self.write(json!({
                "kind": "sample",
                "workload": workload.name,
                "arrangement": arrangement.name(),
                "threads": samples.len(),
                "round": round,
                "thread": thread,
                "requests": sample.requests,
                "wall_ns": sample.wall_ns,
                "cpu_ns": sample.cpu_ns,
                "delayed_ns": sample.delayed_ns,
                "sleeps": sample.sleeps,
                "preemptions": sample.preemptions,
            }))?;
        }
        Ok(())
    }

    /// One write a line: a run that is interrupted leaves whole lines.
    fn write(&mut self, mut line: Value) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let object = line.as_object_mut().expect("a result is an object");
        object.extend(self.run.as_object().expect("made in create").clone());
        file.write_all(format!("{line}\n").as_bytes())
    }

    /// Prints the tables. Whether every bound was held.
    pub fn finish(mut self, workloads: &[&Workload]) -> io::Result<bool> {
        let narrow: Vec<_> = workloads.iter().copied().filter(|workload| workload.wide.is_none()).collect();
        let mixed: Vec<_> = workloads.iter().copied().filter(|workload| workload.wide.is_some()).collect();
        let mut held = true;
        if !narrow.is_empty() {
            held = self.print_narrow(&narrow)?;
        }
        if !mixed.is_empty() {
            self.print_mixed(&mixed)?;
        }
        Ok(held || self.options.quick)
    }

    fn print_narrow(&mut self, workloads: &[&Workload]) -> io::Result<bool> {
        use Arrangement::{Alone, Apart, Rehearsal, Together};
        let threads = self.options.threads;
        println!("\nNarrow execution, ns per request (in brackets: of which the benchmark's own making of requests)");
        println!(
            "  {:<10} {:>17} {:>14} | throughput of {threads} threads over 1 by {:>6} {:>6} {:>6} {:>11} {:>8}",
            "", "alone", "together", "wall", "free", "CPU", "apart, free", "sleeps/k"
        );
        let mut all_held = true;
        for workload in workloads {
            let name = workload.name;
            let wall = self.ratio(name, Alone, Together, |outcome| outcome.wall_ns);
            let free = self.ratio(name, Alone, Together, |outcome| outcome.free_ns);
            // CPU time per request does not shrink with threads; what it grows by is what they cost each other.
            let cpu = threads as f64 * self.ratio(name, Alone, Together, |outcome| outcome.cpu_ns);
            let apart = self.ratio(name, Alone, Apart, |outcome| outcome.free_ns);
            let alone_ns = self.median(name, Alone, |outcome| outcome.free_ns);
            let rehearsal_ns = self.median(name, Rehearsal, |outcome| outcome.free_ns);
            let together_ns = self.median(name, Together, |outcome| outcome.free_ns);
            let sleeps = self.median(name, Together, |outcome| outcome.sleeps_per_thousand);
            let verdict = match workload.scaling_min {
                Some(least) if !self.options.quick && threads == 2 => {
                    let quiet = self.quiet_rounds(name);
                    let held = free >= least;
                    all_held &= held || quiet == 0;
                    match (quiet, held) {
                        (0, _) => format!("at least {least}: not judged, no round was quiet"),
                        (_, true) => format!("at least {least}: ok ({quiet} quiet rounds)"),
                        (_, false) => format!("at least {least}: FAILED ({quiet} quiet rounds)"),
                    }
                }
                _ => String::new(),
            };
            println!(
                "  {name:<10} {alone_ns:>9.1} ({rehearsal_ns:>5.1}) {together_ns:>14.1} | {:>31} {wall:>6.2} {free:>6.2} {cpu:>6.2} {apart:>11.2} {sleeps:>8.3}  {verdict}",
                ""
            );
            self.write(json!({
                "kind": "figure", "workload": name, "threads": threads,
                "alone_ns": alone_ns, "together_ns": together_ns, "rehearsal_ns": rehearsal_ns,
                "scaling_wall": wall, "scaling_free": free, "scaling_cpu": cpu, "scaling_apart": apart,
                "quiet_rounds": self.quiet_rounds(name),
                "sleeps_per_thousand": sleeps,
            }))?;
        }
        Ok(all_held)
    }

    fn print_mixed(&mut self, workloads: &[&Workload]) -> io::Result<()> {
        use Arrangement::{Alone, Together};
        let threads = self.options.threads;
        println!(
            "\nWide commands among {BASIS}: ns per request, times {BASIS} alone, and us that one wide command costs"
        );
        println!(
            "  {:<14} | 1 thread: {:>8} {:>6} {:>8} | {threads} threads: {:>8} {:>6} {:>8} {:>8} {:>9} | {:>7}",
            "", "ns", "times", "us", "ns", "times", "us", "CPU ns", "sleeps/k", "scaling"
        );
        for workload in workloads {
            let name = workload.name;
            let wide = f64::from(workload.wide.as_ref().map_or(0, |wide| wide.percent)) / 100.0;
            let figures = |arrangement| {
                let ns = self.median(name, arrangement, |outcome| outcome.free_ns);
                let basis = self.median(BASIS, arrangement, |outcome| outcome.free_ns);
                (ns, ns / basis, (ns - (1.0 - wide) * basis) / wide / 1000.0)
            };
            let (alone_ns, alone_times, alone_us) = figures(Alone);
            let (together_ns, together_times, together_us) = figures(Together);
            let cpu_ns = self.median(name, Together, |outcome| outcome.cpu_ns);
            let sleeps = self.median(name, Together, |outcome| outcome.sleeps_per_thousand);
            let scaling = self.ratio(name, Alone, Together, |outcome| outcome.free_ns);
            println!(
                "  {name:<14} | {:>9} {alone_ns:>8.1} {alone_times:>6.2} {alone_us:>8.2} | {:>10} {together_ns:>8.1} {together_times:>6.2} {together_us:>8.2} {cpu_ns:>8.1} {sleeps:>9.2} | {scaling:>7.2}",
                "", ""
            );
            self.write(json!({
                "kind": "figure", "workload": name, "threads": threads,
                "alone_ns": alone_ns, "alone_wide_us": alone_us,
                "together_ns": together_ns, "together_wide_us": together_us, "together_cpu_ns": cpu_ns,
                "scaling_free": scaling, "sleeps_per_thousand": sleeps,
            }))?;
        }
        Ok(())
    }

    fn outcomes(&self, workload: &'static str, arrangement: Arrangement) -> &[Outcome] {
        self.outcomes.get(&(workload, arrangement)).map_or(&[], Vec::as_slice)
    }

    /// Rounds in which neighbours disturbed neither one thread nor all of them.
    fn quiet_rounds(&self, workload: &'static str) -> usize {
        let alone = self.outcomes(workload, Arrangement::Alone);
        let together = self.outcomes(workload, Arrangement::Together);
        alone.iter().zip(together).filter(|(alone, together)| alone.is_quiet() && together.is_quiet()).count()
    }

    /// Over the quiet rounds, or over all if none was.
    fn median(&self, workload: &'static str, arrangement: Arrangement, figure: fn(&Outcome) -> f64) -> f64 {
        let outcomes = self.outcomes(workload, arrangement);
        let any_quiet = outcomes.iter().any(Outcome::is_quiet);
        median(outcomes.iter().filter(|outcome| !any_quiet || outcome.is_quiet()).map(figure).collect())
    }

    /// How many times the figure of `one` is that of `other` within each round, over the quiet rounds, or over all if none was.
    fn ratio(&self, workload: &'static str, one: Arrangement, other: Arrangement, figure: fn(&Outcome) -> f64) -> f64 {
        let pairs: Vec<_> = self.outcomes(workload, one).iter().zip(self.outcomes(workload, other)).collect();
        let is_quiet = |(one, other): &(&Outcome, &Outcome)| one.is_quiet() && other.is_quiet();
        let any_quiet = pairs.iter().any(is_quiet);
        let pairs = pairs.into_iter().filter(|pair| !any_quiet || is_quiet(pair));
        median(pairs.map(|(one, other)| figure(one) / figure(other)).collect())
    }
}

/// NaN of nothing: `--only` may have left out what a figure refers to.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => commit + "-dirty",
        _ => "unknown".into(),
    }
}

fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, name)| name);
    json!({
        "cpu": cpu,
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        // Tells later why a run was noisier than another.
        "load_average": read("/proc/loadavg").split(' ').next(),
    })
}

//! Judging, keeping and printing: raw results as JSON lines, figures as a table at the end.
//!
//! Every line of the results file stands for itself (commit, date, machine, versions), so that lines of many runs can be
//! filtered and joined without knowing their order.

use crate::cpu::Cores;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// What a figure must hold to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// The ratio to the best rival.
    RatioMax(f64),
    /// The figure itself.
    ValueMax(f64),
    ValueMin(f64),
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    Failed,
    /// No bound, no rival, no subject, or a run too short to judge.
    Open,
}

/// One line of the table at the end.
#[derive(Debug, Clone)]
pub struct Figure {
    pub table: String,
    pub name: String,
    pub unit: &'static str,
    /// Label of the server and its figure, in the order of the columns.
    pub values: Vec<(String, f64)>,
    /// Whose figure is judged.
    pub subject: String,
    /// The subject's ratio to the best rival, median of the rounds.
    pub ratio: Option<f64>,
    pub bound: Bound,
}

impl Figure {
    fn subject_value(&self) -> Option<f64> {
        self.values.iter().find(|(label, _)| *label == self.subject).map(|&(_, value)| value)
    }

    pub fn verdict(&self) -> Verdict {
        let held = match self.bound {
            Bound::None => None,
            Bound::RatioMax(max) => self.ratio.map(|ratio| ratio <= max),
            Bound::ValueMax(max) => self.subject_value().map(|value| value <= max),
            Bound::ValueMin(min) => self.subject_value().map(|value| value >= min),
        };
        match held {
            None => Verdict::Open,
            Some(true) => Verdict::Ok,
            Some(false) => Verdict::Failed,
        }
    }
}

/// The results of one run.
pub struct Report {
    run: Value,
    file: File,
    figures: Vec<Figure>,
    /// A quick run proves that everything works; its figures mean nothing.
    quick: bool,
}

impl Report {
    pub fn create(path: &Path, cores: &Cores, quick: bool) -> Result<Report> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("opening {}", path.display()))?;
        let run = json!({
            "commit": commit(),
            "date": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            "machine": machine(cores),
            "quick": quick,
        });
        Ok(Report { run, file, figures: Vec::new(), quick })
    }

    /// Keeps one raw result: an object, to which what identifies the run is added.
    pub fn keep(&mut self, mut result: Value) -> Result<()> {
        let line = result.as_object_mut().expect("a result is an object");
        line.extend(self.run.as_object().expect("made above").clone());
        let mut text = serde_json::to_string(&result)?;
        text.push('\n');
        // One write a line: a run that is interrupted leaves whole lines.
        self.file.write_all(text.as_bytes()).context("keeping a result")
    }

    pub fn figure(&mut self, figure: Figure) -> Result<()> {
        self.keep(json!({
            "kind": "figure",
            "table": figure.table,
            "workload": figure.name,
            "unit": figure.unit,
            "values": figure.values.iter().map(|(label, value)| (label.clone(), json!(value))).collect::<serde_json::Map<_, _>>(),
            "ratio": figure.ratio,
            "verdict": if self.quick { "open".into() } else { format!("{:?}", figure.verdict()).to_lowercase() },
        }))?;
        self.figures.push(figure);
        Ok(())
    }

    /// Whether every bound that could be judged was held.
    pub fn all_held(&self) -> bool {
        self.quick || self.figures.iter().all(|figure| figure.verdict() != Verdict::Failed)
    }

    /// The readable table.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for group in self.figures.chunk_by(|a, b| a.table == b.table && columns(a).eq(columns(b))) {
            let labels: Vec<&str> = columns(&group[0]).collect();
            let name_width = group.iter().map(|figure| name(figure).len()).max().unwrap_or(0).max(24);
            let _ = write!(text, "\n{}\n{:name_width$}", group[0].table, "");
            for label in &labels {
                let _ = write!(text, " {label:>12}");
            }
            let _ = writeln!(text, " {:>7}  bound", "ratio");
            for figure in group {
                let _ = write!(text, "{:name_width$}", name(figure));
                for (_, value) in &figure.values {
                    let _ = write!(text, " {:>12}", number(*value));
                }
                let ratio = figure.ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
                let _ = writeln!(text, " {ratio:>7}  {}", self.judgement(figure));
            }
        }
        text
    }

    fn judgement(&self, figure: &Figure) -> String {
        let bound = match figure.bound {
            Bound::None => return String::new(),
            Bound::RatioMax(max) => format!("ratio <= {max:.2}"),
            Bound::ValueMax(max) => format!("<= {}", number(max)),
            Bound::ValueMin(min) => format!(">= {}", number(min)),
        };
        let verdict = match figure.verdict() {
            _ if self.quick => "(quick run: not judged)",
            Verdict::Ok => "ok",
            Verdict::Failed => "FAILED",
            Verdict::Open => "(not judged: no rival or no Spinel in this run)",
        };
        format!("{bound} {verdict}")
    }
}

fn columns(figure: &Figure) -> impl Iterator<Item = &str> {
    figure.values.iter().map(|(label, _)| label.as_str())
}

fn name(figure: &Figure) -> String {
    format!("{}, {}", figure.name, figure.unit)
}

/// Three digits where they say something, none where they are noise.
fn number(value: f64) -> String {
    if value.is_nan() {
        "-".to_owned()
    } else if value.fract() == 0.0 || value >= 1_000.0 {
        format!("{value:.0}")
    } else if value >= 20.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

/// # Panics
/// Without values: our own bug.
pub fn median(values: &[f64]) -> f64 {
    assert!(!values.is_empty());
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(testkit::workspace_directory()).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => commit + "-dirty",
        _ => "unknown".into(),
    }
}

fn machine(cores: &Cores) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, name)| name);
    json!({
        "cpu": cpu,
        "cores": cores.count(),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        // Tells later why a run was noisier than another.
        "load_average": read("/proc/loadavg").split(' ').next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(ratio: Option<f64>, bound: Bound) -> Figure {
        Figure {
            table: "depth16".into(),
            name: "SET".into(),
            unit: "CPU us",
            values: vec![("spinel".into(), 0.8), ("valkey-9.1".into(), 1.17)],
            subject: "spinel".into(),
            ratio,
            bound,
        }
    }

    #[test]
    fn bounds_are_judged_and_what_cannot_be_judged_stays_open() {
        assert_eq!(figure(Some(0.75), Bound::RatioMax(0.75)).verdict(), Verdict::Ok);
        assert_eq!(figure(Some(0.76), Bound::RatioMax(0.75)).verdict(), Verdict::Failed);
        assert_eq!(figure(None, Bound::RatioMax(0.75)).verdict(), Verdict::Open);
        assert_eq!(figure(None, Bound::ValueMax(0.8)).verdict(), Verdict::Ok);
        assert_eq!(figure(None, Bound::ValueMax(0.7)).verdict(), Verdict::Failed);
        assert_eq!(figure(None, Bound::ValueMin(0.9)).verdict(), Verdict::Failed);
        assert_eq!(figure(Some(9.0), Bound::None).verdict(), Verdict::Open);
    }

    #[test]
    fn results_are_whole_lines_with_commit_and_machine() {
        let path = std::env::temp_dir().join(format!("spinel-compare-{}.jsonl", std::process::id()));
        let mut report = Report::create(&path, &Cores::allowed().unwrap(), false).unwrap();
        report.keep(json!({"kind": "sample", "round": 0})).unwrap();
        report.figure(figure(Some(0.9), Bound::RatioMax(0.75))).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        for line in &lines {
            assert!(line["commit"].is_string() && line["date"].is_string() && line["machine"]["cores"].is_u64());
        }
        assert_eq!(lines[1]["verdict"], "failed");
        assert!(!report.all_held());
        let table = report.render();
        assert!(table.contains("valkey-9.1") && table.contains("ratio <= 0.75 FAILED"), "{table}");
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}

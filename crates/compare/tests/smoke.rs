//! The program as `make compare` starts it, tiny: every table and measurement runs to its end and leaves readable results.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::{Kind, program, skip_aloud};

/// A results file that goes with the test.
struct Results(PathBuf);

impl Results {
    fn new(name: &str) -> Results {
        Results(std::env::temp_dir().join(format!("spinel-compare-{name}-{}.jsonl", std::process::id())))
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&self.0).expect("a results file");
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn compare(arguments: &[&str], results: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_compare"))
        .args(arguments)
        .arg("--results")
        .arg(results)
        .output()
        .expect("compare runs")
}

fn succeeded(output: Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

fn one_core() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() < 2)
}

/// Needs no server at all: the floor is in the program.
#[test]
fn the_floor_alone() {
    if one_core() {
        return skip_aloud("compare needs two cores");
    }
    let results = Results::new("floor");
    let table = succeeded(compare(&["--quick", "--only", "depth", "--servers", ""], &results.0));
    assert!(table.contains("MSET of 10, CPU us"), "{table}");
    let samples = results.lines().into_iter().filter(|line| line["kind"] == "sample").collect::<Vec<_>>();
    assert_eq!(samples.len(), 7, "a sample for each row");
    for sample in samples {
        assert_eq!(sample["server"], "floor");
        assert!(sample["requests"].as_u64().unwrap() > 0 && sample["cpu_us"].as_f64().unwrap() > 0.0, "{sample}");
    }
}

/// Everything, with the servers that are here.
#[test]
fn every_measurement_with_real_servers() {
    if one_core() {
        return skip_aloud("compare needs two cores");
    }
    let here: Vec<&str> = [Kind::Spinel, Kind::Redis82, Kind::Valkey91]
        .into_iter()
        .filter(|&kind| program(kind).is_some())
        .map(Kind::name)
        .collect();
    if here.is_empty() {
        return skip_aloud("no server here (run tools/peers.sh, or build spinel)");
    }
    let results = Results::new("servers");
    succeeded(compare(&["run", "--quick", "--servers", &here.join(",")], &results.0));
    // These are about one server; Spinel, if it is here.
    for mode in ["growth", "expiry", "eviction", "fragmentation"] {
        succeeded(compare(&[mode, "--quick", "--servers", here[0]], &results.0));
    }
    let lines = results.lines();
    for kind in ["sample", "memory", "growth", "expiry", "eviction", "fragmentation", "figure"] {
        assert!(lines.iter().any(|line| line["kind"] == kind), "no line of kind {kind}");
    }
}

#[test]
fn a_wrong_command_line_is_refused() {
    let results = Results::new("refused");
    let output = compare(&["--servers", "memcached"], &results.0);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("memcached"));
}

//! Running the tool, and redis-benchmark beside it.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{peers_directory, wait_for};

/// What a run gave.
#[derive(Debug)]
pub struct Run {
    pub out: String,
    pub error: String,
    pub code: Option<i32>,
}

pub fn ours() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_spinel-benchmark"))
}

/// Redis's own, 7.0.
pub fn redis_benchmark() -> Option<PathBuf> {
    Some(peers_directory().join("redis-7.0/redis-benchmark")).filter(|program| program.exists())
}

/// Runs a program to its end; one that does not end is killed and has no code.
pub fn run(program: PathBuf, arguments: &[&str]) -> Run {
    run_for(program, arguments, Duration::from_secs(60))
}

pub fn run_for(program: PathBuf, arguments: &[&str], deadline: Duration) -> Run {
    let directory = tempfile::tempdir().expect("a place for output");
    let file = |name: &str| std::fs::File::create(directory.path().join(name)).expect("a file for output");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(file("out"))
        .stderr(file("error"))
        .spawn()
        .expect("the program starts");
    let status = wait_for(deadline, || child.try_wait().expect("own child"));
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let read = |name: &str| {
        String::from_utf8_lossy(&std::fs::read(directory.path().join(name)).expect("written")).into_owned()
    };
    Run { out: read("out"), error: read("error"), code: status.and_then(|status| status.code()) }
}

/// Our tool against a port; it must succeed.
pub fn succeed(port: u16, arguments: &[&str]) -> String {
    let port = port.to_string();
    let mut words = vec!["-p", port.as_str()];
    words.extend(arguments);
    let run = run(ours(), &words);
    assert_eq!(run.code, Some(0), "{arguments:?}: {run:?}");
    run.out
}

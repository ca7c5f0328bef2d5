//! Tests of what a process can do only once (end, crash, rename itself): the test program starts itself again with one
//! test selected, which does the deed only there.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const VARIABLE: &str = "SPINEL_TEST_CHILD";
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Child {
    process: std::process::Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Child {
    /// Whether this process was started as the child of this name.
    pub fn is_one(name: &str) -> bool {
        std::env::var(VARIABLE).is_ok_and(|value| value == name)
    }

    pub fn start(test: &str, name: &str) -> Child {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads", "1"])
            .env(VARIABLE, name)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = process.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Child { process, lines, seen: Vec::new() }
    }

    /// Waits until the child has written a line with this text.
    pub fn wait_for_line(&mut self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = line.contains(text);
                    self.seen.push(line);
                    if found {
                        return;
                    }
                }
                Err(error) => panic!("no line with {text:?} ({error}); seen: {:#?}", self.seen),
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }

    /// Everything it writes until it ends, and how it ended.
    pub fn output(mut self) -> (String, ExitStatus) {
        let deadline = Instant::now() + DEADLINE;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push(line);
        }
        (self.seen.join("\n"), self.wait())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client's record, for what only looks at one.
pub fn client(id: u64) -> commands::Client {
    let place = commands::client::Place { thread: 0, token: 0 };
    commands::Client::new(id, place, "127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned(), 9, keyspace::Millis(0))
}

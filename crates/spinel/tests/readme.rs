//! The README's examples, run as they stand: a line behind `$ ` is a command, what follows is its output.
//!
//! The one thing that differs is the port: a server on a free one takes the place of 6379, and another that of 6380.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

mod pages;

use pages::program;
use testkit::{Kind, skip_aloud, wait_for};

/// A command of the README and the lines that must come out of it.
struct Example {
    command: String,
    output: Vec<String>,
}

/// The indented blocks below the heading "Five minutes".
fn examples(readme: &str) -> Vec<Example> {
    let tour =
        readme.split("\n## ").find(|section| section.starts_with("Five minutes")).expect("the README has a tour");
    let mut examples: Vec<Example> = Vec::new();
    for line in tour.lines() {
        let Some(line) = line.strip_prefix("    ") else {
            continue;
        };
        match line.strip_prefix("$ ") {
            Some(command) => examples.push(Example { command: command.to_owned(), output: Vec::new() }),
            None => examples.last_mut().expect("output follows a command").output.push(line.to_owned()),
        }
    }
    examples
}

/// Starts a server, and waits until it listens. Somebody else may take the port between finding and using it: then another.
fn start_on_a_free_port(command: impl Fn(u16) -> Command) -> (Child, u16) {
    for _ in 0..5 {
        let port = testkit::free_port().unwrap();
        let mut process = command(port).stdout(Stdio::null()).spawn().unwrap();
        let is_up = wait_for(Duration::from_secs(20), || match process.try_wait().unwrap() {
            Some(_) => Some(false),
            None => std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true),
        });
        if is_up == Some(true) {
            return (process, port);
        }
        let _ = process.kill();
        let _ = process.wait();
    }
    panic!("the README's own server does not come up");
}

/// Whether these are seconds to live of which a few have passed: between two commands of the tour a busy machine takes its
/// time, and the README shows a quiet one.
fn is_time_left(command: &str, lines: &[&str], output: &[String]) -> bool {
    let seconds = |line: &str| line.split("(integer) ").nth(1)?.parse::<u32>().ok();
    command.to_ascii_lowercase().contains("ttl ")
        && lines.len() == output.len()
        && lines.iter().zip(output).all(|(line, shown)| match (seconds(line), seconds(shown)) {
            (Some(left), Some(shown)) => (shown.saturating_sub(30)..=shown).contains(&left),
            _ => line == shown,
        })
}

#[test]
fn the_tour_of_the_readme_is_true() {
    let root = testkit::workspace_directory();
    let cli = testkit::peers_directory().join("redis-7.0/redis-cli");
    if !cli.exists() {
        skip_aloud("redis-cli is not installed: the README's tour was not run");
        return;
    }
    let spinel = env!("CARGO_BIN_EXE_spinel");
    let server = testkit::ServerOptions::new(Kind::Spinel).program(spinel).start().unwrap();
    // The server that the README itself starts.
    let mut second: Option<(Child, u16)> = None;

    let folder = tempfile::tempdir().unwrap();
    // As on a terminal, which the README shows.
    program(folder.path(), "redis-cli", &format!("exec {} --no-raw -p {} \"$@\"", cli.display(), server.port()));
    program(folder.path(), "spinel-server", &format!("exec {spinel} server \"$@\" --bind 127.0.0.1"));
    std::fs::copy(root.join("spinel.conf"), folder.path().join("spinel.conf")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());

    let examples = examples(&std::fs::read_to_string(root.join("README.md")).unwrap());
    assert!(examples.len() >= 8, "the tour has become short");
    let shell = |command: &str, second_port: u16| {
        let line = command.replace("6380", &second_port.to_string());
        // The shell becomes the command, so that ending it ends a server.
        let script = if line.contains(['|', '#']) { line } else { format!("exec {line}") };
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(folder.path()).env("PATH", &path);
        shell
    };
    for Example { command, output } in &examples {
        if command.starts_with("spinel-server") {
            second = Some(start_on_a_free_port(|port| shell(command, port)));
            continue;
        }
        let result = shell(command, second.as_ref().map_or(0, |(_, port)| *port)).output().unwrap();
        let text = String::from_utf8_lossy(&result.stdout);
        let error = String::from_utf8_lossy(&result.stderr);
        assert!(result.status.success(), "{command}\n{text}{error}");
        assert!(!text.starts_with("(error)"), "{command}\n{text}");
        if output.is_empty() {
            assert!(!text.trim().is_empty(), "{command} printed nothing");
        } else {
            let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
            assert!(
                lines == *output || is_time_left(command, &lines, output),
                "{command}\n{lines:#?}\nnot {output:#?}"
            );
        }
    }
    if let Some((mut process, _)) = second {
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

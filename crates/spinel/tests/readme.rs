//! The README's examples, run as they stand: a line behind `$ ` is a command, what follows is its output.
//!
//! The one thing that differs is the port: a server on a free one takes the place of 6379, and another that of 6380.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use testkit::{Kind, Server, skip_aloud, wait_until};

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

/// Makes `name` a program that runs `script`.
fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
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
    let second = testkit::ServerOptions::new(Kind::Spinel).program(spinel).start().unwrap();
    let second_port = second.port();
    // Its port is free again, for the server that the README starts.
    drop::<Server>(second);

    let folder = tempfile::tempdir().unwrap();
    // As on a terminal, which the README shows.
    program(folder.path(), "redis-cli", &format!("exec {} --no-raw -p {} \"$@\"", cli.display(), server.port()));
    program(folder.path(), "spinel-server", &format!("exec {spinel} server \"$@\" --bind 127.0.0.1"));
    std::fs::copy(root.join("spinel.conf"), folder.path().join("spinel.conf")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());

    let examples = examples(&std::fs::read_to_string(root.join("README.md")).unwrap());
    assert!(examples.len() >= 8, "the tour has become short");
    let mut background = None;
    for Example { command, output } in &examples {
        let line = command.replace("6380", &second_port.to_string());
        // The shell becomes the command, so that ending it ends a server.
        let script = if line.contains(['|', '#']) { line.clone() } else { format!("exec {line}") };
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(folder.path()).env("PATH", &path);
        if line.starts_with("spinel-server") {
            background = Some(shell.stdout(std::process::Stdio::null()).spawn().unwrap());
            let is_up = || std::net::TcpStream::connect(("127.0.0.1", second_port)).is_ok();
            assert!(wait_until(std::time::Duration::from_secs(20), is_up), "not up: {line}");
            continue;
        }
        let result = shell.output().unwrap();
        let text = String::from_utf8_lossy(&result.stdout);
        let error = String::from_utf8_lossy(&result.stderr);
        assert!(result.status.success(), "{command}\n{text}{error}");
        assert!(!text.starts_with("(error)"), "{command}\n{text}");
        if output.is_empty() {
            assert!(!text.trim().is_empty(), "{command} printed nothing");
        } else {
            assert_eq!(text.lines().map(str::trim_end).collect::<Vec<_>>(), *output, "{command}");
        }
    }
    if let Some(mut process) = background {
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

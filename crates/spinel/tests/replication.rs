//! The examples of `docs/replication.md`, run as they stand: a line behind `$ ` is a command, what follows is its output.
//!
//! What differs is where things are: free ports take the place of 6379 to 6382, and folders of the test that of `/var/…` and `/etc/…`.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

mod pages;

use pages::{comes_up, is_time, program};
use testkit::{Kind, Server, peers_directory, skip_aloud, wait_for, wait_until, workspace_directory};

/// The ports of the page.
const PORTS: [&str; 4] = ["6379", "6380", "6381", "6382"];

/// The page's servers, by port. Dropping them ends them.
#[derive(Default)]
struct Running(HashMap<u16, Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for process in self.0.values_mut() {
            process.kill().expect("own child");
            process.wait().expect("own child");
        }
    }
}

/// Runs the examples. False when a port was taken meanwhile.
fn tour(examples: &[(&str, Vec<&str>)]) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    for name in ["bin", "etc", "log", "lib/one", "lib/two", "lib/three", "lib/four", "lib/nothing"] {
        std::fs::create_dir_all(at(name)).expect("made");
    }
    let cli = peers_directory().join("redis-7.0/redis-cli");
    let spinel = env!("CARGO_BIN_EXE_spinel");
    // As on a terminal, which the page shows.
    program(&folder.path().join("bin"), "redis-cli", &format!("exec {} --no-raw \"$@\"", cli.display()));
    program(&folder.path().join("bin"), "spinel-server", &format!("exec {spinel} server \"$@\" --bind 127.0.0.1"));
    let path = format!("{}:{}", at("bin"), std::env::var("PATH").expect("a path"));
    let ports = PORTS.map(|_| testkit::free_port().expect("a free port"));
    let here = |line: &str| {
        // In two steps: a free port's number may have one of the page's within.
        let marked =
            PORTS.iter().enumerate().fold(line.to_owned(), |line, (n, port)| line.replace(port, &format!("<{n}>")));
        let line =
            ports.iter().enumerate().fold(marked, |line, (n, port)| line.replace(&format!("<{n}>"), &port.to_string()));
        line.replace("/var/lib/spinel", &at("lib"))
            .replace("/var/log/spinel", &at("log"))
            .replace("/etc/spinel", &at("etc"))
    };

    let mut running = Running::default();
    for (command, output) in examples {
        let line = here(command);
        let mut shell = Command::new("sh");
        shell.current_dir(folder.path()).env("PATH", &path);
        if command.starts_with("spinel-server") {
            let port = ports.iter().find(|port| line.contains(&format!("--port {port} "))).unwrap_or(&ports[1]);
            if let Some(mut process) = running.0.remove(port) {
                // It was asked to end.
                let ended = wait_for(Duration::from_secs(30), || process.try_wait().expect("own child"));
                assert!(ended.is_some(), "the server before '{command}' has not ended");
            }
            // The shell becomes the server, so that ending it ends the server.
            let process = shell.args(["-c", &format!("exec {line}")]).stdout(Stdio::null()).spawn().expect("it starts");
            let process = running.0.entry(*port).or_insert(process);
            // Whatever it says: some of them ask for a password.
            if !comes_up(process, *port, |_| true) {
                return false;
            }
            continue;
        }
        // Whatever the page waits for comes, or the test says where it waited.
        let mut shell = Command::new("timeout");
        shell.args(["60", "sh", "-c", &line]).current_dir(folder.path()).env("PATH", &path);
        let result = shell.output().expect("a shell");
        let text = String::from_utf8_lossy(&result.stdout);
        let error = String::from_utf8_lossy(&result.stderr);
        // A server that has ended cannot say so.
        assert!(result.status.success() || command.contains("shutdown"), "{command}\n{text}{error}");
        let lines: Vec<&str> =
            text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !is_time(line)).collect();
        let expected: Vec<String> = output.iter().map(|line| here(line)).collect();
        assert_eq!(lines, expected, "{command}\n{error}");
    }
    true
}

#[test]
fn the_examples_of_the_page_are_true() {
    if !peers_directory().join("redis-7.0/redis-cli").exists() {
        return skip_aloud("redis-cli is not here (run tools/peers.sh): the page's examples were not run");
    }
    let page = std::fs::read_to_string(workspace_directory().join("docs/replication.md")).expect("the page");
    let mut examples: Vec<(&str, Vec<&str>)> = Vec::new();
    // The examples end where the page speaks of what nobody wants to wait for.
    let (tour_of_page, _) = page.split_once("\n## What an acknowledgement means").expect("the page has its parts");
    for line in tour_of_page.lines().filter_map(|line| line.strip_prefix("    ")) {
        match line.strip_prefix("$ ") {
            Some(command) => examples.push((command, Vec::new())),
            None => examples.last_mut().expect("output follows a command").1.push(line),
        }
    }
    assert!(examples.len() >= 40, "the page has become short");
    assert!((0..3).any(|_| tour(&examples)), "the page's servers do not come up");
}

#[test]
fn a_protected_primary_refuses_replicas_from_elsewhere_and_their_log_says_why() {
    // The address from which this machine would send; nothing is sent.
    let address = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        Ok(socket.local_addr()?.ip())
    });
    let Some(address) = address.ok().filter(|address| !address.is_loopback()) else {
        return skip_aloud("this machine has no address but its own: nobody comes from elsewhere");
    };
    let spinel = |arguments: &[&str]| {
        testkit::ServerOptions::new(Kind::Spinel)
            .program(env!("CARGO_BIN_EXE_spinel"))
            .arguments(arguments.iter().copied())
            .start()
            .expect("it starts")
    };
    let primary: Server = spinel(&["--bind", "*", "--repl-diskless-sync-delay", "0"]);
    let replica = spinel(&["--replicaof", &address.to_string(), &primary.port().to_string()]);
    let has_said = |text: &str| wait_until(Duration::from_secs(30), || replica.log().contains(text));
    assert!(has_said("Error reply to PING from master: '-DENIED Spinel runs in protected mode"), "{}", replica.log());
    assert!(replica.client().line("INFO replication").to_string().contains("master_link_status:down"));

    // What the page says to do.
    primary.client().line("CONFIG SET requirepass sesame");
    assert!(has_said("-NOAUTH Authentication required."), "{}", replica.log());
    replica.client().line("CONFIG SET masterauth sesame");
    let mut client = replica.client();
    let is_up = || client.line("INFO replication").to_string().contains("master_link_status:up");
    assert!(wait_until(Duration::from_secs(30), is_up), "{}", replica.log());
}

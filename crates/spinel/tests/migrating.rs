//! The examples of `docs/migrating.md`, run as they stand: a line behind `$ ` is a command, what follows is its output.
//!
//! What differs is where things are: two free ports take the place of 6379 and 6380, and folders of the test that of `/var/lib/…` and `/etc/…`.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

mod pages;

use pages::{comes_up, is_time, program};
use testkit::{Kind, Server, peers_directory, skip_aloud, wait_for, workspace_directory};

/// The old server's data: what the page counts.
fn fill(server: &Server) {
    let mut client = server.client();
    for n in 0..1000 {
        client.line(&format!("SET session:{n} token{n} EX 3600"));
    }
    for n in 0..200 {
        client.line(&format!("HSET basket:{n} apples {n} pears 2"));
    }
    client.line("XADD orders * customer ada");
    client.line("ZADD leaderboard 3100 ada 2950 grace");
    client.line("HSETEX sitting EX 3600 FIELDS 1 code 914286");
    assert_eq!(client.line("DBSIZE").integer(), Some(1203));
}

#[test]
fn the_examples_of_the_page_are_true() {
    let bin = peers_directory().join("redis-7.0");
    if !bin.join("redis-cli").exists() || testkit::program(Kind::Redis82).is_none() {
        return skip_aloud("redis-cli or Redis 8.2 is not here (run tools/peers.sh): the page's examples were not run");
    }
    let old = Server::start(Kind::Redis82, &["--enable-debug-command", "yes"]).expect("the old server starts");
    fill(&old);

    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    for name in ["bin", "spinel", "etc", "etc-redis"] {
        std::fs::create_dir(at(name)).expect("made");
    }
    let spinel = env!("CARGO_BIN_EXE_spinel");
    // As on a terminal, which the page shows.
    program(&folder.path().join("bin"), "redis-cli", &format!("exec {}/redis-cli --no-raw \"$@\"", bin.display()));
    program(&folder.path().join("bin"), "redis-check-rdb", &format!("exec {spinel} check-rdb \"$@\""));
    program(&folder.path().join("bin"), "spinel-server", &format!("exec {spinel} server \"$@\" --bind 127.0.0.1"));
    // As Debian's package has it.
    let conf = "daemonize yes\npidfile /run/redis/redis-server.pid\nlogfile /var/log/redis/redis-server.log\ndir /var/lib/redis\n";
    std::fs::write(at("etc-redis/redis.conf"), conf).expect("written");
    let path = format!("{}:{}", at("bin"), std::env::var("PATH").expect("a path"));

    let page = std::fs::read_to_string(workspace_directory().join("docs/migrating.md")).expect("the page");
    let mut examples: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("    ")) {
        match line.strip_prefix("$ ") {
            Some(command) => examples.push((command, Vec::new())),
            None => examples.last_mut().expect("output follows a command").1.push(line),
        }
    }
    assert!(examples.len() >= 20, "the page has become short");

    let old_folder = old.directory().to_str().expect("UTF-8");
    let mut new_port = 0;
    let mut new: Option<Child> = None;
    for (command, output) in examples {
        let shell = |new_port: u16| {
            let mut line = command.to_owned();
            // The configuration names folders that are not the test's: it is only rewritten here.
            if !line.starts_with("sed ") {
                line = line.replace("/var/lib/redis", old_folder).replace("/var/lib/spinel", &at("spinel"));
            }
            let line = line
                .replace("6379", &old.port().to_string())
                .replace("6380", &new_port.to_string())
                .replace("/etc/redis", &at("etc-redis"))
                .replace("/etc/spinel", &at("etc"));
            // The shell becomes the command, so that ending it ends a server.
            let script = if line.contains(['|', '>']) { line } else { format!("exec {line}") };
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).current_dir(folder.path()).env("PATH", &path);
            shell
        };
        if command.starts_with("spinel-server") {
            if let Some(mut process) = new.take() {
                // It was asked to end.
                let ended = wait_for(Duration::from_secs(30), || process.try_wait().expect("own child"));
                assert!(ended.is_some(), "the server before '{command}' has not ended");
            }
            new = (0..5).find_map(|_| {
                new_port = testkit::free_port().expect("a free port");
                let mut process = shell(new_port).stdout(Stdio::null()).spawn().expect("it starts");
                // With its data there.
                comes_up(&mut process, new_port, |reply| reply.to_string() == "PONG").then_some(process)
            });
            assert!(new.is_some(), "{command} does not come up");
            continue;
        }
        let result = shell(new_port).output().expect("a shell");
        let text = String::from_utf8_lossy(&result.stdout);
        let error = String::from_utf8_lossy(&result.stderr);
        // A server that has ended cannot say so.
        assert!(result.status.success() || command.contains("shutdown"), "{command}\n{text}{error}");
        assert!(!text.starts_with("(error)"), "{command}\n{text}");
        let lines: Vec<&str> =
            text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !is_time(line)).collect();
        let seconds = |lines: &[&str]| lines.first()?.strip_prefix("(integer) ")?.parse::<u32>().ok();
        if command.contains(" ttl ") {
            // Of which a few have passed.
            let (left, shown) = (seconds(&lines).expect("a number"), seconds(&output).expect("a number"));
            assert!((shown - 600..=shown).contains(&left), "{command}\n{text}");
        } else if !output.is_empty() {
            assert_eq!(lines, output, "{command}\n{error}");
        }
    }
    if let Some(mut process) = new {
        process.kill().expect("own child");
        process.wait().expect("own child");
    }
}

//! Side by side with redis-benchmark 7.0: the same options give the same text but for its figures, and the server gets the
//! same commands.

mod common;

use common::{Run, ours, redis_benchmark, run, run_for};
use std::time::Duration;
use testkit::{Kind, Server, server_or_skip, skip_aloud};

/// Without the live line (what was overwritten), with every number the same, and rows of a table that has as many as there happen to be
/// made one.
fn normalised(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line.rsplit('\r').next().unwrap_or_default();
        let mut shape = String::new();
        let mut in_number = false;
        let line = line.replace("inf ", "0.0 ").replace("\"inf\"", "\"0.0\"");
        for character in line.chars() {
            let is_number = character.is_ascii_digit() || (in_number && character == '.');
            if is_number && !in_number {
                shape.push('N');
            }
            if !is_number {
                shape.push(character);
            }
            in_number = is_number;
        }
        // Columns are aligned, so the width of a number shows in the blanks before it.
        let shape = shape.split_inclusive(' ').fold(String::new(), |mut joined, piece| {
            if piece != " " || !joined.ends_with(' ') {
                joined.push_str(piece);
            }
            joined
        });
        if lines.last() != Some(&shape) {
            lines.push(shape);
        }
    }
    lines.join("\n")
}

fn both(server: &Server, arguments: &[&str]) -> Option<(Run, Run)> {
    let Some(theirs) = redis_benchmark() else {
        skip_aloud("no redis-benchmark here (run tools/peers.sh)");
        return None;
    };
    let port = server.port().to_string();
    let mut words = vec!["-p", port.as_str()];
    words.extend(arguments);
    Some((run(theirs, &words), run(ours(), &words)))
}

#[test]
fn the_same_options_give_the_same_text() {
    let server = server_or_skip!(Kind::Redis82);
    for line in [
        "-n 100 -t set",
        "-n 100 -t set,get -q",
        "-n 100 -t ping",
        "-n 100 -t PING_MBULK -q",
        "-n 100 -t set --csv",
        "-n 100 -t lrange_100,mset --csv",
        "-n 100 -t lrange -q",
        "-n 100 -t nothing -q",
        "-n 100 -t nothing",
        "-n 100 -t set -c 5 --threads 2",
        "-n 100 -t set --threads 900 -q",
        "-n 96 -t incr,sadd,hset,spop,zadd,zpopmin -P 16 -q -r 100",
        "-n 100 -t lpush,rpush,lpop,rpop -d 100 -q",
        "-n 100 -t get -d 1000",
        "-n 100 -t set -k 1 --precision 3",
        "-n 100 -t set -3",
        "-n 100 -t set -3 --enable-tracking -q",
        "-n 100 -t set --dbnum 3 -q",
        "-n 100 -q lpush list __rand_int__",
        "-n 100 -r 10 lpush list __rand_int__",
        "-n 100 --csv set a b",
        "-n 100 -t set -q -c 0 -P 0 -d 0",
        "-n 100 -q --csv -t get",
        "-n 100 eval return(1) 0",
        "--version",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let Some((theirs, ours)) = both(&server, &arguments) else { return };
        let (mut expected, found) = (normalised(&theirs.out), normalised(&ours.out));
        expected = expected.replace("redis-benchmark", "spinel-benchmark");
        assert_eq!(found, expected, "{line}\n{theirs:?}\n{ours:?}");
        // Redis's tool does nothing and says nothing when there is no such test; that one word more is meant.
        let error = ours.error.replace("WARNING: There is no test 'nothing'.\n", "");
        assert_eq!(error, theirs.error, "{line}");
        assert_eq!(ours.code, theirs.code, "{line}");
    }
}

#[test]
fn the_same_mistakes_get_the_same_errors() {
    let server = server_or_skip!(Kind::Redis82);
    for line in [
        "-n 10 -q -t set -a wrong",
        "-n 10 -q -t set -a wrong --user joe",
        "-n 10 -q -u foo://x -t set",
        "-n 10 -q bogus a b",
        "-n 10 -q --dbnum 99 -t set",
        "-n 10 -q --cluster -t set",
        "-n 10 -q lpush",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let Some((theirs, ours)) = both(&server, &arguments) else { return };
        assert_eq!(ours.error, theirs.error, "{line}");
        assert_eq!(ours.code, theirs.code, "{line}");
    }
    for line in ["--bogus", "-n", "-D"] {
        let Some((theirs, ours)) = both(&server, &[line]) else { return };
        // The first line; then comes the help, which has words of its own.
        assert_eq!(ours.out.lines().next(), theirs.out.lines().next(), "{line}");
        assert_eq!(ours.code, theirs.code, "{line}");
    }
}

/// Redis's tool tries a port where nobody listens for ever, after it has said so.
#[test]
fn a_server_that_is_not_there_is_named() {
    let Some(theirs) = redis_benchmark() else { return skip_aloud("no redis-benchmark here (run tools/peers.sh)") };
    for line in ["-p 1 -n 10 -q -t set", "-s /nowhere -n 10 -q -t set"] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let theirs = run_for(theirs.clone(), &arguments, Duration::from_secs(2));
        let ours = run(ours(), &arguments);
        assert_eq!(ours.error.lines().next(), theirs.error.lines().next(), "{line}");
        assert_eq!(ours.code, Some(1), "{line}");
    }
}

/// What MONITOR shows of a run, numbers made the same.
fn commands_of(server: &Server, run: impl FnOnce() -> Run) -> Vec<String> {
    let mut monitor = server.client();
    assert_eq!(monitor.command(&["MONITOR"]).expect("a reply").to_string(), "OK");
    let run = run();
    assert_eq!(run.code, Some(0), "{run:?}");
    server.client().command(&["ECHO", "the end"]).expect("a reply");
    let mut seen = Vec::new();
    loop {
        let line = monitor.receive().expect("a line").text().expect("text").to_owned();
        if line.contains("\"the end\"") {
            return seen;
        }
        let command = line.split_once("] ").map_or("", |(_, command)| command);
        // The name under which testkit asks whether the server is up, and what each tool asks of the configuration.
        if !command.contains("CONFIG")
            && !command.contains("COMMAND")
            && !command.contains("mystream")
            && !command.contains("MGET")
        {
            seen.push(normalised(command));
        }
    }
}

#[test]
fn the_server_gets_the_same_commands() {
    let server = server_or_skip!(Kind::Redis82);
    let Some(theirs) = redis_benchmark() else { return skip_aloud("no redis-benchmark here (run tools/peers.sh)") };
    let port = server.port().to_string();
    for line in ["-n 2 -c 1 -q", "-n 2 -c 1 -q -r 1000 -d 40", "-n 2 -c 1 -q -3 --enable-tracking --dbnum 2 -t set"] {
        let mut arguments = vec!["-p", port.as_str()];
        arguments.extend(line.split(' '));
        let expected = commands_of(&server, || run(theirs.clone(), &arguments));
        let found = commands_of(&server, || run(ours(), &arguments));
        assert_eq!(found, expected, "{line}");
    }
}

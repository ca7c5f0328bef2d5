//! Whether latencies are true: against a server that knows them, and against one that is stopped.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{ours, succeed};
use testkit::{Kind, server_or_skip, wait_until};

/// The number behind `"name": `.
fn number(json: &str, name: &str) -> f64 {
    let name = format!("\"{name}\": ");
    let rest = &json[json.find(&name).unwrap_or_else(|| panic!("no {name} in {json}")) + name.len()..];
    rest[..rest.find([',', '\n']).expect("an end")].parse().expect("a number")
}

/// Answers PINGs late, each by a delay of its turn, and notes how late it was.
fn answer_late(mut stream: TcpStream, turns: &Mutex<u64>, recording: &Mutex<Vec<f64>>) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        let came = Instant::now();
        if !bytes[..read].ends_with(b"PING\r\n") {
            // CONFIG GET: it has none.
            if stream.write_all(b"*0\r\n").is_err() {
                return;
            }
            continue;
        }
        let turn = {
            let mut turns = turns.lock().expect("no panic");
            *turns += 1;
            *turns
        };
        // Nine of ten 10 ms, of the others nine of ten 80 ms, the rest 400 ms.
        let delay = if turn % 100 == 0 {
            400
        } else if turn % 10 == 0 {
            80
        } else {
            10
        };
        wait_until(Duration::from_secs(10), || came.elapsed() >= Duration::from_millis(delay));
        recording.lock().expect("no panic").push(came.elapsed().as_secs_f64() * 1000.0);
        if stream.write_all(b"+PONG\r\n").is_err() {
            return;
        }
    }
}

#[test]
fn percentiles_agree_with_what_the_server_recorded() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let recording: Arc<Mutex<Vec<f64>>> = Arc::default();
    let turns: Arc<Mutex<u64>> = Arc::default();
    let accepting = (recording.clone(), turns.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (recording, turns) = accepting.clone();
            std::thread::spawn(move || answer_late(stream, &turns, &recording));
        }
    });
    let out = succeed(port, &["-n", "1000", "-c", "10", "--threads", "2", "--json", "-t", "ping_mbulk"]);
    let mut recorded = recording.lock().expect("no panic").clone();
    recorded.sort_by(f64::total_cmp);
    assert_eq!(recorded.len(), 1000);
    let at = |quantile: f64| recorded[((recorded.len() as f64 * quantile).ceil() as usize).max(1) - 1];
    // The client cannot have seen less. How much more depends on how busy this machine is; but a percentile that were computed wrongly
    // would fall into another of the three classes, which are far apart.
    for (name, quantile, class_end) in
        [("p50", 0.5, 80.0), ("p75", 0.75, 80.0), ("p95", 0.95, 400.0), ("p99.9", 0.999, f64::INFINITY)]
    {
        let (client, server) = (number(&out, name), at(quantile));
        // Three significant digits.
        assert!(client >= server * 0.999, "{name}: {client} ms, the server was later: {server} ms");
        assert!(client < class_end, "{name}: {client} ms where the server had {server} ms");
    }
    let (mean, seconds) = (number(&out, "mean"), number(&out, "seconds"));
    // Ten connections cannot have waited longer than ten times the whole run.
    assert!(mean * 1000.0 <= seconds * 1000.0 * 10.0 * 1.001, "{mean} ms on average, {seconds} s in all");
    assert_eq!(number(&out, "requests"), 1000.0);
}

#[test]
fn a_server_that_stops_for_a_second_shows_in_every_request_of_that_second() {
    let server = server_or_skip!(Kind::Redis82);
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &server.process().0.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {name}");
    };
    let before = requests_seen(&server);
    let port = server.port().to_string();
    let arguments = ["-p", &port, "--rate", "1000", "--duration", "4", "-c", "20", "--json", "-t", "ping_mbulk"];
    let (out, pause) = std::thread::scope(|scope| {
        let run = scope.spawn(|| common::run(ours(), &arguments));
        assert!(wait_until(Duration::from_secs(20), || requests_seen(&server) > before + 200), "no load comes");
        signal("-STOP");
        let stopped = Instant::now();
        wait_until(Duration::from_secs(1), || false);
        let pause = stopped.elapsed();
        signal("-CONT");
        (run.join().expect("ran"), pause)
    });
    assert_eq!(out.code, Some(0), "{out:?}");
    let json = out.out;
    assert_eq!(number(&json, "requests"), 4000.0, "no request that was due is left out");
    // A quarter of the requests fell into the pause, evenly; the slowest tenth of all are those of its first four tenths, which waited
    // for six tenths of it at least. A machine that is busy can only make it more.
    let pause_ms = pause.as_secs_f64() * 1000.0;
    for (name, share) in [("p90", 0.6), ("p95", 0.8), ("p99", 0.96), ("max", 0.99)] {
        let (seen, least) = (number(&json, name), pause_ms * share * 0.99);
        assert!(seen >= least, "{name} is {seen} ms; the server stood still for {pause_ms} ms, so {least} ms at least");
    }
}

fn requests_seen(server: &testkit::Server) -> u64 {
    let info = server.client().command(&["INFO", "stats"]).expect("a reply").text().expect("text").to_owned();
    let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.and_then(|number| number.trim().parse().ok()).expect("a number")
}

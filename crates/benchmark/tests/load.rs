//! What the load is: options beyond Redis's, and what reaches the server.

mod common;

use common::{ours, run, succeed};
use std::time::Duration;
use testkit::{Kind, Server, server_or_skip, wait_until};

fn ask(server: &Server, words: &[&str]) -> String {
    server.client().command(words).expect("a reply").to_string()
}

#[test]
fn sequential_keys_are_all_there_and_exactly_as_many_requests_are_sent() {
    let server = server_or_skip!(Kind::Redis82);
    let port = server.port();
    succeed(port, &["-n", "300", "-r", "300", "--sequential", "-q", "--threads", "2", "-t", "set"]);
    assert_eq!(ask(&server, &["DBSIZE"]), "(integer) 300");
    ask(&server, &["FLUSHALL"]);
    let words = ["-n", "300", "-r", "300", "--sequential", "-q", "set", "k__rand_1st__", "v__rand_1st__"];
    succeed(port, &words);
    assert_eq!(ask(&server, &["GET", "k000000000050"]), "\"v000000000050\"");
    for (requests, pipeline) in [("1003", "16"), ("7", "1"), ("5", "64")] {
        ask(&server, &["SET", "counter", "0"]);
        succeed(port, &["-n", requests, "-P", pipeline, "-q", "--threads", "3", "incr", "counter"]);
        assert_eq!(ask(&server, &["GET", "counter"]), format!("\"{requests}\""), "-P {pipeline}");
    }
}

#[test]
fn a_sequence_is_sent_whole_and_in_order() {
    let server = server_or_skip!(Kind::Redis82);
    let out = succeed(server.port(), &["-n", "400", "-q", "--", "multi", ";", "2", "incr", "counter", ";", "exec"]);
    assert!(out.contains("multi ; 2 incr counter ; exec: "), "{out}");
    assert_eq!(ask(&server, &["GET", "counter"]), "\"200\"");
}

#[test]
fn mixes_have_their_shares() {
    let server = server_or_skip!(Kind::Redis82);
    let arguments = ["-n", "10000", "-r", "100", "--zipf", "0.99", "--ratio", "9:1", "--data-sizes", "10-100", "-q"];
    succeed(server.port(), &arguments);
    let stats = server.client().command(&["INFO", "commandstats"]).expect("a reply");
    let stats = stats.text().expect("text").to_owned();
    let calls = |command: &str| -> u64 {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
    };
    assert_eq!(calls("get") + calls("set"), 10_000);
    assert!((800..1200).contains(&calls("set")), "{stats}");
    let hot: u64 =
        ask(&server, &["STRLEN", "key:000000000000"]).trim_start_matches("(integer) ").parse().expect("number");
    assert!((10..=100).contains(&hot), "{hot}");
}

#[test]
fn a_data_set_fills_hashes() {
    let server = server_or_skip!(Kind::Redis82);
    let directory = tempfile::tempdir().expect("a place");
    let path = directory.path().join("people.csv");
    std::fs::write(&path, "id,name\n1,Ada\n2,\"Lovelace, B\"\n").expect("written");
    let path = path.to_str().expect("text");
    succeed(server.port(), &["-n", "2", "-q", "--dataset", path, "hset", "p:__field:id__", "name", "__field:name__"]);
    assert_eq!(ask(&server, &["HGET", "p:2", "name"]), "\"Lovelace, B\"");
}

#[test]
fn connections_are_opened_anew_when_they_are_not_kept() {
    let server = server_or_skip!(Kind::Redis82);
    let before: u64 = connections(&server);
    succeed(server.port(), &["-n", "200", "-c", "10", "-k", "0", "-q", "-t", "set"]);
    assert!(connections(&server) - before >= 200);
    for extra in [&["-3"][..], &["--dbnum", "3"], &["--threads", "2", "-P", "4"], &["--rps", "20000"]] {
        let mut words = vec!["-n", "200", "-k", "0", "-q", "-t", "set"];
        words.extend(extra);
        succeed(server.port(), &words);
    }
}

fn connections(server: &Server) -> u64 {
    let info = server.client().command(&["INFO", "stats"]).expect("a reply").text().expect("text").to_owned();
    let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.and_then(|number| number.trim().parse().ok()).expect("a number")
}

#[test]
fn errors_end_the_run_or_are_counted() {
    let server = server_or_skip!(Kind::Redis82);
    ask(&server, &["SET", "text", "x"]);
    let out =
        succeed(server.port(), &["-n", "100", "--ignore-errors", "--json", "--", "incr", "text", ";", "get", "text"]);
    assert!(out.contains("\"errors\": 50"), "{out}");
    let port = server.port().to_string();
    let run = run(ours(), &["-p", &port, "-n", "100", "-q", "incr", "text"]);
    assert_eq!(run.error, "Error from server: ERR value is not an integer or out of range\n");
    assert_eq!(run.code, Some(1));
}

#[test]
fn warm_up_and_duration_count_only_what_they_should() {
    let server = server_or_skip!(Kind::Redis82);
    ask(&server, &["SET", "counter", "0"]);
    let out = succeed(server.port(), &["--warmup", "0.3", "-n", "1000", "--csv", "incr", "counter"]);
    assert!(out.starts_with("\"test\",\"rps\""), "{out}");
    let sent: u64 = ask(&server, &["GET", "counter"]).trim_matches('"').parse().expect("a number");
    assert!(sent > 1000, "the warm-up sent none");
    let out = succeed(server.port(), &["--duration", "0.5", "--rps", "1000", "-q", "--json", "-t", "ping_mbulk"]);
    let requests = number_after(&out, "\"requests\": ");
    assert!((1.0..=650.0).contains(&requests), "limit not kept: {requests}");
}

fn number_after(text: &str, name: &str) -> f64 {
    let rest = &text[text.find(name).unwrap_or_else(|| panic!("no {name} in {text}")) + name.len()..];
    let end = rest.find([',', '\n']).expect("an end");
    rest[..end].parse().expect("a number")
}

#[test]
fn unix_sockets_carry_load() {
    let directory = tempfile::tempdir().expect("a place");
    let path = directory.path().join("socket");
    let path = path.to_str().expect("text");
    let _server = server_or_skip!(Kind::Redis82, "--unixsocket", path);
    let run = run(ours(), &["-s", path, "-n", "1000", "-t", "set,get", "-d", "100000", "-q"]);
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[test]
fn load_goes_to_all_primaries_of_a_cluster() {
    let nodes: Vec<Server> = {
        let one = server_or_skip!(Kind::Redis82, "--cluster-enabled", "yes");
        let two = server_or_skip!(Kind::Redis82, "--cluster-enabled", "yes");
        vec![one, two]
    };
    for (node, range) in nodes.iter().zip([["0", "8191"], ["8192", "16383"]]) {
        assert_eq!(ask(node, &["CLUSTER", "ADDSLOTSRANGE", range[0], range[1]]), "OK");
    }
    ask(&nodes[1], &["CLUSTER", "SET-CONFIG-EPOCH", "2"]);
    ask(&nodes[0], &["CLUSTER", "MEET", "127.0.0.1", &nodes[1].port().to_string()]);
    let whole = || nodes.iter().all(|node| ask(node, &["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    assert!(wait_until(Duration::from_secs(30), whole), "the cluster does not form");
    let out = succeed(nodes[0].port(), &["--cluster", "-n", "2000", "-r", "1000", "-t", "set,mset,get", "-P", "4"]);
    assert!(out.starts_with("Cluster has 2 master nodes:\n"), "{out}");
    assert!(out.contains("  cluster mode: yes (2 masters)\n  node [0] configuration:\n    save: NONE\n"), "{out}");
    for node in &nodes {
        assert_ne!(ask(node, &["DBSIZE"]), "(integer) 0");
    }
}

#[test]
fn tls_carries_load_and_certificates_are_checked() {
    let directory = tempfile::tempdir().expect("a place");
    let file = |name: &str| directory.path().join(name).to_str().expect("text").to_owned();
    let (key, certificate) = (file("key.pem"), file("certificate.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", &key, "-out", &certificate])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        return testkit::skip_aloud("no openssl here to make a certificate");
    }
    let port = testkit::free_port().expect("a port").to_string();
    let _server = server_or_skip!(
        Kind::Redis70,
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &certificate,
        "--tls-auth-clients",
        "no"
    );
    let with = |extra: &[&str]| {
        let mut words =
            vec!["-p", port.as_str(), "--tls", "-n", "2000", "-t", "set,get", "-q", "-d", "5000", "-P", "8"];
        words.extend(extra);
        run(ours(), &words)
    };
    let insecure = with(&["--insecure", "-3", "--dbnum", "1"]);
    assert_eq!(insecure.code, Some(0), "{insecure:?}");
    let trusting =
        with(&["--cacert", &certificate, "--sni", "localhost", "--tls-ciphersuites", "TLS_AES_128_GCM_SHA256"]);
    assert_eq!(trusting.code, Some(0), "{trusting:?}");
    let unknown = with(&[]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.error.contains("certificate"), "{unknown:?}");
}

#[test]
fn spinel_stands_the_load_too() {
    let server = server_or_skip!(Kind::Spinel);
    succeed(server.port(), &["-n", "1000", "-q", "-r", "100", "-P", "4"]);
}

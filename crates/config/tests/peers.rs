//! The table, CONFIG SET and the glob matcher against real servers.

use std::io::Write;
use std::process::{Command, Stdio};

use rand::Rng;
use spinel_config::directive::Origin;
use spinel_config::{Client, Config, Directive, DirectiveId, directives, glob_match, load};
use testkit::{Kind, Value, random_from, seed, server_or_skip};

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.bytes().unwrap_or_default()).into_owned()
}

fn config_get(client: &mut testkit::Client, pattern: &str) -> Vec<(String, String)> {
    let reply = client.command(&["CONFIG", "GET", pattern]).unwrap();
    let elements = reply.elements().expect("a list").to_vec();
    elements.chunks(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

/// Values that depend on how the test started the server, or that Spinel has decided otherwise.
const OWN_DEFAULTS: &[&str] = &["port", "dir", "logfile", "pidfile", "daemonize", "io-threads", "save", "bind"];

#[test]
fn defaults_are_those_of_redis_8_2() {
    let server = server_or_skip!(Kind::Redis82);
    let config = Config::default();
    let mut differences = Vec::new();
    for (name, value) in config_get(&mut server.client(), "*") {
        let Some(id) = directives::find(name.as_bytes()) else {
            differences.push(format!("{name} is not known"));
            continue;
        };
        let own = String::from_utf8(config.formatted(id)).unwrap();
        if own != value && !OWN_DEFAULTS.contains(&name.as_str()) {
            differences.push(format!("{name}: '{own}' instead of '{value}'"));
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn every_name_of_valkey_9_1_is_known() {
    let server = server_or_skip!(Kind::Valkey91);
    every_name_is_known(&server);
}

#[test]
fn every_name_of_redis_7_0_is_known() {
    let server = server_or_skip!(Kind::Redis70);
    every_name_is_known(&server);
}

fn every_name_is_known(server: &testkit::Server) {
    let config = Config::default();
    let own: Vec<_> = config.matching(&["*"]).into_iter().map(|(name, _)| name).collect();
    for (name, _) in config_get(&mut server.client(), "*") {
        assert!(directives::find(name.as_bytes()).is_some(), "{name} is not known");
        let hidden = directives::find(name.as_bytes()).unwrap().directive().hidden;
        assert!(hidden || own.contains(&name.clone().into_bytes()), "{name} is not shown");
    }
}

/// Directives whose change would cut the test off from the server, or that ask the machine.
const NOT_TRIED: &[&str] = &[
    "port",
    "bind",
    "tls-port",
    "requirepass",
    "maxclients",
    "watchdog-period",
    "key-load-delay",
    "timeout",
    "locale-collate",
    "oom-score-adj",
    "tls-",
    // That Valkey is built without; here it is taken and has no effect.
    "rdma-",
    "dir",
    "appendonly",
    "client-query-buffer-limit",
    "maxmemory-clients",
    "proto-max-bulk-len",
    // 18446744073709551615 wraps to a negative number there.
    "save",
    "client-output-buffer-limit",
];

const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "-0",
    "+1",
    "01",
    "7",
    "10",
    "100",
    "1000",
    "99999",
    "2147483647",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "1k",
    "1KB",
    "1mb",
    "2gb",
    "1t",
    "b",
    "1.5",
    " 1",
    "1 ",
    "yes",
    "NO",
    "no",
    "maybe",
    "local",
    "5%",
    "0%",
    "101%",
    "debug",
    "always",
    "1 2 3",
    "0 200 800",
    "-2001 0 1",
    "50 99",
    "KEA",
    "A",
    "Kn",
    "zxE",
    "save now",
    "default",
    "allkeys-lru",
    "a b",
    "a.b-c",
    "{title} {port}",
    "{x}",
    "\"1\"",
];

/// Whatever CONFIG SET is given, answer and value afterwards are those of Redis 8.2.
#[test]
fn config_set_answers_as_redis_8_2() {
    let server = server_or_skip!(Kind::Redis82);
    let tried = config_set_answers_as(&server, |_| true);
    assert!(tried > 5000, "only {tried} values were tried");
}

/// The same for Valkey's own directives.
#[test]
fn config_set_of_valkeys_own_directives_answers_as_valkey_9_1() {
    let server = server_or_skip!(Kind::Valkey91);
    let tried = config_set_answers_as(&server, |directive| directive.origin == Origin::Valkey);
    assert!(tried > 1000, "only {tried} values were tried");
}

/// Tries all values on all directives of `server` that are wanted, and returns their number.
fn config_set_answers_as(server: &testkit::Server, wanted: impl Fn(&Directive) -> bool) -> usize {
    let mut client = server.client();
    let mut config = Config::default();
    let mut differences = Vec::new();
    let mut tried = 0;
    for (name, before) in config_get(&mut client, "*") {
        let id: DirectiveId = directives::find(name.as_bytes()).expect("known");
        if !wanted(id.directive())
            || NOT_TRIED.iter().any(|known| *known == name || (known.ends_with('-') && name.starts_with(known)))
        {
            continue;
        }
        for value in VALUES {
            let theirs = client.command(&["CONFIG", "SET", &name, value]).unwrap();
            let ours = match config.prepare_set(&[(name.as_str(), *value)], Client::Local) {
                Ok(changes) => {
                    config.apply(&changes);
                    "OK".to_string()
                }
                Err(error) => error.to_string(),
            };
            let theirs = match &theirs {
                Value::Error(message) | Value::Simple(message) => String::from_utf8_lossy(message).into_owned(),
                other => panic!("{other}"),
            };
            if theirs != ours {
                differences.push(format!("{name} '{value}': '{ours}' instead of '{theirs}'"));
                continue;
            }
            let shown = config_get(&mut client, &name).remove(0).1;
            let own = String::from_utf8(config.formatted(id)).unwrap();
            if own != shown && !OWN_DEFAULTS.contains(&name.as_str()) {
                differences.push(format!("{name} '{value}' shows '{own}' instead of '{shown}'"));
            }
            tried += 1;
        }
        let _ = client.command(&["CONFIG", "SET", &name, &before]).unwrap();
        config = Config::default();
    }
    assert!(differences.is_empty(), "{} of {tried}: {differences:#?}", differences.len());
    tried
}

/// The reason why a server does not start with this line, or `None`. A second line makes sure that it never starts.
fn reason_of_redis(program: &std::path::Path, folder: &std::path::Path, line: &str) -> Option<String> {
    let mut server = Command::new(program)
        .arg("-")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server can be started");
    let mut input = server.stdin.take().expect("piped");
    input.write_all(format!("{line}\nend-of-test\n").as_bytes()).expect("it reads all of its input");
    drop(input);
    let output = server.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if text.contains("at line 2\n") { None } else { text.trim_end().lines().last().map(str::to_string) }
}

fn own_reason(line: &str) -> Option<String> {
    let error = load::load_text(line.as_bytes()).err()?.to_string();
    error.lines().last().map(str::to_string)
}

/// Gone from 8.2, or of its module for vectors, or judged by more than the line.
const NOT_LINES: &[&str] = &[
    "aof-disable-auto-gc",
    "vset-force-single-threaded-execution",
    "rename-command",
    "user",
    "include",
    "locale-collate",
];

/// Lines of every directive of a file, with random values, are taken or refused as Redis 8.2 does, for the same reason.
#[test]
fn lines_of_a_file_are_read_as_redis_8_2_reads_them() {
    let Some(program) = testkit::program(Kind::Redis82) else {
        return testkit::skip_aloud("no Redis 8.2 here (run tools/peers.sh)");
    };
    let folder = tempfile::tempdir().unwrap();
    let mut random = random_from(seed());
    let names: Vec<&str> = directives::all()
        .filter(|(_, directive)| directive.origin == Origin::Redis)
        .filter(|(_, directive)| !NOT_LINES.contains(&directive.name))
        .flat_map(|(_, directive)| directive.names())
        .filter(|name| !name.starts_with("primary") && !name.starts_with("commandlog"))
        .collect();
    let mut lines: Vec<String> = names.iter().map(|name| format!("{name} \"\"")).collect();
    for _ in 0..400 {
        let name = names[random.random_range(0..names.len())];
        let mut line = name.to_string();
        for _ in 0..[0, 1, 1, 1, 1, 2, 2, 3, 4][random.random_range(0..9)] {
            let value = VALUES[random.random_range(0..VALUES.len())];
            line.push(' ');
            line.push_str(&match random.random_range(0..4) {
                0 => format!("\"{value}\""),
                1 => format!("'{value}'"),
                _ => value.to_string(),
            });
        }
        if (line.contains("4294967296") || line.contains("-9223372036854775808"))
            && (name == "replicaof" || name == "slaveof")
        {
            // Redis keeps the low 32 bits of a port and so takes this for 0.
            continue;
        }
        lines.push(line);
    }
    let mut differences = Vec::new();
    for line in lines {
        let (theirs, ours) = (reason_of_redis(&program, folder.path(), &line), own_reason(&line));
        if theirs != ours {
            differences.push(format!("{line}: {ours:?} instead of {theirs:?}"));
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

/// Random patterns and keys of a small alphabet, so that they meet often.
#[test]
fn the_glob_matcher_agrees_with_keys() {
    let server = server_or_skip!(Kind::Redis82);
    let mut client = server.client();
    let mut random = random_from(seed());
    let mut word = |alphabet: &[u8], length_max: usize| -> Vec<u8> {
        let length = random.random_range(0..=length_max);
        (0..length).map(|_| alphabet[random.random_range(0..alphabet.len())]).collect()
    };
    let keys: Vec<Vec<u8>> = (0..60).map(|_| word(b"ab-]\\", 5)).collect();
    for key in &keys {
        client.command(&[&b"SET"[..], key, b"1"]).unwrap();
    }
    for _ in 0..2000 {
        let pattern = word(b"ab**?[]^-\\", 8);
        if pattern == b"*" {
            // KEYS does not ask the matcher then: the empty key is found too.
            continue;
        }
        let reply = client.command(&[&b"KEYS"[..], &pattern]).unwrap();
        let found: Vec<&[u8]> = reply.elements().expect("a list").iter().filter_map(Value::bytes).collect();
        for key in &keys {
            let shown = String::from_utf8_lossy(&pattern);
            let expected = found.contains(&key.as_slice());
            assert_eq!(glob_match(&pattern, key, false), expected, "'{shown}' {:?}", String::from_utf8_lossy(key));
        }
    }
}

//! What is promised of the disk, to clients of a real process: no reply leaves before what it tells is safe, a full disk is no lie, and what a
//! server leaves behind when it ends is whole.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use robustness::{against_both, info};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use testkit::{Client, Kind, Server, ServerOptions, wait_until};

const DEADLINE: Duration = Duration::from_secs(30);

const ALWAYS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// Spinel alone: other servers stop where it goes on.
fn spinel() -> Option<ServerOptions> {
    if testkit::program(Kind::Spinel).is_none() {
        testkit::skip_aloud("no spinel here: build it");
        return None;
    }
    Some(ServerOptions::new(Kind::Spinel))
}

/// A server that has loaded what there is: it answers before.
fn started(options: &ServerOptions) -> Server {
    let server = options.start().expect("it starts");
    assert!(wait_until(DEADLINE, || info(&server, "loading") == 0), "{}", server.log());
    server
}

/// The same folder once more.
fn restarted(ended: &Server, arguments: &[&str]) -> Server {
    let folder = ended.directory().to_str().expect("a plain path");
    let options = ServerOptions::new(Kind::Spinel).arguments(["--dir", folder]).arguments(arguments.iter().copied());
    started(&options)
}

fn info_text(server: &Server, field: &str) -> String {
    let reply = server.client().line("INFO everything");
    let text = reply.text().expect("INFO is text");
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {field} in\n{text}")).to_owned()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// Files cannot grow beyond 64 KiB until [`lift`]: a full disk.
fn with_small_files(options: ServerOptions) -> ServerOptions {
    options.wrapper(&["sh", "-c", "trap '' XFSZ; ulimit -S -f 128; exec \"$0\" \"$@\""])
}

fn lift(server: &Server) {
    let pid = Pid::from_raw(server.process().0 as i32).expect("a process");
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: None, maximum: None }).expect("its own process");
}

/// Each command has one reply, before, while and after the disk is full; what was acknowledged is there after a crash; and service resumes.
#[test]
fn a_full_disk_with_appendfsync_always_is_no_lie() {
    let Some(options) = spinel() else { return };
    for threads in ["1", "4"] {
        let arguments = [&ALWAYS[..], &["--io-threads", threads]].concat();
        let mut server = started(&with_small_files(options.clone().arguments(arguments)));
        let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
        // Replies that leave at once count as well.
        for client in &mut clients {
            (0..40).for_each(|_| assert_eq!(client.line("PING").text(), Some("PONG")));
            client.line("CLIENT REPLY ON");
        }
        let value = "x".repeat(1000);
        let mut acknowledged = Vec::new();
        let mut is_full = false;
        let mut round = 0;
        while !is_full {
            assert!(round < 1000, "the disk is never full");
            for (number, client) in clients.iter_mut().enumerate() {
                let key = format!("{number}:{round}");
                client.queue(&["SET", &key, &value]);
                client.queue_raw(b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n");
                client.queue(&["STRLEN", "nothing"]);
                client.queue(&["GET", &key]);
                client.queue(&["ECHO", &key]);
                client.flush().expect("the server reads");
            }
            for (number, client) in clients.iter_mut().enumerate() {
                let key = format!("{number}:{round}");
                let [set, get, echo] = [(); 3].map(|()| client.receive().expect("each command has a reply"));
                match set.is_error() {
                    false => acknowledged.push(key),
                    true => {
                        assert!(set.is_error_of("MISCONF"), "{set}");
                        is_full = true;
                    }
                }
                assert!(get.is_error_of("MISCONF") || get.is_null() || get.text() == Some(&value), "{get}");
                assert!(echo.is_error_of("MISCONF") || echo.text().is_some(), "{echo}");
                // Nothing is left over, and nothing is missing.
                let marker = format!("marker {number} {round}");
                // It fails as well where it waits behind the write of another client that fails meanwhile.
                let ask = || client.command(&["ECHO", marker.as_str()]).expect("a reply");
                let reply = std::iter::repeat_with(ask).find(|reply| !reply.is_error_of("MISCONF")).expect("one");
                assert_eq!(reply.text(), Some(&*marker), "{reply}");
            }
            round += 1;
        }
        assert_eq!(info_text(&server, "aof_last_write_status"), "err");
        assert!(server.client().line("SET a b").is_error_of("MISCONF"));
        assert_eq!(server.client().line("STRLEN 0:0").integer(), Some(1000));
        lift(&server);
        let resumed = wait_until(DEADLINE, || info_text(&server, "aof_last_write_status") == "ok");
        assert!(resumed, "{}", server.log());
        assert_eq!(server.client().line("SET after it").text(), Some("OK"));
        acknowledged.push("after".to_owned());
        server.kill();
        let again = restarted(&server, &ALWAYS);
        let mut client = again.client();
        for key in acknowledged {
            assert_eq!(client.command(&["EXISTS", key.as_str()]).expect("a reply").integer(), Some(1), "{key} is lost");
        }
    }
}

/// Whoever is told OK while the server ends finds it after the restart.
#[test]
fn what_is_acknowledged_while_the_server_ends_is_kept() {
    let Some(options) = spinel() else { return };
    for (threads, end) in [("1", "SHUTDOWN NOSAVE"), ("4", "SHUTDOWN NOSAVE"), ("1", "SHUTDOWN SAVE")] {
        let arguments = [&ALWAYS[..], &["--io-threads", threads]].concat();
        let server = started(&options.clone().arguments(arguments));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let mut client = server.client();
                std::thread::spawn(move || {
                    let mut acknowledged = 0;
                    loop {
                        for number in acknowledged..acknowledged + 20 {
                            client.queue(&["SET", &format!("{writer}:{number}"), "value"]);
                        }
                        if client.flush().is_err() {
                            return acknowledged;
                        }
                        for _ in 0..20 {
                            match client.receive() {
                                Ok(reply) if !reply.is_error() => acknowledged += 1,
                                _ => return acknowledged,
                            }
                        }
                    }
                })
            })
            .collect();
        let mut client = server.client();
        assert!(wait_until(DEADLINE, || client.line("DBSIZE").integer() > Some(500)));
        client.queue_raw(end.as_bytes());
        client.queue_raw(b"\r\n");
        client.flush().expect("the server reads");
        assert!(client.receive().is_err(), "the connection closes");
        let acknowledged: Vec<u32> = writers.into_iter().map(|writer| writer.join().expect("a writer")).collect();
        let again = restarted(&server, &ALWAYS);
        let mut client = again.client();
        for (writer, count) in acknowledged.into_iter().enumerate() {
            for number in 0..count {
                let key = format!("{writer}:{number}");
                let there = client.command(&["EXISTS", key.as_str()]).expect("a reply").integer();
                assert_eq!(there, Some(1), "{end} at {threads} threads has lost {key} of {count}");
            }
        }
    }
}

/// A client that is switched between holding and not holding, with replies that its socket does not take, gets each in order.
#[test]
fn replies_stay_in_order_while_appendfsync_changes() {
    let Some(options) = spinel() else { return };
    let server = started(&options.arguments(ALWAYS));
    let value = "y".repeat(100_000);
    server.client().command(&["SET", "large", &value]).expect("a reply");
    let (mut client, mut other) = (server.client(), server.client());
    let rounds = 300;
    let sender = std::thread::spawn(move || {
        for round in 0..rounds {
            client.queue(&["SET", "small", &round.to_string()]);
            client.queue(&["GET", "large"]);
            let fsync = if round % 2 == 0 { "everysec" } else { "always" };
            client.queue(&["CONFIG", "SET", "appendfsync", fsync]);
            client.queue(&["GET", "small"]);
        }
        client.flush().expect("the server reads");
        client
    });
    let mut client = sender.join().expect("a sender");
    for round in 0..rounds {
        assert_eq!(client.receive().expect("SET").text(), Some("OK"), "round {round}");
        assert_eq!(client.receive().expect("GET").bytes().map(<[u8]>::len), Some(100_000), "round {round}");
        assert_eq!(client.receive().expect("CONFIG").text(), Some("OK"), "round {round}");
        assert_eq!(client.receive().expect("GET").text(), Some(round.to_string().as_str()));
        // Nobody gets what is another's.
        assert_eq!(other.line("PING").text(), Some("PONG"));
    }
}

#[test]
fn a_snapshot_that_was_called_off_is_none() {
    let Some(options) = spinel() else { return };
    let mut server = started(&options.arguments(["--rdb-key-save-delay", "100000"]));
    let mut client = server.client();
    (0..100).for_each(|key| drop(client.line(&format!("SET {key} value"))));
    let before = client.line("LASTSAVE").integer().expect("seconds");
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    assert!(wait_until(DEADLINE, || now() > before + 1));
    for end in ["BGSAVE CANCEL", "FLUSHALL"] {
        assert!(!client.line("BGSAVE").is_error());
        assert!(!client.line(end).is_error());
        assert!(wait_until(DEADLINE, || info(&server, "rdb_bgsave_in_progress") == 0));
        assert_eq!(client.line("LASTSAVE").integer(), Some(before), "{end}");
        assert_eq!(info_text(&server, "rdb_last_bgsave_status"), "ok");
        client.line("SET key value");
    }
    assert_eq!(files(server.directory()), ["server.log"]);
    // Nor does the end of the server leave half of one behind.
    (0..100).for_each(|key| drop(client.line(&format!("SET {key} value"))));
    assert!(!client.line("BGSAVE").is_error());
    assert_eq!(client.command(&["SHUTDOWN", "NOSAVE"]).map_err(|error| error.kind()), Err(ErrorKind::UnexpectedEof));
    assert!(wait_until(DEADLINE, || server.exit_status().is_some()));
    assert_eq!(files(server.directory()), ["server.log"]);
}

/// What cannot be saved stays, and is said; when there is room it is saved.
#[test]
fn a_full_disk_refuses_writes_until_a_snapshot_succeeds() {
    let Some(options) = spinel() else { return };
    let options = options.arguments(["--save", "3600 1", "--rdbcompression", "no"]);
    let mut server = started(&with_small_files(options));
    let mut client = server.client();
    let value = "z".repeat(1000);
    (0..200).for_each(|key| drop(client.command(&["SET", &key.to_string(), &value])));
    assert!(client.line("SAVE").is_error());
    assert_eq!(info_text(&server, "rdb_last_bgsave_status"), "err");
    assert!(client.line("SET a b").is_error_of("MISCONF"));
    assert!(client.line("SHUTDOWN").is_error());
    assert_eq!(client.line("STRLEN 1").integer(), Some(1000));
    assert_eq!(files(server.directory()), ["server.log"], "half a snapshot is left behind");
    lift(&server);
    assert_eq!(client.line("SAVE").text(), Some("OK"));
    assert_eq!(client.line("SET a b").text(), Some("OK"));
    let status = server.terminate(DEADLINE).expect("SIGTERM ends it");
    assert!(status.success(), "{status}\n{}", server.log());
    let again = restarted(&server, &[]);
    assert_eq!(again.client().line("DBSIZE").integer(), Some(201));
}

/// Starts it where it has to refuse; what it says, which is the log's last warning.
fn refusal(arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(testkit::program(Kind::Spinel).expect("it is there"))
        .args(["--port", "0", "--dir"])
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{}\n{text}", output.status);
    text
}

#[test]
fn files_that_cannot_be_loaded_are_refused_and_left_alone() {
    let Some(options) = spinel() else { return };
    let server = started(&options);
    let mut client = server.client();
    (0..1000).for_each(|key| drop(client.line(&format!("SET key:{key} value:{key}"))));
    assert_eq!(client.line("SAVE").text(), Some("OK"));
    let folder = server.directory();
    let path = folder.join("dump.rdb");
    let whole = fs::read(&path).expect("the snapshot");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x40;
    for damaged in [&whole[..whole.len() / 2], &flipped[..], b"nonsense, and quite some of it", b""] {
        fs::write(&path, damaged).expect("the file is written");
        let text = refusal(&[], folder);
        assert!(text.contains("dump.rdb cannot be loaded: "), "{text}");
        assert_eq!(fs::read(&path).expect("the snapshot"), damaged);
    }
    // Commands that make no data, in an old append-only file.
    for command in ["QUIT", "NONSENSE", "SET"] {
        let name = "appendonly.aof";
        let _ = fs::remove_dir_all(folder.join("appendonlydir"));
        fs::write(folder.join(name), format!("*1\r\n${}\r\n{command}\r\n", command.len())).expect("it is written");
        if command != "SET" {
            let text = refusal(&["--appendonly", "yes"], folder);
            assert!(text.contains("cannot be loaded: it has "), "{text}");
        }
    }
}

/// A damaged number is no reason to take memory: each of 16 databases announces more keys than anybody has.
#[test]
fn what_a_file_announces_takes_no_more_than_its_length_allows() {
    const VALUE_BYTES: u32 = 4 << 20;
    const GROWTH_MAX: u64 = 64 << 20;
    let Some(options) = spinel() else { return };
    let server = started(&options);
    let empty = server.process().resident_bytes().expect("it runs");
    let mut file = b"REDIS0011".to_vec();
    for db in 0..16 {
        file.extend_from_slice(&[0xfe, db, 0xfb, 0x81]);
        file.extend_from_slice(&(1u64 << 62).to_be_bytes());
        file.push(0);
    }
    file.extend_from_slice(&[0, 3]);
    file.extend_from_slice(b"key\x80");
    file.extend_from_slice(&VALUE_BYTES.to_be_bytes());
    file.resize(file.len() + VALUE_BYTES as usize, b'v');
    // The end, and no checksum.
    file.push(0xff);
    file.extend_from_slice(&[0; 8]);
    fs::write(server.directory().join("dump.rdb"), file).expect("it is written");
    let again = restarted(&server, &[]);
    let mut client = again.client();
    client.line("SELECT 15");
    assert_eq!(client.line("STRLEN key").integer(), Some(VALUE_BYTES.into()));
    let grown = again.process().resident_bytes().expect("it runs").saturating_sub(empty);
    assert!(grown < GROWTH_MAX, "{grown} bytes for a value of {VALUE_BYTES}");
}

/// Neither Redis nor Valkey reads the other's form of hashes whose fields expire. Small ones, and one that is walked in pieces.
#[test]
fn fields_that_expire_are_read_by_the_family_that_was_asked_for() {
    let Some(options) = spinel() else { return };
    for (family, kind) in [("redis", Kind::Redis82), ("valkey", Kind::Valkey91)] {
        let Some(_) = testkit::program(kind) else {
            testkit::skip_aloud(&format!("no {kind} here (run tools/peers.sh)"));
            continue;
        };
        let server = started(&options.clone().arguments(["--rdb-expiring-fields", family]));
        let mut client = server.client();
        for (key, fields) in [("small", 3), ("large", 20_000)] {
            (0..fields).for_each(|field| client.queue(&["HSET", key, &format!("f{field}"), "value"]));
            (0..fields).step_by(2).for_each(|field| {
                client.queue(&[
                    "HPEXPIREAT",
                    key,
                    &(4_000_000_000_000u64 + field).to_string(),
                    "FIELDS",
                    "1",
                    &format!("f{field}"),
                ]);
            });
            client.flush().expect("it listens");
            (0..fields + fields.div_ceil(2)).for_each(|_| assert!(!client.receive().expect("a reply").is_error()));
        }
        let payload = client.command(&["DUMP", "small"]).expect("a reply").bytes().expect("a payload").to_vec();
        assert_eq!(client.line("BGSAVE").text(), Some("Background saving started"));
        assert!(wait_until(DEADLINE, || info(&server, "rdb_bgsave_in_progress") == 0));
        let folder = server.directory().to_str().expect("a plain path");
        let other =
            ServerOptions::new(kind).arguments(["--dir", folder, "--save", ""]).start().expect("it reads the file");
        let mut reader = other.client();
        let restored = reader.command(&[b"RESTORE".to_vec(), b"restored".to_vec(), b"0".to_vec(), payload]);
        assert_eq!(restored.expect("a reply").text(), Some("OK"));
        for (key, of) in [("small", "small"), ("large", "large"), ("restored", "small")] {
            assert_eq!(reader.command(&["HLEN", key]).unwrap(), client.command(&["HLEN", of]).unwrap());
            for field in ["f0", "f1", "f2"] {
                let time =
                    |client: &mut Client, key| client.command(&["HPEXPIRETIME", key, "FIELDS", "1", field]).unwrap();
                assert_eq!(time(&mut reader, key), time(&mut client, of), "{kind}: {key} {field}");
            }
        }
    }
}

/// What was queued before the disk has failed is refused as a whole by EXEC where a queued command writes, and by itself in a script, of which nobody
/// knows what it does.
#[test]
fn transactions_are_refused_where_the_disk_fails() {
    against_both(&["--save", "1000000 1000000"], |server| {
        let mut clients = [server.client(), server.client()];
        for client in &mut clients {
            assert_eq!(client.line("MULTI").to_string(), "OK");
        }
        assert_eq!(clients[0].line("SET a 1").to_string(), "QUEUED");
        for script in ["return 1", "return redis.pcall('SET', 'a', 1)"] {
            assert_eq!(clients[1].command(&["EVAL", script, "0"]).expect("a reply").to_string(), "QUEUED");
        }
        // No file can take its place.
        fs::create_dir(server.directory().join("dump.rdb")).expect("a folder");
        server.client().line("BGSAVE");
        let is_failing = || server.client().line("SET b 1").is_error_of("MISCONF");
        assert!(wait_until(DEADLINE, is_failing), "{}", server.log());
        let reply = clients[0].line("EXEC").to_string();
        assert!(reply.contains("EXECABORT Transaction discarded because of: MISCONF "), "{reply}");
        let replies = clients[1].line("EXEC");
        let replies = replies.elements().expect("an array");
        assert!(replies[0].integer() == Some(1) && replies[1].is_error_of("MISCONF"), "{replies:?}");
    });
}

/// Who watches a key that is there is told when all data is loaded anew, even if it comes back as it was: another server would say the same.
#[test]
fn loading_again_touches_what_is_watched() {
    against_both(&["--enable-debug-command", "yes"], |server| {
        let (mut client, mut watcher) = (server.client(), server.client());
        let mut watched = |lines: &[&str], reload: &str| {
            client.line("FLUSHALL");
            lines.iter().for_each(|line| drop(client.line(line)));
            watcher.line("WATCH a");
            assert_eq!(client.line(reload).text(), Some("OK"));
            watcher.line("MULTI");
            watcher.line("PING");
            watcher.line("EXEC").is_null()
        };
        assert!(watched(&["SET a 1"], "DEBUG RELOAD"));
        assert!(watched(&["SET a 1"], "DEBUG RELOAD MERGE"));
        assert!(watched(&["SET b 1", "SAVE", "SET a 1"], "DEBUG RELOAD NOSAVE"), "it went");
        assert!(!watched(&["SET b 1"], "DEBUG RELOAD"), "it was not there");
        assert!(!watched(&["SET a 1", "SAVE", "DEL a"], "DEBUG RELOAD NOSAVE"), "it came, which was not a change");
        assert!(!watched(&["SET a 1"], "DEBUG RELOAD NOFLUSH MERGE"), "nothing was taken away");
    });
}

/// With save points a FLUSHALL is on disk when it is answered, also one that calls a snapshot off.
#[test]
fn what_was_flushed_does_not_come_back() {
    let Some(options) = spinel() else { return };
    for (flush, is_saving) in [("FLUSHALL", false), ("FLUSHALL ASYNC", true), ("FLUSHALL SYNC", true)] {
        let server = started(&options.clone().arguments([
            "--save",
            "3600 1",
            "--io-threads",
            "2",
            "--enable-debug-command",
            "local",
        ]));
        let mut client = server.client();
        assert_eq!(client.line("DEBUG POPULATE 200000").text(), Some("OK"));
        assert_eq!(client.line("SAVE").text(), Some("OK"));
        if is_saving {
            assert_eq!(client.line("BGSAVE").text(), Some("Background saving started"));
        }
        assert_eq!(client.line(flush).text(), Some("OK"));
        assert_eq!(client.line("DBSIZE").integer(), Some(0));
        let mut server = server;
        server.kill();
        let again = restarted(&server, &["--save", "3600 1"]);
        assert_eq!(again.client().line("DBSIZE").integer(), Some(0), "after {flush}: {}", again.log());
    }
}

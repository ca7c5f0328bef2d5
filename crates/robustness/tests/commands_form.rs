//! `aof-use-rdb-preamble no`: the base of the append-only file as commands.

use std::path::PathBuf;
use std::time::Duration;

use robustness::values::{EXPIRING_KEYS, KEYS, content, fill, fill_expiring};
use testkit::{Client, Kind, Server, program, skip_aloud, wait_until};

const DEADLINE: Duration = Duration::from_secs(60);
const APPEND_ONLY: [&str; 4] = ["--appendonly", "yes", "--aof-use-rdb-preamble", "no"];

fn rewrite(client: &mut Client) {
    let reply = client.line("BGREWRITEAOF");
    assert!(!reply.is_error(), "{reply}");
    let ended = wait_until(DEADLINE, || {
        let info = client.line("INFO persistence");
        let info = info.text().expect("text");
        info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
    });
    assert!(ended, "the rewrite does not end");
}

fn base_of(server: &Server) -> (PathBuf, Vec<u8>) {
    let folder = server.directory().join("appendonlydir");
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    names.retain(|name| name.to_string_lossy().contains(".base."));
    assert_eq!(names.len(), 1, "{names:?}");
    let name = names.remove(0);
    let bytes = std::fs::read(&name).expect("the base");
    (name, bytes)
}

fn contents(client: &mut Client, keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| content(client, key)).collect()
}

#[test]
fn every_type_survives_a_rewrite_here_and_elsewhere() {
    let all: Vec<&str> = KEYS.iter().chain(EXPIRING_KEYS).copied().collect();
    let server = Server::start(Kind::Spinel, &APPEND_ONLY).expect("Spinel starts");
    let mut client = server.client();
    fill(&mut client);
    fill_expiring(&mut client);
    let large: String = (0..9000).map(|index| format!(" {index} m{index}")).collect();
    client.line(&format!("ZADD opened{large}"));
    client.line(&format!("HSET opened-hash{large}"));
    client.line("PEXPIREAT opened-hash 4102444800000");
    client.line("SELECT 3");
    client.line("SET elsewhere 1");
    client.line("SELECT 0");
    let all = [&all[..], &["opened", "opened-hash"]].concat();
    let before = contents(&mut client, &all);
    rewrite(&mut client);
    let (name, bytes) = base_of(&server);
    assert_eq!(name.extension().expect("a suffix"), "aof");
    assert!(bytes.starts_with(b"*2\r\n$6\r\nSELECT\r\n"), "{}", bytes[..40].escape_ascii());
    assert!(bytes.ends_with(b"\r\n"));

    client.line("SET behind 1");
    client.line("DEBUG LOADAOF");
    assert_eq!(contents(&mut client, &all), before, "loaded again by the same server");
    assert_eq!(client.line("GET behind").to_string(), "\"1\"");
    assert_eq!(client.line("DBSIZE").integer(), Some(all.len() as i64 + 1));

    for kind in [Kind::Spinel, Kind::Redis82, Kind::Valkey91, Kind::Redis70] {
        if program(kind).is_none() {
            skip_aloud(&format!("no {kind} here (run tools/peers.sh)"));
            continue;
        }
        let other = Server::start(kind, &[]).expect("a server that is there starts");
        let mut other_client = other.client();
        load_commands(&mut other_client, &bytes, kind);
        let known = if kind == Kind::Redis70 { KEYS } else { &all[..] };
        for (key, before) in all.iter().zip(&before).filter(|(key, _)| known.contains(key)) {
            assert_eq!(&content(&mut other_client, key), before, "{key} in {kind}");
        }
        other_client.line("SELECT 3");
        assert_eq!(other_client.line("GET elsewhere").to_string(), "\"1\"", "{kind}");
    }
}

/// The file as a stream of requests: that is what it is.
fn load_commands(client: &mut Client, bytes: &[u8], kind: Kind) {
    client.queue_raw(bytes);
    client.queue(&["ECHO", "end"]);
    client.flush().expect("sent");
    loop {
        let reply = client.receive().expect("a reply");
        if reply.bytes() == Some(b"end") {
            break;
        }
        // Redis 7.0 knows no fields that expire.
        assert!(
            !reply.is_error() || kind == Kind::Redis70 && reply.to_string().contains("HPEXPIREAT"),
            "{kind}: {reply}"
        );
    }
    client.line("SELECT 0");
}

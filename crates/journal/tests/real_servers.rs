//! Files of real servers are read, and ours are read by them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use journal::aof::{BaseForm, Commands, Event, Files, Fsync, Manifest, Settings, Writer};
use journal::disk::{Disk, FileSystem};
use journal::{Batch, Destination, Destinations, Journal};
use testkit::{Kind, Server, ServerOptions, program, skip_aloud, wait_until};

const KINDS: [Kind; 3] = [Kind::Redis82, Kind::Valkey91, Kind::Redis70];

/// What SET, DEL and INCR make of a database and key.
type Data = BTreeMap<(u32, String), String>;

/// Runs the commands of a set of files.
fn load(directory: &Path, folder: &str, stem: &str) -> Data {
    let disk = Arc::new(FileSystem::new(directory));
    let files = Files::open(disk.clone(), folder.as_bytes(), stem.as_bytes()).expect("files of a server");
    let mut data = Data::new();
    for part in files.parts().expect("what is listed is there") {
        let mut db = 0;
        let mut commands = Commands::new(disk.reader(&part.path, 0).expect("it is there"), 0);
        while let Some(unit) = commands.next_unit().unwrap_or_else(|error| panic!("{part:?}: {error}")) {
            for command in unit.commands() {
                let words: Vec<String> =
                    command.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
                let key = |index: usize| (db, words[index].clone());
                match words[0].to_ascii_uppercase().as_str() {
                    "SELECT" => db = words[1].parse().expect("a number"),
                    "SET" => drop(data.insert(key(1), words[2].clone())),
                    "INCR" => {
                        let value = data.entry(key(1)).or_insert("0".to_owned());
                        *value = (value.parse::<i64>().expect("a number") + 1).to_string();
                    }
                    "DEL" => drop(data.remove(&key(1))),
                    other => panic!("{other} was not written"),
                }
            }
        }
        assert_eq!(commands.valid_bytes(), part.size_bytes);
    }
    data
}

fn must_hold(server: &Server, data: &Data) {
    let mut client = server.client();
    // Redis answers between one file and the next.
    let is_loaded = wait_until(Duration::from_secs(20), || {
        client.command(&["INFO", "persistence"]).unwrap().text().unwrap().contains("\r\nloading:0\r\n")
    });
    assert!(is_loaded, "{}", server.log());
    let mut size = 0;
    for db in 0..4 {
        client.command(&["SELECT", &db.to_string()]).unwrap();
        size += client.command(&["DBSIZE"]).unwrap().integer().expect("a count") as usize;
        for ((_, key), value) in data.iter().filter(|((at, _), _)| *at == db) {
            let found = client.command(&["GET", key]).unwrap();
            assert_eq!(found.text(), Some(value.as_str()), "{}: {key} in {db}", server.kind());
        }
    }
    assert_eq!(size, data.len());
}

/// Units from a fixed pattern: single effects, several databases, transactions.
fn append(journal: &Journal, data: &mut Data, numbers: std::ops::Range<u32>) {
    let mut batch = Batch::new();
    for number in numbers {
        batch.serve(journal.wanted());
        batch.unit_begin();
        for part in 0..=number % 3 {
            let db = (number / 5 + part) % 4;
            let key = format!("key {} {part}", number % 40);
            let value = format!("{number}\r\n").repeat(1 + number as usize % 30);
            if number % 11 == 10 {
                batch.effect(db, [b"DEL".as_slice(), key.as_bytes()], Destinations::all());
                data.remove(&(db, key));
            } else {
                batch.effect(db, [b"SET".as_slice(), key.as_bytes(), value.as_bytes()], Destinations::all());
                data.insert((db, key), value);
            }
            batch.effect(db, [b"INCR".as_slice(), b"count"], Destinations::AOF);
            let count = data.entry((db, "count".to_owned())).or_insert("0".to_owned());
            *count = (count.parse::<i64>().unwrap() + 1).to_string();
        }
        batch.unit_end();
        journal.append(&mut batch, 1_700_000_000 + u64::from(number / 10));
    }
}

/// The data set as commands.
fn base(data: &Data) -> Vec<u8> {
    let mut bytes = Vec::new();
    for ((db, key), value) in data {
        let db = db.to_string();
        for words in [vec!["SELECT", &db], vec!["SET", key, value]] {
            testkit::encode_command(&words, &mut bytes);
        }
    }
    bytes
}

#[test]
fn ours_are_read_by_them() {
    for (round, stem) in ["appendonly.aof", "a b\"c"].into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(FileSystem::new(directory.path()));
        let journal = Arc::new(Journal::new(u64::MAX));
        journal.annotate_time(round == 0);
        let mut data = Data::new();
        let mut files = Files::open(disk.clone(), b"folder", stem.as_bytes()).unwrap();
        files.create_base(b"", BaseForm::Commands).unwrap();
        let temporary = files.temporary_base_path();
        let settings = Settings { fsync: [Fsync::EverySecond, Fsync::Always][round], keep_history: round == 1 };
        let (events, heard) = std::sync::mpsc::channel();
        let notify = move |event| drop(events.send(event));
        let writer = Writer::start(journal.reader(Destination::Aof), files, settings, notify).unwrap();
        append(&journal, &mut data, 0..100);
        let at = writer.cut();
        let snapshot = base(&data);
        append(&journal, &mut data, 100..200);
        std::fs::write(directory.path().join(&temporary), snapshot).unwrap();
        writer.install_base(at, temporary, BaseForm::Commands);
        assert!(heard.iter().any(|event| event == Event::BaseInstalled { at, name: format!("{stem}.2.base.aof") }));
        append(&journal, &mut data, 200..300);
        let (ended, reader) = writer.stop();
        ended.unwrap();
        assert_eq!(journal.durable(), journal.tail(Destination::Aof));
        drop(reader);
        // A second life writes on.
        let files = Files::open(disk, b"folder", stem.as_bytes()).unwrap();
        let writer = Writer::start(journal.reader(Destination::Aof), files, settings, |_| {}).unwrap();
        append(&journal, &mut data, 300..400);
        writer.stop().0.unwrap();

        assert_eq!(load(directory.path(), "folder", stem), data);
        for kind in KINDS {
            if program(kind).is_none() {
                skip_aloud(&format!("no {kind} here (run tools/peers.sh)"));
                continue;
            }
            let path = directory.path().to_str().unwrap();
            let arguments =
                ["--dir", path, "--appendonly", "yes", "--appenddirname", "folder", "--appendfilename", stem];
            let server = ServerOptions::new(kind).arguments(arguments).start().unwrap();
            must_hold(&server, &data);
        }
    }
}

#[test]
fn theirs_are_read_by_us() {
    for kind in KINDS {
        if program(kind).is_none() {
            skip_aloud(&format!("no {kind} here (run tools/peers.sh)"));
            continue;
        }
        let arguments = ["--appendonly", "yes", "--aof-use-rdb-preamble", "no", "--aof-timestamp-enabled", "yes"];
        let mut server = Server::start(kind, &arguments).unwrap();
        let mut client = server.client();
        // Kept, so that the manifest shows every type of file.
        client.command(&["CONFIG", "SET", "aof-disable-auto-gc", "yes"]).unwrap();
        let mut data = Data::new();
        for number in 0..100u32 {
            let db = number / 10 % 4;
            client.command(&["SELECT", &db.to_string()]).unwrap();
            client.command(&["MULTI"]).unwrap();
            for key in 0..=number % 3 {
                let (key, value) = (format!("key {key}"), format!("{number}\n").repeat(50));
                client.command(&["SET", &key, &value]).unwrap();
                data.insert((db, key), value);
            }
            client.command(&["EXEC"]).unwrap();
            if number % 40 == 30 {
                client.command(&["BGREWRITEAOF"]).unwrap();
                let is_done = wait_until(Duration::from_secs(20), || {
                    let info = client.command(&["INFO", "persistence"]).unwrap();
                    let info = info.text().unwrap();
                    info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
                });
                assert!(is_done, "{}", server.log());
            }
        }
        server.kill();
        assert_eq!(load(server.directory(), "appendonlydir", "appendonly.aof"), data, "{kind}");
        let text = std::fs::read(server.directory().join("appendonlydir/appendonly.aof.manifest")).unwrap();
        let manifest = Manifest::parse(&text).unwrap();
        assert!(!manifest.history.is_empty(), "{kind}");
        assert_eq!(String::from_utf8_lossy(&manifest.encode()), String::from_utf8_lossy(&text), "{kind}");
    }
}

/// Also when the crash came between the manifest and the move.
#[test]
fn an_old_single_file_becomes_the_base() {
    for is_begun in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let mut data = Data::new();
        data.insert((0, "a".to_owned()), "1".to_owned());
        std::fs::write(directory.path().join("appendonly.aof"), base(&data)).unwrap();
        if is_begun {
            std::fs::create_dir(directory.path().join("appendonlydir")).unwrap();
            let manifest = "file appendonly.aof seq 1 type b\n";
            std::fs::write(directory.path().join("appendonlydir/appendonly.aof.manifest"), manifest).unwrap();
        }
        assert_eq!(load(directory.path(), "appendonlydir", "appendonly.aof"), data);
        assert!(!directory.path().join("appendonly.aof").exists());
        let journal = Arc::new(Journal::new(u64::MAX));
        let disk = Arc::new(FileSystem::new(directory.path()));
        let files = Files::open(disk, b"appendonlydir", b"appendonly.aof").unwrap();
        let settings = Settings { fsync: Fsync::No, keep_history: false };
        let writer = Writer::start(journal.reader(Destination::Aof), files, settings, |_| {}).unwrap();
        append(&journal, &mut data, 0..10);
        writer.stop().0.unwrap();
        assert_eq!(load(directory.path(), "appendonlydir", "appendonly.aof"), data);
        if program(Kind::Redis82).is_none() {
            return skip_aloud("no Redis 8.2 here (run tools/peers.sh)");
        }
        let path = directory.path().to_str().unwrap();
        let server =
            ServerOptions::new(Kind::Redis82).arguments(["--dir", path, "--appendonly", "yes"]).start().unwrap();
        must_hold(&server, &data);
    }
}

//! What the tests of one side share.
#![allow(dead_code, reason = "not every test needs all of it")]

use replication::{Action, Address, Config, History, LinkId, Log, Machine, Ms, ReplicationId, Sync, SyncRequest};

pub const OURS: u8 = 1;
pub const THEIRS: u8 = 2;
pub const NOTHING: Log = Log { first: None, end: 0 };

pub fn id(number: u8) -> ReplicationId {
    ReplicationId::from_random([number; 20])
}

pub fn log(first: u64, end: u64) -> Log {
    Log { first: Some(first), end }
}

pub fn machine(config: Config) -> Machine {
    Machine::new(Ms(0), config, History::new(id(OURS)))
}

pub fn there() -> Address {
    Address { host: "there".to_owned(), port: 7000 }
}

/// What the machine wants done, but for notes.
pub fn actions(machine: &mut Machine) -> Vec<Action> {
    all(machine).into_iter().filter(|action| !matches!(action, Action::Note(..))).collect()
}

pub fn all(machine: &mut Machine) -> Vec<Action> {
    std::iter::from_fn(|| machine.poll_action()).collect()
}

/// The notes, in one text.
pub fn notes(machine: &mut Machine) -> String {
    let texts = all(machine).into_iter().filter_map(|action| match action {
        Action::Note(_, text) => Some(text),
        _ => None,
    });
    texts.collect::<Vec<String>>().join("\n")
}

/// What was sent to the primary, in words.
pub fn sent(machine: &mut Machine) -> Vec<String> {
    let commands = actions(machine).into_iter().filter_map(|action| match action {
        Action::Send(bytes) => Some(words(&bytes)),
        _ => None,
    });
    commands.collect()
}

pub fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    // Behind the count, every other line is a length.
    let words = text.split("\r\n").skip(2).step_by(2).filter(|word| !word.is_empty());
    words.collect::<Vec<&str>>().join(" ")
}

pub fn psync(machine: &mut Machine, now: u64, link: u64, id: &str, offset: i64, log: Log) -> Sync {
    let request = SyncRequest::Psync { id: id.as_bytes(), offset, failover: false };
    machine.sync(Ms(now), LinkId(link), "host", request, log, self::id(9))
}

/// A replica that can read a mark and understands other ids asks for everything.
pub fn join(machine: &mut Machine, now: u64, link: u64, log: Log) {
    let words: [&[u8]; 4] = [b"capa", b"eof", b"capa", b"psync2"];
    machine.replconf(Ms(now), LinkId(link), "host", &words, log);
    assert_eq!(psync(machine, now, link, "?", -1, log), Sync::Wait);
}

pub fn acknowledge(machine: &mut Machine, now: u64, link: u64, offset: u64, log: Log) {
    machine.replconf(Ms(now), LinkId(link), "host", &[b"ACK", offset.to_string().as_bytes()], log);
}

//! Power failures at every moment, on a disk that fails: what is found afterwards is a beginning of what happened, by whole units, and
//! nothing is missing that was said to be durable.
//!
//! The data set is a counter. Unit `n` is one to three effects `UNIT n part parts`; a base says `STATE n`. `SPINEL_CRASHES` says how many
//! power failures there are (600), and `SPINEL_SEED` which.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use testkit::{Random, random_from, seed};

use super::appender::{Appender, Event, Fsync, Job};
use super::commands::{Arguments, Commands, LoadErrorKind};
use super::files::{BaseForm, Files};
use super::simulated::{Faults, Simulated};
use super::writer::remove;
use crate::disk::Disk;
use crate::journal::{Destination, Journal};
use crate::{Batch, Destinations};

const FOLDER: &[u8] = b"appendonlydir";
const STEM: &[u8] = b"appendonly.aof";

/// A server over one life.
struct Life {
    disk: Arc<Simulated>,
    journal: Arc<Journal>,
    appender: Appender,
    batch: Batch,
    now: Duration,
    /// The last unit, and the offset behind each of this life.
    last: u64,
    ends: Vec<(u64, u64)>,
    /// This much is there whatever happens.
    promised: u64,
    /// The set is not published before its first base: nothing is promised.
    is_anew: bool,
    cuts: Vec<(u64, u64)>,
    jobs: Vec<Job>,
    needs_rewrite: bool,
    /// A base waits to be installed.
    is_installing: bool,
}

impl Life {
    /// Goes on where `recover` has ended.
    fn begin(disk: Arc<Simulated>, last: u64, random: &mut Random, is_anew: bool) -> Life {
        let mut files = Files::open(disk.clone(), FOLDER, STEM).expect("no faults yet");
        if files.is_empty() {
            files.create_base(&command(&["STATE", &last.to_string()]), BaseForm::Commands).expect("no faults yet");
        } else if is_anew {
            files.begin_anew();
        }
        let is_anew = is_anew && files.is_empty();
        let journal = Arc::new(Journal::new(u64::MAX));
        journal.annotate_time(random.random_bool(0.3));
        let reader = journal.reader(Destination::Aof);
        let policy = [Fsync::Always, Fsync::EverySecond, Fsync::No][random.random_range(0..3)];
        let appender = Appender::new(reader, files, policy, random.random_bool(0.1)).expect("no faults yet");
        Life {
            disk,
            journal,
            appender,
            batch: Batch::new(),
            now: Duration::ZERO,
            last,
            ends: vec![(0, last)],
            promised: last,
            is_anew,
            cuts: if is_anew { vec![(0, last)] } else { Vec::new() },
            jobs: Vec::new(),
            needs_rewrite: false,
            is_installing: false,
        }
    }

    fn append(&mut self, random: &mut Random) {
        self.batch.serve(self.journal.wanted());
        for _ in 0..random.random_range(1..4) {
            self.last += 1;
            self.batch.unit_begin();
            let parts = random.random_range(1..4u32);
            let long =
                if random.random_bool(0.02) { random.random_range(0..100_000) } else { random.random_range(0..40) };
            for part in 1..=parts {
                let words = ["UNIT", &self.last.to_string(), &part.to_string(), &parts.to_string(), &"x".repeat(long)];
                self.batch.effect(random.random_range(0..3), &words, Destinations::AOF);
            }
            self.batch.unit_end();
        }
        let tails = self.journal.append(&mut self.batch, self.now.as_secs());
        self.ends.push((tails.aof, self.last));
    }

    fn step(&mut self) {
        let next = self.appender.step(self.now);
        self.jobs.extend(next.jobs);
        for event in next.events {
            let is_base = matches!(event, Event::BaseInstalled { .. } | Event::BaseFailed { .. });
            self.is_installing &= !is_base;
            match event {
                Event::BaseInstalled { .. } => self.is_anew = false,
                Event::RewriteNeeded => self.needs_rewrite = true,
                Event::RotationFailed { at, .. } | Event::BaseFailed { at, .. } => {
                    self.cuts.retain(|(cut, _)| *cut != at);
                }
                _ => {}
            }
        }
        self.note_durable();
    }

    fn note_durable(&mut self) {
        let durable = self.journal.durable();
        if !self.is_anew {
            let known = self.ends.partition_point(|(end, _)| *end <= durable);
            self.promised = self.promised.max(self.ends[known - 1].1);
        }
    }

    fn finish_job(&mut self, index: usize) {
        match self.jobs.swap_remove(index) {
            Job::Sync(file) => self.appender.handle_synced(file.sync_data(), self.now),
            Job::Remove(paths) => self.appender.handle_removed(remove(&*self.disk, paths)),
        }
        self.note_durable();
    }

    /// The rewrite of a cut is written, or fails.
    fn write_base(&mut self, random: &mut Random) {
        if self.cuts.is_empty() || self.is_installing {
            return;
        }
        let (at, state) = self.cuts.swap_remove(random.random_range(0..self.cuts.len()));
        // As one server has one rewrite at a time, an older cut is not used any more.
        self.cuts.retain(|(cut, _)| *cut > at);
        let path = Path::new("appendonlydir/temp-base");
        let content = command(&["STATE", &state.to_string()]);
        let written = self.disk.create(path).and_then(|file| {
            if file.write_at(&[IoSlice::new(&content)], 0)? < content.len() {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            file.sync_data()
        });
        if written.is_ok() {
            self.appender.install_base(at, path.to_owned(), BaseForm::Commands);
            self.is_installing = true;
        }
    }

    fn act(&mut self, random: &mut Random) {
        match random.random_range(0..20) {
            0..9 => self.append(random),
            9..14 => {
                self.now += Duration::from_millis(random.random_range(0..1500));
                self.step();
            }
            14 | 15 if !self.jobs.is_empty() => {
                self.finish_job(random.random_range(0..self.jobs.len()));
            }
            16 => self.cuts.push((self.journal.rotate(), self.last)),
            17 => self.write_base(random),
            18 => {
                let policy = [Fsync::Always, Fsync::EverySecond, Fsync::No][random.random_range(0..3)];
                self.appender.set_policy(policy);
            }
            19 => self.disk.set_faults(faults(random)),
            _ => self.step(),
        }
    }

    /// Without faults everything becomes durable by itself, in bounded time; where memory did not suffice, with a rewrite.
    fn heal(&mut self, random: &mut Random) {
        self.disk.set_faults(Faults::default());
        self.appender.set_policy(Fsync::Always);
        for round in 0..20 {
            if [5, 10].contains(&round) && self.needs_rewrite {
                self.cuts = vec![(self.journal.rotate(), self.last)];
            }
            if [8, 15].contains(&round) {
                self.write_base(random);
            }
            while let Some(last) = self.jobs.len().checked_sub(1) {
                self.finish_job(last);
            }
            self.now += Duration::from_secs(2);
            self.step();
        }
        assert_eq!(self.journal.durable(), self.journal.tail(Destination::Aof), "it does not recover");
        assert!(self.appender.figures().failure.is_none(), "it does not say that it has recovered");
    }
}

fn faults(random: &mut Random) -> Faults {
    let mut rate =
        |chance: f64, most: f64| if random.random_bool(chance) { random.random_range(0.0..most) } else { 0.0 };
    Faults {
        write: rate(0.3, 0.5),
        short_write: rate(0.4, 0.7),
        sync: rate(0.3, 0.7),
        rename: rate(0.2, 0.5),
        create: rate(0.2, 0.5),
        sync_folder: rate(0.2, 0.7),
        set_len: rate(0.2, 0.9),
        is_full: random.random_bool(0.1),
    }
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    crate::batch::encode_command(&mut bytes, words);
    bytes
}

/// Loads what is there; the last unit. Panics where it is no beginning of what happened.
fn recover(disk: &Simulated, has_dropped: bool) -> u64 {
    let shared: Arc<dyn Disk> = Arc::new(disk.again());
    let files = Files::open(shared, FOLDER, STEM).unwrap_or_else(|error| panic!("{error}"));
    let mut last = 0;
    for part in files.parts().unwrap_or_else(|error| panic!("{error}")) {
        let name = String::from_utf8_lossy(&part.name).into_owned();
        let mut commands = Commands::new(disk.reader(&part.path, 0).expect("no faults"), 0);
        loop {
            match commands.next_unit() {
                Ok(Some(unit)) => {
                    let commands: Vec<Vec<String>> =
                        unit.commands().map(words).filter(|words| words[0] != "SELECT").collect();
                    if commands.is_empty() {
                        continue;
                    }
                    let number: u64 = commands[0][1].parse().unwrap();
                    if commands[0][0] == "STATE" {
                        last = number;
                        continue;
                    }
                    assert_eq!(number, last + 1, "{name}: unit {number} follows {last}");
                    assert_eq!(commands.len().to_string(), commands[0][3], "{name}: half a unit");
                    for (index, command) in commands.iter().enumerate() {
                        assert_eq!((&command[1], &command[2]), (&commands[0][1], &(index + 1).to_string()), "{name}");
                    }
                    last = number;
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(part.is_last, "{name} is not the last file: {error}");
                    // A sync that failed may leave a hole behind what is safe, until the bytes are written again.
                    let is_cut = matches!(error.kind, LoadErrorKind::Truncated { .. });
                    assert!(is_cut || has_dropped, "{name}: {error}");
                    files.truncate(&part, error.valid_bytes).expect("no faults");
                    break;
                }
            }
        }
    }
    last
}

fn words(command: Arguments<'_>) -> Vec<String> {
    command.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

#[test]
fn a_crash_takes_nothing_back_that_was_durable() {
    let seed = seed();
    let crashes: u64 = std::env::var("SPINEL_CRASHES").map_or(600, |text| text.parse().expect("a number"));
    for round in 0..crashes.div_ceil(12) {
        let mut random = random_from(seed.wrapping_mul(1_000_003) ^ round);
        let mut disk = Arc::new(Simulated::new(random.random()));
        let mut last = 0;
        for _ in 0..12 {
            let is_anew = random.random_bool(0.15);
            let mut life = Life::begin(disk, last, &mut random, is_anew);
            for _ in 0..random.random_range(0..150) {
                life.act(&mut random);
            }
            let is_healed = random.random_bool(0.3) && !life.is_anew;
            if is_healed {
                life.heal(&mut random);
                assert_eq!(life.promised, life.last);
            }
            let after = life.disk.crash();
            let has_dropped = life.disk.has_dropped();
            last = recover(&after, has_dropped);
            assert!(
                (life.promised..=life.last).contains(&last),
                "round {round}: {last} is left, {} was promised, {} has happened",
                life.promised,
                life.last
            );
            disk = Arc::new(after);
        }
    }
}

/// Each planted bug must be found, or the test is worth nothing.
#[cfg(feature = "planted")]
#[test]
fn planted_bugs_are_found() {
    let status = |plant: &str| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "aof::crash_tests::a_crash_takes_nothing_back_that_was_durable"])
            .env("SPINEL_PLANT", plant)
            .output()
            .unwrap()
            .status
    };
    assert!(status("none").success());
    for plant in ["reply-before-durable", "half-multi"] {
        assert!(!status(plant).success(), "{plant} went unnoticed");
    }
}

/// What could not be read at the next start is refused at this one.
#[test]
fn names_that_make_lines_too_long_are_refused() {
    let disk = Arc::new(Simulated::new(seed()));
    let mut files = Files::open(disk.clone(), FOLDER, &[0xFF; 252]).expect("there is nothing yet");
    let error = files.create_base(b"", BaseForm::Commands).expect_err("each byte is four in the manifest");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    Files::open(disk, FOLDER, &[b'x'; 240]).unwrap().create_base(b"", BaseForm::Commands).unwrap();
}

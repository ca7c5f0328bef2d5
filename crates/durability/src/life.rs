//! Rounds of lives: a server is written to, killed at a random instant, started again on what is left, and must have what was promised.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use rand::seq::IndexedRandom;
use testkit::{Client, Kind, Random, Server, ServerOptions, random_from, wait_for, wait_until};

use crate::disk::{Faults, FaultyDisk};
use crate::lane::{Clock, Explained, Lane, Watch, Work};
use crate::model::Model;

/// How the data is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    Always,
    EverySecond,
    No,
    Snapshots,
}

/// What lies under the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The file system as it is. A killed process leaves everything there that it has written.
    Plain,
    /// What is not synchronised may be gone.
    Lossy,
    /// And now and then it fails, or is full.
    Failing,
}

/// What one round is like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub keeping: Keeping,
    pub ground: Ground,
    pub threads: usize,
    /// `appendonly` is switched off and on.
    pub switches: bool,
    pub lives: usize,
    pub lanes: usize,
    pub depth_max: usize,
    /// How long a life is at most.
    pub life_ms_max: u64,
}

impl Plan {
    pub fn draw(random: &mut Random, grounds: &[Ground]) -> Plan {
        use Keeping::*;
        let ground = *grounds.choose(random).expect("there is ground");
        let keeping = *[Always, Always, Always, EverySecond, Snapshots, Snapshots, No].choose(random).expect("some");
        Plan {
            keeping,
            ground,
            threads: random.random_range(1..3),
            switches: keeping != Snapshots && random.random_bool(0.4),
            lives: 3,
            lanes: random.random_range(1..6),
            depth_max: *[1, 4, 8].choose(random).expect("some"),
            // Shorter, nothing would be promised.
            life_ms_max: if keeping == EverySecond { 3500 } else { 900 },
        }
    }

    fn options(&self, random: &mut Random) -> ServerOptions {
        let mut options = ServerOptions::new(Kind::Spinel);
        let threads = self.threads.to_string();
        options = options.arguments(["--databases", "64", "--io-threads", &threads]);
        let policy = match self.keeping {
            Keeping::Always => "always",
            Keeping::EverySecond => "everysec",
            Keeping::No => "no",
            Keeping::Snapshots => return options.arguments(["--save", "3600 1"]),
        };
        options = options.arguments(["--appendonly", "yes", "--appendfsync", policy]);
        if random.random_bool(0.5) {
            // Rewrites by themselves, all the time.
            options = options.arguments(["--auto-aof-rewrite-min-size", "64kb", "--auto-aof-rewrite-percentage", "50"]);
        }
        if random.random_bool(0.3) {
            options = options.arguments(["--aof-timestamp-enabled", "yes"]);
        }
        if random.random_bool(0.2) {
            options = options.arguments(["--aof-use-rdb-preamble", "no"]);
        }
        options
    }
}

/// What a run has come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub lives: u64,
    pub steps: u64,
    /// Steps that were there no more, and that nobody had promised.
    pub dropped: u64,
    pub saves: u64,
    pub rewrites: u64,
    pub switches: u64,
    pub faults: u64,
    pub refusals: u64,
    /// Files with a hole behind what was safe, cut off by `redis-check-aof --fix`.
    pub repairs: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { lives, steps, dropped, saves, rewrites, switches, faults, refusals, repairs } = self;
        write!(
            f,
            "{lives} lives, {steps} steps kept, {dropped} rightly lost; {saves} saves, {rewrites} rewrites, {switches} switches, \
             {faults} faults, {refusals} refusals, {repairs} repairs"
        )
    }
}

/// A snapshot's cut lies between these, on the clock of the run.
#[derive(Clone, Copy, Debug)]
struct Window {
    sent_us: u64,
    replied_us: u64,
}

/// What a life of the server has promised until its end.
#[derive(Clone, Debug)]
struct Promise {
    /// What was answered before that is kept.
    kept_us: u64,
    /// For snapshots: the state is that of one of these.
    windows: Vec<Window>,
    /// Marks that somebody has read: nobody may have seen what a crash takes back.
    seen: Vec<u64>,
}

/// Plays a round. The error says what went wrong.
pub fn play(seed: u64, plan: Plan, environment: &[(&str, &str)], tally: &mut Tally) -> Result<()> {
    let mut random = random_from(seed);
    let home = tempfile::Builder::new().prefix("durability-").tempdir()?;
    let clock = Clock::start();
    let work = Work { depth_max: plan.depth_max, elements: 0 };
    let mut lanes: Vec<Lane> =
        (0..plan.lanes).map(|index| Lane::new(index, work, clock, random_from(random.random()))).collect();
    let mut promise =
        Promise { kept_us: 0, windows: vec![Window { sent_us: 0, replied_us: 0 }], seen: vec![0; plan.lanes] };
    let mut directory = home.path().join("0");
    std::fs::create_dir_all(directory.join("data"))?;
    let mut has_failed = false;
    for number in 0..=plan.lives {
        let mut options = plan.options(&mut random);
        for (name, value) in environment {
            options = options.environment(name, value);
        }
        let data = directory.join("data");
        options = options.arguments(["--dir", data.to_str().expect("temporary folders have plain names")]);
        let (server, disk) = start(&directory, plan, has_failed, &options, tally, &mut random)?;
        let mut life = Life {
            plan,
            clock,
            server,
            disk,
            control: None,
            frozen: None,
            windows: promise.windows.clone(),
            tally: *tally,
        };
        wait_until_loaded(&life.server)?;
        life.check(&mut lanes, &promise)
            .with_context(|| keep(&directory, &format!("life {number}; server's log:\n{}", life.server.log())))?;
        if number == plan.lives {
            *tally = life.tally;
            break;
        }
        let lived = life.live(&mut lanes, &mut random);
        *tally = life.tally;
        promise = lived.with_context(|| format!("life {number}; server's log:\n{}", life.server.log()))?;
        let Life { disk, server, .. } = life;
        drop(server);
        if let Some(disk) = disk {
            has_failed = disk.faults_so_far() > 0;
            tally.faults += disk.faults_so_far();
            directory = home.path().join((number + 1).to_string());
            disk.crash(&directory, &mut random)?;
        }
    }
    Ok(())
}

/// What a crash leaves must be enough to start from. One thing nobody can mend who is not there any more: a sync has failed, and the
/// power goes before what was not safe is written again or cut off. Such a file has a hole behind its safe part; it is refused,
/// the message says what to do, and that must help. `has_failed`: a call to the disk has, in the life before.
fn start(
    directory: &Path,
    plan: Plan,
    has_failed: bool,
    options: &ServerOptions,
    tally: &mut Tally,
    random: &mut Random,
) -> Result<(Server, Option<FaultyDisk>)> {
    let mut attempt = || -> Result<(Server, Option<FaultyDisk>)> {
        let disk = match plan.ground {
            Ground::Plain => None,
            Ground::Lossy | Ground::Failing => Some(FaultyDisk::new(directory, random.random())?),
        };
        let options = options.clone();
        let options = match &disk {
            Some(disk) => disk.under(options)?,
            None => options,
        };
        Ok((options.start()?, disk))
    };
    let refused = match attempt() {
        Ok(started) => return Ok(started),
        Err(refused) => refused,
    };
    let text = format!("{refused:#}");
    let is_repairable = text.contains("Bad file format") && text.contains("redis-check-aof --fix");
    if !(has_failed && is_repairable) {
        return Err(refused.context(keep(directory, "the server does not start after the crash")));
    }
    fix(&directory.join("data")).context(refused)?;
    tally.repairs += 1;
    attempt().with_context(|| keep(directory, "the server does not start after the repair"))
}

/// As the server's message says.
fn fix(data: &Path) -> Result<()> {
    let program = testkit::program(Kind::Spinel).context("Spinel is built")?;
    let mut child = Command::new(program)
        .args(["check-aof", "--fix"])
        .arg(data.join("appendonlydir/appendonly.aof.manifest"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().expect("it is piped").write_all(b"y\n")?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "redis-check-aof --fix: {}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// A finding is worth little without the files.
fn keep(directory: &Path, what: &str) -> String {
    let kept = std::env::temp_dir().join(format!("durability-finding-{}", std::process::id()));
    // The first one of a process is enough.
    if kept.exists() {
        return what.to_owned();
    }
    let copied = copy_folder(directory, &kept);
    match copied {
        Ok(()) => format!("{what}\n(the disk as the server found it and changed it: {})", kept.display()),
        Err(error) => format!("{what}\n(the disk could not be kept: {error})"),
    }
}

/// A folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// One server process, from start to kill.
struct Life {
    plan: Plan,
    clock: Clock,
    server: Server,
    disk: Option<FaultyDisk>,
    control: Option<Client>,
    /// Since then nothing is promised any more: the file is switched off, or the disk fails.
    frozen: Option<Frozen>,
    windows: Vec<Window>,
    tally: Tally,
}

#[derive(Clone, Copy, Debug)]
struct Frozen {
    kept_us: u64,
    /// The file has been switched on again, and counts when its base is there.
    is_ending: bool,
}

const DEADLINE: Duration = Duration::from_secs(30);

impl Life {
    fn command(&mut self, line: &str) -> Result<String> {
        let client = self.control.get_or_insert_with(|| self.server.client());
        let words: Vec<&str> = line.split(' ').collect();
        Ok(client.command(&words).with_context(|| line.to_owned())?.to_string())
    }

    /// Whether INFO says so.
    fn info(&mut self, field: &str, value: &str) -> Result<bool> {
        let client = self.control.get_or_insert_with(|| self.server.client());
        let info = client.command(&["INFO", "persistence"])?;
        let text = info.text().context("INFO is text")?;
        let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(found.with_context(|| format!("no {field} in INFO"))? == value)
    }

    /// What was promised is there, and all that is there is of one instant.
    fn check(&mut self, lanes: &mut [Lane], promise: &Promise) -> Result<()> {
        let mut client = self.server.client();
        let mut explained = Vec::new();
        for lane in &*lanes {
            let dump = Model::read(&mut client, lane.databases())?;
            let found = lane.explain(&dump, promise.kept_us)?;
            ensure!(
                dump.model.marker() >= promise.seen[lane.index],
                "lane {}: step {} was read by somebody, and only {} is there",
                lane.index,
                promise.seen[lane.index],
                dump.model.marker(),
            );
            explained.push(found);
        }
        check_instant(&explained)?;
        if self.plan.keeping == Keeping::Snapshots {
            ensure!(
                promise.windows.iter().any(|window| is_within(&explained, window.sent_us, window.replied_us)),
                "the state is that of none of the last snapshots: cuts {:?}, state {explained:?}",
                promise.windows
            );
        }
        for (lane, found) in lanes.iter_mut().zip(&explained) {
            let before = lane.steps.len();
            lane.adopt(found);
            self.tally.steps += lane.steps.len() as u64;
            self.tally.dropped += (before - lane.steps.len()) as u64;
            lane.settle();
        }
        // The state at the beginning is one more snapshot that may be found.
        self.windows = vec![Window { sent_us: 0, replied_us: self.clock.now_us() }];
        Ok(())
    }

    /// Load and jobs until the kill. What was promised by then.
    fn live(&mut self, lanes: &mut [Lane], random: &mut Random) -> Result<Promise> {
        self.tally.lives += 1;
        let watch = Watch::default();
        let mut clients: Vec<Client> = lanes.iter().map(|_| self.server.client()).collect();
        // While the disk fails, reads show what is in memory (docs/persistence.md).
        let reads = self.plan.keeping == Keeping::Always && !self.plan.switches && self.plan.ground != Ground::Failing;
        let mut reader = reads.then(|| self.server.client());
        let count = lanes.len();
        let (directed, seen) = std::thread::scope(|scope| {
            let running: Vec<_> = lanes
                .iter_mut()
                .zip(&mut clients)
                .map(|(lane, client)| {
                    let watch = &watch;
                    scope.spawn(move || lane.run_until_killed(client, watch))
                })
                .collect();
            let watch = &watch;
            let reading = reader.as_mut().map(|client| scope.spawn(move || read_marks(client, count, watch)));
            let directed = self.direct(random, watch);
            let killed_us = self.clock.now_us();
            self.server.kill();
            watch.stop.store(true, Relaxed);
            let mut directed = directed.map(|()| killed_us);
            for lane in running {
                if let Err(error) = lane.join().expect("lanes do not panic") {
                    // What the director has seen may be but its consequence.
                    directed = Err(error);
                }
            }
            let seen = reading.map(|reading| reading.join().expect("readers do not panic"));
            (directed, seen.unwrap_or_else(|| vec![0; count]))
        });
        self.tally.refusals += watch.refused.load(Relaxed);
        let killed_us = directed?;
        let kept_us = match (self.plan.keeping, self.frozen) {
            (Keeping::Snapshots, _) => self.windows[0].sent_us,
            (Keeping::No, _) => 0,
            (_, Some(frozen)) => frozen.kept_us,
            (Keeping::Always, None) => u64::MAX,
            (Keeping::EverySecond, None) => killed_us.saturating_sub(2_000_000),
        };
        Ok(Promise { kept_us, windows: self.windows.clone(), seen })
    }

    /// Does what an administrator does, until the kill.
    fn direct(&mut self, random: &mut Random, watch: &Watch) -> Result<()> {
        let length_ms = random.random_range(self.plan.life_ms_max / 3..self.plan.life_ms_max);
        let end = Instant::now() + Duration::from_millis(length_ms);
        let mut healed_us = 0;
        if let Some(disk) = &self.disk {
            disk.set(self.steady(random))?;
        }
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            // Not a wait for something: the instants are what is random here.
            std::thread::sleep(left.min(Duration::from_millis(random.random_range(1..80))));
            if let Some(status) = self.server.exit_status() {
                bail!("the server has ended by itself: {status}");
            }
            if watch.stop.load(Relaxed) {
                // A lane has found something.
                return Ok(());
            }
            match random.random_range(0..10) {
                0..3 if self.plan.keeping == Keeping::Snapshots => self.save(random.random_bool(0.7))?,
                0 => self.save(false)?,
                1..3 => self.rewrite()?,
                3 if self.plan.switches => self.switch_off()?,
                4 if self.plan.switches => self.switch_on()?,
                5 if self.plan.ground == Ground::Failing => {
                    let is_left_failing = self.fail(random, watch)?;
                    if is_left_failing {
                        return Ok(());
                    }
                    healed_us = self.clock.now_us();
                }
                _ => {}
            }
            self.look_whether_promises_hold_again(healed_us)?;
        }
        Ok(())
    }

    /// The faults of good times: none, but syncs take a while.
    fn steady(&self, random: &mut Random) -> Faults {
        Faults { sync_us_max: if random.random_bool(0.5) { 5000 } else { 0 }, ..Faults::default() }
    }

    /// A snapshot, and perhaps a look at whether it is complete.
    fn save(&mut self, waits: bool) -> Result<()> {
        let saves_before = self.saves()?;
        let sent_us = self.clock.now_us();
        let reply = self.command("BGSAVE")?;
        let window = Window { sent_us, replied_us: self.clock.now_us() };
        if reply.contains("(error)") {
            return Ok(());
        }
        self.tally.saves += 1;
        self.windows.push(window);
        if waits {
            let done = wait_for(DEADLINE, || match self.info("rdb_bgsave_in_progress", "0") {
                Ok(false) => None,
                other => Some(other),
            });
            done.context("BGSAVE does not end")??;
            if self.saves()? > saves_before {
                // From now on nothing older may come back.
                self.windows = vec![window];
            }
        }
        Ok(())
    }

    fn rewrite(&mut self) -> Result<()> {
        let is_begun = !self.command("BGREWRITEAOF")?.contains("(error)");
        self.tally.rewrites += u64::from(is_begun);
        Ok(())
    }

    /// Snapshots that have succeeded.
    fn saves(&mut self) -> Result<u64> {
        let client = self.control.get_or_insert_with(|| self.server.client());
        let info = client.command(&["INFO", "persistence"])?;
        let text = info.text().context("INFO is text")?;
        let count = text.lines().find_map(|line| line.strip_prefix("rdb_saves:")).context("no rdb_saves in INFO")?;
        Ok(count.parse()?)
    }

    /// What is answered from now on may be lost.
    fn freeze(&mut self) {
        let now = self.clock.now_us();
        let kept_us = if self.plan.keeping == Keeping::Always { now } else { now.saturating_sub(2_000_000) };
        let kept_us = self.frozen.map_or(kept_us, |frozen| frozen.kept_us);
        self.frozen = Some(Frozen { kept_us, is_ending: false });
    }

    fn switch_off(&mut self) -> Result<()> {
        self.freeze();
        let reply = self.command("CONFIG SET appendonly no")?;
        ensure!(reply == "OK", "CONFIG SET appendonly no: {reply}");
        self.tally.switches += 1;
        Ok(())
    }

    fn switch_on(&mut self) -> Result<()> {
        let reply = self.command("CONFIG SET appendonly yes")?;
        ensure!(reply == "OK" || self.plan.ground == Ground::Failing, "CONFIG SET appendonly yes: {reply}");
        if let Some(frozen) = &mut self.frozen {
            frozen.is_ending = reply == "OK";
        }
        Ok(())
    }

    /// Whether the file is complete again.
    fn look_whether_promises_hold_again(&mut self, healed_us: u64) -> Result<()> {
        if !self.frozen.is_some_and(|frozen| frozen.is_ending) {
            return Ok(());
        }
        let is_back = self.info("aof_enabled", "1")?
            && self.info("aof_rewrite_in_progress", "0")?
            && self.info("aof_rewrite_scheduled", "0")?
            && self.info("aof_last_bgrewrite_status", "ok")?
            && self.info("aof_last_write_status", "ok")?;
        let is_calm = self.plan.keeping == Keeping::Always || self.clock.now_us() > healed_us + 2_000_000;
        if is_back && is_calm {
            self.frozen = None;
        }
        Ok(())
    }

    /// The disk fails for a while. True if the crash comes before it is well again.
    fn fail(&mut self, random: &mut Random, watch: &Watch) -> Result<bool> {
        if self.plan.keeping != Keeping::Always {
            self.freeze();
        }
        let is_full = random.random_bool(0.3);
        let mut rate = |most: u64| if random.random_bool(0.6) { random.random_range(0..most) } else { 0 };
        let faults = Faults {
            write: rate(500_000),
            short_write: rate(500_000),
            sync: rate(800_000),
            rename: rate(800_000),
            create: rate(800_000),
            is_full,
            sync_us_max: rate(5000),
        };
        self.disk.as_ref().expect("it is there to fail").set(faults)?;
        let has_file = self.plan.keeping != Keeping::Snapshots && self.frozen.is_none_or(|_| !self.plan.switches);
        if is_full && has_file {
            self.watch_full_disk(watch)?;
        } else if self.plan.keeping == Keeping::Snapshots {
            self.save(true)?;
        } else {
            std::thread::sleep(Duration::from_millis(random.random_range(1..400)));
        }
        if random.random_bool(0.3) {
            return Ok(true);
        }
        self.disk.as_ref().expect("as above").set(Faults::default())?;
        self.recover(watch)?;
        Ok(false)
    }

    /// A full disk is told to whoever asks, and to whoever writes.
    fn watch_full_disk(&mut self, watch: &Watch) -> Result<()> {
        let before = watch.refused.load(Relaxed);
        let told = wait_until(DEADLINE, || watch.refused.load(Relaxed) > before || watch.stop.load(Relaxed));
        ensure!(told, "the disk is full, and nobody who writes is told");
        let is_in_info = wait_for(DEADLINE, || {
            self.info("aof_last_write_status", "err").map_or_else(|error| Some(Err(error)), |is| is.then_some(Ok(())))
        });
        is_in_info.context("the disk is full, and INFO does not say so")??;
        ensure!(self.server.log().contains("cannot be written"), "the disk is full, and the log does not say so");
        let mut client = self.server.client();
        let reply = client.command(&["SET", "probe", "1"])?;
        ensure!(reply.is_error_of("MISCONF"), "the disk is full, and SET replies {reply}");
        let reply = client.command(&["GET", "nothing"])?;
        ensure!(self.plan.keeping == Keeping::Always || reply.is_null(), "the disk is full, and GET replies {reply}");
        Ok(())
    }

    /// The disk is well again: service resumes by itself.
    fn recover(&mut self, watch: &Watch) -> Result<()> {
        if self.plan.keeping == Keeping::Snapshots {
            // Refused are writes until a snapshot succeeds.
            let saves_before = self.saves()?;
            let saved = wait_for(DEADLINE, || match self.save(true).and_then(|()| self.saves()) {
                Ok(saves) => (saves > saves_before).then_some(Ok(())),
                Err(error) => Some(Err(error)),
            });
            saved.context("the disk is well again, and no snapshot succeeds")??;
            ensure!(self.info("rdb_last_bgsave_status", "ok")?, "a snapshot has succeeded, and INFO does not say so");
        } else {
            let is_well = wait_for(DEADLINE, || match self.info("aof_last_write_status", "ok") {
                Ok(false) => None,
                other => Some(other),
            });
            is_well.context("the disk is well again, and INFO still says err")??;
        }
        let before = watch.acked.load(Relaxed);
        let resumes = wait_until(DEADLINE, || watch.acked.load(Relaxed) > before || watch.stop.load(Relaxed));
        ensure!(resumes, "the disk is well again, and writes are still refused");
        if let Some(frozen) = &mut self.frozen
            && !self.plan.switches
        {
            frozen.is_ending = true;
        }
        Ok(())
    }
}

/// Reads the marks of all lanes until the server is gone: what was read must be safe.
fn read_marks(client: &mut Client, lanes: usize, watch: &Watch) -> Vec<u64> {
    let mut seen = vec![0; lanes];
    while !watch.stop.load(Relaxed) {
        for database in 0..2 * lanes {
            let _ = client.command(&["SELECT", &database.to_string()]);
            match client.command(&["GET", "step"]) {
                Err(_) => return seen,
                Ok(reply) => {
                    let step =
                        reply.text().filter(|_| !reply.is_error()).and_then(|text| text.parse().ok()).unwrap_or(0);
                    seen[database / 2] = seen[database / 2].max(step);
                }
            }
        }
    }
    seen
}

/// It answers while it loads; what it holds can be read only then.
pub fn wait_until_loaded(server: &Server) -> Result<()> {
    let mut client = server.client();
    let loaded = wait_for(DEADLINE, || match client.command(&["DBSIZE"]) {
        Ok(reply) if reply.is_error_of("LOADING") => None,
        Ok(_) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    });
    loaded.context("the server is still loading").and_then(|done| Ok(done?)).with_context(|| server.log())
}

/// No step is in it that was sent after another one was answered that is not.
pub fn check_instant(explained: &[Explained]) -> Result<()> {
    let included = explained.iter().map(|found| found.included_sent_us).max().unwrap_or(0);
    let excluded = explained.iter().map(|found| found.excluded_acked_us).min().unwrap_or(u64::MAX);
    ensure!(
        included <= excluded,
        "no instant has this state: a step that was sent at {included} us is in it, and one that was answered at {excluded} us is not: {explained:?}"
    );
    Ok(())
}

/// Whether a state may be that of an instant between these two.
pub fn is_within(explained: &[Explained], from_us: u64, to_us: u64) -> bool {
    explained.iter().all(|found| found.included_sent_us <= to_us && found.excluded_acked_us >= from_us)
}

//! `durability chain`: three servers in a chain under load; the middle is killed, the end promoted, the old primary returns as its replica, and so does
//! what was killed.
//!
//! ```text
//! load ──> head ──> middle ──> end          head ─╳─ middle ─╳─ end          load ──> end ──> head ──> middle
//!                     kill -9                                promoted                    └──> or middle
//! ```
//!
//! The load is units in a known order: number `n` is a MULTI that sets `first` to `n`, appends `n` to `log`, and sets `last` to `n`. So whoever reads at any
//! moment sees a number, the same three times, and a log that ends with it: anything else is half a transaction. Where the offsets say that
//! nobody has what another lacks, the rest of the stream has to be enough.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use testkit::{Client, Kind, Random, Server, Value, random_from, wait_for};

use crate::crash::seed_of;

/// A run of rounds.
#[derive(Clone, Debug)]
pub struct Options {
    pub rounds: u64,
    pub seed: u64,
    /// What the servers get besides.
    pub environment: Vec<(String, String)>,
}

/// What has been seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub units: u64,
    /// The old primary went on with the rest of the stream, or had more than the end and got a snapshot.
    pub head_partial: u64,
    pub head_full: u64,
    /// The middle, restarted.
    pub middle_partial: u64,
    pub middle_full: u64,
    /// Reads of a replica while the stream was applied.
    pub probes: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} units, {} reads; the old primary went on {} times and began anew {} times, the killed middle {} and {} times",
            self.units, self.probes, self.head_partial, self.head_full, self.middle_partial, self.middle_full
        )
    }
}

/// How a round goes.
#[derive(Clone, Debug)]
pub struct Plan {
    backlog_bytes: u64,
    threads: u32,
    diskless: bool,
    /// So many units before the kill.
    units: u64,
    /// So many are on their way at once.
    depth: u64,
    /// So many more keys in each unit.
    fillers: u64,
    /// The load has ended and everybody has everything when the middle is killed.
    is_quiet: bool,
    /// The middle has a snapshot from before. It may have one anyway: of the synchronisation by file that it gave to the end.
    is_saved: bool,
    /// The middle returns as the replica of the end, else of the old primary.
    returns_to_end: bool,
}

impl Plan {
    fn draw(random: &mut Random) -> Plan {
        Plan {
            backlog_bytes: [16 << 10, 1 << 20, 64 << 20][random.random_range(0..3)],
            threads: random.random_range(1..=4),
            diskless: random.random_bool(0.5),
            units: random.random_range(1..=4000),
            depth: random.random_range(1..=50),
            fillers: random.random_range(0..=5),
            is_quiet: random.random_bool(0.5),
            is_saved: random.random_bool(0.5),
            returns_to_end: random.random_bool(0.5),
        }
    }
}

const DEADLINE: Duration = Duration::from_secs(60);

/// True when all held.
pub fn run(options: &Options) -> Result<bool> {
    let mut tally = Tally::default();
    for number in 0..options.rounds {
        let seed = seed_of(options.seed, number);
        let plan = Plan::draw(&mut random_from(seed));
        if let Err(error) = play(&plan, &options.environment, &mut tally) {
            println!("{plan:?}\n{error:#}");
            println!(
                "durability chain: FAILED in round {number}. The same again, though not the same timing: durability chain --seed {} --round {number}",
                options.seed
            );
            return Ok(false);
        }
    }
    println!("durability chain: {} rounds: {tally}", options.rounds);
    Ok(true)
}

/// One round alone.
pub fn run_round(seed: u64, number: u64) -> Result<()> {
    let plan = Plan::draw(&mut random_from(seed_of(seed, number)));
    println!("{plan:?}");
    let mut tally = Tally::default();
    play(&plan, &[], &mut tally)?;
    println!("durability chain: {tally}");
    Ok(())
}

/// Writes units until it is told to stop, and knows which was the last that was answered.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

impl Load {
    fn start(server: &Server, plan: &Plan, from: u64) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(from));
        let (mut client, ends, told) = (server.client(), stop.clone(), answered.clone());
        let (depth, fillers) = (plan.depth, plan.fillers);
        let thread = std::thread::spawn(move || {
            let mut next = from;
            while !ends.load(Relaxed) {
                let first = next + 1;
                for _ in 0..depth {
                    next += 1;
                    queue_unit(&mut client, next, fillers);
                }
                client.flush()?;
                for number in first..=next {
                    for _ in 0..4 + fillers {
                        client.receive()?;
                    }
                    let reply = client.receive()?;
                    ensure!(!reply.is_error(), "unit {number}: {reply}");
                    told.store(number, Relaxed);
                }
            }
            Ok(())
        });
        Load { stop, answered, thread }
    }

    fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    fn end(self) -> Result<u64> {
        self.stop.store(true, Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        Ok(self.answered.load(Relaxed))
    }
}

fn queue_unit(client: &mut Client, number: u64, fillers: u64) {
    let number = number.to_string();
    client.queue(&["MULTI"]);
    client.queue(&["SET", "first", &number]);
    client.queue(&["RPUSH", "log", &number]);
    for filler in 0..fillers {
        client.queue(&["SET", &format!("filler:{filler}"), &number.repeat(20)]);
    }
    client.queue(&["SET", "last", &number]);
    client.queue(&["EXEC"]);
}

/// Reads all the time, and fails if it ever sees a part of a unit.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Watch {
    fn start(server: &Server) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let ends = stop.clone();
        let mut client = server.client();
        let thread = std::thread::spawn(move || {
            let mut probes = 0;
            while !ends.load(Relaxed) {
                match probe(&mut client) {
                    Ok(_) => probes += 1,
                    // Killed.
                    Err(error) if error.is::<std::io::Error>() => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(probes)
        });
        Watch { stop, thread }
    }

    fn end(self) -> Result<u64> {
        self.stop.store(true, Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("a watch panicked"))?
    }
}

/// The number of the last unit; `None` while the server loads.
fn probe(client: &mut Client) -> Result<Option<u64>> {
    for line in ["MULTI", "GET first", "LLEN log", "LINDEX log -1", "GET last"] {
        client.queue(&line.split(' ').collect::<Vec<_>>());
    }
    client.queue(&["EXEC"]);
    client.flush()?;
    for _ in 0..5 {
        client.receive()?;
    }
    let reply = client.receive()?;
    if reply.is_error() {
        let text = reply.to_string();
        ensure!(["LOADING", "MASTERDOWN", "EXECABORT", "ERR EXEC"].iter().any(|code| text.contains(code)), "{text}");
        return Ok(None);
    }
    // Queued before it began to load.
    if reply.elements().is_some_and(|values| values.iter().all(|value| value.is_error_of("LOADING"))) {
        return Ok(None);
    }
    let Some([first, length, end, last]) = reply.elements() else { bail!("no reply of four: {reply}") };
    let number = |value: &Value| {
        value.text().map_or(Ok(0), str::parse::<u64>).with_context(|| format!("EXEC's reply is {reply}"))
    };
    let seen = [number(first)?, u64::try_from(length.integer().context("a length")?)?, number(end)?, number(last)?];
    ensure!(seen.iter().all(|number| *number == seen[0]), "half a transaction: {seen:?}");
    Ok(Some(seen[0]))
}

fn info(client: &mut Client, section: &str, name: &str) -> Result<String> {
    let reply = client.command(&["INFO", section])?;
    let text = reply.text().with_context(|| format!("INFO {section}: {reply}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(line.with_context(|| format!("no {name} in INFO {section}"))?.to_owned())
}

fn number(client: &mut Client, section: &str, name: &str) -> Result<i64> {
    info(client, section, name)?.parse().with_context(|| format!("{name} is a number"))
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    match wait_for(DEADLINE, || match holds() {
        Ok(true) => Some(Ok(())),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    }) {
        Some(result) => result.with_context(|| what.to_owned()),
        None => bail!("{what}: not within {DEADLINE:?}"),
    }
}

fn is_up(client: &mut Client) -> Result<bool> {
    Ok(info(client, "replication", "role")? == "slave" && info(client, "replication", "master_link_status")? == "up")
}

/// (full, partial) synchronisations that a server has granted.
fn granted(client: &mut Client) -> Result<(i64, i64)> {
    Ok((number(client, "stats", "sync_full")?, number(client, "stats", "sync_partial_ok")?))
}

fn start(plan: &Plan, follows: Option<&Server>, environment: &[(String, String)]) -> Result<Server> {
    let mut arguments: Vec<String> = [
        ("--repl-diskless-sync", if plan.diskless { "yes" } else { "no" }.to_owned()),
        ("--repl-diskless-sync-delay", "0".to_owned()),
        ("--repl-ping-replica-period", "1".to_owned()),
        ("--repl-backlog-size", plan.backlog_bytes.to_string()),
        ("--io-threads", plan.threads.to_string()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect();
    if let Some(primary) = follows {
        arguments.extend(["--replicaof".to_owned(), format!("127.0.0.1 {}", primary.port())]);
    }
    let mut options = testkit::ServerOptions::new(Kind::Spinel).arguments(arguments);
    for (name, value) in environment {
        options = options.environment(name, value);
    }
    Ok(options.start()?)
}

fn play(plan: &Plan, environment: &[(String, String)], tally: &mut Tally) -> Result<()> {
    let head = start(plan, None, environment)?;
    let mut middle = start(plan, Some(&head), environment)?;
    let mut at_middle = middle.client();
    until("the middle follows", || is_up(&mut at_middle))?;
    let end = start(plan, Some(&middle), environment)?;
    play_with(plan, &head, &mut middle, &end, tally).with_context(|| {
        let logs = [&head, &middle, &end].map(|server| last_lines(&server.log()));
        format!("the head said:\n{}\nthe middle:\n{}\nthe end:\n{}\n", logs[0], logs[1], logs[2])
    })
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

fn play_with(plan: &Plan, head: &Server, middle: &mut Server, end: &Server, tally: &mut Tally) -> Result<()> {
    let (mut at_head, mut at_middle, mut at_end) = (head.client(), middle.client(), end.client());
    let load = Load::start(head, plan, 0);
    let watches = [Watch::start(middle), Watch::start(end)];
    until("the end follows", || is_up(&mut at_end))?;
    if plan.is_saved {
        // The snapshot for the end may not have ended.
        until("the middle saves", || {
            let reply = at_middle.command(&["SAVE"])?;
            let is_busy = reply.to_string().contains("already in progress");
            ensure!(!reply.is_error() || is_busy, "SAVE: {reply}");
            Ok(!is_busy)
        })?;
    }
    until("the load writes", || Ok(load.answered() >= plan.units || load.thread.is_finished()))?;

    // Loaded or not, at some instant.
    let mut load = Some(load);
    if plan.is_quiet {
        load.take().context("it runs")?.end()?;
        until("the end has everything", || {
            let before = number(&mut at_head, "replication", "master_repl_offset")?;
            let ends = number(&mut at_end, "replication", "master_repl_offset")?;
            Ok(ends == before && number(&mut at_head, "replication", "master_repl_offset")? == before)
        })?;
    }
    middle.kill();
    let reply = at_end.command(&["REPLICAOF", "NO", "ONE"])?;
    ensure!(!reply.is_error(), "REPLICAOF NO ONE: {reply}");
    let has = probe(&mut at_end)?.context("it has data")?;
    if let Some(load) = load {
        load.end()?;
    }
    // From now on nobody adds to the old primary's stream, not even a PING.
    until("the head has lost its replica", || Ok(info(&mut at_head, "replication", "connected_slaves")? == "0"))?;

    let old_id = info(&mut at_head, "replication", "master_replid")?;
    let old_end = number(&mut at_head, "replication", "master_repl_offset")?;
    ensure!(info(&mut at_end, "replication", "master_replid2")? == old_id, "the end has forgotten whose stream it had");
    let shared_until = number(&mut at_end, "replication", "second_repl_offset")?;
    ensure!(granted(&mut at_end)? == (0, 0), "nobody has followed the end yet");

    let load = Load::start(end, plan, has);
    let watch_head = Watch::start(head);
    follow(&mut at_head, end)?;
    until("the old primary follows", || is_up(&mut at_head))?;
    let (full, partial) = granted(&mut at_end)?;
    let first = number(&mut at_end, "replication", "repl_backlog_first_byte_offset")?;
    let is_shared = old_end < shared_until;
    let goes_on = full == 0 && partial > 0;
    if is_shared && first <= old_end + 1 {
        ensure!(
            goes_on,
            "{old_end} of {shared_until} is in the backlog from {first} on, and there were {full} snapshots"
        );
    }
    ensure!(is_shared || !goes_on, "the old primary has more than the end, and was not told");
    *(if goes_on { &mut tally.head_partial } else { &mut tally.head_full }) += 1;

    // What was killed returns.
    let above = if plan.returns_to_end { end } else { head };
    let mut at_above = above.client();
    let before = granted(&mut at_above)?;
    let replicaof = format!("127.0.0.1 {}", above.port());
    middle.restart(&["--replicaof", &replicaof])?;
    at_middle = middle.client();
    until("the middle follows again", || is_up(&mut at_middle))?;
    let after = granted(&mut at_above)?;
    let goes_on = after.0 == before.0 && after.1 > before.1;
    *(if goes_on { &mut tally.middle_partial } else { &mut tally.middle_full }) += 1;

    let last = load.end()?;
    tally.units += last;
    until("all are equal", || {
        let mut all = Vec::new();
        for client in [&mut at_head, &mut at_middle, &mut at_end] {
            all.push((
                number(client, "replication", "master_repl_offset")?,
                info(client, "replication", "master_replid")?,
            ));
        }
        Ok(all[0] == all[1] && all[1] == all[2] && is_up(&mut at_head)? && is_up(&mut at_middle)?)
    })?;
    let digests = [&mut at_head, &mut at_middle, &mut at_end].map(|client| client.line("DEBUG DIGEST").to_string());
    ensure!(digests[0] == digests[1] && digests[1] == digests[2], "at equal offset: {digests:?}");
    ensure!(probe(&mut at_end)? == Some(last), "{last} was answered last");
    let log = at_end.command(&["LRANGE", "log", "0", "-1"])?;
    let log = log.elements().context("a log")?;
    let in_order = log.iter().zip(1u64..).all(|(entry, number)| entry.text() == Some(&number.to_string()));
    ensure!(in_order && log.len() as u64 == last, "the log is not 1 to {last}");
    for watch in watches.into_iter().chain([watch_head]) {
        tally.probes += watch.end()?;
    }
    Ok(())
}

fn follow(client: &mut Client, primary: &Server) -> Result<()> {
    let reply = client.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()])?;
    ensure!(!reply.is_error(), "REPLICAOF: {reply}");
    Ok(())
}

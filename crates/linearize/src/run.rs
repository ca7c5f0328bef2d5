//! `linearize run`: window after window, until the time is over or one cannot be explained.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rand::Rng;
use testkit::{Client, Kind, Random, Server, ServerOptions};

use crate::{
    check::{Verdict, Violation, check, reduce},
    generate::{Mix, window},
    history::History,
    model::State,
    record::Recorder,
};

/// So many windows of one mix follow each other: filling and clearing around [`Mix::Walk`] pays off.
const WINDOWS_PER_TURN: usize = 40;
/// So many other keys make KEYS take long enough to be overtaken.
const BALLAST_KEYS: usize = 20_000;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    pub threads: Vec<usize>,
    pub duration: Duration,
    pub seed: u64,
    pub mixes: Vec<Mix>,
    pub server: ServerOptions,
}

impl Options {
    pub fn new(kind: Kind, seed: u64) -> Options {
        Options {
            threads: vec![2, 4],
            duration: Duration::from_secs(60),
            seed,
            mixes: Mix::ALL.to_vec(),
            server: ServerOptions::new(kind),
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub windows: usize,
    pub operations: usize,
    /// Windows in which the search was cut off: neither right nor wrong.
    pub undecided: usize,
}

/// Something that no single-threaded server would do.
#[derive(Debug)]
pub struct Finding {
    pub threads: usize,
    pub mix: Mix,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    /// A history without an explanation.
    Violation { initial: Box<State>, history: History, violation: Box<Violation> },
    /// The server has gone or does not answer.
    Failure { error: String, log: String },
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    pub tallies: BTreeMap<(usize, Mix), Tally>,
    /// Mixes with commands that the server does not have.
    pub left_out: BTreeSet<Mix>,
    pub finding: Option<Finding>,
}

impl Outcome {
    /// Whether the search gave up so often that the run has checked little. Now and then is noise: a thread that the machine
    /// stops in the middle of a window lets everything else overlap with it.
    pub fn is_undecided(&self) -> bool {
        let total = self.total();
        total.windows == 0 || total.undecided > 3 && total.undecided * 100 > total.windows
    }

    /// All mixes and thread counts together.
    pub fn total(&self) -> Tally {
        self.tallies.values().fold(Tally::default(), |sum, tally| Tally {
            windows: sum.windows + tally.windows,
            operations: sum.operations + tally.operations,
            undecided: sum.undecided + tally.undecided,
        })
    }
}

/// Runs until the time is over or something is found.
pub fn run(options: &Options) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let share = options.duration / options.threads.len().max(1) as u32;
    for &threads in &options.threads {
        let mut random = testkit::random_from(options.seed);
        outcome.finding = session(options, threads, share, &mut random, &mut outcome)?;
        if outcome.finding.is_some() {
            break;
        }
    }
    Ok(outcome)
}

/// One server with so many threads.
fn session(
    options: &Options,
    threads: usize,
    duration: Duration,
    random: &mut Random,
    outcome: &mut Outcome,
) -> Result<Option<Finding>> {
    let mut server = options.server.clone().arguments(["--io-threads", &threads.to_string()]);
    let moves = options.server.kind == Kind::Spinel;
    if moves {
        server = server.arguments(["--io-threads-always-active", "no", "--enable-debug-command", "local"]);
    }
    let server = server.start().with_context(|| format!("starting {}", options.server.kind))?;
    let mut mover = if moves { Some(Mover::new(&server, threads)) } else { None };
    let mut recorder = Recorder::new(&server).context("connecting")?;
    let (mixes, left_out): (Vec<Mix>, Vec<Mix>) =
        options.mixes.iter().partition(|mix| has_commands(&server, mix.commands()));
    outcome.left_out.extend(left_out);
    let deadline = Instant::now() + duration;
    while Instant::now() < deadline && !mixes.is_empty() {
        for &mix in &mixes {
            let tally = outcome.tallies.entry((threads, mix)).or_default();
            let what = turn(&mut recorder, &server, &mut mover, mix, deadline, random, tally);
            if let Some(what) = what {
                return Ok(Some(Finding { threads, mix, what }));
            }
        }
    }
    Ok(None)
}

fn has_commands(server: &Server, names: &[&str]) -> bool {
    let info = server.client().command(&[&["COMMAND", "INFO"], names].concat());
    names.is_empty()
        || info.is_ok_and(|info| info.elements().is_some_and(|rows| !rows.iter().any(testkit::Value::is_null)))
}

/// Has connections move between event loops, while windows are recorded.
struct Mover {
    client: Client,
    threads: usize,
    is_unanswered: bool,
}

impl Mover {
    fn new(server: &Server, threads: usize) -> Mover {
        Mover { client: server.client(), threads, is_unanswered: false }
    }

    /// Perhaps orders connections to another number of event loops, or to as many as their load needs. Mostly to all: there is most to be seen.
    fn order(&mut self, random: &mut Random) -> std::io::Result<()> {
        if !random.random_ratio(1, 4) {
            return Ok(());
        }
        // Not awaited: clients may be paused.
        if std::mem::replace(&mut self.is_unanswered, true) {
            let reply = self.client.receive()?;
            assert_eq!(reply.text(), Some("OK"), "DEBUG EVENT-LOOPS");
        }
        let count = if random.random_bool(0.5) { self.threads } else { random.random_range(0..=self.threads) };
        self.client.queue(&["DEBUG", "EVENT-LOOPS", &count.to_string()]);
        self.client.flush()
    }
}

/// Some windows of one mix.
fn turn(
    recorder: &mut Recorder,
    server: &Server,
    mover: &mut Option<Mover>,
    mix: Mix,
    deadline: Instant,
    random: &mut Random,
    tally: &mut Tally,
) -> Option<What> {
    let failure = |error: std::io::Error| What::Failure { error: error.to_string(), log: server.log() };
    if mix == Mix::Walk
        && let Err(error) = recorder.add_ballast(BALLAST_KEYS)
    {
        return Some(failure(error));
    }
    for _ in 0..WINDOWS_PER_TURN {
        if Instant::now() >= deadline {
            break;
        }
        if let Some(Err(error)) = mover.as_mut().map(|mover| mover.order(random)) {
            return Some(failure(error));
        }
        let window = window(random, mix);
        let history = match recorder.record(&window) {
            Ok(history) => history,
            Err(error) => return Some(failure(error)),
        };
        tally.windows += 1;
        tally.operations += history.len();
        match check(&window.initial, &history) {
            Verdict::Linearizable => {}
            Verdict::Undecided => tally.undecided += 1,
            Verdict::Violation(_) => {
                let history = reduce(&window.initial, &history);
                let Verdict::Violation(violation) = check(&window.initial, &history) else {
                    unreachable!("a reduced violation is one")
                };
                return Some(What::Violation { initial: Box::new(window.initial), history, violation });
            }
        }
    }
    // The ballast must be gone before DBSIZE and SWAPDB come.
    if mix == Mix::Walk { recorder.clear().err().map(failure) } else { None }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "at {} threads, mix {}:", self.threads, self.mix)?;
        match &self.what {
            What::Failure { error, log } => {
                writeln!(f, "the server failed: {error}; the end of its log:")?;
                let lines: Vec<&str> = log.lines().collect();
                for line in &lines[lines.len().saturating_sub(40)..] {
                    writeln!(f, "  {line}")?;
                }
                Ok(())
            }
            What::Violation { initial, history, violation } => {
                writeln!(f, "no order of these operations explains their replies (times in microseconds):")?;
                write!(f, "{history}")?;
                writeln!(f, "  the state before:  {initial}")?;
                writeln!(f, "  The order that explains most ends in this state:  {}", violation.state)?;
                writeln!(f, "  and none of these can come next:")?;
                let next = || {
                    (0..)
                        .zip(&history.lanes)
                        .filter_map(|(lane, events)| Some((lane, events.get(violation.reached[lane])?)))
                };
                let first_answer_ns = next().map(|(_, event)| event.completed_ns).min();
                for (lane, event) in next() {
                    let why = if Some(event.invoked_ns) > first_answer_ns {
                        "was sent after another one of these was answered".to_owned()
                    } else if event.operation.is_write() && violation.state.paused_until > event.completed_ms() {
                        "writes are paused".to_owned()
                    } else {
                        let expected = violation.state.clone().apply(event);
                        // What fits led to a state that is no better.
                        if expected == event.reply {
                            "leads nowhere".to_owned()
                        } else {
                            format!("would be {expected}")
                        }
                    };
                    writeln!(f, "    [{lane}] {}  ->  {}   ({why})", event.operation, event.reply)?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::{model::Expiry, operation::Key};
        for (number, database) in self.databases.iter().enumerate() {
            write!(f, "{}db{number} {{", if number == 0 { "" } else { " " })?;
            let mut blank = "";
            for (key, entry) in Key::all().zip(database) {
                let Some(entry) = entry else { continue };
                write!(f, "{blank}{}={}", key.name(), entry.datum)?;
                if entry.expiry != Expiry::Never {
                    f.write_str(" with a time to live")?;
                }
                blank = ", ";
            }
            f.write_str("}")?;
        }
        if let Some(collections) = &self.collections {
            write!(f, "{collections}")?;
        }
        if self.paused_until != 0 {
            f.write_str(", writes paused")?;
        }
        Ok(())
    }
}

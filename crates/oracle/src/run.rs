//! `oracle run`: episodes of generated steps, played on the subject and a reference.

use std::{
    collections::BTreeSet,
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use testkit::{Kind, ServerOptions, random_from};

use crate::{
    coverage::facts,
    dataset,
    generate::{Generator, USERS, persistence},
    minimise::minimise,
    normalise::NORMALISERS,
    pair::{Difference, Pair, PairOptions},
    step::Step,
};

/// Groups of commands that are implemented, or on their way: what the subject does not have is not sent. And users.
const GROUPS: [&str; 16] = [
    "string",
    "generic",
    "connection",
    "server",
    "list",
    "set",
    "sorted-set",
    "hash",
    "stream",
    "bitmap",
    "hyperloglog",
    "geo",
    "transactions",
    "scripting",
    "pubsub",
    USERS,
];

/// Steps after which the data sets are compared, all is flushed and new connections are opened. A failure is looked for
/// in its own episode first.
const EPISODE_STEPS: usize = 20_000;

/// How long a failure is cut down at most.
const MINIMISE_TIME_MAX: Duration = Duration::from_secs(120);

/// Replays wait less for a reply: one that is missing would be waited for in each of them.
const REPLAY_REPLY_TIME_MAX: Duration = Duration::from_secs(2);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    pub commands: usize,
    pub threads: Vec<usize>,
    pub seed: Option<u64>,
    pub groups: Vec<String>,
    pub against: Vec<Kind>,
    pub only: Vec<String>,
    pub subject: Kind,
    pub encodings: Vec<Encodings>,
    pub trace: bool,
    /// So many are looked for; whatever the first were about is left out from then on.
    pub differences: usize,
    /// So many snapshots, reloads, restarts and the like come with an episode's steps; with none of them, files are left alone.
    pub persistence: usize,
}

/// From which size on collections leave their compact encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encodings {
    /// As configured by nobody.
    Default,
    /// After very few elements, so that everything happens in every encoding and on its way from one to the next.
    Tiny,
}

impl Encodings {
    fn name(self) -> &'static str {
        match self {
            Encodings::Default => "default",
            Encodings::Tiny => "tiny",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Encodings::Default => &[],
            Encodings::Tiny => &[
                "--list-max-listpack-size",
                "3",
                "--list-compress-depth",
                "1",
                // Not fewer than of listpacks: with fewer, the encoding of a union hangs on which member comes first, and Redis draws
                // that by lot.
                "--set-max-intset-entries",
                "4",
                "--set-max-listpack-entries",
                "4",
                "--set-max-listpack-value",
                "8",
                "--hash-max-listpack-entries",
                "4",
                "--hash-max-listpack-value",
                "8",
                "--zset-max-listpack-entries",
                "4",
                "--zset-max-listpack-value",
                "8",
                "--stream-node-max-entries",
                "3",
                "--hll-sparse-max-bytes",
                "60",
            ],
        }
    }
}

impl FromStr for Encodings {
    type Err = String;

    fn from_str(word: &str) -> Result<Encodings, String> {
        [Encodings::Default, Encodings::Tiny]
            .into_iter()
            .find(|encodings| encodings.name() == word)
            .ok_or_else(|| format!("'{word}' is none of default, tiny"))
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            commands: 250_000,
            threads: vec![1, 4],
            seed: None,
            groups: GROUPS.map(str::to_owned).to_vec(),
            against: vec![Kind::Redis82, Kind::Valkey91],
            only: Vec::new(),
            subject: Kind::Spinel,
            encodings: vec![Encodings::Default, Encodings::Tiny],
            trace: false,
            differences: 1,
            persistence: 12,
        }
    }
}

/// Runs all combinations; false after the first difference.
pub fn run(options: &Options) -> Result<bool> {
    let seed = options.seed.unwrap_or_else(testkit::seed);
    // Redis decides nearly everything, and so it gets nearly all commands.
    let valkey_commands = if options.against.len() == 1 { options.commands } else { options.commands / 10 };
    for &encodings in &options.encodings {
        for &threads in &options.threads {
            for &reference in &options.against {
                let commands = match reference {
                    Kind::Valkey91 => valkey_commands,
                    _ if options.against.len() == 1 => options.commands,
                    _ => options.commands - valkey_commands,
                };
                let mut subject = ServerOptions::new(options.subject).arguments(encodings.arguments().iter().copied());
                if options.subject == Kind::Spinel {
                    subject = subject.arguments(["--io-threads", &threads.to_string()]);
                    if reference == Kind::Valkey91 {
                        // It is to read the files and payloads.
                        subject = subject.arguments(["--rdb-expiring-fields", "valkey"]);
                    }
                }
                let model = ServerOptions::new(reference).arguments(encodings.arguments().iter().copied());
                let pair = PairOptions { trace: options.trace, ..PairOptions::new(subject, model) };
                let encodings = encodings.name();
                println!(
                    "oracle: {} with {threads} threads against {reference}, {encodings} encodings, {commands} commands, seed {seed}",
                    options.subject
                );
                // Each run of several has steps of its own.
                let own_seed = seed.wrapping_add(threads as u64 * 1_000_003).wrapping_add(encodings.len() as u64);
                let session = Session { pair, options, seed: own_seed, reference };
                if let Some(failure) = session.play(commands)? {
                    failure.print();
                    println!(
                        "oracle: FAILED; again with: oracle run --seed {seed} --threads {threads} --encodings {encodings} --against {reference} --commands {} --groups {}",
                        options.commands,
                        options.groups.join(",")
                    );
                    return Ok(false);
                }
            }
        }
    }
    println!("oracle: no unexplained difference");
    Ok(true)
}

/// One subject against one reference.
pub struct Session<'a> {
    pub pair: PairOptions,
    pub options: &'a Options,
    pub seed: u64,
    pub reference: Kind,
}

/// A difference, with the steps that lead to it.
pub struct Failure {
    pub difference: Difference,
    pub steps: Vec<Step>,
    /// Whether the steps alone, on fresh servers, show it.
    pub reproduced: bool,
}

impl Session<'_> {
    pub fn play(&self, commands: usize) -> Result<Option<Failure>> {
        let start = Instant::now();
        let mut pair = self.pair.start()?;
        let mut generator = self.generator(&mut pair)?;
        if generator.is_empty() {
            // Of a few commands that were asked for, only one of the references may have any.
            println!("oracle: nothing to generate from {}", self.reference);
            return Ok(None);
        }
        let mut random = random_from(self.seed);
        let mut done = 0;
        let mut found = 0;
        while done < commands {
            let steps = generator.steps(&mut random, EPISODE_STEPS.min(commands - done));
            done += steps.len();
            let deeds = (self.options.persistence * steps.len()).div_ceil(EPISODE_STEPS);
            let steps = persistence::insert(&mut random, steps, deeds);
            pair.reset()?;
            if let Some(difference) = episode(&mut pair, &steps)? {
                let about = steps.get(difference.at).map(Step::about);
                let failure = self.reduce(steps, difference);
                found += 1;
                let Some(about) = about.filter(|_| found < self.options.differences) else { return Ok(Some(failure)) };
                failure.print();
                generator.leave_out(about);
                pair = self.pair.start()?;
            }
        }
        if found > 0 {
            anyhow::bail!("{found} differences, shown above; no more in {commands} commands");
        }
        println!("oracle: {done} commands equal in {:.1} s", start.elapsed().as_secs_f64());
        for normaliser in NORMALISERS {
            if let Some(times) = pair.freedoms.get(normaliser.name) {
                println!("  explained: {} ({times} times): {}", normaliser.name, normaliser.reason);
            }
        }
        Ok(None)
    }

    fn generator(&self, pair: &mut Pair) -> Result<Generator> {
        let catalogue = facts::load(&mut pair.reference.clients[0]).context("asking the reference for its commands")?;
        let known = match facts::load(&mut pair.subject.clients[0]) {
            Ok(ours) => names(&ours),
            Err(error) => {
                // A subject without COMMAND DOCS gets everything.
                println!("oracle: the subject does not tell its commands ({error:#}); all are sent");
                BTreeSet::new()
            }
        };
        let generator = Generator::new(self.reference, &catalogue, &self.options.groups, &self.options.only, &known);
        if !generator.not_sent.is_empty() {
            // Whether it should have them is for `oracle coverage` to say.
            println!("oracle: not sent, because the subject has no {}", generator.not_sent.join(", "));
        }
        Ok(generator)
    }

    /// Cuts the episode down to what shows a difference of the same kind on fresh servers.
    fn reduce(&self, mut steps: Vec<Step>, difference: Difference) -> Failure {
        println!("oracle: a difference at step {}; cutting it down …", difference.at);
        let (subject, reference) = difference.replies();
        println!("  {}\n  subject    {subject}\n  reference  {reference}", difference.what);
        steps.truncate(difference.at + 1);
        let about = steps.get(difference.at).map(Step::about);
        // Replies that stay out are missed at the end of a batch, whichever command owes them.
        let silent = difference.is_silence();
        let mut last = None;
        let mut options = PairOptions { trace: false, reply_time_max: REPLAY_REPLY_TIME_MAX, ..self.pair.clone() };
        let mut replay = |options: &PairOptions, steps: &[Step]| {
            let replay = || -> Result<Option<Difference>> { episode(&mut options.start()?, steps) };
            match replay() {
                Ok(Some(found)) if steps.get(found.at).map(Step::about) == about || found.is_silence() && silent => {
                    last = Some(found);
                    true
                }
                Ok(_) => false,
                Err(error) => {
                    println!("oracle: while cutting down: {error:#}");
                    false
                }
            }
        };
        // One at a time is easier to read, and a missing reply shows at its own command; some failures need the pipeline.
        options.batch_commands_max = 1;
        if !replay(&options, &steps) {
            options.batch_commands_max = self.pair.batch_commands_max;
            if !replay(&options, &steps) {
                let steps = steps[..steps.len().min(difference.at + 1)].to_vec();
                return Failure { difference, steps, reproduced: false };
            }
        }
        let minimal = minimise(&steps, MINIMISE_TIME_MAX, |steps| replay(&options, steps));
        // The last replay was not of the shortest sequence: play that once more for its own replies.
        let again = options.start().and_then(|mut pair| episode(&mut pair, &minimal)).ok().flatten();
        Failure { difference: again.or(last).unwrap_or(difference), steps: minimal, reproduced: true }
    }
}

/// All steps, then the data sets.
fn episode(pair: &mut Pair, steps: &[Step]) -> Result<Option<Difference>> {
    match pair.play(steps)? {
        Some(difference) => Ok(Some(difference)),
        None => dataset::compare(pair, steps.len(), "at the end"),
    }
}

fn names(catalogue: &facts::Catalogue) -> BTreeSet<String> {
    catalogue.values().flat_map(|command| command.subcommands.keys().chain([&command.name])).cloned().collect()
}

impl Failure {
    pub fn print(&self) {
        if self.reproduced {
            println!(
                "\nThe shortest sequence found that shows it on fresh servers ([n] is the connection; odd ones begin in RESP3):"
            );
        } else {
            println!("\nIts episode alone, on fresh servers, does not show it; its steps were:");
        }
        for step in &self.steps {
            println!("  {step}");
        }
        println!("\nand the difference:\n  {}", self.difference.what);
        let (subject, reference) = self.difference.replies();
        println!("  subject    {subject}\n  reference  {reference}\n");
    }
}

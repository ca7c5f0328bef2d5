//! Two servers, driven in step.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use testkit::{Client, Kind, Server, ServerOptions, Value, wait_until};

use crate::{
    chance, listening,
    normalise::{self, Verdict},
    persistence,
    step::{Step, upper},
    waiting,
};

const NO_REPLY: &str = "no reply";

/// Standing connections: the even ones begin in RESP2, the odd ones in RESP3.
pub const CONNECTIONS: usize = 4;

/// One more, in RESP2, which never waits.
pub const CONTROL: usize = CONNECTIONS;

/// Directives that commands change during a run, and that every episode begins with as they were at the start: it would be
/// another one on fresh servers.
const RESTORED_DIRECTIVES: [&str; 5] = ["listpack", "intset", "hll-sparse", "stream-node", "compress-depth"];

/// How many commands of one connection are sent at once.
const BATCH_COMMANDS_MAX: usize = 200;

/// How long a reply may take. Long for machines that do other things too; a reply that is missing is rare.
pub const REPLY_TIME_MAX: Duration = Duration::from_secs(20);

/// Where the two servers disagreed.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Index of the step; the number of steps when the data sets differ at the end.
    pub at: usize,
    /// What was compared.
    pub what: String,
    pub subject: String,
    pub reference: String,
}

/// The subject and the reference, with equal connections to both.
pub struct Pair {
    pub subject: Side,
    pub reference: Side,
    /// How often replies differed where they may, by the name of the freedom.
    pub freedoms: BTreeMap<&'static str, usize>,
    /// Whether both keep an append-only file now.
    pub append_only: bool,
    batch_commands_max: usize,
    reply_time_max: Duration,
    trace: bool,
}

/// One of the two.
pub struct Side {
    pub server: Server,
    pub clients: Vec<Client>,
    /// Pushes that came with the replies since they were last compared.
    pushes: Vec<Value>,
    /// Thresholds of encodings as they were at the start.
    thresholds: Vec<(Vec<u8>, Vec<u8>)>,
    reply_time_max: Duration,
}

/// How to start the two, again and again.
#[derive(Clone, Debug)]
pub struct PairOptions {
    pub subject: ServerOptions,
    pub reference: ServerOptions,
    /// How many commands of one connection are sent at once.
    pub batch_commands_max: usize,
    pub reply_time_max: Duration,
    /// Print every command with the reference's reply.
    pub trace: bool,
}

impl PairOptions {
    pub fn new(subject: ServerOptions, reference: ServerOptions) -> PairOptions {
        PairOptions {
            subject,
            reference,
            batch_commands_max: BATCH_COMMANDS_MAX,
            reply_time_max: REPLY_TIME_MAX,
            trace: false,
        }
    }

    pub fn start(&self) -> Result<Pair> {
        let side = |options: &ServerOptions| -> Result<Side> {
            // DEBUG is compared too; nothing may depend on how long a command took.
            let options = options.clone().arguments([
                "--enable-debug-command",
                "yes",
                "--slowlog-log-slower-than",
                "-1",
                "--latency-monitor-threshold",
                "0",
            ]);
            let server = options.start().with_context(|| format!("starting {}", options.kind))?;
            let reply_time_max = self.reply_time_max;
            let mut side =
                Side { server, clients: Vec::new(), pushes: Vec::new(), thresholds: Vec::new(), reply_time_max };
            side.begin()?;
            side.thresholds = side.thresholds()?;
            Ok(side)
        };
        Ok(Pair {
            subject: side(&self.subject)?,
            reference: side(&self.reference)?,
            freedoms: BTreeMap::new(),
            append_only: false,
            batch_commands_max: self.batch_commands_max,
            reply_time_max: self.reply_time_max,
            trace: self.trace,
        })
    }
}

fn connect(server: &Server, reply_time_max: Duration) -> Result<Vec<Client>> {
    (0..=CONTROL)
        .map(|index| {
            let mut client = Client::connect(server.address())?;
            // Whoever never waits for a key may wait for a disk.
            client.set_timeout(if index == CONTROL { REPLY_TIME_MAX } else { reply_time_max })?;
            Ok(if index % 2 == 1 { client.hello(3) } else { client })
        })
        .collect()
}

impl Side {
    pub fn kind(&self) -> Kind {
        self.server.kind()
    }

    /// Connects to a server that has just started.
    fn begin(&mut self) -> Result<()> {
        self.clients = connect(&self.server, self.reply_time_max)?;
        self.pushes.clear();
        // Before it has loaded what it keeps, a server answers, but not to everything.
        persistence::wait_until_idle(self)?;
        // When a key whose time is past goes by itself is nobody's promise; DBSIZE would show it.
        self.command(0, &["DEBUG", "SET-ACTIVE-EXPIRE", "0"])?;
        Ok(())
    }

    /// What a difference in numbers of keys is about. Keys whose time has come are not among them.
    fn live_keys(&mut self) -> String {
        let mut text = String::new();
        for database in 0..16 {
            let keys = self
                .command(CONTROL, &["SELECT", &database.to_string()])
                .and_then(|_| self.command(CONTROL, &["KEYS", "*"]));
            let mut names: Vec<String> = match &keys {
                Ok(keys) => keys.elements().unwrap_or_default().iter().map(Value::to_string).collect(),
                Err(error) => vec![error.to_string()],
            };
            names.sort();
            if !names.is_empty() {
                text += &format!("; {database}: {}", names.join(" "));
            }
        }
        text
    }

    /// The server starts again, with these arguments beside its own, and the connections are new.
    pub fn restart(&mut self, arguments: &[&str]) -> Result<()> {
        self.clients.clear();
        self.server.restart(arguments)?;
        self.begin()
    }

    /// A reply, or what happened instead of one. Pushes that come before it are kept for comparing.
    pub fn receive(&mut self, connection: usize) -> Result<Value, String> {
        loop {
            match self.clients[connection].receive() {
                Ok(push @ Value::Push(_)) => self.pushes.push(push),
                Ok(reply) => return Ok(reply),
                Err(error) => return Err(self.explain(error)),
            }
        }
    }

    fn explain(&mut self, error: io::Error) -> String {
        let end = match self.server.exit_status() {
            Some(status) => {
                format!("\nthe server has ended ({status}); its log ends with:\n{}", tail(&self.server.log()))
            }
            None => String::new(),
        };
        format!("{NO_REPLY}: {error}{end}")
    }

    /// One command and its reply; a broken connection is an error of the run.
    pub fn command<A: AsRef<[u8]>>(&mut self, connection: usize, arguments: &[A]) -> Result<Value> {
        self.clients[connection].queue(arguments);
        let _ = self.clients[connection].flush();
        self.receive(connection).map_err(|error| anyhow::anyhow!("{}: {error}", self.server.kind()))
    }

    fn thresholds(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut all = Vec::new();
        for part in RESTORED_DIRECTIVES {
            let some = self.command(CONTROL, &["CONFIG", "GET", &format!("*{part}*")])?;
            let text = |value: &Value| value.bytes().unwrap_or_default().to_vec();
            all.extend(some.pairs().unwrap_or_default().into_iter().map(|(name, value)| (text(name), text(value))));
        }
        Ok(all)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<String, String> {
        let answer = Client::connect(self.server.address()).and_then(|mut client| {
            client.queue_raw(bytes);
            client.finish()
        });
        let answer = answer.map_err(|error| self.explain(error))?;
        Ok(answer.escape_ascii().to_string())
    }

    /// All elements that a scan yields, sorted, each once; of those that yield pairs, the pairs.
    fn scan_to_end(&mut self, connection: usize, before: &[Vec<u8>], after: &[Vec<u8>]) -> Result<Value> {
        let with = |option: &str| !after.iter().any(|word| word.eq_ignore_ascii_case(option.as_bytes()));
        let in_pairs = match upper(&before[0]).as_str() {
            "HSCAN" => with("NOVALUES"),
            "ZSCAN" => with("NOSCORES"),
            _ => false,
        };
        let mut cursor = b"0".to_vec();
        let mut found = Vec::new();
        loop {
            let command: Vec<&[u8]> = before.iter().chain([&cursor]).chain(after).map(Vec::as_slice).collect();
            let reply = self.command(connection, &command)?;
            let Some([Value::Bulk(next), Value::Array(elements)]) = reply.elements() else { return Ok(reply) };
            match in_pairs {
                true => found.extend(
                    elements.chunks(2).map(|pair| normalise::without_sign_of_zero(&Value::Array(pair.to_vec()))),
                ),
                false => found.extend_from_slice(elements),
            }
            if next == b"0" {
                break;
            }
            cursor = next.clone();
        }
        found.sort();
        found.dedup();
        Ok(Value::Array(found))
    }

    /// Whether a key with a short life is gone in time.
    fn expire_soon(&mut self, connection: usize, key: &[u8]) -> Result<Value> {
        let expiring = self.command(connection, &[b"PEXPIRE".as_slice(), key, b"5"])?;
        match expiring {
            Value::Integer(1) => self.until_gone(connection, &[b"EXISTS", key]),
            other => Ok(other),
        }
    }

    /// Whether a field with a short life is gone in time.
    fn expire_field_soon(&mut self, connection: usize, key: &[u8], field: &[u8]) -> Result<Value> {
        let expire: [&[u8]; 6] = [b"HPEXPIRE", key, b"5", b"FIELDS", b"1", field];
        let expiring = self.command(connection, &expire)?;
        match expiring.elements() {
            Some([Value::Integer(1)]) => self.until_gone(connection, &[b"HEXISTS", key, field]),
            _ => Ok(expiring),
        }
    }

    /// Asks until the answer is 0.
    fn until_gone(&mut self, connection: usize, question: &[&[u8]]) -> Result<Value> {
        let start = Instant::now();
        let mut error = None;
        let gone = wait_until(Duration::from_secs(10), || match self.command(connection, question) {
            Ok(reply) => reply == Value::Integer(0) || start.elapsed() > Duration::from_secs(5),
            Err(problem) => {
                error = Some(problem);
                true
            }
        });
        match error {
            Some(error) => Err(error),
            None => Ok(Value::Simple(if gone { b"gone".to_vec() } else { b"still there".to_vec() })),
        }
    }
}

impl Pair {
    /// Flushes all data and begins with fresh connections. What was configured stays.
    pub fn reset(&mut self) -> Result<()> {
        persistence::forget(self)?;
        for side in [&mut self.subject, &mut self.reference] {
            side.clients = connect(&side.server, self.reply_time_max)?;
            side.command(0, &["FLUSHALL"])?;
            for (name, value) in side.thresholds.clone() {
                side.command(0, &[b"CONFIG".as_slice(), b"SET", &name, &value])?;
            }
            // The old connections are closed here; CLIENT LIST shows them until the server has noticed.
            let alone = wait_until(REPLY_TIME_MAX, || {
                let list = side.command(0, &["CLIENT", "LIST"]);
                list.is_ok_and(|list| list.text().is_some_and(|text| text.lines().count() == CONNECTIONS + 1))
            });
            anyhow::ensure!(alone, "{} keeps connections that are closed", side.kind());
        }
        Ok(())
    }

    /// Does the steps on both and returns the first difference.
    pub fn play(&mut self, steps: &[Step]) -> Result<Option<Difference>> {
        let mut at = 0;
        while at < steps.len() {
            let end = batch_end(steps, at, self.batch_commands_max);
            let moves = steps[at..].iter().take_while(|step| matches!(step, Step::Move { .. })).count();
            let talks = steps[at..].iter().take_while(|step| matches!(step, Step::Talk(_))).count();
            let difference = match () {
                () if end > at => self.play_batch(steps, at, end)?,
                () if moves > 0 => waiting::play(self, &steps[at..at + moves], at)?,
                () if talks > 0 => listening::play(self, &steps[at..at + talks], at)?,
                () => self.play_single(&steps[at], at)?,
            };
            if difference.is_some() {
                return Ok(difference);
            }
            at = end.max(at + moves.max(talks).max(1));
        }
        Ok(None)
    }

    fn play_batch(&mut self, steps: &[Step], start: usize, end: usize) -> Result<Option<Difference>> {
        if steps[start..end].iter().any(ends_snapshot) {
            persistence::wait_until_idle(&mut self.subject)?;
            persistence::wait_until_idle(&mut self.reference)?;
        }
        let mut batch_connection = 0;
        for step in &steps[start..end] {
            let Step::Command { connection, arguments } = step else { unreachable!("a batch holds commands") };
            batch_connection = *connection;
            self.subject.clients[*connection].queue(arguments);
            self.reference.clients[*connection].queue(arguments);
        }
        // A write that fails (the server died) shows as a missing reply, with its command.
        let _ = self.subject.clients[batch_connection].flush();
        let _ = self.reference.clients[batch_connection].flush();
        for (index, step) in steps[start..end].iter().enumerate() {
            let Step::Command { connection, arguments } = step else { unreachable!("a batch holds commands") };
            let reference = self.reference.receive(*connection);
            let subject = self.subject.receive(*connection);
            let verdict = match (&subject, &reference) {
                (Ok(subject), Ok(reference)) => normalise::compare(arguments, subject, reference),
                _ => Verdict::Different,
            };
            if self.trace
                && let Ok(reply) = &reference
            {
                println!("{step} → {:.200}", reply.to_string());
            }
            if let Verdict::Free(name) = verdict {
                *self.freedoms.entry(name).or_default() += 1;
            }
            if verdict == Verdict::Different {
                let text = |reply: Result<Value, String>| reply.map_or_else(|error| error, |value| value.to_string());
                let (mut ours, mut theirs) = (text(subject), text(reference));
                if upper(&arguments[0]) == "DBSIZE" {
                    ours += &self.subject.live_keys();
                    theirs += &self.reference.live_keys();
                }
                return Ok(Some(difference(start + index, step, ours, theirs)));
            }
            let (ours, theirs) = (std::mem::take(&mut self.subject.pushes), std::mem::take(&mut self.reference.pushes));
            if ours != theirs {
                let text = |pushes| format!("pushes before the reply: {}", Value::Array(pushes));
                return Ok(Some(difference(start + index, step, text(ours), text(theirs))));
            }
        }
        Ok(None)
    }

    fn play_single(&mut self, step: &Step, at: usize) -> Result<Option<Difference>> {
        let mut both = |act: &dyn Fn(&mut Side) -> Result<Value>| -> Result<Option<Difference>> {
            let text = |reply: Result<Value>| reply.map_or_else(|error| error.to_string(), |value| value.to_string());
            let (subject, reference) = (text(act(&mut self.subject)), text(act(&mut self.reference)));
            Ok((subject != reference).then(|| difference(at, step, subject, reference)))
        };
        match step {
            Step::Command { .. } => unreachable!("commands go in batches"),
            Step::Move { .. } | Step::Talk(_) => unreachable!("moves and talks go in scripts"),
            Step::Together { connection, commands } => {
                let mut queued = Vec::new();
                for command in commands {
                    let ours = self.subject.command(*connection, command)?;
                    let theirs = self.reference.command(*connection, command)?;
                    let verdict = match command[0].eq_ignore_ascii_case(b"EXEC") {
                        true => normalise::compare_all(&queued, &ours, &theirs),
                        false => normalise::compare(command, &ours, &theirs),
                    };
                    if theirs == Value::Simple(b"QUEUED".to_vec()) {
                        queued.push(command.as_slice());
                    }
                    if verdict == Verdict::Different {
                        return Ok(Some(difference(at, step, ours.to_string(), theirs.to_string())));
                    }
                }
                Ok(None)
            }
            Step::Chance { connection, arguments } => self.draw(*connection, arguments, step, at),
            Step::ExpireFieldSoon { connection, key, field } => {
                both(&|side| side.expire_field_soon(*connection, key, field))
            }
            Step::Raw(bytes) => {
                let subject = self.subject.raw(bytes).unwrap_or_else(|error| error);
                let reference = self.reference.raw(bytes).unwrap_or_else(|error| error);
                Ok((subject != reference).then(|| difference(at, step, subject, reference)))
            }
            Step::ScanToEnd { connection, before_cursor, after_cursor } => {
                both(&|side| side.scan_to_end(*connection, before_cursor, after_cursor))
            }
            Step::ExpireSoon { connection, key } => both(&|side| side.expire_soon(*connection, key)),
            Step::Exchange { connection, key, copy } => self.exchange(*connection, key, copy, step, at),
            Step::Persistence(deed) => persistence::play(self, *deed, at),
        }
    }

    /// What is drawn by lot must be right on either side; then both have the same again.
    fn draw(&mut self, connection: usize, arguments: &[Vec<u8>], step: &Step, at: usize) -> Result<Option<Difference>> {
        let (ours, subject) = chance::draw(&mut self.subject, connection, arguments)?;
        let (theirs, reference) = chance::draw(&mut self.reference, connection, arguments)?;
        if subject != reference {
            return Ok(Some(difference(at, step, subject, reference)));
        }
        if upper(&arguments[0]) == "SPOP" && arguments.len() > 1 {
            chance::level([&mut self.subject, &mut self.reference], connection, &arguments[1], [&ours, &theirs])?;
        }
        *self.freedoms.entry("any-member").or_default() += 1;
        Ok(None)
    }

    /// Each server must be able to read what the other has written.
    fn exchange(
        &mut self,
        connection: usize,
        key: &[u8],
        copy: &[u8],
        step: &Step,
        at: usize,
    ) -> Result<Option<Difference>> {
        let dump = [b"DUMP".as_slice(), key];
        let (ours, theirs) = (self.subject.command(connection, &dump)?, self.reference.command(connection, &dump)?);
        let (Some(our_payload), Some(their_payload)) = (ours.bytes(), theirs.bytes()) else {
            return Ok((ours != theirs).then(|| difference(at, step, ours.to_string(), theirs.to_string())));
        };
        let restore = |payload| [b"RESTORE".as_slice(), copy, b"0", payload, b"REPLACE"];
        let here = self.subject.command(connection, &restore(their_payload))?;
        let there = self.reference.command(connection, &restore(our_payload))?;
        Ok((here != there).then(|| {
            difference(at, step, format!("{here} for the payload {theirs}"), format!("{there} for the payload {ours}"))
        }))
    }
}

fn difference(at: usize, step: &Step, subject: String, reference: String) -> Difference {
    Difference { at, what: step.to_string(), subject, reference }
}

impl Difference {
    /// Whether a reply did not come.
    pub fn is_silence(&self) -> bool {
        self.subject.starts_with(NO_REPLY)
    }

    /// Both replies for a reader; of long ones what surrounds the place where they part.
    pub fn replies(&self) -> (String, String) {
        let parting =
            self.subject.bytes().zip(self.reference.bytes()).take_while(|(ours, theirs)| ours == theirs).count();
        let show = |text: &str| {
            let characters: Vec<char> = text.chars().collect();
            let (from, to) = (parting.saturating_sub(100).min(characters.len()), (parting + 300).min(characters.len()));
            if text.len() <= 500 {
                return text.to_owned();
            }
            let middle: String = characters[from..to].iter().collect();
            format!("{}{middle}{}", if from > 0 { "… " } else { "" }, if to < characters.len() { " …" } else { "" })
        };
        (show(&self.subject), show(&self.reference))
    }
}

/// The end of the batch that starts at `start`: commands of one connection. `start` itself when it is no command.
fn batch_end(steps: &[Step], start: usize, commands_max: usize) -> usize {
    let Step::Command { connection: of, .. } = &steps[start] else { return start };
    let length = steps[start..]
        .iter()
        .take(commands_max)
        .take_while(|step| {
            matches!(step, Step::Command { connection, .. } if connection == of)
                && !goes_alone(step)
                && !ends_snapshot(step)
        })
        .count();
    start + length.max(1)
}

/// Redis 8.2.3 sends no reply to a refused AUTH that comes behind another command in one packet (Valkey 9.1 and Redis 7.0
/// do). Nobody wants that equalled, so it is sent by itself.
fn goes_alone(step: &Step) -> bool {
    matches!(step, Step::Command { arguments, .. } if arguments.iter().any(|word| word.eq_ignore_ascii_case(b"AUTH")))
}

/// FLUSHALL cancels a snapshot that is being taken: what is on disk afterwards hangs on how fast it was.
fn ends_snapshot(step: &Step) -> bool {
    matches!(step, Step::Command { arguments, .. } if arguments[0].eq_ignore_ascii_case(b"FLUSHALL"))
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

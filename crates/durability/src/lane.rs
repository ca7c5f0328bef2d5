//! A lane: one connection with two databases of its own, and a record of what it has sent there and when that was answered.
//!
//! Since nobody else writes there, the state after each step is known, and what is found after a crash must be the state after one of
//! them. Times tie lanes together: what one was answered before another one sent came first.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use rand::Rng;
use testkit::{Client, Random, Value};

use crate::model::{Dump, Key, Model, Op, is_gone, unix_ms};

/// Microseconds since the beginning of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    pub fn now_us(self) -> u64 {
        // So that 0 is before everything.
        self.0.elapsed().as_micros() as u64 + 1
    }
}

/// How a step is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Plain,
    Transaction,
    Script,
}

/// What happens as a whole or not at all.
#[derive(Clone, Debug)]
pub struct Step {
    ops: Vec<Op>,
    manner: Manner,
    sent_us: u64,
    /// 0: never, or with an error that leaves open whether it was done.
    acked_us: u64,
}

/// What the lanes of a run do.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Steps on the way at a time, at most.
    pub depth_max: usize,
    /// Elements of the large collections, one of each type; 0 for none.
    pub elements: u64,
}

/// After so many steps without an answer it is pointless to try which of them were done.
const OPEN_MAX: usize = 10;

pub struct Lane {
    pub index: usize,
    work: Work,
    clock: Clock,
    random: Random,
    /// The state at the beginning of this life of the server.
    start: Model,
    /// What was sent since.
    pub steps: Vec<Step>,
    next: u64,
    /// The first step that was answered with an error, and everything behind it.
    open: Option<usize>,
    /// How often it was refused.
    pub refusals: u64,
}

/// What others see of a lane while it runs.
#[derive(Debug, Default)]
pub struct Watch {
    pub stop: AtomicBool,
    pub acked: AtomicU64,
    pub refused: AtomicU64,
}

/// How a found state is explained: the state after the first `low` to `high` steps (those without effect make a difference).
#[derive(Clone, Copy, Debug)]
pub struct Explained {
    /// When the last step was sent that must be in it.
    pub included_sent_us: u64,
    /// When the first step was answered that cannot be in it; `u64::MAX` if none was.
    pub excluded_acked_us: u64,
    low: usize,
    mask: Option<u32>,
}

impl Lane {
    pub fn new(index: usize, work: Work, clock: Clock, random: Random) -> Lane {
        Lane {
            index,
            work,
            clock,
            random,
            start: Model::default(),
            steps: Vec::new(),
            next: 1,
            open: None,
            refusals: 0,
        }
    }

    pub fn databases(&self) -> (u32, u32) {
        (2 * self.index as u32, 2 * self.index as u32 + 1)
    }

    /// Sends steps until it is told to stop or the server is gone.
    ///
    /// # Errors
    /// An answer that must not be.
    pub fn run_until_killed(&mut self, client: &mut Client, watch: &Watch) -> Result<()> {
        match self.run(client, watch) {
            Err(error) if is_gone(&error) => Ok(()),
            result => result,
        }
    }

    /// The same, but the server must stay.
    ///
    /// # Errors
    /// An answer that must not be, or none.
    pub fn run(&mut self, client: &mut Client, watch: &Watch) -> Result<()> {
        let result = self.run_until_stopped(client, watch);
        // Nobody waits for what this lane would have done.
        watch.stop.store(true, Relaxed);
        result
    }

    fn run_until_stopped(&mut self, client: &mut Client, watch: &Watch) -> Result<()> {
        client.command(&["SELECT", &self.databases().0.to_string()])?;
        while !watch.stop.load(Relaxed) {
            let depth = self.random.random_range(1..=self.work.depth_max);
            let first = self.steps.len();
            for _ in 0..depth {
                let step = self.draw();
                self.queue(client, &step);
                self.steps.push(step);
            }
            self.exchange(client, first, watch)?;
            if self.open.is_some() {
                self.resolve(client, watch)?;
            }
        }
        Ok(())
    }

    /// Fills the large collections.
    pub fn fill(&mut self, client: &mut Client, watch: &Watch) -> Result<()> {
        const AT_ONCE: u64 = 1000;
        client.command(&["SELECT", &self.databases().0.to_string()])?;
        let mut first = 0;
        while first < self.work.elements {
            let count = AT_ONCE.min(self.work.elements - first);
            let ops = [
                Op::Fields { key: Key('h', 9), first, count, value: first },
                Op::Members { key: Key('s', 9), first, count },
                Op::Scores { key: Key('z', 9), first, count, score: first },
                Op::Push { key: Key('l', 9), first, count, front: false },
            ];
            let before = self.steps.len();
            for op in ops {
                let step = Step { ops: vec![op], manner: Manner::Plain, sent_us: 0, acked_us: 0 };
                self.queue(client, &step);
                self.steps.push(step);
            }
            self.exchange(client, before, watch)?;
            ensure!(self.open.is_none(), "the large collections were refused");
            first += count;
        }
        Ok(())
    }

    /// Everything so far is the beginning.
    pub fn settle(&mut self) {
        for step in self.steps.drain(..) {
            step.ops.iter().for_each(|op| self.start.apply(op));
        }
    }

    fn queue(&self, client: &mut Client, step: &Step) {
        let commands: Vec<Vec<String>> = step.ops.iter().flat_map(|op| op.commands(self.databases())).collect();
        match step.manner {
            Manner::Plain => commands.iter().for_each(|command| client.queue(command)),
            Manner::Transaction => {
                client.queue(&["MULTI"]);
                commands.iter().for_each(|command| client.queue(command));
                client.queue(&["EXEC"]);
            }
            Manner::Script => {
                const TEXT: &str = "local at = 1 while at <= #ARGV do local count = tonumber(ARGV[at]) \
                    redis.call(unpack(ARGV, at + 1, at + count)) at = at + count + 1 end return 'done'";
                let keys: Vec<String> = commands.iter().map(|command| command[1].clone()).collect();
                let mut words = vec!["EVAL".to_owned(), TEXT.to_owned(), keys.len().to_string()];
                words.extend(keys);
                for command in commands {
                    words.push(command.len().to_string());
                    words.extend(command);
                }
                client.queue(&words);
            }
        }
    }

    /// Sends what is queued, the steps from `first` on, and notes the answers.
    fn exchange(&mut self, client: &mut Client, first: usize, watch: &Watch) -> Result<()> {
        let now = self.clock.now_us();
        self.steps[first..].iter_mut().for_each(|step| step.sent_us = now);
        client.flush()?;
        for index in first..self.steps.len() {
            let step = &self.steps[index];
            let replies = match step.manner {
                Manner::Plain => step.ops.iter().map(|op| op.commands((0, 0)).len()).sum(),
                Manner::Transaction => 2 + step.ops.iter().map(|op| op.commands((0, 0)).len()).sum::<usize>(),
                Manner::Script => 1,
            };
            let mut is_refused = false;
            for _ in 0..replies {
                is_refused |= is_refusal(&client.receive()?, step)?;
            }
            if is_refused {
                self.open.get_or_insert(index);
                self.refusals += 1;
                watch.refused.fetch_add(1, Relaxed);
            } else {
                self.steps[index].acked_us = self.clock.now_us();
                watch.acked.fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    /// After a refusal: waits until writes are accepted, and looks which of the open steps were done all the same.
    fn resolve(&mut self, client: &mut Client, watch: &Watch) -> Result<()> {
        let dump = loop {
            if watch.stop.load(Relaxed) {
                return Ok(());
            }
            let reply = client.command(&["SET", "probe", "1"])?;
            ensure!(!reply.is_error() || reply.is_error_of("MISCONF"), "{reply}");
            if !reply.is_error() {
                match Model::read(client, self.databases()) {
                    Ok(dump) => break dump,
                    // The disk fails again, and reads cannot be vouched for either.
                    Err(error) if format!("{error:#}").contains("MISCONF") => {}
                    Err(error) => return Err(error),
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        };
        client.command(&["SELECT", &self.databases().0.to_string()])?;
        // All that was answered is there: nothing has crashed. Behind it may be what an earlier refusal left open: it was done, and may leave no trace.
        let explained = self.explain(&dump, u64::MAX)?;
        let open = self.open.expect("there is something to resolve");
        let answered = self.steps[..open].iter().rposition(|step| step.acked_us > 0).map_or(0, |last| last + 1);
        ensure!(explained.low >= answered, "what was answered with OK is gone");
        self.adopt(&explained);
        Ok(())
    }

    /// What a state that was found is: the model after some of the steps.
    ///
    /// `promised_us`: what was answered before that must be in it.
    ///
    /// # Errors
    /// It is no such thing.
    pub fn explain(&self, dump: &Dump, promised_us: u64) -> Result<Explained> {
        let certain = self.open.unwrap_or(self.steps.len());
        let must = |step: &Step| step.acked_us > 0 && step.acked_us <= promised_us;
        let promised = self.steps[..certain].iter().rposition(must).map_or(0, |last| last + 1);
        let mut model = self.start.clone();
        let mut found: Option<(usize, usize)> = None;
        let mut nearest = None;
        for count in 0..=certain {
            if model.marker() == dump.model.marker() {
                if dump.is(&model) {
                    found = Some((found.map_or(count, |(low, _)| low), count));
                } else if found.is_none() {
                    nearest = Some((count, dump.difference(&model)));
                }
            }
            if let Some(step) = self.steps.get(count).filter(|_| count < certain) {
                step.ops.iter().for_each(|op| model.apply(op));
            }
        }
        let is_open_promised = self.steps[certain..].iter().any(must);
        if let Some((low, high)) = found
            && !is_open_promised
            && (high >= promised || certain == self.steps.len())
        {
            ensure!(high >= promised, self.lost(high, promised));
            let low = low.max(promised.min(high));
            return Ok(Explained {
                included_sent_us: self.steps[..low].last().map_or(0, |step| step.sent_us),
                excluded_acked_us: acked_first(&self.steps[high..]),
                low,
                mask: None,
            });
        }
        let open = &self.steps[certain..];
        ensure!(open.len() <= OPEN_MAX + self.work.depth_max, "too many open steps: {}", open.len());
        for mask in 0..1_u32 << open.len() {
            let is_in = |index: usize| mask & (1 << index) != 0;
            if open.iter().enumerate().any(|(index, step)| must(step) && !is_in(index)) {
                continue;
            }
            let mut model = model.clone();
            for (_, step) in open.iter().enumerate().filter(|(index, _)| is_in(*index)) {
                step.ops.iter().for_each(|op| model.apply(op));
            }
            if dump.is(&model) {
                let left_out: Vec<Step> =
                    open.iter().enumerate().filter(|(index, _)| !is_in(*index)).map(|(_, step)| step.clone()).collect();
                return Ok(Explained {
                    // Whether an open step was done is guesswork where it leaves no trace; its times prove nothing.
                    included_sent_us: self.steps[..certain].last().map_or(0, |step| step.sent_us),
                    excluded_acked_us: acked_first(&left_out),
                    low: certain,
                    mask: Some(mask),
                });
            }
        }
        if let Some((_, high)) = found {
            bail!(self.lost(high, promised));
        }
        let (count, difference) =
            nearest.unwrap_or_else(|| (self.steps.len(), format!("nothing else; step {}", dump.model.marker())));
        bail!(
            "lane {}: what is there is the state after none of {} steps. After step {count} it would differ in this:\n{difference}\nthe steps there: {:?}",
            self.index,
            self.steps.len(),
            &self.steps[count.saturating_sub(2)..(count + 3).min(self.steps.len())],
        )
    }

    fn lost(&self, found: usize, promised: usize) -> String {
        let first = &self.steps[found];
        let last = &self.steps[promised - 1];
        format!(
            "lane {}: {} steps are lost that were promised: the state is that after {found} of {}, and {promised} must be there. \
             The first was answered {} us before the last. First: {:?}",
            self.index,
            promised - found,
            self.steps.len(),
            last.acked_us.saturating_sub(first.acked_us),
            first,
        )
    }

    /// Goes on from a state that was found.
    pub fn adopt(&mut self, explained: &Explained) {
        let certain = self.open.unwrap_or(self.steps.len());
        let open = self.steps.split_off(certain);
        self.steps.truncate(explained.low);
        if let Some(mask) = explained.mask {
            self.steps.extend(
                open.into_iter().enumerate().filter(|(index, _)| mask & (1 << index) != 0).map(|(_, step)| step),
            );
        }
        self.open = None;
    }

    /// The next step.
    fn draw(&mut self) -> Step {
        let number = self.next;
        self.next += 1;
        let random = &mut self.random;
        let manner = match random.random_range(0..10) {
            0..5 => Manner::Plain,
            5..8 => Manner::Transaction,
            _ => Manner::Script,
        };
        let count = if manner == Manner::Plain { 1 } else { random.random_range(1..5) };
        let mut ops: Vec<Op> = Vec::new();
        while ops.len() < count {
            let op = draw_op(random, number, ops.len() as u64, self.work.elements);
            if manner != Manner::Script || op.is_simple() {
                ops.push(op);
            }
        }
        // Two commands are no unit unless something makes them one.
        let is_many = ops.iter().any(|op| matches!(op, Op::VolatileField { .. } | Op::Flush));
        let manner = if manner == Manner::Plain && is_many { Manner::Transaction } else { manner };
        if manner != Manner::Plain {
            ops.push(Op::Mark(number));
        }
        Step { ops, manner, sent_us: 0, acked_us: 0 }
    }
}

fn acked_first(steps: &[Step]) -> u64 {
    steps.iter().map(|step| step.acked_us).find(|&acked| acked > 0).unwrap_or(u64::MAX)
}

/// Whether a reply leaves open if the step was done.
///
/// # Errors
/// It must not be at all.
fn is_refusal(reply: &Value, step: &Step) -> Result<bool> {
    if let Some(elements) = reply.elements() {
        let mut is_refused = false;
        for element in elements {
            is_refused |= is_refusal(element, step)?;
        }
        return Ok(is_refused);
    }
    if !reply.is_error()
        || reply.text().is_some_and(|text| ["ERR no such key", "ERR index out of range"].contains(&text))
    {
        return Ok(false);
    }
    // A transaction with a refused command is discarded.
    ensure!(
        reply.is_error_of("MISCONF") || reply.is_error_of("EXECABORT") || refused_in_script(reply),
        "{reply} to {step:?}"
    );
    Ok(true)
}

fn refused_in_script(reply: &Value) -> bool {
    reply.text().is_some_and(|text| text.contains("MISCONF"))
}

fn draw_op(random: &mut Random, number: u64, index: u64, elements: u64) -> Op {
    let small = random.random_range(0..4_u8);
    let is_large = elements > 0 && random.random_bool(0.4);
    let which = if is_large { 9 } else { small };
    let field = if is_large { random.random_range(0..elements + elements / 4) } else { random.random_range(0..40) };
    let value = number * 16 + index;
    let soon = |random: &mut Random| {
        unix_ms() + if random.random_bool(0.5) { random.random_range(1..3000) } else { 3_600_000 }
    };
    match random.random_range(0..40) {
        0..4 => Op::Set { key: Key('t', random.random_range(0..50)), value, expire_at: None },
        4..6 => Op::Set { key: Key('e', random.random_range(0..20)), value, expire_at: Some(soon(random)) },
        6 => Op::Append { key: Key('a', small), value },
        7..9 => Op::Increment(Key('c', small)),
        9..12 => Op::Push { key: Key('l', which), first: value, count: 1, front: random.random_bool(0.5) },
        12..14 => Op::Pop { key: Key('l', which), front: random.random_bool(0.5) },
        14 => Op::Place { key: Key('l', which), index: field, value },
        15..18 => Op::Fields { key: Key('h', which), first: field, count: 1, value },
        18 => Op::RemoveField { key: Key('h', which), field },
        19..21 => Op::VolatileField { key: Key('v', small), field: field % 40, value, expire_at: soon(random) },
        21..23 => Op::Members { key: Key('s', which), first: field, count: 1 },
        23 => Op::RemoveMember { key: Key('s', which), member: field },
        24..27 => Op::Scores { key: Key('z', which), first: field, count: 1, score: number },
        27 => Op::RemoveScore { key: Key('z', which), member: field },
        28..31 => Op::Entry { key: Key('x', small), id: value, value },
        31 => Op::Trim { key: Key('x', small), kept: random.random_range(0..30) },
        32..34 => {
            let kind = ['t', 'l', 'h', 's', 'z', 'x'][random.random_range(0..6)];
            let pick = |random: &mut Random| {
                if is_large && random.random_bool(0.5) {
                    Key(kind, random.random_range(8..10))
                } else {
                    Key(kind, random.random_range(0..4))
                }
            };
            // A stream must not get ids that are behind those that it has seen.
            let kind_is_free = kind != 'x';
            match random.random_range(0..3) {
                0 if kind_is_free => Op::Move(pick(random)),
                1 if !is_large => Op::Delete(pick(random)),
                _ => Op::Rename(pick(random), pick(random)),
            }
        }
        34 => Op::Swap,
        35 if elements == 0 && random.random_bool(0.2) => Op::Flush,
        _ => Op::Set { key: Key('t', random.random_range(0..50)), value, expire_at: None },
    }
}

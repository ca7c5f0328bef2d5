//! Playing a script of moves: commands that may wait, on several connections of both servers.
//!
//! After each move both servers come to rest: who moved has its replies, or waits; who waited and waits no longer has its
//! reply. Who waits is what CLIENT LIST says (flag `b`), asked on the connection that never waits. So nothing depends on who is faster.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testkit::Value;

use crate::{
    normalise::{self, Verdict},
    pair::{CONNECTIONS, CONTROL, Difference, Pair, REPLY_TIME_MAX, Side},
    step::{Step, names_client_of, upper},
};

/// How long a reply is waited for before the server is asked whether it will come.
const MOMENT: Duration = Duration::from_millis(2);

type Command = Vec<Vec<u8>>;

/// Who waits, with which command: the same on both sides, or the script is over.
type Waiting = [Option<Command>; CONNECTIONS];

/// Plays consecutive moves, the first of which is the step `first`.
pub fn play(pair: &mut Pair, steps: &[Step], first: usize) -> Result<Option<Difference>> {
    let ids = [ids(&mut pair.subject)?, ids(&mut pair.reference)?];
    let mut waiting = Waiting::default();
    for (at, step) in (first..).zip(steps) {
        let Step::Move { connection, commands, is_brief } = step else { bail!("{step} is no move") };
        if *connection != CONTROL && waiting[*connection].is_some() {
            continue;
        }
        if let Some(difference) = play_move(pair, &ids, &mut waiting, (*connection, commands, *is_brief), step, at)? {
            return Ok(Some(difference));
        }
    }
    // Nobody is left behind.
    let last = first + steps.len() - 1;
    for connection in 0..CONNECTIONS {
        if waiting[connection].is_some() {
            let how = if connection % 2 == 0 { "TIMEOUT" } else { "ERROR" };
            let unblock = ["CLIENT", "UNBLOCK", &format!("{{client:{connection}}}"), how];
            let unblock = unblock.map(|word| word.as_bytes().to_vec()).to_vec();
            let step = Step::Move { connection: CONTROL, commands: vec![unblock.clone()], is_brief: false };
            if let Some(difference) = play_move(pair, &ids, &mut waiting, (CONTROL, &[unblock], false), &step, last)? {
                return Ok(Some(difference));
            }
        }
    }
    if let Some(connection) = waiting.iter().position(Option::is_some) {
        bail!("connection {connection} still waits after CLIENT UNBLOCK");
    }
    Ok(None)
}

/// What a move has led to on one side.
struct Outcome {
    /// Of the connection that moved; `None` if it waits now.
    replies: Option<Vec<Value>>,
    /// The connections that wait no longer, and what they were told.
    served: Vec<(usize, Value)>,
}

fn play_move(
    pair: &mut Pair,
    ids: &[Vec<i64>; 2],
    waiting: &mut Waiting,
    (connection, commands, is_brief): (usize, &[Command], bool),
    step: &Step,
    at: usize,
) -> Result<Option<Difference>> {
    // What hangs or ends here is a finding like any other.
    let outcomes = [(&mut pair.subject, &ids[0]), (&mut pair.reference, &ids[1])]
        .map(|(side, ids)| make(side, ids, waiting, connection, commands, is_brief));
    let difference = |what: String, subject: String, reference: String| {
        Ok(Some(Difference { at, what: format!("{step}: {what}"), subject, reference }))
    };
    let [subject, reference] = match outcomes {
        [Ok(subject), Ok(reference)] => [subject, reference],
        [subject, reference] => {
            let text =
                |outcome: Result<Outcome>| outcome.map_or_else(|error| format!("{error:#}"), |_| "fine".to_owned());
            return difference("coming to rest".to_owned(), text(subject), text(reference));
        }
    };
    let who = |outcome: &Outcome| {
        let waits = if outcome.replies.is_none() { "waits" } else { "is answered" };
        let served: Vec<usize> = outcome.served.iter().map(|(connection, _)| *connection).collect();
        format!("[{connection}] {waits}; served: {served:?}")
    };
    if who(&subject) != who(&reference) {
        return difference("who waits".to_owned(), who(&subject), who(&reference));
    }
    let differ = |command: &Command, ours: &Value, theirs: &Value| {
        normalise::compare(command, ours, theirs) == Verdict::Different
    };
    match (subject.replies, reference.replies) {
        (Some(ours), Some(theirs)) => {
            for ((command, ours), theirs) in commands.iter().zip(&ours).zip(&theirs) {
                if differ(command, ours, theirs) {
                    return difference("the reply".to_owned(), ours.to_string(), theirs.to_string());
                }
            }
        }
        _ => waiting[connection] = Some(commands[0].clone()),
    }
    for ((connection, ours), (_, theirs)) in subject.served.iter().zip(&reference.served) {
        let command = waiting[*connection].take().expect("who is served has waited");
        if differ(&command, ours, theirs) {
            return difference(format!("what [{connection}] is served"), ours.to_string(), theirs.to_string());
        }
    }
    Ok(None)
}

fn make(
    side: &mut Side,
    ids: &[i64],
    waiting: &Waiting,
    connection: usize,
    commands: &[Command],
    is_brief: bool,
) -> Result<Outcome> {
    for command in commands {
        let command: Command = command
            .iter()
            .map(|word| match names_client_of(word) {
                Some(connection) => ids[connection].to_string().into_bytes(),
                None => word.clone(),
            })
            .collect();
        side.clients[connection].queue(&command);
    }
    side.clients[connection].flush()?;
    let replies = if commands.len() > 1 || connection == CONTROL || is_brief || !can_wait(&commands[0]) {
        // These never wait, or not long.
        Some(commands.iter().map(|_| side.reply(connection)).collect::<Result<Vec<_>>>()?)
    } else {
        side.reply_or_wait(connection, ids[connection])?.map(|reply| vec![reply])
    };
    let mut served = Vec::new();
    if waiting.iter().any(Option::is_some) {
        let still = side.who_waits(ids)?;
        for other in (0..CONNECTIONS).filter(|&other| waiting[other].is_some() && !still[other]) {
            served.push((other, side.reply(other).with_context(|| format!("[{other}] waits no longer"))?));
        }
    }
    Ok(Outcome { replies, served })
}

/// Whether it is one of those that wait for somebody else. (Redis 8.2 also counts a client as blocked while FLUSHALL frees memory.)
fn can_wait(command: &Command) -> bool {
    let name = upper(&command[0]);
    name.starts_with('B') || name.starts_with("XREAD")
}

fn ids(side: &mut Side) -> Result<Vec<i64>> {
    (0..=CONTROL)
        .map(|connection| side.command(connection, &["CLIENT", "ID"])?.integer().context("CLIENT ID is a number"))
        .collect()
}

impl Side {
    fn reply(&mut self, connection: usize) -> Result<Value> {
        self.receive(connection).map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// The reply, or `None` when the server says that the client waits.
    fn reply_or_wait(&mut self, connection: usize, id: i64) -> Result<Option<Value>> {
        let start = Instant::now();
        let reply = loop {
            self.clients[connection].set_timeout(MOMENT)?;
            match self.clients[connection].receive() {
                Ok(reply) => break Some(reply),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error.into()),
            }
            if self.who_waits(&[id])?[0] {
                break None;
            }
            if start.elapsed() > REPLY_TIME_MAX {
                bail!("no reply, and the client does not wait");
            }
        };
        self.clients[connection].set_timeout(REPLY_TIME_MAX)?;
        Ok(reply)
    }

    /// Whether each of these clients is blocked.
    fn who_waits(&mut self, ids: &[i64]) -> Result<Vec<bool>> {
        let mut command = vec!["CLIENT".to_owned(), "LIST".to_owned(), "ID".to_owned()];
        command.extend(ids.iter().map(ToString::to_string));
        let list = self.command(CONTROL, &command)?;
        let list = list.text().with_context(|| format!("CLIENT LIST replies {list}"))?;
        let line_of = |id: &i64| list.lines().find(|line| line.starts_with(&format!("id={id} ")));
        let flags = |line: &str| {
            line.split(' ').find_map(|field| field.strip_prefix("flags=").map(|flags| flags.contains('b')))
        };
        ids.iter().map(|id| line_of(id).and_then(flags).with_context(|| format!("no client {id} in\n{list}"))).collect()
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

//! Playing a script of talkers: connections of their own that listen to channels, track keys, and change what others listen to.
//!
//! After each step every talker calls what does not exist, by which it knows how far it has heard (that is the answer to whoever it is, and
//! whatever he may), and what it has heard is compared: replies, messages and invalidations, in order, and whether it was sent away. A push that a command causes is on its way before the command's reply, on both servers, so
//! nothing depends on who is faster.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{Client, Value, wait_until};

use crate::{
    normalise::{self, Verdict},
    pair::{CONTROL, Difference, Pair, REPLY_TIME_MAX, Side},
    step::{Step, Talk, names_client_of, upper},
};

/// So many connections: the even ones begin in RESP2, the odd ones in RESP3.
pub const TALKERS: usize = 5;

/// Where clients of RESP2 hear of invalidations.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Users that scripts make.
pub const USERS: [&str; 3] = ["u", "v", "w"];

/// What keys live that are to be gone when [`Talk::TimePasses`].
pub const SHORT_LIFE_MS: u64 = 3;

/// Plays consecutive talks, the first of which is the step `first`.
pub fn play(pair: &mut Pair, steps: &[Step], first: usize) -> Result<Option<Difference>> {
    let mut rooms = [Room::open(&mut pair.subject)?, Room::open(&mut pair.reference)?];
    let mut found = None;
    for (at, step) in (first..).zip(steps) {
        let Step::Talk(talk) = step else { anyhow::bail!("{step} is no talk") };
        let [ours, theirs] = &mut rooms;
        let ours = ours.play(&mut pair.subject, talk);
        let theirs = theirs.play(&mut pair.reference, talk);
        let difference = match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => compare(talk, &ours, &theirs),
            (ours, theirs) => {
                let text =
                    |heard: Result<Vec<Heard>>| heard.map_or_else(|error| format!("{error:#}"), |_| "fine".into());
                Some(("going on".to_owned(), text(ours), text(theirs)))
            }
        };
        if let Some((what, subject, reference)) = difference {
            found = Some(Difference { at, what: format!("{step}: {what}"), subject, reference });
            break;
        }
    }
    let [ours, theirs] = rooms;
    ours.close(&mut pair.subject)?;
    theirs.close(&mut pair.reference)?;
    Ok(found)
}

/// The talkers of one server.
struct Room {
    talkers: Vec<Client>,
    ids: Vec<i64>,
    /// Who had each id, also those that have left.
    who: HashMap<i64, i64>,
    /// Steps so far.
    count: usize,
}

/// What a talker has heard in one step.
#[derive(Default)]
struct Heard {
    replies: Vec<Value>,
    /// The server has closed the connection.
    is_sent_away: bool,
    /// Each with the number of replies before it.
    messages: Vec<(usize, Value)>,
    invalidations: Vec<(usize, Value)>,
}

impl Room {
    fn open(side: &mut Side) -> Result<Room> {
        restore(side)?;
        let mut room = Room { talkers: Vec::new(), ids: Vec::new(), who: HashMap::new(), count: 0 };
        for talker in 0..TALKERS {
            let (client, id) = room.enter(side, talker)?;
            room.talkers.push(client);
            room.ids.push(id);
        }
        Ok(room)
    }

    fn enter(&mut self, side: &Side, talker: usize) -> Result<(Client, i64)> {
        let mut client = Client::connect(side.server.address())?;
        client.set_timeout(REPLY_TIME_MAX)?;
        if talker % 2 == 1 {
            client = client.hello(3);
        }
        let id = client.command(&["CLIENT", "ID"])?.integer().context("CLIENT ID is a number")?;
        // Unlike anything that a server counts.
        self.who.insert(id, -1_000_000 - self.who.len() as i64);
        Ok((client, id))
    }

    fn close(self, side: &mut Side) -> Result<()> {
        drop(self.talkers);
        restore(side)?;
        self.ids.iter().try_for_each(|id| wait_until_gone(side, *id))
    }

    fn play(&mut self, side: &mut Side, talk: &Talk) -> Result<Vec<Heard>> {
        self.count += 1;
        let mut first = None;
        match talk {
            Talk::Commands { talker, commands } => {
                for command in commands {
                    let command: Vec<Vec<u8>> = command
                        .iter()
                        .map(|word| match names_client_of(word) {
                            Some(other) => self.ids[other].to_string().into_bytes(),
                            None => word.clone(),
                        })
                        .collect();
                    self.talkers[*talker].queue(&command);
                }
                // By then everything is done that was sent at once. The marker with it would be answered before what is sent at the end.
                first = Some((*talker, unless_sent_away(answer(&mut self.talkers[*talker]))?));
            }
            Talk::Leaves { talker } => {
                let (client, id) = self.enter(side, *talker)?;
                self.talkers[*talker] = client;
                let before = std::mem::replace(&mut self.ids[*talker], id);
                wait_until_gone(side, before)?;
            }
            Talk::TimePasses => pass_time(side)?,
        }
        let marker = format!("marker-{}", self.count);
        let mut all = Vec::new();
        for number in 0..TALKERS {
            let mut heard = Heard::default();
            if let Some((_, value)) = first.take_if(|(who, _)| *who == number) {
                heard.is_sent_away = value.is_none();
                value.into_iter().for_each(|value| heard.hear(value, &self.who));
            }
            let talker = &mut self.talkers[number];
            talker.queue(&[&marker]);
            let mut next = if heard.is_sent_away { None } else { unless_sent_away(answer(talker))? };
            while let Some(value) = next.take_if(|value| !is_marker(value, &marker)) {
                heard.hear(value, &self.who);
                next = unless_sent_away(talker.receive()).with_context(|| format!("asking talker {number}"))?;
            }
            if next.is_none() {
                heard.is_sent_away = true;
                let (client, id) = self.enter(side, number)?;
                self.talkers[number] = client;
                let before = std::mem::replace(&mut self.ids[number], id);
                wait_until_gone(side, before)?;
            }
            heard.tidy();
            all.push(heard);
        }
        Ok(all)
    }
}

fn wait_until_gone(side: &mut Side, id: i64) -> Result<()> {
    let id = id.to_string();
    let gone = wait_until(REPLY_TIME_MAX, || {
        let list = side.command(CONTROL, &["CLIENT", "LIST", "ID", &id]);
        list.is_ok_and(|list| list.text().is_some_and(|text| text.trim().is_empty()))
    });
    ensure!(gone, "{} keeps a connection that is closed", side.kind());
    Ok(())
}

/// Waits until what was given a [short life](SHORT_LIFE_MS) is past it.
fn pass_time(side: &mut Side) -> Result<()> {
    let mut now_ms = || -> Result<i64> {
        let reply = side.command(CONTROL, &["TIME"])?;
        let part = |index: usize| {
            let text = reply.elements()?.get(index)?.text()?;
            text.parse::<i64>().ok()
        };
        Ok(part(0).context("seconds")? * 1000 + part(1).context("microseconds")? / 1000)
    };
    let end = now_ms()? + SHORT_LIFE_MS as i64 + 1;
    let mut failed = None;
    let passed = wait_until(Duration::from_secs(10), || match now_ms() {
        Ok(now) => now > end,
        Err(error) => {
            failed = Some(error);
            true
        }
    });
    ensure!(passed, "the clock of {} stands still", side.kind());
    failed.map_or(Ok(()), Err)
}

/// Sends what is queued, and waits for the first that comes.
fn answer(talker: &mut Client) -> io::Result<Value> {
    talker.flush()?;
    talker.receive()
}

/// Nothing from whom the server has closed the connection.
fn unless_sent_away(answer: io::Result<Value>) -> io::Result<Option<Value>> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match answer {
        Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof) => Ok(None),
        other => other.map(Some),
    }
}

/// What scripts have changed is as at the start.
fn restore(side: &mut Side) -> Result<()> {
    let delete: Vec<&str> = ["ACL", "DELUSER"].into_iter().chain(USERS).collect();
    side.command(CONTROL, &delete)?;
    side.command(CONTROL, &["ACL", "LOG", "RESET"])?;
    let settings = ["notify-keyspace-events", "", "acl-pubsub-default", "resetchannels", "acllog-max-len", "128"];
    let configure: Vec<&str> = ["CONFIG", "SET"].into_iter().chain(settings).collect();
    side.command(CONTROL, &configure)?;
    Ok(())
}

fn is_marker(value: &Value, marker: &str) -> bool {
    let answer = format!("ERR unknown command '{marker}'");
    matches!(value, Value::Error(text) if text.starts_with(answer.as_bytes()))
}

impl Heard {
    fn hear(&mut self, value: Value, who: &HashMap<i64, i64>) {
        let at = self.replies.len();
        let value = named(value, who);
        let (Value::Push(elements) | Value::Array(elements)) = &value else {
            return self.replies.push(value);
        };
        let word = |index: usize| elements.get(index).and_then(Value::bytes).unwrap_or_default();
        let is_push = matches!(value, Value::Push(_));
        match word(0) {
            b"invalidate" | b"tracking-redir-broken" if is_push => self.invalidations.push((at, value)),
            b"message" if word(1) == CHANNEL => self.invalidations.push((at, value)),
            b"message" | b"pmessage" | b"smessage" => self.messages.push((at, value)),
            kind if kind.ends_with(b"subscribe") => self.messages.push((at, value)),
            _ => self.replies.push(value),
        }
    }

    /// What may have any order has one now: names where all subscriptions end, and patterns that a message fits.
    fn tidy(&mut self) {
        let kind = |value: &Value| match value {
            Value::Push(elements) | Value::Array(elements) => {
                elements.first().and_then(Value::bytes).map(<[u8]>::to_vec)
            }
            _ => None,
        };
        let mut start = 0;
        while start < self.messages.len() {
            let first = kind(&self.messages[start].1);
            let run = &mut self.messages[start..];
            let length = run.iter().take_while(|(_, value)| kind(value) == first).count();
            let run = &mut run[..length];
            if first.as_deref().is_some_and(|kind| kind.ends_with(b"unsubscribe")) {
                let mut names: Vec<Value> =
                    run.iter().filter_map(|(_, value)| value.elements().map(|it| it[1].clone())).collect();
                names.sort();
                for ((_, value), name) in run.iter_mut().zip(names) {
                    if let Value::Push(elements) | Value::Array(elements) = value {
                        elements[1] = name;
                    }
                }
            } else if first.as_deref() == Some(b"pmessage") {
                // A message, then its patterns: those of one message stay together.
                let message = |value: &Value| value.elements().map(|elements| elements[2..].to_vec());
                run.chunk_by_mut(|a, b| message(&a.1) == message(&b.1)).for_each(<[_]>::sort);
            }
            start += length;
        }
    }
}

/// The value with names for ids of clients, which each server gives in its own way.
fn named(value: Value, who: &HashMap<i64, i64>) -> Value {
    let has = |elements: &[Value], word: &[u8]| elements.iter().any(|element| element.bytes() == Some(word));
    let name = |value: Value| match value {
        Value::Integer(id) => Value::Integer(who.get(&id).copied().unwrap_or(id)),
        // After a flush Redis writes null as the one who tracks would read it, also where somebody else is told, who may speak another
        // version. What is sent here can be read by whoever gets it.
        Value::NullBulk => Value::Null,
        other => other,
    };
    let all = |elements: Vec<Value>| elements.into_iter().map(name).collect();
    match value {
        Value::Push(elements) if has(&elements, b"tracking-redir-broken") || has(&elements, b"invalidate") => {
            Value::Push(all(elements))
        }
        // An invalidation, or CLIENT TRACKINGINFO.
        Value::Array(elements) if has(&elements, CHANNEL) || has(&elements, b"redirect") => Value::Array(all(elements)),
        Value::Map(pairs) if pairs.iter().any(|(name, _)| name.bytes() == Some(b"redirect")) => {
            Value::Map(pairs.into_iter().map(|(key, value)| (key, name(value))).collect())
        }
        other => other,
    }
}

/// Messages and invalidations are judged apart: which of the two comes first for one key differs from command to command in Redis.
fn compare(talk: &Talk, ours: &[Heard], theirs: &[Heard]) -> Option<(String, String, String)> {
    let show = |values: &[(usize, Value)]| {
        let text: Vec<String> = values.iter().map(|(at, value)| format!("behind {at} replies {value}")).collect();
        text.join(", ")
    };
    for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let commands: &[Vec<Vec<u8>>] = match talk {
            Talk::Commands { talker, commands } if *talker == number => commands,
            _ => &[],
        };
        let all = |heard: &Heard| Value::Array(heard.replies.clone()).to_string();
        let same = ours.replies.len() == theirs.replies.len()
            && ours.replies.iter().zip(&theirs.replies).enumerate().all(|(index, (ours, theirs))| {
                // A command that is answered by pushes has no reply; no step has such a command beside others.
                let command = commands.get(index).map_or(&[][..], Vec::as_slice);
                is_id(command) || normalise::compare(command, ours, theirs) != Verdict::Different
            });
        if !same {
            return Some((format!("the replies to talker {number}"), all(ours), all(theirs)));
        }
        if ours.is_sent_away != theirs.is_sent_away {
            let text = |heard: &Heard| if heard.is_sent_away { "is sent away" } else { "stays" };
            return Some((format!("what becomes of talker {number}"), text(ours).into(), text(theirs).into()));
        }
        let at_once = matches!(talk, Talk::Commands { commands, .. } if commands.len() > 1);
        for (what, ours, theirs) in [
            ("messages", &ours.messages, &theirs.messages),
            ("invalidations", &ours.invalidations, &theirs.invalidations),
        ] {
            // Who tracks by prefix is told once a turn, and what a turn is of commands that came at once is each server's own. In which order
            // the keys of one command are told, Redis decides command by command (LMOVE: the second one first).
            let is_free = what == "invalidations"
                && if at_once { keys(ours) == keys(theirs) } else { sorted(ours) == sorted(theirs) };
            if ours != theirs && !is_free {
                return Some((format!("the {what} that talker {number} hears"), show(ours), show(theirs)));
            }
        }
    }
    None
}

fn sorted(values: &[(usize, Value)]) -> Vec<&(usize, Value)> {
    let mut values: Vec<_> = values.iter().collect();
    values.sort();
    values
}

/// All keys that invalidations name.
fn keys(invalidations: &[(usize, Value)]) -> BTreeSet<&Value> {
    invalidations.iter().filter_map(|(_, value)| value.elements()?.last()?.elements()).flatten().collect()
}

fn is_id(command: &[Vec<u8>]) -> bool {
    command.get(1).is_some_and(|word| upper(word) == "GETREDIR")
}

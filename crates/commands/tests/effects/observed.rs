//! What a command has brought about, on whichever side, and whether two of these are the same.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effect {
    pub db: u32,
    pub args: Vec<Vec<u8>>,
}

impl Effect {
    /// What HINCRBYFLOAT does to a field is told as HSETEX KEEPTTL by Redis 8.2, and by Spinel only where the field expires: older servers do not know
    /// that command. One form stands for both.
    pub fn new(db: u32, mut args: Vec<Vec<u8>>) -> Effect {
        let is_kept = |args: &[Vec<u8>]| args[2].eq_ignore_ascii_case(b"KEEPTTL") && args[4] == b"1";
        if args.len() == 7 && args[0].eq_ignore_ascii_case(b"HSETEX") && is_kept(&args) {
            args.drain(2..5);
            args[0] = b"HSET".to_vec();
        }
        Effect { db, args }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    pub db: u32,
    pub name: String,
    pub key: Vec<u8>,
}

/// What one command has brought about.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Only shown.
    pub reply: String,
    pub units: Vec<Vec<Effect>>,
    pub events: Vec<Event>,
}

/// How much the two clocks may be apart: the rig's is set once a command, the server's runs.
const APART_MS_MAX: u64 = 60_000;

impl Observed {
    /// Whether the same was done. Members that were drawn, and their order, are free where `drawn` says so.
    pub fn same_effects(&self, other: &Observed, drawn: bool) -> bool {
        let shape = |units: &[Vec<Effect>]| -> Vec<usize> { units.iter().map(Vec::len).collect() };
        let same_args = |a: &Effect, b: &Effect| {
            let is_free = |index: usize| drawn && index > 1;
            a.db == b.db
                && a.args.len() == b.args.len()
                && a.args.iter().zip(&b.args).enumerate().all(|(index, (a, b))| is_free(index) || same_word(a, b))
        };
        shape(&self.units) == shape(&other.units)
            && self.units.iter().flatten().zip(other.units.iter().flatten()).all(|(a, b)| same_args(a, b))
    }

    /// Whether the same was told. The order is free where a command looks up a key for each element of what may be a set.
    pub fn same_events(&self, other: &Observed, walks_a_set: bool) -> bool {
        if !walks_a_set {
            return self.events == other.events;
        }
        let sorted = |events: &[Event]| {
            let mut shown: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
            shown.sort();
            shown
        };
        sorted(&self.events) == sorted(&other.events)
    }
}

/// Equal, or two readings of the clock: a time in milliseconds, alone or as a stream id's first part.
fn same_word(a: &[u8], b: &[u8]) -> bool {
    fn split(word: &[u8]) -> Option<(u64, &str)> {
        let text = std::str::from_utf8(word).ok()?;
        let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
        let (number, rest) = text.split_at(digits);
        (rest.is_empty() || rest.starts_with('-')).then_some((number.parse().ok()?, rest))
    }
    if a == b {
        return true;
    }
    match (split(a), split(b)) {
        (Some((one, rest)), Some((other, same))) => {
            rest == same && one.min(other) > 1_500_000_000_000 && one.abs_diff(other) < APART_MS_MAX
        }
        _ => false,
    }
}

/// A command's words as one would type them.
pub fn words(args: &[Vec<u8>]) -> String {
    let shown = args.iter().map(|arg| {
        let text = arg.escape_ascii().to_string();
        if text.is_empty() || text.contains(' ') { format!("\"{text}\"") } else { text }
    });
    shown.collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = |unit: &Vec<Effect>| {
            let effects: Vec<_> =
                unit.iter().map(|effect| format!("[{}] {}", effect.db, words(&effect.args))).collect();
            effects.join("; ")
        };
        let units: Vec<_> = self.units.iter().map(unit).collect();
        let event = |event: &Event| format!("[{}] {} {}", event.db, event.name, event.key.escape_ascii());
        let events: Vec<_> = self.events.iter().map(event).collect();
        write!(f, "effects {{{}}} events {{{}}} reply ", units.join(" | "), events.join(", "))?;
        f.write_str(&self.reply.chars().take(200).collect::<String>())
    }
}

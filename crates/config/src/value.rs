//! Values of directives: what the server reads, how they are read from words, and how CONFIG GET writes them.

use crate::directive::{Directive, Kind};
use crate::units::{self, MemoryError};

/// A byte string as the file gave it; the configuration need not be UTF-8.
pub type Bytes = Vec<u8>;

/// The value of one directive. Which variant it is follows from the directive's [`Kind`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Memory(MemoryLimit),
    Choice(usize),
    Flags(u64),
    Text(Bytes),
    Words(Vec<Bytes>),
    Save(Vec<SavePoint>),
    OutputLimits(OutputLimits),
    KeyspaceEvents(KeyspaceEvents),
    OomScores([i64; 3]),
    Percentiles(Vec<f64>),
    ReplicaOf(Option<PrimaryAddress>),
    Statements(Vec<Vec<Bytes>>),
}

/// An amount of memory, absolute or relative to `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    Bytes(i64),
    PercentOfMaxmemory(i64),
}

/// A snapshot is due `seconds` after the last one if at least `changes` happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    pub seconds: i64,
    pub changes: i64,
}

/// Limits of what may wait to be sent to one client; 0 means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    pub soft_seconds: u64,
}

/// The limits of each class of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimits {
    pub normal: OutputLimit,
    pub replica: OutputLimit,
    pub pubsub: OutputLimit,
}

impl OutputLimits {
    /// In the order and under the names CONFIG GET uses; Redis keeps saying `slave` there.
    fn classes(&self) -> [(&'static str, OutputLimit); 3] {
        [("normal", self.normal), ("slave", self.replica), ("pubsub", self.pubsub)]
    }

    fn class_mut(&mut self, name: &[u8]) -> Option<&mut OutputLimit> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Some(&mut self.normal),
            b"slave" | b"replica" => Some(&mut self.replica),
            b"pubsub" => Some(&mut self.pubsub),
            _ => None,
        }
    }
}

/// Where a primary listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryAddress {
    pub host: Bytes,
    pub port: u16,
}

bitflags::bitflags! {
    /// Classes of keyspace notifications, and (`KEYSPACE`, `KEYEVENT`) the channels they are sent to.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct KeyspaceEvents: u32 {
        const KEYSPACE = 1;
        const KEYEVENT = 1 << 1;
        const GENERIC = 1 << 2;
        const STRING = 1 << 3;
        const LIST = 1 << 4;
        const SET = 1 << 5;
        const HASH = 1 << 6;
        const SORTED_SET = 1 << 7;
        const EXPIRED = 1 << 8;
        const EVICTED = 1 << 9;
        const STREAM = 1 << 10;
        const MODULE = 1 << 11;
        const KEY_MISS = 1 << 12;
        const NEW = 1 << 13;
        const OVERWRITTEN = 1 << 14;
        const TYPE_CHANGED = 1 << 15;
        /// What the letter `A` stands for: not misses, new keys, and what became of old values.
        const ALL = 0b1111_1111_1100;
    }
}

impl KeyspaceEvents {
    /// In the order CONFIG GET lists them. Letters of `ALL` come first, then the channels and what `A` leaves out.
    const LETTERS: [(u8, KeyspaceEvents); 16] = [
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::SORTED_SET),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'n', Self::NEW),
        (b'o', Self::OVERWRITTEN),
        (b'c', Self::TYPE_CHANGED),
        (b'K', Self::KEYSPACE),
        (b'E', Self::KEYEVENT),
        (b'm', Self::KEY_MISS),
    ];

    /// Observed in Redis 8.2: behind `A` these letters are not shown, although they stay set.
    const UNSHOWN_BEHIND_ALL: KeyspaceEvents =
        Self::ALL.union(Self::NEW).union(Self::OVERWRITTEN).union(Self::TYPE_CHANGED);

    /// The letters, none left out; CONFIG GET shows fewer.
    pub(crate) fn letters(self) -> Bytes {
        Self::LETTERS.iter().filter(|(_, class)| self.contains(*class)).map(|(letter, _)| *letter).collect()
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut events = Self::empty();
        // Redis reads no further than a zero byte.
        for letter in text.iter().take_while(|&&letter| letter != 0) {
            events |= match letter {
                b'A' => Self::ALL,
                _ => Self::LETTERS.iter().find(|(known, _)| known == letter)?.1,
            };
        }
        Some(events)
    }

    fn format(self) -> Bytes {
        if self.contains(Self::ALL) {
            let mut text = b"A".to_vec();
            text.extend((self - Self::UNSHOWN_BEHIND_ALL).letters());
            text
        } else {
            self.letters()
        }
    }
}

/// A type that a directive's value can be read as.
pub trait Setting {
    type Read<'a>;

    /// `None` when the value is of another kind, which is a bug in the table.
    fn read(value: &Value) -> Option<Self::Read<'_>>;
}

macro_rules! read_as {
    ($($type:ty => $read:ty, $pattern:pat => $result:expr;)*) => {$(
        impl Setting for $type {
            type Read<'a> = $read;
            fn read(value: &Value) -> Option<Self::Read<'_>> {
                match value { $pattern => Some($result), _ => None }
            }
        }
    )*};
}

read_as! {
    bool => bool, Value::Bool(value) => *value;
    i64 => i64, Value::Int(value) => *value;
    MemoryLimit => MemoryLimit, Value::Memory(limit) => *limit;
    [u8] => &'a [u8], Value::Text(text) => text.as_slice();
    [Bytes] => &'a [Bytes], Value::Words(words) => words.as_slice();
    [SavePoint] => &'a [SavePoint], Value::Save(points) => points.as_slice();
    OutputLimits => OutputLimits, Value::OutputLimits(limits) => *limits;
    KeyspaceEvents => KeyspaceEvents, Value::KeyspaceEvents(events) => *events;
    [i64; 3] => [i64; 3], Value::OomScores(scores) => *scores;
    [f64] => &'a [f64], Value::Percentiles(percentiles) => percentiles.as_slice();
    PrimaryAddress => Option<&'a PrimaryAddress>, Value::ReplicaOf(address) => address.as_ref();
    [Vec<Bytes>] => &'a [Vec<Bytes>], Value::Statements(statements) => statements.as_slice();
}

const WRONG_COUNT: &str = "wrong number of arguments";

/// The value that `words` give to `directive`, or the reason why not, in Redis's words.
///
/// `previous` is what stands so far: some directives only change the parts that are named.
pub(crate) fn parse(directive: &Directive, words: &[Bytes], previous: &Value) -> Result<Value, String> {
    let value = parse_kind(directive.kind, words, previous)?;
    if let Some(check) = directive.check {
        check(&value)?;
    }
    Ok(value)
}

fn parse_kind(kind: Kind, words: &[Bytes], previous: &Value) -> Result<Value, String> {
    let one = || match words {
        [word] => Ok(word.as_slice()),
        _ => Err(WRONG_COUNT.to_string()),
    };
    match kind {
        Kind::Bool => match one()?.to_ascii_lowercase().as_slice() {
            b"yes" => Ok(Value::Bool(true)),
            b"no" => Ok(Value::Bool(false)),
            _ => Err("argument must be 'yes' or 'no'".into()),
        },
        Kind::Int { min, max } => {
            let value = units::parse_integer(one()?).ok_or("argument couldn't be parsed into an integer")?;
            in_range(value, min, max)
        }
        Kind::ClampedInt { min, max } => {
            let value = units::parse_integer(one()?).ok_or("argument couldn't be parsed into an integer")?;
            in_range(value, 0, i64::from(i32::MAX))?;
            Ok(Value::Int(value.clamp(min, max)))
        }
        Kind::Unsigned { min, max } => {
            let value = units::parse_integer(one()?).ok_or("argument couldn't be parsed into an integer")?;
            not_negative(value)?;
            in_range(value, min, max)
        }
        Kind::MemoryAtLeast { min, floor } => match parse_kind(Kind::Memory { min, max: i64::MAX }, words, previous)? {
            Value::Int(value) => Ok(Value::Int(value.max(floor))),
            other => Ok(other),
        },
        Kind::Memory { min, max } => match units::parse_memory(one()?) {
            Ok(value) => in_range(value, min, max),
            Err(MemoryError::TooLarge) => Err(out_of_range(min, max)),
            Err(MemoryError::Malformed) => Err("argument must be a memory value".into()),
        },
        Kind::UnsignedMemory { min, max } => match units::parse_memory(one()?) {
            Ok(value) => in_range(value, min, max),
            Err(MemoryError::TooLarge) => not_negative(-1),
            Err(MemoryError::Malformed) => Err("argument must be a memory value".into()),
        },
        Kind::SignedMemory { min, max } => {
            let word = one()?;
            match units::parse_integer(word).map_or_else(|| units::parse_memory(word), Ok) {
                Ok(value) => in_range(value, min, max),
                Err(MemoryError::TooLarge) => Err(out_of_range(min, max)),
                Err(MemoryError::Malformed) => Err("argument must be a memory value".into()),
            }
        }
        Kind::MemoryOrPercent => parse_memory_or_percent(one()?),
        Kind::Octal => match units::parse_lenient_integer(one()?, 8) {
            Some(value) if value > 0o777 => Err("argument must be between 0 and 777 inclusive".into()),
            Some(value) => not_negative(value),
            None => Err("argument couldn't be parsed as an octal number".into()),
        },
        Kind::Choice(names) => {
            let index = index_of(names, one()?).ok_or_else(|| must_be_one_of(names))?;
            let synonym = SYNONYMS.iter().find(|(name, _)| *name == names[index]);
            let shown = synonym.and_then(|(_, shown)| index_of(names, shown.as_bytes()));
            Ok(Value::Choice(shown.unwrap_or(index)))
        }
        Kind::Flags(names) => {
            let mut bits = 0;
            for word in words {
                let index = index_of(names, word).ok_or_else(|| must_be_one_of(names))?;
                // The first name stands for no flag at all.
                bits |= (1u64 << index) >> 1;
            }
            if words.is_empty() { Err(must_be_one_of(names)) } else { Ok(Value::Flags(bits)) }
        }
        Kind::Text => Ok(Value::Text(one()?.to_vec())),
        Kind::Folder => {
            let path = one()?;
            folder_exists(path)?;
            Ok(Value::Text(path.to_vec()))
        }
        Kind::Words { max_count } if words.len() > max_count => Err("Too many bind addresses specified.".into()),
        // A single empty word is how a list is emptied.
        Kind::Words { .. } if matches!(words, [word] if word.is_empty()) => Ok(Value::Words(Vec::new())),
        Kind::Words { .. } => Ok(Value::Words(words.to_vec())),
        Kind::Save => parse_save(words),
        Kind::OutputLimits => parse_output_limits(words, previous),
        Kind::KeyspaceEvents => KeyspaceEvents::parse(one()?)
            .map(Value::KeyspaceEvents)
            .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
        Kind::OomScores => parse_oom_scores(words),
        Kind::Percentiles => parse_percentiles(words),
        Kind::ReplicaOf => parse_replica_of(words),
        Kind::Statement { min_args, max_args } => {
            if !(min_args..=max_args).contains(&words.len()) {
                return Err("Bad directive or wrong number of arguments".into());
            }
            let mut statements = match previous {
                Value::Statements(statements) => statements.clone(),
                _ => Vec::new(),
            };
            statements.push(words.to_vec());
            Ok(Value::Statements(statements))
        }
    }
}

fn in_range(value: i64, min: i64, max: i64) -> Result<Value, String> {
    if (min..=max).contains(&value) { Ok(Value::Int(value)) } else { Err(out_of_range(min, max)) }
}

fn out_of_range(min: i64, max: i64) -> String {
    format!("argument must be between {min} and {max} inclusive")
}

fn not_negative(value: i64) -> Result<Value, String> {
    if value < 0 { Err("argument must be greater or equal to 0".into()) } else { Ok(Value::Int(value)) }
}

fn index_of(names: &[&str], word: &[u8]) -> Option<usize> {
    names.iter().position(|name| name.as_bytes().eq_ignore_ascii_case(word))
}

/// Choices with two names, and the name under which both are shown: `oom-score-adj relative` is `yes`.
const SYNONYMS: [(&str, &str); 1] = [("relative", "yes")];

/// Names that Valkey has added. They are taken, but Redis's error text, which decides, does not list them.
const ONLY_IN_VALKEY: [&str; 3] = ["safe", "failover", "flush-before-load"];

fn must_be_one_of(names: &[&str]) -> String {
    let listed: Vec<&str> = names.iter().copied().filter(|name| !ONLY_IN_VALKEY.contains(name)).collect();
    format!("argument(s) must be one of the following: {}", listed.join(", "))
}

/// What the operating system says about the folder at `path`.
fn folder_exists(path: &[u8]) -> Result<(), String> {
    use std::os::unix::ffi::OsStrExt;
    match std::fs::metadata(std::ffi::OsStr::from_bytes(path)) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err("Not a directory".into()),
        Err(error) => Err(os_error_text(&error)),
    }
}

/// The text of an operating system's error without Rust's `(os error 2)`.
pub fn os_error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

fn parse_memory_or_percent(word: &[u8]) -> Result<Value, String> {
    const MALFORMED: &str = "argument must be a memory or percent value";
    if let Some(number) = word.strip_suffix(b"%") {
        let percent = units::parse_integer(number).filter(|percent| *percent >= 0).ok_or(MALFORMED)?;
        return match percent {
            0 => Ok(Value::Memory(MemoryLimit::Bytes(0))),
            1..=100 => Ok(Value::Memory(MemoryLimit::PercentOfMaxmemory(percent))),
            _ => Err("percentage argument must be less or equal to 100".into()),
        };
    }
    match units::parse_memory(word) {
        Ok(bytes) => Ok(Value::Memory(MemoryLimit::Bytes(bytes))),
        // Redis 8.2 keeps a percentage as a negative number, and so takes one that overflows for a percentage.
        Err(MemoryError::TooLarge) => Err("percentage argument must be less or equal to 100".into()),
        Err(MemoryError::Malformed) => Err(MALFORMED.into()),
    }
}

fn parse_save(words: &[Bytes]) -> Result<Value, String> {
    const INVALID: &str = "Invalid save parameters";
    if words.is_empty() || matches!(words, [word] if word.is_empty()) {
        return Ok(Value::Save(Vec::new()));
    }
    if !words.len().is_multiple_of(2) {
        return Err(INVALID.into());
    }
    let mut points = Vec::new();
    for pair in words.chunks_exact(2) {
        let seconds = units::parse_lenient_integer(&pair[0], 10).filter(|seconds| *seconds >= 1).ok_or(INVALID)?;
        let changes = units::parse_lenient_integer(&pair[1], 10).filter(|changes| *changes >= 0).ok_or(INVALID)?;
        points.push(SavePoint { seconds, changes });
    }
    Ok(Value::Save(points))
}

fn parse_output_limits(words: &[Bytes], previous: &Value) -> Result<Value, String> {
    const INVALID: &str = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
    let mut limits = match previous {
        Value::OutputLimits(limits) => *limits,
        _ => OutputLimits::default(),
    };
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    for class in words.chunks_exact(4) {
        let limit =
            limits.class_mut(&class[0]).ok_or("Invalid client class specified in buffer limit configuration.")?;
        let bytes = |word: &[u8]| units::parse_memory(word).map(i64::unsigned_abs).map_err(|_| INVALID);
        let seconds = units::parse_lenient_integer(&class[3], 10).filter(|seconds| *seconds >= 0).ok_or(INVALID)?;
        *limit = OutputLimit {
            hard_bytes: bytes(&class[1])?,
            soft_bytes: bytes(&class[2])?,
            soft_seconds: seconds.unsigned_abs(),
        };
    }
    Ok(Value::OutputLimits(limits))
}

fn parse_oom_scores(words: &[Bytes]) -> Result<Value, String> {
    let words: &[Bytes; 3] = words.try_into().map_err(|_| WRONG_COUNT)?;
    let mut scores = [0; 3];
    for (score, word) in scores.iter_mut().zip(words) {
        *score = units::parse_lenient_integer(word, 10)
            .filter(|score| (-2000..=2000).contains(score))
            .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
    }
    Ok(Value::OomScores(scores))
}

fn parse_percentiles(words: &[Bytes]) -> Result<Value, String> {
    if matches!(words, [word] if word.is_empty()) {
        return Ok(Value::Percentiles(Vec::new()));
    }
    let mut percentiles = Vec::new();
    for word in words {
        let value = units::parse_float(word).ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&value) {
            return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into());
        }
        percentiles.push(value);
    }
    Ok(Value::Percentiles(percentiles))
}

fn parse_replica_of(words: &[Bytes]) -> Result<Value, String> {
    let [host, port] = words else {
        return Err(WRONG_COUNT.into());
    };
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        return Ok(Value::ReplicaOf(None));
    }
    match units::parse_lenient_integer(port, 10).and_then(|port| u16::try_from(port).ok()) {
        Some(_) if host.is_empty() => Ok(Value::ReplicaOf(None)),
        Some(port) => Ok(Value::ReplicaOf(Some(PrimaryAddress { host: host.clone(), port }))),
        None => Err("Invalid master port".into()),
    }
}

/// The value as CONFIG GET shows it.
pub(crate) fn format(kind: Kind, value: &Value) -> Bytes {
    match (kind, value) {
        (_, Value::Bool(value)) => if *value { "yes" } else { "no" }.into(),
        (Kind::Octal, Value::Int(value)) => format!("{value:o}").into(),
        (_, Value::Int(value)) => value.to_string().into(),
        (_, Value::Memory(MemoryLimit::Bytes(bytes))) => bytes.to_string().into(),
        (_, Value::Memory(MemoryLimit::PercentOfMaxmemory(percent))) => format!("{percent}%").into(),
        (Kind::Choice(names), Value::Choice(index)) => names[*index].into(),
        (Kind::Flags(names), Value::Flags(0)) => names[0].into(),
        (Kind::Flags(names), Value::Flags(bits)) => {
            let set = names[1..].iter().enumerate().filter(|(index, _)| bits >> index & 1 == 1);
            set.map(|(_, name)| *name).collect::<Vec<_>>().join(" ").into()
        }
        (_, Value::Text(text)) => text.clone(),
        (_, Value::Words(words)) => words.join(&b' '),
        (_, Value::Save(points)) => {
            let pairs: Vec<String> = points.iter().map(|p| format!("{} {}", p.seconds, p.changes)).collect();
            pairs.join(" ").into()
        }
        (_, Value::OutputLimits(limits)) => {
            let classes = limits.classes().map(|(name, limit)| {
                format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
            });
            classes.join(" ").into()
        }
        (_, Value::KeyspaceEvents(events)) => events.format(),
        (_, Value::OomScores([primary, replica, child])) => format!("{primary} {replica} {child}").into(),
        (_, Value::Percentiles(percentiles)) => {
            percentiles.iter().map(|value| units::format_percentile(*value)).collect::<Vec<_>>().join(" ").into()
        }
        (_, Value::ReplicaOf(None)) => Vec::new(),
        (_, Value::ReplicaOf(Some(address))) => {
            let mut text = address.host.clone();
            text.extend_from_slice(format!(" {}", address.port).as_bytes());
            text
        }
        (_, Value::Statements(_)) => Vec::new(),
        (_, Value::Choice(_) | Value::Flags(_)) => {
            panic!("a value of another kind than its directive: {kind:?}, {value:?}")
        }
    }
}

//! What a lane does to its two databases, and what is in them then: a plain model, and the same read from a server.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use testkit::{Client, Value};

/// A key: its first letter says what it holds.
///
/// `t` strings, `a` strings that grow, `c` counters, `e` strings that expire, `l` lists, `h` hashes, `v` hashes whose fields expire, `s` sets,
/// `z` sorted sets, `x` streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub char, pub u8);

impl Key {
    fn name(self) -> String {
        format!("{}{}", self.0, self.1)
    }
}

/// A change. All of them succeed, or fail for what the model knows, too (no such key, index out of range).
#[derive(Clone, Debug)]
pub enum Op {
    /// Says which step this is, in the key `step`.
    Mark(u64),
    Set {
        key: Key,
        value: u64,
        expire_at: Option<u64>,
    },
    Append {
        key: Key,
        value: u64,
    },
    Increment(Key),
    Push {
        key: Key,
        first: u64,
        count: u64,
        front: bool,
    },
    Pop {
        key: Key,
        front: bool,
    },
    Place {
        key: Key,
        index: u64,
        value: u64,
    },
    Fields {
        key: Key,
        first: u64,
        count: u64,
        value: u64,
    },
    RemoveField {
        key: Key,
        field: u64,
    },
    VolatileField {
        key: Key,
        field: u64,
        value: u64,
        expire_at: u64,
    },
    Members {
        key: Key,
        first: u64,
        count: u64,
    },
    RemoveMember {
        key: Key,
        member: u64,
    },
    Scores {
        key: Key,
        first: u64,
        count: u64,
        score: u64,
    },
    RemoveScore {
        key: Key,
        member: u64,
    },
    Entry {
        key: Key,
        id: u64,
        value: u64,
    },
    Trim {
        key: Key,
        kept: u64,
    },
    Rename(Key, Key),
    Move(Key),
    Delete(Key),
    Flush,
    Swap,
}

/// Numbers as elements: some are integers for the compact encodings, some too long for them.
fn text(value: u64) -> String {
    if value.is_multiple_of(11) { format!("{value}{}", "x".repeat(90)) } else { value.to_string() }
}

fn number(bytes: &[u8]) -> Result<u64> {
    let digits = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    let value: u64 = std::str::from_utf8(&bytes[..digits])?
        .parse()
        .with_context(|| format!("\"{}\" is none of ours", bytes.escape_ascii()))?;
    ensure!(text(value).as_bytes() == bytes, "\"{}\" is damaged", bytes.escape_ascii());
    Ok(value)
}

fn words<const N: usize>(words: [&dyn ToString; N]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

impl Op {
    /// Whether it concerns one key and cannot fail: scripts have such only.
    pub fn is_simple(&self) -> bool {
        !matches!(self, Op::Place { .. } | Op::Rename(..) | Op::Move(_) | Op::Flush | Op::Swap)
    }

    /// The commands, to be sent in database `databases.0`.
    pub fn commands(&self, databases: (u32, u32)) -> Vec<Vec<String>> {
        let range = |first: u64, count: u64| first..first + count;
        vec![match self {
            Op::Mark(number) => words([&"SET", &"step", number]),
            Op::Set { key, value, expire_at: None } => words([&"SET", &key.name(), &text(*value)]),
            Op::Set { key, value, expire_at: Some(at) } => words([&"SET", &key.name(), &text(*value), &"PXAT", at]),
            Op::Append { key, value } => words([&"APPEND", &key.name(), &format!("{value},")]),
            Op::Increment(key) => words([&"INCR", &key.name()]),
            Op::Push { key, first, count, front } => {
                let mut command = words([if *front { &"LPUSH" } else { &"RPUSH" }, &key.name()]);
                command.extend(range(*first, *count).map(text));
                command
            }
            Op::Pop { key, front } => words([if *front { &"LPOP" } else { &"RPOP" }, &key.name()]),
            Op::Place { key, index, value } => words([&"LSET", &key.name(), index, &text(*value)]),
            Op::Fields { key, first, count, value } => {
                let mut command = words([&"HSET", &key.name()]);
                command.extend(range(*first, *count).flat_map(|field| [format!("f{field}"), text(*value)]));
                command
            }
            Op::RemoveField { key, field } => words([&"HDEL", &key.name(), &format!("f{field}")]),
            Op::VolatileField { key, field, value, expire_at } => {
                return vec![
                    words([&"HSET", &key.name(), &format!("f{field}"), &text(*value)]),
                    words([&"HPEXPIREAT", &key.name(), expire_at, &"FIELDS", &1, &format!("f{field}")]),
                ];
            }
            Op::Members { key, first, count } => {
                let mut command = words([&"SADD", &key.name()]);
                command.extend(range(*first, *count).map(text));
                command
            }
            Op::RemoveMember { key, member } => words([&"SREM", &key.name(), &text(*member)]),
            Op::Scores { key, first, count, score } => {
                let mut command = words([&"ZADD", &key.name()]);
                command.extend(range(*first, *count).flat_map(|member| [score.to_string(), text(member)]));
                command
            }
            Op::RemoveScore { key, member } => words([&"ZREM", &key.name(), &text(*member)]),
            Op::Entry { key, id, value } => words([&"XADD", &key.name(), &format!("{id}-1"), &"f", &text(*value)]),
            Op::Trim { key, kept } => words([&"XTRIM", &key.name(), &"MAXLEN", &"=", kept]),
            Op::Rename(from, to) => words([&"RENAME", &from.name(), &to.name()]),
            Op::Move(key) => words([&"MOVE", &key.name(), &databases.1]),
            Op::Delete(key) => words([&"DEL", &key.name()]),
            Op::Flush => words([&"FLUSHDB"]),
            Op::Swap => words([&"SWAPDB", &databases.0, &databases.1]),
        }]
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Data {
    Text(Vec<u8>),
    List(VecDeque<u64>),
    Hash(BTreeMap<u64, (u64, Option<u64>)>),
    Set(BTreeSet<u64>),
    Sorted(BTreeMap<u64, u64>),
    Stream(VecDeque<(u64, u64)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    data: Data,
    expire_at: Option<u64>,
}

/// Two databases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    databases: [BTreeMap<Key, Entry>; 2],
    steps: [Option<u64>; 2],
}

macro_rules! value {
    ($model:expr, $key:expr, $kind:ident) => {{
        let fresh = || Entry { data: Data::$kind(Default::default()), expire_at: None };
        match &mut $model.databases[0].entry($key).or_insert_with(fresh).data {
            Data::$kind(value) => value,
            other => unreachable!("{:?} holds {other:?}", $key),
        }
    }};
}

impl Model {
    /// The last step that said its number.
    pub fn marker(&self) -> u64 {
        self.steps.iter().flatten().copied().max().unwrap_or(0)
    }

    pub fn apply(&mut self, op: &Op) {
        match *op {
            Op::Mark(number) => self.steps[0] = Some(number),
            Op::Set { key, value, expire_at } => {
                self.databases[0].insert(key, Entry { data: Data::Text(text(value).into_bytes()), expire_at });
            }
            Op::Append { key, value } => value!(self, key, Text).extend_from_slice(format!("{value},").as_bytes()),
            Op::Increment(key) => {
                let counter = value!(self, key, Text);
                let count = std::str::from_utf8(counter).expect("digits").parse().unwrap_or(0_u64) + 1;
                *counter = count.to_string().into_bytes();
            }
            Op::Push { key, first, count, front } => {
                let list = value!(self, key, List);
                for value in first..first + count {
                    if front { list.push_front(value) } else { list.push_back(value) }
                }
            }
            Op::Pop { key, front } => {
                let list = value!(self, key, List);
                if front {
                    list.pop_front()
                } else {
                    list.pop_back()
                };
            }
            Op::Place { key, index, value } => {
                if let Some(place) = value!(self, key, List).get_mut(index as usize) {
                    *place = value;
                }
            }
            Op::Fields { key, first, count, value } => {
                value!(self, key, Hash).extend((first..first + count).map(|field| (field, (value, None))));
            }
            Op::RemoveField { key, field } => {
                value!(self, key, Hash).remove(&field);
            }
            Op::VolatileField { key, field, value, expire_at } => {
                value!(self, key, Hash).insert(field, (value, Some(expire_at)));
            }
            Op::Members { key, first, count } => value!(self, key, Set).extend(first..first + count),
            Op::RemoveMember { key, member } => {
                value!(self, key, Set).remove(&member);
            }
            Op::Scores { key, first, count, score } => {
                value!(self, key, Sorted).extend((first..first + count).map(|member| (member, score)));
            }
            Op::RemoveScore { key, member } => {
                value!(self, key, Sorted).remove(&member);
            }
            Op::Entry { key, id, value } => value!(self, key, Stream).push_back((id, value)),
            Op::Trim { key, kept } => {
                if self.databases[0].contains_key(&key) {
                    let stream = value!(self, key, Stream);
                    let cut = stream.len().saturating_sub(kept as usize);
                    stream.drain(..cut);
                }
            }
            Op::Rename(from, to) => {
                if let Some(entry) = self.databases[0].remove(&from) {
                    self.databases[0].insert(to, entry);
                }
            }
            Op::Move(key) => {
                if !self.databases[1].contains_key(&key)
                    && let Some(entry) = self.databases[0].remove(&key)
                {
                    self.databases[1].insert(key, entry);
                }
            }
            Op::Delete(key) => {
                self.databases[0].remove(&key);
            }
            Op::Flush => {
                self.databases[0].clear();
                self.steps[0] = None;
            }
            Op::Swap => {
                self.databases.swap(0, 1);
                self.steps.swap(0, 1);
            }
        }
        // A collection without elements does not exist; an empty stream does.
        let changed = match op {
            Op::Pop { key, .. }
            | Op::Place { key, .. }
            | Op::RemoveField { key, .. }
            | Op::RemoveMember { key, .. }
            | Op::RemoveScore { key, .. } => key,
            _ => return,
        };
        if self.databases[0].get(changed).is_some_and(|entry| entry.data.is_empty()) {
            self.databases[0].remove(changed);
        }
    }

    /// Forgets what has expired by then.
    fn expire(&mut self, now: u64) {
        let is_over = |at: Option<u64>| at.is_some_and(|at| at <= now);
        for database in &mut self.databases {
            database.retain(|key, entry| {
                if let (Key('v', _), Data::Hash(fields)) = (key, &mut entry.data) {
                    fields.retain(|_, (_, at)| !is_over(*at));
                }
                !is_over(entry.expire_at) && (!entry.data.is_empty() || key.0 == 'x')
            });
        }
    }

    /// What a server has in these databases.
    ///
    /// # Errors
    /// It is gone; or it has what is in no model: damaged elements, keys that have outlived their expiry.
    pub fn read(client: &mut Client, databases: (u32, u32)) -> Result<Dump> {
        let began = unix_ms();
        let mut model = Model::default();
        for (index, database) in [databases.0, databases.1].into_iter().enumerate() {
            client.command(&["SELECT", &database.to_string()])?;
            let names = client.command(&["KEYS", "*"])?;
            for name in names.elements().with_context(|| format!("KEYS replies {names}"))? {
                let name = name.text().context("names of keys are text")?.to_owned();
                match name.as_str() {
                    "probe" => {}
                    "step" => {
                        let number = client.command(&["GET", "step"])?;
                        model.steps[index] = Some(
                            number
                                .text()
                                .and_then(|text| text.parse().ok())
                                .with_context(|| format!("the step is {number}"))?,
                        );
                    }
                    _ => {
                        let entry = read_entry(client, &name, began).with_context(|| format!("key {name}"))?;
                        if let Some((key, entry)) = entry {
                            model.databases[index].insert(key, entry);
                        }
                    }
                }
            }
        }
        let ended = unix_ms();
        model.expire(ended);
        Ok(Dump { model, ended })
    }
}

impl Data {
    fn is_empty(&self) -> bool {
        match self {
            Data::Text(_) => false,
            Data::List(list) => list.is_empty(),
            Data::Hash(hash) => hash.is_empty(),
            Data::Set(set) => set.is_empty(),
            Data::Sorted(sorted) => sorted.is_empty(),
            // It exists without entries.
            Data::Stream(_) => false,
        }
    }
}

/// What was read, and when that was done.
#[derive(Clone, Debug)]
pub struct Dump {
    pub model: Model,
    ended: u64,
}

impl Dump {
    /// Whether this is what the model has.
    pub fn is(&self, model: &Model) -> bool {
        if self.model.steps != model.steps {
            return false;
        }
        // Most keys never expire, and most models that are looked at are the right one.
        self.model == *model || {
            let mut model = model.clone();
            model.expire(self.ended);
            self.model == model
        }
    }

    /// For people: where it differs.
    pub fn difference(&self, model: &Model) -> String {
        let mut expected = model.clone();
        expected.expire(self.ended);
        let mut lines = Vec::new();
        if self.model.steps != expected.steps {
            lines.push(format!("steps: {:?} are there, {:?} expected", self.model.steps, expected.steps));
        }
        for index in 0..2 {
            let (found, expected) = (&self.model.databases[index], &expected.databases[index]);
            let keys: BTreeSet<&Key> = found.keys().chain(expected.keys()).collect();
            for key in keys.into_iter().filter(|key| found.get(key) != expected.get(key)) {
                let short = |entry: Option<&Entry>| match entry {
                    None => "nothing".to_owned(),
                    Some(entry) => format!("{entry:?}").chars().take(300).collect(),
                };
                let (found, expected) = (short(found.get(key)), short(expected.get(key)));
                lines.push(format!("database {index}, {}: {found} is there, {expected} expected", key.name()));
            }
        }
        lines.join("\n")
    }
}

fn read_entry(client: &mut Client, name: &str, began: u64) -> Result<Option<(Key, Entry)>> {
    let kind = name.chars().next().context("a key without name")?;
    let key = Key(kind, name[1..].parse().context("a strange key")?);
    let reply = client.command(&["PEXPIRETIME", name])?;
    let expire_at = match reply.integer().with_context(|| format!("PEXPIRETIME replies {reply}"))? {
        -2 => return Ok(None),
        -1 => None,
        at => Some(at as u64),
    };
    let numbers = |reply: &Value| -> Result<Vec<u64>> {
        let elements = reply.elements().with_context(|| format!("{reply}"))?;
        elements.iter().map(|element| number(element.bytes().context("no text")?)).collect()
    };
    let data = match kind {
        't' | 'a' | 'c' | 'e' => match client.command(&["GET", name])? {
            Value::NullBulk => return Ok(None),
            reply if reply.is_error() => bail!("{reply}"),
            reply => Data::Text(reply.bytes().context("GET")?.to_vec()),
        },
        'l' => Data::List(numbers(&client.command(&["LRANGE", name, "0", "-1"])?)?.into()),
        's' => Data::Set(numbers(&client.command(&["SMEMBERS", name])?)?.into_iter().collect()),
        'h' | 'v' => {
            let reply = client.command(&["HGETALL", name])?;
            let mut fields = BTreeMap::new();
            for (field, value) in reply.pairs().with_context(|| format!("{reply}"))? {
                let field = field.text().and_then(|text| text.strip_prefix('f')).context("a strange field")?;
                fields.insert(field.parse()?, (number(value.bytes().context("no text")?)?, None));
            }
            if kind == 'v' && !fields.is_empty() {
                let mut command: Vec<String> = words([&"HPEXPIRETIME", &name, &"FIELDS", &fields.len()]);
                command.extend(fields.keys().map(|field| format!("f{field}")));
                let times = client.command(&command)?;
                let times = times.elements().with_context(|| format!("{times}"))?;
                for ((_, (_, at)), time) in fields.iter_mut().zip(times) {
                    // One that has gone since is forgotten below.
                    *at = match time.integer().context("HPEXPIRETIME")? {
                        -2 => Some(0),
                        -1 => None,
                        time => Some(time as u64),
                    };
                    ensure!(at.is_none_or(|at| at == 0 || at >= began), "a field has outlived its expiry");
                }
            }
            Data::Hash(fields)
        }
        'z' => {
            let reply = client.command(&["ZRANGE", name, "0", "-1", "WITHSCORES"])?;
            let mut members = BTreeMap::new();
            for (member, score) in reply.pairs().with_context(|| format!("{reply}"))? {
                members.insert(number(member.bytes().context("no text")?)?, score.text().context("no score")?.parse()?);
            }
            Data::Sorted(members)
        }
        'x' => {
            let reply = client.command(&["XRANGE", name, "-", "+"])?;
            let mut entries = VecDeque::new();
            for entry in reply.elements().with_context(|| format!("{reply}"))? {
                let (id, fields) = match entry.elements() {
                    Some([id, fields]) => (id.text().context("no id")?, fields.elements().context("no fields")?),
                    _ => bail!("{entry}"),
                };
                let id = id.strip_suffix("-1").context("a strange id")?.parse()?;
                entries.push_back((id, number(fields.get(1).and_then(Value::bytes).context("no value")?)?));
            }
            Data::Stream(entries)
        }
        _ => bail!("it is none of ours"),
    };
    if data.is_empty() {
        return Ok(None);
    }
    ensure!(expire_at.is_none_or(|at| at >= began), "it has outlived its expiry");
    Ok(Some((key, Entry { data, expire_at })))
}

/// The clock that expiries are told by.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// The server is gone, as opposed to wrong.
pub fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some()
}

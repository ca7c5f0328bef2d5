//! The commands that take part, as the model sees them, and as they go over the wire.

use std::fmt;

use crate::collection::{self, Act};

/// So many keys take part: few, so that everybody meets everybody.
pub const KEYS: usize = 5;
/// So many databases take part.
pub const DATABASES: usize = 2;

/// One of the few keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub u8);

impl Key {
    pub fn all() -> impl Iterator<Item = Key> {
        (0..KEYS as u8).map(Key)
    }

    /// A name of one byte: `KEYS ?` finds these and no filler.
    pub fn name(self) -> &'static str {
        &"abcde"[usize::from(self.0)..][..1]
    }

    fn from_name(name: &[u8]) -> Option<Key> {
        Key::all().find(|key| key.name().as_bytes() == name)
    }
}

/// What a key holds: something that was written once in a window, or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Datum {
    /// `v17`: no two writes of a window write the same, so a read says which write it saw.
    Token(u32),
    /// What INCR makes.
    Number(i64),
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Datum::Token(id) => write!(f, "v{id}"),
            Datum::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Datum {
    fn from_text(text: &[u8]) -> Option<Datum> {
        let text = std::str::from_utf8(text).ok()?;
        match text.strip_prefix('v') {
            Some(id) => id.parse().ok().map(Datum::Token),
            None => text.parse().ok().map(Datum::Number),
        }
    }
}

/// When SET takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

/// The time that an EXPIRE or PEXPIREAT names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// Past: the key goes at once.
    Past,
    /// In days.
    Far,
    /// So many milliseconds after it is sent. The recorder turns it into [`Deadline::At`].
    Soon(u8),
    /// Milliseconds of Unix time, near.
    At(u64),
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Get(Key),
    Set {
        key: Key,
        datum: Datum,
        condition: Condition,
        keep_ttl: bool,
        get: bool,
    },
    GetDel(Key),
    IncrBy(Key, i64),
    /// DEL, or UNLINK.
    Delete {
        keys: Vec<Key>,
        unlink: bool,
    },
    Exists(Vec<Key>),
    /// The keys `repeats` times over: more than a few keys make the server take another path, and all copies must
    /// agree.
    MGet {
        keys: Vec<Key>,
        repeats: u16,
    },
    /// The pairs `repeats` times over.
    MSet {
        pairs: Vec<(Key, Datum)>,
        repeats: u16,
    },
    MSetNx(Vec<(Key, Datum)>),
    Rename {
        from: Key,
        to: Key,
        only_if_absent: bool,
    },
    Copy {
        from: Key,
        to: Key,
        replace: bool,
    },
    Move(Key),
    /// PEXPIREAT, or EXPIRE for the times that it can say.
    Expire {
        key: Key,
        deadline: Deadline,
        as_timestamp: bool,
    },
    Persist(Key),
    /// Whether there is a time to live, not how much of it is left.
    Ttl(Key),
    SwapDb,
    FlushAll,
    FlushDb,
    DbSize,
    /// `KEYS ?`
    Keys,
    /// CLIENT PAUSE milliseconds WRITE
    Pause(u32),
    Unpause,
    /// What changes this key from here on spoils this connection's next EXEC.
    Watch {
        connection: u8,
        key: Key,
    },
    /// MULTI, these, and EXEC.
    Transaction {
        connection: u8,
        operations: Vec<Operation>,
    },
    /// A script: the second key gets what the first one holds, and the first one something new. What a key does not hold is new, too.
    Hand {
        from: Key,
        to: Key,
        fresh: [Datum; 2],
    },
    Collection(Act),
}

/// Says what both keys held.
const HAND: &str = "local a, b = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
redis.call('SET', KEYS[2], a or ARGV[2])
redis.call('SET', KEYS[1], ARGV[1])
return {a, b}";

impl Operation {
    /// Whether CLIENT PAUSE … WRITE holds it back.
    pub fn is_write(&self) -> bool {
        use Operation::*;
        if let Collection(act) = self {
            return act.is_write();
        }
        !matches!(self, Get(_) | Exists(_) | MGet { .. } | Ttl(_) | DbSize | Keys | Pause(_) | Unpause | Watch { .. })
    }

    /// Whether its outcome depends on this key.
    pub fn touches(&self, key: Key) -> bool {
        use Operation::*;
        match self {
            Get(own) | GetDel(own) | IncrBy(own, _) | Move(own) | Persist(own) | Ttl(own) => *own == key,
            Set { key: own, .. } | Expire { key: own, .. } => *own == key,
            Delete { keys, .. } | Exists(keys) | MGet { keys, .. } => keys.contains(&key),
            // MSET replaces whatever is there, dead or alive.
            MSet { .. } | SwapDb | FlushAll | FlushDb | Pause(_) | Unpause | Watch { .. } | Collection(_) => false,
            Transaction { operations, .. } => operations.iter().any(|operation| operation.touches(key)),
            Hand { from, to, .. } => *from == key || *to == key,
            MSetNx(pairs) => pairs.iter().any(|(own, _)| *own == key),
            Rename { from, to, .. } | Copy { from, to, .. } => *from == key || *to == key,
            DbSize | Keys => true,
        }
    }

    /// The words to send.
    pub fn words(&self) -> Vec<String> {
        use Operation::*;
        let mut words: Vec<String> = Vec::new();
        let mut say = |word: &dyn fmt::Display| words.push(word.to_string());
        match self {
            Get(key) => ["GET", key.name()].iter().for_each(|word| say(word)),
            Set { key, datum, condition, keep_ttl, get } => {
                ["SET", key.name(), &datum.to_string()].iter().for_each(|word| say(word));
                match condition {
                    Condition::Always => {}
                    Condition::IfAbsent => say(&"NX"),
                    Condition::IfPresent => say(&"XX"),
                }
                if *keep_ttl {
                    say(&"KEEPTTL");
                }
                if *get {
                    say(&"GET");
                }
            }
            GetDel(key) => ["GETDEL", key.name()].iter().for_each(|word| say(word)),
            IncrBy(key, 1) => ["INCR", key.name()].iter().for_each(|word| say(word)),
            IncrBy(key, by) => ["INCRBY", key.name(), &by.to_string()].iter().for_each(|word| say(word)),
            Delete { keys, unlink } => {
                say(if *unlink { &"UNLINK" } else { &"DEL" });
                keys.iter().for_each(|key| say(&key.name()));
            }
            Exists(keys) => {
                say(&"EXISTS");
                keys.iter().for_each(|key| say(&key.name()));
            }
            MGet { keys, repeats } => {
                say(&"MGET");
                for _ in 0..*repeats {
                    keys.iter().for_each(|key| say(&key.name()));
                }
            }
            MSet { pairs, repeats } => {
                say(&"MSET");
                for _ in 0..*repeats {
                    for (key, datum) in pairs {
                        say(&key.name());
                        say(datum);
                    }
                }
            }
            MSetNx(pairs) => {
                say(&"MSETNX");
                for (key, datum) in pairs {
                    say(&key.name());
                    say(datum);
                }
            }
            Rename { from, to, only_if_absent } => {
                let name = if *only_if_absent { "RENAMENX" } else { "RENAME" };
                [name, from.name(), to.name()].iter().for_each(|word| say(word));
            }
            Copy { from, to, replace } => {
                ["COPY", from.name(), to.name()].iter().for_each(|word| say(word));
                if *replace {
                    say(&"REPLACE");
                }
            }
            // The recorder knows which database it is in; see `words_in`.
            Move(key) => ["MOVE", key.name()].iter().for_each(|word| say(word)),
            Expire { key, deadline, as_timestamp } => {
                let (seconds, at) = match deadline {
                    Deadline::Past => (-1, 1),
                    Deadline::Far => (1_000_000, 99_999_999_999_999),
                    Deadline::Soon(_) => unreachable!("the recorder has put a time in its place"),
                    Deadline::At(at) => (0, *at),
                };
                if *as_timestamp || matches!(deadline, Deadline::At(_)) {
                    ["PEXPIREAT", key.name(), &at.to_string()].iter().for_each(|word| say(word));
                } else {
                    ["EXPIRE", key.name(), &seconds.to_string()].iter().for_each(|word| say(word));
                }
            }
            Persist(key) => ["PERSIST", key.name()].iter().for_each(|word| say(word)),
            Ttl(key) => ["TTL", key.name()].iter().for_each(|word| say(word)),
            SwapDb => ["SWAPDB", "0", "1"].iter().for_each(|word| say(word)),
            FlushAll => say(&"FLUSHALL"),
            FlushDb => say(&"FLUSHDB"),
            DbSize => say(&"DBSIZE"),
            Keys => ["KEYS", "?"].iter().for_each(|word| say(word)),
            Pause(milliseconds) => {
                ["CLIENT", "PAUSE", &milliseconds.to_string(), "WRITE"].iter().for_each(|word| say(word));
            }
            Unpause => ["CLIENT", "UNPAUSE"].iter().for_each(|word| say(word)),
            Watch { key, .. } => ["WATCH", key.name()].iter().for_each(|word| say(word)),
            Transaction { operations, .. } => {
                say(&"MULTI");
                for operation in operations {
                    say(&format!("| {operation}"));
                }
                say(&"| EXEC");
            }
            Hand { from, to, fresh: [first, second] } => {
                ["EVAL", HAND, "2", from.name(), to.name(), &first.to_string(), &second.to_string()]
                    .iter()
                    .for_each(|word| say(word));
            }
            Collection(act) => act.words().iter().for_each(|word| say(word)),
        }
        words
    }

    /// The commands to send on a connection that has selected this database. The last one's reply is the operation's.
    pub fn commands_in(&self, database: usize) -> Vec<Vec<String>> {
        let Operation::Transaction { operations, .. } = self else {
            return vec![self.words_in(database)];
        };
        let mut commands = vec![vec!["MULTI".to_owned()]];
        commands.extend(operations.iter().map(|operation| operation.words_in(database)));
        commands.push(vec!["EXEC".to_owned()]);
        commands
    }

    fn words_in(&self, database: usize) -> Vec<String> {
        let mut words = self.words();
        if let Operation::Move(_) = self {
            words.push((1 - database).to_string());
        }
        words
    }
}

/// For people: repeated keys are not written out.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::MGet { keys, repeats } if *repeats > 1 => {
                write!(f, "{} ({repeats} times over)", Operation::MGet { keys: keys.clone(), repeats: 1 })
            }
            Operation::MSet { pairs, repeats } if *repeats > 1 => {
                write!(f, "{} ({repeats} times over)", Operation::MSet { pairs: pairs.clone(), repeats: 1 })
            }
            Operation::Hand { from, to, fresh: [first, second] } => {
                write!(f, "EVAL (hand) {} {} {first} {second}", from.name(), to.name())
            }
            _ => f.write_str(&self.words().join(" ")),
        }
    }
}

/// A reply, as far as the model can say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Ok,
    Nil,
    Integer(i64),
    Datum(Datum),
    /// MGET, one for each key.
    Many(Vec<Option<Datum>>),
    /// EXEC, one for each command.
    Each(Vec<Reply>),
    /// KEYS: a bit for each key.
    KeySet(u32),
    /// TTL of a key that has one.
    TimeToLive,
    NotAnInteger,
    NoSuchKey,
    /// Of commands on collections; see [`collection::seen`].
    Said(testkit::Value),
    /// Nothing that the model would ever say: it fits nowhere.
    Unexpected(String),
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Ok => f.write_str("OK"),
            Reply::Nil => f.write_str("nil"),
            Reply::Integer(number) => write!(f, "{number}"),
            Reply::Datum(datum) => write!(f, "\"{datum}\""),
            Reply::Many(data) => {
                let texts: Vec<String> =
                    data.iter().map(|datum| datum.map_or("nil".to_owned(), |datum| format!("\"{datum}\""))).collect();
                write!(f, "[{}]", texts.join(" "))
            }
            Reply::Each(replies) => {
                let texts: Vec<String> = replies.iter().map(Reply::to_string).collect();
                write!(f, "[{}]", texts.join(", "))
            }
            Reply::KeySet(set) => {
                let names: Vec<&str> = Key::all().filter(|key| set & 1 << key.0 != 0).map(Key::name).collect();
                write!(f, "{{{}}}", names.join(" "))
            }
            Reply::TimeToLive => f.write_str("(some time)"),
            Reply::NotAnInteger => f.write_str("-ERR not an integer"),
            Reply::NoSuchKey => f.write_str("-ERR no such key"),
            Reply::Said(value) => write!(f, "{value}"),
            Reply::Unexpected(text) => write!(f, "unexpected: {text}"),
        }
    }
}

impl Reply {
    /// What the server said to this operation.
    pub fn observed(operation: &Operation, value: &testkit::Value) -> Reply {
        if let Operation::Collection(act) = operation {
            return Reply::Said(collection::seen(act, value));
        }
        Reply::recognise(operation, value).unwrap_or_else(|| Reply::Unexpected(value.to_string()))
    }

    fn recognise(operation: &Operation, value: &testkit::Value) -> Option<Reply> {
        use testkit::Value;
        Some(match value {
            Value::Simple(text) if text == b"OK" => Reply::Ok,
            Value::Error(text) if text == b"ERR value is not an integer or out of range" => Reply::NotAnInteger,
            Value::Error(text) if text == b"ERR no such key" => Reply::NoSuchKey,
            Value::Integer(left) if matches!(operation, Operation::Ttl(_)) && *left >= 0 => Reply::TimeToLive,
            Value::Integer(number) => Reply::Integer(*number),
            Value::Bulk(text) => Reply::Datum(Datum::from_text(text)?),
            Value::Array(elements) => match operation {
                Operation::Keys => {
                    let mut set = 0;
                    for element in elements {
                        let bit = 1 << Key::from_name(element.bytes()?)?.0;
                        if set & bit != 0 {
                            return None;
                        }
                        set |= bit;
                    }
                    Reply::KeySet(set)
                }
                Operation::MGet { keys, repeats } => {
                    let data = data(elements)?;
                    let mut copies: Vec<&[Option<Datum>]> = data.chunks(keys.len()).collect();
                    if copies.len() != usize::from(*repeats) {
                        return None;
                    }
                    copies.dedup();
                    match copies[..] {
                        [once] => Reply::Many(once.to_vec()),
                        _ => {
                            let texts: Vec<String> =
                                copies.iter().map(|copy| Reply::Many(copy.to_vec()).to_string()).collect();
                            Reply::Unexpected(format!("first {}", texts.join(", then ")))
                        }
                    }
                }
                Operation::Transaction { operations, .. } if operations.len() == elements.len() => Reply::Each(
                    operations
                        .iter()
                        .zip(elements)
                        .map(|(operation, element)| Reply::observed(operation, element))
                        .collect(),
                ),
                Operation::Hand { .. } => Reply::Many(data(elements)?),
                _ => return None,
            },
            value if value.is_null() => Reply::Nil,
            _ => return None,
        })
    }
}

/// What several keys hold.
fn data(elements: &[testkit::Value]) -> Option<Vec<Option<Datum>>> {
    let datum = |element: &testkit::Value| match element {
        element if element.is_null() => Some(None),
        element => Datum::from_text(element.bytes()?).map(Some),
    };
    elements.iter().map(datum).collect()
}

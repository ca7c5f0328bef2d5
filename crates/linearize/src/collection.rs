//! Collections as one thread would keep them, and clients that wait for them.
//!
//! A command that waits takes effect twice: it finds nothing and is put in line, and later it is served or told that its time
//! is over. In between it is state: whoever gives something serves those in line, in the order of their arrival, before
//! anything else happens. So a push that forgets somebody in line, or serves another one first, has no place in any order.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use testkit::Value;

/// So many collections of each type take part.
pub const OF_EACH_TYPE: usize = 2;

/// One of the few collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    List(usize),
    Set(usize),
    Sorted(usize),
    Hash(usize),
}

impl Name {
    pub fn all() -> impl Iterator<Item = Name> {
        (0..OF_EACH_TYPE)
            .flat_map(|index| [Name::List(index), Name::Set(index), Name::Sorted(index), Name::Hash(index)])
    }
}

/// Two bytes and more: `KEYS ?` does not find them.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::List(index) => write!(f, "list{index}"),
            Name::Set(index) => write!(f, "set{index}"),
            Name::Sorted(index) => write!(f, "sorted{index}"),
            Name::Hash(index) => write!(f, "hash{index}"),
        }
    }
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Left,
    Right,
}

impl End {
    fn word(self) -> &'static str {
        match self {
            End::Left => "LEFT",
            End::Right => "RIGHT",
        }
    }
}

/// What a command that waits takes, once there is something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// BLPOP and BRPOP
    Pop { lists: Vec<usize>, end: End },
    /// BLMOVE
    Move { from: usize, to: usize, from_end: End, to_end: End },
    /// BZPOPMIN
    PopMin { sorted: Vec<usize> },
}

/// One command on collections. All elements that are pushed in a window differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Push {
        list: usize,
        end: End,
        elements: Vec<u32>,
    },
    Pop {
        list: usize,
        end: End,
    },
    Move {
        from: usize,
        to: usize,
        from_end: End,
        to_end: End,
    },
    Range(usize),
    Length(usize),
    SetAdd {
        set: usize,
        members: Vec<u32>,
    },
    SetRemove {
        set: usize,
        member: u32,
    },
    SetMove {
        from: usize,
        to: usize,
        member: u32,
    },
    SetIntersection,
    Members(usize),
    SortedAdd {
        sorted: usize,
        pairs: Vec<(u32, i64)>,
    },
    SortedIncrement {
        sorted: usize,
        member: u32,
        by: i64,
    },
    SortedPopMin(usize),
    SortedRange(usize),
    HashSet {
        hash: usize,
        pairs: Vec<(u32, i64)>,
    },
    HashIncrement {
        hash: usize,
        field: u32,
        by: i64,
    },
    HashDelete {
        hash: usize,
        field: u32,
    },
    HashAll(usize),
    Delete(Vec<Name>),
    /// RENAME of a list to the other one.
    Rename(usize),
    /// As it is sent. The recorder makes two events of it: the two below.
    Wait {
        wait: Wait,
        timeout_ms: u32,
    },
    /// Comes to the server.
    WaitBegins {
        wait: Wait,
        lane: usize,
    },
    /// Is answered.
    WaitEnds {
        lane: usize,
        timeout_ms: u32,
        waited_ms: u64,
    },
}

impl Act {
    pub fn is_write(&self) -> bool {
        !matches!(
            self,
            Act::Range(_)
                | Act::Length(_)
                | Act::SetIntersection
                | Act::Members(_)
                | Act::SortedRange(_)
                | Act::HashAll(_)
        )
    }

    /// The words to send.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut say = |text: String| words.extend(text.split(' ').map(str::to_owned));
        let joined = |numbers: &[u32]| numbers.iter().map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        match self {
            Act::Push { list, end, elements } => {
                let name = if *end == End::Left { "LPUSH" } else { "RPUSH" };
                say(format!("{name} {} {}", Name::List(*list), joined(elements)));
            }
            Act::Pop { list, end } => {
                let name = if *end == End::Left { "LPOP" } else { "RPOP" };
                say(format!("{name} {}", Name::List(*list)));
            }
            Act::Move { from, to, from_end, to_end } => {
                say(format!("LMOVE {} {} {} {}", Name::List(*from), Name::List(*to), from_end.word(), to_end.word()));
            }
            Act::Range(list) => say(format!("LRANGE {} 0 -1", Name::List(*list))),
            Act::Length(list) => say(format!("LLEN {}", Name::List(*list))),
            Act::SetAdd { set, members } => say(format!("SADD {} {}", Name::Set(*set), joined(members))),
            Act::SetRemove { set, member } => say(format!("SREM {} {member}", Name::Set(*set))),
            Act::SetMove { from, to, member } => say(format!("SMOVE {} {} {member}", Name::Set(*from), Name::Set(*to))),
            Act::SetIntersection => say(format!("SINTER {} {}", Name::Set(0), Name::Set(1))),
            Act::Members(set) => say(format!("SMEMBERS {}", Name::Set(*set))),
            Act::SortedAdd { sorted, pairs } => {
                say(format!("ZADD {}", Name::Sorted(*sorted)));
                pairs.iter().for_each(|(member, score)| say(format!("{score} {member}")));
            }
            Act::SortedIncrement { sorted, member, by } => {
                say(format!("ZINCRBY {} {by} {member}", Name::Sorted(*sorted)))
            }
            Act::SortedPopMin(sorted) => say(format!("ZPOPMIN {}", Name::Sorted(*sorted))),
            Act::SortedRange(sorted) => say(format!("ZRANGE {} 0 -1 WITHSCORES", Name::Sorted(*sorted))),
            Act::HashSet { hash, pairs } => {
                say(format!("HSET {}", Name::Hash(*hash)));
                pairs.iter().for_each(|(field, value)| say(format!("{field} {value}")));
            }
            Act::HashIncrement { hash, field, by } => say(format!("HINCRBY {} {field} {by}", Name::Hash(*hash))),
            Act::HashDelete { hash, field } => say(format!("HDEL {} {field}", Name::Hash(*hash))),
            Act::HashAll(hash) => say(format!("HGETALL {}", Name::Hash(*hash))),
            Act::Delete(names) => {
                say("DEL".to_owned());
                names.iter().for_each(|name| say(name.to_string()));
            }
            Act::Rename(from) => say(format!("RENAME {} {}", Name::List(*from), Name::List(1 - from))),
            Act::Wait { wait, timeout_ms } => wait.words(&(f64::from(*timeout_ms) / 1000.0).to_string()).for_each(say),
            Act::WaitBegins { wait, .. } => wait.words("…").for_each(say),
            Act::WaitEnds { .. } => say("… which".to_owned()),
        }
        words
    }
}

impl Wait {
    fn words(&self, timeout: &str) -> std::vec::IntoIter<String> {
        let names = |numbers: &[usize], name: fn(usize) -> Name| {
            numbers.iter().map(|number| name(*number).to_string()).collect::<Vec<_>>().join(" ")
        };
        let text = match self {
            Wait::Pop { lists, end } => {
                let name = if *end == End::Left { "BLPOP" } else { "BRPOP" };
                format!("{name} {} {timeout}", names(lists, Name::List))
            }
            Wait::Move { from, to, from_end, to_end } => {
                let (from_end, to_end) = (from_end.word(), to_end.word());
                format!("BLMOVE {} {} {from_end} {to_end} {timeout}", Name::List(*from), Name::List(*to))
            }
            Wait::PopMin { sorted } => format!("BZPOPMIN {} {timeout}", names(sorted, Name::Sorted)),
        };
        vec![text].into_iter()
    }

    fn waits_for(&self, name: Name) -> bool {
        match (self, name) {
            (Wait::Pop { lists, .. }, Name::List(list)) => lists.contains(&list),
            (Wait::Move { from, .. }, Name::List(list)) => *from == list,
            (Wait::PopMin { sorted }, Name::Sorted(index)) => sorted.contains(&index),
            _ => false,
        }
    }
}

/// Somebody in line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiter {
    lane: usize,
    wait: Wait,
}

/// All collections, and who waits for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Collections {
    pub lists: [VecDeque<u32>; OF_EACH_TYPE],
    pub sets: [BTreeSet<u32>; OF_EACH_TYPE],
    pub sorted: [BTreeMap<u32, i64>; OF_EACH_TYPE],
    pub hashes: [BTreeMap<u32, i64>; OF_EACH_TYPE],
    /// In the order of arrival.
    line: Vec<Waiter>,
    /// Who was served, and will say so. By lane.
    served: BTreeMap<usize, Value>,
}

impl Collections {
    /// The commands that make these collections.
    pub fn making(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        for index in 0..OF_EACH_TYPE {
            if !self.lists[index].is_empty() {
                acts.push(Act::Push {
                    list: index,
                    end: End::Right,
                    elements: self.lists[index].iter().copied().collect(),
                });
            }
            if !self.sets[index].is_empty() {
                acts.push(Act::SetAdd { set: index, members: self.sets[index].iter().copied().collect() });
            }
            let pairs = |map: &BTreeMap<u32, i64>| map.iter().map(|(&key, &value)| (key, value)).collect::<Vec<_>>();
            if !self.sorted[index].is_empty() {
                acts.push(Act::SortedAdd { sorted: index, pairs: pairs(&self.sorted[index]) });
            }
            if !self.hashes[index].is_empty() {
                acts.push(Act::HashSet { hash: index, pairs: pairs(&self.hashes[index]) });
            }
        }
        acts
    }

    /// The commands that show all of them.
    pub fn showing() -> impl Iterator<Item = Act> {
        (0..OF_EACH_TYPE)
            .flat_map(|index| [Act::Range(index), Act::Members(index), Act::SortedRange(index), Act::HashAll(index)])
    }

    /// Does it, and says what the reply is, as [`seen`] would.
    pub fn apply(&mut self, act: &Act) -> Value {
        match act {
            Act::Push { list, end, elements } => {
                elements.iter().for_each(|element| self.push(*list, *end, *element));
                let length = self.lists[*list].len();
                self.serve(Name::List(*list));
                integer(length)
            }
            Act::Pop { list, end } => self.pop(*list, *end).map_or(Value::Null, text),
            Act::Move { from, to, from_end, to_end } => match self.pop(*from, *from_end) {
                None => Value::Null,
                Some(element) => {
                    self.push(*to, *to_end, element);
                    self.serve(Name::List(*to));
                    text(element)
                }
            },
            Act::Range(list) => Value::Array(self.lists[*list].iter().copied().map(text).collect()),
            Act::Length(list) => integer(self.lists[*list].len()),
            Act::SetAdd { set, members } => {
                integer(members.iter().filter(|member| self.sets[*set].insert(**member)).count())
            }
            Act::SetRemove { set, member } => integer(usize::from(self.sets[*set].remove(member))),
            Act::SetMove { from, to, member } => {
                let is_there = self.sets[*from].contains(member);
                if is_there && from != to {
                    self.sets[*from].remove(member);
                    self.sets[*to].insert(*member);
                }
                integer(usize::from(is_there))
            }
            Act::SetIntersection => sorted(self.sets[0].intersection(&self.sets[1]).copied().map(text).collect()),
            Act::Members(set) => sorted(self.sets[*set].iter().copied().map(text).collect()),
            Act::SortedAdd { sorted, pairs } => {
                let new = pairs.iter().filter(|(member, score)| self.sorted[*sorted].insert(*member, *score).is_none());
                let count = new.count();
                self.serve(Name::Sorted(*sorted));
                integer(count)
            }
            Act::SortedIncrement { sorted, member, by } => {
                let score = self.sorted[*sorted].entry(*member).or_default();
                *score += by;
                let reply = text(*score);
                self.serve(Name::Sorted(*sorted));
                reply
            }
            Act::SortedPopMin(sorted) => match self.pop_min(*sorted) {
                None => Value::Array(Vec::new()),
                Some((member, score)) => Value::Array(vec![text(member), text(score)]),
            },
            Act::SortedRange(sorted) => {
                let mut pairs: Vec<(i64, String)> =
                    self.sorted[*sorted].iter().map(|(member, score)| (*score, member.to_string())).collect();
                pairs.sort();
                Value::Array(pairs.into_iter().flat_map(|(score, member)| [text(member), text(score)]).collect())
            }
            Act::HashSet { hash, pairs } => integer(
                pairs.iter().filter(|(field, value)| self.hashes[*hash].insert(*field, *value).is_none()).count(),
            ),
            Act::HashIncrement { hash, field, by } => {
                let value = self.hashes[*hash].entry(*field).or_default();
                *value += by;
                Value::Integer(*value)
            }
            Act::HashDelete { hash, field } => integer(usize::from(self.hashes[*hash].remove(field).is_some())),
            Act::HashAll(hash) => sorted(
                self.hashes[*hash]
                    .iter()
                    .map(|(field, value)| Value::Array(vec![text(*field), text(*value)]))
                    .collect(),
            ),
            Act::Delete(names) => integer(names.iter().filter(|name| self.delete(**name)).count()),
            Act::Rename(from) => {
                if self.lists[*from].is_empty() {
                    return Value::Error(b"ERR no such key".to_vec());
                }
                self.lists[1 - from] = std::mem::take(&mut self.lists[*from]);
                self.serve(Name::List(1 - from));
                Value::Simple(b"OK".to_vec())
            }
            Act::Wait { .. } => unreachable!("the recorder has made two events of it"),
            Act::WaitBegins { wait, lane } => {
                match self.take(wait) {
                    None => self.line.push(Waiter { lane: *lane, wait: wait.clone() }),
                    Some((reply, given)) => {
                        self.served.insert(*lane, reply);
                        given.into_iter().for_each(|name| self.serve(name));
                    }
                }
                begun()
            }
            Act::WaitEnds { lane, timeout_ms, waited_ms } => {
                if let Some(reply) = self.served.remove(lane) {
                    return reply;
                }
                self.line.retain(|waiter| waiter.lane != *lane);
                if *waited_ms < u64::from(*timeout_ms) {
                    return Value::Simple(b"not before its time".to_vec());
                }
                Value::Null
            }
        }
    }

    /// Those in line for this, one after the other, and then those in line for what they have given on.
    fn serve(&mut self, name: Name) {
        let mut ready = VecDeque::from([name]);
        while let Some(name) = ready.pop_front() {
            let mut at = 0;
            while at < self.line.len() {
                let next = self.line[at].wait.clone();
                match if next.waits_for(name) { self.take(&next) } else { None } {
                    None => at += 1,
                    Some((reply, given)) => {
                        let waiter = self.line.remove(at);
                        self.served.insert(waiter.lane, reply);
                        ready.extend(given);
                    }
                }
            }
        }
    }

    /// What a wait takes now, if there is anything, and the collection that it gives to.
    fn take(&mut self, wait: &Wait) -> Option<(Value, Option<Name>)> {
        match wait {
            Wait::Pop { lists, end } => lists.iter().find_map(|&list| {
                let element = self.pop(list, *end)?;
                Some((Value::Array(vec![text(Name::List(list)), text(element)]), None))
            }),
            Wait::Move { from, to, from_end, to_end } => {
                let element = self.pop(*from, *from_end)?;
                self.push(*to, *to_end, element);
                Some((text(element), Some(Name::List(*to))))
            }
            Wait::PopMin { sorted } => sorted.iter().find_map(|&index| {
                let (member, score) = self.pop_min(index)?;
                Some((Value::Array(vec![text(Name::Sorted(index)), text(member), text(score)]), None))
            }),
        }
    }

    fn push(&mut self, list: usize, end: End, element: u32) {
        match end {
            End::Left => self.lists[list].push_front(element),
            End::Right => self.lists[list].push_back(element),
        }
    }

    fn pop(&mut self, list: usize, end: End) -> Option<u32> {
        match end {
            End::Left => self.lists[list].pop_front(),
            End::Right => self.lists[list].pop_back(),
        }
    }

    fn pop_min(&mut self, sorted: usize) -> Option<(u32, i64)> {
        let set = &mut self.sorted[sorted];
        let (member, score) = set
            .iter()
            .map(|(member, score)| (*member, *score))
            .min_by_key(|(member, score)| (*score, member.to_string()))?;
        set.remove(&member);
        Some((member, score))
    }

    fn delete(&mut self, name: Name) -> bool {
        match name {
            Name::List(index) => !std::mem::take(&mut self.lists[index]).is_empty(),
            Name::Set(index) => !std::mem::take(&mut self.sets[index]).is_empty(),
            Name::Sorted(index) => !std::mem::take(&mut self.sorted[index]).is_empty(),
            Name::Hash(index) => !std::mem::take(&mut self.hashes[index]).is_empty(),
        }
    }
}

impl fmt::Display for Collections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for index in 0..OF_EACH_TYPE {
            let mut show = |name: Name, is_empty: bool, what: &dyn fmt::Debug| match is_empty {
                true => Ok(()),
                false => write!(f, " {name}={what:?}"),
            };
            show(Name::List(index), self.lists[index].is_empty(), &self.lists[index])?;
            show(Name::Set(index), self.sets[index].is_empty(), &self.sets[index])?;
            show(Name::Sorted(index), self.sorted[index].is_empty(), &self.sorted[index])?;
            show(Name::Hash(index), self.hashes[index].is_empty(), &self.hashes[index])?;
        }
        for waiter in &self.line {
            write!(f, ", [{}] waits", waiter.lane)?;
        }
        for (lane, reply) in &self.served {
            write!(f, ", [{lane}] is served {reply}")?;
        }
        Ok(())
    }
}

/// What a server said, without the freedom that it has: the order of sets and hashes, and how nothing is written.
pub fn seen(act: &Act, value: &Value) -> Value {
    match (act, value) {
        (_, value) if value.is_null() => Value::Null,
        (Act::Members(_) | Act::SetIntersection, Value::Array(elements)) => sorted(elements.clone()),
        (Act::HashAll(_), Value::Array(elements)) => {
            sorted(elements.chunks(2).map(|pair| Value::Array(pair.to_vec())).collect())
        }
        _ => value.clone(),
    }
}

/// The reply of [`Act::WaitBegins`], which no server gives.
pub fn begun() -> Value {
    Value::Simple(b"(in line, or served)".to_vec())
}

fn sorted(mut elements: Vec<Value>) -> Value {
    elements.sort();
    Value::Array(elements)
}

fn text(value: impl fmt::Display) -> Value {
    Value::Bulk(value.to_string().into_bytes())
}

fn integer(count: usize) -> Value {
    Value::Integer(count as i64)
}

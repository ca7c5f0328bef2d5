//! What connections do in a window: mixes that each strain another promise.

use std::{fmt, str::FromStr};

use rand::{Rng, seq::IndexedRandom};
use testkit::Random;

use crate::{
    collection::{Act, Collections, End, Name, OF_EACH_TYPE, Wait},
    model::{Entry, Expiry, State},
    operation::{Condition, DATABASES, Datum, Deadline, KEYS, Key, Operation},
};

/// So many connections there are; a window uses some of them.
pub const CONNECTIONS: usize = 8;

/// Which commands meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mix {
    /// Commands on one or a few keys: what runs on all threads at once.
    Narrow,
    /// These, and commands that need the whole world or very many keys.
    Wide,
    /// KEYS among many thousand other keys, so that it takes long, beside MSET, DEL and RENAME.
    Walk,
    /// Deep pipelines of MGET and MSET, some of a few dozen arguments and some of more than run narrow: one access
    /// after the other begins while another one is under way.
    Storm,
    /// Writers, and somebody who pauses them and looks whether anything still changes.
    Pause,
    /// Keys whose time comes within the window.
    Clock,
    /// Lists, sets, sorted sets and hashes, and commands over two of them.
    Collections,
    /// Clients that wait for lists and sorted sets, beside others that give, take and wait too.
    Waiting,
    /// WATCH and then a transaction, transactions of several keys, and scripts that read and write two keys.
    Transactions,
}

impl Mix {
    pub const ALL: [Mix; 9] = [
        Mix::Narrow,
        Mix::Wide,
        Mix::Walk,
        Mix::Storm,
        Mix::Pause,
        Mix::Clock,
        Mix::Collections,
        Mix::Waiting,
        Mix::Transactions,
    ];

    /// Commands that it needs beside those that every server has.
    pub fn commands(self) -> &'static [&'static str] {
        match self {
            Mix::Collections | Mix::Waiting => &["blpop", "blmove", "bzpopmin", "lmove", "smove", "zadd", "hset"],
            Mix::Transactions => &["watch", "exec", "eval"],
            _ => &[],
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Mix::Narrow => "narrow",
            Mix::Wide => "wide",
            Mix::Walk => "walk",
            Mix::Storm => "storm",
            Mix::Pause => "pause",
            Mix::Clock => "clock",
            Mix::Collections => "collections",
            Mix::Waiting => "waiting",
            Mix::Transactions => "transactions",
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(word: &str) -> Result<Mix, String> {
        Mix::ALL.into_iter().find(|mix| mix.name() == word).ok_or_else(|| {
            format!("'{word}' is none of narrow, wide, walk, storm, pause, clock, collections, waiting, transactions")
        })
    }
}

/// What one connection sends.
#[derive(Clone, Debug)]
pub struct Lane {
    pub database: usize,
    /// Each batch is sent at once, and answered before the next.
    pub batches: Vec<Vec<Operation>>,
}

/// What all connections send, and from which state.
#[derive(Clone, Debug)]
pub struct Window {
    pub initial: State,
    pub lanes: Vec<Lane>,
}

/// A window of this mix.
pub fn window(random: &mut Random, mix: Mix) -> Window {
    let mut generator = Generator { random, tokens: 0, mix };
    let initial = generator.initial();
    let lanes = match mix {
        Mix::Pause => generator.pause_lanes(),
        Mix::Walk => generator.walk_lanes(),
        Mix::Storm => generator.storm_lanes(),
        Mix::Waiting => generator.waiting_lanes(),
        Mix::Transactions => {
            let count = generator.random.random_range(2..=5);
            (0..count).map(|connection| generator.transactional_lane(connection)).collect()
        }
        _ => {
            let count = generator.random.random_range(2..=6);
            (0..count).map(|_| generator.lane()).collect()
        }
    };
    Window { initial, lanes }
}

struct Generator<'a> {
    random: &'a mut Random,
    /// So many different values were handed out.
    tokens: u32,
    mix: Mix,
}

impl Generator<'_> {
    fn initial(&mut self) -> State {
        let mut state = State::default();
        if matches!(self.mix, Mix::Collections | Mix::Waiting) {
            state.collections = Some(Box::new(self.collections()));
            return state;
        }
        for entry in state.databases.iter_mut().flatten() {
            if self.random.random_bool(0.6) {
                *entry = Some(Entry { datum: self.datum(), expiry: Expiry::Never });
            }
        }
        state
    }

    fn key(&mut self) -> Key {
        Key(self.random.random_range(0..KEYS as u8))
    }

    /// Different keys, in any order.
    fn keys(&mut self, count_max: usize) -> Vec<Key> {
        let all: Vec<Key> = Key::all().collect();
        let count = self.random.random_range(1..=count_max.min(KEYS));
        all.choose_multiple(self.random, count).copied().collect()
    }

    fn token(&mut self) -> Datum {
        self.tokens += 1;
        Datum::Token(self.tokens)
    }

    /// Mostly unique; sometimes a number, so that INCR works.
    fn datum(&mut self) -> Datum {
        if self.random.random_bool(0.2) {
            Datum::Number(i64::from(self.random.random_range(0..3u8)) * 100)
        } else {
            self.token()
        }
    }

    fn pairs(&mut self, count_max: usize) -> Vec<(Key, Datum)> {
        self.keys(count_max).into_iter().map(|key| (key, self.datum())).collect()
    }

    /// More than a few keys, which take another way through the server than a few.
    fn repeats(&mut self) -> u16 {
        match self.mix {
            Mix::Wide => *[1, 1, 8, 60, 400].choose(self.random).expect("some"),
            _ => *[1, 1, 1, 6].choose(self.random).expect("some"),
        }
    }

    /// A connection that does anything of the mix.
    fn lane(&mut self) -> Lane {
        let database = usize::from(self.mix != Mix::Collections && self.random.random_bool(0.2));
        let count = self.random.random_range(3..=12);
        let mut batches = Vec::new();
        let mut left: usize = count;
        while left > 0 {
            let depth = *[1, 1, 2, 4, 8].choose(self.random).expect("some");
            let depth = left.min(depth);
            batches.push((0..depth).map(|_| self.operation()).collect());
            left -= depth;
        }
        Lane { database, batches }
    }

    fn operation(&mut self) -> Operation {
        let dice = self.random.random_range(0..100);
        match self.mix {
            Mix::Wide if dice < 30 => self.wide_operation(),
            Mix::Collections => Operation::Collection(self.act()),
            Mix::Clock if dice < 20 => {
                let deadline = Deadline::Soon(self.random.random_range(0..4));
                Operation::Expire { key: self.key(), deadline, as_timestamp: true }
            }
            _ => self.narrow_operation(),
        }
    }

    fn narrow_operation(&mut self) -> Operation {
        match self.random.random_range(0..100) {
            0..20 => Operation::Get(self.key()),
            20..36 => Operation::Set {
                key: self.key(),
                datum: self.datum(),
                condition: *[Condition::Always, Condition::Always, Condition::IfAbsent, Condition::IfPresent]
                    .choose(self.random)
                    .expect("some"),
                keep_ttl: self.random.random_bool(0.3),
                get: self.random.random_bool(0.3),
            },
            36..40 => Operation::GetDel(self.key()),
            40..50 => Operation::IncrBy(self.key(), *[1, 1, 7, -3].choose(self.random).expect("some")),
            50..56 => Operation::Delete { keys: self.keys(3), unlink: self.random.random() },
            56..59 => Operation::Exists(self.keys(KEYS)),
            59..68 => Operation::MGet { keys: self.keys(KEYS), repeats: self.repeats() },
            68..76 => Operation::MSet { pairs: self.pairs(KEYS), repeats: self.repeats() },
            76..78 => Operation::MSetNx(self.pairs(2)),
            78..84 => {
                let (from, to) = self.two_keys();
                Operation::Rename { from, to, only_if_absent: self.random.random_bool(0.3) }
            }
            84..87 => {
                let (from, to) = self.two_keys();
                Operation::Copy { from, to, replace: self.random.random() }
            }
            87..94 => {
                let deadline = if self.random.random_bool(0.4) { Deadline::Past } else { Deadline::Far };
                Operation::Expire { key: self.key(), deadline, as_timestamp: self.random.random() }
            }
            94..97 => Operation::Persist(self.key()),
            _ => Operation::Ttl(self.key()),
        }
    }

    fn two_keys(&mut self) -> (Key, Key) {
        let from = self.key();
        (from, Key((from.0 + self.random.random_range(1..KEYS as u8)) % KEYS as u8))
    }

    fn wide_operation(&mut self) -> Operation {
        match self.random.random_range(0..10) {
            0..3 => Operation::SwapDb,
            3 => Operation::FlushAll,
            4 => Operation::FlushDb,
            5..7 => Operation::DbSize,
            7..9 => Operation::Keys,
            _ => Operation::Move(self.key()),
        }
    }

    /// Rounds of: watch, look, and change what was not touched meanwhile; between them what touches it.
    fn transactional_lane(&mut self, connection: u8) -> Lane {
        let mut batches = Vec::new();
        for _ in 0..self.random.random_range(2..=4) {
            match self.random.random_range(0..10) {
                0..5 => {
                    let keys = self.keys(2);
                    let watch = |key: &Key| Operation::Watch { connection, key: *key };
                    let look = |key: &Key| Operation::Get(*key);
                    batches.push(keys.iter().map(watch).chain(keys.iter().map(look)).collect());
                    if self.random.random_bool(0.2) {
                        // One's own changes touch, too.
                        batches.push(vec![self.touching()]);
                    }
                    let mut operations: Vec<Operation> = keys.into_iter().map(|key| self.replacing(key)).collect();
                    operations.push(Operation::Get(self.key()));
                    batches.push(vec![Operation::Transaction { connection, operations }]);
                }
                5..7 => {
                    let operations = (0..self.random.random_range(1..=4)).map(|_| self.touching()).collect();
                    batches.push(vec![Operation::Transaction { connection, operations }]);
                }
                _ => batches.push((0..self.random.random_range(1..=4)).map(|_| self.touching()).collect()),
            }
        }
        Lane { database: 0, batches }
    }

    fn replacing(&mut self, key: Key) -> Operation {
        let datum = self.token();
        Operation::Set { key, datum, condition: Condition::Always, keep_ttl: false, get: self.random.random() }
    }

    /// Something of which it is certain whether it changes a key.
    fn touching(&mut self) -> Operation {
        let key = self.key();
        match self.random.random_range(0..10) {
            0 => Operation::Get(key),
            1 => Operation::MGet { keys: self.keys(KEYS), repeats: 1 },
            2 => {
                Operation::MSet { pairs: self.keys(3).into_iter().map(|key| (key, self.token())).collect(), repeats: 1 }
            }
            3 => Operation::Delete { keys: vec![key], unlink: false },
            4 => Operation::IncrBy(key, 1),
            5..8 => {
                let (from, to) = self.two_keys();
                Operation::Hand { from, to, fresh: [self.token(), self.token()] }
            }
            _ => self.replacing(key),
        }
    }

    /// One connection walks; others make and remove keys together, so that half of a change would be seen.
    fn walk_lanes(&mut self) -> Vec<Lane> {
        let walkers = self.random.random_range(1..=2);
        let writers = self.random.random_range(2..=4);
        let mut lanes = Vec::new();
        for _ in 0..walkers {
            lanes.push(Lane { database: 0, batches: (0..4).map(|_| vec![Operation::Keys]).collect() });
        }
        for _ in 0..writers {
            let batches = (0..8)
                .map(|_| {
                    (0..2)
                        .map(|_| match self.random.random_range(0..4) {
                            0 => Operation::MSet { pairs: self.pairs(KEYS), repeats: 1 },
                            1 => Operation::Delete { keys: self.keys(KEYS), unlink: false },
                            2 => {
                                let (from, to) = self.two_keys();
                                Operation::Rename { from, to, only_if_absent: false }
                            }
                            _ => Operation::MGet { keys: self.keys(KEYS), repeats: 1 },
                        })
                        .collect()
                })
                .collect();
            lanes.push(Lane { database: 0, batches });
        }
        lanes
    }

    /// All look at all keys all the time, and some change them all.
    fn storm_lanes(&mut self) -> Vec<Lane> {
        let count = self.random.random_range(2..=4);
        let mut lanes = Vec::new();
        for lane in 0..count {
            // 5 keys 20 times over are too many to run narrow, 12 times over are few enough. Both kinds must meet.
            let repeats = *[20, 12, 12, 20].get(lane).expect("four lanes at most");
            let writes_share = *[0.1, 0.5, 0.9].choose(self.random).expect("some");
            let batches = (0..2)
                .map(|_| {
                    (0..16)
                        .map(|_| {
                            if self.random.random_bool(writes_share) {
                                let pairs = Key::all().map(|key| (key, self.token())).collect();
                                Operation::MSet { pairs, repeats }
                            } else {
                                Operation::MGet { keys: Key::all().collect(), repeats }
                            }
                        })
                        .collect()
                })
                .collect();
            lanes.push(Lane { database: 0, batches });
        }
        lanes
    }

    /// Writers pipeline without pause; a controller pauses them, looks several times, and lets them go on. What it
    /// sees between must not change.
    fn pause_lanes(&mut self) -> Vec<Lane> {
        let controllers = if self.random.random_bool(0.8) { 1 } else { 2 };
        let writers = self.random.random_range(1..=3);
        let mut lanes = Vec::new();
        for _ in 0..controllers {
            let mut batches = Vec::new();
            for _ in 0..self.random.random_range(1..=4) {
                // Somebody has to end a long pause, a short one may end by itself.
                let is_short = self.random.random_bool(0.1);
                let mut batch = vec![Operation::Pause(if is_short { 3 } else { 60_000 })];
                for _ in 0..self.random.random_range(1..=4) {
                    batch.push(self.look());
                }
                batches.push(batch);
                for _ in 0..self.random.random_range(1..=3) {
                    batches.push((0..self.random.random_range(1..=4)).map(|_| self.look()).collect());
                }
                if !is_short {
                    batches.push(vec![Operation::Unpause]);
                }
            }
            // Also for the other controller's sake.
            batches.push(vec![Operation::Unpause, self.look()]);
            lanes.push(Lane { database: 0, batches });
        }
        for _ in 0..writers {
            let batches = (0..self.random.random_range(2..=4))
                .map(|_| {
                    let depth = *[1, 4, 16].choose(self.random).expect("some");
                    (0..depth).map(|_| self.hasty_write()).collect()
                })
                .collect();
            lanes.push(Lane { database: 0, batches });
        }
        lanes
    }

    /// A few elements here and there; in the mix of those who wait mostly nothing.
    fn collections(&mut self) -> Collections {
        let mut collections = Collections::default();
        let share = if self.mix == Mix::Waiting { 0.15 } else { 0.5 };
        for index in 0..OF_EACH_TYPE {
            for number in 0..4 {
                if self.random.random_bool(share) {
                    collections.lists[index].push_back(self.element());
                }
                if self.random.random_bool(share) {
                    collections.sets[index].insert(number);
                }
                if self.random.random_bool(share) {
                    collections.sorted[index].insert(number, self.score());
                }
                if self.random.random_bool(share) {
                    collections.hashes[index].insert(number, self.score());
                }
            }
        }
        collections
    }

    /// Unlike all others of the window.
    fn element(&mut self) -> u32 {
        self.tokens += 1;
        self.tokens + 1000
    }

    fn score(&mut self) -> i64 {
        self.random.random_range(-3..4)
    }

    fn which(&mut self) -> usize {
        self.random.random_range(0..OF_EACH_TYPE)
    }

    fn end(&mut self) -> End {
        if self.random.random() { End::Left } else { End::Right }
    }

    fn act(&mut self) -> Act {
        let (one, other, member) = (self.which(), self.which(), self.random.random_range(0..5));
        match self.random.random_range(0..20) {
            0..3 => self.gift(),
            3 => Act::Pop { list: one, end: self.end() },
            4 => Act::Move { from: one, to: other, from_end: self.end(), to_end: self.end() },
            5 => Act::Range(one),
            6 => Act::Length(one),
            7 => Act::SetAdd { set: one, members: vec![member, (member + 1) % 5] },
            8 => Act::SetRemove { set: one, member },
            9 => Act::SetMove { from: one, to: other, member },
            10 => Act::SetIntersection,
            11 => Act::Members(one),
            12 => Act::SortedIncrement { sorted: one, member, by: self.score() },
            13 => Act::SortedPopMin(one),
            14 => Act::SortedRange(one),
            15 => Act::HashSet { hash: one, pairs: vec![(member, self.score()), ((member + 2) % 5, self.score())] },
            16 => Act::HashIncrement { hash: one, field: member, by: 7 },
            17 => Act::HashDelete { hash: one, field: member },
            18 => Act::HashAll(one),
            _ if self.random.random_bool(0.5) => Act::Rename(one),
            _ => Act::Delete(vec![Name::List(one), Name::Set(other), Name::Sorted(one), Name::Hash(other)]),
        }
    }

    /// Something for those who wait.
    fn gift(&mut self) -> Act {
        let which = self.which();
        match self.random.random_range(0..5) {
            0 => Act::SortedAdd { sorted: which, pairs: vec![(self.element(), self.score())] },
            1 => {
                let pairs = (0..3).map(|_| (self.element(), self.score())).collect();
                Act::SortedAdd { sorted: which, pairs }
            }
            2 => Act::Push { list: which, end: self.end(), elements: (0..3).map(|_| self.element()).collect() },
            _ => Act::Push { list: which, end: self.end(), elements: vec![self.element()] },
        }
    }

    fn wait(&mut self) -> Act {
        let which = self.which();
        let both = [which, 1 - which];
        let count = self.random.random_range(1..=2);
        let wait = match self.random.random_range(0..6) {
            0..3 => Wait::Pop { lists: both[..count].to_vec(), end: self.end() },
            3 => Wait::Move { from: which, to: self.which(), from_end: self.end(), to_end: self.end() },
            _ => Wait::PopMin { sorted: both[..count].to_vec() },
        };
        Act::Wait { wait, timeout_ms: *[2, 10, 30].choose(self.random).expect("some") }
    }

    /// Several wait, one after the other; others give, and some take away.
    fn waiting_lanes(&mut self) -> Vec<Lane> {
        let waiters = self.random.random_range(1..=4);
        let givers = self.random.random_range(1..=2);
        let mut lanes = Vec::new();
        for _ in 0..waiters {
            let batches =
                (0..self.random.random_range(1..=3)).map(|_| vec![Operation::Collection(self.wait())]).collect();
            lanes.push(Lane { database: 0, batches });
        }
        for _ in 0..givers {
            let batches = (0..self.random.random_range(1..=4))
                .map(|_| {
                    let depth = *[1, 1, 3].choose(self.random).expect("some");
                    (0..depth)
                        .map(|_| match self.random.random_range(0..10) {
                            0..7 => self.gift(),
                            7 => Act::Move {
                                from: self.which(),
                                to: self.which(),
                                from_end: self.end(),
                                to_end: self.end(),
                            },
                            8 => Act::Range(self.which()),
                            _ => self.act(),
                        })
                        .map(Operation::Collection)
                        .collect()
                })
                .collect();
            lanes.push(Lane { database: 0, batches });
        }
        lanes
    }

    fn look(&mut self) -> Operation {
        if self.random.random_bool(0.5) {
            Operation::MGet { keys: Key::all().collect(), repeats: 1 }
        } else {
            Operation::Get(Key(0))
        }
    }

    fn hasty_write(&mut self) -> Operation {
        match self.random.random_range(0..10) {
            0..6 => {
                let datum = self.token();
                Operation::Set { key: Key(0), datum, condition: Condition::Always, keep_ttl: false, get: false }
            }
            6..8 => Operation::IncrBy(Key(1), 1),
            8 => Operation::MSet { pairs: self.pairs(KEYS), repeats: 1 },
            _ => Operation::Get(Key(0)),
        }
    }
}

/// All databases that take part.
pub fn databases() -> impl Iterator<Item = usize> {
    0..DATABASES
}

//! Commands from their own documentation: the argument trees of COMMAND DOCS are a grammar. A command that the reference
//! documents is generated with all its options without a line about it here; what later work adds comes by itself.

use rand::{Rng, seq::SliceRandom};
use testkit::Random;

use super::{
    collections::{self, Ticks},
    pools,
};
use crate::coverage::facts::{Argument, Command};

/// A command by its documentation, with valid and less valid values.
pub fn command(random: &mut Random, command: &Command, ticks: &mut Ticks) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = command.name.split('|').map(|word| word.as_bytes().to_vec()).collect();
    let group = command.text("group").unwrap_or_default();
    let mut maker = Maker { random, ticks, command: &command.name, group, promised: None, keys: 0 };
    maker.sequence(&command.arguments, &mut words);
    words
}

struct Maker<'a> {
    random: &'a mut Random,
    ticks: &'a mut Ticks,
    command: &'a str,
    group: &'a str,
    /// What a preceding `numkeys` has promised.
    promised: Option<usize>,
    /// How many keys came last, for what comes once a key (weights, ids of streams).
    keys: usize,
}

impl Maker<'_> {
    fn sequence(&mut self, arguments: &[Argument], words: &mut Vec<Vec<u8>>) {
        // Options may come in any order: each stretch of optional arguments is shuffled now and then.
        let mut order: Vec<&Argument> = arguments.iter().collect();
        if self.random.random_bool(0.4) {
            for stretch in order.chunk_by_mut(|left, right| left.is("optional") && right.is("optional")) {
                stretch.shuffle(self.random);
            }
        }
        for argument in order {
            if argument.is("optional") && !self.random.random_bool(0.35) {
                continue;
            }
            self.repeated(argument, words);
        }
    }

    fn repeated(&mut self, argument: &Argument, words: &mut Vec<Vec<u8>>) {
        let is_key = argument.kind() == "key";
        let times = match (argument.is("multiple"), self.promised) {
            (false, _) => 1,
            // Weights are as many as keys, and so are the ids of XREAD; most of the time.
            (true, None) if self.is_once_a_key(argument) && self.random.random_bool(0.95) => self.keys,
            (true, Some(_)) => self.promised.take().unwrap_or(1),
            (true, None) => 1 + (0..4).take_while(|_| self.random.random_bool(0.5)).count(),
        };
        if is_key {
            self.keys = times;
        }
        for time in 0..times {
            if let Some(token) = &argument.token
                && (time == 0 || argument.is("multiple_token"))
            {
                words.push(token.as_bytes().to_vec());
            }
            self.one(argument, words);
        }
    }

    fn is_once_a_key(&self, argument: &Argument) -> bool {
        match argument.name.as_str() {
            "weight" => true,
            "id" => matches!(self.command, "xread" | "xreadgroup"),
            _ => false,
        }
    }

    fn one(&mut self, argument: &Argument, words: &mut Vec<Vec<u8>>) {
        let word = match argument.kind() {
            "pure-token" => return,
            "oneof" => {
                let choice = &argument.arguments[self.random.random_range(0..argument.arguments.len())];
                return self.repeated(choice, words);
            }
            "block" => return self.sequence(&argument.arguments, words),
            "key" => self.key(),
            "pattern" => match argument.name.as_str() {
                "by-pattern" | "get-pattern" => collections::sort_pattern(self.random).into_bytes(),
                _ => pools::pattern(self.random).into_bytes(),
            },
            "double" => self.double(argument).into_bytes(),
            "unix-time" => pools::instant(self.random, unit_ms(self.command, argument)).into_bytes(),
            "integer" => self.integer(argument).into_bytes(),
            _ => self.text(argument, words),
        };
        words.push(word);
    }

    fn key(&mut self) -> Vec<u8> {
        if is_lex(self.command) {
            let keys = if self.random.random_bool(0.95) { collections::LEX_KEYS } else { collections::LEX_OTHERS };
            return keys[self.random.random_range(0..keys.len())].as_bytes().to_vec();
        }
        if self.command == "zadd" && self.random.random_bool(0.15) {
            return collections::LEX_KEYS[self.random.random_range(0..2)].as_bytes().to_vec();
        }
        match self.group {
            "string" => pools::key(self.random),
            group => collections::key(self.random, group).unwrap_or_else(|| collections::any_key(self.random)),
        }
    }

    fn double(&mut self, argument: &Argument) -> String {
        let random = &mut *self.random;
        match argument.name.as_str() {
            "score" => collections::score(random),
            "min" | "max" => collections::score_bound(random),
            "longitude" => collections::longitude(random),
            "latitude" => collections::latitude(random),
            "radius" | "width" | "height" => collections::distance(random),
            _ => pools::float(random),
        }
    }

    fn integer(&mut self, argument: &Argument) -> String {
        let random = &mut *self.random;
        match (self.group, argument.name.as_str()) {
            (_, "numkeys" | "numfields" | "numids" | "num-vertices") => {
                let count = if argument.name == "num-vertices" { 3..6 } else { 1..4 };
                let count = random.random_range(count);
                self.promised = Some(count);
                if random.random_bool(0.1) { pools::integer(random) } else { count.to_string() }
            }
            (_, "seconds" | "milliseconds" | "ttl") => pools::duration(random, unit_ms(self.command, argument)),
            ("generic" | "connection" | "server", "index" | "index1" | "index2" | "destination-db" | "db") => {
                pools::database(random)
            }
            ("sorted-set", "weight" | "increment") => collections::score(random),
            ("list", "index") | (_, "start" | "stop" | "rank") => collections::rank(random),
            ("stream", "min-idle-time" | "ms") => collections::idle_time_ms(random),
            ("bitmap", "offset") => collections::bit_offset(random).trim_start_matches('#').to_owned(),
            ("bitmap", "bit") | ("bitmap", "value") if random.random_bool(0.9) => random.random_range(0..2).to_string(),
            _ => pools::integer(random),
        }
    }

    fn text(&mut self, argument: &Argument, words: &[Vec<u8>]) -> Vec<u8> {
        let random = &mut *self.random;
        let said = |word: &str| words.iter().any(|said| said == word.as_bytes());
        match (self.group, argument.name.as_str()) {
            ("string", "increment") => pools::float(random).into_bytes(),
            ("bitmap", "encoding") => collections::bit_encoding(random).into_bytes(),
            ("bitmap", "offset") => collections::bit_offset(random).into_bytes(),
            ("bitmap", "value" | "increment") => pools::integer(random).into_bytes(),
            ("sorted-set", "min" | "max") => collections::lex_bound(random).into_bytes(),
            ("sorted-set", "start" | "stop") => collections::rank(random).into_bytes(),
            ("stream", "group") => collections::consumer_group(random),
            ("stream", "consumer") => collections::consumer(random),
            ("stream", "min-idle-time") => collections::idle_time_ms(random).into_bytes(),
            ("stream", "threshold") if !said("MINID") => random.random_range(0..20).to_string().into_bytes(),
            ("stream", "id") if self.command == "xadd" => self.ticks.new_id(random).into_bytes(),
            ("stream", "id") if self.command == "xread" && random.random_bool(0.2) => {
                pools::pick(random, &["$", "+"]).into()
            }
            ("stream", "id") if self.command == "xreadgroup" && random.random_bool(0.7) => b">".to_vec(),
            ("stream", "id" | "threshold" | "start" | "end" | "lastid" | "last-id" | "max-deleted-id") => {
                self.ticks.old_id(random).into_bytes()
            }
            ("list" | "set" | "sorted-set" | "hash" | "geo" | "hyperloglog" | "stream", _) => {
                collections::member(random)
            }
            _ => pools::value(random),
        }
    }
}

/// Whether a command looks at members in the order of their bytes.
pub fn is_lex(command: &str) -> bool {
    matches!(command, "zlexcount" | "zrangebylex" | "zrevrangebylex" | "zremrangebylex")
}

fn unit_ms(command: &str, argument: &Argument) -> u64 {
    let milliseconds = argument.name.contains("milliseconds")
        || argument.name == "ttl"
        || command.starts_with('p') && command != "persist";
    if milliseconds { 1 } else { 1000 }
}

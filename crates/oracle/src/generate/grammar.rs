//! Commands from their own documentation: the argument trees of COMMAND DOCS are a grammar. A command that the reference
//! documents is generated with all its options without a line about it here; what later work adds comes by itself.

use rand::{Rng, seq::SliceRandom};
use testkit::Random;

use super::pools;
use crate::coverage::facts::{Argument, Command};

/// A command by its documentation, with valid and less valid values.
pub fn command(random: &mut Random, command: &Command) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = command.name.split('|').map(|word| word.as_bytes().to_vec()).collect();
    let mut state = State { command: &command.name, count: None };
    sequence(random, &command.arguments, &mut state, &mut words);
    words
}

struct State<'a> {
    command: &'a str,
    /// What a preceding `numkeys` has promised.
    count: Option<usize>,
}

fn sequence(random: &mut Random, arguments: &[Argument], state: &mut State, words: &mut Vec<Vec<u8>>) {
    // Options may come in any order: each stretch of optional arguments is shuffled now and then.
    let mut order: Vec<&Argument> = arguments.iter().collect();
    if random.random_bool(0.4) {
        for stretch in order.chunk_by_mut(|left, right| left.is("optional") && right.is("optional")) {
            stretch.shuffle(random);
        }
    }
    for argument in order {
        if argument.is("optional") && !random.random_bool(0.35) {
            continue;
        }
        repeated(random, argument, state, words);
    }
}

fn repeated(random: &mut Random, argument: &Argument, state: &mut State, words: &mut Vec<Vec<u8>>) {
    let times = match (argument.is("multiple"), state.count) {
        (false, _) => 1,
        (true, Some(_)) => state.count.take().unwrap_or(1),
        (true, None) => 1 + (0..4).take_while(|_| random.random_bool(0.5)).count(),
    };
    for time in 0..times {
        if let Some(token) = &argument.token
            && (time == 0 || argument.is("multiple_token"))
        {
            words.push(token.as_bytes().to_vec());
        }
        one(random, argument, state, words);
    }
}

fn one(random: &mut Random, argument: &Argument, state: &mut State, words: &mut Vec<Vec<u8>>) {
    let name = argument.name.as_str();
    let word = match argument.kind() {
        "pure-token" => return,
        "oneof" => {
            let choice = &argument.arguments[random.random_range(0..argument.arguments.len())];
            return repeated(random, choice, state, words);
        }
        "block" => return sequence(random, &argument.arguments, state, words),
        "key" => pools::key(random),
        "pattern" => pools::pattern(random).into_bytes(),
        "double" => pools::float(random).into_bytes(),
        "unix-time" => pools::instant(random, unit_ms(state.command, argument)).into_bytes(),
        "integer" => match name {
            "numkeys" => {
                let count = random.random_range(1..4);
                state.count = Some(count);
                if random.random_bool(0.1) {
                    pools::integer(random).into_bytes()
                } else {
                    count.to_string().into_bytes()
                }
            }
            "seconds" | "milliseconds" | "ttl" => {
                pools::duration(random, unit_ms(state.command, argument)).into_bytes()
            }
            "index" | "index1" | "index2" | "destination-db" | "db" => pools::database(random).into_bytes(),
            _ => pools::integer(random).into_bytes(),
        },
        _ => match name {
            "increment" => pools::float(random).into_bytes(),
            _ => pools::value(random),
        },
    };
    words.push(word);
}

fn unit_ms(command: &str, argument: &Argument) -> u64 {
    let milliseconds = argument.name.contains("milliseconds")
        || argument.name == "ttl"
        || command.starts_with('p') && command != "persist";
    if milliseconds { 1 } else { 1000 }
}

//! Transactions: keys that are watched, commands that are queued, EXEC or DISCARD.

use rand::Rng;
use testkit::Random;

use super::collections;
use crate::{
    chance,
    pair::CONNECTIONS,
    step::{Step, upper},
};

/// What means something else when it is not alone, or cannot be compared there.
const NOT_QUEUED: &[&str] = &["SORT", "SORT_RO", "BITFIELD", "DEBUG", "RANDOMKEY", "SHUTDOWN", "FLUSHALL", "FLUSHDB"];

/// Whether the command says the same within a transaction on both servers.
fn suits(arguments: &[Vec<u8>]) -> bool {
    let name = upper(&arguments[0]);
    // Ids and deaths that depend on the clock need a command of their own beside them.
    let is_of_now = match name.as_str() {
        "XADD" => arguments.contains(&b"*".to_vec()),
        "SET" => arguments.iter().any(|word| matches!(upper(word).as_str(), "PXAT" | "EXAT")),
        _ => false,
    };
    !is_of_now && !NOT_QUEUED.contains(&name.as_str()) && !chance::COMMANDS.contains(&name.as_str())
}

/// A connection watches some keys, others (and itself) go on for a while, and it executes. `command` makes any command.
pub fn script(
    random: &mut Random,
    connection: usize,
    mut command: impl FnMut(&mut Random) -> Vec<Vec<u8>>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    if random.random_bool(0.5) {
        let mut watch = vec![b"WATCH".to_vec()];
        watch.extend((0..random.random_range(1..4)).map(|_| collections::any_key(random)));
        steps.push(Step::Command { connection, arguments: watch });
        for _ in 0..random.random_range(0..3) {
            let arguments = command(random);
            if suits(&arguments) {
                steps.push(Step::Command { connection: random.random_range(0..CONNECTIONS), arguments });
            }
        }
        if random.random_bool(0.1) {
            steps.push(Step::Command { connection, arguments: vec![b"UNWATCH".to_vec()] });
        }
    }
    let word = |word: &str| vec![word.as_bytes().to_vec()];
    let mut commands = vec![word("MULTI")];
    commands.extend((0..random.random_range(0..6)).map(|_| command(random)).filter(|arguments| suits(arguments)));
    match random.random_range(0..20) {
        0 => commands.insert(random.random_range(1..=commands.len()), word("MULTI")),
        1 => commands.insert(random.random_range(1..=commands.len()), vec![b"WATCH".to_vec(), b"a".to_vec()]),
        2 => commands.insert(random.random_range(1..=commands.len()), word("nosuchcommand")),
        3 => commands.insert(random.random_range(1..=commands.len()), word("UNWATCH")),
        _ => {}
    }
    commands.push(word(if random.random_bool(0.1) { "DISCARD" } else { "EXEC" }));
    if random.random_bool(0.05) {
        commands.push(word(["EXEC", "DISCARD", "UNWATCH"][random.random_range(0..3)]));
    }
    steps.push(Step::Together { connection, commands });
    steps
}

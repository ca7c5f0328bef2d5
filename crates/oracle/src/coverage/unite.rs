//! The union of two servers' catalogues: what Spinel must have.
//!
//! Redis decides every field of a command that both have. What only Valkey has is added: whole commands, subcommands, and
//! arguments, which are grafted into Redis's tree (see [`unite_arguments`]).

use std::collections::BTreeSet;

use super::facts::{Argument, Catalogue, Command};

/// Unites the catalogues; `extras` hears of every argument that Valkey adds.
pub fn unite(redis: &Catalogue, valkey: &Catalogue, extras: &mut Vec<String>) -> Catalogue {
    let mut union = valkey.clone();
    for (name, ours) in redis {
        let united = match valkey.get(name) {
            Some(theirs) => unite_command(ours, theirs, extras),
            None => ours.clone(),
        };
        union.insert(name.clone(), united);
    }
    union
}

fn unite_command(redis: &Command, valkey: &Command, extras: &mut Vec<String>) -> Command {
    let mut command = redis.clone();
    command.subcommands = unite(&redis.subcommands, &valkey.subcommands, extras);
    let known = redis.arguments.iter().flat_map(Argument::tokens).collect();
    command.arguments = unite_arguments(&redis.name, &redis.arguments, &valkey.arguments, &known, extras);
    for change in &valkey.history {
        if !command.history.iter().any(|(version, _)| *version == change.0) {
            command.history.push(change.clone());
        }
    }
    command
}

/// Redis's tree with Valkey's additions. A node that only Valkey has
/// - is left out when it brings no token that Redis's tree of the whole command lacks (the same syntax, drawn differently);
/// - takes the place of those of its Redis-only siblings that it contains (`BGSAVE [SCHEDULE]` becomes `[SCHEDULE|CANCEL]`);
/// - else comes after the sibling that it follows in Valkey.
fn unite_arguments(
    path: &str,
    redis: &[Argument],
    valkey: &[Argument],
    known: &BTreeSet<String>,
    extras: &mut Vec<String>,
) -> Vec<Argument> {
    let mut union = redis.to_vec();
    let mut next = 0;
    for theirs in valkey {
        if let Some(at) = redis_position(&union, theirs) {
            let path = format!("{path} {}", theirs.name);
            union[at].arguments = unite_arguments(&path, &union[at].arguments, &theirs.arguments, known, extras);
            next = at + 1;
            continue;
        }
        if theirs.tokens().is_subset(known) {
            continue;
        }
        let wrapped = |ours: &Argument| {
            theirs.contains(ours.identity()) && !valkey.iter().any(|sibling| sibling.identity() == ours.identity())
        };
        if let Some(first) = union.iter().position(wrapped) {
            next = first;
            union.retain(|ours| !wrapped(ours));
        }
        extras.push(format!("{path}: {}", theirs.token.as_ref().unwrap_or(&theirs.name)));
        union.insert(next, theirs.clone());
        next += 1;
    }
    union
}

fn redis_position(union: &[Argument], theirs: &Argument) -> Option<usize> {
    union.iter().position(|ours| ours.identity() == theirs.identity())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> Argument {
        Argument { name: name.to_lowercase(), token: Some(name.into()), ..Argument::default() }
    }

    fn group(name: &str, arguments: Vec<Argument>) -> Argument {
        Argument { name: name.into(), arguments, ..Argument::default() }
    }

    fn united(redis: &[Argument], valkey: &[Argument]) -> Vec<Argument> {
        let known = redis.iter().flat_map(Argument::tokens).collect();
        unite_arguments("test", redis, valkey, &known, &mut Vec::new())
    }

    #[test]
    fn additions_keep_their_place() {
        let redis = [group("condition", vec![token("NX"), token("XX")]), token("GET")];
        let valkey = [group("condition", vec![token("NX"), token("IFEQ"), token("XX")]), token("GET")];
        assert_eq!(united(&redis, &valkey), valkey);
    }

    #[test]
    fn same_syntax_drawn_differently_is_redis_s() {
        let redis = [group("range", vec![token("START"), token("END")])];
        let valkey = [group("range", vec![token("START"), group("end-block", vec![token("END")])])];
        assert_eq!(united(&redis, &valkey), redis);
    }

    #[test]
    fn a_wider_choice_replaces_what_it_contains() {
        let valkey = [group("operation", vec![token("SCHEDULE"), token("CANCEL")])];
        assert_eq!(united(&[token("SCHEDULE")], &valkey), valkey);
    }
}

//! The data sets, at the end of an episode and whenever they were loaded: every key of every database, by typed reads.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use testkit::{Kind, Value};

use crate::{
    generate::collections::SORTED_BY_SORT,
    normalise,
    pair::{Difference, Pair, Side},
};

const DATABASES: usize = 16;

/// Commands that show a value whole, by type. The `clock` and `unordered` freedoms hold for them as in the run.
fn reads(kind: &str) -> &'static [&'static [&'static str]] {
    match kind {
        "string" => &[&["GET", "{}"]],
        "list" => &[&["LRANGE", "{}", "0", "-1"]],
        "set" => &[&["SMEMBERS", "{}"]],
        "zset" => &[&["ZRANGE", "{}", "0", "-1", "WITHSCORES"]],
        "hash" => &[&["HGETALL", "{}"]],
        "stream" => &[&["XRANGE", "{}", "-", "+"], &["XINFO", "STREAM", "{}", "FULL"]],
        _ => &[],
    }
}

/// The first difference between the two data sets, found `at` this step.
pub fn compare(pair: &mut Pair, at: usize, when: &str) -> Result<Option<Difference>> {
    for side in [&mut pair.subject, &mut pair.reference] {
        side.command(1, &["RESET"])?;
        side.command(1, &["HELLO", "3"])?;
    }
    // The thresholds of encodings are Redis's.
    let metadata: &[&[&str]] = match pair.reference.kind() {
        Kind::Valkey91 => &[&["TYPE", "{}"], &["PEXPIRETIME", "{}"]],
        _ => &[&["TYPE", "{}"], &["PEXPIRETIME", "{}"], &["OBJECT", "ENCODING", "{}"]],
    };
    for database in 0..DATABASES {
        let database = database.to_string();
        let differ = |what: String, subject: String, reference: String| {
            Ok(Some(Difference { at, what: format!("{when}, database {database}: {what}"), subject, reference }))
        };
        let (ours, theirs) = (keys(&mut pair.subject, &database)?, keys(&mut pair.reference, &database)?);
        if ours != theirs {
            let only = |these: &BTreeSet<Vec<u8>>, those: &BTreeSet<Vec<u8>>| {
                let only: Vec<String> = these.difference(those).map(|key| key.escape_ascii().to_string()).collect();
                format!("has beyond the other: {}", only.join(" "))
            };
            return differ("the keys".to_owned(), only(&ours, &theirs), only(&theirs, &ours));
        }
        for key in &ours {
            let kind = pair.reference.command(1, &[b"TYPE".as_slice(), key])?;
            let kind = kind.text().unwrap_or_default().to_owned();
            let mut commands: Vec<Vec<Vec<u8>>> = metadata
                .iter()
                .chain(reads(&kind))
                .map(|command| {
                    let word = |word: &&str| if *word == "{}" { key.clone() } else { word.as_bytes().to_vec() };
                    command.iter().map(word).collect()
                })
                .collect();
            if kind == "hash" {
                commands.extend(field_expiry(&mut pair.reference, key)?);
            }
            let has_own_encoding = key == SORTED_BY_SORT.as_bytes();
            commands.retain(|command| !has_own_encoding || command[0] != b"OBJECT");
            for command in commands {
                let (ours, theirs) = (pair.subject.command(1, &command)?, pair.reference.command(1, &command)?);
                if normalise::compare(&command, &ours, &theirs) == normalise::Verdict::Different {
                    let what = command.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ");
                    return differ(what, ours.to_string(), theirs.to_string());
                }
            }
        }
    }
    Ok(None)
}

/// HPEXPIRETIME of all fields, where the server has it.
fn field_expiry(side: &mut Side, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>> {
    let fields = side.command(1, &[b"HKEYS".as_slice(), key])?;
    let fields: Vec<Vec<u8>> =
        fields.elements().unwrap_or_default().iter().filter_map(Value::bytes).map(<[u8]>::to_vec).collect();
    if fields.is_empty() || side.kind() == Kind::Redis70 {
        return Ok(None);
    }
    let mut command: Vec<Vec<u8>> = [b"HPEXPIRETIME".as_slice(), key, b"FIELDS"].map(<[u8]>::to_vec).to_vec();
    command.push(fields.len().to_string().into_bytes());
    command.extend(fields);
    Ok(Some(command))
}

fn keys(side: &mut Side, database: &str) -> Result<BTreeSet<Vec<u8>>> {
    side.command(1, &["SELECT", database])?;
    let keys = side.command(1, &["KEYS", "*"])?;
    ensure!(!keys.is_error(), "{} does not tell its keys: {keys}", side.kind());
    Ok(keys.elements().unwrap_or_default().iter().filter_map(Value::bytes).map(<[u8]>::to_vec).collect())
}

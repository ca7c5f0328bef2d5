//! `--bigkeys` and `--memkeys`: the largest key of each type, by elements or by memory.

use resp::client::Value;

use super::Failed;
use super::progress::{Progress, Shown};
use super::scan::Walk;
use super::types::{self, KeyType};
use crate::format::quoted;
use crate::interrupt;
use crate::session::{Session, print_bytes};

struct Tally {
    of: KeyType,
    keys: u64,
    total: u64,
    biggest: u64,
    biggest_name: Vec<u8>,
}

pub fn run(session: &mut Session, by_memory: bool) -> Result<(), Failed> {
    let total_keys = key_count(session)?;
    print_bytes(
        b"\n# Scanning the entire keyspace to find biggest keys as well as\n\
          # average sizes per key type.  You can use -i 0.1 to sleep 0.1 sec\n\
          # per 100 SCAN commands (not usually needed).\n\n",
    );
    let _caught = interrupt::catch();
    let mut types = types::known();
    let mut tallies: Vec<Tally> = types.iter().cloned().map(Tally::new).collect();
    let (mut sampled, mut name_bytes) = (0u64, 0u64);
    let mut walk = Walk::new(session);
    let mut progress = Progress::start(session, total_keys);
    let mut told = 0;
    loop {
        let keys = match walk.next(session, 100) {
            Ok(Some(keys)) => keys,
            Ok(None) => break,
            // Ctrl-C: what has been seen so far is told.
            Err(_) if interrupt::happened() => break,
            Err(error) => return Err(error),
        };
        let percent = percentage(sampled, total_keys);
        let kinds = key_types(session, &keys, &mut types)?;
        for of in types.iter().skip(tallies.len()) {
            tallies.push(Tally::new(of.clone()));
        }
        let sizes = if by_memory { memory(session, &keys)? } else { elements(session, &keys, &kinds, &types)? };
        for ((key, kind), size) in keys.iter().zip(kinds).zip(sizes) {
            // Gone since SCAN saw it.
            let (Some(kind), Some(size)) = (kind, size) else { continue };
            let tally = &mut tallies[kind];
            tally.keys += 1;
            tally.total += size;
            name_bytes += key.len() as u64;
            sampled += 1;
            if size > tally.biggest {
                tally.biggest = size;
                tally.biggest_name = key.clone();
                progress.clear();
                let line = format!(
                    "[{percent:05.2}%] Biggest {:<6} found so far '{}' with {size} {}\n",
                    tally.of.name,
                    quoted(key),
                    tally.unit(by_memory),
                );
                print_bytes(line.as_bytes());
            }
        }
        if sampled / 1_000_000 > told {
            told = sampled / 1_000_000;
            progress.clear();
            print_bytes(format!("[{percent:05.2}%] Sampled {sampled} keys so far\n").as_bytes());
        }
        progress.show(sampled);
    }
    progress.clear();
    let partial =
        if interrupt::happened() { format!("[{:05.2}%] ", percentage(sampled, total_keys)) } else { String::new() };
    print_bytes(summary(&tallies, &partial, sampled, name_bytes, by_memory).as_bytes());
    Ok(())
}

fn summary(tallies: &[Tally], partial: &str, sampled: u64, name_bytes: u64, by_memory: bool) -> String {
    let mean = |total: u64, count: u64| if count == 0 { 0.0 } else { total as f64 / count as f64 };
    let mut out = format!(
        "\n-------- summary -------\n\n{partial}Sampled {sampled} keys in the keyspace!\n\
         Total key length in bytes is {name_bytes} (avg len {:.2})\n\n",
        mean(name_bytes, sampled)
    );
    for tally in tallies.iter().filter(|tally| tally.biggest > 0) {
        out += &format!(
            "Biggest {:>6} found '{}' has {} {}\n",
            tally.of.name,
            quoted(&tally.biggest_name),
            tally.biggest,
            tally.unit(by_memory)
        );
    }
    out.push('\n');
    for tally in tallies {
        out += &format!(
            "{} {}s with {} {} ({:05.2}% of keys, avg size {:.2})\n",
            tally.keys,
            tally.of.name,
            tally.total,
            tally.unit(by_memory),
            mean(tally.keys * 100, sampled),
            mean(tally.total, tally.keys)
        );
    }
    out
}

impl Tally {
    fn new(of: KeyType) -> Tally {
        Tally { of, keys: 0, total: 0, biggest: 0, biggest_name: Vec::new() }
    }

    fn unit(&self, by_memory: bool) -> &'static str {
        if by_memory { "bytes" } else { self.of.unit }
    }
}

fn percentage(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// DBSIZE, which is what the progress is measured by.
pub fn key_count(session: &mut Session) -> Result<u64, Failed> {
    match session.link().command(&[b"DBSIZE"])? {
        Value::Int(count) => Ok(count.max(0) as u64),
        Value::Error(text) => Err(Failed(format!("Couldn't determine DBSIZE: {}", String::from_utf8_lossy(&text)))),
        _ => Err(Failed::new("Non INTEGER response from DBSIZE!")),
    }
}

/// The type of each key, as a number in `types`; none for keys that are gone.
pub fn key_types(
    session: &mut Session,
    keys: &[Vec<u8>],
    types: &mut Vec<KeyType>,
) -> Result<Vec<Option<usize>>, Failed> {
    let commands: Vec<_> = keys.iter().map(|key| vec![b"TYPE".to_vec(), key.clone()]).collect();
    let replies = session.link().pipeline(&commands)?;
    let mut kinds = Vec::with_capacity(keys.len());
    for (key, reply) in keys.iter().zip(replies) {
        match reply.as_str() {
            Some("none") => kinds.push(None),
            Some(name) if !reply.is_error() => kinds.push(Some(types::find_or_add(types, name))),
            _ => return Err(Failed(format!("TYPE returned an error for key {}: {reply}", quoted(key)))),
        }
    }
    Ok(kinds)
}

/// How many elements each key has. A key that is gone or of another type by now has none, as one whose type nobody knows.
pub fn elements(
    session: &mut Session,
    keys: &[Vec<u8>],
    kinds: &[Option<usize>],
    types: &[KeyType],
) -> Result<Vec<Option<u64>>, Failed> {
    let command_of = |kind: Option<usize>| kind.and_then(|kind| types[kind].size_command);
    let commands: Vec<_> = keys
        .iter()
        .zip(kinds)
        .filter_map(|(key, kind)| command_of(*kind).map(|command| vec![command.as_bytes().to_vec(), key.clone()]))
        .collect();
    let mut replies = session.link().pipeline(&commands)?.into_iter();
    let mut size_of = |kind: &Option<usize>| {
        kind.map(|_| match command_of(*kind) {
            Some(_) => replies.next().as_ref().and_then(Value::as_i64).map_or(0, |size| size.max(0) as u64),
            None => 0,
        })
    };
    Ok(kinds.iter().map(&mut size_of).collect())
}

/// How many bytes each key takes, as far as the server looks at `--memkeys-samples` (or its own default of) elements.
pub fn memory(session: &mut Session, keys: &[Vec<u8>]) -> Result<Vec<Option<u64>>, Failed> {
    let samples = session.options.memory_samples.filter(|samples| *samples >= 0);
    let command = |key: &Vec<u8>| {
        let mut command = vec![b"MEMORY".to_vec(), b"USAGE".to_vec(), key.clone()];
        if let Some(samples) = samples {
            command.extend([b"SAMPLES".to_vec(), samples.to_string().into_bytes()]);
        }
        command
    };
    let commands: Vec<_> = keys.iter().map(command).collect();
    let replies = session.link().pipeline(&commands)?;
    if let Some(error) = replies.iter().find(|reply| reply.is_error()) {
        return Err(Failed(format!("MEMORY USAGE failed: {}", error.as_str().unwrap_or_default())));
    }
    Ok(replies.iter().map(|reply| reply.as_i64().map(|size| size.max(0) as u64)).collect())
}

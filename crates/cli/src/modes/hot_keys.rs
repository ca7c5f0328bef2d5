//! `--hotkeys`: the keys that are used most, by the counters of the server's LFU policies.

use resp::client::Value;

use super::Failed;
use super::big_keys::key_count;
use super::progress::{Progress, Shown};
use super::scan::Walk;
use crate::format::quoted;
use crate::interrupt;
use crate::session::{Session, print_bytes};

/// How many are remembered unless `--top` says so.
const KEYS_DEFAULT: usize = 16;

pub fn run(session: &mut Session) -> Result<(), Failed> {
    let total_keys = key_count(session)?;
    print_bytes(
        b"\n# Scanning the entire keyspace to find hot keys as well as\n\
          # average sizes per key type.  You can use -i 0.1 to sleep 0.1 sec\n\
          # per 100 SCAN commands (not usually needed).\n\n",
    );
    let _caught = interrupt::catch();
    let mut hottest = Hottest { keys: Vec::new(), limit: session.options.top.unwrap_or(KEYS_DEFAULT) };
    let mut sampled = 0u64;
    let mut walk = Walk::new(session);
    let mut progress = Progress::start(session, total_keys);
    let mut told = 0;
    loop {
        let keys = match walk.next(session, 100) {
            Ok(Some(keys)) => keys,
            Ok(None) => break,
            Err(_) if interrupt::happened() => break,
            Err(error) => return Err(error),
        };
        // Counted before, unlike --bigkeys: so does redis-cli.
        sampled += keys.len() as u64;
        let percent = if total_keys == 0 { 0.0 } else { sampled as f64 * 100.0 / total_keys as f64 };
        for (key, counter) in keys.iter().zip(counters(session, &keys)?) {
            if hottest.offer(key, counter) {
                progress.clear();
                let line = format!("[{percent:05.2}%] Hot key '{}' found so far with counter {counter}\n", quoted(key));
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
    let partial = if interrupt::happened() && total_keys > 0 {
        format!("[{:05.2}%] ", sampled as f64 * 100.0 / total_keys as f64)
    } else {
        String::new()
    };
    let mut out = format!("\n-------- summary -------\n\n{partial}Sampled {sampled} keys in the keyspace!\n");
    for (key, counter) in &hottest.keys {
        out += &format!("hot key found with counter: {counter}\tkeyname: {}\n", quoted(key));
    }
    print_bytes(out.as_bytes());
    Ok(())
}

/// The logarithmic use counter of each key; 0 for one that is gone.
pub fn counters(session: &mut Session, keys: &[Vec<u8>]) -> Result<Vec<u64>, Failed> {
    let commands: Vec<_> = keys.iter().map(|key| vec![b"OBJECT".to_vec(), b"FREQ".to_vec(), key.clone()]).collect();
    let replies = session.link().pipeline(&commands)?;
    replies
        .into_iter()
        .map(|reply| match reply {
            Value::Int(counter) => Ok(counter.max(0) as u64),
            Value::Error(text) => Err(Failed(format!("Error: {}", String::from_utf8_lossy(&text)))),
            _ => Ok(0),
        })
        .collect()
}

/// The greatest so far, those first seen first among equals.
struct Hottest {
    keys: Vec<(Vec<u8>, u64)>,
    limit: usize,
}

impl Hottest {
    /// Whether the key is one of them now.
    fn offer(&mut self, key: &[u8], counter: u64) -> bool {
        let place = self.keys.partition_point(|(_, other)| *other >= counter);
        if counter == 0 || place >= self.limit {
            return false;
        }
        self.keys.insert(place, (key.to_vec(), counter));
        self.keys.truncate(self.limit);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hottest_stay() {
        let mut hottest = Hottest { keys: Vec::new(), limit: 2 };
        assert!(hottest.offer(b"a", 1));
        assert!(hottest.offer(b"b", 3));
        assert!(!hottest.offer(b"c", 1), "the first of equals stays");
        assert!(hottest.offer(b"d", 2));
        assert!(!hottest.offer(b"e", 0));
        assert_eq!(hottest.keys, [(b"b".to_vec(), 3), (b"d".to_vec(), 2)]);
    }
}

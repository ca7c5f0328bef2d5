//! `--lru-test`: a cache under requests of which four fifths go to a fifth of the keys.

use std::time::{Duration, Instant};

use resp::client::Value;

use super::Failed;
use crate::session::{Session, print_bytes};

const BATCH: usize = 250;

pub fn run(session: &mut Session, keys: u64) -> Result<(), Failed> {
    loop {
        let begun = Instant::now();
        let (mut hits, mut misses) = (0u64, 0u64);
        while begun.elapsed() < Duration::from_secs(1) {
            let names: Vec<Vec<u8>> = (0..BATCH).map(|_| format!("lru:{}", pick(keys)).into_bytes()).collect();
            let gets: Vec<_> = names.iter().map(|name| vec![b"GET".to_vec(), name.clone()]).collect();
            let found = session.link().pipeline(&gets)?;
            let mut sets = Vec::new();
            for (name, reply) in names.into_iter().zip(found) {
                match reply {
                    Value::Error(text) => {
                        return Err(Failed(format!("GET failed: {}", String::from_utf8_lossy(&text))));
                    }
                    reply if reply.is_null() => {
                        misses += 1;
                        sets.push(vec![b"SET".to_vec(), name, b"value".to_vec()]);
                    }
                    _ => hits += 1,
                }
            }
            for reply in session.link().pipeline(&sets)? {
                if let Value::Error(text) = reply {
                    return Err(Failed(format!("SET failed: {}", String::from_utf8_lossy(&text))));
                }
            }
        }
        let gets = hits + misses;
        let percent = |part: u64| if gets == 0 { 0.0 } else { part as f64 * 100.0 / gets as f64 };
        let line = format!(
            "{gets} Gets/sec | Hits: {hits} ({:.2}%) | Misses: {misses} ({:.2}%)\n",
            percent(hits),
            percent(misses)
        );
        print_bytes(line.as_bytes());
    }
}

/// A key's number. With `u` even in 0..1, `u^(ln 0.2 / ln 0.8)` is below 0.2 four times out of five, and so on within that fifth.
fn pick(keys: u64) -> u64 {
    let even: f64 = rand::random();
    ((keys as f64 * even.powf(0.2f64.ln() / 0.8f64.ln())) as u64).min(keys.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_gets_four_fifths() {
        let hot = (0..10_000).filter(|_| pick(1000) < 200).count();
        assert!((7_700..8_300).contains(&hot), "{hot} of 10000");
        assert_eq!(pick(0), 0);
    }
}

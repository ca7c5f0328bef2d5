//! `--scan`, and the walk over all keys that other modes share.

use resp::client::Value;

use super::Failed;
use crate::format::{Output, quote};
use crate::interrupt;
use crate::session::{Session, print_bytes};

/// SCAN from a cursor until it is 0 again.
pub struct Walk {
    pub cursor: u64,
    started: bool,
    steps: u64,
}

impl Walk {
    pub fn new(session: &Session) -> Walk {
        Walk { cursor: session.options.scan_cursor, started: false, steps: 0 }
    }

    /// The keys of the next step, or `None` at the end. `pause_every` steps it pauses as `-i` asks.
    pub fn next(&mut self, session: &mut Session, pause_every: u64) -> Result<Option<Vec<Vec<u8>>>, Failed> {
        if self.started && self.cursor == 0 {
            return Ok(None);
        }
        if self.started && self.steps.is_multiple_of(pause_every) && !interrupt::pause(session.options.interval) {
            return Err(Failed::new(""));
        }
        self.started = true;
        self.steps += 1;
        let mut arguments = vec![b"SCAN".to_vec(), self.cursor.to_string().into_bytes()];
        if let Some(pattern) = &session.options.pattern {
            arguments.extend([b"MATCH".to_vec(), pattern.clone()]);
        }
        if session.options.scan_count != 10 {
            arguments.extend([b"COUNT".to_vec(), session.options.scan_count.to_string().into_bytes()]);
        }
        match session.link().command(&arguments)? {
            Value::Error(text) => Err(Failed(format!("SCAN error: {}", String::from_utf8_lossy(&text)))),
            Value::Array(parts) => {
                let [cursor, Value::Array(keys)] = &parts[..] else { return Err(malformed()) };
                self.cursor = cursor.as_str().and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
                let keys = keys.iter().map(|key| key.as_bytes().map(<[u8]>::to_vec));
                Ok(Some(keys.collect::<Option<_>>().ok_or_else(malformed)?))
            }
            _ => Err(malformed()),
        }
    }
}

fn malformed() -> Failed {
    Failed::new("Invalid reply to SCAN")
}

/// Prints all keys, one a line.
pub fn run(session: &mut Session) -> Result<(), Failed> {
    let mut walk = Walk::new(session);
    while let Some(keys) = walk.next(session, 1)? {
        let mut out = Vec::new();
        for key in keys {
            if session.output == Output::Pretty {
                quote(&mut out, &key);
            } else {
                out.extend_from_slice(&key);
            }
            out.push(b'\n');
        }
        print_bytes(&out);
    }
    Ok(())
}

//! Finds the ends of replies, however the bytes were cut, and keeps nothing of them but the text of errors.
//!
//! ```text
//!            type byte            CR LF                     CR LF
//!   Start ─────────────▶ Line ───────────▶ item done
//!     │   $ = ! * ~ % | >
//!     └────────────────▶ Number ─────────▶ Body ──────────▶ item done      ($ = !)
//!                          └─────────────▶ that many more items to come    (* ~ % | >)
//! ```
//!
//! A reply is done when no item of it is missing. Aggregates need no stack for that: a header of n elements turns one missing
//! item into n.

use memchr::memchr;

/// Where in a stream of replies a connection is.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// Items that the reply under way still lacks, itself included.
    missing: u64,
    /// Inside an aggregate: errors there belong to its elements (EXEC), not to the request.
    nested: bool,
    /// The reply under way is a push of RESP3, which answers nothing.
    push: bool,
    error: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    Line { error: bool },
    Number { kind: u8, value: u64, negative: bool },
    Body { remaining: u64, error: bool },
}

/// What some bytes completed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Replies, errors among them.
    pub replies: u32,
    pub errors: u32,
    /// The text of the first error, if there was one.
    pub first_error: Option<Vec<u8>>,
}

/// Not the protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed(pub u8);

/// Of an error no more is kept: it is shown to a person.
const ERROR_BYTES_MAX: usize = 512;

impl Scanner {
    pub fn new() -> Scanner {
        Scanner { state: State::Start, missing: 1, nested: false, push: false, error: Vec::new() }
    }

    pub fn scan(&mut self, mut bytes: &[u8]) -> Result<Scanned, Malformed> {
        let mut scanned = Scanned::default();
        while let Some(&first) = bytes.first() {
            match self.state {
                State::Start => {
                    bytes = &bytes[1..];
                    match first {
                        b'+' | b':' | b'_' | b'#' | b',' | b'(' => self.state = State::Line { error: false },
                        b'-' => self.state = State::Line { error: !self.nested },
                        b'$' | b'=' | b'!' | b'*' | b'~' | b'%' | b'|' | b'>' => {
                            self.state = State::Number { kind: first, value: 0, negative: false };
                        }
                        other => return Err(Malformed(other)),
                    }
                }
                State::Line { error } => {
                    let end = memchr(b'\n', bytes);
                    if error {
                        self.keep_error(&bytes[..end.unwrap_or(bytes.len())]);
                    }
                    let Some(end) = end else { break };
                    bytes = &bytes[end + 1..];
                    self.item_done(error, &mut scanned);
                }
                State::Number { kind, mut value, mut negative } => {
                    let mut at = 0;
                    let ended = loop {
                        match bytes.get(at) {
                            Some(digit @ b'0'..=b'9') => {
                                value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
                            }
                            Some(b'-') => negative = true,
                            Some(b'\r') => {}
                            Some(b'\n') => break true,
                            Some(&other) => return Err(Malformed(other)),
                            None => break false,
                        }
                        at += 1;
                    };
                    if !ended {
                        self.state = State::Number { kind, value, negative };
                        break;
                    }
                    bytes = &bytes[at + 1..];
                    self.header(kind, value, negative, &mut scanned);
                }
                State::Body { remaining, error } => {
                    let taken = remaining.min(bytes.len() as u64);
                    if error {
                        // Without the line end that is part of the body here.
                        let text = taken.min(remaining.saturating_sub(2)) as usize;
                        self.keep_error(&bytes[..text]);
                    }
                    bytes = &bytes[taken as usize..];
                    if taken == remaining {
                        self.item_done(error, &mut scanned);
                    } else {
                        self.state = State::Body { remaining: remaining - taken, error };
                    }
                }
            }
        }
        Ok(scanned)
    }

    fn header(&mut self, kind: u8, value: u64, negative: bool, scanned: &mut Scanned) {
        if negative {
            return self.item_done(false, scanned);
        }
        match kind {
            b'$' | b'=' => self.state = State::Body { remaining: value.saturating_add(2), error: false },
            b'!' => self.state = State::Body { remaining: value.saturating_add(2), error: !self.nested },
            // What an attribute is about comes after it, so that item is still missing.
            b'|' => {
                self.missing = self.missing.saturating_add(value.saturating_mul(2));
                self.state = State::Start;
            }
            _ => {
                let elements = if kind == b'%' { value.saturating_mul(2) } else { value };
                self.push |= kind == b'>' && !self.nested;
                self.nested = true;
                self.missing = self.missing.saturating_add(elements);
                self.item_done(false, scanned);
            }
        }
    }

    fn item_done(&mut self, error: bool, scanned: &mut Scanned) {
        self.state = State::Start;
        self.missing -= 1;
        if self.missing > 0 {
            return;
        }
        self.missing = 1;
        self.nested = false;
        if std::mem::take(&mut self.push) {
            return;
        }
        scanned.replies += 1;
        if error {
            scanned.errors += 1;
            let text = std::mem::take(&mut self.error);
            scanned.first_error.get_or_insert_with(|| text.strip_suffix(b"\r").unwrap_or(&text).to_vec());
        }
    }

    fn keep_error(&mut self, bytes: &[u8]) {
        let room = ERROR_BYTES_MAX.saturating_sub(self.error.len());
        self.error.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Scanned {
        Scanner::new().scan(bytes).expect("well-formed")
    }

    const STREAM: &[u8] = b"+OK\r\n$3\r\nVXK\r\n$-1\r\n*-1\r\n:12\r\n-ERR no\r\n*2\r\n$1\r\na\r\n*2\r\n:1\r\n-inside\r\n*0\r\n\
        %1\r\n+a\r\n~1\r\n_\r\n|1\r\n+ttl\r\n:3\r\n#t\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n!5\r\nE boo\r\n=5\r\ntxt:a\r\n$0\r\n\r\n";

    #[test]
    fn replies_are_counted_and_pushes_are_not() {
        let scanned = whole(STREAM);
        assert_eq!((scanned.replies, scanned.errors), (13, 2));
        assert_eq!(scanned.first_error.as_deref(), Some(&b"ERR no"[..]));
    }

    #[test]
    fn wherever_the_bytes_are_cut_the_count_is_the_same() {
        for cut in 0..=STREAM.len() {
            let mut scanner = Scanner::new();
            let (a, b) = STREAM.split_at(cut);
            let (a, b) = (scanner.scan(a).expect("first"), scanner.scan(b).expect("second"));
            assert_eq!((a.replies + b.replies, a.errors + b.errors), (13, 2), "cut at {cut}");
        }
        let mut scanner = Scanner::new();
        let sum: u32 = STREAM.iter().map(|&byte| scanner.scan(&[byte]).expect("one byte").replies).sum();
        assert_eq!(sum, 13);
    }

    #[test]
    fn a_bulk_error_keeps_its_text_and_garbage_is_named() {
        assert_eq!(whole(b"!5\r\nE boo\r\n").first_error.as_deref(), Some(&b"E boo"[..]));
        assert_eq!(Scanner::new().scan(b"HTTP/1.1 400"), Err(Malformed(b'H')));
    }
}

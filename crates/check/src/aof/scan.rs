//! Reading an append-only file for its form alone.
//!
//! ```text
//!            ┌──────────── #…  annotation ───────────┐
//!            ▼                                       │
//! ┌─────► between ── MULTI ──► in a transaction ─────┤
//! │          │                        │              │
//! └─ command ┘                        └─ EXEC ──► between
//! ```
//!
//! The file is sound up to the last place where it was between units. Stricter than what loads it ([`journal::aof::Commands`]): numbers end with CR LF and
//! nothing else, MULTI and EXEC come in pairs. A server never writes anything else, so that it is a sign of damage even where
//! a server would read on. Arguments are passed over and never in memory.

use std::io::{self, BufRead, Read};

use crate::shown;

/// A line holds one number. Redis reads as much.
const LINE_BYTES_MAX: u64 = 127;

/// How much of a name and a key is kept for the report.
const KEPT_BYTES_MAX: u64 = 64;

/// What was found.
#[derive(Debug)]
pub(super) struct Scan {
    /// Where the last whole unit ends, in the file, and the line there: what the file can be cut to.
    pub valid_bytes: u64,
    pub valid_lines: u64,
    pub commands: u64,
    pub transactions: u64,
    pub end: End,
}

#[derive(Debug)]
pub(super) enum End {
    /// All of it is sound.
    Whole,
    Fault(Fault),
    /// Here begins what was written after the timestamp that was asked for.
    LaterThanAsked,
    /// A timestamp was asked for, and this annotation has none that can be read.
    UnreadableTimestamp {
        offset: u64,
    },
}

#[derive(Debug)]
pub(super) struct Fault {
    pub offset: u64,
    pub what: String,
    /// The command it is in: its offset, name and, if there is one, first argument.
    pub within: Option<(u64, String)>,
    /// Whether the file ends here, rather than going on with something wrong.
    pub is_truncated: bool,
}

/// Reads from `offset` on, where the source is already, up to the first annotation with a later timestamp if one is given.
pub(super) fn scan(source: impl BufRead, offset: u64, timestamp_max: Option<i64>) -> io::Result<Scan> {
    let mut scanner = Scanner { source, offset, lines: 1, line: Vec::new() };
    let mut scan = Scan { valid_bytes: offset, valid_lines: 1, commands: 0, transactions: 0, end: End::Whole };
    let mut open_transaction = None;
    loop {
        let at = scanner.offset;
        let Some(first) = scanner.peek()? else {
            if let Some(begin) = open_transaction {
                scan.end = End::Fault(Fault {
                    offset: at,
                    what: "expected the EXEC of a transaction, found the end of the file".to_owned(),
                    within: Some((begin, "MULTI".to_owned())),
                    is_truncated: true,
                });
            }
            return Ok(scan);
        };
        if first == b'#' {
            let annotated = scanner.annotation()?;
            match (timestamp_max, annotated) {
                (None, _) | (_, Annotation::Other) => {}
                (Some(max), Annotation::Timestamp(at)) if at <= max => {}
                // Within a transaction Redis cuts here. What is left would end in half of one: cut before it instead.
                (Some(_), Annotation::Timestamp(_)) => {
                    scan.end = End::LaterThanAsked;
                    return Ok(scan);
                }
                (Some(_), Annotation::Unreadable) => {
                    scan.end = End::UnreadableTimestamp { offset: at };
                    return Ok(scan);
                }
            }
        } else {
            match scanner.command()? {
                Err(fault) => {
                    scan.end = End::Fault(fault);
                    return Ok(scan);
                }
                Ok(name) => {
                    scan.commands += 1;
                    let is_begin = name.eq_ignore_ascii_case(b"multi");
                    let is_end = name.eq_ignore_ascii_case(b"exec");
                    let wrong = match (is_begin, is_end, open_transaction) {
                        (true, _, Some(_)) => Some("MULTI within a transaction"),
                        (_, true, None) => Some("EXEC without MULTI"),
                        _ => None,
                    };
                    if let Some(what) = wrong {
                        let begin = open_transaction.unwrap_or(at);
                        scan.end = End::Fault(Fault {
                            offset: at,
                            what: what.to_owned(),
                            within: Some((begin, shown(&name))),
                            is_truncated: false,
                        });
                        return Ok(scan);
                    }
                    if is_begin {
                        open_transaction = Some(at);
                    } else if is_end {
                        open_transaction = None;
                        scan.transactions += 1;
                    }
                }
            }
        }
        if open_transaction.is_none() {
            (scan.valid_bytes, scan.valid_lines) = (scanner.offset, scanner.lines);
        }
    }
}

enum Annotation {
    Timestamp(i64),
    /// It says that it is a timestamp, but has no number.
    Unreadable,
    Other,
}

struct Scanner<S> {
    source: S,
    offset: u64,
    /// The number of the line at `offset`, from 1.
    lines: u64,
    /// The line that was read last, as far as it was kept.
    line: Vec<u8>,
}

impl<S: BufRead> Scanner<S> {
    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.source.fill_buf() {
                Ok(bytes) => return Ok(bytes.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads a line, or as much of it as a line may have.
    fn read_line(&mut self) -> io::Result<()> {
        self.line.clear();
        let count = (&mut self.source).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line)?;
        self.offset += count as u64;
        self.lines += u64::from(self.line.ends_with(b"\n"));
        Ok(())
    }

    /// Annotations may have any length. One that the file ends in is sound: a server passes over it, or cuts it.
    fn annotation(&mut self) -> io::Result<Annotation> {
        self.read_line()?;
        let annotation = match self.line.strip_prefix(b"#TS:") {
            None => Annotation::Other,
            Some(text) => match leading_number(text) {
                (Some(second), b"\r\n") => Annotation::Timestamp(second),
                // Nothing at all counts as before everything.
                (None, b"\r\n") => Annotation::Timestamp(0),
                _ => Annotation::Unreadable,
            },
        };
        while !self.line.ends_with(b"\n") && self.peek()?.is_some() {
            self.read_line()?;
        }
        Ok(annotation)
    }

    /// Passes over a command. Returns the beginning of its name.
    fn command(&mut self) -> io::Result<Result<Vec<u8>, Fault>> {
        let begin = self.offset;
        let mut name = None;
        let mut text = String::new();
        let parsed = self.arguments(&mut |index, argument| match index {
            0 => {
                text = shown(&argument);
                name = Some(argument);
            }
            1 => text = format!("{text} \"{}\"", shown(&argument)),
            _ => {}
        })?;
        Ok(match (parsed, name) {
            (Ok(()), Some(name)) => Ok(name),
            (Ok(()), None) => unreachable!("a command without arguments is a fault"),
            (Err(fault), Some(_)) => Err(Fault { within: Some((begin, text)), ..fault }),
            (Err(fault), None) => Err(fault),
        })
    }

    fn arguments(&mut self, visit: &mut impl FnMut(i64, Vec<u8>)) -> io::Result<Result<(), Fault>> {
        let begin = self.offset;
        let count = match self.number(b'*', "the number of a command's arguments")? {
            Ok(count) => count,
            Err(fault) => return Ok(Err(fault)),
        };
        // Redis's tool takes it for a command; its server, and this one, refuse to load such a file.
        if count < 1 {
            return Ok(Err(wrong(begin, format!("expected a command with arguments, found one with {count}"))));
        }
        for index in 0..count {
            let length_at = self.offset;
            let length = match self.number(b'$', "the length of an argument")? {
                Ok(length) => length,
                Err(fault) => return Ok(Err(fault)),
            };
            let Ok(length) = u64::try_from(length) else {
                return Ok(Err(wrong(length_at, format!("expected the length of an argument, found {length}"))));
            };
            let mut kept = Vec::new();
            let kept_len = if index < 2 { length.min(KEPT_BYTES_MAX) } else { 0 };
            let taken = (&mut self.source).take(kept_len).read_to_end(&mut kept)? as u64;
            self.offset += taken;
            self.lines += memchr::memchr_iter(b'\n', &kept).count() as u64;
            if taken == kept_len {
                visit(index, kept);
            }
            let missing = length - taken - self.skip(length - taken)?;
            if missing > 0 {
                let what = format!(
                    "expected {length} bytes of an argument, found the end of the file after {}",
                    length - missing
                );
                return Ok(Err(Fault { offset: self.offset, what, within: None, is_truncated: true }));
            }
            let end_at = self.offset;
            let mut end = Vec::new();
            self.offset += (&mut self.source).take(2).read_to_end(&mut end)? as u64;
            self.lines += u64::from(end.ends_with(b"\n"));
            if end != b"\r\n" {
                let what = format!("expected CR LF behind an argument of {length} bytes, found {}", found(&end));
                return Ok(Err(Fault { offset: end_at, what, within: None, is_truncated: b"\r\n".starts_with(&end) }));
            }
        }
        Ok(Ok(()))
    }

    /// A line of one number.
    fn number(&mut self, mark: u8, what: &str) -> io::Result<Result<i64, Fault>> {
        let begin = self.offset;
        self.read_line()?;
        let is_cut = !self.line.ends_with(b"\n") && self.peek()?.is_none();
        let number = match self.line.split_first() {
            Some((&first, text)) if first == mark => match leading_number(text) {
                (number, b"\r\n") => Some(number.unwrap_or(0)),
                _ => None,
            },
            _ => None,
        };
        Ok(number.ok_or_else(|| {
            let expected = format!("expected '{}', {what}, CR LF", mark as char);
            Fault {
                offset: begin,
                what: format!("{expected}; found {}", found(&self.line)),
                within: None,
                is_truncated: is_cut && self.line.first().is_none_or(|&first| first == mark),
            }
        }))
    }

    /// Passes over so many bytes. Returns how many there were.
    fn skip(&mut self, len: u64) -> io::Result<u64> {
        let mut left = len;
        while left > 0 && self.peek()?.is_some() {
            let bytes = self.source.fill_buf()?;
            let bytes = &bytes[..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            let count = bytes.len();
            self.lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
            self.source.consume(count);
            self.offset += count as u64;
            left -= count as u64;
        }
        Ok(len - left)
    }
}

fn wrong(offset: u64, what: String) -> Fault {
    Fault { offset, what, within: None, is_truncated: false }
}

fn found(bytes: &[u8]) -> String {
    if bytes.is_empty() { "the end of the file".to_owned() } else { format!("\"{}\"", shown(bytes)) }
}

/// A number as C's `strtoll` reads it, if there is one, and what follows.
fn leading_number(text: &[u8]) -> (Option<i64>, &[u8]) {
    // CR LF is white space to C too, but there a number has ended.
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let (is_negative, digits) = match &text[blanks..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if len == 0 {
        return (None, text);
    }
    let magnitude = digits[..len]
        .iter()
        .fold(0i64, |number, digit| number.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    (Some(if is_negative { -magnitude } else { magnitude }), &digits[len..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n";
    const MULTI: &str = "*1\r\n$5\r\nMULTI\r\n";

    /// In buffers of every size, so that no boundary matters.
    fn scanned(text: &str) -> Scan {
        let of = |capacity| {
            let source = io::BufReader::with_capacity(capacity, text.as_bytes());
            scan(source, 0, None).expect("memory can be read")
        };
        let whole = of(1 << 16);
        for capacity in [1, 2, 3, 7] {
            assert_eq!(format!("{:?}", of(capacity)), format!("{whole:?}"), "{capacity} bytes at a time");
        }
        whole
    }

    fn fault(text: &str) -> Fault {
        match scanned(text).end {
            End::Fault(fault) => fault,
            end => panic!("{text:?}: {end:?}"),
        }
    }

    #[test]
    fn says_what_it_expected_where_and_in_which_command() {
        for (tail, offset, what, within) in [
            (
                "*3\r\n$3\r\nSET\r\n$2\r\nab",
                46,
                "expected CR LF behind an argument of 2 bytes, found the end of the file",
                Some("SET \"ab\""),
            ),
            (
                "*3\r\n$3\r\nSET\r\n$9\r\nab",
                46,
                "expected 9 bytes of an argument, found the end of the file after 2",
                Some("SET"),
            ),
            (
                "*3\r\n$3\r\nSET\r\n",
                40,
                "expected '$', the length of an argument, CR LF; found the end of the file",
                Some("SET"),
            ),
            ("*2\r\n$3\r\nDEL\r\n!", 40, "expected '$', the length of an argument, CR LF; found \"!\"", Some("DEL")),
            ("*0\r\n", 27, "expected a command with arguments, found one with 0", None),
            ("*1\r\n$-1\r\n", 31, "expected the length of an argument, found -1", None),
            ("\0\0", 27, "expected '*', the number of a command's arguments, CR LF; found \"\\x00\\x00\"", None),
        ] {
            let fault = fault(&format!("{SET}{tail}"));
            assert_eq!((fault.offset, fault.what.as_str()), (offset, what));
            assert_eq!(fault.within.as_ref().map(|(at, text)| (*at, text.as_str())), within.map(|text| (27, text)));
        }
    }

    #[test]
    fn an_open_transaction_is_no_part_of_what_is_valid() {
        let scan = scanned(&format!("{SET}{MULTI}{SET}"));
        assert_eq!((scan.valid_bytes, scan.valid_lines, scan.commands), (SET.len() as u64, 8, 3));
        assert!(matches!(scan.end, End::Fault(Fault { is_truncated: true, within: Some((27, _)), .. })));
        assert_eq!(fault(&format!("{MULTI}{MULTI}")).what, "MULTI within a transaction");
        assert_eq!(fault("*1\r\n$4\r\nexec\r\n").what, "EXEC without MULTI");
    }

    #[test]
    fn a_timestamp_cuts_between_units() {
        let text = format!("#TS:100\r\n{SET}{MULTI}#TS:104\r\n{SET}*1\r\n$4\r\nEXEC\r\n#TS:110\r\n{SET}");
        for (max, valid_bytes) in [(99, 0), (100, 36), (103, 36), (109, text.len() - 36), (110, text.len())] {
            let scan = scan(text.as_bytes(), 0, Some(max)).expect("memory can be read");
            assert_eq!(scan.valid_bytes, valid_bytes as u64, "{max}");
            assert_eq!(matches!(scan.end, End::Whole), max == 110);
        }
    }
}

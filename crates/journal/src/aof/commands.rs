//! Reading commands back, unit by unit.
//!
//! ```text
//! #TS:1700000000\r\n                   an annotation: the second of what follows
//! *3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n    a unit of one command
//! *1 MULTI  *2 …  *3 …  *1 EXEC        a unit of several
//! *1 MULTI  *2 …                       cut off: it has not happened
//! ```
//!
//! A unit is handed out when it is there as a whole. Memory grows with what the file holds, never with what it announces. What is accepted was
//! observed with Redis 8.2: lines may end without CR, numbers are read as far as they are some, the two bytes behind an
//! argument are skipped unseen, EXEC without MULTI and MULTI within MULTI count for nothing.
//!
//! Unlike Redis, a file that ends in the middle of a command *within* a transaction is cut before its MULTI. Redis cuts it before that command, and goes on to write
//! behind half a transaction.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use super::system_text;

const BUFFER_BYTES: usize = 1 << 20;
/// A line holds one number. Redis reads as much.
const LINE_BYTES_MAX: usize = 127;

/// Whether a file that begins so is a snapshot. Behind one there may be commands.
pub fn is_rdb(beginning: &[u8]) -> bool {
    beginning.starts_with(b"REDIS") || beginning.starts_with(b"VALKEY")
}

/// Why reading ended before the end.
#[derive(Debug)]
pub struct LoadError {
    pub kind: LoadErrorKind,
    /// Where in the file.
    pub offset: u64,
    /// Where the last whole unit ends: what to cut the file to.
    pub valid_bytes: u64,
}

#[derive(Debug)]
pub enum LoadErrorKind {
    /// It ends in the middle of a unit; of a transaction that has begun, if so said. `aof-load-truncated` forgives it in the last file.
    Truncated {
        in_transaction: bool,
    },
    Malformed(&'static str),
    Io(io::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadError { kind, offset, valid_bytes } = self;
        match kind {
            LoadErrorKind::Truncated { in_transaction: false } => {
                write!(f, "the file ends at offset {offset}, within the command that begins at {valid_bytes}")
            }
            LoadErrorKind::Truncated { in_transaction: true } => {
                write!(f, "the file ends at offset {offset}, within the transaction that begins at {valid_bytes}")
            }
            LoadErrorKind::Malformed(what) => write!(f, "{what} at offset {offset}; it is sound up to {valid_bytes}"),
            LoadErrorKind::Io(error) => write!(f, "cannot be read at offset {offset}: {}", system_text(error)),
        }
    }
}

impl std::error::Error for LoadError {}

impl LoadError {
    /// Why the server does not start: Redis's advice, and what Redis does not say.
    pub fn refusal(&self, name: &str) -> String {
        match &self.kind {
            LoadErrorKind::Truncated { .. } => format!(
                "Unexpected end of file reading the append only file {name}. You can: 1) Make a backup of your AOF file, then use \
                 ./redis-check-aof --fix <filename.manifest>. 2) Alternatively you can set the 'aof-load-truncated' configuration \
                 option to yes and restart the server. ({self})"
            ),
            LoadErrorKind::Malformed(_) => format!(
                "Bad file format reading the append only file {name}: make a backup of your AOF file, then use \
                 ./redis-check-aof --fix <filename.manifest> ({self})"
            ),
            LoadErrorKind::Io(_) => format!("Unrecoverable error reading the append only file {name}: {self}"),
        }
    }
}

/// The commands of a file.
pub struct Commands<R> {
    source: R,
    buffer: Vec<u8>,
    /// What was read lies before this, in `buffer`.
    filled: usize,
    /// The unit that was handed out last, or is being read, begins here.
    begin: usize,
    /// Its length.
    length: usize,
    /// The offset of the buffer's first byte in the file.
    offset: u64,
    is_at_end: bool,
    /// The arguments of the unit's commands, relative to `begin`.
    args: Vec<Range<usize>>,
    /// Behind the last argument of each command.
    command_ends: Vec<usize>,
    timestamp: Option<u64>,
}

/// More bytes are needed: so many in all, from the unit's beginning.
struct Incomplete {
    needed: usize,
}

enum Parsed {
    Incomplete(Incomplete),
    Malformed(usize, &'static str),
}

enum Item {
    Command,
    Annotation,
}

impl<R: Read> Commands<R> {
    /// Reads from `offset` on, where the source is already.
    pub fn new(source: R, offset: u64) -> Commands<R> {
        Commands {
            source,
            buffer: vec![0; BUFFER_BYTES],
            filled: 0,
            begin: 0,
            length: 0,
            offset,
            is_at_end: false,
            args: Vec::new(),
            command_ends: Vec::new(),
            timestamp: None,
        }
    }

    /// The next unit; none at the end.
    ///
    /// # Errors
    /// The file is cut off, is no append-only file from here on, or cannot be read.
    pub fn next_unit(&mut self) -> Result<Option<Unit<'_>>, LoadError> {
        if !self.parse_unit()? {
            return Ok(None);
        }
        Ok(Some(Unit { bytes: &self.buffer[self.begin..], args: &self.args, command_ends: &self.command_ends }))
    }

    /// Where the last unit that was handed out ends.
    pub fn valid_bytes(&self) -> u64 {
        self.offset + (self.begin + self.length) as u64
    }

    /// The second of the last annotation so far.
    pub fn timestamp(&self) -> Option<u64> {
        self.timestamp
    }

    fn parse_unit(&mut self) -> Result<bool, LoadError> {
        self.pass();
        let mut at = 0;
        let mut in_transaction = false;
        loop {
            let args_before = self.args.len();
            match parse_item(&self.buffer[self.begin..self.filled], &mut at, &mut self.args) {
                Ok(Item::Annotation) => {
                    self.note_annotation(at);
                    if !in_transaction {
                        self.length = at;
                        self.pass();
                        at = 0;
                    }
                }
                Ok(Item::Command) => match self.bracket(args_before) {
                    Some(b"MULTI") if in_transaction => self.args.truncate(args_before),
                    Some(b"MULTI") => {
                        self.args.truncate(args_before);
                        in_transaction = true;
                    }
                    Some(_) => {
                        self.args.truncate(args_before);
                        self.length = at;
                        if in_transaction && !self.command_ends.is_empty() {
                            return Ok(true);
                        }
                        // An empty transaction, or the end of none.
                        self.pass();
                        at = 0;
                        in_transaction = false;
                    }
                    None => {
                        self.command_ends.push(self.args.len());
                        if !in_transaction {
                            self.length = at;
                            return Ok(true);
                        }
                    }
                },
                Err(Parsed::Incomplete(Incomplete { needed })) => {
                    self.args.truncate(args_before);
                    let before = self.filled - self.begin;
                    self.fill(needed.max(before + 1))?;
                    let have = self.filled - self.begin;
                    if have < needed {
                        if have == 0 {
                            return Ok(false);
                        }
                        let kind = LoadErrorKind::Truncated { in_transaction };
                        return Err(self.error(kind, have));
                    }
                }
                Err(Parsed::Malformed(position, what)) => {
                    return Err(self.error(LoadErrorKind::Malformed(what), position));
                }
            }
        }
    }

    /// Leaves the unit behind.
    fn pass(&mut self) {
        self.begin += self.length;
        self.length = 0;
        self.args.clear();
        self.command_ends.clear();
    }

    /// MULTI or EXEC, if the command whose arguments begin at `first` is one.
    #[inline]
    fn bracket(&self, first: usize) -> Option<&'static [u8]> {
        let [name] = &self.args[first..] else { return None };
        let name = &self.buffer[self.begin + name.start..self.begin + name.end];
        [&b"MULTI"[..], &b"EXEC"[..]].into_iter().find(|bracket| name.eq_ignore_ascii_case(bracket))
    }

    /// The annotation that ends at `end`: `#TS:1700000000`.
    fn note_annotation(&mut self, end: usize) {
        let unit = &self.buffer[self.begin..self.begin + end];
        let line = unit.trim_ascii_end();
        let begin = memchr::memrchr(b'\n', line).map_or(0, |newline| newline + 1);
        if let Some(second) = line[begin..].strip_prefix(b"#TS:") {
            self.timestamp = std::str::from_utf8(second).ok().and_then(|text| text.parse().ok()).or(self.timestamp);
        }
    }

    fn error(&self, kind: LoadErrorKind, position: usize) -> LoadError {
        LoadError { kind, offset: self.offset + (self.begin + position) as u64, valid_bytes: self.valid_bytes() }
    }

    /// Reads until there are `needed` bytes from the unit's beginning, or the file ends.
    fn fill(&mut self, needed: usize) -> Result<(), LoadError> {
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.filled, 0);
            self.offset += self.begin as u64;
            self.filled -= self.begin;
            self.begin = 0;
        }
        while self.filled < needed && !self.is_at_end {
            if self.filled == self.buffer.len() {
                // Doubling what is full of the file's own bytes, whatever it announces.
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            match self.source.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.is_at_end = true,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(LoadErrorKind::Io(error), self.filled)),
            }
        }
        Ok(())
    }
}

/// Parses a command or an annotation at `at`, which moves behind it.
fn parse_item(bytes: &[u8], at: &mut usize, args: &mut Vec<Range<usize>>) -> Result<Item, Parsed> {
    let Some(&first) = bytes.get(*at) else { return Err(incomplete(*at + 1)) };
    if first == b'#' {
        return match memchr::memchr(b'\n', &bytes[*at..]) {
            Some(length) => {
                *at += length + 1;
                Ok(Item::Annotation)
            }
            None => Err(incomplete(bytes.len() + 1)),
        };
    }
    let mut next = *at;
    let count = parse_line(bytes, &mut next, b'*', "no command")?;
    if count < 1 {
        return Err(Parsed::Malformed(*at, "a command without arguments"));
    }
    for _ in 0..count {
        let begin = next;
        let length = parse_line(bytes, &mut next, b'$', "no argument")?;
        let Ok(length) = usize::try_from(length) else { return Err(Parsed::Malformed(begin, "a negative length")) };
        let end = next.saturating_add(length);
        if bytes.len() < end.saturating_add(2) {
            return Err(incomplete(end.saturating_add(2)));
        }
        args.push(next..end);
        next = end + 2;
    }
    *at = next;
    Ok(Item::Command)
}

fn incomplete(needed: usize) -> Parsed {
    Parsed::Incomplete(Incomplete { needed })
}

/// Parses a line that begins with `kind` and a number.
#[inline]
fn parse_line(bytes: &[u8], at: &mut usize, kind: u8, what: &'static str) -> Result<i64, Parsed> {
    let line = &bytes[*at..];
    match line.first() {
        Some(&first) if first == kind => {}
        Some(_) => return Err(Parsed::Malformed(*at, what)),
        None => return Err(incomplete(*at + 1)),
    }
    // What is written by servers: up to nine digits, CR, LF.
    let mut number = 0;
    for (index, &byte) in line.iter().enumerate().skip(1).take(9) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            if byte == b'\r' && index > 1 && line.get(index + 1) == Some(&b'\n') {
                *at += index + 2;
                return Ok(number);
            }
            break;
        }
        number = number * 10 + i64::from(digit);
    }
    parse_odd_line(bytes, at, what)
}

/// Any other line that Redis understands.
#[cold]
fn parse_odd_line(bytes: &[u8], at: &mut usize, what: &'static str) -> Result<i64, Parsed> {
    let line = &bytes[*at..];
    let length = match memchr::memchr(b'\n', &line[..line.len().min(LINE_BYTES_MAX)]) {
        Some(length) => length,
        None if line.len() < LINE_BYTES_MAX => return Err(incomplete(bytes.len() + 1)),
        None => return Err(Parsed::Malformed(*at, what)),
    };
    let text = line[1..length].trim_ascii_start();
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let number = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0i64, |number, digit| number.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    *at += length + 1;
    Ok(if is_negative { -number } else { number })
}

/// Commands that happened at once.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    bytes: &'a [u8],
    args: &'a [Range<usize>],
    command_ends: &'a [usize],
}

impl<'a> Unit<'a> {
    /// The commands, without MULTI and EXEC; at least one.
    pub fn commands(&self) -> impl ExactSizeIterator<Item = Arguments<'a>> + use<'a> {
        let (bytes, args, ends) = (self.bytes, self.args, self.command_ends);
        (0..ends.len()).map(move |index| {
            let begin = if index == 0 { 0 } else { ends[index - 1] };
            Arguments { bytes, args: &args[begin..ends[index]] }
        })
    }
}

/// A command's name and arguments; at least one.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    bytes: &'a [u8],
    args: &'a [Range<usize>],
}

impl<'a> Arguments<'a> {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        self.args.iter().map(move |range| &bytes[range.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that gives a few bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    /// What is read, as `SET a 1; DEL b | …`, and how it ends.
    fn read_by(text: &str, step: usize) -> (String, Result<u64, LoadError>) {
        let mut commands = Commands::new(Trickle(text.as_bytes(), step), 0);
        let mut units = Vec::new();
        loop {
            match commands.next_unit() {
                Ok(Some(unit)) => {
                    let words = |command: Arguments<'_>| {
                        let words: Vec<_> = command.iter().map(String::from_utf8_lossy).collect();
                        words.join(" ")
                    };
                    units.push(unit.commands().map(words).collect::<Vec<_>>().join("; "));
                }
                Ok(None) => return (units.join(" | "), Ok(commands.valid_bytes())),
                Err(error) => return (units.join(" | "), Err(error)),
            }
        }
    }

    fn read(text: &str) -> (String, Result<u64, LoadError>) {
        let whole = read_by(text, usize::MAX);
        for step in [1, 2, 7] {
            let part = read_by(text, step);
            assert_eq!(
                (&part.0, format!("{:?}", part.1)),
                (&whole.0, format!("{:?}", whole.1)),
                "{step} bytes at a time"
            );
        }
        whole
    }

    const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n";
    const MULTI: &str = "*1\r\n$5\r\nMULTI\r\n";
    const EXEC: &str = "*1\r\n$4\r\nexec\r\n";

    #[test]
    fn units() {
        let text = format!("{SET}{MULTI}{SET}{SET}{EXEC}#TS:5\r\n{SET}");
        let (units, end) = read(&text);
        assert_eq!(units, "SET b 2 | SET b 2; SET b 2 | SET b 2");
        assert_eq!(end.unwrap(), text.len() as u64);
    }

    /// Each observed with Redis 8.2.
    #[test]
    fn what_redis_reads() {
        for (text, units) in [
            (String::new(), ""),
            (format!("{MULTI}{MULTI}{SET}{EXEC}{SET}"), "SET b 2 | SET b 2"),
            (format!("{EXEC}{SET}"), "SET b 2"),
            (format!("{MULTI}{EXEC}{SET}"), "SET b 2"),
            (format!("*1x\r\n$4\r\nPING\r\n{SET}"), "PING | SET b 2"),
            (format!("*1\r\n$4\r\nPINGxx{SET}"), "PING | SET b 2"),
            (format!("*1\n$4\nPING\r\n{SET}"), "PING | SET b 2"),
            (format!("#TS:123\r\n#hello\r\n#TS:12\n#{}\r\n{SET}", "x".repeat(300)), "SET b 2"),
        ] {
            let (read, end) = read(&text);
            assert_eq!((read.as_str(), end.unwrap()), (units, text.len() as u64), "{text:?}");
        }
    }

    #[test]
    fn what_is_cut_off_has_not_happened() {
        for (tail, is_transaction) in [
            (&SET[..SET.len() - 4], false),
            (&SET[..SET.len() - 1], false),
            (&SET[..1], false),
            ("#TS:12", false),
            ("*1\r\n$99999999999\r\nx\r\n", false),
            (&format!("{MULTI}{SET}"), true),
            (&format!("{MULTI}{SET}{}", &SET[..5]), true),
            (&format!("{MULTI}{SET}*1\r\n$7\r\nDISCARD\r\n"), true),
        ] {
            let (units, end) = read(&format!("{SET}{tail}"));
            assert_eq!(units, "SET b 2");
            let error = end.unwrap_err();
            assert!(
                matches!(error.kind, LoadErrorKind::Truncated { in_transaction } if in_transaction == is_transaction),
                "{tail:?}: {error}"
            );
            assert_eq!((error.valid_bytes, error.offset), (SET.len() as u64, (SET.len() + tail.len()) as u64));
        }
    }

    #[test]
    fn what_is_no_append_only_file() {
        for (tail, what) in [
            ("hello\r\n", "no command"),
            ("*1\r\nx4\r\nEXEC\r\n", "no argument"),
            ("*0\r\n", "a command without arguments"),
            ("*-1\r\n", "a command without arguments"),
            ("*2000000000\r\n*1\r\n", "no argument"),
            ("*1\r\n$-1\r\n", "a negative length"),
            ("\0\0\0\0", "no command"),
        ] {
            let (units, end) = read(&format!("{SET}{tail}{SET}"));
            assert_eq!(units, "SET b 2");
            let error = end.unwrap_err();
            assert!(matches!(error.kind, LoadErrorKind::Malformed(found) if found == what), "{tail:?}: {error}");
            assert_eq!(error.valid_bytes, SET.len() as u64);
        }
    }

    #[test]
    fn arguments_longer_than_the_buffer() {
        let value = "x".repeat(5 * BUFFER_BYTES + 3);
        let text = format!("{SET}*2\r\n$3\r\nGET\r\n${}\r\n{value}\r\n{SET}", value.len());
        let (units, end) = read_by(&text, 100_000);
        assert_eq!(units, format!("SET b 2 | GET {value} | SET b 2"));
        assert_eq!(end.unwrap(), text.len() as u64);
    }
}

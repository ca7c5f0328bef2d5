//! The manifest: which files, in which order, are the append-only file.
//!
//! ```text
//! # a comment
//! file appendonly.aof.2.base.rdb seq 2 type b                  the data set at some instant
//! file appendonly.aof.7.incr.aof seq 7 type i                  what was changed since, in ascending order of `seq`
//! file appendonly.aof.8.incr.aof seq 8 type i startoffset 7
//! file appendonly.aof.6.incr.aof seq 6 type h                  history: replaced, to be deleted
//! ```
//!
//! Words as in Redis's configuration files: a name with odd characters stands in quotes. What is accepted and what is said about the rest was
//! observed with Redis 8.2 and Valkey 9.1 (`tests/real_servers.rs`): keys in any order and case, unknown keys ignored, a number
//! read as far as it is one.

use std::fmt;
use std::fmt::Write as _;

/// What Redis reads of a line, newline included.
const LINE_BYTES_MAX: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    Base,
    Incremental,
    History,
}

impl FileType {
    fn letter(self) -> char {
        match self {
            FileType::Base => 'b',
            FileType::Incremental => 'i',
            FileType::History => 'h',
        }
    }
}

/// One file of the append-only file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As bytes: file names need not be UTF-8.
    pub name: Vec<u8>,
    pub sequence: u64,
    /// The replication offsets that Redis notes, kept as they are.
    pub start_offset: Option<i64>,
    pub end_offset: Option<i64>,
}

impl Entry {
    pub fn new(name: impl Into<Vec<u8>>, sequence: u64) -> Entry {
        Entry { name: name.into(), sequence, start_offset: None, end_offset: None }
    }

    /// Its name for people.
    pub fn display_name(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

/// All files of the append-only file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub base: Option<Entry>,
    /// In ascending order of their numbers.
    pub incremental: Vec<Entry>,
    /// Replaced, and perhaps deleted already.
    pub history: Vec<Entry>,
}

/// What is wrong with a manifest, in Redis's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// The line, from 1, and its text; none where the file as a whole is wrong.
    pub line: Option<(usize, Vec<u8>)>,
    pub what: &'static str,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((number, text)) = &self.line {
            write!(f, "Reading the manifest file, at line {number}\n>>> '{}'\n", String::from_utf8_lossy(text))?;
        }
        f.write_str(self.what)
    }
}

impl std::error::Error for ManifestError {}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// What Redis says, with the line it says it of.
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        if text.is_empty() {
            return Err(ManifestError { line: None, what: "Found an empty AOF manifest" });
        }
        let mut manifest = Manifest::default();
        for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if line.starts_with(b"#") {
                continue;
            }
            // Redis says the same of a line that does not end.
            let line = match line.strip_suffix(b"\n") {
                Some(line) if line.len() < LINE_BYTES_MAX && !line.contains(&0) => line.trim_ascii(),
                _ => return Err(ManifestError { line: None, what: "The AOF manifest file contains too long line" }),
            };
            manifest.add_line(line).map_err(|what| ManifestError { line: Some((index + 1, line.to_vec())), what })?;
        }
        Ok(manifest)
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        const INVALID: &str = "Invalid AOF manifest file format";
        let words = split_words(line).ok_or(INVALID)?;
        if words.len() < 6 || !words.len().is_multiple_of(2) {
            return Err(INVALID);
        }
        let mut entry = Entry::new(Vec::new(), 0);
        let (mut sequence, mut kind) = (0, 0);
        for pair in words.chunks_exact(2) {
            let value = &pair[1];
            match pair[0].to_ascii_lowercase().as_slice() {
                b"file" if value.contains(&b'/') => return Err("File can't be a path, just a filename"),
                b"file" => entry.name.clone_from(value),
                b"seq" => sequence = leading_number(value),
                b"type" => kind = value.first().copied().unwrap_or(0),
                b"startoffset" => entry.start_offset = Some(leading_number(value)),
                b"endoffset" => entry.end_offset = Some(leading_number(value)),
                _ => {}
            }
        }
        if entry.name.is_empty() || sequence == 0 || kind == 0 {
            return Err(INVALID);
        }
        const NOT_MONOTONIC: &str = "Found a non-monotonic sequence number";
        entry.sequence = u64::try_from(sequence).map_err(|_| NOT_MONOTONIC)?;
        match kind {
            b'b' if self.base.is_some() => return Err("Found duplicate base file information"),
            b'b' => self.base = Some(entry),
            b'h' => self.history.push(entry),
            b'i' if self.incremental.last().is_some_and(|last| last.sequence >= entry.sequence) => {
                return Err(NOT_MONOTONIC);
            }
            b'i' => self.incremental.push(entry),
            _ => return Err("Unknown AOF file type"),
        }
        Ok(())
    }

    /// Whether what [`encode`](Self::encode) says can be read again: a name of many characters that have to be escaped makes a line too long.
    pub fn is_readable(text: &[u8]) -> bool {
        text.split_inclusive(|&byte| byte == b'\n').all(|line| line.len() < LINE_BYTES_MAX)
    }

    /// Its text, in Redis's order.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for (entry, kind) in (self.base.iter().map(|entry| (entry, FileType::Base)))
            .chain(self.history.iter().map(|entry| (entry, FileType::History)))
            .chain(self.incremental.iter().map(|entry| (entry, FileType::Incremental)))
        {
            text.extend_from_slice(b"file ");
            push_word(&mut text, &entry.name);
            let mut rest = String::new();
            let _ = write!(rest, " seq {} type {}", entry.sequence, kind.letter());
            for (key, offset) in [("startoffset", entry.start_offset), ("endoffset", entry.end_offset)] {
                if let Some(offset) = offset {
                    let _ = write!(rest, " {key} {offset}");
                }
            }
            text.extend_from_slice(rest.as_bytes());
            text.push(b'\n');
        }
        text
    }

    /// Whether it names no file to load.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incremental.is_empty()
    }
}

/// As C's `strtoll` reads a number: blanks, a sign, digits, and whatever comes then is not looked at.
fn leading_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let magnitude = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0i64, |number, digit| number.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    if is_negative { -magnitude } else { magnitude }
}

/// Writes a word so that [`split_words`] reads it back, in quotes only where it needs them.
fn push_word(text: &mut Vec<u8>, word: &[u8]) {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if !word.is_empty() && word.iter().all(is_plain) {
        return text.extend_from_slice(word);
    }
    text.push(b'"');
    for &byte in word {
        match byte {
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', byte]),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            b' '..=b'~' => text.push(byte),
            _ => text.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    text.push(b'"');
}

/// Splits a line as Redis's configuration does: `"…"` with escapes, `'…'` with `\'` alone. None where quotes do not close, or something follows a
/// closing quote immediately.
fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while let Some(&first) = rest.first() {
        let mut word = Vec::new();
        if first != b'"' && first != b'\'' {
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            // A quote in the middle of a word opens one too: rare enough to be refused.
            if rest[..end].iter().any(|byte| matches!(byte, b'"' | b'\'')) {
                return None;
            }
            word.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        } else {
            rest = &rest[1..];
            loop {
                match (first, rest) {
                    (_, [byte, after @ ..]) if *byte == first => {
                        rest = after;
                        break;
                    }
                    (b'"', [b'\\', b'x', high, low, after @ ..])
                        if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
                    {
                        let digit = |byte: u8| (byte as char).to_digit(16).expect("asked above") as u8;
                        word.push(digit(*high) << 4 | digit(*low));
                        rest = after;
                    }
                    (b'"', [b'\\', byte, after @ ..]) => {
                        word.push(match byte {
                            b'n' => b'\n',
                            b'r' => b'\r',
                            b't' => b'\t',
                            b'b' => 8,
                            b'a' => 7,
                            other => *other,
                        });
                        rest = after;
                    }
                    (b'\'', [b'\\', b'\'', after @ ..]) => {
                        word.push(b'\'');
                        rest = after;
                    }
                    (_, [byte, after @ ..]) => {
                        word.push(*byte);
                        rest = after;
                    }
                    (_, []) => return None,
                }
            }
            if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                return None;
            }
        }
        words.push(word);
        rest = rest.trim_ascii_start();
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Manifest::parse(text.as_bytes()).unwrap_err().what.to_owned()
    }

    #[test]
    fn what_redis_writes_is_read_and_written_again() {
        let text = "file appendonly.aof.2.base.rdb seq 2 type b\n\
                    file appendonly.aof.1.base.rdb seq 1 type h\n\
                    file \"a b\\\"c.7.incr.aof\" seq 7 type i\n\
                    file appendonly.aof.8.incr.aof seq 8 type i startoffset 7 endoffset 12\n";
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.incremental[0].name, b"a b\"c.7.incr.aof");
        assert_eq!(manifest.incremental[1].end_offset, Some(12));
        assert_eq!(String::from_utf8(manifest.encode()).unwrap(), text);
    }

    #[test]
    fn names_of_any_bytes_survive() {
        let name: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect();
        let manifest = Manifest { base: Some(Entry::new(name, 1)), ..Manifest::default() };
        assert_eq!(Manifest::parse(&manifest.encode()), Ok(manifest));
    }

    /// Each observed with Redis 8.2.
    #[test]
    fn what_redis_accepts() {
        for text in [
            "file a seq 1 type i\n",
            "# hi\nfile a seq 1 type i\n",
            "file a seq 1 type i\r\n",
            "  file   a  seq 1   type i  \n",
            "FILE a SEQ 1 TYPE i\n",
            "seq 1 type i file a\n",
            "file a seq 1 type i wonder 7\n",
            "file a seq 1x type i\n",
            "file a seq 1 type incr\n",
            "file x file a seq 1 type i\n",
            "file a seq 1 type i startoffset x\n",
            "file \"a\" seq 1 type i\n",
        ] {
            let manifest = Manifest::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!((manifest.incremental[0].name.as_slice(), manifest.incremental[0].sequence), (&b"a"[..], 1));
        }
        assert!(Manifest::parse(b"# hi\n").unwrap().is_empty());
        assert_eq!(Manifest::parse(b"file b seq 1 type b\nfile a seq 1 type h\n").unwrap().history.len(), 1);
    }

    /// Each observed with Redis 8.2.
    #[test]
    fn what_redis_refuses() {
        const INVALID: &str = "Invalid AOF manifest file format";
        const NOT_MONOTONIC: &str = "Found a non-monotonic sequence number";
        const TOO_LONG: &str = "The AOF manifest file contains too long line";
        let long = format!("file {} seq 1 type i\n", "x".repeat(1100));
        for (text, what) in [
            ("", "Found an empty AOF manifest"),
            ("\nfile a seq 1 type i\n", INVALID),
            ("file a seq 1 type i", TOO_LONG),
            (&long, TOO_LONG),
            ("file a\0b seq 1 type i\n", TOO_LONG),
            ("file a seq 1 type I\n", "Unknown AOF file type"),
            ("file a seq 1 type x\n", "Unknown AOF file type"),
            ("file a seq 1 type\n", INVALID),
            ("file a seq 1\n", INVALID),
            ("file a seq 0 type i\n", INVALID),
            ("file a seq x type i\n", INVALID),
            ("file a seq -1 type i\n", NOT_MONOTONIC),
            ("file ../a seq 1 type i\n", "File can't be a path, just a filename"),
            ("file \"a seq 1 type i\n", INVALID),
            ("file a seq 1 type b\nfile b seq 2 type b\n", "Found duplicate base file information"),
            ("file a seq 1 type i\nfile a seq 1 type i\n", NOT_MONOTONIC),
            ("file b seq 2 type i\nfile a seq 1 type i\n", NOT_MONOTONIC),
        ] {
            assert_eq!(error(text), what, "{text:?}");
        }
        let error = Manifest::parse(b"file b seq 1 type b\nfile a seq 1 type I\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Reading the manifest file, at line 2\n>>> 'file a seq 1 type I'\nUnknown AOF file type"
        );
    }
}

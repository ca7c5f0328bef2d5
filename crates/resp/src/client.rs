//! The client's side: requests out, replies in. For tests, the command-line client, and links to other servers.

use std::fmt;

use memchr::memchr;

use crate::encode::push_header;

/// Appends a request as an array of bulks.
pub fn encode_request<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    push_header(out, b'*', args.len() as u64);
    for arg in args {
        push_header(out, b'$', arg.as_ref().len() as u64);
        out.extend_from_slice(arg.as_ref());
        out.extend_from_slice(b"\r\n");
    }
}

/// Any reply of RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    /// RESP2's `$-1`.
    NullBulk,
    /// RESP2's `*-1`.
    NullArray,
    /// RESP3's `_`.
    Null,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    /// Data about the value beside it.
    Attribute(Vec<(Value, Value)>, Box<Value>),
    /// The text as it came: it is part of what must be equal. See [`Value::as_f64`].
    Double(Vec<u8>),
    Bool(bool),
    BigNumber(Vec<u8>),
    /// Its kind (three bytes) and text.
    Verbatim([u8; 3], Vec<u8>),
    /// RESP3's `!`: an error with a length.
    BulkError(Vec<u8>),
}

impl Value {
    /// The bytes of anything that is one piece of text.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(text)
            | Value::Error(text)
            | Value::Bulk(text)
            | Value::Double(text)
            | Value::BigNumber(text)
            | Value::Verbatim(_, text)
            | Value::BulkError(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// An integer, also one that came as text.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            other => crate::number::parse_i64(other.as_bytes()?),
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Double(text) if text == b"nan" => Some(f64::NAN),
            other => crate::number::parse_f64(other.as_bytes()?),
        }
    }

    /// The elements of an array, set or push.
    pub fn elements(&self) -> Option<&[Value]> {
        match self {
            Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => Some(elements),
            _ => None,
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_) | Value::BulkError(_))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::NullBulk | Value::NullArray)
    }
}

/// The value as a person reads it, in one line, with its type visible: for failure messages.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list(f: &mut fmt::Formatter<'_>, open: &str, values: &[Value], close: char) -> fmt::Result {
            f.write_str(open)?;
            for (index, value) in values.iter().enumerate() {
                write!(f, "{}{value}", if index > 0 { ", " } else { "" })?;
            }
            write!(f, "{close}")
        }
        fn pairs(f: &mut fmt::Formatter<'_>, open: &str, pairs: &[(Value, Value)]) -> fmt::Result {
            f.write_str(open)?;
            for (index, (key, value)) in pairs.iter().enumerate() {
                write!(f, "{}{key}: {value}", if index > 0 { ", " } else { "" })?;
            }
            f.write_str("}")
        }
        match self {
            Value::Simple(text) => write!(f, "+{}", text.escape_ascii()),
            Value::Error(text) => write!(f, "-{}", text.escape_ascii()),
            Value::BulkError(text) => write!(f, "!{}", text.escape_ascii()),
            Value::Int(value) => write!(f, ":{value}"),
            Value::Bulk(text) => write!(f, "\"{}\"", text.escape_ascii()),
            Value::NullBulk => f.write_str("(nil)"),
            Value::NullArray => f.write_str("(nil array)"),
            Value::Null => f.write_str("(null)"),
            Value::Array(values) => list(f, "[", values, ']'),
            Value::Set(values) => list(f, "~[", values, ']'),
            Value::Push(values) => list(f, ">[", values, ']'),
            Value::Map(values) => pairs(f, "{", values),
            Value::Attribute(values, value) => {
                pairs(f, "|{", values)?;
                write!(f, " {value}")
            }
            Value::Double(text) => write!(f, ",{}", text.escape_ascii()),
            Value::Bool(value) => write!(f, "#{value}"),
            Value::BigNumber(text) => write!(f, "({}", text.escape_ascii()),
            Value::Verbatim(kind, text) => {
                write!(f, "={}:\"{}\"", kind.escape_ascii(), text.escape_ascii())
            }
        }
    }
}

/// Bytes that are no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyError {
    /// Where in the stream of replies, from its beginning.
    pub offset: u64,
    pub reason: &'static str,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad reply at byte {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for ReplyError {}

/// Deeper replies are refused rather than followed.
const DEPTH_MAX: usize = 512;

/// Turns the bytes of a connection into replies, however they were cut.
///
/// Aggregates under construction wait on a stack of their own, so nothing is parsed twice.
#[derive(Debug, Default)]
pub struct ReplyParser {
    buffer: Vec<u8>,
    /// Up to here the buffer has been parsed.
    at: usize,
    /// Up to here it is known to hold no line end.
    searched: usize,
    /// Bytes that were removed from the buffer's front.
    removed: u64,
    stack: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    kind: Kind,
    missing: usize,
    values: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Array,
    Map,
    Set,
    Push,
    /// Its last element is the value it is about.
    Attribute,
}

impl ReplyParser {
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes that were received.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.at > 0 && (self.at == self.buffer.len() || self.at >= 64 * 1024) {
            self.buffer.drain(..self.at);
            self.removed += self.at as u64;
            self.searched = self.searched.saturating_sub(self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that were fed and not yet parsed.
    pub fn unparsed(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Whether a reply has begun and not ended.
    pub fn is_midway(&self) -> bool {
        !self.stack.is_empty() || self.at < self.buffer.len()
    }

    /// The next whole reply, or `None` if more bytes are needed.
    pub fn next_reply(&mut self) -> Result<Option<Value>, ReplyError> {
        loop {
            let Some(mut item) = self.next_item()? else {
                return Ok(None);
            };
            // A value completes the aggregate it belongs to, and that perhaps the next one.
            while let Some(value) = item.take() {
                let Some(top) = self.stack.last_mut() else {
                    return Ok(Some(value));
                };
                top.values.push(value);
                top.missing -= 1;
                if top.missing == 0 {
                    item = self.stack.pop().map(Pending::finish);
                }
            }
        }
    }

    /// One scalar or empty aggregate (`Some(Some)`), the opening of an aggregate (`Some(None)`), or not enough bytes (`None`).
    fn next_item(&mut self) -> Result<Option<Option<Value>>, ReplyError> {
        let from = self.at.max(self.searched);
        let Some(end) = memchr(b'\n', &self.buffer[from..]).map(|end| from + end) else {
            self.searched = self.buffer.len();
            return Ok(None);
        };
        let offset = self.removed + self.at as u64;
        let fail = |reason| ReplyError { offset, reason };
        let line = self.buffer[self.at..end].strip_suffix(b"\r").ok_or(fail("a line without \\r"))?;
        let (&prefix, text) = line.split_first().ok_or(fail("an empty line"))?;
        let after = end + 1;
        let length = || crate::number::parse_i64(text).ok_or(fail("not a length"));
        let value = match prefix {
            b'+' => Value::Simple(text.to_vec()),
            b'-' => Value::Error(text.to_vec()),
            b':' => Value::Int(
                crate::number::parse_i64(text.strip_prefix(b"+").unwrap_or(text)).ok_or(fail("not an integer"))?,
            ),
            b'_' if text.is_empty() => Value::Null,
            b'#' => match text {
                b"t" => Value::Bool(true),
                b"f" => Value::Bool(false),
                _ => return Err(fail("neither #t nor #f")),
            },
            b',' => Value::Double(text.to_vec()),
            b'(' => Value::BigNumber(text.to_vec()),
            b'$' | b'=' | b'!' => {
                let length = length()?;
                if length == -1 && prefix == b'$' {
                    self.at = after;
                    return Ok(Some(Some(Value::NullBulk)));
                }
                let length = usize::try_from(length).ok().filter(|&length| length <= isize::MAX as usize / 2);
                let length = length.ok_or(fail("a length out of range"))?;
                let Some(body) = self.buffer.get(after..after + length + 2) else {
                    // The header is read again when more has come; that is one line.
                    self.searched = end;
                    return Ok(None);
                };
                let body = body.strip_suffix(b"\r\n").ok_or(fail("no line end behind a bulk"))?;
                let value = match prefix {
                    b'$' => Value::Bulk(body.to_vec()),
                    b'!' => Value::BulkError(body.to_vec()),
                    _ => match body {
                        [a, b, c, b':', text @ ..] => Value::Verbatim([*a, *b, *c], text.to_vec()),
                        _ => return Err(fail("a verbatim text without its kind")),
                    },
                };
                self.at = after + length + 2;
                self.searched = self.at;
                return Ok(Some(Some(value)));
            }
            b'*' | b'%' | b'~' | b'>' | b'|' => {
                let length = length()?;
                self.at = after;
                if length == -1 && prefix == b'*' {
                    return Ok(Some(Some(Value::NullArray)));
                }
                let length = usize::try_from(length).ok().filter(|&length| length <= isize::MAX as usize / 4);
                let length = length.ok_or(fail("a length out of range"))?;
                let (kind, missing) = match prefix {
                    b'*' => (Kind::Array, length),
                    b'~' => (Kind::Set, length),
                    b'>' => (Kind::Push, length),
                    b'%' => (Kind::Map, length * 2),
                    _ => (Kind::Attribute, length * 2 + 1),
                };
                // Room for what was announced only as far as that is cheap.
                let pending = Pending { kind, missing, values: Vec::with_capacity(missing.min(1024)) };
                if missing == 0 {
                    return Ok(Some(Some(pending.finish())));
                }
                if self.stack.len() == DEPTH_MAX {
                    return Err(fail("nested too deep"));
                }
                self.stack.push(pending);
                return Ok(Some(None));
            }
            _ => return Err(fail("an unknown type")),
        };
        self.at = after;
        Ok(Some(Some(value)))
    }
}

impl Pending {
    fn finish(mut self) -> Value {
        fn pairs(values: Vec<Value>) -> Vec<(Value, Value)> {
            let mut values = values.into_iter();
            std::iter::from_fn(|| values.next().zip(values.next())).collect()
        }
        match self.kind {
            Kind::Array => Value::Array(self.values),
            Kind::Set => Value::Set(self.values),
            Kind::Push => Value::Push(self.values),
            Kind::Map => Value::Map(pairs(self.values)),
            Kind::Attribute => {
                let value = self.values.pop().expect("an attribute ends with its value");
                Value::Attribute(pairs(self.values), Box::new(value))
            }
        }
    }
}

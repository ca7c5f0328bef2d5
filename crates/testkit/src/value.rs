//! A reply as it was on the wire: types are kept apart that clients usually fold together, because "type-exact" is what
//! the comparing harnesses check. (`$-1`, `*-1` and `_` are three different nulls; a double keeps its text.)

use std::fmt;

/// One reply, RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// `+`
    Simple(Vec<u8>),
    /// `-`
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    /// `#`
    Boolean(bool),
    /// `,` as written
    Double(String),
    /// `(` as written
    BigNumber(String),
    /// `=`: format and text
    Verbatim(String, Vec<u8>),
    /// `!`
    BulkError(Vec<u8>),
    /// `*`
    Array(Vec<Value>),
    /// `%`, in the order of the wire
    Map(Vec<(Value, Value)>),
    /// `~`, in the order of the wire
    Set(Vec<Value>),
    /// `>`
    Push(Vec<Value>),
    /// `|`, with the reply that it belongs to
    Attribute(Vec<(Value, Value)>, Box<Value>),
}

/// Bytes that are no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Where in the buffer.
    pub offset: usize,
    pub what: &'static str,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {} of the reply", self.what, self.offset)
    }
}

impl std::error::Error for DecodeError {}

impl Value {
    /// Decodes one reply from the start of `bytes`: the reply and its length, or None when it is not complete.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Value, usize)>, DecodeError> {
        let mut decoder = Decoder { bytes, at: 0 };
        Ok(decoder.value()?.map(|value| (value, decoder.at)))
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_) | Value::BulkError(_))
    }

    /// Whether it is an error with this code (its first word).
    pub fn is_error_of(&self, code: &str) -> bool {
        match self {
            Value::Error(text) | Value::BulkError(text) => {
                text.split(|&byte| byte == b' ').next() == Some(code.as_bytes())
            }
            _ => false,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::NullBulk | Value::NullArray)
    }

    /// The text of a simple string, bulk, verbatim or error.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(text)
            | Value::Bulk(text)
            | Value::Error(text)
            | Value::BulkError(text)
            | Value::Verbatim(_, text) => Some(text),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub fn integer(&self) -> Option<i64> {
        match self {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of an array, set or push.
    pub fn elements(&self) -> Option<&[Value]> {
        match self {
            Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// The pairs of a map, or of a flat array that stands for one in RESP2.
    pub fn pairs(&self) -> Option<Vec<(&Value, &Value)>> {
        match self {
            Value::Map(pairs) | Value::Attribute(pairs, _) => {
                Some(pairs.iter().map(|(key, value)| (key, value)).collect())
            }
            Value::Array(elements) if elements.len() % 2 == 0 => {
                Some(elements.chunks(2).map(|pair| (&pair[0], &pair[1])).collect())
            }
            _ => None,
        }
    }

    /// A field of a map by its text.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.pairs()?.into_iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value)
    }
}

/// For people: on one line, types visible, binary escaped.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<'a>(
            f: &mut fmt::Formatter<'_>,
            open: &str,
            items: impl Iterator<Item = &'a Value>,
            close: &str,
        ) -> fmt::Result {
            f.write_str(open)?;
            for (index, item) in items.enumerate() {
                write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
            }
            f.write_str(close)
        }
        fn pairs(f: &mut fmt::Formatter<'_>, pairs: &[(Value, Value)]) -> fmt::Result {
            f.write_str("{")?;
            for (index, (key, value)) in pairs.iter().enumerate() {
                write!(f, "{}{key}: {value}", if index == 0 { "" } else { ", " })?;
            }
            f.write_str("}")
        }
        match self {
            Value::Simple(text) => write!(f, "{}", text.escape_ascii()),
            Value::Error(text) => write!(f, "(error) {}", text.escape_ascii()),
            Value::BulkError(text) => write!(f, "(bulk error) {}", text.escape_ascii()),
            Value::Integer(number) => write!(f, "(integer) {number}"),
            Value::Bulk(text) => write!(f, "\"{}\"", text.escape_ascii()),
            Value::NullBulk => f.write_str("(nil $-1)"),
            Value::NullArray => f.write_str("(nil *-1)"),
            Value::Null => f.write_str("(nil _)"),
            Value::Boolean(value) => write!(f, "({value})"),
            Value::Double(text) => write!(f, "(double) {text}"),
            Value::BigNumber(text) => write!(f, "(big number) {text}"),
            Value::Verbatim(format, text) => write!(f, "({format}) \"{}\"", text.escape_ascii()),
            Value::Array(elements) => list(f, "[", elements.iter(), "]"),
            Value::Set(elements) => list(f, "set[", elements.iter(), "]"),
            Value::Push(elements) => list(f, "push[", elements.iter(), "]"),
            Value::Map(entries) => pairs(f, entries),
            Value::Attribute(entries, value) => {
                f.write_str("attribute")?;
                pairs(f, entries)?;
                write!(f, " {value}")
            }
        }
    }
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    fn error<T>(&self, what: &'static str) -> Result<T, DecodeError> {
        Err(DecodeError { offset: self.at, what })
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        self.at += end + 2;
        Some(&rest[..end])
    }

    fn number(&self, line: &[u8]) -> Result<i64, DecodeError> {
        match std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()) {
            Some(number) => Ok(number),
            None => self.error("no number"),
        }
    }

    fn bulk(&mut self, length: i64) -> Result<Option<&'a [u8]>, DecodeError> {
        let Ok(length) = usize::try_from(length) else { return self.error("negative length") };
        let rest = &self.bytes[self.at..];
        if rest.len() < length + 2 {
            return Ok(None);
        }
        if &rest[length..length + 2] != b"\r\n" {
            return self.error("no line end after a bulk");
        }
        self.at += length + 2;
        Ok(Some(&rest[..length]))
    }

    fn many(&mut self, count: i64) -> Result<Option<Vec<Value>>, DecodeError> {
        if count < 0 {
            return self.error("negative count");
        }
        let mut elements = Vec::new();
        for _ in 0..count {
            let Some(value) = self.value()? else { return Ok(None) };
            elements.push(value);
        }
        Ok(Some(elements))
    }

    fn pairs(&mut self, count: i64) -> Result<Option<Vec<(Value, Value)>>, DecodeError> {
        let Some(flat) = self.many(count.saturating_mul(2))? else { return Ok(None) };
        let mut flat = flat.into_iter();
        let mut pairs = Vec::new();
        while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
            pairs.push((key, value));
        }
        Ok(Some(pairs))
    }

    fn value(&mut self) -> Result<Option<Value>, DecodeError> {
        let Some(&kind) = self.bytes.get(self.at) else { return Ok(None) };
        let start = self.at;
        let Some(line) = self.line() else { return Ok(None) };
        let line = &line[1..];
        let text = || String::from_utf8_lossy(line).into_owned();
        Ok(Some(match kind {
            b'+' => Value::Simple(line.to_vec()),
            b'-' => Value::Error(line.to_vec()),
            b':' => Value::Integer(self.number(line)?),
            b',' => Value::Double(text()),
            b'(' => Value::BigNumber(text()),
            b'_' => Value::Null,
            b'#' => Value::Boolean(line == b"t"),
            b'$' if line == b"-1" => Value::NullBulk,
            b'*' if line == b"-1" => Value::NullArray,
            b'$' | b'!' | b'=' => {
                let length = self.number(line)?;
                let Some(bulk) = self.bulk(length)? else { return Ok(None) };
                match kind {
                    b'$' => Value::Bulk(bulk.to_vec()),
                    b'!' => Value::BulkError(bulk.to_vec()),
                    _ if bulk.len() >= 4 => {
                        Value::Verbatim(String::from_utf8_lossy(&bulk[..3]).into_owned(), bulk[4..].to_vec())
                    }
                    _ => return self.error("verbatim string without a format"),
                }
            }
            b'*' | b'~' | b'>' => {
                let count = self.number(line)?;
                let Some(elements) = self.many(count)? else { return Ok(None) };
                match kind {
                    b'*' => Value::Array(elements),
                    b'~' => Value::Set(elements),
                    _ => Value::Push(elements),
                }
            }
            b'%' | b'|' => {
                let count = self.number(line)?;
                let Some(pairs) = self.pairs(count)? else { return Ok(None) };
                if kind == b'%' {
                    Value::Map(pairs)
                } else {
                    let Some(value) = self.value()? else { return Ok(None) };
                    Value::Attribute(pairs, Box::new(value))
                }
            }
            _ => {
                self.at = start;
                return self.error("unknown reply type");
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_every_type_and_waits_for_the_rest() {
        let wire =
            b"*12\r\n+OK\r\n-ERR no\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n_\r\n#t\r\n,1.5e3\r\n=7\r\ntxt:abc\r\n\
            %1\r\n+a\r\n~1\r\n:1\r\n|1\r\n+x\r\n:2\r\n>1\r\n(123\r\n";
        let (value, length) = Value::decode(wire).unwrap().unwrap();
        assert_eq!(length, wire.len());
        assert_eq!(
            value.to_string(),
            "[OK, (error) ERR no, (integer) -7, \"a\\r\\n\", (nil $-1), (nil *-1), (nil _), (true), (double) 1.5e3, \
             (txt) \"abc\", {a: set[(integer) 1]}, attribute{x: (integer) 2} push[(big number) 123]]"
        );
        for end in 0..wire.len() {
            assert_eq!(Value::decode(&wire[..end]).unwrap(), None, "cut at {end}");
        }
        assert!(Value::decode(b"?\r\n").is_err());
    }
}

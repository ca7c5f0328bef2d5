//! How replies look: for people, raw for other programs, as CSV, as JSON.

use resp::client::Value;

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// With types and numbering, as a person reads it.
    Pretty,
    Raw,
    Csv,
    Json,
    /// JSON of ASCII alone, with other bytes as `\x..` within the strings.
    QuotedJson,
}

/// What stands between the elements of an aggregate, and behind a reply, in raw output.
#[derive(Clone, Debug)]
pub struct Delimiters {
    pub element: Vec<u8>,
    pub reply: Vec<u8>,
}

/// Appends a whole reply with what ends it.
pub fn reply(out: &mut Vec<u8>, value: &Value, output: Output, delimiters: &Delimiters) {
    match output {
        Output::Pretty => pretty(out, value),
        Output::Raw => {
            raw(out, value, &delimiters.element);
            out.extend_from_slice(&delimiters.reply);
        }
        Output::Csv => {
            csv(out, value);
            out.push(b'\n');
        }
        Output::Json | Output::QuotedJson => {
            json(out, value, output == Output::QuotedJson);
            out.push(b'\n');
        }
    }
}

/// The form for people. Ends with a line end.
pub fn pretty(out: &mut Vec<u8>, value: &Value) {
    let mut indent = Vec::new();
    pretty_within(out, value, &mut indent);
}

fn pretty_within(out: &mut Vec<u8>, value: &Value, indent: &mut Vec<u8>) {
    match value {
        Value::Simple(text) | Value::Verbatim(_, text) | Value::BigNumber(text) => out.extend_from_slice(text),
        Value::Error(text) | Value::BulkError(text) => {
            out.extend_from_slice(b"(error) ");
            out.extend_from_slice(text);
        }
        Value::Int(value) => out.extend_from_slice(format!("(integer) {value}").as_bytes()),
        Value::Double(text) => {
            out.extend_from_slice(b"(double) ");
            out.extend_from_slice(text);
        }
        Value::Bulk(text) => quote(out, text),
        Value::Null | Value::NullBulk | Value::NullArray => out.extend_from_slice(b"(nil)"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"(true)" } else { b"(false)" }),
        Value::Attribute(_, value) => return pretty_within(out, value, indent),
        Value::Array(values) => return pretty_list(out, values, b") ", "(empty array)", indent),
        Value::Set(values) => return pretty_list(out, values, b"~ ", "(empty set)", indent),
        Value::Push(values) => return pretty_list(out, values, b") ", "(empty push)", indent),
        Value::Map(pairs) if pairs.is_empty() => out.extend_from_slice(b"(empty hash)"),
        Value::Map(pairs) => {
            let width = pairs.len().to_string().len();
            let outside = indent.len();
            for (index, (key, value)) in pairs.iter().enumerate() {
                number(out, index, width, b"# ", &indent[..outside]);
                indent.resize(outside + width + 2, b' ');
                pretty_within(out, key, indent);
                out.pop();
                out.extend_from_slice(b" => ");
                if holds_lines(value) {
                    out.push(b'\n');
                    out.extend_from_slice(indent);
                }
                pretty_within(out, value, indent);
                indent.truncate(outside);
            }
            return;
        }
    }
    out.push(b'\n');
}

fn pretty_list(out: &mut Vec<u8>, values: &[Value], mark: &[u8], empty: &str, indent: &mut Vec<u8>) {
    if values.is_empty() {
        out.extend_from_slice(empty.as_bytes());
        out.push(b'\n');
        return;
    }
    let width = values.len().to_string().len();
    let outside = indent.len();
    for (index, value) in values.iter().enumerate() {
        number(out, index, width, mark, &indent[..outside]);
        indent.resize(outside + width + 2, b' ');
        pretty_within(out, value, indent);
        indent.truncate(outside);
    }
}

/// The first element stands on the line that is begun already.
fn number(out: &mut Vec<u8>, index: usize, width: usize, mark: &[u8], indent: &[u8]) {
    if index > 0 {
        out.extend_from_slice(indent);
    }
    out.extend_from_slice(format!("{:>width$}", index + 1).as_bytes());
    out.extend_from_slice(mark);
}

/// Whether an aggregate takes more than one line; then it begins on one of its own.
fn holds_lines(value: &Value) -> bool {
    line_count(value) > 1
}

fn line_count(value: &Value) -> usize {
    match value {
        Value::Map(pairs) => pairs.iter().map(|(_, value)| line_count(value)).sum::<usize>().max(1),
        Value::Attribute(_, value) => line_count(value),
        other => other.elements().map_or(1, |elements| elements.iter().map(line_count).sum::<usize>().max(1)),
    }
}

/// The bytes as they are; errors on a line of their own.
pub fn raw(out: &mut Vec<u8>, value: &Value, delimiter: &[u8]) {
    let join = |out: &mut Vec<u8>, values: &[Value]| {
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(delimiter);
            }
            raw(out, value, delimiter);
        }
    };
    match value {
        Value::Null | Value::NullBulk | Value::NullArray => {}
        Value::Error(text) | Value::BulkError(text) => {
            out.extend_from_slice(text);
            out.push(b'\n');
        }
        Value::Int(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Bool(value) => out.extend_from_slice(if *value { b"(true)" } else { b"(false)" }),
        Value::Simple(text)
        | Value::Bulk(text)
        | Value::Verbatim(_, text)
        | Value::Double(text)
        | Value::BigNumber(text) => {
            out.extend_from_slice(text);
        }
        Value::Array(values) | Value::Set(values) | Value::Push(values) => join(out, values),
        Value::Attribute(_, value) => raw(out, value, delimiter),
        Value::Map(pairs) => {
            for (index, (key, value)) in pairs.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(delimiter);
                }
                raw(out, key, delimiter);
                out.push(b' ');
                raw(out, value, delimiter);
            }
        }
    }
}

/// One line of comma-separated values, however deep the reply is.
pub fn csv(out: &mut Vec<u8>, value: &Value) {
    let mut separate = {
        let mut first = true;
        move |out: &mut Vec<u8>| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
        }
    };
    match value {
        Value::Error(text) | Value::BulkError(text) => {
            out.extend_from_slice(b"ERROR,");
            quote(out, text);
        }
        Value::Simple(text) | Value::Bulk(text) | Value::Verbatim(_, text) => quote(out, text),
        Value::Int(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Double(text) | Value::BigNumber(text) => out.extend_from_slice(text),
        Value::Null | Value::NullBulk | Value::NullArray => out.extend_from_slice(b"NULL"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Attribute(_, value) => csv(out, value),
        Value::Array(values) | Value::Set(values) | Value::Push(values) => {
            for value in values {
                separate(out);
                csv(out, value);
            }
        }
        Value::Map(pairs) => {
            for (key, value) in pairs {
                separate(out);
                csv(out, key);
                separate(out);
                csv(out, value);
            }
        }
    }
}

/// JSON. An error is `error:"..."`, which is none: whoever parses it notices.
pub fn json(out: &mut Vec<u8>, value: &Value, quoted: bool) {
    match value {
        Value::Error(text) | Value::BulkError(text) => {
            out.extend_from_slice(b"error:");
            json_string(out, text, quoted);
        }
        Value::Simple(text) | Value::Bulk(text) | Value::Verbatim(_, text) => json_string(out, text, quoted),
        Value::Int(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Double(text) | Value::BigNumber(text) => out.extend_from_slice(text),
        Value::Null | Value::NullBulk | Value::NullArray => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Attribute(_, value) => json(out, value, quoted),
        Value::Array(values) | Value::Set(values) | Value::Push(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                json(out, value, quoted);
            }
            out.push(b']');
        }
        Value::Map(pairs) => {
            out.push(b'{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                json_key(out, key, quoted);
                out.push(b':');
                json(out, value, quoted);
            }
            out.push(b'}');
        }
    }
}

/// Names of an object are strings, whatever they were.
fn json_key(out: &mut Vec<u8>, key: &Value, quoted: bool) {
    match key.as_bytes() {
        Some(text) => json_string(out, text, quoted),
        None => {
            let mut text = Vec::new();
            json(&mut text, key, quoted);
            json_string(out, &text, quoted);
        }
    }
}

fn json_string(out: &mut Vec<u8>, text: &[u8], quoted: bool) {
    if quoted {
        // The form for people, as the content of a JSON string. redis-cli leaves its quotation marks unescaped, so that a string
        // with one in it is no JSON; here they are escaped.
        let mut inner = Vec::new();
        quote(&mut inner, text);
        return json_string(out, &inner[1..inner.len() - 1], false);
    }
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Within double quotes, with everything that is not printable ASCII escaped; the prompt reads it back.
pub fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x20..0x7f => out.push(byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

/// The same as text.
pub fn quoted(text: &[u8]) -> String {
    let mut out = Vec::new();
    quote(&mut out, text);
    String::from_utf8(out).expect("quoting leaves ASCII only")
}

/// A size in bytes with two digits and a unit, as INFO's readers know it.
pub fn human_bytes(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "K", "M", "G", "T", "P"] {
        if value.abs() < 1024.0 {
            return if unit == "B" { format!("{value:.0}B") } else { format!("{value:.2}{unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.2}E")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn shown(value: &Value, output: Output) -> String {
        let mut out = Vec::new();
        let delimiters = Delimiters { element: b"\n".to_vec(), reply: b"\n".to_vec() };
        reply(&mut out, value, output, &delimiters);
        String::from_utf8(out).unwrap()
    }

    fn nested() -> Value {
        let inner = Value::Map(vec![
            (bulk("a"), Value::Array(vec![Value::Int(1), Value::Int(2)])),
            (bulk("b"), Value::Set(vec![Value::Bool(true)])),
            (bulk("c"), Value::Array(vec![])),
        ]);
        Value::Array(vec![inner, Value::Error(b"ERR x".to_vec()), Value::NullBulk])
    }

    #[test]
    fn nested_replies_are_indented_under_their_number() {
        let expected = "1) 1# \"a\" => \n      1) (integer) 1\n      2) (integer) 2\n   2# \"b\" => 1~ (true)\n   3# \"c\" => (empty array)\n2) (error) ERR x\n3) (nil)\n";
        assert_eq!(shown(&nested(), Output::Pretty), expected);
    }

    #[test]
    fn the_other_forms() {
        assert_eq!(shown(&nested(), Output::Raw), "a 1\n2\nb (true)\nc \nERR x\n\n\n");
        assert_eq!(shown(&nested(), Output::Csv), "\"a\",1,2,\"b\",true,\"c\",,ERROR,\"ERR x\",NULL\n");
        assert_eq!(shown(&nested(), Output::Json), "[{\"a\":[1,2],\"b\":[true],\"c\":[]},error:\"ERR x\",null]\n");
    }

    #[test]
    fn numbers_of_ten_and_more_are_aligned() {
        let value = Value::Array((0..10).map(Value::Int).collect());
        let text = shown(&value, Output::Pretty);
        assert!(text.starts_with(" 1) (integer) 0\n 2) "), "{text}");
        assert!(text.ends_with("\n10) (integer) 9\n"), "{text}");
    }

    #[test]
    fn json_of_awkward_strings() {
        let value = Value::Bulk(b"a\"\n\x07\xff".to_vec());
        let mut out = Vec::new();
        json(&mut out, &value, false);
        assert_eq!(out, b"\"a\\\"\\n\\u0007\xff\"");
        out.clear();
        json(&mut out, &value, true);
        assert_eq!(out, b"\"a\\\\\\\"\\\\n\\\\a\\\\xff\"");
    }

    #[test]
    fn sizes_for_people() {
        for (bytes, expected) in [(0.0, "0B"), (1023.0, "1023B"), (1024.0, "1.00K"), (1_363_149.0, "1.30M")] {
            assert_eq!(human_bytes(bytes), expected);
        }
    }
}

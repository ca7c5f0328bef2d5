//! Splitting a line into words, with the quoting rules of `redis.conf` and inline commands, and the way back.

use crate::value::Bytes;

/// The quotes of a line do not match, or a closing quote is followed by more than a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

/// Splits `line` at white space.
///
/// Double quotes hold escapes (`\n \r \t \b \a \xHH`, and `\c` for any other `c`); single quotes hold only `\'`.
/// A quoted part may follow plain letters (`a"b"` is one word) but must end its word.
pub fn split_words(line: &[u8]) -> Result<Vec<Bytes>, UnbalancedQuotes> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let start = rest.iter().position(|byte| !is_space(*byte)).unwrap_or(rest.len());
        rest = &rest[start..];
        // As for a C string, a zero byte ends the line.
        if matches!(rest.first(), None | Some(0)) {
            return Ok(words);
        }
        let (word, after) = take_word(rest)?;
        words.push(word);
        rest = after;
    }
}

/// The white space of C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn take_word(line: &[u8]) -> Result<(Bytes, &[u8]), UnbalancedQuotes> {
    let mut word = Vec::new();
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        match byte {
            b'"' | b'\'' => {
                let after = take_quoted(&line[at + 1..], byte, &mut word)?;
                return match after.first() {
                    None | Some(0) => Ok((word, after)),
                    Some(next) if is_space(*next) => Ok((word, after)),
                    Some(_) => Err(UnbalancedQuotes),
                };
            }
            0 => break,
            _ if is_space(byte) => break,
            _ => word.push(byte),
        }
        at += 1;
    }
    Ok((word, &line[at..]))
}

/// Reads up to the closing `quote` into `word`, and returns what stands behind it.
fn take_quoted<'a>(line: &'a [u8], quote: u8, word: &mut Bytes) -> Result<&'a [u8], UnbalancedQuotes> {
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        match (byte, line.get(at + 1)) {
            (0, _) => break,
            (b'\\', Some(b'x')) if quote == b'"' => {
                if let (Some(high), Some(low)) = (hex_digit(line.get(at + 2)), hex_digit(line.get(at + 3))) {
                    word.push(high << 4 | low);
                    at += 4;
                } else {
                    word.push(b'x');
                    at += 2;
                }
            }
            (b'\\', Some(escaped)) if quote == b'"' && *escaped != 0 => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                at += 2;
            }
            (b'\\', Some(b'\'')) if quote == b'\'' => {
                word.push(b'\'');
                at += 2;
            }
            (byte, _) if byte == quote => return Ok(&line[at + 1..]),
            (byte, _) => {
                word.push(byte);
                at += 1;
            }
        }
    }
    Err(UnbalancedQuotes)
}

fn hex_digit(byte: Option<&u8>) -> Option<u8> {
    char::from(*byte?).to_digit(16).map(|digit| digit as u8)
}

/// `text` in double quotes, with escapes for what is not printable ASCII.
pub fn quote(text: &[u8]) -> Bytes {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    quote_into(&mut quoted, text);
    quoted
}

/// Appends that to `out`.
pub fn quote_into(out: &mut Bytes, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'\\' | b'"' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x07 => out.extend(b"\\a"),
            0x08 => out.extend(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend([b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split_words(line.as_bytes())
            .unwrap()
            .into_iter()
            .map(|word| word.iter().map(|byte| char::from(*byte)).collect())
            .collect()
    }

    #[test]
    fn plain_and_quoted_words() {
        assert_eq!(words("  save 60\t1000 \r"), ["save", "60", "1000"]);
        assert_eq!(words(r#"save """#), ["save", ""]);
        assert_eq!(words(r#"a"b" c"#), ["ab", "c"]);
        assert_eq!(words(r#""\x41\x4g\n\q""#), ["Ax4g\nq"]);
        assert_eq!(words(r"'it\'s \n'"), [r"it's \n"]);
        assert!(words("").is_empty());
    }

    #[test]
    fn unbalanced_quotes() {
        for line in [r#"port "1"#, "port '1", r#""a"b"#, r#"'a'b"#, r#"""""#, "\"\\"] {
            assert_eq!(split_words(line.as_bytes()), Err(UnbalancedQuotes), "{line}");
        }
    }

    #[test]
    fn quoting_can_be_undone() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(split_words(&quote(&all)), Ok(vec![all]));
        assert_eq!(split_words(&quote(b"")), Ok(vec![vec![]]));
    }
}

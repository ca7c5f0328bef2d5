//! Commands as bytes.

pub(crate) fn encode(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    text.into_bytes()
}

/// One command, and how many bytes it takes. An empty line is a command without words.
///
/// # Panics
///
/// If it is no command: nobody in the world speaks nonsense.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (first, mut at) = line(bytes, 0)?;
    let Some(count) = first.strip_prefix(b"*") else {
        let words = first.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        return Some((words.map(<[u8]>::to_vec).collect(), at));
    };
    let mut words = Vec::new();
    for _ in 0..number(count) {
        let (length, start) = line(bytes, at)?;
        let length =
            number(length.strip_prefix(b"$").unwrap_or_else(|| panic!("a length, not {}", bytes.escape_ascii())));
        words.push(bytes.get(start..start + length)?.to_vec());
        at = start + length + 2;
    }
    (at <= bytes.len()).then_some((words, at))
}

/// A line without its end, and where the next begins.
pub(crate) fn line(bytes: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(from..)?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = &rest[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), from + end + 1))
}

pub(crate) fn number(text: &[u8]) -> usize {
    let text = String::from_utf8_lossy(text);
    text.parse().unwrap_or_else(|_| panic!("a number, not '{text}'"))
}

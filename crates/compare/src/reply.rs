//! Counting replies without building them: the load generator only has to know how many came, and that none was an error.

use memchr::memchr;
use std::fmt;

/// What came back so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    pub replies: u64,
    /// Null replies. A GET workload over keys that all exist must see none, or it measured misses.
    pub nulls: u64,
}

/// A reply that no workload expects.
#[derive(Debug, PartialEq, Eq)]
pub enum BadReply {
    /// The server's error text, without the leading `-`.
    Error(String),
    /// Not RESP2.
    Malformed(u8),
}

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadReply::Error(text) => write!(f, "the server replied with an error: {text}"),
            BadReply::Malformed(byte) => write!(f, "not a RESP2 reply: type byte {byte:#04x}"),
        }
    }
}

impl std::error::Error for BadReply {}

/// Counts the whole replies at the start of `bytes` into `tally` and returns how many bytes they took; the rest is the beginning
/// of a reply that has not come in full.
pub fn scan(bytes: &[u8], tally: &mut Tally) -> Result<usize, BadReply> {
    let mut consumed = 0;
    while let Some(reply) = frame(&bytes[consumed..])? {
        consumed += reply.len;
        tally.replies += 1;
        tally.nulls += u64::from(reply.null);
    }
    Ok(consumed)
}

struct Frame {
    len: usize,
    null: bool,
}

/// The first reply of `bytes`, or `None` if it is not there in full.
fn frame(bytes: &[u8]) -> Result<Option<Frame>, BadReply> {
    let Some(line_feed) = memchr(b'\n', bytes) else {
        return Ok(None);
    };
    let line_len = line_feed + 1;
    let text = &bytes[1..line_feed.saturating_sub(1).max(1)];
    let whole = |len: usize, null: bool| Ok((bytes.len() >= len).then_some(Frame { len, null }));
    match bytes[0] {
        b'+' | b':' => whole(line_len, false),
        b'-' => Err(BadReply::Error(String::from_utf8_lossy(text).into_owned())),
        b'$' => match length(text)? {
            None => whole(line_len, true),
            Some(len) => whole(line_len + len + 2, false),
        },
        b'*' => {
            let Some(items) = length(text)? else {
                return whole(line_len, true);
            };
            let mut len = line_len;
            for _ in 0..items {
                match frame(&bytes[len..])? {
                    Some(item) => len += item.len,
                    None => return Ok(None),
                }
            }
            whole(len, false)
        }
        other => Err(BadReply::Malformed(other)),
    }
}

/// `None` is -1, the null of RESP2.
fn length(text: &[u8]) -> Result<Option<usize>, BadReply> {
    if text == b"-1" {
        return Ok(None);
    }
    let mut value = 0usize;
    for &digit in text {
        if !digit.is_ascii_digit() || value > usize::MAX / 20 {
            return Err(BadReply::Malformed(digit));
        }
        value = value * 10 + usize::from(digit - b'0');
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(bytes: &[u8]) -> Result<(usize, Tally), BadReply> {
        let mut tally = Tally::default();
        scan(bytes, &mut tally).map(|consumed| (consumed, tally))
    }

    #[test]
    fn counts_every_kind_and_leaves_the_unfinished_rest() {
        let stream = b"+OK\r\n:12\r\n$3\r\nabc\r\n$-1\r\n*2\r\n$1\r\nx\r\n:1\r\n*-1\r\n*0\r\n$0\r\n\r\n";
        let whole = Tally { replies: 8, nulls: 2 };
        assert_eq!(tally(stream), Ok((stream.len(), whole)));
        // Cut anywhere: what is counted now and what is counted with the rest must add up.
        for cut in 0..stream.len() {
            let (consumed, mut seen) = tally(&stream[..cut]).unwrap();
            assert!(consumed <= cut);
            let rest = scan(&stream[consumed..], &mut seen).unwrap();
            assert_eq!((consumed + rest, seen), (stream.len(), whole), "cut at {cut}");
        }
    }

    #[test]
    fn an_error_reply_and_garbage_stop_the_run() {
        assert_eq!(tally(b"+OK\r\n-ERR no\r\n"), Err(BadReply::Error("ERR no".into())));
        assert_eq!(tally(b"*1\r\n-ERR in\r\n"), Err(BadReply::Error("ERR in".into())));
        assert_eq!(tally(b"?\r\n"), Err(BadReply::Malformed(b'?')));
        assert_eq!(tally(b"$x\r\n"), Err(BadReply::Malformed(b'x')));
        assert!(tally(b"\n\n").is_err());
    }
}

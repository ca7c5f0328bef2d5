//! The reply encoder: what a command answers becomes bytes, in RESP2 or RESP3.
//!
//! A [`Reply`] is the output of one connection: the replies of any number of commands, in order, as
//!
//! ```text
//!   bytes   $5\r\nhello\r\n$70000\r\n        \r\n:1\r\n …
//!                                    ▲
//!   cuts                             └ a shared value, inserted here without a copy
//! ```
//!
//! so a small reply is a few stores into one vector, and a large value is sent from where it is stored.
//! [`Reply::io_slices`] puts both in order for `writev`, and [`Reply::advance`] takes off what was written.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::IoSlice;
use std::sync::Arc;

use crate::number;
use crate::plant::planted;

/// The version of the protocol that the client chose with HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proto {
    #[default]
    Resp2 = 2,
    Resp3 = 3,
}

impl Proto {
    /// 2 or 3, as HELLO and CLIENT LIST say it.
    pub fn version(self) -> u8 {
        self as u8
    }
}

/// A place in the output, behind everything written so far. It stays good until bytes before it are
/// [taken off](Reply::advance) or [truncated](Reply::truncate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    bytes: usize,
    cuts: usize,
}

/// Something that stands between two bytes of the vector.
#[derive(Debug)]
struct Cut {
    /// It comes before this byte of the vector.
    at: usize,
    insert: Insert,
}

#[derive(Clone, Debug)]
enum Insert {
    Shared(Arc<Vec<u8>>),
    /// The header of an aggregate whose size was not known before, where moving its body would have cost too much.
    Header(Box<[u8]>),
}

impl Insert {
    fn bytes(&self) -> &[u8] {
        match self {
            Insert::Shared(data) => data,
            Insert::Header(text) => text,
        }
    }
}

/// Shared values shorter than this are copied: cheaper than a segment of their own.
pub const SHARED_BYTES_MIN: usize = 16 * 1024;

/// Up to this size the body of a deferred aggregate is moved to let its header in.
const DEFERRED_MOVE_BYTES_MAX: usize = 4 * 1024;

/// An empty output keeps at most this much room for the next replies.
const IDLE_CAPACITY_BYTES_MAX: usize = 16 * 1024;

/// The output of one connection.
#[derive(Debug, Default)]
pub struct Reply {
    bytes: Vec<u8>,
    cuts: VecDeque<Cut>,
    /// Bytes in `cuts`.
    cut_bytes: usize,
    /// How much of `bytes` has been taken off. They are removed when it pays.
    sent: usize,
    /// How much of the first cut has been taken off; only when `sent` has reached it.
    cut_sent: usize,
    proto: Proto,
    skip: bool,
}

impl Reply {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn proto(&self) -> Proto {
        self.proto
    }

    pub fn set_proto(&mut self, proto: Proto) {
        self.proto = proto;
    }

    /// While on, nothing is appended: CLIENT REPLY OFF and SKIP. Pushes are exempt, as in Redis: whoever delivers one turns it off
    /// for that long.
    pub fn set_skip(&mut self, skip: bool) {
        self.skip = skip;
    }

    pub fn skip(&self) -> bool {
        self.skip
    }

    // ---- simple values ------------------------------------------------------------------------------------------------

    /// `+text`. The text must not hold a line end.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.line(b'+', text.as_bytes());
    }

    /// `+OK`
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// `+QUEUED`
    pub fn queued(&mut self) {
        self.raw(b"+QUEUED\r\n");
    }

    /// `+PONG`
    pub fn pong(&mut self) {
        self.raw(b"+PONG\r\n");
    }

    /// `-text`, where the text begins with the error's code (`ERR …`). Line ends in it become spaces, as in Redis: it may
    /// quote what the client sent.
    #[cold]
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        if self.skip {
            return;
        }
        let mut text = text.as_ref();
        if planted("wrong-error-text") {
            text = text.strip_suffix(b"e").unwrap_or(text);
        }
        self.bytes.push(b'-');
        let end_of_line = |byte: u8| matches!(byte, b'\r' | b'\n');
        self.bytes.extend(text.iter().map(|&byte| if end_of_line(byte) { b' ' } else { byte }));
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// [`Self::error`] with formatting.
    #[cold]
    pub fn error_fmt(&mut self, text: fmt::Arguments<'_>) {
        self.error(text.to_string());
    }

    #[inline]
    pub fn int(&mut self, value: i64) {
        match value {
            // The replies of DEL, EXISTS, SADD …
            0 => self.raw(b":0\r\n"),
            1 => self.raw(b":1\r\n"),
            _ => self.line(b':', itoa::Buffer::new().format(value).as_bytes()),
        }
    }

    /// `:value` for counts. Redis's integers are signed; more than `i64::MAX` of anything does not exist.
    #[inline]
    pub fn count(&mut self, value: usize) {
        self.int(value as i64);
    }

    /// No value: `$-1` or, in RESP3, `_`.
    #[inline]
    pub fn null(&mut self) {
        self.raw(if self.proto == Proto::Resp2 { b"$-1\r\n".as_slice() } else { b"_\r\n" });
    }

    /// No array (a blocking command's timeout, an aborted EXEC): `*-1` or, in RESP3, `_`.
    pub fn null_array(&mut self) {
        self.raw(if self.proto == Proto::Resp2 { b"*-1\r\n".as_slice() } else { b"_\r\n" });
    }

    /// `#t` or `#f`; `:1` or `:0` in RESP2.
    pub fn boolean(&mut self, value: bool) {
        self.raw(match (self.proto, value) {
            (Proto::Resp2, false) => b":0\r\n",
            (Proto::Resp2, true) => b":1\r\n",
            (Proto::Resp3, false) => b"#f\r\n",
            (Proto::Resp3, true) => b"#t\r\n",
        });
    }

    /// `,text`; a bulk in RESP2. The text is [`number::DoubleText`]'s in both.
    pub fn double(&mut self, value: f64) {
        let text = number::DoubleText::new(value);
        match self.proto {
            Proto::Resp2 => self.bulk(text.as_bytes()),
            Proto::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// `(digits`; a bulk in RESP2.
    pub fn big_number(&mut self, digits: &str) {
        match self.proto {
            Proto::Resp2 => self.bulk(digits.as_bytes()),
            Proto::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Text with a three-letter kind (`txt`, `mkd`); a bulk in RESP2.
    pub fn verbatim(&mut self, kind: &str, text: &[u8]) {
        assert!(kind.len() == 3);
        match self.proto {
            Proto::Resp2 => self.bulk(text),
            Proto::Resp3 => {
                self.header(b'=', text.len() as u64 + 4);
                self.raw(kind.as_bytes());
                self.raw(b":");
                self.raw(text);
                self.raw(b"\r\n");
            }
        }
    }

    // ---- bulks --------------------------------------------------------------------------------------------------------

    #[inline]
    pub fn bulk(&mut self, data: impl AsRef<[u8]>) {
        if self.skip {
            return;
        }
        let data = data.as_ref();
        self.bytes.reserve(HEADER_BYTES_MAX + data.len() + 2);
        push_header(&mut self.bytes, b'$', data.len() as u64);
        self.bytes.extend_from_slice(data);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A bulk, or null.
    #[inline]
    pub fn bulk_or_null(&mut self, data: Option<impl AsRef<[u8]>>) {
        match data {
            Some(data) => self.bulk(data),
            None => self.null(),
        }
    }

    /// The decimal text of an integer as a bulk: GET of a number that is stored as one.
    #[inline]
    pub fn bulk_int(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A bulk of formatted text.
    pub fn bulk_fmt(&mut self, text: fmt::Arguments<'_>) {
        struct Append<'a>(&'a mut Vec<u8>);
        impl fmt::Write for Append<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
        if self.skip {
            return;
        }
        let mark = self.mark();
        Append(&mut self.bytes).write_fmt(text).expect("what is formatted does not fail");
        let length = self.bytes.len() - mark.bytes;
        self.bytes.extend_from_slice(b"\r\n");
        self.insert_header(mark, b'$', length as u64);
    }

    /// A bulk that is sent from where it is stored. Short ones are copied after all.
    pub fn shared(&mut self, data: &Arc<Vec<u8>>) {
        if data.len() < SHARED_BYTES_MIN {
            return self.bulk(data.as_slice());
        }
        if self.skip {
            return;
        }
        push_header(&mut self.bytes, b'$', data.len() as u64);
        self.cuts.push_back(Cut { at: self.bytes.len(), insert: Insert::Shared(Arc::clone(data)) });
        self.cut_bytes += data.len();
        self.bytes.extend_from_slice(b"\r\n");
    }

    // ---- aggregates: the header, then the caller appends the elements ---------------------------------------------------

    #[inline]
    pub fn array(&mut self, length: usize) {
        self.header(b'*', length as u64);
    }

    /// A map of `pairs` keys and values: as many elements again in RESP2's array.
    pub fn map(&mut self, pairs: usize) {
        match self.proto {
            Proto::Resp2 => self.header(b'*', pairs as u64 * 2),
            Proto::Resp3 => self.header(b'%', pairs as u64),
        }
    }

    /// A set; an array in RESP2.
    pub fn set(&mut self, length: usize) {
        self.header(if self.proto == Proto::Resp2 { b'*' } else { b'~' }, length as u64);
    }

    /// Out-of-band data; an array in RESP2.
    pub fn push(&mut self, length: usize) {
        self.header(if self.proto == Proto::Resp2 { b'*' } else { b'>' }, length as u64);
    }

    /// Data about the reply that follows. RESP2 has nothing of the kind.
    ///
    /// # Panics
    /// In RESP2.
    pub fn attribute(&mut self, pairs: usize) {
        assert!(self.proto == Proto::Resp3, "attributes need RESP3");
        self.header(b'|', pairs as u64);
    }

    /// Begins an aggregate whose size is not known yet; append its elements and then finish it. They may nest.
    pub fn start_deferred(&mut self) -> Mark {
        self.mark()
    }

    pub fn finish_array(&mut self, start: Mark, length: usize) {
        self.insert_header(start, b'*', length as u64);
    }

    pub fn finish_map(&mut self, start: Mark, pairs: usize) {
        match self.proto {
            Proto::Resp2 => self.insert_header(start, b'*', pairs as u64 * 2),
            Proto::Resp3 => self.insert_header(start, b'%', pairs as u64),
        }
    }

    pub fn finish_set(&mut self, start: Mark, length: usize) {
        self.insert_header(start, if self.proto == Proto::Resp2 { b'*' } else { b'~' }, length as u64);
    }

    // ---- bytes --------------------------------------------------------------------------------------------------------

    /// Bytes that are already in the protocol's form.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        if !self.skip {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The same, sent from where they lie: many get the same bytes.
    pub fn raw_shared(&mut self, bytes: &Arc<Vec<u8>>) {
        if !self.skip && !bytes.is_empty() {
            self.cuts.push_back(Cut { at: self.bytes.len(), insert: Insert::Shared(Arc::clone(bytes)) });
            self.cut_bytes += bytes.len();
        }
    }

    /// Appends everything another output still holds, sharing what it shares, and leaves that one empty.
    pub fn append(&mut self, other: &mut Reply) {
        let offset = self.bytes.len() as isize - other.sent as isize;
        if other.cut_sent > 0 {
            // A value of which a part has gone: what is left becomes plain bytes. Rare, and never large twice.
            let rest: Vec<u8> = other.segments().flatten().copied().collect();
            self.bytes.extend_from_slice(&rest);
        } else {
            self.bytes.extend_from_slice(&other.bytes[other.sent..]);
            self.cut_bytes += other.cut_bytes;
            self.cuts.extend(other.cuts.drain(..).map(|cut| Cut { at: (cut.at as isize + offset) as usize, ..cut }));
        }
        other.clear();
    }

    /// Appends a copy of everything another output holds, of which nothing was taken off, sharing what it shares.
    pub fn append_copy(&mut self, other: &Reply) {
        assert!(other.sent == 0 && other.cut_sent == 0, "what is copied was not sent in part");
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.cut_bytes += other.cut_bytes;
        self.cuts.extend(other.cuts.iter().map(|cut| Cut { at: cut.at + offset, insert: cut.insert.clone() }));
    }

    /// Bytes still to be sent.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent + self.cut_bytes
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == self.sent && self.cuts.is_empty()
    }

    /// Memory the output holds, without what it shares with the keyspace: CLIENT LIST's `omem`.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.cuts.capacity() * size_of::<Cut>()
    }

    /// The end of what has been written so far.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), cuts: self.cuts.len() }
    }

    /// Forgets everything behind `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        for cut in self.cuts.drain(mark.cuts..) {
            self.cut_bytes -= cut.insert.bytes().len();
        }
    }

    /// Whether the reply written at `mark` is an error.
    #[inline]
    pub fn is_error_at(&self, mark: Mark) -> bool {
        self.bytes.get(mark.bytes) == Some(&b'-')
    }

    /// The error's code written at `mark` (`ERR`, `WRONGTYPE` …), for INFO's errorstats.
    pub fn error_code_at(&self, mark: Mark) -> Option<&[u8]> {
        let text = self.bytes.get(mark.bytes..)?.strip_prefix(b"-")?;
        let end = text.iter().position(|byte| matches!(byte, b' ' | b'\r'))?;
        Some(&text[..end])
    }

    /// Everything to be sent as one slice, if no shared value lies in between.
    #[inline]
    pub fn as_slice(&self) -> Option<&[u8]> {
        self.cuts.is_empty().then(|| &self.bytes[self.sent..])
    }

    /// Everything to be sent, in order, in slices that are not empty.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = self.sent;
        let mut skip = self.cut_sent;
        let cuts = self.cuts.iter().flat_map(move |cut| {
            let before = &self.bytes[at..cut.at];
            at = cut.at;
            let inserted = &cut.insert.bytes()[skip..];
            skip = 0;
            [before, inserted]
        });
        let last_at = self.cuts.back().map_or(self.sent, |cut| cut.at);
        cuts.chain([&self.bytes[last_at..]]).filter(|segment| !segment.is_empty())
    }

    /// The first segments as `writev` wants them. Gives the part of `slices` that was filled.
    pub fn io_slices<'a, 's>(&'a self, slices: &'s mut [IoSlice<'a>]) -> &'s [IoSlice<'a>] {
        let mut count = 0;
        for (slice, segment) in slices.iter_mut().zip(self.segments()) {
            *slice = IoSlice::new(segment);
            count += 1;
        }
        &slices[..count]
    }

    /// `count` bytes from the front have been sent.
    ///
    /// # Panics
    /// If that is more than there are.
    pub fn advance(&mut self, mut count: usize) {
        while let Some(cut) = self.cuts.front() {
            let before = cut.at - self.sent;
            if count < before {
                break;
            }
            let inserted = cut.insert.bytes().len() - self.cut_sent;
            self.sent = cut.at;
            count -= before;
            if count < inserted {
                self.cut_sent += count;
                self.cut_bytes -= count;
                return;
            }
            count -= inserted;
            self.cut_bytes -= inserted;
            self.cut_sent = 0;
            self.cuts.pop_front();
        }
        self.sent += count;
        assert!(self.sent <= self.bytes.len(), "sent more than there was");
        if self.is_empty() {
            self.clear();
        } else if self.sent >= 64 * 1024 && self.sent >= self.bytes.len() / 2 {
            // Half of it at least is gone, so a byte is moved at most once on average.
            self.bytes.drain(..self.sent);
            for cut in &mut self.cuts {
                cut.at -= self.sent;
            }
            self.sent = 0;
            if self.bytes.capacity() / 4 > self.bytes.len() {
                self.bytes.shrink_to(self.bytes.len() * 2);
            }
        }
    }

    /// Forgets everything, and gives back memory beyond a small reserve.
    pub fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > IDLE_CAPACITY_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.cuts = VecDeque::new();
        (self.cut_bytes, self.cut_sent, self.sent) = (0, 0, 0);
    }

    // ---- the pieces ---------------------------------------------------------------------------------------------------

    #[inline]
    fn line(&mut self, prefix: u8, text: &[u8]) {
        if self.skip {
            return;
        }
        self.bytes.reserve(text.len() + 3);
        self.bytes.push(prefix);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn header(&mut self, prefix: u8, length: u64) {
        if !self.skip {
            push_header(&mut self.bytes, prefix, length);
        }
    }

    fn insert_header(&mut self, mark: Mark, prefix: u8, length: u64) {
        if self.skip {
            return;
        }
        let body_bytes = self.bytes.len() - mark.bytes;
        if body_bytes <= DEFERRED_MOVE_BYTES_MAX {
            push_header(&mut self.bytes, prefix, length);
            let header_bytes = self.bytes.len() - mark.bytes - body_bytes;
            self.bytes[mark.bytes..].rotate_right(header_bytes);
            for cut in self.cuts.range_mut(mark.cuts..) {
                cut.at += header_bytes;
            }
        } else {
            let mut text = Vec::new();
            push_header(&mut text, prefix, length);
            self.cut_bytes += text.len();
            self.cuts.insert(mark.cuts, Cut { at: mark.bytes, insert: Insert::Header(text.into()) });
        }
    }
}

/// Prefix, 20 digits, line end.
const HEADER_BYTES_MAX: usize = 23;

/// `$32\r\n` and its kin: for clients' requests too.
#[inline]
pub(crate) fn push_header(bytes: &mut Vec<u8>, prefix: u8, length: u64) {
    match length {
        0..=9 => bytes.extend_from_slice(&[prefix, b'0' + length as u8, b'\r', b'\n']),
        10..=99 => {
            bytes.extend_from_slice(&[prefix, b'0' + (length / 10) as u8, b'0' + (length % 10) as u8, b'\r', b'\n']);
        }
        _ => {
            bytes.push(prefix);
            bytes.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
    }
}

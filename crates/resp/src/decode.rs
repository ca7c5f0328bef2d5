//! The request decoder: bytes from a client become commands.
//!
//! ```text
//!   multibulk   *3\r\n $3\r\nSET\r\n $3\r\nkey\r\n $5\r\nvalue\r\n
//!   inline      SET key "a value"\r\n
//! ```
//!
//! There are two roads, and [`Decoder::next`] chooses:
//!
//! ```text
//!              whole command in the buffer, nothing to unescape
//!   bytes ──┬────────────────────────────────────────────────────▶ Step::Command   args are slices of the buffer
//!           │ in pieces, or quoted
//!           └──────▶ Partial ──(fed with each next buffer)───────▶ Step::Owned     args belong to the decoder
//! ```
//!
//! The left road is taken by nearly all traffic; it copies nothing and allocates nothing. When it meets anything but a plain,
//! complete command it gives up without a trace and the other road, [`Partial`], starts again at the command's first
//! byte. `Partial` is the authority: it alone knows errors, emptiness and incompleteness. It takes every byte it is given, so a
//! connection needs no buffer for half a command, and nothing is ever scanned twice: a command of a million arguments that
//! trickles in costs each byte once.
//!
//! Arguments of [`LARGE_BYTES_MIN`] and more that do not arrive whole get an allocation of their own, which grows as bytes arrive
//! (announcing 512 MB costs nothing), can be read into directly ([`Decoder::large_spare`]), and ends as an
//! `Arc<Vec<u8>>` that a command can store without a copy ([`Owned::large`]).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use memchr::{memchr, memchr2};

use crate::number::parse_i64;

/// Arguments from this length on, not wholly in the buffer, are gathered in an allocation of their own.
pub const LARGE_BYTES_MIN: usize = 32 * 1024;

/// What a client may ask for. Beyond it stands a [`ProtocolError`], after which the connection closes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest argument: `proto-max-bulk-len`. A primary's link has none: `u64::MAX >> 1`.
    pub bulk_bytes_max: u64,
    /// Most arguments of one command.
    pub multibulk_max: u64,
    /// Longest inline command or `*`/`$` header, its first byte included and its line end not.
    pub inline_bytes_max: usize,
    /// A client that has not authenticated yet (where it must) gets 10 arguments of 16384 bytes.
    ///
    /// It may authenticate in the middle of a buffer: whoever decodes ahead of execution must not do so while this is false.
    pub authenticated: bool,
}

impl Default for Limits {
    /// Redis's defaults: 512 MB an argument, `i32::MAX` arguments, 64 KiB a line.
    fn default() -> Self {
        Limits {
            bulk_bytes_max: 512 << 20,
            multibulk_max: i32::MAX as u64,
            inline_bytes_max: 64 * 1024,
            authenticated: true,
        }
    }
}

const UNAUTHENTICATED_MULTIBULK_MAX: u64 = 10;
const UNAUTHENTICATED_BULK_BYTES_MAX: u64 = 16384;

impl Limits {
    /// The same limits for a client that still has to authenticate.
    pub fn unauthenticated(mut self) -> Self {
        self.authenticated = false;
        self
    }

    #[inline]
    fn bulk_bytes_allowed(&self) -> u64 {
        if self.authenticated { self.bulk_bytes_max } else { self.bulk_bytes_max.min(UNAUTHENTICATED_BULK_BYTES_MAX) }
    }

    #[inline]
    fn multibulk_allowed(&self) -> u64 {
        if self.authenticated { self.multibulk_max } else { self.multibulk_max.min(UNAUTHENTICATED_MULTIBULK_MAX) }
    }
}

/// What [`Decoder::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A command: its arguments were appended to `args` (at least one). It and any empty lines before it took
    /// `consumed` bytes.
    Command { consumed: usize },
    /// A command whose arguments do not lie in the buffer: fetch it with [`Decoder::take_owned`] before the next call.
    /// Nothing was appended to `args`. `consumed` bytes of this buffer are used up.
    Owned { consumed: usize },
    /// The decoder took all bytes of the buffer and needs more.
    Incomplete,
}

/// A request that breaks the protocol. The reply is [`ProtocolError::message`], and then the connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    InvalidMultibulkLength,
    InvalidBulkLength,
    ExpectedDollar { got: u8 },
    TooBigInlineRequest,
    TooBigMultibulkCount,
    TooBigBulkCount,
    UnbalancedQuotes,
    UnauthenticatedMultibulkLength,
    UnauthenticatedBulkLength,
}

impl ProtocolError {
    /// The text of the error reply, with its code and without `-` and line end. Bytes, because Redis quotes the
    /// offending byte as it came; [`Reply::error`](crate::encode::Reply::error) turns line ends in it into spaces.
    pub fn message(&self) -> Cow<'static, [u8]> {
        Cow::Borrowed(match self {
            Self::InvalidMultibulkLength => b"ERR Protocol error: invalid multibulk length",
            Self::InvalidBulkLength => b"ERR Protocol error: invalid bulk length",
            Self::ExpectedDollar { got } => {
                let mut text = b"ERR Protocol error: expected '$', got '?'".to_vec();
                let quoted = text.len() - 2;
                text[quoted] = *got;
                return Cow::Owned(text);
            }
            Self::TooBigInlineRequest => b"ERR Protocol error: too big inline request",
            Self::TooBigMultibulkCount => b"ERR Protocol error: too big mbulk count string",
            Self::TooBigBulkCount => b"ERR Protocol error: too big bulk count string",
            Self::UnbalancedQuotes => b"ERR Protocol error: unbalanced quotes in request",
            Self::UnauthenticatedMultibulkLength => b"ERR Protocol error: unauthenticated multibulk length",
            Self::UnauthenticatedBulkLength => b"ERR Protocol error: unauthenticated bulk length",
        })
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.message()))
    }
}

impl std::error::Error for ProtocolError {}

/// Empties `args` and lets its allocation be used for slices of another lifetime, without allocating.
///
/// The standard library collects a vector's own iterator in place, so this is a few instructions.
#[inline]
pub fn recycle<'b>(mut args: Vec<&[u8]>) -> Vec<&'b [u8]> {
    args.clear();
    args.into_iter().map(|_| -> &'b [u8] { unreachable!("the vector was cleared") }).collect()
}

/// The decoding state of one connection. One pointer when no command is in the middle.
///
/// ```
/// use spinel_resp::{Decoder, Limits, Step};
///
/// let received = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nECHO 'in quotes'\r\n*2\r\n$3\r\nGE";
/// let (mut decoder, limits) = (Decoder::new(), Limits::default());
/// let (mut at, mut log) = (0, Vec::new());
/// loop {
///     let mut args = Vec::new();
///     match decoder.next(&received[at..], &limits, &mut args)? {
///         Step::Command { consumed } => {
///             at += consumed;
///             log.push(args.concat());
///         }
///         Step::Owned { consumed } => {
///             at += consumed;
///             let owned = decoder.take_owned();
///             owned.args(&mut args);
///             log.push(args.concat());
///         }
///         Step::Incomplete => break, // `received` may be overwritten now
///     }
/// }
/// assert_eq!(log, [b"GETa".to_vec(), b"ECHOin quotes".to_vec()]);
/// # Ok::<(), spinel_resp::ProtocolError>(())
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for the next command at the start of `buf`.
    ///
    /// Call it again with what follows the consumed bytes until it says [`Step::Incomplete`]; then everything was taken,
    /// and `buf` need not be kept. Several commands may be gathered in one `args` (it only ever appends whole commands).
    ///
    /// # Errors
    /// The bytes break the protocol. Commands returned earlier stand; the decoder must not be used again.
    ///
    /// # Panics
    /// If a [`Step::Owned`] command was not taken.
    #[inline]
    pub fn next<'a>(
        &mut self,
        buf: &'a [u8],
        limits: &Limits,
        args: &mut Vec<&'a [u8]>,
    ) -> Result<Step, ProtocolError> {
        if self.partial.is_none() && buf.first() == Some(&b'*') {
            let mark = args.len();
            if let Some(consumed) = multibulk_in_place(buf, limits, args) {
                return Ok(Step::Command { consumed });
            }
            args.truncate(mark);
        }
        self.next_slow(buf, limits, args)
    }

    #[cold]
    fn next_slow<'a>(
        &mut self,
        buf: &'a [u8],
        limits: &Limits,
        args: &mut Vec<&'a [u8]>,
    ) -> Result<Step, ProtocolError> {
        let mut at = 0;
        loop {
            let rest = &buf[at..];
            let mut partial = match self.partial.take() {
                Some(partial) => partial,
                None => {
                    let mark = args.len();
                    let in_place = match rest.first() {
                        None => return Ok(Step::Incomplete),
                        Some(b'*') => multibulk_in_place(rest, limits, args),
                        Some(_) => inline_in_place(rest, limits, args),
                    };
                    if let Some(length) = in_place {
                        at += length;
                        if args.len() > mark {
                            return Ok(Step::Command { consumed: at });
                        }
                        continue; // an empty line
                    }
                    args.truncate(mark);
                    Box::default()
                }
            };
            assert!(partial.state != State::Complete, "the owned command before this one was not taken");
            match partial.feed(rest, limits)? {
                Fed::Complete { consumed } => {
                    self.partial = Some(partial);
                    return Ok(Step::Owned { consumed: at + consumed });
                }
                Fed::Empty { consumed } => at += consumed,
                Fed::Incomplete => {
                    self.partial = Some(partial);
                    return Ok(Step::Incomplete);
                }
            }
        }
    }

    /// The command that [`Step::Owned`] announced.
    ///
    /// # Panics
    /// If the last step was another one.
    pub fn take_owned(&mut self) -> Owned {
        let partial = self.partial.take().expect("take_owned follows Step::Owned");
        assert!(partial.state == State::Complete, "take_owned follows Step::Owned");
        Owned { bytes: partial.bytes, pieces: partial.pieces, large: partial.large }
    }

    /// Whether a command is in the middle.
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// How many bytes the decoder holds for this connection beside its own size: for `client-query-buffer-limit`
    /// and CLIENT LIST. O(1).
    pub fn memory_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.memory_bytes())
    }

    /// While a large argument is being received: where its next bytes go, so that they can be read from the socket
    /// without a copy. Tell how many came with [`Self::large_filled`], then call [`Self::next`] with an empty buffer.
    ///
    /// The slice is never empty and never reaches beyond the argument and its line end. It grows with what has
    /// arrived, at most doubling, and never by what was merely announced.
    pub fn large_spare(&mut self) -> Option<&mut [u8]> {
        match &mut self.partial.as_mut()?.state {
            State::LargeBody(body) => Some(body.spare()),
            _ => None,
        }
    }

    /// `count` bytes were read to the start of the slice that [`Self::large_spare`] gave.
    pub fn large_filled(&mut self, count: usize) {
        let Some(State::LargeBody(body)) = self.partial.as_mut().map(|partial| &mut partial.state) else {
            panic!("large_filled follows large_spare");
        };
        body.filled += count;
        assert!(body.filled <= body.data.len());
    }
}

/// A command that arrived in pieces, or had something to unescape.
#[derive(Debug)]
pub struct Owned {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    large: Vec<(usize, Arc<Vec<u8>>)>,
}

impl Owned {
    /// Number of arguments, the command's name included. Never 0.
    #[expect(clippy::len_without_is_empty, reason = "a command is never empty")]
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Bytes this command occupies beside its own size.
    pub fn memory_bytes(&self) -> usize {
        let large: usize = self.large.iter().map(|(_, data)| data.capacity()).sum();
        self.bytes.capacity() + self.pieces.capacity() * size_of::<Piece>() + large
    }

    /// Appends the arguments.
    pub fn args<'a>(&'a self, args: &mut Vec<&'a [u8]>) {
        args.reserve(self.pieces.len());
        args.extend(self.pieces.iter().map(|piece| &self.bytes[piece.start..piece.start + piece.length]));
        let first = args.len() - self.pieces.len();
        for (index, data) in &self.large {
            args[first + index] = data;
        }
    }

    /// The allocation of the argument at `index`, if it has one of its own: it can be kept instead of a copy.
    pub fn large(&self, index: usize) -> Option<&Arc<Vec<u8>>> {
        let found = self.large.binary_search_by_key(&index, |(at, _)| *at).ok()?;
        Some(&self.large[found].1)
    }

    /// The large arguments with their indexes, ascending.
    pub fn large_args(&self) -> impl Iterator<Item = (usize, &Arc<Vec<u8>>)> {
        self.large.iter().map(|(index, data)| (*index, data))
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The fast road: slices of the buffer
// ---------------------------------------------------------------------------------------------------------------------

/// A plain, complete multibulk command at the start of `buf` (which starts with `*`): appends its arguments and gives
/// its length, or `None` for anything else, with `args` possibly longer.
#[inline]
fn multibulk_in_place<'a>(buf: &'a [u8], limits: &Limits, args: &mut Vec<&'a [u8]>) -> Option<usize> {
    let (count, mut at) = plain_number(buf, 1)?;
    if count > limits.multibulk_allowed() || count == 0 {
        return None;
    }
    let bulk_bytes_allowed = limits.bulk_bytes_allowed();
    for _ in 0..count {
        if *buf.get(at)? != b'$' {
            return None;
        }
        let (length, start) = plain_number(buf, at + 1)?;
        if length > bulk_bytes_allowed {
            return None;
        }
        // No overflow: plain_number yields less than 10^18.
        let end = start + length as usize;
        // Redis does not look at the two bytes behind an argument; neither do we.
        if end + 2 > buf.len() {
            return None;
        }
        args.push(&buf[start..end]);
        at = end + 2;
    }
    Some(at)
}

/// Digits at `at`, `\r`, and any byte: the number and where the next token starts. Up to 18 digits without leading zeros:
/// whatever else is legal, the slow road knows.
#[inline(always)]
fn plain_number(buf: &[u8], at: usize) -> Option<(u64, usize)> {
    let rest = buf.get(at..)?;
    let first = rest.first()?.wrapping_sub(b'0');
    if first > 9 {
        return None;
    }
    let mut value = first as u64;
    let mut digits = 1;
    loop {
        let byte = *rest.get(digits)?;
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            // The byte after \r is skipped unseen, but it must be there.
            let plain = byte == b'\r' && rest.len() > digits + 1 && (first != 0 || digits == 1);
            return plain.then_some((value, at + digits + 2));
        }
        if digits == 18 {
            return None;
        }
        value = value * 10 + digit as u64;
        digits += 1;
    }
}

/// A complete inline command without quotes: its length, line end included. No arguments appended: an empty line.
fn inline_in_place<'a>(buf: &'a [u8], limits: &Limits, args: &mut Vec<&'a [u8]>) -> Option<usize> {
    let window = &buf[..buf.len().min(limits.inline_bytes_max + 1)];
    // A line with a NUL never ends, as in Redis, which looks for its end in a C string.
    let end = memchr2(b'\n', 0, window).filter(|&end| window[end] == b'\n')?;
    let line = &buf[..end];
    if memchr2(b'"', b'\'', line).is_some() {
        return None;
    }
    args.extend(line.split(|&byte| ends_word(byte)).map(trim_start).filter(|word| !word.is_empty()));
    Some(end + 1)
}

/// What ends a word outside quotes.
fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0)
}

/// What may stand before a word, and what must follow a closing quote. More than what ends a word: `a\x0bb` is one word.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c)
}

fn trim_start(word: &[u8]) -> &[u8] {
    &word[word.iter().take_while(|&&byte| is_space(byte)).count()..]
}

// ---------------------------------------------------------------------------------------------------------------------
// The other road: a command in pieces
// ---------------------------------------------------------------------------------------------------------------------

/// Where an argument lies in `Partial::bytes`. A large one has length 0 here.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: usize,
    length: usize,
}

/// A command of which some bytes have been taken.
///
/// ```text
///            '*'                  count                length < 32 KiB
///   Start ────────▶ CountLine ──────────▶ BulkLine ─────────────────────▶ SmallBody ─┐
///     │                 │ count <= 0         ▲  │ length >= 32 KiB                    │
///     │ else            ▼                    │  └──────────────▶ LargeBody ──┐       │
///     ▼              (empty)                 └───── more args ───────────────┴───────┤
///   InlineLine ──────────────────────────────────────────────────────▶ Complete ◀────┘ that was the last
/// ```
#[derive(Debug, Default)]
struct Partial {
    state: State,
    /// Arguments still to come, the one in work included.
    missing: u64,
    /// The small arguments, one behind the other.
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    large: Vec<(usize, Arc<Vec<u8>>)>,
    large_bytes: usize,
    line: Line,
}

#[derive(Debug, Default, PartialEq)]
enum State {
    #[default]
    Start,
    InlineLine,
    CountLine,
    BulkLine,
    /// Bytes still to come, the two of the line end included.
    SmallBody {
        missing: usize,
    },
    LargeBody(LargeBody),
    Complete,
}

enum Fed {
    Complete { consumed: usize },
    Empty { consumed: usize },
    Incomplete,
}

impl Partial {
    /// Takes bytes until the command is complete or `buf` is used up.
    fn feed(&mut self, buf: &[u8], limits: &Limits) -> Result<Fed, ProtocolError> {
        let mut at = 0;
        loop {
            let rest = &buf[at..];
            match &mut self.state {
                State::Start => match rest.first() {
                    None => return Ok(Fed::Incomplete),
                    Some(b'*') => self.state = State::CountLine,
                    Some(_) => self.state = State::InlineLine,
                },
                State::InlineLine => {
                    if !self
                        .line
                        .gather_inline(buf, &mut at, limits)
                        .map_err(|TooLong| ProtocolError::TooBigInlineRequest)?
                    {
                        return Ok(Fed::Incomplete);
                    }
                    split_inline(&self.line.bytes, &mut self.bytes, &mut self.pieces)?;
                    if self.pieces.is_empty() {
                        return Ok(Fed::Empty { consumed: at });
                    }
                    self.state = State::Complete;
                }
                State::CountLine => {
                    if !self
                        .line
                        .gather_header(buf, &mut at, limits)
                        .map_err(|TooLong| ProtocolError::TooBigMultibulkCount)?
                    {
                        return Ok(Fed::Incomplete);
                    }
                    let count = parse_i64(&self.line.bytes[1..])
                        .filter(|&count| count <= 0 || count as u64 <= limits.multibulk_max)
                        .ok_or(ProtocolError::InvalidMultibulkLength)?;
                    self.line.bytes.clear();
                    if count <= 0 {
                        // Redis passes over any negative count, not only -1.
                        return Ok(Fed::Empty { consumed: at });
                    }
                    if count as u64 > limits.multibulk_allowed() {
                        return Err(ProtocolError::UnauthenticatedMultibulkLength);
                    }
                    self.missing = count as u64;
                    self.state = State::BulkLine;
                }
                State::BulkLine => {
                    if !self
                        .line
                        .gather_header(buf, &mut at, limits)
                        .map_err(|TooLong| ProtocolError::TooBigBulkCount)?
                    {
                        return Ok(Fed::Incomplete);
                    }
                    // The line may be empty: then the offending byte is its end.
                    let prefix = self.line.bytes.first().copied().unwrap_or(b'\r');
                    if prefix != b'$' {
                        return Err(ProtocolError::ExpectedDollar { got: prefix });
                    }
                    let length = parse_i64(&self.line.bytes[1..])
                        .and_then(|length| u64::try_from(length).ok())
                        .filter(|&length| length <= limits.bulk_bytes_max)
                        .ok_or(ProtocolError::InvalidBulkLength)?;
                    self.line.bytes.clear();
                    if length > limits.bulk_bytes_allowed() {
                        return Err(ProtocolError::UnauthenticatedBulkLength);
                    }
                    let length = usize::try_from(length).map_err(|_| ProtocolError::InvalidBulkLength)?;
                    if length >= LARGE_BYTES_MIN {
                        self.pieces.push(Piece { start: self.bytes.len(), length: 0 });
                        self.state = State::LargeBody(LargeBody::new(length));
                    } else {
                        self.pieces.push(Piece { start: self.bytes.len(), length });
                        self.state = State::SmallBody { missing: length + 2 };
                    }
                }
                State::SmallBody { missing } => {
                    let taken = rest.len().min(*missing);
                    let body_missing = missing.saturating_sub(2);
                    self.bytes.extend_from_slice(&rest[..taken.min(body_missing)]);
                    *missing -= taken;
                    at += taken;
                    if *missing > 0 {
                        return Ok(Fed::Incomplete);
                    }
                    self.argument_done();
                }
                State::LargeBody(body) => {
                    at += body.take(rest);
                    if body.missing() > 0 {
                        return Ok(Fed::Incomplete);
                    }
                    let data = body.take_data();
                    self.large_bytes += data.capacity();
                    self.large.push((self.pieces.len() - 1, Arc::new(data)));
                    self.argument_done();
                }
                State::Complete => return Ok(Fed::Complete { consumed: at }),
            }
        }
    }

    fn argument_done(&mut self) {
        self.missing -= 1;
        self.state = if self.missing == 0 { State::Complete } else { State::BulkLine };
    }

    fn memory_bytes(&self) -> usize {
        let body_bytes = if let State::LargeBody(body) = &self.state { body.data.capacity() } else { 0 };
        size_of::<Self>()
            + self.bytes.capacity()
            + self.pieces.capacity() * size_of::<Piece>()
            + self.large.capacity() * size_of::<(usize, Arc<Vec<u8>>)>()
            + self.large_bytes
            + self.line.bytes.capacity()
            + body_bytes
    }
}

/// A large argument that is being received, with the two bytes behind it, so that one read can finish it.
#[derive(Debug, PartialEq)]
struct LargeBody {
    /// Initialised up to its length; received up to `filled`.
    data: Vec<u8>,
    filled: usize,
    length: usize,
}

impl LargeBody {
    /// How much is made ready for one read.
    const SPARE_BYTES_MAX: usize = 1 << 20;

    fn new(length: usize) -> Self {
        LargeBody { data: Vec::new(), filled: 0, length }
    }

    fn missing(&self) -> usize {
        self.length + 2 - self.filled
    }

    /// Makes room for `wanted` more bytes: at least doubling, so that growing stays linear, and never beyond the end.
    fn grow(&mut self, wanted: usize) {
        let needed = self.filled + wanted;
        if needed > self.data.capacity() {
            let capacity = needed.max(self.data.capacity() * 2).max(LARGE_BYTES_MIN).min(self.length + 2);
            self.data.reserve_exact(capacity - self.data.len());
        }
    }

    fn take(&mut self, rest: &[u8]) -> usize {
        let taken = rest.len().min(self.missing());
        self.grow(taken);
        self.data.truncate(self.filled);
        self.data.extend_from_slice(&rest[..taken]);
        self.filled += taken;
        taken
    }

    fn spare(&mut self) -> &mut [u8] {
        assert!(self.missing() > 0);
        if self.filled == self.data.len() {
            // As much as has come so far, so that memory follows the bytes and not the announcement.
            let wanted = self.missing().min(self.filled.max(LARGE_BYTES_MIN)).min(Self::SPARE_BYTES_MAX);
            self.grow(wanted);
            self.data.resize(self.filled + wanted, 0);
        }
        &mut self.data[self.filled..]
    }

    fn take_data(&mut self) -> Vec<u8> {
        let mut data = std::mem::take(&mut self.data);
        data.truncate(self.length);
        data
    }
}

/// A line of which only a part may have come.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    /// A NUL has been seen: this line has no end any more.
    endless: bool,
    /// The `\r` of a header has been seen, and the byte behind it has not.
    ended: bool,
}

impl Line {
    /// Takes an inline command; true once `bytes` holds all of it, without its line end. An error if it is too long.
    fn gather_inline(&mut self, buf: &[u8], at: &mut usize, limits: &Limits) -> Result<bool, TooLong> {
        self.gather(b'\n', buf, at, limits)
    }

    /// Takes a header; true once `bytes` holds all of it, without its line end. That is `\r` and one byte that
    /// Redis does not look at.
    fn gather_header(&mut self, buf: &[u8], at: &mut usize, limits: &Limits) -> Result<bool, TooLong> {
        if !self.ended {
            self.ended = self.gather(b'\r', buf, at, limits)?;
        }
        if !self.ended || *at == buf.len() {
            return Ok(false);
        }
        *at += 1;
        self.ended = false;
        Ok(true)
    }

    fn gather(&mut self, end: u8, buf: &[u8], at: &mut usize, limits: &Limits) -> Result<bool, TooLong> {
        let rest = &buf[*at..];
        let found = if self.endless { None } else { memchr2(end, 0, rest) };
        let ended = found.is_some_and(|position| rest[position] == end);
        self.endless |= found.is_some() && !ended;
        let length = if ended { found.unwrap_or(0) } else { rest.len() };
        // Redis refuses an unfinished line when it has read more than this; where its reads happen to end decides about
        // a finished one. We refuse both, so that a request means the same however it was cut.
        if length > limits.inline_bytes_max - self.bytes.len().min(limits.inline_bytes_max) {
            return Err(TooLong);
        }
        self.bytes.extend_from_slice(&rest[..length]);
        *at += length + ended as usize;
        Ok(ended)
    }
}

struct TooLong;

/// Splits an inline command by the rules of Redis's quoting:
///
/// - `"…"` knows `\n \r \t \b \a`, `\xHH`, and any other escaped byte as itself;
/// - `'…'` knows only `\'`;
/// - quotes may open in the middle of a word, and behind a closing one the word must end.
fn split_inline(line: &[u8], bytes: &mut Vec<u8>, pieces: &mut Vec<Piece>) -> Result<(), ProtocolError> {
    let mut rest = trim_start(line);
    while let Some(&first) = rest.first() {
        // Only a NUL ends a word without being a space; lines with one never get here.
        debug_assert!(first != 0);
        let start = bytes.len();
        rest = take_word(rest, bytes)?;
        pieces.push(Piece { start, length: bytes.len() - start });
        rest = trim_start(rest);
    }
    Ok(())
}

/// Appends the word at the start of `rest`, unquoted, and gives what follows it.
fn take_word<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'"' => return word_end(take_double_quoted(after, bytes)?),
            b'\'' => return word_end(take_single_quoted(after, bytes)?),
            _ if ends_word(byte) => break,
            _ => bytes.push(byte),
        }
        rest = after;
    }
    Ok(rest)
}

fn word_end(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    if rest.first().is_none_or(|&byte| is_space(byte)) { Ok(rest) } else { Err(ProtocolError::UnbalancedQuotes) }
}

fn take_double_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex_value(*high) << 4 | hex_value(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                bytes.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                bytes.push(*byte);
                after
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        }
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'\'', after @ ..] => return Ok(after),
            [b'\\', b'\'', after @ ..] => {
                bytes.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                bytes.push(*byte);
                after
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        }
    }
}

fn hex_value(digit: u8) -> u8 {
    (digit as char).to_digit(16).expect("a hex digit") as u8
}

/// Splits a line by the quoting rules of inline commands, which are also those of the configuration file and of
/// redis-cli. `None`: the quotes are unbalanced.
pub fn split_quoted(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut bytes, mut pieces) = (Vec::new(), Vec::new());
    // Redis ends such lines at a NUL.
    let line = &line[..memchr(0, line).unwrap_or(line.len())];
    split_inline(line, &mut bytes, &mut pieces).ok()?;
    Some(pieces.iter().map(|piece| bytes[piece.start..piece.start + piece.length].to_vec()).collect())
}

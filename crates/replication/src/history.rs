//! Which stream a data set belongs to.

use std::fmt;

/// What a stream is called: 40 characters, which are hexadecimal digits wherever a server has made it up.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplicationId([u8; 40]);

impl ReplicationId {
    /// From 20 random bytes.
    pub fn from_random(bytes: [u8; 20]) -> ReplicationId {
        let mut text = [0; 40];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        ReplicationId(text)
    }

    /// From what another server or a file says; none if it is no such id.
    pub fn parse(text: &[u8]) -> Option<ReplicationId> {
        text.try_into().ok().filter(|text: &[u8; 40]| text.iter().all(u8::is_ascii_graphic)).map(ReplicationId)
    }

    /// A number that depends on every digit.
    pub(crate) fn fold(&self) -> u64 {
        self.0.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The part of the log that the driver can send: bytes with the offsets `first` to `end`, the latter not included. Byte number 0 is the first
/// that was ever in the stream; the protocol asks for the byte behind `offset` with `offset + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// `None`: nothing is kept, and nothing is counted.
    pub first: Option<u64>,
    pub end: u64,
}

/// The ids of the stream that the data belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    pub id: ReplicationId,
    /// What the stream was called before, and up to which offset (that one included) it is the same stream.
    pub second: Option<(ReplicationId, u64)>,
}

impl History {
    pub fn new(id: ReplicationId) -> History {
        History { id, second: None }
    }

    /// From here on the stream is another: a replica has become a primary.
    pub fn shift(&mut self, id: ReplicationId, end: u64) {
        self.second = Some((std::mem::replace(&mut self.id, id), end));
    }

    /// Whether somebody who has the stream `id` up to `offset` has what we have had there.
    pub fn shares(&self, id: ReplicationId, offset: u64) -> bool {
        id == self.id || self.second.is_some_and(|(second, until)| id == second && offset <= until)
    }
}

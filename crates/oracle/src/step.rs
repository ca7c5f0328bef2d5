//! What a generated run consists of. A step is plain data and depends on no reply, so that a run can be cut down.

use std::fmt;

/// One thing done to both servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A command on one of the standing connections.
    Command { connection: usize, arguments: Vec<Vec<u8>> },
    /// Bytes on a connection of their own, which then says that it is finished; everything answered is compared.
    Raw(Vec<u8>),
    /// SCAN (or HSCAN …) to its end with these options; the elements are compared, whatever the cursors.
    ScanToEnd { connection: usize, before_cursor: Vec<Vec<u8>>, after_cursor: Vec<Vec<u8>> },
    /// Gives a key a few milliseconds, and waits until it is gone.
    ExpireSoon { connection: usize, key: Vec<u8> },
    /// DUMPs a key on each server and RESTOREs each payload on the other server under the second name.
    Exchange { connection: usize, key: Vec<u8>, copy: Vec<u8> },
}

impl Step {
    /// The command's name in upper case, or the kind of step: what a failure is about.
    pub fn about(&self) -> String {
        match self {
            Step::Command { arguments, .. } => upper(arguments.first().map_or(b"", Vec::as_slice)),
            Step::Raw(_) => "raw bytes".to_owned(),
            Step::ScanToEnd { before_cursor, .. } => upper(&before_cursor[0]),
            Step::ExpireSoon { .. } => "expiry".to_owned(),
            Step::Exchange { .. } => "DUMP and RESTORE".to_owned(),
        }
    }
}

/// A name in upper case, for looking up.
pub fn upper(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_uppercase()
}

/// As one would type it into `redis-cli`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Command { connection, arguments } => write!(f, "[{connection}] {}", words(arguments)),
            Step::Raw(bytes) => write!(f, "[raw] {}", bytes.escape_ascii()),
            Step::ScanToEnd { connection, before_cursor, after_cursor } => {
                write!(f, "[{connection}] {} <0 … to the end> {}", words(before_cursor), words(after_cursor))
            }
            Step::ExpireSoon { connection, key } => {
                write!(f, "[{connection}] PEXPIRE {} 5, then until it is gone", word(key))
            }
            Step::Exchange { connection, key, copy } => {
                write!(f, "[{connection}] DUMP {} here, RESTORE {} there, and back", word(key), word(copy))
            }
        }
    }
}

fn words(arguments: &[Vec<u8>]) -> String {
    arguments.iter().map(|argument| word(argument)).collect::<Vec<_>>().join(" ")
}

fn word(argument: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\".contains(byte);
    if !argument.is_empty() && argument.iter().all(plain) {
        return String::from_utf8_lossy(argument).into_owned();
    }
    format!("\"{}\"", argument.escape_ascii())
}

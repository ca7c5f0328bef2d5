//! What a generated run consists of. A step is plain data and depends on no reply, so that a run can be cut down.

use std::fmt;

use crate::persistence::Deed;

/// One thing done to both servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A command on one of the standing connections.
    Command { connection: usize, arguments: Vec<Vec<u8>> },
    /// Commands that make sense only together: an id made by the server is the same on both when the last one was far in the
    /// future.
    Together { connection: usize, commands: Vec<Vec<Vec<u8>>> },
    /// A command whose reply is drawn by lot (SPOP, SRANDMEMBER …): what it may say is compared, and what it has removed on
    /// one side is removed on the other.
    Chance { connection: usize, arguments: Vec<Vec<u8>> },
    /// Commands that may wait, sent at once; consecutive moves are one script, in which both servers come to rest after
    /// each. Whoever waits at the end is unblocked. A connection that waits cannot move. A brief wait ends by its own timeout.
    Move { connection: usize, commands: Vec<Vec<Vec<u8>>>, is_brief: bool },
    /// Something done by one of those who listen; consecutive talks are one script.
    Talk(Talk),
    /// Bytes on a connection of their own, which then says that it is finished; everything answered is compared.
    Raw(Vec<u8>),
    /// SCAN (or HSCAN …) to its end with these options; the elements are compared, whatever the cursors.
    ScanToEnd { connection: usize, before_cursor: Vec<Vec<u8>>, after_cursor: Vec<Vec<u8>> },
    /// Gives a key a few milliseconds, and waits until it is gone.
    ExpireSoon { connection: usize, key: Vec<u8> },
    /// Gives a field of a hash a few milliseconds, and waits until it is gone.
    ExpireFieldSoon { connection: usize, key: Vec<u8>, field: Vec<u8> },
    /// DUMPs a key on each server and RESTOREs each payload on the other server under the second name.
    Exchange { connection: usize, key: Vec<u8>, copy: Vec<u8> },
    /// Something done to the files, or to the servers themselves.
    Persistence(Deed),
}

/// A step of a script in which some listen to channels or track keys, and all hear what becomes of that: see [`crate::listening`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Talk {
    /// Commands, sent at once.
    Commands { talker: usize, commands: Vec<Vec<Vec<u8>>> },
    /// A talker goes, and comes anew.
    Leaves { talker: usize },
    /// Until keys with a short life are past it.
    TimePasses,
}

impl Step {
    /// The command's name in upper case, or the kind of step: what a failure is about.
    pub fn about(&self) -> String {
        let name = |arguments: &[Vec<u8>]| upper(arguments.first().map_or(b"", Vec::as_slice));
        match self {
            Step::Command { arguments, .. } | Step::Chance { arguments, .. } => name(arguments),
            Step::Together { commands, .. } => name(&commands[0]),
            Step::Move { .. } => "waiting".to_owned(),
            Step::Talk(_) => "listening".to_owned(),
            Step::Raw(_) => "raw bytes".to_owned(),
            Step::ScanToEnd { before_cursor, .. } => upper(&before_cursor[0]),
            Step::ExpireSoon { .. } => "expiry".to_owned(),
            Step::ExpireFieldSoon { .. } => "expiry of a field".to_owned(),
            Step::Exchange { .. } => "DUMP and RESTORE".to_owned(),
            Step::Persistence(deed) => deed.to_string(),
        }
    }
}

/// A name in upper case, for looking up.
pub fn upper(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_uppercase()
}

const CLIENT_ID: &[u8] = b"{client:";

/// Stands for the id that a connection has on each server.
pub fn client_id_of(connection: usize) -> Vec<u8> {
    [CLIENT_ID, connection.to_string().as_bytes(), b"}"].concat()
}

/// The connection whose id an argument stands for.
pub fn names_client_of(argument: &[u8]) -> Option<usize> {
    let number = argument.strip_prefix(CLIENT_ID)?.strip_suffix(b"}")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// As one would type it into `redis-cli`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Command { connection, arguments } => write!(f, "[{connection}] {}", words(arguments)),
            Step::Together { connection, commands } => write!(f, "[{connection}] {}", lines(commands)),
            Step::Chance { connection, arguments } => write!(f, "[{connection}] {} (by chance)", words(arguments)),
            Step::Move { connection, commands, .. } => write!(f, "[{connection}] {} (may wait)", lines(commands)),
            Step::Talk(Talk::Commands { talker, commands }) => write!(f, "[talker {talker}] {}", lines(commands)),
            Step::Talk(Talk::Leaves { talker }) => write!(f, "[talker {talker}] leaves, and comes anew"),
            Step::Talk(Talk::TimePasses) => write!(f, "[talkers] time passes"),
            Step::Raw(bytes) => write!(f, "[raw] {}", bytes.escape_ascii()),
            Step::ScanToEnd { connection, before_cursor, after_cursor } => {
                write!(f, "[{connection}] {} <0 … to the end> {}", words(before_cursor), words(after_cursor))
            }
            Step::ExpireSoon { connection, key } => {
                write!(f, "[{connection}] PEXPIRE {} 5, then until it is gone", word(key))
            }
            Step::ExpireFieldSoon { connection, key, field } => {
                write!(f, "[{connection}] HPEXPIRE {} 5 FIELDS 1 {}, then until it is gone", word(key), word(field))
            }
            Step::Exchange { connection, key, copy } => {
                write!(f, "[{connection}] DUMP {} here, RESTORE {} there, and back", word(key), word(copy))
            }
            Step::Persistence(deed) => write!(f, "[{}] {deed}", crate::pair::CONTROL),
        }
    }
}

pub fn words(arguments: &[Vec<u8>]) -> String {
    arguments.iter().map(|argument| word(argument)).collect::<Vec<_>>().join(" ")
}

fn lines(commands: &[Vec<Vec<u8>>]) -> String {
    commands.iter().map(|command| words(command)).collect::<Vec<_>>().join("; ")
}

fn word(argument: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\".contains(byte);
    if !argument.is_empty() && argument.iter().all(plain) {
        return String::from_utf8_lossy(argument).into_owned();
    }
    format!("\"{}\"", argument.escape_ascii())
}

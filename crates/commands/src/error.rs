//! What a client can do wrong, and the one place where it becomes text.
//!
//! The texts are interface: clients and test suites compare them byte for byte with Redis 8.2's.

use std::borrow::Cow;

use crate::blocking::Block;
use crate::scripting::ScriptCall;
use crate::transaction::Transaction;

/// A client's mistake, or a state of the server that forbids what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The key holds another type.
    WrongType,
    /// Options in no known order.
    Syntax,
    /// Not a 64-bit integer.
    NotInteger,
    /// Not a finite (or otherwise acceptable) floating-point number.
    NotFloat,
    /// The key must exist.
    NoSuchKey,
    /// An index outside of what it indexes.
    IndexOutOfRange,
    /// An addition left the 64-bit range.
    Overflow,
    /// An expiry that overflows or must not be zero or negative.
    InvalidExpire(&'static str),
    /// Wrong number of arguments, of this command (`config|get` for subcommands).
    Arity(Cow<'static, str>),
    /// The container knows no such subcommand.
    UnknownSubcommand { command: String, subcommand: Vec<u8> },
    /// Password needed first.
    NoAuth,
    /// Wrong user or password.
    WrongPass,
    /// More than `maxmemory`, and nothing may be evicted.
    OutOfMemory,
    /// A complete text with its code, such as `ERR no such thing`.
    Text(Cow<'static, str>),
    /// The same, where it quotes what the client sent. Line ends in it become spaces on the wire.
    Bytes(Vec<u8>),
}

impl Error {
    /// A complete text, with its code.
    pub const fn text(text: &'static str) -> Error {
        Error::Text(Cow::Borrowed(text))
    }

    /// A complete text, with its code.
    pub fn string(text: String) -> Error {
        Error::Text(Cow::Owned(text))
    }

    /// A complete text with what the client sent in the middle: see [`shown`].
    pub fn quoting(before: &str, word: &[u8], after: &str) -> Error {
        Error::Bytes([before.as_bytes(), shown(word), after.as_bytes()].concat())
    }

    /// The text after the `-` of the reply, code first.
    pub fn render(&self) -> Cow<'_, [u8]> {
        let text: &str = match self {
            Error::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Error::Syntax => "ERR syntax error",
            Error::NotInteger => "ERR value is not an integer or out of range",
            Error::NotFloat => "ERR value is not a valid float",
            Error::NoSuchKey => "ERR no such key",
            Error::IndexOutOfRange => "ERR index out of range",
            Error::Overflow => "ERR increment or decrement would overflow",
            Error::NoAuth => "NOAUTH Authentication required.",
            Error::WrongPass => "WRONGPASS invalid username-password pair or user is disabled.",
            Error::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Error::Text(text) => text,
            Error::Bytes(bytes) => return Cow::Borrowed(bytes),
            Error::InvalidExpire(command) => {
                return Cow::Owned(format!("ERR invalid expire time in '{command}' command").into_bytes());
            }
            Error::Arity(command) => {
                return Cow::Owned(format!("ERR wrong number of arguments for '{command}' command").into_bytes());
            }
            Error::UnknownSubcommand { command, subcommand } => {
                let mut text = b"ERR unknown subcommand '".to_vec();
                text.extend(shown(subcommand).iter().take(128));
                text.extend_from_slice(b"'. Try ");
                text.extend_from_slice(command.to_uppercase().as_bytes());
                text.extend_from_slice(b" HELP.");
                return Cow::Owned(text);
            }
        };
        Cow::Borrowed(text.as_bytes())
    }
}

/// As much of a client's word as error texts show: in Redis these are C strings, so it ends at a zero byte.
pub fn shown(word: &[u8]) -> &[u8] {
    word.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Why a handler stopped without having replied.
#[derive(Clone, Debug)]
pub enum Stop {
    /// The client gets this error. Nothing was changed.
    Error(Error),
    /// The command must be alone in the world. Nothing was changed; it runs again on the wide side.
    Wide,
    /// The client waits until one of its keys is ready. Nothing was changed, and the command is alone in the world: see
    /// [`Ctx::block`](crate::Ctx::block).
    Block(Box<Block>),
    /// What EXEC has found in order runs now, in the same access.
    Execute(Box<Transaction>),
    /// The script that EVAL has found runs now, in the same access.
    Script(Box<ScriptCall>),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

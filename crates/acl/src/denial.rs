//! What somebody wants to do, and why he may not.

use std::ops::BitOr;

use crate::catalog::CommandId;

/// What happens to a key, as far as rules tell it apart: it is read, written, both, or (EXISTS, APPEND's return of a length) only heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched(u8);

impl Touched {
    /// Data is read and shown, or copied elsewhere.
    pub const READ: Touched = Touched(1);
    /// Data is changed, added or removed.
    pub const WRITE: Touched = Touched(2);
    /// Neither: any pattern with the key's name will do.
    pub const HEARD_OF: Touched = Touched(0);

    pub fn contains(self, other: Touched) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Touched {
    type Output = Touched;

    fn bitor(self, other: Touched) -> Touched {
        Touched(self.0 | other.0)
    }
}

/// A key of a command. `index` is its place among the arguments.
#[derive(Clone, Copy, Debug)]
pub struct KeyUse {
    pub index: usize,
    pub touched: Touched,
}

/// A channel of a command, or a pattern of channels.
#[derive(Clone, Copy, Debug)]
pub struct ChannelUse {
    pub index: usize,
    pub is_pattern: bool,
}

/// A command that somebody wants to run, as far as rules ask.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub command: CommandId,
    /// All arguments, the command's name first.
    pub args: &'a [&'a [u8]],
    pub keys: &'a [KeyUse],
    pub channels: &'a [ChannelUse],
    /// The selected database, if the command looks at data there.
    pub database: Option<u32>,
    /// Databases that arguments name, with the arguments' places.
    pub databases_named: &'a [(usize, u32)],
    /// It touches every database, of which there are so many.
    pub databases_all: Option<u32>,
}

/// Why a request is refused. The larger of two denials came closer to passing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    /// Argument `0` (the command stands for the selected database) or the argument that names one.
    Database(usize),
    Command,
    /// This argument is a key.
    Key(usize),
    /// This argument is a channel.
    Channel(usize),
}

impl Denial {
    /// The argument that was refused; the command's name where it was the command.
    pub fn index(self) -> usize {
        match self {
            Denial::Command => 0,
            Denial::Database(index) | Denial::Key(index) | Denial::Channel(index) => index,
        }
    }
}

//! What can be wrong with bytes from outside.

use std::fmt;
use std::io;

use crate::code::module_name;

pub type Result<T> = std::result::Result<T, Error>;

/// Where reading stopped, and why.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    offset: u64,
    kind: ErrorKind,
    key: Option<Vec<u8>>,
}

#[derive(Debug)]
pub enum ErrorKind {
    Io(io::Error),
    /// The bytes end here.
    Truncated,
    NotAnRdbFile,
    UnknownVersion(String),
    UnknownType(u8),
    /// A value or auxiliary data of a module, by the module's id.
    Module(u64),
    /// As release candidates of Redis 7.0 wrote it.
    OldFunction,
    /// A collection without elements, which no server keeps: Redis passes over such a key in a file, and refuses such a payload.
    EmptyCollection,
    /// What is wrong, in words.
    Damaged(String),
    Checksum {
        stored: u64,
        computed: u64,
    },
}

impl Error {
    pub(crate) fn new(offset: u64, kind: ErrorKind) -> Error {
        Error(Box::new(Inner { offset, kind, key: None }))
    }

    #[cold]
    pub(crate) fn damaged(offset: u64, what: impl Into<String>) -> Error {
        Error::new(offset, ErrorKind::Damaged(what.into()))
    }

    /// The byte of the file or payload, counted from 0.
    pub fn offset(&self) -> u64 {
        self.0.offset
    }

    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Whose value it is in.
    pub fn key(&self) -> Option<&[u8]> {
        self.0.key.as_deref()
    }

    pub fn is_truncated(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Truncated)
    }

    pub fn is_empty_collection(&self) -> bool {
        matches!(self.0.kind, ErrorKind::EmptyCollection)
    }

    pub(crate) fn with_key(mut self, key: &[u8]) -> Error {
        self.0.key.get_or_insert_with(|| key.to_vec());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KEY_BYTES_MAX: usize = 100;
        write!(f, "offset {}", self.0.offset)?;
        if let Some(key) = &self.0.key {
            write!(f, ", key \"{}\"", key[..key.len().min(KEY_BYTES_MAX)].escape_ascii())?;
            if key.len() > KEY_BYTES_MAX {
                write!(f, "... ({} bytes)", key.len())?;
            }
        }
        f.write_str(": ")?;
        match &self.0.kind {
            ErrorKind::Io(error) => write!(f, "reading failed: {error}"),
            ErrorKind::Truncated => f.write_str(
                "the data ends here, in the middle of something. It was not written or copied completely; \
                 take a backup, or another copy",
            ),
            ErrorKind::NotAnRdbFile => {
                f.write_str("this is no RDB file: it does not begin with REDIS or VALKEY and a version")
            }
            ErrorKind::UnknownVersion(version) => write!(
                f,
                "version {version} of the format is not known here; 1 to 12 and Valkey's 80 are. \
                 A newer server has written it"
            ),
            ErrorKind::UnknownType(code) => write!(
                f,
                "expected the type of a value or an opcode, found {code}. Either a newer server has written this, or what is \
                 before it is damaged"
            ),
            ErrorKind::Module(id) => write!(
                f,
                "data of the module \"{}\", version {} of its format, which this server does not have. Remove such keys (or the \
                 module) at the server that wrote it, and save again",
                module_name(*id),
                id & 0x3FF
            ),
            ErrorKind::OldFunction => f.write_str(
                "functions as release candidates of Redis 7.0 wrote them. Load the file with Redis 7.0 and save it again",
            ),
            ErrorKind::EmptyCollection => f.write_str("a collection without elements"),
            ErrorKind::Damaged(what) => f.write_str(what),
            ErrorKind::Checksum { stored, computed } => write!(
                f,
                "the checksum is {stored:#018x}, that of the data {computed:#018x}: something before it was changed or \
                 damaged. Take a backup, or another copy"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.kind {
            ErrorKind::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

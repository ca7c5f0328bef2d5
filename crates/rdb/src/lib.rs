//! RDB files and DUMP payloads.
//!
//! **Owns** the format: what values, keys and the file around them look like as bytes, in every version from 1 to 12 and in Valkey's
//! 80. **Must not know** files, sockets, clocks, commands, or which database a key goes to: it appends to a `Vec<u8>` and reads from a
//! [`std::io::Read`].
//!
//! ```text
//! file     magic and version │ aux ... │ functions ... │ database ... │ FF │ checksum
//!          9 bytes                                                      1    8 (since version 5)
//! database FE number │ FB keys, keys that expire │ record ...
//! record   [FC expiry] [F8 idle time or F9 frequency]  type  key  value
//! dump     type  value  version  checksum
//!          1            2        8
//! ```
//!
//! **Start** with [`encode`] to write and [`decode`] to read a file, [`dump`] for payloads. [`Version`] tells which server understands
//! what, [`code`] has the table of types and opcodes.
//!
//! The format is public: the [description](https://rdb.fnordig.de/file_format.html) of the older parts, those of
//! [listpacks](https://github.com/antirez/listpack/blob/master/listpack.md), and for the newer ones what Redis 7.0, Redis 8.2 and Valkey
//! 9.1 were observed to write and to accept (`tests/peers.rs`).

pub mod checksum;
pub mod code;
pub mod decode;
pub mod dump;
pub mod encode;
mod error;
pub mod fuzz;
mod version;

pub use checksum::Checksum;
pub use code::ValueType;
pub use decode::{Batch, Decoded, Item, Limits, Reader, Record, Value};
pub use error::{Error, ErrorKind, Result};
pub use version::{Family, Version};

/// What an eviction policy remembers of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Seconds since it was last used, as LRU policies note it.
    IdleSeconds(u64),
    /// The logarithmic counter of LFU policies.
    Frequency(u8),
}

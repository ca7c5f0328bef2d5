//! A whole string: header and registers.

use keyspace::{Expiry, Key, NewValue};

use super::dense::{self, DENSE_BYTES, Dense};
use super::sparse::{self, Corrupt, Raised};
use super::{REGISTERS, Registers, estimate::Histogram};
use crate::context::Ctx;
use crate::error::{Error, Stop};

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const CARDINALITY_AT: usize = 8;
pub const HEADER_BYTES: usize = 16;
const DENSE_SKETCH_BYTES: usize = HEADER_BYTES + DENSE_BYTES;

/// The top bit of the cardinality's last byte.
const STALE_AT: usize = 15;
const STALE: u8 = 0x80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Dense,
    Sparse,
}

impl From<Corrupt> for Stop {
    #[cold]
    fn from(_: Corrupt) -> Stop {
        Stop::Error(Error::text("INVALIDOBJ Corrupted HLL object detected"))
    }
}

/// How the registers of this string are kept. Sparse runs are not looked at.
///
/// # Errors
/// If it is no HyperLogLog.
pub fn encoding(bytes: &[u8]) -> Result<Encoding, Stop> {
    match bytes.get(ENCODING_AT) {
        Some(0) if bytes.starts_with(MAGIC) && bytes.len() == DENSE_SKETCH_BYTES => Ok(Encoding::Dense),
        Some(1) if bytes.starts_with(MAGIC) && bytes.len() >= HEADER_BYTES => Ok(Encoding::Sparse),
        _ => Err(Stop::Error(Error::text("WRONGTYPE Key is not a valid HyperLogLog string value."))),
    }
}

/// The registers of a dense sketch.
fn registers(bytes: &[u8]) -> &Dense {
    bytes[HEADER_BYTES..].try_into().expect("a dense sketch has one length")
}

/// The same, to change them.
pub fn registers_mut(bytes: &mut [u8]) -> &mut Dense {
    (&mut bytes[HEADER_BYTES..]).try_into().expect("a dense sketch has one length")
}

/// The cached cardinality no longer holds.
pub fn mark_stale(bytes: &mut [u8]) {
    bytes[STALE_AT] |= STALE;
}

/// The cached cardinality, if it holds.
pub fn cached_cardinality(bytes: &[u8]) -> Option<u64> {
    let cached = bytes[CARDINALITY_AT..HEADER_BYTES].try_into().expect("these are 8 bytes");
    (bytes[STALE_AT] & STALE == 0).then_some(u64::from_le_bytes(cached))
}

pub fn cache_cardinality(bytes: &mut [u8], cardinality: u64) {
    bytes[CARDINALITY_AT..HEADER_BYTES].copy_from_slice(&cardinality.to_le_bytes());
}

/// Raises all registers to what this sketch has.
///
/// # Errors
/// If its runs are corrupt.
pub fn merge(all: &mut Registers, bytes: &[u8], encoding: Encoding) -> Result<(), Corrupt> {
    match encoding {
        Encoding::Dense => {
            dense::merge(all, registers(bytes));
            Ok(())
        }
        Encoding::Sparse => sparse::merge(all, &bytes[HEADER_BYTES..]),
    }
}

/// How many different elements were seen.
pub fn cardinality(all: &Registers) -> u64 {
    Histogram::of(all).cardinality()
}

/// A sketch of its own, to be changed.
#[derive(Clone)]
pub struct Sketch {
    bytes: Vec<u8>,
    encoding: Encoding,
}

impl Sketch {
    /// Nothing was seen.
    pub fn empty() -> Sketch {
        let mut bytes = MAGIC.to_vec();
        bytes.push(1);
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend(sparse::EMPTY);
        Sketch { bytes, encoding: Encoding::Sparse }
    }

    /// # Errors
    /// If it is no HyperLogLog.
    pub fn of(bytes: Vec<u8>) -> Result<Sketch, Stop> {
        let encoding = encoding(&bytes)?;
        Ok(Sketch { bytes, encoding })
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn mark_stale(&mut self) {
        mark_stale(&mut self.bytes);
    }

    /// Makes a register at least this value. Says whether it was less. A sparse sketch may become dense by it.
    ///
    /// # Errors
    /// If the runs are corrupt.
    pub fn raise(&mut self, index: usize, value: u8, sparse_bytes_max: usize) -> Result<bool, Corrupt> {
        if self.encoding == Encoding::Sparse {
            match sparse::raise(&mut self.bytes, HEADER_BYTES, index, value, sparse_bytes_max)? {
                Raised::Yes => return Ok(true),
                Raised::No => return Ok(false),
                Raised::NotHere => self.make_dense()?,
            }
        }
        Ok(dense::raise(registers_mut(&mut self.bytes), index, value))
    }

    /// # Errors
    /// If the runs are corrupt.
    pub fn make_dense(&mut self) -> Result<(), Corrupt> {
        if self.encoding == Encoding::Sparse {
            let mut all = [0; REGISTERS];
            sparse::merge(&mut all, &self.bytes[HEADER_BYTES..])?;
            self.bytes.truncate(HEADER_BYTES);
            self.bytes[ENCODING_AT] = 0;
            self.bytes.resize(DENSE_SKETCH_BYTES, 0);
            self.encoding = Encoding::Dense;
            self.fill(&all);
        }
        Ok(())
    }

    /// Makes this the key's value. Its expiry stays.
    pub fn store(&self, cx: &mut Ctx<'_>, key: Key<'_>) {
        cx.db.update(key, NewValue::Raw(&self.bytes), Expiry::Keep);
    }

    /// Writes all registers of a dense sketch.
    pub fn fill(&mut self, all: &Registers) {
        dense::pack(all, registers_mut(&mut self.bytes));
    }
}

/// Whoever opens a sketch to change it leaves its string `raw`, also where nothing comes of that (seen in Redis 7.0 to 8.2 on sketches that
/// were loaded).
pub fn open_raw(cx: &mut Ctx<'_>, key: Key<'_>) {
    if let Some(mut entry) = cx.db.space.get_mut(cx.db.index, key)
        && entry.entry().value().encoding_name() == "embstr"
    {
        entry.bytes_mut(0);
    }
}

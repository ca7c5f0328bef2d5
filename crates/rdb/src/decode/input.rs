//! Where bytes come from: memory, or a reader whose bytes are still to come.

use std::borrow::Cow;

use keyspace::{IntBuffer, lzf};

use crate::code::length as code;
use crate::error::{Error, ErrorKind, Result};

/// LZF makes at most this many bytes of one (264 of three).
const LZF_GAIN_MAX: usize = 88;

/// Bytes to be decoded, which `'a` is the lifetime of where they are in memory.
///
/// Nothing is ever allocated by a length that was only read: at most by the bytes that are there.
pub(crate) trait Input<'a> {
    /// Where the next byte lies in the file or payload.
    fn offset(&self) -> u64;

    fn array<const N: usize>(&mut self) -> Result<[u8; N]>;

    /// So many bytes; in `scratch` if they are not in memory.
    fn slice<'s>(&mut self, len: usize, scratch: &'s mut Vec<u8>) -> Result<&'s [u8]>
    where
        'a: 's;

    /// So many bytes to keep.
    fn owned(&mut self, len: usize) -> Result<Cow<'a, [u8]>>;

    #[inline]
    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    #[inline]
    fn u64_le(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    #[inline]
    fn i64_le(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A length, or the code of a string in another form.
    #[inline]
    fn length_or_code(&mut self) -> Result<LengthOrCode> {
        let first = self.byte()?;
        Ok(LengthOrCode::Length(match first {
            0..0x40 => u64::from(first),
            0x40..0x80 => u64::from(first & 0x3F) << 8 | u64::from(self.byte()?),
            code::BITS_32 => u64::from(u32::from_be_bytes(self.array()?)),
            code::BITS_64 => u64::from_be_bytes(self.array()?),
            code::INT_8..=code::LZF => return Ok(LengthOrCode::Code(first)),
            _ => return Err(self.damaged_before(1, format!("a length begins with {first:#04x}, which none does"))),
        }))
    }

    /// A length or another number in its form.
    #[inline]
    fn length(&mut self) -> Result<u64> {
        match self.length_or_code()? {
            LengthOrCode::Length(length) => Ok(length),
            LengthOrCode::Code(_) => Err(self.damaged_before(1, "expected a length, found a string in another form")),
        }
    }

    /// A number of things that have at least one byte each.
    #[inline]
    fn count(&mut self) -> Result<usize> {
        let count = self.length()?;
        usize::try_from(count).map_err(|_| self.damaged_before(0, format!("the number {count} is beyond memory")))
    }

    /// A string; in `scratch` if it is not in memory as it is.
    #[inline]
    fn string<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8]>
    where
        'a: 's,
    {
        match self.length_or_code()? {
            LengthOrCode::Length(length) => {
                let length = self.byte_count(length)?;
                self.slice(length, scratch)
            }
            LengthOrCode::Code(code::LZF) => {
                *scratch = self.decompressed()?;
                Ok(scratch)
            }
            LengthOrCode::Code(code) => {
                let number = self.int(code)?;
                scratch.clear();
                scratch.extend_from_slice(IntBuffer::new().format(number));
                Ok(scratch)
            }
        }
    }

    /// A string to keep, or the integer that it was written as.
    #[inline]
    fn text(&mut self) -> Result<Text<'a>> {
        match self.length_or_code()? {
            LengthOrCode::Length(length) => {
                let length = self.byte_count(length)?;
                Ok(Text::Bytes(self.owned(length)?))
            }
            LengthOrCode::Code(code::LZF) => Ok(Text::Bytes(Cow::Owned(self.decompressed()?))),
            LengthOrCode::Code(code) => Ok(Text::Int(self.int(code)?)),
        }
    }

    fn byte_count(&self, length: u64) -> Result<usize> {
        usize::try_from(length).map_err(|_| Error::new(self.offset(), ErrorKind::Truncated))
    }

    fn int(&mut self, code: u8) -> Result<i64> {
        Ok(match code {
            code::INT_8 => i64::from(self.byte()? as i8),
            code::INT_16 => i64::from(i16::from_le_bytes(self.array()?)),
            _ => i64::from(i32::from_le_bytes(self.array()?)),
        })
    }

    #[cold]
    fn decompressed(&mut self) -> Result<Vec<u8>> {
        let start = self.offset();
        let compressed_len = self.length()?;
        let compressed_len = self.byte_count(compressed_len)?;
        let len = self.length()?;
        let mut scratch = Vec::new();
        let compressed = self.slice(compressed_len, &mut scratch)?;
        let whole = usize::try_from(len)
            .ok()
            .filter(|&len| len / LZF_GAIN_MAX <= compressed.len())
            .and_then(|len| lzf::decompress(compressed, len));
        whole.ok_or_else(|| {
            Error::damaged(
                start,
                format!("{compressed_len} bytes of LZF that do not decompress to {len} as they claim"),
            )
        })
    }

    /// Passes over a string.
    #[inline]
    fn skip_string(&mut self) -> Result<()> {
        let length = match self.length_or_code()? {
            LengthOrCode::Length(length) => length,
            LengthOrCode::Code(code::INT_8) => 1,
            LengthOrCode::Code(code::INT_16) => 2,
            LengthOrCode::Code(code::INT_32) => 4,
            LengthOrCode::Code(_) => {
                let compressed_len = self.length()?;
                self.length()?;
                compressed_len
            }
        };
        self.skip(length)
    }

    fn skip(&mut self, len: u64) -> Result<()>;

    /// An error at so many bytes before the next one.
    #[cold]
    fn damaged_before(&self, back: u64, what: impl Into<String>) -> Error {
        Error::damaged(self.offset().saturating_sub(back), what)
    }
}

pub(crate) enum LengthOrCode {
    Length(u64),
    Code(u8),
}

pub(crate) enum Text<'a> {
    Int(i64),
    Bytes(Cow<'a, [u8]>),
}

/// Bytes in memory.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The offset of the first of them.
    base: u64,
    /// How many bytes were missing when it was truncated.
    missing: u64,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], base: u64) -> Cursor<'a> {
        Cursor { bytes, at: 0, base, missing: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn missing(&self) -> u64 {
        self.missing
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        match self.bytes[self.at..].get(..len) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => Err(self.truncated(len as u64)),
        }
    }

    #[cold]
    fn truncated(&mut self, wanted: u64) -> Error {
        self.missing = wanted - self.left() as u64;
        Error::new(self.base + self.bytes.len() as u64, ErrorKind::Truncated)
    }
}

impl<'a> Input<'a> for Cursor<'a> {
    fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.truncated(N as u64)),
        }
    }

    #[inline]
    fn slice<'s>(&mut self, len: usize, _scratch: &'s mut Vec<u8>) -> Result<&'s [u8]>
    where
        'a: 's,
    {
        self.take(len)
    }

    #[inline]
    fn owned(&mut self, len: usize) -> Result<Cow<'a, [u8]>> {
        self.take(len).map(Cow::Borrowed)
    }

    #[inline]
    fn skip(&mut self, len: u64) -> Result<()> {
        if len > self.left() as u64 {
            return Err(self.truncated(len));
        }
        self.at += len as usize;
        Ok(())
    }
}

//! The reader of a file, and the records it finds.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;

use keyspace::Millis;

use super::input::{Cursor, Input, Text};
use super::value::{Limits, Value, decode_value};
use super::{Decoded, Item, skip};
use crate::code::{ValueType, opcode};
use crate::error::{Error, ErrorKind, Result};
use crate::{Access, Checksum, Version};

/// How much is read at once, and the size of most batches.
const BLOCK_BYTES: usize = 256 << 10;

/// The least that is asked for at once.
const ROOM_BYTES_MIN: usize = 4 << 10;

/// Longer records are decoded while they are read.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Magic and version.
const HEADER_BYTES: usize = 9;

const CHECKSUM_BYTES: usize = 8;

/// Reads a file.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    limits: Limits,
    /// What was read and not handed over, from `base` on; parsed up to `at`, of which `summed` is in the checksum.
    block: Vec<u8>,
    at: usize,
    summed: usize,
    base: u64,
    /// How much is read next.
    room: usize,
    source_is_at_end: bool,
    checks: bool,
    checksum: Checksum,
    version: Version,
    db: u64,
    /// Records of the block that were found.
    marks: Vec<Mark>,
    ready: VecDeque<Item>,
    /// What is wrong behind the items that are ready.
    failed: Option<Error>,
    is_done: bool,
}

/// Where a record of a batch is.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Its first byte, that of its key, that of its value, and the end.
    start: u32,
    key: u32,
    value: u32,
    end: u32,
    value_type: ValueType,
    access: Option<Access>,
    expire_at: Option<Millis>,
}

/// Some records of one database.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    base: u64,
    db: u64,
    version: Version,
    marks: Vec<Mark>,
}

impl Batch {
    pub fn db(&self) -> u64 {
        self.db
    }

    pub fn len(&self) -> usize {
        self.marks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    pub fn records(&self) -> Records<'_> {
        Records { batch: self, marks: self.marks.iter() }
    }
}

/// See [`Batch::records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    batch: &'a Batch,
    marks: std::slice::Iter<'a, Mark>,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let mark = *self.marks.next()?;
        Some(Record { batch: self.batch, mark })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.marks.size_hint()
    }
}

impl ExactSizeIterator for Records<'_> {}

/// A record that was found, not yet decoded.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    batch: &'a Batch,
    mark: Mark,
}

impl<'a> Record<'a> {
    /// Of its first byte in the file.
    pub fn offset(&self) -> u64 {
        self.batch.base + u64::from(self.mark.start)
    }

    pub fn db(&self) -> u64 {
        self.batch.db
    }

    pub fn expire_at(&self) -> Option<Millis> {
        self.mark.expire_at
    }

    pub fn access(&self) -> Option<Access> {
        self.mark.access
    }

    pub fn value_type(&self) -> ValueType {
        self.mark.value_type
    }

    /// Bytes in the file, key and value.
    pub fn byte_len(&self) -> usize {
        (self.mark.end - self.mark.start) as usize
    }

    fn part(&self, from: u32, to: u32) -> Cursor<'a> {
        let batch = self.batch;
        Cursor::new(&batch.bytes[from as usize..to as usize], batch.base + u64::from(from))
    }

    /// The key; most are borrowed from the batch.
    #[inline]
    pub fn key(&self) -> Result<Cow<'a, [u8]>> {
        match self.part(self.mark.key, self.mark.value).text()? {
            Text::Bytes(key) => Ok(key),
            Text::Int(number) => Ok(Cow::Owned(itoa::Buffer::new().format(number).as_bytes().to_vec())),
        }
    }

    /// The value, within these limits.
    ///
    /// # Errors
    /// What is wrong with it, and where; also if it is of a module.
    pub fn decode(&self, limits: &Limits) -> Result<Value<'a>> {
        let mut input = self.part(self.mark.value, self.mark.end);
        let is_valkey = self.batch.version.is_valkey();
        decode_value(&mut input, self.mark.value_type, is_valkey, limits).map_err(|error| match self.key() {
            Ok(key) => error.with_key(&key),
            Err(_) => error,
        })
    }
}

/// What a record begins with.
#[derive(Clone, Copy, Default)]
struct Prefix {
    expire_at: Option<Millis>,
    access: Option<Access>,
}

/// What comes next.
enum Head {
    /// A record's value is of this type.
    Record(Prefix, ValueType),
    Other(u8),
}

/// Reads a record up to its type, or an opcode.
#[inline]
fn head<'a>(input: &mut impl Input<'a>) -> Result<Head> {
    let mut prefix = Prefix::default();
    let mut has_prefix = false;
    loop {
        match input.byte()? {
            opcode::EXPIRE_MS => prefix.expire_at = Some(Millis(input.i64_le()?)),
            opcode::EXPIRE_SECONDS => {
                let seconds = i32::from_le_bytes(input.array()?);
                prefix.expire_at = Some(Millis(i64::from(seconds) * 1000));
            }
            opcode::IDLE => prefix.access = Some(Access::IdleSeconds(input.length()?)),
            opcode::FREQUENCY => prefix.access = Some(Access::Frequency(input.byte()?)),
            code => match ValueType::from_code(code) {
                Some(value_type) => return Ok(Head::Record(prefix, value_type)),
                None if has_prefix => {
                    return Err(input.damaged_before(1, format!("expected the type of a value, found {code}")));
                }
                None => return Ok(Head::Other(code)),
            },
        }
        has_prefix = true;
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// If these bytes are no RDB file, or of a version that is not known.
    pub fn new(source: R, limits: Limits) -> Result<Reader<R>> {
        let mut reader = Reader {
            source,
            limits,
            block: Vec::new(),
            at: 0,
            summed: 0,
            base: 0,
            room: BLOCK_BYTES,
            source_is_at_end: false,
            checks: true,
            checksum: Checksum::new(),
            version: Version::LATEST,
            db: 0,
            marks: Vec::new(),
            ready: VecDeque::new(),
            failed: None,
            is_done: false,
        };
        while reader.block.len() < HEADER_BYTES && reader.fill()? {}
        reader.version = version(&reader.block)?;
        reader.at = HEADER_BYTES;
        Ok(reader)
    }

    /// Whether the checksum is to be compared (`rdbchecksum`); it is unless told otherwise.
    pub fn check_checksum(&mut self, checks: bool) {
        self.checks = checks;
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// How far the file was read and handed over.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Behind the end of a file there may be more: what of it was read already, and the source.
    pub fn into_rest(self) -> (Vec<u8>, R) {
        let rest = self.block.get(self.at..).unwrap_or_default().to_vec();
        (rest, self.source)
    }

    /// The next part; `None` behind the end.
    ///
    /// # Errors
    /// Where and why it cannot go on. Nothing more can be read then.
    pub fn next_item(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            if self.is_done {
                return Ok(None);
            }
            if let Some(error) = self.failed.take() {
                self.is_done = true;
                return Err(error);
            }
            if let Err(error) = self.parse() {
                // The records before it are good.
                self.end_batch();
                self.failed = Some(error);
            }
        }
    }

    /// Goes through the block: records become marks; anything else ends the batch.
    fn parse(&mut self) -> Result<()> {
        loop {
            let mut input = Cursor::new(&self.block[self.at..], self.base + self.at as u64);
            let mut key_at = None;
            let found = head(&mut input).and_then(|head| match head {
                Head::Record(prefix, value_type) => {
                    let key = input.at();
                    input.skip_string()?;
                    let value = input.at();
                    key_at = Some(key..value);
                    match value_type {
                        ValueType::HashExpiring22 => skip::skip_expiring22(&mut input, self.version.is_valkey())?,
                        _ => skip::skip_value(&mut input, value_type)?,
                    }
                    let place = |at: usize| (self.at + at) as u32;
                    Ok(Found::Record(Mark {
                        start: place(0),
                        key: place(key),
                        value: place(value),
                        end: place(input.at()),
                        value_type,
                        access: prefix.access,
                        expire_at: prefix.expire_at,
                    }))
                }
                Head::Other(code) => other(&mut input, code).map(Found::Item),
            });
            match found {
                Ok(Found::Record(mark)) => {
                    self.at = mark.end as usize;
                    self.marks.push(mark);
                }
                Ok(Found::Item(item)) => {
                    let len = input.at();
                    self.end_batch();
                    self.at += len;
                    return self.take_item(item);
                }
                Err(error) if error.is_truncated() => {
                    let missing = input.missing();
                    if !self.marks.is_empty() {
                        self.end_batch();
                        return Ok(());
                    }
                    let needed = missing.saturating_add((self.block.len() - self.at) as u64);
                    if needed > RECORD_BYTES_MAX as u64 && self.is_at_record()? {
                        return self.large_record();
                    }
                    let wanted = (self.block.len() as u64).saturating_add(missing);
                    while (self.block.len() as u64) < wanted {
                        if !self.fill()? {
                            return Err(self.named(self.ends_here(), key_at));
                        }
                    }
                }
                Err(error) => return Err(self.named(error, key_at)),
            }
        }
    }

    /// The error with the key that lies here in the unparsed part of the block.
    #[cold]
    fn named(&self, error: Error, key_at: Option<Range<usize>>) -> Error {
        let Some(key_at) = key_at else { return error };
        let mut scratch = Vec::new();
        match Cursor::new(&self.block[self.at..][key_at], 0).string(&mut scratch) {
            Ok(key) => error.with_key(key),
            Err(_) => error,
        }
    }

    /// Reads more of the source into the block. Says whether there was more.
    fn fill(&mut self) -> Result<bool> {
        if self.source_is_at_end {
            return Ok(false);
        }
        let len = self.block.len();
        self.block.resize(len + self.room, 0);
        let read = read_some(&mut self.source, &mut self.block[len..]);
        self.block.truncate(len + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(count) => {
                self.source_is_at_end = count == 0;
                // Room is cleared before it is read into: not much of it where little comes at a time.
                self.room = if count == self.room { 2 * self.room } else { count.next_power_of_two() };
                self.room = self.room.clamp(ROOM_BYTES_MIN, BLOCK_BYTES);
                Ok(count > 0)
            }
            Err(error) => Err(Error::new(self.base + len as u64, ErrorKind::Io(error))),
        }
    }

    /// There is nothing behind what was read.
    #[cold]
    fn ends_here(&self) -> Error {
        Error::new(self.base + self.block.len() as u64, ErrorKind::Truncated)
    }

    /// Hands the block over with the records found in it. What follows them begins the next one.
    fn end_batch(&mut self) {
        if self.marks.is_empty() {
            return;
        }
        self.sum();
        let mut next = Vec::with_capacity(BLOCK_BYTES + self.block.len() - self.at);
        next.extend_from_slice(&self.block[self.at..]);
        let mut bytes = std::mem::replace(&mut self.block, next);
        bytes.truncate(self.at);
        let marks = std::mem::take(&mut self.marks);
        self.marks.reserve(marks.len());
        let batch = Batch { bytes, base: self.base, db: self.db, version: self.version, marks };
        self.ready.push_back(Item::Batch(batch));
        self.base += self.at as u64;
        (self.at, self.summed) = (0, 0);
    }

    fn sum(&mut self) {
        if self.checks {
            self.checksum.update(&self.block[self.summed..self.at]);
        }
        self.summed = self.at;
    }

    /// Forgets what was parsed, so that the block does not grow by it.
    fn forget_parsed(&mut self) {
        self.sum();
        self.block.drain(..self.at);
        self.base += self.at as u64;
        (self.at, self.summed) = (0, 0);
    }

    fn take_item(&mut self, item: Item) -> Result<()> {
        match item {
            Item::SelectDb(db) => self.db = db,
            Item::End => {
                self.sum();
                self.compare_checksum()?;
                self.is_done = true;
            }
            _ => {}
        }
        if self.at > BLOCK_BYTES / 2 {
            self.forget_parsed();
        }
        self.ready.push_back(item);
        Ok(())
    }

    fn compare_checksum(&mut self) -> Result<()> {
        if !self.version.has_checksum() {
            return Ok(());
        }
        while self.block.len() < self.at + CHECKSUM_BYTES {
            if !self.fill()? {
                return Err(self.ends_here());
            }
        }
        let mut input = Cursor::new(&self.block[self.at..], self.base + self.at as u64);
        let stored = input.u64_le()?;
        self.at += CHECKSUM_BYTES;
        let computed = self.checksum.finish();
        // 0: it was written without one.
        if self.checks && stored != 0 && stored != computed {
            return Err(Error::new(self.offset() - CHECKSUM_BYTES as u64, ErrorKind::Checksum { stored, computed }));
        }
        Ok(())
    }

    /// Whether what comes next is a record, of which at least the type is in the block.
    fn is_at_record(&self) -> Result<bool> {
        let mut input = Cursor::new(&self.block[self.at..], self.base + self.at as u64);
        match head(&mut input) {
            Ok(Head::Record(..)) => Ok(true),
            Ok(Head::Other(_)) => Ok(false),
            Err(error) if error.is_truncated() => Ok(false),
            Err(error) => Err(error),
        }
    }

    #[cold]
    fn large_record(&mut self) -> Result<()> {
        self.forget_parsed();
        let offset = self.base;
        let (limits, is_valkey) = (self.limits, self.version.is_valkey());
        let mut input = Streaming { reader: self };
        let Head::Record(prefix, value_type) = head(&mut input)? else {
            unreachable!("it was seen to be a record");
        };
        let mut scratch = Vec::new();
        let key = input.string(&mut scratch)?.to_vec();
        let value = decode_value(&mut input, value_type, is_valkey, &limits).map_err(|error| error.with_key(&key))?;
        let Prefix { expire_at, access } = prefix;
        let decoded = Decoded { offset, db: self.db, key, expire_at, access, value: value.into_owned() };
        self.ready.push_back(Item::Decoded(decoded));
        Ok(())
    }
}

enum Found {
    Record(Mark),
    Item(Item),
}

fn read_some(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

fn version(header: &[u8]) -> Result<Version> {
    let (digits, is_valkey) = match header {
        [b'R', b'E', b'D', b'I', b'S', digits @ ..] => (digits, false),
        [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => (digits, true),
        _ => return Err(Error::new(0, ErrorKind::NotAnRdbFile)),
    };
    let digits = &digits[..digits.len().min(if is_valkey { 3 } else { 4 })];
    let number =
        std::str::from_utf8(digits).ok().filter(|_| header.len() >= HEADER_BYTES).and_then(|text| text.parse().ok());
    let Some(number) = number else { return Err(Error::new(0, ErrorKind::NotAnRdbFile)) };
    match Version::known(number) {
        Some(version) if version.is_valkey() == is_valkey => Ok(version),
        _ => {
            let magic = if is_valkey { "VALKEY " } else { "" };
            Err(Error::new(0, ErrorKind::UnknownVersion(format!("{magic}{number}"))))
        }
    }
}

/// What an opcode that begins no record says.
fn other<'a>(input: &mut impl Input<'a>, code: u8) -> Result<Item> {
    let mut scratch = Vec::new();
    Ok(match code {
        opcode::SELECT_DB => Item::SelectDb(input.length()?),
        opcode::RESIZE_DB => Item::ResizeDb { keys: input.length()?, volatile_keys: input.length()? },
        opcode::SLOT_INFO => {
            Item::SlotInfo { slot: input.length()?, keys: input.length()?, volatile_keys: input.length()? }
        }
        opcode::AUX => {
            let name = input.string(&mut scratch)?.to_vec();
            Item::Aux { name, value: input.string(&mut scratch)?.to_vec() }
        }
        opcode::FUNCTION => Item::Function(input.string(&mut scratch)?.to_vec()),
        opcode::END => Item::End,
        opcode::MODULE_AUX => return Err(skip::module(input)),
        opcode::FUNCTION_OLD => return Err(Error::new(input.offset() - 1, ErrorKind::OldFunction)),
        code => return Err(Error::new(input.offset() - 1, ErrorKind::UnknownType(code))),
    })
}

/// The bytes of a large record: those in the block, then those that are still to be read.
struct Streaming<'r, R> {
    reader: &'r mut Reader<R>,
}

impl<R: Read> Streaming<'_, R> {
    /// Makes so many bytes available in the block, few enough to be there together.
    #[inline]
    fn need(&mut self, len: usize) -> Result<()> {
        let reader = &mut *self.reader;
        if reader.block.len() - reader.at >= len {
            return Ok(());
        }
        reader.forget_parsed();
        while reader.block.len() < len {
            if !reader.fill()? {
                return Err(reader.ends_here());
            }
        }
        Ok(())
    }

    /// Moves so many bytes into `out`, which never grows much faster than bytes come.
    fn read_into(&mut self, out: &mut Vec<u8>, len: usize) -> Result<()> {
        out.clear();
        let reader = &mut *self.reader;
        let here = (reader.block.len() - reader.at).min(len);
        out.extend_from_slice(&reader.block[reader.at..reader.at + here]);
        reader.at += here;
        if out.len() == len {
            return Ok(());
        }
        reader.forget_parsed();
        while out.len() < len {
            let before = out.len();
            let step = (len - before).min(before.max(BLOCK_BYTES));
            out.reserve_exact(step);
            out.resize(before + step, 0);
            let mut filled = before;
            while filled < before + step {
                match read_some(&mut reader.source, &mut out[filled..]) {
                    Ok(0) => return Err(Error::new(reader.base + (filled - before) as u64, ErrorKind::Truncated)),
                    Ok(count) => filled += count,
                    Err(error) => return Err(Error::new(reader.base, ErrorKind::Io(error))),
                }
            }
            if reader.checks {
                reader.checksum.update(&out[before..]);
            }
            reader.base += step as u64;
        }
        Ok(())
    }
}

impl<R: Read> Input<'static> for Streaming<'_, R> {
    fn offset(&self) -> u64 {
        self.reader.offset()
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.need(N)?;
        let reader = &mut *self.reader;
        let bytes = *reader.block[reader.at..].first_chunk::<N>().expect("so many were made available");
        reader.at += N;
        Ok(bytes)
    }

    fn slice<'s>(&mut self, len: usize, scratch: &'s mut Vec<u8>) -> Result<&'s [u8]>
    where
        'static: 's,
    {
        self.read_into(scratch, len)?;
        Ok(scratch)
    }

    fn owned(&mut self, len: usize) -> Result<Cow<'static, [u8]>> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes, len)?;
        Ok(Cow::Owned(bytes))
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        let mut left = len;
        while left > 0 {
            let step = left.min(BLOCK_BYTES as u64) as usize;
            self.need(step)?;
            self.reader.at += step;
            left -= step as u64;
        }
        Ok(())
    }
}

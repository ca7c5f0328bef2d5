//! Through a file from its beginning to its end.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ::rdb::{Error, ErrorKind, Item, Limits, Reader, Value};
use keyspace::Millis;

use super::statistics::{Key, Statistics};
use crate::progress::Watched;
use crate::shown;

/// Damaged keys beyond this are counted only.
const FAULTS_SHOWN_MAX: u64 = 20;

const CHECKSUM_BYTES: u64 = 8;

/// What was counted on the way.
#[derive(Debug, Default)]
struct Counts {
    keys: u64,
    expires: u64,
    already_expired: u64,
    /// Hashes some of whose fields expire.
    subexpires: u64,
    functions: u64,
    faults: u64,
}

/// Checks a file and says what is found. Returns the offset behind the snapshot's end if it is sound.
///
/// # Errors
/// Only what writing to `out` brings: a file that cannot be read is not sound.
pub(super) fn walk(
    mut file: &File,
    path: &Path,
    out: &mut dyn Write,
    statistics: Option<&mut Statistics>,
) -> io::Result<Option<u64>> {
    writeln!(out, "[offset 0] Checking RDB file {}", path.display())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let mut walk = Walk { now: Millis(now), counts: Counts::default(), out, statistics };
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.metadata()).map(|metadata| metadata.len());
    let end = match read {
        Ok(size_bytes) => walk.items(file, size_bytes)?,
        Err(error) => {
            writeln!(walk.out, "Cannot read file: {}", crate::system_text(&error))?;
            return Ok(None);
        }
    };
    walk.summary(end)?;
    Ok(end.filter(|_| walk.counts.faults == 0))
}

struct Walk<'a> {
    now: Millis,
    counts: Counts,
    out: &'a mut dyn Write,
    statistics: Option<&'a mut Statistics>,
}

impl Walk<'_> {
    /// Returns the offset behind the end, if that was reached.
    fn items(&mut self, file: &File, size_bytes: u64) -> io::Result<Option<u64>> {
        let limits = Limits::default();
        let mut reader = match Reader::new(Watched::new(file, size_bytes), limits) {
            Ok(reader) => reader,
            Err(error) => {
                self.fault(&error, None)?;
                return Ok(None);
            }
        };
        let version = reader.version();
        writeln!(
            self.out,
            "[offset 9] RDB version {}{}",
            version.number(),
            if version.is_valkey() { ", Valkey's" } else { "" }
        )?;
        loop {
            let item = match reader.next_item() {
                Ok(Some(item)) => item,
                Ok(None) => unreachable!("the end comes as an item, and ends this"),
                Err(error) => {
                    self.fault(&error, None)?;
                    return Ok(None);
                }
            };
            match item {
                Item::Aux { name, value } => {
                    let offset = reader.offset();
                    writeln!(self.out, "[offset {offset}] AUX FIELD {} = '{}'", shown(&name), shown(&value))?;
                }
                Item::Function(_) => self.counts.functions += 1,
                Item::SelectDb(db) => writeln!(self.out, "[offset {}] Selecting DB ID {db}", reader.offset())?,
                Item::ResizeDb { .. } | Item::SlotInfo { .. } => {}
                Item::Batch(batch) => {
                    for record in batch.records() {
                        let whole = record.key().and_then(|key| Ok((key, record.decode(&limits)?)));
                        let (key, value) = match whole {
                            Ok(whole) => whole,
                            Err(error) => {
                                self.counts.keys += 1;
                                let place = Place { db: record.db(), offset: record.offset() };
                                self.fault(&error, Some(&place))?;
                                continue;
                            }
                        };
                        self.key(record.db(), &key, record.expire_at(), &value);
                    }
                }
                Item::Decoded(record) => self.key(record.db, &record.key, record.expire_at, &record.value),
                Item::End => {
                    let end = reader.offset();
                    if version.has_checksum() {
                        let mut stored = [0; CHECKSUM_BYTES as usize];
                        file.read_exact_at(&mut stored, end - CHECKSUM_BYTES)?;
                        let what = match stored {
                            [0, 0, 0, 0, 0, 0, 0, 0] => {
                                "RDB file was saved with checksum disabled: no check performed."
                            }
                            _ => "Checksum OK",
                        };
                        writeln!(self.out, "[offset {end}] {what}")?;
                    }
                    return Ok(Some(end));
                }
            }
        }
    }

    fn key(&mut self, db: u64, name: &[u8], expire_at: Option<Millis>, value: &Value<'_>) {
        let is_expired = expire_at.is_some_and(|at| at < self.now);
        self.counts.keys += 1;
        self.counts.expires += u64::from(expire_at.is_some());
        self.counts.already_expired += u64::from(is_expired);
        if let Value::Object(object) = value {
            self.counts.subexpires += u64::from(object.earliest_expiry().is_some());
        }
        if let Some(statistics) = &mut self.statistics {
            statistics.add(&Key { db, name, expires: expire_at.is_some(), is_expired, value });
        }
    }

    fn fault(&mut self, error: &Error, place: Option<&Place>) -> io::Result<()> {
        self.counts.faults += 1;
        if self.counts.faults > FAULTS_SHOWN_MAX {
            return Ok(());
        }
        writeln!(self.out, "--- RDB ERROR DETECTED ---\n{error}")?;
        if let Some(Place { db, offset }) = place {
            writeln!(self.out, "[additional info] The key is in database {db}; its record begins at offset {offset}")?;
        }
        match error.kind() {
            ErrorKind::EmptyCollection => {
                writeln!(self.out, "[additional info] A server passes over such a key: it is as good as deleted")?;
            }
            ErrorKind::Damaged(_) | ErrorKind::UnknownType(_) => {
                writeln!(self.out, "[additional info] No server loads this file. Take it from a backup or a replica")?;
            }
            _ => {}
        }
        Ok(())
    }

    fn summary(&mut self, end: Option<u64>) -> io::Result<()> {
        let Counts { keys, expires, already_expired, subexpires, functions, faults } = self.counts;
        match end {
            Some(end) if faults == 0 => writeln!(self.out, "[offset {end}] \\o/ RDB looks OK! \\o/")?,
            Some(_) => writeln!(self.out, "[info] {faults} keys are damaged; all others were read to the end")?,
            None => writeln!(self.out, "[info] What follows the last error was not read")?,
        }
        writeln!(self.out, "[info] {keys} keys read")?;
        writeln!(self.out, "[info] {expires} expires")?;
        writeln!(self.out, "[info] {already_expired} already expired")?;
        writeln!(self.out, "[info] {subexpires} subexpires")?;
        writeln!(self.out, "[info] {functions} functions")
    }
}

struct Place {
    db: u64,
    offset: u64,
}

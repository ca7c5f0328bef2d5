//! The effects of one access, as bytes.
//!
//! ```text
//! unit_begin()  effect(0, SET a 1)                         unit_end()   *3 SET a 1
//! unit_begin()  effect(0, SET b 1)  effect(3, DEL c)       unit_end()   *1 MULTI  *3 SET b 1  *2 SELECT 3  *2 DEL c  *1 EXEC
//! ```
//!
//! Each destination has its own bytes, since what they get differs (PUBLISH is for replicas only) and with it what has to be
//! wrapped and which database is selected. Bytes are encoded once and copied where both want them. The database of the first
//! effect is not selected here: [`Journal::append`](crate::Journal::append) knows which one the stream has.

use crate::journal::DESTINATIONS;

bitflags::bitflags! {
    /// Who gets an effect.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Destinations: u8 {
        const AOF = 1 << 0;
        const REPLICAS = 1 << 1;
    }
}

/// A buffer that has been larger than this does not stay so: one value of 500 MB must not be paid for by every thread forever.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// The effects of one access, encoded; each thread has one and uses it again.
#[derive(Debug)]
pub struct Batch {
    wanted: Destinations,
    in_unit: bool,
    pub(crate) parts: [Part; DESTINATIONS],
}

/// What one destination gets.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) bytes: Vec<u8>,
    /// The database of the first effect: it is selected in front of `bytes` unless the stream has it already.
    pub(crate) first_db: u32,
    /// The database that is selected behind `bytes`.
    pub(crate) db: u32,
    /// Whole units.
    pub(crate) units: u64,
    /// Effects, and what wraps them.
    pub(crate) commands: u64,
    /// Where the unit in progress begins.
    unit_begin: usize,
    unit_effects: u32,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch::new()
    }
}

impl Batch {
    pub fn new() -> Batch {
        Batch { wanted: Destinations::empty(), in_unit: false, parts: Default::default() }
    }

    /// Says who reads; what is for nobody else is not encoded. Call it once an access, with [`Journal::wanted`](crate::Journal::wanted).
    #[inline]
    pub fn serve(&mut self, wanted: Destinations) {
        debug_assert!(self.is_empty(), "a batch is appended before its readers change");
        self.wanted = wanted;
    }

    /// What follows, up to [`unit_end`](Self::unit_end), happens at once.
    #[inline]
    pub fn unit_begin(&mut self) {
        assert!(!self.in_unit, "units do not nest");
        self.in_unit = true;
    }

    /// A command that makes the same change elsewhere: its name and arguments.
    #[inline]
    pub fn effect<I>(&mut self, db: u32, args: I, to: Destinations)
    where
        I: IntoIterator<Item: AsRef<[u8]>, IntoIter: ExactSizeIterator + Clone>,
    {
        assert!(self.in_unit, "an effect belongs to a unit");
        let [aof, replicas] = &mut self.parts;
        match self.wanted & to {
            Destinations::AOF => aof.effect(db, args),
            Destinations::REPLICAS => replicas.effect(db, args),
            both if both == Destinations::all() => {
                aof.select(db);
                let begin = aof.bytes.len();
                encode_command(&mut aof.bytes, args);
                replicas.select(db);
                replicas.bytes.extend_from_slice(&aof.bytes[begin..]);
            }
            _ => {}
        }
    }

    /// Ends the unit; several effects of it are wrapped in MULTI and EXEC. A unit without effects leaves nothing.
    #[inline]
    pub fn unit_end(&mut self) {
        assert!(self.in_unit, "a unit ends once");
        self.in_unit = false;
        self.parts.iter_mut().for_each(Part::unit_end);
    }

    /// Whether nothing is encoded.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.in_unit && self.parts.iter().all(|part| part.bytes.is_empty())
    }

    pub(crate) fn is_in_unit(&self) -> bool {
        self.in_unit
    }
}

impl Part {
    #[inline]
    fn effect<I>(&mut self, db: u32, args: I)
    where
        I: IntoIterator<Item: AsRef<[u8]>, IntoIter: ExactSizeIterator + Clone>,
    {
        self.select(db);
        encode_command(&mut self.bytes, args);
    }

    /// Makes ready for one more effect of the unit, in this database.
    #[inline]
    fn select(&mut self, db: u32) {
        if self.bytes.is_empty() {
            self.first_db = db;
            self.db = db;
            self.unit_begin = 0;
        }
        if self.unit_effects == 1 {
            self.wrap();
        }
        if self.db != db {
            encode_select(&mut self.bytes, db);
            self.db = db;
            if self.unit_effects == 0 {
                self.unit_begin = self.bytes.len();
            }
        }
        self.unit_effects += 1;
        self.commands += 1;
    }

    /// The unit turns out to have a second effect: MULTI in front of the first. Units of one effect are nearly all of them, and a first effect
    /// is nearly always short, so moving it costs less than asking beforehand how many there will be.
    #[cold]
    fn wrap(&mut self) {
        self.bytes.splice(self.unit_begin..self.unit_begin, MULTI.iter().copied());
        self.commands += 2;
    }

    #[inline]
    fn unit_end(&mut self) {
        if self.unit_effects > 1 {
            self.bytes.extend_from_slice(EXEC);
        }
        self.units += u64::from(self.unit_effects > 0);
        self.unit_effects = 0;
        self.unit_begin = self.bytes.len();
    }

    /// Its bytes are in the stream.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.units = 0;
        self.commands = 0;
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }
}

pub(crate) const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
pub(crate) const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// `*2 SELECT db`.
#[cold]
pub(crate) fn encode_select(bytes: &mut Vec<u8>, db: u32) {
    encode_command(bytes, [b"SELECT", itoa::Buffer::new().format(db).as_bytes()]);
}

/// A command as clients send it.
#[inline]
pub(crate) fn encode_command<I>(bytes: &mut Vec<u8>, args: I)
where
    I: IntoIterator<Item: AsRef<[u8]>, IntoIter: ExactSizeIterator + Clone>,
{
    let args = args.into_iter();
    // One reservation for all: the longest header has 20 digits, and two bytes end each argument.
    const AROUND: usize = 1 + 20 + 2 + 2;
    let length: usize = args.clone().map(|arg| arg.as_ref().len() + AROUND).sum();
    bytes.reserve(AROUND + length);
    encode_header(bytes, b'*', args.len());
    for arg in args {
        let arg = arg.as_ref();
        encode_header(bytes, b'$', arg.len());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
}

#[inline]
fn encode_header(bytes: &mut Vec<u8>, kind: u8, number: usize) {
    match number {
        0..10 => bytes.extend_from_slice(&[kind, b'0' + number as u8, b'\r', b'\n']),
        10..100 => {
            bytes.extend_from_slice(&[kind, b'0' + (number / 10) as u8, b'0' + (number % 10) as u8, b'\r', b'\n'])
        }
        _ => {
            bytes.push(kind);
            bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes as words: `MULTI | SET a 1`.
    fn words(bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<&str> = text.split("\r\n").filter(|line| !line.starts_with('$')).collect();
        let mut out = String::new();
        for line in lines {
            match line.strip_prefix('*') {
                Some(_) => out.push_str(if out.is_empty() { "" } else { "| " }),
                None => out.push_str(&format!("{line} ")),
            }
        }
        out.trim_end().to_owned()
    }

    fn batch(units: &[&[(u32, &[&str], Destinations)]]) -> Batch {
        let mut batch = Batch::new();
        batch.serve(Destinations::all());
        for unit in units {
            batch.unit_begin();
            unit.iter().for_each(|(db, args, to)| batch.effect(*db, *args, *to));
            batch.unit_end();
        }
        batch
    }

    #[test]
    fn one_effect_stands_alone_and_several_hold_together() {
        let all = Destinations::all();
        let batch = batch(&[
            &[(0, &["SET", "a", "1"], all)],
            &[],
            &[(0, &["SET", "b", "2"], all), (3, &["DEL", "c"], all)],
            &[(4, &["DEL", "d"], all), (4, &["DEL", "e"], all)],
        ]);
        let expected = "SET a 1 | MULTI | SET b 2 | SELECT 3 | DEL c | EXEC | SELECT 4 | MULTI | DEL d | DEL e | EXEC";
        assert_eq!(words(&batch.parts[0].bytes), expected);
        assert_eq!(words(&batch.parts[1].bytes), expected);
        assert_eq!((batch.parts[0].units, batch.parts[0].first_db, batch.parts[0].db), (3, 0, 4));
    }

    #[test]
    fn each_destination_has_its_own_units_and_databases() {
        let batch = batch(&[
            &[(0, &["SET", "a", "1"], Destinations::all()), (0, &["PUBLISH", "c", "m"], Destinations::REPLICAS)],
            &[(7, &["PUBLISH", "c", "m"], Destinations::REPLICAS)],
            &[(0, &["DEL", "a"], Destinations::all())],
        ]);
        assert_eq!(words(&batch.parts[0].bytes), "SET a 1 | DEL a");
        assert_eq!(
            words(&batch.parts[1].bytes),
            "MULTI | SET a 1 | PUBLISH c m | EXEC | SELECT 7 | PUBLISH c m | SELECT 0 | DEL a"
        );
    }

    #[test]
    fn nothing_is_encoded_for_nobody() {
        let mut batch = Batch::new();
        batch.serve(Destinations::AOF);
        batch.unit_begin();
        batch.effect(0, &["PUBLISH", "c", "m"], Destinations::REPLICAS);
        batch.unit_end();
        assert!(batch.is_empty());
    }

    #[test]
    fn lengths_of_every_size() {
        for length in [0, 9, 10, 99, 100, 1000, 123_456] {
            let mut bytes = Vec::new();
            encode_command(&mut bytes, ["x".repeat(length)]);
            assert_eq!(String::from_utf8(bytes).unwrap(), format!("*1\r\n${length}\r\n{}\r\n", "x".repeat(length)));
        }
    }
}

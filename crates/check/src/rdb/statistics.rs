//! What is in a file, by database, type and encoding.
//!
//! The rows and their names are Valkey's, so that what reads its output reads this one; encodings and the largest keys come after them. What is
//! an element: of a string the string, of a hash a field with its value, of a stream an entry, of a sorted set a member (Valkey counts some
//! scores as elements). Sizes are of their texts. No percentile is above the maximum, to which Valkey's buckets round up.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Display;
use std::io::{self, Write};
use std::ops::ControlFlow;

use hdrhistogram::Histogram;
use keyspace::collection::ListItem;
use keyspace::collection::stream::StreamId;
use keyspace::{IntBuffer, Millis, Object, canonical_int};
use rdb::Value;

use crate::shown;

const LARGEST_MAX: usize = 10;

/// Of percentiles, as Valkey's have.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Redis's limit for text beside its object.
const EMBSTR_BYTES_MAX: usize = 44;

/// In the order of columns. Modules are never read; the column is there for who expects it.
const TYPES: [&str; 7] = ["string", "list", "set", "zset", "hash", "module", "stream"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Table,
    Info,
    Csv,
}

impl Format {
    pub(super) fn from_word(word: &str) -> Option<Format> {
        match word {
            "table" => Some(Format::Table),
            "info" => Some(Format::Info),
            "csv" => Some(Format::Csv),
            _ => None,
        }
    }
}

/// A key that was read.
pub(super) struct Key<'a> {
    pub db: u64,
    pub name: &'a [u8],
    pub expires: bool,
    pub is_expired: bool,
    pub value: &'a Value<'a>,
}

#[derive(Debug)]
pub(super) struct Statistics {
    /// By database and place in [`TYPES`].
    columns: BTreeMap<u64, [Column; TYPES.len()]>,
    /// By database, type and encoding.
    encodings: BTreeMap<(u64, &'static str, &'static str), Share>,
    largest: BinaryHeap<Reverse<Large>>,
}

/// The keys of one database and type.
#[derive(Debug)]
struct Column {
    keys: u64,
    expires: u64,
    already_expired: u64,
    name_bytes: u64,
    value_bytes: u64,
    elements: u64,
    elements_per_key: Sizes,
    bytes_per_element: Sizes,
}

#[derive(Debug, Default)]
struct Share {
    keys: u64,
    elements: u64,
    value_bytes: u64,
}

/// Ordered by size first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Large {
    value_bytes: u64,
    elements: u64,
    db: u64,
    name: Vec<u8>,
    type_name: &'static str,
    encoding: &'static str,
}

#[derive(Debug)]
struct Sizes {
    histogram: Histogram<u64>,
    /// The exact one: the histogram's is rounded up.
    max: u64,
}

impl Sizes {
    fn new() -> Sizes {
        let histogram = Histogram::new(SIGNIFICANT_DIGITS).expect("it has so many digits");
        Sizes { histogram, max: 0 }
    }

    fn add(&mut self, size: u64) {
        self.histogram.record(size).expect("it grows as needed");
        self.max = self.max.max(size);
    }

    fn percentile(&self, percent: f64) -> f64 {
        if self.histogram.is_empty() { 0.0 } else { self.histogram.value_at_percentile(percent).min(self.max) as f64 }
    }
}

impl Column {
    fn new() -> Column {
        Column {
            keys: 0,
            expires: 0,
            already_expired: 0,
            name_bytes: 0,
            value_bytes: 0,
            elements: 0,
            elements_per_key: Sizes::new(),
            bytes_per_element: Sizes::new(),
        }
    }
}

impl Statistics {
    pub(super) fn new() -> Statistics {
        Statistics { columns: BTreeMap::new(), encodings: BTreeMap::new(), largest: BinaryHeap::new() }
    }

    pub(super) fn add(&mut self, key: &Key<'_>) {
        let (type_name, encoding) = match key.value {
            Value::Int(_) => ("string", "int"),
            Value::Text(text) if canonical_int(text).is_some() => ("string", "int"),
            Value::Text(text) if text.len() <= EMBSTR_BYTES_MAX => ("string", "embstr"),
            Value::Text(_) => ("string", "raw"),
            Value::Object(object) => (object.type_name(), object.encoding_name()),
        };
        let columns = self.columns.entry(key.db).or_insert_with(|| std::array::from_fn(|_| Column::new()));
        let place = TYPES.iter().position(|&name| name == type_name).expect("every type has a column");
        let column = &mut columns[place];
        let (mut elements, mut value_bytes) = (0, 0);
        each_element(key.value, |size| {
            elements += 1;
            value_bytes += size;
            column.bytes_per_element.add(size);
        });
        column.keys += 1;
        column.expires += u64::from(key.expires);
        column.already_expired += u64::from(key.is_expired);
        column.name_bytes += key.name.len() as u64;
        column.value_bytes += value_bytes;
        column.elements += elements;
        column.elements_per_key.add(elements);
        let share = self.encodings.entry((key.db, type_name, encoding)).or_default();
        share.keys += 1;
        share.elements += elements;
        share.value_bytes += value_bytes;
        if self.largest.len() == LARGEST_MAX
            && self.largest.peek().is_some_and(|Reverse(least)| least.value_bytes >= value_bytes)
        {
            return;
        }
        let name = key.name.to_vec();
        self.largest.push(Reverse(Large { value_bytes, elements, db: key.db, name, type_name, encoding }));
        if self.largest.len() > LARGEST_MAX {
            self.largest.pop();
        }
    }

    pub(super) fn write(self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        // Valkey has rows for empty databases too, up to the last that is not.
        for (db, columns) in &self.columns {
            let mut rows = Rows { db: *db, format, out };
            rows.names()?;
            rows.row("keys.total", columns, |column| column.keys)?;
            rows.row("expire_keys.total", columns, |column| column.expires)?;
            rows.row("already_expired.total", columns, |column| column.already_expired)?;
            rows.row("keys.size", columns, |column| column.name_bytes)?;
            rows.row("keys.value_size", columns, |column| column.value_bytes)?;
            rows.row("elements.total", columns, |column| column.elements)?;
            rows.row("elements.size", columns, |column| column.value_bytes)?;
            let average = |sum: u64, count: u64| Rounded(if count == 0 { 0.0 } else { sum as f64 / count as f64 });
            rows.row("elements.num.max", columns, |column| column.elements_per_key.max)?;
            rows.row("elements.num.avg", columns, |column| average(column.elements, column.keys))?;
            for percent in [99, 90, 50] {
                rows.row(&format!("elements.num.p{percent}"), columns, |column| {
                    Rounded(column.elements_per_key.percentile(f64::from(percent)))
                })?;
            }
            rows.row("elements.size.max", columns, |column| column.bytes_per_element.max)?;
            rows.row("elements.size.avg", columns, |column| average(column.value_bytes, column.elements))?;
            for percent in [99, 90, 50] {
                rows.row(&format!("elements.size.p{percent}"), columns, |column| {
                    Rounded(column.bytes_per_element.percentile(f64::from(percent)))
                })?;
            }
        }
        match format {
            // Its rows have a column for each type, and nothing else.
            Format::Csv => Ok(()),
            Format::Table => self.write_rest_as_table(out),
            Format::Info => self.write_rest_as_info(out),
        }
    }

    fn write_rest_as_table(self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\n{:<6}{:<8}{:<14}{:>12}{:>14}{:>16}", "db", "type", "encoding", "keys", "elements", "bytes")?;
        for ((db, type_name, encoding), Share { keys, elements, value_bytes }) in &self.encodings {
            writeln!(out, "{db:<6}{type_name:<8}{encoding:<14}{keys:>12}{elements:>14}{value_bytes:>16}")?;
        }
        writeln!(
            out,
            "\nThe largest keys\n{:>16}{:>14}  {:<6}{:<8}{:<14}key",
            "bytes", "elements", "db", "type", "encoding"
        )?;
        for Reverse(Large { value_bytes, elements, db, name, type_name, encoding }) in self.largest.into_sorted_vec() {
            writeln!(out, "{value_bytes:>16}{elements:>14}  {db:<6}{type_name:<8}{encoding:<14}{}", shown(&name))?;
        }
        Ok(())
    }

    fn write_rest_as_info(self, out: &mut dyn Write) -> io::Result<()> {
        for ((db, type_name, encoding), Share { keys, elements, value_bytes }) in &self.encodings {
            let prefix = format!("[info] db.{db}.type.{type_name}.encoding.{encoding}");
            writeln!(out, "{prefix}.keys.total:{keys}")?;
            writeln!(out, "{prefix}.elements.total:{elements}")?;
            writeln!(out, "{prefix}.elements.size:{value_bytes}")?;
        }
        for (rank, Reverse(large)) in self.largest.into_sorted_vec().into_iter().enumerate() {
            let Large { value_bytes, elements, db, name, type_name, encoding } = large;
            writeln!(
                out,
                "[info] largest.{rank}:db={db},type={type_name},encoding={encoding},elements={elements},size={value_bytes},key={}",
                shown(&name)
            )?;
        }
        Ok(())
    }
}

/// Visits the size of each element.
fn each_element(value: &Value<'_>, mut visit: impl FnMut(u64)) {
    let int_len = |number: i64| IntBuffer::new().format(number).len();
    match value {
        Value::Int(number) => visit(int_len(*number) as u64),
        Value::Text(text) => visit(text.len() as u64),
        Value::Object(Object::List(list)) => list.walk(0, false, |item| {
            visit(match item {
                ListItem::Int(number) => int_len(number),
                ListItem::Bytes(text) => text.len(),
                ListItem::Large(text) => text.len(),
            } as u64);
            ControlFlow::Continue(())
        }),
        Value::Object(Object::Set(set)) => set.for_each(|member| visit(member.len() as u64)),
        Value::Object(Object::SortedSet(set)) => set.all().for_each(|(member, _)| visit(member.len() as u64)),
        // Before no instant: fields that have expired are in the file too.
        Value::Object(Object::Hash(hash)) => {
            hash.visit(Millis(i64::MIN), |field| visit((field.name.len() + field.value.len()) as u64));
        }
        Value::Object(Object::Stream(stream)) => {
            for entry in stream.entries.range(StreamId::MIN, StreamId::MAX) {
                visit(entry.fields().map(|(name, value)| (name.len() + value.len()) as u64).sum());
            }
        }
    }
}

/// With two digits.
struct Rounded(f64);

impl Display for Rounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.2}", self.0))
    }
}

struct Rows<'a> {
    db: u64,
    format: Format,
    out: &'a mut dyn Write,
}

impl Rows<'_> {
    fn names(&mut self) -> io::Result<()> {
        if self.format == Format::Info {
            return Ok(());
        }
        self.cells("type.name", TYPES.iter())
    }

    fn row<T: Display>(
        &mut self,
        name: &str,
        columns: &[Column; TYPES.len()],
        cell: impl Fn(&Column) -> T,
    ) -> io::Result<()> {
        if self.format == Format::Info {
            for (type_name, column) in TYPES.iter().zip(columns) {
                writeln!(self.out, "[info] db.{}.type.{type_name}.{name}:{}", self.db, cell(column))?;
            }
            return Ok(());
        }
        self.cells(name, columns.iter().map(cell))
    }

    fn cells(&mut self, name: &str, cells: impl Iterator<Item = impl Display>) -> io::Result<()> {
        let name = format!("db.{}.{name}", self.db);
        if self.format == Format::Csv {
            write!(self.out, "{name}")?;
            for cell in cells {
                write!(self.out, ",{cell}")?;
            }
        } else {
            write!(self.out, "{name:<30}")?;
            for cell in cells {
                write!(self.out, "\t{cell:<5}")?;
            }
        }
        writeln!(self.out)
    }
}

//! `--keystats`: the largest keys by memory and by elements, and how sizes and the lengths of names are distributed.

use hdrhistogram::Histogram;

use super::Failed;
use super::big_keys::{elements, key_count, key_types, memory};
use super::progress::{Progress, Shown};
use super::scan::Walk;
use super::types::{self, KeyType};
use crate::format::{human_bytes, quoted};
use crate::interrupt;
use crate::session::{Session, print_bytes};

/// How many of the largest are shown unless `--top` says so.
const TOP_DEFAULT: usize = 10;
/// Sizes are kept to this many digits, which is 0.01 %.
const DIGITS: u8 = 4;

struct Tally {
    of: KeyType,
    keys: u64,
    bytes: u64,
    elements: u64,
    largest: (u64, Vec<u8>),
    longest: (u64, Vec<u8>),
}

struct Statistics {
    tallies: Vec<Tally>,
    top: Vec<(u64, usize, Vec<u8>)>,
    top_limit: usize,
    sizes: Histogram<u64>,
    names: Histogram<u64>,
    keys: u64,
    bytes: u64,
    name_bytes: u64,
}

pub fn run(session: &mut Session) -> Result<(), Failed> {
    let total_keys = key_count(session)?;
    print_bytes(
        b"\n# Scanning the entire keyspace to find the biggest keys and distribution information.\n\
          # Use -i 0.1 to sleep 0.1 sec per 100 SCAN commands (not usually needed).\n\
          # Use --cursor <n> to start the scan at the cursor <n> (usually after a Ctrl-C).\n\
          # Use --top <n> to display <n> top key sizes (default is 10).\n\
          # Ctrl-C to stop the scan.\n\n",
    );
    let _caught = interrupt::catch();
    let mut types = types::known();
    let mut statistics = Statistics::new(session.options.top.unwrap_or(TOP_DEFAULT));
    let mut walk = Walk::new(session);
    let mut progress = Progress::start(session, total_keys);
    // A walk from a cursor sees only the rest, and one that is stopped only the beginning.
    let whole = walk.cursor == 0;
    let mut scanned = 0u64;
    let mut stopped_at = None;
    loop {
        let cursor = walk.cursor;
        let keys = match walk.next(session, 100) {
            Ok(Some(keys)) => keys,
            Ok(None) => break,
            Err(_) if interrupt::happened() => {
                stopped_at = Some(cursor);
                break;
            }
            Err(error) => return Err(error),
        };
        scanned += keys.len() as u64;
        let kinds = key_types(session, &keys, &mut types)?;
        let lengths = elements(session, &keys, &kinds, &types)?;
        let sizes = memory(session, &keys)?;
        for (((key, kind), length), size) in keys.iter().zip(kinds).zip(lengths).zip(sizes) {
            if let (Some(kind), Some(length), Some(size)) = (kind, length, size) {
                statistics.add(&types, kind, key, length, size);
            }
        }
        progress.show(scanned);
    }
    progress.clear();
    let share = match stopped_at {
        None if whole => 1.0,
        _ if total_keys == 0 => 0.0,
        _ => (scanned as f64 / total_keys as f64).min(1.0),
    };
    let mut out = statistics.report(share);
    if let Some(cursor) = stopped_at {
        out += &format!(
            "\nScan interrupted:\nUse 'redis-cli --keystats --cursor {cursor}' to restart from the last cursor.\n"
        );
    }
    print_bytes(out.as_bytes());
    Ok(())
}

impl Statistics {
    fn new(top_limit: usize) -> Statistics {
        let histogram = || Histogram::new(DIGITS).expect("a number of digits that is allowed");
        Statistics {
            tallies: Vec::new(),
            top: Vec::new(),
            top_limit,
            sizes: histogram(),
            names: histogram(),
            keys: 0,
            bytes: 0,
            name_bytes: 0,
        }
    }

    fn add(&mut self, types: &[KeyType], kind: usize, key: &[u8], length: u64, size: u64) {
        for of in types.iter().skip(self.tallies.len()) {
            self.tallies.push(Tally::new(of.clone()));
        }
        let tally = &mut self.tallies[kind];
        tally.keys += 1;
        tally.bytes += size;
        tally.elements += length;
        if size > tally.largest.0 {
            tally.largest = (size, key.to_vec());
        }
        if length > tally.longest.0 {
            tally.longest = (length, key.to_vec());
        }
        self.keys += 1;
        self.bytes += size;
        self.name_bytes += key.len() as u64;
        self.sizes.saturating_record(size);
        self.names.saturating_record(key.len() as u64);
        let place = self.top.partition_point(|(other, ..)| *other >= size);
        if place < self.top_limit {
            self.top.insert(place, (size, kind, key.to_vec()));
            self.top.truncate(self.top_limit);
        }
    }

    fn report(&self, share: f64) -> String {
        let mut out = format!("{:6.2}% {}\n", share * 100.0, "|".repeat((share * 60.0) as usize));
        out += &format!("Keys sampled: {}\nKeys size:    {}\n", self.keys, human(self.bytes));
        out += &format!("\n--- Top {} key sizes ---\n", self.top_limit);
        for (place, (size, kind, key)) in self.top.iter().enumerate() {
            let name = &self.tallies[*kind].of.name;
            out += &format!("{:>3} {:>8} {name:<10} {}\n", place + 1, human(*size), quoted(key));
        }
        let seen = || self.tallies.iter().filter(|tally| tally.keys > 0);
        out += "\n--- Top size per type ---\n";
        for tally in seen().filter(|tally| tally.largest.0 > 0) {
            out += &format!("{:<10} {} is {}\n", tally.of.name, bare(&tally.largest.1), human(tally.largest.0));
        }
        out += "\n--- Top length and cardinality per type ---\n";
        for tally in seen().filter(|tally| tally.longest.0 > 0) {
            out += &format!("{:<10} {} has {}\n", tally.of.name, bare(&tally.longest.1), tally.count(tally.longest.0));
        }
        out += "\nKey size Percentile Total keys\n-------- ---------- -----------\n";
        for (size, percentile, keys) in percentiles(&self.sizes) {
            out += &format!("{:>8} {percentile:>9.4}% {keys:>11}\n", human(size));
        }
        out += &format!(
            "Note: 0.01% size precision, Mean: {}, StdDeviation: {}\n",
            human_bytes(self.sizes.mean()),
            human_bytes(self.sizes.stdev())
        );
        out += "\nKey name length Percentile Total keys\n--------------- ---------- -----------\n";
        for (length, percentile, keys) in percentiles(&self.names) {
            out += &format!("{:>15} {percentile:>9.4}% {keys:>11}\n", human(length));
        }
        let mean = |total: u64, count: u64| if count == 0 { 0.0 } else { total as f64 / count as f64 };
        out += &format!(
            "Total key length is {} ({} avg)\n",
            human(self.name_bytes),
            human_bytes(mean(self.name_bytes, self.keys))
        );
        out += "\nType        Total keys  Keys % Tot size Avg size  Total length/card Avg ln/card\n\
                --------- ------------ ------- -------- -------- ------------------ -----------\n";
        for tally in seen() {
            let average = mean(tally.elements, tally.keys);
            let (total, average) = match (tally.of.size_command, tally.of.unit) {
                (None, _) => ("-".to_string(), "- ".to_string()),
                (_, "bytes") => (human(tally.elements), human_bytes(average)),
                (_, unit) => (format!("{} {unit}", tally.elements), format!("{average:.2}")),
            };
            out += &format!(
                "{:<9} {:>12} {:>6.2}% {:>8} {:>8} {total:>18} {average:>11}\n",
                tally.of.name,
                tally.keys,
                mean(tally.keys * 100, self.keys),
                human(tally.bytes),
                human_bytes(mean(tally.bytes, tally.keys)),
            );
        }
        out
    }
}

impl Tally {
    fn new(of: KeyType) -> Tally {
        let none = || (0, Vec::new());
        Tally { of, keys: 0, bytes: 0, elements: 0, largest: none(), longest: none() }
    }

    /// A string's length is in bytes, and reads better as such.
    fn count(&self, elements: u64) -> String {
        if self.of.unit == "bytes" { human(elements) } else { format!("{elements} {}", self.of.unit) }
    }
}

fn human(bytes: u64) -> String {
    human_bytes(bytes as f64)
}

/// A name without quotes around it, but with everything odd in it escaped.
fn bare(key: &[u8]) -> String {
    let quoted = quoted(key);
    quoted[1..quoted.len() - 1].to_string()
}

/// The least value, then halfway to the end again and again, until all are counted: value, percentile, values up to there.
fn percentiles(histogram: &Histogram<u64>) -> Vec<(u64, f64, u64)> {
    let mut rows: Vec<(u64, f64, u64)> = Vec::new();
    let total = histogram.len();
    let mut percentile = 0.0;
    let mut counted = 0;
    while counted < total {
        let value = histogram.value_at_quantile(percentile / 100.0).min(histogram.max());
        counted = histogram.count_between(0, value);
        rows.push((value, if counted == total { 100.0 } else { percentile }, counted));
        percentile += (100.0 - percentile) / 2.0;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_halve_the_way_to_the_end() {
        let mut histogram = Histogram::new(DIGITS).unwrap();
        for value in 1..=8 {
            histogram.record(value * 100).unwrap();
        }
        let rows = percentiles(&histogram);
        let rows: Vec<_> = rows.into_iter().map(|(_, percentile, counted)| (percentile, counted)).collect();
        assert_eq!(rows, [(0.0, 1), (50.0, 4), (75.0, 6), (87.5, 7), (100.0, 8)]);
    }

    #[test]
    fn the_report_of_few_keys() {
        let types = types::known();
        let mut statistics = Statistics::new(2);
        for (key, kind, length, size) in [("a", 0, 3, 100), ("b", 2, 10, 64), ("c", 2, 2000, 3000)] {
            statistics.add(&types, kind, key.as_bytes(), length, size);
        }
        let report = statistics.report(1.0);
        assert!(report.contains("  1    2.93K string     \"c\"\n  2     100B list       \"a\"\n"), "{report}");
        assert!(report.contains("list       a has 3 items\n"), "{report}");
        assert!(report.contains("string               2  66.67%    2.99K"), "{report}");
    }
}

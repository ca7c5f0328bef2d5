//! The drawing of LATENCY GRAPH: a column a sample, the newest on the right, and under each how long ago it was.

use std::fmt::Write;

use keyspace::Millis;

use crate::observation::latency::Series;

/// Lines of the drawing.
const ROWS: u64 = 4;
/// What stands on top of a column, by how full its last line is.
const TOPS: [char; 3] = ['_', 'o', '#'];

/// The columns between the lowest and the highest sample.
pub fn draw(event: &str, series: &Series, now: Millis) -> String {
    let (low, high) = series.range_ms();
    let mut text = format!("{event} - high {high} ms, low {low} ms (all time high {} ms)\n", series.max_ms);
    text.push_str(&"-".repeat(80));
    text.push('\n');
    let steps = ROWS * TOPS.len() as u64 - 1;
    let height = |ms: u64| (ms - low) * steps / (high - low).max(1);
    for row in (0..ROWS).rev() {
        let line: String = series
            .samples
            .iter()
            .map(|sample| {
                let (full, rest) = (height(sample.ms) / TOPS.len() as u64, height(sample.ms) % TOPS.len() as u64);
                match row.cmp(&full) {
                    std::cmp::Ordering::Less => '|',
                    std::cmp::Ordering::Equal => TOPS[rest as usize],
                    std::cmp::Ordering::Greater => ' ',
                }
            })
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
    // Written downwards, so that a column is one character wide.
    let ages: Vec<Vec<char>> =
        series.samples.iter().map(|sample| age(now.0 / 1000 - sample.at_seconds).chars().collect()).collect();
    for row in 0..ages.iter().map(Vec::len).max().unwrap_or(0) {
        let line: String = ages.iter().map(|age| age.get(row).copied().unwrap_or(' ')).collect();
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// `5s`, `3m`, `2h`, `1d`.
fn age(seconds: i64) -> String {
    const UNITS: [(i64, char); 3] = [(86_400, 'd'), (3600, 'h'), (60, 'm')];
    let unit = UNITS.iter().find(|(unit, _)| seconds >= *unit);
    let (unit, letter) = unit.copied().unwrap_or((1, 's'));
    format!("{}{letter}", seconds.max(0) / unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::latency::Sample;

    fn drawn(samples: &[(i64, u64)]) -> String {
        let max_ms = samples.iter().map(|sample| sample.1).max().unwrap_or(0);
        let samples = samples.iter().map(|&(at_seconds, ms)| Sample { at_seconds, ms }).collect();
        let text = draw("command", &Series { max_ms, samples }, Millis(1_000_000));
        text.split_once(&format!("{}\n", "-".repeat(80))).expect("a line").1.to_owned()
    }

    #[test]
    fn columns() {
        assert_eq!(
            drawn(&[(900, 101), (994, 200), (995, 300), (999, 500), (1000, 101)]),
            "   #\n   |\n  #|\n_#||_\n\n16510\nmssss\n"
        );
    }

    #[test]
    fn a_single_sample_has_no_range() {
        assert_eq!(drawn(&[(1000, 50)]), "\n\n\n_\n\n0\ns\n");
    }

    #[test]
    fn ages() {
        assert_eq!(
            [0, 59, 60, 3599, 3600, 86_399, 86_400, 1_000_000].map(age),
            ["0s", "59s", "1m", "59m", "1h", "23h", "1d", "11d"]
        );
    }
}

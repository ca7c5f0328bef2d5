//! The report as redis-benchmark writes it, and its quiet form.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::{Circumstances, milliseconds, pace};
use crate::run::Outcome;
use crate::suite::Test;

/// One line.
pub fn quiet(outcome: &Outcome) -> String {
    let p50 = milliseconds(outcome.record.latencies_us.value_at_quantile(0.5));
    format!("{}: {:.2} requests per second, p50={p50:.3} msec\n", outcome.title, outcome.per_second())
}

pub fn full(outcome: &Outcome, test: &Test, circumstances: &Circumstances) -> String {
    let mut text = String::new();
    write_full(&mut text, outcome, test, circumstances).expect("writing to a string");
    text
}

fn write_full(text: &mut String, outcome: &Outcome, test: &Test, circumstances: &Circumstances) -> std::fmt::Result {
    let settings = circumstances.settings;
    writeln!(text, "====== {} ======", outcome.title)?;
    writeln!(text, "  {} requests completed in {:.2} seconds", outcome.replies(), outcome.seconds)?;
    writeln!(text, "  {} parallel clients", settings.connections)?;
    writeln!(text, "  {} bytes payload", test.payload)?;
    writeln!(text, "  keep alive: {}", u8::from(settings.keep_alive))?;
    if let Some(pace) = pace(settings) {
        writeln!(text, "  {pace}")?;
    }
    if outcome.record.errors > 0 {
        writeln!(text, "  {} error replies", outcome.record.errors)?;
    }
    if settings.cluster {
        let primaries = circumstances.nodes.iter().filter(|node| !node.is_replica).count();
        writeln!(text, "  cluster mode: yes ({primaries} masters)")?;
        for (index, node) in circumstances.nodes.iter().enumerate() {
            writeln!(text, "  node [{index}] configuration:")?;
            let shown = |value: &Option<String>| match value.as_deref() {
                None | Some("") => "NONE".to_owned(),
                Some(value) => value.to_owned(),
            };
            writeln!(text, "    save: {}", shown(&node.config.save))?;
            writeln!(text, "    appendonly: {}", shown(&node.config.appendonly))?;
        }
    } else if let Some(config) = &circumstances.config {
        writeln!(text, "  host configuration \"save\": {}", config.save.as_deref().unwrap_or_default())?;
        writeln!(text, "  host configuration \"appendonly\": {}", config.appendonly.as_deref().unwrap_or_default())?;
    }
    match settings.threads {
        Some(threads) => writeln!(text, "  multi-thread: yes\n  threads: {threads}")?,
        None => writeln!(text, "  multi-thread: no")?,
    }
    let latencies_us = &outcome.record.latencies_us;
    writeln!(text, "\nLatency by percentile distribution:")?;
    for (quantile, value_us, count) in by_percentile(latencies_us) {
        let value = milliseconds(value_us);
        writeln!(text, "{:.3}% <= {value:.3} milliseconds (cumulative count {count})", quantile * 100.0)?;
    }
    writeln!(text, "\nCumulative distribution of latencies:")?;
    for (value_us, count) in cumulative(latencies_us) {
        let (share, value) = (count as f64 / latencies_us.len() as f64 * 100.0, milliseconds(value_us));
        writeln!(text, "{share:.3}% <= {value:.3} milliseconds (cumulative count {count})")?;
    }
    writeln!(text, "\nSummary:")?;
    writeln!(text, "  throughput summary: {:.2} requests per second", outcome.per_second())?;
    writeln!(text, "  latency summary (msec):")?;
    let columns = ["avg", "min", "p50", "p95", "p99", "max"].map(|name| format!("{name:>9}"));
    writeln!(text, "    {}", columns.join(" "))?;
    let at = |quantile| milliseconds(latencies_us.value_at_quantile(quantile));
    let values = [
        latencies_us.mean() / 1000.0,
        milliseconds(latencies_us.min()),
        at(0.5),
        at(0.95),
        at(0.99),
        milliseconds(latencies_us.max()),
    ];
    let columns = values.map(|value| format!("{value:>9.3}"));
    writeln!(text, "    {}", columns.join(" "))
}

/// Rows at 0, 1/2, 3/4, 7/8 … up to the last value: quantile, value, and how many are not above it. A quantile that the row before has
/// reached already is left out.
pub fn by_percentile(latencies_us: &Histogram<u64>) -> Vec<(f64, u64, u64)> {
    let total = latencies_us.len();
    let mut rows = Vec::new();
    if total == 0 {
        return rows;
    }
    let mut distance = 1.0_f64;
    loop {
        let quantile = 1.0 - distance;
        let value_us = latencies_us.value_at_quantile(quantile);
        let count = latencies_us.count_between(0, value_us);
        rows.push((quantile, value_us, count));
        if count == total {
            rows.push((1.0, value_us, count));
            return rows;
        }
        while 1.0 - distance <= quantile.max(count as f64 / total as f64) {
            distance /= 2.0;
        }
    }
}

/// Rows at each tenth of a millisecond up to 2.1, then at each whole one more; those that add nothing are left out but the first.
fn cumulative(latencies_us: &Histogram<u64>) -> Vec<(u64, u64)> {
    let total = latencies_us.len();
    let mut rows: Vec<(u64, u64)> = Vec::new();
    let mut bound_us = 100;
    while total > 0 && rows.last().is_none_or(|&(_, count)| count < total) {
        let count = latencies_us.count_between(0, bound_us);
        if rows.last().is_none_or(|&(_, before)| before < count) {
            rows.push((bound_us, count));
        }
        bound_us += if bound_us < 2_100 { 100 } else { 1_000 };
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::histogram;

    fn latencies(values: &[u64]) -> Histogram<u64> {
        let mut latencies_us = histogram();
        values.iter().for_each(|&value| latencies_us.record(value).expect("in range"));
        latencies_us
    }

    #[test]
    fn rows_skip_what_is_reached_already() {
        let rows = by_percentile(&latencies(&[23, 23, 103]));
        assert_eq!(rows, [(0.0, 23, 2), (0.75, 103, 3), (1.0, 103, 3)]);
        let rows = by_percentile(&latencies(&[39, 47, 151]));
        assert_eq!(rows, [(0.0, 39, 1), (0.5, 47, 2), (0.75, 151, 3), (1.0, 151, 3)]);
        assert_eq!(by_percentile(&latencies(&[])), []);
    }

    #[test]
    fn cumulative_rows_are_coarse_above_two_milliseconds() {
        assert_eq!(cumulative(&latencies(&[50, 50, 150, 1_000, 5_200])), [(100, 2), (200, 3), (1_000, 4), (6_100, 5)]);
        assert_eq!(cumulative(&latencies(&[150])), [(100, 0), (200, 1)]);
    }
}

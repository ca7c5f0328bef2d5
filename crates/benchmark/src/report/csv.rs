//! The report as redis-benchmark's `--csv`.

use super::milliseconds;
use crate::run::Outcome;

pub fn header() -> &'static str {
    "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n"
}

pub fn row(outcome: &Outcome) -> String {
    let latencies_us = &outcome.record.latencies_us;
    let at = |quantile| milliseconds(latencies_us.value_at_quantile(quantile));
    format!(
        "\"{}\",\"{:.2}\",\"{:.3}\",\"{:.3}\",\"{:.3}\",\"{:.3}\",\"{:.3}\",\"{:.3}\"\n",
        // Redis's tool leaves quotes in a title as they are, which readers of CSV take for its end.
        outcome.title.replace('"', "\"\""),
        outcome.per_second(),
        latencies_us.mean() / 1000.0,
        milliseconds(latencies_us.min()),
        at(0.5),
        at(0.95),
        at(0.99),
        milliseconds(latencies_us.max()),
    )
}

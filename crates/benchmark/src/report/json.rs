//! `--json`: one document with everything. Times are in milliseconds, as in the other forms; names end in their unit.

use serde_json::{Value, json};

use super::text::by_percentile;
use super::{Circumstances, milliseconds};
use crate::choose::KeyOrder;
use crate::record::INTERVAL;
use crate::run::Outcome;
use crate::settings::Rate;

/// Percentiles that have a name of their own.
pub const NAMED: [(&str, f64); 8] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
    ("p99.999", 0.99999),
];

pub fn document(outcomes: &[Outcome], circumstances: &Circumstances) -> String {
    let settings = circumstances.settings;
    let (rate_limit, rate) = match settings.rate {
        None => (Value::Null, Value::Null),
        Some(Rate::Limit(per_second)) => (json!(per_second), Value::Null),
        Some(Rate::Open { per_second, poisson }) => {
            let arrivals = if poisson { "poisson" } else { "even" };
            (Value::Null, json!({"requests_per_second": per_second, "arrivals": arrivals}))
        }
    };
    let keys = match settings.order {
        KeyOrder::Uniform => json!("uniform"),
        KeyOrder::Sequential => json!("sequential"),
        KeyOrder::Zipf(exponent) => json!({"zipf": exponent}),
    };
    let config = circumstances.config.as_ref();
    let document = json!({
        "format": 1,
        "options": {
            "connections": settings.connections,
            "threads": settings.threads.unwrap_or(1),
            "pipeline": settings.pipeline,
            "keep_alive": settings.keep_alive,
            "value_bytes": settings.sizes.to_string(),
            "keyspace": settings.keyspace,
            "keys": keys,
            "rate_limit": rate_limit,
            "open_loop": rate,
            "warmup_seconds": settings.warmup.as_secs_f64(),
            "seed": settings.seed,
            "cluster": settings.cluster,
        },
        "server": {
            "save": config.and_then(|config| config.save.clone()),
            "appendonly": config.and_then(|config| config.appendonly.clone()),
            "nodes": circumstances.nodes.iter().map(|node| format!("{}:{}", node.host, node.port)).collect::<Vec<_>>(),
        },
        "tests": outcomes.iter().map(test).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn test(outcome: &Outcome) -> Value {
    let latencies_us = &outcome.record.latencies_us;
    let mut latency = json!({
        "mean": latencies_us.mean() / 1000.0,
        "min": milliseconds(latencies_us.min()),
        "max": milliseconds(latencies_us.max()),
        "standard_deviation": latencies_us.stdev() / 1000.0,
    });
    for (name, quantile) in NAMED {
        latency[name] = json!(milliseconds(latencies_us.value_at_quantile(quantile)));
    }
    let distribution = by_percentile(latencies_us).into_iter().map(|(quantile, value_us, count)| {
        json!({"percentile": quantile * 100.0, "latency_ms": milliseconds(value_us), "count": count})
    });
    let course = outcome.record.course.iter().enumerate().map(|(index, interval)| {
        json!({
            "at_seconds": index as f64 * INTERVAL.as_secs_f64(),
            "replies": interval.replies,
            "p50_ms": milliseconds(interval.p50_us),
            "p99_ms": milliseconds(interval.p99_us),
            "max_ms": milliseconds(interval.max_us),
        })
    });
    json!({
        "test": outcome.title,
        "requests": outcome.replies(),
        "seconds": outcome.seconds,
        "requests_per_second": outcome.per_second(),
        "errors": outcome.record.errors,
        "latency_ms": latency,
        "distribution": distribution.collect::<Vec<_>>(),
        "interval_seconds": INTERVAL.as_secs_f64(),
        "course": course.collect::<Vec<_>>(),
    })
}

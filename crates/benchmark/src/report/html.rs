//! `--report`: one page that needs nothing else, for light and dark.

use std::fmt::Write;

use super::json::NAMED;
use super::svg::{Axis, Line, Scale, Tick, chart, escape};
use super::text::by_percentile;
use super::{Circumstances, milliseconds, pace};
use crate::choose::KeyOrder;
use crate::record::{INTERVAL, Interval};
use crate::run::Outcome;

/// More points than this cannot be told apart on the page.
const POINTS_MAX: usize = 400;

const STYLE: &str = "
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 900px; margin: 2rem auto; padding: 0 1rem; background: #fff; color: #1b1f24 }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem; overflow-wrap: anywhere } h3 { font-size: 1rem; margin: 1.5rem 0 .3rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } th, td { padding: .2rem .9rem .2rem 0; text-align: right; white-space: nowrap }
th { font-weight: 600; border-bottom: 1px solid #c8ccd1 } th:first-child, td:first-child { text-align: left }
.wide { overflow-x: auto } .note { color: #57606a }
svg { width: 100%; min-width: 620px; height: auto; display: block } svg text { font: 12px system-ui, sans-serif; fill: #424a53 }
svg .title { font-weight: 600; fill: #1b1f24 } svg .grid { stroke: #e3e6ea } svg .axis { stroke: #6e7781 }
svg polyline { fill: none; stroke-linecap: round; stroke-width: 2; stroke-linejoin: round } svg .low { stroke: #0a69c7; stroke-width: 2 }
svg .middle { stroke: #b45309; stroke-width: 2 } svg .high { stroke: #b3186b; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
body { background: #14171b; color: #e6e9ed } th { border-color: #454c55 } .note { color: #a3abb5 }
svg text { fill: #bcc4cd } svg .title { fill: #e6e9ed } svg .grid { stroke: #2b3138 } svg .axis { stroke: #8b949e }
svg .low { stroke: #58a6ff } svg .middle { stroke: #f0a04b } svg .high { stroke: #f778ba }
}
";

pub fn page(outcomes: &[Outcome], circumstances: &Circumstances) -> String {
    let mut html = String::new();
    write_page(&mut html, outcomes, circumstances).expect("writing to a string");
    html
}

fn write_page(html: &mut String, outcomes: &[Outcome], circumstances: &Circumstances) -> std::fmt::Result {
    html.push_str("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Benchmark</title>");
    write!(html, "<style>{STYLE}</style></head><body>\n<h1>Benchmark</h1>\n")?;
    writeln!(html, "<p>{}</p>", escape(&conditions(circumstances)))?;
    html.push_str("<div class=\"wide\"><table><tr><th>Test</th><th>Requests</th><th>Requests/s</th><th>Errors</th>");
    html.push_str("<th>Mean, ms</th><th>p50, ms</th><th>p99, ms</th><th>p99.9, ms</th><th>Max, ms</th></tr>\n");
    for outcome in outcomes {
        let latencies_us = &outcome.record.latencies_us;
        let at = |quantile| milliseconds(latencies_us.value_at_quantile(quantile));
        writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{:.0}</td><td>{}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td></tr>",
            escape(&outcome.title),
            outcome.replies(),
            outcome.per_second(),
            outcome.record.errors,
            latencies_us.mean() / 1000.0,
            at(0.5),
            at(0.99),
            at(0.999),
            milliseconds(latencies_us.max()),
        )?;
    }
    html.push_str("</table></div>\n");
    for outcome in outcomes {
        write_test(html, outcome)?;
    }
    html.push_str("</body></html>\n");
    Ok(())
}

fn write_test(html: &mut String, outcome: &Outcome) -> std::fmt::Result {
    writeln!(html, "<h2>{}</h2>", escape(&outcome.title))?;
    if outcome.replies() == 0 {
        return writeln!(html, "<p class=\"note\">No replies.</p>");
    }
    writeln!(html, "<h3>Latency distribution</h3>\n<div class=\"wide\">{}</div>", distribution(outcome))?;
    html.push_str("<div class=\"wide\"><table><tr><th>Percentile</th>");
    NAMED.iter().try_for_each(|(name, _)| write!(html, "<th>{name}</th>"))?;
    html.push_str("<th>max</th></tr><tr><td>Latency, ms</td>");
    let latencies_us = &outcome.record.latencies_us;
    for (_, quantile) in NAMED {
        write!(html, "<td>{:.3}</td>", milliseconds(latencies_us.value_at_quantile(quantile)))?;
    }
    writeln!(html, "<td>{:.3}</td></tr></table></div>", milliseconds(latencies_us.max()))?;
    let course = course(outcome);
    if course.len() < 3 {
        return writeln!(html, "<p class=\"note\">Too short a run for charts over time.</p>");
    }
    writeln!(html, "<h3>Throughput over time</h3>\n<div class=\"wide\">{}</div>", throughput(outcome, &course))?;
    writeln!(html, "<h3>Latency over time</h3>\n<div class=\"wide\">{}</div>", latency_over_time(outcome, &course))
}

/// What was measured, in a sentence.
fn conditions(circumstances: &Circumstances) -> String {
    let settings = circumstances.settings;
    let number = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    let mut parts = vec![
        number(settings.connections, "connection"),
        number(settings.threads.unwrap_or(1), "thread"),
        format!("pipeline {}", settings.pipeline),
        format!("values of {} bytes", settings.sizes),
    ];
    if let Some(keyspace) = settings.keyspace {
        let order = match settings.order {
            KeyOrder::Uniform => "drawn evenly".to_owned(),
            KeyOrder::Sequential => "in order".to_owned(),
            KeyOrder::Zipf(exponent) => format!("drawn by Zipf's law with exponent {exponent}"),
        };
        parts.push(format!("{keyspace} keys {order}"));
    }
    parts.push(pace(settings).unwrap_or_else(|| "closed loop: each connection waits for its replies".to_owned()));
    if settings.cluster {
        parts.push(number(circumstances.nodes.len(), "cluster node"));
    }
    let mut text = parts.join(", ");
    text.push('.');
    text
}

/// Latency by percentile. The axis stretches towards 100%, where what matters happens.
fn distribution(outcome: &Outcome) -> String {
    let latencies_us = &outcome.record.latencies_us;
    let stretch = |quantile: f64| -(1.0 - quantile).log10();
    // The last row is 100%, which lies at infinity: it is drawn where one request in as many as there were lies.
    let end = (latencies_us.len() as f64).log10().max(1.0);
    let low = milliseconds(latencies_us.min()).max(0.001);
    let high = milliseconds(latencies_us.max()).max(low);
    let mut points: Vec<(f64, f64)> = by_percentile(latencies_us)
        .into_iter()
        .map(|(quantile, value_us, _)| (stretch(quantile).min(end), milliseconds(value_us)))
        .collect();
    // Between the rows of the table the curve is finer.
    let steps = 160;
    points.extend((0..=steps).map(|step| {
        let place = end * f64::from(step) / f64::from(steps);
        (place, milliseconds(latencies_us.value_at_quantile(1.0 - 10_f64.powf(-place))))
    }));
    points.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    let labels = ["0%", "90%", "99%", "99.9%", "99.99%", "99.999%", "99.9999%", "99.99999%"];
    let ticks = labels.iter().enumerate().map(|(nines, label)| Tick { at: nines as f64, label: (*label).to_owned() });
    let half = Tick { at: 0.5_f64.log10().abs(), label: "50%".to_owned() };
    let x = Axis {
        title: "share of requests that were not slower",
        ticks: ticks.chain([half]).filter(|tick| tick.at <= end).collect(),
        scale: Scale::Linear { low: 0.0, high: end },
    };
    let y = Axis::logarithmic("latency", low, high, duration);
    chart(
        "Latency by percentile",
        &x,
        &y,
        &[Line { class: "low", name: "", points: points.into_iter().map(Some).collect() }],
    )
}

/// A point in time: seconds, requests a second, and latencies.
struct Point {
    seconds: f64,
    per_second: f64,
    interval: Interval,
}

/// The course in at most [`POINTS_MAX`] points. Of several intervals a point shows the worst p99 and maximum, so that none is lost.
fn course(outcome: &Outcome) -> Vec<Point> {
    let width = INTERVAL.as_secs_f64();
    let mut intervals = &outcome.record.course[..];
    // The last interval was cut off by the end of the run. Unless most of it was left, its rate says nothing.
    let last = intervals.len().saturating_sub(1);
    let last_width = outcome.seconds - last as f64 * width;
    if last_width < width * 0.5 {
        intervals = &intervals[..last];
    }
    let group = intervals.len().div_ceil(POINTS_MAX).max(1);
    intervals
        .chunks(group)
        .enumerate()
        .map(|(index, chunk)| {
            let from = (index * group) as f64 * width;
            let seconds = (chunk.len() as f64 * width).min(outcome.seconds - from);
            let replies: u64 = chunk.iter().map(|interval| interval.replies).sum();
            let sum_us: f64 = chunk.iter().map(|interval| interval.p50_us as f64 * interval.replies as f64).sum();
            let interval = Interval {
                replies,
                mean_us: 0.0,
                p50_us: if replies == 0 { 0 } else { (sum_us / replies as f64) as u64 },
                p99_us: chunk.iter().map(|interval| interval.p99_us).max().unwrap_or(0),
                max_us: chunk.iter().map(|interval| interval.max_us).max().unwrap_or(0),
            };
            Point { seconds: from + seconds / 2.0, per_second: replies as f64 / seconds, interval }
        })
        .collect()
}

fn time_axis(outcome: &Outcome) -> Axis {
    Axis::linear_exact("time since the start", outcome.seconds, |seconds| format!("{} s", round(seconds)))
}

fn throughput(outcome: &Outcome, course: &[Point]) -> String {
    let high = course.iter().map(|point| point.per_second).fold(0.0, f64::max);
    let y = Axis::linear("requests per second", high, |value| match value {
        value if value >= 1e6 => format!("{} M/s", round(value / 1e6)),
        value if value >= 1e3 => format!("{} k/s", round(value / 1e3)),
        value => format!("{}/s", round(value)),
    });
    let points = course.iter().map(|point| Some((point.seconds, point.per_second))).collect();
    chart("Throughput over time", &time_axis(outcome), &y, &[Line { class: "low", name: "", points }])
}

fn latency_over_time(outcome: &Outcome, course: &[Point]) -> String {
    let answered = || course.iter().filter(|point| point.interval.replies > 0);
    let low = answered().map(|point| milliseconds(point.interval.p50_us)).fold(f64::INFINITY, f64::min);
    let high = answered().map(|point| milliseconds(point.interval.max_us)).fold(0.0, f64::max);
    let low = if low.is_finite() { low.max(0.001) } else { 0.001 };
    let y = Axis::logarithmic("latency", low, high.max(low), duration);
    // Where no reply came there is no latency, and the line is broken.
    let line = |class, name, value: fn(&Interval) -> u64| Line {
        class,
        name,
        points: course
            .iter()
            .map(|point| (point.interval.replies > 0).then(|| (point.seconds, milliseconds(value(&point.interval)))))
            .collect(),
    };
    let lines = [
        line("low", "p50", |interval| interval.p50_us),
        line("middle", "p99", |interval| interval.p99_us),
        line("high", "max", |interval| interval.max_us),
    ];
    chart("Latency over time", &time_axis(outcome), &y, &lines)
}

/// Milliseconds in the unit that people would use.
fn duration(milliseconds: f64) -> String {
    match milliseconds {
        value if value >= 1000.0 => format!("{} s", round(value / 1000.0)),
        value if value >= 1.0 => format!("{} ms", round(value)),
        value => format!("{} µs", round(value * 1000.0)),
    }
}

/// Three decimals at most and no zeros at the end.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

//! Whether others notice that a snapshot is taken: the latency of an independent client and the resident memory, under full write load, without and
//! with BGSAVE and BGREWRITEAOF in turns.

use super::*;
use hdrhistogram::Histogram;
use serde_json::json;

const STALL_KEYS: u64 = 5_000_000;
const HSET: &str = "HSET big:hash field:{n:9} aQ3zX9mK7cT1vB5nR8wL2yF6hJ4gD0sE";
const QUIET_TIME: Duration = Duration::from_secs(6);
/// Its worst reply may be so much worse.
const WORSE_MS_MAX: f64 = 2.0;
const GROWTH_PERCENT_MAX: f64 = 8.0;
/// What the independent client asks for in turns.
const ASKED: &[&[&str]] = &[&["GET", "key:00000000000"], &["HGET", "big:hash", "field:000000000"]];
/// At most: it has one request in flight.
const REQUESTS_PER_SECOND: u32 = 2_000;

/// What happens while the client measures.
struct Phase {
    name: &'static str,
    command: &'static str,
    under_way: &'static str,
    status: &'static str,
    copied: &'static str,
    appendonly: &'static str,
}

const PHASES: [Phase; 2] = [
    Phase {
        name: "BGSAVE",
        command: "BGSAVE",
        under_way: "rdb_bgsave_in_progress",
        status: "rdb_last_bgsave_status",
        copied: "rdb_last_cow_size",
        appendonly: "no",
    },
    Phase {
        name: "BGREWRITEAOF",
        command: "BGREWRITEAOF",
        under_way: "aof_rewrite_in_progress",
        status: "aof_last_bgrewrite_status",
        copied: "aof_last_cow_size",
        appendonly: "yes",
    },
];

/// Of one server and phase, by rounds.
#[derive(Default)]
struct Seen {
    quiet: Latencies,
    during: Latencies,
    worse_ms: Vec<f64>,
    grown_percent: Vec<f64>,
}

#[derive(Default)]
struct Latencies {
    worst_ms: Vec<f64>,
    p999_ms: Vec<f64>,
}

impl Latencies {
    fn add(&mut self, histogram: &Histogram<u64>) {
        self.worst_ms.push(histogram.max() as f64 / 1e6);
        self.p999_ms.push(histogram.value_at_quantile(0.999) as f64 / 1e6);
    }
}

pub(super) fn run(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    // seen[phase][server]
    let mut seen = PHASES.map(|_| Vec::new());
    for &kind in &options.servers {
        let target = start(kind, cores, &["--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"])?;
        let keys = options.keys.unwrap_or(options.scaled(STALL_KEYS));
        fill(&target, SET, keys)?;
        fill(&target, HSET, keys)?;
        for (phase, seen) in PHASES.iter().zip(&mut seen) {
            seen.push(
                measure(&target, phase, keys, options, report).with_context(|| format!("{} on {kind}", phase.name))?,
            );
        }
    }
    for (phase, seen) in PHASES.iter().zip(&seen) {
        let mut line = |name: &str, unit: &'static str, bound: Bound, of: fn(&Seen) -> &Vec<f64>| {
            let figures: Vec<Vec<f64>> = seen.iter().map(|seen| of(seen).clone()).collect();
            let table = "persistence-stall: 5 million keys and a hash of 5 million fields, all written at full speed; another client's replies";
            Line { table, name: &format!("{}: {name}", phase.name), unit, bound }.report(
                &options.servers,
                &figures,
                report,
            )
        };
        line("99.9th without", "ms", Bound::None, |seen| &seen.quiet.p999_ms)?;
        line("99.9th with", "ms", Bound::None, |seen| &seen.during.p999_ms)?;
        line("worst without", "ms", Bound::None, |seen| &seen.quiet.worst_ms)?;
        line("worst with", "ms", Bound::None, |seen| &seen.during.worst_ms)?;
        line("worst, how much worse", "ms", Bound::ValueMax(WORSE_MS_MAX), |seen| &seen.worse_ms)?;
        line("memory grown by", "%", Bound::ValueMax(GROWTH_PERCENT_MAX), |seen| &seen.grown_percent)?;
    }
    Ok(())
}

fn measure(target: &Target, phase: &Phase, keys: u64, options: &Options, report: &mut Report) -> Result<Seen> {
    let mut client = target.client()?;
    client.set_timeout(PATIENCE)?;
    told(&mut client, &["CONFIG", "SET", "appendonly", phase.appendonly])?;
    // Switching on begins with a rewrite.
    wait_for_job(&mut client, "aof_rewrite_in_progress", "aof_last_bgrewrite_status")?;
    let pressure = Pressure::start(target, &[SET, HSET], keys, options.seed)?;
    let mut seen = Seen::default();
    for round in 0..options.rounds {
        let quiet = watched(target, ASKED, || {
            let end = Instant::now() + options.shortened(QUIET_TIME);
            // Asking for INFO as often as below.
            while Instant::now() < end {
                Info::read(&mut client, "persistence")?;
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        })?;
        let before = target.resident_bytes()?;
        let began = Instant::now();
        let mut grown = 0;
        let during = watched(target, ASKED, || {
            (_, grown) = growth_while(target, || {
                told(&mut client, &[phase.command])?;
                wait_for_job(&mut client, phase.under_way, phase.status)
            })?;
            Ok(())
        })?;
        let seconds = began.elapsed().as_secs_f64();
        let grown = grown + copied_for_child(target, &mut client, phase.copied)?;
        seen.quiet.add(&quiet);
        seen.during.add(&during);
        seen.worse_ms.push(during.max() as f64 / 1e6 - quiet.max() as f64 / 1e6);
        seen.grown_percent.push(grown as f64 * 100.0 / before as f64);
        let last = |values: &[f64]| *values.last().expect("pushed just now");
        eprintln!(
            "  {} on {}: {seconds:.1} s, worst {:.2} ms without, {:.2} ms with, 99.9th {:.2} and {:.2} ms, memory +{:.1} %",
            phase.name,
            target.kind(),
            last(&seen.quiet.worst_ms),
            last(&seen.during.worst_ms),
            last(&seen.quiet.p999_ms),
            last(&seen.during.p999_ms),
            last(&seen.grown_percent),
        );
        report.keep(json!({
            "kind": "persistence",
            "workload": format!("stall, {}", phase.name),
            "server": target.kind().name(),
            "version": target.version,
            "round": round,
            "keys": keys,
            "seconds": seconds,
            "quiet_worst_ms": last(&seen.quiet.worst_ms),
            "quiet_p999_ms": last(&seen.quiet.p999_ms),
            "worst_ms": last(&seen.during.worst_ms),
            "p999_ms": last(&seen.during.p999_ms),
            "before_bytes": before,
            "grown_bytes": grown,
        }))?;
    }
    pressure.end()?;
    Ok(seen)
}

/// What an independent client that asks these in turns sees while `work` lasts, in nanoseconds.
pub(crate) fn watched(
    target: &Target,
    requests: &[&[&str]],
    work: impl FnOnce() -> Result<()>,
) -> Result<Histogram<u64>> {
    let mut client = target.client()?;
    client.set_timeout(PATIENCE)?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| -> Result<Histogram<u64>> {
            cpu::raise_self();
            let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
            let period = Duration::from_secs(1) / REQUESTS_PER_SECOND;
            let mut due = Instant::now();
            for request in requests.iter().cycle() {
                if is_over.load(Relaxed) {
                    break;
                }
                let wait = due.saturating_duration_since(Instant::now());
                if !wait.is_zero() {
                    std::thread::sleep(wait);
                    due = Instant::now();
                }
                let reply = client.command(request)?;
                ensure!(!reply.is_error() && !reply.is_null(), "the independent client got {reply}");
                histogram.saturating_record(due.elapsed().as_nanos() as u64);
                // A late reply counts once. Were the requests that it delays due all the same, a server that is a little slower than they come would
                // look as if it had stopped.
                due = (due + period).max(Instant::now());
            }
            Ok(histogram)
        });
        let worked = work();
        is_over.store(true, Relaxed);
        let histogram = watcher.join().expect("it returns its errors")?;
        worked.map(|()| histogram)
    })
}

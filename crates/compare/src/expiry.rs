//! Expiry on time: many keys at once, and few among many.
//!
//! - **burst**: a million keys expire in the same millisecond. They must be gone within 2 seconds, and another client must not feel
//!   it: its 99.9th percentile while they go stays under 3 times what it is in the same run before. The client sends at a steady rate
//!   and counts from the moment a request was due, so that a stall counts for every request it delays, not for one.
//! - **few**: a thousand keys with a time among 20 million without one. How late the latest of them goes is read from DBSIZE.

use crate::arguments::Options;
use crate::cpu::{self, Cores};
use crate::load::{self, sequence};
use crate::report::{Bound, Figure, Report, median};
use crate::request::Template;
use crate::target::Target;
use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::json;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use testkit::{Client, Kind};

const BURST_KEYS: u64 = 1_000_000;
const BURST_GONE_WITHIN_S_MAX: f64 = 2.0;
const LATENCY_RATIO_MAX: f64 = 3.0;
/// For the writes of the burst; they must be done well before the keys' time.
const WRITING_TIME: Duration = Duration::from_secs(8);
const IDLE_TIME: Duration = Duration::from_secs(4);
/// How long the client's latency is looked at after the keys' time, and how long it waits for them to go.
const BURST_TIME: Duration = Duration::from_secs(2);
const BURST_WAIT: Duration = Duration::from_secs(30);

const FEW_KEYS: u64 = 1_000;
const AMONG_KEYS: u64 = 20_000_000;
/// The few are due one after the other during this time.
const FEW_SPREAD: Duration = Duration::from_secs(5);
/// "On time" for a key that nobody asks for: DBSIZE shows it a fifth of a second after, at most.
const FEW_LATE_MS_MAX: f64 = 200.0;

const REQUESTS_PER_SECOND: u32 = 4_000;
/// One request in so many is a DBSIZE; its own time is not counted.
const DBSIZE_EVERY: u64 = 20;

pub fn run(options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    for &kind in &options.servers {
        burst(kind, options, cores, report).with_context(|| format!("burst on {kind}"))?;
        few(kind, options, cores, report).with_context(|| format!("few among many on {kind}"))?;
    }
    Ok(())
}

/// What the steady client saw in one round.
struct Burst {
    gone_after_s: f64,
    idle_us_p999: u64,
    burst_us_p999: u64,
}

fn burst(kind: Kind, options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    let target = Target::start(kind, 1)?;
    cpu::pin_process(target.pid(), cores.server())?;
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let burst = burst_round(&target, options)?;
        eprintln!(
            "  burst on {kind}: gone after {:.2} s, 99.9th percentile {} us idle, {} us meanwhile",
            burst.gone_after_s, burst.idle_us_p999, burst.burst_us_p999
        );
        report.keep(json!({
            "kind": "expiry",
            "workload": "burst",
            "server": kind.name(),
            "version": target.version,
            "round": round,
            "keys": options.scaled(BURST_KEYS),
            "gone_after_s": burst.gone_after_s,
            "idle_us_p999": burst.idle_us_p999,
            "burst_us_p999": burst.burst_us_p999,
        }))?;
        rounds.push(burst);
    }
    let mut figure = |name: &str, unit: &'static str, value: f64, bound: Bound| {
        report.figure(Figure {
            table: format!(
                "expiry: {} keys in the same millisecond, and the 99.9th percentile of another client",
                options.scaled(BURST_KEYS)
            ),
            name: name.into(),
            unit,
            values: vec![(kind.name().into(), value)],
            subject: Kind::Spinel.name().into(),
            ratio: None,
            bound,
        })
    };
    let of = |value: fn(&Burst) -> f64| rounds.iter().map(value).collect::<Vec<f64>>();
    figure(
        "all gone after (worst)",
        "s",
        of(|b| b.gone_after_s).into_iter().fold(0.0, f64::max),
        Bound::ValueMax(BURST_GONE_WITHIN_S_MAX),
    )?;
    figure("latency idle", "us", median(&of(|b| b.idle_us_p999 as f64)), Bound::None)?;
    figure("latency meanwhile", "us", median(&of(|b| b.burst_us_p999 as f64)), Bound::None)?;
    figure(
        "latency ratio",
        "-",
        median(&of(|b| b.burst_us_p999 as f64 / b.idle_us_p999.max(1) as f64)),
        Bound::ValueMax(LATENCY_RATIO_MAX),
    )
}

fn burst_round(target: &Target, options: &Options) -> Result<Burst> {
    let mut client = target.client()?;
    client.command(&["SET", "steady", "value"])?;
    let others = database_size(&mut client)?;
    let keys = options.scaled(BURST_KEYS);

    let due = unix_time() + options.shortened(WRITING_TIME) + options.shortened(IDLE_TIME);
    let write = Template::parse(&format!("SET volatile:{{n:9}} {{v:32}} PXAT {}", due.as_millis()))?;
    load::fill(target.address(), &write, keys, &mut sequence(0))?;
    ensure!(unix_time() + options.shortened(IDLE_TIME) < due, "writing {keys} keys took too long for this measurement");
    ensure!(database_size(&mut client)? == others + keys, "keys are missing before their time");

    let mut idle = latency_histogram()?;
    let mut burst = latency_histogram()?;
    let mut gone_at = None;
    let period = Duration::from_secs(1) / REQUESTS_PER_SECOND;
    let start = Instant::now();
    let start_unix = unix_time();
    for request in 0u64.. {
        let offset = period.mul_f64(request as f64);
        let scheduled = start_unix + offset;
        if scheduled > due + BURST_TIME && gone_at.is_some() {
            break;
        }
        if scheduled > due + BURST_WAIT {
            bail!("{} s after their time there are still keys", BURST_WAIT.as_secs());
        }
        // Spinning: a sleep would add its own oversleeping to every latency.
        while start.elapsed() < offset {
            std::hint::spin_loop();
        }
        if request % DBSIZE_EVERY == 0 {
            if gone_at.is_none() && database_size(&mut client)? == others {
                gone_at = Some(unix_time());
            }
            continue;
        }
        let reply = if request % 2 == 0 { client.command(&["PING"])? } else { client.command(&["GET", "steady"])? };
        ensure!(!reply.is_error() && !reply.is_null(), "the steady client got {reply}");
        let latency = (start.elapsed() - offset).as_nanos() as u64;
        if scheduled + period < due {
            idle.saturating_record(latency);
        } else if scheduled >= due && scheduled < due + BURST_TIME {
            burst.saturating_record(latency);
        }
    }
    let gone_at = gone_at.expect("the loop ends with it");
    ensure!(gone_at >= due, "keys went before their time");
    let percentile = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.999) / 1_000;
    Ok(Burst {
        gone_after_s: (gone_at - due).as_secs_f64(),
        idle_us_p999: percentile(&idle),
        burst_us_p999: percentile(&burst),
    })
}

/// Nanoseconds, up to a minute.
fn latency_histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

fn few(kind: Kind, options: &Options, cores: &Cores, report: &mut Report) -> Result<()> {
    let target = Target::start(kind, 1)?;
    cpu::pin_process(target.pid(), cores.server())?;
    let mut client = target.client()?;
    let among = options.keys.unwrap_or(options.scaled(AMONG_KEYS));
    load::fill(target.address(), &Template::parse("SET {n:16} {v:8}")?, among, &mut sequence(0))?;

    let first_due = unix_time() + Duration::from_secs(1);
    let dues: Vec<Duration> =
        (0..FEW_KEYS).map(|i| first_due + options.shortened(FEW_SPREAD).mul_f64(i as f64 / FEW_KEYS as f64)).collect();
    let writes: Vec<Vec<String>> = dues
        .iter()
        .enumerate()
        .map(|(i, due)| {
            ["SET".into(), format!("volatile:{i}"), "v".into(), "PXAT".into(), due.as_millis().to_string()].to_vec()
        })
        .collect();
    for reply in client.pipeline(&writes)? {
        ensure!(!reply.is_error(), "writing a volatile key: {reply}");
    }
    ensure!(unix_time() < first_due, "writing the volatile keys took too long for this measurement");

    let give_up = *dues.last().expect("some") + BURST_WAIT;
    let mut late = Duration::ZERO;
    loop {
        let now = unix_time();
        let left = database_size(&mut client)?.checked_sub(among).context("more keys are gone than were due")?;
        let gone = FEW_KEYS.checked_sub(left).context("there are more keys than were written")? as usize;
        late = late.max(oldest_lateness(&dues, gone, now));
        if left == 0 {
            break;
        }
        ensure!(now < give_up, "{left} keys are still there");
        // Often enough for milliseconds, seldom enough to be no load.
        std::thread::sleep(Duration::from_millis(1));
    }
    let late_ms = late.as_secs_f64() * 1e3;
    eprintln!("  few on {kind}: latest {late_ms:.1} ms after its time");
    report.keep(json!({
        "kind": "expiry",
        "workload": "few",
        "server": kind.name(),
        "version": target.version,
        "keys": among,
        "volatile_keys": FEW_KEYS,
        "late_ms_max": late_ms,
    }))?;
    report.figure(Figure {
        table: "expiry: few keys among many".into(),
        name: format!("{FEW_KEYS} among {} M, latest after its time", among as f64 / 1e6),
        unit: "ms",
        values: vec![(kind.name().into(), late_ms)],
        subject: Kind::Spinel.name().into(),
        ratio: None,
        bound: Bound::ValueMax(FEW_LATE_MS_MAX),
    })
}

/// How long the oldest key that is still there has been due, if `gone` keys are gone. Which keys these are DBSIZE does not say; if not
/// the oldest ones went, the true lateness is larger for some and the count still catches up too late.
fn oldest_lateness(dues: &[Duration], gone: usize, now: Duration) -> Duration {
    dues.get(gone).map_or(Duration::ZERO, |due| now.saturating_sub(*due))
}

fn database_size(client: &mut Client) -> Result<u64> {
    let reply = client.command(&["DBSIZE"])?;
    reply.integer().and_then(|size| u64::try_from(size).ok()).with_context(|| format!("DBSIZE: {reply}"))
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_that_of_the_oldest_key_left() {
        let dues: Vec<Duration> = [10, 20, 30].map(Duration::from_millis).to_vec();
        let at = Duration::from_millis;
        assert_eq!(oldest_lateness(&dues, 0, at(5)), at(0));
        assert_eq!(oldest_lateness(&dues, 0, at(12)), at(2));
        assert_eq!(oldest_lateness(&dues, 1, at(45)), at(25));
        assert_eq!(oldest_lateness(&dues, 3, at(99)), at(0));
    }
}

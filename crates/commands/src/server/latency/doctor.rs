//! The report of LATENCY DOCTOR: each event in numbers, and what can be done about those that there were.

use std::fmt::Write;

use keyspace::Millis;

use crate::global::Global;
use crate::observation::latency::LatencyMonitor;

/// What may help against an event, where `applies` says that it would.
struct Advice {
    /// The event's name, or how it begins.
    events: &'static [&'static str],
    applies: fn(&Global) -> bool,
    text: &'static str,
}

const ALWAYS: fn(&Global) -> bool = |_| true;

const ADVICE: &[Advice] = &[
    Advice {
        events: &["command", "fast-command"],
        applies: |global| global.settings.watching.ns_min == u64::MAX,
        text: "Nothing logs which commands are slow: set slowlog-log-slower-than to a number of microseconds, and look at SLOWLOG GET.",
    },
    Advice {
        events: &["command", "fast-command"],
        applies: |global| global.settings.watching.ns_min < u64::MAX,
        text: "SLOWLOG GET names the commands that took long. Those that look at whole collections (KEYS, SMEMBERS, HGETALL, LRANGE 0 -1, \
               SORT) have sisters that return a part at a time (SCAN, SSCAN, HSCAN, LRANGE with an end).",
    },
    Advice {
        events: &["command", "fast-command"],
        applies: ALWAYS,
        text: "EXEC, scripts, KEYS, and commands on very many keys run alone: everybody waits while they do. Short transactions and scripts help.",
    },
    Advice {
        events: &["command", "fast-command"],
        applies: ALWAYS,
        text: "Commands that are fast by themselves (see fast-command) and yet took long were interrupted by the machine: look for swapping, for a \
               busy host (INFO cpu, top's 'st'), and for more threads (io-threads) than processors.",
    },
    Advice {
        events: &["expire-cycle", "expire-del"],
        applies: ALWAYS,
        text: "Very many keys expire at the same time. A random second or two on top of each time to live spreads them out; a lower \
               active-expire-effort makes the steps smaller.",
    },
    Advice {
        events: &["eviction-"],
        applies: ALWAYS,
        text: "Much has to be evicted at once: values are large, or memory is filled faster than it is freed. A larger maxmemory, a higher \
               maxmemory-eviction-tenacity or smaller values help.",
    },
    Advice {
        events: &["aof-fsync-always"],
        applies: ALWAYS,
        text: "The disk takes long to make writes safe, and appendfsync always has clients wait for it. A faster disk helps, or \
               appendfsync everysec, if the last second of writes may be lost in a crash.",
    },
    Advice {
        events: &["aof-write", "aof-rename", "rdb-"],
        applies: ALWAYS,
        text: "The disk is slow or busy with something else. Clients do not wait for it here unless too much of the journal is not written \
               (INFO persistence), but what is not written can be lost.",
    },
];

/// The whole report.
pub fn report(monitor: &LatencyMonitor, global: &Global, now: Millis) -> String {
    let threshold = global.config.get(config::directives::LATENCY_MONITOR_THRESHOLD);
    let events = monitor.all();
    if events.is_empty() {
        return if threshold == 0 {
            "The latency monitor is off. CONFIG SET latency-monitor-threshold <milliseconds> turns it on: from then on it notes what \
             takes that long or longer. Choose what your clients would call slow, 100 for example.\n"
                .to_owned()
        } else {
            format!(
                "Nothing has taken {threshold} ms (latency-monitor-threshold) or longer. All is well as far as this server can tell.\n"
            )
        };
    }
    let mut text = String::from("These events took long:\n\n");
    for (number, (name, series)) in events.iter().enumerate() {
        let (mean, deviation) = series.mean_and_deviation_ms();
        let _ = writeln!(
            text,
            "{}. {name}: {} latency spikes (average {mean}ms, mean deviation {deviation}ms, period {:.2} sec). Worst all time event {}ms.",
            number + 1,
            series.samples.len(),
            series.period_seconds(now),
            series.max_ms
        );
    }
    let concerns = |advice: &&Advice| {
        events.iter().any(|(name, _)| advice.events.iter().any(|event| name.starts_with(event)))
            && (advice.applies)(global)
    };
    text.push_str("\nWhat may help:\n\n");
    for advice in ADVICE.iter().filter(concerns) {
        let _ = writeln!(text, "- {}", advice.text);
    }
    if threshold == 0 {
        text.push_str("\nThe latency monitor is off now (latency-monitor-threshold 0): nothing new is noted.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rig;

    #[test]
    fn each_event_has_numbers_and_advice() {
        let mut rig = Rig::new();
        let monitor = LatencyMonitor::default();
        assert!(report(&monitor, &rig.world.global, rig.now).starts_with("The latency monitor is off."));
        rig.run("CONFIG SET latency-monitor-threshold 5");
        assert!(report(&monitor, &rig.world.global, rig.now).starts_with("Nothing has taken 5 ms"));
        monitor.set_threshold(5);
        for event in
            ["command", "expire-cycle", "eviction-cycle", "aof-fsync-always", "aof-write-alone", "rdb-unlink-temp-file"]
        {
            monitor.note(event, 20, Millis(rig.now.0 - 4000));
            monitor.note(event, 50, rig.now);
            let text = report(&monitor, &rig.world.global, rig.now);
            assert!(
                text.contains(&format!(
                    "1. {event}: 2 latency spikes (average 35ms, mean deviation 15ms, period 2.00 sec). Worst all time event 50ms."
                )),
                "{text}"
            );
            assert!(text.contains("\n- "), "{event} has no advice");
            monitor.forget_all();
        }
    }
}

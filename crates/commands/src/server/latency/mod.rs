//! `LATENCY` and its subcommands: what the [latency monitor](crate::observation::latency) has noted, and how the times of each command are
//! distributed.

mod doctor;
mod graph;

use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::help;
use crate::registry::Command;
use crate::spec::{Acl, Arg, Flags, Group, Spec};
use crate::stats::cumulative_us;

const FLAGS: Flags = Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE);
const ACL: Acl = Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS);
const TIPS: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

pub const SPEC: Spec = Spec {
    name: "latency",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Server,
    since: "2.8.13",
    summary: "Groups the commands about what makes clients wait.",
    complexity: "Depends on the subcommand.",
    subcommands: &[DOCTOR, GRAPH, HELP, HISTOGRAM, HISTORY, LATEST, RESET],
    ..Spec::NEW
};

/// What the subcommands about events have in common.
const ABOUT_EVENTS: Spec =
    Spec { flags: FLAGS, acl: ACL, group: Group::Server, since: "2.8.13", tips: TIPS, ..Spec::NEW };

pub const DOCTOR: Spec = Spec {
    name: "doctor",
    arity: 2,
    summary: "Describes what was noted, and advises what to do about it.",
    run: Some(doctor),
    ..ABOUT_EVENTS
};

pub const GRAPH: Spec = Spec {
    name: "graph",
    arity: 3,
    summary: "Draws the samples of an event with characters.",
    args: &[Arg::string("event")],
    run: Some(graph),
    ..ABOUT_EVENTS
};

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW,
    group: Group::Server,
    since: "2.8.13",
    summary: "Describes the subcommands of LATENCY.",
    run: Some(help::run),
    ..Spec::NEW
};

pub const HISTOGRAM: Spec = Spec {
    name: "histogram",
    arity: -2,
    since: "7.0.0",
    summary: "Returns for each command how many calls took up to 1, 2, 4 … microseconds.",
    complexity: "O(N), N being the number of commands that are shown",
    args: &[Arg::string("command").optional().multiple()],
    run: Some(histogram),
    ..ABOUT_EVENTS
};

pub const HISTORY: Spec = Spec {
    name: "history",
    arity: 3,
    summary: "Returns the samples of an event.",
    args: &[Arg::string("event")],
    run: Some(history),
    ..ABOUT_EVENTS
};

pub const LATEST: Spec = Spec {
    name: "latest",
    arity: 2,
    summary: "Returns the last sample and the worst of each event.",
    run: Some(latest),
    ..ABOUT_EVENTS
};

pub const RESET: Spec = Spec {
    name: "reset",
    arity: -2,
    summary: "Forgets the samples of these events, or of all.",
    tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
    args: &[Arg::string("event").optional().multiple()],
    run: Some(reset),
    ..ABOUT_EVENTS
};

fn doctor(cx: &mut Ctx<'_>) -> Outcome {
    let report = doctor::report(&cx.host.observation().latency, cx.global(), cx.db.now);
    cx.reply.verbatim("txt", report.as_bytes());
    Ok(())
}

fn graph(cx: &mut Ctx<'_>) -> Outcome {
    match cx.host.observation().latency.series(cx.args[2]) {
        Some(series) => {
            let event = String::from_utf8_lossy(cx.args[2]);
            cx.reply.verbatim("txt", graph::draw(&event, &series, cx.db.now).as_bytes());
            Ok(())
        }
        None => Err(Error::quoting("ERR No samples available for event '", cx.args[2], "'").into()),
    }
}

fn history(cx: &mut Ctx<'_>) -> Outcome {
    let series = cx.host.observation().latency.series(cx.args[2]).unwrap_or_default();
    cx.reply.array(series.samples.len());
    for sample in &series.samples {
        cx.reply.array(2);
        cx.reply.int(sample.at_seconds);
        cx.reply.int(sample.ms as i64);
    }
    Ok(())
}

fn latest(cx: &mut Ctx<'_>) -> Outcome {
    let events = cx.host.observation().latency.all();
    cx.reply.array(events.len());
    for (name, series) in events {
        cx.reply.array(4);
        cx.reply.bulk(name);
        cx.reply.int(series.last().at_seconds);
        cx.reply.int(series.last().ms as i64);
        cx.reply.int(series.max_ms as i64);
    }
    Ok(())
}

fn reset(cx: &mut Ctx<'_>) -> Outcome {
    let latency = &cx.host.observation().latency;
    let count = match &cx.args[2..] {
        [] => latency.forget_all(),
        events => events.iter().filter(|event| latency.forget(event)).count(),
    };
    cx.reply.count(count);
    Ok(())
}

fn histogram(cx: &mut Ctx<'_>) -> Outcome {
    let registry = cx.global().registry.clone();
    let mut shown = Vec::new();
    let mut show = |command: &Command| {
        let mut sums = Vec::new();
        for thread in cx.host.stats() {
            if let Some(latency) = thread.by_command[usize::from(command.id)].latency() {
                latency.add_to(&mut sums);
            }
        }
        let calls: u64 = sums.iter().sum();
        if calls > 0 {
            shown.push((command.id, calls, cumulative_us(&sums)));
        }
    };
    match &cx.args[2..] {
        [] => registry.all().iter().for_each(&mut show),
        names => {
            // A name that no command has is passed over; a container stands for its subcommands.
            for command in names.iter().filter_map(|name| registry.find_full(name)) {
                show(command);
                registry.all().iter().filter(|sub| sub.parent == Some(command.id)).for_each(&mut show);
            }
        }
    }
    let reply = &mut *cx.reply;
    reply.map(shown.len());
    for (id, calls, cumulative) in shown {
        reply.bulk(&registry.by_id(id).full_name);
        reply.map(2);
        reply.bulk("calls");
        reply.int(calls as i64);
        reply.bulk("histogram_usec");
        reply.map(cumulative.len());
        for (us, count) in cumulative {
            reply.int(us as i64);
            reply.int(count as i64);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn nothing_was_noted() {
        script(&[
            ("LATENCY LATEST", "*0"),
            ("LATENCY HISTORY command", "*0"),
            ("LATENCY GRAPH command", "-ERR No samples available for event 'command'"),
            ("LATENCY RESET", ":0"),
            ("LATENCY RESET x y", ":0"),
            ("LATENCY HISTOGRAM", "*0"),
            ("LATENCY HISTOGRAM nosuch", "*0"),
            ("LATENCY HISTORY", "-ERR wrong number of arguments for 'latency|history' command"),
            ("LATENCY foo", "-ERR unknown subcommand 'foo'. Try LATENCY HELP."),
        ]);
    }

    #[test]
    fn events() {
        let mut rig = Rig::new();
        rig.run("CONFIG SET latency-monitor-threshold 5");
        let now = rig.now;
        for (event, ms) in [("command", 7), ("expire-cycle", 6), ("command", 5), ("aof-write", 4)] {
            rig.host.observation.latency.note(event, ms, now);
        }
        rig.script(&[
            ("LATENCY LATEST", "*2 *4 $7 command :1700000000 :7 :7 *4 $12 expire-cycle :1700000000 :6 :6"),
            ("LATENCY HISTORY command", "*1 *2 :1700000000 :7"),
            ("LATENCY RESET command aof-write", ":1"),
            ("LATENCY RESET", ":1"),
            ("LATENCY LATEST", "*0"),
        ]);
    }

    #[test]
    fn histograms() {
        let mut rig = Rig::new();
        let registry = rig.world.global.registry.clone();
        let record = |name: &str, ns: u64| {
            let command = registry.find_full(name.as_bytes()).expect("a command");
            rig.host.stats[0].by_command[usize::from(command.id)].record(ns, false, true);
        };
        for ns in [500, 900, 1500, 40_000, 40_001] {
            record("get", ns);
        }
        record("config|get", 3000);
        rig.script(&[
            ("LATENCY HISTOGRAM get", "*2 $3 get *4 $5 calls :5 $14 histogram_usec *6 :1 :2 :2 :3 :66 :5"),
            ("LATENCY HISTOGRAM set", "*0"),
            ("LATENCY HISTOGRAM CONFIG", "*2 $10 config|get *4 $5 calls :1 $14 histogram_usec *2 :4 :1"),
        ]);
        rig.run("HELLO 3");
        rig.script(&[("LATENCY HISTOGRAM config|get", "%1 $10 config|get %2 $5 calls :1 $14 histogram_usec %1 :4 :1")]);
    }
}

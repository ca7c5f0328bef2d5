//! `HOTKEYS` and its subcommands, as Redis 8.6 documents them (<https://redis.io/docs/latest/commands/hotkeys/>).
//!
//! With SAMPLE the weight of a key is that of the commands that were looked at, times the ratio, so that it can be compared with the totals beside it.

use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::help;
use crate::observation::hot_keys::{HotKeys, Usage, Wish};
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

const TIPS: &[&str] = &["request_policy:special", "response_policy:special"];

pub const SPEC: Spec = Spec {
    name: "hotkeys",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Server,
    since: "8.6.0",
    summary: "Groups the commands about the keys that take the most.",
    complexity: "Depends on the subcommand.",
    subcommands: &[GET, HELP, RESET, START, STOP],
    ..Spec::NEW
};

/// What the subcommands about a session have in common.
const ABOUT_SESSION: Spec = Spec {
    arity: 2,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    since: "8.6.0",
    tips: TIPS,
    side: Side::Wide,
    ..Spec::NEW
};

pub const GET: Spec = Spec {
    name: "get",
    summary: "Returns the keys that have taken the most time and bytes in the session.",
    complexity: "O(K), K being the number of keys returned",
    run: Some(get),
    ..ABOUT_SESSION
};

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW,
    group: Group::Server,
    since: "8.6.0",
    summary: "Describes the subcommands of HOTKEYS.",
    run: Some(help::run),
    ..Spec::NEW
};

pub const RESET: Spec =
    Spec { name: "reset", summary: "Forgets the session that was stopped.", run: Some(reset), ..ABOUT_SESSION };

pub const START: Spec = Spec {
    name: "start",
    arity: -2,
    summary: "Begins a session in which what each key takes is counted.",
    args: &[
        Arg::block(
            "metrics",
            &[Arg::integer("count"), Arg::word("cpu", "CPU").optional(), Arg::word("net", "NET").optional()],
        )
        .token("METRICS"),
        Arg::integer("k").token("COUNT").optional(),
        Arg::integer("duration").display("seconds").token("DURATION").optional(),
        Arg::integer("ratio").token("SAMPLE").optional(),
        Arg::block("slots", &[Arg::integer("count"), Arg::integer("slot").multiple()]).token("SLOTS").optional(),
    ],
    run: Some(start),
    ..ABOUT_SESSION
};

pub const STOP: Spec =
    Spec { name: "stop", summary: "Ends the session; what it has found stays.", run: Some(stop), ..ABOUT_SESSION };

const COUNT: usize = 10;
const COUNT_MAX: i64 = 64;
const DURATION_SECONDS_MAX: i64 = 1_000_000;

fn start(cx: &mut Ctx<'_>) -> Outcome {
    let wish = parse(cx)?;
    if cx.global().hot_keys.as_ref().is_some_and(HotKeys::is_active) {
        return cx.fail("ERR hotkey tracking session already in progress");
    }
    let (threads, now, usage) = (cx.host.stats().len(), cx.db.now, usage(cx));
    cx.global_mut()?.hot_keys = Some(HotKeys::new(wish, threads, now, usage));
    cx.reply.ok();
    Ok(())
}

fn stop(cx: &mut Ctx<'_>) -> Outcome {
    let (now, usage) = (cx.db.now, usage(cx));
    match cx.global_mut()?.hot_keys.as_mut().filter(|hot_keys| hot_keys.is_active()) {
        Some(hot_keys) => hot_keys.stop(now, usage),
        None => return cx.fail("ERR no hotkey tracking session in progress"),
    }
    cx.reply.ok();
    Ok(())
}

fn reset(cx: &mut Ctx<'_>) -> Outcome {
    if cx.global().hot_keys.as_ref().is_some_and(HotKeys::is_active) {
        return cx.fail("ERR hotkey tracking session in progress, stop tracking first");
    }
    cx.global_mut()?.hot_keys = None;
    cx.reply.ok();
    Ok(())
}

/// An array of one map: what several nodes reply is put together by joining arrays.
fn get(cx: &mut Ctx<'_>) -> Outcome {
    let (now, used) = (cx.db.now, usage(cx));
    let global = match &cx.reach {
        crate::Reach::Narrow(global) => *global,
        crate::Reach::Wide(global) => &**global,
    };
    let reply = &mut *cx.reply;
    let Some(hot_keys) = &global.hot_keys else {
        reply.null();
        return Ok(());
    };
    let (wish, found, used) = (hot_keys.wish, hot_keys.found(), hot_keys.usage(used));
    let duration_ms = hot_keys.ended.unwrap_or(now).0 - hot_keys.began.0;
    reply.array(1);
    reply.map(7 + 3 * usize::from(wish.cpu) + 2 * usize::from(wish.net));
    let mut number = |name: &str, value: u64| {
        reply.bulk(name);
        reply.int(value as i64);
    };
    number("tracking-active", u64::from(hot_keys.is_active()));
    number("sample-ratio", wish.sample_ratio);
    // All: there are no others to choose from without a cluster.
    cx.reply.bulk("selected-slots");
    cx.reply.array(1);
    cx.reply.array(2);
    cx.reply.int(0);
    cx.reply.int(16_383);
    let reply = &mut *cx.reply;
    let mut number = |name: &str, value: u64| {
        reply.bulk(name);
        reply.int(value as i64);
    };
    number("all-commands-all-slots-us", found.all_us);
    number("net-bytes-all-commands-all-slots", found.all_bytes);
    number("collection-start-time-unix-ms", hot_keys.began.0 as u64);
    number("collection-duration-ms", duration_ms.max(0) as u64);
    if wish.cpu {
        number("total-cpu-time-user-ms", used.user_ms);
        number("total-cpu-time-sys-ms", used.system_ms);
    }
    if wish.net {
        number("total-net-bytes", used.net_bytes);
    }
    for (is_wanted, name, keys) in
        [(wish.cpu, "by-cpu-time-us", &found.by_us), (wish.net, "by-net-bytes", &found.by_bytes)]
    {
        if is_wanted {
            reply.bulk(name);
            reply.array(keys.len() * 2);
            for (key, weight) in keys {
                reply.bulk(key);
                reply.int(*weight as i64);
            }
        }
    }
    Ok(())
}

/// What the process has used until now.
fn usage(cx: &Ctx<'_>) -> Usage {
    let (user_ms, system_ms) = cx.host.cpu_ms();
    let of_thread = |thread: &crate::ThreadStats| thread.net_input_bytes.get() + thread.net_output_bytes.get();
    Usage { user_ms, system_ms, net_bytes: cx.host.stats().iter().map(|thread| of_thread(thread)).sum() }
}

fn parse(cx: &Ctx<'_>) -> Result<Wish, Stop> {
    let mut wish = Wish { cpu: false, net: false, count: COUNT, duration_ms: 0, sample_ratio: 1 };
    let mut metrics = None;
    let between = |index: usize, min: i64, max: i64, text: &'static str| {
        let number = cx.args.get(index).and_then(|arg| resp::number::parse_i64(arg));
        number.filter(|number| (min..=max).contains(number)).ok_or(Stop::Error(Error::text(text)))
    };
    let mut at = 2;
    while at < cx.args.len() {
        if cx.word(at, "METRICS") && metrics.is_none() {
            let count = between(at + 1, 1, 2, "ERR METRICS count must be 1 or 2")? as usize;
            at += 2;
            while cx.word(at, "CPU") && !wish.cpu || cx.word(at, "NET") && !wish.net {
                wish.cpu |= cx.word(at, "CPU");
                wish.net |= cx.word(at, "NET");
                at += 1;
            }
            metrics = Some(count);
            continue;
        }
        if cx.word(at, "COUNT") {
            wish.count = between(at + 1, 1, COUNT_MAX, "ERR COUNT must be between 1 and 64")? as usize;
        } else if cx.word(at, "DURATION") {
            const TEXT: &str = "ERR DURATION must be between 1 and 1000000";
            wish.duration_ms = between(at + 1, 1, DURATION_SECONDS_MAX, TEXT)? * 1000;
        } else if cx.word(at, "SAMPLE") {
            wish.sample_ratio = between(at + 1, 1, i64::from(i32::MAX), "ERR SAMPLE ratio must be positive")? as u64;
        } else if cx.word(at, "SLOTS") {
            return cx.fail("ERR SLOTS parameter cannot be used in non-cluster mode");
        } else {
            return Err(Error::Syntax.into());
        }
        at += 2;
    }
    match metrics {
        None => cx.fail("ERR METRICS parameter is required"),
        Some(count) if count != usize::from(wish.cpu) + usize::from(wish.net) => {
            cx.fail("ERR METRICS count does not match the number of metrics")
        }
        Some(_) => Ok(wish),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn arguments() {
        script(&[
            ("HOTKEYS START", "-ERR METRICS parameter is required"),
            ("HOTKEYS START METRICS", "-ERR METRICS count must be 1 or 2"),
            ("HOTKEYS START METRICS 3 CPU NET", "-ERR METRICS count must be 1 or 2"),
            ("HOTKEYS START METRICS 2 CPU", "-ERR METRICS count does not match the number of metrics"),
            ("HOTKEYS START METRICS 1 CPU CPU", "-ERR syntax error"),
            ("HOTKEYS START METRICS 1 CPU COUNT 65", "-ERR COUNT must be between 1 and 64"),
            ("HOTKEYS START METRICS 1 CPU COUNT", "-ERR COUNT must be between 1 and 64"),
            ("HOTKEYS START METRICS 1 CPU DURATION 0", "-ERR DURATION must be between 1 and 1000000"),
            ("HOTKEYS START METRICS 1 CPU SAMPLE 0", "-ERR SAMPLE ratio must be positive"),
            ("HOTKEYS START METRICS 1 CPU SLOTS 1 5", "-ERR SLOTS parameter cannot be used in non-cluster mode"),
            ("HOTKEYS START METRICS 1 CPU foo 1", "-ERR syntax error"),
            ("HOTKEYS GET", "$-1"),
            ("HOTKEYS STOP", "-ERR no hotkey tracking session in progress"),
            ("HOTKEYS RESET", "+OK"),
        ]);
    }

    #[test]
    fn a_session() {
        let mut rig = Rig::new();
        rig.script(&[
            ("HOTKEYS START METRICS 2 CPU NET COUNT 2 DURATION 60 SAMPLE 1", "+OK"),
            ("HOTKEYS START METRICS 1 CPU", "-ERR hotkey tracking session already in progress"),
            ("HOTKEYS RESET", "-ERR hotkey tracking session in progress, stop tracking first"),
        ]);
        let key = rig.world.keyspace.key(b"a");
        rig.world.global.hot_keys.as_ref().expect("a session").add(0, &[key], 5000, 30);
        rig.now.0 += 250;
        rig.script(&[("HOTKEYS STOP", "+OK"), ("HOTKEYS STOP", "-ERR no hotkey tracking session in progress")]);
        rig.now.0 += 1000;
        rig.run("HELLO 3");
        rig.script(&[
            (
                "HOTKEYS GET",
                "*1 %12 $15 tracking-active :0 $12 sample-ratio :1 $14 selected-slots *1 *2 :0 :16383 \
                 $25 all-commands-all-slots-us :5 $32 net-bytes-all-commands-all-slots :30 \
                 $29 collection-start-time-unix-ms :1700000000000 $22 collection-duration-ms :250 \
                 $22 total-cpu-time-user-ms :0 $21 total-cpu-time-sys-ms :0 $15 total-net-bytes :0 \
                 $14 by-cpu-time-us *2 $1 a :5 $12 by-net-bytes *2 $1 a :30",
            ),
            ("HOTKEYS RESET", "+OK"),
            ("HOTKEYS GET", "_"),
        ]);
    }
}

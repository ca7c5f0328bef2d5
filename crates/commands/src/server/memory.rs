//! `MEMORY` and its subcommands.

use keyspace::DbIndex;

use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::help;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "memory",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Server,
    since: "4.0.0",
    summary: "Groups the commands about memory.",
    complexity: "Depends on the subcommand.",
    subcommands: &[DOCTOR, HELP, MALLOC_STATS, PURGE, STATS, USAGE],
    ..Spec::NEW
};

pub const DOCTOR: Spec = Spec {
    name: "doctor",
    arity: 2,
    acl: Acl::SLOW,
    group: Group::Server,
    since: "4.0.0",
    summary: "Looks for problems with memory, and says what could be done about them.",
    complexity: "O(1)",
    tips: REPORT_TIPS,
    side: Side::Wide,
    run: Some(doctor),
    ..Spec::NEW
};

pub const MALLOC_STATS: Spec = Spec {
    name: "malloc-stats",
    summary: "Returns what the allocator says of itself.",
    complexity: "Depends on how much is allocated: it may take long",
    side: Side::Narrow,
    run: Some(malloc_stats),
    ..DOCTOR
};

pub const PURGE: Spec = Spec {
    name: "purge",
    summary: "Gives unused memory back to the system.",
    complexity: "Depends on how much is allocated: it may take long",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    side: Side::Narrow,
    run: Some(purge),
    ..DOCTOR
};

pub const STATS: Spec = Spec { name: "stats", summary: "Returns what memory is used for.", run: Some(stats), ..DOCTOR };

const REPORT_TIPS: &[&str] = &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW,
    group: Group::Server,
    since: "4.0.0",
    summary: "Describes the subcommands of MEMORY.",
    run: Some(help::run),
    ..Spec::NEW
};

pub const USAGE: Spec = Spec {
    name: "usage",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO, 2)],
    group: Group::Server,
    since: "4.0.0",
    summary: "Estimates how much memory a key and its value take.",
    complexity: "O(N), N being the number of samples",
    args: &[Arg::key("key", 0), Arg::integer("count").token("SAMPLES").optional()],
    run: Some(usage),
    ..Spec::NEW
};

/// Elements of a collection that are looked at unless SAMPLES says otherwise.
const SAMPLES: usize = 5;

fn usage(cx: &mut Ctx<'_>) -> Outcome {
    let mut samples = SAMPLES;
    let mut index = 3;
    while index < cx.args.len() {
        if !cx.word(index, "SAMPLES") || index + 1 >= cx.args.len() {
            return Err(Error::Syntax.into());
        }
        samples = usize::try_from(cx.int(index + 1)?).map_err(|_| Error::Syntax)?;
        index += 2;
    }
    // Memory is used whether or not the key's time is past: this looks at what is there, and removes nothing.
    match cx.db.space.get(cx.db.index, cx.keys[0]) {
        None => cx.reply.null(),
        Some(entry) => cx.reply.int(entry.memory_usage(samples) as i64),
    }
    Ok(())
}

/// What the server knows about its memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryReport {
    pub used: u64,
    pub peak: u64,
    pub startup: u64,
    /// In memory, as the system counts it.
    pub resident_set: u64,
    /// All allocators together: handed out; in pages of which something is; in memory; given to the system to take.
    pub allocated: u64,
    pub active: u64,
    pub resident: u64,
    pub muzzy: u64,
    pub clients: u64,
    /// The largest client of all.
    pub largest_client: u64,
    pub client_count: u64,
    pub journal: u64,
    /// What is kept of the stream of replication, links to replicas, and what has come from our primary and is still to be applied.
    pub replication_log: u64,
    pub replica_links: u64,
    pub replication_arrears: u64,
    /// Segments and directories of the keyspace's tables.
    pub tables: u64,
    pub cached_scripts: u64,
}

impl MemoryReport {
    /// Of one figure to another; 1 where there is nothing to compare.
    fn ratio(numerator: u64, denominator: u64) -> f64 {
        if denominator == 0 { 1.0 } else { numerator as f64 / denominator as f64 }
    }

    /// What is not data.
    pub fn overhead(&self) -> u64 {
        let replication = self.replication_log + self.replica_links + self.replication_arrears;
        (self.startup + self.clients + self.tables + self.journal + replication).min(self.used)
    }
}

fn stats(cx: &mut Ctx<'_>) -> Outcome {
    let report = cx.host.memory_report(cx.global(), &cx.db);
    let databases: Vec<(u32, u64)> = (0..cx.db.space.db_count() as u32)
        .map(|db| (db, cx.db.space.len(DbIndex(db)) as u64))
        .filter(|(_, keys)| *keys > 0)
        .collect();
    let keys: u64 = databases.iter().map(|(_, keys)| keys).sum();
    let overhead = report.overhead();
    let dataset = report.used - overhead;
    let beyond_startup = report.used.saturating_sub(report.startup);
    let percent = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    enum Figure {
        Bytes(i64),
        Ratio(f64),
    }
    use Figure::{Bytes, Ratio};
    let bytes = |bytes: u64| Bytes(bytes as i64);
    let difference = |more: u64, less: u64| Bytes(more as i64 - less as i64);
    let before = [
        ("peak.allocated", bytes(report.peak)),
        ("total.allocated", bytes(report.used)),
        ("startup.allocated", bytes(report.startup)),
        ("replication.backlog", bytes(report.replication_log)),
        ("replica.fullsync.buffer", bytes(report.replication_arrears)),
        ("clients.slaves", bytes(report.replica_links)),
        ("clients.normal", bytes(report.clients)),
        ("cluster.links", Bytes(0)),
        ("aof.buffer", bytes(report.journal)),
        ("lua.caches", Bytes(0)),
        ("functions.caches", Bytes(0)),
        ("script.VMs", Bytes(0)),
    ];
    let behind = [
        ("overhead.db.hashtable.lut", bytes(report.tables)),
        // Tables split a segment at a time: nothing is held twice while they grow.
        ("overhead.db.hashtable.rehashing", Bytes(0)),
        ("overhead.total", bytes(overhead)),
        ("db.dict.rehashing.count", Bytes(0)),
        ("keys.count", bytes(keys)),
        ("keys.bytes-per-key", bytes(beyond_startup.checked_div(keys).unwrap_or(0))),
        ("dataset.bytes", bytes(dataset)),
        ("dataset.percentage", Ratio(percent(dataset, beyond_startup))),
        ("peak.percentage", Ratio(percent(report.used, report.peak))),
        ("allocator.allocated", bytes(report.allocated)),
        ("allocator.active", bytes(report.active)),
        ("allocator.resident", bytes(report.resident)),
        ("allocator.muzzy", bytes(report.muzzy)),
        ("allocator-fragmentation.ratio", Ratio(MemoryReport::ratio(report.active, report.allocated))),
        ("allocator-fragmentation.bytes", difference(report.active, report.allocated)),
        ("allocator-rss.ratio", Ratio(MemoryReport::ratio(report.resident, report.active))),
        ("allocator-rss.bytes", difference(report.resident, report.active)),
        ("rss-overhead.ratio", Ratio(MemoryReport::ratio(report.resident_set, report.resident))),
        ("rss-overhead.bytes", difference(report.resident_set, report.resident)),
        ("fragmentation", Ratio(MemoryReport::ratio(report.resident_set, report.used))),
        ("fragmentation.bytes", difference(report.resident_set, report.used)),
    ];
    cx.reply.map(before.len() + databases.len() + behind.len());
    let mut figure = |(name, figure): (&str, Figure)| {
        cx.reply.bulk(name);
        match figure {
            Bytes(bytes) => cx.reply.int(bytes),
            Ratio(ratio) => cx.reply.double(ratio),
        }
    };
    before.into_iter().for_each(&mut figure);
    for (db, keys_here) in databases {
        cx.reply.bulk(format!("db.{db}"));
        cx.reply.map(2);
        cx.reply.bulk("overhead.hashtable.main");
        // All databases share the shards; what the tables of one take would be a walk over them.
        cx.reply.int((u128::from(report.tables) * u128::from(keys_here) / u128::from(keys)) as i64);
        cx.reply.bulk("overhead.hashtable.expires");
        // A key's time stands in its entry.
        cx.reply.int(0);
    }
    let mut figure = |(name, figure): (&str, Figure)| {
        cx.reply.bulk(name);
        match figure {
            Bytes(bytes) => cx.reply.int(bytes),
            Ratio(ratio) => cx.reply.double(ratio),
        }
    };
    behind.into_iter().for_each(&mut figure);
    Ok(())
}

fn doctor(cx: &mut Ctx<'_>) -> Outcome {
    let report = cx.host.memory_report(cx.global(), &cx.db);
    cx.reply.verbatim("txt", diagnosis(&report).as_bytes());
    Ok(())
}

/// What is wrong, if anything, and what to do about it.
fn diagnosis(report: &MemoryReport) -> String {
    const MIB: u64 = 1 << 20;
    if report.used < 5 * MIB {
        return "There is next to nothing in memory yet: a diagnosis would say nothing. Ask again when there is data.\n"
            .to_owned();
    }
    let mut findings: Vec<String> = Vec::new();
    if report.peak as f64 > report.used as f64 * 1.5 {
        findings.push(format!(
            "Peak: at its peak {} MiB were used, and now {}. If the peak does not come again, all is well; if resident memory stays high, \
             MEMORY PURGE gives unused pages back.",
            report.peak / MIB,
            report.used / MIB
        ));
    }
    if MemoryReport::ratio(report.resident_set, report.used) > 1.4 && report.resident_set - report.used > 10 * MIB {
        findings.push(format!(
            "Fragmentation: {} MiB are resident for {} MiB used. Sparse pages of keys are emptied by themselves while the server runs; \
             MEMORY PURGE gives back what the allocator holds.",
            report.resident_set / MIB,
            report.used / MIB
        ));
    }
    if MemoryReport::ratio(report.active, report.allocated) > 1.1 && report.active - report.allocated > 10 * MIB {
        findings.push(format!(
            "Room within pages: {} MiB of pages in use are free. Values of other sizes than before cannot use all of it.",
            (report.active - report.allocated) / MIB
        ));
    }
    if report.largest_client > 200 * 1024 && report.clients / report.client_count.max(1) > 200 * 1024 {
        findings.push(format!(
            "Clients: the buffers of {} clients take {} MiB. CLIENT LIST shows whose (omem, tot-mem); maxmemory-clients and \
             client-output-buffer-limit bound them.",
            report.client_count,
            report.clients / MIB
        ));
    }
    if report.cached_scripts > 1000 {
        findings.push(format!(
            "Scripts: {} are kept. Where scripts differ only in what is written into them, pass that as arguments instead.",
            report.cached_scripts
        ));
    }
    if findings.is_empty() {
        return "No problem with memory was found.\n".to_owned();
    }
    let mut text = format!("Findings: {}\n", findings.len());
    for finding in findings {
        text.push_str(&format!("\n * {finding}\n"));
    }
    text
}

fn malloc_stats(cx: &mut Ctx<'_>) -> Outcome {
    let text = cx.host.allocator_stats();
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn purge(cx: &mut Ctx<'_>) -> Outcome {
    cx.host.purge_memory();
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{MemoryReport, diagnosis};

    use crate::testing::{Rig, script};

    #[test]
    fn what_memory_is_used_for() {
        let mut rig = Rig::new();
        rig.script(&[("SET a 1", "+OK"), ("SELECT 3", "+OK"), ("RPUSH l 1", ":1"), ("MEMORY PURGE", "+OK")]);
        let reply = rig.run("MEMORY STATS");
        // Twelve figures, two databases, twenty-one figures; in Redis's order.
        assert!(reply.starts_with("*70 $14 peak.allocated :"), "{reply}");
        let at = |name: &str| reply.find(name).unwrap_or_else(|| panic!("no {name} in {reply}"));
        assert!(at("script.VMs") < at("db.0 *4 $23 overhead.hashtable.main :"));
        assert!(at("db.0") < at("db.3") && at("db.3") < at("overhead.db.hashtable.lut"));
        assert!(reply.contains("keys.count :2 ") && reply.contains("$19 fragmentation.bytes :"));
        rig.run("HELLO 3");
        assert!(rig.run("MEMORY STATS").starts_with("%35 $14 peak.allocated :"));
    }

    #[test]
    fn the_doctor_finds_what_there_is() {
        const MIB: u64 = 1 << 20;
        let healthy = MemoryReport {
            used: 100 * MIB,
            peak: 110 * MIB,
            resident_set: 110 * MIB,
            allocated: 100 * MIB,
            active: 105 * MIB,
            ..MemoryReport::default()
        };
        assert!(diagnosis(&MemoryReport { used: MIB, ..healthy }).contains("next to nothing"));
        assert_eq!(diagnosis(&healthy), "No problem with memory was found.\n");
        for (report, finding) in [
            (MemoryReport { peak: 200 * MIB, ..healthy }, "Peak: "),
            (MemoryReport { resident_set: 200 * MIB, ..healthy }, "Fragmentation: "),
            (MemoryReport { active: 120 * MIB, ..healthy }, "Room within pages: "),
            (MemoryReport { clients: 50 * MIB, client_count: 10, largest_client: 20 * MIB, ..healthy }, "Clients: "),
            (MemoryReport { cached_scripts: 5000, ..healthy }, "Scripts: "),
        ] {
            let text = diagnosis(&report);
            assert!(text.starts_with("Findings: 1\n") && text.contains(finding), "{text}");
        }
    }

    #[test]
    fn usage_and_its_options() {
        script(&[
            ("MEMORY USAGE nosuch", "$-1"),
            ("MEMORY USAGE a SAMPLES", "-ERR syntax error"),
            ("MEMORY USAGE a SAMPLES -1", "-ERR syntax error"),
            ("MEMORY USAGE a SAMPLES x", "-ERR value is not an integer or out of range"),
            ("MEMORY USAGE a FOO 1", "-ERR syntax error"),
        ]);
        let mut rig = Rig::new();
        rig.run("SET key 0123456789012345678901234567890123456789");
        let bytes: usize = rig.run("MEMORY USAGE key SAMPLES 0").strip_prefix(':').unwrap().parse().unwrap();
        assert!((43..=80).contains(&bytes), "{bytes}");
    }
}

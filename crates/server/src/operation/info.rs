//! INFO: its sections and their fields, named and ordered as Redis 8.2 shows them.
//!
//! Only true figures. A field whose feature does not exist yet is shown where its value is true all the same
//! (`connected_slaves:0`) and missing where it would be a guess (`master_replid`, `gcc_version`). Valkey's fields that say
//! more stand beside Redis's; Spinel's own are `spinel_version` and those about its table at the end of `memory`.
//!
//! A report needs access to the world (`global`, `db`) for what stands behind the gate. Without it, which is how a crash
//! report asks, those fields are left out and nothing is waited for.

use std::fmt::{Display, Write};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use commands::global::Role;
use commands::pubsub::{Subscriptions, Topic};
use commands::replication::{Figures, Replication};
use commands::scripting::Scripts;
use commands::stats::{Counter, percentiles_ns};
use commands::tracking::TrackingFigures;
use commands::{ClientFlags, Clients, Db, Global, Registry, ThreadStats};
use config::directives;
use journal::Destination;
use keyspace::{DbIndex, Millis};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use replication::{FailoverState, LinkState, ReplicaState};

use super::memory::{self, AllocatorFigures, MemoryFigures, human};
use super::{OperationState, clock};
use crate::eviction::Limit;
use crate::persistence::Persistence;
use crate::tls::Terms;

/// Where the figures come from.
#[derive(Clone)]
pub struct InfoSources<'a> {
    pub now: Millis,
    pub registry: &'a Registry,
    /// By thread.
    pub stats: &'a [Arc<ThreadStats>],
    /// Of these threads, so many have connections.
    pub loops_in_use: usize,
    pub clients: &'a Clients,
    pub subscriptions: &'a Subscriptions,
    pub rejected_connections: u64,
    pub operation: &'a OperationState,
    pub limit: &'a Limit,
    pub persistence: &'a Persistence,
    /// Not asked of a thread that has crashed, perhaps with its locks in its hands.
    pub replication: Option<&'a dyn Replication>,
    pub migrate_cached_sockets: usize,
    pub tls: Option<Arc<Terms>>,
    /// Behind the gate.
    pub global: Option<&'a Global>,
    /// A wide access, for the sizes of the databases.
    pub db: Option<&'a Db<'a>>,
}

struct Section {
    name: &'static str,
    title: &'static str,
    /// Shown when no section is asked for.
    by_default: bool,
    write: fn(&InfoSources<'_>, &mut Report),
}

const fn section(name: &'static str, title: &'static str, write: fn(&InfoSources<'_>, &mut Report)) -> Section {
    Section { name, title, by_default: true, write }
}

const fn on_request(name: &'static str, title: &'static str, write: fn(&InfoSources<'_>, &mut Report)) -> Section {
    Section { name, title, by_default: false, write }
}

/// All sections in the order in which they are shown.
const SECTIONS: &[Section] = &[
    section("server", "Server", server),
    on_request("tls", "TLS", tls),
    section("clients", "Clients", clients),
    section("memory", "Memory", memory),
    section("persistence", "Persistence", persistence),
    section("threads", "Threads", threads),
    section("stats", "Stats", stats),
    section("replication", "Replication", replication),
    section("cpu", "CPU", cpu),
    section("modules", "Modules", |_, _| ()),
    on_request("commandstats", "Commandstats", commandstats),
    section("errorstats", "Errorstats", errorstats),
    on_request("latencystats", "Latencystats", latencystats),
    section("cluster", "Cluster", cluster),
    section("keyspace", "Keyspace", keyspace),
    section("keysizes", "Keysizes", key_sizes),
];

/// The sections asked for, in their own order whatever the order of the words, each once. Words that name none are passed
/// over; no word at all means the default.
pub fn render(sources: &InfoSources<'_>, wanted: &[&[u8]]) -> String {
    let asked = |name: &str| wanted.iter().any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    let all = asked("all") || asked("everything");
    let default = wanted.is_empty() || asked("default");
    let mut report = Report { text: String::with_capacity(8 * 1024) };
    for section in SECTIONS {
        if all || default && section.by_default || asked(section.name) {
            if !report.text.is_empty() {
                report.text.push_str("\r\n");
            }
            let _ = write!(report.text, "# {}\r\n", section.title);
            (section.write)(sources, &mut report);
        }
    }
    report.text
}

struct Report {
    text: String,
}

impl Report {
    fn field(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.text, "{name}:{value}\r\n");
    }

    /// Fields of features that are not there, or cannot be busy: their value is zero, truly.
    fn zeros(&mut self, names: &[&str]) {
        for name in names {
            self.field(name, 0);
        }
    }

    /// Bytes, and for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), human(bytes));
    }

    fn fixed2(&mut self, name: &str, value: f64) {
        self.field(name, format_args!("{value:.2}"));
    }

    fn percent(&mut self, name: &str, value: f64) {
        self.field(name, format_args!("{value:.2}%"));
    }
}

impl InfoSources<'_> {
    /// The sum of a counter over all threads.
    fn sum(&self, counter: impl Fn(&ThreadStats) -> &Counter) -> u64 {
        self.stats.iter().map(|thread| counter(thread).get()).sum()
    }

    fn replication_figures(&self) -> Figures {
        self.replication.map(|replication| replication.figures()).unwrap_or_default()
    }
}

fn server(sources: &InfoSources<'_>, report: &mut Report) {
    report.field("redis_version", commands::connection::REDIS_VERSION);
    report.field("server_name", "spinel");
    report.field("spinel_version", env!("CARGO_PKG_VERSION"));
    // Redis's own value for a build that knows no commit.
    report.field("redis_git_sha1", "00000000");
    report.field("redis_git_dirty", 0);
    report.field("redis_mode", "standalone");
    report.field("server_mode", "standalone");
    if let Ok(system) = nix::sys::utsname::uname() {
        let [name, release, machine] =
            [system.sysname(), system.release(), system.machine()].map(|text| text.to_string_lossy());
        report.field("os", format_args!("{name} {release} {machine}"));
    }
    report.field("arch_bits", usize::BITS);
    report.field("monotonic_clock", clock::source());
    report.field("multiplexing_api", if cfg!(target_os = "linux") { "epoll" } else { "kqueue" });
    report.field("process_id", std::process::id());
    report.field("process_supervised", sources.operation.supervisor.get().map_or("no", |supervisor| supervisor.name()));
    if let Some(global) = sources.global {
        report.field("run_id", &global.run_id);
        // Whatever port it is reached by, as in Redis.
        let port = Some(global.config.get(directives::PORT)).filter(|port| *port != 0);
        report.field("tcp_port", port.unwrap_or_else(|| global.config.get(directives::TLS_PORT)));
    }
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    report.field("server_time_usec", since.as_micros());
    let Some(global) = sources.global else { return };
    let uptime_seconds = (sources.now.0 - global.started.0).max(0) / 1000;
    report.field("uptime_in_seconds", uptime_seconds);
    report.field("uptime_in_days", uptime_seconds / 86_400);
    let config = &global.config;
    report.field("hz", config.get(directives::HZ));
    report.field("configured_hz", config.get(directives::HZ));
    report.field("lru_clock", commands::db::access::lru_clock(sources.now));
    report.field("executable", global.executable.display());
    report.field("config_file", config.file().unwrap_or(Path::new("")).display());
    report.field("io_threads_active", u8::from(sources.loops_in_use > 1));
    report.field("io_threads_in_use", sources.loops_in_use);
    report.field("availability_zone", config.text(directives::AVAILABILITY_ZONE));
    if let Some(patience) = sources.persistence.shutdown_patience() {
        report.field("shutdown_in_milliseconds", patience.as_millis());
    }
    let mut listeners = Vec::new();
    let addresses: String = config
        .get(directives::BIND)
        .iter()
        .map(|address| format!(",bind={}", String::from_utf8_lossy(address)))
        .collect();
    let on_port = |name, port: i64| (port != 0).then(|| format!("name={name}{addresses},port={port}"));
    listeners.extend(on_port("tcp", config.get(directives::PORT)));
    listeners.extend(config.path(directives::UNIXSOCKET).map(|path| format!("name=unix,bind={}", path.display())));
    listeners.extend(on_port("tls", config.get(directives::TLS_PORT)));
    for (index, listener) in listeners.iter().enumerate() {
        report.field(&format!("listener{index}"), listener);
    }
}

/// As in Valkey: when to think of renewing what.
fn tls(sources: &InfoSources<'_>, report: &mut Report) {
    let terms = sources.tls.as_deref();
    let certificates = [
        ("server", terms.and_then(|terms| terms.server_certificate.as_ref())),
        ("client", terms.and_then(|terms| terms.client_certificate.as_ref())),
        ("ca", terms.and_then(|terms| terms.authority.as_ref())),
    ];
    for (name, certificate) in certificates {
        report.field(&format!("tls_{name}_cert_serial"), certificate.map_or("none", |brief| &brief.serial));
        let seconds = certificate.map_or(0, |brief| brief.expires_at_seconds - sources.now.0 / 1000);
        report.field(&format!("tls_{name}_cert_expires_in_seconds"), seconds);
    }
}

fn tracking(sources: &InfoSources<'_>) -> TrackingFigures {
    sources.global.map(|global| global.tracking.figures()).unwrap_or_default()
}

fn clients(sources: &InfoSources<'_>, report: &mut Report) {
    let clients = sources.clients.all();
    let is_replica = |client: &&Arc<commands::Client>| client.flags().contains(ClientFlags::REPLICA);
    report.field("connected_clients", clients.len() - clients.iter().filter(is_replica).count());
    report.field("cluster_connections", 0);
    if let Some(global) = sources.global {
        report.field("maxclients", global.config.get(directives::MAXCLIENTS));
    }
    let most = |buffer: fn(&commands::Client) -> usize| clients.iter().map(|client| buffer(client)).max().unwrap_or(0);
    report.field("client_recent_max_input_buffer", most(|client| client.query_buffer_bytes.load(Relaxed)));
    report.field("client_recent_max_output_buffer", most(|client| client.output_bytes.load(Relaxed)));
    let waiters = sources.global.map(|global| global.waiters.count()).unwrap_or_default();
    // Those too whom a pause makes wait, as in Redis.
    let is_paused = |client: &&Arc<commands::Client>| client.flags().contains(ClientFlags::PAUSED);
    report.field("blocked_clients", waiters.clients + clients.iter().filter(is_paused).count());
    let (watching_clients, watched_keys) = sources.global.map(|global| global.watches.count()).unwrap_or_default();
    report.field("tracking_clients", tracking(sources).clients);
    let is_subscriber = |client: &&Arc<commands::Client>| client.flags().contains(ClientFlags::PUBSUB);
    report.field("pubsub_clients", clients.iter().filter(is_subscriber).count());
    report.field("watching_clients", watching_clients);
    report.field("clients_in_timeout_table", waiters.clients_with_timeout);
    report.field("total_watched_keys", watched_keys);
    report.field("total_blocking_keys", waiters.keys);
    report.field("total_blocking_keys_on_nokey", waiters.keys_on_nokey);
    if let Some(global) = sources.global {
        let (reason, actions, left_ms) = match global.pause_at(sources.now) {
            Some(pause) => {
                let is_failover =
                    sources.replication.is_some_and(|replication| replication.failover_state() != FailoverState::None);
                let is_shutdown = sources.persistence.shutdown_patience().is_some();
                let reason = match () {
                    () if is_shutdown => "shutdown_in_progress",
                    () if is_failover => "failover_in_progress",
                    () => "client_pause",
                };
                (reason, if pause.writes_only { "write" } else { "all" }, pause.until.0 - sources.now.0)
            }
            None => ("none", "none", 0),
        };
        report.field("paused_reason", reason);
        report.field("paused_actions", actions);
        report.field("paused_timeout_milliseconds", left_ms);
    }
}

fn memory(sources: &InfoSources<'_>, report: &mut Report) {
    let figures = sources.operation.memory.figures(sources.now);
    // This text is no part of what it tells about.
    let used = figures.used.saturating_sub(report.text.capacity() as u64);
    let MemoryFigures { resident_set, peak, startup, allocator, .. } = figures;
    let is_client =
        |client: &Arc<commands::Client>| !client.flags().intersects(ClientFlags::REPLICA.union(ClientFlags::PRIMARY));
    let mut clients = sources.clients.all();
    clients.retain(is_client);
    let client_bytes: u64 = clients.iter().map(|client| client.memory_bytes.load(Relaxed) as u64).sum();
    let replication = sources.replication_figures();
    let table = sources.db.map(|db| db.space.keyspace().figures());
    let table_bytes = table.map_or(0, |table| table.table_bytes as u64);
    let links_bytes = replication.links_bytes + replication.buffer_bytes;
    let overhead = (startup + client_bytes + table_bytes + links_bytes).min(used);
    let dataset = used - overhead;

    report.bytes("used_memory", used);
    report.bytes("used_memory_rss", resident_set);
    report.bytes("used_memory_peak", peak);
    report.field("used_memory_peak_time", figures.peak_time_ms / 1000);
    report.percent("used_memory_peak_perc", MemoryFigures::ratio(used, peak) * 100.0);
    report.field("used_memory_overhead", overhead);
    report.field("used_memory_startup", startup);
    report.field("used_memory_dataset", dataset);
    let data_share = if used > startup { dataset as f64 / (used - startup) as f64 } else { 0.0 };
    report.percent("used_memory_dataset_perc", data_share * 100.0);
    report.field("allocator_allocated", allocator.allocated);
    report.field("allocator_active", allocator.active);
    report.field("allocator_resident", allocator.resident);
    report.field("allocator_muzzy", allocator.muzzy);
    report.bytes("total_system_memory", memory::system_total());
    scripts(sources, report);
    if let Some(global) = sources.global {
        report.bytes("maxmemory", global.settings.maxmemory_bytes);
        let policy = global.config.formatted(directives::MAXMEMORY_POLICY);
        report.field("maxmemory_policy", String::from_utf8_lossy(&policy));
    }
    let beyond = |name: &str, more: u64, less: u64, report: &mut Report| {
        report.fixed2(&format!("{name}_ratio"), MemoryFigures::ratio(more, less));
        report.field(&format!("{name}_bytes"), more as i64 - less as i64);
    };
    beyond("allocator_frag", allocator.active, allocator.allocated, report);
    beyond("allocator_rss", allocator.resident, allocator.active, report);
    beyond("rss_overhead", resident_set, allocator.resident, report);
    beyond("mem_fragmentation", resident_set, used, report);
    report.field("mem_not_counted_for_evict", sources.limit.not_counted_bytes());
    report.field("mem_replication_backlog", replication.log_bytes);
    report.field("mem_total_replication_buffers", replication.buffer_bytes);
    report.field("mem_replica_full_sync_buffer", replication.arrears_bytes);
    report.field("mem_replicas_repl_buffer", replication.arrears_bytes);
    report.field("mem_clients_slaves", replication.links_bytes);
    report.field("mem_clients_normal", client_bytes);
    report.zeros(&["mem_cluster_links"]);
    report.field("mem_aof_buffer", sources.persistence.journal.memory_bytes(Destination::Aof));
    report.field("mem_allocator", AllocatorFigures::name());
    // Tables split a segment at a time: nothing is held twice while they grow.
    report.zeros(&["mem_overhead_db_hashtable_rehashing"]);
    // In Redis the share of the processor in percent; here a walk goes on in slices between requests, or it does not.
    report.field("active_defrag_running", u8::from(sources.operation.compacting_ms(sources.now).0.is_some()));
    report.field("lazyfree_pending_objects", sources.operation.lazyfree_pending.load(Relaxed));
    report.field("lazyfreed_objects", sources.operation.lazyfreed.load(Relaxed));
    report.field("slab_entry_bytes", figures.slab.entry_bytes);
    report.field("slab_page_bytes", figures.slab.page_bytes);
    report.field("slab_reserve_bytes", figures.slab.reserve_bytes);
    if let Some(table) = table {
        report.field("table_bytes", table.table_bytes);
        report.field("table_moved_keys_max", table.keys_moved_max);
        report.field("table_copied_bytes_max", table.bytes_copied_max);
        report.field("table_splits", table.splits);
        report.field("table_merges", table.merges);
    }
}

fn persistence(sources: &InfoSources<'_>, report: &mut Report) {
    let figures = &sources.persistence.figures;
    let jobs = sources.persistence.progress();
    let flag = |flag: bool| u8::from(flag);
    let loading = figures.loading.load(Relaxed);
    let async_loading = figures.async_loading.load(Relaxed);
    report.field("loading", flag(loading && !async_loading));
    report.field("async_loading", flag(loading && async_loading));
    // Nothing forks, so nothing is copied on write: what is told here is what writers have captured for a snapshot.
    report.field("current_cow_peak", jobs.captured_bytes_peak);
    report.field("current_cow_size", jobs.captured_bytes);
    report.zeros(&["current_cow_size_age"]);
    report.field("current_fork_perc", format_args!("{:.2}", jobs.percent_done()));
    report.field("current_save_keys_processed", jobs.keys_done);
    report.field("current_save_keys_total", jobs.keys_total);
    let changes = sources.sum(|thread| &thread.dirty);
    report.field("rdb_changes_since_last_save", changes.wrapping_sub(figures.saved_changes.load(Relaxed)));
    report.field("rdb_bgsave_in_progress", flag(jobs.saving_seconds.is_some()));
    if let Some(global) = sources.global {
        report.field("rdb_last_save_time", global.last_save.0 / 1000);
    }
    let status = |failed: bool| if failed { "err" } else { "ok" };
    report.field("rdb_last_bgsave_status", status(figures.last_save_failed.load(Relaxed)));
    report.field("rdb_last_bgsave_time_sec", figures.last_save_seconds.load(Relaxed));
    report.field("rdb_current_bgsave_time_sec", jobs.saving_seconds.unwrap_or(-1));
    report.field("rdb_saves", figures.saves.load(Relaxed));
    report.field("rdb_last_cow_size", jobs.last_captured_bytes);
    report.field("rdb_last_load_keys_expired", figures.last_load_expired.load(Relaxed));
    report.field("rdb_last_load_keys_loaded", figures.last_load_keys.load(Relaxed));
    let aof = sources.persistence.aof_figures();
    report.field("aof_enabled", flag(aof.is_some()));
    report.field("aof_rewrite_in_progress", flag(jobs.rewriting_seconds.is_some()));
    report.field("aof_rewrite_scheduled", flag(jobs.rewrite_scheduled));
    report.field("aof_last_rewrite_time_sec", figures.last_rewrite_seconds.load(Relaxed));
    report.field("aof_current_rewrite_time_sec", jobs.rewriting_seconds.unwrap_or(-1));
    report.field("aof_last_bgrewrite_status", status(figures.last_rewrite_failed.load(Relaxed)));
    report.field("aof_rewrites", figures.rewrites.load(Relaxed));
    report.field("aof_rewrites_consecutive_failures", figures.rewrite_failures.load(Relaxed));
    report.field("aof_last_write_status", status(sources.persistence.is_aof_failing()));
    report.field("aof_last_cow_size", jobs.last_captured_bytes);
    report.zeros(&["module_fork_in_progress", "module_fork_last_cow_size"]);
    if let Some(aof) = aof {
        report.field("aof_current_size", aof.size_bytes);
        report.field("aof_base_size", aof.base_size_bytes);
        report.field("aof_pending_rewrite", flag(jobs.rewrite_scheduled));
        report.field("aof_buffer_length", aof.buffer_bytes);
        report.field("aof_pending_bio_fsync", aof.pending_syncs);
        report.field("aof_delayed_fsync", aof.delayed_syncs);
    }
    if loading {
        let began = figures.load_began_seconds.load(Relaxed);
        let (total, done) = (figures.load_total_bytes.load(Relaxed), figures.load_done_bytes.load(Relaxed));
        report.field("loading_start_time", began);
        report.field("loading_total_bytes", total);
        report.field("loading_rdb_used_mem", 0);
        report.field("loading_loaded_bytes", done);
        report.field("loading_loaded_perc", format_args!("{:.2}", done as f64 * 100.0 / (total.max(1)) as f64));
        let elapsed = sources.now.0 / 1000 - began;
        let left = if done == 0 { 1 } else { elapsed * total.saturating_sub(done) as i64 / done as i64 };
        report.field("loading_eta_seconds", left);
    }
}

fn threads(sources: &InfoSources<'_>, report: &mut Report) {
    for (index, thread) in sources.stats.iter().enumerate() {
        let clients = thread.clients.load(Relaxed);
        let (reads, writes) = (thread.reads.get(), thread.writes.get());
        report.field(&format!("io_thread_{index}"), format_args!("clients={clients},reads={reads},writes={writes}"));
    }
}

fn stats(sources: &InfoSources<'_>, report: &mut Report) {
    let rates = &sources.operation.rates;
    let kilobytes = |bytes: u64| bytes as f64 / 1024.0;
    report.field("total_connections_received", sources.sum(|thread| &thread.connections));
    report.field("total_commands_processed", sources.sum(|thread| &thread.commands));
    report.field("instantaneous_ops_per_sec", rates.commands_per_second());
    report.field("total_net_input_bytes", sources.sum(|thread| &thread.net_input_bytes));
    report.field("total_net_output_bytes", sources.sum(|thread| &thread.net_output_bytes));
    let replication = sources.replication_figures();
    report.field("total_net_repl_input_bytes", replication.input_bytes);
    report.field("total_net_repl_output_bytes", replication.output_bytes);
    report.fixed2("instantaneous_input_kbps", kilobytes(rates.input_bytes_per_second()));
    report.fixed2("instantaneous_output_kbps", kilobytes(rates.output_bytes_per_second()));
    report.fixed2("instantaneous_input_repl_kbps", kilobytes(rates.replication_input_bytes_per_second()));
    report.fixed2("instantaneous_output_repl_kbps", kilobytes(rates.replication_output_bytes_per_second()));
    report.field("rejected_connections", sources.rejected_connections);
    report.field("sync_full", replication.full_syncs);
    report.field("sync_partial_ok", replication.partial_syncs);
    report.field("sync_partial_err", replication.partial_syncs_refused);
    report.field("expired_subkeys", sources.sum(|thread| &thread.expired_fields));
    report.field("expired_keys", sources.sum(|thread| &thread.expired_keys));
    // Due keys are found without looking at others, in slices of a bounded number of keys: none is left behind for want of time.
    report.field("expired_stale_perc", "0.00");
    report.field("expired_time_cap_reached_count", 0);
    report.field("expire_cycle_cpu_milliseconds", sources.sum(|thread| &thread.expire_cycle_ns) / 1_000_000);
    report.field("evicted_keys", sources.sum(|thread| &thread.evicted_keys));
    report.field("evicted_clients", sources.sum(|thread| &thread.evicted_clients));
    report.field("evicted_scripts", sources.global.map_or(0, |global| global.scripts.evicted));
    let (exceeded_ms, exceeded_ms_total) = sources.limit.exceeded_ms(sources.now);
    report.field("total_eviction_exceeded_time", exceeded_ms_total);
    report.field("current_eviction_exceeded_time", exceeded_ms);
    report.field("keyspace_hits", sources.sum(|thread| &thread.keyspace_hits));
    report.field("keyspace_misses", sources.sum(|thread| &thread.keyspace_misses));
    for (name, topic) in [
        ("pubsub_channels", Topic::Channel),
        ("pubsub_patterns", Topic::Pattern),
        ("pubsubshard_channels", Topic::Shard),
    ] {
        report.field(name, sources.subscriptions.count(topic));
    }
    report.zeros(&["latest_fork_usec", "total_forks"]);
    report.field("migrate_cached_sockets", sources.migrate_cached_sockets);
    report.field("slave_expires_tracked_keys", replication.own_keys);
    // Compaction does that work, whatever `activedefrag` says.
    let compaction = keyspace::slab::compaction_figures();
    report.field("active_defrag_hits", compaction.moved);
    report.field("active_defrag_misses", compaction.left);
    report.field("active_defrag_key_hits", compaction.keys_moved);
    report.field("active_defrag_key_misses", compaction.keys_left);
    let (compacting_ms, compacted_ms) = sources.operation.compacting_ms(sources.now);
    report.field("total_active_defrag_time", compacted_ms);
    report.field("current_active_defrag_time", compacting_ms.unwrap_or(0));
    let tracking = tracking(sources);
    report.field("tracking_total_keys", tracking.keys);
    report.field("tracking_total_items", tracking.items);
    report.field("tracking_total_prefixes", tracking.prefixes);
    report.field("unexpected_error_replies", sources.sum(|thread| &thread.unexpected_error_replies));
    report.field("total_error_replies", sources.sum(|thread| &thread.error_replies));
    report.field("dump_payload_sanitizations", 0);
    // Every thread reads, executes and writes for its own clients: "threaded" is what thread 0 did not do.
    let (reads, writes) = (sources.sum(|thread| &thread.reads), sources.sum(|thread| &thread.writes));
    let (first_reads, first_writes) =
        sources.stats.first().map_or((0, 0), |thread| (thread.reads.get(), thread.writes.get()));
    report.field("total_reads_processed", reads);
    report.field("total_writes_processed", writes);
    report.field("io_threaded_reads_processed", reads.saturating_sub(first_reads));
    report.field("io_threaded_writes_processed", writes.saturating_sub(first_writes));
    report.field("io_threaded_total_prefetch_batches", sources.sum(|thread| &thread.prefetch_batches));
    report.field("io_threaded_total_prefetch_entries", sources.sum(|thread| &thread.prefetch_keys));
    let disconnections = [
        ("client_query_buffer_limit_disconnections", sources.sum(|thread| &thread.query_limit_disconnections)),
        ("client_output_buffer_limit_disconnections", sources.sum(|thread| &thread.output_limit_disconnections)),
    ];
    for (name, count) in disconnections {
        report.field(name, count);
    }
    // A thread's reply buffer belongs to no client, and does not change with them.
    report.zeros(&["reply_buffer_shrinks", "reply_buffer_expands"]);
    let command_ns: u64 =
        sources.stats.iter().flat_map(|thread| &thread.by_command).map(|command| command.ns.get()).sum();
    report.field("eventloop_cycles", sources.sum(|thread| &thread.loop_cycles));
    report.field("eventloop_duration_sum", sources.sum(|thread| &thread.loop_ns) / 1000);
    report.field("eventloop_duration_cmd_sum", command_ns / 1000);
    report.field("instantaneous_eventloop_cycles_per_sec", rates.loop_cycles_per_second());
    report.field("instantaneous_eventloop_duration_usec", rates.loop_cycle_us());
    report.field("acl_access_denied_auth", sources.sum(|thread| &thread.acl_denied_auth));
    report.field("acl_access_denied_cmd", sources.sum(|thread| &thread.acl_denied_command));
    report.field("acl_access_denied_key", sources.sum(|thread| &thread.acl_denied_key));
    report.field("acl_access_denied_channel", sources.sum(|thread| &thread.acl_denied_channel));
    report.field("acl_access_denied_db", sources.sum(|thread| &thread.acl_denied_database));
    report.field("acl_access_denied_tls_cert", sources.sum(|thread| &thread.acl_denied_certificate));
}

/// What scripts and functions take. An interpreter that is asking this very question counts as nothing.
fn scripts(sources: &InfoSources<'_>, report: &mut Report) {
    let scripts = sources.global.map(|global| &global.scripts);
    let of = |figure: &dyn Fn(&Scripts) -> usize| scripts.map_or(0, figure) as u64;
    let vm_eval = of(&|scripts| scripts.interpreter_bytes().unwrap_or(0));
    let vm_functions = of(&|scripts| scripts.functions.interpreter_bytes().unwrap_or(0));
    let (texts, functions) = (of(&|scripts| scripts.cache.bytes()), of(&|scripts| scripts.functions.text_bytes()));
    report.field("used_memory_lua", vm_eval);
    report.field("used_memory_vm_eval", vm_eval);
    report.field("used_memory_lua_human", human(vm_eval));
    report.field("used_memory_scripts_eval", texts);
    report.field("number_of_cached_scripts", of(&|scripts| scripts.cache.len()));
    report.field("number_of_functions", of(&|scripts| scripts.functions.function_count()));
    report.field("number_of_libraries", of(&|scripts| scripts.functions.libraries().len()));
    report.field("used_memory_vm_functions", vm_functions);
    report.bytes("used_memory_vm_total", vm_eval + vm_functions);
    report.field("used_memory_functions", functions);
    report.bytes("used_memory_scripts", texts + functions);
}

fn replication(sources: &InfoSources<'_>, report: &mut Report) {
    let (Some(global), Some(replication)) = (sources.global, sources.replication) else { return };
    let config = &global.config;
    report.field("role", if global.role == Role::Primary { "master" } else { "slave" });
    upstream(global, replication, report);
    let replicas = replication.replicas();
    report.field("connected_slaves", replicas.len());
    if config.get(directives::MIN_REPLICAS_TO_WRITE) > 0 && config.get(directives::MIN_REPLICAS_MAX_LAG) > 0 {
        report.field("min_slaves_good_slaves", replication.good_replicas());
    }
    for (index, replica) in replicas.iter().enumerate() {
        let (state, lag_ms) = match replica.state {
            ReplicaState::Online => ("online", replica.lag_ms),
            state => (state.word(), 0),
        };
        let (host, port, offset, lag) = (&replica.host, replica.port, replica.offset, lag_ms / 1000);
        report.field(
            &format!("slave{index}"),
            format_args!("ip={host},port={port},state={state},offset={offset},lag={lag}"),
        );
    }
    report.field("replicas_waiting_psync", replication.figures().waiting_for_first);
    let failover = match replication.failover_state() {
        FailoverState::None => "no-failover",
        FailoverState::WaitsForSync => "waiting-for-sync",
        FailoverState::InProgress => "failover-in-progress",
    };
    report.field("master_failover_state", failover);
    let history = replication.history();
    report.field("master_replid", history.id);
    match history.second {
        Some((id, _)) => report.field("master_replid2", id),
        None => report.field("master_replid2", "0".repeat(40)),
    }
    report.field("master_repl_offset", replication.offset());
    // The first offset that is not this stream's any more.
    report.field("second_repl_offset", history.second.map_or(-1, |(_, until)| until as i64 + 1));
    let log = replication.log();
    report.field("repl_backlog_active", u8::from(log.first.is_some()));
    report.field("repl_backlog_size", config.get(directives::REPL_BACKLOG_SIZE));
    // The protocol counts bytes from 1.
    report.field("repl_backlog_first_byte_offset", log.first.map_or(0, |first| first + 1));
    report.field("repl_backlog_histlen", log.first.map_or(0, |first| log.end - first));
}

/// What a replica says of its primary.
fn upstream(global: &Global, replication: &dyn Replication, report: &mut Report) {
    let Some(upstream) = replication.upstream() else { return };
    let figures = replication.figures();
    let seconds = |ms: Option<u64>| ms.map_or(-1, |ms| (ms / 1000) as i64);
    let is_up = upstream.state == LinkState::Connected;
    report.field("master_host", &upstream.address.host);
    report.field("master_port", upstream.address.port);
    report.field("master_link_status", if is_up { "up" } else { "down" });
    report.field("master_last_io_seconds_ago", seconds(upstream.last_io_ms_ago.filter(|_| is_up)));
    report.field("master_sync_in_progress", u8::from(upstream.sync_in_progress));
    report.field("slave_read_repl_offset", upstream.read_offset);
    report.field("slave_repl_offset", upstream.offset);
    // Redis's names, and Valkey's for the same.
    for name in ["replica_full_sync_buffer", "replicas_repl_buffer"] {
        report.field(&format!("{name}_size"), figures.arrears_bytes);
        report.field(&format!("{name}_peak"), figures.arrears_bytes_max);
    }
    report.field("master_current_sync_attempts", upstream.attempts);
    report.field("master_total_sync_attempts", upstream.attempts_total);
    if upstream.sync_in_progress {
        // -1 before anything is known of the snapshot, 0 where it ends with a mark.
        let (total, read) =
            (upstream.sync_total_bytes.map_or(-1, |bytes| bytes as i64), upstream.sync_read_bytes as i64);
        report.field("master_sync_total_bytes", total);
        report.field("master_sync_read_bytes", read);
        report.field("master_sync_left_bytes", total - read);
        let share = if total == 0 { 0.0 } else { read as f64 / total as f64 };
        report.fixed2("master_sync_perc", share * 100.0);
        report.field("master_sync_last_io_seconds_ago", seconds(upstream.last_io_ms_ago));
    }
    if is_up {
        report.field("master_link_up_since_seconds", seconds(upstream.up_since_ms));
    } else {
        report.field("master_link_down_since_seconds", seconds(upstream.down_since_ms));
    }
    report.field("total_disconnect_time_sec", upstream.down_total_ms / 1000);
    report.field("slave_priority", global.config.get(directives::REPLICA_PRIORITY));
    report.field("slave_read_only", u8::from(global.settings.replica_read_only));
    report.field("replica_announced", u8::from(global.config.get(directives::REPLICA_ANNOUNCED)));
}

fn cpu(_sources: &InfoSources<'_>, report: &mut Report) {
    let seconds = |time: nix::sys::time::TimeVal| time.num_microseconds() as f64 / 1e6;
    for (who, suffix) in [(UsageWho::RUSAGE_SELF, ""), (UsageWho::RUSAGE_CHILDREN, "_children")] {
        if let Ok(usage) = getrusage(who) {
            report.field(&format!("used_cpu_sys{suffix}"), format_args!("{:.6}", seconds(usage.system_time())));
            report.field(&format!("used_cpu_user{suffix}"), format_args!("{:.6}", seconds(usage.user_time())));
        }
    }
    if let Some((user, system)) = main_thread_cpu_seconds() {
        report.field("used_cpu_sys_main_thread", format_args!("{system:.6}"));
        report.field("used_cpu_user_main_thread", format_args!("{user:.6}"));
    }
}

/// User and system time of the first thread. INFO may run on another one, so it is read from `/proc`, where time is counted
/// in ticks of mostly 10 ms.
fn main_thread_cpu_seconds() -> Option<(f64, f64)> {
    let stat = fs::read_to_string(format!("/proc/self/task/{}/stat", std::process::id())).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    // Fields 14 and 15 of proc(5); the third is the first behind the parenthesis.
    let mut times = fields.split_ascii_whitespace().skip(11).map(|ticks| ticks.parse::<f64>().ok());
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten()? as f64;
    Some((times.next()?? / per_second, times.next()?? / per_second))
}

fn commandstats(sources: &InfoSources<'_>, report: &mut Report) {
    for command in sources.registry.all() {
        let (mut calls, mut ns, mut rejected, mut failed) = (0, 0, 0, 0);
        for thread in sources.stats {
            let counted = &thread.by_command[command.id as usize];
            calls += counted.calls.get();
            ns += counted.ns.get();
            rejected += counted.rejected.get();
            failed += counted.failed.get();
        }
        if calls + rejected + failed > 0 {
            let per_call = if calls == 0 { 0.0 } else { ns as f64 / 1000.0 / calls as f64 };
            report.field(
                &format!("cmdstat_{}", command.full_name),
                format_args!(
                    "calls={calls},usec={},usec_per_call={per_call:.2},rejected_calls={rejected},failed_calls={failed}",
                    ns / 1000
                ),
            );
        }
    }
}

fn errorstats(sources: &InfoSources<'_>, report: &mut Report) {
    let mut sums = std::collections::BTreeMap::<String, u64>::new();
    for thread in sources.stats {
        // The lock is held for a lookup at most; a crash report passes over one that is not let go.
        let Some(errors) = thread.errors.try_lock_for(std::time::Duration::from_millis(50)) else { continue };
        for (code, count) in errors.iter() {
            *sums.entry(code.clone()).or_default() += count;
        }
    }
    for (code, count) in sums {
        report.field(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

fn latencystats(sources: &InfoSources<'_>, report: &mut Report) {
    const DEFAULT: &[f64] = &[50.0, 99.0, 99.9];
    let wanted =
        sources.global.map_or(DEFAULT, |global| global.config.get(directives::LATENCY_TRACKING_INFO_PERCENTILES));
    let mut sums = Vec::new();
    for command in sources.registry.all() {
        sums.clear();
        for thread in sources.stats {
            if let Some(latency) = thread.by_command[command.id as usize].latency() {
                latency.add_to(&mut sums);
            }
        }
        if sums.iter().all(|&count| count == 0) {
            continue;
        }
        let mut percentiles = String::new();
        for (percentage, ns) in wanted.iter().zip(percentiles_ns(&sums, wanted)) {
            let comma = if percentiles.is_empty() { "" } else { "," };
            let _ = write!(percentiles, "{comma}p{percentage}={:.3}", ns as f64 / 1000.0);
        }
        report.field(&format!("latency_percentiles_usec_{}", command.full_name), percentiles);
    }
}

fn cluster(_sources: &InfoSources<'_>, report: &mut Report) {
    report.field("cluster_enabled", 0);
}

fn keyspace(sources: &InfoSources<'_>, report: &mut Report) {
    let Some(db) = sources.db else { return };
    for index in 0..db.space.db_count() {
        let number = DbIndex(index as u32);
        let keys = db.space.len(number);
        if keys > 0 {
            let expires = db.space.volatile_len(number);
            let subexpiry = db.space.volatile_in_fields_len(number);
            let average_ttl_ms = db.space.average_ttl_ms(number, sources.now);
            report.field(
                &format!("db{index}"),
                format_args!("keys={keys},expires={expires},avg_ttl={average_ttl_ms},subexpiry={subexpiry}"),
            );
        }
    }
}

fn key_sizes(sources: &InfoSources<'_>, report: &mut Report) {
    let Some(db) = sources.db else { return };
    match super::key_sizes::fields(db) {
        Some(fields) => fields.iter().for_each(|(name, value)| report.field(name, value)),
        None => report.field("keysizes_counted_up_to_keys", super::key_sizes::KEYS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server without access to its world, as a crash report has it.
    struct Fixture {
        registry: Registry,
        stats: Vec<Arc<ThreadStats>>,
        clients: Clients,
        subscriptions: Subscriptions,
        operation: OperationState,
        persistence: Persistence,
    }

    impl Fixture {
        fn new() -> Fixture {
            let registry = Registry::default();
            let commands = registry.all().len();
            Fixture {
                registry,
                stats: (0..2).map(|_| Arc::new(ThreadStats::new(commands))).collect(),
                clients: Clients::default(),
                subscriptions: Subscriptions::default(),
                operation: OperationState::default(),
                persistence: Persistence::default(),
            }
        }

        fn render(&self, sections: &[&str]) -> String {
            let limit = Limit::default();
            let sources = InfoSources {
                now: Millis(1_000_000),
                registry: &self.registry,
                stats: &self.stats,
                loops_in_use: self.stats.len(),
                clients: &self.clients,
                subscriptions: &self.subscriptions,
                rejected_connections: 3,
                limit: &limit,
                operation: &self.operation,
                persistence: &self.persistence,
                replication: None,
                migrate_cached_sockets: 0,
                tls: None,
                global: None,
                db: None,
            };
            let sections: Vec<&[u8]> = sections.iter().map(|section| section.as_bytes()).collect();
            render(&sources, &sections)
        }

        fn titles(&self, sections: &[&str]) -> String {
            let text = self.render(sections);
            text.lines().filter_map(|line| line.strip_prefix("# ")).collect::<Vec<_>>().join(" ")
        }
    }

    /// Answers observed on Redis 8.2.
    #[test]
    fn sections_are_chosen_as_redis_does() {
        const DEFAULT: &str = "Server Clients Memory Persistence Threads Stats Replication CPU Modules Errorstats Cluster Keyspace Keysizes";
        let fixture = Fixture::new();
        for (asked, titles) in [
            (&[][..], DEFAULT),
            (&["default"], DEFAULT),
            (&["default", "nonsense"], DEFAULT),
            (&["nonsense"], ""),
            (&["nonsense", "SERVER", "server"], "Server"),
            (&["memory", "server"], "Server Memory"),
            (&["commandstats", "keyspace", "cpu"], "CPU Commandstats Keyspace"),
        ] {
            assert_eq!(fixture.titles(asked), titles, "{asked:?}");
        }
        for all in ["all", "everything"] {
            assert_eq!(fixture.titles(&[all]).split(' ').count(), SECTIONS.len());
        }
        assert_eq!(fixture.render(&["cluster"]), "# Cluster\r\ncluster_enabled:0\r\n");
        assert_eq!(fixture.render(&["modules", "cluster"]), "# Modules\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n");
    }

    #[test]
    fn counters_of_all_threads_add_up() {
        let fixture = Fixture::new();
        for (thread, amount) in fixture.stats.iter().zip([5, 7]) {
            thread.commands.add(amount);
            thread.reads.add(amount);
            thread.count_error(b"WRONGTYPE Operation");
        }
        fixture.stats[1].count_error(b"ERR no");
        let text = fixture.render(&["stats", "errorstats", "threads"]);
        for line in [
            "total_commands_processed:12",
            "total_reads_processed:12",
            "io_threaded_reads_processed:7",
            "rejected_connections:3",
            "total_error_replies:3",
            "errorstat_ERR:count=1",
            "errorstat_WRONGTYPE:count=2",
            "io_thread_1:clients=0,reads=7,writes=0",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "no {line} in {text}");
        }
    }

    #[test]
    fn commands_show_calls_and_percentiles() {
        let fixture = Fixture::new();
        let Some(get) = fixture.registry.find(b"get") else { return };
        for ns in [1_500, 2_500] {
            fixture.stats[1].by_command[get.id as usize].record(ns, false, true);
        }
        let text = fixture.render(&["all"]);
        let calls = "cmdstat_get:calls=2,usec=4,usec_per_call=2.00,rejected_calls=0,failed_calls=0\r\n";
        assert!(text.contains(calls), "{text}");
        assert_eq!(text.matches("cmdstat_").count(), 1);
        assert!(text.contains("latency_percentiles_usec_get:p50=1."), "{text}");
        assert!(text.contains(",p99=2.") && text.contains(",p99.9=2."), "{text}");
    }

    #[test]
    fn every_line_is_a_field_and_no_field_comes_twice() {
        let fixture = Fixture::new();
        fixture.clients.insert(Arc::new(crate::operation::testing::client(1)));
        let text = fixture.render(&["everything"]);
        let mut names = std::collections::HashSet::new();
        for line in text.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line:?} is no field"));
            assert!(!name.is_empty() && names.insert(name), "{name} comes twice");
            assert!(!value.contains('\n'), "{line:?}");
        }
        assert!(names.contains("used_memory") && names.contains("used_cpu_user"));
        assert!(text.contains("connected_clients:1\r\n"));
    }
}

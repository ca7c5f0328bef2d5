//! The process: threads, daemon, log, signals, and what it shows of itself.

#[allow(unused_imports)]
use super::bounds::*;
use crate::choices::{
    Choice, LogFormat, LogLevel, LogTimestampFormat, OomScoreAdj, ShutdownOnSignal, Supervised, SyslogFacility,
};
use crate::directive::{Directive, Key, Kind, row, rows};
use crate::value::Bytes;

/// One event loop a core, and no more than eight: beyond that a machine's other work gains more than the server.
fn event_loops_of_machine() -> String {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8)).to_string()
}

rows! { super::security::END;
    /// Event-loop threads. Each serves its own connections completely; Redis's default is 1.
    IO_THREADS: i64 = row("io-threads", Kind::Int { min: 1, max: 128 }, "").default_of_machine(event_loops_of_machine, "number of cores, at most 8").fixed();
    /// Whether I/O threads read as well as write.
    IO_THREADS_DO_READS: [Vec<Bytes>] = row("io-threads-do-reads", ANY_WORDS, "").fixed().hidden().no_effect("Redis 8.2 ignores it as well; event-loop threads read, execute and write");
    /// Whether connections are on all event-loop threads also when fewer could serve them.
    IO_THREADS_ALWAYS_ACTIVE: bool = row("io-threads-always-active", Kind::Bool, "no").valkey().hidden();
    /// Number of I/O threads from which replies are sent without a copy.
    MIN_IO_THREADS_AVOID_COPY_REPLY: i64 = row("min-io-threads-avoid-copy-reply", COUNT_I32, "7").valkey().hidden().no_effect("the server decides by itself what it copies");
    /// Size of a string from which its reply is sent without a copy.
    MIN_STRING_SIZE_AVOID_COPY_REPLY: i64 = row("min-string-size-avoid-copy-reply", COUNT_I32, "16384").valkey().hidden().no_effect("the server decides by itself what it copies");
    /// Commands whose keys are fetched from memory together.
    PREFETCH_BATCH_MAX_SIZE: i64 = row("prefetch-batch-max-size", Kind::Int { min: 0, max: 128 }, "16").valkey().no_effect("the keys of every pipelined batch are prefetched");
    /// Number of databases.
    DATABASES: i64 = row("databases", Kind::Int { min: 1, max: I32_MAX }, "16").fixed();
    /// Folder of the data files, which becomes the working directory.
    DIR: [u8] = row("dir", Kind::Folder, "./").protected();
    /// Whether the server detaches from the terminal.
    DAEMONIZE: bool = row("daemonize", Kind::Bool, "no").fixed();
    /// The supervisor that is told when the server is ready.
    SUPERVISED: Supervised = row("supervised", Kind::Choice(Supervised::NAMES), "no").fixed();
    /// File that holds the process id; if empty, one is written only with `daemonize`.
    PIDFILE: [u8] = row("pidfile", Kind::Text, "").fixed();
    /// How much is logged.
    LOGLEVEL: LogLevel = row("loglevel", Kind::Choice(LogLevel::NAMES), "notice");
    /// File of the log; empty means standard output.
    LOGFILE: [u8] = row("logfile", Kind::Text, "").fixed();
    /// Shape of a log line.
    LOG_FORMAT: LogFormat = row("log-format", Kind::Choice(LogFormat::NAMES), "legacy").valkey();
    /// How a log line writes the time.
    LOG_TIMESTAMP_FORMAT: LogTimestampFormat = row("log-timestamp-format", Kind::Choice(LogTimestampFormat::NAMES), "legacy").valkey();
    /// Whether the log goes to syslog as well.
    SYSLOG_ENABLED: bool = row("syslog-enabled", Kind::Bool, "no").fixed();
    /// Name under which the server speaks to syslog.
    SYSLOG_IDENT: [u8] = row("syslog-ident", Kind::Text, "redis").fixed();
    /// Facility under which the server speaks to syslog.
    SYSLOG_FACILITY: SyslogFacility = row("syslog-facility", Kind::Choice(SyslogFacility::NAMES), "local0").fixed();
    /// Whether keys and values are kept out of the log and of crash reports.
    HIDE_USER_DATA_FROM_LOG: bool = row("hide-user-data-from-log", Kind::Bool, "no");
    /// Whether a crash writes a report to the log.
    CRASH_LOG_ENABLED: bool = row("crash-log-enabled", Kind::Bool, "yes");
    /// Whether a crash tests the memory.
    CRASH_MEMCHECK_ENABLED: bool = row("crash-memcheck-enabled", Kind::Bool, "yes").no_effect("a crash aborts at once, so that a supervisor can restart the server");
    /// Whether a failed assertion ends the process by exit instead of abort.
    USE_EXIT_ON_PANIC: bool = row("use-exit-on-panic", Kind::Bool, "no").hidden().no_effect("a panic always aborts");
    /// Whether debug assertions are checked.
    ENABLE_DEBUG_ASSERT: bool = row("enable-debug-assert", Kind::Bool, "no").fixed().valkey().hidden().no_effect("assertions are always on");
    /// A note for whoever debugs the server.
    DEBUG_CONTEXT: [u8] = row("debug-context", Kind::Text, "").valkey().hidden().no_effect("a note only");
    /// Milliseconds after which a stuck event loop logs where it is.
    WATCHDOG_PERIOD: i64 = row("watchdog-period", Kind::Int { min: 0, max: I32_MAX }, "0").hidden().no_effect("there is no watchdog signal");
    /// Whether the start shows the logo also where the log is not a terminal.
    ALWAYS_SHOW_LOGO: bool = row("always-show-logo", Kind::Bool, "no").fixed();
    /// Whether the process title shows address and mode.
    SET_PROC_TITLE: bool = row("set-proc-title", Kind::Bool, "yes").fixed();
    /// What the process title shows.
    PROC_TITLE_TEMPLATE: [u8] = row("proc-title-template", Kind::Text, "{title} {listen-addr} {server-mode}").check(super::checks::proc_title_template);
    /// Locale by which strings are compared where order is alphabetical; empty means the environment's.
    LOCALE_COLLATE: [u8] = row("locale-collate", Kind::Text, "").later("comparing by locale; SORT ALPHA compares bytes, as in the locale C");
    /// Whether and how the kernel's out-of-memory score is set.
    OOM_SCORE_ADJ: OomScoreAdj = row("oom-score-adj", Kind::Choice(OomScoreAdj::NAMES), "no").later("out-of-memory score");
    /// Out-of-memory scores of a primary, a replica and a child process.
    OOM_SCORE_ADJ_VALUES: [i64; 3] = row("oom-score-adj-values", Kind::OomScores, "0 200 800").later("out-of-memory score");
    /// Whether transparent huge pages are refused for the process.
    DISABLE_THP: bool = row("disable-thp", Kind::Bool, "yes").fixed();
    /// Cores of the event-loop threads.
    SERVER_CPULIST: [u8] = row("server-cpulist", Kind::Text, "").aliases(&["server_cpulist"]).fixed().later("core lists");
    /// Cores of the background threads.
    BIO_CPULIST: [u8] = row("bio-cpulist", Kind::Text, "").aliases(&["bio_cpulist"]).fixed().later("core lists");
    /// Cores of the append-only file's rewrite.
    AOF_REWRITE_CPULIST: [u8] = row("aof-rewrite-cpulist", Kind::Text, "").aliases(&["aof_rewrite_cpulist"]).fixed().later("core lists");
    /// Cores of a background save.
    BGSAVE_CPULIST: [u8] = row("bgsave-cpulist", Kind::Text, "").aliases(&["bgsave_cpulist"]).fixed().later("core lists");
    /// Warnings at start that do not stop the server.
    IGNORE_WARNINGS: [u8] = row("ignore-warnings", Kind::Text, "").no_effect("no warning stops the server");
    /// Rounds of background work a second.
    HZ: i64 = row("hz", Kind::ClampedInt { min: 1, max: 500 }, "10");
    /// Whether `hz` grows with the number of clients.
    DYNAMIC_HZ: bool = row("dynamic-hz", Kind::Bool, "yes").no_effect("what is due is done in slices between requests, however many clients there are");
    /// What SIGINT asks of the shutdown.
    SHUTDOWN_ON_SIGINT: ShutdownOnSignal = row("shutdown-on-sigint", Kind::Flags(ShutdownOnSignal::NAMES), "default").check(super::checks::shutdown_flags);
    /// What SIGTERM asks of the shutdown.
    SHUTDOWN_ON_SIGTERM: ShutdownOnSignal = row("shutdown-on-sigterm", Kind::Flags(ShutdownOnSignal::NAMES), "default").check(super::checks::shutdown_flags);
    /// Seconds a shutdown waits for replicas that lag.
    SHUTDOWN_TIMEOUT: i64 = row("shutdown-timeout", COUNT_I32, "10");
    /// Zone the server stands in, as told to clients.
    AVAILABILITY_ZONE: [u8] = row("availability-zone", Kind::Text, "").valkey();
    /// Whether the server calls itself Redis where clients look.
    EXTENDED_REDIS_COMPATIBILITY: bool = row("extended-redis-compatibility", Kind::Bool, "no").valkey().no_effect("the server always answers as Redis does");
    /// Reads another file at this place; the name may hold wildcards.
    INCLUDE: [Vec<Bytes>] = row("include", Kind::Statement { min_args: 1, max_args: 1 }, "").fixed();
    /// Loads a module, with its arguments.
    LOADMODULE: [Vec<Bytes>] = row("loadmodule", Kind::Statement { min_args: 1, max_args: usize::MAX }, "").fixed().later("modules");
}

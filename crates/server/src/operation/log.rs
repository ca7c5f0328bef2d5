//! The log, in Redis's format: `PID:ROLE DAY MON YEAR HH:MM:SS.MMM LEVEL MESSAGE`, or Valkey's `logfmt` and `json`.
//!
//! A line is one `write`. A log file is opened for each line, as Redis does: whoever rotates the file only has to move it
//! away, nobody has to be told, and lines of several threads do not mix because `O_APPEND` writes are whole. Lines are
//! rare, an open costs a few microseconds.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use chrono::{DateTime, Local, SecondsFormat};
use config::{Config, LogFormat, LogLevel, LogTimestampFormat, SyslogFacility, directives};
use nix::syslog::{self, Facility, Severity};
use parking_lot::{RwLock, const_rwlock};

/// The letter behind the process id: what this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LogRole {
    /// Not serving yet. Redis writes `C` here too.
    Starting,
    Primary,
    Replica,
    Sentinel,
}

impl LogRole {
    const ALL: [LogRole; 4] = [LogRole::Starting, LogRole::Primary, LogRole::Replica, LogRole::Sentinel];

    fn letter(self) -> char {
        match self {
            LogRole::Starting => 'C',
            LogRole::Primary => 'M',
            LogRole::Replica => 'S',
            LogRole::Sentinel => 'X',
        }
    }

    fn name(self) -> &'static str {
        match self {
            LogRole::Starting => "starting",
            LogRole::Primary => "primary",
            LogRole::Replica => "replica",
            LogRole::Sentinel => "sentinel",
        }
    }
}

/// What is logged, where to and in which shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub level: LogLevel,
    /// Standard output if there is none.
    pub file: Option<PathBuf>,
    pub format: LogFormat,
    pub timestamp: LogTimestampFormat,
    /// Syslog gets every line too.
    pub syslog: Option<SyslogSettings>,
}

/// How this server is known to syslog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogSettings {
    pub identity: String,
    pub facility: SyslogFacility,
}

impl LogSettings {
    /// Notices and worse to standard output: what holds before the configuration is read.
    pub const DEFAULT: LogSettings = LogSettings {
        level: LogLevel::Notice,
        file: None,
        format: LogFormat::Legacy,
        timestamp: LogTimestampFormat::Legacy,
        syslog: None,
    };

    pub fn from_config(config: &Config) -> LogSettings {
        LogSettings {
            level: config.get(directives::LOGLEVEL),
            file: config.path(directives::LOGFILE).map(PathBuf::from),
            format: config.get(directives::LOG_FORMAT),
            timestamp: config.get(directives::LOG_TIMESTAMP_FORMAT),
            syslog: config.get(directives::SYSLOG_ENABLED).then(|| SyslogSettings {
                identity: config.text(directives::SYSLOG_IDENT).into_owned(),
                facility: config.get(directives::SYSLOG_FACILITY),
            }),
        }
    }

    /// Whether the log file can be written: asked at the start and by CONFIG SET, because later on a line that cannot be
    /// written is lost without a word.
    ///
    /// # Errors
    /// `Can't open the log file: …`, as Redis says it.
    pub fn check(&self) -> Result<(), String> {
        match &self.file {
            None => Ok(()),
            Some(file) => match open(file) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("Can't open the log file: {}", system_text(&error))),
            },
        }
    }
}

/// The system's text for an error, without the number that Rust adds.
pub fn system_text(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |code| nix::Error::from_raw(code).desc().to_owned())
}

fn open(file: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(file)
}

/// The log of the process. There is one, because standard output and syslog are one too: [`super::LOG`].
pub struct Log {
    /// Apart from the settings, so that a line below the level costs one load.
    level: AtomicU8,
    role: AtomicU8,
    settings: RwLock<LogSettings>,
}

impl Log {
    pub const fn new() -> Log {
        Log {
            level: AtomicU8::new(LogSettings::DEFAULT.level as u8),
            role: AtomicU8::new(LogRole::Starting as u8),
            settings: const_rwlock(LogSettings::DEFAULT),
        }
    }

    /// Changes everything about the log at once; at any time, from any thread.
    pub fn configure(&self, settings: LogSettings) {
        let mut present = self.settings.write();
        if present.syslog != settings.syslog {
            syslog::closelog();
            if let Some(syslog) = &settings.syslog {
                let identity = std::ffi::CString::new(syslog.identity.replace('\0', "")).unwrap_or_default();
                // syslog keeps the pointer: the name lives as long as the process. It is a few bytes for every change.
                let identity = Box::leak(identity.into_boxed_c_str());
                let flags = syslog::LogFlags::LOG_PID | syslog::LogFlags::LOG_NDELAY;
                // Without a syslog daemon there is nobody to tell that there is none.
                let _ = syslog::openlog(Some(&*identity), flags, facility(syslog.facility));
            }
        }
        self.level.store(settings.level as u8, Relaxed);
        *present = settings;
    }

    pub fn set_role(&self, role: LogRole) {
        self.role.store(role as u8, Relaxed);
    }

    /// Whether a line of this level would be written: for lines that are dear to make.
    #[inline]
    pub fn enabled(&self, level: LogLevel) -> bool {
        level as u8 >= self.level.load(Relaxed) && level != LogLevel::Nothing
    }

    /// Writes one line.
    pub fn write(&self, level: LogLevel, text: &str) {
        if !self.enabled(level) {
            return;
        }
        self.with_settings(|settings| {
            let role = LogRole::ALL[self.role.load(Relaxed) as usize];
            emit(settings, &line(settings, std::process::id(), role, Local::now(), level, text));
            if let Some(syslog) = &settings.syslog {
                let priority = syslog::Priority::new(severity(level), facility(syslog.facility));
                let _ = syslog::syslog(priority, text);
            }
        });
    }

    /// Writes text as it is: the banner, and crash reports with their many lines.
    pub fn write_raw(&self, text: &str) {
        self.with_settings(|settings| emit(settings, text));
    }

    /// In a crash the lock may be held by the very thread that crashed: after a while the settings are taken as they
    /// were at the start rather than waited for.
    fn with_settings(&self, run: impl FnOnce(&LogSettings)) {
        match self.settings.try_read_recursive_for(Duration::from_secs(2)) {
            Some(settings) => run(&settings),
            None => run(&LogSettings::DEFAULT),
        }
    }

    pub fn debug(&self, text: &str) {
        self.write(LogLevel::Debug, text);
    }

    pub fn verbose(&self, text: &str) {
        self.write(LogLevel::Verbose, text);
    }

    pub fn notice(&self, text: &str) {
        self.write(LogLevel::Notice, text);
    }

    pub fn warning(&self, text: &str) {
        self.write(LogLevel::Warning, text);
    }
}

impl Default for Log {
    fn default() -> Log {
        Log::new()
    }
}

/// One `write` to where the log goes. A log that cannot be written must not stop the server: errors are dropped.
fn emit(settings: &LogSettings, text: &str) {
    let _ = match &settings.file {
        Some(file) => open(file).and_then(|mut file| file.write_all(text.as_bytes())),
        // Not through `std::io::stdout`: its lock may be held where a crash is reported.
        None => StandardOutput.write_all(text.as_bytes()),
    };
}

struct StandardOutput;

impl io::Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: descriptor 1 is standard output for the whole life of the process; daemonize points it at /dev/null.
        let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(1) };
        Ok(nix::unistd::write(descriptor, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn level_character(level: LogLevel) -> char {
    match level {
        LogLevel::Debug => '.',
        LogLevel::Verbose => '-',
        LogLevel::Notice => '*',
        LogLevel::Warning | LogLevel::Nothing => '#',
    }
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Verbose => "verbose",
        LogLevel::Notice => "notice",
        LogLevel::Warning | LogLevel::Nothing => "warning",
    }
}

fn line(
    settings: &LogSettings,
    process: u32,
    role: LogRole,
    time: DateTime<Local>,
    level: LogLevel,
    text: &str,
) -> String {
    let time = match settings.timestamp {
        LogTimestampFormat::Legacy => time.format("%d %b %Y %H:%M:%S%.3f").to_string(),
        LogTimestampFormat::Iso8601 => time.to_rfc3339_opts(SecondsFormat::Millis, false),
        LogTimestampFormat::Milliseconds => time.timestamp_millis().to_string(),
    };
    let mut line = String::with_capacity(text.len() + 96);
    let _ = match settings.format {
        LogFormat::Legacy => {
            writeln!(line, "{process}:{} {time} {} {text}", role.letter(), level_character(level))
        }
        LogFormat::Logfmt => writeln!(
            line,
            "pid={process} role={} timestamp=\"{time}\" level={} message=\"{}\"",
            role.name(),
            level_name(level),
            escaped(text)
        ),
        LogFormat::Json => writeln!(
            line,
            "{{\"pid\":{process},\"role\":\"{}\",\"timestamp\":\"{time}\",\"level\":\"{}\",\"message\":\"{}\"}}",
            role.name(),
            level_name(level),
            escaped(text)
        ),
    };
    line
}

/// The text as it stands between the quotes of a JSON string; logfmt readers understand the same.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            control if (control as u32) < 0x20 => {
                let _ = write!(escaped, "\\u{:04x}", control as u32);
            }
            other => escaped.push(other),
        }
    }
    escaped
}

fn severity(level: LogLevel) -> Severity {
    match level {
        LogLevel::Debug => Severity::LOG_DEBUG,
        LogLevel::Verbose => Severity::LOG_INFO,
        LogLevel::Notice => Severity::LOG_NOTICE,
        LogLevel::Warning | LogLevel::Nothing => Severity::LOG_WARNING,
    }
}

fn facility(facility: SyslogFacility) -> Facility {
    match facility {
        SyslogFacility::User => Facility::LOG_USER,
        SyslogFacility::Local0 => Facility::LOG_LOCAL0,
        SyslogFacility::Local1 => Facility::LOG_LOCAL1,
        SyslogFacility::Local2 => Facility::LOG_LOCAL2,
        SyslogFacility::Local3 => Facility::LOG_LOCAL3,
        SyslogFacility::Local4 => Facility::LOG_LOCAL4,
        SyslogFacility::Local5 => Facility::LOG_LOCAL5,
        SyslogFacility::Local6 => Facility::LOG_LOCAL6,
        SyslogFacility::Local7 => Facility::LOG_LOCAL7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn at() -> DateTime<Local> {
        Local.with_ymd_and_hms(2026, 11, 2, 4, 5, 6).unwrap() + chrono::Duration::milliseconds(7)
    }

    /// The shapes as Redis 8.2 and Valkey 9.1 write them.
    #[test]
    fn lines_have_the_shape_of_the_real_servers() {
        let mut settings = LogSettings::DEFAULT;
        let written =
            |settings: &LogSettings| line(settings, 42, LogRole::Primary, at(), LogLevel::Notice, "a \"b\"\n");
        assert_eq!(written(&settings), "42:M 02 Nov 2026 04:05:06.007 * a \"b\"\n\n");
        settings.format = LogFormat::Logfmt;
        assert_eq!(
            written(&settings),
            "pid=42 role=primary timestamp=\"02 Nov 2026 04:05:06.007\" level=notice message=\"a \\\"b\\\"\\n\"\n"
        );
        settings.format = LogFormat::Json;
        settings.timestamp = LogTimestampFormat::Milliseconds;
        assert_eq!(
            written(&settings),
            format!(
                "{{\"pid\":42,\"role\":\"primary\",\"timestamp\":\"{}\",\"level\":\"notice\",\"message\":\"a \\\"b\\\"\\n\"}}\n",
                at().timestamp_millis()
            )
        );
        settings.timestamp = LogTimestampFormat::Iso8601;
        assert!(written(&settings).contains("\"timestamp\":\"2026-11-02T04:05:06.007"));
    }

    #[test]
    fn a_level_hides_the_levels_before_it() {
        let log = Log::new();
        assert!(!log.enabled(LogLevel::Debug) && !log.enabled(LogLevel::Verbose));
        assert!(log.enabled(LogLevel::Notice) && log.enabled(LogLevel::Warning));
        log.configure(LogSettings { level: LogLevel::Nothing, ..LogSettings::DEFAULT });
        assert!(!log.enabled(LogLevel::Warning) && !log.enabled(LogLevel::Nothing));
    }

    #[test]
    fn the_log_file_can_be_moved_away_at_any_time() {
        let folder = std::env::temp_dir().join(format!("spinel-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (file, moved) = (folder.join("log"), folder.join("log.1"));
        let log = Log::new();
        log.configure(LogSettings { file: Some(file.clone()), ..LogSettings::DEFAULT });
        log.notice("first");
        std::fs::rename(&file, &moved).unwrap();
        log.warning("second");
        assert!(std::fs::read_to_string(&moved).unwrap().ends_with("* first\n"));
        assert!(std::fs::read_to_string(&file).unwrap().ends_with("# second\n"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_found_at_the_start() {
        let settings = LogSettings { file: Some("/nowhere/at/all".into()), ..LogSettings::DEFAULT };
        assert_eq!(settings.check().unwrap_err(), "Can't open the log file: No such file or directory");
    }
}

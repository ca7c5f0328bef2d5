//! The process as the system sees it: daemon, process id file, supervisor, title, limits.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use config::{Config, OomScoreAdj, Supervised, directives};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{ForkResult, fork, setsid};

use super::log::{Log, system_text};

/// Leaves the terminal: the caller goes on in a new process without a controlling terminal and with standard input,
/// output and error on `/dev/null`; the process that was started exits with 0.
///
/// # Errors
/// When the system refuses.
///
/// # Panics
/// If there is more than one thread: `fork` takes only the calling one along, whatever locks the others hold.
pub fn daemonize() -> io::Result<()> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    assert_eq!(threads, 1, "daemonize comes before the first thread");
    // SAFETY: there is one thread, so the child is a whole copy and may do whatever the parent could.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => std::process::exit(0),
        ForkResult::Child => {}
    }
    setsid()?;
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

/// Makes `dir` the working directory: where relative names of data files lead.
///
/// # Errors
/// `Can't chdir to '…': …`, as Redis says it.
pub fn enter_directory(directory: &Path) -> Result<(), String> {
    std::env::set_current_dir(directory)
        .map_err(|error| format!("Can't chdir to '{}': {}", directory.display(), system_text(&error)))
}

/// A file with the process id in it, taken away at the end.
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Where Redis writes it if nothing is configured and the server is a daemon.
    pub const DEFAULT: &str = "/var/run/redis.pid";

    /// Where the file belongs: where `pidfile` says, else nowhere unless the server is a daemon.
    pub fn wanted(config: &Config, daemonized: bool) -> Option<PathBuf> {
        let default = daemonized.then(|| PathBuf::from(PidFile::DEFAULT));
        config.path(directives::PIDFILE).map(PathBuf::from).or(default)
    }

    /// Writes the file. The server goes on without it when that fails, but says so.
    pub fn create(path: PathBuf, log: &Log) -> Option<PidFile> {
        match fs::write(&path, format!("{}\n", std::process::id())) {
            Ok(()) => Some(PidFile { path }),
            Err(error) => {
                log.warning(&format!("Failed to write PID file {}: {}", path.display(), system_text(&error)));
                None
            }
        }
    }

    pub fn remove(self, log: &Log) {
        log.notice("Removing the pid file.");
        let _ = fs::remove_file(self.path);
    }
}

/// Who started this server and wants to know how it fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervisor {
    None,
    Upstart,
    Systemd,
}

impl Supervisor {
    /// Finds out, from `supervised` and the environment. A supervised server does not daemonize.
    pub fn detect(wanted: Supervised, log: &Log) -> Supervisor {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let (upstart, systemd) = (set("UPSTART_JOB"), set("NOTIFY_SOCKET"));
        match wanted {
            Supervised::No => Supervisor::None,
            Supervised::Auto if upstart => Supervisor::Upstart,
            Supervised::Auto if systemd => Supervisor::Systemd,
            Supervised::Auto => Supervisor::None,
            Supervised::Upstart if upstart => Supervisor::Upstart,
            Supervised::Upstart => {
                log.warning("upstart supervision requested, but UPSTART_JOB not found!");
                Supervisor::None
            }
            Supervised::Systemd if systemd => Supervisor::Systemd,
            Supervised::Systemd => {
                log.warning("systemd supervision requested, but NOTIFY_SOCKET not found!");
                Supervisor::None
            }
        }
    }

    /// As INFO's `process_supervised` says it.
    pub fn name(self) -> &'static str {
        match self {
            Supervisor::None => "no",
            Supervisor::Upstart => "upstart",
            Supervisor::Systemd => "systemd",
        }
    }

    /// Tells the supervisor that connections are served from now on.
    pub fn ready(self, log: &Log) {
        match self {
            Supervisor::None => {}
            Supervisor::Upstart => {
                log.notice("supervised by upstart, will stop to signal readiness.");
                // SAFETY: no other thread reads the environment; the server does not look at it after the start.
                unsafe { std::env::remove_var("UPSTART_JOB") };
                // `expect stop`: upstart continues the process when it has seen it stop.
                let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
            }
            Supervisor::Systemd => {
                use sd_notify::NotifyState::{Ready, Status};
                self.notify(&[Status("Ready to accept connections"), Ready], log);
            }
        }
    }

    /// A word for `systemctl status`.
    pub fn status(self, text: &str, log: &Log) {
        self.notify(&[sd_notify::NotifyState::Status(text)], log);
    }

    /// Tells the supervisor that the end is wanted, so that it does not start the server anew.
    pub fn stopping(self, log: &Log) {
        self.notify(&[sd_notify::NotifyState::Stopping], log);
    }

    fn notify(self, states: &[sd_notify::NotifyState<'_>], log: &Log) {
        if self == Supervisor::Systemd
            && let Err(error) = sd_notify::notify(states)
        {
            log.warning(&format!("systemd could not be notified: {}", system_text(&error)));
        }
    }
}

/// The values of the variables of `proc-title-template`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TitleVariables {
    /// The name the program was started under.
    pub title: String,
    /// The first address and the port, or the unix socket where there is no port.
    pub listen_address: String,
    /// `[cluster]`, `[sentinel]`, or nothing.
    pub server_mode: String,
    pub port: i64,
    pub tls_port: i64,
    pub unix_socket: String,
    /// `-` if there is none.
    pub config_file: String,
}

impl TitleVariables {
    pub fn from_config(config: &Config, title: &str) -> TitleVariables {
        let (port, tls_port) = (config.get(directives::PORT), config.get(directives::TLS_PORT));
        let unix_socket = config.text(directives::UNIXSOCKET).into_owned();
        let address = match config.get(directives::BIND).first() {
            Some(first) => String::from_utf8_lossy(first).into_owned(),
            None => "*".to_owned(),
        };
        TitleVariables {
            title: title.to_owned(),
            listen_address: match (port, tls_port) {
                (0, 0) => unix_socket.clone(),
                (0, port) | (port, _) => format!("{address}:{port}"),
            },
            server_mode: String::new(),
            port,
            tls_port,
            unix_socket,
            config_file: config.file().map_or_else(|| "-".to_owned(), |file| file.display().to_string()),
        }
    }

    /// The template with its variables filled in. One that is not known stays as it is; the configuration refuses it.
    pub fn fill(&self, template: &str) -> String {
        let mut filled = template.to_owned();
        for (variable, value) in [
            ("{title}", &self.title),
            ("{listen-addr}", &self.listen_address),
            ("{server-mode}", &self.server_mode),
            ("{port}", &self.port.to_string()),
            ("{tls-port}", &self.tls_port.to_string()),
            ("{unixsocket}", &self.unix_socket),
            ("{config-file}", &self.config_file),
        ] {
            filled = filled.replace(variable, value);
        }
        filled.trim_end_matches(' ').to_owned()
    }
}

/// The memory in which the kernel finds the command line that `ps` shows.
///
/// It holds the arguments and, right behind them, the environment; both are the process's own and may be written once
/// nobody points into them any more. Where it lies is told by `/proc/self/stat` (see proc(5): arg_start to env_end).
pub struct ProcessTitle {
    start: usize,
    length: usize,
}

/// The arguments the process was started with, from the program's name on. `std::env::args` reads memory that the title
/// overwrites.
static ARGUMENTS: OnceLock<Vec<OsString>> = OnceLock::new();

impl ProcessTitle {
    /// Claims the memory and keeps the arguments for [`restart`]. `None` where the kernel does not tell where it is.
    ///
    /// # Safety
    /// There is one thread, and from now on nobody calls `std::env::args`, which reads this memory. Environment variables
    /// stay readable: they are moved away here.
    pub unsafe fn claim() -> Option<ProcessTitle> {
        let _ = ARGUMENTS.set(std::env::args_os().collect());
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in parentheses and may hold spaces.
        let (_, fields) = stat.rsplit_once(')')?;
        let field = |number: usize| fields.split_ascii_whitespace().nth(number - 3)?.parse::<usize>().ok();
        let (arguments_start, arguments_end) = (field(48)?, field(49)?);
        let (environment_start, environment_end) = (field(50)?, field(51)?);
        if arguments_start == 0 || arguments_end <= arguments_start {
            return None;
        }
        // The environment extends the room, if it lies where it always does.
        let end = if environment_start == arguments_end { environment_end } else { arguments_end };
        for (name, value) in std::env::vars_os().collect::<Vec<(OsString, OsString)>>() {
            // Setting a variable to its own value copies it to the heap.
            // SAFETY: the caller vouches that there is one thread.
            unsafe { std::env::set_var(name, value) };
        }
        Some(ProcessTitle { start: arguments_start, length: end - arguments_start })
    }

    /// Shows this title from now on, cut to the room there is.
    pub fn set(&mut self, title: &str) {
        // SAFETY: `claim` has made sure that this memory is mapped, writable and read by nobody in this process, and
        // `&mut self` that nobody else writes it. The kernel reads it byte by byte for `/proc/PID/cmdline`.
        let memory = unsafe { std::slice::from_raw_parts_mut(self.start as *mut u8, self.length) };
        // The last byte stays 0, so that the kernel finds an end.
        let shown = title.as_bytes();
        let shown = &shown[..shown.len().min(self.length - 1)];
        memory[..shown.len()].copy_from_slice(shown);
        memory[shown.len()..].fill(0);
    }
}

/// Descriptors besides those of clients: listeners, files, epoll, wake-ups. Redis reserves as many.
const RESERVED_DESCRIPTORS: u64 = 32;

/// Raises the limit of open files so that `clients_max` fit, as far as the system lets it. Returns how many clients fit:
/// fewer than asked for where the limit is too low, and 0 where the server cannot even start.
pub fn raise_open_files(log: &Log, clients_max: u64) -> u64 {
    let wanted = clients_max.saturating_add(RESERVED_DESCRIPTORS);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        log.warning("The limit of open files cannot be read: assuming 1024, and maxclients accordingly.");
        return clients_max.min(1024 - RESERVED_DESCRIPTORS);
    };
    if soft >= wanted {
        return clients_max;
    }
    // A privileged process may go past the hard limit; others get as far as that.
    let refusal = setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted.max(hard)).err();
    if refusal.is_some() {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
    }
    let (reached, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((soft, hard));
    if reached >= wanted {
        log.notice(&format!("Increased maximum number of open files to {wanted} (it was originally set to {soft})."));
        return clients_max;
    }
    if reached <= RESERVED_DESCRIPTORS {
        log.warning(&format!(
            "Your current 'ulimit -n' of {reached} is not enough for the server to start. \
             Please increase your open file limit to at least {wanted}. Exiting."
        ));
        return 0;
    }
    let fitting = reached - RESERVED_DESCRIPTORS;
    let reason = refusal.map_or("unknown", nix::Error::desc);
    for line in [
        format!("You requested maxclients of {clients_max} requiring at least {wanted} max file descriptors."),
        format!("Server can't set maximum open files to {wanted} because of OS error: {reason}."),
        format!(
            "Current maximum open files is {reached}. maxclients has been reduced to {fitting} to compensate for low \
             ulimit. If you need higher maxclients increase 'ulimit -n'."
        ),
    ] {
        log.warning(&line);
    }
    fitting
}

/// Starts the program anew in this process after a while, with the arguments it was given: DEBUG RESTART and
/// CRASH-AND-RECOVER. Does not return if it can. The data goes with the old program's memory.
///
/// # Errors
/// Why it cannot.
pub fn restart(delay_ms: u64) -> Result<(), String> {
    use std::os::unix::process::CommandExt;
    let (Ok(executable), Some(arguments)) = (std::env::current_exe(), ARGUMENTS.get()) else {
        return Err("it is not known how this server was started".to_owned());
    };
    let refused = |error: io::Error| format!("{}: {}", executable.display(), system_text(&error));
    executable.metadata().map_err(refused)?;
    std::thread::sleep(std::time::Duration::from_millis(delay_ms));
    let mut command = std::process::Command::new(&executable);
    if let Some((name, rest)) = arguments.split_first() {
        command.arg0(name).args(rest);
    }
    // Descriptors are closed on exec, all of them: std, mio and socket2 open them that way.
    Err(refused(command.exec()))
}

/// How much more or less than others this process is a candidate when the kernel is out of memory.
///
/// `found` is the score the process was started with ([`oom_score_adj`]), which `relative` adds to; `value` the one of
/// `oom-score-adj-values` for the server's role.
///
/// # Errors
/// When the kernel refuses; lowering the score needs privileges.
pub fn set_oom_score_adj(mode: OomScoreAdj, value: i64, found: i64) -> io::Result<()> {
    let score = match mode {
        OomScoreAdj::No => found,
        OomScoreAdj::Yes | OomScoreAdj::Relative => found + value,
        OomScoreAdj::Absolute => value,
    };
    fs::write("/proc/self/oom_score_adj", score.clamp(-1000, 1000).to_string())
}

/// The present score; 0 where the system has none.
pub fn oom_score_adj() -> i64 {
    fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::testing::Child;

    /// Shape observed on Redis 8.2: `redis-server *:6379`, without trailing spaces where the mode is empty.
    #[test]
    fn the_title_follows_its_template() {
        let config = Config::default();
        let variables = TitleVariables::from_config(&config, "redis-server");
        let default = config.text(directives::PROC_TITLE_TEMPLATE);
        assert_eq!(variables.fill(&default), "redis-server *:6379");
        assert_eq!(variables.fill("{port} {tls-port} {unixsocket} {config-file} x"), "6379 0  - x");

        let mut config = Config::default();
        config.set(directives::PORT, &[b"0"]).unwrap();
        config.set(directives::UNIXSOCKET, &[b"/run/a.sock"]).unwrap();
        assert_eq!(TitleVariables::from_config(&config, "x").fill(&default), "x /run/a.sock");
    }

    /// Not a test by itself: what the child process of the next one does.
    #[test]
    fn child_with_a_title() {
        if !Child::is_one("title") {
            return;
        }
        // SAFETY: the other threads of the test harness wait for this one; the arguments were parsed long ago.
        let mut title = unsafe { ProcessTitle::claim() }.unwrap();
        title.set("short");
        let shown = fs::read("/proc/self/cmdline").unwrap();
        println!("short: {}", String::from_utf8_lossy(&shown).trim_end_matches('\0'));
        title.set(&"long ".repeat(100));
        let shown = fs::read("/proc/self/cmdline").unwrap();
        println!("long: {}", shown.iter().filter(|&&byte| byte == b'l').count());
        println!("variable: {}", std::env::var("SPINEL_TEST_CHILD").unwrap());
    }

    #[test]
    fn the_title_is_seen_from_outside_and_the_environment_survives() {
        let child = Child::start("operation::process::tests::child_with_a_title", "title");
        let (output, status) = child.output();
        assert!(status.success(), "{output}");
        assert!(output.contains("short: short"), "{output}");
        // The arguments alone do not hold 500 bytes: the room of the environment is used too.
        assert!(output.contains("long: 100"), "{output}");
        assert!(output.contains("variable: title"), "{output}");
    }

    #[test]
    fn the_pid_file_holds_the_process_id_and_goes_away() {
        let log = Log::new();
        let path = std::env::temp_dir().join(format!("spinel-pid-{}", std::process::id()));
        let file = PidFile::create(path.clone(), &log).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        file.remove(&log);
        assert!(!path.exists());
        assert!(PidFile::create("/nowhere/at/all.pid".into(), &log).is_none());
    }

    #[test]
    fn without_configuration_only_a_daemon_has_a_pid_file() {
        let mut config = Config::default();
        assert_eq!(PidFile::wanted(&config, false), None);
        assert_eq!(PidFile::wanted(&config, true), Some(PidFile::DEFAULT.into()));
        config.set(directives::PIDFILE, &[b"/tmp/x.pid"]).unwrap();
        assert_eq!(PidFile::wanted(&config, false), Some("/tmp/x.pid".into()));
    }

    /// Not a test by itself: what the child process of the next one does.
    #[test]
    fn child_under_systemd() {
        if !Child::is_one("systemd") {
            return;
        }
        let log = Log::new();
        assert_eq!(Supervisor::detect(Supervised::Auto, &log), Supervisor::None);
        assert_eq!(Supervisor::detect(Supervised::Systemd, &log), Supervisor::None);
        let path = std::env::temp_dir().join(format!("spinel-notify-{}", std::process::id()));
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        // SAFETY: the other threads of the test harness wait for this one.
        unsafe { std::env::set_var("NOTIFY_SOCKET", &path) };
        let supervisor = Supervisor::detect(Supervised::Auto, &log);
        supervisor.ready(&log);
        supervisor.stopping(&log);
        for _ in 0..2 {
            let mut message = [0; 256];
            let length = socket.recv(&mut message).unwrap();
            println!("told: {}", String::from_utf8_lossy(&message[..length]).replace('\n', "|"));
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn systemd_is_told_about_start_and_stop() {
        let (output, status) = Child::start("operation::process::tests::child_under_systemd", "systemd").output();
        assert!(status.success(), "{output}");
        assert!(output.contains("told: STATUS=Ready to accept connections|READY=1|"), "{output}");
        assert!(output.contains("told: STOPPING=1|"), "{output}");
        assert!(output.contains("NOTIFY_SOCKET not found"), "{output}");
    }

    /// Not a test by itself: what the child process of the next one does.
    #[test]
    fn child_with_few_files() {
        if !Child::is_one("files") {
            return;
        }
        setrlimit(Resource::RLIMIT_NOFILE, 100, 200).unwrap();
        let log = Log::new();
        println!("fits: {}", raise_open_files(&log, 60));
        println!("raised: {}", raise_open_files(&log, 150));
        // A privileged process gets past the hard limit, and all fit.
        println!("many: {}", raise_open_files(&log, 1_000));
        // Nobody gets this many.
        setrlimit(Resource::RLIMIT_NOFILE, 30, 30).unwrap();
        println!("too many: {}", raise_open_files(&log, u64::MAX / 2));
    }

    #[test]
    fn maxclients_follow_the_limit_of_open_files() {
        let child = Child::start("operation::process::tests::child_with_few_files", "files");
        let (output, status) = child.output();
        assert!(status.success(), "{output}");
        assert!(output.contains("fits: 60"), "{output}");
        assert!(output.contains("raised: 150"), "{output}");
        assert!(output.contains("Increased maximum number of open files to 182 (it was originally set to 100)."));
        assert!(output.contains("many: 1000") || output.contains("many: 168"), "{output}");
        assert!(output.contains("too many: 0") && output.contains("'ulimit -n' of 30"), "{output}");
    }
}

//! How a server comes up, and how it ends. The order is that of [`crate::operation`].

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use anyhow::{Context, bail};
use commands::access::{AccessControl, StartError};
use commands::global::{DebugSettings, Pauses, Role};
use commands::observation::Observation;
use commands::{Clients, Global, Registry, Settings, ThreadStats, World};
use config::{Config, LogLevel, command_line, directives, load};
use gate::Gates;
use keyspace::{Keyspace, Options};
use mio::{Poll, Waker};
use parking_lot::Mutex;

use crate::balance::Balance;
use crate::event_loop::{EventLoop, WAKER};
use crate::eviction::Limit;
use crate::mailbox::Mailbox;
use crate::migration;
use crate::operation::{
    LOG, OperationState, banner, checks, crash,
    log::{LogRole, LogSettings},
    memory, priority, process, signals,
};
use crate::persistence::{self, Persistence};
use crate::replication::{self, Replication};
use crate::shared::{Shared, now};
use crate::tls::TlsDirectives;

/// Runs the server until it is shut down. The first argument is the name it was started under.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let program = arguments.first().map_or_else(|| "spinel".into(), |name| name.to_string_lossy().into_owned());
    let arguments = arguments.get(1..).unwrap_or_default();
    let invocation = match command_line::parse(arguments) {
        command_line::Request::Serve(invocation) => invocation,
        command_line::Request::Version => {
            // Scripts and test suites look for `v=` and decide by it what the server can do: the Redis that it is equal to.
            let (redis, own) = (commands::connection::REDIS_VERSION, env!("CARGO_PKG_VERSION"));
            println!("Spinel server v={redis} spinel={own} malloc=jemalloc bits={}", usize::BITS);
            return ExitCode::SUCCESS;
        }
        command_line::Request::Help => {
            print!("{}", command_line::USAGE);
            return ExitCode::SUCCESS;
        }
        command_line::Request::CheckSystem => {
            return match checks::check_system(&mut std::io::stdout()) {
                Ok(true) => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            };
        }
        command_line::Request::TestMemory(_) => {
            eprintln!("Testing memory is not part of Spinel: memtest86 and memtester do it better.");
            return ExitCode::FAILURE;
        }
    };
    if invocation.sentinel {
        eprintln!("Sentinel mode is not part of this version of Spinel.");
        return ExitCode::FAILURE;
    }
    let loaded = match load::load(&invocation, &mut std::io::stdin()) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let title = if loaded.config.get(directives::SET_PROC_TITLE) {
        // SAFETY: there is one thread, and the arguments have been read.
        unsafe { process::ProcessTitle::claim() }
    } else {
        None
    };
    // `rename-command` is the one directive whose lines only the registry can judge.
    let mut registry = Registry::default();
    for (position, words) in loaded.config.get(directives::RENAME_COMMAND).iter().enumerate() {
        if let Err(reason) = registry.rename(&words[0], &words[1]) {
            eprintln!("{}", loaded.error_at(directives::RENAME_COMMAND, position, reason));
            return ExitCode::FAILURE;
        }
    }
    let registry = Arc::new(registry);
    if let Err(reason) = enter(&loaded.config) {
        eprintln!("{reason}");
        return ExitCode::FAILURE;
    }
    // From the folder that was entered: the ACL file's path is looked up there.
    let access = match AccessControl::of_config(registry.clone(), &loaded.config) {
        Ok(access) => access,
        Err(StartError::Directive { position, reason }) => {
            eprintln!("{}", loaded.error_at(directives::USER, position, reason));
            return ExitCode::FAILURE;
        }
        Err(StartError::Fatal(reason)) => {
            LOG.configure(LogSettings::from_config(&loaded.config));
            LOG.warning(&reason);
            return ExitCode::FAILURE;
        }
    };
    let mut config = loaded.config;
    match serve(&mut config, registry, access, &program, arguments, title) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            LOG.warning(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Everything that must happen while there is one thread: the folder, the log's file, the background.
fn enter(config: &Config) -> Result<(), String> {
    process::enter_directory(&config.path(directives::DIR).map_or_else(|| ".".into(), std::path::Path::to_owned))?;
    LogSettings::from_config(config).check()
}

fn serve(
    config: &mut Config,
    registry: Arc<Registry>,
    access: AccessControl,
    program: &str,
    arguments: &[OsString],
    title: Option<process::ProcessTitle>,
) -> anyhow::Result<()> {
    LOG.configure(LogSettings::from_config(config));
    let supervisor = process::Supervisor::detect(config.get(directives::SUPERVISED), &LOG);
    let daemonize = config.get(directives::DAEMONIZE) && supervisor == process::Supervisor::None;
    if daemonize {
        process::daemonize().context("Cannot go to the background")?;
    }
    crash::install(&LOG);
    crash::set_enabled(config.get(directives::CRASH_LOG_ENABLED));
    crash::set_hide_user_data(config.get(directives::HIDE_USER_DATA_FROM_LOG));
    memory::start_purging();
    keyspace::slab::use_huge_pages(!config.get(directives::DISABLE_THP));
    banner::starting().iter().for_each(|line| LOG.notice(line));
    if let Some(line) = banner::without_effect_yet(config) {
        LOG.warning(&line);
    }
    let ports = [config.get(directives::PORT), config.get(directives::TLS_PORT)];
    let port = ports.into_iter().find(|port| *port != 0).unwrap_or(0);
    let backlog = (port != 0).then(|| config.get(directives::TCP_BACKLOG));
    checks::at_start(backlog, config.get(directives::DISABLE_THP), &LOG);
    let clients_max = config.get(directives::MAXCLIENTS).max(0) as u64;
    match process::raise_open_files(&LOG, clients_max) {
        0 => bail!("No client could connect: the limit of open files is too low"),
        allowed if allowed < clients_max => {
            config.set(directives::MAXCLIENTS, &[allowed.to_string().as_bytes()]).map_err(anyhow::Error::msg)?;
        }
        _ => {}
    }
    if config.get(directives::ALWAYS_SHOW_LOGO) || (std::io::stdout().is_terminal() && !daemonize) {
        LOG.write_raw(&banner::logo("standalone", port));
    } else {
        LOG.notice(&banner::running("standalone", port));
    }
    let pid_file = process::PidFile::wanted(config, daemonize).and_then(|path| process::PidFile::create(path, &LOG));
    if let Some(mut title) = title {
        let variables = process::TitleVariables::from_config(config, program);
        title.set(&variables.fill(&config.text(directives::PROC_TITLE_TEMPLATE)));
    }

    let threads = config.get(directives::IO_THREADS).max(1) as usize;
    let mut polls = Vec::new();
    let mut mailboxes = Vec::new();
    for _ in 0..threads {
        let poll = Poll::new().context("Cannot watch sockets")?;
        mailboxes.push(Mailbox::new(Waker::new(poll.registry(), WAKER).context("Cannot watch a mailbox")?));
        polls.push(poll);
    }
    let shared = Arc::new(world(config, registry, access, arguments, mailboxes));
    let _ = shared.operation.supervisor.set(supervisor);
    start_reaper(&shared)?;
    shared.handshakes.belong_to(&shared);
    persistence::start(&shared)?;
    replication::start(&shared)?;
    migration::start(&shared)?;
    if config.get(directives::TLS_PORT) != 0 {
        let terms = TlsDirectives::of(config).load().map_err(anyhow::Error::msg);
        shared.handshakes.set_terms(Some(terms.context("Failed to configure TLS")?));
    }
    *shared.listeners.lock() = shared.listen(config)?;
    {
        let shared = shared.clone();
        let on_request = move |termination| {
            // It may have to wait for the end of a script, and the second signal must not wait for it.
            let shared = shared.clone();
            let end = move || shared.terminate(termination);
            if let Err(error) = std::thread::Builder::new().name("shutdown".to_owned()).spawn(end) {
                LOG.warning(&format!("Cannot start a thread for the shutdown: {error}"));
                signals::forget_request();
            }
        };
        signals::listen(&LOG, on_request).context("Cannot listen to signals")?;
    }
    {
        let shared = shared.clone();
        crash::set_registry(shared.registry.clone());
        crash::set_info(move || shared.crash_info());
    }
    memory::count_thread();
    shared.operation.memory.mark_startup(now());

    let (sender, loaded) = mpsc::channel();
    let loads = shared.clone();
    std::thread::Builder::new()
        .name("load".to_owned())
        .spawn(move || {
            crash::prepare_thread();
            memory::count_thread();
            // Nobody listens any more if the server ends.
            let _ = sender.send(loads.load_at_start());
        })
        .context("Cannot start a thread")?;
    // Who connects meanwhile waits. What takes longer is told to clients.
    let loaded_soon = loaded.recv_timeout(LOADING_IS_TOLD_AFTER).ok();

    let handles: Vec<_> = polls
        .into_iter()
        .enumerate()
        .map(|(index, poll)| {
            let event_loop = EventLoop::new(index, shared.clone(), poll);
            std::thread::Builder::new().name(format!("loop-{index}")).spawn(move || {
                priority::come_first();
                crash::prepare_thread();
                event_loop.run()
            })
        })
        .collect::<Result<_, _>>()
        .context("Cannot start a thread")?;
    LOG.set_role(LogRole::Primary);
    LOG.notice("Server initialized");
    let mut result = Ok(());
    match loaded_soon.unwrap_or_else(|| loaded.recv().expect("the thread ends with a result")) {
        Ok(()) => {
            shared.begin_replication();
            for line in ready_lines(config) {
                LOG.notice(&line);
            }
            supervisor.ready(&LOG);
        }
        // Who wants it to end does not want to hear that it was not ready.
        Err(_) if shared.is_ending() => {}
        Err(error) => {
            shared.end();
            result = Err(error.into());
        }
    }
    for handle in handles {
        match handle.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => result = Err(error).context("An event loop failed"),
            Err(_) => unreachable!("a panic has aborted the process"),
        }
        // One loop's end is everybody's.
        shared.end();
    }
    persistence::stop(&shared);
    replication::stop(&shared);
    supervisor.stopping(&LOG);
    if let Some(path) = config.path(directives::UNIXSOCKET) {
        let _ = std::fs::remove_file(path);
    }
    if let Some(pid_file) = pid_file {
        pid_file.remove(&LOG);
    }
    if result.is_ok() {
        // Who could not start, or was brought down, says why instead.
        LOG.warning("Spinel is now ready to exit, bye bye...");
    }
    // The data goes with the process: freeing millions of entries one by one would only make the end take longer.
    std::mem::forget(shared);
    result
}

/// Small data sets are there before the first client is heard, as in Redis; while others are read, clients are told LOADING.
const LOADING_IS_TOLD_AFTER: Duration = Duration::from_millis(100);

/// What tools wait for in the log.
fn ready_lines(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    if config.get(directives::PORT) != 0 {
        lines.push("Ready to accept connections tcp".to_owned());
    }
    if config.get(directives::TLS_PORT) != 0 {
        lines.push("Ready to accept connections tls".to_owned());
    }
    if !config.get(directives::UNIXSOCKET).is_empty() {
        lines.push("Ready to accept connections unix".to_owned());
    }
    lines
}

/// The world before its first client.
fn world(
    config: &Config,
    registry: Arc<Registry>,
    access: AccessControl,
    arguments: &[OsString],
    mailboxes: Vec<Arc<Mailbox>>,
) -> Shared {
    let command_count = registry.all().len();
    let threads = mailboxes.len();
    let stats: Vec<_> = (0..threads).map(|_| Arc::new(ThreadStats::new(registry.all().len()))).collect();
    let run_id: [u8; 20] = rand::random();
    let now = now();
    let observation = Observation::default();
    observation.latency.set_threshold(config.get(directives::LATENCY_MONITOR_THRESHOLD).max(0) as u64);
    let global = Global {
        settings: Settings::of(config),
        config: config.clone(),
        registry: registry.clone(),
        access,
        role: Role::Primary,
        pauses: Pauses::default(),
        waiters: Default::default(),
        departing: Default::default(),
        watches: Default::default(),
        tracking: Default::default(),
        monitors: Default::default(),
        hot_keys: None,
        scripts: Default::default(),
        debug: DebugSettings::default(),
        run_id: run_id.iter().map(|byte| format!("{byte:02x}")).collect(),
        started: now,
        executable: std::env::current_exe().unwrap_or_default(),
        arguments: arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        last_save: now,
        // Until its files are read.
        loading: true,
        async_loading: false,
        journal_kept: false,
    };
    let keyspace = Keyspace::new(&Options { seed: rand::random(), ..Options::default() });
    let limit = Limit::default();
    limit.follow(&global.settings);
    Shared {
        // One for each event loop, for each helper, and for whoever applies what our primary sends.
        gates: Gates::new(threads + persistence::helper_count() + 1, World { global, keyspace }),
        registry,
        clients: Clients::default(),
        subscriptions: Default::default(),
        observation,
        mailboxes,
        stats,
        listeners: Mutex::default(),
        evicting: Mutex::default(),
        connected: AtomicUsize::new(0),
        rejected_connections: AtomicUsize::new(0),
        clients_memory_bytes: AtomicI64::new(0),
        ending: AtomicBool::new(false),
        operation: OperationState::default(),
        limit,
        persistence: Persistence::default(),
        replication: Replication::new(config),
        migrations: Default::default(),
        balance: Balance::new(threads, config.get(directives::IO_THREADS_ALWAYS_ACTIVE)),
        handshakes: Default::default(),
        job_stats: ThreadStats::new(command_count),
    }
}

/// Where garbage goes: to a thread that frees it. Process-wide, because the keyspace hands over single values through a
/// plain function.
static REAPER: OnceLock<mpsc::Sender<Freed>> = OnceLock::new();

/// So many keys or values, of about so many bytes, to be freed.
type Freed = (u64, u64, Box<dyn Send>);

fn start_reaper(shared: &Arc<Shared>) -> anyhow::Result<()> {
    let (sender, receiver) = mpsc::channel::<Freed>();
    let of_reaper = shared.clone();
    std::thread::Builder::new()
        .name("reaper".to_owned())
        .spawn(move || {
            memory::count_thread();
            priority::step_back();
            for (objects, bytes, garbage) in receiver {
                drop(garbage);
                memory::publish();
                memory::note_freed(bytes);
                of_reaper.operation.note_freed(objects);
            }
        })
        .context("Cannot start a thread")?;
    let _ = REAPER.set(sender);
    static STATE: OnceLock<Arc<Shared>> = OnceLock::new();
    let _ = STATE.set(shared.clone());
    keyspace::set_reaper(|garbage| {
        if let Some(shared) = STATE.get() {
            shared.free_elsewhere(1, garbage.bytes() as u64, Box::new(garbage));
        }
    });
    Ok(())
}

impl Shared {
    /// Sends something to be freed on the thread that has time for it.
    pub fn free_elsewhere(&self, objects: u64, bytes: u64, garbage: Box<dyn Send>) {
        self.operation.note_free_later(objects);
        memory::note_being_freed(bytes);
        // The reaper lives as long as the process; if it does not, the garbage is freed here.
        match REAPER.get().map(|reaper| reaper.send((objects, bytes, garbage))) {
            Some(Ok(())) => {}
            _ => {
                memory::note_freed(bytes);
                self.operation.note_freed(objects);
            }
        }
    }

    /// A line of the log.
    pub fn log(&self, level: LogLevel, text: &str) {
        LOG.write(level, text);
    }
}

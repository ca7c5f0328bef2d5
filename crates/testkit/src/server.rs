//! A server process under test: started on a free port in a directory of its own, ended with its handle.

use std::{
    ffi::OsString,
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tempfile::TempDir;

use crate::{Client, Kind, Process, peers, wait_for};

/// How to start a server; [`Server::start`] suffices for most.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub kind: Kind,
    /// Arguments after the ones that every server gets (port, directory, no snapshots, no append-only file).
    pub arguments: Vec<String>,
    /// Environment variables on top of the inherited ones.
    pub environment: Vec<(String, String)>,
    /// Words before the program, such as `taskset -c 0`. They must `exec` it, or the pid is not the server's.
    pub wrapper: Vec<String>,
    /// A program other than the usual one of its kind.
    pub program: Option<PathBuf>,
    /// Preload Debian's jemalloc (for Valkey, whose wheel has none inside, when memory or time is measured).
    pub jemalloc: bool,
}

impl ServerOptions {
    pub fn new(kind: Kind) -> ServerOptions {
        ServerOptions {
            kind,
            arguments: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            program: None,
            jemalloc: false,
        }
    }

    pub fn arguments<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn wrapper(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    pub fn jemalloc(mut self) -> Self {
        self.jemalloc = true;
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(&self) -> io::Result<Server> {
        // Between finding a free port and binding it somebody else may take it: then another one.
        let mut last = None;
        for _ in 0..5 {
            match self.start_once() {
                Ok(server) => return Ok(server),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.expect("five attempts"))
    }

    fn start_once(&self) -> io::Result<Server> {
        let directory = tempfile::Builder::new().prefix(&format!("{}-", self.kind)).tempdir()?;
        let port = free_port()?;
        let mut server = Server {
            kind: self.kind,
            child: self.spawn(directory.path(), port, &[])?,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            log_path: log_path(directory.path()),
            directory,
            options: self.clone(),
        };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    fn spawn(&self, directory: &Path, port: u16, more_arguments: &[&str]) -> io::Result<Child> {
        let program = self
            .program
            .clone()
            .or_else(|| peers::program(self.kind))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no program for {}", self.kind)))?;
        let log = File::options().create(true).append(true).open(log_path(directory))?;
        let mut words: Vec<OsString> = self.wrapper.iter().map(OsString::from).collect();
        words.push(program.into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(directory);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        if self.kind == Kind::Spinel {
            // A test that wants several event loops wants clients on all of them, though one could serve them.
            command.args(["--io-threads-always-active", "yes"]);
        }
        command.args(&self.arguments).args(more_arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if self.jemalloc {
            let library = peers::peers_directory().join("libjemalloc.so.2");
            assert!(library.exists(), "{} is missing: run tools/peers.sh", library.display());
            command.env("LD_PRELOAD", library);
        }
        command.current_dir(directory).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn()
    }
}

/// A port of 127.0.0.1 that nobody listens on. Below those that the kernel hands out to connections by itself (on Linux from 32768), and
/// so is the port of the cluster bus 10,000 above it: what a test starts there a moment later hardly ever finds it taken. It may all the
/// same: whoever starts a server tries again.
pub fn free_port() -> io::Result<u16> {
    const PORTS: std::ops::Range<u16> = 10_000..22_000;
    // Whoever starts later in this process begins elsewhere, and so does another process.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(7919);
    for _ in 0..1000 {
        let step = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + (step % PORTS.len() as u32) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn log_path(directory: &Path) -> PathBuf {
    directory.join("server.log")
}

/// A running server. Dropping it kills the process and removes its directory.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    child: Child,
    address: SocketAddr,
    directory: TempDir,
    log_path: PathBuf,
    options: ServerOptions,
}

impl Server {
    /// Starts a server with more arguments (`--io-threads 4` …) and waits until it answers.
    pub fn start(kind: Kind, arguments: &[&str]) -> io::Result<Server> {
        ServerOptions::new(kind).arguments(arguments.iter().copied()).start()
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its working directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// What it has written to its log (standard output and error) so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log_path).unwrap_or_default()).into_owned()
    }

    /// A new RESP2 connection. Panics with the server's log when it does not accept one.
    pub fn client(&self) -> Client {
        Client::connect(self.address)
            .unwrap_or_else(|error| panic!("{} does not accept: {error}\n{}", self.kind, self.log()))
    }

    /// None while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("own child")
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let pid = rustix::process::Pid::from_child(&self.child);
        if self.exit_status().is_none() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        wait_for(deadline, || self.exit_status())
    }

    /// SIGKILL, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, on another port, with what its directory holds, and waits until it answers. Whatever still runs is killed
    /// first. `more_arguments` come after those that it was started with.
    pub fn restart(&mut self, more_arguments: &[&str]) -> io::Result<()> {
        self.kill();
        let mut last = None;
        for _ in 0..5 {
            let port = free_port()?;
            self.child = self.options.spawn(self.directory.path(), port, more_arguments)?;
            self.address.set_port(port);
            match self.wait_until_it_answers() {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
                other => return other,
            }
        }
        Err(last.expect("five attempts"))
    }

    fn wait_until_it_answers(&mut self) -> io::Result<()> {
        let answered = wait_for(Duration::from_secs(30), || {
            if let Some(status) = self.exit_status() {
                return Some(Err(status));
            }
            let mut client = Client::connect(self.address).ok()?;
            let reply = client.command(&["INFO", "server"]).ok()?;
            // Somebody else may have taken the port first (another test's server, or this very connection, if the kernel
            // gave it the same port): it is up when the process that was started says so. -NOAUTH comes from nobody but a
            // server that was given a password; -LOADING is not yet an answer.
            let is_own = match reply.text() {
                Some(info) if !reply.is_error() => info.contains(&format!("process_id:{}\r\n", self.child.id())),
                _ => reply.is_error() && !reply.is_error_of("LOADING"),
            };
            // INFO is answered while data is loaded; whatever else a test will ask is not.
            let mut is_loaded = || client.command(&["PING"]).is_ok_and(|reply| !reply.is_error_of("LOADING"));
            (is_own && is_loaded()).then_some(Ok(()))
        });
        let log = self.log();
        match answered {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) if log.to_lowercase().contains("address already in use") => {
                Err(io::Error::new(io::ErrorKind::AddrInUse, log))
            }
            Some(Err(status)) => Err(io::Error::other(format!("{} ended at start ({status}):\n{log}", self.kind))),
            None => Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} does not answer:\n{log}", self.kind))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

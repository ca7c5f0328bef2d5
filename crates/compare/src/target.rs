//! The processes that are measured: Spinel and the real servers as testkit starts them, and the floor, which is this program again.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use testkit::tls::{Authority, TlsServer, client_config};
use testkit::{Client, Kind, Process, Server, ServerOptions};

/// What every server gets beside testkit's defaults (no snapshots, no append-only file), so that all do the same work.
const ARGUMENTS: &[&str] = &["--protected-mode", "no", "--maxclients", "10000"];

/// A running server. It ends with this handle.
pub struct Target {
    server: Server,
    encrypted: Option<Door>,
    /// `INFO server` of the running process, so that results say what was really measured.
    pub version: String,
}

/// Where a load goes in.
#[derive(Clone)]
pub struct Door {
    pub address: SocketAddr,
    /// How hands are shaken there.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl From<SocketAddr> for Door {
    fn from(address: SocketAddr) -> Door {
        Door { address, tls: None }
    }
}

impl Target {
    pub fn start(kind: Kind, event_loops: usize) -> Result<Target> {
        Target::start_with(kind, event_loops, &[])
    }

    /// With arguments that come behind all others, and so replace them.
    pub fn start_with(kind: Kind, event_loops: usize, arguments: &[&str]) -> Result<Target> {
        let mut options = ServerOptions::new(kind)
            .arguments(ARGUMENTS.iter().copied())
            .arguments(["--io-threads", &event_loops.to_string()])
            .arguments(arguments.iter().copied());
        if kind == Kind::Spinel {
            // As everybody runs it.
            options = options.arguments(["--io-threads-always-active", "no"]);
        }
        if kind == Kind::Valkey91 {
            // Its wheel has no jemalloc inside, the one that everybody runs has.
            options = options.jemalloc();
        }
        let server = options.start().with_context(|| format!("starting {kind}"))?;
        Target::of(server, None)
    }

    /// The same behind a `tls-port`. Keys are of the kind that certificates have today, P-256; no client has to show one.
    pub fn start_encrypted(kind: Kind, event_loops: usize) -> Result<Target> {
        let authority = Authority::new("compare");
        let loops = event_loops.to_string();
        let arguments = [ARGUMENTS, &["--io-threads", &loops, "--tls-auth-clients", "no"]].concat();
        let TlsServer { server, address, .. } =
            TlsServer::start(kind, &authority, &arguments).with_context(|| format!("no {kind} is here"))?;
        let tls = Some(client_config(&authority, None, &[&rustls::version::TLS13]));
        Target::of(server, Some(Door { address, tls }))
    }

    fn of(server: Server, encrypted: Option<Door>) -> Result<Target> {
        let mut client = Client::connect(server.address())?;
        let info = Info::read(&mut client, "server")?;
        let version = ["spinel_version", "valkey_version", "redis_version"]
            .iter()
            .find_map(|name| info.text(name))
            .unwrap_or("unknown")
            .to_owned();
        Ok(Target { server, encrypted, version })
    }

    /// Where what is measured goes in.
    pub fn door(&self) -> Door {
        self.encrypted.clone().unwrap_or(self.address().into())
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn pid(&self) -> u32 {
        self.server.process().0
    }

    pub fn kind(&self) -> Kind {
        self.server.kind()
    }

    /// Its working directory, where its files are.
    pub fn directory(&self) -> &Path {
        self.server.directory()
    }

    pub fn client(&self) -> Result<Client> {
        Ok(Client::connect(self.address())?)
    }

    /// Whether it has the command of a request; says so where it has not.
    pub fn knows(&self, request: &str) -> bool {
        let name = request.split(' ').next().unwrap_or_default();
        let reply = self.client().and_then(|mut client| Ok(client.command(&["COMMAND", "INFO", name])?));
        let knows = reply.is_ok_and(|reply| reply.elements().is_some_and(|rows| rows.iter().any(|row| !row.is_null())));
        if !knows {
            eprintln!("SKIPPED: {} has no {name}", self.server.kind());
        }
        knows
    }

    pub fn resident_bytes(&self) -> Result<u64> {
        Process(self.pid()).resident_bytes().context("the server is gone")
    }
}

/// What `INFO` said.
pub struct Info {
    text: String,
}

impl Info {
    pub fn read(client: &mut Client, section: &str) -> Result<Info> {
        let reply = client.command(&["INFO", section])?;
        match reply.text() {
            Some(text) if !reply.is_error() => Ok(Info { text: text.to_owned() }),
            _ => bail!("INFO {section}: {reply}"),
        }
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
    }

    /// # Errors
    /// When the field is missing: a bound on it would be a bound on nothing.
    pub fn number(&self, name: &str) -> Result<u64> {
        let text = self.text(name).with_context(|| format!("INFO has no {name}"))?;
        text.parse().with_context(|| format!("INFO {name} is {text:?}"))
    }
}

/// The floor, in a process of its own.
pub struct FloorProcess {
    child: Child,
    pub address: SocketAddr,
}

impl FloorProcess {
    pub fn start(request_bytes: usize) -> Result<FloorProcess> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["floor", "--request-bytes", &request_bytes.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the floor")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("the floor said {line:?}"))?;
        Ok(FloorProcess { child, address })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for FloorProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_fields() {
        let info = Info { text: "# Server\r\nredis_version:8.2.1\r\nredis_version_extra:1\r\nused:12\r\n".into() };
        assert_eq!(info.text("redis_version"), Some("8.2.1"));
        assert_eq!(info.number("used").unwrap(), 12);
        assert!(info.number("redis_version").is_err());
        assert!(info.number("absent").is_err());
    }
}

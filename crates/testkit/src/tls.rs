//! The other end of TLS: an authority of the test's own, and a client.

use std::{
    fs, io,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crate::{Kind, Server, ServerOptions, Value, encode_command};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

/// Signs certificates that are trusted where this one is.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: CertificateDer<'static>,
    pem: String,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Authority { certificate: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for servers at loopback and for clients, named `name`.
    pub fn issue(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names.push(SanType::URI(format!("urn:user:{name}").try_into().expect("ASCII")));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A server with a `tls-port` beside its plain one, and the files it was given.
pub struct TlsServer {
    pub server: Server,
    pub address: SocketAddr,
    pub files: Files,
}

/// Where certificates lie.
pub struct Files(tempfile::TempDir);

impl Files {
    /// Those of the authority and of a server that it vouches for.
    pub fn new(authority: &Authority) -> Files {
        let files = Files(tempfile::tempdir().expect("a folder"));
        fs::write(files.path("ca.crt"), &authority.pem).expect("written");
        files.write("server", &authority.issue("server"));
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces `name`.crt and `name`.key, each at once.
    pub fn write(&self, name: &str, identity: &Identity) {
        for (suffix, text) in [("crt", &identity.certificate), ("key", &identity.key)] {
            let new = self.path("new");
            fs::write(&new, text).expect("written");
            fs::rename(&new, self.path(&format!("{name}.{suffix}"))).expect("replaced");
        }
    }

    /// As words of a command line.
    pub fn arguments(&self) -> Vec<String> {
        let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
        let pairs = [("cert-file", "server.crt"), ("key-file", "server.key"), ("ca-cert-file", "ca.crt")];
        pairs.iter().flat_map(|(name, file)| [format!("--tls-{name}"), text(self.path(file))]).collect()
    }
}

impl TlsServer {
    /// Starts one, if its program is there and speaks TLS.
    pub fn start(kind: Kind, authority: &Authority, arguments: &[&str]) -> Option<TlsServer> {
        crate::program(kind)?;
        let files = Files::new(authority);
        let mut last = None;
        for _ in 0..5 {
            // Nobody keeps it for us: somebody else may take it, then it is another one.
            let address = SocketAddr::from(([127, 0, 0, 1], crate::free_port().expect("a free port")));
            let options = ServerOptions::new(kind)
                .arguments(["--tls-port".to_owned(), address.port().to_string()])
                .arguments(files.arguments())
                .arguments(arguments.iter().copied());
            match options.start() {
                Ok(server) => return Some(TlsServer { server, address, files }),
                Err(error) => last = Some(error),
            }
        }
        panic!("{kind} does not start: {}", last.expect("five attempts"));
    }
}

/// Whom a client trusts, who it says it is, what it speaks.
pub fn client_config(
    authority: &Authority,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions that there are")
        .with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<_, _>>();
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(chain.expect("certificates"), key).expect("a pair")
        }
    })
}

/// One encrypted connection.
pub struct TlsClient {
    pub stream: StreamOwned<ClientConnection, TcpStream>,
    incoming: Vec<u8>,
}

impl TlsClient {
    /// Connects and shakes hands. No call waits longer than 30 seconds.
    pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<TlsClient> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        socket.set_write_timeout(Some(Duration::from_secs(30)))?;
        let name = ServerName::try_from("localhost").expect("a name");
        let mut connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(TlsClient { stream: StreamOwned::new(connection, socket), incoming: Vec::new() })
    }

    /// Connects, and asks for a reply: in TLS 1.3 a client believes that all is well before the server has seen its certificate.
    pub fn connect_and_ping(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<TlsClient> {
        let mut client = TlsClient::connect(address, config)?;
        match client.command(&["PING"])? {
            reply if reply.is_error() => Err(io::Error::other(reply.to_string())),
            _ => Ok(client),
        }
    }

    pub fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Value> {
        self.send(&[arguments])?;
        self.receive()
    }

    /// The same from one line, split at blanks.
    pub fn line(&mut self, line: &str) -> Value {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        self.command(&words).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Sends commands without waiting for their replies.
    pub fn send<A: AsRef<[u8]>>(&mut self, commands: &[&[A]]) -> io::Result<()> {
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| encode_command(command, &mut bytes));
        self.stream.write_all(&bytes)?;
        self.stream.flush()
    }

    pub fn receive(&mut self) -> io::Result<Value> {
        let mut filled = self.incoming.len();
        loop {
            match Value::decode(&self.incoming[..filled]) {
                Ok(Some((value, length))) => {
                    self.incoming.truncate(filled);
                    self.incoming.drain(..length);
                    return Ok(value);
                }
                Ok(None) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            // Decoded again only when there is twice as much.
            let wanted = (2 * filled).max(4096);
            self.incoming.resize(wanted, 0);
            while filled < wanted {
                match self.stream.read(&mut self.incoming[filled..])? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => filled += count,
                }
                if filled < 64 * 1024 || self.incoming[..filled].ends_with(b"\r\n") {
                    break;
                }
            }
        }
    }
}

//! A connection's bytes: TCP, Multipath TCP or a unix socket, with or without TLS, without blocking for the load and blocking
//! for the set-up.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::settings::{Settings, TlsSettings};

/// Where a server is and how to talk to it.
#[derive(Clone)]
pub struct Endpoint {
    pub address: Address,
    multipath: bool,
    tls: Option<Tls>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Clone)]
struct Tls {
    config: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
}

impl Endpoint {
    /// The server of the options. Its name is looked up once.
    pub fn of(settings: &Settings) -> Result<Endpoint, String> {
        let address = match &settings.socket {
            Some(path) => Address::Unix(path.clone()),
            None => Address::Tcp(resolve(&settings.host, settings.port)?),
        };
        let tls = settings.tls.as_ref().map(|tls| Tls::new(tls, &settings.host)).transpose()?;
        Ok(Endpoint { address, multipath: settings.multipath, tls })
    }

    /// Another node of the same cluster.
    pub fn node(&self, host: &str, port: u16) -> Result<Endpoint, String> {
        Ok(Endpoint { address: Address::Tcp(resolve(host, port)?), ..self.clone() })
    }

    /// A connection for the set-up, which blocks.
    pub fn connect_blocking(&self) -> io::Result<Box<dyn ReadWrite>> {
        match &self.address {
            Address::Tcp(address) => {
                let stream = if self.multipath {
                    std::net::TcpStream::from(multipath_socket(address, true)?)
                } else {
                    std::net::TcpStream::connect(address)?
                };
                stream.set_nodelay(true)?;
                self.encrypt(stream)
            }
            Address::Unix(path) => self.encrypt(std::os::unix::net::UnixStream::connect(path)?),
        }
    }

    fn encrypt<S: Read + Write + Send + 'static>(&self, stream: S) -> io::Result<Box<dyn ReadWrite>> {
        Ok(match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(rustls::StreamOwned::new(tls.client()?, stream)),
        })
    }

    /// A connection for the load, perhaps not yet established.
    pub fn connect(&self) -> io::Result<Transport> {
        let socket = match &self.address {
            Address::Tcp(address) => {
                let stream = if self.multipath {
                    mio::net::TcpStream::from_std(multipath_socket(address, false)?.into())
                } else {
                    mio::net::TcpStream::connect(*address)?
                };
                Socket::Tcp(stream)
            }
            Address::Unix(path) => Socket::Unix(mio::net::UnixStream::connect(path)?),
        };
        let tls = self.tls.as_ref().map(|tls| tls.client().map(Box::new)).transpose()?;
        Ok(Transport { socket, tls })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    let failed = |why: &str| format!("Could not connect to Redis at {host}:{port}: {why}");
    match (host, port).to_socket_addrs() {
        Ok(mut addresses) => addresses.next().ok_or_else(|| failed("the name has no address")),
        Err(_) => Err(failed("Name or service not known")),
    }
}

fn multipath_socket(address: &SocketAddr, blocking: bool) -> io::Result<rustix::fd::OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | if blocking { SocketFlags::empty() } else { SocketFlags::NONBLOCK };
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::MPTCP))?;
    match connect(&socket, address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

pub trait ReadWrite: Read + Write + Send {}
impl<T: Read + Write + Send> ReadWrite for T {}

enum Socket {
    Tcp(mio::net::TcpStream),
    Unix(mio::net::UnixStream),
}

/// A connection that never blocks.
pub struct Transport {
    socket: Socket,
    tls: Option<Box<rustls::ClientConnection>>,
}

impl Socket {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Socket::Tcp(stream) => stream,
            Socket::Unix(stream) => stream,
        }
    }
}

impl Read for Socket {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(bytes),
            Socket::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Socket {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport {
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.source().register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Whether it can carry requests: connected, and through TLS's handshake. An error is why it never will.
    pub fn is_established(&mut self) -> io::Result<bool> {
        let connected = match &self.socket {
            Socket::Tcp(stream) => match (stream.take_error()?, stream.peer_addr()) {
                (Some(error), _) => return Err(error),
                (None, Ok(_)) => {
                    stream.set_nodelay(true)?;
                    true
                }
                (None, Err(error)) if error.kind() == io::ErrorKind::NotConnected => false,
                (None, Err(error)) => return Err(error),
            },
            Socket::Unix(stream) => match stream.take_error()? {
                Some(error) => return Err(error),
                None => true,
            },
        };
        if connected && self.tls.is_some() {
            self.flush()?;
            self.receive_tls()?;
        }
        Ok(connected && self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking()))
    }

    /// A short read means that nothing is left, until the next event: so it is for a socket, but not below TLS.
    pub fn short_read_is_last(&self) -> bool {
        self.tls.is_none()
    }

    /// As `Read`, 0 at the end.
    #[inline]
    pub fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.tls.is_none() {
            return self.socket.read(bytes);
        }
        loop {
            let tls = self.tls.as_mut().expect("checked");
            match tls.reader().read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            match tls.read_tls(&mut self.socket)? {
                0 => return Ok(0),
                _ => self.process_tls()?,
            }
        }
    }

    /// Takes what it can; the rest waits for the next event.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.write(bytes) };
        let taken = tls.writer().write(bytes)?;
        self.flush()?;
        if taken == 0 && !bytes.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// Sends what TLS holds back.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive_tls(&mut self) -> io::Result<()> {
        while let Some(tls) = self.tls.as_mut().filter(|tls| tls.is_handshaking()) {
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => self.process_tls()?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn process_tls(&mut self) -> io::Result<()> {
        let tls = self.tls.as_mut().expect("only called with TLS");
        let processed = tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        // Also on failure: the server gets its alert.
        self.flush()?;
        processed.map(|_| ())
    }
}

impl Tls {
    fn new(settings: &TlsSettings, host: &str) -> Result<Tls, String> {
        let name = settings.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| format!("TLS: '{name}' is no server name."))?;
        let mut provider = rustls::crypto::ring::default_provider();
        if settings.ciphers.is_some() || settings.cipher_suites.is_some() {
            let allowed: Vec<String> = [&settings.ciphers, &settings.cipher_suites]
                .into_iter()
                .flatten()
                .flat_map(|list| list.split(':'))
                .map(suite_name)
                .collect();
            // A list for one version of TLS leaves the other as it is.
            let listed = |suite: &rustls::SupportedCipherSuite| match suite {
                rustls::SupportedCipherSuite::Tls12(_) => settings.ciphers.is_some(),
                rustls::SupportedCipherSuite::Tls13(_) => settings.cipher_suites.is_some(),
            };
            provider
                .cipher_suites
                .retain(|suite| !listed(suite) || allowed.iter().any(|name| format!("{:?}", suite.suite()) == *name));
            if provider.cipher_suites.is_empty() {
                return Err("TLS: none of these cipher suites is known.".to_owned());
            }
        }
        let provider = Arc::new(provider);
        let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS: {error}"))?;
        let builder = if settings.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            builder.with_root_certificates(authorities(settings)?)
        };
        let config = match (&settings.certificate, &settings.key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| format!("TLS: {error}"))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Tls { config: Arc::new(config), name })
    }

    fn client(&self) -> io::Result<rustls::ClientConnection> {
        rustls::ClientConnection::new(self.config.clone(), self.name.clone()).map_err(io::Error::other)
    }
}

/// A suite's name in rustls, from OpenSSL's (`ECDHE-RSA-AES128-GCM-SHA256`) or the standard's (`TLS_AES_128_GCM_SHA256`).
fn suite_name(name: &str) -> String {
    let name = name.trim();
    if let Some(standard) = name.strip_prefix("TLS_") {
        return match standard.starts_with("ECDHE") {
            true => name.to_owned(),
            false => format!("TLS13_{standard}"),
        };
    }
    let name = name.replace("AES128", "AES_128").replace("AES256", "AES_256").replace('-', "_");
    let name = name.replace("ECDSA_", "ECDSA_WITH_").replace("RSA_", "RSA_WITH_");
    if name.ends_with("CHACHA20_POLY1305") { format!("TLS_{name}_SHA256") } else { format!("TLS_{name}") }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect())
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn authorities(settings: &TlsSettings) -> Result<rustls::RootCertStore, String> {
    let mut store = rustls::RootCertStore::empty();
    let mut add = |path: &Path| -> Result<(), String> {
        for certificate in certificates(path)? {
            store.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    };
    if let Some(file) = &settings.authorities_file {
        add(file)?;
    }
    if let Some(directory) = &settings.authorities_directory {
        let failed = |error: io::Error| format!("{}: {error}", directory.display());
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_file() {
                add(&path)?;
            }
        }
    }
    if settings.authorities_file.is_none() && settings.authorities_directory.is_none() {
        // Some of a system's certificates are often too odd for rustls; the others do.
        for certificate in rustls_native_certs::load_native_certs().certs {
            let _ = store.add(certificate);
        }
    }
    Ok(store)
}

/// `--insecure`.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_known_by_openssls_names() {
        let known: Vec<String> = rustls::crypto::ring::default_provider()
            .cipher_suites
            .iter()
            .map(|suite| format!("{:?}", suite.suite()))
            .collect();
        for name in [
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-CHACHA20-POLY1305",
            "TLS_AES_128_GCM_SHA256",
            "TLS_CHACHA20_POLY1305_SHA256",
        ] {
            assert!(known.contains(&suite_name(name)), "{name} became {}", suite_name(name));
        }
    }
}

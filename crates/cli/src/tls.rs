//! `--tls`: which authorities are trusted, and who we are.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};

use crate::options::Tls;

/// Shakes hands over a connection that is open. A server that does not speak TLS says nothing, which only the timeout ends.
pub fn start(
    mut tcp: TcpStream,
    options: &Tls,
    host: &str,
    timeout: Option<Duration>,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = options.sni.as_deref().unwrap_or(host).to_string();
    let name = ServerName::try_from(name).map_err(|_| io::Error::other("the host is no name that TLS can check"))?;
    let config = configure(options)?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    // Now, so that a refusal is an error of connecting.
    tcp.set_read_timeout(timeout)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp).map_err(in_words)?;
    }
    tcp.set_read_timeout(None)?;
    Ok(StreamOwned::new(connection, tcp))
}

/// A read that has taken too long is called "temporarily unavailable" by the system.
fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => io::Error::other("the server does not answer to TLS"),
        _ => error,
    }
}

fn configure(options: &Tls) -> io::Result<ClientConfig> {
    let provider = Arc::new(choose_suites(options)?);
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = if options.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
    } else {
        builder.with_root_certificates(trusted(options)?)
    };
    match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| naming(key, error))?;
            builder.with_client_auth_cert(chain, key).map_err(io::Error::other)
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(io::Error::other("--cert and --key belong together: give both or neither")),
    }
}

fn trusted(options: &Tls) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let mut add = |certificate| store.add(certificate).map_err(io::Error::other);
    if let Some(file) = &options.authority_file {
        certificates(file)?.into_iter().try_for_each(&mut add)?;
    }
    if let Some(folder) = &options.authority_folder {
        for entry in fs::read_dir(folder).map_err(|error| naming(folder, error))? {
            let path = entry?.path();
            if path.is_file() {
                certificates(&path)?.into_iter().try_for_each(&mut add)?;
            }
        }
    }
    if options.authority_file.is_none() && options.authority_folder.is_none() {
        // The system's collection may hold certificates that are refused today; the others count.
        for certificate in rustls_native_certs::load_native_certs().certs {
            let _ = store.add(certificate);
        }
    }
    Ok(store)
}

fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| naming(file, error))?;
    certificates.collect::<Result<_, _>>().map_err(|error| naming(file, error))
}

fn naming(file: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}

/// Keeps the suites that were named, in their order. Names of TLS 1.3 are the standard's (`TLS_AES_128_GCM_SHA256`), those before are
/// OpenSSL's (`ECDHE-RSA-AES128-GCM-SHA256`).
fn choose_suites(options: &Tls) -> io::Result<CryptoProvider> {
    let mut provider = ring::default_provider();
    let all = provider.cipher_suites.clone();
    let plain = |name: &str| name.replace(['-', '_'], "").to_ascii_uppercase();
    let standard = |suite: &rustls::SupportedCipherSuite| {
        let name = format!("{:?}", suite.suite());
        plain(name.trim_start_matches("TLS13_").trim_start_matches("TLS_")).replace("WITH", "")
    };
    for (wanted, of_tls13) in [(&options.ciphers, false), (&options.cipher_suites, true)] {
        let Some(wanted) = wanted else { continue };
        let mut chosen: Vec<rustls::SupportedCipherSuite> = Vec::new();
        for name in wanted.split(':') {
            let name = plain(name.trim_start_matches("TLS_"));
            chosen.extend(all.iter().filter(|suite| suite.tls13().is_some() == of_tls13 && standard(suite) == name));
        }
        if chosen.is_empty() {
            let known: Vec<String> = all.iter().map(|suite| format!("{:?}", suite.suite())).collect();
            return Err(io::Error::other(format!("no known cipher in '{wanted}'; there are {}", known.join(", "))));
        }
        provider.cipher_suites.retain(|suite| suite.tls13().is_some() != of_tls13);
        provider.cipher_suites.extend(chosen);
    }
    Ok(provider)
}

/// `--insecure`: whoever answers is believed. The handshake's signatures are checked all the same.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

//! What handshakes go by: from the directives to certificates, keys, authorities, versions and ciphers.
//!
//! Terms are made all or nothing. What is wrong is said with the directive and the file, so that nobody has to guess which of five
//! files is meant.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::{Config, TlsAuthClients, TlsAuthClientsUser, directives};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};

use super::certificate::{self, Brief};
use super::tickets::Tickets;
use super::{ciphers, keys};
use crate::operation::log::system_text;

/// The directives that terms are made of. Naming one of them in CONFIG SET reads all files again, also if its value stays.
pub const DIRECTIVES: [config::DirectiveId; 19] = [
    directives::TLS_CERT_FILE.id(),
    directives::TLS_KEY_FILE.id(),
    directives::TLS_KEY_FILE_PASS.id(),
    directives::TLS_CLIENT_CERT_FILE.id(),
    directives::TLS_CLIENT_KEY_FILE.id(),
    directives::TLS_CLIENT_KEY_FILE_PASS.id(),
    directives::TLS_DH_PARAMS_FILE.id(),
    directives::TLS_CA_CERT_FILE.id(),
    directives::TLS_CA_CERT_DIR.id(),
    directives::TLS_AUTH_CLIENTS.id(),
    directives::TLS_AUTH_CLIENTS_USER.id(),
    directives::TLS_AUTO_RELOAD_INTERVAL.id(),
    directives::TLS_PROTOCOLS.id(),
    directives::TLS_CIPHERS.id(),
    directives::TLS_CIPHERSUITES.id(),
    directives::TLS_PREFER_SERVER_CIPHERS.id(),
    directives::TLS_SESSION_CACHING.id(),
    directives::TLS_SESSION_CACHE_SIZE.id(),
    directives::TLS_SESSION_CACHE_TIMEOUT.id(),
];

/// Their values, taken out of the configuration so that files can be looked at again where nobody holds it.
#[derive(Clone)]
pub struct TlsDirectives {
    server: Identity,
    client: Identity,
    dh_params_file: Option<PathBuf>,
    authorities_file: Option<PathBuf>,
    authorities_folder: Option<PathBuf>,
    auth_clients: TlsAuthClients,
    user_field: TlsAuthClientsUser,
    reload_seconds: u64,
    protocols: String,
    ciphers: String,
    cipher_suites: String,
    prefers_own_order: bool,
    ticket_seconds: u32,
}

/// A certificate and its key, by the names of their directives.
#[derive(Clone)]
struct Identity {
    certificate_directive: &'static str,
    key_directive: &'static str,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    password: Vec<u8>,
}

/// What the handshakes of new connections go by.
pub struct Terms {
    pub config: Arc<ServerConfig>,
    pub server_certificate: Option<Brief>,
    pub client_certificate: Option<Brief>,
    /// The one among the authorities that ends first.
    pub authority: Option<Brief>,
    directives: TlsDirectives,
    stamps: Vec<Stamp>,
}

/// A file as it was before it was read.
#[derive(PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    /// Device, inode, size, change in seconds and nanoseconds; `None` while it does not exist.
    state: Option<(u64, u64, u64, i64, i64)>,
}

impl Stamp {
    fn of(path: &Path) -> Stamp {
        let state = std::fs::metadata(path)
            .ok()
            .map(|meta| (meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()));
        Stamp { path: path.to_owned(), state }
    }
}

impl TlsDirectives {
    pub fn of(config: &Config) -> TlsDirectives {
        let path = |directive| config.path(directive).map(Path::to_owned);
        let caches = config.get(directives::TLS_SESSION_CACHING);
        TlsDirectives {
            server: Identity {
                certificate_directive: "tls-cert-file",
                key_directive: "tls-key-file",
                certificate: path(directives::TLS_CERT_FILE),
                key: path(directives::TLS_KEY_FILE),
                password: config.get(directives::TLS_KEY_FILE_PASS).to_vec(),
            },
            client: Identity {
                certificate_directive: "tls-client-cert-file",
                key_directive: "tls-client-key-file",
                certificate: path(directives::TLS_CLIENT_CERT_FILE),
                key: path(directives::TLS_CLIENT_KEY_FILE),
                password: config.get(directives::TLS_CLIENT_KEY_FILE_PASS).to_vec(),
            },
            dh_params_file: path(directives::TLS_DH_PARAMS_FILE),
            authorities_file: path(directives::TLS_CA_CERT_FILE),
            authorities_folder: path(directives::TLS_CA_CERT_DIR),
            auth_clients: config.get(directives::TLS_AUTH_CLIENTS),
            user_field: config.get(directives::TLS_AUTH_CLIENTS_USER),
            reload_seconds: config.get(directives::TLS_AUTO_RELOAD_INTERVAL) as u64,
            protocols: config.text(directives::TLS_PROTOCOLS).into_owned(),
            ciphers: config.text(directives::TLS_CIPHERS).into_owned(),
            cipher_suites: config.text(directives::TLS_CIPHERSUITES).into_owned(),
            prefers_own_order: config.get(directives::TLS_PREFER_SERVER_CIPHERS),
            ticket_seconds: if caches { config.get(directives::TLS_SESSION_CACHE_TIMEOUT) as u32 } else { 0 },
        }
    }

    /// Reads the files.
    ///
    /// # Errors
    /// The directive, the file, and what is wrong.
    pub fn load(&self) -> Result<Terms, String> {
        // Before they are read: what changes meanwhile is seen the next time.
        let stamps = self.files()?.iter().map(|path| Stamp::of(path)).collect();
        let provider = Arc::new(self.provider()?);
        let server = self.server.load(&provider)?.ok_or("tls-cert-file names no certificate")?;
        let client = self.client.load(&provider)?;
        let authorities = self.authorities()?;
        if let Some(file) = &self.dh_params_file {
            // Keys are exchanged over elliptic curves only, so the parameters are of no use; a path that is wrong is still a mistake.
            std::fs::metadata(file)
                .map_err(|error| format!("tls-dh-params-file '{}': {}", file.display(), system_text(&error)))?;
        }
        let server_certificate = server.cert.first().and_then(Brief::of);
        let authority = Brief::of_first_to_expire(&authorities);
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.versions()?)
            .map_err(|error| format!("tls-protocols and the ciphers do not go together: {error}"))?;
        let builder = match self.auth_clients {
            TlsAuthClients::No => builder.with_no_client_auth(),
            asked => {
                if authorities.is_empty() {
                    return Err(
                        "tls-auth-clients asks for certificates, and neither tls-ca-cert-file nor tls-ca-cert-dir says whose"
                            .to_owned(),
                    );
                }
                let mut roots = RootCertStore::empty();
                for authority in &authorities {
                    roots
                        .add(authority.clone())
                        .map_err(|error| format!("a certificate of tls-ca-cert-file: {error}"))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier =
                    if asked == TlsAuthClients::Optional { verifier.allow_unauthenticated() } else { verifier };
                builder
                    .with_client_cert_verifier(verifier.build().map_err(|error| format!("tls-ca-cert-file: {error}"))?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(server)));
        config.ignore_client_order = self.prefers_own_order;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if self.ticket_seconds > 0 {
            config.ticketer = Arc::new(Tickets::new(self.ticket_seconds).map_err(|error| error.to_string())?);
        } else {
            config.send_tls13_tickets = 0;
        }
        Ok(Terms {
            config: Arc::new(config),
            server_certificate,
            client_certificate: client.and_then(|client| client.cert.first().and_then(Brief::of)),
            authority,
            directives: self.clone(),
            stamps,
        })
    }

    /// What connections to other servers go by: whose certificates are believed, and ours, which is that of clients where there is one.
    ///
    /// # Errors
    /// The directive, the file, and what is wrong.
    pub fn load_outgoing(&self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(self.provider()?);
        let mut roots = RootCertStore::empty();
        for authority in self.authorities()? {
            roots.add(authority).map_err(|error| format!("a certificate of tls-ca-cert-file: {error}"))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let verifier = verifier.build().map_err(|error| {
            format!("neither tls-ca-cert-file nor tls-ca-cert-dir says whose certificates to believe: {error}")
        })?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.versions()?)
            .map_err(|error| format!("tls-protocols and the ciphers do not go together: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Vouched(verifier)));
        let identity = match self.client.load(&provider)? {
            Some(identity) => Some(identity),
            None => self.server.load(&provider)?,
        };
        Ok(Arc::new(match identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))),
            None => builder.with_no_client_auth(),
        }))
    }

    /// Every file that is read.
    fn files(&self) -> Result<Vec<PathBuf>, String> {
        let single = [
            &self.server.certificate,
            &self.server.key,
            &self.client.certificate,
            &self.client.key,
            &self.authorities_file,
            // A file more or less in it.
            &self.authorities_folder,
        ];
        let mut files: Vec<PathBuf> = single.into_iter().flatten().cloned().collect();
        files.extend(self.files_in_folder()?);
        Ok(files)
    }

    fn files_in_folder(&self) -> Result<Vec<PathBuf>, String> {
        let Some(folder) = &self.authorities_folder else {
            return Ok(Vec::new());
        };
        let failed = |error| format!("tls-ca-cert-dir '{}': {}", folder.display(), system_text(&error));
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// The certificates whose owners are trusted to vouch for clients.
    fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let mut authorities = Vec::new();
        if let Some(file) = &self.authorities_file {
            let read = keys::certificates(file);
            authorities = read.map_err(|reason| format!("tls-ca-cert-file '{}': {reason}", file.display()))?;
        }
        // A folder of certificates may hold other things too.
        for file in self.files_in_folder()? {
            authorities.extend(keys::certificates(&file).unwrap_or_default());
        }
        if let Some(folder) = self.authorities_folder.as_ref().filter(|_| authorities.is_empty()) {
            return Err(format!("tls-ca-cert-dir '{}': no certificate (PEM) in any of its files", folder.display()));
        }
        // Folders that OpenSSL's tools have prepared name each file twice.
        authorities.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
        authorities.dedup();
        Ok(authorities)
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
        let mut versions = Vec::new();
        let mut is_empty = true;
        for word in self.protocols.split_ascii_whitespace() {
            is_empty = false;
            match word.to_ascii_lowercase().as_str() {
                "tlsv1.3" => versions.push(&TLS13),
                "tlsv1.2" => versions.push(&TLS12),
                // Broken for years, and not part of rustls. Files that still name them beside today's load.
                "tlsv1" | "tlsv1.1" => {}
                _ => return Err(format!("tls-protocols: '{word}' is none of TLSv1.2 and TLSv1.3")),
            }
        }
        match (is_empty, versions.is_empty()) {
            (true, _) => Ok(vec![&TLS13, &TLS12]),
            (false, true) => Err("tls-protocols: only TLSv1.2 and TLSv1.3 are spoken here".to_owned()),
            (false, false) => Ok(versions),
        }
    }

    fn provider(&self) -> Result<CryptoProvider, String> {
        let versions = self.versions()?;
        let mut cipher_suites = Vec::new();
        for version in [&TLS13, &TLS12] {
            if !versions.contains(&version) {
                continue;
            }
            let (directive, list, suites) = match version.version {
                rustls::ProtocolVersion::TLSv1_3 => {
                    ("tls-ciphersuites", &self.cipher_suites, ciphers::of_tls13(&self.cipher_suites))
                }
                _ => ("tls-ciphers", &self.ciphers, ciphers::of_tls12(&self.ciphers)),
            };
            if suites.is_empty() {
                return Err(format!("{directive}: nothing of '{list}' is among the ciphers spoken here"));
            }
            cipher_suites.extend(suites);
        }
        Ok(CryptoProvider { cipher_suites, ..rustls::crypto::ring::default_provider() })
    }
}

/// Whoever an authority of ours has vouched for, under whatever name: as in Redis, primaries are named by addresses that move.
#[derive(Debug)]
struct Vouched(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Vouched {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl Identity {
    /// The certificate and its key, if there is to be one.
    fn load(&self, provider: &CryptoProvider) -> Result<Option<CertifiedKey>, String> {
        let (certificate, key) = match (&self.certificate, &self.key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return Err(format!("{} has no {}", self.certificate_directive, self.key_directive)),
            (None, Some(_)) => return Err(format!("{} has no {}", self.key_directive, self.certificate_directive)),
        };
        let at_certificate = |reason| format!("{} '{}': {reason}", self.certificate_directive, certificate.display());
        let at_key = |reason| format!("{} '{}': {reason}", self.key_directive, key.display());
        let chain = keys::certificates(certificate).map_err(at_certificate)?;
        let private_key = keys::private_key(key, &self.password).map_err(at_key)?;
        CertifiedKey::from_der(chain, private_key, provider).map(Some).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                at_key(format!("it is not the key of {}", self.certificate_directive))
            }
            rustls::Error::InvalidCertificate(_) => at_certificate(error.to_string()),
            error => at_key(error.to_string()),
        })
    }
}

impl Terms {
    /// How often the files are looked at.
    pub fn reload_interval(&self) -> Option<Duration> {
        let seconds = self.directives.reload_seconds;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// Whether any file is not the one that was read.
    pub fn files_have_changed(&self) -> bool {
        // A folder that cannot be read has changed.
        let now = self.directives.files().map(|files| files.iter().map(|path| Stamp::of(path)).collect::<Vec<_>>());
        !now.is_ok_and(|now| now == self.stamps)
    }

    /// The same directives with today's files.
    ///
    /// # Errors
    /// As [`TlsDirectives::load`].
    pub fn reload(&self) -> Result<Terms, String> {
        self.directives.load()
    }

    /// The users that a client's certificate names, best first.
    pub fn users_of(&self, certificate: &CertificateDer<'_>) -> Vec<String> {
        match self.directives.user_field {
            TlsAuthClientsUser::Off => Vec::new(),
            TlsAuthClientsUser::Cn => certificate::common_name(certificate).into_iter().collect(),
            TlsAuthClientsUser::Uri => certificate::uris(certificate),
        }
    }
}

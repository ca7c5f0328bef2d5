//! Encrypted connections.

#[allow(unused_imports)]
use super::bounds::*;
use crate::choices::{Choice, TlsAuthClients, TlsAuthClientsUser};
use crate::directive::{Directive, Key, Kind, row, rows};

rows! { super::cluster::END;
    /// Port for TLS; 0 means none.
    TLS_PORT: i64 = row("tls-port", PORT_NUMBER, "0");
    /// File of the server's certificate.
    TLS_CERT_FILE: [u8] = row("tls-cert-file", Kind::Text, "");
    /// File of its private key.
    TLS_KEY_FILE: [u8] = row("tls-key-file", Kind::Text, "");
    /// Password of that key.
    TLS_KEY_FILE_PASS: [u8] = row("tls-key-file-pass", Kind::Text, "").secret();
    /// File of the certificate for outgoing connections.
    TLS_CLIENT_CERT_FILE: [u8] = row("tls-client-cert-file", Kind::Text, "");
    /// File of its private key.
    TLS_CLIENT_KEY_FILE: [u8] = row("tls-client-key-file", Kind::Text, "");
    /// Password of that key.
    TLS_CLIENT_KEY_FILE_PASS: [u8] = row("tls-client-key-file-pass", Kind::Text, "").secret();
    /// File of Diffie-Hellman parameters.
    TLS_DH_PARAMS_FILE: [u8] = row("tls-dh-params-file", Kind::Text, "").no_effect("keys are exchanged over elliptic curves, never by the older Diffie-Hellman");
    /// File of the trusted authorities.
    TLS_CA_CERT_FILE: [u8] = row("tls-ca-cert-file", Kind::Text, "");
    /// Folder of the trusted authorities.
    TLS_CA_CERT_DIR: [u8] = row("tls-ca-cert-dir", Kind::Text, "");
    /// Whether clients must show a certificate.
    TLS_AUTH_CLIENTS: TlsAuthClients = row("tls-auth-clients", Kind::Choice(TlsAuthClients::NAMES), "yes");
    /// Which field of a client's certificate names its user.
    TLS_AUTH_CLIENTS_USER: TlsAuthClientsUser = row("tls-auth-clients-user", Kind::Choice(TlsAuthClientsUser::NAMES), "off").valkey();
    /// Seconds between two looks for renewed certificates; 0 means never.
    TLS_AUTO_RELOAD_INTERVAL: i64 = row("tls-auto-reload-interval", COUNT_I32, "0").valkey();
    /// Whether the connection to the primary is encrypted.
    TLS_REPLICATION: bool = row("tls-replication", Kind::Bool, "no");
    /// Whether the cluster bus is encrypted.
    TLS_CLUSTER: bool = row("tls-cluster", Kind::Bool, "no").later("cluster");
    /// Versions of the protocol that are spoken.
    TLS_PROTOCOLS: [u8] = row("tls-protocols", Kind::Text, "");
    /// Ciphers up to TLS 1.2.
    TLS_CIPHERS: [u8] = row("tls-ciphers", Kind::Text, "");
    /// Ciphers of TLS 1.3.
    TLS_CIPHERSUITES: [u8] = row("tls-ciphersuites", Kind::Text, "");
    /// Whether the server's order of ciphers decides.
    TLS_PREFER_SERVER_CIPHERS: bool = row("tls-prefer-server-ciphers", Kind::Bool, "no");
    /// Whether sessions can be taken up again.
    TLS_SESSION_CACHING: bool = row("tls-session-caching", Kind::Bool, "yes");
    /// Sessions that are kept; 0 means any number.
    TLS_SESSION_CACHE_SIZE: i64 = row("tls-session-cache-size", COUNT_I32, "20480").no_effect("sessions are kept by the clients, as tickets");
    /// Seconds a session is kept.
    TLS_SESSION_CACHE_TIMEOUT: i64 = row("tls-session-cache-timeout", COUNT_I32, "300");
}

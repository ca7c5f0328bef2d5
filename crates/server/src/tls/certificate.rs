//! What a certificate says beyond what a handshake asks of it: its number, its end, whom it names.

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// `id-at-commonName`, X.520.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What INFO shows of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// In hexadecimal, as OpenSSL prints it.
    pub serial: String,
    /// In seconds since 1970.
    pub expires_at_seconds: i64,
}

impl Brief {
    /// `None` where it cannot be parsed, which a handshake might still forgive.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Brief> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let certificate = certificate.tbs_certificate();
        // A zero in front only keeps the number positive.
        let digits = certificate.serial_number().as_bytes();
        let digits = digits.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(digits);
        Some(Brief {
            serial: digits.iter().map(|digit| format!("{digit:02X}")).collect(),
            expires_at_seconds: certificate.validity().not_after.to_unix_duration().as_secs() as i64,
        })
    }

    /// The one among them that ends first.
    pub fn of_first_to_expire<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> Option<Brief> {
        certificates.into_iter().filter_map(Brief::of).min_by_key(|brief| brief.expires_at_seconds)
    }
}

/// The last common name of its subject: the most specific, which is the one that OpenSSL's tools take too.
pub fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let subject = certificate.tbs_certificate().subject();
    let name = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME).last()?;
    text(name.value.value())
}

/// The URIs among its alternative names.
pub fn uris(certificate: &CertificateDer<'_>) -> Vec<String> {
    let names = Certificate::from_der(certificate)
        .ok()
        .and_then(|certificate| certificate.tbs_certificate().get_extension::<SubjectAltName>().ok().flatten());
    let names = names.map(|(_, names)| names.0).unwrap_or_default();
    let uri = |name| match name {
        GeneralName::UniformResourceIdentifier(uri) => text(uri.as_bytes()),
        _ => None,
    };
    names.into_iter().filter_map(uri).collect()
}

/// A name with a zero byte in it is an attempt at being taken for another.
fn text(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty() && !bytes.contains(&0)).then(|| String::from_utf8(bytes.to_vec()).ok()).flatten()
}

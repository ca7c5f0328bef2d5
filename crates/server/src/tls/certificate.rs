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

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// Made by `openssl x509 -req -set_serial 0x8a01` of the subject `/O=x/CN=first/CN=alice`.
    const ALICE: &[u8] = b"\
-----BEGIN CERTIFICATE-----
MIIBoDCCAUegAwIBAgIDAIoBMAoGCCqGSM49BAMCMCwxCjAIBgNVBAoMAXgxDjAM
BgNVBAMMBWZpcnN0MQ4wDAYDVQQDDAVhbGljZTAeFw0yNjExMjIxNDExNTlaFw0z
NjExMTkxNDExNTlaMCwxCjAIBgNVBAoMAXgxDjAMBgNVBAMMBWZpcnN0MQ4wDAYD
VQQDDAVhbGljZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABBA2P08kEhiLoGJw
ppGtAmGDqOV7sEXaEIz1GxWuMgA3zVfte2NKvTGgsTKawYkVWqJ1OV/MOSiVkJEE
DOenggGjWDBWMDUGA1UdEQQuMCyCCXguZXhhbXBsZYYOdXJuOnVzZXI6YWxpY2WG
D3Vybjp1c2VyOnNlY29uZDAdBgNVHQ4EFgQU43DaVh4Cs1KT5BFO7Md+AEQ3nJ8w
CgYIKoZIzj0EAwIDRwAwRAIgIQ08WYENjcJ8SZc319EWwn03tFgMg6x6JsorW2Nq
cC8CIHZ5vfAto7QPXtEz8yad+tSd0gMQG4C9IDpJ1XGGIKsR
-----END CERTIFICATE-----";

    #[test]
    fn what_a_certificate_says() {
        let alice = CertificateDer::from_pem_slice(ALICE).expect("a certificate");
        assert_eq!(common_name(&alice).as_deref(), Some("alice"));
        assert_eq!(uris(&alice), ["urn:user:alice", "urn:user:second"]);
        let brief = Brief { serial: "8A01".to_owned(), expires_at_seconds: 2110716719 };
        assert_eq!(Brief::of(&alice), Some(brief.clone()));
        let nonsense = CertificateDer::from_slice(b"nonsense");
        assert_eq!(Brief::of(&nonsense), None);
        assert_eq!(common_name(&nonsense), None);
        assert_eq!(Brief::of_first_to_expire([&nonsense, &alice]), Some(brief));
    }

    #[test]
    fn names_are_not_cut_at_a_zero() {
        assert_eq!(text(b"alice"), Some("alice".to_owned()));
        assert_eq!(text(b"admin\0.example"), None);
        assert_eq!(text(b"\xff"), None);
        assert_eq!(text(b""), None);
    }
}

//! Certificates and private keys out of PEM files.

use std::path::Path;

use pkcs8::der::SecretDocument;
use pkcs8::{EncryptedPrivateKeyInfoRef, der::pem::PemLabel};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::operation::log::system_text;

/// The file as it is.
///
/// # Errors
/// What the system says, without the file's name.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| system_text(&error))
}

/// Every certificate of a file, at least one.
///
/// # Errors
/// Why there is none, without the file's name.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("no certificate (PEM) in it".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(in_words(&error)),
    }
}

/// The private key of a file, decrypted with `password` if it has to be.
///
/// # Errors
/// Why there is none, without the file's name. The password is no part of it.
pub fn private_key(path: &Path, password: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read(path)?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => return Ok(key),
        Err(pem::Error::NoItemsFound) => {}
        Err(_) if has_old_encryption(&bytes) => {}
        Err(error) => return Err(in_words(&error)),
    }
    let Some(text) = encrypted_section(&bytes) else {
        return Err(match has_old_encryption(&bytes) {
            true => "its encryption is OpenSSL's old one; `openssl pkcs8 -topk8` writes it in today's".to_owned(),
            false => "no private key (PEM) in it".to_owned(),
        });
    };
    if password.is_empty() {
        return Err("the key is encrypted, and there is no password for it".to_owned());
    }
    let (_, document) = SecretDocument::from_pem(text).map_err(|error| format!("not a private key: {error}"))?;
    let encrypted: EncryptedPrivateKeyInfoRef<'_> =
        document.decode_msg().map_err(|error| format!("not a private key: {error}"))?;
    // A wrong password shows as padding that is none, or as something that is no key.
    let key = encrypted.decrypt(password).map_err(|_| {
        "it cannot be decrypted: the password is wrong, or it is not encrypted by PBES2 with PBKDF2 or scrypt, and AES".to_owned()
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// From the first line of an encrypted key to its last.
fn encrypted_section(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let label = EncryptedPrivateKeyInfoRef::PEM_LABEL;
    let begin = text.find(&format!("-----BEGIN {label}-----"))?;
    let last = format!("-----END {label}-----");
    let end = begin + text[begin..].find(&last)? + last.len();
    Some(&text[begin..end])
}

/// `Proc-Type: 4,ENCRYPTED`: a key whose password is stretched by one round of MD5.
fn has_old_encryption(bytes: &[u8]) -> bool {
    bytes.windows(9).any(|window| window == b"ENCRYPTED") && bytes.windows(9).any(|window| window == b"Proc-Type")
}

fn in_words(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section of it has no end".to_owned(),
        pem::Error::Base64Decode(_) => "a section of it is no base64".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same key three times: plain, under the password `secret` as PKCS #8 has it, and as OpenSSL once did.
    const PLAIN: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgo1ep7E+KpMdhXw5f
qw2JsUOtzBD1V5UymTiPEvjFTLihRANCAAQQNj9PJBIYi6BicKaRrQJhg6jle7BF
2hCM9RsVrjIAN81X7XtjSr0xoLEymsGJFVqidTlfzDkolZCRBAznp4IB
-----END PRIVATE KEY-----";
    const ENCRYPTED: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgpyDuXuejjkwICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEAVdzkvI1P/BXM3mg/yqr1cEgZCu
Bz6x3PwB0F4RaPakL9AbrRMduj6I+u1f6WXnlM33sQtbzSTCtBOE1pStnh31ve0f
SH+Xs0AYMiBO3T9lY/HjgPjhtdFY5qjEsSixfB3o/6JZM3NxApFER6JuyJcesB4W
zCwigGDS+kUpKpc/H8BT2TeoSQp9aFqqszr9hgEtKogYM6XkaY1dz0zdJI90DOE=
-----END ENCRYPTED PRIVATE KEY-----";
    const OLD: &str = "\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,D1BE77CBAF665A8A01D76C2A9FDC6087

VfryOaaVACrqEvYZRbBX5KehQwB36wP+o4q033IdFpkWrObhLmfa/7gYc209TkYt
K/Comq9kwvaXhJSCu4OV354ZXZm14cQEFXj4EfR/qkHYV+iJW9L80vof/fXc7G+e
rxz23uiIU7cvXaPVnXFKQo+kHtqiRaeLYzhxu82rMsQ=
-----END EC PRIVATE KEY-----";

    fn key(text: &str, password: &str) -> Result<PrivateKeyDer<'static>, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        private_key(file.path(), password.as_bytes())
    }

    #[test]
    fn keys_of_every_kind() {
        let plain = key(PLAIN, "").expect("a key");
        assert_eq!(key(PLAIN, "not needed").as_ref(), Ok(&plain));
        assert_eq!(key(ENCRYPTED, "secret").as_ref(), Ok(&plain));
        // Other things may stand around it.
        assert_eq!(key(&format!("Bag attributes\n{ENCRYPTED}\nmore"), "secret").as_ref(), Ok(&plain));
        assert_eq!(key(ENCRYPTED, "").unwrap_err(), "the key is encrypted, and there is no password for it");
        let wrong = key(ENCRYPTED, "wrong").unwrap_err();
        assert!(wrong.contains("the password is wrong") && !wrong.contains("secret"), "{wrong}");
        assert!(key(OLD, "secret").unwrap_err().contains("openssl pkcs8 -topk8"));
        assert_eq!(key("nonsense", "").unwrap_err(), "no private key (PEM) in it");
        for cut in 0..ENCRYPTED.len() - 30 {
            assert!(key(&ENCRYPTED[..cut], "secret").is_err());
        }
    }
}

//! Passwords, of which only the SHA-256 is kept.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::error::RuleError;

/// The SHA-256 of a password. Displayed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password([u8; 32]);

impl Password {
    /// Of the password itself.
    pub fn of(text: &[u8]) -> Password {
        Password(Sha256::digest(text).into())
    }

    /// Of its hash in lower-case hexadecimal digits, as `#` and `!` take it.
    ///
    /// # Errors
    /// `MalformedHash`.
    pub fn from_hex(text: &[u8]) -> Result<Password, RuleError> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(RuleError::MalformedHash),
        };
        let mut hash = [0; 32];
        if text.len() != 2 * hash.len() {
            return Err(RuleError::MalformedHash);
        }
        for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Password(hash))
    }

    /// Whether this password is among `known`. Takes the same time whichever it is and however much of one is right: all are compared,
    /// each whole.
    pub fn is_among(&self, known: &[Password]) -> bool {
        known.iter().fold(Choice::from(0), |found, other| found | self.0.ct_eq(&other.0)).into()
    }
}

impl fmt::Display for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A hash in a crash report or a log would be one to attack at leisure.
impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_redis() {
        let hash = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        assert_eq!(Password::of(b"x").to_string(), hash);
        assert_eq!(Password::from_hex(hash.as_bytes()), Ok(Password::of(b"x")));
        for wrong in ["", "2d", &hash[1..], &hash.to_uppercase(), &hash.replace('2', "g"), &format!("{hash}0")] {
            assert_eq!(Password::from_hex(wrong.as_bytes()), Err(RuleError::MalformedHash), "{wrong}");
        }
        assert!(Password::of(b"x").is_among(&[Password::of(b"y"), Password::of(b"x"), Password::of(b"z")]));
        assert!(!Password::of(b"X").is_among(&[Password::of(b"x")]));
        assert!(!Password::of(b"").is_among(&[]));
    }
}

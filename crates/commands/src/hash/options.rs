//! What the commands about expiring fields have in common: `FIELDS`, and how an expiry is written.

use keyspace::Millis;

use crate::error::Error;

/// Redis keeps a field's expiry in 46 bits.
const EXPIRE_AT_MAX: Millis = Millis((1 << 46) - 1);

/// How an expiry is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// In milliseconds, not seconds.
    pub milliseconds: bool,
    /// Unix time, not from now on.
    pub absolute: bool,
}

impl Form {
    pub const SECONDS: Form = Form { milliseconds: false, absolute: false };
    pub const MILLISECONDS: Form = Form { milliseconds: true, absolute: false };
    pub const UNIX_SECONDS: Form = Form { milliseconds: false, absolute: true };
    pub const UNIX_MILLISECONDS: Form = Form { milliseconds: true, absolute: true };

    /// What EX, PX, EXAT and PXAT stand for.
    pub fn of(word: &[u8]) -> Option<Form> {
        Some(match word.to_ascii_uppercase().as_slice() {
            b"EX" => Form::SECONDS,
            b"PX" => Form::MILLISECONDS,
            b"EXAT" => Form::UNIX_SECONDS,
            b"PXAT" => Form::UNIX_MILLISECONDS,
            _ => return None,
        })
    }

    /// Reads an expiry.
    ///
    /// # Errors
    /// No number, negative, or later than fields can expire.
    pub fn read(self, text: &[u8], now: Millis, command: &'static str) -> Result<Millis, Error> {
        let number = resp::number::parse_i64(text).ok_or(Error::NotInteger)?;
        if number < 0 {
            return Err(Error::text("ERR invalid expire time, must be >= 0"));
        }
        let number = if self.milliseconds { Some(number) } else { number.checked_mul(1000) };
        number
            .and_then(|number| if self.absolute { Some(number) } else { number.checked_add(now.0) })
            .map(Millis)
            .filter(|&at| at <= EXPIRE_AT_MAX)
            .ok_or(Error::InvalidExpire(command))
    }
}

/// Reads `FIELDS numfields field ...`, which is all that is left of the arguments.
///
/// # Errors
/// As Redis's, in its order; `not_positive` is the text for a number of fields that is none.
pub fn fields<'s, 'a>(args: &'s [&'a [u8]], not_positive: &'static str) -> Result<&'s [&'a [u8]], Error> {
    let [word, count, names @ ..] = args else {
        // Only HGETEX's arity lets so few arguments through.
        return Err(Error::Arity("hgetex".into()));
    };
    if !word.eq_ignore_ascii_case(b"FIELDS") {
        return Err(Error::text(NO_FIELDS));
    }
    let count = resp::number::parse_i64(count).filter(|&count| count > 0).ok_or(Error::text(not_positive))?;
    if usize::try_from(count) != Ok(names.len()) {
        return Err(Error::text("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(names)
}

const NO_FIELDS: &str = "ERR Mandatory argument FIELDS is missing or not at the right position";

/// What nearly all commands say about a number of fields that is none.
pub const NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

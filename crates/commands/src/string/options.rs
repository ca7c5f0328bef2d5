//! The options that SET, GETEX and MSETEX share: when to act, and when the key expires.

use bitflags::bitflags;
use keyspace::{Expiry, Millis};

use crate::error::Error;

bitflags! {
    /// The words that a command takes besides EX, PX, EXAT and PXAT.
    #[derive(Clone, Copy)]
    pub struct Words: u8 {
        const NX_XX = 1 << 0;
        const IFEQ = 1 << 1;
        const GET = 1 << 2;
        const KEEPTTL = 1 << 3;
        const PERSIST = 1 << 4;
    }
}

/// What must be true for the command to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition<'a> {
    /// NX: the key does not exist.
    Absent,
    /// XX: the key exists.
    Present,
    /// IFEQ: the key holds this string.
    Equals(&'a [u8]),
}

/// How an expiry is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// EX: seconds from now.
    Seconds,
    /// PX: milliseconds from now.
    Milliseconds,
    /// EXAT: Unix time in seconds.
    UnixSeconds,
    /// PXAT: Unix time in milliseconds.
    UnixMilliseconds,
}

/// What the client wants to happen to the expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish<'a> {
    Keep,
    Persist,
    /// The number is read only once all options are known to be good: a wrong word behind it is reported first.
    At(Form, &'a [u8]),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    pub condition: Option<Condition<'a>>,
    pub get: bool,
    pub wish: Option<Wish<'a>>,
}

impl<'a> Options<'a> {
    /// Reads options in any order. A word may be repeated (the last number counts), but not contradicted.
    ///
    /// # Errors
    /// `Syntax`.
    pub fn parse(args: &[&'a [u8]], allowed: Words) -> Result<Options<'a>, Error> {
        let mut options = Options::default();
        let mut args = args.iter().copied();
        while let Some(word) = args.next() {
            let is = |text: &str| word.eq_ignore_ascii_case(text.as_bytes());
            let may = |words: Words| allowed.contains(words);
            let form = match () {
                () if is("EX") => Form::Seconds,
                () if is("PX") => Form::Milliseconds,
                () if is("EXAT") => Form::UnixSeconds,
                () if is("PXAT") => Form::UnixMilliseconds,
                () if is("NX") && may(Words::NX_XX) => {
                    options.require(Condition::Absent)?;
                    continue;
                }
                () if is("XX") && may(Words::NX_XX) => {
                    options.require(Condition::Present)?;
                    continue;
                }
                () if is("IFEQ") && may(Words::IFEQ) => {
                    options.require(Condition::Equals(args.next().ok_or(Error::Syntax)?))?;
                    continue;
                }
                () if is("GET") && may(Words::GET) => {
                    options.get = true;
                    continue;
                }
                () if is("KEEPTTL") && may(Words::KEEPTTL) => {
                    options.wish(Wish::Keep)?;
                    continue;
                }
                () if is("PERSIST") && may(Words::PERSIST) => {
                    options.wish(Wish::Persist)?;
                    continue;
                }
                () => return Err(Error::Syntax),
            };
            options.wish(Wish::At(form, args.next().ok_or(Error::Syntax)?))?;
        }
        Ok(options)
    }

    fn require(&mut self, condition: Condition<'a>) -> Result<(), Error> {
        match self.condition.replace(condition) {
            None => Ok(()),
            // IFEQ, unlike the words without a value, may stand only once (Valkey 9.1).
            Some(before) if before == condition && !matches!(condition, Condition::Equals(_)) => Ok(()),
            Some(_) => Err(Error::Syntax),
        }
    }

    fn wish(&mut self, wish: Wish<'a>) -> Result<(), Error> {
        match (self.wish.replace(wish), wish) {
            (None, _) | (Some(Wish::Keep), Wish::Keep) | (Some(Wish::Persist), Wish::Persist) => Ok(()),
            (Some(Wish::At(before, _)), Wish::At(form, _)) if before == form => Ok(()),
            _ => Err(Error::Syntax),
        }
    }

    /// The expiry of a key that these options set. `command` is named in errors.
    ///
    /// # Errors
    /// `NotInteger`, `InvalidExpire`.
    pub fn expiry(&self, command: &'static str, now: Millis) -> Result<Expiry, Error> {
        match self.wish {
            None | Some(Wish::Persist) => Ok(Expiry::Clear),
            Some(Wish::Keep) => Ok(Expiry::Keep),
            Some(Wish::At(form, text)) => Ok(Expiry::At(instant(form, text, command, now)?)),
        }
    }
}

/// The instant that a number of this form means. It may lie in the past where the form is absolute.
///
/// # Errors
/// `NotInteger`, and `InvalidExpire` for what is not above zero or leaves the range of milliseconds.
pub fn instant(form: Form, text: &[u8], command: &'static str, now: Millis) -> Result<Millis, Error> {
    let number = resp::number::parse_i64(text).ok_or(Error::NotInteger)?;
    let milliseconds = match form {
        Form::Seconds | Form::UnixSeconds => number.checked_mul(1000),
        Form::Milliseconds | Form::UnixMilliseconds => Some(number),
    };
    let base = match form {
        Form::Seconds | Form::Milliseconds => now.0,
        Form::UnixSeconds | Form::UnixMilliseconds => 0,
    };
    milliseconds
        .filter(|&milliseconds| milliseconds > 0)
        .and_then(|milliseconds| base.checked_add(milliseconds))
        .map(Millis)
        .ok_or(Error::InvalidExpire(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_000_000);

    fn parse(line: &'static str) -> Result<Options<'static>, Error> {
        let args: Vec<&[u8]> = line.split_ascii_whitespace().map(str::as_bytes).collect();
        Options::parse(&args, Words::all())
    }

    #[test]
    fn repeated_words_are_fine_and_contradictions_are_not() {
        for line in ["NX nx", "XX XX", "GET GET", "KEEPTTL KEEPTTL", "PERSIST PERSIST", "EX 1 EX 2", "IFEQ IFEQ"] {
            assert!(parse(line).is_ok(), "{line}");
        }
        for line in [
            "NX XX",
            "NX IFEQ 1",
            "IFEQ 1 IFEQ 1",
            "IFEQ",
            "EX",
            "EX 1 PX",
            "EX 1 PX 1",
            "EX 1 KEEPTTL",
            "KEEPTTL EX 1",
            "PERSIST KEEPTTL",
            "EX 1 EXAT 1",
            "FOO",
            "",
        ] {
            assert_eq!(parse(line).is_err(), !line.is_empty(), "{line}");
        }
        assert_eq!(parse("EX 1 ex 2").unwrap().wish, Some(Wish::At(Form::Seconds, b"2")));
    }

    #[test]
    fn words_that_a_command_does_not_take() {
        let args: &[&[u8]] = &[b"KEEPTTL"];
        assert_eq!(Options::parse(args, Words::PERSIST), Err(Error::Syntax));
        let args: &[&[u8]] = &[b"GET"];
        assert_eq!(Options::parse(args, Words::NX_XX | Words::KEEPTTL), Err(Error::Syntax));
    }

    #[test]
    fn the_range_of_instants() {
        let at = |form, text: &str| instant(form, text.as_bytes(), "set", NOW);
        assert_eq!(at(Form::Seconds, "5"), Ok(Millis(1_005_000)));
        assert_eq!(at(Form::Milliseconds, "5"), Ok(Millis(1_000_005)));
        assert_eq!(at(Form::UnixSeconds, "1"), Ok(Millis(1000)));
        assert_eq!(at(Form::UnixSeconds, "9223372036854775"), Ok(Millis(9_223_372_036_854_775_000)));
        assert_eq!(at(Form::UnixMilliseconds, "9223372036854775807"), Ok(Millis(i64::MAX)));
        for (form, text) in [
            (Form::Seconds, "0"),
            (Form::Seconds, "-1"),
            (Form::UnixSeconds, "-1"),
            (Form::UnixSeconds, "9223372036854776"),
            (Form::Seconds, "9223372036854775"),
            (Form::Milliseconds, "9223372036854775807"),
        ] {
            assert_eq!(at(form, text), Err(Error::InvalidExpire("set")), "{form:?} {text}");
        }
        for text in ["", "x", "1.5", "+1", "01", " 1", "9223372036854775808"] {
            assert_eq!(at(Form::Seconds, text), Err(Error::NotInteger), "{text}");
        }
    }
}

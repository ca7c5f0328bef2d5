//! `SCAN`.

use keyspace::Cursor;

use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "scan",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW),
    since: "2.8.0",
    summary: "Walks over the names of the keys, a few at a time.",
    complexity: "O(1) a call, O(N) until the cursor is back at 0, N being the number of keys",
    history: &[("6.0.0", "Option `TYPE`.")],
    tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
    args: &[
        Arg::integer("cursor"),
        Arg::pattern("pattern").token("MATCH").optional(),
        Arg::integer("count").token("COUNT").optional(),
        Arg::string("type").token("TYPE").since("6.0.0").optional(),
    ],
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let cursor = cursor(cx.args[1])?;
    let options = Options::parse(&cx.args[2..], Walk::Keyspace)?;
    let (index, now, see_expired) = (cx.db.index, cx.db.now, cx.db.manners.see_expired);
    // The cursor comes first in the reply and is known last.
    let mut names = Names::default();
    let mut expired = Names::default();
    let next = cx.db.space.scan(index, Cursor(cursor), options.count, |entry| {
        if !see_expired && entry.is_expired(now) {
            expired.push(entry.key());
        } else if options.want(entry.key(), entry.value().type_name()) {
            names.push(entry.key());
        }
    });
    // To be met by a scan is an access: it removes what has expired, where this server may do so.
    for name in expired.iter() {
        let key = cx.db.space.key(name);
        cx.db.glance(key);
    }
    cx.reply.array(2);
    cx.reply.bulk(next.0.to_string());
    cx.reply.array(names.ends.len());
    names.iter().for_each(|name| cx.reply.bulk(name));
    Ok(())
}

/// Names side by side, without an allocation for each.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Names {
    fn push(&mut self, name: &[u8]) {
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| &self.bytes[std::mem::replace(&mut start, end)..end])
    }
}

/// What is walked over: SCAN and its kin share their words, with one exception each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    /// SCAN, which has TYPE.
    Keyspace,
    /// HSCAN, which has NOVALUES.
    Fields,
    /// SSCAN.
    Members,
    /// ZSCAN, which has Valkey's NOSCORES.
    Scores,
}

/// The options of SCAN, HSCAN, SSCAN and ZSCAN.
pub(crate) struct Options<'a> {
    pub(crate) count: usize,
    pattern: Option<&'a [u8]>,
    type_name: Option<&'a [u8]>,
    /// HSCAN's NOVALUES, ZSCAN's NOSCORES.
    pub(crate) no_values: bool,
}

impl<'a> Options<'a> {
    /// Each word as it comes; the last one of a kind decides. A type that does not exist is no error, as in Redis 8.2
    /// (Valkey 9.1 refuses it): no key has it.
    pub(crate) fn parse(words: &[&'a [u8]], walk: Walk) -> Result<Options<'a>, Error> {
        let mut options = Options { count: 10, pattern: None, type_name: None, no_values: false };
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let word = word.to_ascii_uppercase();
            if word == b"NOVALUES" {
                if walk == Walk::Fields {
                    options.no_values = true;
                    continue;
                }
                return Err(Error::text("ERR NOVALUES option can only be used in HSCAN"));
            }
            if word == b"NOSCORES" && walk == Walk::Scores {
                options.no_values = true;
                continue;
            }
            let value = words.next().ok_or(Error::Syntax)?;
            match word.as_slice() {
                b"COUNT" => {
                    let count = resp::number::parse_i64(value).ok_or(Error::NotInteger)?;
                    if count < 1 {
                        return Err(Error::Syntax);
                    }
                    options.count = usize::try_from(count).unwrap_or(usize::MAX);
                }
                b"MATCH" => options.pattern = (value != b"*").then_some(value),
                b"TYPE" if walk == Walk::Keyspace => options.type_name = Some(value),
                _ => return Err(Error::Syntax),
            }
        }
        Ok(options)
    }

    fn want(&self, key: &[u8], type_name: &str) -> bool {
        self.type_name.is_none_or(|wanted| wanted.eq_ignore_ascii_case(type_name.as_bytes())) && self.matches(key)
    }

    /// Whether MATCH lets this name through.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| config::glob_match(pattern, name, false))
    }
}

/// A cursor argument.
pub(crate) fn cursor(text: &[u8]) -> Result<u64, Error> {
    number(text).ok_or(Error::text("ERR invalid cursor"))
}

/// A cursor as clients may write it. Redis reads it as an integer of its own kind, where a negative one is refused, and failing
/// that as C's `strtoull` does: blanks before it, a sign (that wraps), leading zeros, and anything behind a NUL byte are fine.
fn number(text: &[u8]) -> Option<u64> {
    if let Some(number) = resp::number::parse_i64(text) {
        return u64::try_from(number).ok();
    }
    let text = text.split(|&byte| byte == 0).next()?;
    let blanks = text.iter().take_while(|&&byte| matches!(byte, b' ' | 9..=13)).count();
    let (negative, digits) = match &text[blanks..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if negative { number.wrapping_neg() } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rig;

    #[test]
    fn cursors_as_redis_reads_them() {
        let good: &[(&[u8], u64)] = &[
            (b"0", 0),
            (b"17", 17),
            (b" 1", 1),
            (b"\r\n\x0b\x0c1", 1),
            (b"+1", 1),
            (b"01", 1),
            (b"-0", 0),
            (b"-01", u64::MAX),
            (b"1\0zz", 1),
            (b"18446744073709551615", u64::MAX),
            (b"-18446744073709551615", 1),
        ];
        for (text, number) in good {
            assert_eq!(cursor(text), Ok(*number), "{}", text.escape_ascii());
        }
        let bad: &[&[u8]] = &[
            b"",
            b" ",
            b"+",
            b"-",
            b"-1",
            b"1.1",
            b"1 ",
            b"\x001",
            b"+ 1",
            b"--1",
            b"0x10",
            b"x",
            b"\xa01",
            b"18446744073709551616",
            b"-18446744073709551616",
        ];
        for text in bad {
            assert!(cursor(text).is_err(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn options_and_their_errors() {
        let parse = |line: &'static str| {
            let words: Vec<&[u8]> = line.split_ascii_whitespace().map(str::as_bytes).collect();
            Options::parse(&words, Walk::Keyspace).map(|options| options.count)
        };
        assert_eq!(parse("COUNT 5 MATCH z count 7 TYPE nothing"), Ok(7));
        for line in ["COUNT", "COUNT 0", "COUNT -1", "MATCH", "TYPE", "FOO", "FOO 1", "COUNT 1 FOO"] {
            assert_eq!(parse(line), Err(Error::Syntax), "{line}");
        }
        assert_eq!(parse("COUNT x FOO"), Err(Error::NotInteger));
        assert_eq!(parse("NOVALUES"), Err(Error::text("ERR NOVALUES option can only be used in HSCAN")));
    }

    #[test]
    fn what_has_expired_is_removed_and_not_named() {
        let mut rig = Rig::new();
        rig.script(&[("SET a 1 PX 5", "+OK"), ("SET b 1", "+OK")]);
        rig.now.0 += 6;
        rig.script(&[("DBSIZE", ":2"), ("SCAN 0 MATCH z*", "*2 $1 0 *0"), ("DBSIZE", ":1")]);
    }

    #[test]
    fn a_walk_names_every_key_once_where_nothing_changes() {
        let mut rig = Rig::new();
        for index in 0..1000 {
            rig.run(&format!("SET key:{index} 1"));
        }
        let mut found = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let reply = rig.run(&format!("SCAN {cursor} COUNT 7 MATCH key:* TYPE STRING"));
            let mut words = reply.split(' ').filter(|word| !word.starts_with(['$', '*']));
            cursor = words.next().unwrap().to_owned();
            found.extend(words.map(str::to_owned));
            if cursor == "0" {
                break;
            }
        }
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 1000);
        rig.script(&[
            ("SCAN 0 COUNT 9223372036854775807 MATCH key:17", "*2 $1 0 *1 $6 key:17"),
            ("SCAN 0 COUNT 5000 TYPE list", "*2 $1 0 *0"),
            ("SCAN 0 COUNT 5000 TYPE nothing", "*2 $1 0 *0"),
            ("SCAN x FOO", "-ERR invalid cursor"),
        ]);
    }
}

//! The words that several commands know: how to trim, and what becomes of references.

use keyspace::collection::limits::StreamLimits;
use keyspace::collection::stream::{References, StreamId, Trim, TrimTo};
use resp::number::parse_i64;

use super::ids;
use super::reply::IdText;
use crate::context::Ctx;
use crate::error::{Error, Stop};

/// With `~`, a command without LIMIT deletes at most so many blocks' worth of entries, ...
const LIMIT_BLOCKS: u64 = 100;
/// ... so many where blocks have no limit of their own, ...
const LIMIT_UNBOUND: u64 = 10_000;
/// ... and never more than this.
const LIMIT_MAX: u64 = 1_000_000;

/// KEEPREF, DELREF or ACKED.
pub fn references(word: &[u8]) -> Option<References> {
    match word {
        _ if word.eq_ignore_ascii_case(b"KEEPREF") => Some(References::Keep),
        _ if word.eq_ignore_ascii_case(b"DELREF") => Some(References::Delete),
        _ if word.eq_ignore_ascii_case(b"ACKED") => Some(References::AckedOnly),
        _ => None,
    }
}

/// The options of XTRIM, and of XADD before the id.
#[derive(Debug, Default)]
pub struct TrimOptions {
    to: Option<TrimTo>,
    approximate: bool,
    limit: Option<u64>,
    references: Option<References>,
    /// The argument that holds the threshold, behind `~` where there is one.
    threshold_at: usize,
}

impl TrimOptions {
    /// Takes the option at `index`. Returns where the next one is, or `None` if this is no such option.
    ///
    /// # Errors
    /// For the client.
    pub fn take(&mut self, args: &[&[u8]], index: usize) -> Result<Option<usize>, Stop> {
        let word = args[index];
        let followers = args.len() - 1 - index;
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if followers > 0 && (is(b"MAXLEN") || is(b"MINID")) {
            if self.to.is_some() {
                return text("ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
            }
            let mut at = index + 1;
            self.approximate = false;
            if followers > 1 && matches!(args[at], b"~" | b"=") {
                self.approximate = args[at] == b"~";
                at += 1;
            }
            self.to = Some(if is(b"MAXLEN") {
                let len = parse_i64(args[at]).ok_or(Error::NotInteger)?;
                TrimTo::MaxLen(u64::try_from(len).or_else(|_| text("ERR The MAXLEN argument must be >= 0."))?)
            } else {
                TrimTo::MinId(ids::parse(args[at])?)
            });
            self.threshold_at = at;
            return Ok(Some(at + 1));
        }
        if followers > 0 && is(b"LIMIT") {
            let limit = parse_i64(args[index + 1]).ok_or(Error::NotInteger)?;
            self.limit = Some(u64::try_from(limit).or_else(|_| text("ERR The LIMIT argument must be >= 0."))?);
            return Ok(Some(index + 2));
        }
        if self.references.is_none()
            && let Some(references) = references(word)
        {
            self.references = Some(references);
            return Ok(Some(index + 1));
        }
        Ok(None)
    }

    /// What they come to, when all are read. Of what has happened already (`replays`) the limit was kept then: the text still has it, behind
    /// the exact threshold that [`Self::propagate`] and Redis put there.
    ///
    /// # Errors
    /// For the client.
    pub fn finish(&self, limits: StreamLimits, replays: bool) -> Result<Option<Trim>, Stop> {
        if replays {
            return Ok(self.to.map(|to| Trim {
                to,
                approximate: self.approximate,
                limit: 0,
                references: self.references.unwrap_or_default(),
            }));
        }
        if self.limit.is_some_and(|limit| limit > 0) && self.to.is_none() {
            return text("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
        }
        if self.limit.is_some() && !self.approximate {
            return text("ERR syntax error, LIMIT cannot be used without the special ~ option");
        }
        let limit_by_default = match limits.node_entries_max as u64 {
            0 => LIMIT_UNBOUND,
            entries => entries.saturating_mul(LIMIT_BLOCKS).min(LIMIT_MAX),
        };
        Ok(self.to.map(|to| Trim {
            to,
            approximate: self.approximate,
            limit: self.limit.unwrap_or(if self.approximate { limit_by_default } else { 0 }),
            references: self.references.unwrap_or_default(),
        }))
    }

    /// How the command is told to others: what whole blocks came to depends on their size here, so it says exactly what was left. `id`
    /// takes the place of the argument there, if it was not written out.
    pub fn propagate(&self, cx: &mut Ctx<'_>, left: Left, id: Option<(usize, StreamId)>) {
        if !cx.db.effects.wanted() || !self.approximate && id.is_none() {
            return;
        }
        let mut args = cx.args.to_vec();
        let id_text = id.map(|(at, id)| (at, IdText::new(id)));
        if let Some((at, text)) = &id_text {
            args[*at] = text.as_bytes();
        }
        let threshold = match self.to {
            Some(TrimTo::MinId(_)) => left.first_id.to_string(),
            _ => left.len.to_string(),
        };
        if self.approximate {
            args[self.threshold_at - 1] = b"=";
            args[self.threshold_at] = threshold.as_bytes();
        }
        cx.db.effects.instead(&args);
    }
}

/// What a stream holds after it was trimmed.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    pub len: u64,
    /// The greatest id of all if nothing is left.
    pub first_id: StreamId,
}

impl Left {
    pub fn of(entries: &keyspace::collection::stream::Entries) -> Left {
        let first_id = if entries.is_empty() { StreamId::MAX } else { entries.first_id() };
        Left { len: entries.len(), first_id }
    }
}

/// `[KEEPREF | DELREF | ACKED] IDS numids id ...`, from argument `index` on: what XDELEX and XACKDEL take.
///
/// # Errors
/// For the client. The ids themselves are not read yet: Redis looks at the stream first.
pub fn references_and_ids<'a>(args: &'a [&'a [u8]], mut index: usize) -> Result<(References, &'a [&'a [u8]]), Stop> {
    let mut chosen = None;
    let mut ids: Option<&[&[u8]]> = None;
    while index < args.len() {
        let word = args[index];
        if chosen.is_none() && references(word).is_some() {
            chosen = references(word);
            index += 1;
        } else if index + 1 < args.len() && word.eq_ignore_ascii_case(b"IDS") {
            let count =
                parse_i64(args[index + 1]).and_then(|count| usize::try_from(count).ok()).filter(|&count| count > 0);
            let Some(count) = count else {
                return text("ERR Number of IDs must be a positive integer");
            };
            let rest = &args[index + 2..];
            let Some(listed) = rest.get(..count) else {
                return text("ERR The `numids` parameter must match the number of arguments");
            };
            ids = Some(listed);
            index += 2 + count;
        } else {
            return Err(Error::Syntax.into());
        }
    }
    Ok((chosen.unwrap_or_default(), ids.ok_or(Error::Syntax)?))
}

/// The group that a command needs is not there.
#[cold]
pub fn no_group<T>(key: &[u8], group: &[u8]) -> Result<T, Stop> {
    let mut error = Error::quoting("NOGROUP No such key '", key, "' or consumer group '").render().into_owned();
    error.extend_from_slice(crate::error::shown(group));
    error.extend_from_slice(b"'");
    Err(Error::Bytes(error).into())
}

fn text<T>(text: &'static str) -> Result<T, Stop> {
    Err(Stop::Error(Error::text(text)))
}

//! `HSETEX`.

use keyspace::{Expiry, Hash, Millis};

use super::hexpire::deleted;
use super::options::Form;
use super::seen_from;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hsetex",
    arity: -6,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::HASH).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::Hash,
    since: "8.0.0",
    summary: "Sets fields of a hash and their expiry, under conditions if wanted.",
    complexity: "O(N), N being the number of fields given",
    args: &[
        Arg::key("key", 0),
        Arg::one_of("key-condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")]).optional(),
        Arg::one_of("condition", &[Arg::word("fnx", "FNX"), Arg::word("fxx", "FXX")]).optional(),
        Arg::one_of(
            "expiration",
            &[
                Arg::integer("seconds").token("EX"),
                Arg::integer("milliseconds").token("PX"),
                Arg::unix_time("unix-time-seconds").token("EXAT"),
                Arg::unix_time("unix-time-milliseconds").token("PXAT"),
                Arg::word("keepttl", "KEEPTTL"),
            ],
        )
        .optional(),
        Arg::block(
            "fields",
            &[Arg::integer("numfields"), Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple()],
        )
        .token("FIELDS"),
    ],
    run: Some(run),
    ..Spec::NEW
};

/// What must be true of the key or of all fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Absent,
    Present,
}

impl Condition {
    fn is_met(self, there: bool) -> bool {
        there == (self == Condition::Present)
    }
}

struct Options<'s, 'a> {
    /// NX and XX (Valkey's).
    key: Option<Condition>,
    /// FNX and FXX.
    fields: Option<Condition>,
    expiry: Expiry,
    /// Where EX, PX or EXAT stands, which others get as PXAT.
    relative_at: Option<usize>,
    /// Fields and values in turn.
    pairs: &'s [&'a [u8]],
}

impl<'s, 'a> Options<'s, 'a> {
    /// Reads the options. NX and XX are words that Redis does not know: where anything else is wrong, it would have complained of them first.
    fn parse(cx: &Ctx<'a>, args: &'s [&'a [u8]]) -> Result<Options<'s, 'a>, Error> {
        let mut unknown_to_redis = None;
        Options::parse_united(cx, args, &mut unknown_to_redis)
            .map_err(|error| unknown_to_redis.map_or(error, |word| Error::quoting("ERR unknown argument: ", word, "")))
    }

    fn parse_united(
        cx: &Ctx<'a>,
        args: &'s [&'a [u8]],
        unknown_to_redis: &mut Option<&'a [u8]>,
    ) -> Result<Options<'s, 'a>, Error> {
        let mut options = Options { key: None, fields: None, expiry: Expiry::Clear, relative_at: None, pairs: &[] };
        let mut at = 2;
        while let Some(&word) = args.get(at) {
            let is = |text: &str| word.eq_ignore_ascii_case(text.as_bytes());
            if is("FIELDS") {
                options.pairs = pairs(&args[at + 1..])?;
                return Ok(options);
            }
            if is("FNX") || is("FXX") {
                let condition = if is("FNX") { Condition::Absent } else { Condition::Present };
                if options.fields.replace(condition).is_some() {
                    return Err(Error::text("ERR Only one of FXX or FNX arguments can be specified"));
                }
            } else if is("NX") || is("XX") {
                unknown_to_redis.get_or_insert(word);
                let condition = if is("NX") { Condition::Absent } else { Condition::Present };
                // Valkey lets a word be repeated, but not contradicted.
                if options.key.replace(condition).is_some_and(|other| other != condition) {
                    return Err(Error::Syntax);
                }
            } else if is("KEEPTTL") || Form::of(word).is_some() {
                if options.expiry != Expiry::Clear {
                    return Err(Error::text(
                        "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
                    ));
                }
                options.expiry = match Form::of(word) {
                    None => Expiry::Keep,
                    Some(form) => {
                        let number = args.get(at + 1).ok_or(Error::Syntax)?;
                        options.relative_at = (form != Form::UNIX_MILLISECONDS).then_some(at);
                        at += 1;
                        Expiry::At(form.read(number, cx.db.now, "hsetex")?)
                    }
                };
            } else {
                return Err(Error::quoting("ERR unknown argument: ", word, ""));
            }
            at += 1;
        }
        Err(Error::Syntax)
    }
}

/// `numfields field value ...`
fn pairs<'s, 'a>(args: &'s [&'a [u8]]) -> Result<&'s [&'a [u8]], Error> {
    let arity = || Error::Arity("hsetex".into());
    // Too few for a single field comes before a count that is none.
    let [count, pairs @ ..] = args else { return Err(arity()) };
    if pairs.len() < 2 {
        return Err(arity());
    }
    let count = resp::number::parse_i64(count)
        .and_then(|count| i32::try_from(count).ok())
        .filter(|&count| count > 0)
        .ok_or(Error::text("ERR invalid number of fields"))?;
    if pairs.len() != 2 * count as usize {
        return Err(arity());
    }
    Ok(pairs)
}

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (key, args, now, seen) = (cx.keys[0], cx.args, cx.db.now, seen_from(&cx.db));
    let limits = cx.global().settings.hash;
    let options = Options::parse(cx, args)?;
    let names = || options.pairs.iter().copied().step_by(2);
    let hash = cx.db.write_as::<Hash>(key)?;
    let mut met = options.key.is_none_or(|condition| condition.is_met(hash.is_some()));
    let mut due = Vec::new();
    if let (true, Some(condition)) = (met, options.fields) {
        for name in names() {
            let field = hash.as_ref().and_then(|hash| hash.field(name, Millis(i64::MIN)));
            if field.is_some_and(|field| field.is_expired(seen)) {
                due.push(name);
            }
            met = condition.is_met(field.is_some_and(|field| !field.is_expired(seen)));
            if !met {
                break;
            }
        }
    }
    drop(hash);
    if !due.is_empty() {
        cx.db.expire_fields(key, due);
    }
    if !met {
        cx.reply.int(0);
        return Ok(());
    }
    let mut hash = cx.db.write_or_create::<Hash>(key)?;
    hash.prepare(options.pairs.len() / 2, &limits);
    for pair in options.pairs.chunks_exact(2) {
        hash.set(pair[0], pair[1], options.expiry, &limits);
    }
    let past = matches!(options.expiry, Expiry::At(at) if at <= now);
    if past {
        names().for_each(|name| {
            hash.remove(name);
        });
    }
    drop(hash);
    cx.db.changed(options.pairs.len() as u64 / 2);
    cx.db.notify(EventClass::HASH, "hset", key.bytes());
    if past {
        let names: Vec<&[u8]> = names().collect();
        deleted(&mut cx.db, key, &names);
    } else if let Expiry::At(at) = options.expiry {
        cx.db.notify(EventClass::HASH, "hexpire", key.bytes());
        if let (true, Some(index)) = (cx.db.effects.wanted(), options.relative_at) {
            let at = at.0.to_string();
            let mut effect = args.to_vec();
            (effect[index], effect[index + 1]) = (b"PXAT", at.as_bytes());
            cx.db.effects.instead(&effect);
        }
    }
    cx.reply.int(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn expiries() {
        script(&[
            ("HSETEX h EX 100 FIELDS 2 a 1 b 2", ":1"),
            ("HTTL h FIELDS 2 a b", "*2 :100 :100"),
            ("HSETEX h FIELDS 1 a 3", ":1"),
            ("HTTL h FIELDS 2 a b", "*2 :-1 :100"),
            ("HSETEX h KEEPTTL FIELDS 2 b 4 c 5", ":1"),
            ("HTTL h FIELDS 3 a b c", "*3 :-1 :100 :-1"),
            ("HSETEX h PXAT 1800000000000 FIELDS 2 a 6 a 7", ":1"),
            ("HPEXPIRETIME h FIELDS 1 a", "*1 :1800000000000"),
            ("HGET h a", "$1 7"),
            ("HSETEX h EX 0 FIELDS 3 a 1 new 2 b 3", ":1"),
            ("HGETALL h", "*2 $1 c $1 5"),
            ("HSETEX fresh PXAT 1 FIELDS 1 a 1", ":1"),
            ("EXISTS fresh", ":0"),
        ]);
    }

    #[test]
    fn conditions() {
        script(&[
            ("HSETEX h FXX FIELDS 1 a 1", ":0"),
            ("EXISTS h", ":0"),
            ("HSETEX h FNX FIELDS 2 a 1 a 2", ":1"),
            ("HSETEX h FNX FIELDS 2 a 1 b 2", ":0"),
            ("HSETEX h FXX FIELDS 2 a 1 b 2", ":0"),
            ("HSETEX h fxx EX 100 FIELDS 1 a 3", ":1"),
            ("HGETALL h", "*2 $1 a $1 3"),
            ("HSETEX h NX FIELDS 1 a 4", ":0"),
            ("HSETEX h XX FIELDS 1 a 5", ":1"),
            ("HSETEX no XX FIELDS 1 a 5", ":0"),
            ("HSETEX yes NX FIELDS 1 a 5", ":1"),
            ("EXISTS no yes", ":1"),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        let arity = "-ERR wrong number of arguments for 'hsetex' command";
        let one = "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
        script(&[
            ("HSETEX h FIELDS 2 a 1", arity),
            ("HSETEX h FIELDS 1 a 1 b 2", arity),
            ("HSETEX h FIELDS 1 a 1 EX 10", arity),
            ("HSETEX h FXX FIELDS -100 1", arity),
            ("HSETEX h FIELDS 0 a 1", "-ERR invalid number of fields"),
            ("HSETEX h FIELDS x a 1", "-ERR invalid number of fields"),
            ("HSETEX h FIELDS 2147483648 a 1", "-ERR invalid number of fields"),
            ("HSETEX h FOO FIELDS 1 a 1", "-ERR unknown argument: FOO"),
            ("HSETEX h EX x FOO 1 a", "-ERR value is not an integer or out of range"),
            ("HSETEX h EX -1 FOO 1 a", "-ERR invalid expire time, must be >= 0"),
            ("HSETEX h PXAT 70368744177664 FOO 1 a", "-ERR invalid expire time in 'hsetex' command"),
            ("HSETEX h EX 1 PX x FIELDS 1 a 1", one),
            ("HSETEX h KEEPTTL EX 1 FIELDS 1 a 1", one),
            ("HSETEX h FNX FXX FIELDS 1 a 1", "-ERR Only one of FXX or FNX arguments can be specified"),
            ("HSETEX h FNX FNX FIELDS 1 a 1", "-ERR Only one of FXX or FNX arguments can be specified"),
            ("HSETEX h NX XX FIELDS 1 a 1", "-ERR unknown argument: NX"),
            ("HSETEX h XX FIELDS x a 1", "-ERR unknown argument: XX"),
            ("SET s x", "+OK"),
            ("HSETEX s EX -1 FIELDS 1 a 1", "-ERR invalid expire time, must be >= 0"),
            ("HSETEX s FIELDS 1 a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}

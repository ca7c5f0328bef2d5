//! `MSETEX`.

use super::mset::set_all;
use super::options::{Condition, Form, Options, Wish, Words};
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Begin, Find, Flags, Group, KeyFlags, KeySpec, Spec};
use keyspace::Expiry;

pub const SPEC: Spec = Spec {
    name: "msetex",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::SLOW),
    keys: &[KeySpec {
        notes: None,
        flags: KeyFlags::OW.union(KeyFlags::UPDATE),
        begin: Begin::Index(1),
        find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 2 },
    }],
    group: Group::String,
    since: "9.1.0",
    summary: "Sets several keys with one expiry, on a condition.",
    complexity: "O(N), N being the number of keys",
    tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
    args: &[
        Arg::integer("numkeys"),
        Arg::block("data", &[Arg::key("key", 0), Arg::string("value")]).multiple(),
        Arg::one_of("condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")]).optional(),
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
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    // The bound is Valkey's; it keeps the product below from overflowing too.
    let count = match resp::number::parse_i64(cx.args[1]) {
        Some(count @ 1..=0x7fff_ffff) => count as usize,
        _ => return cx.fail("ERR invalid numkeys value or out of range"),
    };
    let options = cx.args.get(2 + 2 * count..).ok_or(Error::Syntax)?;
    let options = Options::parse(options, Words::NX_XX.union(Words::KEEPTTL))?;
    let expiry = options.expiry("msetex", cx.db.now)?;
    assert_eq!(cx.keys.len(), count, "the keys are those of the count");
    let mut keys = cx.keys.iter();
    let holds = match options.condition {
        Some(Condition::Absent) => keys.all(|&key| cx.db.glance(key).is_none()),
        Some(Condition::Present) => keys.all(|&key| cx.db.glance(key).is_some()),
        Some(Condition::Equals(_)) => unreachable!("MSETEX takes no IFEQ"),
        None => true,
    };
    if holds {
        set_all(cx, expiry, 3);
        say_when(cx, count, &options, expiry);
    }
    cx.reply.int(i64::from(holds));
    Ok(())
}

/// The effect of an expiry that is not yet an instant in milliseconds: the same command with that.
fn say_when(cx: &mut Ctx<'_>, count: usize, options: &Options<'_>, expiry: Expiry) {
    let (Expiry::At(at), Some(Wish::At(form, _))) = (expiry, options.wish) else { return };
    if form == Form::UnixMilliseconds || !cx.db.effects.wanted() {
        return;
    }
    let at = at.0.to_string();
    let mut args = cx.args[..2 + 2 * count].to_vec();
    let mut words = cx.args[2 + 2 * count..].iter().copied();
    let mut said = false;
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"NX") || word.eq_ignore_ascii_case(b"XX") {
            args.push(word);
            continue;
        }
        // An expiry with its number; the last of several has won.
        words.next();
        if !said {
            args.extend([b"PXAT", at.as_bytes()]);
            said = true;
        }
    }
    cx.db.effects.instead(&args);
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    // Valkey 9.1 decides.
    #[test]
    fn conditions_and_expiries() {
        script(&[
            ("MSETEX 2 a 1 b 2 XX", ":0"),
            ("MSETEX 2 a 1 b 2 NX EX 100", ":1"),
            ("TTL b", ":100"),
            ("MSETEX 2 a 1 c 2 NX", ":0"),
            ("MSETEX 2 a 1 c 2 XX", ":0"),
            ("EXISTS c", ":0"),
            ("MSETEX 2 a 3 a 4 XX KEEPTTL", ":1"),
            ("TTL a", ":100"),
            ("GET a", "$1 4"),
            ("MSETEX 1 a 5", ":1"),
            ("TTL a", ":-1"),
            ("MSETEX 2 q 1 q 2 NX", ":1"),
            ("GET q", "$1 2"),
            ("MSETEX 1 a 1 EX 10 EX 20", ":1"),
            ("TTL a", ":20"),
            ("MSETEX 1 a 1 PXAT 99999999999999", ":1"),
            ("PEXPIRETIME a", ":99999999999999"),
            ("MSETEX 1 a 1 EXAT 1", ":1"),
            ("EXISTS a", ":0"),
        ]);
    }

    // Valkey 9.1 decides.
    #[test]
    fn errors_and_their_order() {
        script(&[
            ("MSETEX 0 a 1", "-ERR invalid numkeys value or out of range"),
            ("MSETEX -1 a 1", "-ERR invalid numkeys value or out of range"),
            ("MSETEX x a 1", "-ERR invalid numkeys value or out of range"),
            ("MSETEX 01 a 1", "-ERR invalid numkeys value or out of range"),
            ("MSETEX 2147483648 a 1", "-ERR invalid numkeys value or out of range"),
            ("MSETEX 2147483647 a 1", "-ERR syntax error"),
            ("MSETEX 1 a", "-ERR wrong number of arguments for 'msetex' command"),
            ("MSETEX 2 a 1", "-ERR syntax error"),
            ("MSETEX 1 a 1 b", "-ERR syntax error"),
            ("MSETEX 3 a 1 b 2 EX", "-ERR syntax error"),
            ("MSETEX 1 a 1 NX XX", "-ERR syntax error"),
            ("MSETEX 1 a 1 KEEPTTL EX 1", "-ERR syntax error"),
            ("MSETEX 1 a 1 EX", "-ERR syntax error"),
            ("MSETEX 1 a 1 EX x", "-ERR value is not an integer or out of range"),
            ("MSETEX 1 a 1 EX 0", "-ERR invalid expire time in 'msetex' command"),
            ("MSETEX 1 a 1 EX 0 FOO", "-ERR syntax error"),
            ("MSETEX 1 a 1 GET", "-ERR syntax error"),
            ("MSETEX 1 a 1 IFEQ 2", "-ERR syntax error"),
            ("MSETEX 0 a 1 FOO", "-ERR invalid numkeys value or out of range"),
            ("EXISTS a", ":0"),
        ]);
    }
}
